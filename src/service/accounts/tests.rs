//! Accounts: duplicate names, passwords, rights and the last admin.

use super::*;
use crate::service::Field;
use crate::service::testing::PASSWORD;
use crate::service::testing::ServiceFixture;
use crate::service::testing::new_user;

const CLIENT: &str = "192.0.2.1";
const OTHER: &str = "a bee has five eyes";

async fn change(world: &ServiceFixture, user: &User, current: &str, new: &str) -> Result<(), ServiceError> {
    let (current, new) = (Secret::new(current), Secret::new(new));
    let asked = Reauthentication { user: &user.id, session: "one", client: CLIENT.parse().unwrap() };
    world.accounts.change_password(world.by.actor(), asked, current, new).await
}

#[tokio::test]
async fn a_created_user_is_found_by_name_and_by_address() {
    let world = ServiceFixture::new().await;
    let new = NewUser {
        email: Some("Zelda@Example.org".into()),
        groups: vec!["b".into(), "a".into(), "b".into()],
        ..new_user("Zelda", Role::Viewer)
    };
    let user = world.accounts.create(&world.by, new).await.unwrap();
    assert_eq!(user.groups, ["a", "b"]);
    for name in ["zelda", "ZELDA", "zelda@example.org"] {
        assert_eq!(world.accounts.find(&world.by, name).await.unwrap(), Some(user.clone()), "{name}");
    }
    assert_eq!(world.accounts.find(&world.by, "zeld").await.unwrap(), None);
    assert_eq!(world.accounts.list(&world.by).await.unwrap(), [user]);
}

#[tokio::test]
async fn names_addresses_roles_and_groups_that_break_the_rules_are_refused() {
    let world = ServiceFixture::new().await;
    let good = new_user("zelda", Role::Viewer);
    let bad = [
        (Field::Username, NewUser { username: "a b".into(), ..good.clone() }),
        (Field::Email, NewUser { email: Some("nowhere".into()), ..good.clone() }),
        (Field::DisplayName, NewUser { display_name: Some("\u{1b}[2J".into()), ..good.clone() }),
        (Field::DisplayName, NewUser { display_name: Some(" ".into()), ..good.clone() }),
        (Field::Role, NewUser { role: Role::Agent, ..good.clone() }),
        (Field::Group, NewUser { groups: vec!["a,b".into()], ..good.clone() }),
        (Field::Groups, NewUser { groups: vec!["a".into(); 257], ..good.clone() }),
        (Field::Password, NewUser { password: Some((Secret::new("short"), false)), ..good.clone() }),
        (
            Field::Password,
            NewUser { password: Some((Secret::new("zeldazeldazelda"), false)), ..good.clone() },
        ),
    ];
    for (wanted, new) in bad {
        match world.accounts.create(&world.by, new).await {
            Err(ServiceError::Invalid { field, .. }) => assert_eq!(field, wanted),
            other => panic!("{wanted}: {other:?}"),
        }
    }
    assert_eq!(world.accounts.list(&world.by).await.unwrap(), []);
}

#[tokio::test]
async fn a_name_that_is_anybodys_name_or_address_is_taken() {
    let world = ServiceFixture::new().await;
    world.user("zelda").await;
    for (what, username, email) in [
        ("username", "ZELDA", None),
        ("username", "zelda@example.org", None),
        ("e-mail", "other", Some("Zelda@example.org".to_owned())),
    ] {
        let new = NewUser { email, ..new_user(username, Role::Viewer) };
        let taken = world.accounts.create(&world.by, new).await;
        assert!(matches!(taken, Err(ServiceError::Conflict { what: field }) if field == what), "{taken:?}");
    }
}

#[tokio::test]
async fn a_shown_name_is_changed_cleared_and_checked() {
    let world = ServiceFixture::new().await;
    let user = world.user("zelda").await;
    let shown = async || world.accounts.find_by_id(&user.id).await.unwrap().unwrap().display_name;
    let epoch = world.revocations.epoch().current();
    world.accounts.set_display_name(world.by.actor(), &user.id, " Zelda Zett ").await.unwrap();
    assert_eq!(shown().await.as_deref(), Some("Zelda Zett"));
    assert!(world.revocations.epoch().current() > epoch);
    for bad in ["\u{1b}[2J", &"x".repeat(129)] {
        let refused = world.accounts.set_display_name(world.by.actor(), &user.id, bad).await;
        assert!(matches!(refused, Err(ServiceError::Invalid { .. })), "{refused:?}");
    }
    assert_eq!(shown().await.as_deref(), Some("Zelda Zett"));
    world.accounts.set_display_name(world.by.actor(), &user.id, "  ").await.unwrap();
    assert_eq!(shown().await, None);
    let nobody = world.accounts.set_display_name(world.by.actor(), &UserId("nobody".into()), "x").await;
    assert!(matches!(nobody, Err(ServiceError::NotFound { .. })));
}

#[tokio::test]
async fn a_temporary_password_works_and_must_be_changed() {
    let world = ServiceFixture::new().await;
    let new = new_user("zelda", Role::Viewer);
    let (user, password) = world.accounts.create_with_temporary_password(&world.by, new).await.unwrap();
    assert!(user.must_change_password);
    let signed_in = world.sign_in("zelda", password.expose(), CLIENT, None).await.unwrap();
    let digest = world.sessions.digest_of_cookie(signed_in.cookie.expose()).unwrap();
    assert!(world.sessions.resolve(digest).await.unwrap().unwrap().must_change_password);
    change(&world, &user, password.expose(), OTHER).await.unwrap();
    assert_eq!(world.sessions.resolve(digest).await.unwrap(), None, "all sessions have ended");
    let user = world.sign_in("zelda", OTHER, CLIENT, None).await.unwrap().user;
    assert!(!user.must_change_password);
    assert!(world.sign_in("zelda", password.expose(), CLIENT, None).await.is_err());
}

#[tokio::test]
async fn a_reset_replaces_the_password_and_ends_sessions() {
    let world = ServiceFixture::new().await;
    let user = world.user_with_password("zelda").await;
    world.sign_in("zelda", PASSWORD, CLIENT, None).await.unwrap();
    let epoch = world.revocations.epoch().current();
    let temporary = world.accounts.reset_password(&world.by, &user.id).await.unwrap();
    assert!(world.revocations.epoch().current() > epoch);
    assert_eq!(world.sessions.list(&world.by, Some(&user.id)).await.unwrap(), []);
    assert!(world.sign_in("zelda", PASSWORD, CLIENT, None).await.is_err());
    assert!(world.sign_in("zelda", temporary.expose(), CLIENT, None).await.is_ok());
    let nobody = world.accounts.reset_password(&world.by, &UserId("nobody".into())).await;
    assert!(matches!(nobody, Err(ServiceError::NotFound { .. })));
}

#[tokio::test]
async fn a_change_needs_the_current_password_and_a_new_one() {
    let world = ServiceFixture::new().await;
    let user = world.user_with_password("zelda").await;
    assert!(matches!(change(&world, &user, "wrong", OTHER).await, Err(ServiceError::Refused)));
    for weak in [PASSWORD, "short", "zelda@example.org"] {
        let refused = change(&world, &user, PASSWORD, weak).await;
        assert!(matches!(refused, Err(ServiceError::Invalid { .. })), "{weak}: {refused:?}");
    }
    assert!(world.sign_in("zelda", PASSWORD, CLIENT, None).await.is_ok());
    change(&world, &user, PASSWORD, OTHER).await.unwrap();
    assert!(world.sign_in("zelda", OTHER, CLIENT, None).await.is_ok());
}

#[tokio::test]
async fn guessing_at_the_change_form_is_slowed_down() {
    let world = ServiceFixture::new().await;
    let user = world.user_with_password("zelda").await;
    for _ in 0..6 {
        assert!(matches!(change(&world, &user, "wrong", OTHER).await, Err(ServiceError::Refused)));
    }
    let slowed = change(&world, &user, PASSWORD, OTHER).await;
    assert!(matches!(slowed, Err(ServiceError::Throttled { .. })), "{slowed:?}");
}

#[tokio::test]
async fn taking_rights_away_ends_sessions_and_raises_the_epoch() {
    let world = ServiceFixture::new().await;
    let user = world.user_with_password("zelda").await;
    for step in 0..4 {
        world.sign_in("zelda", PASSWORD, CLIENT, None).await.unwrap();
        let epoch = world.revocations.epoch().current();
        match step {
            0 => world.accounts.set_role(&world.by, &user.id, Role::Viewer).await.unwrap(),
            1 => {
                world.accounts.disable(&world.by, &user.id).await.unwrap();
                assert!(world.sign_in("zelda", PASSWORD, CLIENT, None).await.is_err());
                world.accounts.enable(&world.by, &user.id).await.unwrap();
            }
            2 => {
                assert!(world.accounts.add_group(&world.by, &user.id, "ops").await.unwrap());
                assert!(!world.accounts.add_group(&world.by, &user.id, "ops").await.unwrap());
                assert!(world.accounts.remove_group(&world.by, &user.id, "ops").await.unwrap());
                assert!(!world.accounts.remove_group(&world.by, &user.id, "ops").await.unwrap());
                world.sessions.end_all(&world.by, &user.id).await.unwrap();
            }
            _ => world.accounts.delete(&world.by, &user.id).await.unwrap(),
        }
        assert!(world.revocations.epoch().current() > epoch, "step {step}");
        assert_eq!(world.sessions.list(&world.by, Some(&user.id)).await.unwrap(), [], "step {step}");
    }
    assert!(matches!(world.accounts.disable(&world.by, &user.id).await, Err(ServiceError::NotFound { .. })));
    assert!(matches!(
        world.accounts.add_group(&world.by, &user.id, "ops").await,
        Err(ServiceError::NotFound { .. })
    ));
}

#[tokio::test]
async fn the_last_admin_stays() {
    let world = ServiceFixture::new().await;
    let admin = world.accounts.create(&world.by, new_user("root", Role::Admin)).await.unwrap();
    for refused in [
        world.accounts.set_role(&world.by, &admin.id, Role::Member).await,
        world.accounts.disable(&world.by, &admin.id).await,
        world.accounts.delete(&world.by, &admin.id).await,
    ] {
        assert!(matches!(refused, Err(ServiceError::LastAdmin)), "{refused:?}");
    }
    world.accounts.create(&world.by, new_user("other", Role::Admin)).await.unwrap();
    world.accounts.set_role(&world.by, &admin.id, Role::Member).await.unwrap();
}

#[tokio::test]
async fn a_hash_of_another_system_lets_its_owner_in_and_is_replaced_then() {
    let world = ServiceFixture::new().await;
    world.user("root2").await;
    for (name, hash) in [
        ("ann", "$2y$05$d1AWeMEXPiqYtvNw3bvKVu6wF2Bn3nE2tqMrc8rO3rEItPA.OOK6S"),
        ("ben", "pbkdf2_sha1$20000$seasalt1seasalt1$9Y8FGgDIXMN8E3ajCWVH76f4VEI="),
        ("cem", "$scrypt$ln=14,r=8,p=1$lHJu7X2v9f7fm9Pae89ZCw$yCllkoegInuZyiqKKtXbyPvHlj2A+CR1Y3OmKd4Gbvc"),
    ] {
        let hash = Secret::new(hash);
        let user = world
            .accounts
            .create_with_hash(&world.by, new_user(name, Role::Member), &hash, false)
            .await
            .unwrap();
        assert!(user.has_password && !user.must_change_password);
        let theirs = "correct horse battery";
        assert!(world.sign_in(name, "correct horse batterz", CLIENT, None).await.is_err(), "{name}");
        assert_eq!(world.store.password_of(&user.id).await.unwrap().as_deref(), Some(hash.expose()));
        assert_eq!(world.sign_in(name, theirs, CLIENT, None).await.unwrap().user, user);
        let ours = world.store.password_of(&user.id).await.unwrap().unwrap();
        assert!(ours.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{ours}");
        assert!(world.sign_in(name, theirs, CLIENT, None).await.is_ok(), "{name}");
    }
    for bad in ["$2y$31$d1AWeMEXPiqYtvNw3bvKVu6wF2Bn3nE2tqMrc8rO3rEItPA.OOK6S", "correct horse battery"] {
        let hash = Secret::new(bad);
        let refused =
            world.accounts.create_with_hash(&world.by, new_user("dot", Role::Member), &hash, false).await;
        let told = refused.unwrap_err().to_string();
        assert!(told.starts_with("hash: is ") && !told.contains(bad), "{told}");
        assert_eq!(world.accounts.find(&world.by, "dot").await.unwrap(), None);
    }
    let must_change = Secret::new("$2y$05$d1AWeMEXPiqYtvNw3bvKVu6wF2Bn3nE2tqMrc8rO3rEItPA.OOK6S");
    let user = world
        .accounts
        .create_with_hash(&world.by, new_user("dot", Role::Member), &must_change, true)
        .await
        .unwrap();
    assert!(user.must_change_password);
}

#[tokio::test]
async fn nobody_may_choose_what_stands_in_the_list_of_leaked_passwords() {
    let world = ServiceFixture::new().await;
    let user = world.user_with_password("zelda").await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("leaked");
    std::fs::write(&file, "caf\u{e9} with two sugars\n").unwrap();
    let accounts = world.accounts.refusing(Some(&list(&file)));
    let asked = Reauthentication { user: &user.id, session: "one", client: CLIENT.parse().unwrap() };
    let change = |new: &'static str| {
        accounts.change_password(world.by.actor(), asked, Secret::new(PASSWORD), Secret::new(new))
    };
    let told = change("cafe\u{301} with two sugars").await.unwrap_err().to_string();
    assert!(told.contains("leaked"), "{told}");
    let new = NewUser {
        password: Some((Secret::new("caf\u{e9} with two sugars"), false)),
        ..new_user("bob", Role::Member)
    };
    assert!(accounts.create(&world.by, new).await.is_err());
    assert!(change("caf\u{e9} with three sugars").await.is_ok());
    std::fs::remove_file(&file).unwrap();
    let current = Secret::new("caf\u{e9} with three sugars");
    let unread = accounts.change_password(world.by.actor(), asked, current, Secret::new(OTHER)).await;
    assert!(matches!(unread, Err(ServiceError::Unavailable(_))), "{unread:?}");
}

/// As the settings name it.
fn list(file: &std::path::Path) -> BreachList {
    let settings = format!(
        "upstreams = [{{ name = \"app\", url = \"http://127.0.0.1:1\" }}]\nroutes = [{{ upstream = \"app\" }}]\n\
         login.breach_list = \"{}\"",
        file.display()
    );
    let toml = file.with_extension("toml");
    std::fs::write(&toml, settings).unwrap();
    let source = crate::config::ConfigSource { file: Some(toml), environment: Vec::new() };
    crate::config::load(&source, &crate::config::Flags::default()).unwrap().login.breach_list.unwrap()
}

#[tokio::test]
async fn another_unicode_form_of_the_same_password_is_not_another_password() {
    let world = ServiceFixture::new().await;
    let user = world.user_with_password("zelda").await;
    change(&world, &user, PASSWORD, "na\u{ef}ve caf\u{e9} owls").await.unwrap();
    let same = change(&world, &user, "nai\u{308}ve cafe\u{301} owls", "na\u{ef}ve caf\u{e9} owls").await;
    assert!(same.unwrap_err().to_string().contains("the one you have"));
    assert!(world.sign_in("zelda", "nai\u{308}ve cafe\u{301} owls", CLIENT, None).await.is_ok());
}

#[tokio::test]
async fn what_was_so_before_has_nobody_looked_up_again() {
    let world = ServiceFixture::new().await;
    let (alice, epoch) = (world.user("alice").await, world.revocations.epoch().clone());
    world.accounts.set_display_name(world.by.actor(), &alice.id, "Alice").await.unwrap();
    world.accounts.add_group(&world.by, &alice.id, "ops").await.unwrap();
    let then = epoch.current();
    world.accounts.set_display_name(world.by.actor(), &alice.id, " Alice ").await.unwrap();
    world.accounts.set_role(&world.by, &alice.id, alice.role).await.unwrap();
    world.accounts.enable(&world.by, &alice.id).await.unwrap();
    assert!(!world.accounts.add_group(&world.by, &alice.id, "ops").await.unwrap());
    assert!(!world.accounts.remove_group(&world.by, &alice.id, "none").await.unwrap());
    assert_eq!(epoch.current(), then);
    world.accounts.set_display_name(world.by.actor(), &alice.id, "Alicia").await.unwrap();
    assert!(epoch.current() > then, "applications are told of the new name");
}
