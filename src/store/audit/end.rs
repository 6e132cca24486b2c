//! Where the trail ends, signed, and whether that is where it was left.

use super::{CORRUPT, audit_key_id, link_of, lock};
use crate::model::audit::{Event, Link, Note, Reason, mark_of_end};
use crate::model::token::SigningKey;
use crate::store::pool::{Change, Row};
use crate::store::{Store, StoreError};

/// The end of the trail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditHead {
    /// Number of the last row; zero is none.
    pub seq: i64,
    /// Its link.
    pub link: Link,
    /// The MAC of both; none was made by older versions.
    pub mark: Option<Link>,
}

impl AuditHead {
    /// Whether the trail ended here when somebody with this key wrote last.
    pub fn is_marked_by(&self, key: &SigningKey) -> bool {
        self.mark == Some(mark_of_end(self.seq, &self.link, key))
    }
}

impl Store {
    /// The end of the trail.
    pub async fn audit_head(&self) -> Result<AuditHead, StoreError> {
        head_of(&self.pool.row("SELECT seq, link, mark FROM audit_head", &[]).await?.ok_or(CORRUPT)?)
    }

    /// How many rows there are.
    pub async fn count_audit(&self) -> Result<i64, StoreError> {
        self.pool.row("SELECT COUNT(*) AS total FROM audit", &[]).await?.ok_or(CORRUPT)?.number("total")
    }

    /// Looks whether the trail still holds what it ended with at the last look of this process; if not, a row says so.
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

/// Whether the end that is about to be written behind is another than the last writer left. Without a mark of ours that
/// cannot be told where another secret, or a version without marks, wrote the last row.
pub(super) async fn is_cut(
    change: &mut Change,
    end: &AuditHead,
    key: &SigningKey,
) -> Result<bool, StoreError> {
    const LAST: &str = "SELECT key_id FROM audit WHERE seq = $1";
    if end.seq == 0 || end.is_marked_by(key) {
        return Ok(false);
    }
    let last = change.row(LAST, &[end.seq.into()]).await?;
    last.map_or(Ok(true), |row| Ok(row.text("key_id")? == audit_key_id(key)))
}

pub(super) fn cut() -> Note {
    Note::failed(Event::AuditCut, Reason::TrailCut)
}
