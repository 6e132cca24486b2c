//! On whose behalf a service asks: believed from those who may say so, and never a right of its own.

use doorward::model::api_key::KeyScope;
use doorward::model::role::Role;

use crate::credentials::ROUTES;
use crate::support::gateway::bearer;
use crate::support::{Gateway, Upstream};

const NAMES: [&str; 5] = ["x-user-id", "x-user-email", "x-user-name", "x-org-id", "x-service-account"];
const SAID: &str = "x-user-id: alice\r\nx-user-email: alice%40example.org\r\nX-Org-Id: 1\r\nx-service-account: forged\r\n\
                    X_User_Name: forged\r\n";

async fn gateway(upstream: &Upstream, settings: &str) -> Gateway {
    let url = upstream.url();
    Gateway::configured(&format!(
        "[[upstreams]]\nname = \"app\"\nurl = \"{url}\"\nheaders = \"micromegas\"\n{settings}\n{ROUTES}"
    ))
    .await
}

async fn acting(gateway: &Gateway, role: Role) -> String {
    let scope = KeyScope { may_act_for_users: true, ..KeyScope::default() };
    bearer(&gateway.key_with("grafana", role, None, scope).await.0)
}

/// What the upstream was told, by name; whatever the spelling.
fn told(upstream: &Upstream) -> Vec<(String, String)> {
    let request = upstream.last();
    let lines = request.head.lines().skip(1).filter_map(|line| line.split_once(':'));
    let mut told: Vec<_> = lines
        .map(|(name, value)| (name.to_lowercase().replace('_', "-"), value.trim().to_owned()))
        .filter(|(name, _)| NAMES.contains(&name.as_str()))
        .collect();
    told.sort();
    told
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_may_say_so_is_believed_and_named() {
    let upstream = Upstream::spawn().await;
    let gateway = gateway(&upstream, "attribution = {}").await;
    let service = acting(&gateway, Role::Viewer).await;
    assert_eq!(gateway.get("/data", &format!("{service}{SAID}")).await.status, 200);
    let wanted = [
        ("x-org-id", "1"),
        ("x-service-account", "grafana"),
        ("x-user-email", "alice%40example.org"),
        ("x-user-id", "alice"),
    ];
    assert_eq!(told(&upstream), pairs(&wanted));
    assert_eq!(upstream.last().header("x-allow-delegation"), Some("true"));
    for said in ["x-user-id: a\r\nx-user-id: b\r\n", "x-user-id: \r\n", "x-user-id: zo\u{eb}\r\n", ""] {
        assert_eq!(gateway.get("/data", &format!("{service}{said}")).await.status, 200);
        assert_eq!(told(&upstream), pairs(&[("x-service-account", "grafana")]), "{said:?}");
    }
    let taken_away = format!("{service}x-user-id: alice\r\nconnection: x-user-id, x-service-account\r\n");
    assert_eq!(gateway.get("/data", &taken_away).await.status, 200);
    assert_eq!(told(&upstream), pairs(&[("x-service-account", "grafana"), ("x-user-id", "alice")]));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_is_believed() {
    let upstream = Upstream::spawn().await;
    let gateway = gateway(&upstream, "attribution = {}").await;
    gateway.user("mel", Role::Admin).await;
    let person = format!("cookie: {}\r\n", gateway.sign_in("mel").await);
    let plain = bearer(&gateway.system_key("plain", Role::Admin).await);
    for (who, path) in [(person.as_str(), "/data"), (&plain, "/data"), ("", "/public/x")] {
        assert_eq!(gateway.get(path, &format!("{who}{SAID}")).await.status, 200);
        assert_eq!(told(&upstream), [], "{who}");
        assert_eq!(upstream.last().header("x-allow-delegation"), Some("false"));
    }
}

/// What sort of client it is speaks for nobody, and every client says it.
#[tokio::test(flavor = "multi_thread")]
async fn the_sort_of_a_client_is_told_by_everybody() {
    let upstream = Upstream::spawn().await;
    let gateway = gateway(&upstream, "attribution = {}").await;
    let plain = bearer(&gateway.system_key("plain", Role::Admin).await);
    for who in [plain, acting(&gateway, Role::Viewer).await] {
        assert_eq!(gateway.get("/data", &format!("{who}x-client-type: python\r\n{SAID}")).await.status, 200);
        assert_eq!(upstream.last().header("x-client-type"), Some("python"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn acting_for_an_admin_opens_nothing() {
    let upstream = Upstream::spawn().await;
    let gateway = gateway(&upstream, "attribution = {}").await;
    gateway.user("root", Role::Admin).await;
    let service = acting(&gateway, Role::Viewer).await;
    let as_root = format!("{service}x-user-id: root\r\nx-user-email: root@example.org\r\n");
    for (line, length) in [("GET /admin", ""), ("POST /data", "content-length: 0\r\n")] {
        assert_eq!(gateway.send(line, &format!("{as_root}{length}")).await.status, 403, "{line}");
    }
    assert_eq!(upstream.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_is_to_know_nothing_is_told_nothing() {
    for settings in ["attribution = { forward = false }", ""] {
        let upstream = Upstream::spawn().await;
        let gateway = gateway(&upstream, settings).await;
        let service = acting(&gateway, Role::Viewer).await;
        let said = SAID.replace("X-Org-Id: 1\r\n", "").replace("x-service-account: forged\r\n", "");
        assert_eq!(gateway.get("/data", &format!("{service}{said}")).await.status, 200);
        assert_eq!(told(&upstream), [], "{settings}");
    }
}
