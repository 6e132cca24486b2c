//! Every variable that Phoenix documents, and every example of its documentation.

use super::draft::{Draft, RemarkKind};
use super::phoenix::{PREFIX, import};
use super::phoenix_providers::SUFFIXES;
use super::variables::Variables;
use crate::config::{ClientCredentials, Config, ConfigSource, Flags, ProviderConfig, ProviderKind, load};
use crate::model::role::Role;
use crate::policy::claims::ClaimPath;

/// What Phoenix wants of every provider.
const LEAST: &str = "PHOENIX_OAUTH2_SSO_CLIENT_ID=phoenix
PHOENIX_OAUTH2_SSO_CLIENT_SECRET=s3cret-of-the-client
PHOENIX_OAUTH2_SSO_OIDC_CONFIG_URL=https://sso.example.com/.well-known/openid-configuration
";

#[track_caller]
fn draft(text: &str) -> Draft {
    import(Variables::parse(text, PREFIX).unwrap_or_else(|why| panic!("{why}: {text}")), None)
}

/// The settings that a text comes to, read from a file as `check` reads them, with the secrets written beside it.
#[track_caller]
pub(super) fn checked(draft: &Draft) -> Config {
    let text = draft.render("test");
    assert!(!text.contains("s3cret"), "{text}");
    let folder = tempfile::tempdir().unwrap();
    for file in draft.secret_files() {
        let secret = file.secret.map_or("q7Zt0Vb3Xn9Ks2Lw8Rf4Hd6Jy1Mg5Pc+", |secret| secret.expose());
        super::write_secret(&folder.path().join(file.file), &super::Secret::new(secret)).unwrap();
    }
    let file = folder.path().join("doorward.toml");
    std::fs::write(&file, &text).unwrap();
    let source = ConfigSource { file: Some(file), environment: Vec::new() };
    load(&source, &Flags::default()).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

#[track_caller]
fn settings(text: &str) -> Config {
    checked(&draft(text))
}

/// The provider that these variables come to beside the least, whole.
#[track_caller]
fn provider(more: &str) -> ProviderConfig {
    let draft = draft(&format!("{LEAST}{more}"));
    let text = draft.render("test");
    assert_eq!(draft.count("providers"), (1, 1), "{text}");
    checked(&draft).providers.remove(0)
}

/// That the provider is commented out, for this reason, and nothing of it is in effect.
#[track_caller]
fn left_out(text: &str, why: &str) {
    let draft = draft(text);
    let rendered = draft.render("test");
    assert_eq!(draft.count("providers"), (0, 1), "{rendered}");
    assert!(rendered.contains(why), "{why}\n{rendered}");
    assert!(checked(&draft).providers.is_empty());
}

/// That this is said about a variable.
#[track_caller]
fn said(text: &str, kind: RemarkKind, about: &str, what: &str) {
    let draft = draft(text);
    let found = draft.remarks(kind).any(|remark| remark.about == about && remark.text.contains(what));
    assert!(found, "{about}: {what}\n{}", draft.render("test"));
    drop(checked(&draft));
}

fn own(suffix: &str, value: &str) -> String {
    format!("PHOENIX_OAUTH2_SSO_{suffix}={value}\n")
}

#[test]
fn the_least_provider_is_taken_over_as_it_is() {
    let provider = provider("");
    assert_eq!((provider.name.as_str(), provider.display_name.as_str()), ("sso", "Sso"));
    assert_eq!(provider.kind, ProviderKind::Oidc);
    assert_eq!(provider.issuer.issuer, "https://sso.example.com");
    assert_eq!(provider.scopes, ["openid", "email", "profile"]);
    assert!(provider.allow_sign_up && !provider.auto_login);
    assert_eq!(provider.claims.default_role, Role::Viewer);
    assert!(
        matches!(provider.credentials, ClientCredentials::Basic(secret) if secret.expose().starts_with("s3cret"))
    );
}

#[test]
fn the_redirect_uri_that_is_registered_goes_on_working() {
    for (addresses, wanted) in [
        ("", "/oauth2/sso/tokens"),
        ("PHOENIX_ROOT_URL=https://example.com\n", "/oauth2/sso/tokens"),
        (
            "PHOENIX_ROOT_URL=https://example.com/phoenix\nPHOENIX_HOST_ROOT_PATH=/phoenix\n",
            "/oauth2/sso/tokens",
        ),
        (
            "PHOENIX_ROOT_URL=https://example.com\nPHOENIX_HOST_ROOT_PATH=/phoenix\n",
            "/phoenix/oauth2/sso/tokens",
        ),
    ] {
        assert_eq!(provider(addresses).callback_path.as_deref(), Some(wanted), "{addresses}");
    }
}

#[test]
fn client_id_is_the_client() {
    assert_eq!(provider("").client_id, "phoenix");
    left_out(&LEAST.replace("CLIENT_ID=phoenix", "CLIENT_ID="), "CLIENT_ID: is missing");
}

#[test]
fn client_secret_goes_into_a_file_and_is_never_printed() {
    let draft = draft(LEAST);
    let files = draft.secret_files();
    let [file] = files.as_slice() else { panic!("{files:?}") };
    assert_eq!((file.file, file.from), ("sso-client-secret", "PHOENIX_OAUTH2_SSO_CLIENT_SECRET"));
    let json = format!("{draft:?}");
    assert!(!json.contains("s3cret"), "{json}");
    left_out(&LEAST.replace("s3cret-of-the-client", ""), "CLIENT_SECRET: is missing");
    assert_eq!(settings(&LEAST.replace("s3cret-of-the-client", "${ELSEWHERE}")).providers.len(), 1);
}

#[test]
fn oidc_config_url_tells_product_and_issuer() {
    for (url, kind, issuer) in [
        ("https://accounts.google.com", ProviderKind::Google, "https://accounts.google.com"),
        ("https://gitlab.com", ProviderKind::Gitlab, "https://gitlab.com"),
        ("https://acme.okta.com", ProviderKind::Okta, "https://acme.okta.com"),
        ("https://acme.okta.com/oauth2/default", ProviderKind::Oidc, "https://acme.okta.com/oauth2/default"),
        ("https://acme.eu.auth0.com", ProviderKind::Auth0, "https://acme.eu.auth0.com/"),
        (
            "https://cognito-idp.us-east-2.amazonaws.com/us-east-2_x4FTon498",
            ProviderKind::Cognito,
            "https://cognito-idp.us-east-2.amazonaws.com/us-east-2_x4FTon498",
        ),
        ("https://sso.example.com/realms/a", ProviderKind::Keycloak, "https://sso.example.com/realms/a"),
        (
            "https://login.microsoftonline.com/11111111-2222-3333-4444-555555555555/v2.0",
            ProviderKind::Entra,
            "https://login.microsoftonline.com/11111111-2222-3333-4444-555555555555/v2.0",
        ),
        (
            "https://login.microsoftonline.us/11111111-2222-3333-4444-555555555555/v2.0",
            ProviderKind::Entra,
            "https://login.microsoftonline.us/11111111-2222-3333-4444-555555555555/v2.0",
        ),
        ("http://localhost:8080/realms/a", ProviderKind::Keycloak, "http://localhost:8080/realms/a"),
        ("https://okta.com.example", ProviderKind::Oidc, "https://okta.com.example"),
    ] {
        let found = settings(&LEAST.replace("https://sso.example.com", url)).providers.remove(0);
        assert_eq!((found.kind, found.issuer.issuer.as_str()), (kind, issuer), "{url}");
    }
    for (url, why) in [
        ("", "OIDC_CONFIG_URL: is missing"),
        ("http://sso.example.com/.well-known/openid-configuration", "is plain http"),
        ("https://sso.example.com/openid", "does not tell the issuer"),
        ("https://a.b2clogin.com/v2.0/.well-known/openid-configuration?p=b2c", "does not tell the issuer"),
        (
            "https://login.microsoftonline.com/common/v2.0/.well-known/openid-configuration",
            "every tenant in the world",
        ),
        (
            "https://login.microsoftonline.com/a.onmicrosoft.com/v2.0/.well-known/openid-configuration",
            "by a domain",
        ),
        (
            "https://<your-keycloak-domain>/realms/<your-realm>/.well-known/openid-configuration",
            "does not tell",
        ),
        ("${ISSUER}", "refers to another variable"),
    ] {
        left_out(&LEAST.replace("https://sso.example.com/.well-known/openid-configuration", url), why);
    }
}

#[test]
fn display_name_is_what_the_button_says() {
    assert_eq!(provider(&own("DISPLAY_NAME", "'Company SSO'")).display_name, "Company SSO");
    for (name, wanted) in [
        ("AWS_COGNITO", "AWS Cognito"),
        ("MICROSOFT_ENTRA_ID", "Microsoft Entra ID"),
        ("CORP_OKTA", "Corp Okta"),
    ] {
        let found = settings(&LEAST.replace("_SSO_", &format!("_{name}_"))).providers.remove(0);
        assert_eq!((found.display_name.as_str(), found.name), (wanted, name.to_lowercase()));
    }
}

#[test]
fn allow_sign_up_is_kept() {
    assert!(!provider(&own("ALLOW_SIGN_UP", "False")).allow_sign_up);
    assert!(provider(&own("ALLOW_SIGN_UP", "TRUE")).allow_sign_up);
    left_out(&format!("{LEAST}{}", own("ALLOW_SIGN_UP", "no")), "ALLOW_SIGN_UP: is neither true nor false");
    left_out(&format!("{LEAST}{}", own("ALLOW_SIGN_UP", "")), "ALLOW_SIGN_UP: is neither true nor false");
}

#[test]
fn auto_login_counts_without_passwords_only_as_in_phoenix() {
    let auto = own("AUTO_LOGIN", "true");
    assert!(!provider(&auto).auto_login);
    said(
        &format!("{LEAST}{auto}"),
        RemarkKind::LeftOut,
        "PHOENIX_OAUTH2_SSO_AUTO_LOGIN",
        "as long as passwords",
    );
    let sso_only = format!("PHOENIX_DISABLE_BASIC_AUTH=true\n{LEAST}{auto}");
    let config = settings(&sso_only);
    assert!(config.providers[0].auto_login && !config.login.password);
    let two = format!("{sso_only}{}", format!("{LEAST}{auto}").replace("_SSO_", "_B_"));
    assert_eq!(draft(&two).count("providers"), (1, 2));
}

#[test]
fn pkce_is_always_used() {
    provider(&own("USE_PKCE", "true"));
    let text = format!("{LEAST}{}", own("USE_PKCE", "false"));
    said(&text, RemarkKind::Differs, "PHOENIX_OAUTH2_SSO_USE_PKCE", "always used");
}

#[test]
fn token_endpoint_auth_method_is_kept() {
    let of = |method: &str| provider(&own("TOKEN_ENDPOINT_AUTH_METHOD", method)).credentials;
    assert!(matches!(of("client_secret_basic"), ClientCredentials::Basic(_)));
    assert!(matches!(of("CLIENT_SECRET_POST"), ClientCredentials::Post(_)));
    assert!(matches!(of("none"), ClientCredentials::None));
    left_out(
        &format!("{LEAST}{}", own("TOKEN_ENDPOINT_AUTH_METHOD", "private_key_jwt")),
        "is none of client_secret",
    );
}

#[test]
fn client_assertion_file_is_the_statement() {
    let method = own("TOKEN_ENDPOINT_AUTH_METHOD", "client_assertion_jwt");
    let file = own("CLIENT_ASSERTION_FILE", "/var/run/token");
    let found = provider(&format!("{method}{file}")).credentials;
    assert!(matches!(found, ClientCredentials::Assertion(path) if path.ends_with("var/run/token")));
    left_out(&format!("{LEAST}{method}"), "CLIENT_ASSERTION_FILE: is missing");
    left_out(&format!("{LEAST}{method}{}", own("CLIENT_ASSERTION_FILE", "token")), "is no absolute path");
}

#[test]
fn client_assertion_file_env_var_asks_for_the_path_and_prints_no_variable() {
    let method = own("TOKEN_ENDPOINT_AUTH_METHOD", "client_assertion_jwt");
    let variable = own("CLIENT_ASSERTION_FILE_ENV_VAR", "PHOENIX_SECRET");
    let text = format!("PHOENIX_SECRET=/s3cret\n{LEAST}{method}{variable}");
    left_out(&text, "CLIENT_ASSERTION_FILE_ENV_VAR: names a variable of Phoenix's process");
    let both = format!("{LEAST}{method}{variable}{}", own("CLIENT_ASSERTION_FILE", "/a"));
    left_out(&both, "takes one of them only");
}

#[test]
fn scopes_are_added_to_the_usual_ones() {
    let scopes = provider(&own("SCOPES", "\"offline_access groups openid groups\"")).scopes;
    assert_eq!(scopes, ["openid", "email", "profile", "offline_access", "groups"]);
}

#[test]
fn email_attribute_path_is_kept() {
    let path = |more: &str| provider(more).claims.email.as_str().to_owned();
    assert_eq!(path(&own("EMAIL_ATTRIBUTE_PATH", "preferred_username")), "preferred_username");
    assert_eq!(path(&own("EMAIL_ATTRIBUTE_PATH", "")), "email");
    left_out(&format!("{LEAST}{}", own("EMAIL_ATTRIBUTE_PATH", "custom:email")), "is no JMESPath expression");
}

#[test]
fn groups_attribute_path_and_allowed_groups_go_together() {
    let path = own("GROUPS_ATTRIBUTE_PATH", "'\"cognito:groups\"'");
    let allowed = own("ALLOWED_GROUPS", "\"Admins, Power Users,Admins,\"");
    let claims = provider(&format!("{path}{allowed}")).claims;
    assert_eq!(claims.groups.as_ref().map(ClaimPath::as_str), Some("\"cognito:groups\""));
    assert_eq!(claims.allowed_groups, ["Admins", "Power Users"]);
    // Nobody is let in whom Phoenix would have kept out.
    left_out(&format!("{LEAST}{allowed}"), "there is no GROUPS_ATTRIBUTE_PATH");
    left_out(&format!("{LEAST}{path}"), "is set without ALLOWED_GROUPS");
    left_out(&format!("{LEAST}{path}{}", own("ALLOWED_GROUPS", "\" , \"")), "is set without ALLOWED_GROUPS");
    left_out(
        &format!("{LEAST}{path}{}", own("ALLOWED_GROUPS", "'a;b'")),
        "a group has 1 to 128 visible characters",
    );
    left_out(&format!("{LEAST}{path}{}", own("ALLOWED_GROUPS", "$GROUPS")), "refers to another variable");
    let unquoted = own("GROUPS_ATTRIBUTE_PATH", "\"cognito:groups\"");
    left_out(&format!("{LEAST}{unquoted}{allowed}"), "is no JMESPath expression");
}

#[test]
fn one_group_with_blanks_is_told() {
    let text = format!(
        "{LEAST}{}{}",
        own("GROUPS_ATTRIBUTE_PATH", "groups"),
        own("ALLOWED_GROUPS", "engineering platform")
    );
    said(&text, RemarkKind::Differs, "PHOENIX_OAUTH2_SSO_ALLOWED_GROUPS", "one group with blanks");
    assert_eq!(settings(&text).providers[0].claims.allowed_groups, ["engineering platform"]);
}

#[test]
fn role_attribute_path_is_kept() {
    for path in [
        "role",
        "resource_access.phoenix.role",
        "contains(groups[*], 'admin') && 'ADMIN' || 'VIEWER'",
        "'MEMBER'",
    ] {
        let found = provider(&own("ROLE_ATTRIBUTE_PATH", &format!("\"{path}\""))).claims.role;
        assert_eq!(found.as_ref().map(ClaimPath::as_str), Some(path));
    }
    left_out(&format!("{LEAST}{}", own("ROLE_ATTRIBUTE_PATH", "role[")), "is no JMESPath expression");
}

#[test]
fn role_mapping_is_kept_and_needs_the_path() {
    let path = own("ROLE_ATTRIBUTE_PATH", "role");
    let mapping = own("ROLE_MAPPING", "\"Owner:ADMIN, Site:Lead:member,x:VIEWER,x:admin\"");
    left_out(&format!("{LEAST}{path}{mapping}"), "has an entry that is not WORD:ROLE");
    let mapping = own("ROLE_MAPPING", "\"Owner:ADMIN, Dev Lead:member,x:VIEWER,x:admin,\"");
    let found = provider(&format!("{path}{mapping}")).claims.role_mapping;
    let roles: Vec<_> = found.iter().map(|(word, role)| (word.as_str(), *role)).collect();
    assert_eq!(roles, [("Dev Lead", Role::Member), ("Owner", Role::Admin), ("x", Role::Admin)]);
    left_out(&format!("{LEAST}{mapping}"), "has no effect without `role`");
    for bad in ["Owner:SYSTEM", "Owner:agent", "Owner", ":ADMIN"] {
        left_out(&format!("{LEAST}{path}{}", own("ROLE_MAPPING", bad)), "has an entry that is not WORD:ROLE");
    }
}

#[test]
fn role_attribute_strict_and_role_resync_are_kept_and_need_the_path() {
    let path = own("ROLE_ATTRIBUTE_PATH", "role");
    let claims = |more: &str| provider(&format!("{path}{more}")).claims;
    assert!(claims(&own("ROLE_ATTRIBUTE_STRICT", "true")).role_strict);
    assert!(!claims(&own("ROLE_ATTRIBUTE_STRICT", "false")).role_strict);
    assert!(!claims(&own("ROLE_RESYNC", "false")).role_resync);
    assert!(claims(&own("ROLE_RESYNC", "true")).role_resync);
    for (suffix, value) in [("ROLE_ATTRIBUTE_STRICT", "true"), ("ROLE_RESYNC", "false")] {
        left_out(&format!("{LEAST}{}", own(suffix, value)), "has no effect without `role`");
        left_out(&format!("{LEAST}{path}{}", own(suffix, "maybe")), "is neither true nor false");
    }
}

#[test]
fn every_variable_of_a_provider_is_looked_at() {
    for suffix in SUFFIXES {
        let draft = draft(&format!("{LEAST}{}", own(suffix, "x")));
        let forgotten = draft.remarks(RemarkKind::LeftOut).any(|remark| {
            remark.text.contains("no variable that Phoenix reads")
                || remark.text.contains("stay with Phoenix")
        });
        assert!(!forgotten, "{suffix}");
    }
    let odd = "PHOENIX_OAUTH2_SSO_CLIENT_SECRET_FILE=/run/secrets/x\n";
    said(
        &format!("{LEAST}{odd}"),
        RemarkKind::LeftOut,
        "PHOENIX_OAUTH2_SSO_CLIENT_SECRET_FILE",
        "no variable that Phoenix",
    );
    left_out(&LEAST.replace("_SSO_", "_sso_"), "in capital letters only");
}

#[test]
fn accounts_and_passwords_come_over_where_there_is_a_like() {
    let text = "PHOENIX_ENABLE_AUTH=True\nPHOENIX_SECRET=s3cret\nPHOENIX_ADMINS=John Doe=john@example.com;Doe, Jane=Jane@example.com;a=b=c@example.com\n\
                PHOENIX_DEFAULT_ADMIN_INITIAL_PASSWORD='nine s3cret bees in a bonnet'\nPHOENIX_ADMIN_SECRET=s3cretZr8Kd0Vb3Xn9Ks2Lw8Rf4Hd6Jy1\n";
    let config = settings(text);
    let admins: Vec<_> =
        config.login.admins.iter().map(|(name, email)| (name.as_str(), email.as_str())).collect();
    let wanted =
        [("John-Doe", "john@example.com"), ("Doe-Jane", "jane@example.com"), ("a-b", "c@example.com")];
    assert_eq!(admins, wanted);
    assert!(config.login.admin_password.is_some() && config.login.password);
    assert_eq!(config.tokens.len(), 1);
    said(text, RemarkKind::ToDo, "PHOENIX_ENABLE_AUTH", "unset it");
    said(text, RemarkKind::LeftOut, "PHOENIX_SECRET", "a key of its own");
    said("PHOENIX_ADMINS=nobody\n", RemarkKind::LeftOut, "PHOENIX_ADMINS", "not name=email");
    // A password that may not be chosen is none.
    assert!(settings("PHOENIX_DEFAULT_ADMIN_INITIAL_PASSWORD=admin\n").login.admin_password.is_none());
}

#[test]
fn passwords_are_switched_off_only_where_a_provider_is_left() {
    let off = "PHOENIX_DISABLE_BASIC_AUTH=true\n";
    assert!(!settings(&format!("{off}{LEAST}")).login.password);
    assert!(settings(off).login.password);
    assert!(settings(&format!("{off}{}", LEAST.replace("CLIENT_ID=phoenix", "CLIENT_ID="))).login.password);
}

#[test]
fn sessions_addresses_and_origins_come_over() {
    let config = settings(
        "PHOENIX_REFRESH_TOKEN_EXPIRY_MINUTES=43200\nPHOENIX_ROOT_URL=https://example.com/phoenix\nPHOENIX_HOST_ROOT_PATH=/phoenix\n\
         PHOENIX_CSRF_TRUSTED_ORIGINS=https://a.example.com, https://b.example.com:8443/\nPHOENIX_PORT=7007\nPHOENIX_GRPC_PORT=7008\n\
         PHOENIX_HOST=0.0.0.0\n",
    );
    assert_eq!((config.session.idle.as_secs(), config.session.absolute.as_secs()), (2_592_000, 2_592_000));
    assert_eq!(config.public_url.to_string(), "https://example.com/phoenix");
    assert_eq!(config.upstreams[0].address(), "http://127.0.0.1:7007");
    assert_eq!(config.upstreams[1].address(), "h2c://127.0.0.1:7008");
    assert_eq!(config.routes[1].path.as_str(), "/phoenix");
    assert_eq!(config.server.trusted_origins, ["https://a.example.com", "https://b.example.com:8443"]);
    assert_eq!(settings("PHOENIX_REFRESH_TOKEN_EXPIRY_MINUTES=60.5\n").session.idle.as_secs(), 3630);
    // What the settings do not take is commented out.
    assert_eq!(settings("PHOENIX_REFRESH_TOKEN_EXPIRY_MINUTES=0.1\n").session.idle.as_secs(), 8 * 3600);
    assert_eq!(
        settings("PHOENIX_ROOT_URL=http://phoenix.example.com\n").public_url.to_string(),
        "http://127.0.0.1:8080"
    );
}

#[test]
fn another_address_of_phoenix_is_taken() {
    let url = url::Url::parse("http://phoenix:6006/").unwrap();
    let draft = import(Variables::parse("PHOENIX_PORT=1\n", PREFIX).unwrap(), Some(&url));
    let config = checked(&draft);
    assert_eq!(config.upstreams[0].address(), "http://phoenix:6006");
    assert_eq!(config.upstreams[1].address(), "h2c://phoenix:4317");
}

#[test]
fn what_has_no_like_says_why() {
    for (name, value, kind, what) in [
        ("PHOENIX_ENABLE_STRONG_PASSWORD_POLICY", "true", RemarkKind::LeftOut, "12 characters"),
        ("PHOENIX_ACCESS_TOKEN_EXPIRY_MINUTES", "10", RemarkKind::LeftOut, "no access tokens"),
        ("PHOENIX_PASSWORD_RESET_TOKEN_EXPIRY_MINUTES", "15", RemarkKind::LeftOut, "no mail"),
        ("PHOENIX_USE_SECURE_COOKIES", "true", RemarkKind::ToDo, "begins with https://"),
        ("PHOENIX_COOKIES_PATH", "/a", RemarkKind::Differs, "the whole host"),
        ("PHOENIX_DISABLE_RATE_LIMIT", "true", RemarkKind::LeftOut, "slow down"),
        ("PHOENIX_DISABLE_BRUTE_FORCE_LOGIN_PROTECTION", "true", RemarkKind::LeftOut, "slow down"),
        ("PHOENIX_BRUTE_FORCE_LOGIN_PROTECTION_MAX_ATTEMPTS", "5", RemarkKind::LeftOut, "slow down"),
        ("PHOENIX_CSRF_TRUSTED_ORIGINS", "example.com", RemarkKind::LeftOut, "no origin"),
        ("PHOENIX_LDAP_HOST", "ldap.example.com", RemarkKind::LeftOut, "LDAP"),
        ("PHOENIX_LDAP_BIND_PASSWORD", "s3cret", RemarkKind::LeftOut, "LDAP"),
        ("PHOENIX_SMTP_PASSWORD", "s3cret", RemarkKind::LeftOut, "no mail"),
        ("PHOENIX_MANAGEMENT_URL", "https://a", RemarkKind::LeftOut, "link"),
        (
            "PHOENIX_ENABLE_OAUTH2_AUTHORIZATION_SERVER",
            "true",
            RemarkKind::LeftOut,
            "no authorization server",
        ),
        ("PHOENIX_OAUTH2_GRANT_EXPIRY_DAYS", "90", RemarkKind::LeftOut, "no authorization server"),
        ("PHOENIX_OAUTH2_CONSENT_ORIGIN_CHECK", "strict", RemarkKind::LeftOut, "no authorization server"),
        (
            "PHOENIX_OAUTH2_DYNAMIC_CLIENT_REGISTRATION",
            "disabled",
            RemarkKind::LeftOut,
            "no authorization server",
        ),
        ("PHOENIX_OAUTH2_ALLOWED_REDIRECT_HOSTS", "a", RemarkKind::LeftOut, "no authorization server"),
        ("PHOENIX_OAUTH2_DCR_RATE_LIMIT_PER_HOUR", "10", RemarkKind::LeftOut, "no authorization server"),
        ("PHOENIX_TLS_ENABLED", "true", RemarkKind::LeftOut, "ends TLS"),
        ("PHOENIX_API_KEY", "s3cret", RemarkKind::LeftOut, "worth nothing here"),
        ("PHOENIX_ENABLE_AUTH", "maybe", RemarkKind::LeftOut, "neither true nor false"),
    ] {
        said(&format!("{name}={value}\n"), kind, name, what);
    }
    said(
        "PHOENIX_WORKING_DIR=/a\nPHOENIX_SQL_DATABASE_URL=s3cret\n",
        RemarkKind::LeftOut,
        "",
        "PHOENIX_SQL_DATABASE_URL, PHOENIX_WORKING_DIR",
    );
}

/// The examples of Phoenix's documentation (self-hosting, authentication) and of its source, with the variables that
/// every provider needs where an example leaves them out.
#[test]
fn every_example_of_the_documentation_is_taken_over() {
    const EXAMPLES: [(&str, &str); 16] = [
        (
            "google",
            "export PHOENIX_OAUTH2_GOOGLE_CLIENT_ID=google_client_id
export PHOENIX_OAUTH2_GOOGLE_CLIENT_SECRET=google_secret
export PHOENIX_OAUTH2_GOOGLE_OIDC_CONFIG_URL=https://accounts.google.com/.well-known/openid-configuration",
        ),
        (
            "okta",
            "export PHOENIX_OAUTH2_OKTA_CLIENT_ID=okta_client_id
export PHOENIX_OAUTH2_OKTA_CLIENT_SECRET=okta_secret
export PHOENIX_OAUTH2_OKTA_OIDC_CONFIG_URL=https://your-domain.okta.com/.well-known/openid-configuration
export PHOENIX_OAUTH2_OKTA_GROUPS_ATTRIBUTE_PATH=groups
export PHOENIX_OAUTH2_OKTA_ALLOWED_GROUPS=\"engineering,platform-team\"",
        ),
        (
            "mobile",
            "export PHOENIX_OAUTH2_MOBILE_CLIENT_ID=mobile_app_id
export PHOENIX_OAUTH2_MOBILE_OIDC_CONFIG_URL=https://auth.example.com/.well-known/openid-configuration
export PHOENIX_OAUTH2_MOBILE_TOKEN_ENDPOINT_AUTH_METHOD=none
export PHOENIX_OAUTH2_MOBILE_USE_PKCE=true",
        ),
        (
            "keycloak",
            "export PHOENIX_OAUTH2_KEYCLOAK_GROUPS_ATTRIBUTE_PATH=resource_access.phoenix.roles
export PHOENIX_OAUTH2_KEYCLOAK_ALLOWED_GROUPS=\"admin,developer\"",
        ),
        (
            "cognito",
            "export PHOENIX_OAUTH2_COGNITO_GROUPS_ATTRIBUTE_PATH='\"cognito:groups\"'
export PHOENIX_OAUTH2_COGNITO_ALLOWED_GROUPS=\"Administrators,PowerUsers\"",
        ),
        (
            "auth0",
            "export PHOENIX_OAUTH2_AUTH0_GROUPS_ATTRIBUTE_PATH='\"https://myapp.com/groups\"'
export PHOENIX_OAUTH2_AUTH0_ALLOWED_GROUPS=\"admin,users\"",
        ),
        (
            "custom",
            "export PHOENIX_OAUTH2_CUSTOM_GROUPS_ATTRIBUTE_PATH=\"teams[*].name\"
export PHOENIX_OAUTH2_CUSTOM_ALLOWED_GROUPS=\"engineering,operations\"",
        ),
        (
            "company",
            "export PHOENIX_OAUTH2_COMPANY_DISPLAY_NAME=\"Company SSO\"
export PHOENIX_OAUTH2_COMPANY_AUTO_LOGIN=true
export PHOENIX_OAUTH2_COMPANY_ALLOW_SIGN_UP=false",
        ),
        (
            "okta",
            "export PHOENIX_OAUTH2_OKTA_ROLE_ATTRIBUTE_PATH=role
export PHOENIX_OAUTH2_OKTA_ROLE_MAPPING=\"Owner:ADMIN,Developer:MEMBER,Viewer:VIEWER\"",
        ),
        (
            "keycloak",
            "export PHOENIX_OAUTH2_KEYCLOAK_ROLE_ATTRIBUTE_PATH=resource_access.phoenix.role
export PHOENIX_OAUTH2_KEYCLOAK_ROLE_MAPPING=\"admin:ADMIN,user:MEMBER\"",
        ),
        (
            "okta",
            "export PHOENIX_OAUTH2_OKTA_ROLE_ATTRIBUTE_PATH=role
export PHOENIX_OAUTH2_OKTA_ROLE_MAPPING=\"Owner:ADMIN,Developer:MEMBER\"
export PHOENIX_OAUTH2_OKTA_ROLE_ATTRIBUTE_STRICT=true",
        ),
        (
            "okta",
            "export PHOENIX_OAUTH2_OKTA_ROLE_ATTRIBUTE_PATH=\"contains(groups[*], 'admin') && 'ADMIN' || \
             contains(groups[*], 'editor') && 'MEMBER' || 'VIEWER'\"",
        ),
        (
            "okta",
            "export PHOENIX_OAUTH2_OKTA_GROUPS_ATTRIBUTE_PATH=groups
export PHOENIX_OAUTH2_OKTA_ALLOWED_GROUPS=\"engineering,platform-team\"
export PHOENIX_OAUTH2_OKTA_ROLE_ATTRIBUTE_PATH=role
export PHOENIX_OAUTH2_OKTA_ROLE_MAPPING=\"Owner:ADMIN,Developer:MEMBER,Guest:VIEWER\"",
        ),
        (
            "google",
            "PHOENIX_OAUTH2_GOOGLE_DISPLAY_NAME=Google Workspace
PHOENIX_OAUTH2_GOOGLE_AUTO_LOGIN=true
PHOENIX_OAUTH2_GOOGLE_GROUPS_ATTRIBUTE_PATH=groups
PHOENIX_OAUTH2_GOOGLE_ALLOWED_GROUPS=engineering platform-team",
        ),
        (
            "azure_ad",
            "# Use preferred_username when email claim is null
PHOENIX_OAUTH2_AZURE_AD_EMAIL_ATTRIBUTE_PATH=preferred_username
PHOENIX_OAUTH2_AZURE_AD_ROLE_RESYNC=false
PHOENIX_OAUTH2_AZURE_AD_ROLE_ATTRIBUTE_PATH=roles[0]",
        ),
        (
            "aks",
            "PHOENIX_OAUTH2_AKS_TOKEN_ENDPOINT_AUTH_METHOD=client_assertion_jwt
PHOENIX_OAUTH2_AKS_CLIENT_ASSERTION_FILE=/var/run/secrets/azure/tokens/azure-identity-token",
        ),
    ];
    for (name, example) in EXAMPLES {
        let mut text = format!("PHOENIX_ENABLE_AUTH=true\nPHOENIX_SECRET=s3cret\n{example}\n");
        for line in LEAST.lines() {
            let line = line.replace("_SSO_", &format!("_{}_", name.to_uppercase()));
            if !text.contains(line.split('=').next().unwrap()) {
                text = format!("{text}{line}\n");
            }
        }
        let draft = draft(&text);
        assert_eq!(draft.count("providers"), (1, 1), "{}", draft.render("test"));
        assert_eq!(checked(&draft).providers[0].name, name);
    }
}
