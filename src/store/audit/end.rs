//! The signed end of the trail, and whether the trail still ends there.

use super::{CORRUPT, audit_key_id, link_of, lock};
use crate::model::audit::{Event, Link, Note, Reason, hex, mark_of_end, seal_of_mark};
use crate::model::token::SigningKey;
use crate::store::pool::{Change, Row, Value};
use crate::store::{Store, StoreError};

/// The end of the trail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditHead {
    /// Number of the last row; zero is none.
    pub seq: i64,
    /// Its link.
    pub link: Link,
    /// The MAC of both; none before the trail was begun.
    pub mark: Option<Link>,
}

impl AuditHead {
    /// Whether the trail ended here when somebody with this key wrote last.
    pub fn is_marked_by(&self, key: &SigningKey) -> bool {
        self.mark == Some(mark_of_end(self.seq, &self.link, key))
    }
}

/// The state of the end, before a row is added behind it.
pub(super) enum TrailEndState {
    /// Just as it was left.
    AsItIs,
    /// As it was left, perhaps, by a gateway with another secret, whose key is named.
    Under(String),
    /// Not as it was left.
    Otherwise,
}

impl Store {
    /// Signs the end of an empty trail, so that one that was emptied is told from one that never began. In a database
    /// that holds what would have left rows it was emptied: the first row of the new one says so.
    pub(super) async fn begin_trail(&self) -> Result<(), StoreError> {
        const HOLDS: &str = "SELECT only_row FROM audit_head WHERE EXISTS (SELECT 1 FROM users) OR EXISTS (SELECT 1 FROM api_keys)";
        const SIGN: &str = "UPDATE audit_head SET mark = $1 WHERE seq = 0";
        let ledger = self.ledger()?;
        // Nearly always; so a command that only reads waits for no writer.
        if self.audit_head().await?.seq > 0 {
            return Ok(());
        }
        let mut change = self.pool.change_in_turn().await?;
        let end = head_of(&change.row("SELECT seq, link, mark FROM audit_head", &[]).await?.ok_or(CORRUPT)?)?;
        if end.seq > 0 {
            return Ok(());
        }
        if change.row(HOLDS, &[]).await?.is_some() {
            self.unasked().note(&mut change, cut()).await?;
        } else {
            let mark = mark_of_end(0, &end.link, &ledger.key);
            change.execute(SIGN, &[Value::Bytes(&mark)]).await?;
        }
        change.commit().await
    }

    /// The end of the trail.
    pub async fn audit_head(&self) -> Result<AuditHead, StoreError> {
        head_of(&self.pool.row("SELECT seq, link, mark FROM audit_head", &[]).await?.ok_or(CORRUPT)?)
    }

    /// How many rows there are.
    pub async fn count_audit(&self) -> Result<i64, StoreError> {
        self.pool.row("SELECT COUNT(*) AS total FROM audit", &[]).await?.ok_or(CORRUPT)?.number("total")
    }

    /// Checks that the trail still has the end of this process's last check; if not, adds a row that says so.
    /// This finds an older state that was put back while a gateway runs, marks included. False if rows are gone.
    pub async fn watch_audit(&self) -> Result<bool, StoreError> {
        const LINK: &str = "SELECT link FROM audit WHERE seq = $1";
        let ledger = self.ledger()?;
        let seen = *lock(&ledger.seen);
        let end = self.audit_head().await?;
        let whole = match seen {
            None => true,
            Some(seen) if end.seq < seen.seq => false,
            // One that is not there may have been pruned; whether it was is for a walk to say.
            Some(seen) => {
                let row = self.pool.row(LINK, &[seen.seq.into()]).await?;
                row.is_none_or(|row| link_of(&row, "link").is_ok_and(|link| link == seen.link))
            }
        };
        if !whole {
            self.unasked().record(cut()).await?;
        }
        *lock(&ledger.seen) = Some(if whole { end } else { self.audit_head().await? });
        Ok(whole)
    }
}

pub(super) fn head_of(row: &Row) -> Result<AuditHead, StoreError> {
    let mark = row.bytes("mark")?.try_into().ok();
    Ok(AuditHead { seq: row.number("seq")?, link: link_of(row, "link")?, mark })
}

/// Whether the end that is about to be written behind is the one that the last writer left.
pub(super) async fn left(
    change: &mut Change,
    end: &AuditHead,
    key: &SigningKey,
) -> Result<TrailEndState, StoreError> {
    const LAST: &str = "SELECT key_id FROM audit WHERE seq = $1";
    if end.is_marked_by(key) {
        return Ok(TrailEndState::AsItIs);
    }
    let Some(last) = change.row(LAST, &[end.seq.into()]).await? else { return Ok(TrailEndState::Otherwise) };
    let key_id = last.text("key_id")?;
    Ok(if key_id == audit_key_id(key) { TrailEndState::Otherwise } else { TrailEndState::Under(key_id) })
}

/// The first row under another secret, behind `end`. A holder of the former one can tell whether it had been cut.
pub(super) fn renewed(former: &str, end: &AuditHead, key: &SigningKey) -> Note {
    let seal = hex(&seal_of_mark(end.mark.as_ref(), key));
    Note::done(Event::AuditSecret).with("former", former).with("seal", seal)
}

pub(super) fn cut() -> Note {
    Note::failed(Event::AuditCut, Reason::TrailCut)
}
