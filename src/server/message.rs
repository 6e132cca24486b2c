//! Checks the framing and host of a message, and what it upgrades to, where only one reading is possible.

use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Request, Version};

use super::head::{HeadError, HeadLimits};
use crate::edge::client_body::ClientBody;
use crate::edge::pages::problem::Problem;
use crate::edge::proxy::handshake;
use crate::model::target::{RequestKind, TargetError};

/// Refuses messages whose end two parsers could see in different places (RFC 9112, 6). What a head by
/// HTTP/1 can hide was seen to where it was read ([`super::head`]).
pub(super) fn check_framing<B>(request: &Request<B>) -> Result<(), HeadError> {
    let headers = request.headers();
    let mut encodings = headers.get_all(TRANSFER_ENCODING).iter();
    let chunked_only = match (encodings.next(), encodings.next()) {
        (None, _) => true,
        (Some(encoding), None) => {
            request.version() == Version::HTTP_11 && encoding.as_bytes().eq_ignore_ascii_case(b"chunked")
        }
        _ => false,
    };
    if headers.contains_key(TRANSFER_ENCODING) && headers.contains_key(CONTENT_LENGTH) {
        return Err(HeadError::LengthBesideCoding);
    }
    if headers.get_all(CONTENT_LENGTH).iter().count() > 1 {
        return Err(HeadError::TwoLengths);
    }
    if chunked_only { Ok(()) } else { Err(HeadError::Coding) }
}

/// Refuses an HTTP/2 head that is not within bounds, its bytes counted as unpacked (RFC 9113, 6.5.2).
pub(super) fn check_bounds<B>(request: &Request<B>, bounds: HeadLimits) -> Result<(), HeadError> {
    let headers = request.headers();
    let line = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    let bytes = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum::<usize>();
    if headers.len() > bounds.fields {
        return Err(HeadError::TooManyFields);
    }
    if bytes + line <= bounds.bytes { Ok(()) } else { Err(HeadError::TooLarge) }
}

/// The one host a request names: in the target, in `Host`, or the same in both (RFC 9112, 3.2).
///
/// HTTP/2 names it in the target only; from here on it stands in `Host` too.
pub(super) fn take_host<B>(request: &mut Request<B>) -> Result<HeaderValue, TargetError> {
    let named = host_of(request)?;
    let host = match request.headers().get(HOST) {
        Some(host) => return Ok(host.clone()),
        None => HeaderValue::from_str(named).map_err(|_| TargetError::BadHost)?,
    };
    request.headers_mut().insert(HOST, host.clone());
    Ok(host)
}

fn host_of<B>(request: &Request<B>) -> Result<&str, TargetError> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let header = match (hosts.next(), hosts.next()) {
        (None, _) => None,
        (Some(host), None) => Some(host.to_str().map_err(|_| TargetError::BadHost)?),
        _ => return Err(TargetError::BadHost),
    };
    let authority = request.uri().authority().map(http::uri::Authority::as_str);
    match (authority, header) {
        (Some(authority), Some(header)) if !authority.eq_ignore_ascii_case(header) => {
            Err(TargetError::BadHost)
        }
        (_, Some(host)) | (Some(host), None) => Ok(host),
        (None, None) => Err(TargetError::NoHost),
    }
}

/// What becomes of the connection: an answer, a stream of messages, or another protocol.
pub(super) fn kind_of(request: &Request<ClientBody>) -> Result<RequestKind, Problem> {
    let headers = request.headers();
    // In HTTP/1.0 the field is to be ignored (RFC 9110, 7.8), in HTTP/2 it is not allowed.
    if request.version() == Version::HTTP_11
        && let Some(protocol) = handshake::protocol_of(headers).map_err(Problem::from)?
    {
        if !hyper::body::Body::is_end_stream(request.body()) {
            return Err(HeadError::UpgradeWithBody.into());
        }
        if !handshake::is_websocket(protocol) {
            return Ok(RequestKind::Upgrade);
        }
        handshake::check(request.method(), headers).map_err(Problem::from)?;
        return Ok(RequestKind::WebSocket);
    }
    Ok(if is_grpc(headers) { RequestKind::Grpc } else { RequestKind::Plain })
}

fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(http::header::CONTENT_TYPE).is_some_and(|value| {
        let value = value.as_bytes();
        value.get(..16).is_some_and(|start| start.eq_ignore_ascii_case(b"application/grpc"))
            && matches!(value.get(16), None | Some(b'+' | b';' | b' '))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(fields: &[(&str, &str)]) -> Request<()> {
        let request =
            fields.iter().fold(Request::post("/"), |request, (name, value)| request.header(*name, *value));
        request.body(()).unwrap()
    }

    #[test]
    fn a_fault_of_framing_or_size_says_which() {
        let (length, coding) = (("content-length", "5"), ("transfer-encoding", "chunked"));
        for (fields, fault) in [
            (&[][..], Ok(())),
            (&[length], Ok(())),
            (&[coding], Ok(())),
            (&[length, coding], Err(HeadError::LengthBesideCoding)),
            (&[length, length], Err(HeadError::TwoLengths)),
            (&[coding, coding], Err(HeadError::Coding)),
            (&[("transfer-encoding", "gzip, chunked")], Err(HeadError::Coding)),
        ] {
            assert_eq!(check_framing(&request(fields)), fault, "{fields:?}");
        }
        let bounds = HeadLimits { bytes: 100, fields: 2 };
        let (short, long) = (("x", "y"), "z".repeat(70));
        for (fields, fault) in [
            (&[short; 2][..], Ok(())),
            (&[short; 3], Err(HeadError::TooManyFields)),
            (&[("x", &*long)], Err(HeadError::TooLarge)),
        ] {
            assert_eq!(check_bounds(&request(fields), bounds), fault, "{fields:?}");
        }
    }
}
