//! P: random targets, and every reading of them that a careless server could have.

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use unicode_normalization::UnicodeNormalization as _;

use super::signed_in;
use crate::support::gateway::ROUTES;
use crate::support::raw::read_answer;
use crate::support::{Gateway, Upstream, Watch};

/// Escapes of unreserved characters decoded, hexadecimal digits in upper case; the query as it came; no fragment.
fn canonical(target: &str) -> String {
    let target = target.split('#').next().unwrap_or_default();
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let mut text = String::new();
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        text.push_str(&rest[..at]);
        let byte = u8::from_str_radix(&rest[at + 1..at + 3], 16).unwrap();
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
        rest = &rest[at + 3..];
    }
    text.push_str(rest);
    query.map_or(text.clone(), |query| format!("{text}?{query}"))
}

/// Every segment list that some careless server could make of a sent path.
fn careless(path: &str) -> Vec<String> {
    let mut readings = vec![path.to_owned()];
    let mut bytes = path.as_bytes().to_vec();
    for _ in 0..8 {
        let mut decoded = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            let escape = bytes.get(at + 1..at + 3).and_then(|hex| std::str::from_utf8(hex).ok());
            match (bytes[at], escape.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
                (b'%', Some(byte)) => {
                    decoded.push(byte);
                    at += 3;
                }
                (byte, _) => {
                    decoded.push(byte);
                    at += 1;
                }
            }
        }
        if decoded == bytes {
            break;
        }
        bytes = decoded;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        // Some split only after they have decoded.
        readings.push(text.split(['?', '#']).next().unwrap_or_default().to_owned());
        // Some fold compatibility forms, before they split or after.
        readings.push(text.nfkc().collect());
        readings.push(text.nfkd().collect());
        readings.push(text);
    }
    readings
}

fn is_admin(reading: &str) -> bool {
    let folded = reading.to_uppercase().to_lowercase();
    let mut segments: Vec<&str> = Vec::new();
    for segment in folded.split(['/', '\\']) {
        match segment.split(';').next().unwrap_or_default().trim_end_matches([' ', '\0']) {
            ".." => {
                segments.pop();
            }
            name if name.trim_end_matches('.').is_empty() => {}
            name => segments.push(name.trim_end_matches(['.', ' '])),
        }
    }
    segments.first() == Some(&"admin")
}

/// Numbers that are the same at every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(end).unwrap()).unwrap()
    }
}

const PIECES: &[&str] = &[
    "/",
    "/",
    "/",
    "/",
    ".",
    "..",
    "%2e",
    "%2E%2e",
    "%2f",
    "%2F",
    "%5c",
    "%25",
    "%252e",
    "%252f",
    "%00",
    "%09",
    "%20",
    ";",
    ";a=b",
    "\\",
    "//",
    "admin",
    "admin",
    "admin",
    "Admin",
    "ADMIN",
    "adm%C4%B1n",
    "%61dmin",
    "%2561dmin",
    "admi",
    "n",
    "public",
    "public",
    "data",
    "%c3%bc",
    "%ff",
    "%",
    "%zz",
    "a",
    "~",
    "%7E",
    "?",
    "#",
    "@",
    ":",
    "*",
    "é",
    "+",
    "=",
    "&",
    "%3b",
    "%3f",
    "%23",
    "_doorward",
    "%EF%BC%8F",
    "%EF%BC%8E",
    "%E2%80%A5",
    "%EF%BC%BC",
    "%EF%BC%85",
    "%EF%BD%81dmin",
    "%E2%80%8B",
    "ad%C2%ADmin",
];

/// Sends random targets as `vera` and compares what reached the upstream.
async fn hostile_targets(count: usize, seed: u64, paths: &str) {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::configured(&format!(
        "[[upstreams]]\nname = \"app\"\nurl = \"{}\"\npaths.allow = {paths}\n{ROUTES}",
        upstream.url()
    ))
    .await;
    let vera = signed_in(&gateway).await;
    let mut numbers = Numbers(seed);
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    let mut sent = 0;
    for _ in 0..count {
        let mut target = String::from("/");
        for _ in 0..numbers.below(8) {
            target.push_str(PIECES[numbers.below(PIECES.len())]);
        }
        let watched = upstream.count();
        let request = format!("GET {target} HTTP/1.1\r\nhost: app\r\n{vera}\r\n");
        let _ = stream.write_all(request.as_bytes()).await;
        let answer = read_answer(&mut stream).await;
        let reached = upstream.requests_after(watched);
        if answer.text() == "ok" && answer.status == 200 {
            sent += 1;
            assert_eq!(reached.len(), 1, "{target}");
            let line = reached[0].line();
            assert_eq!(line, format!("GET {}", canonical(&target)), "{target}");
            let path = line["GET ".len()..].split('?').next().unwrap();
            for reading in careless(path) {
                assert!(!is_admin(&reading), "{target} was sent as {path}, which reads as {reading}");
            }
            assert!(!path.starts_with("/_doorward/"), "{target} was sent as {path}");
        } else {
            assert_eq!(reached.len(), 0, "{target}: {}", answer.status);
            let ours = target.contains("doorward");
            assert!((400..500).contains(&answer.status) || ours, "{target}: {}", answer.status);
        }
        if answer.status == 0 || answer.header("connection") == Some("close") {
            stream = TcpStream::connect(gateway.address).await.unwrap();
        }
    }
    assert!(sent > count / 20, "only {sent} of {count} targets were sent at all");
    Watch::begin(&gateway, &upstream).reached("hostile targets", &[], &[]).await;
}

/// P36: random targets, each compared with what was sent.
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_hostile_targets_never_reach_admin() {
    hostile_targets(10_000, 0x9E37_79B9_7F4A_7C15, "[]").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_hostile_targets_never_reach_admin_with_every_spelling_enabled() {
    hostile_targets(
        10_000,
        0xD1B5_4A32_D192_ED03,
        "[\"encoded-slash\", \"semicolon\", \"empty-segment\", \"disguised-separator\"]",
    )
    .await;
}
