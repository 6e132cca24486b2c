//! TLS to upstreams: trusted authorities and our client certificate.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio_rustls::TlsConnector;

use crate::config::{UpstreamConfig, UpstreamProtocol};
use crate::egress::tls::{TlsError, authorities, certificates, private_key};

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
