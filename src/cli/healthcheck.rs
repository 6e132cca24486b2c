//! `doorward healthcheck`: asks a running gateway whether it is ready, for container and service managers.

use std::error::Error;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http::Request;
use http::StatusCode;
use http::header;
use http::request;
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use rustls::CertificateError;
use rustls::ClientConfig;
use rustls::DigitallySignedStruct;
use rustls::RootCertStore;
use rustls::SignatureScheme;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::client::danger::ServerCertVerified;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs;
use rustls::crypto::verify_tls12_signature;
use rustls::crypto::verify_tls13_signature;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::ServerName;
use rustls_pki_types::UnixTime;
use rustls_pki_types::pem::PemObject as _;
use serde_json::json;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;
use tokio::net::UnixStream;
use url::Host;
use url::Url;

use super::Common;
use super::failure::Failure;
use super::load_beside;
use super::output::Output;
use crate::config::Config;
use crate::config::ListenAddress;
use crate::server::acme::cache::certificate_file;

/// Where every listener says whether it is ready.
const READY: &str = "/_doorward/readyz";
/// Everything together must be done within this.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The gateway's address [default: of the settings, where operators ask or else clients]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
}

/// A health request: where it is sent, and how.
pub(super) struct HealthRequest {
    socket: GatewaySocket,
    /// `None` for plain HTTP.
    trust: Option<Trust>,
    /// The name in the certificate, if TLS is spoken.
    server_name: String,
    authority: String,
    path: String,
}

/// Where to connect.
#[derive(Debug, PartialEq, Eq)]
enum GatewaySocket {
    /// Name or address, without brackets, and port.
    Tcp(String, u16),
    /// A socket file.
    Unix(PathBuf),
}

/// Which server certificate is accepted.
enum Trust {
    /// One that the system trusts.
    System,
    /// Exactly this one, which the settings name: it need not be for the address we reach it at.
    Exactly(CertificateDer<'static>),
}

pub(super) async fn run(arguments: Arguments, common: &Common, output: Output) -> Result<(), Failure> {
    let question = match &arguments.url {
        Some(url) => from_url(url)?,
        None => from_config(&load_beside(common)?)?,
    };
    let status = tokio::time::timeout(PATIENCE, ask(&question))
        .await
        .map_err(|_| Failure::Refused("not ready: no answer in time".to_owned()))?
        .map_err(|cause| Failure::Refused(format!("not ready: {cause}")))?;
    if status == StatusCode::OK {
        output.show(&json!({ "ready": true }), "ready")
    } else {
        Err(Failure::Refused(format!("not ready: status {}", status.as_u16())))
    }
}

pub(super) fn from_url(text: &str) -> Result<HealthRequest, Failure> {
    let wrong = || Failure::Usage("the URL begins with http:// or https:// and names a host".to_owned());
    let url = Url::parse(text).map_err(|_| wrong())?;
    let trust = match url.scheme() {
        "http" => None,
        "https" => Some(Trust::System),
        _ => return Err(wrong()),
    };
    let host = match url.host().ok_or_else(wrong)? {
        Host::Domain(name) => name.to_owned(),
        Host::Ipv4(address) => address.to_string(),
        Host::Ipv6(address) => address.to_string(),
    };
    let path = if url.path() == "/" { READY } else { url.path() };
    Ok(HealthRequest {
        server_name: host.clone(),
        socket: GatewaySocket::Tcp(host, url.port_or_known_default().ok_or_else(wrong)?),
        trust,
        authority: url.authority().rsplit('@').next().unwrap_or_default().to_owned(),
        path: path.to_owned(),
    })
}

fn from_config(config: &Config) -> Result<HealthRequest, Failure> {
    if let Some(address) = &config.server.ops_listen {
        let socket = reachable(address).ok_or_else(|| nowhere("server.ops_listen is"))?;
        return Ok(HealthRequest {
            authority: match &socket {
                GatewaySocket::Tcp(host, port) if host.contains(':') => format!("[{host}]:{port}"),
                GatewaySocket::Tcp(host, port) => format!("{host}:{port}"),
                GatewaySocket::Unix(_) => "localhost".to_owned(),
            },
            socket,
            trust: None,
            server_name: String::new(),
            path: "/readyz".to_owned(),
        });
    }
    let mut direct = config.server.listeners.iter().filter(|listener| !listener.proxy_protocol);
    let (listener, socket) = direct
        .find_map(|listener| Some((listener, reachable(&listener.address)?)))
        .ok_or_else(|| nowhere("every listener requires the PROXY protocol or is"))?;
    let trust = match shown_certificate(config).filter(|_| listener.tls) {
        Some(file) => {
            let leaf = CertificateDer::from_pem_file(file);
            Some(Trust::Exactly(leaf.map_err(|error| Failure::Failed(Box::new(error)))?))
        }
        None if listener.tls => return Err(Failure::Refused("not ready: no certificate yet".to_owned())),
        None => None,
    };
    let public = &config.public_url;
    let origin = public.origin();
    Ok(HealthRequest {
        socket,
        trust,
        server_name: public.host().to_owned(),
        authority: origin.split_once("://").map_or(origin.as_str(), |(_, authority)| authority).to_owned(),
        path: format!("{}{READY}", public.base_path()),
    })
}

/// The file with the certificate that is shown now: the one that was ordered, or else the configured one.
fn shown_certificate(config: &Config) -> Option<PathBuf> {
    let ordered = config.server.acme.as_ref().map(certificate_file).filter(|file| file.exists());
    ordered.or_else(|| Some(config.server.tls.as_ref()?.certificate.clone()))
}

fn nowhere(why: &str) -> Failure {
    Failure::Usage(format!(
        "{why} a socket that is handed over, and nothing says where: set server.ops_listen to an address, or give --url"
    ))
}

/// Where to connect to for a listener, which may listen on all addresses; unknown for sockets that are handed over.
fn reachable(address: &ListenAddress) -> Option<GatewaySocket> {
    let address = match address {
        ListenAddress::Tcp(address) => *address,
        ListenAddress::Unix(path) => return Some(GatewaySocket::Unix(path.clone())),
        ListenAddress::Inherited(_) => return None,
    };
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    Some(GatewaySocket::Tcp(ip.to_string(), address.port()))
}

async fn ask(question: &HealthRequest) -> Result<StatusCode, Box<dyn Error + Send + Sync>> {
    send(question, Request::get(&question.path)).await
}

/// Sends one request without a body to where a question goes; only the answer's status is looked at.
pub(super) async fn send(
    question: &HealthRequest,
    request: request::Builder,
) -> Result<StatusCode, Box<dyn Error + Send + Sync>> {
    let request = request.header(header::HOST, &question.authority).body(Empty::new())?;
    match &question.socket {
        GatewaySocket::Tcp(host, port) => {
            let stream = TcpStream::connect((host.as_str(), *port)).await?;
            send_on(stream, question, request).await
        }
        GatewaySocket::Unix(path) => send_on(UnixStream::connect(path).await?, question, request).await,
    }
}

async fn send_on<S>(
    stream: S,
    question: &HealthRequest,
    request: Request<Empty<Bytes>>,
) -> Result<StatusCode, Box<dyn Error + Send + Sync>>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let Some(trust) = &question.trust else {
        return exchange(stream, request).await;
    };
    let name = ServerName::try_from(question.server_name.clone())?;
    let connector = tokio_rustls::TlsConnector::from(Arc::new(client_config(trust)?));
    exchange(connector.connect(name, stream).await?, request).await
}

async fn exchange<S>(
    stream: S,
    request: Request<Empty<Bytes>>,
) -> Result<StatusCode, Box<dyn Error + Send + Sync>>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let answer = sender.send_request(request);
    tokio::pin!(answer);
    let answer = tokio::select! {
        answer = &mut answer => answer,
        // Whatever ended the connection, the answer knows: it may have come with the end.
        _ = connection.with_upgrades() => answer.await,
    };
    Ok(answer?.status())
}

fn client_config(trust: &Trust) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    Ok(match trust {
        Trust::System => {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            builder.with_root_certificates(roots).with_no_client_auth()
        }
        Trust::Exactly(certificate) => {
            let pinned = Arc::new(PinnedCertificate { certificate: certificate.clone(), provider });
            builder.dangerous().with_custom_certificate_verifier(pinned).with_no_client_auth()
        }
    })
}

/// Accepts exactly one certificate, from the holder of its private key.
#[derive(Debug)]
struct PinnedCertificate {
    certificate: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PinnedCertificate {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if *end_entity == self.certificate {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use rustls_pki_types::PrivateKeyDer;
    use tokio::io::AsyncReadExt as _;
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    use super::*;

    fn question(url: &str) -> HealthRequest {
        from_url(url).ok().unwrap()
    }

    /// Answers one request with `answer`; what was asked comes back.
    async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: &str) -> String {
        let mut asked = Vec::new();
        while !asked.ends_with(b"\r\n\r\n") {
            asked.push(stream.read_u8().await.unwrap());
        }
        stream.write_all(answer.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        String::from_utf8(asked).unwrap()
    }

    #[test]
    fn a_url_without_a_path_means_the_ready_page() {
        let asked = question("http://[::1]:8080");
        assert_eq!((asked.socket, asked.path.as_str()), (GatewaySocket::Tcp("::1".into(), 8080), READY));
        assert_eq!(asked.authority, "[::1]:8080");
        let asked = question("https://u:p@app.example.com/base/_doorward/readyz");
        assert_eq!(
            (asked.authority.as_str(), asked.path.as_str()),
            ("app.example.com", "/base/_doorward/readyz")
        );
        assert_eq!(asked.socket, GatewaySocket::Tcp("app.example.com".into(), 443));
        for wrong in ["", "ftp://x", "app.example.com", "http://"] {
            assert!(matches!(from_url(wrong), Err(Failure::Usage(_))), "{wrong}");
        }
    }

    #[tokio::test]
    async fn only_200_is_ready() {
        for (answer, status) in [
            ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", Some(200)),
            ("HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n", Some(503)),
            ("nonsense", None),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let asked = question(&format!("http://{}", listener.local_addr().unwrap()));
            let server = async { serve(listener.accept().await.unwrap().0, answer).await };
            let (outcome, request) = tokio::join!(ask(&asked), server);
            assert_eq!(outcome.ok().map(|status| status.as_u16()), status, "{answer}");
            assert!(request.starts_with("GET /_doorward/readyz HTTP/1.1\r\n"), "{request}");
        }
    }

    #[tokio::test]
    async fn nobody_listening_is_not_ready() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let asked = question(&format!("http://{}", listener.local_addr().unwrap()));
        drop(listener);
        assert!(ask(&asked).await.is_err());
    }

    #[tokio::test]
    async fn the_certificate_in_the_settings_is_accepted_and_no_other() {
        let made = || rcgen::generate_simple_self_signed(["gate.example.com".to_owned()]).unwrap();
        let (ours, other) = (made(), made());
        for (pinned, accepted) in [(&ours, true), (&other, false)] {
            let provider = Arc::new(aws_lc_rs::default_provider());
            let key = PrivateKeyDer::try_from(ours.signing_key.serialize_der()).unwrap();
            let config = rustls::ServerConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(vec![ours.cert.der().clone()], key)
                .unwrap();
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let mut asked = question(&format!("http://{}", listener.local_addr().unwrap()));
            asked.trust = Some(Trust::Exactly(pinned.cert.der().clone()));
            let server = async {
                let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
                if let Ok(stream) = acceptor.accept(listener.accept().await.unwrap().0).await {
                    serve(stream, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
                }
            };
            let (outcome, ()) = tokio::join!(ask(&asked), server);
            assert_eq!(outcome.is_ok(), accepted);
        }
    }
}
