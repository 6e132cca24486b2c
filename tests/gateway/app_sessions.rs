//! Applications' own sessions: they end with ours, and none is sent on as another's.

use bytes::Bytes;
use http::Request;
use http::Version;

use doorward::model::role::Role;

use crate::support::gateway::{PASSWORD, bearer};
use crate::support::{Answer, Gateway, Upstream, http2};

const ROUTES: &str = r#"
session_cookies = ["sid", "chunk.*"]
[[routes]]
upstream = "app"
enforce = "ENFORCE"
rules = [
  { name = "public", path = "/public", allow = "anyone" },
  { name = "sockets", path = "/ws", methods = "websocket", allow = "viewer" },
  { name = "reads", methods = "read", allow = "viewer" },
]
"#;

fn routes(enforce: &str) -> String {
    ROUTES.replace("ENFORCE", enforce)
}

fn answers(upstream: &Upstream, head: &str, set_cookie: &str) {
    upstream.answers(format!("HTTP/1.1 {head}\r\nset-cookie: {set_cookie}\r\ncontent-length: 0\r\n\r\n"));
}

/// `name=value` of each cookie that an answer sets.
fn set(answer: &Answer) -> Vec<String> {
    let pair = |cookie: &str| cookie.split(';').next().unwrap_or_default().to_owned();
    answer.headers("set-cookie").into_iter().map(pair).collect()
}

/// What the application gets of cookies that are sent to it.
async fn goes_on(gateway: &Gateway, upstream: &Upstream, path: &str, cookies: &str) -> Option<String> {
    let answer = gateway.get(path, &format!("cookie: {cookies}\r\n")).await;
    assert_eq!(answer.status, 200, "{}", answer.head);
    upstream.last().header("cookie").map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_applications_session_goes_back_to_it_for_its_person_alone() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), &routes("on")).await;
    let (mel, vera) = gateway.mel_and_vera().await;
    let key = gateway.system_key("k", Role::Viewer).await;
    answers(&upstream, "200 OK", "sid=of-mel; Path=/; HttpOnly");
    let answer = gateway.get("/data", &format!("cookie: {mel}\r\n")).await;
    let sid = set(&answer).remove(0);
    assert!(sid.starts_with("sid=of-mel.") && answer.head.contains("; Path=/; HttpOnly"), "{}", answer.head);
    answers(&upstream, "200 OK", "theme=dark");
    let all = format!("a=\"1\";{mel}; {sid};  b=2");
    let left = goes_on(&gateway, &upstream, "/data", &all).await;
    assert_eq!(left.as_deref(), Some("a=\"1\"; sid=of-mel;  b=2"));
    assert_eq!(set(&gateway.get("/data", &format!("cookie: {all}\r\n")).await), ["theme=dark"]);
    for other in [vera.as_str(), "c=3"] {
        let all = format!("a=\"1\"; {sid};  b=2; {other}");
        let left = goes_on(&gateway, &upstream, "/public", &all).await.unwrap();
        assert_eq!(left.trim_end_matches("; c=3"), "a=\"1\";  b=2", "{other}");
        assert_eq!(
            goes_on(&gateway, &upstream, "/public", &format!("{sid}; {other}")).await,
            (other == "c=3").then(|| other.into())
        );
    }
    let with_key = gateway.get("/data", &format!("{}cookie: {sid}\r\n", bearer(&key))).await;
    assert_eq!((with_key.status, upstream.last().header("cookie")), (200, None));

    // Each has one, a key and nobody too.
    answers(&upstream, "200 OK", "sid=other; Path=/");
    for (path, who) in
        [("/data", format!("cookie: {vera}\r\n")), ("/data", bearer(&key)), ("/public", String::new())]
    {
        let theirs = set(&gateway.get(path, &who).await).remove(0);
        let cookie = if who.starts_with("cookie") {
            who.trim_end().to_owned() + "; "
        } else {
            who.clone() + "cookie: "
        };
        assert_eq!(gateway.get(path, &format!("{cookie}{theirs}\r\n")).await.status, 200);
        assert_eq!(upstream.last().header("cookie"), Some("sid=other"));
        assert_eq!(goes_on(&gateway, &upstream, "/data", &format!("{mel}; {theirs}")).await, None, "{who}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_http2_and_chunked_cookies_are_no_way_round() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), &routes("on")).await;
    let (mel, vera) = gateway.mel_and_vera().await;
    // The answer to a handshake sets cookies as any other.
    let upgrade = format!(
        "origin: http://{}\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        gateway.address
    );
    upstream.answers(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nset-cookie: sid=ws\r\n\r\n",
    );
    let opened = gateway.get("/ws", &format!("{upgrade}cookie: {mel}; chunk.0=x\r\n")).await;
    assert_eq!((opened.status, upstream.last().header("cookie")), (101, None));
    let sid = set(&opened).remove(0);
    for (who, left) in [(&mel, Some("sid=ws")), (&vera, None)] {
        let opened = gateway.get("/ws", &format!("{upgrade}cookie: {who}; {sid}\r\n")).await;
        assert_eq!((opened.status, upstream.last().header("cookie")), (101, left));
    }
    // HTTP/2 sends a field for each cookie, and HTTP/1.1 may.
    answers(&upstream, "200 OK", "chunk.7=c7");
    let chunk = set(&gateway.get("/data", &format!("cookie: {mel}\r\n")).await).remove(0);
    for (who, left) in [(&mel, "a=1; sid=ws; chunk.7=c7; b=2"), (&vera, "a=1; b=2")] {
        let cookies = ["a=1", &sid, who, &chunk, "b=2"];
        let mut request = Request::get(format!("http://{}/data", gateway.address)).version(Version::HTTP_2);
        for cookie in cookies {
            request = request.header("cookie", cookie);
        }
        let (status, _, _) = http2::request(gateway.address, request.body(Bytes::new()).unwrap()).await;
        assert_eq!((status, upstream.last().header("cookie")), (200, Some(left)));
        let lines: String = cookies.iter().map(|cookie| format!("cookie: {cookie}\r\n")).collect();
        assert_eq!(gateway.get("/data", &lines).await.status, 200);
        assert_eq!(upstream.last().header("cookie"), Some(left));
    }
}

/// What a person's browser keeps is good for the same person after every change of the gateway, or is left out: it is
/// never a reason not to get in.
#[tokio::test(flavor = "multi_thread")]
async fn a_reload_costs_a_new_session_of_the_application_at_most() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), &routes("log")).await;
    let (mel, vera) = gateway.mel_and_vera().await;
    let settings =
        |routes: &str| format!("[[upstreams]]\nname = \"app\"\nurl = \"{}\"\n{routes}", upstream.url());
    answers(&upstream, "200 OK", "sid=1; Path=/");
    let plain = set(&gateway.get("/data", &format!("cookie: {mel}\r\n")).await).remove(0);
    assert_eq!(plain, "sid=1", "nothing changes where rules only log");
    for who in [format!("{mel}; "), format!("{vera}; "), String::new()] {
        assert_eq!(
            goes_on(&gateway, &upstream, "/data", &format!("{who}{plain}")).await.as_deref(),
            Some("sid=1")
        );
    }
    gateway.reload(&settings(&routes("on"))).await.unwrap();
    assert_eq!(goes_on(&gateway, &upstream, "/data", &format!("{mel}; {plain}")).await, None);
    let tied = set(&gateway.get("/data", &format!("cookie: {mel}\r\n")).await).remove(0);
    assert_eq!(
        goes_on(&gateway, &upstream, "/data", &format!("{mel}; {tied}")).await.as_deref(),
        Some("sid=1")
    );
    gateway.reload(&settings(&routes("log"))).await.unwrap();
    assert_eq!(
        goes_on(&gateway, &upstream, "/data", &format!("{mel}; {tied}")).await.as_deref(),
        Some("sid=1")
    );
    // What the application cannot read is for it to answer with a new one.
    assert_eq!(
        goes_on(&gateway, &upstream, "/data", &format!("{vera}; {tied}")).await.as_deref(),
        Some(&*tied)
    );
    gateway
        .reload(&settings(&routes("on").replace("session_cookies", "odd_header_names")))
        .await
        .unwrap_err();
    gateway.reload(&settings(&routes("on").replace("\"sid\", ", ""))).await.unwrap();
    assert_eq!(
        goes_on(&gateway, &upstream, "/data", &format!("{mel}; {plain}")).await.as_deref(),
        Some("sid=1")
    );
}

const SECRET: &str = "4tD1o7xTzO5wBqUuWcVQkJ3m0nR8yPz2LhXe6sAfGiY=";
const OTHER: &str = "pV0c9Zb2GfJmXk7wQyTn5uSdRh1Ea8LoWi3BgKq6NxM=";

/// Replicas share the key, and so does a gateway that was started again.
#[tokio::test(flavor = "multi_thread")]
async fn gateways_of_one_secret_know_each_others_and_no_others() {
    let upstream = Upstream::spawn().await;
    let gateway = async |secret: &str| {
        Gateway::configured(&format!(
            "secret = \"{secret}\"\n[[upstreams]]\nname = \"app\"\nurl = \"{}\"\n{}",
            upstream.url(),
            routes("on")
        ))
        .await
    };
    let (one, same, other) = (gateway(SECRET).await, gateway(SECRET).await, gateway(OTHER).await);
    answers(&upstream, "200 OK", "sid=1");
    let sid = set(&one.get("/public", "").await).remove(0);
    assert_eq!(goes_on(&same, &upstream, "/public", &sid).await.as_deref(), Some("sid=1"));
    assert_eq!(goes_on(&other, &upstream, "/public", &sid).await, None);
}

const BEHIND: &str = r#"
[server]
workers = 1
trusted_proxies = ["127.0.0.1"]
[forward_auth]
FLAVOURS
session_cookies = ["asked"]
[[upstreams]]
name = "here"
url = "http://127.0.0.1:9"
session_cookies = ["sid", "chunk.*", "__Host-sid"]
[[upstreams]]
name = "lenient"
url = "http://127.0.0.1:9"
session_cookies = ["untouched"]
[[routes]]
upstream = "here"
path = "/pg"
strip_prefix = "/pg"
[[routes]]
upstream = "lenient"
path = "/log"
enforce = "log"
[[routes]]
hosts = ["app.example"]
"#;

fn endings(answer: &Answer) -> Vec<&str> {
    let ends = |cookie: &&str| cookie.contains("=; Max-Age=0") && !cookie.starts_with("doorward");
    answer.headers("set-cookie").into_iter().filter(ends).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_in_or_out_ends_applications_sessions_at_the_host_that_answers() {
    let gateway = Gateway::configured(&BEHIND.replace("FLAVOURS", "flavours = [\"nginx\"]")).await;
    gateway.user("mel", Role::Member).await;
    let known = [
        "sid=; Max-Age=0; Path=/",
        "sid=; Max-Age=0; Path=/pg",
        "sid=; Max-Age=0; Path=/pg/",
        "__Host-sid=; Max-Age=0; Path=/",
    ];
    let session = gateway.sign_in("mel").await;
    assert_eq!(endings(&gateway.post_login("mel", PASSWORD).await), known);
    assert!(endings(&gateway.post_login("mel", "wrong wrong wrong").await).is_empty(), "nobody came");
    // What the browser shows is ended by its own name.
    let shown = format!("cookie: {session}; chunk.3=x; chunky=y; asked=z; untouched=1; chunk.\"=q\r\n");
    let out = gateway.post_form("/_doorward/logout", "", &shown).await;
    let chunks =
        ["chunk.3=; Max-Age=0; Path=/", "chunk.3=; Max-Age=0; Path=/pg", "chunk.3=; Max-Age=0; Path=/pg/"];
    assert_eq!(endings(&out), [&chunks[..], &known].concat());
    assert_eq!(out.header("clear-site-data"), Some("\"cache\", \"storage\""));
    // However many it shows, the answer can be held by whoever is in front.
    let many: String = (0..100).map(|n| format!("; chunk.{n}=x")).collect();
    let out = gateway.post_form("/_doorward/logout", "", &format!("cookie: a=1{many}\r\n")).await;
    assert_eq!(endings(&out).len(), 24);
    // What is named in full comes first, and long names take no room from it.
    let long = format!("; chunk.{}=x", "n".repeat(3000));
    let out =
        gateway.post_form("/_doorward/logout", "", &format!("cookie: a=1{long}{many}; sid=1\r\n")).await;
    let ended = endings(&out);
    assert_eq!((ended[0], ended.len()), ("sid=; Max-Age=0; Path=/", 24));
    assert!(ended.concat().len() <= 2048, "{ended:?}");
    // Nobody is signed in any more, but the browser does not know.
    let late = gateway.get("/_doorward/logout", &format!("cookie: {session}; sid=1\r\n")).await;
    assert_eq!((late.status, endings(&late)[0]), (303, "sid=; Max-Age=0; Path=/"));
    assert!(endings(&gateway.get("/_doorward/logout", "cookie: sid=1\r\n").await).is_empty());

    // One's own session can be ended on the account page, too.
    let session = gateway.sign_in("mel").await;
    let page = gateway.get("/_doorward/account", &format!("cookie: {session}\r\n")).await.text();
    let ids: Vec<&str> =
        page.split("name=\"id\" value=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    let others = gateway
        .post_form(
            "/_doorward/account/sessions/end",
            &format!("id={}", ids[0]),
            &format!("cookie: {session}\r\n"),
        )
        .await;
    assert_eq!((others.status, endings(&others).len()), (303, 0), "that was another browser");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_behind_another_proxy_is_left_where_it_was_by_a_sign_in_at_its_host() {
    let text = BEHIND.replace("FLAVOURS", "flavours = [\"nginx\"]");
    let gateway = Gateway::configured(&format!("public_url = \"https://app.example\"\n{text}")).await;
    gateway.user("mel", Role::Member).await;
    let form = format!("username=mel&password={}", PASSWORD.replace(' ', "+"));
    let request = format!(
        "POST /_doorward/login HTTP/1.1\r\nhost: app.example\r\norigin: https://app.example\r\nx-forwarded-proto: https\r\n\
         x-forwarded-for: 192.0.2.1\r\nx-forwarded-host: app.example\r\ncookie: asked=1\r\n\
         content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{form}",
        form.len()
    );
    let answer = crate::support::raw::exchange(gateway.address, request).await;
    assert_eq!(answer.status, 303, "{}", answer.text());
    let ended = endings(&answer);
    for wanted in
        ["asked=; Max-Age=0; Path=/; Secure", "asked=; Max-Age=0; Path=/; Domain=app.example; Secure"]
    {
        assert!(ended.contains(&wanted), "{ended:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sign_out_page_says_what_goes_on_behind_another_proxy() {
    for (flavours, said) in
        [("flavours = [\"traefik\"]", true), ("compat = [\"authelia\"]", true), ("", false)]
    {
        let gateway = Gateway::configured(&BEHIND.replace("FLAVOURS", flavours).replace(
            "hosts = [\"app.example\"]",
            if said { "hosts = [\"app.example\"]" } else { "upstream = \"here\"\nhosts = [\"app.example\"]" },
        ))
        .await;
        gateway.user("mel", Role::Member).await;
        let session = gateway.sign_in("mel").await;
        let page = gateway.get("/_doorward/logout", &format!("cookie: {session}\r\n")).await;
        assert_eq!(page.status, 200);
        assert_eq!(page.text().contains("Close other windows"), said, "{flavours}");
    }
}
