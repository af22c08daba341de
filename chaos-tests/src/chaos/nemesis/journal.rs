//! What was injected: `nemesis.jsonl`, one entry a line.

use serde::Serialize;

use super::{NemesisKind, Role};

/// What became of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It is in force.
    Installed,
    /// It is in force, but whether against whom the plan said is not known: who had the role was seen too long ago.
    Indeterminate,
    /// It was not injected.
    Skipped,
    /// It is over.
    Healed,
}

/// A fault begins, ends, or does not come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Nanoseconds since the run began.
    pub at_ns: u64,
    /// The fault's number.
    pub fault: u64,
    /// Its kind.
    pub kind: NemesisKind,
    /// Whom it was to hit.
    pub role: Role,
    /// What became of it.
    pub state: State,
    /// Whom it hit and how, or why not.
    pub detail: String,
}
