//! Looking at one segment file: what it is to the log, and the files beside it.

use std::{
    io,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    InspectOptions, InspectedFrame,
    chain::{Head, Link},
    report::{Damage, FrameCounts, SegmentInspection, SegmentSpan, SegmentState, SideFile},
    segment_path, side_files,
    totals::Totals,
};
use crate::{SegmentExtent, Vfs, VfsFile, format::FileKind, recover::Listing, state::extent_of};

/// Where a segment ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Where its extent says, before this log index and at this offset.
    Sealed { index: u64, offset: u64 },
    /// With the log.
    Open,
    /// Nobody knows: it is not on the chain.
    Unknown,
}

/// Looks at segments one by one.
pub(super) struct Inspector<'a> {
    pub(super) vfs: &'a dyn Vfs,
    pub(super) directory: &'a Path,
    pub(super) listing: &'a Listing,
    pub(super) options: InspectOptions,
    pub(super) totals: &'a mut Totals,
    pub(super) visit: &'a mut dyn FnMut(&InspectedFrame) -> io::Result<()>,
}

impl Inspector<'_> {
    /// A file that is not on the chain; `None` if it is gone by now.
    pub(super) fn off_chain(
        &mut self,
        number: u64,
        head: &Head,
        newest: Option<u64>,
    ) -> io::Result<Option<SegmentInspection>> {
        let mut segment = self.blank(number, None);
        match head {
            Head::Vanished => {
                self.totals.in_motion = true;
                return Ok(None);
            }
            Head::Unfinished => segment.state = SegmentState::Unfinished,
            Head::Unreadable(reason) => {
                segment.state = SegmentState::Unreadable;
                // An older one may be anything; the newest is what the log ends with.
                if newest.is_none_or(|newest| number > newest) {
                    self.damaged(&segment.path, 0, 0..0, &format!("damaged segment header: {reason}"));
                }
            }
            Head::Sound(header, checksum) => {
                let extent = extent_of(header, *checksum);
                segment = self.blank(number, Some(&extent));
                segment.header = Some(*header);
                if let Some(file) = self.open(&mut segment)? {
                    self.walk(&*file, &extent, Ending::Unknown, &mut segment)?;
                } else {
                    return Ok(None);
                }
                return Ok(Some(segment));
            }
        }
        let file = self.open(&mut segment)?;
        if file.is_some() && segment.state == SegmentState::Unfinished {
            segment.zero_bytes = segment.file_bytes;
        }
        Ok(Some(segment))
    }

    /// A segment on the chain; `None` if it is gone by now.
    pub(super) fn on_chain(&mut self, link: &Link, next: Option<&Link>) -> io::Result<Option<SegmentInspection>> {
        let extent = &link.extent;
        let next = next.map(|next| (next.extent.base_index, next.extent.base_offset));
        let ending = next.map_or(Ending::Open, |(index, offset)| Ending::Sealed { index, offset });
        let mut segment = self.blank(extent.number, Some(extent));
        segment.header = link.header;
        segment.state = if ending == Ending::Open { SegmentState::Active } else { SegmentState::Sealed };
        if let Some(header) = &link.header {
            self.totals.vote = header.vote.or(self.totals.vote);
            if header.start.index >= self.totals.start.index {
                self.totals.start = header.start;
            }
        }
        match self.open(&mut segment)? {
            Some(file) => {
                if let Some(reason) = &link.unreadable {
                    let indexes = extent.base_index..next.map_or(extent.base_index, |(index, _)| index);
                    self.damaged(&segment.path, 0, indexes, &format!("damaged segment header: {reason}"));
                }
                self.walk(&*file, extent, ending, &mut segment)?;
                self.side_damage(&segment);
            }
            None if self.listing.segments.contains(&extent.number) => return Ok(None),
            None => {
                segment.state = SegmentState::Missing;
                segment.span = next.map(|(index, offset)| SegmentSpan {
                    base_index: extent.base_index,
                    end_index: index,
                    base_offset: extent.base_offset,
                    end_offset: offset,
                    base_time_ms: extent.base_time_ms,
                    time_ms: extent.base_time_ms,
                    end_position: extent.end,
                });
            }
        }
        self.totals.frames.add(&segment.frames);
        let end = segment.span.map(|span| (span.end_index, span.end_offset));
        (self.totals.next_index, self.totals.end_offset) =
            next.or(end).unwrap_or((self.totals.next_index, self.totals.end_offset));
        Ok(Some(segment))
    }

    /// A segment of which nothing is known but its index and checkpoint.
    fn blank(&self, number: u64, extent: Option<&SegmentExtent>) -> SegmentInspection {
        SegmentInspection {
            number,
            path: segment_path(self.directory, number),
            state: SegmentState::OffChain,
            file_bytes: 0,
            header: None,
            span: None,
            frames: FrameCounts::default(),
            zero_bytes: 0,
            torn_bytes: 0,
            stale_bytes: 0,
            index: side_files::index(self.vfs, self.directory, self.listing, number, extent),
            checkpoint: side_files::checkpoint(self.vfs, self.directory, self.listing, number, extent),
        }
    }

    /// Opens a segment's file and notes its size; `None` if it is not there.
    fn open(&mut self, segment: &mut SegmentInspection) -> io::Result<Option<Arc<dyn VfsFile>>> {
        let opened = self.vfs.open_read_only(&segment.path).and_then(|file| {
            segment.file_bytes = file.size()?;
            Ok(file)
        });
        match opened {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.totals.in_motion |= self.listing.segments.contains(&segment.number);
                Ok(None)
            }
            Err(error) => Err(io::Error::new(error.kind(), format!("{}: {error}", segment.path.display()))),
        }
    }

    pub(super) fn damaged(&mut self, path: &Path, position: u64, indexes: Range<u64>, reason: &str) {
        self.totals.damaged(Damage { path: path.to_owned(), position, indexes, reason: reason.to_owned() });
    }

    /// A damaged index costs time and a damaged checkpoint may cost the log, and both should not be.
    fn side_damage(&mut self, segment: &SegmentInspection) {
        let wrong = |kind: FileKind, reason: &String| (kind.path(self.directory, segment.number), reason.clone());
        let mut found: Vec<(PathBuf, String)> = Vec::new();
        if let SideFile::Damaged(reason) = &segment.index {
            found.push(wrong(FileKind::Index, reason));
        }
        if let SideFile::Damaged(reason) = &segment.checkpoint {
            found.push(wrong(FileKind::Checkpoint, reason));
        }
        for (path, reason) in found {
            self.damaged(&path, 0, 0..0, &reason);
        }
    }
}
