//! The real Pyroscope 0.37.2, every route as every role, and its own agents: another Pyroscope writes and reads through
//! the gateway. Of Pyroscope 1.x there are the agent and the published interface; a stand-in is the server.

use std::path::PathBuf;
use std::process::Command;

use base64::Engine as _;
use http::Method;
use serde_json::json;
use tokio::sync::OnceCell;

use super::table::{self, requests};
use super::{App, gateway, program, pyroscope_source, said, walk};
use crate::proxies::door::{Door, More, Proxy};
use crate::proxies::echo::Echo;
use crate::support::client;
use crate::support::gateway::Gateway;
use crate::support::process::Process;
use crate::support::{PATIENCE, free_port, repository, wait_for};

const PRESET: &str = "pyroscope-0.37";
const PAGE: &str = "pyroscope.md";
const SERVER: &str = "Pyroscope 0.37.2";
const ROLES: [&str; 4] = ["admin", "member", "viewer", "agent"];

/// A file of what `tests/run.sh` has built; none where there is no Go to build it with, and then the test is left out.
fn built(file: &str) -> Option<PathBuf> {
    let path = repository(".tests/pyroscope").join(file);
    if path.exists() {
        return Some(path);
    }
    let go = Command::new("go").arg("version").output();
    assert!(go.is_err(), "{} is missing: run tests/run.sh once", path.display());
    eprintln!("left out: {} is missing, and there is no Go to build it with", path.display());
    None
}

/// Starts a Pyroscope that keeps to itself; `more` are further arguments.
async fn start(program: &PathBuf, more: &[&str]) -> App {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    // Its pages need npm to build, and are read from where it is started.
    std::fs::create_dir_all(folder.path().join("webapp/public/assets")).unwrap();
    std::fs::write(folder.path().join("webapp/public/index.html"), "<!doctype html><title>Pyroscope</title>")
        .unwrap();
    std::fs::write(folder.path().join("webapp/public/assets/app.js"), "").unwrap();
    let address = format!("127.0.0.1:{}", free_port());
    let mut serve = Command::new(program);
    serve.args(["server", "-config", "/dev/null", "-api-bind-addr", &address, "-analytics-opt-out"]);
    serve.args(["-no-self-profiling", "-min-free-space-percentage", "0", "-storage-path", &at("storage")]);
    serve.args(["-adhoc-data-path", &at("adhoc"), "-admin-socket-path", &at("admin.sock")]).args(more);
    serve.env("HTTPS_PROXY", "http://127.0.0.1:9"); // it asks for newer versions of itself, whatever its settings say
    let process = Process::start("pyroscope", folder.path(), &serve);
    let process = process.ready(&format!("http://{address}/healthz"), PATIENCE).await;
    App { address, folder, _process: process }
}

static PYROSCOPE: OnceCell<App> = OnceCell::const_new();

/// The shared server, its own authentication off.
async fn pyroscope() -> Option<&'static App> {
    let program = built("pyroscope")?;
    Some(PYROSCOPE.get_or_init(async || start(&program, &[]).await).await)
}

/// The path with what keeps profiles of the server itself from taking half a minute.
fn asked(path: &str) -> String {
    match path.rsplit('/').next() {
        Some("profile") => format!("{path}?seconds=1"),
        Some("trace") => format!("{path}?seconds=0.01"),
        _ => path.to_owned(),
    }
}

#[test]
fn table_of_pyroscope_is_what_its_source_serves() {
    let Some(source) = built("source") else { return };
    let documented = table::methods(&table::table(PAGE, SERVER));
    let served = pyroscope_source::routes(&source);
    assert!(served.len() > 60, "{served:?}");
    assert_eq!(documented, served, "docs/presets/{PAGE} and what Pyroscope serves");
}

#[test]
fn table_of_pyroscope_1_has_every_procedure_of_its_interface() {
    let Some(interface) = built("api") else { return };
    let rows = table::table(PAGE, "Pyroscope 1.x");
    let is_procedure = |path: &&String| path.split('/').nth(1).is_some_and(|service| service.contains('.'));
    let documented: Vec<String> =
        table::methods(&rows).into_keys().filter(|path| is_procedure(&path)).collect();
    for procedure in pyroscope_source::procedures(&interface) {
        assert!(documented.contains(&procedure), "docs/presets/{PAGE} does not know {procedure}");
    }
}

/// Asks for all that a table has, as each role, and compares the answers with a column.
async fn walk_table(preset: &str, address: &str, heading: &str, column: usize) {
    let mut all = walk::of_table(&table::table(PAGE, heading), column);
    assert!(all.len() > 100, "{heading}: {}", all.len());
    for request in &mut all {
        request.path = asked(&request.path);
    }
    walk::walk(preset, address, &all).await;
}

#[tokio::test]
async fn every_route_of_pyroscope_is_as_its_table_says() {
    let Some(app) = pyroscope().await else { return };
    walk_table(PRESET, &app.address, SERVER, 1).await;
}

#[tokio::test]
async fn every_service_of_pyroscope_1_is_as_its_table_says() {
    let server = Echo::start().await;
    walk_table("pyroscope", &server.address.to_string(), "Pyroscope 1.x", 0).await;
}

/// Whether a cell with Pyroscope's roles names one.
fn lets_in(cell: &str, role: &str) -> bool {
    cell == "anyone" || cell.split(", ").any(|word| word == role)
}

#[test]
fn preset_of_pyroscope_lets_nobody_in_whom_pyroscope_would_not() {
    for row in table::table(PAGE, SERVER) {
        let [own, preset, why] = &row.cells[..] else { panic!("{row:?}") };
        let known = ["anyone", "people", "not tried", "signs in"].contains(&own.as_str())
            || own.split(", ").all(|role| ["Admin", "Agent", "ReadOnly"].contains(&role));
        assert!(known, "no list of roles: {row:?}");
        let (mut laxer, mut stricter) = (own == "Admin" && preset == "anyone", false);
        for (ours, theirs) in
            [("admin", "Admin"), ("member", "ReadOnly"), ("viewer", "ReadOnly"), ("agent", "Agent")]
        {
            let (own, preset) = (lets_in(own, theirs), lets_in(preset, ours));
            laxer |= preset && !own;
            stricter |= own && !preset;
        }
        let theirs_is_off = ["people", "not tried", "signs in"].contains(&own.as_str());
        assert!(!laxer || theirs_is_off, "laxer than Pyroscope: {row:?}");
        assert!(!stricter || !why.is_empty(), "does not say why it differs: {row:?}");
    }
}

/// Through a real nginx that asks, as `doorward snippet` prints it, and through the gateway itself.
#[tokio::test]
async fn both_edges_say_the_same_of_every_route_of_pyroscope() {
    let Some(app) = pyroscope().await else { return };
    let rules = format!("preset = \"{PRESET}\"");
    let more = More { rules: Some(&rules), ..More::default() };
    let door = Door::open_with(Proxy::Nginx, &app.address, more, str::to_owned).await;
    let direct = gateway(PRESET, &app.address, "").await;
    let keys = |gateway: &Gateway| ROLES.map(|role| gateway.key(role, role, &[]).key);
    let (asking, proxying) = (keys(&door.gateway), keys(&direct));
    for (method, path) in table::table(PAGE, SERVER).iter().flat_map(requests) {
        let path = asked(&path);
        for (index, role) in ROLES.iter().chain(&["nobody"]).enumerate() {
            let bearer = asking.get(index).map(|key| format!("Bearer {key}"));
            let headers: Vec<_> = bearer.iter().map(|bearer| ("authorization", bearer.as_str())).collect();
            let key = proxying.get(index).map_or("", String::as_str);
            // A Go server answers 500 to a second profile of its processor until it has put the first one away.
            let is_busy = |status: u16| status == 500 && path.ends_with("/profile?seconds=1");
            let through = wait_for("an answer through nginx", PATIENCE, async || {
                let through = door.send(method.clone(), &path, &headers, "").await;
                (!is_busy(through.status)).then_some(through)
            });
            let through = through.await;
            let own = wait_for("an answer of the gateway", PATIENCE, async || {
                let own = direct.send(method.clone(), &path, key).await;
                (!is_busy(own.status)).then_some(own)
            });
            let own = own.await;
            assert_eq!(through.status, own.status, "{role}: {method} {path}: {through:?} {own:?}");
        }
    }
}

/// The column of the table that says what Pyroscope itself demands.
#[tokio::test]
async fn pyroscope_itself_demands_what_its_table_says() {
    let Some(program) = built("pyroscope") else { return };
    let app = start(&program, &["-auth.internal.enabled", "-auth.ingestion.enabled"]).await;
    let url = format!("http://{}", app.address);
    let send = async |method: Method, path: &str, headers: &[(&str, &str)], body: String| {
        client::send(method, &format!("{url}{path}"), headers, body).await.unwrap()
    };
    let sign_in = async |name: &str, password: &str| {
        let body = json!({ "username": name, "password": base64(password) }).to_string();
        let answer = send(Method::POST, "/login", &[], body).await;
        let cookie = answer.header("set-cookie").split(';').next().unwrap().to_owned();
        assert!(cookie.starts_with("pyroscopeJWT="), "{answer:?}");
        cookie
    };
    let first = sign_in("admin", "admin").await;
    let first = [("cookie", first.as_str())];
    let mut people = Vec::new();
    for role in ["Admin", "Agent", "ReadOnly"] {
        let password = "correct-horse-8";
        let body = json!({ "name": role, "email": format!("{role}@example.com"), "fullName": role, "role": role,
                           "password": base64(password) });
        let made = send(Method::POST, "/api/users", &first, body.to_string()).await;
        assert_eq!(made.status, 201, "{made:?}");
        people.push((role, sign_in(role, password).await));
    }
    let key =
        send(Method::POST, "/api/keys", &first, json!({ "name": "key", "role": "Admin" }).to_string()).await;
    let key = format!("Bearer {}", key.json()["key"].as_str().unwrap());

    for row in table::table(PAGE, SERVER) {
        let cell = row.cells[0].as_str();
        if ["not tried", "signs in"].contains(&cell) {
            continue;
        }
        for (method, path) in requests(&row) {
            let path = asked(&path);
            let refuses = async |headers: &[(&str, &str)]| {
                let answer = send(method.clone(), &path, headers, String::new()).await;
                [401, 403].contains(&answer.status)
            };
            assert_eq!(refuses(&[]).await, cell != "anyone", "nobody: {method} {path} ({cell})");
            for (role, cookie) in &people {
                let expected = !(lets_in(cell, role) || cell == "people");
                assert_eq!(
                    refuses(&[("cookie", cookie)]).await,
                    expected,
                    "{role}: {method} {path} ({cell})"
                );
            }
            if cell == "people" {
                assert!(refuses(&[("authorization", &key)]).await, "a key: {method} {path}");
            }
        }
    }
}

fn base64(text: &str) -> String {
    base64::engine::general_purpose::STANDARD.encode(text)
}

/// Where an application is among those that `/render` knows.
async fn knows(gateway: &Gateway, key: &str, name: &str) -> bool {
    let path = format!("/render?query={name}.cpu&from=now-1h&until=now&format=json&max-nodes=100");
    let answer = gateway.send(Method::GET, &path, key).await;
    assert_eq!((answer.status, answer.refusal()), (200, None), "{answer:?}");
    answer.json()["flamebearer"]["numTicks"].as_u64().unwrap() > 0
}

fn profile(name: &str) -> String {
    format!("/ingest?name={name}.cpu&format=folded&units=samples&sampleRate=100")
}

#[tokio::test]
async fn profile_of_an_agent_is_seen_by_a_viewer_and_by_no_agent() {
    let Some(app) = pyroscope().await else { return };
    let gateway = gateway(PRESET, &app.address, "").await;
    let [_, member, viewer, agent] = ROLES.map(|role| gateway.key(role, role, &[]).key);
    let stacks = "main;work 70\nmain;rest 30\n";

    for (key, name) in [(member.as_str(), "of-a-member"), (&viewer, "of-a-viewer"), ("", "of-nobody")] {
        let answer = gateway.post(Method::POST, &profile(name), key, &[], stacks).await;
        assert!([Some(401), Some(403)].contains(&answer.refusal()), "{name}: {answer:?}");
        assert!(!knows(&gateway, &viewer, name).await, "{name}");
    }
    // Most of its agents know HTTP Basic only, which the preset takes; whose name they say does not matter.
    let basic = format!("Basic {}", base64(&format!("any:{agent}")));
    for (name, header) in [("by-bearer", format!("Bearer {agent}")), ("by-basic", basic)] {
        let headers = [("authorization", header.as_str())];
        let answer = gateway.post(Method::POST, &profile(name), "", &headers, stacks).await;
        assert_eq!((answer.status, answer.refusal()), (200, None), "{answer:?}");
        let what = format!("profile sent {name}");
        wait_for(&what, PATIENCE, async || knows(&gateway, &viewer, name).await.then_some(())).await;
    }
    assert_eq!(gateway.send(Method::GET, "/render?query=by-bearer.cpu", &agent).await.refusal(), Some(403));
}

/// Another Pyroscope is its agent where it writes, and its viewer where it reads.
#[tokio::test]
async fn another_pyroscope_writes_as_an_agent_and_reads_as_a_viewer() {
    let Some(app) = pyroscope().await else { return };
    let program = built("pyroscope").unwrap();
    let gateway = gateway(PRESET, &app.address, "").await;
    let [_, _, viewer, agent] = ROLES.map(|role| gateway.key(role, role, &[]).key);
    let written = tempfile::tempdir().unwrap();
    let writing = async |key: &str, name: &str| {
        let file = written.path().join(format!("{name}.yml"));
        let target = format!("{{ address: '{}', auth-token: '{key}' }}", gateway.url);
        std::fs::write(&file, format!("remote-write:\n  enabled: true\n  targets:\n    gateway: {target}\n"))
            .unwrap();
        let other = start(&program, &["-config", file.to_str().unwrap()]).await;
        let url = format!("http://{}{}", other.address, profile(name));
        let answer = client::send(Method::POST, &url, &[], "main;work 100\n").await.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        other
    };
    let _allowed = writing(&agent, "written").await;
    wait_for("profile written", PATIENCE, async || knows(&gateway, &viewer, "written").await.then_some(()))
        .await;
    let refused = writing(&viewer, "refused").await;
    wait_for("refusal told", PATIENCE, async || {
        std::fs::read_to_string(refused.folder.path().join("pyroscope.log"))
            .unwrap()
            .contains("403")
            .then_some(())
    })
    .await;
    assert!(!knows(&gateway, &viewer, "refused").await);

    for (key, status) in [(&viewer, 200), (&agent, 403)] {
        let reading =
            ["-remote-read.enabled", "-remote-read.address", &gateway.url, "-remote-read.auth-token", key];
        let other = start(&program, &reading).await;
        let url =
            format!("http://{}/render?query=written.cpu&from=now-1h&until=now&format=json", other.address);
        let answer = client::get(&url).await.unwrap();
        assert_eq!(answer.status, status, "{answer:?}");
    }
}

#[tokio::test]
async fn agent_of_pyroscope_1_pushes_with_an_agents_key_only() {
    let server = Echo::start().await;
    let gateway = gateway("pyroscope", &server.address.to_string(), "").await;
    let profile = async |key: &str| {
        let mut run = program("pyroscope_agent.py");
        run.args([&gateway.url, key]);
        // The stand-in answers on this thread meanwhile.
        said(&tokio::task::spawn_blocking(move || run.output().unwrap()).await.unwrap());
    };

    for (role, arrives) in [("agent", true), ("viewer", false), ("member", false)] {
        profile(&gateway.key(role, role, &[]).key).await;
        let seen = server.take();
        assert_eq!(!seen.is_empty(), arrives, "{role}: {seen:?}");
        for request in seen {
            assert_eq!(
                (request.method.as_str(), request.target.as_str()),
                ("POST", "/push.v1.PusherService/Push")
            );
            assert_eq!(request.all("authorization"), Vec::<&str>::new(), "the key stays with the gateway");
        }
    }
    profile("none").await;
    assert!(server.take().is_empty(), "pushed without a key");
}
