//! Which messages of the Model Context Protocol a request carries (streamable HTTP: JSON-RPC 2.0, sent by `POST`).
//!
//! Whatever is not plainly understood counts as a write. What any server could read in another way than we do is not
//! plainly understood.

use std::borrow::Cow;
use std::fmt;

use http::Method;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::graphql::{Budget, Content, Envelope, LONGEST_BODY};
use crate::model::mcp::Message;
use crate::model::query::is_alike;
use crate::model::target::RequestKind;

/// What stands for all that could not be read.
pub const UNKNOWN: &[Message] = &[Message::Unknown];

/// Members of a message, and of its parameters, that decide or that some server could take for one that does.
const OF_MESSAGE: &[&str] = &["jsonrpc", "id", "method", "params", "result", "error"];
const OF_PARAMETERS: &[&str] = &["name"];

/// Whether its body could tell the messages.
pub fn is_in_body(envelope: &Envelope<'_>) -> bool {
    envelope.kind == RequestKind::Plain
        && *envelope.method == Method::POST
        && Content::of(envelope.headers) == Some(Content::Json)
}

/// The messages, each once and in no order: none where the method alone tells what is asked for (`GET` for the
/// stream of a session, `DELETE` for its end).
pub fn classify(budget: &mut Budget, envelope: &Envelope<'_>) -> Vec<Message> {
    let by_method = matches!(*envelope.method, Method::GET | Method::HEAD | Method::OPTIONS | Method::DELETE);
    if by_method && envelope.kind == RequestKind::Plain && envelope.body.is_some_and(<[u8]>::is_empty) {
        return Vec::new();
    }
    let read = envelope.body.filter(|body| is_in_body(envelope) && body.len() <= LONGEST_BODY);
    let messages = read.and_then(|body| understand(budget, body)).filter(|_| !budget.is_exceeded());
    messages.unwrap_or_else(|| UNKNOWN.to_vec())
}

fn understand(budget: &mut Budget, body: &[u8]) -> Option<Vec<Message>> {
    let text = std::str::from_utf8(body).ok()?;
    let mut messages = Vec::new();
    let mut deserializer = serde_json::Deserializer::from_str(text);
    MessageBatch { budget, messages: &mut messages }.deserialize(&mut deserializer).ok()?;
    deserializer.end().ok()?;
    messages.sort_unstable();
    messages.dedup();
    (!messages.is_empty()).then_some(messages)
}

/// A message, or a batch of them.
struct MessageBatch<'a> {
    budget: &'a mut Budget,
    messages: &'a mut Vec<Message>,
}

impl<'de> DeserializeSeed<'de> for MessageBatch<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for MessageBatch<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a message or a batch of them")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        let message = SingleMessage { budget: self.budget }.visit_map(map)?;
        self.messages.push(message);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<(), A::Error> {
        while let Some(message) = sequence.next_element_seed(SingleMessage { budget: self.budget })? {
            self.budget.spend_selection().ok_or_else(|| A::Error::custom("too many messages"))?;
            if self.messages.len() == MOST_BATCHED {
                return Err(A::Error::custom("too many messages in one batch"));
            }
            self.messages.push(message);
        }
        Ok(())
    }
}

/// Messages of one batch.
const MOST_BATCHED: usize = 100;

/// One message.
struct SingleMessage<'a> {
    budget: &'a mut Budget,
}

impl<'de> DeserializeSeed<'de> for SingleMessage<'_> {
    type Value = Message;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Message, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for SingleMessage<'_> {
    type Value = Message;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a message")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Message, A::Error> {
        let (mut method, mut tool, mut answers) = (None, None, false);
        let mut seen = Members::of(OF_MESSAGE);
        while let Some(member) = map.next_key::<BorrowedText<'_>>()? {
            self.budget.spend_token().ok_or_else(|| A::Error::custom("too many members"))?;
            match seen.note(&member.0)? {
                "method" => method = Some(map.next_value::<BorrowedText<'_>>()?.0.into_owned()),
                "params" => tool = map.next_value_seed(CallParameters { budget: self.budget })?,
                "result" | "error" => {
                    map.next_value::<IgnoredAny>()?;
                    answers = true;
                }
                "jsonrpc" | "id" => {
                    map.next_value::<IgnoredAny>()?;
                }
                // JSON-RPC has no others; a server may take one of them for what it is like in no way we know.
                _ => return Err(A::Error::custom("a member of unknown meaning")),
            }
        }
        match method {
            Some(method) if !answers => Ok(Message::Request { method, tool }),
            None if answers => Ok(Message::Response),
            _ => Err(A::Error::custom("neither a request nor a response")),
        }
    }
}

/// The parameters of a message, as far as they name a tool.
struct CallParameters<'a> {
    budget: &'a mut Budget,
}

impl<'de> DeserializeSeed<'de> for CallParameters<'_> {
    type Value = Option<String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for CallParameters<'_> {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("parameters by name")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut tool = None;
        let mut seen = Members::of(OF_PARAMETERS);
        while let Some(member) = map.next_key::<BorrowedText<'_>>()? {
            self.budget.spend_token().ok_or_else(|| A::Error::custom("too many members"))?;
            if seen.note(&member.0)? == "name" {
                tool = Some(map.next_value::<BorrowedText<'_>>()?.0.into_owned());
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(tool)
    }
}

/// Which of some members were there: none may stand twice, or in a spelling that a careless server takes for it, as
/// Go takes `Method`.
struct Members {
    known: &'static [&'static str],
    seen: Vec<&'static str>,
}

impl Members {
    fn of(known: &'static [&'static str]) -> Self {
        Self { known, seen: Vec::with_capacity(known.len()) }
    }

    /// The member, by its name if it is one of them and empty if it is not.
    fn note<E: serde::de::Error>(&mut self, name: &str) -> Result<&'static str, E> {
        let Some(known) = self.known.iter().find(|known| **known == name) else {
            let like_one = !name.is_ascii() || self.known.iter().any(|known| is_alike(known, name));
            return if like_one { Err(E::custom("a member in another spelling")) } else { Ok("") };
        };
        if self.seen.contains(known) {
            return Err(E::custom("a member stands twice"));
        }
        self.seen.push(known);
        Ok(known)
    }
}

/// A string that borrows from the body where nothing in it is escaped.
#[derive(Deserialize)]
struct BorrowedText<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
    use http::{HeaderMap, HeaderValue};

    use super::*;
    use crate::gate::graphql::json_headers;

    fn read(method: &Method, kind: RequestKind, headers: &HeaderMap, body: Option<&[u8]>) -> Vec<String> {
        let envelope = Envelope { kind, method, query: None, headers, body };
        classify(&mut Budget::full(), &envelope).iter().map(ToString::to_string).collect()
    }

    fn post(body: &str) -> Vec<String> {
        read(&Method::POST, RequestKind::Plain, &json_headers(), Some(body.as_bytes()))
    }

    const UNREAD: &str = "a message that could not be read";
    const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;

    #[test]
    fn messages_are_what_they_say() {
        for (body, said) in [
            (LIST, &["tools/list"][..]),
            (
                r#"{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{"name":"add","arguments":{"name":"x","name":"y"}}}"#,
                &["tools/call add"],
            ),
            (r#"{"params":{"_meta":{},"\u006eame":"add"},"\u006dethod":"tools/call"}"#, &["tools/call add"]),
            (
                r#"{"jsonrpc":"2.0","method":"notifications/initialized","params":null}"#,
                &["notifications/initialized"],
            ),
            (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"arguments":{}}}"#, &["tools/call"]),
            (r#"{"jsonrpc":"2.0","id":1,"method":"prompts/get","params":{"name":"p"}}"#, &["prompts/get p"]),
            (r#"{"jsonrpc":"2.0","id":1,"result":{"method":"tools/call"}}"#, &["an answer to the server"]),
            (r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"no"}}"#, &["an answer to the server"]),
            (
                r#" [{"method":"ping","id":1},{"method":"tools/call","params":{"name":"b"},"id":2},{"method":"ping","id":3}] "#,
                &["ping", "tools/call b"],
            ),
        ] {
            assert_eq!(post(body), said, "{body}");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_not_understood() {
        let many = vec![LIST; 101].join(",");
        let members: Vec<String> = (0..60_000).map(|at| format!("\"m{at}\":1,")).collect();
        let members = members.concat();
        for body in [
            "",
            "null",
            "[]",
            "{}",
            "7",
            "\"tools/list\"",
            r#"{"jsonrpc":"2.0","id":1}"#,
            r#"{"method":7}"#,
            r#"{"method":null}"#,
            r#"{"method":"tools/list","method":"tools/call"}"#,
            r#"{"method":"tools/list","\u006dethod":"tools/call"}"#,
            r#"{"method":"tools/list","Method":"tools/call"}"#,
            r#"{"method":"tools/list","meth_od":"tools/call"}"#,
            r#"{"method":"tools/list","m\u00e9thod":"tools/call"}"#,
            r#"{"method":"tools/list","x":1}"#,
            r#"{"method":"tools/list","id":1,"id":2}"#,
            r#"{"method":"tools/list","result":{}}"#,
            r#"{"method":"tools/call","params":{"name":"a","name":"b"}}"#,
            r#"{"method":"tools/call","params":{"name":"a","Name":"b"}}"#,
            r#"{"method":"tools/call","params":{"name":"a"},"params":{"name":"b"}}"#,
            r#"{"method":"tools/call","params":{"name":"a"},"PARAMS":{"name":"b"}}"#,
            r#"{"method":"tools/call","params":{"name":null}}"#,
            r#"{"method":"tools/call","params":{"name":["a"]}}"#,
            r#"{"method":"tools/call","params":["a"]}"#,
            r#"{"method":"tools/call","params":"a"}"#,
            r#"{"method":"tools/list"} {"method":"tools/call"}"#,
            r#"{"method":"tools/list"}x"#,
            r#"{"method":"tools/list""#,
            r#"{"method":"tools/list",}"#,
            r#"{"method":"tools/list","id":NaN}"#,
            "{'method':'tools/list'}",
            "{\"method\":\"tools/list\"/**/}",
            "\u{feff}{\"method\":\"tools/list\"}",
            r#"[{"method":"tools/list"},[{"method":"tools/call"}]]"#,
            r#"[{"method":"tools/list"},null]"#,
            r#"{"method":"\ud800"}"#,
            &format!("[{many}]"),
            &format!(r#"{{"method":"tools/list","params":{{{members}"x":1}}}}"#),
        ] {
            assert_eq!(post(body), [UNREAD], "{}", &body[..body.len().min(200)]);
        }
        let utf16: Vec<u8> = LIST.bytes().flat_map(|byte| [byte, 0]).collect();
        assert_eq!(read(&Method::POST, RequestKind::Plain, &json_headers(), Some(&utf16)), [UNREAD]);
        assert_eq!(read(&Method::POST, RequestKind::Plain, &json_headers(), None), [UNREAD]);
    }

    #[test]
    fn only_plain_json_is_understood_and_other_methods_speak_for_themselves() {
        let body = Some(LIST.as_bytes());
        for (name, value) in [
            (CONTENT_TYPE, "text/plain"),
            (CONTENT_TYPE, "application/json; charset=utf-16"),
            (CONTENT_TYPE, "application/json, text/plain"),
            (CONTENT_TYPE, "application/graphql"),
            (CONTENT_ENCODING, "gzip"),
        ] {
            let mut headers = json_headers();
            headers.insert(name, HeaderValue::from_static(value));
            assert_eq!(read(&Method::POST, RequestKind::Plain, &headers, body), [UNREAD], "{value}");
        }
        assert_eq!(read(&Method::POST, RequestKind::Plain, &HeaderMap::new(), body), [UNREAD]);
        for kind in [RequestKind::WebSocket, RequestKind::Upgrade, RequestKind::PerhapsSwitch] {
            assert_eq!(read(&Method::GET, kind, &json_headers(), Some(b"")), [UNREAD], "{kind:?}");
        }
        for method in [Method::GET, Method::HEAD, Method::OPTIONS, Method::DELETE] {
            let of = |body| read(&method, RequestKind::Plain, &json_headers(), body);
            assert!(of(Some(b"")).is_empty(), "{method}");
            assert_eq!([of(body), of(None)], [[UNREAD], [UNREAD]], "{method}");
        }
        for method in [Method::PUT, Method::PATCH, Method::from_bytes(b"UNSAID").unwrap()] {
            assert_eq!(read(&method, RequestKind::Plain, &json_headers(), body), [UNREAD], "{method}");
        }
    }
}
