//! How long nothing was acknowledged, and how long it took where it was.

use std::{collections::BTreeMap, ops::Range, time::Duration};

use serde::Serialize;

use super::nemesis::{Entry, State};
use crate::history::{Call, Operation, PartitionKey};

/// After a fault the cluster needs a while to be as before.
const UNQUIET_NS: u64 = 2_000_000_000;

/// How long acknowledged sends took: of a hundred, the second slowest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Latencies {
    /// Of those sent while there was no fault, and there had been none for two seconds.
    #[serde(serialize_with = "super::verdict::seconds::serialize")]
    pub calm_p99: Duration,
    /// Of those sent while there was one.
    #[serde(serialize_with = "super::verdict::seconds::serialize")]
    pub faults_p99: Duration,
}

/// How long sends took in a run with this journal.
pub(super) fn latencies(history: &[Operation], journal: &[Entry]) -> Latencies {
    // One that could not be installed at first may come again under its number.
    let healed = |at: usize| {
        let mut later = journal[at..].iter();
        let end = later.find(|entry| entry.fault == journal[at].fault && entry.state == State::Healed);
        end.map_or(u64::MAX, |entry| entry.at_ns)
    };
    let in_force = |at: &usize| matches!(journal[*at].state, State::Installed | State::Indeterminate);
    let faults: Vec<(u64, u64)> =
        (0..journal.len()).filter(in_force).map(|at| (journal[at].at_ns, healed(at))).collect();
    let (mut calm, mut under_faults) = (Vec::new(), Vec::new());
    for operation in history.iter().filter(|operation| operation.call.acknowledged().is_some()) {
        let (sent, took) = (operation.invoked_ns, operation.completed_ns - operation.invoked_ns);
        if faults.iter().any(|(from, to)| (*from..*to).contains(&sent)) {
            under_faults.push(took);
        } else if !faults.iter().any(|(from, to)| (*from..to.saturating_add(UNQUIET_NS)).contains(&sent)) {
            calm.push(took);
        }
    }
    Latencies { calm_p99: p99(calm), faults_p99: p99(under_faults) }
}

/// How long acknowledged sends took that were sent then (of a hundred, the second slowest), and how many there were.
pub(super) fn p99_between(history: &[Operation], sent: Range<u64>) -> (Duration, usize) {
    let of_then = history.iter().filter(|operation| operation.call.acknowledged().is_some());
    let of_then = of_then.filter(|operation| sent.contains(&operation.invoked_ns));
    let times: Vec<u64> = of_then.map(|operation| operation.completed_ns - operation.invoked_ns).collect();
    let count = times.len();
    (p99(times), count)
}

fn p99(mut times: Vec<u64>) -> Duration {
    times.sort_unstable();
    let rank = (times.len() * 99).div_ceil(100);
    Duration::from_nanos(rank.checked_sub(1).map_or(0, |at| times[at]))
}

/// The longest time without an acknowledged write on any partition, and on the partition that waited longest, while
/// producers were at work: between the first and the last invocation of a send.
pub(super) fn longest_gaps(history: &[Operation]) -> (Duration, Duration) {
    let sends = history.iter().filter(|operation| matches!(operation.call, Call::Send { .. } | Call::Append { .. }));
    let invoked: Vec<u64> = sends.clone().map(|operation| operation.invoked_ns).collect();
    let (Some(first), Some(last)) = (invoked.iter().min(), invoked.iter().max()) else {
        return Default::default();
    };
    let mut all = vec![*first, *last];
    let mut by_partition: BTreeMap<PartitionKey, Vec<u64>> = BTreeMap::new();
    for operation in sends {
        let times = by_partition.entry(operation.partition).or_insert_with(|| vec![*first, *last]);
        if operation.call.acknowledged().is_some() && operation.completed_ns <= *last {
            times.push(operation.completed_ns);
            all.push(operation.completed_ns);
        }
    }
    let of_partitions = by_partition.into_values().map(gap).max().unwrap_or_default();
    (gap(all), of_partitions)
}

fn gap(mut times: Vec<u64>) -> Duration {
    times.sort_unstable();
    Duration::from_nanos(times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        chaos::nemesis::{NemesisKind, Role},
        history::Outcome,
    };

    fn send(index: u32, invoked_ns: u64, completed_ns: u64, acknowledged: bool) -> Operation {
        let outcome = if acknowledged { Outcome::Ok(1) } else { Outcome::Info(String::new()) };
        let call = Call::Send { number: 0, outcome };
        Operation { process: 0, partition: PartitionKey { topic: 0, index }, invoked_ns, completed_ns, call }
    }

    #[test]
    fn a_gap_lasts_from_one_acknowledgement_to_the_next() {
        let history = [
            send(0, 0, 10, true),
            send(1, 10, 50, true),
            // Nobody knows: no acknowledgement.
            send(1, 20, 60, false),
            send(0, 30, 70, true),
            send(1, 100, 110, true),
        ];
        assert_eq!(longest_gaps(&history), (Duration::from_nanos(40), Duration::from_nanos(60)));
        assert_eq!(longest_gaps(&[]), Default::default());
    }

    #[test]
    fn sends_are_told_apart_by_whether_there_was_a_fault() {
        let entry = |at_ns, state| Entry {
            at_ns,
            fault: 1,
            kind: NemesisKind::Kill,
            role: Role::All,
            state,
            detail: String::new(),
        };
        let journal = [entry(100, State::Installed), entry(200, State::Healed)];
        let history = [
            send(0, 0, 5, true),
            send(0, 150, 250, true),
            send(0, 160, 900, false),
            // Not quiet yet.
            send(0, 300, 999, true),
            send(0, 200 + UNQUIET_NS, 207 + UNQUIET_NS, true),
        ];
        let expected = Latencies { calm_p99: Duration::from_nanos(7), faults_p99: Duration::from_nanos(100) };
        assert_eq!(latencies(&history, &journal), expected);
        assert_eq!(latencies(&[], &[]), Latencies::default());
    }

    #[test]
    fn of_a_hundred_times_one_is_longer() {
        assert_eq!(p99((1..=100).rev().collect()), Duration::from_nanos(99));
        assert_eq!(p99(vec![7]), Duration::from_nanos(7));
        assert_eq!(p99(Vec::new()), Duration::ZERO);
    }
}
