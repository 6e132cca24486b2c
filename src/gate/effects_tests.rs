//! Further targets of a request, read from headers and query.

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::GateRequest;
use super::effects::{BadAddress, DESTINATION, Effects};
use crate::model::principal::{Client, ClientAddress};
use crate::model::target::{RequestKind, RequestTarget};

const PUBLIC: &str = "https://app.example";

/// What a request is decided as beside, or why it is refused.
fn also(method: &str, authority: &str, secure: bool, list: &[(&str, &str)]) -> Result<String, BadAddress> {
    let mut headers = HeaderMap::new();
    for (name, value) in list {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let path = "/a/b".parse().unwrap();
    let target = RequestTarget::parse(&method, authority, &path, RequestKind::Plain).unwrap();
    let client = Client { address: ClientAddress::unknown(), secure, by_proxy: false };
    let request =
        GateRequest { target: &target, headers: &headers, authority, route: None, client, request_id: "" };
    Effects::of(&request, PUBLIC).map(|effects| {
        let acts = effects.also.iter().map(|target| format!("{} {}", target.method(), target.path()));
        acts.collect::<Vec<_>>().join(", ")
    })
}

fn copied(destination: &str) -> Result<String, BadAddress> {
    also("COPY", "app.example", true, &[("destination", destination), ("overwrite", "F")])
}

#[test]
fn each_act_of_a_request_is_decided() {
    let to = ("destination", "/c");
    let keeps = ("overwrite", "F");
    for (method, list, acts) in [
        ("GET", &[][..], ""),
        ("PUT", &[], ""),
        ("COPY", &[to, keeps], "GET /a/b, COPY /c, PUT /c"),
        ("COPY", &[to], "GET /a/b, COPY /c, PUT /c, DELETE /c"),
        ("COPY", &[to, ("overwrite", "T")], "GET /a/b, COPY /c, PUT /c, DELETE /c"),
        ("COPY", &[to, ("overwrite", "f")], "GET /a/b, COPY /c, PUT /c, DELETE /c"),
        ("COPY", &[to, keeps, ("overwrite", "T")], "GET /a/b, COPY /c, PUT /c, DELETE /c"),
        ("MOVE", &[to, keeps], "GET /a/b, DELETE /a/b, MOVE /c, PUT /c"),
        ("GET", &[to, keeps], "GET /c, PUT /c"),
        ("X-RENAME", &[to, keeps], "X-RENAME /c, PUT /c"),
        ("PUT", &[("x-amz-copy-source", "/bucket/key")], "GET /bucket/key"),
        ("PUT", &[("x-amz-copy-source", "bucket/key?versionId=3/x")], "GET /bucket/key"),
        ("PUT", &[("x-ms-copy-source", "https://app.example/c/b?sig=x")], "GET /c/b"),
        ("PUT", &[("x-ms-rename-source", "/c/b")], "GET /c/b, DELETE /c/b"),
        ("GET", &[("x-amz-copy-source", "/bucket/key")], ""),
    ] {
        assert_eq!(also(method, "app.example", true, list).as_deref(), Ok(acts), "{method} {list:?}");
    }
}

#[test]
fn a_destination_is_an_absolute_path_or_an_address_of_ours() {
    for (authority, secure, to) in [
        ("app.example", true, "/c"),
        ("app.example", true, "https://app.example/c"),
        ("app.example", true, "HTTPS://APP.Example:443/c"),
        ("app.example:443", true, "https://app.example/c"),
        ("app.example:8080", false, "http://app.example:8080/c"),
        ("app.example:80", false, "http://app.example/c"),
        // As the public URL says it, where something in front ends TLS.
        ("app.example:8080", false, "https://app.example/c"),
        ("[::1]:8443", true, "https://[::1]:8443/c"),
    ] {
        let list = [("destination", to), ("overwrite", "F")];
        let acts = also("COPY", authority, secure, &list);
        assert_eq!(acts.as_deref(), Ok("GET /a/b, COPY /c, PUT /c"), "{authority} {to}");
    }
    assert_eq!(copied("/%70rivate/x%2e").as_deref(), Ok("GET /a/b, COPY /private/x., PUT /private/x."));
    assert_eq!(
        copied("/in,voice/a@b:c").as_deref(),
        Ok("GET /a/b, COPY /in,voice/a@b:c, PUT /in,voice/a@b:c")
    );
}

#[test]
fn another_place_and_another_reading_are_refused() {
    for to in [
        "https://evil.example/c",
        "https://app.example.evil.example/c",
        "https://app.example:8443/c",
        "http://app.example:443/c",
        "ftp://app.example/c",
        "https://app.example./c",
        "https://app%2Eexample/c",
        "https://app.example%2Fprivate/c",
        "https:///c",
    ] {
        assert_eq!(copied(to), Err(BadAddress::Foreign(DESTINATION)), "{to}");
    }
    for to in [
        "",
        " ",
        "c",
        "*",
        "c/d",
        "../c",
        "https://app.example",
        "https://me@app.example/c",
        "https://app.example@evil.example/c",
        "https:/app.example/c",
        "https:c",
        "/c?x",
        "/c#x",
        "/c d",
        "/c\td",
        "/c\\d",
        "<https://app.example/c>",
        "\"/c\"",
        "/c, /d",
        "/c,/d",
        "/c,https://app.example/d",
        "/\u{e9}",
        "/c|d",
    ] {
        assert_eq!(copied(to), Err(BadAddress::Malformed(DESTINATION)), "{to}");
    }
    for to in [
        "/c/../d",
        "/c/%2e%2e/d",
        "//evil.example/c",
        "/%2Fc",
        "/c%00",
        "/c%5Cd",
        "/%zz",
        "/%FF",
        "https://app.example//c",
    ] {
        assert!(matches!(copied(to), Err(BadAddress::Path(..))), "{to}: {:?}", copied(to));
    }
    let twice = [("destination", "/c"), ("destination", "/c")];
    assert_eq!(also("COPY", "app.example", true, &twice), Err(BadAddress::Several(DESTINATION)));
    for method in ["COPY", "MOVE"] {
        assert_eq!(also(method, "app.example", true, &[]), Err(BadAddress::Missing), "{method}");
    }
    for source in
        ["arn:aws:s3:eu:1:accesspoint/x/object/k", "https://evil.example/c/b", "/b/../k", "b//../k", "/b/k y"]
    {
        assert!(also("PUT", "app.example", true, &[("x-amz-copy-source", source)]).is_err(), "{source}");
    }
}
