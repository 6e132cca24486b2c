//! Settings of another product by their names: from a file of variables, from YAML, or from the environment.

use std::collections::BTreeMap;
use std::ffi::OsString;

use super::yaml;
use crate::model::secret::Secret;

/// What is said of a value that is only named where it is used.
const ELSEWHERE: &str = "refers to another variable, whose value is not here: write the value itself";
/// What is said of a name with two values.
const TWICE: &str = "is set twice, to different values: leave one of them out";
/// What is said of YAML that is no plain value.
const NO_TEXT: &str =
    "is written in a way that is not read here: write it as plain or quoted text on one line";

/// Settings by name. Any of them may be a secret, so all are kept as one.
#[derive(Debug, Default)]
pub(super) struct Variables(BTreeMap<String, Given>);

/// One setting.
#[derive(Clone, Debug)]
pub(super) struct Given {
    /// As it was written, which is what people look for.
    pub(super) name: String,
    /// Without blanks around it; or why it is not known.
    pub(super) value: Result<Secret, &'static str>,
}

impl Variables {
    /// Reads the variables whose names begin with `prefix`: of a file of lines (`NAME=value`, as Compose and shells read them), or of
    /// YAML: a Compose file, a Kubernetes manifest, or plain keys.
    ///
    /// # Errors
    ///
    /// Says which line makes no sense, and nothing of it.
    pub(super) fn parse(text: &str, prefix: &str) -> Result<Self, String> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if is_yaml(text) { Self::from_yaml(text, prefix) } else { Self::from_lines(text, prefix) }
    }

    fn from_lines(text: &str, prefix: &str) -> Result<Self, String> {
        let mut variables = Self::default();
        for (at, line) in text.lines().enumerate() {
            match assignment(line) {
                Ok(Some((name, value))) if name.starts_with(prefix) => variables.add(name, value),
                Ok(_) => {}
                Err(why) => return Err(format!("line {} {why}", at + 1)),
            }
        }
        Ok(variables)
    }

    fn from_yaml(text: &str, prefix: &str) -> Result<Self, String> {
        let mut variables = Self::default();
        let mut names: BTreeMap<String, String> = BTreeMap::new();
        for (path, value) in yaml::flatten(text)? {
            let (parent, key) = path.rsplit_once('.').unwrap_or(("", &path));
            // `- NAME=value` of a Compose file.
            if key.ends_with(']')
                && let Some(text) = &value
                && let Some((name, value)) = text.expose().split_once('=')
            {
                if name.starts_with(prefix) && is_name(name) {
                    variables.add(name, interpolated(value));
                }
                continue;
            }
            match (key, &value) {
                // `name: NAME` with `value: ...`, or `valueFrom: ...`, of a Kubernetes manifest.
                ("name", Some(name)) if name.expose().starts_with(prefix) && is_name(name.expose()) => {
                    names.insert(parent.to_owned(), name.expose().to_owned());
                    variables
                        .0
                        .entry(name.expose().to_owned())
                        .or_insert_with(|| Given { name: name.expose().to_owned(), value: Err(ELSEWHERE) });
                }
                ("value", value) if names.contains_key(parent) => {
                    let name = names.remove(parent).unwrap_or_default();
                    variables.0.remove(&name);
                    let value = value.as_ref().map_or(Err(NO_TEXT), |text| interpolated(text.expose()));
                    variables.add(&name, value);
                }
                (name, value) if name.starts_with(prefix) && is_name(name) => {
                    let value = value.as_ref().map_or(Err(NO_TEXT), |text| interpolated(text.expose()));
                    variables.add(name, value);
                }
                _ => {}
            }
        }
        Ok(variables)
    }

    /// The keys of a YAML file that begin with one of these, in lower case and joined by dots; the items of a list are joined by
    /// commas. `None` where the text is no YAML.
    ///
    /// # Errors
    ///
    /// Says which line makes no sense, and nothing of it.
    pub(super) fn keys(text: &str, tops: &[&str]) -> Result<Option<Self>, String> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if !is_yaml(text) {
            return Ok(None);
        }
        let mut variables = Self::default();
        for (path, value) in yaml::flatten(text)? {
            let key = path.to_lowercase();
            let (key, is_item) = match key.rsplit_once('[') {
                Some((key, rest)) if rest.ends_with(']') => (key.to_owned(), true),
                _ => (key, false),
            };
            if !tops
                .iter()
                .any(|top| key == *top || key.strip_prefix(top).is_some_and(|rest| rest.starts_with('.')))
            {
                continue;
            }
            let value = value.map_or(Err(NO_TEXT), |text| Ok(text.expose().to_owned()));
            let value = match (variables.0.remove(&key), value) {
                (None, value) => value,
                (Some(Given { value: Ok(before), .. }), Ok(next)) if is_item => {
                    Ok(format!("{},{next}", before.expose()))
                }
                (Some(Given { value: Ok(before), .. }), Ok(next)) if before.expose() == next => Ok(next),
                (Some(Given { value: Err(why), .. }), _) | (_, Err(why)) => Err(why),
                _ => Err(TWICE),
            };
            variables.0.insert(key.clone(), Given { name: key, value: value.map(Secret::new) });
        }
        Ok(Some(variables))
    }

    /// Those of these variables whose names begin so.
    pub(super) fn of_process(variables: impl Iterator<Item = (OsString, OsString)>, prefix: &str) -> Self {
        let mut found = Self::default();
        for (name, value) in variables {
            let Some(name) = name.to_str().filter(|name| name.starts_with(prefix) && is_name(name)) else {
                continue;
            };
            found.add(name, value.into_string().map_err(|_| "is not UTF-8: set it again in UTF-8"));
        }
        found
    }

    fn add(&mut self, name: &str, value: Result<String, &'static str>) {
        let value = value.map(|text| Secret::new(text.trim()));
        let value = match (self.0.get(name).map(|before| &before.value), &value) {
            (Some(Ok(before)), Ok(next)) if before.expose() != next.expose() => Err(TWICE),
            _ => value,
        };
        self.0.insert(name.to_owned(), Given { name: name.to_owned(), value });
    }

    /// Gives each a name of the product's documentation; those without one keep theirs.
    pub(super) fn renamed(self, name_of: impl Fn(&str) -> Option<String>) -> Self {
        let named = |(key, given): (String, Given)| (name_of(&key).unwrap_or(key), given);
        Self(self.0.into_iter().map(named).collect())
    }

    /// A setting, which is looked at once.
    pub(super) fn take(&mut self, name: &str) -> Option<Given> {
        self.0.remove(name)
    }

    /// The names of what nobody looked at yet.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Whether there is nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Whether a text is YAML, and not lines of variables: its first line with anything says it.
fn is_yaml(text: &str) -> bool {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.next().is_some_and(|line| {
        let equals = line.find('=').unwrap_or(usize::MAX);
        line.starts_with("- ") || line == "---" || line.find(':').is_some_and(|colon| colon < equals)
    })
}

fn is_name(name: &str) -> bool {
    (1..=256).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !name.starts_with(|c: char| c.is_ascii_digit())
}

/// A variable's name and value; the value is not known where it refers to another.
type Assignment<'l> = (&'l str, Result<String, &'static str>);

/// What a line assigns, if anything.
fn assignment(line: &str) -> Result<Option<Assignment<'_>>, &'static str> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let line = match line.strip_prefix("export") {
        Some(rest) if rest.starts_with(char::is_whitespace) => rest.trim_start(),
        _ => line,
    };
    let Some((name, value)) = line.split_once('=') else {
        return Err("assigns nothing: a line is NAME=value");
    };
    if !is_name(name) {
        return Err("has no name of letters, digits and _ before the =");
    }
    let value = value.trim_start();
    let (value, rest) = match value.chars().next() {
        Some('\'') => single_quoted(value)?,
        Some('"') => double_quoted(value)?,
        _ => (plain(value), ""),
    };
    let rest = rest.trim_start();
    if rest.is_empty() || rest.starts_with('#') {
        Ok(Some((name, value)))
    } else {
        Err("goes on after the quote that ends the value")
    }
}

/// Up to a `#` after a blank.
fn plain(text: &str) -> Result<String, &'static str> {
    let end = text.match_indices('#').find(|(at, _)| {
        *at == 0 || text.get(..*at).is_some_and(|before| before.ends_with(char::is_whitespace))
    });
    let value = end.and_then(|(at, _)| text.get(..at)).unwrap_or(text);
    if refers(value) { Err(ELSEWHERE) } else { Ok(value.trim_end().to_owned()) }
}

type Quoted<'t> = (Result<String, &'static str>, &'t str);
const OPEN: &str = "has a quote that is not closed on the same line";

fn single_quoted(text: &str) -> Result<Quoted<'_>, &'static str> {
    let (value, rest) = text.strip_prefix('\'').and_then(|rest| rest.split_once('\'')).ok_or(OPEN)?;
    Ok((Ok(value.to_owned()), rest))
}

fn double_quoted(text: &str) -> Result<Quoted<'_>, &'static str> {
    let inner = text.strip_prefix('"').ok_or(OPEN)?;
    let (mut value, mut elsewhere) = (String::new(), false);
    let mut characters = inner.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => {
                let rest = inner.get(at + 1..).unwrap_or_default();
                return Ok((if elsewhere { Err(ELSEWHERE) } else { Ok(value) }, rest));
            }
            '\\' => match characters.next().ok_or(OPEN)?.1 {
                'n' => value.push('\n'),
                't' => value.push('\t'),
                'r' => value.push('\r'),
                c @ ('"' | '\\' | '$' | '`') => value.push(c),
                other => value.extend(['\\', other]),
            },
            '$' => {
                elsewhere |= inner.get(at + 1..).is_some_and(begins_reference);
                value.push('$');
            }
            other => value.push(other),
        }
    }
    Err(OPEN)
}

/// Whether shells and Compose would put the value of another variable, or the output of a command, in here.
fn refers(text: &str) -> bool {
    text.match_indices('$').any(|(at, _)| text.get(at + 1..).is_some_and(begins_reference))
}

/// What makes a `$` before it more than a character.
fn begins_reference(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '_' | '{' | '('))
}

/// A value in YAML that Compose or Kubernetes read: `$$` is `$`.
fn interpolated(text: &str) -> Result<String, &'static str> {
    let text = text.replace("$$", "\0");
    if refers(&text) { Err(ELSEWHERE) } else { Ok(text.replace('\0', "$")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn value(text: &str) -> Result<String, &'static str> {
        let mut variables = Variables::parse(text, "P_").unwrap();
        variables.take("P_A").unwrap().value.map(|secret| secret.expose().to_owned())
    }

    #[test]
    fn lines_are_read_as_compose_and_shells_read_them() {
        for (text, wanted) in [
            ("P_A=b", "b"),
            ("export P_A=b", "b"),
            ("# c\n\n  P_A=b  # c", "b"),
            ("P_A=b#c", "b#c"),
            ("P_A=", ""),
            ("P_A='\"cognito:groups\"'", "\"cognito:groups\""),
            ("P_A=\"a \\\"b\\\" $1 \\$c\" # d", "a \"b\" $1 $c"),
            ("P_A=a b", "a b"),
            ("P_A=a=b==", "a=b=="),
            ("\u{feff}P_A=b\r\nP_B=c\r", "b"),
            ("P_A=b\nP_A=b", "b"),
        ] {
            assert_eq!(value(text).as_deref(), Ok(wanted), "{text}");
        }
    }

    #[test]
    fn a_value_that_is_elsewhere_is_not_guessed() {
        for text in ["P_A=${B}", "P_A=x$B", "P_A=\"${B:-c}\"", "P_A=$(cat f)"] {
            assert_eq!(value(text), Err(ELSEWHERE), "{text}");
        }
        assert_eq!(value("P_A='${B}'").as_deref(), Ok("${B}"));
        assert_eq!(value("P_A=b\nP_A=c"), Err(TWICE));
    }

    #[test]
    fn a_line_that_makes_no_sense_is_named_and_not_shown() {
        for (text, line) in [
            ("P_A=b\ns3cret", "line 2"),
            ("P_A='s3cret", "line 1"),
            ("P_A=\"s3cret\\", "line 1"),
            ("P_A='s3cret'x", "line 1"),
            ("P-A=s3cret", "line 1"),
            ("=s3cret", "line 1"),
        ] {
            let why = Variables::parse(text, "P_").unwrap_err();
            assert!(why.starts_with(line) && !why.contains("s3cret"), "{why}");
        }
    }

    #[test]
    fn variables_are_found_in_compose_files_and_manifests() {
        let map = "services:\n  app:\n    environment:\n      P_A: b\n      OTHER: c\n";
        let list =
            "services:\n  app:\n    command: |\n      P_A=z\n    environment:\n      - P_A=b\n      - Q=c\n";
        let manifest = "spec:\n  containers:\n  - name: app\n    env:\n    - name: P_A\n      value: 'b'\n    - name: P_B\n      \
                        valueFrom:\n        secretKeyRef:\n          name: s\n          key: k\n";
        for text in [map, list, manifest] {
            assert_eq!(value(text).as_deref(), Ok("b"), "{text}");
        }
        let mut variables = Variables::parse(manifest, "P_").unwrap();
        assert_eq!(variables.names().collect::<Vec<_>>(), ["P_A", "P_B"]);
        assert!(variables.take("P_B").unwrap().value.is_err());
        assert_eq!(value("a:\n  P_A: ${B}"), Err(ELSEWHERE));
        assert_eq!(value("a:\n  P_A: a$$b").as_deref(), Ok("a$b"));
        assert_eq!(value("a:\n  P_A: |\n    b\n"), Err(NO_TEXT));
    }

    #[test]
    fn keys_are_found_in_yaml_and_lists_are_joined() {
        let text = "log-level: debug\nAuth:\n  github:\n    allowed-organizations:\n      - a\n      - b\n    enabled: true\n";
        let mut keys = Variables::keys(text, &["auth"]).unwrap().unwrap();
        let mut of = |name: &str| keys.take(name).unwrap().value.unwrap().expose().to_owned();
        assert_eq!(of("auth.github.allowed-organizations"), "a,b");
        assert_eq!(of("auth.github.enabled"), "true");
        assert!(keys.is_empty());
        assert!(Variables::keys("A=b", &["auth"]).unwrap().is_none());
    }

    #[test]
    fn only_the_process_variables_that_are_meant_are_looked_at() {
        let of = |text: &str| OsString::from(text);
        let variables = [(of("P_A"), of(" ${b} ")), (of("HOME"), of("/root"))];
        let mut variables = Variables::of_process(variables.into_iter(), "P_");
        assert_eq!(variables.take("P_A").unwrap().value.unwrap().expose(), "${b}");
        assert!(variables.is_empty());
    }
}
