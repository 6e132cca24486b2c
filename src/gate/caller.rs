//! Finds the caller of a request, and the visitor of one of our own pages.

use std::rc::Rc;
use std::sync::Arc;

use http::HeaderMap;

use super::authenticator::{CredentialResolver, TOUCH_EVERY};
use super::credential::{Credential, CredentialHandling, CredentialResolution, LookedUp};
use super::identity::Identity;
use super::recognition::Recognition;
use super::refusal::{BadCredential, Refusal};
use super::rulebook::check_bounds;
use super::{Gate, GateRequest};
use crate::config::ForeignCredentials;
use crate::model::principal::{Holder, Principal, PrincipalKind, Proof};
use crate::model::time::Clock;
use crate::service::ServiceError;
use crate::service::touches::Touches;

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
            // A foreign credential makes the caller anonymous, never the holder of the cookie beside it.
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
/// cached may be a moment old, and a page shows and changes the user's own account.
#[derive(Clone)]
pub struct Visitors {
    resolver: Arc<CredentialResolver>,
    cookie: String,
    touches: Touches,
    clock: Arc<dyn Clock>,
}

impl Visitors {
    /// `resolver` asks by connections that pages may keep busy; `cookie` is the name of the session cookie; `touches` takes
    /// note of uses.
    pub fn new(
        resolver: Arc<CredentialResolver>,
        cookie: String,
        touches: Touches,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { resolver, cookie, touches, clock }
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
            Holder::Caller(principal) if principal.is_for(host) => {
                self.touch(&principal);
                Recognition::Caller(Arc::from(principal))
            }
            Holder::Caller(_) | Holder::Barred(_) | Holder::NotFound => Recognition::Ended,
        })
    }

    /// Notes a use, about once a minute for one session; never waits. What was noted and is not written yet is noted again.
    fn touch(&self, principal: &Principal) {
        let now = self.clock.now();
        if let Proof::Session { id, last_seen_at, .. } = &principal.proof
            && !now.is_within(TOUCH_EVERY, *last_seen_at)
        {
            self.touches.session(id, now);
        }
    }

    /// Whether a browser was signed in here before, by a cookie that we signed. Makes no store call, so the session may have ended.
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::HeaderValue;
    use http::header::COOKIE;

    use super::*;
    use crate::gate::testing::GateFixture;
    use crate::model::role::Role;
    use crate::model::time::Timestamp;

    /// When a session was last used, as the store has it after its owner asked for a page that long after signing in; and
    /// when that was.
    async fn noted_after(span: Duration) -> (Timestamp, Timestamp) {
        let mut world = GateFixture::new().await;
        let user = world.user("vera", Role::Viewer, &[]).await;
        let cookie = HeaderValue::try_from(format!("doorward={}", world.session(&user).await)).unwrap();
        let visitors = world.visitors("doorward");
        world.clock.advance(span);
        let visitor = visitors.visitor(&HeaderMap::from_iter([(COOKIE, cookie)]), "gate.example").await;
        assert!(matches!(visitor, Ok(Recognition::Caller(_))), "{visitor:?}");
        world.maintenance.take().unwrap().run(std::future::ready(())).await;
        (world.sessions.list(&world.by, None).await.unwrap()[0].0.last_seen_at, world.clock.now())
    }

    #[tokio::test]
    async fn a_visit_of_a_page_is_a_use_of_the_session() {
        let (noted, now) = noted_after(Duration::from_secs(61)).await;
        assert_eq!(noted, now);
    }

    #[tokio::test]
    async fn a_visit_within_the_minute_is_not_written_down_again() {
        let (noted, now) = noted_after(Duration::from_secs(59)).await;
        assert_eq!(noted, now.before(Duration::from_secs(59)));
    }
}
