//! Names of request headers that make programs believe something: which they are, and how they are read.

mod table;

use http::HeaderName;

pub use self::table::{FAMILIES, HANDED_ON, HeaderMeaning, NAMES};
use self::table::{PLAIN_ONLY, PLAIN_ONLY_FAMILIES};

/// No name that is looked for is longer.
const LONGEST: usize = 64;

/// CGI, WSGI and PHP read `X_Forwarded_User` and `X.Forwarded.User` as `X-Forwarded-User`, so every character that
/// is not a letter or digit counts as `-`. Names are lower-case in a [`HeaderMap`].
pub fn fold(byte: u8) -> u8 {
    if byte.is_ascii_alphanumeric() { byte } else { b'-' }
}

/// Whether some server may read a name as another one.
pub fn is_odd(name: &[u8]) -> bool {
    !name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
}

/// A folded name, as long as any that is looked for.
#[derive(Debug)]
pub struct Folded([u8; LONGEST], usize);

impl Folded {
    /// Folds a name.
    pub fn of(name: &[u8]) -> Self {
        let mut folded = [0; LONGEST];
        for (to, from) in folded.iter_mut().zip(name) {
            *to = fold(*from);
        }
        Self(folded, name.len().min(LONGEST))
    }

    /// The name.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.get(..self.1).unwrap_or_default()
    }
}

/// What a folded name says, where it is in the table.
pub fn said(folded: &[u8]) -> Option<HeaderMeaning> {
    if let Ok(at) = NAMES.binary_search_by(|(name, _)| name.as_bytes().cmp(folded)) {
        return NAMES.get(at).map(|(_, says)| *says);
    }
    // No family begins with another, so only the last one that is not behind the name can begin it.
    let before = FAMILIES.partition_point(|(family, _)| family.as_bytes() <= folded);
    let (family, says) = before.checked_sub(1).and_then(|at| FAMILIES.get(at))?;
    folded.starts_with(family.as_bytes()).then_some(*says)
}

/// Whether a folded name frames a message, says what its body is, carries a credential, or is one that a decision looks
/// at.
pub fn is_plain_only(folded: &[u8]) -> bool {
    PLAIN_ONLY.binary_search_by(|name| name.as_bytes().cmp(folded)).is_ok()
        || PLAIN_ONLY_FAMILIES.iter().any(|family| folded.starts_with(family.as_bytes()))
}

/// Whether a name may be let pass although some server may read it as another: never as one that only the gateway may
/// set, that frames a message, says what its body is, carries a credential, or that a decision looks at.
pub fn may_pass_as_odd(name: &HeaderName) -> bool {
    let folded = Folded::of(name.as_str().as_bytes());
    let folded = folded.as_bytes();
    let handed_on = folded.strip_prefix(HANDED_ON.as_bytes()).unwrap_or(folded);
    is_odd(name.as_str().as_bytes()) && said(handed_on).is_none() && !is_plain_only(folded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_folded_so_that_it_can_be_searched() {
        assert!(NAMES.is_sorted_by_key(|(name, _)| name) && FAMILIES.is_sorted_by_key(|(family, _)| family));
        assert!(PLAIN_ONLY.is_sorted());
        for (name, says) in NAMES.iter().chain(FAMILIES) {
            assert!(name.bytes().all(|b| fold(b) == b && !b.is_ascii_uppercase()), "{name}");
            assert!(name.len() < LONGEST, "{name}");
            assert_eq!(said(name.as_bytes()), Some(*says), "{name}");
            let above = FAMILIES.iter().filter(|(family, _)| name.starts_with(family) && name != family);
            assert_eq!(above.count(), 0, "{name} stands in a family already");
        }
    }

    #[test]
    fn the_page_on_readings_knows_every_name() {
        let page = include_str!("../../../docs/readings.md").to_ascii_lowercase();
        for (name, _) in NAMES {
            assert!(page.contains(&format!("`{name}`")), "{name}");
        }
        for (family, _) in FAMILIES {
            assert!(page.contains(&format!("`{family}*`")), "{family}");
        }
    }

    #[test]
    fn no_name_may_pass_as_odd_that_is_read_as_one_that_counts() {
        for name in ["x_tenant", "ce.id", "x_csrf_token"] {
            assert!(may_pass_as_odd(&HeaderName::from_static(name)), "{name}");
        }
        for name in [
            "content_type",
            "transfer_encoding",
            "x_api_key",
            "x_auth_user",
            "sec_fetch_site",
            "script_name",
            "grpc_metadata_x_auth_user",
            "x-plain",
            "destination",
        ] {
            assert!(!may_pass_as_odd(&HeaderName::from_static(name)), "{name}");
        }
    }
}
