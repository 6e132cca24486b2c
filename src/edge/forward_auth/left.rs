//! What the application gets of the credentials that a client sent: everything but what is ours.
//!
//! Hardly any proxy can tell by its value what is ours. So an allow carries what is to be sent instead: `Cookie`,
//! `Authorization` and the key's header as our own proxy would send them. What the answer lacks is to be removed.

use http::header::COOKIE;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::answer::size_of;
use super::{AuthCheck, Style};
use crate::edge::pages::problem::Problem;
use crate::gate::Grounds;
use crate::gate::credential;
use crate::gate::credential::{Accepts, CredentialNames};
use crate::gate::identity_headers::Managed;
use crate::policy::Enforce;

/// Names that Envoy takes out of a request before it goes on, whatever their value.
const X_ENVOY_AUTH_HEADERS_TO_REMOVE: HeaderName = HeaderName::from_static("x-envoy-auth-headers-to-remove");

/// What Envoy has written itself, or believed of the proxy in front of it, when it asks. Everything else of this kind
/// is the client's: Envoy's own `x-envoy-original-path` and `x-forwarded-host` come only after the question.
const OF_ENVOY: [&str; 2] = ["x-forwarded-for", "x-forwarded-proto"];

/// Adds to an allow what is left of the credentials in `headers`.
///
/// # Errors
///
/// [`Problem`] if that is more than the proxy says that it holds.
pub(super) fn leave(
    headers: &HeaderMap,
    answer: &mut HeaderMap,
    check: &AuthCheck,
    (accepts, grounds): (&Accepts, Grounds),
    names: &CredentialNames,
    managed: &Managed,
) -> Result<(), Problem> {
    for (name, value) in of(headers, names, accepts, grounds) {
        // A token of the gateway's own takes the place of whatever the client sent, but where refusals are not kept.
        let filled = answer.get(&name).is_some_and(|ours| !ours.is_empty());
        if (filled && grounds.enforce == Enforce::On) || (name == COOKIE && !check.takes_cookies()) {
            continue;
        }
        if size_of(answer) + name.as_str().len() + value.len() + 4 <= check.room() {
            answer.insert(name, value);
        } else if check.takes_cookies() {
            return Err(Problem::header_too_large());
        } else {
            tracing::warn!(
                header = name.as_str(),
                "a header is larger than what nginx holds of an answer, so the answer lacks it: print its \
                 configuration again"
            );
        }
    }
    if check.style == Style::Envoy {
        let removed = removed(headers, answer, names, managed).join(",");
        if let Ok(removed) = HeaderValue::try_from(removed)
            && !removed.is_empty()
        {
            answer.insert(X_ENVOY_AUTH_HEADERS_TO_REMOVE, removed);
        }
    }
    Ok(())
}

/// What is not ours, with one value for each name. Of several values it is not known which one an application would read,
/// so none is left; cookies are one list (RFC 9113, 8.2.3).
fn of(
    headers: &HeaderMap,
    names: &CredentialNames,
    accepts: &Accepts,
    grounds: Grounds,
) -> Vec<(HeaderName, HeaderValue)> {
    let mut left = HeaderMap::new();
    for name in names.headers() {
        for value in headers.get_all(name) {
            left.append(name, value.clone());
        }
    }
    credential::strip(&mut left, names, accepts, grounds);
    let one = |name: &HeaderName| -> Option<(HeaderName, HeaderValue)> {
        let values: Vec<_> = left.get_all(name).iter().map(HeaderValue::as_bytes).collect();
        if *name != COOKIE && values.len() > 1 {
            return None;
        }
        let value = HeaderValue::from_bytes(&values.join(&b"; "[..])).ok()?;
        (!value.is_empty()).then(|| (name.clone(), value))
    };
    names.headers().filter_map(one).collect()
}

/// The headers of a request that Envoy must remove: what only we may say and the answer does not, in any spelling,
/// credentials of which nothing is left, and whatever else holds a key.
pub(super) fn removed(
    headers: &HeaderMap,
    answer: &HeaderMap,
    names: &CredentialNames,
    managed: &Managed,
) -> Vec<String> {
    let misplaced = credential::misplaced(headers);
    let gone = |name: &&HeaderName| {
        let ours = managed.is_unsendable(name) && !OF_ENVOY.contains(&name.as_str());
        !answer.contains_key(*name)
            && (ours || misplaced.contains(name) || names.headers().any(|own| own == *name))
    };
    headers.keys().filter(gone).map(|name| name.as_str().to_owned()).collect()
}
