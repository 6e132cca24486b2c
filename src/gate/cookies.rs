//! Our cookies among those of applications: read and removed byte by byte.

use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderValue};

use crate::model::session_cookie::own_stems;
use crate::model::token::KeyText;

/// Removes our cookies, where the session's is called `session`, and those that hold a key of ours.
pub(super) fn strip_cookies(headers: &mut HeaderMap, session: &str) {
    let is_named = |text: &[u8]| {
        let text = text.trim_ascii_start();
        let begins =
            |own: &str| text.get(..own.len()).is_some_and(|start| start.eq_ignore_ascii_case(own.as_bytes()));
        own_stems(session).any(begins)
    };
    // Some servers read a comma as the end of a cookie (RFC 2109, 4.4), or names in any case.
    let is_ours = |pair: &[u8]| pair.split(|byte| *byte == b',').any(is_named) || KeyText::stands_in(pair);
    if !headers.get_all(COOKIE).iter().flat_map(pairs).any(is_ours) {
        return;
    }
    let kept: Vec<HeaderValue> = headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| {
            let kept: Vec<&[u8]> = pairs(value).filter(|pair| !is_ours(pair)).collect();
            let joined = kept.join(&b';');
            HeaderValue::from_bytes(joined.trim_ascii()).ok().filter(|value| !value.is_empty())
        })
        .collect();
    headers.remove(COOKIE);
    for value in kept {
        headers.append(COOKIE, value);
    }
}

/// Removes `Set-Cookie` of our names from an answer: no application signs people in or out here. A cookie
/// without a name is sent back as its value alone, which then reads as name and value.
pub fn strip_set_cookies(headers: &mut HeaderMap, session: &str) {
    let is_ours = |value: &HeaderValue| {
        let (name, rest) = split_pair(value.as_bytes());
        let read = if name.is_empty() { rest } else { name };
        own_stems(session).any(|own| read.starts_with(own.as_bytes()))
    };
    if headers.get_all(SET_COOKIE).iter().any(is_ours) {
        let kept: Vec<_> =
            headers.get_all(SET_COOKIE).iter().filter(|value| !is_ours(value)).cloned().collect();
        headers.remove(SET_COOKIE);
        for value in kept {
            headers.append(SET_COOKIE, value);
        }
    }
}

/// The names of every cookie.
pub fn cookie_names(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    headers.get_all(COOKIE).iter().flat_map(pairs).map(|pair| split_pair(pair).0)
}

/// The values of every cookie of a name. One without `=` counts as well: some servers read it as a name.
pub fn cookies_named<'h>(headers: &'h HeaderMap, name: &str) -> impl Iterator<Item = &'h [u8]> {
    headers.get_all(COOKIE).iter().flat_map(pairs).filter_map(move |pair| {
        let (found, value) = split_pair(pair);
        (found == name.as_bytes()).then_some(value)
    })
}

/// The pairs of a Cookie header (RFC 6265, 4.2.1), as bytes: a neighbour's cookie may hold any byte and
/// must not hide ours.
pub(super) fn pairs(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value.as_bytes().split(|byte| *byte == b';')
}

pub(super) fn split_pair(pair: &[u8]) -> (&[u8], &[u8]) {
    let at = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
    let (name, value) = pair.split_at_checked(at).unwrap_or((pair, &[]));
    (name.trim_ascii(), value.get(1..).unwrap_or_default().trim_ascii())
}
