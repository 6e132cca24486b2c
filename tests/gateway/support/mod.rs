//! What the tests stand on.

pub mod bound;
pub mod browser;
pub mod gateway;
pub mod github;
pub mod http2;
pub mod hyper;
pub mod ledger;
pub mod oracle;
pub mod patient;
pub mod process;
pub mod provider;
pub mod raw;
pub mod relay;
pub mod upstream;

pub use self::gateway::Gateway;
pub use self::oracle::Watch;
pub use self::raw::{Answer, exchange};
pub use self::upstream::Upstream;

use std::time::Duration;

/// Nothing here takes this long unless it hangs.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Asks until there is an answer, and fails the test with `what` if there never is one.
pub async fn wait_for<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    within(what, async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    })
    .await
}

/// Waits until something holds, and fails the test with `what` if it never does.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    wait_for(what, async || holds().await.then_some(())).await;
}

/// Waits for a future, and fails the test with `what` if it hangs.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let Ok(value) = tokio::time::timeout(DEADLINE, future).await else {
        panic!("{what} did not happen within {DEADLINE:?}");
    };
    value
}
