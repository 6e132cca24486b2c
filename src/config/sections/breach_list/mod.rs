//! A file of leaked passwords, searched where it lies: none of it is kept in memory.
//!
//! Have I Been Pwned gives out lines of `SHA-1:count`, sorted by the hash, tens of gigabytes of them: such a file is
//! searched by bisection. Any other is taken for plain words, one a line, and is read through. What would find nothing
//! for being something else is refused.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Error, ErrorKind, Read as _, Result, Seek as _, SeekFrom};
use std::path::PathBuf;

use aws_lc_rs::digest;
use figment::value::Value;
use unicode_normalization::UnicodeNormalization as _;

use crate::config::reading::{InvalidValue, Read, SettingType, SettingsReader};
use crate::model::audit::hex;
use crate::model::opaque_string::unified;

/// Hexadecimal digits of a SHA-1.
const DIGITS: usize = 40;
/// Those of other hashes that lists are made of: NTLM and MD5, SHA-256.
const OTHER_DIGITS: [usize; 2] = [32, 64];
/// Bytes of a line of hash, count and line end.
const LONGEST_LINE: u64 = 80;
/// What is left to bisection is read through.
const REST: u64 = 4096;
/// Lines looked at, all over the file, to see whether it is sorted.
const SAMPLES: u64 = 64;
/// Bytes at the beginning and at the end of which every line is looked at.
const WHOLLY_CHECKED: u64 = 1024 * 1024;
/// Lines of which a list of words may have hashes for a few.
const FIRST_LINES: usize = 100;
/// Bytes of a file of plain words: each look reads all of it.
const MOST_WORDS: u64 = 256 * 1024 * 1024;

/// Passwords that may not be chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BreachList(PathBuf);

/// What a file is, by its first line.
enum ListFormat {
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
            ListFormat::Hashes(mut hashes) => {
                for form in written(password) {
                    let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &form);
                    if hashes.contain(hex(digest.as_ref()).to_ascii_uppercase().as_bytes())? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            ListFormat::Words(file) => {
                let wanted = folded(password);
                let mut lines = BufReader::new(file);
                let mut line = Vec::new();
                while lines.read_until(b'\n', &mut line)? > 0 {
                    if is_word(line.trim_ascii_end(), password, &wanted) {
                        return Ok(true);
                    }
                    line.clear();
                }
                Ok(false)
            }
        }
    }

    fn open(&self) -> Result<ListFormat> {
        // Before it is opened: opening a pipe waits for its writer.
        let metadata = std::fs::metadata(&self.0)?;
        if !metadata.is_file() || metadata.len() == 0 {
            return Err(unusable("it is empty, or not a regular file"));
        }
        let mut file = File::open(&self.0)?;
        let mut start = Vec::new();
        file.by_ref().take(LONGEST_LINE).read_to_end(&mut start)?;
        file.rewind()?;
        if [&b"\xef\xbb\xbf"[..], b"\xff\xfe", b"\xfe\xff"].iter().any(|mark| start.starts_with(mark)) {
            return Err(unusable("it begins with a byte order mark: write it as UTF-8 without one"));
        }
        if hash_of(first_line(&start)).is_some() {
            return Ok(ListFormat::Hashes(Hashes { file, length: metadata.len() }));
        }
        if metadata.len() > MOST_WORDS {
            return Err(unusable("a list of words may have at most 256 MiB"));
        }
        Ok(ListFormat::Words(file))
    }

    /// Whether it can be searched: a list of hashes must be sorted, and one of words must not be of hashes.
    fn check(&self) -> Result<()> {
        match self.open()? {
            ListFormat::Hashes(mut hashes) => hashes.check_order(),
            ListFormat::Words(file) => check_words(file),
        }
    }
}

/// Whether a line of a list of words is the password, of which `wanted` is the [`folded`] form. One that is no UTF-8 is
/// taken for Latin-1, which older lists are written in.
fn is_word(line: &[u8], password: &str, wanted: &str) -> bool {
    if line.is_ascii() {
        return line.eq_ignore_ascii_case(password.as_bytes());
    }
    match std::str::from_utf8(line) {
        Ok(line) => folded(line) == wanted,
        Err(_) => folded(&line.iter().copied().map(char::from).collect::<String>()) == wanted,
    }
}

/// The form in which words are compared: that of passwords, in lower case.
fn folded(word: &str) -> String {
    unified(&word.to_lowercase())
}

/// The bytes that a password may have been hashed as where it leaked: NFC, and where that differs NFD and Latin-1.
fn written(password: &str) -> Vec<Vec<u8>> {
    let mut forms = vec![password.as_bytes().to_vec()];
    if !password.is_ascii() {
        forms.push(password.nfd().collect::<String>().into_bytes());
        forms.extend(password.chars().map(|c| u8::try_from(c).ok()).collect::<Option<Vec<u8>>>());
    }
    forms
}

/// Refuses hashes behind a first line that is not one, and hashes of other kinds: as words they would match nothing.
fn check_words(file: File) -> Result<()> {
    let (mut lines, mut line) = (BufReader::new(file.take(FIRST_LINES as u64 * LONGEST_LINE)), Vec::new());
    let (mut words, mut hashes, mut others) = (0, 0, 0);
    while words + hashes + others < FIRST_LINES && lines.read_until(b'\n', &mut line)? > 0 {
        let text = line.trim_ascii();
        if hash_of(text).is_some() {
            hashes += 1;
        } else if OTHER_DIGITS.iter().any(|digits| hash_with(*digits, text).is_some()) {
            others += 1;
        } else {
            words += 1;
        }
        line.clear();
    }
    if others > words {
        return Err(unusable("its hashes are not SHA-1: name a list of those, or of plain words"));
    }
    if hashes > words {
        return Err(unusable(
            "it holds hashes, but its first line is not one, or there are blanks before them: remove these",
        ));
    }
    Ok(())
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
        // What is not between those that were seen before it and after it was not there when the file was checked.
        let (mut least, mut most) = self.ends()?;
        while to - from > REST {
            let middle = from + (to - from) / 2;
            let Some((start, hash)) = self.line_from(middle)? else {
                to = middle;
                continue;
            };
            if hash < least || hash > most {
                return Err(out_of_order());
            }
            if hash.as_slice() <= wanted {
                (from, least) = (start, hash);
            } else {
                (to, most) = (middle, hash);
            }
        }
        self.file.seek(SeekFrom::Start(from))?;
        let mut rest = Vec::new();
        self.file.by_ref().take(to - from + LONGEST_LINE).read_to_end(&mut rest)?;
        Ok(rest.split(|byte| *byte == b'\n').any(|line| hash_of(line).as_deref() == Some(wanted)))
    }

    /// The first and the last hash.
    fn ends(&mut self) -> Result<(Vec<u8>, Vec<u8>)> {
        let (_, first) = self.line_from(0)?.ok_or_else(malformed)?;
        self.file.seek(SeekFrom::Start(self.length.saturating_sub(2 * LONGEST_LINE)))?;
        let mut end = Vec::new();
        self.file.by_ref().take(2 * LONGEST_LINE).read_to_end(&mut end)?;
        let last = end.trim_ascii_end().rsplit(|byte| *byte == b'\n').next().and_then(hash_of);
        Ok((first, last.ok_or_else(malformed)?))
    }

    /// Whether the hashes are in order: every one of a file that is not large, else those at the beginning, those at the
    /// end, and samples between, ever closer to the end, where others may have been put behind.
    fn check_order(&mut self) -> Result<()> {
        let end = self.length.saturating_sub(WHOLLY_CHECKED);
        self.check_lines(0, WHOLLY_CHECKED.min(self.length))?;
        if self.length <= WHOLLY_CHECKED {
            return Ok(());
        }
        let even = (0..SAMPLES).map(|sample| self.length / SAMPLES * sample);
        let mut locations: Vec<u64> =
            even.chain((0..63).map(|power| self.length.saturating_sub(1 << power))).collect();
        locations.sort_unstable();
        let mut before = Vec::new();
        for location in locations {
            let Some((_, hash)) = self.line_from(location)? else { continue };
            if hash < before {
                return Err(out_of_order());
            }
            before = hash;
        }
        self.check_lines(end, WHOLLY_CHECKED)
    }

    /// Looks at every line that begins within so many bytes from `place` on.
    fn check_lines(&mut self, location: u64, bytes: u64) -> Result<()> {
        let Some((start, _)) = self.line_from(location)? else { return Ok(()) };
        self.file.seek(SeekFrom::Start(start))?;
        let mut lines = BufReader::new(self.file.by_ref().take(bytes + LONGEST_LINE));
        let (mut line, mut before, mut seen) = (Vec::new(), Vec::new(), 0);
        while seen < bytes && lines.read_until(b'\n', &mut line)? > 0 {
            seen += line.len() as u64;
            let text = line.trim_ascii_end();
            if !text.is_empty() {
                let hash = hash_of(text).ok_or_else(malformed)?;
                if hash < before {
                    return Err(out_of_order());
                }
                before = hash;
            }
            line.clear();
        }
        Ok(())
    }

    /// The first line that begins at `place` or later, and where it begins; none at the end.
    fn line_from(&mut self, location: u64) -> Result<Option<(u64, Vec<u8>)>> {
        // From the byte before: the end of a line there makes the next one begin at `place`.
        let begin = location.saturating_sub(1);
        self.file.seek(SeekFrom::Start(begin))?;
        let mut bytes = Vec::new();
        self.file.by_ref().take(2 * LONGEST_LINE).read_to_end(&mut bytes)?;
        let start = match (location, bytes.iter().position(|byte| *byte == b'\n')) {
            (0, _) => 0,
            (_, Some(end)) => end + 1,
            (_, None) if begin + bytes.len() as u64 >= self.length => return Ok(None),
            (_, None) => return Err(malformed()),
        };
        let line = bytes.get(start..).unwrap_or_default();
        if line.is_empty() {
            return Ok(None);
        }
        let hash = hash_of(first_line(line));
        Ok(Some((begin + start as u64, hash.ok_or_else(malformed)?)))
    }
}

fn unusable(why: &str) -> Error {
    Error::new(ErrorKind::InvalidData, why)
}

fn malformed() -> Error {
    unusable("it begins with hashes and holds lines that are not hashes")
}

fn out_of_order() -> Error {
    unusable("its hashes are not in order: sort it")
}

fn first_line(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == b'\n').next().unwrap_or_default()
}

/// The hash of a line, in upper case.
fn hash_of(line: &[u8]) -> Option<Vec<u8>> {
    hash_with(DIGITS, line)
}

/// The same of another length.
fn hash_with(digits: usize, line: &[u8]) -> Option<Vec<u8>> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let (hash, rest) = line.split_at_checked(digits)?;
    let count = rest.strip_prefix(b":").unwrap_or(rest);
    let counted = rest.is_empty() || (rest.len() > count.len() && count.iter().all(u8::is_ascii_digit));
    (hash.iter().all(u8::is_ascii_hexdigit) && counted).then(|| hash.to_ascii_uppercase())
}

impl Read for BreachList {
    const KIND: &'static SettingType = &SettingType::Text("the name of a file of leaked passwords");

    fn read(value: &Value, path: &str, reader: &mut SettingsReader) -> Option<Self> {
        let unreadable = reader.unreadable(value.as_str().unwrap_or_default());
        let list = Self(reader.resolve(value.as_str().unwrap_or_default()));
        reader.parse(value, path, Self::KIND, |_| match list.check() {
            Ok(()) => Ok(list),
            Err(error) if error.kind() == ErrorKind::InvalidData => Err(InvalidValue::new(
                format!("the file cannot be searched: {error}"),
                "name a list of leaked passwords",
            )),
            Err(error) => Err(unreadable(error)),
        })
    }
}

#[cfg(test)]
mod tests;
