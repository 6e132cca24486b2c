//! Names that only the gateway may set: always the same ones, and those that the settings add.

use http::HeaderMap;
use http::header::{CONNECTION, HeaderName};

use crate::config::Config;
use crate::config::IdentityConfig;

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
    "new-uri",
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

/// The names that only we may set, of one configuration.
///
/// Those that a template, a token or an attribution adds anywhere are ours everywhere: what one application
/// believes, no client may say to any of them.
#[derive(Clone, Debug)]
pub struct Managed {
    /// Folded and sorted.
    added: Vec<String>,
    /// With which bytes a managed name begins; most headers begin with none of them.
    begins: [bool; 256],
}

impl Default for Managed {
    fn default() -> Self {
        let mut begins = [false; 256];
        for name in MANAGED.iter().chain(MANAGED_FAMILIES) {
            mark(&mut begins, name);
        }
        Self { added: Vec::new(), begins }
    }
}

fn mark(begins: &mut [bool; 256], name: &str) {
    if let Some(first) = name.bytes().next().and_then(|byte| begins.get_mut(usize::from(byte))) {
        *first = true;
    }
}

impl Managed {
    /// The names of a configuration.
    pub fn of(config: &Config) -> Self {
        let upstreams = config.upstreams.iter().map(|upstream| &upstream.identity);
        Self::with(upstreams.chain([&config.forward_auth.identity]).flat_map(IdentityConfig::names))
    }

    fn with<'n>(names: impl Iterator<Item = &'n HeaderName>) -> Self {
        let mut managed = Self::default();
        // A client's `Authorization` is a credential, not a claim: it is handled as such.
        for name in names.filter(|name| *name != http::header::AUTHORIZATION) {
            mark(&mut managed.begins, name.as_str());
            managed.added.push(name.as_str().to_owned());
        }
        managed.added.sort();
        managed.added.dedup();
        managed
    }

    /// Whether a name, folded as a careless server would fold it, is one that only we may set.
    ///
    /// CGI, WSGI and PHP read `X_Forwarded_User` and `X.Forwarded.User` as `X-Forwarded-User`, so every character
    /// that is not a letter or digit counts as `-`.
    pub fn has(&self, name: &[u8]) -> bool {
        let begins = |first: &u8| self.begins.get(usize::from(*first)).copied().unwrap_or_default();
        if !name.first().is_some_and(begins) {
            return false;
        }
        let mut folded = [0_u8; LONGEST];
        for (to, from) in folded.iter_mut().zip(name) {
            *to = if from.is_ascii_alphanumeric() { *from } else { b'-' };
        }
        let folded = folded.get(..name.len().min(LONGEST)).unwrap_or_default();
        MANAGED_FAMILIES.iter().any(|family| folded.starts_with(family.as_bytes()))
            || MANAGED.binary_search_by(|managed| managed.as_bytes().cmp(folded)).is_ok()
            || self.added.binary_search_by(|added| added.as_bytes().cmp(folded)).is_ok()
    }

    /// Removes every managed header, in every spelling. Names are lower-case in a [`HeaderMap`].
    pub fn strip(&self, headers: &mut HeaderMap) {
        while let Some(name) = headers.keys().find(|name| self.has(name.as_str().as_bytes())).cloned() {
            headers.remove(name);
        }
    }

    /// Whether a `Connection` token may remove a header of this name: never one that we set or that frames the
    /// message.
    pub fn may_be_dropped(&self, name: &str) -> bool {
        !self.has(name.as_bytes())
            && !matches!(
                name,
                "host"
                    | "content-length"
                    | "cookie"
                    | "authorization"
                    | "transfer-encoding"
                    | "te"
                    | "destination"
                    | "overwrite"
            )
            && name != CONNECTION.as_str()
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::config::HeaderPreset;
    use crate::gate::identity_headers::names;

    const SEPARATORS: [char; 8] = ['-', '_', '.', '~', '!', '+', '|', '\''];

    fn custom() -> Managed {
        let names = ["x-scope-orgid", "authorization", "9lives", "tenant"].map(HeaderName::from_static);
        Managed::with(names.iter())
    }

    #[test]
    fn the_table_is_sorted_and_folded_so_that_it_can_be_searched() {
        assert!(MANAGED.is_sorted());
        for name in MANAGED.iter().chain(MANAGED_FAMILIES) {
            assert!(
                name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'),
                "{name}"
            );
            assert!(name.len() < LONGEST && Managed::default().has(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn every_name_a_preset_or_a_template_sets_is_managed_in_every_alias() {
        let managed = custom();
        let presets = HeaderPreset::ALL.into_iter().flat_map(names).map(|(name, _)| *name);
        for name in presets.chain(["x-scope-orgid", "9lives", "tenant"]) {
            for separator in SEPARATORS {
                let alias = name.replace('-', &separator.to_string());
                assert!(managed.has(alias.as_bytes()), "{alias}");
            }
        }
        for name in ["x-scope-orgid", "9lives", "tenant"] {
            assert!(
                !Managed::default().has(name.as_bytes()),
                "{name} is managed where a template sets it only"
            );
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
            "x_scope_OrgID",
            "X-Scope.OrgID",
            "Tenant",
        ] {
            headers
                .append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_static("forged"));
            headers
                .append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_static("again"));
        }
        headers.insert("x-requested-with", HeaderValue::from_static("kept"));
        headers.insert("x-auth-token", HeaderValue::from_static("kept"));
        headers.insert("authorization", HeaderValue::from_static("kept: a credential"));
        custom().strip(&mut headers);
        assert_eq!(headers.len(), 3, "{headers:?}");
    }

    #[test]
    fn connection_can_never_remove_a_managed_header() {
        for name in [
            "x-auth-user",
            "x_forwarded_user",
            "host",
            "content-length",
            "cookie",
            "authorization",
            "x_scope_orgid",
        ] {
            assert!(!custom().may_be_dropped(name), "{name}");
        }
        assert!(custom().may_be_dropped("x-custom-hop"));
    }
}
