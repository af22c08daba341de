//! `quorate local logs`

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::time::Duration;

use clap::Args;

use super::DirArg;
use crate::error::Failure;
use crate::local::log_file;

/// How often a followed log is looked at.
const FOLLOW_POLL: Duration = Duration::from_millis(200);

#[derive(Debug, Args)]
#[command(after_help = "\
The log is printed as the node wrote it, whatever --output says.

Example:
  quorate local logs 1 --follow")]
pub(crate) struct LogsArgs {
    /// The node's number, from 1
    #[arg(value_name = "N")]
    number: u16,
    /// Print what the node writes from now on as well, until Ctrl-C
    #[arg(long, short)]
    follow: bool,
    /// Begin with the last lines only
    #[arg(long, short = 'n', value_name = "LINES")]
    lines: Option<usize>,
    #[command(flatten)]
    dir: DirArg,
}

pub(crate) async fn run(args: LogsArgs) -> Result<(), Failure> {
    let dir = args.dir.resolve()?;
    dir.load_existing()?.node(args.number)?;
    let path = dir.log_path(args.number);
    let unreadable = |error: io::Error| {
        Failure::message(format!("cannot read {}, {error}, was node {} ever started?", path.display(), args.number))
    };
    let mut file = File::open(&path).map_err(unreadable)?;
    if let Some(lines) = args.lines {
        log_file::seek_to_last_lines(&mut file, lines).map_err(unreadable)?;
    }
    let mut buffer = vec![0; 1 << 16];
    loop {
        let count = file.read(&mut buffer).map_err(unreadable)?;
        if count > 0 {
            let mut stdout = io::stdout().lock();
            stdout.write_all(&buffer[..count]).and_then(|()| stdout.flush()).map_err(Failure::Output)?;
            continue;
        }
        if !args.follow {
            return Ok(());
        }
        tokio::time::sleep(FOLLOW_POLL).await;
        // A log that shrank was emptied: begin again.
        if log_file::size(&path) < file.stream_position().map_err(unreadable)? {
            file.seek(SeekFrom::Start(0)).map_err(unreadable)?;
        }
    }
}
