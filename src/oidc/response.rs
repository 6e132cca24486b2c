//! The authorization response (RFC 6749, 4.1.2): what a browser brings back from the provider, in a query or a form.

use std::borrow::Cow;
use std::fmt;

use url::form_urlencoded;

use super::error::{ErrorCode, OidcError, ResponseRefusal, loggable};
use crate::model::secret::Secret;

/// Bytes of a response. Codes of Microsoft Entra ID have about 2 KiB.
const LONGEST: usize = 16 * 1024;

/// What a browser brought back. Nothing of it is trusted before `state` was found to be the browser's own.
#[derive(Default)]
pub struct AuthorizationResponse {
    code: Option<Secret>,
    state: Option<String>,
    issuer: Option<String>,
    error: Option<String>,
    error_description: Option<String>,
}

impl AuthorizationResponse {
    /// Reads the query of a callback, or the form that was posted to it (`application/x-www-form-urlencoded`). Unknown
    /// parameters are ignored.
    ///
    /// # Errors
    ///
    /// [`ResponseRefusal`] if it is longer than 16 KiB, or one of its parameters stands twice.
    pub fn parse(form: &str) -> Result<Self, ResponseRefusal> {
        if form.len() > LONGEST {
            return Err(ResponseRefusal::TooLong);
        }
        let mut response = Self::default();
        for (name, value) in form_urlencoded::parse(form.as_bytes()) {
            let fresh = match &*name {
                "code" => response.code.replace(Secret::new(value)).is_none(),
                "state" => put(&mut response.state, value),
                "iss" => put(&mut response.issuer, value),
                "error" => put(&mut response.error, value),
                "error_description" => put(&mut response.error_description, value),
                _ => true,
            };
            if !fresh {
                return Err(ResponseRefusal::Doubled);
            }
        }
        Ok(response)
    }

    /// The `state`, by which the browser's own sign-in is found; empty if there is none.
    pub fn state(&self) -> &str {
        self.state.as_deref().unwrap_or_default()
    }

    /// Whether there is a code that may be exchanged.
    pub fn has_code(&self) -> bool {
        self.error.is_none() && self.code.as_ref().is_some_and(|code| !code.expose().is_empty())
    }

    /// The authorization code, and the issuer that the response names, once everything that can be checked before the code is
    /// spent is right. The issuer comes first: errors, too, may be from another provider (RFC 9207, 2.4). `has_issuer` says that
    /// this provider's responses always name it.
    pub(super) fn code(
        &self,
        provider: &str,
        is_issuer: impl Fn(&str) -> bool,
        has_issuer: bool,
    ) -> Result<(&Secret, Option<&str>), OidcError> {
        let issuer = self.issuer.as_deref();
        match issuer {
            Some(issuer) if !is_issuer(issuer) => {
                return Err(OidcError::Response(ResponseRefusal::OtherIssuer));
            }
            None if has_issuer => {
                return Err(OidcError::Response(ResponseRefusal::NoIssuer));
            }
            _ => {}
        }
        if let Some(error) = &self.error {
            let description = loggable(self.error_description.as_deref().unwrap_or_default());
            let text = loggable(error);
            tracing::info!(provider, error = text, description, "the provider ended a sign-in");
            return Err(OidcError::Denied(ErrorCode::read(error)));
        }
        let code = self.code.as_ref().filter(|code| !code.expose().is_empty());
        code.map(|code| (code, issuer)).ok_or(OidcError::Response(ResponseRefusal::Empty))
    }
}

/// Whether this is the first value.
fn put(place: &mut Option<String>, value: Cow<'_, str>) -> bool {
    place.replace(value.into_owned()).is_none()
}

impl fmt::Debug for AuthorizationResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorizationResponse")
            .field("is_error", &self.error.is_some())
            .finish_non_exhaustive()
    }
}
