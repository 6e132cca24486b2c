//! git over HTTP: it presents a password only where it is asked for one by Basic.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::proxies::door::{Door, More, Proxy, system};
use crate::support::gateway::Gateway;
use crate::support::process::Process;
use crate::support::{PATIENCE, free_port, repository};

const RECIPE: &str = "Git over https";

/// Where it has the application.
const APP: &str = "127.0.0.1:3000";

/// A repository with one commit behind git-http-backend.
struct Server {
    address: String,
    folder: TempDir,
    process: Process,
}

impl Server {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let bare = folder.path().join("repositories/git/app.git");
        std::fs::create_dir_all(&bare).unwrap();
        done(git(folder.path()).args(["init", "--quiet", "--bare", "--initial-branch=main"]).arg(&bare));
        let first = folder.path().join("first");
        done(git(folder.path()).args(["init", "--quiet", "--initial-branch=main"]).arg(&first));
        commit(&first, "one");
        done(git(&first).args(["push", "--quiet"]).arg(&bare).arg("main"));
        let (port, root) = (free_port(), folder.path().join("repositories"));
        let mut command = Command::new("python3");
        command.arg(repository("tests/peers/recipes/git_server.py")).arg(port.to_string());
        command.arg(exec_path().join("git-http-backend")).arg(&root);
        let process = Process::start("git-http-backend", folder.path(), &command);
        let address = format!("127.0.0.1:{port}");
        let ready = format!("http://{address}/git/app.git/HEAD");
        Self { process: process.ready(&ready, PATIENCE).await, address, folder }
    }

    /// The newest commit's subject.
    fn newest(&self) -> String {
        let bare = self.folder.path().join("repositories/git/app.git");
        let shown = git(&bare).args(["log", "-1", "--format=%s", "main"]).output().unwrap();
        String::from_utf8(shown.stdout).unwrap().trim().to_owned()
    }
}

fn exec_path() -> PathBuf {
    let told = Command::new("git").arg("--exec-path").output().unwrap();
    PathBuf::from(String::from_utf8(told.stdout).unwrap().trim())
}

/// git, without anything of anyone who runs the tests.
fn git(at: &Path) -> Command {
    let mut command = Command::new("git");
    command.current_dir(at).env("HOME", at).env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_TERMINAL_PROMPT", "0");
    for role in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{role}_NAME"), "t").env(format!("GIT_{role}_EMAIL"), "t@example.org");
    }
    command
}

fn done(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
}

fn commit(tree: &Path, subject: &str) {
    std::fs::write(tree.join(subject), subject.repeat(400_000)).unwrap();
    done(git(tree).args(["add", "."]));
    done(git(tree).args(["commit", "--quiet", "-m", subject]));
}

/// A folder for one caller, whose git knows a key as people's do: by a credential helper.
struct Caller {
    folder: TempDir,
    url: String,
}

impl Caller {
    fn new(url: &str, key: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("{url}/git/app.git");
        let known = url.replacen("http://", &format!("http://anybody:{key}@"), 1);
        std::fs::write(folder.path().join("credentials"), known).unwrap();
        Self { folder, url }
    }

    fn run(&self, at: &str, arguments: &[&str]) -> Output {
        let mut command = git(&self.folder.path().join(at));
        let store = self.folder.path().join("credentials");
        command.args(["-c", &format!("credential.helper=store --file={}", store.display())]);
        // Larger bodies are sent in chunks.
        command.args(["-c", "http.postBuffer=65536"]).args(arguments).output().unwrap()
    }

    fn clones(&self) -> Output {
        self.run(".", &["clone", "--quiet", &self.url, "app"])
    }

    fn pushes(&self, subject: &str) -> Output {
        commit(&self.folder.path().join("app"), subject);
        self.run("app", &["push", "--quiet", "origin", "main"])
    }
}

/// Who may clone clones, and who may push pushes.
fn try_everything(server: &Server, gateway: &Gateway, url: &str) {
    let (viewer, member) = (gateway.key("reader", "viewer", &[]).key, gateway.key("ci", "member", &[]).key);
    let nobody = Caller::new(url, "wrong").clones();
    let told = String::from_utf8_lossy(&nobody.stderr).into_owned();
    assert!(!nobody.status.success() && told.contains("Authentication failed"), "{told}");

    let reader = Caller::new(url, &viewer);
    let cloned = reader.clones();
    assert!(cloned.status.success(), "{cloned:?}");
    assert!(reader.folder.path().join("app/one").exists());
    let refused = reader.pushes("two");
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && told.contains("403"), "{told}");
    assert_eq!(server.newest(), "one");
    let asked = |service: &str| {
        let mut ask = Command::new("curl");
        ask.args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "-u", &format!("x:{viewer}")]);
        let told = ask.arg(format!("{url}/git/app.git/info/refs?{service}")).output().unwrap();
        String::from_utf8(told.stdout).unwrap()
    };
    assert_eq!(asked("service=git-upload-pack"), "200");
    for service in ["service=git-receive-pack", "servic%65=git-receive-pack", "x&service=git-receive-pack"] {
        assert_eq!(asked(service), "403", "{service}: refused before anything is packed");
    }

    let ci = Caller::new(url, &member);
    assert!(ci.clones().status.success());
    let pushed = ci.pushes("three");
    assert!(pushed.status.success(), "{pushed:?}");
    assert_eq!(server.newest(), "three");
    let log = server.process.output();
    assert!(!log.contains("LEAK"), "a credential reached the application: {log}");
}

#[tokio::test]
async fn git_clones_and_pushes_through_the_gateway() {
    let server = Server::start().await;
    let gateway = super::gateway(RECIPE, &[(APP, &server.address)]).await;
    try_everything(&server, &gateway, &gateway.url);
}

/// Apache with git's own program, which is told the name as the recipe says.
#[tokio::test]
async fn git_pushes_to_apache_as_the_page_sets_it_up() {
    let server = Server::start().await;
    let (at, address) = (server.folder.path().display(), format!("127.0.0.1:{}", free_port()));
    let modules: String = ["mpm_event", "authz_core", "alias", "env", "setenvif", "cgid"]
        .iter()
        .map(|name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"))
        .collect();
    let text = format!(
        "ServerRoot {at}\nPidFile {at}/pid\nListen {address}\nServerName 127.0.0.1\n{modules}User nobody\nGroup nogroup\n\
         ScriptSock {at}/cgi\nErrorLog {at}/error.log\nSetEnv GIT_PROJECT_ROOT {at}/repositories\nSetEnv GIT_HTTP_EXPORT_ALL 1\n\
         SetEnv GIT_CONFIG_COUNT 1\nSetEnv GIT_CONFIG_KEY_0 safe.directory\nSetEnv GIT_CONFIG_VALUE_0 *\n\
         ScriptAlias / {}/\n<Location />\nRequire all granted\n</Location>\n{}",
        exec_path().join("git-http-backend").display(),
        super::block(RECIPE, "apache", &[]),
    );
    std::fs::write(server.folder.path().join("apache.conf"), text).unwrap();
    // Apache's programs run as anonymous where the tests run as root.
    done(Command::new("chmod").args(["-R", "a+rwX"]).arg(server.folder.path()));
    let mut command = Command::new(system("apache2"));
    command.arg("-f").arg(server.folder.path().join("apache.conf")).arg("-DFOREGROUND");
    let apache = Process::start("apache2", server.folder.path(), &command);
    let _apache = apache.ready(&format!("http://{address}/git/app.git/HEAD"), PATIENCE).await;

    let gateway = super::gateway(RECIPE, &[(APP, &address)]).await;
    let ci = Caller::new(&gateway.url, &gateway.key("ci", "member", &[]).key);
    assert!(ci.clones().status.success());
    let pushed = ci.pushes("two");
    assert!(pushed.status.success(), "{pushed:?}");
    assert_eq!(server.newest(), "two");
    // Past the gateway nobody has a name.
    let around = Caller::new(&format!("http://{address}"), "none");
    assert!(around.clones().status.success() && !around.pushes("three").status.success());
    assert_eq!(server.newest(), "two");
}

async fn through(proxy: Proxy) {
    let server = Server::start().await;
    let settings = super::block(RECIPE, "toml", &[(APP, &server.address)]);
    let more = More { sections: &settings, ..More::default() };
    let door = Door::open_with(proxy, &server.address, more, str::to_owned).await;
    try_everything(&server, &door.gateway, &door.url);
}

#[tokio::test]
async fn git_clones_and_pushes_through_nginx() {
    through(Proxy::Nginx).await;
}

#[tokio::test]
async fn git_clones_and_pushes_through_traefik() {
    through(Proxy::Traefik).await;
}

#[tokio::test]
async fn git_clones_and_pushes_through_caddy() {
    through(Proxy::Caddy).await;
}

#[tokio::test]
async fn git_clones_and_pushes_through_haproxy() {
    through(Proxy::Haproxy).await;
}

#[tokio::test]
async fn git_clones_and_pushes_through_envoy() {
    through(Proxy::Envoy).await;
}

#[tokio::test]
async fn git_clones_and_pushes_through_envoy_over_grpc() {
    through(Proxy::EnvoyGrpc).await;
}
