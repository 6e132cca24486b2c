//! Auth in front of a Phoenix that is being written to: logged first, keys handed out, then enforced. No span is lost.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use http::Method;
use serde_json::Value;

use crate::phoenix::{Phoenix, traces};
use crate::support::gateway::Gateway;
use crate::support::process::Process;
use crate::support::{python, repository, wait_for};

/// Phoenix takes its time to count what it was sent.
const A_WHILE: Duration = Duration::from_mins(2);

/// A program that sends spans, one at a time.
struct Writer {
    process: Process,
    project: &'static str,
    folder: std::path::PathBuf,
}

impl Writer {
    fn start(folder: &Path, protocol: &'static str, endpoint: &str, project: &'static str) -> Self {
        let folder = folder.join(project);
        std::fs::create_dir(&folder).unwrap();
        let mut write = Command::new(python());
        write.arg(repository("tests/peers/write_spans.py"));
        write.args([protocol, endpoint, project]).arg(folder.join("key")).arg(folder.join("stop"));
        Self { process: Process::start("writer", &folder, &write), project, folder }
    }

    /// It uses the key from its next span on; a file that is half written would be half a key.
    fn hand_out(&self, key: &str) {
        std::fs::write(self.folder.join("new"), key).unwrap();
        std::fs::rename(self.folder.join("new"), self.folder.join("key")).unwrap();
    }

    /// Lets it end, and gives what it counted.
    async fn stop(self) -> Value {
        std::fs::write(self.folder.join("stop"), "").unwrap();
        wait_for("a writer's count", A_WHILE, async || {
            let output = self.process.output();
            let line = output.lines().rev().find(|line| line.starts_with("{\"sent\""))?.to_owned();
            serde_json::from_str(&line).ok()
        })
        .await
    }
}

/// Waits until a project has this many traces more.
async fn more(gateway: &Gateway, key: &str, project: &str, wanted: u64) {
    let before = traces(gateway, key, project).await.unwrap_or_default();
    wait_for(&format!("{wanted} more spans in {project}"), A_WHILE, async || {
        let now = traces(gateway, key, project).await.unwrap_or_default();
        (now >= before + wanted).then_some(())
    })
    .await;
}

fn refused(gateway: &Gateway) -> Vec<Value> {
    gateway.json(&["refused"], "")["refused"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_phoenix_that_is_written_to_gets_its_auth_without_losing_a_span() {
    let phoenix = Phoenix::shared().await;
    let strict = phoenix.config();
    let lenient = format!("enforce = \"log\"\n{strict}");
    let gateway = Gateway::start(&lenient).await;
    let folder = tempfile::tempdir().unwrap();
    let writers = [
        Writer::start(folder.path(), "http", &format!("{}/v1/traces", gateway.url), "rollout-http"),
        Writer::start(folder.path(), "grpc", &gateway.url, "rollout-grpc"),
    ];
    let viewer = gateway.key("reader", "viewer", &[]).key;

    // Nobody has a key, everything arrives, and the report names who sends.
    for writer in &writers {
        more(&gateway, &viewer, writer.project, 20).await;
    }
    let report = wait_for("both writers in the report", A_WHILE, async || {
        let report = refused(&gateway);
        (report.len() == 2).then_some(report)
    })
    .await;
    for (rule, agent) in
        [("ingest", "OTel-OTLP-Exporter-Python"), ("ingest-grpc", "OTel-OTLP-Exporter-Python")]
    {
        let named = report.iter().find(|entry| entry["rule"] == rule).unwrap_or_else(|| panic!("{report:?}"));
        assert_eq!((&named["credential"], &named["code"]), (&"nobody".into(), &"sign-in-required".into()));
        assert_eq!((&named["client"], &named["method"]), (&"127.0.0.1".into(), &"POST".into()));
        assert!(named["user_agent"].as_str().unwrap().starts_with(agent), "{named}");
        assert!(named["count"].as_u64().unwrap() >= 20, "{named}");
    }

    // Keys are handed out, and the report stays empty.
    for writer in &writers {
        writer.hand_out(&gateway.key(writer.project, "agent", &[]).key);
    }
    wait_for("a report that stays empty", A_WHILE, async || {
        gateway.json(&["refused", "--clear"], "");
        for writer in &writers {
            more(&gateway, &viewer, writer.project, 20).await;
        }
        refused(&gateway).is_empty().then_some(())
    })
    .await;

    // It is switched on by saving the file.
    assert_eq!(gateway.send(Method::POST, "/v1/traces", "").await.status, 415, "Phoenix itself answers");
    gateway.save(&strict);
    wait_for("the rules to count", A_WHILE, async || {
        (gateway.send(Method::GET, "/v1/projects", "").await.status == 401).then_some(())
    })
    .await;
    assert_eq!(gateway.send(Method::POST, "/v1/traces", "").await.status, 401);
    for writer in &writers {
        more(&gateway, &viewer, writer.project, 20).await;
    }

    for writer in writers {
        let project = writer.project;
        let count = writer.stop().await;
        let sent = count["sent"].as_u64().unwrap();
        assert_eq!(count["lost"], 0, "{project}: {count}");
        assert!(sent >= 60 && count["with_key"].as_u64().unwrap() >= 40, "{project}: {count}");
        wait_for(&format!("all {sent} spans of {project}"), A_WHILE, async || {
            let arrived = traces(&gateway, &viewer, project).await.unwrap_or_default();
            assert!(arrived <= sent, "{project}: {arrived} of {sent}");
            (arrived == sent).then_some(())
        })
        .await;
        println!("{project}: {count}, all of them arrived");
    }
}
