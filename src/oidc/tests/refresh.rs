//! Refreshes: what is kept, what is taken anew, and what ends a sign-in.

use serde_json::{Value, json};

use super::*;
use crate::egress::testing::Behaviour;

async fn refresh(world: &World, token: &Secret, begun: &Authentication) -> Result<Refreshed, OidcError> {
    world.party.refresh(token, begun.id_token.as_ref().unwrap(), &begun.subject).await
}

#[track_caller]
fn told(claims: Result<RefreshedClaims, OidcError>) -> ClaimSet {
    match claims.unwrap() {
        RefreshedClaims::Told(claims) => claims,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_refresh_keeps_what_the_answer_leaves_out() {
    let world = World::new().await;
    world.userinfo(&json!({ "sub": "user-1", "email": "new@example.test" }));
    let begun = world.sign_in().await.unwrap();
    let short = json!({ "access_token": "n", "token_type": "Bearer", "expires_in": 60 });
    world.set(|script| script.token = Behaviour::json(&short.to_string()));
    // The old ID token has expired by then.
    world.clock.advance(Duration::from_hours(2));
    let mut token = begun.refresh_token.clone().unwrap();
    for _ in 0..2 {
        let refreshed = refresh(&world, &token, &begun).await.unwrap();
        let (_, form) = world.last_token_request();
        assert_eq!(only(&form, "grant_type"), "refresh_token");
        assert_eq!(only(&form, "refresh_token"), "the-refresh-token");
        assert_eq!(form.len(), 2, "{form:?}");
        assert_eq!(refreshed.id_token.as_ref().unwrap().expose(), begun.id_token.as_ref().unwrap().expose());
        assert_eq!(refreshed.lifetime, Duration::from_mins(1));
        assert_eq!(told(refreshed.claims).get("email").unwrap(), "new@example.test");
        token = refreshed.refresh_token;
    }
    world.set(|script| script.userinfo = Behaviour::answer(503, "text/plain", ""));
    let refreshed = refresh(&world, &token, &begun).await.unwrap();
    assert!(matches!(refreshed.claims.unwrap(), RefreshedClaims::Unavailable), "the old claims stay for now");
    let expires = world.clock.now().0 + 300;
    for (email, is_all) in [(json!("ann@example.test"), true), (Value::Null, false)] {
        world.answer_with(&json!({ "exp": expires, "email": email }));
        let claims = refresh(&world, &token, &begun).await.unwrap().claims.unwrap();
        assert_eq!(
            matches!(claims, RefreshedClaims::Told(_)),
            is_all,
            "an ID token that needs userinfo is not all that there is"
        );
    }
    world.announce(&json!({ "userinfo_endpoint": null }));
    world.set(|script| script.token = Behaviour::json(&short.to_string()));
    let refreshed =
        world.fresh("").refresh(&token, begun.id_token.as_ref().unwrap(), &begun.subject).await.unwrap();
    assert!(matches!(refreshed.claims.unwrap(), RefreshedClaims::NotTold), "it says nothing of anybody");
}

#[tokio::test]
async fn a_refresh_takes_what_is_new_if_it_is_of_the_same_person() {
    let world = World::new().await;
    let begun = world.sign_in().await.unwrap();
    let token = begun.refresh_token.clone().unwrap();
    let changed_by = async |change: Value| {
        world.answer_with(&change);
        refresh(&world, &token, &begun).await.unwrap()
    };
    let refreshed = changed_by(json!({ "nonce": null, "groups": ["ops"] })).await;
    assert_eq!(told(refreshed.claims).get("groups").unwrap(), &json!(["ops"]));
    assert_ne!(refreshed.id_token.as_ref().unwrap().expose(), begun.id_token.as_ref().unwrap().expose());
    assert!(changed_by(json!({})).await.claims.is_ok(), "with the nonce of the sign-in");
    for (change, expected) in [
        (json!({ "sub": "user-2" }), TokenRefusal::OtherPerson),
        (json!({ "nonce": "another" }), TokenRefusal::Nonce),
        (json!({ "iss": "https://evil.example" }), TokenRefusal::Issuer),
        (json!({ "aud": "other" }), TokenRefusal::Audience),
        (json!({ "exp": NOW.0 - 3600 }), TokenRefusal::Expired),
    ] {
        let refreshed = changed_by(change).await;
        let refused = refreshed.claims.unwrap_err();
        assert!(matches!(refused, OidcError::IdToken(found) if found == expected), "{refused}");
        assert!(!refused.is_over() && !refused.may_pass(), "{refused}");
        assert_eq!(refreshed.refresh_token.expose(), "the-refresh-token", "the one before may be spent");
        assert_eq!(
            refreshed.id_token.as_ref().unwrap().expose(),
            begun.id_token.as_ref().unwrap().expose(),
            "the last that was verified"
        );
    }
    world.set(|script| script.jwks = keys(&[]));
    world.answer_with(&json!({}));
    assert!(changed_by(json!({})).await.claims.is_ok(), "keys are kept while none better are known");
}

#[tokio::test]
async fn another_claim_that_identifies_is_the_same_after_a_refresh_where_it_is_told() {
    let world = World::with("subject_claim = \"oid\"").await;
    world.answer_with(&json!({ "oid": "person-1" }));
    let begun = world.sign_in().await.unwrap();
    let token = begun.refresh_token.clone().unwrap();
    assert_eq!((begun.subject.as_str(), begun.names.subject.as_deref()), ("person-1", Some("user-1")));
    world.userinfo(&json!({ "sub": "user-1" }));
    for (oid, is_same) in [(json!("person-1"), true), (Value::Null, true), (json!("person-2"), false)] {
        world.answer_with(&json!({ "oid": oid }));
        let claims = refresh(&world, &token, &begun).await.unwrap().claims;
        assert_eq!(claims.is_ok(), is_same, "{oid}");
    }
}

#[tokio::test]
async fn what_ends_a_sign_in_is_told_from_what_may_pass() {
    let world = World::new().await;
    let begun = world.sign_in().await.unwrap();
    let token = begun.refresh_token.clone().unwrap();
    for (status, answer, is_over) in [
        (400, "{\"error\":\"invalid_grant\"}", true),
        (400, "{\"error\":\"interaction_required\"}", true),
        (400, "{\"error\":\"access_denied\"}", true),
        (401, "{\"error\":\"invalid_client\"}", false),
        (400, "{\"error\":\"invalid_request\"}", true),
        (400, "", true),
        (400, "<html>", false),
        (500, "{\"error\":\"invalid_request\"}", false),
        (500, "{\"error\":\"invalid_grant\"}", true),
        (503, "{\"error\":\"temporarily_unavailable\"}", false),
        (500, "", false),
        (200, "<html>", false),
        (404, "{}", false),
    ] {
        world.set(|script| script.token = Behaviour::answer(status, "application/json", answer));
        let refused = refresh(&world, &token, &begun).await.unwrap_err();
        assert_eq!(refused.is_over(), is_over, "{status} {answer}: {refused}");
        assert_eq!(refused.may_pass(), status != 401 && !is_over, "{status} {answer}: {refused}");
    }
    for (status, answer, is_of_all) in [
        (401, "{\"error\":\"invalid_client\"}", true),
        (500, "", true),
        (503, "{\"error\":\"temporarily_unavailable\"}", true),
        (502, "<html>", true),
        (200, "<html>", false),
        (200, "{}", false),
        (404, "{}", false),
        (429, "{}", false),
        (403, "<html>", false),
        (302, "", false),
    ] {
        world.set(|script| script.token = Behaviour::answer(status, "application/json", answer));
        let refused = refresh(&world, &token, &begun).await.unwrap_err();
        assert_eq!(refused.is_of_provider(), is_of_all, "{status} {answer}: {refused}");
    }
    world.set(|script| script.token = Behaviour::json(&format!("\"{}\"", "x".repeat(2 << 20))));
    let refused = refresh(&world, &token, &begun).await.unwrap_err();
    assert!(!refused.is_of_provider(), "too long: {refused}");
    // Keys that are rotated are fetched anew, though not at once each time.
    let rotated = Signer::ec("k2");
    world.answer_with_token(&rotated.sign(&world.claims()));
    let refused = refresh(&world, &token, &begun).await.unwrap().claims.unwrap_err();
    assert!(!refused.may_pass(), "by an algorithm that is not configured: {refused}");
    let unknown = jsonwebtoken::Header { kid: Some("k2".to_owned()), ..world.signer.header() };
    world.answer_with_token(&world.signer.sign_with(&unknown, &world.claims()));
    let refused = refresh(&world, &token, &begun).await.unwrap().claims.unwrap_err();
    assert!(refused.may_pass(), "{refused}");
}
