//! R: nobody is led to another origin.

use doorward::model::role::Role;

use crate::forms::login_form;
use crate::support::gateway::{PASSWORD, ROUTES, session_cookie};
use crate::support::{Gateway, Upstream, Watch};

/// R01: `//evil`.
/// R02: `/\evil`.
/// R03: `\/evil`.
/// R05: line breaks after the slash.
/// R06: more slashes.
/// R08: `https:/evil`.
/// R09: our host as somebody's name.
/// R11: hosts that begin or end like ours.
/// R12: our host in query and fragment.
/// R13: schemes that run code.
/// R14: escaped slashes.
/// R17: line breaks that would split the head.
/// R18: ports in the wrong place.
/// R20: escapes of escapes.
/// R21: leading blanks and control characters.
/// R22: five thousand characters.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_led_to_another_origin() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    gateway.user("mel", Role::Member).await;
    let long = format!("/{}", "a".repeat(5000));
    for rd in [
        "//evil",
        "/\\evil",
        "\\/evil",
        "\\\\evil",
        "/%0a/evil",
        "/%0d//evil",
        "/\n/evil",
        "/\t/evil",
        "/ /evil",
        "///evil",
        "////evil",
        "https:/evil",
        "https:evil",
        "https://app@evil",
        "https://localhost.evil",
        "https://evillocalhost/",
        "https://evil#localhost",
        "https://evil?localhost",
        "http://localhost@evil",
        "http://localhost:80@evil:443",
        "javascript:alert(1)",
        "java\tscript:alert(1)",
        "data:text/html,x",
        "vbscript:x",
        "%2f%2fevil",
        "/%2fevil",
        "/%5cevil",
        "/%255cevil",
        "/%252fevil",
        "/.//evil",
        "/..//evil",
        "/x/..//evil",
        " //evil",
        "\u{1}//evil",
        "/\r\nset-cookie: x=y",
        "/\u{2028}/evil",
        "evil",
        "?x",
        "",
        "/_doorward/logout",
        "/_doorward/login?rd=//evil",
        &long,
    ] {
        let watch = Watch::begin(&gateway, &upstream);
        let encoded: String = url::form_urlencoded::byte_serialize(rd.as_bytes()).collect();
        // After signing in, when signed in already, and at the question before signing out.
        let signed_in = gateway.post_form("/_doorward/login", &login_form("mel", PASSWORD, rd), "").await;
        let cookie = session_cookie(&signed_in).unwrap_or_else(|| panic!("{rd:?}: {}", signed_in.head));
        let answers = [
            signed_in,
            gateway.get(&format!("/_doorward/login?rd={encoded}"), &format!("cookie: {cookie}\r\n")).await,
            gateway.get(&format!("/_doorward/logout?rd={encoded}"), "").await,
        ];
        for answer in answers.iter().filter(|answer| answer.status != 414) {
            let location = answer.header("location").unwrap_or_else(|| panic!("{rd:?}: {}", answer.head));
            let base = url::Url::parse("http://localhost/_doorward/login").unwrap();
            let resolved = base.join(location).unwrap();
            assert_eq!(resolved.origin(), base.origin(), "{rd:?}: {location}");
            assert!(location.starts_with('/') && !location.starts_with("//"), "{rd:?}: {location}");
            assert!(!resolved.path().starts_with("//"), "{rd:?}: {location}");
            // Whatever stands in the address of the next page is not another origin either.
            let inner =
                resolved.query_pairs().find(|(name, _)| name == "rd").map(|(_, value)| value.into_owned());
            assert_eq!(
                inner.map_or(base.origin(), |inner| base.join(&inner).unwrap().origin()),
                base.origin()
            );
            assert_eq!(
                answer.headers("set-cookie").iter().filter(|cookie| cookie.starts_with("x=")).count(),
                0
            );
        }
        watch.nothing_reached(rd).await;
    }
    for rd in ["/", "/a/b?c=d&e=//f", "/x#y", "/a%2Fb"] {
        let answer = gateway.post_form("/_doorward/login", &login_form("mel", PASSWORD, rd), "").await;
        assert_eq!((answer.status, answer.header("location")), (303, Some(rd)));
    }
    // What a refused request asked for is quoted, not followed.
    for path in ["//evil/x", "/x?rd=//evil", "/%5c/evil"] {
        let answer = gateway.get(path, "accept: text/html\r\n").await;
        let location = answer.header("location").unwrap_or("/");
        assert!(location.starts_with('/') && !location.starts_with("//"), "{path}: {location}");
    }
}
