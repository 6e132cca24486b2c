//! Account resolution: which user an identity belongs to. The whole table.

use crate::model::identity::{AssertedEmail, IdentityRefusal};
use crate::model::user::{User, is_same_mailbox};
use crate::store::{IdentityMatch, Resolution};

/// Whether signing in creates users. Invited users can sign in either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignUp {
    /// A user is created at the first sign-in.
    Allowed,
    /// Only invited users get in.
    InvitedOnly,
}

/// What a sign-in by an identity does, by the user who was found; `new` is the user that it would create, with usernames.
///
/// | Identity | E-mail address | User | Result |
/// |---|---|---|---|
/// | known | any | enabled | signed in |
/// | | | disabled | `disabled` |
/// | new | of an invited user, verified | enabled | linked |
/// | | | disabled | `disabled` |
/// | | of any user, not verified, sign-up allowed | any | created, without the address |
/// | | of any user, not verified, invited users only | any | `email-unverified`, told as `sign-up-not-allowed` |
/// | | of a user with a password or an identity, verified | any | `email-in-use` |
/// | | that only looks like a user's, or is a username, verified | any | `email-in-use` |
/// | | of no user, or none, sign-up allowed | | created |
/// | | of no user, or none, invited users only | | `sign-up-not-allowed` |
///
/// A user with neither a password nor an identity is an invited one. An address that is not verified is anybody's to write, so
/// it decides nothing: else whoever writes it would learn whose it is.
pub(super) fn resolve(
    found: IdentityMatch,
    email: &AssertedEmail,
    sign_up: SignUp,
    new: (User, Vec<String>),
) -> Result<Resolution, IdentityRefusal> {
    match found {
        IdentityMatch::Owner(user) if user.disabled => Err(IdentityRefusal::Disabled),
        IdentityMatch::Owner(user) => Ok(Resolution::Enter(user)),
        IdentityMatch::SameEmail(_) if email.verified().is_none() => match sign_up {
            SignUp::Allowed => Ok(create(new)),
            SignUp::InvitedOnly => Err(IdentityRefusal::EmailUnverified),
        },
        IdentityMatch::SameEmail(user) if user.can_sign_in() || !has_address(&user, email) => {
            Err(IdentityRefusal::EmailInUse)
        }
        IdentityMatch::SameEmail(user) if user.disabled => Err(IdentityRefusal::Disabled),
        IdentityMatch::SameEmail(user) => Ok(Resolution::Link(user)),
        IdentityMatch::Unknown => match sign_up {
            SignUp::Allowed => Ok(create(new)),
            SignUp::InvitedOnly => Err(IdentityRefusal::SignUpNotAllowed),
        },
    }
}

fn create((user, names): (User, Vec<String>)) -> Resolution {
    Resolution::Create { user: Box::new(user), names }
}

/// Whether it is the user's e-mail address, and not a username, nor an address that only looks like it.
fn has_address(user: &User, email: &AssertedEmail) -> bool {
    email.any().zip(user.email.as_deref()).is_some_and(|(asserted, own)| is_same_mailbox(asserted, own))
}
