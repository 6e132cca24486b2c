//! What must hold of every gateway when its test ends, whatever the test was of.
//!
//! Every request that reached a recording upstream has exactly one access event, which allowed that method on
//! that host and path; nothing more was begun there than was allowed; no secret that was handed out stands in
//! a log, a counter or a file; and once its clients have left, nothing is open.

use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, Once, Weak};
use std::time::{Duration, Instant};

use doorward::app::Running;
use serde_json::Value;

use super::DEADLINE;
use super::gateway::PASSWORD;
use super::upstream::Recorded;

/// What an upstream has heard.
#[derive(Debug, Default)]
pub struct Heard {
    pub requests: Mutex<Vec<Recorded>>,
    /// Of how many requests a first byte has come.
    pub begun: AtomicUsize,
    /// How many gateways lead to it.
    gateways: AtomicUsize,
}

/// Those that are running, or that a gateway knows of: the address of one that has ended may be another server's.
static UPSTREAMS: LazyLock<Mutex<HashMap<SocketAddr, Weak<Heard>>>> = LazyLock::new(Mutex::default);

/// Makes an upstream known to gateways whose settings name its address.
pub fn register(address: SocketAddr) -> Arc<Heard> {
    let heard = Arc::<Heard>::default();
    UPSTREAMS.lock().unwrap().insert(address, Arc::downgrade(&heard));
    heard
}

/// Everything that gateways of this process said of their own lives.
static SAID: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Said;

impl Write for Said {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        SAID.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn listen_to_everything() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        tracing_subscriber::fmt()
            .with_writer(|| Said)
            .with_ansi(false)
            .with_env_filter("doorward=trace")
            .init();
    });
}

/// Where one gateway's access events go.
#[derive(Clone, Default)]
struct Events {
    text: Arc<Mutex<Vec<u8>>>,
    ended: Arc<AtomicBool>,
}

struct Outlet(Events);

impl Write for Outlet {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.text.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::SeqCst);
    }
}

/// A gateway's life, looked at when it ends.
pub struct Ledger {
    pub running: Option<Running>,
    folder: PathBuf,
    events: Events,
    /// What others said before it began.
    said: usize,
    secrets: Mutex<Vec<String>>,
    upstreams: Mutex<Vec<Arc<Heard>>>,
    /// Whether some route changes the path or the host on its way.
    changes_path: AtomicBool,
    /// How long it may take until nothing is open.
    pub patience: Duration,
}

impl Ledger {
    /// Begins with the settings; gives where access events are to go.
    pub fn open(folder: &Path, toml: &str) -> (Self, Box<dyn Write + Send>) {
        listen_to_everything();
        let events = Events::default();
        let outlet = Box::new(Outlet(events.clone()));
        let ledger = Self {
            running: None,
            folder: folder.to_owned(),
            events,
            said: SAID.lock().unwrap().len(),
            secrets: Mutex::new(vec![PASSWORD.to_owned()]),
            upstreams: Mutex::default(),
            changes_path: AtomicBool::new(false),
            patience: DEADLINE,
        };
        ledger.knows(toml);
        (ledger, outlet)
    }

    /// Takes in further settings.
    pub fn knows(&self, toml: &str) {
        let mut own = self.upstreams.lock().unwrap();
        for (address, heard) in &*UPSTREAMS.lock().unwrap() {
            let Some(heard) = &heard.upgrade() else { continue };
            let text = address.to_string();
            let mut found = toml.match_indices(&text).map(|(at, _)| &toml[at + text.len()..]).peekable();
            if found.peek().is_none() {
                continue;
            }
            let mut rests = found.filter(|rest| !rest.starts_with(|c: char| c.is_ascii_digit())).peekable();
            if rests.peek().is_some() && !own.iter().any(|known| Arc::ptr_eq(known, heard)) {
                heard.gateways.fetch_add(1, Ordering::SeqCst);
                own.push(Arc::clone(heard));
            }
            if rests.any(|rest| rest.starts_with('/')) {
                self.changes_path.store(true, Ordering::SeqCst);
            }
        }
        if toml.contains("_prefix") {
            self.changes_path.store(true, Ordering::SeqCst);
        }
    }

    /// From now on this must stand nowhere.
    pub fn handed_out(&self, secret: &str) {
        self.secrets.lock().unwrap().push(secret.to_owned());
    }

    /// The first secret that stands in a text.
    pub fn secret_in(&self, text: &str) -> Option<String> {
        self.secrets.lock().unwrap().iter().find(|secret| text.contains(secret.as_str())).cloned()
    }

    /// The access events that were written so far.
    pub fn events(&self) -> Vec<Value> {
        let text = self.events.text.lock().unwrap();
        String::from_utf8_lossy(&text).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn nothing_is_open(&self, running: &Running) {
        let open = || {
            let sums = running.registry().snapshot();
            (running.connections(), sums.open_requests, sums.open_tunnels)
        };
        self.wait_for(
            || open() == (0, 0, 0),
            || format!("open connections, requests, tunnels: {:?}", open()),
        );
    }

    fn no_secret_was_told(&self) {
        let said = String::from_utf8_lossy(&SAID.lock().unwrap()[self.said..]).into_owned();
        for secret in &*self.secrets.lock().unwrap() {
            let line = said.lines().find(|line| line.contains(secret.as_str()));
            assert_eq!(line, None, "a secret was logged");
            let events = self.events.text.lock().unwrap();
            let line = String::from_utf8_lossy(&events);
            let line = line.lines().find(|line| line.contains(secret.as_str()));
            assert_eq!(line, None, "a secret stands in an access event");
        }
        for entry in std::fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if !name.starts_with("doorward.db") || name.ends_with(".secret") {
                continue;
            }
            let bytes = std::fs::read(entry.path()).unwrap_or_default();
            let found = self.secret_in(&String::from_utf8_lossy(&bytes));
            assert_eq!(found, None, "a secret stands in {name}");
        }
    }

    /// The requests of which the log says this.
    fn said_of(&self, what: &str) -> HashSet<String> {
        let said = String::from_utf8_lossy(&SAID.lock().unwrap()[self.said..]).into_owned();
        let lines = said.lines().filter(|line| line.contains(what));
        let id = |line: &str| Some(line.split_once("request.id=\"")?.1.split('"').next()?.to_owned());
        lines.filter_map(id).collect()
    }

    fn every_request_was_allowed(&self) {
        // Allowed as handshakes, and answered by a page, which was not.
        let withheld = self.said_of("a page was withheld that answers a handshake");
        // Allowed, and then not any more.
        let ended = self.said_of("a request was ended before its answer");
        let mut events: HashMap<String, Value> = HashMap::new();
        for event in self.events() {
            let id = event["request.id"].as_str().unwrap().to_owned();
            assert!(events.insert(id.clone(), event).is_none(), "two access events of one request: {id}");
        }
        let upstreams = self.upstreams.lock().unwrap();
        let (mut heard, mut checks) = (HashSet::new(), 0);
        for upstream in &*upstreams {
            let alone = upstream.gateways.load(Ordering::SeqCst) == 1;
            for request in &*upstream.requests.lock().unwrap() {
                if is_check(request) {
                    checks += 1;
                    continue;
                }
                let event = request.header("x-request-id").and_then(|id| events.get(id));
                match event {
                    Some(event) => {
                        let id = event["request.id"].as_str().unwrap();
                        let page = request.header("upgrade").is_some() && withheld.contains(id);
                        let fits = page || ended.contains(id) || was_allowed(event);
                        assert!(fits, "it was not allowed: {event}\n{}", request.head);
                        self.agrees(request, event);
                        assert!(
                            heard.insert(event["request.id"].as_str().unwrap()),
                            "it was sent twice:\n{}",
                            request.head
                        );
                    }
                    None => assert!(!alone, "it has no access event:\n{}\n{events:?}", request.head),
                }
            }
        }
        let begun: usize = upstreams.iter().map(|upstream| upstream.begun.load(Ordering::SeqCst)).sum();
        let allowed = events.values().filter(|event| was_allowed(event)).count();
        if upstreams.iter().all(|upstream| upstream.gateways.load(Ordering::SeqCst) == 1) {
            assert!(
                begun <= allowed + withheld.len() + ended.len() + checks,
                "{begun} were begun at upstreams, {allowed} allowed:\n{events:?}"
            );
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "what is dropped cannot await, and other threads serve meanwhile"
    )]
    fn wait_for(&self, holds: impl Fn() -> bool, what: impl Fn() -> String) {
        let began = Instant::now();
        while !holds() {
            assert!(began.elapsed() < self.patience, "{}", what());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn agrees(&self, request: &Recorded, event: &Value) {
        let head = &request.head;
        let line = request.line();
        let (method, target) = line.split_once(' ').unwrap();
        assert_eq!(method, event["http.method"], "another method was decided: {event}\n{head}");
        if !self.changes_path.load(Ordering::SeqCst) {
            let path = target.split('?').next().unwrap();
            assert_eq!(path, event["http.path"], "another path was decided: {event}\n{head}");
        }
        let host = request.header("x-forwarded-host").unwrap_or_default();
        assert_eq!(without_port(host), event["http.host"], "another host was decided: {event}\n{head}");
    }
}

/// By the rules, or although it would have been refused.
fn was_allowed(event: &Value) -> bool {
    matches!(event["decision"].as_str(), Some("allow" | "shadow"))
}

/// The gateway's own question whether the upstream is well.
fn is_check(request: &Recorded) -> bool {
    let own = |name: &str, value: &str| request.header(name).is_some_and(|found| found.starts_with(value));
    own("user-agent", "doorward/") && request.header("x-request-id").is_none() && request.body.is_empty()
}

fn without_port(host: &str) -> String {
    let host = host.to_ascii_lowercase();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => name,
        _ => &host,
    };
    // With a dot at its end, and within brackets, it is the same host.
    let name = name.strip_suffix('.').unwrap_or(name);
    name.trim_start_matches('[').trim_end_matches(']').to_owned()
}

impl Drop for Ledger {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        if let Some(running) = self.running.take() {
            self.nothing_is_open(&running);
            let registry = Arc::clone(running.registry());
            drop(running);
            self.wait_for(
                || {
                    let sums = registry.snapshot();
                    sums.open_requests == 0 && sums.upstream_connections.values().all(|open| *open == 0)
                },
                || format!("still open: {:?}", registry.snapshot()),
            );
        }
        self.wait_for(|| self.events.ended.load(Ordering::SeqCst), || "the log never ended".to_owned());
        self.every_request_was_allowed();
        self.no_secret_was_told();
    }
}
