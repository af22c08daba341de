//! Bytes that change on a disk while nobody looks.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use quorate::ReplicaId;
use quorate_faulty_vfs::SplitMix64;
use quorate_log_engine::{InspectOptions, NextOpen, RealVfs, inspect};

use crate::chaos::replica_logs::{log_directory, segment_files};

/// What a disk gives back as a whole.
const BLOCK: u64 = 4_096;
/// Smaller files are left alone.
const FILE_BYTES_MIN: u64 = 64 << 10;

/// Alters one file of a replica of the node with this data directory, well before its end: a bit, a block that becomes
/// what it was before it was written, or, of a finished segment, the end. Tells whether the next open of the log would cut it
/// off there, as if its last write was torn: it must not, since the log says that what lies there was on stable storage.
///
/// # Errors
/// If there is no file that is large enough, or it cannot be altered.
pub(super) fn alter(data_dir: &Path, replica: ReplicaId, choice: u64) -> Result<bool, String> {
    let mut random = SplitMix64::new(choice);
    let directory = log_directory(data_dir, replica);
    let before = tail(&directory)?;
    let files = segments(&directory, &before).map_err(|error| error.to_string())?;
    if files.is_empty() {
        return Err("no segment is large enough".to_owned());
    }
    let Segment { path, sound, finished } = &files[random.below(files.len() as u64) as usize];
    let done = (|| {
        let file = File::options().read(true).write(true).open(path)?;
        // Not in the header, of which nothing is worth damaging that a bit behind it is not.
        let position = BLOCK + random.below(sound - BLOCK);
        match random.below(3) {
            0 => {
                let mut byte = [0];
                file.read_exact_at(&mut byte, position)?;
                file.write_all_at(&[byte[0] ^ (1 << random.below(8))], position)?;
            }
            1 if *finished => file.set_len(position)?,
            _ => file.write_all_at(&[0; BLOCK as usize], position / BLOCK * BLOCK)?,
        }
        file.sync_all()
    })();
    done.map_err(|error: io::Error| format!("{}: {error}", path.display()))?;
    Ok(tail(&directory)?.torn_bytes > before.torn_bytes)
}

/// The end of a log.
#[derive(Default)]
struct Tail {
    /// The number of the last segment that holds something. The log may have prepared another file for what comes.
    segment: u64,
    /// Up to which byte position of that segment all was on stable storage, as a frame says that lies a block or more
    /// behind it.
    durable: u64,
    /// Bytes of a torn write that the next open cuts off; none if it refuses the log.
    torn_bytes: u64,
}

fn tail(directory: &Path) -> Result<Tail, String> {
    let mut tail = Tail::default();
    let inspected = inspect(&RealVfs, directory, InspectOptions { verify: false }, &mut |frame| {
        if frame.on_chain {
            if frame.segment != tail.segment {
                tail = Tail { segment: frame.segment, ..Tail::default() };
            }
            let told = frame.header.durable_position.min(frame.position.saturating_sub(2 * BLOCK));
            tail.durable = tail.durable.max(told);
        }
        Ok(())
    });
    let inspected = inspected.map_err(|error| format!("{}: {error}", directory.display()))?;
    if let Some(NextOpen::Opens { torn_bytes, .. }) = inspected.next_open {
        tail.torn_bytes = torn_bytes;
    }
    Ok(tail)
}

struct Segment {
    path: PathBuf,
    /// What lies before this byte position may be altered.
    sound: u64,
    /// Whether another one follows it.
    finished: bool,
}

/// The segments of a log that are large enough, the last of them up to what was durable of it.
fn segments(directory: &Path, tail: &Tail) -> io::Result<Vec<Segment>> {
    let mut found = Vec::new();
    for path in segment_files(directory)? {
        let number = path.file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok());
        let Some(number) = number.filter(|number| *number <= tail.segment) else {
            continue;
        };
        let bytes = fs::read(&path)?;
        let used = bytes.iter().rposition(|byte| *byte != 0).unwrap_or_default() as u64;
        let finished = number < tail.segment;
        let sound = if finished { used / 2 } else { tail.durable.min(used / 2) };
        if used >= FILE_BYTES_MIN && sound > BLOCK {
            found.push(Segment { path, sound, finished });
        }
    }
    Ok(found)
}
