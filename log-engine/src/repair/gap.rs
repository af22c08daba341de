//! Finding what is lost of a segment, from its beginning to its end.

use std::ops::Range;

use quorate_record::BatchHeader;

use super::{RepairError, Target, error::unread};
use crate::{FrameHeader, ReadError, read::Walk};

/// A stretch of bytes that are lost.
#[derive(Debug)]
pub(super) struct Gap {
    /// From the end of the last sound frame to the beginning of the next sound frame header, or the segment's end.
    pub(super) positions: Range<u64>,
    /// The log indexes of the entries that lie there; there may be none.
    pub(super) indexes: Range<u64>,
    /// The checksum of the frame header before it.
    pub(super) previous_checksum: u32,
    /// The checksum that its last frame header must have, since what is behind it names it.
    pub(super) end_checksum: u32,
    /// Of one entry whose payload alone is lost: its header, and that of its batch.
    pub(super) kept: Option<(FrameHeader, Option<BatchHeader>)>,
}

impl Gap {
    /// Moves to the next gap that needs to be filled, and behind it; `None` at the end of the segment. What lies before
    /// the start of the log is not needed, and no peer has it any more.
    ///
    /// The offset that the walk has at the beginning of a gap is right if the caller sets it right at its end.
    pub(super) fn find(walk: &mut Walk<'_>, target: &Target) -> Result<Option<Self>, RepairError> {
        while let Some(gap) = Self::find_any(walk, target)? {
            if gap.indexes.end > target.first.index || gap.indexes.start >= target.first.index {
                return Ok(Some(gap));
            }
        }
        Ok(None)
    }

    fn find_any(walk: &mut Walk<'_>, target: &Target) -> Result<Option<Self>, RepairError> {
        let path = &target.file.path;
        loop {
            let found = match walk.find_frame() {
                Ok(None) => return Ok(None),
                Ok(Some(found)) => found,
                Err(ReadError::Damaged { .. }) => {
                    if let Some(format) = walk.foreign().map_err(|error| unread(path, error))? {
                        let reason = format!("log index {} is of another build (format {format})", walk.index);
                        return Err(RepairError::Unfit { path: path.clone(), reason });
                    }
                    break;
                }
                Err(error) => return Err(unread(path, error)),
            };
            let header = found.header;
            match walk.payload(&found) {
                Ok(_) => walk.skip(&found),
                // Which local frame it was does not matter.
                Err(ReadError::Damaged { .. }) if !header.kind.is_entry() => break,
                Err(ReadError::Damaged { .. }) => {
                    walk.skip(&found);
                    return Ok(Some(Self {
                        positions: found.position..walk.position,
                        indexes: header.index..walk.index,
                        previous_checksum: header.previous_checksum,
                        end_checksum: header.checksum,
                        kept: Some((header, found.batch)),
                    }));
                }
                Err(error) => return Err(unread(path, error)),
            }
        }
        let (start, index, checksum) = (walk.position, walk.index, walk.checksum());
        let end_checksum = Self::resynchronise(walk, target)?;
        let end_index = if end_checksum.is_some() { walk.index } else { target.end_index };
        Ok(Some(Self {
            positions: start..walk.position,
            indexes: index..end_index.max(index),
            // Only a frame that is gone has none before it that was seen.
            previous_checksum: checksum.unwrap_or(target.extent.head_checksum),
            end_checksum: end_checksum.unwrap_or(target.extent.end_checksum),
            kept: None,
        }))
    }

    /// Goes on at the next frame whose header is sound and fits; returns the checksum it names, `None` at the end.
    fn resynchronise(walk: &mut Walk<'_>, target: &Target) -> Result<Option<u32>, RepairError> {
        let path = &target.file.path;
        while walk.resynchronise().map_err(|error| unread(path, error))? {
            let found = match walk.find_frame() {
                Ok(Some(found)) if found.header.index <= target.end_index => found,
                Ok(_) | Err(ReadError::Damaged { .. }) => continue,
                Err(error) => return Err(unread(path, error)),
            };
            // A local frame without its payload is as good as none; an entry's header helps to restore it.
            match if found.header.kind.is_entry() { Ok(()) } else { walk.payload(&found).map(drop) } {
                Ok(()) => return Ok(Some(found.header.previous_checksum)),
                Err(ReadError::Damaged { .. }) => {}
                Err(error) => return Err(unread(path, error)),
            }
        }
        Ok(None)
    }
}
