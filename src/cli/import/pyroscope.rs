//! What the settings of Pyroscope up to 0.37 come to: `auth` of its configuration, or `PYROSCOPE_AUTH_*`.

use std::ffi::OsString;

use url::Url;

use super::draft::{Block, Draft, RemarkKind, SettingValue};
use super::pyroscope_keys::KEYS;
use super::reading::{brief, flag, text};
use super::variables::Variables;
use crate::model::user::{check_email, check_username};

const PREFIX: &str = "PYROSCOPE_";
/// Tables of its configuration that are looked at.
const TOPS: [&str; 6] = ["auth", "base-url", "api-bind-addr", "cors", "tls-certificate-file", "tls-key-file"];

/// Why settings have no counterpart, by how they begin.
const LEFT_OUT: [(&str, &str); 8] = [
    ("auth.jwt-secret", "signs Pyroscope's own sessions; the gateway draws a key of its own (`secret`)"),
    ("auth.api-key-bcrypt-cost", "keys of the gateway are random enough not to need bcrypt"),
    (
        "auth.ingestion.",
        "what is remembered of keys is bounded, and forgotten within a second when one is revoked",
    ),
    ("auth.internal.admin.password", "admins choose their own by a link that each start prints"),
    ("cors.", "stays with Pyroscope"),
    (
        "tls-",
        "the gateway ends TLS (`server.tls`); start Pyroscope without it, where only the gateway reaches it",
    ),
    ("auth.", "is no setting that Pyroscope reads"),
    (
        "PYROSCOPE_AUTH_TOKEN",
        "is what agents send: `doorward key create NAME --role agent` makes one for here",
    ),
];

/// A provider that Pyroscope knows.
struct Product {
    /// As in its settings, and the word for `type` here.
    name: &'static str,
    allowed: &'static str,
    /// The ends of its addresses behind that of the server.
    authorize: &'static str,
    token: &'static str,
    /// Everybody's server.
    server: &'static str,
}

const PRODUCTS: [Product; 3] = [
    Product {
        name: "google",
        allowed: "allowed-domains",
        authorize: "/o/oauth2/auth",
        token: "/o/oauth2/token",
        server: "https://accounts.google.com",
    },
    Product {
        name: "github",
        allowed: "allowed-organizations",
        authorize: "/login/oauth/authorize",
        token: "/login/oauth/access_token",
        server: "https://github.com",
    },
    Product {
        name: "gitlab",
        allowed: "allowed-groups",
        authorize: "/oauth/authorize",
        token: "/oauth/token",
        server: "https://gitlab.com",
    },
];

/// Reads its configuration in YAML, or its variables.
///
/// # Errors
///
/// Says which line makes no sense, and nothing of it.
pub(super) fn parse(text: &str) -> Result<Variables, String> {
    match Variables::keys(text, &TOPS)? {
        Some(keys) if !keys.is_empty() => Ok(keys),
        _ => Ok(Variables::parse(text, PREFIX)?.renamed(key)),
    }
}

/// Those of its variables that a process has.
pub(super) fn of_process(variables: impl Iterator<Item = (OsString, OsString)>) -> Variables {
    Variables::of_process(variables, PREFIX).renamed(key)
}

/// The setting that a variable sets: `auth.github.client-id` for `PYROSCOPE_AUTH_GITHUB_CLIENT_ID`.
fn key(variable: &str) -> Option<String> {
    let rest = variable.strip_prefix(PREFIX)?;
    let is_it = |key: &&&str| key.to_uppercase().replace(['.', '-'], "_") == rest;
    KEYS.iter().find(is_it).map(|key| (*key).to_owned())
}

/// Makes settings of its settings.
pub(super) fn import(mut settings: Variables, upstream: Option<&Url>) -> Draft {
    let mut draft = Draft::new();
    let settings = &mut settings;
    let base = text(settings, "base-url", &mut draft);
    let role = text(settings, "auth.signup-default-role", &mut draft);
    let products = PRODUCTS.map(|product| {
        let enabled = flag(settings, &format!("auth.{}.enabled", product.name), &mut draft);
        let redirect = text(settings, &format!("auth.{}.redirect-url", product.name), &mut draft);
        (product, enabled == Some(true), redirect)
    });
    let public_url = public_url(base.as_deref(), &products);
    let mut top = Block::new("");
    if let Some((url, from)) = &public_url {
        top.set_text("public_url", url, from);
    }
    draft.add(top);
    session(settings, &mut draft);
    let has_providers = products.iter().any(|(_, enabled, _)| *enabled);
    let internal = login(settings, has_providers, &mut draft);
    let at = public_url.as_ref().map_or("PUBLIC_URL", |(url, _)| url).trim_end_matches('/').to_owned();
    for (product, enabled, _) in &products {
        let block = provider(product, role.as_deref(), &at, settings, &mut draft);
        if *enabled {
            draft.add(block);
        } else if !block.is_empty() {
            draft.remark(RemarkKind::LeftOut, &format!("auth.{}", product.name), "is not enabled");
        }
    }
    application(settings, base.as_deref(), upstream, &mut draft);
    rest(settings, &mut draft);
    draft.remark(
        RemarkKind::ToDo,
        "",
        if has_providers || internal {
            "switch Pyroscope's own authentication off (no `auth.*.enabled`) and let only the gateway reach it"
        } else {
            "Pyroscope let everybody in; with these settings everybody signs in, and agents need keys"
        },
    );
    draft.remark(
        RemarkKind::Differs,
        "",
        "accounts of Pyroscope's database are not moved: people of a provider get theirs at their first sign-in, unless `check` \
         warns that only invited people do, others by `doorward user add` (docs/migrating.md)",
    );
    draft.check();
    if !internal && draft.count("providers").0 == 0 {
        draft.withdraw("login", "password", "without a provider nobody could sign in any more");
    }
    draft
}

/// How browsers come, and the setting that says so.
fn public_url(base: Option<&str>, products: &[(Product, bool, Option<String>)]) -> Option<(String, String)> {
    if let Some(base) = base.filter(|base| base.contains("://")) {
        return Some((base.trim_end_matches('/').to_owned(), "base-url".to_owned()));
    }
    products.iter().filter(|(_, enabled, _)| *enabled).find_map(|(product, _, redirect)| {
        let url = redirect.as_deref()?.strip_suffix(&format!("/auth/{}/callback", product.name))?;
        Some((url.to_owned(), format!("auth.{}.redirect-url", product.name)))
    })
}

fn session(settings: &mut Variables, draft: &mut Draft) {
    const DAYS: &str = "auth.login-maximum-lifetime-days";
    const SAME_SITE: &str = "auth.cookie-same-site";
    let mut session = Block::new("session");
    if let Some(days) = text(settings, DAYS, draft) {
        match days.parse::<u64>() {
            Ok(0) => draft.remark(
                RemarkKind::Differs,
                DAYS,
                "sessions always end: see session.idle and session.absolute",
            ),
            Ok(days) => {
                session.comment("A session also ends when it was not used for a while (`idle`, 8 hours).");
                session.set_text("absolute", brief(days.saturating_mul(86_400)), DAYS);
            }
            Err(_) => draft.remark(RemarkKind::LeftOut, DAYS, "is no number of days"),
        }
    }
    match text(settings, SAME_SITE, draft).map(|word| word.to_lowercase()).as_deref() {
        None | Some("lax") => {}
        Some("strict") => session.set_text("cookie_same_site", "strict", SAME_SITE),
        Some(_) => draft.remark(RemarkKind::LeftOut, SAME_SITE, "is `lax` or `strict` here"),
    }
    draft.add(session);
    if flag(settings, "auth.cookie-secure", draft) == Some(true) {
        let text = "cookies are secure where `public_url` begins with https://";
        draft.remark(RemarkKind::Differs, "auth.cookie-secure", text);
    }
}

/// Whether people sign in by password.
fn login(settings: &mut Variables, has_providers: bool, draft: &mut Draft) -> bool {
    const INTERNAL: &str = "auth.internal.enabled";
    const NAME: &str = "auth.internal.admin.name";
    const EMAIL: &str = "auth.internal.admin.email";
    let internal = flag(settings, INTERNAL, draft) == Some(true);
    let mut login = Block::new("login");
    if !internal && has_providers {
        login.set("password", SettingValue::Flag(false), INTERNAL);
    }
    if flag(settings, "auth.internal.signup-enabled", draft) == Some(true) {
        let text = "nobody makes an account by themselves: `doorward user add` does";
        draft.remark(RemarkKind::LeftOut, "auth.internal.signup-enabled", text);
    }
    let creates = flag(settings, "auth.internal.admin.create", draft) != Some(false);
    let (name, email) = (text(settings, NAME, draft), text(settings, EMAIL, draft));
    if let (true, true, Some(email)) = (internal, creates, email) {
        let name = name.unwrap_or_else(|| "admin".to_owned());
        if check_username(&name).is_ok() && !name.contains('=') && check_email(&email).is_ok() {
            login.comment("Each start prints a link to choose a password, until there is one.");
            login.set("admins", SettingValue::Texts(vec![format!("{name}={email}")]), NAME);
        } else {
            draft.remark(
                RemarkKind::LeftOut,
                NAME,
                "name and address of the admin are none that somebody can have here",
            );
        }
    } else if internal {
        draft.remark(RemarkKind::ToDo, "", "the first start prints a link by which the first admin is made");
    }
    draft.add(login);
    internal
}

fn provider(
    product: &Product,
    role: Option<&str>,
    public_url: &str,
    settings: &mut Variables,
    draft: &mut Draft,
) -> Block {
    let named = |key: &str| format!("auth.{}.{key}", product.name);
    let mut block = Block::new("[providers]");
    // A secret that is not known is still one that can be written into its file.
    let secret = settings.take(&named("client-secret"));
    let secret = secret.filter(|given| given.value.as_ref().map_or(true, |text| !text.expose().is_empty()));
    let mut take = |key: &str, block: &mut Block| {
        let given = settings.take(&named(key))?;
        let text = given.value.map_err(|why| block.problem(&named(key), why)).ok()?;
        Some(text.expose().to_owned()).filter(|text| !text.is_empty())
    };
    let id = take("client-id", &mut block);
    let allowed = take(product.allowed, &mut block);
    let urls = ["auth-url", "token-url", "api-url"].map(|key| (key, take(key, &mut block)));
    if id.is_none() && secret.is_none() && allowed.is_none() && block.is_whole() {
        return block;
    }
    let callback = format!("/auth/{}/callback", product.name);
    block.comment(format!("Pyroscope's redirect URI goes on working: {public_url}{callback}"));
    block.comment(format!(
        "Without `callback_path`, register {public_url}/_doorward/callback/{} instead.",
        product.name
    ));
    if product.name == "gitlab" {
        block.comment("The application there needs the scopes openid, email and profile.");
    }
    block.set_text("name", product.name, &named("enabled"));
    block.set_text("type", product.name, &named("enabled"));
    block.set_text("callback_path", callback, &named("redirect-url"));
    server(product, &urls, &mut block);
    match id {
        Some(id) => block.set_text("client_id", id, &named("client-id")),
        None => block.problem(&named("client-id"), "is missing"),
    }
    match secret {
        Some(secret) => {
            let file = format!("{}-client-secret", product.name);
            let value = SettingValue::SecretFile { file, secret: secret.value.ok() };
            block.set("client_secret_file", value, &named("client-secret"));
        }
        None => block.problem(&named("client-secret"), "is missing"),
    }
    let allowed: Vec<String> = allowed
        .iter()
        .flat_map(|list| list.split(|c: char| c == ',' || c.is_whitespace()))
        .filter(|entry| !entry.is_empty())
        .map(str::to_owned)
        .collect();
    let is_open = allowed.is_empty();
    let from = named(product.allowed);
    match product.name {
        _ if is_open => {}
        "google" => block.set("allowed_domains", SettingValue::Texts(allowed), &from),
        "gitlab" => {
            block.comment("A group is named by its whole path here, such as example/data, and not by the last part of it.");
            block.set_claim("allowed_groups", SettingValue::Texts(allowed), &from);
        }
        _ => block.set_claim("allowed_groups", SettingValue::Texts(allowed), &from),
    }
    default_role(role, is_open, &mut block, draft);
    block
}

/// The provider's server, which all its addresses must be of.
fn server(product: &Product, urls: &[(&str, Option<String>); 3], block: &mut Block) {
    let named = |key: &str| format!("auth.{}.{key}", product.name);
    let mut server = product.server;
    for (key, url) in urls {
        let Some(url) = url else { continue };
        let base = match *key {
            "auth-url" => url.strip_suffix(product.authorize),
            "token-url" => url.strip_suffix(product.token),
            _ => url.find("/api/v4").and_then(|at| url.get(..at)),
        };
        match base {
            Some(base) if *key == "auth-url" => server = base,
            Some(base) if base == server => {}
            // Google has moved its endpoints; what is known by its type are those of today.
            _ if product.name == "google" && url.contains("://oauth2.googleapis.com/") => {}
            _ if product.name == "google" && url.starts_with("https://accounts.google.com/") => {}
            _ => block.problem(
                &named(key),
                "is not where this product has it: write `issuer`, the address of the server",
            ),
        }
    }
    if server != product.server {
        if product.name == "google" {
            block.problem(
                &named("auth-url"),
                "is no address of Google: use `type = \"oidc\"` with an `issuer`",
            );
        }
        block.set_text("issuer", server, &named("auth-url"));
    }
}

/// The role of who is new, as there are no others in Pyroscope's provider settings.
fn default_role(role: Option<&str>, is_open: bool, block: &mut Block, draft: &mut Draft) {
    const ROLE: &str = "auth.signup-default-role";
    let remark = |draft: &mut Draft, kind, text: &str| {
        let has = draft.remarks(kind).any(|remark| remark.about == ROLE && remark.text == text);
        if !has {
            draft.remark(kind, ROLE, text);
        }
    };
    match role.map(str::to_lowercase).as_deref() {
        None | Some("readonly") => {}
        Some("admin") if is_open => remark(
            draft,
            RemarkKind::LeftOut,
            "would make everybody an admin who has an account at a provider without a list of who is let in; whoever is let in is a viewer",
        ),
        Some("admin") => block.set_claim("default_role", SettingValue::Text("admin".into()), ROLE),
        Some("agent") => {
            remark(draft, RemarkKind::LeftOut, "agent is a role of programs; people are viewers");
        }
        Some(_) => {
            remark(draft, RemarkKind::LeftOut, "is none of Admin, ReadOnly and Agent; people are viewers");
        }
    }
}

/// Pyroscope itself, and who may do what in it.
fn application(settings: &mut Variables, base: Option<&str>, upstream: Option<&Url>, draft: &mut Draft) {
    const BIND: &str = "api-bind-addr";
    let bind = text(settings, BIND, draft).unwrap_or_else(|| ":4040".to_owned());
    let (host, port) = bind.rsplit_once(':').unwrap_or(("", "4040"));
    let host = if matches!(host, "" | "0.0.0.0" | "[::]") { "127.0.0.1" } else { host };
    let url = upstream
        .map_or_else(|| format!("http://{host}:{port}"), |url| url.as_str().trim_end_matches('/').to_owned());
    let mut server = Block::new("[upstreams]");
    server.set_text("name", "pyroscope", "");
    server.set_text("url", url, BIND);
    draft.add(server);
    let mut route = Block::new("[routes]");
    route.set_text("upstream", "pyroscope", "");
    let path = base.map(|base| match base.split_once("://") {
        Some((_, rest)) => rest.find('/').and_then(|at| rest.get(at..)).unwrap_or_default(),
        None => base,
    });
    if let Some(path) = path.map(|path| path.trim_matches('/')).filter(|path| !path.is_empty()) {
        route.comment("Pyroscope has the prefix in its links (`-base-url`) and wants none in requests.");
        route.set_text("path", format!("/{path}"), "base-url");
        route.set_text("strip_prefix", format!("/{path}"), "base-url");
    }
    route.set_text("preset", "pyroscope-0.37", "");
    draft.add(route);
    if flag(settings, "auth.ingestion.enabled", draft) != Some(true) {
        let text =
            "profiles came in without a key; here agents need one: `doorward key create NAME --role agent`";
        draft.remark(RemarkKind::ToDo, "auth.ingestion.enabled", text);
    }
}

/// What has no counterpart, and what stays with Pyroscope.
fn rest(settings: &Variables, draft: &mut Draft) {
    let mut stays: Vec<&str> = Vec::new();
    for name in settings.names() {
        let is_product = |product: &&Product| name.starts_with(&format!("auth.{}.", product.name));
        match LEFT_OUT.iter().find(|(begin, _)| name.starts_with(begin)) {
            Some((_, _)) if KEYS.contains(&name) && PRODUCTS.iter().any(|product| is_product(&product)) => {}
            Some((_, why)) => draft.remark(RemarkKind::LeftOut, name, *why),
            None => stays.push(name),
        }
    }
    if !stays.is_empty() {
        let text =
            format!("have nothing to do with signing in, and stay with Pyroscope: {}", stays.join(", "));
        draft.remark(RemarkKind::LeftOut, "", text);
    }
}
