//! Groups of GitLab from its API (docs.gitlab.com/api/groups). Userinfo has those that somebody is in directly or through a group
//! above; the API lists these, and also those into which another of their groups was invited.

use serde::Deserialize;

use crate::egress::{EgressClient, EgressResponse};
use crate::model::secret::Secret;
use crate::oidc::error::LookupError;
use crate::oidc::product_api::{Page, ProductApi, body};

/// Pages of 100 groups.
const MOST_PAGES: usize = 20;
/// The least access that counts: guest. Who has "minimal access" is listed as a member and may see nothing.
const GUEST: u8 = 10;

pub(in crate::oidc) struct GitlabGroups(ProductApi);

#[derive(Deserialize)]
struct Group {
    full_path: String,
}

impl GitlabGroups {
    pub(super) fn new(issuer: &str, egress: EgressClient) -> Self {
        Self(ProductApi::new(egress, &format!("{}/api/v4", issuer.trim_end_matches('/')), &[]))
    }

    /// Full paths, such as `platform/database`.
    pub(super) async fn groups(&self, access_token: &Secret) -> Result<Vec<String>, LookupError> {
        self.0.list(page_at("1"), access_token, MOST_PAGES, read).await
    }
}

fn page_at(number: &str) -> String {
    format!("/groups?min_access_level={GUEST}&order_by=id&per_page=100&page={number}")
}

/// The next page has a number, and the last one says that there is none.
fn read(response: &EgressResponse) -> Result<Page<String>, LookupError> {
    let groups: Vec<Group> = body(response, "a list of groups with `full_path`")?;
    let next = match response.header("x-next-page") {
        Some("") => None,
        Some(number) if number.bytes().all(|byte| byte.is_ascii_digit()) => Some(page_at(number)),
        _ => return Err(LookupError::Shape("the header `x-next-page`")),
    };
    Ok(Page { items: groups.into_iter().map(|group| group.full_path).collect(), next })
}
