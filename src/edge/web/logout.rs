//! Signing out.

use askama::Template;
use bytes::Bytes;
use http::header::SET_COOKIE;
use http::{HeaderName, HeaderValue, Response, StatusCode};

use super::{Visitor, Web, WebRequest, failed, form, providers};
use crate::edge::pages::problem::Problem;
use crate::edge::pages::site::Site;
use crate::model::principal::{IdentitySource, Principal, Proof};
use crate::service::provider_sessions::SignOutTokens;

const CLEAR_SITE_DATA: HeaderName = HeaderName::from_static("clear-site-data");

#[derive(Template)]
#[template(path = "logout.html")]
struct LogoutPage<'a> {
    site: &'a Site,
    name: &'a str,
    /// Where they are signed out too.
    provider: Option<&'a str>,
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
    let there = match &principal.source {
        IdentitySource::Provider(name) => {
            web.federation.sign_out_origin(name).await.zip(web.federation.button(name))
        }
        _ => None,
    };
    let provider = there.as_ref().map(|(_, provider)| provider.display_name);
    let page = LogoutPage { site: &web.site, name: &principal.name, provider, beyond_us };
    let mut response = web.site.page(StatusCode::OK, &page);
    if let Some((origin, _)) = &there {
        web.site.let_form_lead_to(origin, &mut response);
    }
    Ok(response)
}

pub(super) async fn submit(web: &Web, request: &WebRequest) -> Result<Response<Bytes>, Problem> {
    let [] = form::fields(&request.headers, &request.body, [])?;
    let target = web.target(request);
    let mut on_there = None;
    if let Visitor::Caller(principal) = web.visitor(request).await? {
        let tokens = web.sign_out_tokens(&principal).await?;
        web.end(&principal).await?;
        // Signed out here it is, whatever the provider says.
        if let Some(tokens) = tokens {
            on_there = web.federation.sign_out(tokens, target.as_str()).await;
        }
    }
    let mut response = match &on_there {
        Some(out) => providers::sign_out::go(web, out),
        None => web.go(&format!("{}&signed-out=1", web.site.link_back("/login", target.as_str()))),
    };
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
    /// What signing out at the provider needs, of somebody who came from there; to be asked before the session ends.
    async fn sign_out_tokens(&self, principal: &Principal) -> Result<Option<SignOutTokens>, Problem> {
        let (Proof::Session { id, .. }, IdentitySource::Provider(_)) = (&principal.proof, &principal.source)
        else {
            return Ok(None);
        };
        self.services.provider_sessions.sign_out_tokens(id).await.map_err(|error| failed(&error))
    }

    /// Ends the session by which somebody is known, at every host that it was taken on to.
    pub(super) async fn end(&self, principal: &Principal) -> Result<(), Problem> {
        if let Proof::Session { id, .. } = &principal.proof {
            self.services.sessions.sign_out(&self.actor, id).await.map_err(|error| failed(&error))?;
        }
        Ok(())
    }
}
