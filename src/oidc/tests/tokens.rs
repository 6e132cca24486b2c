//! What an ID token must say, and who must have signed it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use super::*;

/// Each change of a good token with what comes of it; `null` leaves a claim out.
async fn assert_all(world: &World, cases: &[(Value, Option<TokenRefusal>)]) {
    for (change, expected) in cases {
        world.answer_with(change);
        assert_eq!(world.refusal().await, *expected, "{change}");
    }
}

/// O08: a nonce that is missing, another or of another type.
#[tokio::test]
async fn a_token_has_the_nonce_of_this_sign_in() {
    let refused = Some(TokenRefusal::Nonce);
    let cases = [
        (json!({}), None),
        (json!({ "nonce": null }), refused),
        (json!({ "nonce": "" }), refused),
        (json!({ "nonce": "the-nonc" }), refused),
        (json!({ "nonce": "the-nonce2" }), refused),
        (json!({ "nonce": [NONCE] }), refused),
    ];
    assert_all(&World::new().await, &cases).await;
}

/// O09: an issuer that differs by one character or by a slash.
#[tokio::test]
async fn a_token_is_of_exactly_the_configured_issuer() {
    let world = World::new().await;
    let issuer = world.issuer();
    let refused = Some(TokenRefusal::Issuer);
    let cases = [
        (json!({ "iss": issuer }), None),
        (json!({ "iss": format!("{issuer}/") }), refused),
        (json!({ "iss": issuer[..issuer.len() - 1] }), refused),
        (json!({ "iss": issuer.to_uppercase() }), refused),
        (json!({ "iss": issuer.replace("http:", "https:") }), refused),
        (json!({ "iss": [issuer] }), refused),
        (json!({ "iss": "" }), refused),
        (json!({ "iss": null }), refused),
    ];
    assert_all(&world, &cases).await;
}

#[tokio::test]
async fn a_token_is_for_this_client_and_nobody_else_asked_for_it() {
    let refused = Some(TokenRefusal::Audience);
    let cases = [
        (json!({ "aud": CLIENT }), None),
        (json!({ "aud": [CLIENT] }), None),
        (json!({ "aud": [CLIENT], "azp": CLIENT }), None),
        (json!({ "aud": ["account", CLIENT], "azp": CLIENT }), None),
        (json!({ "aud": ["account", CLIENT] }), refused),
        (json!({ "aud": ["account", CLIENT], "azp": "account" }), refused),
        (json!({ "aud": CLIENT, "azp": "other" }), refused),
        (json!({ "aud": CLIENT, "azp": [CLIENT] }), refused),
        (json!({ "aud": "door" }), refused),
        (json!({ "aud": "door ward2" }), refused),
        (json!({ "aud": ["other"], "azp": CLIENT }), refused),
        (json!({ "aud": [] }), refused),
        (json!({ "aud": { "door ward": true } }), refused),
        (json!({ "aud": null }), refused),
        (json!({ "aud": null, "azp": CLIENT }), refused),
    ];
    assert_all(&World::new().await, &cases).await;
}

/// O11: times that are over, far ahead, missing or text.
#[tokio::test]
async fn a_token_is_neither_over_nor_still_to_come_beyond_a_minute_of_skew() {
    let now = NOW.0;
    let (over, early) = (Some(TokenRefusal::Expired), Some(TokenRefusal::NotYet));
    let cases = [
        (json!({ "exp": now + 1 }), None),
        (json!({ "exp": now - 59 }), None),
        (json!({ "exp": now - 60 }), over),
        (json!({ "exp": 1_900_000_000.5 }), None),
        (json!({ "exp": now - 3600 }), over),
        (json!({ "exp": (now + 300).to_string() }), over),
        (json!({ "exp": true }), over),
        (json!({ "exp": -1 }), over),
        (json!({ "exp": null }), over),
        (json!({ "iat": now - 3600 }), None),
        (json!({ "iat": now + 60 }), None),
        (json!({ "iat": now + 61 }), early),
        (json!({ "iat": 1e300 }), early),
        (json!({ "iat": now.to_string() }), early),
        (json!({ "iat": null }), early),
        (json!({ "nbf": now }), None),
        (json!({ "nbf": now + 61 }), early),
        (json!({ "nbf": "x" }), early),
    ];
    assert_all(&World::new().await, &cases).await;
}

/// O12: a subject that is missing, empty, too long or no text.
#[tokio::test]
async fn a_token_has_a_subject_of_one_to_255_characters() {
    let refused = Some(TokenRefusal::Subject);
    let cases = [
        (json!({ "sub": "s".repeat(255) }), None),
        (json!({ "sub": "s".repeat(256) }), refused),
        (json!({ "sub": "" }), refused),
        (json!({ "sub": null }), refused),
        (json!({ "sub": ["a"] }), refused),
        (json!({ "sub": { "a": 1 } }), refused),
        (json!({ "sub": 1.5 }), refused),
        (json!({ "sub": true }), refused),
        (json!({ "sub": "a\nb" }), refused),
        (json!({ "sub": "a\u{0}" }), refused),
    ];
    let world = World::new().await;
    assert_all(&world, &cases).await;
    world.answer_with(&json!({ "sub": 12_345 }));
    assert_eq!(world.sign_in().await.unwrap().subject, "12345", "some providers number their users");
}

#[tokio::test]
async fn where_max_age_is_set_the_sign_in_at_the_provider_is_no_older() {
    let (now, refused) = (NOW.0, Some(TokenRefusal::AuthTime));
    let cases = [
        (json!({ "auth_time": now }), None),
        (json!({ "auth_time": now - 3600 }), None),
        (json!({ "auth_time": now - 3660 }), None),
        (json!({ "auth_time": now - 3661 }), refused),
        (json!({ "auth_time": now + 61 }), refused),
        (json!({ "auth_time": now.to_string() }), refused),
        (json!({ "auth_time": null }), refused),
    ];
    assert_all(&World::with("max_age = \"1h\"").await, &cases).await;
    assert_all(&World::new().await, &[(json!({ "auth_time": 1 }), None), (json!({}), None)]).await;
}

#[tokio::test]
async fn an_access_token_that_was_exchanged_is_noticed() {
    let hash = |text: &str| {
        let digest = <sha2::Sha256 as sha2::Digest>::digest(text);
        URL_SAFE_NO_PAD.encode(&digest[..16])
    };
    let refused = Some(TokenRefusal::AccessTokenHash);
    let cases = [
        (json!({ "at_hash": hash("the-access-token") }), None),
        (json!({ "at_hash": hash("another") }), refused),
        (json!({ "at_hash": "" }), refused),
        (json!({ "at_hash": 1 }), refused),
        (json!({ "at_hash": null }), None),
    ];
    assert_all(&World::new().await, &cases).await;
}

/// O14: `none`, the client secret or the public key as a shared secret, and algorithms that only the provider announces.
#[tokio::test]
async fn only_the_configured_algorithms_and_the_providers_keys_sign() {
    let world = World::new().await;
    let (claims, good) = (world.claims(), world.signer.sign(&world.claims()));
    let parts: Vec<&str> = good.split('.').collect();
    let signed = |header: &Header| world.signer.sign_with(header, &claims);
    let shared = |secret: &[u8], algorithm| {
        let header = Header { kid: Some("k1".to_owned()), ..Header::new(algorithm) };
        jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(secret)).unwrap()
    };
    let public = world.signer.jwk.to_string();
    let stranger = Signer::ec("k1");
    let other = |change: fn(&mut Header)| {
        let mut header = world.signer.header();
        change(&mut header);
        signed(&header)
    };
    let ps256 = Header { alg: Algorithm::PS256, ..world.signer.header() };
    let cases: Vec<(String, Option<TokenRefusal>)> = vec![
        (good.clone(), None),
        (other(|header| header.typ = None), None),
        (other(|header| header.typ = Some("jwt".to_owned())), None),
        (other(|header| header.kid = None), None),
        (other(|header| header.jku = Some("https://evil.example/jwks".to_owned())), None),
        (token_of(&json!({ "alg": "none" }), &claims, b""), Some(TokenRefusal::Malformed)),
        (token_of(&json!({ "alg": "nOnE", "kid": "k1" }), &claims, b""), Some(TokenRefusal::Malformed)),
        (token_of(&json!({ "kid": "k1" }), &claims, b"x"), Some(TokenRefusal::Malformed)),
        (token_of(&json!({ "alg": ["RS256"] }), &claims, b"x"), Some(TokenRefusal::Malformed)),
        (token_of(&json!({ "alg": "RS256", "kid": "k1" }), &claims, b""), Some(TokenRefusal::Signature)),
        (shared(SECRET.as_bytes(), Algorithm::HS256), Some(TokenRefusal::Algorithm)),
        (shared(public.as_bytes(), Algorithm::HS512), Some(TokenRefusal::Algorithm)),
        (signed(&ps256), Some(TokenRefusal::Algorithm)),
        (stranger.sign(&claims), Some(TokenRefusal::Algorithm)),
        (other(|header| header.kid = Some("k2".to_owned())), Some(TokenRefusal::UnknownKey)),
        (other(|header| header.crit = Some(vec!["exp".to_owned()])), Some(TokenRefusal::Kind)),
        (other(|header| header.cty = Some("JWT".to_owned())), Some(TokenRefusal::Kind)),
        (other(|header| header.typ = Some("at+jwt".to_owned())), Some(TokenRefusal::Kind)),
        (other(|header| header.typ = Some("logout+jwt".to_owned())), Some(TokenRefusal::Kind)),
        (
            format!("{}.{}.{}", parts[0], parts[1], &parts[2][..parts[2].len() - 8]),
            Some(TokenRefusal::Signature),
        ),
        (
            format!("{}.{}.{}", parts[0], URL_SAFE_NO_PAD.encode("{}"), parts[2]),
            Some(TokenRefusal::Signature),
        ),
        (format!("{}.{}.", parts[0], parts[1]), Some(TokenRefusal::Signature)),
        (format!("{}.{}", parts[0], parts[1]), Some(TokenRefusal::Malformed)),
        (format!("{good}.x.y"), Some(TokenRefusal::Encrypted)),
        ("a.b.c".to_owned(), Some(TokenRefusal::Malformed)),
        ("x".repeat(300_000), Some(TokenRefusal::TooLong)),
        (".".repeat(200_000), Some(TokenRefusal::Malformed)),
        (world.signer.sign(&json!([1])), Some(TokenRefusal::Malformed)),
    ];
    for (token, expected) in &cases {
        world.answer_with_token(token);
        assert_eq!(world.refusal().await, *expected, "{token:.60}");
    }
    let ec = World::with("algorithms = [\"ES256\"]").await;
    ec.set(|script| script.jwks = keys(&[&world.signer.jwk, &stranger.jwk]));
    ec.answer_with_token(&stranger.sign(&ec.claims()));
    assert_eq!(ec.refusal().await, None, "what the settings allow is allowed");
}

#[tokio::test]
async fn a_provider_with_several_tenants_lets_in_those_that_are_listed() {
    let (one, two, other) = ("11111111-0000", "22222222-0000", "33333333-0000");
    let config = |tenants: &[&str]| crate::config::IssuerConfig {
        issuer: "https://login.example/{tenantid}/v2.0".to_owned(),
        discovery_url: String::new(),
        tenants: tenants.iter().map(|tenant| (*tenant).to_owned()).collect(),
        allowed_hosts: Vec::new(),
    };
    let of = |tenant: &str| format!("https://login.example/{tenant}/v2.0");
    for (claims, expected) in [
        (json!({ "iss": of(one), "tid": one }), Ok(of(one))),
        (json!({ "iss": of(two), "tid": two }), Ok(of(two))),
        (json!({ "iss": of(one), "tid": two }), Err(TokenRefusal::Issuer)),
        (json!({ "iss": of(other), "tid": one }), Err(TokenRefusal::Issuer)),
        (json!({ "iss": of("{tenantid}"), "tid": one }), Err(TokenRefusal::Issuer)),
        (json!({ "iss": of(other), "tid": other }), Err(TokenRefusal::Tenant)),
        (json!({ "iss": of("{tenantid}"), "tid": "{tenantid}" }), Err(TokenRefusal::Tenant)),
        (json!({ "iss": of(one) }), Err(TokenRefusal::Tenant)),
        (json!({ "iss": of(one), "tid": [one] }), Err(TokenRefusal::Tenant)),
    ] {
        let found = id_token::issuer(claims.as_object().unwrap(), &config(&[one, two]));
        assert_eq!(found.map(str::to_owned), expected, "{claims}");
    }
    assert!(id_token::is_issuer(&of(one), &config(&[one, two])));
    assert!(!id_token::is_issuer(&of(other), &config(&[one, two])));
    assert!(!id_token::is_issuer("https://login.example/{tenantid}/v2.0", &config(&[one, two])));
}

#[tokio::test]
async fn another_claim_may_identify_people() {
    let world = World::with("subject_claim = \"oid\"").await;
    world.answer_with(&json!({ "oid": "person-1" }));
    assert_eq!(world.sign_in().await.unwrap().subject, "person-1");
    world.answer_with(&json!({}));
    assert_eq!(world.refusal().await, Some(TokenRefusal::Subject), "`sub` does not stand in for it");
}

#[tokio::test]
async fn a_token_that_names_no_key_is_tried_with_those_that_fit_and_with_ten_at_most() {
    let world = World::with("algorithms = [\"ES256\"]").await;
    let signers: Vec<Signer> = (0..11).map(|number| Signer::ec(&format!("k{number}"))).collect();
    let public: Vec<&Value> = signers.iter().map(|signer| &signer.jwk).collect();
    world.set(|script| script.jwks = keys(&public));
    for (signer, expected) in [(&signers[9], None), (&signers[10], Some(TokenRefusal::Signature))] {
        let header = Header { kid: None, ..signer.header() };
        world.answer_with_token(&signer.sign_with(&header, &world.claims()));
        assert_eq!(world.refusal().await, expected);
        world.answer_with_token(&signer.sign(&world.claims()));
        assert_eq!(world.refusal().await, None, "one that names its key is verified in either case");
    }
}
