//! Compares our GraphQL reader with apollo-parser over documents that are almost valid.

use std::collections::BTreeSet;

use apollo_parser::Parser;
use apollo_parser::cst::{Definition, Document as Tree, Selection, SelectionSet};

use super::Budget;
use super::document::Document;
use crate::model::graphql::OperationType;

/// Kind and root fields of what would run.
type RootSelection = Option<(OperationType, Option<BTreeSet<String>>)>;

fn ours(text: &str, name: Option<&str>) -> RootSelection {
    let mut budget = Budget::full();
    let operation = Document::read(text, &mut budget)?.operation(name, &mut budget)?;
    Some((operation.kind, operation.fields.map(|fields| fields.into_iter().collect())))
}

fn theirs(text: &str, name: Option<&str>) -> RootSelection {
    let tree = Parser::new(text).parse();
    if tree.errors().next().is_some() {
        return None;
    }
    let tree = tree.document();
    let mut kind = None;
    let mut fields = Some(BTreeSet::new());
    for definition in tree.definitions() {
        let operation = match definition {
            Definition::OperationDefinition(operation) => operation,
            Definition::FragmentDefinition(_) => continue,
            _ => return None,
        };
        if name.is_some_and(|name| operation.name().is_none_or(|own| own.text() != name)) {
            continue;
        }
        let own = match operation.operation_type() {
            Some(of) if of.mutation_token().is_some() => OperationType::Mutation,
            Some(of) if of.subscription_token().is_some() => OperationType::Subscription,
            _ => OperationType::Query,
        };
        kind = kind.max(Some(own));
        fields = fields.and_then(|mut fields| {
            roots(&tree, &operation.selection_set()?, &mut fields, 0)?;
            Some(fields)
        });
    }
    Some((kind?, fields))
}

fn roots(tree: &Tree, set: &SelectionSet, fields: &mut BTreeSet<String>, depth: usize) -> Option<()> {
    if depth > 16 {
        return None;
    }
    for selection in set.selections() {
        match selection {
            Selection::Field(field) => {
                fields.insert(field.name()?.text().to_string());
            }
            Selection::InlineFragment(inline) => roots(tree, &inline.selection_set()?, fields, depth + 1)?,
            Selection::FragmentSpread(spread) => {
                let wanted = spread.fragment_name()?.name()?.text().to_string();
                let mut found = false;
                for definition in tree.definitions() {
                    let Definition::FragmentDefinition(fragment) = definition else { continue };
                    if fragment.fragment_name()?.name()?.text() == wanted.as_str() {
                        found = true;
                        roots(tree, &fragment.selection_set()?, fields, depth + 1)?;
                    }
                }
                found.then_some(())?;
            }
        }
    }
    Some(())
}

/// Writes documents; without a comma between a name and a colon, which the other parser does not know to be a blank.
struct DocumentWriter {
    state: u64,
    text: String,
}

impl DocumentWriter {
    fn below(&mut self, bound: usize) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        usize::try_from(self.state >> 33).unwrap() % bound
    }

    fn one(&mut self, words: &[&str]) {
        let word = words[self.below(words.len())];
        self.text.push_str(word);
        let blank = [" ", " ", "\n", " # } \" mutation {\n", "\t"][self.below(5)];
        self.text.push_str(blank);
    }

    fn name(&mut self) {
        self.one(&["a", "b", "c", "query", "on_", "A", "B", "_x1"]);
    }

    fn document(&mut self) {
        for _ in 0..=self.below(3) {
            match self.below(4) {
                0 => {}
                1 => {
                    self.one(&["fragment A on Q", "fragment B on Q @d", "fragment F on on"]);
                }
                _ => {
                    self.one(&["query", "mutation", "subscription", "query A", "mutation B", "query B"]);
                    if self.below(4) == 0 {
                        self.text.push_str("($x: [Int!]! = ");
                        self.value(0);
                        self.text.push_str(" @d, $y: S) ");
                    }
                    self.directives();
                }
            }
            self.selections(0);
        }
    }

    fn directives(&mut self) {
        if self.below(5) == 0 {
            self.one(&["@d", "@include(if: $x)", "@skip(if: true)"]);
        }
    }

    fn selections(&mut self, depth: usize) {
        self.text.push_str("{ ");
        for _ in 0..=self.below(3) {
            match self.below(8) {
                0 if depth < 4 => {
                    self.one(&["...", "... on Q", "...on Q @d"]);
                    self.selections(depth + 1);
                }
                1 => self.one(&["...A", "... B", "...F", "...A @d"]),
                _ => {
                    if self.below(4) == 0 {
                        self.name();
                        self.text.push_str(": ");
                    }
                    self.name();
                    if self.below(3) == 0 {
                        self.text.push_str("(x: ");
                        self.value(0);
                        self.text.push_str(") ");
                    }
                    self.directives();
                    if depth < 4 && self.below(3) == 0 {
                        self.selections(depth + 1);
                    }
                }
            }
        }
        self.text.push_str("} ");
    }

    fn value(&mut self, depth: usize) {
        match self.below(6) {
            0 if depth < 3 => {
                self.text.push('[');
                for _ in 0..self.below(3) {
                    self.value(depth + 1);
                    self.text.push(',');
                }
                self.text.push(']');
            }
            1 if depth < 3 => {
                self.text.push('{');
                for _ in 0..self.below(3) {
                    self.name();
                    self.text.push(':');
                    self.value(depth + 1);
                }
                self.text.push('}');
            }
            _ => self.one(&[
                "1",
                "-0.5e3",
                "0",
                "true",
                "null",
                "E",
                "$x",
                "\"\"",
                "\"} { # é\"",
                "\"\\\"}\\u007b\"",
                "\"\"\"\"\"\"",
                "\"\"\"}\n{ é\"\"\"",
                "\"\"\"\\\"\"\" }\"\"\"",
            ]),
        }
    }

    /// Takes away, doubles or puts in a little somewhere.
    fn spoil(&mut self) {
        let mut at = self.below(self.text.len());
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        let put = [
            "{", "}", "(", ")", "\"", "\"\"\"", "#", "...", "on", ":", "@", "$", "\\", "\r", "\u{feff}", "é",
            "query", "mutation", "fragment", "1", "[", "]", "!", "=", "&", "|", ";", "\n", "",
        ][self.below(29)];
        match self.below(3) {
            0 => self.text.insert_str(at, put),
            1 => {
                self.text.remove(at);
            }
            _ => {
                let end = at + self.text[at..].chars().next().map_or(0, char::len_utf8);
                let doubled = self.text[at..end].to_owned();
                self.text.insert_str(at, &doubled);
            }
        }
    }
}

#[test]
fn what_we_understand_another_parser_reads_alike() {
    let (mut understood, mut spoilt_understood) = (0, 0);
    for seed in 1..=2_000_u64 {
        let mut writer =
            DocumentWriter { state: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15), text: String::new() };
        writer.document();
        for step in 0..4 {
            for name in [None, Some("A"), Some("B")] {
                let (own, other) = (ours(&writer.text, name), theirs(&writer.text, name));
                if own.is_some() {
                    assert_eq!(own, other, "{name:?} of {:?}", writer.text);
                    *(if step == 0 { &mut understood } else { &mut spoilt_understood }) += 1;
                }
                let plain = !writer.text.contains("\\\"\"\"");
                assert!(
                    own.is_some() || step > 0 || !plain || other.is_none(),
                    "{name:?} of {:?}",
                    writer.text
                );
            }
            writer.spoil();
        }
    }
    assert!(understood > 1_500 && spoilt_understood > 1_000, "{understood} and {spoilt_understood}");
}
