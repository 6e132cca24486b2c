//! Session cookies: what our own pages hand to browsers.

use http::HeaderMap;

use super::LookUp;
use crate::gate::cookies::cookies_named;
use crate::gate::refusal::BadCredential;
use crate::model::principal::{Holder, Principal, Proof};
use crate::service::ServiceError;
use crate::service::sessions::Sessions;

/// The session cookie of a request, if there is one.
///
/// # Errors
///
/// [`BadCredential`] for several of our name, since which one we set cannot be told, and for one that is not text.
pub(super) fn presented<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h str>, BadCredential> {
    let mut cookies = cookies_named(headers, name);
    match (cookies.next(), cookies.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => std::str::from_utf8(value).map(Some).map_err(|_| BadCredential::Session),
        _ => Err(BadCredential::Several),
    }
}

/// Asks the service that keeps them.
#[derive(Clone)]
pub(super) struct ByCookie(pub(super) Sessions);

impl LookUp for ByCookie {
    /// Cookies are signed: a forged one costs no query.
    fn is_plausible(&self, cookie: &str) -> bool {
        self.0.digest_of_cookie(cookie).is_some()
    }

    async fn whose(&self, cookie: &str) -> Result<Holder, ServiceError> {
        let Some(digest) = self.0.digest_of_cookie(cookie) else { return Ok(Holder::NotFound) };
        // A disabled user has no sessions left.
        let found = self.0.resolve(digest).await?;
        Ok(found.map_or(Holder::NotFound, |principal| Holder::Caller(Box::new(principal))))
    }

    async fn whose_still(&self, principal: &Principal) -> Result<Option<Principal>, ServiceError> {
        match &principal.proof {
            Proof::Session { id, .. } => self.0.resolve_again(id).await,
            Proof::Key { .. } => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::COOKIE;

    use super::*;

    #[test]
    fn only_exactly_one_cookie_of_our_name_counts() {
        const SEVERAL: Result<Option<&str>, BadCredential> = Err(BadCredential::Several);
        for (lines, expected) in [
            (&[][..], Ok(None)),
            (&["other=1; doorward-device=2; xdoorward=3"], Ok(None)),
            (&["a=b; doorward=one"], Ok(Some("one"))),
            (&["a=b;doorward=one=two ;c=d"], Ok(Some("one=two"))),
            (&["a=b; doorward = one "], Ok(Some("one"))),
            (&["doorward"], Ok(Some(""))),
            (&["doorward; doorward=one"], SEVERAL),
            (&["doorward=one; doorward=two"], SEVERAL),
            (&["doorward=one; doorward=one"], SEVERAL),
            (&["doorward=one", "doorward=two"], SEVERAL),
            (&["doorward=\u{ff}"], Ok(Some("\u{ff}"))),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(COOKIE, HeaderValue::from_bytes(line.as_bytes()).unwrap());
            }
            assert_eq!(presented(&headers, "doorward"), expected, "{lines:?}");
        }
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, HeaderValue::from_bytes(b"doorward=\xff").unwrap());
        assert_eq!(presented(&headers, "doorward"), Err(BadCredential::Session));
    }
}
