//! What a refused sign-in is to the person: what happened and what to do, without a word of the provider's own.

use crate::edge::pages::problem::Problem;
use crate::edge::pages::site::Site;
use crate::edge::web::failed;
use crate::federation::SignInRefusal;
use crate::model::identity::IdentityRefusal;
use crate::oidc::{ErrorCode, LookupError, OidcError, OidcErrorKind, TokenRefusal};
use crate::policy::claims::ClaimsRefusal;
use crate::service::ServiceError;
use crate::service::sign_ins::InvalidState;

/// `provider` is what people call it.
pub(super) fn problem_of(why: &SignInRefusal, provider: &str, site: &Site) -> Problem {
    match why {
        SignInRefusal::NoSuchProvider => Problem::not_found(),
        SignInRefusal::State(state) => Problem::stale_sign_in(of_state(*state, provider, site)),
        SignInRefusal::Provider(error) => of_provider(error, provider),
        SignInRefusal::NoUserinfo(_) => unavailable(provider),
        SignInRefusal::Claims { why, access_page, .. } => of_claims(*why, provider, access_page.as_deref()),
        SignInRefusal::Account(refusal) => of_account(refusal.told(), provider),
        // The user was disabled meanwhile, which looks like an unknown one, or the session has ended.
        SignInRefusal::Failed(ServiceError::Refused) => {
            of_account(IdentityRefusal::Disabled.told(), provider)
        }
        SignInRefusal::Failed(error) => failed(error),
    }
}

fn of_state(state: InvalidState, provider: &str, site: &Site) -> String {
    match state {
        InvalidState::NoMatchingCookie => no_sign_in(site),
        InvalidState::OtherProvider => {
            format!(
                "What came back does not belong to a sign-in at {provider}. Nobody was signed in. Begin again."
            )
        }
        InvalidState::Expired => {
            format!("You were at {provider} for longer than ten minutes. Nobody was signed in. Begin again.")
        }
        InvalidState::Replayed => {
            "This sign-in came back before, and each works once. Nobody was signed in now. Begin again."
                .to_owned()
        }
    }
}

/// What came back belongs to nothing that this browser has begun.
pub(super) fn no_sign_in(site: &Site) -> String {
    format!(
        "This browser has no such sign-in under way: it was begun in another one, is over, or the cookie of {} was not kept. \
         Nobody was signed in. Begin again; if that does not help, let this browser keep cookies.",
        site.host()
    )
}

fn of_provider(error: &OidcError, provider: &str) -> Problem {
    match (error.kind(), error) {
        (OidcErrorKind::Unavailable, OidcError::Lookup { error: LookupError::RateLimited, .. }) => {
            Problem::provider_unavailable(format!(
                "{provider} has been asked too often and wants a pause, which may take some minutes. Until then it does not tell \
                 who you are."
            ))
        }
        (OidcErrorKind::Unavailable, _) => unavailable(provider),
        (OidcErrorKind::Denied, OidcError::IdToken(TokenRefusal::HostedDomain)) => {
            Problem::provider_denied(format!(
                "Your account at {provider} does not belong to an organisation that is let in here. Sign in again, with another \
                 account if you have one."
            ))
        }
        (OidcErrorKind::Denied, OidcError::Denied(ErrorCode::AccessDenied)) => {
            Problem::provider_denied(format!(
                "{provider} did not let you in, or you went back there. Sign in again, with another account if you have one."
            ))
        }
        (OidcErrorKind::Denied, _) => Problem::provider_denied(format!(
            "{provider} wants you to sign in there, to choose an account or to agree to something, and that was not done. \
             Sign in again and answer what it asks."
        )),
        (OidcErrorKind::Misconfigured, _) => Problem::provider_misconfigured(format!(
            "Signing in with {provider} is not set up correctly. This is nothing you did: tell the operator the reference \
             below, by which the log says what does not fit."
        )),
        (OidcErrorKind::Refused, _) => Problem::provider_misconfigured(format!(
            "What {provider} sent back does not belong to this sign-in, so nobody was signed in. Begin again, and tell the \
             operator the reference below if it lasts."
        )),
    }
}

fn unavailable(provider: &str) -> Problem {
    Problem::provider_unavailable(format!(
        "{provider} does not answer as it should, so nobody can be signed in with it now. This is nothing you did."
    ))
}

/// `access_page` is where people see which of their organisations hide: nothing tells one that hides from one that they are not
/// in.
fn of_claims(why: ClaimsRefusal, provider: &str, access_page: Option<&str>) -> Problem {
    const ASK: &str = "Ask the operator for access, with the reference below, or use another account.";
    let told = match why {
        ClaimsRefusal::NoAllowedGroup => {
            format!("Your account at {provider} is in none of the groups that are let in here. {ASK}")
        }
        ClaimsRefusal::GroupsAbsent | ClaimsRefusal::GroupsFailed => format!(
            "{provider} does not tell which groups you are in, and without one of those that are let in here nobody gets in. \
             {ASK}"
        ),
        ClaimsRefusal::GroupsElsewhere => format!(
            "You are in so many groups that {provider} does not tell them, and without one of those that are let in here \
             nobody gets in. {ASK}"
        ),
        ClaimsRefusal::TooManyGroups => {
            format!("Your account at {provider} is in more groups than can be looked at here. {ASK}")
        }
        ClaimsRefusal::Email(_) => format!(
            "An e-mail address that {provider} has verified is needed here, and it does not tell one of yours. Verify yours \
             there and sign in again, or tell the operator the reference below."
        ),
        ClaimsRefusal::OtherDomain => format!(
            "The domain of your e-mail address at {provider} is not one of those that are let in here. {ASK}"
        ),
        ClaimsRefusal::RoleAbsent | ClaimsRefusal::RoleUnknown | ClaimsRefusal::RoleFailed => {
            format!("{provider} does not tell a role of yours that means anything here. {ASK}")
        }
    };
    Problem::sign_in_refused(match access_page {
        None => told,
        Some(page) => format!(
            "{told} If you are in one: an organisation does not show itself before its owner has approved this application, or \
             before you have signed in to it where it wants that. You see which at {page}."
        ),
    })
}

fn of_account(told: IdentityRefusal, provider: &str) -> Problem {
    let said = match told {
        // One text: who has an address is told to those alone who have shown that it is theirs.
        IdentityRefusal::Disabled | IdentityRefusal::EmailUnverified | IdentityRefusal::SignUpNotAllowed => {
            format!(
                "Nobody here has your account at {provider}, and new people have to be invited. Ask an administrator to invite \
             you by the e-mail address that you have there. If you were invited, see to it that {provider} has verified this \
             address."
            )
        }
        IdentityRefusal::EmailInUse => format!(
            "Somebody here has your e-mail address already and signs in another way. If that is you, sign in that way, and \
             link {provider} on your account page."
        ),
        IdentityRefusal::IdentityInUse => {
            format!("This account at {provider} belongs to somebody else here. Nothing was linked.")
        }
        IdentityRefusal::SubjectClaimChanged => {
            return Problem::provider_misconfigured(format!(
                "Signing in with {provider} was set up differently before, so that nobody would be recognised. This is nothing \
                 you did: tell the operator the reference below."
            ));
        }
        IdentityRefusal::TooManyGroups => {
            format!(
                "Your account at {provider} is in more groups than anybody can have here. Tell the operator."
            )
        }
        IdentityRefusal::TooManyIdentities => {
            "You have linked as many accounts as one can have. Remove one first.".to_owned()
        }
    };
    Problem::sign_in_refused(said)
}
