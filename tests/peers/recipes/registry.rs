//! A container registry and skopeo, which takes any challenge for `Bearer` for the address of a token server.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use http::Method;
use sha2::{Digest as _, Sha256};

use crate::support::gateway::ADDRESS;
use crate::support::process::Process;
use crate::support::{PATIENCE, free_port, repository};

/// An image of one empty layer in the OCI layout, as tag `latest` of a folder.
fn image(folder: &Path) {
    std::fs::create_dir_all(folder.join("blobs/sha256")).unwrap();
    let blob = |bytes: &[u8]| {
        let digest: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        std::fs::write(folder.join("blobs/sha256").join(&digest), bytes).unwrap();
        (format!("sha256:{digest}"), bytes.len())
    };
    // Two blocks of nothing end an archive.
    let (layer, layer_size) = blob(&[0; 1024]);
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":["{layer}"]}}}}"#
    );
    let (config, config_size) = blob(config.as_bytes());
    let media = "application/vnd.oci.image";
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{media}.manifest.v1+json","config":{{"mediaType":"{media}.config.v1+json","digest":"{config}","size":{config_size}}},"layers":[{{"mediaType":"{media}.layer.v1.tar","digest":"{layer}","size":{layer_size}}}]}}"#
    );
    let (manifest, manifest_size) = blob(manifest.as_bytes());
    let index = format!(
        r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"{media}.manifest.v1+json","digest":"{manifest}","size":{manifest_size},"annotations":{{"org.opencontainers.image.ref.name":"latest"}}}}]}}"#
    );
    std::fs::write(folder.join("index.json"), index).unwrap();
    std::fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
}

/// A caller's skopeo, with what it remembers of its login.
struct Skopeo<'f> {
    folder: &'f Path,
    registry: String,
}

impl Skopeo<'_> {
    fn run(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = Command::new("skopeo");
        command.arg("--insecure-policy").args(arguments).current_dir(self.folder).env("HOME", self.folder);
        command.env("REGISTRY_AUTH_FILE", self.folder.join("auth.json"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    fn logs_in(&self, key: &str) -> Output {
        let command = ["login", "--tls-verify=false", "--username", "anybody", "--password-stdin"];
        self.run(&[&command[..], &[&self.registry]].concat(), key)
    }

    /// Runs the commands of the recipe.
    fn does_what_the_page_says(&self, key: &str) -> Output {
        let commands = super::block("Container registries", "sh", &[(ADDRESS, &self.registry)]);
        let policy = self.folder.join(".config/containers");
        std::fs::create_dir_all(&policy).unwrap();
        let any = r#"{"default":[{"type":"insecureAcceptAnything"}]}"#;
        std::fs::write(policy.join("policy.json"), any).unwrap();
        let mut shell = Command::new("sh");
        shell.args(["-e", "-c", &commands]).current_dir(self.folder).env("HOME", self.folder).env("KEY", key);
        shell.env("REGISTRY_AUTH_FILE", self.folder.join("auth.json")).output().unwrap()
    }

    fn image(&self) -> String {
        format!("docker://{}/team/app:1", self.registry)
    }

    fn pushes(&self) -> Output {
        self.run(&["copy", "--dest-tls-verify=false", "oci:image:latest", &self.image()], "")
    }

    fn pulls(&self, to: &str) -> Output {
        self.run(&["copy", "--src-tls-verify=false", &self.image(), &format!("oci:{to}:latest")], "")
    }

    fn lists(&self) -> Output {
        let repository = format!("docker://{}/team/app", self.registry);
        self.run(&["list-tags", "--tls-verify=false", &repository], "")
    }
}

#[track_caller]
fn fails(output: &Output, why: &str) {
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && told.contains(why), "{output:?}");
}

/// A registry that keeps what is pushed below a folder, and where it listens.
pub(crate) async fn start(folder: &Path) -> (String, Process) {
    let address = format!("127.0.0.1:{}", free_port());
    let settings = format!(
        "version: 0.1\nlog: {{ level: warn }}\nstorage: {{ filesystem: {{ rootdirectory: {} }}, delete: {{ enabled: true }} }}\nhttp: {{ addr: \"{address}\" }}\n",
        folder.join("stored").display()
    );
    std::fs::write(folder.join("config.yml"), settings).unwrap();
    let mut command = Command::new(repository(".tests/registry/usr/bin/docker-registry"));
    command.args(["serve", "config.yml"]);
    let registry = Process::start("docker-registry", folder, &command);
    let process = registry.ready(&format!("http://{address}/v2/"), PATIENCE).await;
    (address, process)
}

#[tokio::test]
async fn skopeo_logs_in_pushes_pulls_and_lists_tags() {
    let folder = tempfile::tempdir().unwrap();
    image(&folder.path().join("image"));
    let (address, _registry) = start(folder.path()).await;
    let gateway = super::gateway("Container registries", &[("127.0.0.1:5000", &address)]).await;
    let (viewer, member) = (gateway.key("reader", "viewer", &[]).key, gateway.key("ci", "member", &[]).key);
    let skopeo =
        Skopeo { folder: folder.path(), registry: gateway.url.trim_start_matches("http://").to_owned() };

    fails(&skopeo.lists(), "auth");
    fails(&skopeo.logs_in("wrong"), "invalid username/password");
    let shown = skopeo.does_what_the_page_says(&member);
    assert!(shown.status.success() && String::from_utf8_lossy(&shown.stdout).contains("\"1\""), "{shown:?}");

    assert!(skopeo.logs_in(&viewer).status.success());
    let listed = skopeo.lists();
    assert!(String::from_utf8_lossy(&listed.stdout).contains("\"1\""), "{listed:?}");
    let pulled = skopeo.pulls("back");
    assert!(pulled.status.success(), "{pulled:?}");
    assert!(folder.path().join("back/index.json").exists());

    // Whatever is deleted, an admin deletes it.
    let admin = gateway.key("keeper", "admin", &[]).key;
    let accepted = [("accept", "application/vnd.oci.image.manifest.v1+json")];
    let manifest = gateway.post(Method::GET, "/v2/team/app/manifests/1", &viewer, &accepted, "").await;
    let config = format!("blobs/{}", manifest.json()["config"]["digest"].as_str().unwrap());
    let manifest = format!("manifests/{}", manifest.header("docker-content-digest"));
    for what in ["manifests/1", "blobs/uploads/1", &config, &manifest] {
        let path = format!("/v2/team/app/{what}");
        for key in [&viewer, &member] {
            let answer = gateway.send(Method::DELETE, &path, key).await;
            assert_eq!(answer.refusal(), Some(403), "{path}: {answer:?}");
        }
    }
    for what in [&config, &manifest] {
        let answer = gateway.send(Method::DELETE, &format!("/v2/team/app/{what}"), &admin).await;
        assert_eq!(answer.status, 202, "{what}: {answer:?}");
    }
    std::fs::remove_dir_all(folder.path().join("stored/docker/registry/v2/blobs")).unwrap();
    let refused = skopeo.pushes();
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && (told.contains("denied") || told.contains("403")), "{told}");
    assert!(!folder.path().join("stored/docker/registry/v2/blobs").exists(), "a viewer's push reached it");
}
