//! An account at GitHub with its organisations and teams, and the claims that are made of it.

use serde::Deserialize;
use serde_json::{Map, json};
use tokio::try_join;

use crate::config::{IssuerConfig, ProviderConfig};
use crate::egress::EgressResponse;
use crate::model::secret::Secret;
use crate::oidc::error::{Lookup, LookupError, OidcError, TokenRefusal};
use crate::oidc::product_api::{Page, ProductApi, body, within_time};
use crate::policy::claims::{BadClaimSet, ClaimSet, ClaimsRefusal};

/// Pages of 100 organisations, teams or addresses.
const MOST_PAGES: usize = 10;
/// Scopes that let organisations and teams be read (docs.github.com, "Scopes for OAuth apps").
const ORGANIZATION_SCOPES: [&str; 3] = ["read:org", "write:org", "admin:org"];

/// What GitHub says of somebody.
pub(super) struct Account {
    user: User,
    /// The primary address, if it is verified.
    email: Option<String>,
    organizations: Vec<Organization>,
    teams: Vec<Team>,
    /// IDs of organisations that hide from this application until somebody has signed in to them there.
    hidden: Vec<u64>,
}

/// `GET /user`.
#[derive(Deserialize)]
struct User {
    id: u64,
    login: String,
    name: Option<String>,
}

/// One of `GET /user/emails`.
#[derive(Deserialize)]
struct Address {
    email: String,
    primary: bool,
    verified: bool,
}

/// One of `GET /user/orgs`.
#[derive(Deserialize)]
struct Organization {
    id: u64,
    login: String,
}

/// One of `GET /user/teams`.
#[derive(Deserialize)]
struct Team {
    id: u64,
    slug: String,
    organization: Organization,
    /// The team that it is in, whose members its own are.
    parent: Option<Parent>,
}

#[derive(Deserialize)]
struct Parent {
    slug: String,
}

/// A list, and the organisations that are hidden from it.
type Listed<T> = (Vec<T>, Vec<u64>);

/// Asks for the account and everything about it at once.
pub(super) async fn look_up(api: &ProductApi, access_token: &Secret) -> Result<Account, OidcError> {
    let user = async {
        let response = within_time(api.get("/user", access_token)).await;
        response
            .and_then(|response| body(&response, "an account with `id` and `login`"))
            .map_err(|e| e.of(Lookup::GithubUser))
    };
    let emails = list::<Address>(
        api,
        "/user/emails",
        access_token,
        "a list of addresses with `email`, `primary` and `verified`",
    );
    let organizations = list::<Organization>(
        api,
        "/user/orgs",
        access_token,
        "a list of organisations with `id` and `login`",
    );
    let teams = list::<Team>(
        api,
        "/user/teams",
        access_token,
        "a list of teams with `id`, `slug` and `organization`",
    );
    let (user, emails, organizations, teams): (User, _, _, _) = try_join!(
        user,
        async { emails.await.or_else(without_emails).map_err(|error| error.of(Lookup::GithubEmails)) },
        async { organizations.await.map_err(|error| error.of(Lookup::GithubOrganizations)) },
        async { teams.await.map_err(|error| error.of(Lookup::GithubTeams)) },
    )?;
    let mut hidden = [organizations.1, teams.1].concat();
    hidden.sort_unstable();
    hidden.dedup();
    let email = emails.0.into_iter().find(|email| email.primary && email.verified).map(|email| email.email);
    Ok(Account { user, email, organizations: organizations.0, teams: teams.0, hidden })
}

/// An application may do without addresses: then nobody's is known.
fn without_emails(error: LookupError) -> Result<Listed<Address>, LookupError> {
    match error {
        LookupError::Forbidden | LookupError::NotFound => Ok((Vec::new(), Vec::new())),
        other => Err(other),
    }
}

async fn list<T: serde::de::DeserializeOwned>(
    api: &ProductApi,
    path: &str,
    access_token: &Secret,
    what: &'static str,
) -> Result<Listed<T>, LookupError> {
    let mut hidden = Vec::new();
    let read = |response: &EgressResponse| {
        hidden.extend(response.header("x-github-sso").into_iter().flat_map(hidden_organizations));
        let next = response.header("link").and_then(next_page).map(str::to_owned);
        Ok(Page { items: body(response, what)?, next })
    };
    let items = within_time(api.list(format!("{path}?per_page=100"), access_token, MOST_PAGES, read)).await?;
    Ok((items, hidden))
}

/// The address with `rel="next"` (RFC 8288, 3).
fn next_page(link: &str) -> Option<&str> {
    link.split(',').find_map(|link| {
        let (address, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
        parameters.split(';').any(|parameter| parameter.trim() == "rel=\"next\"").then_some(address)
    })
}

/// IDs in `partial-results; organizations=21955855,20582480` (docs.github.com, "Authenticating to the REST API").
fn hidden_organizations(header: &str) -> impl Iterator<Item = u64> {
    let parameters = header.split(';').map(str::trim);
    let lists = parameters.filter_map(|parameter| parameter.strip_prefix("organizations="));
    lists.flat_map(|list| list.split(',')).filter_map(|id| id.trim().parse().ok())
}

/// Whether organisations may be read. A GitHub app has permissions and no scopes, so that nothing is said.
pub(super) fn check_scope(scope: Option<&str>) -> Result<(), OidcError> {
    let mut granted =
        scope.unwrap_or_default().split([',', ' ']).filter(|scope| !scope.is_empty()).peekable();
    if granted.peek().is_none() || granted.any(|scope| ORGANIZATION_SCOPES.contains(&scope)) {
        return Ok(());
    }
    Err(LookupError::Forbidden.of(Lookup::GithubOrganizations))
}

/// Where people see what an application may do, and let their organisations show themselves to it.
pub fn access_page(issuer: &IssuerConfig, client_id: &str) -> String {
    format!("{}/settings/connections/applications/{client_id}", issuer.issuer)
}

impl Account {
    /// The number, which no other account gets, also after this one was renamed or deleted.
    pub(super) fn id(&self) -> String {
        self.user.id.to_string()
    }

    /// The same, if it is the one that signed in.
    pub(super) fn of(self, id: &str) -> Result<Self, OidcError> {
        if self.id() == id { Ok(self) } else { Err(OidcError::IdToken(TokenRefusal::OtherPerson)) }
    }

    /// The claims, as `docs/providers/github.md` shows them.
    pub(super) fn claims(&self) -> Result<ClaimSet, BadClaimSet> {
        let mut claims = Map::new();
        claims.insert("id".to_owned(), self.user.id.into());
        claims.insert("login".to_owned(), self.user.login.as_str().into());
        if let Some(name) = &self.user.name {
            claims.insert("name".to_owned(), name.as_str().into());
        }
        if let Some(email) = &self.email {
            claims.insert("email".to_owned(), email.as_str().into());
            claims.insert("email_verified".to_owned(), true.into());
        }
        let organization =
            |organization: &Organization| json!({ "id": organization.id, "login": organization.login });
        let team = |team: &Team| json!({ "id": team.id, "slug": team.slug, "organization": team.organization.login });
        claims.insert("organizations".to_owned(), self.organizations.iter().map(organization).collect());
        claims.insert("teams".to_owned(), self.teams.iter().map(team).collect());
        claims.insert("groups".to_owned(), self.groups().into());
        if !self.hidden.is_empty() {
            claims.insert("hidden_organizations".to_owned(), self.hidden.clone().into());
        }
        ClaimSet::new(claims)
    }

    /// `organisation`, and `organisation/team` by the short names in addresses, also of the team above.
    fn groups(&self) -> Vec<String> {
        let organizations = self.organizations.iter().map(|organization| organization.login.clone());
        let teams = self.teams.iter().flat_map(|team| {
            let slugs = [Some(&team.slug), team.parent.as_ref().map(|parent| &parent.slug)];
            slugs.into_iter().flatten().map(|slug| format!("{}/{slug}", team.organization.login))
        });
        let mut groups: Vec<String> = organizations.chain(teams).collect();
        groups.sort_unstable();
        groups.dedup();
        groups
    }

    /// Says in the log what may be the reason where somebody is in none of the groups that are let in. Nothing tells an organisation
    /// that is hidden from one that they are not in.
    pub(super) fn explain(&self, config: &ProviderConfig) {
        let Ok(claims) = self.claims() else { return };
        let refused = config.claims.evaluate(&claims).result;
        if !matches!(refused, Err(ClaimsRefusal::NoAllowedGroup | ClaimsRefusal::GroupsAbsent)) {
            return;
        }
        let provider = config.name.as_str();
        let access = access_page(&config.issuer, &config.client_id);
        if self.hidden.is_empty() {
            tracing::warn!(
                provider,
                subject = self.user.id,
                "none of the organisations and teams that GitHub shows is one of `allowed_groups`. An organisation that has not \
                 approved this application does not show itself: its owner approves it under \"Third-party access\", and people ask \
                 for that at {access}"
            );
        } else {
            tracing::warn!(
                provider,
                subject = self.user.id,
                hidden = self.hidden.len(),
                "none of the organisations and teams that GitHub shows is one of `allowed_groups`, and some show themselves only to \
                 who has signed in to them with their single sign-on: people do that on their own page of this application, {access}"
            );
        }
    }
}
