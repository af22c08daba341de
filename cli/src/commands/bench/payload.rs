//! Values that no codec can make smaller.

use bytes::Bytes;

/// A batch never holds the same bytes twice: batches are at most 8 MiB.
const POOL_BYTES: usize = 16 << 20;

/// A pool of pseudo-random bytes that values are cut from without copying.
#[derive(Clone, Debug)]
pub(super) struct Payload {
    pool: Bytes,
    size: usize,
    next: usize,
}

impl Payload {
    pub(super) fn new(size: usize) -> Self {
        let mut pool = vec![0_u8; POOL_BYTES.max(size)];
        rand::fill(&mut pool[..]);
        Self { pool: pool.into(), size, next: 0 }
    }

    /// The next value: the bytes that follow the last one's.
    pub(super) fn next(&mut self) -> Bytes {
        if self.next + self.size > self.pool.len() {
            self.next = 0;
        }
        let value = self.pool.slice(self.next..self.next + self.size);
        self.next += self.size;
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_their_size_and_do_not_repeat_within_a_batch() {
        let mut payload = Payload::new(1000);
        let values: std::collections::HashSet<_> = (0..8_000).map(|_| payload.next()).collect();
        assert_eq!(values.len(), 8_000);
        assert!(values.iter().all(|value| value.len() == 1000));
    }

    #[test]
    fn the_pool_begins_again_and_empty_values_are_values() {
        let mut payload = Payload::new(POOL_BYTES);
        assert_eq!(payload.next(), payload.next());
        assert_eq!(Payload::new(0).next().len(), 0);
    }
}
