//! As much of YAML as settings of other products are written in: nested keys, lists, and scalars on one line.
//!
//! What is read means the same in every YAML 1.2 reader; any other value is there, and not known.

use crate::model::secret::Secret;

/// Levels below each other.
const DEEPEST: usize = 40;

/// A path such as `auth.github.allowed-organizations[0]`, and its value; `None` where it is not one line of text.
pub(super) type Leaf = (String, Option<Secret>);

/// A key or an item that others may stand below.
struct Open {
    indent: usize,
    path: String,
    /// Whether it is an item of a list, or else a key.
    is_item: bool,
    /// Items that stand below it.
    items: usize,
}

/// Every value with its path, in the order of the text.
///
/// # Errors
///
/// Says which line makes no sense, and nothing of it.
pub(super) fn flatten(text: &str) -> Result<Vec<Leaf>, String> {
    let mut reader = Reader { open: Vec::new(), leaves: Vec::new(), below_text: None };
    for (at, line) in text.lines().enumerate() {
        reader.line(line).map_err(|why| format!("line {} {why}", at + 1))?;
    }
    Ok(reader.leaves)
}

struct Reader {
    open: Vec<Open>,
    leaves: Vec<Leaf>,
    /// What stands deeper than this is the rest of a value.
    below_text: Option<usize>,
}

impl Reader {
    fn line(&mut self, line: &str) -> Result<(), &'static str> {
        let content = line.trim_start_matches(' ');
        let indent = line.len() - content.len();
        let content = uncommented(content).trim_end();
        if content.is_empty() || self.below_text.is_some_and(|text| indent > text) {
            return Ok(());
        }
        self.below_text = None;
        if content.starts_with('\t') {
            return Err("begins with a tab, where YAML wants blanks");
        }
        if matches!(content, "---" | "...") || content.starts_with('%') {
            self.open.clear();
            return Ok(());
        }
        self.entry(content, indent)
    }

    fn entry(&mut self, content: &str, indent: usize) -> Result<(), &'static str> {
        if let Some(rest) = content.strip_prefix('-').filter(|rest| rest.is_empty() || rest.starts_with(' '))
        {
            // A list may stand as deep as the key that it belongs to.
            let is_over = |top: &Open| top.indent > indent || (top.indent == indent && top.is_item);
            while self.open.last().is_some_and(is_over) {
                self.open.pop();
            }
            let path = match self.open.last_mut() {
                Some(parent) => {
                    parent.items += 1;
                    format!("{}[{}]", parent.path, parent.items - 1)
                }
                None => "[]".to_owned(),
            };
            let inner = rest.trim_start_matches(' ');
            self.open(indent, path.clone(), true)?;
            if inner.is_empty() {
                return Ok(());
            }
            if inner.starts_with("- ") || key(inner).is_some() {
                return self.entry(inner, indent + 1 + (rest.len() - inner.len()));
            }
            self.value(path, inner, indent);
            return Ok(());
        }
        while self.open.last().is_some_and(|top| top.indent >= indent) {
            self.open.pop();
        }
        let Some((key, value)) = key(content) else {
            // The rest of a value that began on the line before: that one is not known, then.
            let last = self.leaves.last_mut().ok_or("is neither a key nor an item of a list")?;
            last.1 = None;
            return Ok(());
        };
        let path = match self.open.last() {
            Some(parent) => format!("{}.{key}", parent.path),
            None => key.to_owned(),
        };
        if value.is_empty() {
            return self.open(indent, path, false);
        }
        self.value(path, value, indent);
        Ok(())
    }

    fn open(&mut self, indent: usize, path: String, is_item: bool) -> Result<(), &'static str> {
        if self.open.len() >= DEEPEST {
            return Err("is nested too deeply");
        }
        self.open.push(Open { indent, path, is_item, items: 0 });
        Ok(())
    }

    fn value(&mut self, path: String, text: &str, indent: usize) {
        if let Some(items) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            let items = items.split(',').map(str::trim).filter(|item| !item.is_empty());
            let leaves = items.enumerate().map(|(at, item)| (format!("{path}[{at}]"), scalar(item)));
            self.leaves.extend(leaves);
            return;
        }
        if text.starts_with(['|', '>']) {
            self.below_text = Some(indent);
        }
        self.leaves.push((path, scalar(text)));
    }
}

/// A key, and what stands behind its colon.
fn key(content: &str) -> Option<(&str, &str)> {
    for quote in ['"', '\''] {
        if let Some(rest) = content.strip_prefix(quote) {
            let (key, rest) = rest.split_once(quote)?;
            let value = rest.trim_start().strip_prefix(':')?;
            return Some((key, value.trim_start()));
        }
    }
    if content.starts_with(['[', '{', '&', '*', '!', '|', '>', '?']) {
        return None;
    }
    if let Some(key) = content.strip_suffix(':') {
        return Some((key.trim_end(), ""));
    }
    content.split_once(": ").map(|(key, value)| (key.trim_end(), value.trim_start()))
}

/// Without a comment at the end: a `#` at the beginning or after a blank, outside of quotes.
fn uncommented(text: &str) -> &str {
    let mut quote = None;
    let mut before = ' ';
    let mut characters = text.char_indices().peekable();
    while let Some((at, c)) = characters.next() {
        match (quote, c) {
            (Some('"'), '\\') => drop(characters.next()),
            // Doubled, it is one inside.
            (Some('\''), '\'') if characters.next_if(|(_, next)| *next == '\'').is_some() => {}
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') if before.is_whitespace() || "[,:".contains(before) => quote = Some(c),
            (None, '#') if before.is_whitespace() => return text.get(..at).unwrap_or_default(),
            _ => {}
        }
        before = c;
    }
    text
}

/// A scalar on one line; `None` for anything else.
fn scalar(text: &str) -> Option<Secret> {
    if let Some(inner) = text.strip_prefix('\'') {
        let inner = inner.strip_suffix('\'')?;
        let doubled = inner.replace("''", "\0");
        return (!doubled.contains('\'')).then(|| Secret::new(doubled.replace('\0', "'")));
    }
    if text.starts_with('"') {
        // The escapes that YAML has beyond those of JSON are rare, and not read.
        return serde_json::from_str::<Secret>(text).ok();
    }
    let is_special = text.starts_with(['|', '>', '&', '*', '!', '{', '[', '@', '`', '%', ']', '}']);
    (!is_special).then(|| Secret::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn leaves(text: &str) -> Vec<(String, Option<String>)> {
        let plain = |(path, value): Leaf| (path, value.map(|secret| secret.expose().to_owned()));
        flatten(text).unwrap().into_iter().map(plain).collect()
    }

    #[test]
    fn keys_lists_and_scalars_are_found_by_their_paths() {
        let text = "\
---
# a comment
a: 1  # another
\"b c\":
  d: 'it''s # x'
  e: \"q\\\"u\"
  f:
  - x
  - y: 1
    z: http://h/#frag
  -   w
g: [p, 'q r']
h:
    - - i
k: {a: b}
l: |
  m: n
  o
p: *alias
q: two
  lines
r:
s: 2
";
        let wanted: &[(&str, Option<&str>)] = &[
            ("a", Some("1")),
            ("b c.d", Some("it's # x")),
            ("b c.e", Some("q\"u")),
            ("b c.f[0]", Some("x")),
            ("b c.f[1].y", Some("1")),
            ("b c.f[1].z", Some("http://h/#frag")),
            ("b c.f[2]", Some("w")),
            ("g[0]", Some("p")),
            ("g[1]", Some("q r")),
            ("h[0][0]", Some("i")),
            ("k", None),
            ("l", None),
            ("p", None),
            ("q", None),
            ("s", Some("2")),
        ];
        let found = leaves(text);
        let found: Vec<_> = found.iter().map(|(path, value)| (path.as_str(), value.as_deref())).collect();
        assert_eq!(found, wanted);
    }

    #[test]
    fn what_makes_no_sense_is_named_and_not_shown() {
        for (text, line) in [("\ts3cret: 1", "line 1"), ("s3cret", "line 1")] {
            let why = flatten(text).unwrap_err();
            assert!(why.starts_with(line) && !why.contains("s3cret"), "{why}");
        }
        let deep: Vec<String> = (0..100).map(|level| format!("{}a:", " ".repeat(level))).collect();
        assert!(flatten(&deep.join("\n")).unwrap_err().contains("too deeply"));
        assert!(flatten(&"- ".repeat(1000)).is_err());
    }

    #[test]
    fn any_text_is_read_to_the_end() {
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let scraps =
            ["a", ":", " ", "\n", "- ", "'", "\"", "#", "[", "]", "  ", "\\", "|", "é", "\t", "{", "=", "\0"];
        for _ in 0..20_000 {
            let mut text = String::new();
            for _ in 0..24 {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                text.push_str(scraps[usize::try_from(state % scraps.len() as u64).unwrap()]);
            }
            drop(flatten(&text));
        }
    }
}
