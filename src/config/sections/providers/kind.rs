//! What is known of the products that people sign in with, so that the settings name only what is truly the user's.

use super::values::TokenAuth;
use crate::config::reading::choice;
use crate::config::sections::claims::UsualClaims;

/// A product, or any provider that speaks OpenID Connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProviderKind {
    /// Any other.
    Oidc,
    /// Google.
    Google,
    /// Microsoft Entra ID.
    Entra,
    /// Okta.
    Okta,
    /// Auth0.
    Auth0,
    /// Amazon Cognito.
    Cognito,
    /// Keycloak.
    Keycloak,
    /// GitLab, also one of the user's own.
    Gitlab,
    /// GitHub, also an Enterprise server. It speaks OAuth 2.0 and has an interface of its own.
    Github,
}

choice! {
    ProviderKind {
        "oidc" => Self::Oidc,
        "google" => Self::Google,
        "entra" => Self::Entra,
        "okta" => Self::Okta,
        "auth0" => Self::Auth0,
        "cognito" => Self::Cognito,
        "keycloak" => Self::Keycloak,
        "gitlab" => Self::Gitlab,
        "github" => Self::Github,
    }
}

/// What is known of a product.
pub(super) struct ProviderPreset {
    pub(super) display_name: &'static str,
    /// Where everybody's is the same.
    pub(super) issuer: Option<&'static str>,
    /// What the user's issuer looks like.
    pub(super) issuer_example: &'static str,
    /// Asked for without being named.
    pub(super) scopes: &'static [&'static str],
    /// The claim that identifies somebody.
    pub(super) subject_claim: &'static str,
    pub(super) claims: UsualClaims,
    /// Where the settings name no method.
    pub(super) token_auth: TokenAuth,
}

/// What OpenID Connect Core 1.0 knows (5.1, 5.4).
const STANDARD: ProviderPreset = ProviderPreset {
    display_name: "",
    issuer: None,
    issuer_example: "https://sso.example.com",
    scopes: &["openid", "email", "profile"],
    subject_claim: "sub",
    claims: UsualClaims { groups: None, email: "email", name: "name" },
    token_auth: TokenAuth::ClientSecretBasic,
};

const GROUPS: UsualClaims = UsualClaims { groups: Some("groups"), ..STANDARD.claims };

impl ProviderKind {
    pub(super) fn preset(self) -> ProviderPreset {
        match self {
            Self::Oidc => STANDARD,
            Self::Google => ProviderPreset {
                display_name: "Google",
                issuer: Some("https://accounts.google.com"),
                ..STANDARD
            },
            // `sub` differs with each registration of an application; `oid` is the person in the tenant.
            Self::Entra => ProviderPreset {
                display_name: "Microsoft",
                issuer_example: "https://login.microsoftonline.com/TENANT/v2.0",
                subject_claim: "oid",
                claims: GROUPS,
                ..STANDARD
            },
            Self::Okta => ProviderPreset {
                display_name: "Okta",
                issuer_example: "https://example.okta.com",
                scopes: &["openid", "email", "profile", "groups"],
                claims: GROUPS,
                ..STANDARD
            },
            Self::Auth0 => ProviderPreset {
                display_name: "Auth0",
                issuer_example: "https://example.eu.auth0.com/",
                ..STANDARD
            },
            Self::Cognito => ProviderPreset {
                display_name: "AWS Cognito",
                issuer_example: "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_EXAMPLE",
                claims: UsualClaims {
                    groups: Some("\"cognito:groups\""),
                    name: "name || \"cognito:username\"",
                    ..STANDARD.claims
                },
                ..STANDARD
            },
            // Groups by a mapper of the kind "Group Membership"; roles are in `realm_access.roles` by one of their own.
            Self::Keycloak => ProviderPreset {
                display_name: "Keycloak",
                issuer_example: "https://sso.example.com/realms/REALM",
                claims: UsualClaims { name: "name || preferred_username", ..GROUPS },
                ..STANDARD
            },
            Self::Gitlab => ProviderPreset {
                display_name: "GitLab",
                issuer: Some("https://gitlab.com"),
                issuer_example: "https://gitlab.example.com",
                claims: GROUPS,
                ..STANDARD
            },
            // Organisations and their teams need `read:org`, private addresses `user:email`. A login may be renamed and taken by
            // somebody else, the number may not.
            Self::Github => ProviderPreset {
                display_name: "GitHub",
                issuer: Some("https://github.com"),
                issuer_example: "https://github.example.com",
                scopes: &["read:user", "user:email", "read:org"],
                subject_claim: "id",
                token_auth: TokenAuth::ClientSecretPost,
                claims: UsualClaims { name: "name || login", ..GROUPS },
            },
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::config::reading::{FromText as _, SettingType};
    use crate::policy::claims::ClaimPath;

    #[test]
    fn the_expressions_of_every_preset_are_sound() {
        let SettingType::Choice(words) = ProviderKind::WHAT else { panic!("a choice") };
        for word in *words {
            let claims = ProviderKind::from_text(word).ok().unwrap().preset().claims;
            for text in claims.groups.iter().chain([&claims.email, &claims.name]) {
                assert!(ClaimPath::parse(text).is_ok(), "{word}: {text}");
            }
        }
    }
}
