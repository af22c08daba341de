//! The history of one partition, arranged for the checks.

use std::collections::{BTreeMap, HashMap};

use crate::history::{Call, LogEntry, Operation, Outcome, PartitionKey, Read, Value};

/// Operations of one partition. Of the drain only a finished one counts.
#[derive(Debug)]
pub(super) struct View<'a> {
    pub(super) partition: PartitionKey,
    /// By value.
    pub(super) sends: BTreeMap<Value, Send<'a>>,
    /// By consumer, in the order of their ends.
    pub(super) polls: BTreeMap<u32, Vec<&'a Operation>>,
    pub(super) ends: Vec<End>,
    /// In the order of offsets.
    pub(super) drain: Option<&'a [Read]>,
    /// By node; a log that could not be read says why.
    pub(super) replicas: BTreeMap<u64, Result<&'a [LogEntry], &'a str>>,
    /// The values that were drained and where.
    pub(super) drained: HashMap<Value, u64>,
    /// The greatest offset polled.
    pub(super) polled_max: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Send<'a> {
    pub(super) invoked_ns: u64,
    pub(super) completed_ns: u64,
    pub(super) outcome: &'a Outcome<u64>,
}

/// A linearizable end offset.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    pub(super) invoked_ns: u64,
    pub(super) completed_ns: u64,
    pub(super) offset: u64,
}

impl<'a> View<'a> {
    pub(super) fn new(partition: PartitionKey, operations: &[&'a Operation]) -> Self {
        let mut view = Self {
            partition,
            sends: BTreeMap::new(),
            polls: BTreeMap::new(),
            ends: Vec::new(),
            drain: None,
            replicas: BTreeMap::new(),
            drained: HashMap::new(),
            polled_max: None,
        };
        for operation in operations {
            view.add(operation);
        }
        let drained = view.drain.into_iter().flatten();
        view.drained = drained.filter_map(|(offset, value)| Some(((*value)?, *offset))).collect();
        view.polled_max = view.polled().map(|(offset, _)| *offset).max();
        view
    }

    fn add(&mut self, operation: &'a Operation) {
        let Operation { process, invoked_ns, completed_ns, .. } = *operation;
        match &operation.call {
            Call::Send { number, outcome } => {
                let value = Value { process, number: *number };
                self.sends.insert(value, Send { invoked_ns, completed_ns, outcome });
            }
            Call::Poll { outcome: Outcome::Ok(_) } | Call::BrokenPoll { .. } | Call::Seek { .. } => {
                self.polls.entry(process).or_default().push(operation);
            }
            Call::EndOffset { outcome: Outcome::Ok(offset) } => {
                self.ends.push(End { invoked_ns, completed_ns, offset: *offset });
            }
            Call::Drain { outcome: Outcome::Ok(reads) } => self.drain = Some(reads),
            Call::Replica { node, outcome } => {
                let log = match outcome {
                    Outcome::Ok(log) => Ok(log.as_slice()),
                    Outcome::Fail(why) | Outcome::Info(why) => Err(why.as_str()),
                };
                self.replicas.insert(*node, log);
            }
            Call::Poll { .. } | Call::EndOffset { .. } | Call::Drain { .. } => {}
        }
    }

    /// Acknowledged sends with their offsets, by value.
    pub(super) fn acknowledged(&self) -> impl Iterator<Item = (Value, &Send<'a>, u64)> {
        self.sends.iter().filter_map(|(value, send)| Some((*value, send, *send.outcome.ok()?)))
    }

    /// Every record polled.
    pub(super) fn polled(&self) -> impl Iterator<Item = &'a Read> {
        self.polled_with_times().map(|(read, _)| read)
    }

    /// Every record polled, and when that was.
    pub(super) fn polled_with_times(&self) -> impl Iterator<Item = (&'a Read, u64)> {
        self.polls.values().flatten().flat_map(|operation| match &operation.call {
            Call::Poll { outcome: Outcome::Ok(reads) } => {
                reads.iter().map(|read| (read, operation.completed_ns)).collect::<Vec<_>>()
            }
            _ => Vec::new(),
        })
    }

    /// Every record read by anyone.
    pub(super) fn read(&self) -> impl Iterator<Item = &'a Read> {
        self.polled().chain(self.drain.into_iter().flatten())
    }
}
