//! Ids, names, limits and configuration shared by every crate of the workspace.
//!
//! * [`NodeId`] and its kin: who is who in the cluster.
//! * [`Name`], [`TopicName`], [`Address`]: text a person writes, valid by construction.
//! * [`limits`]: every bound of the system, and how the bounds hang together.
//! * [`TopicConfig`]: the settings of one topic.
//! * [`NodeConfig`]: the settings of one node process, loaded from defaults, TOML, environment and flags.
//!
//! Not here: anything that opens a socket or a file other than a configuration file.

mod address;
mod bounds;
mod ids;
pub mod limits;
mod load;
mod name;
mod node;
mod text;
mod topic;
mod topic_name;

pub use address::{Address, AddressError, AddressProblem};
pub use bounds::OutOfBounds;
pub use ids::{ClusterId, GroupId, GroupKind, NodeId, PartitionId, PartitionIndex, ProducerId, ReplicaId, TopicId};
pub use load::{ConfigError, FOREIGN_VARIABLES, Loaded, Origin, Setting, Sources, flag_name, variable_name};
pub use name::{Name, NameError};
pub use node::{
    CLIENT_PORT_DEFAULT, HTTP_PORT_DEFAULT, LimitsConfig, LogConfig, NodeConfig, NodeConfigError, PEER_PORT_DEFAULT,
    RaftConfig, RetentionConfig,
};
pub use topic::TopicConfig;
pub use topic_name::{DEFAULT_STREAM, SYSTEM_STREAM, TopicName, TopicNameError};
