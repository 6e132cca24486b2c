//! One reading: whatever passes would be allowed in every reading that some program could have of it.
//!
//! Random requests, made of what parsers are known to differ in ([`requests`]), go to the proxy and, as nginx asks, to
//! forward-auth. What passes is read again by [`readers`], as leniently as any program might, and each reading is held
//! against the rules, which stand here a second time ([`rules`]). What was decided on must also be what was sent.

mod readers;
mod requests;
mod rules;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use doorward::gate::identity_headers::Managed;
use doorward::model::role::Role;
use tokio::io::{AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use self::readers::{Action, Message, Operation, folded};
use self::requests::{Dice, METHODS, bodies, random_message, wire};
use self::rules::{ROUTES, allowed};
use crate::support::raw::{exchange, read_answer};
use crate::support::{Answer, Gateway, Upstream};

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

/// Each lane asks a gateway of its own, so that what arrives belongs to what was sent.
const LANES: u64 = 4;

/// How many requests of each lane; each of them goes to both edges.
fn rounds() -> usize {
    if std::env::var_os("DOORWARD_TEST_LONG").is_some() { 250_000 } else { 1_500 }
}

/// How often each kind of request was refused, and how often it passed, so that nothing is vacuous.
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

    fn join(&mut self, other: &Self) {
        for (kind, [refused, passed]) in &other.0 {
            let all = self.0.entry(kind).or_default();
            *all = [all[0] + refused, all[1] + passed];
        }
    }
}

/// What a lane saw.
#[derive(Default)]
struct Seen {
    by_proxy: Fared,
    by_question: Fared,
    /// Asked without a method.
    blindly: Fared,
    /// Readings of what passed that are refused, and facts that did not arrive as they were decided on.
    wrong: Vec<String>,
}

impl Seen {
    /// Keys of ours are for us alone, though other credentials pass.
    fn leaks(&mut self, to: &str, head: &str) {
        if head.contains("dw_s_") {
            self.wrong.push(format!("our key was told to {to}: {head}"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_passes_that_any_reader_would_take_for_what_is_refused() {
    let mut lanes = tokio::task::JoinSet::new();
    for lane in 1..=LANES {
        lanes.spawn(ask(Dice(0x9E37_79B9_7F4A_7C15 ^ lane)));
    }
    let mut seen = Seen::default();
    for lane in lanes.join_all().await {
        seen.by_proxy.join(&lane.by_proxy);
        seen.by_question.join(&lane.by_question);
        seen.blindly.join(&lane.blindly);
        seen.wrong.extend(lane.wrong);
    }
    assert!(
        seen.wrong.is_empty(),
        "{} readings of what passed are refused, among them:\n{}",
        seen.wrong.len(),
        seen.wrong[..seen.wrong.len().min(12)].join("\n")
    );
    for (edge, fared) in
        [("proxy", &seen.by_proxy), ("nginx", &seen.by_question), ("without a method", &seen.blindly)]
    {
        println!("{edge}: refused, passed: {:?}", fared.0);
        let [refused, passed] = fared.0["all"];
        assert!(passed * 6 > refused && refused * 6 > passed, "{edge}: too much is alike: {fared:?}");
    }
    for (kind, [refused, passed]) in &seen.by_proxy.0 {
        assert!(*refused > 10 && *passed > 10, "{kind}: {:?}", seen.by_proxy);
    }
}

async fn ask(mut dice: Dice) -> Seen {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::configured(&format!(
        "[server]\nworkers = 1\ntrusted_proxies = [\"127.0.0.1\"]\n\
         [forward_auth]\nflavours = [\"nginx\"]\npass_authorization = true\ncompat = [\"oauth2-proxy\"]\n\
         [[upstreams]]\nname = \"app\"\nurl = \"{}\"\npass_authorization = true\n{ROUTES}",
        upstream.url()
    ))
    .await;
    let viewer = gateway.system_key("v", Role::Viewer).await;
    let member = gateway.system_key("m", Role::Member).await;
    let host = gateway.address.to_string();
    let bodies = bodies();
    let mut seen = Seen::default();
    let mut questions = Questions::default();
    for _ in 0..rounds() {
        let message = random_message(&mut dice, &bodies, &host);
        let client = client_of(&message);
        let from = client.map_or_else(|| "unknown".to_owned(), |client| client.to_string());

        let before = upstream.count();
        let more = format!("authorization: Bearer {viewer}\r\nconnection: close\r\n");
        let answer = exchange(gateway.address, wire(&message, &host, &more)).await;
        assert!(answer.status != 0, "no answer: {message:?}");
        let arrived = upstream.requests_after(before);
        assert!(arrived.len() <= 1, "{message:?}\n{arrived:?}");
        seen.by_proxy.add(&message, !arrived.is_empty());
        if let Some(arrived) = arrived.first() {
            seen.leaks("the upstream", &arrived.head);
            let arrived = parsed(&arrived.head, &arrived.body);
            let action = wrongly(&arrived, client).map(|action| format!("{action:?}"));
            let fact = changed_facts(&message, &arrived).map(|fact| format!("{fact} changed"));
            seen.wrong.extend(
                action
                    .into_iter()
                    .chain(fact)
                    .map(|what| format!("{what}\n  sent {message:?}\n  arrived {arrived:?}")),
            );
        }

        let told = questions.ask(gateway.address, &asked_by_nginx(&message, &host, &viewer, &from)).await;
        assert!(told.status != 0, "no answer: {message:?}");
        seen.by_question.add(&message, told.status == 200);
        seen.leaks("nginx", &told.head);
        if told.status == 200 {
            let action = wrongly(&by_nginx(&message), client);
            seen.wrong.extend(action.map(|action| format!("{action:?}\n  asked about {message:?}")));
        }

        let told = questions.ask(gateway.address, &asked_blindly(&message, &host, &member, &from)).await;
        seen.blindly.add(&message, told.status / 100 == 2);
        seen.leaks("a proxy that says no method", &told.head);
        if told.status / 100 == 2 {
            let any = METHODS.iter().map(|method| Message { method: (*method).into(), ..message.clone() });
            let worst = any.map(Message::by_target_alone).flat_map(|message| message.actions());
            let action = worst
                .map(|action| Action { operation: Operation::Change, ..action })
                .find(|action| !allowed(action, client, Role::Member));
            seen.wrong
                .extend(action.map(|action| format!("{action:?}\n  asked blindly about {}", message.target)));
        }
    }
    seen
}

/// A proxy's connection, which is used again for as long as it lasts.
#[derive(Default)]
struct Questions(Option<BufReader<TcpStream>>);

impl Questions {
    async fn ask(&mut self, gateway: SocketAddr, question: &str) -> Answer {
        if let Some(mut stream) = self.0.take()
            && stream.write_all(question.as_bytes()).await.is_ok()
        {
            let answer = read_answer(&mut stream).await;
            if answer.status != 0 {
                self.0 = Some(stream);
                return answer;
            }
        }
        let mut stream = BufReader::new(TcpStream::connect(gateway).await.unwrap());
        stream.write_all(question.as_bytes()).await.unwrap();
        let answer = read_answer(&mut stream).await;
        self.0 = Some(stream);
        answer
    }
}

/// nginx forwards the request itself, without its own `Connection` and `Upgrade`.
fn asked_by_nginx(message: &Message, host: &str, key: &str, from: &str) -> String {
    let own = |name: &str| {
        matches!(folded(name).as_str(), "connection" | "upgrade" | "x-forwarded-for" | "x-original-url")
    };
    let headers = message.headers.iter().filter(|(name, _)| !own(name));
    let headers: String = headers.map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!(
        "GET /_doorward/auth/nginx HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {key}\r\n\
         {headers}x-forwarded-for: {from}\r\nx-original-method: {}\r\nx-original-url: http://{host}{}\r\n\r\n",
        message.method, message.target
    )
}

/// Here nobody says the method, nor what the body holds.
fn asked_blindly(message: &Message, host: &str, key: &str, from: &str) -> String {
    format!(
        "GET /oauth2/auth HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {key}\r\n\
         x-forwarded-for: {from}\r\nx-forwarded-uri: {}\r\n\r\n",
        message.target
    )
}

/// The first reading of what passed that is refused.
fn wrongly(passed: &Message, client: Option<IpAddr>) -> Option<Action> {
    passed.actions().into_iter().find(|action| !allowed(action, client, Role::Viewer))
}

/// What the decision looked at and did not arrive as it was.
fn changed_facts(sent: &Message, arrived: &Message) -> Option<&'static str> {
    let query = |message: &Message| message.target.split_once('?').map(|(_, query)| query.to_owned());
    let values = |message: &Message, name: &str| {
        let of = |(own, value): &(String, String)| own.eq_ignore_ascii_case(name).then(|| value.clone());
        message.headers.iter().filter_map(of).collect::<Vec<_>>()
    };
    // A switch of protocol arrives as it was asked for, or not at all.
    let switches = |message: &Message| values(message, "upgrade");
    let same = |name: &str| values(sent, name) == values(arrived, name);
    [
        ("method", sent.method == arrived.method),
        ("query", query(sent) == query(arrived)),
        ("body", sent.body == arrived.body),
        ("content-type", same("content-type")),
        ("content-encoding", same("content-encoding")),
        ("upgrade", switches(arrived).is_empty() || is_same_switch(&switches(sent), &switches(arrived))),
        ("connection", values(arrived, "connection").len() == switches(arrived).len()),
        ("destination", values(sent, "destination").len() == values(arrived, "destination").len()),
        // Where rules tell operations apart. What is left out can only have made it worse.
        (
            "operation",
            !sent.target.starts_with("/graphql")
                || arrived.strictest_operation() <= sent.strictest_operation(),
        ),
    ]
    .into_iter()
    .find_map(|(fact, same)| (!same).then_some(fact))
}

fn is_same_switch(sent: &[String], arrived: &[String]) -> bool {
    matches!((sent, arrived), ([sent], [arrived]) if sent.eq_ignore_ascii_case(arrived))
}
