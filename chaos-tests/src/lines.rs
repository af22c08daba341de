//! Whether a consumed stream holds every line of a file exactly once and in order.
//!
//! The stream is what `quorate consume TOPIC --format '%p %o %v\n'` prints, judged as it comes: nothing is sorted or
//! deduplicated before. Each value is a line of the file, which begins with its own number, from 1, and a tab.
//!
//! Memory: a bit and a few bytes a line besides the file itself; the stream is never held.

use std::collections::BTreeMap;

/// The longest line of a stream that is looked at: a record, and what stands before it.
pub const STREAM_LINE_BYTES_MAX: usize = 2 << 20;

/// The first thing wrong with a file or a stream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// The file is not numbered.
    #[error("line {line} of the input file does not begin with \"{line}\" and a tab; number the lines, as with `nl`")]
    NotNumbered {
        /// The line.
        line: u64,
    },
    /// A stream line is not `PARTITION OFFSET VALUE`.
    #[error(
        "record {record} of the stream is not \"PARTITION OFFSET VALUE\": {found:?}; consume with --format '%p %o %v\\n'"
    )]
    Malformed {
        /// The record, from 1.
        record: u64,
        /// How it begins.
        found: String,
    },
    /// An offset does not follow the one before it.
    #[error("record {record} of the stream: partition {partition} continues at offset {found}, expected {expected}")]
    Offset {
        /// The record, from 1.
        record: u64,
        /// Its partition.
        partition: u32,
        /// The offset that had to come.
        expected: u64,
        /// The one that came.
        found: u64,
    },
    /// The value has no line number, or one the file does not have.
    #[error("record {record} of the stream, partition {partition} offset {offset}: the file has no line {line}")]
    UnknownLine {
        /// The record, from 1.
        record: u64,
        /// Its partition.
        partition: u32,
        /// Its offset.
        offset: u64,
        /// What stands where the number should.
        line: String,
    },
    /// The bytes differ from the file's.
    #[error(
        "record {record} of the stream, partition {partition} offset {offset}: line {line} differs from the file's from byte {byte} on"
    )]
    Altered {
        /// The record, from 1.
        record: u64,
        /// Its partition.
        partition: u32,
        /// Its offset.
        offset: u64,
        /// The line.
        line: u64,
        /// The first byte that differs, from 0.
        byte: usize,
    },
    /// A line came twice.
    #[error("record {record} of the stream, partition {partition} offset {offset}: line {line} arrived before")]
    Duplicate {
        /// The record, from 1.
        record: u64,
        /// Its partition.
        partition: u32,
        /// Its offset.
        offset: u64,
        /// The line.
        line: u64,
    },
    /// A line came after a later one of the same partition.
    #[error(
        "record {record} of the stream, partition {partition} offset {offset}: line {line} comes after line {after}"
    )]
    Order {
        /// The record, from 1.
        record: u64,
        /// Its partition.
        partition: u32,
        /// Its offset.
        offset: u64,
        /// The line.
        line: u64,
        /// The line before it in the partition.
        after: u64,
    },
    /// Lines did not come.
    #[error("{missing} of {lines} lines never arrived, the first of them is line {line}")]
    Lost {
        /// How many.
        missing: u64,
        /// Of how many.
        lines: u64,
        /// The first of them.
        line: u64,
    },
}

impl Violation {
    /// The kind of violation as one word, for programs.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NotNumbered { .. } => "not_numbered",
            Self::Malformed { .. } => "malformed",
            Self::Offset { .. } => "offset",
            Self::UnknownLine { .. } => "unknown_line",
            Self::Altered { .. } => "altered",
            Self::Duplicate { .. } => "duplicate",
            Self::Order { .. } => "order",
            Self::Lost { .. } => "lost",
        }
    }
}

/// What was proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Lines, each of which arrived exactly once.
    pub lines: u64,
    /// Records by partition.
    pub partitions: BTreeMap<u32, u64>,
}

/// The numbered lines of a file.
#[derive(Debug)]
pub struct NumberedLines<'a> {
    lines: Vec<&'a [u8]>,
}

impl<'a> NumberedLines<'a> {
    /// Splits the file and checks its numbers. A last line without newline is a line.
    ///
    /// # Errors
    /// [`Violation::NotNumbered`].
    pub fn new(file: &'a [u8]) -> Result<Self, Violation> {
        let file = file.strip_suffix(b"\n").unwrap_or(file);
        let lines: Vec<&[u8]> = if file.is_empty() { Vec::new() } else { file.split(|byte| *byte == b'\n').collect() };
        for (number, line) in (1..).zip(&lines) {
            if !line.starts_with(format!("{number}\t").as_bytes()) {
                return Err(Violation::NotNumbered { line: number });
            }
        }
        Ok(Self { lines })
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct PartitionState {
    next_offset: u64,
    last_line: u64,
}

/// Judges a stream, record by record.
#[derive(Debug)]
pub struct Checker<'a> {
    expected: NumberedLines<'a>,
    arrived: Vec<u64>,
    partitions: BTreeMap<u32, PartitionState>,
    records: u64,
}

impl<'a> Checker<'a> {
    /// A checker that has seen nothing yet.
    #[must_use]
    pub fn new(expected: NumberedLines<'a>) -> Self {
        let arrived = vec![0; expected.lines.len().div_ceil(64)];
        Self { expected, arrived, partitions: BTreeMap::new(), records: 0 }
    }

    /// Judges the next line of the stream, without its newline.
    ///
    /// # Errors
    /// The violation; what follows would only repeat it.
    pub fn record(&mut self, stream_line: &[u8]) -> Result<(), Violation> {
        self.records += 1;
        let record = self.records;
        let (partition, offset, value) = split(stream_line).ok_or_else(|| Violation::Malformed {
            record,
            found: String::from_utf8_lossy(&stream_line[..stream_line.len().min(60)]).into_owned(),
        })?;
        let state = self.partitions.entry(partition).or_default();
        if offset != state.next_offset {
            return Err(Violation::Offset { record, partition, expected: state.next_offset, found: offset });
        }
        state.next_offset += 1;
        let digits = value.split(|byte| *byte == b'\t').next().unwrap_or_default();
        let found = number(digits).and_then(|line| Some((line, *self.expected.lines.get(index(line)?)?)));
        let Some((line, expected)) = found else {
            let line = String::from_utf8_lossy(&digits[..digits.len().min(60)]).into_owned();
            return Err(Violation::UnknownLine { record, partition, offset, line });
        };
        if value != expected {
            let byte = value.iter().zip(expected).take_while(|(ours, theirs)| ours == theirs).count();
            return Err(Violation::Altered { record, partition, offset, line, byte });
        }
        let (word, bit) = ((line - 1) as usize / 64, 1 << ((line - 1) % 64));
        if self.arrived[word] & bit != 0 {
            return Err(Violation::Duplicate { record, partition, offset, line });
        }
        self.arrived[word] |= bit;
        if line <= state.last_line {
            return Err(Violation::Order { record, partition, offset, line, after: state.last_line });
        }
        state.last_line = line;
        Ok(())
    }

    /// The stream has ended: was it all?
    ///
    /// # Errors
    /// [`Violation::Lost`].
    pub fn finish(self) -> Result<Verified, Violation> {
        let lines = self.expected.lines.len() as u64;
        let arrived: u64 = self.arrived.iter().map(|word| u64::from(word.count_ones())).sum();
        if arrived != lines {
            let hole = self.arrived.iter().position(|word| *word != u64::MAX).unwrap_or_default();
            let line = hole as u64 * 64 + u64::from(self.arrived[hole].trailing_ones()) + 1;
            return Err(Violation::Lost { missing: lines - arrived, lines, line });
        }
        let partitions = self.partitions.into_iter().map(|(partition, state)| (partition, state.next_offset)).collect();
        Ok(Verified { lines, partitions })
    }
}

fn split(line: &[u8]) -> Option<(u32, u64, &[u8])> {
    let mut parts = line.splitn(3, |byte| *byte == b' ');
    let partition = number(parts.next()?)?.try_into().ok()?;
    Some((partition, number(parts.next()?)?, parts.next()?))
}

/// Decimal digits without sign or leading zero.
fn number(digits: &[u8]) -> Option<u64> {
    let plain = digits.iter().all(u8::is_ascii_digit) && (digits == b"0" || !digits.starts_with(b"0"));
    std::str::from_utf8(digits).ok().filter(|_| plain)?.parse().ok()
}

fn index(line: u64) -> Option<usize> {
    line.checked_sub(1)?.try_into().ok()
}

#[cfg(test)]
mod tests;
