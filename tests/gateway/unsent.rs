//! Between the look at a caller and the first byte to the upstream time may pass: what is lost meanwhile counts.

use std::time::Duration;

use doorward::model::api_key::KeyScope;
use doorward::model::role::Role;
use doorward::model::time::{Clock, Timestamp};
use doorward::service::api_keys::NewKey;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::credentials::ROUTES as PLAIN_ROUTES;
use crate::support::gateway::bearer;
use crate::support::oracle::check_claims;
use crate::support::raw::{read_answer, read_head};
use crate::support::relay::Relay;
use crate::support::{Answer, Gateway, Upstream, Watch, exchange, within};
use crate::tls::{tls_upstream, upstream_certificates};

const ROUTES: &str = r#"
[[routes]]
upstream = "app"
rules = [
  { name = "public", path = "/public", allow = "anyone" },
  { name = "queries", path = "/graphql", graphql = "query", allow = "viewer" },
  { name = "changes", path = "/graphql", graphql = "mutation", allow = "member" },
]
"#;

const CHANGE: &str = r#"{"query":"mutation { deleteEverything }"}"#;
const QUERY: &str = r#"{"query":"query { projects }"}"#;

/// A request whose caller is known and whose body is not.
struct Unread<'g> {
    gateway: &'g Gateway,
    client: TcpStream,
    body: &'static str,
}

impl<'g> Unread<'g> {
    async fn begin(gateway: &'g Gateway, credential: &str, body: &'static str) -> Self {
        let mut client = TcpStream::connect(gateway.address).await.unwrap();
        let head = format!(
            "POST /graphql HTTP/1.1\r\nhost: {0}\r\norigin: http://{0}\r\n{credential}content-type: application/json\r\n\
             expect: 100-continue\r\ncontent-length: {1}\r\n\r\n",
            gateway.address,
            body.len()
        );
        client.write_all(head.as_bytes()).await.unwrap();
        // The body is asked for once it is known whose it is.
        let more = within("the wish for the body", read_head(&mut client)).await.unwrap();
        assert!(more.starts_with("HTTP/1.1 100 "), "{more}");
        client.write_all(&body.as_bytes()[..1]).await.unwrap();
        Self { gateway, client, body }
    }

    /// Sends the rest, once the gateway acts on every change.
    async fn end(self) -> Answer {
        self.gateway.settle().await;
        self.end_now().await
    }

    async fn end_now(mut self) -> Answer {
        self.client.write_all(&self.body.as_bytes()[1..]).await.unwrap();
        read_answer(&mut self.client).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mutation_is_not_sent_if_its_caller_lost_the_right_while_it_was_read() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    let mel = gateway.user("mel", Role::Member).await;
    let cookie = format!("cookie: {}\r\n", gateway.sign_in("mel").await);
    let (revoked, id) = gateway.key_with("revoked", Role::Member, None, KeyScope::default()).await;
    let (owned, _) = gateway.key_with("owned", Role::Member, Some(mel.clone()), KeyScope::default()).await;
    let new = NewKey {
        name: "short".to_owned(),
        owner: None,
        role: Role::Member,
        scope: KeyScope::default(),
        expires_at: Some(Timestamp(gateway.clock.now().0 + 600)),
    };
    let short = gateway.keys.issue(&gateway.by, new).await.unwrap().0.expose().to_owned();

    let unread = Unread::begin(&gateway, &bearer(&revoked), CHANGE).await;
    let watch = Watch::begin(&gateway, &upstream);
    gateway.keys.revoke(&gateway.by, &id).await.unwrap();
    let answer = unread.end().await;
    assert_eq!((answer.status, answer.problem().as_deref()), (401, Some("invalid-key")), "{}", answer.head);
    watch.nothing_reached("a revoked key").await;

    let unread = Unread::begin(&gateway, &cookie, CHANGE).await;
    let watch = Watch::begin(&gateway, &upstream);
    gateway.store.end_sessions_of(&mel).await.unwrap();
    let answer = unread.end().await;
    assert_eq!((answer.status, answer.problem().as_deref()), (401, Some("session-ended")));
    watch.nothing_reached("a session that ended").await;

    let unread = Unread::begin(&gateway, &bearer(&owned), CHANGE).await;
    let watch = Watch::begin(&gateway, &upstream);
    gateway.accounts.disable(&gateway.by, &mel).await.unwrap();
    assert_eq!(unread.end().await.status, 401);
    watch.nothing_reached("a disabled owner").await;

    let unread = Unread::begin(&gateway, &bearer(&short), CHANGE).await;
    let watch = Watch::begin(&gateway, &upstream);
    gateway.clock.advance(Duration::from_secs(601));
    assert_eq!(unread.end_now().await.status, 401);
    watch.nothing_reached("a key past its end").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_changed_while_a_body_was_read_is_the_one_that_counts_and_is_told() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    let user = gateway.user("mel", Role::Member).await;
    let (key, _) = gateway.key_with("k", Role::Member, Some(user.clone()), KeyScope::default()).await;
    let change = Unread::begin(&gateway, &bearer(&key), CHANGE).await;
    let query = Unread::begin(&gateway, &bearer(&key), QUERY).await;
    let watch = Watch::begin(&gateway, &upstream);
    gateway.accounts.set_role(&gateway.by, &user, Role::Viewer).await.unwrap();
    let answer = change.end().await;
    assert_eq!((answer.status, answer.problem().as_deref()), (403, Some("forbidden")), "{}", answer.head);
    assert_eq!(query.end().await.status, 200, "a viewer may ask");
    let told: [(&str, &str); 4] = [
        ("x-auth-user", "mel"),
        ("x-auth-subject", "*"),
        ("x-auth-email", "mel@example.org"),
        ("x-auth-role", "viewer"),
    ];
    watch.reached("a query of a lowered role", &["POST /graphql"], &told).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_rules_only_log_a_key_that_was_revoked_meanwhile_passes_as_nobodys() {
    let upstream = Upstream::spawn().await;
    let routes = ROUTES.replace("upstream = \"app\"\n", "upstream = \"app\"\nenforce = \"log\"\n");
    let gateway = Gateway::spawn(&upstream.url(), &routes).await;
    let (key, id) = gateway.key_with("k", Role::Member, None, KeyScope::default()).await;
    let unread = Unread::begin(&gateway, &bearer(&key), CHANGE).await;
    let watch = Watch::begin(&gateway, &upstream);
    gateway.keys.revoke(&gateway.by, &id).await.unwrap();
    assert_eq!(unread.end().await.status, 200);
    watch.reached("a revoked key that is let pass", &["POST /graphql"], &[]).await;
}

const GLASS: &str = "q7Zt0Vb3Xn9Ks2Lw8Rf4Hd6Jy1Mg5Pc+/=";
const OLD: &str = "Zr8Kd0Vb3Xn9Ks2Lw8Rf4Hd6Jy1Mg5Pc+/=";

/// Settings with a break-glass token and an imported key, if they are wanted.
fn with_tokens(upstream: &Upstream, glass: bool, old: Option<&str>) -> String {
    let mut text = String::new();
    if glass {
        text.push_str(&format!("[[break_glass]]\nname = \"on-call\"\ntoken = \"{GLASS}\"\n"));
    }
    if let Some(role) = old {
        text.push_str(&format!(
            "[[keys.imported]]\nname = \"old\"\nrole = \"{role}\"\nring = '[{{ \"name\": \"k\", \"key\": \"{OLD}\" }}]'\n"
        ));
    }
    format!("{text}[[upstreams]]\nname = \"app\"\nurl = \"{}\"\n{ROUTES}", upstream.url())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_the_settings_lost_while_a_body_was_read_opens_nothing() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::configured(&with_tokens(&upstream, true, Some("member"))).await;
    let glass = Unread::begin(&gateway, &bearer(GLASS), CHANGE).await;
    let other = Unread::begin(&gateway, &bearer(GLASS), CHANGE).await;
    let old = Unread::begin(&gateway, &bearer(OLD), CHANGE).await;
    let watch = Watch::begin(&gateway, &upstream);
    gateway.reload(&with_tokens(&upstream, true, Some("viewer"))).await.unwrap();
    assert_eq!(old.end().await.status, 403, "its role is another one now");
    watch.nothing_reached("an imported key of a lower role").await;
    assert_eq!(glass.end().await.status, 200, "what a reload leaves goes on");

    let old = Unread::begin(&gateway, &bearer(OLD), QUERY).await;
    let watch = Watch::begin(&gateway, &upstream);
    gateway.reload(&with_tokens(&upstream, false, None)).await.unwrap();
    assert_eq!(other.end().await.status, 401);
    assert_eq!(old.end().await.status, 401);
    watch.nothing_reached("tokens that are gone").await;
}

/// A gateway whose upstream can be connected to only once the way is free.
async fn behind_a_closed_way(routes: &str) -> (Gateway, Relay, crate::tls::Heard) {
    let (folder, _) = upstream_certificates();
    let (server, heard) = tls_upstream(folder.path(), None).await;
    let relay = Relay::to(server).await;
    relay.hold();
    let gateway = Gateway::configured(&format!(
        "[[upstreams]]\nname = \"app\"\nurl = \"https://localhost:{}\"\ntls = {{ ca = \"{}/ca.crt\" }}\n\
         timeouts.connect = \"20s\"\n{routes}",
        relay.address.port(),
        folder.path().display(),
    ))
    .await;
    (gateway, relay, heard)
}

/// Asks for something, and gives the answer once `change` was made while the upstream is connected to.
async fn asked_while(
    gateway: &Gateway,
    relay: &Relay,
    key: &str,
    change: impl Future<Output = ()>,
) -> Answer {
    let request = format!("GET /data HTTP/1.1\r\nhost: {}\r\n{}\r\n", gateway.address, bearer(key));
    let asking = tokio::spawn(exchange(gateway.address, request));
    relay.hears_something().await;
    change.await;
    gateway.settle().await;
    relay.release();
    within("the answer", asking).await.unwrap()
}

fn one(heard: &crate::tls::Heard) -> crate::support::upstream::Recorded {
    let heard = heard.lock().unwrap();
    assert_eq!(heard.len(), 1);
    crate::support::upstream::Recorded { head: heard[0].clone(), body: Vec::new(), connection: 0 }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_while_an_upstream_is_connected_to_is_what_it_is_told() {
    let (gateway, relay, heard) = behind_a_closed_way(PLAIN_ROUTES).await;
    let user = gateway.user("mel", Role::Member).await;
    let (key, _) = gateway.key_with("k", Role::Member, Some(user.clone()), KeyScope::default()).await;
    let lowered =
        Box::pin(async { gateway.accounts.set_role(&gateway.by, &user, Role::Viewer).await.unwrap() });
    assert_eq!(asked_while(&gateway, &relay, &key, lowered).await.status, 200);
    let told: [(&str, &str); 4] = [
        ("x-auth-user", "mel"),
        ("x-auth-subject", "*"),
        ("x-auth-email", "mel@example.org"),
        ("x-auth-role", "viewer"),
    ];
    check_claims("a lowered role", &one(&heard), &told);

    let (gateway, relay, heard) =
        behind_a_closed_way(&PLAIN_ROUTES.replace("path = \"/\"\n", "path = \"/\"\nenforce = \"log\"\n"))
            .await;
    let (key, id) = gateway.key_with("k", Role::Viewer, None, KeyScope::default()).await;
    let revoked = Box::pin(async { assert!(gateway.keys.revoke(&gateway.by, &id).await.unwrap()) });
    assert_eq!(asked_while(&gateway, &relay, &key, revoked).await.status, 200, "rules that only log");
    check_claims("a revoked key that is let pass", &one(&heard), &[]);

    let (gateway, relay, heard) = behind_a_closed_way(PLAIN_ROUTES).await;
    let (key, id) = gateway.key_with("k", Role::Viewer, None, KeyScope::default()).await;
    let revoked = Box::pin(async { assert!(gateway.keys.revoke(&gateway.by, &id).await.unwrap()) });
    assert_eq!(asked_while(&gateway, &relay, &key, revoked).await.status, 401);
    assert!(heard.lock().unwrap().concat().is_empty(), "nothing is sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn for_a_right_that_was_lost_before_nothing_is_connected_to() {
    let (gateway, relay, heard) = behind_a_closed_way(ROUTES).await;
    let (key, id) = gateway.key_with("k", Role::Member, None, KeyScope::default()).await;
    let unread = Unread::begin(&gateway, &bearer(&key), CHANGE).await;
    gateway.keys.revoke(&gateway.by, &id).await.unwrap();
    assert_eq!(unread.end().await.status, 401, "at once, though the upstream cannot be connected to");
    assert_eq!((relay.heard(), heard.lock().unwrap().len()), (0, 0));
}
