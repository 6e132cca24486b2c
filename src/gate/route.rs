//! Which route a request takes: among those that name its host, or else those for any, the longest path prefix.

use std::rc::Rc;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::app_sessions::AppSessions;
use super::credential::Accepts;
use super::graphql::{DetectedPaths, Detection};
use super::identity_headers::HeaderPlan;
use crate::config::{Config, HeaderPreset, IdentityConfig, RouteConfig, RouteTimeouts};
use crate::model::principal::Principal;
use crate::model::target::{PathOptIns, Prefixes, RequestKind, RequestTarget};
use crate::policy::{Enforce, PathPattern, Policy};

/// One route with what a request on it needs to know of its upstream.
#[derive(Debug)]
pub struct Route {
    /// What logs say.
    pub name: String,
    /// Place in the configuration.
    pub number: usize,
    /// Index of the upstream in the configuration; `None` where another proxy has the application behind it.
    pub upstream: Option<usize>,
    /// Name of the upstream.
    pub upstream_name: Option<String>,
    /// How its paths are renamed on the way to the upstream, if they are.
    pub prefixes: Option<Prefixes>,
    /// The prefix the upstream does not see and is told of.
    pub stripped_prefix: Option<HeaderValue>,
    /// How long the upstream may take.
    pub timeouts: RouteTimeouts,
    /// Who may do what.
    pub policy: Policy,
    /// Where its requests have looked like GraphQL, if no rule tells operations apart.
    sightings: Option<DetectedPaths>,
    /// How strictly the strictest rule is kept of all that lead to its application.
    pub(super) strictest: Enforce,
    /// What the upstream is told of its callers.
    pub headers: Rc<HeaderPlan>,
    /// What answers to other proxies tell.
    answers: Rc<HeaderPlan>,
    /// The same by the names of other products.
    compat_answers: Vec<Rc<HeaderPlan>>,
    /// Which credentials are taken.
    pub accepts: Accepts,
    /// The upstream's session cookies, where it names any.
    pub app_sessions: Option<AppSessions>,
    /// Whether `Authorization` is filled with what is the gateway's own, so that no setting leaves it to clients.
    pub(super) fills_authorization: bool,
    /// Names of headers with odd characters that the upstream needs.
    pub odd_header_names: Vec<HeaderName>,
    /// Spellings of paths the upstream needs.
    pub paths: PathOptIns,
    /// Whether it is for hosts that it does not name.
    any_host: bool,
    /// Hosts it is for; empty: every one.
    hosts: Vec<String>,
    prefix: PathPattern,
}

/// Every route, the most specific first.
pub struct RouteTable {
    routes: Vec<Rc<Route>>,
}

/// Which reading of a path is compared.
#[derive(Clone, Copy)]
pub(super) enum Path<'p> {
    /// As it is sent.
    Canonical(&'p str),
    /// As a careless server reads it.
    Loose(&'p str),
}

impl RouteTable {
    /// Builds the table. Routes whose path or upstream is not valid are left out, that is, refused;
    /// the configuration has reported them before.
    pub fn new(config: &Config) -> Self {
        let routes = config.routes.iter().enumerate();
        let mut routes: Vec<_> = routes.filter_map(|(number, route)| build(number, route, config)).collect();
        routes.sort_by_key(|route| (route.any_host, std::cmp::Reverse(route.depth())));
        Self { routes }
    }

    /// The route for a host and path: those that name the host come first, and then the longest path.
    pub(super) fn find(&self, host: &str, path: Path<'_>) -> Option<&Rc<Route>> {
        self.routes.iter().find(|route| route.is_for(host) && route.takes(path))
    }

    /// Where a route that names the host comes before one for any host whose path is longer, that one: nothing
    /// that it refuses is let through.
    pub(super) fn beside(&self, found: &Route, host: &str, path: Path<'_>) -> Option<&Rc<Route>> {
        if found.any_host {
            return None;
        }
        let mut deeper = self.routes.iter().filter(|route| route.any_host && route.depth() > found.depth());
        deeper.find(|route| route.is_for(host) && route.takes(path))
    }

    /// The route of this name.
    pub fn named(&self, name: &str) -> Option<&Rc<Route>> {
        self.routes.iter().find(|route| route.name == name)
    }

    /// Whether a careless server could read a path as one of some route's that no other server reads in two ways.
    pub fn name_loosely(&self) -> bool {
        self.routes.iter().any(|route| route.prefix.is_loose_itself())
    }
}

impl Route {
    /// What an answer to another proxy tells, with the preset that the question wants or the route's own.
    pub fn answer_headers(&self, preset: Option<HeaderPreset>) -> &Rc<HeaderPlan> {
        let compat = |wanted| self.compat_answers.iter().find(|plan| plan.preset() == wanted);
        preset.and_then(compat).unwrap_or(&self.answers)
    }

    /// What settings want its application to be told of callers and is not told of this one.
    pub(super) fn without_value(&self, principal: &Principal) -> Vec<String> {
        let plan = if self.upstream.is_some() { &self.headers } else { &self.answers };
        plan.without_value(principal)
    }

    /// Whether a request looks like one of GraphQL that no rule knows of, as far as that is still of interest.
    pub fn detection(&self, target: &RequestTarget, headers: &HeaderMap) -> Detection {
        let sightings = self.sightings.as_ref().filter(|_| target.kind() == RequestKind::Plain);
        let seen =
            sightings.map(|all| all.detection(target.method(), target.path(), target.query(), headers));
        seen.unwrap_or_default()
    }

    /// Notes that a request looked like GraphQL.
    pub fn saw_graphql(&self, path: &str) {
        if let Some(sightings) = &self.sightings {
            sightings.add(path);
        }
    }

    fn depth(&self) -> usize {
        self.prefix.as_str().trim_end_matches('/').len()
    }

    fn takes(&self, path: Path<'_>) -> bool {
        match path {
            Path::Canonical(path) => self.prefix.matches(path),
            Path::Loose(path) => self.prefix.matches_loose(path),
        }
    }

    fn is_for(&self, host: &str) -> bool {
        self.hosts.is_empty() || self.hosts.iter().any(|own| own == host)
    }
}

/// How strictly the strictest rule is kept of all routes that lead to the application of this one. Two upstreams are one
/// application if they share a server; where another proxy has it, it is not known here which routes do.
fn strictest(route: &RouteConfig, config: &Config) -> Enforce {
    let servers = |route: &RouteConfig| Some(&config.upstreams.get(route.upstream?)?.servers);
    let here = servers(route).filter(|_| !config.forward_auth.is_on());
    let is_same = |other: &&RouteConfig| {
        let there = servers(other);
        here.is_none_or(|here| there.is_some_and(|there| here.iter().any(|server| there.contains(server))))
    };
    config.routes.iter().filter(is_same).map(|route| route.policy.strictest()).max().unwrap_or(Enforce::On)
}

fn build(number: usize, route: &RouteConfig, config: &Config) -> Option<Rc<Route>> {
    let issuer = config.public_url.to_string();
    let plan = |preset, identity: &IdentityConfig, name: &str| {
        Rc::new(HeaderPlan::new(preset, identity, name, &issuer))
    };
    let answers = &config.forward_auth;
    let upstream = match route.upstream {
        Some(index) => Some(config.upstreams.get(index)?),
        None => None,
    };
    let answer = |preset| plan(preset, &answers.identity, &route.name);
    let headers = match upstream {
        Some(upstream) => plan(upstream.headers, &upstream.identity, &upstream.name),
        None => plan(HeaderPreset::None, &IdentityConfig::default(), &route.name),
    };
    Some(Rc::new(Route {
        name: route.name.clone(),
        number,
        upstream: route.upstream,
        upstream_name: upstream.map(|upstream| upstream.name.clone()),
        stripped_prefix: route
            .prefixes
            .as_ref()
            .map(Prefixes::stripped)
            .filter(|prefix| !prefix.is_empty())
            .and_then(|prefix| HeaderValue::from_str(prefix).ok()),
        prefixes: route.prefixes.clone(),
        timeouts: route.timeouts,
        sightings: (!route.policy.knows_graphql()).then(DetectedPaths::default),
        policy: route.policy.clone(),
        strictest: strictest(route, config),
        headers,
        answers: answer(route.headers.unwrap_or(answers.headers)),
        compat_answers: answers.compat.iter().map(|product| answer(product.headers())).collect(),
        accepts: Accepts::of(&route.credentials),
        fills_authorization: config.identity_on(route).fills_authorization(),
        app_sessions: AppSessions::of(route, config),
        odd_header_names: upstream.map(|upstream| upstream.odd_header_names.clone()).unwrap_or_default(),
        paths: route.paths,
        any_host: route.hosts.is_empty(),
        hosts: if route.hosts.is_empty() && upstream.is_some() {
            config.known_hosts()
        } else {
            route.hosts.clone()
        },
        prefix: PathPattern::parse(&route.path).ok()?,
    }))
}
