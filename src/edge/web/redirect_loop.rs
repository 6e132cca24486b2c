//! The redirect-loop guard: detects a browser sent back and forth between an application and the sign-in page.
//!
//! A signed-in user passes the sign-in page once. A browser that comes back with the same destination again and again
//! has a session that the check never sees; only the operator can mend that, so the page says what is wrong.

use std::sync::Arc;
use std::time::Duration;

use super::return_target::{ReturnObstacle, ReturnTarget};
use crate::config::PublicUrl;
use crate::edge::pages::site::{RESERVED, Site};
use crate::model::time::{Clock, Timestamp};
use crate::model::token::{SigningKey, TokenDigest};

/// This many visits for one destination within [`WINDOW`] are a loop.
const MOST: u32 = 3;
const WINDOW: Duration = Duration::from_secs(10);
/// Our values have about 90 bytes.
const LONGEST: usize = 160;

/// Counts visits, in a cookie that we sign.
#[derive(Clone, Debug)]
pub struct RedirectLoopGuard {
    key: SigningKey,
    clock: Arc<dyn Clock>,
}

/// The recent visits of a browser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RecentVisits {
    count: u32,
    since: Timestamp,
    /// Whether a hand-over was begun at the other host, so that our pages are reached there.
    handed_over: bool,
    /// Digest of its destination.
    destination: String,
}

impl RecentVisits {
    /// Whether these are a redirect loop.
    pub(super) fn are_a_loop(&self) -> bool {
        self.count >= MOST
    }
}

impl RedirectLoopGuard {
    /// `key` signs these cookies and nothing else.
    pub fn new(key: SigningKey, clock: Arc<dyn Clock>) -> Self {
        Self { key, clock }
    }

    /// Counts one more visit for `destination`.
    pub(super) fn one_more(&self, cookie: Option<&str>, destination: &str) -> RecentVisits {
        let mut visits = self.read(cookie, destination);
        visits.count = visits.count.saturating_add(1);
        visits
    }

    /// Notes that the browser came by our pages at the other host.
    pub(super) fn handed_over(&self, cookie: Option<&str>, destination: &str) -> RecentVisits {
        RecentVisits { handed_over: true, ..self.read(cookie, destination) }
    }

    /// The value of the cookie.
    pub(super) fn write(&self, visits: &RecentVisits) -> String {
        let RecentVisits { count, since, handed_over, destination } = visits;
        self.key.sign(&format!("{count}~{}~{}~{destination}", since.0, u8::from(*handed_over)))
    }

    /// What the cookie says about this destination; nothing where it is forged, expired or about another one.
    fn read(&self, cookie: Option<&str>, destination: &str) -> RecentVisits {
        let (now, destination) = (self.clock.now(), TokenDigest::of(destination).to_text());
        cookie
            .filter(|cookie| cookie.len() <= LONGEST)
            .and_then(|cookie| parse(self.key.verify(cookie)?))
            .filter(|visits| visits.destination == destination && now.is_within(WINDOW, visits.since))
            .unwrap_or(RecentVisits { count: 0, since: now, handed_over: false, destination })
    }
}

fn parse(text: &str) -> Option<RecentVisits> {
    let mut parts = text.split('~');
    let count = parts.next()?.parse().ok()?;
    let since = Timestamp(parts.next()?.parse().ok()?);
    let handed_over = parts.next()? == "1";
    Some(RecentVisits { count, since, handed_over, destination: parts.next()?.to_owned() })
}

/// Why a browser is in a redirect loop, for the operator.
pub(super) fn explain_loop(site: &Site, target: &ReturnTarget, visits: &RecentVisits) -> String {
    let cookies = site.cookies();
    let name = cookies.session_name();
    let public_host = site.public_url().host();
    let host = target.away().map_or(public_host, |away| away.host.as_str());
    let insecure = target.away().is_some_and(|away| away.origin.starts_with("http:"));
    if insecure && cookies.is_secure() {
        return explain_obstacle(site, &ReturnObstacle::Insecure(host.to_owned()));
    }
    if !cookies.reach(host) && !visits.handed_over {
        return match cookies.domain() {
            Some(domain) => format!(
                "You are signed in, but the cookie {name} is shared with the hosts of session.cookie_domain \
                 ({domain}) only, {host} is not one of them, and its path {} does not lead to this gateway. \
                 Choose a cookie_domain that covers {host}, or have the proxy there pass that path on to the \
                 gateway.",
                site.link("/")
            ),
            None => explain_obstacle(site, &ReturnObstacle::NotRouted(host.to_owned())),
        };
    }
    format!(
        "You are signed in and your browser has the cookie {name} for {host}, but the question that the proxy \
         of {host} asks the gateway comes without it. Have the proxy pass the Cookie header on to the check. \
         (With session.cookie_same_site = \"strict\" browsers also leave it out of the first request that \
         comes from another site.)"
    )
}

/// Why signing in on a page of ours at `origin` would not last, for the operator; `None` if it would.
///
/// Browsers keep `Secure` cookies over https only, but for this very machine, which they trust.
pub(super) fn explain_lost_cookie(site: &Site, origin: &str) -> Option<String> {
    let cookies = site.cookies();
    let opened = PublicUrl::parse(origin).ok()?;
    if !cookies.is_secure() || opened.is_secure() || opened.is_loopback() {
        return None;
    }
    let name = cookies.session_name();
    let public = site.public_url();
    Some(format!(
        "This page was opened over http, at {origin}, but the cookie {name} is Secure: browsers keep it over https \
         only, so the sign-in would not last. Open {public} instead. If {origin} is the address people should \
         use, its operator has to set public_url to it."
    ))
}

/// Why there are no pages at an address by which this machine is reached, for the operator.
pub(super) fn explain_other_address(site: &Site, host: &str) -> String {
    let public = site.public_url();
    format!(
        "This page was opened at {host}, but the gateway takes {public} for its address, which leads nowhere from \
         other machines. Its operator has to set public_url to the address that people should use."
    )
}

/// Why there is no page at a host that the browser did not ask for, for the operator.
pub(super) fn explain_other_host(site: &Site, host: &str) -> String {
    format!(
        "Your browser was sent to {}, and the gateway was asked for {host} all the same. Have the proxy before the gateway \
         pass the Host header on as the browser sends it.",
        site.public_url()
    )
}

/// What stands between the sign-in and a host of ours, for the operator.
pub(super) fn explain_obstacle(site: &Site, obstacle: &ReturnObstacle) -> String {
    let name = site.cookies().session_name();
    match obstacle {
        ReturnObstacle::Insecure(host) => format!(
            "The application at {host} was asked for over http, but the cookie {name} is Secure: browsers send \
             it over https only. Open the https address. If you did, the proxy of {host} tells the gateway the \
             wrong scheme."
        ),
        ReturnObstacle::NotRouted(host) => format!(
            "The cookie {name} belongs to {} alone, so the sign-in is handed over to {host} at its path {}, but \
             that path does not lead to this gateway. Have the proxy of {host} pass {RESERVED}/ on to the \
             gateway, without a check, or set session.cookie_domain to a domain that covers both hosts.",
            site.public_url().host(),
            site.link("/")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{PagesConfig, PublicUrl, SameSite, SessionConfig};
    use crate::edge::web::return_target::Destinations;
    use crate::model::secret::Secret;
    use crate::model::time::ManualClock;
    use crate::model::token::{KeyPurpose, MasterKey};

    fn loop_guard() -> (RedirectLoopGuard, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::at(Timestamp(1_900_000_000)));
        let key = MasterKey::new(Secret::new("m".repeat(32))).derive(KeyPurpose::LoopGuard);
        (RedirectLoopGuard::new(key, clock.clone()), clock)
    }

    fn visit(loop_guard: &RedirectLoopGuard, cookie: &mut Option<String>, destination: &str) -> bool {
        let visits = loop_guard.one_more(cookie.as_deref(), destination);
        *cookie = Some(loop_guard.write(&visits));
        visits.are_a_loop()
    }

    #[test]
    fn the_third_visit_with_one_wish_within_ten_seconds_is_a_loop() {
        let (loop_guard, clock) = loop_guard();
        let mut cookie = None;
        let seen = [1, 2, 3].map(|_| visit(&loop_guard, &mut cookie, "https://app.example/"));
        assert_eq!(seen, [false, false, true]);
        assert!(cookie.clone().unwrap().len() <= LONGEST);
        assert!(!visit(&loop_guard, &mut cookie.clone(), "https://app.example/other"), "another wish");
        assert!(visit(&loop_guard, &mut cookie.clone(), "https://app.example/"));
        clock.advance(WINDOW);
        assert!(!visit(&loop_guard, &mut cookie, "https://app.example/"), "long ago");
        for _ in 0..2 {
            visit(&loop_guard, &mut cookie, "https://app.example/");
        }
        clock.set_back(Duration::from_hours(2));
        assert!(!visit(&loop_guard, &mut cookie, "https://app.example/"), "a time that is still to come");
    }

    #[test]
    fn a_forged_count_counts_for_nothing() {
        let (loop_guard, _) = loop_guard();
        let destination = TokenDigest::of("/").to_text();
        for forged in ["", "9~1900000000~0~x.y", &format!("9~1900000000~0~{destination}"), &"9".repeat(5000)]
        {
            assert!(!visit(&loop_guard, &mut Some(forged.to_owned()), "/"), "{forged}");
        }
        let noted = loop_guard.handed_over(None, "/");
        assert!(noted.handed_over && !noted.are_a_loop());
        let next = loop_guard.one_more(Some(&loop_guard.write(&noted)), "/");
        assert!(next.handed_over && next.count == 1, "kept beside the count");
    }

    #[track_caller]
    fn check(domain: Option<&str>, text: &str, handed_over: bool, expected: &[&str]) {
        let session = SessionConfig {
            idle: Duration::from_mins(1),
            absolute: Duration::from_hours(1),
            cookie_same_site: SameSite::Lax,
            cookie_domain: domain.map(str::to_owned),
        };
        let public_url = PublicUrl::parse("https://gate.example").unwrap();
        let hosts = ["app.gate.example", "app.test", "localhost"].map(str::to_owned);
        let target = ReturnTarget::parse(text, &Destinations::new(public_url.clone(), hosts));
        let (loop_guard, _) = loop_guard();
        let visits = RecentVisits { handed_over, ..loop_guard.one_more(None, text) };
        let site = Site::new(public_url, &session, &PagesConfig::default());
        let said = match target.obstacle() {
            Some(obstacle) => explain_obstacle(&site, obstacle),
            None => explain_loop(&site, &target, &visits),
        };
        for part in expected {
            assert!(said.contains(part), "{part} is not in: {said}");
        }
    }

    #[test]
    fn a_host_outside_the_cookie_domain_is_named() {
        let said =
            ["__Secure-doorward", "cookie_domain (gate.example)", "app.test is not one", "/_doorward/"];
        check(Some("gate.example"), "https://app.test/x", false, &said);
    }

    #[test]
    fn http_beside_a_secure_cookie_is_named() {
        let said = ["app.test was asked for over http", "__Host-doorward is Secure", "wrong scheme"];
        check(None, "http://app.test/x", false, &said);
        check(None, "http://localhost:9000/x", true, &["localhost was asked for over http"]);
    }

    #[test]
    fn own_pages_that_are_not_reached_at_the_other_host_are_named() {
        let said =
            ["__Host-doorward belongs to gate.example alone", "pass /_doorward/ on", "proxy of app.test"];
        check(None, "https://app.test/x", false, &said);
        check(None, "https://app.test/_doorward/handover/begin?rd=x", false, &said);
    }

    #[test]
    fn a_check_without_the_cookie_is_named() {
        check(
            None,
            "https://app.test/x",
            true,
            &["__Host-doorward for app.test", "pass the Cookie header on"],
        );
        check(Some("gate.example"), "https://app.gate.example/x", false, &["pass the Cookie header on"]);
        check(None, "/x", false, &["__Host-doorward for gate.example", "pass the Cookie header on"]);
    }
}
