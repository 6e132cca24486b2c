//! What the configuration alone says about a request: its route, and whether a credential may be used for it.

use std::rc::Rc;

use http::Method;

use super::authenticator::Identity;
use super::credential::{Accepts, CredentialHandling};
use super::effects::{BadAddress, DESTINATION, Effects, part_of_address};
use super::origins::Origins;
use super::permit::DecisionRequest;
use super::recognition::Recognition;
use super::refusal::Refusal;
use super::route::{Path, Route, RouteTable};
use super::route_match::RouteMatch;
use super::{DecisionTrace, GateRequest};
use crate::config::Config;
use crate::model::origin::Origin;
use crate::model::principal::Proof;
use crate::model::target::{RequestKind, RequestTarget};
use crate::policy::Enforce;

/// The part of the gate without store calls, so that it can explain hypothetical requests.
pub struct Rulebook {
    routes: RouteTable,
    /// Paths of routes whose application begins below them.
    stripped: Vec<String>,
    origins: Origins,
    /// Whether it can change a decision at which place something is done.
    places_matter: bool,
}

/// A request whose route is known.
pub(super) struct Routed {
    pub(super) route_match: RouteMatch,
    /// What it does beside, each with its place.
    also: Vec<(RequestTarget, RouteMatch)>,
    destination: Option<usize>,
    /// Which credentials it takes: what another reading of it would refuse, it refuses.
    pub(super) accepts: Accepts,
    refused: Option<Refusal>,
    /// How strictly a refusal is kept at least.
    least: Enforce,
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

    /// Refuses it for an address that may be that of any place of the application: as the strictest rule there has it.
    fn refuse_unread(&mut self, error: BadAddress) -> Result<(), Refusal> {
        self.least = self.route_match.strictest();
        self.refuse(Refusal::BadAddress(error))
    }

    fn is_lenient(&self) -> bool {
        self.route_match.is_lenient() && self.also.iter().all(|(_, route_match)| route_match.is_lenient())
    }

    /// What the request does beside.
    pub(super) fn also(&self) -> impl Iterator<Item = &RequestTarget> {
        self.also.iter().map(|(target, _)| target)
    }

    /// With a caller who may be used here, or why there is none.
    pub(super) fn asked(
        self,
        used: Result<Recognition<Rc<Identity>>, Refusal>,
    ) -> Result<DecisionRequest, Refusal> {
        let lenient = self.is_lenient();
        let Self { route_match, also, destination, accepts, mut refused, least } = self;
        let recognised = match used {
            Ok(used) => used,
            Err(refusal) if lenient => {
                refused.get_or_insert(refusal);
                Recognition::Anonymous
            }
            Err(refusal) => return Err(refusal),
        };
        Ok(DecisionRequest {
            route_match,
            also,
            destination,
            accepts,
            recognised,
            preflight: false,
            from_elsewhere: false,
            refused,
            least,
        })
    }
}

impl Rulebook {
    /// What `config` says.
    pub fn new(config: &Config) -> Self {
        let places_matter = config.routes.len() > 1
            || config.routes.iter().any(|route| route.path != "/" || route.policy.looks_at_paths());
        let prefixes = config.routes.iter().filter_map(|route| route.prefixes.as_ref());
        let stripped = prefixes.map(|prefixes| prefixes.stripped().to_owned()).collect();
        Self { routes: RouteTable::new(config), stripped, origins: Origins::new(config), places_matter }
    }

    /// What a plain read of a stripped prefix alone is decided as, and sent to ask for: the same with a slash.
    pub fn with_slash(&self, target: &RequestTarget) -> Option<RequestTarget> {
        let reads = matches!(*target.method(), Method::GET | Method::HEAD);
        let may_lack = reads && target.kind() == RequestKind::Plain;
        if !may_lack || !self.stripped.iter().any(|prefix| prefix == target.path()) {
            return None;
        }
        let route = self.routes.find(target.host(), Path::Canonical(target.path()))?;
        let with_slash = route.prefixes.as_ref()?.with_slash(target)?;
        RequestTarget::parse(target.method(), target.host(), &with_slash, RequestKind::Plain).ok()
    }

    /// Which pages may have a browser send what.
    pub fn origins(&self) -> &Origins {
        &self.origins
    }

    /// Whether there is an application of ours at a host and path.
    pub(super) fn has_upstream(&self, host: &str, path: &str) -> bool {
        self.routes.find(host, Path::Canonical(path)).is_some_and(|route| route.upstream.is_some())
    }

    /// Finds the route, and those of what the request does beside.
    ///
    /// # Errors
    ///
    /// [`Refusal`] if there is none, a path has a spelling its upstream does not opt in to, or a second address
    /// cannot be read in one way only.
    pub(super) fn route(
        &self,
        request: &GateRequest<'_>,
        trail: &mut DecisionTrace,
    ) -> Result<Routed, Refusal> {
        let (effects, unread) = match Effects::of(request, self.origins.public().unwrap_or_default()) {
            Ok(effects) => (effects, part_of_address(request).filter(|_| self.places_matter)),
            Err(error) => {
                let mut routed = self.route_with(request, Effects::default(), trail)?;
                routed.refuse_unread(error)?;
                return Ok(routed);
            }
        };
        let mut routed = self.route_with(request, effects, trail)?;
        if let Some(name) = unread {
            routed.refuse_unread(BadAddress::Unreadable(name))?;
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
        trail: &mut DecisionTrace,
    ) -> Result<Routed, Refusal> {
        let route_match = self.route_match(request.target, request.route).ok_or(Refusal::NoRoute)?;
        trail.route = Some(Rc::clone(&route_match.route));
        let odd = route_match.odd_spelling(request.target);
        let upstream = route_match.route.upstream;
        let destination = effects.destination;
        let accepts = route_match.accepts();
        let mut routed = Routed {
            route_match,
            also: Vec::new(),
            destination,
            accepts,
            refused: None,
            least: Enforce::Off,
        };
        if let Some(odd) = odd {
            routed.refuse(Refusal::OddPath(odd))?;
        }
        for target in effects.also {
            // The application that is asked acts there too, so it must be one of its own places.
            let route_match = self
                .route_match(&target, request.route)
                .filter(|route_match| route_match.route.upstream == upstream);
            let Some(route_match) = route_match else {
                routed.destination = None;
                routed.refuse_unread(BadAddress::Foreign(DESTINATION))?;
                continue;
            };
            if let Some(odd) = route_match.odd_spelling(&target) {
                routed.refuse(Refusal::OddPath(odd))?;
            }
            routed.accepts =
                route_match.routes().fold(routed.accepts, |all, route| all.or_stricter(&route.accepts));
            routed.also.push((target, route_match));
        }
        Ok(routed)
    }

    fn route_match(&self, target: &RequestTarget, named: Option<&str>) -> Option<RouteMatch> {
        let route = match named {
            None => self.routes.find(target.host(), Path::Canonical(target.path())),
            Some(name) => self.routes.named(name),
        }?;
        let beside = if named.is_none() { self.beside(target, route) } else { Vec::new() };
        Some(RouteMatch { route: Rc::clone(route), beside })
    }

    /// The other routes whose rules count: those of a careless reading of the path, and those for any host that a
    /// route for this one keeps back.
    fn beside(&self, target: &RequestTarget, route: &Rc<Route>) -> Vec<Rc<Route>> {
        let (host, path) = (target.host(), Path::Canonical(target.path()));
        let mut others: Vec<Rc<Route>> = self.routes.beside(route, host, path).into_iter().cloned().collect();
        let loose = target.loose_path().or_else(|| self.routes.name_loosely().then(|| target.path()));
        if let Some(loose) = loose.map(Path::Loose)
            && let Some(found) = self.routes.find(host, loose)
        {
            let both = [Some(found), self.routes.beside(found, host, loose)];
            for other in both.into_iter().flatten() {
                if !Rc::ptr_eq(other, route) && !others.iter().any(|known| Rc::ptr_eq(known, other)) {
                    others.push(Rc::clone(other));
                }
            }
        }
        others
    }

    /// Brings the caller in, or why there is none.
    ///
    /// # Errors
    ///
    /// [`Refusal`] if there is none to bring in, or the credential may not be used here.
    pub(super) fn admit(
        &self,
        request: &GateRequest<'_>,
        routed: Routed,
        recognised: Result<Recognition<Rc<Identity>>, Refusal>,
        trail: &mut DecisionTrace,
    ) -> Result<DecisionRequest, Refusal> {
        let used = recognised.and_then(|recognised| {
            trail.identity = recognised.caller().cloned();
            if let Some(identity) = recognised.caller() {
                self.check_use(request, routed.also(), identity)?;
            }
            Ok(recognised)
        });
        let mut asked = routed.asked(used)?;
        let by_address = request.target.query().is_some() && asked.wants(request).graphql;
        asked.from_elsewhere = by_address
            && asked.recognised.caller().is_some_and(|identity| self.is_from_elsewhere(request, identity));
        let is_nobody = matches!(asked.recognised, Recognition::Anonymous | Recognition::Ended);
        asked.preflight =
            is_nobody && self.origins.is_trusted_preflight(request.target.method(), request.headers);
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
        let changes = !target.is_read() || target.kind() != RequestKind::Plain;
        if changes && self.is_from_elsewhere(request, identity) {
            return Err(Refusal::ForeignOrigin);
        }
        check_bounds(request, also, identity)
    }

    /// Whether a page of another origin had a browser send it, with what browsers send with requests of any page.
    fn is_from_elsewhere(&self, request: &GateRequest<'_>, identity: &Identity) -> bool {
        let arrived = || Origin::at(request.client.secure, request.authority);
        CredentialHandling::of(&identity.principal).is_ambient(request.headers)
            && !self.origins.may_act(request.headers, arrived().as_ref(), request.target.kind())
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
        let is_for = |target: &RequestTarget| {
            let takes = |method: &Method| scope.takes(method, target.kind().may_switch());
            // A key for reading makes no change by its query either.
            let changes = target.may_change_by_query();
            takes(target.method()) && (!changes || takes(&Method::POST)) && identity.scope_fits(target)
        };
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
