//! Client certificates, verified by a proxy in front of us that names them in a header.
//!
//! The header is the credential, so it counts only where a trusted proxy hands the request on; from anyone else it says
//! nothing. No upstream gets it.

use std::collections::HashMap;
use std::rc::Rc;

use http::{HeaderMap, HeaderName};

use crate::config::{CertificateConfig, ClientCertificatesConfig, Config};
use crate::gate::GateRequest;
use crate::gate::identity::Identity;
use crate::gate::refusal::BadCredential;
use crate::model::api_key::KeyScope;
use crate::model::principal::{Principal, PrincipalKind, Proof};
use crate::model::token::TokenDigest;

/// The certificates that a configuration names, with whom each stands for.
#[derive(Debug, Default)]
pub struct NamedCertificates {
    /// `None` where no header names any.
    settings: Option<ClientCertificatesConfig>,
    identities: Vec<Rc<Identity>>,
    known: HashMap<String, usize>,
}

impl NamedCertificates {
    /// Those of a configuration.
    pub(super) fn new(config: &Config) -> Self {
        let Some(certificates) = &config.client_certificates else { return Self::default() };
        let mut own = Self { settings: Some(certificates.clone()), ..Self::default() };
        for (at, certificate) in certificates.known.iter().enumerate() {
            let by = TokenDigest::of(&certificate.named);
            own.identities.push(Rc::new(Identity::named(principal(certificate), by)));
            own.known.insert(certificate.named.clone(), at);
        }
        own
    }

    /// The header that names them.
    pub(super) fn header(&self) -> Option<&HeaderName> {
        self.settings.as_ref().map(|settings| &settings.header)
    }

    /// Which certificate a trusted proxy names. An empty header is how proxies say that there was none.
    ///
    /// # Errors
    ///
    /// [`BadCredential`] for one that identifies no caller, and for several headers: a proxy that adds to what a client
    /// sent instead of replacing it leaves open which is its own.
    pub(super) fn presented(&self, request: &GateRequest<'_>) -> Result<Option<usize>, BadCredential> {
        let Some(settings) = self.settings.as_ref().filter(|_| request.client.by_proxy) else {
            return Ok(None);
        };
        let mut values = request.headers.get_all(&settings.header).iter();
        let value = match (values.next(), values.next()) {
            (None, _) => return Ok(None),
            (Some(value), None) => value.as_bytes().trim_ascii(),
            _ => return Err(BadCredential::Several),
        };
        if value.is_empty() {
            return Ok(None);
        }
        let named = std::str::from_utf8(value).ok().and_then(|text| settings.named(text));
        let known = named.and_then(|named| self.known.get(&named).copied());
        known.map(Some).ok_or(BadCredential::Unknown)
    }

    /// Whom a certificate stands for.
    pub(super) fn identity(&self, at: usize) -> Option<&Rc<Identity>> {
        self.identities.get(at)
    }

    /// Whom the certificate stands for that the settings call this.
    pub fn holder(&self, name: &str) -> Option<&Principal> {
        self.identities.iter().map(|identity| &*identity.principal).find(|principal| principal.name == name)
    }

    /// Whom a certificate stands for that was accepted before, if the settings still name it as the same.
    pub(super) fn still_named(&self, identity: &Identity) -> Option<Rc<Identity>> {
        let is_same =
            |own: &&Rc<Identity>| own.subject == identity.subject && own.named_by == identity.named_by;
        self.identities.iter().find(is_same).cloned()
    }

    /// Removes the header, from any client.
    pub(super) fn strip(&self, headers: &mut HeaderMap) {
        if let Some(settings) = &self.settings {
            headers.remove(&settings.header);
        }
    }
}

fn principal(certificate: &CertificateConfig) -> Principal {
    let name = certificate.name.clone();
    let kind = PrincipalKind::ClientCertificate { name: name.clone() };
    let proof =
        Proof::Key { expires_at: None, scope: KeyScope::default(), name: name.clone(), last_used_at: None };
    let groups = certificate.groups.clone();
    Principal { groups, proof, ..Principal::example(kind, &name, certificate.role) }
}
