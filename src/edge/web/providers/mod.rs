//! Signing in through a provider: on the way there, and back.

mod refused;
pub(super) mod sign_out;

use bytes::Bytes;
use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderName, Response};

use self::refused::{Attempt, refused};
use super::redirect_loop::explain_obstacle;
use super::sign_in_words::no_sign_in;
use super::{
    Page, ReturnTarget, Visitor, Web, WebRequest, account, failed, form, login, unreferred, user_agent,
};
use crate::edge::pages::problem::Problem;
use crate::federation::{Begin, Callback, Done, Refused, SignInRefusal};
use crate::gate::origins;
use crate::oidc::AuthorizationResponse;
use crate::service::login::Browser;
use crate::service::sign_ins::Purpose;

/// Headers by which browsers say that they load a page in advance (Fetch, Sec-Purpose; and older ones).
const PURPOSES: [HeaderName; 3] = [
    HeaderName::from_static("sec-purpose"),
    HeaderName::from_static("purpose"),
    HeaderName::from_static("x-moz"),
];

/// Sends the browser to the provider, with the state of its sign-in in a cookie.
pub(super) async fn begin(web: &Web, request: &WebRequest) -> Result<Response<Bytes>, Problem> {
    let Some(provider) = web.federation.button(request.name()) else {
        return Err(Problem::not_found());
    };
    if is_in_advance(&request.headers) {
        return Err(Problem::not_in_advance());
    }
    let target = web.target(request);
    if let Some(obstacle) = target.obstacle() {
        return Err(Problem::sign_in_loop(explain_obstacle(&web.site, obstacle)));
    }
    let visitor = web.visitor(request).await?;
    // Another site must not make somebody else of whoever is signed in. A page of ours asks for a sign-in where it is wanted.
    if let Visitor::Caller(principal) = &visitor
        && !origins::is_from_own_page(&request.headers)
    {
        return login::pass(web, request, &target, principal.must_change_password);
    }
    let hint = form::parameter(request.query.as_deref(), "login_hint");
    let wanted =
        Begin { purpose: Purpose::SignIn, target: Some(target.as_str()), login_hint: hint.as_deref() };
    match web.federation.begin(provider.name, wanted).await {
        Ok(begun) => {
            let response = web.go(&begun.location);
            Ok(web.carrying(request, &begun, response))
        }
        Err(why) => {
            let attempt = Attempt { provider, target: &target, links: false, visitor: &visitor };
            Ok(refused(web, request, &attempt, &why))
        }
    }
}

/// Takes back what the provider gave the browser, once.
pub(super) async fn complete(web: &Web, request: &WebRequest) -> Result<Response<Bytes>, Problem> {
    let response = AuthorizationResponse::parse(request.query.as_deref().unwrap_or_default());
    let response =
        response.map_err(|_| Problem::bad_request("The address is not what a provider sends back."))?;
    let cookies = web.site.cookies();
    let cookie = cookies.sign_in(&request.headers, response.state());
    let provider = match request.page {
        Some((Page::CompleteAtPath, _)) => {
            let provider = web.federation.at_callback_path(&request.path, response.state(), cookie);
            provider.ok_or_else(|| Problem::stale_sign_in(no_sign_in(&web.site)))?
        }
        _ => web.federation.at_callback(request.name()).ok_or_else(Problem::not_found)?,
    };
    // Who it is is not whose change a sign-in is.
    let visitor = web.guard.visitors.visitor(&request.headers, &request.host).await;
    let visitor = visitor.map_err(|error| failed(&error))?;
    let callback = Callback {
        response: &response,
        cookie,
        browser: Browser {
            client: request.client.address.nearest(),
            user_agent: user_agent(&request.headers),
            device: cookies.device(&request.headers),
        },
        visitor: visitor.caller().map(|principal| &**principal),
    };
    let outcome = web.federation.complete(&web.actor, provider.name, callback).await;
    let mut answer = match outcome {
        Ok(completed) => {
            let target =
                ReturnTarget::parse(completed.target.as_deref().unwrap_or_default(), &web.destinations);
            match completed.done {
                Done::SignedIn(signed_in) => {
                    // Whatever this browser was before, it is not any more.
                    if let Visitor::Caller(before) = &visitor {
                        web.end(before).await?;
                    }
                    let mut response = login::enter(web, request, &signed_in, &target);
                    // A browser that does not keep the session would be sent to the provider again and again.
                    response.headers_mut().append(SET_COOKIE, cookies.set_choice());
                    response
                }
                Done::Linked => account::done(web, account::Done::Linked),
            }
        }
        Err(Refused { why, target, links }) => {
            let target = ReturnTarget::parse(target.as_deref().unwrap_or_default(), &web.destinations);
            // Late, or a second time: who is signed in has what they came for.
            if let (Visitor::Caller(principal), SignInRefusal::State(_)) = (&visitor, &why) {
                web.onward(&target, principal.must_change_password)
            } else {
                let attempt = Attempt { provider, target: &target, links, visitor: &visitor };
                refused(web, request, &attempt, &why)
            }
        }
    };
    if cookie.is_some() {
        answer.headers_mut().append(SET_COOKIE, cookies.clear_sign_in(response.state()));
    }
    Ok(unreferred(answer))
}

fn is_in_advance(headers: &HeaderMap) -> bool {
    PURPOSES.iter().flat_map(|name| headers.get_all(name)).any(|value| {
        let value = value.as_bytes().to_ascii_lowercase();
        value.windows(8).any(|window| window == b"prefetch")
            || value.windows(7).any(|window| window == b"preview")
    })
}
