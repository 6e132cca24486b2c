//! A connection that speaks HTTP/1, as the HTTP library sees it: one message at a time, each of whose heads was read.
//!
//! Every head is read here before the library gets it ([`super::head`]), and nothing beyond the end of its body is handed over
//! with it, so that this reading and the library's begin at the same byte. Where a head has a fault, or does not come in
//! time, the library gets a request of ours in its place; its answer, which the service makes of the [`MalformedRequest`] head, is
//! a full one, and the last. What follows is read and thrown away.
//!
//! That is also how the connection ends where a client is still sending, after a refusal or an upstream's early answer:
//! closed at once, the kernel would answer its next bytes with a reset, which takes the answer along before it is read.

pub mod chunks;
mod linger;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use http::Method;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use self::chunks::Chunks;
use self::linger::Lingering;
use super::connection_activity::{ConnectionActivity, MalformedRequest};
use super::head::{BodyFraming, Head, HeadError, HeadLimits, HeadReader, HeadSummary};
use crate::edge::proxy::interim::Interim;

/// What is kept of bytes that came before it was known whether the connection switches.
const EARLY: usize = 64 * 1024;

/// How long a client may take, and how much it may send.
#[derive(Clone, Copy, Debug)]
pub struct WireLimits {
    /// For a head, from its first byte.
    pub head: Duration,
    /// Until the next head begins.
    pub idle: Duration,
    /// Of a head.
    pub bounds: HeadLimits,
}

/// A connection. Reads as described above; writes straight through, and interim answers in between.
pub struct Wire<I> {
    io: I,
    limits: WireLimits,
    serving: ConnectionActivity,
    /// What came and was not handed over.
    held: BytesMut,
    state: ParserState,
    reader: HeadReader,
    began: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
    end: Option<Lingering>,
    interim: Interim,
    /// What is left to be written of one.
    begun: Bytes,
}

/// What the parser expects next.
#[derive(Clone, Copy, Debug)]
enum ParserState {
    /// A head, or more of it.
    Head,
    /// So many bytes of a message that may be handed over, then this.
    Message(u64, NextState),
    /// A chunked body.
    Chunks(Chunks),
    /// What an upgrade was asked for: another protocol, or a head where it was declined.
    Undecided,
    /// Nothing that could be understood, once the answer is out.
    Nothing,
    /// The same, and nothing is read before.
    Refused,
}

#[derive(Clone, Copy, Debug)]
enum NextState {
    Head,
    Chunks,
    Undecided,
    Nothing,
    Refused,
}

impl From<NextState> for ParserState {
    fn from(after: NextState) -> Self {
        match after {
            NextState::Head => Self::Head,
            NextState::Chunks => Self::Chunks(Chunks::default()),
            NextState::Undecided => Self::Undecided,
            NextState::Nothing => Self::Nothing,
            NextState::Refused => Self::Refused,
        }
    }
}

impl<I: AsyncRead + Unpin> Wire<I> {
    /// Wraps a connection.
    pub fn new(io: I, limits: WireLimits, serving: ConnectionActivity, interim: Interim) -> Self {
        Self {
            io,
            limits,
            serving,
            held: BytesMut::new(),
            state: ParserState::Head,
            reader: HeadReader::default(),
            began: None,
            sleep: None,
            end: None,
            interim,
            begun: Bytes::new(),
        }
    }

    /// Hands over what was held, up to `most`.
    fn hand_over(&mut self, most: usize, buf: &mut ReadBuf<'_>) -> usize {
        let now = most.min(self.held.len()).min(buf.remaining());
        buf.put_slice(self.held.get(..now).unwrap_or_default());
        self.held.advance(now);
        now
    }

    /// Takes back what was read beyond the first `keep` bytes after `before`.
    fn take_back(&mut self, before: usize, keep: usize, buf: &mut ReadBuf<'_>) {
        self.held.extend_from_slice(buf.filled().get(before + keep..).unwrap_or_default());
        buf.set_filled(before + keep);
    }

    /// Reads into `buf` and says how much; zero at the end.
    fn poll_io(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<usize>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        Poll::Ready(Ok(buf.filled().len() - before))
    }

    fn poll_message(
        &mut self,
        (due, after): (u64, NextState),
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let most = usize::try_from(due).unwrap_or(usize::MAX);
        let now = if self.held.is_empty() {
            let before = buf.filled().len();
            let read = ready!(self.poll_io(cx, buf))?;
            let now = read.min(most);
            self.take_back(before, now, buf);
            now
        } else {
            self.hand_over(most, buf)
        };
        let left = due - now as u64;
        self.state = if left == 0 { after.into() } else { ParserState::Message(left, after) };
        Poll::Ready(Ok(()))
    }

    fn poll_chunks(
        &mut self,
        mut chunks: Chunks,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        if self.held.is_empty() {
            ready!(self.poll_io(cx, buf))?;
        } else {
            self.hand_over(usize::MAX, buf);
        }
        let came = buf.filled().get(before..).unwrap_or_default();
        let whole = came.len();
        let Ok(own) = chunks.pass(came) else {
            self.state = ParserState::Refused;
            buf.set_filled(before);
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "malformed chunks")));
        };
        self.state = if chunks.is_over() { ParserState::Head } else { ParserState::Chunks(chunks) };
        if own < whole {
            // The bytes taken back arrived earlier, so they go before those already held.
            let behind = self.held.split();
            self.take_back(before, own, buf);
            self.held.unsplit(behind);
        }
        Poll::Ready(Ok(()))
    }

    /// Reads a head.
    fn poll_head(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<Progress>> {
        let before = buf.filled().len();
        // What came behind the message before, if anything.
        let mut read =
            if self.held.is_empty() { Ok(None) } else { self.reader.read(&self.held, self.limits.bounds) };
        while let Ok(None) = read {
            let Poll::Ready(came) = self.poll_io(cx, buf) else {
                return self.poll_late(cx, buf);
            };
            match came {
                Err(error) => return Poll::Ready(Err(error)),
                Ok(0) if self.is_between() => return Poll::Ready(Ok(Progress::Done)),
                Ok(0) => read = Err(HeadError::Incomplete),
                Ok(_) if self.held.is_empty() => {
                    // Most heads come whole, and go on without a copy.
                    let came = buf.filled().get(before..).unwrap_or_default();
                    read = self.reader.read(came, self.limits.bounds);
                    if let Ok(Some(head)) = read {
                        let (due, after) = self.begin(head);
                        let now = usize::try_from(due).unwrap_or(usize::MAX).min(came.len());
                        self.take_back(before, now, buf);
                        let left = due - now as u64;
                        self.state = if left == 0 { after.into() } else { ParserState::Message(left, after) };
                        return Poll::Ready(Ok(Progress::Done));
                    }
                    self.take_back(before, 0, buf);
                }
                Ok(_) => {
                    self.take_back(before, 0, buf);
                    read = self.reader.read(&self.held, self.limits.bounds);
                }
            }
            if read == Ok(None) && self.began.is_some_and(|began| began.elapsed() > self.limits.head) {
                read = Err(HeadError::Late);
            }
        }
        match read {
            Ok(Some(head)) => {
                let (due, after) = self.begin(head);
                self.state = ParserState::Message(due, after);
            }
            Ok(None) => {}
            Err(fault) => self.refuse(fault),
        }
        Poll::Ready(Ok(Progress::Again))
    }

    /// A head has been read: so much may be handed over now.
    fn begin(&mut self, head: Head) -> (u64, NextState) {
        self.serving.head_read();
        self.began = None;
        self.reader = HeadReader::default();
        match head.body {
            BodyFraming::Chunked => (head.len as u64, NextState::Chunks),
            BodyFraming::Length(0) if head.upgrade => (head.len as u64, NextState::Undecided),
            BodyFraming::Length(_) if head.last => (head.len as u64, NextState::Nothing),
            BodyFraming::Length(length) => ((head.len as u64).saturating_add(length), NextState::Head),
        }
    }

    /// Puts a request of ours in the place of what came, to be answered as the fault deserves.
    fn refuse(&mut self, fault: HeadError) {
        let sketch = HeadSummary::of(&self.held);
        let line = if sketch.method == Method::HEAD { "HEAD" } else { "GET" };
        self.serving.head_broken(MalformedRequest { fault, sketch });
        self.held.clear();
        self.held.extend_from_slice(line.as_bytes());
        self.held.extend_from_slice(b" / HTTP/1.1\r\nconnection: close\r\n\r\n");
        self.state = ParserState::Message(self.held.len() as u64, NextState::Refused);
    }

    /// Nothing has come: whether that is too late for a head, or for the connection.
    fn poll_late(&mut self, cx: &mut Context<'_>, buf: &ReadBuf<'_>) -> Poll<io::Result<Progress>> {
        debug_assert!(buf.remaining() > 0, "a read of nothing");
        if self.serving.count() > 0 {
            self.began = None;
            return Poll::Pending;
        }
        if self.is_between() {
            let deadline = self.serving.idle_since() + self.limits.idle;
            ready!(self.poll_sleep(deadline, cx));
            return Poll::Ready(Ok(Progress::Done));
        }
        let deadline = *self.began.get_or_insert_with(Instant::now) + self.limits.head;
        ready!(self.poll_sleep(deadline, cx));
        self.refuse(HeadError::Late);
        Poll::Ready(Ok(Progress::Again))
    }

    /// Sleeps until a deadline. A timer that ends earlier is left to run, so that one serves many requests.
    fn poll_sleep(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        loop {
            if sleep.deadline() > deadline {
                sleep.as_mut().reset(deadline);
            }
            ready!(sleep.as_mut().poll(cx));
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
    }

    /// Whether no head has begun: some clients send an empty line behind a body.
    fn is_between(&self) -> bool {
        self.held.iter().all(|byte| matches!(byte, b'\r' | b'\n'))
    }

    /// Keeps what comes until the answer is out.
    fn poll_early(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<Progress>> {
        while self.held.len() < EARLY {
            let before = buf.filled().len();
            match ready!(self.poll_io(cx, buf))? {
                0 if self.held.is_empty() => return Poll::Ready(Ok(Progress::Done)),
                0 => break,
                _ => self.take_back(before, 0, buf),
            }
        }
        // The answer wakes.
        Poll::Pending
    }
}

enum Progress {
    /// What there is stands in the buffer, or nothing ever will.
    Done,
    /// The place is another one.
    Again,
}

impl<I: AsyncRead + Unpin> AsyncRead for Wire<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.serving.has_switched() {
            if this.held.is_empty() {
                return Pin::new(&mut this.io).poll_read(cx, buf);
            }
            this.hand_over(usize::MAX, buf);
            return Poll::Ready(Ok(()));
        }
        loop {
            let step = match this.state {
                ParserState::Message(due, after) => return this.poll_message((due, after), cx, buf),
                ParserState::Chunks(chunks) => return this.poll_chunks(chunks, cx, buf),
                ParserState::Head => this.poll_head(cx, buf),
                ParserState::Undecided | ParserState::Nothing if this.serving.count() > 0 => {
                    this.poll_early(cx, buf)
                }
                ParserState::Refused if this.serving.count() > 0 => return Poll::Pending,
                ParserState::Undecided => {
                    this.state = ParserState::Head;
                    continue;
                }
                ParserState::Nothing | ParserState::Refused => return Poll::Ready(Ok(())),
            };
            match ready!(step)? {
                Progress::Done => return Poll::Ready(Ok(())),
                Progress::Again => {}
            }
        }
    }
}

impl<I: AsyncWrite + Unpin> Wire<I> {
    /// Writes what is left of an interim answer, which nothing may come into.
    fn poll_begun(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.begun.is_empty() {
            match ready!(Pin::new(&mut self.io).poll_write(cx, &self.begun))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.begun.advance(written),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Wire<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_begun(cx))?;
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    /// Called where the library has nothing left to write: what is said before an answer may be said here.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.interim.is_waiting() {
            loop {
                ready!(this.poll_begun(cx))?;
                match this.interim.take() {
                    Some(next) => this.begun = next,
                    None => break,
                }
            }
            // The answer waits for it, in the same task.
            cx.waker().wake_by_ref();
        }
        ready!(this.poll_begun(cx))?;
        Pin::new(&mut this.io).poll_flush(cx)
    }

    /// Says that no more is sent, then lets the client finish. See the module.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.end.is_none() {
            ready!(Pin::new(&mut self.io).poll_shutdown(cx))?;
            if self.serving.has_switched() {
                return Poll::Ready(Ok(()));
            }
            self.began = None;
        }
        self.poll_linger(cx).map(Ok)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_begun(cx))?;
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
