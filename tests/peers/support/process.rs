//! Child processes that cannot outlive the test, not even one that is killed.

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::{client, repository, wait_for};

/// A server on a leash (`leash.sh`): dropped, or orphaned, it ends with its whole process group.
pub(crate) struct Process {
    name: &'static str,
    leash: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command`; its output goes to `<name>.log` in `directory`, its working directory.
    pub(crate) fn start(name: &'static str, directory: &Path, command: &Command) -> Self {
        let log = directory.join(format!("{name}.log"));
        let output = File::create(&log).unwrap();
        let mut leashed = Command::new("sh");
        leashed.arg(repository("tests/peers/support/leash.sh")).arg(command.get_program());
        leashed.args(command.get_args()).current_dir(directory).process_group(0);
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => leashed.env(key, value),
                None => leashed.env_remove(key),
            };
        }
        leashed.stdin(Stdio::piped()).stdout(output.try_clone().unwrap()).stderr(output);
        let leash = leashed.spawn().unwrap_or_else(|e| panic!("{name} does not start: {e}"));
        Self { name, leash, log }
    }

    /// Waits until `url` answers 200; fails at once when the process has ended.
    pub(crate) async fn ready(mut self, url: &str, within: Duration) -> Self {
        wait_for(&format!("200 from {} at {url}", self.name), within, async || {
            if let Some(status) = self.leash.try_wait().unwrap() {
                panic!("{} ended ({status}) before it answered:\n{}", self.name, self.output());
            }
            client::get(url).await.ok().filter(|answer| answer.status == 200).map(drop)
        })
        .await;
        self
    }

    /// Everything it has printed so far.
    pub(crate) fn output(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.leash.stdin.take());
        let _ended = self.leash.wait();
        if std::thread::panicking() {
            eprintln!("--- {} printed:\n{}", self.name, self.output());
        }
    }
}
