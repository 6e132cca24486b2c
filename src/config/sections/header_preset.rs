//! The names of identity headers, and how their values are written.

use crate::config::reading::choice;

/// Names of the identity headers an upstream gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderPreset {
    /// `X-Auth-*`.
    Standard,
    /// `X-Forwarded-User` and its family, `X-Auth-Request-*`.
    Oauth2Proxy,
    /// `Remote-*`.
    Authelia,
    /// `X-authentik-*`.
    Authentik,
    /// `X-Vouch-User`.
    Vouch,
    /// `X-Forwarded-User` alone, holding the e-mail address where there is one.
    TraefikForwardAuth,
    /// `X-WEBAUTH-*`.
    Grafana,
    /// What Micromegas' servers take for checked when their own authentication is off.
    Micromegas,
    /// None at all.
    None,
}

/// How identity values that are not plain ASCII are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderEncoding {
    /// `Zo%C3%AB` (RFC 3986, 2.1).
    Percent,
    /// `Zoë`, as bytes of UTF-8.
    Utf8,
    /// `Zo=C3=AB` (RFC 2045, 6.7).
    QuotedPrintable,
    /// `=?UTF-8?B?Wm/Dqw==?=` (RFC 2047).
    Rfc2047,
}

impl HeaderPreset {
    /// Every preset.
    pub const ALL: [Self; 9] = [
        Self::Standard,
        Self::Oauth2Proxy,
        Self::Authelia,
        Self::Authentik,
        Self::Vouch,
        Self::TraefikForwardAuth,
        Self::Grafana,
        Self::Micromegas,
        Self::None,
    ];

    /// The headers by which it may have an application keep something from a caller, and when: they are not sent where
    /// refusals are not kept.
    pub fn limits(self) -> Option<(&'static [&'static str], &'static str)> {
        match self {
            Self::Micromegas => Some((&["X-Allow-Delegation", "X-Auth-Is-Admin"], "as `false`")),
            Self::Grafana => Some((&["X-WEBAUTH-ROLE"], "but as `Admin`")),
            _ => None,
        }
    }
}

choice! {
    HeaderPreset {
        "standard" => Self::Standard,
        "oauth2-proxy" => Self::Oauth2Proxy,
        "authelia" => Self::Authelia,
        "authentik" => Self::Authentik,
        "vouch" => Self::Vouch,
        "traefik-forward-auth" => Self::TraefikForwardAuth,
        "grafana" => Self::Grafana,
        "micromegas" => Self::Micromegas,
        "none" => Self::None,
    }
    HeaderEncoding {
        "percent" => Self::Percent,
        "utf-8" => Self::Utf8,
        "quoted-printable" => Self::QuotedPrintable,
        "rfc2047" => Self::Rfc2047,
    }
}
