//! Headers whose names and values the operator chose, and presets that must never fall silent.

use doorward::model::api_key::KeyScope;
use doorward::model::role::Role;

use crate::credentials::ROUTES;
use crate::support::gateway::bearer;
use crate::support::oracle::fold;
use crate::support::{Gateway, Upstream};

const SEPARATORS: &str = "-_.~!#$%&'*+^`|";

async fn gateway(upstream: &Upstream, settings: &str) -> Gateway {
    let url = upstream.url();
    Gateway::configured(&format!(
        "[[upstreams]]\nname = \"app\"\nurl = \"{url}\"\n{settings}\n\
         [[upstreams]]\nname = \"other\"\nurl = \"{url}\"\nheaders = \"none\"\n\
         [[routes]]\nupstream = \"other\"\npath = \"/public/other\"\nrules = [{{ allow = \"anyone\" }}]\n{ROUTES}"
    ))
    .await
}

/// The values under a name and everything that folds to it, as the upstream got them.
fn told(upstream: &Upstream, name: &str) -> Vec<String> {
    let request = upstream.last();
    let lines = request.head.lines().skip(1).filter_map(|line| line.split_once(':'));
    lines.filter(|(found, _)| fold(found) == fold(name)).map(|(_, value)| value.trim().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_is_what_the_groups_say_and_never_what_the_client_says() {
    let upstream = Upstream::spawn().await;
    let set = r#"set_headers = { X-Scope-OrgID = "{group:tenant-*}", X-Who = "{user}/{key}" }"#;
    let gateway = gateway(&upstream, set).await;
    gateway.user_with("mel", Role::Member, &["ops", "tenant-büro"], false).await;
    gateway.user_with("vera", Role::Viewer, &["ops"], false).await;
    let key = bearer(&gateway.system_key("ci", Role::Viewer).await);
    let mel = format!("cookie: {}\r\n", gateway.sign_in("mel").await);
    let vera = format!("cookie: {}\r\n", gateway.sign_in("vera").await);
    // People name their own keys, so that no name of theirs is told as that of a key.
    let tom = gateway.user("tom", Role::Viewer).await;
    let own = gateway.key_with("ci", Role::Viewer, Some(tom), KeyScope::default()).await.0;
    assert_eq!(gateway.get("/data", &bearer(&own)).await.status, 200);
    assert_eq!(told(&upstream, "x-who"), [""; 0]);
    for separator in SEPARATORS.chars() {
        let forged: String = ["X-Scope-OrgID", "x-scope-orgid", "X-SCOPE-ORGID", "X-Who"]
            .map(|name| format!("{}: forged\r\n", name.replace('-', &separator.to_string())))
            .concat();
        for connection in ["", "connection: x-scope-orgid, x-who\r\n"] {
            for (who, path, tenant, name) in [
                (mel.as_str(), "/data", &["b%C3%BCro"][..], &[][..]),
                (&mel, "/public/x", &["b%C3%BCro"], &[]),
                (&vera, "/data", &[], &[]),
                (&key, "/data", &[], &["ci/ci"]),
                ("", "/public/x", &[], &[]),
                // An upstream of its own settings, or none, gets no client's copy either.
                (&mel, "/public/other", &[], &[]),
                ("", "/public/other", &[], &[]),
            ] {
                let answer = gateway.get(path, &format!("{who}{connection}{forged}")).await;
                assert_eq!(answer.status, 200, "{path} {}", answer.head);
                assert_eq!(told(&upstream, "x-scope-orgid"), tenant, "{path} {forged}");
                assert_eq!(told(&upstream, "x-who"), name, "{path} {forged}");
            }
        }
    }
    let denied = gateway.get("/admin", &format!("{mel}x-scope-orgid: b\r\n")).await;
    assert_eq!(denied.status, 403, "a header opens no door");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_cannot_bring_a_header_of_ours_back_to_a_client() {
    let upstream = Upstream::spawn().await;
    let gateway = gateway(&upstream, r#"set_headers = { X-Scope-OrgID = "{user}" }"#).await;
    upstream.answers("HTTP/1.1 200 OK\r\nx_scope_orgid: a\r\nX-Scope-OrgID: b\r\ncontent-length: 0\r\n\r\n");
    let answer = gateway.get("/public/x", "").await;
    assert_eq!(answer.status, 200);
    assert!(!answer.head.to_lowercase().contains("orgid"), "{}", answer.head);
}

#[tokio::test(flavor = "multi_thread")]
async fn micromegas_is_told_of_everyone_that_he_is_no_admin_unless_he_is() {
    let upstream = Upstream::spawn().await;
    let gateway = gateway(&upstream, "headers = \"micromegas\"").await;
    gateway.user("root", Role::Admin).await;
    let root = format!("cookie: {}\r\n", gateway.sign_in("root").await);
    let key = bearer(&gateway.system_key("grafana", Role::Viewer).await);
    let forged = "x-auth-is-admin: true\r\nX_Auth_Is_Admin: true\r\nx-allow-delegation: true\r\n\
                  x-auth-subject: root\r\nx-auth-issuer: evil\r\nx-user-id: root\r\n";
    for (who, path, is_admin, subject) in [
        ("", "/public/x", "false", None),
        (&key, "/data", "false", Some("key:")),
        (&root, "/data", "true", Some("user:")),
    ] {
        let answer = gateway.get(path, &format!("{who}{forged}")).await;
        assert_eq!(answer.status, 200);
        assert_eq!(told(&upstream, "x-auth-is-admin"), [is_admin]);
        assert_eq!(told(&upstream, "x-allow-delegation"), ["false"]);
        let subjects = told(&upstream, "x-auth-subject");
        assert_eq!(subjects.len(), usize::from(subject.is_some()), "{subjects:?}");
        assert!(subjects.iter().all(|told| told.starts_with(subject.unwrap())), "{subjects:?}");
        let issuers = told(&upstream, "x-auth-issuer");
        assert!(issuers.iter().all(|issuer| issuer == "http://localhost"), "{issuers:?}");
        assert!(told(&upstream, "x-user-id").is_empty());
    }
}
