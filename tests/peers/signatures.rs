//! An application that believes signatures only: `PyJWT` checks the assertion with the published keys, and the
//! minted bearer with the shared secret.

use std::process::Command;

use http::Method;

use crate::support::gateway::Gateway;
use crate::support::process::Process;
use crate::support::{PATIENCE, client, free_port, python, repository};

const SHARED: &str = "Kd0Vb3Xn9Ks2Lw8Rf4Hd6Jy1Mg5PcZr8+/=";

/// I24: an assertion that is forged, or is for another upstream.
#[tokio::test]
async fn pyjwt_believes_the_gateway_and_nobody_else() {
    let directory = tempfile::tempdir().unwrap();
    let (port, issuer) = (free_port(), directory.path().join("issuer"));
    let mut run = Command::new(python());
    run.arg(repository("tests/peers/verifying_app.py")).arg(port.to_string()).arg(&issuer).arg(SHARED);
    let app = Process::start("verifying_app", directory.path(), &run);
    let _app = app.ready(&format!("http://127.0.0.1:{port}/ready"), PATIENCE).await;
    let gateway = Gateway::start(&format!(
        r#"
        [[upstreams]]
        name = "app"
        url = "http://127.0.0.1:{port}"
        assertion = {{}}
        [upstreams.bearer]
        algorithm = "hs256"
        key = "{SHARED}"
        issuer = "door"
        audience = "vizier"
        claims = {{ Scopes = "user" }}
        [[upstreams]]
        name = "other"
        url = "http://127.0.0.1:{port}"
        assertion = {{}}
        [[routes]]
        upstream = "app"
        rules = [ {{ path = "/open", allow = "anyone" }}, {{ allow = "viewer" }} ]
        [[routes]]
        upstream = "other"
        path = "/other"
        rules = [ {{ allow = "viewer" }} ]
        "#
    ))
    .await;
    std::fs::write(&issuer, &gateway.url).unwrap();
    let key = gateway.key("ci", "viewer", &[]);

    let known = gateway.send(Method::GET, "/data", &key.key).await;
    assert_eq!(known.status, 200, "{}", known.body);
    let said = known.json();
    let subject = format!("key:{}", key.id);
    assert_eq!(said["assertion"]["sub"], subject.as_str());
    assert_eq!(
        (said["bearer"]["sub"].as_str(), said["bearer"]["Scopes"].as_str()),
        (Some(subject.as_str()), Some("user"))
    );
    assert_eq!(said["kids"].as_array().map(Vec::len), Some(3), "the last key, this and the next");

    // Nobody, a forger, and a statement for another application.
    let forged = [("x-doorward-assertion", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJyb290In0.")];
    for headers in [&[][..], &forged] {
        let answer = gateway.post(Method::GET, "/open", "", headers, "").await;
        assert_eq!(answer.status, 401, "{}", answer.body);
    }
    let other = gateway.send(Method::GET, "/other", &key.key).await;
    assert!(other.status == 401 && other.body.contains("InvalidAudience"), "{}", other.body);
    let around = client::send(Method::GET, &format!("http://127.0.0.1:{port}/"), &forged, "").await.unwrap();
    assert_eq!(around.status, 401, "{}", around.body);
}
