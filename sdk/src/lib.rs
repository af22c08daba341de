//! The client library of Quorate, a replicated, clustered, append-only log.
//!
//! # Connecting
//!
//! A [`Client`] needs the client address of any node; it learns the others. Every call is bounded by the client's
//! timeout, retried where that may help, and sent to the node that can answer it.
//!
//! ```no_run
//! # async fn tour() -> Result<(), quorate::Error> {
//! use quorate::{Client, TopicConfig, TopicName};
//!
//! let client = Client::connect("127.0.0.1:7101,127.0.0.1:7102").await?;
//! let orders: TopicName = "shop/orders".parse().map_err(|error| {
//!     quorate::Error::InvalidArgument(format!("{error}"))
//! })?;
//! let topic = client.create_topic(&orders, TopicConfig { partitions: 3, ..TopicConfig::default() }).await?;
//! println!("{} has {} partitions", topic.name, topic.partitions.len());
//! # Ok(()) }
//! ```
//!
//! # Producing
//!
//! A [`Producer`] appends each record exactly once and, per partition, in the order of the calls to
//! [`send`](Producer::send). `send` waits for room in a bounded buffer and returns a [`Delivery`], a future of the
//! record's offset: await it at once, later, or leave errors to [`flush`](Producer::flush).
//!
//! ```no_run
//! # async fn tour(client: quorate::Client, orders: quorate::TopicName) -> Result<(), Box<dyn std::error::Error>> {
//! use quorate::Record;
//!
//! let producer = client.producer(&orders).build().await?;
//! let delivery = producer.send(Record::new("one cup", 1_700_000_000_000).with_key("customer-7").into()).await?;
//! let metadata = delivery.await?;
//! println!("partition {}, offset {}", metadata.partition, metadata.offset);
//! producer.close().await?;
//! # Ok(()) }
//! ```
//!
//! [`send_batch_at`](Producer::send_batch_at) appends a batch only where the partition ends at the offset the caller
//! expects: of several writers that have read the same state, one succeeds.
//!
//! # Consuming
//!
//! A [`Consumer`] reads the partitions it is given, from where it is told, as often as wanted.
//!
//! ```no_run
//! # async fn tour(client: quorate::Client, orders: quorate::TopicName) -> Result<(), quorate::Error> {
//! use std::time::Duration;
//! use quorate::Position;
//!
//! let mut consumer = client.consumer(&orders).from(Position::First).build().await?;
//! for record in consumer.poll(Duration::from_secs(1)).await? {
//!     println!("{}@{}: {:?}", record.partition, record.offset, record.record.value);
//! }
//! # Ok(()) }
//! ```
//!
//! A consumer is a [`Stream`](futures::Stream) of records, too. Told where to stop, it replays a range and ends:
//!
//! ```no_run
//! # async fn tour(client: quorate::Client, orders: quorate::TopicName) -> Result<(), quorate::Error> {
//! use std::time::Duration;
//! use futures::StreamExt;
//! use quorate::Position;
//!
//! let last_hour = Position::Ago(Duration::from_secs(3600));
//! let mut records = client.consumer(&orders).from(last_hour).until(Position::Last).build().await?;
//! while let Some(record) = records.next().await {
//!     println!("{:?}", record?.record.key);
//! }
//! # Ok(()) }
//! ```
//!
//! # Consumer groups
//!
//! Members of a group share the partitions of topics. The cluster assigns them, remembers what is
//! [committed](CommitMode), and gives a partition to another member only after its previous one has finished with it. Each
//! record is delivered at least once.
//!
//! ```no_run
//! # async fn tour(client: quorate::Client, orders: quorate::TopicName) -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use quorate::{CommitMode, Name, RebalanceEvent};
//!
//! let mut member = client
//!     .group_consumer(&Name::parse("billing")?, [orders])
//!     .commit_mode(CommitMode::AfterProcessing)
//!     .on_rebalance(|event| match event {
//!         RebalanceEvent::Assigned(partitions) => println!("reads {partitions:?}"),
//!         RebalanceEvent::Revoked(partitions) => println!("is about to give up {partitions:?}"),
//!         RebalanceEvent::Lost(partitions) => println!("has lost {partitions:?}"),
//!     })
//!     .build()
//!     .await?;
//! loop {
//!     // What the last poll has returned counts as processed, and is committed.
//!     for record in member.poll(Duration::from_secs(1)).await? {
//!         println!("{}@{}", record.partition, record.offset);
//!     }
//! #   if true { break }
//! }
//! for (partition, lag) in member.lag().await? {
//!     println!("{partition} is {} records, {:?} behind", lag.records, lag.time);
//! }
//! member.close().await?;
//! # Ok(()) }
//! ```
//!
//! # Errors
//!
//! [`Error`] and [`ProduceError`] are one line for a person; programs ask them `is_retryable()`,
//! `has_no_side_effects()` and `code()`, and which `topic()`, `partition()` and `node()` they are about.
//!
//! Not here: anything a node does. A cluster for tests is in the crate `quorate-testing`.

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
    OffsetQuery, OutlookInfo, PartitionInfo, RecoveryInfo, ReplicaInfo, ReplicaRole, ServeFrom, SurvivorInfo,
    TasksResponse as Tasks, TopicInfo, coordinator_of,
};
pub use quorate_record::{
    BatchError, BatchHeader, Batches, Compression, DecodeLimits, DecodedRecord, Header, ParseCompressionError, Record,
    RecordsIter, decode_batch, split_batches,
};
