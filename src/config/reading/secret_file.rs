//! Files that hold a secret, and who may read them.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::fault::Fault;

/// Permission bits beyond 0640: the group may not write, others may nothing.
pub(in crate::config) const LOOSE: u32 = 0o027;

/// Permission bits that let anyone but the owner write.
const WRITABLE: u32 = 0o022;

/// Where container engines mount secrets.
const MOUNTED_SECRETS: [&str; 2] = ["/run/secrets", "/var/run/secrets"];

/// The secret, without the newline at the end of its file.
pub(super) fn read_secret(
    file: &Path,
    unreadable: impl Fn(std::io::Error) -> Fault,
) -> Result<String, Fault> {
    const MOST: u64 = 64 * 1024;
    let metadata = std::fs::metadata(file).map_err(&unreadable)?;
    if !metadata.is_file() {
        return Err(Fault::new("is no regular file", "name a file that holds only the secret"));
    }
    // Container engines mount secrets for everyone to read, into a container that has only one reader.
    let mounted = MOUNTED_SECRETS.iter().any(|folder| file.starts_with(folder));
    if metadata.permissions().mode() & if mounted { WRITABLE } else { LOOSE } != 0 {
        let what = format!("the file's mode {:04o} lets others in", metadata.permissions().mode() & 0o7777);
        return Err(Fault::new(what, "chmod 0640 or stricter (in a container: mount it below /run/secrets)"));
    }
    if metadata.len() > MOST {
        return Err(Fault::new("the file is longer than 64 KiB", "name a file that holds only the secret"));
    }
    let text = std::fs::read_to_string(file).map_err(&unreadable)?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() {
        return Err(Fault::new("the file is empty", "write the secret into it"));
    }
    Ok(text.to_owned())
}
