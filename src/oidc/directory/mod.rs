//! Groups that a provider's tokens do not hold, read from its directory once for each sign-in and each refresh, and put into the
//! claim `groups`. Expressions and rules then see no difference.
//!
//! A group may open something, and another rule may refuse who is in it. So what cannot be read, or not to its end, is a failure
//! of the sign-in and never an empty or a short list.

mod gitlab;
mod google;
mod graph;

#[cfg(test)]
mod tests;

use serde_json::Value;

use self::gitlab::GitlabGroups;
use self::google::GoogleDirectory;
use self::graph::Graph;
use super::error::{Lookup, LookupError, OidcError};
use super::product_api::within_time;
use crate::config::{DirectoryConfig, ProviderConfig};
use crate::egress::EgressClient;
use crate::model::secret::Secret;
use crate::model::time::Clock;
use crate::policy::claims::ClaimSet;

/// The claim for groups.
const GROUPS: &str = "groups";

/// Where groups of a provider are read.
pub(super) enum Directory {
    Google(Box<GoogleDirectory>),
    Graph(Graph),
    Gitlab(GitlabGroups),
}

/// Somebody who has just signed in, or whose sign-in was refreshed.
#[derive(Clone, Copy)]
pub(super) struct Subject<'a> {
    /// `sub`.
    pub(super) id: &'a str,
    pub(super) claims: &'a ClaimSet,
    /// Theirs, from the provider's token endpoint.
    pub(super) access_token: &'a Secret,
}

impl Directory {
    /// `None` where the settings have none.
    pub(super) fn new(config: &ProviderConfig, egress: &EgressClient) -> Option<Self> {
        Some(match config.directory.as_ref()? {
            DirectoryConfig::Google(google) => {
                Self::Google(Box::new(GoogleDirectory::new((**google).clone(), egress.clone())))
            }
            DirectoryConfig::Graph(graph) => Self::Graph(Graph::new(graph.clone(), egress.clone())),
            DirectoryConfig::Gitlab => Self::Gitlab(GitlabGroups::new(&config.issuer.issuer, egress.clone())),
        })
    }

    /// The claims with the groups of the directory; as they are where these were not needed.
    ///
    /// # Errors
    ///
    /// [`OidcError::Lookup`] if they cannot be read, [`OidcError::Claims`] if they are too many to be looked at.
    pub(super) async fn complete(
        &self,
        subject: Subject<'_>,
        clock: &dyn Clock,
    ) -> Result<ClaimSet, OidcError> {
        let (what, groups) = match self {
            Self::Google(google) => {
                (Lookup::GoogleGroups, within_time(google.groups(subject.id, clock)).await)
            }
            Self::Graph(_) if !subject.claims.has_group_overage() => return Ok(subject.claims.clone()),
            Self::Graph(graph) => (graph.what(), within_time(graph.groups(subject.access_token)).await),
            Self::Gitlab(gitlab) => {
                (Lookup::GitlabGroups, within_time(gitlab.groups(subject.access_token)).await)
            }
        };
        let groups = groups.map_err(|error: LookupError| error.of(what))?;
        Ok(subject.claims.with(GROUPS, Value::from(groups))?)
    }
}
