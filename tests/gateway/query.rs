//! What stands in the query of a URL: in any spelling that an application could read, on both faces.

use doorward::model::role::Role;

use crate::forward_auth::{FLAVOURS, ask};
use crate::support::gateway::bearer;
use crate::support::raw::{statuses, until_closed};
use crate::support::{Gateway, Upstream, Watch};

const RULES: &str = r#"rules = [
  { name = "public", path = "/public", allow = "anyone" },
  { name = "push", path = "/git", query = "service=git-receive-pack", allow = "member" },
  { name = "reads", methods = "read", allow = "viewer" },
  { name = "writes", methods = "write", allow = "member" },
]"#;

async fn asked() -> Gateway {
    Gateway::configured(&format!(
        "server.workers = 1\nserver.trusted_proxies = [\"127.0.0.1\"]\n\
         forward_auth.flavours = [\"nginx\", \"traefik\", \"caddy\", \"haproxy\", \"envoy\"]\n\
         [[routes]]\nhosts = [\"app.example\"]\n{RULES}"
    ))
    .await
}

async fn proxying(upstream: &Upstream, rules: &str) -> Gateway {
    Gateway::configured(&format!(
        "server.workers = 1\n[[upstreams]]\nname = \"app\"\nurl = \"{}\"\n\
         [[routes]]\nupstream = \"app\"\n{rules}",
        upstream.url()
    ))
    .await
}

/// The same requests, to the proxy and as other proxies ask about them.
async fn decide(requests: &[(&str, bool)]) {
    let upstream = Upstream::spawn().await;
    let (own, other) = (proxying(&upstream, RULES).await, asked().await);
    for (role, all) in [(Role::Viewer, false), (Role::Member, true)] {
        let own_key = bearer(&own.system_key(role.as_str(), role).await);
        let other_key = bearer(&other.system_key(role.as_str(), role).await);
        for (request, viewers) in requests {
            let allowed = all || *viewers;
            let status = if allowed { 200 } else { 403 };
            let watch = Watch::begin(&own, &upstream);
            let text = format!("{request} HTTP/1.1\r\nhost: a\r\n{own_key}connection: close\r\n\r\n");
            assert_eq!(statuses(&until_closed(own.address, text).await), [status], "{request} {role}");
            if allowed {
                assert_eq!(upstream.last().line(), *request, "it is sent on as it was looked at");
            } else {
                watch.nothing_reached(request).await;
            }
            // Envoy's question has the method of the request, and an answer to HEAD has no body.
            for flavour in
                FLAVOURS.into_iter().filter(|flavour| *flavour != "envoy" || !request.starts_with("HEAD"))
            {
                let answer = ask(&other, flavour, request, &other_key).await;
                assert_eq!(answer.status, status, "{flavour} {request} {role}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parameter_counts_in_every_spelling_on_both_faces() {
    decide(&[
        ("GET /git/a/info/refs", true),
        ("GET /git/a/info/refs?service=git-upload-pack", true),
        ("GET /other?service=git-receive-pack", true),
        ("GET /git/a/info/refs?service=git-receive-pack", false),
        ("GET /git/a/info/refs?x=1&service=git-receive-pack", false),
        ("GET /git/a/info/refs?service=git-upload-pack&service=git-receive-pack", false),
        ("GET /git/a/info/refs?service=git-receive-pack&service=git-upload-pack", false),
        ("GET /git/a/info/refs?Service=git-receive-pack", false),
        ("GET /git/a/info/refs?service=Git-Receive-Pack", false),
        ("GET /git/a/info/refs?servic%65=git-receive-pack", false),
        ("GET /git/a/info/refs?servic%2565=git-receive-pack", false),
        ("GET /git/a/info/refs?service=git%2Dreceive%2Dpack", false),
        ("GET /git/a/info/refs?service[]=git-receive-pack", false),
        ("GET /git/a/info/refs?x;service=git-receive-pack", false),
        ("GET /git/a/info/refs?service=git-receive-pack;x", false),
        ("GET /git/a/info/refs?service=git-receive-pack+", false),
        ("GET /git/a/info/refs?x=%26service=git-receive-pack", false),
        ("HEAD /git/a/info/refs?service=git-receive-pack", false),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mutation_in_the_address_is_no_read() {
    decide(&[
        ("GET /graphql?query=%7Bprojects%7D", true),
        ("GET /search?q=mutation", true),
        ("GET /api/v1/query?query=sum(rate(x%7Bjob%3D%22mutation%22%7D%5B5m%5D))", true),
        ("GET /graphql?query=mutation%7Bdrop%7D", false),
        ("HEAD /graphql?query=mutation%7Bdrop%7D", false),
        ("GET /graphql?query=%6Dutation+M%7Bdrop%7D", false),
        ("GET /graphql?a=1;query=query+A%7Ba%7D%20mutation+B%7Bb%7D&operationName=B", false),
        ("GET /any/path?x=mutation%7Bdrop%7D", false),
        ("GET /graphql?extensions=%7B%22persistedQuery%22%3A%7B%22sha256Hash%22%3A%22x%22%7D%7D", false),
    ])
    .await;
}

/// Nor for the standard rules, a key that is bound to GET, or a page of another site.
#[tokio::test(flavor = "multi_thread")]
async fn a_mutation_in_the_address_is_a_write_to_everything_that_tells_reads_apart() {
    let upstream = Upstream::spawn().await;
    let gateway = proxying(&upstream, "").await;
    gateway.user("mia", Role::Member).await;
    let cookie = format!("cookie: {}\r\n", gateway.sign_in("mia").await);
    let viewer = bearer(&gateway.system_key("v", Role::Viewer).await);
    let (query, mutation) = ("/graphql?query=%7Bprojects%7D", "/graphql?query=mutation%7Bdrop%7D");
    assert_eq!(gateway.get(query, &viewer).await.status, 200);
    assert_eq!(gateway.get(mutation, &viewer).await.status, 403);
    let foreign = format!("{cookie}origin: https://evil.example\r\nsec-fetch-site: cross-site\r\n");
    assert_eq!(gateway.get(query, &foreign).await.status, 200);
    assert_eq!(gateway.get(mutation, &foreign).await.status, 403);
    assert_eq!(gateway.get(mutation, &cookie).await.status, 200);
    let reading = doorward::model::api_key::KeyScope {
        methods: vec![http::Method::GET],
        ..doorward::model::api_key::KeyScope::default()
    };
    let key = bearer(&gateway.key_with("reader", Role::Member, None, reading).await.0);
    assert_eq!(gateway.get(query, &key).await.status, 200);
    assert_eq!(gateway.get(mutation, &key).await.status, 403);
}
