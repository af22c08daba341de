//! Ways to spoil a history.

use quorate_faulty_vfs::SplitMix64;

use super::generate::{GROUP, MEMBER, NEVER_POLLED, PARTITION, POLLED_FROM, UNKNOWN_AT};
use crate::history::{Call, Digest, Operation, Outcome, Read, ReplicaLog, Value};

/// A history to spoil.
pub(super) struct History {
    pub(super) operations: Vec<Operation>,
    random: SplitMix64,
}

/// A send whose record was drained.
#[derive(Clone, Copy, Debug)]
struct Sent {
    /// Of its operation.
    at: usize,
    value: Value,
    offset: u64,
    acknowledged: bool,
    /// Whether its offset was its condition.
    conditional: bool,
    invoked_ns: u64,
    completed_ns: u64,
}

impl History {
    pub(super) fn new(operations: Vec<Operation>, seed: u64) -> Self {
        Self { operations, random: SplitMix64::stream(seed, 1) }
    }

    fn drain(&mut self) -> &mut Vec<Read> {
        let drains = self.operations.iter_mut().filter_map(|operation| match &mut operation.call {
            Call::Drain { outcome: Outcome::Ok(reads) } => Some(reads),
            _ => None,
        });
        drains.last().unwrap()
    }

    fn replica(&mut self) -> &mut Outcome<ReplicaLog> {
        let node = 1 + self.random.below(2);
        let replicas = self.operations.iter_mut().filter_map(|operation| match &mut operation.call {
            Call::Replica { node: of, outcome } if *of == node => Some(outcome),
            _ => None,
        });
        replicas.last().unwrap()
    }

    fn log(&mut self) -> &mut ReplicaLog {
        match self.replica() {
            Outcome::Ok(log) => log,
            other => panic!("{other:?}"),
        }
    }

    fn pick<T>(&mut self, candidates: Vec<T>) -> T {
        assert!(!candidates.is_empty(), "the history has nothing of the kind");
        let at = self.random.below(candidates.len() as u64) as usize;
        candidates.into_iter().nth(at).unwrap()
    }

    /// By offset.
    fn sent(&mut self) -> Vec<Sent> {
        let drained = self.drain().clone();
        let find = |(offset, value): Read| {
            let value = value.unwrap();
            let is_it = |operation: &Operation| {
                operation.process == value.process
                    && matches!(&operation.call, Call::Send { number, .. } | Call::Append { number, .. } if *number == value.number)
            };
            let at = self.operations.iter().position(is_it).unwrap();
            let Operation { invoked_ns, completed_ns, ref call, .. } = self.operations[at];
            let (acknowledged, conditional) = match call {
                Call::Send { outcome, .. } => (outcome.ok().is_some(), false),
                Call::Append { outcome, .. } => (outcome.ok().is_some(), true),
                other => panic!("{other:?}"),
            };
            Sent { at, value, offset, acknowledged, conditional, invoked_ns, completed_ns }
        };
        drained.into_iter().map(find).collect()
    }

    fn set_outcome(&mut self, sent: Sent, new: Outcome<u64>) {
        match &mut self.operations[sent.at].call {
            Call::Send { outcome, .. } | Call::Append { outcome, .. } => *outcome = new,
            other => panic!("{other:?}"),
        }
    }

    fn reads(&mut self) -> impl Iterator<Item = &mut Read> {
        self.operations.iter_mut().flat_map(|operation| match &mut operation.call {
            Call::Poll { outcome: Outcome::Ok(reads) } | Call::Drain { outcome: Outcome::Ok(reads) } => {
                reads.iter_mut()
            }
            _ => [].iter_mut(),
        })
    }

    /// Each stands where the other stood, wherever they were read and acknowledged.
    fn swap_records(&mut self, one: Sent, two: Sent) {
        for (offset, value) in self.reads() {
            if *offset == one.offset {
                *value = Some(two.value);
            } else if *offset == two.offset {
                *value = Some(one.value);
            }
        }
        self.set_outcome(one, Outcome::Ok(two.offset));
        self.set_outcome(two, Outcome::Ok(one.offset));
    }

    /// Acknowledged sends at offsets that follow each other.
    fn neighbours(&mut self) -> Vec<(Sent, Sent)> {
        let sent = self.sent();
        let pairs = sent.windows(2).map(|pair| (pair[0], pair[1]));
        pairs.filter(|(one, two)| [one, two].iter().all(|sent| sent.acknowledged && !sent.conditional)).collect()
    }

    pub(super) fn lose_an_acknowledged_record_nobody_polled(&mut self) {
        let offset = if self.random.chance(1, 2) { UNKNOWN_AT - 1 } else { UNKNOWN_AT + 1 };
        self.drain().retain(|(of, _)| *of != offset);
    }

    pub(super) fn lose_an_acknowledged_record_beyond_all_polls(&mut self) {
        let back = self.random.below(NEVER_POLLED) as usize;
        let at = self.drain().len() - 1 - back;
        self.drain().remove(at);
    }

    pub(super) fn append_a_record_again(&mut self) {
        let sent = self.sent().into_iter().filter(|sent| !sent.conditional).collect();
        let value = self.pick(sent).value;
        let end = self.drain().len() as u64;
        self.drain().push((end, Some(value)));
    }

    pub(super) fn put_a_second_value_at_an_offset(&mut self) {
        let unknown = self.sent().into_iter().filter(|sent| !sent.acknowledged).collect();
        let Sent { at, offset, .. } = self.pick(unknown);
        // Another producer's, sent at the same time, of which nobody knows either.
        let mut other = self.operations[at].clone();
        let value = Value { process: 50, number: 1 };
        other.process = value.process;
        other.call = Call::Send { number: value.number, outcome: Outcome::Info("no answer".to_owned()) };
        self.operations.push(other);
        self.drain().push((offset, Some(value)));
    }

    pub(super) fn call_a_drained_write_failed(&mut self) {
        let unknown = self.sent().into_iter().filter(|sent| !sent.acknowledged).collect();
        let sent = self.pick(unknown);
        self.set_outcome(sent, Outcome::Fail("refused".to_owned()));
    }

    pub(super) fn replace_an_unpolled_value(&mut self, value: Option<Value>) {
        self.drain()[UNKNOWN_AT as usize].1 = value;
    }

    /// Positions of polls that follow a poll of the same consumer, and are followed by another.
    fn inner_polls(&self) -> Vec<usize> {
        let of = |consumer: u32| {
            let polls: Vec<_> = (self.operations.iter().enumerate())
                .filter(|(_, operation)| operation.process == consumer)
                .map(|(at, operation)| (at, matches!(operation.call, Call::Poll { .. })))
                .collect();
            let inner = |window: &[(usize, bool)]| window.iter().all(|(_, poll)| *poll).then_some(window[1].0);
            polls.windows(3).filter_map(inner).collect::<Vec<_>>()
        };
        [of(100), of(101)].concat()
    }

    pub(super) fn repeat_a_poll(&mut self) {
        let at = self.pick(self.inner_polls());
        let again = self.operations[at].clone();
        self.operations.insert(at + 1, again);
        // The repeated one goes back, and what follows it does not.
    }

    pub(super) fn leave_a_poll_out(&mut self) {
        let at = self.pick(self.inner_polls());
        self.operations.remove(at);
    }

    pub(super) fn break_a_poll(&mut self, expected: u64, found: u64) {
        let at = self.pick(self.inner_polls());
        // A third consumer, which stands where the first one does.
        let mut broken = self.operations[at].clone();
        broken.process = 102;
        broken.call = Call::BrokenPoll { expected: POLLED_FROM + expected, found: POLLED_FROM + found };
        self.operations.insert(at, broken);
    }

    pub(super) fn swap_two_sends_of_a_producer(&mut self) {
        let overlapping =
            |(one, two): &(Sent, Sent)| one.value.process == two.value.process && one.completed_ns >= two.invoked_ns;
        let pairs = self.neighbours().into_iter().filter(overlapping).collect();
        let (one, two) = self.pick(pairs);
        self.swap_records(one, two);
    }

    pub(super) fn swap_two_sends_one_of_which_came_later(&mut self) {
        // An end offset or a poll in between would be wrong as well.
        let looked_between = |history: &Self, one: &Sent, two: &Sent| {
            history.operations.iter().any(|operation| {
                matches!(operation.call, Call::EndOffset { .. } | Call::Poll { .. })
                    && operation.completed_ns >= one.invoked_ns
                    && operation.invoked_ns <= two.completed_ns
            })
        };
        let pairs = self.neighbours().into_iter().filter(|(one, two)| {
            one.value.process != two.value.process
                && one.completed_ns < two.invoked_ns
                && !looked_between(self, one, two)
        });
        let pairs = pairs.collect();
        let (one, two) = self.pick(pairs);
        self.swap_records(one, two);
    }

    pub(super) fn give_an_old_end_offset(&mut self) {
        let ends = (self.operations.iter().enumerate())
            .filter(|(_, operation)| matches!(operation.call, Call::EndOffset { .. }))
            .map(|(at, operation)| (at, operation.invoked_ns));
        let ends = ends.collect();
        let (at, invoked_ns) = self.pick(ends);
        let acknowledged = |sent: &Sent| sent.acknowledged && sent.completed_ns < invoked_ns;
        let offset = self.sent().into_iter().filter(acknowledged).map(|sent| sent.offset).max().unwrap();
        self.operations[at].call = Call::EndOffset { outcome: Outcome::Ok(offset) };
    }

    pub(super) fn lose_an_unknown_record_that_was_polled(&mut self) {
        let polled: Vec<u64> = self
            .operations
            .iter()
            .flat_map(|operation| match &operation.call {
                Call::Poll { outcome: Outcome::Ok(reads) } => reads.iter().map(|(offset, _)| *offset).collect(),
                _ => Vec::new(),
            })
            .collect();
        let unknown = self.sent().into_iter().filter(|sent| !sent.acknowledged && polled.contains(&sent.offset));
        let unknown = unknown.collect();
        let lost = self.pick(unknown).offset;
        self.drain().retain(|(offset, _)| *offset != lost);
    }

    pub(super) fn swap_two_acknowledgements(&mut self) {
        let overlapping =
            |(one, two): &(Sent, Sent)| one.value.process != two.value.process && one.completed_ns >= two.invoked_ns;
        let pairs = self.neighbours().into_iter().filter(overlapping).collect();
        let (one, two) = self.pick(pairs);
        self.set_outcome(one, Outcome::Ok(two.offset));
        self.set_outcome(two, Outcome::Ok(one.offset));
    }

    pub(super) fn append_beside_the_condition(&mut self) {
        let conditional = self.sent().into_iter().filter(|sent| sent.conditional).collect();
        let at = self.pick(conditional).at;
        match &mut self.operations[at].call {
            Call::Append { expected, .. } => *expected += 1,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn take_a_commit_back(&mut self) {
        let committed: Vec<(usize, u64)> = (self.operations.iter().enumerate())
            .filter_map(|(at, operation)| match operation.call {
                Call::Committed { outcome: Outcome::Ok(Some(offset)), .. } => Some((at, offset)),
                _ => None,
            })
            .filter(|(_, offset)| *offset > POLLED_FROM)
            .collect();
        let (at, offset) = self.pick(committed);
        let older = self.random.chance(1, 2).then_some(offset - 1);
        self.operations[at].call = Call::Committed { group: GROUP, outcome: Outcome::Ok(older) };
    }

    /// A member is given the partition behind what the one before it has read.
    pub(super) fn withhold_records_from_a_group(&mut self) {
        let polls: Vec<(usize, Vec<u64>)> = (self.operations.iter().enumerate())
            .filter_map(|(at, operation)| match &operation.call {
                Call::Poll { outcome: Outcome::Ok(reads) } if operation.process == MEMBER => {
                    Some((at, reads.iter().map(|(offset, _)| *offset).collect()))
                }
                _ => None,
            })
            .collect();
        let committed = self.operations.iter().filter_map(|operation| match operation.call {
            Call::Commit { offset, .. } => Some(offset),
            _ => None,
        });
        let come_to = committed.max().unwrap();
        let withheld = |(at, offsets): &&(usize, Vec<u64>)| {
            let again = |other: &&(usize, Vec<u64>)| other.0 != *at && other.1.iter().any(|of| offsets.contains(of));
            offsets[0] > POLLED_FROM && offsets[0] < come_to && !polls.iter().any(|other| again(&other))
        };
        let candidates = polls.iter().filter(withheld).map(|(at, _)| *at).collect();
        let at = self.pick(candidates);
        self.operations[at].call = Call::Assigned { group: GROUP };
    }

    /// Nodes 1 and 2 give readers what the drain was given, but for what is done to that of node 2.
    pub(super) fn read_replicas(&mut self, spoil: impl FnOnce(&mut Vec<Read>, usize)) {
        let drained = self.drain().clone();
        let at = self.random.below(drained.len() as u64) as usize;
        let mut spoiled = drained.clone();
        spoil(&mut spoiled, at);
        for (node, reads) in [(1, drained), (2, spoiled)] {
            let last = self.operations.last().unwrap().clone();
            let outcome = Outcome::Ok(Digest::of(&reads));
            self.operations.push(Operation { call: Call::DrainOfNode { node, outcome }, ..last });
        }
    }

    /// Records are to be deleted before the drain; if they are, it does not return them, and node 1 has given them up.
    pub(super) fn trim(&mut self, before: u64, outcome: Outcome<u64>, is_done: bool) {
        let at = self.operations.iter().position(|operation| matches!(operation.call, Call::Drain { .. })).unwrap();
        let now = self.operations[at].invoked_ns - 500;
        self.operations.insert(at, trim_at(now, Call::Trim { before, outcome }));
        if !is_done {
            return;
        }
        self.drain().retain(|(offset, _)| *offset >= before);
        for operation in &mut self.operations {
            if let Call::Replica { node: 1, outcome: Outcome::Ok(log) } = &mut operation.call {
                log.retain(|entry| entry.end_offset > before);
            }
        }
    }

    /// All records are deleted before the drain, and no replica has given up its entries yet.
    pub(super) fn delete_all(&mut self) {
        let end = self.drain().last().unwrap().0 + 1;
        self.trim(end, Outcome::Ok(end), false);
        self.drain().clear();
    }

    /// In the end, a consumer is told that what it was to read next is deleted.
    pub(super) fn tell_deleted(&mut self, log_start: u64) {
        let now = self.operations.last().unwrap().completed_ns;
        self.operations.push(trim_at(now, Call::Deleted { offset: 0, log_start }));
    }

    pub(super) fn alter_a_replicas_entry(&mut self) {
        let at = self.random.below(1_000) as usize;
        let term_too = self.random.chance(1, 2);
        let entry = &mut self.log()[at];
        if term_too {
            entry.term += 1;
        } else {
            entry.hash ^= 1;
        }
    }

    pub(super) fn leave_out_a_replicas_entry(&mut self) {
        let at = self.random.below(1_000) as usize;
        self.log().remove(at);
    }

    pub(super) fn lose_a_replicas_log(&mut self) {
        assert!(self.operations.iter().all(|operation| operation.partition == PARTITION));
        *self.replica() = Outcome::Fail("refused".to_owned());
    }
}

fn trim_at(now: u64, call: Call) -> Operation {
    Operation { process: 410, partition: PARTITION, invoked_ns: now, completed_ns: now + 1, call }
}
