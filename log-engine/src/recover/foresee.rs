//! What an open would come to, without opening.

use std::path::Path;

use bytes::Bytes;

use super::{
    chain::Listing,
    open::{at, examine},
    scan::{RecoveredEntry, Recovery},
    settle::nonzero_end,
};
use crate::{LogOptions, OpenError, Vfs};

/// What an open would find.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Foreseen {
    /// Bytes of a torn tail that would be cut off.
    pub(crate) torn_bytes: u64,
    /// The first log index that would be scanned.
    pub(crate) scanned_from: u64,
}

/// Takes whatever the log holds.
struct Anything;

impl Recovery for Anything {
    fn restore(&mut self, _: u64, _: Bytes) -> Result<(), String> {
        Ok(())
    }

    fn entry(&mut self, _: RecoveredEntry<'_>) -> Result<(), String> {
        Ok(())
    }
}

/// Does the first half of an open, which changes nothing, for a caller with nothing against what the log holds.
pub(crate) fn foresee(vfs: &dyn Vfs, directory: &Path, options: &LogOptions) -> Result<Foreseen, OpenError> {
    let listing = Listing::read(vfs, directory).map_err(at(directory))?;
    let found = examine(vfs, directory, options, &listing, &mut Anything)?;
    let torn_bytes = match (found.segments.last(), found.scans.last()) {
        (Some(newest), Some(scan)) => {
            nonzero_end(&*newest.handle, scan.end, newest.size).map_err(at(directory))? - scan.end
        }
        _ => 0,
    };
    Ok(Foreseen { torn_bytes, scanned_from: found.base_index })
}
