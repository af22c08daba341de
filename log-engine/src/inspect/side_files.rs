//! The files beside the segments.

use std::path::{Path, PathBuf};

use super::report::{CheckpointSummary, SideFile};
use crate::{
    IndexFile, SegmentExtent, Vfs,
    format::FileKind,
    recover::{Listing, read_checkpoint},
    write::read_small_file,
};

/// The index of a segment; `extent` is `None` if the segment cannot be read.
pub(super) fn index(
    vfs: &dyn Vfs,
    directory: &Path,
    listing: &Listing,
    number: u64,
    extent: Option<&SegmentExtent>,
) -> SideFile<usize> {
    if !listing.indexes.contains(&number) {
        return SideFile::Absent;
    }
    let Some(extent) = extent else { return SideFile::Unclaimed };
    match read_small_file(vfs, &FileKind::Index.path(directory, number), IndexFile::SIZE_MAX) {
        // Removed meanwhile.
        Ok(None) => SideFile::Absent,
        Ok(Some(bytes)) => match IndexFile::decode(&bytes) {
            Ok(found) if (found.segment, found.segment_checksum) == (number, extent.head_checksum) => {
                SideFile::Sound(found.index.len())
            }
            Ok(_) => SideFile::Damaged("it belongs to another segment".to_owned()),
            Err(error) => SideFile::Damaged(error.to_string()),
        },
        Err(error) => SideFile::Damaged(error.to_string()),
    }
}

/// The checkpoint of a segment; `extent` is `None` if the segment cannot be read.
pub(super) fn checkpoint(
    vfs: &dyn Vfs,
    directory: &Path,
    listing: &Listing,
    number: u64,
    extent: Option<&SegmentExtent>,
) -> SideFile<CheckpointSummary> {
    if !listing.checkpoints.contains(&number) {
        return SideFile::Absent;
    }
    let Some(extent) = extent else { return SideFile::Unclaimed };
    match read_checkpoint(vfs, directory, number, extent.head_checksum) {
        Ok(None) => SideFile::Absent,
        Ok(Some(found)) => SideFile::Sound(CheckpointSummary {
            state_bytes: found.state.len(),
            terms: found.terms.len(),
            segments: found.segments.len(),
        }),
        Err(reason) => SideFile::Damaged(reason),
    }
}

/// How many files there are, and their bytes.
pub(super) fn total(vfs: &dyn Vfs, directory: &Path, listing: &Listing) -> (u64, u64) {
    let kinds = [
        (FileKind::Segment, &listing.segments),
        (FileKind::Index, &listing.indexes),
        (FileKind::Checkpoint, &listing.checkpoints),
    ];
    let named =
        kinds.into_iter().flat_map(|(kind, numbers)| numbers.iter().map(move |number| kind.path(directory, *number)));
    let size = |path: PathBuf| vfs.open_read_only(&path).and_then(|file| file.size()).unwrap_or(0);
    let sizes = named.chain(listing.unfinished.iter().cloned()).map(size);
    sizes.fold((0, 0), |(count, bytes), size| (count + 1, bytes + size))
}
