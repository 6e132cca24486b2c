//! Forward-auth: how each kind of proxy asks, and the products whose paths and headers are answered.

use crate::config::reading::{SettingsReader, choice, section};
use crate::config::sections::general::General;
use crate::config::sections::header_preset::{HeaderEncoding, HeaderPreset};
use crate::config::sections::identity;
use crate::config::sections::identity::{Assertion, Bearer, IdentityConfig};
use crate::config::sections::paths::{Paths, opt_ins};
use crate::config::sections::set_headers::HeaderTemplates;
use crate::model::session_cookie::SessionCookie;
use crate::model::target::PathOptIns;

section! {
    /// Answers to proxies that ask before they let a request pass. They are answered only if they connect from
    /// an address in `server.trusted_proxies`.
    ForwardAuth {
        /// Proxies whose questions are answered, each at `/_doorward/auth/NAME`: `nginx`, `traefik`, `caddy`,
        /// `haproxy`, `envoy`.
        flavours: Vec<Flavour> = "[]", r#"["nginx"]"#;
        /// Products whose paths, parameters and headers are answered as well, so that a proxy configured for them needs a
        /// new address only: `oauth2-proxy`, `authelia`, `authentik`, `vouch`, `traefik-forward-auth`.
        compat: Vec<Compat> = "[]", r#"["authelia"]"#;
        /// Identity headers of an answer, by the names that `headers` of an upstream takes.
        headers: HeaderPreset = r#""standard""#, r#""authelia""#;
        /// How values are written that are not plain ASCII; see the same setting of an upstream.
        encoding: Option<HeaderEncoding>, r#""utf-8""#;
        /// Further headers of an answer, each with a template of its value; see the same setting of an upstream.
        set_headers: HeaderTemplates = "{}", r#"{ X-Scope-OrgID = "{group:0}" }"#;
        /// A signed statement of who is calling.
        assertion: Option<Assertion>, r#"{ audience = "app" }"#;
        /// A token of the gateway's own in `Authorization`.
        bearer: Option<Bearer>, r#"{ algorithm = "hs256", key_file = "app-key" }"#;
        /// Whether `Authorization` values that are not the gateway's own are left to the applications of routes without
        /// an upstream. A route with one obeys the upstream's setting, whichever proxy forwards the request, and each may say
        /// otherwise for itself. The answer says what the application gets; what is the gateway's own is never left.
        pass_authorization: bool = "false", "true";
        /// The same for the headers that may carry keys (`keys.headers`).
        pass_api_key: bool = "false", "true";
        /// Spellings of paths that the applications need.
        paths: Paths = "{}", r#"{ allow = ["encoded-slash"] }"#;
        /// Names of cookies by which applications without an upstream remember who signed in to them, as the same setting
        /// of an upstream takes them. Signing in or out at their host ends them; the gateway sees no more of them there.
        session_cookies: Vec<SessionCookie> = "[]", r#"["pga4_session"]"#;
    }
}

/// Answers to other proxies' questions: may this request pass?
#[derive(Clone, Debug)]
pub struct ForwardAuthConfig {
    /// Proxies whose questions are answered; empty: none.
    pub flavours: Vec<Flavour>,
    /// Products whose paths and names are answered as well.
    pub compat: Vec<Compat>,
    /// Identity headers of an answer, where the route names no others.
    pub headers: HeaderPreset,
    /// What else an answer tells.
    pub identity: IdentityConfig,
    /// Whether `Authorization` values that are not ours are left to applications without an upstream here.
    pub pass_authorization: bool,
    /// The same for the header that brings keys.
    pub pass_api_key: bool,
    /// Spellings of paths that applications without an upstream here need.
    pub paths: PathOptIns,
    /// Cookies by which applications without an upstream here remember who signed in to them.
    pub session_cookies: Vec<SessionCookie>,
}

impl ForwardAuthConfig {
    /// Whether any question is answered at all.
    pub fn is_on(&self) -> bool {
        !self.flavours.is_empty() || !self.compat.is_empty()
    }
}

/// Checks what was written.
pub(in crate::config) fn forward_auth(
    written: ForwardAuth,
    general: &General,
    reader: &mut SettingsReader,
) -> ForwardAuthConfig {
    let config = ForwardAuthConfig {
        headers: written.headers,
        identity: identity::identity(
            written.encoding,
            written.set_headers,
            written.assertion,
            written.bearer,
            None,
            written.pass_authorization,
            reader,
        ),
        pass_authorization: written.pass_authorization,
        pass_api_key: written.pass_api_key,
        paths: opt_ins(&written.paths),
        session_cookies: written.session_cookies,
        flavours: written.flavours,
        compat: written.compat,
    };
    if config.is_on() && !general.has_trusted_proxy && !reader.is_broken("server.trusted_proxies") {
        reader.problem(
            "server.trusted_proxies",
            "is empty, but forward_auth is on: no proxy could ask, or any client could pose as one",
            "name the addresses your proxy connects from, such as [\"127.0.0.1\"]",
        );
    }
    config
}

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

choice! {
    Flavour {
        "nginx" => Self::Nginx,
        "traefik" => Self::Traefik,
        "caddy" => Self::Caddy,
        "haproxy" => Self::Haproxy,
        "envoy" => Self::Envoy,
    }
    Compat {
        "oauth2-proxy" => Self::Oauth2Proxy,
        "authelia" => Self::Authelia,
        "authentik" => Self::Authentik,
        "vouch" => Self::Vouch,
        "traefik-forward-auth" => Self::TraefikForwardAuth,
    }
}
