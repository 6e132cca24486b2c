//! Names of headers that settings may choose.

use http::HeaderName;

use crate::config::reading::{InvalidValue, text};
use crate::model::header_names;

/// Bytes of a header's name.
const LONGEST_NAME: usize = 60;

/// Names that mean something else to a server, or that end at a hop, beside those no setting may choose.
const NOT_FOR_TEMPLATES: [&str; 10] = [
    "accept",
    "accept-encoding",
    "date",
    "expect",
    "keep-alive",
    "proxy-connection",
    "set-cookie",
    "trailer",
    "via",
    "x-request-id",
];

/// Any name that means nothing else to us.
pub(in crate::config) fn any(text: &str) -> Result<HeaderName, InvalidValue> {
    const TAKEN: [&str; 13] = [
        "authorization",
        "proxy-authorization",
        "cookie",
        "host",
        "origin",
        "referer",
        "connection",
        "upgrade",
        "te",
        "content-length",
        "content-type",
        "transfer-encoding",
        "forwarded",
    ];
    let name = HeaderName::from_bytes(text.as_bytes())
        .map_err(|_| InvalidValue::from("is not a header name: write one such as \"X-Api-Key\""))?;
    let taken = TAKEN.contains(&name.as_str()) || name.as_str().starts_with("x-forwarded-");
    if taken || name.as_str().contains('_') {
        return Err("means something else already: write one such as \"X-Api-Key\"".into());
    }
    Ok(name)
}

/// The name of a header that we set ourselves.
pub(in crate::config) fn set_by_us(text: &str) -> Result<HeaderName, InvalidValue> {
    if text.eq_ignore_ascii_case("authorization") {
        return Err("carries a credential: write `basic`, `token` or `bearer` of an upstream instead".into());
    }
    let name = any(text)?;
    if NOT_FOR_TEMPLATES.contains(&name.as_str()) {
        return Err("means something else already: write one such as \"X-Scope-OrgID\"".into());
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if !name.as_str().bytes().all(plain) || name.as_str().len() > LONGEST_NAME {
        return Err("is not a plain header name: write letters, digits and - only, at most 60".into());
    }
    Ok(name)
}

/// A name that some servers read as another one, for an application that needs it all the same.
pub(in crate::config) fn odd(text: &str) -> Result<HeaderName, InvalidValue> {
    let name = HeaderName::from_bytes(text.as_bytes())
        .map_err(|_| InvalidValue::from("is not a header name: write one such as \"X_Tenant\""))?;
    if !header_names::is_odd(name.as_str().as_bytes()) {
        return Err("passes in any case, as it holds letters, digits and - only: leave it out".into());
    }
    if !header_names::may_pass_as_odd(&name) {
        return Err("may be read as a header that the gateway decides on or sets itself: leave it out".into());
    }
    Ok(name)
}

text! {
    HeaderName, "the name of a header", any;
}
