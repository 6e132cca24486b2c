//! The services over the store that the settings name, for commands that work beside a running gateway.

use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use serde_json::json;

use super::Common;
use super::failure::Failure;
use super::load_beside;
use super::output::Output;
use crate::app;
use crate::config::Config;
use crate::model::time::Clock;
use crate::model::time::SystemClock;
use crate::model::user::User;
use crate::service::ServiceError;
use crate::service::accounts::Accounts;
use crate::service::admin::AdminProof;
use crate::service::api_keys::ApiKeys;
use crate::service::audit::Audit;
use crate::service::composition::Services;
use crate::service::refused::RefusedReport;
use crate::service::revocation::Revocations;
use crate::service::sessions::Sessions;
use crate::service::subjects::Subjects;

/// How long a command waits for running gateways to act on a change.
const SPREAD_WAIT: Duration = Duration::from_secs(2);

/// Admin proof for the user who runs a command, who can read the gateway's secret and its database as it is.
pub(super) fn proof() -> AdminProof {
    AdminProof::of_command_line(std::fs::metadata("/proc/self").map_or(0, |own| own.uid()))
}

/// Everything a command may need.
pub(super) struct CommandServices {
    /// The user who runs the command; changes are recorded as theirs.
    pub(super) by: AdminProof,
    pub(super) config: Config,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) accounts: Accounts,
    pub(super) api_keys: ApiKeys,
    pub(super) sessions: Sessions,
    pub(super) subjects: Subjects,
    pub(super) refused: RefusedReport,
    pub(super) audit: Audit,
    revocations: Revocations,
}

impl CommandServices {
    pub(super) async fn open(common: &Common) -> Result<Self, Failure> {
        let config = load_beside(common)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let (store, key) = app::open_store(&config, 1, clock.clone()).await?;
        let services = Services::new(store, &key, clock, (&config).into());
        Ok(Self {
            by: proof(),
            config,
            subjects: services.subjects(),
            refused: services.refused(),
            clock: services.clock,
            accounts: services.accounts,
            api_keys: services.api_keys,
            sessions: services.sessions,
            audit: services.audit,
            revocations: services.revocations,
        })
    }

    /// The user with this username or e-mail address, who must exist.
    pub(super) async fn user(&self, name_or_email: &str) -> Result<User, Failure> {
        let found = self.accounts.find(&self.by, name_or_email).await?;
        found.ok_or_else(|| ServiceError::NotFound { what: "user" }.into())
    }

    /// Shows a change that took a right away, once the running gateways act on it.
    pub(super) async fn show_spread(
        &self,
        output: Output,
        mut value: Value,
        text: &str,
    ) -> Result<(), Failure> {
        let spread = self.revocations.seen_everywhere(SPREAD_WAIT).await?;
        let plural = if spread.reached == 1 { "" } else { "s" };
        let mut text = format!("{text}; effective on {} running gateway{plural}", spread.reached);
        if !spread.behind.is_empty() {
            text = format!("{text}\nnot confirmed yet by: {}", spread.behind.join(", "));
        }
        if let Some(fields) = value.as_object_mut() {
            fields.insert("effective_on".to_owned(), json!(spread.reached));
            fields.insert("behind".to_owned(), json!(spread.behind));
        }
        output.show(&value, &text)
    }
}
