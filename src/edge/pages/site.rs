//! What all our pages have in common: base URL, theme and response headers.

use std::sync::Arc;

use askama::Template;
use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, REFERRER_POLICY,
    STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderName, HeaderValue, Method, Response, StatusCode};
use url::form_urlencoded;

use super::theme::Theme;
use crate::config::{LogoFormat, PagesConfig, PublicUrl, SessionConfig};
use crate::edge::cookie::Cookies;

/// Everything of ours lives below this path; no route can cover it.
pub const RESERVED: &str = "/_doorward";

/// No script at all, nothing from elsewhere, no frames, forms only to ourselves.
const CONTENT_POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; \
                              base-uri 'none'; frame-ancestors 'none'";

/// An image from the operator: opened by itself it is a picture and runs nothing. Its own inline styles
/// are part of the picture.
const IMAGE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'; \
                            sandbox";

/// The gateway as a browser meets it.
#[derive(Clone, Debug)]
pub struct Site {
    public_url: PublicUrl,
    cookies: Cookies,
    theme: Arc<Theme>,
}

impl Site {
    /// The site at a public address, with the look that the settings give its pages.
    pub fn new(public_url: PublicUrl, session: &SessionConfig, pages: &PagesConfig) -> Self {
        let cookies = Cookies::new(&public_url, session);
        Self { cookies, public_url, theme: Arc::new(Theme::new(pages)) }
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
        &self.theme.name
    }

    /// The address of the logo.
    pub fn logo(&self) -> String {
        self.asset(self.theme.logo_name())
    }

    /// The logo's media type.
    pub fn logo_type(&self) -> &'static str {
        self.theme.logo_type()
    }

    /// Whether pages show that file instead of the door.
    pub fn has_own_logo(&self) -> bool {
        self.theme.own_logo
    }

    /// What changes whenever a static file does.
    pub fn version(&self) -> &str {
        &self.theme.version
    }

    /// The style sheet.
    pub fn style_file(&self) -> Response<Bytes> {
        self.answer(StatusCode::OK, "text/css; charset=utf-8", self.theme.style.clone())
    }

    /// The logo, if it has this format.
    pub fn logo_file(&self, format: LogoFormat) -> Option<Response<Bytes>> {
        let theme = &self.theme;
        if format != theme.logo_format {
            return None;
        }
        let mut response = self.answer(StatusCode::OK, theme.logo_type(), theme.logo.clone());
        if theme.own_logo {
            response.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(IMAGE_POLICY));
        }
        Some(response)
    }

    /// Host, and port where it is not the usual one: what a person recognises the site by.
    pub fn host(&self) -> String {
        let origin = self.public_url.origin();
        origin.split_once("://").map_or_else(String::new, |(_, host)| host.to_owned())
    }

    /// What lies below our reserved path: `""`, or a path that begins with `/`.
    pub fn below_reserved<'p>(&self, path: &'p str) -> Option<&'p str> {
        let below = path.strip_prefix(self.public_url.base_path())?.strip_prefix(RESERVED)?;
        (below.is_empty() || below.starts_with('/')).then_some(below)
    }

    /// What lies below the public URL, if a path does: `""`, or a path that begins with `/`.
    pub fn below_public<'p>(&self, path: &'p str) -> Option<&'p str> {
        let below = path.strip_prefix(self.public_url.base_path())?;
        (below.is_empty() || below.starts_with('/')).then_some(below)
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
        format!("{}?v={}", self.link(&format!("/static/{name}")), self.theme.version)
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

    /// A redirect. `location` begins with a single `/`, or was checked to lead to one of our hosts or to a provider.
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
