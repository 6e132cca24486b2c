//! Problems of signing in through a provider. What each says in detail depends on the provider, and is written where it is
//! called what people call it.

use std::time::Duration;

use http::StatusCode;

use super::{Problem, Remedy};
use crate::model::verdict::Code;

impl Problem {
    /// What came back belongs to no sign-in that this browser has under way.
    pub fn stale_sign_in(detail: String) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Code::StaleSignIn, "This sign-in cannot go on", "")
            .because(detail)
            .with(Remedy::OpenSignIn)
    }

    /// The provider, or the person there, said no.
    pub fn provider_denied(detail: String) -> Self {
        Self::new(StatusCode::FORBIDDEN, Code::ProviderDenied, "You were not signed in", "").because(detail)
    }

    /// The provider does not answer as it should.
    pub fn provider_unavailable(detail: String) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            Code::ProviderUnavailable,
            "The sign-in service does not answer",
            "",
        )
        .because(detail)
        .after(Duration::from_secs(5))
    }

    /// The settings here and those at the provider do not agree, or what it sends cannot be believed.
    pub fn provider_misconfigured(detail: String) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, Code::ProviderMisconfigured, "Signing in does not work", "")
            .because(detail)
    }

    /// The provider knows the person, and the settings or accounts here do not let them in.
    pub fn sign_in_refused(detail: String) -> Self {
        Self::new(StatusCode::FORBIDDEN, Code::SignInRefused, "You cannot be let in", "")
            .because(detail)
            .with(Remedy::OtherAccount)
    }

    /// A page that a browser asks for in advance, in which it would begin something. It asks again when the person opens it.
    pub fn not_in_advance() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            Code::NotInAdvance,
            "This page opens when you open it",
            "Nothing is begun for a browser that loads pages in advance.",
        )
    }
}
