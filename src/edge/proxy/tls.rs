//! TLS towards upstreams: whom we trust, and who we say we are.

use std::path::Path;
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::TlsConnector;

use crate::config::{UpstreamConfig, UpstreamProtocol};

/// Why TLS towards an upstream cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read as PEM.
    #[error("{path}: {reason}")]
    File {
        /// Which.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No authority is known.
    #[error("no certificate authority is known: name one as tls.ca, or install the system's")]
    NoAuthorities,
    /// The name to check is no DNS name or address.
    #[error("`{0}` cannot be checked as a server name")]
    ServerName(String),
    /// rustls refused the combination.
    #[error("TLS cannot be set up")]
    Setup(#[source] rustls::Error),
}

/// How TLS is spoken to the servers of an upstream; `None` where it is not.
///
/// # Errors
///
/// [`TlsError`] if a file cannot be read or what it holds does not fit together.
pub fn connector(upstream: &UpstreamConfig) -> Result<Option<TlsConnector>, TlsError> {
    if !upstream.is_secure() {
        return Ok(None);
    }
    let roots = authorities(upstream.tls.ca.as_deref())?;
    let builder = ClientConfig::builder().with_root_certificates(roots);
    let mut config = match &upstream.tls.client {
        Some(files) => builder
            .with_client_auth_cert(certificates(&files.certificate)?, private_key(&files.key)?)
            .map_err(TlsError::Setup)?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = match upstream.protocol {
        UpstreamProtocol::Http1 => vec![b"http/1.1".to_vec()],
        UpstreamProtocol::Http2 => vec![b"h2".to_vec()],
    };
    Ok(Some(TlsConnector::from(Arc::new(config))))
}

/// The name that must be in the certificate of a server at `host`.
///
/// # Errors
///
/// [`TlsError::ServerName`] if it is no DNS name or address.
pub fn server_name(upstream: &UpstreamConfig, host: &str) -> Result<ServerName<'static>, TlsError> {
    let name = upstream.tls.server_name.as_deref().unwrap_or(host);
    ServerName::try_from(name.to_owned()).map_err(|_| TlsError::ServerName(name.to_owned()))
}

/// The authorities in a file, or the system's.
///
/// # Errors
///
/// [`TlsError`] if there is none.
pub fn authorities(file: Option<&Path>) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    let certificates = match file {
        Some(path) => certificates(path)?,
        None => rustls_native_certs::load_native_certs().certs,
    };
    roots.add_parsable_certificates(certificates);
    if roots.is_empty() { Err(TlsError::NoAuthorities) } else { Ok(roots) }
}

/// The certificates in a PEM file, at least one.
///
/// # Errors
///
/// [`TlsError::File`] if there is none.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let fail = |reason: String| TlsError::File { path: path.display().to_string(), reason };
    let certificates: Vec<_> = CertificateDer::pem_file_iter(path)
        .map_err(|error| fail(error.to_string()))?
        .collect::<Result<_, _>>()
        .map_err(|error| fail(error.to_string()))?;
    if certificates.is_empty() { Err(fail("holds no certificate".to_owned())) } else { Ok(certificates) }
}

/// The private key in a PEM file.
///
/// # Errors
///
/// [`TlsError::File`] if there is none.
pub fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(path)
        .map_err(|error| TlsError::File { path: path.display().to_string(), reason: error.to_string() })
}
