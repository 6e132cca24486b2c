//! What the caller presents *to us*, at most one, and how it is removed before a request goes on.

use http::header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::refusal::BadCredential;
use crate::config::Config;
use crate::model::token::KeyText;

/// A credential as presented, not yet checked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Credential<'h> {
    /// Nothing.
    None,
    /// The text of an API key.
    ApiKey(&'h str),
    /// The value of our session cookie.
    Session(&'h str),
}

/// The names under which credentials arrive.
#[derive(Debug)]
pub struct CredentialNames {
    /// The header that may carry a key beside `Authorization`.
    pub key_header: HeaderName,
    /// Our session cookie, and the prefix all our cookies share.
    pub cookie: String,
}

impl CredentialNames {
    /// The names a configuration chooses.
    pub fn new(config: &Config) -> Self {
        Self {
            key_header: config.keys.header.clone(),
            cookie: config.session.cookie_name(&config.public_url),
        }
    }
}

impl<'h> Credential<'h> {
    /// Finds the one credential that decides: `Authorization`, then the key header, then the session cookie.
    ///
    /// `Authorization` values that are not ours are left alone where `pass_foreign` is set, and wrong otherwise.
    ///
    /// # Errors
    ///
    /// [`BadCredential`] for two different header credentials, two cookies of our name, or a header
    /// credential that can be none of ours. A wrong header never falls through to the cookie.
    pub fn extract(
        headers: &'h HeaderMap,
        names: &CredentialNames,
        pass_foreign: bool,
    ) -> Result<Self, BadCredential> {
        let mut key: Option<&'h str> = None;
        let mut found = |text: &'h str| match key.replace(text) {
            Some(other) if other != text => Err(BadCredential::Several),
            _ => Ok(()),
        };
        for value in headers.get_all(AUTHORIZATION) {
            match own_key(value) {
                Ok(Some(text)) => found(text)?,
                Ok(None) if pass_foreign => {}
                Ok(None) => return Err(BadCredential::Scheme),
                Err(wrong) if !pass_foreign => return Err(wrong),
                Err(_) => {}
            }
        }
        for value in headers.get_all(&names.key_header) {
            match value.to_str() {
                Ok(text) if KeyText::is_claimed(text.trim()) => found(text.trim())?,
                _ if pass_foreign => {}
                _ => return Err(BadCredential::Key),
            }
        }
        if let Some(text) = key {
            return Ok(Self::ApiKey(text));
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

/// The key in an `Authorization` value (RFC 9110, 11.4; the scheme in any case): `None` where the scheme is
/// not one of ours.
fn own_key(value: &HeaderValue) -> Result<Option<&str>, BadCredential> {
    let text = value.to_str().map_err(|_| BadCredential::Scheme)?.trim();
    let (scheme, token) = text.split_once(' ').unwrap_or((text, ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Ok(None);
    }
    let token = token.trim();
    if KeyText::is_claimed(token) { Ok(Some(token)) } else { Err(BadCredential::Bearer) }
}

/// Removes what is ours, and `Proxy-Authorization`. Other cookies keep their bytes and order.
pub fn strip(headers: &mut HeaderMap, names: &CredentialNames) {
    headers.remove(PROXY_AUTHORIZATION);
    let is_ours = |value: &HeaderValue| holds_key(value.as_bytes());
    for name in [&AUTHORIZATION, &names.key_header] {
        if headers.get_all(name).iter().any(is_ours) {
            let foreign: Vec<_> =
                headers.get_all(name).iter().filter(|value| !is_ours(value)).cloned().collect();
            headers.remove(name);
            for value in foreign {
                headers.append(name, value);
            }
        }
    }
    strip_cookies(headers, names);
}

/// Whether a key of ours, whole or mangled, stands anywhere in a value: under a scheme of its own, quoted, doubled.
fn holds_key(value: &[u8]) -> bool {
    let is_between = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b',' | b';' | b'"' | b'=');
    value.split(is_between).any(KeyText::begins)
}

fn strip_cookies(headers: &mut HeaderMap, names: &CredentialNames) {
    let is_ours = |pair: &[u8]| split_pair(pair).0.starts_with(names.cookie.as_bytes());
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
pub fn strip_set_cookies(headers: &mut HeaderMap, names: &CredentialNames) {
    let is_ours = |value: &HeaderValue| {
        let (name, rest) = split_pair(value.as_bytes());
        let read = if name.is_empty() { rest } else { name };
        read.starts_with(names.cookie.as_bytes())
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

/// The values of every cookie of a name. One without `=` counts as well: some servers read it as a name.
pub fn cookies_named<'h>(headers: &'h HeaderMap, name: &str) -> impl Iterator<Item = &'h [u8]> {
    headers.get_all(COOKIE).iter().flat_map(pairs).filter_map(move |pair| {
        let (found, value) = split_pair(pair);
        (found == name.as_bytes()).then_some(value)
    })
}

/// The pairs of a Cookie header (RFC 6265, 4.2.1), as bytes: a neighbour's cookie may hold any byte and
/// must not hide ours.
fn pairs(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value.as_bytes().split(|byte| *byte == b';')
}

fn split_pair(pair: &[u8]) -> (&[u8], &[u8]) {
    let at = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
    let (name, value) = pair.split_at_checked(at).unwrap_or((pair, &[]));
    (name.trim_ascii(), value.get(1..).unwrap_or_default().trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::token::KeyKind;

    fn names() -> CredentialNames {
        CredentialNames { key_header: HeaderName::from_static("x-api-key"), cookie: "__Host-doorward".into() }
    }

    fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    /// What is found, as text, so that cases read as a table.
    fn found(list: &[(&'static str, &str)], pass_foreign: bool) -> String {
        match Credential::extract(&headers(list), &names(), pass_foreign) {
            Ok(Credential::None) => "none".into(),
            Ok(Credential::ApiKey(text)) => format!("key {}", &text[..5]),
            Ok(Credential::Session(value)) => format!("session {value}"),
            Err(wrong) => format!("{wrong:?}"),
        }
    }

    /// Headers, whether foreign ones pass, what is found.
    type Case<'c> = (&'c [(&'static str, &'c str)], bool, &'c str);

    #[test]
    fn at_most_one_credential_decides_and_a_wrong_header_is_final() {
        let key = KeyText::draw(KeyKind::System).text;
        let other = KeyText::draw(KeyKind::User).text;
        let bearer = format!("Bearer {}", key.expose());
        let (shout, spaced) = (format!("BEARER {}", key.expose()), format!("bearer   {}", key.expose()));
        let cookie = ("cookie", "a=1; __Host-doorward=abc");
        let cases: &[Case<'_>] = &[
            (&[], false, "none"),
            (&[("authorization", &bearer)], false, "key dw_s_"),
            (&[("authorization", &shout)], false, "key dw_s_"),
            (&[("authorization", &spaced)], false, "key dw_s_"),
            (&[("x-api-key", key.expose())], false, "key dw_s_"),
            (&[("authorization", &bearer), ("x-api-key", key.expose())], false, "key dw_s_"),
            (&[("authorization", &bearer), ("x-api-key", other.expose())], false, "Several"),
            (&[("authorization", &bearer), cookie], false, "key dw_s_"),
            (&[cookie], false, "session abc"),
            (&[("cookie", "__Host-doorward=a; __Host-doorward=b")], false, "Several"),
            (&[cookie, cookie], false, "Several"),
            (&[("cookie", "x__Host-doorward=a; __host-doorward=b")], false, "none"),
            (&[("authorization", "Bearer eyJ"), cookie], false, "Bearer"),
            (&[("authorization", "Basic eDp5"), cookie], false, "Scheme"),
            (&[("authorization", "Bearer"), cookie], false, "Bearer"),
            (&[("authorization", ""), cookie], false, "Scheme"),
            (&[("x-api-key", "nonsense"), cookie], false, "Key"),
            (&[("authorization", "Basic eDp5"), cookie], true, "session abc"),
            (&[("authorization", "Bearer eyJ")], true, "none"),
            (&[("x-api-key", "theirs")], true, "none"),
        ];
        for (list, pass_foreign, expected) in cases {
            assert_eq!(found(list, *pass_foreign), *expected, "{list:?}");
        }
    }

    #[test]
    fn what_is_ours_is_removed_and_the_rest_is_untouched() {
        let key = KeyText::draw(KeyKind::System).text;
        let mut map = headers(&[
            ("authorization", &format!("bearer {}", key.expose())),
            ("x-api-key", key.expose()),
            ("proxy-authorization", "Basic eDp5"),
            ("cookie", "a=1; __Host-doorward=abc; b=\"x y\";  c=3"),
            ("cookie", "__Host-doorward-device=zzz"),
        ]);
        strip(&mut map, &names());
        assert_eq!(map.len(), 1, "{map:?}");
        assert_eq!(map["cookie"], "a=1; b=\"x y\";  c=3");

        let mut answer = headers(&[
            ("set-cookie", "__Host-doorward=x; Path=/"),
            ("set-cookie", " __Host-doorward-device = x"),
            ("set-cookie", "=__Host-doorward=x; Path=/"),
            ("set-cookie", "__Host-doorward"),
            ("set-cookie", "theirs=1; Path=/"),
        ]);
        strip_set_cookies(&mut answer, &names());
        assert_eq!(answer.get_all("set-cookie").iter().collect::<Vec<_>>(), ["theirs=1; Path=/"]);

        let mut foreign = headers(&[("authorization", "Bearer eyJ"), ("cookie", "a=1;b=2")]);
        strip(&mut foreign, &names());
        assert_eq!(foreign["authorization"], "Bearer eyJ");
        assert_eq!(foreign["cookie"], "a=1;b=2");
    }
}
