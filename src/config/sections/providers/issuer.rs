//! Which issuer a provider's tokens must name, and which addresses of it the gateway may call.

use url::{Host, Url};

use super::Provider;
use super::kind::{ProviderKind, ProviderPreset};
use super::values::{PlainWord, ProviderUrl};
use crate::config::reading::{Section as _, SettingsReader};

/// Where Microsoft Entra ID issues tokens (worldwide).
const ENTRA: &str = "https://login.microsoftonline.com";
/// Stands for the tenant in the issuer of several.
const TENANT: &str = "{tenantid}";
/// Segments that stand in the place of a tenant for several or all.
const SEVERAL_TENANTS: [&str; 3] = ["common", "organizations", "consumers"];

/// Who signs a provider's tokens, and where that is found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerConfig {
    /// What tokens must name, compared exactly. With several `tenants` a template whose `{tenantid}` the claim `tid` fills.
    pub issuer: String,
    /// Where discovery is read (OpenID Connect Discovery 1.0, 4).
    pub discovery_url: String,
    /// Tenants of Microsoft Entra ID, one of which the claim `tid` must be; empty: none is asked for.
    pub tenants: Vec<String>,
    /// Inner hosts that may be called, also by plain http: lower-case names or addresses.
    pub allowed_hosts: Vec<String>,
}

impl IssuerConfig {
    /// What its tokens may name: one issuer, or that of each tenant.
    pub fn issuers(&self) -> Vec<String> {
        if !self.issuer.contains(TENANT) {
            return vec![self.issuer.clone()];
        }
        self.tenants.iter().map(|tenant| self.issuer.replace(TENANT, tenant)).collect()
    }
}

/// `None` where a problem was noted.
pub(super) fn issuer(
    written: &Provider,
    preset: &ProviderPreset,
    reader: &mut SettingsReader,
) -> Option<IssuerConfig> {
    let issuer_at = written.at("issuer");
    let tenants: Vec<String> = written.tenants.iter().map(|PlainWord(tenant)| tenant.clone()).collect();
    let is_entra = written.kind == ProviderKind::Entra;
    if !is_entra && !tenants.is_empty() {
        let remedy = "leave it out, or write `type = \"entra\"`";
        reader.problem(&written.at("tenants"), "are something that only Microsoft Entra ID has", remedy);
    }
    let several = |tenant: &String| SEVERAL_TENANTS.contains(&tenant.as_str());
    if tenants.iter().any(several) {
        let remedy = "write the identifiers of the tenants, which are UUIDs";
        reader.problem(&written.at("tenants"), "name no tenant but all of them", remedy);
    }
    let issuer = match (&written.issuer, preset.issuer) {
        (Some(issuer), _) if is_entra => return entra(written, issuer, tenants, reader),
        (Some(issuer), _) => as_named(written.kind, &issuer.text),
        (None, _) if is_entra && !tenants.is_empty() => {
            return Some(of_tenants(written, ENTRA, tenants, reader));
        }
        (None, Some(known)) => known.to_owned(),
        (None, None) => {
            if !reader.is_broken(&issuer_at) {
                let example = preset.issuer_example;
                let or = if is_entra { ", or `tenants`" } else { "" };
                reader.problem(&issuer_at, "is missing", format!("add `issuer = \"{example}\"`{or}"));
            }
            return None;
        }
    };
    if let Some(url) = &written.issuer {
        check_issuer(written, url, reader);
    }
    Some(config(written, issuer, tenants, reader))
}

/// Auth0's issuers all end with a slash, which its pages leave out. GitHub names no issuer: it is the address of its site.
fn as_named(kind: ProviderKind, issuer: &str) -> String {
    match kind {
        ProviderKind::Auth0 if !issuer.ends_with('/') => format!("{issuer}/"),
        ProviderKind::Github => issuer.trim_end_matches('/').to_owned(),
        _ => issuer.to_owned(),
    }
}

/// An issuer of Microsoft Entra ID that is written: of one tenant, or of several which must be listed.
fn entra(
    written: &Provider,
    issuer: &ProviderUrl,
    tenants: Vec<String>,
    reader: &mut SettingsReader,
) -> Option<IssuerConfig> {
    check_issuer(written, issuer, reader);
    let tenant = issuer.url.path_segments().and_then(|mut segments| segments.next()).unwrap_or_default();
    if !SEVERAL_TENANTS.contains(&tenant) {
        return Some(config(written, issuer.text.clone(), tenants, reader));
    }
    if tenants.is_empty() {
        let what = "is that of every tenant in the world";
        let remedy = "list yours, such as `tenants = [\"11111111-2222-3333-4444-555555555555\"]`";
        reader.problem(&written.at("issuer"), what, remedy);
        return None;
    }
    let origin = issuer.url.origin().ascii_serialization();
    Some(of_tenants(written, &origin, tenants, reader))
}

/// The issuer of one tenant, or the template of several.
fn of_tenants(
    written: &Provider,
    origin: &str,
    tenants: Vec<String>,
    reader: &mut SettingsReader,
) -> IssuerConfig {
    if let [only] = tenants.as_slice() {
        return config(written, format!("{origin}/{only}/v2.0"), tenants.clone(), reader);
    }
    let mut several = config(written, format!("{origin}/{TENANT}/v2.0"), tenants, reader);
    if written.discovery_url.is_none() {
        several.discovery_url = format!("{origin}/organizations/v2.0/.well-known/openid-configuration");
    }
    several
}

fn config(
    written: &Provider,
    issuer: String,
    tenants: Vec<String>,
    reader: &mut SettingsReader,
) -> IssuerConfig {
    let discovery_url = match &written.discovery_url {
        Some(url) => {
            check_reach(written, "discovery_url", &url.url, reader);
            url.text.clone()
        }
        None => format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/')),
    };
    let allowed_hosts = written.allowed_hosts.iter().map(|host| host.0.clone()).collect();
    IssuerConfig { issuer, discovery_url, tenants, allowed_hosts }
}

/// An issuer has no query (OpenID Connect Discovery 1.0, 2), and is reached by TLS.
fn check_issuer(written: &Provider, issuer: &ProviderUrl, reader: &mut SettingsReader) {
    if issuer.url.query().is_some() {
        let remedy = "write it as the provider's tokens name it (`iss`)";
        reader.problem(&written.at("issuer"), "has a query, which no issuer has", remedy);
    }
    check_reach(written, "issuer", &issuer.url, reader);
}

/// Plain http reaches this machine and the hosts that are listed, and nothing else.
pub(super) fn check_reach(written: &Provider, name: &str, url: &Url, reader: &mut SettingsReader) {
    let host = match url.host() {
        Some(Host::Ipv6(address)) => address.to_string(),
        Some(other) => other.to_string(),
        None => String::new(),
    };
    let is_loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    let is_listed = written.allowed_hosts.iter().any(|allowed| allowed.0 == host);
    if url.scheme() == "http" && !is_loopback && !is_listed {
        let what = "is plain http: whoever is on the way could sign in as anybody";
        let remedy = format!("write https://, or `allowed_hosts = [\"{host}\"]` if it is an inner host");
        reader.problem(&written.at(name), what, remedy);
    }
}
