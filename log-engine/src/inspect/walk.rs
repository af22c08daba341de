//! Walking the frames of one segment from end to end, whatever is wrong with them.

use std::{io, thread::sleep};

use bytes::Bytes;

use super::{
    BETWEEN_LOOKS, InspectedFrame, LOOKS,
    report::{SegmentInspection, SegmentSpan, Tail},
    segment::{Ending, Inspector},
};
use crate::{
    FrameKind, LogStart, ReadError, SegmentExtent, VfsFile, Vote,
    read::{Found, Walk},
    recover::{nonzero_end, was_durable},
};

/// Bytes read at once.
const CHUNK: u64 = 256 << 10;
/// Bytes read at once where only headers are wanted and they lie further apart.
const CHUNK_FOR_HEADERS: u64 = 4 << 10;

/// The next step of a walk.
enum Step {
    /// A frame; with its payload if that was read.
    Frame(Found, Option<Bytes>),
    /// The header is sound, the payload is not.
    Payload(Found, ReadError),
    /// No sound frame begins here.
    Broken(ReadError),
    End,
}

fn step(walk: &mut Walk<'_>, verify: bool) -> Step {
    let found = match walk.find_frame() {
        Ok(None) => return Step::End,
        Ok(Some(found)) => found,
        Err(error) => return Step::Broken(error),
    };
    // Local frames are small, and what they hold is wanted.
    let wanted = verify || !found.header.kind.is_entry();
    walk.chunk = match wanted || found.header.disk_size() <= 8 * CHUNK_FOR_HEADERS {
        true => CHUNK,
        false => CHUNK_FOR_HEADERS,
    };
    match wanted.then(|| walk.payload(&found)).transpose() {
        Ok(payload) => Step::Frame(found, payload),
        Err(error) => Step::Payload(found, error),
    }
}

impl Inspector<'_> {
    pub(super) fn walk(
        &mut self,
        file: &dyn VfsFile,
        extent: &SegmentExtent,
        ending: Ending,
        segment: &mut SegmentInspection,
    ) -> io::Result<()> {
        let (size, path) = (segment.file_bytes, segment.path.clone());
        let limit = if let Ending::Sealed { .. } = ending { extent.end.min(size) } else { size };
        let end_index = if let Ending::Sealed { index, .. } = ending { index } else { u64::MAX };
        let bounded = SegmentExtent { end: limit, ..*extent };
        let verify = self.options.verify || ending == Ending::Open;
        let mut walk = Walk::new((file, &path), &bounded, None, u64::MAX, u64::MAX, CHUNK);
        let (mut looks, mut sound, mut end, mut time_ms) = (0, true, None, extent.base_time_ms);
        loop {
            let (position, index) = (walk.position, walk.index);
            let (found, error) = match step(&mut walk, verify) {
                Step::End => break,
                Step::Frame(found, payload) => {
                    self.totals.in_motion |= looks > 0 && sound;
                    looks = if sound { 0 } else { looks };
                    self.frame(&found, payload, ending, segment)?;
                    time_ms = found.time_ms;
                    walk.skip(&found);
                    continue;
                }
                Step::Payload(found, error) => (Some(found), error),
                Step::Broken(error) => (None, error),
            };
            if ending == Ending::Unknown {
                end = Some(position);
                break;
            }
            let reason = reason(&error);
            if ending == Ending::Open {
                let torn = nonzero_end(file, position, size)? - position;
                if torn == 0 {
                    end = Some(position);
                    break;
                }
                if looks < LOOKS {
                    if looks > 0 {
                        sleep(BETWEEN_LOOKS);
                    }
                    looks += 1;
                    walk.forget();
                    continue;
                }
                if !was_durable(file, extent.head_checksum, size, position)? {
                    end = Some(position);
                    if sound {
                        self.totals.tail = Tail::Torn { position, bytes: torn, reason };
                    }
                    break;
                }
                if sound {
                    self.totals.tail = Tail::Corrupt { position, reason: reason.clone() };
                }
            }
            sound = false;
            let lost_to = if let Some(found) = found {
                self.frame(&found, None, ending, segment)?;
                walk.skip(&found);
                walk.index
            } else if walk.resynchronise().unwrap_or(false) {
                walk.index
            } else {
                end = Some(position);
                if end_index == u64::MAX { index } else { end_index.max(index) }
            };
            self.damaged(&path, position, index..lost_to, &reason);
            if end.is_some() {
                break;
            }
        }
        let end_position = if let Ending::Sealed { .. } = ending { extent.end } else { end.unwrap_or(walk.position) };
        if let (Ending::Sealed { index, offset }, true) = (ending, sound)
            && let Some(reason) = misfit(&walk, extent, size, index, offset)
        {
            self.damaged(&path, walk.position, walk.index.min(index)..index, &reason);
        }
        segment.span = Some(SegmentSpan {
            base_index: extent.base_index,
            end_index: if end_index == u64::MAX { walk.index } else { end_index },
            base_offset: extent.base_offset,
            end_offset: if let Ending::Sealed { offset, .. } = ending { offset } else { walk.offset },
            base_time_ms: extent.base_time_ms,
            time_ms,
            end_position,
        });
        let from = end_position.min(size);
        let behind = nonzero_end(file, from, size)?.max(from) - from;
        segment.zero_bytes = size - from - behind;
        match ending {
            Ending::Open => segment.torn_bytes = behind,
            _ => segment.stale_bytes = behind,
        }
        Ok(())
    }

    /// Counts and tells of a frame with a sound header.
    fn frame(
        &mut self,
        found: &Found,
        payload: Option<Bytes>,
        ending: Ending,
        segment: &mut SegmentInspection,
    ) -> io::Result<()> {
        let header = found.header;
        segment.frames.count(&header);
        let stamped = found.batch.filter(|_| !header.rejected);
        let offset = stamped.map_or(found.offset, |batch| batch.base_offset.cast_unsigned());
        if ending != Ending::Unknown {
            if !self.totals.frame(&header) {
                let reason = format!("term {} follows a greater one", header.term);
                self.damaged(&segment.path, found.position, header.index..header.index, &reason);
            }
            match (header.kind, payload.as_deref()) {
                (FrameKind::Vote, Some(bytes)) => self.totals.vote = Vote::decode(bytes).ok().or(self.totals.vote),
                (FrameKind::Start, Some(bytes)) => {
                    self.totals.start = LogStart::decode(bytes).unwrap_or(self.totals.start);
                }
                _ => {}
            }
        }
        (self.visit)(&InspectedFrame {
            segment: segment.number,
            on_chain: ending != Ending::Unknown,
            position: found.position,
            bytes: header.disk_size(),
            header,
            batch: found.batch,
            offsets: offset..found.next_offset,
        })
    }
}

/// What does not fit between a finished segment whose frames are sound and the one behind it.
fn misfit(walk: &Walk<'_>, extent: &SegmentExtent, size: u64, index: u64, offset: u64) -> Option<String> {
    if size < extent.end {
        Some(format!("the file is shorter than {} bytes", extent.end))
    } else if walk.checksum().is_some_and(|checksum| checksum != extent.end_checksum) {
        Some("its last frame is not the sealed one".to_owned())
    } else if (walk.index, walk.offset) != (index, offset) {
        Some(format!(
            "it ends before log index {} at offset {}, and the next segment begins with {index} at {offset}",
            walk.index, walk.offset
        ))
    } else {
        None
    }
}

fn reason(error: &ReadError) -> String {
    match error {
        ReadError::Damaged { source, .. } => source.to_string(),
        ReadError::Io { source, .. } => source.to_string(),
        ReadError::Segment { reason, .. } => reason.clone(),
        ReadError::Outdated { .. } => error.to_string(),
    }
}
