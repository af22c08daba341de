//! Connections of clients.

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use quorate_cluster_config::{NodeId, ProducerId, TopicId, limits};
use quorate_protocol::{
    AddNodeRequest, AlterTopicRequest, ApiError, ClusterInfo, CoordinatorRequest, CreateTopicRequest,
    DeleteTopicRequest, DrainRequest, FetchRequest, FetchResponse, GroupResponse, HandshakeError, OffsetsRequest,
    OffsetsResponse, OutlookInfo, ProduceRequest, ProduceResponse, QuorateApi, QuorateApiRequest, QuorateApiResponse,
    RecoverRequest, RemoveNodeRequest, TasksResponse, TopicInfo, TopicsRequest, TopicsResponse, TrimRequest,
    TrimResponse,
};
use tarpc::{
    context::Context,
    server::{BaseChannel, Channel, serve},
};
use tokio::sync::Semaphore;

use super::{
    admin::{self, work_until},
    errors, fetch, produce, recovery, trim,
    watched::Watched,
};
use crate::{
    cluster::{Cluster, Member},
    coordinators::{self, Connection},
    net::{Listener, Stream},
};

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections beyond the limit that may at a time be told so.
const REFUSALS_MAX: usize = 64;
/// After an error of `accept` (out of file descriptors, say).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves the client port.
#[derive(Clone, Debug)]
pub(crate) struct ClientServer {
    pub(crate) cluster: Arc<Cluster>,
    /// That of the client, once there is one.
    connection: Connection,
}

impl ClientServer {
    pub(crate) fn new(cluster: Arc<Cluster>) -> Self {
        Self { cluster, connection: Connection::new() }
    }

    pub(crate) async fn run(self, mut listener: Box<dyn Listener>) {
        let room = Arc::new(Semaphore::new(self.cluster.config().limits.client_connections as usize));
        let refusals = Arc::new(Semaphore::new(REFUSALS_MAX));
        loop {
            let stream = match listener.accept().await {
                Ok(stream) => stream,
                Err(error) => {
                    tracing::warn!(%error, "the client port cannot accept");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let permit = room.clone().try_acquire_owned();
            let has_room = permit.is_ok();
            let Ok(permit) = permit.or_else(|_| refusals.clone().try_acquire_owned()) else { continue };
            let server = Self::new(self.cluster.clone());
            tokio::spawn(async move {
                if let Err(error) = server.connection(stream, has_room).await {
                    tracing::info!(%error, "refused a client connection");
                }
                drop(permit);
            });
        }
    }

    async fn connection(mut self, mut stream: Stream, has_room: bool) -> Result<(), HandshakeError> {
        quorate_protocol::accept_client(&mut stream, has_room, HANDSHAKE_TIMEOUT).await?;
        let alive = Arc::new(());
        self.connection = Arc::downgrade(&alive);
        let transport = quorate_protocol::MessageTransport::new(stream, limits::CLIENT_FRAME_BYTES_MAX);
        let transport = Watched { transport, alive: Some(alive) };
        let channel = BaseChannel::with_defaults(transport)
            .max_concurrent_requests(limits::REQUESTS_IN_FLIGHT_PER_CONNECTION_MAX);
        let mut requests = std::pin::pin!(channel.requests());
        while let Some(request) = requests.next().await {
            let request = match request {
                Ok(request) => request,
                Err(error) => {
                    tracing::debug!(%error, "a client connection ended");
                    return Ok(());
                }
            };
            // Appends get their place here, in arrival order; everything may complete in any order.
            if let QuorateApiRequest::Produce { request: append } = &request.get().message {
                let admitted = self.admit(append.clone()).await;
                tokio::spawn(request.execute(serve(move |_, _| async move {
                    let answer = match admitted {
                        Ok(admitted) => admitted.finish().await,
                        Err(refused) => Err(refused),
                    };
                    Ok(QuorateApiResponse::Produce(answer))
                })));
            } else {
                tokio::spawn(request.execute(self.clone().serve()));
            }
        }
        Ok(())
    }

    fn member(&self) -> Result<&Arc<Member>, ApiError> {
        let member = self.cluster.member().ok_or_else(errors::not_ready)?;
        // Before that this node's metadata may know no node at all.
        match member.metadata.state().node(member.identity.node) {
            Some(_) => Ok(member),
            None => Err(errors::not_ready()),
        }
    }

    async fn admit(&self, request: ProduceRequest) -> Result<produce::Admitted, ApiError> {
        produce::admit(self.member()?, request).await
    }
}

impl QuorateApi for ClientServer {
    async fn cluster_info(self, _: Context) -> Result<ClusterInfo, ApiError> {
        Ok(self.member()?.cluster_info())
    }

    async fn topics(self, _: Context, request: TopicsRequest) -> Result<TopicsResponse, ApiError> {
        self.member()?.topics(&request).await
    }

    async fn create_topic(self, context: Context, request: CreateTopicRequest) -> Result<TopicInfo, ApiError> {
        admin::create_topic(self.member()?, request, work_until(context.deadline)).await
    }

    async fn delete_topic(self, context: Context, request: DeleteTopicRequest) -> Result<u64, ApiError> {
        admin::delete_topic(self.member()?, request, work_until(context.deadline)).await
    }

    async fn drain(self, context: Context, request: DrainRequest) -> Result<u64, ApiError> {
        admin::drain(self.member()?, request, work_until(context.deadline)).await
    }

    async fn add_node(self, context: Context, request: AddNodeRequest) -> Result<NodeId, ApiError> {
        admin::add_node(self.member()?, request, work_until(context.deadline)).await
    }

    async fn remove_node(self, context: Context, request: RemoveNodeRequest) -> Result<u64, ApiError> {
        admin::remove_node(self.member()?, request, work_until(context.deadline)).await
    }

    async fn alter_topic(self, context: Context, request: AlterTopicRequest) -> Result<u64, ApiError> {
        admin::alter_topic(self.member()?, request, work_until(context.deadline)).await
    }

    async fn outlook(self, _: Context, topic: TopicId) -> Result<Vec<OutlookInfo>, ApiError> {
        recovery::outlook(self.member()?, topic).await
    }

    async fn recover_partition(self, context: Context, request: RecoverRequest) -> Result<u64, ApiError> {
        recovery::recover(self.member()?, request, work_until(context.deadline)).await
    }

    async fn consumer_groups_topic(self, context: Context) -> Result<TopicId, ApiError> {
        coordinators::topic(self.member()?, work_until(context.deadline)).await
    }

    async fn coordinate(self, context: Context, request: CoordinatorRequest) -> Result<GroupResponse, ApiError> {
        let deadline = work_until(context.deadline);
        coordinators::coordinate(self.member()?, request, self.connection.clone(), deadline).await
    }

    async fn rebalance(self, context: Context) -> Result<u64, ApiError> {
        admin::rebalance(self.member()?, work_until(context.deadline)).await
    }

    async fn cancel_moves(self, context: Context) -> Result<u32, ApiError> {
        admin::cancel_moves(self.member()?, work_until(context.deadline)).await
    }

    async fn tasks(self, _: Context, min_metadata_index: u64) -> Result<TasksResponse, ApiError> {
        self.member()?.tasks(min_metadata_index).await
    }

    async fn allocate_producer_id(self, context: Context) -> Result<ProducerId, ApiError> {
        admin::allocate_producer_id(self.member()?, work_until(context.deadline)).await
    }

    async fn produce(self, _: Context, request: ProduceRequest) -> Result<ProduceResponse, ApiError> {
        self.admit(request).await?.finish().await
    }

    async fn fetch(self, context: Context, request: FetchRequest) -> Result<FetchResponse, ApiError> {
        fetch::fetch(self.member()?, request, work_until(context.deadline)).await
    }

    async fn trim(self, context: Context, request: TrimRequest) -> Result<TrimResponse, ApiError> {
        trim::trim(self.member()?, request, work_until(context.deadline)).await
    }

    async fn offsets(self, context: Context, request: OffsetsRequest) -> Result<OffsetsResponse, ApiError> {
        fetch::offsets(self.member()?, request, work_until(context.deadline)).await
    }
}
