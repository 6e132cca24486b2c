//! Airflow's API server behind its preset, told by a minted token who is calling.

use std::os::unix::fs::PermissionsExt as _;

use http::Method;

use super::{START, beside, free_address, python, requests, surface, walk};
use crate::presets::said;
use crate::support::gateway::Gateway;
use crate::support::process::Process;

const SECRET: &str = "a-secret-of-airflow-of-sixty-four-characters-at-least-0123456789";

#[tokio::test]
async fn airflow_has_the_routes_of_its_page_and_knows_by_a_minted_token_who_is_calling() {
    let Some(python) = python("airflow") else { return };
    let folder = tempfile::tempdir().unwrap();
    let (address, port) = free_address();
    let airflow = |arguments: &[&str]| {
        let mut run = beside(&python, "airflow");
        run.args(arguments).current_dir(folder.path()).env("HOME", folder.path());
        run.env("AIRFLOW_HOME", folder.path()).env("AIRFLOW__CORE__LOAD_EXAMPLES", "False");
        run.env("AIRFLOW__API_AUTH__JWT_SECRET", SECRET).env("AIRFLOW__API_AUTH__JWT_ALGORITHM", "HS256");
        run
    };
    said(&airflow(&["db", "migrate"]).output().unwrap());
    let serve = airflow(&["api-server", "--host", "127.0.0.1", "--port", &port, "--workers", "1"]);
    let process = Process::start("airflow", folder.path(), &serve);
    let program = python.clone();
    let asked = tokio::task::spawn_blocking(move || surface(&program, "airflow_surface.py"));
    let url = format!("http://{address}/api/v2/monitor/health");
    let (surface, _process) = tokio::join!(asked, process.ready(&url, START));
    walk::walk("airflow", &address, &requests("airflow.md", &surface.unwrap().answers)).await;

    let secret = folder.path().join("secret");
    std::fs::write(&secret, SECRET).unwrap();
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
    let gateway = Gateway::start(&format!(
        r#"
        [[upstreams]]
        name = "airflow"
        url = "http://{address}"
        [upstreams.bearer]
        algorithm = "hs256"
        key_file = "{}"
        audience = "apache-airflow"
        claims = {{ role = "{{role:admin=ADMIN,member=OP,viewer=VIEWER}}" }}
        [[routes]]
        upstream = "airflow"
        preset = "airflow"
        "#,
        secret.display()
    ))
    .await;
    for (role, reads, writes) in [("admin", 200, 200), ("member", 200, 403), ("viewer", 200, 403)] {
        let key = gateway.key(role, role, &[]);
        let dags = gateway.send(Method::GET, "/api/v2/dags", &key.key).await;
        assert_eq!(dags.status, reads, "{role}: {dags:?}");
        let variables = gateway.send(Method::GET, "/api/v2/variables", &key.key).await;
        assert_eq!(variables.status, writes, "{role}: {variables:?}");
        let me = gateway.send(Method::GET, "/ui/auth/me", &key.key).await;
        assert!(me.body.contains(&key.id), "Airflow knows who asks: {me:?}");
    }
}
