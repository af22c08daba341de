//! The client library of Quorate, a replicated, clustered, append-only log.
//!
#![cfg_attr(not(doctest), doc = include_str!("tour.md"))]

mod admin;
mod alteration;
mod backoff;
mod builder;
mod client;
mod connection;
mod consumer;
mod error;
mod group;
mod place;
mod pool;
mod producer;
mod routing;
mod time;
mod topology;

pub use alteration::TopicAlteration;
pub use builder::ClientBuilder;
pub use client::Client;
pub use consumer::{ConsumedRecord, Consumer, ConsumerBuilder, OnTruncated, Position, RawBatches};
pub use error::Error;
pub use group::{CommitMode, GroupConsumer, GroupConsumerBuilder, Lag, RebalanceEvent};
pub use place::Place;
pub use producer::{Delivery, ProduceError, Producer, ProducerBuilder, ProducerRecord, RecordMetadata};

pub use quorate_cluster_config::{
    Address, AddressError, ClusterId, Name, NameError, NodeId, PartitionId, PartitionIndex, ProducerId, ReplicaId,
    TopicConfig, TopicId, TopicName, TopicNameError, limits,
};
pub use quorate_protocol::{
    ClusterInfo, CommittedOffset, Departure, ErrorCode, GroupInfo, GroupState, GroupSummary, LeavingInfo, MemberId,
    MemberInfo, MemberSettings, MetadataRecoveryInfo, MissingInfo, MoveInfo, MoveState, NodeInfo, NodeState,
    OffsetQuery, OutlookInfo, PartitionInfo, Problem, RecoveryInfo, ReplicaInfo, ReplicaRole, ServeFrom, SurvivorInfo,
    TasksResponse as Tasks, TopicInfo, coordinator_of,
};
pub use quorate_record::{
    BatchError, BatchHeader, Batches, Compression, DecodeLimits, DecodedRecord, Header, ParseCompressionError, Record,
    RecordsIter, decode_batch, split_batches,
};
