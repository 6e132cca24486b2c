//! Where to go after signing in: a place on our own origin or at a host of ours, or home.

use percent_encoding::percent_decode_str;
use url::{Host, Position, Url};

use crate::config::PublicUrl;
use crate::edge::pages::site::RESERVED;

/// The longest target that settings can allow, at a host of any length.
const LONGEST: usize = 65536 + 512;

/// The hosts that signing in may lead to.
#[derive(Clone, Debug)]
pub struct Destinations {
    public_url: PublicUrl,
    hosts: Vec<String>,
}

impl Destinations {
    /// The public host and `hosts`: those of the routes, lower-case, without port.
    pub fn new(public_url: PublicUrl, hosts: impl IntoIterator<Item = String>) -> Self {
        Self { public_url, hosts: hosts.into_iter().collect() }
    }

    /// Whether a host is one of them.
    pub(super) fn know(&self, host: &str) -> bool {
        host == self.public_url.host() || self.hosts.iter().any(|own| own == host)
    }
}

/// A path and query on our own origin, or an absolute address at a host of ours; safe to put into `Location`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReturnTarget {
    text: String,
    away: Option<OtherOrigin>,
    obstacle: Option<ReturnObstacle>,
}

/// An absolute address, in its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherOrigin {
    /// Lower-case, without port and brackets.
    pub host: String,
    /// Scheme, host, and port where one was written.
    pub origin: String,
    /// Path, query and fragment: a place on that origin, and none that begins with `//`.
    pub path: String,
}

/// Why a browser cannot be sent on to one of our hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReturnObstacle {
    /// Its address is http, where our cookies are not sent.
    Insecure(String),
    /// Our own pages at that host are guarded as if they were the application's.
    NotRouted(String),
}

impl ReturnTarget {
    /// The place that `text` names, or the gateway's home where it is not one of ours.
    ///
    /// Browsers read addresses generously (backslashes are slashes before the query, tabs are nothing), so everything
    /// but plain ASCII is refused first; then what the URL standard makes of the rest must agree with us.
    pub fn parse(text: &str, to: &Destinations) -> Self {
        let home = Self::home(&to.public_url);
        let place = text.split('?').next().unwrap_or_default();
        if text.len() > LONGEST || !text.bytes().all(|byte| byte.is_ascii_graphic()) || place.contains('\\') {
            return home;
        }
        if let Some(absolute) = Absolute::parse(text) {
            return absolute.enter(to).unwrap_or(home);
        }
        let stays = Url::parse(&to.public_url.origin()).is_ok_and(|own| stays(text, &own, &to.public_url));
        if stays { Self { text: text.to_owned(), ..home } } else { home }
    }

    /// Where someone goes who wants nothing in particular.
    pub fn home(public_url: &PublicUrl) -> Self {
        Self { text: format!("{}/", public_url.base_path()), away: None, obstacle: None }
    }

    /// The text for `Location` and for hidden fields.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The parts of an absolute address; `None` for a place on our own origin.
    pub fn away(&self) -> Option<&OtherOrigin> {
        self.away.as_ref()
    }

    /// What is in the way of where the person wanted to go. The target is home then.
    pub fn obstacle(&self) -> Option<&ReturnObstacle> {
        self.obstacle.as_ref()
    }
}

/// An address with scheme and host, in a form in which no parser can read another host.
struct Absolute<'t> {
    url: Url,
    host: String,
    authority: String,
    path: &'t str,
}

impl<'t> Absolute<'t> {
    fn parse(text: &'t str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        if !scheme.eq_ignore_ascii_case("https") && !scheme.eq_ignore_ascii_case("http") {
            return None;
        }
        let (authority, path) = rest.split_at_checked(rest.find(['/', '?', '#'])?)?;
        let authority = authority.to_ascii_lowercase();
        let written = match authority.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !port.is_empty() => host,
            _ => authority.as_str(),
        };
        let url = Url::parse(text).ok()?;
        // With this, `0x7f.1`, escapes, `user@host` and other spellings of a host are not even compared.
        let plain = path.starts_with('/') && url.host_str() == Some(written);
        let host = match url.host()? {
            Host::Ipv6(address) => address.to_string(),
            host => host.to_string(),
        };
        plain.then_some(Self { url, host, authority, path })
    }

    fn enter(&self, to: &Destinations) -> Option<ReturnTarget> {
        let public = &to.public_url;
        let home = ReturnTarget::home(public);
        if !to.know(&self.host) {
            return None;
        }
        let secure = self.url.scheme() == "https";
        let loopback = match self.url.host()? {
            Host::Domain(name) => name == "localhost" || name.ends_with(".localhost"),
            Host::Ipv4(address) => address.is_loopback(),
            Host::Ipv6(address) => address.is_loopback(),
        };
        if !secure && public.is_secure() && !loopback {
            return Some(ReturnTarget {
                obstacle: Some(ReturnObstacle::Insecure(self.host.clone())),
                ..home
            });
        }
        // The URL standard knows no port where it is the scheme's own.
        let any_port = !secure && loopback;
        if self.url.port().is_some_and(|port| port != public.port()) && !any_port {
            return None;
        }
        let handover = format!("{}{RESERVED}/handover", public.base_path());
        if self.url.path().starts_with(&handover) {
            return Some(ReturnTarget {
                obstacle: Some(ReturnObstacle::NotRouted(self.host.clone())),
                ..home
            });
        }
        if !stays(self.path, &self.url, public) {
            return None;
        }
        let origin = format!("{}://{}", self.url.scheme(), self.authority);
        let away = OtherOrigin { host: self.host.clone(), path: self.path.to_owned(), origin };
        Some(ReturnTarget { text: format!("{}{}", away.origin, away.path), away: Some(away), obstacle: None })
    }
}

/// Whether a path leads to no other origin than that of `at`, and to a page worth starting from.
fn stays(text: &str, at: &Url, public_url: &PublicUrl) -> bool {
    let Some(rest) = text.strip_prefix('/') else {
        return false;
    };
    if rest.starts_with('/') || hides_slash(rest) {
        return false;
    }
    let Ok(url) = at.join(text) else {
        return false;
    };
    let path = &url[Position::BeforePath..Position::AfterPath];
    // `/.//evil` keeps its origin, but would not if it were resolved once more.
    url.origin() == at.origin() && !path.starts_with("//") && !leads_in_circles(path, public_url)
}

/// An encoded slash or backslash right at the start, however often it is encoded.
fn hides_slash(rest: &str) -> bool {
    let Some(mut code) = rest.strip_prefix('%') else {
        return false;
    };
    while let Some(inner) = code.strip_prefix("25") {
        code = inner;
    }
    code.get(..2).is_some_and(|code| code.eq_ignore_ascii_case("2f") || code.eq_ignore_ascii_case("5c"))
}

/// Our pages that are no useful place to return to: signing in is over, and does not begin once more. Read as requests are,
/// with needless escapes decoded.
fn leads_in_circles(path: &str, public_url: &PublicUrl) -> bool {
    let path = percent_decode_str(path).decode_utf8_lossy();
    let own = path.strip_prefix(public_url.base_path()).and_then(|path| path.strip_prefix(RESERVED));
    own.and_then(|page| page.strip_prefix('/')).is_some_and(|page| {
        ["login", "logout", "setup", "handover", "sign-in", "callback"]
            .iter()
            .any(|name| page.starts_with(name))
    })
}

#[cfg(test)]
mod tests;
