//! Sessions: the server-side record behind a browser's cookie.

use std::time::Duration;

use super::identity::IdentityKey;
use super::time::Timestamp;
use super::user::UserId;
use super::words::words;

/// One signed-in browser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Public identifier (`UUIDv7` text); safe to show and log, useless as a credential.
    pub id: String,
    /// Whose it is.
    pub user_id: UserId,
    /// When the user signed in.
    pub created_at: Timestamp,
    /// Last request seen; written at most once a minute.
    pub last_seen_at: Timestamp,
    /// Ends then, whatever happens.
    pub expires_at: Timestamp,
    /// Address the sign-in came from.
    pub client: String,
    /// Browser the sign-in came from, cut to 200 characters.
    pub user_agent: String,
    /// The session it was handed over from, for a browser at another host; it ends with that one.
    pub parent_id: Option<String>,
    /// The one host it counts at: an application there may see its cookie, and must not use it elsewhere.
    /// `None`: wherever the browser sends it.
    pub host: Option<String>,
    /// The identity by which the user signed in, also in sessions handed over from there; `None` after a sign-in by password.
    pub provider: Option<ProviderSession>,
}

/// The identity by which a session was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderSession {
    /// The provider's name in the settings.
    pub provider: String,
    /// The identity.
    pub key: IdentityKey,
}

/// By what a provider names a sign-in when it is over (OpenID Connect Back-Channel Logout 1.0, 2.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogoutNames {
    /// `sub` of the ID token, which is not always what identifies somebody here.
    pub subject: Option<String>,
    /// `sid` of the ID token: the session at the provider.
    pub session: Option<String>,
}

words! {
    /// Why sessions end that a provider opened; the `cause` in the audit trail.
    ProviderSessionEnd {
        /// A logout token says so.
        Logout = "provider-logout",
        /// The provider refuses to go on: signed out there, stopped, or the grant was taken back.
        Over = "provider-ended",
        /// By what the provider says now, somebody may not be here any more.
        NotAllowed = "provider-claims",
        /// What it says cannot be believed.
        Unbelieved = "provider-answer",
        /// By the settings the provider's name belongs to another issuer now.
        OtherIssuer = "provider-issuer",
        /// It did not answer for too long.
        Unavailable = "provider-unavailable",
        /// The tokens were sealed under another secret.
        Unreadable = "tokens-unreadable",
    }
}

impl Session {
    /// Whether the session may still be used: neither past its end nor idle for longer than `idle`.
    pub fn is_live(&self, now: Timestamp, idle: Duration) -> bool {
        now < self.expires_at && now < self.last_seen_at.after(idle)
    }
}
