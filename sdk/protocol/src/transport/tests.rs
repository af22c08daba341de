#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use futures::{SinkExt, StreamExt};
use quorate_cluster_config::TopicId;
use tarpc::{ClientMessage, Request, Response};
use tokio::io::{AsyncWriteExt, DuplexStream, duplex};

use super::*;
use crate::{
    ApiError, ErrorCode, FetchResponse, Payload, ProduceRequest, QuorateApiRequest, QuorateApiResponse, TopicSelector,
    TopicsRequest,
};

type Up = ClientMessage<QuorateApiRequest>;
type Down = Response<QuorateApiResponse>;
type Client = MessageTransport<DuplexStream, Down, Up>;
type Node = MessageTransport<DuplexStream, Up, Down>;

const FRAME_BYTES_MAX: usize = 1 << 20;

fn pair(buffer: usize) -> (Client, Node) {
    let (client, node) = duplex(buffer);
    (MessageTransport::new(client, FRAME_BYTES_MAX), MessageTransport::new(node, FRAME_BYTES_MAX))
}

fn produce(id: u64, size: usize) -> Up {
    let batch: Vec<u8> = (0..size).map(|at| (at as u64 + id) as u8).collect();
    let request = ProduceRequest {
        topic: TopicId(7),
        partition: 3,
        batch: batch.into(),
        expected_end_offset: None,
        timeout: Duration::from_secs(1),
    };
    message(id, QuorateApiRequest::Produce { request })
}

fn message(id: u64, message: QuorateApiRequest) -> Up {
    ClientMessage::Request(Request { context: tarpc::context::Context::current(), id, message })
}

fn fetched(request_id: u64, batches: Payload) -> Down {
    let response = FetchResponse { batches, high_watermark: 9, log_start_offset: 2 };
    Response { request_id, message: Ok(QuorateApiResponse::Fetch(Ok(response))) }
}

fn batch(message: &Up) -> (u64, Bytes) {
    let ClientMessage::Request(request) = message else { panic!("{message:?}") };
    let QuorateApiRequest::Produce { request: produce } = &request.message else { panic!("{message:?}") };
    (request.id, produce.batch.clone())
}

#[tokio::test]
async fn messages_and_payloads_arrive_as_they_were_sent_however_the_stream_is_cut() {
    for buffer in [1, 7, 8, 100, 9_000, 1 << 20] {
        let (mut client, mut node) = pair(buffer);
        let sizes = [1, 0, 5_000, READ_AHEAD - 1, READ_AHEAD, 100, 200_000, 3];
        let sending = async {
            for (id, size) in sizes.into_iter().enumerate() {
                client.send(produce(id as u64, size)).await.unwrap();
                client.send(topics(99)).await.unwrap();
            }
            client.close().await.unwrap();
        };
        let receiving = async {
            for (id, size) in sizes.into_iter().enumerate() {
                let received = batch(&node.next().await.unwrap().unwrap());
                assert_eq!(received, batch(&produce(id as u64, size)));
                let ClientMessage::Request(other) = node.next().await.unwrap().unwrap() else { panic!("no request") };
                assert_eq!(other.id, 99);
                assert!(matches!(other.message, QuorateApiRequest::Topics { .. }));
            }
            assert!(node.next().await.is_none());
        };
        tokio::join!(sending, receiving);
    }
}

#[tokio::test]
async fn parts_arrive_as_one_and_answers_without_payload_do_too() {
    let (mut client, mut node) = pair(64);
    let parts: Vec<Bytes> = (0..200u8).map(|part| Bytes::from(vec![part; usize::from(part)])).collect();
    let refused = Response {
        request_id: 2,
        message: Ok(QuorateApiResponse::Fetch(Err(ApiError::new(ErrorCode::Overloaded, "try again")))),
    };
    let sending = async {
        node.send(fetched(1, parts.clone().into())).await.unwrap();
        node.send(refused).await.unwrap();
        node.send(fetched(3, Payload::default())).await.unwrap();
    };
    let receiving = async {
        let first = client.next().await.unwrap().unwrap();
        let Ok(QuorateApiResponse::Fetch(Ok(response))) = first.message else { panic!("{first:?}") };
        assert_eq!(response.batches.parts().len(), 1);
        assert_eq!((response.high_watermark, response.batches.into_bytes()), (9, parts.concat().into()));
        assert!(matches!(client.next().await.unwrap().unwrap().message, Ok(QuorateApiResponse::Fetch(Err(_)))));
        let third = client.next().await.unwrap().unwrap();
        let Ok(QuorateApiResponse::Fetch(Ok(response))) = third.message else { panic!("{third:?}") };
        assert!(response.batches.is_empty() && third.request_id == 3);
    };
    tokio::join!(sending, receiving);
}

#[tokio::test]
async fn a_stream_that_ends_within_a_message_is_an_error() {
    let (mut client, node) = duplex(1 << 20);
    let mut sender = MessageTransport::<_, Down, Up>::new(&mut client, FRAME_BYTES_MAX);
    sender.send(produce(1, 20_000)).await.unwrap();
    client.shutdown().await.unwrap();
    let mut node = node;
    let mut bytes = Vec::new();
    node.read_to_end(&mut bytes).await.unwrap();
    for length in (0..bytes.len()).filter(|at| *at < 200 || at % 997 == 0) {
        let mut node =
            MessageTransport::<_, Up, Down>::new(tokio::io::join(&bytes[..length], Vec::new()), FRAME_BYTES_MAX);
        match node.next().await {
            None => assert_eq!(length, 0),
            Some(received) => assert_eq!(received.unwrap_err().kind(), io::ErrorKind::UnexpectedEof, "{length}"),
        }
    }
}

#[tokio::test]
async fn what_is_announced_beyond_the_bound_is_refused_before_room_is_made_for_it() {
    for (message, payload) in [(u32::MAX, u32::MAX), (0, FRAME_BYTES_MAX as u32 + 1), (FRAME_BYTES_MAX as u32, 1)] {
        let bytes = prefixed(message, payload, b"");
        let mut node =
            MessageTransport::<_, Up, Down>::new(tokio::io::join(bytes.as_slice(), Vec::new()), FRAME_BYTES_MAX);
        let error = node.next().await.unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
        assert!(node.buffer.capacity() <= 2 * READ_AHEAD && node.incoming.is_none());
    }
    let (mut client, _node) = pair(64);
    assert!(client.send(produce(1, FRAME_BYTES_MAX)).await.is_err(), "and is not sent either");
}

fn prefixed(message: u32, payload: u32, body: &[u8]) -> Vec<u8> {
    let (first, rest) = body.split_at(body.len().min(message as usize));
    let prefix = [message, payload, crc32c(first), crc32c(rest)].map(u32::to_le_bytes).concat();
    [&prefix, &crc32c(&prefix).to_le_bytes()[..], body].concat()
}

#[tokio::test]
async fn whatever_bit_is_damaged_on_the_way_the_message_is_refused() {
    for size in [0, 100] {
        let mut sound = Vec::new();
        let mut sender =
            MessageTransport::<_, Down, Up>::new(tokio::io::join(tokio::io::empty(), &mut sound), FRAME_BYTES_MAX);
        sender.send(produce(1, size)).await.unwrap();
        drop(sender);
        for bit in 0..sound.len() * 8 {
            let mut damaged = sound.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let stream = tokio::io::join(damaged.as_slice(), Vec::new());
            let mut node = MessageTransport::<_, Up, Down>::new(stream, FRAME_BYTES_MAX);
            assert_eq!(node.next().await.unwrap().unwrap_err().kind(), io::ErrorKind::InvalidData, "bit {bit}");
        }
    }
}

#[tokio::test]
async fn a_deadline_beyond_all_bounds_is_refused() {
    let mut message = encode(&topics(1)).unwrap();
    // Behind the number of the variant there are its seconds.
    message[4..12].copy_from_slice(&u64::MAX.to_le_bytes());
    let bytes = prefixed(message.len() as u32, 0, &message);
    let stream = tokio::io::join(bytes.as_slice(), Vec::new());
    let mut node = MessageTransport::<_, Up, Down>::new(stream, FRAME_BYTES_MAX);
    assert_eq!(node.next().await.unwrap().unwrap_err().kind(), io::ErrorKind::InvalidData);
}

#[tokio::test]
async fn a_payload_beside_a_message_that_owns_none_is_refused() {
    let message = encode(&topics(1)).unwrap();
    let bytes = prefixed(message.len() as u32, 3, &[&message[..], b"abc"].concat());
    let mut node = MessageTransport::<_, Up, Down>::new(tokio::io::join(bytes.as_slice(), Vec::new()), FRAME_BYTES_MAX);
    assert_eq!(node.next().await.unwrap().unwrap_err().kind(), io::ErrorKind::InvalidData);
}

#[tokio::test]
async fn a_reader_that_does_not_read_holds_one_message_and_what_is_written_is_freed() {
    struct Owner(Arc<AtomicBool>);
    impl AsRef<[u8]> for Owner {
        fn as_ref(&self) -> &[u8] {
            &[1; 50_000]
        }
    }
    impl Drop for Owner {
        fn drop(&mut self) {
            self.0.store(true, SeqCst);
        }
    }
    let freed: Vec<_> = (0..2).map(|_| Arc::new(AtomicBool::new(false))).collect();
    let parts: Vec<_> = freed.iter().map(|freed| Bytes::from_owner(Owner(freed.clone()))).collect();
    let (client, mut node) = pair(60_000);
    node.feed(fetched(1, parts.into())).await.unwrap();
    assert!(!is_full(&mut node).await, "40 KB are left to be written, less than the bound");
    node.feed(fetched(2, Bytes::from(vec![2; 100_000]).into())).await.unwrap();
    assert!(is_full(&mut node).await, "no third message is taken");
    assert_eq!(freed.iter().map(|freed| freed.load(SeqCst)).collect::<Vec<_>>(), [true, false]);
    drop(client);
    assert!(node.flush().await.is_err());
}

fn topics(id: u64) -> Up {
    message(
        id,
        QuorateApiRequest::Topics { request: TopicsRequest { selector: TopicSelector::All, min_metadata_index: 7 } },
    )
}

#[tokio::test]
async fn a_stream_that_takes_nothing_is_given_up_and_a_slow_one_is_not() {
    let (client, mut node) = duplex(100);
    let mut client = MessageTransport::<_, Down, Up>::new(client, FRAME_BYTES_MAX);
    client.stalled_max = Duration::from_secs(1);
    let slow = async {
        let mut bytes = [0; 100];
        // Longer than the bound in all, and far shorter each time.
        for _ in 0..15 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            node.read_exact(&mut bytes).await.unwrap();
        }
    };
    let (sent, ()) = tokio::join!(client.send(produce(1, 10_000)), slow);
    assert_eq!(sent.unwrap_err().kind(), io::ErrorKind::TimedOut);
}

#[tokio::test]
async fn what_arrives_holds_on_to_no_memory_but_its_own() {
    let (mut client, mut node) = pair(1 << 20);
    for (id, size) in [(1, 200), (2, 6_000), (3, 60_000)] {
        client.send(produce(id, size)).await.unwrap();
        client.send(produce(9, 10)).await.unwrap();
        let first = node.next().await.unwrap().unwrap();
        let (_, payload) = batch(&first);
        drop(first);
        assert!(node.next().await.unwrap().is_ok() && payload.len() == size && payload.is_unique());
        assert_eq!(payload.try_into_mut().unwrap().capacity(), size);
    }
    // A long message, and a short one behind it.
    let refusal = ApiError::new(ErrorCode::Overloaded, "x".repeat(500_000));
    let long = Response { request_id: 1, message: Ok(QuorateApiResponse::Fetch(Err(refusal))) };
    let (sent, received) = tokio::join!(node.send(long), client.next());
    assert!(sent.is_ok() && received.unwrap().is_ok() && client.buffer.capacity() <= 2 * READ_AHEAD);
}

#[tokio::test]
async fn a_payload_within_the_message_is_refused() {
    let message = encode(&produce(1, 300)).unwrap();
    let bytes = prefixed(message.len() as u32, 0, &message);
    let mut node = MessageTransport::<_, Up, Down>::new(tokio::io::join(bytes.as_slice(), Vec::new()), FRAME_BYTES_MAX);
    assert_eq!(node.next().await.unwrap().unwrap_err().kind(), io::ErrorKind::InvalidData);
}

async fn is_full(node: &mut Node) -> bool {
    std::future::poll_fn(|context| Poll::Ready(node.poll_ready_unpin(context).is_pending())).await
}
