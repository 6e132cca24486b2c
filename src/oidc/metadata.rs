//! The discovery document (OpenID Connect Discovery 1.0, 3), as far as it is used.
//!
//! What it says of algorithms and of authentication at the token endpoint is not read: the settings decide that.

use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::error::DocumentError;
use crate::config::IssuerConfig;
use crate::egress::EgressClient;

/// Where things are at a provider. Every address is as it was announced, with its query.
#[derive(Debug)]
pub(super) struct Metadata {
    pub(super) authorization_endpoint: Url,
    pub(super) token_endpoint: String,
    pub(super) jwks_uri: String,
    pub(super) userinfo_endpoint: Option<String>,
    /// Where a browser signs out (OpenID Connect RP-Initiated Logout 1.0, 2.1).
    pub(super) end_session_endpoint: Option<Url>,
    /// Where tokens are given back (RFC 7009; RFC 8414, 2).
    pub(super) revocation_endpoint: Option<String>,
    /// Whether every authorization response has `iss` (RFC 9207, 3).
    pub(super) responses_have_issuer: bool,
}

#[derive(Deserialize)]
struct Document {
    issuer: String,
    authorization_endpoint: Option<String>,
    token_endpoint: Option<String>,
    jwks_uri: Option<String>,
    userinfo_endpoint: Option<String>,
    end_session_endpoint: Option<String>,
    revocation_endpoint: Option<String>,
    authorization_response_iss_parameter_supported: Option<bool>,
}

impl Metadata {
    /// Checks that a document is this issuer's, and that its addresses are ones that may be used.
    pub(super) fn read(
        document: Value,
        issuer: &IssuerConfig,
        egress: &EgressClient,
    ) -> Result<Self, DocumentError> {
        let document: Document = serde_json::from_value(document).map_err(|_| DocumentError::Shape)?;
        if document.issuer != issuer.issuer {
            return Err(DocumentError::Issuer);
        }
        let called = |name, url: Option<String>| match url {
            Some(url) => match egress.check(&url) {
                Ok(()) => Ok(Some(url)),
                Err(refusal) => Err(DocumentError::Endpoint(name, refusal)),
            },
            None => Ok(None),
        };
        let needed = |name, url| called(name, url)?.ok_or(DocumentError::Missing(name));
        let authorization =
            document.authorization_endpoint.ok_or(DocumentError::Missing("authorization_endpoint"))?;
        let end_session_endpoint = match document.end_session_endpoint {
            Some(url) => {
                Some(for_browsers(&url, issuer).ok_or(DocumentError::Browser("end_session_endpoint"))?)
            }
            None => None,
        };
        Ok(Self {
            end_session_endpoint,
            revocation_endpoint: called("revocation_endpoint", document.revocation_endpoint)?,
            authorization_endpoint: for_browsers(&authorization, issuer)
                .ok_or(DocumentError::Browser("authorization_endpoint"))?,
            token_endpoint: needed("token_endpoint", document.token_endpoint)?,
            jwks_uri: needed("jwks_uri", document.jwks_uri)?,
            userinfo_endpoint: called("userinfo_endpoint", document.userinfo_endpoint)?,
            responses_have_issuer: document.authorization_response_iss_parameter_supported.unwrap_or(false),
        })
    }
}

/// An address that a browser may be sent to: the issuer's own origin, or another by https that is no inner host.
fn for_browsers(url: &str, issuer: &IssuerConfig) -> Option<Url> {
    let url = Url::parse(url).ok()?;
    let has_credentials = !url.username().is_empty() || url.password().is_some();
    if has_credentials || url.fragment().is_some() {
        return None;
    }
    let is_own = Url::parse(&issuer.issuer).is_ok_and(|issuer| issuer.origin() == url.origin());
    let is_inner = issuer.allowed_hosts.iter().any(|inner| Some(inner.as_str()) == url.host_str());
    let fits = matches!(url.scheme(), "https" | "http") && is_own || url.scheme() == "https" && !is_inner;
    fits.then_some(url)
}
