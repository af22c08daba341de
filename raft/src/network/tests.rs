#![expect(clippy::unwrap_used, reason = "tests")]

use std::{collections::VecDeque, sync::Mutex, time::Duration};

use futures::FutureExt;
use quorate_cluster_config::NodeId;
use tokio::sync::mpsc;

use super::*;
use crate::{
    transport::{PeerUnreachable, SessionSender},
    types::{Entry, log_id},
};

/// A peer whose end of each session the test holds; and the lanes they were opened on.
#[derive(Debug, Default)]
struct Peer(Mutex<VecDeque<Ends>>, Arc<Mutex<Vec<Lane>>>);

type Ends = (mpsc::Sender<Vec<Bytes>>, mpsc::Receiver<Bytes>);

struct Sender(mpsc::Sender<Vec<Bytes>>);

impl SessionSender for Sender {
    fn send(&self, parts: Vec<Bytes>) -> BoxFuture<'_, Result<(), PeerUnreachable>> {
        Box::pin(async { self.0.send(parts).await.map_err(|_| PeerUnreachable("closed".into())) })
    }
}

impl PeerTransport for Peer {
    fn open_session(&self, _: Route, lane: Lane) -> BoxFuture<'_, Result<Session, PeerUnreachable>> {
        let (requests, answers) = self.0.lock().unwrap().pop_front().unwrap();
        self.1.lock().unwrap().push(lane);
        Box::pin(async move { Ok(Session { requests: Box::new(Sender(requests)), answers }) })
    }

    fn call(&self, _: Route, _: Bytes, _: Duration) -> BoxFuture<'_, Result<Bytes, PeerUnreachable>> {
        Box::pin(async { Err(PeerUnreachable("not here".into())) })
    }
}

fn request(index: u64) -> AppendEntriesRequest<TypeConfig> {
    let vote = Vote { leader_id: openraft::vote::RaftLeaderId::new(1, ReplicaId(1)), committed: true };
    let entry = Entry { log_id: log_id(1, index), payload: openraft::EntryPayload::Blank };
    AppendEntriesRequest { vote, prev_log_id: Some(log_id(1, index - 1)), leader_commit: None, entries: vec![entry] }
}

/// A network, and its peer's ends: requests as they arrive, at most `room` unread, and where to answer.
fn network(room: usize) -> (Network, mpsc::Receiver<Vec<Bytes>>, mpsc::Sender<Bytes>) {
    let (requests, arriving) = mpsc::channel(room);
    let (answer, answers) = mpsc::channel(1);
    let route = Route { kind: GroupKind::Partition, from: ReplicaId(1), to: ReplicaId(2), node: NodeId(2) };
    let transport = Arc::new(Peer(Mutex::new([(requests, answers)].into()), Arc::default()));
    (Network { transport, route, is_old: Arc::new(|_| false), acknowledged: Arc::default() }, arriving, answer)
}

fn option() -> RPCOption {
    RPCOption::new(Duration::from_secs(1))
}

fn matched(index: u64) -> Bytes {
    codec::encode_reply(&Ok(Some(log_id(1, index))))
}

#[tokio::test]
async fn requests_go_out_while_answers_are_awaited() {
    let (mut network, mut arriving, answer) = network(8);
    let input = stream::iter((1..=3).map(request)).chain(stream::pending());
    let mut replies = network.stream_append(input, option()).await.unwrap();
    assert!(replies.next().now_or_never().is_none());
    for _ in 1..=3 {
        arriving.try_recv().unwrap();
    }
    answer.send(matched(1)).await.unwrap();
    assert_eq!(replies.next().await.unwrap().unwrap(), Ok(Some(log_id(1, 1))));
}

#[tokio::test]
async fn answers_are_taken_while_the_peer_takes_no_requests() {
    let (mut network, mut arriving, answer) = network(1);
    let input = stream::iter((1..=4).map(request)).chain(stream::pending());
    let mut replies = network.stream_append(input, option()).await.unwrap();
    // The first request fills the stream, the second waits. The peer reads on only once its answers are gone.
    let peer = async {
        for index in 1..=4 {
            answer.send(matched(index)).await.unwrap();
            if index > 1 {
                arriving.recv().await.unwrap();
            }
        }
    };
    let mine = async {
        for index in 1..=4 {
            assert_eq!(replies.next().await.unwrap().unwrap(), Ok(Some(log_id(1, index))));
        }
    };
    tokio::join!(peer, mine);
}

#[tokio::test]
async fn an_answer_proves_nothing_of_a_request_that_left_after_it() {
    let (mut network, mut arriving, answer) = network(8);
    let commit_only = AppendEntriesRequest { prev_log_id: Some(log_id(1, 1)), entries: Vec::new(), ..request(2) };
    let input = stream::iter([request(1), commit_only, request(2)]).chain(stream::pending());
    let mut replies = network.stream_append(input, option()).await.unwrap();
    assert!(replies.next().now_or_never().is_none());
    answer.send(matched(1)).await.unwrap();
    assert!(replies.next().now_or_never().is_none(), "openraft would take it for an answer to the second, too");
    answer.send(matched(1)).await.unwrap();
    assert_eq!(replies.next().await.unwrap().unwrap(), Ok(Some(log_id(1, 1))));
    answer.send(matched(2)).await.unwrap();
    assert_eq!(replies.next().await.unwrap().unwrap(), Ok(Some(log_id(1, 2))));
    for _ in 1..=3 {
        arriving.try_recv().unwrap();
    }
}

#[tokio::test]
async fn an_answer_to_another_request_ends_the_session() {
    for wrong in [
        matched(9),
        codec::encode_reply(&Ok(None)),
        codec::encode_reply(&Err(StreamAppendError::Conflict(log_id(1, 3)))),
        Bytes::from_static(b"what?"),
    ] {
        let (mut network, mut arriving, answer) = network(8);
        let input = stream::iter([request(1)]).chain(stream::pending());
        let mut replies = network.stream_append(input, option()).await.unwrap();
        answer.send(wrong).await.unwrap();
        let reply = replies.next().await.unwrap();
        assert!(matches!(reply, Err(RPCError::Unreachable(_))), "{reply:?}");
        assert!(replies.next().await.is_none());
        drop(replies);
        assert!(arriving.recv().await.is_some() && arriving.recv().await.is_none(), "the peer sees the end");
    }
}

#[tokio::test]
async fn a_silent_peer_is_given_up() {
    let (mut network, _arriving, _answer) = network(8);
    let input = stream::iter([request(1)]).chain(stream::pending());
    let mut replies = network.stream_append(input, option()).await.unwrap();
    let reply = tokio::time::timeout(2 * ANSWER_TIMEOUT, replies.next()).await.unwrap().unwrap();
    assert!(matches!(reply, Err(RPCError::Unreachable(_))), "{reply:?}");
}

#[tokio::test]
async fn a_session_ends_once_its_input_has_and_all_is_answered() {
    let (mut network, mut arriving, answer) = network(8);
    let mut replies = network.stream_append(stream::iter([request(1), request(2)]), option()).await.unwrap();
    assert!(replies.next().now_or_never().is_none());
    for index in 1..=2 {
        arriving.recv().await.unwrap();
        answer.send(matched(index)).await.unwrap();
        replies.next().await.unwrap().unwrap().unwrap();
    }
    assert!(replies.next().await.is_none());
}

#[tokio::test]
async fn old_entries_take_their_own_lane_once_all_before_is_answered() {
    let (first, mut on_append) = mpsc::channel(64);
    let (second, mut on_bulk) = mpsc::channel(64);
    let (third, mut on_append_again) = mpsc::channel(64);
    let (answer_first, answers_first) = mpsc::channel(64);
    let (answer_second, answers_second) = mpsc::channel(64);
    let (_answer_third, answers_third) = mpsc::channel(64);
    let lanes = Arc::new(Mutex::new(Vec::new()));
    let ends = [(first, answers_first), (second, answers_second), (third, answers_third)];
    let transport = Arc::new(Peer(Mutex::new(ends.into()), lanes.clone()));
    let route = Route { kind: GroupKind::Partition, from: ReplicaId(1), to: ReplicaId(2), node: NodeId(2) };
    // From 3 to 9 the entries are old.
    let mut network =
        Network { transport, route, is_old: Arc::new(|index| (3..10).contains(&index)), acknowledged: Arc::default() };
    let input = stream::iter((1..=40).map(request)).chain(stream::pending());
    let mut replies = network.stream_append(input, option()).await.unwrap();
    assert!(replies.next().now_or_never().is_none());
    assert!(on_append.try_recv().is_ok() && on_append.try_recv().is_ok() && on_append.try_recv().is_err());
    assert_eq!(*lanes.lock().unwrap(), [Lane::Append], "two are not answered yet");
    for index in 1..=2 {
        answer_first.send(matched(index)).await.unwrap();
        replies.next().await.unwrap().unwrap().unwrap();
    }
    assert!(replies.next().now_or_never().is_none());
    assert_eq!(*lanes.lock().unwrap(), [Lane::Append, Lane::Bulk]);
    // Seven old ones, and some more before the lane is changed again.
    let bulk = 7 + u64::from(CAUGHT_UP_AFTER) - 1;
    for index in 3..3 + bulk {
        assert!(on_bulk.try_recv().is_ok(), "{index}");
    }
    assert!(on_bulk.try_recv().is_err());
    for index in 3..3 + bulk {
        assert_eq!(*lanes.lock().unwrap(), [Lane::Append, Lane::Bulk], "not all are answered yet");
        answer_second.send(matched(index)).await.unwrap();
        replies.next().await.unwrap().unwrap().unwrap();
    }
    assert!(replies.next().now_or_never().is_none());
    assert_eq!(*lanes.lock().unwrap(), [Lane::Append, Lane::Bulk, Lane::Append]);
    assert!(on_append_again.try_recv().is_ok());
}
