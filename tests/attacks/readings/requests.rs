//! Random requests, made of what parsers are known to differ in.

use super::readers::Message;

/// Repeatable randomness (xorshift64).
pub struct Dice(pub u64);

impl Dice {
    /// Below the bound, which is not zero.
    pub fn below(&mut self, bound: usize) -> usize {
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
    "/live",
    "/live",
    "/report",
    "/report/x",
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

/// Bodies that say one thing to who obeys the type, and another to who does not.
const PAIRS: &[(&str, &str)] = &[
    ("application/json; charset=utf-7", UTF7),
    ("application/json;charset=\"utf-7\"", UTF7),
    ("application/json; x=y; charset=utf-7", UTF7),
    ("application/x-www-form-urlencoded", "{\"query\":\"{a}\"}&query=mutation{m}"),
    ("application/json, application/x-www-form-urlencoded", "{\"query\":\"{a}\"}&query=mutation{m}"),
    ("application/graphql", "mutation{m}"),
    ("application/graphql; charset=utf-7", "{a}+AAo-mutation{m}"),
    (
        "multipart/form-data; boundary=b",
        "--b\r\ncontent-disposition: form-data; name=query\r\n\r\nmutation{m}\r\n--b--",
    ),
];

/// Plain JSON to most, and to those who read UTF-7 a second `query`.
const UTF7: &str = r#"{"query":"{a}","variables":{"x":"+ACIAfQAsACIAcQB1AGUAcgB5ACIAOgAiAG0AdQB0AGEAdABpAG8AbgB7AG0AfQAiACwAIgB2AGEAcgBpAGEAYgBsAGUAcwAiADoAewAiAHoAIgA6ACI-"}}"#;

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

pub const METHODS: &[&str] = &[
    "GET", "GET", "GET", "HEAD", "POST", "POST", "POST", "OPTIONS", "PUT", "DELETE", "COPY", "MOVE", "PURGE",
];

pub fn bodies() -> Vec<Vec<u8>> {
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

/// An ordinary request to begin with, and up to three of its parts replaced by what parsers differ in: one oddity at a
/// time passes far more often than many do.
pub fn random_message(dice: &mut Dice, bodies: &[Vec<u8>], host: &str) -> Message {
    let mut message = ordinary(dice);
    for _ in 0..dice.below(4) {
        match dice.below(8) {
            0 => message.method = dice.of(METHODS).into(),
            1 => message.target = format!("{}{}", dice.of(PATHS), query_of(&message.target)),
            2 => message.target = format!("{}{}", path_of(&message.target), dice.of(QUERIES)),
            3 => message.set_type(dice.of(TYPES)),
            4 => message.body.clone_from(&bodies[dice.below(bodies.len())]),
            5 => {
                let (media_type, body) = PAIRS[dice.below(PAIRS.len())];
                message.set_type(media_type);
                message.body = body.into();
                message.method = "POST".into();
            }
            6 => {
                let (name, value) = HEADERS[dice.below(HEADERS.len())];
                message.headers.push((name.into(), value.replace("HOST", host)));
            }
            _ => add_switch(dice, &mut message),
        }
    }
    if matches!(message.method.as_str(), "GET" | "HEAD" | "OPTIONS" | "DELETE") {
        message.body.clear();
    }
    message
}

/// What a well-behaved client sends: a page, a query by GET and by POST, a copy, a call.
fn ordinary(dice: &mut Dice) -> Message {
    let (method, target, headers, body): (_, _, &[(&str, &str)], _) = match dice.below(9) {
        0 => ("POST", "/graphql", &[("content-type", "application/json")], r#"{"query":"{a}"}"#),
        1 => ("GET", "/graphql?query=%7Ba%7D", &[], ""),
        2 => ("COPY", "/public/x", &[("Destination", "/public/y")], ""),
        3 => ("POST", "/public", &[("content-type", "application/x-www-form-urlencoded")], "a=b"),
        4 => ("GET", "/office/x", &[("X-Forwarded-For", "10.0.0.1")], ""),
        5 => ("POST", "/pkg.Svc/Read", &[("content-type", "application/grpc")], ""),
        6 => ("GET", "/live", &[], ""),
        7 => ("HEAD", "/x/y?x=1", &[], ""),
        _ => ("GET", "/x", &[], ""),
    };
    let headers = headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    Message { method: method.into(), target: target.into(), headers, body: body.into() }
}

fn path_of(target: &str) -> &str {
    target.split('?').next().unwrap_or_default()
}

fn query_of(target: &str) -> String {
    target.split_once('?').map_or_else(String::new, |(_, query)| format!("?{query}"))
}

fn add_switch(dice: &mut Dice, message: &mut Message) {
    let (name, value) = SWITCHES[dice.below(SWITCHES.len())];
    message.headers.push((name.into(), value.into()));
    for (name, value) in [
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ] {
        if dice.below(8) > 0 {
            message.headers.push((name.into(), value.into()));
        }
    }
}

/// On the wire, with lines more behind the host.
pub fn wire(message: &Message, host: &str, more: &str) -> Vec<u8> {
    let mut head = format!("{} {} HTTP/1.1\r\nhost: {host}\r\n{more}", message.method, message.target);
    for (name, value) in &message.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if !message.body.is_empty() {
        head.push_str(&format!("content-length: {}\r\n", message.body.len()));
    }
    [head.as_bytes(), b"\r\n", &message.body].concat()
}
