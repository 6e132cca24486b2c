//! Suggests the name that a misspelt one was probably meant to be.

/// The candidate that `name` was probably meant to be.
pub(in crate::config) fn nearest<'c>(
    name: &str,
    candidates: impl Iterator<Item = &'c str>,
) -> Option<&'c str> {
    let reach = (name.chars().count() / 3).max(1);
    candidates
        .map(|candidate| {
            let begins = name.len() >= 3 && candidate.starts_with(name);
            let distance = if begins { 1 } else { strsim::damerau_levenshtein(name, candidate) };
            (distance, candidate)
        })
        .filter(|(distance, _)| *distance <= reach)
        .min()
        .map(|(_, candidate)| candidate)
}
