//! Active health checks: probes each server in turn, on the control plane. Also sends single probes.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HOST, USER_AGENT};
use http::uri::{Authority, Scheme};
use http::{HeaderValue, Request, StatusCode, Uri};
use http_body_util::Full;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::task::JoinSet;

use super::connect::ServerConnector;
use super::servers::UpstreamParts;
use super::state::ServerState;
use crate::config::{HealthCheck, UpstreamConfig, UpstreamProtocol};

/// Running checks; they end when this is dropped.
pub struct Checks {
    #[expect(dead_code, reason = "held for its drop")]
    tasks: JoinSet<()>,
}

type Cause = Box<dyn Error + Send + Sync>;

/// Begins to check every server whose upstream has a check, one task for each. Must be called on a runtime.
///
/// `parts` are those of every upstream, in the order of the configuration.
pub fn start(upstreams: &[UpstreamConfig], parts: &[UpstreamParts]) -> Checks {
    let mut tasks = JoinSet::new();
    for (upstream, parts) in upstreams.iter().zip(parts) {
        let Some(check) = &upstream.health.check else { continue };
        for (way, state) in parts.ways.iter().zip(&parts.states) {
            tasks.spawn(watch(way.clone(), upstream.protocol, check.clone(), Arc::clone(state)));
        }
    }
    Checks { tasks }
}

async fn watch(
    way: ServerConnector,
    protocol: UpstreamProtocol,
    check: HealthCheck,
    state: Arc<ServerState>,
) {
    let mut ticks = tokio::time::interval(check.interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let mut request = Request::new(Bytes::new());
        *request.uri_mut() = Uri::from(check.path.clone());
        let outcome = match tokio::time::timeout(check.timeout, ask(&way, protocol, request)).await {
            Ok(Ok(status)) if check.expects(status) => Ok(()),
            Ok(Ok(status)) => Err(format!("it answered {}", status.as_u16())),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(String::from("it did not answer in time")),
        };
        state.checked(outcome);
    }
}

/// Asks every server of an upstream the same, apart from its traffic; what each answers, by its address. The target of
/// `request` is path and query; a server is called by its own address, unless the request has a `Host`.
pub async fn ask_each(
    upstream: &UpstreamConfig,
    parts: &UpstreamParts,
    within: Duration,
    request: &Request<Bytes>,
) -> Vec<(String, Result<StatusCode, String>)> {
    let mut answers = Vec::new();
    for way in &parts.ways {
        let answer = match tokio::time::timeout(within, ask(way, upstream.protocol, request.clone())).await {
            Ok(answer) => answer.map_err(|error| error.to_string()),
            Err(_) => Err(String::from("it did not answer in time")),
        };
        answers.push((way.authority.clone(), answer));
    }
    answers
}

/// Asks once, on a connection of its own.
async fn ask(
    way: &ServerConnector,
    protocol: UpstreamProtocol,
    request: Request<Bytes>,
) -> Result<StatusCode, Cause> {
    let io = TokioIo::new(way.connect().await?);
    let mut request = request.map(Full::new);
    let agent = HeaderValue::from_static(concat!("doorward/", env!("CARGO_PKG_VERSION")));
    request.headers_mut().insert(USER_AGENT, agent);
    // Drives the connection; it ends with the check.
    let mut driver = JoinSet::new();
    match protocol {
        UpstreamProtocol::Http1 => {
            let (mut sender, connection) = http1::handshake(io).await?;
            driver.spawn(async move { drop(connection.await) });
            let own = HeaderValue::try_from(way.authority.as_str())?;
            request.headers_mut().entry(HOST).or_insert(own);
            Ok(sender.send_request(request).await?.status())
        }
        UpstreamProtocol::Http2 => {
            let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
            driver.spawn(async move { drop(connection.await) });
            let mut uri = http::uri::Parts::default();
            uri.scheme = Some(if way.is_secure() { Scheme::HTTPS } else { Scheme::HTTP });
            let named = request.headers_mut().remove(HOST);
            let named = named.as_ref().and_then(|host| host.to_str().ok());
            uri.authority = Some(Authority::try_from(named.unwrap_or(&way.authority))?);
            uri.path_and_query = request.uri().path_and_query().cloned();
            *request.uri_mut() = Uri::from_parts(uri)?;
            Ok(sender.send_request(request).await?.status())
        }
    }
}
