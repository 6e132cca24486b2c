//! Sessions of applications: anyone who holds another's cookie does not become that one.

use crate::support::gateway::ROUTES;
use crate::support::{Gateway, Upstream, Watch};

/// Two applications on one host, which both call their session `sid`, and two people who have signed in.
struct World {
    upstream: Upstream,
    other: Upstream,
    gateway: Gateway,
    mel: String,
    vera: String,
}

impl World {
    async fn new() -> Self {
        let (upstream, other) = (Upstream::spawn().await, Upstream::spawn().await);
        let routes = ROUTES.trim_start_matches("\n[[routes]]\n");
        let gateway = Gateway::configured(&format!(
            "[[upstreams]]\nname = \"app\"\nurl = \"{}\"\nsession_cookies = [\"sid\", \"__Host-sid\", \"part.*\"]\n\
             [[upstreams]]\nname = \"other\"\nurl = \"{}\"\nsession_cookies = [\"sid\"]\n\
             [[routes]]\nupstream = \"other\"\npath = \"/other\"\n[[routes]]\n{routes}",
            upstream.url(),
            other.url()
        ))
        .await;
        let (mel, vera) = gateway.mel_and_vera().await;
        Self { upstream, other, gateway, mel, vera }
    }
}

/// What the browser of `who` holds after the application has set a cookie.
async fn holds(gateway: &Gateway, upstream: &Upstream, who: &str, path: &str, cookie: &str) -> String {
    upstream.answers(format!("HTTP/1.1 200 OK\r\nset-cookie: {cookie}; Path=/\r\ncontent-length: 0\r\n\r\n"));
    let answer = gateway.get(path, &format!("cookie: {who}\r\n")).await;
    assert_eq!(answer.status, 200, "{}", answer.head);
    answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned()
}

/// What the application is told of whoever attacks.
const VERA: [(&str, &str); 4] = [
    ("x-auth-user", "vera"),
    ("x-auth-subject", "*"),
    ("x-auth-email", "vera@example.org"),
    ("x-auth-role", "viewer"),
];

#[tokio::test(flavor = "multi_thread")]
async fn no_spelling_of_anothers_cookie_reaches_the_application() {
    let World { upstream, other, gateway, mel, vera } = World::new().await;
    let stolen = holds(&gateway, &upstream, &mel, "/data", "sid=of-mel").await;
    let own = holds(&gateway, &upstream, &vera, "/data", "sid=of-vera").await;
    let host = holds(&gateway, &upstream, &vera, "/data", "__Host-sid=of-vera").await;
    let part = holds(&gateway, &upstream, &vera, "/data", "part.0=of-mel").await;
    let elsewhere = holds(&gateway, &other, &vera, "/other", "sid=of-mel").await;
    let nobodys = holds(&gateway, &upstream, "a=1", "/public", "sid=of-mel").await;
    let tag = |pair: &str| pair.rsplit_once('.').unwrap().1.to_owned();
    let value = |pair: &str| pair.split_once('=').unwrap().1.to_owned();
    let mut forged = vec![
        stolen.clone(),
        "sid=of-mel".to_owned(),
        "SID=of-mel".to_owned(),
        "Sid = of-mel".to_owned(),
        "s%69d=of-mel".to_owned(),
        "sid=\"of-mel\"".to_owned(),
        "x=1,sid=of-mel".to_owned(),
        "x=1 sid=of-mel".to_owned(),
        "x=1\tsid = of-mel".to_owned(),
        "x=\"1\"sid=of-mel".to_owned(),
        "x=\"; sid=of-mel; y=\"".to_owned(),
        "$Version=1; sid=of-mel; $Path=/".to_owned(),
        "part.1=of-mel".to_owned(),
        "part_0=of-mel".to_owned(),
        elsewhere,
        nobodys,
    ];
    // Every tag that vera's browser can show, behind mel's value.
    for known in [&own, &host, &part, &stolen] {
        let tag = tag(known);
        let whole = value(known);
        for name in ["sid", "SID", "__Host-sid", "__host-sid", "part.1"] {
            forged.push(format!("{name}=of-mel.{tag}"));
            forged.push(format!("{name}=of-mel.{}", &tag[1..]));
            forged.push(format!("{name}=\"of-mel.{tag}\""));
            forged.push(format!("{name}=of-mel.{}", tag.to_ascii_lowercase()));
            forged.push(format!("{name}={whole}.{tag}"));
            forged.push(format!("{name}={whole}, sid=of-mel"));
            forged.push(format!("{name}=of-mel.{whole}"));
        }
    }
    for cookie in forged {
        let watch = Watch::begin(&gateway, &upstream);
        let fields = format!("cookie: a=1; {vera}; {own}; {cookie}; b=2\r\n");
        assert_eq!(gateway.get("/data", &fields).await.status, 200, "{cookie}");
        let got = upstream.last().header("cookie").unwrap().to_owned();
        assert!(!got.contains("of-mel"), "{cookie}: {got}");
        assert!(got.starts_with("a=1; sid=of-vera") && got.ends_with("; b=2"), "{cookie}: {got}");
        watch.reached(&cookie, &["GET /data"], &VERA).await;
    }
    // Each is good where it belongs.
    for (who, cookie, left) in
        [(&mel, &stolen, "sid=of-mel"), (&vera, &host, "__Host-sid=of-vera"), (&vera, &part, "part.0=of-mel")]
    {
        assert_eq!(gateway.get("/data", &format!("cookie: {who}; {cookie}\r\n")).await.status, 200);
        assert_eq!(upstream.last().header("cookie"), Some(left));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_doubled_cookie_is_not_more_than_its_good_half() {
    let World { upstream, other: _other, gateway, mel, vera } = World::new().await;
    let stolen = holds(&gateway, &upstream, &mel, "/data", "sid=of-mel").await;
    let own = holds(&gateway, &upstream, &vera, "/data", "sid=of-vera").await;
    for fields in [
        format!("cookie: {vera}; {stolen}; {own}; sid=of-mel\r\n"),
        format!("cookie: {stolen}\r\ncookie: {own}\r\ncookie: {vera}\r\ncookie: sid=of-mel\r\n"),
        format!("Cookie: {stolen};{own}\r\nCOOKIE:{vera};;\r\n"),
    ] {
        let watch = Watch::begin(&gateway, &upstream);
        assert_eq!(gateway.get("/data", &fields).await.status, 200);
        let got = upstream.last().header("cookie").unwrap().to_owned();
        assert_eq!(got.trim_end_matches([';', ' ']), "sid=of-vera", "{fields}");
        watch.reached(&fields, &["GET /data"], &VERA).await;
    }
    // Whoever is nobody has nobody's alone, signed out or not yet in.
    gateway.post_form("/_doorward/logout", "", &format!("cookie: {mel}\r\n")).await;
    for who in ["", "; doorward=forged"] {
        let asked = gateway.get("/public", &format!("cookie: {stolen}{who}\r\n")).await;
        assert_eq!((asked.status, upstream.last().header("cookie")), (200, None), "{who}");
    }
}

/// An application cannot make a cookie that is good for somebody else, whatever it writes.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_application_sets_is_its_callers_however_it_is_written() {
    let World { upstream, other: _other, gateway, mel, vera } = World::new().await;
    for cookie in [
        "sid=x",
        " sid = x ",
        "SID=x",
        "sid=\"x\"",
        "sid=a.b.c",
        "sid=x\"",
        "=sid=x",
        "sid",
        "other=sid=x",
        "s%69d=x",
    ] {
        let held = holds(&gateway, &upstream, &mel, "/data", cookie).await;
        // A cookie without a name comes back as its value.
        let held = held.strip_prefix('=').unwrap_or(&held).to_owned();
        assert_eq!(gateway.get("/data", &format!("cookie: {vera}; {held}\r\n")).await.status, 200);
        let last = upstream.last();
        let got = last.header("cookie").unwrap_or_default();
        let foreign = cookie.starts_with("other");
        assert_eq!(got.is_empty(), !foreign, "{cookie}: {held}: {got}");
    }
}
