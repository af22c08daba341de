//! A real Quorate cluster inside of a test: the nodes of the shipped program, with disks in memory.
//!
//! ```
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! use quorate::{Record, TopicConfig, TopicName};
//! use quorate_testing::Cluster;
//!
//! let mut cluster = Cluster::start(3).await?;
//! let client = cluster.client().await?;
//! let orders = TopicName::parse("orders")?;
//! client.create_topic(&orders, TopicConfig::default()).await?;
//! let producer = client.producer(&orders).build().await?;
//! producer.send(Record::new("one cup", 0).into()).await?.await?;
//!
//! cluster.kill(1)?; // a power cut: what was not synced is lost
//! producer.send(Record::new("another one", 0).into()).await?.await?;
//! cluster.restart(1).await?;
//! # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
//! ```
//!
//! Each node runs on threads of its own, so that killing it is abrupt, and listens on free ports of the loopback
//! interface. What is acknowledged survives as it does on real disks; memory holds all of it, so that a test should write
//! megabytes rather than gigabytes. Dropping the cluster ends it.
//!
//! Not here: faults of disks and clocks, and the judgement of histories, which the project's own chaos tests have.

mod cluster;
mod error;
mod net;
mod node;
mod ports;

pub use cluster::{Cluster, ClusterBuilder};
pub use error::TestingError;
pub use ports::free_ports;
