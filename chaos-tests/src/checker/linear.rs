//! Linearizable reads of something that only grows.

/// A linearizable read of an offset.
#[derive(Clone, Copy, Debug)]
pub(super) struct Looked {
    pub(super) invoked_ns: u64,
    pub(super) completed_ns: u64,
    pub(super) offset: u64,
}

/// From then on, no read may give less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Known {
    pub(super) at_ns: u64,
    pub(super) least: u64,
    /// What it is known from.
    pub(super) how: &'static str,
}

/// The reads that gave less than was known when they were invoked, each with what was: O(n log n).
pub(super) fn stale(known: impl Iterator<Item = Known>, reads: &[Looked]) -> Vec<(Looked, Known)> {
    let mut known: Vec<Known> = known.collect();
    known.sort_unstable();
    // From here on, each holds the greatest so far.
    for at in 1..known.len() {
        if known[at - 1].least > known[at].least {
            (known[at].least, known[at].how) = (known[at - 1].least, known[at - 1].how);
        }
    }
    let before = |read: &Looked| known[..known.partition_point(|known| known.at_ns < read.invoked_ns)].last().copied();
    let judged = reads.iter().filter_map(|read| Some((*read, before(read)?)));
    judged.filter(|(read, known)| known.least > read.offset).collect()
}
