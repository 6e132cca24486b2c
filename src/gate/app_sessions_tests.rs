//! Session cookies of applications: which are passed on, and for whom.

use http::HeaderValue;
use http::header::{COOKIE, SET_COOKIE};

use super::app_sessions::AppSessions;
use super::tests::whole_config;
use super::*;
use crate::model::principal::{IdentitySource, Principal, PrincipalKind};
use crate::model::role::Role;
use crate::model::secret::Secret;
use crate::model::user::UserId;

const ROUTE: &str = "[[routes]]\nupstream = \"app\"\n";

fn sessions(upstream: &str, routes: &str) -> AppSessions {
    let config = whole_config(&format!(
        "[[upstreams]]\nname = \"{upstream}\"\nurl = \"http://127.0.0.1:9\"\n\
         session_cookies = [\"sid\", \"__Host-sid\", \"chunk.*\"]\n{}",
        routes.replace("app", upstream)
    ));
    AppSessions::of(&config.routes[0], &config).unwrap()
}

fn key(secret: &str) -> SigningKey {
    GateKeys::of(&MasterKey::new(Secret::new(secret.repeat(32)))).app_sessions
}

fn person(id: &str) -> Principal {
    Principal {
        email: Some(format!("{id}@example.org")),
        groups: vec!["a".to_owned(), "b".to_owned()],
        ..Principal::example(PrincipalKind::User(UserId(id.into())), id, Role::Member)
    }
}

fn one(caller: Principal) -> Identity {
    Identity::of(caller)
}

/// What a browser gets of this `Set-Cookie`.
fn sealed(sessions: &AppSessions, cookie: &str, caller: Option<&Identity>) -> String {
    let mut headers = HeaderMap::new();
    headers.append(SET_COOKIE, HeaderValue::from_bytes(cookie.as_bytes()).unwrap());
    sessions.seal(&mut headers, &key("k"), caller);
    String::from_utf8(headers[SET_COOKIE].as_bytes().to_vec()).unwrap()
}

/// The cookie by which this is sent back.
fn pair(set_cookie: &str) -> &str {
    set_cookie.split(';').next().unwrap()
}

/// What the application gets of these `Cookie` fields.
fn opened(sessions: &AppSessions, fields: &[&str], caller: Option<&Identity>) -> Vec<String> {
    let mut headers = HeaderMap::new();
    for field in fields {
        headers.append(COOKIE, HeaderValue::from_bytes(field.as_bytes()).unwrap());
    }
    sessions.open(&mut headers, &key("k"), caller);
    let text = |value: &HeaderValue| String::from_utf8(value.as_bytes().to_vec()).unwrap();
    headers.get_all(COOKIE).iter().map(text).collect()
}

#[test]
fn what_was_set_for_somebody_goes_on_as_it_was_for_that_one_alone() {
    let sessions = sessions("app", ROUTE);
    let (ann, bob) = (one(person("ann")), one(person("bob")));
    for value in ["abc", "a=b", "2|1:0|x:y==", "\"a b=\"", "x.y.z", "\u{e9}", &"v".repeat(4000)] {
        for name in ["sid", "__Host-sid", "chunk.0"] {
            let set = sealed(&sessions, &format!("{name}={value}; Path=/; HttpOnly"), Some(&ann));
            assert!(set.ends_with("; Path=/; HttpOnly") && set.len() < value.len() + 60, "{set}");
            let cookie = pair(&set);
            assert_ne!(cookie, format!("{name}={value}"));
            let own = opened(&sessions, &[cookie], Some(&ann));
            assert_eq!(own, [format!("{name}={value}")]);
            // Some clients take quotes off, and know nothing of what stands within.
            let bare = value.trim_matches('"');
            let unquoted = cookie.replace('"', "");
            let own = opened(&sessions, &[&unquoted], Some(&ann));
            assert_eq!(own, [format!("{name}={bare}")]);
            for other in [Some(&bob), None] {
                assert!(opened(&sessions, &[cookie], other).is_empty(), "{name}={value}");
            }
            let nobodys = sealed(&sessions, &format!("{name}={value}"), None);
            assert_eq!(opened(&sessions, &[&nobodys], None), [format!("{name}={value}")]);
            assert!(opened(&sessions, &[&nobodys], Some(&ann)).is_empty());
        }
    }
}

/// Whatever an application may have taken a caller to be, and only what it is not told or may well change is left out.
#[test]
fn a_change_of_what_the_application_knows_a_person_by_begins_anew() {
    let sessions = sessions("app", ROUTE);
    let set = sealed(&sessions, "sid=1", Some(&one(person("ann"))));
    let goes_on = |caller: Principal| !opened(&sessions, &[&set], Some(&one(caller))).is_empty();
    let ann = || person("ann");
    assert!(goes_on(ann()));
    assert!(goes_on(Principal {
        display_name: Some("Ann".into()),
        source: IdentitySource::Provider("x".into()),
        ..ann()
    }));
    assert!(!goes_on(Principal { name: "ann2".into(), ..ann() }));
    assert!(!goes_on(Principal { email: None, ..ann() }));
    assert!(!goes_on(Principal { role: Role::Viewer, ..ann() }));
    assert!(!goes_on(Principal { groups: vec!["a".into()], ..ann() }));
    assert!(!goes_on(Principal { groups: vec!["ab".into()], ..ann() }));
    assert!(!goes_on(Principal { kind: PrincipalKind::User(UserId("ann2".into())), ..ann() }));
    let user_key = PrincipalKind::UserKey { user: UserId("ann".into()), key: "k".into() };
    assert!(goes_on(Principal { kind: user_key, ..ann() }), "a key of full rights is its owner");
    let system_key = PrincipalKind::SystemKey { key: "ann".into() };
    assert!(!goes_on(Principal { kind: system_key, ..ann() }));
}

#[test]
fn a_tag_is_good_for_one_value_name_application_and_gateway() {
    let here = sessions("app", ROUTE);
    let ann = one(person("ann"));
    let set = sealed(&here, "sid=12345", Some(&ann));
    let (value, tag) = set.strip_prefix("sid=").unwrap().rsplit_once('.').unwrap();
    assert_eq!((value, tag.len()), ("12345", 22));
    let other = sealed(&here, "sid=54321", Some(&ann));
    let other_tag = other.rsplit_once('.').unwrap().1;
    let last = if tag.ends_with('A') { "B" } else { "A" };
    for forged in [
        "sid=12345".to_owned(),
        "sid=".to_owned(),
        "sid".to_owned(),
        format!("sid=.{tag}"),
        format!("sid={tag}"),
        format!("sid=12345.{other_tag}"),
        format!("sid=12345.{}", &tag[..21]),
        format!("sid=12345.{}{last}", &tag[..21]),
        format!("sid=12345.{tag}="),
        format!("sid=12345.{tag}.{tag}"),
        format!("sid=1234.{tag}"),
        format!("sid=12345..{tag}"),
        format!("sid=\"12345\".{tag}"),
        format!("sid=\"12345.{tag}"),
        format!("__Host-sid=12345.{tag}"),
        format!("chunk.0=12345.{tag}"),
        format!("SID=12345.{tag}"),
        format!("s%69d=12345.{tag}"),
        format!("x, sid=12345.{tag}"),
    ] {
        assert!(opened(&here, &[&forged], Some(&ann)).is_empty(), "{forged}");
    }
    assert_eq!(opened(&here, &[&set], Some(&ann)), ["sid=12345"]);
    assert_eq!(opened(&here, &[&format!("  sid = 12345.{tag} ")], Some(&ann)), ["sid=12345"]);
    assert!(opened(&sessions("other", ROUTE), &[&set], Some(&ann)).is_empty(), "another application");
    let mut headers = HeaderMap::new();
    headers.append(COOKIE, set.parse().unwrap());
    here.open(&mut headers, &key("l"), Some(&ann));
    assert!(headers.is_empty(), "another gateway's");
}

#[test]
fn every_other_cookie_keeps_its_bytes_and_each_of_one_name_is_for_itself() {
    let sessions = sessions("app", ROUTE);
    let ann = one(person("ann"));
    let own = sealed(&sessions, "sid=1", Some(&ann));
    let more = sealed(&sessions, "sid=2", Some(&ann));
    let theirs = sealed(&sessions, "sid=3", Some(&one(person("bob"))));
    for (field, left) in [
        ("a=1;  b=\"2 3\" ;c".to_owned(), "a=1;  b=\"2 3\" ;c"),
        ("xsid=1; sid2=2; sidx; a=sid; b=%73id".to_owned(), "xsid=1; sid2=2; sidx; a=sid; b=%73id"),
        ("chunk=1; chunky=2".to_owned(), "chunk=1; chunky=2"),
        (format!("a=\u{e9};  {own}; b = 2"), "a=\u{e9}; sid=1; b = 2"),
        (format!("a=1; {theirs}; b=2"), "a=1; b=2"),
        ("a=1; sid=x; b=2; SID=y".to_owned(), "a=1; b=2"),
        (format!("{own}; {theirs}; {more}"), "sid=1; sid=2"),
        ("a=1 sid=x; b=2".to_owned(), "b=2"),
        ("a=1,sid =x; b=2".to_owned(), "b=2"),
        ("a=\"; sid=x; b=\"; c=3".to_owned(), "a=\"; b=\"; c=3"),
        ("sid[]=x; sid%5B0]=x; sid2[]=y".to_owned(), "sid2[]=y"),
        // What servers that decode first take for blanks: NBSP, NEL, and three bytes of UTF-8.
        ("sid\u{a0}=x; \u{a0}sid=x; sid\u{85} =x; a=1".to_owned(), "a=1"),
        ("sid\u{3000}=x; sid \u{2028}=x; \u{2028}sid\u{a0}=x; a=1".to_owned(), "a=1"),
    ] {
        assert_eq!(opened(&sessions, &[&field], Some(&ann)), [left], "{field}");
    }
    assert_eq!(opened(&sessions, &["a=1", &theirs, &own], Some(&ann)), ["a=1", "sid=1"]);
}

#[test]
fn what_an_application_deletes_or_calls_otherwise_is_left_alone() {
    let sessions = sessions("app", ROUTE);
    let ann = one(person("ann"));
    for cookie in [
        "sid=; Max-Age=0; Path=/",
        "sid=\"\"; expires=Thu, 01 Jan 1970 00:00:00 GMT",
        "sid",
        "other=1; Path=/",
        "=sid=1",
        "theme=sid=1; Path=/sid",
    ] {
        assert_eq!(sealed(&sessions, cookie, Some(&ann)), cookie);
    }
    // What a browser sends back of one that is called a little otherwise is as good as it was.
    let set = sealed(&sessions, " SID = 1 ; Path=/", Some(&ann));
    assert_eq!(opened(&sessions, &[pair(&set)], Some(&ann)), ["SID=1"]);
}

/// Turning rules on or off costs one session of the application, and nothing else.
#[test]
fn where_rules_only_log_nothing_changes_and_what_was_tied_is_still_known() {
    let ann = one(person("ann"));
    let kept = sessions("app", ROUTE);
    let set = sealed(&kept, "sid=1", Some(&ann));
    let theirs = sealed(&kept, "sid=1", Some(&one(person("bob"))));
    for enforce in ["log", "off"] {
        let lenient = sessions("app", &format!("{ROUTE}enforce = \"{enforce}\"\n"));
        assert_eq!(sealed(&lenient, "sid=1; Path=/", Some(&ann)), "sid=1; Path=/");
        for (cookie, left) in
            [(set.as_str(), "sid=1"), (&theirs, &theirs), ("sid=1", "sid=1"), ("a=1,sid=1", "a=1,sid=1")]
        {
            assert_eq!(opened(&lenient, &[cookie], Some(&ann)), [left]);
        }
    }
    // Where some rules are kept and others only log, what is set on either way is good on both, and nothing else is: the
    // application would set it again, for any caller.
    let text = format!(
        "{ROUTE}enforce = \"log\"\nrules = [{{ path = \"/a\", allow = \"viewer\", enforce = \"on\" }}]\n"
    );
    let mixed = sessions("app", &text);
    assert_eq!(sealed(&mixed, "sid=1", Some(&ann)), set);
    for untied in ["sid=1", &theirs] {
        assert!(opened(&mixed, &[untied], Some(&ann)).is_empty());
    }
    let beside = format!("{ROUTE}enforce = \"log\"\n{ROUTE}path = \"/a\"\n");
    assert_eq!(sealed(&sessions("app", &beside), "sid=1", Some(&ann)), set);
}
