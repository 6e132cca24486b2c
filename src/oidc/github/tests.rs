//! GitHub as it answers (docs.github.com/rest), and as it must not.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::*;
use crate::egress::testing::{Behaviour, TestServer};
use crate::model::time::ManualClock;
use crate::oidc::error::{ErrorCode, Lookup, OidcErrorKind, TokenEndpointError};
use crate::oidc::testing::{CODE, NOW, REDIRECT, SECRET, VERIFIER, config, only, parameters};
use crate::policy::claims::{ClaimSet, ClaimsRefusal};

const TOKEN: &str = "gho_16C7e42F292c6912E7710c838347Ae178B4a";

/// GitHub, and the gateway as an application there.
struct World {
    server: TestServer,
    answers: Arc<Mutex<HashMap<String, Behaviour>>>,
    github: Github,
}

impl World {
    async fn new() -> Self {
        Self::with("").await
    }

    async fn with(settings: &str) -> Self {
        let answers: Arc<Mutex<HashMap<String, Behaviour>>> = Arc::default();
        let asked = Arc::clone(&answers);
        let server = TestServer::plain(Behaviour::Choose(Arc::new(move |request| {
            let target = request.split(' ').nth(1).unwrap();
            let answers = asked.lock().unwrap();
            let path = target.split('?').next().unwrap();
            let known = answers.get(target).or_else(|| answers.get(path));
            known.cloned().unwrap_or_else(|| panic!("nobody asks for {target}"))
        })))
        .await;
        let folder = tempfile::tempdir().unwrap();
        let config = config(&folder, &server.url(""), &format!("type = \"github\"\n{settings}"));
        let clock = Arc::new(ManualClock::at(NOW));
        let github = Github::new(config, REDIRECT.to_owned(), clock).unwrap();
        let world = Self { server, answers, github };
        world.token(&json!({ "access_token": TOKEN, "token_type": "bearer", "scope": "read:org,read:user,user:email" }));
        world.api("/user", &json!({ "login": "octocat", "id": 583_231, "name": "The Octocat", "email": null, "type": "User" }));
        world.api("/user/emails", &json!([
            { "email": "583231+octocat@users.noreply.github.com", "primary": false, "verified": true, "visibility": null },
            { "email": "octocat@example.com", "primary": true, "verified": true, "visibility": "private" },
        ]));
        world.api("/user/orgs", &json!([organization(1, "acme")]));
        world.api("/user/teams", &json!([team(7, "platform", 1, "acme", Some("engineering"))]));
        world
    }

    fn set(&self, path: &str, answer: Behaviour) {
        self.answers.lock().unwrap().insert(path.to_owned(), answer);
    }

    fn api(&self, path: &str, answer: &Value) {
        self.set(&format!("/api/v3{path}"), Behaviour::json(&answer.to_string()));
    }

    fn token(&self, answer: &Value) {
        self.set("/login/oauth/access_token", Behaviour::json(&answer.to_string()));
    }

    async fn respond(&self, query: &str) -> Result<Authentication, OidcError> {
        let response = AuthorizationResponse::parse(query).map_err(OidcError::Response)?;
        self.github.complete(&response, &Secret::new(VERIFIER)).await
    }

    async fn sign_in(&self) -> Result<Authentication, OidcError> {
        self.respond(&format!("code={CODE}&state=s")).await
    }

    /// What may not be read, and why.
    async fn refusal(&self) -> (Lookup, LookupError) {
        match self.sign_in().await {
            Err(OidcError::Lookup { what, error }) => (what, error),
            other => panic!("{other:?}"),
        }
    }

    fn requests(&self, path: &str) -> Vec<String> {
        let is_at = |request: &String| request.split([' ', '?']).nth(1) == Some(path);
        self.server.requests().into_iter().filter(is_at).collect()
    }
}

fn organization(id: u64, login: &str) -> Value {
    json!({ "login": login, "id": id, "url": format!("https://api.github.com/orgs/{login}"), "description": null })
}

fn team(id: u64, slug: &str, organization_id: u64, login: &str, parent: Option<&str>) -> Value {
    let parent = parent.map(|slug| json!({ "id": 6, "slug": slug, "name": slug }));
    json!({ "id": id, "slug": slug, "name": "The Team", "privacy": "closed", "permission": "pull", "parent": parent,
            "organization": organization(organization_id, login) })
}

fn told(claims: Result<RefreshedClaims, OidcError>) -> ClaimSet {
    match claims {
        Ok(RefreshedClaims::Told(claims)) => claims,
        other => panic!("{other:?}"),
    }
}

/// An answer with further headers, each line of which ends.
fn answer(status: u16, headers: &str, body: &Value) -> Behaviour {
    let body = body.to_string();
    let head = format!(
        "HTTP/1.1 {status} As Said\r\ncontent-type: application/json\r\ncontent-length: {}\r\n",
        body.len()
    );
    Behaviour::Answer(format!("{head}{headers}\r\n{body}").into_bytes())
}

#[tokio::test]
async fn a_sign_in_asks_for_a_code_with_pkce_and_without_what_openid_connect_has() {
    let world = World::with("login_hint = true\nprompt = \"select_account\"\nscopes = [\"gist\"]").await;
    let request =
        AuthenticationRequest { state: "s", nonce: "n", challenge: "c", login_hint: Some("octocat") };
    let url = world.github.authorization_url(&request);
    assert!(url.starts_with(&world.server.url("/login/oauth/authorize?")), "{url}");
    let sent = parameters(&url);
    for (name, value) in [
        ("response_type", "code"),
        ("redirect_uri", REDIRECT),
        ("scope", "read:user user:email read:org gist"),
        ("state", "s"),
        ("code_challenge", "c"),
        ("code_challenge_method", "S256"),
        ("login", "octocat"),
        ("prompt", "select_account"),
    ] {
        assert_eq!(only(&sent, name), value);
    }
    assert!(!sent.iter().any(|(name, _)| name == "nonce" || name == "login_hint"));
    assert!(world.server.requests().is_empty(), "nobody is called for that");
}

#[tokio::test]
async fn who_signs_in_is_the_number_with_the_verified_address_organisations_and_teams() {
    let world = World::new().await;
    let signed_in = world.sign_in().await.unwrap();
    assert_eq!(
        (signed_in.issuer.as_str(), signed_in.subject.as_str()),
        (world.server.url("").as_str(), "583231")
    );
    assert!(signed_in.id_token.is_none() && !signed_in.lacks_userinfo);
    let page = include_str!("../../../docs/providers/github.md");
    let shown = page.split("```json\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let shown: Value = serde_json::from_str(shown).unwrap();
    assert_eq!(&Value::Object(signed_in.claims.all().clone()), &shown, "as the documentation shows it");
    let request = world.requests("/login/oauth/access_token").pop().unwrap();
    let (head, form) = request.split_once("\r\n\r\n").unwrap();
    assert!(
        head.to_ascii_lowercase().contains("accept: application/json") && !head.contains("authorization")
    );
    let form: Vec<(String, String)> = url::form_urlencoded::parse(form.as_bytes()).into_owned().collect();
    for (name, value) in
        [("code", CODE), ("code_verifier", VERIFIER), ("redirect_uri", REDIRECT), ("client_secret", SECRET)]
    {
        assert_eq!(only(&form, name), value);
    }
    for path in ["/api/v3/user", "/api/v3/user/emails", "/api/v3/user/orgs", "/api/v3/user/teams"] {
        let [request] = <[String; 1]>::try_from(world.requests(path)).unwrap();
        for header in [
            format!("authorization: Bearer {TOKEN}\r\n"),
            "accept: application/vnd.github+json\r\n".to_owned(),
            "x-github-api-version: 2022-11-28\r\n".to_owned(),
            "user-agent: doorward/".to_owned(),
        ] {
            assert!(request.contains(&header), "{request}");
        }
    }
}

#[tokio::test]
async fn a_renamed_login_is_the_same_person_and_a_reused_one_is_another() {
    let world = World::new().await;
    let first = world.sign_in().await.unwrap().subject;
    world.api("/user", &json!({ "login": "renamed", "id": 583_231 }));
    assert_eq!(world.sign_in().await.unwrap().subject, first);
    world.api("/user", &json!({ "login": "octocat", "id": 99 }));
    assert_ne!(world.sign_in().await.unwrap().subject, first);
}

/// O39: of a provider that speaks OAuth 2.0 alone.
#[tokio::test]
async fn only_an_address_that_is_primary_and_verified_counts() {
    let address =
        |primary, verified| json!([{ "email": "a@example.com", "primary": primary, "verified": verified }]);
    let world = World::new().await;
    for (answer, email) in [
        (address(true, true), Some("a@example.com")),
        (address(true, false), None),
        (address(false, true), None),
        (json!([]), None),
    ] {
        world.api("/user/emails", &answer);
        let claims = world.sign_in().await.unwrap().claims;
        assert_eq!(claims.get("email").and_then(Value::as_str), email, "{answer}");
        assert_eq!(claims.get("email_verified"), email.map(|_| &json!(true)), "{answer}");
    }
    // The address of the profile is what its owner wrote there.
    world.api("/user", &json!({ "login": "octocat", "id": 1, "email": "ceo@example.com" }));
    assert!(world.sign_in().await.unwrap().claims.get("email").is_none());
    for status in [403, 404] {
        world.set(
            "/api/v3/user/emails",
            answer(status, "", &json!({ "message": "Resource not accessible by integration" })),
        );
        assert!(
            world.sign_in().await.unwrap().claims.get("email").is_none(),
            "an app may do without addresses"
        );
    }
    world.set("/api/v3/user/emails", answer(500, "", &json!({})));
    assert_eq!(world.refusal().await.0, Lookup::GithubEmails);
}

#[tokio::test]
async fn the_allowed_organisation_or_team_on_a_later_page_is_found_and_others_are_not_let_in() {
    let world = World::with("[providers.claims]\nallowed_groups = [\"needed\", \"needed/ops\"]").await;
    let config = world.github.config.clone();
    let rights = |signed_in: &Authentication| config.claims.evaluate(&signed_in.claims).result;
    assert_eq!(rights(&world.sign_in().await.unwrap()), Err(ClaimsRefusal::NoAllowedGroup));
    let many: Vec<Value> = (10..40).map(|id| organization(id, &format!("org-{id}"))).collect();
    let second = world.server.url("/api/v3/user/orgs?per_page=100&page=2");
    let link = format!("link: <{second}>; rel=\"next\", <{second}>; rel=\"last\"\r\n");
    world.set("/api/v3/user/orgs", answer(200, &link, &json!(many)));
    world.api("/user/orgs?per_page=100&page=2", &json!([organization(3, "needed")]));
    assert!(rights(&world.sign_in().await.unwrap()).is_ok());
    world.api(
        "/user/orgs?per_page=100&page=2",
        &json!([organization(3, "needed-evil"), organization(4, "NEEDED")]),
    );
    assert_eq!(rights(&world.sign_in().await.unwrap()), Err(ClaimsRefusal::NoAllowedGroup));
    world.api("/user/teams", &json!([team(8, "ops", 3, "needed", None)]));
    assert!(rights(&world.sign_in().await.unwrap()).is_ok());
    world.api("/user/teams", &json!([team(8, "ops", 5, "other", None), team(9, "needed", 5, "other", None)]));
    assert_eq!(rights(&world.sign_in().await.unwrap()), Err(ClaimsRefusal::NoAllowedGroup));
    world.set("/api/v3/user/orgs?per_page=100&page=2", answer(502, "", &json!({})));
    assert!(
        matches!(world.refusal().await, (Lookup::GithubOrganizations, LookupError::Call(_))),
        "not a short list"
    );
}

#[tokio::test]
async fn pages_end_and_stay_at_github() {
    let world = World::new().await;
    let round = format!("link: <{}>; rel=\"next\"\r\n", world.server.url("/api/v3/user/teams?page=2"));
    world.set("/api/v3/user/teams", answer(200, &round, &json!([])));
    world.set("/api/v3/user/teams?page=2", answer(200, &round.replace("=2", "=3"), &json!([])));
    world.set("/api/v3/user/teams?page=3", answer(200, &round, &json!([])));
    assert!(matches!(world.refusal().await, (Lookup::GithubTeams, LookupError::TooManyPages(10))));
    assert_eq!(world.requests("/api/v3/user/teams").len(), 10);
    let other = TestServer::plain(Behaviour::json("[]")).await;
    for elsewhere in
        [other.url("/api/v3/user/teams"), "https://evil.example/".to_owned(), world.server.url("/evil")]
    {
        world.set(
            "/api/v3/user/teams",
            answer(200, &format!("link: <{elsewhere}>; rel=\"next\"\r\n"), &json!([])),
        );
        assert!(
            matches!(world.refusal().await, (Lookup::GithubTeams, LookupError::Elsewhere)),
            "{elsewhere}"
        );
    }
    assert_eq!(other.connections(), 0);
}

/// P-02: an error with a status of success.
#[tokio::test]
async fn an_error_of_the_token_endpoint_is_a_refusal_although_its_status_is_200() {
    let world = World::new().await;
    for (error, code, kind) in [
        ("bad_verification_code", ErrorCode::InvalidGrant, OidcErrorKind::Refused),
        ("incorrect_client_credentials", ErrorCode::InvalidClient, OidcErrorKind::Misconfigured),
        ("redirect_uri_mismatch", ErrorCode::InvalidRequest, OidcErrorKind::Misconfigured),
        ("application_suspended", ErrorCode::UnauthorizedClient, OidcErrorKind::Misconfigured),
        ("unverified_user_email", ErrorCode::AccessDenied, OidcErrorKind::Denied),
        ("something_new", ErrorCode::Other, OidcErrorKind::Refused),
    ] {
        world.token(&json!({ "error": error, "error_description": "No.", "error_uri": "/apps" }));
        let refused = world.sign_in().await.unwrap_err();
        assert_eq!(refused.kind(), kind, "{error}");
        assert!(
            matches!(&refused, OidcError::Token(TokenEndpointError::Refused { code: found, .. }) if *found == code),
            "{refused}"
        );
    }
    assert!(world.requests("/api/v3/user").is_empty());
}

#[tokio::test]
async fn a_token_that_may_not_read_organisations_is_told_and_an_app_without_scopes_is_asked() {
    let world = World::new().await;
    let with =
        |scope: &str| world.token(&json!({ "access_token": TOKEN, "token_type": "bearer", "scope": scope }));
    for scope in ["read:user", "user:email,read:user", "org", "xread:org"] {
        with(scope);
        assert!(
            matches!(world.refusal().await, (Lookup::GithubOrganizations, LookupError::Forbidden)),
            "{scope}"
        );
        let told = world.sign_in().await.unwrap_err().to_string();
        assert!(told.contains("`read:org`"), "{told}");
    }
    for scope in ["", "read:org", "admin:org,user", "user,write:org"] {
        with(scope);
        assert!(world.sign_in().await.is_ok(), "{scope}");
    }
}

#[tokio::test]
async fn whatever_github_answers_instead_is_a_refusal_with_a_reason() {
    let no =
        |status: u16, headers: &str| answer(status, headers, &json!({ "message": format!("No, {TOKEN}") }));
    let is = |wanted: fn(&LookupError) -> bool| wanted;
    for (behaviour, wanted, kind) in [
        (no(401, ""), is(|e| matches!(e, LookupError::Unauthorized)), OidcErrorKind::Misconfigured),
        (no(403, ""), is(|e| matches!(e, LookupError::Forbidden)), OidcErrorKind::Misconfigured),
        (
            no(403, "x-ratelimit-remaining: 0\r\n"),
            is(|e| matches!(e, LookupError::RateLimited)),
            OidcErrorKind::Unavailable,
        ),
        (
            no(429, "retry-after: 60\r\n"),
            is(|e| matches!(e, LookupError::RateLimited)),
            OidcErrorKind::Unavailable,
        ),
        (no(404, ""), is(|e| matches!(e, LookupError::NotFound)), OidcErrorKind::Misconfigured),
        (no(500, ""), is(|e| matches!(e, LookupError::Call(_))), OidcErrorKind::Unavailable),
        (
            Behaviour::answer(200, "text/html", "<html>Sign in</html>"),
            is(|e| matches!(e, LookupError::Call(_))),
            OidcErrorKind::Unavailable,
        ),
        (
            Behaviour::json(&format!("[{}]", " ".repeat(2 << 20))),
            is(|e| matches!(e, LookupError::Call(_))),
            OidcErrorKind::Unavailable,
        ),
        (
            Behaviour::Answer(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n[".to_vec()),
            is(|e| matches!(e, LookupError::Call(_))),
            OidcErrorKind::Unavailable,
        ),
        (Behaviour::json("null"), is(|e| matches!(e, LookupError::Shape(_))), OidcErrorKind::Unavailable),
        (
            Behaviour::json("[{\"id\":\"1\",\"login\":7}]"),
            is(|e| matches!(e, LookupError::Shape(_))),
            OidcErrorKind::Unavailable,
        ),
        (
            Behaviour::json("{\"id\":-1,\"login\":\"a\"}"),
            is(|e| matches!(e, LookupError::Shape(_))),
            OidcErrorKind::Unavailable,
        ),
    ] {
        for (path, what) in [
            ("/api/v3/user", Lookup::GithubUser),
            ("/api/v3/user/orgs", Lookup::GithubOrganizations),
            ("/api/v3/user/teams", Lookup::GithubTeams),
        ] {
            let world = World::new().await;
            world.set(path, behaviour.clone());
            let refused = world.sign_in().await.unwrap_err();
            assert_eq!(refused.kind(), kind, "{refused}");
            assert!(!format!("{refused} {refused:?}").contains(TOKEN));
            let OidcError::Lookup { what: found, error } = refused else { panic!("{refused}") };
            assert_eq!(found, what);
            assert!(wanted(&error), "{path}: {error:?}");
        }
    }
}

#[tokio::test]
async fn what_github_never_answers_is_given_up() {
    let world = World::new().await;
    let beginning = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n[".to_vec();
    world.set("/api/v3/user/teams", Behaviour::Hold(beginning));
    let slow = world.sign_in();
    tokio::pin!(slow);
    // The other answers must be there before the clock is stopped: a stopped clock runs ahead while nothing happens.
    let paths = ["/api/v3/user", "/api/v3/user/emails", "/api/v3/user/orgs", "/api/v3/user/teams"];
    while paths.iter().any(|path| world.requests(path).is_empty()) {
        tokio::select! {
            early = &mut slow => panic!("{early:?}"),
            () = tokio::task::yield_now() => {}
        }
    }
    tokio::time::pause();
    let refused = slow.await.unwrap_err();
    assert_eq!(refused.kind(), OidcErrorKind::Unavailable, "{refused}");
    assert!(matches!(refused, OidcError::Lookup { .. }), "{refused}");
}

#[tokio::test]
async fn organisations_that_hide_behind_their_single_sign_on_are_told_and_do_not_count() {
    let world = World::new().await;
    let header = "x-github-sso: partial-results; organizations=21955855,20582480\r\n";
    world.set("/api/v3/user/orgs", answer(200, header, &json!([organization(1, "acme")])));
    world.set("/api/v3/user/teams", answer(200, &header.replace("21955855", "1"), &json!([])));
    let claims = world.sign_in().await.unwrap().claims;
    assert_eq!(claims.get("hidden_organizations").unwrap(), &json!([1, 20_582_480, 21_955_855]));
    assert_eq!(claims.get("groups").unwrap(), &json!(["acme"]));
    world.set(
        "/api/v3/user/orgs",
        answer(403, "x-github-sso: required; url=https://github.com/orgs/x/sso\r\n", &json!({})),
    );
    assert!(matches!(world.refusal().await, (Lookup::GithubOrganizations, LookupError::Forbidden)));
}

#[tokio::test]
async fn an_oauth_app_is_asked_anew_with_its_token_until_that_is_withdrawn() {
    let world = World::new().await;
    let first = world.sign_in().await.unwrap();
    let kept = first.refresh_token.unwrap();
    world.api("/user/orgs", &json!([]));
    world.api("/user/teams", &json!([]));
    let refreshed = world.github.refresh(&kept).await.unwrap();
    assert_eq!(told(refreshed.claims).get("groups").unwrap(), &json!([]), "the organisation was left");
    assert_eq!(refreshed.refresh_token.expose(), kept.expose());
    assert_eq!(world.requests("/login/oauth/access_token").len(), 1);
    world.api("/user", &json!({ "login": "octocat", "id": 99 }));
    let other = world.github.refresh(&kept).await.unwrap().claims.unwrap_err();
    assert!(matches!(other, OidcError::IdToken(TokenRefusal::OtherPerson)), "{other}");
    for (status, is_over) in [(401, true), (403, false), (429, false), (500, false)] {
        world.set("/api/v3/user", answer(status, "", &json!({ "message": "Bad credentials" })));
        assert_eq!(world.github.refresh(&kept).await.unwrap_err().is_over(), is_over, "{status}");
    }
    for damaged in ["", "access", "access:1", "other:1:token", TOKEN] {
        assert!(world.github.refresh(&Secret::new(damaged)).await.is_err(), "{damaged}");
    }
}

#[tokio::test]
async fn a_github_app_goes_on_by_refresh_tokens_and_none_is_lost() {
    let world = World::new().await;
    let tokens = |number: u32| {
        world.token(&json!({
            "access_token": format!("ghu_{number}"), "expires_in": 28800, "refresh_token": format!("ghr_{number}"),
            "refresh_token_expires_in": 15_811_200, "token_type": "bearer", "scope": "",
        }));
    };
    tokens(1);
    let first = world.sign_in().await.unwrap();
    assert_eq!(first.lifetime, LIFETIME);
    tokens(2);
    let second = world.github.refresh(&first.refresh_token.unwrap()).await.unwrap();
    assert_eq!(told(second.claims).get("id").unwrap(), &json!(583_231));
    let sent = world.requests("/login/oauth/access_token").pop().unwrap();
    assert!(sent.contains("refresh_token=ghr_1") && sent.contains("grant_type=refresh_token"), "{sent}");
    tokens(3);
    world.set("/api/v3/user/orgs", answer(502, "", &json!({})));
    let third = world.github.refresh(&second.refresh_token).await.unwrap();
    let unsaid = third.claims.unwrap_err();
    assert!(unsaid.may_pass() && !unsaid.is_over(), "nothing is said, and nothing is forgotten: {unsaid}");
    world.token(&json!({ "error": "bad_refresh_token" }));
    assert!(world.github.refresh(&third.refresh_token).await.unwrap_err().is_over());
    let sent = world.requests("/login/oauth/access_token").pop().unwrap();
    assert!(sent.contains("refresh_token=ghr_3"), "{sent}");
}

#[tokio::test]
async fn a_response_of_another_issuer_and_an_error_spend_nothing() {
    let world = World::new().await;
    for (query, is_issuer) in [
        ("code=c&iss=https://evil.example".to_owned(), true),
        (format!("code=c&iss={}", world.server.url("/login/oauth/evil")), true),
        (
            "error=access_denied&error_description=The+user+has+denied+your+application+access.".to_owned(),
            false,
        ),
    ] {
        let refused = world.respond(&query).await.unwrap_err();
        assert_eq!(matches!(refused, OidcError::Response(_)), is_issuer, "{refused}");
    }
    assert!(world.server.requests().is_empty());
    for issuer in [world.server.url(""), world.server.url("/login/oauth")] {
        assert!(world.respond(&format!("code=c&iss={issuer}")).await.is_ok());
    }
}

#[test]
fn the_interface_follows_from_the_site() {
    for (site, api) in [
        ("https://github.com", "https://api.github.com"),
        ("https://acme.ghe.com", "https://api.acme.ghe.com"),
        ("https://github.example.com", "https://github.example.com/api/v3"),
        ("https://ghe.com.example.com", "https://ghe.com.example.com/api/v3"),
        ("http://127.0.0.1:1", "http://127.0.0.1:1/api/v3"),
    ] {
        assert_eq!(api_of(site), api);
    }
}
