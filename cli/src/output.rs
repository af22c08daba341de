//! Results on stdout: a table for a person, JSON for a program. Every result is a [`View`] and thus has both.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use comfy_table::{Attribute, Cell, CellAlignment, ContentArrangement, Table, presets};
use serde::Serialize;

use crate::error::Failure;

/// How results are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// Tables and lines for a person
    Table,
    /// One JSON document on stdout
    Json,
}

/// A result that can be shown both ways.
pub(crate) trait View: Serialize {
    /// The text for a person, without a last newline.
    fn text(&self) -> String;
}

/// Writes a result to stdout.
pub(crate) fn show(format: Format, view: &impl View) -> Result<(), Failure> {
    let text = match format {
        Format::Table => view.text(),
        Format::Json => serde_json::to_string_pretty(view).map_err(|error| Failure::Output(error.into()))?,
    };
    let mut stdout = io::stdout().lock();
    let newline = if text.is_empty() { "" } else { "\n" };
    write!(stdout, "{text}{newline}").and_then(|()| stdout.flush()).map_err(Failure::Output)
}

/// A table of columns without lines; headers are bold on a terminal and plain elsewhere.
pub(crate) struct Columns {
    table: Table,
}

impl Columns {
    pub(crate) fn new(headers: &[&str]) -> Self {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        if !io::stdout().is_terminal() {
            table.force_no_tty();
        }
        table.set_header(headers.iter().map(|header| Cell::new(header).add_attribute(Attribute::Bold)));
        Self { table }
    }

    /// Numbers are read from the right.
    pub(crate) fn right(mut self, columns: &[usize]) -> Self {
        for &column in columns {
            if let Some(column) = self.table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        self
    }

    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.table.add_row(cells);
    }

    pub(crate) fn text(&self) -> String {
        let lines: Vec<_> = self.table.lines().map(|line| line.trim_end().to_owned()).collect();
        // The style pads each cell on both sides; without borders the first column's pad only indents.
        let indented = lines.iter().all(|line| line.is_empty() || line.starts_with(' '));
        lines
            .iter()
            .map(|line| if indented { line.get(1..).unwrap_or("") } else { line })
            .collect::<Vec<_>>()
            .join("\n")
    }
}

/// Names and values below each other.
pub(crate) fn fields<const N: usize>(fields: [(&str, String); N]) -> String {
    let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    fields.iter().map(|(name, value)| format!("{name:width$}  {value}")).collect::<Vec<_>>().join("\n")
}

/// `1 record`, `2 records`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// Whole milliseconds, for JSON.
pub(crate) fn milliseconds(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX)
}

/// Nodes by their ids, in words.
pub(crate) fn nodes(ids: &[u64]) -> String {
    let named: Vec<String> = ids.iter().map(ToString::to_string).collect();
    match &named[..] {
        [] => "no other node".to_owned(),
        [one] => format!("node {one}"),
        many => format!("nodes {}", many.join(", ")),
    }
}

/// A moment, given in milliseconds since 1970, in UTC.
pub(crate) fn time(ms: i64) -> String {
    let since = Duration::from_millis(u64::try_from(ms).unwrap_or(0));
    humantime::format_rfc3339_seconds(std::time::UNIX_EPOCH + since).to_string()
}

/// A value that may be unknown.
pub(crate) fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_without_borders_or_trailing_blanks() {
        let mut columns = Columns::new(&["NODE", "STATE"]).right(&[0]);
        columns.row(["1".to_owned(), "up".to_owned()]);
        columns.row(["22".to_owned(), "down".to_owned()]);
        let text = columns.text();
        assert!(text.lines().all(|line| line == line.trim_end()), "{text:?}");
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text:?}");
        assert_eq!(lines[1].find("up"), lines[2].find("down"), "{text:?}");
    }

    #[test]
    fn nouns_agree_with_their_number() {
        assert_eq!((count(1, "record"), count(0, "record")), ("1 record".to_owned(), "0 records".to_owned()));
    }
}
