//! The real executable, as an operator meets it: commands, exit codes, signals, files.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod beside;
mod copies;
mod killed;
mod newcomer;
mod reload;
mod start;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

const DOORWARD: &str = env!("CARGO_BIN_EXE_doorward");
/// Long enough for a loaded machine; nothing here waits for it to pass.
const PATIENCE: Duration = Duration::from_mins(1);
const PASSWORD: &str = "seven quiet herons at dawn";

/// A folder with settings in it; commands run inside.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new(toml: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("doorward.toml"), toml).unwrap();
        Self { folder }
    }

    /// A gateway for `upstream` on a free port; `more` goes to the top of the settings.
    fn with_upstream(upstream: &str, more: &str) -> Self {
        Self::new(&format!(
            "public_url = \"http://localhost\"\n{more}\n[server]\nlisten = [\"127.0.0.1:0\"]\nworkers = 1\ndrain = \"2s\"\n\
             [[upstreams]]\nname = \"app\"\nurl = \"{upstream}\"\n[[routes]]\nupstream = \"app\"\n"
        ))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(DOORWARD);
        command.args(arguments).current_dir(self.folder.path()).env_clear();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).stdin(Stdio::null()).output().unwrap()
    }

    fn run_with_input(&self, arguments: &[&str], input: &str) -> Output {
        let mut child = self.command(arguments).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    /// A command that succeeds and answers in JSON.
    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[arguments, &["--json"]].concat());
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The text and the id of a new key, in a database that is made if there is none.
    fn key(&self, name: &str, role: &str) -> (String, String) {
        self.json(&["store", "create"]);
        let made = self.json(&["key", "create", name, "--role", role]);
        (made["key"].as_str().unwrap().to_owned(), made["id"].as_str().unwrap().to_owned())
    }

    fn serve(&self) -> Gateway {
        self.serve_with(&[])
    }

    fn serve_with(&self, environment: &[(&str, &str)]) -> Gateway {
        let mut command = self.command(&["serve"]);
        command.envs(environment.iter().copied());
        Self::begin(command)
    }

    fn serve_with_arguments(&self, arguments: &[&str]) -> Gateway {
        Self::begin(self.command(&[&["serve"], arguments].concat()))
    }

    fn begin(mut command: Command) -> Gateway {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        let said = Said::listen(child.stderr.take().unwrap());
        // From here on it ends with the test, also if it never says where it listens.
        let mut gateway = Gateway { child, said, address: SocketAddr::from(([127, 0, 0, 1], 0)) };
        let line = gateway.said.wait_for("listening on ");
        let address = line.split("listening on ").nth(1).unwrap();
        let end =
            address.find(|c: char| c != ':' && c != '.' && !c.is_ascii_digit()).unwrap_or(address.len());
        gateway.address = address[..end].parse().unwrap();
        gateway.said.wait_for("ready: ");
        gateway
    }
}

/// What a process says on standard error, as it comes.
#[derive(Clone)]
struct Said(Arc<(Mutex<Heard>, Condvar)>);

#[derive(Default)]
struct Heard {
    lines: Vec<String>,
    ended: bool,
}

impl Said {
    fn listen(stream: impl std::io::Read + Send + 'static) -> Self {
        let said = Self(Arc::default());
        let writer = said.clone();
        std::thread::spawn(move || {
            let (heard, news) = &*writer.0;
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                heard.lock().unwrap().lines.push(line);
                news.notify_all();
            }
            heard.lock().unwrap().ended = true;
            news.notify_all();
        });
        said
    }

    /// The first line with this in it.
    fn wait_for(&self, text: &str) -> String {
        let (heard, news) = &*self.0;
        let found = |lines: &[String]| lines.iter().find(|line| line.contains(text)).cloned();
        let guard = heard.lock().unwrap();
        let waiting = |heard: &mut Heard| !heard.ended && found(&heard.lines).is_none();
        let (guard, _) = news.wait_timeout_while(guard, PATIENCE, waiting).unwrap();
        found(&guard.lines).unwrap_or_else(|| panic!("{text:?} was never said:\n{}", guard.lines.join("\n")))
    }

    /// Until the process has closed it, as one that ends does.
    fn wait_for_the_end(&self) {
        let (heard, news) = &*self.0;
        let (guard, late) =
            news.wait_timeout_while(heard.lock().unwrap(), PATIENCE, |heard| !heard.ended).unwrap();
        assert!(!late.timed_out(), "still running:\n{}", guard.lines.join("\n"));
    }

    fn everything(&self) -> String {
        self.0.0.lock().unwrap().lines.join("\n")
    }
}

/// A running gateway; killed by its id when dropped.
struct Gateway {
    child: Child,
    said: Said,
    address: SocketAddr,
}

impl Gateway {
    fn get(&self, path: &str, headers: &str) -> Answer {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n"))
    }

    fn get_with_key(&self, path: &str, key: &str) -> Answer {
        self.get(path, &format!("Authorization: Bearer {key}\r\n"))
    }

    fn post_form(&self, path: &str, headers: &str, fields: &[(&str, &str)]) -> Answer {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.send(&format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\nConnection: close\r\n{headers}\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ))
    }

    fn sign_in(&self, name: &str, password: &str) -> Answer {
        self.post_form("/_doorward/login", "", &[("username", name), ("password", password), ("rd", "/")])
    }

    fn send(&self, request: &str) -> Answer {
        let mut stream = self.begin(request);
        Answer::read(&mut stream)
    }

    /// Sends a request and leaves the answer in the stream.
    fn begin(&self, request: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        stream
    }

    fn terminate(&self) {
        self.signal("-TERM");
    }

    fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }

    fn wait(&mut self) -> ExitStatus {
        self.said.wait_for_the_end();
        self.child.wait().unwrap()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // One that has ended already cannot be killed, and need not be.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn read(stream: &mut TcpStream) -> Self {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        Self::of(&bytes)
    }

    fn of(bytes: &[u8]) -> Self {
        let text = text(bytes);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        Self { status, head: head.to_owned(), body: body.to_owned() }
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The session cookie that came, as a header to send back.
    fn cookie(&self) -> String {
        let set = self.header("set-cookie").unwrap_or_else(|| panic!("no cookie: {}", self.head));
        format!("Cookie: {}\r\n", set.split(';').next().unwrap())
    }
}

/// An upstream that says when a request has arrived and answers when it is told to.
fn slow_upstream() -> (SocketAddr, Receiver<()>, Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (arrived, arrivals) = channel();
    let (go, going) = channel::<()>();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        arrived.send(()).unwrap();
        if going.recv().is_ok() {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\nfinished late").unwrap();
        }
    });
    (address, arrivals, go)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config.example.toml")
}

#[test]
fn help_of_every_command_shows_an_example() {
    let place = Place::new("");
    let mut waiting: Vec<Vec<String>> = vec![Vec::new()];
    let mut seen = 0;
    while let Some(path) = waiting.pop() {
        let mut arguments: Vec<&str> = path.iter().map(String::as_str).collect();
        arguments.push("--help");
        let output = place.run(&arguments);
        let help = text(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{path:?}");
        assert!(help.contains("Example") && help.contains("\n  doorward "), "{path:?}:\n{help}");
        seen += 1;
        let commands = help.split("Commands:\n").nth(1).unwrap_or_default();
        for line in commands.lines().take_while(|line| !line.is_empty()) {
            let name = line.split_whitespace().next().unwrap_or_default();
            if line.starts_with("  ") && !line.starts_with("   ") && name != "help" {
                waiting.push([path.clone(), vec![name.to_owned()]].concat());
            }
        }
    }
    assert!(seen >= 18, "only {seen} commands were found");
}

#[test]
fn check_names_ten_mistakes_each_with_its_line_and_a_remedy() {
    let mistakes = [
        ("public_url = \"http://app.example.com\"", "public_url"),
        ("servr = {}", "servr"),
        ("server.listen = [\"here\"]", "server.listen[0]"),
        ("server.workers = \"four\"", "server.workers"),
        ("server.trusted_proxies = [\"0.0.0.0/0\"]", "server.trusted_proxies[0]"),
        ("server.drain = \"soon\"", "server.drain"),
        ("store.url = \"mysql://x\"", "store.url"),
        ("session.cookie_same_site = \"none\"", "session.cookie_same_site"),
        ("upstreams = [{ name = \"app\", url = \"ftp://x\" }]", "upstreams[0].url"),
        ("routes = [{ upstream = \"ap\" }]", "routes[0].upstream"),
    ];
    let lines: Vec<&str> = mistakes.iter().map(|(line, _)| *line).collect();
    let place = Place::new(&lines.join("\n"));
    let output = place.run(&["check"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let said = text(&output.stderr);
    for (index, (_, path)) in mistakes.iter().enumerate() {
        assert!(said.contains(&format!("doorward.toml:{}  {path}: ", index + 1)), "{path}:\n{said}");
    }
    assert!(said.contains("the settings have 10 problems"), "{said}");

    let output = place.run(&["check", "--json"]);
    assert_eq!(output.status.code(), Some(2));
    let value: Value = serde_json::from_slice(&output.stderr).unwrap();
    let problems = value["problems"].as_array().unwrap();
    assert_eq!(problems.len(), 10);
    for (index, problem) in problems.iter().enumerate() {
        assert_eq!(problem["line"], index + 1, "{problem}");
        assert!(!problem["remedy"].as_str().unwrap().is_empty(), "{problem}");
    }
}

/// G14: rules that are not what they seem.
#[test]
fn check_prints_the_rules_in_effect_of_the_shipped_example() {
    let place = Place::new("");
    let example = example();
    let arguments = ["check", "--config", example.to_str().unwrap()];
    let output = place.run(&arguments);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let said = text(&output.stdout);
    for line in [
        "route /: any host, / -> app (built-in sample)",
        "1. standard-reads: methods read -> allow viewer",
        "2. standard-writes: methods write websocket -> allow member",
        "otherwise: refused",
    ] {
        assert!(said.contains(line), "{line}:\n{said}");
    }
    let value = place.json(&arguments);
    assert_eq!(value["routes"][0]["rules"][1]["allow"][0], "member");
}

#[test]
fn a_stop_signal_lets_an_open_request_finish_and_ends_with_zero() {
    let (upstream, arrived, go) = slow_upstream();
    let place = Place::with_upstream(&format!("http://{upstream}"), "");
    let (key, _) = place.key("reader", "viewer");
    let mut gateway = place.serve();
    let mut open = gateway
        .begin(&format!("GET /slow HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n\r\n"));
    arrived.recv_timeout(PATIENCE).unwrap();
    gateway.terminate();
    gateway.said.wait_for("stopping");
    go.send(()).unwrap();
    let answer = Answer::read(&mut open);
    assert_eq!((answer.status, answer.body.as_str()), (200, "finished late"));
    assert_eq!(gateway.wait().code(), Some(0));
    assert!(!gateway.said.everything().contains("are cut"), "{}", gateway.said.everything());
    assert!(TcpStream::connect(gateway.address).is_err());
}

#[test]
fn a_request_that_does_not_end_is_cut_at_the_deadline() {
    let (upstream, arrived, _go) = slow_upstream();
    let place = Place::with_upstream(&format!("http://{upstream}"), "");
    let (key, _) = place.key("reader", "viewer");
    let mut gateway = place.serve();
    let mut open = gateway
        .begin(&format!("GET /slow HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n\r\n"));
    arrived.recv_timeout(PATIENCE).unwrap();
    let told = Instant::now();
    gateway.terminate();
    assert_eq!(gateway.wait().code(), Some(0));
    assert!(told.elapsed() >= Duration::from_secs(2), "the drain time was not given");
    assert!(told.elapsed() < Duration::from_secs(20), "{:?}", told.elapsed());
    let mut rest = Vec::new();
    let _ = open.read_to_end(&mut rest);
    assert!(!text(&rest).contains("200 OK"), "{}", text(&rest));
    gateway.said.wait_for("are cut");
}

#[test]
fn a_store_that_cannot_be_opened_is_named() {
    let place = Place::with_upstream("builtin:sample", "store.url = \"sqlite:/nowhere/at/all/doorward.db\"");
    for (command, code, told) in [
        (&["serve"][..], 1, "cannot create the database file /nowhere/at/all/doorward.db"),
        (&["store", "create"], 1, "cannot create the database file /nowhere/at/all/doorward.db"),
        (&["user", "list"], 2, "there is no database at /nowhere/at/all/doorward.db"),
        (&["key", "list", "--json"], 2, "there is no database at /nowhere/at/all/doorward.db"),
    ] {
        let output = place.run(command);
        assert_eq!(output.status.code(), Some(code), "{command:?}: {output:?}");
        let said = text(&output.stderr);
        assert!(said.contains(told), "{said}");
    }
}

#[test]
fn healthcheck_tells_a_running_gateway_from_none() {
    let place = Place::with_upstream("builtin:sample", "");
    let gateway = place.serve();
    let url = format!("http://{}", gateway.address);
    let output = place.run(&["healthcheck", "--url", &url]);
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(0), "ready\n"), "{output:?}");
    drop(gateway);
    let output = place.run(&["healthcheck", "--url", &url, "--json"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let value: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert!(value["error"].is_string());
}

#[test]
fn each_use_of_a_break_glass_token_is_told_without_the_token() {
    const TOKEN: &str = "q7Zt0Vb3Xn9Ks2Lw8Rf4Hd6Jy1Mg5Pc+/=";
    let glass = "[[break_glass]]\nname = \"on-call\"\ntoken_file = \"glass\"\n";
    let place = Place::with_upstream("builtin:sample", glass);
    fs::write(place.path("glass"), format!("{TOKEN}\n")).unwrap();
    fs::set_permissions(place.path("glass"), fs::Permissions::from_mode(0o600)).unwrap();
    let gateway = place.serve();
    assert_eq!(gateway.get_with_key("/admin?x=1", TOKEN).status, 200);
    let told = gateway.said.wait_for("a break-glass token was used");
    for part in ["WARN", "break-glass:on-call", "127.0.0.1", "/admin"] {
        assert!(told.contains(part), "{told}");
    }
    assert_eq!(gateway.get_with_key("/second", TOKEN).status, 404);
    gateway.said.wait_for("/second");
    assert!(!gateway.said.everything().contains(&TOKEN[..20]), "{}", gateway.said.everything());
    assert_eq!(gateway.get_with_key("/", &TOKEN[1..]).status, 401);
    let uses = || {
        let events = place.json(&["audit", "list"]);
        let rows = events["events"].as_array().unwrap().iter();
        rows.filter(|row| row["event"] == "break-glass").cloned().collect::<Vec<_>>()
    };
    let deadline = Instant::now() + PATIENCE;
    while uses().is_empty() {
        assert!(Instant::now() < deadline, "no row in the trail");
    }
    let rows = uses();
    assert_eq!(rows[0]["detail"]["token"], "on-call", "{rows:?}");
    assert_eq!(rows[0]["client"], "127.0.0.1", "{rows:?}");
    assert!(rows[0]["request_id"].as_str().is_some_and(|id| !id.is_empty()), "{rows:?}");
}

/// G02: a first password that opens the door again.
#[test]
fn the_admin_password_from_the_environment_opens_the_door_once_and_must_be_changed() {
    let place = Place::with_upstream("builtin:sample", "");
    let gateway = place.serve_with(&[("DOORWARD_ADMIN_PASSWORD", PASSWORD)]);
    gateway.said.wait_for("sign in as `admin`");
    let signed_in = gateway.sign_in("admin", PASSWORD);
    assert_eq!(signed_in.status, 303, "{signed_in:?}");
    assert!(signed_in.header("location").unwrap().starts_with("/_doorward/password"), "{signed_in:?}");
    let cookie = signed_in.cookie();
    let held_back = gateway.get("/", &cookie);
    assert_eq!(held_back.status, 403, "{held_back:?}");
    let fields = [
        ("current", PASSWORD),
        ("new", "eight loud geese at dusk"),
        ("repeat", "eight loud geese at dusk"),
        ("rd", "/"),
    ];
    let changed = gateway.post_form("/_doorward/password", &cookie, &fields);
    assert_eq!(changed.status, 303, "{changed:?}");
    assert_eq!(gateway.get("/", &changed.cookie()).status, 200);
    assert!(!gateway.said.everything().contains(PASSWORD));
    drop(gateway);
    let gateway = place.serve_with(&[("DOORWARD_ADMIN_PASSWORD", PASSWORD)]);
    assert_ne!(gateway.sign_in("admin", PASSWORD).status, 303, "with users there, it is not used");
}

/// L22: a fresh installation.
#[test]
fn the_setup_link_makes_the_first_admin_once() {
    let place = Place::with_upstream("builtin:sample", "");
    let gateway = place.serve();
    let link = gateway.said.wait_for("/_doorward/setup?token=");
    let token = link.split("token=").nth(1).unwrap().trim();
    let fields = [("token", token), ("username", "root"), ("password", PASSWORD), ("repeat", PASSWORD)];
    assert_ne!(
        gateway.post_form("/_doorward/setup", "", &[("token", "x"), fields[1], fields[2], fields[3]]).status,
        303
    );
    let made = gateway.post_form("/_doorward/setup", "", &fields);
    assert_eq!(made.status, 303, "{made:?}");
    assert_eq!(gateway.get("/", &made.cookie()).status, 200);
    assert_ne!(gateway.post_form("/_doorward/setup", "", &fields).status, 303);
}

/// T01: secrets in the files of the database.
/// T02: files that others can read.
#[test]
fn what_is_kept_on_disk_is_for_its_owner_only_and_holds_no_plain_secret() {
    let place = Place::with_upstream("builtin:sample", "");
    let gateway = place.serve();
    let (key, _) = place.key("reader", "viewer");
    let added =
        place.run_with_input(&["user", "add", "alice", "--role", "viewer", "--password-stdin"], PASSWORD);
    assert!(added.status.success());
    let cookie = gateway.sign_in("alice", PASSWORD).cookie();
    let session = cookie.trim().split_once('=').unwrap().1.to_owned();
    let mut files = 0;
    for name in ["doorward.db", "doorward.db-wal", "doorward.db-shm", "doorward.db.secret"] {
        let Ok(metadata) = fs::metadata(place.path(name)) else { continue };
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600, "{name}");
        let bytes = fs::read(place.path(name)).unwrap();
        for secret in [key.as_str(), PASSWORD, &session] {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "a secret is in {name}");
        }
        files += 1;
    }
    assert!(files >= 2, "the files were not found");
    let said = gateway.said.everything();
    assert!(!said.contains(&key) && !said.contains(PASSWORD) && !said.contains(&session), "{said}");
}

/// E05: an address with a password that does not work.
#[test]
fn secrets_are_in_no_error() {
    const SECRET: &str = "hunter2hunter2";
    let place = Place::new(&format!(
        "secret = \"{SECRET}\"\n[store]\nurl = \"mysql://app:{SECRET}@localhost/x\"\n[login]\nadmin_password = \"{SECRET}\"\n"
    ));
    for arguments in [&["check"][..], &["check", "--json"], &["serve"], &["user", "list", "--json"]] {
        let output = place.run(arguments);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let said = text(&output.stderr) + &text(&output.stdout);
        assert!(!said.contains(SECRET), "{said}");
    }
    let place = Place::with_upstream(
        "builtin:sample",
        &format!("store.url = \"postgres://app:{SECRET}@127.0.0.1:1/x\""),
    );
    fs::set_permissions(place.path("doorward.toml"), fs::Permissions::from_mode(0o600)).unwrap();
    for arguments in [&["user", "list"][..], &["user", "list", "--json"]] {
        let output = place.run(arguments);
        assert!(!output.status.success(), "{output:?}");
        let said = text(&output.stderr) + &text(&output.stdout);
        assert!(!said.is_empty() && !said.contains(SECRET), "{said}");
    }
}

#[test]
fn no_command_takes_a_password_as_an_argument() {
    let place = Place::with_upstream("builtin:sample", "");
    for arguments in [
        &["user", "add", "alice", "--password", PASSWORD][..],
        &["user", "reset-password", "alice", PASSWORD],
        &["serve", "--admin-password", PASSWORD],
    ] {
        assert_eq!(place.run(arguments).status.code(), Some(2), "{arguments:?}");
    }
    assert!(!place.path("doorward.db").exists());
}
