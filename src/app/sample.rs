//! A small built-in dashboard, so that there is something to see before a real upstream is named.

use std::convert::Infallible;
use std::fmt::Write as _;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::OnceCell;

use super::LOOPBACK;
use crate::config::{Config, UpstreamAddress};

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:44rem;margin:3rem auto;padding:0 1rem;\
color-scheme:light dark}table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.35rem .6rem;\
border-bottom:1px solid #8886}code{font-size:.95em}";

/// The sample, on a loopback port of its own from the first time that it is wanted.
#[derive(Default)]
pub(super) struct Sample(OnceCell<u16>);

impl Sample {
    /// Points the servers that are the sample there.
    pub(super) async fn serve(&self, config: &mut Config) -> std::io::Result<()> {
        let servers = config.upstreams.iter_mut().flat_map(|upstream| &mut upstream.servers);
        for server in servers.filter(|server| **server == UpstreamAddress::Sample) {
            let port = *self.0.get_or_try_init(start).await?;
            *server = UpstreamAddress::Tcp { host: LOOPBACK.to_string(), port, tls: false };
        }
        Ok(())
    }
}

async fn start() -> std::io::Result<u16> {
    let listener = TcpListener::bind((LOOPBACK, 0)).await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)));
        }
    });
    Ok(port)
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path();
    let body = page(path, request.headers());
    let status = match (request.method(), path) {
        (&Method::GET | &Method::HEAD | &Method::POST, "/" | "/admin") => StatusCode::OK,
        _ => StatusCode::NOT_FOUND,
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    response.headers_mut().insert(http::header::CONTENT_TYPE, html);
    Ok(response)
}

fn page(path: &str, headers: &HeaderMap) -> String {
    let mut rows = String::new();
    let told = |name: &str| name.starts_with("x-auth") || name.starts_with("x-forwarded");
    for (name, value) in headers.iter().filter(|(name, _)| told(name.as_str())) {
        let value = escape(&String::from_utf8_lossy(value.as_bytes()));
        _ = write!(rows, "<tr><td><code>{name}</code><td>{value}");
    }
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <title>Sample dashboard</title><style>{STYLE}</style>\
         <h1>Sample dashboard</h1><p>This page comes from an upstream that has no login of its own: \
         <code>{}</code>. You see it because Doorward let you through.</p>\
         <h2>What it was told about you</h2><table><tr><th>Header<th>Value{rows}</table>\
         <p>Replace <code>url = \"builtin:sample\"</code> in the configuration with the address of your own \
         dashboard. <a href=\"/_doorward/\">Your account</a> · <a href=\"/_doorward/logout\">Sign out</a></p>",
        escape(path)
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
