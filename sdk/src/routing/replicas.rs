//! Which replica answers a consumer that takes any.
//!
//! Pure: it knows no network, and time only as it is told.

use std::time::{Duration, Instant};

use quorate_cluster_config::NodeId;

use crate::topology::Located;

/// How long a replica that returns nothing is believed to have nothing. One that is cut off or catches up returns
/// nothing either, and holds its consumer back for this long.
const SILENCE_MAX: Duration = Duration::from_secs(3);
/// How long a replica is left alone after its first failure; each further one doubles it.
const AVOIDED_FOR: Duration = Duration::from_secs(5);
/// Doublings of [`AVOIDED_FOR`], at most: 5 minutes.
const DOUBLINGS_MAX: u32 = 6;

/// The choice of one consumer for one partition. Followers come before the leader, each consumer begins with another
/// one, and a replica that failed is left alone for a while.
#[derive(Debug)]
pub(crate) struct ReplicaChoice {
    /// Where in the ring of followers it begins.
    seed: usize,
    /// The only node that is asked.
    only: Option<NodeId>,
    avoided: Vec<Avoided>,
    /// The replica asked last, and since when it has returned nothing.
    current: Option<(NodeId, Option<Instant>)>,
}

#[derive(Debug)]
struct Avoided {
    node: NodeId,
    until: Instant,
    failures: u32,
}

impl ReplicaChoice {
    pub(crate) fn new() -> Self {
        Self::with_seed(rand::random_range(0..=usize::MAX / 2))
    }

    fn with_seed(seed: usize) -> Self {
        Self { seed, only: None, avoided: Vec::new(), current: None }
    }

    /// Asks no node but this one.
    pub(crate) fn only(node: NodeId) -> Self {
        Self { only: Some(node), ..Self::with_seed(0) }
    }

    /// The replica to ask now: a follower that is not avoided, else the leader, else the one that is avoided the
    /// shortest from now on. `None` if no replica is known.
    pub(crate) fn pick(&mut self, replicas: &[Located], now: Instant) -> Option<Located> {
        let only = self.only;
        let asked = || replicas.iter().filter(|replica| only.is_none_or(|only| only == replica.node));
        let leaders = asked().filter(|replica| replica.leads);
        let followers: Vec<_> = asked().filter(|replica| !replica.leads).collect();
        let begin = self.seed.checked_rem(followers.len()).unwrap_or(0);
        let ring = followers.iter().cycle().skip(begin).take(followers.len()).copied();
        let preferred: Vec<_> = ring.chain(leaders).collect();
        let free = preferred.iter().find(|replica| self.avoided_until(replica.node) <= Some(now));
        let picked = free.or_else(|| preferred.iter().min_by_key(|replica| self.avoided_until(replica.node)))?;
        if self.current.is_none_or(|(current, _)| current != picked.node) {
            self.current = Some((picked.node, None));
        }
        Some((*picked).clone())
    }

    /// The replica asked last returned records.
    pub(crate) fn answered(&mut self) {
        if let Some((current, empty_since)) = &mut self.current {
            *empty_since = None;
            self.avoided.retain(|avoided| avoided.node != *current);
        }
    }

    /// The replica asked last returned nothing.
    pub(crate) fn returned_nothing(&mut self, now: Instant) {
        let Some((_, empty_since)) = &mut self.current else { return };
        if now.saturating_duration_since(*empty_since.get_or_insert(now)) >= SILENCE_MAX {
            // Not counted as a failure: a partition to which nobody writes looks the same.
            self.leave(now, 0);
        }
    }

    /// The replica asked last failed, or is of no use.
    pub(crate) fn avoid_current(&mut self, now: Instant) {
        self.leave(now, 1);
    }

    fn leave(&mut self, now: Instant, failures: u32) {
        let Some((node, _)) = self.current.take() else { return };
        let before = self.avoided.iter().find(|avoided| avoided.node == node).map_or(0, |avoided| avoided.failures);
        self.avoided.retain(|avoided| avoided.node != node);
        let failures = before.saturating_add(failures);
        let doublings = failures.saturating_sub(1).min(DOUBLINGS_MAX);
        self.avoided.push(Avoided { node, until: now + AVOIDED_FOR * (1 << doublings), failures });
    }

    /// When the replica may be asked again; `None`, which is before any time, if it never failed.
    fn avoided_until(&self, node: NodeId) -> Option<Instant> {
        self.avoided.iter().find(|avoided| avoided.node == node).map(|avoided| avoided.until)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Nodes 1 to 3; node 1 leads.
    fn replicas() -> Vec<Located> {
        let located = |node| Located {
            node: NodeId(node),
            address: format!("127.0.0.1:{node}").parse().unwrap(),
            leads: node == 1,
        };
        (1..=3).map(located).collect()
    }

    fn pick(choice: &mut ReplicaChoice, now: Instant) -> u64 {
        choice.pick(&replicas(), now).unwrap().node.0
    }

    #[test]
    fn followers_come_first_and_consumers_are_spread_over_them() {
        let now = Instant::now();
        let picked: Vec<_> = (0..4).map(|seed| pick(&mut ReplicaChoice::with_seed(seed), now)).collect();
        assert_eq!(picked, [2, 3, 2, 3]);
        let random: BTreeSet<_> = (0..64).map(|_| pick(&mut ReplicaChoice::new(), now)).collect();
        assert_eq!(random, BTreeSet::from([2, 3]));
    }

    #[test]
    fn one_that_failed_is_left_for_the_next_and_the_leader_comes_last() {
        let (mut choice, now) = (ReplicaChoice::with_seed(0), Instant::now());
        let mut picked = Vec::new();
        for _ in 0..3 {
            picked.push(pick(&mut choice, now));
            choice.avoid_current(now);
        }
        assert_eq!(picked, [2, 3, 1]);
        assert_eq!(pick(&mut choice, now), 2, "with all avoided, it is the one that failed first");
    }

    #[test]
    fn one_that_failed_is_tried_again_ever_more_rarely_until_it_answers() {
        let (mut choice, mut now) = (ReplicaChoice::with_seed(0), Instant::now());
        for doubled in [1, 2, 4, 8] {
            assert_eq!(pick(&mut choice, now), 2);
            choice.avoid_current(now);
            now += AVOIDED_FOR * doubled;
            assert_eq!(pick(&mut choice, now - Duration::from_millis(1)), 3);
        }
        assert_eq!(pick(&mut choice, now), 2);
        choice.answered();
        choice.avoid_current(now);
        assert_eq!(pick(&mut choice, now + AVOIDED_FOR), 2, "an answer clears its record");
    }

    #[test]
    fn one_that_returns_nothing_for_long_is_left_but_not_one_that_answers_in_between() {
        let (mut choice, now) = (ReplicaChoice::with_seed(0), Instant::now());
        assert_eq!(pick(&mut choice, now), 2);
        choice.returned_nothing(now);
        choice.answered();
        choice.returned_nothing(now + SILENCE_MAX / 2);
        choice.returned_nothing(now + SILENCE_MAX);
        assert_eq!(pick(&mut choice, now + SILENCE_MAX), 2);
        choice.returned_nothing(now + SILENCE_MAX * 3 / 2);
        assert_eq!(pick(&mut choice, now + SILENCE_MAX * 3 / 2), 3);
    }

    #[test]
    fn a_consumer_of_one_node_asks_no_other_whatever_fails() {
        for node in 1..=3 {
            let (mut choice, now) = (ReplicaChoice::only(NodeId(node)), Instant::now());
            for _ in 0..3 {
                assert_eq!(pick(&mut choice, now), node);
                choice.avoid_current(now);
            }
        }
        assert!(ReplicaChoice::only(NodeId(4)).pick(&replicas(), Instant::now()).is_none());
    }

    #[test]
    fn a_partition_of_one_replica_or_none_is_no_problem() {
        let (mut choice, now) = (ReplicaChoice::with_seed(7), Instant::now());
        assert!(choice.pick(&[], now).is_none());
        choice.avoid_current(now);
        let leader = &replicas()[..1];
        assert_eq!(choice.pick(leader, now).unwrap().node, NodeId(1));
        choice.avoid_current(now);
        assert_eq!(choice.pick(leader, now).unwrap().node, NodeId(1));
    }
}
