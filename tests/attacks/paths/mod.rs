//! P: what is decided is what is sent, for paths that two readers read differently.

mod hostile;
mod hosts;
mod prefix;
mod second;

use doorward::model::role::Role;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::gateway::ROUTES;
use crate::support::oracle::Claims;
use crate::support::raw::{Answer, read_answer_to};
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
    // Separators, dots and escapes in compatibility forms, and what best-fit conversions make of lookalikes.
    (b"/%EF%BC%8Fadmin", Malformed),
    (b"/public%EF%BC%8F..%EF%BC%8Fadmin", Malformed),
    (b"/public/%EF%BC%8E%EF%BC%8E/admin", Malformed),
    (b"/public/%E2%80%A4%E2%80%A4/admin", Malformed),
    (b"/public/%E2%80%A5/admin", Malformed),
    (b"/public/.%EF%B9%92/admin", Malformed),
    (b"/public/.%E2%80%8B./admin", Malformed),
    (b"/public/%25E2%2580%25A5/admin", Malformed),
    (b"/public/%EF%BC%85%32e%EF%BC%85%32e/admin", Malformed),
    (b"/public%EF%BC%BC..%EF%BC%BCadmin", Malformed),
    (b"/public/x%C2%85", Malformed),
    (b"/admin%EF%BC%8Fusers", Odd),
    (b"/admin%25EF%25BC%258Fusers", Odd),
    (b"/admin%E2%81%84users", Odd),
    (b"/admin%E2%88%95users", Odd),
    (b"/admin%EF%BC%BCusers", Odd),
    (b"/admin%EF%B9%A8users", Odd),
    (b"/public/x%EF%BC%85%32Fy", Odd),
    (b"/admin%EF%BC%9Bx", Odd),
    (b"/admin%CD%BEx", Odd),
    (b"/admin%EF%BC%9Fx", Odd),
    (b"/admin%EF%BC%83x", Odd),
    (b"/admin%EF%BC%8E", Odd),
    (b"/public/%E2%80%A6", Odd),
    (b"/%EF%BD%81dmin", Admin),
    (b"/%25EF%25BD%2581dmin", Admin),
    (b"/ad%E2%80%8Bmin", Admin),
    (b"/ad%CC%81min", Admin),
    (b"/%F0%9D%90%9Admin", Admin),
    (b"/admin%E3%80%80", Admin),
    (b"/data%C2%BD", Sent("/data%C2%BD")),
    (b"/%E5%A0%B1%E5%91%8A", Sent("/%E5%A0%B1%E5%91%8A")),
];

/// P01: dot segments.
/// P02: escaped dots.
/// P03: dots before an escaped slash.
/// P04: dots before a parameter.
/// P06: a path that begins with two slashes.
/// P08: an escaped slash inside the guarded path.
/// P09: an empty segment inside it.
/// P10: a leading dot segment.
/// P11: an escaped letter.
/// P12: a letter escaped twice.
/// P14: backslashes.
/// P15: an escaped NUL.
/// P16: fragments, and their escaped sign.
/// P17: a path in the query.
/// P19: other cases, and letters that fold to others.
/// P20: trailing dots, slashes and blanks.
/// P22: control bytes.
/// P23: broken escapes.
/// P24: bytes that are not UTF-8.
#[tokio::test(flavor = "multi_thread")]
async fn every_spelling_of_a_path_is_refused_or_decided_as_what_is_sent() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    let vera = signed_in(&gateway).await;
    for (path, becomes) in SPELLINGS {
        check(&gateway, &upstream, &vera, ("", path), *becomes).await;
    }
}

/// P05: the same where an upstream wants odd spellings.
#[tokio::test(flavor = "multi_thread")]
async fn an_opted_in_spelling_is_decided_in_both_readings() {
    let all = "[\"encoded-slash\", \"semicolon\", \"empty-segment\", \"disguised-separator\"]";
    for (allow, passes) in [
        ("[\"encoded-slash\"]", [true, false, false, false]),
        ("[\"semicolon\"]", [false, true, false, false]),
        ("[\"empty-segment\"]", [false, false, true, false]),
        ("[\"disguised-separator\"]", [false, false, false, true]),
        (all, [true, true, true, true]),
    ] {
        let upstream = Upstream::spawn().await;
        let gateway = Gateway::configured(&format!(
            "[[upstreams]]\nname = \"app\"\nurl = \"{}\"\npaths.allow = {allow}\n{ROUTES}",
            upstream.url()
        ))
        .await;
        let vera = signed_in(&gateway).await;
        let cases: [[(&[u8], Becomes); 5]; 4] = [
            [
                (b"/a%2fb", Sent("/a%2Fb")),
                (b"/a%252Fb", Sent("/a%252Fb")),
                (b"/admin%2fusers", Admin),
                // What is left of a first segment is nothing: a host to those who read `//` as one.
                (b"/%2fadmin", Malformed),
                (b"/%252fAdmin%252f", Malformed),
            ],
            [
                (b"/a;v=1/b", Sent("/a;v=1/b")),
                (b"/;/x", Malformed),
                (b"/admin;v=1/users", Admin),
                (b"/ADMIN;", Admin),
                (b"/;/admin", Malformed),
            ],
            [
                (b"/a//b", Sent("/a//b")),
                (b"/a///b//", Sent("/a///b//")),
                (b"/Admin//", Admin),
                (b"/admin///x", Admin),
                (b"/admin//users", Admin),
            ],
            [
                (b"/100%EF%BC%85%E2%80%A6", Sent("/100%EF%BC%85%E2%80%A6")),
                (b"/a%EF%BC%8Fb", Sent("/a%EF%BC%8Fb")),
                (b"/admin%EF%BC%8Fusers", Admin),
                (b"/Admin%EF%BC%BCusers", Admin),
                (b"/admin%25EF%25BC%259F", Admin),
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

/// P25: a route's path without its slash.
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

/// P34: no route, no rule.
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
