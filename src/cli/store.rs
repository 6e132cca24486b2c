//! `doorward store`: making a database, moving everything to another database, and a backup of an SQLite one.

use std::io::IsTerminal as _;
use std::io::Write as _;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use clap::Subcommand;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use super::Common;
use super::failure::Failure;
use super::failure::with_causes;
use super::load_beside;
use super::output::Output;
use super::services;
use crate::app;
use crate::app::StartError;
use crate::config::Config;
use crate::config::read_secret_file;
use crate::model::secret::Secret;
use crate::model::time::SystemClock;
use crate::model::token::SigningKey;
use crate::service::audit::{Audit, BrokenTrail, TrailFault};
use crate::store::Store;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make the database that the settings name, or bring its schema up to date; `doorward serve` does so by itself
    #[command(after_help = "Example:
  doorward store create --config /etc/doorward.toml && doorward user add alice --role admin --config /etc/doorward.toml")]
    Create,
    /// Copy users, keys, sessions, the audit trail and all else into an empty database
    #[command(after_help = "Examples:
  doorward store copy --to-file /run/secrets/database-url
  doorward store copy --from sqlite:/var/lib/doorward/doorward.db --to postgres://doorward@db.internal/doorward

An address with a password is given by a file, or the password by PGPASSWORD or ~/.pgpass: arguments can be seen by
everybody on the machine.")]
    Copy(Copy),
    /// Write an SQLite database into a new file, while gateways run
    #[command(after_help = "Example:
  doorward store backup /var/backups/doorward.db")]
    Backup {
        /// The file; it must not exist
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(super) struct Copy {
    /// Where from, as in `store.url` [default: what the settings say]
    #[arg(long, value_name = "URL", conflicts_with = "from_file")]
    from: Option<String>,
    /// A file that holds the address to copy from
    #[arg(long, value_name = "FILE")]
    from_file: Option<PathBuf>,
    /// Where to, as in `store.url`
    #[arg(long, value_name = "URL", conflicts_with = "to_file", required_unless_present = "to_file")]
    to: Option<String>,
    /// A file that holds the address to copy to
    #[arg(long, value_name = "FILE")]
    to_file: Option<PathBuf>,
    /// A file with the secret of the database that is copied, where it is neither in the settings nor beside it, or with one
    /// that was in use before; may be repeated
    #[arg(long, value_name = "FILE")]
    secret_file: Vec<PathBuf>,
}

pub(super) async fn run(command: Command, common: &Common, output: Output) -> Result<(), Failure> {
    let config = load_beside(common)?;
    match command {
        Command::Create => create(&config, output).await,
        Command::Copy(arguments) => copy(&arguments, config, output).await,
        Command::Backup { file } => backup(&file, &config, output).await,
    }
}

async fn create(config: &Config, output: Output) -> Result<(), Failure> {
    let file = config.store.file().map(whole);
    let made = file.as_ref().is_some_and(|file| !file.exists());
    let (store, _) = app::open_or_make_store(config, 1, Arc::new(SystemClock)).await?;
    store.close().await;
    let file = file.map(|file| file.display().to_string());
    let text = match &file {
        Some(file) if made => format!("made {file}, and the gateway's secret beside it"),
        Some(file) => format!("{file} was there already; its schema is up to date"),
        None => "the schema is up to date".to_owned(),
    };
    output.show(&json!({ "file": file, "created": made }), &text)
}

async fn copy(arguments: &Copy, mut config: Config, output: Output) -> Result<(), Failure> {
    let to = address("--to", arguments.to.as_deref(), arguments.to_file.as_deref())?;
    let to = to.ok_or_else(|| Failure::Usage("say where to: --to or --to-file".to_owned()))?;
    if let Some(from) = address("--from", arguments.from.as_deref(), arguments.from_file.as_deref())? {
        config.store.url = from;
    }
    there(&config)?;
    let keys = trail_keys(&arguments.secret_file, &config)?;
    let Some((key, older)) = keys.split_first() else {
        return Err(Failure::Usage("name the secret of that database with --secret-file".to_owned()));
    };
    // Neither is given rows of its own.
    let from = Store::open(config.store.url.expose(), 1).await?;
    // Before anything is copied: a target that holds something is refused the next time.
    let before = Audit::new(from.clone(), key.clone()).verify(&services::proof(), older, None).await?;
    if let Err(broken @ BrokenTrail { fault: TrailFault::OtherSecret { .. }, .. }) = before {
        return Err(Failure::Refused(format!("nothing was copied: {broken}")));
    }
    let to = Store::open(to.expose(), 1).await?;
    let live = std::io::stderr().is_terminal();
    let copied = from
        .copy_to(&to, |table, rows| {
            if live {
                let _ = write!(std::io::stderr(), "\r\x1b[K{table}: {rows}");
            }
        })
        .await;
    if live {
        let _ = write!(std::io::stderr(), "\r\x1b[K");
    }
    let copied = copied?;
    let trail = Audit::new(to.clone(), key.clone()).verify(&services::proof(), older, None).await?;
    from.close().await;
    to.close().await;
    let mut lines: Vec<String> = copied.iter().map(|(table, rows)| format!("{table}: {rows}")).collect();
    let verified = match &trail {
        Ok(verified) if verified.first == 0 => "The audit trail is empty".to_owned(),
        Ok(verified) => {
            format!("The audit trail is whole there: rows {} to {}", verified.first, verified.last)
        }
        Err(broken) => {
            return Err(Failure::Refused(format!("everything is copied, but the trail is broken: {broken}")));
        }
    };
    lines.push(verified);
    lines.push(
        "Nothing was changed where it came from. The gateway's secret is not in a database: give the new place the same, \
         as `secret_file`"
            .to_owned(),
    );
    let rows: serde_json::Map<String, _> =
        copied.iter().map(|(table, rows)| ((*table).to_owned(), json!(rows))).collect();
    output.show(&json!({ "copied": rows, "trail": "whole" }), &lines.join("\n"))
}

async fn backup(file: &Path, config: &Config, output: Output) -> Result<(), Failure> {
    if config.store.file().is_none() {
        let why = "PostgreSQL has its own: pg_dump --format=custom, or a base backup";
        return Err(Failure::Refused(why.to_owned()));
    }
    there(config)?;
    let store = Store::open(config.store.url.expose(), 1).await?;
    tokio::select! {
        written = store.backup(file) => written?,
        () = interrupted()? => return Err(Failure::Refused("interrupted: there is no backup".to_owned())),
    }
    store.close().await;
    let bytes = std::fs::metadata(file).map_or(0, |metadata| metadata.len());
    let text = format!(
        "{} holds everything but the gateway's secret ({bytes} bytes). Keep the secret apart from it",
        file.display()
    );
    output.show(&json!({ "file": file.display().to_string(), "bytes": bytes }), &text)
}

/// Until somebody wants the command to end.
fn interrupted() -> Result<impl Future<Output = ()>, Failure> {
    let on = |kind| signal(kind).map_err(|error| Failure::Failed(error.into()));
    let (mut interrupt, mut terminate) = (on(SignalKind::interrupt())?, on(SignalKind::terminate())?);
    let mut hangup = on(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! { _ = interrupt.recv() => {} _ = terminate.recv() => {} _ = hangup.recv() => {} }
    })
}

/// The keys that the audit trail of a database was written under, the newest first.
fn trail_keys(given: &[PathBuf], config: &Config) -> Result<Vec<SigningKey>, Failure> {
    let mut keys = Vec::new();
    match app::find_master_key(config) {
        Ok(key) => keys.push(app::audit_key(&key)),
        Err(StartError::NoKey { .. }) if !given.is_empty() => {}
        Err(StartError::NoKey { place }) => {
            return Err(Failure::Refused(format!(
                "nothing was copied: the secret of that database is not {place}; give it by --secret-file"
            )));
        }
        Err(other) => return Err(other.into()),
    }
    for file in given {
        let key = app::read_master_key(file);
        keys.push(app::audit_key(&key.map_err(|error| Failure::Failed(error.into()))?));
    }
    Ok(keys)
}

/// An address that was given as an argument or by a file.
fn address(name: &str, given: Option<&str>, file: Option<&Path>) -> Result<Option<Secret>, Failure> {
    if let Some(file) = file {
        let read = read_secret_file(file);
        return read
            .map(Some)
            .map_err(|error| Failure::Refused(format!("{name}-file: {}", with_causes(&error))));
    }
    let Some(given) = given else { return Ok(None) };
    let parsed = url::Url::parse(given).ok();
    let holds_one =
        |url: &url::Url| url.password().is_some() || url.query_pairs().any(|(key, _)| key == "password");
    if parsed.as_ref().is_some_and(holds_one) {
        return Err(Failure::Usage(format!(
            "{name} holds a password, which everybody on the machine can see: put the address into a file and give \
             {name}-file, or the password by PGPASSWORD"
        )));
    }
    Ok(Some(Secret::new(given)))
}

/// Nothing is made where there is nothing to copy.
fn there(config: &Config) -> Result<(), Failure> {
    match config.store.file() {
        Some(file) if !file.is_file() => {
            Err(Failure::NoDatabase(format!("there is no database at {}", whole(file).display())))
        }
        _ => Ok(()),
    }
}

/// A path that says where it is, whatever the working directory.
fn whole(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
