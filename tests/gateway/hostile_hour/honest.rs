//! Those who must not notice: a key, a session, an admin at the pages and one at the command line. Each asks again and again,
//! and what comes back is judged at the end.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use doorward::model::api_key::KeyScope;
use doorward::model::role::Role;
use doorward::service::accounts::NewUser;
use doorward::service::api_keys::NewKey;
use tokio::task::JoinSet;

use super::line::{Line, cookies};
use crate::support::gateway::{PASSWORD, bearer};
use crate::support::raw::Answer;
use crate::support::{Gateway, until, within};

/// How long one rests between two questions.
const REST: Duration = Duration::from_millis(20);
/// What changes something is asked for more seldom: what people may change has a pace.
const LONG_REST: Duration = Duration::from_secs(4);
/// A connection to the store that takes no changes any more is noticed within this (`docs/operations.md`).
const NOTICED: Duration = Duration::from_secs(1);

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Key,
    NewKey,
    Session,
    Page,
    Change,
    SignIn,
    CommandLine,
}

const KINDS: [Kind; 7] =
    [Kind::Key, Kind::NewKey, Kind::Session, Kind::Page, Kind::Change, Kind::SignIn, Kind::CommandLine];

struct Sample {
    kind: Kind,
    began: Instant,
    ended: Instant,
    /// Whether it was served, refused with a time after which to come again, or neither.
    outcome: Outcome,
}

enum Outcome {
    Served,
    Later,
    Failed(String),
}

impl Outcome {
    fn of(answer: &Answer, served: u16) -> Self {
        match answer.status {
            status if status == served => Self::Served,
            503 if answer.header("retry-after").is_some() => Self::Later,
            _ => Self::Failed(format!("{}\n{}", answer.head, answer.text())),
        }
    }
}

/// What was seen so far.
#[derive(Default)]
pub struct Record {
    samples: Mutex<Vec<Sample>>,
    count: AtomicUsize,
    /// While the store could not be asked, as was announced.
    outages: Mutex<Vec<(Instant, Instant)>>,
    /// Names of users and keys whose making was confirmed.
    made: Mutex<Vec<String>>,
    /// The names an admin asked to be shown, and whether that was confirmed.
    renamed: Mutex<Vec<(String, bool)>>,
}

impl Record {
    fn note(&self, kind: Kind, began: Instant, outcome: Outcome) {
        self.samples.lock().unwrap().push(Sample { kind, began, ended: Instant::now(), outcome });
        self.count.fetch_add(1, Ordering::SeqCst);
    }

    /// Announces that the store could not be asked from then until now.
    pub fn outage_since(&self, began: Instant) {
        self.outages.lock().unwrap().push((began, Instant::now() + NOTICED));
    }

    /// Waits until so many more answers have come.
    pub async fn sees(&self, more: usize) {
        let enough = self.count.load(Ordering::SeqCst) + more;
        until("answers to those who are measured", async || self.count.load(Ordering::SeqCst) >= enough)
            .await;
    }

    fn is_excused(&self, sample: &Sample) -> bool {
        let outages = self.outages.lock().unwrap();
        outages.iter().any(|(from, to)| sample.began < *to && sample.ended > *from)
    }

    /// Fails if somebody was not served outside of the outages, or was told no time in one.
    pub fn judge(&self) {
        let samples = self.samples.lock().unwrap();
        let failed: Vec<String> = samples.iter().filter_map(|sample| self.failure_of(sample)).collect();
        let told = &failed[..failed.len().min(20)];
        assert!(failed.is_empty(), "{} of {} failed:\n{}", failed.len(), samples.len(), told.join("\n"));
    }

    fn failure_of(&self, sample: &Sample) -> Option<String> {
        let (kind, took) = (sample.kind, sample.ended - sample.began);
        match &sample.outcome {
            Outcome::Served => None,
            Outcome::Later if self.is_excused(sample) => None,
            Outcome::Later => Some(format!("{kind:?} was sent away after {took:?} without an outage")),
            Outcome::Failed(answer) => Some(format!("{kind:?} was not served: {answer}")),
        }
    }

    /// Says how long it took, outages left out, since then.
    pub fn tell(&self, when: &str, since: Instant) {
        let samples = self.samples.lock().unwrap();
        for kind in KINDS {
            let counts =
                |sample: &&Sample| sample.kind == kind && sample.began >= since && !self.is_excused(sample);
            let mut took: Vec<Duration> =
                samples.iter().filter(counts).map(|sample| sample.ended - sample.began).collect();
            took.sort_unstable();
            let at = |part: usize| took.get((took.len() * part / 100).min(took.len().saturating_sub(1)));
            if let (Some(half), Some(most)) = (at(50), at(99)) {
                println!("{when}: {kind:?}: {} answers, p50 {half:.1?}, p99 {most:.1?}", took.len());
            }
        }
    }

    /// Fails if something is not in the store that was confirmed.
    pub async fn is_kept(&self, gateway: &Gateway) {
        let made = self.made.lock().unwrap().clone();
        let keys = gateway.keys.list(&gateway.by, None).await.unwrap();
        for name in &made {
            let user = gateway.accounts.find(&gateway.by, name).await.unwrap();
            assert!(user.is_some() || keys.iter().any(|key| key.name == *name), "{name} is lost");
        }
        let shown = gateway.accounts.find(&gateway.by, "root").await.unwrap().unwrap().display_name;
        let renamed = self.renamed.lock().unwrap();
        let confirmed = renamed.iter().rposition(|(_, confirmed)| *confirmed).expect("a name was confirmed");
        let possible = renamed.get(confirmed..).unwrap_or_default();
        assert!(possible.iter().any(|(name, _)| shown.as_ref() == Some(name)), "{shown:?} of {possible:?}");
        println!("{} users and keys, and {} names, are all there", made.len(), renamed.len());
    }
}

/// They ask until the end.
pub struct Honest {
    pub record: Arc<Record>,
    over: Arc<AtomicBool>,
    tasks: JoinSet<()>,
}

fn address(last: u8) -> IpAddr {
    IpAddr::from([203, 0, 113, last])
}

impl Honest {
    /// Lets all of them in, and has them begin. There must be the admin `root` and the viewer `mel`.
    pub async fn begin(gateway: &Arc<Gateway>) -> Self {
        let mut honest = Self { record: Arc::default(), over: Arc::default(), tasks: JoinSet::new() };
        let key = bearer(&gateway.system_key("measured", Role::Viewer).await);
        let mel = sign_in(&mut Line::of(gateway.address, address(2)), "mel").await;
        let root = sign_in(&mut Line::of(gateway.address, address(3)), "root").await;
        honest.asks(gateway, 1, Kind::Key, "/reads", key);
        honest.asks(gateway, 2, Kind::Session, "/reads", mel);
        honest.asks(gateway, 3, Kind::Page, "/_doorward/account", root.clone());
        honest.signs_in(gateway, &root);
        honest.changes_names(gateway, root);
        honest.makes_users_and_keys(gateway);
        honest
    }

    /// Waits until all have their last answers.
    pub async fn end(mut self) -> Arc<Record> {
        self.over.store(true, Ordering::SeqCst);
        while let Some(ended) = within("the last answers", self.tasks.join_next()).await {
            ended.unwrap();
        }
        self.record
    }

    fn asks(&mut self, gateway: &Gateway, last: u8, kind: Kind, path: &'static str, headers: String) {
        let (record, over) = (Arc::clone(&self.record), Arc::clone(&self.over));
        let mut line = Line::of(gateway.address, address(last));
        self.tasks.spawn(async move {
            while !over.load(Ordering::SeqCst) {
                let began = Instant::now();
                let answer = line.get(path, &headers).await;
                record.note(kind, began, Outcome::of(&answer, 200));
                tokio::time::sleep(REST).await;
            }
        });
    }

    fn changes_names(&mut self, gateway: &Gateway, root: String) {
        let (record, over) = (Arc::clone(&self.record), Arc::clone(&self.over));
        let mut line = Line::of(gateway.address, address(3));
        self.tasks.spawn(async move {
            for number in 0.. {
                let (name, began) = (format!("Root {number}"), Instant::now());
                let answer = line.post("/_doorward/account/name", &[("name", &name)], &root).await;
                record.renamed.lock().unwrap().push((name, answer.status == 303));
                record.note(Kind::Change, began, Outcome::of(&answer, 303));
                if rests(&over).await {
                    return;
                }
            }
        });
    }

    /// On a browser that is known.
    fn signs_in(&mut self, gateway: &Gateway, root: &str) {
        let (record, over) = (Arc::clone(&self.record), Arc::clone(&self.over));
        let mut line = Line::of(gateway.address, address(4));
        let device = root.split("; ").find(|pair| pair.contains("device=")).unwrap().trim_end().to_owned();
        self.tasks.spawn(async move {
            while !rests(&over).await && !rests(&over).await {
                let began = Instant::now();
                let form = [("username", "root"), ("password", PASSWORD)];
                let answer = line.post("/_doorward/login", &form, &format!("cookie: {device}\r\n")).await;
                record.note(Kind::SignIn, began, Outcome::of(&answer, 303));
            }
        });
    }

    /// As the command line does, beside the gateway; and a key is used at once.
    fn makes_users_and_keys(&mut self, gateway: &Arc<Gateway>) {
        let (record, over) = (Arc::clone(&self.record), Arc::clone(&self.over));
        let gateway = Arc::clone(gateway);
        let mut line = Line::of(gateway.address, address(5));
        self.tasks.spawn(async move {
            for number in 0.. {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                let name = format!("made-{number}");
                let began = Instant::now();
                let user = NewUser {
                    username: name.clone(),
                    email: None,
                    display_name: None,
                    role: Role::Viewer,
                    groups: Vec::new(),
                    password: None,
                };
                let made = gateway.accounts.create(&gateway.by, user).await;
                record.confirm(name, began, made.as_ref().err());
                let name = format!("key-{number}");
                let began = Instant::now();
                let key = NewKey {
                    name: name.clone(),
                    owner: None,
                    role: Role::Viewer,
                    scope: KeyScope::default(),
                    expires_at: None,
                };
                let made = gateway.keys.issue(&gateway.by, key).await;
                record.confirm(name, began, made.as_ref().err());
                if let Ok((text, _)) = made {
                    let began = Instant::now();
                    let answer = line.get("/reads", &bearer(text.expose())).await;
                    record.note(Kind::NewKey, began, Outcome::of(&answer, 200));
                }
                tokio::time::sleep(5 * REST).await;
            }
        });
    }
}

impl Record {
    fn confirm(&self, name: String, began: Instant, error: Option<&doorward::service::ServiceError>) {
        let outcome = match error {
            None => Outcome::Served,
            Some(doorward::service::ServiceError::Unavailable(_)) => Outcome::Later,
            Some(error) => Outcome::Failed(error.to_string()),
        };
        if error.is_none() {
            self.made.lock().unwrap().push(name);
        }
        self.note(Kind::CommandLine, began, outcome);
    }
}

/// Whether it is over.
async fn rests(over: &AtomicBool) -> bool {
    let rested = Instant::now();
    while rested.elapsed() < LONG_REST && !over.load(Ordering::SeqCst) {
        tokio::time::sleep(REST).await;
    }
    over.load(Ordering::SeqCst)
}

/// The cookies of a browser that has signed in.
pub async fn sign_in(line: &mut Line, name: &str) -> String {
    let answer = line.post("/_doorward/login", &[("username", name), ("password", PASSWORD)], "").await;
    assert_eq!(answer.status, 303, "{}\n{}", answer.head, answer.text());
    cookies(&answer)
}
