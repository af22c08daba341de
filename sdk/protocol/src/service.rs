//! The tarpc service of the client port.

use crate::{
    AddNodeRequest, AlterTopicRequest, ApiError, ClusterInfo, CoordinatorRequest, CreateTopicRequest,
    DeleteTopicRequest, DrainRequest, FetchRequest, FetchResponse, GroupResponse, OffsetsRequest, OffsetsResponse,
    OutlookInfo, ProduceRequest, ProduceResponse, RecoverRequest, RemoveNodeRequest, TasksResponse, TopicInfo,
    TopicsRequest, TopicsResponse, TrimRequest, TrimResponse,
};
use quorate_cluster_config::{NodeId, ProducerId, TopicId};

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
    /// Adds a node that waits for that; returns its id. Its share of the replicas moves to it after that.
    async fn add_node(request: AddNodeRequest) -> Result<NodeId, ApiError>;
    /// Has a node leave, or stay. Returns the metadata index of the decision: what the node has moves away after it, and
    /// then it is forgotten.
    async fn remove_node(request: RemoveNodeRequest) -> Result<u64, ApiError>;
    /// Has replicas moved until all nodes carry alike, and partitions span as many racks as they can. Returns the metadata
    /// index of the decision.
    async fn rebalance() -> Result<u64, ApiError>;
    /// Ends the evening out of replicas, and has its moves taken back as far as their new replicas do not vote yet. Returns
    /// how many are to be.
    async fn cancel_moves() -> Result<u32, ApiError>;
    /// What the cluster is about to change by itself, as of this metadata index or later.
    async fn tasks(min_metadata_index: u64) -> Result<TasksResponse, ApiError>;
    /// Changes a topic. Returns the metadata index of the change: replicas move after it.
    async fn alter_topic(request: AlterTopicRequest) -> Result<u64, ApiError>;
    /// What could become of a topic's partitions without the replicas that are missing.
    async fn outlook(topic: TopicId) -> Result<Vec<OutlookInfo>, ApiError>;
    /// Has a partition go on from one of its replicas alone, and gives up what only the others had. Returns the metadata index
    /// of the decision.
    async fn recover_partition(request: RecoverRequest) -> Result<u64, ApiError>;
    /// The topic whose partitions hold the consumer groups. It is created when it is first asked for.
    async fn consumer_groups_topic() -> Result<TopicId, ApiError>;
    /// Asks the coordinator of a consumer group: the leader of its partition.
    async fn coordinate(request: CoordinatorRequest) -> Result<GroupResponse, ApiError>;
}
