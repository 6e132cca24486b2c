//! `JupyterHub` with its proxy behind its preset.

use super::{START, beside, free_address, python, requests, surface, walk};
use crate::support::process::Process;
use crate::support::{free_port, repository};

#[tokio::test]
async fn jupyterhub_has_the_routes_of_its_page_and_the_preset_is_nowhere_laxer() {
    let Some(python) = python("jupyterhub") else { return };
    let folder = tempfile::tempdir().unwrap();
    let (address, port) = free_address();
    let proxy =
        repository(".tests/node-apps/node_modules/configurable-http-proxy/bin/configurable-http-proxy");
    let config = format!(
        "c.JupyterHub.bind_url = 'http://127.0.0.1:{port}'\nc.JupyterHub.hub_port = {}\n\
         c.ConfigurableHTTPProxy.api_url = 'http://127.0.0.1:{}'\n\
         c.ConfigurableHTTPProxy.command = ['node', '{}']\n\
         c.JupyterHub.authenticator_class = 'dummy'\nc.JupyterHub.spawner_class = 'simple'\n",
        free_port(),
        free_port(),
        proxy.display()
    );
    std::fs::write(folder.path().join("jupyterhub_config.py"), config).unwrap();
    let mut serve = beside(&python, "jupyterhub");
    serve.env("HOME", folder.path());
    let process = Process::start("jupyterhub", folder.path(), &serve);
    let asked = tokio::task::spawn_blocking(move || surface(&python, "jupyterhub_surface.py"));
    let url = format!("http://{address}/hub/health");
    let (surface, _process) = tokio::join!(asked, process.ready(&url, START));
    walk::walk("jupyterhub", &address, &requests("jupyterhub.md", &surface.unwrap().answers)).await;
}
