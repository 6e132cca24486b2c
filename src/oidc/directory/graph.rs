//! Groups of Microsoft Entra ID from Microsoft Graph, for those whose token says that it lacks them (learn.microsoft.com, "Group
//! overages"). The token says also where they are, at an interface that is switched off; that address is never called.
//!
//! Members of directory roles and administrative units are listed beside groups, and left out. Where the permission User.Read is
//! all there is, a group is its type and its ID and nothing else, which is what tokens have, too.

use serde::Deserialize;

use crate::config::{GraphConfig, GraphGroups};
use crate::egress::{EgressClient, EgressResponse};
use crate::model::secret::Secret;
use crate::oidc::error::{Lookup, LookupError};
use crate::oidc::product_api::{Page, ProductApi, body};

/// Pages of at most 999 groups.
const MOST_PAGES: usize = 20;
const GROUP: &str = "#microsoft.graph.group";

pub(in crate::oidc) struct Graph {
    api: ProductApi,
    groups: GraphGroups,
}

#[derive(Deserialize)]
struct Answer<T> {
    value: Vec<T>,
    #[serde(rename = "@odata.nextLink")]
    next: Option<String>,
}

/// A `directoryObject`.
#[derive(Deserialize)]
struct Member {
    #[serde(rename = "@odata.type")]
    kind: String,
    id: String,
}

/// An `appRoleAssignment`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Assignment {
    principal_id: String,
    principal_type: String,
    resource_id: String,
}

impl Graph {
    pub(super) fn new(config: GraphConfig, egress: EgressClient) -> Self {
        // A filter on assignments is an advanced query, which wants this header.
        let headers = [("consistencylevel", "eventual")];
        Self {
            api: ProductApi::new(egress, &format!("{}/v1.0", config.url), &headers),
            groups: config.groups,
        }
    }

    pub(super) fn what(&self) -> Lookup {
        match self.groups {
            GraphGroups::Application { .. } => Lookup::GraphAssignments,
            GraphGroups::Transitive | GraphGroups::Direct => Lookup::GraphGroups,
        }
    }

    /// Object IDs.
    pub(super) async fn groups(&self, access_token: &Secret) -> Result<Vec<String>, LookupError> {
        match &self.groups {
            GraphGroups::Transitive => self.members("/me/transitiveMemberOf", access_token).await,
            GraphGroups::Direct => self.members("/me/memberOf", access_token).await,
            GraphGroups::Application { object_id } => self.assigned(object_id, access_token).await,
        }
    }

    async fn members(&self, path: &str, access_token: &Secret) -> Result<Vec<String>, LookupError> {
        let read = |response: &EgressResponse| {
            let answer: Answer<Member> = body(response, "a list of objects with `@odata.type` and `id`")?;
            let groups = answer.value.into_iter().filter(|member| member.kind == GROUP);
            Ok(Page { items: groups.map(|group| group.id).collect(), next: answer.next })
        };
        self.api.list(format!("{path}?$select=id&$top=999"), access_token, MOST_PAGES, read).await
    }

    /// Groups that somebody is directly in and that have a role in the application.
    async fn assigned(&self, object_id: &str, access_token: &Secret) -> Result<Vec<String>, LookupError> {
        let read = |response: &EgressResponse| {
            let answer: Answer<Assignment> =
                body(response, "a list of assignments with `principalId`, `principalType` and `resourceId`")?;
            let is_ours = |assignment: &Assignment| {
                assignment.principal_type == "Group" && assignment.resource_id.eq_ignore_ascii_case(object_id)
            };
            let groups = answer.value.into_iter().filter(is_ours);
            Ok(Page { items: groups.map(|assignment| assignment.principal_id).collect(), next: answer.next })
        };
        let path =
            format!("/me/appRoleAssignments?$count=true&$top=999&$filter=resourceId%20eq%20{object_id}");
        let mut groups = self.api.list(path, access_token, MOST_PAGES, read).await?;
        groups.sort_unstable();
        groups.dedup();
        Ok(groups)
    }
}
