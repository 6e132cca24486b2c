//! The plain listener beside ACME: answers challenges over HTTP, and sends everything else to https.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, LOCATION};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};

use crate::server::admission::Admission;
use crate::server::certificates::AcmeState;
use crate::server::listener::Listening;
use crate::server::stream::ClientStream;

/// Where an authority asks (RFC 8555, 8.3).
const WELL_KNOWN: &str = "/.well-known/acme-challenge/";
/// A head must be complete within this, and a connection may idle as long.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
const HEAD_BYTES: usize = 16 * 1024;

/// Where everything but challenges is sent.
#[derive(Debug)]
pub struct HttpsRedirect {
    /// `https://HOST[:PORT]`, for requests to a name that is not ours.
    pub origin: String,
    /// Names that are ours.
    pub domains: Vec<String>,
}

impl HttpsRedirect {
    /// The origin for a request: never a name that only the client says is ours.
    fn origin_for<B>(&self, request: &Request<B>) -> String {
        let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let host = host.split_once(':').map_or(host, |(host, _)| host);
        let port =
            self.origin.rsplit_once(':').map(|(_, port)| port).filter(|port| port.parse::<u16>().is_ok());
        match (self.domains.iter().find(|domain| domain.eq_ignore_ascii_case(host)), port) {
            (Some(domain), Some(port)) => format!("https://{domain}:{port}"),
            (Some(domain), None) => format!("https://{domain}"),
            (None, _) => self.origin.clone(),
        }
    }
}

/// Answers until it is dropped.
pub async fn serve(
    socket: Listening,
    held: Arc<AcmeState>,
    elsewhere: Arc<HttpsRedirect>,
    admission: Admission,
) {
    loop {
        let (stream, peer) = match socket.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let Ok(slot) = admission.admit(peer) else { continue };
        let Ok(stream) = ClientStream::new(stream) else { continue };
        let (held, elsewhere) = (Arc::clone(&held), Arc::clone(&elsewhere));
        tokio::spawn(async move {
            let _slot = slot;
            let answer = service_fn(|request: Request<Incoming>| {
                std::future::ready(Ok::<_, Infallible>(answer(&request, &held, &elsewhere)))
            });
            let mut builder = http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(HEAD_BYTES);
            let _ = builder.keep_alive(false).serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}

fn answer<B>(request: &Request<B>, held: &AcmeState, elsewhere: &HttpsRedirect) -> Response<Full<Bytes>> {
    let target = request.uri().path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    if let Some(token) = target.strip_prefix(WELL_KNOWN) {
        let found = held.answer(token).filter(|_| matches!(*request.method(), Method::GET | Method::HEAD));
        return match found {
            Some(text) => plain(StatusCode::OK, text.into()),
            None => plain(StatusCode::NOT_FOUND, Bytes::from_static(b"not found\n")),
        };
    }
    // Absolute and authority forms are for proxies, which this is not.
    let location = HeaderValue::from_str(&format!("{}{target}", elsewhere.origin_for(request)));
    match location {
        Ok(location) if request.uri().authority().is_none() && target.starts_with('/') => {
            let mut response = plain(StatusCode::PERMANENT_REDIRECT, Bytes::from_static(b"use https\n"));
            response.headers_mut().insert(LOCATION, location);
            response
        }
        _ => plain(StatusCode::BAD_REQUEST, Bytes::from_static(b"bad request\n")),
    }
}

fn plain(status: StatusCode, text: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(method: &str, target: &str, host: &str, port: &str) -> (u16, String) {
        let held = AcmeState::default();
        held.answer_request("token", "token.thumbprint");
        let request = Request::builder().method(method).uri(target).header(HOST, host).body(()).unwrap();
        let elsewhere = HttpsRedirect {
            origin: format!("https://app.example{port}"),
            domains: vec!["app.example".to_owned(), "b.example".to_owned()],
        };
        let response = answer(&request, &held, &elsewhere);
        let location = response.headers().get(LOCATION).map(|value| value.to_str().unwrap().to_owned());
        (response.status().as_u16(), location.unwrap_or_default())
    }

    #[test]
    fn only_challenges_under_way_are_answered() {
        let ask = |method: &str, target: &str| ask(method, target, "app.example", "").0;
        assert_eq!(ask("GET", "/.well-known/acme-challenge/token"), 200);
        assert_eq!(ask("POST", "/.well-known/acme-challenge/token"), 404);
        assert_eq!(ask("GET", "/.well-known/acme-challenge/other"), 404);
        assert_eq!(ask("GET", "/.well-known/acme-challenge/../token"), 404);
    }

    #[test]
    fn everything_else_is_sent_to_https_on_a_name_of_ours() {
        for (method, target, host, port, location) in [
            ("GET", "/a/b?c=d", "app.example", "", "https://app.example/a/b?c=d"),
            ("POST", "/a", "B.example:80", "", "https://b.example/a"),
            ("GET", "/a", "b.example", ":8443", "https://b.example:8443/a"),
            ("GET", "/a", "evil.example", "", "https://app.example/a"),
            ("GET", "/a", "evil.example", ":8443", "https://app.example:8443/a"),
            ("GET", "//evil.example/", "app.example", "", "https://app.example//evil.example/"),
        ] {
            assert_eq!(ask(method, target, host, port), (308, location.to_owned()));
        }
        for (method, target) in
            [("GET", "http://evil.example/"), ("CONNECT", "evil.example:443"), ("OPTIONS", "*")]
        {
            assert_eq!(ask(method, target, "app.example", "").0, 400, "{method} {target}");
        }
    }
}
