//! Links to where signing in at a provider begins.

use bytes::Bytes;
use http::Response;
use http::header::SET_COOKIE;
use url::form_urlencoded;

use super::{Page, ReturnTarget, Web, WebRequest, form, unreferred};
use crate::federation::{Begun, Button};

/// A way to sign in that the sign-in page offers.
pub(super) struct ProviderLink<'w> {
    /// What people call it.
    pub(super) name: &'w str,
    pub(super) href: String,
}

impl Web {
    /// Every provider, on the way to `target`.
    pub(super) fn provider_links(
        &self,
        request: &WebRequest,
        target: &ReturnTarget,
    ) -> Vec<ProviderLink<'_>> {
        let link = |button: Button<'_>| self.begin_link(button.name, request, target);
        let links = self.federation.buttons().map(|button| (button.display_name, link(button)));
        links.map(|(name, href)| ProviderLink { name, href }).collect()
    }

    /// The provider that a page is of, by its name in the settings.
    pub fn provider_at(&self, page: Option<Page>, path: &str) -> Option<&str> {
        match page? {
            Page::BeginSignIn | Page::CompleteSignIn | Page::ProviderLogout => {
                let name = path.rsplit('/').next()?;
                self.federation.button(name).map(|button| button.name)
            }
            _ => None,
        }
    }

    /// Gives a browser the state of a sign-in that has begun, which takes the place of the oldest where there are too many. The
    /// provider does not learn on which page it was.
    pub(super) fn carrying(
        &self,
        request: &WebRequest,
        begun: &Begun,
        mut response: Response<Bytes>,
    ) -> Response<Bytes> {
        let (headers, cookies) = (response.headers_mut(), self.site.cookies());
        for cleared in cookies.clear_oldest_sign_ins(&request.headers) {
            headers.append(SET_COOKIE, cleared);
        }
        headers.append(SET_COOKIE, cookies.set_sign_in(&begun.state, &begun.cookie));
        unreferred(response)
    }

    /// Where signing in at a provider begins; with whom it is, if the request says so.
    pub(super) fn begin_link(&self, name: &str, request: &WebRequest, target: &ReturnTarget) -> String {
        let link = self.site.link_back(&format!("/sign-in/{name}"), target.as_str());
        match form::parameter(request.query.as_deref(), "login_hint") {
            Some(hint) => {
                let hint: String =
                    form_urlencoded::Serializer::new(String::new()).append_pair("login_hint", &hint).finish();
                format!("{link}&{hint}")
            }
            None => link,
        }
    }
}
