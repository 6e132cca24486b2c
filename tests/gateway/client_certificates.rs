//! Client certificates that a proxy in front verifies and names in a header.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use doorward::model::role::Role;

use crate::credentials::ROUTES;
use crate::forward_auth::{FLAVOURS, ask};
use crate::support::gateway::bearer;
use crate::support::raw::exchange;
use crate::support::{Gateway, Upstream};

const INGEST: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
const OPS: &str = "AB:CD:EF:01:23:45:67:89:AB:CD:EF:01:23:45:67:89:AB:CD:EF:01";
const HEADER: &str = "x-ssl-client-fingerprint";

const KNOWN: &str = r#"
[[client_certificates.known]]
name = "ingest"
fingerprint = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
role = "agent"

[[client_certificates.known]]
name = "ops"
fingerprint = "ab:cd:ef:01:23:45:67:89:ab:cd:ef:01:23:45:67:89:ab:cd:ef:01"
role = "admin"

[[client_certificates.known]]
name = "dashboards"
subject = "CN=dashboards,O=Example"
role = "viewer"
group = ["data", "charts"]
"#;

/// Settings that believe `proxy`, with these certificates in `header`.
fn settings(upstream: &str, proxy: &str, header: &str, known: &str) -> String {
    format!(
        r#"
[server]
workers = 2
trusted_proxies = ["{proxy}"]

[metrics]
listen = "127.0.0.1:0"

[[upstreams]]
name = "app"
url = "{upstream}"

[client_certificates]
header = "{header}"
{known}
{ROUTES}
[[routes]]
upstream = "app"
path = "/vouched"
rules = [ {{ name = "vouched", allow = "provider:client-certificate" }} ]

[[routes]]
upstream = "app"
path = "/data-team"
rules = [ {{ name = "team", allow = "group:data" }} ]
"#
    )
}

async fn gateway(upstream: &Upstream) -> Gateway {
    Gateway::configured(&settings(&upstream.url(), "127.0.0.1", HEADER, KNOWN)).await
}

fn shown(value: &str) -> String {
    format!("{HEADER}: {value}\r\n")
}

async fn outcome(gateway: &Gateway, line: &str, headers: &str) -> (u16, Option<String>) {
    let length = if line.starts_with("POST") { "content-length: 0\r\n" } else { "" };
    let answer = gateway.send(line, &format!("{headers}{length}")).await;
    (answer.status, answer.problem())
}

fn refused(status: u16, code: &str) -> (u16, Option<String>) {
    (status, Some(code.to_owned()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_acts_with_its_role_and_groups_and_goes_no_further() {
    let upstream = Upstream::spawn().await;
    let gateway = gateway(&upstream).await;
    let before = gateway.lookups();
    for (line, certificate, status) in [
        ("POST /ingest", INGEST, 200),
        ("GET /data", INGEST, 403),
        ("GET /admin", OPS, 200),
        ("GET /admin", &OPS.replace(':', "").to_lowercase(), 200),
        ("GET /data", "CN=dashboards,O=Example", 200),
        ("POST /data", "CN=dashboards,O=Example", 403),
        ("GET /admin", "CN=dashboards,O=Example", 403),
        ("GET /data-team", "CN=dashboards,O=Example", 200),
        ("GET /data-team", OPS, 403),
        ("GET /vouched", OPS, 200),
    ] {
        let (found, _) = outcome(&gateway, line, &shown(certificate)).await;
        assert_eq!(found, status, "{line} {certificate}");
    }
    assert_eq!(gateway.lookups(), before, "the settings know it");
    assert_eq!(outcome(&gateway, "GET /data", &shown("CN=dashboards,O=Example")).await.0, 200);
    let told = upstream.last();
    assert_eq!(told.header("x-auth-subject"), Some("client-certificate:dashboards"));
    assert_eq!(
        (told.header("x-auth-user"), told.header("x-auth-role")),
        (Some("dashboards"), Some("viewer"))
    );
    for request in upstream.requests() {
        let head = request.head.to_lowercase();
        assert!(!head.contains(HEADER), "{head}");
    }
    let vouched = bearer(&gateway.system_key("k", Role::Admin).await);
    assert_eq!(outcome(&gateway, "GET /vouched", &vouched).await, refused(403, "forbidden"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_nobody_is_known_by_is_never_anonymous() {
    let upstream = Upstream::spawn().await;
    let gateway = gateway(&upstream).await;
    let shorter = &INGEST[1..];
    for certificate in [shorter, &INGEST.replace('9', "8"), "CN=dashboards", "cn=dashboards,O=Example", "-"] {
        for path in ["GET /public", "GET /data"] {
            let found = outcome(&gateway, path, &shown(certificate)).await;
            assert_eq!(found, refused(401, "invalid-credential"), "{path} {certificate}");
        }
    }
    assert_eq!(upstream.count(), 0);
    // Proxies say so that there was no certificate.
    assert_eq!(outcome(&gateway, "GET /public", &shown("")).await.0, 200);
    assert_eq!(outcome(&gateway, "GET /data", &shown(" ")).await, refused(401, "sign-in-required"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_from_anyone_but_a_trusted_proxy_counts_for_nothing_and_is_taken_off() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::configured(&settings(&upstream.url(), "192.0.2.1", HEADER, KNOWN)).await;
    let key = bearer(&gateway.system_key("k", Role::Viewer).await);
    for certificate in [OPS, "nonsense"] {
        let header = shown(certificate);
        assert_eq!(outcome(&gateway, "GET /admin", &header).await, refused(401, "sign-in-required"));
        assert_eq!(outcome(&gateway, "GET /public", &header).await.0, 200);
        assert_eq!(upstream.last().header(HEADER), None);
        assert_eq!(upstream.last().header("x-auth-subject"), None);
        assert_eq!(outcome(&gateway, "GET /data", &format!("{key}{header}{header}")).await.0, 200);
        assert_eq!(upstream.last().header(HEADER), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_certificates_and_one_beside_another_credential_are_refused() {
    let upstream = Upstream::spawn().await;
    let gateway = gateway(&upstream).await;
    gateway.user("root", Role::Admin).await;
    let cookie = format!("cookie: {}\r\n", gateway.sign_in("root").await);
    let key = bearer(&gateway.system_key("k", Role::Admin).await);
    let ops = shown(OPS);
    for two in [
        format!("{ops}{ops}"),
        format!("{ops}{}", shown("")),
        format!("{}{ops}", shown("")),
        format!("{ops}{}", shown(INGEST)),
        format!("{ops}{key}"),
        format!("{ops}{cookie}"),
        format!("{ops}{}", bearer("of-another-system")),
        format!("{ops}cookie: doorward=ended\r\n"),
    ] {
        for path in ["GET /public", "GET /admin"] {
            assert_eq!(outcome(&gateway, path, &two).await, refused(401, "several-credentials"), "{two}");
        }
    }
    assert_eq!(upstream.count(), 0);
    assert_eq!(outcome(&gateway, "GET /admin", &format!("{}{key}", shown(""))).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_site_cannot_write_with_a_browsers_certificate() {
    let upstream = Upstream::spawn().await;
    let gateway = gateway(&upstream).await;
    let ops = shown(OPS);
    assert_eq!(outcome(&gateway, "POST /data", &ops).await.0, 200, "a program says nothing of a page");
    let own = format!("origin: http://{}\r\n", gateway.address);
    assert_eq!(outcome(&gateway, "POST /data", &format!("{ops}{own}")).await.0, 200);
    for page in ["origin: https://evil.example\r\n", "origin: null\r\n", "sec-fetch-site: cross-site\r\n"] {
        let found = outcome(&gateway, "POST /data", &format!("{ops}{page}")).await;
        assert_eq!(found, refused(403, "foreign-origin"), "{page}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_certificate_itself_is_read_as_its_rfc_has_it() {
    let upstream = Upstream::spawn().await;
    // `INGEST` is the SHA-256 fingerprint of these bytes.
    let whole = format!("client-cert: :{}:\r\n", STANDARD.encode("test"));
    let known = format!(
        "[[client_certificates.known]]\nname = \"ingest\"\nfingerprint = \"{INGEST}\"\nrole = \"viewer\"\n"
    );
    let gateway = Gateway::configured(&settings(&upstream.url(), "127.0.0.1", "Client-Cert", &known)).await;
    assert_eq!(outcome(&gateway, "GET /data", &whole).await.0, 200);
    assert_eq!(upstream.last().header("client-cert"), None);
    for wrong in ["dGVzdA==", ":dGVzdA==", ":dGVzdB==:", "::", ":%:", INGEST] {
        let found = outcome(&gateway, "GET /data", &format!("client-cert: {wrong}\r\n")).await;
        assert_eq!(found, refused(401, "invalid-credential"), "{wrong}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_the_settings_no_longer_name_is_refused() {
    let upstream = Upstream::spawn().await;
    let gateway = gateway(&upstream).await;
    assert_eq!(outcome(&gateway, "GET /admin", &shown(OPS)).await.0, 200);
    let (without, _) = KNOWN.split_once("[[client_certificates.known]]\nname = \"ops\"").unwrap();
    gateway.reload(&settings(&upstream.url(), "127.0.0.1", HEADER, without)).await.unwrap();
    assert_eq!(outcome(&gateway, "GET /admin", &shown(OPS)).await, refused(401, "invalid-credential"));
    assert_eq!(outcome(&gateway, "POST /ingest", &shown(INGEST)).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_metrics_and_explanations_name_a_certificate_alike() {
    let upstream = Upstream::spawn().await;
    let gateway = gateway(&upstream).await;
    let answer = gateway.get("/admin", &format!("{}x-doorward-explain: 1\r\n", shown(OPS))).await;
    let why: serde_json::Value = serde_json::from_str(answer.header("x-doorward-explain").unwrap()).unwrap();
    assert_eq!(why["caller"]["credential"], "client-certificate");
    assert_eq!(why["caller"]["provider"], "client-certificate");
    let asked = gateway.get("/_doorward/api/explain?request=GET+%2Fadmin", &shown(OPS)).await;
    assert_eq!(asked.status, 200, "an admin's certificate proves to be one");
    let asked = gateway.get("/_doorward/api/explain?request=GET+%2Fadmin", &shown(INGEST)).await;
    assert_eq!(asked.status, 403);
    for (name, status, verdict) in
        [("ops", 200, Some("allow")), ("dashboards", 200, Some("deny")), ("other", 404, None)]
    {
        let question = format!("/_doorward/api/explain?request=GET+%2Fadmin&as=client-certificate:{name}");
        let asked = gateway.get(&question, &shown(OPS)).await;
        let why: serde_json::Value = serde_json::from_slice(&asked.body).unwrap();
        assert_eq!((asked.status, why["decision"].as_str()), (status, verdict), "{why}");
    }

    let at = gateway.metrics_address().unwrap();
    let page =
        exchange(at, format!("GET /metrics HTTP/1.1\r\nhost: {at}\r\nconnection: close\r\n\r\n")).await;
    let sample = "doorward_requests_by_credential_total{credential=\"client-certificate\"} ";
    assert!(page.text().contains(sample), "{}", page.text());
    let named = || {
        let events = gateway.ledger.events();
        events.into_iter().any(|event| event["subject.id"] == "client-certificate:ops")
    };
    crate::support::until("the access event", async || named()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_asks_names_the_certificate_of_its_client() {
    let routes = "[forward_auth]\nflavours = [\"nginx\", \"traefik\", \"caddy\", \"haproxy\", \"envoy\"]\n\
                  [[routes]]\nname = \"app\"\nhosts = [\"app.example\"]\nrules = [\n\
                  { name = \"admin\", path = \"/admin\", allow = \"admin\" }, { name = \"reads\", allow = \"viewer\" } ]\n";
    let toml = format!(
        "[server]\nworkers = 2\ntrusted_proxies = [\"127.0.0.1\"]\n\
         [client_certificates]\nheader = \"{HEADER}\"\n{KNOWN}\n{routes}"
    );
    let gateway = Gateway::configured(&toml).await;
    for flavour in FLAVOURS {
        let answer = ask(&gateway, flavour, "GET /admin", &shown(OPS)).await;
        assert_eq!(answer.status, 200, "{flavour}");
        assert_eq!(answer.header("x-auth-subject"), Some("client-certificate:ops"), "{flavour}");
        assert_eq!(answer.header(HEADER), None, "{flavour}");
        let viewer = ask(&gateway, flavour, "GET /admin", &shown("CN=dashboards,O=Example")).await;
        assert_eq!(viewer.status, 403, "{flavour}");
        for wrong in [shown("unknown"), format!("{}{}", shown(OPS), shown(OPS))] {
            assert_eq!(ask(&gateway, flavour, "GET /admin", &wrong).await.status, 401, "{flavour} {wrong}");
        }
    }
    let envoy = ask(&gateway, "envoy", "GET /admin", &shown(OPS)).await;
    let removed = envoy.header("x-envoy-auth-headers-to-remove").unwrap();
    assert!(removed.split(',').any(|name| name == HEADER), "{removed}");
}
