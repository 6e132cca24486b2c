//! Credentials: at most one counts, pages and applications agree which session that is, and nothing of ours is left to forward.
//!
//! Input: header lines.

use std::rc::Rc;

use doorward::gate::credential::{Accepts, Credential, CredentialNames, strip};
use doorward::gate::refusal::BadCredential;
use doorward::gate::{GateRequest, Grounds};
use doorward::model::principal::{Client, ClientAddress};
use doorward::model::target::{RequestKind, RequestTarget};
use http::header::{AUTHORIZATION, COOKIE, HeaderName, PROXY_AUTHORIZATION};
use http::{HeaderMap, HeaderValue, Method};

static X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const NAME: &[u8] = b"__Host-doorward";

pub fn check(data: &[u8]) {
    let names = CredentialNames {
        key_headers: Rc::new([X_API_KEY.clone()]),
        all_key_headers: vec![X_API_KEY.clone()],
        cookie: String::from("__Host-doorward"),
        ..CredentialNames::default()
    };
    let headers = super::header_lines(data);
    let ours: Vec<Vec<u8>> = pairs(&headers).into_iter().filter(|pair| name(pair) == NAME).collect();
    let accepts = |left, basic| Accepts { authorization: left, api_key: left, basic, ..names.accepts() };
    let target = target();
    let asking = |headers| request(&target, headers);
    let request = asking(&headers);
    let extract = |left, basic| Credential::extract(&request, &names, &accepts(left, basic));
    let (strict, lenient) = (extract(false, false), extract(true, false));
    if !by_basic(&headers) {
        assert!(
            extract(false, true) == strict && extract(true, true) == lenient,
            "Basic changes what is none"
        );
    }

    let text = |value: &HeaderValue| value.as_bytes().to_vec();
    let by_header = headers.contains_key(AUTHORIZATION) || headers.contains_key(&X_API_KEY);
    for found in [&strict, &lenient] {
        match found {
            Ok(Credential::None) => assert!(ours.is_empty(), "a cookie of ours counts as nothing"),
            Ok(Credential::Session(value)) => {
                assert_eq!(ours.len(), 1, "one of several cookies counts");
                assert_eq!(after_name(&ours[0]), value.as_bytes());
            }
            Ok(Credential::ApiKey(key)) => {
                let mut holders =
                    [&AUTHORIZATION, &X_API_KEY].into_iter().flat_map(|name| headers.get_all(name));
                assert!(
                    holders.any(|value| text(value).windows(key.len()).any(|part| part == key.as_bytes()))
                );
            }
            Ok(Credential::Token(_) | Credential::Certificate(_)) => {
                panic!("a token or certificate counts where the settings name none")
            }
            Ok(Credential::Foreign(_)) => assert!(by_header, "somebody else's, out of nowhere"),
            Err(_) => {}
        }
    }
    assert!(!matches!(lenient, Ok(Credential::Foreign(_))), "what is the application's is called wrong");
    if by_header {
        let falls_through = matches!(strict, Ok(Credential::None | Credential::Session(_)));
        assert!(!falls_through, "a header that is not a key of ours is passed over");
    } else {
        assert!(strict == lenient);
        // What the pages take for the session is what the gate takes for it.
        let page = Credential::session(&headers, &names.cookie);
        assert!(page == strict, "a page sees {}, the gate {}", kind(&page), kind(&strict));
    }

    let mut left = headers.clone();
    strip(&mut left, &names, &names.accepts(), Grounds::default());
    assert!(!left.contains_key(PROXY_AUTHORIZATION));
    let kept: Vec<Vec<u8>> =
        pairs(&headers).into_iter().filter(|pair| !name(pair).starts_with(NAME)).collect();
    let forwarded = pairs(&left);
    assert!(forwarded.iter().all(|pair| !name(pair).starts_with(NAME)), "a cookie of ours is forwarded");
    let trim = |pairs: &[Vec<u8>]| -> Vec<Vec<u8>> {
        pairs.iter().map(|pair| pair.trim_ascii().to_vec()).filter(|pair| !pair.is_empty()).collect()
    };
    assert_eq!(trim(&forwarded), trim(&kept), "cookies of others keep their bytes and order");
    for value in [&AUTHORIZATION, &X_API_KEY].into_iter().flat_map(|name| left.get_all(name)) {
        assert!(!holds_key(value.as_bytes()), "a key of ours is forwarded in {value:?}");
    }
    assert!(matches!(
        Credential::extract(&asking(&left), &names, &accepts(true, true)),
        Ok(Credential::None)
    ));
}

fn target() -> RequestTarget {
    let root = "/".parse().expect("it is a path");
    RequestTarget::parse(&Method::GET, "a.example", &root, RequestKind::Plain).expect("it is a target")
}

fn request<'r>(target: &'r RequestTarget, headers: &'r HeaderMap) -> GateRequest<'r> {
    GateRequest {
        target,
        headers,
        authority: "a.example",
        route: None,
        client: Client { address: ClientAddress::unknown(), secure: true, by_proxy: false },
        request_id: "",
    }
}

fn by_basic(headers: &HeaderMap) -> bool {
    let begins =
        |value: &HeaderValue| value.as_bytes().to_ascii_lowercase().trim_ascii().starts_with(b"basic");
    headers.get_all(AUTHORIZATION).iter().any(begins)
}

fn kind(found: &Result<Credential<'_>, BadCredential>) -> String {
    match found {
        Ok(Credential::None) => String::from("nothing"),
        Ok(Credential::ApiKey(_)) => String::from("a key"),
        Ok(Credential::Token(_)) => String::from("a token"),
        Ok(Credential::Certificate(_)) => String::from("a certificate"),
        Ok(Credential::Session(value)) => format!("a session {value:?}"),
        Ok(Credential::Foreign(wrong)) => format!("somebody else's, {wrong:?}"),
        Err(wrong) => format!("{wrong:?}"),
    }
}

/// The pieces of every Cookie line.
fn pairs(headers: &HeaderMap) -> Vec<Vec<u8>> {
    let lines = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes);
    lines.flat_map(|line| line.split(|byte| *byte == b';')).map(<[u8]>::to_vec).collect()
}

fn name(pair: &[u8]) -> &[u8] {
    pair.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii()
}

fn after_name(pair: &[u8]) -> &[u8] {
    let at = pair.iter().position(|byte| *byte == b'=').map_or(pair.len(), |at| at + 1);
    pair[at..].trim_ascii()
}

/// Whether a word of a header's value is a key of ours, whatever stands before it.
fn holds_key(value: &[u8]) -> bool {
    let words = value.split(|byte| byte.is_ascii_whitespace() || matches!(byte, b',' | b';' | b'"' | b'='));
    words.into_iter().any(|word| word.starts_with(b"dw_s_") || word.starts_with(b"dw_u_"))
}
