//! Of the names that some program believes, what each printed configuration lets through.

use doorward::model::header_names::{FAMILIES, NAMES};

use super::door::{Door, Proxy};
use super::echo::Echo;

/// Known members of families, removed everywhere.
const MEMBERS: [&str; 9] = [
    "Impersonate-User",
    "Tailscale-User-Login",
    "Shib-Session-ID",
    "SSL-Client-Verify",
    "OIDC-Claim-Email",
    "X-Forwarded-Port",
    "X-Forwarded-Client-Cert",
    "X-Sendfile-Type",
    "Remote-Addr",
];

/// Names in one request: proxies bound them.
const AT_ONCE: usize = 40;

/// As `docs/forward-auth/README.md` says: every whole name, and where patterns can be written every family.
pub(super) async fn believed(proxy: Proxy) {
    let echo = Echo::start().await;
    let door = Door::open(proxy, &echo.address.to_string()).await;
    let bearer = format!("Bearer {}", door.gateway.key("probe", "viewer", &[]).key);

    let patterns = !matches!(proxy, Proxy::Nginx | Proxy::Traefik);
    let written = |family: &str| family == "x-forwarded-" && proxy != Proxy::EnvoyGrpc;
    let families = FAMILIES.iter().filter(|(family, _)| patterns && !written(family));
    let whole = NAMES.iter().map(|(name, _)| (*name).to_owned());
    let names: Vec<String> = whole
        .chain(families.map(|(family, _)| format!("{family}any")))
        .chain(MEMBERS.map(str::to_owned))
        .collect();
    for some in names.chunks(AT_ONCE) {
        for (path, credential) in [("/x", Some(("authorization", bearer.as_str()))), ("/public/x", None)] {
            let mut headers: Vec<(&str, &str)> = some.iter().map(|name| (name.as_str(), "forged")).collect();
            headers.extend([("x-tenant", "kept"), ("tailscale", "kept")]);
            headers.extend(credential);
            let answer = door.get(path, &headers).await;
            assert_eq!((answer.status, answer.header("x-echo")), (200, "1"), "{some:?}: {answer:?}");
            let seen = echo.take().remove(0);
            let forged: Vec<_> = seen.headers.iter().filter(|(_, value)| value.contains("forged")).collect();
            assert!(forged.is_empty(), "{forged:?}");
            assert_eq!((seen.all("x-tenant"), seen.all("tailscale")), (vec!["kept"], vec!["kept"]));
        }
    }
}
