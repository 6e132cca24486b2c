//! From what a request presents to its caller, and from what a browser presents to whoever asks for a page of ours.

use std::rc::Rc;
use std::sync::Arc;

use http::HeaderMap;

use super::authenticator::CredentialResolver;
use super::credential::{Credential, CredentialHandling, CredentialResolution, LookedUp};
use super::identity::Identity;
use super::recognition::Recognition;
use super::refusal::{BadCredential, Refusal};
use super::rulebook::check_bounds;
use super::{Gate, GateRequest};
use crate::config::ForeignCredentials;
use crate::model::principal::{Holder, Principal, PrincipalKind};
use crate::service::ServiceError;

impl Gate {
    /// Whom a credential stands for.
    pub(super) async fn recognise(
        &self,
        request: &GateRequest<'_>,
        presented: Result<Credential<'_>, BadCredential>,
        foreign: ForeignCredentials,
    ) -> Result<Recognition<Rc<Identity>>, Refusal> {
        match presented.map_err(Refusal::BadCredential)?.step(&self.names) {
            CredentialResolution::Nothing => Ok(Recognition::Anonymous),
            // Somebody else's makes its bearer nobody, never whom the cookie beside it stands for.
            CredentialResolution::Foreign(wrong) if foreign != ForeignCredentials::Refuse => {
                Ok(Recognition::Foreign(wrong))
            }
            CredentialResolution::Foreign(wrong) => Err(Refusal::BadCredential(wrong)),
            CredentialResolution::LookUp(kind, text) => {
                let found = self.authenticator.identify(kind, text, request.client.address.nearest()).await?;
                match found.filter(|identity| identity.principal.is_for(request.target.host())) {
                    Some(identity) => Ok(Recognition::Caller(identity)),
                    None if kind.fades() => Ok(Recognition::Ended),
                    None => Err(Refusal::BadCredential(CredentialHandling::LookedUp(kind).ended())),
                }
            }
            CredentialResolution::Named(found) => {
                let found = found.ok_or(Refusal::BadCredential(CredentialHandling::Token.ended()))?;
                if matches!(found.principal.kind, PrincipalKind::BreakGlass { .. }) {
                    self.tell_of_break_glass(found, request);
                }
                Ok(Recognition::Caller(Rc::clone(found)))
            }
        }
    }

    /// A break-glass token opens what rules close, so each use is told, allowed or not.
    fn tell_of_break_glass(&self, identity: &Identity, request: &GateRequest<'_>) {
        let allowed = check_bounds(request, std::iter::empty(), identity).is_ok();
        tracing::warn!(
            subject.id = identity.subject,
            client.ip = %request.client.address,
            http.method = %request.target.method(),
            http.host = request.target.host(),
            http.path = request.target.path(),
            allowed,
            "a break-glass token was used"
        );
        let (name, client) = (&identity.principal.name, request.client.address.nearest());
        self.authenticator.audit_break_glass(name, client, request.request_id, allowed);
    }
}

/// Tells our own pages who asks for them. Only a browser's session counts there, and it is looked up each time: what is
/// remembered may be a moment old, and a page shows and changes what is somebody's own.
#[derive(Clone)]
pub struct Visitors {
    resolver: Arc<CredentialResolver>,
    cookie: String,
}

impl Visitors {
    /// `resolver` asks by connections that pages may keep busy; `cookie` is the name of the session cookie.
    pub fn new(resolver: Arc<CredentialResolver>, cookie: String) -> Self {
        Self { resolver, cookie }
    }

    /// Who asks for a page at a host.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Unavailable`] if that cannot be told now.
    pub async fn visitor(
        &self,
        headers: &HeaderMap,
        host: &str,
    ) -> Result<Recognition<Arc<Principal>>, ServiceError> {
        let cookie = match Credential::session(headers, &self.cookie) {
            Ok(Credential::Session(cookie)) => cookie,
            Ok(_) => return Ok(Recognition::Anonymous),
            Err(_) => return Ok(Recognition::Ended),
        };
        Ok(match self.resolver.ask(LookedUp::Session, cookie).await? {
            Holder::Caller(principal) if principal.is_for(host) => Recognition::Caller(Arc::from(principal)),
            Holder::Caller(_) | Holder::Barred(_) | Holder::Nobody => Recognition::Ended,
        })
    }

    /// Whether a browser was signed in here before, by a cookie that we signed. Asks nobody, so that it may have ended.
    pub fn has_cookie(&self, headers: &HeaderMap) -> bool {
        matches!(
            Credential::session(headers, &self.cookie),
            Ok(Credential::Session(cookie)) if self.resolver.is_plausible(LookedUp::Session, cookie)
        )
    }
}

impl std::fmt::Debug for Visitors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Visitors")
    }
}
