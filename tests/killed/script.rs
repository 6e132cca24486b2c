//! Keys made and revoked by the command line beside the gateway, killed with it.

use std::net::SocketAddr;
use std::process::Child;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::Scope;
use std::time::Duration;

use serde_json::Value;

use super::person::ask;
use super::{Right, State};
use crate::Place;

/// Keys at most that hold at once.
const MOST_KEYS: usize = 3;

#[derive(Default)]
pub(super) struct Script {
    keys: Vec<Right>,
    pub(super) confirmed: u64,
    pub(super) unanswered: u64,
}

impl Script {
    /// Writes in a thread of its own until what is returned is dropped.
    pub(super) fn write_beside<'scope, 'env>(
        &'env mut self,
        scope: &'scope Scope<'scope, 'env>,
        place: &'env Place,
    ) -> Sender<()> {
        let (stop, stopped) = channel();
        scope.spawn(move || while self.write(place, &stopped) {});
        stop
    }

    /// One command; `false` if it was killed.
    fn write(&mut self, place: &Place, stopped: &Receiver<()>) -> bool {
        let holding = self.keys.iter().filter(|key| key.state == State::Holds).count();
        let oldest = self.keys.iter_mut().find(|key| key.state == State::Holds);
        let said = if let Some(key) = oldest.filter(|_| holding > MOST_KEYS) {
            key.state = State::Unclear;
            let said =
                outcome(place.command(&["key", "revoke", &key.id, "--json"]).spawn().unwrap(), stopped);
            if said.is_some() {
                key.state = State::Ended;
            }
            said
        } else {
            let name = format!("script {}", uuid::Uuid::now_v7());
            let command = ["key", "create", &name, "--role", "viewer", "--json"];
            let said = outcome(place.command(&command).spawn().unwrap(), stopped);
            self.keys.extend(said.as_ref().map(|key| Right {
                header: format!("Authorization: Bearer {}\r\n", key["key"].as_str().unwrap()),
                id: key["id"].as_str().unwrap().to_owned(),
                state: State::Holds,
            }));
            said
        };
        if said.is_some() {
            self.confirmed += 1;
        } else {
            self.unanswered += 1;
        }
        said.is_some()
    }

    /// What is not as it was answered.
    pub(super) fn check(&mut self, address: SocketAddr) -> Vec<String> {
        let keys = self.keys.iter_mut().enumerate();
        keys.filter_map(|(index, key)| {
            let header = key.header_of_client(index);
            let status = ask(address, "GET", "/", &header, "").map_or(0, |answer| answer.status);
            key.judge("a key of the command line", status)
        })
        .collect()
    }
}

/// What a command said, if it ended with success before the kill.
fn outcome(mut child: Child, stopped: &Receiver<()>) -> Option<Value> {
    while child.try_wait().unwrap().is_none() {
        if stopped.recv_timeout(Duration::from_millis(1)) == Err(RecvTimeoutError::Disconnected) {
            child.kill().unwrap();
            break;
        }
    }
    let output = child.wait_with_output().unwrap();
    output.status.success().then(|| serde_json::from_slice(&output.stdout).unwrap())
}
