//! P and F: methods, hosts and forms of targets.

use super::{VERA, send, signed_in};
use crate::support::gateway::ROUTES;
use crate::support::raw::{statuses, until_closed};
use crate::support::{Gateway, Upstream, Watch};

/// F25: CONNECT, which must leave no connection behind.
/// P30: methods in lower case, unknown, and TRACE.
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

/// F28: hosts that are missing, doubled or malformed.
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
        "host: a..\r\n",
        "host: a..:80\r\n",
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

/// F26: an absolute target that names another server.
/// F27: `*`, nothing, and targets without a slash.
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

/// P32: targets of 9 KiB and of 1 MiB.
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

/// P37: an application that has our path itself.
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

/// P27: hosts in other cases, with dots and ports.
/// P28: the same among a hundred and fifty hosts.
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

/// A host that nobody named, a host whose route is shorter than one for any, and no host at all.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_nobody_named_is_refused_and_a_named_one_is_never_passed_by() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::configured(&format!(
        "public_url = \"https://gate.example\"\nserver.workers = 1\n\
         server.trusted_proxies = [\"127.0.0.1\"]\n\
         [[upstreams]]\nname = \"app\"\nurl = \"{}\"\n\
         [[routes]]\nupstream = \"app\"\nhosts = [\"app.example\"]\nrules = [{{ allow = \"admin\" }}]\n\
         [[routes]]\nupstream = \"app\"\npath = \"/open\"\nrules = [{{ allow = \"anyone\" }}]\n\
         [[routes]]\nupstream = \"app\"\nhosts = [\"free.example\"]\nrules = [{{ allow = \"anyone\" }}]\n\
         [[routes]]\nupstream = \"app\"\npath = \"/shut\"\nrules = [{{ allow = \"admin\" }}]",
        upstream.url()
    ))
    .await;
    let ask = async |version: &str, path: &str, host: &str| {
        let request = format!("GET {path} HTTP/{version}\r\n{host}connection: close\r\n\r\n");
        let text = until_closed(gateway.address, request).await;
        text.split(' ').nth(1).and_then(|status| status.parse::<u16>().ok()).unwrap_or_default()
    };
    for (path, host, status) in [
        ("/open/x", "gate.example", 200),
        ("/open/x", "gate.example:443", 200),
        ("/open/x", "free.example", 200),
        ("/free", "free.example", 200),
        // The route that names the host is shorter, and both count.
        ("/open/x", "app.example", 401),
        ("/shut/x", "free.example", 401),
        ("/shut/x", "gate.example", 401),
        ("/open/x", "evil.example", 404),
        ("/open/x", "127.0.0.1", 404),
        ("/open/x", "gate.example.evil.example", 404),
        ("/", "evil.example", 404),
        ("/_doorward/healthz", "10.0.0.9:8080", 200),
    ] {
        let before = upstream.count();
        let host_line = format!("host: {host}\r\n");
        assert_eq!(ask("1.1", path, &host_line).await, status, "{host}{path}");
        let reached = usize::from(status == 200 && !path.starts_with("/_doorward"));
        assert_eq!(upstream.count() - before, reached, "{host}{path}");
    }
    // Load balancers probe by HTTP/1.0, some without a host.
    let before = upstream.count();
    for (version, path, status) in [
        ("1.0", "/_doorward/healthz", 200),
        ("1.0", "/_doorward/readyz", 200),
        ("1.0", "/_doorward/login", 400),
        ("1.0", "/open/x", 400),
        ("1.0", "/open/_doorward/healthz", 400),
        ("1.1", "/_doorward/healthz", 400),
    ] {
        assert_eq!(ask(version, path, "").await, status, "{version} {path}");
    }
    assert_eq!(upstream.count(), before, "no host, no request");
    let text =
        until_closed(gateway.address, "GET /open/x HTTP/1.0\r\naccept: application/json\r\n\r\n").await;
    assert!(text.contains("send a `Host` header"), "{text}");
}
