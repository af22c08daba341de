//! The tail cache: the newest frames of every log of a node, bounded in bytes together.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use crate::Frame;

/// The budget that the tails of one node's logs share: each may hold its even share of it.
///
/// Frames that are not yet on stable storage stay in memory whatever the budget; what is in flight is bounded by
/// those who append.
#[derive(Clone, Debug)]
pub(crate) struct TailCache(Arc<Budget>);

#[derive(Debug)]
struct Budget {
    bytes_max: usize,
    logs: AtomicUsize,
}

impl TailCache {
    /// A cache of at most `bytes_max` bytes of payload over all logs.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self(Arc::new(Budget { bytes_max, logs: AtomicUsize::new(0) }))
    }

    pub(crate) fn tail(&self) -> Tail {
        self.0.logs.fetch_add(1, Relaxed);
        Tail { cache: self.clone(), frames: VecDeque::new(), first: 0, bytes: 0 }
    }

    fn share(&self) -> usize {
        self.0.bytes_max / self.0.logs.load(Relaxed).max(1)
    }
}

/// Frames there is room for at all times.
const IDLE_CAPACITY: usize = 32;

/// Where a frame ends on disk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FrameEnd {
    /// The number of its segment.
    pub(crate) segment: u64,
    /// The byte position behind it.
    pub(crate) position: u64,
    /// The checksum of its header.
    pub(crate) checksum: u32,
    /// The greatest leader time in the log up to it and with it, milliseconds since 1970.
    pub(crate) time_ms: i64,
}

/// The newest frames of one log, dense in log index.
#[derive(Debug)]
pub(crate) struct Tail {
    cache: TailCache,
    frames: VecDeque<(Frame, FrameEnd)>,
    /// The log index of the first frame.
    first: u64,
    bytes: usize,
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.cache.0.logs.fetch_sub(1, Relaxed);
    }
}

impl Tail {
    /// One past the last log index held.
    pub(crate) fn end(&self) -> u64 {
        self.first + self.frames.len() as u64
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// The first log index held.
    pub(crate) fn first(&self) -> Option<u64> {
        (!self.frames.is_empty()).then_some(self.first)
    }

    /// The frame of this log index, if it is held.
    pub(crate) fn get(&self, index: u64) -> Option<&(Frame, FrameEnd)> {
        self.frames.get(usize::try_from(index.checked_sub(self.first)?).ok()?)
    }

    /// The log index of the first held frame that ends behind `offset`, if the frame before it is known to end at or
    /// before `offset`.
    pub(crate) fn find_offset(&self, offset: u64) -> Option<u64> {
        let at = self.frames.partition_point(|(frame, _)| frame.next_offset <= offset);
        let (found, _) = self.frames.get(at)?;
        // Only an accepted batch moves the end offset, so the frame found is one, and its stamp tells where it starts.
        let holds = found.stamp.is_some_and(|stamp| stamp.base_offset <= offset);
        (at > 0 || self.first == 0 || holds).then_some(found.index)
    }

    /// The log index of the first held frame of this leader time or later, if it is known that none before it is.
    pub(crate) fn find_time(&self, time_ms: i64) -> Option<u64> {
        let at = self.frames.partition_point(|(_, end)| end.time_ms < time_ms);
        let (found, _) = self.frames.get(at)?;
        (at > 0 || self.first == 0).then_some(found.index)
    }

    pub(crate) fn push(&mut self, frame: Frame, end: FrameEnd) {
        if self.frames.is_empty() {
            self.first = frame.index;
        }
        assert_eq!(frame.index, self.end(), "the tail is dense in log index");
        self.bytes += frame.payload.len();
        self.frames.push_back((frame, end));
    }

    /// Gives up the oldest frames beyond this log's share, none above `evictable_through`.
    pub(crate) fn shrink(&mut self, evictable_through: Option<u64>) {
        let share = self.cache.share();
        while self.bytes > share && self.frames.len() > 1 && evictable_through.is_some_and(|last| self.first <= last) {
            if let Some((frame, _)) = self.frames.pop_front() {
                self.bytes -= frame.payload.len();
                self.first += 1;
            }
        }
        // What a burst has needed is given back: an idle log keeps little.
        if self.frames.capacity() > IDLE_CAPACITY && self.frames.len() < self.frames.capacity() / 4 {
            self.frames.shrink_to((2 * self.frames.len()).max(IDLE_CAPACITY));
        }
    }

    /// Held frames from this log index on, below `end_index`, at most `bytes_max` bytes beyond the first.
    pub(crate) fn read(&self, first: u64, end_index: u64, bytes_max: usize) -> Vec<Frame> {
        let mut bytes = 0;
        let frames = (first..end_index).map_while(|index| self.get(index)).map(|(frame, _)| frame);
        let wanted = frames.take_while(|frame| {
            let fits = bytes == 0 || bytes + frame.wire_size() <= bytes_max;
            bytes += frame.wire_size();
            fits
        });
        wanted.cloned().collect()
    }

    /// [`Tail::read`] from the first held frame on that is of this leader time or later.
    pub(crate) fn read_time(&self, time_ms: i64, first: u64, end_index: u64, bytes_max: usize) -> Vec<Frame> {
        let is_wanted = |frame: &Frame| frame.index >= first && frame.leader_time_ms >= time_ms;
        let found = self.frames.iter().map(|(frame, _)| frame).find(|frame| is_wanted(frame));
        found.map_or_else(Vec::new, |frame| self.read(frame.index, end_index, bytes_max))
    }

    /// Forgets all frames.
    pub(crate) fn clear(&mut self) {
        self.frames.clear();
        self.bytes = 0;
    }

    /// Forgets the frames from this log index on.
    pub(crate) fn truncate_from(&mut self, index: u64) {
        while self.end() > index {
            match self.frames.pop_back() {
                Some((frame, _)) => self.bytes -= frame.payload.len(),
                None => return,
            }
        }
    }
}
