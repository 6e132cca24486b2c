//! Walking the trail from its first row to its end, and naming the first row that is not as it was written.

use std::fmt;

use super::Audit;
use super::PAGE;
use crate::model::audit::AuditRow;
use crate::model::audit::Event;
use crate::model::audit::Link;
use crate::model::audit::{hex, mark_of_end, seal_of_mark};
use crate::model::token::SigningKey;
use crate::service::ServiceError;
use crate::service::admin::AdminProof;
use crate::store::AuditFilter;
use crate::store::AuditHead;
use crate::store::audit_key_id;

/// Pruning can take rows away in front of a walk; then it begins again, so often.
const ATTEMPTS: usize = 5;

/// A trail that holds from its first row to its last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Number of the first row that is still there; zero if there is none.
    pub first: i64,
    /// Number of the last.
    pub last: i64,
    /// Its link. Kept elsewhere, it proves later that nothing before it was taken away.
    pub link: String,
}

/// Where a trail stops holding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokenTrail {
    /// The first row concerned.
    pub seq: i64,
    /// What is wrong there.
    pub fault: TrailFault,
}

/// What is wrong with a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrailFault {
    /// Its content is not what was written.
    Changed,
    /// It was written as another number.
    Moved {
        /// As which.
        from: i64,
    },
    /// It and those up to `to` are not there.
    Missing {
        /// The last of them.
        to: i64,
    },
    /// It is genuine and does not follow the row before it.
    Unlinked,
    /// It was written under a secret that was not given.
    OtherSecret {
        /// The name of the key.
        key_id: String,
    },
    /// It has another link than the one that was noted elsewhere.
    NotAsNoted,
    /// It was noted elsewhere, and has been pruned since: nothing can be said of it.
    Pruned,
    /// It may or may not have been there: the trail does not end where it was left.
    CutOff,
    /// It says itself that rows before it were gone when it was written.
    TellsOfCut,
}

impl fmt::Display for BrokenTrail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seq = self.seq;
        match &self.fault {
            TrailFault::Changed => write!(f, "row {seq} was changed"),
            TrailFault::Moved { from } => {
                write!(f, "row {seq} is out of order: it was written as row {from}")
            }
            TrailFault::Missing { to } if *to == seq => write!(f, "row {seq} is missing"),
            TrailFault::Missing { to } => write!(f, "rows {seq} to {to} are missing"),
            TrailFault::Unlinked => write!(f, "row {seq} does not follow the row before it"),
            TrailFault::OtherSecret { key_id } => {
                write!(f, "row {seq} was written under another secret, {key_id}: give it by --secret-file")
            }
            TrailFault::NotAsNoted => write!(f, "row {seq} is not the one whose link was noted"),
            TrailFault::CutOff => write!(f, "the trail was cut off before row {seq}, or its end was changed"),
            TrailFault::TellsOfCut => {
                write!(f, "row {seq} tells that rows before it were cut off or put back")
            }
            TrailFault::Pruned => write!(f, "row {seq} was pruned: note the link of a newer one"),
        }
    }
}

/// The end of a walk.
type VerifyResult = Result<Verified, BrokenTrail>;

/// A walk under way.
struct Walk<'a> {
    /// By the name that rows say.
    keys: Vec<(String, &'a SigningKey)>,
    noted: Option<&'a (i64, String)>,
    /// Number and link of the row before; none before the first.
    before: Option<(i64, Link)>,
    /// The key of that row, which has marked the end behind it.
    marked_by: Option<&'a SigningKey>,
    first: i64,
}

impl Audit {
    /// Walks the whole trail. `older` are keys of secrets that were in use before; `noted` is number and
    /// link of a row, as an earlier walk gave them.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Unavailable`] if the store does not answer.
    pub async fn verify(
        &self,
        _by: &AdminProof,
        older: &[SigningKey],
        noted: Option<&(i64, String)>,
    ) -> Result<VerifyResult, ServiceError> {
        let mut outcome = self.walk(older, noted).await?;
        for _ in 1..ATTEMPTS {
            let Err(BrokenTrail { seq, fault: TrailFault::Missing { .. } }) = &outcome else { break };
            let first = self.store.audit_page(0, None, 1).await?;
            // Whether it was there when the walk began and has been pruned meanwhile.
            if first.first().is_none_or(|first| first.seq <= *seq) {
                break;
            }
            outcome = self.walk(older, noted).await?;
        }
        Ok(outcome)
    }

    async fn walk(
        &self,
        older: &[SigningKey],
        noted: Option<&(i64, String)>,
    ) -> Result<VerifyResult, ServiceError> {
        let keys = older.iter().chain([&self.key]).map(|key| (audit_key_id(key), key)).collect();
        let mut walk = Walk { keys, noted, before: None, marked_by: None, first: 0 };
        loop {
            // Read before the rows: whatever it names is there already.
            let head = self.store.audit_head().await?;
            let after = walk.before.map_or(0, |(seq, _)| seq);
            let rows = self.store.audit_page(after, None, PAGE).await?;
            if let (None, Some(first)) = (walk.before, rows.first())
                && let Err(broken) = self.check_start(&mut walk, first).await?
            {
                return Ok(Err(broken));
            }
            for row in &rows {
                match walk.step(row) {
                    Err(BrokenTrail { fault: TrailFault::Changed, .. }) => {
                        let rows = self.store.count_audit().await?;
                        return Ok(Err(walk.changed(row, head.seq, rows)));
                    }
                    Err(broken) => return Ok(Err(broken)),
                    Ok(()) => {}
                }
            }
            if rows.is_empty() {
                return Ok(walk.end(&head, &self.key));
            }
        }
    }

    /// A trail begins at row one, or after the last row that a pruning names.
    async fn check_start(
        &self,
        walk: &mut Walk<'_>,
        first: &AuditRow,
    ) -> Result<Result<(), BrokenTrail>, ServiceError> {
        walk.first = first.seq;
        walk.before = Some((0, [0; 32]));
        if first.seq == 1 {
            return Ok(Ok(()));
        }
        let filter = AuditFilter { event: Some(Event::AuditPrune.as_str()), ..AuditFilter::default() };
        let pruning = self.store.audit_recent(&filter, 1).await?.into_iter().next();
        let pruning = pruning.filter(|row| walk.key_of(row).is_some_and(|key| row.holds(key)));
        let anchor = pruning.as_ref().and_then(anchor_of).unwrap_or((0, [0; 32]));
        walk.before = Some(anchor);
        if let Some((seq, _)) = walk.noted
            && *seq <= anchor.0
        {
            return Ok(Err(BrokenTrail { seq: *seq, fault: TrailFault::Pruned }));
        }
        Ok(Ok(()))
    }
}

/// The last pruned row and its link, as the row of a pruning names them.
fn anchor_of(row: &AuditRow) -> Option<(i64, Link)> {
    let detail: serde_json::Value = serde_json::from_str(&row.detail).ok()?;
    let through = detail.get("through")?.as_i64()?;
    let text = detail.get("link")?.as_str()?;
    let mut link = [0; 32];
    for (at, byte) in link.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some((through, link))
}

/// What a row under `key` must say that was written behind the end that `former` had marked.
fn seal(seq: i64, link: &Link, former: &SigningKey, key: &SigningKey) -> String {
    hex(&seal_of_mark(Some(&mark_of_end(seq, link, former)), key))
}

/// What a first row under another secret says of it.
fn seal_in(row: &AuditRow) -> Option<String> {
    let detail: serde_json::Value = serde_json::from_str(&row.detail).ok()?;
    Some(detail.get("seal")?.as_str()?.to_owned())
}

impl<'a> Walk<'a> {
    fn key_of(&self, row: &AuditRow) -> Option<&'a SigningKey> {
        self.keys.iter().find(|(id, _)| *id == row.key_id).map(|(_, key)| *key)
    }

    /// Checks one row against the one before it.
    fn step(&mut self, row: &AuditRow) -> Result<(), BrokenTrail> {
        let (before, link) = self.before.unwrap_or((0, [0; 32]));
        let broken = |fault| Err(BrokenTrail { seq: row.seq, fault });
        if row.seq != before + 1 {
            return Err(BrokenTrail { seq: before + 1, fault: TrailFault::Missing { to: row.seq - 1 } });
        }
        let Some(key) = self.key_of(row) else {
            return broken(TrailFault::OtherSecret { key_id: row.key_id.clone() });
        };
        if !row.holds(key) {
            return broken(TrailFault::Changed);
        }
        if row.event == Event::AuditCut.as_str() {
            return broken(TrailFault::TellsOfCut);
        }
        if row.previous != link {
            return broken(TrailFault::Unlinked);
        }
        if self.noted.is_some_and(|(seq, noted)| *seq == row.seq && *noted != hex(&row.link)) {
            return broken(TrailFault::NotAsNoted);
        }
        // Where the row before was pruned, nothing is left that could have been cut off.
        if row.event == Event::AuditSecret.as_str()
            && self.marked_by.is_some_and(|former| seal_in(row) != Some(seal(before, &link, former, key)))
        {
            return broken(TrailFault::CutOff);
        }
        self.before = Some((row.seq, row.link));
        self.marked_by = Some(key);
        Ok(())
    }

    /// Whether a row that does not hold would under another number: one that could be its own, going by how many `rows`
    /// there are. What the database says of its end bounds nothing; an attacker who changed the row may have changed that.
    fn changed(&self, row: &AuditRow, end: i64, rows: i64) -> BrokenTrail {
        let most = end.min(self.first.saturating_add(rows.saturating_mul(2)));
        let written_as = |key: &SigningKey| (1..=most).find(|seq| row.link_at(*seq, key) == row.link);
        let origin = self.key_of(row).and_then(written_as);
        BrokenTrail {
            seq: row.seq,
            fault: origin.map_or(TrailFault::Changed, |from| TrailFault::Moved { from }),
        }
    }

    /// The end is where the store says it is and its mark proves it, and not before the row that was noted.
    /// An empty trail was marked when it was begun.
    fn end(&self, head: &AuditHead, own: &SigningKey) -> VerifyResult {
        let (last, link) = self.before.unwrap_or((0, [0; 32]));
        let noted = self.noted.map_or(0, |(seq, _)| *seq);
        let end = head.seq.max(noted);
        if last < end {
            return Err(BrokenTrail { seq: last + 1, fault: TrailFault::Missing { to: end } });
        }
        if last == head.seq && link != head.link {
            return Err(BrokenTrail { seq: last, fault: TrailFault::Unlinked });
        }
        if last != head.seq || !head.is_marked_by(self.marked_by.unwrap_or(own)) {
            return Err(BrokenTrail { seq: last + 1, fault: TrailFault::CutOff });
        }
        Ok(Verified { first: self.first, last, link: hex(&link) })
    }
}
