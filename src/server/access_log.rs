//! One access event per request: written into a buffer of the thread, handed over in large pieces.
//!
//! Never holds a secret, a query string or a body. When the reader of the log is slower than the traffic,
//! events are dropped and counted; requests never wait.

use std::cell::{Cell, RefCell};
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::IpAddr;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::config::LogFormat;
use crate::model::network;
use crate::model::principal::ClientAddress;
use crate::model::time::Timestamp;
use crate::model::verdict::Verdict;
use crate::model::visible::is_unseen;

/// A buffer is handed over when it holds this much, and on each tick.
const FLUSH_AT: usize = 32 * 1024;
/// Buffers waiting to be written.
const QUEUED: usize = 64;

/// What one request came to.
#[derive(Debug)]
pub struct AccessEvent<'a> {
    /// When the response head was known.
    pub time: Timestamp,
    /// Unique within the run.
    pub request_id: &'a str,
    /// Where the client is.
    pub client: ClientAddress,
    /// Method.
    pub method: &'a str,
    /// Host without port; empty if the target was refused.
    pub host: &'a str,
    /// Path without query.
    pub path: &'a str,
    /// Route, if one was found.
    pub route: Option<&'a str>,
    /// Upstream, if a route was found.
    pub upstream: Option<&'a str>,
    /// What was decided.
    pub verdict: Verdict,
    /// The rule that decided, or the code of the problem.
    pub rule: Option<&'a str>,
    /// `user:<id>` or `key:<id>`.
    pub subject: Option<&'a str>,
    /// The key that was used, for a user's key.
    pub key: Option<&'a str>,
    /// Why it would have been refused, where that is only logged.
    pub shadowed: Option<&'a str>,
    /// The setting that would leave to the application what it is, or would be, refused for.
    pub setting: Option<&'a str>,
    /// Status of the answer.
    pub status: u16,
    /// From the request head to the response head.
    pub duration: Duration,
}

/// The log of one thread.
pub struct AccessLog {
    format: LogFormat,
    buffer: RefCell<String>,
    queue: SyncSender<String>,
    dropped: Cell<u64>,
}

impl AccessLog {
    /// A log that hands its buffers to `queue`.
    pub fn new(format: LogFormat, queue: SyncSender<String>) -> Self {
        Self { format, buffer: RefCell::default(), queue, dropped: Cell::new(0) }
    }

    /// Writes one event.
    pub fn record(&self, event: &AccessEvent<'_>) {
        let mut buffer = self.buffer.borrow_mut();
        match self.format {
            LogFormat::Json => write_json(&mut buffer, event),
            LogFormat::Text => write_text(&mut buffer, event),
        }
        if buffer.len() >= FLUSH_AT {
            self.hand_over(&mut buffer);
        }
    }

    /// Hands over what is buffered.
    pub fn flush(&self) {
        self.hand_over(&mut self.buffer.borrow_mut());
    }

    fn hand_over(&self, buffer: &mut String) {
        if buffer.is_empty() {
            return;
        }
        match self.queue.try_send(std::mem::take(buffer)) {
            Ok(()) => {
                let dropped = self.dropped.take();
                if dropped > 0 {
                    tracing::warn!(
                        log.dropped_buffers = dropped,
                        "access events were dropped: the log is read too slowly"
                    );
                }
            }
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.dropped.set(self.dropped.get() + 1);
            }
        }
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        // What a stop cut off is told last.
        self.flush();
    }
}

/// Where access events are written.
pub type Outlet = Box<dyn std::io::Write + Send>;

/// Starts the thread that writes to `out`. It ends when every sender is gone.
pub fn start_writer(out: Outlet) -> (SyncSender<String>, JoinHandle<()>) {
    let (sender, receiver) = sync_channel(QUEUED);
    let writer = std::thread::spawn(move || write_all(&receiver, out));
    (sender, writer)
}

fn write_all(receiver: &Receiver<String>, mut out: Outlet) {
    let mut failing = false;
    for lines in receiver {
        let written = out.write_all(lines.as_bytes()).and_then(|()| out.flush());
        if let (Err(error), false) = (&written, failing) {
            tracing::warn!(%error, "the access log cannot be written");
        }
        failing = written.is_err();
    }
}

fn write_json(out: &mut String, event: &AccessEvent<'_>) {
    out.push('{');
    json_text(out, "time", &event.time.rfc3339());
    json_text(out, ",message", "request");
    json_text(out, ",request.id", event.request_id);
    json_text(out, ",client.ip", &event.client.to_string());
    if let Some(peer) = beyond(event) {
        json_text(out, ",peer.ip", &peer.to_string());
    }
    json_text(out, ",http.method", event.method);
    json_text(out, ",http.host", event.host);
    json_text(out, ",http.path", event.path);
    for (name, value) in optional(event) {
        if let Some(value) = value {
            json_text(out, name, value);
        }
    }
    json_text(out, ",decision", event.verdict.as_str());
    _ = writeln!(
        out,
        ",\"http.status\":{},\"duration_ms\":{:.3}}}",
        event.status,
        event.duration.as_secs_f64() * 1000.0
    );
}

/// The peer behind which a client is that cannot be told itself; not under the client's name, lest somebody bans
/// their own proxy.
fn beyond(event: &AccessEvent<'_>) -> Option<IpAddr> {
    let peer = event.client.nearest();
    (event.client.known().is_none() && peer != network::UNIX_PEER).then_some(peer)
}

fn optional<'a>(event: &AccessEvent<'a>) -> [(&'static str, Option<&'a str>); 7] {
    [
        (",route.id", event.route),
        (",upstream.name", event.upstream),
        (",rule", event.rule),
        (",subject.id", event.subject),
        (",key.id", event.key),
        (",shadowed", event.shadowed),
        (",setting", event.setting),
    ]
}

/// `"name":"value"`, with what JSON cannot hold escaped; a comma in front of the name stays in front.
fn json_text(out: &mut String, name: &str, value: &str) {
    let name = match name.strip_prefix(',') {
        Some(name) => {
            out.push(',');
            name
        }
        None => name,
    };
    _ = write!(out, "\"{name}\":");
    match serde_json::to_string(value) {
        Ok(text) => out.push_str(&text),
        Err(_) => out.push_str("null"),
    }
}

fn write_text(out: &mut String, event: &AccessEvent<'_>) {
    _ = write!(
        out,
        "{} {} {} {} {}{} {} {}",
        event.time.rfc3339(),
        event.client,
        event.status,
        event.method,
        event.host,
        printable(event.path),
        event.verdict,
        event.request_id,
    );
    if let Some(peer) = beyond(event) {
        _ = write!(out, " peer.ip={peer}");
    }
    for (name, value) in optional(event) {
        if let Some(value) = value {
            _ = write!(out, " {}={}", name.trim_start_matches(','), printable(value));
        }
    }
    _ = writeln!(out, " {:.3}ms", event.duration.as_secs_f64() * 1000.0);
}

/// A value cannot begin a line of its own.
fn printable(text: &str) -> String {
    text.chars().map(|c| if is_unseen(c) || c == ' ' { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> AccessEvent<'static> {
        AccessEvent {
            time: Timestamp(1_900_000_000),
            request_id: "r1",
            client: "192.0.2.1".parse().unwrap(),
            method: "GET",
            host: "app.example",
            path: "/a\"b\n",
            route: Some("r"),
            upstream: None,
            verdict: Verdict::Deny,
            rule: Some("admin"),
            subject: Some("user:1"),
            key: None,
            shadowed: None,
            setting: None,
            status: 403,
            duration: Duration::from_micros(1500),
        }
    }

    #[test]
    fn an_event_is_one_line_of_valid_json() {
        let mut out = String::new();
        write_json(&mut out, &event());
        assert_eq!(out.matches('\n').count(), 1);
        let json: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(json["http.path"], "/a\"b\n");
        assert_eq!(json["http.status"], 403);
        assert_eq!(json["rule"], "admin");
        assert_eq!(json["duration_ms"], 1.5);
        assert!(json.get("upstream.name").is_none());
        assert_eq!((&json["client.ip"], json.get("peer.ip")), (&"192.0.2.1".into(), None));
    }

    #[test]
    fn a_proxy_is_never_told_as_the_client_behind_it() {
        for (peer, told) in [("10.0.0.1", Some("10.0.0.1")), ("0.0.0.0", None)] {
            let client = ClientAddress::behind(peer.parse().unwrap());
            let event = AccessEvent { client, ..event() };
            let (mut json, mut text) = (String::new(), String::new());
            write_json(&mut json, &event);
            write_text(&mut text, &event);
            let json: serde_json::Value = serde_json::from_str(&json).unwrap();
            assert_eq!(json["client.ip"], "unknown");
            assert_eq!(json.get("peer.ip").and_then(|peer| peer.as_str()), told);
            assert!(text.contains("Z unknown 403 "), "{text}");
            assert_eq!(text.contains(" peer.ip="), told.is_some(), "{text}");
        }
    }

    #[test]
    fn a_readable_event_is_one_line_whatever_the_path_holds() {
        let mut out = String::new();
        write_text(&mut out, &event());
        assert_eq!(out.matches('\n').count(), 1, "{out}");
        assert!(
            out.contains("403 GET app.example/a\"b? deny r1 route.id=r rule=admin subject.id=user:1 1.500ms"),
            "{out}"
        );
    }

    /// D20: a log whose reader has stopped.
    #[test]
    fn a_full_queue_drops_events_and_never_waits() {
        let (queue, receiver) = sync_channel(1);
        let log = AccessLog::new(LogFormat::Json, queue);
        for _ in 0..3 {
            log.record(&event());
            log.flush();
        }
        assert_eq!(log.dropped.get(), 2);
        assert_eq!(receiver.try_iter().count(), 1);
    }
}
