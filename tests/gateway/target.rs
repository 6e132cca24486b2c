//! What is decided is what is sent: paths, methods and hosts that two readers read differently.

use doorward::model::role::Role;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::credentials::ROUTES;
use crate::support::oracle::Claims;
use crate::support::raw::{Answer, read_answer, read_answer_to, statuses, until_closed};
use crate::support::{Gateway, Upstream, Watch, within};

const VERA: Claims<'static> = &[
    ("x-auth-user", "vera"),
    ("x-auth-subject", "*"),
    ("x-auth-email", "vera@example.org"),
    ("x-auth-role", "viewer"),
];

/// What becomes of a target, for somebody who may read everything but `/admin`.
#[derive(Clone, Copy, Debug)]
pub enum Becomes {
    /// Refused for everybody, and the connection is closed.
    Malformed,
    /// Refused as a spelling that this upstream does not opt in to.
    Odd,
    /// Decided as `/admin`.
    Admin,
    /// Decided and sent as this.
    Sent(&'static str),
}
use Becomes::{Admin, Malformed, Odd, Sent};

async fn send(gateway: &Gateway, start: &[u8], headers: &str) -> Answer {
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    let mut request = start.to_vec();
    request.extend_from_slice(format!(" HTTP/1.1\r\nhost: {}\r\n{headers}\r\n", gateway.address).as_bytes());
    let _ = stream.write_all(&request).await;
    let to_head = start.starts_with(b"HEAD ");
    within("an answer", read_answer_to(&mut stream, to_head)).await
}

/// Asks for a path below `prefix`, which is `/` without its slash or a route that strips it.
pub async fn check(
    gateway: &Gateway,
    upstream: &Upstream,
    vera: &str,
    (prefix, path): (&str, &[u8]),
    becomes: Becomes,
) {
    let name = format!("{prefix}{}", String::from_utf8_lossy(path));
    let start = [b"GET ", prefix.as_bytes(), path].concat();
    let watch = Watch::begin(gateway, upstream);
    let anonymous = send(gateway, &start, "").await;
    match becomes {
        Malformed => assert!(matches!(anonymous.status, 400 | 0), "{name}: {}", anonymous.status),
        Odd => assert_eq!(anonymous.status, 400, "{name}"),
        Admin | Sent(_) => assert_eq!(anonymous.status, 401, "{name}: {}", anonymous.head),
    }
    watch.nothing_reached(&format!("{name} as nobody")).await;

    let watch = Watch::begin(gateway, upstream);
    let known = send(gateway, &start, vera).await;
    match becomes {
        Malformed | Odd => {
            assert!(matches!(known.status, 400 | 0), "{name}: {}", known.status);
            watch.nothing_reached(&name).await;
        }
        Admin => {
            assert_eq!(known.status, 403, "{name}: {}", known.head);
            watch.nothing_reached(&name).await;
        }
        Sent(path) => {
            assert_eq!(known.status, 200, "{name}: {}\n{}", known.head, known.text());
            let mut told = VERA.to_vec();
            if !prefix.is_empty() {
                told.push(("x-forwarded-prefix", prefix));
            }
            watch.reached(&name, &[&format!("GET {path}")], &told).await;
        }
    }
}

pub async fn signed_in(gateway: &Gateway) -> String {
    gateway.user("vera", Role::Viewer).await;
    format!("cookie: {}\r\n", gateway.sign_in("vera").await)
}

/// Paths, and what becomes of them.
pub const SPELLINGS: &[(&[u8], Becomes)] = &[
    (b"/public/../admin/x", Malformed),
    (b"/public/%2e%2e/admin", Malformed),
    (b"/public/.%2e/admin", Malformed),
    (b"/public/%2E%2E/admin", Malformed),
    (b"/public/%252e%252e/admin", Malformed),
    (b"/public/..%2fadmin", Malformed),
    (b"/public/..%252fadmin", Malformed),
    (b"/public/..;/admin", Malformed),
    (b"/public/..;x=y/admin", Malformed),
    (b"/public/%2e%2e;/admin", Malformed),
    (b"/public/..%3b/admin", Malformed),
    (b"/public/....//admin", Odd),
    (b"//admin", Malformed),
    (b"///admin", Malformed),
    (b"//admin@evil/x", Malformed),
    (b"//public/admin", Malformed),
    (b"/admin%2fusers", Odd),
    (b"/%2fadmin", Odd),
    (b"/public%2f..%2fadmin", Malformed),
    (b"/admin//users", Odd),
    (b"/public//x", Odd),
    (b"/./admin", Malformed),
    (b"/../admin", Malformed),
    (b"/%2e/admin", Malformed),
    (b"/admin/.", Malformed),
    (b"/admin/..", Malformed),
    (b"/%61dmin", Admin),
    (b"/%61%64%6D%69%6e", Admin),
    (b"/%2561dmin", Admin),
    (b"/%25%36%31dmin", Admin),
    (b"/%252561dmin", Admin),
    (b"/%25252561dmin", Admin),
    (b"/%2525252561dmin", Malformed),
    (b"/public/..\\admin", Malformed),
    (b"/public\\..\\admin", Malformed),
    (b"\\admin", Malformed),
    (b"/public/..%5cadmin", Malformed),
    (b"/x%5Cy", Malformed),
    (b"/x%255cy", Malformed),
    (b"/admin%00", Malformed),
    (b"/admin%00.css", Malformed),
    (b"/admin%2500.css", Malformed),
    // A fragment is no part of a target (RFC 9112, 3.2): nothing of it is decided, nothing is sent.
    (b"/admin#/public/", Admin),
    (b"/data#/../admin", Sent("/data")),
    (b"/data?x#/admin", Sent("/data?x")),
    (b"/admin%23/public/", Admin),
    (b"/data%23/public/", Sent("/data%23/public/")),
    (b"/admin?x=/public/", Admin),
    (b"/admin?/../public/", Admin),
    (b"/admin%3f/public/", Admin),
    (b"/%3f/admin", Sent("/%3F/admin")),
    (b"/public/..%3fx", Malformed),
    (b"/data?x=/../admin", Sent("/data?x=/../admin")),
    (b"/data?%61=%zz&b=%2e%2E", Sent("/data?%61=%zz&b=%2e%2E")),
    (b"/Admin", Admin),
    (b"/ADMIN/users", Admin),
    (b"/adm%C4%B1n", Admin),
    (b"/%41dmin", Admin),
    (b"/admin.", Admin),
    (b"/admin./users", Admin),
    (b"/admin...", Admin),
    (b"/admin/", Admin),
    (b"/admin%20", Admin),
    (b"/admin%20/users", Admin),
    (b"/admin;", Odd),
    (b"/admin;v=1/users", Odd),
    (b"/admin%3bv=1", Admin),
    (b"/admin\t", Malformed),
    (b"/admin%09", Malformed),
    (b"/admin%0d%0aX: y", Malformed),
    (b"/admin%0a", Malformed),
    (b"/%", Malformed),
    (b"/%2", Malformed),
    (b"/%zz", Malformed),
    (b"/%u0061dmin", Malformed),
    (b"/%c0%af", Malformed),
    (b"/%c0%ae%c0%ae/admin", Malformed),
    (b"/%e0%80%ae/x", Malformed),
    (b"/%ff", Malformed),
    (b"/x\xff", Malformed),
    (b"/adm\xc4\xb1n", Malformed),
    (b"/adminx", Sent("/adminx")),
    (b"/administer", Sent("/administer")),
    (b"/x/admin", Sent("/x/admin")),
    (b"/public./x", Sent("/public./x")),
    (b"/Public/x", Sent("/Public/x")),
    (b"/a%2Db%7e/%c3%bc", Sent("/a-b~/%C3%BC")),
    (b"/caf%C3%A9/%20x", Sent("/caf%C3%A9/%20x")),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_spelling_of_a_path_is_refused_or_decided_as_what_is_sent() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    let vera = signed_in(&gateway).await;
    for (path, becomes) in SPELLINGS {
        check(&gateway, &upstream, &vera, ("", path), *becomes).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opted_in_spelling_is_decided_in_both_readings() {
    let all = "[\"encoded-slash\", \"semicolon\", \"empty-segment\"]";
    for (allow, passes) in [
        ("[\"encoded-slash\"]", [true, false, false]),
        ("[\"semicolon\"]", [false, true, false]),
        ("[\"empty-segment\"]", [false, false, true]),
        (all, [true, true, true]),
    ] {
        let upstream = Upstream::spawn().await;
        let gateway = Gateway::configured(&format!(
            "[[upstreams]]\nname = \"app\"\nurl = \"{}\"\npaths.allow = {allow}\n{ROUTES}",
            upstream.url()
        ))
        .await;
        let vera = signed_in(&gateway).await;
        let cases: [[(&[u8], Becomes); 5]; 3] = [
            [
                (b"/a%2fb", Sent("/a%2Fb")),
                (b"/a%252Fb", Sent("/a%252Fb")),
                (b"/admin%2fusers", Admin),
                (b"/%2fadmin", Admin),
                (b"/%252fAdmin%252f", Admin),
            ],
            [
                (b"/a;v=1/b", Sent("/a;v=1/b")),
                (b"/;/x", Sent("/;/x")),
                (b"/admin;v=1/users", Admin),
                (b"/ADMIN;", Admin),
                (b"/;/admin", Admin),
            ],
            [
                (b"/a//b", Sent("/a//b")),
                (b"/a///b//", Sent("/a///b//")),
                (b"/Admin//", Admin),
                (b"/admin///x", Admin),
                (b"/admin//users", Admin),
            ],
        ];
        for (group, passes) in cases.iter().zip(passes) {
            for (path, becomes) in group {
                check(&gateway, &upstream, &vera, ("", path), if passes { *becomes } else { Odd }).await;
            }
        }
        for path in [
            &b"/public/..;/admin"[..],
            b"/public/..%2fadmin",
            b"/public%2f..%2fadmin",
            b"//../admin",
            // A server that resolves it as a reference reads a host and `/admin`.
            b"//public/admin",
            b"//admin",
            b"/a/;/../admin",
        ] {
            check(&gateway, &upstream, &vera, ("", path), Malformed).await;
        }
    }
}

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

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_hostile_targets_never_reach_admin() {
    hostile_targets(10_000, 0x9E37_79B9_7F4A_7C15, "[]").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_hostile_targets_never_reach_admin_with_every_spelling_enabled() {
    hostile_targets(10_000, 0xD1B5_4A32_D192_ED03, "[\"encoded-slash\", \"semicolon\", \"empty-segment\"]")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn methods_are_reads_writes_or_never_proxied() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    let vera = signed_in(&gateway).await;
    for (method, status) in [
        ("GET", 200),
        ("HEAD", 200),
        ("OPTIONS", 200),
        ("POST", 403),
        ("PUT", 403),
        ("PATCH", 403),
        ("DELETE", 403),
        ("JEFF", 403),
        ("PROPFIND", 403),
        ("M-SEARCH", 403),
        ("TRACE", 405),
        ("TRACK", 405),
        ("get", 405),
        ("delete", 405),
        ("GeT", 405),
        ("GET$", 405),
    ] {
        let watch = Watch::begin(&gateway, &upstream);
        upstream.answers("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        let answer = send(&gateway, format!("{method} /data").as_bytes(), &vera).await;
        assert_eq!(answer.status, status, "{method}");
        if status == 200 {
            watch.reached(method, &[&format!("{method} /data")], VERA).await;
        } else {
            watch.nothing_reached(method).await;
        }
        let watch = Watch::begin(&gateway, &upstream);
        let admin = send(&gateway, format!("{method} /admin").as_bytes(), &vera).await;
        assert_eq!(admin.status, if status == 405 { 405 } else { 403 }, "{method}");
        watch.nothing_reached(method).await;
    }
    for request in [
        "CONNECT app:443 HTTP/1.1\r\nhost: app:443\r\n",
        "CONNECT /data HTTP/1.1\r\nhost: app\r\n",
        "CONNECT http://app/data HTTP/1.1\r\nhost: app\r\n",
    ] {
        let watch = Watch::begin(&gateway, &upstream);
        let text = until_closed(gateway.address, format!("{request}{vera}connection: close\r\n\r\n")).await;
        assert!(matches!(statuses(&text)[..], [400 | 405]), "{request}: {text}");
        watch.nothing_reached(request).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_one_well_formed_host_is_accepted() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    for hosts in [
        "",
        "host: a\r\nhost: a\r\n",
        "host: a\r\nHOST: b\r\n",
        "host:\r\n",
        "host: a,b\r\n",
        "host: a@b\r\n",
        "host: a/b\r\n",
        "host: a?b\r\n",
        "host: a#b\r\n",
        "host: a\\b\r\n",
        "host: a:99999\r\n",
        "host: a:\r\n",
        "host: a:80:80\r\n",
        "host: a:-1\r\n",
        "host: a b\r\n",
        "host: a..b\r\n",
        "host: .a\r\n",
        "host: [::1\r\n",
        "host: [::1]x\r\n",
        "host: [::g]\r\n",
        "host: \u{fc}\r\n",
        "host: %61\r\n",
    ] {
        let watch = Watch::begin(&gateway, &upstream);
        let request = format!("GET /public/x HTTP/1.1\r\n{hosts}\r\n");
        let text = until_closed(gateway.address, &request).await;
        assert_eq!(statuses(&text), [400], "{hosts}: {text}");
        watch.nothing_reached(hosts).await;
    }
    for host in ["a", "A.Example", "a.", "a:80", "[::1]", "[::1]:8080", "127.0.0.1", "a_b"] {
        let watch = Watch::begin(&gateway, &upstream);
        let request = format!("GET /public/x HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        assert_eq!(statuses(&until_closed(gateway.address, request).await), [200], "{host}");
        assert_eq!(upstream.last().header("host"), Some(host));
        watch.reached(host, &["GET /public/x"], &[]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_absolute_target_names_no_other_server_and_other_forms_are_refused() {
    let upstream = Upstream::spawn().await;
    let elsewhere = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    for (target, status, sent) in [
        (format!("http://{}/public/x", elsewhere.address), 400, None),
        ("http://app/public/x?y".to_owned(), 200, Some("GET /public/x?y")),
        ("http://APP/public/x".to_owned(), 200, Some("GET /public/x")),
        ("http://app:80/public/x".to_owned(), 400, None),
        ("http://user@app/public/x".to_owned(), 400, None),
        ("http://app@evil/public/x".to_owned(), 400, None),
        ("http://app/public/../admin".to_owned(), 400, None),
        ("http://app/admin".to_owned(), 401, None),
        ("http://app/data".to_owned(), 401, None),
        ("*".to_owned(), 400, None),
        ("?x".to_owned(), 400, None),
        ("app".to_owned(), 400, None),
        ("app:80".to_owned(), 400, None),
        ("public/x".to_owned(), 400, None),
        ("javascript:alert(1)".to_owned(), 400, None),
        (String::new(), 400, None),
    ] {
        for method in ["GET", "OPTIONS"] {
            let watch = Watch::begin(&gateway, &upstream);
            let request = format!("{method} {target} HTTP/1.1\r\nhost: app\r\nconnection: close\r\n\r\n");
            let text = until_closed(gateway.address, request).await;
            let name = format!("{method} {target}");
            assert_eq!(statuses(&text), [status], "{name}: {text}");
            let sent = sent.map(|line| line.replace("GET", method));
            watch.reached(&name, sent.as_deref().as_slice(), &[]).await;
        }
    }
    assert_eq!(elsewhere.begun(), 0, "nobody dials what a target names");
}

#[tokio::test(flavor = "multi_thread")]
async fn long_targets_are_refused() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    for (length, expected) in [(8_000, 200), (9 * 1024, 414), (100 * 1024, 414), (1024 * 1024, 414)] {
        for query in [false, true] {
            let watch = Watch::begin(&gateway, &upstream);
            let mark = if query { "?" } else { "" };
            let target = format!("/public/{mark}{}", "a".repeat(length));
            let request = format!("GET {target} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
            let text = until_closed(gateway.address, request).await;
            if expected == 200 {
                assert_eq!(statuses(&text), [200], "{length}");
                watch.reached("a long target", &[&format!("GET {target}")], &[]).await;
            } else {
                // What is still on its way when the connection is closed may take the answer with it.
                let far_too_long = length > 32 * 1024;
                assert!(
                    statuses(&text) == [expected]
                        || far_too_long && matches!(statuses(&text)[..], [] | [431]),
                    "{length}: {text}"
                );
                watch.nothing_reached("a long target").await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reserved_prefix_is_always_ours_and_nothing_else_is() {
    let upstream = Upstream::spawn().await;
    let routes = "[[routes]]\nupstream = \"app\"\npath = \"/\"\nrules = [{ allow = \"anyone\" }]";
    let gateway = Gateway::spawn(&upstream.url(), routes).await;
    for path in [
        "/_doorward",
        "/_doorward/",
        "/_doorward/login",
        "/_doorward/healthz",
        "/_doorward/readyz",
        "/_doorward/nothing/here",
        "/%5Fdoorward/login",
        "/_doorward%2flogin",
        "/_doorward;x/login",
        "//_doorward/login",
        "/_doorward//login",
        "/_doorward/../x",
        "/x/../_doorward/login",
    ] {
        for method in ["GET", "POST", "PUT", "OPTIONS", "JEFF"] {
            let watch = Watch::begin(&gateway, &upstream);
            let answer = send(&gateway, format!("{method} {path}").as_bytes(), "content-length: 0\r\n").await;
            assert!(answer.status >= 200 && answer.text() != "ok", "{method} {path}: {}", answer.head);
            watch.nothing_reached(&format!("{method} {path}")).await;
        }
    }
    for path in ["/_doorwardx", "/_doorward.", "/x/_doorward/login", "/doorward"] {
        let watch = Watch::begin(&gateway, &upstream);
        assert_eq!(send(&gateway, format!("GET {path}").as_bytes(), "").await.status, 200, "{path}");
        watch.reached(path, &[&format!("GET {path}")], &[]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_begins_and_ends_at_a_segment_and_its_rules_hold_in_every_reading() {
    let open = Upstream::spawn().await;
    let guarded = Upstream::spawn().await;
    let gateway = Gateway::configured(&format!(
        "[[upstreams]]\nname = \"open\"\nurl = \"{}\"\n[[upstreams]]\nname = \"guarded\"\nurl = \"{}\"\n\
         [[routes]]\nupstream = \"open\"\npath = \"/\"\nrules = [{{ allow = \"anyone\" }}]\n\
         [[routes]]\nupstream = \"guarded\"\npath = \"/app\"\nrules = [{{ allow = \"admin\" }}]\n",
        open.url(),
        guarded.url()
    ))
    .await;
    for path in [
        "/app",
        "/app/",
        "/app/x",
        "/App/x",
        "/APP",
        "/%61pp/x",
        "/%2561pp/x",
        "/app./x",
        "/app%20/x",
        "/app?x",
    ] {
        let watch = Watch::begin(&gateway, &open);
        assert_eq!(send(&gateway, format!("GET {path}").as_bytes(), "").await.status, 401, "{path}");
        watch.nothing_reached(path).await;
    }
    for path in ["/app../x", "/appx", "/app-x", "/ap/p", "/x/app"] {
        let answer = send(&gateway, format!("GET {path}").as_bytes(), "").await;
        // `/app..` reads as `/app` where trailing dots are nothing.
        let expected = if path == "/app../x" { 401 } else { 200 };
        assert_eq!(answer.status, expected, "{path}");
    }
    for path in ["/app..;/x", "/app/../x", "/x/../app"] {
        assert_eq!(send(&gateway, format!("GET {path}").as_bytes(), "").await.status, 400, "{path}");
    }
    assert_eq!(guarded.begun(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_are_told_apart_without_case_port_and_dot_however_many_there_are() {
    let upstream = Upstream::spawn().await;
    let hosts: Vec<String> = (0..150).map(|at| format!("\"App{at}.Example\"")).collect();
    let gateway = Gateway::spawn(
        &upstream.url(),
        &format!(
            "[[routes]]\nupstream = \"app\"\npath = \"/\"\nhost = [{}]\nrules = [{{ allow = \"admin\" }}]\n\
             [[routes]]\nupstream = \"app\"\npath = \"/\"\nrules = [{{ allow = \"anyone\" }}]\n",
            hosts.join(", ")
        ),
    )
    .await;
    for (host, status) in [
        ("app7.example", 401),
        ("APP149.EXAMPLE", 401),
        ("app120.example:8080", 401),
        ("app120.example.", 401),
        ("app120.example.:80", 401),
        ("app150.example", 200),
        ("xapp7.example", 200),
        ("app7.example.org", 200),
    ] {
        let watch = Watch::begin(&gateway, &upstream);
        let request = format!("GET /x HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        assert_eq!(statuses(&until_closed(gateway.address, request).await), [status], "{host}");
        let sent: &[&str] = if status == 200 { &["GET /x"] } else { &[] };
        // The honest request that follows comes to an address, which is none of the guarded hosts.
        watch.reached(host, sent, &[]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_rule_and_no_route_speaks_the_answer_is_no() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(
        &upstream.url(),
        "[[routes]]\nupstream = \"app\"\npath = \"/public\"\nrules = [{ methods = [\"GET\"], allow = \"anyone\" }]\n",
    )
    .await;
    let vera = signed_in(&gateway).await;
    for (line, status) in [
        ("GET /other", 404),
        ("GET /", 404),
        ("POST /public/x", 403),
        ("PUT /public", 403),
        ("GET /Public/x", 404),
    ] {
        let watch = Watch::begin(&gateway, &upstream);
        let origin = format!("{vera}origin: http://{}\r\n", gateway.address);
        assert_eq!(send(&gateway, line.as_bytes(), &origin).await.status, status, "{line}");
        watch.nothing_reached(line).await;
    }
}
