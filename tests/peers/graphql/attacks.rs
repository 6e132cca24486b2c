//! Requests that hold a query to one reader and a mutation to another.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

/// A request; `ID` in it stands for what the server's record will show.
pub(super) struct Attack {
    pub(super) name: &'static str,
    pub(super) method: &'static str,
    /// What follows `/graphql` in the target.
    pub(super) query: &'static str,
    pub(super) headers: &'static [(&'static str, &'static str)],
    pub(super) body: Body,
}

/// How the text becomes bytes.
#[derive(Clone, Copy)]
pub(super) enum Body {
    Text(&'static str),
    /// UTF-16, little-endian, with a byte order mark or without.
    Utf16(&'static str, bool),
    Gzip(&'static str),
    /// A mutation by nothing but its hash; it was sent once in full.
    Hash,
}

impl Body {
    pub(super) fn bytes(self, id: &str) -> Vec<u8> {
        match self {
            Self::Text(text) => text.replace("ID", id).into_bytes(),
            Self::Utf16(text, marked) => {
                let text = format!("{}{}", if marked { "\u{feff}" } else { "" }, text.replace("ID", id));
                text.encode_utf16().flat_map(u16::to_le_bytes).collect()
            }
            Self::Gzip(text) => gzip(text.replace("ID", id).as_bytes()),
            Self::Hash => persisted(id, "").into_bytes(),
        }
    }
}

/// A request by hash, with `more` members.
pub(super) fn persisted(id: &str, more: &str) -> String {
    let hash = Sha256::digest(format!("mutation{{drop(id:\"{id}\")}}"));
    let hash = hash.iter().fold(String::new(), |mut hash, byte| {
        _ = write!(hash, "{byte:02x}");
        hash
    });
    format!(r#"{{{more}"extensions":{{"persistedQuery":{{"version":1,"sha256Hash":"{hash}"}}}}}}"#)
}

/// One stored block (RFC 1951, 3.2.4) as RFC 1952 wraps it.
fn gzip(data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).unwrap();
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255, 1];
    out.extend(length.to_le_bytes());
    out.extend((!length).to_le_bytes());
    out.extend(data);
    out.extend(crc32fast::hash(data).to_le_bytes());
    out.extend(u32::from(length).to_le_bytes());
    out
}

const MUTATION: &str = r#"{"query":"mutation{drop(id:\"ID\")}"}"#;
const QUERY: &str = r#"{"query":"{a}"}"#;
const JSON: &[(&str, &str)] = &[("content-type", "application/json")];
/// `mutation{drop(id:"ID")}` as a parameter.
const AS_PARAMETER: &str = "query=mutation%7Bdrop%28id%3A%22ID%22%29%7D";

const fn post(name: &'static str, body: &'static str) -> Attack {
    with(name, JSON, body)
}

const fn with(
    name: &'static str,
    headers: &'static [(&'static str, &'static str)],
    body: &'static str,
) -> Attack {
    Attack { name, method: "POST", query: "", headers, body: Body::Text(body) }
}

const fn url(name: &'static str, method: &'static str, query: &'static str) -> Attack {
    Attack { name, method, query, headers: PREFLIGHTED, body: Body::Text("") }
}

/// Apollo Server wants a header of its own with GET.
const PREFLIGHTED: &[(&str, &str)] = &[("apollo-require-preflight", "1")];

pub(super) const ATTACKS: &[Attack] = &[
    post("plain mutation", MUTATION),
    with(
        "charset=utf-7, `+ACI-` for quotation marks",
        &[("content-type", "application/json; charset=utf-7")],
        r#"{"query":"{a} #+ACI-,+ACI-query+ACI-:+ACI-mutation{drop(id:\"ID\")}"}"#,
    ),
    Attack {
        name: "charset=utf-16le",
        method: "POST",
        query: "",
        headers: &[("content-type", "application/json; charset=utf-16le")],
        body: Body::Utf16(MUTATION, false),
    },
    Attack {
        name: "UTF-16 with a byte order mark",
        method: "POST",
        query: "",
        headers: JSON,
        body: Body::Utf16(MUTATION, true),
    },
    Attack {
        name: "UTF-16 without one",
        method: "POST",
        query: "",
        headers: JSON,
        body: Body::Utf16(MUTATION, false),
    },
    post("UTF-8 byte order mark", "\u{feff}{\"query\":\"mutation{drop(id:\\\"ID\\\")}\"}"),
    with(
        "two Content-Type lines",
        &[("content-type", "application/json"), ("content-type", "application/x-www-form-urlencoded")],
        MUTATION,
    ),
    with("two types in one line", &[("content-type", "application/json, text/plain")], MUTATION),
    with("another parameter", &[("content-type", "application/json; x=y")], MUTATION),
    with("text/plain", &[("content-type", "text/plain")], MUTATION),
    with("no Content-Type", &[], MUTATION),
    with("Content_Type", &[("content_type", "application/json")], MUTATION),
    Attack {
        name: "Content-Encoding: gzip",
        method: "POST",
        query: "",
        headers: &[("content-type", "application/json"), ("content-encoding", "gzip")],
        body: Body::Gzip(MUTATION),
    },
    with(
        "Content-Encoding: identity",
        &[("content-type", "application/json"), ("content-encoding", "identity")],
        MUTATION,
    ),
    with("a form", &[("content-type", "application/x-www-form-urlencoded")], AS_PARAMETER),
    with(
        "a JSON body that is a form as well, read as a form",
        &[("content-type", "application/x-www-form-urlencoded")],
        r#"{"query":"{a}","x":"&query=mutation{drop(id:%22ID%22)}%23"}"#,
    ),
    with(
        "multipart",
        &[("content-type", "multipart/form-data; boundary=b"), ("apollo-require-preflight", "1")],
        "--b\r\ncontent-disposition: form-data; name=\"operations\"\r\n\r\n\
         {\"query\":\"mutation{drop(id:\\\"ID\\\")}\"}\r\n\
         --b\r\ncontent-disposition: form-data; name=\"map\"\r\n\r\n{}\r\n--b--\r\n",
    ),
    with("application/graphql", &[("content-type", "application/graphql")], "mutation{drop(id:\"ID\")}"),
    post("`query` twice", r#"{"query":"{a}","query":"mutation{drop(id:\"ID\")}"}"#),
    post("`query` twice, once escaped", r#"{"query":"{a}","\u0071uery":"mutation{drop(id:\"ID\")}"}"#),
    post("`Query` beside it", r#"{"query":"{a}","Query":"mutation{drop(id:\"ID\")}"}"#),
    post("a batch", r#"[{"query":"{a}"},{"query":"mutation{drop(id:\"ID\")}"}]"#),
    post("operationName", r#"{"query":"query A{a} mutation B{drop(id:\"ID\")}","operationName":"B"}"#),
    post(
        "operationName twice",
        r#"{"query":"query A{a} mutation B{drop(id:\"ID\")}","operationName":"A","operationName":"B"}"#,
    ),
    post(
        "two operations of one name",
        r#"{"query":"query A{a} mutation A{drop(id:\"ID\")}","operationName":"A"}"#,
    ),
    post(
        "a comment that a carriage return ends",
        r#"{"query":"query A{a} #\rmutation B{drop(id:\"ID\")}","operationName":"B"}"#,
    ),
    post("a byte order mark in the document", r#"{"query":"\ufeffmutation{drop(id:\"ID\")}"}"#),
    Attack { name: "stored by its hash", method: "POST", query: "", headers: JSON, body: Body::Hash },
    Attack {
        name: "`query` of the URL beside the body",
        method: "POST",
        query: "?query=mutation%7Bdrop%28id%3A%22ID%22%29%7D",
        headers: JSON,
        body: Body::Text(QUERY),
    },
    Attack {
        name: "`Query` of the URL beside the body",
        method: "POST",
        query: "?Query=mutation%7Bdrop%28id%3A%22ID%22%29%7D",
        headers: JSON,
        body: Body::Text(QUERY),
    },
    url("GET", "GET", "?query=mutation%7Bdrop%28id%3A%22ID%22%29%7D"),
    url("HEAD", "HEAD", "?query=mutation%7Bdrop%28id%3A%22ID%22%29%7D"),
    url("GET, the last of two", "GET", "?query=%7Ba%7D&query=mutation%7Bdrop%28id%3A%22ID%22%29%7D"),
    url("GET, the first of two", "GET", "?query=mutation%7Bdrop%28id%3A%22ID%22%29%7D&query=%7Ba%7D"),
    url("GET, `%71uery`", "GET", "?%71uery=mutation%7Bdrop%28id%3A%22ID%22%29%7D"),
    url("GET, `query[]`", "GET", "?query%5B%5D=mutation%7Bdrop%28id%3A%22ID%22%29%7D"),
    url("GET, `;`", "GET", "?query=%7Ba%7D&x=1;query=mutation%7Bdrop%28id%3A%22ID%22%29%7D"),
    Attack {
        name: "GET with a body",
        method: "GET",
        query: "?query=%7Ba%7D",
        headers: &[("content-type", "application/json"), ("apollo-require-preflight", "1")],
        body: Body::Text(MUTATION),
    },
    Attack {
        name: "GET with a body only",
        method: "GET",
        query: "",
        headers: &[("content-type", "application/json"), ("apollo-require-preflight", "1")],
        body: Body::Text(MUTATION),
    },
    Attack { name: "PUT", method: "PUT", query: "", headers: JSON, body: Body::Text(MUTATION) },
];
