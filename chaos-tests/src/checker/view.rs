//! The history of one partition, arranged for the checks.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::linear::Looked;
use crate::history::{Call, Digest, LogEntry, Operation, Outcome, PartitionKey, Read, Value};

/// Operations of one partition. Of the drain only a finished one counts.
#[derive(Debug)]
pub(super) struct View<'a> {
    pub(super) partition: PartitionKey,
    /// By value.
    pub(super) sends: BTreeMap<Value, Send<'a>>,
    /// By consumer, in the order of their ends.
    pub(super) polls: BTreeMap<u32, Vec<&'a Operation>>,
    pub(super) ends: Vec<Looked>,
    /// By number.
    pub(super) groups: BTreeMap<u32, Group>,
    pub(super) trims: Vec<Trim>,
    /// What consumers were told is deleted.
    pub(super) deleted: Vec<Deleted>,
    /// In the order of offsets.
    pub(super) drain: Option<&'a [Read]>,
    /// By node.
    pub(super) drains_of_nodes: BTreeMap<u64, Digest>,
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
    /// The only offset it may have.
    pub(super) expected: Option<u64>,
}

/// A trim that was done, or may have been.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trim {
    pub(super) invoked_ns: u64,
    pub(super) completed_ns: u64,
    pub(super) before: u64,
    /// The first offset left, if it is known to be done.
    pub(super) done: Option<u64>,
}

/// Something said of the first offset that is left, and when that was.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deleted {
    pub(super) completed_ns: u64,
    pub(super) log_start: u64,
}

/// What is known of a consumer group.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// Processes that were given the partition.
    pub(super) members: BTreeSet<u32>,
    /// Commits that were done: when that was known, and the offset.
    pub(super) commits: Vec<(u64, u64)>,
    /// Linearizable reads of what is committed.
    pub(super) reads: Vec<Looked>,
}

impl<'a> View<'a> {
    pub(super) fn new(partition: PartitionKey, operations: &[&'a Operation]) -> Self {
        let mut view = Self {
            partition,
            sends: BTreeMap::new(),
            polls: BTreeMap::new(),
            ends: Vec::new(),
            groups: BTreeMap::new(),
            trims: Vec::new(),
            deleted: Vec::new(),
            drain: None,
            drains_of_nodes: BTreeMap::new(),
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
                self.sends.insert(value, Send { invoked_ns, completed_ns, outcome, expected: None });
            }
            Call::Append { number, expected, outcome } => {
                let value = Value { process, number: *number };
                self.sends.insert(value, Send { invoked_ns, completed_ns, outcome, expected: Some(*expected) });
            }
            Call::Assigned { group } => {
                self.groups.entry(*group).or_default().members.insert(process);
                self.polls.entry(process).or_default().push(operation);
            }
            Call::Commit { group, offset, outcome: Outcome::Ok(()) } => {
                self.groups.entry(*group).or_default().commits.push((completed_ns, *offset));
            }
            Call::Committed { group, outcome: Outcome::Ok(committed) } => {
                let offset = committed.unwrap_or_default();
                self.groups.entry(*group).or_default().reads.push(Looked { invoked_ns, completed_ns, offset });
            }
            Call::Poll { outcome: Outcome::Ok(_) } | Call::BrokenPoll { .. } | Call::Seek { .. } => {
                self.polls.entry(process).or_default().push(operation);
            }
            Call::EndOffset { outcome: Outcome::Ok(offset) } => {
                self.ends.push(Looked { invoked_ns, completed_ns, offset: *offset });
            }
            Call::Trim { outcome: Outcome::Fail(_), .. } => {}
            Call::Trim { before, outcome } => {
                self.trims.push(Trim { invoked_ns, completed_ns, before: *before, done: outcome.ok().copied() });
            }
            Call::Deleted { log_start, .. } => self.deleted.push(Deleted { completed_ns, log_start: *log_start }),
            Call::Drain { outcome: Outcome::Ok(reads) } => self.drain = Some(reads),
            Call::DrainOfNode { node, outcome: Outcome::Ok(read) } => _ = self.drains_of_nodes.insert(*node, *read),
            Call::Replica { node, outcome } => {
                let log = match outcome {
                    Outcome::Ok(log) => Ok(log.as_slice()),
                    Outcome::Fail(why) => Err(why.as_str()),
                    // Nothing is known of it.
                    Outcome::Info(_) => return,
                };
                self.replicas.insert(*node, log);
            }
            Call::Poll { .. }
            | Call::EndOffset { .. }
            | Call::Drain { .. }
            | Call::DrainOfNode { .. }
            | Call::Commit { .. }
            | Call::Committed { .. } => {}
        }
    }

    /// Acknowledged sends with their offsets, by value.
    pub(super) fn acknowledged(&self) -> impl Iterator<Item = (Value, &Send<'a>, u64)> {
        self.sends.iter().filter_map(|(value, send)| Some((*value, send, *send.outcome.ok()?)))
    }

    /// One after the last offset known to be committed, since it was acknowledged or read; what is deleted counts, too.
    pub(super) fn known_end(&self) -> u64 {
        let acknowledged = self.acknowledged().map(|(_, _, offset)| offset);
        let drained = self.drain.and_then(|drain| drain.last()).map(|(offset, _)| *offset);
        acknowledged.chain(drained).chain(self.polled_max).max().map_or(0, |last| last + 1)
    }

    /// Nothing from this offset on was to be deleted by then.
    pub(super) fn kept_from(&self, by_ns: u64) -> u64 {
        let asked = self.trims.iter().filter(|trim| trim.invoked_ns <= by_ns);
        asked.map(|trim| trim.before).max().unwrap_or_default()
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
