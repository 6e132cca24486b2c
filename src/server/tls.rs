//! TLS towards clients.

use std::sync::{Arc, PoisonError, RwLock};

use tokio_rustls::TlsAcceptor;

use crate::config::TlsFiles;
use crate::edge::proxy::tls::{self, TlsError};

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
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
