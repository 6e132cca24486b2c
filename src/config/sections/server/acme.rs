//! Certificates by ACME: their settings, checked against the rest.

use std::net::IpAddr;
use std::path::PathBuf;

use super::listen::placed;
use crate::config::reading::{
    CertificateFile, FromText, HostName, InvalidValue, Required, Section, SettingType, SettingsReader,
    section,
};
use crate::config::sections::public_url::{PublicUrl, WrittenOrigin, called_origin};
use crate::config::sections::server::{ListenAddress, ListenerConfig};
use crate::model::origin::Origin;
use crate::model::user;

section! {
    /// Certificates from an authority that speaks ACME, such as Let's Encrypt, for every listener that speaks TLS. They
    /// are renewed at two thirds of their life. With `server.tls` as well, its certificate is shown until there is one.
    Acme {
        /// Agrees to the authority's terms of service.
        agree_to_terms: Required<bool>, "true";
        /// The authority's directory.
        directory: SecureUrl = r#""https://acme-v02.api.letsencrypt.org/directory""#, r#""https://acme-staging-v02.api.letsencrypt.org/directory""#;
        /// E-mail addresses to which the authority may write about certificates.
        contact: Vec<Email> = "[]", r#"["ops@example.com"]"#;
        /// Names in the certificate. By default the host of `public_url`.
        domains: Vec<HostName> = "[]", r#"["app.example.com", "dash.example.com"]"#;
        /// PEM file of authorities to trust for the directory, instead of the system's.
        ca: Option<CertificateFile>, r#""ca.crt""#;
        /// Further origins that the directory may lead to although they are on a private network. Its own origin and public
        /// addresses need not be named.
        origins: Vec<FurtherOrigin> = "[]", r#"["https://ca2.corp.example:9000"]"#;
        /// Folder that keeps account and certificate; made with mode 0700.
        cache: FolderName = r#""acme""#, r#""/var/lib/doorward/acme""#;
        /// How the authority makes sure that a name is ours: `tls-alpn-01` connects to port 443 of it, `http-01` to
        /// port 80.
        challenge: AcmeChallenge = r#""tls-alpn-01""#, r#""http-01""#;
        /// Where challenges by `http-01` are answered, and everything else is sent to https. Authorities come to port 80.
        http_listen: Option<ListenAddress>, r#""0.0.0.0:80""#;
    }
}

/// Certificates that the gateway orders by itself (RFC 8555).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcmeConfig {
    /// URL of the authority's directory, `https://`.
    pub directory: String,
    /// E-mail addresses.
    pub contact: Vec<String>,
    /// Names in the certificate; at least one.
    pub domains: Vec<String>,
    /// PEM file of authorities to trust for the directory, instead of the system's.
    pub ca: Option<PathBuf>,
    /// Origins that may be on a private network: the directory's, and further ones that it may lead to.
    pub named: Vec<Origin>,
    /// Folder that keeps account and certificate.
    pub cache: PathBuf,
    /// How the authority makes sure that a name is ours.
    pub challenge: AcmeChallenge,
    /// Where challenges over HTTP are answered, and everything else is sent to https.
    pub http_listen: Option<ListenAddress>,
}

/// Checks what was written.
pub(in crate::config) fn acme(
    acme: Acme,
    listeners: &[ListenerConfig],
    public_url: &PublicUrl,
    reader: &mut SettingsReader,
) -> AcmeConfig {
    if acme.agree_to_terms.0 == Some(false) {
        let remedy = "read the authority's terms of service, then write true; or leave [server.acme] out";
        reader.problem(&acme.at("agree_to_terms"), "is false, and nothing can be ordered without", remedy);
    }
    if !listeners.iter().any(|listener| listener.tls) {
        let remedy = "let a listener speak TLS, or leave [server.acme] out";
        reader.problem(acme.location(), "has no effect: no listener speaks TLS", remedy);
    }
    let mut domains: Vec<String> = acme.domains.iter().map(|domain| domain.0.clone()).collect();
    if domains.is_empty() {
        domains.push(public_url.host().to_owned());
    }
    let is_name = |domain: &String| domain.parse::<IpAddr>().is_err() && domain.contains('.');
    if let Some(domain) = domains.iter().find(|domain| !is_name(domain)) {
        let what = format!("would have to name {domain}, for which no authority gives certificates");
        reader.problem(&acme.at("domains"), what, "write domain names, such as [\"app.example.com\"]");
    }
    match (acme.challenge, &acme.http_listen) {
        (AcmeChallenge::Http01, None) if !reader.is_broken(&acme.at("http_listen")) => reader.problem(
            &acme.at("http_listen"),
            "is missing, but http-01 needs it",
            "add `http_listen = \"0.0.0.0:80\"`: authorities come to port 80",
        ),
        (_, Some(address)) if listeners.iter().any(|listener| listener.address.is_same(address)) => {
            reader.problem(&acme.at("http_listen"), "is one of `listen`", "choose another port");
        }
        (_, Some(ListenAddress::Inherited(None))) => {
            let remedy = "write \"systemd:NAME\" with the FileDescriptorName of its socket unit";
            reader.problem(&acme.at("http_listen"), "does not say which socket", remedy);
        }
        _ => {}
    }
    AcmeConfig {
        directory: acme.directory.url,
        contact: acme.contact.into_iter().map(|address| address.0).collect(),
        domains,
        ca: acme.ca.map(|file| file.0),
        named: [acme.directory.origin]
            .into_iter()
            .chain(acme.origins.into_iter().map(|origin| origin.0))
            .collect(),
        cache: reader.resolve(&acme.cache.0),
        challenge: acme.challenge,
        http_listen: acme.http_listen.map(|address| placed(&address, "server.acme.http_listen", reader)),
    }
}

/// How an authority makes sure that a name is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcmeChallenge {
    /// It connects to port 443 with TLS (RFC 8737).
    TlsAlpn01,
    /// It asks on port 80 (RFC 8555, 8.3).
    Http01,
}

impl FromText for AcmeChallenge {
    const WHAT: &'static SettingType = &SettingType::Choice(&["tls-alpn-01", "http-01"]);

    fn from_text(text: &str) -> Result<Self, InvalidValue> {
        match text {
            "tls-alpn-01" => Ok(Self::TlsAlpn01),
            "http-01" => Ok(Self::Http01),
            _ => Err("is not a challenge known here: write \"tls-alpn-01\" or \"http-01\"".into()),
        }
    }
}

/// An e-mail address.
#[derive(Clone, Debug)]
pub(in crate::config) struct Email(String);

impl FromText for Email {
    const WHAT: &'static SettingType = &SettingType::Text("an e-mail address");

    fn from_text(text: &str) -> Result<Self, InvalidValue> {
        match user::check_email(text) {
            Ok(()) => Ok(Self(text.to_owned())),
            Err(_) => Err("is not an e-mail address: write one such as \"ops@example.com\"".into()),
        }
    }
}

/// The name of a folder.
#[derive(Clone, Debug)]
pub(in crate::config) struct FolderName(String);

impl FromText for FolderName {
    const WHAT: &'static SettingType = &SettingType::Text("the name of a folder");

    fn from_text(text: &str) -> Result<Self, InvalidValue> {
        if text.is_empty() || text.contains('\0') {
            return Err("is not a folder name: write one such as \"acme\"".into());
        }
        Ok(Self(text.to_owned()))
    }
}

/// A URL that begins with `https://`.
#[derive(Clone, Debug)]
pub(in crate::config) struct SecureUrl {
    url: String,
    origin: Origin,
}

impl FromText for SecureUrl {
    const WHAT: &'static SettingType =
        &SettingType::Text("a URL such as \"https://ca.example.com/directory\"");

    fn from_text(text: &str) -> Result<Self, InvalidValue> {
        const REMEDY: &str = "write one such as \"https://ca.example.com/directory\"";
        let origin = called_origin(text, REMEDY)?;
        if !origin.is_secure() {
            return Err(InvalidValue::new("does not begin with https://", REMEDY));
        }
        Ok(Self { url: text.to_owned(), origin })
    }
}

/// An origin that the gateway may call although it is on a private network.
#[derive(Clone, Debug)]
pub(in crate::config) struct FurtherOrigin(Origin);

impl FromText for FurtherOrigin {
    const WHAT: &'static SettingType = WrittenOrigin::WHAT;

    fn from_text(text: &str) -> Result<Self, InvalidValue> {
        WrittenOrigin::from_text(text)?;
        let remedy = "write scheme, host and perhaps a port, such as \"https://ca2.corp.example:9000\"";
        called_origin(text, remedy).map(Self)
    }
}
