//! Paths that other products answer, so that a proxy configured for one of them needs a new address only.
//!
//! [`PLACES`] says what each path is for. The decision is the same line as for every other question; only how
//! the question is read ([`reading`]) and what the pages say ([`pages`]) is written here.

mod asked;
mod pages;
mod reading;
mod terms;

pub use self::terms::Terms;
use super::original::X_FORWARDED_URI;
use super::{ForwardAuth, Style};
use crate::config::Compat as Product;
use crate::edge::arrival::Arrival;

/// An endpoint of another product, found by its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompatEndpoint {
    /// The product.
    pub product: Product,
    /// Its purpose.
    pub action: Action,
    /// What follows the path: the original one, where Envoy puts it there.
    pub rest: String,
}

/// The purpose of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A proxy's question.
    Check(Contract, Style),
    /// Our sign-in page; the parameter that names the return target.
    SignIn(&'static str),
    /// Our sign-out page; the parameter that names the return target.
    SignOut(&'static str),
    /// Who is signed in, as JSON.
    UserInfo(UserInfoFormat),
    /// Whether requests can be decided.
    Ready,
    /// The same words for everybody; none at all is status 204.
    Text(&'static str, &'static str),
    /// Not taken over, and why.
    Gone(&'static str),
}

/// Where a question names the original request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contract {
    /// In `X-Forwarded-Uri` beside `Host` where nginx asks; in all of `X-Forwarded-*` where others do.
    Uri,
    /// In all of `X-Forwarded-Method`, `-Proto`, `-Host` and `-Uri`.
    Forwarded,
    /// In `X-Original-URL` and `X-Original-Method`.
    Url,
    /// In `X-Original-URL`; the method is not said.
    UrlOnly,
    /// In `X-Original-URL` or `X-Forwarded-*`.
    Verify,
    /// In the question's own method, `Host` and path.
    Path,
}

/// What a product's JSON about a person looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserInfoFormat {
    /// oauth2-proxy: `user`, `email`, `groups`, `preferredUsername`.
    Oauth2Proxy,
    /// Authelia: whether somebody is signed in, and how far.
    AutheliaState,
    /// Authelia: names and addresses.
    AutheliaUser,
}

const CALLBACK: &str = "No identity provider answers here: people sign in at the gateway's own page. If one has this address \
                        registered, its operator has to name the path in callback_path of the provider.";
const STATIC: &str = "The pages of the product this address belongs to are not served here.";
const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

/// Every path of every product. `*` at the end stands for whatever follows.
const PLACES: &[(Product, &str, Action)] = {
    use Action::{Check, Gone, Ready, SignIn, SignOut, Text, UserInfo};
    use Product::{Authelia, Authentik, Oauth2Proxy, TraefikForwardAuth, Vouch};
    use Style::{Bare, Envoy, PassedOn, StatusOnly};
    &[
        (Oauth2Proxy, "/oauth2/auth", Check(Contract::Uri, Bare)),
        (Oauth2Proxy, "/oauth2/", Check(Contract::Forwarded, PassedOn)),
        (Oauth2Proxy, "/oauth2/sign_in", SignIn("rd")),
        (Oauth2Proxy, "/oauth2/start", SignIn("rd")),
        (Oauth2Proxy, "/oauth2/sign_out", SignOut("rd")),
        (Oauth2Proxy, "/oauth2/userinfo", UserInfo(UserInfoFormat::Oauth2Proxy)),
        (Oauth2Proxy, "/oauth2/callback", Gone(CALLBACK)),
        (Oauth2Proxy, "/oauth2/static/*", Gone(STATIC)),
        (Oauth2Proxy, "/ping", Text(TEXT, "OK")),
        (Oauth2Proxy, "/ready", Ready),
        (Oauth2Proxy, "/robots.txt", Text(TEXT, "User-agent: *\nDisallow: /\n")),
        (Authelia, "/api/authz/forward-auth", Check(Contract::Forwarded, PassedOn)),
        (Authelia, "/api/authz/auth-request", Check(Contract::Url, StatusOnly)),
        // The documented prefix ends with a slash, and Envoy puts the whole path behind it.
        (Authelia, "/api/authz/ext-authz/*", Check(Contract::Path, Envoy)),
        (Authelia, "/api/verify", Check(Contract::Verify, Bare)),
        (Authelia, "/api/health", Text(JSON, r#"{"status":"OK"}"#)),
        (Authelia, "/api/state", UserInfo(UserInfoFormat::AutheliaState)),
        (Authelia, "/api/user/info", UserInfo(UserInfoFormat::AutheliaUser)),
        (Authentik, "/outpost.goauthentik.io/auth/traefik", Check(Contract::Forwarded, PassedOn)),
        (Authentik, "/outpost.goauthentik.io/auth/caddy", Check(Contract::Forwarded, PassedOn)),
        (Authentik, "/outpost.goauthentik.io/auth/nginx", Check(Contract::UrlOnly, Bare)),
        (Authentik, "/outpost.goauthentik.io/auth/envoy*", Check(Contract::Path, Envoy)),
        (Authentik, "/outpost.goauthentik.io/start", SignIn("rd")),
        (Authentik, "/outpost.goauthentik.io/sign_out", SignOut("rd")),
        (Authentik, "/outpost.goauthentik.io/callback", Gone(CALLBACK)),
        (Authentik, "/outpost.goauthentik.io/ping", Text(TEXT, "")),
        (Vouch, "/validate", Check(Contract::Uri, Bare)),
        (Vouch, "/login", SignIn("url")),
        (Vouch, "/logout", SignOut("url")),
        (Vouch, "/auth", Gone(CALLBACK)),
        (TraefikForwardAuth, "/_oauth", Gone(CALLBACK)),
        (TraefikForwardAuth, "/_oauth/logout", SignOut("redirect")),
    ]
};

/// The place at a path, among those of the products that are switched on.
fn find(products: &[Product], path: &str) -> Option<CompatEndpoint> {
    PLACES.iter().filter(|(product, ..)| products.contains(product)).find_map(|(product, pattern, action)| {
        let rest = match pattern.strip_suffix('*') {
            Some(start) => path.strip_prefix(start)?,
            None if path == *pattern => "",
            None => return None,
        };
        Some(CompatEndpoint { product: *product, action: *action, rest: rest.to_owned() })
    })
}

impl ForwardAuth {
    /// The place at a path outside the reserved prefix.
    pub fn endpoint(&self, path: &str) -> Option<CompatEndpoint> {
        find(&self.products, path)
    }

    /// The place of a question at an address without a path of its own, as traefik-forward-auth and
    /// oauth2-proxy are asked by Traefik; only one of our proxies asks.
    ///
    /// Whatever an application of ours serves at that host is never taken for one.
    pub fn place_anywhere(&self, arrival: &Arrival) -> Option<CompatEndpoint> {
        let (headers, target) = (arrival.request.headers(), &arrival.target);
        let (host, path) = (target.host(), target.path());
        let product = self.products.iter().copied().find(|product| match product {
            Product::TraefikForwardAuth => true,
            Product::Oauth2Proxy => path == "/",
            _ => false,
        })?;
        let asks = headers.contains_key(X_FORWARDED_URI) && !self.gate.has_upstream(host, path);
        let action = Action::Check(Contract::Forwarded, Style::PassedOn);
        (asks && self.trusts(arrival.peer)).then(|| CompatEndpoint { product, action, rest: String::new() })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const ALL: [Product; 5] = [
        Product::Oauth2Proxy,
        Product::Authelia,
        Product::Authentik,
        Product::Vouch,
        Product::TraefikForwardAuth,
    ];

    #[test]
    fn every_path_belongs_to_its_own_product_only() {
        let mut seen = HashSet::new();
        for (product, pattern, action) in PLACES {
            assert!(seen.insert(pattern), "{pattern} stands twice");
            let path = pattern.trim_end_matches('*');
            let found = find(&[*product], path).unwrap();
            assert_eq!((found.product, found.action, found.rest.as_str()), (*product, *action, ""));
            for other in ALL.into_iter().filter(|other| other != product) {
                assert_eq!(find(&[other], path), None, "{path} of {product:?} is taken for {other:?}");
            }
        }
        assert_eq!(find(&[], "/oauth2/auth"), None);
    }

    #[test]
    fn nothing_beside_the_named_paths_is_taken() {
        for path in [
            "/",
            "/oauth2",
            "/oauth2/auth/",
            "/oauth2/auth/x",
            "/oauth2/authx",
            "/oauth2/other",
            "/api",
            "/api/authz",
            "/api/authz/other",
            "/api/verify/x",
            "/api/users",
            "/outpost.goauthentik.io/",
            "/outpost.goauthentik.io/auth/nginx/x",
            "/loginx",
            "/login/x",
            "/logout/x",
            "/validate/x",
            "/_oauthx",
            "/OAUTH2/auth",
        ] {
            assert_eq!(find(&ALL, path), None, "{path}");
        }
    }

    #[test]
    fn only_envoy_says_anything_after_the_path() {
        let rest = |path: &str| find(&ALL, path).map(|endpoint| endpoint.rest);
        assert_eq!(rest("/api/authz/ext-authz//app/x").as_deref(), Some("/app/x"));
        assert_eq!(rest("/outpost.goauthentik.io/auth/envoy/app/x").as_deref(), Some("/app/x"));
        assert_eq!(rest("/oauth2/static/css").as_deref(), Some("css"));
    }

    #[test]
    fn only_a_proxys_question_can_be_an_allow() {
        for (_, pattern, action) in PLACES {
            let is_question = ["auth/", "/authz/", "/verify", "/validate", "/oauth2/auth", "/oauth2/"]
                .iter()
                .any(|part| pattern.contains(part) && *pattern != "/oauth2/callback");
            if matches!(action, Action::Check(..)) {
                assert!(is_question, "{pattern}");
            }
        }
    }
}
