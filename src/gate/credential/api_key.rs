//! API keys that the gateway issued: text with a checksum, in a header for it.

use super::LookUp;
use crate::model::principal::{Holder, Principal};
use crate::model::token::KeyText;
use crate::service::ServiceError;
use crate::service::api_keys::ApiKeys;

/// Whether a text is a key of ours or claims to be one.
pub(super) fn is_claimed(text: &str) -> bool {
    KeyText::is_claimed(text)
}

/// Asks the service that issued them.
#[derive(Clone)]
pub(super) struct ByKey(pub(super) ApiKeys);

impl LookUp for ByKey {
    /// Keys have a checksum: a mistyped one costs no query.
    fn is_plausible(&self, text: &str) -> bool {
        KeyText::id_of(text).is_some()
    }

    async fn whose(&self, text: &str) -> Result<Holder, ServiceError> {
        self.0.resolve(text).await
    }

    async fn whose_still(&self, principal: &Principal) -> Result<Option<Principal>, ServiceError> {
        match principal.key_id() {
            Some(id) => self.0.resolve_again(id).await,
            None => Ok(None),
        }
    }
}
