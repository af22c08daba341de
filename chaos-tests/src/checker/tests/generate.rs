//! Histories that are in order, for mutations to spoil.

use quorate_faulty_vfs::SplitMix64;

use crate::history::{Call, LogEntry, Operation, Outcome, PartitionKey, Read, Value};

pub(super) const PARTITION: PartitionKey = PartitionKey { topic: 0, index: 0 };
/// Nobody polls offsets below this one.
pub(super) const POLLED_FROM: u64 = 6;
/// Nor the last so many.
pub(super) const NEVER_POLLED: u64 = 4;
/// The write at this offset is unknown to its producer.
pub(super) const UNKNOWN_AT: u64 = 2;
const SENDS: u64 = 1_500;
const PRODUCERS: u64 = 3;
const CONSUMERS: [u32; 2] = [100, 101];
pub(super) const MEMBER: u32 = 500;
pub(super) const GROUP: u32 = 3;

/// A simulated partition: writes take their offsets when they are invoked, and are committed at once.
struct Simulation {
    random: SplitMix64,
    now: u64,
    log: Vec<Read>,
    history: Vec<Operation>,
    numbers: [u64; PRODUCERS as usize],
    positions: [u64; CONSUMERS.len()],
    /// Where the member of the group stands, and what it has committed.
    group: (u64, u64),
}

/// A history of one partition without any anomaly: overlapping sends of several producers of which some fail and some
/// are unknown, consumers that seek, end offsets, a drain, and three replicas with unsettled tails.
pub(super) fn clean(seed: u64) -> Vec<Operation> {
    let mut simulation = Simulation {
        random: SplitMix64::new(seed),
        now: 0,
        log: Vec::new(),
        history: Vec::new(),
        numbers: [0; PRODUCERS as usize],
        positions: [POLLED_FROM; CONSUMERS.len()],
        group: (POLLED_FROM, 0),
    };
    simulation.add(MEMBER, 1, Call::Assigned { group: GROUP });
    for at in 0..SENDS {
        simulation.now += 1 + simulation.random.below(10);
        let early_or_late = at <= POLLED_FROM || at + NEVER_POLLED >= SENDS;
        simulation.send(early_or_late.then_some(at != UNKNOWN_AT));
        if early_or_late {
            continue;
        }
        match simulation.random.below(10) {
            0 => simulation.poll(0),
            1 => simulation.poll(1),
            2 => simulation.end_offset(),
            4 => simulation.group_poll(),
            5 => simulation.committed(),
            // Everything on its way arrives: what is sent now is later in real time.
            3 => simulation.now += 100,
            _ => {}
        }
    }
    simulation.finish()
}

impl Simulation {
    /// `fate` is whether it is acknowledged or unknown; else chance decides, and it may fail as well.
    fn send(&mut self, fate: Option<bool>) {
        let process = self.random.below(PRODUCERS);
        let number = &mut self.numbers[process as usize];
        *number += 1 + self.random.below(2);
        let value = Value { process: process as u32, number: *number };
        let offset = self.log.len() as u64;
        let (outcome, appended) = match (fate, self.random.below(20)) {
            (Some(false), _) | (None, 0 | 1) => (Outcome::Info("no answer".to_owned()), true),
            (None, 2) => (Outcome::Info("no answer".to_owned()), false),
            (None, 3) => (Outcome::Fail("refused".to_owned()), false),
            _ => (Outcome::Ok(offset), true),
        };
        if appended {
            self.log.push((offset, Some(value)));
        }
        let took = 1 + self.random.below(60);
        let number = value.number;
        let call = match self.random.chance(1, 10) {
            true => Call::Append { number, expected: offset, outcome },
            false => Call::Send { number, outcome },
        };
        self.add(value.process, took, call);
    }

    fn poll(&mut self, consumer: usize) {
        let end = (self.log.len() as u64).max(POLLED_FROM);
        if self.random.chance(1, 10) {
            let offset = POLLED_FROM + self.random.below(end - POLLED_FROM + 1);
            self.positions[consumer] = offset;
            self.add(CONSUMERS[consumer], 1, Call::Seek { offset });
        }
        let from = self.positions[consumer];
        let to = end.min(from + 1 + self.random.below(30));
        if from < to {
            self.positions[consumer] = to;
            let reads = self.log[from as usize..to as usize].to_vec();
            self.add(CONSUMERS[consumer], 3, Call::Poll { outcome: Outcome::Ok(reads) });
        }
    }

    /// The member goes on reading, or begins anew where it has committed.
    fn group_poll(&mut self) {
        let (from, committed) = self.group;
        if self.random.chance(1, 5) && committed > 0 {
            self.add(MEMBER, 1, Call::Assigned { group: GROUP });
            self.group.0 = committed;
            return;
        }
        let to = (self.log.len() as u64).min(from + 1 + self.random.below(30));
        if from < to {
            let reads = self.log[from as usize..to as usize].to_vec();
            self.add(MEMBER, 3, Call::Poll { outcome: Outcome::Ok(reads) });
            self.group.0 = to;
        }
    }

    /// Somebody looks at what is committed, once all that was there has been committed.
    fn committed(&mut self) {
        let offset = self.group.0;
        self.now += 10;
        self.add(MEMBER, 5, Call::Commit { group: GROUP, offset, outcome: Outcome::Ok(()) });
        self.now += 10;
        self.add(201, 2, Call::Committed { group: GROUP, outcome: Outcome::Ok(Some(offset)) });
        self.group.1 = offset;
    }

    fn end_offset(&mut self) {
        let outcome = Outcome::Ok(self.log.len() as u64);
        self.add(200, 2, Call::EndOffset { outcome });
    }

    fn add(&mut self, process: u32, took: u64, call: Call) {
        let (invoked_ns, completed_ns) = (self.now, self.now + took);
        self.history.push(Operation { process, partition: PARTITION, invoked_ns, completed_ns, call });
    }

    fn finish(mut self) -> Vec<Operation> {
        self.now += 1_000;
        self.add(300, 10, Call::Drain { outcome: Outcome::Ok(self.log.clone()) });
        let mut entries = vec![LogEntry { index: 0, term: 1, end_offset: 0, hash: 9 }];
        let mut term = 1;
        for offset in 0..self.log.len() as u64 {
            if self.random.chance(1, 200) {
                term += 1;
                entries.push(LogEntry { index: entries.len() as u64, term, end_offset: offset, hash: 9 });
            }
            let hash = self.random.next_number();
            entries.push(LogEntry { index: entries.len() as u64, term, end_offset: offset + 1, hash });
        }
        for node in 1..=3 {
            let mut log = entries.clone();
            // The last of them is behind, the others have tails that were never settled.
            if node == 3 {
                log.truncate(log.len() - 7);
            } else {
                let (index, end_offset) = (log.len() as u64, self.log.len() as u64);
                log.push(LogEntry { index, term: term + node, end_offset, hash: 9 });
                log.push(LogEntry { index: index + 1, term: term + node, end_offset: end_offset + 5, hash: node });
            }
            self.add(400, 1, Call::Replica { node, outcome: Outcome::Ok(log) });
        }
        self.history
    }
}
