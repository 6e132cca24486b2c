//! How a product's question is read.
//!
//! nginx hands on every header of the client that its configuration does not set. So what a product's nginx
//! configuration may leave out is not believed where nginx may be asking: the method then counts as not said,
//! and the host is the question's own. Proxies that always write all of `X-Forwarded-*` are believed once
//! `forward_auth.flavours` names them, and nginx is not among them.

use http::HeaderName;
use url::Url;

use super::super::original::{BadSubrequest, Original, Subrequest, X_FORWARDED_URI, X_ORIGINAL_URL};
use super::super::{AuthCheck, ForwardAuth, Style};
use super::terms::page_named;
use super::{Action, CompatEndpoint, Contract, Terms};
use crate::config::Compat as Product;
use crate::config::Flavour;
use crate::model::principal::Client;

const X_ORIGINAL_URI: HeaderName = HeaderName::from_static("x-original-uri");
const X_AUTHELIA_URL: HeaderName = HeaderName::from_static("x-authelia-url");

impl ForwardAuth {
    /// Reads a question at a product's path. `query` is that of the question.
    ///
    /// # Errors
    ///
    /// [`BadSubrequest`] if any part of the original request is missing, doubled, malformed or contradicted.
    pub fn read_compat(
        &self,
        endpoint: &CompatEndpoint,
        question: &Subrequest<'_>,
        query: Option<&str>,
        client: Client,
    ) -> Result<AuthCheck, BadSubrequest> {
        let Action::Check(contract, mut style) = endpoint.action else { return Err(BadSubrequest::Message) };
        let default = client.secure || self.site.public_url().is_secure();
        let original = match contract {
            Contract::Uri if self.proxies_say_all() => question.from_forwarded(),
            // The header may not be nginx's then, and a key's scope is not to be chosen by who holds the key.
            Contract::Uri if !self.path_matters => question.at_root(default),
            Contract::Uri => question.from_uri(&[X_FORWARDED_URI, X_ORIGINAL_URI], default),
            Contract::Forwarded => question.from_forwarded(),
            Contract::Url => question.original(Flavour::Nginx),
            Contract::UrlOnly => question.from_url_only(&X_ORIGINAL_URL),
            Contract::Verify => self.verify(question),
            Contract::Path => question.from_own(default),
        }?;
        let mut terms = Terms::of(endpoint.product, query);
        if endpoint.product == Product::Authelia {
            let named = ["authelia_url", "rd"].iter().find_map(|name| page_named(query?, name));
            if contract == Contract::Verify && named.is_some() {
                style = Style::PassedOn;
            }
            let header = || question.headers.get(X_AUTHELIA_URL)?.to_str().ok().map(str::to_owned);
            terms.portal = named.or_else(header).and_then(|url| self.known_origin(&url));
        }
        let client = Client { secure: original.secure, ..client };
        Ok(AuthCheck {
            style,
            headers: Some(endpoint.product.headers()),
            route: None,
            original,
            client,
            terms,
            answer_bytes: style.answer_bytes(question.headers),
        })
    }

    /// Whether a question at this place names the client in `X-Forwarded-For`. nginx as these products have it
    /// configured leaves that header to the client.
    pub fn says_client(&self, endpoint: &CompatEndpoint) -> bool {
        self.proxies_say_all()
            || !matches!(endpoint.action, Action::Check(Contract::Uri | Contract::UrlOnly, _))
    }

    /// Whether every proxy that asks writes the whole of `X-Forwarded-*` itself.
    fn proxies_say_all(&self) -> bool {
        !self.flavours.is_empty() && !self.flavours.contains(&Flavour::Nginx)
    }

    /// Authelia's older endpoint, asked by nginx with `X-Original-URL` and by others with `X-Forwarded-*`.
    fn verify(&self, question: &Subrequest<'_>) -> Result<Original, BadSubrequest> {
        if !question.headers.contains_key(X_ORIGINAL_URL) {
            return question.from_forwarded();
        }
        let by_url = question.from_url_only(&X_ORIGINAL_URL)?;
        if !question.headers.contains_key(X_FORWARDED_URI) {
            return Ok(by_url);
        }
        let forwarded = question.from_forwarded()?;
        if by_url.url() != forwarded.url() {
            return Err(BadSubrequest::Contradicted(X_ORIGINAL_URL, X_FORWARDED_URI));
        }
        Ok(if self.proxies_say_all() { forwarded } else { by_url })
    }

    /// Scheme and authority of an address, if its host is one of ours.
    fn known_origin(&self, url: &str) -> Option<String> {
        let url = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
        let host = url.host_str()?;
        let known = host == self.site.public_url().host() || self.hosts.iter().any(|own| own == host);
        known.then(|| url.origin().ascii_serialization())
    }
}
