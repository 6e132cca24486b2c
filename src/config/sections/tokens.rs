//! Bearer tokens named by the settings: break-glass tokens, and keys imported from other systems.

use std::collections::HashSet;

use ipnet::IpNet;
use serde::Deserialize;

use crate::config::reading::{
    ReferenceName, Required, Section, SettingsReader, choice, is_guessable, section,
};
use crate::model::api_key::KeyScope;
use crate::model::principal::PrincipalKind;
use crate::model::role::Role;
use crate::model::secret::Secret;
use crate::model::token::{KeyText, TokenDigest};
use crate::policy::PathPattern;

const SHORTEST_TOKEN: usize = 32;
/// Keys of other systems are as long as those made them.
pub const SHORTEST_KEY: usize = 16;
const LONGEST: usize = 4096;
const LONGEST_NAME: usize = 128;

/// A bearer value that the settings name. The value itself is not kept.
#[derive(Clone, Debug)]
pub struct TokenConfig {
    /// What it is, with its names.
    pub kind: PrincipalKind,
    /// What it is called.
    pub name: String,
    /// By which it is recognised.
    pub digest: TokenDigest,
    /// What it may do.
    pub role: Role,
    /// Where it may be used.
    pub scope: KeyScope,
}

section! {
    /// Keys of a system that was here before: they keep working, as bearer tokens and wherever the gateway's own
    /// keys do. The file is read with the settings; a key that is taken out of it stops working then.
    ImportedKeys {
        /// Unique name, for logs: a key is `imported:NAME/KEY` there.
        name: Required<ReferenceName>, r#""micromegas-ingestion""#;
        /// The keys as JSON, `[{ "name": "...", "key": "..." }]`. Rules know a key by its name, as `key:NAME`.
        ring: Required<Secret>, r#""<JSON as in MICROMEGAS_API_KEYS>""#;
        /// What the keys may do.
        role: Required<AnyRole>, r#""agent""#;
        /// Paths for which they may be used. By default every path.
        path or paths: Vec<PathPattern> = "[]", r#"["/ingest"]"#;
        /// Addresses or networks from which they may be used. By default every network.
        network or networks: Vec<IpNet> = "[]", r#"["10.0.0.0/8"]"#;
        /// Whether they may say on whose behalf they ask; see `attribution` of an upstream.
        may_act_for_users: bool = "false", "true";
    }
}

section! {
    /// A bearer token for emergencies, when no one can sign in. It needs no database; each use is logged as a warning.
    BreakGlass {
        /// Unique name, for logs: `break-glass:NAME`.
        name: Required<ReferenceName>, r#""on-call""#;
        /// The token: at least 32 random characters. `openssl rand -base64 32` makes one.
        token: Required<Secret>, r#""<the output of: openssl rand -base64 32>""#;
        /// What it may do.
        role: AnyRole = r#""admin""#, r#""viewer""#;
        /// Addresses or networks from which it may be used. By default every network.
        network or networks: Vec<IpNet> = "[]", r#"["10.0.0.0/8"]"#;
    }
}

/// A key in a ring file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RingKey {
    name: String,
    key: Secret,
}

pub(in crate::config) fn tokens(
    break_glass: Vec<BreakGlass>,
    imported: Vec<ImportedKeys>,
    reader: &mut SettingsReader,
) -> Vec<TokenConfig> {
    let mut tokens: Vec<TokenConfig> = Vec::new();
    let mut names = HashSet::new();
    for written in break_glass {
        let (Some(name), Some(token)) = (&written.name.0, &written.token.0) else { continue };
        check_name(&mut names, "break-glass", &name.0, &written.at("name"), reader);
        let path = reader.set_as(&written.at("token"));
        if let Err(what) = check(token, SHORTEST_TOKEN) {
            reader.problem(&path, what, "write the output of: openssl rand -base64 32");
        }
        let config = TokenConfig {
            kind: PrincipalKind::BreakGlass { name: name.0.clone() },
            name: name.0.clone(),
            digest: TokenDigest::of(token.expose()),
            role: written.role.0,
            scope: KeyScope { networks: written.network.clone(), ..KeyScope::default() },
        };
        add(&mut tokens, config, &path, reader);
    }
    for written in imported {
        let (Some(name), Some(ring), Some(AnyRole(role))) =
            (&written.name.0, &written.ring.0, written.role.0)
        else {
            continue;
        };
        check_name(&mut names, "imported", &name.0, &written.at("name"), reader);
        let path = reader.set_as(&written.at("ring"));
        let scope = KeyScope {
            paths: written.path.iter().map(|path| path.as_str().to_owned()).collect(),
            methods: Vec::new(),
            networks: written.network.clone(),
            may_act_for_users: written.may_act_for_users,
        };
        for (at, RingKey { name: key, key: text }) in keys_of(ring, &path, reader).into_iter().enumerate() {
            // Neither names nor values of a secret file are shown: which entry it is says enough.
            let fits =
                (1..=LONGEST_NAME).contains(&key.chars().count()) && !key.chars().any(char::is_control);
            if !fits {
                let what = format!("entry {} has no name of 1 to 128 characters", at + 1);
                reader.problem(&path, what, "give each key of the ring a name");
            }
            if let Err(what) = check(&text, SHORTEST_KEY) {
                let remedy = "take the key out of the ring, and give its users a new one";
                reader.problem(&path, format!("entry {}: {what}", at + 1), remedy);
            }
            let config = TokenConfig {
                kind: PrincipalKind::ImportedKey { ring: name.0.clone(), key: key.clone() },
                name: key,
                digest: TokenDigest::of(text.expose()),
                role,
                scope: scope.clone(),
            };
            add(&mut tokens, config, &path, reader);
        }
    }
    tokens
}

fn check_name(
    names: &mut HashSet<(&'static str, String)>,
    kind: &'static str,
    name: &str,
    path: &str,
    reader: &mut SettingsReader,
) {
    if !names.insert((kind, name.to_owned())) {
        reader.problem(
            path,
            format!("`{name}` is the name of an earlier one"),
            "give each a name of its own",
        );
    }
}

/// One value stands for one subject.
fn add(tokens: &mut Vec<TokenConfig>, token: TokenConfig, path: &str, reader: &mut SettingsReader) {
    if tokens.iter().any(|other| other.digest == token.digest) {
        reader.problem(path, "holds a value that another token or key has", "give each a value of its own");
    }
    tokens.push(token);
}

fn keys_of(ring: &Secret, path: &str, reader: &mut SettingsReader) -> Vec<RingKey> {
    match serde_json::from_str::<Vec<RingKey>>(ring.expose()) {
        Ok(keys) => keys,
        // The error's own text may quote the file.
        Err(error) => {
            let what = format!("is not a key ring, from line {} on", error.line());
            reader.problem(path, what, r#"write a JSON list such as [{ "name": "grafana", "key": "..." }]"#);
            Vec::new()
        }
    }
}

fn check(token: &Secret, shortest: usize) -> Result<(), String> {
    let text = token.expose();
    if text.len() < shortest {
        return Err(format!("is shorter than {shortest} characters"));
    }
    if text.len() > LONGEST {
        return Err(format!("is longer than {LONGEST} characters"));
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("holds characters that no header carries: visible ASCII only".to_owned());
    }
    if KeyText::is_claimed(text) {
        return Err("looks like one of the gateway's own keys".to_owned());
    }
    if is_guessable(text) {
        return Err("can be guessed".to_owned());
    }
    Ok(())
}

/// Any role.
#[derive(Clone, Copy, Debug)]
pub(in crate::config) struct AnyRole(pub(in crate::config) Role);

choice! {
    AnyRole {
        "viewer" => Self(Role::Viewer),
        "member" => Self(Role::Member),
        "admin" => Self(Role::Admin),
        "agent" => Self(Role::Agent),
    }
}
