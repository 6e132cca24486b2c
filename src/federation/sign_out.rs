//! Signing out: on to the provider (OpenID Connect RP-Initiated Logout 1.0), and from there (Back-Channel Logout 1.0).

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::Federation;
use super::provider::Provider;
use crate::model::metrics::ProviderLogout;
use crate::model::secret::Secret;
use crate::oidc::{EndSession, EndSessionRequest, OFFLINE, OidcError, OidcErrorKind};
use crate::service::ServiceError;
use crate::service::provider_sessions::SignOutTokens;

/// Where browsers come back to from signing out at a provider, below the public URL.
pub const SIGNED_OUT: &str = "/_doorward/signed-out";
/// Where providers send logout tokens, below the public URL, followed by the provider's name.
pub const BACKCHANNEL_LOGOUT: &str = "/_doorward/backchannel-logout/";

/// How long a page waits for a provider's discovery document. Signing out here never depends on it.
const PATIENCE: Duration = Duration::from_secs(2);

/// A sign-out that goes on at the provider. It has no `Debug`, since it holds an ID token.
pub struct SignOut<'f> {
    /// What people call the provider.
    pub display_name: &'f str,
    /// Where, and with what.
    pub end_session: EndSession,
}

/// Why a logout token was not acted on.
#[derive(Debug, thiserror::Error)]
pub enum LogoutRefusal {
    /// The settings have no such provider.
    #[error("there is no such provider")]
    NoSuchProvider,
    /// It is none, or none for us.
    #[error(transparent)]
    Refused(OidcError),
    /// It was acted on before.
    #[error("the logout token came before")]
    Replayed,
    /// It cannot be verified now.
    #[error(transparent)]
    Unavailable(OidcError),
    /// A service: [`ServiceError::Busy`] or [`ServiceError::Unavailable`].
    #[error(transparent)]
    Failed(#[from] ServiceError),
}

impl Federation {
    /// Where a browser is sent on to that signs out of a session of this provider: scheme, host and port. `None` if signing
    /// out ends here, or that cannot be told now.
    pub async fn sign_out_origin(&self, provider: &str) -> Option<String> {
        let provider = self.find(provider)?;
        let endpoint = timeout(PATIENCE, provider.protocol.end_session_endpoint()).await.ok()?.ok()??;
        Some(endpoint.origin().ascii_serialization())
    }

    /// What a browser is sent to the provider with, after its session was ended here; `target` is where the person may go on
    /// to afterwards. `None` if signing out ends here, the provider cannot be used now, or its name belongs to another issuer
    /// now.
    ///
    /// A refresh token that outlives the session at the provider is given back, in the background.
    pub async fn sign_out(&self, tokens: SignOutTokens, target: &str) -> Option<SignOut<'_>> {
        let provider = self.find(&tokens.provider)?;
        if !provider.has_issuer(&tokens.issuer) {
            tracing::warn!(
                provider = tokens.provider,
                issuer = tokens.issuer,
                "somebody signs out here and not at the provider, which has another issuer by the settings now"
            );
            return None;
        }
        if let Some(refresh_token) = tokens.refresh_token
            && provider.config.scopes.iter().any(|scope| scope == OFFLINE)
        {
            tokio::spawn(give_back(Arc::clone(provider), refresh_token));
        }
        let state = self.provider_sessions.sign_out_state(target);
        let request = EndSessionRequest {
            id_token: tokens.id_token.as_ref(),
            return_to: &self.signed_out,
            state: &state,
        };
        let asked = timeout(PATIENCE, provider.protocol.end_session(request)).await;
        let end_session = match asked {
            Ok(Ok(end_session)) => end_session?,
            Ok(Err(error)) => {
                tracing::warn!(provider = tokens.provider, %error, "somebody signs out here and not at the provider");
                return None;
            }
            Err(_) => {
                tracing::warn!(
                    provider = tokens.provider,
                    "somebody signs out here and not at the provider, which does not answer"
                );
                return None;
            }
        };
        Some(SignOut { display_name: &provider.config.display_name, end_session })
    }

    /// The `target` of the sign-out that comes back with this `state`; `None` if it is not ours.
    pub fn signed_out_target(&self, state: &str) -> Option<String> {
        self.provider_sessions.sign_out_target(state)
    }

    /// Acts on a logout token that somebody sent for the provider with this name. How many sessions have ended.
    ///
    /// # Errors
    ///
    /// [`LogoutRefusal`]
    pub async fn log_out(&self, name: &str, token: &str) -> Result<u64, LogoutRefusal> {
        let provider = self.find(name).ok_or(LogoutRefusal::NoSuchProvider)?;
        let outcome = self.end_named(provider, token).await;
        match &outcome {
            Ok(sessions) => {
                tracing::info!(provider = name, sessions, "a provider says that somebody signed out there");
            }
            Err(LogoutRefusal::Failed(error)) => tracing::error!(
                provider = name,
                error = error as &dyn Error,
                "a logout token of a provider cannot be acted on"
            ),
            Err(why) => tracing::warn!(provider = name, reason = %why, "a logout token is refused"),
        }
        self.counts.logouts.count(
            name,
            match &outcome {
                Ok(_) => ProviderLogout::Done,
                Err(LogoutRefusal::Replayed) => ProviderLogout::Replayed,
                Err(LogoutRefusal::Refused(_) | LogoutRefusal::NoSuchProvider) => ProviderLogout::Refused,
                Err(LogoutRefusal::Unavailable(_)) => ProviderLogout::Unavailable,
                Err(LogoutRefusal::Failed(_)) => ProviderLogout::Failed,
            },
        );
        outcome
    }

    async fn end_named(&self, provider: &Provider, token: &str) -> Result<u64, LogoutRefusal> {
        let _place = provider.logout_place().await?;
        let token = provider.protocol.logout_token(token).await.map_err(|error| {
            if error.kind() == OidcErrorKind::Unavailable
                || matches!(error, OidcError::Discovery(_) | OidcError::Keys(_))
            {
                LogoutRefusal::Unavailable(error)
            } else {
                LogoutRefusal::Refused(error)
            }
        })?;
        let (name, sessions) = (provider.config.name.as_str(), &self.provider_sessions);
        let ended =
            sessions.log_out(name, &token.issuer, &token.names, &token.id, token.forgotten_at).await?;
        ended.ok_or(LogoutRefusal::Replayed)
    }
}

async fn give_back(provider: Arc<Provider>, refresh_token: Secret) {
    if let Err(error) = provider.protocol.revoke(&refresh_token).await {
        tracing::warn!(
            provider = provider.config.name,
            %error,
            "a refresh token was not given back, and is good at the provider until it expires"
        );
    }
}
