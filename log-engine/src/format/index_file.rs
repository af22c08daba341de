//! The sparse index of a segment: from log index, offset or leader time to a byte position at or before it; and the
//! file that keeps it once the segment is finished.
//!
//! ```text
//!  0  magic u32 = "QIDX"   4  format u8   5  reserved [u8; 3]
//!  8  segment number u64  16  checksum of the segment's header u32   20  count u32: points after the base
//! 24  base: log index u64, offset u64, time i64, position u64
//!     (the base's time is the first one that is not 0)
//! 56  count × (log index u32, offset u32, time u32, position / 8 u32), each relative to the base
//!  …  checksum u32: CRC-32C of all before it
//! ```

use bytes::{BufMut, BytesMut};

use super::{
    ALIGNMENT, FORMAT, VALUE_MAX,
    bytes_at::{u32_at, u64_at},
};

/// Bytes of log between two points while the index is not full.
const SPACING_MIN: u64 = 8 << 10;
/// Points an index holds at most, besides its base: 32 KiB of memory. When it is full, every second point goes and the
/// spacing doubles.
const POINTS_MAX: usize = 2_048;

const MAGIC: &[u8; 4] = b"QIDX";
const HEAD_SIZE: usize = 56;
const POINT_SIZE: usize = 16;

const _: () = assert!(POINTS_MAX * POINT_SIZE <= 32 << 10, "an idle log keeps one index in memory");

/// An entry's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexPoint {
    /// Its log index.
    pub index: u64,
    /// The partition's end offset before it.
    pub offset: u64,
    /// The greatest leader time in the log up to it and with it, milliseconds since 1970; where none has one, that of a
    /// later entry.
    pub time_ms: i64,
    /// Its byte position.
    pub position: u64,
}

/// The points of one segment. Invariant: log indexes and positions ascend, offsets and times do not descend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SparseIndex {
    base: Option<IndexPoint>,
    points: Vec<[u32; 4]>,
    spacing: u64,
    last_position: u64,
}

impl SparseIndex {
    /// Takes the point of the next entry if it is far enough from the last one taken.
    pub(crate) fn observe(&mut self, point: IndexPoint) {
        let Some(base) = &mut self.base else {
            (self.base, self.last_position, self.spacing) = (Some(point), point.position, SPACING_MIN);
            return;
        };
        if point.position < self.last_position + self.spacing {
            return;
        }
        // A log begins with entries that have no leader time. Theirs may be overstated: a time is then looked for from
        // further ahead. Left as it is, no later time would be near enough to be kept.
        if base.time_ms == 0 {
            base.time_ms = point.time_ms;
        }
        // What does not fit (a clock that jumped by weeks) is left out: the index is only sparser there.
        let Some(relative) = relative(base, &point) else { return };
        if self.points.len() == POINTS_MAX {
            let mut keep = true;
            self.points.retain(|_| {
                keep = !keep;
                keep
            });
            self.spacing *= 2;
        }
        self.last_position = point.position;
        self.points.push(relative);
    }

    fn at(&self, at: usize) -> Option<IndexPoint> {
        let base = self.base?;
        let [index, offset, time, position] = *self.points.get(at)?;
        Some(IndexPoint {
            index: base.index + u64::from(index),
            offset: base.offset + u64::from(offset),
            time_ms: base.time_ms.saturating_add(i64::from(time)),
            position: base.position + u64::from(position) * ALIGNMENT,
        })
    }

    /// The points, the base first.
    pub fn points(&self) -> impl Iterator<Item = IndexPoint> {
        self.base.into_iter().chain((0..self.points.len()).filter_map(|at| self.at(at)))
    }

    /// The last point before the byte position `end` for which `is_before` holds; it must hold for a first part of them.
    #[must_use]
    pub fn last_before(&self, end: u64, is_before: impl Fn(&IndexPoint) -> bool) -> Option<IndexPoint> {
        let holds = |point: &IndexPoint| point.position < end && is_before(point);
        let base = self.base.filter(holds)?;
        let (mut low, mut high) = (0, self.points.len());
        while low < high {
            let middle = (low + high) / 2;
            if self.at(middle).as_ref().is_some_and(holds) { low = middle + 1 } else { high = middle }
        }
        Some(low.checked_sub(1).and_then(|at| self.at(at)).unwrap_or(base))
    }

    /// Forgets all points from this log index on.
    pub(crate) fn truncate_from(&mut self, index: u64) {
        while let Some(last) = self.points.len().checked_sub(1).and_then(|last| self.at(last)) {
            if last.index < index {
                self.last_position = last.position;
                return;
            }
            self.points.pop();
        }
        self.base = self.base.filter(|base| base.index < index);
        self.last_position = self.base.map_or(0, |base| base.position);
    }

    /// How many points it has.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::from(self.base.is_some()) + self.points.len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.base.is_none()
    }
}

fn relative(base: &IndexPoint, point: &IndexPoint) -> Option<[u32; 4]> {
    Some([
        u32::try_from(point.index.checked_sub(base.index)?).ok()?,
        u32::try_from(point.offset.checked_sub(base.offset)?).ok()?,
        u32::try_from(point.time_ms.checked_sub(base.time_ms)?).ok()?,
        u32::try_from(point.position.checked_sub(base.position)? / ALIGNMENT).ok()?,
    ])
}

/// The index of a finished segment, as its file holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexFile {
    /// The segment's number.
    pub segment: u64,
    /// The checksum of the segment's header.
    pub segment_checksum: u32,
    /// The index.
    pub index: SparseIndex,
}

/// What is wrong with an index file. It costs nothing but time: the index is made again from the segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IndexFileError {
    /// It is not one, is cut short or does not match its checksum.
    #[error("{0}")]
    Damaged(&'static str),
    /// Another disk format.
    #[error("format {0} is not supported (this build: {FORMAT})")]
    Format(u8),
}

impl IndexFile {
    /// Bytes of the largest index file.
    pub const SIZE_MAX: usize = HEAD_SIZE + POINTS_MAX * POINT_SIZE + 4;

    /// The file's bytes. An index without points has no file.
    #[must_use]
    pub fn encode(&self) -> Option<BytesMut> {
        let base = self.index.base?;
        let mut bytes = BytesMut::with_capacity(HEAD_SIZE + self.index.points.len() * POINT_SIZE + 4);
        bytes.put_slice(MAGIC);
        bytes.put_u8(FORMAT);
        bytes.put_bytes(0, 3);
        bytes.put_u64_le(self.segment);
        bytes.put_u32_le(self.segment_checksum);
        bytes.put_u32_le(self.index.points.len() as u32);
        bytes.put_u64_le(base.index);
        bytes.put_u64_le(base.offset);
        bytes.put_i64_le(base.time_ms);
        bytes.put_u64_le(base.position);
        self.index.points.iter().flatten().for_each(|value| bytes.put_u32_le(*value));
        bytes.put_u32_le(crc32c::crc32c(&bytes));
        Some(bytes)
    }

    /// Decodes a whole file. Allocates no more than `bytes` has.
    ///
    /// # Errors
    /// See [`IndexFileError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, IndexFileError> {
        use IndexFileError::Damaged;
        if bytes.len() < 5 || &bytes[..4] != MAGIC {
            return Err(Damaged("not an index"));
        }
        if bytes[4] != FORMAT {
            return Err(IndexFileError::Format(bytes[4]));
        }
        let Some(points) = bytes.len().checked_sub(HEAD_SIZE + 4) else { return Err(Damaged("cut short")) };
        let count = u32_at(bytes, 20) as usize;
        if count > POINTS_MAX || points != count * POINT_SIZE {
            return Err(Damaged("its size is not that of its points"));
        }
        let (content, checksum) = bytes.split_at(bytes.len() - 4);
        if crc32c::crc32c(content) != u32_at(checksum, 0) {
            return Err(Damaged("the checksum does not match"));
        }
        let base = IndexPoint {
            index: u64_at(bytes, 24),
            offset: u64_at(bytes, 32),
            time_ms: u64_at(bytes, 40).cast_signed(),
            position: u64_at(bytes, 48),
        };
        let fits = |value: u64| value <= VALUE_MAX;
        if ![base.index, base.offset, base.position].into_iter().all(fits) {
            return Err(Damaged("its base is out of range"));
        }
        let point = |bytes: &[u8]| [u32_at(bytes, 0), u32_at(bytes, 4), u32_at(bytes, 8), u32_at(bytes, 12)];
        let points: Vec<[u32; 4]> = content[HEAD_SIZE..].chunks_exact(POINT_SIZE).map(point).collect();
        let ascends = |a: &[u32; 4], b: &[u32; 4]| a[0] < b[0] && a[1] <= b[1] && a[2] <= b[2] && a[3] < b[3];
        if !points.first().is_none_or(|first| ascends(&[0; 4], first)) || !points.is_sorted_by(ascends) {
            return Err(Damaged("its points do not ascend"));
        }
        let last_position = points.last().map_or(0, |point| u64::from(point[3]) * ALIGNMENT) + base.position;
        let index = SparseIndex { base: Some(base), points, spacing: SPACING_MIN, last_position };
        Ok(Self { segment: u64_at(bytes, 8), segment_checksum: u32_at(bytes, 16), index })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Now, as a leader tells the time: far more than 32 bits of milliseconds.
    const NOW: i64 = 1_790_000_000_000;

    fn index(times_ms: &[i64]) -> SparseIndex {
        let mut index = SparseIndex::default();
        for (at, time_ms) in (0..).zip(times_ms) {
            index.observe(IndexPoint { index: at, offset: at, time_ms: *time_ms, position: 128 + at * SPACING_MIN });
        }
        index
    }

    #[test]
    fn a_log_that_begins_without_a_time_is_indexed_all_the_same() {
        let index = index(&[0, 0, 0, NOW, NOW + 5, NOW + 5_000_000]);
        assert_eq!(index.len(), 6);
        let points: Vec<IndexPoint> = index.points().collect();
        assert_eq!(points[5].position, 128 + 5 * SPACING_MIN);
        assert_eq!(points[5].time_ms, NOW + 5_000_000);
        let by_index = index.last_before(u64::MAX, |point| point.index <= 4);
        assert_eq!(by_index.map(|point| point.index), Some(4));
        // Never from further behind than the first entry of that time.
        for (time_ms, expected) in [(NOW, None), (NOW + 1, Some(3)), (NOW + 5, Some(3)), (NOW + 6, Some(4))] {
            let found = index.last_before(u64::MAX, |point| point.time_ms < time_ms);
            assert_eq!(found.map(|point| point.index), expected, "{time_ms}");
        }
    }
}
