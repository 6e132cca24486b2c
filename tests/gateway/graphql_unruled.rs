//! Routes whose rules know nothing of GraphQL: what looks like it is told of and decided as ever; and the standard rules
//! where they are told of it.

use doorward::model::refused::{RESEMBLES_GRAPHQL, RefusedBy, Tally};
use doorward::model::role::Role;

use crate::forward_auth::ask;
use crate::support::gateway::bearer;
use crate::support::{Answer, Gateway, Upstream, exchange};

const JSON: &str = "content-type: application/json\r\n";

async fn post(gateway: &Gateway, path: &str, headers: &str, body: &str) -> Answer {
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: {}\r\n{headers}content-length: {length}\r\n\r\n",
        gateway.address
    );
    exchange(gateway.address, format!("{head}{body}")).await
}

async fn gateway(upstream: &Upstream, routes: &str) -> Gateway {
    let url = upstream.url();
    Gateway::configured(&format!("[[upstreams]]\nname = \"app\"\nurl = \"{url}\"\n{routes}")).await
}

/// What was written down, once there are as many requests that are not told apart by operation.
async fn sightings(gateway: &Gateway, wanted: u64) -> Vec<(RefusedBy, Tally)> {
    gateway.refused(wanted, |by| by.code == RESEMBLES_GRAPHQL).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_looks_like_graphql_is_told_of_in_a_place_of_its_own_and_decided_as_ever() {
    let upstream = Upstream::spawn().await;
    let routes = "[[routes]]\nname = \"dagster\"\nupstream = \"app\"\n\
                  [[routes]]\nname = \"shadow\"\nupstream = \"app\"\npath = \"/shadow\"\nenforce = \"log\"\n\
                  [[routes]]\nname = \"knows\"\nupstream = \"app\"\npath = \"/knows\"\ngraphql = [\"/knows\"]\n";
    let gateway = gateway(&upstream, routes).await;
    let viewer = bearer(&gateway.system_key("v", Role::Viewer).await);
    let member = bearer(&gateway.system_key("m", Role::Member).await);
    let query = r#"{"operationName":"Q","variables":{},"query":"query Q { a }"}"#;
    for (path, who, headers, body, status) in [
        ("/graphql", &member, JSON, query, 200),
        ("/graphql", &member, "content-type: application/graphql\r\n", "{ a }", 200),
        ("/shadow/graphql", &String::new(), JSON, query, 200),
        // As ever, what is refused is not looked at.
        ("/graphql", &viewer, JSON, query, 403),
        // And these are none.
        ("/search", &member, JSON, r#"{"query":"mutation in BRCA1"}"#, 200),
        ("/search", &member, JSON, r#"{"query":{"match":{"a":"{ b }"}}}"#, 200),
        ("/search", &member, "content-type: text/plain\r\n", query, 200),
        ("/knows/graphql", &member, JSON, query, 200),
    ] {
        let before = upstream.count();
        let answer = post(&gateway, path, &format!("{who}{headers}"), body).await;
        assert_eq!(answer.status, status, "{path} {body}");
        assert_eq!(upstream.count() - before, usize::from(status == 200), "{path} {body}");
        if status == 200 {
            assert_eq!(upstream.last().body, body.as_bytes(), "every byte arrives");
        }
    }
    for (target, status) in [
        ("/api?query=%7Ba%7B b%7D%7D".replace(' ', "%20"), 200),
        ("/api?query=query+Q%7Ba%7D".to_owned(), 200),
        ("/api/v1/query?query=%7Bjob%3D%22x%22%7D".to_owned(), 200),
        ("/api?q=%7Ba%7D".to_owned(), 200),
    ] {
        assert_eq!(gateway.get(&target, &viewer).await.status, status, "{target}");
    }
    let seen = sightings(&gateway, 5).await;
    let told: Vec<(&str, &str, &str, u64, &str)> = seen
        .iter()
        .map(|(by, tally)| (&*by.route, &*by.credential, &*by.method, tally.count, tally.example.as_str()))
        .collect();
    for row in [
        ("dagster", "key:m", "POST", 2, "/graphql"),
        ("dagster", "key:v", "GET", 2, "/api"),
        ("shadow", "nobody", "POST", 1, "/shadow/graphql"),
    ] {
        assert!(told.contains(&row), "{row:?} in {told:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_is_told_of_a_few_times_in_a_minute_and_no_more() {
    let upstream = Upstream::spawn().await;
    let gateway =
        gateway(&upstream, "[[routes]]\nupstream = \"app\"\nrules = [{ allow = \"anyone\" }]").await;
    // One thread counts for itself: all of them by one connection.
    let request = format!("GET /graphql?query=%7Ba%7D HTTP/1.1\r\nhost: {}\r\n", gateway.address);
    let all = format!("{request}\r\n").repeat(9) + &format!("{request}connection: close\r\n\r\n");
    let answers =
        crate::support::raw::statuses(&crate::support::raw::until_closed(gateway.address, all).await);
    assert_eq!(answers, vec![200; 10]);
    assert_eq!(upstream.count(), 10);
    let seen = sightings(&gateway, 3).await;
    assert_eq!(seen[0].1.example, "/graphql", "never the query");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_proxys_question_tells_by_its_address() {
    let gateway = Gateway::configured(
        "[server]\ntrusted_proxies = [\"127.0.0.1\"]\n\
         [forward_auth]\nflavours = [\"nginx\"]\n[[routes]]\nname = \"app\"\n",
    )
    .await;
    let viewer = bearer(&gateway.system_key("v", Role::Viewer).await);
    assert_eq!(ask(&gateway, "nginx", "GET /graphql?query=%7Ba%7D", &viewer).await.status, 200);
    assert_eq!(ask(&gateway, "nginx", "GET /graphql?query=up", &viewer).await.status, 200);
    assert_eq!(sightings(&gateway, 1).await[0].0.route, "app");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_standard_rules_know_graphql_where_they_are_told_of_it() {
    let upstream = Upstream::spawn().await;
    let gateway = gateway(&upstream, "[[routes]]\nupstream = \"app\"\ngraphql = [\"/graphql\"]\n").await;
    let mut who = Vec::new();
    for (name, role) in
        [("v", Some(Role::Viewer)), ("m", Some(Role::Member)), ("a", Some(Role::Agent)), ("", None)]
    {
        who.push(match role {
            Some(role) => bearer(&gateway.system_key(name, role).await),
            None => String::new(),
        });
    }
    let posted = |query: &str| format!("{{\"query\":{}}}", serde_json::to_string(query).unwrap());
    let batch = format!("[{},{}]", posted("{ a }"), posted("mutation { a }"));
    for (path, body, viewer) in [
        ("/graphql", posted("{ a }"), 200),
        ("/graphql", posted("query Q { a }"), 200),
        ("/graphql", posted("subscription S { a }"), 200),
        ("/graphql", posted("mutation { a }"), 403),
        ("/graphql", batch, 403),
        ("/graphql", "{\"id\":\"stored\"}".to_owned(), 403),
        ("/graphql/below", posted("mutation { a }"), 403),
        ("/graphql/below", posted("{ a }"), 200),
        ("/GraphQL", posted("{ a }"), 403),
        // Elsewhere nothing has changed.
        ("/other", posted("{ a }"), 403),
    ] {
        for (who, status) in who.iter().zip([viewer, 200, 403, 401]) {
            let answer = post(&gateway, path, &format!("{who}{JSON}"), &body).await;
            assert_eq!(answer.status, status, "{path} {body} {who}");
        }
    }
    for (target, viewer) in [
        ("/graphql?query=%7Ba%7D", 200),
        ("/graphql?query=mutation%7Ba%7D", 403),
        ("/graphql?query=%7Ba%7D&query=mutation%7Ba%7D", 403),
        ("/graphql?documentId=5", 403),
        ("/graphql", 403),
        ("/other?query=mutation%7Ba%7D", 403),
        ("/other", 200),
    ] {
        for (who, status) in who.iter().zip([viewer, 200, 403, 401]) {
            assert_eq!(gateway.get(target, who).await.status, status, "{target} {who}");
        }
    }
    let socket = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                  sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let handshake = format!("{}{socket}", who[0]);
    assert_eq!(gateway.get("/graphql?query=%7Ba%7D", &handshake).await.status, 403);
}
