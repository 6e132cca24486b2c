//! Where groups are read that a provider's tokens do not hold: Google's directory, Microsoft Graph, GitLab's API.

use serde::Deserialize;
use url::Url;

use super::Provider;
use super::issuer::{self, IssuerConfig};
use super::kind::ProviderKind;
use super::values::PlainWord;
use crate::config::reading::{Section as _, SettingsReader, choice};
use crate::config::sections::claims::UsualClaims;
use crate::model::jwt::{JwtAlgorithm, JwtKey};
use crate::model::secret::Secret;

/// Microsoft Graph by the host of an issuer, in every cloud of Microsoft (learn.microsoft.com/graph/deployments). The cloud of
/// the US Department of Defense signs in at the host of the US government's: there `graph_url` tells them apart.
const GRAPHS: [(&str, &str); 6] = [
    ("login.microsoftonline.com", "https://graph.microsoft.com"),
    ("login.windows.net", "https://graph.microsoft.com"),
    ("sts.windows.net", "https://graph.microsoft.com"),
    ("login.microsoftonline.us", "https://graph.microsoft.us"),
    ("login.partner.microsoftonline.cn", "https://microsoftgraph.chinacloudapi.cn"),
    ("login.chinacloudapi.cn", "https://microsoftgraph.chinacloudapi.cn"),
];
/// Issuers of Microsoft Entra External ID are below this domain.
const EXTERNAL_ID: &str = ".ciamlogin.com";

/// Where the groups are read that Microsoft Entra ID left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum GroupOverage {
    Transitive,
    Direct,
    Application,
    Ignore,
}

choice! {
    GroupOverage {
        "transitive" => Self::Transitive,
        "direct" => Self::Direct,
        "application" => Self::Application,
        "ignore" => Self::Ignore,
    }
}

/// Where groups are read that no token holds.
#[derive(Clone, Debug)]
pub enum DirectoryConfig {
    /// The directory of Google Workspace, at each sign-in.
    Google(Box<GoogleDirectoryConfig>),
    /// Microsoft Graph, where a token says that it lacks groups.
    Graph(GraphConfig),
    /// GitLab's API, at each sign-in.
    Gitlab,
}

/// How groups of Google Workspace are read.
#[derive(Clone, Debug)]
pub struct GoogleDirectoryConfig {
    /// The service account's e-mail address.
    pub account: String,
    /// What Google calls its key.
    pub key_id: Option<String>,
    /// Its private key, RSA.
    pub key: JwtKey,
    /// The administrator in whose name it reads.
    pub admin: Option<String>,
    /// Whether groups count that somebody's groups are in.
    pub nested: bool,
}

/// How groups are read from Microsoft Graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GraphConfig {
    /// Its address, without a slash at the end.
    pub url: String,
    /// Which groups.
    pub groups: GraphGroups,
}

/// Groups of somebody in Microsoft Entra ID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GraphGroups {
    /// Those they are in, and those that these are in.
    Transitive,
    /// Those they are in.
    Direct,
    /// Those they are in and that are assigned to an application.
    Application {
        /// The object ID of the enterprise application.
        object_id: String,
    },
}

/// A key file of a service account (JSON), as far as it is used. Addresses in it are not.
#[derive(Deserialize)]
struct ServiceAccount {
    #[serde(rename = "type")]
    kind: String,
    client_email: String,
    private_key_id: Option<String>,
    private_key: Secret,
}

impl DirectoryConfig {
    /// What the sign-in must ask for so that groups may be read.
    pub(super) fn scopes(&self) -> &'static [&'static str] {
        match self {
            Self::Google(_) => &[],
            Self::Graph(GraphConfig { groups: GraphGroups::Application { .. }, .. }) => {
                &["User.Read", "Directory.Read.All"]
            }
            Self::Graph(_) => &["User.Read"],
            Self::Gitlab => &["read_api"],
        }
    }
}

/// Where groups are found by default: what the directory says is a claim `groups`.
pub(super) fn usual_claims(directory: Option<&DirectoryConfig>, usual: UsualClaims) -> UsualClaims {
    let groups = usual.groups.or_else(|| directory.map(|_| "groups"));
    UsualClaims { groups, ..usual }
}

/// Checks the settings that only one product has; `None` where there is no directory, or a problem was noted.
pub(super) fn directory(
    written: &Provider,
    issuer: Option<&IssuerConfig>,
    reader: &mut SettingsReader,
) -> Option<DirectoryConfig> {
    for (name, kind, product, word) in [
        ("group_overage", ProviderKind::Entra, "Microsoft Entra ID", "entra"),
        ("application_object_id", ProviderKind::Entra, "Microsoft Entra ID", "entra"),
        ("graph_url", ProviderKind::Entra, "Microsoft Entra ID", "entra"),
        ("hosted_domains", ProviderKind::Google, "Google", "google"),
        ("service_account", ProviderKind::Google, "Google", "google"),
        ("directory_admin", ProviderKind::Google, "Google", "google"),
        ("nested_groups", ProviderKind::Google, "Google", "google"),
        ("groups_api", ProviderKind::Gitlab, "GitLab", "gitlab"),
    ] {
        let at = reader.set_as(&written.at(name));
        if written.kind != kind && reader.is_set(&at) {
            let remedy = format!("leave it out, or write `type = \"{word}\"`");
            reader.problem(&at, format!("is something that only {product} has"), remedy);
        }
    }
    match written.kind {
        ProviderKind::Google => {
            google(written, reader).map(|google| DirectoryConfig::Google(Box::new(google)))
        }
        ProviderKind::Entra => graph(written, issuer?, reader).map(DirectoryConfig::Graph),
        ProviderKind::Gitlab => written.groups_api.then_some(DirectoryConfig::Gitlab),
        _ => None,
    }
}

fn google(written: &Provider, reader: &mut SettingsReader) -> Option<GoogleDirectoryConfig> {
    let hint = written.authorize_parameters.0.iter().any(|(name, _)| name == "hd");
    if hint && !written.hosted_domains.is_empty() {
        let remedy = "leave it out: it follows from `hosted_domains`";
        reader.problem(&written.at("authorize_parameters.hd"), "is set by `hosted_domains`, too", remedy);
    }
    let account_at = reader.set_as(&written.at("service_account"));
    let Some(text) = &written.service_account else {
        for name in ["directory_admin", "nested_groups"] {
            if reader.is_set(&written.at(name)) && !reader.is_broken(&account_at) {
                let remedy = "add `service_account_file = \"service-account.json\"`, with the key as Google handed it out";
                reader.problem(&written.at(name), "has no effect without `service_account`", remedy);
            }
        }
        return None;
    };
    let remedy =
        "name the file (JSON) that Google handed out with \"Create new key\" for the service account";
    let account: Option<ServiceAccount> = serde_json::from_str(text.expose()).ok();
    let Some(account) = account.filter(|account| account.kind == "service_account") else {
        reader.problem(&account_at, "is no key of a service account", remedy);
        return None;
    };
    let Ok(key) = JwtKey::from_text(JwtAlgorithm::Rs256, &account.private_key) else {
        reader.problem(&account_at, "has no RSA key of at least 2048 bits in `private_key`", remedy);
        return None;
    };
    let admin = written.directory_admin.as_ref().map(|PlainWord(admin)| admin.clone());
    if admin.as_ref().is_some_and(|admin| !admin.contains('@')) {
        let remedy = "write the administrator's address, such as \"admin@example.com\"";
        reader.problem(&written.at("directory_admin"), "is no e-mail address", remedy);
    }
    Some(GoogleDirectoryConfig {
        account: account.client_email,
        key_id: account.private_key_id,
        key,
        admin,
        nested: written.nested_groups,
    })
}

fn graph(written: &Provider, issuer: &IssuerConfig, reader: &mut SettingsReader) -> Option<GraphConfig> {
    let object_id = written.application_object_id.as_ref().map(|PlainWord(id)| id.clone());
    let groups = match (written.group_overage, object_id) {
        (GroupOverage::Application, Some(object_id)) => {
            let is_id = |byte: u8| byte.is_ascii_hexdigit() || byte == b'-';
            if object_id.len() != 36 || !object_id.bytes().all(is_id) {
                let remedy = "write the Object ID that the enterprise application shows, which is a UUID";
                reader.problem(&written.at("application_object_id"), "is no object ID", remedy);
            }
            GraphGroups::Application { object_id }
        }
        (GroupOverage::Application, None) => {
            let remedy = "add `application_object_id`, the Object ID that the enterprise application shows";
            reader.problem(&written.at("group_overage"), "needs `application_object_id`", remedy);
            return None;
        }
        (_, Some(_)) => {
            let what = "has no effect without `group_overage = \"application\"`";
            reader.problem(&written.at("application_object_id"), what, "leave it out");
            return None;
        }
        (GroupOverage::Transitive, None) => GraphGroups::Transitive,
        (GroupOverage::Direct, None) => GraphGroups::Direct,
        (GroupOverage::Ignore, None) => {
            if written.graph_url.is_some() {
                let what = "has no effect with `group_overage = \"ignore\"`";
                reader.problem(&written.at("graph_url"), what, "leave one of them out");
            }
            return None;
        }
    };
    let url = if let Some(url) = &written.graph_url {
        issuer::check_reach(written, "graph_url", &url.url, reader);
        if url.url.path() != "/" || url.url.query().is_some() {
            let remedy = "write its origin alone, such as \"https://graph.microsoft.com\"";
            reader.problem(&written.at("graph_url"), "has a path or a query", remedy);
        }
        url.url.origin().ascii_serialization()
    } else {
        let Some(graph) = graph_of(&issuer.issuer) else {
            let what = "is at no host of Microsoft Entra ID, so it is not known where its Microsoft Graph is";
            let remedy = "add `graph_url`, or `group_overage = \"ignore\"`";
            reader.problem(&written.at("issuer"), what, remedy);
            return None;
        };
        graph.to_owned()
    };
    Some(GraphConfig { url, groups })
}

/// Microsoft Graph in the cloud of an issuer.
fn graph_of(issuer: &str) -> Option<&'static str> {
    // The template of several tenants is no URL, and its host stands before the braces.
    let url = Url::parse(&issuer.replace(['{', '}'], "")).ok()?;
    let host = url.host_str()?;
    let known = GRAPHS.iter().find(|(login, _)| *login == host).map(|(_, graph)| *graph);
    known.or_else(|| host.ends_with(EXTERNAL_ID).then_some("https://graph.microsoft.com"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn microsoft_graph_follows_from_the_cloud_of_the_issuer() {
        for (issuer, graph) in [
            ("https://login.microsoftonline.com/t/v2.0", Some("https://graph.microsoft.com")),
            ("https://login.microsoftonline.com/{tenantid}/v2.0", Some("https://graph.microsoft.com")),
            ("https://login.microsoftonline.us/t/v2.0", Some("https://graph.microsoft.us")),
            (
                "https://login.partner.microsoftonline.cn/t/v2.0",
                Some("https://microsoftgraph.chinacloudapi.cn"),
            ),
            ("https://acme.ciamlogin.com/t/v2.0", Some("https://graph.microsoft.com")),
            ("https://login.microsoftonline.com.evil.example/t/v2.0", None),
            ("https://evilciamlogin.com/t/v2.0", None),
            ("https://evil.example/login.microsoftonline.com/v2.0", None),
        ] {
            assert_eq!(graph_of(issuer), graph, "{issuer}");
        }
    }
}
