//! A history as a file, one operation a line.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, Write},
    path::Path,
};

use super::Operation;

/// Why there is no history in a file.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The file cannot be read.
    #[error("cannot read the history: {0}")]
    Io(#[from] io::Error),
    /// A line is not an operation.
    #[error("line {line} is not an operation of a history: {source}")]
    Malformed {
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// Writes a history.
///
/// # Errors
/// If the file cannot be written.
pub fn write(path: &Path, history: &[Operation]) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    for operation in history {
        serde_json::to_writer(&mut file, operation)?;
        file.write_all(b"\n")?;
    }
    file.flush()
}

/// Reads what [`write()`] wrote.
///
/// # Errors
/// If the file cannot be read, or a line of it is not an operation.
pub fn read(path: &Path) -> Result<Vec<Operation>, HistoryError> {
    let lines = BufReader::new(File::open(path)?).lines().enumerate();
    let parse = |(at, line): (usize, io::Result<String>)| {
        serde_json::from_str(&line?).map_err(|source| HistoryError::Malformed { line: at + 1, source })
    };
    lines.map(parse).collect()
}
