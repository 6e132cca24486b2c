//! Clients that send a large body before they look for an answer understand why it was refused.

use std::collections::BTreeMap;
use std::process::Command;

use crate::support::gateway::Gateway;
use crate::support::{apps_python, repository};

/// How often each client tries: whether a refusal is read is a matter of chance where it is left to the kernel.
const ROUNDS: &str = "15";

async fn gateway() -> Gateway {
    Gateway::start(
        "[[upstreams]]\nname = \"app\"\nurl = \"http://127.0.0.1:9\"\n\
         [[routes]]\nupstream = \"app\"\nrules = [{ path = \"/\", allow = \"member\" }]",
    )
    .await
}

/// How often each line was printed.
fn counted(program: &str, command: &mut Command) -> BTreeMap<String, usize> {
    let output = command.output().unwrap_or_else(|error| panic!("{program}: {error}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{program}: {text}\n{}", String::from_utf8_lossy(&output.stderr));
    text.lines().fold(BTreeMap::new(), |mut counts, line| {
        *counts.entry(line.to_owned()).or_default() += 1;
        counts
    })
}

#[tokio::test]
async fn python_node_and_curl_read_why_an_upload_was_refused() {
    let gateway = gateway().await;
    let host = gateway.url.trim_start_matches("http://");
    let python = counted(
        "python",
        Command::new(apps_python()).arg(repository("tests/peers/uploads/client.py")).args([host, ROUNDS]),
    );
    let understood = |names: &[&str], yes: &str| -> BTreeMap<String, usize> {
        names.iter().map(|name| (format!("{name} 401 {yes}"), 15)).collect()
    };
    assert_eq!(python, understood(&["http.client", "requests", "requests-chunked"], "True"));
    let node = counted(
        "node",
        Command::new("node").arg(repository("tests/peers/uploads/client.js")).args([host, ROUNDS]),
    );
    assert_eq!(node, understood(&["fetch", "http", "http2"], "true"));

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("body");
    std::fs::write(&file, vec![b'x'; 1 << 20]).unwrap();
    // With and without asking first (`Expect: 100-continue`), of known length and in chunks, by HTTP/2.
    for more in
        [&[][..], &["-H", "Expect:"], &["-H", "Transfer-Encoding: chunked"], &["--http2-prior-knowledge"]]
    {
        for round in 0..15 {
            let output = Command::new("curl")
                .args([
                    "-sS",
                    "-m",
                    "20",
                    "-H",
                    "Authorization: Bearer dw_s_wrong",
                    "-w",
                    " %{http_code}",
                    "-T",
                ])
                .arg(&file)
                .args(more)
                .arg(format!("http://{host}/data"))
                .output()
                .unwrap();
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success(), "{more:?} {round}: {output:?}");
            assert!(text.ends_with(" 401") && text.contains("invalid-key"), "{more:?} {round}: {text}");
        }
    }
}
