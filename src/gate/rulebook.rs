//! What a configuration alone says of a request: its route, and whether a credential may be used for it.

use std::rc::Rc;

use http::header::{ACCESS_CONTROL_REQUEST_METHOD, AUTHORIZATION, ORIGIN};
use http::{HeaderMap, Method};

use super::authenticator::Identity;
use super::effects::{BadAddress, DESTINATION, Effects, part_of_address};
use super::permit::Asked;
use super::place::Place;
use super::refusal::Refusal;
use super::route::RouteTable;
use super::{GateRequest, Trail};
use crate::config::Config;
use crate::model::principal::Proof;
use crate::model::target::{RequestKind, RequestTarget};

/// The part of the gate that asks nobody, so that it can tell of requests that were never made.
pub struct Rulebook {
    routes: RouteTable,
    /// Ours first, then those that are trusted beside it.
    origins: Vec<String>,
    /// Whether it can change a decision at which place something is done.
    places_matter: bool,
}

/// A request whose route is known.
pub(super) struct Routed {
    pub(super) place: Place,
    /// What it does beside, each with its place.
    also: Vec<(RequestTarget, Place)>,
    destination: Option<usize>,
    refused: Option<Refusal>,
}

impl Routed {
    /// Refuses it whatever the rules say, unless they let that pass.
    fn refuse(&mut self, refusal: Refusal) -> Result<(), Refusal> {
        if !self.is_lenient() {
            return Err(refusal);
        }
        self.refused.get_or_insert(refusal);
        Ok(())
    }

    fn is_lenient(&self) -> bool {
        self.place.is_lenient() && self.also.iter().all(|(_, place)| place.is_lenient())
    }

    /// What the request does beside.
    pub(super) fn also(&self) -> impl Iterator<Item = &RequestTarget> {
        self.also.iter().map(|(target, _)| target)
    }

    /// With an identity that may be used here and whether a session has ended, or why there is none.
    pub(super) fn asked(self, used: Result<(Option<Rc<Identity>>, bool), Refusal>) -> Result<Asked, Refusal> {
        let lenient = self.is_lenient();
        let Self { place, also, destination, mut refused } = self;
        let (identity, stale_session) = match used {
            Ok(used) => used,
            Err(refusal) if lenient => {
                refused.get_or_insert(refusal);
                (None, false)
            }
            Err(refusal) => return Err(refusal),
        };
        Ok(Asked { place, also, destination, identity, stale_session, preflight: false, refused })
    }
}

impl Rulebook {
    /// What `config` says.
    pub fn new(config: &Config) -> Self {
        let mut origins = vec![config.public_url.origin()];
        origins.extend(config.server.trusted_origins.iter().cloned());
        let places_matter = config.routes.len() > 1
            || config.routes.iter().any(|route| route.path != "/" || route.policy.looks_at_paths());
        Self { routes: RouteTable::new(config), origins, places_matter }
    }

    /// Origins whose pages may send what changes something, ours first.
    pub fn origins(&self) -> &[String] {
        &self.origins
    }

    /// Whether there is an application of ours at a host and path.
    pub(super) fn has_upstream(&self, host: &str, path: &str) -> bool {
        self.routes.find(host, path).is_some_and(|route| route.upstream.is_some())
    }

    /// Finds the route, and those of what the request does beside.
    ///
    /// # Errors
    ///
    /// [`Refusal`] if there is none, a path has a spelling its upstream does not opt in to, or a second address
    /// cannot be read in one way only.
    pub(super) fn route(&self, request: &GateRequest<'_>, trail: &mut Trail) -> Result<Routed, Refusal> {
        let (effects, unread) = match Effects::of(request, self.origins.first().map_or("", String::as_str)) {
            Ok(effects) => (effects, part_of_address(request).filter(|_| self.places_matter)),
            Err(error) => {
                let mut routed = self.route_with(request, Effects::default(), trail)?;
                routed.refuse(Refusal::BadAddress(error))?;
                return Ok(routed);
            }
        };
        let mut routed = self.route_with(request, effects, trail)?;
        if let Some(name) = unread {
            routed.refuse(Refusal::BadAddress(BadAddress::Unreadable(name)))?;
        }
        Ok(routed)
    }

    /// The same where it is known what the request does beside.
    ///
    /// # Errors
    ///
    /// As [`Rulebook::route`].
    pub(super) fn route_with(
        &self,
        request: &GateRequest<'_>,
        effects: Effects,
        trail: &mut Trail,
    ) -> Result<Routed, Refusal> {
        let place = self.place(request.target, request.route).ok_or(Refusal::NoRoute)?;
        trail.route = Some(Rc::clone(&place.route));
        let paths = place.route.paths;
        let upstream = place.route.upstream;
        let mut routed = Routed { place, also: Vec::new(), destination: effects.destination, refused: None };
        if let Some(odd) = request.target.needs().first_missing(paths) {
            routed.refuse(Refusal::OddPath(odd))?;
        }
        for target in effects.also {
            // The application that is asked acts there too, so it must be one of its own places.
            let place = self.place(&target, request.route).filter(|place| place.route.upstream == upstream);
            let Some(place) = place else {
                routed.destination = None;
                routed.refuse(Refusal::BadAddress(BadAddress::Foreign(DESTINATION)))?;
                continue;
            };
            if let Some(odd) = target.needs().first_missing(place.route.paths) {
                routed.refuse(Refusal::OddPath(odd))?;
            }
            routed.also.push((target, place));
        }
        Ok(routed)
    }

    fn place(&self, target: &RequestTarget, named: Option<&str>) -> Option<Place> {
        let route = match named {
            None => self.routes.find(target.host(), target.path()),
            Some(name) => self.routes.named(name),
        }?;
        let loose_route = target
            .loose_path()
            .and_then(|path| self.routes.find_loose(target.host(), path))
            .filter(|other| named.is_none() && !Rc::ptr_eq(other, route))
            .cloned();
        Some(Place { route: Rc::clone(route), loose_route })
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
                self.check_use(request, routed.also(), identity)?;
            }
            Ok((identity, stale))
        });
        let mut asked = routed.asked(used)?;
        asked.preflight = asked.identity.is_none() && self.is_trusted_preflight(request);
        Ok(asked)
    }

    /// What holds for a credential whatever the rules say: its scope, its origin, a pending password change.
    pub(super) fn check_use<'t>(
        &self,
        request: &GateRequest<'t>,
        also: impl Iterator<Item = &'t RequestTarget>,
        identity: &Identity,
    ) -> Result<(), Refusal> {
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
        check_bounds(request, also, identity)
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
///
/// They hold for everything that the request does.
pub(super) fn check_bounds<'t>(
    request: &GateRequest<'t>,
    also: impl Iterator<Item = &'t RequestTarget>,
    identity: &Identity,
) -> Result<(), Refusal> {
    if let Proof::Key { scope, .. } = &identity.principal.proof {
        let network_fits =
            scope.networks.is_empty() || request.client.address.is_within(&scope.networks) == Some(true);
        let mut all = std::iter::once(request.target).chain(also);
        let is_for = |target: &RequestTarget| scope.takes(target.method()) && identity.scope_fits(target);
        let unread = !scope.paths.is_empty() && part_of_address(request).is_some();
        if !network_fits || unread || !all.all(is_for) {
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
