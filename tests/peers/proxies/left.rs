//! What the application behind each proxy gets of the credentials that a client sends.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::door::{Door, More, Proxy};
use super::echo::{Echo, Seen};

/// `Authorization` that is not ours passes in general, and not on the route whose upstream says so.
const MORE: More<'_> = More {
    forward_auth: "pass_authorization = true",
    sections: r#"
    [[upstreams]]
    name = "strict"
    url = "http://APP"
    [[routes]]
    path = "/strict"
    upstream = "strict"
    rules = [{ allow = "signed-in" }]
    [[routes]]
    path = "/basic"
    basic = true
    rules = [{ allow = "signed-in" }]
    "#,
    public_host: None,
    rules: None,
};

const THEIRS: &str = "Basic dGhlaXJzOnNlY3JldA==";

/// Keys in every header that takes one, alone and beside what is the application's own; and every cookie of ours.
pub(super) async fn credentials(proxy: Proxy) {
    let echo = Echo::start().await;
    let door = Door::open_with(proxy, &echo.address.to_string(), MORE, str::to_owned).await;
    door.gateway.user("vera", "viewer");
    let system = door.gateway.key("probe", "viewer", &[]).key;
    let made = door.gateway.json(&["key", "create", "mine", "--role", "viewer", "--owner", "vera"], "");
    let user = made["key"].as_str().unwrap().to_owned();
    assert!(system.starts_with("dw_s_") && user.starts_with("dw_u_"));
    let (session, _) = door.sign_in(&format!("{}/_doorward/login", door.url), "vera").await;
    let name = session.split('=').next().unwrap().to_owned();

    let foreign = "theme=dark; lang=\"e n\"";
    let every = format!(
        "theme=dark; {session}; {name}-handover=held; {name}-bounces=1~2~3.x;{name}-device=d; lang=\"e n\""
    );
    let long = format!("long={}", "x".repeat(6000));
    let beside = format!("{long}; {session}");
    let (bearer, own_bearer) = (format!("Bearer {system}"), format!("bearer  {user}"));
    let basic = format!("Basic {}", STANDARD.encode(format!("anyone:{system}")));
    let nothing: (&str, &str) = ("", "");
    // Path, what is sent, and what the application gets: `Cookie` and `Authorization`.
    for (path, sent, expected) in [
        ("/x", vec![("cookie", session.as_str())], nothing),
        ("/x", vec![("cookie", every.as_str())], (foreign, "")),
        ("/x", vec![("cookie", every.as_str()), ("authorization", THEIRS)], (foreign, THEIRS)),
        ("/x", vec![("cookie", beside.as_str())], (long.as_str(), "")),
        ("/x", vec![("authorization", bearer.as_str()), ("cookie", foreign)], (foreign, "")),
        ("/x", vec![("authorization", own_bearer.as_str()), ("cookie", every.as_str())], (foreign, "")),
        ("/x", vec![("x-api-key", system.as_str())], nothing),
        ("/x", vec![("x-api-key", user.as_str()), ("authorization", THEIRS)], ("", THEIRS)),
        ("/x", vec![("x-api-key", system.as_str()), ("proxy-authorization", bearer.as_str())], nothing),
        ("/basic", vec![("authorization", basic.as_str()), ("cookie", foreign)], (foreign, "")),
        ("/public/x", vec![("authorization", THEIRS), ("cookie", foreign)], (foreign, THEIRS)),
        ("/public/x", vec![("cookie", every.as_str())], (foreign, "")),
        ("/strict", vec![("authorization", bearer.as_str()), ("cookie", every.as_str())], (foreign, "")),
    ] {
        let answer = door.get(path, &sent).await;
        assert_eq!((answer.status, answer.header("x-echo")), (200, "1"), "{path} {sent:?}: {answer:?}");
        let seen = echo.take().remove(0);
        let got = |name: &str| seen.all(name).join(" | ");
        assert_eq!((got("cookie").as_str(), got("authorization").as_str()), expected, "{path} {sent:?}");
        nothing_of_ours(&seen, &[&system, &user, &name, &STANDARD.encode(&system)]);
    }

    // What is not ours where it may not pass, and what is ours and wrong.
    for (path, sent, status) in [
        ("/strict", vec![("authorization", THEIRS), ("cookie", session.as_str())], 401),
        ("/public/x", vec![("authorization", "Bearer dw_s_mistyped"), ("cookie", session.as_str())], 401),
        ("/x", vec![("authorization", THEIRS)], 401),
        ("/x", vec![("x-api-key", system.as_str()), ("x-api-key", user.as_str())], 401),
    ] {
        let answer = door.get(path, &sent).await;
        assert_eq!((answer.status, echo.take().len()), (status, 0), "{path} {sent:?}: {answer:?}");
    }

    // By another spelling of the header's name it is no credential, and does not pass either.
    for alias in ["X_Api_Key", "X.Api.Key", "x~api~key", "X_Authorization", "Proxy_Authorization"] {
        door.get("/public/x", &[(alias, &system), ("cookie", foreign)]).await;
        for seen in echo.take() {
            nothing_of_ours(&seen, &[&system]);
        }
    }
}

fn nothing_of_ours(seen: &Seen, secrets: &[&str]) {
    for (name, value) in &seen.headers {
        for secret in secrets {
            assert!(!value.contains(secret), "{name}: {value} reaches the application at {}", seen.target);
        }
    }
}
