//! Ends applications' own sessions in a browser that signs in or out, as far as an answer of one host can.
//!
//! A cookie goes only where name, domain and path are those it was set with, and a path does not say with which: so the
//! likely ones are tried. What is left our proxy sends on for no other caller; other proxies cannot tell.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::SET_COOKIE;
use http::{HeaderValue, Response};

use super::WebRequest;
use crate::config::Config;
use crate::edge::cookie::{self, Cookies};
use crate::model::session_cookie::SessionCookie;

/// Fields in one answer, ...
const MOST: usize = 24;
/// ... and bytes of them all: proxies in front of us hold no head of any size.
const MOST_BYTES: usize = 2048;

/// Which cookies end where.
#[derive(Clone, Debug, Default)]
pub struct AppLogout {
    applications: Arc<[Application]>,
    /// Below which our pages are.
    base: String,
    /// Whether other proxies may have streams open of which we do not know.
    beyond_us: bool,
}

#[derive(Debug)]
struct Application {
    /// Empty: every one.
    hosts: Vec<String>,
    path: String,
    cookies: Vec<SessionCookie>,
}

impl AppLogout {
    /// Those of a configuration. Where rules only log, nothing ends.
    pub fn new(config: &Config) -> Self {
        let kept = config.routes.iter().filter(|route| config.is_kept(route));
        let applications = kept.map(|route| Application {
            hosts: route.hosts.clone(),
            path: route.path.clone(),
            cookies: config.session_cookies(route).to_vec(),
        });
        Self {
            applications: applications.filter(|application| !application.cookies.is_empty()).collect(),
            base: config.public_url.base_path().to_owned(),
            beyond_us: config.forward_auth.is_on(),
        }
    }

    /// Whether other proxies may have streams open of which we do not know.
    pub(super) fn may_be_open_beyond_us(&self) -> bool {
        self.beyond_us
    }

    /// Has the browser forget the sessions of the applications at the host that answers.
    pub(super) fn end(&self, cookies: &Cookies, request: &WebRequest, response: &mut Response<Bytes>) {
        let mut room = MOST_BYTES;
        let fits = |field: &String| {
            let left = room.checked_sub(field.len());
            room = left.unwrap_or(room);
            left.is_some()
        };
        for field in self.endings(cookies, request).into_iter().filter(fits).take(MOST) {
            if let Ok(value) = HeaderValue::try_from(field) {
                response.headers_mut().append(SET_COOKIE, value);
            }
        }
    }

    /// First what the browser has shown to have, then what it may have.
    fn endings(&self, cookies: &Cookies, request: &WebRequest) -> Vec<String> {
        let host = request.host.as_str();
        let here = |application: &&Application| {
            application.hosts.is_empty() || application.hosts.iter().any(|own| own == host)
        };
        let applications: Vec<&Application> = self.applications.iter().filter(here).collect();
        let mut shown: Vec<(&str, Vec<&str>)> = Vec::new();
        for name in cookie::names(&request.headers) {
            let fits = |cookie: &SessionCookie| cookie.fits(name.as_bytes());
            let fitting = applications.iter().filter(|application| application.cookies.iter().any(fits));
            let paths: Vec<&str> = fitting.map(|application| application.path.as_str()).collect();
            if !paths.is_empty() {
                shown.push((name, paths));
            }
        }
        let parents: Vec<&str> =
            [Some(host).filter(|host| is_domain(host)), cookies.domain()].into_iter().flatten().collect();
        let mut endings = ClearedCookies { secure: cookies.is_secure(), fields: Vec::new() };
        // Those that a setting names come before whatever a star lets in, of which anybody may have set many.
        let is_named = |name: &str| {
            let is_exact = |cookie: &SessionCookie| cookie.exact() == Some(name);
            applications.iter().any(|application| application.cookies.iter().any(is_exact))
        };
        shown.sort_by_key(|(name, _)| (!is_named(name), name.len()));
        for (name, _) in &shown {
            endings.add(name, "/", None);
        }
        for (name, _) in &shown {
            endings.add(name, &self.base, None);
            for parent in &parents {
                endings.add(name, "/", Some(parent));
            }
        }
        for (name, paths) in &shown {
            for path in paths {
                endings.add(name, path, None);
            }
        }
        for application in applications {
            for name in application.cookies.iter().filter_map(SessionCookie::exact) {
                for path in ["/", &application.path] {
                    endings.add(name, path, None);
                }
            }
        }
        endings.fields
    }
}

struct ClearedCookies {
    secure: bool,
    fields: Vec<String>,
}

impl ClearedCookies {
    /// Deletes a cookie at a path, with and without a slash at its end.
    fn add(&mut self, name: &str, path: &str, domain: Option<&str>) {
        let of_host = name.get(..7).is_some_and(|prefix| prefix.eq_ignore_ascii_case("__host-"));
        let plain = path.trim_end_matches('/');
        let sound = path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';');
        if !sound || path.is_empty() || of_host && (domain.is_some() || !plain.is_empty()) {
            return;
        }
        let domain = domain.map(|domain| format!("; Domain={domain}")).unwrap_or_default();
        let secure = if self.secure { "; Secure" } else { "" };
        for path in [plain, &format!("{plain}/")] {
            let field = format!("{name}=; Max-Age=0; Path={path}{domain}{secure}");
            if !path.is_empty() && !self.fields.contains(&field) {
                self.fields.push(field);
            }
        }
    }
}

/// Whether a cookie may be for a host and those below it.
fn is_domain(host: &str) -> bool {
    host.contains('.') && host.parse::<IpAddr>().is_err()
}
