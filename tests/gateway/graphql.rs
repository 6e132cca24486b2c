//! GraphQL over POST and GET: readers read, whatever a document is wrapped in.

use doorward::model::role::Role;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::gateway::bearer;
use crate::support::oracle::Claims;
use crate::support::raw::{read_answer, statuses, until_closed};
use crate::support::{Answer, Gateway, Upstream, Watch, exchange, within};

/// Everybody queries, members change; `secrets` is for admins.
const ROUTES: &str = r#"
[[routes]]
upstream = "app"
path = "/"
rules = [
  { name = "public", path = "/public", allow = "anyone" },
  { name = "open-queries", path = "/open", graphql = ["query"], fields = ["version", "ping"], allow = "anyone" },
  { name = "queries", path = "/graphql", graphql = ["query"], fields = ["projects", "viewer"], allow = "viewer" },
  { name = "changes", path = "/graphql", graphql = ["query", "mutation", "subscription"], allow = "member" },
  { name = "rest", allow = "admin" },
]
"#;

const BODY_LIMIT: usize = 16 * 1024;

async fn start(upstream: &Upstream) -> Gateway {
    Gateway::configured(&format!(
        "server.workers = 1\nserver.limits.graphql_body_bytes = {BODY_LIMIT}\n\
         [[upstreams]]\nname = \"app\"\nurl = \"{}\"\n{ROUTES}",
        upstream.url()
    ))
    .await
}

fn post(gateway: &Gateway, target: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {target} HTTP/1.1\r\nhost: {}\r\n{headers}content-length: {}\r\n\r\n",
        gateway.address,
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// Who asks, and what the upstream is told of them.
struct People {
    vera: String,
    mel: String,
}

impl People {
    async fn of(gateway: &Gateway) -> Self {
        gateway.user("vera", Role::Viewer).await;
        gateway.user("mel", Role::Member).await;
        let cookie = async |name: &str| format!("cookie: {}\r\n", gateway.sign_in(name).await);
        Self { vera: cookie("vera").await, mel: cookie("mel").await }
    }
}

const VERA: Claims<'static> = &[
    ("x-auth-user", "vera"),
    ("x-auth-subject", "*"),
    ("x-auth-email", "vera@example.org"),
    ("x-auth-role", "viewer"),
];
const MEL: Claims<'static> = &[
    ("x-auth-user", "mel"),
    ("x-auth-subject", "*"),
    ("x-auth-email", "mel@example.org"),
    ("x-auth-role", "member"),
];

const JSON: &str = "content-type: application/json\r\n";

/// Sends one request as the viewer, who may only if `reads`, and as the member, who always may.
async fn check(
    gateway: &Gateway,
    upstream: &Upstream,
    people: &People,
    (target, headers, body): (&str, &str, &[u8]),
    reads: bool,
) {
    let name = format!("{target} {headers} {}", String::from_utf8_lossy(&body[..body.len().min(200)]));
    let line = format!("POST {target}");
    let watch = Watch::begin(gateway, upstream);
    let answer =
        exchange(gateway.address, post(gateway, target, &format!("{}{headers}", people.vera), body)).await;
    if reads {
        assert_eq!(answer.status, 200, "{name}: {}", answer.text());
        assert_eq!(upstream.last().body, body, "{name}: the body is sent on as it came");
        watch.reached(&name, &[&line], VERA).await;
    } else {
        assert_eq!(answer.status, 403, "{name}: {}", answer.text());
        watch.nothing_reached(&name).await;
    }
    let watch = Watch::begin(gateway, upstream);
    let answer =
        exchange(gateway.address, post(gateway, target, &format!("{}{headers}", people.mel), body)).await;
    assert_eq!(answer.status, 200, "{name}: {}", answer.text());
    assert_eq!(upstream.last().body, body, "{name}");
    watch.reached(&name, &[&line], MEL).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_plainly_a_query_of_listed_fields_is_a_read() {
    let upstream = Upstream::spawn().await;
    let gateway = start(&upstream).await;
    let people = People::of(&gateway).await;
    let reads: &[&str] = &[
        r#"{"query":"{ projects { id } }"}"#,
        r#"{"query":"query Q { viewer { name } projects { id } }"}"#,
        r#" { "variables" : {"query":"mutation { x }"} , "query" : "query { projects }", "operationName": null } "#,
        r#"{"query":"query A { projects } query B { viewer }","operationName":"A"}"#,
        r#"{"query":"query A { projects } mutation B { drop }","operationName":"A"}"#,
        r#"[{"query":"{ projects }"},{"query":"{ viewer }"}]"#,
        r#"{"query":"query { alias: projects ...F } fragment F on Query { viewer { secrets } }"}"#,
        r##"{"query":"# mutation { x }\n{ projects(text: \"mutation { drop }\") }"}"##,
        r#"{"\u0071uery":"{ projects }"}"#,
        "{\"query\":\"\\u007b projects \\u007d\"}",
    ];
    for body in reads {
        check(&gateway, &upstream, &people, ("/graphql", JSON, body.as_bytes()), true).await;
    }
    let graphql = "content-type: application/graphql\r\n";
    check(&gateway, &upstream, &people, ("/graphql", graphql, b"{ projects }"), true).await;
    let with_charset = "content-type: Application/JSON; charset=utf-8\r\n";
    check(&gateway, &upstream, &people, ("/graphql", with_charset, reads[0].as_bytes()), true).await;
    check(&gateway, &upstream, &people, ("/graphql?variables=1", JSON, reads[0].as_bytes()), true).await;

    let deep = format!(r#"{{"query":"{} x {}"}}"#, "{ projects ".repeat(100), "}".repeat(100));
    let cycle = r#"{"query":"{ ...A } fragment A on Query { ...A }"}"#;
    let batch = format!("[{}]", vec![reads[0]; 101].join(","));
    let members: String = (0..80).map(|at| format!("\"m{at}\":1,")).collect();
    let many = format!("{{{members}\"query\":\"{{ projects }}\"}}");
    let writes: &[&str] = &[
        r#"{"query":"mutation { projects }"}"#,
        r#"{"query":"subscription { projects }"}"#,
        r#"{"query":"{ secrets }"}"#,
        r#"{"query":"{ projects: secrets }"}"#,
        r#"{"query":"{ projects ... { secrets } }"}"#,
        r#"{"query":"{ projects ... on Query { secrets } }"}"#,
        r#"{"query":"{ ...F } fragment F on Query { secrets }"}"#,
        r#"{"query":"{ ...Missing }"}"#,
        r#"{"query":"{ __schema { types { name } } }"}"#,
        r#"{"query":"query A { projects } mutation B { drop }"}"#,
        r#"{"query":"query A { projects } mutation B { drop }","operationName":"B"}"#,
        r#"{"query":"query A { projects } mutation B { drop }","operationName":""}"#,
        r#"{"query":"query A { projects } mutation A { drop }","operationName":"A"}"#,
        r#"{"query":"query A { projects }","operationName":"Z"}"#,
        r#"{"query":"{ projects }","query":"mutation { drop }"}"#,
        r#"{"query":"mutation { drop }","query":"{ projects }"}"#,
        r#"{"query":"{ projects }","Query":"mutation { drop }"}"#,
        r#"{"query":"{ projects }","\u0071uery":"mutation { drop }"}"#,
        r#"{"query":"query A { projects } mutation B { drop }","operationName":"A","operationName":"B"}"#,
        r#"{"query":"query A { projects } mutation B { drop }","operationName":"A","OPERATIONNAME":"B"}"#,
        r#"[{"query":"{ projects }"},{"query":"mutation { drop }"}]"#,
        r#"[{"query":"{ projects }"},{"id":"persisted"}]"#,
        r#"[[{"query":"{ projects }"}]]"#,
        "[]",
        "{}",
        "",
        "null",
        "\"{ projects }\"",
        "{ projects }",
        r#"{"query":null}"#,
        r#"{"query":["{ projects }"]}"#,
        r#"{"query":""}"#,
        r#"{"query":"{ projects "}"#,
        r#"{"query":"{ projects } }"}"#,
        r#"{"query":"{ projects }"} trailing"#,
        r#"{"query":"{ projects }"}{"query":"mutation { drop }"}"#,
        r#"{"query":"{ projects }""#,
        "\u{feff}{\"query\":\"{ projects }\"}",
        r#"{"extensions":{"persistedQuery":{"sha256Hash":"00"}}}"#,
        r#"{"query":"{ projects }","extensions":{"persistedQuery":{"sha256Hash":"00"}}}"#,
        r#"{"query":"{ projects }","documentId":"00"}"#,
        r#"{"query":"{ projects # x\r secrets\n }"}"#,
        r#"{"query":"type T { a: Int } { projects }"}"#,
        cycle,
        &deep,
        &batch,
        &many,
    ];
    for body in writes {
        check(&gateway, &upstream, &people, ("/graphql", JSON, body.as_bytes()), false).await;
    }
    let query = reads[0].as_bytes();
    for headers in [
        "",
        "content-type: text/plain\r\n",
        "content-type: application/x-www-form-urlencoded\r\n",
        "content-type: multipart/form-data; boundary=x\r\n",
        "content-type: application/jsonx\r\n",
        "content-type: application/json\r\ncontent-type: text/plain\r\n",
        "content-type: application/json, text/plain\r\n",
        "content-type: application/json\r\ncontent-encoding: gzip\r\n",
        "content-type: application/json\r\ncontent-encoding: identity\r\n",
        "content-type: application/json\r\ncontent-transfer-encoding: base64\r\n",
        "content-type: application/json\r\ncontent-type: application/json\r\n",
        "content-type: application/json; charset=utf-7\r\n",
        "content-type: application/json; charset=utf-16\r\n",
        "content-type: application/json; charset=utf-8; charset=utf-7\r\n",
        "content-type: application/json; charset=\"utf-8\"\r\n",
        "content-type: application/json; x=y\r\n",
    ] {
        check(&gateway, &upstream, &people, ("/graphql", headers, query), false).await;
    }
    for target in [
        "/graphql?query=mutation%7Bdrop%7D",
        "/graphql?operationName=B",
        "/graphql?%71uery=x",
        "/graphql?query=",
        "/graphql?query=a&query=b",
        "/graphql?QUERY=a",
        "/graphql?query%5B%5D=a",
        "/graphql?x=1;query=a",
        "/graphql?Operationname=B",
        "/graphql?id=1",
        "/graphql?documentId=1",
        "/graphql?doc_id=1",
        "/graphql?extensions=%7B%22persistedQuery%22%3A1%7D",
    ] {
        check(&gateway, &upstream, &people, (target, JSON, query), false).await;
    }
    let not_utf8 = [br#"{"query":"{ projects(a: \""#.as_slice(), b"\xff", br#"\") }"}"#].concat();
    check(&gateway, &upstream, &people, ("/graphql", JSON, &not_utf8), false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_in_the_address_is_read_there_and_only_there() {
    let upstream = Upstream::spawn().await;
    let gateway = start(&upstream).await;
    let people = People::of(&gateway).await;
    for (target, reads) in [
        ("/graphql?query=%7Bprojects%7D", true),
        ("/graphql?query=query+A%7Bprojects%7Dmutation+B%7Bdrop%7D&operationName=A", true),
        ("/graphql?query=mutation%7Bdrop%7D", false),
        ("/graphql?query=%7Bsecrets%7D", false),
        ("/graphql?query=%7Bprojects%7D&query=mutation%7Bdrop%7D", false),
        ("/graphql?query=mutation%7Bdrop%7D&query=%7Bprojects%7D", false),
        ("/graphql?query=query+A%7Bprojects%7Dmutation+B%7Bdrop%7D&operationName=A&operationName=B", false),
        ("/graphql?query=query+A%7Bprojects%7Dmutation+B%7Bdrop%7D", false),
        ("/graphql", false),
        ("/graphql?Query=%7Bprojects%7D", false),
        ("/graphql?query=%ff", false),
        ("/graphql?%71uery=%7Bprojects%7D", false),
        ("/graphql?query=%7Bprojects%7D&Query=mutation%7Bdrop%7D", false),
        ("/graphql?query=%7Bprojects%7D&query[]=mutation%7Bdrop%7D", false),
        ("/graphql?query=%7Bprojects%7D;query=mutation%7Bdrop%7D", false),
        ("/graphql?query=%7Bprojects%7D&id=1", false),
        ("/graphql?query=%7Bprojects%7D&extensions=%7B%22persistedQuery%22%3A1%7D", false),
        ("/graphql?query=%7Bprojects%7D&extensions=%7B%7D&op=Projects", true),
    ] {
        let line = format!("GET {target}");
        for (cookie, claims, allowed) in [(&people.vera, VERA, reads), (&people.mel, MEL, true)] {
            let watch = Watch::begin(&gateway, &upstream);
            let answer = gateway.get(target, cookie).await;
            assert_eq!(answer.status, if allowed { 200 } else { 403 }, "{target}");
            if allowed {
                watch.reached(target, &[&line], claims).await;
            } else {
                watch.nothing_reached(target).await;
            }
        }
    }
    // What a connection is switched to carries other operations than its address says.
    for upgrade in ["websocket", "custom/1.2"] {
        let watch = Watch::begin(&gateway, &upstream);
        let request = format!(
            "GET /graphql?query=%7Bprojects%7D HTTP/1.1\r\nhost: a\r\n{}connection: upgrade\r\nupgrade: {upgrade}\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\norigin: http://{}\r\n\r\n",
            people.vera, gateway.address
        );
        let answer = exchange(gateway.address, request).await;
        assert!([400, 403].contains(&answer.status), "{upgrade}: {}", answer.head);
        watch.nothing_reached(upgrade).await;
    }
    // A body on a GET is read by some servers, and never by a rule for queries.
    let body = r#"{"query":"mutation { drop }"}"#;
    let watch = Watch::begin(&gateway, &upstream);
    let request = format!(
        "GET /graphql?query=%7Bprojects%7D HTTP/1.1\r\nhost: a\r\n{}content-length: {}\r\n\r\n{body}",
        people.vera,
        body.len()
    );
    assert_eq!(exchange(gateway.address, request).await.status, 403);
    watch.nothing_reached("a body on a GET").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_pass_whole_in_chunks_too_and_no_further_than_the_limit() {
    let upstream = Upstream::spawn().await;
    let gateway = start(&upstream).await;
    let people = People::of(&gateway).await;
    let query = r#"{"query":"{ projects }"}"#;
    let host = gateway.address;
    let chunked = |body: &str| {
        let chunks: String = body
            .as_bytes()
            .chunks(5)
            .map(|c| format!("{:x}\r\n{}\r\n", c.len(), String::from_utf8_lossy(c)))
            .collect();
        format!(
            "POST /graphql HTTP/1.1\r\nhost: {host}\r\n{}{JSON}transfer-encoding: chunked\r\nconnection: close\r\n\r\n{chunks}0\r\n\r\n",
            people.vera
        )
    };
    let watch = Watch::begin(&gateway, &upstream);
    assert_eq!(statuses(&until_closed(host, chunked(query)).await), [200]);
    let sent = upstream.last();
    assert_eq!(sent.body, query.as_bytes());
    assert_eq!((sent.header("content-length"), sent.header("transfer-encoding")), (Some("24"), None));
    watch.reached("chunks", &["POST /graphql"], VERA).await;

    let watch = Watch::begin(&gateway, &upstream);
    assert_eq!(statuses(&until_closed(host, chunked(r#"{"query":"mutation { drop }"}"#)).await), [403]);
    watch.nothing_reached("a mutation in chunks").await;

    // Just below the limit, and just above it: announced, and not announced.
    let padded = |length: usize| format!("{query}{}", " ".repeat(length - query.len()));
    let watch = Watch::begin(&gateway, &upstream);
    assert_eq!(
        exchange(
            host,
            post(&gateway, "/graphql", &format!("{}{JSON}", people.vera), padded(BODY_LIMIT).as_bytes())
        )
        .await
        .status,
        200
    );
    assert_eq!(upstream.last().body.len(), BODY_LIMIT);
    watch.reached("at the limit", &["POST /graphql"], VERA).await;
    for cookie in [&people.vera, &people.mel] {
        let watch = Watch::begin(&gateway, &upstream);
        let large = padded(BODY_LIMIT + 1);
        let answer =
            exchange(host, post(&gateway, "/graphql", &format!("{cookie}{JSON}"), large.as_bytes())).await;
        assert_eq!((answer.status, answer.header("connection")), (413, Some("close")));
        assert_eq!(statuses(&until_closed(host, chunked(&large)).await).first(), Some(&413));
        watch.nothing_reached("too large to be decided").await;
    }
    // A body that ends too soon decides nothing.
    let watch = Watch::begin(&gateway, &upstream);
    let mut stream = TcpStream::connect(host).await.unwrap();
    let cut = post(&gateway, "/graphql", &format!("{}{JSON}", people.mel), query.as_bytes());
    stream.write_all(&cut[..cut.len() - 1]).await.unwrap();
    stream.shutdown().await.unwrap();
    let answer: Answer = read_answer(&mut stream).await;
    assert!(matches!(answer.status, 0 | 400), "{}", answer.head);
    watch.nothing_reached("a body cut short").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_refused_before_the_body_is_read() {
    let upstream = Upstream::spawn().await;
    let gateway = start(&upstream).await;
    for expect in ["", "expect: 100-continue\r\n"] {
        let watch = Watch::begin(&gateway, &upstream);
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        let head = format!("POST /graphql HTTP/1.1\r\nhost: a\r\n{JSON}{expect}content-length: 100\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let answer = within("a refusal without the body", read_answer(&mut stream)).await;
        assert_eq!(answer.status, 401, "{}", answer.head);
        watch.nothing_reached("an unread body").await;
    }
    for (body, status) in [
        (r#"{"query":"{ ping version }"}"#, 200),
        (r#"{"query":"{ projects }"}"#, 401),
        (r#"{"query":"mutation { ping }"}"#, 401),
        (r#"{"query":"{ ping "}"#, 401),
    ] {
        let watch = Watch::begin(&gateway, &upstream);
        let answer = exchange(gateway.address, post(&gateway, "/open", JSON, body.as_bytes())).await;
        assert_eq!(answer.status, status, "{body}");
        let sent: &[&str] = if status == 200 { &["POST /open"] } else { &[] };
        watch.reached(body, sent, &[]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_spelling_of_the_path_is_no_way_around_the_rules_for_operations() {
    let upstream = Upstream::spawn().await;
    let gateway = start(&upstream).await;
    let people = People::of(&gateway).await;
    let mutation = br#"{"query":"mutation { drop }"}"#;
    for target in
        ["/graphql/", "/GraphQL", "/%67raphql", "/graphql.", "/graphql%20", "/%2567raphql", "/graphql/x"]
    {
        let watch = Watch::begin(&gateway, &upstream);
        let answer =
            exchange(gateway.address, post(&gateway, target, &format!("{}{JSON}", people.vera), mutation))
                .await;
        assert_eq!(answer.status, 403, "{target}");
        watch.nothing_reached(target).await;
    }
    for method in ["PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"] {
        let watch = Watch::begin(&gateway, &upstream);
        let line = format!("{method} /graphql");
        let request = format!("{line} HTTP/1.1\r\nhost: a\r\n{}connection: close\r\n\r\n", people.vera);
        let status = statuses(&until_closed(gateway.address, request).await)[0];
        assert_eq!(status, 403, "{method}");
        watch.nothing_reached(&line).await;
    }
}

/// What is kept for admins is kept whatever stands beside it and however it is wrapped.
#[tokio::test(flavor = "multi_thread")]
async fn one_field_that_is_kept_back_keeps_all_of_a_request_back() {
    let upstream = Upstream::spawn().await;
    let rules = r#"rules = [
      { name = "public", path = "/public", allow = "anyone" },
      { name = "kept", path = "/graphql", graphql = "mutation", any_field = ["drop", "rotate"], allow = "admin" },
      { name = "secret", path = "/graphql", graphql = ["query", "mutation", "subscription"], mentions = ["secrets", "Secret"], allow = "admin" },
      { name = "queries", path = "/graphql", graphql = "query", allow = "viewer" },
      { name = "changes", path = "/graphql", graphql = "mutation", allow = "member" },
    ]"#;
    let text = format!(
        "server.workers = 1\nserver.trusted_proxies = [\"127.0.0.1\"]\n\
         forward_auth.flavours = [\"traefik\", \"envoy\"]\n[[upstreams]]\nname = \"app\"\nurl = \"{}\"\n\
         [[routes]]\nupstream = \"app\"\n{rules}",
        upstream.url()
    );
    let gateway = Gateway::configured(&text).await;
    let key = async |role: Role| bearer(&gateway.system_key(role.as_str(), role).await);
    let (viewer, member, admin) = (key(Role::Viewer).await, key(Role::Member).await, key(Role::Admin).await);
    for (body, viewers, members) in [
        (r#"{"query":"{ projects }"}"#, true, true),
        (r#"{"query":"mutation { add }"}"#, false, true),
        (r#"[{"query":"{ drop }"},{"query":"{ a }"}]"#, true, true),
        (r#"{"query":"mutation { drop }"}"#, false, false),
        (r#"{"query":"mutation { add drop }"}"#, false, false),
        (r#"{"query":"mutation { drop: add, add: drop }"}"#, false, false),
        (r#"{"query":"mutation { drop: add }"}"#, false, true),
        (r#"{"query":"mutation { add ... { rotate } }"}"#, false, false),
        (r#"{"query":"mutation { add ...F } fragment F on Mutation { rotate }"}"#, false, false),
        (
            r#"{"query":"mutation M($no: Boolean!) { add drop @include(if: $no) }","variables":{"no":false}}"#,
            false,
            false,
        ),
        (r#"{"query":"mutation A { add } mutation B { drop }"}"#, false, false),
        (r#"{"query":"mutation A { add } mutation B { drop }","operationName":"A"}"#, false, true),
        (r#"[{"query":"mutation { add }"},{"query":"{ a }"},{"query":"mutation { drop }"}]"#, false, false),
        (r#"{"query":"mutation { \u0064rop }"}"#, false, false),
        (r#"{"query":"mutation { add }","id":"stored"}"#, false, false),
        (r#"{"extensions":{"persistedQuery":{"sha256Hash":"00"}}}"#, false, false),
        (r#"{"query":"mutation { add(}"}"#, false, false),
        (r#"{"query":"{ a { secrets } }"}"#, false, false),
        (r#"{"query":"mutation { add { query { secrets { value } } } }"}"#, false, false),
        (r#"{"query":"{ node(id: 1) { ... on Secret { value } } }"}"#, false, false),
        (r#"{"query":"{ node(id: 1) { ...F } } fragment F on Secret { value }"}"#, false, false),
        (r#"[{"query":"{ a }"},{"query":"{ b { secrets } }"}]"#, false, false),
        (r#"{"query":"{ secret(name: \"secrets\") { Secrets } }"}"#, true, true),
    ] {
        for (credential, allowed) in [(&viewer, viewers), (&member, members), (&admin, true)] {
            let watch = Watch::begin(&gateway, &upstream);
            let request = post(&gateway, "/graphql", &format!("{credential}{JSON}"), body.as_bytes());
            let answer = exchange(gateway.address, request).await;
            assert_eq!(answer.status, if allowed { 200 } else { 403 }, "{body} {credential}");
            if allowed {
                assert_eq!(upstream.last().body, body.as_bytes(), "{body}");
            } else {
                watch.nothing_reached(body).await;
            }
        }
    }
    // Another proxy keeps the body, so it may hold what is kept back.
    let host = gateway.address;
    for (credential, status) in [(&viewer, 403), (&member, 403), (&admin, 200)] {
        let question = format!(
            "GET /_doorward/auth/traefik HTTP/1.1\r\nhost: {host}\r\nx-forwarded-method: POST\r\nx-forwarded-proto: http\r\n\
             x-forwarded-host: {host}\r\nx-forwarded-uri: /graphql\r\n{credential}\r\n"
        );
        assert_eq!(exchange(host, question).await.status, status, "{credential}");
    }
}
