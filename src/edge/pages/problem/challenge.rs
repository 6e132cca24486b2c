//! The authentication scheme in which a refusal asks for a credential (RFC 9110, 11.6.1).
//!
//! There is one challenge and never two: of two lines some proxies hand on the first alone, and some clients take
//! the one that they like best.

use http::header::{AUTHORIZATION, ORIGIN, REFERER};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::{Problem, Remedy};
use crate::edge::audience::Audience;
use crate::model::verdict::Code;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const X_REQUESTED_WITH: HeaderName = HeaderName::from_static("x-requested-with");

/// What a request shows of the schemes that its sender speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SchemeHint {
    /// It presented a bearer token.
    Bearer,
    /// A browser sent it, which would answer a challenge for Basic with a prompt of its own.
    Browser,
    /// It shows nothing.
    #[default]
    Unknown,
}

impl SchemeHint {
    /// Reads it from a request that `audience` sent.
    pub fn of(audience: Audience, headers: &HeaderMap) -> Self {
        let is_bearer = |value: &HeaderValue| {
            value.as_bytes().get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer"))
        };
        // `none` is a person's own doing, or that of a mail client or calendar built like a browser.
        let by_site = headers.get(SEC_FETCH_SITE).is_some_and(|site| site != "none");
        let by_page =
            by_site || [ORIGIN, REFERER, X_REQUESTED_WITH].iter().any(|name| headers.contains_key(name));
        if headers.get_all(AUTHORIZATION).iter().any(is_bearer) {
            Self::Bearer
        } else if by_page || audience == Audience::Browser {
            Self::Browser
        } else {
            Self::Unknown
        }
    }
}

impl Problem {
    /// The value of `WWW-Authenticate`, where there is to be one.
    ///
    /// An error is named only where a token was presented (RFC 6750, 3.1). Where Basic would do, it is asked for
    /// alone (RFC 7617, 2): clients of container registries take any `Bearer` for the address of a token server.
    pub(super) fn challenge(&self) -> Option<HeaderValue> {
        let value = match self.status {
            StatusCode::UNAUTHORIZED if self.basic && self.speaks == SchemeHint::Unknown => {
                r#"Basic realm="doorward", charset="UTF-8""#
            }
            StatusCode::UNAUTHORIZED if self.remedy == Remedy::NewCredential => {
                r#"Bearer realm="doorward", error="invalid_token""#
            }
            StatusCode::UNAUTHORIZED => r#"Bearer realm="doorward""#,
            StatusCode::FORBIDDEN
                if self.speaks == SchemeHint::Bearer
                    && matches!(self.code, Code::Forbidden | Code::KeyScope) =>
            {
                r#"Bearer realm="doorward", error="insufficient_scope""#
            }
            _ => return None,
        };
        Some(HeaderValue::from_static(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::refusal::{BadCredential, Refusal};

    #[track_caller]
    fn speaks(audience: Audience, list: &[(&'static str, &'static str)], expected: SchemeHint) {
        let pairs =
            list.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        assert_eq!(SchemeHint::of(audience, &pairs.collect()), expected, "{list:?}");
    }

    #[test]
    fn browsers_are_told_from_programs_that_wait_for_a_challenge() {
        use Audience::{Api, Browser};
        speaks(Api, &[], SchemeHint::Unknown);
        speaks(Api, &[("user-agent", "git/2.39.5")], SchemeHint::Unknown);
        speaks(Api, &[("sec-fetch-site", "none")], SchemeHint::Unknown);
        speaks(Api, &[("authorization", "Basic eDp5")], SchemeHint::Unknown);
        speaks(Browser, &[], SchemeHint::Browser);
        speaks(Api, &[("sec-fetch-site", "same-origin")], SchemeHint::Browser);
        speaks(Api, &[("origin", "http://app.example")], SchemeHint::Browser);
        speaks(Api, &[("referer", "http://app.example/")], SchemeHint::Browser);
        speaks(Api, &[("x-requested-with", "XMLHttpRequest")], SchemeHint::Browser);
        speaks(Api, &[("authorization", "bEARER x")], SchemeHint::Bearer);
        speaks(Api, &[("authorization", "Bearer x"), ("origin", "http://app.example")], SchemeHint::Bearer);
    }

    #[test]
    fn there_is_one_challenge_and_it_names_an_error_only_where_there_is_one() {
        let bearer = r#"Bearer realm="doorward""#;
        let (invalid, narrow) =
            (format!("{bearer}, error=\"invalid_token\""), format!("{bearer}, error=\"insufficient_scope\""));
        let basic = r#"Basic realm="doorward", charset="UTF-8""#;
        let bad = |bad| Refusal::BadCredential(bad);
        let challenge = || Refusal::Challenge;
        let (plain, offered) = (false, true);
        for (refusal, takes_basic, speaks, expected) in [
            (challenge(), plain, SchemeHint::Unknown, Some(bearer)),
            (challenge(), offered, SchemeHint::Unknown, Some(basic)),
            (challenge(), offered, SchemeHint::Browser, Some(bearer)),
            (bad(BadCredential::Scheme), plain, SchemeHint::Unknown, Some(bearer)),
            (bad(BadCredential::Key), plain, SchemeHint::Unknown, Some(&*invalid)),
            (bad(BadCredential::ForeignKey), plain, SchemeHint::Unknown, Some(&*invalid)),
            (bad(BadCredential::Password), offered, SchemeHint::Unknown, Some(basic)),
            (bad(BadCredential::Key), offered, SchemeHint::Unknown, Some(basic)),
            (bad(BadCredential::Key), offered, SchemeHint::Bearer, Some(&*invalid)),
            (bad(BadCredential::Bearer), offered, SchemeHint::Bearer, Some(&*invalid)),
            (bad(BadCredential::Session), offered, SchemeHint::Browser, Some(bearer)),
            (Refusal::KeyScope, offered, SchemeHint::Bearer, Some(&*narrow)),
            (Refusal::Forbidden, plain, SchemeHint::Bearer, Some(&*narrow)),
            (Refusal::Forbidden, offered, SchemeHint::Unknown, None),
            (Refusal::ForeignOrigin, plain, SchemeHint::Bearer, None),
            (Refusal::NoRoute, offered, SchemeHint::Unknown, None),
        ] {
            let problem = Problem { basic: takes_basic, speaks, ..Problem::from(&refusal) };
            let told = problem.challenge();
            let told = told.as_ref().map(|value| value.to_str().unwrap());
            assert_eq!(told, expected, "{refusal:?} {takes_basic} {speaks:?}");
        }
    }
}
