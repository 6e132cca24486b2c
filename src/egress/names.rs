//! Addresses of host names, by the system's resolver.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};

use tokio::sync::Semaphore;
use tokio::task;

/// Look-ups at once, in the whole process. Each has a thread of the pool that also hashes passwords.
const LOOKUPS: usize = 4;
static TURNS: Semaphore = Semaphore::const_new(LOOKUPS);

/// The addresses of a host name, each with this port.
///
/// # Errors
///
/// What the resolver says.
pub(super) async fn look_up(name: String, port: u16) -> io::Result<Vec<SocketAddr>> {
    in_turn(&TURNS, move || Ok((name.as_str(), port).to_socket_addrs()?.collect())).await
}

/// Runs what blocks on a thread of its own. The thread holds its turn until it is done, also when nobody waits any more,
/// because it cannot be stopped.
async fn in_turn<T: Send + 'static>(
    turns: &'static Semaphore,
    blocking: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let turn = turns.acquire().await.map_err(io::Error::other)?;
    let done = task::spawn_blocking(move || {
        let _turn = turn;
        blocking()
    });
    done.await?
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use futures_util::poll;
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;

    #[tokio::test]
    async fn a_look_up_that_hangs_holds_its_turn_when_nobody_waits_for_it_any_more() {
        static TURNS: Semaphore = Semaphore::const_new(2);
        let (tell, mut begun) = unbounded_channel();
        let mut hanging = Vec::new();
        for _ in 0..2 {
            let (release, released) = mpsc::channel::<()>();
            hanging.push(release);
            let tell = tell.clone();
            let look_up = in_turn(&TURNS, move || {
                tell.send(()).unwrap();
                let _ended = released.recv();
                Ok(())
            });
            tokio::select! {
                _ = look_up => panic!("it hangs"),
                _ = begun.recv() => {}
            }
        }
        assert_eq!(TURNS.available_permits(), 0);
        let mut next = Box::pin(in_turn(&TURNS, || Ok("found")));
        assert!(poll!(&mut next).is_pending());
        drop(hanging.pop());
        assert_eq!(next.await.unwrap(), "found");
    }

    #[tokio::test]
    async fn names_are_resolved_and_unknown_ones_are_errors() {
        let found = look_up("localhost".to_owned(), 4180).await.unwrap();
        assert!(!found.is_empty() && found.iter().all(|address| address.ip().is_loopback()), "{found:?}");
        assert!(found.iter().all(|address| address.port() == 4180), "{found:?}");
        assert!(look_up("a b".to_owned(), 1).await.is_err());
    }
}
