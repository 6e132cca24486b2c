//! Every setting of Pyroscope's that is about access, as configuration and as variable, and the examples of its documentation.

use super::draft::{Draft, RemarkKind};
use super::phoenix_tests::checked;
use super::pyroscope::{import, parse};
use super::pyroscope_keys::KEYS;
use crate::config::{Config, ProviderConfig, ProviderKind};
use crate::model::role::Role;

/// A provider, with these lines of YAML in it.
fn yaml(product: &str, more: &[&str]) -> String {
    let least = ["enabled: true", "client-id: CLIENT_ID", "client-secret: s3cret"];
    let lines: Vec<String> = least.iter().chain(more).map(|line| format!("    {line}")).collect();
    format!("auth:\n  {product}:\n{}\n", lines.join("\n"))
}

#[track_caller]
fn draft(text: &str) -> Draft {
    import(parse(text).unwrap_or_else(|why| panic!("{why}: {text}")), None)
}

#[track_caller]
fn settings(text: &str) -> Config {
    checked(&draft(text))
}

#[track_caller]
fn provider(text: &str) -> ProviderConfig {
    let draft = draft(text);
    assert_eq!(draft.count("providers"), (1, 1), "{}", draft.render("test"));
    checked(&draft).providers.remove(0)
}

#[track_caller]
fn left_out(text: &str, why: &str) {
    let draft = draft(text);
    let rendered = draft.render("test");
    assert_eq!(draft.count("providers"), (0, 1), "{rendered}");
    assert!(rendered.contains(why), "{why}\n{rendered}");
    assert!(checked(&draft).providers.is_empty());
}

#[track_caller]
fn said(text: &str, kind: RemarkKind, about: &str, what: &str) {
    let draft = draft(text);
    let found = draft.remarks(kind).any(|remark| remark.about == about && remark.text.contains(what));
    assert!(found, "{about}: {what}\n{}", draft.render("test"));
    drop(checked(&draft));
}

#[test]
fn the_examples_of_the_documentation_are_taken_over() {
    let github = provider(
        "auth:
  # Specifies which role will be granted to a newly signed up user.
  signup-default-role: Admin
  github:
    enabled: true
    client-id: CLIENT_ID
    client-secret: CLIENT_SECRET
    allowed-organizations:
      - mycompany
      - myorganization
",
    );
    assert_eq!((github.kind, github.name.as_str()), (ProviderKind::Github, "github"));
    assert_eq!(github.claims.allowed_groups, ["mycompany", "myorganization"]);
    assert_eq!(github.claims.default_role, Role::Admin);
    let gitlab = provider(&yaml("gitlab", &["allowed-groups: [mycompany, my/organization]"]));
    assert_eq!(gitlab.claims.allowed_groups, ["mycompany", "my/organization"]);
    assert_eq!(gitlab.issuer.issuer, "https://gitlab.com");
    let google = provider(&yaml("google", &["allowed-domains:", "  - example.com"]));
    assert_eq!(google.claims.allowed_domains, ["example.com"]);
    let internal = settings("auth:\n  signup-default-role: ReadOnly\n  internal:\n    enabled: true\n");
    assert!(internal.login.password && internal.providers.is_empty());
}

#[test]
fn variables_say_the_same_as_the_file() {
    let text = "PYROSCOPE_AUTH_GITHUB_ENABLED=true\nPYROSCOPE_AUTH_GITHUB_CLIENT_ID=CLIENT_ID\n\
                PYROSCOPE_AUTH_GITHUB_CLIENT_SECRET=s3cret\nPYROSCOPE_AUTH_GITHUB_ALLOWED_ORGANIZATIONS=a,b\n";
    let compose = "services:\n  pyroscope:\n    environment:\n      - PYROSCOPE_AUTH_GITHUB_ENABLED=true\n      - \
                   PYROSCOPE_AUTH_GITHUB_CLIENT_ID=CLIENT_ID\n      - PYROSCOPE_AUTH_GITHUB_CLIENT_SECRET=s3cret\n      - \
                   PYROSCOPE_AUTH_GITHUB_ALLOWED_ORGANIZATIONS=a,b\n";
    let file = yaml("github", &["allowed-organizations: [a, b]"]);
    let process = text.lines().map(|line| line.split_once('=').unwrap()).map(|(a, b)| (a.into(), b.into()));
    let wanted = draft(&file).render("test");
    assert_eq!(draft(text).render("test"), wanted);
    assert_eq!(draft(compose).render("test"), wanted);
    assert_eq!(import(super::pyroscope::of_process(process), None).render("test"), wanted);
}

#[test]
fn a_provider_counts_where_it_is_enabled() {
    for product in ["google", "github", "gitlab"] {
        provider(&yaml(product, &[]));
        let off = yaml(product, &[]).replace("enabled: true", "enabled: false");
        assert!(settings(&off).providers.is_empty());
        said(&off, RemarkKind::LeftOut, &format!("auth.{product}"), "is not enabled");
    }
}

#[test]
fn client_id_and_client_secret_are_needed() {
    for product in ["google", "github", "gitlab"] {
        let text = yaml(product, &["allowed-groups: [a]"]);
        left_out(&text.replace("client-id: CLIENT_ID", "client-id: ''"), "client-id: is missing");
        left_out(&text.replace("client-secret: s3cret", "x: y"), "client-secret: is missing");
        assert_eq!(provider(&text).client_id, "CLIENT_ID");
        let draft = draft(&text);
        assert_eq!(draft.secret_files()[0].file, format!("{product}-client-secret"));
    }
}

#[test]
fn who_is_let_in_stays_the_same_or_the_provider_is_left_out() {
    left_out(&yaml("google", &["allowed-domains: [\"*.example.com\"]"]), "is not a host name");
    left_out(&yaml("github", &["allowed-organizations: [\"a;b\"]"]), "a group has");
    left_out(&yaml("github", &["allowed-organizations: |", "  a"]), "is written in a way that is not read");
    left_out(&yaml("gitlab", &["allowed-groups: *groups"]), "is written in a way that is not read");
}

#[test]
fn addresses_of_a_server_of_ones_own_tell_its_issuer() {
    let own = [
        "auth-url: https://git.example.com/oauth/authorize",
        "token-url: https://git.example.com/oauth/token",
        "api-url: https://git.example.com/api/v4",
    ];
    assert_eq!(provider(&yaml("gitlab", &own)).issuer.issuer, "https://git.example.com");
    left_out(
        &yaml("gitlab", &own[..2]).replace("git.example.com/oauth/token", "evil.example/oauth/token"),
        "token-url: is not where",
    );
    left_out(
        &yaml("gitlab", &own).replace("git.example.com/api", "evil.example/api"),
        "api-url: is not where",
    );
    let github = [
        "auth-url: https://github.example.com/login/oauth/authorize",
        "token-url: https://github.example.com/login/oauth/access_token",
    ];
    assert_eq!(provider(&yaml("github", &github)).issuer.issuer, "https://github.example.com");
    let google = [
        "auth-url: https://accounts.google.com/o/oauth2/auth",
        "token-url: https://oauth2.googleapis.com/token",
    ];
    assert_eq!(provider(&yaml("google", &google)).issuer.issuer, "https://accounts.google.com");
    left_out(
        &yaml("google", &["auth-url: https://sso.example.com/o/oauth2/auth"]),
        "is no address of Google",
    );
}

#[test]
fn redirect_url_and_base_url_tell_how_browsers_come() {
    let redirect = yaml("github", &["redirect-url: https://pyroscope.example.com/auth/github/callback"]);
    let draft = draft(&redirect);
    assert_eq!(checked(&draft).public_url.to_string(), "https://pyroscope.example.com");
    assert!(draft.render("test").contains("https://pyroscope.example.com/_doorward/callback/github"));
    assert_eq!(checked(&draft).providers[0].callback_path.as_deref(), Some("/auth/github/callback"));
    let config = settings(&format!("base-url: https://example.com/pyroscope\n{redirect}"));
    assert_eq!(config.public_url.to_string(), "https://example.com/pyroscope");
    assert_eq!(config.routes[0].path.as_str(), "/pyroscope");
    assert_eq!(settings("base-url: /profiles/\n").routes[0].path.as_str(), "/profiles");
}

#[test]
fn signup_default_role_makes_nobody_an_admin_who_is_on_no_list() {
    const ROLE: &str = "auth.signup-default-role";
    let with = |role: &str, more: &[&str]| format!("{}  signup-default-role: {role}\n", yaml("github", more));
    let listed = ["allowed-organizations: [a]"];
    assert_eq!(provider(&with("ReadOnly", &listed)).claims.default_role, Role::Viewer);
    assert_eq!(provider(&with("admin", &listed)).claims.default_role, Role::Admin);
    assert_eq!(provider(&with("Admin", &[])).claims.default_role, Role::Viewer);
    said(&with("Admin", &[]), RemarkKind::LeftOut, ROLE, "everybody an admin");
    assert_eq!(provider(&with("Agent", &listed)).claims.default_role, Role::Viewer);
    said(&with("Agent", &[]), RemarkKind::LeftOut, ROLE, "role of programs");
    said(&with("Root", &[]), RemarkKind::LeftOut, ROLE, "none of Admin");
}

#[test]
fn passwords_are_taken_where_they_were() {
    assert!(!settings(&yaml("github", &[])).login.password);
    let both = format!(
        "{}  internal:\n    enabled: true\n    signup-enabled: true\n    admin:\n      name: root\n      email: root@example.com\n      password: s3cret\n",
        yaml("github", &[])
    );
    let config = settings(&both);
    assert!(config.login.password);
    assert_eq!(config.login.admins, [("root".to_owned(), "root@example.com".to_owned())]);
    said(&both, RemarkKind::LeftOut, "auth.internal.signup-enabled", "by themselves");
    said(&both, RemarkKind::LeftOut, "auth.internal.admin.password", "a link");
    let none = both.replace("      name:", "      create: false\n      name:");
    assert!(settings(&none).login.admins.is_empty());
    // Without a provider that works nobody could sign in.
    let broken = yaml("github", &[]).replace("client-id: CLIENT_ID", "x: y");
    assert!(settings(&broken).login.password);
}

#[test]
fn sessions_and_addresses_come_over() {
    let config = settings(
        "auth:\n  login-maximum-lifetime-days: 14\n  cookie-same-site: Strict\napi-bind-addr: :4141\n",
    );
    assert_eq!(config.session.absolute.as_secs(), 14 * 86_400);
    assert_eq!(config.session.cookie_same_site, crate::config::SameSite::Strict);
    assert_eq!(config.upstreams[0].address(), "http://127.0.0.1:4141");
    assert_eq!(
        settings("auth:\n  login-maximum-lifetime-days: 4000\n").session.absolute.as_secs(),
        7 * 86_400
    );
    let url = url::Url::parse("http://pyroscope:4040").unwrap();
    let elsewhere = import(parse("auth.x=1\nA=b").or_else(|_| parse("PYROSCOPE_A=b")).unwrap(), Some(&url));
    assert_eq!(checked(&elsewhere).upstreams[0].address(), "http://pyroscope:4040");
}

#[test]
fn what_has_no_like_says_why() {
    for (text, kind, about, what) in [
        ("auth:\n  jwt-secret: s3cret\n", RemarkKind::LeftOut, "auth.jwt-secret", "a key of its own"),
        (
            "auth:\n  login-maximum-lifetime-days: 0\n",
            RemarkKind::Differs,
            "auth.login-maximum-lifetime-days",
            "always end",
        ),
        (
            "auth:\n  cookie-same-site: None\n",
            RemarkKind::LeftOut,
            "auth.cookie-same-site",
            "`lax` or `strict`",
        ),
        ("auth:\n  cookie-secure: true\n", RemarkKind::Differs, "auth.cookie-secure", "https://"),
        ("auth:\n  api-key-bcrypt-cost: 10\n", RemarkKind::LeftOut, "auth.api-key-bcrypt-cost", "bcrypt"),
        (
            "auth:\n  ingestion:\n    enabled: false\n",
            RemarkKind::ToDo,
            "auth.ingestion.enabled",
            "agents need one",
        ),
        (
            "auth:\n  ingestion:\n    cache-ttl: 1m\n",
            RemarkKind::LeftOut,
            "auth.ingestion.cache-ttl",
            "within a second",
        ),
        (
            "auth:\n  ingestion:\n    cache-size: 1\n",
            RemarkKind::LeftOut,
            "auth.ingestion.cache-size",
            "within a second",
        ),
        (
            "cors:\n  allowed-origins: [a]\n",
            RemarkKind::LeftOut,
            "cors.allowed-origins",
            "stays with Pyroscope",
        ),
        ("tls-key-file: a\n", RemarkKind::LeftOut, "tls-key-file", "ends TLS"),
        ("auth:\n  google:\n    typo: a\n", RemarkKind::LeftOut, "auth.google.typo", "is no setting"),
        ("PYROSCOPE_AUTH_TOKEN=s3cret\n", RemarkKind::LeftOut, "PYROSCOPE_AUTH_TOKEN", "key create"),
        ("PYROSCOPE_STORAGE_PATH=/a\n", RemarkKind::LeftOut, "", "PYROSCOPE_STORAGE_PATH"),
    ] {
        said(text, kind, about, what);
    }
}

#[test]
fn every_setting_is_looked_at() {
    for key in KEYS {
        let variable = format!("PYROSCOPE_{}=x\n", key.to_uppercase().replace(['.', '-'], "_"));
        let draft = draft(&variable);
        let is_forgotten = |text: &str| {
            text.contains("no setting that Pyroscope reads") || text.contains("nothing to do with")
        };
        assert!(!draft.remarks(RemarkKind::LeftOut).any(|remark| is_forgotten(&remark.text)), "{key}");
        drop(checked(&draft));
    }
}
