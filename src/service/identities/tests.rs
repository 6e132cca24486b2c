//! The table of whom an identity lets in, and what else signing in by one does.

use super::*;
use crate::model::audit::AuditRow;
use crate::model::identity::{IdentityKey, RoleDecision};
use crate::model::principal::{IdentitySource, Principal};
use crate::model::role::Role;
use crate::service::testing::{PASSWORD, ServiceFixture, new_user as someone};
use crate::store::AuditFilter;

const ISSUER: &str = "https://idp.example";

fn asserted(issuer: &str, subject: &str) -> ProviderAssertion {
    ProviderAssertion {
        provider: "sso".to_owned(),
        key: IdentityKey::new(issuer, subject).unwrap(),
        subject_claim: "sub".to_owned(),
        email: AssertedEmail::None,
        username: None,
        display_name: None,
        groups: None,
        role: RoleDecision::Keep { new: Role::Viewer },
    }
}

fn verified(email: &str) -> AssertedEmail {
    AssertedEmail::Verified(email.to_owned())
}

fn unverified(email: &str) -> AssertedEmail {
    AssertedEmail::Unverified(email.to_owned())
}

fn browser(device: Option<&str>) -> Browser<'_> {
    Browser { client: "192.0.2.1".parse().unwrap(), user_agent: "browser", device }
}

async fn sign_in(
    world: &ServiceFixture,
    assertion: &ProviderAssertion,
    sign_up: SignUp,
) -> Result<SignedIn, IdentityError> {
    let by = Actor::stranger("192.0.2.1".parse().unwrap(), "r1");
    world.identities.sign_in(&by, assertion.clone(), None, sign_up, browser(None)).await
}

async fn principal(world: &ServiceFixture, signed_in: &SignedIn) -> Option<Principal> {
    let digest = world.sessions.digest_of_cookie(signed_in.cookie.expose()).unwrap();
    world.sessions.resolve(digest).await.unwrap()
}

async fn rows(world: &ServiceFixture, event: Event) -> Vec<AuditRow> {
    let filter = AuditFilter { event: Some(event.as_str()), ..AuditFilter::default() };
    world.store.audit_recent(&filter, 100).await.unwrap()
}

/// Everybody there is in the table: an admin, invited users, one with a password, one with an identity, and two of each who
/// are stopped.
async fn everybody() -> ServiceFixture {
    let world = ServiceFixture::new().await;
    world.user_with_password("local").await;
    for (name, email) in
        [("invited", "invited@example.org"), ("mike", "mike@example.org"), ("stopped", "stopped@example.org")]
    {
        let new = NewUser { email: Some(email.to_owned()), ..someone(name, Role::Member) };
        world.accounts.create(&world.by, new).await.unwrap();
    }
    world.accounts.create(&world.by, someone("named@example.org", Role::Member)).await.unwrap();
    for name in ["known", "barred"] {
        let assertion = ProviderAssertion {
            username: Some(name.to_owned()),
            email: verified(&format!("{name}@example.org")),
            ..asserted(ISSUER, name)
        };
        sign_in(&world, &assertion, SignUp::Allowed).await.unwrap();
    }
    for name in ["stopped", "barred"] {
        let user = world.accounts.find(&world.by, name).await.unwrap().unwrap();
        world.accounts.disable(&world.by, &user.id).await.unwrap();
    }
    world
}

#[tokio::test]
async fn an_identity_lets_in_whom_the_table_says() {
    use IdentityRefusal::{Disabled, EmailInUse, EmailUnverified, SignUpNotAllowed};
    type Entered = Result<&'static str, IdentityRefusal>;
    let (here, there) = (ISSUER, "https://other.example");
    let none = || AssertedEmail::None;
    // Issuer, subject, address; whom it lets in where users are added, and where they are not.
    let in_ = |name: &'static str| Ok(name);
    let table: [(&str, &str, AssertedEmail, Entered, Entered); 25] = [
        // A known identity, whatever its address is.
        (here, "known", none(), in_("known"), in_("known")),
        (here, "known", verified("known@example.org"), in_("known"), in_("known")),
        (here, "known", verified("local@example.org"), in_("known"), in_("known")),
        (here, "known", unverified("invited@example.org"), in_("known"), in_("known")),
        (here, "barred", verified("barred@example.org"), Err(Disabled), Err(Disabled)),
        // An invited user's address.
        (here, "new", verified("Invited@Example.org"), in_("invited"), in_("invited")),
        (there, "known", verified("invited@example.org"), in_("invited"), in_("invited")),
        (here, "new", unverified("invited@example.org"), in_("invited-2"), Err(EmailUnverified)),
        (here, "new", verified("stopped@example.org"), Err(Disabled), Err(Disabled)),
        (here, "new", unverified("stopped@example.org"), in_("stopped-2"), Err(EmailUnverified)),
        // That of somebody who signs in otherwise: by a password, by another subject, at another provider.
        (here, "new", verified("local@example.org"), Err(EmailInUse), Err(EmailInUse)),
        (here, "new", unverified("local@example.org"), in_("local-2"), Err(EmailUnverified)),
        (here, "new", verified("known@example.org"), Err(EmailInUse), Err(EmailInUse)),
        (there, "known", verified("known@example.org"), Err(EmailInUse), Err(EmailInUse)),
        (there, "barred", verified("barred@example.org"), Err(EmailInUse), Err(EmailInUse)),
        // A username that looks like it is no address.
        (here, "new", verified("named@example.org"), Err(EmailInUse), Err(EmailInUse)),
        (here, "new", unverified("named@example.org"), in_("named"), Err(EmailUnverified)),
        // Nor is an address that only looks like the invited one: KELVIN SIGN, a wide letter.
        (here, "new", verified("in\u{ff56}ited@example.org"), Err(EmailInUse), Err(EmailInUse)),
        (here, "new", verified("invited@ex\u{ff41}mple.org"), Err(EmailInUse), Err(EmailInUse)),
        (here, "new", verified("mi\u{212a}e@example.org"), Err(EmailInUse), Err(EmailInUse)),
        (here, "new", verified("MIKE@example.org"), in_("mike"), in_("mike")),
        // Nobody's, or none.
        (here, "new", verified("new@example.org"), in_("new"), Err(SignUpNotAllowed)),
        (here, "new", unverified("new@example.org"), in_("new"), Err(SignUpNotAllowed)),
        (here, "new", none(), in_("new"), Err(SignUpNotAllowed)),
        (there, "known", none(), in_("known-2"), Err(SignUpNotAllowed)),
    ];
    for (issuer, subject, email, open, closed) in table {
        for (sign_up, expected) in [(SignUp::Allowed, open), (SignUp::InvitedOnly, closed)] {
            let row = format!("{issuer} {subject} {email:?} {sign_up:?}");
            let world = everybody().await;
            let people = world.accounts.list(&world.by).await.unwrap().len();
            let assertion = ProviderAssertion { email: email.clone(), ..asserted(issuer, subject) };
            let outcome = sign_in(&world, &assertion, sign_up).await;
            let made = world.accounts.list(&world.by).await.unwrap().len() - people;
            match (outcome, expected) {
                (Ok(signed_in), Ok(name)) => {
                    assert_eq!(signed_in.user.username, name, "{row}");
                    let principal = principal(&world, &signed_in).await.unwrap();
                    assert_eq!(principal.source, IdentitySource::Provider("sso".to_owned()), "{row}");
                    let is_new = name.ends_with("-2") || ["new", "named"].contains(&name);
                    assert_eq!(made, usize::from(is_new), "{row}");
                    let address = principal.email.is_some_and(|own| email.any() == Some(own.as_str()));
                    let unvouched = email.verified().is_none() && made == 1;
                    assert!(!(address && unvouched), "{row}: an unverified address is nobody's");
                }
                (Err(IdentityError::Refused(refusal)), Err(expected)) => {
                    assert_eq!((refusal, made), (expected, 0), "{row}");
                    let row_of_it = &rows(&world, Event::Login).await[0];
                    assert!(
                        !row_of_it.success && row_of_it.detail.contains(refusal.reason().as_str()),
                        "{row}"
                    );
                }
                (outcome, expected) => panic!("{row}: {expected:?} was expected, and it was {outcome:?}"),
            }
        }
    }
}

#[tokio::test]
async fn an_address_that_is_not_verified_tells_nothing_of_who_has_it() {
    for email in ["invited", "stopped", "local", "known", "barred", "named", "nobody"] {
        let email = unverified(&format!("{email}@example.org"));
        let world = everybody().await;
        let named = |username: &str| ProviderAssertion {
            email: email.clone(),
            username: Some(username.to_owned()),
            ..asserted(ISSUER, username)
        };
        let Err(IdentityError::Refused(refusal)) = sign_in(&world, &named("x"), SignUp::InvitedOnly).await
        else {
            panic!("{email:?}: let in")
        };
        assert_eq!(refusal.told(), IdentityRefusal::SignUpNotAllowed, "{email:?}");
        let user = sign_in(&world, &named("y"), SignUp::Allowed).await.unwrap().user;
        assert_eq!((user.username.as_str(), user.email, user.role), ("y", None, Role::Viewer), "{email:?}");
    }
}

#[tokio::test]
async fn a_stopped_user_stays_stopped_and_is_named_in_the_trail_alone() {
    let world = everybody().await;
    let error = sign_in(&world, &asserted(ISSUER, "barred"), SignUp::InvitedOnly).await.unwrap_err();
    let IdentityError::Refused(refusal) = error else { panic!("{error}") };
    assert_eq!(refusal.told(), IdentityRefusal::SignUpNotAllowed, "as for somebody unknown");
    let user = world.accounts.find(&world.by, "barred").await.unwrap().unwrap();
    assert!(user.disabled);
    let row = &rows(&world, Event::Login).await[0];
    assert_eq!(row.target.as_ref().unwrap().name.as_deref(), Some("barred"));
    world.accounts.enable(&world.by, &user.id).await.unwrap();
    assert!(sign_in(&world, &asserted(ISSUER, "barred"), SignUp::InvitedOnly).await.is_ok());
}

#[tokio::test]
async fn a_new_user_never_has_the_name_or_address_of_another() {
    let world = everybody().await;
    let root = world.accounts.find(&world.by, "root").await.unwrap().unwrap();
    for (number, name) in ["root", "ROOT", "root@evil.example", "local@example.org"].into_iter().enumerate() {
        let assertion = ProviderAssertion {
            username: Some(name.to_owned()),
            ..asserted("https://evil.example", &number.to_string())
        };
        let user = sign_in(&world, &assertion, SignUp::Allowed).await.unwrap().user;
        assert!(user.id != root.id && user.role == Role::Viewer && !user.username.contains('@'), "{user:?}");
    }
    assert_eq!(world.accounts.find(&world.by, "root").await.unwrap().unwrap(), root);
}

#[tokio::test]
async fn what_cannot_be_stored_is_left_out_and_too_much_is_refused() {
    let world = everybody().await;
    let odd = ProviderAssertion {
        email: verified("no address"),
        display_name: Some("\u{7}".to_owned()),
        groups: Some(["b", "a,b", "", "a", "b", "a\0"].map(str::to_owned).to_vec()),
        ..asserted(ISSUER, "odd")
    };
    let user = sign_in(&world, &odd, SignUp::Allowed).await.unwrap().user;
    assert_eq!(
        (user.groups, user.email, user.display_name),
        (vec!["a".to_owned(), "b".to_owned()], None, None)
    );
    let many = |count: usize| ProviderAssertion {
        groups: Some((0..count).map(|number| format!("g{number}")).collect()),
        ..asserted(ISSUER, "many")
    };
    let refused = sign_in(&world, &many(MOST_GROUPS + 1), SignUp::Allowed).await;
    assert!(matches!(refused, Err(IdentityError::Refused(IdentityRefusal::TooManyGroups))), "{refused:?}");
    assert_eq!(
        sign_in(&world, &many(MOST_GROUPS), SignUp::Allowed).await.unwrap().user.groups.len(),
        MOST_GROUPS
    );
    let machine = ProviderAssertion { role: RoleDecision::Set(Role::Agent), ..asserted(ISSUER, "machine") };
    assert!(sign_in(&world, &machine, SignUp::Allowed).await.is_err(), "no person is an agent");
}

#[tokio::test]
async fn a_temporary_password_need_not_be_changed_where_none_was_shown() {
    let world = everybody().await;
    let local = world.accounts.find(&world.by, "local").await.unwrap().unwrap();
    let session = world.sign_in("local", PASSWORD, "192.0.2.1", None).await.unwrap().session;
    let proof = world.identities.recently_signed_in(&session.id).await.unwrap().unwrap();
    let own = asserted(ISSUER, "local");
    world.identities.link(world.by.actor(), &session.id, &proof, own.clone()).await.unwrap();
    let temporary = world.accounts.reset_password(&world.by, &local.id).await.unwrap();
    let by_identity = sign_in(&world, &own, SignUp::InvitedOnly).await.unwrap();
    assert!(!principal(&world, &by_identity).await.unwrap().must_change_password);
    let by_password = world.sign_in("local", temporary.expose(), "192.0.2.1", None).await.unwrap();
    let by_password = principal(&world, &by_password).await.unwrap();
    assert_eq!((by_password.must_change_password, by_password.source), (true, IdentitySource::Local));
}

#[tokio::test]
async fn an_identity_is_linked_only_by_whoever_has_just_shown_who_they_are() {
    let world = everybody().await;
    let by = world.by.actor();
    let session = world.sign_in("local", PASSWORD, "192.0.2.1", None).await.unwrap().session;
    let other = world.sign_in("local", PASSWORD, "192.0.2.1", None).await.unwrap().session;
    world.clock.advance(FRESH);
    assert_eq!(world.identities.recently_signed_in(&session.id).await.unwrap(), None, "it is too long ago");
    let asked = Reauthentication {
        user: &session.user_id,
        session: &session.id,
        client: "192.0.2.1".parse().unwrap(),
    };
    let wrong = world.identities.reauthenticate(by, asked, Secret::new("wrong")).await;
    assert!(matches!(wrong, Err(ServiceError::Refused)), "{wrong:?}");
    let proof = world.identities.reauthenticate(by, asked, Secret::new(PASSWORD)).await.unwrap();

    let link = async |session: &str, subject: &str| {
        world.identities.link(by, session, &proof, asserted(ISSUER, subject)).await
    };
    let elsewhere = link(&other.id, "mine").await;
    assert!(matches!(elsewhere, Err(IdentityError::Failed(ServiceError::Refused))), "{elsewhere:?}");
    let others = link(&session.id, "known").await;
    assert!(matches!(others, Err(IdentityError::Refused(IdentityRefusal::IdentityInUse))), "{others:?}");
    let refused = &rows(&world, Event::IdentityLink).await[0];
    assert!(!refused.success && refused.detail.contains("identity-in-use"));
    link(&session.id, "mine").await.unwrap();
    let signed_in = sign_in(&world, &asserted(ISSUER, "mine"), SignUp::InvitedOnly).await.unwrap();
    assert_eq!(signed_in.user.username, "local");
    world.sessions.end(&world.by, &session.id).await.unwrap();
    assert!(link(&session.id, "more").await.is_err(), "the session has ended");

    let new = world.sign_in("local", PASSWORD, "192.0.2.1", None).await.unwrap().session;
    assert!(world.identities.recently_signed_in(&new.id).await.unwrap().is_some());
    world.clock.set_back(Duration::from_mins(2));
    assert_eq!(world.identities.recently_signed_in(&new.id).await.unwrap(), None, "it is still to come");
}

#[tokio::test]
async fn whoever_signs_in_all_the_time_is_slowed_down_and_a_device_is_known_again() {
    let world = everybody().await;
    let by = Actor::stranger("192.0.2.1".parse().unwrap(), "r1");
    let known = asserted(ISSUER, "known");
    let first = sign_in(&world, &known, SignUp::InvitedOnly).await.unwrap();
    let device = first.device.expose();
    let again =
        world.identities.sign_in(&by, known.clone(), None, SignUp::InvitedOnly, browser(Some(device))).await;
    assert_eq!(again.unwrap().device.expose(), device);
    let others = world.sign_in("local", PASSWORD, "192.0.2.1", None).await.unwrap().device;
    let other = world.identities.sign_in(
        &by,
        known.clone(),
        None,
        SignUp::InvitedOnly,
        browser(Some(others.expose())),
    );
    assert_ne!(other.await.unwrap().device.expose(), others.expose(), "another's device");
    let refused = loop {
        if let Err(error) = sign_in(&world, &known, SignUp::InvitedOnly).await {
            break error;
        }
    };
    assert!(matches!(refused, IdentityError::Failed(ServiceError::Throttled { .. })), "{refused:?}");
    let row = &rows(&world, Event::Login).await[0];
    assert!(!row.success && row.detail.contains("throttled"), "{}", row.detail);
}

#[tokio::test]
async fn sessions_of_a_provider_that_is_gone_end_and_no_others() {
    let world = everybody().await;
    let kept = sign_in(&world, &asserted(ISSUER, "known"), SignUp::InvitedOnly).await.unwrap();
    let gone = ProviderAssertion { provider: "gone".to_owned(), ..asserted(ISSUER, "known") };
    let gone = sign_in(&world, &gone, SignUp::InvitedOnly).await.unwrap();
    let local = world.sign_in("local", PASSWORD, "192.0.2.1", None).await.unwrap();
    let with = |names: &[&str]| {
        let names = names.iter().map(|&name| name.to_owned()).collect();
        world.sessions.under(ServiceFixture::session_config(), names)
    };
    assert_eq!(with(&["gone", "sso"]).end_sessions_of_removed_providers().await.unwrap(), 0);
    assert!(principal(&world, &gone).await.is_some());
    assert_eq!(with(&["sso"]).end_sessions_of_removed_providers().await.unwrap(), 1);
    assert!(principal(&world, &gone).await.is_none());
    for signed_in in [&kept, &local] {
        assert!(principal(&world, signed_in).await.is_some());
    }
    with(&[]).purge().await.unwrap();
    assert!(principal(&world, &kept).await.is_none() && principal(&world, &local).await.is_some());
}

#[tokio::test]
async fn an_identity_that_was_unlinked_lets_nobody_in() {
    let world = everybody().await;
    let known = asserted(ISSUER, "known");
    let signed_in = sign_in(&world, &known, SignUp::InvitedOnly).await.unwrap();
    let id = &signed_in.user.id;
    let other = IdentityKey::new(ISSUER, "barred").unwrap();
    let missing = world.accounts.unlink(&world.by, id, &other).await;
    assert!(matches!(missing, Err(ServiceError::NotFound { what: "identity" })), "{missing:?}");
    assert!(principal(&world, &signed_in).await.is_some());
    world.accounts.unlink(&world.by, id, &known.key).await.unwrap();
    assert!(principal(&world, &signed_in).await.is_none());
    let refused = sign_in(&world, &known, SignUp::InvitedOnly).await;
    assert!(matches!(refused, Err(IdentityError::Refused(IdentityRefusal::SignUpNotAllowed))), "{refused:?}");
    let moved =
        ProviderAssertion { email: verified("known@example.org"), ..asserted("https://other.example", "k") };
    let moved = sign_in(&world, &moved, SignUp::InvitedOnly).await.unwrap();
    assert_eq!(&moved.user.id, id, "who has nothing left counts as invited");
}
