//! Questions of Envoy over gRPC: what a client can cause is a refusal, and of what only the gateway says nothing is left.

use std::collections::HashMap;

use bytes::Bytes;
use doorward::model::role::Role;
use http::{Request, Version};
use http_body_util::{BodyExt as _, Full};
use prost::Message;

use crate::support::hyper::http2;
use crate::support::{Gateway, within};

#[derive(Clone, PartialEq, Message)]
struct CheckRequest {
    #[prost(message, optional, tag = "1")]
    attributes: Option<Attributes>,
}

#[derive(Clone, PartialEq, Message)]
struct Attributes {
    #[prost(message, optional, tag = "4")]
    request: Option<Asked>,
}

#[derive(Clone, PartialEq, Message)]
struct Asked {
    #[prost(message, optional, tag = "2")]
    http: Option<Http>,
}

#[derive(Clone, PartialEq, Message)]
struct Http {
    #[prost(string, tag = "2")]
    method: String,
    #[prost(map = "string, string", tag = "3")]
    headers: HashMap<String, String>,
    #[prost(string, tag = "4")]
    path: String,
    #[prost(string, tag = "5")]
    host: String,
    #[prost(string, tag = "6")]
    scheme: String,
}

#[derive(Clone, PartialEq, Message)]
struct CheckResponse {
    #[prost(message, optional, tag = "1")]
    status: Option<Code>,
    #[prost(message, optional, tag = "2")]
    denied: Option<Denied>,
    #[prost(message, optional, tag = "3")]
    ok: Option<Allowed>,
}

#[derive(Clone, PartialEq, Message)]
struct Code {
    #[prost(int32, tag = "1")]
    code: i32,
}

#[derive(Clone, PartialEq, Message)]
struct Denied {
    #[prost(message, optional, tag = "1")]
    status: Option<Code>,
}

#[derive(Clone, PartialEq, Message)]
struct Allowed {
    #[prost(message, repeated, tag = "2")]
    set: Vec<SetHeader>,
    #[prost(string, repeated, tag = "5")]
    removed: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct SetHeader {
    #[prost(message, optional, tag = "1")]
    header: Option<Header>,
}

#[derive(Clone, PartialEq, Message)]
struct Header {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

const ROUTES: &str = r#"
[server]
workers = 1
trusted_proxies = ["127.0.0.1"]
[forward_auth]
flavours = ["envoy"]
pass_authorization = true
[[routes]]
rules = [ { path = "/admin", allow = "admin" }, { allow = "viewer" } ]
"#;

/// Names that some application takes for the caller or for the path, and those that carry a key.
const REMOVED: [&str; 12] = [
    "authorization",
    "content_type",
    "grpc-metadata-x-auth-user",
    "script_name",
    "x-api-key",
    "x-envoy-internal",
    "x-envoy-original-path",
    "x-forwarded-access-token",
    "x-forwarded-email",
    "x-forwarded-groups",
    "x-forwarded-user",
    "x_auth_user",
];

async fn ask(gateway: &Gateway, method: &str, path: &str, headers: &[(&str, &str)]) -> CheckResponse {
    let http = Http {
        method: method.into(),
        headers: headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
        path: path.into(),
        host: "app.example".into(),
        scheme: "https".into(),
    };
    let question =
        CheckRequest { attributes: Some(Attributes { request: Some(Asked { http: Some(http) }) }) };
    let message = question.encode_to_vec();
    let mut frame = vec![0];
    frame.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
    frame.extend_from_slice(&message);
    let call = Request::post("http://doorward/envoy.service.auth.v3.Authorization/Check")
        .version(Version::HTTP_2)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::new(Bytes::from(frame)))
        .unwrap();
    let mut client = http2(gateway.address).await;
    let answer = within("an answer", client.send_request(call)).await.unwrap();
    assert_eq!(answer.status(), 200, "{method} {path}");
    let body = within("its body", answer.into_body().collect()).await.unwrap();
    // Envoy may be told to make an allow of an error.
    assert_eq!(body.trailers().unwrap()["grpc-status"], "0", "{method} {path} is not an error");
    CheckResponse::decode(&body.to_bytes()[5..]).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_can_cause_is_a_refusal_and_an_allow_leaves_nothing_of_ours() {
    let gateway = Gateway::configured(ROUTES).await;
    let key = gateway.system_key("v", Role::Viewer).await;
    let bearer = format!("Bearer {key}");
    let known = [("authorization", bearer.as_str())];
    for (method, path, status) in [
        ("GET", "/admin", 403),
        ("GET", "//admin", 400),
        ("GET", "/%5cadmin", 400),
        ("GET", "/x/../admin", 400),
        ("GET", "/%EF%BC%8Fadmin", 400),
        ("GET", "admin", 400),
        ("TRACE", "/x", 405),
        ("CONNECT", "/x", 405),
        ("GET", "/x#y", 400),
    ] {
        for headers in [&known[..], &[&known[..], &[("content-type", "application/grpc")]].concat()] {
            let answer = ask(&gateway, method, path, headers).await;
            assert_ne!(answer.status.unwrap_or_default().code, 0, "{method} {path}");
            assert_eq!(answer.ok, None, "{method} {path}");
            let denied = answer.denied.unwrap().status.unwrap().code;
            assert_eq!(denied, status, "{method} {path}");
        }
    }
    let value = |name: &str| if name == "x-api-key" { key.as_str() } else { "root" };
    let plain = REMOVED[1..].iter().filter(|name| !name.contains('_'));
    let forged: Vec<_> = plain.map(|name| (*name, value(name))).collect();
    let answer = ask(&gateway, "GET", "/x", &[&known[..], &[("accept", "*/*")], &forged].concat()).await;
    assert_eq!(answer.status.unwrap_or_default().code, 0);
    let removed = answer.ok.unwrap().removed;
    for name in REMOVED.iter().filter(|name| !name.contains('_')) {
        assert!(removed.iter().any(|removed| removed == name), "{name} stays: {removed:?}");
    }
    assert!(!removed.iter().any(|name| name == "accept"), "the application may have it: {removed:?}");
    // So does what some server reads as one of these, or it is not allowed at all.
    for name in REMOVED.iter().filter(|name| name.contains('_')) {
        let answer = ask(&gateway, "GET", "/x", &[&known[..], &[(*name, "root")]].concat()).await;
        let stays = answer.ok.is_some_and(|allowed| !allowed.removed.iter().any(|removed| removed == name));
        assert!(!stays, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate_that_envoy_names_counts_and_its_header_goes_no_further() {
    const HEADER: &str = "x-ssl-client-subject";
    let known = |name: &str, role: &str| {
        format!(
            "[[client_certificates.known]]\nname = \"{name}\"\nsubject = \"CN={name}\"\nrole = \"{role}\"\n"
        )
    };
    let gateway = Gateway::configured(&format!(
        "{ROUTES}\n[client_certificates]\nheader = \"{HEADER}\"\n{}{}",
        known("ops", "admin"),
        known("dashboards", "viewer")
    ))
    .await;
    for (certificate, path) in [("ops", "/admin"), ("ops", "/x"), ("dashboards", "/x")] {
        let named = format!("CN={certificate}");
        let allowed = ask(&gateway, "GET", path, &[(HEADER, &named)]).await.ok.expect(path);
        let set: Vec<_> = allowed.set.into_iter().filter_map(|set| set.header).collect();
        let subject = set.iter().find(|header| header.name == "x-auth-subject").expect("the caller is told");
        assert_eq!(subject.value, format!("client-certificate:{certificate}"));
        assert!(allowed.removed.iter().any(|name| name == HEADER), "{:?}", allowed.removed);
        assert!(set.iter().all(|header| header.name != HEADER), "{set:?}");
    }
    let key = format!("Bearer {}", gateway.system_key("v", Role::Viewer).await);
    let beside = [(HEADER, "CN=ops"), ("authorization", key.as_str())];
    for (headers, path, status) in [
        (&[(HEADER, "CN=dashboards")][..], "/admin", 403),
        (&[(HEADER, "CN=unknown")], "/x", 401),
        (&[(HEADER, "CN=op")], "/x", 401),
        (&[(HEADER, "")], "/x", 401),
        (&[], "/x", 401),
        (&beside, "/x", 401),
    ] {
        let answer = ask(&gateway, "GET", path, headers).await;
        assert_eq!(answer.ok, None, "{headers:?}");
        assert_eq!(answer.denied.unwrap().status.unwrap().code, status, "{headers:?}");
    }
}
