//! P: the second address of a request, which stands in a header (RFC 4918, 10.3): decided like the first.

use doorward::model::api_key::KeyScope;
use doorward::model::role::Role;
use http::Method;

use super::{Admin, Malformed, Odd, SPELLINGS, Sent};
use crate::support::gateway::{ROUTES, bearer};
use crate::support::oracle::Claims;
use crate::support::raw::Answer;
use crate::support::{Gateway, Upstream, Watch};

const MIA: Claims<'static> = &[("x-auth-user", "mia"), ("x-auth-subject", "*"), ("x-auth-role", "member")];

async fn send(gateway: &Gateway, line: &str, headers: &[u8]) -> Answer {
    let start = format!("{line} HTTP/1.1\r\nhost: {}\r\n", gateway.address);
    let request = [start.as_bytes(), headers, b"\r\n"].concat();
    crate::support::raw::exchange(gateway.address, request).await
}

/// P38: every spelling of a second address, by itself and behind our own origin.
#[tokio::test(flavor = "multi_thread")]
async fn every_spelling_of_a_destination_is_refused_or_decided_as_what_is_sent() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    let mia = bearer(&gateway.system_key("mia", Role::Member).await);
    let own = format!("http://{}", gateway.address);
    for (spelling, becomes) in SPELLINGS {
        for (method, before) in [("COPY", ""), ("MOVE", own.as_str()), ("PUT", "")] {
            let name = format!("{method} {before}{}", String::from_utf8_lossy(spelling));
            let headers = [mia.as_bytes(), b"destination: ", before.as_bytes(), spelling, b"\r\n"].concat();
            let watch = Watch::begin(&gateway, &upstream);
            let answer = send(&gateway, &format!("{method} /x"), &headers).await;
            match (becomes, answer.status) {
                // White space around a value is none of it (RFC 9110, 5.5).
                (Malformed, 403) if spelling.trim_ascii_end() != *spelling => {}
                (Malformed | Odd, status) => assert!(matches!(status, 400 | 0), "{name}: {status}"),
                (Admin, status) => assert!(matches!(status, 400 | 403), "{name}: {status}"),
                // What has no place in an address (RFC 3986, 3.3) is refused here, where a target may have it.
                (Sent(_), 400) => {}
                (Sent(path), status) => {
                    assert_eq!(status, 200, "{name}: {}", answer.text());
                    let sent = upstream.last().header("destination").map(str::to_owned);
                    assert_eq!(sent, Some(format!("{own}{path}")), "{name}");
                    watch.reached(&name, &[&format!("{method} /x")], MIA).await;
                    continue;
                }
            }
            watch.nothing_reached(&name).await;
        }
    }
}

/// P39: two places, another host, a header that is doubled, dropped or missing; other names.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_does_at_no_place_what_its_caller_may_not_do_there() {
    let upstream = Upstream::spawn().await;
    let routes = r#"
[[upstreams]]
name = "other"
url = "http://127.0.0.1:9"
[[routes]]
upstream = "other"
path = "/other"
rules = [{ allow = "anyone" }]
[[routes]]
upstream = "app"
rules = [
  { name = "public", path = "/public", allow = "anyone" },
  { name = "read-only", path = "/ro", methods = "write", allow = "admin" },
  { name = "secret", paths = ["/secret", "/v2/secret"], methods = "read", allow = "admin" },
  { name = "kept", path = "/kept", methods = ["DELETE"], allow = "admin" },
  { name = "members", allow = "member" },
]
"#;
    let gateway = Gateway::spawn(&upstream.url(), routes).await;
    let mia = bearer(&gateway.system_key("mia", Role::Member).await);
    let scope = KeyScope { paths: vec!["/mine/**".into()], ..KeyScope::default() };
    let own = bearer(&gateway.key_with("own", Role::Member, None, scope).await.0);
    let writer =
        KeyScope { methods: vec![Method::PUT, Method::from_bytes(b"COPY").unwrap()], ..KeyScope::default() };
    let writer = bearer(&gateway.key_with("writer", Role::Member, None, writer).await.0);
    let own_host = format!("{}", gateway.address);
    for (line, credential, headers, expected) in [
        // The second place is written to, and what is in the way there is deleted first.
        ("COPY /a", &mia, "destination: /ro/x\r\noverwrite: F\r\n", 403),
        ("COPY /a", &mia, "destination: /kept/x\r\n", 403),
        ("COPY /a", &mia, "destination: /kept/x\r\noverwrite: T\r\n", 403),
        ("COPY /a", &mia, "destination: /kept/x\r\noverwrite: F\r\noverwrite: T\r\n", 403),
        ("COPY /a", &mia, "destination: /kept/x\r\nconnection: overwrite\r\noverwrite: T\r\n", 403),
        ("COPY /a", &mia, "destination: /secret/x\r\noverwrite: F\r\n", 200),
        ("COPY /a", &mia, "destination: /kept/x\r\noverwrite: F\r\n", 200),
        ("COPY /a", &mia, "destination: /kept/x\r\nconnection: overwrite\r\noverwrite: F\r\n", 200),
        // The first is read, and where it is moved, deleted.
        ("COPY /secret/x", &mia, "destination: /a\r\n", 403),
        ("MOVE /secret/x", &mia, "destination: /a\r\n", 403),
        ("MOVE /kept/x", &mia, "destination: /a\r\n", 403),
        ("COPY /kept/x", &mia, "destination: /a\r\n", 200),
        // Stores of objects: the header says what is read.
        ("PUT /bucket/x", &mia, "x-amz-copy-source: /secret/x\r\n", 403),
        ("PUT /bucket/x", &mia, "X-Amz-Copy-Source: secret/x?versionId=1\r\n", 403),
        ("PUT /bucket/x", &mia, "x-oss-copy-source: /s%65cret/x\r\n", 403),
        ("PUT /bucket/x", &mia, "x-ms-rename-source: /kept/x\r\n", 403),
        ("PUT /bucket/x", &mia, "x-copy-from: /secret/x\r\n", 400),
        ("PUT /bucket/x", &mia, "x-amz-copy-source: /a\r\nx-amz-copy-source: /secret/x\r\n", 400),
        ("PUT /bucket/x", &mia, "x-amz-copy-source: /bucket/y\r\n", 200),
        // Registries: the query says where a layer is read.
        ("POST /v2/mine/blobs/uploads/?mount=sha256:ab&from=secret/x", &mia, "", 403),
        ("POST /v2/mine/blobs/uploads?FROM=secret%2Fx&mount=sha256%3Aab", &mia, "", 403),
        ("POST /v2/mine/blobs/uploads/?mount=sha256:ab;from=secret/x", &mia, "", 403),
        ("POST /v2/mine/blobs/uploads/?mount=sha256:ab&from=open&from=secret/x", &mia, "", 400),
        ("POST /v2/mine/blobs/uploads/?mount=sha256:ab&from=open/../secret/x", &mia, "", 400),
        ("POST /v2/mine/blobs/uploads/?mount=sha256:ab&from=open/x", &mia, "", 200),
        ("POST /v2/mine/blobs/uploads/", &mia, "", 200),
        // A key's own bounds hold for both.
        ("COPY /mine/a", &own, "destination: /a\r\n", 403),
        ("MOVE /mine/a", &own, "destination: /mine/b\r\n", 200),
        ("COPY /a", &writer, "destination: /b\r\noverwrite: F\r\n", 403),
        // Nobody is told to sign in for what nobody may say.
        ("COPY /public/a", &String::new(), "destination: /b\r\n", 401),
        ("COPY /public/a", &String::new(), "destination: /public/b\r\n", 200),
        // Any method: some server might look at it.
        ("PUT /a", &mia, "destination: /ro/x\r\n", 403),
        ("GET /a", &mia, "destination: /ro/x\r\n", 403),
        ("REBIND /a", &mia, "Destination: /ro/x\r\n", 403),
        // Places that are not of this application, and what is no place.
        ("COPY /a", &mia, "destination: /other/x\r\n", 400),
        ("COPY /a", &mia, "destination: http://evil.example/x\r\n", 400),
        ("COPY /a", &mia, "destination: http://127.0.0.1:9/x\r\n", 400),
        ("COPY /a", &mia, "destination: /b\r\ndestination: /ro/x\r\n", 400),
        ("COPY /a", &mia, "destination: /b,/ro/x\r\n", 400),
        ("COPY /a", &mia, "destination: /b?c\r\n", 400),
        ("COPY /a", &mia, "destination: ro/x\r\n", 400),
        ("COPY /a", &mia, "", 400),
        ("MOVE /a", &mia, "new-uri: /ro/x\r\n", 400),
        ("COPY /a", &mia, "connection: destination\r\ndestination: /ro/x\r\n", 403),
        ("COPY /a", &mia, "connection: destination\r\ndestination: /b\r\n", 200),
    ] {
        let name = format!("{line} {headers:?}");
        let watch = Watch::begin(&gateway, &upstream);
        let answer = send(&gateway, line, format!("{credential}{headers}").as_bytes()).await;
        assert_eq!(answer.status, expected, "{name}: {}", answer.text());
        if expected != 200 {
            watch.nothing_reached(&name).await;
            continue;
        }
        let seen = upstream.last();
        assert_eq!(seen.line(), line, "{name}");
        if headers.contains("destination:") {
            let place = seen.header("destination").unwrap_or_default().to_owned();
            assert!(place.starts_with(&format!("http://{own_host}/")), "{name}: {place}");
        }
        for (word, value) in [("overwrite: F", "F"), ("overwrite: T", "T")] {
            if headers.contains(word) {
                assert_eq!(seen.header("overwrite"), Some(value), "{name}");
            }
        }
    }
}

/// P40: what the upstream reads is what was decided, in the words of either side.
#[tokio::test(flavor = "multi_thread")]
async fn a_destination_is_sent_as_the_upstream_calls_it() {
    let upstream = Upstream::spawn().await;
    let app = upstream.url();
    let there = app.strip_prefix("http://").unwrap();
    let rules = "rules = [{ path = \"/dav/ro\", allow = \"admin\" }, { allow = \"anyone\" }]";
    let host = "files.example:8443";
    let condition =
        "<http://files.example:8443/dav/b> (<urn:x>) <http://else.example/dav/b> ([\"</dav/b>\"])";
    for (options, prefixes, destination, first, second) in [
        ("", "", "/dav/b%20c", "/dav/a", format!("http://{host}/dav/b%20c")),
        ("", "strip_prefix = \"/dav\"", "http://files.example:8443/dav/b", "/a", format!("http://{host}/b")),
        ("", "strip_prefix = \"/dav\"", "/dav", "/a", format!("http://{host}/")),
        (
            "",
            "strip_prefix = \"/dav\"\nadd_prefix = \"/base\"",
            "/dav/b",
            "/base/a",
            format!("http://{host}/base/b"),
        ),
        ("preserve_host = false", "", "/dav/b", "/dav/a", format!("http://{there}/dav/b")),
        (
            "addresses = \"client\"",
            "strip_prefix = \"/dav\"",
            "/dav/%62",
            "/a",
            format!("http://{host}/dav/b"),
        ),
    ] {
        let gateway = Gateway::configured(&format!(
            "[[upstreams]]\nname = \"app\"\nurl = \"{app}\"\n{options}\n[[routes]]\nupstream = \"app\"\npath = \"/dav\"\n\
             {prefixes}\n{rules}\n"
        ))
        .await;
        let ask = async |destination: &str| {
            let head = format!(
                "MOVE /dav/a HTTP/1.1\r\nhost: {host}\r\ndestination: {destination}\r\nif: {condition}\r\n\r\n"
            );
            crate::support::raw::exchange(gateway.address, head).await.status
        };
        let name = format!("{options} {prefixes} {destination}");
        assert_eq!(ask(destination).await, 200, "{name}");
        let seen = upstream.last();
        assert_eq!(seen.line(), format!("MOVE {first}"), "{name}");
        assert_eq!(seen.header("destination"), Some(second.as_str()), "{name}");
        let renamed = seen.header("if").unwrap().to_owned();
        let origin = &second[..second.find("/b").or(second.rfind('/')).unwrap()];
        let expected = if options.starts_with("addresses") {
            condition.to_owned()
        } else {
            let base = if prefixes.is_empty() { "/dav" } else { "" };
            let base = if prefixes.contains("add") { "/base" } else { base };
            let origin = origin.trim_end_matches("/dav").trim_end_matches("/base");
            condition.replacen("http://files.example:8443/dav/b", &format!("{origin}{base}/b"), 1)
        };
        assert_eq!(renamed, expected, "{name}");
        let before = upstream.count();
        for place in [
            "/dav/ro/x",
            "/dav/RO/x",
            "/other",
            "http://files.example/dav/b",
            "https://files.example:8443/dav/b",
        ] {
            let status = ask(place).await;
            assert!(matches!(status, 400 | 401), "{name}: {place}: {status}");
        }
        assert_eq!(upstream.count(), before, "{name}");
    }
}

/// P41: where rules only log, everything goes on as it came, and it is written down what would be refused.
#[tokio::test(flavor = "multi_thread")]
async fn where_refusals_pass_a_destination_goes_on_as_it_came() {
    let upstream = Upstream::spawn().await;
    let gateway =
        Gateway::spawn(&upstream.url(), &ROUTES.replace("path = \"/\"", "path = \"/\"\nenforce = \"log\""))
            .await;
    let mia = bearer(&gateway.system_key("mia", Role::Member).await);
    for place in ["http://evil.example/x", "x y", "/a/../b"] {
        let answer = send(&gateway, "COPY /x", format!("{mia}destination: {place}\r\n").as_bytes()).await;
        assert_eq!(answer.status, 200, "{place}");
        assert_eq!(upstream.last().header("destination"), Some(place), "{place}");
    }
}

/// Addresses that cannot be read in one way only, or lead elsewhere, each with the start of its request.
const UNREAD: [(&str, &str); 19] = [
    ("COPY /mine", "destination: /strict/x?y=1\r\n"),
    ("COPY /mine", "destination: /strict/x#y\r\n"),
    ("MOVE /mine", "destination: //localhost/strict/x\r\n"),
    ("COPY /mine", "destination: https://localhost/strict/x\r\n"),
    ("COPY /mine", "destination: http://other.example/strict/x\r\n"),
    ("COPY /mine", "destination: http://u@localhost/strict/x\r\n"),
    ("COPY /mine", "destination: /a/../strict/x\r\n"),
    ("COPY /mine", "destination: /%2e/strict/x\r\n"),
    ("COPY /mine", "destination: strict/x\r\n"),
    ("COPY /mine", "destination: /mine2\r\ndestination: /strict/x\r\n"),
    ("COPY /mine", "destination: /mine2, /strict/x\r\n"),
    ("COPY /mine", "destination: /elsewhere/x\r\n"),
    ("COPY /mine", ""),
    ("PUT /mine", "x-amz-copy-source: /mine2\r\nx-amz-copy-source: /strict/x\r\n"),
    ("PUT /mine", "x-amz-copy-source: http://other.example/strict/x\r\n"),
    ("PUT /mine", "x-ms-rename-source: /a/../strict/x\r\n"),
    ("PUT /mine", "x-copy-from: /strict/x\r\n"),
    ("COPY /mine", "destination: /mine2\r\ndestination-account: strict\r\n"),
    ("POST /v2/mine/blobs/uploads/?mount=sha256:ab&from=a/../strict/x", ""),
];

/// P42: what only logs at its own place is no way to a place where refusals are kept.
#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_cannot_be_read_is_kept_as_strictly_as_the_strictest_place_it_may_name() {
    let upstream = Upstream::spawn().await;
    let apps = format!(
        "[[upstreams]]\nname = \"app\"\nurl = \"{url}\"\n[[upstreams]]\nname = \"same\"\nurl = [\"{url}\", \
         \"http://127.0.0.1:9\"]\n[[upstreams]]\nname = \"elsewhere\"\nurl = \"http://127.0.0.1:10\"\n",
        url = upstream.url()
    );
    let open = "[[routes]]\nupstream = \"app\"\nenforce = \"log\"\n";
    let elsewhere = "[[routes]]\nupstream = \"elsewhere\"\npath = \"/elsewhere\"\nenforce = \"on\"\n";
    let strict = |upstream: &str, enforce: &str, more: &str| {
        format!(
            "[[routes]]\nname = \"strict\"\nupstream = \"{upstream}\"\npath = \"/strict\"\nenforce = \"{enforce}\"\n{more}"
        )
    };
    let rule =
        "rules = [{ path = \"/strict\", allow = \"admin\", enforce = \"on\" }, { allow = \"viewer\" }]\n";
    for (routes, status) in [
        (format!("{open}{}", strict("app", "on", "")), 400),
        (format!("{open}{}", strict("same", "on", "")), 400),
        (format!("{open}{}", strict("app", "on", "hosts = [\"admin.example\"]\n")), 400),
        (format!("{open}{rule}"), 400),
        // No refusal is kept at any place of the application.
        (format!("{open}{}", strict("app", "log", "")), 200),
    ] {
        let gateway = Gateway::configured(&format!("{apps}{routes}{elsewhere}")).await;
        for (line, headers) in UNREAD {
            let name = format!("{routes} {line} {headers:?}");
            let before = upstream.count();
            let answer = send(&gateway, line, headers.as_bytes()).await;
            assert_eq!(answer.status, status, "{name}: {}", answer.text());
            assert_eq!(upstream.count() - before, usize::from(status == 200), "{name}");
        }
        // What can be read is decided by its own places.
        for (place, kept) in [("/mine2", false), ("/strict/x", status == 400)] {
            if routes.contains("admin.example") {
                continue;
            }
            let answer = send(&gateway, "COPY /mine", format!("destination: {place}\r\n").as_bytes()).await;
            assert_eq!(answer.status == 200, !kept, "{routes} {place}: {}", answer.text());
        }
    }
    // The same where another proxy asks: nobody here knows which routes lead to one application.
    for (enforce, status) in [("on", 400), ("log", 200)] {
        let routes = format!(
            "[server]\ntrusted_proxies = [\"127.0.0.1\"]\n[forward_auth]\nflavours = [\"traefik\"]\n\
             [[routes]]\nname = \"open\"\nenforce = \"log\"\n[[routes]]\nname = \"strict\"\npath = \"/strict\"\n\
             enforce = \"{enforce}\"\n"
        );
        let gateway = Gateway::configured(&routes).await;
        for (line, headers) in UNREAD.iter().filter(|(_, headers)| !headers.contains("/elsewhere")) {
            let (method, path) = line.split_once(' ').unwrap();
            let question = format!(
                "GET /_doorward/auth/traefik HTTP/1.1\r\nhost: {}\r\nx-forwarded-method: {method}\r\n\
                 x-forwarded-proto: http\r\nx-forwarded-host: localhost\r\nx-forwarded-uri: {path}\r\n{headers}\r\n",
                gateway.address
            );
            let answer = crate::support::raw::exchange(gateway.address, question).await;
            assert_eq!(answer.status, status, "{enforce} {line} {headers:?}: {}", answer.text());
        }
    }
}
