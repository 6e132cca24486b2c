//! Open exchanges of one thread: each can be ended from outside once it has lost what it rests on.
//!
//! Every exchange is registered while it lasts, in a slot of a slab, so that a short one pays no more than the
//! entry. One task of the thread looks through them ([`review`]): at once when somebody lost a right or the store
//! could not be asked for too long, and each second for what has expired by itself. What is lost before a request
//! is sent, [`Exchange::confirm`] sees: it is the last thing that happens before the first byte goes out.

mod review;
mod shares;

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::HeaderMap;
use hyper::body::Incoming;
use slab::Slab;
use tokio::sync::Notify;
use tokio::time::Instant;

pub use self::shares::ExchangeLimits;
use self::shares::{ExchangeHolder, ExchangeShares};
use super::client_progress::ClientProgress;
use super::connection_guard::ConnectionGuard;
use super::interim::Interim;
use super::pool::UpstreamLease;
use super::request_body::Upload;
use super::{ForwardError, ProxyFailure};
use crate::config::BodyPace;
use crate::edge::pages::problem::Problem;
use crate::gate::DecisionTrace;
use crate::gate::Gate;
use crate::gate::authenticator::LookupVersion;
use crate::gate::graphql::Detection;
use crate::gate::identity_headers::Managed;
use crate::gate::ongoing_decision::OngoingDecision;
use crate::gate::refusal::{BadCredential, Refusal};
use crate::model::target::RequestKind;

/// Why an exchange was ended from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExchangeEnd {
    /// Its session or key has ended.
    Credential(BadCredential),
    /// Its key is limited to other uses now.
    KeyScope,
    /// Its caller must change the password first.
    PasswordChange,
    /// The rules do not allow it to its caller any more.
    Forbidden,
    /// Whether it may go on could not be told.
    Unavailable,
    /// Its client sends too slowly, or does not take what it is sent.
    Stalled,
}

impl ExchangeEnd {
    fn of(refusal: &Refusal) -> Self {
        match refusal {
            Refusal::BadCredential(bad) => Self::Credential(*bad),
            Refusal::KeyScope => Self::KeyScope,
            Refusal::PasswordChange => Self::PasswordChange,
            Refusal::Unavailable(_) => Self::Unavailable,
            _ => Self::Forbidden,
        }
    }

    fn refusal(self) -> Refusal {
        match self {
            Self::Credential(bad) => Refusal::BadCredential(bad),
            Self::KeyScope => Refusal::KeyScope,
            Self::PasswordChange => Refusal::PasswordChange,
            Self::Forbidden => Refusal::Forbidden,
            Self::Unavailable => Refusal::Unavailable("an open exchange could not be decided again".into()),
            Self::Stalled => Refusal::BodyLate,
        }
    }

    /// What a new request would be told now; for an exchange whose answer has not begun.
    pub fn failure(self) -> ProxyFailure {
        match self {
            Self::Stalled => ForwardError::ClientStalled.into(),
            other => ProxyFailure::Ended(other.refusal()),
        }
    }
}

/// Who waits on an exchange: its answer's side, or its request body's.
#[derive(Clone, Copy, Debug)]
pub enum Side {
    /// The task that waits for the response, passes it on, or carries its tunnel.
    Answer,
    /// The task that sends the request body on.
    Upload,
}

/// What an answer is read from. Dropping it closes the upstream's connection or stream.
pub struct ResponseSource {
    /// The body.
    pub body: Incoming,
    /// Its connection, until it is given back.
    pub lease: Option<UpstreamLease>,
}

/// The facts about an exchange when it begins.
pub struct ExchangeStart {
    /// Who decided.
    pub gate: Rc<Gate>,
    /// What was decided.
    pub ongoing: OngoingDecision,
    /// Taken before its caller was identified.
    pub look: LookupVersion,
    /// Whether it came by HTTP/2, where one exchange can end alone.
    pub http2: bool,
    /// Its connection.
    pub hold: Option<ConnectionGuard>,
    /// Whether there is no request body.
    pub sent: bool,
    /// Whether the length of the request body was announced.
    pub announced: bool,
    /// What its head has shown of GraphQL.
    pub detection: Detection,
}

/// One exchange from its permit to its end, shared by those who carry its parts.
pub struct Exchange {
    gate: Rc<Gate>,
    ongoing: OngoingDecision,
    holder: ExchangeHolder,
    look: Cell<LookupVersion>,
    streams: Rc<Streams>,
    place: Cell<usize>,
    http2: bool,
    hold: Option<ConnectionGuard>,
    moved_at: Cell<Instant>,
    sent: Cell<bool>,
    broken_off: Cell<bool>,
    answered: Cell<bool>,
    active: Cell<bool>,
    announced: bool,
    detection: Cell<Detection>,
    pace: ClientProgress,
    end: Cell<Option<ExchangeEnd>>,
    source: RefCell<Option<ResponseSource>>,
    waiting: [Cell<Option<Waker>>; 2],
}

impl Exchange {
    /// Who let it in.
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Where what is said before its answer is written.
    pub fn interim(&self) -> Option<&Interim> {
        self.hold.as_ref().map(ConnectionGuard::interim)
    }

    /// What it rests on.
    pub fn ongoing(&self) -> &OngoingDecision {
        &self.ongoing
    }

    /// Whether its caller would be found as when last looked at, if looked at now. Makes no store call.
    pub fn is_certain(&self) -> bool {
        let look = self.look.get();
        self.ongoing.identity().is_none_or(|caller| self.streams.newest().still_counts(look, &caller))
    }

    /// Where that is not certain, looks at its caller again and decides again. To be awaited when everything else
    /// is ready to be sent, and before anything is.
    ///
    /// # Errors
    ///
    /// [`Refusal`] if it would be refused if it came now.
    pub async fn confirm(&self, trail: &mut DecisionTrace) -> Result<(), Refusal> {
        if self.is_certain() {
            return Ok(());
        }
        let Some(caller) = self.ongoing.identity() else { return Ok(()) };
        let newest = self.streams.newest();
        let look = newest.look();
        let renewed = newest.renew(&caller).await;
        self.gate.decide_unsent(&self.ongoing, renewed, trail)?;
        self.look.set(look);
        Ok(())
    }

    /// When a byte of its request body, or of its tunnel, last moved.
    pub fn moved_at(&self) -> Instant {
        self.moved_at.get()
    }

    /// Whether all of its request body went out.
    pub fn is_sent(&self) -> bool {
        self.sent.get()
    }

    /// What its body has shown of GraphQL so far.
    pub fn detection(&self) -> Detection {
        self.detection.get()
    }

    /// Whether its client's body broke off, or turned out to be none.
    pub fn has_broken_off(&self) -> bool {
        self.broken_off.get()
    }

    /// Bytes of the request body went out, or of a tunnel moved; `done` if they were the last of a body.
    pub fn moved(&self, done: bool) {
        self.moved_at.set(Instant::now());
        self.active.set(true);
        if done {
            self.sent.set(true);
        }
    }

    /// A part of the answer came, and is on its way to the client.
    pub fn came(&self) {
        self.active.set(true);
        self.pace.handed_over();
    }

    /// How its client keeps up.
    pub fn pace(&self) -> &ClientProgress {
        &self.pace
    }

    /// Whether it came by HTTP/2.
    pub fn is_http2(&self) -> bool {
        self.http2
    }

    /// From now on its answer is on the way, and can only be broken off.
    pub fn set_answered(&self, source: Option<ResponseSource>) {
        self.answered.set(true);
        *self.source.borrow_mut() = source;
    }

    /// What the answer is read from; gone once the exchange was ended.
    pub fn source(&self) -> &RefCell<Option<ResponseSource>> {
        &self.source
    }

    /// Why it was ended, if it was; else the poller is woken when it is.
    pub fn poll_end(&self, side: Side, cx: &mut Context<'_>) -> Poll<ExchangeEnd> {
        if let Some(end) = self.end.get() {
            return Poll::Ready(end);
        }
        let [answer, upload] = &self.waiting;
        let slot = match side {
            Side::Answer => answer,
            Side::Upload => upload,
        };
        let waker = slot.take().filter(|waker| waker.will_wake(cx.waker()));
        slot.set(Some(waker.unwrap_or_else(|| cx.waker().clone())));
        Poll::Pending
    }

    /// Why it was ended, if it was.
    pub fn end(&self) -> Option<ExchangeEnd> {
        self.end.get()
    }

    /// Waits until it is ended from outside.
    pub async fn ended(&self) -> ExchangeEnd {
        std::future::poll_fn(|cx| self.poll_end(Side::Answer, cx)).await
    }

    /// The last words of an answer that can say why it ends, which only gRPC can.
    pub fn last_words(&self) -> Option<HeaderMap> {
        let end = self.end.get()?;
        let speaks = self.http2 && self.ongoing.target().kind() == RequestKind::Grpc;
        speaks.then(|| Problem::from(&end.refusal()).grpc_trailers())
    }

    /// Ends it: nothing more passes from now on, and its connections are closed by those who carry it.
    fn cut(&self, end: ExchangeEnd) {
        if self.end.replace(Some(end)).is_some() {
            return;
        }
        drop(self.source.borrow_mut().take());
        for slot in &self.waiting {
            if let Some(waker) = slot.take() {
                waker.wake();
            }
        }
        // A client that does not read keeps hyper from noticing.
        if self.answered.get()
            && let Some(hold) = &self.hold
        {
            if self.http2 { hold.park() } else { hold.cut() }
        }
    }

    /// Its response is no longer read.
    pub fn let_go(&self) {
        drop(self.source.borrow_mut().take());
        self.pace.taken();
        if self.http2
            && self.end.get().is_some()
            && let Some(hold) = &self.hold
        {
            hold.unpark();
        }
    }
}

impl Upload for Exchange {
    fn is_over(&self) -> bool {
        self.end.get().is_some()
    }

    fn passes(&self, data: &[u8]) {
        self.pace.received(data.len());
        self.detection.set(self.detection.get().after(data));
    }

    fn went_out(&self, done: bool) {
        self.moved(done && !self.broken_off.get());
    }

    fn waits(&self, cx: &mut Context<'_>) {
        let _ = self.poll_end(Side::Upload, cx);
        self.pace.awaits_more();
    }

    fn broke_off(&self) {
        self.broken_off.set(true);
    }

    fn managed(&self) -> &Managed {
        self.gate.managed()
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.streams.open.borrow_mut().try_remove(self.place.get());
        self.streams.shares.give_back(self.holder);
    }
}

/// The open exchanges of one thread.
pub struct Streams {
    /// Of the newest configuration: says who callers are now. Each exchange is decided by the gate that let it in.
    newest: RefCell<Rc<Gate>>,
    bounds: Cell<SlowBounds>,
    shares: ExchangeShares,
    open: RefCell<Slab<Weak<Exchange>>>,
    succession: Notify,
}

/// What is asked of clients.
#[derive(Clone, Copy, Debug)]
pub struct SlowBounds {
    /// How they must send.
    pub body: BodyPace,
    /// They must take something within this.
    pub write: Duration,
}

impl Streams {
    /// No exchange yet; `gate` decides them again.
    pub fn new(gate: Rc<Gate>, bounds: SlowBounds, most: ExchangeLimits) -> Rc<Self> {
        Rc::new(Self {
            newest: RefCell::new(gate),
            bounds: Cell::new(bounds),
            shares: ExchangeShares::new(most),
            open: RefCell::default(),
            succession: Notify::new(),
        })
    }

    /// The gate of another configuration, and how many may be open, for those who come from now on; bounds are for all.
    pub fn succeed(&self, gate: Rc<Gate>, bounds: SlowBounds, most: ExchangeLimits) {
        self.newest.replace(gate);
        self.bounds.set(bounds);
        self.shares.set_most(most);
        self.succession.notify_one();
    }

    fn newest(&self) -> Rc<Gate> {
        Rc::clone(&self.newest.borrow())
    }

    /// Registers an exchange that was just permitted.
    ///
    /// # Errors
    ///
    /// [`Refusal::TooManyRequests`] or [`Refusal::Full`] if too many are open, of its client or of all.
    pub fn begin(self: &Rc<Self>, beginning: ExchangeStart) -> Result<Rc<Exchange>, Refusal> {
        let ExchangeStart { gate, ongoing, look, http2, hold, sent, announced, detection } = beginning;
        let is_known = ongoing.identity().is_some();
        let holder = ExchangeHolder { address: ongoing.client().address, is_known };
        self.shares.take(holder)?;
        let exchange = Rc::new(Exchange {
            gate,
            ongoing,
            holder,
            look: Cell::new(look),
            streams: Rc::clone(self),
            place: Cell::new(usize::MAX),
            http2,
            hold,
            moved_at: Cell::new(Instant::now()),
            sent: Cell::new(sent),
            broken_off: Cell::new(false),
            answered: Cell::new(false),
            active: Cell::new(false),
            announced,
            detection: Cell::new(detection),
            pace: ClientProgress::default(),
            end: Cell::new(None),
            source: RefCell::default(),
            waiting: Default::default(),
        });
        exchange.place.set(self.open.borrow_mut().insert(Rc::downgrade(&exchange)));
        Ok(exchange)
    }

    fn all(&self) -> Vec<Rc<Exchange>> {
        self.open.borrow().iter().filter_map(|(_, exchange)| exchange.upgrade()).collect()
    }
}
