//! What every page of ours has in common: where we are reached, the look, and the headers.

use std::sync::LazyLock;

use askama::Template;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, REFERRER_POLICY,
    STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderName, HeaderValue, Method, Response, StatusCode};
use sha2::{Digest as _, Sha256};
use url::form_urlencoded;

use super::cookie::Cookies;
use crate::config::PublicUrl;
use crate::config::SessionConfig;

/// Everything of ours lives below this path; no route can cover it.
pub const RESERVED: &str = "/_doorward";

/// The one style sheet.
pub const STYLE: &[u8] = include_bytes!("web/static/doorward.css");
/// The logo, also the icon of every page.
pub const LOGO: &[u8] = include_bytes!("web/static/logo.svg");

/// Changes whenever a static file does, so that browsers may keep one without asking.
pub static VERSION: LazyLock<String> = LazyLock::new(|| {
    let digest = Sha256::new().chain_update(STYLE).chain_update(LOGO).finalize();
    URL_SAFE_NO_PAD.encode(digest.first_chunk::<9>().unwrap_or(&[0; 9]))
});

/// No script at all, nothing from elsewhere, no frames, forms only to ourselves.
const CONTENT_POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; \
                              base-uri 'none'; frame-ancestors 'none'";

/// The gateway as a browser meets it.
#[derive(Clone, Debug)]
pub struct Site {
    public_url: PublicUrl,
    cookies: Cookies,
    brand: &'static str,
}

impl Site {
    /// The site at a public address.
    pub fn new(public_url: PublicUrl, session: &SessionConfig) -> Self {
        Self { cookies: Cookies::new(&public_url, session), public_url, brand: "Doorward" }
    }

    /// How browsers reach us.
    pub fn public_url(&self) -> &PublicUrl {
        &self.public_url
    }

    /// The cookies of this site.
    pub fn cookies(&self) -> &Cookies {
        &self.cookies
    }

    /// The name on every page.
    pub fn brand(&self) -> &str {
        self.brand
    }

    /// Host, and port where it is not the usual one: what a person recognises the site by.
    pub fn host(&self) -> String {
        let origin = self.public_url.origin();
        origin.split_once("://").map_or_else(String::new, |(_, host)| host.to_owned())
    }

    /// Where someone goes who wants nothing in particular.
    pub fn home(&self) -> String {
        format!("{}/", self.public_url.base_path())
    }

    /// The address of a page of ours, relative to the origin. `page` begins with `/`.
    pub fn link(&self, page: &str) -> String {
        format!("{}{RESERVED}{page}", self.public_url.base_path())
    }

    /// [`Site::link`] with the place to come back to.
    pub fn link_back(&self, page: &str, target: &str) -> String {
        let query: String =
            form_urlencoded::Serializer::new(String::new()).append_pair("rd", target).finish();
        format!("{}?{query}", self.link(page))
    }

    /// The address of a static file, which changes with its content.
    pub fn asset(&self, name: &str) -> String {
        format!("{}?v={}", self.link(&format!("/static/{name}")), *VERSION)
    }

    /// The sign-in page's absolute address, for programs.
    pub fn login_url(&self) -> String {
        self.public_url.url(&format!("{RESERVED}/login"))
    }

    /// A page. A template that cannot be written leaves an empty page with status 500.
    pub fn page(&self, status: StatusCode, template: &impl Template) -> Response<Bytes> {
        let (status, html) = match template.render() {
            Ok(html) => (status, html),
            Err(error) => {
                tracing::error!(%error, "a page could not be written");
                (StatusCode::INTERNAL_SERVER_ERROR, String::new())
            }
        };
        self.answer(status, "text/html; charset=utf-8", Bytes::from(html))
    }

    /// Lets a page's form be followed by redirects to another origin, which browsers would stop otherwise
    /// (Content Security Policy 3, form-action). `origin` was checked: scheme, host and port alone.
    pub fn let_form_lead_to(&self, origin: &str, response: &mut Response<Bytes>) {
        let policy = CONTENT_POLICY.replace("form-action 'self'", &format!("form-action 'self' {origin}"));
        if let Ok(policy) = HeaderValue::try_from(policy) {
            response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
        }
    }

    /// A redirect. `location` begins with a single `/`, or was checked to lead to one of our hosts.
    pub fn redirect(&self, status: StatusCode, location: &str) -> Response<Bytes> {
        let mut response = self.answer(status, "text/plain; charset=utf-8", Bytes::new());
        match HeaderValue::try_from(location) {
            Ok(location) => _ = response.headers_mut().insert(LOCATION, location),
            Err(_) => *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR,
        }
        response
    }

    /// An answer with the headers that everything of ours carries.
    pub fn answer(&self, status: StatusCode, content_type: &'static str, body: Bytes) -> Response<Bytes> {
        let mut response = Response::new(body);
        *response.status_mut() = status;
        let headers = response.headers_mut();
        for (name, value) in [
            (CONTENT_TYPE, content_type),
            (CACHE_CONTROL, "no-store"),
            (CONTENT_SECURITY_POLICY, CONTENT_POLICY),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (X_FRAME_OPTIONS, "DENY"),
            // `no-referrer` would make browsers send `Origin: null` with our own forms.
            (REFERRER_POLICY, "same-origin"),
            (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
            (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
            (HeaderName::from_static("permissions-policy"), "camera=(), microphone=(), geolocation=()"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        if self.public_url.is_secure() {
            headers.insert(STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
        }
        response
    }
}

/// Leaves the body out where the request's method is HEAD; its length stays (RFC 9110, 9.3.2).
pub fn fit_to_method(method: &Method, mut response: Response<Bytes>) -> Response<Bytes> {
    if *method == Method::HEAD {
        let length = response.body().len();
        if length > 0 {
            response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        *response.body_mut() = Bytes::new();
    }
    response
}
