//! Prefixes of paths: what a client calls a place, and what the server behind the gateway calls it.

use std::borrow::Cow;

use bytes::Bytes;
use http::uri::PathAndQuery;

use super::{RequestTarget, begins_with_nothing, read_carelessly};

/// How the paths of a route are renamed on their way to an upstream: one prefix is cut off, another put before.
///
/// Nothing else changes: the rest of the path and the query are byte for byte what was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefixes {
    strip: Box<str>,
    add: Box<str>,
}

impl Prefixes {
    /// Prefixes in canonical form, each beginning with `/` and not ending with one, or empty; `None` if both are.
    pub fn new(strip: &str, add: &str) -> Option<Self> {
        (!strip.is_empty() || !add.is_empty()).then(|| Self { strip: strip.into(), add: add.into() })
    }

    /// What is cut off; empty if nothing is.
    pub fn stripped(&self) -> &str {
        &self.strip
    }

    /// What is put before; empty if nothing is.
    pub fn added(&self) -> &str {
        &self.add
    }

    /// What the upstream is asked for; `None` if the path does not begin with what is to be cut off, or what
    /// is left of it begins with `//`, or with what some servers make that of: they read it as a host
    /// (RFC 3986, 4.2).
    pub fn sent(&self, target: &RequestTarget) -> Option<PathAndQuery> {
        let rest = below(target.path(), &self.strip)?;
        let root = if rest.is_empty() && self.add.is_empty() { "/" } else { "" };
        let mut whole = [root, &self.add, rest].concat();
        let odd = target.loose_path().is_some();
        if whole.starts_with("//")
            || odd && read_carelessly(&whole).map_or(true, |decoded| begins_with_nothing(&decoded.text))
        {
            return None;
        }
        if let Some(query) = target.query() {
            whole.push('?');
            whole.push_str(query);
        }
        PathAndQuery::from_maybe_shared(Bytes::from(whole)).ok()
    }

    /// What a client should have asked for that asks for the prefix alone: the same with a slash, without which
    /// relative addresses in the answer lead elsewhere. The upstream cannot say so, as to it both are `/`; where
    /// something is put before, it can.
    pub fn with_slash(&self, target: &RequestTarget) -> Option<PathAndQuery> {
        if self.strip.is_empty() || !self.add.is_empty() || target.path() != &*self.strip {
            return None;
        }
        let query = target.query().map(|query| format!("?{query}")).unwrap_or_default();
        PathAndQuery::from_maybe_shared(Bytes::from(format!("{}/{query}", self.strip))).ok()
    }

    /// What the client calls a path of the upstream's; `None` if no path of the route leads there.
    ///
    /// An upstream that was told of the prefix writes it itself; such a path stays as it is.
    pub fn returned<'p>(&self, path: &'p str) -> Option<Cow<'p, str>> {
        let by_client = !self.strip.is_empty() && below(path, &self.strip).is_some();
        match below(path, &self.add) {
            Some(rest) if !(self.add.is_empty() && by_client) => {
                let root = if rest.is_empty() && self.strip.is_empty() { "/" } else { "" };
                Some(Cow::Owned([root, &self.strip, rest].concat()))
            }
            _ => by_client.then_some(Cow::Borrowed(path)),
        }
    }

    /// The same for the `Path` of a cookie, which covers what lies below it (RFC 6265, 5.1.4).
    pub fn returned_scope<'p>(&self, path: &'p str) -> Option<Cow<'p, str>> {
        let root = if self.strip.is_empty() { "/" } else { &self.strip };
        let trimmed = path.strip_suffix('/').unwrap_or(path);
        if below(&self.add, trimmed).is_some() && (!self.add.is_empty() || path == "/") {
            return Some(Cow::Owned(root.to_owned()));
        }
        self.returned(path)
    }
}

/// What is left of a path after a prefix, by segment: empty, or beginning with `/`.
fn below<'p>(path: &'p str, prefix: &str) -> Option<&'p str> {
    path.strip_prefix(prefix).filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use http::Method;
    use proptest::prelude::*;

    use super::*;
    use crate::model::target::RequestKind;

    fn target(raw: &str) -> Option<RequestTarget> {
        let raw = PathAndQuery::try_from(raw).ok()?;
        RequestTarget::parse(&Method::GET, "app", &raw, RequestKind::Plain).ok()
    }

    #[test]
    fn a_prefix_is_cut_off_and_another_put_before() {
        for (strip, add, asked, sent) in [
            ("/app", "", "/app/x?q=/app", "/x?q=/app"),
            ("/app", "", "/app/", "/"),
            ("/app", "", "/app", "/"),
            ("/app", "", "/app?q", "/?q"),
            ("/app", "", "/app/app/x", "/app/x"),
            ("/a/b", "", "/a/b/c", "/c"),
            ("", "/base", "/x", "/base/x"),
            ("", "/base", "/", "/base/"),
            ("/app", "/base", "/app", "/base"),
            ("/app", "/base", "/app/x", "/base/x"),
            ("/app", "", "/app/x%2Fy;z", "/x%2Fy;z"),
            ("/app", "/base", "/app//x", "/base//x"),
        ] {
            let prefixes = Prefixes::new(strip, add).unwrap();
            assert_eq!(prefixes.sent(&target(asked).unwrap()).unwrap(), sent, "{asked}");
        }
    }

    #[test]
    fn only_the_prefix_alone_lacks_a_slash_that_the_upstream_cannot_see() {
        for (strip, add, asked, with_slash) in [
            ("/app", "", "/app", Some("/app/")),
            ("/app", "", "/app?q=//evil.example/", Some("/app/?q=//evil.example/")),
            ("/a/b", "", "/%61/b", Some("/a/b/")),
            ("/app", "", "/app/", None),
            ("/app", "", "/app/x", None),
            ("/app", "", "/apple", None),
            ("/app", "/base", "/app", None),
            ("", "/base", "/app", None),
        ] {
            let prefixes = Prefixes::new(strip, add).unwrap();
            let seen = prefixes.with_slash(&target(asked).unwrap());
            assert_eq!(seen.as_ref().map(PathAndQuery::as_str), with_slash, "-{strip} +{add} {asked}");
        }
    }

    #[test]
    fn a_prefix_ends_with_a_segment_and_is_cut_in_no_other_spelling() {
        let prefixes = Prefixes::new("/app", "").unwrap();
        for asked in ["/apple", "/app;x/y", "/app%2Fx", "/APP/x", "/app.", "/ap", "/", "/app//x", "/app//"] {
            assert_eq!(prefixes.sent(&target(asked).unwrap()), None, "{asked}");
        }
        assert_eq!(Prefixes::new("", ""), None);
    }

    #[test]
    fn paths_of_answers_are_what_the_client_calls_them() {
        for (strip, add, said, returned) in [
            ("/app", "", "/", Some("/app/")),
            ("/app", "", "/x", Some("/app/x")),
            ("/app", "", "/app/x", Some("/app/x")),
            ("/app", "", "/apple", Some("/app/apple")),
            ("", "/base", "/base", Some("/")),
            ("", "/base", "/base/x", Some("/x")),
            ("", "/base", "/other", None),
            ("/app", "/base", "/base/x", Some("/app/x")),
            ("/app", "/base", "/app/x", Some("/app/x")),
            ("/app", "/base", "/based", None),
            ("/a", "/a/b", "/a/b/x", Some("/a/x")),
        ] {
            let prefixes = Prefixes::new(strip, add).unwrap();
            assert_eq!(prefixes.returned(said).as_deref(), returned, "-{strip} +{add} {said}");
        }
    }

    #[test]
    fn the_scope_of_a_cookie_stays_within_the_route() {
        for (strip, add, said, returned) in [
            ("/app", "", "/", Some("/app")),
            ("/app", "", "/x/", Some("/app/x/")),
            ("/app", "", "/app", Some("/app")),
            ("/app", "/base", "/", Some("/app")),
            ("/app", "/base", "/base", Some("/app")),
            ("/app", "/base", "/base/", Some("/app")),
            ("/app", "/base/deep", "/base", Some("/app")),
            ("/app", "/base", "/other", None),
            ("", "/base", "/base", Some("/")),
            ("", "/base", "/", Some("/")),
        ] {
            let prefixes = Prefixes::new(strip, add).unwrap();
            assert_eq!(prefixes.returned_scope(said).as_deref(), returned, "-{strip} +{add} {said}");
        }
    }

    proptest! {
        #[test]
        fn what_is_sent_is_what_was_decided_without_the_prefix(
            prefix in "(/[a-z~.-]{0,3}[a-z0-9_%A-F]{1,4}){1,3}",
            rest in "((/[a-zA-Z0-9%2F;.~]{0,5}){0,4}/?)",
            query in proptest::option::of("[ -~]{0,8}"),
        ) {
            let whole = query.map_or_else(|| format!("{prefix}{rest}"), |query| format!("{prefix}{rest}?{query}"));
            let (Some(asked), Some(place)) = (target(&whole), target(&prefix)) else { return Ok(()) };
            let prefix = place.path();
            let Some(rest) = below(asked.path(), prefix) else { return Ok(()) };
            let cut = Prefixes::new(prefix, "").unwrap().sent(&asked);
            prop_assert_eq!(cut.is_none(), !rest.is_empty() && target(rest).is_none());
            let Some(cut) = cut else { return Ok(()) };
            prop_assert_eq!(cut.path(), if rest.is_empty() { "/" } else { rest });
            prop_assert_eq!(cut.query(), asked.query());

            // What was cut off and put before again is where it was, and so is a path in an answer.
            let same = Prefixes::new(prefix, prefix).unwrap();
            prop_assert_eq!(&same.sent(&asked).unwrap(), asked.path_and_query());
            let again = target(cut.as_str()).expect("what is left of a valid target is one");
            let put_back = Prefixes::new("", prefix).unwrap().sent(&again).unwrap();
            if !rest.is_empty() {
                prop_assert_eq!(&put_back, asked.path_and_query());
            }
            prop_assert!(again.needs().first_missing(asked.needs()).is_none());
        }
    }
}
