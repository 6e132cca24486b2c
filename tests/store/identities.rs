//! Identities: whose they are, what a sign-in by one changes, and what ends with them.

use doorward::model::audit::{Actor, AuditRow};
use doorward::model::identity::{
    AssertedEmail, IdentityKey, IdentityRefusal, ProviderAssertion, RoleDecision,
};
use doorward::model::session::ProviderSession;
use doorward::store::{
    AuditFilter, IdentityMatch, IdentitySignIn, MustLeave, Resolution, SignInOutcome, Unapplied, Unlinked,
};

use super::*;

on_each_database![
    who_is_found_is_the_owner_or_has_the_address_or_is_nobody,
    a_new_user_gets_the_first_name_that_is_free_and_no_address_for_one,
    of_many_first_sign_ins_at_once_one_makes_the_user,
    an_invited_user_is_linked_once,
    role_and_groups_follow_the_provider_and_sessions_end_with_the_role,
    a_sign_in_that_changes_nothing_raises_nothing_and_leaves_no_row,
    the_last_admin_keeps_the_role_and_the_trail_says_so,
    an_address_follows_the_provider_while_it_is_the_providers_and_free,
    an_issuer_knows_people_by_one_claim_only,
    a_session_says_by_which_provider_and_so_do_those_from_it,
    a_session_is_opened_only_while_the_identity_is_the_users,
    an_identity_is_linked_to_whoever_holds_the_session_and_to_one_user,
    an_unlinked_identity_takes_its_sessions_along,
    the_last_way_in_stays_where_one_must,
    the_only_way_in_of_the_only_admin_stays,
    an_admin_with_an_identity_can_sign_in,
    a_deleted_user_takes_identities_along,
    sessions_of_a_provider_end_and_those_of_others_stay,
    a_sign_in_is_used_once_and_its_mark_goes_when_it_is_of_no_use,
    of_many_who_use_a_sign_in_at_once_one_does,
];

const ISSUER: &str = "https://idp.example";

pub(super) fn key(subject: &str) -> IdentityKey {
    IdentityKey::new(ISSUER, subject).unwrap()
}

/// What the provider `sso` says of somebody of whom it says no more.
pub(super) fn asserted(subject: &str) -> ProviderAssertion {
    ProviderAssertion {
        provider: "sso".to_owned(),
        key: key(subject),
        subject_claim: "sub".to_owned(),
        email: AssertedEmail::None,
        username: None,
        display_name: None,
        groups: None,
        role: RoleDecision::Keep { new: Role::Viewer },
    }
}

fn verified(subject: &str, email: &str) -> ProviderAssertion {
    ProviderAssertion { email: AssertedEmail::Verified(email.to_owned()), ..asserted(subject) }
}

/// Whom `assertion` makes, called `name`.
fn new_user(assertion: &ProviderAssertion, name: &str) -> User {
    User {
        email: assertion.email.verified().map(str::to_owned),
        groups: assertion.groups.clone().unwrap_or_default(),
        ..user(name, assertion.role.of_new_user())
    }
}

/// Lets in whoever is known, links whoever has the address, and makes whoever is not there.
pub(super) async fn enter(store: &Store, assertion: &ProviderAssertion, names: &[&str]) -> IdentitySignIn {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let user = Box::new(new_user(assertion, ""));
    let all = |found| {
        Ok(match found {
            IdentityMatch::Owner(user) => Resolution::Enter(user),
            IdentityMatch::SameEmail(user) => Resolution::Link(user),
            IdentityMatch::Unknown => Resolution::Create { user, names },
        })
    };
    store.sign_in_identity(assertion, NOW, all).await.unwrap().unwrap()
}

async fn found(store: &Store, assertion: &ProviderAssertion) -> IdentityMatch {
    let mut seen = None;
    let look = |found| {
        seen = Some(found);
        Err(IdentityRefusal::SignUpNotAllowed)
    };
    let refused = store.sign_in_identity(assertion, NOW, look).await.unwrap();
    assert_eq!(refused, Err(IdentityRefusal::SignUpNotAllowed));
    seen.unwrap()
}

/// Opens a session by an identity; whether it could be.
pub(super) async fn opened_by(store: &Store, of: &User, id: &str, subject: &str, provider: &str) -> bool {
    let vouched = ProviderSession { provider: provider.to_owned(), key: key(subject) };
    let session = Session { provider: Some(vouched), ..session(of, id, NOW) };
    store.add_session(&session, TokenDigest::of(id), 10, Event::Login).await.unwrap().is_some()
}

async fn rows(store: &Store, event: Event) -> Vec<AuditRow> {
    let filter = AuditFilter { event: Some(event.as_str()), ..AuditFilter::default() };
    store.audit_recent(&filter, 100).await.unwrap()
}

/// How many rows there are, and how often a right was lost.
async fn state(store: &Store) -> (usize, i64) {
    let all = store.audit_recent(&AuditFilter::default(), 1000).await.unwrap();
    (all.len(), store.revision().await.unwrap())
}

async fn who_is_found_is_the_owner_or_has_the_address_or_is_nobody(store: &Store) {
    let mut invited = user("zoë", Role::Member);
    invited.email = Some("Zoe@example.org".to_owned());
    store.create_user(&invited, None).await.unwrap();
    let known = enter(store, &asserted("1"), &["known"]).await.user;
    let unverified =
        ProviderAssertion { email: AssertedEmail::Unverified("zoe@example.org".to_owned()), ..asserted("2") };
    for (assertion, expected) in [
        (asserted("1"), IdentityMatch::Owner(known.clone())),
        (verified("1", "zoe@example.org"), IdentityMatch::Owner(known)),
        (verified("2", "ZOE@example.org"), IdentityMatch::SameEmail(invited.clone())),
        (unverified, IdentityMatch::SameEmail(invited)),
        (verified("2", "other@example.org"), IdentityMatch::Unknown),
        (asserted("2"), IdentityMatch::Unknown),
    ] {
        assert_eq!(found(store, &assertion).await, expected, "{assertion:?}");
    }
    let elsewhere =
        ProviderAssertion { key: IdentityKey::new("https://idp.example/", "1").unwrap(), ..asserted("1") };
    assert_eq!(found(store, &elsewhere).await, IdentityMatch::Unknown, "the same subject of another issuer");
}

async fn a_new_user_gets_the_first_name_that_is_free_and_no_address_for_one(store: &Store) {
    added(store, "Admin", Role::Admin).await;
    let mut other = user("other", Role::Member);
    other.email = Some("admin-2".to_owned() + "@example.org");
    store.create_user(&other, None).await.unwrap();
    let names = ["admin", "admin-2@example.org", "admin-3", "admin-4"];
    let assertion =
        ProviderAssertion { groups: Some(vec!["dev".to_owned(), "ops".to_owned()]), ..asserted("1") };
    let entered = enter(store, &assertion, &names).await;
    assert_eq!((entered.outcome, entered.user.username.as_str()), (SignInOutcome::Created, "admin-3"));
    assert_eq!((entered.user.role, entered.user.groups.len()), (Role::Viewer, 2));
    assert!(entered.user.has_identity && !entered.user.has_password);
    let made = &rows(store, Event::UserCreate).await[0];
    assert_eq!(made.actor.id, format!("user:{}", entered.user.id));
    for said in ["\"cause\":\"provider\"", "\"provider\":\"sso\"", ISSUER, "\"subject\":\"1\""] {
        assert!(made.detail.contains(said), "{}", made.detail);
    }
    let identity = &store.identities_of(&entered.user.id).await.unwrap()[0];
    assert_eq!((&identity.key, identity.provider.as_str()), (&key("1"), "sso"));

    let user = Box::new(new_user(&asserted("2"), ""));
    let names = vec!["ADMIN".to_owned(), "admin-3".to_owned()];
    let create = |_| Ok(Resolution::Create { user, names });
    let none = store.sign_in_identity(&asserted("2"), NOW, create).await;
    assert!(matches!(none, Err(StoreError::Conflict("username"))), "{none:?}");
    assert_eq!(found(store, &asserted("2")).await, IdentityMatch::Unknown, "nothing was done");
}

async fn of_many_first_sign_ins_at_once_one_makes_the_user(store: &Store) {
    let outcomes = (0..8).map(|number| {
        let store = store.clone();
        let other = format!("a{number}");
        async move { enter(&store, &verified("1", "a@example.org"), &["a", &other]).await }
    });
    let entered = futures_util::future::join_all(outcomes).await;
    let made = entered.iter().filter(|entered| entered.outcome == SignInOutcome::Created).count();
    let ids: std::collections::BTreeSet<_> = entered.iter().map(|entered| &entered.user.id).collect();
    assert_eq!((made, ids.len(), store.users_page(None).await.unwrap().len()), (1, 1, 1));
    assert_eq!(entered[0].user.username, "a");
}

async fn an_invited_user_is_linked_once(store: &Store) {
    let mut invited = user("zoe", Role::Member);
    invited.email = Some("zoe@example.org".to_owned());
    store.create_user(&invited, None).await.unwrap();
    let linked = enter(store, &verified("1", "zoe@example.org"), &[]).await;
    assert_eq!((linked.outcome, &linked.user.id), (SignInOutcome::Linked, &invited.id));
    assert!(linked.user.has_identity && !linked.changed);
    assert_eq!(enter(store, &verified("1", "zoe@example.org"), &[]).await.outcome, SignInOutcome::Existing);
    let row = &rows(store, Event::IdentityLink).await[0];
    assert!(row.detail.contains("\"cause\":\"invited\"") && row.actor.id == format!("user:{}", invited.id));
}

async fn role_and_groups_follow_the_provider_and_sessions_end_with_the_role(store: &Store) {
    store.create_user(&user("root", Role::Admin), Some("$hash")).await.unwrap();
    let groups = |names: &[&str]| Some(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>());
    let first = ProviderAssertion {
        role: RoleDecision::Set(Role::Admin),
        groups: groups(&["a", "b"]),
        ..asserted("1")
    };
    let user = enter(store, &first, &["zoe"]).await.user;
    assert!(opened_by(store, &user, "s", "1", "sso").await);

    let (_, revision) = state(store).await;
    let others = ProviderAssertion { groups: groups(&["b", "c"]), ..first.clone() };
    let entered = enter(store, &others, &[]).await;
    assert_eq!(entered.user.groups, ["b", "c"]);
    assert!(entered.changed && is_signed_in(store, "s").await, "groups end no session");
    assert!(store.revision().await.unwrap() > revision, "and are looked up again");
    let row = &rows(store, Event::UserGroup).await[0];
    assert!(
        row.detail.contains("\"added\":[\"c\"]") && row.detail.contains("\"removed\":[\"a\"]"),
        "{}",
        row.detail
    );

    let silent =
        ProviderAssertion { groups: None, role: RoleDecision::Keep { new: Role::Viewer }, ..first.clone() };
    let entered = enter(store, &silent, &[]).await;
    assert_eq!((entered.user.role, entered.user.groups.len(), entered.changed), (Role::Admin, 2, false));

    let less = ProviderAssertion { role: RoleDecision::Set(Role::Viewer), ..others };
    let entered = enter(store, &less, &[]).await;
    assert_eq!((entered.user.role, entered.changed), (Role::Viewer, true));
    assert!(!is_signed_in(store, "s").await, "another role ends sessions");
    let row = &rows(store, Event::UserRole).await[0];
    assert!(row.detail.contains("\"from\":\"admin\"") && row.detail.contains("\"cause\":\"provider\""));
    let none = ProviderAssertion { groups: groups(&[]), ..less };
    assert_eq!(enter(store, &none, &[]).await.user.groups, Vec::<String>::new(), "no groups are none");
}

async fn a_sign_in_that_changes_nothing_raises_nothing_and_leaves_no_row(store: &Store) {
    let same = ProviderAssertion {
        role: RoleDecision::Set(Role::Member),
        groups: Some(vec!["ops".to_owned()]),
        ..verified("1", "zoe@example.org")
    };
    let first = enter(store, &same, &["zoe"]).await.user;
    let before = state(store).await;
    let again = enter(store, &same, &["other"]).await;
    assert_eq!((again.user, again.outcome, again.changed), (first, SignInOutcome::Existing, false));
    assert_eq!(state(store).await, before);
}

async fn the_last_admin_keeps_the_role_and_the_trail_says_so(store: &Store) {
    let set = |role| ProviderAssertion { role: RoleDecision::Set(role), ..asserted("1") };
    let admin = enter(store, &set(Role::Admin), &["zoe"]).await.user;
    added(store, "cannot-sign-in", Role::Admin).await;
    let kept = enter(store, &set(Role::Viewer), &[]).await;
    assert_eq!(
        (kept.user.role, kept.unapplied, kept.changed),
        (Role::Admin, vec![Unapplied::LastAdmin], false)
    );
    let row = &rows(store, Event::UserRole).await[0];
    assert!(!row.success && row.detail.contains("last-admin"), "{}", row.detail);

    store.create_user(&user("other", Role::Admin), Some("$hash")).await.unwrap();
    let entered = enter(store, &set(Role::Viewer), &[]).await;
    assert_eq!((entered.user.id, entered.user.role, entered.unapplied), (admin.id, Role::Viewer, vec![]));
}

async fn an_address_follows_the_provider_while_it_is_the_providers_and_free(store: &Store) {
    let mut other = user("other", Role::Member);
    other.email = Some("taken@example.org".to_owned());
    store.create_user(&other, None).await.unwrap();
    enter(store, &verified("1", "old@example.org"), &["zoe"]).await;

    let kept = enter(store, &verified("1", "Taken@example.org"), &[]).await;
    assert_eq!(
        (kept.user.email.as_deref(), kept.unapplied),
        (Some("old@example.org"), vec![Unapplied::Email])
    );
    let row = &rows(store, Event::UserEmail).await[0];
    assert!(
        !row.success && row.detail.contains("email-in-use") && !row.detail.contains("taken@"),
        "{}",
        row.detail
    );
    let unverified =
        ProviderAssertion { email: AssertedEmail::Unverified("x@example.org".to_owned()), ..asserted("1") };
    for silent in [asserted("1"), unverified] {
        assert_eq!(enter(store, &silent, &[]).await.user.email.as_deref(), Some("old@example.org"));
    }

    let moved = enter(store, &verified("1", "new@example.org"), &[]).await;
    assert_eq!((moved.user.email.as_deref(), moved.changed), (Some("new@example.org"), true));
    assert_eq!(store.find_user_by_login("old@example.org").await.unwrap(), None);
    assert_eq!(store.find_user_by_login("NEW@example.org").await.unwrap().unwrap().0.id, moved.user.id);

    // Of a user who has linked the identity, the address is the user's own.
    let mut local = user("local", Role::Member);
    local.email = Some("local@example.org".to_owned());
    store.create_user(&local, Some("$hash")).await.unwrap();
    signed_in(store, &local, "s").await;
    let linked = store.link_identity("s", &local.id, &verified("2", "p@example.org"), 3, NOW).await;
    assert_eq!(linked.unwrap(), Ok(Changed::Done));
    for email in ["p@example.org", "q@example.org"] {
        let entered = enter(store, &verified("2", email), &[]).await;
        assert_eq!(entered.user.email.as_deref(), Some("local@example.org"), "{email}");
        assert_eq!(store.identities_of(&local.id).await.unwrap()[0].email.as_deref(), Some(email));
    }
    // Nor is it the provider's because it looks like what the provider named: KELVIN SIGN.
    let mut mike = user("mike", Role::Member);
    mike.email = Some("mi\u{212a}e@example.org".to_owned());
    store.create_user(&mike, Some("$hash")).await.unwrap();
    signed_in(store, &mike, "t").await;
    let linked = store.link_identity("t", &mike.id, &verified("3", "mike@example.org"), 3, NOW).await;
    assert_eq!(linked.unwrap(), Ok(Changed::Done));
    let entered = enter(store, &verified("3", "mike@other.example"), &[]).await;
    assert_eq!(entered.user.email, mike.email);
}

async fn an_issuer_knows_people_by_one_claim_only(store: &Store) {
    enter(store, &asserted("1"), &["zoe"]).await;
    for claim in ["oid", "upn"] {
        let other = ProviderAssertion { subject_claim: claim.to_owned(), ..asserted("object 1") };
        let refused = store.sign_in_identity(&other, NOW, |_| panic!("it is not asked")).await.unwrap();
        assert_eq!(refused, Err(IdentityRefusal::SubjectClaimChanged), "{claim}");
    }
    assert_eq!(enter(store, &asserted("2"), &["bob"]).await.outcome, SignInOutcome::Created);
    let elsewhere = ProviderAssertion {
        subject_claim: "oid".to_owned(),
        key: IdentityKey::new("https://other.example", "1").unwrap(),
        ..asserted("1")
    };
    assert_eq!(enter(store, &elsewhere, &["carol"]).await.outcome, SignInOutcome::Created);
}

async fn a_session_says_by_which_provider_and_so_do_those_from_it(store: &Store) {
    let zoe = enter(store, &asserted("1"), &["zoe"]).await.user;
    assert!(opened_by(store, &zoe, "s", "1", "sso").await);
    let child = Session {
        parent_id: Some("s".to_owned()),
        host: Some("app.example".to_owned()),
        ..session(&zoe, "child", NOW)
    };
    store.add_session(&child, TokenDigest::of("child"), 10, Event::SessionOpen).await.unwrap().unwrap();
    signed_in(store, &zoe, "by-password").await;
    let vouched = Some(ProviderSession { provider: "sso".to_owned(), key: key("1") });
    for (id, expected) in [("s", &vouched), ("child", &vouched), ("by-password", &None)] {
        let (by_id, _) = store.session_by_id(id).await.unwrap().unwrap();
        let (by_digest, _) = store.find_session(TokenDigest::of(id)).await.unwrap().unwrap();
        assert_eq!((&by_id.provider, &by_digest.provider), (expected, expected), "{id}");
    }
    let all = store.sessions_of(&zoe.id).await.unwrap();
    let paged = store.sessions_page(None).await.unwrap();
    let by_provider = |all: &[(Session, String)]| all.iter().filter(|(it, _)| it.provider.is_some()).count();
    assert_eq!((by_provider(&all), by_provider(&paged), all.len()), (2, 2, 3));
    let opened = rows(store, Event::Login).await;
    assert!(opened.iter().any(|row| row.detail.contains("\"provider\":\"sso\"")));
}

async fn a_session_is_opened_only_while_the_identity_is_the_users(store: &Store) {
    added(store, "root", Role::Admin).await;
    let zoe = enter(store, &asserted("1"), &["zoe"]).await.user;
    let bob = enter(store, &asserted("2"), &["bob"]).await.user;
    assert!(!opened_by(store, &zoe, "s", "2", "sso").await, "it is bob's");
    assert!(!opened_by(store, &zoe, "s", "3", "sso").await, "it is nobody's");
    assert!(!is_signed_in(store, "s").await, "nothing was done");
    assert!(opened_by(store, &bob, "b", "2", "sso").await);
    store.unlink_identity(&zoe.id, &key("1"), MustLeave::Nothing).await.unwrap();
    assert!(!opened_by(store, &zoe, "s", "1", "sso").await, "it is zoe's no more");
}

async fn an_identity_is_linked_to_whoever_holds_the_session_and_to_one_user(store: &Store) {
    let (zoe, bob) = (added(store, "zoe", Role::Member).await, added(store, "bob", Role::Member).await);
    signed_in(store, &zoe, "z").await;
    signed_in(store, &bob, "b").await;
    let link = async |session: &str, of: &User, subject: &str| {
        store.link_identity(session, &of.id, &asserted(subject), 2, NOW).await.unwrap()
    };
    assert_eq!(link("gone", &zoe, "1").await, Ok(Changed::NotFound));
    assert_eq!(link("b", &zoe, "1").await, Ok(Changed::NotFound), "another's session");
    assert_eq!(link("z", &zoe, "1").await, Ok(Changed::Done));
    assert_eq!(link("z", &zoe, "1").await, Ok(Changed::Already));
    assert_eq!(link("b", &bob, "1").await, Err(IdentityRefusal::IdentityInUse));
    assert_eq!(store.owner_of_identity(&key("1")).await.unwrap().unwrap().id, zoe.id);
    assert_eq!(link("z", &zoe, "2").await, Ok(Changed::Done));
    assert_eq!(link("z", &zoe, "3").await, Err(IdentityRefusal::TooManyIdentities));
    let claim = ProviderAssertion { subject_claim: "oid".to_owned(), ..asserted("4") };
    let other = store.link_identity("b", &bob.id, &claim, 2, NOW).await.unwrap();
    assert_eq!(other, Err(IdentityRefusal::SubjectClaimChanged));
    store.set_disabled(&bob.id, true).await.unwrap();
    assert_eq!(link("b", &bob, "5").await, Ok(Changed::NotFound));
    let linked = rows(store, Event::IdentityLink).await;
    assert_eq!(linked.len(), 2);
    assert!(linked[0].detail.contains("\"cause\":\"asked\""), "{}", linked[0].detail);
}

async fn an_unlinked_identity_takes_its_sessions_along(store: &Store) {
    added(store, "root", Role::Admin).await;
    let zoe = enter(store, &asserted("1"), &["zoe"]).await.user;
    assert!(opened_by(store, &zoe, "by-identity", "1", "sso").await);
    let child = Session {
        parent_id: Some("by-identity".to_owned()),
        host: Some("app.example".to_owned()),
        ..session(&zoe, "child", NOW)
    };
    store.add_session(&child, TokenDigest::of("child"), 10, Event::SessionOpen).await.unwrap().unwrap();
    signed_in(store, &zoe, "by-password").await;
    let bob = enter(store, &asserted("2"), &["bob"]).await.user;
    assert!(opened_by(store, &bob, "bobs", "2", "sso").await);

    assert_eq!(
        store.unlink_identity(&zoe.id, &key("2"), MustLeave::Nothing).await.unwrap(),
        Unlinked::NotFound,
        "it is bob's"
    );
    assert_eq!(
        store.unlink_identity(&UserId::fresh(), &key("1"), MustLeave::Nothing).await.unwrap(),
        Unlinked::NotFound
    );
    let before = store.revision().await.unwrap();
    assert_eq!(store.unlink_identity(&zoe.id, &key("1"), MustLeave::Nothing).await.unwrap(), Unlinked::Done);
    assert!(store.revision().await.unwrap() > before);
    for (id, stays) in [("by-identity", false), ("child", false), ("by-password", true), ("bobs", true)] {
        assert_eq!(is_signed_in(store, id).await, stays, "{id}");
    }
    assert!(store.identities_of(&zoe.id).await.unwrap().is_empty());
    assert!(!store.find_user(&zoe.id).await.unwrap().unwrap().can_sign_in());
    assert!(rows(store, Event::IdentityUnlink).await[0].detail.contains("\"sessions\":2"));
    assert_eq!(
        store.unlink_identity(&zoe.id, &key("1"), MustLeave::Nothing).await.unwrap(),
        Unlinked::NotFound
    );
}

async fn the_last_way_in_stays_where_one_must(store: &Store) {
    let providers = ["sso".to_owned()];
    let others = ["another".to_owned()];
    let way_in = |password| MustLeave::WayIn { providers: &providers, password };
    let elsewhere = MustLeave::WayIn { providers: &others, password: true };
    enter(store, &ProviderAssertion { role: RoleDecision::Set(Role::Admin), ..asserted("root") }, &["root"])
        .await;
    let zoe = enter(store, &asserted("1"), &["zoe"]).await.user;
    assert_eq!(store.unlink_identity(&zoe.id, &key("1"), way_in(true)).await.unwrap(), Unlinked::LastWayIn);
    assert!(store.owner_of_identity(&key("1")).await.unwrap().is_some(), "nothing was done");
    signed_in(store, &zoe, "z").await;
    let linked = store.link_identity("z", &zoe.id, &asserted("2"), 3, NOW).await.unwrap();
    assert_eq!(linked, Ok(Changed::Done));
    assert_eq!(store.unlink_identity(&zoe.id, &key("1"), elsewhere).await.unwrap(), Unlinked::LastWayIn);
    assert_eq!(store.unlink_identity(&zoe.id, &key("1"), way_in(false)).await.unwrap(), Unlinked::Done);
    assert_eq!(store.unlink_identity(&zoe.id, &key("2"), way_in(true)).await.unwrap(), Unlinked::LastWayIn);
    store.set_password(&zoe.id, "$argon2id$x", false, NOW).await.unwrap();
    assert_eq!(store.unlink_identity(&zoe.id, &key("2"), way_in(false)).await.unwrap(), Unlinked::LastWayIn);
    assert_eq!(store.unlink_identity(&zoe.id, &key("2"), way_in(true)).await.unwrap(), Unlinked::Done);
}

async fn the_only_way_in_of_the_only_admin_stays(store: &Store) {
    let admin =
        |subject: &str| ProviderAssertion { role: RoleDecision::Set(Role::Admin), ..asserted(subject) };
    let zoe = enter(store, &admin("1"), &["zoe"]).await.user;
    assert_eq!(
        store.unlink_identity(&zoe.id, &key("1"), MustLeave::Nothing).await.unwrap(),
        Unlinked::LastAdmin
    );
    assert!(store.owner_of_identity(&key("1")).await.unwrap().is_some(), "nothing was done");
    assert!(!rows(store, Event::IdentityUnlink).await[0].success);
    signed_in(store, &zoe, "z").await;
    let linked = store.link_identity("z", &zoe.id, &admin("2"), 3, NOW).await.unwrap();
    assert_eq!(linked, Ok(Changed::Done));
    assert_eq!(
        store.unlink_identity(&zoe.id, &key("1"), MustLeave::Nothing).await.unwrap(),
        Unlinked::Done,
        "there is another"
    );
    assert_eq!(
        store.unlink_identity(&zoe.id, &key("2"), MustLeave::Nothing).await.unwrap(),
        Unlinked::LastAdmin
    );
    enter(store, &admin("3"), &["bob"]).await;
    assert_eq!(
        store.unlink_identity(&zoe.id, &key("2"), MustLeave::Nothing).await.unwrap(),
        Unlinked::Done,
        "bob can"
    );
}

async fn an_admin_with_an_identity_can_sign_in(store: &Store) {
    let password = added(store, "password", Role::Admin).await;
    store.set_password(&password.id, "$hash", false, NOW).await.unwrap();
    assert_eq!(store.set_role(&password.id, Role::Viewer).await.unwrap(), Changed::LastAdmin);
    let admin = ProviderAssertion { role: RoleDecision::Set(Role::Admin), ..asserted("1") };
    let zoe = enter(store, &admin, &["zoe"]).await.user;
    assert_eq!(store.set_role(&password.id, Role::Viewer).await.unwrap(), Changed::Done, "zoe is one");
    assert!(store.is_administered().await.unwrap());
    assert_eq!(store.set_disabled(&zoe.id, true).await.unwrap(), Changed::LastAdmin);
    assert_eq!(store.delete_user(&zoe.id).await.unwrap(), Changed::LastAdmin);

    for (token, of) in [("first", None), ("own", Some(&zoe.id))] {
        store.put_setup_link(TokenDigest::of(token), of, NOW, later(60)).await.unwrap();
        assert_eq!(store.setup_link(TokenDigest::of(token), NOW).await.unwrap(), None, "{token}");
    }
}

async fn a_deleted_user_takes_identities_along(store: &Store) {
    added(store, "root", Role::Admin).await;
    let zoe = enter(store, &asserted("1"), &["zoe"]).await.user;
    assert!(opened_by(store, &zoe, "s", "1", "sso").await);
    store.delete_user(&zoe.id).await.unwrap();
    assert_eq!(found(store, &asserted("1")).await, IdentityMatch::Unknown);
    assert_eq!(store.next_provider_of_sessions("").await.unwrap(), None);
}

async fn sessions_of_a_provider_end_and_those_of_others_stay(store: &Store) {
    let by = store.by(&Actor::gateway());
    for number in 0..3 {
        let subject = number.to_string();
        let user = enter(store, &asserted(&subject), &[&format!("user{number}")]).await.user;
        for provider in ["gone", "sso"] {
            assert!(opened_by(store, &user, &format!("{provider}-{number}"), &subject, provider).await);
        }
        signed_in(store, &user, &format!("password-{number}")).await;
    }
    assert_eq!(store.next_provider_of_sessions("").await.unwrap().as_deref(), Some("gone"));
    assert_eq!(store.next_provider_of_sessions("gone").await.unwrap().as_deref(), Some("sso"));
    assert_eq!(store.next_provider_of_sessions("sso").await.unwrap(), None);
    let before = store.revision().await.unwrap();
    assert_eq!(by.end_sessions_of_provider("gone").await.unwrap().len(), 3);
    assert!(by.end_sessions_of_provider("gone").await.unwrap().is_empty());
    assert_eq!(store.revision().await.unwrap(), before + 3);
    for number in 0..3 {
        for (kind, stays) in [("gone", false), ("sso", true), ("password", true)] {
            assert_eq!(is_signed_in(store, &format!("{kind}-{number}")).await, stays, "{kind}");
        }
    }
    let ended = rows(store, Event::SessionRevoke).await;
    assert!(ended.len() == 3 && ended[0].detail.contains("provider-removed"), "{ended:?}");
}

async fn a_sign_in_is_used_once_and_its_mark_goes_when_it_is_of_no_use(store: &Store) {
    let digest = TokenDigest::of("state");
    assert!(store.use_sign_in(digest, NOW, later(60)).await.unwrap());
    assert!(!store.use_sign_in(digest, later(59), later(60)).await.unwrap());
    assert!(store.use_sign_in(TokenDigest::of("other"), NOW, later(90)).await.unwrap());
    assert_eq!(store.purge_used_sign_ins(later(59)).await.unwrap(), 0);
    assert_eq!(store.purge_used_sign_ins(later(60)).await.unwrap(), 1);
    assert!(store.use_sign_in(digest, later(89), later(99)).await.unwrap(), "it was forgotten");
    assert!(!store.use_sign_in(TokenDigest::of("other"), later(89), later(90)).await.unwrap());
    assert!(store.use_sign_in(TokenDigest::of("third"), later(90), later(99)).await.unwrap());
    assert_eq!(store.purge_used_sign_ins(later(90)).await.unwrap(), 0, "the next one forgets as well");
}

async fn of_many_who_use_a_sign_in_at_once_one_does(store: &Store) {
    let users = (0..8).map(|_| {
        let store = store.clone();
        async move { store.use_sign_in(TokenDigest::of("state"), NOW, later(60)).await.unwrap() }
    });
    assert_eq!(count(users).await, 1);
}
