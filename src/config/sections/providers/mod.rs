//! `[[providers]]`: who else says who somebody is.

mod credentials;
mod directory;
mod issuer;
mod kind;
mod overlap;
mod values;

use std::path::PathBuf;
use std::time::Duration;

use url::Url;

pub use self::credentials::ClientCredentials;
use self::directory::GroupOverage;
pub use self::directory::{DirectoryConfig, GoogleDirectoryConfig, GraphConfig, GraphGroups};
pub use self::issuer::IssuerConfig;
pub use self::kind::ProviderKind;
use self::kind::ProviderPreset;
use self::values::{
    AuthorizeParameters, CallbackPath, FileName, PlainWord, ProviderUrl, TokenAuth, UrlName, VisibleText,
};
pub use self::values::{LogoutScope, Prompt, SigningAlgorithm};
use crate::config::reading::{
    CertificateFile, HostName, KeyFile, Required, Section, SettingsReader, Span, section,
};
use crate::config::sections::claims::{ClaimMapping, claims_rules};
use crate::config::sections::general::{CheckSection, General};
use crate::model::principal::IdentitySource;
use crate::model::secret::Secret;
use crate::policy::claims::{ClaimsRules, SubjectKind};

const DAY: u64 = 24 * 60 * 60;

section! {
    /// A provider that people sign in with, by OpenID Connect. `doorward check` prints the redirect URI to register there, and
    /// `doorward claims` tries how its claims are read.
    Provider {
        /// Unique name, which stands in URLs and logs.
        name: Required<UrlName>, r#""sso""#;
        /// What its button says. By default the name of the product, or `name`.
        display_name: Option<VisibleText>, r#""Example SSO""#;
        /// The product, of which scopes, claims and, where it is everybody's, the issuer are known; `oidc` for any other.
        kind or type: ProviderKind = r#""oidc""#, r#""keycloak""#;
        /// The issuer, exactly as its tokens name it. Not needed for `google`, `gitlab` and `github` except for servers of one's
        /// own, and not for `entra` with `tenants`.
        issuer: Option<ProviderUrl>, r#""https://sso.example.com/realms/example""#;
        /// Where discovery is read if not below the issuer, such as an inner address of the same provider. The issuer that it
        /// names must be the configured one all the same.
        discovery_url: Option<ProviderUrl>, r#""http://keycloak:8080/realms/example/.well-known/openid-configuration""#;
        /// Inner hosts of the provider that the gateway may call, also by plain http. Browsers are never sent there.
        allowed_hosts: Vec<HostName> = "[]", r#"["keycloak"]"#;
        /// PEM file of authorities to trust for its addresses, instead of the system's.
        ca_file: Option<CertificateFile>, r#""ca.crt""#;
        /// What the provider calls the gateway.
        client_id: Required<VisibleText>, r#""doorward""#;
        /// The secret that it gave the gateway.
        client_secret: Option<Secret>, r#""<what the provider shows>""#;
        /// How the gateway says who it is at the token endpoint; `github` knows `client_secret_post` alone, which is its default.
        token_auth: TokenAuth = r#""client_secret_basic""#, r#""private_key_jwt""#;
        /// PEM file of the key for `private_key_jwt`.
        private_key_file: Option<KeyFile>, r#""client.key""#;
        /// File with the statement for `client_assertion`, read each time it is needed.
        client_assertion_file: Option<FileName>, r#""/var/run/secrets/tokens/sso""#;
        /// Further scopes beside those that the type asks for: `openid`, `email`, `profile`, and `groups` of Okta; `read:user`,
        /// `user:email` and `read:org` of GitHub; and what reading groups needs of Microsoft Graph and of GitLab's API.
        scopes: Vec<PlainWord> = "[]", r#"["groups"]"#;
        /// How ID tokens may be signed, whatever the provider announces.
        algorithms: Vec<SigningAlgorithm> = r#"["RS256"]"#, r#"["RS256", "ES256"]"#;
        /// What the provider asks people even if they are signed in there.
        prompt: Vec<Prompt> = "[]", r#"["select_account"]"#;
        /// Whether `login_hint` of a link to the sign-in page is passed on.
        login_hint: bool = "false", "true";
        /// How long ago somebody may have signed in at the provider.
        max_age: Option<Span<1, { 30 * DAY }>>, r#""12h""#;
        /// Authentication context classes, the most wanted first.
        acr_values: Vec<PlainWord> = "[]", r#"["urn:example:mfa"]"#;
        /// Further parameters of the authorisation request.
        authorize_parameters: AuthorizeParameters = "{}", r#"{ domain_hint = "example.com" }"#;
        /// Whether people without an account here get one at their first sign-in. By default they do; but at `google`, `github` and
        /// gitlab.com, where everybody has an account, only with `allowed_groups`, `allowed_domains` or `hosted_domains`.
        allow_sign_up: Option<bool>, "false";
        /// Whether its e-mail addresses count as verified although no claim says so. Only where nobody can choose an address
        /// freely: whoever could would be taken for its owner.
        trust_email: bool = "false", "true";
        /// Domains of e-mail addresses that are let in. The address must be verified. By default every domain is.
        allowed_domains: Vec<HostName> = "[]", r#"["example.com"]"#;
        /// The claim that identifies somebody, together with the issuer. By default `sub`, for `entra` `oid`. For `github` it is always
        /// `id`.
        subject_claim: Option<PlainWord>, r#""oid""#;
        /// Tenants of Microsoft Entra ID that are let in. With one, the issuer follows from it.
        tenants: Vec<PlainWord> = "[]", r#"["11111111-2222-3333-4444-555555555555"]"#;
        /// Where the groups of somebody are read whom Microsoft Entra ID sends without them because they are too many: from Microsoft
        /// Graph with groups that are members of groups (`transitive`), without those (`direct`), only groups that are assigned to the
        /// application (`application`), or nowhere (`ignore`).
        group_overage: GroupOverage = r#""transitive""#, r#""direct""#;
        /// Object ID of the enterprise application in Microsoft Entra ID, for `group_overage = "application"`.
        application_object_id: Option<PlainWord>, r#""22222222-3333-4444-5555-666666666666""#;
        /// Where Microsoft Graph is. By default it follows from the issuer's cloud.
        graph_url: Option<ProviderUrl>, r#""https://dod-graph.microsoft.us""#;
        /// Domains of Google Workspace or Cloud Identity that are let in, by the claim `hd`. By default it is not looked at;
        /// who may sign up then is said by `allow_sign_up`.
        hosted_domains: Vec<HostName> = "[]", r#"["example.com"]"#;
        /// Key of a service account, as Google hands it out (JSON), with which groups of Google Workspace are read from its directory.
        service_account: Option<Secret>, r#""<the key as JSON>""#;
        /// E-mail address of the administrator in whose name the service account reads groups (domain-wide delegation). Without it
        /// the service account needs the role Groups Reader itself.
        directory_admin: Option<PlainWord>, r#""admin@example.com""#;
        /// Whether groups of Google Workspace count that have one of somebody's groups as a member.
        nested_groups: bool = "false", "true";
        /// Whether groups of GitLab are read from its API as well, which knows those that were invited into others.
        groups_api: bool = "false", "true";
        /// Where browsers come back to, counted from the public URL, instead of `/_doorward/callback/NAME`: a path that is registered
        /// at the provider already, such as oauth2-proxy's or Phoenix's. At the public host no application gets requests for it any
        /// more. Providers may share one if each names itself in its responses (RFC 9207).
        callback_path: Option<CallbackPath>, r#""/oauth2/callback""#;
        /// Whether the sign-in page goes straight to this provider. One of them at most.
        auto_login: bool = "false", "true";
        /// Whether people who sign out here are signed out at the provider too, where it has an address for that. Register
        /// `<public_url>/_doorward/signed-out` there as where they come back to.
        logout: LogoutScope = r#""provider""#, r#""local""#;
        /// Where people sign out at the provider, if its discovery does not say it.
        logout_url: Option<ProviderUrl>, r#""https://example.eu.auth0.com/oidc/logout""#;
        /// Whether sessions are refreshed: in the background, each that is in use learns from the provider, before what was
        /// said last expires, whether its user may still be here and with which groups and role. It needs a refresh token, for
        /// which most providers want the scope `offline_access`.
        refresh: bool = "true", "false";
        /// How long sessions go on after the first refresh that failed for what may pass, such as a provider that is down. Then
        /// they end. `0s` ends them at once.
        outage_grace: Span<0, DAY> = r#""1h""#, r#""10m""#;
        /// What its claims come to.
        claims: ClaimMapping = "{}", r#"{ groups = "groups" }"#;
    }
}

/// A provider that people sign in with.
#[derive(Clone, Debug)]
pub struct ProviderConfig {
    /// Unique; of a-z, 0-9, `_` and `-`.
    pub name: String,
    /// What its button says.
    pub display_name: String,
    /// Product.
    pub kind: ProviderKind,
    /// Who signs its tokens, and where that is found out.
    pub issuer: IssuerConfig,
    /// PEM file of authorities to trust, instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// What the provider calls the gateway.
    pub client_id: String,
    /// How the gateway proves that.
    pub credentials: ClientCredentials,
    /// All of them, without duplicates.
    pub scopes: Vec<String>,
    /// At least one.
    pub algorithms: Vec<SigningAlgorithm>,
    /// What the provider asks people; empty: what it likes.
    pub prompt: Vec<Prompt>,
    /// Whether `login_hint` is passed on.
    pub login_hint: bool,
    /// How long ago somebody may have signed in there.
    pub max_age: Option<Duration>,
    /// Authentication context classes.
    pub acr_values: Vec<String>,
    /// Further parameters of the authorisation request; none of the protocol's own.
    pub authorize_parameters: Vec<(String, String)>,
    /// Whether people without an account get one.
    pub allow_sign_up: bool,
    /// The claim that identifies somebody.
    pub subject_claim: String,
    /// Where browsers come back to, counted from the public URL, if not where they usually do.
    pub callback_path: Option<String>,
    /// Whether the sign-in page goes straight there; true of one provider at most.
    pub auto_login: bool,
    /// How far signing out goes.
    pub logout: LogoutScope,
    /// Where people sign out, in the place of what discovery says.
    pub logout_url: Option<Url>,
    /// How sessions are refreshed; `None`: they are not.
    pub refresh: Option<RefreshConfig>,
    /// Domains of which the claim `hd` must be one, in lower case; empty: none is asked for.
    pub hosted_domains: Vec<String>,
    /// Where groups are read that no token holds.
    pub directory: Option<DirectoryConfig>,
    /// What its claims come to.
    pub claims: ClaimsRules,
}

/// How sessions of a provider are refreshed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefreshConfig {
    /// How long sessions go on while refreshes fail.
    pub outage_grace: Duration,
}

impl CheckSection for Vec<Provider> {
    type Typed = Vec<ProviderConfig>;

    fn check(self, _: &General, reader: &mut SettingsReader) -> Self::Typed {
        let mut providers: Vec<ProviderConfig> = Vec::new();
        for written in self {
            let (name_at, auto_at) = (written.at("name"), written.at("auto_login"));
            let callback_at = written.at("callback_path");
            let location = written.location().to_owned();
            let Some(provider) = provider(written, reader) else { continue };
            if providers.iter().any(|other| other.name == provider.name) {
                let what = format!("`{}` is the name of an earlier one", provider.name);
                reader.problem(&name_at, what, "give each provider a name of its own");
            }
            if !matches!(IdentitySource::named(&provider.name), IdentitySource::Provider(_)) {
                let name = &provider.name;
                let what = format!(
                    "`{name}` is taken: rules mean others by `provider:{name}`, whom no provider vouches for"
                );
                reader.problem(&name_at, what, "write another name, such as \"sso\"");
            }
            if provider.auto_login && providers.iter().any(|other| other.auto_login) {
                let remedy = "leave it true for one of them";
                reader.problem(&auto_at, "is true of an earlier one, too", remedy);
            }
            let path = provider.callback_path.as_ref();
            let is_shared = |other: &ProviderConfig| path.is_some() && other.callback_path.as_ref() == path;
            let is_github = |provider: &ProviderConfig| provider.kind == ProviderKind::Github;
            if providers.iter().any(|other| is_shared(other) && (is_github(other) || is_github(&provider))) {
                let what = "is that of another one, and GitHub's responses do not say that they are GitHub's";
                reader.problem(&callback_at, what, "give each a path of its own, or leave it out");
            }
            overlap::check(&provider, &providers, &location, reader);
            providers.push(provider);
        }
        providers
    }
}

impl Provider {
    /// Its name, unless it has none that fits.
    pub(in crate::config) fn name(&self) -> Option<&str> {
        self.name.0.as_ref().map(|name| name.0.as_str())
    }
}

/// `None` where a problem was noted.
fn provider(written: Provider, reader: &mut SettingsReader) -> Option<ProviderConfig> {
    let preset = written.kind.preset();
    let issuer = issuer::issuer(&written, &preset, reader);
    let directory = directory::directory(&written, issuer.as_ref(), reader);
    let credentials = credentials::credentials(&written, &preset, reader);
    if written.algorithms.is_empty() && !reader.is_broken(&written.at("algorithms")) {
        let remedy = "write for example [\"RS256\"]";
        reader.problem(&written.at("algorithms"), "is empty, so no ID token could be accepted", remedy);
    }
    check_github(&written, reader);
    if let Some(address) = &written.logout_url {
        issuer::check_reach(&written, "logout_url", &address.url, reader);
    }
    let sign_up_at = written.at("allow_sign_up");
    let usual = directory::usual_claims(directory.as_ref(), preset.claims);
    let claims = claims_rules(written.claims, SubjectKind::People, usual, reader);
    let claims = ClaimsRules {
        trust_email: written.trust_email,
        allowed_domains: written.allowed_domains.into_iter().map(|domain| domain.0).collect(),
        ..claims
    };
    let issuer = issuer?;
    let is_open = preset.issuer == Some(issuer.issuer.as_str())
        && claims.allowed_groups.is_empty()
        && claims.allowed_domains.is_empty()
        && written.hosted_domains.is_empty();
    if is_open && written.allow_sign_up.is_none() {
        let what = format!(
            "is not set, and everybody has an account at {}: only invited people are let in. Name `allowed_groups` or \
             `allowed_domains`, or write `allow_sign_up = true` for everybody, `false` for invited people",
            preset.display_name
        );
        reader.warn(&sign_up_at, what);
    }
    let allow_sign_up = written.allow_sign_up.unwrap_or(!is_open);
    let name = written.name.0?.0;
    let display_name = match written.display_name {
        Some(text) => text.0,
        None if preset.display_name.is_empty() => name.clone(),
        None => preset.display_name.to_owned(),
    };
    Some(ProviderConfig {
        display_name,
        kind: written.kind,
        issuer,
        ca_file: written.ca_file.map(|file| file.0),
        client_id: written.client_id.0?.0,
        credentials: credentials?,
        scopes: scopes(&preset, directory.as_ref(), written.scopes),
        algorithms: written.algorithms,
        prompt: written.prompt,
        login_hint: written.login_hint,
        max_age: written.max_age.map(|span| span.0),
        acr_values: written.acr_values.into_iter().map(|value| value.0).collect(),
        authorize_parameters: written.authorize_parameters.0,
        allow_sign_up,
        subject_claim: written.subject_claim.map_or_else(|| preset.subject_claim.to_owned(), |claim| claim.0),
        callback_path: written.callback_path.map(|path| path.0),
        auto_login: written.auto_login,
        logout: written.logout,
        logout_url: written.logout_url.map(|address| address.url),
        refresh: written.refresh.then_some(RefreshConfig { outage_grace: written.outage_grace.0 }),
        hosted_domains: written.hosted_domains.into_iter().map(|domain| domain.0).collect(),
        directory,
        claims,
        name,
    })
}

/// GitHub has neither discovery nor ID tokens, and asks people to choose an account and nothing else.
fn check_github(written: &Provider, reader: &mut SettingsReader) {
    if written.kind != ProviderKind::Github {
        return;
    }
    for name in
        ["discovery_url", "algorithms", "subject_claim", "max_age", "acr_values", "logout", "logout_url"]
    {
        if reader.is_set(&written.at(name)) {
            let what = "has no effect: GitHub does not speak OpenID Connect";
            reader.problem(&written.at(name), what, "leave it out");
        }
    }
    if written.prompt.iter().any(|prompt| *prompt != Prompt::SelectAccount) {
        let remedy = "write `prompt = \"select_account\"`, or leave it out";
        reader.problem(&written.at("prompt"), "is nothing that GitHub asks people", remedy);
    }
}

/// What the type asks for, what reading groups needs, and further ones.
fn scopes(
    preset: &ProviderPreset,
    directory: Option<&DirectoryConfig>,
    further: Vec<PlainWord>,
) -> Vec<String> {
    let needed = directory.into_iter().flat_map(DirectoryConfig::scopes);
    let mut scopes: Vec<String> =
        preset.scopes.iter().chain(needed).map(|scope| (*scope).to_owned()).collect();
    for PlainWord(scope) in further {
        if !scopes.contains(&scope) {
            scopes.push(scope);
        }
    }
    scopes
}
