//! Which route a request takes: the longest path prefix among those for its host.

use std::rc::Rc;

use crate::config::{HeaderPreset, RouteConfig, UpstreamConfig};
use crate::model::target::PathOptIns;
use crate::policy::{PathPattern, Policy};

/// One route with what a request on it needs to know of its upstream.
#[derive(Debug)]
pub struct Route {
    /// What logs say.
    pub name: String,
    /// Index of the upstream in the configuration.
    pub upstream: usize,
    /// Name of the upstream.
    pub upstream_name: String,
    /// Who may do what.
    pub policy: Policy,
    /// Identity headers the upstream gets.
    pub headers: HeaderPreset,
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
    pub fn new(routes: &[RouteConfig], upstreams: &[UpstreamConfig]) -> Self {
        let mut routes: Vec<_> = routes.iter().filter_map(|route| build(route, upstreams)).collect();
        routes.sort_by_key(|route| {
            (std::cmp::Reverse(route.prefix.as_str().trim_end_matches('/').len()), route.hosts.is_empty())
        });
        Self { routes }
    }

    /// The route for a host and canonical path. Longest path first; on a tie the one that names the host.
    pub fn find(&self, host: &str, path: &str) -> Option<&Rc<Route>> {
        self.routes.iter().find(|route| route.is_for(host) && route.prefix.matches(path))
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

fn build(route: &RouteConfig, upstreams: &[UpstreamConfig]) -> Option<Rc<Route>> {
    let upstream = upstreams.get(route.upstream)?;
    Some(Rc::new(Route {
        name: route.name.clone(),
        upstream: route.upstream,
        upstream_name: upstream.name.clone(),
        policy: route.policy.clone(),
        headers: upstream.headers,
        pass_authorization: upstream.pass_authorization,
        paths: upstream.paths,
        hosts: route.hosts.clone(),
        prefix: PathPattern::parse(&route.path).ok()?,
    }))
}
