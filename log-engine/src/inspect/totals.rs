//! What adds up over the segments.

use std::path::{Path, PathBuf};

use super::{
    chain::Chain,
    report::{Damage, FrameCounts, Inspection, NextOpen, SegmentInspection, SegmentState, Tail},
    segment_path,
};
use crate::{
    FrameHeader, LogOptions, LogStart, TermStart, Vfs, Vote,
    recover::{Listing, read_checkpoint},
};

/// What is known of the log up to the frame met last.
#[derive(Debug)]
pub(super) struct Totals {
    pub(super) vote: Option<Vote>,
    pub(super) start: LogStart,
    pub(super) next_index: u64,
    pub(super) end_offset: u64,
    terms: Vec<TermStart>,
    durable_through: Option<u64>,
    pub(super) frames: FrameCounts,
    pub(super) tail: Tail,
    pub(super) damage: Vec<Damage>,
    damage_left_out: u64,
    pub(super) in_motion: bool,
}

impl Totals {
    /// What is known before the oldest segment there is.
    pub(super) fn begin(vfs: &dyn Vfs, directory: &Path, listing: &Listing, chain: &Chain) -> Self {
        let mut extents = chain.links.iter().map(|link| link.extent);
        let oldest = extents.find(|extent| listing.segments.contains(&extent.number));
        let checkpoint = oldest
            .filter(|oldest| listing.checkpoints.contains(&oldest.number))
            .and_then(|oldest| read_checkpoint(vfs, directory, oldest.number, oldest.head_checksum).ok().flatten());
        Self {
            vote: None,
            start: LogStart::default(),
            next_index: oldest.map_or(0, |oldest| oldest.base_index),
            end_offset: oldest.map_or(0, |oldest| oldest.base_offset),
            terms: checkpoint.map_or_else(Vec::new, |checkpoint| checkpoint.terms),
            durable_through: None,
            frames: FrameCounts::default(),
            tail: Tail::Clean,
            damage: Vec::new(),
            damage_left_out: 0,
            in_motion: false,
        }
    }

    pub(super) fn damaged(&mut self, damage: Damage) {
        if self.damage.len() < Inspection::DAMAGE_MAX {
            self.damage.push(damage);
        } else {
            self.damage_left_out += 1;
        }
    }

    /// Takes note of a frame on the chain; tells whether its term may follow those before.
    pub(super) fn frame(&mut self, header: &FrameHeader) -> bool {
        self.durable_through = self.durable_through.max(header.durable_through);
        let last = self.terms.last().map(|start| start.term);
        if !header.kind.is_entry() || last == Some(header.term) {
            return true;
        }
        let follows = last.is_none_or(|last| last < header.term);
        if follows {
            self.terms.push(TermStart { term: header.term, index: header.index });
        }
        follows
    }

    /// Judges, now that the start of the log is known, what is missing or done with before it. What is missing from a log
    /// in motion may have been trimmed or truncated away since the first look, and is not judged.
    pub(super) fn judge_the_start(&mut self, directory: &Path, chain: &Chain, segments: &mut Vec<SegmentInspection>) {
        let start = self.start.index;
        let ends = chain.links.windows(2).map(|pair| (pair[0].extent, pair[1].extent.base_index));
        for (extent, end_index) in ends {
            let Ok(at) = segments.binary_search_by_key(&extent.number, |segment| segment.number) else { continue };
            let segment = &mut segments[at];
            match segment.state {
                SegmentState::Sealed if end_index <= start => segment.state = SegmentState::Trimmed,
                SegmentState::Missing if end_index > start && !self.in_motion => self.damaged(Damage {
                    path: segment.path.clone(),
                    position: 0,
                    indexes: extent.base_index.max(start)..end_index,
                    reason: "the file is missing".to_owned(),
                }),
                _ => {}
            }
        }
        segments.retain(|segment| {
            segment.state != SegmentState::Missing || segment.span.is_some_and(|span| span.end_index > start)
        });
        let oldest = chain.links.first().map_or(0, |link| link.extent.base_index);
        if let Some(missing) = chain.missing_before.filter(|_| oldest > start && !self.in_motion) {
            self.damaged(Damage {
                path: segment_path(directory, missing),
                position: 0,
                indexes: start..oldest,
                reason: "the file is missing, or its header cannot be read and no checkpoint knows it".to_owned(),
            });
        }
    }

    /// As whom the next open would open the log.
    pub(super) fn open_options(&self, chain: &Chain) -> LogOptions {
        let newest = chain.newest();
        // All before a segment was on stable storage when the segment began.
        let before = newest.and_then(|header| header.base_index.checked_sub(1));
        LogOptions {
            replica: newest.map_or(0, |header| header.replica),
            owner: newest.map_or(0, |header| header.owner),
            segment_bytes: u64::MAX,
            payload_bytes_max: u64::MAX,
            must_exist: false,
            settled_through: self.durable_through.max(before),
        }
    }

    pub(super) fn report(
        self,
        directory: &Path,
        chain: &Chain,
        segments: Vec<SegmentInspection>,
        leftover: Vec<PathBuf>,
        (file_count, bytes): (u64, u64),
        next_open: Option<NextOpen>,
    ) -> Inspection {
        Inspection {
            directory: directory.to_owned(),
            replica: chain.newest().map(|header| header.replica),
            owner: chain.newest().map(|header| header.owner),
            vote: self.vote,
            start: self.start,
            next_index: self.next_index,
            end_offset: self.end_offset,
            terms: self.terms,
            durable_through: self.durable_through,
            file_count,
            bytes,
            frames: self.frames,
            segments,
            leftover,
            tail: match self.tail {
                Tail::Torn { .. } if self.in_motion => Tail::InMotion,
                tail => tail,
            },
            damage: self.damage,
            damage_left_out: self.damage_left_out,
            in_motion: self.in_motion,
            next_open,
        }
    }
}
