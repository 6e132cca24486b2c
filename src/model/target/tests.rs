//! Both readings of a target, and the spellings that are refused.

use proptest::prelude::*;

use super::*;

fn parse(path: &str) -> Result<RequestTarget, TargetError> {
    let raw = path.parse::<PathAndQuery>().map_err(|_| TargetError::BadByte)?;
    RequestTarget::parse(&Method::GET, "App.Example:8080", &raw, RequestKind::Plain)
}

#[track_caller]
fn check(path: &str, sent: Result<&str, TargetError>) {
    assert_eq!(parse(path).as_ref().map(|target| target.sent.as_str()), sent.as_ref().copied(), "{path}");
}

#[test]
fn plain_paths_are_kept_byte_for_byte() {
    for path in ["/", "/a/b%20c/", "/a?b=/../c", "/a/%C3%BC", "/a%21b", "/v1/x:y/@z!$&'()*+,="] {
        check(path, Ok(path));
    }
}

#[test]
fn needless_escapes_are_decoded_before_anything_is_decided() {
    check("/%61dmin", Ok("/admin"));
    check("/%7Euser/%c3%bc?q=%61", Ok("/~user/%C3%BC?q=%61"));
}

#[test]
fn ambiguous_paths_are_refused() {
    use TargetError::{Backslash, BadByte, BrokenEscape, DotSegment, HiddenSlashes, NotUtf8, TwoSlashes};
    for (path, error) in [
        ("//admin", TwoSlashes),
        ("///admin", TwoSlashes),
        ("/%2Fa/admin", HiddenSlashes),
        ("/%252Fa/admin", HiddenSlashes),
        ("/;v=1/a//admin", HiddenSlashes),
        ("/%3B/a//admin", HiddenSlashes),
        ("/%20/a/admin", HiddenSlashes),
        ("/a%3F/%2e%2E", DotSegment),
        ("/a/..%3Fx", DotSegment),
        ("/a/..%2523", DotSegment),
        ("/a/../b", DotSegment),
        ("/a/%2E%2e/b", DotSegment),
        ("/..", DotSegment),
        ("/a/.", DotSegment),
        ("/public/..;/admin", DotSegment),
        ("/public/%252e%252e/admin", DotSegment),
        ("/public/..%2fadmin", DotSegment),
        ("/public\\..\\admin", Backslash),
        ("/a%5cb", Backslash),
        ("/a%255cb", Backslash),
        ("/admin%00", BadByte),
        ("/admin%2500.css", BadByte),
        ("/a%0d%0ab", BadByte),
        ("/a%09b", BadByte),
        ("/a%", BrokenEscape),
        ("/a%2", BrokenEscape),
        ("/a%zz", BrokenEscape),
        ("/a%u0061", BrokenEscape),
        ("/a%ff", NotUtf8),
        ("/a%25ff", NotUtf8),
        ("/a/%EF%BC%8E%EF%BC%8E", DotSegment),
        ("/a/%E2%80%A5/b", DotSegment),
        ("/a/.%E2%80%8B.", DotSegment),
        ("/a%EF%BC%8F../b", DotSegment),
        ("/a%EF%BC%BC../b", DotSegment),
        ("/%EF%BC%8Fa/b", HiddenSlashes),
        ("/%EF%BC%BCa", HiddenSlashes),
        ("/a%EF%BC%85%35cb", Backslash),
        ("/a%EF%BC%85%30%30", BadByte),
        ("/a%C2%80", BadByte),
    ] {
        check(path, Err(error));
    }
}

#[test]
fn odd_spellings_say_which_opt_in_they_need() {
    for (path, name) in [
        ("/admin%2fusers", "encoded-slash"),
        ("/admin%252fusers", "encoded-slash"),
        ("/admin;v=1/users", "semicolon"),
        ("/admin//users", "empty-segment"),
        ("/admin%EF%BC%8Fusers", "disguised-separator"),
        ("/admin%25EF%25BC%258Fusers", "disguised-separator"),
        ("/x%E2%80%A6", "disguised-separator"),
        ("/100%EF%BC%85", "disguised-separator"),
    ] {
        let target = parse(path).unwrap();
        assert_eq!(target.needs().first_missing(PathOptIns::default()), Some(name), "{path}");
    }
    assert_eq!(parse("/a/b/").unwrap().needs(), PathOptIns::default());
}

#[test]
fn the_loose_reading_is_what_a_careless_server_would_see() {
    for (path, loose) in [
        ("/Admin", Some("/admin")),
        ("/adm%C4%B1n", Some("/admin")),
        ("/admin.", Some("/admin")),
        ("/admin%20", Some("/admin")),
        ("/%2561dmin", Some("/admin")),
        ("/admin%2fusers", Some("/admin/users")),
        ("/admin;x/users", Some("/admin/users")),
        ("/x//admin", Some("/x/admin")),
        ("/admin%3Fx", Some("/admin")),
        ("/admin%23/public", Some("/admin")),
        ("/%3Fadmin", Some("/")),
        ("/admin/%2523", Some("/admin/")),
        ("/%EF%BD%81dm%C3%AEn", Some("/admin")),
        ("/ad%E2%80%8Bmin", Some("/admin")),
        ("/admin%EF%BC%8Fusers", Some("/admin/users")),
        ("/admin%EF%BC%BCusers", Some("/admin/users")),
        ("/admin%EF%BC%85%32Fusers", Some("/admin/users")),
        ("/admin%EF%BC%9Bx", Some("/admin")),
        ("/admin%EF%BC%8E", Some("/admin")),
        ("/%E2%91%A0", Some("/1")),
        ("/admin/", None),
        ("/v1/traces", None),
    ] {
        assert_eq!(parse(path).unwrap().loose_path(), loose, "{path}");
    }
}

#[test]
fn hosts_are_compared_without_case_port_and_trailing_dot() {
    for (text, host) in [
        ("App.Example:8080", Ok("app.example")),
        ("app.example.", Ok("app.example")),
        ("[::1]:80", Ok("::1")),
        ("", Err(TargetError::BadHost)),
        ("a,b", Err(TargetError::BadHost)),
        ("a@b", Err(TargetError::BadHost)),
        ("a/b", Err(TargetError::BadHost)),
        ("a b", Err(TargetError::BadHost)),
        ("a:99999", Err(TargetError::BadHost)),
        ("a:", Err(TargetError::BadHost)),
        ("[::1", Err(TargetError::BadHost)),
        ("[::1]x", Err(TargetError::BadHost)),
        ("a..b", Err(TargetError::BadHost)),
        ("app.example..", Err(TargetError::BadHost)),
        (".", Err(TargetError::BadHost)),
    ] {
        assert_eq!(parse_host(text).as_deref(), host.as_ref().copied(), "{text}");
    }
}

#[test]
fn methods_that_are_never_proxied_are_refused() {
    for method in ["TRACE", "CONNECT", "TRACK", "get", "delete", "GE$T"] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let raw = PathAndQuery::from_static("/");
        let parsed = RequestTarget::parse(&method, "a", &raw, RequestKind::Plain);
        assert_eq!(parsed, Err(TargetError::BadMethod), "{method}");
    }
}

/// Random paths from the bytes that parsers quarrel about.
fn hostile_path() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => Just("/".to_owned()),
        2 => prop::sample::select(vec![".", "..", "%2e", "%2E", "%2f", "%5c", "%25", "%00", ";", "\\", "//",
            "admin", "Admin", "public", "%61", "%c3%bc", "%ff", "%", "%zz", "a", "~", " ", "%20", "é"])
            .prop_map(str::to_owned),
        1 => prop::char::range(' ', '~').prop_map(|c| c.to_string()),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| format!("/{}", pieces.concat()))
}

/// Few beside what fuzzing tries: `tests/fuzz/checks/target.rs`.
#[test]
fn what_is_decided_is_what_is_sent_for_random_targets() {
    use proptest::test_runner::{Config, TestRunner};
    let config = Config { cases: 100_000, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&hostile_path(), |path| {
            let Ok(target) = parse(&path) else { return Ok(()) };
            // Parsing what is sent gives the same target again: nothing is left to reinterpret.
            let again = parse(target.path_and_query().as_str());
            prop_assert_eq!(again.as_ref(), Ok(&target));
            // No reading of what is sent walks upwards or hides a separator.
            let strict = target.needs() == PathOptIns::default();
            let decoded = read_carelessly(target.path()).unwrap().text;
            prop_assert!(!decoded.split('/').any(|s| s == "." || s == ".."));
            prop_assert!(!decoded.contains(['\\', '\0']));
            prop_assert!(!strict || decoded.matches('/').count() == target.path().matches('/').count());
            Ok(())
        })
        .unwrap();
}
