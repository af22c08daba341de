//! Where the processes of a run write down what they do.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use super::{Call, Operation, Outcome, PartitionKey};

/// Operations and records read that a history holds at most: some 2 GiB. A run ends its faults when they are reached.
const ENTRIES_MAX: usize = 40_000_000;

/// The history so far.
#[derive(Debug)]
pub struct Recorder {
    began: Instant,
    history: Mutex<History>,
}

#[derive(Debug, Default)]
struct History {
    operations: Vec<Operation>,
    entries: usize,
    acknowledged: BTreeMap<PartitionKey, u64>,
}

impl Recorder {
    /// An empty history that begins now.
    #[must_use]
    pub fn new() -> Self {
        Self { began: Instant::now(), history: Mutex::default() }
    }

    /// Nanoseconds since it began.
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Adds an operation that ends now.
    pub fn record(&self, process: u32, partition: PartitionKey, invoked_ns: u64, call: Call) {
        let completed_ns = self.now_ns();
        let reads = match &call {
            Call::Poll { outcome: Outcome::Ok(reads) } | Call::Drain { outcome: Outcome::Ok(reads) } => reads.len(),
            _ => 0,
        };
        let mut history = self.history();
        if call.acknowledged().is_some() {
            *history.acknowledged.entry(partition).or_default() += 1;
        }
        history.entries += 1 + reads;
        history.operations.push(Operation { process, partition, invoked_ns, completed_ns, call });
    }

    /// Acknowledged sends so far, by partition.
    #[must_use]
    pub fn acknowledged(&self) -> BTreeMap<PartitionKey, u64> {
        self.history().acknowledged.clone()
    }

    /// Whether it holds all it may.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.history().entries >= ENTRIES_MAX
    }

    /// All operations so far, in the order of their ends. The recorder is empty after that.
    #[must_use]
    pub fn take(&self) -> Vec<Operation> {
        std::mem::take(&mut *self.history()).operations
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Recorder {
    fn default() -> Self {
        Self::new()
    }
}
