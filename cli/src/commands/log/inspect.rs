//! `quorate log inspect`

use std::io;
use std::path::PathBuf;

use clap::Args;
use quorate_log_engine::{InspectOptions, InspectedFrame, Inspection, NextOpen, RealVfs};

use super::directory::no_log;
use super::frames::FrameWriter;
use super::view::LogView;
use crate::context::Context;
use crate::error::Failure;
use crate::output::{Format, count};

#[derive(Debug, Args)]
#[command(after_help = "\
Reads the files of one replica's log: no cluster is asked, and nothing is written. Damage is looked behind: what follows \
it is shown too. The log of a running node may be read; if it is written meanwhile, that is said. Bytes of a torn tail, \
which a crash leaves, are no damage. What the next open would do is foretold for a replica that takes all that is on \
stable storage as settled; damage before the newest checkpoint then keeps it from nothing.

Exit code: 0 if the log is sound, 1 if it is damaged or would not be opened; everything is printed all the same.

With --output json the result is one object. With --entries too, it is JSON Lines: {\"frame\":{…}} for each frame, and \
{\"log\":{…}}, that object, at last. Times are milliseconds since 1970 there, and positions count \
the bytes of their file.

Examples:
  quorate log inspect /var/lib/quorate/replicas/replica-3
  quorate log inspect --verify --output json replica-3 | jq .damage
  quorate log inspect --entries --output json replica-3 | jq 'select(.frame.rejected)'")]
pub(crate) struct InspectArgs {
    /// The log: a node's DATA-DIR/replicas/replica-N
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Read and check all records too; without it, only headers and the newest segment are read
    #[arg(long)]
    verify: bool,
    /// List every frame: entries, votes and log starts
    #[arg(long)]
    entries: bool,
}

pub(super) fn run(context: &Context, args: &InspectArgs) -> Result<(), Failure> {
    let mut writer = FrameWriter::new(context.format);
    let mut broken = None;
    let mut visit = |frame: &InspectedFrame| match args.entries.then(|| writer.write(frame)) {
        None | Some(Ok(())) => Ok(()),
        Some(Err(error)) => {
            let kind = error.kind();
            broken = Some(error);
            Err(io::Error::from(kind))
        }
    };
    let inspected =
        quorate_log_engine::inspect(&RealVfs, &args.dir, InspectOptions { verify: args.verify }, &mut visit);
    if let Some(error) = broken {
        return Err(Failure::Output(error));
    }
    let found = match inspected {
        Ok(found) if found.segments.is_empty() => return Err(no_log(&args.dir)),
        Ok(found) => found,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Err(no_log(&args.dir));
        }
        Err(error) => {
            return Err(Failure::message(format!(
                "cannot read the log in {}, {error}, check the permissions and the disk",
                args.dir.display()
            )));
        }
    };
    let view = LogView::new(&found, args.verify);
    match (args.entries, context.format) {
        (false, _) => context.show(&view)?,
        (true, Format::Json) => writer.finish_json(&view)?,
        (true, Format::Table) => {
            writer.finish_table()?;
            context.show(&view)?;
        }
    }
    verdict(&found).map_or(Ok(()), Err)
}

/// What is wrong with the log, in one line.
fn verdict(found: &Inspection) -> Option<Failure> {
    const KEEP: &str = "keep the files as they are and leave the partition to its other replicas";
    let dir = found.directory.display();
    if let Some(first) = found.damage.first() {
        let places = count(found.damage.len() as u64 + found.damage_left_out, "place");
        return Some(Failure::message(format!(
            "the log in {dir} is damaged in {places}, first in {} at byte {}: {}, {KEEP}",
            first.path.file_name().unwrap_or_default().display(),
            first.position,
            first.reason
        )));
    }
    match &found.next_open {
        Some(NextOpen::Refused(reason)) => {
            Some(Failure::message(format!("the log in {dir} would not be opened, {reason}, {KEEP}")))
        }
        _ => None,
    }
}
