//! Providers beside each other: what they share, although each looks right by itself.

use super::ProviderConfig;
use crate::config::reading::{SettingsReader, join};

/// Checks a provider, which stands at `location`, against those before it.
pub(super) fn check(
    provider: &ProviderConfig,
    before: &[ProviderConfig],
    location: &str,
    reader: &mut SettingsReader,
) {
    let issuers = provider.issuer.issuers();
    let shares =
        |other: &&ProviderConfig| other.issuer.issuers().iter().any(|issuer| issuers.contains(issuer));
    if let Some(other) = before.iter().find(shares) {
        check_shared_issuer(provider, other, location, reader);
    }
    if let Some(other) = before.iter().find(|other| !shares(other) && has_same_groups(provider, other)) {
        let name = &other.name;
        let what = format!(
            "its groups and those of `{name}` may have the same names, and rules cannot tell whose are meant: whoever names \
             groups at one gets what is meant for the other. Give each a `groups_prefix`, of which none begins as the other"
        );
        reader.warn(&join(location, "claims"), what);
    }
}

/// Whether a group of one may have the name of a group of the other.
fn has_same_groups(one: &ProviderConfig, other: &ProviderConfig) -> bool {
    let (one, other) = (&one.claims, &other.claims);
    let (ours, theirs) = (&one.groups_prefix, &other.groups_prefix);
    one.groups.is_some() && other.groups.is_some() && (ours.starts_with(theirs) || theirs.starts_with(ours))
}

/// Whoever an issuer knows is one user here, whichever of its providers they come by; so each must know them by the same claim.
fn check_shared_issuer(
    provider: &ProviderConfig,
    other: &ProviderConfig,
    location: &str,
    reader: &mut SettingsReader,
) {
    let name = &other.name;
    if provider.subject_claim == other.subject_claim {
        let what = format!(
            "has the same issuer as `{name}`, so both lead to the same users, and who is refused by one may get in by the \
             other: give both the same rules"
        );
        reader.warn(&join(location, "issuer"), what);
    } else {
        let (claim, theirs) = (&provider.subject_claim, &other.subject_claim);
        let what = format!(
            "is `{claim}`, and that of `{name}`, which has the same issuer, is `{theirs}`: whoever came first by one would \
             keep everybody out of the other"
        );
        let remedy = format!("write \"{theirs}\", or \"{claim}\" for both");
        reader.problem(&join(location, "subject_claim"), what, remedy);
    }
}
