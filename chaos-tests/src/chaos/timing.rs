//! How long nothing was acknowledged.

use std::{collections::BTreeMap, time::Duration};

use crate::history::{Call, Operation, PartitionKey};

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
    use crate::history::Outcome;

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
}
