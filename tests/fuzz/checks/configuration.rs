//! The configuration: any bytes give settings or problems that say what to do, and no secret is shown.
//!
//! Input: a configuration file.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::OnceLock;

use doorward::config::{ConfigSource, Flags, load};

/// What stands for a secret in seeds and in the dictionary.
const CANARY: &str = "Canary7f3a";

/// One file of this process, written anew for every input.
fn file() -> &'static PathBuf {
    static FILE: OnceLock<PathBuf> = OnceLock::new();
    FILE.get_or_init(|| {
        let memory = PathBuf::from("/dev/shm");
        let folder = if memory.is_dir() { memory } else { std::env::temp_dir() };
        folder.join(format!("doorward-fuzz-{}.toml", std::process::id()))
    })
}

pub fn check(data: &[u8]) {
    let file = file();
    std::fs::write(file, data).expect("the file can be written");
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).expect("its mode can be set");
    let source = ConfigSource { file: Some(file.clone()), environment: Vec::new() };
    let loaded = load(&source, &Flags::default());
    std::fs::remove_file(file).expect("the file can be removed");
    let shown = match &loaded {
        Ok(config) => format!("{config:?}"),
        Err(error) => {
            assert!(!error.0.is_empty(), "refused without a reason");
            for problem in &error.0 {
                assert!(
                    !problem.what.is_empty() && !problem.remedy.is_empty(),
                    "{problem:?} says too little"
                );
            }
            format!("{error} {error:?}")
        }
    };
    assert!(!secret_only(data) || !shown.contains(CANARY), "a secret is shown: {shown}");
}

/// Whether the canary stands where only secrets do.
fn secret_only(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let mut found = false;
    for line in text.lines().filter(|line| line.contains(CANARY)) {
        let Some((name, _)) = line.split_once('=') else { return false };
        found = true;
        if !matches!(name.trim(), "secret" | "login.admin_password" | "store.url") || name.contains(CANARY) {
            return false;
        }
    }
    // In a section, or inside a text of several lines, the names would mean something else.
    found && !text.contains('[') && !text.contains("\"\"\"") && !text.contains("'''")
}
