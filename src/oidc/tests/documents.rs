//! Discovery and keys: what they must say, and what becomes of sign-ins while they cannot be had.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::*;
use crate::egress::EgressFault;
use crate::egress::testing::Behaviour;

fn request<'a>() -> AuthenticationRequest<'a> {
    AuthenticationRequest { state: "s", nonce: NONCE, challenge: "c", login_hint: None }
}

/// Why the discovery document is not used.
async fn discovery_error(world: &World, settings: &str) -> Option<DocumentError> {
    match world.fresh(settings).authorization_url(&request()).await {
        Ok(_) => None,
        Err(OidcError::Discovery(error)) => Some(error),
        Err(error) => panic!("{error}"),
    }
}

/// O18: discovery that names another issuer.
#[tokio::test]
async fn discovery_names_exactly_the_configured_issuer() {
    let world = World::new().await;
    let issuer = world.issuer();
    assert!(discovery_error(&world, "").await.is_none());
    for other in
        [format!("{issuer}/"), issuer.to_uppercase(), "https://evil.example".to_owned(), String::new()]
    {
        world.announce(&json!({ "issuer": other }));
        assert!(matches!(discovery_error(&world, "").await, Some(DocumentError::Issuer)), "{other}");
    }
    for other in [json!([issuer]), json!(1), Value::Null] {
        world.announce(&json!({ "issuer": other }));
        assert!(matches!(discovery_error(&world, "").await, Some(DocumentError::Shape)), "{other}");
    }
    for name in ["authorization_endpoint", "token_endpoint", "jwks_uri"] {
        world.announce(&json!({ name: null }));
        let error = discovery_error(&world, "").await;
        assert!(matches!(error, Some(DocumentError::Missing(found)) if found == name), "{error:?}");
    }
}

/// O19: addresses in discovery of another scheme, or inside the network.
#[tokio::test]
async fn discovery_leads_nowhere_that_the_configuration_does_not_name() {
    let world = World::new().await;
    for url in [
        "http://other.example/x",
        "file:///etc/passwd",
        "gopher://127.0.0.1:25/",
        "http://127.0.0.1:1/x",
        "https://127.0.0.1:1/x",
        "https://[::1]/x",
        "https://0.0.0.0/x",
        "https://10.0.0.1/x",
        "https://169.254.169.254/latest",
        "https://2130706433/x",
        "https://user@sso.example/x",
        "/token",
        "",
    ] {
        for name in ["token_endpoint", "jwks_uri", "userinfo_endpoint"] {
            world.announce(&json!({ name: url }));
            let error = discovery_error(&world, "").await;
            assert!(
                matches!(error, Some(DocumentError::Endpoint(found, _)) if found == name),
                "{url} {error:?}"
            );
        }
    }
    for url in [
        "http://other.example/x",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "https://user@sso.example/x",
        "https://sso.example/x#fragment",
        "https://inner/authorize",
        "/authorize",
    ] {
        world.announce(&json!({ "authorization_endpoint": url }));
        let error = discovery_error(&world, "allowed_hosts = [\"inner\"]").await;
        assert!(matches!(error, Some(DocumentError::Browser(_))), "{url} {error:?}");
    }
    world.announce(&json!({
        "authorization_endpoint": "https://sso.example/authorize",
        "token_endpoint": "http://inner:8080/token",
        "jwks_uri": "https://keys.example/jwks",
    }));
    assert!(discovery_error(&world, "allowed_hosts = [\"inner\"]").await.is_none());
}

/// O20: documents and endpoints that redirect.
#[tokio::test]
async fn no_redirect_is_followed() {
    let world = World::new().await;
    let to = |place: &str| {
        Behaviour::Answer(
            format!("HTTP/1.1 302 Found\r\nlocation: {place}\r\ncontent-length: 0\r\n\r\n").into_bytes(),
        )
    };
    let is_redirect = |error: &OidcError| error.to_string().contains("redirect");
    for place in ["http://169.254.169.254/", "http://127.0.0.1:1/", "/jwks2"] {
        for change in [
            (|script, place| script.discovery = place) as fn(&mut Script, Behaviour),
            |script, place| script.jwks = place,
            |script, place| script.token = place,
        ] {
            let world = World::new().await;
            world.set(|script| change(script, to(place)));
            let refused = world.sign_in().await.unwrap_err();
            assert!(is_redirect(&refused), "{refused}");
            assert_eq!(refused.kind(), OidcErrorKind::Unavailable);
        }
    }
    world.set(|script| script.userinfo = to("http://169.254.169.254/"));
    world.answer_with(&json!({ "email": null }));
    assert!(world.sign_in().await.unwrap().lacks_userinfo);
}

#[tokio::test]
async fn discovery_is_read_at_an_inner_address_and_still_names_the_public_issuer() {
    let world = World::new().await;
    let (public, inner) = ("https://sso.example.test", world.issuer());
    let settings =
        format!("issuer = {public:?}\ndiscovery_url = \"{inner}/.well-known/openid-configuration\"");
    world.announce(&json!({ "authorization_endpoint": format!("{public}/authorize") }));
    assert!(matches!(discovery_error(&world, &settings).await, Some(DocumentError::Issuer)));
    world.announce(&json!({ "issuer": public, "authorization_endpoint": format!("{public}/authorize") }));
    let party = world.fresh(&settings);
    let url = party.authorization_url(&request()).await.unwrap();
    assert!(url.starts_with("https://sso.example.test/authorize?"), "{url}");
    let refused = respond(&party, "code=c").await.unwrap_err();
    assert!(matches!(refused, OidcError::IdToken(TokenRefusal::Issuer)), "{refused}");
    world.answer_with(&json!({ "iss": public }));
    assert_eq!(respond(&party, "code=c").await.unwrap().issuer, public);
}

/// O15: a key that is unknown is looked for once, and then refused.
#[tokio::test]
async fn an_unknown_key_is_looked_for_once() {
    let world = World::with("algorithms = [\"ES256\"]").await;
    let [first, second] = ["k1", "k2"].map(Signer::ec);
    world.set(|script| script.jwks = keys(&[&first.jwk]));
    world.answer_with_token(&first.sign(&world.claims()));
    assert_eq!((world.refusal().await, world.asked("/jwks")), (None, 1));
    world.set(|script| script.jwks = keys(&[&second.jwk]));
    world.answer_with_token(&second.sign(&world.claims()));
    assert_eq!((world.refusal().await, world.asked("/jwks")), (None, 2), "a rotated key is found");
    world.answer_with_token(&first.sign(&world.claims()));
    for _ in 0..5 {
        assert_eq!(world.refusal().await, Some(TokenRefusal::UnknownKey), "the old one is gone");
    }
    assert_eq!(world.asked("/jwks"), 2, "and nobody asks again and again");
    world.answer_with_token(&second.sign(&world.claims()));
    assert_eq!(world.refusal().await, None);
}

/// O16: a JWKS that fails, is HTML or empty takes no key away.
#[tokio::test]
async fn keys_stay_while_others_cannot_be_had() {
    for broken in [
        Behaviour::answer(500, "application/json", "{}"),
        Behaviour::answer(200, "text/html", "<html>sign in</html>"),
        Behaviour::json(""),
        Behaviour::json("{\"keys\":[]}"),
        Behaviour::json("{\"keys\":{}}"),
        Behaviour::json("[]"),
        Behaviour::json("{\"keys\":[{\"kty\":\"oct\",\"k\":\"AAAA\"}]}"),
        Behaviour::Answer(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"keys\":".to_vec()),
    ] {
        let world = World::new().await;
        assert_eq!(world.refusal().await, None);
        let mut unknown = world.signer.header();
        unknown.kid = Some("k2".to_owned());
        world.set(|script| script.jwks = broken.clone());
        world.answer_with_token(&world.signer.sign_with(&unknown, &world.claims()));
        assert_eq!(world.refusal().await, Some(TokenRefusal::UnknownKey));
        assert_eq!(world.asked("/jwks"), 2);
        world.answer_with(&json!({}));
        assert_eq!(world.refusal().await, None, "what was known still verifies");
        let fresh = respond(&world.fresh(""), "code=c").await.unwrap_err();
        assert!(matches!(fresh, OidcError::Keys(_)), "without keys nothing does: {fresh}");
    }
}

/// O17: documents that are huge or have too many keys. That they come too slowly is tried with a clock that is stopped.
#[tokio::test]
async fn documents_are_bounded() {
    let world = World::new().await;
    let padded = |size: usize| format!("{}{}", json!({ "keys": [world.signer.jwk] }), " ".repeat(size));
    let many = |count: usize| {
        let mut all: Vec<Value> = vec![json!({ "kty": "?" }); count - 1];
        all.push(world.signer.jwk.clone());
        json!({ "keys": all }).to_string()
    };
    for (body, is_good) in [
        (padded(1024 * 1000), true),
        (padded(1024 * 1024), false),
        (many(100), true),
        (many(101), false),
        (many(10_000), false),
    ] {
        world.set(|script| script.jwks = Behaviour::json(&body));
        let outcome = respond(&world.fresh(""), "code=c").await;
        assert_eq!(outcome.is_ok(), is_good, "{} bytes", body.len());
    }
    world.set(|script| {
        script.jwks = Behaviour::Repeat(b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), vec![b' '; 64 * 1024]);
    });
    let endless = respond(&world.fresh(""), "code=c").await.unwrap_err();
    assert!(matches!(endless, OidcError::Keys(DocumentError::Call(_))), "{endless}");
}

#[tokio::test]
async fn a_document_that_comes_too_slowly_is_given_up() {
    let world = World::new().await;
    world.set(|script| {
        script.discovery = Behaviour::Hold(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{".to_vec());
    });
    let party = world.fresh("");
    let request = request();
    let slow = party.authorization_url(&request);
    tokio::pin!(slow);
    // The request must be there before the clock is stopped: a stopped clock runs ahead while nothing happens.
    while world.asked("/.well-known/openid-configuration") == 0 {
        tokio::select! {
            early = &mut slow => panic!("{early:?}"),
            () = tokio::task::yield_now() => {}
        }
    }
    tokio::time::pause();
    let error = slow.await.unwrap_err();
    assert!(matches!(error, OidcError::Discovery(DocumentError::Slow)), "{error}");
    let again = party.authorization_url(&request).await.unwrap_err();
    assert!(matches!(again, OidcError::Discovery(DocumentError::Paused)), "nobody waits again: {again}");
}

#[tokio::test]
async fn keys_are_read_one_by_one_and_only_those_that_verify_signatures() {
    let world = World::new().await;
    let good = world.signer.jwk.clone();
    let with = |change: Value| changed(&good, &change);
    let modulus = URL_SAFE_NO_PAD.decode(good["n"].as_str().unwrap()).unwrap();
    let weak = URL_SAFE_NO_PAD.encode(&modulus[..128]);
    for (others, key, is_good) in [
        (
            vec![
                json!(1),
                json!({}),
                json!({ "kty": "XYZ", "kid": "k1" }),
                json!({ "kty": "RSA", "kid": "k1" }),
            ],
            good.clone(),
            true,
        ),
        (vec![], with(json!({ "use": null, "alg": null })), true),
        (vec![], with(json!({ "key_ops": ["verify"] })), true),
        (vec![], with(json!({ "use": "enc" })), false),
        (vec![], with(json!({ "key_ops": ["encrypt"] })), false),
        (vec![], with(json!({ "alg": "RS512" })), false),
        (vec![], with(json!({ "alg": "RSA-OAEP" })), false),
        (vec![], with(json!({ "e": "AQ" })), false),
        (vec![], with(json!({ "e": "Ag" })), false),
        (vec![], with(json!({ "n": weak })), false),
        (vec![], json!({ "kty": "oct", "k": "AAAA", "kid": "k1", "alg": "RS256" }), false),
    ] {
        let all: Vec<&Value> = others.iter().chain([&key]).collect();
        world.set(|script| script.jwks = keys(&all));
        match respond(&world.fresh(""), "code=c").await {
            Ok(_) => assert!(is_good, "{key}"),
            Err(OidcError::Keys(DocumentError::NoKey)) => assert!(!is_good, "{key}"),
            Err(error) => panic!("{key} {error}"),
        }
    }
}

#[tokio::test]
async fn a_provider_that_is_down_stops_no_other_and_is_found_when_it_is_back() {
    let (down, up) = (World::new().await, World::new().await);
    down.set(|script| script.discovery = Behaviour::answer(503, "text/plain", "back soon"));
    let error = down.party.authorization_url(&request()).await.unwrap_err();
    assert_eq!(error.kind(), OidcErrorKind::Unavailable);
    assert!(
        matches!(&error, OidcError::Discovery(DocumentError::Call(call)) if matches!(call.fault, EgressFault::Status { status: 503, .. })),
        "{error}"
    );
    assert!(up.sign_in().await.is_ok());
    down.announce(&json!({}));
    tokio::time::pause();
    tokio::time::advance(LONG).await;
    tokio::time::resume();
    assert!(down.sign_in().await.is_ok());
}

/// O24: a provider whose certificate nobody trusts.
#[tokio::test]
async fn a_provider_without_a_trusted_certificate_is_not_believed() {
    let server = crate::egress::testing::TestServer::start(Behaviour::json("{}")).await;
    let world = World::new().await;
    let settings = format!("issuer = {:?}", server.url(""));
    let error = discovery_error(&world, &settings).await.unwrap();
    assert!(
        matches!(&error, DocumentError::Call(call) if matches!(call.fault, EgressFault::Tls(_))),
        "{error}"
    );
    let trusting = format!("{settings}\nca_file = {:?}", server.ca().display().to_string());
    assert!(matches!(discovery_error(&world, &trusting).await, Some(DocumentError::Shape)), "it is heard");
}

#[tokio::test]
async fn no_answer_of_many_small_values_is_read_whatever_it_is_about() {
    let value = |text: String| serde_json::from_str::<Value>(&text).unwrap();
    let many = value(format!("[{}]", vec!["{\"\":0}"; 20_000].join(",")));
    let long = json!("{\"\":0},".repeat(20_000));
    for (beside, is_read) in [(&many, false), (&long, true)] {
        let more = json!({ "x": beside });
        let world = World::new().await;
        world.announce(&more);
        assert_eq!(world.sign_in().await.is_ok(), is_read, "discovery");

        let world = World::new().await;
        let answer = json!({ "access_token": "a", "id_token": world.signer.sign(&world.claims()) });
        world.set(|script| script.token = Behaviour::json(&changed(&answer, &more).to_string()));
        assert_eq!(world.sign_in().await.is_ok(), is_read, "tokens");
    }
}
