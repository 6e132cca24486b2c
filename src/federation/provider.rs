//! One provider: its settings, the protocol it speaks, and how much may wait for it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;
use url::Url;

use super::Button;
use super::outage::Outage;
use crate::config::{ProviderConfig, ProviderKind, PublicUrl};
use crate::model::secret::Secret;
use crate::model::time::Clock;
use crate::oidc::{
    Authentication, AuthenticationRequest, AuthorizationResponse, EndSession, EndSessionRequest,
    ExpectedResponse, Github, LogoutToken, OidcError, Refreshed, RelyingParty, SetupError, TokenRefusal,
};
use crate::service::ServiceError;
use crate::service::sign_ins::{ProviderClient, SignInSource};

/// Where browsers come back to from a provider, below the public URL, followed by the provider's name.
pub const CALLBACK: &str = "/_doorward/callback/";

/// Sign-ins that wait for one provider at a time, of unknown browsers and of known devices. Neither can take a place of the
/// other, here or among the calls that are made at once.
const MOST_WAITING: [usize; 2] = [32, 16];
/// Logout tokens of one provider that are looked at at a time.
const MOST_LOGOUTS: usize = 16;
/// How long one waits for a place among them.
const PATIENCE: Duration = Duration::from_secs(3);

/// A provider whose settings cannot be used on this machine.
#[derive(Debug, thiserror::Error)]
#[error("the provider `{name}` cannot be used")]
pub struct ProviderError {
    /// Its name in the settings.
    pub name: String,
    /// Why.
    #[source]
    pub cause: SetupError,
}

/// How a provider is spoken with. Each gives the same: an address to go to, and of what comes back an [`Authentication`], whose
/// claims are then read by the same rules.
pub enum Protocol {
    /// OpenID Connect, authorization code flow.
    OpenIdConnect(Box<RelyingParty>),
    /// OAuth 2.0 and the interface of GitHub.
    Github(Box<Github>),
}

/// A provider as people sign in with it.
pub(super) struct Provider {
    pub(super) config: ProviderConfig,
    pub(super) protocol: Protocol,
    /// Whether refreshes have found it down.
    pub(super) outage: Arc<Outage>,
    places: Places,
    logouts: Semaphore,
}

impl Provider {
    /// As people choose it.
    pub(super) fn button(&self) -> Button<'_> {
        Button { name: &self.config.name, display_name: &self.config.display_name }
    }

    /// `former` is the one with the same name in the configuration before; `shares_callback` is whether another one has the same
    /// redirect URI.
    pub(super) fn new(
        config: &ProviderConfig,
        public_url: &PublicUrl,
        clock: &Arc<dyn Clock>,
        former: Option<&Arc<Self>>,
        shares_callback: bool,
    ) -> Result<Self, ProviderError> {
        let redirect_uri = redirect_uri(config, public_url);
        let same = former.filter(|former| former.config.issuer == config.issuer);
        let outage = same.map_or_else(|| Arc::new(Outage::new(clock)), |same| Arc::clone(&same.outage));
        let former = former.map(|former| &former.protocol);
        let protocol = Protocol::new(config, redirect_uri, clock, former, shares_callback)
            .map_err(|cause| ProviderError { name: config.name.clone(), cause })?;
        Ok(Self {
            config: config.clone(),
            protocol,
            outage,
            places: Places::default(),
            logouts: Semaphore::new(MOST_LOGOUTS),
        })
    }

    /// What a sign-in that comes back must have begun with.
    pub(super) fn client(&self) -> ProviderClient<'_> {
        ProviderClient {
            name: &self.config.name,
            issuer: &self.config.issuer.issuer,
            client_id: &self.config.client_id,
        }
    }

    /// Whether this issuer is the provider's by its settings. The tokens of another one are not sent to it.
    pub(super) fn has_issuer(&self, issuer: &str) -> bool {
        self.config.issuer.issuers().iter().any(|own| own == issuer)
    }

    /// A place among those who wait for this provider. One that is slow thus holds up nobody else's.
    pub(super) async fn place<'p>(
        &'p self,
        source: &SignInSource,
    ) -> Result<SemaphorePermit<'p>, ServiceError> {
        self.places.take(source).await
    }

    /// A place among the logout tokens that are looked at, which take none of sign-ins.
    pub(super) async fn logout_place(&self) -> Result<SemaphorePermit<'_>, ServiceError> {
        place_of(&self.logouts).await
    }
}

/// Places of unknown browsers, and of known devices.
struct Places([Semaphore; 2]);

impl Default for Places {
    fn default() -> Self {
        Self(MOST_WAITING.map(Semaphore::new))
    }
}

impl Places {
    async fn take<'p>(&'p self, source: &SignInSource) -> Result<SemaphorePermit<'p>, ServiceError> {
        let [unknown, known] = &self.0;
        let places = match source {
            SignInSource::Client(_) => unknown,
            SignInSource::Person(_) => known,
        };
        place_of(places).await
    }
}

async fn place_of(places: &Semaphore) -> Result<SemaphorePermit<'_>, ServiceError> {
    let place = timeout(PATIENCE, places.acquire()).await;
    place.ok().and_then(Result::ok).ok_or(ServiceError::Busy { retry_after: PATIENCE })
}

impl Protocol {
    fn new(
        config: &ProviderConfig,
        redirect_uri: String,
        clock: &Arc<dyn Clock>,
        former: Option<&Self>,
        shares_callback: bool,
    ) -> Result<Self, SetupError> {
        let clock = Arc::clone(clock);
        if config.kind == ProviderKind::Github {
            return Ok(Self::Github(Box::new(Github::new(config.clone(), redirect_uri, clock)?)));
        }
        let party = RelyingParty::new(config.clone(), redirect_uri, clock)?;
        let party = if shares_callback { party.sharing_its_redirect_uri() } else { party };
        Ok(Self::OpenIdConnect(Box::new(match former {
            Some(Self::OpenIdConnect(before)) => party.with_documents_of(before),
            Some(Self::Github(_)) | None => party,
        })))
    }

    /// Where a browser is sent to sign in.
    pub(super) async fn authorization_url(
        &self,
        request: &AuthenticationRequest<'_>,
    ) -> Result<String, OidcError> {
        match self {
            Self::OpenIdConnect(party) => party.authorization_url(request).await,
            Self::Github(github) => Ok(github.authorization_url(request)),
        }
    }

    /// Who has signed in, verified.
    pub(super) async fn complete(
        &self,
        response: &AuthorizationResponse,
        expected: ExpectedResponse<'_>,
    ) -> Result<Authentication, OidcError> {
        match self {
            Self::OpenIdConnect(party) => party.complete(response, expected).await,
            Self::Github(github) => github.complete(response, expected.verifier).await,
        }
    }

    /// What the provider says now of somebody with this subject, who signed in before, and new tokens.
    pub(super) async fn refresh(
        &self,
        refresh_token: &Secret,
        id_token: Option<&Secret>,
        subject: &str,
    ) -> Result<Refreshed, OidcError> {
        match self {
            Self::OpenIdConnect(party) => {
                let id_token = id_token.ok_or(OidcError::IdToken(TokenRefusal::Malformed))?;
                party.refresh(refresh_token, id_token, subject).await
            }
            Self::Github(github) => github.refresh(refresh_token).await,
        }
    }

    /// Where browsers sign out there, if they do.
    pub(super) async fn end_session_endpoint(&self) -> Result<Option<Url>, OidcError> {
        match self {
            Self::OpenIdConnect(party) => party.end_session_endpoint().await,
            Self::Github(_) => Ok(None),
        }
    }

    /// The same, and with what.
    pub(super) async fn end_session(
        &self,
        request: EndSessionRequest<'_>,
    ) -> Result<Option<EndSession>, OidcError> {
        match self {
            Self::OpenIdConnect(party) => party.end_session(request).await,
            Self::Github(_) => Ok(None),
        }
    }

    /// Whose sign-in is over, by a logout token, verified.
    pub(super) async fn logout_token(&self, token: &str) -> Result<LogoutToken, OidcError> {
        match self {
            Self::OpenIdConnect(party) => party.logout_token(token).await,
            // It sends none.
            Self::Github(_) => Err(OidcError::IdToken(TokenRefusal::Issuer)),
        }
    }

    /// Gives a refresh token back.
    pub(super) async fn revoke(&self, refresh_token: &Secret) -> Result<(), OidcError> {
        match self {
            Self::OpenIdConnect(party) => party.revoke(refresh_token).await,
            Self::Github(_) => Ok(()),
        }
    }
}

/// The redirect URI of a provider, exactly as it has to be registered there.
pub fn redirect_uri(provider: &ProviderConfig, public_url: &PublicUrl) -> String {
    match &provider.callback_path {
        Some(path) => public_url.url(path),
        None => public_url.url(&format!("{CALLBACK}{}", provider.name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::user::UserId;

    #[tokio::test(start_paused = true)]
    async fn strangers_who_wait_take_no_place_of_known_devices() {
        let places = Places::default();
        let stranger = |number: u8| SignInSource::Client([192, 0, 2, number].into());
        let mut held = Vec::new();
        for number in 0..32 {
            held.push(places.take(&stranger(number)).await.unwrap());
        }
        assert!(places.take(&stranger(200)).await.is_err(), "they are bounded");
        for _ in 0..16 {
            held.push(places.take(&SignInSource::Person(UserId::fresh())).await.unwrap());
        }
        assert!(places.take(&SignInSource::Person(UserId::fresh())).await.is_err(), "and so are these");
        held.clear();
        assert!(places.take(&stranger(200)).await.is_ok());
    }
}
