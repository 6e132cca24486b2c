//! Our pages live at the public URL. Who opens one at another host is sent there, and comes back from there.
//!
//! An application may see what a browser sends to its host, and a sign-in there would hand it a session that is
//! good at every host. So none is begun there but by a hand-over, which counts at that host alone.

use std::net::IpAddr;

use bytes::Bytes;
use http::Response;
use http::header::HOST;
use url::form_urlencoded;

use super::redirect_loop::{explain_other_address, explain_other_host};
use super::{Page, Web, WebRequest, account, form};
use crate::edge::pages::problem::Problem;
use crate::edge::pages::site::RESERVED;

/// Says that a browser was sent to the public URL. If it arrives at another host all the same, a proxy asks for that one
/// instead of the browser's, and would redirect it for ever: then the page says so.
const MOVED: &str = "moved";

/// Whose host a page was asked for at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PageHost {
    /// Our own.
    Public,
    /// One of the applications'.
    Application,
    /// An unknown host.
    Unknown,
}

impl Web {
    /// To the page at the public URL, if this is not the place for it; `sends` where a form was sent. Nothing that a
    /// request says of itself makes it the place.
    pub(super) fn moved(
        &self,
        request: &WebRequest,
        page: Page,
        sends: bool,
    ) -> Result<Option<Response<Bytes>>, Problem> {
        let host = self.host_of(&request.host);
        if page.is_anywhere() || host == PageHost::Public {
            return Ok(None);
        }
        let public = self.site.public_url();
        if host == PageHost::Unknown {
            if form::parameter(request.query.as_deref(), MOVED).is_some() {
                return Err(Problem::sign_in_loop(explain_other_host(&self.site, &request.host)));
            }
            if public.is_loopback() && !request.host.ends_with(".localhost") {
                return Err(Problem::sign_in_loop(explain_other_address(&self.site, &request.host)));
            }
        }
        let query = query_there(request, page, host)?;
        let there = match page {
            Page::Login | Page::Setup | Page::Grant | Page::Password => &request.path,
            _ if sends => account::PAGE,
            _ => &request.path,
        };
        Ok(Some(self.go(&public.url(&format!("{RESERVED}{there}{query}")))))
    }

    /// Whether our pages are at this host.
    pub fn is_at(&self, host: &str) -> bool {
        self.host_of(host) == PageHost::Public
    }

    /// An application's host is not ours, even where all of them are this machine.
    fn host_of(&self, host: &str) -> PageHost {
        let public = self.site.public_url();
        if host == public.host() {
            PageHost::Public
        } else if self.destinations.know(host) {
            PageHost::Application
        } else if public.is_loopback() && is_this_machine(host) {
            PageHost::Public
        } else {
            PageHost::Unknown
        }
    }
}

/// The query to go on with: the original one, with an absolute return target.
fn query_there(request: &WebRequest, page: Page, host: PageHost) -> Result<String, Problem> {
    let asked = request.query.as_deref().unwrap_or_default();
    let mut query = form_urlencoded::Serializer::new(String::new());
    let has_way_back = matches!(page, Page::Login | Page::Password | Page::BeginSignIn);
    for (name, value) in form_urlencoded::parse(asked.as_bytes()) {
        if name != MOVED && !(has_way_back && name == "rd") {
            query.append_pair(&name, &value);
        }
    }
    if has_way_back {
        let sent = form::field_if_there(&request.body, "rd")?;
        let wanted = sent.or_else(|| form::parameter(request.query.as_deref(), "rd"));
        let wanted = match (host, wanted.as_deref()) {
            (PageHost::Application, None | Some("")) => Some(there(request, "/")),
            (PageHost::Application, Some(path)) if path.starts_with('/') => Some(there(request, path)),
            _ => wanted,
        };
        if let Some(wanted) = wanted {
            query.append_pair("rd", &wanted);
        }
    }
    if host == PageHost::Unknown {
        query.append_pair(MOVED, "1");
    }
    let query = query.finish();
    Ok(if query.is_empty() { query } else { format!("?{query}") })
}

/// A path at the host of the request, as an address.
fn there(request: &WebRequest, path: &str) -> String {
    let scheme = if request.client.secure { "https" } else { "http" };
    let host = request.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    format!("{scheme}://{host}{path}")
}

/// Whether a host is one of the names that every machine has for itself.
fn is_this_machine(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
