//! What Arize Phoenix's variables come to: its accounts, sessions and addresses. Its providers are in `phoenix_providers.rs`.

use url::Url;

use super::draft::{Block, Draft, RemarkKind, SettingValue};
use super::phoenix_providers::{self, Provider};
use super::reading::{brief, flag, text};
use super::variables::Variables;
use crate::model::user::{check_email, check_name, may_begin_username};

/// How every variable of Phoenix begins.
pub(super) const PREFIX: &str = "PHOENIX_";
const PROVIDERS: &str = "PHOENIX_OAUTH2_";

/// Why variables that are about access have no counterpart, by how they begin. The first that fits counts.
const LEFT_OUT: [(&str, &str); 18] = [
    ("PHOENIX_SECRET", "signs Phoenix's own tokens; the gateway draws a key of its own (`secret`)"),
    (
        "PHOENIX_ACCESS_TOKEN_EXPIRY_MINUTES",
        "there are no access tokens: a session is looked up, and its end counts within a second",
    ),
    (
        "PHOENIX_PASSWORD_RESET_TOKEN_EXPIRY_MINUTES",
        "no mail is sent; an admin resets a password (`doorward user reset-password`)",
    ),
    (
        "PHOENIX_ENABLE_STRONG_PASSWORD_POLICY",
        "passwords always have 12 characters at least and are no common ones (docs/passwords.md)",
    ),
    ("PHOENIX_DISABLE_RATE_LIMIT", "failed sign-ins always slow down"),
    ("PHOENIX_DISABLE_BRUTE_FORCE_LOGIN_PROTECTION", "failed sign-ins always slow down"),
    (
        "PHOENIX_BRUTE_FORCE_LOGIN_PROTECTION_MAX_ATTEMPTS",
        "failed sign-ins slow down, and nobody is locked out by others",
    ),
    (
        "PHOENIX_LDAP_",
        "people do not sign in by LDAP here; a provider in front of the directory, such as Keycloak or Dex, does it",
    ),
    ("PHOENIX_SMTP_", "the gateway sends no mail"),
    ("PHOENIX_ENABLE_OAUTH2_AUTHORIZATION_SERVER", NO_SERVER),
    ("PHOENIX_OAUTH2_GRANT_EXPIRY_DAYS", NO_SERVER),
    ("PHOENIX_OAUTH2_CONSENT_ORIGIN_CHECK", NO_SERVER),
    ("PHOENIX_OAUTH2_DYNAMIC_CLIENT_REGISTRATION", NO_SERVER),
    ("PHOENIX_OAUTH2_ALLOWED_REDIRECT_HOSTS", NO_SERVER),
    ("PHOENIX_OAUTH2_DCR_RATE_LIMIT_PER_HOUR", NO_SERVER),
    (
        "PHOENIX_TLS_",
        "the gateway ends TLS (`server.tls`); start Phoenix without it, where only the gateway reaches it",
    ),
    ("PHOENIX_MANAGEMENT_URL", "Phoenix shows this link to its own admins only, and has none then"),
    ("PHOENIX_API_KEY", "keys of Phoenix are worth nothing here: `doorward key create` makes others"),
];
const NO_SERVER: &str =
    "the gateway gives programs keys (`doorward key create`); it is no authorization server";

/// Makes settings of variables.
pub(super) fn import(mut variables: Variables, upstream: Option<&Url>) -> Draft {
    let mut draft = Draft::new();
    let variables = &mut variables;
    let public_url = text(variables, "PHOENIX_ROOT_URL", &mut draft);
    let root_path = text(variables, "PHOENIX_HOST_ROOT_PATH", &mut draft).filter(|path| path != "/");
    let has_auth = flag(variables, "PHOENIX_ENABLE_AUTH", &mut draft);
    let no_passwords = flag(variables, "PHOENIX_DISABLE_BASIC_AUTH", &mut draft) == Some(true);
    let mut top = Block::new("");
    if let Some(url) = &public_url {
        top.set_text("public_url", url, "PHOENIX_ROOT_URL");
    }
    draft.add(top);
    server(variables, &mut draft);
    session(variables, public_url.as_deref(), &mut draft);
    let invites = login(variables, no_passwords, &mut draft);
    admin_secret(variables, &mut draft);

    let at = public_url.as_deref().unwrap_or("PUBLIC_URL").trim_end_matches('/').to_owned();
    // The URL should end with the root path; where it does not, Phoenix's own paths have it all the same.
    let root = root_path.as_deref().filter(|root| !at.ends_with(root)).unwrap_or_default();
    let mut has_auto_login = false;
    for name in phoenix_providers::names(variables) {
        let provider = Provider { name, no_passwords, invites, public_url: &at, root };
        let block = phoenix_providers::provider(provider, variables, &mut has_auto_login, &mut draft);
        draft.add(block);
    }
    application(variables, upstream, root_path.as_deref(), &mut draft);
    rest(variables, &mut draft);

    draft.remark(
        RemarkKind::ToDo,
        if has_auth.is_some() { "PHOENIX_ENABLE_AUTH" } else { "" },
        match has_auth {
            Some(true) => "unset it and start Phoenix where only the gateway reaches it, its gRPC port too (docs/presets/phoenix.md)",
            _ => "Phoenix let everybody in; with these settings everybody signs in, and programs need keys",
        },
    );
    draft.remark(
        RemarkKind::ToDo,
        "",
        "make keys for programs that send traces: `doorward key create NAME --role agent`; those of Phoenix end",
    );
    draft.remark(
        RemarkKind::Differs,
        "",
        "accounts of Phoenix's database are not moved: people of a provider get theirs at their first sign-in, unless `check` \
         warns that only invited people do, others by `doorward user add` (docs/migrating.md)",
    );
    draft.check();
    if no_passwords && draft.count("providers").0 == 0 {
        draft.withdraw("login", "password", "without a provider nobody could sign in any more");
    }
    draft
}

fn server(variables: &mut Variables, draft: &mut Draft) {
    const TRUSTED: &str = "PHOENIX_CSRF_TRUSTED_ORIGINS";
    let Some(list) = text(variables, TRUSTED, draft) else { return };
    let mut origins: Vec<String> = Vec::new();
    for origin in list.split(',').map(str::trim).filter(|origin| !origin.is_empty()) {
        let url = Url::parse(origin)
            .ok()
            .filter(|url| url.has_host() && url.path() == "/" && url.query().is_none());
        match url.map(|url| url.origin().ascii_serialization()) {
            Some(origin) if origin.starts_with("http") => origins.push(origin),
            _ => draft.remark(
                RemarkKind::LeftOut,
                TRUSTED,
                "an entry is no origin such as https://app.example.com",
            ),
        }
    }
    let mut server = Block::new("server");
    if !origins.is_empty() {
        server.comment("The origin of the public URL need not be named. Scheme and port count here, too.");
        server.set("trusted_origins", SettingValue::Texts(origins), TRUSTED);
    }
    draft.add(server);
}

fn session(variables: &mut Variables, public_url: Option<&str>, draft: &mut Draft) {
    const IDLE: &str = "PHOENIX_REFRESH_TOKEN_EXPIRY_MINUTES";
    const WEEK: u64 = 7 * 24 * 60 * 60;
    let mut session = Block::new("session");
    if let Some(minutes) = text(variables, IDLE, draft) {
        match minutes.parse::<f64>().ok().filter(|minutes| *minutes > 0.0 && *minutes <= 1e7) {
            Some(minutes) => {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "between 0 and 600 million"
                )]
                let seconds = (minutes * 60.0) as u64;
                session.comment(
                    "Phoenix's sessions live on as long as they are used; here each also has an end.",
                );
                session.set_text("idle", brief(seconds), IDLE);
                if seconds > WEEK {
                    session.set_text("absolute", brief(seconds), IDLE);
                }
            }
            None => draft.remark(RemarkKind::LeftOut, IDLE, "is no number of minutes"),
        }
    }
    draft.add(session);
    let is_secure = public_url.is_some_and(|url| url.starts_with("https://"));
    if flag(variables, "PHOENIX_USE_SECURE_COOKIES", draft) == Some(true) && !is_secure {
        let text =
            "cookies are secure where `public_url` begins with https://, so say there how browsers come";
        draft.remark(RemarkKind::ToDo, "PHOENIX_USE_SECURE_COOKIES", text);
    }
    if text(variables, "PHOENIX_COOKIES_PATH", draft).is_some_and(|path| path != "/") {
        let text = "the session cookie is for the whole host (`__Host-`): give gateways hosts of their own";
        draft.remark(RemarkKind::Differs, "PHOENIX_COOKIES_PATH", text);
    }
}

/// Whether anybody is invited by an e-mail address.
fn login(variables: &mut Variables, no_passwords: bool, draft: &mut Draft) -> bool {
    const ADMINS: &str = "PHOENIX_ADMINS";
    const PASSWORD: &str = "PHOENIX_DEFAULT_ADMIN_INITIAL_PASSWORD";
    let mut login = Block::new("login");
    if no_passwords {
        login.set("password", SettingValue::Flag(false), "PHOENIX_DISABLE_BASIC_AUTH");
    }
    let mut admins: Vec<String> = Vec::new();
    for entry in text(variables, ADMINS, draft).unwrap_or_default().split(';').map(str::trim) {
        // The last `=` counts, since Phoenix's names may have one.
        match entry.rsplit_once('=').map(|(name, email)| (name.trim(), email.trim().to_lowercase())) {
            _ if entry.is_empty() => {}
            Some((written, email)) if check_email(&email).is_ok() && !username(written).is_empty() => {
                let name = username(written);
                if name != written {
                    let text = "usernames have no blanks and commas here: they are replaced by `-`";
                    draft.remark(RemarkKind::Differs, ADMINS, text);
                }
                admins.push(format!("{name}={email}"));
            }
            _ => draft.remark(RemarkKind::LeftOut, ADMINS, "an entry is not name=email"),
        }
    }
    let invites = !admins.is_empty();
    if invites {
        login.comment("Each start prints a link for those who cannot sign in yet; a provider's verified address is enough, too.");
        login.set("admins", SettingValue::Texts(admins), ADMINS);
    }
    if let Some(given) = variables.take(PASSWORD) {
        let value = SettingValue::SecretFile { file: "admin-password".into(), secret: given.value.ok() };
        login.comment("The password of the first admin counts only while there is nobody.");
        login.set("admin_password_file", value, PASSWORD);
    }
    draft.add(login);
    invites
}

/// A name that somebody can have here.
fn username(written: &str) -> String {
    let fits = |c: char| check_name(c.encode_utf8(&mut [0; 4])).is_ok() && c != '=';
    let parts: Vec<String> =
        written.split(|c| !fits(c)).filter(|part| !part.is_empty()).map(str::to_owned).collect();
    parts.join("-").chars().skip_while(|c| !may_begin_username(*c)).take(128).collect()
}

fn admin_secret(variables: &mut Variables, draft: &mut Draft) {
    const NAME: &str = "PHOENIX_ADMIN_SECRET";
    let Some(given) = variables.take(NAME) else { return };
    let mut token = Block::new("[break_glass]");
    token.comment("Whoever sends this token is an admin, and each use is logged as a warning. Programs had better have keys.");
    token.set_text("name", "phoenix-admin-secret", NAME);
    let value = SettingValue::SecretFile { file: "phoenix-admin-secret".into(), secret: given.value.ok() };
    token.set("token_file", value, NAME);
    draft.add(token);
}

/// Phoenix itself, and who may do what in it.
fn application(
    variables: &mut Variables,
    upstream: Option<&Url>,
    root_path: Option<&str>,
    draft: &mut Draft,
) {
    let host = text(variables, "PHOENIX_HOST", draft)
        .filter(|host| !matches!(host.as_str(), "0.0.0.0" | "::" | "localhost"))
        .unwrap_or_else(|| "127.0.0.1".to_owned());
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    let port = text(variables, "PHOENIX_PORT", draft).unwrap_or_else(|| "6006".to_owned());
    let grpc_port = text(variables, "PHOENIX_GRPC_PORT", draft).unwrap_or_else(|| "4317".to_owned());
    let (url, host) = match upstream {
        Some(url) => {
            (url.as_str().trim_end_matches('/').to_owned(), url.host_str().unwrap_or("127.0.0.1").to_owned())
        }
        None => (format!("http://{host}:{port}"), host),
    };
    let mut http = Block::new("[upstreams]");
    http.set_text("name", "phoenix", "");
    http.set_text("url", url, "PHOENIX_PORT");
    draft.add(http);
    let mut grpc = Block::new("[upstreams]");
    grpc.set_text("name", "phoenix-grpc", "");
    grpc.set_text("url", format!("h2c://{host}:{grpc_port}"), "PHOENIX_GRPC_PORT");
    draft.add(grpc);
    let mut traces = Block::new("[routes]");
    traces.set_text("upstream", "phoenix-grpc", "");
    traces.set_text("path", "/opentelemetry.proto.collector.trace.v1.TraceService", "");
    traces.set_text("preset", "phoenix", "");
    draft.add(traces);
    let mut all = Block::new("[routes]");
    all.set_text("upstream", "phoenix", "");
    if let Some(path) = root_path {
        all.comment("Phoenix has the prefix in its links and wants none in requests.");
        all.set_text("path", path, "PHOENIX_HOST_ROOT_PATH");
        all.set_text("strip_prefix", path, "PHOENIX_HOST_ROOT_PATH");
    }
    all.set_text("preset", "phoenix", "");
    draft.add(all);
}

/// What has no counterpart, and what stays with Phoenix.
fn rest(variables: &Variables, draft: &mut Draft) {
    let mut stays: Vec<&str> = Vec::new();
    for name in variables.names() {
        let fits =
            |(begin, _): &&(&str, &str)| name == *begin || (begin.ends_with('_') && name.starts_with(begin));
        match LEFT_OUT.iter().find(fits) {
            Some((_, why)) => draft.remark(RemarkKind::LeftOut, name, *why),
            None if name.starts_with(PROVIDERS) => {
                draft.remark(RemarkKind::LeftOut, name, "is no variable that Phoenix reads");
            }
            None => stays.push(name),
        }
    }
    if !stays.is_empty() {
        let text = format!("have nothing to do with signing in, and stay with Phoenix: {}", stays.join(", "));
        draft.remark(RemarkKind::LeftOut, "", text);
    }
}
