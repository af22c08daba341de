//! The receiving side of replication: one session of AppendEntries of a leader.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use futures::{StreamExt, stream};
use openraft::EntryPayload;
use quorate_log_engine::FrameKind;
use tokio::sync::mpsc;

use crate::{
    codec, environment::PAYLOAD_BYTES_MAX, group::Group, log_store::lock, network::IN_FLIGHT_REQUESTS_MAX, types::Entry,
};

/// Requests of one session that wait for Raft: as many as a leader may have without an answer.
const SESSION_REQUESTS_MAX: usize = IN_FLIGHT_REQUESTS_MAX;

impl Group {
    /// Serves a peer's session of AppendEntries: requests go in, answers come out, both in order. The session ends
    /// when the sender is dropped, when the answers are dropped, when a request is malformed, or when it brings batches
    /// while the disk is full.
    ///
    /// What comes with each request is dropped once that is answered: a claim on a budget of memory, say.
    #[must_use]
    pub fn append_session<C: Send + 'static>(&self) -> (mpsc::Sender<(Bytes, C)>, mpsc::Receiver<Bytes>) {
        let (sender, receiver) = mpsc::channel::<(Bytes, C)>(SESSION_REQUESTS_MAX);
        let (replica, space, store) = (self.replica(), self.space().clone(), self.store().clone());
        let claims = Arc::new(Mutex::new(VecDeque::new()));
        let unanswered = claims.clone();
        let requests = stream::unfold(receiver, move |mut receiver| {
            let (unanswered, space, store) = (unanswered.clone(), space.clone(), store.clone());
            async move {
                let (request, claim) = receiver.recv().await?;
                let request = match codec::decode_append(request, PAYLOAD_BYTES_MAX) {
                    Ok(request) => request,
                    Err(error) => {
                        tracing::warn!(%replica, %error, "a peer sent a malformed AppendEntries; its session ends");
                        return None;
                    }
                };
                let bytes = bytes_of_batches(&request.entries);
                // A new leader may send what is here already before it knows.
                let news = |entry: &Entry| is_batch(entry) && !store.holds(entry.log_id);
                if bytes > 0 && space.is_exhausted() && request.entries.iter().any(news) {
                    tracing::debug!(%replica, "the disk is full: batches of the leader are not taken");
                    return None;
                }
                space.take(bytes);
                lock(&unanswered).push_back(claim);
                Some((request, receiver))
            }
        });
        let (answer, answers) = mpsc::channel(SESSION_REQUESTS_MAX);
        let raft = self.raft().clone();
        tokio::spawn(async move {
            let mut replies = std::pin::pin!(raft.stream_append(Box::pin(requests)));
            loop {
                let reply = tokio::select! {
                    () = answer.closed() => return,
                    reply = replies.next() => reply,
                };
                let Some(Ok(reply)) = reply else { return };
                drop(lock(&claims).pop_front());
                if answer.send(codec::encode_reply(&reply)).await.is_err() {
                    return;
                }
            }
        });
        (sender, answers)
    }
}

/// The bytes of the batches among these entries.
fn bytes_of_batches(entries: &[Entry]) -> u64 {
    let bytes = |entry: &Entry| match &entry.payload {
        EntryPayload::Normal(proposal) if is_batch(entry) => proposal.payload.len() as u64,
        _ => 0,
    };
    entries.iter().map(bytes).sum()
}

fn is_batch(entry: &Entry) -> bool {
    matches!(&entry.payload, EntryPayload::Normal(proposal) if proposal.kind == FrameKind::Batch)
}
