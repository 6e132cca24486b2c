//! Lingering close (RFC 9112, 9.6): reads and discards what the client still sends, within bounds.

use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::Instant;

use super::{ParserState, Wire};
use crate::edge::client_body::{LINGER, LINGER_BYTES, LINGER_SILENT};

/// Read at once where it is thrown away.
const THROWN: usize = 16 * 1024;
/// What is discarded before other tasks run.
const THROWN_AT_ONCE: usize = 64;

/// What is left of that.
pub(super) struct Lingering {
    until: Instant,
    left: u64,
}

impl<I: AsyncRead + Unpin> Wire<I> {
    /// Throws away what comes. `Ready` at the end, or when so much came that other tasks should run.
    fn poll_throw(&mut self, cx: &mut Context<'_>, left: &mut u64) -> Poll<()> {
        let mut space = [0; THROWN];
        for _ in 0..THROWN_AT_ONCE {
            let mut buf = ReadBuf::new(&mut space);
            match ready!(self.poll_io(cx, &mut buf)) {
                Err(_) | Ok(0) => return Poll::Ready(()),
                Ok(read) => *left = left.saturating_sub(read as u64),
            }
            if *left == 0 {
                return Poll::Ready(());
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Whether the client may be sending what is never read.
    fn is_amid(&self) -> bool {
        !self.held.is_empty() || !matches!(self.state, ParserState::Head | ParserState::Undecided)
    }

    /// Reads what is left of what the client sends, for a while.
    pub(super) fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let now = Instant::now();
        let amid = self.is_amid();
        let Lingering { until, mut left } =
            self.end.take().unwrap_or(Lingering { until: now + LINGER, left: LINGER_BYTES });
        let before = left;
        let thrown = self.poll_throw(cx, &mut left);
        if thrown.is_ready() || now >= until || (before == left && !amid) {
            return Poll::Ready(());
        }
        if before > left || self.began.is_none() {
            self.began = Some(now);
            // A client that still sends is waited for.
            self.state = ParserState::Refused;
        }
        self.end = Some(Lingering { until, left });
        let silent = self.began.unwrap_or(now) + LINGER_SILENT;
        self.poll_sleep(silent.min(until), cx)
    }
}
