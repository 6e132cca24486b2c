//! Which credential is found in the headers of a request, and which headers remain, as tables.

use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::cookies::*;
use super::credential::*;
use super::{GateRequest, Grounds};
use crate::config::ForeignCredentials;
use crate::model::principal::{Client, ClientAddress};
use crate::model::target::{RequestKind, RequestTarget};
use crate::model::token::{KeyKind, KeyText};

const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// A header that brings keys on other routes.
const X_TOKEN: HeaderName = HeaderName::from_static("x-token");

fn names() -> CredentialNames {
    CredentialNames {
        key_headers: Rc::new([X_API_KEY]),
        all_key_headers: vec![X_API_KEY, X_TOKEN],
        cookie: "__Host-doorward".into(),
        ..CredentialNames::default()
    }
}

fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in list {
        headers.append(*name, HeaderValue::from_str(value).unwrap());
    }
    headers
}

/// What is found, as text, so that cases read as a table.
fn found(list: &[(&'static str, &str)], accepts: &Accepts) -> String {
    let (headers, names) = (headers(list), names());
    let target = RequestTarget::parse(&Method::GET, "a.example", &"/".parse().unwrap(), RequestKind::Plain);
    let request = GateRequest {
        target: &target.unwrap(),
        headers: &headers,
        authority: "a.example",
        route: None,
        client: Client { address: ClientAddress::unknown(), secure: true, by_proxy: false },
        request_id: "",
    };
    match Credential::extract(&request, &names, accepts) {
        Ok(Credential::None) => "none".into(),
        Ok(Credential::ApiKey(text)) => format!("key {}", &text[..5]),
        Ok(Credential::Token(at)) => format!("token {at}"),
        Ok(Credential::Certificate(at)) => format!("certificate {at}"),
        Ok(Credential::Session(value)) => format!("session {value}"),
        Ok(Credential::Foreign(wrong)) => format!("foreign {wrong:?}"),
        Err(wrong) => format!("{wrong:?}"),
    }
}

/// Headers, whether foreign ones pass, what is found.
type Case<'c> = (&'c [(&'static str, &'c str)], bool, &'c str);

#[test]
fn at_most_one_credential_decides_and_a_wrong_header_is_final() {
    let key = KeyText::draw(KeyKind::System).text;
    let other = KeyText::draw(KeyKind::User).text;
    let bearer = format!("Bearer {}", key.expose());
    let (shout, spaced) = (format!("BEARER {}", key.expose()), format!("bearer   {}", key.expose()));
    let cookie = ("cookie", "a=1; __Host-doorward=abc");
    let cases: &[Case<'_>] = &[
        (&[], false, "none"),
        (&[("authorization", &bearer)], false, "key dw_s_"),
        (&[("authorization", &shout)], false, "key dw_s_"),
        (&[("authorization", &spaced)], false, "key dw_s_"),
        (&[("x-api-key", key.expose())], false, "key dw_s_"),
        (&[("authorization", &bearer), ("x-api-key", key.expose())], false, "key dw_s_"),
        (&[("authorization", &bearer), ("x-api-key", other.expose())], false, "Several"),
        (&[("authorization", &bearer), cookie], false, "key dw_s_"),
        (&[cookie], false, "session abc"),
        (&[("cookie", "__Host-doorward=a; __Host-doorward=b")], false, "Several"),
        (&[cookie, cookie], false, "Several"),
        (&[("cookie", "x__Host-doorward=a; __host-doorward=b")], false, "none"),
        (&[("authorization", "Bearer eyJ"), cookie], false, "foreign Bearer"),
        (&[("authorization", "Basic eDp5"), cookie], false, "foreign Basic"),
        (&[("authorization", "Bearer"), cookie], false, "foreign Bearer"),
        (&[("authorization", ""), cookie], false, "foreign Scheme"),
        (&[("x-api-key", "nonsense"), cookie], false, "foreign ForeignKey"),
        (&[("authorization", "Basic eDp5"), cookie], true, "session abc"),
        (&[("authorization", "Bearer eyJ")], true, "none"),
        (&[("x-api-key", "theirs"), cookie], true, "foreign ForeignKey"),
    ];
    for (list, foreign, expected) in cases {
        assert_eq!(
            found(list, &Accepts { authorization: *foreign, ..names().accepts() }),
            *expected,
            "{list:?}"
        );
    }
}

/// Headers, and what is found in them in four ways.
type Ways<'c> = (&'c [(&'static str, &'c str)], [&'c str; 4]);

#[test]
fn a_key_as_a_basic_password_counts_where_it_may_and_is_never_somebody_elses() {
    let key = KeyText::draw(KeyKind::System).text;
    let basic = |pair: &str| format!("Basic {}", STANDARD.encode(pair));
    let (own, bare) = (basic(&format!("anyone:{}", key.expose())), basic(&format!(":{}", key.expose())));
    let (foreign, colonless) = (basic("x:y:z"), basic(key.expose()));
    let bearer = format!("Bearer {}", key.expose());
    let cookie = ("cookie", "__Host-doorward=abc");
    // Headers, then what is found: nothing but bearers, with Basic, with what is foreign, with both.
    let cases: &[Ways<'_>] = &[
        (&[("authorization", &own), cookie], ["Basic", "key dw_s_", "Basic", "key dw_s_"]),
        (&[("authorization", &bare)], ["Basic", "key dw_s_", "Basic", "key dw_s_"]),
        (
            &[("authorization", &own), ("authorization", &bearer)],
            ["Basic", "key dw_s_", "Basic", "key dw_s_"],
        ),
        (
            &[("authorization", &foreign), cookie],
            ["foreign Basic", "foreign Password", "session abc", "session abc"],
        ),
        (&[("authorization", &colonless), cookie], ["Basic", "Password", "Basic", "Password"]),
        (
            &[("authorization", "Basic ???"), cookie],
            ["foreign Basic", "foreign Password", "session abc", "session abc"],
        ),
        (
            &[("authorization", "Basic"), cookie],
            ["foreign Basic", "foreign Password", "session abc", "session abc"],
        ),
    ];
    for (list, expected) in cases {
        let ways = [(false, false), (true, false), (false, true), (true, true)];
        let seen = ways.map(|(basic, foreign)| {
            found(list, &Accepts { authorization: foreign, basic, ..names().accepts() })
        });
        assert_eq!(seen, *expected, "{list:?}");
    }
    let as_username = basic(&format!("{}:", key.expose()));
    let mut map = headers(&[
        ("authorization", &own),
        ("authorization", &foreign),
        ("authorization", &colonless),
        ("authorization", &as_username),
    ]);
    strip(&mut map, &names(), &names().accepts(), Grounds::default());
    assert_eq!(map.get_all("authorization").iter().collect::<Vec<_>>(), [foreign.as_str()]);
}

#[test]
fn what_is_ours_is_removed_and_the_rest_is_untouched() {
    let key = KeyText::draw(KeyKind::System).text;
    let mut map = headers(&[
        ("authorization", &format!("bearer {}", key.expose())),
        ("x-api-key", key.expose()),
        ("proxy-authorization", "Basic eDp5"),
        ("cookie", "a=1; __Host-doorward=abc; b=\"x y\";  c=3"),
        ("cookie", "__Host-doorward-device=zzz"),
    ]);
    strip(&mut map, &names(), &names().accepts(), Grounds::default());
    assert_eq!(map.len(), 1, "{map:?}");
    assert_eq!(map["cookie"], "a=1; b=\"x y\";  c=3");

    let mut answer = headers(&[
        ("set-cookie", "__Host-doorward=x; Path=/"),
        ("set-cookie", " __Host-doorward-device = x"),
        ("set-cookie", "=__Host-doorward=x; Path=/"),
        ("set-cookie", "__Host-doorward"),
        ("set-cookie", "theirs=1; Path=/"),
    ]);
    strip_set_cookies(&mut answer, &names().cookie);
    assert_eq!(answer.get_all("set-cookie").iter().collect::<Vec<_>>(), ["theirs=1; Path=/"]);

    // Where a domain shares the session's cookie, those of one host have another prefix.
    let shared = CredentialNames { cookie: "__Secure-doorward".into(), ..names() };
    let all =
        "a=1; __Secure-doorward=abc; __Host-doorward-sign-in-x=y; __HOST-doorward-choice=1; __Host-door=2";
    let mut map = headers(&[("cookie", all)]);
    strip(&mut map, &shared, &shared.accepts(), Grounds::default());
    assert_eq!(map["cookie"], "a=1; __Host-door=2");
    let mut answer = headers(&[
        ("set-cookie", "__Secure-doorward=x"),
        ("set-cookie", "__Host-doorward-sign-in-x=y; Path=/"),
        ("set-cookie", "__Host-door=2"),
    ]);
    strip_set_cookies(&mut answer, &shared.cookie);
    assert_eq!(answer.get_all("set-cookie").iter().collect::<Vec<_>>(), ["__Host-door=2"]);

    let mut foreign = headers(&[("authorization", "Bearer eyJ"), ("cookie", "a=1;b=2")]);
    strip(&mut foreign, &names(), &names().accepts(), Grounds::default());
    assert_eq!(foreign["authorization"], "Bearer eyJ");
    assert_eq!(foreign["cookie"], "a=1;b=2");
}

/// Headers, and what is found in them where the key header is the application's too.
type Leftover<'c> = (&'c [(&'static str, &'c str)], &'c str);

#[test]
fn only_what_is_nothing_of_ours_is_left_to_the_application_and_then_the_cookie_counts() {
    let key = KeyText::draw(KeyKind::System).text;
    let key = key.expose();
    let (quoted, doubled, named) = (format!("\"{key}\""), format!("{key},{key}"), format!("key={key}"));
    let (bearer, token) = (format!("Bearer \"{key}\""), format!("Token token={key}"));
    let username = format!("Basic {}", STANDARD.encode(format!("{key}:x")));
    let loosely = STANDARD_NO_PAD.encode(format!("u:{key}"));
    let (unpadded, in_quotes) = (format!("Basic {loosely}"), format!("Basic \"{loosely}==\","));
    let for_urls = format!("Token {}", URL_SAFE_NO_PAD.encode(format!("\u{3ff}?>:{key}")));
    let escaped = format!("Bearer {}", key.replace('_', "%5F"));
    let cookie = ("cookie", "__Host-doorward=abc");
    let cases: &[Leftover<'_>] = &[
        (&[("authorization", &unpadded), cookie], "Password"),
        (&[("authorization", &in_quotes), cookie], "Password"),
        (&[("authorization", &for_urls), cookie], "Scheme"),
        (&[("authorization", &escaped), cookie], "Bearer"),
        (&[("x-api-key", "theirs"), cookie], "session abc"),
        (&[("x-api-key", "theirs"), ("authorization", "Bearer eyJ"), cookie], "session abc"),
        (&[("x-api-key", ""), cookie], "session abc"),
        (&[("x-api-key", "theirs")], "none"),
        (&[("x-api-key", "theirs"), ("x-api-key", key), cookie], "key dw_s_"),
        (&[("x-api-key", "dw_s_mistyped"), cookie], "key dw_s_"),
        (&[("x-api-key", &quoted), cookie], "Key"),
        (&[("x-api-key", &doubled), cookie], "key dw_s_"),
        (&[("x-api-key", &named), cookie], "Key"),
        (&[("authorization", &bearer), cookie], "Bearer"),
        (&[("authorization", &token), cookie], "Scheme"),
        (&[("authorization", &username), cookie], "Password"),
        (&[("authorization", &username), ("x-api-key", key)], "Password"),
    ];
    for (list, expected) in cases {
        let accepts = Accepts { authorization: true, api_key: true, basic: true, ..names().accepts() };
        assert_eq!(found(list, &accepts), *expected, "{list:?}");
        let mut left = headers(list);
        strip(&mut left, &names(), &accepts, Grounds::default());
        let text = format!("{left:?}");
        assert!(!text.contains("dw_") && !text.contains(&username), "{list:?} leaves {text}");
        assert!(!text.contains("Basic") && !text.contains("%5F"), "{list:?} leaves {text}");
    }
    let offered = format!("v1.chat, base64url.bearer.x.{}", URL_SAFE_NO_PAD.encode(key));
    let mut left = headers(&[("sec-websocket-protocol", &offered), ("x-other", "v1.chat")]);
    strip(&mut left, &names(), &names().accepts(), Grounds::default());
    assert_eq!(left.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-other"]);
}

#[test]
fn somebody_elses_is_found_as_such_and_never_beside_ours_or_instead_of_the_cookie() {
    let key = KeyText::draw(KeyKind::System).text;
    let bearer = format!("Bearer {}", key.expose());
    let cookie = ("cookie", "__Host-doorward=abc");
    for (list, expected) in [
        (&[("authorization", "Bearer whsec"), cookie][..], "foreign Bearer"),
        (&[("authorization", "Basic eDp5"), cookie], "foreign Basic"),
        (&[("x-api-key", "theirs"), cookie], "foreign ForeignKey"),
        (&[("authorization", "Bearer whsec"), ("x-api-key", key.expose())], "Bearer"),
        (&[("authorization", &bearer), ("x-api-key", "theirs")], "ForeignKey"),
        (&[("authorization", "Bearer whsec"), ("x-api-key", "dw_s_mistyped")], "Bearer"),
    ] {
        assert_eq!(found(list, &names().accepts()), expected, "{list:?}");
    }
}

#[test]
fn what_decided_nothing_goes_on_only_where_the_route_says_so() {
    let list = [("authorization", "Bearer whsec"), ("x-api-key", "theirs"), ("cookie", "a=1")];
    let both = &["authorization", "x-api-key", "cookie"][..];
    let despite = Grounds { despite_foreign: true, ..Grounds::default() };
    let (drop, pass) = (ForeignCredentials::Drop, ForeignCredentials::Pass);
    for (foreign, authorization, api_key, grounds, expected) in [
        (pass, false, false, despite, both),
        (drop, false, false, despite, &["cookie"]),
        (drop, true, false, despite, &["authorization", "cookie"]),
        (drop, false, true, despite, &["x-api-key", "cookie"]),
        // Where it was let through in spite of the rules it stays as it came.
        (drop, false, false, Grounds::default(), both),
    ] {
        let mut left = headers(&list);
        let accepts = Accepts { authorization, api_key, foreign, ..names().accepts() };
        strip(&mut left, &names(), &accepts, grounds);
        let mut kept: Vec<_> = left.keys().map(HeaderName::as_str).collect();
        kept.sort_by_key(|name| both.iter().position(|known| known == name));
        assert_eq!(kept, expected, "{foreign:?} {authorization} {api_key}");
    }
}

#[test]
fn a_route_has_key_headers_of_its_own_and_what_is_ours_passes_in_none_of_another() {
    let key = KeyText::draw(KeyKind::System).text;
    let key = key.expose();
    let quoted = format!("\"{key}\"");
    let (general, own) =
        (names().accepts(), Accepts { key_headers: Rc::new([X_TOKEN]), ..Accepts::default() });
    for (list, by_general, by_own) in [
        (&[("x-api-key", key)][..], "key dw_s_", "none"),
        (&[("x-token", key)], "none", "key dw_s_"),
        (&[("x-token", "theirs")], "none", "foreign ForeignKey"),
        (&[("x-api-key", "theirs"), ("x-token", key)], "foreign ForeignKey", "key dw_s_"),
        (&[("x-token", &quoted)], "none", "Key"),
    ] {
        for (accepts, expected) in [(&general, by_general), (&own, by_own)] {
            assert_eq!(found(list, accepts), expected, "{list:?}");
            let mut left = headers(list);
            strip(&mut left, &names(), accepts, Grounds::default());
            let kept: Vec<_> = list.iter().filter(|(_, value)| !value.contains(key)).collect();
            assert_eq!(left.len(), kept.len(), "{list:?} leaves {left:?}");
        }
    }
    let lax = || Accepts { authorization: true, api_key: true, basic: true, ..Accepts::default() };
    for both in [lax().or_stricter(&own), own.clone().or_stricter(&lax())] {
        assert!(!both.authorization && !both.api_key && !both.basic, "what one keeps, both keep: {both:?}");
    }
    let both = lax().or_stricter(&lax());
    assert!(both.authorization && both.api_key && both.basic);
    let mut both: Vec<_> = general.or_stricter(&own).key_headers.to_vec();
    both.sort_by_key(HeaderName::to_string);
    assert_eq!(both, [X_API_KEY, X_TOKEN], "where both count, neither is passed over");
}

#[test]
fn a_cookie_of_ours_is_removed_however_a_server_takes_the_header_apart() {
    for (cookie, left) in [
        ("b=2; a=1, __Host-doorward=abc", Some("b=2")),
        ("b=2;a=1,__Host-doorward-device=abc;c=3", Some("b=2;c=3")),
        ("__host-DOORWARD=abc; b=2", Some("b=2")),
        (" __HOST-doorward", None),
        ("a=1, b=__Host-doorward; x__Host-doorward=3", Some("a=1, b=__Host-doorward; x__Host-doorward=3")),
    ] {
        let mut map = headers(&[("cookie", cookie)]);
        strip(&mut map, &names(), &names().accepts(), Grounds::default());
        assert_eq!(map.get("cookie").map(|value| value.to_str().unwrap()), left, "{cookie}");
    }
}

#[test]
fn a_key_is_ours_in_a_header_for_keys_also_where_it_is_written_in_another_way() {
    let key = KeyText::draw(KeyKind::System).text;
    let key = key.expose();
    let escaped = key.bytes().map(|byte| format!("%{byte:02X}")).collect::<Vec<_>>().concat();
    let coded = STANDARD.encode(key);
    for value in [
        format!("Basic {}", STANDARD.encode(format!("u:{key}"))),
        format!("Basic {}", STANDARD.encode([b"\xfc:", escaped.as_bytes()].concat())),
        STANDARD.encode(&coded),
        escaped.replace('%', "%25"),
        coded.replace('=', "%3D"),
        coded,
        escaped,
        format!("<{key}>"),
    ] {
        for name in ["x-api-key", "x-token"] {
            let mut map = headers(&[(name, &value)]);
            strip(&mut map, &names(), &names().accepts(), Grounds::default());
            assert!(map.is_empty(), "{name}: {value}");
        }
        assert_eq!(found(&[("x-api-key", &value)], &names().accepts()), "Key", "{value}");
    }
    let theirs = STANDARD.encode("somebody else's: another's");
    assert_eq!(found(&[("x-api-key", &theirs)], &names().accepts()), "foreign ForeignKey");
}
