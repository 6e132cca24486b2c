//! The real executable, where a test looks at the process itself.

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use doorward::app;
use doorward::config::{SameSite, SessionConfig};
use doorward::model::api_key::KeyScope;
use doorward::model::role::Role;
use doorward::model::secret::Secret;
use doorward::model::time::{Clock, SystemClock};
use doorward::service::accounts::NewUser;
use doorward::service::admin::AdminProof;
use doorward::service::api_keys::NewKey;
use doorward::service::composition::{ServiceConfig, Services};
use doorward::service::identities::ReservedNames;
use doorward::store::Store;
use tempfile::TempDir;

use super::gateway::PASSWORD;

/// How the process is started.
#[derive(Clone, Copy)]
enum Start<'s> {
    Plain,
    /// With a listening socket under a name.
    Inherited(&'s TcpListener, &'s str),
    /// No file grows beyond so many kibibytes.
    FullDisk(u32),
    /// So many descriptors may be open.
    Descriptors(u32),
    /// Telling everything it ever tells.
    Talkative,
    /// Telling it in JSON.
    Json,
}

/// A running `doorward serve`; killed when dropped.
pub struct Process {
    pub address: SocketAddr,
    child: Child,
    folder: Option<TempDir>,
    /// Where it tells its service manager how it is.
    manager: Option<UnixDatagram>,
    said: Arc<Mutex<String>>,
}

impl Process {
    pub fn serve(upstream: &str, routes: &str) -> Self {
        Self::run(tempfile::tempdir().unwrap(), upstream, routes, Start::Plain)
    }

    /// At the most talkative level of its log.
    pub fn serve_talkative(upstream: &str, routes: &str) -> Self {
        Self::run(tempfile::tempdir().unwrap(), upstream, routes, Start::Talkative)
    }

    /// Its log in JSON.
    pub fn serve_in_json(upstream: &str, routes: &str) -> Self {
        Self::run(tempfile::tempdir().unwrap(), upstream, routes, Start::Json)
    }

    /// As a service manager starts it: with a listening socket under a name.
    pub fn serve_inherited(socket: &TcpListener, name: &str, upstream: &str, routes: &str) -> Self {
        Self::run(tempfile::tempdir().unwrap(), upstream, routes, Start::Inherited(socket, name))
    }

    /// Stops the process properly, waits for its end and starts another on the same socket and folder.
    pub fn replace_inherited(
        mut self,
        socket: &TcpListener,
        name: &str,
        upstream: &str,
        routes: &str,
    ) -> Self {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        assert!(self.child.wait().unwrap().success());
        assert_eq!(self.told(), "STOPPING=1\n");
        let folder = self.folder.take().expect("the folder is there until the drop");
        Self::run(folder, upstream, routes, Start::Inherited(socket, name))
    }

    /// As on a disk that is nearly full: no file grows beyond `kibibytes`.
    pub fn serve_with_full_disk(upstream: &str, routes: &str, kibibytes: u32) -> Self {
        Self::run(tempfile::tempdir().unwrap(), upstream, routes, Start::FullDisk(kibibytes))
    }

    /// Where no more than `most` descriptors may be open.
    pub fn serve_with_descriptors(upstream: &str, routes: &str, most: u32) -> Self {
        Self::run(tempfile::tempdir().unwrap(), upstream, routes, Start::Descriptors(most))
    }

    /// Ends the process without warning and starts another over the same folder.
    pub fn restart(mut self, upstream: &str, routes: &str) -> Self {
        self.kill();
        let folder = self.folder.take().expect("the folder is there until the drop");
        Self::run(folder, upstream, routes, Start::Plain)
    }

    fn run(folder: TempDir, upstream: &str, routes: &str, start: Start<'_>) -> Self {
        let database = folder.path().join("doorward.db");
        let file = folder.path().join("doorward.toml");
        let listen = match start {
            Start::Inherited(_, name) => format!("systemd:{name}"),
            _ => "127.0.0.1:0".to_owned(),
        };
        let level = if matches!(start, Start::Talkative) { "log.level = \"trace\"\n" } else { "" };
        let format = if matches!(start, Start::Json) { "json" } else { "text" };
        let text = format!(
            "public_url = \"http://localhost\"\nserver.listen = [\"{listen}\"]\nserver.workers = 2\n\
             store.url = \"sqlite:{}\"\nlog.format = \"{format}\"\n{level}[[upstreams]]\nname = \"app\"\nurl = \"{upstream}\"\n{routes}",
            database.display()
        );
        std::fs::write(&file, text).unwrap();
        let binary = env!("CARGO_BIN_EXE_doorward");
        let mut command = match start {
            Start::Plain | Start::Talkative | Start::Json => Command::new(binary),
            Start::Inherited(socket, name) => {
                // The shell's id is the gateway's, since it becomes the gateway.
                let mut shell = Command::new("bash");
                let script = "LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" \"$@\" 3<&0 </dev/null";
                shell.args(["-c", script, binary]).env("LISTEN_FDNAMES", name);
                shell.stdin(OwnedFd::from(socket.try_clone().unwrap()));
                shell
            }
            Start::FullDisk(kibibytes) => {
                // Without the trap the first write too far would end the process, as no full disk does.
                let mut shell = Command::new("bash");
                let script = format!("trap '' XFSZ; ulimit -f {kibibytes}; exec \"$0\" \"$@\"");
                shell.args(["-c", &script, binary]);
                shell
            }
            Start::Descriptors(most) => {
                let mut shell = Command::new("bash");
                let script = format!("ulimit -n {most}; exec \"$0\" \"$@\"");
                shell.args(["-c", &script, binary]);
                shell
            }
        };
        let notices = folder.path().join("notices");
        let manager = matches!(start, Start::Inherited(..)).then(|| {
            let _ = std::fs::remove_file(&notices);
            command.env("NOTIFY_SOCKET", &notices);
            let manager = UnixDatagram::bind(&notices).unwrap();
            manager.set_read_timeout(Some(super::DEADLINE)).unwrap();
            manager
        });
        // What the tests are told by the environment is no setting of the gateway.
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("DOORWARD_"))
        {
            command.env_remove(name);
        }
        let mut child = command
            .args(["serve", "--config"])
            .arg(&file)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = loop {
            let line = lines.next().expect("the gateway says where it listens").unwrap();
            if let Some((_, rest)) = line.split_once("listening on ") {
                // In JSON, more follows.
                let address = rest.split(['"', ' ']).next().unwrap_or_default();
                break address.parse().unwrap();
            }
        };
        // What it says from now on must not fill a pipe.
        let said = Arc::<Mutex<String>>::default();
        let (errors, output) = (Arc::clone(&said), Arc::clone(&said));
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                errors.lock().unwrap().push_str(&format!("{line}\n"));
            }
        });
        let mut stdout = child.stdout.take().unwrap();
        std::thread::spawn(move || {
            let mut buffer = [0; 8192];
            while let Ok(read @ 1..) = stdout.read(&mut buffer) {
                output.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..read]));
            }
        });
        Self { address, child, folder: Some(folder), manager, said }
    }

    /// All it has said since it listens.
    pub fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// What it tells its service manager next.
    pub fn told(&self) -> String {
        let mut notice = [0; 256];
        let manager = self.manager.as_ref().expect("a service manager started it");
        let length = manager.recv(&mut notice).expect("the service manager is told");
        String::from_utf8_lossy(&notice[..length]).into_owned()
    }

    pub fn database(&self) -> PathBuf {
        self.folder.as_ref().expect("the folder is there until the drop").path().join("doorward.db")
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// The services over its store, as the command line has them.
    async fn services(&self) -> Services {
        let path = self.database().display().to_string();
        let key = app::read_master_key(format!("{path}.secret").as_ref()).unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let store = Store::open(&format!("sqlite:{path}"), 1).await.unwrap();
        let store = store.audited(app::audit_key(&key), Arc::clone(&clock)).await.unwrap();
        let session = SessionConfig {
            idle: Duration::from_hours(1),
            absolute: Duration::from_hours(1),
            cookie_same_site: SameSite::Lax,
            cookie_domain: None,
        };
        Services::new(
            store,
            &key,
            clock,
            ServiceConfig {
                session,
                providers: Vec::new(),
                reserved_names: ReservedNames::default(),
                breach_list: None,
            },
        )
    }

    /// Adds a user with [`PASSWORD`], as the command line does: beside the running gateway.
    pub async fn user(&self, name: &str, role: Role) {
        let new = NewUser {
            username: name.to_owned(),
            email: None,
            display_name: None,
            role,
            groups: Vec::new(),
            password: Some((Secret::new(PASSWORD), false)),
        };
        self.services().await.accounts.create(&AdminProof::of_command_line(0), new).await.unwrap();
    }

    pub async fn system_key(&self, name: &str, role: Role) -> String {
        let keys = self.services().await.api_keys;
        let new =
            NewKey { name: name.to_owned(), owner: None, role, scope: KeyScope::default(), expires_at: None };
        keys.issue(&AdminProof::of_command_line(0), new).await.unwrap().0.expose().to_owned()
    }

    /// Resident memory now.
    pub fn resident_bytes(&self) -> u64 {
        let statm = std::fs::read_to_string(format!("/proc/{}/statm", self.child.id())).unwrap();
        statm.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 4096
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
