//! TLS towards clients and towards upstreams, with authorities made for the test.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::credentials::ROUTES;
use crate::support::raw::read_to_close;
use crate::support::{Gateway, Upstream, until, within};

/// An authority and what it signed, as PEM files in a folder.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub pem: String,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// Writes `<name>.crt` and `<name>.key` for a host.
    pub fn sign(&self, folder: &Path, name: &str, host: &str) {
        let key = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new(vec![host.to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        std::fs::write(folder.join(format!("{name}.crt")), certificate.pem()).unwrap();
        std::fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    pub fn roots(&self) -> rustls::RootCertStore {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap()).unwrap();
        roots
    }
}

fn install_provider() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tls_listener_speaks_http1_and_http2_and_tells_upstreams_so() {
    let (_folder, authority, tls) = gateway_certificate();
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::configured(&format!(
        "[server]\n{tls}\
         [[upstreams]]\nname = \"app\"\nurl = \"{}\"\n{ROUTES}",
        upstream.url()
    ))
    .await;
    for (offered, chosen) in
        [(vec![], None), (vec!["http/1.1"], Some("http/1.1")), (vec!["h2", "http/1.1"], Some("h2"))]
    {
        let mut config =
            rustls::ClientConfig::builder().with_root_certificates(authority.roots()).with_no_client_auth();
        config.alpn_protocols = offered.iter().map(|name| name.as_bytes().to_vec()).collect();
        let stream = TcpStream::connect(gateway.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol().map(String::from_utf8_lossy).as_deref(), chosen);
        if chosen == Some("h2") {
            continue;
        }
        stream
            .write_all(b"GET /public HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            .await
            .unwrap();
        let mut answer = Vec::new();
        within("the answer", stream.read_to_end(&mut answer)).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
        assert_eq!(upstream.last().header("x-forwarded-proto"), Some("https"));
    }
    // Plain HTTP on a TLS listener gets no answer of any kind.
    assert_eq!(gateway.get("/public", "").await.status, 0);
}

/// D02: handshakes that never end.
#[tokio::test(flavor = "multi_thread")]
async fn a_tls_handshake_that_stalls_is_given_up() {
    let (_folder, _, tls) = gateway_certificate();
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::configured(&format!(
        "[server]\nheader_timeout = \"1s\"\n{tls}\
         [[upstreams]]\nname = \"app\"\nurl = \"{}\"\n{ROUTES}",
        upstream.url()
    ))
    .await;
    for start in [&b""[..], &[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]] {
        let mut client = TcpStream::connect(gateway.address).await.unwrap();
        client.write_all(start).await.unwrap();
        assert_eq!(read_to_close(&mut client).await, "");
    }
}

/// A folder with an upstream's certificate for `localhost` and its authority's, `ca.crt`; and an authority beside it.
pub fn upstream_certificates() -> (TempDir, Authority) {
    install_provider();
    let (authority, other) = (Authority::new(), Authority::new());
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("ca.crt"), &authority.pem).unwrap();
    authority.sign(folder.path(), "upstream", "localhost");
    (folder, other)
}

/// A folder with a gateway's certificate for `localhost`, its authority, and the setting of `[server]` that names it.
pub fn gateway_certificate() -> (TempDir, Authority, String) {
    install_provider();
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    authority.sign(folder.path(), "gateway", "localhost");
    let place = folder.path().display();
    let setting =
        format!("tls = {{ certificate = \"{place}/gateway.crt\", key = \"{place}/gateway.key\" }}\n");
    (folder, authority, setting)
}

/// What a TLS upstream was sent.
pub type Heard = Arc<Mutex<Vec<String>>>;

/// A TLS upstream that answers every connection once; asks for a client certificate of `clients`, if given.
pub async fn tls_upstream(folder: &Path, clients: Option<&Authority>) -> (SocketAddr, Heard) {
    let chain = vec![CertificateDer::from_pem_file(folder.join("upstream.crt")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(folder.join("upstream.key")).unwrap();
    let builder = rustls::ServerConfig::builder();
    let builder = match clients {
        Some(authority) => {
            let verifier =
                rustls::server::WebPkiClientVerifier::builder(Arc::new(authority.roots())).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        }
        None => builder.with_no_client_auth(),
    };
    let acceptor = TlsAcceptor::from(Arc::new(builder.with_single_cert(chain, key).unwrap()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let heard = Heard::default();
    let list = Arc::clone(&heard);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, list) = (acceptor.clone(), Arc::clone(&list));
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut buffer = [0; 4096];
                let read = stream.read(&mut buffer).await.unwrap_or(0);
                list.lock().unwrap().push(String::from_utf8_lossy(&buffer[..read]).into_owned());
                let _ = stream
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok")
                    .await;
                let _ = stream.shutdown().await;
            });
        }
    });
    (address, heard)
}

async fn status_through(tls: &str, upstream: SocketAddr) -> u16 {
    let gateway = Gateway::configured(&format!(
        "[[upstreams]]\nname = \"app\"\nurl = \"https://localhost:{}\"\n{tls}\n{ROUTES}",
        upstream.port()
    ))
    .await;
    gateway.get("/public", "").await.status
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstreams_certificate_must_be_signed_by_its_authority_for_its_name() {
    let (folder, other) = upstream_certificates();
    let place = folder.path().display();
    std::fs::write(folder.path().join("other.crt"), &other.pem).unwrap();
    let (upstream, _) = tls_upstream(folder.path(), None).await;
    assert_eq!(status_through(&format!("tls = {{ ca = \"{place}/ca.crt\" }}"), upstream).await, 200);
    assert_eq!(status_through(&format!("tls = {{ ca = \"{place}/other.crt\" }}"), upstream).await, 502);
    let named = format!("tls = {{ ca = \"{place}/ca.crt\", server_name = \"elsewhere.example\" }}");
    assert_eq!(status_through(&named, upstream).await, 502);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_wants_a_client_certificate_gets_ours() {
    let (folder, clients) = upstream_certificates();
    let place = folder.path().display();
    clients.sign(folder.path(), "client", "gateway");
    let (upstream, _) = tls_upstream(folder.path(), Some(&clients)).await;
    let ours = format!(
        "tls = {{ ca = \"{place}/ca.crt\", certificate = \"{place}/client.crt\", key = \"{place}/client.key\" }}"
    );
    assert_eq!(status_through(&ours, upstream).await, 200);
    assert_eq!(status_through(&format!("tls = {{ ca = \"{place}/ca.crt\" }}"), upstream).await, 502);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_may_speak_http2_over_tls() {
    let (folder, _) = upstream_certificates();
    let place = folder.path().display();
    let chain = vec![CertificateDer::from_pem_file(folder.path().join("upstream.crt")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(folder.path().join("upstream.key")).unwrap();
    let mut config =
        rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(stream) = acceptor.accept(stream).await else { continue };
            let service =
                hyper::service::service_fn(|request: http::Request<hyper::body::Incoming>| async move {
                    assert_eq!(request.version(), http::Version::HTTP_2);
                    let host = request.uri().authority().unwrap().to_string();
                    Ok::<_, std::convert::Infallible>(http::Response::new(
                        http_body_util::Full::<bytes::Bytes>::from(host),
                    ))
                });
            let io = hyper_util::rt::TokioIo::new(stream);
            let executor = hyper_util::rt::TokioExecutor::new();
            tokio::spawn(hyper::server::conn::http2::Builder::new(executor).serve_connection(io, service));
        }
    });
    let gateway = Gateway::configured(&format!(
        "[[upstreams]]\nname = \"app\"\nurl = \"https://localhost:{}\"\nprotocol = \"http2\"\n\
         tls = {{ ca = \"{place}/ca.crt\" }}\n{ROUTES}",
        upstream.port()
    ))
    .await;
    let answer = gateway.get("/public", "").await;
    assert_eq!((answer.status, answer.text()), (200, gateway.address.to_string()));
}

/// Shakes hands and gives the certificate that was shown; the connection stays open.
async fn shake(
    address: SocketAddr,
    config: &Arc<rustls::ClientConfig>,
) -> (tokio_rustls::client::TlsStream<TcpStream>, CertificateDer<'static>) {
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let connector = TlsConnector::from(Arc::clone(config));
    let stream = within("a handshake", connector.connect(name, stream)).await.unwrap();
    let shown = stream.get_ref().1.peer_certificates().unwrap()[0].clone();
    (stream, shown)
}

#[tokio::test(flavor = "multi_thread")]
async fn another_certificate_is_shown_to_new_connections_and_a_broken_one_is_not_taken() {
    let (folder, authority, tls) = gateway_certificate();
    let place = folder.path();
    let upstream = Upstream::spawn().await;
    let text =
        format!("[server]\n{tls}[[upstreams]]\nname = \"app\"\nurl = \"{}\"\n{ROUTES}", upstream.url());
    let on_disk = || CertificateDer::from_pem_file(place.join("gateway.crt")).unwrap();
    let gateway = Gateway::configured(&text).await;
    // One client for all, which resumes sessions where it is let.
    let client = Arc::new(
        rustls::ClientConfig::builder().with_root_certificates(authority.roots()).with_no_client_auth(),
    );
    let first = on_disk();
    let (mut open, shown) = shake(gateway.address, &client).await;
    assert_eq!(shown, first);

    // A certificate without its key, and half a file: refused, and the old one is still shown.
    authority.sign(place, "other", "localhost");
    let whole = std::fs::read_to_string(place.join("other.crt")).unwrap();
    for broken in [whole.as_str(), &whole[..whole.len() / 2]] {
        std::fs::write(place.join("gateway.crt"), broken).unwrap();
        let refused = gateway.reload(&text).await.unwrap_err().to_string();
        assert!(refused.contains("server.tls"), "{refused}");
        assert_eq!(shake(gateway.address, &client).await.1, first);
    }

    // Certificate and key together.
    std::fs::rename(place.join("other.key"), place.join("gateway.key")).unwrap();
    std::fs::write(place.join("gateway.crt"), &whole).unwrap();
    gateway.reload(&text).await.unwrap();
    let second = on_disk();
    assert_ne!(first, second);
    for _ in 0..3 {
        assert_eq!(shake(gateway.address, &client).await.1, second);
    }
    open.write_all(b"GET /public HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    within("the answer", open.read_to_end(&mut answer)).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200 "), "what was open goes on");

    let without = text.replace("tls = ", "#");
    let refused = gateway.reload(&without).await.unwrap_err().to_string();
    assert!(refused.contains("server.tls: cannot change while the gateway runs"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_server_and_each_check_is_spoken_to_with_our_certificate_and_a_silent_server_is_replaced() {
    let (folder, clients) = upstream_certificates();
    let place = folder.path().display();
    clients.sign(folder.path(), "client", "gateway");
    // Accepts connections and never shakes hands.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut servers = vec![format!("\"https://localhost:{}\"", silent.local_addr().unwrap().port())];
    let mut all = Vec::new();
    for _ in 0..2 {
        let (upstream, heard) = tls_upstream(folder.path(), Some(&clients)).await;
        servers.push(format!("\"https://localhost:{}\"", upstream.port()));
        all.push(heard);
    }
    let gateway = Gateway::configured(&format!(
        "[[upstreams]]\nname = \"app\"\nservers = [{}]\ntimeouts.connect = \"1s\"\n\
         tls = {{ ca = \"{place}/ca.crt\", certificate = \"{place}/client.crt\", key = \"{place}/client.key\" }}\n\
         health = {{ path = \"/health\", interval = \"1h\", failures = 100 }}\n{ROUTES}",
        servers.join(", ")
    ))
    .await;
    for _ in 0..6 {
        assert_eq!(gateway.get("/public", "").await.status, 200);
    }
    for heard in all {
        let has = |line: &str| heard.lock().unwrap().iter().any(|head| head.starts_with(line));
        until("a check and a request", async || {
            has("GET /health HTTP/1.1\r\n") && has("GET /public HTTP/1.1\r\n")
        })
        .await;
    }
}
