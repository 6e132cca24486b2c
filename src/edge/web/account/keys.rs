//! One's own API keys: listing, making and revoking them.

use std::time::Duration;

use askama::Template;
use bytes::Bytes;
use http::{Method, Response, StatusCode};

use super::{Admitted, DisplayTime, Done, Person, Purpose, admit, done};
use crate::edge::pages::form::Alert;
use crate::edge::pages::problem::Problem;
use crate::edge::pages::site::Site;
use crate::edge::web::{Web, WebRequest, failed, form};
use crate::model::api_key::ApiKey;
use crate::model::api_key::KeyScope;
use crate::model::network;
use crate::model::role::Role;
use crate::model::secret::Secret;
use crate::policy::PathPattern;
use crate::service::login::Reauthentication;
use crate::service::own_keys::KeyRequest;
use crate::service::{Field, ServiceError};

const DAY: Duration = Duration::from_hours(24);

/// How long a key may live: the word of the form, what it says, and the span.
const LIVES: [(&str, &str, Option<Duration>); 5] = [
    ("7d", "7 days", Some(DAY.saturating_mul(7))),
    ("30d", "30 days", Some(DAY.saturating_mul(30))),
    ("90d", "90 days", Some(DAY.saturating_mul(90))),
    ("365d", "1 year", Some(DAY.saturating_mul(365))),
    ("never", "Never", None),
];
const USUAL_LIFE: &str = "90d";

/// What a key may be limited to; another method in a key's scope is a slip of the pen.
const METHODS: [Method; 7] =
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];

/// One key in the list.
pub(super) struct KeyRow {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) role: Role,
    /// What it is limited to, in words; empty if nothing.
    pub(super) scope: String,
    pub(super) created: DisplayTime,
    pub(super) ends: Option<DisplayTime>,
    pub(super) ended: bool,
    pub(super) used: Option<DisplayTime>,
}

/// The form as it was filled in, but for the password.
struct SubmittedForm {
    name: Secret,
    role: Secret,
    life: Secret,
    paths: Secret,
    methods: Secret,
    networks: Secret,
}

#[derive(Template)]
#[template(path = "new_key.html")]
struct NewKeyPage<'a> {
    site: &'a Site,
    username: &'a str,
    filled: &'a SubmittedForm,
    /// Rights that a key of this person may have, and whether each is chosen.
    roles: Vec<(Role, bool)>,
    lives: Vec<(&'static str, &'static str, bool)>,
    alert: Option<Alert>,
}

impl NewKeyPage<'_> {
    /// The field to correct; empty where it is none or nothing is wrong.
    fn field(&self) -> &'static str {
        self.alert.as_ref().map_or("", |alert| alert.field)
    }
}

#[derive(Template)]
#[template(path = "key.html")]
struct KeyPage<'a> {
    site: &'a Site,
    key: KeyRow,
    text: &'a Secret,
}

/// The person's keys, newest first.
pub(super) async fn rows(web: &Web, person: &Person) -> Result<Vec<KeyRow>, Problem> {
    let keys = web.services.own_keys.list(&person.user.id).await.map_err(|error| failed(&error))?;
    let ended = |key: &ApiKey| !web.services.own_keys.is_live(key);
    Ok(keys.into_iter().map(|key| KeyRow { ended: ended(&key), ..row(key) }).collect())
}

fn row(key: ApiKey) -> KeyRow {
    let mut scope = Vec::new();
    let mut limit = |to: &str, entries: Vec<String>| {
        if !entries.is_empty() {
            scope.push(format!("{to} {}", entries.join(", ")));
        }
    };
    limit("only", key.scope.methods.iter().map(ToString::to_string).collect());
    limit("at", key.scope.paths);
    limit("from", key.scope.networks.iter().map(ToString::to_string).collect());
    KeyRow {
        id: key.id,
        name: key.name,
        role: key.role,
        scope: scope.join(" "),
        created: DisplayTime::of(key.created_at),
        ends: key.expires_at.map(DisplayTime::of),
        ended: false,
        used: key.last_used_at.map(DisplayTime::of),
    }
}

/// The form for a new key.
pub(in crate::edge::web) async fn show(web: &Web, request: &WebRequest) -> Result<Response<Bytes>, Problem> {
    let person = match admit(web, request, Purpose::Look).await? {
        Admitted::Person(person) => person,
        Admitted::Elsewhere(response) => return Ok(response),
    };
    let empty = || Secret::new("");
    let filled = SubmittedForm {
        name: empty(),
        role: Secret::new(Role::Viewer.as_str()),
        life: Secret::new(USUAL_LIFE),
        paths: empty(),
        methods: empty(),
        networks: empty(),
    };
    Ok(form_page(web, &person, StatusCode::OK, &filled, None))
}

/// Makes a key, and shows it this once: in the answer to the form, which nothing keeps.
pub(in crate::edge::web) async fn make(web: &Web, request: &WebRequest) -> Result<Response<Bytes>, Problem> {
    let [name, role, life, paths, methods, networks, password] = form::fields(
        &request.headers,
        &request.body,
        ["name", "role", "life", "paths", "methods", "networks", "password"],
    )?;
    let person = match admit(web, request, Purpose::Change).await? {
        Admitted::Person(person) => person,
        Admitted::Elsewhere(response) => return Ok(response),
    };
    let filled = SubmittedForm { name, role, life, paths, methods, networks };
    let wanted = match filled.wanted()? {
        Ok(wanted) => wanted,
        Err(alert) => {
            return Ok(form_page(web, &person, StatusCode::UNPROCESSABLE_ENTITY, &filled, Some(alert)));
        }
    };
    let client = request.client.address.nearest();
    let asked = Reauthentication { user: &person.user.id, session: &person.session, client };
    match web.services.own_keys.issue(&web.actor, asked, wanted, password).await {
        Ok((text, key)) => {
            let page = KeyPage { site: &web.site, key: row(key), text: &text };
            Ok(web.site.page(StatusCode::OK, &page))
        }
        Err(error) => {
            let problem = failed(&error);
            let alert = match error {
                ServiceError::Refused => {
                    Alert { field: "password", text: "The password is wrong.".to_owned() }
                }
                ServiceError::Conflict { .. } => {
                    let text = "You have a key of that name already. Choose another name.".to_owned();
                    Alert { field: "name", text }
                }
                ServiceError::Invalid { field, .. } => {
                    Alert { field: field_of(field), text: problem.advice() }
                }
                _ => Alert { field: "", text: problem.advice() },
            };
            let mut response = form_page(web, &person, problem.status, &filled, Some(alert));
            problem.add_fields(&mut response);
            Ok(response)
        }
    }
}

/// Revokes one of the person's keys. Another's key is as little there as one that never was.
pub(in crate::edge::web) async fn revoke(
    web: &Web,
    request: &WebRequest,
) -> Result<Response<Bytes>, Problem> {
    let [id] = form::fields(&request.headers, &request.body, ["id"])?;
    let person = match admit(web, request, Purpose::Change).await? {
        Admitted::Person(person) => person,
        Admitted::Elsewhere(response) => return Ok(response),
    };
    let revoked = web.services.own_keys.revoke(&web.actor, &person.user.id, id.expose()).await;
    if revoked.map_err(|error| failed(&error))? {
        Ok(done(web, Done::Key))
    } else {
        Err(Problem::not_found())
    }
}

impl SubmittedForm {
    /// The key that is wanted, or what is wrong with the form; a choice that the form does not offer is a
    /// problem.
    fn wanted(&self) -> Result<Result<KeyRequest, Alert>, Problem> {
        let unoffered = || Problem::bad_request("The form holds a choice that was not offered.");
        let role = self.role.expose().parse().map_err(|_| unoffered())?;
        let life = LIVES.iter().find(|(word, ..)| *word == self.life.expose());
        let (_, _, life) = *life.ok_or_else(unoffered)?;
        Ok(self.scope().map(|scope| KeyRequest { name: self.name.expose().to_owned(), role, scope, life }))
    }

    fn scope(&self) -> Result<KeyScope, Alert> {
        let paths = entries(&self.paths, "paths", |text| {
            PathPattern::parse(text).map(|pattern| pattern.as_str().to_owned())
        })?;
        let methods = entries(&self.methods, "methods", |text| {
            let found = METHODS.into_iter().find(|method| method.as_str().eq_ignore_ascii_case(text));
            found.ok_or_else(|| format!("`{text}` is not a method such as GET or POST"))
        })?;
        let networks = entries(&self.networks, "networks", network::parse)?;
        Ok(KeyScope { paths, methods, networks, may_act_for_users: false })
    }
}

/// What stands in a field, apart by commas, blanks and lines.
fn entries<T>(
    field: &Secret,
    name: &'static str,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<Vec<T>, Alert> {
    let words = field.expose().split(|c: char| c == ',' || c.is_whitespace()).filter(|word| !word.is_empty());
    let parsed: Result<Vec<T>, String> = words.map(parse).collect();
    parsed.map_err(|text| Alert { field: name, text: format!("{text}.") })
}

/// The field of the form that a rule is about.
fn field_of(field: Field) -> &'static str {
    match field {
        Field::Name => "name",
        Field::Role => "role",
        Field::Path => "paths",
        _ => "",
    }
}

fn form_page(
    web: &Web,
    person: &Person,
    status: StatusCode,
    filled: &SubmittedForm,
    alert: Option<Alert>,
) -> Response<Bytes> {
    let offered = Role::ALL.into_iter().filter(|role| person.user.role.includes(*role));
    let page = NewKeyPage {
        site: &web.site,
        username: &person.user.username,
        filled,
        roles: offered.map(|role| (role, role.as_str() == filled.role.expose())).collect(),
        lives: LIVES.map(|(word, text, _)| (word, text, word == filled.life.expose())).to_vec(),
        alert,
    };
    web.site.page(status, &page)
}
