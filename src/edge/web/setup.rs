//! Making the first admin, or choosing the first password of a named one, with the link that was printed at a start.

use askama::Template;
use bytes::Bytes;
use http::header::REFERRER_POLICY;
use http::{HeaderValue, Response, StatusCode};

use super::{ReturnTarget, Web, WebRequest, failed, form, login, user_agent};
use crate::edge::pages::form::Alert;
use crate::edge::pages::problem::Problem;
use crate::edge::pages::site::Site;
use crate::model::secret::Secret;
use crate::service::bootstrap::SetupLink;
use crate::service::{Field, ServiceError};

#[derive(Template)]
#[template(path = "setup.html")]
struct SetupPage<'a> {
    site: &'a Site,
    token: &'a str,
    username: &'a str,
    /// Whether the link is for this user, and for no other.
    is_own: bool,
    alert: Option<Alert>,
}

impl SetupPage<'_> {
    /// The field to correct; empty where it is none or nothing is wrong.
    fn field(&self) -> &'static str {
        self.alert.as_ref().map_or("", |alert| alert.field)
    }
}

/// Shows the form. Looking at it uses nothing up: mail scanners and previews look at every link.
pub(super) async fn show(web: &Web, request: &WebRequest) -> Result<Response<Bytes>, Problem> {
    let token = Secret::new(form::parameter(request.query.as_deref(), "token").unwrap_or_default());
    let link = link(web, &token).await?.ok_or_else(Problem::setup_over)?;
    Ok(page(web, StatusCode::OK, &token, (own_name(&link), ""), None))
}

pub(super) async fn submit(web: &Web, request: &WebRequest) -> Result<Response<Bytes>, Problem> {
    let [token, username, password, repeat] =
        form::fields(&request.headers, &request.body, ["token", "username", "password", "repeat"])?;
    let link = link(web, &token).await?;
    let own = link.as_ref().and_then(own_name);
    let name = own.unwrap_or_else(|| username.expose().trim());
    // Without a link all that follows is the row that tells of the attempt.
    if link.is_some() && password.expose() != repeat.expose() {
        let alert = Alert { field: "repeat", text: "The two passwords are not the same.".to_owned() };
        return Ok(page(web, StatusCode::UNPROCESSABLE_ENTITY, &token, (own, name), Some(alert)));
    }
    let accounts = &web.services.accounts;
    match accounts.complete_setup(&web.actor, token.clone(), name, password).await {
        Ok(user) => {
            // A user who has just chosen the password is not asked for it, nor throttled for attempts of others.
            let (client, agent) = (request.client.address.nearest(), user_agent(&request.headers));
            let entered = web.services.login.enter_first(&web.actor, user, client, agent).await;
            let signed_in = entered.map_err(|error| failed(&error))?;
            Ok(login::enter(web, request, &signed_in, &ReturnTarget::home(web.site.public_url())))
        }
        Err(ServiceError::Refused) => Err(Problem::setup_over()),
        Err(error) => {
            let problem = failed(&error);
            let field = match error {
                ServiceError::Invalid { field: Field::Username, .. } => "username",
                ServiceError::Invalid { .. } => "password",
                _ => "",
            };
            let alert = Alert { field, text: problem.advice() };
            let mut response = page(web, problem.status, &token, (own, name), Some(alert));
            problem.add_fields(&mut response);
            Ok(response)
        }
    }
}

async fn link(web: &Web, token: &Secret) -> Result<Option<SetupLink>, Problem> {
    web.services.accounts.setup_link(token).await.map_err(|error| failed(&error))
}

/// Whose link it is; none if it makes the first admin.
fn own_name(link: &SetupLink) -> Option<&str> {
    match link {
        SetupLink::FirstAdmin => None,
        SetupLink::Of(user) => Some(&user.username),
    }
}

/// The page's address holds the token, so no request from it names the address.
fn page(
    web: &Web,
    status: StatusCode,
    token: &Secret,
    (own, typed): (Option<&str>, &str),
    alert: Option<Alert>,
) -> Response<Bytes> {
    let username = own.unwrap_or(typed);
    let page = SetupPage { site: &web.site, token: token.expose(), username, is_own: own.is_some(), alert };
    let mut response = web.site.page(status, &page);
    response.headers_mut().insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}
