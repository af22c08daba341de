//! Groups as operators see them.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use futures::{StreamExt, TryStreamExt, stream};
use quorate_cluster_config::{
    Name, PartitionId,
    limits::{COORDINATOR_GROUPS, OFFSETS_PER_COMMIT_MAX},
};
use quorate_protocol::{Committer, ErrorCode, GroupInfo, GroupRequest, GroupResponse, GroupSummary};

use tokio::time::timeout_at;

use super::{Lag, coordinator::unexpected};
use crate::{client::Client, error::Error};

/// Partitions asked after at once.
const PARTITIONS_ASKED_MAX: usize = 64;

impl Client {
    /// All consumer groups, by name.
    ///
    /// # Errors
    /// [`Error::Unreachable`] or [`Error::TimedOut`] if one of the coordinators does not answer in time.
    pub async fn groups(&self) -> Result<Vec<GroupSummary>, Error> {
        let topic = self.coordinators().await?;
        let lists: Vec<Vec<GroupSummary>> = stream::iter(0..COORDINATOR_GROUPS)
            .map(|index| async move {
                let call = self.call("list the consumer groups");
                match self.ask_coordinator(PartitionId { topic, index }, call, GroupRequest::List).await? {
                    GroupResponse::Groups(groups) => Ok(groups),
                    other => Err(unexpected("list the consumer groups", &other)),
                }
            })
            .buffer_unordered(COORDINATOR_GROUPS as usize)
            .try_collect()
            .await
            .map_err(Error::without_effects)?;
        let mut groups: Vec<GroupSummary> = lists.into_iter().flatten().collect();
        groups.sort_by(|left, right| left.name.cmp(&right.name));
        Ok(groups)
    }

    /// A consumer group: its members, what each of them has, what is committed. Linearizable.
    ///
    /// # Errors
    /// [`Error::Refused`] with [`ErrorCode::UnknownGroup`](crate::ErrorCode::UnknownGroup).
    pub async fn group(&self, name: &Name) -> Result<GroupInfo, Error> {
        let request = GroupRequest::Describe { group: name.clone() };
        match self.coordinate(name, "describe", request, Duration::ZERO).await.map_err(Error::without_effects)? {
            GroupResponse::Group(group) => Ok(group),
            other => Err(unexpected("describe a consumer group", &other)),
        }
    }

    /// How far a group is behind, per partition of which it has committed an offset, as far as that is known after `within`:
    /// a partition without a leader is missing then, and so is one of a topic that was deleted.
    pub async fn group_lag(&self, group: &GroupInfo, within: Duration) -> BTreeMap<PartitionId, Lag> {
        let deadline = Instant::now() + within;
        let committed: Vec<_> = group.committed.iter().map(|(id, committed)| (*id, committed.offset)).collect();
        stream::iter(committed)
            .map(|(id, offset)| async move {
                Some((id, timeout_at(deadline.into(), self.lag(id, offset)).await.ok()?.ok()?))
            })
            .buffer_unordered(PARTITIONS_ASKED_MAX)
            .filter_map(|lag| async move { lag })
            .collect()
            .await
    }

    /// Forgets a consumer group without members, and what it has committed.
    ///
    /// # Errors
    /// [`Error::Refused`] with [`ErrorCode::UnknownGroup`](crate::ErrorCode::UnknownGroup) or
    /// [`ErrorCode::GroupNotEmpty`](crate::ErrorCode::GroupNotEmpty).
    pub async fn delete_group(&self, name: &Name) -> Result<(), Error> {
        let request = GroupRequest::Delete { group: name.clone() };
        match self.coordinate(name, "delete", request, Duration::ZERO).await {
            // An earlier try may have deleted it: what was asked for holds.
            Err(Error::Refused { code: ErrorCode::UnknownGroup, outcome_unknown: true, .. }) => Ok(()),
            deleted => deleted.map(drop),
        }
    }

    /// Has a consumer group without members go on at these offsets, back as well; `None` forgets what is committed, so that
    /// members begin where their settings say. A group that does not exist is made.
    ///
    /// # Errors
    /// [`Error::Refused`] with [`ErrorCode::GroupNotEmpty`](crate::ErrorCode::GroupNotEmpty).
    pub async fn reset_group(&self, name: &Name, offsets: &[(PartitionId, Option<u64>)]) -> Result<(), Error> {
        for chunk in offsets.chunks(OFFSETS_PER_COMMIT_MAX) {
            let (group, offsets) = (name.clone(), chunk.to_vec());
            let request = GroupRequest::Commit { group, committer: Committer::Outside, offsets };
            self.coordinate(name, "reset", request, Duration::ZERO).await?;
        }
        Ok(())
    }
}
