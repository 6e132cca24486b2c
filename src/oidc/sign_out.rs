//! Signing out at the provider: the address that a browser is sent to (OpenID Connect RP-Initiated Logout 1.0, 2), and giving
//! refresh tokens back (RFC 7009).

use url::Url;

use super::error::OidcError;
use super::{RelyingParty, token_endpoint};
use crate::config::{LogoutScope, ProviderKind};
use crate::model::secret::Secret;

/// Bytes of an address that browsers and servers all take. What is longer is posted.
const LONGEST_ADDRESS: usize = 4096;

/// What is asked for.
#[derive(Clone, Copy)]
pub struct EndSessionRequest<'a> {
    /// The latest ID token of the sign-in, expired or not.
    pub id_token: Option<&'a Secret>,
    /// Where the browser comes back to; exactly what is registered at the provider, made of the public URL.
    pub return_to: &'a str,
    /// The `state` that comes back along with it.
    pub state: &'a str,
}

/// Where a browser goes to sign out, and with what. It has no `Debug`, since it holds an ID token.
pub struct EndSession {
    endpoint: Url,
    fields: Vec<(&'static str, Secret)>,
}

impl RelyingParty {
    /// The address at which browsers sign out; `None` if the settings end sessions here only, or the provider has none.
    ///
    /// # Errors
    ///
    /// [`OidcError::Discovery`] if the provider's discovery document cannot be had or used.
    pub async fn end_session_endpoint(&self) -> Result<Option<Url>, OidcError> {
        if self.config.logout == LogoutScope::Local {
            return Ok(None);
        }
        match &self.config.logout_url {
            Some(url) => Ok(Some(url.clone())),
            None => Ok(self.metadata().await?.end_session_endpoint.clone()),
        }
    }

    /// What a browser is sent to sign out with.
    ///
    /// # Errors
    ///
    /// As [`RelyingParty::end_session_endpoint`].
    pub async fn end_session(&self, request: EndSessionRequest<'_>) -> Result<Option<EndSession>, OidcError> {
        let Some(endpoint) = self.end_session_endpoint().await? else { return Ok(None) };
        let mut fields = vec![("client_id", Secret::new(self.config.client_id.as_str()))];
        if self.config.kind == ProviderKind::Cognito {
            // It has names of its own, takes no ID token, and refuses what it does not know.
            fields.push(("logout_uri", Secret::new(request.return_to)));
        } else {
            fields.extend(request.id_token.map(|token| ("id_token_hint", token.clone())));
            fields.push(("post_logout_redirect_uri", Secret::new(request.return_to)));
            fields.push(("state", Secret::new(request.state)));
        }
        Ok(Some(EndSession { endpoint, fields }))
    }

    /// Gives a refresh token back, so that nobody can use it any more; does nothing where the provider takes none.
    ///
    /// # Errors
    ///
    /// [`OidcError`] if the provider cannot be reached or refuses.
    pub async fn revoke(&self, refresh_token: &Secret) -> Result<(), OidcError> {
        let metadata = self.metadata().await?;
        let Some(url) = &metadata.revocation_endpoint else { return Ok(()) };
        let sent =
            token_endpoint::revoke(&self.egress, &self.authentication, url, refresh_token, &*self.clock);
        sent.await.map_err(OidcError::Token)
    }
}

impl EndSession {
    /// Scheme, host and port of where the browser goes.
    pub fn origin(&self) -> String {
        self.endpoint.origin().ascii_serialization()
    }

    /// The whole address, which holds an ID token; `None` if it is too long for one.
    pub fn location(&self) -> Option<Secret> {
        let mut url = self.endpoint.clone();
        let fields = self.fields.iter().map(|(name, value)| (name, value.expose()));
        url.query_pairs_mut().extend_pairs(fields);
        Some(Secret::new(String::from(url))).filter(|url| url.expose().len() <= LONGEST_ADDRESS)
    }

    /// The address and the fields for a form that is posted there.
    pub fn form(&self) -> (&str, &[(&'static str, Secret)]) {
        (self.endpoint.as_str(), &self.fields)
    }
}
