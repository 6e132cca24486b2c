//! What a JMESPath expression may cost at most, found before it is ever evaluated.
//!
//! Claims have a bounded *weight*: each value weighs one, and each 64 bytes of text one more. Whatever an expression makes of
//! a value weighs at most a constant times what that weighed, plus another constant; so does the work, in steps of one visit
//! to a node or 64 bytes of text. A projection applies an expression to parts that together weigh no more than the whole. So
//! one walk over the expression finds both, and an expression that could grow beyond bounds is refused when it is read.

use jmespath::Variable;
use jmespath::ast::Ast;

use super::document::{MOST_BYTES, MOST_VALUES};

/// Steps that an expression may take: well under a second with the largest claims.
const MOST_STEPS: f64 = 3_000_000.0;
/// Nodes below each other: the interpreter takes about 10 KiB of stack for each in a debug build.
const DEEPEST: usize = 64;
/// Positions in lists. The library adds them without a look at overflow.
const FURTHEST: i32 = 1_000_000;
/// Comparisons for each element where a list is sorted: the logarithm of how many there can be.
const SORTING: f64 = 24.0;

/// Why an expression is not evaluated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unbounded {
    /// Nodes below each other.
    TooDeep,
    /// Steps, or what it makes.
    TooCostly,
    /// No function has this name.
    UnknownFunction(String),
    /// A function has another number of arguments.
    Arguments(String),
    /// `&` elsewhere than in a function that takes an expression, or none where it must be.
    Reference,
    /// A position far beyond every list.
    Position,
}

/// Refuses an expression that could cost too much with any claims.
pub(super) fn check(expression: &Ast) -> Result<(), Unbounded> {
    let bound = bound(expression, 0)?;
    #[expect(clippy::cast_precision_loss, reason = "both are small")]
    let whole = MOST_VALUES as f64 + MOST_BYTES as f64 / 64.0;
    let fits = |line: Linear| line.of(whole) <= MOST_STEPS;
    if fits(bound.steps) && fits(bound.weight) { Ok(()) } else { Err(Unbounded::TooCostly) }
}

/// At most `each` times the weight of what is looked at, plus `once`.
#[derive(Clone, Copy, Debug)]
struct Linear {
    each: f64,
    once: f64,
}

const NOTHING: Linear = Linear { each: 0.0, once: 0.0 };
const WHOLE: Linear = Linear { each: 1.0, once: 0.0 };

impl Linear {
    fn once(once: f64) -> Self {
        Self { each: 0.0, once }
    }

    fn plus(self, other: Self) -> Self {
        Self { each: self.each + other.each, once: self.once + other.once }
    }

    fn times(self, factor: f64) -> Self {
        Self { each: self.each * factor, once: self.once * factor }
    }

    fn or(self, other: Self) -> Self {
        Self { each: self.each.max(other.each), once: self.once.max(other.once) }
    }

    fn of(self, weight: f64) -> f64 {
        self.each * weight + self.once
    }

    /// What this comes to if `inner` is looked at.
    fn over(self, inner: Self) -> Self {
        inner.times(self.each).plus(Self::once(self.once))
    }

    /// What this comes to in sum if each part of `list` is looked at.
    fn over_parts(self, list: Self) -> Self {
        list.times(self.each + self.once)
    }
}

/// What an expression takes and makes.
#[derive(Clone, Copy, Debug)]
struct CostBound {
    steps: Linear,
    weight: Linear,
}

impl CostBound {
    fn new(steps: Linear, weight: Linear) -> Self {
        Self { steps: steps.plus(Linear::once(1.0)), weight }
    }
}

fn bound(node: &Ast, depth: usize) -> Result<CostBound, Unbounded> {
    if depth >= DEEPEST {
        return Err(Unbounded::TooDeep);
    }
    let below = |node: &Ast| bound(node, depth + 1);
    let position = |position: &Option<i32>| match position {
        Some(far) if far.unsigned_abs() > FURTHEST.unsigned_abs() => Err(Unbounded::Position),
        _ => Ok(()),
    };
    Ok(match node {
        Ast::Identity { .. } | Ast::Field { .. } => CostBound::new(NOTHING, WHOLE),
        Ast::Index { idx, .. } => {
            position(&Some(*idx))?;
            CostBound::new(NOTHING, WHOLE)
        }
        Ast::Slice { start, stop, step, .. } => {
            [*start, *stop, Some(*step)].iter().try_for_each(position)?;
            CostBound::new(WHOLE, WHOLE)
        }
        Ast::Literal { value, .. } => CostBound::new(NOTHING, Linear::once(weight(value))),
        Ast::Subexpr { lhs, rhs, .. } => {
            let (first, then) = (below(lhs)?, below(rhs)?);
            CostBound::new(first.steps.plus(then.steps.over(first.weight)), then.weight.over(first.weight))
        }
        Ast::Or { lhs, rhs, .. } | Ast::And { lhs, rhs, .. } => {
            let (one, other) = (below(lhs)?, below(rhs)?);
            CostBound::new(one.steps.plus(other.steps), one.weight.or(other.weight))
        }
        Ast::Not { node, .. } => CostBound::new(below(node)?.steps, Linear::once(1.0)),
        Ast::Comparison { lhs, rhs, .. } => {
            let (one, other) = (below(lhs)?, below(rhs)?);
            let compared = one.weight.plus(other.weight);
            CostBound::new(one.steps.plus(other.steps).plus(compared), Linear::once(1.0))
        }
        Ast::Condition { predicate, then, .. } => {
            let (predicate, then) = (below(predicate)?, below(then)?);
            // What does not fit becomes null, which a projection leaves out.
            CostBound::new(predicate.steps.plus(then.steps), then.weight)
        }
        Ast::Flatten { node, .. } | Ast::ObjectValues { node, .. } => {
            let list = below(node)?;
            CostBound::new(list.steps.plus(list.weight), list.weight)
        }
        Ast::Projection { lhs, rhs, .. } => projection(below(lhs)?, below(rhs)?),
        Ast::MultiList { elements, .. } => together(elements.iter().map(below))?,
        Ast::MultiHash { elements, .. } => {
            let all = together(elements.iter().map(|pair| below(&pair.value)))?;
            let names: usize = elements.iter().map(|pair| pair.key.len()).sum();
            CostBound::new(all.steps, all.weight.plus(Linear::once(per_64(names))))
        }
        Ast::Function { name, args, .. } => function(name, args, depth)?,
        Ast::Expref { .. } => return Err(Unbounded::Reference),
    })
}

/// A list, and an expression that is applied to each of its elements.
fn projection(list: CostBound, each: CostBound) -> CostBound {
    let steps = list.steps.plus(list.weight).plus(each.steps.over_parts(list.weight));
    CostBound::new(steps, each.weight.over_parts(list.weight).plus(Linear::once(1.0)))
}

/// All of several, one after the other, and what they make put together.
fn together(all: impl Iterator<Item = Result<CostBound, Unbounded>>) -> Result<CostBound, Unbounded> {
    let nothing = CostBound::new(NOTHING, Linear::once(1.0));
    all.into_iter().try_fold(nothing, |sum, one| {
        let one = one?;
        Ok(CostBound { steps: sum.steps.plus(one.steps), weight: sum.weight.plus(one.weight) })
    })
}

/// What a function does with its arguments.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Function {
    /// Makes one number, word or truth value of them.
    Scalar,
    /// Makes a value out of parts of theirs.
    Parts,
    Sort,
    Join,
    ToString,
    /// Takes an expression first.
    Map,
    /// Takes an expression last.
    By,
}

/// The functions of JMESPath, with the fewest and the most arguments of each.
fn named(name: &str) -> Option<(Function, usize, usize)> {
    const ANY: usize = usize::MAX;
    Some(match name {
        "abs" | "avg" | "ceil" | "floor" | "length" | "sum" | "to_number" | "type" => {
            (Function::Scalar, 1, 1)
        }
        "contains" | "ends_with" | "starts_with" => (Function::Scalar, 2, 2),
        "keys" | "max" | "min" | "reverse" | "to_array" | "values" => (Function::Parts, 1, 1),
        "merge" | "not_null" => (Function::Parts, 1, ANY),
        "sort" => (Function::Sort, 1, 1),
        "join" => (Function::Join, 2, 2),
        "to_string" => (Function::ToString, 1, 1),
        "map" => (Function::Map, 2, 2),
        "max_by" | "min_by" | "sort_by" => (Function::By, 2, 2),
        _ => return None,
    })
}

fn function(name: &str, arguments: &[Ast], depth: usize) -> Result<CostBound, Unbounded> {
    let (function, least, most) = named(name).ok_or_else(|| Unbounded::UnknownFunction(name.to_owned()))?;
    if !(least..=most).contains(&arguments.len()) {
        return Err(Unbounded::Arguments(name.to_owned()));
    }
    let below = |node: &Ast| bound(node, depth + 1);
    match (function, arguments) {
        (Function::Map, [Ast::Expref { ast, .. }, list]) => {
            let (list, each) = (below(list)?, below(ast)?);
            return Ok(CostBound::new(copied(each), NOTHING).with(projection(list, each)));
        }
        (Function::By, [list, Ast::Expref { ast, .. }]) => {
            let (list, each) = (below(list)?, below(ast)?);
            let keys = each.weight.over_parts(list.weight).times(SORTING);
            let sorted = CostBound::new(keys.plus(copied(each)), list.weight);
            return Ok(sorted.with(CostBound { weight: NOTHING, ..projection(list, each) }));
        }
        (Function::Map | Function::By, _) => return Err(Unbounded::Reference),
        _ => {}
    }
    let given = together(arguments.iter().map(below))?;
    let weight = given.weight;
    let (steps, made) = match function {
        Function::Scalar => (weight, Linear::once(1.0)),
        Function::Sort => (weight.times(SORTING), weight),
        // Backslashes and quotes double.
        Function::ToString => (weight.times(2.0), weight.times(2.0)),
        Function::Join => {
            let [glue, list] = arguments else { return Err(Unbounded::Arguments(name.to_owned())) };
            let (glue, list) = (below(glue)?.weight, below(list)?.weight);
            if glue.each > 0.0 {
                return Err(Unbounded::TooCostly);
            }
            let joined = list.times(1.0 + glue.once);
            (joined, joined)
        }
        Function::Parts | Function::Map | Function::By => (weight, weight),
    };
    Ok(CostBound::new(given.steps.plus(steps), made))
}

impl CostBound {
    fn with(self, other: Self) -> Self {
        Self { steps: self.steps.plus(other.steps), weight: self.weight.plus(other.weight) }
    }
}

/// How much a literal weighs.
fn weight(value: &Variable) -> f64 {
    let text = value.to_string();
    match value {
        Variable::Array(_) | Variable::Object(_) => 1.0 + per_64(32 * text.len()),
        _ => 1.0 + per_64(text.len()),
    }
}

fn per_64(bytes: usize) -> f64 {
    f64::from(u32::try_from(bytes).unwrap_or(u32::MAX)) / 64.0
}

/// The steps it takes to copy an expression: each of its nodes takes at least one step of its own.
fn copied(expression: CostBound) -> Linear {
    Linear::once(expression.steps.each + expression.steps.once)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jmespath::{Context, Rcvar};
    use serde_json::json;

    use super::super::functions::FUNCTIONS;
    use super::*;

    /// Repeatable randomness (xorshift64).
    struct Dice(u64);

    impl Dice {
        fn of<'w>(&mut self, words: &[&'w str]) -> &'w str {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            words[usize::try_from(self.0 % words.len() as u64).unwrap()]
        }

        /// An expression of random form.
        fn expression(&mut self, depth: usize) -> String {
            const LEAVES: &[&str] = &[
                "@",
                "a",
                "b",
                "a.b",
                "a[0]",
                "a[1:]",
                "'text'",
                "`[1, {\"a\": \"\\\"\"}]`",
                "b[]",
                "*",
                "a[*]",
            ];
            const FORMS: &[&str] = &[
                "X | X",
                "[X, X]",
                "{a: X, b: X}",
                "X || X",
                "X && X",
                "!(X)",
                "X == X",
                "a[*].[X]",
                "a[?X]",
                "*.[X]",
                "[X][]",
                "to_string(X)",
                "to_array(X)",
                "not_null(X, X)",
                "join(', ', [to_string(X)])",
                "to_number(to_string(X))",
                "map(&X, to_array(X))",
                "sort_by(to_array(X), &to_string(X))",
                "merge({a: X}, {b: X})",
                "values({a: X})",
                "keys({a: X})",
                "reverse(to_array(X))",
                "length([X])",
                "type(X)",
                "max_by([X], &to_string(X))",
                "[X] | [*].X",
                "contains([X], X)",
            ];
            if depth == 0 {
                return self.of(LEAVES).to_owned();
            }
            let form = self.of(FORMS);
            let mut text = String::new();
            for part in form.split_inclusive('X') {
                let fixed = part.strip_suffix('X');
                text.push_str(fixed.unwrap_or(part));
                if fixed.is_some() {
                    text.push_str(&self.expression(depth - 1));
                }
            }
            text
        }
    }

    fn weigh(value: &Variable) -> f64 {
        fn count(value: &Variable) -> f64 {
            1.0 + match value {
                Variable::Array(items) => items.iter().map(|item| count(item)).sum(),
                Variable::Object(fields) => fields.values().map(|field| count(field)).sum(),
                _ => 0.0,
            }
        }
        count(value) + per_64(value.to_string().len())
    }

    #[test]
    fn nothing_that_an_expression_makes_weighs_more_than_was_foretold() {
        let text = "0123456789\"\\".repeat(10);
        let documents = [
            json!({}),
            json!({"a": [1, 2, 3], "b": "x"}),
            json!({"a": [[1, [2]], {"a": {"b": text}}], "b": [text, text, null, [text]]}),
            json!({"a": {"b": [{"a": text}, {"a": [true, false]}]}, "b": {"a": {"a": {"a": [1]}}}}),
            json!({"a": (0..50).map(|n| json!({"a": n, "b": [n, "x"]})).collect::<Vec<_>>(), "b": "[1,2,3,4,5,6,7,8]"}),
        ];
        let documents = documents.map(|document| Arc::new(Variable::try_from(document).unwrap()));
        let (mut dice, mut compared) = (Dice(0x9E37_79B9_7F4A_7C15), 0);
        for round in 0..4000 {
            let text = dice.expression(1 + round % 4);
            let Ok(expression) = jmespath::parse(&text) else { continue };
            let Ok(bound) = bound(&expression, 0) else { continue };
            for document in &documents {
                let whole: &Rcvar = document;
                let most = bound.weight.of(weigh(whole));
                if most > MOST_STEPS {
                    continue;
                }
                let mut context = Context::new(&text, &FUNCTIONS);
                if let Ok(made) = jmespath::interpret(whole, &expression, &mut context) {
                    assert!(weigh(&made) <= most + 1.0, "{text}\nmakes {} of {most}", weigh(&made));
                    compared += 1;
                }
            }
        }
        assert!(compared > 3000, "{compared}");
    }
}
