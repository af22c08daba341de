//! Asking a person before something is lost for good.

use std::io::{self, BufRead, IsTerminal, Write};

use crate::error::Failure;

/// Fails where nobody can be asked. `not_done` is what then remains, as in "topic orders was not deleted".
pub(crate) fn require_somebody(not_done: &str) -> Result<(), Failure> {
    if io::stdin().is_terminal() {
        return Ok(());
    }
    Err(Failure::message(format!("{not_done}, nobody can be asked as stdin is no terminal, use --yes")))
}

/// Asks; fails unless the answer is yes.
pub(crate) fn ask(question: &str, not_done: &str) -> Result<(), Failure> {
    require_somebody(not_done)?;
    let mut answer = String::new();
    let mut stderr = io::stderr().lock();
    write!(stderr, "{question} [y/N] ")
        .and_then(|()| stderr.flush())
        .and_then(|()| io::stdin().lock().read_line(&mut answer))
        .map_err(|error| Failure::message(format!("{not_done}, {error}, use --yes")))?;
    if matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
        return Ok(());
    }
    Err(Failure::message(format!("{not_done}, the answer was not yes")))
}
