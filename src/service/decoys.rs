//! Decoys: what a password is tried like, where the name that was typed has none. So who cannot sign in is answered as
//! those are who can, whichever systems their hashes come from.
//!
//! The decoy of a name is the hash of a user, always the same one while the users are the same, drawn by a key that only
//! this installation has. So an unknown name meets a hash of another system as often as a user does, and waits
//! in the same line for the same computation. Where another user comes or goes, few names are drawn anew.

use crate::model::token::SigningKey;
use crate::model::user::UserId;
use crate::model::user::name_key;
use crate::store::PasswordHolder;
use crate::store::Store;
use crate::store::StoreError;

/// Draws decoys.
#[derive(Clone, Debug)]
pub(super) struct Decoys {
    store: Store,
    key: SigningKey,
}

impl Decoys {
    /// `key` draws decoys and does nothing else.
    pub(super) fn new(store: Store, key: SigningKey) -> Self {
        Self { store, key }
    }

    /// The user whose stored hash is the decoy of a name; none where no user has a password.
    pub(super) async fn holder_for(&self, name: &str) -> Result<Option<PasswordHolder>, StoreError> {
        let name = name_key(name);
        let (local, domain) = name.rsplit_once('@').map_or((name.as_str(), None), |(l, d)| (l, Some(d)));
        // Those of whom one is drawn are a few neighbours, and in a small installation all: so all are drawn about as
        // often, although the ends of their ids are not evenly spread.
        let neighbours = self.store.password_holders(&self.place_of(local)).await?;
        let Some(drawn) = self.draw(&neighbours, local) else { return Ok(None) };
        // A user's name and address have one hash. So have an unknown name and the address that is made of it,
        // as the drawn user's address is made of that user's name.
        let drawn = match domain {
            Some(domain) if !is_made_of_name(drawn, domain) => self.draw(&neighbours, &name),
            _ => Some(drawn),
        };
        Ok(drawn.cloned())
    }

    fn place_of(&self, name: &str) -> String {
        let mac = self.key.mac(format!("place {name}").as_bytes());
        format!("{:08x}", u32::from_be_bytes(mac.first_chunk().copied().unwrap_or_default()))
    }

    /// The one whom a name draws, which depends on no other that could be drawn (rendezvous hashing).
    fn draw<'s>(&self, among: &'s [PasswordHolder], name: &str) -> Option<&'s PasswordHolder> {
        let lot = |id: &UserId| self.key.mac(format!("lot {id} {name}").as_bytes());
        among.iter().max_by_key(|holder| lot(&holder.id))
    }
}

/// Whether the address of a user is the username at `domain`.
fn is_made_of_name(holder: &PasswordHolder, domain: &str) -> bool {
    holder.email.as_deref().map(name_key).as_deref().and_then(|email| email.rsplit_once('@'))
        == Some((holder.username_key.as_str(), domain))
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;

    use super::*;
    use crate::model::role::Role;
    use crate::model::secret::Secret;
    use crate::model::token::KeyPurpose;
    use crate::model::token::MasterKey;
    use crate::service::ServiceError;
    use crate::service::accounts::NewUser;
    use crate::service::testing::ServiceFixture;
    use crate::service::testing::new_user;

    impl Decoys {
        async fn hash_for(&self, name: &str) -> Result<Option<String>, StoreError> {
            Ok(self.holder_for(name).await?.map(|holder| holder.password.expose().to_owned()))
        }
    }

    const OURS: &str =
        "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g";
    const BCRYPT: &str = "$2y$04$70jlLwa1cRDGLUVyMqeiWOgmQivgZA7z.pFKrw60gtTSOD2VMS8qa";
    const PHOENIX: &str = "phoenix:00112233445566778899aabbccddeeff:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

    /// So many users with each of these hashes, and the decoys of names there.
    async fn having(hashes: &[(&str, usize)]) -> (ServiceFixture, Decoys) {
        let world = ServiceFixture::new().await;
        for (kind, (hash, count)) in hashes.iter().enumerate() {
            for number in 0..*count {
                add(&world, &format!("user{kind}n{number}"), hash).await;
            }
        }
        let key = MasterKey::new(Secret::new("m".repeat(32))).derive(KeyPurpose::Decoy);
        let decoys = Decoys::new(world.store.clone(), key);
        (world, decoys)
    }

    async fn add(world: &ServiceFixture, name: &str, hash: &str) {
        let user = NewUser { email: Some(format!("{name}@example.org")), ..new_user(name, Role::Member) };
        world.accounts.create_with_hash(&world.by, user, &Secret::new(hash), false).await.unwrap();
    }

    /// How many of a thousand unknown names have such a hash.
    async fn of_a_thousand(decoys: &Decoys, hash: &str) -> usize {
        let mut count = 0;
        for number in 0..1000 {
            let drawn = decoys.hash_for(&format!("nobody{number}")).await.unwrap();
            count += usize::from(drawn.as_deref() == Some(hash));
        }
        count
    }

    #[tokio::test]
    async fn names_that_are_nobodys_have_each_kind_of_hash_as_often_as_users_have() {
        // Those of three are drawn alike; among sixty, the ends of ids lie closer here than there.
        for (foreign, ours, least, most) in
            [(1, 2, 270, 400), (30, 30, 350, 650), (0, 3, 0, 0), (3, 0, 1000, 1000)]
        {
            let (_world, decoys) = having(&[(BCRYPT, foreign), (OURS, ours)]).await;
            let count = of_a_thousand(&decoys, BCRYPT).await;
            assert!((least..=most).contains(&count), "{foreign} and {ours}: {count} of a thousand");
        }
    }

    #[tokio::test]
    async fn a_name_keeps_its_decoy_in_every_spelling_and_whoever_comes() {
        let (world, decoys) = having(&[(BCRYPT, 4), (OURS, 4), (PHOENIX, 4)]).await;
        let of = async |name: &str| decoys.hash_for(name).await.unwrap().unwrap();
        for [name, other] in [
            ["zo\u{eb}", "ZOE\u{308} "],
            ["nobody", "\u{ff4e}obody"],
            ["no.body@example.com", "No.Body@EXAMPLE.com"],
        ] {
            assert_eq!(of(name).await, of(other).await, "{name}");
        }
        let names: Vec<String> = (0..200).map(|number| format!("nobody{number}")).collect();
        let all = async || join_all(names.iter().map(|name| of(name))).await;
        let before = all().await;
        assert_eq!(all().await, before);
        add(&world, "another", OURS).await;
        let changed = before.iter().zip(all().await).filter(|(before, after)| **before != *after).count();
        assert!(
            (1..50).contains(&changed),
            "a thirteenth of them draws the new one, of whom a third had its like: {changed}"
        );
    }

    #[tokio::test]
    async fn a_name_and_the_address_made_of_it_have_one_hash_where_users_have_such_addresses() {
        let (_world, decoys) = having(&[(BCRYPT, 5), (OURS, 5)]).await;
        let mut differ = [0; 2];
        for number in 0..100 {
            let name = format!("nobody{number}");
            let own = decoys.hash_for(&name).await.unwrap();
            for (differing, domain) in differ.iter_mut().zip(["example.org", "example.com"]) {
                let address = decoys.hash_for(&format!("{name}@{domain}")).await.unwrap();
                *differing += usize::from(address != own);
            }
        }
        let [theirs, elsewhere] = differ;
        assert_eq!(theirs, 0);
        assert!((20..80).contains(&elsewhere), "as an address that is not a user's: {elsewhere}");
    }

    #[tokio::test]
    async fn the_hash_of_whoever_cannot_sign_in_is_no_decoy() {
        let (world, decoys) = having(&[]).await;
        world.user("passwordless").await;
        assert_eq!(decoys.hash_for("nobody").await.unwrap(), None);
        add(&world, "gone", BCRYPT).await;
        let gone = world.accounts.find(&world.by, "gone").await.unwrap().unwrap();
        assert_eq!(decoys.hash_for("nobody").await.unwrap().as_deref(), Some(BCRYPT));
        world.accounts.disable(&world.by, &gone.id).await.unwrap();
        assert_eq!(decoys.hash_for("nobody").await.unwrap(), None);
    }

    /// Whether a name exists is not told by the line in which its hash waits.
    #[tokio::test]
    async fn names_that_are_nobodys_are_computed_and_wait_as_those_of_users_do() {
        let (world, decoys) = having(&[(BCRYPT, 6), (OURS, 6)]).await;
        // Before the first one is answered, it is tried how long the foreign ones take.
        drop(world.sign_in("first", "wrong", "192.0.2.1", None).await);
        let disabled = world.accounts.find(&world.by, "user0n0").await.unwrap().unwrap();
        world.accounts.disable(&world.by, &disabled.id).await.unwrap();
        let mut nobodys: Vec<String> = (0..24).map(|number| format!("nobody{number}")).collect();
        nobodys.extend([disabled.username, "user0n1@example.com".to_owned()]);
        let mut kinds = [Vec::new(), Vec::new()];
        for (at, name) in nobodys.iter().enumerate() {
            let is_foreign = decoys.hash_for(name).await.unwrap().as_deref() == Some(BCRYPT);
            let before = world.passwords.computed_foreign();
            let refused = world.sign_in(name, "wrong", &format!("2001:db8:{at:x}::1"), None).await;
            assert!(matches!(refused, Err(ServiceError::Refused)), "{name}: {refused:?}");
            let computed = world.passwords.computed_foreign() - before;
            assert_eq!(computed, usize::from(is_foreign), "{name}");
            kinds[computed].push(name.as_str());
        }
        let [like_ours, like_theirs] = kinds;
        let _working = world.passwords.foreign_place().await;
        let told = ["user0n1", "user0n2@example.org", like_theirs[0], "user1n1@example.org", like_ours[0]];
        let told = join_all(told.iter().enumerate().map(async |(at, name)| {
            match world.sign_in(name, "wrong", &format!("2001:db9:{at:x}::1"), None).await {
                Err(ServiceError::Busy { .. }) => "busy",
                Err(ServiceError::Refused) => "refused",
                other => panic!("{name}: {other:?}"),
            }
        }));
        assert_eq!(told.await, ["busy", "busy", "busy", "refused", "refused"]);
    }
}
