//! The request target: what is decided is what is sent, and no careless reading of it is another path.
//!
//! Input: a line `METHOD HOST`, then the target as received.

use std::collections::BTreeSet;

use doorward::model::target::{PathOptIns, Prefixes, RequestKind, RequestTarget};
use doorward::policy::PathPattern;
use http::Method;
use http::uri::PathAndQuery;
use unicode_normalization::UnicodeNormalization as _;

/// Readings that are followed; each is made of one before it.
const MOST_READINGS: usize = 200;

pub fn check(data: &[u8]) {
    let (line, raw) = super::first_line(data);
    let mut words = line.splitn(2, |byte| *byte == b' ');
    let (method, host) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (Ok(method), Ok(host)) = (Method::from_bytes(method), std::str::from_utf8(host)) else { return };
    let Ok(raw) = PathAndQuery::try_from(raw) else { return };
    let Ok(target) = RequestTarget::parse(&method, host, &raw, RequestKind::Plain) else { return };

    let sent = target.path_and_query();
    assert_eq!(target.query(), raw.query(), "the query is sent as it came");
    let host =
        if target.host().contains(':') { format!("[{}]", target.host()) } else { target.host().into() };
    let again = RequestTarget::parse(&method, &host, sent, RequestKind::Plain);
    assert_eq!(again.as_ref(), Ok(&target), "what is sent is read as what was decided");

    for prefix in ["/public", "/admin"] {
        check_below(&target, prefix);
    }
    let path = target.path();
    assert!(path.starts_with('/') && !path.starts_with("//"), "{path:?} is one absolute path");
    assert!(path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\' && byte != b'#'), "{path:?}");
    let readings = readings(path);
    for reading in &readings {
        let parts = || reading.split(|byte| matches!(byte, b'/' | b'\\'));
        assert!(!parts().any(|part| part == b"." || part == b".."), "{path:?} walks in {}", shown(reading));
        assert!(!reading.contains(&0), "{path:?} ends early in {}", shown(reading));
    }
    // Anyone who may not see a path may not see it in any reading: each is the decided or the loose one.
    if target.needs() == PathOptIns::default() {
        let slashes = |text: &[u8]| text.split(|byte| *byte == b'/').count();
        let cut =
            |text: &[u8]| text.split(|byte| matches!(byte, b'?' | b'#')).next().unwrap_or_default().to_vec();
        for reading in &readings {
            assert!(
                slashes(&cut(reading)) <= slashes(path.as_bytes()),
                "{path:?} grows in {}",
                shown(reading)
            );
        }
    }
    let admin = PathPattern::parse("/admin").expect("it is a pattern");
    let decided = admin.matches(path) || target.loose_path().is_some_and(|loose| admin.matches_loose(loose));
    for reading in readings.iter().filter(|_| !decided) {
        assert!(!is_admin(reading), "{path:?} reads as {} but is decided otherwise", shown(reading));
    }
}

/// What is left without a prefix is a target as well, and the rest of the same path.
fn check_below(target: &RequestTarget, prefix: &str) {
    let Some(left) = Prefixes::new(prefix, "").and_then(|prefixes| prefixes.sent(target)) else { return };
    let whole = if left.path() == "/" && target.path() == prefix { "" } else { left.path() };
    assert_eq!(format!("{prefix}{whole}"), target.path());
    let again = RequestTarget::parse(target.method(), "a", &left, RequestKind::Plain);
    assert_eq!(again.map(|again| again.path_and_query().clone()).as_ref(), Ok(&left), "{prefix}");
}

fn shown(reading: &[u8]) -> String {
    reading.escape_ascii().to_string()
}

fn is_admin(reading: &[u8]) -> bool {
    let text = String::from_utf8_lossy(reading).to_uppercase().to_lowercase();
    text.strip_prefix("/admin").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Everything that servers in a row could make of a path, each misreading it in one way of its own.
fn readings(path: &str) -> BTreeSet<Vec<u8>> {
    let mut all = BTreeSet::from([path.as_bytes().to_vec()]);
    let mut new = vec![path.as_bytes().to_vec()];
    while let Some(reading) = new.pop() {
        for misread in [decoded, folded, without_parameters, without_empty, trimmed, cut, without_authority] {
            let next = misread(&reading);
            if all.len() < MOST_READINGS && all.insert(next.clone()) {
                new.push(next);
            }
        }
    }
    all
}

/// Undoes escapes once.
fn decoded(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((&byte, tail)) = rest.split_first() {
        let hex = tail.get(..2).filter(|hex| hex.iter().all(u8::is_ascii_hexdigit));
        let value = hex.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        if let (b'%', Some(value)) = (byte, value) {
            out.push(value);
            rest = &tail[2..];
        } else {
            out.push(byte);
            rest = tail;
        }
    }
    out
}

/// Compatibility forms as one form (Unicode, NFKC).
fn folded(path: &[u8]) -> Vec<u8> {
    std::str::from_utf8(path)
        .map_or_else(|_| path.to_vec(), |text| text.nfkc().collect::<String>().into_bytes())
}

fn by_segment(path: &[u8], keep: impl Fn(&[u8]) -> Option<Vec<u8>>) -> Vec<u8> {
    path.split(|byte| *byte == b'/').filter_map(keep).collect::<Vec<_>>().join(&b'/')
}

fn without_parameters(path: &[u8]) -> Vec<u8> {
    by_segment(path, |segment| Some(segment.split(|byte| *byte == b';').next().unwrap_or_default().to_vec()))
}

fn without_empty(path: &[u8]) -> Vec<u8> {
    let mut out = vec![b'/'];
    out.extend(by_segment(path, |segment| (!segment.is_empty()).then(|| segment.to_vec())));
    out
}

/// As some file systems do.
fn trimmed(path: &[u8]) -> Vec<u8> {
    by_segment(path, |segment| {
        let end = segment.iter().rposition(|byte| !matches!(byte, b'.' | b' ')).map_or(0, |at| at + 1);
        // A segment of dots alone is a walk, and is looked at as it is.
        Some(if end == 0 { segment.to_vec() } else { segment[..end].to_vec() })
    })
}

/// A server that splits after it has decoded.
fn cut(path: &[u8]) -> Vec<u8> {
    path.split(|byte| matches!(byte, b'?' | b'#')).next().unwrap_or_default().to_vec()
}

/// One that resolves the path as a reference (RFC 3986, 4.2).
fn without_authority(path: &[u8]) -> Vec<u8> {
    let Some(rest) = path.strip_prefix(b"//") else { return path.to_vec() };
    rest.iter().position(|byte| *byte == b'/').map_or_else(|| b"/".to_vec(), |at| rest[at..].to_vec())
}
