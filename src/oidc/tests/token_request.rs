//! The request for tokens: how the gateway says who it is, and what it makes of the answers.

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde_json::{Value, json};

use super::*;
use crate::egress::EgressFault;
use crate::egress::testing::Behaviour;

#[tokio::test]
async fn a_code_is_exchanged_with_its_verifier_and_redirect_uri() {
    let world = World::new().await;
    world.sign_in().await.unwrap();
    let (head, form) = world.last_token_request();
    assert!(head.starts_with("POST /token HTTP/1.1\r\n"), "{head}");
    for (name, value) in [
        ("grant_type", "authorization_code"),
        ("code", CODE),
        ("redirect_uri", REDIRECT),
        ("code_verifier", VERIFIER),
    ] {
        assert_eq!(only(&form, name), value);
    }
    assert_eq!(form.len(), 4, "{form:?}");
}

#[tokio::test]
async fn each_method_sends_what_belongs_to_it_whatever_the_provider_announces() {
    let world = World::new().await;
    world.write("assertion", "first\n");
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    world.write("client.key", &key.serialize_pem());
    for (settings, header, fields) in [
        ("", true, &[][..]),
        ("token_auth = \"client_secret_post\"", false, &["client_id", "client_secret"]),
        ("# no client_secret\ntoken_auth = \"none\"", false, &["client_id"]),
        (
            "# no client_secret\ntoken_auth = \"private_key_jwt\"\nprivate_key_file = \"client.key\"",
            false,
            &["client_id", "client_assertion_type", "client_assertion"],
        ),
        (
            "# no client_secret\ntoken_auth = \"client_assertion\"\nclient_assertion_file = \"assertion\"",
            false,
            &["client_id", "client_assertion_type", "client_assertion"],
        ),
    ] {
        respond(&world.fresh(settings), "code=c").await.unwrap();
        let (head, form) = world.last_token_request();
        assert_eq!(head.contains("\r\nauthorization: Basic "), header, "{settings}: {head}");
        let mut sent: Vec<&str> = form.iter().map(|(name, _)| name.as_str()).collect();
        let mut expected = ["grant_type", "redirect_uri", "code", "code_verifier"].to_vec();
        expected.extend(fields);
        sent.sort_unstable();
        expected.sort_unstable();
        assert_eq!(sent, expected, "{settings}");
        assert_eq!(form.iter().any(|(_, value)| value == SECRET), fields.contains(&"client_secret"));
    }
}

#[tokio::test]
async fn client_and_secret_are_form_encoded_before_they_go_into_the_header() {
    let world = World::with("client_id = \"my app\"\nclient_secret = \"a+b/c:d%e=\"").await;
    world.answer_with(&json!({ "aud": "my app" }));
    world.sign_in().await.unwrap();
    let (head, _) = world.last_token_request();
    let expected = "\r\nauthorization: Basic bXkrYXBwOmElMkJiJTJGYyUzQWQlMjVlJTNE";
    assert!(head.contains(expected), "RFC 6749, 2.3.1 and appendix B: {head}");
    let world = World::with("client_id = \"app\"\nclient_secret = \"plain-enough-0123\"").await;
    world.answer_with(&json!({ "aud": "app" }));
    world.sign_in().await.unwrap();
    assert!(world.last_token_request().0.contains("\r\nauthorization: Basic YXBwOnBsYWluLWVub3VnaC0wMTIz"));
    assert!(!world.party.authentication.is_changed_by_encoding());
}

#[tokio::test]
async fn a_private_key_signs_a_statement_for_this_endpoint_and_minute() {
    let world = World::new().await;
    for (name, key) in [
        ("ec.key", rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap()),
        ("ed.key", rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap()),
        (
            "rsa.key",
            rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap(),
        ),
    ] {
        world.write(name, &key.serialize_pem());
        let settings =
            format!("# no client_secret\ntoken_auth = \"private_key_jwt\"\nprivate_key_file = {name:?}");
        let party = world.fresh(&settings);
        let mut seen: Vec<String> = Vec::new();
        for _ in 0..2 {
            respond(&party, "code=c").await.unwrap();
            let (_, form) = world.last_token_request();
            assert_eq!(
                only(&form, "client_assertion_type"),
                "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
            );
            let assertion = only(&form, "client_assertion");
            let (verifier, algorithm) = match name {
                "ec.key" => (DecodingKey::from_ec_pem(key.public_key_pem().as_bytes()), Algorithm::ES256),
                "ed.key" => (DecodingKey::from_ed_pem(key.public_key_pem().as_bytes()), Algorithm::EdDSA),
                _ => (DecodingKey::from_rsa_pem(key.public_key_pem().as_bytes()), Algorithm::RS256),
            };
            let mut validation = Validation::new(algorithm);
            validation.validate_exp = false;
            validation.set_audience(&[world.server.url("/token")]);
            let token = decode::<Map<String, Value>>(assertion, &verifier.unwrap(), &validation).unwrap();
            assert_eq!((&token.claims["iss"], &token.claims["sub"]), (&json!(CLIENT), &json!(CLIENT)));
            assert_eq!((&token.claims["iat"], &token.claims["exp"]), (&json!(NOW.0), &json!(NOW.0 + 60)));
            assert_eq!(token.header.kid, None, "the provider has a name of its own for the key");
            seen.push(token.claims["jti"].as_str().unwrap().to_owned());
        }
        assert!(seen[0] != seen[1] && seen[0].len() >= 43, "each statement is used once");
    }
    let small = "token_auth = \"private_key_jwt\"\n# no client_secret\nprivate_key_file = \"p384.key\"";
    let other = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    world.write("p384.key", &other.serialize_pem());
    assert!(matches!(world.made(small), Err(SetupError::PrivateKey)));
}

#[tokio::test]
async fn a_statement_of_the_platform_is_read_each_time() {
    let world = World::new().await;
    let party = world.fresh(
        "# no client_secret\ntoken_auth = \"client_assertion\"\nclient_assertion_file = \"assertion\"",
    );
    let missing = respond(&party, "code=c").await.unwrap_err();
    assert!(matches!(missing, OidcError::Token(TokenEndpointError::AssertionFile(_))), "{missing}");
    assert_eq!((missing.kind(), world.asked("/token")), (OidcErrorKind::Misconfigured, 0));
    for statement in ["first", "second"] {
        world.write("assertion", &format!("{statement}\n"));
        respond(&party, "code=c").await.unwrap();
        assert_eq!(only(&world.last_token_request().1, "client_assertion"), statement);
    }
}

#[tokio::test]
async fn answers_that_bend_the_rules_sign_in_and_those_that_break_them_do_not() {
    let world = World::new().await;
    let good = world.signer.sign(&world.claims());
    for (answer, seconds) in [
        (
            json!({ "access_token": "t", "token_type": "bearer", "expires_in": "3600", "id_token": good }),
            3600,
        ),
        (json!({ "access_token": "t", "token_type": "Bearer", "id_token": good }), 300),
        (json!({ "access_token": "t", "id_token": good, "expires_in": null }), 300),
    ] {
        world.set(|script| script.token = Behaviour::answer(200, "text/plain", &answer.to_string()));
        assert_eq!(world.sign_in().await.unwrap().lifetime, Duration::from_secs(seconds), "{answer}");
    }
    for answer in [
        json!({ "token_type": "bearer", "id_token": good }),
        json!({ "access_token": "", "token_type": "bearer", "id_token": good }),
        json!({ "access_token": 1, "token_type": "bearer", "id_token": good }),
        json!({ "access_token": "t", "token_type": "dpop", "id_token": good }),
        json!({ "access_token": "t", "token_type": null, "id_token": good }),
    ] {
        world.set(|script| script.token = Behaviour::json(&answer.to_string()));
        let refused = world.sign_in().await.unwrap_err();
        assert!(matches!(refused, OidcError::Token(TokenEndpointError::Shape)), "{answer}: {refused}");
    }
    for answer in [
        json!({ "access_token": "t", "token_type": "bearer" }),
        json!({ "access_token": "t", "id_token": "" }),
    ] {
        world.set(|script| script.token = Behaviour::json(&answer.to_string()));
        let refused = world.sign_in().await.unwrap_err();
        assert!(matches!(refused, OidcError::Token(TokenEndpointError::NoIdToken)), "{answer}: {refused}");
    }
}

#[tokio::test]
async fn what_the_token_endpoint_refuses_is_one_of_few_reasons() {
    let world = World::new().await;
    for (status, error, code, kind) in [
        (400, "invalid_grant", ErrorCode::InvalidGrant, OidcErrorKind::Refused),
        (401, "invalid_client", ErrorCode::InvalidClient, OidcErrorKind::Misconfigured),
        (200, "bad_verification_code", ErrorCode::InvalidGrant, OidcErrorKind::Refused),
        (200, "something_new", ErrorCode::Other, OidcErrorKind::Refused),
        (500, "invalid_request", ErrorCode::ServerError, OidcErrorKind::Unavailable),
        (503, "temporarily_unavailable", ErrorCode::TemporarilyUnavailable, OidcErrorKind::Unavailable),
    ] {
        let body = json!({ "error": error, "error_description": "no\u{1b}[2J", "access_token": "t" });
        world.set(|script| script.token = Behaviour::answer(status, "application/json", &body.to_string()));
        let refused = world.sign_in().await.unwrap_err();
        assert_eq!(refused.kind(), kind, "{error}");
        let OidcError::Token(TokenEndpointError::Refused { code: found, said }) = refused else {
            panic!("{refused}")
        };
        assert_eq!((found, said), (code, format!("{error}: no [2J")));
    }
    for (behaviour, expected) in [
        (Behaviour::answer(500, "text/html", "<html>"), "status 500"),
        (Behaviour::answer(200, "text/html", "<html>"), "cannot be read"),
        (Behaviour::answer(400, "application/json", "[1]"), "status 400"),
    ] {
        world.set(|script| script.token = behaviour);
        let refused = world.sign_in().await.unwrap_err();
        assert!(refused.to_string().contains(expected), "{refused}");
        assert!(matches!(refused, OidcError::Token(TokenEndpointError::Call(_))));
    }
}

#[tokio::test]
async fn an_error_never_repeats_what_was_sent() {
    let world = World::new().await;
    let post = world.fresh("token_auth = \"client_secret_post\"");
    for (party, secret) in
        [(&world.party, CODE), (&world.party, VERIFIER), (&world.party, SECRET), (&post, SECRET)]
    {
        let body = json!({ "error": "invalid_request", "error_description": format!("what is <{secret}>?") });
        world.set(|script| script.token = Behaviour::answer(400, "application/json", &body.to_string()));
        let refused = respond(party, &format!("code={CODE}")).await.unwrap_err();
        assert!(!format!("{refused:?} {refused}").contains(secret), "{refused:?}");
    }
    world.answer_with(&json!({}));
    let signed_in = world.sign_in().await.unwrap();
    let shown = format!("{:?} {signed_in:?}", world.party);
    for secret in [
        SECRET,
        "the-access-token",
        "the-refresh-token",
        signed_in.id_token.as_ref().unwrap().expose(),
        "ann@",
    ] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[tokio::test]
async fn no_code_is_spent_while_the_keys_cannot_be_had() {
    let world = World::new().await;
    world.set(|script| script.jwks = Behaviour::answer(500, "text/plain", ""));
    let refused = world.sign_in().await.unwrap_err();
    assert!(
        matches!(&refused, OidcError::Keys(DocumentError::Call(call)) if matches!(call.fault, EgressFault::Status { .. })),
        "{refused}"
    );
    assert_eq!(world.asked("/token"), 0);
}

#[tokio::test]
async fn a_scope_that_was_asked_for_and_not_granted_lets_nobody_in() {
    let world = World::new().await;
    for (settings, answer, missing) in [
        ("scopes = [\"groups\"]", json!({ "scope": "openid email profile groups" }), None),
        ("scopes = [\"groups\"]", json!({ "scope": "openid groups" }), None),
        ("scopes = [\"groups\"]", json!({ "scope": "" }), None),
        ("scopes = [\"groups\"]", json!({}), None),
        ("scopes = [\"groups\"]", json!({ "scope": "openid email profile" }), Some("`groups`")),
        ("scopes = [\"groups\"]", json!({ "scope": "openid groups-x x/groups" }), Some("`groups`")),
        ("scopes = [\"groups\", \"roles\"]", json!({ "scope": "openid groups" }), Some("`roles`")),
        ("scopes = [\"offline_access\"]", json!({ "scope": "openid", "refresh_token": "r" }), None),
        ("scopes = [\"offline_access\"]", json!({ "scope": "openid" }), Some("`offline_access`")),
        ("scopes = [\"offline_access\"]", json!({}), Some("`offline_access`")),
        ("scopes = [\"offline_access\"]\nrefresh = false", json!({}), None),
        ("", json!({ "scope": "openid" }), None),
    ] {
        let id_token = world.signer.sign(&world.claims());
        let whole =
            changed(&json!({ "access_token": "a", "token_type": "bearer", "id_token": id_token }), &answer);
        world.set(|script| script.token = Behaviour::json(&whole.to_string()));
        let done = respond(&world.fresh(settings), "code=c").await;
        match (done, missing) {
            (Ok(_), None) => {}
            (Err(error), Some(missing)) => {
                assert_eq!(error.kind(), OidcErrorKind::Misconfigured, "{settings} {answer}");
                assert!(error.to_string().contains(missing), "{settings} {answer}: {error}");
            }
            (done, _) => panic!("{settings} {answer}: {:?}", done.map(|_| ())),
        }
    }
}
