//! Sign-in of local users.

use crate::config::reading::{
    Section, SettingLocation, SettingsReader, choice, distinct, repeats, section, text,
};
use crate::config::sections::breach_list::BreachList;
use crate::config::sections::general::{CheckSection, General};
use crate::model::role::Role;
use crate::model::secret::Secret;
use crate::model::user;

section! {
    /// Sign-in of local users.
    Login {
        /// Whether local users may sign in by password.
        password: bool = "true", "false";
        /// Role of people who are added without one.
        default_role: PersonRole = r#""viewer""#, r#""member""#;
        /// Admins, as `name=email`, made at start. Until one has a password, each start prints a link to choose it. A name or
        /// an address that somebody else has is left alone, and told.
        admins: Vec<Admin> = "[]", r#"["alice=alice@example.com"]"#;
        /// Password of the first admin, 12 to 128 characters; used only while there is no user at all.
        admin_password: Option<Secret>, r#""<at least 12 characters>""#;
        /// A file of leaked passwords, none of which anybody may choose: lines of `SHA-1:count`, sorted, as Have I
        /// Been Pwned gives them out and of any size; or plain words, up to 256 MiB.
        breach_list: Option<BreachList>, r#""pwned-passwords-sha1-ordered-by-hash.txt""#;
    }
}

/// Local sign-in.
#[derive(Clone, Debug)]
pub struct LoginConfig {
    /// Whether local users may sign in by password.
    pub password: bool,
    /// Role of people who are added without one.
    pub default_role: Role,
    /// Admins made at start where neither name nor address exists: (name, e-mail).
    pub admins: Vec<(String, String)>,
    /// Password of the first admin, used only while there is no user at all.
    pub admin_password: Option<AdminPassword>,
    /// Passwords that may not be chosen.
    pub breach_list: Option<BreachList>,
}

/// A password for the first admin.
#[derive(Clone, Debug)]
pub struct AdminPassword {
    /// What it is.
    pub password: Secret,
    /// The setting, which may be the one that names a file.
    pub path: String,
    /// Where that was written.
    pub location: SettingLocation,
}

impl AdminPassword {
    /// The variable or setting that set it.
    pub fn set_by(&self) -> &str {
        match &self.location {
            SettingLocation::Environment(name) => name,
            _ => &self.path,
        }
    }
}

impl CheckSection for Login {
    type Typed = LoginConfig;

    fn check(self, _: &General, reader: &mut SettingsReader) -> LoginConfig {
        let default_role = self.default_role.0;
        if default_role == Role::Admin {
            reader.warn(&self.at("default_role"), "makes everyone an admin who is added without a role");
        }
        let path = reader.set_as(&self.at("admin_password"));
        let admin_password = self.admin_password.map(|password| {
            let length = password.expose().chars().count();
            if !(12..=128).contains(&length) {
                reader.problem(
                    &path,
                    "has not 12 to 128 characters",
                    "choose a longer one, such as four random words",
                );
            } else if distinct(password.expose()) < 5 || repeats(password.expose()) {
                reader.problem(&path, "can be guessed", "choose another, such as four random words");
            }
            AdminPassword { location: reader.location(&path), path, password }
        });
        LoginConfig {
            password: self.password,
            default_role,
            admins: self.admins.into_iter().map(|admin| (admin.0, admin.1)).collect(),
            admin_password,
            breach_list: self.breach_list,
        }
    }
}

/// The role of people who are added without one; never the machine role `agent`.
#[derive(Clone, Copy, Debug)]
pub(in crate::config) struct PersonRole(pub(in crate::config) Role);

/// `name=email`.
#[derive(Clone, Debug)]
pub(in crate::config) struct Admin(pub(in crate::config) String, pub(in crate::config) String);

choice! {
    PersonRole {
        "viewer" => Self(Role::Viewer),
        "member" => Self(Role::Member),
        "admin" => Self(Role::Admin),
    }
}

text! {
    Admin, "a name and an address such as \"alice=alice@example.com\"", |text| match text.split_once('=') {
        Some((name, email)) if user::check_username(name).is_ok() && user::check_email(email).is_ok() => {
            Ok(Self(name.to_owned(), email.to_owned()))
        }
        _ => Err("is not name=email: write one such as \"alice=alice@example.com\"".into()),
    };
}
