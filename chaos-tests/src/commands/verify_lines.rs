//! `quorate-chaos verify-lines`.

use std::{
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use quorate_chaos_tests::lines::{Checker, NumberedLines, STREAM_LINE_BYTES_MAX, Verified, Violation};
use serde_json::json;

use crate::Format;

#[derive(Debug, Args)]
#[command(after_help = "\
Every line of FILE begins with its number, from 1, and a tab. The stream is judged as it comes: per partition, offsets \
are dense from 0 and line numbers ascend; over all, every line arrived exactly once with the same bytes.

Example:
  seq 100000 | awk '{print NR \"\\t\" \"payload \" $1}' > lines
  quorate produce orders --file lines
  quorate consume orders --from first --format '%p %o %v\\n' | quorate-chaos verify-lines --input lines")]
pub(crate) struct Arguments {
    /// The file that was produced
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("cannot read {0}: {1}")]
    Unreadable(String, io::Error),
    #[error("{0}")]
    Violated(#[from] Violation),
}

pub(crate) fn run(arguments: &Arguments, output: Format) -> ExitCode {
    match (verify(&arguments.input, io::stdin().lock()), output) {
        (Ok(verified), Format::Table) => {
            let (lines, partitions) = (verified.lines, verified.partitions.len());
            say!("verified: {lines} lines, each exactly once, in order in each of {partitions} partitions");
            ExitCode::SUCCESS
        }
        (Ok(Verified { lines, partitions }), Format::Json) => {
            say!("{}", json!({ "verified": true, "lines": lines, "partitions": partitions }));
            ExitCode::SUCCESS
        }
        (Err(failure), format) => {
            match (format, &failure) {
                (Format::Table, Failure::Violated(violation)) => say!("violated: {violation}"),
                (Format::Table, Failure::Unreadable(..)) => eprintln!("quorate-chaos: {failure}"),
                (Format::Json, _) => {
                    let kind = match &failure {
                        Failure::Violated(violation) => violation.kind(),
                        Failure::Unreadable(..) => "unreadable",
                    };
                    say!("{}", json!({ "verified": false, "kind": kind, "message": failure.to_string() }));
                }
            }
            ExitCode::FAILURE
        }
    }
}

fn verify(input: &Path, stream: impl Read) -> Result<Verified, Failure> {
    let file = std::fs::read(input).map_err(|error| Failure::Unreadable(input.display().to_string(), error))?;
    let mut checker = Checker::new(NumberedLines::new(&file)?);
    let mut stream = BufReader::with_capacity(1 << 20, stream);
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut bounded = stream.by_ref().take(STREAM_LINE_BYTES_MAX as u64);
        let read = bounded.read_until(b'\n', &mut line);
        if read.map_err(|error| Failure::Unreadable("stdin".to_owned(), error))? == 0 {
            return Ok(checker.finish()?);
        }
        checker.record(line.strip_suffix(b"\n").unwrap_or(&line))?;
    }
}
