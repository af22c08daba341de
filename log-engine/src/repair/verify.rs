//! Reading a segment as a whole, to be sure that it is what the rest of the log says.

use super::{RepairError, Target, error::unread};
use crate::{
    IndexPoint, ReadError, SEGMENT_HEADER_SIZE, SegmentHeader, SparseIndex, VfsFile,
    read::{Found, Walk},
    shared::Shared,
    vfs::read_exact_at,
};

/// Bytes read at once.
const CHUNK: u64 = 1 << 20;

/// Checks each byte of a segment that is needed: header, frames, chain, terms, offsets, seal. Returns its index.
pub(super) fn verify(log: &Shared, target: &Target, file: &dyn VfsFile) -> Result<SparseIndex, RepairError> {
    let path = &target.file.path;
    let unfit = |reason: String| RepairError::Unfit { path: path.clone(), reason };
    let mut head = [0; SEGMENT_HEADER_SIZE];
    read_exact_at(file, &mut head, 0).map_err(super::error::at(path))?;
    match SegmentHeader::decode(&head) {
        Ok((_, checksum)) if checksum == target.extent.head_checksum => {}
        Ok(_) => return Err(unfit("its header is another one".to_owned())),
        Err(error) => return Err(unfit(error.to_string())),
    }
    let mut index = SparseIndex::default();
    let mut walk =
        Walk::new((file, path), &target.extent, None, u64::MAX, log.payload_bytes_max, CHUNK).needed_from(target.first);
    while let Some(found) = walk.find_frame().map_err(|error| unread(path, error))? {
        match walk.payload(&found) {
            Err(ReadError::Damaged { .. }) if walk.index < target.first.index => {}
            result => drop(result.map_err(|error| unread(path, error))?),
        }
        if found.header.kind.is_entry() {
            check(log, target, &found, walk.offset_is_known).map_err(unfit)?;
            index.observe(IndexPoint {
                index: found.header.index,
                offset: found.offset,
                time_ms: found.time_ms,
                position: found.position,
            });
        }
        walk.skip(&found);
    }
    if (walk.index, walk.offset) != (target.end_index, target.end_offset) {
        return Err(unfit(format!(
            "it ends before log index {} at offset {}, and the next segment begins with {} at {}",
            walk.index, walk.offset, target.end_index, target.end_offset
        )));
    }
    if walk.checksum() != Some(target.extent.end_checksum) {
        return Err(unfit("its last frame is not the sealed one".to_owned()));
    }
    Ok(index)
}

/// Checks an entry against the log.
fn check(log: &Shared, target: &Target, found: &Found, offset_is_known: bool) -> Result<(), String> {
    let (index, term) = (found.header.index, found.header.term);
    let state = log.lock();
    let expected = state.term_of(index);
    // Of what lies before the start of the log, it knows no terms.
    if index >= target.first.index.max(state.start.index) && expected != Some(term) {
        return Err(format!("log index {index} is of term {term}, expected {expected:?}"));
    }
    drop(state);
    let Some(batch) = found.batch.filter(|_| !found.header.rejected) else { return Ok(()) };
    let base_offset = batch.base_offset.cast_unsigned();
    if offset_is_known && base_offset != found.offset {
        return Err(format!("log index {index} begins at offset {base_offset}, expected {}", found.offset));
    }
    Ok(())
}
