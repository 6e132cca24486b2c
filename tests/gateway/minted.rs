//! What upstreams are told under our signature, checked without the library that signs.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use doorward::model::role::Role;
use serde_json::Value;

use crate::credentials::ROUTES;
use crate::support::gateway::bearer;
use crate::support::raw::exchange;
use crate::support::{Gateway, Upstream};

const SECRET: &str = "q7Zt0Vb3Xn9Ks2Lw8Rf4Hd6Jy1Mg5Pc+/=";
const SHARED: &str = "Kd0Vb3Xn9Ks2Lw8Rf4Hd6Jy1Mg5PcZr8+/=";
const DAY: Duration = Duration::from_hours(24);

async fn gateway(upstream: &Upstream, settings: &str) -> Gateway {
    let url = upstream.url();
    Gateway::configured(&format!(
        "secret = \"{SECRET}\"\n[[upstreams]]\nname = \"app\"\nurl = \"{url}\"\n{settings}\n{ROUTES}"
    ))
    .await
}

/// A token taken apart; nothing of it is believed yet.
#[derive(Clone)]
struct Token {
    header: Value,
    claims: Value,
    signed: String,
    signature: Vec<u8>,
}

impl Token {
    fn of(text: &str) -> Self {
        let (signed, signature) = text.rsplit_once('.').unwrap();
        let (header, claims) = signed.split_once('.').unwrap();
        let json = |part: &str| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
        Self {
            header: json(header),
            claims: json(claims),
            signed: signed.to_owned(),
            signature: URL_SAFE_NO_PAD.decode(signature).unwrap(),
        }
    }

    fn kid(&self) -> &str {
        self.header["kid"].as_str().unwrap()
    }

    /// Whether a key of the set says that it is genuine.
    fn verifies(&self, set: &Value) -> bool {
        let keys = set["keys"].as_array().unwrap();
        let Some(key) = keys.iter().find(|key| key["kid"] == self.header["kid"]) else { return false };
        self.verifies_with(key)
    }

    /// The same for one key, whichever the token names.
    fn verifies_with(&self, key: &Value) -> bool {
        assert!(key.get("d").is_none() && key["use"] == "sig" && key["alg"] == self.header["alg"], "{key}");
        let part = |name: &str| URL_SAFE_NO_PAD.decode(key[name].as_str().unwrap()).unwrap();
        if self.header["alg"] == "RS256" {
            let public = RsaPublicKeyComponents { n: part("n"), e: part("e") };
            let signed = self.signed.as_bytes();
            return public.verify(&RSA_PKCS1_2048_8192_SHA256, signed, &self.signature).is_ok();
        }
        let (algorithm, public): (&'static dyn aws_lc_rs::signature::VerificationAlgorithm, _) =
            match self.header["alg"].as_str().unwrap() {
                "ES256" => (&ECDSA_P256_SHA256_FIXED, [vec![4], part("x"), part("y")].concat()),
                "EdDSA" => (&ED25519, part("x")),
                other => panic!("{other}"),
            };
        UnparsedPublicKey::new(algorithm, public).verify(self.signed.as_bytes(), &self.signature).is_ok()
    }
}

async fn keys(gateway: &Gateway) -> Value {
    let answer = gateway.get("/_doorward/jwks.json", "").await;
    assert_eq!(answer.status, 200);
    assert!(answer.header("cache-control").unwrap().contains("public"));
    serde_json::from_str(&answer.text()).unwrap()
}

fn kids(set: &Value) -> Vec<String> {
    set["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

/// What the upstream was told last, under one name.
fn told(upstream: &Upstream, name: &str) -> Token {
    let value = upstream.last().header(name).unwrap_or_else(|| panic!("no {name}")).to_owned();
    Token::of(value.strip_prefix("Bearer ").unwrap_or(&value))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_assertion_names_the_caller_and_verifies_with_the_published_keys() {
    for (algorithm, alg) in [("es256", "ES256"), ("eddsa", "EdDSA")] {
        let upstream = Upstream::spawn().await;
        let gateway = gateway(&upstream, &format!("assertion = {{ algorithm = \"{algorithm}\" }}")).await;
        gateway.user_with("zoe", Role::Member, &["büro", "ops"], false).await;
        let cookie = format!("cookie: {}\r\n", gateway.sign_in("zoe").await);
        let forged = "x-doorward-assertion: forged\r\nX_Doorward_Assertion: forged\r\n";
        assert_eq!(gateway.get("/data", &format!("{cookie}{forged}")).await.status, 200);
        assert_eq!(upstream.last().head.to_lowercase().matches("assertion:").count(), 1);
        let token = told(&upstream, "x-doorward-assertion");
        let set = keys(&gateway).await;
        assert!(token.verifies(&set) && token.header["alg"] == alg, "{}", token.header);
        let mut other = Token::of(upstream.last().header("x-doorward-assertion").unwrap());
        other.signed = other.signed.replace('.', ".e");
        assert!(!other.verifies(&set), "another text is not what was signed");
        let claims = &token.claims;
        assert_eq!((claims["iss"].as_str(), claims["aud"].as_str()), (Some("http://localhost"), Some("app")));
        assert_eq!(claims["groups"], serde_json::json!(["büro", "ops"]));
        assert_eq!(
            (claims["preferred_username"].as_str(), claims["role"].as_str()),
            (Some("zoe"), Some("member"))
        );
        assert!(claims["sub"].as_str().unwrap().starts_with("user:"));
        let (issued, end) = (claims["iat"].as_i64().unwrap(), claims["exp"].as_i64().unwrap());
        assert!(
            issued == 1_900_000_000 && claims["nbf"] == claims["iat"] && (1..=300).contains(&(end - issued))
        );

        assert_eq!(gateway.get("/public/x", forged).await.status, 200);
        assert!(upstream.last().header("x-doorward-assertion").is_none(), "nobody is nobody");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_assertion_is_made_once_and_renewed_long_before_it_ends() {
    let upstream = Upstream::spawn().await;
    let settings =
        "assertion = { lifetime = \"5m\", audience = \"https://app.internal\", header = \"X-Word\" }";
    let gateway = Gateway::configured(&format!(
        "[server]\nworkers = 1\n[[upstreams]]\nname = \"app\"\nurl = \"{}\"\n{settings}\n{ROUTES}",
        upstream.url()
    ))
    .await;
    let key = bearer(&gateway.system_key("ci", Role::Viewer).await);
    let mut seen: Vec<String> = Vec::new();
    for step in 0..6 {
        assert_eq!(gateway.get("/data", &key).await.status, 200);
        let text = upstream.last().header("x-word").unwrap().to_owned();
        let token = Token::of(&text);
        let now = 1_900_000_000 + step * 60;
        assert!(token.claims["exp"].as_i64().unwrap() - now >= 150, "at least half its life is left");
        assert_eq!(token.claims["aud"], "https://app.internal");
        seen.push(text);
        gateway.clock.advance(Duration::from_mins(1));
    }
    seen.dedup();
    assert_eq!(seen.len(), 2, "one for each two and a half minutes");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_follow_one_another_with_overlap_and_replicas_agree() {
    let upstream = Upstream::spawn().await;
    let settings = "assertion = {}";
    let gateway = gateway(&upstream, settings).await;
    let key = bearer(&gateway.system_key("ci", Role::Viewer).await);
    let (mut old, mut last, mut changes) = (None::<Token>, keys(&gateway).await, 0);
    for _ in 0..25 {
        assert_eq!(gateway.get("/data", &key).await.status, 200);
        let token = told(&upstream, "x-doorward-assertion");
        let published = keys(&gateway).await;
        assert_eq!(kids(&published).len(), 3);
        assert!(token.verifies(&published));
        assert!(token.verifies(&last), "whoever asked three days ago knows the key already");
        if let Some(old) = &old {
            assert!(old.verifies(&published), "what was signed three days ago can still be checked");
            changes += usize::from(old.kid() != token.kid());
        }
        (old, last) = (Some(token), published);
        gateway.clock.advance(3 * DAY);
    }
    assert_eq!(changes, 2, "two changes in 72 days");
    assert!(!kids(&last).contains(&kids(&keys(&self::gateway(&upstream, settings).await).await)[0]));

    let (one, other) = (self::gateway(&upstream, settings).await, self::gateway(&upstream, settings).await);
    assert_eq!(keys(&one).await, keys(&other).await, "the same secret makes the same keys");
    let stranger = Gateway::configured(&format!(
        "[[upstreams]]\nname = \"app\"\nurl = \"{}\"\n{settings}\n{ROUTES}",
        upstream.url()
    ))
    .await;
    let strange = kids(&keys(&stranger).await);
    assert_eq!(strange.len(), 3);
    assert!(strange.iter().all(|kid| !kids(&last).contains(kid)));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_public_and_read_only_and_none_where_nothing_is_signed() {
    let upstream = Upstream::spawn().await;
    let gateway = gateway(&upstream, "").await;
    assert_eq!(keys(&gateway).await, serde_json::json!({ "keys": [] }));
    let post = gateway.send("POST /_doorward/jwks.json", "content-length: 0\r\n").await;
    assert_eq!((post.status, post.header("allow")), (405, Some("GET, HEAD")));
    assert_eq!(upstream.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_minted_bearer_replaces_whatever_the_client_proved_itself_with() {
    let upstream = Upstream::spawn().await;
    let settings = format!(
        "bearer = {{ algorithm = \"hs256\", key = \"{SHARED}\", issuer = \"door\", audience = \"vizier\", lifetime = \"10m\", \
         claims = {{ UserID = \"{{subject}}\", Scopes = \"user\", Teams = \"{{groups}}\", Org = \"{{group:org-*}}\", Level = 3, Beta = true, email = \"{{name}}\" }} }}"
    );
    let gateway = gateway(&upstream, &settings).await;
    gateway.user_with("mel", Role::Member, &["ops", "org-a"], false).await;
    let cookie = format!("cookie: {}\r\n", gateway.sign_in("mel").await);
    let key = gateway.system_key("ci", Role::Viewer).await;
    for (who, subject, org) in [(cookie.clone(), "user:", Some("a")), (bearer(&key), "key:", None)] {
        assert_eq!(gateway.get("/data", &who).await.status, 200);
        let sent = upstream.last();
        assert!(!sent.head.contains("dw_s_"), "{}", sent.head);
        assert_eq!(sent.head.to_lowercase().matches("authorization:").count(), 1);
        let token = told(&upstream, "authorization");
        assert!(genuine(&token, SHARED) && !genuine(&token, SECRET));
        let claims = &token.claims;
        assert_eq!((claims["iss"].as_str(), claims["aud"].as_str()), (Some("door"), Some("vizier")));
        assert!(claims["UserID"] == claims["sub"] && claims["sub"].as_str().unwrap().starts_with(subject));
        assert_eq!(
            (claims["Scopes"].as_str(), claims["Level"].as_i64(), claims["Beta"].as_bool()),
            (Some("user"), Some(3), Some(true))
        );
        assert_eq!(claims.get("Org").and_then(Value::as_str), org);
        assert!(claims["Teams"].is_array() && claims.get("email").is_none(), "{claims}");
        assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 600);
    }
    assert_eq!(gateway.get("/public/x", "").await.status, 200);
    assert!(upstream.last().header("authorization").is_none());
    let count = upstream.count();
    let own = told_by(&gateway, &upstream, &cookie).await;
    for stolen in [format!("Bearer {own}"), own] {
        assert_eq!(
            gateway.get("/public/x", &format!("authorization: {stolen}\r\n{cookie}")).await.status,
            401
        );
    }
    assert_eq!(upstream.count(), count + 1, "our own word opens nothing here");
}

/// Whether a shared secret says that a token is genuine.
fn genuine(token: &Token, secret: &str) -> bool {
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret.as_bytes());
    aws_lc_rs::hmac::verify(&key, token.signed.as_bytes(), &token.signature).is_ok()
}

/// A new private key as PEM, readable by its owner alone.
fn key_file(folder: &Path, name: &str, algorithm: &'static rcgen::SignatureAlgorithm) -> PathBuf {
    let file = folder.join(name);
    std::fs::write(&file, rcgen::KeyPair::generate_for(algorithm).unwrap().serialize_pem()).unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    file
}

#[tokio::test(flavor = "multi_thread")]
async fn a_minted_bearer_of_each_algorithm_verifies_with_the_published_keys() {
    let folder = tempfile::tempdir().unwrap();
    for (word, alg, pem) in [
        ("rs256", "RS256", Some(&rcgen::PKCS_RSA_SHA256)),
        ("es256", "ES256", Some(&rcgen::PKCS_ECDSA_P256_SHA256)),
        ("eddsa", "EdDSA", Some(&rcgen::PKCS_ED25519)),
        ("hs256", "HS256", None),
    ] {
        let upstream = Upstream::spawn().await;
        let key = |name: &str, secret: &str| match pem {
            Some(pem) => format!("key_file = \"{}\"", key_file(folder.path(), name, pem).display()),
            None => format!("key = \"{secret}\""),
        };
        let bearer_of = |key: &str| format!("bearer = {{ algorithm = \"{word}\", {key} }}");
        let settings = format!(
            "{}\n[[upstreams]]\nname = \"other\"\nurl = \"{}\"\n{}\n\
             [[routes]]\nupstream = \"other\"\npath = \"/other\"",
            bearer_of(&key("app.pem", SHARED)),
            upstream.url(),
            bearer_of(&key("other.pem", SECRET)),
        );
        let gateway = gateway(&upstream, &settings).await;
        let credential = bearer(&gateway.system_key("ci", Role::Viewer).await);
        let mut tokens = Vec::new();
        for (path, audience) in [("/data", "app"), ("/other/data", "other")] {
            assert_eq!(gateway.get(path, &credential).await.status, 200);
            let token = told(&upstream, "authorization");
            assert_eq!((&token.header["alg"], &token.claims["aud"]), (&alg.into(), &audience.into()));
            tokens.push(token);
        }
        let published = keys(&gateway).await;
        if pem.is_none() {
            assert_eq!(published, serde_json::json!({ "keys": [] }), "a shared secret is published nowhere");
            for (token, own, others) in [(&tokens[0], SHARED, SECRET), (&tokens[1], SECRET, SHARED)] {
                assert!(genuine(token, own) && !genuine(token, others));
            }
            continue;
        }
        assert_eq!(published["keys"].as_array().unwrap().len(), 2, "{published}");
        let key_of = |token: &Token| {
            let keys = published["keys"].as_array().unwrap();
            keys.iter().find(|key| key["kid"] == token.header["kid"]).unwrap().clone()
        };
        for (token, other) in [(&tokens[0], &tokens[1]), (&tokens[1], &tokens[0])] {
            assert!(token.verifies(&published), "{word}: {published}");
            assert!(!token.verifies_with(&key_of(other)), "{word}: a token for one is none for the other");
            let altered = Token { signed: token.signed.replace('.', ".e"), ..token.clone() };
            assert!(!altered.verifies(&published), "{word}: another text is not what was signed");
        }
    }
}

async fn told_by(gateway: &Gateway, upstream: &Upstream, cookie: &str) -> String {
    assert_eq!(gateway.get("/data", cookie).await.status, 200);
    upstream.last().header("authorization").unwrap().trim_start_matches("Bearer ").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_to_other_proxies_carry_both_and_empty_ones_for_nobody() {
    let gateway = Gateway::configured(&format!(
        "[server]\nworkers = 1\ntrusted_proxies = [\"127.0.0.1\"]\n\
         [forward_auth]\nflavours = [\"traefik\"]\nassertion = {{ algorithm = \"eddsa\" }}\n\
         bearer = {{ algorithm = \"hs256\", key = \"{SHARED}\" }}\n\
         [[routes]]\nname = \"wiki\"\nhosts = [\"app.example\"]\n\
         rules = [ {{ path = \"/public\", allow = \"anyone\" }}, {{ allow = \"viewer\" }} ]\n"
    ))
    .await;
    let key = bearer(&gateway.system_key("ci", Role::Viewer).await);
    let ask = |uri: &str, more: &str| {
        let own = gateway.address;
        exchange(
            own,
            format!(
                "GET /_doorward/auth/traefik HTTP/1.1\r\nhost: {own}\r\nx-forwarded-method: GET\r\n\
                 x-forwarded-proto: https\r\nx-forwarded-host: app.example\r\nx-forwarded-uri: {uri}\r\n{more}\r\n"
            ),
        )
    };
    let known = ask("/data", &key).await;
    assert_eq!(known.status, 200);
    let assertion = Token::of(known.header("x-doorward-assertion").unwrap());
    assert!(assertion.verifies(&keys(&gateway).await));
    assert_eq!(assertion.claims["aud"], "wiki");
    let minted = Token::of(known.header("authorization").unwrap().strip_prefix("Bearer ").unwrap());
    assert_eq!(minted.claims["sub"], assertion.claims["sub"]);
    let nobody = ask("/public", "x-doorward-assertion: forged\r\n").await;
    assert_eq!(
        (nobody.status, nobody.header("x-doorward-assertion"), nobody.header("authorization")),
        (200, Some(""), Some(""))
    );
    let refused = ask("/data", "").await;
    assert_eq!(
        (refused.status, refused.header("x-doorward-assertion"), refused.header("authorization")),
        (401, None, None)
    );
}

/// Airflow wants its own words for roles, and takes nobody whose token has none.
#[tokio::test(flavor = "multi_thread")]
async fn a_claim_is_a_role_in_the_applications_word_and_explain_names_a_claim_that_is_missing() {
    let upstream = Upstream::spawn().await;
    let settings = format!(
        "bearer = {{ algorithm = \"hs256\", key = \"{SHARED}\", audience = \"apache-airflow\", \
         claims = {{ role = \"{{role:admin=ADMIN,member=OP,viewer=VIEWER}}\", \
         teams = [\"all\", \"{{group:team-*}}\"] }} }}"
    );
    let gateway = gateway(&upstream, &settings).await;
    let admin = bearer(&gateway.system_key("ops", Role::Admin).await);
    let agent = bearer(&gateway.system_key("agent", Role::Agent).await);
    for (who, path, role) in [(&admin, "/data", Some("ADMIN")), (&agent, "/public/x", None)] {
        assert_eq!(gateway.get(path, who).await.status, 200);
        let claims = told(&upstream, "authorization").claims;
        assert_eq!(
            (claims["role"].as_str(), claims["aud"].as_str()),
            (role, Some("apache-airflow")),
            "{claims}"
        );
    }
    let answer = gateway.get("/public/x", &format!("x-doorward-explain: 1\r\n{admin}")).await;
    let why: Value = serde_json::from_str(answer.header("x-doorward-explain").unwrap()).unwrap();
    assert_eq!(why["without_value"], serde_json::json!(["claim teams of the token in authorization"]));
    let query = "/_doorward/api/explain?request=GET%20/public/x&as=key:agent";
    let why: Value = serde_json::from_str(&gateway.get(query, &admin).await.text()).unwrap();
    assert_eq!(why["without_value"][0], "claim role of the token in authorization", "{why}");
}
