//! Headers that tell an upstream who is calling: first every client copy goes, then ours are set.

use std::fmt::Write as _;

use http::header::{CONNECTION, HeaderName};
use http::{HeaderMap, HeaderValue};

use crate::config::HeaderPreset;
use crate::model::principal::Principal;
use crate::model::role::Role;

/// Names that say who is calling, or that some server takes for the real target or client.
///
/// Sorted, lower-case, every non-alphanumeric character as `-`: the form that [`is_managed`] folds to.
/// No client may send any of them, in any spelling that folds to the same name.
const MANAGED: &[&str] = &[
    "cf-connecting-ip",
    "client-ip",
    "fastly-client-ip",
    "forwarded",
    "gap-auth",
    "proxy",
    "proxy-authorization",
    "true-client-ip",
    "x-allow-delegation",
    "x-auth-email",
    "x-auth-groups",
    "x-auth-is-admin",
    "x-auth-issuer",
    "x-auth-name",
    "x-auth-role",
    "x-auth-roles",
    "x-auth-subject",
    "x-auth-user",
    "x-auth-username",
    "x-authenticated-email",
    "x-authenticated-groups",
    "x-authenticated-user",
    "x-authenticated-userid",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-envoy-external-address",
    "x-envoy-internal",
    "x-envoy-original-path",
    "x-http-method",
    "x-http-method-override",
    "x-jwt-assertion",
    "x-method-override",
    "x-middleware-subrequest",
    "x-original-host",
    "x-original-method",
    "x-original-uri",
    "x-original-url",
    "x-proxy-user",
    "x-real-ip",
    "x-remote-email",
    "x-remote-group",
    "x-remote-groups",
    "x-remote-user",
    "x-rewrite-url",
    "x-sso-user",
    "x-user",
    "x-user-email",
    "x-user-id",
    "x-user-name",
    "x-userinfo",
    "x-username",
];

/// Families of such names, by what they begin with.
const MANAGED_FAMILIES: &[&str] = &[
    "cf-access-",
    "remote-",
    "x-amzn-oidc-",
    "x-auth-request-",
    "x-authentik-",
    "x-credential-",
    "x-doorward-",
    "x-forwarded-",
    "x-goog-authenticated-user-",
    "x-goog-iap-",
    "x-ms-client-principal",
    "x-ms-token-",
    "x-pomerium-",
    "x-vouch-",
    "x-webauth-",
];

const LONGEST: usize = 64;

/// Whether a name, folded as a careless server would fold it, is one that only we may set.
///
/// CGI, WSGI and PHP read `X_Forwarded_User` and `X.Forwarded.User` as `X-Forwarded-User`, so every character
/// that is not a letter or digit counts as `-`.
pub fn is_managed(name: &[u8]) -> bool {
    // Every managed name begins with one of these; most headers do not.
    if !matches!(name.first(), Some(b'x' | b'r' | b'c' | b'f' | b't' | b'p' | b'g')) {
        return false;
    }
    let mut folded = [0_u8; LONGEST];
    for (to, from) in folded.iter_mut().zip(name) {
        *to = if from.is_ascii_alphanumeric() { *from } else { b'-' };
    }
    let folded = folded.get(..name.len().min(LONGEST)).unwrap_or_default();
    MANAGED_FAMILIES.iter().any(|family| folded.starts_with(family.as_bytes()))
        || MANAGED.binary_search_by(|managed| managed.as_bytes().cmp(folded)).is_ok()
}

/// Removes every managed header, in every spelling. Names are lower-case in a [`HeaderMap`].
pub fn strip(headers: &mut HeaderMap) {
    while let Some(name) = headers.keys().find(|name| is_managed(name.as_str().as_bytes())).cloned() {
        headers.remove(name);
    }
}

/// The values a principal's headers carry, ready to be cloned into a request.
#[derive(Clone, Debug)]
pub struct IdentityValues {
    user: HeaderValue,
    subject: HeaderValue,
    role: HeaderValue,
    grafana_role: HeaderValue,
    email: Option<HeaderValue>,
    name: Option<HeaderValue>,
    groups: Option<HeaderValue>,
    piped_groups: Option<HeaderValue>,
}

impl IdentityValues {
    /// Prepares the values: percent-encoded where they are not visible ASCII.
    pub fn of(principal: &Principal) -> Self {
        let list = |separator: u8| -> Option<HeaderValue> {
            let groups: Vec<String> =
                principal.groups.iter().map(|group| encode(group, Some(separator))).collect();
            (!groups.is_empty())
                .then(|| encoded_value(&groups.join(char::from(separator).encode_utf8(&mut [0; 4]))))
        };
        let value = |text: &str| encoded_value(&encode(text, None));
        Self {
            user: value(&principal.name),
            subject: value(&principal.subject()),
            role: HeaderValue::from_static(principal.role.as_str()),
            grafana_role: HeaderValue::from_static(match principal.role {
                Role::Admin => "Admin",
                Role::Member => "Editor",
                Role::Viewer | Role::Agent => "Viewer",
            }),
            email: principal.email.as_deref().map(value),
            name: principal.display_name.as_deref().map(value),
            groups: list(b','),
            piped_groups: list(b'|'),
        }
    }

    fn of_field(&self, field: Field) -> Option<&HeaderValue> {
        match field {
            Field::User => Some(&self.user),
            Field::Subject => Some(&self.subject),
            Field::Name => self.name.as_ref(),
            Field::Email => self.email.as_ref(),
            Field::EmailOrUser => Some(self.email.as_ref().unwrap_or(&self.user)),
            Field::Groups => self.groups.as_ref(),
            Field::PipedGroups => self.piped_groups.as_ref(),
            Field::Role => Some(&self.role),
            Field::GrafanaRole => Some(&self.grafana_role),
        }
    }
}

/// The names a preset sets, and from what.
pub fn names(preset: HeaderPreset) -> &'static [(&'static str, Field)] {
    use Field::{Email, EmailOrUser, GrafanaRole, Groups, Name, PipedGroups, Role, Subject, User};
    match preset {
        HeaderPreset::None => &[],
        HeaderPreset::Standard => &[
            ("x-auth-user", User),
            ("x-auth-subject", Subject),
            ("x-auth-name", Name),
            ("x-auth-email", Email),
            ("x-auth-groups", Groups),
            ("x-auth-role", Role),
        ],
        HeaderPreset::Oauth2Proxy => &[
            ("x-forwarded-user", User),
            ("x-forwarded-preferred-username", User),
            ("x-forwarded-email", Email),
            ("x-forwarded-groups", Groups),
            ("x-auth-request-user", User),
            ("x-auth-request-preferred-username", User),
            ("x-auth-request-email", Email),
            ("x-auth-request-groups", Groups),
        ],
        HeaderPreset::Authelia => &[
            ("remote-user", User),
            ("remote-name", Name),
            ("remote-email", Email),
            ("remote-groups", Groups),
        ],
        HeaderPreset::Authentik => &[
            ("x-authentik-username", User),
            ("x-authentik-uid", Subject),
            ("x-authentik-name", Name),
            ("x-authentik-email", Email),
            ("x-authentik-groups", PipedGroups),
            ("x-authentik-entitlements", PipedGroups),
        ],
        HeaderPreset::Vouch => &[("x-vouch-user", EmailOrUser)],
        HeaderPreset::TraefikForwardAuth => &[("x-forwarded-user", EmailOrUser)],
        HeaderPreset::Grafana => &[
            ("x-webauth-user", User),
            ("x-webauth-name", Name),
            ("x-webauth-email", Email),
            ("x-webauth-groups", Groups),
            ("x-webauth-role", GrafanaRole),
        ],
    }
}

/// What a header's value is taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// Username, or a system key's name.
    User,
    /// `user:<id>` or `key:<id>`.
    Subject,
    /// Display name.
    Name,
    /// Address.
    Email,
    /// Comma-separated.
    Groups,
    /// Separated by `|`.
    PipedGroups,
    /// Address, or username where there is none.
    EmailOrUser,
    /// Our role.
    Role,
    /// Grafana's word for our role.
    GrafanaRole,
}

/// Sets a preset's headers, exactly one value each; those without a value are not set.
///
/// The caller has run [`strip`] before: nothing else may bear these names.
pub fn set(headers: &mut HeaderMap, preset: HeaderPreset, values: &IdentityValues) {
    for (name, field) in names(preset) {
        if let Some(value) = values.of_field(*field) {
            headers.insert(HeaderName::from_static(name), value.clone());
        }
    }
}

/// Sets every header of a preset, empty where there is no value or nobody is known: another proxy copies what
/// it finds, and what it does not find it may leave as the client sent it.
pub fn set_all(headers: &mut HeaderMap, preset: HeaderPreset, values: Option<&IdentityValues>) {
    for (name, field) in names(preset) {
        let value = values.and_then(|values| values.of_field(*field)).cloned();
        headers.insert(HeaderName::from_static(name), value.unwrap_or_else(|| HeaderValue::from_static("")));
    }
}

/// Whether a `Connection` token may remove a header of this name: never one that we set or that frames the message.
pub fn may_be_dropped(name: &str) -> bool {
    !is_managed(name.as_bytes())
        && !matches!(
            name,
            "host" | "content-length" | "cookie" | "authorization" | "transfer-encoding" | "te"
        )
        && name != CONNECTION.as_str()
}

/// Percent-encodes all but visible ASCII, `%`, and in a list its separator.
fn encode(text: &str, separator: Option<u8>) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && byte != b'%' && separator != Some(byte) {
            encoded.push(char::from(byte));
        } else {
            _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

fn encoded_value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("only visible ASCII is left after encoding")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::principal::{PrincipalKind, Proof};
    use crate::model::time::Timestamp;
    use crate::model::user::UserId;

    fn principal() -> Principal {
        Principal {
            kind: PrincipalKind::User(UserId("u1".into())),
            name: "zoë".into(),
            email: None,
            display_name: Some("Zoë \r\nX-Auth-Role: admin".into()),
            role: Role::Viewer,
            groups: vec!["a,b".into(), "c%d".into()],
            provider: "local".into(),
            must_change_password: false,
            proof: Proof::Session {
                id: "s".into(),
                expires_at: Timestamp(1),
                last_seen_at: Timestamp(0),
                host: None,
            },
        }
    }

    #[test]
    fn the_table_is_sorted_and_folded_so_that_it_can_be_searched() {
        assert!(MANAGED.is_sorted());
        for name in MANAGED.iter().chain(MANAGED_FAMILIES) {
            assert!(
                name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'),
                "{name}"
            );
            assert!(name.len() < LONGEST && is_managed(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn every_name_a_preset_sets_is_managed_in_every_alias() {
        for (name, _) in HeaderPreset::ALL.into_iter().flat_map(names) {
            for separator in ['-', '_', '.', '~', '!', '+', '|', '\''] {
                let alias = name.replace('-', &separator.to_string());
                assert!(is_managed(alias.as_bytes()), "{alias}");
            }
        }
    }

    #[test]
    fn identity_headers_from_the_client_are_stripped_in_every_spelling() {
        let mut headers = HeaderMap::new();
        for name in [
            "x-auth-user",
            "x_auth_user",
            "x.auth.user",
            "X-Forwarded_User",
            "remote~user",
            "X-WEBAUTH-USER",
            "x-original-url",
            "x_forwarded_prefix",
            "x-http-method-override",
            "forwarded",
        ] {
            headers
                .append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_static("forged"));
            headers
                .append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_static("again"));
        }
        headers.insert("x-requested-with", HeaderValue::from_static("kept"));
        headers.insert("x-auth-token", HeaderValue::from_static("kept"));
        strip(&mut headers);
        assert_eq!(headers.len(), 2, "{headers:?}");
    }

    #[test]
    fn values_are_one_line_each_whatever_a_name_holds() {
        let values = IdentityValues::of(&principal());
        let mut headers = HeaderMap::new();
        set(&mut headers, HeaderPreset::Standard, &values);
        let get = |name: &str| headers.get(name).map(|value| value.to_str().unwrap());
        assert_eq!(get("x-auth-user"), Some("zo%C3%AB"));
        assert_eq!(get("x-auth-name"), Some("Zo%C3%AB%20%0D%0AX-Auth-Role:%20admin"));
        assert_eq!(get("x-auth-groups"), Some("a%2Cb,c%25d"));
        assert_eq!(get("x-auth-role"), Some("viewer"));
        assert_eq!(get("x-auth-subject"), Some("user:u1"));
        assert_eq!(get("x-auth-email"), None, "no address, no header");
    }

    #[test]
    fn connection_can_never_remove_a_managed_header() {
        for name in ["x-auth-user", "x_forwarded_user", "host", "content-length", "cookie", "authorization"] {
            assert!(!may_be_dropped(name), "{name}");
        }
        assert!(may_be_dropped("x-custom-hop"));
    }
}
