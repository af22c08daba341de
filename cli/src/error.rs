//! Why a command failed, as one line for a person or one JSON object for a program, and the exit code it means.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use serde_json::json;

use crate::output::{Format, count};

const FAILED: u8 = 1;
const USAGE: u8 = 2;

/// Why a command did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The SDK gave up; its message says what and why.
    #[error("{0}")]
    Client(#[from] quorate::Error),
    /// The SDK could not deliver a record.
    #[error("{0}")]
    Produce(#[from] quorate::ProduceError),
    /// The cluster did not answer in time, and the SDK's own deadline did not end the wait either.
    #[error("{what} took longer than {}, raise --timeout or check the cluster with `quorate cluster health`", humantime::format_duration(*.timeout))]
    Timeout {
        /// What was waited for.
        what: String,
        /// How long.
        timeout: Duration,
    },
    /// A line of the input was not taken.
    #[error("line {number} of {input}: {source}")]
    Line {
        /// Its number, from 1.
        number: u64,
        /// The input's name.
        input: String,
        /// Why.
        source: Box<quorate::ProduceError>,
    },
    /// Producing ended before its end.
    #[error("{source}; {} acknowledged before", records(*.acknowledged))]
    Partial {
        /// The records that are on stable storage of a majority.
        acknowledged: u64,
        /// Why it ended.
        source: Box<Failure>,
    },
    /// Nothing listens at any of the servers.
    #[error("cannot reach the cluster, {0}, correct --server or start a cluster with `quorate local start`")]
    Unreachable(String),
    /// Anything else that is one line: what, why, what to do.
    #[error("{0}")]
    Message(String),
    /// Arguments that are each valid but do not go together.
    #[error("{0}")]
    Usage(String),
    /// Standard output cannot be written.
    #[error("cannot write to standard output, {0}")]
    Output(io::Error),
}

impl Failure {
    /// A failure told in one line.
    pub(crate) fn message(line: impl Into<String>) -> Self {
        Self::Message(line.into())
    }

    /// Reports the failure on stderr and says which exit code it means. A reader that closed the pipe has what it
    /// wanted: that ends quietly.
    pub(crate) fn report(&self, format: Format) -> ExitCode {
        if matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe) {
            return ExitCode::SUCCESS;
        }
        let message = one_line(&self.to_string());
        let line = match format {
            Format::Json if !matches!(self, Self::Usage(_)) => {
                json!({ "error": { "message": message, "code": self.code(), "retryable": self.is_retryable() } })
                    .to_string()
            }
            // What is wrong with the command line is always told as clap tells it: as text.
            _ => format!("quorate: {message}"),
        };
        // With stderr gone there is nobody left to tell.
        let _ = writeln!(io::stderr(), "{line}");
        ExitCode::from(if matches!(self, Self::Usage(_)) { USAGE } else { FAILED })
    }

    /// Whether the cluster has refused with this code.
    pub(crate) fn is(&self, code: quorate::ErrorCode) -> bool {
        matches!(self, Self::Client(error) if error.code() == Some(code))
    }

    fn code(&self) -> Option<String> {
        let code = match self {
            Self::Client(error) => error.code(),
            Self::Produce(error) => error.code(),
            Self::Line { source, .. } => source.code(),
            Self::Partial { source, .. } => return source.code(),
            _ => None,
        };
        code.map(|code| format!("{code:?}"))
    }

    fn is_retryable(&self) -> bool {
        match self {
            Self::Client(error) => error.is_retryable(),
            Self::Produce(error) => error.is_retryable(),
            Self::Line { source, .. } => source.is_retryable(),
            Self::Partial { source, .. } => source.is_retryable(),
            Self::Timeout { .. } | Self::Unreachable(_) => true,
            Self::Message(_) | Self::Usage(_) | Self::Output(_) => false,
        }
    }
}

fn records(acknowledged: u64) -> String {
    let verb = if acknowledged == 1 { "was" } else { "were" };
    format!("{} {verb}", count(acknowledged, "record"))
}

/// What clap says: help and version on stdout with code 0, everything else on stderr with code 2.
pub(crate) fn usage_exit(usage: &clap::Error) -> ExitCode {
    // A closed pipe is no reason to complain about help nobody reads.
    let _ = usage.print();
    ExitCode::from(if usage.use_stderr() { USAGE } else { 0 })
}

/// A warning: the command goes on.
pub(crate) fn warn(message: &str) {
    let _ = writeln!(io::stderr(), "quorate: warning: {}", one_line(message));
}

/// A remark on stderr, so that stdout holds results only.
pub(crate) fn note(message: &str) {
    let _ = writeln!(io::stderr(), "{message}");
}

fn one_line(text: &str) -> String {
    text.split(['\n', '\r']).map(str::trim).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_always_one_line() {
        assert_eq!(one_line("first\n  second\r\n\nthird"), "first second third");
    }
}
