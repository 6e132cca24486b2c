//! What TLS handshakes are answered with while certificates come and go: the newest one, or a challenge's.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::model::time::Timestamp;
use crate::server::leaf::end_of_leaf;

/// The protocol in which an authority looks at a challenge (RFC 8737, 6.2).
pub const CHALLENGE_PROTOCOL: &[u8] = b"acme-tls/1";

/// ACME state, shared by the listeners and the task that orders.
#[derive(Default)]
pub struct AcmeState {
    certificate: RwLock<Option<Arc<CertifiedKey>>>,
    /// Certificates of challenges that are under way, by domain.
    handshakes: RwLock<HashMap<String, Arc<CertifiedKey>>>,
    /// Answers to challenges over HTTP that are under way, by token.
    answers: RwLock<HashMap<String, String>>,
}

impl AcmeState {
    /// Answers new handshakes with a certificate.
    pub(super) fn put(&self, certificate: Arc<CertifiedKey>) {
        *self.certificate.write().unwrap_or_else(PoisonError::into_inner) = Some(certificate);
    }

    /// When the certificate ends that is answered with, if there is one.
    pub fn end(&self) -> Option<Timestamp> {
        end_of_leaf(self.certificate()?.cert.first()?)
    }

    fn certificate(&self) -> Option<Arc<CertifiedKey>> {
        self.certificate.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn answer_handshake(&self, domain: &str, certificate: Arc<CertifiedKey>) {
        let mut handshakes = self.handshakes.write().unwrap_or_else(PoisonError::into_inner);
        handshakes.insert(domain.to_owned(), certificate);
    }

    pub(super) fn answer_request(&self, token: &str, answer: &str) {
        let mut answers = self.answers.write().unwrap_or_else(PoisonError::into_inner);
        answers.insert(token.to_owned(), answer.to_owned());
    }

    /// The answer to a challenge over HTTP.
    pub(super) fn answer(&self, token: &str) -> Option<String> {
        self.answers.read().unwrap_or_else(PoisonError::into_inner).get(token).cloned()
    }

    /// No challenge is under way any more.
    pub(super) fn end_challenges(&self) {
        self.handshakes.write().unwrap_or_else(PoisonError::into_inner).clear();
        self.answers.write().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl fmt::Debug for AcmeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").finish_non_exhaustive()
    }
}

/// Chooses the certificate for a handshake. Without one, the handshake is refused.
#[derive(Debug)]
pub struct CertificateResolver {
    held: Arc<AcmeState>,
    /// The certificate from files, until there is another.
    fallback: Option<Arc<CertifiedKey>>,
}

impl CertificateResolver {
    /// Answers with what is held, or else with `fallback`.
    pub fn new(held: Arc<AcmeState>, fallback: Option<Arc<CertifiedKey>>) -> Self {
        Self { held, fallback }
    }
}

impl ResolvesServerCert for CertificateResolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let asks_challenge = hello
            .alpn()
            .is_some_and(|mut names| names.next() == Some(CHALLENGE_PROTOCOL) && names.next().is_none());
        if asks_challenge {
            let domain = hello.server_name()?;
            let handshakes = self.held.handshakes.read().unwrap_or_else(PoisonError::into_inner);
            return handshakes.get(domain).cloned();
        }
        let chosen = self.held.certificate().or_else(|| self.fallback.clone());
        if chosen.is_none() {
            tracing::debug!("a TLS handshake is refused: there is no certificate yet");
        }
        chosen
    }
}
