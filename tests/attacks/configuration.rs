//! G: settings that guard something, and mistakes in them. Most mistakes are tested with the settings themselves.

use doorward::config::{ConfigSource, Flags, load};
use doorward::model::network;
use doorward::model::role::Role;

use crate::forms::{form, login_form};
use crate::support::gateway::{PASSWORD, ROUTES, session_cookie};
use crate::support::{Gateway, Upstream, Watch};

/// X12: one IPv6 address as a trusted proxy.
#[test]
fn one_address_is_one_address() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("doorward.toml");
    let text = "[server]\ntrusted_proxies = [\"2001:db8::1\", \"192.0.2.1\"]\n\
                [[upstreams]]\nname = \"app\"\nurl = \"http://127.0.0.1:9\"\n[[routes]]\nupstream = \"app\"\n";
    std::fs::write(&file, text).unwrap();
    let config =
        load(&ConfigSource { file: Some(file), environment: Vec::new() }, &Flags::default()).unwrap();
    let trusted = config.server.trusted_proxies;
    assert_eq!(trusted.iter().map(ipnet::IpNet::prefix_len).collect::<Vec<_>>(), [128, 32]);
    for (address, inside) in [
        ("2001:db8::1", true),
        ("2001:db8::2", false),
        ("2001:db8:1::1", false),
        ("192.0.2.1", true),
        ("192.0.2.2", false),
    ] {
        assert_eq!(network::contains(&trusted, address.parse().unwrap()), inside, "{address}");
    }
}

/// G15: settings that would not be missed if they were ignored.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_set_is_heeded() {
    let upstream = Upstream::spawn().await;
    for (setting, set) in [("", false), ("trusted_origins = [\"https://spa.example\"]", true)] {
        let gateway = Gateway::configured(&format!(
            "[server]\nworkers = 1\n{setting}\n[server.limits]\nuri_bytes = {}\n\
             [session]\ncookie_same_site = \"{}\"\n[[upstreams]]\nname = \"app\"\nurl = \"{}\"\n{ROUTES}",
            if set { 300 } else { 8192 },
            if set { "strict" } else { "lax" },
            upstream.url()
        ))
        .await;
        gateway.user("mel", Role::Member).await;
        let answer = gateway.post_form("/_doorward/login", &login_form("mel", PASSWORD, "/"), "").await;
        let same_site = if set { "SameSite=Strict" } else { "SameSite=Lax" };
        assert!(
            answer.headers("set-cookie").iter().all(|cookie| cookie.contains(same_site)),
            "{}",
            answer.head
        );
        let cookie = format!("cookie: {}\r\n", session_cookie(&answer).unwrap());

        let watch = Watch::begin(&gateway, &upstream);
        let headers = format!("{cookie}origin: https://spa.example\r\ncontent-length: 0\r\n");
        let written = gateway.send("POST /data", &headers).await;
        assert_eq!(written.status, if set { 200 } else { 403 }, "{setting}");
        let sent: &[&str] = if set { &["POST /data"] } else { &[] };
        let mel = [
            ("x-auth-user", "mel"),
            ("x-auth-subject", "*"),
            ("x-auth-email", "*"),
            ("x-auth-role", "member"),
        ];
        watch.reached(setting, sent, &mel).await;

        let long = gateway.get(&format!("/public/{}", "a".repeat(400)), "").await;
        assert_eq!(long.status, if set { 414 } else { 200 }, "{setting}");
    }
}

/// D14: a body that would have to be unpacked.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_unpacked_to_be_read() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    gateway.user("mel", Role::Member).await;
    for encoding in ["gzip", "br", "deflate", "zstd", "x"] {
        let body = form(&[("username", "mel"), ("password", PASSWORD), ("rd", "/")]);
        let head = format!("content-encoding: {encoding}\r\n");
        let answer = gateway.post_form("/_doorward/login", &body, &head).await;
        assert_eq!((answer.status, session_cookie(&answer)), (415, None), "{encoding}");
    }
}
