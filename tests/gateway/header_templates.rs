//! Headers whose names and values the operator chose, and presets that must never fall silent.

use doorward::config::HeaderPreset;
use doorward::gate::identity_headers::names;
use doorward::model::api_key::KeyScope;
use doorward::model::role::Role;
use doorward::model::secret::Secret;
use doorward::service::accounts::NewUser;

use crate::credentials::ROUTES;
use crate::support::gateway::{PASSWORD, bearer};
use crate::support::oracle::fold;
use crate::support::{Gateway, Upstream};

const SEPARATORS: &str = "-_.~!#$%&'*+^`|";

async fn gateway(upstream: &Upstream, settings: &str) -> Gateway {
    let url = upstream.url();
    Gateway::configured(&format!(
        "[[upstreams]]\nname = \"app\"\nurl = \"{url}\"\n{settings}\n\
         [[upstreams]]\nname = \"other\"\nurl = \"{url}\"\nheaders = \"none\"\n\
         [[routes]]\nupstream = \"other\"\npath = \"/public/other\"\nrules = [{{ allow = \"anyone\" }}]\n{ROUTES}"
    ))
    .await
}

/// The values under a name and everything that folds to it, as the upstream got them.
fn told(upstream: &Upstream, name: &str) -> Vec<String> {
    let request = upstream.last();
    let lines = request.head.lines().skip(1).filter_map(|line| line.split_once(':'));
    lines.filter(|(found, _)| fold(found) == fold(name)).map(|(_, value)| value.trim().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_is_what_the_groups_say_and_never_what_the_client_says() {
    let upstream = Upstream::spawn().await;
    let set =
        r#"set_headers = { X-Scope-OrgID = "{group:tenant-*}", X-Who = "{user}/{key}", X-Tier = "gold" }"#;
    let gateway = gateway(&upstream, set).await;
    gateway.user_with("mel", Role::Member, &["ops", "tenant-büro"], false).await;
    gateway.user_with("vera", Role::Viewer, &["ops"], false).await;
    let key = bearer(&gateway.system_key("ci", Role::Viewer).await);
    let mel = format!("cookie: {}\r\n", gateway.sign_in("mel").await);
    let vera = format!("cookie: {}\r\n", gateway.sign_in("vera").await);
    // People name their own keys, so that no name of theirs is told as that of a key.
    let tom = gateway.user("tom", Role::Viewer).await;
    let own = gateway.key_with("ci", Role::Viewer, Some(tom), KeyScope::default()).await.0;
    assert_eq!(gateway.get("/data", &bearer(&own)).await.status, 200);
    assert_eq!(told(&upstream, "x-who"), [""; 0]);
    for separator in SEPARATORS.chars() {
        let forged: String = ["X-Scope-OrgID", "x-scope-orgid", "X-SCOPE-ORGID", "X-Who", "X-Tier"]
            .map(|name| format!("{}: forged\r\n", name.replace('-', &separator.to_string())))
            .concat();
        for connection in ["", "connection: x-scope-orgid, x-who\r\n"] {
            for (who, path, tenant, name) in [
                (mel.as_str(), "/data", &["b%C3%BCro"][..], &[][..]),
                (&mel, "/public/x", &["b%C3%BCro"], &[]),
                (&vera, "/data", &[], &[]),
                (&key, "/data", &[], &["ci/ci"]),
                ("", "/public/x", &[], &[]),
                // An upstream of its own settings, or none, gets no client's copy either.
                (&mel, "/public/other", &[], &[]),
                ("", "/public/other", &[], &[]),
            ] {
                let answer = gateway.get(path, &format!("{who}{connection}{forged}")).await;
                assert_eq!(answer.status, 200, "{path} {}", answer.head);
                assert_eq!(told(&upstream, "x-scope-orgid"), tenant, "{path} {forged}");
                assert_eq!(told(&upstream, "x-who"), name, "{path} {forged}");
                let constant = if path == "/public/other" { &[][..] } else { &["gold"] };
                assert_eq!(told(&upstream, "x-tier"), constant, "{path}, signed in or not");
            }
        }
    }
    let denied = gateway.get("/admin", &format!("{mel}x-scope-orgid: b\r\n")).await;
    assert_eq!(denied.status, 403, "a header opens no door");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_cannot_bring_a_header_of_ours_back_to_a_client() {
    let upstream = Upstream::spawn().await;
    let gateway = gateway(&upstream, r#"set_headers = { X-Scope-OrgID = "{user}" }"#).await;
    upstream.answers("HTTP/1.1 200 OK\r\nx_scope_orgid: a\r\nX-Scope-OrgID: b\r\ncontent-length: 0\r\n\r\n");
    let answer = gateway.get("/public/x", "").await;
    assert_eq!(answer.status, 200);
    assert!(!answer.head.to_lowercase().contains("orgid"), "{}", answer.head);
}

#[tokio::test(flavor = "multi_thread")]
async fn micromegas_is_told_of_everyone_that_he_is_no_admin_unless_he_is() {
    let upstream = Upstream::spawn().await;
    let gateway = gateway(&upstream, "headers = \"micromegas\"").await;
    gateway.user("root", Role::Admin).await;
    let root = format!("cookie: {}\r\n", gateway.sign_in("root").await);
    let key = bearer(&gateway.system_key("grafana", Role::Viewer).await);
    let forged = "x-auth-is-admin: true\r\nX_Auth_Is_Admin: true\r\nx-allow-delegation: true\r\n\
                  x-auth-subject: root\r\nx-auth-issuer: evil\r\nx-user-id: root\r\n";
    for (who, path, is_admin, subject) in [
        ("", "/public/x", "false", None),
        (&key, "/data", "false", Some("key:")),
        (&root, "/data", "true", Some("user:")),
    ] {
        let answer = gateway.get(path, &format!("{who}{forged}")).await;
        assert_eq!(answer.status, 200);
        assert_eq!(told(&upstream, "x-auth-is-admin"), [is_admin]);
        assert_eq!(told(&upstream, "x-allow-delegation"), ["false"]);
        let subjects = told(&upstream, "x-auth-subject");
        assert_eq!(subjects.len(), usize::from(subject.is_some()), "{subjects:?}");
        assert!(subjects.iter().all(|told| told.starts_with(subject.unwrap())), "{subjects:?}");
        let issuers = told(&upstream, "x-auth-issuer");
        assert_eq!(issuers, vec!["http://localhost"; subjects.len()]);
        assert!(told(&upstream, "x-user-id").is_empty());
    }
}

/// The word for it in settings.
fn word(preset: HeaderPreset) -> &'static str {
    match preset {
        HeaderPreset::Standard => "standard",
        HeaderPreset::Oauth2Proxy => "oauth2-proxy",
        HeaderPreset::Authelia => "authelia",
        HeaderPreset::Authentik => "authentik",
        HeaderPreset::Vouch => "vouch",
        HeaderPreset::TraefikForwardAuth => "traefik-forward-auth",
        HeaderPreset::Grafana => "grafana",
        HeaderPreset::Micromegas => "micromegas",
        HeaderPreset::None => "none",
    }
}

/// Names and values.
type Told = Vec<(&'static str, String)>;

/// What each preset says of Zoë, a member of two groups with an address and a name to show, and of nobody.
fn documented(preset: HeaderPreset, subject: &str) -> (Told, Told) {
    let nobody = match preset {
        HeaderPreset::Micromegas => &[("x-auth-is-admin", "false"), ("x-allow-delegation", "false")][..],
        _ => &[],
    };
    let known = match preset {
        HeaderPreset::Standard => &[
            ("x-auth-user", "zo%C3%AB"),
            ("x-auth-subject", subject),
            ("x-auth-name", "Zo%C3%AB M."),
            ("x-auth-email", "zoe@example.org"),
            ("x-auth-groups", "b%C3%BCro,ops"),
            ("x-auth-role", "member"),
        ][..],
        HeaderPreset::Oauth2Proxy => &[
            ("x-forwarded-user", "zo\u{eb}"),
            ("x-forwarded-preferred-username", "zo\u{eb}"),
            ("x-forwarded-email", "zoe@example.org"),
            ("x-forwarded-groups", "b\u{fc}ro,ops"),
            ("x-auth-request-user", "zo\u{eb}"),
            ("x-auth-request-preferred-username", "zo\u{eb}"),
            ("x-auth-request-email", "zoe@example.org"),
            ("x-auth-request-groups", "b\u{fc}ro,ops"),
        ],
        HeaderPreset::Authelia => &[
            ("remote-user", "zo\u{eb}"),
            ("remote-name", "Zo\u{eb} M."),
            ("remote-email", "zoe@example.org"),
            ("remote-groups", "b\u{fc}ro,ops"),
        ],
        HeaderPreset::Authentik => &[
            ("x-authentik-username", "zo\u{eb}"),
            ("x-authentik-uid", subject),
            ("x-authentik-name", "Zo\u{eb} M."),
            ("x-authentik-email", "zoe@example.org"),
            ("x-authentik-groups", "b\u{fc}ro|ops"),
            ("x-authentik-entitlements", "b\u{fc}ro|ops"),
        ],
        HeaderPreset::Vouch => &[("x-vouch-user", "zoe@example.org")],
        HeaderPreset::TraefikForwardAuth => &[("x-forwarded-user", "zoe@example.org")],
        HeaderPreset::Grafana => &[
            ("x-webauth-user", "zo=C3=AB"),
            ("x-webauth-name", "Zo=C3=AB M."),
            ("x-webauth-email", "zoe@example.org"),
            ("x-webauth-groups", "b=C3=BCro,ops"),
            ("x-webauth-role", "Editor"),
        ],
        HeaderPreset::Micromegas => &[
            ("x-auth-subject", subject),
            ("x-auth-email", "zoe@example.org"),
            ("x-auth-issuer", "http://localhost"),
            ("x-allow-delegation", "false"),
            ("x-auth-is-admin", "false"),
        ],
        HeaderPreset::None => &[],
    };
    let sorted = |list: &[(&'static str, &str)]| {
        let mut list: Vec<_> = list.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        list.sort();
        list
    };
    (sorted(known), sorted(nobody))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_preset_says_exactly_its_names() {
    /// What the upstream is told of the way, whoever asks.
    const WAY: [&str; 6] =
        ["host", "forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-request-id"];
    let forged: String = HeaderPreset::ALL
        .iter()
        .flat_map(|preset| names(*preset))
        .flat_map(|(name, _)| [format!("{name}: forged\r\n"), format!("{}: forged\r\n", fold(name))])
        .collect();
    for preset in HeaderPreset::ALL {
        let upstream = Upstream::spawn().await;
        let gateway = gateway(&upstream, &format!("headers = \"{}\"", word(preset))).await;
        let new = NewUser {
            username: "zo\u{eb}".to_owned(),
            email: Some("zoe@example.org".to_owned()),
            display_name: Some("Zo\u{eb} M.".to_owned()),
            role: Role::Member,
            groups: vec!["ops".to_owned(), "b\u{fc}ro".to_owned()],
            password: Some((Secret::new(PASSWORD), false)),
        };
        let subject = format!("user:{}", gateway.accounts.create(&gateway.by, new).await.unwrap().id);
        let zoe = format!("cookie: {}\r\n", gateway.sign_in("zo\u{eb}").await);
        let (known, nobody) = documented(preset, &subject);
        for (who, path, expected) in
            [(&*zoe, "/data", &known), (&zoe, "/public/x", &known), ("", "/public/x", &nobody)]
        {
            for forged in ["", &forged] {
                assert_eq!(gateway.get(path, &format!("{who}{forged}")).await.status, 200);
                let sent = upstream.last();
                let lines = sent.head.lines().skip(1).filter_map(|line| line.split_once(':'));
                let mut told: Vec<_> = lines
                    .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
                    .filter(|(name, _)| !WAY.contains(&name.as_str()))
                    .collect();
                told.sort();
                let told: Vec<_> = told.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
                assert_eq!(told, *expected, "{} {path}\n{}", word(preset), sent.head);
            }
        }
        let refused = gateway.get("/admin", &zoe).await;
        assert_eq!(refused.status, 403);
        assert!(known.iter().all(|(name, _)| refused.header(name).is_none()), "{}", refused.head);
    }
}

/// The application's word for each role, for keys and people alike; and who is told of none is said by `explain`.
#[tokio::test(flavor = "multi_thread")]
async fn a_role_is_told_in_the_applications_word_and_explain_names_what_is_not_told() {
    let upstream = Upstream::spawn().await;
    let set = r#"set_headers = { X-Level = "{role:admin=ADMIN,member=OP,viewer=VIEWER}", X-Team = "{group:team-*}" }"#;
    let gateway = gateway(&upstream, set).await;
    let admin = bearer(&gateway.system_key("ops", Role::Admin).await);
    gateway.user_with("mel", Role::Member, &["team-a"], false).await;
    let mel = format!("cookie: {}\r\n", gateway.sign_in("mel").await);
    let agent = bearer(&gateway.system_key("agent", Role::Agent).await);
    for (who, path, level, team) in [
        (&admin, "/data", &["ADMIN"][..], &[][..]),
        (&mel, "/data", &["OP"], &["a"]),
        (&agent, "/public/x", &[], &[]),
        (&String::new(), "/public/x", &[], &[]),
    ] {
        for forged in ["", "x-level: ADMIN\r\nX_Level: ADMIN\r\nx-team: b\r\n"] {
            assert_eq!(gateway.get(path, &format!("{who}{forged}")).await.status, 200);
            assert_eq!(told(&upstream, "x-level"), level, "{path} {forged}");
            assert_eq!(told(&upstream, "x-team"), team, "{path} {forged}");
        }
    }
    for (caller, lacking) in [
        ("role:agent", &["x-level", "x-team"][..]),
        ("user:mel", &[]),
        ("key:ops", &["x-team"]),
        ("nobody", &[]),
    ] {
        let query = format!("/_doorward/api/explain?request=GET%20/public/x&as={caller}");
        let answer: serde_json::Value =
            serde_json::from_str(&gateway.get(&query, &admin).await.text()).unwrap();
        let named = answer["without_value"].as_array().cloned().unwrap_or_default();
        assert_eq!(named, lacking, "{caller}: {answer}");
    }
}
