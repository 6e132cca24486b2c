//! Rules that only log take nothing from anybody: no header lowers a caller, and what an application checks itself
//! reaches it as it came.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use doorward::model::role::Role;

use crate::forward_auth::ask;
use crate::support::gateway::bearer;
use crate::support::oracle::fold;
use crate::support::{Gateway, Upstream};

/// A key of the application's own, which counts here too.
const KEY: &str = "t6BnYVb3Xn9Ks2Lw8Rf4Hd6Jy1Mg5Pc+/=";
/// One that opens the door in an emergency, and is nobody else's.
const GLASS: &str = "q7Zt0Vb3Xn9Ks2Lw8Rf4Hd6Jy1Mg5Pc+/=";
const FLAVOURS: [&str; 5] = ["nginx", "traefik", "caddy", "haproxy", "envoy"];

/// The same routes behind this gateway, and behind other proxies that ask it.
fn settings(upstream: Option<&Upstream>, general: &str, app: &str, route: &str) -> String {
    let (behind, leads) = match upstream {
        Some(upstream) => (
            format!("[[upstreams]]\nname = \"app\"\nurl = \"{}\"\n{app}\n", upstream.url()),
            "upstream = \"app\"",
        ),
        None => (
            format!(
                "[forward_auth]\nflavours = [\"nginx\", \"traefik\", \"caddy\", \"haproxy\", \"envoy\"]\n{app}\n"
            ),
            "",
        ),
    };
    format!(
        r#"{general}
[server]
trusted_proxies = ["127.0.0.1"]
{behind}
[[break_glass]]
name = "on-call"
token = "{GLASS}"

[[keys.imported]]
name = "app"
role = "viewer"
ring = '[{{ "name": "agent", "key": "{KEY}" }}]'

[[routes]]
{leads}
{route}
rules = [
  {{ name = "kept", path = "/kept", allow = "anyone", enforce = "on" }},
  {{ name = "open", path = "/open", allow = "anyone" }},
  {{ name = "admin", path = "/admin", allow = "admin", enforce = "on" }},
  {{ name = "rest", allow = "viewer" }},
]
"#
    )
}

/// The values under a name and everything that folds to it.
fn told(head: &str, name: &str) -> Vec<String> {
    let lines = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    lines.filter(|(found, _)| fold(found) == fold(name)).map(|(_, value)| value.trim().to_owned()).collect()
}

/// What an application is told under two names of a request, or of a question about it.
async fn both(gateway: &Gateway, upstream: Option<&Upstream>, path: &str, headers: &str) -> Vec<String> {
    if let Some(upstream) = upstream {
        let answer = gateway.get(path, headers).await;
        assert_eq!(answer.status, 200, "{path} {headers}");
        return vec![upstream.last().head];
    }
    let mut heads = Vec::new();
    for flavour in FLAVOURS {
        let answer = ask(gateway, flavour, &format!("GET {path}"), headers).await;
        assert_eq!(answer.status, 200, "{flavour} {path} {headers}");
        heads.push(answer.head);
    }
    heads
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_lowered_by_a_header_until_refusals_are_kept() {
    let upstream = Upstream::spawn().await;
    let forged = "X-Auth-Is-Admin: true\r\nX-Allow-Delegation: true\r\nX-WEBAUTH-ROLE: Admin\r\n\
                  X-Auth-Subject: root\r\n";
    let spelt = format!("{forged}X_Auth_Is_Admin: true\r\n");
    for behind in [Some(&upstream), None] {
        // An answer to another proxy has nothing but what overwrites; a disguised name is refused there.
        let forged = if behind.is_some() { spelt.as_str() } else { forged };
        for (enforce, kept) in [("log", false), ("off", false), ("on", true)] {
            let general = format!("enforce = \"{enforce}\"");
            let micromegas =
                Gateway::configured(&settings(behind, &general, "headers = \"micromegas\"", "")).await;
            let grafana = Gateway::configured(&settings(behind, &general, "headers = \"grafana\"", "")).await;
            for (role, no, lower) in [
                (None, true, None),
                (Some(Role::Viewer), true, Some("Viewer")),
                (Some(Role::Member), true, Some("Editor")),
                (Some(Role::Admin), false, Some("Admin")),
            ] {
                // What a careless server reads as another path is decided as that one too.
                for (path, always) in [("/data", false), ("/open", false), ("/kept", true), ("/KEPT", true)] {
                    if role.is_none() && ["/data", "/KEPT"].contains(&path) && kept {
                        continue; // refused
                    }
                    let case = format!("{enforce} {role:?} {path} {}", behind.is_some());
                    let who = async |gateway: &Gateway| match role {
                        None => forged.to_owned(),
                        Some(role) => format!("{}{forged}", bearer(&gateway.system_key("k", role).await)),
                    };
                    let said = kept || always;
                    for head in both(&micromegas, behind, path, &who(&micromegas).await).await {
                        let is_admin = told(&head, "x-auth-is-admin");
                        let wanted: &[&str] = if !no {
                            &["true"]
                        } else if said {
                            &["false"]
                        } else {
                            &[]
                        };
                        assert_eq!(is_admin, wanted, "{case}\n{head}");
                        let wanted: &[&str] = if said { &["false"] } else { &[] };
                        assert_eq!(told(&head, "x-allow-delegation"), wanted, "{case}\n{head}");
                        let subject = told(&head, "x-auth-subject").concat();
                        assert_eq!(subject.starts_with("key:"), role.is_some(), "{case}\n{head}");
                    }
                    for head in both(&grafana, behind, path, &who(&grafana).await).await {
                        let role = told(&head, "x-webauth-role").concat();
                        let wanted = lower.filter(|lower| said || *lower == "Admin").unwrap_or_default();
                        assert_eq!(role, wanted, "{case}\n{head}");
                    }
                }
            }
        }
    }
}

/// Headers that bring a key of the application's, in every way in which its clients may do so.
fn brought(key: &str) -> Vec<(&'static str, String)> {
    let basic = |pair: String| format!("Basic {}", STANDARD.encode(pair));
    vec![
        ("authorization", format!("Bearer {key}")),
        ("authorization", basic(format!("anything:{key}"))),
        ("authorization", basic(format!("{key}:"))),
        ("authorization", format!("token {key}")),
        ("authorization", format!("ApiKey name=\"{key}\"")),
        ("authorization", key.to_owned()),
        ("x-api-key", key.to_owned()),
        ("x-api-key", format!("Bearer {key}")),
        ("x-old-key", key.to_owned()),
    ]
}

/// Headers that bring one of ours in a way that counts nowhere, and that some program reads.
fn disguised(key: &str) -> Vec<(&'static str, String)> {
    let escaped = key.bytes().map(|byte| format!("%{byte:02X}")).collect::<Vec<_>>().concat();
    let twice = escaped.replace('%', "%25");
    let coded = STANDARD.encode(key);
    let all = [
        format!("Basic {}", STANDARD.encode(format!("u:{key}"))),
        format!("Basic {}", STANDARD.encode(format!("id:{escaped}"))),
        format!("Basic {}", STANDARD.encode([b"\xfc:", escaped.as_bytes()].concat())),
        format!("Bearer {coded}"),
        format!("Bearer {}", STANDARD.encode(&coded)),
        escaped,
        twice,
        coded.replace('=', "%3D"),
        format!("Token key='{key}'"),
        format!("<{key}>"),
        format!("[{key}]"),
        format!("({key})"),
        format!("a=1&key={key}&b=2"),
        format!("u/{key}"),
        format!("{key}@app.example"),
        format!("{key}."),
    ];
    let both = |value: String| [("authorization", value.clone()), ("x-api-key", value)];
    all.into_iter().flat_map(both).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_an_application_knows_reach_it_in_every_form_until_refusals_are_kept_and_ours_never_do() {
    let upstream = Upstream::spawn().await;
    let routes =
        ["", "basic = true", "key_headers = [\"X-Api-Key\", \"X-Old-Key\"]", "pass_authorization = true"];
    for behind in [Some(&upstream), None] {
        for route in routes {
            let general = "enforce = \"log\"";
            let gateway = Gateway::configured(&settings(behind, general, "", route)).await;
            let own = gateway.system_key("k", Role::Viewer).await;
            for path in ["/data", "/open"] {
                for (name, value) in brought(KEY) {
                    let header = format!("{name}: {value}\r\n");
                    for head in both(&gateway, behind, path, &header).await {
                        let case = format!("{route} {path} {header}\n{head}");
                        // Where it brings no key of ours, other proxies leave it alone unasked.
                        let unasked = behind.is_none() && name == "x-old-key" && !route.starts_with("key");
                        assert_eq!(
                            told(&head, name),
                            if unasked { vec![] } else { vec![value.clone()] },
                            "{case}"
                        );
                    }
                }
            }
            for ours in [GLASS, own.as_str()] {
                let mut all = brought(ours);
                all.retain(|(name, _)| ours == own || *name != "x-old-key" || route.starts_with("key"));
                // Beside one that may pass it takes that along.
                all.push(("authorization", format!("Basic {}", STANDARD.encode(format!("{ours}:{KEY}")))));
                all.push(("authorization", format!("token {KEY}, token {ours}")));
                all.extend(disguised(ours));
                for (name, value) in all {
                    let header = format!("{name}: {value}\r\n");
                    if behind.is_none() && name == "x-old-key" && !route.starts_with("key") {
                        continue; // refused: it is not the answer's to overwrite
                    }
                    for head in both(&gateway, behind, "/data", &header).await {
                        assert_eq!(told(&head, name).concat(), "", "{route} {header}\n{head}");
                    }
                }
            }
        }
        // Enforced, none of it goes on.
        let strict = settings(behind, "", "", "basic = true\npass_authorization = true\npass_api_key = true");
        let gateway = Gateway::configured(&strict).await;
        for (name, value) in [&brought(KEY)[..2], &brought(KEY)[6..7]].concat() {
            for path in ["/data", "/kept"] {
                for head in both(&gateway, behind, path, &format!("{name}: {value}\r\n")).await {
                    assert_eq!(told(&head, name).concat(), "", "{path} {value}\n{head}");
                }
            }
        }
        // So where one rule of a route is: for what that rule speaks of.
        let mixed = settings(behind, "enforce = \"log\"", "", "");
        let gateway = Gateway::configured(&mixed).await;
        let header = format!("authorization: Bearer {KEY}\r\n");
        for (path, left) in [("/kept", ""), ("/open", &*format!("Bearer {KEY}"))] {
            for head in both(&gateway, behind, path, &header).await {
                assert_eq!(told(&head, "authorization").concat(), left, "{path}\n{head}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_for_the_application_is_replaced_by_none_of_the_gateways_until_refusals_are_kept() {
    let upstream = Upstream::spawn().await;
    let bearer_of_ours =
        "[upstreams.bearer]\nalgorithm = \"hs256\"\nkey = \"Wm4Tz0Vb3Xn9Ks2Lw8Rf4Hd6Jy1Mg5Pc\"\n";
    let own = "token = \"s3cr3t-of-the-gateway-0123456789\"";
    let theirs = format!("Bearer {KEY}");
    for (app, is_minted) in [(own, false), (bearer_of_ours, true)] {
        for (enforce, stays) in [("log", true), ("on", false)] {
            let general = format!("enforce = \"{enforce}\"");
            let gateway = Gateway::configured(&settings(Some(&upstream), &general, app, "")).await;
            if !is_minted {
                gateway.ledger.handed_out("s3cr3t-of-the-gateway-0123456789");
            }
            let key = bearer(&gateway.system_key("k", Role::Viewer).await);
            // A key that counts here too, or one of ours.
            for (headers, is_theirs) in [(format!("authorization: {theirs}\r\n"), true), (key, false)] {
                assert_eq!(gateway.get("/data", &headers).await.status, 200);
                let sent = upstream.last().header("authorization").unwrap_or_default().to_owned();
                assert_eq!(sent == theirs, stays && is_theirs, "{app} {enforce}: {sent}");
                let ours = if is_minted { sent.starts_with("Bearer ey") } else { sent.contains("s3cr3t") };
                assert_eq!(ours, !(stays && is_theirs), "{app} {enforce}: {sent}");
            }
        }
    }
    // The same where another proxy asks, which empties what the answer has no value for.
    let app = "[forward_auth.bearer]\nalgorithm = \"hs256\"\nkey = \"Wm4Tz0Vb3Xn9Ks2Lw8Rf4Hd6Jy1Mg5Pc\"\n";
    let gateway = Gateway::configured(&settings(None, "enforce = \"log\"", app, "")).await;
    for value in [&theirs, "Bearer foreign-0123456789", "Basic Zm9vOmJhcg=="] {
        for head in both(&gateway, None, "/data", &format!("authorization: {value}\r\n")).await {
            assert_eq!(told(&head, "authorization"), [value], "{head}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_applications_own_login_beside_a_session_is_refused_with_the_setting_that_leaves_it_there() {
    let upstream = Upstream::spawn().await;
    for (name, value, code, setting) in [
        ("authorization", "Bearer app-0123456789", "invalid-token", "pass_authorization"),
        ("authorization", "token app-0123456789", "unsupported-scheme", "pass_authorization"),
        ("authorization", "Basic Zm9vOmJhcg==", "unsupported-scheme", "pass_authorization"),
        ("x-api-key", "0f1e2d3c", "foreign-key", "pass_api_key"),
    ] {
        let theirs = format!("{name}: {value}\r\n");
        for behind in [Some(&upstream), None] {
            let gateway = Gateway::configured(&settings(behind, "", "", "")).await;
            gateway.user("vera", Role::Viewer).await;
            let cookie = format!("cookie: {}\r\n", gateway.sign_in("vera").await);
            for (headers, beside) in [(format!("{theirs}{cookie}"), true), (theirs.clone(), false)] {
                let answer = match behind {
                    Some(_) => gateway.get("/data", &headers).await,
                    None => ask(&gateway, "traefik", "GET /data", &headers).await,
                };
                assert_eq!((answer.status, answer.problem().as_deref()), (401, Some(code)), "{headers}");
                let text = answer.text();
                assert!(text.contains(&format!("{setting} = true")), "{headers} {text}");
                assert_eq!(text.contains("session in the cookie does not count"), beside, "{headers} {text}");
                assert!(!text.contains("0123456789") && !text.contains("vera"), "{text}");
            }
            // What is refused for another reason says nothing of it.
            let forbidden = gateway.system_key("k", Role::Viewer).await;
            let answer = match behind {
                Some(_) => gateway.get("/admin", &format!("{}{cookie}", bearer(&forbidden))).await,
                None => ask(&gateway, "traefik", "GET /admin", &bearer(&forbidden)).await,
            };
            assert_eq!(answer.status, 403);
            assert!(!answer.text().contains(setting), "{}", answer.text());
            // The setting does what was said of it.
            let gateway = Gateway::configured(&settings(behind, "", "", &format!("{setting} = true"))).await;
            gateway.user("vera", Role::Viewer).await;
            let cookie = format!("cookie: {}\r\n", gateway.sign_in("vera").await);
            for head in both(&gateway, behind, "/data", &format!("{theirs}{cookie}")).await {
                assert_eq!(told(&head, name), [value], "{head}");
                assert_eq!(told(&head, "x-auth-user"), ["vera"], "{head}");
            }
            let alone = match behind {
                Some(_) => gateway.get("/data", &theirs).await,
                None => ask(&gateway, "traefik", "GET /data", &theirs).await,
            };
            assert_eq!(alone.status, 401, "the application's login is none of ours");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_credential_is_dropped_only_where_refusals_are_kept() {
    let upstream = Upstream::spawn().await;
    for (enforce, left) in [("log", true), ("off", true), ("on", false)] {
        for behind in [Some(&upstream), None] {
            let (general, route) = (format!("enforce = \"{enforce}\""), "foreign_credentials = \"drop\"");
            let gateway = Gateway::configured(&settings(behind, &general, "", route)).await;
            for (name, value) in [("authorization", "Bearer whsec_5f8a"), ("x-api-key", "0f1e2d3c")] {
                for head in both(&gateway, behind, "/open", &format!("{name}: {value}\r\n")).await {
                    let wanted = if left { value } else { "" };
                    assert_eq!(told(&head, name).concat(), wanted, "{enforce} {name}\n{head}");
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whose_groups_are_too_many_for_proxies_passes_as_nobody_until_refusals_are_kept() {
    for (enforce, status) in [("log", 200), ("on", 403)] {
        let gateway = Gateway::configured(&settings(None, &format!("enforce = \"{enforce}\""), "", "")).await;
        let groups: Vec<String> =
            (0..250).map(|number| format!("a-rather-long-group-name-{number}")).collect();
        let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
        gateway.user_with("many", Role::Viewer, &groups, false).await;
        let cookie = format!("cookie: {}\r\n", gateway.sign_in("many").await);
        let answer = ask(&gateway, "nginx", "GET /data", &cookie).await;
        assert_eq!(answer.status, status, "{}", answer.text());
        if status == 200 {
            assert_eq!(answer.header("x-auth-user"), Some(""), "{}", answer.head);
            assert!(answer.head.len() < 4096, "{}", answer.head);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_answer_can_take_off_a_request_is_refused_whatever_the_rules_keep() {
    for enforce in ["off", "log", "on"] {
        let gateway = Gateway::configured(&settings(None, &format!("enforce = \"{enforce}\""), "", "")).await;
        let key = gateway.system_key("k", Role::Viewer).await;
        for flavour in FLAVOURS {
            let bad = if flavour == "nginx" { 403 } else { 400 };
            for (header, status, code) in [
                ("X_Auth_User: root".to_owned(), bad, "odd-header"),
                ("X_Auth_Is_Admin: true".to_owned(), bad, "odd-header"),
                (format!("X-Other: {key}"), 401, "misplaced-key"),
                (format!("User-Agent: {key}"), 401, "misplaced-key"),
            ] {
                for who in [String::new(), bearer(&key)] {
                    let answer = ask(&gateway, flavour, "GET /open", &format!("{who}{header}\r\n")).await;
                    let told = (answer.status, answer.problem());
                    assert_eq!(told, (status, Some(code.to_owned())), "{enforce} {flavour} {header}");
                }
            }
            let answer = ask(&gateway, flavour, "GET /open", "X-Other: theirs\r\nX_Other: theirs\r\n").await;
            assert_eq!(answer.status, 200, "{enforce} {flavour}");
        }
    }
}
