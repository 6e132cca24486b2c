//! From a button to the application, and why not.

use doorward::model::role::Role;
use serde_json::json;

use super::World;
use crate::support::browser::Browser;
use crate::support::provider::{Fault, Request, person, with};

#[tokio::test(flavor = "multi_thread")]
async fn somebody_who_signs_in_there_has_a_session_here_and_is_where_they_wanted_to_be() {
    let world = World::with("").await;
    let mut browser = Browser::default();
    let asked = browser.get(&world.gateway, "/traces?x=1&y=%2F").await;
    assert_eq!(asked.status, 401, "without a session");
    let page = browser.get(&world.gateway, "/_doorward/login?rd=%2Ftraces%3Fx%3D1%26y%3D%252F").await;
    let text = page.text();
    assert!(text.contains("Sign in with The sso") && text.contains("name=\"password\""), "{text}");
    assert!(text.contains("href=\"/_doorward/sign-in/sso?rd=%2Ftraces%3Fx%3D1%26y%3D%252F\""), "{text}");

    let location = browser.begin(&world.gateway, "sso", "/traces?x=1&y=%2F").await;
    let request = Request::read(&location, &world.provider.url);
    assert_eq!(request.get("redirect_uri"), "http://localhost/_doorward/callback/sso");
    assert_eq!(request.get("client_id"), "doorward");
    let back = world.provider.approve(&location, &person("ann"));
    let answer = browser.get(&world.gateway, &back).await;
    assert_eq!(
        (answer.status, answer.header("location")),
        (303, Some("/traces?x=1&y=%2F")),
        "{}",
        answer.text()
    );
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
    assert!(!browser.holds("doorward-sign-in-"), "its state is gone");

    let seen = browser.get(&world.gateway, "/traces?x=1&y=%2F").await;
    assert_eq!(seen.status, 200);
    assert_eq!(world.upstream.last().header("x-auth-user"), Some("ann"));
    assert_eq!(browser.get(&world.gateway, "/admin").await.status, 403, "a new user is a viewer");
    let account = browser.get(&world.gateway, "/_doorward/account").await.text();
    assert!(account.contains("ann@example.org"), "{account}");
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_and_role_follow_the_claims_at_each_sign_in() {
    let claims = "[providers.claims]\ngroups = \"groups\"\nallowed_groups = [\"ops\", \"dev\"]\n\
                  role = \"contains(groups, 'ops') && 'admin' || 'viewer'\"";
    let world = World::with(claims).await;
    // The only admin could not become less.
    world.gateway.user("root", Role::Admin).await;
    let in_groups = |groups: &[&str]| with(&person("ann"), &json!({ "groups": groups }));
    let mut ops = world.signed_in(&in_groups(&["ops", "x y/z:@"])).await;
    for path in ["/ops", "/admin"] {
        assert_eq!(ops.get(&world.gateway, path).await.status, 200, "{path}");
    }
    let mut dev = world.signed_in(&in_groups(&["dev"])).await;
    for path in ["/ops", "/admin"] {
        assert_eq!(dev.get(&world.gateway, path).await.status, 403, "{path}");
        assert_eq!(ops.get(&world.gateway, path).await.status, 401, "{path}: another role ends sessions");
    }
    for (groups, said) in [
        (json!({ "groups": ["Ops", "operations", "op"] }), "none of the groups"),
        (json!({ "groups": [] }), "none of the groups"),
        (json!({}), "does not tell which groups"),
        (json!({ "_claim_names": { "groups": "src1" } }), "in so many groups"),
    ] {
        let (status, text) = world.refused(&with(&person("bob"), &groups)).await;
        assert_eq!(status, 403, "{text}");
        assert!(text.contains(said) && text.contains("Reference"), "{groups}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_provider_ends_is_told_in_plain_words_and_leads_nowhere_by_itself() {
    let world = World::with("").await;
    for (error, status, said) in [
        ("access_denied", 403, "did not let you in"),
        ("login_required", 403, "wants you to sign in there"),
        ("consent_required", 403, "wants you to sign in there"),
        ("temporarily_unavailable", 503, "does not answer as it should"),
        ("invalid_scope", 502, "not set up correctly"),
        ("<script>", 502, "does not belong to this sign-in"),
    ] {
        let mut browser = Browser::default();
        let location = browser.begin(&world.gateway, "sso", "/deep?x=1").await;
        let answer = browser.get(&world.gateway, &world.provider.deny(&location, error)).await;
        let text = answer.text();
        assert_eq!((answer.status, answer.header("location")), (status, None), "{error}: {text}");
        assert!(text.contains(said) && text.contains("role=\"alert\""), "{error}: {text}");
        assert!(text.contains("/_doorward/sign-in/sso?rd=%2Fdeep%3Fx%3D1"), "{error}: {text}");
        assert!(!text.contains("script") && !text.contains("of the provider"), "{error}: {text}");
        assert!(browser.cookie("doorward").is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_down_or_lies_lets_nobody_in_and_says_so() {
    for (fault, status, said) in [
        (Fault::Html("/.well-known/openid-configuration", 200), 503, "does not answer as it should"),
        (Fault::Html("/.well-known/openid-configuration", 500), 503, "does not answer as it should"),
    ] {
        let world = World::with("").await;
        world.provider.set(fault.clone());
        let mut browser = Browser::default();
        let answer = browser.get(&world.gateway, "/_doorward/sign-in/sso").await;
        assert_eq!(answer.status, status, "{fault:?}: {}", answer.text());
        assert!(answer.text().contains(said) && answer.header("retry-after").is_some(), "{fault:?}");
    }
    for (fault, status, said) in [
        (Fault::Html("/token", 200), 503, "does not answer as it should"),
        (Fault::Html("/token", 500), 503, "does not answer as it should"),
        (Fault::Html("/jwks", 200), 503, "does not answer as it should"),
        (Fault::Claims(json!({ "nonce": "other" })), 502, "does not belong to this sign-in"),
        (Fault::Claims(json!({ "aud": "other" })), 502, "does not belong to this sign-in"),
        (Fault::Claims(json!({ "iss": "https://evil.example" })), 502, "does not belong to this sign-in"),
        (Fault::Claims(json!({ "exp": 1 })), 502, "does not belong to this sign-in"),
    ] {
        let world = World::with("").await;
        world.provider.set(fault.clone());
        let (answered, text) = world.refused(&person("ann")).await;
        assert_eq!(answered, status, "{fault:?}: {text}");
        assert!(text.contains(said) && text.contains("Reference"), "{fault:?}: {text}");
        world.provider.set(Fault::None);
        if !matches!(fault, Fault::Html("/jwks", _)) {
            world.signed_in(&person("ann")).await;
        }
    }
    // What a rule may need is not known, so it is not taken for missing.
    let world = World::with("[providers.claims]\ngroups = \"groups\"").await;
    world.provider.set(Fault::Html("/me", 500));
    let (status, text) = world.refused(&person("ann")).await;
    assert_eq!(status, 503, "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_link_of_another_site_makes_somebody_else_of_whoever_is_signed_in() {
    let world = World::with("").await;
    let ann = world.signed_in(&person("ann")).await;
    let path = "/_doorward/sign-in/sso?rd=%2Fdeep";
    for site in ["cross-site", "same-site", "none", "odd"] {
        let answer = ann.clone().follow(&world.gateway, path, site).await;
        assert_eq!((answer.status, answer.header("location")), (303, Some("/deep")), "{site}");
        assert!(!answer.head.contains("doorward-sign-in-"), "{site}: {}", answer.head);
    }
    let answer = ann.clone().get(&world.gateway, path).await;
    assert_eq!(answer.header("location"), Some("/deep"), "a browser that does not say it");
    // The first to come: the same link signs in whoever is not signed in, and a page of ours whoever is.
    for (mut browser, site) in [(Browser::default(), "cross-site"), (ann.clone(), "same-origin")] {
        let answer = browser.follow(&world.gateway, path, site).await;
        let location = answer.header("location").unwrap().to_owned();
        assert!(location.starts_with(&world.provider.url) && browser.holds("doorward-sign-in-"), "{site}");
        let back = world.provider.approve(&location, &person("bob"));
        let answer = browser.follow(&world.gateway, &back, "cross-site").await;
        assert_eq!(answer.header("location"), Some("/deep"), "{site}");
        browser.get(&world.gateway, "/x").await;
        assert_eq!(world.upstream.last().header("x-auth-user"), Some("bob"), "{site}");
    }
    let mut old = ann;
    assert_eq!(old.get(&world.gateway, "/x").await.status, 401, "by her own choice she is somebody else now");
}

/// L03: signing up as an oracle of who has an account or an invitation.
#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_not_verified_tells_nobody_who_has_it() {
    let world = World::with("allow_sign_up = false").await;
    world.gateway.user("root", Role::Admin).await;
    world.gateway.invite("invited", "invited@example.org").await;
    let mut told = Vec::new();
    for email in ["root@example.org", "invited@example.org", "nobody@example.org"] {
        let claims = with(&person("eve"), &json!({ "email": email, "email_verified": false }));
        let (status, text) = world.refused(&claims).await;
        assert_eq!(status, 403, "{email}: {text}");
        assert!(text.contains("new people have to be invited"), "{email}: {text}");
        told.push(text.split("Reference").next().unwrap().to_owned());
    }
    assert!(told.windows(2).all(|two| two[0] == two[1]), "{told:?}");
    world.signed_in(&with(&person("ivy"), &json!({ "email": "invited@example.org" }))).await;
}
