//! `kill -9` at any moment: whatever was answered with success is there afterwards.
//!
//! What the kernel holds outlives a process that is killed, so this says nothing of a power cut. It says that no
//! success is answered before its commit, that a store opens however it was left, and that the trail stays whole.

mod person;
mod script;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use serde_json::Value;
use sqlx::{Connection as _, Executor as _, PgConnection, SqliteConnection};

use self::person::Person;
use self::script::Script;
use crate::{Place, text};

/// How many write at once in browsers.
const PEOPLE: usize = 3;
/// A killed attempt to sign in counts as a failed one, so nobody stays for long.
const ROUNDS_OF_A_PERSON: u64 = 25;
/// The longest that a process lives while it is written to.
const LONGEST_LIFE: Duration = Duration::from_millis(400);
/// The longest that a process lives which is killed while it starts.
const LONGEST_START: u64 = 60;

/// D25: an end without warning, again and again.
#[test]
fn nothing_that_was_answered_is_lost_by_kill_9_on_sqlite() {
    let mut world = World::new("sqlite:doorward.db");
    println!("{}", world.killed_again_and_again(if is_long() { 1000 } else { 20 }));
    let file = world.place.path("doorward.db").display().to_string();
    let found: String = wait(async {
        let mut database = SqliteConnection::connect(&format!("sqlite:{file}")).await.unwrap();
        sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&mut database).await.unwrap()
    });
    assert_eq!(found, "ok");
}

#[test]
fn nothing_that_was_answered_is_lost_by_kill_9_on_postgresql() {
    let mut world = World::new(&fresh_schema());
    println!("{}", world.killed_again_and_again(if is_long() { 200 } else { 5 }));
}

/// What the two tests above would say of a store that forgets.
#[test]
fn a_store_that_is_put_back_to_an_earlier_state_is_found_out() {
    let mut world = World::new("sqlite:doorward.db");
    let files = ["doorward.db", "doorward.db-wal"].map(|name| world.place.path(name));
    world.life(Duration::from_millis(500));
    // A command that ends last may have put the log into the database, and then it is not there.
    let before = files.each_ref().map(|file| fs::read(file).unwrap_or_default());
    let told = world.confirmed();
    while world.confirmed() == told {
        world.life(Duration::from_secs(1));
    }
    world.verify_the_trail();
    for (file, bytes) in files.iter().zip(before) {
        fs::write(file, bytes).unwrap();
    }
    let _ = fs::remove_file(world.place.path("doorward.db-shm"));
    let gateway = world.place.serve();
    world.check(gateway.address);
    assert!(!world.lost.is_empty(), "nothing was missed of {} writes", world.confirmed());
    let noted = world.noted.take().unwrap();
    let output = world.place.run(&["audit", "verify", "--noted", &noted]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}

fn is_long() -> bool {
    std::env::var_os("DOORWARD_TEST_LONG").is_some()
}

/// The time until a kill. It is no wait for anything.
#[expect(clippy::disallowed_methods, reason = "no runtime here")]
fn let_pass(span: Duration) {
    std::thread::sleep(span);
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// The address of a schema of its own.
#[expect(clippy::disallowed_methods, reason = "the test's own switch, not a setting of the program")]
fn fresh_schema() -> String {
    let base = std::env::var("DOORWARD_TEST_POSTGRES")
        .expect("DOORWARD_TEST_POSTGRES is not set: run ./tests/run.sh, which starts a PostgreSQL");
    let schema = format!("k{}", uuid::Uuid::now_v7().simple());
    wait(async {
        let mut connection = PgConnection::connect(&base).await.unwrap();
        connection.execute(sqlx::AssertSqlSafe(format!("CREATE SCHEMA {schema}"))).await.unwrap();
    });
    format!("{base}?options=-csearch_path%3D{schema}")
}

/// Numbers that differ at each run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % sides
    }
}

/// A gateway that is killed and started again, those who write to it, and what they were told.
struct World {
    place: Place,
    people: Vec<Person>,
    script: Script,
    /// Who wrote before them.
    retired: Vec<(Vec<Person>, Script)>,
    dice: Dice,
    /// How many people there were.
    named: u64,
    /// The end of the trail when it was last verified.
    noted: Option<String>,
    lost: Vec<String>,
}

impl World {
    fn new(store: &str) -> Self {
        let place = Place::new(&format!(
            "public_url = \"http://localhost\"\nsecret = \"5fGk2Lw8Rf4Hd6Jy1Mg5Pc7Zt0Vb3Xn9Ks=\"\n\
             store.url = \"{store}\"\n\
             [server]\nlisten = [\"127.0.0.1:0\"]\nworkers = 1\ntrusted_proxies = [\"127.0.0.1\"]\n\
             [[upstreams]]\nname = \"app\"\nurl = \"builtin:sample\"\n[[routes]]\nupstream = \"app\"\n"
        ));
        fs::set_permissions(place.path("doorward.toml"), fs::Permissions::from_mode(0o600)).unwrap();
        place.json(&["store", "create"]);
        let seed = uuid::Uuid::now_v7().as_u64_pair().1;
        let (people, retired, lost) = (Vec::new(), Vec::new(), Vec::new());
        let script = Script::default();
        Self { place, people, retired, script, dice: Dice(seed), named: 0, noted: None, lost }
    }

    /// What came of it, in words; fails if anything was lost.
    fn killed_again_and_again(&mut self, kills: u64) -> String {
        let began = Instant::now();
        for kill in 1..=kills {
            if kill % ROUNDS_OF_A_PERSON == 0 {
                self.retired.push((std::mem::take(&mut self.people), std::mem::take(&mut self.script)));
                self.verify_the_trail();
            }
            if self.people.is_empty() {
                // Long enough for everybody to sign in.
                self.life(2 * LONGEST_LIFE);
            } else if self.dice.roll(5) == 0 {
                self.die_young();
            } else {
                let span = self.dice.roll(u64::try_from(LONGEST_LIFE.as_micros()).unwrap());
                self.life(Duration::from_micros(span));
            }
            assert!(self.lost.is_empty(), "after {kill} kills: {:?}", self.lost);
        }
        let gateway = self.place.serve();
        let (mut confirmed, mut unanswered) = (0, 0);
        self.retired.push((std::mem::take(&mut self.people), std::mem::take(&mut self.script)));
        for (people, script) in std::mem::take(&mut self.retired) {
            (self.people, self.script) = (people, script);
            self.check(gateway.address);
            let people = self.people.iter_mut();
            self.lost.extend(people.filter_map(|person| person.still_signs_in(gateway.address)));
            confirmed += self.confirmed();
            unanswered += self.unanswered();
        }
        self.verify_the_trail();
        assert!(self.lost.is_empty(), "{:?}", self.lost);
        assert!(
            confirmed > kills / 4 && unanswered > kills / 2,
            "{confirmed} and {unanswered}: the kills must meet writes"
        );
        format!(
            "{kills} kills in {:.1?}: {confirmed} writes were answered with success and none was lost, {unanswered} broke off",
            began.elapsed()
        )
    }

    /// Starts a gateway, checks what was left, and kills it while it is written to.
    fn life(&mut self, span: Duration) {
        while self.people.len() < PEOPLE {
            self.named += 1;
            let (place, seed) = (&self.place, self.dice.roll(u64::MAX));
            self.people.push(Person::added(place, &format!("person{}", self.named), Dice(seed)));
        }
        let mut gateway = self.place.serve();
        self.check(gateway.address);
        let (place, address) = (&self.place, gateway.address);
        std::thread::scope(|scope| {
            for person in &mut self.people {
                scope.spawn(move || person.write_until_it_is_gone(address));
            }
            let stop = self.script.write_beside(scope, place);
            let_pass(span);
            gateway.child.kill().unwrap();
            drop(stop);
        });
        gateway.child.wait().unwrap();
    }

    /// Kills a gateway while it starts.
    fn die_young(&mut self) {
        let mut child = self.place.command(&["serve"]).spawn().unwrap();
        let_pass(Duration::from_millis(self.dice.roll(LONGEST_START)));
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Whether everything is as it was answered to be.
    fn check(&mut self, address: std::net::SocketAddr) {
        self.lost.extend(self.script.check(address));
        let lost: Vec<String> = std::thread::scope(|scope| {
            let checks: Vec<_> =
                self.people.iter_mut().map(|person| scope.spawn(move || person.check(address))).collect();
            checks.into_iter().flat_map(|check| check.join().unwrap()).collect()
        });
        self.lost.extend(lost);
    }

    fn verify_the_trail(&mut self) {
        let mut arguments = vec!["audit", "verify"];
        arguments.extend(self.noted.as_deref().map_or_else(Vec::new, |noted| vec!["--noted", noted]));
        let output = self.place.run(&[&arguments[..], &["--json"]].concat());
        assert!(output.status.success(), "{output:?}");
        let found: Value = serde_json::from_str(&text(&output.stdout)).unwrap();
        self.noted = Some(format!("{}:{}", found["last"], found["link"].as_str().unwrap()));
    }

    fn confirmed(&self) -> u64 {
        self.script.confirmed + self.people.iter().map(|person| person.confirmed).sum::<u64>()
    }

    fn unanswered(&self) -> u64 {
        self.script.unanswered + self.people.iter().map(|person| person.unanswered).sum::<u64>()
    }
}

/// A right: a key or a session.
struct Right {
    /// The header that claims it.
    header: String,
    /// What the gateway calls it.
    id: String,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Holds,
    Ended,
    /// Its end was asked for and never answered.
    Unclear,
}

impl Right {
    /// The header by which it is used, from a client of its own: one that tries many keys that are over is slowed down.
    fn header_of_client(&self, index: usize) -> String {
        format!("{}x-forwarded-for: 198.51.{}.{}\r\n", self.header, index / 250, index % 250)
    }

    /// What is wrong with it, if its use now is answered with this.
    fn judge(&mut self, whose: &str, status: u16) -> Option<String> {
        let found = match status {
            200 => State::Holds,
            401 => State::Ended,
            status => return Some(format!("{whose} is answered with {status}: {}", self.id)),
        };
        let was = std::mem::replace(&mut self.state, found);
        (was != State::Unclear && was != found)
            .then(|| format!("{whose} was {was:?}, is {found:?}: {}", self.id))
    }
}
