//! Userinfo: when it is asked for, and what of it counts.

use jsonwebtoken::Header;
use serde_json::{Value, json};

use super::*;
use crate::egress::testing::Behaviour;

#[tokio::test]
async fn userinfo_is_asked_for_where_the_id_token_lacks_what_the_settings_look_for() {
    let groups = "[providers.claims]\ngroups = \"groups\"";
    let role = "[providers.claims]\nrole = \"role\"\nrole_mapping = { boss = \"admin\" }";
    for (settings, change, is_asked) in [
        ("", json!({}), false),
        ("", json!({ "email": null }), true),
        ("", json!({ "email": "" }), true),
        ("", json!({ "email_verified": null }), true),
        ("", json!({ "email_verified": false }), false),
        ("trust_email = true", json!({ "email_verified": null }), false),
        (groups, json!({}), true),
        (groups, json!({ "groups": [] }), true),
        (groups, json!({ "groups": ["ops"] }), false),
        (role, json!({}), true),
        (role, json!({ "role": "boss" }), false),
        ("subject_claim = \"oid\"", json!({ "oid": "o1" }), false),
        ("subject_claim = \"oid\"", json!({}), true),
        ("type = \"gitlab\"", json!({ "groups": ["ops"] }), true),
    ] {
        let world = World::with(settings).await;
        world.userinfo(&json!({ "sub": "user-1", "oid": "o1" }));
        world.answer_with(&change);
        world.sign_in().await.unwrap();
        assert_eq!(world.asked("/me") == 1, is_asked, "{settings} {change}");
    }
    let world = World::new().await;
    world.announce(&json!({ "userinfo_endpoint": null }));
    world.answer_with(&json!({ "email": null }));
    assert!(!world.sign_in().await.unwrap().lacks_userinfo, "there is none to ask");
}

#[tokio::test]
async fn inherited_groups_of_gitlab_count_although_the_id_token_looks_complete() {
    let world = World::with("type = \"gitlab\"").await;
    world.answer_with(&json!({ "groups_direct": ["ops"] }));
    world.userinfo(&json!({ "sub": "user-1", "groups": ["ops", "platform/db"] }));
    let signed_in = world.sign_in().await.unwrap();
    assert_eq!(signed_in.claims.get("groups").unwrap(), &json!(["ops", "platform/db"]));
}

/// O21: addresses in claims are never called.
#[tokio::test]
async fn the_id_token_wins_unless_it_is_empty_there_and_no_address_in_claims_is_called() {
    let world = World::with("[providers.claims]\ngroups = \"groups\"").await;
    world.answer_with(&json!({
        "name": "Ann", "nickname": "", "teams": [], "picture": world.server.url("/picture"),
        "_claim_names": { "groups": "src1" }, "_claim_sources": { "src1": { "endpoint": world.server.url("/groups") } },
    }));
    world.userinfo(&json!({
        "sub": "user-1", "name": "Eve", "nickname": "annie", "teams": ["a"], "groups": ["ops"],
        "iss": "https://evil.example", "profile": world.server.url("/profile"),
    }));
    let signed_in = world.sign_in().await.unwrap();
    for (name, value) in [
        ("name", json!("Ann")),
        ("nickname", json!("annie")),
        ("teams", json!(["a"])),
        ("groups", json!(["ops"])),
        ("iss", json!(world.issuer())),
    ] {
        assert_eq!(signed_in.claims.get(name), Some(&value), "{name}");
    }
    assert_eq!(world.server.requests().len(), 4, "discovery, keys, tokens and userinfo");
    let [asked] = <[String; 1]>::try_from(world.requests("/me")).unwrap();
    assert!(
        asked.starts_with("GET /me HTTP/1.1\r\n")
            && asked.contains("\r\nauthorization: Bearer the-access-token\r\n")
    );
}

#[tokio::test]
async fn an_address_is_verified_only_by_a_document_that_names_it() {
    let (mike, other) = ("mike@example.test", "m1@evil.test");
    let none = json!(null);
    // Address and `email_verified` of the ID token, then of userinfo; what counts.
    for (id_token, userinfo, expected) in [
        ((json!(mike), none.clone()), (json!(mike), json!(true)), (json!(mike), json!(true))),
        ((json!(mike), none.clone()), (json!(other), json!(true)), (json!(mike), none.clone())),
        ((json!(mike), none.clone()), (json!("Mike@example.test"), json!(true)), (json!(mike), none.clone())),
        ((json!(mike), none.clone()), (none.clone(), json!(true)), (json!(mike), none.clone())),
        ((json!(mike), none.clone()), (json!(other), json!(false)), (json!(mike), json!(false))),
        ((none.clone(), json!(true)), (json!(mike), none.clone()), (json!(mike), none.clone())),
        ((json!(""), json!(true)), (json!(mike), json!("")), (json!(mike), none.clone())),
        ((none.clone(), json!(true)), (json!(mike), json!(true)), (json!(mike), json!(true))),
        ((none.clone(), json!(false)), (json!(mike), json!(true)), (json!(mike), json!(false))),
        ((none.clone(), none.clone()), (json!(mike), json!(true)), (json!(mike), json!(true))),
    ] {
        let world = World::with("[providers.claims]\ngroups = \"groups\"").await;
        world.answer_with(&json!({ "email": id_token.0, "email_verified": id_token.1 }));
        world.userinfo(&json!({ "sub": "user-1", "email": userinfo.0, "email_verified": userinfo.1 }));
        let claims = world.sign_in().await.unwrap().claims;
        let found = ["email", "email_verified"].map(|name| claims.get(name).cloned().unwrap_or(Value::Null));
        assert_eq!(found, [expected.0, expected.1], "{id_token:?} {userinfo:?}");
    }
}

#[tokio::test]
async fn userinfo_of_somebody_else_ends_the_sign_in() {
    let world = World::new().await;
    world.answer_with(&json!({ "email": null }));
    for (claims, is_good) in [
        (json!({ "sub": "user-1" }), true),
        (json!({ "sub": "user-2", "email": "root@example.test" }), false),
        (json!({ "sub": "User-1" }), false),
        (json!({ "sub": ["user-1"] }), false),
        (json!({ "email": "root@example.test" }), false),
    ] {
        world.userinfo(&claims);
        let outcome = world.sign_in().await;
        assert_eq!(outcome.is_ok(), is_good, "{claims}");
        if let Err(refused) = outcome {
            assert!(matches!(refused, OidcError::UserinfoSubject), "{refused}");
        }
    }
    world.answer_with(&json!({ "sub": 7, "email": null }));
    world.userinfo(&json!({ "sub": "7" }));
    assert!(world.sign_in().await.is_ok(), "a number is its digits");
}

#[tokio::test]
async fn without_userinfo_the_id_token_counts_and_it_is_said_that_something_lacks() {
    let world = World::new().await;
    world.answer_with(&json!({ "email": null }));
    for broken in [
        Behaviour::answer(503, "text/plain", ""),
        Behaviour::answer(200, "text/html", "<html>"),
        Behaviour::json("[]"),
        Behaviour::json(&format!("{{\"a\":{:?}}}", "x".repeat(1024 * 1024))),
        Behaviour::answer(403, "application/json", "{\"sub\":\"user-1\"}"),
    ] {
        world.set(|script| script.userinfo = broken);
        let signed_in = world.sign_in().await.unwrap();
        assert!(signed_in.lacks_userinfo && signed_in.claims.get("email").is_none());
    }
    world.userinfo(&json!({ "sub": "user-1", "email": "ann@example.test" }));
    assert!(!world.sign_in().await.unwrap().lacks_userinfo);
}

#[tokio::test]
async fn claims_that_are_too_many_are_refused() {
    let world = World::new().await;
    world.answer_with(&json!({ "email": null }));
    world.userinfo(&json!({ "sub": "user-1", "a": "x".repeat(200_000) }));
    let refused = world.sign_in().await.unwrap_err();
    assert!(matches!(refused, OidcError::Claims(_)), "{refused}");
    world.answer_with(&json!({ "a": "x".repeat(150_000) }));
    let refused = world.sign_in().await.unwrap_err();
    assert!(matches!(refused, OidcError::Claims(_)), "{refused}");
}

#[tokio::test]
async fn a_signed_answer_counts_if_the_provider_signed_it_for_this_client() {
    let world = World::new().await;
    world.answer_with(&json!({ "email": null }));
    let claims =
        json!({ "iss": world.issuer(), "aud": CLIENT, "sub": "user-1", "email": "ann@example.test" });
    let signed = |change: &Value| world.signer.sign(&changed(&claims, change));
    let stranger = Signer::ec("k1");
    let unnamed = Header { kid: Some("k9".to_owned()), ..world.signer.header() };
    for (token, is_used) in [
        (signed(&json!({})), true),
        (signed(&json!({ "aud": ["x", CLIENT], "azp": CLIENT })), true),
        (signed(&json!({ "iss": "https://evil.example" })), false),
        (signed(&json!({ "iss": null })), false),
        (signed(&json!({ "aud": "other" })), false),
        (signed(&json!({ "aud": null })), false),
        (stranger.sign(&claims), false),
        (world.signer.sign_with(&unnamed, &claims), false),
        (token_of(&json!({ "alg": "none" }), &claims, b""), false),
        ("a.b.c.d.e".to_owned(), false),
        (claims.to_string(), false),
        ("\u{e9}".to_owned(), false),
    ] {
        world
            .set(|script| script.userinfo = Behaviour::answer(200, "Application/JWT; charset=utf-8", &token));
        let signed_in = world.sign_in().await.unwrap();
        let email = signed_in.claims.get("email").and_then(Value::as_str);
        assert_eq!(email, is_used.then_some("ann@example.test"), "{token:.60}");
        assert_eq!(signed_in.lacks_userinfo, !is_used, "{token:.60}");
    }
    world.set(|script| {
        script.userinfo = Behaviour::answer(200, "application/jwt", &signed(&json!({ "sub": "user-2" })));
    });
    assert!(matches!(world.sign_in().await.unwrap_err(), OidcError::UserinfoSubject));
}
