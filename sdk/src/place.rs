//! What an error is about.

use std::fmt;

use quorate_cluster_config::{NodeId, PartitionIndex, TopicName};

/// The topic, partition and node an error is about, each as far as it is known. Displayed without the node, as in
/// "partition 3 of topic orders".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The topic.
    pub topic: Option<TopicName>,
    /// The partition.
    pub partition: Option<PartitionIndex>,
    /// The node that was asked last.
    pub node: Option<NodeId>,
}

/// All of them boxed, as errors hold them: what is rare need not make every result large.
impl Place {
    /// A topic as a whole.
    pub(crate) fn of_topic(topic: &TopicName) -> Box<Self> {
        Box::new(Self { topic: Some(topic.clone()), ..Self::default() })
    }

    /// A partition of a topic, if its name is known.
    pub(crate) fn of_partition(topic: Option<&TopicName>, partition: PartitionIndex) -> Box<Self> {
        Box::new(Self { topic: topic.cloned(), partition: Some(partition), node: None })
    }

    /// The same, answered for by this node, if it is known.
    pub(crate) fn at(&self, node: Option<NodeId>) -> Box<Self> {
        Box::new(Self { node: node.or(self.node), ..self.clone() })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.topic, self.partition) {
            (Some(topic), Some(partition)) => write!(formatter, "partition {partition} of topic {topic}"),
            (None, Some(partition)) => write!(formatter, "partition {partition}"),
            (Some(topic), None) => write!(formatter, "topic {topic}"),
            (None, None) => formatter.write_str("the cluster"),
        }
    }
}
