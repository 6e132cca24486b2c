//! Finds secrets that are too regular to have been drawn at random.

/// Whether a secret is so regular that it was hardly drawn at random.
pub(in crate::config) fn is_guessable(text: &str) -> bool {
    distinct(text) < 10 || repeats(text)
}

/// How many different bytes a text has.
pub(in crate::config) fn distinct(text: &str) -> usize {
    let mut bytes = text.as_bytes().to_vec();
    bytes.sort_unstable();
    bytes.dedup();
    bytes.len()
}

/// Whether a text is one piece written at least twice.
pub(in crate::config) fn repeats(text: &str) -> bool {
    let bytes = text.as_bytes();
    (1..=bytes.len() / 2).any(|period| bytes.iter().zip(bytes.iter().skip(period)).all(|(a, b)| a == b))
}
