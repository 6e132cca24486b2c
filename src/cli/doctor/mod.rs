//! `doorward doctor`: checks the parts beside the gateway that the gateway itself cannot see.

mod applications;
mod proxy_lines;
mod proxy;

use clap::Args;

use super::Common;
use super::failure::Failure;
use super::load_beside;
use super::output::Output;
use super::snippet;
use crate::config::Flavour;

/// What `doctor` takes.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// nginx, traefik, caddy, haproxy or envoy; or `applications`: whether they are set as routes rely on
    #[arg(value_name = "WHAT", value_parser = subject)]
    subject: DoctorTarget,
    /// An address of the application, through the proxy
    #[arg(long, value_name = "URL")]
    through: Option<String>,
}

/// What is looked at.
#[derive(Clone, Copy, Debug)]
enum DoctorTarget {
    Proxy(Flavour),
    Applications,
}

fn subject(text: &str) -> Result<DoctorTarget, String> {
    match text {
        "applications" => Ok(DoctorTarget::Applications),
        name => snippet::flavour(name)
            .map(DoctorTarget::Proxy)
            .map_err(|names| format!("{names}, or applications")),
    }
}

pub(super) async fn run(arguments: Arguments, common: &Common, output: Output) -> Result<(), Failure> {
    match (arguments.subject, arguments.through) {
        (DoctorTarget::Applications, None) => applications::run(&load_beside(common)?, output).await,
        (DoctorTarget::Applications, Some(_)) => Err(Failure::Usage(
            "--through is for proxies: applications are asked where the settings have them".to_owned(),
        )),
        (DoctorTarget::Proxy(flavour), Some(through)) => {
            proxy::run(flavour, &through, &load_beside(common)?, output).await
        }
        (DoctorTarget::Proxy(_), None) => {
            Err(Failure::Usage("add --through with the URL of a page behind the proxy".to_owned()))
        }
    }
}
