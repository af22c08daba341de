//! Which node is killed next: one that leads exactly a third of the partitions.
//!
//! After a kill and a restart the cluster evens leadership out gently, a few partitions a second and only after some calm
//! seconds. Whichever node leads a third first is killed, so that no round waits for the slowest of the three.

use std::{
    collections::BTreeMap,
    ops::RangeInclusive,
    time::{Duration, Instant},
};

use futures::future::join_all;
use quorate::{Client, Producer, TopicName};
use tokio::time::sleep;

use super::send;

/// How long it may take until a node leads a third. Then one that leads nearly as many is killed.
const EVEN_MAX: Duration = Duration::from_secs(120);
/// A partition that still has no leader then counts as lost.
const LED_MAX: Duration = Duration::from_secs(180);
/// How long a node must have led the same partitions: longer than hand-overs and what nodes know of each other lag behind.
const STEADY: Duration = Duration::from_secs(2);
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
const NODES: u64 = 3;

/// The partitions that each node leads.
type Led = BTreeMap<u64, Vec<u32>>;

/// The node to be killed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Victim {
    /// Its id.
    pub(super) node: u64,
    /// What it leads.
    pub(super) led: Vec<u32>,
    /// Whether that is exactly a third, and nothing is being handed over to it or by it.
    pub(super) is_third: bool,
}

/// A third of that many; either neighbour where it is none.
pub(super) fn third(partitions: usize) -> RangeInclusive<usize> {
    partitions / 3..=partitions.div_ceil(3)
}

/// Waits until a node leads a third of the partitions, and has each of these take a record: the producer knows who leads.
///
/// # Errors
/// If a partition has no leader for too long, or takes no record.
pub(super) async fn choose(
    client: &Client,
    topic: &TopicName,
    producer: &Producer,
    round: u32,
) -> Result<Victim, String> {
    let began = Instant::now();
    let mut watched = Watched::new(round);
    loop {
        match led(client, topic).await {
            Ok(led) => watched.note(led, Instant::now()),
            Err(why) if began.elapsed() >= LED_MAX => return Err(why),
            Err(_) => watched.forget(),
        }
        let late = began.elapsed() >= EVEN_MAX;
        if let Some(victim) = watched.steady(Instant::now()).or_else(|| watched.nearest().filter(|_| late)) {
            let taken = join_all(victim.led.iter().map(|partition| send(producer, *partition))).await;
            taken.into_iter().collect::<Result<(), _>>()?;
            // It may have begun to hand over meanwhile.
            let still =
                || async { led(client, topic).await.is_ok_and(|led| led.get(&victim.node) == Some(&victim.led)) };
            if !victim.is_third || still().await {
                return Ok(victim);
            }
        }
        sleep(LOOK_INTERVAL).await;
    }
}

async fn led(client: &Client, topic: &TopicName) -> Result<Led, String> {
    let info = client.topic(topic).await.map_err(|error| error.to_string())?;
    let mut led: Led = (1..=NODES).map(|node| (node, Vec::new())).collect();
    for partition in &info.partitions {
        let leader = partition.leader.ok_or_else(|| format!("partition {} has no leader", partition.index))?;
        led.entry(leader.0).or_default().push(partition.index);
    }
    Ok(led)
}

/// What the nodes lead, and since when.
#[derive(Debug)]
struct Watched {
    /// Of nodes that could be chosen alike, another one is in each round.
    round: u32,
    nodes: BTreeMap<u64, (Vec<u32>, Instant)>,
}

impl Watched {
    fn new(round: u32) -> Self {
        Self { round, nodes: BTreeMap::new() }
    }

    /// Takes what is seen now.
    fn note(&mut self, led: Led, now: Instant) {
        let mut before = std::mem::take(&mut self.nodes);
        self.nodes.extend(led.into_iter().map(|(node, led)| match before.remove(&node) {
            Some((same, since)) if same == led => (node, (led, since)),
            _ => (node, (led, now)),
        }));
    }

    /// Takes note that nobody knows now.
    fn forget(&mut self) {
        self.nodes.clear();
    }

    /// A node that leads exactly a third and has done so for a while.
    fn steady(&self, now: Instant) -> Option<Victim> {
        let third = third(self.nodes.values().map(|(led, _)| led.len()).sum());
        let steady = self.nodes.iter().filter(|(_, (led, since))| third.contains(&led.len()) && now >= *since + STEADY);
        let (node, (led, _)) = steady.min_by_key(|(node, _)| self.turn(**node))?;
        Some(Victim { node: *node, led: led.clone(), is_third: true })
    }

    /// The node that leads most nearly a third.
    fn nearest(&self) -> Option<Victim> {
        let third = self.nodes.values().map(|(led, _)| led.len()).sum::<usize>() / 3;
        let key = |(node, (led, _)): &(&u64, &(Vec<u32>, Instant))| (led.len().abs_diff(third), self.turn(**node));
        let (node, (led, _)) = self.nodes.iter().min_by_key(key)?;
        Some(Victim { node: *node, led: led.clone(), is_third: false })
    }

    /// How many nodes come before this one in the round.
    fn turn(&self, node: u64) -> u64 {
        (node + NODES - 1 + NODES - u64::from(self.round) % NODES) % NODES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn led(counts: [u32; 3]) -> Led {
        let [first, second, third] = counts;
        let (second, third) = (first + second, first + second + third);
        [(1, (0..first).collect()), (2, (first..second).collect()), (3, (second..third).collect())].into()
    }

    fn chosen(watched: &Watched, now: Instant) -> Option<(u64, usize)> {
        watched.steady(now).map(|victim| (victim.node, victim.led.len()))
    }

    #[test]
    fn a_node_is_chosen_once_it_has_led_a_third_for_a_while() {
        let (mut watched, began) = (Watched::new(0), Instant::now());
        watched.note(led([90, 110, 100]), began);
        assert_eq!(chosen(&watched, began), None);
        watched.note(led([92, 108, 100]), began + STEADY / 2);
        assert_eq!(chosen(&watched, began + STEADY), Some((3, 100)), "what the others do does not matter");
        let exchanged: Led = led([100, 100, 100]).into_iter().map(|(node, led)| (4 - node, led)).collect();
        watched.note(exchanged.clone(), began + STEADY);
        assert_eq!(chosen(&watched, began + STEADY), None, "it leads as many, but others");
        watched.note(exchanged, began + 2 * STEADY);
        assert_eq!(chosen(&watched, began + 2 * STEADY), Some((1, 100)));
        watched.forget();
        assert_eq!(chosen(&watched, began + 2 * STEADY), None);
    }

    #[test]
    fn the_nodes_take_turns_where_all_lead_alike() {
        let now = Instant::now();
        let chosen = |round| {
            let mut watched = Watched::new(round);
            watched.note(led([100, 100, 100]), now);
            watched.steady(now + STEADY).map(|victim| victim.node)
        };
        assert_eq!([0, 1, 2, 3].map(chosen), [Some(1), Some(2), Some(3), Some(1)]);
    }

    #[test]
    fn a_node_that_leads_nearly_a_third_is_better_than_one_that_leads_less_so() {
        let mut watched = Watched::new(0);
        assert_eq!(watched.nearest(), None);
        watched.note(led([0, 160, 140]), Instant::now());
        let nearest = watched.nearest().map(|victim| (victim.node, victim.led.len(), victim.is_third));
        assert_eq!(nearest, Some((3, 140, false)));
    }

    #[test]
    fn a_third_is_exact_where_there_is_one() {
        assert_eq!((third(300), third(100), third(3)), (100..=100, 33..=34, 1..=1));
    }
}
