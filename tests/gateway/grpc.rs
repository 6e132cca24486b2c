//! gRPC: calls pass with their trailers, and are refused in their own words.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use doorward::model::role::Role;
use http::{HeaderMap, HeaderValue, Request, Response, Version};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Body, Frame};
use tokio::net::TcpListener;

use crate::failure::break_database;
use crate::support::hyper::{http2, hyper_upstream};
use crate::support::{Gateway, until, within};

const GRPC_ROUTE: &str = r#"
[[routes]]
upstream = "app"
path = "/"
rules = [ { name = "calls", grpc = "test.Echo/*", allow = "agent" } ]
"#;

/// The same below a prefix, where the path takes the place of the method.
const GRPC_ROUTE_BELOW: &str = r#"
[[routes]]
upstream = "app"
path = "/app"
strip_prefix = "/app"
rules = [ { name = "calls", path = "/app/test.Echo", allow = "agent" } ]
"#;

/// A gRPC message frame.
pub fn message(text: &str) -> Bytes {
    let mut frame = vec![0];
    frame.extend_from_slice(&u32::try_from(text.len()).unwrap().to_be_bytes());
    frame.extend_from_slice(text.as_bytes());
    frame.into()
}

fn grpc_call(
    path: &str,
    key: Option<&str>,
) -> Request<StreamBody<impl futures_util::Stream<Item = Result<Frame<Bytes>, Infallible>> + Unpin + use<>>> {
    let frames =
        futures_util::stream::iter(vec![Ok(Frame::data(message("one"))), Ok(Frame::data(message("two")))]);
    let mut request = Request::post(format!("http://app.example{path}"))
        .version(Version::HTTP_2)
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    if let Some(key) = key {
        request = request.header("authorization", format!("Bearer {key}"));
    }
    request.body(StreamBody::new(frames)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_passes_with_its_trailers_and_is_refused_in_its_own_words() {
    let upstream = hyper_upstream(|request| async move {
        assert_eq!(request.version(), Version::HTTP_2);
        assert_eq!(request.headers().get("te"), Some(&HeaderValue::from_static("trailers")));
        assert_eq!(request.uri(), "http://app.example/test.Echo/Say");
        assert!(request.headers().get("authorization").is_none());
        let mut body = request.into_body();
        let mut frames = Vec::new();
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame.unwrap().into_data() {
                frames.push(Ok(Frame::data(data)));
            }
        }
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        trailers.insert("grpc-message", HeaderValue::from_static("fine"));
        frames.push(Ok(Frame::trailers(trailers)));
        let mut response = Response::new(StreamBody::new(futures_util::stream::iter(frames)).boxed());
        response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
        response
    })
    .await;
    for (prefix, route) in [("", GRPC_ROUTE), ("/app", GRPC_ROUTE_BELOW)] {
        let gateway = Gateway::spawn(&format!("h2c://{upstream}"), route).await;
        let agent = gateway.system_key("agent", Role::Agent).await;
        let viewer = gateway.system_key("viewer", Role::Viewer).await;
        let mut client = http2(gateway.address).await;

        let response = within(
            "an answer",
            client.send_request(grpc_call(&format!("{prefix}/test.Echo/Say"), Some(&agent))),
        )
        .await
        .unwrap();
        assert_eq!(response.status(), 200);
        let collected = within("the body", response.into_body().collect()).await.unwrap();
        assert_eq!(collected.trailers().unwrap()["grpc-status"], "0");
        assert_eq!(collected.to_bytes(), [message("one"), message("two")].concat());

        for (key, path, status) in [
            (None, "/test.Echo/Say", "16"),
            (Some("dw_s_nonsense"), "/test.Echo/Say", "16"),
            (Some(viewer.as_str()), "/test.Echo/Say", "7"),
            (Some(agent.as_str()), "/test.Other/Say", "7"),
        ] {
            let response =
                within("a refusal", client.send_request(grpc_call(&format!("{prefix}{path}"), key)))
                    .await
                    .unwrap();
            assert_eq!(response.status(), 200, "{path} {key:?}");
            assert_eq!(response.headers()["grpc-status"], status, "{path}");
            assert_eq!(response.headers()["content-type"], "application/grpc");
            assert!(response.body().is_end_stream(), "trailers only");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_to_a_dead_upstream_is_unavailable() {
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let gateway = Gateway::spawn(&format!("h2c://{dead}"), GRPC_ROUTE).await;
    let agent = gateway.system_key("agent", Role::Agent).await;
    let mut client = http2(gateway.address).await;
    let response =
        within("an answer", client.send_request(grpc_call("/test.Echo/Say", Some(&agent)))).await.unwrap();
    assert_eq!(response.headers()["grpc-status"], "14");
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_while_the_store_is_down_is_unavailable_and_reaches_nobody() {
    let reached = Arc::<AtomicUsize>::default();
    let upstream = hyper_upstream({
        let counter = Arc::clone(&reached);
        move |request| {
            counter.fetch_add(1, Ordering::SeqCst);
            drop(request);
            async { Response::new(Full::from(message("one")).map_err(|never| match never {}).boxed()) }
        }
    })
    .await;
    let gateway = Gateway::spawn(&format!("h2c://{upstream}"), GRPC_ROUTE).await;
    let known = gateway.system_key("known", Role::Agent).await;
    let unknown = gateway.system_key("unknown", Role::Agent).await;
    let mut client = http2(gateway.address).await;
    let mut call = async |key: Option<&str>| {
        let response =
            within("an answer", client.send_request(grpc_call("/test.Echo/Say", key))).await.unwrap();
        assert_eq!(response.status(), 200);
        let status = response.headers().get("grpc-status").map(|status| status.to_str().unwrap().to_owned());
        assert!(status.is_none() || response.body().is_end_stream(), "trailers only");
        status
    };
    assert_eq!(call(Some(&known)).await, None, "it is the upstream that answers");
    assert_eq!(reached.load(Ordering::SeqCst), 1);
    break_database(&gateway.folder.path().join("doorward.db"));
    let mut passed = 1;
    until("the end of trust", async || {
        let refused = call(Some(&known)).await.is_some();
        passed += usize::from(!refused);
        refused
    })
    .await;
    for key in [&known, &unknown] {
        assert_eq!(call(Some(key)).await.as_deref(), Some("14"));
    }
    assert_eq!(call(None).await.as_deref(), Some("16"), "a stranger is one without asking anybody");
    assert_eq!(reached.load(Ordering::SeqCst), passed);
}
