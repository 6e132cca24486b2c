//! Reads when a leaf certificate expires.

use x509_parser::prelude::{FromDer, X509Certificate};

use crate::model::time::Timestamp;

/// When a certificate ends, given as DER.
pub(super) fn end_of_leaf(leaf: &[u8]) -> Option<Timestamp> {
    let (_, leaf) = X509Certificate::from_der(leaf).ok()?;
    Some(Timestamp(leaf.validity().not_after.timestamp()))
}
