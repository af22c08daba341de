//! `quorate doctor`

mod checks;

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use self::checks::{Finding, Verdict};
use crate::context::Context;
use crate::error::Failure;
use crate::output::{Columns, View, count};

#[derive(Debug, Args)]
#[command(after_help = "\
Nothing is changed but for a file of 1 MiB in the directory, which is written, synced and removed. The exit code is 1 if a node \
must not run here as it is; warnings do not count.

Examples:
  quorate doctor --dir /var/lib/quorate
  quorate doctor --output json | jq '.findings[] | select(.verdict != \"ok\")'")]
pub(crate) struct DoctorArgs {
    /// The directory that holds, or will hold, the node's data
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
}

#[derive(Serialize)]
struct DoctorView {
    findings: Vec<Finding>,
}

pub(crate) fn run(context: &Context, args: &DoctorArgs) -> Result<(), Failure> {
    let directory = std::path::absolute(&args.dir)
        .map_err(|error| Failure::message(format!("cannot look at {}, {error}, correct --dir", args.dir.display())))?;
    if directory.exists() && !directory.is_dir() {
        return Err(Failure::message(format!("{} is no directory, correct --dir", directory.display())));
    }
    let view = DoctorView { findings: checks::all(&directory) };
    context.show(&view)?;
    match view.findings.iter().filter(|finding| finding.verdict == Verdict::Bad).count() {
        0 => Ok(()),
        bad => Err(Failure::message(format!(
            "{} found that a node must not run with, do as the table says",
            count(bad as u64, "problem")
        ))),
    }
}

impl View for DoctorView {
    fn text(&self) -> String {
        let mut columns = Columns::new(&["CHECK", "VERDICT", "FOUND", "WHAT TO DO"]);
        for finding in &self.findings {
            columns.row([
                finding.check.to_owned(),
                finding.verdict.to_string(),
                finding.found.clone(),
                finding.advice.clone().unwrap_or_default(),
            ]);
        }
        columns.text()
    }
}
