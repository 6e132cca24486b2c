//! Which credentials a route accepts.

use std::rc::Rc;

use http::HeaderName;

use crate::config::{CredentialConfig, ForeignCredentials};

/// What a route takes for a credential.
#[derive(Clone, Debug, Default)]
pub struct Accepts {
    /// The headers that may carry a key beside `Authorization`.
    pub key_headers: Rc<[HeaderName]>,
    /// `Authorization` values that are not ours are the application's and left alone.
    pub authorization: bool,
    /// So are values of the key headers.
    pub api_key: bool,
    /// A key may be the password of HTTP Basic.
    pub basic: bool,
    /// What becomes of other values that are not ours.
    pub foreign: ForeignCredentials,
}

impl Accepts {
    /// What a route says of it.
    pub fn of(config: &CredentialConfig) -> Self {
        Self {
            key_headers: config.key_headers.as_slice().into(),
            authorization: config.pass_authorization,
            api_key: config.pass_api_key,
            basic: config.basic,
            foreign: config.foreign,
        }
    }

    /// What is taken where two routes count: nothing that either would refuse.
    #[must_use]
    pub(in crate::gate) fn or_stricter(self, other: &Self) -> Self {
        let more = other.key_headers.iter().filter(|name| !self.key_headers.contains(name));
        let more: Vec<HeaderName> = more.cloned().collect();
        Self {
            key_headers: if more.is_empty() {
                self.key_headers
            } else {
                self.key_headers.iter().cloned().chain(more).collect()
            },
            authorization: self.authorization && other.authorization,
            api_key: self.api_key && other.api_key,
            basic: self.basic && other.basic,
            foreign: self.foreign.min(other.foreign),
        }
    }
}
