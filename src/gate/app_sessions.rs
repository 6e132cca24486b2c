//! Applications' own sessions: the cookie of one goes back to the application for the person alone for whom it was set.
//!
//! An application that learns from our headers who is calling may remember that by a cookie of its own, which outlives
//! the sign-in here and counts for more than the headers. So its value bears a tag as long as browsers hold it, by a key
//! derived from the master key, over what tells one caller from another. Nothing is stored: every replica knows the tag,
//! also after a restart.

use std::borrow::Cow;

use http::header::{COOKIE, Entry, SET_COOKIE};
use http::{HeaderMap, HeaderValue};
use subtle::ConstantTimeEq as _;

use super::authenticator::Identity;
use super::cookies::{pairs, split_pair};
use crate::config::{Config, RouteConfig};
use crate::model::session_cookie::SessionCookie;
use crate::model::token::SigningKey;

/// Characters of a tag. A full stop is before it.
const TAG: usize = 22;

/// The session cookies of an upstream's application.
#[derive(Debug)]
pub struct AppSessions {
    upstream: String,
    cookies: Vec<SessionCookie>,
    /// Whether rules are enforced on any route to it. Where they only log, the application sets what it always set.
    kept: bool,
}

impl AppSessions {
    /// Those of a route's upstream, if it has one that names any.
    pub fn of(route: &RouteConfig, config: &Config) -> Option<Self> {
        let upstream = config.upstreams.get(route.upstream?)?;
        let cookies = upstream.session_cookies.clone();
        let kept = config.is_kept(route);
        (!cookies.is_empty()).then(|| Self { upstream: upstream.name.clone(), cookies, kept })
    }

    /// Binds the cookies that a response sets to its caller; `None` is anonymous. What it deletes has nothing to tie.
    pub fn seal(&self, headers: &mut HeaderMap, key: &SigningKey, caller: Option<&Identity>) {
        if !self.kept || !headers.contains_key(SET_COOKIE) {
            return;
        }
        if let Entry::Occupied(mut entry) = headers.entry(SET_COOKIE) {
            for value in entry.iter_mut() {
                if let Some(sealed) = self.sealed(value.as_bytes(), key, caller) {
                    *value = sealed;
                }
            }
        }
    }

    /// What the application gets of its cookies: without the tags, and without those that were not set for this
    /// caller. Where no route to it enforces rules, a cookie without a valid tag is passed on as it came. On some is enough: the
    /// application may set again what it got on another, which would then bear the tag of somebody else. Other cookies
    /// keep their bytes and order.
    pub fn open(&self, headers: &mut HeaderMap, key: &SigningKey, caller: Option<&Identity>) {
        let concerns = |pair: &[u8]| self.names(split_pair(pair).0) || self.hide_in(pair);
        if !headers.get_all(COOKIE).iter().flat_map(pairs).any(concerns) {
            return;
        }
        let opened: Vec<HeaderValue> = headers
            .get_all(COOKIE)
            .iter()
            .filter_map(|value| {
                let left = pairs(value).filter_map(|pair| self.opened(pair, key, caller));
                let left: Vec<Cow<'_, [u8]>> = left.collect();
                let joined = left.join(&b';');
                HeaderValue::from_bytes(joined.trim_ascii()).ok().filter(|value| !value.is_empty())
            })
            .collect();
        headers.remove(COOKIE);
        for value in opened {
            headers.append(COOKIE, value);
        }
    }

    /// A `Set-Cookie` with the tag behind the value, within its quotes: some clients take those off.
    fn sealed(&self, cookie: &[u8], key: &SigningKey, caller: Option<&Identity>) -> Option<HeaderValue> {
        let end = cookie.iter().position(|byte| *byte == b';').unwrap_or(cookie.len());
        let (pair, attributes) = cookie.split_at_checked(end)?;
        let (name, value) = split_pair(pair);
        let (plain, quote) = unquoted(value);
        if plain.is_empty() || !self.names(name) {
            return None;
        }
        let tag = key.tag(&self.message(name, plain, caller));
        HeaderValue::from_bytes(&[name, b"=", quote, plain, b".", tag.as_bytes(), quote, attributes].concat())
            .ok()
    }

    /// A pair of a request as it goes on, if it does.
    fn opened<'p>(
        &self,
        pair: &'p [u8],
        key: &SigningKey,
        caller: Option<&Identity>,
    ) -> Option<Cow<'p, [u8]>> {
        let (name, value) = split_pair(pair);
        let withheld = if self.names(name) {
            let (inner, quote) = unquoted(value);
            if let Some(plain) = self.plain(name, inner, key, caller) {
                let blank: &[u8] = if pair.starts_with(b" ") { b" " } else { b"" };
                return Some(Cow::Owned([blank, name, b"=", quote, plain, quote].concat()));
            }
            true
        } else {
            self.hide_in(pair)
        };
        if withheld && self.kept {
            let upstream = self.upstream.as_str();
            tracing::debug!(upstream, "a session cookie of the application was not set for this caller");
            return None;
        }
        Some(Cow::Borrowed(pair))
    }

    /// The application's own value of what bears the caller's tag.
    fn plain<'v>(
        &self,
        name: &[u8],
        sealed: &'v [u8],
        key: &SigningKey,
        caller: Option<&Identity>,
    ) -> Option<&'v [u8]> {
        let (plain, tail) = sealed.split_at_checked(sealed.len().checked_sub(TAG + 1)?)?;
        let tag = tail.strip_prefix(b".")?;
        let good = key.tag(&self.message(name, plain, caller));
        bool::from(good.as_bytes().ct_eq(tag)).then_some(plain)
    }

    /// What a tag is over, each part after its length: the cookie, and all but the shown name of whom an application
    /// may have taken it to be.
    fn message(&self, name: &[u8], value: &[u8], caller: Option<&Identity>) -> Vec<u8> {
        let mut message = Vec::with_capacity(256);
        let mut put = |part: &[u8]| {
            message.extend_from_slice(&(part.len() as u64).to_be_bytes());
            message.extend_from_slice(part);
        };
        for part in [self.upstream.as_bytes(), name, value] {
            put(part);
        }
        if let Some(Identity { subject, principal, .. }) = caller {
            let email = principal.email.as_deref().unwrap_or_default();
            for part in [subject.as_str(), &principal.name, email, principal.role.as_str()] {
                put(part.as_bytes());
            }
            for group in &principal.groups {
                put(group.as_bytes());
            }
        }
        message
    }

    /// Whether a cookie is meant, also where what some servers take for blanks stands around its name: they decode it as
    /// Latin-1 or UTF-8 first.
    fn names(&self, name: &[u8]) -> bool {
        let edge = |byte: &u8| !byte.is_ascii_graphic();
        let begin = name.iter().position(|byte| !edge(byte)).unwrap_or(name.len());
        let end = name.iter().rposition(|byte| !edge(byte)).map_or(begin, |last| last + 1);
        let bare = name.get(begin..end).unwrap_or_default();
        self.cookies.iter().any(|cookie| cookie.fits(bare))
    }

    /// Whether a server that finds cookies behind blanks, commas and quotes as well would find one here.
    fn hide_in(&self, pair: &[u8]) -> bool {
        let is_border = |byte: &u8| !byte.is_ascii_graphic() || matches!(byte, b',' | b'"');
        let pieces = pair.trim_ascii().split(is_border).skip(1);
        let mut pieces = pieces.filter(|piece| !piece.is_empty()).peekable();
        while let Some(piece) = pieces.next() {
            let has_value = piece.contains(&b'=') || pieces.peek().is_some_and(|next| next.starts_with(b"="));
            if has_value && self.names(split_pair(piece).0) {
                return true;
            }
        }
        false
    }
}

/// What stands within quotes, and the quote; everything and none where there are no two.
fn unquoted(value: &[u8]) -> (&[u8], &[u8]) {
    match value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")) {
        Some(inner) => (inner, b"\""),
        None => (value, b""),
    }
}
