//! Names of the cookies by which applications remember who signed in to them.

use percent_encoding::percent_decode;

/// How the names of our own cookies begin, and what browsers may demand before that (RFC 6265bis, 4.1.3).
const OURS: [&str; 3] = ["doorward", "__Host-doorward", "__Secure-doorward"];

/// A cookie's name, or with `*` at its end how the names of several begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionCookie {
    stem: Box<str>,
    /// Whether anything may follow.
    open: bool,
}

/// Why a text names no cookie of an application.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionCookieError {
    /// What no cookie is called.
    #[error(
        "is not a cookie name: write one such as \"app_session\", or \"app_session.*\" where several begin so"
    )]
    Form,
    /// Too short to mean one application's.
    #[error("would be any cookie: write more of the name before `*`")]
    Any,
    /// The gateway's own.
    #[error("would be a cookie of the gateway's own: write the application's")]
    Ours,
}

impl SessionCookie {
    /// The name as settings write it (RFC 6265, 4.1.1).
    ///
    /// # Errors
    ///
    /// [`SessionCookieError`] if no cookie of an application can be meant.
    pub fn parse(text: &str) -> Result<Self, SessionCookieError> {
        let (stem, open) = match text.strip_suffix('*') {
            Some(stem) => (stem, true),
            None => (text, false),
        };
        if !is_name(stem.as_bytes()) && !stem.is_empty() || stem.contains('*') || text.is_empty() {
            return Err(SessionCookieError::Form);
        }
        let plain = ["__Host-", "__Secure-"].into_iter().find_map(|prefix| stem.strip_prefix(prefix));
        if open && plain.unwrap_or(stem).len() < 3 {
            return Err(SessionCookieError::Any);
        }
        let cookie = Self { stem: stem.into(), open };
        let begins_as_ours = |own: &str| stem.get(..own.len()).is_some_and(|it| it.eq_ignore_ascii_case(own));
        if OURS.into_iter().any(|own| cookie.fits(own.as_bytes()) || begins_as_ours(own)) {
            return Err(SessionCookieError::Ours);
        }
        Ok(cookie)
    }

    /// Whether a cookie of this name is meant, in whatever spelling some server takes for it: in another case, with
    /// `%` codes, with what PHP makes `_` of, or as a part of the list that PHP makes of it.
    pub fn fits(&self, name: &[u8]) -> bool {
        let (mut own, mut read) = (self.stem.bytes().map(fold), percent_decode(name));
        loop {
            match (own.next(), read.next()) {
                (Some(one), Some(other)) if one == fold(other) => {}
                (None, None | Some(b'[')) => return true,
                (None, Some(_)) => return self.open,
                (Some(_), _) => return false,
            }
        }
    }

    /// The name, where it is exactly one.
    pub fn exact(&self) -> Option<&str> {
        (!self.open).then_some(&*self.stem)
    }
}

impl std::fmt::Display for SessionCookie {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", self.stem, if self.open { "*" } else { "" })
    }
}

/// Whether a cookie may be called so: a token (RFC 9110, 5.6.2).
pub fn is_name(name: &[u8]) -> bool {
    let odd = |byte: u8| b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || odd(*byte))
}

/// How the names of our own cookies begin where the session's is called `session`: those of one host alone have the prefix
/// `__Host-` also where a domain shares the session's.
pub fn own_stems(session: &str) -> impl Iterator<Item = &str> {
    let [_, alone, shared] = OURS;
    std::iter::once(session).chain(session.starts_with(shared).then_some(alone))
}

fn fold(byte: u8) -> u8 {
    match byte {
        b'.' | b' ' | b'[' => b'_',
        other => other.to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_fits_in_every_spelling_that_some_server_takes_for_it_and_no_other_name_does() {
        let cookie = SessionCookie::parse("pga4_session").unwrap();
        for same in [
            "pga4_session",
            "PGA4_Session",
            "pga4%5fsession",
            "%70ga4_session",
            "pga4.session",
            "pga4_session[]",
            "pga4_session%5b0]",
        ] {
            assert!(cookie.fits(same.as_bytes()), "{same}");
        }
        for other in ["", "pga4_sessio", "pga4_session2", "xpga4_session", "pga4-session", "pga4_session%"] {
            assert!(!cookie.fits(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn a_star_stands_for_any_ending() {
        let cookie = SessionCookie::parse("username-*").unwrap();
        assert!(
            cookie.fits(b"username-127-0-0-1") && cookie.fits(b"username-") && cookie.fits(b"USERNAME-x")
        );
        assert!(!cookie.fits(b"username") && !cookie.fits(b"xusername-"));
        assert_eq!((cookie.exact(), cookie.to_string().as_str()), (None, "username-*"));
        assert_eq!(SessionCookie::parse("a").unwrap().exact(), Some("a"));
    }

    #[test]
    fn what_names_no_cookie_any_cookie_or_ours_is_refused() {
        use SessionCookieError::{Any, Form, Ours};
        for (text, why) in [
            ("", Form),
            ("a b", Form),
            ("a=b", Form),
            ("a;b", Form),
            ("a*b", Form),
            ("a**", Form),
            ("\u{e9}", Form),
            ("*", Any),
            ("ab*", Any),
            ("__Host-*", Any),
            ("doorward", Ours),
            ("Doorward-device", Ours),
            ("__Host-doorward", Ours),
            ("__Secure-Doorward*", Ours),
            ("door*", Ours),
            ("__Host-d*", Any),
            ("__Host-door*", Ours),
        ] {
            assert_eq!(SessionCookie::parse(text), Err(why), "{text}");
        }
        for good in ["session", "__Host-sid", "__Secure-next-auth.session-token*", "a|b~c"] {
            assert_eq!(SessionCookie::parse(good).unwrap().to_string(), good);
        }
    }
}
