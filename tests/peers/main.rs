//! The gateway in front of real applications, used by real clients: Arize Phoenix with its own
//! OpenTelemetry client, Streamlit, and Chromium. `tests/run.sh` installs what they need.

#![cfg(test)]

mod browser;
mod compat;
mod phoenix;
mod proxies;
mod quickstart;
mod streamlit;
mod support;
