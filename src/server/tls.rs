//! TLS towards clients.

use std::sync::Arc;

use tokio_rustls::TlsAcceptor;

use crate::config::TlsFiles;
use crate::edge::proxy::tls::{self, TlsError};

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
