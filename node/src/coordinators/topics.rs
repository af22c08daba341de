//! The topics as this node's metadata have them.

use std::sync::Arc;

use quorate_cluster_config::{TopicId, TopicName};
use quorate_coordinator::Topics;
use quorate_raft::MetadataState;

use crate::cluster::Member;

pub(super) struct KnownTopics {
    index: u64,
    state: Arc<MetadataState>,
}

impl KnownTopics {
    pub(super) fn of(member: &Member) -> Self {
        // The index first: what is applied in between is looked at again.
        let index = *member.metadata.applied_end().borrow();
        Self { index, state: member.metadata.state() }
    }
}

impl Topics for KnownTopics {
    fn metadata_index(&self) -> u64 {
        self.index
    }

    fn find(&self, name: &TopicName) -> Option<(TopicId, u32)> {
        let topic = self.state.topic_named(name).filter(|topic| !topic.name.is_system())?;
        Some((topic.id, u32::try_from(topic.partitions.len()).unwrap_or(u32::MAX)))
    }

    fn was_deleted(&self, topic: TopicId) -> bool {
        self.state.was_deleted(topic)
    }
}
