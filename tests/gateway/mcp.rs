//! Messages of the Model Context Protocol: viewers list and read, whatever a message is wrapped in.

use doorward::model::role::Role;

use crate::forward_auth::{FLAVOURS, ask};
use crate::support::gateway::bearer;
use crate::support::{Gateway, Upstream, Watch, exchange};

const RULES: &str = r#"rules = [
  { name = "public", path = "/public", allow = "anyone" },
  { name = "looks", path = "/mcp", mcp = "read", allow = "viewer" },
  { name = "search", path = "/mcp", mcp = "tools/call", tools = ["search"], allow = "viewer" },
  { name = "drop", path = "/mcp", mcp = "tools/call", tools = ["drop"], allow = "admin" },
  { name = "calls", path = "/mcp", mcp = "write", allow = "member" },
  { name = "streams", path = "/mcp", methods = ["read", "DELETE"], allow = "viewer" },
]"#;

const JSON: &str = "content-type: application/json\r\n";

struct Keys {
    viewer: String,
    member: String,
    admin: String,
}

impl Keys {
    async fn of(gateway: &Gateway) -> Self {
        let key = async |role: Role| bearer(&gateway.system_key(role.as_str(), role).await);
        Self {
            viewer: key(Role::Viewer).await,
            member: key(Role::Member).await,
            admin: key(Role::Admin).await,
        }
    }
}

fn message(method: &str, tool: &str) -> String {
    let params = if tool.is_empty() {
        serde_json::json!({})
    } else {
        serde_json::json!({ "name": tool, "arguments": {} })
    };
    serde_json::json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn viewers_list_and_read_and_do_not_call() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::configured(&format!(
        "server.workers = 1\n[[upstreams]]\nname = \"app\"\nurl = \"{}\"\n\
         [[routes]]\nupstream = \"app\"\n{RULES}",
        upstream.url()
    ))
    .await;
    let keys = Keys::of(&gateway).await;
    let (list, search, add, drop) = (
        message("tools/list", ""),
        message("tools/call", "search"),
        message("tools/call", "add"),
        message("tools/call", "drop"),
    );
    let batch = |messages: &[&String]| {
        format!("[{}]", messages.iter().map(|one| one.as_str()).collect::<Vec<_>>().join(","))
    };
    let twice =
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","method":"tools/call","params":{"name":"drop"}}"#;
    let folded =
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","Method":"tools/call","params":{"name":"drop"}}"#;
    let renamed =
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search","Name":"drop"}}"#;
    let utf7 = "content-type: application/json; charset=utf-7\r\n";
    let zipped = "content-type: application/json\r\ncontent-encoding: gzip\r\n";
    let answer = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#.to_owned();
    for (headers, body, viewers, members) in [
        (JSON, list.clone(), true, true),
        (JSON, message("initialize", ""), true, true),
        (JSON, message("resources/read", ""), true, true),
        (JSON, search.clone(), true, true),
        (JSON, batch(&[&list, &search]), true, true),
        (JSON, add.clone(), false, true),
        (JSON, batch(&[&list, &add]), false, true),
        (JSON, message("x/unknown", ""), false, true),
        (JSON, answer, false, true),
        (JSON, drop.clone(), false, false),
        (JSON, batch(&[&list, &add, &drop]), false, false),
        (JSON, message("tools/call", "Drop"), false, false),
        (JSON, twice.to_owned(), false, false),
        (JSON, folded.to_owned(), false, false),
        (JSON, renamed.to_owned(), false, false),
        (JSON, format!("{list}{drop}"), false, false),
        (JSON, String::new(), false, false),
        (JSON, "[]".to_owned(), false, false),
        (utf7, list.clone(), false, false),
        (zipped, list.clone(), false, false),
        ("", list.clone(), false, false),
        ("content-type: text/plain\r\n", list.clone(), false, false),
        ("content-type: application/json\r\nmcp-method: tools/list\r\n", drop.clone(), false, false),
    ] {
        for (credential, allowed) in [(&keys.viewer, viewers), (&keys.member, members), (&keys.admin, true)] {
            let watch = Watch::begin(&gateway, &upstream);
            let request = format!(
                "POST /mcp HTTP/1.1\r\nhost: a\r\n{credential}{headers}content-length: {}\r\n\r\n{body}",
                body.len()
            );
            let status = exchange(gateway.address, request).await.status;
            assert_eq!(status, if allowed { 200 } else { 403 }, "{headers} {body} {credential}");
            if allowed {
                assert_eq!(upstream.last().body, body.as_bytes(), "{body}");
            } else {
                watch.nothing_reached(&body).await;
            }
        }
    }
    // The stream and the end of a session carry no message, and a body there is not looked away from.
    for (line, body, status) in [
        ("GET /mcp", "", 200),
        ("DELETE /mcp", "", 200),
        ("PUT /mcp", "", 403),
        ("GET /mcp", list.as_str(), 403),
        ("DELETE /mcp", drop.as_str(), 403),
    ] {
        let request = format!(
            "{line} HTTP/1.1\r\nhost: a\r\n{}{JSON}content-length: {}\r\n\r\n{body}",
            keys.viewer,
            body.len()
        );
        assert_eq!(exchange(gateway.address, request).await.status, status, "{line} {body}");
    }
    let socket = format!(
        "GET /mcp HTTP/1.1\r\nhost: a\r\n{}connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        keys.viewer
    );
    assert_eq!(exchange(gateway.address, socket).await.status, 403);
    let refused = gateway.send("POST /mcp", "").await;
    assert_eq!(refused.status, 401, "nobody's body is read");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_proxy_keeps_the_message_so_it_may_be_any() {
    let gateway = Gateway::configured(&format!(
        "server.workers = 1\nserver.trusted_proxies = [\"127.0.0.1\"]\n\
         forward_auth.flavours = [\"nginx\", \"traefik\", \"caddy\", \"haproxy\", \"envoy\"]\n\
         [[routes]]\nhosts = [\"app.example\"]\n{RULES}"
    ))
    .await;
    let keys = Keys::of(&gateway).await;
    for flavour in FLAVOURS {
        for (request, viewers, members) in [
            ("POST /mcp", 403, 403),
            ("GET /mcp", 200, 200),
            ("DELETE /mcp", 200, 200),
            ("PATCH /mcp", 403, 403),
        ] {
            for (credential, status) in [(&keys.viewer, viewers), (&keys.member, members), (&keys.admin, 200)]
            {
                if request == "PATCH /mcp" && status == 200 {
                    continue;
                }
                let answer = ask(&gateway, flavour, request, &format!("{credential}{JSON}")).await;
                assert_eq!(answer.status, status, "{flavour} {request} {credential}");
            }
        }
    }
}
