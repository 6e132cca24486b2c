//! What a configuration alone says of a request: its route, and whether a credential may be used for it.

use std::rc::Rc;

use http::header::{ACCESS_CONTROL_REQUEST_METHOD, AUTHORIZATION, ORIGIN};
use http::{HeaderMap, Method};

use super::authenticator::Identity;
use super::permit::Asked;
use super::refusal::Refusal;
use super::route::{Route, RouteTable};
use super::{GateRequest, Trail};
use crate::config::Config;
use crate::model::principal::Proof;
use crate::model::target::RequestKind;

/// The part of the gate that asks nobody, so that it can tell of requests that were never made.
pub struct Rulebook {
    routes: RouteTable,
    /// Ours first, then those that are trusted beside it.
    origins: Vec<String>,
}

/// A request whose route is known.
pub(super) struct Routed {
    pub(super) route: Rc<Route>,
    loose_route: Option<Rc<Route>>,
    refused: Option<Refusal>,
}

impl Routed {
    fn is_lenient(&self) -> bool {
        self.route.policy.is_lenient()
            && self.loose_route.as_ref().is_none_or(|route| route.policy.is_lenient())
    }

    /// With an identity that may be used here and whether a session has ended, or why there is none.
    pub(super) fn asked(self, used: Result<(Option<Rc<Identity>>, bool), Refusal>) -> Result<Asked, Refusal> {
        let lenient = self.is_lenient();
        let Self { route, loose_route, mut refused } = self;
        let (identity, stale_session) = match used {
            Ok(used) => used,
            Err(refusal) if lenient => {
                refused.get_or_insert(refusal);
                (None, false)
            }
            Err(refusal) => return Err(refusal),
        };
        Ok(Asked { route, loose_route, identity, stale_session, preflight: false, refused })
    }
}

impl Rulebook {
    /// What `config` says.
    pub fn new(config: &Config) -> Self {
        let mut origins = vec![config.public_url.origin()];
        origins.extend(config.server.trusted_origins.iter().cloned());
        Self { routes: RouteTable::new(config), origins }
    }

    /// Origins whose pages may send what changes something, ours first.
    pub fn origins(&self) -> &[String] {
        &self.origins
    }

    /// Whether there is an application of ours at a host and path.
    pub(super) fn has_upstream(&self, host: &str, path: &str) -> bool {
        self.routes.find(host, path).is_some_and(|route| route.upstream.is_some())
    }

    /// Finds the route.
    ///
    /// # Errors
    ///
    /// [`Refusal`] if there is none, or the path has a spelling its upstream does not opt in to.
    pub(super) fn route(&self, request: &GateRequest<'_>, trail: &mut Trail) -> Result<Routed, Refusal> {
        let target = request.target;
        let route = match request.route {
            None => self.routes.find(target.host(), target.path()),
            Some(name) => self.routes.named(name),
        };
        let route = route.ok_or(Refusal::NoRoute)?;
        trail.route = Some(Rc::clone(route));
        let loose_route = target
            .loose_path()
            .and_then(|path| self.routes.find_loose(target.host(), path))
            .filter(|other| request.route.is_none() && !Rc::ptr_eq(other, route))
            .cloned();
        let mut routed = Routed { route: Rc::clone(route), loose_route, refused: None };
        if let Some(odd) = target.needs().first_missing(route.paths) {
            if !routed.is_lenient() {
                return Err(Refusal::OddPath(odd));
            }
            routed.refused = Some(Refusal::OddPath(odd));
        }
        Ok(routed)
    }

    /// Brings the caller in: an identity and whether a session has ended, or why there is none.
    ///
    /// # Errors
    ///
    /// [`Refusal`] if there is none to bring in, or the credential may not be used here.
    pub(super) fn admit(
        &self,
        request: &GateRequest<'_>,
        routed: Routed,
        known: Result<(Option<Rc<Identity>>, bool), Refusal>,
        trail: &mut Trail,
    ) -> Result<Asked, Refusal> {
        let used = known.and_then(|(identity, stale)| {
            trail.identity.clone_from(&identity);
            if let Some(identity) = &identity {
                self.check_use(request, identity)?;
            }
            Ok((identity, stale))
        });
        let mut asked = routed.asked(used)?;
        asked.preflight = asked.identity.is_none() && self.is_trusted_preflight(request);
        Ok(asked)
    }

    /// What holds for a credential whatever the rules say: its scope, its origin, a pending password change.
    pub(super) fn check_use(&self, request: &GateRequest<'_>, identity: &Identity) -> Result<(), Refusal> {
        let target = request.target;
        // Browsers send cookies, and Basic once it was typed in, with requests of any page.
        let ambient = match &identity.principal.proof {
            Proof::Session { .. } => true,
            Proof::Key { .. } => is_basic(request.headers) && names_a_page(request.headers),
        };
        let changes = !target.is_read() || target.kind() != RequestKind::Plain;
        if ambient && changes && !self.is_own_origin(request) {
            return Err(Refusal::ForeignOrigin);
        }
        check_bounds(request, identity)
    }

    /// Whether a page of a trusted origin asks whether it may ask (Fetch, 3.2.2). The answer is the
    /// application's own. Its own pages never have to ask, so its own origin is no reason.
    fn is_trusted_preflight(&self, request: &GateRequest<'_>) -> bool {
        let mut origins = request.headers.get_all(ORIGIN).iter();
        *request.target.method() == Method::OPTIONS
            && request.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
            && origins.next().is_some_and(|origin| {
                let trusted = &mut self.origins.iter().skip(1);
                trusted.any(|known| origin.as_bytes().eq_ignore_ascii_case(known.as_bytes()))
            })
            && origins.next().is_none()
    }

    /// Whether a page of ours, or none, sent the request: cookies travel with requests of any page.
    ///
    /// A browser always names the origin on WebSocket handshakes, so there silence is no proof.
    fn is_own_origin(&self, request: &GateRequest<'_>) -> bool {
        let mut origins = request.headers.get_all(ORIGIN).iter();
        match (origins.next(), origins.next()) {
            (Some(origin), None) => {
                let Ok(origin) = origin.to_str() else { return false };
                self.origins.iter().any(|own| own.eq_ignore_ascii_case(origin))
                    || is_same_host(origin, request)
            }
            (None, _) => {
                let site = request.headers.get("sec-fetch-site").map(http::HeaderValue::as_bytes);
                request.target.kind() == RequestKind::Plain
                    && matches!(site, None | Some(b"same-origin" | b"none"))
            }
            _ => false,
        }
    }
}

/// What bounds a credential as long as it is used: a key's scope, a pending password change.
pub(super) fn check_bounds(request: &GateRequest<'_>, identity: &Identity) -> Result<(), Refusal> {
    let target = request.target;
    if let Proof::Key { scope, .. } = &identity.principal.proof {
        let network_fits =
            scope.networks.is_empty() || request.client.address.is_within(&scope.networks) == Some(true);
        if !network_fits || !scope.takes(target.method()) || !identity.scope_fits(target) {
            return Err(Refusal::KeyScope);
        }
    }
    if identity.principal.must_change_password {
        return Err(Refusal::PasswordChange);
    }
    Ok(())
}

fn is_basic(headers: &HeaderMap) -> bool {
    headers
        .get_all(AUTHORIZATION)
        .iter()
        .any(|value| value.as_bytes().get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"basic")))
}

/// Whether a browser says on whose behalf it asks.
fn names_a_page(headers: &HeaderMap) -> bool {
    headers.contains_key(ORIGIN) || headers.contains_key("sec-fetch-site")
}

/// Whether `origin` is exactly the scheme and authority the request came to.
fn is_same_host(origin: &str, request: &GateRequest<'_>) -> bool {
    let scheme = if request.client.secure { "https://" } else { "http://" };
    origin.strip_prefix(scheme).is_some_and(|authority| authority.eq_ignore_ascii_case(request.authority))
}
