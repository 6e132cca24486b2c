//! What a command prints: text for people, or one JSON value for programs.

use std::io;
use std::io::Write;
use std::process::ExitCode;

use serde_json::Value;
use serde_json::json;

use super::failure::Failure;
use crate::model::visible::is_unseen;

/// Where a command's outcome goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Output {
    json: bool,
}

impl Output {
    pub(super) fn new(json: bool) -> Self {
        Self { json }
    }

    /// Shows an outcome. The value for programs, or the text for people.
    pub(super) fn show(self, value: &Value, text: &str) -> Result<(), Failure> {
        let text = if self.json { value.to_string() } else { text.to_owned() };
        write_line(&mut io::stdout().lock(), &text)
    }

    /// Shows a list as `{"<name>": [..]}`, or as a table with a line for each row.
    pub(super) fn list(self, name: &str, values: &[Value], table: &TextTable) -> Result<(), Failure> {
        self.show(&json!({ name: values }), &table.to_text())
    }

    /// Says on standard error what went wrong.
    pub(super) fn failure(self, failure: &Failure) -> ExitCode {
        let text = match (failure, self.json) {
            (Failure::Config(error), true) => {
                let problems = error.0.iter().map(|problem| {
                    json!({
                        "path": problem.path,
                        "place": problem.location.to_string(),
                        "line": problem.location.line(),
                        "problem": problem.what,
                        "remedy": problem.remedy,
                    })
                });
                json!({ "error": failure.text(), "problems": problems.collect::<Vec<_>>() }).to_string()
            }
            (_, true) => json!({ "error": failure.text() }).to_string(),
            (Failure::Config(error), false) => format!("{error}\n\ndoorward: {}", failure.text()),
            (_, false) => format!("doorward: {}", failure.text()),
        };
        // If even this cannot be written, the exit code still tells.
        drop(write_line(&mut io::stderr().lock(), &text));
        ExitCode::from(failure.exit_code())
    }
}

/// Writes a line; a reader who has gone away is no failure of ours.
fn write_line(to: &mut dyn Write, text: &str) -> Result<(), Failure> {
    match writeln!(to, "{}", text.trim_end()).and_then(|()| to.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::Failed(error.into())),
        _ => Ok(()),
    }
}

/// Rows in columns.
#[derive(Debug)]
pub(super) struct TextTable {
    rows: Vec<Vec<String>>,
    nothing: &'static str,
}

impl TextTable {
    /// A table with these headings; `nothing` is said if no row comes.
    pub(super) fn new(headings: &[&str], nothing: &'static str) -> Self {
        Self { rows: vec![headings.iter().map(|heading| (*heading).to_owned()).collect()], nothing }
    }

    pub(super) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    pub(super) fn to_text(&self) -> String {
        if self.rows.len() == 1 {
            return self.nothing.to_owned();
        }
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            self.rows
                .iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let line = |row: &Vec<String>| {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{:<width$}", plain(cell)));
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        self.rows.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

/// A cell without anything that could steer a terminal, or make two of them look alike.
fn plain(cell: &str) -> String {
    cell.chars().map(|c| if is_unseen(c) { '?' } else { c }).collect()
}

/// A list in one cell; a dash if it is empty.
pub(super) fn listed<T: ToString>(items: &[T]) -> String {
    if items.is_empty() {
        return "-".to_owned();
    }
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_cannot_steer_a_terminal() {
        let mut table = TextTable::new(&["NAME", "ROLE"], "nobody");
        assert_eq!(table.to_text(), "nobody");
        table.row(vec!["zoë".into(), "admin".into()]);
        table.row(vec!["a\u{1b}[2Jb".into(), "viewer".into()]);
        table.row(vec!["\u{202e}nimda\u{2060}".into(), "member".into()]);
        assert_eq!(table.to_text(), "NAME     ROLE\nzoë      admin\na?[2Jb   viewer\n?nimda?  member");
    }
}
