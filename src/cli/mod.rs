//! Floor 8, the command line: reads arguments, calls one service, shows the outcome. It holds no rule.
//!
//! Exit codes: 0 done, 1 refused or failed, 2 wrong usage or configuration. Secrets are never arguments.

mod audit;
mod check;
mod claims;
mod doctor;
mod explain;
mod failure;
mod healthcheck;
mod import;
mod key;
mod output;
mod refused;
mod services;
mod session;
mod snippet;
mod span;
mod store;
mod test;
mod user;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use clap::Parser;
use clap::Subcommand;

use self::failure::Failure;
use self::output::Output;
use crate::config;
use crate::config::Config;
use crate::config::ConfigOrigin;
use crate::config::ConfigSource;
use crate::config::Flags;

/// The settings that are read where no `--config` is given, if they exist.
const DEFAULT_FILE: &str = "doorward.toml";

/// An auth gateway in front of dashboards and APIs that have no login of their own.
#[derive(Debug, Parser)]
#[command(name = "doorward", version, max_term_width = 100)]
#[command(after_help = "Example:
  doorward serve --upstream http://127.0.0.1:6006

`doorward COMMAND --help` shows an example for each command.")]
struct CommandLine {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Clone, Debug, Args)]
struct Common {
    /// Settings file [default: ./doorward.toml if it exists]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Answer in JSON, for programs
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway
    #[command(after_help = "Examples:
  doorward serve --upstream http://127.0.0.1:6006
  doorward serve --config /etc/doorward.toml --listen 0.0.0.0:8443")]
    Serve(Overrides),
    /// Validate the settings and look for what would stop a start; print every problem, or the routes and rules in effect
    #[command(after_help = "Examples:
  doorward check --config /etc/doorward.toml
  doorward check --reference > docs/configuration.md
  doorward check --schema > doorward.schema.json")]
    Check(check::Arguments),
    /// Tell what would be decided for a request, and why, rule by rule; exit code 1 if it is refused
    #[command(after_help = "Examples:
  doorward explain \"GET /projects\"
  doorward explain \"POST /v1/traces\" --as key:ingest
  doorward explain \"POST /graphql\" --as role:viewer --graphql 'mutation { deleteProject(id: 1) { id } }'")]
    Explain(explain::Arguments),
    /// Check the [[tests]] in the settings; exit code 1 if one fails
    #[command(after_help = "Example:
  doorward test --config /etc/doorward.toml")]
    Test(Overrides),
    /// Tell what claims of a provider would come to, and why; exit code 1 if somebody with such claims is refused
    #[command(after_help = "Examples:
  doorward claims --provider sso claims.json
  doorward claims --provider sso < token.txt
  echo '{\"sub\": \"1\", \"groups\": [\"ops\"]}' | doorward claims --provider sso

Nothing is asked of the provider. Claims are one JSON object. A token is only taken apart: its signature is not verified, and it is never shown.")]
    Claims(claims::Arguments),
    /// List what would be refused where it is only logged (`enforce`)
    #[command(after_help = "Examples:
  doorward refused
  doorward refused --since 1h --route phoenix
  doorward refused --clear")]
    Refused(refused::Arguments),
    /// Add, list and change users
    #[command(
        subcommand,
        after_help = "Example:
  doorward user add alice --role admin"
    )]
    User(user::Command),
    /// Create, list and revoke API keys
    #[command(
        subcommand,
        after_help = "Example:
  doorward key create ingest --role agent --path /v1/traces --method POST"
    )]
    Key(key::Command),
    /// List and revoke sessions
    #[command(
        subcommand,
        after_help = "Example:
  doorward session revoke --user alice"
    )]
    Session(session::Command),
    /// Show, export and verify the trail of who did what
    #[command(
        subcommand,
        after_help = "Example:
  doorward audit list --since 24h"
    )]
    Audit(audit::Command),
    /// Move everything to another database, or write a backup
    #[command(
        subcommand,
        after_help = "Example:
  doorward store backup /var/backups/doorward.db"
    )]
    Store(store::Command),
    /// Ask a running gateway whether it is ready; exit code 1 if not
    #[command(after_help = "Examples:
  doorward healthcheck --config /etc/doorward.toml
  doorward healthcheck --url http://127.0.0.1:8080")]
    Healthcheck(healthcheck::Arguments),
    /// Make settings of those of another product; exit code 1 if a provider could not be taken over whole
    #[command(
        subcommand,
        after_help = "Example:
  doorward import phoenix-env .env > doorward.toml"
    )]
    Import(import::Command),
    /// Print a configuration for the proxy in front, which asks this gateway about every request
    #[command(after_help = "Examples:
  doorward snippet nginx --app http://127.0.0.1:3000 --listen 0.0.0.0:80
  doorward snippet haproxy --part lua")]
    Snippet(snippet::Arguments),
    /// Show what the proxy in front really asks, or whether applications are set as routes rely on; exit code 1 if
    /// anything is missing
    #[command(after_help = "Examples:
  doorward doctor nginx --through https://app.example.com/
  doorward doctor applications --config /etc/doorward.toml")]
    Doctor(doctor::Arguments),
}

/// Flags that override settings.
#[derive(Clone, Debug, Default, Args)]
struct Overrides {
    /// The server to protect; a single upstream in the settings is replaced
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,
    /// Address, unix:FILE or systemd to listen on; may be repeated
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Vec<String>,
    /// How browsers reach the gateway
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// Allow a plain-http public URL that is not loopback
    #[arg(long)]
    insecure: bool,
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    run(std::env::args_os().collect())
}

fn run(arguments: Vec<OsString>) -> ExitCode {
    let wants_json = arguments.iter().any(|argument| argument == "--json");
    let parsed = match CommandLine::try_parse_from(arguments) {
        Ok(parsed) => parsed,
        Err(error) if error.use_stderr() && wants_json => {
            let text = error.to_string();
            let line = text.lines().next().unwrap_or_default();
            return Output::new(true).failure(&Failure::Usage(line.trim_start_matches("error: ").to_owned()));
        }
        Err(error) => {
            // Help and version are asked for, everything else is an error; clap knows where each goes.
            return if error.print().is_ok() && !error.use_stderr() {
                ExitCode::SUCCESS
            } else {
                ExitCode::from(2)
            };
        }
    };
    let output = Output::new(parsed.common.json);
    match dispatch(parsed, output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => output.failure(&failure),
    }
}

fn dispatch(line: CommandLine, output: Output) -> Result<(), Failure> {
    let common = &line.common;
    match line.command {
        Command::Serve(overrides) => {
            let (source, flags) = sources(common, &overrides);
            let mut origin = ConfigOrigin::new(source, flags);
            let config = crate::app::load(&mut origin)?;
            crate::app::serve(config, origin).map_err(|error| Failure::Failed(error.into()))
        }
        Command::Check(arguments) => check::run(&arguments, common, output),
        Command::Explain(arguments) => on_runtime(explain::run(arguments, common, output)),
        Command::Test(overrides) => test::run(&overrides, common, output),
        Command::Claims(arguments) => claims::run(&arguments, common, output),
        Command::Refused(arguments) => on_runtime(refused::run(arguments, common, output)),
        Command::User(command) => on_runtime(user::run(command, common, output)),
        Command::Key(command) => on_runtime(key::run(command, common, output)),
        Command::Session(command) => on_runtime(session::run(command, common, output)),
        Command::Audit(command) => on_runtime(audit::run(command, common, output)),
        Command::Store(command) => on_runtime(store::run(command, common, output)),
        Command::Import(command) => import::run(&command, output),
        Command::Snippet(arguments) => snippet::run(&arguments, common, output),
        Command::Doctor(arguments) => on_runtime(doctor::run(arguments, common, output)),
        Command::Healthcheck(arguments) => on_runtime(healthcheck::run(arguments, common, output)),
    }
}

/// Runs a command that needs no more than one thread.
fn on_runtime<T>(command: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::Failed(error.into()))?.block_on(command)
}

/// The settings: defaults, file, environment, flags. Their policy tests are not looked at.
fn load(common: &Common, overrides: &Overrides) -> Result<Config, Failure> {
    let (source, flags) = sources(common, overrides);
    Ok(config::load(&source, &flags)?)
}

/// Where the settings come from.
fn sources(common: &Common, overrides: &Overrides) -> (ConfigSource, Flags) {
    let file =
        common.config.clone().or_else(|| Some(PathBuf::from(DEFAULT_FILE)).filter(|file| file.exists()));
    let flags = Flags {
        public_url: overrides.public_url.clone(),
        insecure: overrides.insecure,
        listen: overrides.listen.clone(),
        upstream: overrides.upstream.clone(),
    };
    (ConfigSource::from_process(file), flags)
}

/// The settings for commands that work beside a gateway, which may have got its upstream from a flag.
fn load_beside(common: &Common) -> Result<Config, Failure> {
    match load(common, &Overrides::default()) {
        Err(Failure::Config(error)) if error.0.iter().all(|problem| problem.path == "upstreams") => {
            // Nothing is ever sent there.
            let unused =
                Overrides { upstream: Some("http://127.0.0.1:9".to_owned()), ..Overrides::default() };
            load(common, &unused).map_err(|_| Failure::Config(error))
        }
        outcome => outcome,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definitions_hold_together() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn every_command_shows_an_example() {
        fn visit(command: &clap::Command, path: &str) {
            let path = format!("{path} {}", command.get_name());
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Example"), "{path}");
            assert!(help.contains("  doorward "), "{path}");
            for command in command.get_subcommands() {
                visit(command, &path);
            }
        }
        visit(&CommandLine::command(), "");
    }

    #[test]
    fn no_argument_takes_a_secret() {
        for line in [
            "doorward user add alice --password hunter2hunter2",
            "doorward user add alice --role viewer hunter2hunter2",
            "doorward user reset-password alice hunter2hunter2",
        ] {
            assert!(CommandLine::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }

    #[test]
    fn global_flags_stand_anywhere() {
        for line in ["doorward --json user list", "doorward user --json list", "doorward user list --json"] {
            assert!(CommandLine::try_parse_from(line.split(' ')).unwrap().common.json, "{line}");
        }
    }

    #[test]
    fn wrong_usage_and_help_have_their_own_exit_codes() {
        let code = |line: &str| format!("{:?}", run(line.split(' ').map(OsString::from).collect()));
        assert_eq!(code("doorward frobnicate"), format!("{:?}", ExitCode::from(2)));
        assert_eq!(code("doorward user list --frobnicate --json"), format!("{:?}", ExitCode::from(2)));
        assert_eq!(code("doorward --version"), format!("{:?}", ExitCode::SUCCESS));
    }
}
