//! The protocol alone: what each server really says in tokens, userinfo and refusals.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use doorward::config::{ConfigSource, Flags, load};
use doorward::model::secret::Secret;
use doorward::model::time::SystemClock;
use doorward::model::token::TokenDigest;
use doorward::oidc::{
    Authentication, AuthenticationRequest, AuthorizationResponse, ErrorCode, ExpectedResponse, OidcError,
    Refreshed, RefreshedClaims, RelyingParty, TokenEndpointError,
};
use doorward::policy::claims::ClaimSet;
use serde_json::{Value, json};

use super::dex::{self, Dex};
use super::glewlwyd::Glewlwyd;
use super::hydra::Hydra;
use super::keycloak::{self, Realm};
use super::visitor::{Page, Visitor};
use super::{CLIENT, SECRET};
use crate::support::free_port;

pub(super) const REDIRECT: &str = "https://gateway.example/sub/callback/sso";
/// Where browsers come back to that signed out there.
pub(super) const SIGNED_OUT: &str = "https://gateway.example/sub/signed-out";
const VERIFIER: &str = "a-verifier-of-at-least-forty-three-characters";
const NONCE: &str = "a-nonce-of-some-length";
const STATE: &str = "a-state-of-some-length";

/// The gateway as a client; `settings` are further ones of the provider.
pub(super) fn party(issuer: &str, secret: &str, settings: &str) -> RelyingParty {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("doorward.toml");
    let text = format!(
        "[[providers]]\nname = \"sso\"\nissuer = {issuer:?}\nclient_id = {CLIENT:?}\nclient_secret = {secret:?}\n\
         login_hint = true\n{settings}\n[providers.claims]\ngroups = \"groups\"\n\
         [[upstreams]]\nname = \"app\"\nurl = \"http://127.0.0.1:6006\"\n[[routes]]\nupstream = \"app\"\n"
    );
    std::fs::write(&file, text).unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    let source = ConfigSource { file: Some(file), environment: Vec::new() };
    let config = load(&source, &Flags::default()).unwrap_or_else(|error| panic!("{error}"));
    let provider = config.providers.into_iter().next().unwrap();
    RelyingParty::new(provider, REDIRECT.to_owned(), Arc::new(SystemClock)).unwrap()
}

/// The first page that somebody sees at the provider, or the response where there is none.
pub(super) async fn begin(party: &RelyingParty, visitor: &mut Visitor, person: &str) -> Page {
    let challenge = TokenDigest::of(VERIFIER).to_text();
    let request =
        AuthenticationRequest { state: STATE, nonce: NONCE, challenge: &challenge, login_hint: Some(person) };
    visitor.open(&party.authorization_url(&request).await.unwrap()).await
}

pub(super) async fn complete(party: &RelyingParty, page: &Page) -> Result<Authentication, OidcError> {
    let response = AuthorizationResponse::parse(page.query()).unwrap();
    assert_eq!(response.state(), STATE);
    let verifier = Secret::new(VERIFIER);
    party.complete(&response, ExpectedResponse { nonce: NONCE, verifier: &verifier }).await
}

/// A claim of a token that is text.
pub(super) fn claim(token: &Secret, name: &str) -> String {
    let payload = URL_SAFE_NO_PAD.decode(token.expose().split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&payload).unwrap();
    claims[name].as_str().unwrap().to_owned()
}

pub(super) async fn refresh(
    party: &RelyingParty,
    token: &Secret,
    last: &Secret,
) -> Result<Refreshed, OidcError> {
    party.refresh(token, last, &claim(last, "sub")).await
}

#[track_caller]
fn told(refreshed: &Refreshed) -> &ClaimSet {
    match refreshed.claims.as_ref().unwrap() {
        RefreshedClaims::Told(claims) => claims,
        nothing => panic!("{nothing:?}"),
    }
}

fn visitor() -> Visitor {
    Visitor::up_to(REDIRECT)
}

/// Claims of these names.
fn said(authentication: &Authentication, names: &[&str]) -> Value {
    let claims = names.iter().filter_map(|name| Some((*name, authentication.claims.get(name)?.clone())));
    claims.map(|(name, value)| (name.to_owned(), value)).collect::<serde_json::Map<_, _>>().into()
}

fn code_of(error: &OidcError) -> Option<ErrorCode> {
    match error {
        OidcError::Token(TokenEndpointError::Refused { code, .. }) => Some(*code),
        _ => None,
    }
}

/// What any server must do: nobody gets tokens with a wrong secret or by a code for the second time.
async fn refuses_strangers(issuer: &str, settings: &str, page: &Page, fresh: &Page) {
    let party = party(issuer, SECRET, settings);
    complete(&party, page).await.unwrap_err();
    let stranger = super::protocol::party(issuer, "another-secret", settings);
    complete(&stranger, fresh).await.unwrap_err();
}

async fn of_keycloak(party: &RelyingParty, person: &str) -> Page {
    let mut visitor = visitor();
    let page = begin(party, &mut visitor, person).await;
    keycloak::sign_in(&mut visitor, &page, person).await
}

#[tokio::test]
async fn keycloak_says_groups_and_roles_and_follows_what_changes() {
    let Some(realm) = Realm::start("protocol").await else { return };
    let party = party(&realm.issuer, SECRET, "type = \"keycloak\"");
    let response = of_keycloak(&party, "ann").await;
    let begun = complete(&party, &response).await.unwrap();
    let names = ["email", "email_verified", "groups", "resource_access"];
    assert_eq!(
        said(&begun, &names),
        json!({
            "email": "ann@acme.test", "email_verified": true, "groups": ["/engineering", "/engineering/platform"],
            "resource_access": { "doorward": { "roles": ["operator"] } },
        })
    );
    // Who has no group, no role of this client and no address has none of these claims; an address is then said not to be verified.
    let noah = complete(&party, &of_keycloak(&party, "noah").await).await.unwrap();
    assert_eq!(said(&noah, &names), json!({ "email_verified": false, "groups": ["/engineering"] }));
    let eve = complete(&party, &of_keycloak(&party, "eve").await).await.unwrap();
    assert_eq!(said(&eve, &names), json!({ "email": "eve@acme.test", "email_verified": false }));

    realm.leave("ann", "/engineering/platform").await;
    let first = begun.refresh_token.unwrap();
    let second = refresh(&party, &first, begun.id_token.as_ref().unwrap()).await.unwrap();
    let claims = told(&second);
    assert_eq!(claims.get("groups"), Some(&json!(["/engineering"])));
    assert_eq!(claims.get("resource_access"), None, "the role came from the group");
    let again = refresh(&party, &first, begun.id_token.as_ref().unwrap()).await.unwrap_err();
    assert!(again.is_over(), "{again}");
    let ended = refresh(&party, &second.refresh_token, begun.id_token.as_ref().unwrap()).await.unwrap_err();
    assert!(ended.is_over(), "a token that is used again ends them all: {ended}");

    let fresh = of_keycloak(&party, "bob").await;
    refuses_strangers(&realm.issuer, "type = \"keycloak\"", &response, &fresh).await;
}

#[tokio::test]
async fn sign_ins_at_keycloak_go_on_while_its_keys_change() {
    let Some(realm) = Realm::start("keys").await else { return };
    let party = party(&realm.issuer, SECRET, "type = \"keycloak\"");
    let key = |begun: &Authentication| {
        begun.id_token.as_ref().unwrap().expose().split('.').next().unwrap().to_owned()
    };
    let before = complete(&party, &of_keycloak(&party, "ann").await).await.unwrap();
    realm.add_key().await;
    let after = complete(&party, &of_keycloak(&party, "ann").await).await.unwrap();
    assert_ne!(key(&before), key(&after));
    realm.remove_first_key().await;
    complete(&party, &of_keycloak(&party, "bob").await).await.unwrap();
    refresh(&party, &before.refresh_token.unwrap(), before.id_token.as_ref().unwrap()).await.unwrap();
}

#[tokio::test]
async fn hydra_rotates_tokens_and_repeats_what_was_agreed_to() {
    let port = free_port();
    let Some(_hydra) = Hydra::start(port, &[REDIRECT]).await else { return };
    let settings = "scopes = [\"groups\", \"offline_access\"]";
    let party = party(&Hydra::issuer(port), SECRET, settings);
    let response = begin(&party, &mut visitor(), "ann").await;
    let begun = complete(&party, &response).await.unwrap();
    assert_eq!(begun.subject, "ann");
    assert_eq!(
        said(&begun, &["email", "email_verified", "groups"]),
        json!({ "email": "ann@acme.test", "email_verified": true, "groups": ["engineering", "engineering/platform"] })
    );
    let first = begun.refresh_token.unwrap();
    let second = refresh(&party, &first, begun.id_token.as_ref().unwrap()).await.unwrap();
    assert!(told(&second).get("groups").is_some());
    let again = refresh(&party, &first, second.id_token.as_ref().unwrap()).await.unwrap_err();
    assert!(again.is_over(), "{again}");
    let ended = refresh(&party, &second.refresh_token, second.id_token.as_ref().unwrap()).await.unwrap_err();
    assert!(ended.is_over(), "a token that is used again ends them all: {ended}");

    let refused = begin(&party, &mut visitor(), "nobody").await;
    let refused = complete(&party, &refused).await.unwrap_err();
    assert!(matches!(refused, OidcError::Denied(ErrorCode::AccessDenied)), "{refused}");
    let fresh = begin(&party, &mut visitor(), "bob").await;
    refuses_strangers(&Hydra::issuer(port), settings, &response, &fresh).await;
}

const OF_LDAP: &str =
    "scopes = [\"groups\", \"offline_access\"]\nauthorize_parameters = { connector_id = \"ldap\" }";

async fn of_dex(party: &RelyingParty, person: &str) -> Page {
    let mut visitor = visitor();
    let page = begin(party, &mut visitor, person).await;
    dex::sign_in(&mut visitor, &page, person).await
}

#[tokio::test]
async fn dex_says_groups_of_the_directory_as_they_are_written() {
    let port = free_port();
    let Some(dex) = Dex::start(port, &[REDIRECT]).await else { return };
    let party = party(&Dex::issuer(port), SECRET, OF_LDAP);
    let response = of_dex(&party, "ann").await;
    let begun = complete(&party, &response).await.unwrap();
    let names = ["email", "email_verified", "groups"];
    assert_eq!(
        said(&begun, &names),
        json!({ "email": "ann@acme.test", "email_verified": true, "groups": ["Data Science", "Ops (EU)", "Nights, weekends"] })
    );
    let zoe = complete(&party, &of_dex(&party, "zoe").await).await.unwrap();
    assert_eq!(said(&zoe, &["groups"]), json!({ "groups": ["Ops (EU)"] }));
    // Nobody verified this address; Dex says so of every one that a directory has.
    let lea = complete(&party, &of_dex(&party, "lea").await).await.unwrap();
    assert_eq!(said(&lea, &names), json!({ "email": "lea@acme.test", "email_verified": true }));

    // Without the scope `groups` there are none.
    let without = OF_LDAP.replace("\"groups\", ", "");
    let lacking = super::protocol::party(&Dex::issuer(port), SECRET, &without);
    let lacking = complete(&lacking, &of_dex(&lacking, "zoe").await).await.unwrap();
    assert_eq!(said(&lacking, &["groups"]), json!({}));

    dex.directory.leave("ann", "Data Science");
    let first = begun.refresh_token.unwrap();
    let second = refresh(&party, &first, begun.id_token.as_ref().unwrap()).await.unwrap();
    assert_eq!(told(&second).get("groups"), Some(&json!(["Ops (EU)", "Nights, weekends"])));
    let again = refresh(&party, &first, second.id_token.as_ref().unwrap()).await.unwrap_err();
    assert!(again.is_over(), "{again}");
    // Unlike others, Dex leaves the new token alone.
    let third = refresh(&party, &second.refresh_token, second.id_token.as_ref().unwrap()).await.unwrap();
    dex.directory.remove("ann");
    let gone = refresh(&party, &third.refresh_token, third.id_token.as_ref().unwrap()).await.unwrap_err();
    assert_eq!(code_of(&gone), Some(ErrorCode::ServerError), "as if its directory were down: {gone}");

    // It keeps one refresh token for each person and client, that of the latest sign-in.
    let [earlier, later] =
        [(); 2].map(|()| async { complete(&party, &of_dex(&party, "kim").await).await.unwrap() });
    let (earlier, later) = (earlier.await, later.await);
    let superseded = refresh(&party, &earlier.refresh_token.unwrap(), earlier.id_token.as_ref().unwrap())
        .await
        .unwrap_err();
    assert!(superseded.is_over(), "{superseded}");
    refresh(&party, &later.refresh_token.unwrap(), later.id_token.as_ref().unwrap()).await.unwrap();

    let fresh = of_dex(&party, "bob").await;
    refuses_strangers(&Dex::issuer(port), OF_LDAP, &response, &fresh).await;
}

#[tokio::test]
async fn glewlwyd_says_claims_of_people_and_at_a_refresh_by_userinfo_only() {
    let port = free_port();
    let server = Glewlwyd::start(port, &[REDIRECT]).await;
    let settings = "algorithms = [\"ES256\"]";
    let party = party(&Glewlwyd::issuer(port), SECRET, settings);
    let sign_in = async |person: &str| {
        let mut visitor = visitor();
        let page = begin(&party, &mut visitor, person).await;
        server.sign_in(&mut visitor, &page, person).await
    };
    let response = sign_in("ann").await;
    let begun = complete(&party, &response).await.unwrap();
    let names = ["email", "email_verified", "groups"];
    assert_eq!(
        said(&begun, &names),
        json!({ "email": "ann@acme.test", "email_verified": true, "groups": ["engineering", "Data Science"] })
    );
    let bob = complete(&party, &sign_in("bob").await).await.unwrap();
    assert_eq!(
        said(&bob, &names),
        json!({ "email": "bob@acme.test", "email_verified": false, "groups": ["ops", "data science"] })
    );
    server.set_groups("ann", &["engineering"]).await;
    let first = begun.refresh_token.unwrap();
    let second = refresh(&party, &first, begun.id_token.as_ref().unwrap()).await.unwrap();
    assert_eq!(
        second.id_token.as_ref().unwrap().expose(),
        begun.id_token.as_ref().unwrap().expose(),
        "it gives no new one"
    );
    assert_eq!(told(&second).get("groups"), Some(&json!(["engineering"])));
    let again = refresh(&party, &first, begun.id_token.as_ref().unwrap()).await.unwrap_err();
    assert!(again.is_over(), "a status and no word: {again}");
    let fresh = sign_in("bob").await;
    refuses_strangers(&Glewlwyd::issuer(port), settings, &response, &fresh).await;
}
