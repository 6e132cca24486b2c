//! `doorward import`: settings made of another product's, with a report of what could not be taken over.

mod draft;
mod phoenix;
mod phoenix_providers;
mod pyroscope;
mod pyroscope_keys;
mod reading;
mod variables;
mod yaml;

use std::fs::OpenOptions;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::json;
use url::Url;

use self::draft::{Draft, RemarkKind, SecretFile};
use self::variables::Variables;
use super::failure::Failure;
use super::output::Output;
use crate::model::secret::Secret;

/// Bytes that are read.
const MOST_READ: u64 = 1024 * 1024;

/// Whose settings are read.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Make settings of the variables of Arize Phoenix: its identity providers, accounts, sessions and addresses
    #[command(after_help = "Examples:
  doorward import phoenix-env .env > doorward.toml
  doorward import phoenix-env docker-compose.yml --secrets . > doorward.toml
  kubectl get deployment phoenix -o yaml | doorward import phoenix-env
  doorward import phoenix-env --from-environment --upstream http://phoenix:6006

FILE has lines NAME=value, or is a Compose file or a manifest in YAML. What cannot be taken over stands above the settings, with the reason.")]
    PhoenixEnv(Arguments),
    /// Make settings of those of Pyroscope up to 0.37: its providers, accounts, sessions and addresses
    #[command(after_help = "Examples:
  doorward import pyroscope server.yml > doorward.toml
  doorward import pyroscope .env --secrets . > doorward.toml
  doorward import pyroscope --from-environment --upstream http://pyroscope:4040

FILE is Pyroscope's configuration, or has lines PYROSCOPE_AUTH_...=value. What cannot be taken over stands above the settings, with the reason.")]
    Pyroscope(Arguments),
}

/// What `import` takes.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Arguments {
    /// The other product's settings; - is standard input
    #[arg(value_name = "FILE", default_value = "-")]
    file: PathBuf,
    /// Read this process's environment instead of a file
    #[arg(long, conflicts_with = "file")]
    from_environment: bool,
    /// Where the gateway reaches the application
    #[arg(long, value_name = "URL", value_parser = upstream_url)]
    upstream: Option<Url>,
    /// Write each secret into a file in this folder, with mode 0600; what is there already stays as it is
    #[arg(long, value_name = "FOLDER")]
    secrets: Option<PathBuf>,
}

fn upstream_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    url.filter(|url| url.username().is_empty() && url.password().is_none())
        .ok_or_else(|| "write one such as http://127.0.0.1:6006".to_owned())
}

/// Exit code 1 where a provider cannot be taken over whole: it is commented out then.
pub(super) fn run(command: &Command, output: Output) -> Result<(), Failure> {
    let (arguments, draft, title) = match command {
        Command::PhoenixEnv(arguments) => {
            let variables = if arguments.from_environment {
                Variables::of_process(std::env::vars_os(), phoenix::PREFIX)
            } else {
                Variables::parse(&read(&arguments.file)?, phoenix::PREFIX).map_err(Failure::Usage)?
            };
            let title = "Made of the variables of Arize Phoenix by `doorward import phoenix-env`.";
            (
                arguments,
                phoenix::import(not_empty(variables, phoenix::PREFIX)?, arguments.upstream.as_ref()),
                title,
            )
        }
        Command::Pyroscope(arguments) => {
            let variables = if arguments.from_environment {
                pyroscope::of_process(std::env::vars_os())
            } else {
                pyroscope::parse(&read(&arguments.file)?).map_err(Failure::Usage)?
            };
            let title = "Made of the settings of Pyroscope by `doorward import pyroscope`.";
            (
                arguments,
                pyroscope::import(not_empty(variables, "auth or PYROSCOPE_")?, arguments.upstream.as_ref()),
                title,
            )
        }
    };
    let draft = with_secrets(draft, arguments.secrets.as_deref())?;
    show(&draft, title, output)
}

fn not_empty(variables: Variables, what: &str) -> Result<Variables, Failure> {
    if variables.is_empty() {
        return Err(Failure::Usage(format!("there is no setting here whose name begins with {what}")));
    }
    Ok(variables)
}

fn read(file: &Path) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let read = if file == Path::new("-") {
        std::io::stdin().lock().take(MOST_READ + 1).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(MOST_READ + 1).read_to_end(&mut bytes))
    };
    read.map_err(|error| Failure::Usage(format!("the settings cannot be read: {error}")))?;
    if bytes.len() as u64 > MOST_READ {
        return Err(Failure::Usage("there is more than 1 MiB, which is no such file".to_owned()));
    }
    String::from_utf8(bytes)
        .map_err(|_| Failure::Usage("the settings are not UTF-8: save them as UTF-8".to_owned()))
}

/// Writes the secrets, if there is a folder for them, and says what is left to do about each.
fn with_secrets(mut draft: Draft, folder: Option<&Path>) -> Result<Draft, Failure> {
    if let Some(folder) = folder {
        let folder = std::fs::canonicalize(folder)
            .map_err(|error| Failure::Usage(format!("the folder for secrets cannot be used: {error}")))?;
        draft.move_secret_files(|file| folder.join(file).to_string_lossy().into_owned());
    }
    let mut to_do = Vec::new();
    for SecretFile { file, from, secret } in draft.secret_files() {
        let text = match (folder, secret) {
            (None, _) => {
                format!("write its value into the file {file}, mode 0600 (`--secrets FOLDER` does that)")
            }
            (Some(_), None) => format!("its value is not here: write it into the file {file}, mode 0600"),
            (Some(_), Some(secret)) => match write_secret(Path::new(file), secret) {
                Ok(()) => continue,
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    format!("{file} was there already and stayed as it is: see that it holds the value")
                }
                Err(error) => {
                    return Err(Failure::Failed(format!("{file} cannot be written: {error}").into()));
                }
            },
        };
        to_do.push((from.to_owned(), text));
    }
    for (from, text) in to_do {
        draft.remark(RemarkKind::ToDo, &from, text);
    }
    Ok(draft)
}

fn write_secret(file: &Path, secret: &Secret) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
    file.write_all(secret.expose().as_bytes())?;
    file.write_all(b"\n")
}

fn show(draft: &Draft, title: &str, output: Output) -> Result<(), Failure> {
    let text = draft.render(title);
    let (whole, all) = draft.count("providers");
    let remarks = |kind| draft.remarks(kind).map(draft::Remark::value).collect::<Vec<_>>();
    let value = json!({
        "settings": text,
        "providers": { "taken_over": whole, "left_out": all - whole },
        "to_do": remarks(RemarkKind::ToDo),
        "not_taken_over": remarks(RemarkKind::LeftOut),
        "different": remarks(RemarkKind::Differs),
        "secret_files": draft.secret_files().iter().map(|file| json!({ "file": file.file, "setting": file.from }))
            .collect::<Vec<_>>(),
    });
    output.show(&value, &text)?;
    if whole == all {
        return Ok(());
    }
    let left_out = all - whole;
    Err(Failure::Refused(format!(
        "{left_out} of {all} providers could not be taken over whole: the lines are commented out, with the reason above them"
    )))
}

#[cfg(test)]
mod phoenix_tests;
#[cfg(test)]
mod pyroscope_tests;
