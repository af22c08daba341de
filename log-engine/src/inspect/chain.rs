//! The chain of a log's segments, as far as it can be followed. Unlike the recovery's, it goes on where a header cannot
//! be read, if a checkpoint knows the segment.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::Path,
    thread::sleep,
};

use super::{BETWEEN_LOOKS, LOOKS, segment_path};
use crate::{
    PreviousSegment, SegmentExtent, SegmentHeader, SegmentHeaderError, Vfs,
    format::FORMAT,
    recover::{Listing, decode_header, read_checkpoint},
    state::extent_of,
};

/// What a segment file's header tells.
#[derive(Debug)]
pub(super) enum Head {
    Sound(SegmentHeader, u32),
    Unfinished,
    Unreadable(String),
    /// Listed, and then gone.
    Vanished,
}

/// Looks at every listed segment. One of the newest two, of which the last may be made ahead, may be written to right now,
/// and what is then read of its header is nothing to believe at once.
pub(super) fn heads(vfs: &dyn Vfs, directory: &Path, listing: &Listing) -> BTreeMap<u64, Head> {
    let older = listing.segments.len().saturating_sub(2);
    let looked = listing.segments.iter().enumerate().map(|(at, number)| {
        let mut head = look(vfs, directory, *number);
        let mut looks = 1;
        while at >= older && looks < LOOKS && matches!(head, Head::Unreadable(_)) {
            sleep(BETWEEN_LOOKS);
            head = look(vfs, directory, *number);
            looks += 1;
        }
        (*number, head)
    });
    looked.collect()
}

fn look(vfs: &dyn Vfs, directory: &Path, number: u64) -> Head {
    let read = || -> io::Result<_> {
        let file = vfs.open_read_only(&segment_path(directory, number))?;
        decode_header(&*file, file.size()?)
    };
    match read() {
        Ok(None) => Head::Unfinished,
        Ok(Some(Ok((header, _)))) if header.number != number => {
            Head::Unreadable(format!("it is that of segment {}", header.number))
        }
        Ok(Some(Ok((header, checksum)))) => Head::Sound(header, checksum),
        Ok(Some(Err(SegmentHeaderError::Format(found)))) => {
            Head::Unreadable(format!("disk format {found} is not supported (this build: {FORMAT})"))
        }
        Ok(Some(Err(error))) => Head::Unreadable(error.to_string()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Head::Vanished,
        Err(error) => Head::Unreadable(error.to_string()),
    }
}

/// A segment on the chain.
#[derive(Debug)]
pub(super) struct Link {
    /// Its end is that of the seal; of the newest it is not known.
    pub(super) extent: SegmentExtent,
    pub(super) header: Option<SegmentHeader>,
    /// Why there is no header, unless the file is missing.
    pub(super) unreadable: Option<String>,
    previous: Option<PreviousSegment>,
}

/// The chain, oldest first.
#[derive(Debug, Default)]
pub(super) struct Chain {
    pub(super) links: Vec<Link>,
    /// The segment named as the predecessor of the oldest, which is not there or cannot be used.
    pub(super) missing_before: Option<u64>,
}

impl Chain {
    pub(super) fn find(vfs: &dyn Vfs, directory: &Path, listing: &Listing, heads: &BTreeMap<u64, Head>) -> Self {
        let sound = |head: &Head| match head {
            Head::Sound(header, checksum) => Some(sound_link(*header, *checksum)),
            _ => None,
        };
        let Some(newest) = heads.values().rev().find_map(sound) else { return Self::default() };
        let identity = newest.header.map(|header| (header.replica, header.owner));
        let mut links = vec![newest];
        // The extents of the newest checkpoint that was needed.
        let mut known: Option<Vec<SegmentExtent>> = None;
        let mut missing_before = None;
        while let Some(previous) = links[links.len() - 1].previous {
            // One that is not listed may only have been listed too early.
            let looked;
            let head = match heads.get(&previous.number) {
                Some(head) => head,
                None => {
                    looked = look(vfs, directory, previous.number);
                    &looked
                }
            };
            let link = match head {
                _ if previous.number >= links[links.len() - 1].extent.number => None,
                Head::Sound(header, checksum) if Some((header.replica, header.owner)) == identity => {
                    let mut link = sound_link(*header, *checksum);
                    (link.extent.end, link.extent.end_checksum) = (previous.end, previous.checksum);
                    Some(link)
                }
                unusable => {
                    let known = known.get_or_insert_with(|| extents(vfs, directory, listing, &links));
                    known.iter().position(|extent| extent.number == previous.number).map(|at| Link {
                        extent: SegmentExtent { end: previous.end, end_checksum: previous.checksum, ..known[at] },
                        header: None,
                        unreadable: reason(unusable),
                        previous: at.checked_sub(1).map(|before| PreviousSegment {
                            number: known[before].number,
                            end: known[before].end,
                            checksum: known[before].end_checksum,
                        }),
                    })
                }
            };
            match link {
                Some(link) => links.push(link),
                None => {
                    missing_before = Some(previous.number);
                    break;
                }
            }
        }
        links.reverse();
        Self { links, missing_before }
    }

    pub(super) fn numbers(&self) -> BTreeSet<u64> {
        self.links.iter().map(|link| link.extent.number).collect()
    }

    /// The header of the newest segment.
    pub(super) fn newest(&self) -> Option<&SegmentHeader> {
        self.links.last().and_then(|link| link.header.as_ref())
    }

    pub(super) fn newest_number(&self) -> Option<u64> {
        self.newest().map(|header| header.number)
    }
}

fn sound_link(header: SegmentHeader, checksum: u32) -> Link {
    Link { extent: extent_of(&header, checksum), header: Some(header), unreadable: None, previous: header.previous }
}

fn reason(head: &Head) -> Option<String> {
    match head {
        Head::Sound(..) => Some("it belongs to another replica".to_owned()),
        Head::Unfinished => Some("it is all zeros".to_owned()),
        Head::Unreadable(reason) => Some(reason.clone()),
        Head::Vanished => None,
    }
}

/// The segments that the newest sound checkpoint knows. `links` are newest first.
fn extents(vfs: &dyn Vfs, directory: &Path, listing: &Listing, links: &[Link]) -> Vec<SegmentExtent> {
    let extents = links.iter().map(|link| link.extent).filter(|extent| listing.checkpoints.contains(&extent.number));
    let mut sound = extents
        .filter_map(|extent| read_checkpoint(vfs, directory, extent.number, extent.head_checksum).ok().flatten());
    sound.next().map_or_else(Vec::new, |checkpoint| checkpoint.segments)
}
