//! Every problem in its three forms.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{Method, Response};

use super::answer::{grpc_message, in_words};
use super::*;
use crate::config::PagesConfig;
use crate::config::PublicUrl;
use crate::config::SameSite;
use crate::config::SessionConfig;
use crate::edge::audience::Audience;
use crate::edge::pages::site::Site;
use crate::gate::refusal::BadCredential;
use crate::gate::refusal::Refusal;
use crate::model::target::TargetError;
use crate::service::{Field, ServiceError};

const TARGET: &str = "/dash/a?x=1&y=<b>";

fn site(url: &str) -> Site {
    let session = SessionConfig {
        idle: Duration::from_mins(1),
        absolute: Duration::from_mins(1),
        cookie_same_site: SameSite::Lax,
        cookie_domain: None,
    };
    Site::new(PublicUrl::parse(url).unwrap(), &session, &PagesConfig::default())
}

fn answer(problem: &Problem, audience: Audience, method: &Method) -> Response<Bytes> {
    let site = site("https://gate.example/base");
    let look = ProblemContext {
        site: &site,
        method,
        target: Some(TARGET),
        account: Some("<alice>"),
        request_id: "req-1",
    };
    problem.respond(audience, &look)
}

fn browser(problem: &Problem) -> Response<Bytes> {
    answer(problem, Audience::Browser, &Method::GET)
}

fn body(response: &Response<Bytes>) -> &str {
    std::str::from_utf8(response.body()).unwrap()
}

fn header<'r>(response: &'r Response<Bytes>, name: &str) -> &'r str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

#[test]
fn every_refusal_has_its_status_and_grpc_code() {
    let challenge = Refusal::Challenge;
    let forbidden = Refusal::Forbidden;
    let unavailable = Refusal::Unavailable("disk of 10.0.0.1 is gone".into());
    let bad = Refusal::BadCredential;
    for (refusal, status, grpc, code) in [
        (Refusal::BadTarget(TargetError::NotAbsolute), 400, 3, "bad-target"),
        (Refusal::OddPath("encoded-slash"), 400, 3, "odd-path"),
        (Refusal::NoRoute, 404, 12, "no-route"),
        (challenge, 401, 16, "sign-in-required"),
        (bad(BadCredential::Several), 401, 16, "several-credentials"),
        (bad(BadCredential::Key), 401, 16, "invalid-key"),
        (bad(BadCredential::Bearer), 401, 16, "invalid-token"),
        (bad(BadCredential::Scheme), 401, 16, "unsupported-scheme"),
        (bad(BadCredential::Basic), 401, 16, "unsupported-scheme"),
        (bad(BadCredential::Session), 401, 16, "session-ended"),
        (forbidden, 403, 7, "forbidden"),
        (Refusal::KeyScope, 403, 7, "key-scope"),
        (Refusal::ForeignOrigin, 403, 7, "foreign-origin"),
        (Refusal::PasswordChange, 403, 7, "password-change-required"),
        (Refusal::TooLarge, 413, 8, "body-too-large"),
        (Refusal::TooManyBodies, 429, 14, "too-many-bodies"),
        (Refusal::NoRoom, 503, 14, "no-room"),
        (Refusal::TooManyRequests, 429, 14, "too-many-requests"),
        (Refusal::Full, 503, 14, "no-room"),
        (Refusal::BodyLost, 400, 3, "body-incomplete"),
        (Refusal::BodyLate, 408, 4, "request-timeout"),
        (unavailable, 503, 14, "unavailable"),
    ] {
        check(&Problem::from(&refusal), status, grpc, code);
    }
}

#[test]
fn every_failed_use_case_has_its_status() {
    let span = Duration::from_secs(90);
    for (error, status, grpc, code) in [
        (ServiceError::Conflict { what: "username" }, 409, 6, "conflict"),
        (ServiceError::Invalid { field: Field::Password, reason: "is short".into() }, 422, 3, "invalid"),
        (ServiceError::NotFound { what: "user" }, 404, 12, "not-found"),
        (ServiceError::LastAdmin, 409, 6, "last-admin"),
        (ServiceError::Refused, 401, 16, "wrong-credentials"),
        (ServiceError::Throttled { retry_after: span }, 429, 14, "too-many-attempts"),
        (ServiceError::Busy { retry_after: span }, 503, 14, "busy"),
        (ServiceError::Unavailable("the cause".into()), 503, 14, "unavailable"),
    ] {
        check(&Problem::from(&error), status, grpc, code);
    }
}

#[test]
fn every_failure_of_forwarding_has_its_status() {
    for (problem, status, grpc, code) in [
        (Problem::upstream_connect(), 502, 14, "upstream-unreachable"),
        (Problem::upstream_timeout(), 504, 14, "upstream-timeout"),
        (Problem::upstream_protocol(), 502, 14, "upstream-protocol"),
        (Problem::bad_framing("a part of it"), 400, 3, "bad-framing"),
        (Problem::body_broken(), 400, 3, "body-incomplete"),
        (Problem::request_timeout(), 408, 4, "request-timeout"),
        (Problem::uri_too_long(), 414, 8, "uri-too-long"),
        (Problem::header_too_large(), 431, 8, "header-too-large"),
        (Problem::too_many_fields(), 431, 8, "header-too-large"),
        (Problem::body_too_large(), 413, 8, "body-too-large"),
        (Problem::method_not_allowed(Methods::Fetch), 405, 12, "method-not-allowed"),
        (Problem::not_found(), 404, 12, "not-found"),
        (Problem::flavour_off(Flavour::Traefik), 404, 12, "not-found"),
        (Problem::draining(), 503, 14, "draining"),
        (Problem::internal(), 500, 13, "internal"),
    ] {
        check(&problem, status, grpc, code);
    }
}

/// The three forms of one problem agree, and none says more than it should.
#[track_caller]
fn check(problem: &Problem, status: u16, grpc: u16, code: &str) {
    assert_eq!((problem.status.as_u16(), problem.code.as_str()), (status, code));

    let api = answer(problem, Audience::Api, &Method::GET);
    assert_eq!(api.status().as_u16(), status, "{code}");
    assert_eq!(header(&api, "content-type"), "application/problem+json");
    assert_eq!(header(&api, "cache-control"), "no-store");
    assert_eq!(header(&api, "www-authenticate").is_empty(), status != 401, "{code}");
    assert_eq!(header(&api, "retry-after").is_empty(), problem.retry_after.is_none());
    let json: BTreeMap<String, serde_json::Value> = serde_json::from_slice(api.body()).unwrap();
    assert_eq!(json["type"], format!("urn:doorward:problem:{code}"));
    assert_eq!((&json["status"], &json["code"]), (&status.into(), &code.into()));
    assert_eq!(json["request_id"], "req-1");
    assert_eq!(json.contains_key("login_url"), status == 401, "{code}");

    let rpc = answer(problem, Audience::Grpc, &Method::POST);
    assert_eq!(rpc.status(), StatusCode::OK);
    assert_eq!(header(&rpc, "content-type"), "application/grpc");
    assert_eq!(header(&rpc, "grpc-status"), grpc.to_string(), "{code}");
    assert!(header(&rpc, "grpc-message").starts_with(code) && rpc.body().is_empty());

    let page = browser(problem);
    assert_eq!(header(&page, "cache-control"), "no-store");
    if !page.status().is_redirection() {
        assert_eq!(page.status().as_u16(), status);
        assert_eq!(body(&page).matches("<h1>").count(), 1);
        assert!(!body(&page).contains("<alice>") && !body(&page).contains("<b>"));
    }
    for answer in [&api, &page] {
        for secret in ["10.0.0.1", "the cause", "secret rule"] {
            assert!(!body(answer).contains(secret), "{code} says {secret}");
        }
    }
}

#[test]
fn a_person_without_a_session_is_sent_to_sign_in_and_back() {
    let problem = Problem::from(&Refusal::Challenge);
    let location = "/base/_doorward/login?rd=%2Fdash%2Fa%3Fx%3D1%26y%3D%3Cb%3E";
    for (method, status) in [(Method::GET, 302), (Method::HEAD, 302), (Method::POST, 303)] {
        let response = answer(&problem, Audience::Browser, &method);
        assert_eq!(response.status().as_u16(), status);
        assert_eq!(header(&response, "location"), location);
        assert_eq!(header(&response, "set-cookie"), "");
    }
    let api = answer(&problem, Audience::Api, &Method::GET);
    assert_eq!(header(&api, "location"), "");
    assert!(body(&api).contains(r#""login_url":"https://gate.example/base/_doorward/login""#));
}

#[test]
fn a_long_place_to_come_back_to_is_kept_whole() {
    let site = site("https://gate.example");
    let target = format!("/{}", "a".repeat(8191));
    let look = ProblemContext {
        site: &site,
        method: &Method::GET,
        target: Some(&target),
        account: None,
        request_id: "",
    };
    let problem = Problem::from(&Refusal::Challenge);
    assert_eq!(
        header(&problem.respond(Audience::Browser, &look), "location"),
        format!("/_doorward/login?rd=%2F{}", "a".repeat(8191))
    );
}

#[test]
fn a_session_that_is_over_is_taken_back() {
    let deletion = "__Host-doorward=; Max-Age=0; Path=/; HttpOnly; Secure; SameSite=Lax";
    for bad in [BadCredential::Session, BadCredential::Several] {
        for audience in [Audience::Browser, Audience::Api] {
            let response = answer(&Problem::from(bad), audience, &Method::GET);
            assert_eq!(header(&response, "set-cookie"), deletion, "{bad:?}");
        }
    }
    assert_eq!(browser(&Problem::from(BadCredential::Session)).status(), StatusCode::FOUND);
    let several = browser(&Problem::from(BadCredential::Several));
    assert_eq!(several.status(), StatusCode::UNAUTHORIZED, "signing in again would end up here again");
    let key = answer(&Problem::from(BadCredential::Key), Audience::Api, &Method::GET);
    assert_eq!(header(&key, "set-cookie"), "", "a wrong key says nothing about the cookie beside it");
}

#[test]
fn only_a_wrong_key_or_token_is_called_invalid() {
    for (bad, named) in [
        (BadCredential::Key, true),
        (BadCredential::Bearer, true),
        (BadCredential::Scheme, false),
        (BadCredential::Session, false),
    ] {
        let response = answer(&Problem::from(bad), Audience::Api, &Method::GET);
        let challenge = header(&response, "www-authenticate");
        assert!(challenge.starts_with(r#"Bearer realm="doorward""#));
        assert_eq!(challenge.ends_with(r#", error="invalid_token""#), named, "{bad:?}");
    }
}

#[test]
fn a_temporary_password_leads_to_a_new_one() {
    let response = browser(&Problem::from(&Refusal::PasswordChange));
    assert_eq!(response.status(), StatusCode::FOUND);
    assert!(header(&response, "location").starts_with("/base/_doorward/password?rd=%2Fdash"));
}

#[test]
fn a_page_about_missing_rights_names_the_account_and_offers_another() {
    let page = browser(&Problem::from(&Refusal::Forbidden));
    assert!(body(&page).contains("&#60;alice&#62;"), "escaped");
    assert!(body(&page).contains("/base/_doorward/logout?rd=%2Fdash%2Fa"));
}

#[test]
fn a_page_about_the_application_offers_the_same_again() {
    let page = browser(&Problem::upstream_connect());
    assert!(body(&page).contains(r#"href="/dash/a?x=1&#38;y=&#60;b&#62;""#), "{}", body(&page));
    assert_eq!(header(&page, "retry-after"), "5");
    let post = answer(&Problem::upstream_connect(), Audience::Browser, &Method::POST);
    assert!(!body(&post).contains("/dash/a"), "a link would lose what was sent");
}

#[test]
fn what_a_setting_decides_is_told_with_its_name() {
    let target = |cause| Problem::from(&Refusal::BadTarget(cause));
    for (problem, told) in [
        (Problem::from(&Refusal::TooLarge), "server.limits.graphql_body_bytes"),
        (Problem::uri_too_long(), "server.limits.uri_bytes"),
        (Problem::header_too_large(), "server.limits.header_bytes"),
        (Problem::too_many_fields(), "server.limits.header_count"),
        (Problem::flavour_off(Flavour::Traefik), "add `traefik` to forward_auth.flavours"),
        (target(TargetError::TwoSlashes), "No setting allows that"),
        (target(TargetError::HiddenSlashes), "No setting allows that"),
    ] {
        assert!(problem.detail.contains(told), "{told}: {}", problem.detail);
    }
    let hidden = target(TargetError::HiddenSlashes).detail;
    assert!(hidden.contains("begins with two slashes") && !hidden.contains("absolute"), "{hidden}");
}

/// Where `basic = true`, that is another way to send a key.
#[test]
fn every_way_to_send_a_key_is_told() {
    let told = |basic| {
        let problem = Problem { basic, ..Problem::from(&Refusal::Challenge) };
        body(&answer(&problem, Audience::Api, &Method::GET)).to_owned()
    };
    assert!(
        told(true).contains("`Authorization: Bearer KEY`. HTTP Basic takes it as the password"),
        "{}",
        told(true)
    );
    assert!(!told(false).contains("HTTP Basic"), "{}", told(false));
}

/// No message asks for a setting that is already there.
#[test]
fn another_scheme_is_told_of_basic_where_that_is_taken_and_basic_where_it_is_not() {
    let told = |bad: BadCredential, basic| {
        let problem = Problem { basic, ..Problem::from(bad) };
        body(&answer(&problem, Audience::Api, &Method::GET)).to_owned()
    };
    let digest = told(BadCredential::Scheme, true);
    assert!(digest.contains("Bearer KEY`. HTTP Basic takes it as the password"), "{digest}");
    assert!(digest.contains("pass_authorization = true"), "{digest}");
    for text in [digest, told(BadCredential::Scheme, false), told(BadCredential::Password, true)] {
        assert!(!text.contains("basic = true"), "{text}");
    }
    let basic = told(BadCredential::Basic, false);
    assert!(basic.contains("has to write basic = true for the route"), "{basic}");
}

#[test]
fn a_head_request_gets_no_body() {
    let get = answer(&Problem::not_found(), Audience::Api, &Method::GET);
    let head = answer(&Problem::not_found(), Audience::Api, &Method::HEAD);
    assert!(head.body().is_empty());
    assert_eq!(header(&head, "content-length"), get.body().len().to_string());
}

#[test]
fn an_address_of_another_host_is_never_a_link() {
    let site = site("https://gate.example");
    for target in ["//evil.example", "https://evil.example", "/\\evil.example", "*", "javascript:x"] {
        let look = ProblemContext {
            site: &site,
            method: &Method::GET,
            target: Some(target),
            account: None,
            request_id: "",
        };
        let page = Problem::upstream_connect().respond(Audience::Browser, &look);
        assert!(!body(&page).contains(&format!("href=\"{target}")), "{target}");
    }
}

#[test]
fn grpc_messages_are_percent_encoded() {
    for (text, expected) in
        [("a b~", "a b~"), ("100%", "100%25"), ("é", "%C3%A9"), ("a\r\nb", "a%0D%0Ab"), ("\u{7f}", "%7F")]
    {
        assert_eq!(grpc_message(text), expected);
    }
}

#[test]
fn spans_are_said_as_people_say_them() {
    for (seconds, text) in
        [(0, "1 second"), (1, "1 second"), (119, "119 seconds"), (120, "2 minutes"), (121, "3 minutes")]
    {
        assert_eq!(in_words(Duration::from_secs(seconds)), text);
    }
}
