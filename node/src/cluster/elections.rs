//! Elections of all partitions: this node's replicas stand where a leader is gone, the one with most of the log first.
//!
//! A leader is gone if a majority of the voters' nodes suspects its node, if its node says that its replica does not lead, or
//! if it led here before this node was started anew. How far the other replicas' logs go is asked first, since a replica
//! whose log is behind wins no election and only delays the others.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use futures::future::join_all;
use quorate_cluster_config::{GroupId, NodeId, PartitionId, ReplicaId};
use quorate_protocol::ReplicaRole;
use quorate_raft::{Ballot, LogTail, PartitionGroup, Role};
use tokio::time::Instant;

use super::Member;
use crate::metrics::counters;

/// Between two looks while all partitions have leaders; when a node is suspected, all are looked at once.
const INTERVAL: Duration = Duration::from_millis(500);
/// Between two looks while some have none.
const URGENT_INTERVAL: Duration = Duration::from_millis(50);
/// How long a leader's node must have said that its replica does not lead.
const GRACE: Duration = Duration::from_millis(300);
/// How long an election may take that is under way: its votes have to reach the disks.
const ELECTION_MAX: Duration = Duration::from_secs(1);
/// A status that came so soon after the vote may be older than that.
const STATUS_AFTER: Duration = Duration::from_millis(450);
/// How much later a replica stands for each one that is before it.
const RANK_DELAY: Duration = Duration::from_millis(300);
/// How long the others may take to say how far their logs go.
const TAILS_TIMEOUT: Duration = Duration::from_millis(150);
/// Between two tries of one replica; up to [`RETRY_SPREAD`] is added.
const RETRY: Duration = Duration::from_millis(600);
const RETRY_SPREAD: Duration = Duration::from_millis(400);
/// How often each leader tells its followers how far its log is committed, for those that have missed it.
const HEARTBEAT: Duration = Duration::from_secs(60);

/// What is known of one replica whose group seems to have no leader.
#[derive(Debug)]
struct Watch {
    /// The vote it has, and since when that is known.
    ballot: Ballot,
    since: Instant,
    /// Since when the leader's node says that it does not lead.
    doubt: Option<Instant>,
    /// Since when its leader is gone.
    gone: Option<Instant>,
    /// How many others stand before it; `None` until that was asked.
    rank: Option<u32>,
    /// When it may stand again.
    next: Instant,
}

/// The elections of one node.
#[derive(Debug, Default)]
struct Elections {
    watched: HashMap<ReplicaId, Watch>,
    /// Where the round of heartbeats has come to.
    heartbeats: f64,
    suspects_before: Vec<NodeId>,
}

/// Has this node's replicas stand where a leader is gone, until the node stops.
pub(crate) async fn elect(member: Arc<Member>) {
    let mut elections = Elections::default();
    let mut changed = member.detector.changed();
    let mut looked = Instant::now();
    loop {
        let pause = if elections.is_waiting() { URGENT_INTERVAL } else { INTERVAL };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            // The detector lives as long as the member.
            _ = changed.changed() => {}
        }
        let elapsed = looked.elapsed();
        looked = Instant::now();
        let groups = member.replicas.all_running();
        elections.retry_those_back(&member, &groups).await;
        elections.look(&member, &groups);
        elections.rank(&member).await;
        elections.stand(&groups);
        elections.send_heartbeats(&groups, elapsed).await;
    }
}

impl Elections {
    fn is_waiting(&self) -> bool {
        self.watched.iter().any(|(replica, watch)| {
            let votes = watch.ballot.voters.contains_key(replica);
            watch.gone.is_some() || watch.doubt.is_some() || votes && !watch.ballot.is_elected()
        })
    }

    /// Finds the replicas whose leaders are gone. Leaders without a majority take no proposals.
    fn look(&mut self, member: &Member, groups: &[Arc<PartitionGroup>]) {
        let us = member.identity.node;
        let now = Instant::now();
        let mut seen = HashSet::with_capacity(groups.len());
        for group in groups.iter().map(|group| group.group()) {
            seen.insert(group.replica());
            let watch = self.watched.entry(group.replica()).or_insert_with(|| Watch::new(group.ballot(), now));
            if !group.is_current(&watch.ballot) {
                *watch = Watch::new(group.ballot(), now);
            }
            let ballot = &watch.ballot;
            group.mute(ballot.role == Role::Leader && !member.detector.reaches_majority(us, &ballot.quorums));
            let doubted = watch.ballot.node().is_some_and(|node| {
                watch.ballot.is_elected() && says_it_does_not_lead(member, node, &watch.ballot, watch.since)
            });
            watch.doubt = if doubted { watch.doubt.or(Some(now)) } else { None };
            if is_gone(member, group.replica(), watch) {
                watch.gone.get_or_insert(now);
            } else {
                (watch.gone, watch.rank) = (None, None);
            }
        }
        self.watched.retain(|replica, _| seen.contains(replica));
    }

    /// Asks the other nodes how far their logs go, for those replicas of which that is not known yet.
    async fn rank(&mut self, member: &Arc<Member>) {
        let suspects = member.detector.suspects();
        let mut asked: BTreeMap<NodeId, Vec<PartitionId>> = BTreeMap::new();
        let mut unranked: Vec<(ReplicaId, PartitionId)> = Vec::new();
        for (replica, watch) in self.watched.iter().filter(|(_, watch)| watch.gone.is_some() && watch.rank.is_none()) {
            let Some(partition) = member.replicas.partition_of(*replica) else { continue };
            unranked.push((*replica, partition));
            let others = watch.ballot.voters.values().filter(|node| **node != member.identity.node);
            for node in others.filter(|node| !suspects.contains(*node)) {
                asked.entry(*node).or_default().push(partition);
            }
        }
        if unranked.is_empty() {
            return;
        }
        let answers = join_all(asked.into_iter().map(|(node, partitions)| async move {
            let tails = tokio::time::timeout(TAILS_TIMEOUT, tails_of(member, node, partitions.clone())).await;
            (node, partitions.into_iter().zip(tails.unwrap_or_default()).collect::<HashMap<_, _>>())
        }))
        .await;
        let us = member.identity.node;
        for (replica, partition) in unranked {
            let Some(group) = member.replicas.running(replica) else { continue };
            let ours = (group.group().log_tail(), order(partition, us));
            let others = answers
                .iter()
                .filter_map(|(node, tails)| Some((tails.get(&partition).copied().flatten()?, order(partition, *node))));
            let before = others.filter(|theirs| *theirs > ours).count();
            if let Some(watch) = self.watched.get_mut(&replica) {
                watch.rank = Some(u32::try_from(before).unwrap_or(u32::MAX));
            }
        }
    }

    /// Has those stand whose time has come.
    fn stand(&mut self, groups: &[Arc<PartitionGroup>]) {
        let now = Instant::now();
        for group in groups {
            let Some(watch) = self.watched.get_mut(&group.group().replica()) else { continue };
            let (Some(gone), Some(rank)) = (watch.gone, watch.rank) else { continue };
            if now < (gone + RANK_DELAY * rank).max(watch.next) {
                continue;
            }
            watch.next = now + RETRY + RETRY_SPREAD.mul_f64(rand::random::<f64>());
            // The others' logs may have grown by the next time.
            watch.rank = None;
            let (group, ballot) = (group.clone(), watch.ballot.clone());
            tracing::debug!(replica = %group.group().replica(), term = ballot.term(), "stands for leader");
            counters().elections.fetch_add(1, Relaxed);
            tokio::spawn(async move { group.group().stand(&ballot).await });
        }
    }

    /// Leaders reach for replicas on nodes that were suspected and are back.
    async fn retry_those_back(&mut self, member: &Member, groups: &[Arc<PartitionGroup>]) {
        let suspects: Vec<NodeId> = member.detector.suspects().iter().copied().collect();
        let before = std::mem::replace(&mut self.suspects_before, suspects.clone());
        let back: Vec<NodeId> = before.into_iter().filter(|node| !suspects.contains(node)).collect();
        if back.is_empty() {
            return;
        }
        // Together: some may hang.
        join_all(groups.iter().map(|group| {
            let members = group.group().members();
            let there = members.voters.iter().chain(&members.learners).filter(|(_, node)| back.contains(node));
            group.group().retry(there.map(|(replica, _)| *replica).collect())
        }))
        .await;
    }

    /// Spreads the heartbeats of all leaders over [`HEARTBEAT`].
    async fn send_heartbeats(&mut self, groups: &[Arc<PartitionGroup>], elapsed: Duration) {
        if groups.is_empty() {
            return;
        }
        let from = self.heartbeats as usize;
        self.heartbeats += groups.len() as f64 * elapsed.as_secs_f64() / HEARTBEAT.as_secs_f64();
        let count = (self.heartbeats as usize - from).min(groups.len());
        for group in (from..from + count).map(|at| groups[at % groups.len()].group()) {
            if group.status().role == Role::Leader {
                group.heartbeat().await;
            }
        }
        if from >= groups.len() {
            self.heartbeats -= groups.len() as f64;
        }
    }
}

impl Watch {
    fn new(ballot: Ballot, now: Instant) -> Self {
        Self { ballot, since: now, doubt: None, gone: None, rank: None, next: now }
    }
}

/// Whether the replica's group has no leader, as far as this node knows, and the replica may stand.
fn is_gone(member: &Member, replica: ReplicaId, watch: &Watch) -> bool {
    let Watch { ballot, since, doubt, .. } = watch;
    let (us, known) = (member.identity.node, since.elapsed());
    if ballot.unfit || !ballot.voters.contains_key(&replica) || !matches!(ballot.role, Role::Follower | Role::Candidate)
    {
        return false;
    }
    if !member.detector.reaches_majority(us, &ballot.quorums) {
        return false;
    }
    let lost = |node| member.detector.is_lost(node, us, &ballot.quorums, Instant::now());
    let lost = ballot.node().is_some_and(lost);
    if !ballot.is_elected() {
        // An election is under way, or has failed.
        return lost || known >= ELECTION_MAX && !somebody_leads(member, replica, ballot);
    }
    if ballot.candidate() == replica {
        // It led before it was started anew.
        return true;
    }
    match ballot.node() {
        Some(_) if lost => true,
        // It was removed, or is not known here yet.
        Some(node) if node != us && !member.detector.knows(node) => known >= ELECTION_MAX,
        Some(_) => doubt.is_some_and(|doubt| doubt.elapsed() >= GRACE),
        // It was a member before, and is none any more.
        None => known >= ELECTION_MAX,
    }
}

/// Whether the leader's node says that its replica does not lead in that term.
fn says_it_does_not_lead(member: &Member, node: NodeId, ballot: &Ballot, since: Instant) -> bool {
    let leads = |at: Instant, status: &crate::peers::NodeStatus| {
        // Looked at for every replica again and again: a search through all would be quadratic.
        let leader = status.replicas.binary_search_by_key(&ballot.candidate(), |known| known.replica);
        let leader = leader.ok().map(|at| &status.replicas[at]);
        let leads = leader.is_some_and(|known| known.role == ReplicaRole::Leader && known.term >= ballot.term());
        leads || at < since + STATUS_AFTER
    };
    member.board.said(node, leads).is_some_and(|leads| !leads)
}

/// Whether a node that is there leads the partition in that term or a later one: its word has not come to this replica yet.
fn somebody_leads(member: &Member, replica: ReplicaId, ballot: &Ballot) -> bool {
    let Some(partition) = member.replicas.partition_of(replica) else { return false };
    let suspects = member.detector.suspects();
    member.board.up().iter().filter(|status| !suspects.contains(&status.node)).any(|status| {
        let of_partition = status.replicas.iter().filter(|known| known.partition == partition);
        of_partition.into_iter().any(|known| known.role == ReplicaRole::Leader && known.term >= ballot.term())
    })
}

async fn tails_of(member: &Arc<Member>, node: NodeId, partitions: Vec<PartitionId>) -> Vec<Option<LogTail>> {
    let Ok(client) = member.rpc.get(node).await else { return Vec::new() };
    client.log_tails(crate::peers::within(TAILS_TIMEOUT), partitions).await.unwrap_or_default()
}

/// Who goes first of those whose logs go equally far: another one for each partition, so that they share them.
fn order(partition: PartitionId, node: NodeId) -> u64 {
    // Two rounds of a multiplicative hash (Knuth, The Art of Computer Programming 3, 6.4).
    let mixed = (partition.topic.0 << 32 | u64::from(partition.index)) ^ node.0.rotate_left(17);
    mixed.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29).wrapping_mul(0xBF58_476D_1CE4_E5B9)
}

impl Member {
    /// How far the logs of this node's replicas go.
    pub(crate) fn log_tails(&self, partitions: &[PartitionId]) -> Vec<Option<LogTail>> {
        let running = self.replicas.all_running();
        let mut tails: HashMap<GroupId, LogTail> = HashMap::new();
        for group in running.iter().map(|group| group.group()) {
            let ballot = group.ballot();
            if !ballot.unfit && ballot.voters.contains_key(&group.replica()) {
                let tail = tails.entry(group.id()).or_default();
                *tail = group.log_tail().max(*tail);
            }
        }
        partitions.iter().map(|partition| tails.get(&GroupId::Partition(*partition)).copied()).collect()
    }
}
