//! Signing out at the provider, and what it sends when somebody signed out there.

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use url::Url;

use super::*;
use crate::egress::testing::Behaviour;

const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
const RETURN: &str = "https://gateway.example/sub/_doorward/signed-out";

/// The claims of a good logout token, as Keycloak sends it.
fn claims(world: &World) -> Value {
    json!({
        "iss": world.issuer(), "aud": CLIENT, "iat": NOW.0, "exp": NOW.0 + 120, "jti": "j1", "sub": "user-1",
        "sid": "s1", "typ": "Logout", "events": { EVENT: {}, "revoke_offline_access": true },
    })
}

fn typed(world: &World, typ: Option<&str>) -> Header {
    Header { typ: typ.map(str::to_owned), ..world.signer.header() }
}

async fn outcome(world: &World, token: &str) -> Result<LogoutToken, TokenRefusal> {
    match world.party.logout_token(token).await {
        Ok(token) => Ok(token),
        Err(OidcError::IdToken(refusal)) => Err(refusal),
        Err(error) => panic!("{error}"),
    }
}

/// What comes of a change of the good one; `null` leaves a claim out.
async fn changed_by(world: &World, change: &Value) -> Result<LogoutToken, TokenRefusal> {
    let header = typed(world, Some("logout+jwt"));
    outcome(world, &world.signer.sign_with(&header, &changed(&claims(world), change))).await
}

#[tokio::test]
async fn a_logout_token_names_a_session_or_somebody_as_real_providers_send_it() {
    let world = World::new().await;
    let names = |subject: Option<&str>, session: Option<&str>| LogoutNames {
        subject: subject.map(str::to_owned),
        session: session.map(str::to_owned),
    };
    for (change, expected) in [
        (json!({}), names(Some("user-1"), Some("s1"))),
        // Hydra.
        (
            json!({ "aud": [CLIENT], "exp": null, "sub": null, "typ": null, "events": { EVENT: {} } }),
            names(None, Some("s1")),
        ),
        (json!({ "sid": null, "exp": null }), names(Some("user-1"), None)),
        (json!({ "aud": ["other", CLIENT] }), names(Some("user-1"), Some("s1"))),
        (json!({ "sub": 7 }), names(Some("7"), Some("s1"))),
    ] {
        let token = changed_by(&world, &change).await.unwrap_or_else(|refused| panic!("{change}: {refused}"));
        assert_eq!(token.names, expected, "{change}");
        assert_eq!((token.issuer.as_str(), token.id.as_str()), (world.issuer().as_str(), "j1"));
        assert!(token.forgotten_at >= NOW.after(Duration::from_mins(5) + 2 * crate::model::time::SKEW));
    }
    for typ in [Some("logout+jwt"), Some("application/logout+jwt"), Some("Logout+JWT"), Some("JWT"), None] {
        let token = world.signer.sign_with(&typed(&world, typ), &claims(&world));
        assert!(outcome(&world, &token).await.is_ok(), "{typ:?}");
    }
}

/// P-04: the nonce, the events, the audience. O14: who signs it.
#[tokio::test]
async fn a_logout_token_is_refused_for_each_thing_that_makes_it_none() {
    let world = World::new().await;
    let now = NOW.0;
    for (change, expected) in [
        (json!({ "iss": "https://evil.example" }), TokenRefusal::Issuer),
        (json!({ "iss": format!("{}/", world.issuer()) }), TokenRefusal::Issuer),
        (json!({ "iss": null }), TokenRefusal::Issuer),
        (json!({ "aud": "other" }), TokenRefusal::Audience),
        (json!({ "aud": ["other"] }), TokenRefusal::Audience),
        (json!({ "aud": null, "azp": CLIENT }), TokenRefusal::Audience),
        (json!({ "events": null }), TokenRefusal::Events),
        (json!({ "events": {} }), TokenRefusal::Events),
        (json!({ "events": [EVENT] }), TokenRefusal::Events),
        (json!({ "events": { EVENT: true } }), TokenRefusal::Events),
        (json!({ "events": { "http://schemas.openid.net/event/other": {} } }), TokenRefusal::Events),
        (json!({ "nonce": NONCE }), TokenRefusal::NonceInLogout),
        (json!({ "nonce": "" }), TokenRefusal::NonceInLogout),
        (json!({ "iat": null }), TokenRefusal::NotYet),
        (json!({ "iat": now.to_string() }), TokenRefusal::NotYet),
        (json!({ "iat": now + 61 }), TokenRefusal::NotYet),
        (json!({ "iat": now - 360, "exp": null }), TokenRefusal::TooOld),
        (json!({ "iat": now - 86_400, "exp": now + 86_400 }), TokenRefusal::TooOld),
        (json!({ "exp": now - 60 }), TokenRefusal::Expired),
        (json!({ "exp": "soon" }), TokenRefusal::Expired),
        (json!({ "jti": null }), TokenRefusal::TokenId),
        (json!({ "jti": "" }), TokenRefusal::TokenId),
        (json!({ "jti": 1 }), TokenRefusal::TokenId),
        (json!({ "jti": "j".repeat(256) }), TokenRefusal::TokenId),
        (json!({ "sub": null, "sid": null }), TokenRefusal::NamesNobody),
        (json!({ "sub": "", "sid": "s1" }), TokenRefusal::NamesNobody),
        (json!({ "sid": [], "sub": "user-1" }), TokenRefusal::NamesNobody),
    ] {
        assert_eq!(changed_by(&world, &change).await, Err(expected), "{change}");
    }
    for good in [json!({ "iat": now + 60 }), json!({ "iat": now - 359 }), json!({ "exp": now - 59 })] {
        assert!(changed_by(&world, &good).await.is_ok(), "{good}");
    }
    let good = claims(&world);
    let shared = |secret: &[u8]| {
        let header = Header { kid: Some("k1".to_owned()), ..Header::new(Algorithm::HS256) };
        jsonwebtoken::encode(&header, &good, &EncodingKey::from_secret(secret)).unwrap()
    };
    let signed = world.signer.sign(&good);
    let unsigned = signed.rsplit_once('.').unwrap().0;
    for (token, expected) in [
        (token_of(&json!({ "alg": "none", "typ": "logout+jwt" }), &good, b""), TokenRefusal::Malformed),
        (shared(SECRET.as_bytes()), TokenRefusal::Algorithm),
        (Signer::ec("k1").sign(&good), TokenRefusal::Algorithm),
        (format!("{unsigned}.AAAA"), TokenRefusal::Signature),
        (world.signer.sign_with(&typed(&world, Some("at+jwt")), &good), TokenRefusal::Kind),
        (String::new(), TokenRefusal::Malformed),
        ("a.b.c.d.e".to_owned(), TokenRefusal::Encrypted),
    ] {
        assert_eq!(outcome(&world, &token).await, Err(expected), "{token:.60}");
    }
}

#[tokio::test]
async fn no_logout_token_signs_anybody_in() {
    let world = World::new().await;
    world.answer_with_token(&world.signer.sign(&claims(&world)));
    assert_eq!(world.refusal().await, Some(TokenRefusal::Nonce));
    let dressed = changed(&claims(&world), &json!({ "nonce": NONCE }));
    world.answer_with_token(&world.signer.sign_with(&typed(&world, Some("logout+jwt")), &dressed));
    assert_eq!(world.refusal().await, Some(TokenRefusal::Kind));
}

#[tokio::test]
async fn a_sign_in_is_known_by_the_names_in_its_id_token() {
    let world = World::new().await;
    for (sid, expected) in
        [(json!("s1"), Some("s1")), (json!(null), None), (json!(7), None), (json!(""), None)]
    {
        world.answer_with(&json!({ "sid": sid }));
        let names = world.sign_in().await.unwrap().names;
        assert_eq!((names.subject.as_deref(), names.session.as_deref()), (Some("user-1"), expected));
    }
}

async fn end_session(party: &RelyingParty, id_token: Option<&Secret>) -> Option<EndSession> {
    let request = EndSessionRequest { id_token, return_to: RETURN, state: "st&1" };
    party.end_session(request).await.unwrap()
}

/// P-09: an address with a query. P-10: the ID token goes along.
#[tokio::test]
async fn a_browser_signs_out_with_the_latest_id_token_and_comes_back() {
    let world = World::new().await;
    let token = Secret::new("h.p.s");
    assert!(end_session(&world.party, Some(&token)).await.is_none(), "this provider has no address for it");
    world.announce(&json!({ "end_session_endpoint": world.server.url("/logout?realm=a") }));
    let out = end_session(&world.fresh(""), Some(&token)).await.unwrap();
    let location = out.location().unwrap();
    assert!(location.expose().starts_with(&world.server.url("/logout?realm=a&")), "{}", location.expose());
    let sent = parameters(location.expose());
    for (name, value) in [
        ("realm", "a"),
        ("client_id", CLIENT),
        ("id_token_hint", "h.p.s"),
        ("post_logout_redirect_uri", RETURN),
        ("state", "st&1"),
    ] {
        assert_eq!(only(&sent, name), value);
    }
    assert_eq!(sent.len(), 5, "{sent:?}");
    assert_eq!(out.origin(), Url::parse(&world.issuer()).unwrap().origin().ascii_serialization());
    let without = end_session(&world.fresh(""), None).await.unwrap().location().unwrap();
    assert!(!without.expose().contains("id_token_hint"));
    assert!(end_session(&world.fresh("logout = \"local\""), Some(&token)).await.is_none(), "by the settings");
}

/// P-10: an ID token of 9 kB.
#[tokio::test]
async fn what_is_too_long_for_an_address_is_posted() {
    let world = World::new().await;
    world.announce(&json!({ "end_session_endpoint": world.server.url("/logout") }));
    let long = Secret::new("x".repeat(9 * 1024));
    let out = end_session(&world.party, Some(&long)).await.unwrap();
    assert!(out.location().is_none());
    let (address, fields) = out.form();
    assert_eq!(address, world.server.url("/logout"));
    let hint = fields.iter().find(|(name, _)| *name == "id_token_hint").unwrap();
    assert_eq!(hint.1.expose(), long.expose());
}

#[tokio::test]
async fn an_address_of_the_settings_and_the_names_of_cognito_are_used() {
    let world = World::with("logout_url = \"https://sso.example/oidc/logout\"").await;
    world.announce(&json!({ "end_session_endpoint": world.server.url("/other") }));
    let location = end_session(&world.party, None).await.unwrap().location().unwrap();
    assert!(
        location.expose().starts_with("https://sso.example/oidc/logout?client_id="),
        "{}",
        location.expose()
    );
    let world = World::with("type = \"cognito\"\nlogout_url = \"https://pool.example/logout\"").await;
    let location = end_session(&world.party, Some(&Secret::new("h.p.s"))).await.unwrap().location().unwrap();
    let sent = parameters(location.expose());
    assert_eq!((only(&sent, "client_id"), only(&sent, "logout_uri"), sent.len()), (CLIENT, RETURN, 2));
}

#[tokio::test]
async fn a_provider_sends_browsers_to_no_inner_host_to_sign_out() {
    let world = World::new().await;
    for address in ["http://10.0.0.1/logout", "javascript:alert(1)", "https://user:pw@sso.example/", "x"] {
        world.announce(&json!({ "end_session_endpoint": address }));
        let refused = world.fresh("").end_session_endpoint().await.unwrap_err();
        let expected = DocumentError::Browser("end_session_endpoint");
        assert!(
            matches!(&refused, OidcError::Discovery(found) if found.to_string() == expected.to_string()),
            "{refused}"
        );
    }
}

#[tokio::test]
async fn a_refresh_token_is_given_back_where_the_provider_takes_it() {
    let world = World::new().await;
    let token = Secret::new("the-refresh-token");
    world.party.revoke(&token).await.unwrap();
    world.announce(&json!({ "revocation_endpoint": world.server.url("/revoke") }));
    let party = world.fresh("");
    for (answer, is_done) in [
        (Behaviour::answer(200, "text/plain", ""), true),
        (Behaviour::answer(503, "text/plain", ""), false),
        (Behaviour::answer(400, "application/json", "{\"error\":\"unsupported_token_type\"}"), false),
        (Behaviour::answer(200, "application/json", "{\"error\":\"invalid_client\"}"), false),
    ] {
        world.set(|script| script.revocation = answer);
        let outcome = party.revoke(&token).await;
        assert_eq!(outcome.is_ok(), is_done, "{outcome:?}");
    }
    let request = world.requests("/revoke").pop().unwrap();
    let (head, form) = request.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("\r\nauthorization: Basic "), "{head}");
    assert_eq!(form, "token_type_hint=refresh_token&token=the-refresh-token");
}
