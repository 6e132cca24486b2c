//! Spawns tasks that stay on their data-plane thread, so they need no locks.

use std::future::Future;

/// Runs hyper's own tasks on the thread that handles the connection.
#[derive(Clone, Copy, Debug)]
pub struct LocalExecutor;

impl<F> hyper::rt::Executor<F> for LocalExecutor
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}
