//! Signing out at a provider: on the way there, back from there, and when the provider says that somebody signed out there.

use askama::Template;
use bytes::Bytes;
use http::header::SET_COOKIE;
use http::{Response, StatusCode};
use serde_json::json;

use crate::edge::pages::problem::Problem;
use crate::edge::pages::site::Site;
use crate::edge::web::unreferred;
use crate::edge::web::{ReturnTarget, Web, WebRequest, form};
use crate::federation::{LogoutRefusal, SignOut};
use crate::model::secret::Secret;

#[derive(Template)]
#[template(path = "sign_out_there.html")]
struct SignOutPage<'a> {
    site: &'a Site,
    provider: &'a str,
    address: &'a str,
    fields: &'a [(&'static str, Secret)],
}

/// Sends a browser on to the provider, by a button where the address would be too long.
pub(in crate::edge::web) fn go(web: &Web, out: &SignOut<'_>) -> Response<Bytes> {
    if let Some(location) = out.end_session.location() {
        return unreferred(web.go(location.expose()));
    }
    let (address, fields) = out.end_session.form();
    let page = SignOutPage { site: &web.site, provider: out.display_name, address, fields };
    let mut response = web.site.page(StatusCode::OK, &page);
    web.site.let_form_lead_to(&out.end_session.origin(), &mut response);
    unreferred(response)
}

/// Where a browser comes back to. It is sent to the sign-in page, which goes nowhere by itself then.
pub(in crate::edge::web) fn signed_out(web: &Web, request: &WebRequest) -> Response<Bytes> {
    let state = form::parameter(request.query.as_deref(), "state").unwrap_or_default();
    let target = web.federation.signed_out_target(&state).unwrap_or_default();
    let target = ReturnTarget::parse(&target, &web.destinations);
    let mut response = web.go(&format!("{}&signed-out=1", web.site.link_back("/login", target.as_str())));
    response.headers_mut().append(SET_COOKIE, web.site.cookies().set_choice());
    response
}

/// Acts on a logout token, which a provider's server sends (OpenID Connect Back-Channel Logout 1.0, 2.5 to 2.8).
pub(in crate::edge::web) async fn log_out(
    web: &Web,
    request: &WebRequest,
) -> Result<Response<Bytes>, Problem> {
    let provider = web.federation.button(request.name()).ok_or_else(Problem::not_found)?;
    let Ok([token]) = form::fields(&request.headers, &request.body, ["logout_token"]) else {
        let said = "the body is no form (application/x-www-form-urlencoded) with one logout_token";
        return Ok(told(web, StatusCode::BAD_REQUEST, "invalid_request", said));
    };
    Ok(match web.federation.log_out(provider.name, token.expose()).await {
        Ok(_) => web.site.answer(StatusCode::OK, "text/plain; charset=utf-8", Bytes::new()),
        Err(LogoutRefusal::NoSuchProvider) => return Err(Problem::not_found()),
        Err(why @ (LogoutRefusal::Refused(_) | LogoutRefusal::Replayed)) => {
            told(web, StatusCode::BAD_REQUEST, "invalid_request", &why.to_string())
        }
        Err(LogoutRefusal::Unavailable(_) | LogoutRefusal::Failed(_)) => {
            let said = "the logout token cannot be acted on now";
            told(web, StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable", said)
        }
    })
}

/// An error as a server reads it (RFC 6749, 5.2).
fn told(web: &Web, status: StatusCode, error: &str, said: &str) -> Response<Bytes> {
    let body = json!({ "error": error, "error_description": said }).to_string();
    web.site.answer(status, "application/json", Bytes::from(body))
}
