//! Looking into a log that nobody has opened, or that somebody else has: read-only, and going on behind damage.
//!
//! The frames are walked by [`crate::read::Walk`], and what the next open would do is asked of the recovery itself. Not
//! here: anything that mends.

mod chain;
mod read_only;
mod report;
mod segment;
mod side_files;
mod totals;
mod walk;

pub use report::{
    CheckpointSummary, Damage, FrameCounts, InspectOptions, InspectedFrame, Inspection, NextOpen, SegmentInspection,
    SegmentSpan, SegmentState, SideFile, Tail,
};

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use chain::Chain;
use read_only::ReadOnly;
use segment::Inspector;
use totals::Totals;

use crate::{
    Vfs,
    format::FileKind,
    recover::{Foreseen, Listing, foresee, nonzero_end},
};

/// How often, and after which wait, what is wrong at the end of a log is looked at again before it is believed: somebody
/// may be writing it.
const LOOKS: u32 = 3;
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// Looks at the log in `directory` and changes nothing. `visit` is told of every frame with a sound header, in the order
/// of the files; memory is bounded by what the report holds.
///
/// A log that is being written may be looked at: the report then shows some moment since the call, and says that it was
/// [`Inspection::in_motion`].
///
/// # Errors
/// When the directory cannot be listed or a segment file in it not opened, and whatever `visit` returns. What else is
/// wrong with the log is in the report.
pub fn inspect(
    vfs: &dyn Vfs,
    directory: &Path,
    options: InspectOptions,
    visit: &mut dyn FnMut(&InspectedFrame) -> io::Result<()>,
) -> io::Result<Inspection> {
    let vfs = &ReadOnly(vfs);
    let listing = Listing::read(vfs, directory)?;
    let before = pulse(vfs, directory, &listing)?;
    let heads = chain::heads(vfs, directory, &listing);
    let chain = Chain::find(vfs, directory, &listing, &heads);
    let on_chain = chain.numbers();
    let mut totals = Totals::begin(vfs, directory, &listing, &chain);
    let mut inspector = Inspector { vfs, directory, listing: &listing, options, totals: &mut totals, visit };
    let mut segments = Vec::new();
    let mut links = chain.links.iter().peekable();
    for number in listing.segments.union(&on_chain) {
        segments.extend(match (links.next_if(|link| link.extent.number == *number), heads.get(number)) {
            (Some(link), _) => inspector.on_chain(link, links.peek().copied())?,
            (None, Some(head)) => inspector.off_chain(*number, head, chain.newest_number())?,
            (None, None) => None,
        });
    }
    let foreseen = foresee(vfs, directory, &totals.open_options(&chain));
    // Nothing is foretold of a log that somebody has open: its end was another one at each look.
    totals.in_motion |= pulse(vfs, directory, &Listing::read(vfs, directory)?)? != before;
    totals.judge_the_start(directory, &chain, &mut segments);
    let next_open = match foreseen {
        _ if totals.in_motion => None,
        Ok(Foreseen { torn_bytes, scanned_from }) => Some(NextOpen::Opens { scanned_from, torn_bytes }),
        Err(error) => Some(NextOpen::Refused(error.to_string())),
    };
    let leftover = listing.leftover(directory, &on_chain);
    let (file_count, bytes) = side_files::total(vfs, directory, &listing);
    Ok(totals.report(directory, &chain, segments, leftover, (file_count, bytes), next_open))
}

/// What cannot stay the same when anything is written to a log: its segments, and where the newest two end, of which the
/// last may be made ahead.
fn pulse(vfs: &dyn Vfs, directory: &Path, listing: &Listing) -> io::Result<(BTreeSet<u64>, Vec<u64>)> {
    let end = |number: &u64| match vfs.open_read_only(&segment_path(directory, *number)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        opened => opened.and_then(|file| nonzero_end(&*file, 0, file.size()?)),
    };
    let ends = listing.segments.iter().rev().take(2).map(end).collect::<io::Result<_>>()?;
    Ok((listing.segments.clone(), ends))
}

/// The path of a segment.
fn segment_path(directory: &Path, number: u64) -> PathBuf {
    FileKind::Segment.path(directory, number)
}
