//! What a request does beside what its method and target say: the second address in its headers.
//!
//! `COPY` and `MOVE` (RFC 4918, 9.8 and 9.9) act on two places, and the second one stands in `Destination`
//! (10.3); stores of objects name the place to copy from, registries of containers that of a layer. Each such act becomes a target of its own, and a
//! request is allowed only if all of them are. An address that two servers could read differently is refused.

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::GateRequest;
use crate::model::target::{RequestKind, RequestTarget, TargetError};

/// Where a copy or move goes (RFC 4918, 10.3).
pub const DESTINATION: HeaderName = HeaderName::from_static("destination");
/// Whether what is there may be replaced (RFC 4918, 10.6).
const OVERWRITE: HeaderName = HeaderName::from_static("overwrite");

/// Names that a proxy's question must repeat of a request, so that what it does at a second place is decided.
pub const NAMES: &[&str] = &[
    "destination",
    "destination-account",
    "overwrite",
    "x-amz-copy-source",
    "x-amz-rename-source",
    "x-copy-from",
    "x-copy-from-account",
    "x-cos-copy-source",
    "x-goog-copy-source",
    "x-ms-copy-source",
    "x-ms-rename-source",
    "x-object-manifest",
    "x-obs-copy-source",
    "x-oss-copy-source",
    "x-symlink-target",
    "x-symlink-target-account",
];

/// How the names end by which stores of objects say what is to be copied or renamed: `x-amz-copy-source`,
/// `x-ms-copy-source`, `x-goog-copy-source`, `x-amz-rename-source`.
const COPY_SOURCE: &str = "-copy-source";
const RENAME_SOURCE: &str = "-rename-source";

/// Names of `OpenStack` Swift whose values are no addresses, but parts of one below an account.
const PARTS_OF_ADDRESSES: &[&str] = &[
    "destination-account",
    "x-copy-from",
    "x-copy-from-account",
    "x-object-manifest",
    "x-symlink-target",
    "x-symlink-target-account",
];

/// Further targets that a request acts on. None, for nearly all.
#[derive(Clone, Debug, Default)]
pub struct Effects {
    /// Each act as a request of its own.
    pub(super) also: Vec<RequestTarget>,
    /// Which of them is at the destination.
    pub(super) destination: Option<usize>,
}

/// Why a second address is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadAddress {
    /// A copy or move that does not say where to.
    #[error("Destination is missing")]
    Missing,
    /// More than once, so that two servers could read different ones.
    #[error("{0} stands more than once")]
    Several(HeaderName),
    /// Neither an absolute path nor an absolute URI, or with parts that have no place in it.
    #[error("{0} is not plainly an absolute path or URI, without query and fragment")]
    Malformed(HeaderName),
    /// A place that is not of the same application at the same origin.
    #[error("{0} names another application than the request does")]
    Foreign(HeaderName),
    /// A part of an address that only its server can complete.
    #[error("{0} names a place in a way that rules cannot be applied to")]
    Unreadable(HeaderName),
    /// A layer of an image to be had from another repository, which is not plainly named.
    #[error("`from` does not plainly name a repository")]
    Mount,
    /// A path that two parties could read differently.
    #[error("{0}: {1}")]
    Path(HeaderName, #[source] TargetError),
}

impl Effects {
    /// Reads the headers. `public_origin` is that of the public URL.
    ///
    /// # Errors
    ///
    /// [`BadAddress`] for what cannot be read in one way only.
    pub(super) fn of(request: &GateRequest<'_>, public_origin: &str) -> Result<Self, BadAddress> {
        let (target, headers) = (request.target, request.headers);
        let mut effects = Self::default();
        let (authority, secure) = (request.authority, request.client.secure);
        let here = RequestBase { target, authority, secure, public_origin };
        match target.method().as_str() {
            "COPY" => effects.add(target, &[Method::GET]),
            "MOVE" => effects.add(target, &[Method::GET, Method::DELETE]),
            _ => {}
        }
        let mut values = headers.get_all(DESTINATION).iter();
        match (values.next(), values.next()) {
            (Some(value), None) => {
                effects.destination = Some(effects.also.len());
                let there = here.address(&DESTINATION, value, false)?;
                effects.add(&there, &[target.method().clone(), Method::PUT]);
                // What is in the way is deleted first (RFC 4918, 9.8.4 and 9.9.3).
                if !keeps_what_is_there(headers) {
                    effects.add(&there, &[Method::DELETE]);
                }
            }
            // A question that lost the header must not be answered as if there was none.
            (None, _) if !effects.also.is_empty() => return Err(BadAddress::Missing),
            (None, _) => {}
            _ => return Err(BadAddress::Several(DESTINATION)),
        }
        if !target.is_read() {
            effects.read_sources(headers, &here)?;
            effects.read_mount(&here)?;
        }
        Ok(effects)
    }

    /// Registries of containers take a layer over from the repository that the query names (OCI distribution 1.1,
    /// "Mounting a blob from another repository"): it is read there.
    fn read_mount(&mut self, here: &RequestBase<'_>) -> Result<(), BadAddress> {
        let path = here.target.path();
        let uploads = path.trim_end_matches('/').ends_with("/blobs/uploads");
        let Some(query) = here.target.query().filter(|_| uploads && path.starts_with("/v2/")) else {
            return Ok(());
        };
        let query = query.replace(';', "&"); // a separator to some
        let values = |wanted: &str| -> Vec<_> {
            let all = url::form_urlencoded::parse(query.as_bytes());
            all.filter(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value).collect()
        };
        let (layers, repositories) = (values("mount"), values("from"));
        match (&layers[..], &repositories[..]) {
            ([] | [_], []) => Ok(()),
            ([layer], [repository]) => {
                let there = here.read(&format!("/v2/{repository}/blobs/{layer}"));
                self.add(&there.map_err(|_| BadAddress::Mount)?, &[Method::GET]);
                Ok(())
            }
            _ => Err(BadAddress::Mount),
        }
    }

    fn add(&mut self, target: &RequestTarget, methods: &[Method]) {
        self.also.extend(methods.iter().map(|method| target.as_method(method, RequestKind::Plain)));
    }

    fn read_sources(&mut self, headers: &HeaderMap, here: &RequestBase<'_>) -> Result<(), BadAddress> {
        for name in headers.keys() {
            let moved = name.as_str().ends_with(RENAME_SOURCE);
            if !moved && !name.as_str().ends_with(COPY_SOURCE) {
                continue;
            }
            let mut values = headers.get_all(name).iter();
            let (Some(value), None) = (values.next(), values.next()) else {
                return Err(BadAddress::Several(name.clone()));
            };
            let there = here.address(name, value, true)?;
            self.add(&there, &[Method::GET]);
            if moved {
                self.add(&there, &[Method::DELETE]);
            }
        }
        Ok(())
    }
}

/// The first header that names a part of a second address, where there is one.
pub(super) fn part_of_address(request: &GateRequest<'_>) -> Option<HeaderName> {
    if request.target.is_read() {
        return None;
    }
    let name = PARTS_OF_ADDRESSES.iter().find(|name| request.headers.contains_key(**name))?;
    Some(HeaderName::from_static(name))
}

/// `Overwrite: F`, once and in no other spelling.
fn keeps_what_is_there(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(OVERWRITE).iter();
    values.next().is_some_and(|value| value == "F") && values.next().is_none()
}

/// Where a request came to, to read addresses by.
#[derive(Clone, Copy, Debug)]
pub struct RequestBase<'a> {
    /// What was asked for.
    pub target: &'a RequestTarget,
    /// Host and port as the client wrote them.
    pub authority: &'a str,
    /// Whether it came over TLS.
    pub secure: bool,
    /// The origin of the public URL.
    pub public_origin: &'a str,
}

/// What is wrong with an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressError {
    /// It is neither an absolute path nor an absolute URI, or has parts that have no place in it.
    Malformed,
    /// It is of another origin.
    Foreign,
    /// Its path can be read in two ways.
    Path(TargetError),
}

impl RequestBase<'_> {
    /// An absolute path, or an absolute URI of ours (RFC 3986, 4.3; RFC 4918, 8.3), as a target with the method
    /// of the request.
    ///
    /// # Errors
    ///
    /// [`AddressError`] if that is not what it is.
    pub fn read(&self, text: &str) -> Result<RequestTarget, AddressError> {
        if !text.bytes().all(stands_in_an_address) || begins_a_list(text) {
            return Err(AddressError::Malformed);
        }
        let path = match text.split_once("://") {
            _ if text.starts_with('/') => text,
            Some((scheme, rest)) => {
                let at = rest.find('/').ok_or(AddressError::Malformed)?;
                let (authority, path) = rest.split_at_checked(at).ok_or(AddressError::Malformed)?;
                if authority.contains('@') {
                    return Err(AddressError::Malformed);
                }
                if !self.is_ours(scheme, authority) {
                    return Err(AddressError::Foreign);
                }
                path
            }
            None => return Err(AddressError::Malformed),
        };
        let path = path.parse().map_err(|_| AddressError::Malformed)?;
        RequestTarget::parse(self.target.method(), self.authority, &path, RequestKind::Plain)
            .map_err(AddressError::Path)
    }

    /// The same of a header. `of_object`: the first slash may be missing and a version follow as a query, as
    /// stores of objects have it.
    fn address(
        &self,
        name: &HeaderName,
        value: &HeaderValue,
        of_object: bool,
    ) -> Result<RequestTarget, BadAddress> {
        let text = value.to_str().map_err(|_| BadAddress::Malformed(name.clone()))?;
        let read = if of_object {
            let text = text.split('?').next().unwrap_or_default();
            // The first segment of a relative path has no colon (RFC 3986, 4.2).
            let is_relative =
                !text.starts_with('/') && !text.split('/').next().unwrap_or_default().contains(':');
            if is_relative { self.read(&format!("/{text}")) } else { self.read(text) }
        } else {
            self.read(text)
        };
        read.map_err(|wrong| match wrong {
            AddressError::Malformed => BadAddress::Malformed(name.clone()),
            AddressError::Foreign => BadAddress::Foreign(name.clone()),
            AddressError::Path(error) => BadAddress::Path(name.clone(), error),
        })
    }

    /// Whether an origin is the one that the request came to, as the client or as `public_url` says it.
    fn is_ours(&self, scheme: &str, authority: &str) -> bool {
        let secure = match scheme {
            _ if scheme.eq_ignore_ascii_case("https") => true,
            _ if scheme.eq_ignore_ascii_case("http") => false,
            _ => return false,
        };
        let (public_scheme, public) = self.public_origin.split_once("://").unwrap_or_default();
        let is_public_host = host_of(public).eq_ignore_ascii_case(host_of(self.authority));
        same_place((secure, authority), (self.secure, self.authority))
            || is_public_host && same_place((secure, authority), (public_scheme == "https", public))
    }
}

/// Characters of a path and of what stands before it (RFC 3986, 3.3); `[` and `]` stand in an address of IPv6.
fn stands_in_an_address(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/%[]".contains(&byte)
}

/// Whether an address is followed by another one, as where somebody joined two headers (RFC 9110, 5.3).
fn begins_a_list(text: &str) -> bool {
    text.split(',').skip(1).any(|part| part.starts_with('/') || part.contains("://"))
}

fn same_place(one: (bool, &str), other: (bool, &str)) -> bool {
    let without_port = |(secure, authority): (bool, &'_ str)| {
        authority.strip_suffix(if secure { ":443" } else { ":80" }).unwrap_or(authority).to_ascii_lowercase()
    };
    one.0 == other.0 && without_port(one) == without_port(other)
}

/// An authority without its port.
fn host_of(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}
