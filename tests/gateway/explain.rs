//! Explanations, by header and by API: for admins only, and what they say is what happens.

use doorward::model::role::Role;

use crate::credentials::ROUTES;
use crate::support::gateway::bearer;
use crate::support::{Answer, Gateway, Upstream};

const ASK: &str = "x-doorward-explain: 1\r\n";

fn told(answer: &Answer) -> Option<serde_json::Value> {
    answer.header("x-doorward-explain").map(|text| serde_json::from_str(text).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_who_asks_is_told_why_and_nobody_else_is() {
    let upstream = Upstream::spawn().await;
    upstream.answers("HTTP/1.1 200 OK\r\nx-doorward-explain: forged\r\ncontent-length: 0\r\n\r\n");
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    let admin = gateway.system_key("ops", Role::Admin).await;
    let viewer = gateway.system_key("grafana", Role::Viewer).await;

    let answer = gateway.get("/data", &format!("{ASK}{}", bearer(&admin))).await;
    let why = told(&answer).expect("an admin asked");
    assert_eq!(
        (&why["decision"], &why["rule"], &why["passes"]),
        (&"allow".into(), &"reads".into(), &true.into())
    );
    assert_eq!((&why["caller"]["name"], &why["caller"]["role"]), (&"ops".into(), &"admin".into()));
    assert_eq!(why["rules"][0]["why"], "path", "{why}");

    // Neither what a client sends under that name nor what an application answers passes.
    let unasked = gateway.get("/data", &bearer(&admin)).await;
    assert_eq!(unasked.header("x-doorward-explain"), None);
    assert!(
        upstream.requests().iter().all(|request| !request.head.to_lowercase().contains("doorward-explain"))
    );

    // Refused before anybody was looked up: nobody is an admin then.
    let refused = gateway.get("/a%2Fb", &format!("{ASK}{}", bearer(&admin))).await;
    assert_eq!((refused.status, told(&refused)), (400, None));
    for (path, headers) in [("/data", bearer(&viewer)), ("/data", String::new()), ("/admin", bearer(&viewer))]
    {
        let answer = gateway.get(path, &format!("{ASK}{headers}")).await;
        assert_eq!(told(&answer), None, "{path} {headers}");
    }
    assert_eq!(gateway.get("/public", &format!("{ASK}{}", bearer(&viewer))).await.status, 200);
}

async fn ask(gateway: &Gateway, credential: &str, parameters: &[(&str, &str)]) -> Answer {
    let query: String =
        url::form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
    gateway.get(&format!("/_doorward/api/explain?{query}"), credential).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_explains_requests_that_were_never_made_to_admins_only() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    let admin = bearer(&gateway.system_key("ops", Role::Admin).await);
    let viewer = bearer(&gateway.system_key("grafana", Role::Viewer).await);
    gateway.user_with("alice", Role::Member, &["data"], false).await;
    let question = [("request", "POST /admin"), ("as", "user:alice")];

    let answer = ask(&gateway, &admin, &question).await;
    assert_eq!((answer.status, answer.header("cache-control")), (200, Some("no-store")), "{}", answer.text());
    let why: serde_json::Value = serde_json::from_str(&answer.text()).unwrap();
    assert_eq!((&why["decision"], &why["rule"]), (&"deny".into(), &"admin".into()), "{why}");
    assert_eq!(why["caller"]["groups"][0], "data");

    assert_eq!(ask(&gateway, &viewer, &question).await.status, 403);
    gateway.user("root", Role::Admin).await;
    let session = format!("cookie: {}\r\n", gateway.sign_in("root").await);
    let by_session = ask(&gateway, &session, &question).await;
    assert_eq!((by_session.status, by_session.problem().as_deref()), (403, Some("key-required")));
    assert_eq!(ask(&gateway, "", &question).await.status, 401);
    assert_eq!(ask(&gateway, "authorization: Bearer wrong\r\n", &question).await.status, 401);
    let posted = gateway.send("POST /_doorward/api/explain", &format!("{admin}content-length: 0\r\n")).await;
    assert_eq!(posted.status, 405);
    for (wrong, status) in [
        (&[("request", "POST")][..], 422),
        (&[("request", "GET /a"), ("as", "somebody")], 422),
        (&[("request", "GET /a"), ("client", "here")], 422),
        (&[("request", "GET /a"), ("kind", "smoke")], 422),
        (&[("request", "GET /a"), ("colour", "red")], 422),
        (&[("request", "GET /a"), ("as", "user:nobody-known")], 404),
        (&[("request", "GET /a/../b")], 422),
    ] {
        let answer = ask(&gateway, &admin, wrong).await;
        assert_eq!(answer.status, status, "{wrong:?} {}", answer.text());
        assert!(answer.problem().is_some(), "{}", answer.text());
    }
    assert_eq!(upstream.count(), 0, "nothing was made");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_api_says_is_what_happens() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    let admin = bearer(&gateway.system_key("ops", Role::Admin).await);
    let mut callers = vec![("nobody".to_owned(), String::new())];
    for (name, role) in [("v", Role::Viewer), ("m", Role::Member), ("a", Role::Agent), ("root", Role::Admin)]
    {
        callers.push((format!("key:{name}"), bearer(&gateway.system_key(name, role).await)));
    }
    for (who, credential) in &callers {
        for request in [
            "GET /data",
            "OPTIONS /data",
            "POST /ingest",
            "DELETE /data",
            "GET /admin/x",
            "POST /ADMIN",
            "GET /a;b",
        ] {
            let explained = ask(&gateway, &admin, &[("request", request), ("as", who)]).await;
            let why: serde_json::Value = serde_json::from_str(&explained.text()).unwrap();
            let happened = gateway.send(request, &format!("{credential}content-length: 0\r\n")).await.status;
            let expected = match (why["decision"].as_str().unwrap(), why["code"].as_str()) {
                ("allow", _) => 200,
                (_, Some("odd-path")) => 400,
                ("challenge", _) => 401,
                _ => 403,
            };
            assert_eq!(happened, expected, "{who} {request}: {why}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn preflights_and_origins_are_explained_as_they_are_decided() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::configured(&format!(
        "public_url = \"https://gate.example\"\nserver.trusted_origins = [\"https://spa.example\"]\n\
         [[upstreams]]\nname = \"app\"\nurl = \"{}\"\n{ROUTES}",
        upstream.url()
    ))
    .await;
    let admin = bearer(&gateway.system_key("ops", Role::Admin).await);
    let own = format!("http://{}", gateway.address);
    let mut passed = 0;
    for origin in
        ["https://spa.example", "https://gate.example", own.as_str(), "https://evil.example", "null"]
    {
        for path in ["/data", "/admin", "/public"] {
            let request = format!("OPTIONS {path}");
            let parameters = [("request", request.as_str()), ("origin", origin)];
            let why: serde_json::Value =
                serde_json::from_str(&ask(&gateway, &admin, &parameters).await.text()).unwrap();
            let asks = format!("origin: {origin}\r\naccess-control-request-method: DELETE\r\n");
            let happened = gateway.send(&request, &asks).await.status;
            assert_eq!(why["passes"], happened == 200, "{request} from {origin}: {happened} {why}");
            passed += usize::from(why["rule"] == "cors-preflight");
        }
    }
    assert_eq!(passed, 2, "those of the trusted origin, where nobody else may pass");
}
