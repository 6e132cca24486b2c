//! Every spelling of somewhere else that we could think of, and then some at random.

use proptest::prelude::*;

use super::*;

const HOSTS: [&str; 4] = ["app.example", "other.example.org", "localhost", "::1"];

fn destinations(public_url: &str) -> Destinations {
    Destinations::new(PublicUrl::parse(public_url).unwrap(), HOSTS.map(str::to_owned))
}

fn parse(text: &str) -> String {
    ReturnTarget::parse(text, &destinations("https://gate.example/base")).text
}

#[test]
fn places_of_ours_are_kept_byte_for_byte() {
    for text in [
        "/",
        "/grafana/d/abc?orgId=1&from=now-6h",
        "/a%20b/%2Fc",
        "/q?next=https://evil.example",
        "/a:b@c",
        "/base/_doorward/password?rd=/x",
        "/base/_doorward/",
        "/a#part",
        "/a?re=\\d+&x=//y",
    ] {
        assert_eq!(parse(text), text);
    }
}

#[test]
fn everything_else_leads_home() {
    let long = format!("/{}", "a".repeat(67 * 1024));
    for text in [
        "",
        "x",
        "?x",
        "//evil.example",
        "/\\evil.example",
        "\\/evil.example",
        "\\\\evil.example",
        "/\n/evil.example",
        "/%0a/evil.example\r\n",
        "/\t/evil.example",
        "///evil.example",
        "https://evil.example",
        "https:/evil.example",
        "https:evil.example",
        "https://gate.example@evil.example",
        "https://gate.example.evil.example",
        "https://evil.example#gate.example",
        "https://evil.example/#gate.example",
        "https://evil.example?gate.example/",
        "https://app.example",
        "https://app.example?/",
        "https://app.example#/",
        "https://app.example.",
        "https://app.example./",
        "https://app.example.evil.example/",
        "https://evilapp.example/",
        "https://x.app.example/",
        "https://app.example@evil.example/",
        "https://user@app.example/",
        "https://user:pw@app.example/",
        "https://@app.example/",
        "https://app.example:/",
        "https://app.example:8443/",
        "https://app.example:80/",
        "https://app.example:80@evil.example:443/",
        "https://app.example\\@evil.example/",
        "https://app.example\\.evil.example/",
        "https:///app.example/",
        "https:/app.example/",
        "https:app.example/",
        "https://app%2eexample/",
        "https://app.example%2f@evil.example/",
        "https://[app.example]/",
        "ftp://app.example/",
        "javascript://app.example/%0aalert(1)",
        "https://app.example//evil.example",
        "https://app.example/%2fevil.example",
        "https://app.example/.//evil.example",
        "https://app.example/a\t/b",
        "https://app.example/base/_doorward/login?rd=/",
        "https://app.example/base/_doorward/x/../logout",
        "http://app.example/",
        "https://localhost:9000/",
        "http://2130706433/",
        "http://0x7f.1/",
        "https://127.0.0.1/",
        "/base/_doorward/handover?token=x",
        "/base/_doorward/sign-in/two",
        "/base/_doorward/%73ign-in/two",
        "/base/_doorward/callback/sso?code=x&state=y",
        "/base/_doorward/log%69n?rd=/",
        "https://app.example/base/_doorward/sign-in/two",
        "https://gate.example:80@evil.example:443",
        "javascript:alert(1)",
        "java\tscript:alert(1)",
        "data:text/html,x",
        "vbscript:x",
        "%2f%2fevil.example",
        "/%2fevil.example",
        "/%5Cevil.example",
        "/%252fevil.example",
        "/%25255cevil.example",
        "/x\r\nSet-Cookie: a=b",
        " /x",
        "\u{1}/x",
        "/x\u{0}",
        "/\u{e9}",
        "/.//evil.example",
        "/a/..//evil.example",
        "/%2e//evil.example",
        "/base/_doorward/login?rd=/",
        "/base/_doorward/logout",
        "/base/x/../_doorward/logout",
        &long,
    ] {
        assert_eq!(parse(text), "/base/", "{text:?}");
    }
}

#[test]
fn absolute_addresses_at_our_hosts_are_kept_but_for_the_case_of_the_host() {
    let https = "https://gate.example:8443/base";
    for (public_url, text, host) in [
        (https, "https://app.example/", "app.example"),
        (https, "https://app.example/d/x?a=1&b=%2F#part", "app.example"),
        (https, "https://app.example:443/x", "app.example"),
        (https, "https://other.example.org:8443/x", "other.example.org"),
        (https, "https://gate.example/x", "gate.example"),
        (https, "https://gate.example:8443/base/_doorward/password", "gate.example"),
        (https, "http://localhost:9000/x", "localhost"),
        (https, "http://[::1]:9000/x", "::1"),
        ("http://localhost", "http://app.example/x", "app.example"),
        ("http://localhost:8080", "http://app.example:8080/x", "app.example"),
        ("http://localhost", "https://app.example/x", "app.example"),
    ] {
        let target = ReturnTarget::parse(text, &destinations(public_url));
        assert_eq!((target.as_str(), target.obstacle()), (text, None), "{public_url}");
        let away = target.away().unwrap();
        assert_eq!((away.host.as_str(), format!("{}{}", away.origin, away.path)), (host, text.to_owned()));
    }
    assert_eq!(parse("HTTPS://App.Example/X"), "https://app.example/X");
}

#[test]
fn what_is_in_the_way_is_said() {
    let to = destinations("https://gate.example");
    for (text, expected) in [
        ("http://app.example/x", Some(ReturnObstacle::Insecure("app.example".to_owned()))),
        (
            "https://app.example/_doorward/handover/begin?rd=x",
            Some(ReturnObstacle::NotRouted("app.example".to_owned())),
        ),
        ("http://evil.example/x", None),
        ("https://evil.example/_doorward/handover/begin?rd=x", None),
        ("https://app.example/x", None),
    ] {
        assert_eq!(ReturnTarget::parse(text, &to).obstacle(), expected.as_ref(), "{text}");
    }
}

/// Pieces of which attacks are made.
const PIECES: [&str; 47] = [
    "/",
    "//",
    "\\",
    ".",
    "..",
    "%2f",
    "%5c",
    "%2e",
    "%25",
    "%00",
    "%0a",
    "%09",
    "\t",
    "\n",
    "\r",
    " ",
    "@",
    ":",
    "?",
    "#",
    ";",
    "http:",
    "https:",
    "javascript:",
    "data:",
    "evil.example",
    "gate.example",
    "[::1]",
    "a",
    "~",
    "\u{ff0f}",
    "\u{2215}",
    "\u{e9}",
    "\u{0}",
    "|",
    "&",
    "=",
    "\"",
    "<",
    "_doorward",
    "https://app.example",
    "http://localhost",
    "app.example",
    "app.example/",
    ":443",
    ":80",
    "[",
];

/// The host as someone reads it who knows no more than that it stands between the slashes.
fn careless_host(text: &str) -> Option<String> {
    let rest = text.split_once("://")?.1;
    let authority = rest.split(['/', '?', '#', '\\']).next()?;
    let host = authority.rsplit('@').next()?;
    let host =
        if host.starts_with('[') { host.split(']').next()?.get(1..)? } else { host.split(':').next()? };
    Some(host.to_ascii_lowercase())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_leads_to_another_origin(
        start in prop::sample::select(vec!["", "/", "/", "/"]),
        pieces in prop::collection::vec(prop::sample::select(PIECES.to_vec()), 0..7),
    ) {
        let text = format!("{start}{}", pieces.concat());
        let target = ReturnTarget::parse(&text, &destinations("https://gate.example"));
        let page = Url::parse("https://gate.example/_doorward/login?rd=x").unwrap();
        let reached = page.join(target.as_str()).unwrap();
        prop_assert!(target.as_str().bytes().all(|byte| byte.is_ascii_graphic()));
        prop_assert!(!reached.path().starts_with("//"));
        if target.away().is_none() {
            prop_assert_eq!(reached.origin(), page.origin());
            // What a careless second reader would make of it.
            let careless = target.as_str().replace(['\t', '\n', '\r'], "").replace('\\', "/");
            prop_assert!(careless.starts_with('/') && !careless.starts_with("//"));
        }
    }

    #[test]
    fn no_absolute_text_leaves_our_hosts(
        start in prop::sample::select(vec![
            "https://app.example", "https://app.example/", "https://", "http://", "http://localhost",
            "https://other.example.org:443", "http://[::1]", "HTTPS://gate.example", "https:",
        ]),
        pieces in prop::collection::vec(prop::sample::select(PIECES.to_vec()), 0..6),
    ) {
        let text = format!("{start}{}", pieces.concat());
        let target = ReturnTarget::parse(&text, &destinations("https://gate.example"));
        let page = Url::parse("https://gate.example/_doorward/login?rd=x").unwrap();
        let reached = page.join(target.as_str()).unwrap();
        let host = reached.host_str().unwrap().trim_matches(['[', ']']).to_owned();
        prop_assert!(host == "gate.example" || HOSTS.contains(&host.as_str()), "{host}");
        if let Some(away) = target.away() {
            prop_assert_eq!(careless_host(target.as_str()), Some(host.clone()));
            prop_assert_eq!(&away.host, &host);
            prop_assert!(reached.username().is_empty() && reached.password().is_none());
            prop_assert!(reached.scheme() == "https" || ["localhost", "::1"].contains(&host.as_str()));
            // The hand-over leads on by the path alone.
            let there = reached.join("/_doorward/handover?token=x").unwrap().join(&away.path).unwrap();
            prop_assert_eq!(there.origin(), reached.origin());
        }
    }
}
