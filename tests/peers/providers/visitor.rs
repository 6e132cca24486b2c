//! Somebody with a browser, as far as HTTP goes: cookies, redirects and forms.

use http::Method;
use url::Url;
use url::form_urlencoded::Serializer;

use crate::support::client;

/// More redirects than any sign-in has.
const REDIRECTS: usize = 20;

/// A browser with its cookies.
#[derive(Default)]
pub(crate) struct Visitor {
    cookies: Vec<Cookie>,
    /// An address that nobody serves, at which visits end.
    end: Option<String>,
}

/// By host and path; browsers ask no port (RFC 6265, 8.5), so that servers on one host see each other's.
struct Cookie {
    host: String,
    path: String,
    name: String,
    value: String,
}

/// Where a visit came to.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) url: Url,
    /// 0 at the visitor's end.
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Visitor {
    /// Redirects that begin so are not followed.
    pub(crate) fn up_to(end: &str) -> Self {
        Self { cookies: Vec::new(), end: Some(end.to_owned()) }
    }

    /// Opens an address and goes where it leads.
    pub(crate) async fn open(&mut self, url: &str) -> Page {
        self.go(Method::GET, Url::parse(url).unwrap(), String::new()).await
    }

    /// Fills in the page's form and sends it.
    pub(crate) async fn submit(&mut self, page: &Page, fields: &[(&str, &str)]) -> Page {
        let (action, hidden) = page.form();
        let mut form = Serializer::new(String::new());
        form.extend_pairs(hidden.iter().filter(|(name, _)| fields.iter().all(|(other, _)| other != name)));
        self.go(Method::POST, page.url.join(&action).unwrap(), form.extend_pairs(fields).finish()).await
    }

    /// Takes a cookie over that a script got from this server, written `name=value`.
    pub(crate) fn take(&mut self, url: &Url, cookie: &str) {
        self.keep(url, &format!("{cookie}; Path=/"));
    }

    /// Loses the cookies whose names begin so.
    pub(crate) fn forget(&mut self, prefix: &str) {
        self.cookies.retain(|cookie| !cookie.name.starts_with(prefix));
    }

    async fn go(&mut self, mut method: Method, mut url: Url, mut body: String) -> Page {
        for _ in 0..REDIRECTS {
            if self.end.as_ref().is_some_and(|end| url.as_str().starts_with(end)) {
                return Page { url, status: 0, body: String::new() };
            }
            let cookies = self.cookies_for(&url);
            let origin = url.origin().ascii_serialization();
            let mut headers = vec![("accept", "text/html,*/*;q=0.8"), ("sec-fetch-mode", "navigate")];
            if !cookies.is_empty() {
                headers.push(("cookie", &cookies));
            }
            if method == Method::POST {
                headers.push(("content-type", "application/x-www-form-urlencoded"));
                headers.push(("origin", &origin));
            }
            let sent = client::send(method, url.as_str(), &headers, body).await;
            let answer = sent.unwrap_or_else(|error| panic!("{url}: {error}"));
            for cookie in answer.headers.get_all("set-cookie") {
                self.keep(&url, cookie.to_str().unwrap());
            }
            let location = answer.header("location");
            if !(300..400).contains(&answer.status) || location.is_empty() {
                return Page { url, status: answer.status, body: answer.body };
            }
            url = url.join(location).unwrap();
            (method, body) = (Method::GET, String::new());
        }
        panic!("too many redirects, the last to {url}");
    }

    /// The cookies that a server there gets, as one header value.
    pub(crate) fn cookies_for(&self, url: &Url) -> String {
        let fits = |path: &str| {
            let rest = url.path().strip_prefix(path);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || path.ends_with('/'))
        };
        let host = url.host_str().unwrap();
        let fitting = self.cookies.iter().filter(|cookie| cookie.host == host && fits(&cookie.path));
        let pairs: Vec<_> = fitting.map(|cookie| format!("{}={}", cookie.name, cookie.value)).collect();
        pairs.join("; ")
    }

    fn keep(&mut self, url: &Url, text: &str) {
        let mut parts = text.split(';').map(str::trim);
        let (name, value) = parts.next().unwrap().split_once('=').unwrap();
        let attributes: Vec<_> = parts.filter_map(|part| part.split_once('=')).collect();
        let attribute = |wanted: &str| {
            let found = attributes.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
            found.map(|(_, value)| value.trim_matches('"'))
        };
        let default =
            url.path().rsplit_once('/').map_or("/", |(path, _)| if path.is_empty() { "/" } else { path });
        let path = attribute("path").filter(|path| path.starts_with('/')).unwrap_or(default);
        let host = url.host_str().unwrap();
        let same = |cookie: &Cookie| cookie.host == host && cookie.path == path && cookie.name == name;
        self.cookies.retain(|cookie| !same(cookie));
        let is_over = attribute("max-age").is_some_and(|age| age.starts_with('-') || age == "0")
            || attribute("expires").is_some_and(|date| date.contains(" 1970 ") || date.contains("-1970 "));
        if !is_over {
            let [host, path, name, value] = [host, path, name, value].map(str::to_owned);
            self.cookies.push(Cookie { host, path, name, value });
        }
    }
}

impl Page {
    /// The query of an address at the visitor's end.
    pub(crate) fn query(&self) -> &str {
        assert_eq!(self.status, 0, "{self:?}");
        self.url.query().unwrap()
    }

    /// Where its first form goes, and its hidden fields.
    fn form(&self) -> (String, Vec<(String, String)>) {
        let (_, form) =
            self.body.split_once("<form").unwrap_or_else(|| panic!("no form at {}: {}", self.url, self.body));
        let form = form.split("</form").next().unwrap();
        let opening = form.split('>').next().unwrap();
        let hidden = form.split("<input").skip(1).filter_map(|input| {
            let input = input.split('>').next().unwrap();
            let is_hidden = attribute(input, "type").is_some_and(|kind| kind == "hidden");
            is_hidden.then(|| attribute(input, "name").zip(attribute(input, "value"))).flatten()
        });
        (attribute(opening, "action").unwrap_or_default(), hidden.collect())
    }
}

/// An attribute of an element.
fn attribute(element: &str, name: &str) -> Option<String> {
    let (_, rest) = element.split_once(&format!(" {name}=\""))?;
    let value = rest.split('"').next()?;
    let entities =
        [("&quot;", "\""), ("&#39;", "'"), ("&#43;", "+"), ("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")];
    Some(entities.iter().fold(value.to_owned(), |text, (entity, character)| text.replace(entity, character)))
}
