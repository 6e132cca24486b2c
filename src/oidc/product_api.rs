//! The interface of a product beside its sign-in: JSON by `GET` below one address, also in pages.
//!
//! Only addresses below that one are called, also where an answer names the next page. How many pages are read has a bound, and
//! a list that cannot be read to its end is a failure: a short list would open what is refused to members of a group.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::timeout;

use super::error::{LookupError, loggable};
use crate::egress::{EgressClient, EgressRequest, EgressResponse};
use crate::model::json;
use crate::model::secret::Secret;

/// For all that is looked up about somebody in one sign-in.
const LOOKUP_TIME: Duration = Duration::from_secs(20);

/// The interface of one product.
pub(super) struct ProductApi {
    egress: EgressClient,
    /// Without a slash at the end.
    base: String,
    headers: Vec<(&'static str, Secret)>,
}

/// One page of a list.
pub(super) struct Page<T> {
    pub(super) items: Vec<T>,
    /// The path or the address of the next one.
    pub(super) next: Option<String>,
}

impl ProductApi {
    pub(super) fn new(egress: EgressClient, base: &str, headers: &[(&'static str, &str)]) -> Self {
        let headers = headers.iter().map(|(name, value)| (*name, Secret::new(*value))).collect();
        Self { egress, base: base.trim_end_matches('/').to_owned(), headers }
    }

    /// An answer of success. `path` begins with a slash, or is a whole address below this interface.
    pub(super) async fn get(&self, path: &str, token: &Secret) -> Result<EgressResponse, LookupError> {
        let mut request = EgressRequest::get(&self.address(path)?).bearer(token);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let response = self.egress.send(request).await?;
        match refusal(&response) {
            None => Ok(response),
            Some(error) => {
                let said = said(&response);
                let said =
                    if said.contains(token.expose()) { "(it repeats the token)".to_owned() } else { said };
                let path = path.split('?').next().unwrap_or_default();
                tracing::warn!(
                    api = self.base,
                    path,
                    status = response.status(),
                    said,
                    "a provider's API refused a call"
                );
                Err(error)
            }
        }
    }

    /// All items of a list, which has at most `most` pages.
    pub(super) async fn list<T>(
        &self,
        first: String,
        token: &Secret,
        most: usize,
        mut read: impl FnMut(&EgressResponse) -> Result<Page<T>, LookupError>,
    ) -> Result<Vec<T>, LookupError> {
        let mut items = Vec::new();
        let mut next = first;
        for _ in 0..most {
            let page = read(&self.get(&next, token).await?)?;
            items.extend(page.items);
            match page.next {
                None => return Ok(items),
                Some(following) if following == next => return Err(LookupError::Shape("the next page")),
                Some(following) => next = following,
            }
        }
        Err(LookupError::TooManyPages(most))
    }

    /// A path as an address, and an address if it is one of this interface.
    fn address(&self, path: &str) -> Result<String, LookupError> {
        if path.starts_with('/') {
            return Ok(format!("{}{path}", self.base));
        }
        match path.strip_prefix(self.base.as_str()) {
            Some(rest) if rest.starts_with('/') => Ok(path.to_owned()),
            _ => Err(LookupError::Elsewhere),
        }
    }
}

/// What a lookup comes to, within the time that all of it has.
pub(super) async fn within_time<T>(
    lookup: impl Future<Output = Result<T, LookupError>>,
) -> Result<T, LookupError> {
    timeout(LOOKUP_TIME, lookup).await.unwrap_or(Err(LookupError::Slow))
}

/// The body of an answer, of which `what` says what it should be.
pub(super) fn body<T: DeserializeOwned>(
    response: &EgressResponse,
    what: &'static str,
) -> Result<T, LookupError> {
    // JSON of another shape is told apart from what is none, such as the page of a proxy in between.
    let value: Value = response.json()?;
    serde_json::from_value(value).map_err(|_| LookupError::Shape(what))
}

/// `None` if the status is one of success.
fn refusal(response: &EgressResponse) -> Option<LookupError> {
    let is_limited = response.status() == 429
        || response.header("x-ratelimit-remaining") == Some("0")
        || response.header("retry-after").is_some();
    match response.status() {
        401 => Some(LookupError::Unauthorized),
        403 | 429 if is_limited => Some(LookupError::RateLimited),
        403 => Some(LookupError::Forbidden),
        404 => Some(LookupError::NotFound),
        _ => response.check_success().err().map(LookupError::Call),
    }
}

/// What a refusal says of itself, as GitHub (`message`), Google and Microsoft (`error.message`) and GitLab (any of these) say it.
fn said(response: &EgressResponse) -> String {
    let body: Value = json::read(response.body()).unwrap_or_default();
    let places = ["/error/message", "/message", "/error_description", "/error"];
    let text = places.into_iter().find_map(|place| body.pointer(place).and_then(Value::as_str));
    loggable(text.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::egress::testing::{Behaviour, TestServer};

    fn api(server: &TestServer) -> ProductApi {
        ProductApi::new(server.client(), &server.url("/api/v3/"), &[("x-version", "7")])
    }

    async fn list(server: &TestServer) -> Result<Vec<u64>, LookupError> {
        let read = |response: &EgressResponse| {
            let items = body(response, "a list of numbers")?;
            Ok(Page { items, next: response.header("x-next").map(str::to_owned) })
        };
        api(server).list("/all?page=1".to_owned(), &Secret::new("the-token"), 3, read).await
    }

    fn page(items: &Value, next: &str) -> Behaviour {
        let body = items.to_string();
        let next = if next.is_empty() { String::new() } else { format!("x-next: {next}\r\n") };
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n{next}\r\n", body.len());
        Behaviour::Answer((head + &body).into_bytes())
    }

    #[tokio::test]
    async fn a_list_is_read_to_its_end_with_the_headers_of_the_product() {
        let server = TestServer::plain(Behaviour::Choose(std::sync::Arc::new(|request| {
            if request.contains("page=1") {
                page(&json!([1, 2]), "/all?page=2")
            } else {
                page(&json!([3]), "")
            }
        })))
        .await;
        assert_eq!(list(&server).await.unwrap(), [1, 2, 3]);
        for request in server.requests() {
            assert!(request.starts_with("GET /api/v3/all?page="), "{request}");
            assert!(
                request.contains("authorization: Bearer the-token\r\n")
                    && request.contains("x-version: 7\r\n")
            );
        }
    }

    #[tokio::test]
    async fn a_list_without_an_end_is_a_failure_and_is_not_read_for_ever() {
        let server = TestServer::plain(Behaviour::Choose(std::sync::Arc::new(|request| {
            let next = if request.contains("page=1") { "/all?page=2" } else { "/all?page=1" };
            page(&json!([1]), next)
        })))
        .await;
        assert!(matches!(list(&server).await, Err(LookupError::TooManyPages(3))));
        assert_eq!(server.requests().len(), 3);
        let same = TestServer::plain(page(&json!([1]), "/all?page=1")).await;
        assert!(matches!(list(&same).await, Err(LookupError::Shape("the next page"))));
        assert_eq!(same.requests().len(), 1);
    }

    #[tokio::test]
    async fn a_next_page_elsewhere_is_never_called_and_the_token_stays_at_home() {
        let other = TestServer::plain(page(&json!([9]), "")).await;
        for next in [
            other.url("/api/v3/all"),
            "https://evil.example/api/v3/all".to_owned(),
            "//evil.example/all".to_owned(),
            "all?page=2".to_owned(),
        ] {
            let shown = next.clone();
            let server = TestServer::plain(page(&json!([1]), &next)).await;
            let listed = list(&server).await;
            // A path with two slashes is a path of the same server.
            let is_own_path = shown.starts_with("//");
            assert!(matches!(listed, Err(LookupError::Elsewhere)) != is_own_path, "{shown} {listed:?}");
        }
        assert_eq!(other.connections(), 0);
        let server = TestServer::plain(Behaviour::Choose(std::sync::Arc::new(|request| {
            let host = request.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
            page(&json!([1]), &format!("http://{host}/api/v3evil/all"))
        })))
        .await;
        assert!(
            matches!(list(&server).await, Err(LookupError::Elsewhere)),
            "a prefix of a name is not below it"
        );
    }

    #[tokio::test]
    async fn every_refusal_has_a_reason_of_its_own() {
        let limited = |status: u16, header: &str| {
            Behaviour::Answer(
                format!("HTTP/1.1 {status} No\r\n{header}content-length: 2\r\n\r\n{{}}").into_bytes(),
            )
        };
        let is = |wanted: fn(&LookupError) -> bool| wanted;
        for (answer, wanted) in [
            (limited(401, ""), is(|error| matches!(error, LookupError::Unauthorized))),
            (limited(403, ""), is(|error| matches!(error, LookupError::Forbidden))),
            (limited(404, ""), is(|error| matches!(error, LookupError::NotFound))),
            (limited(429, ""), is(|error| matches!(error, LookupError::RateLimited))),
            (
                limited(403, "x-ratelimit-remaining: 0\r\n"),
                is(|error| matches!(error, LookupError::RateLimited)),
            ),
            (limited(403, "retry-after: 60\r\n"), is(|error| matches!(error, LookupError::RateLimited))),
            (
                limited(403, "x-ratelimit-remaining: 12\r\n"),
                is(|error| matches!(error, LookupError::Forbidden)),
            ),
            (limited(500, ""), is(|error| matches!(error, LookupError::Call(_)))),
            (limited(302, "location: /\r\n"), is(|error| matches!(error, LookupError::Call(_)))),
            (
                Behaviour::answer(200, "text/html", "<h1>Hello</h1>"),
                is(|error| matches!(error, LookupError::Call(_))),
            ),
            (Behaviour::json("{\"a\":1}"), is(|error| matches!(error, LookupError::Shape(_)))),
            (Behaviour::json("[\"1\"]"), is(|error| matches!(error, LookupError::Shape(_)))),
            (
                Behaviour::json(&format!("[{}1]", " ".repeat(3 << 20))),
                is(|error| matches!(error, LookupError::Call(_))),
            ),
        ] {
            let server = TestServer::plain(answer).await;
            let error = list(&server).await.unwrap_err();
            assert!(wanted(&error), "{error:?}");
            assert!(!format!("{error} {error:?}").contains("the-token"));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_slow_ends_in_time() {
        let never = std::future::pending::<Result<(), LookupError>>();
        assert!(matches!(within_time(never).await, Err(LookupError::Slow)));
    }
}
