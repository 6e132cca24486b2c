//! The audit trail: rows that are added in the transaction of the change they tell of, and never changed.
//!
//! Each row's link is a MAC over its content and the link before it. Adding a row holds the lock on the
//! one row of `audit_head` until the commit, so the trail has one order on any number of gateways. It is
//! taken last in every change, so that no two can wait for each other.

mod counts;
mod end;
mod failed_attempts;
mod repeats;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use self::counts::AuditCounts;
pub use self::end::AuditHead;
use self::end::{TrailEndState, cut, head_of, left, renewed};
use self::failed_attempts::FailedAttempts;
use self::repeats::{RepeatOutcome, Repeats};
use super::pool::{Change, Row, Value};
use super::{Store, StoreError};
use crate::model::audit::{Actor, AuditRow, Event, Link, Note, Party, hex, mark_of_end};
use crate::model::time::{Clock, SKEW, Timestamp};
use crate::model::token::SigningKey;
use crate::model::user::UserId;

const CORRUPT: StoreError = StoreError::Corrupt { table: "audit" };

/// What adding rows needs. All clones of a store share it.
#[derive(Debug)]
pub(super) struct Ledger {
    key: SigningKey,
    clock: Arc<dyn Clock>,
    repeats: Mutex<Repeats>,
    failed: Mutex<FailedAttempts>,
    counts: Mutex<AuditCounts>,
    /// Where the trail ended when this process looked last.
    seen: Mutex<Option<AuditHead>>,
}

impl Ledger {
    fn count(&self, note: &Note) {
        self.counts().add(note, self.clock.now());
    }

    fn counts(&self) -> MutexGuard<'_, AuditCounts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which rows to list.
#[derive(Clone, Copy, Debug, Default)]
pub struct AuditFilter<'a> {
    /// Written then or later.
    pub since: Option<Timestamp>,
    /// With this word.
    pub event: Option<&'a str>,
    /// By this party or about it, by id or name.
    pub about: Option<&'a str>,
}

/// The name by which rows say under which key they were written.
pub fn audit_key_id(key: &SigningKey) -> String {
    hex(key.mac(b"name of this key, which marks the end").first_chunk::<4>().unwrap_or(&[0; 4]))
}

/// The columns that [`row_of`] reads.
macro_rules! columns {
    () => {
        "seq, happened_at, event, success, actor, actor_name, client, request_id, target, target_name,
         detail, key_id, previous, link"
    };
}

fn row_of(row: &Row) -> Result<AuditRow, StoreError> {
    let target_name = row.optional_text("target_name")?;
    let target = row.optional_text("target")?.map(|id| Party { id, name: target_name });
    Ok(AuditRow {
        seq: row.number("seq")?,
        at: row.time("happened_at")?,
        event: row.text("event")?,
        success: row.flag("success")?,
        actor: Party { id: row.text("actor")?, name: row.optional_text("actor_name")? },
        client: row.optional_text("client")?,
        request_id: row.optional_text("request_id")?,
        target,
        detail: row.text("detail")?,
        key_id: row.text("key_id")?,
        previous: link_of(row, "previous")?,
        link: link_of(row, "link")?,
    })
}

fn link_of(row: &Row, column: &str) -> Result<Link, StoreError> {
    row.bytes(column)?.try_into().map_err(|_| CORRUPT)
}

impl Store {
    /// The same store, whose changes leave rows in the trail under `key`. Without it a change that should
    /// leave one is refused. In a database in which nothing was done yet, the end of the empty trail is signed.
    pub async fn audited(&self, key: SigningKey, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let (repeats, failed, counts, seen) = Default::default();
        let ledger = Ledger { key, clock, repeats, failed, counts, seen };
        let store = Self { ledger: Some(Arc::new(ledger)), ..self.clone() };
        store.begin_trail().await?;
        Ok(store)
    }

    /// The same store, whose changes are this actor's.
    #[must_use]
    pub fn by(&self, actor: &Actor) -> Self {
        Self { actor: actor.clone(), ..self.clone() }
    }

    /// What this process noted so far.
    pub fn audit_counts(&self) -> AuditCounts {
        self.ledger.as_deref().map_or_else(AuditCounts::default, |ledger| ledger.counts().clone())
    }

    fn ledger(&self) -> Result<&Ledger, StoreError> {
        self.ledger.as_deref().ok_or(StoreError::Unaudited)
    }

    /// Adds a row as part of `change`: to be called last, since others wait for the trail's end. Where the end is not as
    /// it was left, or was left under another secret, a row before it says so.
    pub(super) async fn note(&self, change: &mut Change, note: Note) -> Result<(), StoreError> {
        self.ledger()?.count(&note);
        self.note_all(change, vec![(self.actor.clone(), note)]).await
    }

    /// Adds rows of several actors, which are counted already.
    async fn note_all(&self, change: &mut Change, notes: Vec<(Actor, Note)>) -> Result<(), StoreError> {
        const LOCK: &str = "UPDATE audit_head SET seq = seq RETURNING seq, link, mark";
        const END: &str = "UPDATE audit_head SET seq = $1, link = $2, mark = $3";
        let ledger = self.ledger()?;
        let mut end = head_of(&change.row(LOCK, &[]).await?.ok_or(CORRUPT)?)?;
        let first = match left(change, &end, &ledger.key).await? {
            TrailEndState::AsItIs => None,
            TrailEndState::Otherwise => {
                Some(cut()).filter(|cut| notes.first().is_none_or(|(_, note)| cut.event != note.event))
            }
            TrailEndState::Under(key_id) => Some(renewed(&key_id, &end, &ledger.key)),
        };
        if let Some(first) = first {
            end = self.unasked().append(change, ledger, first, &end).await?;
        }
        for (actor, note) in notes {
            end = self.by(&actor).append(change, ledger, note, &end).await?;
        }
        let mark = mark_of_end(end.seq, &end.link, &ledger.key);
        change.execute(END, &[end.seq.into(), Value::Bytes(&end.link), Value::Bytes(&mark)]).await?;
        Ok(())
    }

    /// Adds a row behind `end`; the end that the trail has then.
    async fn append(
        &self,
        change: &mut Change,
        ledger: &Ledger,
        note: Note,
        end: &AuditHead,
    ) -> Result<AuditHead, StoreError> {
        const INSERT: &str = concat!(
            "INSERT INTO audit (",
            columns!(),
            ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)"
        );
        let row = self.row(ledger, note, end.seq.checked_add(1).ok_or(CORRUPT)?, end.link);
        let target = row.target.as_ref();
        let values = [
            row.seq.into(),
            row.at.into(),
            (&row.event).into(),
            row.success.into(),
            (&row.actor.id).into(),
            row.actor.name.as_deref().into(),
            row.client.as_deref().into(),
            row.request_id.as_deref().into(),
            target.map(|target| target.id.as_str()).into(),
            target.and_then(|target| target.name.as_deref()).into(),
            (&row.detail).into(),
            (&row.key_id).into(),
            Value::Bytes(&row.previous),
            Value::Bytes(&row.link),
        ];
        change.execute(INSERT, &values).await?;
        Ok(AuditHead { seq: row.seq, link: row.link, mark: None })
    }

    fn row(&self, ledger: &Ledger, note: Note, seq: i64, previous: Link) -> AuditRow {
        let actor = &self.actor;
        let mut row = AuditRow {
            seq,
            at: note.at.unwrap_or_else(|| ledger.clock.now()),
            event: note.event.as_str().to_owned(),
            success: note.failure.is_none(),
            actor: note.actor.unwrap_or_else(|| actor.who().clone()),
            client: note.client.or_else(|| Some(actor.client()?.to_canonical().to_string())),
            request_id: actor.request_id().map(str::to_owned),
            target: note.target,
            detail: serde_json::Value::Object(note.detail).to_string(),
            key_id: audit_key_id(&ledger.key),
            previous,
            link: previous,
        };
        // PostgreSQL refuses text with a zero character.
        let texts = [&mut row.client, &mut row.request_id, &mut row.actor.name];
        for text in texts.into_iter().flatten().filter(|text| text.contains('\0')) {
            *text = text.replace('\0', "");
        }
        row.link = row.link_at(seq, &ledger.key);
        row
    }

    /// Whether a row of this actor about a user tells of the user's own doing.
    pub(super) fn is_own(&self, user: &UserId) -> bool {
        self.actor.who().id == format!("user:{user}")
    }

    /// Adds one row that tells of no change in the database.
    pub async fn record(&self, note: Note) -> Result<(), StoreError> {
        let mut change = self.pool.change_in_turn().await?;
        self.note(&mut change, note).await?;
        change.commit().await
    }

    /// Adds rows of several actors, which are counted already and tell of no change in the database. All or nothing.
    async fn record_all(&self, notes: Vec<(Actor, Note)>) -> Result<(), StoreError> {
        let mut change = self.pool.change_in_turn().await?;
        self.note_all(&mut change, notes).await?;
        change.commit().await
    }

    /// Adds one row of something that unknown clients can repeat at will: at most one each minute for one `source`;
    /// the others in that minute are counted, and told of in a row of their own when it is over.
    pub async fn record_repeatable(&self, note: Note, source: &str) -> Result<(), StoreError> {
        self.repeatable(None, note, source).await
    }

    /// The same for a change that one person can repeat at will, which is committed with its row or its count.
    pub(super) async fn commit_repeatable(
        &self,
        change: Change,
        note: Note,
        source: &str,
    ) -> Result<(), StoreError> {
        self.repeatable(Some(change), note, source).await
    }

    async fn repeatable(&self, change: Option<Change>, note: Note, source: &str) -> Result<(), StoreError> {
        let ledger = self.ledger()?;
        let now = ledger.clock.now();
        // What is counted is told of later, when the actor is not at hand any more.
        let actor = note.actor.or_else(|| Some(self.actor.who().clone()));
        let client = note.client.or_else(|| Some(self.actor.client()?.to_canonical().to_string()));
        let note = Note { actor, client, ..note };
        let counted = lock(&ledger.repeats).count(source, &note, now);
        let (due, repeat_key) = match counted {
            RepeatOutcome::Repeat => {
                ledger.count(&note);
                return match change {
                    Some(change) => change.commit().await,
                    None => Ok(()),
                };
            }
            RepeatOutcome::First { due, repeat_key } => (due, repeat_key),
        };
        let written = async {
            let mut change = match change {
                Some(change) => change,
                None => self.pool.change_in_turn().await?,
            };
            if let Some(due) = due {
                self.unasked().note(&mut change, due).await?;
            }
            self.note(&mut change, note).await?;
            change.commit().await
        };
        let outcome = written.await;
        let mut repeats = lock(&ledger.repeats);
        match &outcome {
            Ok(()) => repeats.written(&repeat_key),
            Err(_) => repeats.forget(&repeat_key),
        }
        outcome
    }

    /// Writes down what was counted: in minutes that are over, or in all of them.
    pub async fn flush_repeats(&self, all: bool) -> Result<(), StoreError> {
        let ledger = self.ledger()?;
        let due = lock(&ledger.repeats).take_due(ledger.clock.now(), all);
        if due.is_empty() {
            return Ok(());
        }
        let written = async {
            let mut change = self.pool.change_in_turn().await?;
            for (_, counted) in &due {
                self.unasked().note(&mut change, counted.summary()).await?;
            }
            change.commit().await
        };
        let outcome = written.await;
        if outcome.is_err() {
            lock(&ledger.repeats).put_back(due);
        }
        outcome
    }

    /// The same store for what no request asked for.
    fn unasked(&self) -> Self {
        self.by(&Actor::gateway())
    }

    /// Rows after a number, oldest first, written at `since` or later.
    pub async fn audit_page(
        &self,
        after: i64,
        since: Option<Timestamp>,
        limit: u32,
    ) -> Result<Vec<AuditRow>, StoreError> {
        const SQL: &str = concat!(
            "SELECT ",
            columns!(),
            " FROM audit WHERE seq > $1 AND happened_at >= $2 ORDER BY seq LIMIT $3"
        );
        let since = since.unwrap_or(Timestamp(i64::MIN));
        let values = [after.into(), since.into(), i64::from(limit).into()];
        self.pool.rows(SQL, &values).await?.iter().map(row_of).collect()
    }

    /// Rows, newest first.
    pub async fn audit_recent(
        &self,
        filter: &AuditFilter<'_>,
        limit: u32,
    ) -> Result<Vec<AuditRow>, StoreError> {
        const ANY: &str = concat!("SELECT ", columns!(), " FROM audit ORDER BY seq DESC LIMIT $1");
        const SINCE: &str = concat!(
            "SELECT ",
            columns!(),
            " FROM audit WHERE happened_at >= $2 ORDER BY happened_at DESC, seq DESC LIMIT $1"
        );
        const EVENT: &str = concat!(
            "SELECT ",
            columns!(),
            " FROM audit WHERE seq IN (SELECT seq FROM audit
                WHERE event = $3 AND happened_at >= $2 ORDER BY happened_at DESC, seq DESC LIMIT $1)
             ORDER BY seq DESC"
        );
        const ABOUT: &str = concat!(
            "SELECT ",
            columns!(),
            " FROM audit WHERE seq IN (SELECT seq FROM (
                SELECT seq, happened_at FROM audit WHERE actor = $3
                UNION SELECT seq, happened_at FROM audit WHERE actor_name = $3
                UNION SELECT seq, happened_at FROM audit WHERE target = $3
                UNION SELECT seq, happened_at FROM audit WHERE target_name = $3) found
                WHERE happened_at >= $2 ORDER BY seq DESC LIMIT $1)
             ORDER BY seq DESC"
        );
        const BOTH: &str = concat!(
            "SELECT ",
            columns!(),
            " FROM audit WHERE seq IN (SELECT seq FROM (
                SELECT seq, happened_at, event FROM audit WHERE actor = $3
                UNION SELECT seq, happened_at, event FROM audit WHERE actor_name = $3
                UNION SELECT seq, happened_at, event FROM audit WHERE target = $3
                UNION SELECT seq, happened_at, event FROM audit WHERE target_name = $3) found
                WHERE happened_at >= $2 AND event = $4 ORDER BY seq DESC LIMIT $1)
             ORDER BY seq DESC"
        );
        let limit = i64::from(limit).into();
        let since = filter.since.unwrap_or(Timestamp(i64::MIN)).into();
        let rows = match (filter.event, filter.about) {
            (None, None) if filter.since.is_none() => self.pool.rows(ANY, &[limit]).await,
            (None, None) => self.pool.rows(SINCE, &[limit, since]).await,
            (Some(event), None) => self.pool.rows(EVENT, &[limit, since, event.into()]).await,
            (None, Some(about)) => self.pool.rows(ABOUT, &[limit, since, about.into()]).await,
            (Some(event), Some(about)) => {
                self.pool.rows(BOTH, &[limit, since, about.into(), event.into()]).await
            }
        };
        rows?.iter().map(row_of).collect()
    }

    /// Deletes rows written before `before`, oldest first, at most `most`; how many they were. A row in the
    /// trail names the last one deleted and its link, so that what is left can still be verified.
    ///
    /// A row of a time that is still to come keeps nothing, or the trail would grow until then; it goes with the next
    /// row that is old.
    pub async fn prune_audit(&self, before: Timestamp, most: u32) -> Result<u64, StoreError> {
        const LOCK: &str = "UPDATE audit_head SET pruned_to = pruned_to RETURNING seq";
        const FIRST_KEPT: &str =
            "SELECT MIN(seq) AS seq FROM audit WHERE happened_at >= $1 AND happened_at <= $2";
        const LAST_OLD: &str = "SELECT MAX(seq) AS seq FROM audit WHERE happened_at < $1 AND seq < $2";
        let mut change = self.pool.change_in_turn().await?;
        let end = change.row(LOCK, &[]).await?.ok_or(CORRUPT)?.number("seq")?;
        let first = change.row("SELECT MIN(seq) AS seq FROM audit", &[]).await?.ok_or(CORRUPT)?;
        let Some(first) = first.optional_number("seq")? else { return Ok(0) };
        let latest = self.ledger()?.clock.now().after(SKEW);
        let kept = change.row(FIRST_KEPT, &[before.into(), latest.into()]).await?.ok_or(CORRUPT)?;
        let kept = kept.optional_number("seq")?.unwrap_or(end.saturating_add(1));
        let old = change.row(LAST_OLD, &[before.into(), kept.into()]).await?.ok_or(CORRUPT)?;
        let Some(old) = old.optional_number("seq")? else { return Ok(0) };
        let last = old.min(first.saturating_add(i64::from(most) - 1));
        if last < first {
            return Ok(0);
        }
        let row = change.row("SELECT link FROM audit WHERE seq = $1", &[last.into()]).await?;
        let link = link_of(&row.ok_or(CORRUPT)?, "link")?;
        change.execute("UPDATE audit_head SET pruned_to = $1", &[last.into()]).await?;
        let gone = change
            .execute("DELETE FROM audit WHERE seq >= $1 AND seq <= $2", &[first.into(), last.into()])
            .await?;
        let note = Note::done(Event::AuditPrune).with("through", last).with("rows", gone);
        self.unasked().note(&mut change, note.with("link", hex(&link))).await?;
        change.commit().await?;
        Ok(gone)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
