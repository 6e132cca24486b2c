//! An LDAP directory: `OpenLDAP` with the people and groups of `people.ldif`.

use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;
use tokio::net::TcpStream;

use super::unpacked;
use crate::support::process::Process;
use crate::support::{PATIENCE, free_port, repository, wait_for};

const ADMIN: [&str; 4] = ["-D", "cn=admin,dc=acme,dc=test", "-w", "admin-pw"];

/// The running directory; it ends with the test.
pub(crate) struct Directory {
    /// `127.0.0.1:PORT`
    pub(crate) address: String,
    _process: Process,
    folder: TempDir,
}

impl Directory {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = folder.path().join("slapd.conf");
        std::fs::create_dir(folder.path().join("database")).unwrap();
        std::fs::write(&settings, configuration(folder.path())).unwrap();
        run(slapd()
            .arg("-Ta")
            .arg("-f")
            .arg(&settings)
            .arg("-l")
            .arg(repository("tests/peers/providers/people.ldif")));
        let address = format!("127.0.0.1:{}", free_port());
        let mut serve = slapd();
        serve.arg("-f").arg(&settings).args(["-h", &format!("ldap://{address}/"), "-d", "none"]);
        let process = Process::start("slapd", folder.path(), &serve);
        wait_for("connection to slapd", PATIENCE, async || TcpStream::connect(&address).await.ok()).await;
        Self { address, _process: process, folder }
    }

    /// Takes somebody out of a group.
    pub(crate) fn leave(&self, person: &str, group: &str) {
        self.leave_as(&format!("uid={person}"), group);
    }

    /// The same for somebody with another relative distinguished name, such as `cn=Ann`.
    pub(crate) fn leave_as(&self, name: &str, group: &str) {
        self.modify(&format!(
            "dn: cn={group},ou=groups,dc=acme,dc=test\nchangetype: modify\ndelete: member\n\
             member: {name},ou=people,dc=acme,dc=test\n"
        ));
    }

    /// Removes somebody.
    pub(crate) fn remove(&self, person: &str) {
        self.modify(&format!("dn: uid={person},ou=people,dc=acme,dc=test\nchangetype: delete\n"));
    }

    fn modify(&self, change: &str) {
        let file = self.folder.path().join("change.ldif");
        std::fs::write(&file, change).unwrap();
        let mut modify = unpacked("slapd", "usr/bin/ldapmodify");
        modify.args(["-x", "-H", &format!("ldap://{}", self.address)]).args(ADMIN).arg("-f").arg(file);
        run(&mut modify);
    }
}

fn slapd() -> Command {
    unpacked("slapd", "usr/sbin/slapd")
}

fn configuration(folder: &Path) -> String {
    let (unpacked, folder) = (repository(".tests/slapd"), folder.display());
    let unpacked = unpacked.display();
    format!(
        "include {unpacked}/etc/ldap/schema/core.schema\n\
         include {unpacked}/etc/ldap/schema/cosine.schema\n\
         include {unpacked}/etc/ldap/schema/inetorgperson.schema\n\
         modulepath {unpacked}/usr/lib/ldap\n\
         moduleload back_mdb\n\
         database mdb\n\
         suffix \"dc=acme,dc=test\"\n\
         directory {folder}/database\n\
         maxsize 33554432\n\
         dbnosync\n\
         rootdn \"cn=admin,dc=acme,dc=test\"\n\
         rootpw admin-pw\n\
         index objectClass,uid,mail,cn,member eq\n"
    )
}

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
}
