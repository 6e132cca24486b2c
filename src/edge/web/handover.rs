//! On to where the person wanted to go, and taking the sign-in along where our cookie does not reach.
//!
//! Three redirects: `begin` at the other host gives the browser a random cookie there; `grant` at the public
//! host, where the browser is signed in, makes a token that names the digest of that cookie; and the other
//! host takes the token, from this browser only. A link with a token thus signs no other browser in: it does
//! not hold the cookie. A link to `begin` or `grant` only leads people on as who they are.

use askama::Template;
use bytes::Bytes;
use http::header::{HOST, SET_COOKIE};
use http::{Response, StatusCode};
use url::form_urlencoded;

use super::return_target::OtherOrigin;
use super::{ReturnTarget, Visitor, Web, WebRequest, failed, form, unreferred, user_agent};
use crate::edge::pages::problem::Problem;
use crate::edge::pages::site::{RESERVED, Site};
use crate::model::principal::Proof;
use crate::model::token::TokenDigest;
use crate::model::token::random_text;

#[derive(Template)]
#[template(path = "handover.html")]
struct FailedPage<'a> {
    site: &'a Site,
    sign_in: String,
}

impl Web {
    /// To the target: by way of a new password where that comes first, and of a hand-over where it is needed.
    pub(super) fn onward(&self, target: &ReturnTarget, must_change_password: bool) -> Response<Bytes> {
        if must_change_password {
            return self.go(&self.site.link_back("/password", target.as_str()));
        }
        match self.beyond_cookies(target) {
            Some(away) => {
                let begin = self.site.link_back("/handover/begin", target.as_str());
                self.go(&format!("{}{begin}", away.origin))
            }
            None => self.go(target.as_str()),
        }
    }

    /// The target, if it is at a host where browsers do not send our cookie.
    fn beyond_cookies<'t>(&self, target: &'t ReturnTarget) -> Option<&'t OtherOrigin> {
        target.away().filter(|away| !self.site.cookies().reach(&away.host))
    }
}

/// At the other host: gives the browser something to hold, and asks for a token for it.
pub(super) fn begin(web: &Web, request: &WebRequest) -> Response<Bytes> {
    let target = web.target(request);
    if web.beyond_cookies(&target).is_none_or(|away| away.host != request.host) {
        return refused(web, request);
    }
    let cookies = web.site.cookies();
    // Two tabs may begin at once; one must not take from the other what it holds.
    let held = cookies.handover(&request.headers).filter(|held| TokenDigest::from_text(held).is_some());
    let held = held.map_or_else(|| random_text().expose().to_owned(), str::to_owned);
    let query: String = form_urlencoded::Serializer::new(String::new())
        .append_pair("rd", target.as_str())
        .append_pair("browser", &TokenDigest::of(&held).to_text())
        .finish();
    let mut response = web.go(&web.site.public_url().url(&format!("{RESERVED}/handover/grant?{query}")));
    response.headers_mut().append(SET_COOKIE, cookies.set_handover(&held));
    unreferred(response)
}

/// At the public host: a token for the signed-in user, to be redeemed at the other host.
pub(super) async fn grant(web: &Web, request: &WebRequest) -> Result<Response<Bytes>, Problem> {
    let target = web.target(request);
    let visitor = web.visitor(request).await?;
    let Visitor::Caller(principal) = &visitor else {
        return Ok(sign_in_first(web, &target, &visitor));
    };
    let Some(away) = web.beyond_cookies(&target).filter(|_| !principal.must_change_password) else {
        return Ok(web.onward(&target, principal.must_change_password));
    };
    let browser = form::parameter(request.query.as_deref(), "browser");
    let browser = browser.and_then(|text| TokenDigest::from_text(&text));
    let browser = browser.ok_or_else(|| Problem::bad_request("The address is not complete."))?;
    let Proof::Session { id, .. } = &principal.proof else {
        return Ok(sign_in_first(web, &target, &visitor));
    };
    let granted = web.services.handovers.grant(id, browser, &away.host, &away.path).await;
    let Some(token) = granted.map_err(|error| failed(&error))? else {
        return Ok(sign_in_first(web, &target, &visitor));
    };
    let redeem = web.site.link("/handover");
    let mut response = web.go(&format!("{}{redeem}?token={}", away.origin, token.expose()));
    let cookies = web.site.cookies();
    let visits = web.loop_guard.handed_over(cookies.loop_guard(&request.headers), target.as_str());
    response.headers_mut().append(SET_COOKIE, cookies.set_loop_guard(&web.loop_guard.write(&visits)));
    Ok(unreferred(response))
}

/// At the other host again: a session for the token, once.
pub(super) async fn redeem(web: &Web, request: &WebRequest) -> Result<Response<Bytes>, Problem> {
    let token = form::parameter(request.query.as_deref(), "token").unwrap_or_default();
    let cookies = web.site.cookies();
    let held = cookies.handover(&request.headers).unwrap_or_default();
    let (client, agent) = (request.client.address.nearest(), user_agent(&request.headers));
    let redeemed =
        web.services.handovers.redeem(&web.actor, &token, held, &request.host, client, agent).await;
    let Some(redeemed) = redeemed.map_err(|error| failed(&error))? else {
        return Ok(refused(web, request));
    };
    let mut response = web.go(&redeemed.path);
    response.headers_mut().append(SET_COOKIE, cookies.set_session_here(&redeemed.cookie));
    web.end_app_sessions(request, &mut response);
    Ok(unreferred(response))
}

fn sign_in_first(web: &Web, target: &ReturnTarget, visitor: &Visitor) -> Response<Bytes> {
    let mut response = web.go(&web.site.link_back("/login", target.as_str()));
    web.take_back(visitor, &mut response);
    response
}

/// Says what happened and offers to begin anew, from the start page of the host at which we are.
fn refused(web: &Web, request: &WebRequest) -> Response<Bytes> {
    let scheme = if request.client.secure { "https" } else { "http" };
    let host = request.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let start = ReturnTarget::parse(&format!("{scheme}://{host}/"), &web.destinations);
    let query: String =
        form_urlencoded::Serializer::new(String::new()).append_pair("rd", start.as_str()).finish();
    let sign_in = format!("{}?{query}", web.site.login_url());
    unreferred(web.site.page(StatusCode::FORBIDDEN, &FailedPage { site: &web.site, sign_in }))
}
