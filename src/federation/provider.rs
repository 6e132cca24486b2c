//! One provider: its settings, the protocol it speaks, and how much may wait for it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::refusal::SignInRefusal;
use crate::config::{ProviderConfig, PublicUrl};
use crate::model::time::Clock;
use crate::oidc::{
    Authentication, AuthenticationRequest, AuthorizationResponse, ExpectedResponse, OidcError, RelyingParty,
    SetupError,
};
use crate::service::ServiceError;

/// Where browsers come back to from a provider, below the public URL, followed by the provider's name.
pub const CALLBACK: &str = "/_doorward/callback/";

/// Sign-ins that wait for one provider at a time. They cost memory only; the provider is called less often at once than that.
const MOST_WAITING: usize = 64;
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

/// How a provider is spoken with. A product that does not speak OpenID Connect is another variant, which gives the same: an
/// address to go to, and of what comes back an [`Authentication`], whose claims are then read by the same rules.
pub enum Protocol {
    /// OpenID Connect, authorization code flow.
    OpenIdConnect(RelyingParty),
}

/// A provider as people sign in with it.
pub(super) struct Provider {
    pub(super) config: ProviderConfig,
    pub(super) protocol: Protocol,
    places: Arc<Semaphore>,
}

impl Provider {
    /// `former` is the one with the same name in the configuration before.
    pub(super) fn new(
        config: &ProviderConfig,
        public_url: &PublicUrl,
        clock: &Arc<dyn Clock>,
        former: Option<&Arc<Self>>,
    ) -> Result<Self, ProviderError> {
        let party = RelyingParty::new(config.clone(), redirect_uri(config, public_url), Arc::clone(clock))
            .map_err(|cause| ProviderError { name: config.name.clone(), cause })?;
        let party = match former.map(|former| &former.protocol) {
            Some(Protocol::OpenIdConnect(before)) => party.with_documents_of(before),
            None => party,
        };
        Ok(Self {
            config: config.clone(),
            protocol: Protocol::OpenIdConnect(party),
            places: Arc::new(Semaphore::new(MOST_WAITING)),
        })
    }

    /// A place among those who wait for this provider. One that is slow thus holds up nobody else's.
    pub(super) async fn place(&self) -> Result<OwnedSemaphorePermit, SignInRefusal> {
        let place = timeout(PATIENCE, Arc::clone(&self.places).acquire_owned()).await;
        place
            .ok()
            .and_then(Result::ok)
            .ok_or(SignInRefusal::Failed(ServiceError::Busy { retry_after: PATIENCE }))
    }
}

impl Protocol {
    /// Where a browser is sent to sign in.
    pub(super) async fn authorization_url(
        &self,
        request: &AuthenticationRequest<'_>,
    ) -> Result<String, OidcError> {
        match self {
            Self::OpenIdConnect(party) => party.authorization_url(request).await,
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
        }
    }
}

/// The redirect URI of a provider, exactly as it has to be registered there.
pub fn redirect_uri(provider: &ProviderConfig, public_url: &PublicUrl) -> String {
    public_url.url(&format!("{CALLBACK}{}", provider.name))
}
