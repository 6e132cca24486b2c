//! Which route a request takes: the longest path prefix among those for its host.

use std::rc::Rc;

use http::HeaderValue;

use crate::config::{Config, HeaderPreset, RouteConfig};
use crate::model::target::PathOptIns;
use crate::model::target::Prefixes;
use crate::policy::{PathPattern, Policy};

/// One route with what a request on it needs to know of its upstream.
#[derive(Debug)]
pub struct Route {
    /// What logs say.
    pub name: String,
    /// Index of the upstream in the configuration; `None` where another proxy has the application behind it.
    pub upstream: Option<usize>,
    /// Name of the upstream.
    pub upstream_name: Option<String>,
    /// How its paths are renamed on the way to the upstream, if they are.
    pub prefixes: Option<Prefixes>,
    /// The prefix the upstream does not see and is told of.
    pub stripped_prefix: Option<HeaderValue>,
    /// Who may do what.
    pub policy: Policy,
    /// Identity headers the upstream gets.
    pub headers: HeaderPreset,
    /// Identity headers of answers to other proxies.
    pub answer_headers: HeaderPreset,
    /// Whether `Authorization` values that are not ours are left to the upstream.
    pub pass_authorization: bool,
    /// Spellings of paths the upstream needs.
    pub paths: PathOptIns,
    hosts: Vec<String>,
    prefix: PathPattern,
}

/// Every route, the most specific first.
pub struct RouteTable {
    routes: Vec<Rc<Route>>,
}

impl RouteTable {
    /// Builds the table. Routes whose path or upstream is not valid are left out, that is, refused;
    /// the configuration has reported them before.
    pub fn new(config: &Config) -> Self {
        let mut routes: Vec<_> = config.routes.iter().filter_map(|route| build(route, config)).collect();
        routes.sort_by_key(|route| {
            (std::cmp::Reverse(route.prefix.as_str().trim_end_matches('/').len()), route.hosts.is_empty())
        });
        Self { routes }
    }

    /// The route for a host and canonical path. Longest path first; on a tie the one that names the host.
    pub fn find(&self, host: &str, path: &str) -> Option<&Rc<Route>> {
        self.routes.iter().find(|route| route.is_for(host) && route.prefix.matches(path))
    }

    /// The route of this name.
    pub fn named(&self, name: &str) -> Option<&Rc<Route>> {
        self.routes.iter().find(|route| route.name == name)
    }

    /// The route for a host and loose reading of a path.
    pub fn find_loose(&self, host: &str, path: &str) -> Option<&Rc<Route>> {
        self.routes.iter().find(|route| route.is_for(host) && route.prefix.matches_loose(path))
    }
}

impl Route {
    fn is_for(&self, host: &str) -> bool {
        self.hosts.is_empty() || self.hosts.iter().any(|own| own == host)
    }
}

fn build(route: &RouteConfig, config: &Config) -> Option<Rc<Route>> {
    let answers = &config.forward_auth;
    let upstream = match route.upstream {
        Some(index) => Some(config.upstreams.get(index)?),
        None => None,
    };
    Some(Rc::new(Route {
        name: route.name.clone(),
        upstream: route.upstream,
        upstream_name: upstream.map(|upstream| upstream.name.clone()),
        stripped_prefix: route
            .prefixes
            .as_ref()
            .map(Prefixes::stripped)
            .filter(|prefix| !prefix.is_empty())
            .and_then(|prefix| HeaderValue::from_str(prefix).ok()),
        prefixes: route.prefixes.clone(),
        policy: route.policy.clone(),
        headers: upstream.map_or(HeaderPreset::None, |upstream| upstream.headers),
        answer_headers: route.headers.unwrap_or(answers.headers),
        pass_authorization: upstream
            .map_or(answers.pass_authorization, |upstream| upstream.pass_authorization),
        paths: upstream.map_or(answers.paths, |upstream| upstream.paths),
        hosts: route.hosts.clone(),
        prefix: PathPattern::parse(&route.path).ok()?,
    }))
}
