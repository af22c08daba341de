//! Bytes that change on a disk while nobody looks.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use quorate::ReplicaId;
use quorate_faulty_vfs::SplitMix64;

use crate::chaos::replica_logs::{log_directory, segment_files};

/// What a disk gives back as a whole.
const BLOCK: u64 = 4_096;
/// Smaller files are left alone: what they hold may be younger than what is known to be durable, and nobody can tell that it
/// was there.
const FILE_BYTES_MIN: u64 = 64 << 10;

/// Alters one file of a replica of the node with this data directory, well before its end: a bit, a block that becomes
/// what it was before it was written, or, of a finished segment, the end.
///
/// # Errors
/// If there is no file that is large enough, or it cannot be altered.
pub(super) fn alter(data_dir: &Path, replica: ReplicaId, choice: u64) -> Result<(), String> {
    let mut random = SplitMix64::new(choice);
    let directory = log_directory(data_dir, replica);
    let files = segments(&directory).map_err(|error| error.to_string())?;
    if files.is_empty() {
        return Err("no segment is large enough".to_owned());
    }
    let Segment { path, used, finished } = &files[random.below(files.len() as u64) as usize];
    let done = (|| {
        let file = File::options().read(true).write(true).open(path)?;
        // Not in the header, of which nothing is worth damaging that a bit behind it is not.
        let position = BLOCK + random.below(used / 2 - BLOCK);
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
    done.map_err(|error: io::Error| format!("{}: {error}", path.display()))
}

struct Segment {
    path: PathBuf,
    /// Where its last byte lies that is not zero.
    used: u64,
    /// Whether another one follows it.
    finished: bool,
}

/// The segments of a log that are large enough.
fn segments(directory: &Path) -> io::Result<Vec<Segment>> {
    let paths = segment_files(directory)?;
    let last = paths.last().cloned();
    let mut found = Vec::new();
    for path in paths {
        let bytes = fs::read(&path)?;
        let used = bytes.iter().rposition(|byte| *byte != 0).unwrap_or_default() as u64;
        if used >= FILE_BYTES_MIN {
            let finished = Some(&path) != last.as_ref();
            found.push(Segment { path, used, finished });
        }
    }
    Ok(found)
}
