//! Values that only providers' settings have: algorithms, methods, addresses, names.

use figment::value::Value;
use url::Url;

use crate::config::reading::{InvalidValue, Read, SettingType, SettingsReader, choice, join, text};
use crate::config::sections::public_url::called_origin;
use crate::model::target;

/// How the gateway says who it is at the token endpoint (OpenID Connect Core 1.0, 9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum TokenAuth {
    /// The secret, in `Authorization` (RFC 6749, 2.3.1).
    ClientSecretBasic,
    /// The secret, in the form.
    ClientSecretPost,
    /// Not at all: PKCE is what keeps codes safe.
    None,
    /// A statement signed by a key of the gateway's own (RFC 7523).
    PrivateKeyJwt,
    /// A statement that the platform writes into a file, such as a projected service account token (RFC 7523).
    ClientAssertion,
}

/// How ID tokens may be signed (RFC 7518, 3.1; RFC 8037). Neither `none` nor one that signs with the client's secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SigningAlgorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Rs512,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// RSASSA-PSS with SHA-384.
    Ps384,
    /// RSASSA-PSS with SHA-512.
    Ps512,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// EdDSA on Ed25519.
    EdDsa,
}

/// What the provider asks people (OpenID Connect Core 1.0, 3.1.2.1; `create`: Initiating User Registration).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prompt {
    /// The password again.
    Login,
    /// Whether the gateway may know.
    Consent,
    /// Which account.
    SelectAccount,
    /// To register.
    Create,
}

/// How far signing out goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogoutScope {
    /// To the provider, where it has an address for that.
    Provider,
    /// No further than the session here.
    Local,
}

choice! {
    LogoutScope {
        "provider" => Self::Provider,
        "local" => Self::Local,
    }
    TokenAuth {
        "client_secret_basic" => Self::ClientSecretBasic,
        "client_secret_post" => Self::ClientSecretPost,
        "none" => Self::None,
        "private_key_jwt" => Self::PrivateKeyJwt,
        "client_assertion" => Self::ClientAssertion,
    }
    SigningAlgorithm {
        "RS256" => Self::Rs256,
        "RS384" => Self::Rs384,
        "RS512" => Self::Rs512,
        "PS256" => Self::Ps256,
        "PS384" => Self::Ps384,
        "PS512" => Self::Ps512,
        "ES256" => Self::Es256,
        "ES384" => Self::Es384,
        "EdDSA" => Self::EdDsa,
    }
    Prompt {
        "login" => Self::Login,
        "consent" => Self::Consent,
        "select_account" => Self::SelectAccount,
        "create" => Self::Create,
    }
}

/// A name that stands in URLs.
#[derive(Clone, Debug)]
pub(in crate::config) struct UrlName(pub(super) String);

/// An address of a provider: `https://` or `http://`, without credentials and fragment. As it was written, for issuers are
/// compared exactly.
#[derive(Clone, Debug)]
pub(in crate::config) struct ProviderUrl {
    pub(super) text: String,
    pub(super) url: Url,
}

/// A word without blanks and quotes: a scope (RFC 6749, 3.3), a client, a tenant, the name of a claim.
#[derive(Clone, Debug)]
pub(in crate::config) struct PlainWord(pub(super) String);

/// Text of visible characters, perhaps with blanks.
#[derive(Clone, Debug)]
pub(in crate::config) struct VisibleText(pub(super) String);

/// A path at the public URL where browsers come back to.
#[derive(Clone, Debug)]
pub(in crate::config) struct CallbackPath(pub(super) String);

/// The name of a file.
#[derive(Clone, Debug)]
pub(in crate::config) struct FileName(pub(super) String);

text! {
    UrlName, "a name of a-z, 0-9, _ and -", |text| {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-');
        if (1..=64).contains(&text.len()) && text.bytes().all(fits) {
            return Ok(Self(text.to_owned()));
        }
        Err(InvalidValue::new("cannot stand in a URL", "write 1 to 64 of the characters a-z, 0-9, _ and -"))
    };
    ProviderUrl, "a URL such as \"https://sso.example.com\"", |text| {
        const REMEDY: &str = "write one such as \"https://sso.example.com\"";
        called_origin(text, REMEDY)?;
        match Url::parse(text) {
            Ok(url) if url.fragment().is_none() => Ok(Self { text: text.to_owned(), url }),
            _ => Err(InvalidValue::new("is not a URL, or has a fragment in it", REMEDY)),
        }
    };
    PlainWord, "a word without blanks", |text| {
        let fits = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
        if (1..=512).contains(&text.len()) && text.bytes().all(fits) {
            return Ok(Self(text.to_owned()));
        }
        Err(InvalidValue::new("is no word", "write 1 to 512 visible ASCII characters without blanks, quotes and backslashes"))
    };
    VisibleText, "text", |text| {
        if (1..=512).contains(&text.len()) && !text.contains(char::is_control) {
            return Ok(Self(text.to_owned()));
        }
        Err(InvalidValue::new("is too long or not visible", "write 1 to 512 visible characters"))
    };
    CallbackPath, "a path such as \"/oauth2/callback\"", |text| {
        const REMEDY: &str = "write one such as \"/oauth2/callback\"";
        let is_own = text == "/_doorward" || text.starts_with("/_doorward/");
        let is_plain = text.len() <= 200 && target::canonical_path(text).ok().as_deref() == Some(text);
        if text.len() < 2 || !text.starts_with('/') || !is_plain || text.contains("//") {
            return Err(InvalidValue::new("is no plain path", REMEDY));
        }
        if is_own {
            return Err(InvalidValue::new("is the gateway's own", "leave it out: the gateway has a path for each provider there"));
        }
        Ok(Self(text.to_owned()))
    };
    FileName, "the name of a file", |text| {
        if text.is_empty() || text.contains('\0') {
            return Err(InvalidValue::new("is no name of a file", "write one such as \"/run/secrets/token\""));
        }
        Ok(Self(text.to_owned()))
    };
}

/// Parameters of the authorisation request that are made by the gateway, or have a setting of their own.
const OWN_PARAMETERS: [&str; 19] = [
    "acr_values",
    "client_assertion",
    "client_assertion_type",
    "client_id",
    "client_secret",
    "code_challenge",
    "code_challenge_method",
    "id_token_hint",
    "login_hint",
    "max_age",
    "nonce",
    "prompt",
    "redirect_uri",
    "request",
    "request_uri",
    "response_mode",
    "response_type",
    "scope",
    "state",
];

/// Further parameters of the authorisation request.
#[derive(Clone, Debug)]
pub(in crate::config) struct AuthorizeParameters(pub(super) Vec<(String, String)>);

impl Read for AuthorizeParameters {
    const KIND: &'static SettingType = &SettingType::Map(&SettingType::Text("text"));

    fn read(value: &Value, path: &str, reader: &mut SettingsReader) -> Option<Self> {
        let Value::Dict(_, values) = value else {
            reader.mismatch(value, path, Self::KIND);
            return None;
        };
        let mut parameters = Vec::new();
        for (name, value) in values {
            let path = join(path, name);
            if OWN_PARAMETERS.contains(&name.as_str()) {
                let remedy = "leave it out: the gateway sets it, or it has a setting of its own";
                reader.problem(&path, "is a parameter of the protocol", remedy);
            }
            parameters.extend(VisibleText::read(value, &path, reader).map(|text| (name.clone(), text.0)));
        }
        Some(Self(parameters))
    }
}
