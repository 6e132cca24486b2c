//! The headers that bring a credential as text, `Authorization` and those for keys: whose it is, and in which form.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::api_key;
use super::hidden::EmbeddedCredential;
use super::{Accepts, Credential, CredentialNames};
use crate::config::ForeignCredentials;
use crate::gate::grounds::Grounds;
use crate::gate::refusal::{BadCredential, Misused};
use crate::policy::Enforce;

/// The credential found in a header.
enum HeaderCredential<'h> {
    Own(Credential<'h>),
    OwnAsBasic(Credential<'h>),
    /// Ours, in an invalid form; and what is wrong with it.
    Mangled(BadCredential),
    /// Somebody else's, and what is wrong with it where nothing else is taken.
    Foreign(BadCredential),
}

/// The one credential of ours that headers bring, or somebody else's.
///
/// # Errors
///
/// [`BadCredential`] for two different ones of ours, one beside somebody else's, or one in a form that is not taken here.
pub(super) fn extract<'h>(
    headers: &'h HeaderMap,
    names: &CredentialNames,
    accepts: &Accepts,
) -> Result<Credential<'h>, BadCredential> {
    let (mut own, mut foreign): (Option<Credential<'h>>, Option<BadCredential>) = (None, None);
    for (presented, is_left) in presented(headers, names, accepts) {
        match presented {
            // Ours in a form that is not taken here is still not somebody else's.
            HeaderCredential::OwnAsBasic(_) if !accepts.basic => return Err(BadCredential::Basic),
            HeaderCredential::Own(credential) | HeaderCredential::OwnAsBasic(credential) => {
                if own.replace(credential.clone()).is_some_and(|other| other != credential) {
                    return Err(BadCredential::Several);
                }
            }
            HeaderCredential::Foreign(_) if is_left => {}
            HeaderCredential::Foreign(BadCredential::Password) if !accepts.basic => {
                foreign = foreign.or(Some(BadCredential::Basic));
            }
            HeaderCredential::Foreign(wrong) => foreign = foreign.or(Some(wrong)),
            HeaderCredential::Mangled(BadCredential::Password) if !accepts.basic => {
                return Err(BadCredential::Basic);
            }
            HeaderCredential::Mangled(wrong) => return Err(wrong),
        }
    }
    match (own, foreign) {
        (Some(_), Some(wrong)) => Err(wrong),
        (Some(own), None) => Ok(own),
        (None, Some(wrong)) => Ok(Credential::Foreign(wrong)),
        (None, None) => Ok(Credential::None),
    }
}

/// What stands in each header that brings credentials, and whether it is left to the application where it is not ours.
fn presented<'h>(
    headers: &'h HeaderMap,
    names: &CredentialNames,
    accepts: &Accepts,
) -> impl Iterator<Item = (HeaderCredential<'h>, bool)> {
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
            HeaderCredential::OwnAsBasic(_) if !accepts.basic => return Some(Misused::AsPassword),
            HeaderCredential::Mangled(_) => return Some(Misused::Mangled),
            HeaderCredential::Own(_) | HeaderCredential::OwnAsBasic(_) => {
                beside = Some(Misused::BesideForeign);
            }
            HeaderCredential::Foreign(_) => {}
        }
    }
    beside
}

/// Whether `Authorization` brings HTTP Basic, which browsers send by themselves once it was typed in.
pub(super) fn is_basic(headers: &HeaderMap) -> bool {
    headers
        .get_all(AUTHORIZATION)
        .iter()
        .any(|value| value.as_bytes().get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"basic")))
}

/// Removes what is ours and what the route drops.
pub(super) fn strip(headers: &mut HeaderMap, names: &CredentialNames, accepts: &Accepts, grounds: Grounds) {
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
}

impl CredentialNames {
    /// What a key or token as text is, if it is ours or claims to be.
    fn own<'h>(&self, text: Cow<'h, str>) -> Option<Credential<'h>> {
        if api_key::is_claimed(&text) {
            return Some(Credential::ApiKey(text));
        }
        self.tokens.find(&text).map(Credential::Token)
    }

    /// What an `Authorization` value is (RFC 9110, 11.4; the scheme in any case).
    fn authorization<'h>(&self, value: &'h HeaderValue) -> HeaderCredential<'h> {
        let text = value.to_str().unwrap_or_default().trim();
        let (scheme, token) = text.split_once(' ').unwrap_or((text, ""));
        let token = token.trim();
        let (own, wrong) = if scheme.eq_ignore_ascii_case("bearer") {
            (self.own(Cow::Borrowed(token)).map(HeaderCredential::Own), BadCredential::Bearer)
        } else if scheme.eq_ignore_ascii_case("basic") {
            let own = basic_password(token).and_then(|password| self.own(Cow::Owned(password)));
            (own.map(HeaderCredential::OwnAsBasic), BadCredential::Password)
        } else {
            (None, BadCredential::Scheme)
        };
        own.unwrap_or_else(|| {
            let holds = self.hidden_in(value) != EmbeddedCredential::Nothing;
            if holds { HeaderCredential::Mangled(wrong) } else { HeaderCredential::Foreign(wrong) }
        })
    }

    /// What a value of a key header is.
    fn api_key<'h>(&self, value: &'h HeaderValue) -> HeaderCredential<'h> {
        match value.to_str().ok().and_then(|text| self.own(Cow::Borrowed(text.trim()))) {
            Some(own) => HeaderCredential::Own(own),
            None if self.hidden_in(value) != EmbeddedCredential::Nothing => {
                HeaderCredential::Mangled(BadCredential::Key)
            }
            None => HeaderCredential::Foreign(BadCredential::ForeignKey),
        }
    }

    /// Whether a value is never the application's; `shared` says that imported keys are.
    fn stays_here(&self, value: &HeaderValue, presented: &HeaderCredential<'_>, shared: bool) -> bool {
        let is_shared = match presented {
            HeaderCredential::Foreign(_) => return false,
            HeaderCredential::Own(Credential::Token(at))
            | HeaderCredential::OwnAsBasic(Credential::Token(at)) => self.tokens.is_imported(*at),
            HeaderCredential::Own(_) | HeaderCredential::OwnAsBasic(_) => false,
            HeaderCredential::Mangled(_) => true,
        };
        !(shared && is_shared && self.hidden_in(value) != EmbeddedCredential::Ours)
    }
}

/// The password of Basic credentials (RFC 7617, 2). The username says nothing to us.
fn basic_password(token: &str) -> Option<String> {
    let text = String::from_utf8(STANDARD.decode(token).ok()?).ok()?;
    text.split_once(':').map(|(_, password)| password.to_owned())
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
