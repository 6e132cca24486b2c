//! The request that a browser is sent with, and the response that it brings back.

use super::*;

fn request<'a>() -> AuthenticationRequest<'a> {
    AuthenticationRequest { state: "the-state", nonce: NONCE, challenge: "the-challenge", login_hint: None }
}

/// O05: every request has PKCE by S256, state, nonce and the exact redirect URI, whatever the provider announces.
#[tokio::test]
async fn every_request_has_state_nonce_pkce_and_the_exact_redirect_uri() {
    let world = World::new().await;
    world.announce(&serde_json::json!({ "code_challenge_methods_supported": ["plain"] }));
    let url = world.party.authorization_url(&request()).await.unwrap();
    assert!(url.starts_with(&world.server.url("/authorize?")), "{url}");
    let sent = parameters(&url);
    for (name, value) in [
        ("response_type", "code"),
        ("client_id", CLIENT),
        ("redirect_uri", REDIRECT),
        ("scope", "openid email profile"),
        ("state", "the-state"),
        ("nonce", NONCE),
        ("code_challenge", "the-challenge"),
        ("code_challenge_method", "S256"),
    ] {
        assert_eq!(only(&sent, name), value);
    }
    assert_eq!(sent.len(), 8, "{sent:?}");
    assert!(!url.contains("s3cret"));
}

#[tokio::test]
async fn what_the_settings_ask_for_is_asked_for() {
    let settings = "scopes = [\"groups\"]\nprompt = [\"login\", \"select_account\"]\nmax_age = \"12h\"\nlogin_hint = true\n\
                    acr_values = [\"urn:example:mfa\", \"b\"]\nauthorize_parameters = { domain_hint = \"a b&c\" }";
    let world = World::with(settings).await;
    let hinted = AuthenticationRequest { login_hint: Some("ann+x@example.test"), ..request() };
    let sent = parameters(&world.party.authorization_url(&hinted).await.unwrap());
    for (name, value) in [
        ("scope", "openid email profile groups"),
        ("prompt", "login select_account"),
        ("max_age", "43200"),
        ("acr_values", "urn:example:mfa b"),
        ("login_hint", "ann+x@example.test"),
        ("domain_hint", "a b&c"),
    ] {
        assert_eq!(only(&sent, name), value);
    }
    let long = "a".repeat(321);
    for hint in [None, Some(""), Some("a\r\nb"), Some(long.as_str())] {
        let sent =
            world.party.authorization_url(&AuthenticationRequest { login_hint: hint, ..request() }).await;
        assert!(!sent.unwrap().contains("login_hint"), "{hint:?}");
    }
    let plain = world.fresh("").authorization_url(&hinted).await.unwrap();
    assert!(!plain.contains("login_hint"), "a hint is passed on only where the settings say so");
}

#[tokio::test]
async fn an_endpoint_keeps_the_query_that_it_has() {
    let world = World::new().await;
    let at = |path: &str| world.server.url(path);
    world.announce(&serde_json::json!({
        "authorization_endpoint": at("/authorize?p=signin%2Fx"),
        "token_endpoint": at("/token?p=signin"),
        "jwks_uri": at("/jwks?p=signin"),
        "userinfo_endpoint": at("/me?p=signin"),
    }));
    let url = world.party.authorization_url(&request()).await.unwrap();
    assert!(url.starts_with(&at("/authorize?p=signin%2Fx&response_type=code&")), "{url}");
    world.answer_with(&serde_json::json!({ "email": null }));
    world.userinfo(&serde_json::json!({ "sub": "user-1", "email": "ann@example.test" }));
    world.sign_in().await.unwrap();
    for path in ["/token", "/jwks", "/me"] {
        let [asked] = <[String; 1]>::try_from(world.requests(path)).unwrap();
        assert!(asked.contains(&format!(" {path}?p=signin HTTP/1.1")), "{asked}");
    }
}

#[tokio::test]
async fn a_good_response_tells_who_signed_in() {
    let world = World::new().await;
    let signed_in = world.sign_in().await.unwrap();
    assert_eq!((signed_in.issuer, signed_in.subject.as_str()), (world.issuer(), "user-1"));
    assert_eq!(signed_in.claims.get("email").unwrap(), "ann@example.test");
    assert_eq!(signed_in.lifetime, Duration::from_hours(1));
    assert_eq!(signed_in.refresh_token.unwrap().expose(), "the-refresh-token");
    assert!(signed_in.id_token.unwrap().expose().starts_with("ey") && !signed_in.lacks_userinfo);
    assert_eq!(world.asked("/me"), 0, "the ID token has all that the settings look for");
    assert_eq!(world.asked("/jwks"), 1);
    world.sign_in().await.unwrap();
    assert_eq!((world.asked("/jwks"), world.asked("/.well-known/openid-configuration")), (1, 1));
}

/// O22: the response of another provider ends before its code is sent anywhere.
#[tokio::test]
async fn a_response_of_another_issuer_is_refused_before_the_code_is_sent_anywhere() {
    let world = World::new().await;
    let issuer = world.issuer();
    for other in ["https://evil.example", &format!("{issuer}/"), &issuer[..issuer.len() - 1], ""] {
        for rest in ["code=c&state=s", "error=access_denied"] {
            let query = format!("{rest}&iss={other}");
            let refused = world.respond(&query).await.unwrap_err();
            assert!(
                matches!(refused, OidcError::Response(ResponseRefusal::OtherIssuer)),
                "{query}: {refused}"
            );
        }
    }
    assert_eq!(world.asked("/token"), 0);
    assert!(world.respond(&format!("code=c&state=s&iss={issuer}")).await.is_ok());
}

#[tokio::test]
async fn with_several_tenants_response_and_token_are_of_the_same_listed_one() {
    let world = World::new().await;
    let at = |tenant: &str| format!("{}/{tenant}/v2.0", world.issuer());
    let (one, two, other) = ("11111111-0000", "22222222-0000", "33333333-0000");
    let discovery = world.server.url("/.well-known/openid-configuration");
    let settings = format!(
        "type = \"entra\"\ngroup_overage = \"ignore\"\nissuer = {:?}\ndiscovery_url = {discovery:?}\n\
         tenants = [{one:?}, {two:?}]",
        at("common")
    );
    world.announce(&serde_json::json!({ "issuer": at("{tenantid}") }));
    let party = world.fresh(&settings);
    let of = |tenant: &str| {
        let change = serde_json::json!({ "iss": at(tenant), "tid": tenant, "oid": "o1", "groups": ["ops"] });
        world.answer_with(&change);
    };
    for (tenant, response, is_good) in [
        (one, String::new(), true),
        (two, String::new(), true),
        (one, at(one), true),
        (other, String::new(), false),
        (one, at(two), false),
        (one, at(other), false),
        (one, at("{tenantid}"), false),
    ] {
        of(tenant);
        let issuer = if response.is_empty() { String::new() } else { format!("&iss={response}") };
        match respond(&party, &format!("code=c{issuer}")).await {
            Ok(signed_in) => assert!(is_good && signed_in.issuer == at(tenant) && signed_in.subject == "o1"),
            Err(error) => assert!(!is_good, "{tenant} {response} {error}"),
        }
    }
}

#[tokio::test]
async fn a_response_names_its_issuer_where_the_provider_says_that_it_does() {
    let world = World::new().await;
    world.announce(&serde_json::json!({ "authorization_response_iss_parameter_supported": true }));
    for query in ["code=c&state=s", "error=access_denied"] {
        let refused = world.respond(query).await.unwrap_err();
        assert!(matches!(refused, OidcError::Response(ResponseRefusal::NoIssuer)), "{refused}");
    }
    assert_eq!(world.asked("/token"), 0);
    assert!(world.respond(&format!("code=c&iss={}", world.issuer())).await.is_ok());
}

#[tokio::test]
async fn an_error_response_is_one_of_few_reasons_and_its_text_goes_no_further() {
    let world = World::new().await;
    for (error, code, kind) in [
        ("access_denied", ErrorCode::AccessDenied, OidcErrorKind::Denied),
        ("login_required", ErrorCode::LoginRequired, OidcErrorKind::Denied),
        ("invalid_scope", ErrorCode::InvalidScope, OidcErrorKind::Misconfigured),
        ("temporarily_unavailable", ErrorCode::TemporarilyUnavailable, OidcErrorKind::Unavailable),
        ("<script>alert(1)</script>", ErrorCode::Other, OidcErrorKind::Refused),
        ("", ErrorCode::Other, OidcErrorKind::Refused),
    ] {
        let query = format!("error={error}&error_description=<script>&state=s&code=c");
        let refused = world.respond(&query).await.unwrap_err();
        assert!(matches!(refused, OidcError::Denied(found) if found == code), "{refused}");
        assert_eq!(refused.kind(), kind);
        assert!(!refused.to_string().contains("script") && !format!("{refused:?}").contains("script"));
    }
    assert_eq!(world.asked("/token"), 0, "a code beside an error is not used");
}

#[tokio::test]
async fn responses_that_say_nothing_or_one_thing_twice_are_refused() {
    let world = World::new().await;
    let long = format!("code={}", "c".repeat(16 * 1024));
    for (query, expected) in [
        ("", ResponseRefusal::Empty),
        ("state=s", ResponseRefusal::Empty),
        ("code=&state=s", ResponseRefusal::Empty),
        ("code=a&code=b", ResponseRefusal::Doubled),
        ("code=a&state=s&state=s", ResponseRefusal::Doubled),
        ("code=a&error=x&error=y", ResponseRefusal::Doubled),
        (&format!("code=a&iss={0}&iss={0}", world.issuer()), ResponseRefusal::Doubled),
        (long.as_str(), ResponseRefusal::TooLong),
    ] {
        let refused = world.respond(query).await.unwrap_err();
        assert!(matches!(refused, OidcError::Response(found) if found == expected), "{query:.40}: {refused}");
    }
    assert_eq!(world.asked("/token"), 0);
    let response =
        AuthorizationResponse::parse("session_state=x&code=s3cret&state=a%20b&scope=x&scope=y").unwrap();
    assert_eq!(response.state(), "a b");
    assert!(!format!("{response:?}").contains("s3cret"));
    assert_eq!(AuthorizationResponse::parse("").unwrap().state(), "");
}
