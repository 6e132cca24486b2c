//! Floor 1, the way out: calls over HTTP(S) that the gateway makes on its own behalf, not for a request that it passes on.
//!
//! One client for all of them (but for health checks of upstreams and the `healthcheck` command, which call only what the
//! configuration names, each with a connection of its own), with the rules in [`destination`], so that no party that may name a URL can make the gateway
//! reach what they cannot. Everything has a bound: time, the size of responses, how many requests are open at once.
//! Redirects are not followed, nothing is sent twice, and an [`EgressError`] holds no secret.
//!
//! It stands beside the store, below configuration and services. Services use [`EgressRequest`] and [`EgressResponse`],
//! which have no types of an HTTP library; libraries that bring such types use [`EgressClient::exchange`]. Tests replace
//! nothing: they let the same client talk to servers that misbehave (`testing`), over real sockets and TLS.

mod address;
mod destination;
mod error;
mod message;
mod names;
pub mod tls;

#[cfg(test)]
pub(crate) mod testing;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HOST, USER_AGENT};
use http::{HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Body;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use url::Host;

pub use self::destination::EgressRefusal;
use self::destination::{Destination, Named};
pub use self::error::{ContentType, EgressError, EgressFault};
pub use self::message::{EgressRequest, EgressResponse};
use self::tls::TlsError;
use crate::model::origin::Origin;

/// Bytes of a response's head.
const HEAD: usize = 64 * 1024;
/// Addresses of one name that are tried.
const ADDRESSES: usize = 8;
/// Some servers refuse requests without one, as ACME demands (RFC 8555, 6.1).
const USER_AGENT_VALUE: HeaderValue =
    HeaderValue::from_static(concat!("doorward/", env!("CARGO_PKG_VERSION")));

/// What a client may reach, whom it trusts and what bounds it.
pub struct EgressSettings {
    /// Origins that the configuration names: these may be plain http and may resolve to internal addresses. See
    /// [`destination`].
    pub named: Vec<Origin>,
    /// Hosts that the configuration names, lower-case and without brackets: all of their ports and both schemes.
    pub named_hosts: Vec<String>,
    /// A PEM file of authorities to trust instead of the system's.
    pub ca: Option<PathBuf>,
    /// Bounds.
    pub limits: EgressLimits,
    /// How names are resolved.
    pub names: NameResolution,
}

/// Bounds of a client.
#[derive(Clone, Copy, Debug)]
pub struct EgressLimits {
    /// For a connection: name resolution, TCP and TLS together.
    pub connect: Duration,
    /// For a whole exchange, including the wait for a permit and the connection.
    pub total: Duration,
    /// Bytes of a response's body.
    pub response_bytes: usize,
    /// Requests that are open at once; others wait.
    pub concurrent: usize,
}

impl Default for EgressLimits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            total: Duration::from_secs(10),
            response_bytes: 1024 * 1024,
            concurrent: 64,
        }
    }
}

/// How host names are resolved. The addresses are checked in either case.
#[derive(Clone, Debug, Default)]
pub enum NameResolution {
    /// By the system's resolver.
    #[default]
    System,
    /// For tests. Every host has these addresses, also one that is written as an address, and the URL's port is not used.
    Fixed(Vec<SocketAddr>),
}

/// An HTTP client for the gateway's own requests. Clones share the bound on open requests and TLS sessions.
#[derive(Clone)]
pub struct EgressClient(Arc<Inner>);

struct Inner {
    named: Named,
    tls: TlsConnector,
    limits: EgressLimits,
    names: NameResolution,
    permits: Semaphore,
}

/// A connection, with or without TLS.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl EgressClient {
    /// Reads the certificate authorities; opens no connection yet.
    ///
    /// # Errors
    ///
    /// [`TlsError`] if there are no authorities, or their file cannot be read.
    pub fn new(settings: EgressSettings) -> Result<Self, TlsError> {
        let roots = tls::authorities(settings.ca.as_deref())?;
        let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Setup)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(Arc::new(Inner {
            named: Named { origins: settings.named, hosts: settings.named_hosts },
            tls: TlsConnector::from(Arc::new(config)),
            limits: settings.limits,
            names: settings.names,
            permits: Semaphore::new(settings.limits.concurrent),
        })))
    }

    /// Sends a request and reads the whole response, for services.
    ///
    /// # Errors
    ///
    /// [`EgressError`] if the destination is forbidden, there is no whole response in time, or it is a redirect.
    pub async fn send(&self, request: EgressRequest) -> Result<EgressResponse, EgressError> {
        let request = request.into_http().map_err(|fault| EgressError { server: None, fault })?;
        let (server, answer) = self.respond(request).await?;
        Ok(EgressResponse::new(server, answer))
    }

    /// The same in the types that libraries such as `instant-acme` ask of an HTTP client. The URL is absolute.
    ///
    /// # Errors
    ///
    /// [`EgressError`] as for [`EgressClient::send`].
    pub async fn exchange(&self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, EgressError> {
        self.respond(request).await.map(|(_, answer)| answer)
    }

    /// Whether a URL may be called, as far as its text says: the host's addresses are checked when it is.
    ///
    /// # Errors
    ///
    /// [`EgressRefusal`] if it may not be.
    pub fn check(&self, url: &str) -> Result<(), EgressRefusal> {
        let url = url.parse().map_err(|_| EgressRefusal::Url)?;
        let destination = Destination::of(&url, &self.0.named)?;
        destination.check_scheme()?;
        destination.check_addresses(destination.literal_address().as_slice())
    }

    /// The response, and the origin that it is from.
    async fn respond(&self, request: Request<Vec<u8>>) -> Result<(Origin, Response<Vec<u8>>), EgressError> {
        let destination = Destination::of(request.uri(), &self.0.named)
            .map_err(|refusal| EgressError { server: None, fault: refusal.into() })?;
        let done = timeout(self.0.limits.total, self.0.exchange(&destination, request)).await;
        match done.unwrap_or(Err(EgressFault::Timeout)) {
            Ok(answer) => Ok((destination.origin, answer)),
            Err(fault) => Err(EgressError { server: Some(destination.origin), fault }),
        }
    }
}

impl Inner {
    async fn exchange(
        &self,
        destination: &Destination,
        request: Request<Vec<u8>>,
    ) -> Result<Response<Vec<u8>>, EgressFault> {
        destination.check_scheme()?;
        let request = prepared(destination, request)?;
        // The semaphore is never closed.
        let _permit = self.permits.acquire().await;
        let stream = timeout(self.limits.connect, self.connect(destination))
            .await
            .map_err(|_| EgressFault::Timeout)??;
        self.transfer(stream, request).await
    }

    /// Tries the checked addresses one after the other, TCP and TLS, each within its share of the time. A failed
    /// handshake sends nothing of the request, so the next address may be tried; the last failure is told.
    async fn connect(&self, destination: &Destination) -> Result<Box<dyn Stream>, EgressFault> {
        let end = Instant::now() + self.limits.connect;
        let addresses = self.resolve(destination).await.map_err(EgressFault::Unresolved)?;
        destination.check_addresses(&addresses)?;
        let mut last = EgressFault::Unreachable(io::ErrorKind::NotFound.into());
        for (address, left) in
            addresses.iter().take(ADDRESSES).zip((1..=addresses.len().min(ADDRESSES)).rev())
        {
            let share = end.saturating_duration_since(Instant::now()) / u32::try_from(left).unwrap_or(1);
            match timeout(share, self.open(destination, *address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(fault)) => last = fault,
                Err(_) => last = EgressFault::Timeout,
            }
        }
        Err(last)
    }

    async fn resolve(&self, destination: &Destination) -> io::Result<Vec<SocketAddr>> {
        let port = destination.port;
        Ok(match (&self.names, &destination.host) {
            (NameResolution::Fixed(addresses), _) => addresses.clone(),
            (NameResolution::System, Host::Ipv4(address)) => vec![(*address, port).into()],
            (NameResolution::System, Host::Ipv6(address)) => vec![(*address, port).into()],
            (NameResolution::System, Host::Domain(name)) => names::look_up(name.clone(), port).await?,
        })
    }

    /// Connects to one address, and starts TLS if the URL is https.
    async fn open(
        &self,
        destination: &Destination,
        address: SocketAddr,
    ) -> Result<Box<dyn Stream>, EgressFault> {
        let stream = TcpStream::connect(address).await.map_err(EgressFault::Unreachable)?;
        if !destination.secure {
            return Ok(Box::new(stream));
        }
        let name = match &destination.host {
            Host::Domain(name) => ServerName::try_from(name.clone()).map_err(|_| EgressFault::Invalid)?,
            Host::Ipv4(address) => ServerName::IpAddress((*address).into()),
            Host::Ipv6(address) => ServerName::IpAddress((*address).into()),
        };
        Ok(Box::new(self.tls.connect(name, stream).await.map_err(EgressFault::tls)?))
    }

    async fn transfer(
        &self,
        stream: Box<dyn Stream>,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Vec<u8>>, EgressFault> {
        let mut builder = http1::Builder::new();
        builder.max_buf_size(HEAD);
        let (mut sender, connection) =
            builder.handshake(TokioIo::new(stream)).await.map_err(EgressFault::Broken)?;
        let exchange = async {
            let (parts, body) = sender.send_request(request).await.map_err(EgressFault::Broken)?.into_parts();
            if is_redirect(parts.status) {
                return Err(EgressFault::Redirect(parts.status.as_u16()));
            }
            Ok(Response::from_parts(parts, whole(body, self.limits.response_bytes).await?))
        };
        tokio::pin!(exchange);
        tokio::select! {
            answer = &mut exchange => answer,
            // The exchange sees why the connection ended, and what had arrived by then.
            _ = connection => exchange.await,
        }
    }
}

/// A whole body of at most `largest` bytes. They are copied together as they arrive: each chunk that was kept would hold
/// memory besides its bytes, and a server may send chunks of one byte.
async fn whole<B>(mut body: B, largest: usize) -> Result<Vec<u8>, EgressFault>
where
    B: Body<Data = Bytes, Error = hyper::Error> + Unpin,
{
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        // Trailers are not looked at.
        let Ok(data) = frame.map_err(EgressFault::Broken)?.into_data() else { continue };
        if data.len() > largest - whole.len() {
            return Err(EgressFault::TooLarge(largest));
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole)
}

/// The origin of a configured URL, for [`EgressSettings::named`].
///
/// # Errors
///
/// [`EgressRefusal`] if the client would never call such a URL.
pub fn origin(url: &str) -> Result<Origin, EgressRefusal> {
    let url = url.parse().map_err(|_| EgressRefusal::Url)?;
    Destination::of(&url, &Named::default()).map(|destination| destination.origin)
}

/// The request in origin form, with a `Host` header (RFC 9112, 3.2.1).
fn prepared(
    destination: &Destination,
    request: Request<Vec<u8>>,
) -> Result<Request<Full<Bytes>>, EgressFault> {
    let mut request = request.map(|body| Full::new(Bytes::from(body)));
    let url = std::mem::take(request.uri_mut());
    *request.uri_mut() = url.path_and_query().map_or_else(Uri::default, |path| path.clone().into());
    let (_, authority) = destination.origin.as_str().split_once("://").unwrap_or_default();
    request.headers_mut().insert(HOST, HeaderValue::from_str(authority).map_err(|_| EgressFault::Invalid)?);
    request.headers_mut().entry(USER_AGENT).or_insert(USER_AGENT_VALUE);
    Ok(request)
}

/// Whether a status is a redirect (RFC 9110, 15.4); 304 is not.
fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 300..=303 | 305..=308)
}

#[cfg(test)]
mod tests;
