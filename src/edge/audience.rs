//! Who reads a response: a browser, a program, or a gRPC client. It decides the form, never the meaning.

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, UPGRADE};
use http::{HeaderMap, HeaderName, Method};

/// The form in which an answer of ours is understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// A person who navigates: pages and redirects.
    Browser,
    /// A program, or a script in a page: problem+json, never a redirect.
    Api,
    /// A gRPC client: trailers-only answers.
    Grpc,
}

const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
const X_REQUESTED_WITH: HeaderName = HeaderName::from_static("x-requested-with");

impl Audience {
    /// Reads it from a request.
    ///
    /// A request with an `Authorization` header is never a person's: a redirect would hide that the
    /// credential is wrong. `Sec-Fetch-*` (W3C Fetch Metadata) decides where a browser sends it, `Accept`
    /// otherwise.
    pub fn of(method: &Method, headers: &HeaderMap) -> Self {
        if text(headers, &CONTENT_TYPE).is_some_and(is_grpc) {
            return Self::Grpc;
        }
        if [AUTHORIZATION, X_REQUESTED_WITH, UPGRADE].iter().any(|name| headers.contains_key(name)) {
            return Self::Api;
        }
        let mode = text(headers, &SEC_FETCH_MODE);
        let dest = text(headers, &SEC_FETCH_DEST);
        let navigates = if mode.is_some() || dest.is_some() {
            mode == Some("navigate") || matches!(dest, Some("document" | "iframe"))
        } else {
            matches!(*method, Method::GET | Method::HEAD) && accepts_html(headers)
        };
        if navigates { Self::Browser } else { Self::Api }
    }
}

/// `application/grpc` and its codecs, but not `application/grpc-web`, whose clients are scripts in pages.
fn is_grpc(content_type: &str) -> bool {
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    media_type.strip_prefix("application/grpc").is_some_and(|rest| rest.is_empty() || rest.starts_with('+'))
}

fn accepts_html(headers: &HeaderMap) -> bool {
    headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.to_ascii_lowercase().contains("text/html"))
}

fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[track_caller]
    fn check(method: &Method, headers: &[(&'static str, &'static str)], expected: Audience) {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        assert_eq!(Audience::of(method, &headers), expected, "{method} {headers:?}");
    }

    #[test]
    fn a_person_who_navigates_gets_pages() {
        use Audience::Browser;
        check(&Method::GET, &[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")], Browser);
        check(&Method::POST, &[("sec-fetch-mode", "navigate")], Browser);
        check(&Method::GET, &[("sec-fetch-dest", "iframe"), ("sec-fetch-mode", "navigate")], Browser);
        check(&Method::GET, &[("accept", "text/html,application/xhtml+xml,*/*;q=0.8")], Browser);
        check(&Method::HEAD, &[("accept", "Text/HTML")], Browser);
    }

    #[test]
    fn programs_and_scripts_never_get_redirected() {
        use Audience::Api;
        check(&Method::GET, &[], Api);
        check(&Method::GET, &[("accept", "*/*")], Api);
        check(&Method::POST, &[("accept", "text/html")], Api);
        check(&Method::GET, &[("sec-fetch-mode", "cors"), ("accept", "text/html")], Api);
        check(&Method::GET, &[("sec-fetch-dest", "image"), ("sec-fetch-mode", "no-cors")], Api);
        check(&Method::GET, &[("x-requested-with", "XMLHttpRequest"), ("accept", "text/html")], Api);
        check(&Method::GET, &[("upgrade", "websocket"), ("accept", "text/html")], Api);
    }

    #[test]
    fn a_request_with_authorization_is_never_redirected() {
        for authorization in ["x", "", "Bearer dw_s_x", "Basic eDp5", "Negotiate"] {
            for navigating in [
                [("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")],
                [("accept", "text/html"), ("sec-fetch-site", "none")],
            ] {
                for method in [Method::GET, Method::HEAD] {
                    check(&method, &navigating, Audience::Browser);
                    let headers = [&navigating[..], &[("authorization", authorization)]].concat();
                    check(&method, &headers, Audience::Api);
                }
            }
        }
    }

    #[test]
    fn grpc_is_told_apart_by_its_media_type() {
        check(&Method::POST, &[("content-type", "application/grpc")], Audience::Grpc);
        check(&Method::POST, &[("content-type", "application/grpc+proto")], Audience::Grpc);
        check(
            &Method::POST,
            &[("content-type", "application/grpc; v=1"), ("authorization", "x")],
            Audience::Grpc,
        );
        check(&Method::POST, &[("content-type", "application/grpc-web")], Audience::Api);
        check(&Method::POST, &[("content-type", "application/grpcx")], Audience::Api);
    }
}
