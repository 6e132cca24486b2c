//! The path of a target: its one form, and what careless readers could make of it.

use std::borrow::Cow;

use super::disguise::{fold, hides_structure};
use super::{PathOptIns, TargetError};

/// The path with needless escapes decoded and hex digits in upper case; borrowed where it is so already.
///
/// Also the form in which path patterns of rules are kept.
///
/// # Errors
///
/// [`TargetError`] for what no server needs and some misread: controls, backslashes, broken escapes.
pub fn canonical_path(path: &str) -> Result<Cow<'_, str>, TargetError> {
    // Resolved as a reference, `//a/b` is the path `/b` at the host `a` (RFC 3986, 4.2).
    if path.starts_with("//") {
        return Err(TargetError::TwoSlashes);
    }
    if !path.starts_with('/') {
        return Err(TargetError::NotAbsolute);
    }
    let bytes = path.as_bytes();
    let mut rewritten: Option<String> = None;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'%' => {
                let escape = bytes.get(at..at + 3).ok_or(TargetError::BrokenEscape)?;
                let decoded = decode_escape(escape).ok_or(TargetError::BrokenEscape)?;
                match decoded {
                    b'\\' => return Err(TargetError::Backslash),
                    0..=0x1F | 0x7F => return Err(TargetError::BadByte),
                    _ if is_unreserved(decoded) => {
                        rewritten
                            .get_or_insert_with(|| path.get(..at).unwrap_or_default().to_owned())
                            .push(char::from(decoded));
                    }
                    _ if escape.iter().any(u8::is_ascii_lowercase) => {
                        let text =
                            rewritten.get_or_insert_with(|| path.get(..at).unwrap_or_default().to_owned());
                        text.extend(escape.iter().map(|b| char::from(b.to_ascii_uppercase())));
                    }
                    _ => {
                        if let Some(text) = &mut rewritten {
                            text.extend(escape.iter().map(|b| char::from(*b)));
                        }
                    }
                }
                at += 3;
                continue;
            }
            b'\\' => return Err(TargetError::Backslash),
            0..=0x20 | 0x7F.. | b'#' | b'?' => return Err(TargetError::BadByte),
            _ => {
                if let Some(text) = &mut rewritten {
                    text.push(char::from(byte));
                }
            }
        }
        at += 1;
    }
    Ok(rewritten.map_or(Cow::Borrowed(path), Cow::Owned))
}

pub(super) struct PathReading {
    pub(super) loose: Option<String>,
    pub(super) needs: PathOptIns,
}

/// Looks at each segment for what is ambiguous, and builds the loose reading if there is one.
pub(super) fn read_segments(path: &str) -> Result<PathReading, TargetError> {
    let mut needs = PathOptIns::default();
    let mut odd = false;
    let inner = path.strip_prefix('/').ok_or(TargetError::NotAbsolute)?;
    let mut segments = inner.split('/').peekable();
    while let Some(segment) = segments.next() {
        match segment {
            "." | ".." => return Err(TargetError::DotSegment),
            "" => needs.empty_segment |= segments.peek().is_some(),
            _ => {
                needs.semicolon |= segment.contains(';');
                odd |= segment.ends_with('.')
                    || segment.bytes().any(|b| b.is_ascii_uppercase() || b == b'%' || b == b';');
            }
        }
    }
    if !odd && !needs.empty_segment {
        return Ok(PathReading { loose: None, needs });
    }
    let decoded = read_carelessly(path)?;
    needs.encoded_slash = decoded.slashes;
    needs.disguised_separator = decoded.disguised;
    if begins_with_nothing(&decoded.text) {
        return Err(TargetError::HiddenSlashes);
    }
    let loose = loosen(&decoded.text)?;
    Ok(PathReading { loose: (loose != path).then_some(loose), needs })
}

/// A plain backslash is refused. A separator that appears only after folding was a look-alike character.
const SEPARATORS: [char; 2] = ['/', '\\'];

/// The loose reading of a decoded path: characters folded, what follows a decoded `?` or `#` cut, parameters cut,
/// empty segments dropped, trailing dots and spaces trimmed, letter case folded.
///
/// Also the form in which path patterns are compared with it.
///
/// # Errors
///
/// [`TargetError::DotSegment`] if that reading walks upwards.
pub fn loosen(decoded: &str) -> Result<String, TargetError> {
    let decoded = fold(decoded);
    // The whole is searched for a way upwards: not every server cuts.
    for segment in decoded.split(SEPARATORS) {
        let name = segment.split([';', '?', '#']).next().unwrap_or_default();
        if matches!(name.trim_end_matches(' '), "." | "..") {
            return Err(TargetError::DotSegment);
        }
    }
    let path = decoded.split(['?', '#']).next().unwrap_or_default();
    let mut loose = String::with_capacity(path.len());
    for segment in path.split(SEPARATORS) {
        let name = name_of(segment);
        if !name.is_empty() {
            loose.push('/');
            // Upper first: a dotless i becomes I, and only then i.
            loose.extend(name.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase));
        }
    }
    if loose.is_empty() || path.ends_with(SEPARATORS) {
        loose.push('/');
    }
    Ok(loose)
}

/// Whether a decoded path has a first segment of which nothing is left once it is cut: what follows reads as
/// it does after `//`.
pub(super) fn begins_with_nothing(decoded: &str) -> bool {
    let first = decoded.strip_prefix('/').and_then(|inner| inner.split_once(SEPARATORS));
    first.is_some_and(|(segment, _)| name_of(segment).is_empty())
}

/// A segment without parameters, and without what some file systems drop.
fn name_of(segment: &str) -> &str {
    segment.split(';').next().unwrap_or_default().trim_end_matches(['.', ' '])
}

pub(super) struct Decoded {
    pub(super) text: String,
    slashes: bool,
    /// Whether characters beyond ASCII hide what gives a path its structure.
    disguised: bool,
}

/// Undoes escapes and folds characters until there is nothing left to undo: a folded `%` begins another escape.
pub(super) fn read_carelessly(path: &str) -> Result<Decoded, TargetError> {
    let mut decoded = decode_fully(path)?;
    for _ in 0..ROUNDS {
        let folded = fold(&decoded.text);
        if folded == decoded.text {
            return Ok(decoded);
        }
        let (slashes, disguised) = (decoded.slashes, decoded.disguised);
        decoded = decode_fully(&folded)?;
        decoded.slashes |= slashes;
        decoded.disguised |= disguised;
    }
    Err(TargetError::TooDeep)
}

/// How many times escapes are undone.
const ROUNDS: usize = 4;

/// Undoes escapes until there are none, as a chain of servers that each decode once would.
fn decode_fully(path: &str) -> Result<Decoded, TargetError> {
    let mut text = path.to_owned();
    let mut slashes = false;
    for round in 0..=ROUNDS {
        let mut bytes = Vec::with_capacity(text.len());
        let mut changed = false;
        let raw = text.as_bytes();
        let mut at = 0;
        while let Some(&byte) = raw.get(at) {
            match raw.get(at..at + 3).and_then(decode_escape) {
                Some(decoded) if byte == b'%' => {
                    match decoded {
                        b'\\' => return Err(TargetError::Backslash),
                        0..=0x1F | 0x7F => return Err(TargetError::BadByte),
                        b'/' => slashes = true,
                        _ => {}
                    }
                    bytes.push(decoded);
                    changed = true;
                    at += 3;
                }
                _ => {
                    bytes.push(byte);
                    at += 1;
                }
            }
        }
        if !changed {
            // Controls beyond ASCII (U+0080 to U+009F) are no more welcome than the others.
            if text.chars().any(char::is_control) {
                return Err(TargetError::BadByte);
            }
            let disguised = text.chars().any(hides_structure);
            return Ok(Decoded { text, slashes, disguised });
        }
        if round == ROUNDS {
            break;
        }
        text = String::from_utf8(bytes).map_err(|_| TargetError::NotUtf8)?;
    }
    Err(TargetError::TooDeep)
}

/// The byte behind `%XX`.
fn decode_escape(escape: &[u8]) -> Option<u8> {
    let [b'%', high, low] = escape else { return None };
    let high = char::from(*high).to_digit(16)?;
    let low = char::from(*low).to_digit(16)?;
    u8::try_from(high * 16 + low).ok()
}

/// RFC 3986, 2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}
