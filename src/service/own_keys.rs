//! A person's own API keys: created with the password, listed and revoked by their owner.

use std::sync::Arc;
use std::time::Duration;

use super::ServiceError;
use super::api_keys::ApiKeys;
use super::api_keys::NewKey;
use super::login::Login;
use super::login::Reauthentication;
use crate::model::api_key::ApiKey;
use crate::model::api_key::KeyScope;
use crate::model::audit::Actor;
use crate::model::role::Role;
use crate::model::secret::Secret;
use crate::model::time::Clock;
use crate::model::user::UserId;

/// A request for a new personal key.
#[derive(Clone, Debug)]
pub struct KeyRequest {
    /// What its owner calls it; unlike the owner's other keys that can be used.
    pub name: String,
    /// The most it may do; at most what the owner may.
    pub role: Role,
    /// Where and how it may be used.
    pub scope: KeyScope,
    /// Ends after this; `None` is never.
    pub life: Option<Duration>,
}

/// Keys as their owners manage them.
#[derive(Clone, Debug)]
pub struct OwnKeys {
    login: Login,
    keys: ApiKeys,
    clock: Arc<dyn Clock>,
}

impl OwnKeys {
    /// `login` checks passwords, so that guesses here count as those at sign-in do.
    pub(super) fn new(login: Login, keys: ApiKeys, clock: Arc<dyn Clock>) -> Self {
        Self { login, keys, clock }
    }

    /// Issues a key for the user who was `asked` for the password again: a session left open is not enough to make
    /// something that outlives it. The key's text exists only in the answer.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Refused`], [`ServiceError::Throttled`] or [`ServiceError::Busy`] about the password;
    /// [`ServiceError::Conflict`] or [`ServiceError::Invalid`] about the key.
    pub async fn issue(
        &self,
        by: &Actor,
        asked: Reauthentication<'_>,
        wanted: KeyRequest,
        password: Secret,
    ) -> Result<(Secret, ApiKey), ServiceError> {
        self.login.check_password(by, asked, password).await?;
        let owner = asked.user;
        let new = NewKey {
            name: wanted.name,
            owner: Some(owner.clone()),
            role: wanted.role,
            scope: wanted.scope,
            expires_at: wanted.life.map(|life| self.clock.now().after(life)),
        };
        self.keys.add(by, &owner.0, new).await
    }

    /// The owner's keys that were not revoked, newest first; those past their end are among them.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Unavailable`] if the store does not answer.
    pub async fn list(&self, owner: &UserId) -> Result<Vec<ApiKey>, ServiceError> {
        let mut keys = self.keys.of(owner).await?;
        keys.retain(|key| key.revoked.is_none());
        Ok(keys)
    }

    /// Whether a key may still be used.
    pub fn is_live(&self, key: &ApiKey) -> bool {
        key.is_live(self.clock.now())
    }

    /// Revokes a key if it is this owner's; `false` if it has another owner or none, or was revoked before.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Unavailable`] if the store does not answer.
    pub async fn revoke(&self, by: &Actor, owner: &UserId, id: &str) -> Result<bool, ServiceError> {
        let own = self.list(owner).await?;
        if own.iter().any(|key| key.id == id) { self.keys.end(by, &owner.0, id).await } else { Ok(false) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::user::User;
    use crate::service::Field;
    use crate::service::testing::PASSWORD;
    use crate::service::testing::ServiceFixture;

    const CLIENT: &str = "192.0.2.1";

    fn own_keys(world: &ServiceFixture) -> OwnKeys {
        OwnKeys::new(world.login.clone(), world.api_keys.clone(), world.clock())
    }

    fn wanted(name: &str, role: Role) -> KeyRequest {
        KeyRequest {
            name: name.to_owned(),
            role,
            scope: KeyScope::default(),
            life: Some(Duration::from_hours(1)),
        }
    }

    async fn issue(
        world: &ServiceFixture,
        owner: &User,
        wanted: KeyRequest,
        password: &str,
    ) -> Result<(Secret, ApiKey), ServiceError> {
        let asked = Reauthentication { user: &owner.id, session: "one", client: CLIENT.parse().unwrap() };
        own_keys(world).issue(world.by.actor(), asked, wanted, Secret::new(password)).await
    }

    #[tokio::test]
    async fn a_key_is_issued_with_the_password_and_for_the_owner() {
        let world = ServiceFixture::new().await;
        let alice = world.user_with_password("alice").await;
        let (text, key) = issue(&world, &alice, wanted("notebook", Role::Viewer), PASSWORD).await.unwrap();
        assert_eq!((key.owner.as_ref(), &key.created_by), (Some(&alice.id), &alice.id.0));
        assert_eq!(key.expires_at, Some(world.clock().now().after(Duration::from_hours(1))));
        let principal = world.api_keys.resolve(text.expose()).await.unwrap().caller().unwrap();
        assert_eq!((principal.name.as_str(), principal.role), ("alice", Role::Viewer));
        world.accounts.delete(&world.by, &alice.id).await.unwrap();
        assert_eq!(
            world.api_keys.resolve(text.expose()).await.unwrap().caller(),
            None,
            "it dies with its owner"
        );
    }

    #[tokio::test]
    async fn a_wrong_password_makes_nothing_and_counts_in_its_session() {
        let world = ServiceFixture::new().await;
        let (alice, bob) = (world.user_with_password("alice").await, world.user("bob").await);
        for _ in 0..6 {
            let wrong = issue(&world, &alice, wanted("a", Role::Viewer), "wrong wrong wrong").await;
            assert!(matches!(wrong, Err(ServiceError::Refused)), "{wrong:?}");
        }
        let slowed = issue(&world, &alice, wanted("a", Role::Viewer), PASSWORD).await;
        assert!(matches!(slowed, Err(ServiceError::Throttled { .. })), "{slowed:?}");
        assert!(world.sign_in("alice", PASSWORD, CLIENT, None).await.is_ok(), "another way in");
        let bobs = Reauthentication { user: &bob.id, session: "another", client: CLIENT.parse().unwrap() };
        let without =
            own_keys(&world).issue(world.by.actor(), bobs, wanted("a", Role::Viewer), Secret::new("")).await;
        assert!(matches!(without, Err(ServiceError::Refused)), "who has no password proves nothing by one");
        assert_eq!(world.api_keys.list(&world.by, None).await.unwrap(), []);
    }

    #[tokio::test]
    async fn a_key_is_never_more_than_its_owner_nor_a_second_of_its_name() {
        let world = ServiceFixture::new().await;
        let alice = world.user_with_password("alice").await;
        for role in [Role::Admin, Role::Agent] {
            let more = issue(&world, &alice, wanted("a", role), PASSWORD).await;
            assert!(matches!(more, Err(ServiceError::Invalid { field: Field::Role, .. })), "{more:?}");
        }
        let (_, key) = issue(&world, &alice, wanted("a", Role::Member), PASSWORD).await.unwrap();
        let again = issue(&world, &alice, wanted(" a ", Role::Member), PASSWORD).await;
        assert!(matches!(again, Err(ServiceError::Conflict { .. })), "{again:?}");
        assert!(own_keys(&world).revoke(world.by.actor(), &alice.id, &key.id).await.unwrap());
        issue(&world, &alice, wanted("a", Role::Member), PASSWORD).await.unwrap();
    }

    #[tokio::test]
    async fn only_the_owner_lists_and_revokes_a_key() {
        let world = ServiceFixture::new().await;
        let (alice, bob) = (world.user_with_password("alice").await, world.user("bob").await);
        let keys = own_keys(&world);
        let (text, key) = issue(&world, &alice, wanted("a", Role::Member), PASSWORD).await.unwrap();
        assert_eq!(keys.list(&bob.id).await.unwrap(), []);
        assert!(!keys.revoke(world.by.actor(), &bob.id, &key.id).await.unwrap());
        assert!(!keys.revoke(world.by.actor(), &alice.id, "nothing").await.unwrap());
        assert!(world.api_keys.resolve(text.expose()).await.unwrap().caller().is_some());
        assert!(keys.revoke(world.by.actor(), &alice.id, &key.id).await.unwrap());
        assert_eq!(world.api_keys.resolve(text.expose()).await.unwrap().caller(), None);
        assert!(!keys.revoke(world.by.actor(), &alice.id, &key.id).await.unwrap());
        assert_eq!(keys.list(&alice.id).await.unwrap(), []);
        let (_, by) = world.api_keys.list(&world.by, None).await.unwrap()[0].revoked.clone().unwrap();
        assert_eq!(by, alice.id.0);
    }
}
