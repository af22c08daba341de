//! Damage in the finished part of a log.

use std::{fmt, ops::Range, path::PathBuf};

/// Entries that were on stable storage and can no longer be read, while the log before and after them can.
///
/// A log with holes takes appends and votes as ever, since its end is sound. It must not serve what lies across a hole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hole {
    /// The log indexes of the entries.
    pub indexes: Range<u64>,
    /// The segment file.
    pub path: PathBuf,
    /// What is wrong.
    pub reason: String,
}

impl Hole {
    /// Whether nothing in it is kept by a log that starts at this log index.
    pub(crate) fn lies_before(&self, start_index: u64) -> bool {
        // An empty one, of a local frame at the very beginning, is before nothing.
        self.indexes.start < start_index && self.indexes.end <= start_index
    }
}

impl fmt::Display for Hole {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Range { start, end } = self.indexes;
        write!(
            formatter,
            "{}: log indexes {start} to {} cannot be read: {}",
            self.path.display(),
            end.saturating_sub(1),
            self.reason
        )
    }
}
