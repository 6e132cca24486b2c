//! Checks sections against each other: listeners, upstreams, routes and forward-auth.

use http::HeaderName;

use super::Root;
use super::reading::{Section, SettingsReader};
use super::sections::forward_auth::{ForwardAuthConfig, forward_auth};
use super::sections::general::{self, General};
use super::sections::identity;
use super::sections::keys::KeyConfig;
use super::sections::policy_tests::{PolicyTest, policy_tests};
use super::sections::providers::Provider;
use super::sections::public_url::PublicUrl;
use super::sections::routes::{self, RouteConfig};
use super::sections::server::{self, ServerConfig};
use super::sections::session::SameSite;
use super::sections::tokens::{TokenConfig, tokens};
use super::sections::upstream::{self, UpstreamConfig};
use crate::model::secret::Secret;

/// What every section may look at.
pub(super) fn general(root: &Root, reader: &mut SettingsReader) -> General {
    let listeners = server::listeners(&root.server, reader);
    let public_url = general::public_url(root.public_url.as_ref(), root.insecure, &listeners, reader);
    let secret = general::secret(root.secret.clone(), reader);
    let of_routes = root.routes.iter().flat_map(|route| route.key_headers.iter().flatten());
    let mut key_headers: Vec<HeaderName> = Vec::new();
    for name in root.keys.header.iter().chain(of_routes) {
        if !key_headers.contains(name) {
            key_headers.push(name.clone());
        }
    }
    let has_trusted_proxy = !root.server.trusted_proxies.is_empty();
    General { public_url, secret, listeners, has_trusted_proxy, key_headers }
}

/// The part of [`Config`](super::Config) that belongs together.
pub(super) struct Assembled {
    pub(super) public_url: PublicUrl,
    pub(super) secret: Option<Secret>,
    pub(super) server: ServerConfig,
    pub(super) keys: KeyConfig,
    pub(super) tokens: Vec<TokenConfig>,
    pub(super) forward_auth: ForwardAuthConfig,
    pub(super) upstreams: Vec<UpstreamConfig>,
    pub(super) routes: Vec<RouteConfig>,
    pub(super) tests: Vec<PolicyTest>,
}

impl Assembled {
    pub(super) fn check(root: &Root, general: &General, reader: &mut SettingsReader) -> Self {
        let server =
            server::server(root.server.clone(), general.listeners.clone(), &general.public_url, reader);
        let forward_auth = forward_auth(root.forward_auth.clone(), general, reader);
        let mut upstreams =
            upstream::upstreams(root.upstreams.clone(), &server.listeners, forward_auth.is_on(), reader);
        let tokens = tokens(root.break_glass.clone(), root.keys.imported.clone(), reader);
        let keys = KeyConfig { headers: root.keys.header.clone() };
        let defaults = routes::Defaults { forward_auth: &forward_auth, keys: &keys, enforce: root.enforce };
        let routes = routes::routes(root.routes.clone(), &mut upstreams, defaults, reader);
        identity::check_names(
            &forward_auth.identity,
            &general.key_headers,
            root.forward_auth.location(),
            reader,
        );
        for upstream in &upstreams {
            if let Some(config) = &upstream.config {
                identity::check_names(&config.identity, &general.key_headers, &upstream.path, reader);
            }
        }
        routes::warn_of_hosts(&routes, &general.public_url, reader);
        if !root.providers.is_empty() && root.session.cookie_same_site == SameSite::Strict {
            reader.warn(
                &root.session.at("cookie_same_site"),
                "keeps browsers that come back from a provider at another site from sending the session, so that they are \
                 asked to sign in again: write \"lax\", unless every provider is at the site of `public_url`",
            );
        }
        let providers: Vec<&str> = root.providers.iter().filter_map(Provider::name).collect();
        routes::warn_of_providers(&routes, &providers, reader);
        Self {
            public_url: general.public_url.clone(),
            secret: general.secret.clone(),
            tests: policy_tests(root.tests.clone(), reader),
            upstreams: upstreams.into_iter().filter_map(|upstream| upstream.config).collect(),
            server,
            keys,
            tokens,
            forward_auth,
            routes,
        }
    }
}
