//! What the caller presents *to us*, at most one, and how it is removed before a request goes on.

use std::borrow::Cow;
use std::rc::Rc;

use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use base64::{Engine as _, alphabet};
use http::header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION, REFERER, SEC_WEBSOCKET_PROTOCOL};
use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::percent_decode;

use super::cookies::{cookies_named, strip_cookies};
use super::identity_headers::Managed;
use super::permit::Grounds;
use super::refusal::{BadCredential, Misused};
use super::tokens::OwnTokens;
use crate::config::{Config, CredentialConfig, ForeignCredentials, SHORTEST_KEY};
use crate::model::token::KeyText;
use crate::policy::Enforce;

/// A credential as presented; a key is not yet checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential<'h> {
    /// Nothing.
    None,
    /// The text of an API key.
    ApiKey(Cow<'h, str>),
    /// A token that the settings name: its place in [`OwnTokens`].
    Token(usize),
    /// The value of our session cookie.
    Session(&'h str),
    /// Somebody else's in a header that brings ours, and what is wrong with it where only ours are taken.
    Foreign(BadCredential),
}

/// What a route takes for a credential.
#[derive(Clone, Debug, Default)]
pub struct Accepts {
    /// The headers that may carry a key beside `Authorization`.
    pub key_headers: Rc<[HeaderName]>,
    /// `Authorization` values that are not ours are the application's and left alone.
    pub authorization: bool,
    /// So are values of the key headers.
    pub api_key: bool,
    /// A key may be the password of HTTP Basic.
    pub basic: bool,
    /// What becomes of other values that are not ours.
    pub foreign: ForeignCredentials,
}

impl Accepts {
    /// What a route says of it.
    pub fn of(config: &CredentialConfig) -> Self {
        Self {
            key_headers: config.key_headers.as_slice().into(),
            authorization: config.pass_authorization,
            api_key: config.pass_api_key,
            basic: config.basic,
            foreign: config.foreign,
        }
    }

    /// What is taken where two routes count: nothing that either would refuse.
    #[must_use]
    pub(super) fn or_stricter(self, other: &Self) -> Self {
        let more = other.key_headers.iter().filter(|name| !self.key_headers.contains(name));
        let more: Vec<HeaderName> = more.cloned().collect();
        Self {
            key_headers: if more.is_empty() {
                self.key_headers
            } else {
                self.key_headers.iter().cloned().chain(more).collect()
            },
            authorization: self.authorization && other.authorization,
            api_key: self.api_key && other.api_key,
            basic: self.basic && other.basic,
            foreign: self.foreign.min(other.foreign),
        }
    }
}

/// The names under which credentials arrive.
#[derive(Debug)]
pub struct CredentialNames {
    /// The headers that may carry a key beside `Authorization`, where no route names others.
    pub key_headers: Rc<[HeaderName]>,
    /// Those and every other that a route names: what is ours passes in none of them.
    pub all_key_headers: Vec<HeaderName>,
    /// Our session cookie, and the prefix all our cookies share.
    pub cookie: String,
    /// Values that are ours although they do not look like it.
    pub tokens: OwnTokens,
}

impl CredentialNames {
    /// The names a configuration chooses.
    pub fn new(config: &Config) -> Self {
        Self {
            key_headers: config.keys.headers.as_slice().into(),
            all_key_headers: config.key_headers(),
            cookie: config.session.cookie_name(&config.public_url),
            tokens: OwnTokens::new(config),
        }
    }

    /// What is taken where there is no route.
    pub fn accepts(&self) -> Accepts {
        Accepts { key_headers: Rc::clone(&self.key_headers), ..Accepts::default() }
    }

    /// What a key or token as text is, if it is ours or claims to be.
    fn own<'h>(&self, text: Cow<'h, str>) -> Option<Credential<'h>> {
        if KeyText::is_claimed(&text) {
            return Some(Credential::ApiKey(text));
        }
        self.tokens.find(&text).map(Credential::Token)
    }

    /// What an `Authorization` value is (RFC 9110, 11.4; the scheme in any case).
    fn authorization<'h>(&self, value: &'h HeaderValue) -> Presented<'h> {
        let text = value.to_str().unwrap_or_default().trim();
        let (scheme, token) = text.split_once(' ').unwrap_or((text, ""));
        let token = token.trim();
        let (own, wrong) = if scheme.eq_ignore_ascii_case("bearer") {
            (self.own(Cow::Borrowed(token)).map(Presented::Own), BadCredential::Bearer)
        } else if scheme.eq_ignore_ascii_case("basic") {
            let own = basic_password(token).and_then(|password| self.own(Cow::Owned(password)));
            (own.map(Presented::OwnAsBasic), BadCredential::Password)
        } else {
            (None, BadCredential::Scheme)
        };
        own.unwrap_or_else(|| {
            let holds = self.hidden_in(value) != Held::Nothing;
            if holds { Presented::Mangled(wrong) } else { Presented::Foreign(wrong) }
        })
    }

    /// What a value of a key header is.
    fn api_key<'h>(&self, value: &'h HeaderValue) -> Presented<'h> {
        match value.to_str().ok().and_then(|text| self.own(Cow::Borrowed(text.trim()))) {
            Some(own) => Presented::Own(own),
            None if self.hidden_in(value) != Held::Nothing => Presented::Mangled(BadCredential::Key),
            None => Presented::Foreign(BadCredential::ForeignKey),
        }
    }

    /// What of ours, whole or mangled, stands anywhere in a value: under a scheme of its own, quoted, doubled, in brackets, in
    /// a form or an address.
    fn held_in(&self, value: &[u8]) -> Held {
        let is_between = |byte: &u8| byte.is_ascii_whitespace() || b",;:\"".contains(byte);
        // Random keys have none of these, others may.
        let is_around = |byte: &u8| b"'`<>()[]{}&?#@|\\".contains(byte);
        let parts = value.split(is_between).flat_map(|word| {
            let within = word.split(is_around).filter(|part| part.len() < word.len());
            std::iter::once(word).chain(within)
        });
        parts.map(|part| self.held_as(part)).max().unwrap_or(Held::Nothing)
    }

    /// What one word is, by itself or behind a name, a user or an address.
    fn held_as(&self, word: &[u8]) -> Held {
        let token = |word: &[u8]| match std::str::from_utf8(word).ok().and_then(|word| self.tokens.find(word))
        {
            None => Held::Nothing,
            Some(at) if self.tokens.is_imported(at) => Held::Imported,
            Some(_) => Held::Ours,
        };
        if word.split(|byte| *byte == b'=').any(KeyText::begins) {
            return Held::Ours;
        }
        let after = |sign: u8| word.splitn(2, move |byte| *byte == sign).nth(1);
        let below = after(b'/');
        let last = below.and_then(|rest| rest.rsplit(|byte| *byte == b'/').next());
        let all = [Some(word), after(b'='), below, last, word.strip_suffix(b".")];
        all.into_iter().flatten().map(token).max().unwrap_or(Held::Nothing)
    }

    /// The same, also where it is written in another way: escaped or in base64, twice or one in the other.
    fn hidden_in(&self, value: &HeaderValue) -> Held {
        self.hidden_below(value.as_bytes(), LAYERS)
    }

    fn hidden_below(&self, value: &[u8], layers: usize) -> Held {
        let written = self.held_in(value);
        if layers == 0 {
            return written;
        }
        let plain = match Cow::from(percent_decode(value)) {
            Cow::Borrowed(_) => Held::Nothing,
            Cow::Owned(plain) => self.hidden_below(&plain, layers - 1),
        };
        let decoded = in_base64(value).map(|decoded| self.hidden_below(&decoded, layers - 1));
        decoded.fold(written.max(plain), Held::max)
    }

    /// Whether a value holds a credential that counts here, in any form that is looked for, or speaks of our cookies: nothing
    /// to write down.
    pub fn are_in(&self, value: &HeaderValue) -> bool {
        let cookie = self.cookie.as_bytes();
        let mut parts = value.as_bytes().windows(cookie.len().max(1));
        KeyText::stands_in(value.as_bytes())
            || parts.any(|part| part.eq_ignore_ascii_case(cookie))
            || self.hidden_in(value) != Held::Nothing
    }

    /// Whether a value is never the application's; `shared` says that imported keys are.
    fn stays_here(&self, value: &HeaderValue, presented: &Presented<'_>, shared: bool) -> bool {
        let is_shared = match presented {
            Presented::Foreign(_) => return false,
            Presented::Own(Credential::Token(at)) | Presented::OwnAsBasic(Credential::Token(at)) => {
                self.tokens.is_imported(*at)
            }
            Presented::Own(_) | Presented::OwnAsBasic(_) => false,
            Presented::Mangled(_) => true,
        };
        !(shared && is_shared && self.hidden_in(value) != Held::Ours)
    }
}

/// How often one writing is looked for in another.
const LAYERS: usize = 2;

/// What a value holds of ours.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Held {
    Nothing,
    /// Keys of the application's own that count here too.
    Imported,
    /// What nobody else may know.
    Ours,
}

/// What stands in a header that brings credentials.
enum Presented<'h> {
    Own(Credential<'h>),
    OwnAsBasic(Credential<'h>),
    /// Ours, in a form that is none; and what is wrong with it.
    Mangled(BadCredential),
    /// Somebody else's, and what is wrong with it where nothing else is taken.
    Foreign(BadCredential),
}

/// Takes what careless decoders take: without its padding, and with bits left over.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Whatever could be base64 in a value, in either alphabet (RFC 4648, 4 and 5), decoded.
fn in_base64(value: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let is_between = |byte: &u8| !(byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_'));
    // Shorter ones hold no credential: chance makes many of those where bytes are no text.
    value.split(is_between).filter(|word| word.len() >= SHORTEST_KEY).filter_map(|word| {
        let standard = word.iter().map(|byte| match byte {
            b'-' => b'+',
            b'_' => b'/',
            other => *other,
        });
        let mut word: Vec<u8> = standard.collect();
        if word.len() % 4 == 1 {
            word.pop(); // belongs to no byte
        }
        LENIENT.decode(word).ok()
    })
}

/// The password of Basic credentials (RFC 7617, 2). The username says nothing to us.
fn basic_password(token: &str) -> Option<String> {
    let text = String::from_utf8(STANDARD.decode(token).ok()?).ok()?;
    text.split_once(':').map(|(_, password)| password.to_owned())
}

impl<'h> Credential<'h> {
    /// Finds the one credential that decides: `Authorization`, then the key headers, then the session cookie.
    ///
    /// # Errors
    ///
    /// [`BadCredential`] for two different header credentials, two cookies of our name, or one of ours in a form
    /// that is not taken here. No header that is not left to the application falls through to the cookie.
    pub fn extract(
        headers: &'h HeaderMap,
        names: &CredentialNames,
        accepts: &Accepts,
    ) -> Result<Self, BadCredential> {
        let (mut own, mut foreign): (Option<Self>, Option<BadCredential>) = (None, None);
        for (presented, is_left) in presented(headers, names, accepts) {
            match presented {
                // Ours in a form that is not taken here is still not somebody else's.
                Presented::OwnAsBasic(_) if !accepts.basic => return Err(BadCredential::Basic),
                Presented::Own(credential) | Presented::OwnAsBasic(credential) => {
                    if own.replace(credential.clone()).is_some_and(|other| other != credential) {
                        return Err(BadCredential::Several);
                    }
                }
                Presented::Foreign(_) if is_left => {}
                Presented::Foreign(BadCredential::Password) if !accepts.basic => {
                    foreign = foreign.or(Some(BadCredential::Basic));
                }
                Presented::Foreign(wrong) => foreign = foreign.or(Some(wrong)),
                Presented::Mangled(BadCredential::Password) if !accepts.basic => {
                    return Err(BadCredential::Basic);
                }
                Presented::Mangled(wrong) => return Err(wrong),
            }
        }
        match (own, foreign) {
            (Some(_), Some(wrong)) => return Err(wrong),
            (Some(own), None) => return Ok(own),
            (None, Some(wrong)) => return Ok(Self::Foreign(wrong)),
            (None, None) => {}
        }
        let mut cookies = cookies_named(headers, &names.cookie);
        match (cookies.next(), cookies.next()) {
            (None, _) => Ok(Self::None),
            (Some(value), None) => {
                std::str::from_utf8(value).map(Self::Session).map_err(|_| BadCredential::Session)
            }
            _ => Err(BadCredential::Several),
        }
    }
}

/// What stands in each header that brings credentials, and whether it is left to the application where it is none of ours.
fn presented<'h>(
    headers: &'h HeaderMap,
    names: &CredentialNames,
    accepts: &Accepts,
) -> impl Iterator<Item = (Presented<'h>, bool)> {
    let authorization = headers.get_all(AUTHORIZATION).iter();
    let api_key = accepts.key_headers.iter().flat_map(|name| headers.get_all(name));
    authorization
        .map(|value| (names.authorization(value), accepts.authorization))
        .chain(api_key.map(|value| (names.api_key(value), accepts.api_key)))
}

/// How a credential of ours was presented, where that is why it is `refused`.
pub fn misused(
    headers: &HeaderMap,
    names: &CredentialNames,
    accepts: &Accepts,
    refused: BadCredential,
) -> Option<Misused> {
    if !refused.is_foreign() && refused != BadCredential::Key {
        return None;
    }
    let mut beside = None;
    for (presented, _) in presented(headers, names, accepts) {
        match presented {
            Presented::OwnAsBasic(_) if !accepts.basic => return Some(Misused::AsPassword),
            Presented::Mangled(_) => return Some(Misused::Mangled),
            Presented::Own(_) | Presented::OwnAsBasic(_) => beside = Some(Misused::BesideForeign),
            Presented::Foreign(_) => {}
        }
    }
    beside
}

/// Whether a session of ours is presented, of whatever worth.
pub fn has_session(headers: &HeaderMap, names: &CredentialNames) -> bool {
    cookies_named(headers, &names.cookie).next().is_some()
}

/// Removes what is ours, what the route drops, and `Proxy-Authorization`. Other cookies keep their bytes and order.
pub fn strip(headers: &mut HeaderMap, names: &CredentialNames, accepts: &Accepts, grounds: Grounds) {
    headers.remove(PROXY_AUTHORIZATION);
    // Where refusals are not kept, the application checks as before what it knows: its own credentials, and keys that
    // were imported from it.
    let shared = grounds.enforce != Enforce::On;
    let dropped = grounds.despite_foreign && accepts.foreign == ForeignCredentials::Drop && !shared;
    if dropped && !accepts.authorization {
        headers.remove(AUTHORIZATION);
    }
    if dropped && !accepts.api_key {
        for name in &*accepts.key_headers {
            headers.remove(name);
        }
    }
    strip_values(headers, &AUTHORIZATION, |value| {
        names.stays_here(value, &names.authorization(value), shared)
    });
    for name in &names.all_key_headers {
        strip_values(headers, name, |value| names.stays_here(value, &names.api_key(value), shared));
    }
    strip_cookies(headers, &names.cookie);
    for name in misplaced(headers) {
        headers.remove(name);
    }
}

/// Names of headers that hold a key of ours, whatever they are for: its client's mistake, and still not the application's
/// to know.
pub fn misplaced(headers: &HeaderMap) -> Vec<HeaderName> {
    headers
        .iter()
        .filter(|(name, value)| {
            // Programs in browsers put tokens there so, since they can set no other header of a handshake.
            let coded = || in_base64(value.as_bytes()).any(|decoded| KeyText::stands_in(&decoded));
            KeyText::stands_in(value.as_bytes()) || (*name == SEC_WEBSOCKET_PROTOCOL && coded())
        })
        .map(|(name, _)| name.clone())
        .collect()
}

/// Whether a key of ours is where another proxy cannot be told to take it off. Addresses are the question's own.
pub fn is_misplaced(headers: &HeaderMap, names: &CredentialNames, managed: &Managed) -> bool {
    let expected = |name: &HeaderName| {
        [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION, REFERER].contains(name)
            || names.all_key_headers.contains(name)
            || managed.has(name.as_str().as_bytes())
    };
    headers.iter().any(|(name, value)| !expected(name) && KeyText::stands_in(value.as_bytes()))
}

fn strip_values(headers: &mut HeaderMap, name: &HeaderName, is_ours: impl Fn(&HeaderValue) -> bool) {
    if headers.get_all(name).iter().any(&is_ours) {
        let foreign: Vec<_> = headers.get_all(name).iter().filter(|value| !is_ours(value)).cloned().collect();
        headers.remove(name);
        for value in foreign {
            headers.append(name, value);
        }
    }
}
