//! Unsafe recovery of partitions: which ones have no majority any more, from which replica each could go on, and what would be
//! lost.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures::future::join_all;
use quorate_cluster_config::{GroupId, NodeId, PartitionId, PartitionIndex, ReplicaId, TopicId};
use quorate_raft::{Assignment, MetadataCommand, RecoverPartition};

use super::Member;
use crate::peers::{Findings, Survey};

/// How long another node may take to say what it has.
const SURVEY_TIMEOUT: Duration = Duration::from_secs(2);

/// What could become of a partition without its lost replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outlook {
    /// The partition.
    pub partition: PartitionId,
    /// Whether it has a leader, or sound replicas enough to elect one: then there is nothing to be recovered.
    pub has_majority: bool,
    /// The replicas that are there, the one with most of the log first: it is the one to go on from.
    pub survivors: Vec<Survey>,
    /// The replicas that are not.
    pub missing: Vec<Assignment>,
}

impl Outlook {
    /// From the replicas that the metadata know and those that were found running.
    fn new(partition: PartitionId, known: &[Assignment], found: &[Survey]) -> Self {
        // One that has never been a member has nothing.
        let has_begun = |survey: &Survey| survey.quorums.iter().any(|quorum| !quorum.is_empty());
        let is_known =
            |survey: &&Survey| has_begun(survey) && known.iter().any(|placed| placed.replica == survey.replica);
        let mut survivors: Vec<Survey> = found.iter().filter(is_known).cloned().collect();
        survivors.sort_by_key(|survey| (survey.damaged, Reverse(survey.tail), survey.replica));
        let there: BTreeSet<ReplicaId> = survivors.iter().map(|survey| survey.replica).collect();
        // A damaged one votes, and does not let one be elected that has less; whether it can be done without is not known.
        let sound = |voter: &ReplicaId| survivors.iter().any(|survey| survey.replica == *voter && !survey.damaged);
        let majority_of = |survey: &Survey| {
            let enough =
                |voters: &quorate_raft::Members| voters.keys().filter(|voter| sound(voter)).count() * 2 > voters.len();
            survey.quorums.iter().all(enough)
        };
        let has_majority = survivors.iter().any(|survey| survey.leader.is_some() || majority_of(survey));
        let missing = known.iter().filter(|placed| !there.contains(&placed.replica)).copied().collect();
        Self { partition, has_majority, survivors, missing }
    }
}

impl Member {
    /// The running replicas of these partitions on this node.
    pub(crate) fn survey(&self, partitions: &[PartitionId]) -> Findings {
        let wanted: BTreeSet<PartitionId> = partitions.iter().copied().collect();
        let (node, suspects) = (self.identity.node, self.detector.suspects());
        let leader = |group: &quorate_raft::Group| {
            let ballot = group.ballot();
            let leads = ballot.is_elected() && ballot.node().is_some_and(|leader| !suspects.contains(&leader));
            ballot.node().filter(|_| leads && self.detector.reaches_majority(node, &ballot.quorums))
        };
        let is_wanted = |group: &quorate_raft::Group| matches!(group.id(), GroupId::Partition(partition) if wanted.contains(&partition));
        let unclear = match self.replicas.all_started() && !self.replicas.opens_any(&wanted) {
            true => {
                let running = self.replicas.all_running();
                let mut ours = running.iter().map(|group| group.group()).filter(|group| is_wanted(group));
                let no_room = ours.find(|group| group.status().storage_full);
                no_room.map(|group| format!("its replica {} has stopped for want of room", group.replica()))
            }
            false => Some("it is still opening its replicas".to_owned()),
        };
        let look = |group: Arc<quorate_raft::PartitionGroup>| {
            let GroupId::Partition(partition) = group.group().id() else { return None };
            let status = group.group().status();
            (wanted.contains(&partition) && status.failure.is_none()).then(|| Survey {
                replica: group.group().replica(),
                partition,
                node: self.identity.node,
                tail: group.group().log_tail(),
                log_end_offset: group.log_end_offset(),
                high_watermark: group.high_watermark(),
                damaged: status.damage.is_some(),
                quorums: group.group().ballot().quorums,
                leader: leader(group.group()),
            })
        };
        let found = self.replicas.all_running().into_iter().filter_map(look).collect();
        Findings { node, found, unclear, suspects: suspects.iter().copied().collect() }
    }
}

/// Asks all nodes that answer what they have of a topic's partitions.
///
/// # Errors
/// In words, if one of them does not say in time: then nothing is known for sure.
pub(crate) async fn outlook(member: &Arc<Member>, topic: TopicId) -> Result<Vec<Outlook>, String> {
    outlook_of(member, topic, None).await
}

async fn outlook_of(
    member: &Arc<Member>,
    topic: TopicId,
    only: Option<PartitionIndex>,
) -> Result<Vec<Outlook>, String> {
    let state = member.metadata.state();
    let Some(row) = state.topic(topic) else { return Ok(Vec::new()) };
    let known = |(index, placed): (u32, &Vec<Assignment>)| {
        let partition = PartitionId { topic, index };
        let joining = state.move_of(partition).and_then(|row| row.add);
        (partition, placed.iter().copied().chain(joining).collect::<Vec<_>>())
    };
    let known: BTreeMap<PartitionId, Vec<Assignment>> =
        (0..).zip(&row.partitions).filter(|(index, _)| only.is_none_or(|only| only == *index)).map(known).collect();
    let partitions: Vec<PartitionId> = known.keys().copied().collect();
    let holders: BTreeSet<NodeId> = known.values().flatten().map(|placed| placed.node).collect();
    let others = holders.into_iter().filter(|node| *node != member.identity.node && member.board.is_up(*node));
    let asked = others.map(|node| {
        let partitions = partitions.clone();
        async move {
            let client = member.rpc.get(node).await.map_err(|error| silent(node, &error))?;
            let answer = client.survey(crate::peers::within(SURVEY_TIMEOUT), partitions).await;
            let answer = answer.map_err(|error| silent(node, &error))?;
            answer.map_err(|error| silent(node, &error))
        }
    });
    let mut answers = vec![member.survey(&partitions)];
    for answer in join_all(asked).await {
        answers.push(answer?);
    }
    check(&answers, &known.values().flatten().map(|placed| placed.node).collect(), &|node| state.is_shunned(node))?;
    let found: Vec<Survey> = answers.into_iter().flat_map(|answer| answer.found).collect();
    let of = |(partition, known): (&PartitionId, &Vec<Assignment>)| Outlook::new(*partition, known, &found);
    Ok(known.iter().map(of).collect())
}

/// Whether all that are there have answered in full, and nobody hears any of the others.
fn check(answers: &[Findings], holders: &BTreeSet<NodeId>, is_shunned: &dyn Fn(NodeId) -> bool) -> Result<(), String> {
    let answered: BTreeSet<NodeId> = answers.iter().map(|answer| answer.node).collect();
    for answer in answers {
        if let Some(why) = &answer.unclear {
            return Err(format!("node {}: {why}; try again when that is over", answer.node));
        }
        let missing = holders.iter().filter(|node| !answered.contains(node) && !is_shunned(**node));
        if let Some(heard) = missing.into_iter().find(|node| !answer.suspects.contains(node)) {
            return Err(format!(
                "node {heard} does not answer here, but node {} hears it: it is not gone; mend the network, or ask again",
                answer.node
            ));
        }
    }
    Ok(())
}

fn silent(node: NodeId, error: &dyn std::fmt::Display) -> String {
    format!("node {node} is up and did not say in time what it has: {error}; try again")
}

/// What has a partition go on from a replica that holds exactly so much.
///
/// # Errors
/// In words, if that is not what there is.
pub(crate) async fn recover(
    member: &Arc<Member>,
    partition: PartitionId,
    survivor: ReplicaId,
    log_end_offset: u64,
) -> Result<MetadataCommand, String> {
    let index = partition.index;
    let outlooks = outlook_of(member, partition.topic, Some(index)).await?;
    let Some(outlook) = outlooks.into_iter().find(|outlook| outlook.partition == partition) else {
        return Err(format!("the topic has no partition {index}"));
    };
    if outlook.has_majority {
        return Err(format!("a majority of the replicas of partition {index} is there: it needs no recovery"));
    }
    let named = outlook.survivors.iter().find(|survey| survey.replica == survivor);
    match named.filter(|named| named.log_end_offset == log_end_offset) {
        Some(named) => {
            let (high_watermark, decided_at_ms) = (named.high_watermark, member.replicas.environment().clock.now_ms());
            let decided = RecoverPartition { partition, survivor, log_end_offset, high_watermark, decided_at_ms };
            Ok(MetadataCommand::RecoverPartition(decided))
        }
        _ => Err(format!("what there is of partition {index} has changed since it was looked at; look again")),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use quorate_raft::{LogTail, Members};

    use super::*;

    const PARTITION: PartitionId = PartitionId { topic: TopicId(1), index: 0 };

    fn known(replicas: &[u64]) -> Vec<Assignment> {
        replicas.iter().map(|id| Assignment { replica: ReplicaId(*id), node: NodeId(*id) }).collect()
    }

    fn survey(replica: u64, end: u64, quorums: &[&[u64]]) -> Survey {
        let members = |ids: &&[u64]| -> Members { ids.iter().map(|id| (ReplicaId(*id), NodeId(*id))).collect() };
        Survey {
            replica: ReplicaId(replica),
            partition: PARTITION,
            node: NodeId(replica),
            tail: LogTail { term: 1, end },
            log_end_offset: end,
            high_watermark: 0,
            damaged: false,
            quorums: quorums.iter().map(members).collect(),
            leader: None,
        }
    }

    fn order(outlook: &Outlook) -> Vec<u64> {
        outlook.survivors.iter().map(|survey| survey.replica.0).collect()
    }

    #[test]
    fn a_partition_goes_on_from_the_sound_replica_with_most_of_the_log() {
        let voters: &[&[u64]] = &[&[1, 2, 3, 4, 5]];
        let newer = Survey { tail: LogTail { term: 2, end: 3 }, ..survey(1, 3, voters) };
        let damaged = Survey { damaged: true, ..survey(5, 99, voters) };
        let found = [survey(2, 9, voters), newer, survey(9, 99, voters)];
        let outlook = Outlook::new(PARTITION, &known(&[1, 2, 3, 4, 5]), &found);
        assert_eq!((outlook.has_majority, order(&outlook)), (false, vec![1, 2]), "the later term counts first");
        assert_eq!(outlook.missing, known(&[3, 4, 5]));
        let outlook = Outlook::new(PARTITION, &known(&[1, 5]), &[damaged, survey(1, 3, voters)]);
        assert_eq!(order(&outlook), [1, 5]);
    }

    #[test]
    fn a_majority_of_each_set_of_voters_must_be_there() {
        let majority = |there: &[u64], quorums: &[&[u64]]| {
            let found: Vec<Survey> = there.iter().map(|id| survey(*id, 1, quorums)).collect();
            Outlook::new(PARTITION, &known(&[1, 2, 3, 4]), &found).has_majority
        };
        assert!(majority(&[1, 2], &[&[1, 2, 3]]) && !majority(&[1], &[&[1, 2, 3]]));
        assert!(!majority(&[1], &[&[1, 2]]), "one of two is none");
        assert!(majority(&[1], &[&[1]]));
        assert!(!majority(&[1], &[&[1], &[2]]), "while it changes from the one to the other, it needs both");
        assert!(majority(&[1, 2, 4], &[&[1, 2, 3], &[1, 2, 4]]) && !majority(&[2, 3], &[&[1, 2, 3], &[1, 2, 4]]));
        assert!(!majority(&[], &[]), "where nobody is");
    }

    #[test]
    fn who_has_never_been_a_member_is_none_to_go_on_from_and_a_leader_or_sound_replicas_are_enough() {
        let outlook = Outlook::new(PARTITION, &known(&[1, 2]), &[survey(2, 0, &[]), survey(1, 0, &[&[]])]);
        assert!(outlook.survivors.is_empty() && !outlook.has_majority);
        let voters: &[&[u64]] = &[&[1, 2, 3]];
        let damaged = Survey { damaged: true, ..survey(2, 9, voters) };
        let found = [survey(1, 5, voters), damaged.clone()];
        assert!(!Outlook::new(PARTITION, &known(&[1, 2, 3]), &found).has_majority, "the damaged one lets nobody lead");
        let led = Survey { leader: Some(NodeId(2)), ..damaged };
        assert!(Outlook::new(PARTITION, &known(&[1, 2, 3]), &[led]).has_majority);
    }

    #[test]
    fn nothing_is_recovered_while_somebody_hears_the_missing_or_is_not_ready() {
        let findings = |node: u64, suspects: &[u64]| Findings {
            node: NodeId(node),
            found: Vec::new(),
            unclear: None,
            suspects: suspects.iter().copied().map(NodeId).collect(),
        };
        let holders = [1, 2, 3].map(NodeId).into();
        let shunned = |node: NodeId| node == NodeId(9);
        let check = |answers: &[Findings]| check(answers, &holders, &shunned);
        assert_eq!(check(&[findings(1, &[3]), findings(2, &[3])]), Ok(()));
        let heard = check(&[findings(1, &[3]), findings(2, &[])]).unwrap_err();
        assert!(heard.contains("node 3 does not answer here, but node 2 hears it"), "{heard}");
        let opening = Findings { unclear: Some("it is still opening".to_owned()), ..findings(2, &[3]) };
        assert!(check(&[findings(1, &[3]), opening]).unwrap_err().contains("node 2: it is still opening"));
    }
}
