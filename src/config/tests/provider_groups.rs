//! Where groups of a provider are read that no token holds: what each product needs, and what is half configured.

use serde_json::json;

use super::*;
use crate::config::{DirectoryConfig, GraphConfig, GraphGroups};
use crate::model::identity::RoleDecision;
use crate::policy::claims::ClaimSet;

fn provider(kind: &str, more: &str) -> String {
    format!(
        "[[providers]]\nname = \"sso\"\ntype = \"{kind}\"\nclient_id = \"doorward\"\nclient_secret = \"s3cret-of-the-client\"\n{more}\n"
    )
}

fn entra(more: &str) -> String {
    provider("entra", &format!("tenants = \"t-1\"\n{more}"))
}

#[track_caller]
fn directory(text: &str) -> Option<DirectoryConfig> {
    good(text).providers.remove(0).directory
}

#[track_caller]
fn assert_lacks(text: &str, setting: &str, said: &str) {
    assert_refused(text, &format!("providers[0].{setting}"), said);
}

/// A key file as Google hands it out.
pub(super) fn service_account(change: &serde_json::Value) -> String {
    let rsa = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
    let mut file = json!({
        "type": "service_account", "project_id": "p", "private_key_id": "k1", "private_key": rsa.serialize_pem(),
        "client_email": "reader@p.iam.gserviceaccount.com", "client_id": "1",
        "auth_uri": "https://accounts.google.com/o/oauth2/auth", "token_uri": "https://evil.example/token",
        "universe_domain": "googleapis.com",
    });
    for (name, value) in change.as_object().unwrap() {
        file[name] = value.clone();
    }
    file.to_string()
}

/// The settings beside a file of this content and mode.
fn with_account(content: &str, mode: u32, further: &str) -> ConfigDir {
    let settings = provider("google", &format!("service_account_file = \"account.json\"\n{further}"));
    let folder = ConfigDir::new(&with_least(&settings));
    folder.write("account.json", content, mode);
    folder
}

#[test]
fn a_service_account_is_read_from_its_key_file_and_groups_are_found_without_a_setting() {
    let more =
        "directory_admin = \"admin@example.com\"\nnested_groups = true\nhosted_domains = \"Example.COM\"";
    let config = with_account(&service_account(&json!({})), 0o600, more).load().unwrap().providers.remove(0);
    assert_eq!(config.hosted_domains, ["example.com"]);
    assert_eq!(config.claims.groups.as_ref().unwrap().as_str(), "groups");
    let Some(DirectoryConfig::Google(google)) = &config.directory else { panic!("{:?}", config.directory) };
    assert_eq!(
        (google.account.as_str(), google.key_id.as_deref()),
        ("reader@p.iam.gserviceaccount.com", Some("k1"))
    );
    assert!(google.nested && google.admin.as_deref() == Some("admin@example.com"));
    assert!(!format!("{config:?}").contains("PRIVATE KEY"));
    let own = with_account(&service_account(&json!({})), 0o600, "[providers.claims]\ngroups = \"teams\"");
    assert_eq!(own.load().unwrap().providers[0].claims.groups.as_ref().unwrap().as_str(), "teams");
    assert!(directory(&provider("google", "")).is_none());
}

#[test]
fn what_is_no_key_of_a_service_account_is_refused_and_not_shown() {
    let short = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap().serialize_pem();
    for (content, mode, said) in [
        (service_account(&json!({ "type": "authorized_user" })), 0o600, "is no key of a service account"),
        (service_account(&json!({ "private_key": 7 })), 0o600, "is no key of a service account"),
        ("{\"s3cret\":".to_owned(), 0o600, "is no key of a service account"),
        (service_account(&json!({ "private_key": "s3cret" })), 0o600, "has no RSA key"),
        (service_account(&json!({ "private_key": short })), 0o600, "has no RSA key"),
        (service_account(&json!({})), 0o644, "lets others in"),
        (String::new(), 0o600, "is empty"),
    ] {
        let told = with_account(&content, mode, "").load().unwrap_err().to_string();
        assert!(told.contains("providers[0].service_account_file") && told.contains(said), "{told}");
        assert!(!told.contains("s3cret") && !told.contains("PRIVATE KEY"), "{told}");
    }
}

#[test]
fn half_of_a_directory_is_refused() {
    for half in ["directory_admin = \"admin@example.com\"", "nested_groups = true"] {
        let setting = half.split(' ').next().unwrap();
        assert_lacks(&provider("google", half), setting, "has no effect without `service_account`");
    }
    let told =
        with_account(&service_account(&json!({})), 0o600, "directory_admin = \"admin\"").load().unwrap_err();
    assert!(told.to_string().contains("is no e-mail address"), "{told}");
    let both = "hosted_domains = \"example.com\"\nauthorize_parameters = { hd = \"example.com\" }";
    assert_lacks(&provider("google", both), "authorize_parameters.hd", "is set by `hosted_domains`, too");
    assert_lacks(&entra("group_overage = \"application\""), "group_overage", "needs `application_object_id`");
    let id = "application_object_id = \"22222222-3333-4444-5555-666666666666\"";
    assert_lacks(&entra(id), "application_object_id", "has no effect without");
    let odd = "group_overage = \"application\"\napplication_object_id = \"doorward' or 1 eq 1\"";
    assert_lacks(
        &entra(&odd.replace(' ', "").replace("=\"", " = \"")),
        "application_object_id",
        "is no object ID",
    );
    let ignored = "group_overage = \"ignore\"\ngraph_url = \"https://graph.microsoft.us\"";
    assert_lacks(&entra(ignored), "graph_url", "has no effect with");
    assert_lacks(&entra("graph_url = \"https://graph.microsoft.us/v1.0\""), "graph_url", "has a path");
    assert_lacks(&entra("graph_url = \"http://graph.microsoft.us\""), "graph_url", "is plain http");
}

#[test]
fn what_only_one_product_has_is_refused_of_others() {
    for (kind, more, product) in [
        ("google", "group_overage = \"ignore\"", "Microsoft Entra ID"),
        ("gitlab", "graph_url = \"https://graph.microsoft.us\"", "Microsoft Entra ID"),
        ("github", "hosted_domains = [\"example.com\"]", "Google"),
        ("gitlab", "service_account = \"{}\"", "Google"),
        ("gitlab", "nested_groups = true", "Google"),
        ("github", "groups_api = true", "GitLab"),
    ] {
        let setting = more.split(' ').next().unwrap();
        assert_lacks(&provider(kind, more), setting, &format!("is something that only {product} has"));
    }
}

#[test]
fn microsoft_graph_and_its_permissions_follow_from_the_settings() {
    let scopes = |text: &str| good(text).providers.remove(0).scopes[3..].to_vec();
    let graph = |text: &str| match directory(text) {
        Some(DirectoryConfig::Graph(graph)) => graph,
        other => panic!("{other:?}"),
    };
    let url = "https://graph.microsoft.com".to_owned();
    assert_eq!(graph(&entra("")), GraphConfig { url: url.clone(), groups: GraphGroups::Transitive });
    let direct = entra("group_overage = \"direct\"\ngraph_url = \"https://dod-graph.microsoft.us/\"");
    let elsewhere =
        GraphConfig { url: "https://dod-graph.microsoft.us".to_owned(), groups: GraphGroups::Direct };
    assert_eq!(graph(&direct), elsewhere);
    let object_id = "22222222-3333-4444-5555-666666666666".to_owned();
    let assigned =
        entra(&format!("group_overage = \"application\"\napplication_object_id = \"{object_id}\""));
    assert_eq!(graph(&assigned), GraphConfig { url, groups: GraphGroups::Application { object_id } });
    assert_eq!(scopes(&direct), ["User.Read"]);
    assert_eq!(scopes(&assigned), ["User.Read", "Directory.Read.All"]);
    let ignored = entra("group_overage = \"ignore\"");
    assert!(directory(&ignored).is_none() && scopes(&ignored).is_empty());
    let unknown = provider("entra", "issuer = \"https://sso.example.com/t/v2.0\"");
    assert_lacks(&unknown, "issuer", "is at no host of Microsoft Entra ID");
}

#[test]
fn the_api_of_gitlab_is_asked_only_where_the_settings_say_so() {
    assert!(directory(&provider("gitlab", "")).is_none());
    let config = good(&provider("gitlab", "groups_api = true")).providers.remove(0);
    assert!(matches!(config.directory, Some(DirectoryConfig::Gitlab)));
    assert!(config.scopes.contains(&"read_api".to_owned()));
}

/// Whole settings of a page: each block of them, or what it changes of the claims of the first one.
fn settings_of(page: &str) -> Vec<String> {
    let blocks: Vec<&str> =
        page.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    let first = blocks[0].split("[providers.claims]").next().unwrap();
    blocks
        .iter()
        .map(
            |block| {
                if block.starts_with("[[providers]]") {
                    (*block).to_owned()
                } else {
                    format!("{first}{block}")
                }
            },
        )
        .collect()
}

#[test]
fn the_settings_in_the_documentation_of_each_product_work() {
    let account = service_account(&json!({}));
    for (page, kind, count) in [
        (include_str!("../../../docs/providers/github.md"), ProviderKind::Github, 2),
        (include_str!("../../../docs/providers/gitlab.md"), ProviderKind::Gitlab, 2),
        (include_str!("../../../docs/providers/google.md"), ProviderKind::Google, 2),
        (include_str!("../../../docs/providers/entra.md"), ProviderKind::Entra, 1),
    ] {
        let settings = settings_of(page);
        assert_eq!(settings.len(), count, "{kind:?}");
        for text in settings {
            let folder = ConfigDir::new(&with_least(&text));
            for line in text.lines() {
                if let Some(file) = line.strip_prefix("client_secret_file = ") {
                    folder.write(file.trim_matches('"'), "s3cret-of-the-client\n", 0o600);
                }
            }
            folder.write("service-account.json", &account, 0o600);
            let config = folder.load().unwrap_or_else(|error| panic!("{text}\n{error}"));
            assert_eq!(config.providers[0].kind, kind);
            assert!(config.warnings.is_empty(), "{:?}", config.warnings);
            assert!(page.contains(&format!("/_doorward/callback/{}`", config.providers[0].name)), "{kind:?}");
        }
    }
}

#[test]
fn expressions_of_the_documentation_do_what_it_says() {
    let [first, roles] =
        <[String; 2]>::try_from(settings_of(include_str!("../../../docs/providers/gitlab.md"))).unwrap();
    let rights = |settings: &str, claims: &str| {
        let folder = ConfigDir::new(&with_least(settings));
        folder.write("gitlab-secret", "s3cret-of-the-client", 0o600);
        let claims_rules = folder.load().unwrap().providers.remove(0).claims;
        claims_rules.evaluate(&ClaimSet::parse(claims.as_bytes()).unwrap()).result
    };
    assert!(rights(&first, r#"{"groups":["example/data"]}"#).is_ok());
    assert!(rights(&first, r#"{"groups":["example","example/data2"]}"#).is_err());
    let role = |claims: &str| match rights(&roles, claims).unwrap().role {
        RoleDecision::Set(role) => role,
        RoleDecision::Keep { .. } => panic!("{claims}"),
    };
    assert_eq!(
        role(r#"{"groups":["platform"],"https://gitlab.org/claims/groups/owner":["platform"]}"#),
        Role::Admin
    );
    assert_eq!(
        role(r#"{"groups":["platform"],"https://gitlab.org/claims/groups/owner":["platform/db"]}"#),
        Role::Viewer
    );
    assert_eq!(role(r#"{"groups":["platform"]}"#), Role::Viewer);
}
