//! One tarpc connection to one node.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use quorate_cluster_config::{
    Address,
    limits::{CLIENT_FRAME_BYTES_MAX, REQUESTS_IN_FLIGHT_PER_CONNECTION_MAX},
};
use quorate_protocol::{ApiError, MessageTransport, QuorateApiClient, connect_client};
use tarpc::{
    client::{self, RpcError},
    context::Context,
};
use tokio::{net::TcpStream, time::timeout_at};

/// Requests that may await being written, per connection. They hold batches, so this bounds memory.
const REQUESTS_PENDING_MAX: usize = 64;
/// How long establishing a connection may take, handshake included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How much longer than the node the client waits: the node's own answer says more than silence.
const ANSWER_GRACE: Duration = Duration::from_millis(100);

/// Why one try of a call failed.
#[derive(Clone, Debug)]
pub(crate) enum CallFailure {
    /// The node answered with a refusal.
    Refused(ApiError),
    /// No connection: the request was certainly not sent.
    Unreachable(String),
    /// The connection broke or the node stayed silent: whether the request took effect is unknown.
    Unknown(String),
}

/// A connection to one node; clones share it. Requests are written in the order of the first polls of their calls.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    address: Address,
    api: QuorateApiClient,
    health: Arc<Health>,
}

#[derive(Debug)]
struct Health {
    opened: Instant,
    closed: AtomicBool,
    /// Milliseconds from `opened` to the last answer.
    last_answer_ms: AtomicU64,
}

impl Connection {
    /// Connects and shakes hands.
    pub(crate) async fn open(address: &Address, deadline: Instant) -> Result<Self, String> {
        let now = Instant::now();
        let limit = CONNECT_TIMEOUT.min(deadline.saturating_duration_since(now));
        let connecting = async {
            let mut stream =
                TcpStream::connect((address.host(), address.port())).await.map_err(|error| error.to_string())?;
            stream.set_nodelay(true).map_err(|error| error.to_string())?;
            connect_client(&mut stream, limit).await.map_err(|error| error.to_string())?;
            Ok(stream)
        };
        let stream = timeout_at((now + limit).into(), connecting)
            .await
            .map_err(|_| format!("no connection within {limit:.1?}"))
            .flatten()
            .map_err(|reason: String| format!("{address}: {reason}"))?;

        let mut config = client::Config::default();
        config.max_in_flight_requests = REQUESTS_IN_FLIGHT_PER_CONNECTION_MAX;
        config.pending_request_buffer = REQUESTS_PENDING_MAX;
        let new = QuorateApiClient::new(config, MessageTransport::new(stream, CLIENT_FRAME_BYTES_MAX));
        let health =
            Arc::new(Health { opened: now, closed: AtomicBool::new(false), last_answer_ms: AtomicU64::new(0) });
        let closing = Arc::clone(&health);
        let peer = address.clone();
        let dispatch = new.dispatch;
        tokio::spawn(async move {
            let ended = dispatch.await;
            closing.closed.store(true, Ordering::Release);
            match ended {
                Ok(()) => tracing::debug!(%peer, "connection closed"),
                Err(error) => tracing::debug!(%peer, %error, "connection broken"),
            }
        });
        Ok(Self { address: address.clone(), api: new.client, health })
    }

    /// Whether calls on it can still succeed.
    pub(crate) fn is_usable(&self) -> bool {
        !self.health.closed.load(Ordering::Acquire)
    }

    /// Makes one call. The node gives up at `deadline`; silence past it is [`CallFailure::Unknown`].
    pub(crate) async fn call<T, F, Fut>(&self, deadline: Instant, request: F) -> Result<T, CallFailure>
    where
        F: FnOnce(QuorateApiClient, Context) -> Fut,
        Fut: Future<Output = Result<Result<T, ApiError>, RpcError>>,
    {
        let started = Instant::now();
        let mut context = Context::current();
        context.deadline = deadline + ANSWER_GRACE;
        // tarpc counts the deadline from the moment it writes the request; waiting to be written must count too.
        let answer = timeout_at((deadline + 2 * ANSWER_GRACE).into(), request(self.api.clone(), context)).await;
        match answer {
            Ok(Ok(answer)) => {
                let elapsed = self.health.opened.elapsed().as_millis();
                self.health.last_answer_ms.fetch_max(u64::try_from(elapsed).unwrap_or(u64::MAX), Ordering::AcqRel);
                answer.map_err(CallFailure::Refused)
            }
            Ok(Err(RpcError::DeadlineExceeded)) | Err(_) => {
                self.close_if_silent_since(started);
                let waited = started.elapsed();
                Err(CallFailure::Unknown(format!("{} did not answer within {waited:.1?}", self.address)))
            }
            Ok(Err(RpcError::Server(error))) => Err(CallFailure::Unknown(format!("{}: {error}", self.address))),
            Ok(Err(error)) => {
                self.health.closed.store(true, Ordering::Release);
                Err(CallFailure::Unknown(format!("the connection to {} broke: {error}", self.address)))
            }
        }
    }

    /// A peer behind a cut wire never closes the connection, and TCP takes long to notice that the wire is back: a
    /// new connection recovers at once. One that answered others meanwhile is kept.
    fn close_if_silent_since(&self, started: Instant) {
        let last_answer =
            self.health.opened + Duration::from_millis(self.health.last_answer_ms.load(Ordering::Acquire));
        if last_answer <= started {
            self.health.closed.store(true, Ordering::Release);
        }
    }
}
