//! The accounts elsewhere that one signs in with: listing, linking and removing them.

use askama::Template;
use bytes::Bytes;
use http::{Response, StatusCode};

use super::{Admitted, DisplayTime, Done, PAGE, Person, Purpose, admit, done, page};
use crate::edge::pages::form::Alert;
use crate::edge::pages::problem::Problem;
use crate::edge::pages::site::Site;
use crate::edge::web::provider_links::ProviderLink;
use crate::edge::web::sign_in_words::problem_of;
use crate::edge::web::{ReturnTarget, Web, WebRequest, failed, form};
use crate::federation::{Begin, Button};
use crate::model::identity::{IdentityKey, LinkedIdentity};
use crate::model::secret::Secret;
use crate::service::ServiceError;
use crate::service::identities::ReauthenticationProof;
use crate::service::login::Reauthentication;
use crate::service::sign_ins;

/// What the account page shows of identities.
pub(super) struct IdentitiesSection<'w> {
    pub(super) linked: Vec<IdentityRow>,
    /// Providers at which one may be linked.
    pub(super) providers: Vec<Button<'w>>,
    /// Whether linking takes the password.
    pub(super) asks_password: bool,
    /// Where to sign in again before linking, where that is what it takes.
    pub(super) sign_in_again: Vec<ProviderLink<'w>>,
}

/// One identity in the list.
pub(super) struct IdentityRow {
    pub(super) issuer: String,
    pub(super) subject: String,
    /// What people call the provider.
    pub(super) provider: String,
    /// The address there, or what identifies it.
    pub(super) account: String,
    pub(super) linked: DisplayTime,
    pub(super) used: DisplayTime,
}

#[derive(Template)]
#[template(path = "continue.html")]
struct ContinuePage<'a> {
    site: &'a Site,
    provider: &'a str,
    location: &'a str,
}

pub(super) async fn section<'w>(
    web: &'w Web,
    request: &WebRequest,
    person: &Person,
) -> Result<IdentitiesSection<'w>, Problem> {
    let identities = &web.services.identities;
    let linked = identities.own(&person.user.id).await.map_err(|error| failed(&error))?;
    let providers: Vec<Button<'_>> = web.federation.buttons().collect();
    let asks_password = asks_password(web, person);
    let mut sign_in_again = Vec::new();
    if !asks_password && !providers.is_empty() {
        let fresh = identities.recently_signed_in(&person.session).await.map_err(|error| failed(&error))?;
        if fresh.is_none() {
            let back = ReturnTarget::parse(&web.site.link(PAGE), &web.destinations);
            let known = |button: &&Button<'_>| linked.iter().any(|identity| identity.provider == button.name);
            sign_in_again.extend(providers.iter().filter(known).map(|button| ProviderLink {
                name: button.display_name,
                href: web.begin_link(button.name, request, &back),
            }));
        }
    }
    let linked = linked.into_iter().map(|identity| row(&providers, identity)).collect();
    Ok(IdentitiesSection { linked, providers, asks_password, sign_in_again })
}

fn row(providers: &[Button<'_>], identity: LinkedIdentity) -> IdentityRow {
    let button = providers.iter().find(|button| button.name == identity.provider);
    IdentityRow {
        issuer: identity.key.issuer().to_owned(),
        subject: identity.key.subject().to_owned(),
        provider: button.map_or(identity.provider, |button| button.display_name.to_owned()),
        account: identity.email.unwrap_or_else(|| identity.key.subject().to_owned()),
        linked: DisplayTime::of(identity.created_at),
        used: DisplayTime::of(identity.last_login_at),
    }
}

/// Whether who one is is shown again by the password, or by having just signed in.
fn asks_password(web: &Web, person: &Person) -> bool {
    person.user.has_password && web.password_login
}

/// Goes to a provider, to link the identity there. A form may not be followed by a redirect to another site (Content Security
/// Policy 3, form-action), so a page leads on.
pub(in crate::edge::web) async fn link(web: &Web, request: &WebRequest) -> Result<Response<Bytes>, Problem> {
    let [provider] = form::fields(&request.headers, &request.body, ["provider"])?;
    let password = form::field_if_there(&request.body, "password")?.map(Secret::new);
    let person = match admit(web, request, Purpose::Change).await? {
        Admitted::Person(person) => person,
        Admitted::Elsewhere(response) => return Ok(response),
    };
    let provider = web.federation.button(provider.expose()).ok_or_else(Problem::not_found)?;
    let proof = match prove(web, request, &person, password).await {
        Ok(Some(proof)) => proof,
        Ok(None) => {
            let text =
                "Linking takes a sign-in of the last five minutes. Sign in again, and then link.".to_owned();
            let alert = Alert { field: "", text };
            return page(
                web,
                request,
                &person,
                StatusCode::FORBIDDEN,
                (shown_name(&person), None, Some(alert)),
            )
            .await;
        }
        Err(error) => {
            let problem = failed(&error);
            let text = match error {
                ServiceError::Refused => "The password is not right.".to_owned(),
                _ => problem.advice(),
            };
            let alert = Alert { field: "link-password", text };
            return told(web, request, &person, &problem, alert).await;
        }
    };
    let wanted = Begin {
        purpose: sign_ins::Purpose::Link(proof),
        target: Some(&web.site.link(PAGE)),
        login_hint: None,
    };
    match web.federation.begin(provider.name, wanted).await {
        Ok(begun) => {
            let page =
                ContinuePage { site: &web.site, provider: provider.display_name, location: &begun.location };
            Ok(web.carrying(request, &begun, web.site.page(StatusCode::OK, &page)))
        }
        Err(why) => {
            let problem = problem_of(&why, provider.display_name, &web.site);
            let alert = Alert { field: "", text: problem.advice() };
            told(web, request, &person, &problem, alert).await
        }
    }
}

async fn prove(
    web: &Web,
    request: &WebRequest,
    person: &Person,
    password: Option<Secret>,
) -> Result<Option<ReauthenticationProof>, ServiceError> {
    let identities = &web.services.identities;
    if !asks_password(web, person) {
        return identities.recently_signed_in(&person.session).await;
    }
    let asked = Reauthentication {
        user: &person.user.id,
        session: &person.session,
        client: request.client.address.nearest(),
    };
    let password = password.unwrap_or_else(|| Secret::new(""));
    identities.reauthenticate(&web.actor, asked, password).await.map(Some)
}

/// Removes an identity. Another's is as little there as one that never was.
pub(in crate::edge::web) async fn unlink(
    web: &Web,
    request: &WebRequest,
) -> Result<Response<Bytes>, Problem> {
    let [issuer, subject] = form::fields(&request.headers, &request.body, ["issuer", "subject"])?;
    let person = match admit(web, request, Purpose::Change).await? {
        Admitted::Person(person) => person,
        Admitted::Elsewhere(response) => return Ok(response),
    };
    let key = IdentityKey::new(issuer.expose(), subject.expose()).map_err(|_| Problem::not_found())?;
    let removed =
        web.services.identities.unlink_own(&web.actor, &person.user.id, &key, web.password_login).await;
    match removed {
        Ok(()) => Ok(done(web, Done::Unlinked)),
        Err(error @ (ServiceError::Invalid { .. } | ServiceError::LastAdmin)) => {
            let problem = failed(&error);
            let text =
                "This is the only account that you can sign in with, so it stays. Link another one first, or have an \
                 administrator give you a password."
                    .to_owned();
            told(web, request, &person, &problem, Alert { field: "", text }).await
        }
        Err(error) => Err(failed(&error)),
    }
}

/// The account, with something that did not work.
async fn told(
    web: &Web,
    request: &WebRequest,
    person: &Person,
    problem: &Problem,
    alert: Alert,
) -> Result<Response<Bytes>, Problem> {
    let shown = (shown_name(person), None, Some(alert));
    let mut response = page(web, request, person, problem.status, shown).await?;
    problem.add_fields(&mut response);
    Ok(response)
}

fn shown_name(person: &Person) -> &str {
    person.user.display_name.as_deref().unwrap_or_default()
}
