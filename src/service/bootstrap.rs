//! The first admin. Nothing well known ever works: a password from outside, or a link that works once.

use std::time::Duration;

use super::accounts::Accounts;
use super::accounts::NewUser;
use super::password::unified;
use super::password_rules::check_new_password;
use super::{Field, ServiceError};
use crate::config::BreachList;
use crate::config::LoginConfig;
use crate::model::audit::Actor;
use crate::model::audit::Note;
use crate::model::audit::{Event, Reason};
use crate::model::role::Role;
use crate::model::secret::Secret;
use crate::model::token::TokenDigest;
use crate::model::token::random_text;
use crate::model::user::User;
use crate::model::user::UserId;
pub use crate::store::SetupLink;

/// The name of the first admin where only a password was given.
const FIRST_ADMIN: &str = "admin";
/// How long a setup token can be used.
pub(super) const SETUP_TOKEN_LIFE: Duration = Duration::from_hours(24);

/// How people can get in for the first time.
#[derive(Debug)]
pub struct Bootstrap {
    /// The first admin.
    pub first: FirstAdmin,
    /// Admins whom the settings name and who cannot sign in yet, by username, each with a token that gives them one.
    pub links: Vec<(String, Secret)>,
    /// What set a password for the first admin that has no effect, as there are users already.
    pub late_password: Option<String>,
    /// What the settings name as admins, and why it is not made so.
    pub taken: Vec<(String, &'static str)>,
}

/// The outcome of the password that the settings give the first admin.
enum ConfiguredPassword {
    Nothing,
    Made(String),
    /// There are users already; what set it.
    Late(String),
}

/// How the first admin gets in.
#[derive(Debug)]
pub enum FirstAdmin {
    /// Made now, with the password from the settings, which must be changed.
    Made {
        /// What to sign in as.
        username: String,
    },
    /// No admin can sign in: the holder of this token can create one within 24 hours.
    Link(Secret),
    /// There is one who can sign in, or who is given a link.
    Ready,
}

impl Accounts {
    /// Sees to it that somebody can get in. To be called at every start.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Invalid`] if the password or a name in the settings breaks the rules.
    pub async fn bootstrap(&self, login: &LoginConfig) -> Result<Bootstrap, ServiceError> {
        let (made, late_password) = match self.given_admin(login).await? {
            ConfiguredPassword::Nothing => (None, None),
            ConfiguredPassword::Made(username) => (Some(username), None),
            ConfiguredPassword::Late(set_by) => (None, Some(set_by)),
        };
        let (mut links, mut taken) = (Vec::new(), Vec::new());
        for (name, email) in &login.admins {
            match self.named_admin(name, email).await? {
                Ok(user) if user.can_sign_in() => {}
                Ok(user) => links.push((user.username, self.new_setup_link(Some(&user.id)).await?)),
                Err(why) => taken.push((format!("{name}={email}"), why)),
            }
        }
        let first = match made {
            Some(username) => FirstAdmin::Made { username },
            None if links.is_empty() && !self.store.is_administered().await? => {
                FirstAdmin::Link(self.new_setup_link(None).await?)
            }
            None => FirstAdmin::Ready,
        };
        Ok(Bootstrap { first, links, late_password, taken })
    }

    /// Creates the admin whose password the settings give, if there is no user at all.
    async fn given_admin(&self, login: &LoginConfig) -> Result<ConfiguredPassword, ServiceError> {
        let Some(given) = &login.admin_password else { return Ok(ConfiguredPassword::Nothing) };
        if self.store.is_anybody().await? {
            return Ok(ConfiguredPassword::Late(given.set_by().to_owned()));
        }
        let new = admin(FIRST_ADMIN, given.password.clone(), true);
        let (user, hash) = self.prepare(new).await.map_err(named)?;
        let made = self.store.create_first_user(&user, &hash.unwrap_or_default()).await?;
        // Another gateway may have been faster.
        Ok(if made { ConfiguredPassword::Made(user.username) } else { ConfiguredPassword::Nothing })
    }

    /// The admin whom the settings name, made if need be; or why there is none.
    async fn named_admin(&self, name: &str, email: &str) -> Result<Result<User, &'static str>, ServiceError> {
        let (by_name, by_email) = (self.named(name).await?, self.named(email).await?);
        Ok(match (by_name, by_email) {
            (Some(user), Some(other)) if user.id == other.id => match user {
                user if user.role != Role::Admin => Err("this user has another role"),
                user if user.disabled => Err("this user is disabled"),
                user => Ok(user),
            },
            (Some(_), Some(_)) => Err("the name is one user's and the address another's"),
            (Some(_), None) => Err("a user of this name has another address"),
            (None, Some(_)) => Err("a user with this address has another name"),
            (None, None) => {
                let new = NewUser {
                    username: name.to_owned(),
                    email: Some(email.to_owned()),
                    display_name: None,
                    role: Role::Admin,
                    groups: Vec::new(),
                    password: None,
                };
                match self.add(&Actor::gateway(), new).await {
                    // Another gateway was faster, and shows a link of its own.
                    Err(ServiceError::Conflict { .. }) => {
                        self.named(name).await?.ok_or("it was taken just now")
                    }
                    made => Ok(made?),
                }
            }
        })
    }

    async fn new_setup_link(&self, of: Option<&UserId>) -> Result<Secret, ServiceError> {
        let (token, now) = (random_text(), self.clock.now());
        let expires = now.after(SETUP_TOKEN_LIFE);
        self.store.put_setup_link(TokenDigest::of(token.expose()), of, now, expires).await?;
        Ok(token)
    }

    /// What a setup token could do now; none if nothing.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Unavailable`] if the store does not answer.
    pub async fn setup_link(&self, token: &Secret) -> Result<Option<SetupLink>, ServiceError> {
        Ok(self.store.setup_link(TokenDigest::of(token.expose()), self.clock.now()).await?)
    }

    /// Makes the first admin, of this name, or gives the user whose token it is a password; uses the token up.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Refused`] if the token is wrong, used, past its end, or of no use any more;
    /// [`ServiceError::Invalid`] about name or password, after which the token still works.
    pub async fn complete_setup(
        &self,
        by: &Actor,
        token: Secret,
        username: &str,
        password: Secret,
    ) -> Result<User, ServiceError> {
        let digest = TokenDigest::of(token.expose());
        let store = self.store.by(by);
        // Checked first, so that nothing is hashed without one.
        let made = match self.setup_link(&token).await? {
            None => None,
            Some(SetupLink::FirstAdmin) => {
                let (user, hash) = self.prepare(admin(username, password, false)).await?;
                let hash = hash.unwrap_or_default();
                let done = store.redeem_setup_link(digest, self.clock.now(), &user, &hash).await?;
                done.then_some(user)
            }
            Some(SetupLink::Of(user)) => {
                let hash = self.hash_for(&user, password).await?;
                store.redeem_own_setup_link(digest, self.clock.now(), &hash).await?
            }
        };
        if made.is_none() {
            store.record_repeatable(Note::failed(Event::Setup, Reason::InvalidLink), "").await?;
        }
        made.ok_or(ServiceError::Refused)
    }
}

/// Whether the settings give the first admin a password that may be chosen; known before there is a store. Blocks while a
/// list of leaked ones is read.
///
/// # Errors
///
/// [`ServiceError::Invalid`] with the rule it breaks.
pub fn check_given_password(login: &LoginConfig) -> Result<(), ServiceError> {
    let Some(given) = &login.admin_password else { return Ok(()) };
    check_new_password(&given.password, &[FIRST_ADMIN])?;
    let leaked = |list: &BreachList| list.contains(unified(&given.password).expose()).unwrap_or_default();
    if login.breach_list.as_ref().is_some_and(leaked) {
        return Err(ServiceError::invalid(
            Field::Password,
            "stands in a list of leaked ones: choose another",
        ));
    }
    Ok(())
}

fn admin(username: &str, password: Secret, must_change: bool) -> NewUser {
    NewUser {
        username: username.to_owned(),
        email: None,
        display_name: None,
        role: Role::Admin,
        groups: Vec::new(),
        password: Some((password, must_change)),
    }
}

/// Says where a password that breaks the rules came from.
fn named(error: ServiceError) -> ServiceError {
    match error {
        ServiceError::Invalid { field: Field::Password, reason } => {
            ServiceError::Invalid { field: Field::GivenAdminPassword, reason }
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{AdminPassword, SettingLocation};
    use crate::service::testing::PASSWORD;
    use crate::service::testing::ServiceFixture;
    use crate::service::testing::new_user;

    fn settings(password: Option<&str>) -> LoginConfig {
        LoginConfig {
            password: true,
            default_role: Role::Viewer,
            admins: vec![("zelda".into(), "zelda@example.org".into())],
            admin_password: password.map(|password| AdminPassword {
                password: Secret::new(password),
                path: "login.admin_password".to_owned(),
                location: SettingLocation::Environment("DOORWARD_ADMIN_PASSWORD".to_owned()),
            }),
            breach_list: None,
        }
    }

    fn nobody_named() -> LoginConfig {
        LoginConfig { admins: Vec::new(), ..settings(None) }
    }

    async fn token(world: &ServiceFixture) -> Secret {
        match world.accounts.bootstrap(&nobody_named()).await.unwrap() {
            Bootstrap { first: FirstAdmin::Link(token), .. } => token,
            other => panic!("{other:?}"),
        }
    }

    async fn is_good(world: &ServiceFixture, token: &Secret) -> bool {
        world.accounts.setup_link(token).await.unwrap().is_some()
    }

    async fn complete(world: &ServiceFixture, token: &Secret) -> Result<User, ServiceError> {
        world.accounts.complete_setup(world.by.actor(), token.clone(), "root", Secret::new(PASSWORD)).await
    }

    #[tokio::test]
    async fn a_given_password_makes_the_first_admin_once() {
        let world = ServiceFixture::new().await;
        let made = world.accounts.bootstrap(&settings(Some(PASSWORD))).await.unwrap();
        assert!(matches!(made.first, FirstAdmin::Made { username } if username == "admin"));
        assert_eq!(made.late_password, None);
        let signed_in = world.sign_in("admin", PASSWORD, "192.0.2.1", None).await.unwrap();
        assert_eq!((signed_in.user.role, signed_in.user.must_change_password), (Role::Admin, true));
        let other = "a password for later";
        let again = world.accounts.bootstrap(&settings(Some(other))).await.unwrap();
        assert!(matches!(again.first, FirstAdmin::Ready));
        assert_eq!(again.late_password.as_deref(), Some("DOORWARD_ADMIN_PASSWORD"));
        assert_eq!(world.accounts.bootstrap(&settings(None)).await.unwrap().late_password, None);
        assert!(world.sign_in("admin", other, "192.0.2.1", None).await.is_err());
    }

    #[tokio::test]
    async fn a_weak_password_is_refused_by_the_name_of_its_setting() {
        let world = ServiceFixture::new().await;
        for weak in ["admin", "administrator", "password1234"] {
            let refused = world.accounts.bootstrap(&settings(Some(weak))).await.unwrap_err().to_string();
            assert!(refused.contains("DOORWARD_ADMIN_PASSWORD"), "{refused}");
            assert!(refused.contains("login.admin_password_file"), "{refused}");
        }
        assert_eq!(world.accounts.list(&world.by).await.unwrap(), []);
    }

    #[tokio::test]
    async fn named_admins_get_in_by_a_link_each_until_they_have_a_password() {
        let world = ServiceFixture::new().await;
        for at in 0..2 {
            // A start of a second gateway, or another one, does not spoil what was shown before.
            let start = world.accounts.bootstrap(&settings(None)).await.unwrap();
            assert!(matches!(start.first, FirstAdmin::Ready), "no link for just anybody: {at}");
            assert_eq!((start.links.len(), start.links[0].0.as_str(), start.taken.len()), (1, "zelda", 0));
        }
        let general = world.accounts.bootstrap(&nobody_named()).await.unwrap();
        assert!(matches!(general.first, FirstAdmin::Link(_)), "who is no longer named gets none");
        let mut links = world.accounts.bootstrap(&settings(None)).await.unwrap().links;
        let (_, token) = links.remove(0);
        assert!(world.sign_in("zelda", "", "192.0.2.1", None).await.is_err());
        let weak = world
            .accounts
            .complete_setup(world.by.actor(), token.clone(), "mallory", Secret::new("zelda123456!"))
            .await;
        assert!(matches!(weak, Err(ServiceError::Invalid { .. })));
        let zelda = complete(&world, &token).await.unwrap();
        assert_eq!(
            (zelda.username.as_str(), zelda.role, zelda.must_change_password),
            ("zelda", Role::Admin, false)
        );
        assert_eq!(world.sign_in("zelda", PASSWORD, "192.0.2.1", None).await.unwrap().user, zelda);
        assert!(matches!(complete(&world, &token).await, Err(ServiceError::Refused)));
        let start = world.accounts.bootstrap(&settings(None)).await.unwrap();
        assert!(matches!(start.first, FirstAdmin::Ready) && start.links.is_empty() && start.taken.is_empty());
        assert_eq!(world.accounts.list(&world.by).await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_link_of_somebody_is_worth_nothing_once_there_is_a_password_or_a_stop() {
        let world = ServiceFixture::new().await;
        world.user_with_password("anybody").await;
        let link = async || world.accounts.bootstrap(&settings(None)).await.unwrap().links.remove(0).1;
        let (one, two) = (link().await, link().await);
        assert!(is_good(&world, &one).await && is_good(&world, &two).await);
        let zelda = world.accounts.find(&world.by, "zelda").await.unwrap().unwrap();
        world.accounts.disable(&world.by, &zelda.id).await.unwrap();
        assert!(!is_good(&world, &one).await);
        let told = world.accounts.bootstrap(&settings(None)).await.unwrap().taken;
        assert_eq!(told, [("zelda=zelda@example.org".to_owned(), "this user is disabled")]);
        world.accounts.enable(&world.by, &zelda.id).await.unwrap();
        assert!(is_good(&world, &one).await);
        world.accounts.reset_password(&world.by, &zelda.id).await.unwrap();
        for link in [one, two] {
            assert!(matches!(complete(&world, &link).await, Err(ServiceError::Refused)));
        }
    }

    #[tokio::test]
    async fn a_name_that_somebody_else_has_is_told_and_left_alone() {
        let world = ServiceFixture::new().await;
        let zelda = world.user("zelda").await;
        let taken = async || world.accounts.bootstrap(&settings(None)).await.unwrap().taken.remove(0).1;
        assert!(taken().await.contains("another role"));
        world.accounts.delete(&world.by, &zelda.id).await.unwrap();
        let other = NewUser { email: Some("other@example.org".into()), ..new_user("zelda", Role::Admin) };
        let other = world.accounts.create(&world.by, other).await.unwrap();
        assert!(taken().await.contains("another address"));
        world
            .accounts
            .create(
                &world.by,
                NewUser { email: Some("zelda@example.org".into()), ..new_user("link", Role::Viewer) },
            )
            .await
            .unwrap();
        assert!(taken().await.contains("another's"));
        world.accounts.delete(&world.by, &other.id).await.unwrap();
        assert!(taken().await.contains("another name"));
    }

    #[tokio::test]
    async fn a_setup_token_makes_one_admin_and_no_second() {
        let world = ServiceFixture::new().await;
        let token = token(&world).await;
        assert!(is_good(&world, &token).await);
        assert!(matches!(complete(&world, &random_text()).await, Err(ServiceError::Refused)));
        let weak = world
            .accounts
            .complete_setup(world.by.actor(), token.clone(), "root", Secret::new("short"))
            .await;
        assert!(matches!(weak, Err(ServiceError::Invalid { .. })));
        let admin = complete(&world, &token).await.unwrap();
        assert_eq!((admin.role, admin.must_change_password), (Role::Admin, false));
        assert!(!is_good(&world, &token).await);
        assert!(matches!(complete(&world, &token).await, Err(ServiceError::Refused)));
        let again = world.accounts.bootstrap(&nobody_named()).await.unwrap().first;
        assert!(matches!(again, FirstAdmin::Ready));
        assert_eq!(world.accounts.list(&world.by).await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn the_link_outlives_other_users_and_starts_but_not_an_admin_who_can_sign_in() {
        let world = ServiceFixture::new().await;
        let (first, second) = (token(&world).await, token(&world).await);
        world.accounts.create(&world.by, new_user("viewer", Role::Viewer)).await.unwrap();
        world.accounts.create(&world.by, new_user("no-password", Role::Admin)).await.unwrap();
        for link in [&first, &second] {
            assert!(is_good(&world, link).await);
        }
        world.clock.advance(SETUP_TOKEN_LIFE);
        assert!(matches!(complete(&world, &second).await, Err(ServiceError::Refused)), "past its end");
        let third = token(&world).await;
        let able =
            NewUser { password: Some((Secret::new(PASSWORD), false)), ..new_user("boss", Role::Admin) };
        world.accounts.create(&world.by, able).await.unwrap();
        let computed = world.passwords.computed();
        assert!(matches!(complete(&world, &third).await, Err(ServiceError::Refused)), "there is an admin");
        assert_eq!(world.passwords.computed(), computed, "refused without hashing");
    }
}
