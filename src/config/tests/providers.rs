//! Providers: what each type needs and fills in, and what is half configured.

use super::*;
use crate::policy::claims::{ClaimPath, ClaimSet, ClaimsRefusal, GroupsText};

/// A provider of this type, with these settings beside.
fn provider(more: &str) -> String {
    let tables = more.find("[providers").unwrap_or(more.len());
    let (plain, tables) = more.split_at(tables);
    format!("[[providers]]\nname = \"sso\"\nclient_id = \"doorward\"\n{plain}\n{tables}\n")
}

/// The same with an issuer and a secret, as most need them.
fn with_issuer(more: &str) -> String {
    provider(&format!(
        "issuer = \"https://sso.example.com\"\nclient_secret = \"s3cret-of-the-client\"\n{more}"
    ))
}

/// The same with claims.
fn with_claims(more: &str) -> String {
    with_issuer(&format!("[providers.claims]\n{more}"))
}

#[track_caller]
fn the_only(text: &str) -> ProviderConfig {
    let [provider] = <[ProviderConfig; 1]>::try_from(good(text).providers).unwrap();
    provider
}

#[track_caller]
fn assert_lacks(text: &str, setting: &str, said: &str) {
    assert_refused(text, &format!("providers[0].{setting}"), said);
}

#[test]
fn the_least_provider_gets_every_default() {
    let provider = the_only(&with_issuer(""));
    assert_eq!((provider.name.as_str(), provider.display_name.as_str()), ("sso", "sso"));
    assert_eq!(provider.issuer.issuer, "https://sso.example.com");
    assert_eq!(provider.issuer.discovery_url, "https://sso.example.com/.well-known/openid-configuration");
    assert_eq!(provider.scopes, ["openid", "email", "profile"]);
    assert_eq!(provider.algorithms, [SigningAlgorithm::Rs256]);
    assert!(
        matches!(&provider.credentials, ClientCredentials::Basic(secret) if secret.expose().starts_with("s3"))
    );
    assert!(provider.allow_sign_up && !provider.auto_login && !provider.login_hint);
    assert_eq!(provider.subject_claim, "sub");
    let claims = &provider.claims;
    assert!(claims.groups.is_none() && claims.role.is_none() && claims.allowed_groups.is_empty());
    assert_eq!((claims.email.as_str(), claims.name.as_str()), ("email", "name"));
    assert_eq!((claims.default_role, claims.role_strict, claims.role_resync), (Role::Viewer, false, true));
    assert!(!claims.trust_email && claims.allowed_domains.is_empty());
    assert!(!format!("{provider:?}").contains("s3cret"));
    assert!(good("").providers.is_empty());
}

/// G06: a provider at which everybody has an account, without a word of who may come.
#[test]
fn nobody_signs_up_by_themselves_where_everybody_has_an_account() {
    let secret = "client_secret = \"s3cret-of-the-client\"\n";
    let groups = "[providers.claims]\nallowed_groups = [\"acme\"]";
    for (kind, more, allowed, warned) in [
        ("google", "", false, true),
        ("github", "", false, true),
        ("gitlab", "", false, true),
        ("gitlab", "issuer = \"https://gitlab.com\"", false, true),
        ("google", "allow_sign_up = true", true, false),
        ("google", "allow_sign_up = false", false, false),
        ("google", "hosted_domains = [\"example.com\"]", true, false),
        ("google", "allowed_domains = [\"example.com\"]", true, false),
        ("github", groups, true, false),
        ("gitlab", groups, true, false),
        ("gitlab", "issuer = \"https://git.example.com\"", true, false),
        ("okta", "issuer = \"https://acme.okta.com\"", true, false),
    ] {
        let config = good(&provider(&format!("type = \"{kind}\"\n{secret}{more}")));
        assert_eq!(config.providers[0].allow_sign_up, allowed, "{kind} {more}");
        let told = config.warnings.iter().any(|warning| warning.contains("everybody has an account at"));
        assert_eq!(told, warned, "{kind} {more}: {:?}", config.warnings);
    }
}

#[test]
fn each_type_needs_only_what_is_the_users() {
    let secret = "client_secret = \"s3cret-of-the-client\"\n";
    for (kind, more, issuer, groups, subject) in [
        ("google", "", "https://accounts.google.com", None, "sub"),
        ("gitlab", "", "https://gitlab.com", Some("groups"), "sub"),
        ("gitlab", "issuer = \"https://git.example.com\"", "https://git.example.com", Some("groups"), "sub"),
        ("github", "", "https://github.com", Some("groups"), "id"),
        ("github", "issuer = \"https://git.example.com/\"", "https://git.example.com", Some("groups"), "id"),
        ("okta", "issuer = \"https://acme.okta.com\"", "https://acme.okta.com", Some("groups"), "sub"),
        ("auth0", "issuer = \"https://acme.auth0.com\"", "https://acme.auth0.com/", None, "sub"),
        ("auth0", "issuer = \"https://acme.auth0.com/\"", "https://acme.auth0.com/", None, "sub"),
        (
            "keycloak",
            "issuer = \"https://sso.example/realms/r\"",
            "https://sso.example/realms/r",
            Some("groups"),
            "sub",
        ),
        (
            "cognito",
            "issuer = \"https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_a\"",
            "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_a",
            Some("\"cognito:groups\""),
            "sub",
        ),
        ("entra", "tenants = \"t-1\"", "https://login.microsoftonline.com/t-1/v2.0", Some("groups"), "oid"),
    ] {
        let found = the_only(&provider(&format!("type = \"{kind}\"\n{secret}{more}")));
        assert_eq!(found.issuer.issuer, issuer, "{kind}");
        let discovery = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        assert_eq!(found.issuer.discovery_url, discovery, "{kind}");
        assert_eq!(found.claims.groups.as_ref().map(ClaimPath::as_str), groups, "{kind}");
        assert_eq!(found.subject_claim, subject, "{kind}");
        assert_ne!(found.display_name, "sso", "{kind}");
    }
    for kind in ["oidc", "okta", "auth0", "keycloak", "cognito", "entra"] {
        assert_lacks(
            &provider(&format!("type = \"{kind}\"\n{secret}")),
            "issuer",
            "add `issuer = \"https://",
        );
    }
    assert_eq!(
        the_only(&provider(&format!(
            "type = \"okta\"\nissuer = \"https://a.okta.com\"\nscopes = [\"groups\", \"x\"]\n{secret}"
        )))
        .scopes,
        ["openid", "email", "profile", "groups", "x"]
    );
}

#[test]
fn no_provider_has_a_name_that_rules_have_for_others() {
    for name in ["local", "imported", "break-glass", "client-certificate"] {
        let text = with_issuer("").replace("\"sso\"", &format!("\"{name}\""));
        assert_lacks(&text, "name", &format!("rules mean others by `provider:{name}`"));
    }
    for name in ["local-sso", "locals", "imported2", "break_glass", "nobody"] {
        assert_eq!(the_only(&with_issuer("").replace("\"sso\"", &format!("\"{name}\""))).name, name);
    }
}

#[test]
fn providers_of_one_issuer_know_people_by_one_claim() {
    let secret = "client_secret = \"s3cret-of-the-client\"";
    let named = |name: &str, more: &str| {
        provider(&format!("{secret}\n{more}")).replace("\"sso\"", &format!("\"{name}\""))
    };
    let two = |first: &str, second: &str| format!("{}{}", named("a", first), named("b", second));
    let (here, there) = ("issuer = \"https://sso.example\"", "issuer = \"https://other.example\"");
    let oid = "subject_claim = \"oid\"";
    let entra = |tenants: &str| format!("type = \"entra\"\ntenants = {tenants}");
    let (one, several) = (entra("\"t-1\""), entra("[\"t-1\", \"t-2\"]"));
    for (first, second) in [
        (here.to_owned(), format!("{here}\n{oid}")),
        (format!("{here}\n{oid}"), here.to_owned()),
        (one.clone(), format!("{several}\nsubject_claim = \"sub\"")),
        (format!("{several}\nsubject_claim = \"sub\""), one.clone()),
        (several.clone(), "issuer = \"https://login.microsoftonline.com/t-2/v2.0\"".to_owned()),
    ] {
        assert_refused(&two(&first, &second), "providers[1].subject_claim", "which has the same issuer");
    }
    for (first, second, warns) in [
        (here.to_owned(), there.to_owned(), false),
        (here.to_owned(), format!("{there}\n{oid}"), false),
        (one.clone(), format!("{}\nsubject_claim = \"sub\"", entra("[\"t-3\", \"t-2\"]")), false),
        (here.to_owned(), here.to_owned(), true),
        (one.clone(), several.clone(), true),
    ] {
        let config = good(&two(&first, &second));
        let said = config.warnings.iter().filter(|it| it.contains("has the same issuer as `a`")).count();
        assert_eq!(said, usize::from(warns), "{first} {second}: {:?}", config.warnings);
    }
}

#[test]
fn groups_of_providers_are_told_apart_by_prefixes_of_which_none_begins_as_another() {
    let named = |name: &str, issuer: &str, claims: &str| {
        let text = provider(&format!(
            "issuer = \"https://{issuer}\"\ntoken_auth = \"none\"\n[providers.claims]\n{claims}"
        ));
        text.replace("\"sso\"", &format!("\"{name}\""))
    };
    let groups = |prefix: &str| format!("groups = \"groups\"\ngroups_prefix = \"{prefix}\"");
    let none = "groups = \"groups\"".to_owned();
    for (one, other, warns) in [
        (none.clone(), none.clone(), true),
        (groups("a/"), none.clone(), true),
        (none.clone(), groups("b/"), true),
        (groups("a/"), groups("a/"), true),
        (groups("a"), groups("ab"), true),
        (groups("ab"), groups("a"), true),
        (groups("a/"), groups("b/"), false),
        (none.clone(), String::new(), false),
    ] {
        let text = |second: &str| format!("{}{}", named("a", "a.example", &one), named("b", second, &other));
        let warned = |text: &str| {
            let warnings = good(text).warnings;
            warnings
                .iter()
                .filter(|it| it.contains("Give each a `groups_prefix`") && it.contains("`a`"))
                .count()
        };
        assert_eq!(warned(&text("b.example")), usize::from(warns), "{one} {other}");
        assert_eq!(warned(&text("a.example")), 0, "one issuer has one set of groups: {one} {other}");
    }
    assert_eq!(the_only(&named("sso", "a.example", &groups("git lab: "))).claims.groups_prefix, "git lab: ");
    for prefix in ["", " a", "a,", "a  b", "<", "\u{202e}", &"x".repeat(65)] {
        assert_lacks(
            &named("sso", "a.example", &groups(prefix)),
            "claims.groups_prefix",
            "before the name of a group",
        );
    }
    assert_lacks(
        &named("sso", "a.example", "groups_prefix = \"a\""),
        "claims.groups_prefix",
        "without `groups`",
    );
}

#[test]
fn several_tenants_are_let_in_only_by_name() {
    let entra =
        |more: &str| provider(&format!("type = \"entra\"\nclient_secret = \"s3cret-of-the-client\"\n{more}"));
    for everybody in ["common", "organizations", "consumers"] {
        let issuer = format!("issuer = \"https://login.microsoftonline.com/{everybody}/v2.0\"");
        assert_lacks(&entra(&issuer), "issuer", "every tenant in the world");
        assert_lacks(&entra(&format!("tenants = [\"{everybody}\"]")), "tenants", "no tenant but all");
        let found = the_only(&entra(&format!("{issuer}\ntenants = [\"t-1\", \"t-2\"]"))).issuer;
        assert_eq!(found.issuer, "https://login.microsoftonline.com/{tenantid}/v2.0");
        assert_eq!(found.tenants, ["t-1", "t-2"]);
        assert!(found.discovery_url.ends_with("/organizations/v2.0/.well-known/openid-configuration"));
    }
    assert_lacks(&with_issuer("tenants = \"t-1\""), "tenants", "only Microsoft Entra ID has");
}

#[test]
fn plain_http_reaches_this_machine_and_listed_hosts_only() {
    let secret = "client_secret = \"s3cret-of-the-client\"";
    let at = |issuer: &str, more: &str| provider(&format!("issuer = \"{issuer}\"\n{secret}\n{more}"));
    for issuer in
        ["http://127.0.0.1:18210/realms/a", "http://[::1]:1", "http://localhost:8080", "https://sso.example"]
    {
        assert_eq!(the_only(&at(issuer, "")).issuer.issuer, issuer);
    }
    for issuer in
        ["http://sso.example", "http://10.0.0.1", "http://localhost.example", "http://127.0.0.1.example"]
    {
        assert_lacks(&at(issuer, ""), "issuer", "is plain http");
    }
    let inner = "discovery_url = \"http://keycloak:8080/realms/a/.well-known/openid-configuration\"";
    assert_lacks(&at("https://sso.example", inner), "discovery_url", "`allowed_hosts = [\"keycloak\"]`");
    let listed =
        the_only(&at("https://sso.example", &format!("{inner}\nallowed_hosts = \"keycloak\""))).issuer;
    assert_eq!(
        (listed.issuer.as_str(), listed.allowed_hosts),
        ("https://sso.example", vec!["keycloak".to_owned()])
    );
    assert!(listed.discovery_url.starts_with("http://keycloak:8080/"));
    for bad in
        ["sso.example", "ftp://sso.example", "https://a:b@sso.example", "https://2130706433", "file:///etc"]
    {
        assert_lacks(&at(bad, ""), "issuer", "is never called");
    }
    assert_lacks(&at("https://sso.example/#x", ""), "issuer", "has a fragment");
    assert_lacks(&at("https://sso.example/?a=b", ""), "issuer", "has a query");
}

#[test]
fn one_method_has_what_it_needs_and_nothing_else() {
    let least = "issuer = \"https://sso.example.com\"\n";
    let secret = "client_secret = \"s3cret-of-the-client\"\n";
    for method in ["client_secret_basic", "client_secret_post"] {
        assert_lacks(&provider(&format!("{least}token_auth = \"{method}\"")), "client_secret", "is missing");
        good(&provider(&format!("{least}{secret}token_auth = \"{method}\"")));
    }
    assert!(matches!(
        the_only(&provider(&format!("{least}token_auth = \"none\""))).credentials,
        ClientCredentials::None
    ));
    assert_lacks(
        &provider(&format!("{least}{secret}token_auth = \"none\"")),
        "client_secret",
        "is of no use",
    );
    assert_lacks(
        &provider(&format!("{least}token_auth = \"private_key_jwt\"")),
        "private_key_file",
        "is missing",
    );
    let assertion = format!("{least}token_auth = \"client_assertion\"");
    assert_lacks(&provider(&assertion), "client_assertion_file", "is missing");
    let found = the_only(&provider(&format!("{assertion}\nclient_assertion_file = \"/run/token\"")));
    assert!(matches!(found.credentials, ClientCredentials::Assertion(file) if file.ends_with("run/token")));
    let beside = format!("{assertion}\nclient_assertion_file = \"/run/token\"\n{secret}");
    assert_lacks(&provider(&beside), "client_secret", "is of no use");
    assert_lacks(
        &with_issuer("client_assertion_file = \"/run/token\""),
        "client_assertion_file",
        "is of no use",
    );
    let folder = ConfigDir::new(&with_least(&provider(&format!(
        "{least}token_auth = \"private_key_jwt\"\nprivate_key_file = \"k\""
    ))));
    folder.write_pem("c", "k");
    let found = folder.load().unwrap().providers.remove(0);
    assert!(matches!(found.credentials, ClientCredentials::PrivateKey(file) if file.ends_with("k")));
}

#[test]
fn names_are_unique_and_stand_in_urls() {
    for bad in ["", "SSO", "a b", "a/b", "a.b", "é", "a?b"] {
        assert_lacks(
            &with_issuer("").replace("\"sso\"", &format!("\"{bad}\"")),
            "name",
            "cannot stand in a URL",
        );
    }
    let two = with_issuer("") + &with_issuer("");
    assert_refused(&two, "providers[1].name", "`sso` is the name of an earlier one");
    let auto = with_issuer("auto_login = true");
    let both = auto.clone() + &auto.replace("\"sso\"", "\"other\"");
    assert_refused(&both, "providers[1].auto_login", "is true of an earlier one");
    assert!(the_only(&auto).auto_login);
}

#[test]
fn what_would_weaken_the_protocol_cannot_be_written() {
    for algorithm in ["none", "HS256", "HS512", "rs256", ""] {
        let text = with_issuer(&format!("algorithms = [\"{algorithm}\"]"));
        assert_lacks(&text, "algorithms[0]", "is not one of the words");
    }
    assert_lacks(&with_issuer("algorithms = []"), "algorithms", "is empty");
    for name in ["state", "nonce", "redirect_uri", "code_challenge", "request_uri", "scope", "prompt"] {
        let text = with_issuer(&format!("authorize_parameters = {{ {name} = \"x\" }}"));
        assert_lacks(&text, &format!("authorize_parameters.{name}"), "is a parameter of the protocol");
    }
    let allowed = the_only(&with_issuer(
        "authorize_parameters = { domain_hint = \"a b\" }\nprompt = \"select_account\"",
    ));
    assert_eq!(allowed.authorize_parameters, [("domain_hint".to_owned(), "a b".to_owned())]);
    assert_eq!(allowed.prompt, [Prompt::SelectAccount]);
    assert_lacks(&with_issuer("prompt = \"none\""), "prompt", "is not one of the words");
    assert_lacks(&with_issuer("scopes = \"a b\""), "scopes", "is no word");
    let github = "type = \"github\"\nclient_secret = \"s3cret-of-the-client\"\n";
    for bad in ["client_secret_basic", "none", "private_key_jwt", "client_assertion"] {
        assert_lacks(
            &provider(&format!("{github}token_auth = \"{bad}\"")),
            "token_auth",
            "no method that GitHub knows",
        );
    }
    for usual in ["", "token_auth = \"client_secret_post\""] {
        let credentials = the_only(&provider(&format!("{github}{usual}"))).credentials;
        assert!(matches!(credentials, ClientCredentials::Post(_)), "{usual}");
    }
    assert_lacks(&provider(&format!("{github}prompt = \"login\"")), "prompt", "is nothing that GitHub asks");
    for more in ["subject_claim = \"id\"", "max_age = \"1h\"", "acr_values = \"a\"", "algorithms = \"RS256\""]
    {
        let setting = more.split(" =").next().unwrap();
        assert_lacks(&provider(&format!("{github}{more}")), setting, "GitHub does not speak OpenID Connect");
    }
}

#[test]
fn half_of_a_pair_of_claims_settings_is_refused() {
    for (more, setting) in [
        ("allowed_groups = \"ops\"", "allowed_groups"),
        ("groups_text = \"commas\"", "groups_text"),
        ("role_mapping = { Owner = \"admin\" }", "role_mapping"),
        ("role_strict = true", "role_strict"),
        ("role_strict = false", "role_strict"),
        ("role_resync = false", "role_resync"),
    ] {
        assert_lacks(&with_claims(more), &format!("claims.{setting}"), "has no effect without");
        let whole = format!("{more}\ngroups = \"groups\"\nrole = \"role\"");
        good(&with_claims(&whole));
    }
    // The type may bring what is missing.
    let okta = with_claims("allowed_groups = \"ops\"").replace("client_id", "type = \"okta\"\nclient_id");
    assert_eq!(the_only(&okta).claims.allowed_groups, ["ops"]);
}

#[test]
fn expressions_are_compiled_and_say_how_names_are_quoted() {
    let told = assert_refused(
        &with_claims("groups = \"cognito:groups\"\nallowed_groups = \"ops\""),
        "providers[0].claims.groups",
        "is no JMESPath expression",
    );
    assert!(told.contains("'\"cognito:groups\"'"), "{told}");
    assert_lacks(&with_claims("role = \"contain(groups, 'a')\""), "claims.role", "`contain`");
    let deep = "(".repeat(20_000);
    assert_lacks(&with_claims(&format!("email = \"{deep}\"")), "claims.email", "longer than 4 KiB");
    let claims = the_only(&with_claims(
        "groups = '\"cognito:groups\"'\ngroups_text = \"brackets\"\nallowed_groups = \"ops\"",
    ))
    .claims;
    assert_eq!(claims.groups_text, GroupsText::Brackets);
    let of = |text: &str| claims.evaluate(&ClaimSet::parse(text.as_bytes()).unwrap()).result;
    assert!(of(r#"{"cognito:groups":"[ops, x]"}"#).is_ok());
    assert_eq!(of(r#"{"cognito:groups":"[opsx]"}"#), Err(ClaimsRefusal::NoAllowedGroup));
}

#[test]
fn people_are_no_machines_and_a_strong_default_is_warned_of() {
    let at = "[providers.claims]\nrole = \"role\"\n";
    let agent = with_issuer(&format!("{at}default_role = \"agent\""));
    assert_lacks(&agent, "claims.default_role", "is a role of machines");
    let mapped = with_issuer(&format!("{at}role_mapping = {{ x = \"agent\" }}"));
    assert_lacks(&mapped, "claims.role_mapping.x", "is a role of machines");
    let odd = with_issuer(&format!("{at}role_mapping = {{ x = \"root\" }}"));
    assert_lacks(&odd, "claims.role_mapping.x", "is not one of the words");
    let config = good(&with_issuer(&format!("{at}default_role = \"admin\"")));
    assert!(config.warnings.iter().any(|warning| warning.contains("makes everyone an admin")));
}

#[test]
fn the_settings_in_the_documentation_work() {
    let page = include_str!("../../../docs/claims.md");
    let settings = page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let folder = ConfigDir::new(&with_least(settings));
    for line in settings.lines() {
        if let Some(file) = line.strip_prefix("client_secret_file = ") {
            folder.write(file.trim_matches('"'), "s3cret-of-the-client\n", 0o600);
        }
    }
    let config = folder.load().unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(config.providers.len(), 8);
    // Each is meant to stand alone; together their groups want prefixes.
    let others: Vec<_> = config.warnings.iter().filter(|it| !it.contains("`groups_prefix`")).collect();
    assert!(others.is_empty(), "{others:?}");
}
