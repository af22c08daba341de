//! A Quorate node: wires logs and Raft groups to disk, network and clients.
//!
//! [`Node::start`] is the process; [`Seams`] are the four places at which a test may put faults. Nothing here decides
//! what a record batch means (that is `quorate-raft`) or how bytes lie on disk (`quorate-log-engine`).

mod clients;
mod cluster;
mod coordinators;
mod data_dir;
mod http;
mod identity;
mod metrics;
mod net;
mod node;
mod peers;
mod recover_metadata;
mod store_format;

pub use cluster::FormError;
pub use data_dir::{DataDir, DataDirError};
pub use identity::{Formation, Identity, Origin};
pub use net::{ByteStream, Listener, Net, Stream, TcpNet};
pub use node::{Build, Node, NodeError, OpenStore, Seams};
pub use peers::{Expulsion, PEER_VERSIONS, PeerVersions};
pub use quorate_log_engine::Vfs;
pub use quorate_raft::{BoxFuture, Levels, MemoryStore, SystemClock, WallClock};
pub use recover_metadata::{MetadataRescue, RescueError, recover_metadata};
