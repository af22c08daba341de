//! Which nodes are there: one ping per pair of nodes, whatever the number of partitions.
//!
//! Of two nodes the one with the lower id pings, and says whether it hears the other one's answers; so both know that they hear
//! each other, whichever way a link is cut. When pings fail to come, the other one pings, too.
//!
//! A node that has not been heard, or does not hear this one, for [`SUSPECT_AFTER`] is *suspected*, and one that cannot even be
//! connected to, sooner: when a connection of it breaks it is pinged at once. Each ping tells whom its sender suspects. Who is
//! suspected by a majority of those that vote on a partition leads it no longer: see `elections`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::Duration,
};

use quorate_cluster_config::NodeId;
use quorate_raft::Members;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, MissedTickBehavior},
};

use super::Member;

/// Between two pings to a node.
const PING_INTERVAL: Duration = Duration::from_millis(150);
/// A node that has answered no ping for so long is suspected.
const SUSPECT_AFTER: Duration = Duration::from_millis(500);
/// A node to which so many pings in a row could not even be sent is suspected sooner: its process is gone.
const REFUSALS: u32 = 2;
const SUSPECT_REFUSING_AFTER: Duration = Duration::from_millis(170);
/// Between two pings to a node that is about to be suspected for that.
const REFUSED_PAUSE: Duration = Duration::from_millis(40);
/// A ping that fails so soon was refused; one that fails later had no answer.
const REFUSED_WITHIN: Duration = Duration::from_millis(100);
/// A node that should ping and has not done so for so long is pinged.
const PING_OVERDUE: Duration = Duration::from_millis(220);
/// How long an answer may take.
const PING_TIMEOUT: Duration = Duration::from_secs(1);
/// Pings to a node without an answer; beyond that none is sent until one is given up.
const PINGS_MAX: u32 = 5;
/// What another node has said of whom it suspects counts for so long.
const HEARSAY_MAX: Duration = Duration::from_millis(400);
/// A node that was suspected is trusted again after so many answers.
const TRUSTED_AFTER: u32 = 4;
/// This node itself was asleep if it looks so much later than it meant to: then it suspects nobody for that.
const ASLEEP: Duration = Duration::from_millis(400);

/// What is known of one other node.
#[derive(Clone, Debug)]
struct Peer {
    /// When it last answered, or said that it hears this node.
    answered: Instant,
    /// When it last pinged this node.
    pinged: Instant,
    /// Answers since it was suspected.
    answers: u32,
    /// Pings without an answer.
    waiting: u32,
    /// Pings in a row that were refused.
    refusals: u32,
    /// Whether a connection of it has broken, or it has refused one, since it was last heard.
    doubted: bool,
    /// Whom it suspects, and when it said so.
    suspects: BTreeSet<NodeId>,
    said: Instant,
}

/// Whom this node suspects, and whom others do.
#[derive(Debug, Default)]
pub(crate) struct Detector {
    peers: Mutex<BTreeMap<NodeId, Peer>>,
    suspects: RwLock<Arc<BTreeSet<NodeId>>>,
    /// Changes with whom this node or another one suspects.
    changed: watch::Sender<u64>,
    /// There is a node to be pinged before it is time.
    hurry: Notify,
}

impl Peer {
    fn new(now: Instant) -> Self {
        let suspects = BTreeSet::new();
        Self { answered: now, pinged: now, answers: 0, waiting: 0, refusals: 0, doubted: false, suspects, said: now }
    }

    fn was_heard(&mut self, now: Instant) {
        (self.answered, self.refusals, self.doubted) = (now, 0, false);
        self.answers = self.answers.saturating_add(1);
    }

    fn is_silent(&self, now: Instant) -> bool {
        let after = if self.refusals >= REFUSALS { SUSPECT_REFUSING_AFTER } else { SUSPECT_AFTER };
        now.duration_since(self.answered) >= after
    }

    fn is_suspect(&self, now: Instant, before: bool) -> bool {
        self.is_silent(now) || before && self.answers < TRUSTED_AFTER
    }
}

impl Detector {
    fn peers(&self) -> MutexGuard<'_, BTreeMap<NodeId, Peer>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whom this node suspects.
    pub(crate) fn suspects(&self) -> Arc<BTreeSet<NodeId>> {
        self.suspects.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes whenever this node, or one that it hears of, suspects others than before.
    pub(crate) fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Has a node pinged at once of which a connection has broken.
    pub(crate) fn doubt(&self, node: NodeId) {
        if let Some(peer) = self.peers().get_mut(&node) {
            peer.doubted = true;
            self.hurry.notify_one();
        }
    }

    /// Takes a ping of another node, which says whom it suspects and whether it hears this one; returns whom this one
    /// suspects.
    pub(crate) fn hear_ping(&self, from: NodeId, suspects: Vec<NodeId>, heard: bool, now: Instant) -> Vec<NodeId> {
        if let Some(peer) = self.peers().get_mut(&from) {
            peer.pinged = now;
            if heard {
                peer.was_heard(now);
            }
        }
        self.hear(from, suspects, now);
        self.suspects().iter().copied().collect()
    }

    /// Takes in whom another node suspects.
    fn hear(&self, from: NodeId, suspects: Vec<NodeId>, now: Instant) {
        let (suspects, mut peers) = (suspects.into_iter().collect::<BTreeSet<_>>(), self.peers());
        let peer = peers.entry(from).or_insert_with(|| Peer::new(now));
        let news = peer.suspects != suspects;
        (peer.suspects, peer.said) = (suspects, now);
        drop(peers);
        if news {
            self.changed.send_modify(|count| *count += 1);
        }
    }

    /// Whether a majority of each of these sets of voters suspects the node: those that are suspected themselves have no
    /// say.
    pub(crate) fn is_lost(&self, node: NodeId, us: NodeId, quorums: &[Members], now: Instant) -> bool {
        let ours = self.suspects();
        if !ours.contains(&node) {
            return false;
        }
        let peers = self.peers();
        let agrees = |voter: &&NodeId| {
            **voter == us
                || !ours.contains(*voter)
                    && peers.get(*voter).is_some_and(|peer| {
                        peer.suspects.contains(&node) && now.duration_since(peer.said) < HEARSAY_MAX
                    })
        };
        let majority = |voters: &Members| {
            voters.values().filter(|voter| **voter != node).filter(agrees).count() * 2 > voters.len()
        };
        !quorums.is_empty() && quorums.iter().all(majority)
    }

    /// Whether a node is one of the others: those that were removed are not.
    pub(crate) fn knows(&self, node: NodeId) -> bool {
        self.peers().contains_key(&node)
    }

    /// Whether this node can reach a majority of each of these sets of voters.
    pub(crate) fn reaches_majority(&self, us: NodeId, quorums: &[Members]) -> bool {
        let (suspects, peers) = (self.suspects(), self.peers());
        let reached = |node: &&NodeId| **node == us || !suspects.contains(*node) && peers.contains_key(*node);
        quorums.iter().all(|voters| voters.values().filter(reached).count() * 2 > voters.len())
    }

    /// Looks who has answered, now or since the last look; tells whether that has changed anything.
    fn look(&self, nodes: &BTreeSet<NodeId>, now: Instant, asleep: bool) -> bool {
        let mut peers = self.peers();
        peers.retain(|node, _| nodes.contains(node));
        for node in nodes {
            let peer = peers.entry(*node).or_insert_with(|| Peer::new(now));
            if asleep {
                peer.answered = now;
            }
        }
        let before = self.suspects();
        let suspect = |(node, peer): (&NodeId, &mut Peer)| {
            let known = before.contains(node);
            let suspect = peer.is_suspect(now, known);
            if suspect && !known || peer.is_silent(now) {
                peer.answers = 0;
            }
            suspect.then_some(*node)
        };
        let suspects: BTreeSet<NodeId> = peers.iter_mut().filter_map(suspect).collect();
        drop(peers);
        if suspects == *before {
            return false;
        }
        tracing::info!(?suspects, "other nodes are suspected to be down than before");
        *self.suspects.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(suspects);
        self.changed.send_modify(|count| *count += 1);
        true
    }

    /// The nodes that this one is to ping now, and whether it hears them; each counts as pinged. `in_time`: all whose time has
    /// come, and not only those that are doubted.
    fn to_ping(&self, us: NodeId, now: Instant, in_time: bool) -> Vec<(NodeId, bool)> {
        let mut peers = self.peers();
        let ours = |node: NodeId, peer: &Peer| {
            peer.doubted || in_time && (us < node || now.duration_since(peer.pinged) >= PING_OVERDUE)
        };
        let due = peers.iter_mut().filter(|(node, peer)| peer.waiting < PINGS_MAX && ours(**node, peer));
        due.map(|(node, peer)| {
            peer.waiting += 1;
            (*node, now.duration_since(peer.answered) < SUSPECT_AFTER)
        })
        .collect()
    }

    /// Takes the answer to a ping, or that there was none.
    fn answered(&self, node: NodeId, answer: Answer, now: Instant) {
        let mut peers = self.peers();
        let Some(peer) = peers.get_mut(&node) else { return };
        peer.waiting = peer.waiting.saturating_sub(1);
        match answer {
            Answer::Suspects(suspects) => {
                peer.was_heard(now);
                drop(peers);
                self.hear(node, suspects, now);
            }
            Answer::Refused => (peer.refusals, peer.doubted) = (peer.refusals.saturating_add(1), true),
            Answer::None => peer.refusals = 0,
        }
    }
}

/// What came of a ping.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    /// Whom the other node suspects.
    Suspects(Vec<NodeId>),
    /// It could not be sent.
    Refused,
    /// Nothing.
    None,
}

/// Pings all other nodes, and looks who answers.
pub(crate) async fn watch_nodes(member: Arc<Member>) {
    let mut ticks = tokio::time::interval(PING_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut looked = Instant::now();
    loop {
        let in_time = tokio::select! {
            _ = ticks.tick() => true,
            () = member.detector.hurry.notified() => false,
        };
        let now = Instant::now();
        let asleep = now.duration_since(looked) >= ASLEEP;
        looked = now;
        let nodes: BTreeSet<NodeId> =
            member.directory.nodes().into_iter().filter(|node| *node != member.identity.node).collect();
        if asleep {
            tracing::debug!("this node was asleep; it suspects nobody for that");
        }
        let changed = member.detector.look(&nodes, now, asleep);
        // Whom this node suspects, the others are told at once.
        for (node, heard) in member.detector.to_ping(member.identity.node, now, in_time || changed) {
            tokio::spawn(ping(member.clone(), node, heard));
        }
    }
}

async fn ping(member: Arc<Member>, node: NodeId, heard: bool) {
    let suspects: Vec<NodeId> = member.detector.suspects().iter().copied().collect();
    let ask = async {
        let client = member.rpc.get(node).await.ok()?;
        match client.ping(crate::peers::within(PING_TIMEOUT), member.identity.node, suspects, heard).await {
            Ok(suspects) => Some(suspects),
            Err(_) => {
                member.rpc.forget(node).await;
                None
            }
        }
    };
    let began = Instant::now();
    let answer = match tokio::time::timeout(PING_TIMEOUT, ask).await {
        Ok(Some(suspects)) => Answer::Suspects(suspects),
        Ok(None) if began.elapsed() < REFUSED_WITHIN => Answer::Refused,
        Ok(None) | Err(_) => Answer::None,
    };
    let is_refused = answer == Answer::Refused;
    member.detector.answered(node, answer, Instant::now());
    // Until it is suspected, it is asked more often than in turn.
    if is_refused && !member.detector.suspects().contains(&node) {
        tokio::time::sleep(REFUSED_PAUSE).await;
        member.detector.hurry.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use quorate_cluster_config::ReplicaId;

    use super::*;

    fn nodes(ids: &[u64]) -> BTreeSet<NodeId> {
        ids.iter().copied().map(NodeId).collect()
    }

    fn voters(ids: &[u64]) -> Vec<Members> {
        vec![ids.iter().map(|id| (ReplicaId(id + 10), NodeId(*id))).collect()]
    }

    /// A detector of node 1 at a time when nodes 2 and 3 have just answered.
    fn detector() -> (Detector, Instant) {
        let detector = Detector::default();
        let now = Instant::now();
        detector.look(&nodes(&[2, 3]), now, false);
        (detector, now)
    }

    #[test]
    fn a_silent_node_is_suspected_and_trusted_again_after_some_answers() {
        let (detector, now) = detector();
        assert!(!detector.look(&nodes(&[2, 3]), now + SUSPECT_AFTER / 2, false));
        let now = now + SUSPECT_AFTER;
        detector.answered(NodeId(2), Answer::Suspects(vec![]), now);
        assert!(detector.look(&nodes(&[2, 3]), now, false));
        assert_eq!(*detector.suspects(), nodes(&[3]));
        for answer in 1..=TRUSTED_AFTER {
            assert_eq!(*detector.suspects(), nodes(&[3]), "{answer}");
            detector.answered(NodeId(3), Answer::Suspects(vec![]), now);
            detector.look(&nodes(&[2, 3]), now, false);
        }
        assert!(detector.suspects().is_empty());
    }

    #[test]
    fn a_node_whose_process_is_gone_is_suspected_sooner() {
        let (detector, now) = detector();
        let soon = now + SUSPECT_REFUSING_AFTER;
        detector.answered(NodeId(3), Answer::Refused, now);
        assert!(!detector.look(&nodes(&[2, 3]), soon, false), "a connection may break for another reason");
        detector.answered(NodeId(3), Answer::Refused, now);
        assert!(!detector.look(&nodes(&[2, 3]), now, false));
        assert!(detector.look(&nodes(&[2, 3]), soon, false));
        assert_eq!(*detector.suspects(), nodes(&[3]));
    }

    #[test]
    fn a_node_of_which_a_connection_broke_is_pinged_before_its_time_until_it_answers() {
        let detector = Detector::default();
        let now = Instant::now();
        detector.look(&nodes(&[1, 2, 4]), now, false);
        let early = || detector.to_ping(NodeId(3), now, false);
        assert!(early().is_empty());
        detector.doubt(NodeId(1));
        assert_eq!(
            (early(), early()),
            (vec![(NodeId(1), true)], vec![(NodeId(1), true)]),
            "also one that pings itself"
        );
        detector.answered(NodeId(1), Answer::Suspects(vec![]), now);
        assert!(early().is_empty());
        detector.doubt(NodeId(9));
        assert!(early().is_empty(), "one that is no member");
    }

    #[test]
    fn one_that_was_asleep_itself_suspects_nobody() {
        let (detector, now) = detector();
        assert!(!detector.look(&nodes(&[2, 3]), now + SUSPECT_AFTER * 3, true));
        assert!(detector.suspects().is_empty());
    }

    #[test]
    fn a_leader_is_lost_when_a_majority_of_the_voters_says_so() {
        let (detector, now) = detector();
        let (us, three) = (NodeId(1), voters(&[1, 2, 3]));
        let lost = |voters: &[Members], now| detector.is_lost(NodeId(3), us, voters, now);
        detector.hear(NodeId(2), vec![NodeId(3)], now);
        assert!(!lost(&three, now), "this node still hears it");
        let now = now + SUSPECT_AFTER;
        detector.answered(NodeId(2), Answer::Suspects(vec![]), now);
        detector.look(&nodes(&[2, 3]), now, false);
        assert!(!lost(&three, now), "the other one hears it");
        detector.hear(NodeId(2), vec![NodeId(3)], now);
        assert!(lost(&three, now));
        assert!(!lost(&voters(&[1, 3]), now), "one of two is no majority");
        assert!(detector.reaches_majority(us, &three) && !detector.reaches_majority(us, &voters(&[1, 3])));
        assert!(!lost(&three, now + HEARSAY_MAX), "what was said long ago counts no more");
    }

    #[test]
    fn while_a_change_is_under_way_both_majorities_count_and_removed_nodes_count_as_out_of_reach() {
        let (detector, now) = detector();
        detector.look(&nodes(&[2, 3, 4]), now, false);
        let now = now + SUSPECT_AFTER;
        detector.answered(NodeId(2), Answer::Suspects(vec![NodeId(3), NodeId(4)]), now);
        detector.look(&nodes(&[2, 3, 4]), now, false);
        let us = NodeId(1);
        // Nodes 3 and 4 are down: of 1, 2, 3 and of 1, 2, 4 a majority is there, although not of all four.
        let joint = [voters(&[1, 2, 3]), voters(&[1, 2, 4])].concat();
        assert!(detector.is_lost(NodeId(3), us, &joint, now) && detector.reaches_majority(us, &joint));
        let other = [voters(&[1, 2, 3]), voters(&[1, 3, 4])].concat();
        assert!(!detector.is_lost(NodeId(3), us, &other, now) && !detector.reaches_majority(us, &other));
        assert!(!detector.reaches_majority(us, &voters(&[1, 8, 9])), "nobody knows 8 and 9");
        assert!(detector.knows(NodeId(4)) && !detector.knows(NodeId(8)));
    }

    #[test]
    fn nodes_that_are_suspected_have_no_say() {
        let (detector, now) = detector();
        let now = now + SUSPECT_AFTER;
        detector.look(&nodes(&[2, 3]), now, false);
        detector.hear(NodeId(2), vec![NodeId(3)], now);
        assert_eq!(*detector.suspects(), nodes(&[2, 3]));
        let (us, three) = (NodeId(1), voters(&[1, 2, 3]));
        assert!(!detector.is_lost(NodeId(3), us, &three, now), "alone, it is this node that is cut off");
        assert!(!detector.reaches_majority(us, &three));
    }

    #[test]
    fn pings_without_an_answer_are_bounded() {
        let (detector, now) = detector();
        for _ in 0..PINGS_MAX {
            assert_eq!(detector.to_ping(NodeId(1), now, true), [(NodeId(2), true), (NodeId(3), true)]);
        }
        assert!(detector.to_ping(NodeId(1), now, true).is_empty());
        detector.answered(NodeId(3), Answer::None, now);
        assert_eq!(detector.to_ping(NodeId(1), now, true), [(NodeId(3), true)]);
    }

    #[test]
    fn the_lower_id_pings_and_the_other_one_when_that_does_not_come() {
        let detector = Detector::default();
        let now = Instant::now();
        detector.look(&nodes(&[1, 2, 4]), now, false);
        assert_eq!(detector.to_ping(NodeId(3), now, true), [(NodeId(4), true)]);
        let now = now + PING_OVERDUE;
        detector.hear_ping(NodeId(1), vec![], true, now);
        assert_eq!(detector.to_ping(NodeId(3), now, true), [(NodeId(2), true), (NodeId(4), true)]);
    }

    #[test]
    fn a_node_that_does_not_hear_this_one_is_as_good_as_silent() {
        let (detector, now) = detector();
        let now = now + SUSPECT_AFTER;
        detector.hear_ping(NodeId(2), vec![], true, now);
        detector.hear_ping(NodeId(3), vec![], false, now);
        detector.look(&nodes(&[2, 3]), now, false);
        assert_eq!(*detector.suspects(), nodes(&[3]));
        assert_eq!(detector.to_ping(NodeId(1), now, true), [(NodeId(2), true), (NodeId(3), false)]);
    }
}
