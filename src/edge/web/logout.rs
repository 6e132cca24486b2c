//! Signing out.

use askama::Template;
use bytes::Bytes;
use http::header::SET_COOKIE;
use http::{HeaderName, HeaderValue, Response, StatusCode};

use super::{Visitor, Web, WebRequest, failed, form};
use crate::edge::pages::problem::Problem;
use crate::edge::pages::site::Site;
use crate::model::principal::Principal;
use crate::model::principal::Proof;

const CLEAR_SITE_DATA: HeaderName = HeaderName::from_static("clear-site-data");

#[derive(Template)]
#[template(path = "logout.html")]
struct LogoutPage<'a> {
    site: &'a Site,
    name: &'a str,
    /// Whether another proxy may keep what is open.
    beyond_us: bool,
}

pub(super) async fn show(web: &Web, request: &WebRequest) -> Result<Response<Bytes>, Problem> {
    let target = web.target(request);
    let visitor = web.visitor(request).await?;
    let Visitor::Caller(principal) = &visitor else {
        let mut response = web.go(&web.site.link_back("/login", target.as_str()));
        web.take_back(&visitor, &mut response);
        if matches!(visitor, Visitor::Ended) {
            web.end_app_sessions(request, &mut response);
        }
        return Ok(response);
    };
    let beyond_us = web.app_sessions.may_be_open_beyond_us();
    Ok(web.site.page(StatusCode::OK, &LogoutPage { site: &web.site, name: &principal.name, beyond_us }))
}

pub(super) async fn submit(web: &Web, request: &WebRequest) -> Result<Response<Bytes>, Problem> {
    let [] = form::fields(&request.headers, &request.body, [])?;
    if let Visitor::Caller(principal) = web.visitor(request).await? {
        web.end(&principal).await?;
    }
    let back = web.site.link_back("/login", web.target(request).as_str());
    let mut response = web.go(&format!("{back}&signed-out=1"));
    let headers = response.headers_mut();
    let cookies = web.site.cookies();
    headers.append(SET_COOKIE, cookies.clear_session());
    headers.append(SET_COOKIE, cookies.set_choice());
    if cookies.domain().is_some() {
        headers.append(SET_COOKIE, cookies.clear_session_here());
    }
    headers.insert(CLEAR_SITE_DATA, HeaderValue::from_static(r#""cache", "storage""#));
    web.end_app_sessions(request, &mut response);
    Ok(response)
}

impl Web {
    /// Ends the session by which somebody is known, at every host that it was taken on to.
    pub(super) async fn end(&self, principal: &Principal) -> Result<(), Problem> {
        if let Proof::Session { id, .. } = &principal.proof {
            self.services.sessions.sign_out(&self.actor, id).await.map_err(|error| failed(&error))?;
        }
        Ok(())
    }
}
