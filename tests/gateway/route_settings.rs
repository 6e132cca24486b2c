//! What a route says of credentials and spellings for itself, on both edges.

use std::os::unix::fs::PermissionsExt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use doorward::model::role::Role;

use crate::forward_auth::{FLAVOURS, ask};
use crate::support::gateway::bearer;
use crate::support::{Gateway, Upstream};

const HOSE: &str = "x-amz-firehose-access-key";
const GLASS: &str = "Kd0Vb3Xn9Ks2Lw8Rf4Hd6Jy1Mg5PcZr8+/=";

/// The upstream leaves nothing; some of its routes say otherwise, and one is not the gateway's to forward.
fn settings(upstream: &Upstream) -> String {
    let route = |path: &str, more: &str| {
        format!("[[routes]]\npath = \"/{path}\"\n{more}\nrules = [ {{ allow = \"viewer\" }} ]\n")
    };
    let behind = |path: &str, more: &str| route(path, &format!("upstream = \"app\"\n{more}"));
    [
        "[server]\nworkers = 1\ntrusted_proxies = [\"127.0.0.1\"]\n".to_owned(),
        "[forward_auth]\nflavours = [\"nginx\", \"traefik\", \"caddy\", \"haproxy\", \"envoy\"]\n".to_owned(),
        format!("[[break_glass]]\nname = \"on-call\"\ntoken = \"{GLASS}\"\nrole = \"viewer\"\n"),
        format!("[[upstreams]]\nname = \"app\"\nurl = \"{}\"\n", upstream.url()),
        behind("plain", ""),
        behind("hose", &format!("key_headers = \"{HOSE}\"")),
        behind("both", &format!("key_headers = [\"X-Api-Key\", \"{HOSE}\"]")),
        behind("left", "pass_authorization = true\npass_api_key = true"),
        behind("basic", "basic = true"),
        route("elsewhere", "pass_authorization = true"),
    ]
    .concat()
}

/// Asks both edges; what the application gets in the headers that bring credentials, where it may.
async fn asked(
    gateway: &Gateway,
    upstream: &Upstream,
    path: &str,
    headers: &str,
) -> (u16, [Option<String>; 3]) {
    const NAMES: [&str; 3] = ["authorization", "x-api-key", HOSE];
    let text = |value: Option<&str>| value.map(str::to_owned);
    let before = upstream.count();
    let direct = gateway.get(path, headers).await;
    let mut left = [const { None }; 3];
    if direct.status == 200 {
        left = NAMES.map(|name| text(upstream.last().header(name)));
    }
    assert_eq!(upstream.count() - before, usize::from(direct.status == 200), "{path} {headers}");
    for flavour in FLAVOURS {
        let answer = ask(gateway, flavour, &format!("GET {path}"), headers).await;
        assert_eq!(answer.status, direct.status, "{flavour} {path} {headers}: {}", answer.text());
        if answer.status == 200 {
            assert_eq!(NAMES.map(|name| text(answer.header(name))), left, "{flavour} {path} {headers}");
        }
    }
    (direct.status, left)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_takes_and_leaves_credentials_by_settings_of_its_own_on_both_edges() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::configured(&settings(&upstream)).await;
    let key = gateway.system_key("k", Role::Viewer).await;
    let own = bearer(&key);
    let as_basic = format!("authorization: Basic {}\r\n", STANDARD.encode(format!("any:{key}")));
    let (api, hose) = (format!("x-api-key: {key}\r\n"), format!("{HOSE}: {key}\r\n"));
    let foreign_api = "x-api-key: theirs\r\n";
    let foreign_hose = format!("{HOSE}: theirs\r\n");
    let foreign = "authorization: Bearer theirs\r\n";
    for (path, headers, status, left) in [
        ("/plain", own.clone(), 200, [None; 3]),
        ("/plain", api.clone(), 200, [None; 3]),
        // A header that brings no keys here is the application's, but what is ours goes nowhere.
        ("/plain", format!("{own}{foreign_hose}"), 200, [None, None, Some("theirs")]),
        ("/plain", format!("{own}{hose}"), 200, [None; 3]),
        ("/plain", format!("{own}{HOSE}: {GLASS}\r\n"), 200, [None; 3]),
        ("/hose", format!("{HOSE}: {GLASS}\r\nx-api-key: {GLASS}\r\n"), 200, [None; 3]),
        ("/plain", hose.clone(), 401, [None; 3]),
        ("/plain", format!("{own}{foreign_api}"), 401, [None; 3]),
        ("/plain", format!("{api}{foreign}"), 401, [None; 3]),
        ("/plain", as_basic.clone(), 401, [None; 3]),
        ("/hose", hose.clone(), 200, [None; 3]),
        ("/hose", api.clone(), 401, [None; 3]),
        ("/hose", format!("{hose}{foreign_api}"), 200, [None, Some("theirs"), None]),
        ("/hose", format!("{own}{foreign_hose}"), 401, [None; 3]),
        ("/hose", format!("{HOSE}: dw_s_mistyped\r\n"), 401, [None; 3]),
        ("/both", hose.clone(), 200, [None; 3]),
        ("/both", format!("{api}{hose}"), 200, [None; 3]),
        ("/both", format!("{api}{foreign_hose}"), 401, [None; 3]),
        ("/both", format!("{HOSE}: {key}x\r\n{api}"), 401, [None; 3]),
        ("/left", format!("{api}{foreign}"), 200, [Some("Bearer theirs"), None, None]),
        ("/left", format!("{own}{foreign_api}"), 200, [None, Some("theirs"), None]),
        ("/left", foreign.to_owned(), 401, [None; 3]),
        ("/left", as_basic.clone(), 401, [None; 3]),
        ("/basic", as_basic.clone(), 200, [None; 3]),
        ("/basic", format!("{as_basic}{foreign_api}"), 401, [None; 3]),
    ] {
        let seen = asked(&gateway, &upstream, path, &headers).await;
        assert_eq!(seen, (status, left.map(|value| value.map(str::to_owned))), "{path} {headers}");
    }
    for (more, authorization) in [("", None), (foreign, Some("Bearer theirs"))] {
        for flavour in FLAVOURS {
            let answer = ask(&gateway, flavour, "GET /elsewhere", &format!("{api}{more}")).await;
            assert_eq!((answer.status, answer.header("authorization")), (200, authorization), "{flavour}");
            assert_eq!(ask(&gateway, flavour, "GET /elsewhere", more).await.status, 401, "{flavour}");
        }
    }
    let refused = gateway.get("/plain", &as_basic).await.text();
    assert!(refused.contains("basic = true"), "{refused}");
}

/// What a file holds goes with what the rules allow; where they only log, the answer empties it.
#[tokio::test(flavor = "multi_thread")]
async fn a_secret_header_stands_in_answers_to_what_the_rules_allow_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    std::fs::write(&file, "s3cr3t-of-the-file").unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    let gateway = Gateway::configured(&format!(
        "[server]\ntrusted_proxies = [\"127.0.0.1\"]\n\
         [forward_auth]\nflavours = [\"nginx\", \"traefik\", \"caddy\", \"haproxy\", \"envoy\"]\n\
         set_headers = {{ X-Vault_file = '{}' }}\n\
         [[routes]]\nrules = [ {{ allow = \"viewer\" }} ]\n\
         [[routes]]\npath = \"/shadow\"\nenforce = \"log\"\nrules = [ {{ allow = \"viewer\" }} ]\n",
        file.display()
    ))
    .await;
    gateway.ledger.handed_out("s3cr3t-of-the-file");
    let key = bearer(&gateway.system_key("k", Role::Viewer).await);
    for flavour in FLAVOURS {
        for (path, who, status, told) in [
            ("/data", key.as_str(), 200, Some("s3cr3t-of-the-file")),
            ("/data", "", 401, None),
            ("/shadow/data", &key, 200, Some("s3cr3t-of-the-file")),
            ("/shadow/data", "", 200, Some("")),
        ] {
            let answer =
                ask(&gateway, flavour, &format!("GET {path}"), &format!("{who}x-vault: forged\r\n")).await;
            assert_eq!((answer.status, answer.header("x-vault")), (status, told), "{flavour} {path} {who}");
        }
    }
}

/// `%2F` is open for the application whose preset needs it, not for its neighbours on the same server.
#[tokio::test(flavor = "multi_thread")]
async fn a_preset_opens_a_spelling_on_its_own_route_alone() {
    let upstream = Upstream::spawn().await;
    let route =
        |path: &str, more: &str| format!("[[routes]]\nupstream = \"app\"\npath = \"{path}\"\n{more}\n");
    let gateway = Gateway::configured(&format!(
        "[server]\ntrusted_proxies = [\"127.0.0.1\"]\n\
         [forward_auth]\nflavours = [\"nginx\", \"traefik\", \"caddy\", \"haproxy\", \"envoy\"]\n\
         [[upstreams]]\nname = \"app\"\nurl = \"{}\"\n{}{}{}",
        upstream.url(),
        route("/lab", "preset = \"jupyter\""),
        route("/lab/api/contents/nested", ""),
        route("/other", ""),
    ))
    .await;
    let key = bearer(&gateway.system_key("k", Role::Admin).await);
    for (path, passes) in [
        ("/lab/api/contents/a%2Fb", true),
        ("/other/a%2Fb", false),
        ("/other%2Fb", false),
        // A careless server reads it as the route that does not open it.
        ("/lab/api/contents/nested%2Fb", false),
        ("/lab/api/contents/nested/a%2Fb", false),
    ] {
        let before = upstream.count();
        let status = gateway.get(path, &key).await.status;
        assert_eq!(
            (status, upstream.count() - before),
            if passes { (200, 1) } else { (status, 0) },
            "{path}"
        );
        assert!(passes || status == 400 || status == 404, "{path}: {status}");
        for flavour in FLAVOURS {
            let answer = ask(&gateway, flavour, &format!("GET {path}"), &key).await;
            assert_eq!(answer.status == 200, passes, "{flavour} {path}: {}", answer.text());
        }
    }
}
