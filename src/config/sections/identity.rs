//! Settings of what applications are told about callers, apart from the preset of header names.

use std::time::Duration;

use figment::value::Value;
use http::HeaderName;
use http::header::AUTHORIZATION;
use serde_json::Value as Json;

use crate::config::reading::{
    FromText, InvalidValue, Read, Required, Section, SettingType, SettingsReader, Span, choice, is_guessable,
    join, section, toml_values,
};
use crate::config::sections::header_name;
use crate::config::sections::header_preset::HeaderEncoding;
use crate::config::sections::set_headers::{A_TEMPLATE, HeaderTemplates, warn_of_roles};
use crate::model::jwt::{JwtAlgorithm, JwtKey};
use crate::model::principal::Principal;
use crate::model::secret::Secret;
use crate::model::template::Template;

/// What applications are told of their callers, beside the preset.
#[derive(Clone, Debug, Default)]
pub struct IdentityConfig {
    /// How values are written that are not plain ASCII; `None`: as the preset's product does.
    pub encoding: Option<HeaderEncoding>,
    /// Headers with values made from templates. Names are distinct, these and those of `credentials`.
    pub templates: Vec<(HeaderName, Template)>,
    /// What the gateway itself says to get in, such as `Authorization`: the same for every caller.
    pub credentials: Vec<(HeaderName, Secret)>,
    /// A statement that the application can check.
    pub assertion: Option<AssertionConfig>,
    /// A token in `Authorization`, for an application that takes no other word.
    pub bearer: Option<BearerConfig>,
    /// On whose behalf services ask.
    pub attribution: Option<AttributionConfig>,
}

/// Headers by which services say on whose behalf they ask.
#[derive(Clone, Debug)]
pub struct AttributionConfig {
    /// Whether they are passed on, from callers whose word counts.
    pub forward: bool,
    /// Their names.
    pub headers: Vec<HeaderName>,
    /// Where the service itself is named.
    pub service_header: HeaderName,
}

/// A signed statement of who is calling.
#[derive(Clone, Debug)]
pub struct AssertionConfig {
    /// Where it goes.
    pub header: HeaderName,
    /// For whom it is; `None`: the upstream's or route's name.
    pub audience: Option<String>,
    /// How it is signed, with a rotating key of our own.
    pub algorithm: JwtAlgorithm,
    /// How long it is good; at most five minutes.
    pub lifetime: Duration,
}

/// A minted bearer token.
#[derive(Clone, Debug)]
pub struct BearerConfig {
    /// What signs it.
    pub key: JwtKey,
    /// The issuer; `None`: our public URL.
    pub issuer: Option<String>,
    /// For whom it is; `None`: the upstream's or route's name.
    pub audience: Option<String>,
    /// How long it is good.
    pub lifetime: Duration,
    /// Further claims, or others instead of the usual ones.
    pub claims: Vec<(String, ClaimValue)>,
}

/// The value of a claim.
#[derive(Clone, Debug, PartialEq)]
pub enum ClaimValue {
    /// Text with facts.
    Template(Template),
    /// The same for everyone.
    Fixed(Json),
    /// Several.
    List(Vec<ClaimValue>),
}

impl ClaimValue {
    /// The claim for a principal; `None` where what it is made from has no value.
    pub fn of(&self, principal: &Principal) -> Option<Json> {
        match self {
            Self::Template(template) if template.is_group_list() => Some(principal.groups.clone().into()),
            Self::Template(template) => {
                template.fill(Some(principal), &|text, _| text.to_owned()).map(Json::from)
            }
            Self::Fixed(value) => Some(value.clone()),
            Self::List(values) => Some(values.iter().filter_map(|value| value.of(principal)).collect()),
        }
    }

    /// Whether all that it is made from has a value for a principal.
    pub fn is_whole_for(&self, principal: &Principal) -> bool {
        match self {
            Self::List(values) => values.iter().all(|value| value.is_whole_for(principal)),
            value => value.of(principal).is_some(),
        }
    }
}

impl IdentityConfig {
    /// Every name it may set.
    pub fn names(&self) -> impl Iterator<Item = &HeaderName> {
        let templates = self.templates.iter().map(|(name, _)| name);
        let bearer = self.bearer.as_ref().map(|_| &AUTHORIZATION);
        let attribution = self
            .attribution
            .iter()
            .flat_map(|attribution| attribution.headers.iter().chain([&attribution.service_header]));
        let assertion = self.assertion.as_ref().map(|assertion| &assertion.header);
        let credentials = self.credentials.iter().map(|(name, _)| name);
        templates.chain(credentials).chain(assertion).chain(bearer).chain(attribution)
    }

    /// Whether what clients say in `Authorization` gives way to something of ours.
    pub fn fills_authorization(&self) -> bool {
        self.bearer.is_some() || self.credentials.iter().any(|(name, _)| *name == AUTHORIZATION)
    }
}

/// A header's name, chosen by the operator.
#[derive(Clone, Debug)]
pub(in crate::config) struct SetName(HeaderName);

impl FromText for SetName {
    const WHAT: &'static SettingType = &SettingType::Text("the name of a header");

    fn from_text(text: &str) -> Result<Self, InvalidValue> {
        header_name::set_by_us(text).map(Self)
    }
}

/// A header's name with odd characters, that an application needs.
#[derive(Clone, Debug)]
pub(in crate::config) struct OddName(pub(in crate::config) HeaderName);

impl FromText for OddName {
    const WHAT: &'static SettingType = &SettingType::Text("the name of a header with odd characters");

    fn from_text(text: &str) -> Result<Self, InvalidValue> {
        header_name::odd(text).map(Self)
    }
}

/// A word that stands in tokens.
#[derive(Clone, Debug)]
pub(in crate::config) struct TokenText(String);

impl FromText for TokenText {
    const WHAT: &'static SettingType = &SettingType::Text("a name or URL");

    fn from_text(text: &str) -> Result<Self, InvalidValue> {
        let visible = (1..=256).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        if visible {
            Ok(Self(text.to_owned()))
        } else {
            Err("is not a name or URL: write 1 to 256 visible ASCII characters".into())
        }
    }
}

section! {
    /// A signed statement (JWT) of who is calling, for an application that checks it with the public keys at
    /// `/_doorward/jwks.json`. The keys are the gateway's own, made from its `secret` and changed every 30 days;
    /// each is published 30 days before and after. `iss` is the public URL.
    Assertion {
        /// The header that carries it.
        header: SetName = r#""X-Doorward-Assertion""#, r#""X-Identity""#;
        /// Its `aud`, for which the application must look. By default the upstream's name, in answers to other
        /// proxies the route's.
        audience: Option<TokenText>, r#""https://app.internal""#;
        /// How it is signed.
        algorithm: AssertionAlgorithm = r#""es256""#, r#""eddsa""#;
        /// How long it is good. A new one is made after half of that.
        lifetime: Span<30, 300> = r#""2m""#, r#""5m""#;
    }
}

section! {
    /// A token (JWT) of the gateway's own in `Authorization: Bearer`, for an application that accepts nothing
    /// else. The usual claims are `sub`, `preferred_username`, `name`, `email`, `groups` and `role`.
    Bearer {
        /// How it is signed: with a secret that the application shares (`hs256`), or with a private key.
        algorithm: Required<JwtAlgorithm>, r#""hs256""#;
        /// The shared secret, at least 32 bytes, or the private key in PEM (PKCS #8).
        key: Required<Secret>, r#""<the output of: openssl rand -base64 32>""#;
        /// Its `iss`. By default the public URL.
        issuer: Option<TokenText>, r#""doorward""#;
        /// Its `aud`. By default the upstream's name, in answers to other proxies the route's.
        audience: Option<TokenText>, r#""vizier""#;
        /// How long it is good. A new one is made after half of that.
        lifetime: Span<30, 3600> = r#""5m""#, r#""15m""#;
        /// Further claims, or others instead of the usual ones: templates as in `set_headers`, numbers, true,
        /// false, and lists of them. `{groups}` alone is a list.
        claims: Claims = "{}", r#"{ UserID = "{subject}", Scopes = "user" }"#;
    }
}

section! {
    /// Headers by which a service says on whose behalf it asks. They pass only from keys that may say so
    /// (`doorward key create --may-act-for-users`, `may_act_for_users` of imported keys), together with the name
    /// of that key. They open nothing: rules look at the key alone. From everyone else they are removed, here and
    /// on the way to every other upstream.
    Attribution {
        /// Whether they are passed on at all.
        forward: bool = "true", "false";
        /// Their names.
        headers: Vec<SetName> = r#"["X-User-Id", "X-User-Email", "X-User-Name", "X-Org-Id"]"#, r#"["X-User-Id"]"#;
        /// The header that names the service.
        service_header: SetName = r#""X-Service-Account""#, r#""X-On-Behalf-Of-By""#;
    }
}

/// Claims that say what the signature is good for.
const RESERVED_CLAIMS: [&str; 5] = ["iss", "aud", "iat", "nbf", "exp"];

/// Claims by name.
#[derive(Clone, Debug)]
pub(in crate::config) struct Claims(Vec<(String, ClaimValue)>);

impl Read for Claims {
    const KIND: &'static SettingType =
        &SettingType::Map(&SettingType::Any("text with facts, a number, true, false, or a list"));

    fn read(value: &Value, path: &str, reader: &mut SettingsReader) -> Option<Self> {
        let Value::Dict(_, values) = value else {
            reader.mismatch(value, path, Self::KIND);
            return None;
        };
        let mut claims = Vec::new();
        for (name, value) in values {
            let path = join(path, name);
            if RESERVED_CLAIMS.contains(&name.as_str()) {
                reader.problem(
                    &path,
                    "is a claim that has a setting of its own or none",
                    "leave it out here",
                );
            }
            claims.extend(claim(value, &path, reader).map(|value| (name.clone(), value)));
        }
        Some(Self(claims))
    }
}

fn claim(value: &Value, path: &str, reader: &mut SettingsReader) -> Option<ClaimValue> {
    match value {
        Value::String(..) => {
            let parse = |text: &str| Template::parse(text).map_err(InvalidValue::from);
            let template = reader.parse(value, path, &SettingType::Text(A_TEMPLATE), parse)?;
            warn_of_roles(&template, path, reader);
            Some(ClaimValue::Template(template))
        }
        Value::Bool(_, flag) => Some(ClaimValue::Fixed((*flag).into())),
        Value::Num(..) if toml_values::number(value).is_some() => {
            toml_values::number(value).map(|number| ClaimValue::Fixed(number.into()))
        }
        Value::Array(_, items) => {
            let items = items.iter().enumerate();
            Some(ClaimValue::List(
                items.filter_map(|(at, item)| claim(item, &format!("{path}[{at}]"), reader)).collect(),
            ))
        }
        _ => {
            reader.mismatch(
                value,
                path,
                &SettingType::Any("text with facts, a number, true, false, or a list"),
            );
            None
        }
    }
}

/// What a section says of identity, checked as a whole. `place` is the section's.
pub(in crate::config) fn identity(
    encoding: Option<HeaderEncoding>,
    templates: HeaderTemplates,
    assertion: Option<Assertion>,
    bearer: Option<Bearer>,
    attribution: Option<Attribution>,
    pass_authorization: bool,
    reader: &mut SettingsReader,
) -> IdentityConfig {
    if let Some(bearer) = &bearer
        && pass_authorization
    {
        let what =
            "replaces the client's Authorization, which `pass_authorization` leaves to the application";
        reader.problem(bearer.location(), what, "leave one of the two out");
    }
    if let Some(assertion) = &assertion
        && templates.names().any(|name| *name == assertion.header.0)
    {
        let what = "is a header that `set_headers` sets as well";
        reader.problem(&assertion.at("header"), what, "choose another name for one of them");
    }
    IdentityConfig {
        encoding,
        templates: templates.templates,
        credentials: templates.secrets,
        assertion: assertion.map(|written| AssertionConfig {
            header: written.header.0,
            audience: written.audience.map(|word| word.0),
            algorithm: written.algorithm.0,
            lifetime: written.lifetime.0,
        }),
        bearer: bearer.and_then(|written| bearer_config(written, reader)),
        attribution: attribution.map(|written| AttributionConfig {
            forward: written.forward,
            headers: written.headers.into_iter().map(|name| name.0).collect(),
            service_header: written.service_header.0,
        }),
    }
}

fn bearer_config(written: Bearer, reader: &mut SettingsReader) -> Option<BearerConfig> {
    let path = reader.set_as(&written.at("key"));
    let (algorithm, text) = (written.algorithm.0?, written.key.0?);
    let remedy = match algorithm {
        JwtAlgorithm::Hs256 => "write the output of: openssl rand -base64 32",
        JwtAlgorithm::Rs256 => {
            "write the output of: openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:3072"
        }
        JwtAlgorithm::Es256 => {
            "write the output of: openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256"
        }
        JwtAlgorithm::EdDsa => "write the output of: openssl genpkey -algorithm ED25519",
    };
    let key = match JwtKey::from_text(algorithm, &text) {
        Ok(_) if algorithm == JwtAlgorithm::Hs256 && is_guessable(text.expose()) => {
            Err("can be guessed".to_owned())
        }
        Ok(key) => Ok(key),
        Err(error) => Err(error.to_string()),
    };
    let key = key.map_err(|what| reader.problem(&path, what, remedy)).ok()?;
    Some(BearerConfig {
        key,
        issuer: written.issuer.map(|word| word.0),
        audience: written.audience.map(|word| word.0),
        lifetime: written.lifetime.0,
        claims: written.claims.0,
    })
}

/// Notes where a header is set that brings us keys, on whichever route.
pub(in crate::config) fn check_names(
    identity: &IdentityConfig,
    key_headers: &[HeaderName],
    location: &str,
    reader: &mut SettingsReader,
) {
    for name in key_headers.iter().filter(|own| identity.names().any(|name| name == *own)) {
        let what = format!("sets `{name}`, a header that brings the gateway its own keys");
        reader.problem(
            location,
            what,
            "choose another name there, or in keys.headers and key_headers of routes",
        );
    }
}

/// How assertions are signed: so that a verifier cannot forge them.
#[derive(Clone, Copy, Debug)]
pub(in crate::config) struct AssertionAlgorithm(pub(in crate::config) JwtAlgorithm);

choice! {
    AssertionAlgorithm { "es256" => Self(JwtAlgorithm::Es256), "eddsa" => Self(JwtAlgorithm::EdDsa) }
    JwtAlgorithm {
        "hs256" => Self::Hs256,
        "rs256" => Self::Rs256,
        "es256" => Self::Es256,
        "eddsa" => Self::EdDsa,
    }
}
