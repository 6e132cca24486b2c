//! A budget for classifying one request, shared by all documents of a batch.

/// Bytes of documents. Values of any size belong into the variables, which are passed over.
const MOST_BYTES: usize = 256 * 1024;

/// Names, punctuation marks, numbers and strings.
const MOST_TOKENS: usize = 50_000;

/// Operations, fragments and what they select at their roots: as it is read, and as it is looked up.
const MOST_SELECTIONS: usize = 10_000;

/// Counts the work down; where it is used up, the operation is unknown.
#[derive(Debug)]
pub struct Budget {
    bytes: usize,
    tokens: usize,
    selections: usize,
    exceeded: bool,
}

impl Budget {
    /// The budget of one request.
    pub const fn full() -> Self {
        Self { bytes: MOST_BYTES, tokens: MOST_TOKENS, selections: MOST_SELECTIONS, exceeded: false }
    }

    /// How many steps were taken.
    pub const fn spent(&self) -> usize {
        MOST_TOKENS + MOST_SELECTIONS - self.tokens - self.selections
    }

    /// Whether it was not enough.
    pub(in crate::gate) const fn is_exceeded(&self) -> bool {
        self.exceeded
    }

    pub(in crate::gate) fn spend_bytes(&mut self, bytes: usize) -> Option<()> {
        take(&mut self.bytes, bytes, &mut self.exceeded)
    }

    pub(in crate::gate) fn spend_token(&mut self) -> Option<()> {
        take(&mut self.tokens, 1, &mut self.exceeded)
    }

    pub(in crate::gate) fn spend_selection(&mut self) -> Option<()> {
        take(&mut self.selections, 1, &mut self.exceeded)
    }
}

fn take(left: &mut usize, steps: usize, exceeded: &mut bool) -> Option<()> {
    match left.checked_sub(steps) {
        Some(rest) => *left = rest,
        None => *exceeded = true,
    }
    (!*exceeded).then_some(())
}
