//! Certificates from Pebble, the test authority of Let's Encrypt, which really connects to validate.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::proxies::echo::Echo;
use crate::support::gateway::Gateway;
use crate::support::process::Process;
use crate::support::{PATIENCE, client, free_port, wait_for};

const DOMAIN: &str = "door.example.test";
const OTHER_DOMAIN: &str = "other.example.test";

/// A running authority that resolves every name to loopback.
struct Pebble {
    directory: TempDir,
    url: String,
    management: u16,
    /// Where it looks for challenges, in place of 443 and 80.
    tls: u16,
    http: u16,
    roots: Arc<RootCertStore>,
    process: Option<Process>,
    _names: Process,
}

impl Pebble {
    /// Starts one whose certificates are good for so many seconds.
    async fn start(seconds: u32) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let directory = tempfile::tempdir().unwrap();
        let [listen, management, tls, http, dns, control] = std::array::from_fn(|_| free_port());
        let roots = Arc::new(own_authority(directory.path()));
        let config = json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{listen}"),
            "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": "pebble.crt",
            "privateKey": "pebble.key",
            "httpPort": http,
            "tlsPort": tls,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": false,
            "certificateValidityPeriod": seconds,
        }});
        std::fs::write(directory.path().join("pebble.json"), config.to_string()).unwrap();
        let mut command = Command::new("pebble-challtestsrv");
        command.args(["-http01", "", "-https01", "", "-tlsalpn01", ""]);
        command.args(["-defaultIPv4", "127.0.0.1", "-defaultIPv6", ""]);
        command.args(["-dns01", &format!("127.0.0.1:{dns}"), "-management", &format!("127.0.0.1:{control}")]);
        let names = Process::start("names", directory.path(), &command);
        let mut command = Command::new("pebble");
        command.args(["-config", "pebble.json", "-strict", "-dnsserver", &format!("127.0.0.1:{dns}")]);
        command.env("PEBBLE_VA_NOSLEEP", "1");
        let process = Process::start("pebble", directory.path(), &command);
        let pebble = Self {
            url: format!("https://127.0.0.1:{listen}/dir"),
            directory,
            management,
            tls,
            http,
            roots,
            process: Some(process),
            _names: names,
        };
        let control = format!("http://127.0.0.1:{control}/");
        wait_for("server of names", PATIENCE, async || client::get(&control).await.ok()).await;
        wait_for("directory of Pebble", PATIENCE, async || pebble.get(listen, "/dir").await).await;
        pebble
    }

    /// The body of a page of the authority's own.
    async fn get(&self, port: u16, path: &str) -> Option<String> {
        let roots = RootCertStore::clone(&self.roots);
        let (_, answer) = exchange(port, "127.0.0.1", roots, path).await.ok()?;
        answer
            .split_once("\r\n\r\n")
            .filter(|_| answer.starts_with("HTTP/1.1 200"))
            .map(|(_, body)| body.to_owned())
    }

    /// The root of what it issues.
    async fn issuer(&self) -> RootCertStore {
        let pem = self.get(self.management, "/roots/0").await.expect("Pebble tells its root");
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
        roots
    }

    /// A configuration that orders from it; `more` are further settings of `[server.acme]`.
    fn config(&self, echo: &Echo, tls: u16, more: &str) -> String {
        let folder = self.directory.path().display();
        format!(
            "public_url = \"https://{DOMAIN}\"\n\
             [server]\nlisten = \"127.0.0.1:{tls}\"\n[[server.listeners]]\naddress = \"127.0.0.1:8080\"\ntls = false\n\
             [server.acme]\nagree_to_terms = true\ndirectory = \"{}\"\nca = \"{folder}/ca.crt\"\n\
             cache = \"{folder}/cache\"\ncontact = \"ops@example.test\"\n{more}\n\
             [[upstreams]]\nname = \"echo\"\nurl = \"http://{}\"\n\
             [[routes]]\nupstream = \"echo\"\nrules = [{{ allow = \"anyone\" }}]\n",
            self.url, echo.address,
        )
    }
}

/// Writes the certificate of Pebble's own pages, and the authority that signed it.
fn own_authority(folder: &Path) -> RootCertStore {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let authority = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    for (name, text) in
        [("ca.crt", authority.pem()), ("pebble.crt", certificate.pem()), ("pebble.key", key.serialize_pem())]
    {
        std::fs::write(folder.join(name), text).unwrap();
    }
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    roots
}

/// One GET over TLS: the certificate that was shown, and the whole answer.
async fn exchange(
    port: u16,
    name: &str,
    roots: RootCertStore,
    path: &str,
) -> std::io::Result<(CertificateDer<'static>, String)> {
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let name_shown = ServerName::try_from(name.to_owned()).unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name_shown, stream).await?;
    let shown = stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned();
    let request = format!("GET {path} HTTP/1.1\r\nhost: {name}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    // Servers that end without a farewell have answered all the same.
    let _ = stream.read_to_end(&mut answer).await;
    Ok((shown, String::from_utf8_lossy(&answer).into_owned()))
}

#[tokio::test]
async fn a_certificate_is_ordered_by_handshake_kept_and_renewed_and_survives_the_authority() {
    let pebble = Pebble::start(30).await;
    let echo = Echo::start().await;
    let domains = format!("domains = [\"{DOMAIN}\", \"{OTHER_DOMAIN}\"]");
    let gateway = Gateway::start(&pebble.config(&echo, pebble.tls, &domains)).await;
    let issuer = pebble.issuer().await;
    let shown = async |name: &str| {
        let (shown, answer) = exchange(pebble.tls, name, issuer.clone(), "/x").await.ok()?;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        Some(shown)
    };
    let first = wait_for("certificate", PATIENCE, async || shown(DOMAIN).await).await;
    assert_eq!(shown(OTHER_DOMAIN).await.as_ref(), Some(&first));
    assert_eq!(gateway.json(&["healthcheck"], "")["ready"], true);

    // No challenge is under way: whoever asks as an authority does gets nothing.
    let mut config = ClientConfig::builder().with_root_certificates(issuer.clone()).with_no_client_auth();
    config.alpn_protocols = vec![b"acme-tls/1".to_vec()];
    let stream = TcpStream::connect(("127.0.0.1", pebble.tls)).await.unwrap();
    let name = ServerName::try_from(DOMAIN).unwrap();
    assert!(TlsConnector::from(Arc::new(config)).connect(name, stream).await.is_err());

    // At two thirds of its life there is another, without a restart.
    let renewed = async || shown(DOMAIN).await.filter(|shown| *shown != first);
    let second = wait_for("renewal", PATIENCE, renewed).await;
    let output = gateway.output();
    assert!(output.matches("a new certificate is in use").count() >= 2, "{output}");

    // Another gateway over the same folder needs no order; and an authority that is gone takes nothing away.
    drop(gateway);
    let mut pebble = pebble;
    drop(pebble.process.take());
    let gateway = Gateway::start(&pebble.config(&echo, pebble.tls, &domains)).await;
    let (kept, _) = exchange(pebble.tls, DOMAIN, issuer.clone(), "/x").await.unwrap();
    assert!(kept == second, "the kept certificate is in use from the start");
    wait_for("failed renewal", PATIENCE, async || {
        gateway.output().contains("no new certificate could be got").then_some(())
    })
    .await;
    assert_eq!(client::get(&format!("{}/x", gateway.url)).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_certificate_is_ordered_over_http_and_everything_else_there_is_sent_to_https() {
    let pebble = Pebble::start(3600).await;
    let echo = Echo::start().await;
    let listening = free_port();
    let challenge = format!("challenge = \"http-01\"\nhttp_listen = \"127.0.0.1:{}\"", pebble.http);
    let gateway = Gateway::start(&pebble.config(&echo, listening, &challenge)).await;
    let issuer = pebble.issuer().await;
    let (_, answer) = wait_for("certificate", PATIENCE, async || {
        exchange(listening, DOMAIN, issuer.clone(), "/x").await.ok()
    })
    .await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}\n{}", gateway.output());
    let plain =
        async |path: &str| client::get(&format!("http://127.0.0.1:{}{path}", pebble.http)).await.unwrap();
    let sent = plain("/a?b=c").await;
    assert_eq!((sent.status, sent.header("location")), (308, "https://door.example.test/a?b=c"));
    assert_eq!(plain("/.well-known/acme-challenge/x").await.status, 404);
}

#[tokio::test]
async fn without_a_certificate_handshakes_are_refused_and_the_rest_is_served() {
    let pebble = Pebble::start(3600).await;
    let echo = Echo::start().await;
    // The authority looks elsewhere and finds nobody.
    let listening = free_port();
    let gateway = Gateway::start(&pebble.config(&echo, listening, "")).await;
    wait_for("failed order", PATIENCE, async || {
        gateway.output().contains("no new certificate could be got").then_some(())
    })
    .await;
    let refused = exchange(listening, DOMAIN, pebble.issuer().await, "/x").await.unwrap_err();
    assert!(refused.to_string().contains("AccessDenied"), "{refused}");
    assert_eq!(client::get(&format!("{}/x", gateway.url)).await.unwrap().status, 200);
    assert!(echo.take().len() == 1);
}
