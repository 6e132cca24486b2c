//! `doorward user`: local users.

use std::io::BufRead as _;
use std::io::IsTerminal as _;
use std::io::Read as _;

use clap::Args;
use clap::Subcommand;
use serde_json::Value;
use serde_json::json;

use super::Common;
use super::failure::Failure;
use super::output::Output;
use super::output::TextTable;
use super::output::listed;
use super::services::CommandServices;
use crate::model::identity::{IdentityKey, LinkedIdentity};
use crate::model::role::Role;
use crate::model::secret::Secret;
use crate::model::user::User;
use crate::service::ServiceError;
use crate::service::accounts::NewUser;

/// Bytes of a line that may hold a password.
const LONGEST_LINE: u64 = 4096;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Add a user; unless a password is given or --invite, a temporary password is made and printed
    #[command(after_help = "Examples:
  doorward user add alice --role admin --email alice@example.org
  doorward user add dora --email dora@example.org --invite   (signs in through a provider that has verified the address)
  doorward user add bob --role viewer --group ops --password-stdin < password.txt
  doorward user add carol --email carol@example.org --hash-stdin < hash.txt   (of bcrypt, PBKDF2, scrypt or argon2)")]
    Add(Add),
    /// List all users
    #[command(after_help = "Example:
  doorward user list")]
    List,
    /// Show a user and the user's identities at identity providers
    #[command(after_help = "Example:
  doorward user show alice")]
    Show(UserArgument),
    /// Remove an identity from a user, and end the sessions that were opened by it
    #[command(after_help = "Examples:
  doorward user unlink alice --issuer https://accounts.google.com
  doorward user unlink alice --issuer https://sso.example --subject 4711   (if the user has several of that issuer)")]
    Unlink {
        #[command(flatten)]
        user: UserArgument,
        /// Issuer of the identity
        #[arg(long, value_name = "URL")]
        issuer: String,
        /// Subject of the identity
        #[arg(long, value_name = "TEXT")]
        subject: Option<String>,
    },
    /// Give a user another role, and end the user's sessions
    #[command(after_help = "Example:
  doorward user set-role alice member")]
    SetRole {
        #[command(flatten)]
        user: UserArgument,
        /// admin, member or viewer
        #[arg(value_name = "ROLE")]
        role: Role,
    },
    /// Stop a user, with all sessions and keys, until enabled again
    #[command(after_help = "Example:
  doorward user disable alice")]
    Disable(UserArgument),
    /// Let a disabled user in again
    #[command(after_help = "Example:
  doorward user enable alice")]
    Enable(UserArgument),
    /// Delete a user with all sessions and keys
    #[command(after_help = "Example:
  doorward user delete alice")]
    Delete(UserArgument),
    /// Make and print a temporary password, and end the user's sessions
    #[command(after_help = "Example:
  doorward user reset-password alice")]
    ResetPassword(UserArgument),
    /// Put a user into a group
    #[command(after_help = "Example:
  doorward user add-group alice ops")]
    AddGroup {
        #[command(flatten)]
        user: UserArgument,
        /// The group
        #[arg(value_name = "GROUP")]
        group: String,
    },
    /// Take a user out of a group
    #[command(after_help = "Example:
  doorward user remove-group alice ops")]
    RemoveGroup {
        #[command(flatten)]
        user: UserArgument,
        /// The group
        #[arg(value_name = "GROUP")]
        group: String,
    },
}

/// Which user.
#[derive(Debug, Args)]
pub(super) struct UserArgument {
    /// Username or e-mail address
    #[arg(value_name = "NAME")]
    name: String,
}

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(super) struct Add {
    /// Username
    #[arg(value_name = "NAME")]
    name: String,
    /// admin, member or viewer [default: `login.default_role`]
    #[arg(long)]
    role: Option<Role>,
    /// E-mail address
    #[arg(long)]
    email: Option<String>,
    /// What pages show
    #[arg(long, value_name = "TEXT")]
    display_name: Option<String>,
    /// Group; may be repeated
    #[arg(long = "group", value_name = "GROUP")]
    groups: Vec<String>,
    /// Read the password from standard input, one line; from a terminal without showing it
    #[arg(long)]
    password_stdin: bool,
    /// Read the hash that another system has made of the password from standard input, one line
    #[arg(long, conflicts_with = "password_stdin")]
    hash_stdin: bool,
    /// Make no password: whoever signs in through a provider that has verified the e-mail address is the user
    #[arg(long, requires = "email", conflicts_with_all = ["password_stdin", "hash_stdin", "temporary"])]
    invite: bool,
    /// The password must be changed at the first sign-in, as one that was made always must
    #[arg(long)]
    temporary: bool,
}

pub(super) async fn run(command: Command, common: &Common, output: Output) -> Result<(), Failure> {
    if let Command::Add(add) = command {
        return add_user(add, common, output).await;
    }
    let services = CommandServices::open(common).await?;
    let (accounts, by) = (&services.accounts, &services.by);
    let (user, did) = match command {
        Command::Add(_) | Command::List => return list(&services, output).await,
        Command::Show(who) => {
            let user = services.user(&who.name).await?;
            return show(&user, &accounts.identities(by, &user.id).await?, output);
        }
        Command::Unlink { user, issuer, subject } => {
            let user = services.user(&user.name).await?;
            let key = the_one(&accounts.identities(by, &user.id).await?, &issuer, subject.as_deref())?;
            accounts.unlink(by, &user.id, &key).await?;
            (user, "no longer has the identity".to_owned())
        }
        Command::SetRole { user, role } => {
            let user = services.user(&user.name).await?;
            accounts.set_role(by, &user.id, role).await?;
            (user, format!("now has the role {role}"))
        }
        Command::Disable(who) => {
            let user = services.user(&who.name).await?;
            accounts.disable(by, &user.id).await?;
            (user, "is disabled".to_owned())
        }
        Command::Enable(who) => {
            let user = services.user(&who.name).await?;
            accounts.enable(by, &user.id).await?;
            let text = format!("{} is enabled", user.username);
            return output.show(&identity(&user), &text);
        }
        Command::Delete(who) => {
            let user = services.user(&who.name).await?;
            accounts.delete(by, &user.id).await?;
            (user, "is deleted".to_owned())
        }
        Command::ResetPassword(who) => {
            let user = services.user(&who.name).await?;
            let password = accounts.reset_password(by, &user.id).await?;
            let mut value = identity(&user);
            insert(&mut value, "password", json!(password.expose()));
            let text = format!(
                "Temporary password of {}: {}\nEarlier sessions ended",
                user.username,
                password.expose()
            );
            return services.show_spread(output, value, &text).await;
        }
        Command::AddGroup { user, group } => {
            let user = services.user(&user.name).await?;
            let added = accounts.add_group(by, &user.id, &group).await?;
            (user, format!("{} the group", if added { "is now in" } else { "was already in" }))
        }
        Command::RemoveGroup { user, group } => {
            let user = services.user(&user.name).await?;
            let removed = accounts.remove_group(by, &user.id, &group).await?;
            (user, format!("{} the group", if removed { "is no longer in" } else { "was not in" }))
        }
    };
    services.show_spread(output, identity(&user), &format!("{} {did}", user.username)).await
}

async fn add_user(add: Add, common: &Common, output: Output) -> Result<(), Failure> {
    // Asked before anything is opened: a person may take their time.
    let given = if add.password_stdin { Some((read_password()?, add.temporary)) } else { None };
    let hash = if add.hash_stdin { Some(read_hash()?) } else { None };
    let services = CommandServices::open(common).await?;
    let new = NewUser {
        username: add.name,
        email: add.email,
        display_name: add.display_name,
        role: add.role.unwrap_or(services.config.login.default_role),
        groups: add.groups,
        password: given,
    };
    let invited = add.invite.then(|| new.email.clone().unwrap_or_default());
    let (user, made) = if let Some(hash) = hash {
        (services.accounts.create_with_hash(&services.by, new, &hash, add.temporary).await?, None)
    } else if add.invite || new.password.is_some() {
        (services.accounts.create(&services.by, new).await?, None)
    } else {
        let (user, password) = services.accounts.create_with_temporary_password(&services.by, new).await?;
        (user, Some(password))
    };
    let mut value = identity(&user);
    insert(&mut value, "role", json!(user.role.as_str()));
    let mut text = format!("{} is added with the role {}", user.username, user.role);
    if let Some(email) = invited {
        text = format!("{text}, and signs in through a provider that has verified {email}");
    }
    if let Some(password) = made {
        insert(&mut value, "password", json!(password.expose()));
        text = format!("{text}\nTemporary password: {}", password.expose());
    }
    output.show(&value, &text)
}

async fn list(services: &CommandServices, output: Output) -> Result<(), Failure> {
    let users = services.accounts.list(&services.by).await?;
    let mut table =
        TextTable::new(&["USERNAME", "ROLE", "STATE", "GROUPS", "E-MAIL", "SINCE"], "there is no user yet");
    for user in &users {
        table.row(vec![
            user.username.clone(),
            user.role.to_string(),
            state(user).to_owned(),
            listed(&user.groups),
            user.email.clone().unwrap_or_else(|| "-".to_owned()),
            user.created_at.rfc3339(),
        ]);
    }
    output.list("users", &users.iter().map(whole).collect::<Vec<_>>(), &table)
}

fn show(user: &User, identities: &[LinkedIdentity], output: Output) -> Result<(), Failure> {
    let shown = |text: Option<&String>| text.cloned().unwrap_or_else(|| "-".to_owned());
    let mut about = TextTable::new(&["USERNAME", &user.username], "");
    for (what, value) in [
        ("ID", user.id.0.clone()),
        ("ROLE", user.role.to_string()),
        ("STATE", state(user).to_owned()),
        ("GROUPS", listed(&user.groups)),
        ("E-MAIL", shown(user.email.as_ref())),
        ("SHOWN AS", shown(user.display_name.as_ref())),
        ("SINCE", user.created_at.rfc3339()),
    ] {
        about.row(vec![what.to_owned(), value]);
    }
    let mut table =
        TextTable::new(&["PROVIDER", "ISSUER", "SUBJECT", "E-MAIL", "LAST SIGN-IN"], "no identities");
    for identity in identities {
        table.row(vec![
            identity.provider.clone(),
            identity.key.issuer().to_owned(),
            identity.key.subject().to_owned(),
            shown(identity.email.as_ref()),
            identity.last_login_at.rfc3339(),
        ]);
    }
    let mut value = whole(user);
    let identities = identities.iter().map(|identity| {
        json!({
            "provider": identity.provider,
            "issuer": identity.key.issuer(),
            "subject": identity.key.subject(),
            "email": identity.email,
            "created_at": identity.created_at.rfc3339(),
            "last_login_at": identity.last_login_at.rfc3339(),
        })
    });
    insert(&mut value, "identities", identities.collect());
    output.show(&value, &format!("{}\n\n{}", about.to_text(), table.to_text()))
}

/// The identity that is meant, if it is exactly one.
fn the_one(
    identities: &[LinkedIdentity],
    issuer: &str,
    subject: Option<&str>,
) -> Result<IdentityKey, Failure> {
    let is_meant =
        |key: &&IdentityKey| key.issuer() == issuer && subject.is_none_or(|subject| key.subject() == subject);
    let meant: Vec<&IdentityKey> = identities.iter().map(|identity| &identity.key).filter(is_meant).collect();
    match meant.as_slice() {
        [key] => Ok((*key).clone()),
        [] => Err(ServiceError::NotFound { what: "identity" }.into()),
        _ => Err(Failure::Refused("the user has several of this issuer: name one with --subject".to_owned())),
    }
}

fn state(user: &User) -> &'static str {
    if user.disabled {
        "disabled"
    } else if !user.can_sign_in() {
        "no password"
    } else if user.must_change_password {
        "must change password"
    } else {
        "active"
    }
}

fn identity(user: &User) -> Value {
    json!({ "username": user.username, "id": user.id.0 })
}

fn whole(user: &User) -> Value {
    json!({
        "username": user.username,
        "id": user.id.0,
        "email": user.email,
        "display_name": user.display_name,
        "role": user.role.as_str(),
        "groups": user.groups,
        "disabled": user.disabled,
        "has_password": user.has_password,
        "has_identity": user.has_identity,
        "must_change_password": user.must_change_password,
        "created_at": user.created_at.rfc3339(),
    })
}

fn insert(value: &mut Value, field: &str, content: Value) {
    if let Some(fields) = value.as_object_mut() {
        fields.insert(field.to_owned(), content);
    }
}

fn unreadable(error: std::io::Error) -> Failure {
    Failure::Failed(error.into())
}

/// One line of standard input; from a terminal, not shown.
fn read_hash() -> Result<Secret, Failure> {
    if std::io::stdin().is_terminal() {
        return Ok(Secret::new(rpassword::prompt_password("Hash: ").map_err(unreadable)?.trim()));
    }
    Ok(Secret::new(read_line()?.expose().trim()))
}

/// One line of standard input; from a terminal, typed twice and not shown.
fn read_password() -> Result<Secret, Failure> {
    if std::io::stdin().is_terminal() {
        let first = Secret::new(rpassword::prompt_password("Password: ").map_err(unreadable)?);
        let again = Secret::new(rpassword::prompt_password("Again: ").map_err(unreadable)?);
        return if first.expose() == again.expose() {
            Ok(first)
        } else {
            Err(Failure::Refused("the two passwords differ".to_owned()))
        };
    }
    read_line()
}

fn read_line() -> Result<Secret, Failure> {
    let mut line = zeroize::Zeroizing::new(String::new());
    std::io::stdin().lock().take(LONGEST_LINE).read_line(&mut line).map_err(unreadable)?;
    Ok(Secret::new(
        line.strip_suffix('\n').map_or(line.as_str(), |line| line.strip_suffix('\r').unwrap_or(line)),
    ))
}
