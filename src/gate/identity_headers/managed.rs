//! Names that only the gateway may set: always the same ones, and those that the settings add.

use http::HeaderMap;
use http::header::HeaderName;

use crate::config::Config;
use crate::config::IdentityConfig;
use crate::model::header_names::{self, FAMILIES, Folded, HANDED_ON, HeaderMeaning, NAMES, fold, is_odd};

/// The names that only we may set, of one configuration.
///
/// Those that a template, a token or an attribution adds anywhere are ours everywhere: what one application
/// believes, no client may say to any of them.
#[derive(Clone, Debug)]
pub struct Managed {
    /// Folded and sorted.
    added: Vec<String>,
    /// The headers that bring us credentials, folded.
    credentials: Vec<String>,
    /// With which two bytes a managed name begins, by their lowest five bits; most headers begin otherwise.
    begins: [u32; 32],
}

impl Default for Managed {
    fn default() -> Self {
        let mut begins = [0; 32];
        let names = NAMES.iter().chain(FAMILIES).map(|(name, _)| *name);
        for name in names.chain([HANDED_ON]) {
            mark(&mut begins, name);
        }
        Self { added: Vec::new(), credentials: Vec::new(), begins }
    }
}

fn mark(begins: &mut [u32; 32], name: &str) {
    let mut bytes = name.bytes().map(|byte| usize::from(fold(byte) & 31));
    let (first, second) = (bytes.next().unwrap_or_default(), bytes.next());
    if let Some(row) = begins.get_mut(first) {
        *row |= second.map_or(u32::MAX, |second| 1 << second);
    }
}

impl Managed {
    /// The names of a configuration.
    pub fn of(config: &Config) -> Self {
        let upstreams = config.upstreams.iter().map(|upstream| &upstream.identity);
        let all = upstreams.chain([&config.forward_auth.identity]).flat_map(IdentityConfig::names);
        let folded = |name: HeaderName| {
            String::from_utf8_lossy(Folded::of(name.as_str().as_bytes()).as_bytes()).into_owned()
        };
        let credentials = config.credential_headers().into_iter().map(folded).collect();
        Self { credentials, ..Self::with(all) }
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
    pub fn has(&self, name: &[u8]) -> bool {
        self.says(name).is_some()
    }

    /// What such a name means to a server that trusts it. Allocates nothing, and looks no further than at two bytes of
    /// most names that clients send.
    fn says(&self, name: &[u8]) -> Option<HeaderMeaning> {
        let mut bytes = name.iter().map(|byte| fold(*byte) & 31);
        let (first, second) = (bytes.next()?, bytes.next().unwrap_or_default());
        if self.begins.get(usize::from(first))? & (1 << second) == 0 {
            return None;
        }
        let folded = Folded::of(name);
        let folded = folded.as_bytes();
        let name = folded.strip_prefix(HANDED_ON.as_bytes()).unwrap_or(folded);
        let added = || self.added.binary_search_by(|added| added.as_bytes().cmp(name)).is_ok();
        header_names::said(name).or_else(|| added().then_some(HeaderMeaning::Who))
    }

    /// Removes every managed header of a request, in every spelling, and every name that some server may read as
    /// another one, but for `odd`, which an upstream asks for.
    pub fn strip(&self, headers: &mut HeaderMap, odd: &[HeaderName]) {
        remove(headers, |name| {
            self.has(name.as_str().as_bytes()) || (is_odd(name.as_str().as_bytes()) && !odd.contains(name))
        });
    }

    /// Removes from an answer what only we say of a request. What servers say to the proxy before them stays
    /// (`X-Accel-Buffering`, `X-Sendfile`), and so does what frameworks say to their own pages.
    pub fn strip_answer(&self, headers: &mut HeaderMap) {
        remove(headers, |name| match self.says(name.as_str().as_bytes()) {
            None | Some(HeaderMeaning::File | HeaderMeaning::Inside) => false,
            Some(_) => true,
        });
    }

    /// Removes from trailers what may not stand there (RFC 9110, 6.5.1): framing, routing, credentials, media types,
    /// every managed name, and every odd one.
    pub fn strip_trailers(&self, trailers: &mut HeaderMap) {
        remove(trailers, |name| {
            let bytes = name.as_str().as_bytes();
            is_odd(bytes) || self.has(bytes) || self.is_plain_only(bytes)
        });
    }

    /// Whether a name, folded, is one that frames a message, says what its body is, carries a credential, or that a
    /// decision looks at.
    pub fn is_plain_only(&self, name: &[u8]) -> bool {
        let folded = Folded::of(name);
        let folded = folded.as_bytes();
        header_names::is_plain_only(folded) || self.credentials.iter().any(|name| name.as_bytes() == folded)
    }

    /// A name of a request that is not what it looks like: some server reads it as one that only we may set, that
    /// carries a credential, or that a decision looks at.
    pub fn disguised<'h>(&self, headers: &'h HeaderMap) -> Option<&'h HeaderName> {
        headers.keys().find(|name| is_odd(name.as_str().as_bytes()) && self.is_unsendable(name))
    }

    /// Whether a name is one that only we may set, or an odd one that some server reads as one that carries a credential or
    /// that a decision looks at.
    pub fn is_unsendable(&self, name: &HeaderName) -> bool {
        let name = name.as_str().as_bytes();
        self.has(name) || (is_odd(name) && self.is_plain_only(name))
    }

    /// Whether a `Connection` token may remove a header of this name: never one that we set or look at.
    pub fn may_be_dropped(&self, name: &str) -> bool {
        !self.has(name.as_bytes()) && !self.is_plain_only(name.as_bytes())
    }
}

fn remove(headers: &mut HeaderMap, is_gone: impl Fn(&HeaderName) -> bool) {
    let gone: Vec<HeaderName> = headers.keys().filter(|name| is_gone(name)).cloned().collect();
    for name in gone {
        headers.remove(name);
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
        custom().strip(&mut headers, &[]);
        assert_eq!(headers.len(), 3, "{headers:?}");
    }

    #[test]
    fn connection_can_never_remove_a_managed_header_or_one_that_is_looked_at() {
        for name in [
            "x-auth-user",
            "x_forwarded_user",
            "host",
            "content-length",
            "content-type",
            "content-encoding",
            "origin",
            "destination",
            "sec-websocket-key",
            "upgrade",
            "x-request-id",
            "cookie",
            "authorization",
            "x_scope_orgid",
        ] {
            assert!(!custom().may_be_dropped(name), "{name}");
        }
        assert!(custom().may_be_dropped("x-custom-hop"));
    }

    #[test]
    fn what_a_grpc_gateway_hands_on_under_a_managed_name_is_removed_and_the_rest_is_not() {
        for name in ["grpc-metadata-x-auth-user", "Grpc-Metadata-X-Forwarded-For", "grpc-metadata-tenant"] {
            assert!(custom().has(name.to_ascii_lowercase().as_bytes()), "{name}");
        }
        for name in
            ["grpc-metadata-macaroon", "grpc-timeout", "grpc-encoding", "grpc-metadata-", "grpc-metadata"]
        {
            assert!(!custom().has(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn odd_names_are_removed_but_for_those_an_upstream_asks_for() {
        let asked = [HeaderName::from_static("x_tenant"), HeaderName::from_static("x.auth.user")];
        let mut headers = HeaderMap::new();
        for name in
            ["content_type", "x_api_key", "x_tenant", "x.auth.user", "ce~id", "x-plain", "authorization!"]
        {
            headers.insert(name, HeaderValue::from_static("1"));
        }
        custom().strip(&mut headers, &asked);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["x-plain", "x_tenant"], "what is asked for passes, but never as a managed name");
    }

    #[test]
    fn a_disguise_is_seen_and_an_odd_name_of_an_application_is_none() {
        let seen = |name: &'static str| {
            let headers =
                HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static("1"))]);
            custom().disguised(&headers).is_some()
        };
        for name in ["x_auth_user", "content_type", "x_api_key", "x.scope.orgid", "script_name"] {
            assert!(seen(name), "{name}");
        }
        for name in ["x_tenant", "x-auth-user", "content-type", "x-api-key"] {
            assert!(!seen(name), "{name}");
        }
    }

    #[test]
    fn answers_keep_what_servers_say_to_the_proxy_before_them() {
        let mut answer = HeaderMap::new();
        for name in ["x-accel-buffering", "x-sendfile", "x-matched-path", "x-auth-user", "x-forwarded-for"] {
            answer.insert(name, HeaderValue::from_static("1"));
        }
        custom().strip_answer(&mut answer);
        assert_eq!(answer.len(), 3, "{answer:?}");
    }

    #[test]
    fn what_browsers_and_common_clients_send_passes() {
        for name in [
            "accept",
            "accept-encoding",
            "accept-language",
            "authorization",
            "baggage",
            "cache-control",
            "content-type",
            "cookie",
            "depth",
            "destination",
            "dnt",
            "grpc-timeout",
            "hx-request",
            "if-none-match",
            "last-event-id",
            "lock-token",
            "mcp-session-id",
            "next-action",
            "next-router-state-tree",
            "next-url",
            "origin",
            "overwrite",
            "pragma",
            "prefer",
            "range",
            "referer",
            "rsc",
            "sec-fetch-site",
            "sec-websocket-key",
            "sentry-trace",
            "timeout",
            "traceparent",
            "tus-resumable",
            "upload-offset",
            "user-agent",
            "x-api-key",
            "x-auth-token",
            "x-b3-traceid",
            "x-correlation-id",
            "x-csrf-token",
            "x-dashboard-id",
            "x-goog-api-key",
            "x-grafana-device-id",
            "x-inertia",
            "x-middleware-prefetch",
            "x-nextjs-data",
            "x-oc-mtime",
            "x-prometheus-remote-write-version",
            "x-requested-with",
            "x-scope-orgid",
            "x-stainless-lang",
            "x-upload-length",
            "x-xsrf-token",
            "x-xsrftoken",
            "x-amz-date",
            "x-amz-content-sha256",
            "x-ms-version",
            "x-ms-date",
            "idempotency-key",
            "want-digest",
        ] {
            assert!(!Managed::default().has(name.as_bytes()), "{name}");
        }
    }
}
