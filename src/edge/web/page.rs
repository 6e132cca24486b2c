//! The list of pages. `edge/mount.rs` has their addresses.

use crate::config::LogoFormat;

/// A page, or what a form of one does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// One's own account.
    Account,
    /// Changes the name that is shown.
    Rename,
    /// Goes to a provider to link an identity there.
    LinkIdentity,
    /// Removes one.
    UnlinkIdentity,
    /// Ends one session.
    EndSession,
    /// Ends all sessions but one's own.
    EndOtherSessions,
    /// Makes an API key.
    NewKey,
    /// Revokes one.
    RevokeKey,
    /// Begins a hand-over, at another host.
    Begin,
    /// Grants it, at the public URL.
    Grant,
    /// Redeems it, at the other host again.
    Redeem,
    /// Signs in.
    Login,
    /// Begins a sign-in at a provider.
    BeginSignIn,
    /// Completes it, when the browser comes back from there.
    CompleteSignIn,
    /// The same at a path of the settings.
    CompleteAtPath,
    /// Signs out.
    Logout,
    /// Where a browser comes back to from signing out at a provider.
    SignedOut,
    /// Ends sessions of somebody who signed out at a provider, whose server says so.
    ProviderLogout,
    /// Changes the password.
    Password,
    /// Makes the first account.
    Setup,
    /// The style sheet.
    Style,
    /// The logo, if it has this format.
    Logo(LogoFormat),
}

impl Page {
    /// Whether it shows or changes what is somebody's own. Scripts of applications on the same host send their
    /// users' cookies too, but cannot make a request look like a visit (Fetch Metadata, 2.1).
    pub(super) fn is_personal(self) -> bool {
        use Page::{
            Account, BeginSignIn, CompleteAtPath, CompleteSignIn, EndOtherSessions, EndSession, LinkIdentity,
            Logout, NewKey, Password, Rename, RevokeKey, UnlinkIdentity,
        };
        matches!(
            self,
            Account
                | Rename
                | LinkIdentity
                | UnlinkIdentity
                | EndSession
                | EndOtherSessions
                | NewKey
                | RevokeKey
                | Logout
                | Password
                | BeginSignIn
                | CompleteSignIn
                | CompleteAtPath
        )
    }

    /// Whether it hashes no password and shows nothing of anybody's: it is done at once. Browsers ask for these without a
    /// cookie of ours, at hosts where they hold none yet.
    pub fn is_light(self) -> bool {
        matches!(self, Self::Begin | Self::Redeem | Self::Style | Self::Logo(_))
    }

    /// Whether it waits for a provider, which may be slow.
    pub fn waits_for_provider(self) -> bool {
        matches!(
            self,
            Self::BeginSignIn
                | Self::CompleteSignIn
                | Self::CompleteAtPath
                | Self::LinkIdentity
                | Self::ProviderLogout
        )
    }

    /// Whether it is served at every host: what hand-overs need, what ends a session, and what is no secret.
    pub(super) fn is_anywhere(self) -> bool {
        self.is_light() || self == Self::Logout || self.is_for_servers()
    }

    /// Whether servers send to it, and no browser: whatever cookies come along mean nothing, and no page has sent it.
    pub(super) fn is_for_servers(self) -> bool {
        self == Self::ProviderLogout
    }
}
