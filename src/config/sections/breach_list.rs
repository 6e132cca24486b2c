//! A file of leaked passwords, searched where it lies: none of it is kept in memory.
//!
//! Have I Been Pwned gives out lines of `SHA-1:count`, sorted by the hash, tens of gigabytes of them: such a file is
//! searched by bisection. Any other is taken for plain words, one a line, and is read through.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Error, ErrorKind, Read as _, Result, Seek as _, SeekFrom};
use std::path::PathBuf;

use aws_lc_rs::digest;
use figment::value::Value;

use crate::config::reading::{Fault, Kind, Read, Reader};
use crate::model::audit::hex;

/// Hexadecimal digits of a SHA-1.
const DIGITS: usize = 40;
/// Bytes of a line of hash, count and line end.
const LONGEST_LINE: u64 = 80;
/// What is left to bisection is read through.
const REST: u64 = 4096;
/// Lines looked at to see whether a file is sorted.
const SAMPLES: u64 = 64;
/// Bytes of a file of plain words: each look reads all of it.
const MOST_WORDS: u64 = 256 * 1024 * 1024;

/// Passwords that nobody may choose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BreachList(PathBuf);

/// What a file is, by its first line.
enum Form {
    Hashes(Hashes),
    Words(File),
}

impl BreachList {
    /// Whether a password stands in the list; blocks while the file is read.
    ///
    /// # Errors
    ///
    /// If the file cannot be read or is not what it was at the start.
    pub fn contains(&self, password: &str) -> Result<bool> {
        match self.open()? {
            Form::Hashes(mut hashes) => {
                let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes());
                hashes.contain(hex(digest.as_ref()).to_ascii_uppercase().as_bytes())
            }
            Form::Words(file) => {
                let mut lines = BufReader::new(file);
                let mut line = Vec::new();
                while lines.read_until(b'\n', &mut line)? > 0 {
                    if line.trim_ascii_end().eq_ignore_ascii_case(password.as_bytes()) {
                        return Ok(true);
                    }
                    line.clear();
                }
                Ok(false)
            }
        }
    }

    fn open(&self) -> Result<Form> {
        let mut file = File::open(&self.0)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() || metadata.len() == 0 {
            return Err(Error::new(ErrorKind::InvalidData, "it is empty, or no regular file"));
        }
        let mut start = Vec::new();
        file.by_ref().take(LONGEST_LINE).read_to_end(&mut start)?;
        file.rewind()?;
        if hash_of(start.split(|byte| *byte == b'\n').next().unwrap_or_default()).is_some() {
            return Ok(Form::Hashes(Hashes { file, length: metadata.len() }));
        }
        if metadata.len() > MOST_WORDS {
            return Err(Error::new(ErrorKind::InvalidData, "a list of words may have at most 256 MiB"));
        }
        Ok(Form::Words(file))
    }

    /// Whether it can be searched: a list of hashes must be sorted.
    fn check(&self) -> Result<()> {
        let Form::Hashes(mut hashes) = self.open()? else { return Ok(()) };
        let mut before = Vec::new();
        for sample in 0..SAMPLES {
            let place = hashes.length / SAMPLES * sample;
            let Some((_, hash)) = hashes.line_from(place)? else { continue };
            if hash < before {
                return Err(Error::new(ErrorKind::InvalidData, "its hashes are not in order: sort it"));
            }
            before = hash;
        }
        Ok(())
    }
}

/// A sorted file of hashes.
struct Hashes {
    file: File,
    length: u64,
}

impl Hashes {
    fn contain(&mut self, wanted: &[u8]) -> Result<bool> {
        // A line with the wanted hash begins at `from` or later, and not after `to`.
        let (mut from, mut to) = (0, self.length);
        while to - from > REST {
            let middle = from + (to - from) / 2;
            match self.line_from(middle)? {
                Some((start, hash)) if hash.as_slice() <= wanted => from = start,
                _ => to = middle,
            }
        }
        self.file.seek(SeekFrom::Start(from))?;
        let mut rest = Vec::new();
        self.file.by_ref().take(to - from + LONGEST_LINE).read_to_end(&mut rest)?;
        Ok(rest.split(|byte| *byte == b'\n').any(|line| hash_of(line).as_deref() == Some(wanted)))
    }

    /// The first line that begins at `place` or later, and where it begins; none at the end.
    fn line_from(&mut self, place: u64) -> Result<Option<(u64, Vec<u8>)>> {
        // From the byte before: the end of a line there makes the next one begin at `place`.
        let begin = place.saturating_sub(1);
        self.file.seek(SeekFrom::Start(begin))?;
        let mut bytes = Vec::new();
        self.file.by_ref().take(2 * LONGEST_LINE).read_to_end(&mut bytes)?;
        let start = match (place, bytes.iter().position(|byte| *byte == b'\n')) {
            (0, _) => 0,
            (_, Some(end)) => end + 1,
            (_, None) if begin + bytes.len() as u64 >= self.length => return Ok(None),
            (_, None) => return Err(malformed()),
        };
        let line = bytes.get(start..).unwrap_or_default();
        if line.is_empty() {
            return Ok(None);
        }
        let hash = hash_of(line.split(|byte| *byte == b'\n').next().unwrap_or_default());
        Ok(Some((begin + start as u64, hash.ok_or_else(malformed)?)))
    }
}

fn malformed() -> Error {
    Error::new(ErrorKind::InvalidData, "it begins with hashes and holds lines that are none")
}

/// The hash of a line, in upper case.
fn hash_of(line: &[u8]) -> Option<Vec<u8>> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let (hash, rest) = line.split_at_checked(DIGITS)?;
    let count = rest.strip_prefix(b":").unwrap_or(rest);
    let is_hash = hash.iter().all(u8::is_ascii_hexdigit) && count.iter().all(u8::is_ascii_digit);
    is_hash.then(|| hash.to_ascii_uppercase())
}

impl Read for BreachList {
    const KIND: &'static Kind = &Kind::Text("the name of a file of leaked passwords");

    fn read(value: &Value, path: &str, reader: &mut Reader) -> Option<Self> {
        let unreadable = reader.unreadable(value.as_str().unwrap_or_default());
        let list = Self(reader.resolve(value.as_str().unwrap_or_default()));
        reader.parse(value, path, Self::KIND, |_| match list.check() {
            Ok(()) => Ok(list),
            Err(error) if error.kind() == ErrorKind::InvalidData => Err(Fault::new(
                format!("the file cannot be searched: {error}"),
                "name a list of leaked passwords",
            )),
            Err(error) => Err(unreadable(error)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(content: &[u8]) -> (tempfile::TempDir, BreachList) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("list");
        std::fs::write(&file, content).unwrap();
        (folder, BreachList(file))
    }

    fn sha1(password: &str) -> String {
        hex(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes()).as_ref())
    }

    /// As they are given out: upper case, a count, sorted.
    fn hashes(count: usize, end: &str) -> String {
        let line =
            |number| format!("{}:{}", sha1(&format!("leaked {number}")).to_uppercase(), number * 7 + 1);
        let mut lines: Vec<String> = (0..count).map(line).collect();
        lines.sort();
        lines.join(end) + end
    }

    #[test]
    fn every_password_of_a_sorted_list_is_found_and_no_other() {
        for (count, end) in [(1, "\n"), (2, "\r\n"), (60, "\n"), (3000, "\r\n")] {
            let text = hashes(count, end);
            for text in [text.as_str(), text.trim_end(), &text.to_lowercase()] {
                let (_folder, list) = list(text.as_bytes());
                list.check().unwrap();
                for number in 0..count {
                    assert!(list.contains(&format!("leaked {number}")).unwrap(), "{number} of {count}");
                }
                for other in 0..200 {
                    assert!(!list.contains(&format!("kept {other}")).unwrap(), "{other}");
                }
            }
        }
    }

    #[test]
    fn a_list_of_plain_words_is_read_through() {
        let (_folder, list) = list(b"hunter2\r\nTrustno1 trustno1\n\nletmein");
        list.check().unwrap();
        for word in ["hunter2", "Hunter2", "trustno1 trustno1", "letmein"] {
            assert!(list.contains(word).unwrap(), "{word}");
        }
        for word in ["hunter", "hunter22", "trustno1"] {
            assert!(!list.contains(word).unwrap(), "{word}");
        }
    }

    #[test]
    fn a_list_that_cannot_be_searched_is_refused() {
        let sorted = hashes(3000, "\n");
        let mut lines: Vec<&str> = sorted.lines().collect();
        lines.reverse();
        for (content, why) in [
            (lines.join("\n"), "not in order"),
            (String::new(), "empty"),
            (format!("{}\n{}", &sorted[..45], "words, all of them \n".repeat(2000)), "none"),
        ] {
            let (_folder, list) = list(content.as_bytes());
            assert!(list.check().unwrap_err().to_string().contains(why), "{why}");
        }
        let (folder, list) = list(sorted.as_bytes());
        drop(folder);
        assert!(list.contains("leaked 1").is_err(), "a list that is gone finds nothing, and says so");
    }
}
