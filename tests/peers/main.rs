//! The gateway in front of real applications, used by real clients: Arize Phoenix with its own
//! OpenTelemetry client, `MLflow` with its own, `JupyterLab`, Streamlit, and Chromium. `tests/run.sh` installs what they need.

#![cfg(test)]
#![expect(
    clippy::format_collect,
    clippy::format_push_string,
    reason = "what a test sends is written as it reads"
)]

mod accessibility;
mod account;
mod acme;
mod browser;
mod compat;
mod framing;
mod graphql;
mod metrics;
mod oidc;
mod phoenix;
mod presets;
mod providers;
mod proxies;
mod quickstart;
mod recipes;
mod readings;
mod rollout;
mod schema;
mod sockets;
mod signatures;
mod slow_attacker;
mod streamlit;
mod support;
mod uploads;
mod upgrades;
mod webdav;
