//! Browser sessions.

use std::time::Duration;

use crate::config::reading::{HostName, Section, SettingsReader, Span, brief, choice, section};
use crate::config::sections::general::{CheckSection, General};
use crate::config::sections::public_url::PublicUrl;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

section! {
    /// Sessions of browsers.
    Session {
        /// A session ends this long after its last request.
        idle: Span<{2 * MINUTE}, {90 * DAY}> = r#""8h""#, r#""30m""#;
        /// A session ends this long after sign-in, whatever happens. Never shorter than `idle`.
        absolute: Span<{2 * MINUTE}, {365 * DAY}> = r#""7d""#, r#""12h""#;
        /// When browsers send the cookie with requests that come from other sites: on top-level navigation
        /// only, or never. `strict` does not go with providers at other sites.
        cookie_same_site: SameSite = r#""lax""#, r#""strict""#;
        /// Domain of the cookie, to share a sign-in among its hosts: the public URL's host or a parent of it,
        /// never a public suffix such as `co.uk` or `github.io`.
        /// Gives up the `__Host-` prefix, so that every host below that domain must be trusted.
        cookie_domain: Option<HostName>, r#""example.com""#;
    }
}

/// Browser sessions.
#[derive(Clone, Debug)]
pub struct SessionConfig {
    /// Ends this long after the last request.
    pub idle: Duration,
    /// Ends this long after sign-in, whatever happens. Never shorter than `idle`.
    pub absolute: Duration,
    /// `SameSite` of the cookie.
    pub cookie_same_site: SameSite,
    /// `Domain` of the cookie, to share a sign-in among hosts; gives up the `__Host-` prefix.
    pub cookie_domain: Option<String>,
}

impl SessionConfig {
    /// The session cookie's name. Its prefix makes browsers insist on `Secure`, and on this very host where
    /// no domain is shared (RFC 6265bis, 4.1.3).
    pub fn cookie_name(&self, public_url: &PublicUrl) -> String {
        let prefix = match (public_url.is_secure(), &self.cookie_domain) {
            (true, None) => "__Host-",
            (true, Some(_)) => "__Secure-",
            (false, _) => "",
        };
        format!("{prefix}doorward")
    }

    /// How the names of cookies begin that one host has for itself: with the prefix by which no other host, below a shared
    /// domain either, can set them.
    pub fn host_cookie_name(public_url: &PublicUrl) -> &'static str {
        if public_url.is_secure() { "__Host-doorward" } else { "doorward" }
    }
}

/// When browsers send the session cookie with requests from other sites.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameSite {
    /// On top-level navigation only.
    Lax,
    /// Never.
    Strict,
}

impl CheckSection for Session {
    type Typed = SessionConfig;

    fn check(self, general: &General, reader: &mut SettingsReader) -> SessionConfig {
        if self.absolute.0 < self.idle.0 {
            reader.problem(
                &self.at("absolute"),
                "is shorter than session.idle",
                format!("write at least \"{}\", or make session.idle shorter", brief(self.idle.0.as_secs())),
            );
        }
        if let Some(domain) = &self.cookie_domain {
            let domain = domain.0.as_str();
            let host = general.public_url.host();
            let covers = host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
            if !covers || !domain.contains('.') || !general.public_url.has_name() {
                let parent = host.split_once('.').map_or(host, |(_, parent)| parent);
                let parent = if parent.contains('.') { parent } else { host };
                let remedy = if general.public_url.has_name() && host.contains('.') {
                    format!("write \"{parent}\", or leave it out")
                } else {
                    "leave it out: a cookie can be shared only below a domain name".to_owned()
                };
                let what = "is neither the public URL's host nor a domain above it";
                reader.problem(&self.at("cookie_domain"), what, remedy);
            } else if is_public_suffix(domain) {
                let what = format!(
                    "`{domain}` is a public suffix, below which anybody may have a name, so browsers keep no cookie for it"
                );
                let below =
                    host.strip_suffix(domain).and_then(|rest| rest.trim_end_matches('.').rsplit('.').next());
                let remedy = match below.filter(|label| !label.is_empty()) {
                    Some(label) => format!("write \"{label}.{domain}\", or leave it out"),
                    None => "leave it out".to_owned(),
                };
                reader.problem(&self.at("cookie_domain"), what, remedy);
            }
        }
        SessionConfig {
            idle: self.idle.0,
            absolute: self.absolute.0,
            cookie_same_site: self.cookie_same_site,
            cookie_domain: self.cookie_domain.map(|domain| domain.0),
        }
    }
}

/// Whether a domain is on the Public Suffix List, private suffixes such as `github.io` included.
fn is_public_suffix(domain: &str) -> bool {
    psl::suffix(domain.as_bytes()).is_some_and(|suffix| suffix.is_known() && suffix == domain.as_bytes())
}

choice! {
    SameSite { "lax" => Self::Lax, "strict" => Self::Strict }
}
