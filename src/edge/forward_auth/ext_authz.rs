//! Envoy's `ext_authz` over gRPC: `envoy.service.auth.v3.Authorization/Check`.
//!
//! The messages are the part of Envoy's stable v3 API that a check needs; protobuf skips unknown fields.

use std::collections::HashMap;

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response};
use prost::Message;

use super::compat::Terms;
use super::original::{BadSubrequest, Subrequest};
use super::{AuthCheck, Style, left};
use crate::edge::forwarded;
use crate::gate::credential::CredentialNames;
use crate::gate::identity_headers::Managed;
use crate::model::network;
use crate::model::principal::{Client, ClientAddress};

/// Where Envoy calls.
pub const PATH: &str = "/envoy.service.auth.v3.Authorization/Check";
/// The attributes of a request, without its body.
pub const LARGEST_REQUEST: usize = 128 * 1024;

/// `google.rpc.Code` `PERMISSION_DENIED` and `UNAUTHENTICATED`.
const PERMISSION_DENIED: i32 = 7;
const UNAUTHENTICATED: i32 = 16;

/// The key in `context_extensions` under which Envoy's configuration names one of our routes.
const ROUTE: &str = "route";

/// `envoy.service.auth.v3.CheckRequest`.
#[derive(Clone, PartialEq, Message)]
pub struct CheckRequest {
    #[prost(message, optional, tag = "1")]
    attributes: Option<AttributeContext>,
}

#[derive(Clone, PartialEq, Message)]
struct AttributeContext {
    #[prost(message, optional, tag = "1")]
    source: Option<Peer>,
    #[prost(message, optional, tag = "4")]
    request: Option<Request>,
    #[prost(map = "string, string", tag = "10")]
    context_extensions: HashMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
struct Peer {
    #[prost(message, optional, tag = "1")]
    address: Option<Address>,
}

#[derive(Clone, PartialEq, Message)]
struct Address {
    #[prost(message, optional, tag = "1")]
    socket_address: Option<SocketAddress>,
}

#[derive(Clone, PartialEq, Message)]
struct SocketAddress {
    #[prost(string, tag = "2")]
    address: String,
}

#[derive(Clone, PartialEq, Message)]
struct Request {
    #[prost(message, optional, tag = "2")]
    http: Option<HttpRequest>,
}

#[derive(Clone, PartialEq, Message)]
struct HttpRequest {
    #[prost(string, tag = "2")]
    method: String,
    #[prost(map = "string, string", tag = "3")]
    headers: HashMap<String, String>,
    #[prost(string, tag = "4")]
    path: String,
    #[prost(string, tag = "5")]
    host: String,
    #[prost(string, tag = "6")]
    scheme: String,
    /// Instead of `headers`, where Envoy is told to send them as they came.
    #[prost(message, optional, tag = "13")]
    header_map: Option<RawHeaders>,
}

#[derive(Clone, PartialEq, Message)]
struct RawHeaders {
    #[prost(message, repeated, tag = "1")]
    headers: Vec<Header>,
}

#[derive(Clone, PartialEq, Message)]
struct Header {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    value: String,
    #[prost(bytes = "vec", tag = "3")]
    raw_value: Vec<u8>,
}

/// `envoy.service.auth.v3.CheckResponse`.
#[derive(Clone, PartialEq, Message)]
pub struct CheckResponse {
    #[prost(message, optional, tag = "1")]
    status: Option<Status>,
    #[prost(message, optional, tag = "2")]
    denied_response: Option<DeniedHttpResponse>,
    #[prost(message, optional, tag = "3")]
    ok_response: Option<OkHttpResponse>,
}

#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
}

#[derive(Clone, PartialEq, Message)]
struct DeniedHttpResponse {
    #[prost(message, optional, tag = "1")]
    status: Option<HttpStatus>,
    #[prost(message, repeated, tag = "2")]
    headers: Vec<HeaderValueOption>,
    #[prost(string, tag = "3")]
    body: String,
}

#[derive(Clone, PartialEq, Message)]
struct HttpStatus {
    #[prost(int32, tag = "1")]
    code: i32,
}

#[derive(Clone, PartialEq, Message)]
struct OkHttpResponse {
    #[prost(message, repeated, tag = "2")]
    headers: Vec<HeaderValueOption>,
    #[prost(string, repeated, tag = "5")]
    headers_to_remove: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct HeaderValueOption {
    #[prost(message, optional, tag = "1")]
    header: Option<Header>,
    /// `google.protobuf.BoolValue`; false replaces what the client sent.
    #[prost(message, optional, tag = "2")]
    append: Option<bool>,
}

/// The message in one gRPC frame (the length-prefixed form of the gRPC over HTTP/2 protocol).
///
/// # Errors
///
/// [`BadSubrequest::Message`] if it is compressed, cut off or not this message.
pub fn decode(frame: &[u8]) -> Result<CheckRequest, BadSubrequest> {
    let ([flag, length @ ..], message) = frame.split_first_chunk::<5>().ok_or(BadSubrequest::Message)?;
    let whole = usize::try_from(u32::from_be_bytes(*length)).is_ok_and(|length| length == message.len());
    if *flag != 0 || !whole {
        return Err(BadSubrequest::Message);
    }
    CheckRequest::decode(message).map_err(|_| BadSubrequest::Message)
}

/// A message as one gRPC frame.
pub fn encode(response: &CheckResponse) -> Bytes {
    let mut frame = BytesMut::with_capacity(5 + response.encoded_len());
    frame.put_u8(0);
    frame.put_u32(u32::try_from(response.encoded_len()).unwrap_or(u32::MAX));
    frame.extend_from_slice(&response.encode_to_vec());
    frame.freeze()
}

impl CheckRequest {
    /// The check that is asked for, and the headers of the request in question.
    ///
    /// # Errors
    ///
    /// [`BadSubrequest`] if any part is missing or malformed.
    pub fn read(
        self,
        peer: forwarded::Peer,
        uri_bytes: usize,
    ) -> Result<(AuthCheck, HeaderMap), BadSubrequest> {
        let attributes = self.attributes.ok_or(BadSubrequest::Message)?;
        let http = attributes.request.and_then(|request| request.http).ok_or(BadSubrequest::Message)?;
        let headers = http.header_map()?;
        let method = Method::from_bytes(http.method.as_bytes()).map_err(|_| BadSubrequest::Message)?;
        let question = Subrequest { headers: &headers, method: &method, rest: "", uri_bytes };
        let original = question.from_parts(&http.scheme, &http.host, &http.path)?;
        let source = attributes
            .source
            .and_then(|source| source.address?.socket_address)
            .and_then(|socket| socket.address.parse().ok().and_then(network::of_client));
        // Envoy asks for others only: what is not readable is not Envoy's own address.
        let address = source.map_or(peer.beyond(), ClientAddress::at);
        // Only trusted proxies are answered.
        let client = Client { address, secure: original.secure, by_proxy: true };
        let route = attributes.context_extensions.get(ROUTE).cloned();
        let check = AuthCheck {
            style: Style::PassedOn,
            headers: None,
            route,
            original,
            client,
            terms: Terms::default(),
            answer_bytes: None,
        };
        Ok((check, headers))
    }
}

impl HttpRequest {
    fn header_map(&self) -> Result<HeaderMap, BadSubrequest> {
        let mut map = HeaderMap::new();
        let mut add = |name: &str, value: &[u8]| -> Result<(), BadSubrequest> {
            if name.starts_with(':') {
                return Ok(());
            }
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| BadSubrequest::Message)?;
            let value = HeaderValue::from_bytes(value).map_err(|_| BadSubrequest::Malformed(name.clone()))?;
            map.append(name, value);
            Ok(())
        };
        match &self.header_map {
            Some(raw) => raw.headers.iter().try_for_each(|header| {
                let raw = header.raw_value.as_slice();
                add(&header.key, if raw.is_empty() { header.value.as_bytes() } else { raw })
            })?,
            None => self.headers.iter().try_for_each(|(name, value)| add(name, value.as_bytes()))?,
        }
        Ok(map)
    }
}

impl CheckResponse {
    /// Leave, with what `response` tells any other proxy: `headers` are those of the request in question.
    pub fn allow(
        response: &Response<Bytes>,
        headers: &HeaderMap,
        names: &CredentialNames,
        managed: &Managed,
    ) -> Self {
        let answer = response.headers();
        let (mut set, mut remove) = (Vec::new(), left::removed(headers, answer, names, managed));
        for (name, value) in answer {
            let is_credential = names.headers().any(|own| own == name);
            // What stays as it came needs no words, which Envoy's are not for every byte.
            let stays = is_credential && headers.get_all(name).iter().eq([value]);
            match value.is_empty() {
                _ if stays || !(is_credential || managed.has(name.as_str().as_bytes())) => {}
                true => remove.push(name.as_str().to_owned()),
                false => set.push(replace(name, value)),
            }
        }
        Self {
            status: Some(Status { code: 0 }),
            denied_response: None,
            ok_response: Some(OkHttpResponse { headers: set, headers_to_remove: remove }),
        }
    }

    /// A refusal, as `response` tells it. Never an allow, whatever its status.
    pub fn deny(response: &Response<Bytes>) -> Self {
        let status = response.status().as_u16();
        let code = if status == 401 || response.status().is_redirection() {
            UNAUTHENTICATED
        } else {
            PERMISSION_DENIED
        };
        // Each name once, then what else it has: several cookies stay several.
        let mut headers: Vec<HeaderValueOption> = Vec::new();
        for (name, value) in response.headers() {
            let again = headers
                .iter()
                .any(|set| set.header.as_ref().is_some_and(|header| header.key == name.as_str()));
            headers.push(HeaderValueOption { append: Some(again), ..replace(name, value) });
        }
        Self {
            status: Some(Status { code }),
            denied_response: Some(DeniedHttpResponse {
                status: Some(HttpStatus { code: i32::from(status) }),
                headers,
                body: String::from_utf8_lossy(response.body()).into_owned(),
            }),
            ok_response: None,
        }
    }
}

fn replace(name: &HeaderName, value: &HeaderValue) -> HeaderValueOption {
    let header = Header {
        key: name.as_str().to_owned(),
        value: String::from_utf8_lossy(value.as_bytes()).into_owned(),
        raw_value: Vec::new(),
    };
    HeaderValueOption { header: Some(header), append: Some(false) }
}

#[cfg(test)]
mod tests {
    use http::header::COOKIE;

    use super::*;
    use crate::model::token::{KeyKind, KeyText};

    fn request(change: impl FnOnce(&mut HttpRequest)) -> CheckRequest {
        let mut http = HttpRequest {
            method: "GET".into(),
            headers: HashMap::from([(":path".into(), "/x".into()), ("cookie".into(), "a=1".into())]),
            path: "/a?b=1".into(),
            host: "app.example".into(),
            scheme: "https".into(),
            header_map: None,
        };
        change(&mut http);
        let source = Peer {
            address: Some(Address { socket_address: Some(SocketAddress { address: "198.51.100.7".into() }) }),
        };
        let attributes = AttributeContext {
            source: Some(source),
            request: Some(Request { http: Some(http) }),
            context_extensions: HashMap::from([("route".into(), "app".into())]),
        };
        CheckRequest { attributes: Some(attributes) }
    }

    const PEER: forwarded::Peer = forwarded::Peer {
        address: std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
        veiled: false,
        secure: false,
    };

    #[test]
    fn a_check_survives_the_wire_and_names_request_client_and_route() {
        let sent = request(|_| {});
        let message = sent.encode_to_vec();
        let mut frame = vec![0];
        frame.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
        frame.extend_from_slice(&message);
        let (check, headers) = decode(&frame).unwrap().read(PEER, 8192).unwrap();
        assert_eq!(check.original.url(), "https://app.example/a?b=1");
        assert_eq!(check.client.address.to_string(), "198.51.100.7");
        assert_eq!(check.route.as_deref(), Some("app"));
        assert_eq!(headers.len(), 1, "pseudo-headers are not headers");
        for cut in [&frame[..3], &frame[..frame.len() - 1], &[&[1], &frame[1..]].concat()] {
            assert!(decode(cut).is_err());
        }
    }

    #[test]
    fn a_client_that_cannot_be_read_is_unknown_and_never_envoy() {
        let of = |source: Option<&str>| {
            let mut message = request(|_| {});
            let socket =
                |text: &str| Address { socket_address: Some(SocketAddress { address: text.into() }) };
            message.attributes.as_mut().unwrap().source =
                source.map(|text| Peer { address: Some(socket(text)) });
            let (check, _) = message.read(PEER, 8192).unwrap();
            check.client.address
        };
        assert_eq!(of(Some("::ffff:198.51.100.7")).to_string(), "198.51.100.7");
        for source in
            [None, Some(""), Some("unknown"), Some("fe80::1%eth0"), Some("198.51.100.7:1"), Some("0.0.0.0")]
        {
            assert_eq!((of(source).known(), of(source).nearest()), (None, PEER.address), "{source:?}");
        }
    }

    #[test]
    fn a_check_without_its_parts_is_unclear() {
        assert!(CheckRequest { attributes: None }.read(PEER, 8192).is_err());
        let changes: [fn(&mut HttpRequest); 7] = [
            |http| http.method.clear(),
            |http| http.path = "/a/../b".into(),
            |http| http.path.clear(),
            |http| http.host = "a,b".into(),
            |http| http.scheme = "ftp".into(),
            |http| http.scheme.clear(),
            |http| _ = http.headers.insert("x y".into(), "1".into()),
        ];
        for (index, change) in changes.into_iter().enumerate() {
            assert!(request(change).read(PEER, 8192).is_err(), "change {index}");
        }
    }

    #[test]
    fn an_allow_replaces_what_has_a_value_and_removes_what_has_none_or_is_ours() {
        let names = CredentialNames {
            all_key_headers: vec![HeaderName::from_static("x-api-key")],
            cookie: "__Host-doorward".into(),
            ..CredentialNames::default()
        };
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, HeaderValue::from_static("a=1; __Host-doorward=secret"));
        headers.insert("x-auth-email", HeaderValue::from_static("forged"));
        headers.insert("x_auth_role", HeaderValue::from_static("admin"));
        headers.insert("x_api_key", HeaderValue::from_static("dw_s_mangled"));
        headers.insert("x_tenant", HeaderValue::from_static("theirs"));
        let key = KeyText::draw(KeyKind::System).text;
        headers.insert("x-auth-token", HeaderValue::from_str(key.expose()).unwrap());
        let mut told = Response::new(Bytes::new());
        told.headers_mut().insert("x-auth-user", HeaderValue::from_static("vera"));
        told.headers_mut().insert("x-auth-email", HeaderValue::from_static(""));
        told.headers_mut().insert("cookie", HeaderValue::from_static("a=1"));
        told.headers_mut().insert("cache-control", HeaderValue::from_static("no-store"));
        let answer = CheckResponse::allow(&told, &headers, &names, &Managed::default());
        let ok = answer.ok_response.unwrap();
        let set: Vec<_> = ok
            .headers
            .iter()
            .map(|option| {
                let header = option.header.as_ref().unwrap();
                (header.key.as_str(), header.value.as_str(), option.append)
            })
            .collect();
        assert_eq!(set, [("x-auth-user", "vera", Some(false)), ("cookie", "a=1", Some(false))]);
        let removed = ["x_auth_role", "x_api_key", "x-auth-token", "x-auth-email"];
        assert_eq!(ok.headers_to_remove, removed);
        assert_eq!(answer.status.unwrap().code, 0);
    }

    #[test]
    fn a_refusal_keeps_every_value_of_a_header() {
        let mut told = Response::new(Bytes::new());
        for cookie in ["a=1", "b=2"] {
            told.headers_mut().append("set-cookie", HeaderValue::from_static(cookie));
        }
        let headers = CheckResponse::deny(&told).denied_response.unwrap().headers;
        let said: Vec<_> =
            headers.iter().map(|set| (set.header.as_ref().unwrap().value.as_str(), set.append)).collect();
        assert_eq!(said, [("a=1", Some(false)), ("b=2", Some(true))]);
    }

    #[test]
    fn a_refusal_is_never_status_zero() {
        for status in [302, 401, 403, 503, 200] {
            let mut told = Response::new(Bytes::from_static(b"no"));
            *told.status_mut() = http::StatusCode::from_u16(status).unwrap();
            let answer = CheckResponse::deny(&told);
            assert_ne!(answer.status.unwrap().code, 0, "{status}");
            assert!(answer.ok_response.is_none());
        }
    }
}
