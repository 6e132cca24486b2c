//! Path patterns: a prefix by segment, or a glob over the whole path.

use std::fmt;
use std::fmt::Write as _;

use crate::model::target;

/// A pattern for paths.
///
/// Without `*` it is a prefix by segment: `/admin` matches `/admin`, `/admin/` and `/admin/x`, never `/administer`.
/// With `*` it matches whole paths: `*` stands for any part of one segment, `**` for any number of segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPattern {
    text: String,
    canonical: PatternForm,
    loose: PatternForm,
}

/// One pattern in one reading.
#[derive(Clone, Debug, PartialEq, Eq)]
enum PatternForm {
    /// Without trailing slash; empty for `/`.
    Prefix(String),
    Glob(Vec<String>),
}

impl PathPattern {
    /// Reads a pattern. Characters that need escaping in a URL may be written plainly.
    ///
    /// # Errors
    ///
    /// A sentence that says what a pattern looks like.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.contains(['?', '#']) {
            return Err(format!("`{text}`: a query or fragment never takes part in matching; leave it out"));
        }
        if text.contains("//") {
            return Err(format!("`{text}` has an empty segment"));
        }
        let escaped = escape(text);
        let canonical = target::canonical_path(&escaped)
            .map_err(|error| format!("`{text}` is not a path pattern such as `/api/**`: {error}"))?;
        if canonical.split('/').any(|segment| segment == "." || segment == "..") {
            return Err(format!("`{text}` has a dot segment"));
        }
        if canonical.split('/').any(|segment| segment.contains("**") && segment != "**") {
            return Err(format!("`{text}`: `**` stands for whole segments, as in `/api/**`"));
        }
        let decoded = decode_once(&canonical);
        let loose = target::loosen(&decoded).map_err(|error| format!("`{text}`: {error}"))?;
        let glob = canonical.contains('*');
        Ok(Self {
            text: text.to_owned(),
            canonical: PatternForm::of(&canonical, glob),
            loose: PatternForm::of(&loose, glob),
        })
    }

    /// Reads a pattern that is never a prefix: it stands for whole paths, with or without a slash at the end.
    ///
    /// # Errors
    ///
    /// As [`PathPattern::parse`].
    pub(super) fn whole(text: &str) -> Result<Self, String> {
        let Self { text, canonical, loose } = Self::parse(text)?;
        Ok(Self { text, canonical: canonical.whole(), loose: loose.whole() })
    }

    /// Whether a canonical path matches.
    pub fn matches(&self, path: &str) -> bool {
        self.canonical.matches(path)
    }

    /// Whether the loose reading of a path matches.
    pub fn matches_loose(&self, path: &str) -> bool {
        self.loose.matches(path)
    }

    /// Whether every path that `other` matches is matched too, in both readings. Says no where that is hard to tell.
    pub fn includes(&self, other: &Self) -> bool {
        self.canonical.includes(&other.canonical) && self.loose.includes(&other.loose)
    }

    /// Whether a careless server could read a path as one of these although it is not, and no server reads that path
    /// in two ways: a pattern with capitals, and a path without.
    pub fn is_loose_itself(&self) -> bool {
        self.canonical != self.loose
    }

    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PatternForm {
    fn of(path: &str, glob: bool) -> Self {
        let path = path.strip_suffix('/').unwrap_or(path);
        if glob { Self::glob(path) } else { Self::Prefix(path.to_owned()) }
    }

    fn glob(path: &str) -> Self {
        Self::Glob(path.split('/').skip(1).map(str::to_owned).collect())
    }

    fn whole(self) -> Self {
        match self {
            Self::Prefix(path) => Self::glob(&path),
            glob @ Self::Glob(_) => glob,
        }
    }

    fn includes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Prefix(prefix), Self::Prefix(path)) => Self::below(prefix, path),
            (Self::Prefix(prefix), Self::Glob(inner)) => {
                let plain = prefix.split('/').skip(1);
                let count = plain.clone().count();
                inner.len() >= count
                    && plain.zip(inner).all(|(own, other)| own == other && !own.contains('*'))
            }
            // What takes any end of a path takes a longer one as well.
            (Self::Glob(outer), Self::Prefix(path)) => {
                outer.last().is_some_and(|last| last == "**") && self.matches(path)
            }
            (Self::Glob(outer), Self::Glob(inner)) => {
                let segments = |outer: &[String]| {
                    let spans = |part: &String| part == "**";
                    let pairs = outer.iter().zip(inner);
                    outer.len() <= inner.len()
                        && pairs.clone().all(|(own, other)| own == other || own == "*")
                        && !pairs.flat_map(|(own, other)| [own, other]).any(spans)
                };
                outer == inner
                    || outer.len() == inner.len() && segments(outer)
                    || outer.split_last().is_some_and(|(last, rest)| last == "**" && segments(rest))
            }
        }
    }

    fn below(prefix: &str, path: &str) -> bool {
        path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    fn matches(&self, path: &str) -> bool {
        match self {
            Self::Prefix(prefix) => Self::below(prefix, path),
            Self::Glob(pattern) => {
                let path = path.strip_suffix('/').unwrap_or(path);
                let path = path.strip_prefix('/').unwrap_or(path);
                glob(pattern, &mut path.split('/'))
            }
        }
    }
}

/// Matches segments against a pattern; `**` takes any number of them, so the last `**` seen is retried.
fn glob<'p>(pattern: &[String], path: &mut (impl Iterator<Item = &'p str> + Clone)) -> bool {
    let mut rest = pattern;
    let mut retry = None;
    loop {
        let mut ahead = path.clone();
        match (rest.split_first(), ahead.next()) {
            (Some((head, tail)), _) if head == "**" => {
                retry = Some((tail, path.clone()));
                rest = tail;
            }
            (Some((head, tail)), Some(segment)) if glob_segment(head, segment) => {
                *path = ahead;
                rest = tail;
            }
            (None, None) => return true,
            _ => {
                let Some((tail, mut from)) = retry.take() else { return false };
                if from.next().is_none() {
                    return false;
                }
                retry = Some((tail, from.clone()));
                *path = from;
                rest = tail;
            }
        }
    }
}

/// Matches one segment against a pattern in which `*` stands for any characters.
fn glob_segment(pattern: &str, segment: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = segment.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// Escapes what a URL path cannot hold, so that rules may be written in plain text.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte <= b' ' || byte >= 0x7F {
            _ = write!(escaped, "%{byte:02X}");
        } else {
            escaped.push(char::from(byte));
        }
    }
    escaped
}

fn decode_once(path: &str) -> String {
    let bytes = path.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let escape = bytes.get(at + 1..at + 3).and_then(|hex| std::str::from_utf8(hex).ok());
        match escape.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(value) if byte == b'%' => {
                decoded.push(value);
                at += 3;
            }
            _ => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, yes: &[&str], no: &[&str]) {
        let pattern = PathPattern::parse(pattern).unwrap();
        for path in yes {
            assert!(pattern.matches(path), "{pattern} should match {path}");
        }
        for path in no {
            assert!(!pattern.matches(path), "{pattern} should not match {path}");
        }
    }

    #[test]
    fn a_plain_pattern_is_a_prefix_by_segment() {
        check("/", &["/", "/a", "/a/b/"], &[]);
        check("/admin", &["/admin", "/admin/", "/admin/x"], &["/", "/administer", "/admin.", "/x/admin"]);
        check("/admin/", &["/admin", "/admin/x"], &["/administer"]);
        check("/büro", &["/b%C3%BCro", "/b%C3%BCro/x"], &["/buro"]);
    }

    #[test]
    fn a_star_stays_within_its_segment() {
        check(
            "/v1/projects/*",
            &["/v1/projects/a", "/v1/projects/a/"],
            &["/v1/projects", "/v1/projects/a/b"],
        );
        check("/static/*.js", &["/static/a.js", "/static/.js"], &["/static/a.css", "/static/x/a.js"]);
        check("/a*b*c", &["/abc", "/axxbyyc"], &["/ab", "/acb", "/xabc"]);
    }

    #[test]
    fn two_stars_span_segments() {
        check("/api/**", &["/api", "/api/a", "/api/a/b/"], &["/", "/apix"]);
        check("/**/edit", &["/edit", "/a/edit", "/a/b/edit"], &["/a/edit/b", "/editor"]);
        check("/a/**/b/**/c", &["/a/b/c", "/a/x/b/y/z/c", "/a/b/b/c"], &["/a/c", "/a/b", "/a/b/c/d"]);
    }

    /// P33: a pattern and a path that would take for ever.
    #[test]
    fn a_hostile_path_costs_no_more_than_a_product_of_lengths() {
        let pattern = PathPattern::parse("/**/a/**/a/**/a/**/a/**/b").unwrap();
        let path = "/a".repeat(4000);
        assert!(!pattern.matches(&path));
    }

    #[test]
    fn a_pattern_includes_only_what_it_matches_all_of() {
        let includes = |outer: &str, inner: &str| {
            PathPattern::parse(outer).unwrap().includes(&PathPattern::parse(inner).unwrap())
        };
        for (outer, inner) in [
            ("/", "/a"),
            ("/", "/**/x"),
            ("/a", "/a/b"),
            ("/a", "/a"),
            ("/a/", "/a/*/c"),
            ("/**", "/"),
            ("/a/**", "/a"),
            ("/a/**", "/a/b"),
            ("/*/b/**", "/a/b/c"),
            ("/a/*", "/a/*"),
            ("/a/*/c", "/a/x*/c"),
            ("/a/**", "/a/*/c/**"),
            ("/*/**", "/a/**"),
        ] {
            assert!(includes(outer, inner), "{outer} {inner}");
        }
        for (outer, inner) in [
            ("/a", "/"),
            ("/a", "/ab"),
            ("/a", "/A"),
            ("/a", "/*"),
            ("/a/*", "/a"),
            ("/a/*", "/a/b"),
            ("/a/*", "/a/**"),
            ("/a/**", "/**/a"),
            ("/a*", "/ab*"),
            ("/**/x", "/**/x/y"),
        ] {
            assert!(!includes(outer, inner), "{outer} {inner}");
        }
    }

    #[test]
    fn malformed_patterns_say_what_is_wrong() {
        for pattern in ["", "admin", "/a/../b", "/a?x=1", "/a#b", "/a//b", "/a**", "/a\\b", "/a%zz"] {
            assert!(PathPattern::parse(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn the_loose_reading_folds_characters_and_never_makes_a_glob() {
        let pattern = PathPattern::parse("/ｂüro＊").unwrap();
        assert!(pattern.matches_loose("/buro*/x") && !pattern.matches_loose("/buroz"));
    }

    #[test]
    fn the_loose_reading_ignores_case_and_escapes() {
        let pattern = PathPattern::parse("/Admin!").unwrap();
        assert!(pattern.matches("/Admin!") && !pattern.matches("/admin!"));
        assert!(pattern.matches_loose("/admin!"));
    }
}
