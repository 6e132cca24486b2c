//! A server on loopback that misbehaves, over real sockets and real TLS.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::PrivateKeyDer;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::{EgressClient, EgressLimits, EgressSettings, NameResolution, origin};

/// A name in the certificate of every [`TestServer`], beside 127.0.0.1.
pub(crate) const NAME: &str = "issuer.example";

/// What a server does with each request: it sends some bytes, and then:
#[derive(Clone)]
pub(crate) enum Behaviour {
    /// Closes the connection.
    Answer(Vec<u8>),
    /// Sends nothing more and keeps the connection open.
    Hold(Vec<u8>),
    /// Sends the second bytes again and again.
    Repeat(Vec<u8>, Vec<u8>),
    /// Does what this says of the head and body of the request, which is none of these.
    Choose(Arc<dyn Fn(&str) -> Behaviour + Send + Sync>),
}

/// What a server speaks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Speech {
    Plain,
    Tls,
    /// Nothing: it accepts connections.
    Mute,
}

/// A running server. It ends when it is dropped.
pub(crate) struct TestServer {
    pub(crate) address: SocketAddr,
    speech: Speech,
    folder: TempDir,
    seen: Arc<Seen>,
    _running: JoinSet<()>,
}

#[derive(Default)]
struct Seen {
    requests: Mutex<Vec<String>>,
    connections: AtomicUsize,
    unanswered: AtomicUsize,
    most_unanswered: AtomicUsize,
}

impl Behaviour {
    /// A status, a content type and a body, whole.
    pub(crate) fn answer(status: u16, content_type: &str, body: &str) -> Self {
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {status} As Said\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\n"
        );
        Self::Answer(format!("{head}\r\n{body}").into_bytes())
    }

    pub(crate) fn json(body: &str) -> Self {
        Self::answer(200, "application/json", body)
    }
}

impl TestServer {
    /// One with TLS, and a certificate for 127.0.0.1 and [`NAME`] from an authority of its own.
    pub(crate) async fn start(act: Behaviour) -> Self {
        Self::speaking(Speech::Tls, own_names(), |_| act).await
    }

    /// The same with a certificate for other names.
    pub(crate) async fn certified_for(names: Vec<String>, act: Behaviour) -> Self {
        Self::speaking(Speech::Tls, names, |_| act).await
    }

    /// The same with a behaviour that depends on its address.
    pub(crate) async fn start_at(act: impl FnOnce(SocketAddr) -> Behaviour) -> Self {
        Self::speaking(Speech::Tls, own_names(), act).await
    }

    /// One without TLS.
    pub(crate) async fn plain(act: Behaviour) -> Self {
        Self::speaking(Speech::Plain, own_names(), |_| act).await
    }

    /// One that accepts connections and sends nothing, not even TLS.
    pub(crate) async fn mute() -> Self {
        Self::speaking(Speech::Mute, own_names(), |_| Behaviour::Hold(Vec::new())).await
    }

    async fn speaking(speech: Speech, names: Vec<String>, act: impl FnOnce(SocketAddr) -> Behaviour) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let acceptor = acceptor(&folder, names);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let act = act(address);
        let seen = Arc::new(Seen::default());
        let mut running = JoinSet::new();
        let seen_there = Arc::clone(&seen);
        running.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                seen_there.connection();
                let (act, seen, acceptor) = (act.clone(), Arc::clone(&seen_there), acceptor.clone());
                connections.spawn(async move {
                    match speech {
                        Speech::Plain => serve(stream, &act, &seen).await,
                        Speech::Tls => match acceptor.accept(stream).await {
                            Ok(stream) => serve(stream, &act, &seen).await,
                            Err(_) => seen.answered(),
                        },
                        Speech::Mute => {
                            let _held = stream;
                            std::future::pending::<()>().await;
                        }
                    }
                });
            }
        });
        Self { address, speech, folder, seen, _running: running }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        let scheme = if self.speech == Speech::Plain { "http" } else { "https" };
        format!("{scheme}://{}{path}", self.address)
    }

    /// The URL of a path at [`NAME`].
    pub(crate) fn named_url(&self, path: &str) -> String {
        format!("https://{NAME}:{}{path}", self.address.port())
    }

    /// The authority that its certificate is from.
    pub(crate) fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.crt")
    }

    /// Settings that name these URLs and trust this server.
    pub(crate) fn settings(&self, named: &[&str]) -> EgressSettings {
        EgressSettings {
            named: named.iter().map(|url| origin(url).unwrap()).collect(),
            named_hosts: Vec::new(),
            ca: Some(self.ca()),
            limits: EgressLimits {
                total: Duration::from_mins(1),
                connect: Duration::from_mins(1),
                ..EgressLimits::default()
            },
            names: NameResolution::System,
        }
    }

    /// A client that names this server and trusts it.
    pub(crate) fn client(&self) -> EgressClient {
        EgressClient::new(self.settings(&[&self.url("")])).unwrap()
    }

    /// The head and body of each request so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.seen.requests.lock().unwrap().clone()
    }

    /// How often it was connected to.
    pub(crate) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// The most connections that waited for a response at once.
    pub(crate) fn most_unanswered(&self) -> usize {
        self.seen.most_unanswered.load(Ordering::SeqCst)
    }
}

impl Seen {
    fn connection(&self) {
        self.connections.fetch_add(1, Ordering::SeqCst);
        let unanswered = self.unanswered.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_unanswered.fetch_max(unanswered, Ordering::SeqCst);
    }

    fn answered(&self) {
        self.unanswered.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Reads one request and behaves as told. The client may be gone by then.
async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, act: &Behaviour, seen: &Seen) {
    let Some(request) = read(&mut stream).await else { return seen.answered() };
    let chosen = match act {
        Behaviour::Choose(choose) => choose(&request),
        other => other.clone(),
    };
    seen.requests.lock().unwrap().push(request);
    seen.answered();
    let bytes: &[u8] = match &chosen {
        Behaviour::Answer(bytes) | Behaviour::Hold(bytes) | Behaviour::Repeat(bytes, _) => bytes,
        Behaviour::Choose(_) => &[],
    };
    let mut sent = stream.write_all(bytes).await;
    sent = sent.and(stream.flush().await);
    match &chosen {
        Behaviour::Answer(_) | Behaviour::Choose(_) => {}
        Behaviour::Hold(_) => std::future::pending().await,
        Behaviour::Repeat(_, again) => {
            while sent.is_ok() {
                sent = stream.write_all(again).await;
            }
        }
    }
    let _ = stream.shutdown().await;
}

/// One request, its body as long as its head says.
async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\n") {
        read.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(read).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).await.ok()?;
    Some(format!("{head}{}", String::from_utf8(body).unwrap()))
}

fn own_names() -> Vec<String> {
    vec!["127.0.0.1".to_owned(), NAME.to_owned()]
}

/// A certificate for these names by a new authority, which is written to the folder.
fn acceptor(folder: &TempDir, names: Vec<String>) -> TlsAcceptor {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let authority = params.self_signed(&key).unwrap();
    std::fs::write(folder.path().join("ca.crt"), authority.pem()).unwrap();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}
