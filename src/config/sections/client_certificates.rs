//! Client certificates that a proxy verifies, and the callers they identify.

use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderName;
use sha2::{Digest as _, Sha256};

use crate::config::reading::{
    FromText, InvalidValue, ReferenceName, Required, Section, SettingType, SettingsReader, section,
};
use crate::config::sections::general::{CheckSection, General};
use crate::config::sections::policy_tests::GroupName;
use crate::config::sections::tokens::AnyRole;
use crate::model::audit::hex;
use crate::model::role::Role;

/// The header that holds the certificate itself, in base64 between colons (RFC 9440, 2.2).
const CLIENT_CERT: HeaderName = HeaderName::from_static("client-cert");

section! {
    /// Client certificates that a proxy in front of the gateway verifies and names in a header. That proxy must set the header
    /// or take it off in every request: it is trusted from every address in `server.trusted_proxies`, and from no other.
    ClientCertificates {
        /// The header. One of the name `Client-Cert` holds the certificate itself (RFC 9440), any other a fingerprint or a
        /// subject. Empty says that there was no certificate.
        header: HeaderName = r#""X-SSL-Client-Fingerprint""#, r#""Client-Cert""#;
        /// The certificates that stand for somebody. Any other is refused.
        known: Vec<KnownCertificate> = "[]", r#"[{ name = "ingest", subject = "CN=ingest,O=Example", role = "agent" }]"#;
    }
}

section! {
    /// A client certificate that stands for somebody.
    KnownCertificate {
        /// Unique name, for logs: `client-certificate:NAME`.
        name: Required<ReferenceName>, r#""ingest""#;
        /// Its fingerprint, SHA-256 or SHA-1, in hexadecimal digits with or without colons.
        fingerprint: Option<Fingerprint>, r#""9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08""#;
        /// Its subject, exactly as the proxy writes it, instead of the fingerprint.
        subject: Option<CertificateSubject>, r#""CN=ingest,O=Example""#;
        /// What it may do.
        role: Required<AnyRole>, r#""agent""#;
        /// Groups.
        group or groups: Vec<GroupName> = "[]", r#"["collectors"]"#;
    }
}

/// Client certificates that a trusted proxy names in a header.
#[derive(Clone, Debug)]
pub struct ClientCertificatesConfig {
    /// The header.
    pub header: HeaderName,
    /// Those that stand for somebody. No two are named alike.
    pub known: Vec<CertificateConfig>,
}

/// A client certificate and whom it stands for.
#[derive(Clone, Debug)]
pub struct CertificateConfig {
    /// What it is called.
    pub name: String,
    /// How a proxy names it, as [`ClientCertificatesConfig::named`] has it.
    pub named: String,
    /// What it may do.
    pub role: Role,
    /// Sorted, without duplicates.
    pub groups: Vec<String>,
}

impl ClientCertificatesConfig {
    /// What the header names a certificate by, in the one form that is compared: its SHA-256 fingerprint where it holds the
    /// certificate itself, else the fingerprint or subject that it holds. `None` if that cannot be read.
    pub fn named(&self, text: &str) -> Option<String> {
        if self.header != CLIENT_CERT {
            return Some(fingerprint(text).unwrap_or_else(|| text.to_owned()));
        }
        let encoded = text.strip_prefix(':')?.strip_suffix(':')?;
        let certificate = STANDARD.decode(encoded).ok().filter(|certificate| !certificate.is_empty())?;
        Some(hex(&Sha256::digest(certificate)))
    }
}

/// A fingerprint as hexadecimal digits in lower case, with or without colons between bytes.
fn fingerprint(text: &str) -> Option<String> {
    let digits = text.replace(':', "").to_ascii_lowercase();
    let is_digest = matches!(digits.len(), 40 | 64) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_digest.then_some(digits)
}

/// The fingerprint of a certificate, as digits in lower case.
#[derive(Clone, Debug)]
pub(in crate::config) struct Fingerprint(String);

impl FromText for Fingerprint {
    const WHAT: &'static SettingType = &SettingType::Text("a fingerprint in hexadecimal digits");

    fn from_text(text: &str) -> Result<Self, InvalidValue> {
        let read = fingerprint(text).map(Self);
        read.ok_or_else(|| "is not a fingerprint: write 64 hexadecimal digits (SHA-256) or 40 (SHA-1)".into())
    }
}

/// The subject of a certificate, as a proxy writes it. It has a `=`, which no fingerprint has.
#[derive(Clone, Debug)]
pub(in crate::config) struct CertificateSubject(String);

impl FromText for CertificateSubject {
    const WHAT: &'static SettingType = &SettingType::Text("a subject such as \"CN=ingest,O=Example\"");

    fn from_text(text: &str) -> Result<Self, InvalidValue> {
        let trimmed = text.trim();
        if !trimmed.contains('=') || trimmed.contains(char::is_control) {
            return Err(
                "is not a subject: write it as the proxy does, such as \"CN=ingest,O=Example\"".into()
            );
        }
        Ok(Self(trimmed.to_owned()))
    }
}

impl CheckSection for Option<ClientCertificates> {
    type Typed = Option<ClientCertificatesConfig>;

    fn check(self, general: &General, reader: &mut SettingsReader) -> Self::Typed {
        let written = self?;
        let at = written.at("header");
        if !general.has_trusted_proxy {
            let what = "has no effect, because there is no trusted proxy";
            let remedy =
                "name the addresses of the proxy that verifies certificates in server.trusted_proxies";
            reader.problem(&at, what, remedy);
        }
        let header = written.header;
        if general.key_headers.contains(&header) {
            reader.problem(&at, "carries keys already", "name certificates in a header of their own");
        }
        let mut certificates = ClientCertificatesConfig { header, known: Vec::new() };
        let mut taken = HashSet::new();
        for known in written.known {
            if let Some(certificate) = certificate(known, &certificates, &mut taken, reader) {
                certificates.known.push(certificate);
            }
        }
        Some(certificates)
    }
}

/// `None` where a problem was noted.
fn certificate(
    written: KnownCertificate,
    others: &ClientCertificatesConfig,
    taken: &mut HashSet<String>,
    reader: &mut SettingsReader,
) -> Option<CertificateConfig> {
    let (fingerprint_at, subject_at) = (written.at("fingerprint"), written.at("subject"));
    let name = written.name.0.as_ref()?.0.clone();
    if !taken.insert(name.clone()) {
        let what = format!("`{name}` is the name of an earlier one");
        reader.problem(&written.at("name"), what, "give each a name of its own");
    }
    let (path, named) = match (written.fingerprint, written.subject) {
        (Some(Fingerprint(digits)), None) => (fingerprint_at, digits),
        (None, Some(CertificateSubject(subject))) => (subject_at, subject),
        // What cannot be read is a problem already.
        (None, None) if reader.is_broken(&fingerprint_at) || reader.is_broken(&subject_at) => return None,
        (fingerprint, _) => {
            let (path, what) = match fingerprint {
                Some(_) => (subject_at, "stands beside a fingerprint"),
                None => (fingerprint_at, "is missing, and so is a subject"),
            };
            reader.problem(&path, what, "write `fingerprint` or `subject`, whichever the header holds");
            return None;
        }
    };
    if others.header == CLIENT_CERT && (named.len() != 64 || named.contains('=')) {
        let remedy = "write `fingerprint`, the SHA-256 one of 64 digits";
        reader.problem(&path, "is not what is told of the certificate that Client-Cert holds", remedy);
    }
    if others.known.iter().any(|other| other.named == named) {
        reader.problem(&path, "is that of an earlier one", "give each certificate one entry");
    }
    let mut groups: Vec<String> = written.group.into_iter().map(|group| group.0).collect();
    groups.sort();
    groups.dedup();
    Some(CertificateConfig { name, named, role: written.role.0?.0, groups })
}
