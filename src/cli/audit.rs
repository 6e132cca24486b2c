//! `doorward audit`: lists the audit trail and verifies its chain.

use std::io;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::Subcommand;
use serde_json::Value;
use serde_json::json;

use super::Common;
use super::failure::Failure;
use super::output::Output;
use super::output::TextTable;
use super::services::CommandServices;
use super::span;
use crate::model::audit::AuditRow;
use crate::model::audit::Event;
use crate::model::audit::Party;
use crate::model::audit::hex;
use crate::model::time::Timestamp;
use crate::store::AuditFilter;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show what happened, the newest last
    #[command(after_help = "Examples:
  doorward audit list --since 24h
  doorward audit list --event login --about alice --limit 500")]
    List(List),
    /// Print every row as a line of JSON, the oldest first
    #[command(after_help = "Examples:
  doorward audit export > audit.jsonl
  doorward audit export --since 2030-01-31T00:00:00Z --after 1200")]
    Export {
        /// Only what was written then or later: 24h, 30d ago, or a time such as 2030-01-31T12:00:00Z
        #[arg(long, value_name = "WHEN", value_parser = when)]
        since: Option<TimeArgument>,
        /// Only rows after this number
        #[arg(long, value_name = "SEQ", default_value_t = 0)]
        after: i64,
    },
    /// Check that no row was changed, removed or moved; exit code 1 and the first such row if one was
    #[command(after_help = "Examples:
  doorward audit verify
  doorward audit verify --noted 1200:5f2b0c...   (as an earlier run printed it)")]
    Verify(Verify),
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Only what was written then or later: 24h, 30d ago, or a time such as 2030-01-31T12:00:00Z
    #[arg(long, value_name = "WHEN", value_parser = when)]
    since: Option<TimeArgument>,
    /// Only this event, such as login or key.create
    #[arg(long, value_name = "EVENT", value_parser = event)]
    event: Option<Event>,
    /// Only what this user or key did or what was done to it: name, or id such as user:ID
    #[arg(long, value_name = "WHO")]
    about: Option<String>,
    /// At most so many, the newest
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
}

#[derive(Debug, Args)]
pub(super) struct Verify {
    /// Number and link of a row that must be there, as an earlier run printed them
    #[arg(long, value_name = "SEQ:LINK", value_parser = noted)]
    noted: Option<(i64, String)>,
    /// A file with a secret that was in use before; may be repeated
    #[arg(long, value_name = "FILE")]
    secret_file: Vec<PathBuf>,
}

/// A time, or so long ago.
#[derive(Clone, Copy, Debug)]
pub(super) enum TimeArgument {
    At(Timestamp),
    Ago(Duration),
}

impl TimeArgument {
    fn from(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(time) => time,
            Self::Ago(span) => {
                Timestamp(now.0.saturating_sub(i64::try_from(span.as_secs()).unwrap_or(i64::MAX)))
            }
        }
    }
}

fn when(text: &str) -> Result<TimeArgument, String> {
    if let Some(time) = Timestamp::from_rfc3339(text) {
        return Ok(TimeArgument::At(time));
    }
    span::parse(text)
        .map(TimeArgument::Ago)
        .map_err(|wrong| format!("{wrong}; or a time such as 2030-01-31T12:00:00Z"))
}

fn event(text: &str) -> Result<Event, String> {
    Event::named(text).ok_or_else(|| {
        let words: Vec<_> = Event::ALL.iter().map(|event| event.as_str()).collect();
        format!("write one of {}", words.join(", "))
    })
}

fn noted(text: &str) -> Result<(i64, String), String> {
    let wrong = || "write number and link as `doorward audit verify` prints them, 1200:5f2b...".to_owned();
    let (seq, link) = text.split_once(':').ok_or_else(wrong)?;
    let shaped = link.len() == 64 && link.bytes().all(|byte| byte.is_ascii_hexdigit());
    let seq = seq.parse::<i64>().ok().filter(|seq| *seq > 0 && shaped).ok_or_else(wrong)?;
    Ok((seq, link.to_ascii_lowercase()))
}

pub(super) async fn run(command: Command, common: &Common, output: Output) -> Result<(), Failure> {
    let services = CommandServices::open(common).await?;
    match command {
        Command::List(arguments) => list(&arguments, &services, output).await,
        Command::Export { since, after } => export(since, after, &services).await,
        Command::Verify(arguments) => verify(&arguments, &services, output).await,
    }
}

async fn list(arguments: &List, services: &CommandServices, output: Output) -> Result<(), Failure> {
    let filter = AuditFilter {
        since: arguments.since.map(|since| since.from(services.clock.now())),
        event: arguments.event.map(Event::as_str),
        about: arguments.about.as_deref(),
    };
    let mut rows = services.audit.recent(&services.by, &filter, arguments.limit).await?;
    rows.reverse();
    let mut table = TextTable::new(
        &["SEQ", "TIME", "EVENT", "OUTCOME", "WHO", "FROM", "TO WHOM", "MORE"],
        "nothing happened",
    );
    for row in &rows {
        table.row(vec![
            row.seq.to_string(),
            row.at.rfc3339(),
            row.event.clone(),
            outcome(row).to_owned(),
            shown(Some(&row.actor)),
            row.client.clone().unwrap_or_else(|| "-".to_owned()),
            shown(row.target.as_ref()),
            more(row),
        ]);
    }
    output.list("events", &rows.iter().map(whole).collect::<Vec<_>>(), &table)
}

/// Streams: a trail of any length takes the memory of one page.
async fn export(since: Option<TimeArgument>, after: i64, services: &CommandServices) -> Result<(), Failure> {
    let since = since.map(|since| since.from(services.clock.now()));
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut after = after;
    loop {
        let rows = services.audit.page(&services.by, after, since).await?;
        let Some(last) = rows.last() else { break };
        after = last.seq;
        for row in &rows {
            match writeln!(out, "{}", whole(row)) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                outcome => outcome.map_err(|error| Failure::Failed(error.into()))?,
            }
        }
    }
    out.flush().or_else(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Ok(()),
        _ => Err(Failure::Failed(error.into())),
    })
}

async fn verify(arguments: &Verify, services: &CommandServices, output: Output) -> Result<(), Failure> {
    let mut older = Vec::new();
    for file in &arguments.secret_file {
        let key = crate::app::read_master_key(file);
        older.push(crate::app::audit_key(&key.map_err(|error| Failure::Failed(error.into()))?));
    }
    match services.audit.verify(&services.by, &older, arguments.noted.as_ref()).await? {
        Ok(verified) => {
            let rows = if verified.first == 0 { 0 } else { verified.last - verified.first + 1 };
            let value = json!({
                "whole": true,
                "rows": rows,
                "first": verified.first,
                "last": verified.last,
                "link": verified.link,
            });
            let text = match rows {
                0 => "The trail is empty".to_owned(),
                _ => format!(
                    "The trail is whole: rows {} to {}\nIts end, to be noted elsewhere: {}:{}",
                    verified.first, verified.last, verified.last, verified.link
                ),
            };
            output.show(&value, &text)
        }
        Err(broken) => Err(Failure::Refused(format!("the trail is broken: {broken}"))),
    }
}

fn outcome(row: &AuditRow) -> &'static str {
    if row.success { "success" } else { "failure" }
}

fn shown(party: Option<&Party>) -> String {
    match party {
        None => "-".to_owned(),
        Some(Party { id, name: None }) => id.clone(),
        Some(Party { id, name: Some(name) }) => {
            let kind = id.split_once(':').map_or(id.as_str(), |(kind, _)| kind);
            format!("{kind} {name}")
        }
    }
}

/// `name=value` of the detail.
fn more(row: &AuditRow) -> String {
    let detail: Value = serde_json::from_str(&row.detail).unwrap_or_default();
    let parts = detail.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
    let shown = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    parts.map(|(name, value)| format!("{name}={}", shown(value))).collect::<Vec<_>>().join(" ")
}

/// A row with every field, whether or not it holds anything.
fn whole(row: &AuditRow) -> Value {
    let target = row.target.as_ref();
    json!({
        "seq": row.seq,
        "time": row.at.rfc3339(),
        "event": row.event,
        "outcome": outcome(row),
        "actor": row.actor.id,
        "actor_name": row.actor.name,
        "client": row.client,
        "request_id": row.request_id,
        "target": target.map(|target| &target.id),
        "target_name": target.and_then(|target| target.name.as_ref()),
        "detail": serde_json::from_str::<Value>(&row.detail).unwrap_or_default(),
        "key_id": row.key_id,
        "previous": hex(&row.previous),
        "link": hex(&row.link),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_span_ago_or_a_moment() {
        let now = Timestamp(1_900_000_000);
        assert_eq!(when("1h").unwrap().from(now), Timestamp(now.0 - 3600));
        assert_eq!(when(&now.rfc3339()).unwrap().from(Timestamp(0)), now);
        for wrong in ["", "yesterday", "2030-01-31", "-1h"] {
            assert!(when(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_noted_row_is_a_number_and_a_whole_link() {
        let link = "5F".repeat(32);
        assert_eq!(noted(&format!("12:{link}")), Ok((12, link.to_ascii_lowercase())));
        for wrong in ["", "12", "12:5f", &format!("0:{link}"), &format!("x:{link}")] {
            assert!(noted(wrong).is_err(), "{wrong:?}");
        }
        assert_eq!(event("key.create"), Ok(Event::KeyCreate));
        assert!(event("key").is_err());
    }
}
