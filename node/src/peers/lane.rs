//! One lane to another node: an ordered stream that the sessions of all groups share.

use std::{
    collections::HashMap,
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use quorate_cluster_config::limits;
use quorate_raft::{BoxFuture, PeerUnreachable, Route, Session, SessionSender};
use tokio::{
    io::{ReadHalf, WriteHalf},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
};

use super::frame::{self, FrameReader, LaneFrameKind, SessionKey};
use crate::net::Stream;

/// Bytes handed to a lane and not yet written to its socket. Beyond it senders wait.
const UNSENT_BYTES_MAX: usize = limits::PEER_FRAME_BYTES_MAX;
/// Answers of one session that wait to be taken; more than any session has requests in flight.
const ANSWERS_MAX: usize = 512;
/// A lane on which requests wait for answers, and nothing at all arrives for so long, is broken.
const SILENCE_MAX: Duration = limits::PEER_IDLE_MAX;

/// What the writer task sends, with the claim on the lane's bound that it holds until it is sent.
type Outgoing = (Vec<Bytes>, Option<OwnedSemaphorePermit>);

#[derive(Debug)]
struct OpenSession {
    answers: mpsc::Sender<Bytes>,
    /// Requests without an answer.
    unanswered: usize,
}

/// A connected lane.
#[derive(Debug)]
pub(crate) struct Lane {
    outgoing: mpsc::UnboundedSender<Outgoing>,
    unsent: Arc<Semaphore>,
    sessions: Mutex<HashMap<u64, OpenSession>>,
    next_session: AtomicU64,
    broken: AtomicBool,
}

impl Lane {
    /// Takes a stream on which the handshake is done.
    pub(crate) fn start(stream: Stream) -> Arc<Self> {
        let (reader, writer) = tokio::io::split(stream);
        let (outgoing, queue) = mpsc::unbounded_channel();
        let lane = Arc::new(Self {
            outgoing,
            unsent: Arc::new(Semaphore::new(UNSENT_BYTES_MAX)),
            sessions: Mutex::default(),
            next_session: AtomicU64::new(1),
            broken: AtomicBool::new(false),
        });
        tokio::spawn(write(lane.clone(), writer, queue));
        tokio::spawn(read(lane.clone(), reader));
        lane
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.broken.load(Relaxed)
    }

    /// Opens a session. Its number has never been used on this lane.
    pub(crate) fn open_session(self: &Arc<Self>, route: Route) -> Result<Session, PeerUnreachable> {
        let number = self.next_session.fetch_add(1, Relaxed);
        let (sender, answers) = mpsc::channel(ANSWERS_MAX);
        self.lock().insert(number, OpenSession { answers: sender, unanswered: 0 });
        if self.is_broken() {
            self.lock().remove(&number);
            return Err(broken());
        }
        let key = SessionKey { kind: route.kind, from: route.from, to: route.to, number };
        Ok(Session { requests: Box::new(LaneSession { lane: self.clone(), key }), answers })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, OpenSession>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends all sessions: their answers close.
    fn fail(&self, error: &io::Error) {
        if !self.broken.swap(true, Relaxed) {
            tracing::debug!(%error, "a lane to a peer broke");
        }
        self.lock().clear();
        self.unsent.close();
    }
}

fn broken() -> PeerUnreachable {
    PeerUnreachable("the stream to the peer is broken".to_owned())
}

struct LaneSession {
    lane: Arc<Lane>,
    key: SessionKey,
}

impl SessionSender for LaneSession {
    fn send(&self, parts: Vec<Bytes>) -> BoxFuture<'_, Result<(), PeerUnreachable>> {
        Box::pin(async move {
            let parts = frame::encode(LaneFrameKind::Request, self.key, parts);
            let size = parts.iter().map(Bytes::len).sum::<usize>().min(UNSENT_BYTES_MAX);
            let claim = u32::try_from(size).unwrap_or(u32::MAX);
            let permit = self.lane.unsent.clone().acquire_many_owned(claim).await.map_err(|_| broken())?;
            match self.lane.lock().get_mut(&self.key.number) {
                Some(session) => session.unanswered += 1,
                None => return Err(PeerUnreachable("the peer ended the session".to_owned())),
            }
            self.lane.outgoing.send((parts, Some(permit))).map_err(|_| broken())
        })
    }
}

impl Drop for LaneSession {
    fn drop(&mut self) {
        self.lane.lock().remove(&self.key.number);
        // Nothing to do if the lane is broken: then the other side has ended the session already.
        drop(self.lane.outgoing.send((frame::encode(LaneFrameKind::End, self.key, Vec::new()), None)));
    }
}

async fn write(lane: Arc<Lane>, mut writer: WriteHalf<Stream>, mut queue: mpsc::UnboundedReceiver<Outgoing>) {
    let mut batch = Vec::new();
    while queue.recv_many(&mut batch, 64).await > 0 {
        let (parts, permits): (Vec<_>, Vec<_>) = batch.drain(..).unzip();
        let written = frame::write_all(&mut writer, parts.into_iter().flatten().collect()).await;
        drop(permits);
        if let Err(error) = written {
            lane.fail(&error);
        }
        if lane.is_broken() {
            return;
        }
    }
}

async fn read(lane: Arc<Lane>, reader: ReadHalf<Stream>) {
    let mut reader = FrameReader::new(reader);
    let error = loop {
        let frame = match tokio::time::timeout(SILENCE_MAX, reader.next()).await {
            Ok(Ok(frame)) => frame,
            Ok(Err(error)) => break error,
            Err(_) if lane.lock().values().any(|session| session.unanswered > 0) => {
                break io::Error::new(io::ErrorKind::TimedOut, "the peer is silent");
            }
            // Answers are small frames: `next` loses nothing when it is dropped.
            Err(_) => continue,
        };
        let number = frame.session.number;
        match frame.kind {
            LaneFrameKind::Answer => {
                let mut sessions = lane.lock();
                // An answer to a session that has ended is nobody's.
                if let Some(session) = sessions.get_mut(&number) {
                    session.unanswered = session.unanswered.saturating_sub(1);
                    if session.answers.try_send(frame.body).is_err() {
                        sessions.remove(&number);
                    }
                }
            }
            LaneFrameKind::End => drop(lane.lock().remove(&number)),
            LaneFrameKind::Request => break io::Error::new(io::ErrorKind::InvalidData, "a request where answers come"),
        }
    };
    lane.fail(&error);
    // Wakes the writer, which then ends.
    drop(lane.outgoing.send((Vec::new(), None)));
}
