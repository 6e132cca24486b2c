//! The audit trail as the gateway writes it: one row for each event, with who, from where and to whom; and
//! never a secret.

use doorward::model::audit::{AuditRow, Event};
use doorward::service::audit::Audit;
use doorward::store::AuditFilter;

use doorward::model::api_key::KeyScope;
use doorward::model::role::Role;

use super::support;
use super::support::gateway::PASSWORD;
use super::support::{Gateway, Upstream, until};

const ROUTES: &str = "[[routes]]\nupstream = \"app\"\n";

async fn rows(gateway: &Gateway, event: Event) -> Vec<AuditRow> {
    let filter = AuditFilter { event: Some(event.as_str()), ..AuditFilter::default() };
    let mut rows = gateway.store.audit_recent(&filter, 1000).await.unwrap();
    rows.reverse();
    rows
}

/// Those of an event, once there are so many: failures are written down a little later.
async fn so_many(gateway: &Gateway, event: Event, count: usize) -> Vec<AuditRow> {
    until("rows of the trail", async || rows(gateway, event).await.len() >= count).await;
    let rows = rows(gateway, event).await;
    assert_eq!(rows.len(), count, "{rows:#?}");
    rows
}

/// The one row of an event.
async fn only(gateway: &Gateway, event: Event) -> AuditRow {
    let mut rows = rows(gateway, event).await;
    assert_eq!(rows.len(), 1, "{}: {rows:#?}", event.as_str());
    rows.remove(0)
}

fn detail(row: &AuditRow) -> serde_json::Value {
    serde_json::from_str(&row.detail).unwrap()
}

fn from_here(row: &AuditRow) {
    assert_eq!(row.client.as_deref(), Some("127.0.0.1"), "{row:?}");
    assert!(row.request_id.as_ref().is_some_and(|id| id.len() > 8), "{row:?}");
}

/// E06: who did what to whom, from where, by which request.
#[tokio::test(flavor = "multi_thread")]
async fn each_event_of_a_person_leaves_one_row() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    let id = gateway.user_with("alice", Role::Member, &[], true).await;
    let (user, name) = (format!("user:{id}"), Some("alice".to_owned()));
    assert_eq!(only(&gateway, Event::UserCreate).await.target.unwrap().id, user);

    let cookie = format!("cookie: {}\r\n", gateway.sign_in("alice").await);
    let login = only(&gateway, Event::Login).await;
    assert!(login.success);
    assert_eq!((login.actor.id.as_str(), login.actor.name.clone()), (user.as_str(), name.clone()));
    assert!(login.target.as_ref().unwrap().id.starts_with("session:"));
    from_here(&login);

    let form =
        format!("current={}&new=a-new-long-password&repeat=a-new-long-password", PASSWORD.replace(' ', "+"));
    let answer = gateway.post_form("/_doorward/password", &form, &cookie).await;
    assert_eq!(answer.status, 303, "{}", answer.text());
    let change = only(&gateway, Event::PasswordChange).await;
    assert_eq!((change.success, change.actor.id.as_str()), (true, user.as_str()));
    assert_eq!(change.target.as_ref().unwrap().id, user);
    from_here(&change);
    let opened = only(&gateway, Event::SessionOpen).await;
    assert_eq!(opened.request_id, change.request_id, "by the same request");

    let cookie = format!("cookie: {}\r\n", support::gateway::session_cookie(&answer).unwrap());
    assert_eq!(gateway.post_form("/_doorward/logout", "", &cookie).await.status, 303);
    let logout = only(&gateway, Event::Logout).await;
    assert_eq!((logout.actor.id.as_str(), logout.target.clone()), (user.as_str(), opened.target));
    assert_eq!(detail(&logout)["username"], "alice");
    from_here(&logout);
    assert_eq!(only(&gateway, Event::Login).await, login, "nothing was written twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_way_a_sign_in_fails_leaves_its_reason() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    gateway.user("root", Role::Admin).await;
    let alice = gateway.user("alice", Role::Member).await;
    let off = gateway.user("off", Role::Member).await;
    gateway.accounts.disable(&gateway.by, &off).await.unwrap();
    for (name, password) in [("alice", "wrong"), ("off", PASSWORD), ("ghost", PASSWORD), ("ghost2", PASSWORD)]
    {
        assert_eq!(gateway.post_login(name, password).await.status, 401, "{name}");
    }
    let failures = so_many(&gateway, Event::Login, 4).await;
    let told: Vec<_> = failures
        .iter()
        .map(|row| {
            from_here(row);
            assert!(!row.success);
            assert_eq!(row.actor.id, "nobody");
            let reason = detail(row)["reason"].as_str().unwrap().to_owned();
            (reason, row.target.as_ref().and_then(|target| target.name.clone()).unwrap_or_default())
        })
        .collect();
    let expected = [("wrong-password", "alice"), ("disabled", "off"), ("unknown", ""), ("unknown", "")];
    assert_eq!(told, expected.map(|(reason, name)| (reason.to_owned(), name.to_owned())));
    assert_eq!(failures[0].target.as_ref().unwrap().id, format!("user:{alice}"));

    // Guesses do not fill the trail: after the free ones a throttled one, and counts.
    for _ in 0..40 {
        gateway.post_login("alice", "wrong").await;
    }
    let failures = so_many(&gateway, Event::Login, 5).await;
    assert_eq!(detail(&failures[4])["reason"], "throttled");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_only_counted_is_written_when_the_gateway_stops() {
    let upstream = Upstream::spawn().await;
    let mut gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    gateway.user("alice", Role::Member).await;
    for _ in 0..4 {
        gateway.post_login("alice", "wrong").await;
    }
    gateway.begin_stop().await.unwrap();
    let failures = rows(&gateway, Event::Login).await;
    assert_eq!(failures.len(), 2, "{failures:#?}");
    assert_eq!(detail(&failures[1])["repeats"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_notes_the_configuration_and_whether_it_is_another() {
    let upstream = Upstream::spawn().await;
    let shared = tempfile::tempdir().unwrap();
    let database = shared.path().join("shared.db").display().to_string();
    let mut digests = Vec::new();
    for more in ["", "", "keys.header = \"X-Key\"\n"] {
        let toml = format!(
            "{more}[store]\nurl = \"sqlite:{database}\"\n[server]\n\
             workers = 1\n[[upstreams]]\nname = \"app\"\nurl = \"{}\"\n{ROUTES}",
            upstream.url()
        );
        let mut gateway = Gateway::configured(&toml).await;
        let loads = rows(&gateway, Event::ConfigLoad).await;
        assert_eq!(loads.len(), digests.len() + 1);
        let load = loads.last().unwrap();
        assert_eq!((load.actor.id.as_str(), load.success), ("gateway", true));
        assert_eq!(
            (detail(load)["cause"].as_str(), detail(load)["routes"].as_u64()),
            (Some("start"), Some(1))
        );
        digests.push(detail(load)["settings"].as_str().unwrap().to_owned());
        gateway.begin_stop().await.unwrap();
    }
    assert_eq!(digests[0], digests[1]);
    assert_ne!(digests[0], digests[2]);
}

/// Whatever was presented, typed into the wrong field or made here: no row holds it, as it is or in part.
#[tokio::test(flavor = "multi_thread")]
async fn no_row_holds_a_secret() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    gateway.user("root", Role::Admin).await;
    let id = gateway.user("alice", Role::Member).await;
    let mut secrets = vec![PASSWORD.to_owned()];
    // A password in the field of the name.
    for (name, password) in [("TopSecret-in-name-field", "x"), ("alice", "TopSecret-wrong-password")] {
        gateway.post_login(name, password).await;
        secrets.extend(
            [name.to_owned(), password.to_owned()].into_iter().filter(|text| text.contains("Secret")),
        );
    }
    let cookie = gateway.sign_in("alice").await;
    let (_, value) = cookie.split_once('=').unwrap();
    secrets.extend(value.split('.').map(str::to_owned));
    let (key, _) = gateway.key_with("k", Role::Member, Some(id.clone()), KeyScope::default()).await;
    secrets.push(key.rsplit_once('_').unwrap().1.to_owned());
    let temporary = gateway.accounts.reset_password(&gateway.by, &id).await.unwrap();
    secrets.push(temporary.expose().to_owned());
    let form = "token=TopSecret-setup-token&username=eve&password=TopSecret-long-password&repeat=TopSecret-long-password";
    assert!(gateway.post_form("/_doorward/setup", form, "").await.status >= 400);
    secrets.extend(["TopSecret-setup-token", "TopSecret-long-password"].map(str::to_owned));
    let hash = gateway.store.password_of(&id).await.unwrap().unwrap();
    secrets.push(hash.rsplit_once('$').unwrap().1.to_owned());

    let all = async || gateway.store.audit_page(0, None, 1000).await.unwrap();
    until("the rows of what failed", async || all().await.len() >= 8).await;
    let all = all().await;
    let text = format!("{all:?}");
    assert!(text.contains("alice") && text.contains("invalid-link"));
    for secret in secrets {
        assert!(!secret.is_empty() && !text.contains(&secret), "{secret} in {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_that_cannot_be_written_down_does_not_happen() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    gateway.user("alice", Role::Member).await;
    // On a known device, which strangers' failures do not slow down.
    let first = gateway.post_login("alice", PASSWORD).await;
    let device = first.headers("set-cookie").into_iter().find(|set| set.starts_with("doorward-device="));
    let device = format!("cookie: {}\r\n", device.unwrap().split(';').next().unwrap());
    let form = format!("username=alice&password={}", PASSWORD.replace(' ', "+"));
    let path = gateway.folder.path().join("doorward.db");
    sqlite(&path, "ALTER TABLE audit RENAME TO gone").await;
    let answer = gateway.post_login("alice", PASSWORD).await;
    assert_eq!(answer.status, 503, "{}", answer.head);
    assert!(support::gateway::session_cookie(&answer).is_none());
    // A guess may be answered at first, but not for long.
    until("503 for guesses that nothing can tell of", async || {
        gateway.post_login("ghost", "wrong").await.status == 503
    })
    .await;
    sqlite(&path, "ALTER TABLE gone RENAME TO audit").await;
    assert_eq!(gateway.post_form("/_doorward/login", &form, &device).await.status, 303);
    until("rows of what was noted meanwhile", async || {
        rows(&gateway, Event::Login).await.iter().any(|row| detail(row)["reason"] == "unknown")
    })
    .await;
}

async fn sqlite(path: &std::path::Path, sql: &str) {
    use sqlx::Connection as _;
    let url = format!("sqlite:{}", path.display());
    let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trail_of_a_running_gateway_is_whole() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    gateway.user("alice", Role::Member).await;
    for _ in 0..3 {
        gateway.sign_in("alice").await;
    }
    let path = gateway.folder.path().join("doorward.db.secret");
    let key = doorward::app::audit_key(&doorward::app::read_master_key(&path).unwrap());
    let audit = Audit::new(gateway.store.clone(), key);
    let verified = audit.verify(&gateway.by, &[], None).await.unwrap().unwrap();
    let head = gateway.store.audit_head().await.unwrap();
    assert_eq!((verified.first, verified.last), (1, head.seq));
    let load = audit.verify(&gateway.by, &[], Some(&(head.seq, verified.link))).await.unwrap();
    assert!(load.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_do_on_their_account_page_is_theirs() {
    let upstream = Upstream::spawn().await;
    let gateway = Gateway::spawn(&upstream.url(), ROUTES).await;
    let id = gateway.user("alice", Role::Member).await;
    let cookie = format!("cookie: {}\r\n", gateway.sign_in("alice").await);
    gateway.sign_in("alice").await;
    let post = async |path: &str, form: &str| {
        let answer = gateway.post_form(&format!("/_doorward/account{path}"), form, &cookie).await;
        assert!(answer.status < 400, "{path}: {}", answer.text());
    };
    post("/name", "name=Alice+A.").await;
    let password = PASSWORD.replace(' ', "+");
    post(
        "/keys/new",
        &format!("name=notebook&role=viewer&life=30d&paths=&methods=&networks=&password={password}"),
    )
    .await;
    let key = only(&gateway, Event::KeyCreate).await.target.unwrap();
    post("/keys/revoke", &format!("id={}", key.id.strip_prefix("key:").unwrap())).await;
    post("/sessions/end-others", "").await;
    for event in [Event::UserProfile, Event::KeyCreate, Event::KeyRevoke, Event::SessionRevoke] {
        let row = only(&gateway, event).await;
        assert_eq!((row.actor.id, row.success), (format!("user:{id}"), true), "{}", event.as_str());
        from_here(&only(&gateway, event).await);
    }
}

/// A break-glass token from where it may not be used is a failure in the trail, and lets nobody in.
#[tokio::test(flavor = "multi_thread")]
async fn a_break_glass_token_from_a_forbidden_network_is_recorded_as_refused() {
    const GLASS: &str = "q7Zt0Vb3Xn9Ks2Lw8Rf4Hd6Jy1Mg5Pc+/=";
    let upstream = Upstream::spawn().await;
    for (networks, status, success) in [("10.0.0.0/8", 403, false), ("127.0.0.0/8", 200, true)] {
        let more = format!(
            "[[break_glass]]\nname = \"on-call\"\ntoken = \"{GLASS}\"\nnetworks = [\"{networks}\"]\n{ROUTES}"
        );
        let gateway = Gateway::spawn(&upstream.url(), &more).await;
        let answer = gateway.get("/", &format!("authorization: Bearer {GLASS}\r\n")).await;
        assert_eq!(answer.status, status, "{networks}");
        // It is written beside the request, which waits for no database.
        until("its row", async || !rows(&gateway, Event::BreakGlass).await.is_empty()).await;
        let row = only(&gateway, Event::BreakGlass).await;
        assert_eq!(row.success, success, "{row:?}");
        assert_eq!(detail(&row)["token"], "on-call");
        assert_eq!(detail(&row).get("reason").is_some(), !success);
    }
}
