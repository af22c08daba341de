//! Fan-out to live subscribers: one consumer, any number of WebSockets.
//!
//! Each subscriber gets what comes after it has connected, as JSON. One that is too slow is told how many records it has missed
//! and disconnected: others are not held up, and nothing grows. It knows the offsets of what it got, and may read the topic itself
//! from there on.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use futures::{SinkExt, StreamExt};
use quorate::{Client, ConsumedRecord, Position, TopicName};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::broadcast::{self, error::RecvError},
    task::{JoinHandle, JoinSet},
    time::timeout,
};
use tokio_tungstenite::tungstenite::{
    Message,
    protocol::{CloseFrame, frame::coding::CloseCode},
};

use crate::Error;

/// Messages that a subscriber may be behind.
const BEHIND_MAX: usize = 1_024;
/// How long a handshake may take, and a message to be taken.
const PATIENCE: Duration = Duration::from_secs(10);
/// After an error of `accept`, or of reading.
const PAUSE: Duration = Duration::from_millis(200);
/// Subscribers at a time.
const SUBSCRIBERS_MAX: usize = 1_000;

/// A server at work; it ends when this is dropped.
#[derive(Debug)]
pub struct FanOut {
    /// Where it listens.
    pub address: SocketAddr,
    tasks: [JoinHandle<()>; 2],
}

impl Drop for FanOut {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Serves the records of a topic to whoever connects.
///
/// # Errors
/// If the topic cannot be read or the address cannot be listened on.
pub async fn serve(client: &Client, topic: &TopicName, listen: SocketAddr) -> Result<FanOut, Error> {
    let mut records = client.consumer(topic).from(Position::Last).build().await?;
    let listener = TcpListener::bind(listen).await?;
    let address = listener.local_addr()?;
    let (sender, _) = broadcast::channel::<Arc<str>>(BEHIND_MAX);
    let subscribers = sender.clone();
    let reading = tokio::spawn(async move {
        while let Some(record) = records.next().await {
            match record {
                // Without subscribers nobody receives it.
                Ok(record) => drop(sender.send(message(&record).into())),
                // A leader may be gone: that passes.
                Err(error) if error.is_retryable() => tokio::time::sleep(PAUSE).await,
                Err(error) => return eprintln!("{error}"),
            }
        }
    });
    let accepting = tokio::spawn(async move {
        // They end with the server.
        let mut served = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) if served.len() < SUBSCRIBERS_MAX => {
                        drop(served.spawn(subscriber(stream, subscribers.subscribe())));
                    }
                    Ok(_) => {}
                    Err(_) => tokio::time::sleep(PAUSE).await,
                },
                Some(_) = served.join_next() => {}
            }
        }
    });
    Ok(FanOut { address, tasks: [reading, accepting] })
}

async fn subscriber(stream: TcpStream, mut messages: broadcast::Receiver<Arc<str>>) {
    let Ok(Ok(mut socket)) = timeout(PATIENCE, tokio_tungstenite::accept_async(stream)).await else { return };
    loop {
        tokio::select! {
            message = messages.recv() => match message {
                Ok(text) => {
                    let sent = timeout(PATIENCE, socket.send(Message::text(text.to_string()))).await;
                    if !matches!(sent, Ok(Ok(()))) {
                        return;
                    }
                }
                Err(RecvError::Lagged(missed)) => {
                    let reason = format!("too slow: {missed} records were missed").into();
                    let closing = socket.close(Some(CloseFrame { code: CloseCode::Again, reason }));
                    drop(timeout(PATIENCE, closing).await);
                    return;
                }
                Err(RecvError::Closed) => return,
            },
            // It has nothing to say, but it may leave.
            said = socket.next() => if !matches!(said, Some(Ok(_))) { return },
        }
    }
}

fn message(record: &ConsumedRecord) -> String {
    let text = |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    serde_json::json!({
        "partition": record.partition,
        "offset": record.offset,
        "key": text(record.record.key.as_deref()),
        "value": text(record.record.value.as_deref()),
    })
    .to_string()
}
