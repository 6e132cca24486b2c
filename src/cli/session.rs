//! `doorward session`: signed-in browsers.

use clap::Subcommand;
use serde_json::Value;
use serde_json::json;

use super::Common;
use super::failure::Failure;
use super::output::Output;
use super::output::TextTable;
use super::services::CommandServices;
use crate::service::ServiceError;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List sessions, newest first
    #[command(after_help = "Example:
  doorward session list --user alice")]
    List {
        /// Only sessions of this user: username or e-mail address
        #[arg(long, value_name = "USER")]
        user: Option<String>,
    },
    /// End one session, or all of a user
    #[command(after_help = "Examples:
  doorward session revoke 01975c4e-6d2f-7a31-9d0e-3c1f0a5b7e42
  doorward session revoke --user alice")]
    Revoke {
        /// The id, as `doorward session list` shows it
        #[arg(value_name = "ID", required_unless_present = "user", conflicts_with = "user")]
        id: Option<String>,
        /// All sessions of this user: username or e-mail address
        #[arg(long, value_name = "USER")]
        user: Option<String>,
    },
}

pub(super) async fn run(command: Command, common: &Common, output: Output) -> Result<(), Failure> {
    let services = CommandServices::open(common).await?;
    match command {
        Command::List { user } => list(user.as_deref(), &services, output).await,
        Command::Revoke { user: Some(name), .. } => {
            let user = services.user(&name).await?;
            let ended = services.sessions.end_all(&services.by, &user.id).await?;
            let plural = if ended == 1 { "" } else { "s" };
            let value = json!({ "username": user.username, "ended": ended });
            let text = format!("{ended} session{plural} of {} ended", user.username);
            services.show_spread(output, value, &text).await
        }
        Command::Revoke { id, .. } => {
            let id = id.ok_or_else(|| Failure::Usage("name a session id or --user".to_owned()))?;
            if !services.sessions.end(&services.by, &id).await? {
                return Err(ServiceError::NotFound { what: "session" }.into());
            }
            let value = json!({ "id": id, "ended": 1 });
            services.show_spread(output, value, &format!("Session {id} ended")).await
        }
    }
}

async fn list(user: Option<&str>, services: &CommandServices, output: Output) -> Result<(), Failure> {
    let user = match user {
        Some(name) => Some(services.user(name).await?.id),
        None => None,
    };
    let sessions = services.sessions.list(&services.by, user.as_ref()).await?;
    let mut table = TextTable::new(
        &["ID", "USER", "SIGNED IN", "LAST SEEN", "ENDS", "CLIENT", "BROWSER"],
        "there is no session",
    );
    for (session, username) in &sessions {
        table.row(vec![
            session.id.clone(),
            username.clone(),
            session.created_at.rfc3339(),
            session.last_seen_at.rfc3339(),
            session.expires_at.rfc3339(),
            session.client.clone(),
            session.user_agent.clone(),
        ]);
    }
    let values: Vec<Value> = sessions
        .iter()
        .map(|(session, username)| {
            json!({
                "id": session.id,
                "username": username,
                "user_id": session.user_id.0,
                "created_at": session.created_at.rfc3339(),
                "last_seen_at": session.last_seen_at.rfc3339(),
                "expires_at": session.expires_at.rfc3339(),
                "client": session.client,
                "user_agent": session.user_agent,
            })
        })
        .collect();
    output.list("sessions", &values, &table)
}
