//! Unsafe recovery of partitions: which ones have no majority any more, from which replica each could go on, and what would be
//! lost.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures::future::join_all;
use quorate_cluster_config::{GroupId, NodeId, PartitionId, ReplicaId, TopicId};
use quorate_raft::{Assignment, MetadataCommand, RecoverPartition};

use super::Member;
use crate::peers::Survey;

/// How long another node may take to say what it has.
const SURVEY_TIMEOUT: Duration = Duration::from_secs(2);

/// What could become of a partition without its lost replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outlook {
    /// The partition.
    pub partition: PartitionId,
    /// Whether a majority of its voters is there: then there is nothing to be recovered.
    pub has_majority: bool,
    /// The replicas that are there, the one with most of the log first: it is the one to go on from.
    pub survivors: Vec<Survey>,
    /// The replicas that are not.
    pub missing: Vec<Assignment>,
}

impl Outlook {
    /// From the replicas that the metadata know and those that were found running.
    fn new(partition: PartitionId, known: &[Assignment], found: &[Survey]) -> Self {
        let is_known = |survey: &&Survey| known.iter().any(|placed| placed.replica == survey.replica);
        let mut survivors: Vec<Survey> = found.iter().filter(is_known).cloned().collect();
        survivors.sort_by_key(|survey| (survey.damaged, Reverse(survey.tail), survey.replica));
        let there: BTreeSet<ReplicaId> = survivors.iter().map(|survey| survey.replica).collect();
        let majority_of = |survey: &Survey| {
            let enough = |voters: &quorate_raft::Members| {
                voters.keys().filter(|voter| there.contains(voter)).count() * 2 > voters.len()
            };
            !survey.quorums.is_empty() && survey.quorums.iter().all(enough)
        };
        let has_majority = survivors.iter().any(majority_of);
        let missing = known.iter().filter(|placed| !there.contains(&placed.replica)).copied().collect();
        Self { partition, has_majority, survivors, missing }
    }
}

impl Member {
    /// The running replicas of these partitions on this node.
    pub(crate) fn survey(&self, partitions: &[PartitionId]) -> Vec<Survey> {
        let wanted: BTreeSet<PartitionId> = partitions.iter().copied().collect();
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
            })
        };
        self.replicas.all_running().into_iter().filter_map(look).collect()
    }
}

/// Asks all nodes that answer what they have of a topic's partitions.
///
/// # Errors
/// In words, if one of them does not say in time: then nothing is known for sure.
pub(crate) async fn outlook(member: &Arc<Member>, topic: TopicId) -> Result<Vec<Outlook>, String> {
    let state = member.metadata.state();
    let Some(row) = state.topic(topic) else { return Ok(Vec::new()) };
    let known = |(index, placed): (u32, &Vec<Assignment>)| {
        let partition = PartitionId { topic, index };
        let joining = state.move_of(partition).and_then(|row| row.add);
        (partition, placed.iter().copied().chain(joining).collect::<Vec<_>>())
    };
    let known: BTreeMap<PartitionId, Vec<Assignment>> = (0..).zip(&row.partitions).map(known).collect();
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
    let mut found = member.survey(&partitions);
    for answer in join_all(asked).await {
        found.extend(answer?);
    }
    let of = |(partition, known): (&PartitionId, &Vec<Assignment>)| Outlook::new(*partition, known, &found);
    Ok(known.iter().map(of).collect())
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
    let outlooks = outlook(member, partition.topic).await?;
    let index = partition.index;
    let Some(outlook) = outlooks.into_iter().find(|outlook| outlook.partition == partition) else {
        return Err(format!("the topic has no partition {index}"));
    };
    if outlook.has_majority {
        return Err(format!("a majority of the replicas of partition {index} is there: it needs no recovery"));
    }
    match outlook.survivors.first() {
        Some(best) if (best.replica, best.log_end_offset) == (survivor, log_end_offset) => {
            let (high_watermark, decided_at_ms) = (best.high_watermark, member.replicas.environment().clock.now_ms());
            let decided = RecoverPartition { partition, survivor, log_end_offset, high_watermark, decided_at_ms };
            Ok(MetadataCommand::RecoverPartition(decided))
        }
        _ => Err(format!("what there is of partition {index} has changed since it was looked at; look again")),
    }
}

#[cfg(test)]
mod tests {
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
        assert!(!majority(&[], &[]) && !majority(&[1], &[]), "who knows no voters has no majority");
    }
}
