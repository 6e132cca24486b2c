//! Rules that only log: everything passes, nothing is vouched for, and the report tells who is missing a credential.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use doorward::model::role::Role;
use doorward::model::time::Timestamp;

use crate::failure::{break_database, mend_database};
use crate::support::gateway::bearer;
use crate::support::process::Process;
use crate::support::{Gateway, Upstream, exchange, until, wait_for};

const ROUTES: &str = r#"
[[routes]]
name = "live"
upstream = "app"
enforce = "log"
rules = [
  { name = "admin", path = "/admin", allow = "admin", enforce = "on" },
  { name = "ingest", path = "/ingest", methods = ["POST"], allow = "agent" },
  { name = "queries", path = "/graphql", graphql = "query", allow = "viewer" },
  { name = "changes", path = "/graphql", allow = "member" },
  { name = "reads", methods = "read", allow = "viewer" },
]
[[routes]]
name = "strict"
upstream = "app"
path = "/strict"
enforce = "on"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_live_application_goes_on_as_before_and_the_report_names_who_has_no_credential() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    let agent = gateway.system_key("collector", Role::Agent).await;
    let viewer = gateway.system_key("grafana", Role::Viewer).await;

    let forged = "x-auth-user: root\r\nuser-agent: otel-exporter/1.2 (linux)\r\n";
    for _ in 0..3 {
        assert_eq!(gateway.send("POST /ingest", &format!("{forged}content-length: 0\r\n")).await.status, 200);
    }
    let foreign = "authorization: Basic Zm9vOmJhcg==\r\n";
    assert_eq!(gateway.get("/data?token=secret", foreign).await.status, 200);
    assert_eq!(gateway.get("/data", &bearer(&viewer)).await.status, 200);
    assert_eq!(gateway.get("/data", &bearer(&agent)).await.status, 200, "an agent may not read");
    let mistyped = viewer.replace("dw_s_", "dw_s_x");
    assert_eq!(gateway.get("/data", &bearer(&mistyped)).await.status, 200);
    assert_eq!(
        gateway.get("/a%2Fb", &bearer(&viewer)).await.status,
        200,
        "a spelling that must be opted in to"
    );
    assert_eq!(upstream.count(), 8, "nothing was kept back");

    // What is enforced is enforced, in every spelling.
    for path in ["/admin", "/ADMIN/users", "/strict/x", "/Strict"] {
        assert_eq!(gateway.get(path, "").await.status, 401, "{path}");
        assert!(matches!(gateway.get(path, &bearer(&mistyped)).await.status, 401), "{path}");
    }
    assert_eq!(upstream.count(), 8);

    for line in upstream.requests() {
        assert!(!line.head.contains("root"), "a forged identity passed:\n{}", line.head);
        assert!(!line.head.contains("dw_s_"), "a key of ours passed:\n{}", line.head);
    }
    let basic = upstream.requests().into_iter().filter(|line| line.head.contains("Basic Zm9v")).count();
    assert_eq!(basic, 1, "the application's own login still works");

    let counted = gateway.refused(7, |_| true).await;
    let find = |rule: &str, code: &str| {
        let mut found = counted.iter().filter(|(by, _)| by.rule == rule && by.code == code);
        let one = found.next().unwrap_or_else(|| panic!("no {rule} {code} in {counted:?}"));
        assert!(found.next().is_none(), "{counted:?}");
        one.clone()
    };
    let (by, tally) = find("ingest", "sign-in-required");
    assert_eq!((by.route.as_str(), by.credential.as_str(), by.method.as_str()), ("live", "nobody", "POST"));
    assert_eq!((by.client.as_str(), by.agent.as_str()), ("127.0.0.1", "otel-exporter/1.2"));
    assert_eq!((tally.count, tally.example.as_str()), (3, "/ingest"));
    assert_eq!(find("reads", "unsupported-scheme").1.example, "/data", "never a query");
    assert_eq!(find("reads", "forbidden").0.credential, "key:collector");
    assert_eq!(find("reads", "invalid-key").0.credential, "nobody");
    assert_eq!(find("reads", "odd-path").0.credential, "key:grafana");
    let all = format!("{counted:?}");
    assert!(!all.contains("secret") && !all.contains("dw_s_"), "{all}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_graphql_body_that_is_too_large_to_be_read_still_passes_whole() {
    let upstream = Upstream::spawn().await;
    let routes = format!("[server]\nlimits.graphql_body_bytes = 2048\n{}", app(&upstream));
    let gateway = Gateway::configured(&routes).await;
    let viewer = gateway.system_key("grafana", Role::Viewer).await;
    let body = format!("{{\"query\":\"mutation {{ a }}\",\"pad\":\"{}\"}}", "x".repeat(100_000));
    for (more, what) in [("", "by length"), ("transfer-encoding: chunked\r\n", "in chunks")] {
        let (framing, sent) = if more.is_empty() {
            (format!("content-length: {}\r\n", body.len()), body.clone())
        } else {
            let chunks: String = body
                .as_bytes()
                .chunks(1000)
                .map(|chunk| format!("{:x}\r\n{}\r\n", chunk.len(), std::str::from_utf8(chunk).unwrap()))
                .collect();
            (more.to_owned(), format!("{chunks}0\r\n\r\n"))
        };
        let head = format!(
            "POST /graphql HTTP/1.1\r\nhost: {}\r\n{}content-type: application/json\r\n{framing}\r\n",
            gateway.address,
            bearer(&viewer)
        );
        let answer = exchange(gateway.address, head + &sent).await;
        assert_eq!(answer.status, 200, "{what}");
    }
    let received = upstream.requests();
    assert_eq!(received.len(), 2);
    for request in received {
        assert_eq!(request.body, body.as_bytes(), "every byte arrives");
    }
    assert_eq!(gateway.refused(2, |_| true).await[0].0.code, "body-too-large");
}

fn app(upstream: &Upstream) -> String {
    format!("[[upstreams]]\nname = \"app\"\nurl = \"{}\"\n{ROUTES}", upstream.url())
}

#[tokio::test(flavor = "multi_thread")]
async fn where_rules_are_off_nothing_is_written_down() {
    let upstream = Upstream::spawn().await;
    let gateway =
        Gateway::spawn(&upstream.url(), "[[routes]]\nupstream = \"app\"\nenforce = \"off\"\n[[routes]]\nupstream = \"app\"\npath = \"/log\"\nenforce = \"log\"").await;
    let forged = "x-auth-user: root\r\nremote-user: root\r\ncontent-length: 0\r\n";
    assert_eq!(gateway.send("DELETE /everything", forged).await.status, 200);
    assert_eq!(gateway.send("DELETE /log", forged).await.status, 200);
    assert!(upstream.requests().iter().all(|request| !request.head.contains("root")));
    let counted = gateway.refused(1, |_| true).await;
    assert_eq!(counted[0].0.route, "/log");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_to_another_proxy_is_an_allow_where_rules_only_log() {
    let toml = "[server]\ntrusted_proxies = [\"127.0.0.1\"]\n\
                [forward_auth]\nflavours = [\"traefik\"]\n\
                [[routes]]\nname = \"live\"\nenforce = \"log\"\n\
                [[routes]]\nname = \"strict\"\npath = \"/strict\"";
    let gateway = Gateway::configured(toml).await;
    let ask = |uri: &str| {
        let headers = format!(
            "x-forwarded-method: GET\r\nx-forwarded-proto: http\r\nx-forwarded-host: app.example\r\n\
             x-forwarded-for: 192.0.2.7\r\nx-forwarded-uri: {uri}\r\n"
        );
        let gateway = &gateway;
        async move { gateway.get("/_doorward/auth/traefik", &headers).await }
    };
    let live = ask("/data").await;
    assert_eq!((live.status, live.header("x-auth-user")), (200, Some("")), "vouches for nobody");
    assert_eq!(ask("/strict").await.status, 401);
    let counted = gateway.refused(1, |_| true).await;
    assert_eq!((counted[0].0.client.as_str(), counted[0].0.route.as_str()), ("192.0.2.7", "live"));
}

/// The access events of a process, once there are this many.
async fn events(process: &Process, count: usize) -> Vec<serde_json::Value> {
    wait_for("the access events", async || {
        let said = process.said();
        let all = said.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let events: Vec<_> = all.filter(|event| event["message"] == "request").collect();
        (events.len() >= count).then_some(events)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_be_refused_is_logged_as_shadow() {
    let upstream = Upstream::spawn().await;
    let process = Process::serve_in_json(&upstream.url(), ROUTES);
    let key = bearer(&process.system_key("grafana", Role::Viewer).await);
    let requests = [
        ("GET /a?q=1", "", "shadow", Some("sign-in-required"), 200),
        ("POST /b", &*key, "shadow", Some("forbidden"), 200),
        ("GET /c", "authorization: Bearer dw_s_wrong\r\n", "shadow", Some("invalid-key"), 200),
        ("GET /d%2Fe", &*key, "shadow", Some("odd-path"), 200),
        ("GET /g", "authorization: Bearer theirs\r\n", "shadow", Some("invalid-token"), 200),
        ("GET /h", "x-api-key: theirs\r\n", "shadow", Some("foreign-key"), 200),
        ("GET /strict/i", "authorization: Bearer theirs\r\n", "challenge", None, 401),
        ("GET /f", &*key, "allow", None, 200),
        ("GET /admin", &*key, "deny", None, 403),
        ("GET /strict", "", "challenge", None, 401),
    ];
    for (line, headers, _, _, status) in requests {
        let host = process.address;
        let request = format!("{line} HTTP/1.1\r\nhost: {host}\r\n{headers}content-length: 0\r\n\r\n");
        assert_eq!(exchange(host, request).await.status, status, "{line}");
    }
    let events = events(&process, requests.len()).await;
    assert_eq!(events.len(), requests.len(), "{events:?}");
    for (line, headers, decision, shadowed, status) in requests {
        let (method, path) = line.split_once(' ').unwrap();
        let path = path.split('?').next().unwrap();
        let event =
            events.iter().find(|event| event["http.path"] == path).unwrap_or_else(|| panic!("{line}"));
        assert_eq!(
            (&event["http.method"], &event["decision"]),
            (&method.into(), &decision.into()),
            "{event}"
        );
        assert_eq!(event.get("shadowed").and_then(serde_json::Value::as_str), shadowed, "{event}");
        assert_eq!(event["http.status"], status, "{event}");
        assert_eq!(event["route.id"], if path.starts_with("/strict") { "strict" } else { "live" }, "{event}");
        let setting = match path {
            "/g" | "/strict/i" => Some("pass_authorization"),
            "/h" => Some("pass_api_key"),
            _ => None,
        };
        assert_eq!(event.get("setting").and_then(serde_json::Value::as_str), setting, "{event}");
        // Who would be refused is told all the same.
        assert_eq!(event.get("subject.id").is_some(), headers == key, "{event}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_store_is_down_requests_pass_as_nobody_where_rules_only_log_and_are_503_where_they_count() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::configured(&format!("metrics.listen = \"127.0.0.1:0\"\n{}", app(&upstream))).await;
    gateway.user("vera", Role::Viewer).await;
    let cookie = format!("cookie: {}\r\n", gateway.sign_in("vera").await);
    let key = bearer(&gateway.system_key("grafana", Role::Viewer).await);
    for credential in [&cookie, &key] {
        assert_eq!(gateway.get("/data", credential).await.status, 200);
        assert!(upstream.last().header("x-auth-subject").is_some());
        assert_eq!(gateway.get("/strict", credential).await.status, 200);
    }
    let database = gateway.folder.path().join("doorward.db");
    break_database(&database);
    until("the end of trust", async || gateway.get("/strict", &key).await.status == 503).await;
    let reached = upstream.count();
    for credential in [&cookie, &key] {
        let kept = gateway.get("/strict", credential).await;
        assert_eq!((kept.status, kept.problem().as_deref()), (503, Some("unavailable")));
        // Inside the logging route, a rule that is enforced is enforced.
        assert_eq!(gateway.get("/admin", credential).await.status, 503);
    }
    assert_eq!(upstream.count(), reached);
    for credential in [&cookie, &key] {
        let forged = format!("{credential}x-auth-user: root\r\n");
        assert_eq!(gateway.get("/data", &forged).await.status, 200);
        let sent = upstream.last();
        for told in ["x-auth-subject", "x-auth-user", "x-auth-role"] {
            assert_eq!(sent.header(told), None, "it vouches for nobody:\n{}", sent.head);
        }
        assert!(!sent.head.contains("dw_s_") && !sent.head.contains("doorward="), "{}", sent.head);
    }
    assert_eq!(upstream.count(), reached + 2);
    let metrics = exchange(
        gateway.metrics_address().unwrap(),
        "GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
    )
    .await
    .text();
    let shadowed = "doorward_requests_total{route=\"live\",decision=\"shadow\",status=\"2xx\"} 2";
    assert!(metrics.lines().any(|line| line == shadowed), "{metrics}");

    mend_database(&database);
    let counted = gateway.refused(2, |_| true).await;
    for (by, _) in &counted {
        let told = (by.route.as_str(), by.code.as_str(), by.credential.as_str(), by.rule.as_str());
        assert_eq!(told, ("live", "unavailable", "nobody", "reads"), "{counted:?}");
    }
    until("the return", async || gateway.get("/strict", &key).await.status == 200).await;
    assert!(upstream.last().header("x-auth-subject").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_report_tells_a_credential_that_counts_in_another_form_from_one_that_is_not_ours() {
    let upstream = Upstream::spawn().await;
    let old = "t6BnYVb3Xn9Ks2Lw8Rf4Hd6Jy1Mg5Pc";
    let settings = format!(
        "{}\n[[keys.imported]]\nname = \"app\"\nrole = \"viewer\"\nring = '[{{ \"name\": \"a\", \"key\": \"{old}\" }}]'\n",
        app(&upstream)
    );
    let gateway = Gateway::configured(&settings).await;
    let own = gateway.system_key("k", Role::Viewer).await;
    let basic = |key: &str| format!("authorization: Basic {}\r\n", STANDARD.encode(format!("u:{key}")));
    for (headers, code, credential) in [
        (basic(old), "unsupported-scheme", "nobody, by a key as password"),
        (basic(&own), "unsupported-scheme", "nobody, by a key as password"),
        (format!("authorization: token {old}\r\n"), "unsupported-scheme", "nobody, by a key in another form"),
        (format!("authorization: Bearer \"{old}\"\r\n"), "invalid-token", "nobody, by a key in another form"),
        (
            format!("x-api-key: {own}\r\nauthorization: Bearer theirs\r\n"),
            "invalid-token",
            "nobody, by a key beside another credential",
        ),
        ("authorization: Bearer theirs\r\n".to_owned(), "invalid-token", "nobody"),
        (basic("theirs"), "unsupported-scheme", "nobody"),
        (String::new(), "sign-in-required", "nobody"),
    ] {
        gateway.store.purge_refused(Timestamp(i64::MAX)).await.unwrap();
        assert_eq!(gateway.get("/data", &headers).await.status, 200, "{headers}");
        let counted = gateway.refused(1, |_| true).await;
        let (by, _) = &counted[0];
        assert_eq!((by.code.as_str(), by.credential.as_str()), (code, credential), "{headers}");
    }
}
