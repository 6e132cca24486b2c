//! What an edge has done on the control plane.

use tokio::runtime::Handle;

use super::answer::Denied;
use super::pages::problem::Problem;
use crate::model::verdict::Verdict;

/// Does it there. A panic ends its own task only, and is an error here.
///
/// # Errors
///
/// [`Denied`] if it panicked; the log names it as `what`.
pub(super) async fn on_control<T: Send + 'static>(
    control: &Handle,
    what: &str,
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, Denied> {
    control.spawn(work).await.map_err(|error| {
        tracing::error!(%error, "{what} failed");
        Denied::open(Problem::internal(), Verdict::Error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// D22: a panic while a page is made.
    #[tokio::test]
    async fn a_panic_is_an_error_of_its_own_request_and_of_no_other() {
        let control = Handle::current();
        let panics = async { panic!("as a bug would") };
        let Err(denied) = on_control::<()>(&control, "a page", panics).await else { panic!("it passed") };
        assert_eq!((denied.problem.status.as_u16(), denied.verdict), (500, Verdict::Error));
        assert_eq!(on_control(&control, "a page", async { 7 }).await.ok(), Some(7));
    }
}
