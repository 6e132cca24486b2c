//! Every way in which some program reads a request: a model of lenient readers, one that folds names, one that takes
//! the last of two values, one that decodes what nobody else does. Far more lenient than any one program is.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};

use serde_json::Value;
use unicode_normalization::UnicodeNormalization as _;

/// A request as it is on the wire.
#[derive(Clone, Default)]
pub struct Message {
    pub method: String,
    pub target: String,
    /// In the order in which they stand.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// What some program would do for a request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Action {
    pub method: String,
    /// Decoded and in lower case.
    pub path: String,
    /// Whether the connection becomes something else.
    pub switches: bool,
    pub operation: Operation,
}

/// What a GraphQL server would run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    Nothing,
    Query,
    Change,
}

/// Headers that replace the path in some server, folded.
const TARGETS: [&str; 6] = [
    "x-original-url",
    "x-original-uri",
    "x-rewrite-url",
    "x-envoy-original-path",
    "x-forwarded-uri",
    "x-http-path-override",
];
/// Headers that say which beginning of the path is not the application's, folded.
const SCRIPT_NAMES: [&str; 4] = ["script-name", "x-script-name", "x-forwarded-prefix", "x-forwarded-path"];
/// Headers that replace the method, folded.
const METHODS: [&str; 3] = ["x-http-method-override", "x-http-method", "x-method-override"];

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Self { method, target, headers, .. }, body) = (self, String::from_utf8_lossy(&self.body));
        write!(f, "{method} {target} {headers:?} {body:?}")
    }
}

impl Message {
    /// Says another media type, and no second one.
    pub fn set_type(&mut self, value: &str) {
        self.headers.retain(|(name, _)| name != "content-type");
        self.headers.push(("content-type".into(), value.into()));
    }

    /// The request without headers and body.
    pub fn by_target_alone(self) -> Self {
        Self { headers: Vec::new(), body: Vec::new(), ..self }
    }

    /// Every value that a reader finds under a name, who takes other characters for dashes.
    fn values(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(own, _)| folded(own) == name).map(|(_, value)| value.as_str()).collect()
    }

    /// What a reader takes for the one value: the first, the last, or all in one.
    fn readings_of(&self, name: &str) -> Vec<String> {
        let values = self.values(name);
        let mut all: Vec<String> = values.iter().map(|value| (*value).to_owned()).collect();
        if values.len() > 1 {
            all.push(values.join(", "));
        }
        all
    }

    /// The request without what its `Connection` names, as it is to a server that removes that.
    fn without_connection(&self) -> Option<Self> {
        let listed: Vec<String> = self
            .values("connection")
            .iter()
            .flat_map(|value| value.split(','))
            .map(|token| token.trim().to_ascii_lowercase())
            .collect();
        let left: Vec<_> = self
            .headers
            .iter()
            .filter(|(name, _)| !listed.contains(&name.to_ascii_lowercase()))
            .cloned()
            .collect();
        (left.len() < self.headers.len()).then(|| Self { headers: left, ..self.clone() })
    }

    /// The worst that a GraphQL server would run, whichever headers it sees.
    pub fn strictest_operation(&self) -> Option<Operation> {
        self.actions().into_iter().map(|action| action.operation).max()
    }

    /// Everything that some program would do.
    pub fn actions(&self) -> BTreeSet<Action> {
        let mut all = BTreeSet::new();
        for message in [Some(self.clone()), self.without_connection()].into_iter().flatten() {
            message.add_actions(&mut all);
        }
        all
    }

    fn add_actions(&self, all: &mut BTreeSet<Action>) {
        let (path, query) = self.target.split_once('?').unwrap_or((&self.target, ""));
        let switches =
            self.values("upgrade").iter().any(|value| value.to_ascii_lowercase().contains("websocket"));
        let mut methods = vec![self.method.clone()];
        methods.extend(
            METHODS.iter().flat_map(|name| self.readings_of(name)).map(|name| name.to_ascii_uppercase()),
        );
        let mut paths = paths(path);
        for name in TARGETS {
            for value in self.readings_of(name) {
                paths.extend(self::paths(value.split('?').next().unwrap_or_default()));
            }
        }
        for name in SCRIPT_NAMES {
            for script in self.readings_of(name) {
                let rests: Vec<String> = paths
                    .iter()
                    .filter_map(|path| path.strip_prefix(script.trim_end_matches('/')).map(str::to_owned))
                    .collect();
                paths.extend(rests);
            }
        }
        let operation = self.operation(query);
        for method in &methods {
            for path in &paths {
                let action =
                    |switches| Action { method: method.clone(), path: path.clone(), switches, operation };
                all.insert(action(false));
                if switches {
                    all.insert(action(true));
                }
            }
        }
        for name in ["destination", "x-destination"] {
            for value in self.readings_of(name) {
                let path = match value.split_once("://") {
                    Some((_, rest)) => rest.find('/').map_or("/", |at| &rest[at..]),
                    None => &value,
                };
                for path in self::paths(path.split(['?', '#']).next().unwrap_or_default()) {
                    all.insert(Action { method: "PUT".into(), path, switches: false, operation });
                }
            }
        }
    }

    /// The worst that a GraphQL server would run.
    fn operation(&self, query: &str) -> Operation {
        let mut documents: Vec<String> = Vec::new();
        let mut names: Vec<String> = Vec::new();
        let mut persisted = false;
        let mut forms = vec![query.to_owned(), query.replace(';', "&")];
        let types = self.readings_of("content-type").join(" ").to_ascii_lowercase();
        for text in texts(&self.body, &types) {
            if types.contains("form") || types.is_empty() {
                forms.push(text.clone());
            }
            if types.contains("multipart") || types.contains("application/graphql") {
                documents.push(text.clone());
            }
            if let Ok(value) = serde_json::from_str::<Members>(&text) {
                value.collect(&mut documents, &mut names, &mut persisted);
            }
        }
        for form in forms {
            for (name, value) in url::form_urlencoded::parse(form.as_bytes()) {
                match name.to_lowercase().trim_end_matches("[]") {
                    "query" => documents.push(value.into_owned()),
                    "operationname" => names.push(value.into_owned()),
                    "id" | "doc_id" | "documentid" => persisted = true,
                    "extensions" => persisted |= value.contains("persistedQuery"),
                    _ => {}
                }
            }
        }
        let runs = |document: &String| {
            let text = document.to_ascii_lowercase();
            let (changes, subscribes) = (text.contains("mutation"), text.contains("subscription"));
            // Of several operations the named one runs; every document here names its changes `B`.
            let chosen =
                text.contains("query a") && !names.is_empty() && names.iter().all(|name| name == "A");
            (changes || subscribes) && !chosen
        };
        match (persisted || documents.iter().any(runs), documents.is_empty()) {
            (true, _) => Operation::Change,
            (false, false) => Operation::Query,
            (false, true) => Operation::Nothing,
        }
    }
}

/// A JSON value whose members may stand several times: all are kept.
enum Members {
    Object(Vec<(String, Value)>),
    List(Vec<Members>),
    Other,
}

impl<'de> serde::Deserialize<'de> for Members {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> serde::de::Visitor<'de> for Visit {
            type Value = Members;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("JSON")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry::<String, Value>()? {
                    members.push(member);
                }
                Ok(Members::Object(members))
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> Result<Members, A::Error> {
                let mut all = Vec::new();
                while let Some(one) = list.next_element()? {
                    all.push(one);
                }
                Ok(Members::List(all))
            }

            fn visit_str<E>(self, _: &str) -> Result<Members, E> {
                Ok(Members::Other)
            }

            fn visit_i64<E>(self, _: i64) -> Result<Members, E> {
                Ok(Members::Other)
            }

            fn visit_unit<E>(self) -> Result<Members, E> {
                Ok(Members::Other)
            }
        }
        deserializer.deserialize_any(Visit)
    }
}

impl Members {
    fn collect(&self, documents: &mut Vec<String>, names: &mut Vec<String>, persisted: &mut bool) {
        match self {
            Self::List(all) => all.iter().for_each(|one| one.collect(documents, names, persisted)),
            Self::Object(members) => {
                for (name, value) in members {
                    let text = value.as_str().map(str::to_owned);
                    match name.to_lowercase().as_str() {
                        "query" => documents.extend(text),
                        "operationname" => names.extend(text),
                        "id" | "doc_id" | "documentid" => *persisted = true,
                        _ => {}
                    }
                }
            }
            Self::Other => {}
        }
    }
}

pub fn folded(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect()
}

/// What a body is as text, to readers who believe different things of it.
fn texts(body: &[u8], types: &str) -> Vec<String> {
    let plain = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
    let mut all: Vec<String> = vec![String::from_utf8_lossy(plain).into_owned()];
    if types.contains("utf-7") {
        all.push(from_utf7(plain));
    }
    let units = |big: bool| {
        let pair = |pair: &[u8]| {
            let pair = [pair[0], pair[1]];
            if big { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) }
        };
        let units: Vec<u16> = body.chunks_exact(2).map(pair).collect();
        String::from_utf16_lossy(&units).trim_start_matches('\u{feff}').to_owned()
    };
    if body.contains(&0) || body.starts_with(b"\xFF\xFE") || body.starts_with(b"\xFE\xFF") {
        all.extend([units(true), units(false)]);
    }
    all
}

/// RFC 2152, as far as a client needs it to hide quotes.
fn from_utf7(body: &[u8]) -> String {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD_NO_PAD;
    let mut text = String::new();
    let mut rest = String::from_utf8_lossy(body).into_owned();
    while let Some(at) = rest.find('+') {
        text.push_str(&rest[..at]);
        let end = rest[at + 1..].find('-').map_or(rest.len(), |end| at + 1 + end);
        let bytes = STANDARD_NO_PAD.decode(&rest[at + 1..end]).unwrap_or_default();
        let units: Vec<u16> =
            bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
        text.push_str(&String::from_utf16_lossy(&units));
        rest = rest.get(end + 1..).unwrap_or_default().to_owned();
    }
    text + &rest
}

thread_local! {
    /// Few paths come up, and often.
    static PATHS: RefCell<HashMap<String, BTreeSet<String>>> = RefCell::default();
}

/// What servers in a row could make of a path, each misreading it in one way of its own.
fn paths(path: &str) -> BTreeSet<String> {
    PATHS.with_borrow_mut(|known| known.entry(path.to_owned()).or_insert_with(|| misread(path)).clone())
}

fn misread(path: &str) -> BTreeSet<String> {
    let mut all = BTreeSet::from([path.to_lowercase()]);
    let mut new = vec![path.to_lowercase()];
    while let Some(reading) = new.pop() {
        for step in [unescaped, normalized, walked, without_parameters, trimmed, cut, without_authority] {
            let next = step(&reading).to_lowercase();
            if all.len() < 200 && all.insert(next.clone()) {
                new.push(next);
            }
        }
    }
    all
}

fn unescaped(path: &str) -> String {
    percent_decode(path)
}

fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let hex = text.get(at + 1..at + 3).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (bytes[at], hex) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 3;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn normalized(path: &str) -> String {
    path.nfkc().collect::<String>().replace('\\', "/")
}

/// Dot segments and empty ones are gone (RFC 3986, 5.2.4).
fn walked(path: &str) -> String {
    let mut out: Vec<&str> = Vec::new();
    for segment in path.split('/').skip(1) {
        match segment {
            "." | "" => {}
            ".." => _ = out.pop(),
            _ => out.push(segment),
        }
    }
    format!("/{}", out.join("/"))
}

fn without_parameters(path: &str) -> String {
    path.split('/').map(|segment| segment.split(';').next().unwrap_or_default()).collect::<Vec<_>>().join("/")
}

fn trimmed(path: &str) -> String {
    let end = |segment: &str| match segment.trim_end_matches(['.', ' ']) {
        "" => segment.to_owned(),
        rest => rest.to_owned(),
    };
    path.split('/').map(end).collect::<Vec<_>>().join("/")
}

fn cut(path: &str) -> String {
    path.split(['?', '#', '\0']).next().unwrap_or_default().to_owned()
}

fn without_authority(path: &str) -> String {
    path.strip_prefix("//")
        .map_or_else(|| path.to_owned(), |rest| rest.find('/').map_or("/".into(), |at| rest[at..].into()))
}
