//! API keys: issued once in full, kept as a digest, never stronger than their owner.

use std::sync::Arc;

use super::admin::AdminProof;
use super::revocation::Revocations;
use super::{Field, ServiceError};
use crate::model::api_key::{ApiKey, KeyScope};
use crate::model::audit::Actor;
use crate::model::principal::{Holder, IdentitySource, Principal, PrincipalKind, Proof};
use crate::model::role::Role;
use crate::model::secret::Secret;
use crate::model::time::{Clock, Timestamp};
use crate::model::token::{KeyKind, KeyText, TokenDigest};
use crate::model::user::{User, UserId};
use crate::model::visible::is_unseen;
use crate::store::{Lane, Store};

/// Characters of a key's name.
const LONGEST_NAME: usize = 128;
/// Entries of each list in a scope.
const MOST_SCOPE_ENTRIES: usize = 64;
/// Bytes of a path pattern in a scope.
const LONGEST_PATH: usize = 512;

/// A key to issue.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// What people call it; trimmed.
    pub name: String,
    /// `Some` for a user key.
    pub owner: Option<UserId>,
    /// The most it may do.
    pub role: Role,
    /// Where and how it may be used.
    pub scope: KeyScope,
    /// Ends then; `None` is never.
    pub expires_at: Option<Timestamp>,
}

/// Issues, resolves and revokes keys.
#[derive(Clone, Debug)]
pub struct ApiKeys {
    store: Store,
    revocations: Revocations,
    clock: Arc<dyn Clock>,
}

impl ApiKeys {
    /// Keys in `store`.
    pub(super) fn new(store: Store, revocations: Revocations, clock: Arc<dyn Clock>) -> Self {
        Self { store, revocations, clock }
    }

    /// The same, for looking up who requests come from.
    #[must_use]
    pub fn for_requests(&self) -> Self {
        Self { store: self.store.clone().on(Lane::Requests), ..self.clone() }
    }

    /// Issues a key. Its text exists only in the answer.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Invalid`] with the field; [`ServiceError::NotFound`] if there is no such owner.
    pub async fn issue(&self, by: &AdminProof, new: NewKey) -> Result<(Secret, ApiKey), ServiceError> {
        self.add(by.actor(), by.recorded(), new).await
    }

    /// The same, without an admin proof; rows name the actor `recorded`.
    pub(super) async fn add(
        &self,
        by: &Actor,
        recorded: &str,
        new: NewKey,
    ) -> Result<(Secret, ApiKey), ServiceError> {
        let now = self.clock.now();
        let name = checked_name(&new.name)?;
        check_scope(&new.scope)?;
        if new.expires_at.is_some_and(|end| end <= now) {
            return Err(ServiceError::invalid(Field::Expiry, "is not in the future"));
        }
        let kind = match &new.owner {
            Some(_) if new.scope.may_act_for_users => {
                return Err(ServiceError::invalid(Field::Owner, "a user's key acts for that user only"));
            }
            Some(owner) => {
                let owner = self.store.find_user(owner).await?;
                check_role(new.role, &owner.ok_or(ServiceError::NotFound { what: "user" })?)?;
                KeyKind::User
            }
            None => KeyKind::System,
        };
        let KeyText { text, id } = KeyText::draw(kind);
        let key = ApiKey {
            id,
            name,
            owner: new.owner,
            role: new.role,
            scope: new.scope,
            created_at: now,
            created_by: recorded.to_owned(),
            expires_at: new.expires_at,
            last_used_at: None,
            revoked: None,
        };
        self.store.by(by).add_key(&key, TokenDigest::of(text.expose())).await?;
        Ok((text, key))
    }

    /// Whom a key's text stands for.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Unavailable`] if the store does not answer.
    pub async fn resolve(&self, text: &str) -> Result<Holder, ServiceError> {
        let Some(id) = KeyText::id_of(text) else {
            return Ok(Holder::NotFound);
        };
        let Some((key, digest, owner)) = self.store.find_key(id).await? else {
            return Ok(Holder::NotFound);
        };
        // `TokenDigest` compares in constant time.
        if digest != TokenDigest::of(text) || !key.is_live(self.clock.now()) {
            return Ok(Holder::NotFound);
        }
        let barred = owner.as_ref().map_or(Holder::NotFound, |owner| Holder::Barred(owner.id.clone()));
        Ok(principal(key, owner).map_or(barred, |principal| Holder::Caller(Box::new(principal))))
    }

    /// The principal of a live key, by its id or else its name; of several with that name the newest.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Unavailable`] if the store does not answer.
    pub async fn named(&self, _by: &AdminProof, name_or_id: &str) -> Result<Option<Principal>, ServiceError> {
        if let Some(found) = self.resolve_again(name_or_id).await? {
            return Ok(Some(found));
        }
        match self.store.find_key_named(name_or_id, self.clock.now()).await? {
            Some(id) => self.resolve_again(&id).await,
            None => Ok(None),
        }
    }

    /// Whom the key of this public id stands for, as [`ApiKeys::resolve`] says it. For a caller who has shown the
    /// key's text before.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Unavailable`] if the store does not answer.
    pub async fn resolve_again(&self, id: &str) -> Result<Option<Principal>, ServiceError> {
        let found = self.store.find_key(id).await?;
        let live = found.filter(|(key, _, _)| key.is_live(self.clock.now()));
        Ok(live.and_then(|(key, _, owner)| principal(key, owner)))
    }

    /// Revokes a key. `false` if there is none or it was revoked before.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Unavailable`] if the store does not answer.
    pub async fn revoke(&self, by: &AdminProof, id: &str) -> Result<bool, ServiceError> {
        self.end(by.actor(), by.recorded(), id).await
    }

    /// The same, without an admin proof; rows name the actor `recorded`.
    pub(super) async fn end(&self, by: &Actor, recorded: &str, id: &str) -> Result<bool, ServiceError> {
        let holder = self.store.by(by).revoke_key(id, recorded, self.clock.now()).await?;
        if let Some(holder) = &holder {
            self.revocations.look_again_at(holder);
        }
        Ok(holder.is_some())
    }

    /// Keys of one user or of all, newest first; also those that ended, for a while.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Unavailable`] if the store does not answer.
    pub async fn list(&self, _by: &AdminProof, of: Option<&UserId>) -> Result<Vec<ApiKey>, ServiceError> {
        if let Some(owner) = of {
            return self.of(owner).await;
        }
        let mut keys: Vec<ApiKey> = Vec::new();
        loop {
            let page = self.store.keys_page(keys.last()).await?;
            if page.is_empty() {
                return Ok(keys);
            }
            keys.extend(page);
        }
    }

    /// Keys of a user, newest first.
    pub(super) async fn of(&self, owner: &UserId) -> Result<Vec<ApiKey>, ServiceError> {
        Ok(self.store.keys_of(owner).await?)
    }

    /// Deletes keys that ended before `before`; how many they were.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Unavailable`] if the store does not answer.
    pub async fn purge(&self, before: Timestamp) -> Result<u64, ServiceError> {
        Ok(self.store.purge_keys(before).await?)
    }

    /// Notes when keys, by id, were last used.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Unavailable`] if the store does not answer.
    pub async fn touch(&self, used: Vec<(String, Timestamp)>) -> Result<(), ServiceError> {
        Ok(self.store.touch_keys(&used).await?)
    }
}

/// The principal of a live key whose text was presented.
fn principal(key: ApiKey, owner: Option<User>) -> Option<Principal> {
    let proof = Proof::Key {
        expires_at: key.expires_at,
        scope: key.scope,
        name: key.name.clone(),
        last_used_at: key.last_used_at,
    };
    match (key.owner, owner) {
        (None, _) => Some(Principal {
            kind: PrincipalKind::SystemKey { key: key.id },
            name: key.name,
            email: None,
            display_name: None,
            role: key.role,
            groups: Vec::new(),
            source: IdentitySource::Local,
            must_change_password: false,
            proof,
        }),
        (Some(_), Some(owner)) if !owner.disabled => Some(Principal {
            kind: PrincipalKind::UserKey { user: owner.id, key: key.id },
            name: owner.username,
            email: owner.email,
            display_name: owner.display_name,
            role: key.role.weaker(owner.role)?,
            groups: owner.groups,
            source: IdentitySource::Local,
            must_change_password: owner.must_change_password,
            proof,
        }),
        (Some(_), _) => None,
    }
}

fn checked_name(name: &str) -> Result<String, ServiceError> {
    let name = name.trim();
    let fits = (1..=LONGEST_NAME).contains(&name.chars().count());
    if fits && !name.chars().any(|c| is_unseen(c) || (c.is_whitespace() && c != ' ')) {
        Ok(name.to_owned())
    } else {
        Err(ServiceError::invalid(Field::Name, "has 1 to 128 visible characters"))
    }
}

fn check_role(role: Role, owner: &User) -> Result<(), ServiceError> {
    match role {
        Role::Agent => Err(ServiceError::invalid(Field::Role, "agent is for system keys only")),
        _ if owner.role.includes(role) => Ok(()),
        _ => Err(ServiceError::invalid(Field::Role, "is more than the owner's own")),
    }
}

/// A list that is not empty narrows the key, so an entry that could not match must not pass for one that does.
fn check_scope(scope: &KeyScope) -> Result<(), ServiceError> {
    let counts = [scope.paths.len(), scope.methods.len(), scope.networks.len()];
    if counts.iter().any(|count| *count > MOST_SCOPE_ENTRIES) {
        return Err(ServiceError::invalid(Field::Scope, "a list has more than 64 entries"));
    }
    let fits = |path: &String| {
        path.starts_with('/')
            && path.len() <= LONGEST_PATH
            && !path.chars().any(|c| c.is_control() || c.is_whitespace())
    };
    if scope.paths.iter().all(fits) {
        Ok(())
    } else {
        Err(ServiceError::invalid(Field::Path, "begins with / and has at most 512 visible characters"))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::service::testing::ServiceFixture;

    fn key(name: &str, owner: Option<&User>, role: Role) -> NewKey {
        NewKey {
            name: name.to_owned(),
            owner: owner.map(|user| user.id.clone()),
            role,
            scope: KeyScope::default(),
            expires_at: None,
        }
    }

    async fn resolve(world: &ServiceFixture, text: &Secret) -> Option<Principal> {
        world.api_keys.resolve(text.expose()).await.unwrap().caller()
    }

    #[tokio::test]
    async fn a_system_key_acts_for_nobody_with_its_own_role() {
        let world = ServiceFixture::new().await;
        for role in Role::ALL {
            let (text, issued) = world.api_keys.issue(&world.by, key(" ingest ", None, role)).await.unwrap();
            let principal = resolve(&world, &text).await.unwrap();
            assert_eq!(principal.kind, PrincipalKind::SystemKey { key: issued.id });
            assert_eq!((principal.name.as_str(), principal.role), ("ingest", role));
            assert!(principal.groups.is_empty());
        }
    }

    /// K11: a key that is nearly right.
    #[tokio::test]
    async fn only_the_whole_text_of_a_key_resolves() {
        let world = ServiceFixture::new().await;
        let (text, issued) = world.api_keys.issue(&world.by, key("ingest", None, Role::Agent)).await.unwrap();
        let (other, _) = world.api_keys.issue(&world.by, key("other", None, Role::Agent)).await.unwrap();
        assert!(!format!("{issued:?}").contains(text.expose()));
        let text = text.expose();
        // A real key's text with another's id: the checksum would have to be forged too.
        let id_of_other = KeyText::id_of(other.expose()).unwrap();
        for wrong in
            ["", "dw_s_", &issued.id, &text[..text.len() - 1], &text.replace(&issued.id, id_of_other)]
        {
            assert_eq!(world.api_keys.resolve(wrong).await.unwrap().caller(), None, "{wrong}");
        }
        let drawn = KeyText::draw(KeyKind::System);
        assert_eq!(
            world.api_keys.resolve(drawn.text.expose()).await.unwrap().caller(),
            None,
            "well-formed, unknown"
        );
        world.store.add_key(&ApiKey { id: drawn.id, ..issued }, TokenDigest::of("x")).await.unwrap();
        assert_eq!(
            world.api_keys.resolve(drawn.text.expose()).await.unwrap().caller(),
            None,
            "another secret"
        );
    }

    #[tokio::test]
    async fn an_expired_or_revoked_key_does_not_resolve() {
        let world = ServiceFixture::new().await;
        let end = world.clock.now().after(Duration::from_mins(1));
        let new = NewKey { expires_at: Some(end), ..key("short", None, Role::Viewer) };
        let (short, _) = world.api_keys.issue(&world.by, new).await.unwrap();
        let (long, issued) = world.api_keys.issue(&world.by, key("long", None, Role::Viewer)).await.unwrap();
        assert!(resolve(&world, &short).await.is_some());
        world.clock.advance(Duration::from_mins(1));
        assert_eq!(resolve(&world, &short).await, None);
        assert!(resolve(&world, &long).await.is_some());
        let epoch = world.revocations.epoch().current();
        assert!(world.api_keys.revoke(&world.by, &issued.id).await.unwrap());
        assert!(world.revocations.epoch().current() > epoch);
        assert_eq!(resolve(&world, &long).await, None);
        assert!(!world.api_keys.revoke(&world.by, &issued.id).await.unwrap());
        assert!(!world.api_keys.revoke(&world.by, "nothing").await.unwrap());
    }

    #[tokio::test]
    async fn a_user_key_never_exceeds_its_owner() {
        let world = ServiceFixture::new().await;
        let user = world.user("alice").await;
        world.accounts.add_group(&world.by, &user.id, "ops").await.unwrap();
        let (text, _) =
            world.api_keys.issue(&world.by, key("mine", Some(&user), Role::Member)).await.unwrap();
        let (weak, _) =
            world.api_keys.issue(&world.by, key("weak", Some(&user), Role::Viewer)).await.unwrap();
        let principal = resolve(&world, &text).await.unwrap();
        assert_eq!((principal.name.as_str(), principal.role), ("alice", Role::Member));
        assert_eq!(principal.groups, ["ops"]);
        world.accounts.set_role(&world.by, &user.id, Role::Admin).await.unwrap();
        assert_eq!(resolve(&world, &text).await.unwrap().role, Role::Member);
        world.accounts.set_role(&world.by, &user.id, Role::Viewer).await.unwrap();
        assert_eq!(resolve(&world, &text).await.unwrap().role, Role::Viewer);
        assert_eq!(resolve(&world, &weak).await.unwrap().role, Role::Viewer);
        world.accounts.reset_password(&world.by, &user.id).await.unwrap();
        assert!(resolve(&world, &text).await.unwrap().must_change_password);
        world.accounts.disable(&world.by, &user.id).await.unwrap();
        assert_eq!(resolve(&world, &text).await, None);
        world.accounts.enable(&world.by, &user.id).await.unwrap();
        assert!(resolve(&world, &text).await.is_some());
        world.accounts.delete(&world.by, &user.id).await.unwrap();
        assert_eq!(resolve(&world, &text).await, None);
    }

    /// K05: a key that may more than its owner.
    #[tokio::test]
    async fn keys_that_break_the_rules_are_not_issued() {
        let world = ServiceFixture::new().await;
        let user = world.user("alice").await;
        let system = key("k", None, Role::Viewer);
        let paths = |path: &str| KeyScope { paths: vec![path.to_owned()], ..KeyScope::default() };
        let many = KeyScope { paths: vec!["/".to_owned(); 65], ..KeyScope::default() };
        let acting = KeyScope { may_act_for_users: true, ..KeyScope::default() };
        let bad = [
            (Field::Owner, NewKey { scope: acting, ..key("k", Some(&user), Role::Viewer) }),
            (Field::Role, key("k", Some(&user), Role::Agent)),
            (Field::Role, key("k", Some(&user), Role::Admin)),
            (Field::Name, NewKey { name: "  ".into(), ..system.clone() }),
            (Field::Name, NewKey { name: "a\nb".into(), ..system.clone() }),
            (Field::Name, NewKey { name: "x".repeat(129), ..system.clone() }),
            (Field::Path, NewKey { scope: paths(""), ..system.clone() }),
            (Field::Path, NewKey { scope: paths("v1"), ..system.clone() }),
            (Field::Path, NewKey { scope: paths("/v1\n/"), ..system.clone() }),
            (Field::Scope, NewKey { scope: many, ..system.clone() }),
            (Field::Expiry, NewKey { expires_at: Some(world.clock.now()), ..system.clone() }),
        ];
        for (wanted, new) in bad {
            match world.api_keys.issue(&world.by, new).await {
                Err(ServiceError::Invalid { field, .. }) => assert_eq!(field, wanted),
                other => panic!("{wanted}: {other:?}"),
            }
        }
        let nobodys = NewKey { owner: Some(UserId("nobody".into())), ..system };
        assert!(matches!(world.api_keys.issue(&world.by, nobodys).await, Err(ServiceError::NotFound { .. })));
        assert_eq!(world.api_keys.list(&world.by, None).await.unwrap(), []);
    }

    #[tokio::test]
    async fn a_scope_and_the_last_use_come_back_with_the_principal() {
        let world = ServiceFixture::new().await;
        let scope = KeyScope {
            paths: vec!["/v1/traces".into()],
            methods: vec![http::Method::POST],
            networks: vec!["10.0.0.0/8".parse().unwrap()],
            may_act_for_users: true,
        };
        let new = NewKey { scope: scope.clone(), ..key("ingest", None, Role::Agent) };
        let (text, issued) = world.api_keys.issue(&world.by, new).await.unwrap();
        let used = world.clock.now();
        world.api_keys.touch(vec![(issued.id, used)]).await.unwrap();
        let proof = resolve(&world, &text).await.unwrap().proof;
        let name = "ingest".to_owned();
        assert_eq!(proof, Proof::Key { expires_at: None, scope, name, last_used_at: Some(used) });
    }
}
