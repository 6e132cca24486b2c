//! A container registry behind its preset.

use super::surface::told_by_itself;
use super::walk;
use crate::recipes::registry::start;

#[tokio::test]
async fn registry_takes_the_methods_of_its_page_and_the_preset_lets_in_whom_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let (address, _process) = start(folder.path()).await;
    let digest = |path: &str| path.replace("/blobs/x", &format!("/blobs/sha256:{}", "0".repeat(64)));
    let requests = told_by_itself("registry.md", &address, digest).await;
    walk::walk("registry", &address, &requests).await;
}
