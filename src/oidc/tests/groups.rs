//! What a sign-in has of a product beside OpenID Connect: hosted domains, and groups that no token holds.

use serde_json::json;

use super::*;
use crate::egress::testing::Behaviour;
use crate::oidc::error::{Lookup, LookupError, OidcErrorKind, TokenRefusal};
use crate::policy::claims::ClaimsRefusal;

const ENTRA: &str =
    "type = \"entra\"\ngraph_url = \"ISSUER\"\n[providers.claims]\nallowed_groups = [\"g-2\"]";

/// What Microsoft Entra ID sends of somebody in too many groups. The address is at an interface that is switched off.
fn overage() -> Value {
    json!({
        "oid": "o1", "_claim_names": { "groups": "src1" },
        "_claim_sources": { "src1": { "endpoint": "https://graph.windows.net/t/users/o1/getMemberObjects" } },
    })
}

fn graph(groups: &[&str]) -> Behaviour {
    let group = |id: &&str| json!({ "@odata.type": "#microsoft.graph.group", "id": id });
    Behaviour::json(&json!({ "value": groups.iter().map(group).collect::<Vec<_>>() }).to_string())
}

async fn rights(world: &World) -> Result<Vec<String>, ClaimsRefusal> {
    let claims = world.sign_in().await.unwrap().claims;
    world.party.config.claims.evaluate(&claims).result.map(|rights| rights.groups)
}

#[tokio::test]
async fn groups_that_entra_left_out_come_from_graph_and_decide() {
    let world = World::with(ENTRA).await;
    world.answer_with(&overage());
    world.set(|script| script.api = graph(&["g-1", "g-2"]));
    assert_eq!(rights(&world).await.unwrap(), ["g-1", "g-2"]);
    assert_eq!(world.asked("/v1.0/me/transitiveMemberOf"), 1, "once for a sign-in");
    let [request] = <[String; 1]>::try_from(world.requests("/v1.0/me/transitiveMemberOf")).unwrap();
    assert!(request.contains("authorization: Bearer the-access-token\r\n"), "{request}");
    world.set(|script| script.api = graph(&["g-1", "g-22"]));
    assert_eq!(rights(&world).await, Err(ClaimsRefusal::NoAllowedGroup));
    world.set(|script| script.api = graph(&[]));
    assert_eq!(rights(&world).await, Err(ClaimsRefusal::NoAllowedGroup));
    world.answer_with(&json!({ "oid": "o1", "hasgroups": true }));
    world.set(|script| script.api = graph(&["g-2"]));
    assert!(rights(&world).await.is_ok());
}

#[tokio::test]
async fn graph_is_not_asked_where_the_token_has_its_groups_or_the_settings_ignore_it() {
    let world = World::with(ENTRA).await;
    world.answer_with(&json!({ "oid": "o1", "groups": ["g-2"] }));
    assert_eq!(rights(&world).await.unwrap(), ["g-2"]);
    let ignoring = World::with(&ENTRA.replace("graph_url = \"ISSUER\"", "group_overage = \"ignore\"")).await;
    ignoring.answer_with(&overage());
    assert_eq!(rights(&ignoring).await, Err(ClaimsRefusal::GroupsElsewhere));
    for world in [world, ignoring] {
        assert!(!world.server.requests().iter().any(|request| request.contains("/v1.0/")));
    }
}

#[tokio::test]
async fn a_directory_that_fails_lets_nobody_in_also_where_no_group_is_needed() {
    let world = World::with(&ENTRA.replace("allowed_groups", "# allowed_groups")).await;
    world.answer_with(&overage());
    for (answer, kind) in [
        (Behaviour::answer(503, "text/plain", ""), OidcErrorKind::Unavailable),
        (Behaviour::answer(403, "application/json", "{}"), OidcErrorKind::Misconfigured),
        (Behaviour::answer(200, "text/html", "<html>"), OidcErrorKind::Unavailable),
        (Behaviour::json("{}"), OidcErrorKind::Unavailable),
    ] {
        world.set(|script| script.api = answer);
        let refused = world.sign_in().await.unwrap_err();
        assert_eq!(refused.kind(), kind, "{refused}");
        assert!(matches!(refused, OidcError::Lookup { what: Lookup::GraphGroups, .. }), "{refused}");
    }
    world.set(|script| script.api = graph(&[]));
    assert!(rights(&world).await.is_ok());
}

#[tokio::test]
async fn a_refresh_keeps_its_tokens_where_the_directory_fails() {
    let world = World::with(ENTRA).await;
    world.answer_with(&overage());
    world.set(|script| script.api = graph(&["g-2"]));
    let begun = world.sign_in().await.unwrap();
    let (token, id_token) = (begun.refresh_token.unwrap(), begun.id_token.unwrap());
    world.set(|script| script.api = graph(&["g-1"]));
    let refreshed = world.party.refresh(&token, &id_token, "o1").await.unwrap();
    let Ok(RefreshedClaims::Told(claims)) = refreshed.claims else { panic!("{:?}", refreshed.claims) };
    assert_eq!(claims.get("groups").unwrap(), &json!(["g-1"]), "a group was lost");
    world.set(|script| script.api = Behaviour::answer(503, "text/plain", ""));
    let refreshed = world.party.refresh(&token, &id_token, "o1").await.unwrap();
    let unsaid = refreshed.claims.unwrap_err();
    assert!(unsaid.may_pass() && matches!(unsaid, OidcError::Lookup { .. }), "{unsaid}");
    assert_eq!(refreshed.refresh_token.expose(), token.expose());
}

#[tokio::test]
async fn groups_of_gitlab_are_those_of_its_api_where_the_settings_say_so() {
    let world = World::with("type = \"gitlab\"\ngroups_api = true").await;
    world.userinfo(&json!({ "sub": "user-1", "groups": ["ops", "platform/db"],
                             "https://gitlab.org/claims/groups/owner": ["ops"] }));
    let page = "HTTP/1.1 200 OK\r\nx-next-page: \r\ncontent-length: 53\r\n\r\n";
    let groups = "[{\"full_path\":\"invited\"},{\"full_path\":\"ops\",\"id\":77}]";
    assert_eq!(groups.len(), 53);
    world.set(|script| script.api = Behaviour::Answer(format!("{page}{groups}").into_bytes()));
    let signed_in = world.sign_in().await.unwrap();
    assert_eq!(signed_in.claims.get("groups").unwrap(), &json!(["invited", "ops"]));
    assert_eq!(
        signed_in.claims.get("https://gitlab.org/claims/groups/owner").unwrap(),
        &json!(["ops"]),
        "of userinfo"
    );
    world.set(|script| {
        script.api = Behaviour::answer(403, "application/json", "{\"error\":\"insufficient_scope\"}");
    });
    let refused = world.sign_in().await.unwrap_err();
    assert!(
        matches!(refused, OidcError::Lookup { what: Lookup::GitlabGroups, error: LookupError::Forbidden }),
        "{refused}"
    );
    assert!(refused.to_string().contains("`read_api`"), "{refused}");
}

#[tokio::test]
async fn a_hosted_domain_is_that_of_the_id_token_and_no_other() {
    let world = World::with("type = \"google\"\nhosted_domains = [\"example.com\", \"example.org\"]").await;
    for (hosted, is_good) in [
        (json!("example.com"), true),
        (json!("Example.ORG"), true),
        (json!("evil.example.com"), false),
        (json!("example.com.evil.example"), false),
        (json!(["example.com"]), false),
        (json!(""), false),
        // An account of nobody's, with an address of the domain.
        (json!(null), false),
    ] {
        world.answer_with(&json!({ "hd": hosted, "email": "ann@example.com" }));
        let refusal = world.refusal().await;
        assert_eq!(refusal, (!is_good).then_some(TokenRefusal::HostedDomain), "{hosted}");
    }
    // Userinfo does not make up for it.
    world.userinfo(&json!({ "sub": "user-1", "hd": "example.com" }));
    world.answer_with(&json!({ "email": null }));
    assert_eq!(world.refusal().await, Some(TokenRefusal::HostedDomain));
    assert_eq!(OidcError::IdToken(TokenRefusal::HostedDomain).kind(), OidcErrorKind::Denied);
}

#[tokio::test]
async fn google_is_told_the_hosted_domain_as_a_hint() {
    let request = AuthenticationRequest { state: "s", nonce: "n", challenge: "c", login_hint: None };
    for (domains, hint) in [
        ("[]", None),
        ("[\"example.com\"]", Some("example.com")),
        ("[\"a.example\", \"b.example\"]", Some("*")),
    ] {
        let world = World::with(&format!("type = \"google\"\nhosted_domains = {domains}")).await;
        let sent = parameters(&world.party.authorization_url(&request).await.unwrap());
        let found = sent.iter().find(|(name, _)| name == "hd").map(|(_, value)| value.as_str());
        assert_eq!(found, hint);
    }
}
