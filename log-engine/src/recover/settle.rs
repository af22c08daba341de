//! Making sure of the end of a log before anybody relies on it.

use std::io::{self, IoSlice};

use super::scan::SegmentScan;
use crate::{VfsFile, format::ALIGNMENT, vfs::read_exact_at};

/// Bytes read or rewritten at once.
const CHUNK: u64 = 1 << 20;

/// The position behind the last byte of `from..to` that is not zero, or `from`.
pub(crate) fn nonzero_end(file: &dyn VfsFile, from: u64, to: u64) -> io::Result<u64> {
    let mut end = to;
    let mut buffer = vec![0; CHUNK.min(to.saturating_sub(from)) as usize];
    while end > from {
        let start = end.saturating_sub(CHUNK).max(from);
        let chunk = &mut buffer[..(end - start) as usize];
        read_exact_at(file, chunk, start)?;
        if let Some(last) = chunk.iter().rposition(|byte| *byte != 0) {
            return Ok(start + last as u64 + 1);
        }
        end = start;
    }
    Ok(from)
}

/// Cuts a torn tail off and writes all bytes after the last durable mark once more: after a failed `fsync` the page
/// cache may hold bytes, marked clean, that the disk never got. Returns how many bytes were torn and rewritten.
pub(super) fn settle(file: &dyn VfsFile, size: u64, scanned: &SegmentScan) -> io::Result<(u64, u64)> {
    // Zeros behind the end were written ahead and are as good as before.
    let torn = nonzero_end(file, scanned.end, size)? - scanned.end;
    if torn > 0 {
        file.truncate(scanned.end)?;
    }
    let from = scanned.durable_position.min(scanned.end) / ALIGNMENT * ALIGNMENT;
    let mut position = from;
    while position < scanned.end {
        let mut buffer = vec![0; CHUNK.min(scanned.end - position) as usize];
        read_exact_at(file, &mut buffer, position)?;
        file.write_all_at(&[IoSlice::new(&buffer)], position)?;
        position += buffer.len() as u64;
    }
    file.sync_data()?;
    Ok((torn, scanned.end - from))
}
