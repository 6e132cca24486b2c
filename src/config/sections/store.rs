//! Where the database is: an SQLite file, counted like every file name from the configuration file's directory, or
//! PostgreSQL.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use figment::value::Value;
use url::Url;

use crate::config::reading::Read;
use crate::config::reading::SettingType;
use crate::config::reading::{InvalidValue, Number, Section, SettingsReader, Span, not_utf8, section};
use crate::config::sections::general::{CheckSection, General};
use crate::model::secret::Secret;

const HOUR: u64 = 60 * 60;

section! {
    /// The database that holds users, keys and sessions.
    Store {
        /// `sqlite:FILE` for one machine; `postgres://USER:PASSWORD@HOST/DATABASE` for any number of replicas, or
        /// `postgres:///DATABASE?host=/run/postgresql&user=USER` by a socket in that folder.
        url: DatabaseUrl = r#""sqlite:doorward.db""#, r#""sqlite:/var/lib/doorward/doorward.db""#;
        /// Most connections held open to PostgreSQL. One is for the watch over revocations, half of the others are
        /// for looking up who requests come from, and the rest for pages and changes; each has one at least.
        connections: Number<1, 1000> = "10", "20";
        /// How long cached credentials stay valid while the database cannot be reached. During that time
        /// nothing that was revoked is noticed. `0s`: not at all.
        outage_grace: Span<0, HOUR> = r#""0s""#, r#""5m""#;
    }
}

/// Parameters of a PostgreSQL address that name files.
const FILES: [&str; 6] = ["sslrootcert", "ssl-root-cert", "ssl-ca", "sslcert", "ssl-cert", "sslkey"];

/// Parameters that mean anything in the address of a PostgreSQL; the driver would pass over others.
const PARAMETERS: [&str; 18] = [
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "password",
    "port",
    "ssl-ca",
    "ssl-cert",
    "ssl-key",
    "ssl-mode",
    "ssl-root-cert",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "statement-cache-capacity",
    "user",
];

/// What the driver for PostgreSQL takes from the environment where an address does not say it.
const VARIABLES: [&str; 13] = [
    "PGHOST",
    "PGHOSTADDR",
    "PGPORT",
    "PGUSER",
    "PGPASSWORD",
    "PGPASSFILE",
    "PGDATABASE",
    "PGSSLMODE",
    "PGSSLROOTCERT",
    "PGSSLCERT",
    "PGSSLKEY",
    "PGAPPNAME",
    "PGOPTIONS",
];

/// The database.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// `sqlite:PATH`, complete, or `postgres://…`; secret because it may hold a password.
    pub url: Secret,
    /// Most connections held open to `PostgreSQL`, by all who use it here.
    pub connections: u32,
    /// How long cached credentials stay valid while the store cannot be reached; zero: not at all.
    pub outage_grace: Duration,
}

impl StoreConfig {
    /// The SQLite file; `None` for one in memory and for PostgreSQL.
    pub fn file(&self) -> Option<&Path> {
        file_of(self.url.expose()).map(Path::new)
    }
}

/// The path in the address of an SQLite file.
fn file_of(url: &str) -> Option<&str> {
    url.strip_prefix("sqlite://")
        .or_else(|| url.strip_prefix("sqlite:"))
        .filter(|path| *path != ":memory:" && !path.is_empty())
}

impl CheckSection for Store {
    type Typed = StoreConfig;

    fn check(self, general: &General, reader: &mut SettingsReader) -> StoreConfig {
        let path = reader.set_as(&self.at("url"));
        let given = self.url.0.expose();
        let placed = checked(given).and_then(|()| placed(given, reader));
        let url = placed.unwrap_or_else(|fault| {
            reader.fault(&path, fault);
            self.url.0.clone()
        });
        if is_postgres(url.expose())
            && general.secret.is_none()
            && !reader.is_broken(&reader.set_as("secret"))
        {
            reader.problem(
                "secret",
                "is missing, but replicas on one PostgreSQL must share it",
                "add `secret_file` with the output of: openssl rand -base64 32",
            );
        }
        StoreConfig { connections: self.connections.count(), outage_grace: self.outage_grace.0, url }
    }
}

/// Where a database is; a secret where that holds a password.
#[derive(Clone, Debug)]
pub(in crate::config) struct DatabaseUrl(Secret);

impl Read for DatabaseUrl {
    const KIND: &'static SettingType = &SettingType::Secret { is_guarded: holds_password };

    fn read(value: &Value, path: &str, reader: &mut SettingsReader) -> Option<Self> {
        Secret::read(value, path, reader).map(Self)
    }
}

fn holds_password(url: &str) -> bool {
    url.contains('@') || url.contains("password=")
}

/// Notes variables that the driver for PostgreSQL reads by itself, and passes over where they are not UTF-8.
pub(in crate::config) fn check_variables(
    config: &StoreConfig,
    environment: &[(OsString, OsString)],
    reader: &mut SettingsReader,
) {
    if !is_postgres(config.url.expose()) {
        return;
    }
    let unread = environment.iter().filter(|(_, value)| value.to_str().is_none());
    for (name, _) in unread.filter(|(name, _)| VARIABLES.iter().any(|read| name == read)) {
        reader.problems.push(not_utf8(name));
    }
}

fn is_postgres(url: &str) -> bool {
    url.starts_with("postgres://") || url.starts_with("postgresql://")
}

/// Whether an address names a database; nothing of it is quoted, as there may be a password in it.
fn checked(address: &str) -> Result<(), InvalidValue> {
    const FORMS: &str = "write \"sqlite:FILE\" or \"postgres://USER:PASSWORD@HOST/DATABASE\"";
    let refuse = |why: &str| Err(InvalidValue::new(format!("is not a database{why}"), FORMS));
    if let Some(rest) = address.strip_prefix("sqlite:") {
        return match rest.trim_start_matches('/') {
            "" => refuse(""),
            path if path.contains('?') => {
                refuse(": the path of a file comes after sqlite:, without parameters")
            }
            _ => Ok(()),
        };
    }
    if !is_postgres(address) {
        return refuse("");
    }
    let parsed = match Url::parse(address) {
        Ok(parsed) => parsed,
        Err(url::ParseError::EmptyHost) => {
            return refuse(
                ": it has a user and no host; with a socket write postgres:///DATABASE?host=/run/postgresql&user=USER",
            );
        }
        Err(_) => return refuse(": it is not an address"),
    };
    if !parsed.query_pairs().all(|(key, _)| PARAMETERS.contains(&&*key) || key.starts_with("options[")) {
        return refuse(
            ": one of its parameters is not known, as host, port, dbname, user, password, options, sslmode, sslrootcert, \
             sslcert and sslkey are",
        );
    }
    let named = parsed.path().len() > 1 || parsed.query_pairs().any(|(key, _)| key == "dbname");
    let somewhere =
        parsed.has_host() || parsed.query_pairs().any(|(key, _)| key == "host" || key == "hostaddr");
    if named && somewhere { Ok(()) } else { refuse(": it lacks the host or the database") }
}

/// The address with the file it names counted from the configuration file's directory.
fn placed(url: &str, reader: &SettingsReader) -> Result<Secret, InvalidValue> {
    if let Some(file) = file_of(url) {
        let placed = reader.resolve(file);
        let Some(placed) = placed.to_str() else {
            return Err(InvalidValue::new(
                "counts from a folder whose name is not UTF-8",
                "write an absolute path, such as \"sqlite:/var/lib/doorward/doorward.db\"",
            ));
        };
        return Ok(Secret::new(format!("sqlite:{placed}")));
    }
    let parsed = Url::parse(url).ok();
    let relative = parsed
        .iter()
        .flat_map(|url| url.query_pairs())
        .find(|(key, value)| FILES.contains(&&**key) && !value.starts_with('/'));
    match relative {
        Some((key, _)) => Err(InvalidValue::new(
            format!("names a file by `{key}` that would count from the working directory"),
            "write its absolute path",
        )),
        None => Ok(Secret::new(url)),
    }
}
