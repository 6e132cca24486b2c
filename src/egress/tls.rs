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
    let (certificates, place) = match file {
        Some(path) => (certificates(path)?, path.display().to_string()),
        None => (systems_certificates(), "the system".to_owned()),
    };
    let mut roots = RootCertStore::empty();
    let (_, unusable) = roots.add_parsable_certificates(certificates);
    match file {
        _ if !roots.is_empty() => {}
        Some(_) => {
            let reason = "none of its certificates can be used as an authority".to_owned();
            return Err(TlsError::File { path: place, reason });
        }
        None => return Err(TlsError::NoAuthorities),
    }
    if unusable > 0 {
        tracing::warn!(
            from = place,
            count = unusable,
            "certificates that cannot be used as authorities are left out"
        );
    }
    Ok(roots)
}

/// The system's, without those that cannot be read.
fn systems_certificates() -> Vec<CertificateDer<'static>> {
    let loaded = rustls_native_certs::load_native_certs();
    if let Some(first) = loaded.errors.first() {
        let count = loaded.errors.len();
        tracing::warn!(count, %first, "some of the system's certificate authorities cannot be read");
    }
    loaded.certs
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

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

    use super::*;

    /// How many authorities are found in a file of this text.
    fn found(pem: &str) -> Result<usize, TlsError> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.crt");
        std::fs::write(&file, pem).unwrap();
        authorities(Some(&file)).map(|roots| roots.len())
    }

    #[test]
    fn certificates_that_are_no_authorities_are_left_out_and_refused_where_there_is_no_other() {
        const UNUSABLE: &str = "-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n";
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let usable = params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem();

        assert_eq!(found(&usable).unwrap(), 1);
        assert_eq!(found(&format!("{usable}{UNUSABLE}{UNUSABLE}")).unwrap(), 1);
        let error = found(UNUSABLE).unwrap_err().to_string();
        assert!(error.contains("ca.crt: none of its certificates can be used"), "{error}");
    }
}
