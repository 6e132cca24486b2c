//! Where a request goes, and whether it may go there.
//!
//! URLs come from the configuration, or from documents that other servers serve, such as a directory or a discovery
//! document. Anyone who writes such a document must not be able to make the gateway reach what they cannot reach themselves
//! (server-side request forgery: OWASP SSRF Prevention Cheat Sheet; RFC 9728, 7.7). So:
//!
//! - The scheme is `https`, and every address of the host is a public one. All of them are checked, and the connection
//!   goes to one of those that were checked, so that the name cannot resolve to another in between (DNS rebinding).
//! - An origin that the configuration names (scheme, host and port), or a host that it names, may also be `http` and have
//!   internal addresses: loopback and private networks. A host name never leads to a link-local address or a cloud's metadata
//!   service, even there; an address that the configuration names is used as it stands.
//! - No user name or password, and no unusual spelling of a host, such as `https://2130706433/` for 127.0.0.1.

use std::net::{IpAddr, SocketAddr};

use http::Uri;
use url::Host;

use super::address::AddressClass;
use crate::model::origin::Origin;

/// Why a destination is forbidden.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EgressRefusal {
    /// Not a URL of ASCII characters, as RFC 3986 wants it.
    #[error("the URL is not valid, or has characters that are not ASCII (a host name has an xn-- form)")]
    Url,
    /// Neither `https://` nor `http://`.
    #[error("the URL does not begin with https://")]
    Scheme,
    /// A user name or password before the host.
    #[error("the URL has a user name or password in it")]
    Userinfo,
    /// A host or port that is not valid, or that others might read differently.
    #[error("the URL has no host or port in its usual spelling")]
    Host,
    /// No TLS.
    #[error("the URL begins with http://, and the configuration does not name its origin")]
    Plain,
    /// An internal address.
    #[error("its address {0} is not public, and the configuration does not name its origin")]
    Internal(IpAddr),
    /// An address that no server of a name has.
    #[error("its address {0} is a link-local, metadata or otherwise reserved one")]
    Forbidden(IpAddr),
}

/// What the configuration names.
#[derive(Debug, Default)]
pub(super) struct Named {
    pub(super) origins: Vec<Origin>,
    /// Lower-case, without brackets.
    pub(super) hosts: Vec<String>,
}

/// Where a request goes.
#[derive(Debug)]
pub(super) struct Destination {
    pub(super) origin: Origin,
    pub(super) host: Host<String>,
    pub(super) port: u16,
    pub(super) secure: bool,
    /// Whether the configuration names the origin or the host.
    named: bool,
}

impl Destination {
    /// Reads a URL.
    pub(super) fn of(url: &Uri, named: &Named) -> Result<Self, EgressRefusal> {
        let secure = match url.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(EgressRefusal::Scheme),
        };
        let authority = url.authority().ok_or(EgressRefusal::Host)?.as_str();
        if authority.contains('@') {
            return Err(EgressRefusal::Userinfo);
        }
        let origin = Origin::at(secure, authority).ok_or(EgressRefusal::Host)?;
        let written = url.host().unwrap_or_default();
        let host = Host::parse(written).map_err(|_| EgressRefusal::Host)?;
        // The URL parser also reads decimal, octal and hexadecimal numbers as addresses, for one.
        if !host.to_string().eq_ignore_ascii_case(written) {
            return Err(EgressRefusal::Host);
        }
        let port = url.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let bare = match &host {
            Host::Ipv6(address) => address.to_string(),
            other => other.to_string(),
        };
        let named = named.origins.contains(&origin) || named.hosts.contains(&bare);
        Ok(Self { origin, host, port, secure, named })
    }

    /// The address that stands in the URL, if its host is one.
    pub(super) fn literal_address(&self) -> Option<SocketAddr> {
        match self.host {
            Host::Domain(_) => None,
            Host::Ipv4(address) => Some((address, self.port).into()),
            Host::Ipv6(address) => Some((address, self.port).into()),
        }
    }

    /// Whether its scheme is allowed; checked before the name is resolved.
    pub(super) fn check_scheme(&self) -> Result<(), EgressRefusal> {
        if self.secure || self.named { Ok(()) } else { Err(EgressRefusal::Plain) }
    }

    /// Whether its host may have all of these addresses.
    pub(super) fn check_addresses(&self, addresses: &[SocketAddr]) -> Result<(), EgressRefusal> {
        // An address that the configuration names is used as it stands.
        if self.named && !matches!(self.host, Host::Domain(_)) {
            return Ok(());
        }
        addresses.iter().map(SocketAddr::ip).try_for_each(|ip| match AddressClass::of(ip) {
            AddressClass::Public => Ok(()),
            AddressClass::Internal if self.named => Ok(()),
            AddressClass::Internal => Err(EgressRefusal::Internal(ip)),
            AddressClass::Forbidden => Err(EgressRefusal::Forbidden(ip)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a URL is allowed if its host has these addresses and the configuration names these origins.
    fn judged(url: &str, addresses: &[&str], named: &[&str]) -> Result<(), EgressRefusal> {
        let (origins, hosts): (Vec<&str>, Vec<&str>) = named.iter().partition(|name| name.contains("://"));
        let named = Named {
            origins: origins.iter().map(|origin| Origin::parse(origin).unwrap()).collect(),
            hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
        };
        let addresses: Vec<_> =
            addresses.iter().map(|address| SocketAddr::new(address.parse().unwrap(), 443)).collect();
        let destination = Destination::of(&url.parse().unwrap(), &named)?;
        destination.check_scheme()?;
        destination.check_addresses(&addresses)
    }

    const INNER: &str = "10.0.0.5";
    const METADATA: &str = "169.254.169.254";

    #[test]
    fn https_to_public_addresses_is_allowed() {
        for url in ["https://keys.example/jwks?v=1", "https://KEYS.example:8443/", "https://1.1.1.1/"] {
            assert_eq!(judged(url, &["1.1.1.1", "2606:4700::1111"], &[]), Ok(()), "{url}");
        }
    }

    #[test]
    fn internal_addresses_are_allowed_only_for_origins_that_the_configuration_names() {
        let (url, refused) = ("https://sso.corp/token", Err(EgressRefusal::Internal(INNER.parse().unwrap())));
        assert_eq!(judged(url, &[INNER], &["https://sso.corp"]), Ok(()));
        assert_eq!(
            judged("https://SSO.corp:443/", &[INNER], &["https://sso.corp"]),
            Ok(()),
            "the same origin"
        );
        assert_eq!(judged(url, &[INNER], &[]), refused);
        for other in ["https://corp", "https://sso.corp:8443", "http://sso.corp", "https://other.corp"] {
            assert_eq!(judged(url, &[INNER], &[other]), refused, "{other}");
        }
        let loopback = "127.0.0.1";
        assert_eq!(judged("http://127.0.0.1:9000/", &[loopback], &["http://127.0.0.1:9000"]), Ok(()));
        for url in ["https://127.0.0.1:9001/", "https://127.0.0.1/"] {
            let named = ["http://127.0.0.1:9000", "https://127.0.0.1:9000"];
            assert_eq!(
                judged(url, &[loopback], &named),
                Err(EgressRefusal::Internal(loopback.parse().unwrap()))
            );
        }
    }

    #[test]
    fn a_host_that_the_configuration_names_is_one_at_every_port_and_no_other_host_is() {
        for (url, host) in [
            ("http://keycloak:8080/", "keycloak"),
            ("https://KEYCLOAK/", "keycloak"),
            ("http://10.0.0.5/", "10.0.0.5"),
            ("http://[fd00::5]:8080/", "fd00::5"),
        ] {
            assert_eq!(judged(url, &[INNER], &[host]), Ok(()), "{url}");
            for other in ["cloak", "keycloak.", "10.0.0", "fd00::"] {
                assert!(judged(url, &[INNER], &[other]).is_err(), "{url} {other}");
            }
        }
        assert_eq!(
            judged("http://keycloak/", &[METADATA], &["keycloak"]),
            Err(EgressRefusal::Forbidden(METADATA.parse().unwrap()))
        );
    }

    #[test]
    fn one_internal_address_is_enough_to_refuse_a_name_with_several() {
        for addresses in [["1.1.1.1", INNER], [INNER, "1.1.1.1"]] {
            let judged = judged("https://keys.example/", &addresses, &[]);
            assert_eq!(judged, Err(EgressRefusal::Internal(INNER.parse().unwrap())));
        }
    }

    #[test]
    fn plain_http_is_only_for_origins_that_the_configuration_names_so() {
        assert_eq!(judged("http://keycloak:8080/", &[INNER], &["http://keycloak:8080"]), Ok(()));
        for named in [&[] as &[&str], &["https://keycloak:8080"], &["http://keycloak"]] {
            assert_eq!(judged("http://keycloak:8080/", &["1.1.1.1"], named), Err(EgressRefusal::Plain));
        }
    }

    #[test]
    fn a_metadata_service_is_reached_by_no_name_and_by_its_address_only_where_the_configuration_names_that() {
        let never = Err(EgressRefusal::Forbidden(METADATA.parse().unwrap()));
        assert_eq!(judged("https://keys.example/", &[METADATA], &[]), never);
        assert_eq!(judged("https://sso.corp/", &[METADATA], &["https://sso.corp"]), never);
        assert_eq!(judged("https://sso.corp/", &[INNER, METADATA], &["https://sso.corp"]), never);
        assert_eq!(judged("https://169.254.169.254/", &[METADATA], &[]), never);
        assert_eq!(judged("http://169.254.169.254/", &[METADATA], &[]), Err(EgressRefusal::Plain));
        assert_eq!(judged("http://169.254.169.254/", &[METADATA], &["http://169.254.169.254"]), Ok(()));
    }

    #[test]
    fn urls_of_other_schemes_with_userinfo_or_odd_hosts_are_refused() {
        let of = |url: &str| Destination::of(&url.parse().expect(url), &Named::default()).map(|_| ());
        for url in ["ftp://keys.example/", "gopher://127.0.0.1:25/", "/jwks", "*"] {
            assert!(matches!(of(url), Err(EgressRefusal::Scheme)), "{url}");
        }
        for url in
            ["https://user@keys.example/", "https://u:p@keys.example/", "https://keys.example@10.0.0.1/"]
        {
            assert_eq!(of(url), Err(EgressRefusal::Userinfo), "{url}");
        }
        for url in [
            "https://2130706433/",
            "https://0x7f.1/",
            "https://0177.0.0.1/",
            "https://127.1/",
            "https://127.0.0.1./",
            "https://[::ffff:127.0.0.1]/",
            "https://[0:0:0:0:0:0:0:1]/",
            "https://keys.example:0443/",
            "https://keys.example:0/",
            "https://keys.example:x/",
            "https://keys.example:99999/",
            "https://keys.example:/",
        ] {
            assert_eq!(of(url), Err(EgressRefusal::Host), "{url}");
        }
        for url in ["file:///etc/passwd", "https://", "https://a b/", "https://%31.0.0.1/", ""] {
            assert!(url.parse::<Uri>().is_err(), "{url}");
        }
    }
}
