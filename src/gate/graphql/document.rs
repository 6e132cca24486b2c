//! What the operations of a document would run: their types and root fields. Nothing else of it is kept.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

use super::budget::Budget;
use super::lexer::{Lexer, Token};
use crate::model::graphql::{Operation, OperationType};

/// Selection sets, lists, objects and types inside each other, and fragments inside fragments.
const DEEPEST: usize = 64;

/// Distinct root fields of one request that are told apart.
pub(super) const MOST_FIELDS: usize = 100;

/// Distinct names of fields and types of one request that are told apart.
pub(super) const MOST_NAMES: usize = 1000;

/// An executable document (September 2025, 2.2), as much of it as decides.
#[derive(Default)]
pub(super) struct Document<'a> {
    operations: Vec<Definition<'a>>,
    fragments: HashMap<&'a str, Fragment>,
    /// What each definition selects at its root, one definition after the other.
    roots: Vec<Root<'a>>,
    /// Fields and types of conditions wherever they stand, one for each token at most.
    names: Vec<&'a str>,
}

struct Definition<'a> {
    kind: OperationType,
    name: Option<&'a str>,
    roots: Range<usize>,
}

/// All fragments of one name: servers differ in which of two they take.
#[derive(Default)]
struct Fragment {
    roots: Vec<Range<usize>>,
    visit: Visit,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Visit {
    #[default]
    Never,
    Begun,
    Done,
}

#[derive(Clone, Copy)]
enum Root<'a> {
    Field(&'a str),
    Spread(&'a str),
}

impl<'a> Document<'a> {
    /// Reads a document; `None` for whatever is not one in the grammar's narrowest reading, or costs too much.
    pub(super) fn read(text: &'a str, budget: &mut Budget) -> Option<Self> {
        budget.spend_bytes(text.len())?;
        let mut lexer = Lexer::new(text)?;
        let next = lexer.next()?;
        let mut reader = DocumentParser { lexer, next, budget, document: Self::default() };
        while reader.next != Token::End {
            reader.definition()?;
        }
        Some(reader.document)
    }

    /// The operation that would run: of those that could, the strictest with the fields of all. `None` if none could.
    pub(super) fn operation(mut self, name: Option<&str>, budget: &mut Budget) -> Option<Operation> {
        let wanted = name.filter(|name| !name.is_empty());
        let names = self.distinct_names();
        let mut kind = None;
        let mut fields = Some(BTreeSet::new());
        for operation in std::mem::take(&mut self.operations) {
            if wanted.is_some() && wanted != operation.name {
                continue;
            }
            kind = kind.max(Some(operation.kind));
            fields = fields.and_then(|mut fields| {
                self.collect(operation.roots, &mut fields, budget, 0)?;
                Some(fields)
            });
        }
        let fields = fields.map(|fields| fields.into_iter().map(str::to_owned).collect());
        Some(Operation { kind: kind?, fields, names })
    }

    fn distinct_names(&mut self) -> Option<Vec<String>> {
        let mut names = std::mem::take(&mut self.names);
        names.sort_unstable();
        names.dedup();
        (names.len() <= MOST_NAMES).then(|| names.into_iter().map(str::to_owned).collect())
    }

    /// Adds the fields that are selected, through fragments, each of which is looked at once; `None` where that
    /// cannot be told.
    fn collect(
        &mut self,
        roots: Range<usize>,
        fields: &mut BTreeSet<&'a str>,
        budget: &mut Budget,
        depth: usize,
    ) -> Option<()> {
        if depth > DEEPEST {
            return None;
        }
        for at in roots {
            budget.spend_selection()?;
            let name = match *self.roots.get(at)? {
                Root::Field(name) => {
                    fields.insert(name);
                    if fields.len() > MOST_FIELDS {
                        return None;
                    }
                    continue;
                }
                Root::Spread(name) => name,
            };
            let fragment = self.fragments.get_mut(name)?;
            match fragment.visit {
                Visit::Done => {}
                Visit::Begun => return None, // a circle
                Visit::Never => {
                    fragment.visit = Visit::Begun;
                    for roots in std::mem::take(&mut fragment.roots) {
                        self.collect(roots, fields, budget, depth + 1)?;
                    }
                    self.fragments.get_mut(name)?.visit = Visit::Done;
                }
            }
        }
        Some(())
    }
}

/// Whether a value may name a variable: not where variables are only being declared (September 2025, 2.10).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Variables {
    Known,
    Unknown,
}

/// Reads one token after the other and knows the one that comes next.
struct DocumentParser<'a, 'b> {
    lexer: Lexer<'a>,
    next: Token<'a>,
    budget: &'b mut Budget,
    document: Document<'a>,
}

impl<'a> DocumentParser<'a, '_> {
    /// The token that was next.
    fn take(&mut self) -> Option<Token<'a>> {
        self.budget.spend_token()?;
        let next = self.lexer.next()?;
        Some(std::mem::replace(&mut self.next, next))
    }

    fn takes(&mut self, punctuator: u8) -> Option<bool> {
        let is_next = self.next == Token::Punctuator(punctuator);
        if is_next {
            self.take()?;
        }
        Some(is_next)
    }

    fn expect(&mut self, punctuator: u8) -> Option<()> {
        self.takes(punctuator)?.then_some(())
    }

    fn name(&mut self) -> Option<&'a str> {
        match self.take()? {
            Token::Name(name) => Some(name),
            _ => None,
        }
    }

    fn definition(&mut self) -> Option<()> {
        self.budget.spend_selection()?;
        let begin = self.document.roots.len();
        if self.next == Token::Punctuator(b'{') {
            self.selection_set(0, true)?;
            self.add_operation(OperationType::Query, None, begin);
            return Some(());
        }
        // Definitions of a schema have no place in a request.
        let kind = match self.name()? {
            "fragment" => return self.fragment(begin),
            keyword => keyword.parse().ok()?,
        };
        let name = match self.next {
            Token::Name(_) => Some(self.name()?),
            _ => None,
        };
        if self.takes(b'(')? {
            self.until(b')', |reader| {
                reader.expect(b'$')?;
                reader.name()?;
                reader.expect(b':')?;
                reader.type_reference(0)?;
                if reader.takes(b'=')? {
                    reader.value(0, Variables::Unknown)?;
                }
                reader.directives(Variables::Unknown)
            })?;
        }
        self.directives(Variables::Known)?;
        self.selection_set(0, true)?;
        self.add_operation(kind, name, begin);
        Some(())
    }

    fn add_operation(&mut self, kind: OperationType, name: Option<&'a str>, begin: usize) {
        let roots = begin..self.document.roots.len();
        self.document.operations.push(Definition { kind, name, roots });
    }

    fn fragment(&mut self, begin: usize) -> Option<()> {
        let name = self.name().filter(|name| *name != "on")?;
        self.type_condition()?;
        self.directives(Variables::Known)?;
        self.selection_set(0, true)?;
        let roots = begin..self.document.roots.len();
        self.document.fragments.entry(name).or_default().roots.push(roots);
        Some(())
    }

    fn type_condition(&mut self) -> Option<()> {
        self.name().filter(|word| *word == "on")?;
        let name = self.name()?;
        self.document.names.push(name);
        Some(())
    }

    /// One or more of something, and the bracket behind them.
    fn until(&mut self, closing: u8, mut one: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        one(self)?;
        while !self.takes(closing)? {
            one(self)?;
        }
        Some(())
    }

    /// `at_root`: what it selects is selected by its definition itself.
    fn selection_set(&mut self, depth: usize, at_root: bool) -> Option<()> {
        if depth > DEEPEST {
            return None;
        }
        self.expect(b'{')?;
        self.until(b'}', |reader| reader.selection(depth, at_root))
    }

    fn selection(&mut self, depth: usize, at_root: bool) -> Option<()> {
        if self.next == Token::Spread {
            self.take()?;
            return match self.next {
                Token::Name("on") => {
                    self.type_condition()?;
                    self.directives(Variables::Known)?;
                    self.selection_set(depth + 1, at_root)
                }
                Token::Name(name) => {
                    self.take()?;
                    self.add_root(at_root, Root::Spread(name))?;
                    self.directives(Variables::Known)
                }
                _ => {
                    self.directives(Variables::Known)?;
                    self.selection_set(depth + 1, at_root)
                }
            };
        }
        let mut field = self.name()?;
        if self.takes(b':')? {
            field = self.name()?; // what came first is an alias
        }
        self.document.names.push(field);
        self.add_root(at_root, Root::Field(field))?;
        self.arguments(Variables::Known)?;
        self.directives(Variables::Known)?;
        if self.next == Token::Punctuator(b'{') {
            self.selection_set(depth + 1, false)?;
        }
        Some(())
    }

    fn add_root(&mut self, at_root: bool, root: Root<'a>) -> Option<()> {
        if at_root {
            self.budget.spend_selection()?;
            self.document.roots.push(root);
        }
        Some(())
    }

    fn arguments(&mut self, variables: Variables) -> Option<()> {
        if self.takes(b'(')? {
            self.until(b')', |reader| {
                reader.name()?;
                reader.expect(b':')?;
                reader.value(0, variables)
            })?;
        }
        Some(())
    }

    fn directives(&mut self, variables: Variables) -> Option<()> {
        while self.takes(b'@')? {
            self.name()?;
            self.arguments(variables)?;
        }
        Some(())
    }

    fn value(&mut self, depth: usize, variables: Variables) -> Option<()> {
        if depth > DEEPEST {
            return None;
        }
        match self.take()? {
            Token::Literal | Token::Name(_) => Some(()), // names: true, false, null and values of enums
            Token::Punctuator(b'$') if variables == Variables::Known => self.name().map(drop),
            Token::Punctuator(b'[') => {
                while !self.takes(b']')? {
                    self.value(depth + 1, variables)?;
                }
                Some(())
            }
            Token::Punctuator(b'{') => {
                while !self.takes(b'}')? {
                    self.name()?;
                    self.expect(b':')?;
                    self.value(depth + 1, variables)?;
                }
                Some(())
            }
            _ => None,
        }
    }

    fn type_reference(&mut self, depth: usize) -> Option<()> {
        if depth > DEEPEST {
            return None;
        }
        if self.takes(b'[')? {
            self.type_reference(depth + 1)?;
            self.expect(b']')?;
        } else {
            self.name()?;
        }
        self.takes(b'!').map(drop)
    }
}
