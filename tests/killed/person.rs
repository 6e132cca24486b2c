//! Somebody who writes in a browser for as long as there is a gateway, and remembers what was answered.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use super::{Dice, Right, State};
use crate::{Answer, PASSWORD, PATIENCE, Place};

const ACCOUNT: &str = "/_doorward/account";
/// Keys and sessions at most that hold at once.
const MOST_HELD: usize = 3;
/// Sign-ins without an answer may have left sessions, of which a user has twenty; then they are all ended.
const MOST_UNKNOWN: u32 = 5;

pub(super) struct Person {
    name: String,
    /// The one that was answered last, then those of which no answer came.
    passwords: Vec<String>,
    /// The name that pages show, in the same way.
    shown: Vec<String>,
    /// The first that holds is the one that writes.
    sessions: Vec<Right>,
    keys: Vec<Right>,
    unknown_sessions: u32,
    number: u64,
    dice: Dice,
    pub(super) confirmed: u64,
    pub(super) unanswered: u64,
}

/// Why something was not done.
#[derive(Debug)]
enum Stop {
    /// No answer came, so it may have been done.
    Gone,
    /// So many changes at once are refused: it was not done.
    TooMany,
}

impl Person {
    /// Somebody new.
    pub(super) fn added(place: &Place, name: &str, dice: Dice) -> Self {
        let arguments = ["user", "add", name, "--role", "member", "--password-stdin"];
        let output = place.run_with_input(&arguments, &format!("{PASSWORD}\n"));
        assert!(output.status.success(), "{output:?}");
        Self {
            name: name.to_owned(),
            passwords: vec![PASSWORD.to_owned()],
            shown: vec![String::new()],
            sessions: Vec::new(),
            keys: Vec::new(),
            unknown_sessions: 0,
            number: 0,
            dice,
            confirmed: 0,
            unanswered: 0,
        }
    }

    /// Does one thing after the other until no answer comes.
    pub(super) fn write_until_it_is_gone(&mut self, address: SocketAddr) {
        loop {
            match self.write(address) {
                Ok(()) => self.confirmed += 1,
                Err(Stop::TooMany) => {}
                Err(Stop::Gone) => break,
            }
        }
        self.unanswered += 1;
    }

    fn write(&mut self, address: SocketAddr) -> Result<(), Stop> {
        let Some(own) = self.sessions.iter().position(|session| session.state == State::Holds) else {
            return self.sign_in(address);
        };
        self.sessions.swap(0, own);
        let holding = |rights: &[Right]| rights.iter().filter(|right| right.state == State::Holds).count();
        if self.unknown_sessions >= MOST_UNKNOWN {
            return self.end_other_sessions(address);
        }
        match self.dice.roll(16) {
            0 | 1 if holding(&self.sessions) > MOST_HELD => self.sign_out(address),
            0 | 1 => self.sign_in(address),
            2 => self.end_other_sessions(address),
            3 => self.change_password(address),
            4..=7 if holding(&self.keys) > MOST_HELD => self.revoke_key(address),
            4..=7 => self.make_key(address),
            _ => self.rename(address),
        }
    }

    fn fresh(&mut self, what: &str) -> String {
        self.number += 1;
        format!("{what} {} of {}", self.number, self.name)
    }

    /// Posts a form from the first session. An answer other than this one is a failure of the test.
    fn post(
        &mut self,
        address: SocketAddr,
        path: &str,
        fields: &[(&str, &str)],
        status: u16,
    ) -> Result<Answer, Stop> {
        let header = self.sessions.first().map_or("", |session| &session.header);
        let answer = post(address, path, header, fields, &mut self.dice).ok_or(Stop::Gone)?;
        if answer.status == 429 {
            return Err(Stop::TooMany);
        }
        assert_eq!(answer.status, status, "{path} {}: {}\n{}", self.name, answer.head, answer.body);
        Ok(answer)
    }

    fn sign_in(&mut self, address: SocketAddr) -> Result<(), Stop> {
        for password in self.passwords.clone() {
            let fields = [("username", self.name.as_str()), ("password", &password), ("rd", "/")];
            self.unknown_sessions += 1;
            let answer = post(address, "/_doorward/login", "", &fields, &mut self.dice).ok_or(Stop::Gone)?;
            self.unknown_sessions -= 1;
            if answer.status == 303 {
                self.passwords = vec![password];
                self.sessions.push(session(&answer));
                return Ok(());
            }
            assert_eq!(answer.status, 401, "{}: {}", self.name, answer.head);
        }
        panic!("{} has another password than any that was asked for", self.name);
    }

    fn sign_out(&mut self, address: SocketAddr) -> Result<(), Stop> {
        // The oldest but the one that goes on.
        let other = |session: &Right| session.state == State::Holds;
        let Some(at) = self.sessions.iter().skip(1).position(other) else { return Ok(()) };
        let session = &mut self.sessions[at + 1];
        session.state = State::Unclear;
        let answer =
            post(address, "/_doorward/logout", &session.header, &[], &mut self.dice).ok_or(Stop::Gone)?;
        assert_eq!(answer.status, 303, "{}", answer.head);
        session.state = State::Ended;
        Ok(())
    }

    /// All but those from this one on may end now.
    fn sessions_may_end(&mut self, from: usize) {
        for session in self.sessions.iter_mut().skip(from).filter(|session| session.state == State::Holds) {
            session.state = State::Unclear;
        }
    }

    fn sessions_ended(&mut self, from: usize) {
        for session in self.sessions.iter_mut().skip(from) {
            session.state = State::Ended;
        }
        self.unknown_sessions = 0;
    }

    fn end_other_sessions(&mut self, address: SocketAddr) -> Result<(), Stop> {
        self.sessions_may_end(1);
        self.post(address, "/_doorward/account/sessions/end-others", &[], 303)?;
        self.sessions_ended(1);
        Ok(())
    }

    fn change_password(&mut self, address: SocketAddr) -> Result<(), Stop> {
        // Which one holds must be known.
        if self.passwords.len() > 1 {
            return self.sign_in(address);
        }
        let (current, new) = (self.passwords[0].clone(), self.fresh("password"));
        self.passwords.push(new.clone());
        let header = self.sessions[0].header.clone();
        self.sessions_may_end(0);
        let fields = [("current", current.as_str()), ("new", &new), ("repeat", &new)];
        let answer =
            post(address, "/_doorward/password", &header, &fields, &mut self.dice).ok_or(Stop::Gone)?;
        if answer.status == 429 {
            return Err(Stop::TooMany);
        }
        assert_eq!(answer.status, 303, "{}: {}\n{}", self.name, answer.head, answer.body);
        self.passwords = vec![new];
        self.sessions_ended(0);
        self.sessions.push(session(&answer));
        Ok(())
    }

    fn make_key(&mut self, address: SocketAddr) -> Result<(), Stop> {
        if self.passwords.len() > 1 {
            return self.sign_in(address);
        }
        let (name, password) = (self.fresh("key"), self.passwords[0].clone());
        let rest = [("role", "viewer"), ("life", "30d"), ("paths", ""), ("methods", ""), ("networks", "")];
        let fields = [&[("name", name.as_str()), ("password", password.as_str())][..], &rest].concat();
        let answer = self.post(address, "/_doorward/account/keys/new", &fields, 200)?;
        // The head may have come without the rest.
        let key = answer
            .body
            .split("value=\"dw_u_")
            .nth(1)
            .and_then(|rest| rest.split_once('"'))
            .ok_or(Stop::Gone)?
            .0;
        let id = key.split('_').next().unwrap().to_owned();
        let header = format!("Authorization: Bearer dw_u_{key}\r\n");
        self.keys.push(Right { header, id, state: State::Holds });
        Ok(())
    }

    fn revoke_key(&mut self, address: SocketAddr) -> Result<(), Stop> {
        let Some(at) = self.keys.iter().position(|key| key.state == State::Holds) else { return Ok(()) };
        self.keys[at].state = State::Unclear;
        let id = self.keys[at].id.clone();
        self.post(address, "/_doorward/account/keys/revoke", &[("id", &id)], 303)?;
        self.keys[at].state = State::Ended;
        Ok(())
    }

    fn rename(&mut self, address: SocketAddr) -> Result<(), Stop> {
        let name = self.fresh("name");
        self.shown.push(name.clone());
        self.post(address, "/_doorward/account/name", &[("name", &name)], 303)?;
        self.shown = vec![name];
        Ok(())
    }

    /// What is not as it was answered. What was not answered is looked at, and known from then on.
    pub(super) fn check(&mut self, address: SocketAddr) -> Vec<String> {
        let mut lost = Vec::new();
        for (what, rights) in [("key", &mut self.keys), ("session", &mut self.sessions)] {
            for (index, right) in rights.iter_mut().enumerate() {
                let header = right.header_of_client(index);
                let status = ask(address, "GET", "/", &header, "").map_or(0, |answer| answer.status);
                lost.extend(right.judge(&format!("a {what} of {}", self.name), status));
            }
        }
        let Some(own) = self.sessions.iter().find(|session| session.state == State::Holds) else {
            return lost;
        };
        let page = ask(address, "GET", ACCOUNT, &own.header, "").map_or_else(String::new, |page| page.body);
        let stands = |name: &&String| page.contains(&format!("value=\"{name}\""));
        match self.shown.iter().rfind(stands).cloned() {
            Some(name) => self.shown = vec![name],
            None => lost.push(format!("the name of {} is none of {:?}", self.name, self.shown)),
        }
        lost
    }

    /// Whether the password is the last that was answered.
    pub(super) fn still_signs_in(&mut self, address: SocketAddr) -> Option<String> {
        self.sign_in(address).err().map(|_| format!("{} cannot sign in", self.name))
    }
}

fn session(answer: &Answer) -> Right {
    let header = answer.cookie();
    Right { id: header.clone(), header, state: State::Holds }
}

/// Posts a form as from somewhere else each time: a killed attempt to sign in counts against its network.
fn post(
    address: SocketAddr,
    path: &str,
    header: &str,
    fields: &[(&str, &str)],
    dice: &mut Dice,
) -> Option<Answer> {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let [.., a, b, c] = dice.roll(1 << 24).to_be_bytes();
    let headers = format!(
        "{header}X-Forwarded-For: 10.{a}.{b}.{c}\r\nOrigin: http://localhost\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n"
    );
    ask(address, "POST", path, &headers, &body)
}

/// One exchange on a connection of its own; `None` if no answer came.
pub(super) fn ask(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &str,
    body: &str,
) -> Option<Answer> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let length = if method == "GET" { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{length}{headers}\r\n{body}"
    );
    stream.write_all(request.as_bytes()).ok()?;
    let mut bytes = Vec::new();
    // Broken off or not: what came before counts.
    let _ = stream.read_to_end(&mut bytes);
    let answer = Answer::of(&bytes);
    (answer.status != 0).then_some(answer)
}
