//! The real executable, where a test looks at the process itself.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use doorward::model::api_key::KeyScope;
use doorward::model::role::Role;
use doorward::model::time::{Clock, SystemClock};
use doorward::service::api_keys::{ApiKeys, NewKey};
use doorward::service::revocation::Revocations;
use doorward::store::Store;
use tempfile::TempDir;

/// A running `doorward serve`; killed when dropped.
pub struct Process {
    pub address: SocketAddr,
    child: Child,
    folder: TempDir,
}

impl Process {
    pub async fn serve(upstream: &str, routes: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("doorward.db");
        let file = folder.path().join("doorward.toml");
        let text = format!(
            "public_url = \"http://localhost\"\nserver.listen = [\"127.0.0.1:0\"]\nserver.workers = 2\n\
             store.url = \"sqlite:{}\"\nlog.format = \"text\"\n[[upstreams]]\nname = \"app\"\nurl = \"{upstream}\"\n{routes}",
            database.display()
        );
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_doorward"));
        // What the tests are told by the environment is no setting of the gateway.
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("DOORWARD_"))
        {
            command.env_remove(name);
        }
        let mut child = command
            .args(["serve", "--config"])
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = loop {
            let line = lines.next().expect("the gateway says where it listens").unwrap();
            if let Some((_, address)) = line.split_once("listening on ") {
                break address.trim().parse().unwrap();
            }
        };
        // What it says from now on must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Self { address, child, folder }
    }

    pub async fn system_key(&self, name: &str, role: Role) -> String {
        let url = format!("sqlite:{}", self.folder.path().join("doorward.db").display());
        let store = Store::open(&url, 1).await.unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let keys = ApiKeys::new(store.clone(), Revocations::new(store, Arc::clone(&clock)), clock);
        let new = NewKey {
            name: name.to_owned(),
            owner: None,
            role,
            scope: KeyScope::default(),
            expires_at: None,
            created_by: "test".to_owned(),
        };
        keys.issue(new).await.unwrap().0.expose().to_owned()
    }

    /// Resident memory now.
    pub fn resident_bytes(&self) -> u64 {
        let statm = std::fs::read_to_string(format!("/proc/{}/statm", self.child.id())).unwrap();
        statm.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 4096
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
