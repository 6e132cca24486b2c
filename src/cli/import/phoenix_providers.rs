//! What Phoenix's variables for identity providers come to, `PHOENIX_OAUTH2_<IDP>_*`: one table of `[[providers]]` each.

use std::collections::BTreeSet;

use url::Url;

use super::draft::{Block, Draft, RemarkKind, SettingValue};
use super::reading::{NO_FLAG, parse_flag};
use super::variables::Variables;

const PREFIX: &str = "PHOENIX_OAUTH2_";

/// What Phoenix's documentation knows of a provider.
pub(super) const SUFFIXES: [&str; 18] = [
    "DISPLAY_NAME",
    "CLIENT_ID",
    "CLIENT_SECRET",
    "OIDC_CONFIG_URL",
    "ALLOW_SIGN_UP",
    "AUTO_LOGIN",
    "USE_PKCE",
    "TOKEN_ENDPOINT_AUTH_METHOD",
    "CLIENT_ASSERTION_FILE",
    "CLIENT_ASSERTION_FILE_ENV_VAR",
    "SCOPES",
    "EMAIL_ATTRIBUTE_PATH",
    "GROUPS_ATTRIBUTE_PATH",
    "ALLOWED_GROUPS",
    "ROLE_ATTRIBUTE_PATH",
    "ROLE_MAPPING",
    "ROLE_ATTRIBUTE_STRICT",
    "ROLE_RESYNC",
];

const WELL_KNOWN: &str = "/.well-known/openid-configuration";
/// Where Microsoft Entra ID issues tokens: worldwide, for the government of the USA, and in China.
const ENTRA: [&str; 3] =
    ["login.microsoftonline.com", "login.microsoftonline.us", "login.partner.microsoftonline.cn"];
/// Domains of everybody's Okta.
const OKTA: [&str; 4] = [".okta.com", ".oktapreview.com", ".okta-emea.com", ".okta-gov.com"];

/// What a provider's settings depend on beside its own variables.
pub(super) struct Provider<'p> {
    /// `<IDP>`, as it was written.
    pub(super) name: String,
    pub(super) no_passwords: bool,
    /// Whether anybody is invited by an e-mail address.
    pub(super) invites: bool,
    /// How browsers come here, without a slash at the end.
    pub(super) public_url: &'p str,
    /// What stands between that and the paths of Phoenix.
    pub(super) root: &'p str,
}

/// The providers that variables are about.
pub(super) fn names(variables: &Variables) -> BTreeSet<String> {
    let of = |name: &str| {
        let rest = name.strip_prefix(PREFIX)?;
        let idp = SUFFIXES.iter().find_map(|suffix| rest.strip_suffix(suffix)?.strip_suffix('_'))?;
        (!idp.is_empty()).then(|| idp.to_owned())
    };
    variables.names().filter_map(of).collect()
}

/// The variables of one provider, each looked at once.
struct Own<'v> {
    prefix: String,
    variables: &'v mut Variables,
    block: Block,
}

impl Own<'_> {
    fn named(&self, suffix: &str) -> String {
        format!("{}{suffix}", self.prefix)
    }

    fn problem(&mut self, suffix: &str, text: impl AsRef<str>) {
        let name = self.named(suffix);
        self.block.problem(&name, text);
    }

    /// Empty counts as absent, as in Phoenix.
    fn text(&mut self, suffix: &str) -> Option<String> {
        let given = self.variables.take(&self.named(suffix))?;
        match given.value {
            Ok(text) => Some(text.expose().to_owned()).filter(|text| !text.is_empty()),
            Err(why) => {
                self.problem(suffix, why);
                None
            }
        }
    }

    fn flag(&mut self, suffix: &str) -> Option<bool> {
        let given = self.variables.take(&self.named(suffix))?;
        match given.value.map(|text| parse_flag(text.expose())) {
            Ok(Some(flag)) => Some(flag),
            Ok(None) => {
                self.problem(suffix, NO_FLAG);
                None
            }
            Err(why) => {
                self.problem(suffix, why);
                None
            }
        }
    }

    fn set(&mut self, key: &'static str, value: SettingValue, suffix: &str) {
        let name = self.named(suffix);
        self.block.set(key, value, &name);
    }

    fn set_claim(&mut self, key: &'static str, value: SettingValue, suffix: &str) {
        let name = self.named(suffix);
        self.block.set_claim(key, value, &name);
    }
}

/// A table for a provider. Where it cannot be taken over whole, it has problems.
pub(super) fn provider(
    provider: Provider<'_>,
    variables: &mut Variables,
    has_auto_login: &mut bool,
    draft: &mut Draft,
) -> Block {
    let Provider { name: written, no_passwords, invites, public_url, root } = provider;
    let name = written.to_lowercase();
    let mut own = Own { prefix: format!("{PREFIX}{written}_"), variables, block: Block::new("[providers]") };
    if written != written.to_uppercase() {
        own.problem("*", "Phoenix reads these variables in capital letters only");
    }
    let callback = format!("{root}/oauth2/{name}/tokens");
    own.block.comment(format!("Phoenix's redirect URI goes on working: {public_url}{callback}"));
    own.block.comment(format!(
        "Without `callback_path`, register {public_url}/_doorward/callback/{name} instead."
    ));
    own.block.set_text("name", &name, &format!("{PREFIX}{written}_*"));
    own.block.set_text("callback_path", callback, &format!("{PREFIX}{written}_*"));
    let display_name = own.text("DISPLAY_NAME").unwrap_or_else(|| display_name(&name));
    own.set("display_name", SettingValue::Text(display_name), "DISPLAY_NAME");

    let scopes = scopes(&mut own);
    issuer(&mut own, &scopes, draft);
    match own.text("CLIENT_ID") {
        Some(id) => own.set("client_id", SettingValue::Text(id), "CLIENT_ID"),
        None => own.problem("CLIENT_ID", "is missing, and Phoenix does not start without it"),
    }
    credentials(&mut own, &name, draft);
    let further =
        scopes.into_iter().filter(|scope| !["openid", "email", "profile"].contains(&scope.as_str()));
    let further: Vec<String> = further.collect();
    if !further.is_empty() {
        own.set("scopes", SettingValue::Texts(further), "SCOPES");
    }
    // PKCE is always used.
    if own.flag("USE_PKCE") == Some(false) {
        let text = "PKCE is always used; a provider that does not know it takes no notice";
        draft.remark(RemarkKind::Differs, &own.named("USE_PKCE"), text);
    }
    let sign_up = own.flag("ALLOW_SIGN_UP");
    if let Some(allowed) = sign_up {
        own.set("allow_sign_up", SettingValue::Flag(allowed), "ALLOW_SIGN_UP");
    }
    let only_known = sign_up == Some(false);
    if only_known || invites {
        own.block.comment(
            "Who is invited is known by the address, if the claim `email_verified` is true. Where the provider sends none, and \
             nobody can choose an address freely there: trust_email = true",
        );
    }
    if own.flag("AUTO_LOGIN") == Some(true) {
        if !no_passwords {
            let text = "has no effect in Phoenix as long as passwords are taken, so it was not taken over";
            draft.remark(RemarkKind::LeftOut, &own.named("AUTO_LOGIN"), text);
        } else if *has_auto_login {
            own.problem("AUTO_LOGIN", "is true of another provider, too: leave it true for one of them");
        } else {
            *has_auto_login = true;
            own.set("auto_login", SettingValue::Flag(true), "AUTO_LOGIN");
        }
    }
    claims(&mut own, draft);
    own.block
}

fn scopes(own: &mut Own<'_>) -> Vec<String> {
    let mut scopes: Vec<String> = Vec::new();
    for scope in own.text("SCOPES").unwrap_or_default().split_whitespace() {
        if !scopes.iter().any(|known| known == scope) {
            scopes.push(scope.to_owned());
        }
    }
    scopes
}

/// As Phoenix makes it of the provider's name.
fn display_name(name: &str) -> String {
    match name {
        "aws_cognito" => return "AWS Cognito".to_owned(),
        "microsoft_entra_id" => return "Microsoft Entra ID".to_owned(),
        _ => {}
    }
    let mut text = String::new();
    for c in name.replace('_', " ").chars() {
        let begins = !text.ends_with(|before: char| before.is_ascii_alphabetic());
        text.push(if begins { c.to_ascii_uppercase() } else { c });
    }
    text
}

/// The product, and who signs its tokens.
fn issuer(own: &mut Own<'_>, scopes: &[String], draft: &mut Draft) {
    const FROM: &str = "OIDC_CONFIG_URL";
    let set = |own: &mut Own<'_>, key, text: &str| own.set(key, SettingValue::Text(text.to_owned()), FROM);
    let Some(text) = own.text(FROM) else {
        return own.problem(FROM, "is missing, and Phoenix does not start without it");
    };
    let url = Url::parse(&text).ok().filter(Url::has_host);
    let (Some(url), Some(issuer)) = (url, text.strip_suffix(WELL_KNOWN)) else {
        set(own, "discovery_url", &text);
        return own.problem(
            FROM,
            format!("does not end with {WELL_KNOWN}, so it does not tell the issuer: add `issuer` as the document there names it"),
        );
    };
    let host = url.host_str().unwrap_or_default();
    if ENTRA.contains(&host) {
        return entra(own, &url, draft);
    }
    let is_of = |ends: &[&str]| ends.iter().any(|end| host.ends_with(end));
    let has_path = issuer.matches('/').count() > 2;
    let kind = if host == "accounts.google.com" {
        "google"
    } else if host == "gitlab.com" {
        "gitlab"
    } else if is_of(&[".auth0.com"]) {
        "auth0"
    } else if host.starts_with("cognito-idp.") && is_of(&[".amazonaws.com"]) {
        "cognito"
    } else if is_of(&OKTA) && (!has_path || scopes.iter().any(|scope| scope == "groups")) {
        // The type asks for the scope `groups`, which an authorization server of one's own need not know.
        "okta"
    } else if url.path().contains("/realms/") {
        "keycloak"
    } else {
        "oidc"
    };
    if kind != "oidc" {
        set(own, "type", kind);
    }
    if !matches!(kind, "google" | "gitlab") {
        set(own, "issuer", issuer);
    }
}

fn entra(own: &mut Own<'_>, url: &Url, draft: &mut Draft) {
    const FROM: &str = "OIDC_CONFIG_URL";
    own.set("type", SettingValue::Text("entra".into()), FROM);
    let mut segments = url.path_segments().into_iter().flatten();
    let tenant = segments.next().unwrap_or_default().to_owned();
    if segments.next() != Some("v2.0") {
        let text = "is the older endpoint of Microsoft Entra ID; its v2.0 is used";
        draft.remark(RemarkKind::Differs, &own.named(FROM), text);
    }
    if ["common", "organizations", "consumers"].contains(&tenant.as_str()) {
        let text = "lets in every tenant in the world: add `tenants` with the ids of yours";
        return own.problem(FROM, text);
    }
    let is_id = tenant.len() == 36 && tenant.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    if !is_id {
        own.problem(
            FROM,
            "names the tenant by a domain; tokens name it by its id, a UUID, so write that into `tenants`",
        );
    }
    let host = url.host_str().unwrap_or_default();
    if host == ENTRA[0] {
        own.set("tenants", SettingValue::Texts(vec![tenant]), FROM);
    } else {
        own.set("issuer", SettingValue::Text(format!("https://{host}/{tenant}/v2.0")), FROM);
    }
}

fn credentials(own: &mut Own<'_>, name: &str, draft: &mut Draft) {
    const METHOD: &str = "TOKEN_ENDPOINT_AUTH_METHOD";
    let secret = own.variables.take(&own.named("CLIENT_SECRET"));
    let secret = secret.filter(|given| {
        given.value.as_ref().is_ok_and(|text| !text.expose().is_empty()) || given.value.is_err()
    });
    let (direct, indirect) = (own.text("CLIENT_ASSERTION_FILE"), own.text("CLIENT_ASSERTION_FILE_ENV_VAR"));
    let method = own.text(METHOD).map(|method| method.to_lowercase());
    let method = method.as_deref().unwrap_or("client_secret_basic");
    match method {
        "client_secret_basic" | "client_secret_post" => {
            if method != "client_secret_basic" {
                own.set("token_auth", SettingValue::Text(method.to_owned()), METHOD);
            }
            match secret {
                Some(given) => {
                    let file = format!("{}-client-secret", name.replace('_', "-"));
                    let value = SettingValue::SecretFile { file, secret: given.value.ok() };
                    own.set("client_secret_file", value, "CLIENT_SECRET");
                }
                None => own.problem("CLIENT_SECRET", "is missing, and Phoenix does not start without it"),
            }
            return;
        }
        "none" => own.set("token_auth", SettingValue::Text("none".into()), METHOD),
        "client_assertion_jwt" => {
            own.set("token_auth", SettingValue::Text("client_assertion".into()), METHOD);
            assertion(own, direct, indirect.as_deref());
        }
        _ => own.problem(
            METHOD,
            "is none of client_secret_basic, client_secret_post, none and client_assertion_jwt",
        ),
    }
    if secret.is_some() {
        let text = "is not used with this method of authentication, and was left out";
        draft.remark(RemarkKind::LeftOut, &own.named("CLIENT_SECRET"), text);
    }
}

/// The file with a client assertion, by its name or by that of a variable that has it.
fn assertion(own: &mut Own<'_>, direct: Option<String>, indirect: Option<&str>) {
    const DIRECT: &str = "CLIENT_ASSERTION_FILE";
    const INDIRECT: &str = "CLIENT_ASSERTION_FILE_ENV_VAR";
    match (direct, indirect) {
        (Some(_), Some(_)) => {
            own.problem(INDIRECT, "is set beside CLIENT_ASSERTION_FILE, and Phoenix takes one of them only");
        }
        (None, None) => own.problem(DIRECT, "is missing, and Phoenix does not start without it"),
        (Some(file), None) if !file.starts_with('/') => own.problem(DIRECT, "is no absolute path"),
        (Some(file), None) => own.set("client_assertion_file", SettingValue::Text(file), DIRECT),
        // The variable may be any of the process, so its value is not printed.
        (None, Some(_)) => {
            own.set("client_assertion_file", SettingValue::Text("/path/to/the/token".into()), INDIRECT);
            own.problem(INDIRECT, "names a variable of Phoenix's process: write the path that it has into `client_assertion_file`");
        }
    }
}

/// What claims come to.
fn claims(own: &mut Own<'_>, draft: &mut Draft) {
    if let Some(path) = own.text("EMAIL_ATTRIBUTE_PATH").filter(|path| path != "email") {
        own.set_claim("email", SettingValue::Text(path), "EMAIL_ATTRIBUTE_PATH");
    }
    let has_groups = own.text("GROUPS_ATTRIBUTE_PATH").map(|path| {
        own.set_claim("groups", SettingValue::Text(path), "GROUPS_ATTRIBUTE_PATH");
    });
    let allowed = own.text("ALLOWED_GROUPS");
    let mut groups: Vec<String> = Vec::new();
    for group in allowed.iter().flat_map(|list| list.split(',')).map(str::trim) {
        if !group.is_empty() && !groups.iter().any(|known| known == group) {
            groups.push(group.to_owned());
        }
    }
    if let ([only], true) = (groups.as_slice(), has_groups.is_some())
        && only.contains(' ')
    {
        let text = "is one group with blanks in its name, as Phoenix reads it: commas separate groups";
        draft.remark(RemarkKind::Differs, &own.named("ALLOWED_GROUPS"), text);
    }
    match (has_groups.is_some(), groups.is_empty()) {
        (false, false) => {
            own.problem("ALLOWED_GROUPS", "says who is let in, but there is no GROUPS_ATTRIBUTE_PATH");
        }
        (true, true) => own.problem(
            "GROUPS_ATTRIBUTE_PATH",
            "is set without ALLOWED_GROUPS, and so Phoenix does not start: take it out, or add `allowed_groups`",
        ),
        _ => {}
    }
    if !groups.is_empty() {
        own.set_claim("allowed_groups", SettingValue::Texts(groups), "ALLOWED_GROUPS");
    }
    role(own);
}

fn role(own: &mut Own<'_>) {
    if let Some(path) = own.text("ROLE_ATTRIBUTE_PATH") {
        own.set_claim("role", SettingValue::Text(path), "ROLE_ATTRIBUTE_PATH");
    }
    let mut mapping: Vec<(String, String)> = Vec::new();
    for pair in
        own.text("ROLE_MAPPING").unwrap_or_default().split(',').map(str::trim).filter(|pair| !pair.is_empty())
    {
        let pair = pair.split_once(':').map(|(word, role)| (word.trim(), role.trim().to_lowercase()));
        match pair {
            Some((word, role))
                if !word.is_empty() && ["admin", "member", "viewer"].contains(&role.as_str()) =>
            {
                mapping.retain(|(known, _)| known != word);
                mapping.push((word.to_owned(), role));
            }
            _ => own.problem(
                "ROLE_MAPPING",
                "has an entry that is not WORD:ROLE with one of ADMIN, MEMBER and VIEWER",
            ),
        }
    }
    if !mapping.is_empty() {
        own.set_claim("role_mapping", SettingValue::Words(mapping), "ROLE_MAPPING");
    }
    if own.flag("ROLE_ATTRIBUTE_STRICT") == Some(true) {
        own.set_claim("role_strict", SettingValue::Flag(true), "ROLE_ATTRIBUTE_STRICT");
    }
    if own.flag("ROLE_RESYNC") == Some(false) {
        own.set_claim("role_resync", SettingValue::Flag(false), "ROLE_RESYNC");
    }
}
