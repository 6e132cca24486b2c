//! The Model Context Protocol: what is taken for messages that read holds, to any reader of JSON that goes by the
//! last of two members or by the first, no message that does more.
//!
//! Input: a line of the method, a line of the media type, then the body.

use doorward::gate::graphql::{Budget, Envelope};
use doorward::gate::mcp::classify;
use doorward::model::mcp::Message;
use doorward::model::target::RequestKind;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method};
use serde_json::Value;

pub fn check(data: &[u8]) {
    let (method, rest) = super::first_line(data);
    let (media_type, body) = super::first_line(rest);
    let (Ok(method), Ok(media_type)) = (Method::from_bytes(method), HeaderValue::from_bytes(media_type))
    else {
        return;
    };
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, media_type)]);
    let envelope = Envelope {
        kind: RequestKind::Plain,
        method: &method,
        query: None,
        headers: &headers,
        body: Some(body),
    };
    let mut budget = Budget::full();
    let found = classify(&mut budget, &envelope);
    assert!(budget.spent() <= 8 + data.len(), "{} bytes cost {} steps", data.len(), budget.spent());
    assert!(found.len() <= 100);
    if found.is_empty() {
        assert!(body.is_empty() && method != Method::POST, "a body without a message");
        return;
    }
    if found.contains(&Message::Unknown) {
        assert_eq!(found, [Message::Unknown]);
        return;
    }
    // Whatever is understood is what another reader of JSON finds.
    let value: Value = serde_json::from_slice(body).expect("what is understood is JSON");
    let messages = match value {
        Value::Array(messages) => messages,
        message => vec![message],
    };
    for message in messages {
        let method = message.get("method").and_then(Value::as_str);
        let tool = message.get("params").and_then(|params| params.get("name")).and_then(Value::as_str);
        let expected = match method {
            Some(method) => Message::Request { method: method.to_owned(), tool: tool.map(str::to_owned) },
            None => Message::Response,
        };
        assert!(found.contains(&expected), "{expected} is missing from {found:?}");
    }
    for kind in [RequestKind::WebSocket, RequestKind::Upgrade, RequestKind::PerhapsSwitch] {
        let switched = classify(&mut Budget::full(), &Envelope { kind, ..envelope });
        assert_eq!(switched, [Message::Unknown], "a switch of protocol was understood");
    }
}
