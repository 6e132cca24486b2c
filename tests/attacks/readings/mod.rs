//! One reading: whatever passes would be allowed in every reading that some program could have of it.
//!
//! Random requests, made of what parsers are known to differ in, go to the proxy and, as nginx asks, to forward-auth.
//! What passes is read again by [`readers`], as leniently as any program might, and each reading is held against the
//! rules, which stand here a second time ([`allowed`]). What was decided on must also be what was sent.

mod readers;

use std::collections::BTreeMap;
use std::net::IpAddr;

use doorward::gate::identity_headers::Managed;
use doorward::model::role::Role;

use self::readers::{Action, Message, Operation, folded};
use crate::support::raw::exchange;
use crate::support::{Gateway, Upstream};

/// The rules that [`allowed`] knows.
const ROUTES: &str = r#"
[[routes]]
upstream = "app"
rules = [
  { name = "public", path = "/public", allow = "anyone" },
  { name = "private", path = "/private", allow = "admin" },
  { name = "calls", grpc = "pkg.Svc/Write", allow = "admin" },
  { name = "sockets", methods = "websocket", allow = "admin" },
  { name = "queries", path = "/graphql", graphql = "query", allow = "viewer" },
  { name = "changes", path = "/graphql", allow = "admin" },
  { name = "office", path = "/office", networks = "10.0.0.0/8", methods = "read", allow = "viewer" },
  { name = "elsewhere", path = "/office", allow = "admin" },
  { name = "reads", methods = "read", allow = "viewer" },
  { name = "writes", allow = "member" },
]
"#;

/// Whether a viewer, or a member, may have this done from here; `None` is an address that nobody knows.
fn allowed(action: &Action, client: Option<IpAddr>, role: Role) -> bool {
    let below = |prefix: &str| {
        action.path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let reads = matches!(action.method.as_str(), "GET" | "HEAD" | "OPTIONS");
    if below("/public") {
        return true;
    }
    if below("/private") || action.path == "/pkg.svc/write" || action.switches {
        return false;
    }
    if below("/graphql") {
        return action.operation == Operation::Query || (action.operation == Operation::Nothing && reads);
    }
    if below("/office") {
        return reads && matches!(client, Some(IpAddr::V4(address)) if address.octets()[0] == 10);
    }
    reads || role == Role::Member
}

/// Repeatable randomness (xorshift64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).unwrap()
    }

    fn of<'x>(&mut self, list: &[&'x str]) -> &'x str {
        list[self.below(list.len())]
    }
}

const PATHS: &[&str] = &[
    "/",
    "/x",
    "/x/y",
    "/public",
    "/public/x",
    "/private",
    "/private/x",
    "/PRIVATE/x",
    "/priv%61te",
    "/%70rivate/x",
    "/x/..%2fprivate",
    "/x/../private",
    "/x%2f..%2fprivate",
    "/%2e%2e/private",
    "/x;/private",
    "/private;v=1/x",
    "//private",
    "/x//private",
    "/%EF%BC%8Fprivate",
    "/x%E2%81%84..%E2%81%84private",
    "/%EF%BC%8E%EF%BC%8E/private",
    "/%E2%80%A5/private",
    "/x%5cprivate",
    "/private.",
    "/private%20",
    "/private%00",
    "/%2570rivate",
    "/x%23/private",
    "/graphql",
    "/graphql",
    "/graphql",
    "/graphql/",
    "/GraphQL",
    "/graphql%20",
    "/pkg.Svc/Write",
    "/pkg.Svc/Read",
    "/PKG.svc/Write",
    "/pkg.Svc/Write/",
    "/pkg%2ESvc/Write",
    "/office",
    "/office",
    "/office/x",
    "/OFFICE",
];

const QUERIES: &[&str] = &[
    "",
    "",
    "",
    "",
    "",
    "?x=1",
    "?query={a}",
    "?query=%7Ba%7D",
    "?query=mutation%7Bm%7D",
    "?Query=mutation%7Bm%7D",
    "?query=%7Ba%7D&query=mutation%7Bm%7D",
    "?query=%7Ba%7D&QUERY=mutation%7Bm%7D",
    "?query[]=mutation%7Bm%7D",
    "?%71uery=mutation%7Bm%7D",
    "?query=%7Ba%7D&id=7",
    "?documentId=7",
    "?query=%7Ba%7D&extensions=%7B%22persistedQuery%22:1%7D",
    "?query=%7Ba%7D&extensions=%7B%7D",
    "?operationName=B",
    "?query=query+A%7Ba%7D+mutation+B%7Bm%7D&operationName=A&operationname=B",
    "?x=1;query=mutation%7Bm%7D",
    "?query=subscription%7Bs%7D",
];

const TYPES: &[&str] = &[
    "application/json",
    "application/json",
    "application/json",
    "application/json; charset=utf-8",
    "application/json; charset=utf-7",
    "application/json;charset=UTF-7",
    "application/json; charset=utf-16",
    "application/json; charset=utf-8; charset=utf-7",
    "application/json, text/plain",
    "application/graphql",
    "application/graphql; charset=utf-7",
    "text/plain",
    "multipart/form-data; boundary=b",
    "application/x-www-form-urlencoded",
    "application/grpc",
    "application/grpc-web",
    "application/grpcx",
];

/// Names and values that come in when they like.
const HEADERS: &[(&str, &str)] = &[
    ("content-type", "application/json"),
    ("content-type", "application/json; charset=utf-7"),
    ("Content_Type", "application/x-www-form-urlencoded"),
    ("Content.Type", "application/json; charset=utf-7"),
    ("content-encoding", "gzip"),
    ("content-encoding", "identity"),
    ("Content_Encoding", "gzip"),
    ("connection", "content-type"),
    ("connection", "close, Content-Type"),
    ("connection", "keep-alive, x-api-key, destination"),
    ("connection", "content-encoding, content-type, origin"),
    ("SCRIPT_NAME", "/public"),
    ("Script-Name", "/public"),
    ("X-Script-Name", "/x"),
    ("X_Script_Name", "/public"),
    ("X-Forwarded-Prefix", "/public"),
    ("X-Original-URL", "/private"),
    ("X_Original_URL", "/private/x"),
    ("X-Rewrite-URL", "/private"),
    ("X-Original-URI", "/private"),
    ("X-HTTP-Method-Override", "DELETE"),
    ("X_HTTP_Method_Override", "POST"),
    ("X-HTTP-Method", "PUT"),
    ("X-Method-Override", "DELETE"),
    ("Destination", "/private/x"),
    ("Destination", "/public/x"),
    ("Destination", "http://HOST/private/x"),
    ("Destination", "http://HOST/public/x"),
    ("Destination", "http://evil.example/private"),
    ("destination", "/public/../private"),
    ("Destination_", "/private"),
    ("X-Forwarded-For", "10.0.0.1"),
    ("X-Forwarded-For", "10.0.0.1, 192.0.2.7"),
    ("X-Forwarded-For", "192.0.2.7, 10.0.0.1"),
    ("X-Forwarded-For", "unknown"),
    ("X-Forwarded-For", "10.0.0.1, unknown"),
    ("X-Forwarded-For", "fe80::1%eth0"),
    ("X-Forwarded-For", "10.0.0.1:99999"),
    ("X-Forwarded-For", "10.0.0.1, 127.0.0.1"),
    ("X_Forwarded_For", "10.0.0.1"),
    ("Forwarded", "for=10.0.0.1"),
    ("X-Real-IP", "10.0.0.1"),
];

/// Handshakes and what is taken for one.
const SWITCHES: &[(&str, &str)] = &[
    ("Upgrade", "websocket"),
    ("Upgrade", "WebSocket"),
    ("Upgrade", "websocket,"),
    ("Upgrade", "x, websocket"),
    ("Upgrade", "h2c, websocket"),
    ("Upgrade", "h2c"),
    ("Upgrade", "websocket/13"),
    ("Upgrade_", "websocket"),
    ("X-Upgrade", "websocket"),
];

const METHODS: &[&str] = &[
    "GET", "GET", "GET", "HEAD", "POST", "POST", "POST", "OPTIONS", "PUT", "DELETE", "COPY", "MOVE", "PURGE",
];

fn bodies() -> Vec<Vec<u8>> {
    let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    let mut all: Vec<Vec<u8>> = [
        "",
        r#"{"query":"{a}"}"#,
        r#"{"query":"{a}"}"#,
        r#"{"query":"query A{a} mutation B{m}","operationName":"A"}"#,
        r#"{"query":"query A{a} mutation B{m}","operationName":"A","operationname":"B"}"#,
        r#"{"query":"query A{a} mutation B{m}"}"#,
        r#"{"query":"mutation{m}"}"#,
        r#"{"query":"{a}","query":"mutation{m}"}"#,
        r#"{"query":"{a}","Query":"mutation{m}"}"#,
        r#"{"query":"{a}","\u0071uery":"mutation{m}"}"#,
        r#"[{"query":"{a}"},{"query":"mutation{m}"}]"#,
        r#"[{"query":"{a}"},{"query":"{b}"}]"#,
        r#"{"query":"{a}","id":"7"}"#,
        r#"{"id":"7"}"#,
        r#"{"query":"{a}","x":"+ACIALAAiAHEAdQBlAHIAeQAiADoAIgBtAHUAdABhAHQAaQBvAG4AewBtAH0-"}"#,
        "query=mutation{m}",
        "query=mutation%7Bm%7D&x={\"query\":\"{a}\"}",
        "{\"query\":\"{a}\"}&query=mutation{m}",
        "mutation{m}",
        "{a}",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec();
    all.push(b"\xEF\xBB\xBF{\"query\":\"mutation{m}\"}".to_vec());
    all.push([&b"\xFF\xFE"[..], &utf16(r#"{"query":"mutation{m}"}"#)].concat());
    all.push(utf16(r#"{"query":"mutation{m}"}"#));
    all
}

fn random_message(dice: &mut Dice, bodies: &[Vec<u8>], host: &str) -> Message {
    let mut headers: Vec<(String, String)> = Vec::new();
    let method = dice.of(METHODS);
    let mut body = Vec::new();
    if matches!(method, "POST" | "PUT") && dice.below(8) > 0 {
        body.clone_from(&bodies[dice.below(bodies.len())]);
        headers.push(("content-type".into(), dice.of(TYPES).into()));
    }
    for _ in 0..dice.below(3) {
        let (name, value) = HEADERS[dice.below(HEADERS.len())];
        headers.push((name.into(), value.replace("HOST", host)));
    }
    if dice.below(8) == 0 {
        let (name, value) = SWITCHES[dice.below(SWITCHES.len())];
        headers.push((name.into(), value.into()));
        for (name, value) in [
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ] {
            if dice.below(8) > 0 {
                headers.push((name.into(), value.into()));
            }
        }
    }
    let target = format!("{}{}", dice.of(PATHS), dice.of(QUERIES));
    Message { method: method.into(), target, headers, body }
}

fn wire(message: &Message, host: &str, more: &str) -> Vec<u8> {
    let mut head = format!("{} {} HTTP/1.1\r\nhost: {host}\r\n{more}", message.method, message.target);
    for (name, value) in &message.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if !message.body.is_empty() {
        head.push_str(&format!("content-length: {}\r\n", message.body.len()));
    }
    [head.as_bytes(), b"\r\n", &message.body].concat()
}

/// What an upstream recorded.
fn parsed(head: &str, body: &[u8]) -> Message {
    let mut lines = head.lines();
    let line: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    Message { method: line[0].into(), target: line[1].into(), headers, body: body.to_vec() }
}

/// The one address that the last proxy, which is trusted, saw; `None` where it does not say one.
fn client_of(message: &Message) -> Option<IpAddr> {
    let said: Vec<&str> = message
        .headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("x-forwarded-for"))
        .flat_map(|(_, value)| value.split(','))
        .map(str::trim)
        .collect();
    let mut client = Some(IpAddr::from([127, 0, 0, 1]));
    for hop in said.iter().rev() {
        client = hop.parse().ok();
        if client != Some(IpAddr::from([127, 0, 0, 1])) {
            break;
        }
    }
    client
}

/// What nginx passes on by the configuration that we print, of what a client sent.
fn by_nginx(message: &Message) -> Message {
    let managed = Managed::default();
    let passes = |name: &str| {
        let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let name = name.to_ascii_lowercase();
        plain
            && !managed.has(name.as_bytes())
            && !matches!(name.as_str(), "connection" | "upgrade" | "x-forwarded-for")
    };
    let headers = message.headers.iter().filter(|(name, _)| passes(name)).cloned().collect();
    Message { headers, ..message.clone() }
}

/// How many requests; each of them goes to both edges.
fn rounds() -> usize {
    if std::env::var_os("DOORWARD_TEST_LONG").is_some() { 1_000_000 } else { 6_000 }
}

/// How often each kind of request fared how, so that nothing is vacuous.
#[derive(Debug, Default)]
struct Fared(BTreeMap<&'static str, [usize; 2]>);

impl Fared {
    fn add(&mut self, message: &Message, passed: bool) {
        let has = |name: &str| message.headers.iter().any(|(own, _)| folded(own) == name);
        let graphql = message.target.starts_with("/graphql");
        let kinds = [
            ("all", true),
            ("graphql", graphql),
            ("graphql with a body", graphql && !message.body.is_empty()),
            ("destination", has("destination")),
            ("upgrade", has("upgrade")),
            ("connection", has("connection")),
            ("forwarded", has("x-forwarded-for")),
            ("office", message.target.starts_with("/office")),
        ];
        for (kind, _) in kinds.into_iter().filter(|(_, is)| *is) {
            self.0.entry(kind).or_default()[usize::from(passed)] += 1;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_passes_that_any_reader_would_take_for_what_is_refused() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::configured(&format!(
        "[server]\nlisten = [\"127.0.0.1:0\"]\nworkers = 2\ntrusted_proxies = [\"127.0.0.1\"]\n\
         [forward_auth]\nflavours = [\"nginx\"]\ncompat = [\"oauth2-proxy\"]\n\
         [[upstreams]]\nname = \"app\"\nurl = \"{}\"\n{ROUTES}",
        upstream.url()
    ))
    .await;
    let key = gateway.system_key("v", Role::Viewer).await;
    let member = gateway.system_key("m", Role::Member).await;
    let mut blindly = [0; 2];
    let host = gateway.address.to_string();
    let bodies = bodies();
    let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
    let mut found: Vec<String> = Vec::new();
    let (mut by_proxy, mut by_question) = (Fared::default(), Fared::default());
    for _ in 0..rounds() {
        let message = random_message(&mut dice, &bodies, &host);
        let client = client_of(&message);
        let credential = format!("authorization: Bearer {key}\r\n");

        let before = upstream.count();
        let sent = wire(&message, &host, &format!("{credential}connection: close\r\n"));
        let answer = exchange(gateway.address, &sent).await;
        let arrived = upstream.requests_after(before);
        assert!(arrived.len() <= 1, "{message:?}\n{arrived:?}");
        by_proxy.add(&message, !arrived.is_empty());
        if let Some(arrived) = arrived.first() {
            let arrived = parsed(&arrived.head, &arrived.body);
            found.extend(
                wrongly(&arrived, client)
                    .map(|action| format!("{action:?}\n  sent {message:?}\n  arrived {arrived:?}")),
            );
            found.extend(
                changed_facts(&message, &arrived)
                    .map(|fact| format!("{fact} changed\n  sent {message:?}\n  arrived {arrived:?}")),
            );
        }

        // nginx forwards the request itself, without its own `Connection` and `Upgrade`.
        let question: String = message
            .headers
            .iter()
            .filter(|(name, _)| {
                !matches!(
                    folded(name).as_str(),
                    "connection" | "upgrade" | "x-forwarded-for" | "x-original-url"
                )
            })
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        let from = client.map_or_else(|| "unknown".to_owned(), |client| client.to_string());
        let question = format!(
            "GET /_doorward/auth/nginx HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{credential}{question}\
             x-forwarded-for: {from}\r\nx-original-method: {}\r\nx-original-url: http://{host}{}\r\n\r\n",
            message.method, message.target
        );
        let told = exchange(gateway.address, question).await;
        by_question.add(&message, told.status == 200);
        if told.status == 200 {
            let passed = by_nginx(&message);
            found.extend(
                wrongly(&passed, client).map(|action| format!("{action:?}\n  asked about {message:?}")),
            );
        }

        // Here nobody says the method, nor what the body holds.
        let unsaid = format!(
            "GET /oauth2/auth HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\nauthorization: Bearer {member}\r\n\
             x-forwarded-for: {from}\r\nx-forwarded-uri: {}\r\n\r\n",
            message.target
        );
        let told_blindly = exchange(gateway.address, unsaid).await.status;
        blindly[usize::from(told_blindly / 100 == 2)] += 1;
        if told_blindly / 100 == 2 {
            let any = METHODS.iter().map(|method| Message { method: (*method).into(), ..message.clone() });
            let worst = any.map(Message::by_target_alone).flat_map(|message| message.actions());
            let worst = worst.map(|action| Action { operation: Operation::Change, ..action });
            found.extend(
                worst
                    .into_iter()
                    .find(|action| !allowed(action, client, Role::Member))
                    .map(|action| format!("{action:?}\n  asked blindly about {}", message.target)),
            );
        }
        assert!(answer.status != 0 && told.status != 0, "no answer: {message:?}");
    }
    assert!(
        found.is_empty(),
        "{} readings of what passed are refused, among them:\n{}",
        found.len(),
        found[..found.len().min(12)].join("\n")
    );
    for (edge, fared) in [("proxy", &by_proxy), ("forward-auth", &by_question)] {
        println!("{edge}: refused, passed: {:?}", fared.0);
        let [refused, passed] = fared.0["all"];
        assert!(passed * 40 > refused, "{edge}: too little passes to say anything: {fared:?}");
    }
    assert!(
        blindly.iter().all(|count| *count > rounds() / 100),
        "without a method: refused, passed: {blindly:?}"
    );
    for (kind, [refused, passed]) in &by_proxy.0 {
        assert!(*refused > 10 && *passed > 0, "{kind}: {by_proxy:?}");
    }
}

/// The first reading of what passed that is refused.
fn wrongly(passed: &Message, client: Option<IpAddr>) -> Option<Action> {
    passed.actions().into_iter().find(|action| !allowed(action, client, Role::Viewer))
}

/// What the decision looked at and did not arrive as it was: method, query, body, type, encoding.
fn changed_facts(sent: &Message, arrived: &Message) -> Option<&'static str> {
    let query = |message: &Message| message.target.split_once('?').map(|(_, query)| query.to_owned());
    let values = |message: &Message, name: &str| {
        let of = |(own, value): &(String, String)| own.eq_ignore_ascii_case(name).then(|| value.clone());
        message.headers.iter().filter_map(of).collect::<Vec<_>>()
    };
    [
        ("method", sent.method == arrived.method),
        ("query", query(sent) == query(arrived)),
        ("body", sent.body == arrived.body),
        ("content-type", values(sent, "content-type") == values(arrived, "content-type")),
        ("content-encoding", values(sent, "content-encoding") == values(arrived, "content-encoding")),
    ]
    .into_iter()
    .find_map(|(fact, same)| (!same).then_some(fact))
}
