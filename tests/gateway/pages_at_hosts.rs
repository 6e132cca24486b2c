//! Our pages live at the public URL: what happens at the hosts of applications, at nobody's, and behind a proxy that
//! asks for another host than the browser did.

use doorward::model::role::Role;

use crate::support::gateway::{PASSWORD, session_cookie};
use crate::support::raw::{Answer, exchange};
use crate::support::{Gateway, Upstream};

async fn gateway(upstream: &Upstream, public_url: &str) -> Gateway {
    let gateway = Gateway::configured(&format!(
        "public_url = \"{public_url}\"\n[[upstreams]]\nname = \"app\"\nurl = \"{}\"\n\
         [[routes]]\nupstream = \"app\"\nhosts = [\"app.example\"]\nrules = [{{ allow = \"viewer\" }}]\n\
         [[routes]]\nupstream = \"app\"\npath = \"/\"\nrules = [{{ allow = \"viewer\" }}]\n",
        upstream.url()
    ))
    .await;
    gateway.user("vera", Role::Viewer).await;
    gateway
}

async fn get(gateway: &Gateway, host: &str, path: &str, cookie: &str) -> Answer {
    let cookie = if cookie.is_empty() { String::new() } else { format!("cookie: {cookie}\r\n") };
    let head = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\naccept: text/html\r\n{cookie}\r\n");
    exchange(gateway.address, head).await
}

async fn post(gateway: &Gateway, host: &str, origin: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
    let form: String = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: {host}\r\norigin: {origin}\r\naccept: text/html\r\n\
         content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{form}",
        form.len()
    );
    exchange(gateway.address, head).await
}

fn to(answer: &Answer) -> &str {
    assert_eq!(answer.status, 303, "{}", answer.text());
    assert_eq!(answer.headers("set-cookie"), Vec::<&str>::new(), "nothing is started there");
    answer.header("location").unwrap()
}

/// Signs in by the form at `login` of the public URL and goes on to `app.example`: the cookie at home, and the answer that
/// opens a session there.
async fn taken_along(gateway: &Gateway, public: &str, login: &str) -> (String, Answer) {
    let (scheme, home) = public.split_once("://").unwrap();
    let there = format!("{scheme}://app.example");
    let signed_in = post(gateway, home, public, login, &SIGN_IN).await;
    let own = session_cookie(&signed_in).unwrap();
    let begin = signed_in.header("location").unwrap().strip_prefix(&there).unwrap();
    let started = get(gateway, "app.example", begin, "").await;
    let held = started.headers("set-cookie")[0].split(';').next().unwrap().to_owned();
    let grant = started.header("location").unwrap().strip_prefix(public).unwrap();
    let granted = get(gateway, home, grant, &own).await;
    let redeem = granted.header("location").unwrap().strip_prefix(&there).unwrap();
    (own, get(gateway, "app.example", redeem, &held).await)
}

const SIGN_IN: [(&str, &str); 2] = [("username", "vera"), ("password", PASSWORD)];

#[tokio::test(flavor = "multi_thread")]
async fn nobody_signs_in_or_changes_a_password_at_the_host_of_an_application() {
    let upstream = Upstream::spawn().await;
    for (public, base) in [("http://localhost", ""), ("http://localhost/gate", "/gate")] {
        let gateway = gateway(&upstream, public).await;
        let rd = "rd=http%3A%2F%2Fapp.example%2Fd%3Fx%3D1";
        for page in ["login", "password"] {
            let there = format!("{base}/_doorward/{page}?rd=%2Fd%3Fx%3D1");
            let here = format!("{public}/_doorward/{page}?{rd}");
            assert_eq!(to(&get(&gateway, "app.example", &there, "").await), here);
            let sent = post(&gateway, "app.example", "http://app.example", &there, &SIGN_IN).await;
            assert_eq!(to(&sent), here);
            // A page of the public URL is no page of the application's.
            let sent = post(&gateway, "app.example", "http://localhost", &there, &SIGN_IN).await;
            assert_eq!(to(&sent), here);
        }
        for (there, here) in [
            ("login", "login?rd=http%3A%2F%2Fapp.example%2F"),
            ("login?signed-out=1", "login?signed-out=1&rd=http%3A%2F%2Fapp.example%2F"),
            ("login?rd=http%3A%2F%2Fapp.example%2Fd", "login?rd=http%3A%2F%2Fapp.example%2Fd"),
            ("account", "account"),
            ("account/keys/new", "account/keys/new"),
            ("setup?token=x", "setup?token=x"),
        ] {
            let answer = get(&gateway, "app.example", &format!("{base}/_doorward/{there}"), "").await;
            assert_eq!(to(&answer), format!("{public}/_doorward/{here}"));
        }
        let renamed = format!("{base}/_doorward/account/name");
        // A form that a page of the application sends does nothing, and its answer is no address to send one to.
        let sent = [("name", "Eve")];
        let answer = post(&gateway, "app.example", "http://app.example", &renamed, &sent).await;
        assert_eq!(to(&answer), format!("{public}/_doorward/account"));
        assert_eq!(gateway.store.sessions_page(None).await.unwrap(), []);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_at_the_public_url_is_taken_along_and_counts_at_that_host_alone() {
    let upstream = Upstream::spawn().await;
    let gateway = gateway(&upstream, "http://localhost").await;
    let asked = get(&gateway, "app.example", "/d", "").await;
    let login = asked.header("location").unwrap().to_owned();
    let login = to(&get(&gateway, "app.example", &login, "").await).to_owned();
    let login = login.strip_prefix("http://localhost").unwrap();
    let (own, redeemed) = taken_along(&gateway, "http://localhost", login).await;
    let taken = session_cookie(&redeemed).unwrap();
    assert_eq!(redeemed.header("location"), Some("/d"));
    assert_eq!(get(&gateway, "app.example", "/d", &taken).await.status, 200);
    assert_eq!(get(&gateway, "localhost", "/d", &taken).await.status, 302, "nowhere else");
    assert_eq!(get(&gateway, "localhost", "/d", &own).await.status, 200);
    for (page, cookie, expected) in [
        ("account", &taken, Some("/_doorward/login?rd=%2F_doorward%2Faccount")),
        ("password", &taken, Some("/_doorward/login?rd=%2F_doorward%2Fpassword")),
        ("login", &taken, None),
        ("account", &own, None),
        ("password", &own, None),
        ("login", &own, Some("/")),
    ] {
        let answer = get(&gateway, "localhost", &format!("/_doorward/{page}"), cookie).await;
        assert_eq!(answer.header("location"), expected, "{page}: a page of ours is told apart as well");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_along_is_a_cookie_of_that_host_also_where_others_share_one() {
    let upstream = Upstream::spawn().await;
    let public = "http://gate.example\"\ninsecure = true\nsession.cookie_domain = \"gate.example";
    let gateway = gateway(&upstream, public).await;
    let login = "/_doorward/login?rd=http%3A%2F%2Fapp.example%2Fd";
    let shared = post(&gateway, "gate.example", "http://gate.example", login, &SIGN_IN).await;
    assert!(shared.head.contains("Domain=gate.example"), "{}", shared.head);
    let (_, redeemed) = taken_along(&gateway, "http://gate.example", login).await;
    assert!(session_cookie(&redeemed).is_some());
    assert!(!redeemed.head.to_lowercase().contains("domain="), "{}", redeemed.head);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_host_of_nobody_has_no_pages_whatever_the_request_says_of_itself() {
    let upstream = Upstream::spawn().await;
    let gateway = gateway(&upstream, "https://gate.example").await;
    let signed_in =
        post(&gateway, "gate.example", "https://gate.example", "/_doorward/login", &SIGN_IN).await;
    let own = signed_in.headers("set-cookie")[0].split(';').next().unwrap().to_owned();
    assert!(own.starts_with("__Host-doorward="), "{own}");
    for page in ["login", "password"] {
        let there = format!("/_doorward/{page}?rd=%2Fd");
        let here = format!("https://gate.example/_doorward/{page}?rd=%2Fd&moved=1");
        for host in ["evil.example", "127.0.0.1", "app.localhost"] {
            assert_eq!(to(&get(&gateway, host, &there, &own).await), here, "{host}");
            let moved = format!("{there}&moved=1");
            let told = get(&gateway, host, &moved, &own).await;
            assert!(told.status == 409 && told.text().contains("pass the Host header on"), "{}", told.text());
            assert!(!told.text().contains("<form"), "{}", told.text());
            for origin in
                ["https://gate.example".to_owned(), format!("http://{host}"), format!("https://{host}")]
            {
                for path in [&there, &moved] {
                    let sent = post(&gateway, host, &origin, path, &SIGN_IN).await;
                    assert!([303, 403, 409].contains(&sent.status), "{} {origin} {path}", sent.status);
                    assert_eq!(sent.headers("set-cookie"), Vec::<&str>::new(), "{host} {origin} {path}");
                }
            }
        }
    }
    for page in ["account", "account/keys/new", "setup?token=x", "handover/grant?rd=%2F"] {
        let joined = if page.contains('?') { "&" } else { "?" };
        let told = get(&gateway, "evil.example", &format!("/_doorward/{page}{joined}moved=1"), &own).await;
        assert_eq!(told.status, 409, "{page}");
    }
    assert_eq!(gateway.store.sessions_page(None).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_asks_for_another_host_than_the_browser_is_told_of_and_sends_nobody_round_in_circles() {
    let upstream = Upstream::spawn().await;
    let gateway = gateway(&upstream, "https://gate.example").await;
    let moved = to(&get(&gateway, "backend", "/_doorward/login?rd=%2Fd", "").await).to_owned();
    let moved = moved.strip_prefix("https://gate.example").unwrap();
    let told = get(&gateway, "backend", moved, "").await;
    assert_eq!(told.status, 409);
    let text = told.text();
    assert!(text.contains("sent to https://gate.example") && text.contains("asked for backend"), "{text}");
    let signed_in = post(&gateway, "gate.example", "https://gate.example", moved, &SIGN_IN).await;
    assert_eq!(
        (signed_in.status, signed_in.header("location")),
        (303, Some("/d")),
        "where Host is passed on"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn applications_of_this_very_machine_have_no_pages_either() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::configured(&format!(
        "public_url = \"http://localhost\"\n[[upstreams]]\nname = \"app\"\nurl = \"{}\"\n\
         [[routes]]\nupstream = \"app\"\nhosts = [\"app.localhost\", \"127.0.0.2\"]\nrules = [{{ allow = \"viewer\" }}]\n\
         [[routes]]\nupstream = \"app\"\npath = \"/\"\nrules = [{{ allow = \"viewer\" }}]\n",
        upstream.url()
    ))
    .await;
    gateway.user("vera", Role::Viewer).await;
    for host in ["app.localhost", "127.0.0.2"] {
        let there = "/_doorward/login?rd=%2Fd";
        let here = format!("http://localhost/_doorward/login?rd=http%3A%2F%2F{host}%2Fd");
        assert_eq!(to(&get(&gateway, host, there, "").await), here);
        for origin in [format!("http://{host}"), "http://localhost".to_owned()] {
            assert_eq!(to(&post(&gateway, host, &origin, there, &SIGN_IN).await), here, "{origin}");
        }
    }
    let other = to(&get(&gateway, "other.localhost", "/_doorward/login", "").await).to_owned();
    assert_eq!(other, "http://localhost/_doorward/login?moved=1");
    assert_eq!(gateway.store.sessions_page(None).await.unwrap(), []);
    for host in ["localhost", "127.0.0.1"] {
        let signed_in = post(&gateway, host, &format!("http://{host}"), "/_doorward/login", &SIGN_IN).await;
        assert_eq!(signed_in.status, 303, "{host} is this machine by itself");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_only_this_machine_is_public_others_are_told() {
    let upstream = Upstream::spawn().await;
    let gateway = gateway(&upstream, "http://localhost").await;
    let answer = get(&gateway, "192.168.1.5:8080", "/_doorward/login", "").await;
    assert_eq!(answer.status, 409);
    let text = answer.text();
    assert!(text.contains("opened at 192.168.1.5") && text.contains("set public_url"), "{text}");
    for host in ["localhost", "127.0.0.1:8080", "[::1]:8080"] {
        assert_eq!(get(&gateway, host, "/_doorward/login", "").await.status, 200, "{host}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_signs_out_at_the_host_of_an_application_is_signed_out() {
    let upstream = Upstream::spawn().await;
    let gateway = gateway(&upstream, "http://localhost").await;
    let answer = post(&gateway, "app.example", "http://app.example", "/_doorward/logout", &[]).await;
    assert_eq!(answer.header("location"), Some("/_doorward/login?rd=%2F&signed-out=1"));
    for (page, status) in [("static/doorward.css", 200), ("handover?token=x", 403)] {
        let answer = get(&gateway, "app.example", &format!("/_doorward/{page}"), "").await;
        assert_eq!(answer.status, status, "{page}");
    }
}
