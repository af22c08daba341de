//! `quorate bench disk`

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytesize::ByteSize;
use clap::Args;
use serde::Serialize;

use super::disk_files::{self, Blocks, FILE_BYTES};
use super::report::Milliseconds;
use crate::args;
use crate::context::Context;
use crate::error::Failure;
use crate::interrupt::interrupted;
use crate::output::{View, fields};

#[derive(Debug, Args)]
#[command(after_help = "\
Writes files side by side, each step followed by an fdatasync, into blocks that were written before: what \
the disk allows a log of as many replicas, all of them on this machine; or, with --growing, into fresh blocks, which are reserved 64 MiB at a time within the measured time. A step's time is that of its write and its sync. \
Each file takes 64 MiB and is removed at the end.

Examples:
  quorate bench disk --dir /var/lib/quorate
  quorate bench disk --files 1 --step 4KiB --output json")]
pub(crate) struct DiskArgs {
    /// A directory on the disk to measure
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// Files written side by side
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=64))]
    files: u32,
    /// How much is written before each sync
    #[arg(long, value_name = "SIZE", value_parser = args::size, default_value = "256KiB")]
    step: ByteSize,
    /// Write into blocks that are reserved and were never written, one after the other
    #[arg(long)]
    growing: bool,
    /// How long to write
    #[arg(long, value_name = "S", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
}

/// What was measured; megabytes are 10⁶ bytes.
#[derive(Debug, Serialize)]
struct DiskReport {
    system: &'static str,
    workload: &'static str,
    files: u32,
    step_bytes: usize,
    growing: bool,
    seconds: f64,
    steps: u64,
    mb_per_s_per_file: f64,
    step_ms: Milliseconds,
}

pub(crate) async fn run(context: &Context, args: DiskArgs) -> Result<(), Failure> {
    let step = usize::try_from(args.step.as_u64()).unwrap_or(usize::MAX);
    if !(1..=FILE_BYTES).contains(&step) {
        return Err(Failure::Usage(format!("--step {step} does not lie within 1 and {FILE_BYTES} bytes")));
    }
    let stop = Arc::new(AtomicBool::new(false));
    let mut writing = tokio::task::spawn_blocking({
        let stop = Arc::clone(&stop);
        let DiskArgs { dir, files, seconds, growing, .. } = args;
        let blocks = if growing { Blocks::Reserved } else { Blocks::Written };
        move || disk_files::write_and_sync(&dir, files, (step, blocks), Duration::from_secs(seconds), &stop)
    });
    let stopped = |error| Failure::message(format!("the measurement stopped, {error}"));
    let (measured, took) = tokio::select! {
        written = &mut writing => written.map_err(stopped)??,
        interrupted = interrupted() => {
            stop.store(true, Ordering::Relaxed);
            // The files are removed by then.
            let _ = writing.await;
            return interrupted.and(Err(Failure::message("interrupted")));
        }
    };
    let steps = measured.latencies.len();
    let seconds = took.as_secs_f64().max(1e-9);
    context.show(&DiskReport {
        system: "disk",
        workload: "write and fdatasync",
        files: args.files,
        step_bytes: step,
        growing: args.growing,
        seconds,
        steps,
        mb_per_s_per_file: steps as f64 * step as f64 / 1e6 / seconds / f64::from(args.files),
        step_ms: Milliseconds::of(&measured.latencies),
    })
}

impl View for DiskReport {
    fn text(&self) -> String {
        let growing = if self.growing { " that grow" } else { "" };
        let files = if self.files == 1 { "1 file".to_owned() } else { format!("{} files side by side", self.files) };
        fields([
            ("Workload", format!("{files}{growing}, steps of {}, each synced", ByteSize(self.step_bytes as u64))),
            ("Time", format!("{:.3} s, {} steps", self.seconds, self.steps)),
            ("Throughput", format!("{:.1} MB/s a file", self.mb_per_s_per_file)),
            ("Step", self.step_ms.text()),
        ])
    }
}
