//! Changing one's own password, of one's own will or because it is temporary.

use askama::Template;
use bytes::Bytes;
use http::header::SET_COOKIE;
use http::{Response, StatusCode};

use super::{ReturnTarget, Visitor, Web, WebRequest, account, failed, form, user_agent};
use crate::edge::pages::form::Alert;
use crate::edge::pages::problem::Problem;
use crate::edge::pages::site::Site;
use crate::model::principal::Principal;
use crate::model::principal::PrincipalKind;
use crate::model::principal::Proof;
use crate::model::user::UserId;
use crate::service::ServiceError;
use crate::service::login::Reauthentication;

#[derive(Template)]
#[template(path = "password.html")]
struct PasswordPage<'a> {
    site: &'a Site,
    back: &'a str,
    name: &'a str,
    forced: bool,
    alert: Option<Alert>,
}

impl PasswordPage<'_> {
    /// The field to correct; empty where it is none or nothing is wrong.
    fn field(&self) -> &'static str {
        self.alert.as_ref().map_or("", |alert| alert.field)
    }
}

pub(super) async fn show(web: &Web, request: &WebRequest) -> Result<Response<Bytes>, Problem> {
    let visitor = web.visitor(request).await?;
    let Visitor::Caller(who) = &visitor else {
        return Ok(web.sign_in_first(request, &visitor));
    };
    Ok(page(web, StatusCode::OK, who, &web.target(request), None))
}

pub(super) async fn submit(web: &Web, request: &WebRequest) -> Result<Response<Bytes>, Problem> {
    let [current, new, repeat] = form::fields(&request.headers, &request.body, ["current", "new", "repeat"])?;
    let visitor = web.visitor(request).await?;
    let Visitor::Caller(who) = &visitor else {
        return Ok(web.sign_in_first(request, &visitor));
    };
    let (PrincipalKind::User(user), Proof::Session { id: session, .. }) = (&who.kind, &who.proof) else {
        return Err(Problem::not_found());
    };
    let target = web.target(request);
    if new.expose() != repeat.expose() {
        let alert = Alert { field: "repeat", text: "The two new passwords are not the same.".to_owned() };
        return Ok(page(web, StatusCode::UNPROCESSABLE_ENTITY, who, &target, Some(alert)));
    }
    let asked = Reauthentication { user, session, client: request.client.address.nearest() };
    let changed = match web.services.self_service.admit(user) {
        Ok(()) => web.services.accounts.change_password(&web.actor, asked, current, new).await,
        refused => refused,
    };
    match changed {
        Ok(()) => renew(web, request, user, &target).await,
        Err(error) => {
            let problem = failed(&error);
            let alert = match error {
                ServiceError::Invalid { .. } => Alert { field: "new", text: problem.advice() },
                ServiceError::Refused => {
                    Alert { field: "current", text: "The current password is wrong.".to_owned() }
                }
                _ => Alert { field: "", text: problem.advice() },
            };
            let mut response = page(web, problem.status, who, &target, Some(alert));
            problem.add_fields(&mut response);
            Ok(response)
        }
    }
}

/// A new session for this browser: the change has ended all of them.
async fn renew(
    web: &Web,
    request: &WebRequest,
    user: &UserId,
    target: &ReturnTarget,
) -> Result<Response<Bytes>, Problem> {
    let services = &web.services;
    let user = services.accounts.find_by_id(user).await.map_err(|error| failed(&error))?;
    let user = user.ok_or_else(Problem::not_found)?;
    let opened = services
        .sessions
        .open(&web.actor, &user, request.client.address.nearest(), user_agent(&request.headers))
        .await;
    let (cookie, _) = opened.map_err(|error| failed(&error))?;
    let mut response = if target.as_str() == web.site.link(account::PAGE) {
        account::done(web, account::Done::Password)
    } else {
        web.onward(target, false)
    };
    response.headers_mut().append(SET_COOKIE, web.site.cookies().set_session(&cookie));
    Ok(response)
}

fn page(
    web: &Web,
    status: StatusCode,
    who: &Principal,
    target: &ReturnTarget,
    alert: Option<Alert>,
) -> Response<Bytes> {
    let page = PasswordPage {
        site: &web.site,
        back: target.as_str(),
        name: &who.name,
        forced: who.must_change_password,
        alert,
    };
    web.page_towards(target, status, &page)
}
