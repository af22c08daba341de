//! What clients and nodes say to each other: the tarpc service, its wire types, the error codes, the version
//! handshake, the transport and the one codec module.
//!
//! Not here: sockets that are opened, retries, routing (the SDK) and the answers themselves (the node).

mod codec;
mod coordinator;
mod error;
mod fetch;
mod handshake;
mod health;
mod membership;
mod moves;
mod payload;
mod produce;
mod recovery;
mod service;
mod topology;
mod transport;
mod trim;

pub use codec::{CodecError, decode, encode};
pub use coordinator::{
    AssignedTopic, Assignment, CommittedOffset, Committer, CoordinatorRequest, GroupInfo, GroupRequest, GroupResponse,
    GroupState, GroupSummary, Heartbeat, MemberId, MemberInfo, MemberSettings, coordinator_of,
};
pub use error::{ApiError, ErrorCode};
pub use fetch::{FetchRequest, FetchResponse, OffsetQuery, OffsetsRequest, OffsetsResponse, ServeFrom};
pub use handshake::{HandshakeError, VERSION_MAX, VERSION_MIN, accept_client, connect_client};
pub use health::Problem;
pub use membership::{AddNodeRequest, Departure, RemoveNodeRequest};
pub use moves::{LeavingInfo, MoveInfo, MoveState, TasksResponse};
pub use payload::{Carrier, Payload};
pub use produce::{ProduceRequest, ProduceResponse};
pub use recovery::{MetadataRecoveryInfo, MissingInfo, OutlookInfo, RecoverRequest, RecoveryInfo, SurvivorInfo};
pub use service::{QuorateApi, QuorateApiClient, QuorateApiRequest, QuorateApiResponse};
pub use topology::{
    AlterTopicRequest, ClusterInfo, CreateTopicRequest, DeleteTopicRequest, DrainRequest, NodeInfo, NodeState,
    PartitionInfo, ReplicaInfo, ReplicaRole, TopicInfo, TopicSelector, TopicsRequest, TopicsResponse,
};
pub use transport::MessageTransport;
pub use trim::{TrimRequest, TrimResponse};
