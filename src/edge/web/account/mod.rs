//! One's own account: who one is here, where one is signed in, and one's keys.
//!
//! Only a browser's session counts here. What makes something that outlives the session (a key, a password) asks
//! for the password again; what takes something away does not.

mod identities;
mod keys;
mod sessions;

use askama::Template;
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{Response, StatusCode};

use self::identities::IdentitiesSection;
pub(super) use self::identities::{link as link_identity, unlink as unlink_identity};
use self::keys::KeyRow;
pub(super) use self::keys::{make as make_key, revoke as revoke_key, show as show_new_key};
use self::sessions::SessionRow;
pub(super) use self::sessions::{end as end_session, end_others as end_other_sessions};
use super::{Visitor, Web, WebRequest, failed, form};
use crate::edge::pages::form::Alert;
use crate::edge::pages::problem::Problem;
use crate::edge::pages::site::{RESERVED, Site};
use crate::model::principal::PrincipalKind;
use crate::model::principal::Proof;
use crate::model::time::Timestamp;
use crate::model::user::User;

/// Where the account is.
pub(super) const PAGE: &str = "/account";

#[derive(Template)]
#[template(path = "account.html")]
struct AccountPage<'a> {
    site: &'a Site,
    user: &'a User,
    /// What the name field holds.
    shown_name: &'a str,
    ends: DisplayTime,
    identities: IdentitiesSection<'a>,
    sessions: Vec<SessionRow>,
    keys: Vec<KeyRow>,
    done: Option<&'static str>,
    alert: Option<Alert>,
}

impl AccountPage<'_> {
    /// Whether what is wrong is in this field.
    fn is_wrong(&self, field: &str) -> bool {
        self.alert.as_ref().is_some_and(|alert| alert.field == field)
    }
}

/// Somebody who is signed in in a browser.
struct Person {
    user: User,
    /// The session by which we know, and when it ends.
    session: String,
    ends: Timestamp,
}

/// Who asks for a page of the account.
enum Admitted {
    Person(Box<Person>),
    /// Somebody who has to go elsewhere first.
    Elsewhere(Response<Bytes>),
}

/// A time for programs and for people.
struct DisplayTime {
    exact: String,
    minute: String,
    day: String,
}

impl DisplayTime {
    fn of(time: Timestamp) -> Self {
        let exact = time.rfc3339();
        let minute =
            exact.get(..16).map_or_else(|| exact.clone(), |minute| minute.replace('T', " ") + " UTC");
        let day = exact.get(..10).unwrap_or(&exact).to_owned();
        Self { exact, minute, day }
    }
}

/// What somebody wants of the account.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Look,
    /// Rate-limited, so that one person's changes do not block those of others.
    Change,
}

/// The person who asks. Keys and tokens are for applications: one alone is refused, not sent to sign in. A session
/// that was taken along to another host may be known to the application there, so it is worth nothing here; its
/// browser is sent to the public host, where it has its own.
async fn admit(web: &Web, request: &WebRequest, purpose: Purpose) -> Result<Admitted, Problem> {
    let visitor = web.visitor(request).await?;
    let Visitor::Caller(who) = &visitor else {
        if request.headers.contains_key(AUTHORIZATION) {
            return Err(Problem::people_only());
        }
        let mut response = web.go(&web.site.link_back("/login", &web.site.link(PAGE)));
        web.take_back(&visitor, &mut response);
        return Ok(Admitted::Elsewhere(response));
    };
    if who.must_change_password {
        return Ok(Admitted::Elsewhere(web.go(&web.site.link_back("/password", &web.site.link(PAGE)))));
    }
    let (PrincipalKind::User(id), Proof::Session { id: session, expires_at, host, .. }) =
        (&who.kind, &who.proof)
    else {
        return Err(Problem::people_only());
    };
    if host.is_some() {
        let own = web.site.public_url().url(&format!("{RESERVED}{PAGE}"));
        return Ok(Admitted::Elsewhere(web.go(&own)));
    }
    if purpose == Purpose::Change {
        web.services.self_service.admit(id).map_err(|error| failed(&error))?;
    }
    let user = web.services.accounts.find_by_id(id).await.map_err(|error| failed(&error))?;
    let user = user.ok_or_else(Problem::not_found)?;
    Ok(Admitted::Person(Box::new(Person { user, session: session.clone(), ends: *expires_at })))
}

pub(super) async fn show(web: &Web, request: &WebRequest) -> Result<Response<Bytes>, Problem> {
    let person = match admit(web, request, Purpose::Look).await? {
        Admitted::Person(person) => person,
        Admitted::Elsewhere(response) => return Ok(response),
    };
    let done = form::parameter(request.query.as_deref(), "done");
    let name = person.user.display_name.as_deref().unwrap_or_default();
    let done = done.and_then(|done| Done::named(&done)).map(Done::told);
    page(web, request, &person, StatusCode::OK, (name, done, None)).await
}

/// Changes the name that pages and applications show.
pub(super) async fn rename(web: &Web, request: &WebRequest) -> Result<Response<Bytes>, Problem> {
    let [name] = form::fields(&request.headers, &request.body, ["name"])?;
    let person = match admit(web, request, Purpose::Change).await? {
        Admitted::Person(person) => person,
        Admitted::Elsewhere(response) => return Ok(response),
    };
    match web.services.accounts.set_display_name(&web.actor, &person.user.id, name.expose()).await {
        Ok(()) => Ok(done(web, Done::Name)),
        Err(error) => {
            let problem = failed(&error);
            let alert = Alert { field: "name", text: problem.advice() };
            let mut response =
                page(web, request, &person, problem.status, (name.expose(), None, Some(alert))).await?;
            problem.add_fields(&mut response);
            Ok(response)
        }
    }
}

/// What was done on a form's behalf.
#[derive(Clone, Copy)]
pub(super) enum Done {
    /// The name was changed.
    Name,
    /// One session was ended.
    Session,
    /// All sessions but this one were ended.
    OtherSessions,
    /// A key was revoked.
    Key,
    /// The password was changed.
    Password,
    /// An identity at a provider was linked.
    Linked,
    /// One was removed.
    Unlinked,
}

/// Back to the account, which says that it was done.
pub(super) fn done(web: &Web, what: Done) -> Response<Bytes> {
    web.go(&format!("{}?done={}", web.site.link(PAGE), what.word()))
}

impl Done {
    const ALL: [Self; 7] = [
        Self::Name,
        Self::Session,
        Self::OtherSessions,
        Self::Key,
        Self::Password,
        Self::Linked,
        Self::Unlinked,
    ];

    /// What stands in the address of the page that tells of it.
    fn word(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Session => "session",
            Self::OtherSessions => "sessions",
            Self::Key => "key",
            Self::Password => "password",
            Self::Linked => "linked",
            Self::Unlinked => "unlinked",
        }
    }

    fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|done| done.word() == word)
    }

    fn told(self) -> &'static str {
        match self {
            Self::Name => "Your name was changed.",
            Self::Session => "That browser is signed out.",
            Self::Linked => "You can sign in with this account from now on.",
            Self::Unlinked => {
                "You cannot sign in with that account any more. Browsers that were signed in with it are signed out."
            }
            Self::OtherSessions => "Every other browser is signed out.",
            Self::Key => "The key was revoked. It does not work any more.",
            Self::Password => "Your password was changed. Every other browser is signed out.",
        }
    }
}

/// The page, with what the name field holds, what was done, and what did not work.
async fn page(
    web: &Web,
    request: &WebRequest,
    person: &Person,
    status: StatusCode,
    (shown_name, done, alert): (&str, Option<&'static str>, Option<Alert>),
) -> Result<Response<Bytes>, Problem> {
    let page = AccountPage {
        site: &web.site,
        user: &person.user,
        shown_name,
        ends: DisplayTime::of(person.ends),
        identities: identities::section(web, request, person).await?,
        sessions: sessions::rows(web, person).await?,
        keys: keys::rows(web, person).await?,
        done,
        alert,
    };
    Ok(web.site.page(status, &page))
}
