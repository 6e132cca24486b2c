//! Small HTTP clients: one connection a request, nothing followed, nothing added but `Host`.

use std::io;
use std::net::SocketAddr;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderMap, Method, Request, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::net::TcpStream;

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    /// The value of a header, empty when absent.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("not JSON ({e}): {}", self.body))
    }

    /// The gateway's own refusal (RFC 9457 with a code), or `None` when the upstream answered.
    pub(crate) fn refusal(&self) -> Option<u16> {
        let problem = self.header("content-type").starts_with("application/problem+json");
        let coded = || self.json().get("code").is_some_and(Value::is_string);
        (problem && coded()).then_some(self.status)
    }
}

/// GET without a credential.
pub(crate) async fn get(url: &str) -> io::Result<Answer> {
    send(Method::GET, url, &[], "").await
}

/// One HTTP/1.1 request; headers as (name, value). A switched protocol (101) has an empty body.
pub(crate) async fn send(
    method: Method,
    url: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> io::Result<Answer> {
    let uri: Uri = url.parse().unwrap();
    let (stream, authority) = connect(&uri).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(stream).await.map_err(io::Error::other)?;
    let driver = tokio::spawn(connection.with_upgrades());
    let mut request = Request::builder().method(method).uri(uri.path_and_query().unwrap().as_str());
    request = request.header(HOST, authority);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(body.into())).unwrap();
    let response = sender.send_request(request).await.map_err(io::Error::other)?;
    let (head, body) = response.into_parts();
    let body = if head.status == 101 {
        Bytes::new()
    } else {
        body.collect().await.map_err(io::Error::other)?.to_bytes()
    };
    driver.abort();
    let body = String::from_utf8_lossy(&body).into_owned();
    Ok(Answer { status: head.status.as_u16(), headers: head.headers, body })
}

/// One unary gRPC call over h2c; the status and message are in `headers`, wherever they were sent.
pub(crate) async fn grpc(
    base: &str,
    method: &str,
    metadata: &[(&str, &str)],
    message: &[u8],
) -> io::Result<Answer> {
    let uri: Uri = format!("{base}{method}").parse().unwrap();
    let (stream, _) = connect(&uri).await?;
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream)
        .await
        .map_err(io::Error::other)?;
    let driver = tokio::spawn(connection);
    let mut request = Request::post(uri).header(CONTENT_TYPE, "application/grpc").header("te", "trailers");
    for (name, value) in metadata {
        request = request.header(*name, *value);
    }
    // Not compressed, then the length (gRPC over HTTP/2, "Length-Prefixed-Message").
    let mut framed = vec![0];
    framed.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    framed.extend(message);
    let request = request.body(Full::new(Bytes::from(framed))).unwrap();
    let response = sender.send_request(request).await.map_err(io::Error::other)?;
    let (head, body) = response.into_parts();
    let collected = body.collect().await.map_err(io::Error::other)?;
    let mut headers = head.headers;
    headers.extend(collected.trailers().cloned().unwrap_or_default());
    driver.abort();
    Ok(Answer { status: head.status.as_u16(), headers, body: String::new() })
}

async fn connect(uri: &Uri) -> io::Result<(TokioIo<TcpStream>, String)> {
    let authority = uri.authority().unwrap().to_string();
    let address: SocketAddr = authority.parse().unwrap();
    Ok((TokioIo::new(TcpStream::connect(address).await?), authority))
}
