//! The cookies we hand to browsers, and how we read them back.
//!
//! Setting and deleting share one list of attributes: a browser deletes a cookie only where name, domain and
//! path are those it was set with.

use http::{HeaderMap, HeaderValue};

use crate::config::PublicUrl;
use crate::config::SameSite;
use crate::config::SessionConfig;
use crate::gate::cookies::{cookie_names, cookies_named};
use crate::model::secret::Secret;
use crate::model::session_cookie;
use crate::model::token::TokenDigest;
use crate::service::sign_ins;

const DEVICE_SECONDS: u64 = 365 * 24 * 60 * 60;
const HANDOVER_SECONDS: u64 = 60;
const LOOP_GUARD_SECONDS: u64 = 10;
/// How long the sign-in page is shown, and leads nowhere by itself, after a sign-out or a sign-in that was refused.
const CHOICE_SECONDS: u64 = 10 * 60;
/// The most sign-ins at providers that one browser has under way, in as many tabs. Each has a cookie of up to 1.5 KiB, and
/// all of them are sent with every request.
const MOST_SIGN_INS: usize = 5;
/// The most that one answer deletes: each is a header line, and whoever can set cookies here can make them thousands.
const MOST_DELETED: usize = 20;
/// Characters of base64url in the name of each.
const SIGN_IN_DIGITS: usize = 11;

/// Names and attributes of our cookies (RFC 6265bis, 4.1).
#[derive(Clone, Debug)]
pub struct Cookies {
    session: String,
    device: String,
    handover: String,
    loop_guard: String,
    choice: String,
    /// Prefix of the cookies that hold the state of a sign-in at a provider.
    sign_in: String,
    attributes: String,
    /// The same without a domain: for the host that answers alone.
    attributes_here: String,
    /// For what must survive the redirects between two hosts.
    attributes_between: String,
    session_seconds: u64,
    secure: bool,
    domain: Option<String>,
    host: String,
}

impl Cookies {
    /// The cookies for a public address.
    pub fn new(public_url: &PublicUrl, config: &SessionConfig) -> Self {
        let session = config.cookie_name(public_url);
        let alone = SessionConfig::host_cookie_name(public_url);
        let base = if public_url.is_secure() { "; Path=/; HttpOnly; Secure" } else { "; Path=/; HttpOnly" };
        let attributes_here = match config.cookie_same_site {
            SameSite::Lax => format!("{base}; SameSite=Lax"),
            SameSite::Strict => format!("{base}; SameSite=Strict"),
        };
        let attributes = match &config.cookie_domain {
            Some(domain) => format!("{attributes_here}; Domain={domain}"),
            None => attributes_here.clone(),
        };
        Self {
            device: format!("{session}-device"),
            handover: format!("{alone}-handover"),
            loop_guard: format!("{alone}-bounces"),
            choice: format!("{alone}-choice"),
            sign_in: format!("{alone}-sign-in-"),
            session,
            attributes,
            attributes_here,
            attributes_between: format!("{base}; SameSite=Lax"),
            session_seconds: config.absolute.as_secs(),
            secure: public_url.is_secure(),
            domain: config.cookie_domain.clone(),
            host: public_url.host().to_owned(),
        }
    }

    /// Whether browsers send the cookie of the sign-in page to this host too.
    pub fn reach(&self, host: &str) -> bool {
        match &self.domain {
            Some(domain) => {
                host.strip_suffix(domain.as_str()).is_some_and(|sub| sub.is_empty() || sub.ends_with('.'))
            }
            None => host == self.host,
        }
    }

    /// Name of the session cookie.
    pub fn session_name(&self) -> &str {
        &self.session
    }

    /// Whether browsers send the cookies over https only.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// The domain whose hosts share the session cookie.
    pub fn domain(&self) -> Option<&str> {
        self.domain.as_deref()
    }

    /// Hands out a session for the host that answers, which [`Cookies::reach`] does not cover.
    pub fn set_session_here(&self, value: &Secret) -> HeaderValue {
        header(&self.session, value.expose(), self.session_seconds, &self.attributes_here)
    }

    /// Takes back what [`Cookies::set_session_here`] gave.
    pub fn clear_session_here(&self) -> HeaderValue {
        header(&self.session, "", 0, &self.attributes_here)
    }

    /// Gives a browser something to hold while its session is handed over to this host.
    pub fn set_handover(&self, value: &str) -> HeaderValue {
        header(&self.handover, value, HANDOVER_SECONDS, &self.attributes_between)
    }

    /// What the browser holds for a hand-over, if it is exactly one.
    pub fn handover<'h>(&self, headers: &'h HeaderMap) -> Option<&'h str> {
        one(headers, &self.handover)
    }

    /// Marks a browser as seen before.
    pub fn set_loop_guard(&self, value: &str) -> HeaderValue {
        header(&self.loop_guard, value, LOOP_GUARD_SECONDS, &self.attributes_between)
    }

    /// How often the browser was here just now, as we wrote it.
    pub fn loop_guard<'h>(&self, headers: &'h HeaderMap) -> Option<&'h str> {
        one(headers, &self.loop_guard)
    }

    /// Has the sign-in page shown to this browser for a while, also where it would go straight to a provider.
    pub fn set_choice(&self) -> HeaderValue {
        header(&self.choice, "1", CHOICE_SECONDS, &self.attributes_between)
    }

    /// Whether [`Cookies::set_choice`] was a moment ago.
    pub fn has_choice(&self, headers: &HeaderMap) -> bool {
        cookies_named(headers, &self.choice).next().is_some()
    }

    /// Stores the state of a sign-in at a provider in the browser. The name is derived from `state`, so that each tab has its
    /// own.
    pub fn set_sign_in(&self, state: &str, value: &Secret) -> HeaderValue {
        let seconds = sign_ins::LIFETIME.as_secs();
        header(&self.sign_in_name(state), value.expose(), seconds, &self.attributes_between)
    }

    /// The browser's cookie for the sign-in with this `state`, if there is exactly one.
    pub fn sign_in<'h>(&self, headers: &'h HeaderMap, state: &str) -> Option<&'h str> {
        one(headers, &self.sign_in_name(state))
    }

    /// Deletes the cookie of [`Cookies::set_sign_in`].
    pub fn clear_sign_in(&self, state: &str) -> HeaderValue {
        header(&self.sign_in_name(state), "", 0, &self.attributes_between)
    }

    /// Deletes the oldest of the browser's sign-ins, so that there is room for one more. Browsers send the oldest first
    /// (RFC 6265, 5.4). At most 20 at once.
    pub fn clear_oldest_sign_ins(&self, headers: &HeaderMap) -> Vec<HeaderValue> {
        let begun: Vec<&str> = names(headers).filter(|name| self.is_sign_in(name)).collect();
        let surplus = (begun.len() + 1).saturating_sub(MOST_SIGN_INS).min(MOST_DELETED);
        begun.into_iter().take(surplus).map(|name| header(name, "", 0, &self.attributes_between)).collect()
    }

    /// A digest, so that the name does not reveal `state`.
    fn sign_in_name(&self, state: &str) -> String {
        let digest = TokenDigest::of(state).to_text();
        format!("{}{}", self.sign_in, digest.get(..SIGN_IN_DIGITS).unwrap_or_default())
    }

    fn is_sign_in(&self, name: &str) -> bool {
        name.strip_prefix(self.sign_in.as_str()).is_some_and(|digest| digest.len() == SIGN_IN_DIGITS)
    }

    /// Hands out a session.
    pub fn set_session(&self, value: &Secret) -> HeaderValue {
        header(&self.session, value.expose(), self.session_seconds, &self.attributes)
    }

    /// Takes a session back.
    pub fn clear_session(&self) -> HeaderValue {
        header(&self.session, "", 0, &self.attributes)
    }

    /// Marks the browser as one that has signed in before.
    pub fn set_device(&self, value: &Secret) -> HeaderValue {
        header(&self.device, value.expose(), DEVICE_SECONDS, &self.attributes)
    }

    /// The device cookie of a request, if there is exactly one.
    pub fn device<'h>(&self, headers: &'h HeaderMap) -> Option<&'h str> {
        one(headers, &self.device)
    }
}

/// The names that a request's cookies have, as far as they are names (RFC 6265, 4.1.1).
pub fn names(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    cookie_names(headers)
        .filter(|name| session_cookie::is_name(name))
        .filter_map(|name| std::str::from_utf8(name).ok())
}

fn header(name: &str, value: &str, seconds: u64, attributes: &str) -> HeaderValue {
    let text = format!("{name}={value}; Max-Age={seconds}{attributes}");
    // Our values are base64url and the domain was checked: nothing here can be refused as a header.
    let mut header = HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""));
    header.set_sensitive(true);
    header
}

fn one<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let mut found = cookies_named(headers, name);
    match (found.next(), found.next()) {
        (Some(value), None) => std::str::from_utf8(value).ok(),
        // Of several, which one we set cannot be told.
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn cookies(url: &str, same_site: SameSite, domain: Option<&str>) -> Cookies {
        let config = SessionConfig {
            idle: Duration::from_mins(1),
            absolute: Duration::from_hours(1),
            cookie_same_site: same_site,
            cookie_domain: domain.map(str::to_owned),
        };
        Cookies::new(&PublicUrl::parse(url).unwrap(), &config)
    }

    #[test]
    fn attributes_follow_the_public_address() {
        for (url, same_site, domain, expected) in [
            (
                "https://gate.example",
                SameSite::Lax,
                None,
                "__Host-doorward=v; Max-Age=3600; Path=/; HttpOnly; Secure; SameSite=Lax",
            ),
            (
                "https://gate.example",
                SameSite::Strict,
                Some("example.org"),
                "__Secure-doorward=v; Max-Age=3600; Path=/; HttpOnly; Secure; SameSite=Strict; Domain=example.org",
            ),
            (
                "http://127.0.0.1:8080",
                SameSite::Lax,
                None,
                "doorward=v; Max-Age=3600; Path=/; HttpOnly; SameSite=Lax",
            ),
        ] {
            let cookies = cookies(url, same_site, domain);
            assert_eq!(cookies.set_session(&Secret::new("v")), expected);
            let deletion = expected.replace("=v; Max-Age=3600", "=; Max-Age=0");
            assert_eq!(cookies.clear_session(), deletion, "a deletion has the same attributes");
        }
    }

    #[test]
    fn a_browser_is_remembered_for_a_year_under_a_name_of_its_own() {
        let cookies = cookies("https://gate.example", SameSite::Lax, None);
        assert_eq!(
            cookies.set_device(&Secret::new("v")),
            "__Host-doorward-device=v; Max-Age=31536000; Path=/; HttpOnly; Secure; SameSite=Lax"
        );
    }

    #[test]
    fn a_cookie_reaches_its_host_or_its_domain_and_nothing_that_only_ends_alike() {
        let alone = cookies("https://gate.example.org", SameSite::Lax, None);
        let shared = cookies("https://gate.example.org", SameSite::Lax, Some("example.org"));
        for (host, by_alone, by_shared) in [
            ("gate.example.org", true, true),
            ("app.example.org", false, true),
            ("example.org", false, true),
            ("evilexample.org", false, false),
            ("example.org.evil", false, false),
            ("x.gate.example.org", false, true),
            ("", false, false),
        ] {
            assert_eq!((alone.reach(host), shared.reach(host)), (by_alone, by_shared), "{host}");
        }
        let here = "__Secure-doorward=v; Max-Age=3600; Path=/; HttpOnly; Secure; SameSite=Lax";
        assert_eq!(shared.set_session_here(&Secret::new("v")), here, "for one host, without a domain");
        assert_eq!(shared.clear_session_here(), here.replace("=v; Max-Age=3600", "=; Max-Age=0"));
    }

    #[test]
    fn what_is_held_between_two_hosts_is_sent_in_redirects() {
        let strict = cookies("https://gate.example", SameSite::Strict, None);
        let held = "__Host-doorward-handover=v; Max-Age=60; Path=/; HttpOnly; Secure; SameSite=Lax";
        assert_eq!(strict.set_handover("v"), held);
    }

    #[test]
    fn what_one_host_has_for_itself_no_other_can_set() {
        for (url, domain, own) in [
            ("https://gate.example.org", Some("example.org"), "__Host-doorward-"),
            ("https://gate.example.org", None, "__Host-doorward-"),
            ("http://127.0.0.1:8080", None, "doorward-"),
        ] {
            let cookies = cookies(url, SameSite::Lax, domain);
            for set in [
                cookies.set_handover("v"),
                cookies.set_loop_guard("v"),
                cookies.set_choice(),
                cookies.set_sign_in("state", &Secret::new("v")),
            ] {
                let set = set.to_str().unwrap();
                assert!(
                    set.starts_with(own) && set.contains("; Path=/;") && !set.contains("Domain"),
                    "{set}"
                );
            }
            // A domain's cookie cannot have that prefix: browsers would refuse it.
            let shared = domain.is_some();
            for set in [cookies.set_session(&Secret::new("v")), cookies.set_device(&Secret::new("v"))] {
                let set = set.to_str().unwrap();
                assert_eq!((set.starts_with("__Secure-"), set.contains("Domain")), (shared, shared), "{set}");
            }
        }
    }

    fn sent(cookies: &[(&str, &str)]) -> HeaderMap {
        let pairs: Vec<String> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        HeaderMap::from_iter([(http::header::COOKIE, HeaderValue::from_str(&pairs.join("; ")).unwrap())])
    }

    /// The name that a cookie is set under.
    fn name_of(header: &HeaderValue) -> String {
        header.to_str().unwrap().split_once('=').unwrap().0.to_owned()
    }

    #[test]
    fn each_tab_holds_a_sign_in_of_its_own_for_ten_minutes() {
        let strict = cookies("https://gate.example", SameSite::Strict, Some("example"));
        let set = strict.set_sign_in("state 1", &Secret::new("v"));
        let name = name_of(&set);
        let rest = "=v; Max-Age=600; Path=/; HttpOnly; Secure; SameSite=Lax";
        assert_eq!(set, format!("{name}{rest}"), "for this host alone, and sent in redirects");
        assert_eq!(
            strict.clear_sign_in("state 1"),
            format!("{name}{}", rest.replace("=v; Max-Age=600", "=; Max-Age=0"))
        );
        assert!(name.starts_with("__Host-doorward-sign-in-") && !name.contains("state"), "{name}");
        let other = name_of(&strict.set_sign_in("state 2", &Secret::new("w")));
        assert_ne!(name, other);
        let both = sent(&[(&name, "v"), (&other, "w")]);
        assert_eq!(
            (strict.sign_in(&both, "state 1"), strict.sign_in(&both, "state 2")),
            (Some("v"), Some("w"))
        );
        assert_eq!(strict.sign_in(&both, "state 3"), None);
        assert_eq!(strict.sign_in(&sent(&[(&name, "v"), (&name, "x")]), "state 1"), None, "one too many");
    }

    #[test]
    fn of_too_many_sign_ins_the_oldest_go_and_nothing_else() {
        let cookies = cookies("https://gate.example", SameSite::Lax, None);
        let begun: Vec<String> = (0..400)
            .map(|number| name_of(&cookies.set_sign_in(&format!("state {number}"), &Secret::new("v"))))
            .collect();
        let others = [
            "__Host-doorward",
            "__Host-doorward-device",
            "__Host-doorward-sign-in-x",
            "app-sign-in-01234567890",
        ];
        let gone = |count: usize| -> Vec<String> {
            let all = begun.iter().take(count).map(String::as_str).chain(others);
            let headers = sent(&all.map(|name| (name, "v")).collect::<Vec<_>>());
            let cleared = cookies.clear_oldest_sign_ins(&headers);
            assert!(
                cleared.iter().all(|header| header.to_str().unwrap().contains("=; Max-Age=0;")),
                "{cleared:?}"
            );
            cleared.iter().map(name_of).collect()
        };
        assert_eq!(gone(0), Vec::<String>::new());
        assert_eq!(gone(4), Vec::<String>::new(), "with one more they are five");
        assert_eq!(gone(5), begun[..1]);
        assert_eq!(gone(8), begun[..4]);
        assert_eq!(gone(400), begun[..MOST_DELETED], "an answer has room for some");
    }

    #[test]
    fn a_cookie_value_is_not_shown_in_debug_output() {
        let header = cookies("https://gate.example", SameSite::Lax, None).set_session(&Secret::new("v"));
        assert_eq!(format!("{header:?}"), "Sensitive");
    }
}
