//! Those who want to spoil it: five hundred addresses of nobody, one viewer and one key, who do everything that they may, as
//! fast as they can.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use doorward::model::token::{KeyKind, KeyText};
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::line::{Line, cookies};
use crate::support::gateway::{PASSWORD, bearer};
use crate::support::hyper::http2;
use crate::support::raw::Answer;
use crate::support::{Gateway, within};

/// Addresses of nobody.
const ADDRESSES: usize = 500;
/// How many of these are at work at once.
const AT_ONCE: usize = 24;
/// How many browsers the viewer has at work at once.
const BROWSERS: usize = 4;
/// Streams that one opens at once.
const STREAMS: usize = 30;
/// Connections that send a form byte by byte.
const SLOW: usize = 60;
const OTHER_PASSWORD: &str = "seven geese on a ladder";
const NEW_KEY: &str = "/_doorward/account/keys/new";

/// All of them, until the end.
pub struct Crowd {
    over: Arc<AtomicBool>,
    answers: Arc<AtomicUsize>,
    tasks: JoinSet<()>,
}

/// What one of them shares with the others.
#[derive(Clone)]
struct Member {
    gateway: Arc<Gateway>,
    over: Arc<AtomicBool>,
    answers: Arc<AtomicUsize>,
    /// How much each does at most.
    most: usize,
}

fn address(number: usize) -> IpAddr {
    let [.., high, low] = (number % ADDRESSES).to_be_bytes();
    IpAddr::from([198, 18, high, low])
}

impl Crowd {
    /// Has them begin; each does at most so much. There must be the viewer `vera` and her `key`.
    pub fn begin(gateway: &Arc<Gateway>, key: &str, most: usize) -> Self {
        let mut crowd = Self { over: Arc::default(), answers: Arc::default(), tasks: JoinSet::new() };
        let member = Member {
            gateway: Arc::clone(gateway),
            over: Arc::clone(&crowd.over),
            answers: Arc::clone(&crowd.answers),
            most,
        };
        for first in 0..AT_ONCE {
            crowd.tasks.spawn(member.clone().acts_as_nobody(first));
        }
        crowd.tasks.spawn(member.clone().acts_as_vera());
        for browser in 0..BROWSERS {
            crowd.tasks.spawn(member.clone().uses_a_browser_of_vera(browser));
        }
        crowd.tasks.spawn(member.clone().has_a_key(bearer(key)));
        crowd.tasks.spawn(member.clone().opens_streams());
        crowd.tasks.spawn(member.sends_slowly());
        crowd
    }

    /// Waits until the last of them has gone; how many answers they had.
    pub async fn end(mut self) -> usize {
        self.over.store(true, Ordering::SeqCst);
        while let Some(ended) = within("the end of the crowd", self.tasks.join_next()).await {
            ended.unwrap();
        }
        self.answers.load(Ordering::SeqCst)
    }
}

impl Member {
    fn goes_on(&self, done: usize) -> bool {
        done < self.most && !self.over.load(Ordering::SeqCst)
    }

    /// An answer has come. What it says is not looked at: nobody promised them one.
    fn had(&self, _: &Answer) {
        self.answers.fetch_add(1, Ordering::SeqCst);
    }

    /// Everything that needs no right, from one address after the other.
    async fn acts_as_nobody(self, first: usize) {
        let mut line = Line::of(self.gateway.address, address(first));
        let mut done = 0;
        while self.goes_on(done) {
            let number = first + done * AT_ONCE;
            line.becomes(address(number));
            let answer = nobodys(&mut line, number, done).await;
            self.had(&answer);
            done += 1;
        }
    }

    /// Everything that a viewer may change, one after the other.
    async fn acts_as_vera(self) {
        let mut line = Line::of(self.gateway.address, address(0));
        let (mut password, mut next) = (PASSWORD, OTHER_PASSWORD);
        let (mut cookie, mut done) = (String::new(), 0);
        while self.goes_on(done) {
            done += 1;
            let signed_in =
                line.post("/_doorward/login", &[("username", "vera"), ("password", password)], &cookie).await;
            self.had(&signed_in);
            match signed_in.status {
                303 => cookie = cookies(&signed_in),
                // Whether an earlier change was made that was answered by an error is not known.
                401 => std::mem::swap(&mut password, &mut next),
                _ => {}
            }
            let name = format!("made in a rush {done}");
            let key = [
                ("name", name.as_str()),
                ("role", "viewer"),
                ("life", "7d"),
                ("paths", ""),
                ("methods", ""),
                ("networks", ""),
                ("password", password),
            ];
            let made = line.post(NEW_KEY, &key, &cookie).await;
            self.had(&made);
            let text = made.text();
            if let Some((_, rest)) = text.split_once("value=\"dw_u_") {
                let key = format!("dw_u_{}", rest.split('"').next().unwrap());
                self.had(&line.get("/reads", &bearer(&key)).await);
                let id = KeyText::id_of(&key).unwrap();
                self.had(&line.post("/_doorward/account/keys/revoke", &[("id", id)], &cookie).await);
                self.had(&line.get("/reads", &bearer(&key)).await);
            }
            self.goes_to_another_host(&mut line, &cookie).await;
            let change = [("current", password), ("new", next), ("repeat", next)];
            let changed = line.post("/_doorward/password", &change, &cookie).await;
            self.had(&changed);
            if changed.status == 303 {
                std::mem::swap(&mut password, &mut next);
                cookie = cookies(&changed);
            }
        }
    }

    async fn goes_to_another_host(&self, line: &mut Line, cookie: &str) {
        const BEGIN: &str = "/_doorward/handover/begin?rd=http%3A%2F%2Fapp.example%2F";
        let begun = line.get_at("app.example", BEGIN, "").await;
        self.had(&begun);
        let held = cookies(&begun);
        let Some(grant) = begun.header("location").and_then(|to| to.strip_prefix("http://localhost")) else {
            return;
        };
        let granted = line.get_at("localhost", grant, cookie).await;
        self.had(&granted);
        let Some(redeem) = granted.header("location").and_then(|to| to.strip_prefix("http://app.example"))
        else {
            return;
        };
        // Twice: it works once.
        for _ in 0..2 {
            self.had(&line.get_at("app.example", redeem, &held).await);
        }
    }

    /// Names, pages and ends of sessions, with the cookies of one browser at all addresses.
    async fn uses_a_browser_of_vera(self, browser: usize) {
        let mut line = Line::of(self.gateway.address, address(browser));
        let (mut cookie, mut done) = (String::new(), 0);
        while self.goes_on(done) {
            line.becomes(address(browser + done * BROWSERS));
            let password = if done.is_multiple_of(2) { PASSWORD } else { OTHER_PASSWORD };
            let answer = match done % 6 {
                0 => {
                    line.post("/_doorward/login", &[("username", "vera"), ("password", password)], &cookie)
                        .await
                }
                1 => {
                    line.post("/_doorward/account/name", &[("name", &format!("Vera {done}"))], &cookie).await
                }
                2 => line.get("/_doorward/account", &cookie).await,
                3 => line.post("/_doorward/account/sessions/end-others", &[], &cookie).await,
                4 => line.get("/reads", &cookie).await,
                _ => line.get("/_doorward/api/explain?method=GET&url=%2Freads", &cookie).await,
            };
            if done.is_multiple_of(6) && answer.status == 303 {
                cookie = cookies(&answer);
            }
            self.had(&answer);
            done += 1;
        }
    }

    async fn has_a_key(self, key: String) {
        let mut line = Line::of(self.gateway.address, address(7));
        let mut done = 0;
        while self.goes_on(done) {
            let (path, more) = match done % 5 {
                0 => ("/reads", ""),
                1 => ("/admin", ""),
                2 => ("/_doorward/account", ""),
                3 => ("/reads?x=%00", ""),
                _ => ("/reads", "x-doorward-explain: 1\r\n"),
            };
            self.had(&line.get(path, &format!("{key}{more}")).await);
            done += 1;
        }
    }

    /// Many at once on one connection of HTTP/2.
    async fn opens_streams(self) {
        let mut done = 0;
        while self.goes_on(done) {
            let sender = http2(self.gateway.address).await;
            let streams = (0..STREAMS).map(|number| {
                let mut sender = sender.clone();
                let path = ["public/x", "reads", "nowhere", "_doorward/login"][number % 4];
                let request = Request::get(format!("http://{}/{path}", self.gateway.address))
                    .header("x-forwarded-for", address(done + number).to_string())
                    .body(Empty::<Bytes>::new());
                async move {
                    sender.ready().await.ok()?;
                    sender.send_request(request.unwrap()).await.ok()?.collect().await.ok()
                }
            });
            let answers = within("answers by HTTP/2", futures_util::future::join_all(streams)).await;
            self.answers.fetch_add(answers.iter().flatten().count(), Ordering::SeqCst);
            done += STREAMS;
        }
    }

    /// Forms that do not end.
    async fn sends_slowly(self) {
        let mut held = Vec::new();
        for number in 0..SLOW {
            let Ok(mut stream) = TcpStream::connect(self.gateway.address).await else { continue };
            let request = format!(
                "POST /_doorward/login HTTP/1.1\r\nhost: a\r\nx-forwarded-for: {}\r\ncontent-length: 8000\r\n\r\n",
                address(number * 8)
            );
            let _ = stream.write_all(request.as_bytes()).await;
            held.push(stream);
        }
        while !self.over.load(Ordering::SeqCst) {
            for stream in &mut held {
                let _ = stream.write_all(b"x").await;
            }
            // What is tried is how slow they are.
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    }
}

/// One thing that anybody can do.
async fn nobodys(line: &mut Line, number: usize, done: usize) -> Answer {
    let name = ["vera", "root", "vera@example.org", "nobody"][number % 4];
    let wrong = [("username", name), ("password", "not the password")];
    let forged = format!("cookie: doorward={number}.forged; doorward-device=x~{number}\r\n");
    match done % 12 {
        0 | 1 => line.post("/_doorward/login", &wrong, "").await,
        2 => line.get("/_doorward/login", "").await,
        3 => line.get("/_doorward/account", &forged).await,
        4 => line.get("/reads", &bearer(KeyText::draw(KeyKind::System).text.expose())).await,
        5 => line.get("/reads", &forged).await,
        6 => line.get("/_doorward/nothing-here", "").await,
        7 => line.get("/public/x", "").await,
        8 => line.get("/_doorward/api/explain?method=GET&url=%2F", "").await,
        9 => {
            line.get(
                "/_doorward/auth/nginx",
                "x-original-method: GET\r\nx-original-url: https://app.example/admin\r\n",
            )
            .await
        }
        10 => {
            line.get("/_doorward/handover?token=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", &forged).await
        }
        _ => line.post(NEW_KEY, &[("name", "x"), ("password", PASSWORD)], &forged).await,
    }
}
