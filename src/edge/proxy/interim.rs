//! Interim answers (RFC 9110, 15.2): what an upstream says by HTTP/1.1 before its answer, passed on by HTTP/1.1.
//!
//! The HTTP library tells of them at the upstream's side and knows no way to send them at the client's, by HTTP/1.1 or
//! HTTP/2. By HTTP/1.1 they are bytes between two messages, so the client's I/O writes them, where the library has
//! nothing left to write; the answer waits for that. By HTTP/2 they are not passed on.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_SECURITY_POLICY, LINK};
use http::{HeaderMap, Request, StatusCode};

/// What is passed on before one answer; no more than that.
const MOST: usize = 8 * 1024;

/// The interim answers of a client's connection, shared by its receiver and its writer.
#[derive(Clone, Debug, Default)]
pub struct Interim(Arc<InterimState>);

#[derive(Debug, Default)]
struct InterimState {
    any: AtomicBool,
    /// Whose they are: only the newest request's are passed on.
    turn: AtomicU64,
    queue: Mutex<InterimQueue>,
}

#[derive(Debug, Default)]
struct InterimQueue {
    bytes: BytesMut,
    /// Of the newest request, including what was written already.
    said: usize,
}

impl Interim {
    /// Passes on what is said before the answer to this request, until the guard is dropped.
    pub(super) async fn of<B>(&self, request: &mut Request<B>) -> InterimGuard<'_> {
        let waker = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
        let waiting = Arc::clone(&self.0);
        let turn = waiting.turn.fetch_add(1, Ordering::Relaxed) + 1;
        waiting.queue().said = 0;
        hyper::ext::on_informational(request, move |answer| {
            // We ask for the body ourselves.
            let passes = answer.status() != StatusCode::CONTINUE;
            if passes && waiting.turn.load(Ordering::Relaxed) == turn {
                waiting.put(answer.status(), answer.headers());
                waker.wake_by_ref();
            }
        });
        InterimGuard(self)
    }

    /// Whether anything waits to be written, or is being written.
    pub fn is_waiting(&self) -> bool {
        self.0.any.load(Ordering::Relaxed)
    }

    /// What is to be written next. `None` tells that all has been written.
    pub fn take(&self) -> Option<Bytes> {
        let next = Some(self.0.queue().bytes.split().freeze()).filter(|next| !next.is_empty());
        self.0.any.store(next.is_some(), Ordering::Relaxed);
        next
    }
}

impl InterimState {
    /// Status and, since nothing else means anything before the answer (RFC 8297, 2), what is to be fetched and whence.
    fn put(&self, status: StatusCode, headers: &HeaderMap) {
        let mut queue = self.queue();
        let reason = status.canonical_reason().unwrap_or("Interim");
        let mut head = format!("HTTP/1.1 {} {reason}\r\n", status.as_u16()).into_bytes();
        for name in [LINK, CONTENT_SECURITY_POLICY] {
            for value in headers.get_all(&name) {
                for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                    head.extend_from_slice(part);
                }
            }
        }
        head.extend_from_slice(b"\r\n");
        queue.said = queue.said.saturating_add(head.len());
        if queue.said <= MOST {
            queue.bytes.extend_from_slice(&head);
        }
        self.any.store(!queue.bytes.is_empty(), Ordering::Relaxed);
    }

    fn queue(&self) -> MutexGuard<'_, InterimQueue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Interim answers of one request.
pub(super) struct InterimGuard<'i>(&'i Interim);

impl InterimGuard<'_> {
    /// Waits until all that was heard is written. The I/O belongs to the same task, and wakes it.
    pub(super) async fn written(self) {
        poll_fn(|_| if self.0.0.any.load(Ordering::Relaxed) { Poll::Pending } else { Poll::Ready(()) }).await;
    }
}

impl Drop for InterimGuard<'_> {
    fn drop(&mut self) {
        let waiting = &self.0.0;
        waiting.turn.fetch_add(1, Ordering::Relaxed);
        if waiting.any.swap(false, Ordering::Relaxed) {
            waiting.queue().bytes.clear();
        }
    }
}
