//! What the peer tests share: processes that end with the test, HTTP clients, a gateway, a browser.

pub(crate) mod chrome;
pub(crate) mod client;
pub(crate) mod gateway;
pub(crate) mod process;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

/// Everything that is waited for is there by then, or the test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Asks until the answer is `Some`, or fails the test naming what was awaited.
pub(crate) async fn wait_for<T>(what: &str, within: Duration, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + within;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "no {what} within {within:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A port that was free a moment ago; for servers that cannot be handed a bound socket.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A file of this repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The Python that has the peers installed.
pub(crate) fn python() -> PathBuf {
    python_of(".tests/venv")
}

/// The Python that has the applications of `requirements-apps.txt` installed.
pub(crate) fn apps_python() -> PathBuf {
    python_of(".tests/apps")
}

/// The Python that has the servers and frameworks of `requirements-servers.txt` installed.
pub(crate) fn servers_python() -> PathBuf {
    python_of(".tests/servers")
}

fn python_of(venv: &str) -> PathBuf {
    let python = repository(&format!("{venv}/bin/python"));
    assert!(python.exists(), "{} is missing: run tests/run.sh once", python.display());
    python
}
