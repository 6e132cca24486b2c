//! Other proxies that ask: how each does, and the products whose paths and headers they may be set up for.

use crate::config::HeaderPreset;

/// A proxy that asks, each in its own way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// nginx `auth_request`, ingress-nginx.
    Nginx,
    /// Traefik `ForwardAuth`.
    Traefik,
    /// Caddy `forward_auth`.
    Caddy,
    /// `HAProxy` with the printed Lua action.
    Haproxy,
    /// Envoy `ext_authz`, over HTTP and gRPC.
    Envoy,
}

impl Flavour {
    /// Every flavour.
    pub const ALL: [Self; 5] = [Self::Nginx, Self::Traefik, Self::Caddy, Self::Haproxy, Self::Envoy];

    /// The word in settings and paths.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Traefik => "traefik",
            Self::Caddy => "caddy",
            Self::Haproxy => "haproxy",
            Self::Envoy => "envoy",
        }
    }
}

/// A product whose configuration people already have in their proxies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compat {
    /// `/oauth2/*`.
    Oauth2Proxy,
    /// `/api/authz/*`, `/api/verify`.
    Authelia,
    /// `/outpost.goauthentik.io/*`.
    Authentik,
    /// `/validate`, `/login`, `/logout`.
    Vouch,
    /// `/` with `X-Forwarded-*`, `/_oauth`.
    TraefikForwardAuth,
}

impl Compat {
    /// The names of the product's identity headers.
    pub fn headers(self) -> HeaderPreset {
        match self {
            Self::Oauth2Proxy => HeaderPreset::Oauth2Proxy,
            Self::Authelia => HeaderPreset::Authelia,
            Self::Authentik => HeaderPreset::Authentik,
            Self::Vouch => HeaderPreset::Vouch,
            Self::TraefikForwardAuth => HeaderPreset::TraefikForwardAuth,
        }
    }
}
