//! The sign-in page: every way to sign in, and signing in with name and password.

use askama::Template;
use bytes::Bytes;
use http::header::SET_COOKIE;
use http::{Response, StatusCode};

use super::provider_links::ProviderLink;
use super::redirect_loop::{explain_loop, explain_lost_cookie, explain_obstacle};
use super::{ReturnTarget, Visitor, Web, WebRequest, failed, form, user_agent};
use crate::edge::pages::problem::Problem;
use crate::edge::pages::site::Site;
use crate::gate::origins;
use crate::service::login::SignIn;
use crate::service::login::SignedIn;

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage<'a> {
    site: &'a Site,
    enabled: bool,
    /// Other ways to sign in.
    providers: Vec<ProviderLink<'a>>,
    /// The host that one goes on to.
    application: String,
    username: &'a str,
    signed_out: bool,
    /// There is no user yet, so no one can sign in.
    nobody: bool,
    alert: Option<String>,
}

pub(super) async fn show(web: &Web, request: &WebRequest) -> Result<Response<Bytes>, Problem> {
    let target = web.target(request);
    if let Some(obstacle) = target.obstacle() {
        return Err(Problem::sign_in_loop(explain_obstacle(&web.site, obstacle)));
    }
    let visitor = web.visitor(request).await?;
    if let Visitor::Caller(principal) = &visitor {
        return pass(web, request, &target, principal.must_change_password);
    }
    if let Some(provider) = web.federation.automatic()
        && goes_straight(web, request)
    {
        let mut response = web.go(&web.begin_link(provider.name, request, &target));
        web.take_back(&visitor, &mut response);
        return Ok(response);
    }
    let page = LoginPage {
        site: &web.site,
        enabled: web.password_login,
        providers: web.provider_links(request, &target),
        application: application(web, &target),
        username: "",
        signed_out: form::parameter(request.query.as_deref(), "signed-out").is_some(),
        nobody: !web.services.accounts.is_anybody().await.map_err(|error| failed(&error))?,
        alert: None,
    };
    let mut response = web.page_towards(&target, StatusCode::OK, &page);
    web.take_back(&visitor, &mut response);
    Ok(response)
}

pub(super) async fn submit(web: &Web, request: &WebRequest) -> Result<Response<Bytes>, Problem> {
    let [username, password] = form::fields(&request.headers, &request.body, ["username", "password"])?;
    // Our own form has no action, so it is sent to the page's address: with the return target, and for the browser with the
    // fragment, which the redirects then hand on (Fetch, 4.4). Others may name the return target in a field.
    let target = match form::field_if_there(&request.body, "rd")? {
        Some(rd) => ReturnTarget::parse(&rd, &web.destinations),
        None => web.target(request),
    };
    if !web.password_login {
        return Err(Problem::password_login_off());
    }
    if let Some(origin) = origins::claimed(&request.headers)
        && let Some(explained) = explain_lost_cookie(&web.site, &origin)
    {
        return Err(Problem::sign_in_loop(explained));
    }
    let attempt = SignIn {
        name: username.expose(),
        password,
        client: request.client.address.nearest(),
        user_agent: user_agent(&request.headers),
        device: web.site.cookies().device(&request.headers),
    };
    match web.services.login.sign_in(&web.actor, attempt).await {
        Ok(signed_in) => {
            // Whatever this browser was before, it is not any more.
            if let Ok(Visitor::Caller(before)) = web.visitor(request).await {
                web.end(&before).await?;
            }
            Ok(enter(web, request, &signed_in, &target))
        }
        Err(error) => {
            let problem = failed(&error);
            let page = LoginPage {
                site: &web.site,
                enabled: true,
                providers: web.provider_links(request, &target),
                application: application(web, &target),
                username: username.expose(),
                signed_out: false,
                nobody: false,
                alert: Some(problem.advice()),
            };
            let mut response = web.page_towards(&target, problem.status, &page);
            problem.add_fields(&mut response);
            Ok(response)
        }
    }
}

/// Whether the page may be passed over on the way to a provider: nobody has asked for it, and this browser has neither just
/// signed out nor just come back from there.
fn goes_straight(web: &Web, request: &WebRequest) -> bool {
    let asks = |name| form::parameter(request.query.as_deref(), name).is_some();
    !asks("password") && !asks("signed-out") && !web.site.cookies().has_choice(&request.headers)
}

/// Hands the new session to the browser and sends it on.
pub(super) fn enter(
    web: &Web,
    request: &WebRequest,
    signed_in: &SignedIn,
    target: &ReturnTarget,
) -> Response<Bytes> {
    let mut response = web.onward(target, signed_in.user.must_change_password);
    let cookies = web.site.cookies();
    response.headers_mut().append(SET_COOKIE, cookies.set_session(&signed_in.cookie));
    response.headers_mut().append(SET_COOKIE, cookies.set_device(&signed_in.device));
    web.end_app_sessions(request, &mut response);
    response
}

/// Lets somebody who is signed in already pass, unless that has not helped just now.
pub(super) fn pass(
    web: &Web,
    request: &WebRequest,
    target: &ReturnTarget,
    must_change_password: bool,
) -> Result<Response<Bytes>, Problem> {
    let mut response = web.onward(target, must_change_password);
    if form::parameter(request.query.as_deref(), "rd").is_some() {
        let cookies = web.site.cookies();
        let visits = web.loop_guard.one_more(cookies.loop_guard(&request.headers), target.as_str());
        if visits.are_a_loop() {
            let explained = explain_loop(&web.site, target, &visits);
            tracing::warn!(
                request.id = request.request_id.as_str(),
                "a browser goes round in circles: {explained}"
            );
            return Err(Problem::sign_in_loop(explained));
        }
        response.headers_mut().append(SET_COOKIE, cookies.set_loop_guard(&web.loop_guard.write(&visits)));
    }
    Ok(response)
}

/// What the page says one goes on to.
fn application(web: &Web, target: &ReturnTarget) -> String {
    target.away().map_or_else(|| web.site.host(), |away| away.host.clone())
}
