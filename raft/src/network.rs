//! openraft's network traits over a [`PeerTransport`], with pipelined replication.

use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use openraft::{
    OptionalSend, RaftNetworkFactory, RaftNetworkV2,
    alias::SnapshotOf,
    errors::{RPCError, ReplicationClosed, StreamingError, Unreachable},
    network::RPCOption,
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendError, StreamAppendResult,
        TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
    },
};
use quorate_cluster_config::{GroupKind, NodeId, ReplicaId};
use tokio::time::Instant;

use crate::{
    codec::{self, Call},
    transport::{BoxFuture, Lane, PeerTransport, Route, Session},
    types::{LogId, TypeConfig, Vote},
};

/// Bytes of one session that may be without an answer; above it no further request is taken from Raft.
const IN_FLIGHT_BYTES_MAX: usize = 16 << 20;
/// Requests of one session that may be without an answer.
pub(crate) const IN_FLIGHT_REQUESTS_MAX: usize = 256;
/// So many requests in a row must find their entries in memory before a session that was catching up takes the lane of
/// the others again: each change costs a round trip.
const CAUGHT_UP_AFTER: u32 = 16;
/// A session that waits for an answer for this long, and got none meanwhile, is given up.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long after a session could not be opened the next try may come.
const REOPEN_PAUSE: Duration = Duration::from_millis(100);
/// A vote waits for its voter's `fsync`, which a loaded disk may hold up far longer than a heartbeat takes.
const VOTE_TIMEOUT: Duration = Duration::from_secs(2);
/// A snapshot waits until its receiver has it on stable storage.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(10);
/// A transfer of leadership is taken up at once or not at all.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(1);

type Rpc = RPCError<TypeConfig>;
type Replies<'a> = std::pin::Pin<Box<dyn Stream<Item = Result<StreamAppendResult<TypeConfig>, Rpc>> + Send + 'a>>;

/// Tells whether the entry of a log index is in memory no more: it is caught up with on a lane of its own.
pub(crate) type IsOld = Arc<dyn Fn(u64) -> bool + Send + Sync>;

/// Makes the networks of one replica.
#[derive(Clone)]
pub(crate) struct NetworkFactory {
    pub(crate) transport: Arc<dyn PeerTransport>,
    pub(crate) kind: GroupKind,
    pub(crate) replica: ReplicaId,
    pub(crate) is_old: IsOld,
}

impl RaftNetworkFactory<TypeConfig> for NetworkFactory {
    type Network = Network;

    async fn new_client(&mut self, target: ReplicaId, node: &NodeId) -> Network {
        let route = Route { kind: self.kind, from: self.replica, to: target, node: *node };
        Network { transport: self.transport.clone(), route, is_old: self.is_old.clone(), acknowledged: Arc::default() }
    }
}

/// The way from one replica to another.
pub(crate) struct Network {
    transport: Arc<dyn PeerTransport>,
    route: Route,
    is_old: IsOld,
    /// Entries before this log index were acknowledged.
    acknowledged: Arc<AtomicU64>,
}

fn unreachable(error: impl std::error::Error + Send + Sync + 'static) -> Rpc {
    RPCError::Unreachable(Unreachable::new(&io::Error::other(error.to_string())))
}

impl Network {
    async fn ask(&self, call: Call) -> Result<VoteResponse<TypeConfig>, Rpc> {
        let answer =
            self.transport.call(self.route, codec::encode_call(&call), VOTE_TIMEOUT).await.map_err(unreachable)?;
        codec::decode_vote_response(answer).map_err(unreachable)
    }
}

impl RaftNetworkV2<TypeConfig> for Network {
    type SnapshotData = Bytes;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, Rpc> {
        let last = request.entries.last().map(|entry| entry.log_id).or(request.prev_log_id);
        let mut replies = self.stream_append(stream::iter([request]), option).await?;
        match replies.next().await {
            Some(Ok(Ok(matched))) if matched == last => Ok(AppendEntriesResponse::Success),
            Some(Ok(Ok(matched))) => Ok(AppendEntriesResponse::PartialSuccess(matched)),
            Some(Ok(Err(StreamAppendError::Conflict(_)))) => Ok(AppendEntriesResponse::Conflict),
            Some(Ok(Err(StreamAppendError::HigherVote(vote)))) => Ok(AppendEntriesResponse::HigherVote(vote)),
            Some(Err(error)) => Err(error),
            None => Err(unreachable(io::Error::other("the session ended without an answer"))),
        }
    }

    fn stream_append<'s, S>(&'s mut self, input: S, _: RPCOption) -> BoxFuture<'s, Result<Replies<'s>, Rpc>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + OptionalSend + Unpin + 'static,
    {
        Box::pin(async move {
            // openraft sends a heartbeat as a stream that is known to hold one request, beside the replication stream.
            let lane = if input.size_hint().1 == Some(1) { Lane::Heartbeat } else { Lane::Append };
            let way = Way {
                transport: self.transport.clone(),
                route: self.route,
                is_old: self.is_old.clone(),
                acknowledged: self.acknowledged.clone(),
            };
            let pipeline = Pipeline {
                session: way.open(lane).await?,
                way,
                lane,
                in_memory: 0,
                input: Some(input),
                in_flight: VecDeque::new(),
                bytes: 0,
                answers: VecDeque::new(),
                held: None,
                answered: Instant::now(),
            };
            let replies = stream::unfold(Some(pipeline), |pipeline| async move {
                let mut pipeline = pipeline?;
                let reply = pipeline.next().await?;
                // After an error the session is over: dropping it here ends it on the other side too.
                let go_on = reply.is_ok();
                Some((reply, go_on.then_some(pipeline)))
            });
            Ok(Box::pin(replies) as Replies<'s>)
        })
    }

    async fn vote(&mut self, request: VoteRequest<TypeConfig>, _: RPCOption) -> Result<VoteResponse<TypeConfig>, Rpc> {
        self.ask(Call::Vote(request)).await
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        _: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, Rpc> {
        self.ask(Call::PreVote(request)).await
    }

    /// A snapshot is small (a producer table, or all metadata): one call carries it.
    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: SnapshotOf<TypeConfig, Bytes>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let call = codec::encode_call(&Call::Snapshot(vote, snapshot));
        let failed = |error: &(dyn std::error::Error + 'static)| {
            StreamingError::Unreachable(Unreachable::new(&io::Error::other(error.to_string())))
        };
        tokio::select! {
            answer = self.transport.call(self.route, call, SNAPSHOT_TIMEOUT) => {
                let answer = answer.map_err(|error| failed(&error))?;
                codec::decode_snapshot_response(answer).map_err(|error| failed(&error))
            }
            closed = cancel => Err(StreamingError::Closed(closed)),
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        _: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, Rpc> {
        let call = codec::encode_call(&Call::Transfer(request));
        let answer = self.transport.call(self.route, call, TRANSFER_TIMEOUT).await.map_err(unreachable)?;
        match codec::decode_transfer_response(answer).map_err(unreachable)? {
            Ok(()) => Ok(Ok(())),
            Err(reason) => Err(unreachable(io::Error::other(format!("the transfer was refused: {reason}")))),
        }
    }
}

/// How sessions are opened, and which lane their requests belong on.
struct Way {
    transport: Arc<dyn PeerTransport>,
    route: Route,
    is_old: IsOld,
    /// Entries before this log index were acknowledged.
    acknowledged: Arc<AtomicU64>,
}

impl Way {
    /// Says so if the peer has lost what it had acknowledged. openraft sends it again, see `allow_log_reversion`.
    fn note(&self, answer: &StreamAppendResult<TypeConfig>) {
        match answer {
            Ok(matched) => {
                let end = matched.map_or(0, |matched| matched.index + 1);
                self.acknowledged.fetch_max(end, Ordering::Relaxed);
            }
            Err(StreamAppendError::Conflict(at)) if at.index < self.acknowledged.load(Ordering::Relaxed) => {
                self.acknowledged.store(0, Ordering::Relaxed);
                let Route { kind, to: replica, node, .. } = self.route;
                tracing::error!(
                    %replica, %node, ?kind, log_index = at.index,
                    "a replica has lost entries it had said were on stable storage; it is sent them again: look after its disk"
                );
            }
            Err(_) => {}
        }
    }

    async fn open(&self, lane: Lane) -> Result<Session, Rpc> {
        match tokio::time::timeout(ANSWER_TIMEOUT, self.transport.open_session(self.route, lane)).await {
            Ok(Ok(session)) => Ok(session),
            // openraft's own backoff begins in the request stream, which is not polled before there is a session:
            // without a pause here it would try again at once, for as long as the peer is down.
            Ok(Err(error)) => {
                tokio::time::sleep(REOPEN_PAUSE).await;
                Err(unreachable(error))
            }
            Err(error) => Err(unreachable(error)),
        }
    }
}

/// One session of AppendEntries: requests go out while answers come in. Both are polled by the same future, so that
/// dropping the replies drops the request stream, and the lock it holds, at once.
///
/// Entries that are not in memory any more are sent on the bulk lane, so that what others append does not wait behind
/// them. The lane is changed between two requests, when all before are answered: each lane has its order, the two
/// together have none.
struct Pipeline<S> {
    session: Session,
    way: Way,
    lane: Lane,
    /// Requests in a row that found their entries in memory, while on the bulk lane.
    in_memory: u32,
    /// A request that waits for the lane to change.
    held: Option<AppendEntriesRequest<TypeConfig>>,
    input: Option<S>,
    /// The requests without an answer, oldest first.
    in_flight: VecDeque<InFlight>,
    /// Their bytes.
    bytes: usize,
    /// When the last answer came.
    answered: Instant,
    /// Answers that came while a request was being sent; at most as many as there are requests in flight.
    answers: VecDeque<Bytes>,
}

/// What is remembered of a request until it is answered.
struct InFlight {
    bytes: usize,
    previous: Option<LogId>,
    last: Option<LogId>,
    sent: Instant,
}

impl InFlight {
    /// Whether the answer can be one to this request. Raft takes each for what its peer holds on stable storage.
    fn fits(&self, answer: &StreamAppendResult<TypeConfig>) -> bool {
        match answer {
            Ok(matched) => self.previous <= *matched && *matched <= self.last,
            Err(StreamAppendError::Conflict(at)) => self.previous == Some(*at),
            Err(StreamAppendError::HigherVote(_)) => true,
        }
    }
}

impl<S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Unpin> Pipeline<S> {
    async fn next(&mut self) -> Option<Result<StreamAppendResult<TypeConfig>, Rpc>> {
        loop {
            if let Some(answer) = self.answers.pop_front() {
                let reply = self.take(answer);
                if self.covers_more(&reply) {
                    continue;
                }
                return Some(reply);
            }
            if self.in_flight.is_empty()
                && let Some(held) = self.held.take()
            {
                if let Err(error) = self.change_lane(&held).await {
                    return Some(Err(error));
                }
                continue;
            }
            if self.input.is_none() && self.in_flight.is_empty() {
                return None;
            }
            let room = self.held.is_none() && self.in_flight.is_empty()
                || self.held.is_none()
                    && self.bytes < IN_FLIGHT_BYTES_MAX
                    && self.in_flight.len() < IN_FLIGHT_REQUESTS_MAX;
            let waiting = !self.in_flight.is_empty();
            let waits_since = self.in_flight.front().map_or_else(Instant::now, |oldest| oldest.sent.max(self.answered));
            let patience = waits_since + ANSWER_TIMEOUT;
            let input = self.input.as_mut().filter(|_| room);
            let more = input.is_some();
            tokio::select! {
                biased;
                answer = tokio::time::timeout_at(patience, self.session.answers.recv()), if waiting => {
                    let Ok(Some(answer)) = answer else {
                        let why = if answer.is_ok() { "the stream to the peer broke" } else { "the peer does not answer" };
                        return Some(Err(unreachable(io::Error::other(why))));
                    };
                    self.answers.push_back(answer);
                }
                request = async { match input { Some(input) => input.next().await, None => None } }, if more => {
                    let Some(request) = request else {
                        self.input = None;
                        continue;
                    };
                    if self.lane_for(&request) != self.lane {
                        self.held = Some(request);
                    } else if let Err(error) = self.send(&request).await {
                        return Some(Err(error));
                    }
                }
            }
        }
    }

    /// The lane a request belongs on.
    fn lane_for(&mut self, request: &AppendEntriesRequest<TypeConfig>) -> Lane {
        let first = request.entries.first().map(|entry| entry.log_id.index);
        match (self.lane, first) {
            (Lane::Heartbeat, _) | (_, None) => self.lane,
            (Lane::Append, Some(first)) if (self.way.is_old)(first) => Lane::Bulk,
            (Lane::Append, Some(_)) => Lane::Append,
            (Lane::Bulk, Some(first)) if (self.way.is_old)(first) => {
                self.in_memory = 0;
                Lane::Bulk
            }
            (Lane::Bulk, Some(_)) => {
                self.in_memory += 1;
                if self.in_memory < CAUGHT_UP_AFTER { Lane::Bulk } else { Lane::Append }
            }
        }
    }

    /// Opens a session on the lane of the request, which is then sent.
    async fn change_lane(&mut self, request: &AppendEntriesRequest<TypeConfig>) -> Result<(), Rpc> {
        self.lane = if self.lane == Lane::Bulk { Lane::Append } else { Lane::Bulk };
        self.in_memory = 0;
        self.session = self.way.open(self.lane).await?;
        self.send(request).await
    }

    /// Hands a request to the transport. Answers are taken meanwhile: a peer that cannot get rid of them would take
    /// no requests either.
    async fn send(&mut self, request: &AppendEntriesRequest<TypeConfig>) -> Result<(), Rpc> {
        let (parts, bytes) = codec::encode_append(request);
        let previous = request.prev_log_id;
        let last = request.entries.last().map(|entry| entry.log_id).or(previous);
        self.in_flight.push_back(InFlight { bytes, previous, last, sent: Instant::now() });
        self.bytes += bytes;
        let mut sending = self.session.requests.send(parts);
        let mut patience = std::pin::pin!(tokio::time::sleep(ANSWER_TIMEOUT));
        loop {
            let room = self.answers.len() < self.in_flight.len();
            tokio::select! {
                biased;
                sent = &mut sending => return sent.map_err(unreachable),
                answer = self.session.answers.recv(), if room => match answer {
                    Some(answer) => self.answers.push_back(answer),
                    None => return Err(unreachable(io::Error::other("the stream to the peer broke"))),
                },
                () = &mut patience => return Err(unreachable(io::Error::other("the peer takes no more"))),
            }
        }
    }

    /// Whether openraft would take this reply for one to a later request, too, which nobody has answered yet: to its clock, a
    /// reply answers every request of the session that ends at or before what matches, also one without entries that left
    /// after the reply had. A leader that was deposed meanwhile would prove its leadership by it, and read what is stale. The
    /// answer to the later request says the same, so this one is left out; what it tells comes up to a round trip later.
    fn covers_more(&self, reply: &Result<StreamAppendResult<TypeConfig>, Rpc>) -> bool {
        let next = self.in_flight.front();
        matches!(reply, Ok(Ok(matched)) if next.is_some_and(|next| next.last <= *matched))
    }

    fn take(&mut self, answer: Bytes) -> Result<StreamAppendResult<TypeConfig>, Rpc> {
        self.answered = Instant::now();
        let request = self.in_flight.pop_front();
        self.bytes -= request.as_ref().map_or(0, |request| request.bytes);
        let answer = codec::decode_reply(answer).map_err(unreachable)?;
        if request.is_some_and(|request| request.fits(&answer)) {
            self.way.note(&answer);
            Ok(answer)
        } else {
            Err(unreachable(io::Error::other("the peer answered another request than it was sent")))
        }
    }
}

#[cfg(test)]
mod tests;
