//! Servers of files, each with its own copy of the same few.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::proxies::door::system;
use crate::support::process::Process;
use crate::support::{PATIENCE, free_port, repository};

/// A server that copies and moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `WsgiDAV` on cheroot.
    Wsgidav,
    /// Apache's `mod_dav`.
    ModDav,
    /// nginx's own module.
    Nginx,
}

/// A running one. `a.txt` is there, and the folder `private`.
pub(crate) struct Server {
    pub(crate) kind: Kind,
    /// `127.0.0.1:PORT`
    pub(crate) address: String,
    files: PathBuf,
    _process: Process,
    _directory: TempDir,
}

impl Server {
    pub(crate) async fn start(kind: Kind) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let files = directory.path().join("files");
        std::fs::create_dir_all(files.join("private")).unwrap();
        std::fs::write(files.join("a.txt"), "A").unwrap();
        // Apache and nginx serve as anonymous where the tests run as root.
        for path in [directory.path(), &files, &files.join("private"), &files.join("a.txt")] {
            std::fs::set_permissions(path, Permissions::from_mode(0o777)).unwrap();
        }
        let address = format!("127.0.0.1:{}", free_port());
        let command = command(kind, &address, directory.path(), &files);
        let process = Process::start("webdav", directory.path(), &command);
        let process = process.ready(&format!("http://{address}/a.txt"), PATIENCE).await;
        Self { kind, address, files, _process: process, _directory: directory }
    }

    /// What is in a file.
    pub(crate) fn read(&self, path: &str) -> Option<String> {
        std::fs::read_to_string(self.files.join(path.trim_start_matches('/'))).ok()
    }

    /// Everything below the folder that only admins may write to.
    pub(crate) fn private(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.files.join("private")).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

fn command(kind: Kind, address: &str, directory: &Path, files: &Path) -> Command {
    let (at, root) = (directory.display(), files.display());
    match kind {
        Kind::Wsgidav => {
            let (host, port) = address.split_once(':').unwrap();
            let mut command = Command::new(repository(".tests/servers/bin/wsgidav"));
            command.args([
                "--host",
                host,
                "--port",
                port,
                "--auth",
                "anonymous",
                "--no-config",
                "-q",
                "--root",
            ]);
            command.arg(files);
            command
        }
        Kind::ModDav => {
            let modules = "/usr/lib/apache2/modules";
            let text = format!(
                "ServerRoot {at}\nPidFile {at}/pid\nListen {address}\nServerName 127.0.0.1\n\
                 LoadModule mpm_event_module {modules}/mod_mpm_event.so\n\
                 LoadModule authz_core_module {modules}/mod_authz_core.so\n\
                 LoadModule dav_module {modules}/mod_dav.so\nLoadModule dav_fs_module {modules}/mod_dav_fs.so\n\
                 User nobody\nGroup nogroup\nDavLockDB {at}/locks\nDocumentRoot {root}\nErrorLog {at}/error.log\n\
                 <Location />\nDav On\nRequire all granted\n</Location>\n"
            );
            std::fs::write(directory.join("apache.conf"), text).unwrap();
            let mut command = Command::new(system("apache2"));
            command.arg("-f").arg(directory.join("apache.conf")).arg("-DFOREGROUND");
            command
        }
        Kind::Nginx => {
            let mut text = format!(
                "daemon off;\npid {at}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n\
                 server {{\nlisten {address};\nroot {root};\ndav_methods PUT DELETE MKCOL COPY MOVE;\n\
                 dav_access all:rw;\n}}\n"
            );
            for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
                text += &format!("{kind}_temp_path {at}/{kind};\n");
            }
            std::fs::write(directory.join("nginx.conf"), text + "}\n").unwrap();
            let mut command = Command::new(system("nginx"));
            command.arg("-p").arg(directory).args(["-c", "nginx.conf", "-e", "stderr"]);
            command
        }
    }
}
