//! The database.

use std::time::Duration;

use figment::value::Value;

use crate::config::reading::Kind;
use crate::config::reading::Read;
use crate::config::reading::{Number, Reader, Section, Span, section};
use crate::config::sections::general::{Check, General};
use crate::model::secret::Secret;

const HOUR: u64 = 60 * 60;

section! {
    /// The database that holds users, keys and sessions.
    Store {
        /// `sqlite:FILE`, relative to the working directory, for one machine;
        /// `postgres://USER:PASSWORD@HOST/DATABASE` for any number of replicas.
        url: DatabaseUrl = r#""sqlite:doorward.db""#, r#""sqlite:/var/lib/doorward/doorward.db""#;
        /// Most connections held open to PostgreSQL. One is for the watch over revocations, half of the others are
        /// for looking up who requests come from, and the rest for pages and changes; each has one at least.
        connections: Number<1, 1000> = "10", "20";
        /// How long remembered credentials stay good while the database cannot be asked. During that time
        /// nothing that was revoked is noticed. `0s`: not at all.
        outage_grace: Span<0, HOUR> = r#""0s""#, r#""5m""#;
    }
}

/// The database.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// `sqlite:PATH` or `postgres://…`; secret because it may hold a password.
    pub url: Secret,
    /// Most connections held open to `PostgreSQL`, by all who use it here.
    pub connections: u32,
    /// How long remembered credentials stay good while the store cannot be asked; zero: not at all.
    pub outage_grace: Duration,
}

impl Check for Store {
    type Typed = StoreConfig;

    fn check(self, general: &General, reader: &mut Reader) -> StoreConfig {
        let url = self.url.0.expose();
        let path = reader.set_as(&self.at("url"));
        let postgres = url.starts_with("postgres://") || url.starts_with("postgresql://");
        let complete = if postgres {
            url::Url::parse(url).is_ok_and(|url| url.has_host() && url.path().len() > 1)
        } else {
            url.strip_prefix("sqlite:").is_some_and(|file| !file.trim_start_matches('/').is_empty())
        };
        if !complete {
            reader.problem(
                &path,
                "is no database",
                "write \"sqlite:FILE\" or \"postgres://USER:PASSWORD@HOST/DATABASE\"",
            );
        }
        if postgres && general.secret.is_none() && !reader.is_broken(&reader.set_as("secret")) {
            reader.problem(
                "secret",
                "is missing, but replicas on one PostgreSQL must share it",
                "add `secret_file` with the output of: openssl rand -base64 32",
            );
        }
        StoreConfig {
            connections: self.connections.count(),
            outage_grace: self.outage_grace.0,
            url: self.url.0,
        }
    }
}

/// Where a database is; a secret where that holds a password.
#[derive(Clone, Debug)]
pub(in crate::config) struct DatabaseUrl(Secret);

impl Read for DatabaseUrl {
    const KIND: &'static Kind = &Kind::Secret { is_guarded: holds_password };

    fn read(value: &Value, path: &str, reader: &mut Reader) -> Option<Self> {
        Secret::read(value, path, reader).map(Self)
    }
}

fn holds_password(url: &str) -> bool {
    url.contains('@') || url.contains("password=")
}
