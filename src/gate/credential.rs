//! What the caller presents *to us*, at most one, and how it is removed before a request goes on.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION, REFERER, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::identity_headers::Managed;
use super::refusal::BadCredential;
use super::tokens::OwnTokens;
use crate::config::Config;
use crate::model::token::KeyText;

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
}

/// What a route takes for a credential.
#[derive(Clone, Copy, Debug, Default)]
pub struct Accepts {
    /// `Authorization` values that are not ours are left alone.
    pub foreign: bool,
    /// A key may be the password of HTTP Basic.
    pub basic: bool,
}

/// The names under which credentials arrive.
#[derive(Debug)]
pub struct CredentialNames {
    /// The header that may carry a key beside `Authorization`.
    pub key_header: HeaderName,
    /// Our session cookie, and the prefix all our cookies share.
    pub cookie: String,
    /// Values that are ours although they do not look like it.
    pub tokens: OwnTokens,
}

impl CredentialNames {
    /// The names a configuration chooses.
    pub fn new(config: &Config) -> Self {
        Self {
            key_header: config.keys.header.clone(),
            cookie: config.session.cookie_name(&config.public_url),
            tokens: OwnTokens::new(config),
        }
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
        let Ok(text) = value.to_str() else { return Presented::Foreign(BadCredential::Scheme) };
        let text = text.trim();
        let (scheme, token) = text.split_once(' ').unwrap_or((text, ""));
        let token = token.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            let own = self.own(Cow::Borrowed(token));
            own.map_or(Presented::Foreign(BadCredential::Bearer), Presented::Own)
        } else if scheme.eq_ignore_ascii_case("basic") {
            let own = basic_password(token).and_then(|password| self.own(Cow::Owned(password)));
            own.map_or(Presented::ForeignBasic, Presented::OwnAsBasic)
        } else {
            Presented::Foreign(BadCredential::Scheme)
        }
    }

    fn is_own_key(&self, value: &HeaderValue) -> bool {
        holds_key(value.as_bytes())
            || value.to_str().is_ok_and(|text| self.own(Cow::Borrowed(text.trim())).is_some())
    }

    fn is_own_authorization(&self, value: &HeaderValue) -> bool {
        let hidden = |decoded: Vec<u8>| decoded.split(|byte| *byte == b':').any(holds_key);
        matches!(self.authorization(value), Presented::Own(_) | Presented::OwnAsBasic(_))
            || self.is_own_key(value)
            || value.as_bytes().split(u8::is_ascii_whitespace).filter_map(decoded).any(hidden)
    }
}

/// What stands in an `Authorization` header.
enum Presented<'h> {
    Own(Credential<'h>),
    OwnAsBasic(Credential<'h>),
    ForeignBasic,
    /// Something else, and what is wrong with it where nothing else is taken.
    Foreign(BadCredential),
}

/// What Basic credentials hold (RFC 7617, 2).
fn decoded(token: &[u8]) -> Option<Vec<u8>> {
    STANDARD.decode(token).ok()
}

/// The password of Basic credentials. The username says nothing to us.
fn basic_password(token: &str) -> Option<String> {
    let text = String::from_utf8(decoded(token.as_bytes())?).ok()?;
    text.split_once(':').map(|(_, password)| password.to_owned())
}

impl<'h> Credential<'h> {
    /// Finds the one credential that decides: `Authorization`, then the key header, then the session cookie.
    ///
    /// # Errors
    ///
    /// [`BadCredential`] for two different header credentials, two cookies of our name, or a header
    /// credential that can be none of ours. A wrong header never falls through to the cookie.
    pub fn extract(
        headers: &'h HeaderMap,
        names: &CredentialNames,
        accepts: Accepts,
    ) -> Result<Self, BadCredential> {
        let mut own: Option<Self> = None;
        let mut found = |credential: Self| match own.replace(credential.clone()) {
            Some(other) if other != credential => Err(BadCredential::Several),
            _ => Ok(()),
        };
        for value in headers.get_all(AUTHORIZATION) {
            match names.authorization(value) {
                Presented::Own(credential) => found(credential)?,
                Presented::OwnAsBasic(credential) if accepts.basic => found(credential)?,
                Presented::ForeignBasic | Presented::Foreign(_) if accepts.foreign => {}
                Presented::ForeignBasic if accepts.basic => return Err(BadCredential::Key),
                // Ours in a form that is not taken here is still not somebody else's.
                Presented::OwnAsBasic(_) | Presented::ForeignBasic => return Err(BadCredential::Scheme),
                Presented::Foreign(wrong) => return Err(wrong),
            }
        }
        for value in headers.get_all(&names.key_header) {
            match value.to_str().ok().and_then(|text| names.own(Cow::Borrowed(text.trim()))) {
                Some(credential) => found(credential)?,
                // This header is ours alone: only `Authorization` may be the application's.
                None => return Err(BadCredential::Key),
            }
        }
        if let Some(own) = own {
            return Ok(own);
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

/// Removes what is ours, and `Proxy-Authorization`. Other cookies keep their bytes and order.
pub fn strip(headers: &mut HeaderMap, names: &CredentialNames) {
    headers.remove(PROXY_AUTHORIZATION);
    strip_values(headers, &AUTHORIZATION, |value| names.is_own_authorization(value));
    strip_values(headers, &names.key_header, |value| names.is_own_key(value));
    strip_cookies(headers, names);
    for name in misplaced(headers) {
        headers.remove(name);
    }
}

/// Names of headers that hold a key of ours, whatever they are for: its client's mistake, and still not the application's
/// to know.
pub fn misplaced(headers: &HeaderMap) -> Vec<HeaderName> {
    headers
        .iter()
        .filter(|(_, value)| KeyText::stands_in(value.as_bytes()))
        .map(|(name, _)| name.clone())
        .collect()
}

/// Whether a key of ours is where another proxy cannot be told to take it off. Addresses are the question's own.
pub fn is_misplaced(headers: &HeaderMap, names: &CredentialNames, managed: &Managed) -> bool {
    let expected = |name: &HeaderName| {
        [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION, REFERER].contains(name)
            || *name == names.key_header
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

/// Whether a key of ours, whole or mangled, stands anywhere in a value: under a scheme of its own, quoted, doubled.
fn holds_key(value: &[u8]) -> bool {
    let is_between = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b',' | b';' | b'"' | b'=');
    value.split(is_between).any(KeyText::begins)
}

fn strip_cookies(headers: &mut HeaderMap, names: &CredentialNames) {
    let is_ours =
        |pair: &[u8]| split_pair(pair).0.starts_with(names.cookie.as_bytes()) || KeyText::stands_in(pair);
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
        CredentialNames {
            key_header: HeaderName::from_static("x-api-key"),
            cookie: "__Host-doorward".into(),
            tokens: OwnTokens::default(),
        }
    }

    fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    /// What is found, as text, so that cases read as a table.
    fn found(list: &[(&'static str, &str)], accepts: Accepts) -> String {
        match Credential::extract(&headers(list), &names(), accepts) {
            Ok(Credential::None) => "none".into(),
            Ok(Credential::ApiKey(text)) => format!("key {}", &text[..5]),
            Ok(Credential::Token(at)) => format!("token {at}"),
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
            (&[("x-api-key", "theirs"), cookie], true, "Key"),
        ];
        for (list, foreign, expected) in cases {
            assert_eq!(found(list, Accepts { foreign: *foreign, basic: false }), *expected, "{list:?}");
        }
    }

    /// Headers, and what is found in them in four ways.
    type Ways<'c> = (&'c [(&'static str, &'c str)], [&'c str; 4]);

    #[test]
    fn a_key_as_a_basic_password_counts_where_it_may_and_is_never_somebody_elses() {
        let key = KeyText::draw(KeyKind::System).text;
        let basic = |pair: &str| format!("Basic {}", STANDARD.encode(pair));
        let (own, bare) = (basic(&format!("anyone:{}", key.expose())), basic(&format!(":{}", key.expose())));
        let (foreign, colonless) = (basic("x:y:z"), basic(key.expose()));
        let bearer = format!("Bearer {}", key.expose());
        let cookie = ("cookie", "__Host-doorward=abc");
        // Headers, then what is found: nothing but bearers, with Basic, with what is foreign, with both.
        let cases: &[Ways<'_>] = &[
            (&[("authorization", &own), cookie], ["Scheme", "key dw_s_", "Scheme", "key dw_s_"]),
            (&[("authorization", &bare)], ["Scheme", "key dw_s_", "Scheme", "key dw_s_"]),
            (
                &[("authorization", &own), ("authorization", &bearer)],
                ["Scheme", "key dw_s_", "Scheme", "key dw_s_"],
            ),
            (&[("authorization", &foreign), cookie], ["Scheme", "Key", "session abc", "session abc"]),
            (&[("authorization", &colonless), cookie], ["Scheme", "Key", "session abc", "session abc"]),
            (&[("authorization", "Basic ???"), cookie], ["Scheme", "Key", "session abc", "session abc"]),
            (&[("authorization", "Basic"), cookie], ["Scheme", "Key", "session abc", "session abc"]),
        ];
        for (list, expected) in cases {
            let ways = [(false, false), (true, false), (false, true), (true, true)];
            let seen = ways.map(|(basic, foreign)| found(list, Accepts { foreign, basic }));
            assert_eq!(seen, *expected, "{list:?}");
        }
        let as_username = basic(&format!("{}:", key.expose()));
        let mut map = headers(&[
            ("authorization", &own),
            ("authorization", &foreign),
            ("authorization", &colonless),
            ("authorization", &as_username),
        ]);
        strip(&mut map, &names());
        assert_eq!(map.get_all("authorization").iter().collect::<Vec<_>>(), [foreign.as_str()]);
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

        let elsewhere = format!("token {}", key.expose());
        let (crumb, address) = (format!("a=1; k={}", key.expose()), format!("https://x/?k={}", key.expose()));
        let mut mistaken = headers(&[
            ("x-auth-token", &elsewhere),
            ("x-token", "theirs"),
            ("cookie", &crumb),
            ("referer", &address),
        ]);
        assert!(is_misplaced(&mistaken, &names(), &Managed::default()));
        strip(&mut mistaken, &names());
        assert_eq!(mistaken.len(), 2, "{mistaken:?}");
        assert_eq!([&mistaken["cookie"], &mistaken["x-token"]], ["a=1", "theirs"]);
        let expected =
            headers(&[("x-original-url", &address), ("referer", &address), ("x-api-key", key.expose())]);
        assert!(!is_misplaced(&expected, &names(), &Managed::default()));

        let mut foreign = headers(&[("authorization", "Bearer eyJ"), ("cookie", "a=1;b=2")]);
        strip(&mut foreign, &names());
        assert_eq!(foreign["authorization"], "Bearer eyJ");
        assert_eq!(foreign["cookie"], "a=1;b=2");
    }
}
