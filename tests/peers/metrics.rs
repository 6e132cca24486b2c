//! Metrics as Prometheus' own client library reads them.

use std::io::Write as _;
use std::process::{Command, Stdio};

use http::Method;
use serde_json::Value;

use crate::support::gateway::{ADDRESS, Gateway};
use crate::support::{PATIENCE, client, free_port, python, wait_for};

/// Families as `[name, type, [[sample, labels, value], ..]]`.
const READ: &str = "
import json, sys
from prometheus_client.parser import text_string_to_metric_families as read
print(json.dumps([[f.name, f.type, [[s.name, s.labels, s.value] for s in f.samples]] for f in read(sys.stdin.read())]))
";

fn read(page: &str) -> Vec<Value> {
    let mut reader = Command::new(python())
        .args(["-c", READ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    reader.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let output = reader.wait_with_output().unwrap();
    assert!(output.status.success(), "Prometheus' parser refuses:\n{page}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn the_page_is_read_by_prometheus_own_parser() {
    let port = free_port();
    let gateway = Gateway::start(&format!(
        "metrics.listen = \"127.0.0.1:{port}\"\nserver.listen = [\"{ADDRESS}\"]\n[[upstreams]]\nname = \"app\"\n\
         url = \"builtin:sample\"\n[[routes]]\nname = \"odd{{x=1}}é\"\nupstream = \"app\"\nrules = [{{ allow = \"anyone\" }}]\n"
    ))
    .await;
    for _ in 0..7 {
        assert_eq!(gateway.send(Method::GET, "/", "").await.status, 200);
    }
    let address = format!("http://127.0.0.1:{port}/metrics");
    let families = wait_for("the seven requests", PATIENCE, async || {
        let page = client::get(&address).await.ok()?;
        let families = read(&page.body);
        let requests = families.iter().find(|family| family[0] == "doorward_requests")?;
        let counted = requests[2].as_array()?.iter().any(|sample| {
            sample[1]["route"] == "odd{x=1}é" && sample[1]["decision"] == "allow" && sample[2] == 7.0
        });
        counted.then_some(families)
    })
    .await;
    let mut counters = 0;
    for family in &families {
        let (name, kind) = (family[0].as_str().unwrap(), family[1].as_str().unwrap());
        assert!(["counter", "gauge", "histogram"].contains(&kind), "{name} is {kind}");
        assert!(name.starts_with("doorward_") || name.starts_with("process_"), "{name}");
        counters += usize::from(kind == "counter");
    }
    assert!(counters >= 8, "{families:?}");
    let names: Vec<_> = families.iter().map(|family| family[0].as_str().unwrap()).collect();
    let mut once = names.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), names.len(), "a family is there twice");
}
