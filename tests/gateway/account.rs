//! The account page: what its owner can do there, and that nobody else can do it for them.

use doorward::model::api_key::KeyScope;
use doorward::model::role::Role;

use crate::credentials::ROUTES;
use crate::support::gateway::{PASSWORD, bearer, session_cookie};
use crate::support::{Answer, Gateway, Upstream, exchange};

const ACCOUNT: &str = "/_doorward/account";
const RENAME: &str = "/_doorward/account/name";
const END: &str = "/_doorward/account/sessions/end";
const END_OTHERS: &str = "/_doorward/account/sessions/end-others";
const NEW_KEY: &str = "/_doorward/account/keys/new";
const REVOKE: &str = "/_doorward/account/keys/revoke";

fn form(fields: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

/// The form of a new key, with some of its fields filled in otherwise.
fn key_form(others: &[(&str, &str)]) -> String {
    let usual = [
        ("name", "notebook"),
        ("role", "viewer"),
        ("life", "30d"),
        ("paths", ""),
        ("methods", ""),
        ("networks", ""),
        ("password", PASSWORD),
    ];
    let other = |name: &str| others.iter().find(|(other, _)| *other == name).map(|(_, value)| *value);
    form(&usual.map(|(name, value)| (name, other(name).unwrap_or(value))))
}

/// A gateway with the member `mel`, and the header of her browser's cookie.
async fn world() -> (Upstream, Gateway, String) {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    gateway.user("mel", Role::Member).await;
    let cookie = cookie_of(&gateway, "mel").await;
    (upstream, gateway, cookie)
}

async fn cookie_of(gateway: &Gateway, name: &str) -> String {
    format!("cookie: {}\r\n", gateway.sign_in(name).await)
}

async fn account(gateway: &Gateway, cookie: &str) -> String {
    let page = gateway.get(ACCOUNT, cookie).await;
    assert_eq!(page.status, 200, "{}", page.head);
    page.text()
}

/// The key that a page shows, in the one field that holds it.
fn shown_key(page: &Answer) -> String {
    assert_eq!(page.status, 200, "{}\n{}", page.head, page.text());
    let text = page.text();
    let at = text.find("value=\"dw_u_").expect("the page shows a key") + "value=\"".len();
    text[at..].split('"').next().unwrap().to_owned()
}

/// The ids in the buttons of a form.
fn ids(page: &str, action: &str) -> Vec<String> {
    page.split(&format!("action=\"{action}\""))
        .skip(1)
        .filter_map(|rest| Some(rest.split_once("name=\"id\" value=\"")?.1.split('"').next()?.to_owned()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_shows_who_one_is_and_is_kept_by_nobody() {
    let (_upstream, gateway, cookie) = world().await;
    for path in [ACCOUNT, "/_doorward/", "/_doorward"] {
        let page = gateway.get(path, &cookie).await;
        assert_eq!((page.status, page.header("cache-control")), (200, Some("no-store")), "{path}");
        let text = page.text();
        for part in ["mel", "mel@example.org", "member", "this one", "You have no keys yet", "127.0.0.1"] {
            assert!(text.contains(part), "{path}: {part}\n{text}");
        }
    }
    let asked = gateway.get(ACCOUNT, "").await;
    assert_eq!(
        (asked.status, asked.header("location")),
        (303, Some("/_doorward/login?rd=%2F_doorward%2Faccount"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shown_name_is_changed_and_told_to_the_application() {
    let (upstream, gateway, cookie) = world().await;
    let changed = gateway.post_form(RENAME, &form(&[("name", " Mel <b> Ä ")]), &cookie).await;
    assert_eq!((changed.status, changed.header("location")), (303, Some("/_doorward/account?done=name")));
    let text = gateway.get("/_doorward/account?done=name", &cookie).await.text();
    assert!(text.contains("Your name was changed."), "{text}");
    assert!(text.contains("value=\"Mel &#60;b&#62; Ä\"") && !text.contains("<b>"), "{text}");
    assert_eq!(gateway.get("/data", &cookie).await.status, 200);
    assert!(
        upstream.last().header("x-auth-name").is_some_and(|name| name.contains("Mel")),
        "{:?}",
        upstream.last()
    );

    let long = "x".repeat(129);
    let refused = gateway.post_form(RENAME, &form(&[("name", &long)]), &cookie).await;
    assert_eq!(refused.status, 422);
    assert!(refused.text().contains("role=\"alert\"") && refused.text().contains(&long));
    let user = gateway.accounts.find(&gateway.by, "mel").await.unwrap().unwrap();
    assert_eq!(user.display_name.as_deref(), Some("Mel <b> Ä"));
    assert_eq!((user.username.as_str(), user.email.as_deref()), ("mel", Some("mel@example.org")));
    let more =
        form(&[("name", "Mel"), ("email", "evil@example.org"), ("role", "admin"), ("username", "root")]);
    assert_eq!(gateway.post_form(RENAME, &more, &cookie).await.status, 303);
    let user = gateway.accounts.find(&gateway.by, "mel").await.unwrap().unwrap();
    assert_eq!((user.role, user.email.as_deref()), (Role::Member, Some("mel@example.org")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_signed_out_there_is_refused_at_its_next_request() {
    let (_upstream, gateway, here) = world().await;
    let (there, third) = (cookie_of(&gateway, "mel").await, cookie_of(&gateway, "mel").await);
    assert_eq!(gateway.get("/data", &there).await.status, 200);
    let page = account(&gateway, &here).await;
    let others = ids(&page, END);
    assert_eq!((others.len(), page.matches("this one").count()), (2, 1), "{page}");
    let remaining = ids(&account(&gateway, &there).await, END);
    let third_id = others.iter().find(|id| remaining.contains(id)).unwrap().clone();
    let there_id = others.iter().find(|id| **id != third_id).unwrap().clone();

    let ended = gateway.post_form(END, &form(&[("id", &there_id)]), &here).await;
    assert_eq!((ended.status, ended.header("location")), (303, Some("/_doorward/account?done=session")));
    assert_eq!(gateway.get("/data", &there).await.status, 401);
    assert_eq!(gateway.get("/data", &third).await.status, 200);
    assert_eq!(gateway.get("/data", &here).await.status, 200);
    let again = gateway.post_form(END, &form(&[("id", &there_id)]), &here).await;
    assert_eq!(again.status, 404);

    let fourth = cookie_of(&gateway, "mel").await;
    let others = cookie_of(&gateway, "mel").await;
    assert_eq!(gateway.post_form(END_OTHERS, "", &here).await.status, 303);
    for gone in [&third, &fourth, &others] {
        assert_eq!(gateway.get("/data", gone).await.status, 401);
    }
    assert_eq!(gateway.get("/data", &here).await.status, 200);
    assert!(account(&gateway, &here).await.contains("You are signed in nowhere else"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_made_here_works_at_once_and_is_refused_after_its_revocation() {
    let (upstream, gateway, cookie) = world().await;
    let form_page = gateway.get(NEW_KEY, &cookie).await;
    assert_eq!(form_page.status, 200);
    assert!(
        !form_page.text().contains(">admin<") && !form_page.text().contains(">agent<"),
        "not hers to give"
    );
    let made = gateway.post_form(NEW_KEY, &key_form(&[("role", "member")]), &cookie).await;
    let key = shown_key(&made);
    assert_eq!(made.header("cache-control"), Some("no-store"));
    assert!(!made.head.contains(&key), "in no header and so in no address:\n{}", made.head);
    assert_eq!(made.text().matches(&key).count(), 1);

    assert_eq!(gateway.get("/data", &bearer(&key)).await.status, 200);
    assert_eq!(upstream.last().header("x-auth-user"), Some("mel"));
    let page = account(&gateway, &cookie).await;
    assert!(page.contains("notebook") && !page.contains("dw_u_"), "{page}");
    let [id] = ids(&page, REVOKE).try_into().unwrap();
    assert!(key.contains(&id));

    let revoked = gateway.post_form(REVOKE, &form(&[("id", &id)]), &cookie).await;
    assert_eq!((revoked.status, revoked.header("location")), (303, Some("/_doorward/account?done=key")));
    assert_eq!(gateway.get("/data", &bearer(&key)).await.status, 401);
    assert!(account(&gateway, &cookie).await.contains("You have no keys yet"));
    assert_eq!(gateway.post_form(REVOKE, &form(&[("id", &id)]), &cookie).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_as_narrow_as_it_was_asked_for_and_ends_in_time() {
    let (_upstream, gateway, cookie) = world().await;
    let narrow = key_form(&[
        ("paths", "/data\r\n/v1/**"),
        ("methods", "get, HEAD"),
        ("networks", "127.0.0.1"),
        ("life", "7d"),
    ]);
    let key = shown_key(&gateway.post_form(NEW_KEY, &narrow, &cookie).await);
    assert_eq!(gateway.get("/data", &bearer(&key)).await.status, 200);
    assert_eq!(gateway.get("/other", &bearer(&key)).await.status, 403);
    assert_eq!(gateway.send("POST /data", &bearer(&key)).await.status, 403);
    let page = account(&gateway, &cookie).await;
    assert!(page.contains("only GET, HEAD at /data, /v1/** from 127.0.0.1/32"), "{page}");
    let far = key_form(&[("name", "far"), ("networks", "10.0.0.0/8")]);
    let far = shown_key(&gateway.post_form(NEW_KEY, &far, &cookie).await);
    assert_eq!(gateway.get("/data", &bearer(&far)).await.status, 403);
    gateway.clock.advance(std::time::Duration::from_hours(7 * 24));
    assert_eq!(gateway.get("/data", &bearer(&key)).await.status, 401);

    let cookie = cookie_of(&gateway, "mel").await;
    for (wrong, field) in [
        (("name", "   "), "name"),
        (("name", "far"), "name"),
        (("paths", "no-slash"), "paths"),
        (("paths", "/a?b"), "paths"),
        (("methods", "FETCH"), "methods"),
        (("networks", "here"), "networks"),
        (("role", "admin"), "role"),
        (("role", "agent"), "role"),
        (("name", &"x".repeat(129)), "name"),
    ] {
        let answer = gateway.post_form(NEW_KEY, &key_form(&[wrong]), &cookie).await;
        let text = answer.text();
        assert!([409, 422].contains(&answer.status), "{wrong:?}: {}", answer.head);
        assert!(
            text.contains("role=\"alert\"") && !text.contains("dw_u_") && !text.contains(PASSWORD),
            "{text}"
        );
        let invalid = text.split("aria-invalid").next().unwrap().rsplit("id=\"").next().unwrap();
        assert!(invalid.starts_with(field), "{wrong:?} is marked at {invalid}");
    }
    for wrong in [("life", "1000d"), ("role", "root"), ("life", "")] {
        assert_eq!(gateway.post_form(NEW_KEY, &key_form(&[wrong]), &cookie).await.status, 400, "{wrong:?}");
    }
    let list = gateway.keys.list(&gateway.by, None).await.unwrap();
    assert_eq!(list.len(), 2, "nothing else was made");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_takes_the_password_again_and_guesses_are_slowed_down() {
    let (_upstream, gateway, cookie) = world().await;
    for guess in ["", "wrong wrong wrong", "Correct horse battery", "a", "b", "c"] {
        let answer = gateway.post_form(NEW_KEY, &key_form(&[("password", guess)]), &cookie).await;
        assert_eq!(answer.status, 401, "{guess}");
        assert!(answer.text().contains("The password is wrong.") && !answer.text().contains("dw_u_"));
        assert!(answer.text().contains("value=\"notebook\""), "what was typed is still there");
    }
    let slowed = gateway.post_form(NEW_KEY, &key_form(&[]), &cookie).await;
    assert_eq!(slowed.status, 429, "{}", slowed.text());
    assert!(slowed.header("retry-after").is_some());
    let other = cookie_of(&gateway, "mel").await;
    let made = gateway.post_form(NEW_KEY, &key_form(&[("password", "wrong")]), &other).await;
    assert_eq!(made.status, 401, "counted in that session alone");
    assert_eq!(gateway.keys.list(&gateway.by, None).await.unwrap(), []);
    assert_eq!(gateway.get(ACCOUNT, &cookie).await.status, 200, "the session goes on");
}

/// C29: sessions of others.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_reaches_what_is_anothers_nor_learns_that_it_is_there() {
    let (_upstream, gateway, cookie) = world().await;
    let eve = gateway.user("eve", Role::Member).await;
    gateway.user("root", Role::Admin).await;
    let (key, key_id) = gateway.key_with("eves", Role::Member, Some(eve.clone()), KeyScope::default()).await;
    let (system, system_id) = gateway.key_with("ours", Role::Member, None, KeyScope::default()).await;
    let hers = cookie_of(&gateway, "eve").await;
    let own = ids(&account(&gateway, &cookie_of(&gateway, "eve").await).await, END);
    let page = account(&gateway, &cookie).await;
    for secret in ["eves", "ours", &key_id, &system_id, &own[0]] {
        assert!(!page.contains(secret), "{secret}");
    }
    // An admin's account is an account like any other.
    for other in [cookie.clone(), cookie_of(&gateway, "root").await] {
        let mut said = Vec::new();
        for (path, id) in [
            (END, own[0].as_str()),
            (END, "018f0000-0000-7000-8000-000000000000"),
            (END, ""),
            (REVOKE, key_id.as_str()),
            (REVOKE, system_id.as_str()),
            (REVOKE, "0Qx3fGh7kLm2NpRs"),
            (REVOKE, "' OR 1=1 --"),
        ] {
            let answer = gateway.post_form(path, &form(&[("id", id)]), &other).await;
            assert_eq!(answer.status, 404, "{path} {id}");
            let reference =
                answer.text().split("<code>").nth(1).map(|rest| rest.split('<').next().unwrap().to_owned());
            said.push(answer.text().replace(&reference.unwrap_or_default(), ""));
        }
        assert!(said.windows(2).all(|pair| pair[0] == pair[1]), "the answers tell them apart");
    }
    gateway.settle().await;
    assert_eq!(gateway.get("/data", &hers).await.status, 200);
    for key in [key, system] {
        assert_eq!(gateway.get("/data", &bearer(&key)).await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_and_strangers_cannot_use_the_page() {
    let (_upstream, gateway, _) = world().await;
    let mel = gateway.accounts.find(&gateway.by, "mel").await.unwrap().unwrap().id;
    let (own, own_id) = gateway.key_with("own", Role::Member, Some(mel), KeyScope::default()).await;
    let admin = gateway.system_key("robot", Role::Admin).await;
    let agent = gateway.system_key("agent", Role::Agent).await;
    for key in [&own, &admin, &agent] {
        assert_eq!(gateway.get(ACCOUNT, &bearer(key)).await.status, 403);
        assert_eq!(gateway.get(NEW_KEY, &bearer(key)).await.status, 403);
        for (path, body) in posts(&own_id) {
            let answer = gateway.post_form(path, &body, &bearer(key)).await;
            assert_eq!(answer.status, 403, "{path}");
            let answer = gateway.post_form(path, &body, &format!("x-api-key: {key}\r\n")).await;
            assert_eq!(answer.status, 303, "{path}: to sign in");
        }
    }
    for (path, body) in posts(&own_id) {
        let answer = gateway.post_form(path, &body, "").await;
        let location = answer.header("location").unwrap();
        assert_eq!((answer.status, location), (303, "/_doorward/login?rd=%2F_doorward%2Faccount"), "{path}");
    }
    assert_eq!(gateway.keys.list(&gateway.by, None).await.unwrap().len(), 3);
    assert_eq!(gateway.get("/data", &bearer(&own)).await.status, 200);
}

/// Every form of the page, filled in.
fn posts(key_id: &str) -> [(&'static str, String); 5] {
    [
        (RENAME, form(&[("name", "Evil")])),
        (END, form(&[("id", "x")])),
        (END_OTHERS, String::new()),
        (NEW_KEY, key_form(&[])),
        (REVOKE, form(&[("id", key_id)])),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_sites_do_nothing_here() {
    let (_upstream, gateway, cookie) = world().await;
    let there = cookie_of(&gateway, "mel").await;
    let mel = gateway.accounts.find(&gateway.by, "mel").await.unwrap().unwrap().id;
    let (key, key_id) = gateway.key_with("own", Role::Member, Some(mel), KeyScope::default()).await;
    for origin in [
        "origin: https://evil.example\r\n",
        "origin: null\r\n",
        "sec-fetch-site: cross-site\r\n",
        "sec-fetch-site: same-site\r\n",
        "",
    ] {
        for (path, body) in posts(&key_id) {
            let answer = exchange(
                gateway.address,
                format!(
                    "POST {path} HTTP/1.1\r\nhost: {}\r\n{cookie}{origin}content-length: {}\r\n\
                     content-type: application/x-www-form-urlencoded\r\n\r\n{body}",
                    gateway.address,
                    body.len()
                ),
            )
            .await;
            assert_eq!(answer.status, 403, "{path} {origin}");
        }
    }
    for (path, _) in posts(&key_id) {
        if path != NEW_KEY {
            for method in ["GET", "PUT", "DELETE"] {
                let answer = gateway.send(&format!("{method} {path}?id={key_id}"), &cookie).await;
                assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")), "{method} {path}");
            }
        }
    }
    assert_eq!(gateway.get("/data", &there).await.status, 200);
    assert_eq!(gateway.get("/data", &bearer(&key)).await.status, 200);
    assert_eq!(gateway.accounts.find(&gateway.by, "mel").await.unwrap().unwrap().display_name, None);
    assert_eq!(gateway.keys.list(&gateway.by, None).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_temporary_password_is_changed_before_anything_of_the_account() {
    let (_upstream, gateway, _) = world().await;
    gateway.user_with("nora", Role::Member, &[], true).await;
    let cookie = cookie_of(&gateway, "nora").await;
    for path in [ACCOUNT, NEW_KEY] {
        let answer = gateway.get(path, &cookie).await;
        assert_eq!(answer.status, 303, "{path}");
        assert!(answer.header("location").unwrap().starts_with("/_doorward/password?rd="), "{path}");
    }
    for (path, body) in posts("x") {
        let answer = gateway.post_form(path, &body, &cookie).await;
        assert!(answer.header("location").unwrap().starts_with("/_doorward/password?rd="), "{path}");
    }
    assert_eq!(gateway.keys.list(&gateway.by, None).await.unwrap(), []);
    let next = "seven geese on a ladder";
    let change = form(&[("current", PASSWORD), ("new", next), ("repeat", next)]);
    let rd = "/_doorward/password?rd=%2F_doorward%2Faccount";
    let changed = gateway.post_form(rd, &change, &cookie).await;
    assert_eq!((changed.status, changed.header("location")), (303, Some("/_doorward/account?done=password")));
    let fresh = format!("cookie: {}\r\n", session_cookie(&changed).unwrap());
    assert!(account(&gateway, &fresh).await.contains("nora"));
    assert_eq!(gateway.get(ACCOUNT, &cookie).await.status, 303, "the old session has ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_dies_with_its_owner_and_follows_the_owners_role() {
    let (_upstream, gateway, cookie) = world().await;
    let mel = gateway.accounts.find(&gateway.by, "mel").await.unwrap().unwrap().id;
    let key = shown_key(&gateway.post_form(NEW_KEY, &key_form(&[("role", "member")]), &cookie).await);
    assert_eq!(gateway.send("POST /data", &bearer(&key)).await.status, 200);
    gateway.accounts.set_role(&gateway.by, &mel, Role::Viewer).await.unwrap();
    gateway.settle().await;
    assert_eq!(gateway.send("POST /data", &bearer(&key)).await.status, 403);
    assert_eq!(gateway.get("/data", &bearer(&key)).await.status, 200);
    gateway.accounts.delete(&gateway.by, &mel).await.unwrap();
    gateway.settle().await;
    assert_eq!(gateway.get("/data", &bearer(&key)).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_account_works_below_a_path_of_the_public_url() {
    let upstream = Upstream::spawn().await;
    let toml = format!(
        "public_url = \"http://localhost/gate\"\n[[upstreams]]\nname = \"app\"\nurl = \"{}\"\n{ROUTES}",
        upstream.url()
    );
    let gateway = Gateway::configured(&toml).await;
    gateway.user("mel", Role::Member).await;
    let login = form(&[("username", "mel"), ("password", PASSWORD), ("rd", "/gate/_doorward/account")]);
    let signed_in = gateway.post_form("/gate/_doorward/login", &login, "").await;
    assert_eq!((signed_in.status, signed_in.header("location")), (303, Some("/gate/_doorward/account")));
    let cookie = format!("cookie: {}\r\n", session_cookie(&signed_in).unwrap());
    let page = gateway.get("/gate/_doorward/account", &cookie).await.text();
    for line in page.lines().filter(|line| line.contains("_doorward")) {
        for address in line.split("=\"/").skip(1) {
            assert!(address.starts_with("gate/"), "{line}");
        }
    }
    let made = gateway.post_form("/gate/_doorward/account/keys/new", &key_form(&[]), &cookie).await;
    shown_key(&made);
    let renamed = gateway.post_form("/gate/_doorward/account/name", "name=Mel", &cookie).await;
    assert_eq!(renamed.header("location"), Some("/gate/_doorward/account?done=name"));
}
