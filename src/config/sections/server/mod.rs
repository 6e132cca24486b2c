//! Listeners, the proxies in front, and limits.

mod acme;
mod limits;
mod listen;

use std::path::PathBuf;
use std::sync::LazyLock;
use std::thread;
use std::time::Duration;

use ipnet::IpNet;

use self::acme::Acme;
pub use self::acme::{AcmeChallenge, AcmeConfig};
use self::limits::Limits;
pub use self::limits::{BodyPace, LimitConfig};
pub use self::listen::{ListenAddress, ListenerConfig};
use self::listen::{Listener, ProxyProtocol, TrustedNetwork};
pub(in crate::config) use self::listen::{listeners, open};

use crate::config::reading::{
    CertificateFile, KeyFile, Number, Required, Section, SettingsReader, Span, section,
};
use crate::config::sections::public_url::{PublicUrl, WrittenOrigin};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;

/// Asked once: a machine that gets another core does not change what a running gateway was told.
static CORES: LazyLock<usize> = LazyLock::new(|| thread::available_parallelism().map_or(1, usize::from));

section! {
    /// Listeners and limits.
    Server {
        /// Where clients connect: addresses with port; `unix:FILE` for a socket file; `systemd` for every socket
        /// that systemd hands over, or `systemd:NAME` for those with this `FileDescriptorName`.
        listen: Vec<ListenAddress> = r#"["127.0.0.1:8080"]"#, r#"["0.0.0.0:8443", "unix:/run/doorward/doorward.sock"]"#;
        /// Further places where clients connect, each with settings of its own. With one of these and no
        /// `listen`, there is no other.
        listeners: Vec<Listener> = "[]", r#"[{ address = "unix:/run/doorward/doorward.sock", mode = "0660" }]"#;
        /// A further place that answers only `/healthz` and `/readyz`, for probes.
        ops_listen: Option<ListenAddress>, r#""127.0.0.1:9090""#;
        /// Threads that carry requests. By default one for each core.
        workers: Option<Number<1, 1024>>, "4";
        /// Certificate and key for every address in `listen`. Without it they speak plain HTTP, as socket files
        /// always do unless their table says `tls = true`.
        tls: Option<Tls>, r#"{ certificate = "tls.crt", key = "tls.key" }"#;
        /// Certificates that the gateway orders and renews by itself.
        acme: Option<Acme>, "{ agree_to_terms = true }";
        /// Addresses or networks of proxies in front of the gateway, whose `X-Forwarded-*` headers are
        /// believed; `unix`: every peer on a socket file. Every peer listed here can pose as any client.
        trusted_proxies: Vec<TrustedNetwork> = "[]", r#"["10.0.0.0/8"]"#;
        /// Whether every connection begins with a PROXY protocol header (version 1 or 2) that names the client:
        /// `off` or `required`. A table in `listeners` may say otherwise for itself.
        proxy_protocol: ProxyProtocol = r#""off""#, r#""required""#;
        /// Addresses or networks of proxies that may connect where the PROXY protocol is required; `unix`:
        /// every peer on a socket file. Every peer listed here can pose as any client; others cannot connect.
        proxy_protocol_from: Vec<TrustedNetwork> = "[]", r#"["10.0.0.0/8"]"#;
        /// Further origins whose pages may send writes or open a WebSocket with the session cookie.
        trusted_origins: Vec<WrittenOrigin> = "[]", r#"["https://app.example.com"]"#;
        /// Bounds on what a client may send or hold.
        limits: Limits = "{}", "{ header_count = 100 }";
        /// The head of a request must be complete within this.
        header_timeout: Span<1, {5 * MINUTE}> = r#""10s""#, r#""5s""#;
        /// An idle keep-alive connection is closed after this.
        keep_alive: Span<1, HOUR> = r#""60s""#, r#""2m""#;
        /// A client that takes nothing of what is sent to it for this long is cut off. One that takes a little
        /// now and then is not.
        write_timeout: Span<1, HOUR> = r#""60s""#, r#""2m""#;
        /// Over this much time in which it was waited for, a client must have sent a request body of announced
        /// length, or one that we read ourselves, at `server.limits.body_rate`.
        body_timeout: Span<1, HOUR> = r#""30s""#, r#""1m""#;
        /// After a stop signal, open requests get this long to end.
        drain: Span<0, HOUR> = r#""30s""#, r#""10s""#;
    }
}

section! {
    /// Certificate and key: both or neither.
    Tls {
        /// PEM file of the certificate chain, leaf first.
        certificate: Required<CertificateFile>, r#""tls.crt""#;
        /// PEM file of its private key.
        key: Required<KeyFile>, r#""tls.key""#;
    }
}

/// Listeners and limits.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Where clients connect; at least one.
    pub listeners: Vec<ListenerConfig>,
    /// Where `/healthz` and `/readyz` answer without the reserved prefix, if anywhere.
    pub ops_listen: Option<ListenAddress>,
    /// Data-plane threads; at least one.
    pub workers: usize,
    /// Certificate and key for the listeners that speak TLS; with `acme`, until there is another.
    pub tls: Option<TlsFiles>,
    /// Certificates that the gateway orders by itself.
    pub acme: Option<AcmeConfig>,
    /// Peers whose `X-Forwarded-*` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Peers that may begin a connection with a PROXY protocol header.
    pub proxy_protocol_from: Vec<IpNet>,
    /// Further origins (`https://host[:port]`) whose pages may send cookie-borne writes or open a WebSocket.
    pub trusted_origins: Vec<String>,
    /// Bounds on what a client may send or hold.
    pub limits: LimitConfig,
    /// A request head must be complete within this.
    pub header_timeout: Duration,
    /// An idle keep-alive connection is closed after this.
    pub keep_alive: Duration,
    /// A client that takes nothing for this long is cut off.
    pub write_timeout: Duration,
    /// How slowly a client may send a body.
    pub body_pace: BodyPace,
    /// After a stop signal, open requests get this long.
    pub drain: Duration,
}

impl ServerConfig {
    /// The listener for operators: plain, whatever the others are.
    pub fn ops_listener(&self) -> Option<ListenerConfig> {
        self.ops_listen.clone().map(ListenerConfig::plain)
    }
}

/// PEM files.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// Chain, leaf first.
    pub certificate: PathBuf,
    /// Private key.
    pub key: PathBuf,
}

/// Checks what was written. The listeners are checked before, since the public URL may be made from them.
pub(in crate::config) fn server(
    mut server: Server,
    listeners: Vec<ListenerConfig>,
    public_url: &PublicUrl,
    reader: &mut SettingsReader,
) -> ServerConfig {
    let (_, open) = open(&listeners);
    let plain = listeners.iter().any(|listener| !listener.tls && !listener.proxy_protocol);
    let no_tls = !listeners.iter().any(|listener| listener.tls);
    if plain && (no_tls || open.is_some()) && public_url.is_secure() && server.trusted_proxies.is_empty() {
        let what = if open.is_some() {
            "is reachable from other machines without TLS although the public URL is https: \
             set server.tls, or name the proxy that ends TLS in server.trusted_proxies"
        } else {
            "speaks plain HTTP although the public URL is https: name the proxy that ends TLS in \
             server.trusted_proxies, or all clients look like that one, or set server.tls"
        };
        reader.warn(&server.at("listen"), what);
    }
    if listeners.iter().any(|listener| listener.tls) && !public_url.is_secure() {
        reader.warn("public_url", "is plain http although the listeners speak TLS: write https://");
    }
    let limits = limits::limits(&server.limits, reader);
    let acme = server.acme.take().map(|acme| acme::acme(acme, &listeners, public_url, reader));
    let ops_listen = listen::ops(&server, reader);
    ServerConfig {
        workers: server.workers.map_or_else(|| *CORES, Number::size),
        tls: server
            .tls
            .and_then(|tls| Some(TlsFiles { certificate: tls.certificate.0?.0, key: tls.key.0?.0 })),
        trusted_proxies: server.trusted_proxies.iter().map(|network| network.0).collect(),
        trusted_origins: server.trusted_origins.into_iter().map(|origin| origin.0).collect(),
        limits,
        header_timeout: server.header_timeout.0,
        keep_alive: server.keep_alive.0,
        write_timeout: server.write_timeout.0,
        body_pace: BodyPace { rate: server.limits.body_rate.count().into(), over: server.body_timeout.0 },
        drain: server.drain.0,
        proxy_protocol_from: server.proxy_protocol_from.iter().map(|network| network.0).collect(),
        ops_listen,
        acme,
        listeners,
    }
}
