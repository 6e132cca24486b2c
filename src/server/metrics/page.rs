//! The page of metrics: every family there is, each described once, here.

use std::fmt;
use std::sync::Arc;

use super::text::MetricsText;
use crate::edge::page_limiter::PageLimiter;
use crate::edge::read_ahead::BufferQuotas;
use crate::model::audit::{Event, Load, Reason};
use crate::model::metrics::{ProviderCounts, Registry, Snapshot};
use crate::model::principal::CredentialKind;
use crate::model::time::Timestamp;
use crate::server::admission::Admission;
use crate::service::revocation::Revocations;
use crate::store::{Store, store_errors};

/// Results of sign-ins, shown also before they happen.
const LOGINS: [Option<Reason>; 14] = [
    None,
    Some(Reason::Unknown),
    Some(Reason::WrongPassword),
    Some(Reason::Disabled),
    Some(Reason::NoPassword),
    Some(Reason::Throttled),
    Some(Reason::Busy),
    Some(Reason::ProviderDenied),
    Some(Reason::ProviderUnavailable),
    Some(Reason::ProviderMisconfigured),
    Some(Reason::ResponseRefused),
    Some(Reason::GroupNotAllowed),
    Some(Reason::DomainNotAllowed),
    Some(Reason::RoleMissing),
];
/// Ticks of a second in which `/proc` counts processor time, on every architecture.
const TICKS: f64 = 100.0;
/// Bytes of a page of memory.
const MEMORY_PAGE: u64 = 4096;

/// Whom the page asks.
pub struct Sources {
    /// What the data plane counts.
    pub registry: Arc<Registry>,
    /// Connections of clients.
    pub admission: Admission,
    /// What is read ahead.
    pub buffer_quotas: BufferQuotas,
    /// Forms of our own pages among it.
    pub page_limiter: PageLimiter,
    /// How old the news of revocations is.
    pub revocations: Revocations,
    /// Lookups of credentials so far.
    pub lookups: Box<dyn Fn() -> u64 + Send + Sync>,
    /// What the control plane counts.
    pub store: Store,
    /// Sign-ins through providers, and the sessions after them.
    pub providers: ProviderCounts,
    /// When the server's certificate ends, if there is one. Asked each time: it may be replaced.
    pub certificate_end: Box<dyn Fn() -> Option<Timestamp> + Send + Sync>,
    /// The servers of all upstreams.
    pub servers: Box<dyn Fn() -> Vec<ServerStanding> + Send + Sync>,
    /// When the process started.
    pub started: Timestamp,
}

/// Whether requests go to one server of an upstream.
#[derive(Clone, Debug)]
pub struct ServerStanding {
    /// Name of the upstream.
    pub upstream: String,
    /// Its address in the settings.
    pub server: String,
    /// Whether they do: it is not left out for failures or by health checks.
    pub is_in: bool,
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sources")
    }
}

impl Sources {
    /// The page as of now.
    pub(super) fn page(&self) -> String {
        let mut page = MetricsText::default();
        page.family("doorward_build_info", "gauge", "The running version; always 1.")
            .sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
        requests(&mut page, &self.registry.snapshot());
        self.connections(&mut page);
        self.revocations(&mut page);
        self.control(&mut page);
        process(&mut page, self.started);
        page.finish()
    }

    fn connections(&self, page: &mut MetricsText) {
        let help = "Connections of clients that are open.";
        page.single("doorward_connections_open", "gauge", help, self.admission.open());
        let help = "Connections of clients that were refused, by the limit that was reached.";
        let [total, client] = self.admission.refused();
        page.family("doorward_connections_refused_total", "counter", help)
            .sample(&[("limit", "connections")], total)
            .sample(&[("limit", "connections_per_client")], client);
        let help = "Memory of bodies that are read ahead to decide by, and are not sent on yet.";
        page.family("doorward_read_ahead_bytes", "gauge", help)
            .sample(&[("kind", "graphql")], self.buffer_quotas.graphql.held())
            .sample(&[("kind", "pages")], self.page_limiter.held())
            .sample(&[("kind", "questions")], self.buffer_quotas.questions.held());
        let help = "Whether requests go to a server of an upstream; 0 while it is left out.";
        let mut family = page.family("doorward_upstream_server_up", "gauge", help);
        for ServerStanding { upstream, server, is_in } in (self.servers)() {
            family.sample(&[("upstream", &upstream), ("server", &server)], u8::from(is_in));
        }
        if let Some(end) = (self.certificate_end)() {
            let help = "When the server's certificate ends.";
            page.single("doorward_tls_certificate_expiry_timestamp_seconds", "gauge", help, end.0);
        }
    }

    fn revocations(&self, page: &mut MetricsText) {
        let age = self.revocations.age().map_or(f64::INFINITY, |age| age.as_secs_f64());
        let help =
            "Since the store was last read for revocations; beyond 0.9 no cached credential is trusted.";
        let age = if age.is_finite() { age.to_string() } else { "+Inf".to_owned() };
        page.single("doorward_revocation_age_seconds", "gauge", help, age);
        let help = "Rises with every right that is taken away, in the store.";
        page.single("doorward_revocation_revision", "gauge", help, self.revocations.revision());
        let help = "Rises when cached credentials must be looked up again, in this process.";
        page.single("doorward_revocation_epoch", "gauge", help, self.revocations.epoch().current());
        let help = "Lookups of credentials in the store.";
        page.single("doorward_credential_lookups_total", "counter", help, (self.lookups)());
        let help = "Questions to the database that failed.";
        page.single("doorward_store_errors_total", "counter", help, store_errors());
    }

    fn control(&self, page: &mut MetricsText) {
        let events = self.store.audit_counts();
        let result = |failure: Option<Reason>| failure.map_or("success", Reason::as_str);
        let mut logins =
            page.family("doorward_logins_total", "counter", "Sign-ins of people, by what came of them.");
        for failure in LOGINS {
            let count = events.counts.get(&(Event::Login, failure)).copied().unwrap_or(0);
            logins.sample(&[("result", result(failure))], count);
        }
        let help = "Sign-ins through providers, by what came of them.";
        let mut sign_ins = page.family("doorward_provider_logins_total", "counter", help);
        for ((provider, outcome), count) in self.providers.sign_ins.all() {
            sign_ins.sample(&[("provider", &provider), ("result", outcome.as_str())], count);
        }
        let help = "Refreshes of sessions that providers opened, by what came of them.";
        let mut refreshes = page.family("doorward_provider_refreshes_total", "counter", help);
        for ((provider, outcome), count) in self.providers.refreshes.all() {
            refreshes.sample(&[("provider", &provider), ("result", outcome.as_str())], count);
        }
        let help = "Logout tokens that were sent in the name of providers, by what came of them.";
        let mut logouts = page.family("doorward_provider_logouts_total", "counter", help);
        for ((provider, outcome), count) in self.providers.logouts.all() {
            logouts.sample(&[("provider", &provider), ("result", outcome.as_str())], count);
        }
        let help =
            "Events of the audit trail that this process was asked to note; those of logins have reasons.";
        let mut family = page.family("doorward_audit_events_total", "counter", help);
        for ((event, failure), count) in &events.counts {
            family.sample(&[("event", event.as_str()), ("result", result(*failure))], *count);
        }
        let help = "Configurations that took effect, or were refused.";
        let mut loads = page.family("doorward_config_loads_total", "counter", help);
        for cause in Load::ALL.iter().copied() {
            for (result, done) in [("success", true), ("failure", false)] {
                loads.sample(&[("cause", cause.as_str()), ("result", result)], events.loads(cause, done));
            }
        }
        if let Some(last) = events.last_load {
            let help = "When a configuration last took effect.";
            page.single("doorward_config_last_load_success_timestamp_seconds", "gauge", help, last.0);
        }
    }
}

fn requests(page: &mut MetricsText, sums: &Snapshot) {
    let help = "Requests that were answered, by route, decision and class of status.";
    let mut family = page.family("doorward_requests_total", "counter", help);
    for ((route, verdict, class), count) in &sums.requests {
        let labels = [("route", &**route), ("decision", verdict.as_str()), ("status", class.as_str())];
        family.sample(&labels, *count);
    }
    let help = "From the head of a request to the head of its answer.";
    let mut family = page.family("doorward_request_duration_seconds", "histogram", help);
    for (route, histogram) in &sums.durations {
        family.histogram(("route", route), histogram);
    }
    let help = "Requests that were not answered as wanted, by the code of the problem.";
    let mut family = page.family("doorward_refusals_total", "counter", help);
    for (code, count) in &sums.refusals {
        family.sample(&[("code", code.as_str())], *count);
    }
    let help = "Requests by what their sender was recognised by.";
    let mut family = page.family("doorward_requests_by_credential_total", "counter", help);
    for (credential, count) in &sums.credentials {
        family.sample(&[("credential", credential.map_or("none", CredentialKind::as_str))], *count);
    }
    let help = "Requests whose answer is not over.";
    page.single("doorward_requests_open", "gauge", help, sums.open_requests);
    let help = "WebSockets and other tunnels that are open.";
    page.single("doorward_tunnels_open", "gauge", help, sums.open_tunnels);
    let help = "Looks into the credential caches of threads.";
    let mut family = page.family("doorward_credential_cache_total", "counter", help);
    for (memory, count) in &sums.memory {
        let (kind, result) = memory.labels();
        family.sample(&[("kind", kind), ("result", result)], *count);
    }
    let help = "Connections wanted to upstreams: opened, used again, or failed.";
    let mut family = page.family("doorward_upstream_connects_total", "counter", help);
    for ((upstream, result), count) in &sums.connects {
        family.sample(&[("upstream", upstream), ("result", result.as_str())], *count);
    }
    let help = "Connections to upstreams that are open.";
    let mut family = page.family("doorward_upstream_connections_open", "gauge", help);
    for (upstream, open) in &sums.upstream_connections {
        family.sample(&[("upstream", upstream)], *open);
    }
}

/// What every Prometheus client tells of its process; what the system does not say is left out.
fn process(page: &mut MetricsText, started: Timestamp) {
    page.single("process_start_time_seconds", "gauge", "When the process started.", started.0);
    let read = |file: &str| std::fs::read_to_string(format!("/proc/self/{file}")).ok();
    let number = |text: &str, at: usize| text.split_whitespace().nth(at)?.parse::<u32>().ok();
    if let Some(pages) = read("statm").and_then(|text| number(&text, 1)) {
        let help = "Memory that is held.";
        page.single("process_resident_memory_bytes", "gauge", help, u64::from(pages) * MEMORY_PAGE);
    }
    // The name, in parentheses, may hold anything: fields are counted after it.
    let stat = read("stat").and_then(|text| text.rsplit_once(')').map(|(_, fields)| fields.to_owned()));
    let times = stat.and_then(|fields| Some((number(&fields, 11)?, number(&fields, 12)?)));
    if let Some((user, system)) = times {
        let seconds = (f64::from(user) + f64::from(system)) / TICKS;
        page.single("process_cpu_seconds_total", "counter", "Processor time used.", seconds);
    }
    if let Ok(entries) = std::fs::read_dir("/proc/self/fd") {
        // One of them reads the folder.
        let open = entries.count().saturating_sub(1);
        page.single("process_open_fds", "gauge", "Descriptors that are open.", open);
    }
    let limit = read("limits").and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("Max open files"))?.to_owned();
        number(&line, 3)
    });
    if let Some(limit) = limit {
        page.single("process_max_fds", "gauge", "Descriptors that may be open.", limit);
    }
}
