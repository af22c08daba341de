//! `quorate log …`: the files of a log, without a cluster. The only command that does not speak through the SDK.

mod directory;
mod frames;
mod inspect;
mod view;

use clap::Subcommand;

use crate::context::Context;
use crate::error::Failure;

#[derive(Debug, Subcommand)]
pub(crate) enum LogCommand {
    /// Show what a replica's log directory holds, and what is wrong with it; never writes
    Inspect(inspect::InspectArgs),
}

pub(crate) fn run(context: &Context, command: LogCommand) -> Result<(), Failure> {
    match command {
        LogCommand::Inspect(args) => inspect::run(context, &args),
    }
}

/// The name of a kind of frame.
fn kind_name(kind: quorate_log_engine::FrameKind) -> &'static str {
    use quorate_log_engine::FrameKind;
    match kind {
        FrameKind::Batch => "batch",
        FrameKind::Membership => "membership",
        FrameKind::Blank => "blank",
        FrameKind::Trim => "trim",
        FrameKind::ProducerExpiry => "producer_expiry",
        FrameKind::Vote => "vote",
        FrameKind::Command => "command",
        FrameKind::Start => "start",
    }
}

/// A leader's clock, if it gave its time.
fn time(time_ms: i64) -> Option<String> {
    let time_ms = u64::try_from(time_ms).ok().filter(|time_ms| *time_ms > 0)?;
    let time = std::time::UNIX_EPOCH.checked_add(std::time::Duration::from_millis(time_ms))?;
    // Beyond the year 9999 there is no such text.
    (time_ms < 253_402_300_800_000).then(|| humantime::format_rfc3339_millis(time).to_string())
}
