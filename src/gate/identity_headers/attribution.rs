//! Attribution headers: on whose behalf a service asks, passed on only where the settings accept its word.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::config::{AttributionConfig, HeaderEncoding};
use crate::model::principal::Principal;

/// Bytes of one value; names and addresses are shorter.
const LONGEST: usize = 512;

/// What one application is told of those for whom services ask.
#[derive(Debug)]
pub(super) struct Attribution(AttributionConfig);

impl Attribution {
    pub(super) fn new(config: AttributionConfig) -> Self {
        Self(config)
    }

    /// The headers to pass on: what the client said, one visible value each, and which service said so.
    pub(super) fn of(
        &self,
        headers: &HeaderMap,
        principal: &Principal,
        encoding: HeaderEncoding,
    ) -> Vec<(HeaderName, HeaderValue)> {
        if !self.0.forward || !principal.may_act_for_users() {
            return Vec::new();
        }
        let said = self.0.headers.iter().filter_map(|name| {
            let mut values = headers.get_all(name).iter();
            let (Some(value), None) = (values.next(), values.next()) else { return None };
            let visible = value.as_bytes().iter().all(|byte| (b' '..=b'~').contains(byte));
            (visible && !value.is_empty() && value.len() <= LONGEST).then(|| (name.clone(), value.clone()))
        });
        let service = encoding.value(&encoding.fact(&principal.name, &[]));
        said.chain(service.map(|service| (self.0.service_header.clone(), service))).collect()
    }
}
