//! TLS towards clients.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;

use super::certificates::{AcmeState, CHALLENGE_PROTOCOL, CertificateResolver};
use super::leaf::end_of_leaf;
use crate::config::TlsFiles;
use crate::egress::tls::{self, TlsError};
use crate::model::time::Timestamp;

/// What a listener answers TLS with: the newest certificate, for every handshake from now on.
///
/// Replaced as a whole, so that no session is resumed that began under the certificate before.
#[derive(Clone)]
pub struct Tls(Arc<RwLock<TlsAcceptor>>);

impl Tls {
    /// Begins with one.
    pub fn new(acceptor: TlsAcceptor) -> Self {
        Self(Arc::new(RwLock::new(acceptor)))
    }

    /// What a new connection is answered with. Locked for a moment, once for a connection.
    pub fn current(&self) -> TlsAcceptor {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Answers new connections with another; open ones go on.
    pub fn replace(&self, acceptor: TlsAcceptor) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = acceptor;
    }
}

/// Answers TLS 1.2 and 1.3 with a certificate, and offers HTTP/2 and HTTP/1.1.
///
/// # Errors
///
/// [`TlsError`] if a file cannot be read, or the key does not belong to the certificate.
pub fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor, TlsError> {
    let chain = tls::certificates(&files.certificate)?;
    let key = tls::private_key(&files.key)?;
    let mut config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(TlsError::Setup)?;
    config.alpn_protocols = protocols(&[b"h2", b"http/1.1"]);
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// The same with the certificates that are held, or else those in the files; and answers challenges.
///
/// # Errors
///
/// [`TlsError`] as for [`acceptor`].
pub fn acceptor_by_acme(held: Arc<AcmeState>, fallback: Option<&TlsFiles>) -> Result<TlsAcceptor, TlsError> {
    let fallback = fallback.map(certified_key).transpose()?;
    let resolver = CertificateResolver::new(held, fallback);
    let builder = rustls::ServerConfig::builder().with_no_client_auth();
    let mut config = builder.with_cert_resolver(Arc::new(resolver));
    config.alpn_protocols = protocols(&[b"h2", b"http/1.1", CHALLENGE_PROTOCOL]);
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn certified_key(files: &TlsFiles) -> Result<Arc<CertifiedKey>, TlsError> {
    let chain = tls::certificates(&files.certificate)?;
    let key = any_supported_type(&tls::private_key(&files.key)?).map_err(TlsError::Setup)?;
    let certified = CertifiedKey::new(chain, key);
    certified.keys_match().map_err(TlsError::Setup)?;
    Ok(Arc::new(certified))
}

fn protocols(names: &[&[u8]]) -> Vec<Vec<u8>> {
    names.iter().map(|name| name.to_vec()).collect()
}

/// When the first certificate in a file ends, if it can be read.
pub fn end_of(certificate: &Path) -> Option<Timestamp> {
    end_of_leaf(tls::certificates(certificate).ok()?.first()?)
}
