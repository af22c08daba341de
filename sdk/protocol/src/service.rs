//! The tarpc service of the client port.

use crate::{
    ApiError, ClusterInfo, CreateTopicRequest, DeleteTopicRequest, DrainRequest, FetchRequest, FetchResponse, MoveInfo,
    OffsetsRequest, OffsetsResponse, ProduceRequest, ProduceResponse, RebalanceResponse, TopicInfo, TopicsRequest,
    TopicsResponse, TrimRequest, TrimResponse,
};
use quorate_cluster_config::ProducerId;

/// What a client may ask of any node. Appends, offsets and trims are answered by the partition's leader
/// only; fetches too, unless they say otherwise.
#[tarpc::service]
pub trait QuorateApi {
    /// The cluster, its nodes and its health as this node sees them.
    async fn cluster_info() -> Result<ClusterInfo, ApiError>;
    /// Topics with partitions, replicas and leader hints.
    async fn topics(request: TopicsRequest) -> Result<TopicsResponse, ApiError>;
    /// Creates a topic. Returns once the metadata group has committed it; its partitions may still elect leaders.
    async fn create_topic(request: CreateTopicRequest) -> Result<TopicInfo, ApiError>;
    /// Deletes a topic. Returns the metadata index of the deletion.
    async fn delete_topic(request: DeleteTopicRequest) -> Result<u64, ApiError>;
    /// A producer id never given before.
    async fn allocate_producer_id() -> Result<ProducerId, ApiError>;
    /// Appends a record batch; answered once it is on stable storage of a majority.
    async fn produce(request: ProduceRequest) -> Result<ProduceResponse, ApiError>;
    /// Reads committed record batches.
    async fn fetch(request: FetchRequest) -> Result<FetchResponse, ApiError>;
    /// An offset of a partition: its first, its last, or that of a time.
    async fn offsets(request: OffsetsRequest) -> Result<OffsetsResponse, ApiError>;
    /// Deletes the records of a partition before an offset; answered once that is on stable storage of a majority.
    async fn trim(request: TrimRequest) -> Result<TrimResponse, ApiError>;
    /// Has a node lead nothing, or lead again. Returns the metadata index of the change: leadership moves after it.
    async fn drain(request: DrainRequest) -> Result<u64, ApiError>;
    /// Begins moves that make all nodes carry alike, and partitions span as many racks as they can. They go on by themselves;
    /// a partition that has to change twice changes once, and is planned again when asked for again.
    async fn rebalance() -> Result<RebalanceResponse, ApiError>;
    /// Has all moves taken back whose new replica does not vote yet. Returns how many.
    async fn cancel_moves() -> Result<u32, ApiError>;
    /// The moves under way, as of this metadata index or later.
    async fn moves(min_metadata_index: u64) -> Result<Vec<MoveInfo>, ApiError>;
}
