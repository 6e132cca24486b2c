//! Proof that the actor may administer the gateway.

use crate::model::audit::{Actor, Party};
use crate::model::principal::{CredentialKind, Principal};
use crate::model::role::Role;

/// Whom rows name that record who did something at the command line.
const COMMAND_LINE: &str = "cli";

/// Proof that the actor is an admin; changes made with it are recorded as theirs.
///
/// Every use case that is for admins wants one, so that the command line and whatever else calls them allow the same. Only
/// the gate makes one of a request, and only the command line one of the person in front of it.
#[derive(Clone, Debug)]
pub struct AdminProof {
    actor: Actor,
    recorded: String,
    credential: Option<CredentialKind>,
}

impl AdminProof {
    /// Of a caller whom the gate has recognised; `None` if that is no admin, or one who has a password to change first. What is
    /// done is put down to them in the request of `actor`.
    pub fn of_caller(caller: &Principal, actor: Actor) -> Option<Self> {
        if caller.role != Role::Admin || caller.must_change_password {
            return None;
        }
        actor.recognise(Party::from(caller));
        let (recorded, credential) = (caller.holder().to_owned(), Some(caller.kind.credential()));
        Some(Self { actor, recorded, credential })
    }

    /// For the user who runs the command line, by their user id: they can read the gateway's secret and
    /// database as it is.
    pub fn of_command_line(uid: u32) -> Self {
        Self { actor: Actor::command_line(uid), recorded: COMMAND_LINE.to_owned(), credential: None }
    }

    /// Who acts.
    pub fn actor(&self) -> &Actor {
        &self.actor
    }

    /// By which kind of credential they were recognised, if it was by one.
    pub fn credential(&self) -> Option<CredentialKind> {
        self.credential
    }

    /// How rows of keys name them: a user id, a key's id, or `cli`.
    pub(super) fn recorded(&self) -> &str {
        &self.recorded
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::principal::PrincipalKind;
    use crate::model::user::UserId;

    #[test]
    fn only_an_admin_without_a_password_to_change_proves_to_be_one() {
        let caller = |role| Principal::example(PrincipalKind::User(UserId("u".into())), "u", role);
        let actor = || Actor::stranger("192.0.2.1".parse().unwrap(), "r1");
        for role in [Role::Member, Role::Viewer, Role::Agent] {
            assert!(AdminProof::of_caller(&caller(role), actor()).is_none(), "{role}");
        }
        let temporary = Principal { must_change_password: true, ..caller(Role::Admin) };
        assert!(AdminProof::of_caller(&temporary, actor()).is_none());
        let proof = AdminProof::of_caller(&caller(Role::Admin), actor()).unwrap();
        assert_eq!((proof.actor().who().id.as_str(), proof.recorded()), ("user:u", "u"));
        assert_eq!(proof.credential(), Some(CredentialKind::Session));
        assert_eq!(AdminProof::of_command_line(7).recorded(), "cli");
    }
}
