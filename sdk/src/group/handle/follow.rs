//! Following what the coordinator assigns: giving up and taking up partitions.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt, stream};
use quorate_cluster_config::{PartitionId, TopicName};
use quorate_protocol::{Assignment, OffsetQuery};

use super::{
    super::{CommitMode, RebalanceEvent},
    GroupConsumer,
};
use crate::{
    client::Client,
    consumer::{OFFSETS_IN_FLIGHT_MAX, Position, Start},
    error::Error,
};

/// Between two tries to take up a partition.
const TAKE_UP_PAUSE: Duration = Duration::from_millis(500);

impl GroupConsumer {
    /// Does what the coordinator has told: gives up partitions, takes others up. `true` if it has taken up any.
    pub(super) async fn follow(&mut self) -> Result<bool, Error> {
        let shared = Arc::clone(self.shared());
        let mut took_up = false;
        loop {
            let (incarnation, failure, member, assignment) = {
                let told = shared.told();
                (told.incarnation, told.failure.clone(), told.member, told.assignment.clone())
            };
            if incarnation != self.incarnation {
                self.incarnation = incarnation;
                self.lose_all();
            }
            let Some(member) = member else {
                return failure.map_or(Ok(took_up), Err);
            };
            let retries = self.retry_at.is_some_and(|at| at <= Instant::now());
            if self.followed == Some((member, assignment.epoch)) && !retries {
                return Ok(took_up);
            }
            let names = names(&assignment);
            self.give_up(&names).await;
            // Taking up begins with saying so; if there is something newer by now, that counts.
            let added: BTreeSet<PartitionId> = {
                let mut told = shared.told();
                if told.incarnation != incarnation || told.assignment.epoch != assignment.epoch {
                    continue;
                }
                told.owned.extend(names.keys());
                names.keys().copied().filter(|id| !self.engine.reads(*id)).collect()
            };
            shared.changed.notify_one();
            // Should this not come to its end, it is taken up again.
            (self.followed, self.retry_at) = (Some((member, assignment.epoch)), Some(Instant::now()));
            let before = self.engine.partitions().count();
            let taken_up = self.take_up(&added, &names).await;
            took_up |= self.engine.partitions().count() > before;
            self.retry_at = taken_up.is_err().then(|| Instant::now() + TAKE_UP_PAUSE);
            // What it has already is read meanwhile.
            match taken_up {
                Err(error) if self.engine.partitions().next().is_none() => return Err(error),
                Err(error) => tracing::warn!(group = %shared.group, %error, "a partition cannot be read yet"),
                Ok(()) => {}
            }
        }
    }

    /// Of nothing it had anything can be committed.
    fn lose_all(&mut self) {
        let lost = self.assignment();
        lost.iter().for_each(|partition| self.engine.remove(*partition));
        self.handed_out.clear();
        self.processed.clear();
        self.topics.clear();
        (self.followed, self.retry_at) = (None, None);
        self.tell(RebalanceEvent::Lost(lost));
    }

    /// Gives up what is not assigned any more, after committing what was processed of it.
    async fn give_up(&mut self, assigned: &BTreeMap<PartitionId, Arc<TopicName>>) {
        let revoked: Vec<PartitionId> = self.engine.partitions().filter(|id| !assigned.contains_key(id)).collect();
        if !revoked.is_empty() {
            revoked.iter().for_each(|partition| self.engine.remove(*partition));
            self.tell(RebalanceEvent::Revoked(revoked.clone()));
        }
        let shared = Arc::clone(self.shared());
        // Also what an earlier call did not come to the end with.
        let leaving: Vec<PartitionId> =
            shared.told().owned.iter().copied().filter(|id| !assigned.contains_key(id)).collect();
        let last = |id: &PartitionId| Some((*id, *self.processed.get(id)?));
        let offsets: Vec<(PartitionId, u64)> = leaving.iter().filter_map(last).collect();
        if !offsets.is_empty()
            && self.settings.commit_mode != CommitMode::Manual
            && let Err(error) = self.send_commit(&offsets).await
        {
            tracing::warn!(group = %shared.group, %error, "what was processed of revoked partitions could not be committed");
        }
        for partition in &leaving {
            self.processed.remove(partition);
            self.handed_out.remove(partition);
            self.topics.remove(partition);
        }
        shared.told().owned.retain(|id| assigned.contains_key(id));
        shared.changed.notify_one();
    }

    /// Begins to read what was committed, or where the settings say.
    async fn take_up(
        &mut self,
        added: &BTreeSet<PartitionId>,
        names: &BTreeMap<PartitionId, Arc<TopicName>>,
    ) -> Result<(), Error> {
        if added.is_empty() {
            return Ok(());
        }
        let shared = Arc::clone(self.shared());
        let committed = shared.client.committed(&shared.group, Some(added.iter().copied().collect())).await?;
        let committed: BTreeMap<PartitionId, u64> = committed.into_iter().map(|(id, at)| (id, at.offset)).collect();
        let (from, client) = (self.settings.from, &shared.client);
        let at_first = from == Position::First;
        let starts: Vec<(PartitionId, Result<Start, Error>)> = stream::iter(added.iter().copied())
            .map(|id| {
                let committed = committed.get(&id).copied();
                async move {
                    let start = match committed {
                        Some(offset) => committed_start(client, id, offset).await,
                        None => from.resolve(client, id).await.map(|offset| Start { offset, at_first, end: None }),
                    };
                    (id, start)
                }
            })
            .buffer_unordered(OFFSETS_IN_FLIGHT_MAX)
            .collect()
            .await;
        // Where a time or the end was at that moment is not to be found again: another member must not begin later.
        let moves = !matches!(from, Position::First | Position::Offset(_));
        let begun = starts.iter().filter(|(id, _)| moves && !committed.contains_key(id));
        let begun: Vec<(PartitionId, u64)> =
            begun.filter_map(|(id, start)| Some((*id, start.as_ref().ok()?.offset))).collect();
        if !begun.is_empty() && self.settings.commit_mode != CommitMode::Manual {
            self.send_commit(&begun).await?;
        }
        let (mut taken, mut failure) = (Vec::new(), None);
        for (partition, start) in starts {
            match (start, names.get(&partition)) {
                (Ok(start), Some(name)) => {
                    self.topics.insert(partition, Arc::clone(name));
                    self.engine.add(partition, Arc::clone(name), start);
                    taken.push(partition);
                }
                (Err(error), _) => failure = Some(error),
                (Ok(_), None) => {}
            }
        }
        taken.sort_unstable();
        self.tell(RebalanceEvent::Assigned(taken));
        failure.map_or(Ok(()), Err)
    }
}

/// Where the group goes on. An offset beyond the end is one of records that were given up when the partition was recovered.
async fn committed_start(client: &Client, partition: PartitionId, offset: u64) -> Result<Start, Error> {
    let end_offset = client.partition_offset(partition, OffsetQuery::Last).await?;
    if offset > end_offset {
        let log_start_offset = client.partition_offset(partition, OffsetQuery::First).await?;
        let place = client.router().topology().place(partition);
        return Err(Error::OffsetOutOfRange { place, offset, log_start_offset, end_offset });
    }
    Ok(Start { offset, at_first: false, end: None })
}

fn names(assignment: &Assignment) -> BTreeMap<PartitionId, Arc<TopicName>> {
    let of_topic = |assigned: &quorate_protocol::AssignedTopic| {
        let (topic, name) = (assigned.topic, Arc::new(assigned.name.clone()));
        let named = |index: &u32| (PartitionId { topic, index: *index }, Arc::clone(&name));
        assigned.partitions.iter().map(named).collect::<Vec<_>>()
    };
    assignment.topics.iter().flat_map(of_topic).collect()
}
