//! The credentials that the gateway itself presents to an upstream.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::config::reading::{
    FromText, InvalidValue, Required, Section, SettingType, SettingsReader, section,
};
use crate::config::sections::upstream::Upstream;
use crate::model::secret::Secret;

section! {
    /// A credential of the gateway's own, sent to the server as `Authorization: Basic` with every request that the
    /// rules allow, and with no other.
    UpstreamBasic {
        /// Who the gateway is there. May be empty.
        username: Required<BasicUser>, r#""doorward""#;
        /// What it proves that with.
        password: Required<Secret>, r#""<what the server expects>""#;
    }
}

/// A username of HTTP Basic.
#[derive(Clone, Debug)]
pub(in crate::config) struct BasicUser(String);

impl FromText for BasicUser {
    const WHAT: &'static SettingType = &SettingType::Text("a username");

    fn from_text(text: &str) -> Result<Self, InvalidValue> {
        if text.contains(|c: char| c == ':' || c.is_control()) {
            return Err(
                "holds a colon or control character, which HTTP Basic cannot say in a username".into()
            );
        }
        Ok(Self(text.to_owned()))
    }
}

/// The value of `Authorization` by which the gateway gets in, if it has to.
pub(in crate::config) fn authorization(
    upstream: &mut Upstream,
    reader: &mut SettingsReader,
) -> Option<Secret> {
    let (basic, token) = (upstream.basic.take(), upstream.token.take());
    let location = match (&basic, &token) {
        (Some(basic), _) => basic.location().to_owned(),
        (None, Some(_)) => reader.set_as(&upstream.at("token")),
        (None, None) => return None,
    };
    let others = [
        (upstream.pass_authorization, "pass_authorization"),
        (upstream.bearer.is_some(), "bearer"),
        (basic.is_some() && token.is_some(), "token"),
    ];
    for (_, other) in others.iter().filter(|(is_set, _)| *is_set) {
        let what = format!("fills Authorization, and so does `{other}`");
        reader.problem(&location, what, "leave one of the two out");
    }
    match basic {
        Some(basic) => by_password(basic, reader),
        None => by_token(&token?, &location, reader),
    }
}

/// RFC 7617, 2.
fn by_password(written: UpstreamBasic, reader: &mut SettingsReader) -> Option<Secret> {
    let path = reader.set_as(&written.at("password"));
    let (BasicUser(user), password) = (written.username.0?, written.password.0?);
    if password.expose().is_empty() || password.expose().contains(char::is_control) {
        let what = "is empty, or holds a control character, which HTTP Basic cannot say";
        reader.problem(&path, what, "write the password that the server expects");
        return None;
    }
    let pair = Secret::new(format!("{user}:{}", password.expose()));
    Some(Secret::new(format!("Basic {}", STANDARD.encode(pair.expose()))))
}

/// RFC 6750, 2.1.
fn by_token(token: &Secret, path: &str, reader: &mut SettingsReader) -> Option<Secret> {
    let text = token.expose();
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        let what = "is empty, or holds a blank or what is not visible ASCII";
        reader.problem(path, what, "write the token alone, without the word Bearer");
        return None;
    }
    Some(Secret::new(format!("Bearer {text}")))
}
