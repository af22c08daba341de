//! Finished segments that are open for reading: their handles and indexes, bounded in number over all logs of a node.

use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use lru::LruCache;

use super::Walk;
use crate::{
    IndexFile, IndexPoint, LogStart, ReadError, SEGMENT_HEADER_SIZE, SegmentExtent, SegmentHeader, SparseIndex,
    VfsFile,
    format::FileKind,
    segment_file::SegmentFile,
    shared::Shared,
    vfs::read_exact_at,
    write::{MaintenanceJob, read_small_file},
};

/// Bytes read at once to index a segment anew.
const INDEXING_CHUNK: u64 = 256 << 10;

/// A segment open for reading.
#[derive(Debug)]
pub(crate) struct OpenSegment {
    /// The file that it is: a repair replaces it by another one of the same number.
    file: Arc<SegmentFile>,
    pub(crate) handle: Arc<dyn VfsFile>,
    index: OnceLock<SparseIndex>,
}

/// The least recently used are closed first. Readers keep what they have until they are done.
#[derive(Debug)]
pub(crate) struct OpenSegments(Mutex<LruCache<(u64, u64), Arc<OpenSegment>>>);

impl OpenSegments {
    /// Keeps at most `segments_max` open, at least one.
    pub(crate) fn new(segments_max: usize) -> Self {
        let max = NonZeroUsize::new(segments_max).unwrap_or(NonZeroUsize::MIN);
        Self(Mutex::new(LruCache::new(max)))
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, LruCache<(u64, u64), Arc<OpenSegment>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many are open.
    pub(crate) fn count(&self) -> usize {
        self.cache().len()
    }

    /// A segment of a log, opened if need be.
    ///
    /// # Errors
    /// When the file cannot be opened or is not that segment.
    pub(crate) fn get(
        &self,
        log: &Shared,
        file: &Arc<SegmentFile>,
        extent: &SegmentExtent,
    ) -> Result<Arc<OpenSegment>, ReadError> {
        let key = (log.id, file.number);
        if let Some(open) = self.cache().get(&key).filter(|open| Arc::ptr_eq(&open.file, file)) {
            return Ok(open.clone());
        }
        // Not under the lock: others read meanwhile. Of two that open one segment the later wins.
        let handle = open_segment_file(log, file, extent)?;
        let open = Arc::new(OpenSegment { file: file.clone(), handle, index: OnceLock::new() });
        self.cache().put(key, open.clone());
        Ok(open)
    }

    /// Closes all segments of a log.
    pub(crate) fn forget_log(&self, log: u64) {
        let mut cache = self.cache();
        let keys: Vec<_> = cache.iter().map(|(key, _)| *key).filter(|(of, _)| *of == log).collect();
        keys.iter().for_each(|key| drop(cache.pop(key)));
    }

    /// Closes a segment.
    pub(crate) fn forget(&self, log: u64, number: u64) {
        self.cache().pop(&(log, number));
    }
}

/// Opens a finished segment and checks that it is the one meant.
pub(crate) fn open_segment_file(
    log: &Shared,
    file: &SegmentFile,
    extent: &SegmentExtent,
) -> Result<Arc<dyn VfsFile>, ReadError> {
    let io = |source| ReadError::Io { path: file.path.clone(), source };
    let wrong = |reason: String| ReadError::Segment { path: file.path.clone(), reason };
    let handle = log.vfs.open_read_only(&file.path).map_err(io)?;
    let size = handle.size().map_err(io)?;
    if size < extent.end {
        return Err(wrong(format!("it has {size} bytes, and it ended at {}", extent.end)));
    }
    let mut head = [0; SEGMENT_HEADER_SIZE];
    read_exact_at(&*handle, &mut head, 0).map_err(io)?;
    match SegmentHeader::decode(&head) {
        Ok((_, checksum)) if checksum == extent.head_checksum => Ok(handle),
        Ok(_) => Err(wrong("it is another segment".to_owned())),
        Err(error) => Err(wrong(format!("damaged header: {error}"))),
    }
}

impl OpenSegment {
    /// The segment's index: from memory, from its file, or made anew.
    ///
    /// # Errors
    /// When the segment itself is damaged.
    pub(crate) fn index(
        &self,
        log: &Arc<Shared>,
        file: &SegmentFile,
        extent: &SegmentExtent,
        log_start: LogStart,
    ) -> Result<&SparseIndex, ReadError> {
        if let Some(index) = self.index.get() {
            return Ok(index);
        }
        let index = match load(log, file, extent) {
            Some(index) => index,
            None => {
                let (index, whole) = self.build(log, file, extent, log_start)?;
                let segment_checksum = extent.head_checksum;
                let index = IndexFile { segment: extent.number, segment_checksum, index };
                if whole {
                    log.maintenance.push(MaintenanceJob::Index { log: log.clone(), index: index.clone() });
                }
                index.index
            }
        };
        Ok(self.index.get_or_init(|| index))
    }

    /// The index, and whether it is that of the whole segment: it ends at the first damage, since offset and time behind
    /// it are not known. What is read from there on meets the damage. Damage before the start of the log does not count.
    fn build(
        &self,
        log: &Shared,
        file: &SegmentFile,
        extent: &SegmentExtent,
        log_start: LogStart,
    ) -> Result<(SparseIndex, bool), ReadError> {
        let mut index = SparseIndex::default();
        let source = (&*self.handle, &*file.path);
        let mut walk =
            Walk::new(source, extent, None, u64::MAX, log.payload_bytes_max, INDEXING_CHUNK).needed_from(log_start);
        loop {
            match walk.find() {
                Ok(None) => return Ok((index, true)),
                Ok(Some(found)) => {
                    index.observe(IndexPoint {
                        index: found.header.index,
                        offset: found.offset,
                        time_ms: found.time_ms,
                        position: found.position,
                    });
                    walk.skip(&found);
                }
                Err(ReadError::Damaged { .. }) => return Ok((index, false)),
                Err(error) => return Err(error),
            }
        }
    }
}

/// The index of a segment from its file, if that is sound.
fn load(log: &Shared, file: &SegmentFile, extent: &SegmentExtent) -> Option<SparseIndex> {
    let path = FileKind::Index.path(&log.directory, file.number);
    let reason = match read_small_file(&*log.vfs, &path, IndexFile::SIZE_MAX) {
        Ok(None) => return None,
        Ok(Some(bytes)) => match IndexFile::decode(&bytes) {
            Ok(found) if found.segment == extent.number && found.segment_checksum == extent.head_checksum => {
                return Some(found.index);
            }
            Ok(_) => "it belongs to another segment".to_owned(),
            Err(error) => error.to_string(),
        },
        Err(error) => error.to_string(),
    };
    tracing::warn!(path = %path.display(), reason, "an index is not used, and made anew");
    None
}
