//! GitHub, also an Enterprise server: OAuth 2.0 without ID tokens (docs.github.com, "Authorizing OAuth apps"). Who signed in is what
//! its interface says to their access token.
//!
//! An OAuth app's access token lasts until it is withdrawn, a GitHub app's has a refresh token. Either is what a refresh needs,
//! and is handed to the caller as a refresh token together with the number of the account.

mod account;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use self::account::Account;
pub use self::account::access_page;
use super::Authentication;
use super::authorization::{self, AuthenticationRequest};
use super::client_authentication::ClientAuthentication;
use super::error::{LookupError, OidcError, SetupError, TokenRefusal};
use super::product_api::ProductApi;
use super::refresh::{Refreshed, RefreshedClaims};
use super::response::AuthorizationResponse;
use super::token_endpoint::{self, Grant, TokenResponse};
use crate::config::ProviderConfig;
use crate::egress::EgressClient;
use crate::model::secret::Secret;
use crate::model::session::LogoutNames;
use crate::model::time::Clock;

/// What is said of organisations holds so long, although the access token lasts longer.
const LIFETIME: Duration = Duration::from_hours(1);
/// The version of the interface (docs.github.com/rest/about-the-rest-api/api-versions).
const API_VERSION: &str = "2022-11-28";

/// The gateway as an application at GitHub.
pub struct Github {
    config: ProviderConfig,
    redirect_uri: String,
    clock: Arc<dyn Clock>,
    egress: EgressClient,
    authentication: ClientAuthentication,
    authorize_url: Url,
    token_url: String,
    api: ProductApi,
}

/// What a refresh needs, as text: `KIND:ID:TOKEN`.
struct Keepsake<'a> {
    kind: &'a str,
    id: &'a str,
    token: Secret,
}

const ACCESS: &str = "access";
const REFRESH: &str = "refresh";

impl Github {
    /// `redirect_uri` is exactly what is registered as callback URL. Calls nobody.
    ///
    /// # Errors
    ///
    /// [`SetupError`] if the file of authorities cannot be used.
    pub fn new(
        config: ProviderConfig,
        redirect_uri: String,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, SetupError> {
        let egress = super::egress(&config)?;
        let site = config.issuer.issuer.trim_end_matches('/');
        let headers = [("accept", "application/vnd.github+json"), ("x-github-api-version", API_VERSION)];
        Ok(Self {
            authorize_url: Url::parse(&format!("{site}/login/oauth/authorize"))
                .map_err(|_| SetupError::Issuer)?,
            token_url: format!("{site}/login/oauth/access_token"),
            api: ProductApi::new(egress.clone(), &api_of(site), &headers),
            authentication: ClientAuthentication::new(&config.client_id, &config.credentials)?,
            egress,
            config,
            redirect_uri,
            clock,
        })
    }

    /// The provider's name in the settings.
    fn name(&self) -> &str {
        &self.config.name
    }

    /// Where a browser is sent to sign in. Calls nobody.
    pub fn authorization_url(&self, request: &AuthenticationRequest<'_>) -> String {
        authorization::url(&self.config, &self.redirect_uri, &self.authorize_url, request)
    }

    /// Makes an answer of what the browser brought back. The caller has checked `state` before, and lets each come back once.
    ///
    /// # Errors
    ///
    /// [`OidcError`]; the authorization code is spent then, and another sign-in has to begin.
    pub async fn complete(
        &self,
        response: &AuthorizationResponse,
        verifier: &Secret,
    ) -> Result<Authentication, OidcError> {
        let issuer = self.config.issuer.issuer.as_str();
        // As an authorization server GitHub is called by the address below which its endpoints are.
        let is_issuer =
            |named: &str| named.strip_prefix(issuer).is_some_and(|rest| matches!(rest, "" | "/login/oauth"));
        let (code, _) = response.code(self.name(), is_issuer, false)?;
        let grant = Grant::Code { code, redirect_uri: &self.redirect_uri, verifier };
        let tokens = self.tokens(&grant).await?;
        let account = self.account(&tokens).await?;
        let keepsake = match &tokens.refresh_token {
            Some(token) => kept(REFRESH, &account.id(), token),
            None => kept(ACCESS, &account.id(), &tokens.access_token),
        };
        Ok(Authentication {
            issuer: issuer.to_owned(),
            subject: account.id(),
            names: LogoutNames::default(),
            claims: account.claims()?,
            lacks_userinfo: false,
            id_token: None,
            refresh_token: Some(keepsake),
            lifetime: LIFETIME,
        })
    }

    /// Asks GitHub anew. `refresh_token` is that of [`Authentication`] or of the refresh before.
    ///
    /// # Errors
    ///
    /// [`OidcError`] if there is nothing new to keep. [`OidcError::is_over`] tells whether the access was withdrawn.
    pub async fn refresh(&self, refresh_token: &Secret) -> Result<Refreshed, OidcError> {
        let Keepsake { kind, id, token } =
            Keepsake::read(refresh_token).ok_or(OidcError::IdToken(TokenRefusal::Malformed))?;
        let refreshed = |account: Result<Account, OidcError>, refresh_token| Refreshed {
            claims: account.and_then(|account| Ok(RefreshedClaims::Told(account.of(id)?.claims()?))),
            id_token: None,
            refresh_token,
            lifetime: LIFETIME,
        };
        if kind == ACCESS {
            let account = self.look_up(&token).await.map_err(withdrawn)?;
            return Ok(refreshed(Ok(account), refresh_token.clone()));
        }
        let tokens = self.tokens(&Grant::Refresh { token: &token }).await?;
        let next = kept(REFRESH, id, tokens.refresh_token.as_ref().unwrap_or(&token));
        Ok(refreshed(self.account(&tokens).await, next))
    }

    async fn tokens(&self, grant: &Grant<'_>) -> Result<TokenResponse, OidcError> {
        let sent =
            token_endpoint::send(&self.egress, &self.authentication, &self.token_url, grant, &*self.clock);
        sent.await.map_err(|error| {
            error.log(self.name());
            OidcError::Token(error)
        })
    }

    /// Whose the tokens are. Scopes that are missing are told before GitHub answers with lists that merely look short.
    async fn account(&self, tokens: &TokenResponse) -> Result<Account, OidcError> {
        account::check_scope(tokens.scope.as_deref())?;
        self.look_up(&tokens.access_token).await
    }

    async fn look_up(&self, access_token: &Secret) -> Result<Account, OidcError> {
        let account = Box::pin(account::look_up(&self.api, access_token)).await?;
        account.explain(&self.config);
        Ok(account)
    }
}

impl<'a> Keepsake<'a> {
    fn read(text: &'a Secret) -> Option<Self> {
        let mut parts = text.expose().splitn(3, ':');
        let (kind, id, token) = (parts.next()?, parts.next()?, parts.next()?);
        matches!(kind, ACCESS | REFRESH).then(|| Self { kind, id, token: Secret::new(token) })
    }
}

fn kept(kind: &str, id: &str, token: &Secret) -> Secret {
    Secret::new(format!("{kind}:{id}:{}", token.expose()))
}

/// An access token that is not taken any more is the end of a sign-in.
fn withdrawn(error: OidcError) -> OidcError {
    match error {
        OidcError::Lookup { error: LookupError::Unauthorized, .. } => OidcError::Withdrawn,
        other => other,
    }
}

/// Where the interface of a site is: of github.com, of an enterprise's own domain below ghe.com, and of an Enterprise server.
fn api_of(site: &str) -> String {
    match site.strip_prefix("https://") {
        Some("github.com") => "https://api.github.com".to_owned(),
        Some(host) if host.ends_with(".ghe.com") && !host.contains('/') => format!("https://api.{host}"),
        _ => format!("{site}/api/v3"),
    }
}

impl fmt::Debug for Github {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Github").field("name", &self.config.name).finish_non_exhaustive()
    }
}
