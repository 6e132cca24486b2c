//! `JupyterLab` with its own token off, and on.

use std::process::Command;
use std::time::Duration;

use fantoccini::Locator;
use fantoccini::key::Key;
use http::Method;
use tokio::sync::OnceCell;

use super::surface::{compared, surface};
use super::walk::{self, Request};
use super::{App, gateway, is_closed_to_strangers, open_websocket, program, refused, said, signed_in};
use crate::account::sign_in_elsewhere;
use crate::support::gateway::Gateway;
use crate::support::process::Process;
use crate::support::{PATIENCE, apps_python, free_port, wait_for};

const START: Duration = Duration::from_mins(3);

static JUPYTER: OnceCell<App> = OnceCell::const_new();

/// As the preset says.
const OPEN: &[&str] = &["--IdentityProvider.token=", "--ServerApp.allow_remote_access=True"];

fn lab(folder: &std::path::Path, options: &[&str]) -> Command {
    let mut serve = Command::new(apps_python());
    serve.args(["-m", "jupyterlab", "--allow-root", "--no-browser", "--ServerApp.root_dir=."]);
    serve.args(["--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate", "--LabApp.news_url=None"]);
    serve.args(options);
    for name in ["JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "HOME", "IPYTHONDIR"] {
        serve.env(name, folder.join("home"));
    }
    serve
}

/// `JupyterLab` on a port.
async fn started(options: &[&str]) -> App {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let port_option = format!("--port={port}");
    let serve = lab(folder.path(), &[options, &["--ip=127.0.0.1", &port_option]].concat());
    let process = Process::start("jupyter", folder.path(), &serve);
    let process = process.ready(&format!("http://127.0.0.1:{port}/api"), START).await;
    App { address: format!("127.0.0.1:{port}"), folder, _process: process }
}

async fn jupyter() -> &'static App {
    JUPYTER.get_or_init(async || started(OPEN).await).await
}

/// Settings of a gateway in front of it; `route` is added to its route.
fn in_front_of(url: &str, settings: &str, route: &str) -> String {
    format!(
        "{settings}\n[[upstreams]]\nname = \"jupyter\"\nurl = \"{url}\"\n\
         [[routes]]\nupstream = \"jupyter\"\npreset = \"jupyter\"\n{route}\n"
    )
}

#[tokio::test]
async fn jupyter_runs_code_for_members_and_for_nobody_else() {
    let app = jupyter().await;
    let gateway = gateway("jupyter", &app.address, "").await;
    let viewer = gateway.key("viewer", "viewer", &[]).key;
    let agent = gateway.key("agent", "agent", &[]).key;
    let member = gateway.key("member", "member", &[]).key;
    let run =
        |key: &str| program("jupyter_cell.py").args([&gateway.url, key, "print(6 * 7)"]).output().unwrap();

    let ran = said(&run(&member));
    let kernel = ran.lines().find_map(|line| line.strip_prefix("kernel ")).expect("a kernel").to_owned();
    assert!(ran.lines().any(|line| line == "printed 42"), "{ran}");
    let channels = format!("/api/kernels/{kernel}/channels");
    let opened = open_websocket(&gateway, &channels, &member).await;
    assert_eq!(opened.status, 101, "{opened:?}");

    let writes = [
        (Method::POST, "/api/kernels"),
        (Method::POST, "/api/sessions"),
        (Method::POST, "/api/terminals"),
        (Method::PUT, "/api/contents/planted.txt"),
        (Method::DELETE, channels.trim_end_matches("/channels")),
        (Method::POST, "/api/shutdown"),
    ];
    let reads = ["/lab", "/api/contents", "/api/kernels", "/api/terminals", "/api/contents/jupyter.log"];
    for key in [&viewer, &agent] {
        let refused = said(&run(key));
        assert!(refused.starts_with("refused 403"), "{refused}");
        let refused = open_websocket(&gateway, &channels, key).await;
        assert_eq!(refused.refusal(), Some(403), "{refused:?}");
        for (method, path) in reads.map(|path| (Method::GET, path)).iter().chain(&writes) {
            let answer = gateway.send(method.clone(), path, key).await;
            assert_eq!(answer.refusal(), Some(403), "{method} {path}: {answer:?}");
        }
    }
    let strangers: Vec<(Method, &str)> =
        reads.map(|path| (Method::GET, path)).into_iter().chain(writes.clone()).collect();
    is_closed_to_strangers(&gateway, "/lab", &strangers).await;
    assert_eq!(open_websocket(&gateway, &channels, "").await.refusal(), Some(401));
    assert!(!app.folder.path().join("planted.txt").exists());

    for path in reads {
        let answer = gateway.send(Method::GET, path, &member).await;
        assert!(answer.refusal().is_none() && answer.status < 400, "GET {path}: {answer:?}");
    }
    let stop = gateway.send(Method::POST, "/api/shutdown", &member).await;
    assert_eq!(stop.refusal(), Some(403), "{stop:?}");
    assert_eq!(gateway.send(Method::GET, "/api", &member).await.status, 200, "it still runs");
}

#[tokio::test]
async fn cell_of_a_member_runs_in_the_browser() {
    let app = jupyter().await;
    let gateway = gateway("jupyter", &app.address, "").await;
    gateway.user("mark", "member");
    let browser = signed_in(&gateway, "/lab", "mark").await;

    // The first card makes a notebook, whose kernel is spoken to over a WebSocket.
    browser.find(".jp-LauncherCard[data-category=Notebook]").await.click().await.unwrap();
    browser.see("Python 3 (ipykernel) | Idle").await;
    let [control, shift, enter, release] =
        [Key::Control, Key::Shift, Key::Enter, Key::Null].map(|key| String::from(char::from(key)));
    let keys = [&control, "a", &release, "print(6 * 7)", &shift, &enter].concat();
    // A new notebook draws its cell again while it settles; what was typed too early is typed once more.
    let output = wait_for("output of the cell", PATIENCE, async || {
        let cell = browser.client.find(Locator::Css(".jp-Notebook .jp-CodeCell .cm-content")).await.ok()?;
        cell.click().await.ok()?;
        cell.send_keys(&keys).await.ok()?;
        let output = Locator::Css(".jp-OutputArea-output pre");
        browser.client.wait().at_most(PATIENCE / 5).for_element(output).await.ok()?.text().await.ok()
    })
    .await;
    assert_eq!(output.trim(), "42");
    assert_eq!(refused(&browser).await, Vec::<String>::new());
    browser.close().await;
}

/// The second lock: on a socket that only the gateway's user may open, and with a token of Jupyter's own beside the key.
#[tokio::test]
async fn jupyter_on_a_socket_keeps_its_own_token() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("jupyter.sock");
    let socket_option = format!("--ServerApp.sock={}", socket.display());
    let options =
        [&socket_option, "--ServerApp.sock_mode=0600", "--IdentityProvider.token=a-token-of-jupyter"];
    let process = Process::start("jupyter", folder.path(), &lab(folder.path(), &options));
    let url = format!("unix:{}", socket.display());
    let gateway = Gateway::start(&in_front_of(&url, "", "pass_authorization = true")).await;
    let member = gateway.key("member", "member", &[]).key;
    let viewer = gateway.key("viewer", "viewer", &[]).key;
    let kernels = async |key: &str, token: &str| {
        let headers = [("x-api-key", key), ("authorization", token)];
        gateway
            .post(Method::GET, "/api/kernels", "", &headers[..if token.is_empty() { 1 } else { 2 }], "")
            .await
    };
    let token = "token a-token-of-jupyter";
    wait_for("Jupyter behind its socket", START.max(PATIENCE), async || {
        (kernels(&member, token).await.status == 200).then_some(())
    })
    .await;

    let wrong = kernels(&member, "token another").await;
    assert!(wrong.status == 403 && wrong.refusal().is_none(), "Jupyter's own answer: {wrong:?}");
    assert!(kernels(&member, "").await.refusal().is_none(), "Jupyter's own answer");
    assert_eq!(kernels(&viewer, token).await.refusal(), Some(403));

    // People say it to Jupyter's page once, which gives them a cookie.
    let page = "/lab?token=a-token-of-jupyter";
    let page = gateway.post(Method::GET, page, "", &[("x-api-key", &member)], "").await;
    let cookie = |header: &http::HeaderValue| header.to_str().unwrap().split(';').next().unwrap().to_owned();
    let cookies: Vec<String> = page.headers.get_all("set-cookie").iter().map(cookie).collect();
    let headers = [("x-api-key", member.as_str()), ("cookie", &cookies.join("; "))];
    let with_cookie = gateway.post(Method::GET, "/api/kernels", "", &headers, "").await;
    assert_eq!(with_cookie.status, 200, "{with_cookie:?}");
    drop(process);
}

/// Its page sends the token beside the session of whoever signed in here. While rules only log, that works and the report
/// names the setting; enforced, it is refused with the setting's name; with the setting it works.
#[tokio::test]
async fn jupyters_own_token_beside_a_session_is_told_of_before_it_is_refused() {
    let app = started(&["--IdentityProvider.token=a-token-of-jupyter"]).await;
    let config = |more: &str| in_front_of(&app.url(), "", &format!("name = \"lab\"\n{more}"));
    let gateway = Gateway::start(&config("enforce = \"log\"")).await;
    gateway.user("mel", "member");
    gateway.user("vera", "viewer");
    let (mel, vera) = (sign_in_elsewhere(&gateway, "mel").await, sign_in_elsewhere(&gateway, "vera").await);
    let kernels = async |cookie: &str, token: &str| {
        let headers = [("cookie", cookie), ("authorization", token)];
        gateway.post(Method::GET, "/api/kernels", "", &headers, "").await
    };

    for token in ["token a-token-of-jupyter", "Bearer a-token-of-jupyter"] {
        assert_eq!(kernels(&mel, token).await.status, 200, "{token}");
    }
    let wrong = kernels(&mel, "token another").await;
    assert!(wrong.status == 403 && wrong.refusal().is_none(), "Jupyter's own answer: {wrong:?}");
    let report = wait_for("the report", PATIENCE, async || {
        let report = gateway.json(&["refused"], "")["refused"].as_array().unwrap().clone();
        (report.iter().filter_map(|row| row["count"].as_u64()).sum::<u64>() == 3).then_some(report)
    })
    .await;
    for row in &report {
        assert_eq!(
            (&row["credential"], &row["setting"]),
            (&"nobody, beside a session".into(), &"pass_authorization".into()),
            "{row}"
        );
    }
    let shown = String::from_utf8(gateway.run(&["refused"], "").stdout).unwrap();
    assert!(shown.contains("Route lab: 3 requests brought"), "{shown}");
    assert!(shown.contains("`pass_authorization = true`"), "{shown}");

    gateway.save(&config(""));
    let refused = wait_for("the rules to count", PATIENCE, async || {
        let answer = kernels(&mel, "token a-token-of-jupyter").await;
        (answer.refusal() == Some(401)).then_some(answer)
    })
    .await;
    assert!(refused.body.contains("pass_authorization = true"), "{refused:?}");

    gateway.save(&config("pass_authorization = true"));
    wait_for("the setting to count", PATIENCE, async || {
        (kernels(&mel, "token a-token-of-jupyter").await.status == 200).then_some(())
    })
    .await;
    let wrong = kernels(&mel, "token another").await;
    assert!(wrong.status == 403 && wrong.refusal().is_none(), "Jupyter's own answer: {wrong:?}");
    assert_eq!(kernels(&vera, "token a-token-of-jupyter").await.refusal(), Some(403));
    assert_eq!(kernels("a=1", "token a-token-of-jupyter").await.refusal(), Some(401));
}

/// Moving with Jupyter's own check still on: its token is imported, so both sides know it. Until refusals are kept, it goes
/// on as it came; then it stays here, and Jupyter's check has to go.
#[tokio::test]
async fn an_imported_token_reaches_jupyter_that_checks_it_until_refusals_are_kept() {
    const TOKEN: &str = "Zr8Kd0Vb3Xn9Ks2Lw8Rf4Hd6Jy1Mg5Pc";
    let app = started(&[&format!("--IdentityProvider.token={TOKEN}")]).await;
    let imported = format!(
        "[[keys.imported]]\nname = \"jupyter\"\nrole = \"member\"\n\
         ring = '[{{ \"name\": \"agent\", \"key\": \"{TOKEN}\" }}]'"
    );
    let config = |more: &str| in_front_of(&app.url(), &imported, more);
    let gateway = Gateway::start(&config("enforce = \"log\"")).await;
    let own = gateway.key("own", "member", &[]).key;
    let kernels = async |authorization: &str| {
        let headers = [("authorization", authorization)];
        gateway.post(Method::GET, "/api/kernels", "", &headers, "").await
    };
    for scheme in ["Bearer", "token"] {
        assert_eq!(kernels(&format!("{scheme} {TOKEN}")).await.status, 200, "{scheme}");
        let ours = kernels(&format!("{scheme} {own}")).await;
        assert!(ours.status == 403 && ours.refusal().is_none(), "Jupyter has not seen it: {ours:?}");
    }
    gateway.save(&config(""));
    wait_for("the rules to count", PATIENCE, async || {
        (kernels("Bearer of-nobody").await.refusal() == Some(401)).then_some(())
    })
    .await;
    for key in [TOKEN, &own] {
        let stays = kernels(&format!("Bearer {key}")).await;
        assert!(stays.status == 403 && stays.refusal().is_none(), "Jupyter has not seen it: {stays:?}");
    }
}

#[tokio::test]
async fn jupyterlab_has_the_routes_of_its_page_and_the_preset_is_nowhere_laxer() {
    let asked = tokio::task::spawn_blocking(|| surface(&apps_python(), "jupyter_surface.py"));
    let (surface, app) = tokio::join!(asked, jupyter());
    let rows = compared("jupyter.md", "Routes", surface.unwrap().answers.iter());
    // It would be ended, built anew, asked for packages, or have its kernels and files changed under other tests.
    let harmful =
        |request: &Request| request.method != "GET" || request.path.starts_with("/lab/api/extensions");
    walk::walk_sparing("jupyter", &app.address, &walk::of_table(&rows, 1), harmful).await;
}
