//! A sparse index of one segment: from log index or offset to a byte position at or before it.

/// Bytes of log between two points of the index.
pub(crate) const SPACING: u64 = 8 << 10;

/// A frame's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IndexPoint {
    /// Its log index.
    pub(crate) index: u64,
    /// The partition's end offset before it.
    pub(crate) offset: u64,
    /// Its byte position.
    pub(crate) position: u64,
}

/// The points of one segment, ascending in all three fields.
#[derive(Clone, Debug, Default)]
pub(crate) struct SparseIndex(Vec<IndexPoint>);

impl SparseIndex {
    /// Takes the point of the next frame if it is far enough from the last one taken.
    pub(crate) fn observe(&mut self, point: IndexPoint) {
        if self.0.last().is_none_or(|last| point.position >= last.position + SPACING) {
            self.0.push(point);
        }
    }

    /// The last point at or before the entry of this log index.
    pub(crate) fn by_index(&self, index: u64) -> Option<IndexPoint> {
        self.0[..self.0.partition_point(|point| point.index <= index)].last().copied()
    }

    /// The last point whose frame starts at or before this offset.
    pub(crate) fn by_offset(&self, offset: u64) -> Option<IndexPoint> {
        self.0[..self.0.partition_point(|point| point.offset <= offset)].last().copied()
    }

    /// Forgets all points from this log index on.
    pub(crate) fn truncate_from(&mut self, index: u64) {
        self.0.truncate(self.0.partition_point(|point| point.index < index));
    }
}
