//! The names that each preset sets, and what their values are taken from.

use crate::config::{HeaderEncoding, HeaderPreset};
use crate::model::principal::Principal;
use crate::model::role::Role;
use crate::model::template::Escape;

/// The names a preset sets, and from what.
pub fn names(preset: HeaderPreset) -> &'static [(&'static str, IdentityField)] {
    use IdentityField::{
        Email, EmailOrUser, GrafanaGroups, GrafanaRole, Groups, IsAdmin, Issuer, MayAct, Name, PipedGroups,
        Role, Subject, User,
    };
    match preset {
        HeaderPreset::None => &[],
        HeaderPreset::Standard => &[
            ("x-auth-user", User),
            ("x-auth-subject", Subject),
            ("x-auth-name", Name),
            ("x-auth-email", Email),
            ("x-auth-groups", Groups),
            ("x-auth-role", Role),
        ],
        HeaderPreset::Oauth2Proxy => &[
            ("x-forwarded-user", User),
            ("x-forwarded-preferred-username", User),
            ("x-forwarded-email", Email),
            ("x-forwarded-groups", Groups),
            ("x-auth-request-user", User),
            ("x-auth-request-preferred-username", User),
            ("x-auth-request-email", Email),
            ("x-auth-request-groups", Groups),
        ],
        HeaderPreset::Authelia => &[
            ("remote-user", User),
            ("remote-name", Name),
            ("remote-email", Email),
            ("remote-groups", Groups),
        ],
        HeaderPreset::Authentik => &[
            ("x-authentik-username", User),
            ("x-authentik-uid", Subject),
            ("x-authentik-name", Name),
            ("x-authentik-email", Email),
            ("x-authentik-groups", PipedGroups),
            ("x-authentik-entitlements", PipedGroups),
        ],
        HeaderPreset::Vouch => &[("x-vouch-user", EmailOrUser)],
        HeaderPreset::TraefikForwardAuth => &[("x-forwarded-user", EmailOrUser)],
        HeaderPreset::Micromegas => &[
            ("x-auth-subject", Subject),
            ("x-auth-email", Email),
            ("x-auth-issuer", Issuer),
            ("x-allow-delegation", MayAct),
            ("x-auth-is-admin", IsAdmin),
        ],
        HeaderPreset::Grafana => &[
            ("x-webauth-user", User),
            ("x-webauth-name", Name),
            ("x-webauth-email", Email),
            ("x-webauth-groups", GrafanaGroups),
            ("x-webauth-role", GrafanaRole),
        ],
    }
}

/// What a header's value is taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityField {
    /// Username, or a system key's name.
    User,
    /// `user:<id>` or `key:<id>`.
    Subject,
    /// Display name.
    Name,
    /// Address.
    Email,
    /// Comma-separated.
    Groups,
    /// Comma-separated, for Grafana, which splits at more than commas.
    GrafanaGroups,
    /// Separated by `|`.
    PipedGroups,
    /// Address, or username where there is none.
    EmailOrUser,
    /// Our role.
    Role,
    /// Grafana's word for our role.
    GrafanaRole,
    /// Our public address: who vouches.
    Issuer,
    /// `true` where the caller may act for others.
    MayAct,
    /// `true` for admins.
    IsAdmin,
}

/// Where Grafana splits a list of groups, what quotes an item there, and what begins a list in JSON.
const GRAFANA_MARKS: [char; 4] = [',', ' ', '"', '['];

impl HeaderPreset {
    /// How the product writes what is not ASCII that the preset is named after; percent-encoding where none does.
    pub(super) fn encoding(self) -> HeaderEncoding {
        match self {
            Self::Standard | Self::Micromegas | Self::None => HeaderEncoding::Percent,
            Self::Oauth2Proxy | Self::Authelia | Self::Authentik | Self::Vouch | Self::TraefikForwardAuth => {
                HeaderEncoding::Utf8
            }
            Self::Grafana => HeaderEncoding::QuotedPrintable,
        }
    }
}

impl IdentityField {
    /// Whether it has the application keep something from a caller that it would let them have, or leave them, were it
    /// told nothing: by a no where silence means yes, or by a lower role where silence leaves the one they have.
    pub(super) fn limits(self, principal: Option<&Principal>) -> bool {
        match self {
            Self::IsAdmin | Self::GrafanaRole => principal.is_none_or(|who| who.role != Role::Admin),
            Self::MayAct => !principal.is_some_and(Principal::may_act_for_users),
            _ => false,
        }
    }

    pub(super) fn of(self, principal: Option<&Principal>, issuer: &str, fact: Escape<'_>) -> Option<String> {
        let yes_or_no = |yes: bool| Some(if yes { "true" } else { "false" }.to_owned());
        match (self, principal) {
            // A server that trusts its gateway takes silence for yes.
            (Self::IsAdmin, who) => return yes_or_no(who.is_some_and(|who| who.role == Role::Admin)),
            (Self::MayAct, who) => return yes_or_no(who.is_some_and(Principal::may_act_for_users)),
            _ => {}
        }
        let principal = principal?;
        let list = |separator: &str, marks: &[char]| -> Option<String> {
            let groups: Vec<String> = principal.groups.iter().map(|group| fact(group, marks)).collect();
            (!groups.is_empty()).then(|| groups.join(separator))
        };
        let plain = |text: &str| fact(text, &[]);
        match self {
            Self::User => Some(plain(&principal.name)),
            Self::Subject => Some(plain(&principal.subject())),
            Self::Name => principal.display_name.as_deref().map(plain),
            Self::Email => principal.email.as_deref().map(plain),
            Self::EmailOrUser => Some(plain(principal.email.as_deref().unwrap_or(&principal.name))),
            Self::Groups => list(",", &[',']),
            Self::GrafanaGroups => list(",", &GRAFANA_MARKS),
            Self::PipedGroups => list("|", &['|']),
            Self::Role => Some(principal.role.as_str().to_owned()),
            Self::GrafanaRole => Some(
                match principal.role {
                    Role::Admin => "Admin",
                    Role::Member => "Editor",
                    Role::Viewer | Role::Agent => "Viewer",
                }
                .to_owned(),
            ),
            Self::Issuer => Some(plain(issuer)),
            Self::MayAct | Self::IsAdmin => None,
        }
    }
}
