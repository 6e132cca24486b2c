//! Groups of Google Workspace from its directory (Admin SDK, Directory API, `groups.list`), read by a service account, in the name
//! of an administrator where the settings name one (developers.google.com/identity/protocols/oauth2/service-account).

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, TryStreamExt as _};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::config::GoogleDirectoryConfig;
use crate::egress::{EgressClient, EgressResponse};
use crate::model::secret::Secret;
use crate::model::time::Clock;
use crate::oidc::error::{LookupError, TokenEndpointError};
use crate::oidc::product_api::{Page, ProductApi, body};
use crate::oidc::token_endpoint;

const TOKEN_URL: &str = "https://oauth2.googleapis.com/token";
const API: &str = "https://admin.googleapis.com";
const SCOPE: &str = "https://www.googleapis.com/auth/admin.directory.group.readonly";
/// For how long a statement of the service account is good.
const ASSERTION_LIFETIME: Duration = Duration::from_mins(5);
/// A token is not used any more so long before it expires.
const TOKEN_MARGIN: Duration = Duration::from_mins(1);
/// Pages of 200 groups.
const MOST_PAGES: usize = 20;
/// Groups in groups, counted in steps.
const MOST_STEPS: usize = 10;
/// Groups that are asked for the groups that they are in.
const MOST_ASKED: usize = 500;
/// Calls at once for one person.
const AT_ONCE: usize = 8;

pub(in crate::oidc) struct GoogleDirectory {
    config: GoogleDirectoryConfig,
    egress: EgressClient,
    api: ProductApi,
    /// The service account's token, and until when it is used. Who needs another one holds this while they get it.
    token: Mutex<Option<(Secret, Instant)>>,
}

/// Addresses of groups by their IDs.
type Groups = BTreeMap<String, String>;

#[derive(Deserialize)]
struct Answer {
    /// Missing where there are none.
    #[serde(default)]
    groups: Vec<Group>,
    #[serde(rename = "nextPageToken")]
    next: Option<String>,
}

#[derive(Deserialize)]
struct Group {
    id: String,
    email: String,
}

impl GoogleDirectory {
    pub(super) fn new(config: GoogleDirectoryConfig, egress: EgressClient) -> Self {
        Self { api: ProductApi::new(egress.clone(), API, &[]), egress, config, token: Mutex::new(None) }
    }

    /// Addresses of the groups of somebody, by their ID at Google, which is `sub`. Who is not in this directory has none.
    pub(super) async fn groups(&self, subject: &str, clock: &dyn Clock) -> Result<Vec<String>, LookupError> {
        let token = self.token(clock).await?;
        let found = match self.all(subject, &token).await {
            // Withdrawn before it expired.
            Err(LookupError::Unauthorized) => {
                self.forget(&token).await;
                self.all(subject, &self.token(clock).await?).await
            }
            found => found,
        };
        Ok(found?.into_values().collect())
    }

    async fn all(&self, subject: &str, token: &Secret) -> Result<Groups, LookupError> {
        let direct = match self.of_member(subject, token).await {
            Err(LookupError::NotFound) => return Ok(Groups::new()),
            direct => direct?,
        };
        if self.config.nested { self.with_parents(direct, token).await } else { Ok(direct) }
    }

    /// Groups, the groups that they are in, and so on, step by step. Each is asked for once, so a circle ends.
    async fn with_parents(&self, direct: Groups, token: &Secret) -> Result<Groups, LookupError> {
        let mut all = direct.clone();
        let mut newest: Vec<String> = direct.into_keys().collect();
        for _ in 0..MOST_STEPS {
            if newest.is_empty() {
                return Ok(all);
            }
            if all.len() > MOST_ASKED {
                return Err(LookupError::TooManyGroups(MOST_ASKED));
            }
            let mut newer = Vec::new();
            for some in newest.chunks(AT_ONCE) {
                let mut asked = FuturesUnordered::new();
                for group in some {
                    asked.push(self.of_member(group, token));
                }
                while let Some(groups) = asked.try_next().await? {
                    for (id, address) in groups {
                        if all.insert(id.clone(), address).is_none() {
                            newer.push(id);
                        }
                    }
                    if all.len() > MOST_ASKED {
                        return Err(LookupError::TooManyGroups(MOST_ASKED));
                    }
                }
            }
            newest = newer;
        }
        if newest.is_empty() { Ok(all) } else { Err(LookupError::TooDeep(MOST_STEPS)) }
    }

    /// The groups that a person or a group is directly in.
    async fn of_member(&self, member: &str, token: &Secret) -> Result<Groups, LookupError> {
        let first = format!(
            "/admin/directory/v1/groups?maxResults=200&userKey={}",
            utf8_percent_encode(member, NON_ALPHANUMERIC)
        );
        let read = |response: &EgressResponse| {
            let answer: Answer = body(response, "a list of groups with `id` and `email`")?;
            let next = answer
                .next
                .map(|next| format!("{first}&pageToken={}", utf8_percent_encode(&next, NON_ALPHANUMERIC)));
            let items = answer.groups.into_iter().map(|group| (group.id, group.email)).collect();
            Ok(Page { items, next })
        };
        Ok(self.api.list(first.clone(), token, MOST_PAGES, read).await?.into_iter().collect())
    }

    async fn token(&self, clock: &dyn Clock) -> Result<Secret, LookupError> {
        let mut known = self.token.lock().await;
        if let Some((token, until)) = known.as_ref()
            && Instant::now() < *until
        {
            return Ok(token.clone());
        }
        let assertion = self.assertion(clock).ok_or(LookupError::Token(TokenEndpointError::Signing))?;
        let answer = token_endpoint::exchange_assertion(&self.egress, TOKEN_URL, &assertion).await;
        let answer = answer.map_err(|error| {
            if let TokenEndpointError::Refused { code, said } = &error {
                let account = self.config.account.as_str();
                tracing::warn!(account, error = %code, said, "Google gives the service account no token");
            }
            LookupError::Token(error)
        })?;
        let until = Instant::now() + answer.lifetime.saturating_sub(TOKEN_MARGIN);
        *known = Some((answer.access_token.clone(), until));
        Ok(answer.access_token)
    }

    /// Unless another one has come in its place meanwhile.
    async fn forget(&self, token: &Secret) {
        let mut known = self.token.lock().await;
        if known.as_ref().is_some_and(|(known, _)| known.expose() == token.expose()) {
            *known = None;
        }
    }

    /// What the service account says of itself.
    fn assertion(&self, clock: &dyn Clock) -> Option<Secret> {
        let now = clock.now();
        let mut claims = json!({
            "iss": self.config.account,
            "scope": SCOPE,
            "aud": TOKEN_URL,
            "iat": now.0,
            "exp": now.after(ASSERTION_LIFETIME).0,
        });
        let claims = claims.as_object_mut()?;
        if let Some(admin) = &self.config.admin {
            claims.insert("sub".to_owned(), admin.as_str().into());
        }
        self.config.key.sign_as(self.config.key_id.as_deref(), claims).map(Secret::new)
    }
}
