//! Counts of requests that would have been refused, grouped by what they have in common.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::time::Timestamp;

/// Stands for clients that are too many to be told apart.
pub const OTHERS: &str = "others";

/// A caller who presented a foreign credential beside a session, which does not count then.
pub const BESIDE_SESSION: &str = "nobody, beside a session";
/// A caller who presented our key as the password of HTTP Basic, where that is not accepted.
pub const AS_PASSWORD: &str = "nobody, by a key as password";
/// The same in a form that is taken nowhere.
pub const MANGLED: &str = "nobody, by a key in another form";
/// The same beside a credential of another system.
pub const BESIDE_FOREIGN: &str = "nobody, by a key beside another credential";

/// The code of requests that look like GraphQL where no rule tells its operations apart. They are no refusals, and are
/// counted a few times for each path in a minute.
pub const RESEMBLES_GRAPHQL: &str = "graphql-without-rules";

/// What counted refusals have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RefusedBy {
    /// The route.
    pub route: String,
    /// The rule that would have refused; empty where none fitted or it did not come to that.
    pub rule: String,
    /// Why, by the name that answers use.
    pub code: String,
    /// `key:NAME`, `user:NAME`, `nobody`, [`BESIDE_SESSION`], [`AS_PASSWORD`], [`MANGLED`] or [`BESIDE_FOREIGN`].
    pub credential: String,
    /// The client's address, or [`OTHERS`].
    pub client: String,
    /// The first word of its `User-Agent`.
    pub agent: String,
    /// The method; what is no standard one is `OTHER`.
    pub method: String,
}

/// How often, when, and for example where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tally {
    /// How often.
    pub count: u64,
    /// When first.
    pub first_at: Timestamp,
    /// When last.
    pub last_at: Timestamp,
    /// The path of the last one, without its query.
    pub example: String,
}

impl Tally {
    /// Once, now.
    pub fn once(at: Timestamp, example: String) -> Self {
        Self { count: 1, first_at: at, last_at: at, example }
    }

    fn add(&mut self, other: Self) {
        self.count = self.count.saturating_add(other.count);
        self.first_at = self.first_at.min(other.first_at);
        if other.last_at >= self.last_at {
            self.last_at = other.last_at;
            self.example = other.example;
        }
    }
}

/// A bounded number of tallies. What there is no room for is counted without its client, or not at all.
#[derive(Debug)]
pub struct Tallies {
    room: usize,
    counted: HashMap<RefusedBy, Tally>,
    /// Refusals for which there was no room at all.
    pub lost: u64,
}

impl Tallies {
    /// Room for this many.
    pub fn new(room: usize) -> Self {
        Self { room, counted: HashMap::new(), lost: 0 }
    }

    /// Adds to a tally.
    pub fn add(&mut self, by: RefusedBy, tally: Tally) {
        let full = self.counted.len() >= self.room;
        // Half as much again for those without a client: they are as few as rules and credentials.
        let quite_full = self.counted.len() >= self.room + self.room / 2;
        match self.counted.entry(by) {
            Entry::Occupied(mut known) => known.get_mut().add(tally),
            Entry::Vacant(new) if !full || (new.key().client == OTHERS && !quite_full) => {
                new.insert(tally);
            }
            Entry::Vacant(new) if new.key().client == OTHERS => {
                self.lost = self.lost.saturating_add(tally.count);
            }
            Entry::Vacant(new) => {
                let by = RefusedBy { client: OTHERS.to_owned(), agent: String::new(), ..new.into_key() };
                self.add(by, tally);
            }
        }
    }

    /// Adds to several.
    pub fn add_all(&mut self, all: impl IntoIterator<Item = (RefusedBy, Tally)>) {
        for (by, tally) in all {
            self.add(by, tally);
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.counted.is_empty()
    }

    /// Takes them all out.
    pub fn drain(&mut self) -> Vec<(RefusedBy, Tally)> {
        self.counted.drain().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by(client: &str) -> RefusedBy {
        RefusedBy { client: client.into(), agent: "curl/8".into(), ..RefusedBy::default() }
    }

    #[test]
    fn what_has_everything_in_common_is_counted_together() {
        let mut tallies = Tallies::new(10);
        tallies.add(by("192.0.2.1"), Tally::once(Timestamp(7), "/b".into()));
        tallies.add(by("192.0.2.1"), Tally::once(Timestamp(5), "/a".into()));
        tallies.add(by("192.0.2.2"), Tally::once(Timestamp(6), "/c".into()));
        let mut all = tallies.drain();
        all.sort();
        let expected =
            Tally { count: 2, first_at: Timestamp(5), last_at: Timestamp(7), example: "/b".into() };
        assert_eq!(all.first().unwrap(), &(by("192.0.2.1"), expected));
        assert_eq!(all.len(), 2);
        assert!(tallies.is_empty());
    }

    #[test]
    fn no_number_of_clients_fills_more_than_its_room_and_none_goes_uncounted() {
        let mut tallies = Tallies::new(100);
        for number in 0..10_000 {
            tallies.add(by(&format!("client {number}")), Tally::once(Timestamp(number), "/".into()));
        }
        assert_eq!(tallies.lost, 0);
        let all = tallies.drain();
        assert_eq!(all.len(), 101);
        assert_eq!(all.iter().map(|(_, tally)| tally.count).sum::<u64>(), 10_000);
        for number in 0..10_000 {
            let odd = RefusedBy { rule: format!("{number}"), ..by(OTHERS) };
            tallies.add(odd, Tally::once(Timestamp(0), "/".into()));
        }
        assert_eq!((tallies.drain().len(), tallies.lost), (150, 9850));
    }
}
