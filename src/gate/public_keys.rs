//! The public halves of the keys that sign what upstreams are told: a JWK Set (RFC 7517, 5).

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use serde_json::{Value, json};

use crate::config::{Config, IdentityConfig};
use crate::model::jwt::{JwtAlgorithm, RotatingKeys};
use crate::model::time::Timestamp;

/// The key set of one configuration.
#[derive(Debug)]
pub struct PublicKeys {
    rotating: RotatingKeys,
    algorithms: Vec<JwtAlgorithm>,
    /// Of keys that the settings name.
    own: Vec<Value>,
    /// As last written, with its period.
    written: Mutex<Option<(i64, Bytes)>>,
}

impl PublicKeys {
    /// The keys with which a configuration signs.
    pub fn new(config: &Config, rotating: RotatingKeys) -> Self {
        let identities: Vec<&IdentityConfig> = config
            .upstreams
            .iter()
            .map(|upstream| &upstream.identity)
            .chain([&config.forward_auth.identity])
            .collect();
        let (mut algorithms, mut own) = (Vec::new(), Vec::new());
        for identity in identities {
            if let Some(assertion) = &identity.assertion
                && !algorithms.contains(&assertion.algorithm)
            {
                algorithms.push(assertion.algorithm);
            }
            if let Some(public) = identity.bearer.as_ref().and_then(|bearer| bearer.key.public())
                && !own.contains(public)
            {
                own.push(public.clone());
            }
        }
        Self { rotating, algorithms, own, written: Mutex::new(None) }
    }

    /// The set as JSON at a time.
    pub fn json(&self, now: Timestamp) -> Bytes {
        let period = RotatingKeys::period(now);
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, json)) = &*written
            && *of == period
        {
            return json.clone();
        }
        let rotating =
            self.algorithms.iter().flat_map(|algorithm| self.rotating.published(*algorithm, period));
        let keys: Vec<Value> = rotating.chain(self.own.iter().cloned()).collect();
        let json = Bytes::from(json!({ "keys": keys }).to_string());
        *written = Some((period, json.clone()));
        json
    }
}
