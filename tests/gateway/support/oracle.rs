//! What must hold after every attack, whatever it was.
//!
//! Nothing reaches the upstream that was not allowed; what reaches it is exactly what was decided, once; it
//! says of the caller exactly what we say; what a decision looks at can be read in one way only; and the next honest
//! request is served as ever.

use super::upstream::{OK, Recorded};
use super::{Gateway, Upstream};

/// Names that some server takes for the caller, beside the families below; folded.
const CLAIMS: &[&str] = &[
    "forwarded",
    "gap_auth",
    "x_auth_user",
    "x_auth_subject",
    "x_auth_issuer",
    "x_auth_is_admin",
    "x_allow_delegation",
    "x_auth_name",
    "x_auth_email",
    "x_auth_groups",
    "x_auth_role",
    "x_auth_roles",
    "x_authenticated_user",
    "x_remote_user",
    "x_user",
    "x_username",
    "x_user_email",
    "x_real_ip",
    "x_client_ip",
    "true_client_ip",
    "cf_connecting_ip",
    "x_original_url",
    "x_original_uri",
    "x_rewrite_url",
    "x_envoy_original_path",
    "x_middleware_subrequest",
    "x_jwt_assertion",
    "x_http_method_override",
    "proxy_authorization",
    "proxy",
];

const CLAIMING_FAMILIES: &[&str] = &[
    "x_forwarded_",
    "x_auth_request_",
    "remote_",
    "x_webauth_",
    "x_authentik_",
    "x_ms_client_principal",
    "x_goog_authenticated_user_",
    "x_amzn_oidc_",
    "cf_access_",
    "x_pomerium_",
    "x_vouch_",
    "x_doorward_",
];

/// What we ourselves say of the way a request took; never of who sends it.
const WAY: [&str; 4] = ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"];

/// Headers that a decision looks at or that frame what it looked at, folded: what is read under another spelling was not
/// decided on.
const FACTS: &[&str] = &[
    "connection",
    "content_encoding",
    "content_length",
    "content_transfer_encoding",
    "content_type",
    "destination",
    "host",
    "origin",
    "overwrite",
    "sec_websocket_key",
    "sec_websocket_version",
    "transfer_encoding",
    "upgrade",
];

/// Who the upstream must be told is calling: header names and values. A value of `*` may be anything.
pub type Claims<'c> = &'c [(&'c str, &'c str)];

/// As a server folds names that keeps headers as variables.
pub fn fold(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect()
}

/// Watches one attack.
pub struct Watch<'w> {
    gateway: &'w Gateway,
    upstream: &'w Upstream,
    seen: usize,
    begun: usize,
    nobody: Claims<'w>,
}

impl<'w> Watch<'w> {
    pub fn begin(gateway: &'w Gateway, upstream: &'w Upstream) -> Self {
        Self { gateway, upstream, seen: upstream.count(), begun: upstream.begun(), nobody: &[] }
    }

    /// What the upstream must be told of nobody, where that is not nothing.
    pub fn telling_of_nobody(self, nobody: Claims<'w>) -> Self {
        Self { nobody, ..self }
    }

    /// Not a byte reached the upstream.
    pub async fn nothing_reached(self, attack: &str) {
        assert_eq!(self.upstream.begun(), self.begun, "{attack}: bytes reached the upstream");
        self.reached(attack, &[], &[]).await;
    }

    /// Exactly these requests reached the upstream, each as `METHOD target`, each from this caller.
    pub async fn reached(self, attack: &str, lines: &[&str], claims: Claims<'_>) {
        let new = self.upstream.requests_after(self.seen);
        let found: Vec<String> = new.iter().map(Recorded::line).collect();
        assert_eq!(found, lines, "{attack}: what reached the upstream");
        for request in &new {
            check_claims(attack, request, claims);
            check_facts(attack, request);
        }
        self.alive(attack).await;
        let begun = self.upstream.begun() - self.begun;
        assert_eq!(begun, lines.len() + 1, "{attack}: more was begun at the upstream than was recorded");
    }

    /// The next request is served, as anonymous, and is the next one at the upstream.
    async fn alive(&self, attack: &str) {
        self.upstream.answers(OK);
        let answer = self.gateway.get("/public/alive", "").await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "ok"), "{attack}: {}", answer.head);
        let last = self.upstream.last();
        assert_eq!(last.line(), "GET /public/alive", "{attack}");
        check_claims(attack, &last, self.nobody);
    }
}

/// The upstream is told exactly this of the caller, one line each, under no other spelling.
#[track_caller]
pub fn check_claims(attack: &str, request: &Recorded, claims: Claims<'_>) {
    let mut left: Vec<(&str, &str)> = claims.to_vec();
    let mut way: Vec<&str> = WAY.to_vec();
    for line in request.head.lines().skip(1) {
        let Some((name, value)) = line.split_once(':') else { continue };
        let (name, value) = (name.to_ascii_lowercase(), value.trim());
        let folded = fold(&name);
        let claims = CLAIMS.contains(&folded.as_str())
            || CLAIMING_FAMILIES.iter().any(|family| folded.starts_with(family));
        if !claims {
            continue;
        }
        if let Some(at) = way.iter().position(|own| *own == name) {
            way.remove(at);
            continue;
        }
        let at = left.iter().position(|(own, wanted)| *own == name && (*wanted == "*" || *wanted == value));
        let Some(at) = at else {
            panic!("{attack}: the upstream was told {line:?} of its caller:\n{}", request.head)
        };
        left.remove(at);
    }
    assert!(left.is_empty(), "{attack}: the upstream was not told {left:?}:\n{}", request.head);
    assert!(way.is_empty(), "{attack}: the upstream was not told {way:?}:\n{}", request.head);
    for secret in ["dw_s_", "dw_u_", "doorward="] {
        assert!(
            !request.head.contains(secret),
            "{attack}: a credential reached the upstream:\n{}",
            request.head
        );
    }
}

/// What a decision looks at stands under its own name, and a switch of protocol is one, plainly asked for.
#[track_caller]
pub fn check_facts(attack: &str, request: &Recorded) {
    let mut upgrades: Vec<&str> = Vec::new();
    let mut connections: Vec<&str> = Vec::new();
    for line in request.head.lines().skip(1) {
        let Some((name, value)) = line.split_once(':') else { continue };
        let name = name.to_ascii_lowercase();
        let disguised = FACTS.contains(&fold(&name).as_str()) && name != fold(&name).replace('_', "-");
        assert!(!disguised, "{attack}: some servers read {line:?} as another name:\n{}", request.head);
        assert_ne!(name, "http2-settings", "{attack}: an invitation to HTTP/2 passed:\n{}", request.head);
        match name.as_str() {
            "upgrade" => upgrades.push(value.trim()),
            "connection" => connections.push(value.trim()),
            _ => {}
        }
    }
    let plain = match upgrades[..] {
        // The last one on its connection says so.
        [] => connections.is_empty() || connections == ["close"],
        [one] => connections == ["upgrade"] && !one.contains([',', ' ', ';']),
        _ => false,
    };
    assert!(plain, "{attack}: Upgrade {upgrades:?} with Connection {connections:?}:\n{}", request.head);
}
