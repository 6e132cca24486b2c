//! What TLS is set up with: authorities, certificates and private keys in PEM files.

use std::path::Path;

use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// Why TLS cannot be set up.
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
    #[error("no certificate authority is known: name one as `ca`, or install the system's")]
    NoAuthorities,
    /// The name to check is no DNS name or address.
    #[error("`{0}` cannot be checked as a server name")]
    ServerName(String),
    /// rustls refused the combination.
    #[error("TLS cannot be set up")]
    Setup(#[source] rustls::Error),
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
