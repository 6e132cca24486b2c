//! Why something about somebody cannot be looked up beside their tokens, and what an admin can do about it.

use super::kind::OidcErrorKind;
use super::token_endpoint::TokenEndpointError;
use crate::egress::EgressError;
use crate::model::words::words;

words! {
    /// What is looked up about somebody beside the tokens of their sign-in.
    Lookup {
        /// The account.
        GithubUser = "the account at GitHub",
        /// Its e-mail addresses.
        GithubEmails = "the e-mail addresses at GitHub",
        /// Organisations.
        GithubOrganizations = "the organisations at GitHub",
        /// Teams.
        GithubTeams = "the teams at GitHub",
        /// Groups of Google Workspace.
        GoogleGroups = "the groups in Google's directory",
        /// Groups of Microsoft Entra ID.
        GraphGroups = "the groups in Microsoft Graph",
        /// Groups that are assigned to an application there.
        GraphAssignments = "the assigned groups in Microsoft Graph",
        /// Groups of GitLab.
        GitlabGroups = "the groups in GitLab's API",
    }
}

/// Why something cannot be looked up.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// It cannot be reached, or its answer is no JSON.
    #[error(transparent)]
    Call(#[from] EgressError),
    /// All lookups of one sign-in have twenty seconds.
    #[error("it did not come within twenty seconds")]
    Slow,
    /// There is no token to read it with.
    #[error("the service account gets no access token: {0}")]
    Token(#[source] TokenEndpointError),
    /// 401.
    #[error("the access token is not taken (401)")]
    Unauthorized,
    /// 403.
    #[error("a permission is missing (403)")]
    Forbidden,
    /// 403 or 429, with a pause to make.
    #[error("there were too many requests, and the provider wants a pause (403 or 429)")]
    RateLimited,
    /// 404.
    #[error("the provider does not know it (404)")]
    NotFound,
    /// It is JSON of another shape.
    #[error("{0} is missing in the answer, or of another type")]
    Shape(&'static str),
    /// A longer list is not read.
    #[error("it has more than {0} pages")]
    TooManyPages(usize),
    /// Groups in groups in groups.
    #[error("groups are members of groups in more than {0} steps")]
    TooDeep(usize),
    /// More groups are not asked for those that they are in.
    #[error("there are more than {0} groups to ask for the groups that they are in")]
    TooManyGroups(usize),
    /// The next page is at another server.
    #[error("the list goes on at another address")]
    Elsewhere,
}

impl LookupError {
    pub(super) fn kind(&self) -> OidcErrorKind {
        match self {
            Self::Call(_) | Self::Slow | Self::RateLimited | Self::Shape(_) | Self::Elsewhere => {
                OidcErrorKind::Unavailable
            }
            Self::Token(error) if error.kind() == OidcErrorKind::Unavailable => OidcErrorKind::Unavailable,
            Self::Token(_)
            | Self::Unauthorized
            | Self::Forbidden
            | Self::NotFound
            | Self::TooManyPages(_)
            | Self::TooDeep(_)
            | Self::TooManyGroups(_) => OidcErrorKind::Misconfigured,
        }
    }

    /// What an admin can do about it, as the rest of a sentence.
    pub(super) fn remedy(&self, what: Lookup) -> &'static str {
        if self.kind() == OidcErrorKind::Unavailable {
            return "";
        }
        match (self, what) {
            (Self::Forbidden, Lookup::GithubOrganizations | Lookup::GithubTeams) => {
                ": an OAuth app needs the scope `read:org`, a GitHub app the permission \"Members\" of organisations"
            }
            (Self::Forbidden | Self::Unauthorized | Self::Token(_), Lookup::GoogleGroups) => {
                ": allow the service account's client the scope https://www.googleapis.com/auth/admin.directory.group.readonly \
                 under \"Domain-wide delegation\", name an administrator in `directory_admin`, and switch on the Admin SDK API"
            }
            (Self::Forbidden | Self::Unauthorized, Lookup::GraphGroups) => {
                ": the application needs the delegated permission User.Read of Microsoft Graph"
            }
            (Self::Forbidden | Self::Unauthorized, Lookup::GraphAssignments) => {
                ": the application needs the delegated permission Directory.Read.All of Microsoft Graph, with the consent of an admin"
            }
            (Self::Forbidden | Self::Unauthorized, Lookup::GitlabGroups) => {
                ": the application needs the scope `read_api`"
            }
            _ => "",
        }
    }
}
