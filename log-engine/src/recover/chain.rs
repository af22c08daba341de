//! Finding the chain of a log's segments. Only looks: what is left over is removed after the recovery.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{open::at, settle::nonzero_end};
use crate::{
    Checkpoint, LogOptions, OpenError, SEGMENT_HEADER_SIZE, SegmentHeader, SegmentHeaderError, Vfs, VfsFile,
    format::{FORMAT, FileKind, UNFINISHED_SUFFIX},
    vfs::read_exact_at,
    write::read_small_file,
};

/// The names in a log's directory.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) segments: BTreeSet<u64>,
    pub(crate) indexes: BTreeSet<u64>,
    pub(crate) checkpoints: BTreeSet<u64>,
    /// Files that were never given their names.
    pub(crate) unfinished: Vec<PathBuf>,
}

impl Listing {
    pub(crate) fn read(vfs: &dyn Vfs, directory: &Path) -> io::Result<Self> {
        let mut listing = Self::default();
        for name in vfs.list(directory)? {
            match FileKind::of(&name) {
                Some((FileKind::Segment, number)) => drop(listing.segments.insert(number)),
                Some((FileKind::Index, number)) => drop(listing.indexes.insert(number)),
                Some((FileKind::Checkpoint, number)) => drop(listing.checkpoints.insert(number)),
                None if name.ends_with(UNFINISHED_SUFFIX) => listing.unfinished.push(directory.join(name)),
                // Nothing of ours.
                None => {}
            }
        }
        Ok(listing)
    }

    /// The files that are no part of a chain of these segments.
    pub(crate) fn leftover(&self, directory: &Path, chain: &BTreeSet<u64>) -> Vec<PathBuf> {
        let kinds = [
            (FileKind::Checkpoint, &self.checkpoints),
            (FileKind::Index, &self.indexes),
            (FileKind::Segment, &self.segments),
        ];
        let files = kinds
            .into_iter()
            .flat_map(|(kind, numbers)| numbers.difference(chain).map(move |number| kind.path(directory, *number)));
        self.unfinished.iter().cloned().chain(files).collect()
    }
}

/// A segment file with a sound header.
pub(crate) struct Found {
    pub(crate) header: SegmentHeader,
    /// The checksum of its header.
    pub(crate) checksum: u32,
    pub(crate) handle: Arc<dyn VfsFile>,
    pub(crate) size: u64,
}

/// The segments of a log.
#[derive(Default)]
pub(crate) struct Segments {
    /// What the scan begins with, if not with the beginning of the log.
    pub(crate) checkpoint: Option<Checkpoint>,
    /// The segments to be scanned, oldest first; the last one is the newest.
    pub(crate) scanned: Vec<Found>,
    /// The number of a segment that is missing before those, unless it was trimmed away.
    pub(crate) missing_before: Option<u64>,
}

impl Segments {
    /// Goes back from the newest segment to one the scan can begin at.
    pub(crate) fn find(
        vfs: &dyn Vfs,
        directory: &Path,
        options: &LogOptions,
        listing: &Listing,
    ) -> Result<Self, OpenError> {
        let Some(newest) = newest(vfs, directory, options, listing)? else {
            return Ok(Self::default());
        };
        // What was trimmed away was settled, whatever the caller still knows of it.
        let settled_end = options.settled_through.map_or(0, |through| through + 1).max(newest.header.start.index);
        let mut scanned = vec![newest];
        // The oldest checkpoint met that the caller did not know to be settled, and the segments down to it.
        let mut spare = None;
        loop {
            let SegmentHeader { number, base_index, previous, .. } = scanned[scanned.len() - 1].header;
            let checksum = scanned[scanned.len() - 1].checksum;
            let stands_before = |checkpoint: &Checkpoint| {
                checkpoint.terms.last().is_none_or(|last| last.index < base_index)
                    && checkpoint.segments.last().is_none_or(|last| last.base_index <= base_index)
            };
            let checkpoint = load_checkpoint(vfs, directory, listing, number, checksum);
            if let Some(checkpoint) = checkpoint.filter(stands_before) {
                if base_index <= settled_end {
                    scanned.reverse();
                    return Ok(Self { checkpoint: Some(checkpoint), scanned, missing_before: None });
                }
                spare = Some((checkpoint, scanned.len()));
            }
            match previous {
                Some(previous) if listing.segments.contains(&previous.number) => {
                    let missing = || OpenError::SegmentMissing { path: directory.into(), missing: previous.number };
                    scanned.push(read_header(vfs, directory, previous.number, options)?.ok_or_else(missing)?);
                }
                None if base_index == 0 => {
                    scanned.reverse();
                    return Ok(Self { checkpoint: None, scanned, missing_before: None });
                }
                // Trimmed away: whether rightly, the caller of this sees when it knows where the log starts.
                _ => {
                    let Some((checkpoint, length)) = spare else {
                        return Err(match previous {
                            Some(previous) if scanned.iter().all(|found| found.header.start.index == 0) => {
                                OpenError::SegmentMissing { path: directory.into(), missing: previous.number }
                            }
                            _ => OpenError::NoCheckpoint { path: directory.into(), index: base_index },
                        });
                    };
                    scanned.truncate(length);
                    scanned.reverse();
                    let missing_before = scanned[0].header.previous.map(|previous| previous.number);
                    return Ok(Self { checkpoint: Some(checkpoint), scanned, missing_before });
                }
            }
        }
    }

    /// The numbers of all segments of the chain.
    pub(crate) fn numbers(&self) -> BTreeSet<u64> {
        let before = self.checkpoint.iter().flat_map(|checkpoint| &checkpoint.segments).map(|extent| extent.number);
        before.chain(self.scanned.iter().map(|found| found.header.number)).collect()
    }
}

/// The newest segment. Only it may be unfinished: nothing else begins before its creation has succeeded.
fn newest(
    vfs: &dyn Vfs,
    directory: &Path,
    options: &LogOptions,
    listing: &Listing,
) -> Result<Option<Found>, OpenError> {
    let mut numbers = listing.segments.iter().rev();
    let Some(last) = numbers.next() else { return Ok(None) };
    if let Some(found) = read_header(vfs, directory, *last, options)? {
        return Ok(Some(found));
    }
    let Some(before) = numbers.next() else {
        if *last == 0 {
            return Ok(None);
        }
        return Err(OpenError::SegmentMissing { path: directory.into(), missing: 0 });
    };
    if before + 1 != *last {
        return Err(OpenError::SegmentMissing { path: directory.into(), missing: last - 1 });
    }
    let path = FileKind::Segment.path(directory, *before);
    let unfinished = || OpenError::SegmentHeader { path, reason: "cut short, though later segments exist".into() };
    read_header(vfs, directory, *before, options)?.ok_or_else(unfinished).map(Some)
}

/// The header of a segment; `None` if its creation was cut short.
pub(crate) fn read_header(
    vfs: &dyn Vfs,
    directory: &Path,
    number: u64,
    options: &LogOptions,
) -> Result<Option<Found>, OpenError> {
    let path = FileKind::Segment.path(directory, number);
    let handle = vfs.open(&path).map_err(at(&path))?;
    let size = handle.size().map_err(at(&path))?;
    let Some(decoded) = decode_header(&*handle, size).map_err(at(&path))? else { return Ok(None) };
    let (replica, owner) = (options.replica, options.owner);
    match decoded {
        Ok((header, _)) if header.number != number || header.replica != replica => {
            let reason = format!(
                "it is segment {} of replica {}, expected segment {number} of replica {replica}",
                header.number, header.replica
            );
            Err(OpenError::SegmentHeader { path, reason })
        }
        Ok((header, _)) if header.owner != owner => {
            let reason = format!("it belongs to {:032x}, and this is {owner:032x}: another cluster's", header.owner);
            Err(OpenError::SegmentHeader { path, reason })
        }
        Ok((header, checksum)) => Ok(Some(Found { header, checksum, handle, size })),
        Err(SegmentHeaderError::Format(found)) => Err(OpenError::Format { path, found, supported: FORMAT }),
        Err(error) => Err(OpenError::SegmentHeader { path, reason: error.to_string() }),
    }
}

/// The header of a segment file and its checksum; `None` if the file's creation was cut short.
pub(crate) fn decode_header(
    file: &dyn VfsFile,
    size: u64,
) -> io::Result<Option<Result<(SegmentHeader, u32), SegmentHeaderError>>> {
    let mut head = vec![0; size.min(SEGMENT_HEADER_SIZE as u64) as usize];
    read_exact_at(file, &mut head, 0)?;
    // A crash leaves all of a header or nothing of it, since it lies within one sector, and nothing is written behind a
    // header that is not on stable storage. Anything else is damage.
    if head.iter().all(|byte| *byte == 0) && nonzero_end(file, 0, size)? == 0 {
        return Ok(None);
    }
    Ok(Some(SegmentHeader::decode(&head)))
}

/// The checkpoint of a segment, if it is there and sound.
fn load_checkpoint(
    vfs: &dyn Vfs,
    directory: &Path,
    listing: &Listing,
    number: u64,
    segment_checksum: u32,
) -> Option<Checkpoint> {
    if !listing.checkpoints.contains(&number) {
        return None;
    }
    match read_checkpoint(vfs, directory, number, segment_checksum) {
        Ok(checkpoint) => checkpoint,
        Err(reason) => {
            let path = FileKind::Checkpoint.path(directory, number);
            tracing::warn!(path = %path.display(), reason, "a checkpoint is not used");
            None
        }
    }
}

/// The checkpoint of the segment of this number and header checksum; `None` if there is none.
pub(crate) fn read_checkpoint(
    vfs: &dyn Vfs,
    directory: &Path,
    number: u64,
    segment_checksum: u32,
) -> Result<Option<Checkpoint>, String> {
    let path = FileKind::Checkpoint.path(directory, number);
    let Some(bytes) = read_small_file(vfs, &path, Checkpoint::SIZE_MAX).map_err(|error| error.to_string())? else {
        return Ok(None);
    };
    let checkpoint = Checkpoint::decode(&bytes).map_err(|error| error.to_string())?;
    if (checkpoint.segment, checkpoint.segment_checksum) != (number, segment_checksum) {
        return Err("it belongs to another segment".to_owned());
    }
    Ok(Some(checkpoint))
}
