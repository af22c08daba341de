//! Finding the chain of a log's segments. Only looks: what is left over is removed after the recovery.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use crate::{
    LogOptions, OpenError, SEGMENT_HEADER_SIZE, Vfs, VfsFile,
    frame_header::FORMAT,
    open::at,
    segment::{self, SegmentHeader, SegmentHeaderError},
    vfs::read_exact_at,
};

/// A segment file with a sound header.
pub(crate) struct Found {
    pub(crate) number: u64,
    pub(crate) header: SegmentHeader,
    /// The checksum of its header.
    pub(crate) checksum: u32,
    pub(crate) handle: Arc<dyn VfsFile>,
    pub(crate) size: u64,
}

/// The segments in a directory.
#[derive(Default)]
pub(crate) struct Chain {
    /// The chain that ends with the newest segment, oldest first.
    pub(crate) segments: Vec<Found>,
    /// The numbers of segments that were truncated away or never finished.
    pub(crate) leftover: Vec<u64>,
}

impl Chain {
    pub(crate) fn find(vfs: &dyn Vfs, directory: &Path, options: &LogOptions) -> Result<Self, OpenError> {
        if !vfs.directory_exists(directory) {
            return Ok(Self::default());
        }
        let mut found = BTreeMap::new();
        let mut unfinished = None;
        let mut numbers: Vec<u64> =
            vfs.list(directory).map_err(at(directory))?.iter().filter_map(|name| segment::number_of(name)).collect();
        numbers.sort_unstable();
        for number in numbers {
            // Only the newest segment can be unfinished: nothing else begins before its creation has succeeded.
            if let Some(number) = unfinished {
                let path = segment::path(directory, number);
                return Err(OpenError::SegmentHeader { path, reason: "cut short, though later segments exist".into() });
            }
            match read_header(vfs, directory, number, options)? {
                Some(segment) => drop(found.insert(number, segment)),
                None => unfinished = Some(number),
            }
        }
        let newest = found.last_key_value().map(|(number, _)| *number);
        let expected = newest.map_or(0, |newest| newest + 1);
        if unfinished.is_some_and(|number| number != expected) {
            return Err(OpenError::SegmentMissing { path: directory.into(), missing: expected });
        }
        let mut segments = Vec::new();
        let mut next = newest;
        while let Some(number) = next {
            let missing = || OpenError::SegmentMissing { path: directory.into(), missing: number };
            let segment = found.remove(&number).ok_or_else(missing)?;
            next = segment.header.previous.map(|previous| previous.number);
            segments.push(segment);
        }
        segments.reverse();
        Ok(Self { segments, leftover: found.into_keys().chain(unfinished).collect() })
    }
}

/// The header of a segment; `None` if its creation was cut short.
fn read_header(vfs: &dyn Vfs, directory: &Path, number: u64, options: &LogOptions) -> Result<Option<Found>, OpenError> {
    let path = segment::path(directory, number);
    let handle = vfs.open(&path).map_err(at(&path))?;
    let size = handle.size().map_err(at(&path))?;
    let mut head = vec![0; size.min(SEGMENT_HEADER_SIZE as u64) as usize];
    read_exact_at(&*handle, &mut head, 0).map_err(at(&path))?;
    // A crash leaves all of a header or nothing of it, since it lies within one sector. Anything else is damage.
    if size < SEGMENT_HEADER_SIZE as u64 || (size == SEGMENT_HEADER_SIZE as u64 && head.iter().all(|byte| *byte == 0)) {
        return Ok(None);
    }
    match SegmentHeader::decode(&head) {
        Ok((header, _)) if header.number != number || header.replica != options.replica => {
            let reason = format!(
                "it is segment {} of replica {}, expected segment {number} of replica {}",
                header.number, header.replica, options.replica
            );
            Err(OpenError::SegmentHeader { path, reason })
        }
        Ok((header, checksum)) => Ok(Some(Found { number, header, checksum, handle, size })),
        Err(SegmentHeaderError::Format(found)) => Err(OpenError::Format { path, found, supported: FORMAT }),
        Err(error) => Err(OpenError::SegmentHeader { path, reason: error.to_string() }),
    }
}
