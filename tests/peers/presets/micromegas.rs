//! Micromegas' own client, which speaks Arrow Flight over gRPC, in front of a stand-in for its SQL server.

use std::process::Command;

use super::{gateway, program, said};
use crate::support::process::Process;
use crate::support::{PATIENCE, apps_python, free_port, repository, wait_for};

#[tokio::test]
async fn client_of_micromegas_reads_as_a_viewer_and_writes_as_an_admin() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let mut serve = Command::new(apps_python());
    serve.arg(repository("tests/peers/presets/flight_server.py")).arg(port.to_string());
    let server = Process::start("flight", folder.path(), &serve);
    wait_for("a Flight server", PATIENCE, async || server.output().contains("listening").then_some(())).await;
    let gateway = gateway("micromegas", &format!("h2c://127.0.0.1:{port}"), "").await;
    let client = |key: &str| {
        let mut run = program("micromegas_client.py");
        run.arg(&gateway.url);
        if !key.is_empty() {
            run.arg(key);
        }
        said(&run.output().unwrap()).lines().map(str::to_owned).collect::<Vec<_>>()
    };

    for role in ["viewer", "member"] {
        let key = gateway.key(role, role, &[]);
        let lines = client(&key.key);
        let told =
            format!("query done x-auth-subject=key:{} x-auth-is-admin=false authorization=None", key.id);
        assert_eq!(lines[0], told, "the server learns who asks, and not the key");
        assert_eq!(lines[1..], ["prepare done SELECT 42", "write FlightUnauthorizedError"], "{role}");
    }
    let agent = gateway.key("agent", "agent", &[]).key;
    let refused = ["query", "prepare", "write"].map(|call| format!("{call} FlightUnauthorizedError"));
    assert_eq!(client(&agent), refused);
    assert_eq!(client(""), refused.map(|line| line.replace("Unauthorized", "Unauthenticated")));
    assert!(!server.output().contains("written"), "{}", server.output());

    let admin = gateway.key("admin", "admin", &[]).key;
    let lines = client(&admin);
    assert!(lines[0].contains("x-auth-is-admin=true"), "{lines:?}");
    assert!(lines[2].starts_with("write done"), "{lines:?}");
    assert!(server.output().contains("written 3"), "{}", server.output());
}
