//! Metrics for Prometheus, on a listener of their own: `GET /metrics`, and nothing else.
//!
//! It runs on the control plane, apart from the clients' connections and their limits, so that it answers
//! when those are used up.

mod page;
mod text;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

pub use self::page::{ServerStanding, Sources};

/// Connections at a time; further ones are closed at once.
const MOST_CONNECTIONS: usize = 16;
/// A request head must be complete within this, also the next one on the same connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection ends after this, whatever happens on it.
const LIFETIME: Duration = Duration::from_mins(10);
/// Bytes of a request head.
const HEAD_BYTES: usize = 8 * 1024;

/// Serves metrics until the task is ended.
pub async fn serve(listener: TcpListener, sources: Arc<Sources>) {
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection for metrics could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let sources = Arc::clone(&sources);
        tokio::spawn(async move {
            let _place = place;
            let _ = tokio::time::timeout(LIFETIME, connection(stream, &sources)).await;
        });
    }
}

async fn connection(stream: TcpStream, sources: &Sources) {
    let service = service_fn(|request: Request<Incoming>| {
        let response = answer(&request, sources);
        async move { Ok::<_, Infallible>(response) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection for metrics ended with an error");
    }
}

fn answer(request: &Request<Incoming>, sources: &Sources) -> Response<Full<Bytes>> {
    if request.method() != Method::GET || request.uri().path() != "/metrics" {
        let mut response = Response::new(Full::new(Bytes::from_static(b"not found\n")));
        *response.status_mut() = StatusCode::NOT_FOUND;
        return response;
    }
    let mut response = Response::new(Full::new(Bytes::from(sources.page())));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
