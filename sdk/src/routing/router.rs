//! Sends calls to the nodes that can answer them.

use std::{
    collections::HashMap,
    sync::{
        PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use quorate_cluster_config::{Address, NodeId, PartitionId, PartitionIndex, TopicId};
use quorate_protocol::{ApiError, ErrorCode, QuorateApiClient};
use tarpc::{client::RpcError, context::Context};
use tokio::sync::OnceCell;

use super::{Refreshed, ReplicaChoice, attempts::Attempts};
use crate::{
    connection::{CallFailure, Connection},
    error::Error,
    place::Place,
    pool::Pool,
    topology::{Located, Topology},
};

/// A call as a person would describe it, and how long it may take with all of its tries.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// As in "create topic orders".
    pub(crate) action: String,
    /// What it is about, for errors. Of a call to a partition, that partition unless it is said.
    pub(crate) place: Option<Box<Place>>,
    /// The bound on all tries together.
    pub(crate) timeout: Duration,
    /// How long a node may wait by the nature of the request, as a fetch does.
    pub(crate) wait: Duration,
}

impl Call {
    pub(crate) fn new(action: impl Into<String>, timeout: Duration) -> Self {
        Self { action: action.into(), place: None, timeout, wait: Duration::ZERO }
    }

    pub(crate) fn about(self, place: Box<Place>) -> Self {
        Self { place: Some(place), ..self }
    }
}

/// An answer, and whether an earlier try of the same call may have taken effect before it.
pub(crate) type Routed<T> = Result<T, (Error, bool)>;

/// Connections, topology, and the choice between nodes.
#[derive(Debug)]
pub(crate) struct Router {
    seeds: Vec<Address>,
    pool: Pool,
    topology: RwLock<Topology>,
    /// The node that answers what any node can answer; moves on when it fails.
    current: AtomicUsize,
    coordinators: OnceCell<TopicId>,
    pub(super) refreshed: tokio::sync::Mutex<HashMap<TopicId, Instant>>,
}

impl Router {
    pub(crate) fn new(seeds: Vec<Address>) -> Self {
        Self {
            seeds,
            pool: Pool::default(),
            topology: RwLock::default(),
            current: AtomicUsize::new(0),
            coordinators: OnceCell::new(),
            refreshed: tokio::sync::Mutex::default(),
        }
    }

    /// The topic that holds the consumer groups, once it is known: it is never deleted.
    pub(crate) fn coordinators(&self) -> &OnceCell<TopicId> {
        &self.coordinators
    }

    pub(crate) fn topology(&self) -> RwLockReadGuard<'_, Topology> {
        self.topology.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn topology_mut(&self) -> RwLockWriteGuard<'_, Topology> {
        self.topology.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks any node something that changes nothing a caller could mind.
    pub(crate) async fn call_any<T, F, Fut>(&self, call: Call, request: F) -> Result<T, Error>
    where
        F: Fn(QuorateApiClient, Context) -> Fut,
        Fut: Future<Output = Result<Result<T, ApiError>, RpcError>>,
    {
        self.call_any_tracked(call, request).await.map_err(|(error, _)| error.without_effects())
    }

    /// Asks any node; an error comes with whether an earlier try may have taken effect, because then a refusal such
    /// as *topic exists* may be the echo of a success.
    pub(crate) async fn call_any_tracked<T, F, Fut>(&self, call: Call, request: F) -> Routed<T>
    where
        F: Fn(QuorateApiClient, Context) -> Fut,
        Fut: Future<Output = Result<Result<T, ApiError>, RpcError>>,
    {
        let wait = call.wait;
        let mut attempts = Attempts::new(call);
        let mut named: Option<Address> = None;
        loop {
            let turn = self.current.load(Ordering::Relaxed);
            let address = named.take().unwrap_or_else(|| self.address_of_turn(turn));
            attempts.ask(self.topology().node_at(&address));
            let tried = match self.pool.get(&address, attempts.attempt_deadline(Duration::ZERO)).await {
                Ok(connection) => connection.call(attempts.attempt_deadline(wait), &request).await,
                Err(failure) => Err(failure),
            };
            let failure = match tried {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            if let CallFailure::Refused(ApiError { leader: Some(leader), .. }) = &failure {
                named = self.topology().address(*leader);
            }
            // Other calls may have moved on already; moving twice would skip a node.
            let _ = self.current.compare_exchange(turn, turn + 1, Ordering::Relaxed, Ordering::Relaxed);
            let unknown_before = attempts.outcome_unknown();
            attempts.pause(&failure, || self.describe_addresses()).await.map_err(|error| (error, unknown_before))?;
        }
    }

    /// Asks the leader of a partition for what can be read there, wherever it moves while the call lasts.
    pub(crate) async fn call_leader<T, F, Fut>(
        &self,
        topic: TopicId,
        partition: PartitionIndex,
        call: Call,
        request: F,
    ) -> Result<T, Error>
    where
        F: Fn(QuorateApiClient, Context) -> Fut,
        Fut: Future<Output = Result<Result<T, ApiError>, RpcError>>,
    {
        self.change_at_leader(topic, partition, call, request).await.map_err(Error::without_effects)
    }

    /// Has the leader of a partition change something. The request may be sent several times, so it must mean the same
    /// each time.
    pub(crate) async fn change_at_leader<T, F, Fut>(
        &self,
        topic: TopicId,
        partition: PartitionIndex,
        call: Call,
        request: F,
    ) -> Result<T, Error>
    where
        F: Fn(QuorateApiClient, Context) -> Fut,
        Fut: Future<Output = Result<Result<T, ApiError>, RpcError>>,
    {
        self.call_partition(topic, partition, call, None, request).await
    }

    /// Asks any replica of a partition for what can be read there; `choice` says which, and learns how it went.
    pub(crate) async fn call_replica<T, F, Fut>(
        &self,
        topic: TopicId,
        partition: PartitionIndex,
        call: Call,
        choice: &mut ReplicaChoice,
        request: F,
    ) -> Result<T, Error>
    where
        F: Fn(QuorateApiClient, Context) -> Fut,
        Fut: Future<Output = Result<Result<T, ApiError>, RpcError>>,
    {
        self.call_partition(topic, partition, call, Some(choice), request).await.map_err(Error::without_effects)
    }

    /// Asks the leader, or the replica chosen, until one answers.
    async fn call_partition<T, F, Fut>(
        &self,
        topic: TopicId,
        partition: PartitionIndex,
        call: Call,
        mut choice: Option<&mut ReplicaChoice>,
        request: F,
    ) -> Result<T, Error>
    where
        F: Fn(QuorateApiClient, Context) -> Fut,
        Fut: Future<Output = Result<Result<T, ApiError>, RpcError>>,
    {
        let wait = call.wait;
        let mut call = call;
        call.place.get_or_insert_with(|| self.topology().place(PartitionId { topic, index: partition }));
        let mut attempts = Attempts::new(call);
        loop {
            let epoch = self.topology().leader_epoch(topic, partition);
            let asked = match &mut choice {
                Some(choice) => choice.pick(&self.topology().replicas(topic, partition), Instant::now()),
                None => self.topology().leader(topic, partition).map(|(node, address)| Located {
                    node,
                    address,
                    leads: true,
                }),
            };
            attempts.ask(asked.as_ref().map(|replica| replica.node));
            let tried = match &asked {
                Some(replica) => {
                    match self.pool.get(&replica.address, attempts.attempt_deadline(Duration::ZERO)).await {
                        Ok(connection) => connection.call(attempts.attempt_deadline(wait), &request).await,
                        Err(failure) => Err(failure),
                    }
                }
                None => Err(no_leader(partition)),
            };
            let failure = match tried {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            let failure = match asked {
                Some(Located { node, leads: true, .. }) => self.note_failure(topic, partition, node, failure),
                _ => failure,
            };
            if let Some(choice) = &mut choice
                && may_pass_elsewhere(&failure)
            {
                choice.avoid_current(Instant::now());
            }
            let failure = match failure {
                // A node may not have heard of what it should serve; only the metadata can tell.
                CallFailure::Refused(refusal) if must_verify(&refusal) => {
                    CallFailure::Refused(ApiError::new(ErrorCode::NotReady, refusal.message))
                }
                failure => failure,
            };
            let deadline = attempts.deadline();
            let pause = attempts.pause(&failure, || self.describe_addresses());
            let looked = self.look_for_leader((topic, partition), epoch, deadline, pause).await?;
            if let Refreshed::Gone(refusal) = looked {
                return Err(attempts.refused(refusal));
            }
        }
    }

    /// Learns from a failed call to a supposed leader where to try next.
    pub(crate) fn note_failure(
        &self,
        topic: TopicId,
        partition: PartitionIndex,
        node: NodeId,
        failure: CallFailure,
    ) -> CallFailure {
        let named = match &failure {
            CallFailure::Refused(refusal) if refusal.code == ErrorCode::NotLeader => refusal.leader,
            CallFailure::Refused(_) => return failure,
            CallFailure::Unreachable(_) | CallFailure::Unknown(_) => None,
        };
        self.topology_mut().suggest(topic, partition, node, named);
        failure
    }

    /// A connection to the node that, as far as known, leads the partition.
    pub(crate) async fn leader_connection(
        &self,
        topic: TopicId,
        partition: PartitionIndex,
        deadline: Instant,
    ) -> Result<(NodeId, Connection), CallFailure> {
        let leader = self.topology().leader(topic, partition);
        let Some((node, address)) = leader else {
            return Err(no_leader(partition));
        };
        match self.pool.get(&address, deadline).await {
            Ok(connection) => Ok((node, connection)),
            Err(failure) => Err(self.note_failure(topic, partition, node, failure)),
        }
    }

    /// A connection to one of the known nodes.
    pub(super) async fn connection(&self, address: &Address, deadline: Instant) -> Result<Connection, CallFailure> {
        self.pool.get(address, deadline).await
    }

    /// All addresses, those of registered nodes first: seeds may be out of date.
    pub(super) fn addresses(&self) -> Vec<Address> {
        let mut addresses: Vec<Address> = self.topology().addresses().cloned().collect();
        for seed in &self.seeds {
            if !addresses.contains(seed) {
                addresses.push(seed.clone());
            }
        }
        addresses
    }

    fn address_of_turn(&self, turn: usize) -> Address {
        // The first turns belong to the seeds, in the order given: a person who names a node means that node.
        let mut addresses = self.seeds.clone();
        addresses.extend(self.topology().addresses().filter(|address| !self.seeds.contains(address)).cloned());
        let index = turn % addresses.len();
        addresses.swap_remove(index)
    }

    fn describe_addresses(&self) -> String {
        self.addresses().iter().map(Address::to_string).collect::<Vec<_>>().join(", ")
    }
}

fn no_leader(partition: PartitionIndex) -> CallFailure {
    CallFailure::Refused(ApiError::not_leader(format!("no node says which one leads partition {partition}"), None))
}

/// Whether another replica may do what this one did not.
fn may_pass_elsewhere(failure: &CallFailure) -> bool {
    match failure {
        CallFailure::Refused(refusal) => refusal.is_retryable() || must_verify(refusal),
        CallFailure::Unreachable(_) | CallFailure::Unknown(_) => true,
    }
}

/// Refusals that only the metadata can confirm: a node may lag behind what the client knows.
pub(crate) fn must_verify(refusal: &ApiError) -> bool {
    matches!(refusal.code, ErrorCode::UnknownTopic | ErrorCode::UnknownPartition)
}
