//! The task that delivers the batches of one partition.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use futures::{StreamExt, stream::FuturesUnordered};
use quorate_cluster_config::{NodeId, PartitionIndex, ProducerId};
use quorate_protocol::{ApiError, ErrorCode, ProduceRequest, ProduceResponse};
use quorate_record::ProducerStamp;
use tokio::time::sleep_until;

use super::{
    accumulator::{Accumulator, OpenBatch},
    delivery::{BatchAck, BatchCompletion},
    error::ProduceError,
    handle::Shared,
    sent_batch::{PendingBatch, SentBatch},
    window::{BatchNumber, Failed, Verdict, Window},
};
use crate::{
    backoff::Backoff,
    connection::{CallFailure, Connection},
    place::Place,
    routing::{Refreshed, attempt_timeout},
};

/// The largest sequence a producer id is used up to. Beyond it, the partition continues under a new id rather than
/// wrapping around.
const SEQUENCE_MAX: i32 = i32::MAX / 2;
/// How long a partition may have had nothing to send before it continues under a new id: the cluster forgets idle
/// producers, and a sequence it does not know is refused. Where nodes forget sooner, the refusal tells.
const IDLE_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Without anything to do, look up at least this often. Only bounds the effect of a mistake.
const TIMER_MAX: Duration = Duration::from_secs(3600);

type Answer = (BatchNumber, Result<ProduceResponse, CallFailure>);

/// Delivers the batches of one partition, in order and once each. Everything about order and retries is decided by
/// the [`Window`]; this adds time, the network and the records' deliveries.
pub(super) struct PartitionTask {
    partition: PartitionIndex,
    shared: Arc<Shared>,
    accumulator: Arc<Accumulator>,
    window: Window<SentBatch>,
    in_flight: FuturesUnordered<Pin<Box<dyn Future<Output = Answer> + Send>>>,
    /// Where all batches on their way were issued: requests of one connection arrive in order.
    route: Option<(NodeId, Connection)>,
    producer: Option<ProducerState>,
    backoff: Backoff,
    /// The epoch of the leader tried last: of a later one nothing is known against it.
    tried_epoch: u64,
    /// The failure that explains why batches wait, and the node that had it, if it is known.
    last_failure: Option<(Option<NodeId>, CallFailure)>,
}

/// The place of the producer in the partition.
#[derive(Debug)]
struct ProducerState {
    id: ProducerId,
    next_sequence: i32,
    used_at: Instant,
}

impl PartitionTask {
    /// Starts the task of a partition. It ends when the accumulator it returns is closed and everything is delivered.
    pub(super) fn spawn(partition: PartitionIndex, shared: &Arc<Shared>) -> Arc<Accumulator> {
        let accumulator = Arc::new(Accumulator::new(partition, shared.settings.batching, Arc::clone(&shared.failures)));
        let task = Self {
            partition,
            shared: Arc::clone(shared),
            accumulator: Arc::clone(&accumulator),
            window: Window::new(shared.settings.in_flight),
            in_flight: FuturesUnordered::new(),
            route: None,
            producer: Some(ProducerState { id: shared.producer_id, next_sequence: 0, used_at: Instant::now() }),
            backoff: Backoff::default(),
            tried_epoch: 0,
            last_failure: None,
        };
        tokio::spawn(task.run());
        accumulator
    }

    async fn run(mut self) {
        loop {
            self.expire();
            if self.window.is_recovering() {
                self.recover().await;
                continue;
            }
            self.fill_window().await;
            self.issue().await;
            if self.window.is_recovering() {
                continue;
            }
            if self.window.is_empty() && self.accumulator.is_drained() {
                return;
            }
            let timer = self.next_timer();
            tokio::select! {
                Some(answer) = self.in_flight.next(), if !self.in_flight.is_empty() => self.note_answer(answer),
                () = self.accumulator.changed() => {}
                () = sleep_until(timer.into()) => {}
            }
        }
    }

    fn delivery_timeout(&self) -> Duration {
        self.shared.settings.delivery_timeout
    }

    /// When something is to be done even if nothing happens.
    fn next_timer(&self) -> Instant {
        let due = self.accumulator.next_due().filter(|_| self.may_take());
        [due, self.first_deadline()].into_iter().flatten().min().unwrap_or_else(|| Instant::now() + TIMER_MAX)
    }

    fn first_deadline(&self) -> Option<Instant> {
        let sent = self.window.first().map(|(_, batch)| batch.deadline);
        let waiting = self.accumulator.oldest_opened_at().map(|opened_at| opened_at + self.delivery_timeout());
        [sent, waiting].into_iter().flatten().min()
    }

    /// A batch under a new producer id must not overtake those under the old one.
    /// A conditional batch goes alone: the end offset it expects means nothing while others are on their way.
    fn may_take(&self) -> bool {
        let conditional_ahead = self.window.first().is_some_and(|(_, batch)| batch.expected_end_offset.is_some());
        let goes_alone = conditional_ahead || self.accumulator.next_is_conditional();
        self.window.has_room() && (self.window.is_empty() || (self.producer.is_some() && !goes_alone))
    }

    /// Fails what has waited longer than the delivery timeout.
    fn expire(&mut self) {
        let now = Instant::now();
        while let Some((number, batch)) = self.window.first() {
            if batch.deadline > now {
                break;
            }
            let timed_out = self.timed_out();
            let failed = self.window.fail_from(number);
            self.fail(failed, timed_out);
        }
        let Some(limit) = now.checked_sub(self.delivery_timeout()) else {
            return;
        };
        for batch in self.accumulator.take_opened_until(limit) {
            let error = self.timed_out()(false);
            self.pending(batch.completion, batch.reserved).end(Err(error));
        }
        self.accumulator.forget_finished();
    }

    /// A batch was refused, and sending it again as it is would be in vain.
    fn refuse_from(&mut self, number: BatchNumber, refusal: ApiError) {
        let ApiError { code, message, .. } = refusal;
        let asked = self.route.as_ref().map(|(node, _)| *node);
        let place = self.place(asked.or_else(|| self.last_failure.as_ref().and_then(|(node, _)| *node)));
        let failed = self.window.fail_from(number);
        let certain = failed.iter().all(|failed| !failed.outcome_unknown);
        let Some(first) = failed.first() else { return };
        let (base_sequence, expected) = (first.batch.base_sequence, first.batch.expected_end_offset);
        match (code, expected) {
            // The partition forgets who is idle for longer than its nodes are set to wait. What is certainly not in the
            // log can be appended by anybody, so also by this producer under another id.
            (ErrorCode::UnknownProducer, _) if certain && base_sequence > 0 => self.send_under_new_id(failed),
            (ErrorCode::EndOffsetMismatch, Some(expected)) => {
                let producer = self.producer.take();
                self.fail(failed, |outcome_unknown| ProduceError::EndOffsetMismatch {
                    place,
                    expected,
                    message,
                    outcome_unknown,
                });
                // Nothing was sent behind it, so the next batch takes its sequence. A new producer id for each mismatch
                // would fill the partition's table of producers.
                let free = |producer| ProducerState { next_sequence: base_sequence, ..producer };
                self.producer = producer.filter(|_| certain).map(free);
            }
            _ => self.fail(failed, |outcome_unknown| ProduceError::Refused { place, code, message, outcome_unknown }),
        }
    }

    /// Puts batches that have a sequence back before those that have none.
    fn send_under_new_id(&mut self, batches: Vec<Failed<SentBatch>>) {
        tracing::debug!(
            partition = self.partition,
            batches = batches.len(),
            "the partition has forgotten the producer"
        );
        self.producer = None;
        let compression = self.shared.settings.batching.compression;
        let mut open = Vec::with_capacity(batches.len());
        for Failed { batch, .. } in batches {
            match batch.reopen(compression) {
                Ok(batch) => open.push(batch),
                Err((pending, error)) => pending.end(Err(ProduceError::Encode(error.to_string()))),
            }
        }
        self.accumulator.put_back(open);
    }

    /// Fails batches for good: the first with the error `cause` makes, those behind it as its consequence. Their
    /// sequences are lost, so the partition continues under a new producer id.
    fn fail(&mut self, failed: Vec<Failed<SentBatch>>, cause: impl FnOnce(bool) -> ProduceError) {
        let mut failed = failed.into_iter();
        let Some(first) = failed.next() else { return };
        self.producer = None;
        let error = cause(first.outcome_unknown);
        tracing::warn!(partition = self.partition, %error, "batches failed for good");
        let reason = error.to_string();
        let place = self.place(error.node());
        first.batch.pending.end(Err(error));
        for batch in failed {
            batch.batch.pending.end(Err(ProduceError::EarlierBatchFailed {
                place: place.clone(),
                reason: reason.clone(),
                outcome_unknown: batch.outcome_unknown,
            }));
        }
        self.accumulator.forget_finished();
    }

    fn place(&self, node: Option<NodeId>) -> Box<Place> {
        self.shared.place(self.partition).at(node)
    }

    /// The error of batches whose time is up; it takes whether they may have been appended.
    fn timed_out(&self) -> impl FnOnce(bool) -> ProduceError + use<> {
        let (node, reason, code) = match &self.last_failure {
            Some((node, CallFailure::Refused(refusal))) => (*node, refusal.message.clone(), Some(refusal.code)),
            Some((node, CallFailure::Unreachable(reason) | CallFailure::Unknown(reason))) => {
                (*node, reason.clone(), None)
            }
            None => (None, "none; the partition takes records more slowly than they come".into(), None),
        };
        let (place, waited) = (self.place(node), self.delivery_timeout());
        move |outcome_unknown| ProduceError::TimedOut { place, waited, reason, code, outcome_unknown }
    }

    /// Gives due batches their sequences.
    async fn fill_window(&mut self) {
        while self.may_take() {
            if self.accumulator.next_due().is_none_or(|due| due > Instant::now()) {
                return;
            }
            if !self.ensure_producer().await {
                return;
            }
            if let Some(batch) = self.accumulator.take_due(Instant::now()) {
                self.stamp(batch);
            }
        }
    }

    /// Gets a new producer id where the old one cannot be used on. False if there is none, or not yet.
    async fn ensure_producer(&mut self) -> bool {
        let retired = self.producer.as_ref().is_some_and(|producer| {
            producer.next_sequence > SEQUENCE_MAX
                || (self.window.is_empty() && producer.next_sequence > 0 && producer.used_at.elapsed() > IDLE_MAX)
        });
        if retired {
            self.producer = None;
        }
        if self.producer.is_some() {
            return true;
        }
        if !self.window.is_empty() {
            return false;
        }
        let Some(deadline) = self.first_deadline() else {
            return false;
        };
        let left = deadline.saturating_duration_since(Instant::now());
        match self.shared.client.allocate_producer_id(left).await {
            Ok(id) => {
                self.producer = Some(ProducerState { id, next_sequence: 0, used_at: Instant::now() });
                // The window is empty: answers still due are to batches that have failed. They must not be taken for
                // signs of how those to come fare.
                self.in_flight.clear();
                true
            }
            Err(error) => {
                let (reason, node) = (error.to_string(), error.node());
                let failure = match error.code() {
                    Some(code) => CallFailure::Refused(ApiError::new(code, reason)),
                    None => CallFailure::Unreachable(reason),
                };
                if !error.is_retryable()
                    && let Some(batch) = self.accumulator.take_due(Instant::now())
                {
                    self.pending(batch.completion, batch.reserved).end(Err(ProduceError::Setup(error)));
                }
                self.last_failure = Some((node, failure));
                // Back to the loop, where the deadline is looked at.
                tokio::time::sleep(self.backoff.next()).await;
                false
            }
        }
    }

    fn stamp(&mut self, batch: OpenBatch) {
        let OpenBatch { opened_at, expected_end_offset, .. } = batch;
        let deadline = opened_at + self.delivery_timeout();
        let pending = self.pending(batch.completion, batch.reserved);
        let Some(producer) = &mut self.producer else { return };
        // Both are far below their bounds: ids are counted up from 0, and a batch has at most its bytes in records.
        let producer_id = producer.id.0 as i64;
        let record_count = batch.builder.len() as i32;
        let base_sequence = producer.next_sequence;
        let stamp = ProducerStamp { producer_id, producer_epoch: 0, base_sequence };
        match batch.builder.build(stamp) {
            Ok(bytes) => {
                producer.next_sequence += record_count;
                producer.used_at = Instant::now();
                let sent = SentBatch { bytes, base_sequence, expected_end_offset, opened_at, deadline, pending };
                self.window.push(sent);
            }
            Err(error) => pending.end(Err(ProduceError::Encode(error.to_string()))),
        }
    }

    fn pending(&self, completion: Arc<BatchCompletion>, reserved: usize) -> PendingBatch {
        PendingBatch::new(self.partition, completion, reserved, Arc::clone(&self.shared))
    }

    /// Sends the batches that wait for it, in order.
    async fn issue(&mut self) {
        if !self.window.has_waiting() {
            return;
        }
        let Some(connection) = self.connect().await else {
            self.window.interrupt();
            return;
        };
        while let Some((number, batch)) = self.window.issue() {
            let deadline = batch.deadline.min(Instant::now() + attempt_timeout(self.shared.settings.delivery_timeout));
            let request = ProduceRequest {
                topic: self.shared.topic,
                partition: self.partition,
                batch: batch.bytes.clone(),
                expected_end_offset: batch.expected_end_offset,
                timeout: deadline.saturating_duration_since(Instant::now()),
            };
            let connection = connection.clone();
            // Unconstrained, because tokio's cooperative budget could keep a first poll from queuing the request.
            let mut call: Pin<Box<dyn Future<Output = Answer> + Send>> =
                Box::pin(tokio::task::coop::unconstrained(async move {
                    let answer =
                        connection.call(deadline, |api, context| async move { api.produce(context, request).await });
                    (number, answer.await)
                }));
            // The first poll queues the request: this is what keeps the batches in order on the wire.
            match futures::poll!(call.as_mut()) {
                Poll::Ready(answer) => self.note_answer(answer),
                Poll::Pending => self.in_flight.push(call),
            }
        }
    }

    /// The connection for the next batches: while some are on their way, the one they were issued on.
    async fn connect(&mut self) -> Option<Connection> {
        if self.in_flight.is_empty() {
            let deadline = self.first_deadline()?;
            let router = self.shared.client.router();
            self.tried_epoch = router.topology().leader_epoch(self.shared.topic, self.partition);
            match router.leader_connection(self.shared.topic, self.partition, deadline).await {
                Ok(route) => self.route = Some(route),
                Err(failure) => {
                    self.last_failure = Some((None, failure));
                    self.route = None;
                }
            }
        }
        self.route.as_ref().map(|(_, connection)| connection.clone())
    }

    fn note_answer(&mut self, (number, answer): Answer) {
        match answer {
            Ok(ProduceResponse { base_offset, duplicate, .. }) => {
                self.backoff.reset();
                self.last_failure = None;
                if let Some(batch) = self.window.acknowledge(number) {
                    batch.pending.end(Ok(BatchAck { base_offset, duplicate }));
                    self.accumulator.forget_finished();
                }
            }
            Err(CallFailure::Refused(refusal)) => {
                if self.window.refuse(number, &refusal) == Verdict::Fatal {
                    self.refuse_from(number, refusal);
                } else {
                    // From a node that does not serve the partition, answers to the others may never come. Elsewhere
                    // they are on their way, and sending those batches again would be in vain.
                    let serves = matches!(
                        refusal.code,
                        ErrorCode::Overloaded
                            | ErrorCode::DiskFull
                            | ErrorCode::OutOfOrderSequence
                            | ErrorCode::UnknownProducer
                    );
                    self.note_failure(CallFailure::Refused(refusal));
                    if !serves {
                        self.in_flight.clear();
                    }
                }
            }
            Err(failure) => {
                self.window.lose(number);
                self.note_failure(failure);
                // The others wait on the same connection for the same node: better to send them again at once.
                self.in_flight.clear();
            }
        }
    }

    fn note_failure(&mut self, failure: CallFailure) {
        // The refusals of later batches are consequences; the first failure is the reason.
        let is_consequence = matches!(&failure, CallFailure::Refused(refusal)
            if matches!(refusal.code, ErrorCode::OutOfOrderSequence | ErrorCode::UnknownProducer));
        let node = self.route.as_ref().map(|(node, _)| *node);
        let failure = match node {
            Some(node) => {
                let router = self.shared.client.router();
                router.note_failure(self.shared.topic, self.partition, node, failure)
            }
            None => failure,
        };
        if !(is_consequence && self.last_failure.is_some()) {
            self.last_failure = Some((node, failure));
        }
    }

    /// Waits for the answers that are still due, pauses, learns who leads, and lets the window start over.
    async fn recover(&mut self) {
        while let Some(answer) = self.in_flight.next().await {
            self.note_answer(answer);
        }
        self.route = None;
        let pause = self.backoff.next();
        let deadline = self.first_deadline().unwrap_or_else(Instant::now);
        tracing::debug!(partition = self.partition, failure = ?self.last_failure, ?pause, "sending again");
        let until = (Instant::now() + pause).min(deadline);
        let pause = async {
            sleep_until(until.into()).await;
            Ok::<(), Infallible>(())
        };
        let place = (self.shared.topic, self.partition);
        let router = self.shared.client.router();
        if let Ok(Refreshed::Gone(refusal)) = router.look_for_leader(place, self.tried_epoch, deadline, pause).await
            && let Some((number, _)) = self.window.first()
        {
            self.refuse_from(number, refusal);
        }
        #[cfg(feature = "planted-bugs")]
        if quorate_planted_bugs::PlantedBug::RetryWithNewSequence.is_planted()
            && let Some((number, _)) = self.window.first()
        {
            let unacknowledged = self.window.fail_from(number);
            self.send_under_new_id(unacknowledged);
        }
        self.window.resume();
    }
}

impl Drop for PartitionTask {
    /// The runtime shuts down: nobody will deliver what is left.
    fn drop(&mut self) {
        self.accumulator.close();
        for batch in self.accumulator.flush() {
            batch.complete(Err(ProduceError::Stopped { place: self.place(None) }));
        }
    }
}
