//! What the query of a URL says, as any program could read it.
//!
//! Programs differ in how they part a query, in what they decode and how often, in whether letter case and marks
//! count, and in which of two parameters they take. So there are three answers: a parameter stands there as it is
//! meant and every program reads it so, some program could read it, or none could.

use std::borrow::Cow;
use std::fmt;

use percent_encoding::percent_decode_str;

/// How often escapes are undone, as escapes of escapes.
const DEEPEST: usize = 3;

/// Whether a parameter is present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// For every program.
    Plain,
    /// For some programs, or it is not certain.
    Perhaps,
    /// To none.
    No,
}

/// A parameter and its value, which need no escape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryParameter {
    name: String,
    value: String,
}

impl QueryParameter {
    /// Reads `name=value`.
    ///
    /// # Errors
    ///
    /// A sentence that says what one looks like.
    pub fn parse(text: &str) -> Result<Self, String> {
        // What would have to be escaped is spelt in more ways than one.
        let is_plain = |text: &str| {
            text.bytes().all(|byte| byte.is_ascii_graphic() && !b"&;%+#?[]=".contains(&byte))
                && text.bytes().any(|byte| byte.is_ascii_alphanumeric())
        };
        match text.split_once('=') {
            Some((name, value)) if is_plain(name) && is_plain(value) => {
                Ok(Self { name: name.to_owned(), value: value.to_owned() })
            }
            _ => Err(format!(
                "`{text}` is not a parameter with a value: write name=value, such as service=git-receive-pack, without \
                 blanks and & ; % + # ? [ ]"
            )),
        }
    }

    /// Whether a query says it.
    pub fn likeness(&self, query: Option<&str>) -> Presence {
        let Some(query) = query.filter(|query| !query.is_empty()) else { return Presence::No };
        let (layers, mut clear) = layers(query);
        let (mut said, mut once) = (false, true);
        for layer in &layers {
            let mut of_name = 0;
            clear &= !layer.contains(char::is_control);
            for piece in layer.split(['&', ';', '?']) {
                let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
                // PHP and Rails make a list of `name[]`.
                let bare = name.split('[').next().unwrap_or_default();
                clear &= name.is_ascii();
                if is_alike(bare, &self.name) {
                    of_name += 1;
                    clear &= value.is_ascii();
                    // Also as one of a list.
                    said |= letters(value).contains(&letters(&self.value));
                }
            }
            once &= of_name == 1;
        }
        let plain = || {
            let mut pieces = query.split('&').filter_map(|piece| piece.split_once('='));
            pieces.any(|(name, value)| name == self.name && value == self.value)
        };
        match () {
            () if clear && once && plain() => Presence::Plain,
            () if clear && !said => Presence::No,
            () => Presence::Perhaps,
        }
    }
}

impl fmt::Display for QueryParameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.value)
    }
}

/// Whether a server of GraphQL that takes changes by GET could find one in a query: a mutation in any parameter and
/// spelling, or the name of a stored document.
///
/// A document that changes something has the word `mutation` and a selection behind it (GraphQL, September 2025,
/// 2.3); a search for the word alone, or a selector in braces, has not.
pub fn may_change(query: Option<&str>) -> bool {
    let Some(query) = query else { return false };
    if !query.bytes().any(|byte| matches!(byte, b'{' | b'%')) {
        return false;
    }
    let (layers, _) = layers(query);
    layers.iter().any(|layer| holds_mutation(layer) || names_stored_document(layer))
}

fn holds_mutation(text: &str) -> bool {
    const WORD: &str = "mutation";
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.match_indices(WORD).any(|(at, _)| {
        let (before, from) = text.split_at_checked(at).unwrap_or_default();
        let after = from.strip_prefix(WORD).unwrap_or_default();
        !before.ends_with(is_name) && !after.starts_with(is_name) && after.contains('{')
    })
}

/// `persistedQuery`, the name that clients of Apollo and kin give the hash of a document in `extensions`.
fn names_stored_document(text: &str) -> bool {
    const NAME: &[u8] = b"persistedquery";
    text.as_bytes().windows(NAME.len()).any(|window| window.eq_ignore_ascii_case(NAME))
}

/// The text with no escapes undone, with one, and so on, as long as that changes anything; and whether it was
/// plain text at last.
fn layers(query: &str) -> (Vec<Cow<'_, str>>, bool) {
    let mut layers = vec![Cow::Borrowed(query)];
    let mut clear = true;
    while let Some(last) = layers.last().filter(|last| has_escape(last)) {
        if layers.len() > DEEPEST {
            return (layers, false);
        }
        let decoded: Vec<u8> = percent_decode_str(last).collect();
        let text = String::from_utf8_lossy(&decoded).into_owned();
        clear &= text.as_bytes() == decoded;
        layers.push(Cow::Owned(text));
    }
    let odd = layers.last().is_some_and(|last| has_odd_escape(last));
    (layers, clear && !odd)
}

fn has_escape(text: &str) -> bool {
    text.as_bytes().windows(3).any(
        |window| matches!(window, [b'%', high, low] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit()),
    )
}

/// `%u0067`, as `JScript` wrote it and IIS reads it.
fn has_odd_escape(text: &str) -> bool {
    text.as_bytes().windows(6).any(|window| {
        matches!(window, [b'%', b'u' | b'U', digits @ ..] if digits.iter().all(u8::is_ascii_hexdigit))
    })
}

/// Whether a careless program could take one name for the other: by letter case, marks, or what it cuts off.
pub fn is_alike(one: &str, other: &str) -> bool {
    letters(one) == letters(other)
}

fn letters(text: &str) -> String {
    text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_plainly_there_only_where_everybody_reads_it() {
        let push = QueryParameter::parse("service=git-receive-pack").unwrap();
        for (query, likeness) in [
            ("service=git-receive-pack", Presence::Plain),
            ("a=1&service=git-receive-pack&b=%20", Presence::Plain),
            ("q=a+b&service=git-receive-pack", Presence::Plain),
            ("", Presence::No),
            ("service=git-upload-pack", Presence::No),
            ("service", Presence::No),
            ("servicex=git-receive-pack", Presence::No),
            ("x=git-receive-pack", Presence::No),
            ("x=100%25&service=git-upload-pack", Presence::No),
            ("service=git-upload-pack&service=git-receive-pack", Presence::Perhaps),
            ("service=git-receive-pack&service=git-receive-pack", Presence::Perhaps),
            ("service=git-receive-pack&Service=git-upload-pack", Presence::Perhaps),
            ("SERVICE=git-receive-pack", Presence::Perhaps),
            ("service=GIT-RECEIVE-PACK", Presence::Perhaps),
            ("servic%65=git-receive-pack", Presence::Perhaps),
            ("%73%65%72%76%69%63%65=git-receive-pack", Presence::Perhaps),
            ("servic%2565=git-receive-pack", Presence::Perhaps),
            ("servic%u0065=git-receive-pack", Presence::Perhaps),
            ("service=git%2Dreceive-pack", Presence::Perhaps),
            ("service=git-receive-pack%00", Presence::Perhaps),
            ("service%00x=git-receive-pack", Presence::Perhaps),
            ("service=git-receive-pack%20", Presence::Perhaps),
            ("service=git-receive-pack+", Presence::Perhaps),
            ("+service=git-receive-pack", Presence::Perhaps),
            ("service[]=git-receive-pack", Presence::Perhaps),
            ("service%5B%5D=git-receive-pack", Presence::Perhaps),
            ("x=1;service=git-receive-pack", Presence::Perhaps),
            ("service=git-receive-pack;x=1", Presence::Perhaps),
            ("service=x,git-receive-pack", Presence::Perhaps),
            ("x=%26service=git-receive-pack", Presence::Perhaps),
            ("x%3D1%26service%3Dgit-receive-pack", Presence::Perhaps),
            ("service=git-upload-pack%26service%3Dgit-receive-pack", Presence::Perhaps),
            ("?service=git-receive-pack", Presence::Perhaps),
            ("x?service=git-receive-pack", Presence::Perhaps),
            ("service=%FF", Presence::Perhaps),
            ("x=%FF", Presence::Perhaps),
            ("\u{17f}ervice=git-receive-pack", Presence::Perhaps),
            ("%25252525", Presence::Perhaps),
        ] {
            assert_eq!(push.likeness(Some(query)), likeness, "{query}");
        }
        assert_eq!(push.likeness(None), Presence::No);
    }

    #[test]
    fn only_what_needs_no_escape_can_be_asked_for() {
        for text in ["", "a", "a=", "=b", "a=b c", "a=b&c=d", "a=%62", "a=b=c", "a=-", "a[]=b", "a=\u{e4}"] {
            assert!(QueryParameter::parse(text).is_err(), "{text}");
        }
        assert_eq!(QueryParameter::parse("a=b-c.d/e:f").unwrap().to_string(), "a=b-c.d/e:f");
    }

    #[test]
    fn a_mutation_is_found_in_any_spelling_and_ordinary_searches_are_none() {
        for query in [
            "query=mutation{drop}",
            "query=mutation%7Bdrop%7D",
            "query=mutation+M%28%24a%3AInt%29%7Bdrop%7D",
            "query=%6Dutation%7Bdrop%7D",
            "query=%256Dutation%257Bdrop%257D",
            "x=query+A%7Ba%7D+mutation+B%7Bb%7D",
            "query=fragment F on M{a}%0Amutation{...F}",
            "document=mutation{drop}",
            "a=1;query=mutation{drop}",
            "query=%EF%BB%BFmutation{drop}",
            "extensions=%7B%22persistedQuery%22%3A%7B%22sha256Hash%22%3A%22x%22%7D%7D",
            "query=%ffmutation{drop}",
        ] {
            assert!(may_change(Some(query)), "{query}");
        }
        for query in [
            "",
            "q=mutation",
            "q=mutation+in+gene%20x",
            "query=%7Bprojects%7D",
            "query=query+Q%7Bmutations%7Bid%7D%7D",
            "query=%7Bmutation_rate%7D",
            "query=sum(rate(http_requests_total%7Bjob%3D%22mutation%22%7D%5B5m%5D))",
            "expr=%7Bapp%3D%22x%22%7D+%7C%3D+%22mutation%22",
            "query=%7B__type(name:%22Mutation%22)%7Bname%7D%7D",
            "documentId=5",
            "x=%ZZ%",
        ] {
            assert!(!may_change(Some(query)), "{query}");
        }
        assert!(!may_change(None));
    }
}
