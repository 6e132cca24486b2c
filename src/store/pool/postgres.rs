//! Connections to PostgreSQL. Every call on one ends within a limit of ours; one that did not answer, or that would
//! not take a change, is thrown away, and the next call is on a fresh one.
//!
//! The pool of the driver has no such end: it asks a connection that is given back whether it is well, for as long
//! as that takes, and keeps its place taken meanwhile.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions as _, Connection as _, Row as _};
use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::Lane;
use super::address::host_and_port;
use super::change_queue::ChangeQueue;
use super::discard_warnings::DiscardWarnings;
use super::server_errors::{is_of_others, is_read_only, is_starting, survives};
use crate::model::secret::Secret;
use crate::store::{DatabaseFailure, StoreError};

/// How long a connection is kept, however well it does.
const LIFE: Duration = Duration::from_mins(30);
/// How long it is kept unused.
const UNUSED: Duration = Duration::from_mins(5);
/// One that was looked at this recently is used without another look.
const TRUSTED_FOR: Duration = Duration::from_secs(1);
/// How long that look, and a farewell, may take.
const COURTESY: Duration = Duration::from_secs(1);
/// How long it may take to open a store whose schema is the newest, or to look whether that would work.
pub(in crate::store) const OPENING: Duration = Duration::from_secs(7);
/// Between two tries to connect to a server that is starting.
const STARTING: Duration = Duration::from_millis(100);
/// What a connection begins with: the server's limits, shorter than ours, and [`takes_changes`]. They are not parameters of
/// the start, which poolers refuse.
const BEGINNING: &str = "SET statement_timeout = '6s'; SET lock_timeout = '5s';
     SET idle_in_transaction_session_timeout = '30s'; SHOW transaction_read_only";

/// How long calls of one lane may take.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Waiting for a free place.
    place: Duration,
    /// Connecting.
    connect: Duration,
    /// One answer.
    answer: Duration,
}

impl Limits {
    /// Waiting for a lane has its own limit; the server's limits are shorter than the longest of these.
    const fn of(lane: Lane) -> Self {
        let [place, connect, answer] = match lane {
            Lane::Watch => [1, 2, 2],
            Lane::Requests => [3, 3, 4],
            Lane::Rest => [3, 3, 7],
        };
        Self {
            place: Duration::from_secs(place),
            connect: Duration::from_secs(connect),
            answer: Duration::from_secs(answer),
        }
    }
}

/// The connections of each lane.
#[derive(Clone)]
pub(in crate::store) struct PoolLanes {
    watch: Arc<Connections>,
    requests: Arc<Connections>,
    rest: Arc<Connections>,
}

/// The connections of one lane.
struct Connections {
    options: PgConnectOptions,
    /// It is in nothing that is said of an error.
    password: Secret,
    limits: Limits,
    size: u32,
    places: Arc<Semaphore>,
    idle: Mutex<Vec<Live>>,
    told: Arc<DiscardWarnings>,
}

/// An idle connection.
struct Live {
    raw: PgConnection,
    born: Instant,
    used: Instant,
    looked_at: Instant,
}

impl Live {
    fn is_over(&self) -> bool {
        self.born.elapsed() >= LIFE || self.used.elapsed() >= UNUSED
    }
}

impl PoolLanes {
    /// At most `most` connections, though at least one for each lane. Connects to nothing yet.
    pub(super) fn open(options: PgConnectOptions, password: &Secret, most: u32) -> Self {
        let options = options.application_name("doorward").extra_float_digits(None);
        let told = Arc::default();
        let lane = |lane, size: u32| {
            Arc::new(Connections {
                options: options.clone(),
                password: password.clone(),
                limits: Limits::of(lane),
                size,
                places: Arc::new(Semaphore::new(usize::try_from(size).unwrap_or(1))),
                idle: Mutex::default(),
                told: Arc::clone(&told),
            })
        };
        let shared = most.saturating_sub(1);
        Self {
            watch: lane(Lane::Watch, 1),
            requests: lane(Lane::Requests, shared.div_ceil(2).max(1)),
            rest: lane(Lane::Rest, (shared / 2).max(1)),
        }
    }

    fn of(&self, lane: Lane) -> &Arc<Connections> {
        match lane {
            Lane::Watch => &self.watch,
            Lane::Requests => &self.requests,
            Lane::Rest => &self.rest,
        }
    }

    /// A connection of a lane, for one call or one change.
    pub(super) async fn lease(&self, lane: Lane) -> Result<ConnectionLease, StoreError> {
        // Every call checks all of them: the watch calls all the time.
        for connections in [&self.watch, &self.requests, &self.rest] {
            connections.retire();
        }
        self.of(lane).lease().await
    }

    /// A connection outside the pool, which its user closes. Its time limits are the user's.
    pub(in crate::store) async fn own(&self) -> Result<PgConnection, StoreError> {
        Box::pin(self.rest.connect()).await
    }

    /// Whether the server can be reached, lets us in, takes changes and keeps its connections for us.
    pub(super) async fn look(&self) -> Result<(), StoreError> {
        within(OPENING, async {
            farewell(Box::pin(self.rest.fresh()).await?.raw);
            self.refuse_lent().await
        })
        .await?
    }

    /// Closes every connection once what is under way is done.
    pub(super) async fn close(&self) {
        tokio::join!(self.requests.close(), self.rest.close(), self.watch.close());
    }
}

impl Connections {
    async fn lease(self: &Arc<Self>) -> Result<ConnectionLease, StoreError> {
        let place = tokio::time::timeout(self.limits.place, Arc::clone(&self.places).acquire_owned()).await;
        let place = place.map_err(|_| sqlx::Error::PoolTimedOut)?.map_err(|_| sqlx::Error::PoolClosed)?;
        let kept = self.idle().pop();
        let live = match kept {
            Some(live) => Box::pin(self.looked_at(live)).await,
            None => None,
        };
        let live = match live {
            Some(live) => live,
            None => Box::pin(self.fresh()).await?,
        };
        Ok(ConnectionLease { live: Some(live), of: Arc::clone(self), place: Some(place) })
    }

    /// A kept connection, if it is still good.
    async fn looked_at(&self, mut live: Live) -> Option<Live> {
        if live.is_over() {
            farewell(live.raw);
            return None;
        }
        if live.looked_at.elapsed() < TRUSTED_FOR {
            return Some(live);
        }
        match within(COURTESY, takes_changes(&mut live.raw)).await {
            Ok(Ok(true)) => {
                live.looked_at = Instant::now();
                Some(live)
            }
            Ok(Ok(false)) => {
                self.told.thrown_away("it takes no changes any more");
                farewell(live.raw);
                None
            }
            // It was closed at the other end, as a restart does.
            Ok(Err(_)) => None,
            Err(_) => {
                self.told.thrown_away("it did not answer in time");
                None
            }
        }
    }

    async fn fresh(&self) -> Result<Live, StoreError> {
        let mut raw = self.connect().await?;
        if !within(COURTESY, says_off(&mut raw, BEGINNING)).await?? {
            farewell(raw);
            return Err(failed(io::ErrorKind::ReadOnlyFilesystem, "the server takes no changes"));
        }
        let now = Instant::now();
        Ok(Live { raw, born: now, used: now, looked_at: now })
    }

    /// Connects, also to a server that is just starting. Says what it said last, where that does not end.
    async fn connect(&self) -> Result<PgConnection, StoreError> {
        let mut starting = None;
        let connected = tokio::time::timeout(self.limits.connect, async {
            loop {
                match self.options.connect().await {
                    Err(error) if is_starting(&error) => starting = Some(error),
                    outcome => return outcome,
                }
                tokio::time::sleep(STARTING).await;
            }
        });
        let outcome = connected.await.unwrap_or_else(|_| Err(starting.unwrap_or_else(silence)));
        outcome.map_err(|cause| {
            let cause = DatabaseFailure::from(cause).without(self.password.expose());
            StoreError::no_connection(host_and_port(&self.options), cause)
        })
    }

    fn give_back(&self, live: Live) {
        if self.places.is_closed() {
            farewell(live.raw);
        } else {
            self.idle().push(live);
        }
    }

    /// Closes what was kept for long enough.
    fn retire(&self) {
        let over: Vec<Live> = self.idle().extract_if(.., |live| live.is_over()).collect();
        for live in over {
            farewell(live.raw);
        }
    }

    async fn close(&self) {
        // If some of it does not end, it ends with the process.
        let all = within(self.limits.answer, self.places.acquire_many(self.size)).await;
        self.places.close();
        drop(all);
        let left = std::mem::take(&mut *self.idle());
        for live in left {
            let _ = within(COURTESY, live.raw.close()).await;
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Live>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A healthy connection of a lane, with its slot.
pub(super) struct ConnectionLease {
    /// Gone while a call is under way: whatever ends that call before its answer is there ends the connection.
    live: Option<Live>,
    of: Arc<Connections>,
    place: Option<OwnedSemaphorePermit>,
}

/// Asks one thing on a leased connection.
macro_rules! ask {
    ($lease:expr, |$raw:ident| $question:expr) => {{
        let (mut live, limit) = $lease.take()?;
        let outcome = {
            let $raw = live.connection();
            tokio::time::timeout(limit, Box::pin($question)).await
        };
        $lease.settle(live, outcome)
    }};
}
pub(super) use ask;

/// A connection with a call in progress.
pub(super) struct Busy(Live);

impl Busy {
    pub(super) fn connection(&mut self) -> &mut PgConnection {
        &mut self.0.raw
    }
}

impl ConnectionLease {
    pub(super) fn take(&mut self) -> Result<(Busy, Duration), StoreError> {
        let live =
            self.live.take().ok_or_else(|| failed(io::ErrorKind::NotConnected, "it was thrown away"))?;
        Ok((Busy(live), self.of.limits.answer))
    }

    /// Keeps a connection that has answered, and throws others away.
    pub(super) fn settle<T>(
        &mut self,
        Busy(mut live): Busy,
        outcome: Result<Result<T, sqlx::Error>, tokio::time::error::Elapsed>,
    ) -> Result<T, StoreError> {
        let Ok(answer) = outcome else {
            self.of.told.thrown_away("it did not answer in time");
            return Err(late());
        };
        match &answer {
            Err(error) if is_read_only(error) => self.of.told.thrown_away("it takes no changes any more"),
            Err(error) if is_of_others(error) => self.of.told.thrown_away("a pooler has lent it to others"),
            Err(error) if !survives(error) => {}
            _ => {
                live.used = Instant::now();
                self.live = Some(live);
            }
        }
        Ok(answer?)
    }
}

impl Drop for ConnectionLease {
    fn drop(&mut self) {
        if let Some(live) = self.live.take() {
            self.of.give_back(live);
        }
    }
}

/// A change under way on a connection of its own.
pub(in crate::store) struct PgChange {
    lease: ConnectionLease,
    open: bool,
    /// Held until it is over.
    queue: Option<OwnedMutexGuard<()>>,
}

impl PgChange {
    /// Begins a change on a connection of the lane, after those that are queued before it.
    pub(super) async fn begin(
        lanes: &PoolLanes,
        lane: Lane,
        queue: Option<(ChangeQueue, OwnedMutexGuard<()>)>,
    ) -> Result<Self, StoreError> {
        let mut lease = lanes.lease(lane).await?;
        // One query: a caller that waits for other gateways has sent all of its own.
        let begin = match queue {
            Some((ChangeQueue::Rights, _)) => "BEGIN; SELECT value FROM revision FOR UPDATE",
            _ => "BEGIN",
        };
        ask!(lease, |raw| sqlx::raw_sql(begin).execute(raw))?;
        Ok(Self { lease, open: true, queue: queue.map(|(_, guard)| guard) })
    }

    pub(super) fn lease(&mut self) -> &mut ConnectionLease {
        &mut self.lease
    }

    pub(super) async fn commit(mut self) -> Result<(), StoreError> {
        self.open = false;
        ask!(self.lease, |raw| sqlx::raw_sql("COMMIT").execute(raw)).map(drop)
    }
}

impl Drop for PgChange {
    fn drop(&mut self) {
        if !self.open || self.lease.live.is_none() {
            return;
        }
        let (live, place) = (self.lease.live.take(), self.lease.place.take());
        let mut lease = ConnectionLease { live, of: Arc::clone(&self.lease.of), place };
        let queue = self.queue.take();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            // If that fails the connection goes, and the change with it.
            runtime.spawn(async move {
                let undone = ask!(lease, |raw| sqlx::raw_sql("ROLLBACK").execute(raw));
                drop(queue);
                undone
            });
        } else {
            drop(lease.live.take());
        }
    }
}

/// Whether a connection is one to a server that takes changes: others lag behind, and are no truth.
async fn takes_changes(raw: &mut PgConnection) -> Result<bool, sqlx::Error> {
    says_off(raw, "SHOW transaction_read_only").await
}

async fn says_off(raw: &mut PgConnection, sql: &'static str) -> Result<bool, sqlx::Error> {
    Ok(sqlx::raw_sql(sql).fetch_one(raw).await?.try_get::<String, _>(0)? == "off")
}

/// Closes a connection politely, in passing.
pub(super) fn farewell(raw: PgConnection) {
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn(within(COURTESY, raw.close()));
    }
}

/// Bounds anything.
pub(in crate::store) async fn within<T>(
    limit: Duration,
    what: impl Future<Output = T>,
) -> Result<T, StoreError> {
    tokio::time::timeout(limit, what).await.map_err(|_| late())
}

fn late() -> StoreError {
    silence().into()
}

fn silence() -> sqlx::Error {
    sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, "there was no answer in time"))
}

pub(super) fn failed(kind: io::ErrorKind, what: &'static str) -> StoreError {
    sqlx::Error::Io(io::Error::new(kind, what)).into()
}
