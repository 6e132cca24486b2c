//! Records what a gateway saw of a subrequest that `doorward doctor` had a proxy send.

use std::error::Error;
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::model::time::Clock;
use crate::model::token::TokenDigest;
use crate::store::Store;

/// The parameter that marks a probe.
const MARK: &str = "doorward-doctor=";
/// The header that bears the nonce as well: a proxy that does not say the address may still pass it on.
pub const HEADER: &str = "x-doorward-doctor";
/// Characters of a nonce.
const NONCE: usize = 43;
/// Reports that may wait to be written; further ones are dropped.
const QUEUE: usize = 4;
/// Bytes of a report; a longer one is dropped.
const LARGEST: usize = 64 * 1024;

/// The address of a probe: `url` with the mark.
pub fn marked(url: &str, nonce: &str) -> String {
    let separator = if url.contains('?') { '&' } else { '?' };
    format!("{url}{separator}{MARK}{nonce}")
}

/// The nonce in an address, if there is one.
pub fn nonce_in(address: &str) -> Option<&str> {
    let (_, rest) = address.split_once(MARK)?;
    let end = rest.find(['&', '#']).unwrap_or(rest.len());
    nonce_of(rest.get(..end)?)
}

/// The text, if it can be a nonce.
pub fn nonce_of(nonce: &str) -> Option<&str> {
    let shaped =
        nonce.len() == NONCE && nonce.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    shaped.then_some(nonce)
}

/// Where the data plane drops reports. Never waits; clones share the queue.
#[derive(Clone, Debug)]
pub struct Reports(mpsc::Sender<(TokenDigest, String)>);

impl Reports {
    /// Hands a report over, to be written if somebody waits for it.
    pub fn hand_over(&self, nonce: &str, report: String) {
        if report.len() <= LARGEST {
            // A full queue means that somebody makes nonces up; the doctor asks again.
            drop(self.0.try_send((TokenDigest::of(nonce), report)));
        }
    }
}

/// Writes reports, one after the other, until every sender is gone.
#[derive(Debug)]
pub struct ReportWriter {
    reports: mpsc::Receiver<(TokenDigest, String)>,
    store: Store,
    clock: Arc<dyn Clock>,
}

/// The two ends of the queue. [`ReportWriter::run`] is to be spawned on the control runtime.
pub fn channel(store: Store, clock: Arc<dyn Clock>) -> (Reports, ReportWriter) {
    let (sender, reports) = mpsc::channel(QUEUE);
    (Reports(sender), ReportWriter { reports, store, clock })
}

impl ReportWriter {
    /// Works until every sender is gone.
    pub async fn run(mut self) {
        while let Some((digest, report)) = self.reports.recv().await {
            if let Err(error) = self.store.fill_probe(digest, self.clock.now(), &report).await {
                tracing::warn!(error = &error as &dyn Error, "a probe's report was not written");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_found_where_it_was_put_and_nothing_else_is_one() {
        let nonce = "a".repeat(NONCE);
        for url in ["/", "/a?b=1", "http://app.example/a"] {
            let marked = marked(url, &nonce);
            assert_eq!(nonce_in(&marked), Some(nonce.as_str()), "{marked}");
            assert_eq!(nonce_in(&format!("{marked}&more=1")), Some(nonce.as_str()));
        }
        for other in ["/", "/?doorward-doctor=", "/?doorward-doctor=short", "/?doctor=x"] {
            assert_eq!(nonce_in(other), None, "{other}");
        }
        assert_eq!(nonce_in(&format!("/?{MARK}{nonce}a")), None);
        assert_eq!(nonce_in(&format!("/?{MARK}{}", "%".repeat(NONCE))), None);
    }
}
