//! Dex, with a directory and with a list of its own.

use std::process::Command;

use tempfile::TempDir;

use super::directory::Directory;
use super::visitor::{Page, Visitor};
use super::{CLIENT, SECRET, made_with};
use crate::support::PATIENCE;
use crate::support::process::Process;

/// `ann-pw`, by bcrypt.
const HASH: &str = "$2b$10$Jzd2xLrGehqjTmxC1I4E3ujIS0F1kgtq/ZOGTaw.57/QAQPlXKgu6";

/// A running Dex with the directory behind it; both end with the test.
pub(crate) struct Dex {
    pub(crate) directory: Directory,
    _process: Process,
    _folder: TempDir,
}

impl Dex {
    /// Where it is when it listens on this port.
    pub(crate) fn issuer(port: u16) -> String {
        format!("http://127.0.0.1:{port}/dex")
    }

    /// `redirect_uris` are those of its one client.
    pub(crate) async fn start(port: u16, redirect_uris: &[&str]) -> Option<Self> {
        let program = made_with(&["go"], "dex/dex")?;
        let directory = Directory::start().await;
        let folder = tempfile::tempdir().unwrap();
        let (address, issuer) = (format!("127.0.0.1:{port}"), Self::issuer(port));
        let settings = folder.path().join("dex.yml");
        std::fs::write(&settings, configuration(&address, &directory.address, redirect_uris)).unwrap();
        let mut serve = Command::new(program);
        serve.arg("serve").arg(&settings);
        let process = Process::start("dex", folder.path(), &serve);
        let process = process.ready(&format!("{issuer}/.well-known/openid-configuration"), PATIENCE).await;
        Some(Self { directory, _process: process, _folder: folder })
    }
}

/// Signs somebody in at the page on which Dex asks for a name in the directory.
pub(crate) async fn sign_in(visitor: &mut Visitor, page: &Page, person: &str) -> Page {
    assert!(page.body.contains("name=\"login\""), "{page:?}");
    visitor.submit(page, &[("login", person), ("password", &format!("{person}-pw"))]).await
}

fn configuration(address: &str, directory: &str, redirect_uris: &[&str]) -> String {
    format!(
        r#"
issuer: http://{address}/dex
storage: {{ type: memory }}
web: {{ http: {address} }}
logger: {{ level: info, format: json }}
expiry: {{ idTokens: 30s, signingKeys: 6h, refreshTokens: {{ reuseInterval: 0s, validIfNotUsedFor: 1h, absoluteLifetime: 10h }} }}
oauth2: {{ skipApprovalScreen: true, responseTypes: [ code ] }}
enablePasswordDB: true
staticPasswords:
- {{ email: ann@acme.test, username: ann, userID: 00000000-0000-4000-8000-000000000001, hash: "{HASH}" }}
connectors:
- type: ldap
  id: ldap
  name: LDAP
  config:
    host: {directory}
    insecureNoSSL: true
    bindDN: cn=admin,dc=acme,dc=test
    bindPW: admin-pw
    usernamePrompt: Name
    userSearch: {{ baseDN: "ou=people,dc=acme,dc=test", filter: "(objectClass=inetOrgPerson)", username: uid, idAttr: uid, emailAttr: mail, nameAttr: cn, preferredUsernameAttr: uid }}
    groupSearch: {{ baseDN: "ou=groups,dc=acme,dc=test", filter: "(objectClass=groupOfNames)", userMatchers: [ {{ userAttr: DN, groupAttr: member }} ], nameAttr: cn }}
staticClients:
- {{ id: {CLIENT}, secret: {SECRET}, name: Doorward, redirectURIs: {redirect_uris:?} }}
"#
    )
}
