//! The rows of a coordinator: read from its partition and appended to it.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use quorate_cluster_config::PartitionId;
use quorate_coordinator::{CoordinatorState, Row, Topics};
use quorate_protocol::{ApiError, ErrorCode};
use quorate_raft::{AppendError, Outcome, PartitionGroup};
use quorate_record::{BatchBuilder, BatchHeader, Compression, DecodeLimits, ProducerStamp, Record, decode_batch};
use tokio::time::timeout;

use crate::clients::errors;

/// How long a majority may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes read at once.
const READ_BYTES: usize = 1 << 20;
/// Bytes of rows in a batch, unless one row has more.
const BATCH_BYTES: usize = 1 << 20;
/// The rows are written anew once so many times as many bytes as that takes were written since, and no fewer than
/// [`REWRITE_BYTES_MIN`].
const REWRITE_FACTOR: u64 = 4;
const REWRITE_BYTES_MIN: u64 = 1 << 20;

/// What the rows say up to an offset.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) state: CoordinatorState,
    /// The offset of the next row; `None` if nothing was read, or what was decided could not be written.
    end: Option<u64>,
    /// Bytes since the rows were written anew.
    written: u64,
    /// Bytes that it took.
    rewritten: u64,
}

impl Rows {
    /// Reads what others have written; `true` if there was anything.
    pub(super) async fn catch_up(&mut self, group: &PartitionGroup, id: PartitionId) -> Result<bool, ApiError> {
        let end = timeout(PATIENCE, group.linearizable_end_offset())
            .await
            .map_err(|_| ApiError::new(ErrorCode::Unavailable, "no majority answered in time"))?
            .map_err(|error| errors::of_proposal(id, &error))?;
        let start = group.log_start_offset();
        let mut next = match self.end.filter(|next| (start..=end).contains(next)) {
            Some(next) if next == end => return Ok(false),
            Some(next) => next,
            None => {
                *self = Self::default();
                start
            }
        };
        // Until all is read, nothing is known.
        self.end = None;
        while next < end {
            let frames =
                group.read(next, READ_BYTES).await.map_err(|error| unreadable(id, next, &error.to_string()))?;
            let before = next;
            for (head, rest) in frames.iter().filter_map(|frame| frame.stamped_batch()) {
                let mut batch = BytesMut::with_capacity(head.len() + rest.len());
                batch.extend_from_slice(&head);
                batch.extend_from_slice(&rest);
                self.written += batch.len() as u64;
                next = load(&mut self.state, batch.freeze(), next).map_err(|reason| unreadable(id, next, &reason))?;
            }
            if next == before {
                return Err(unreadable(id, next, "there is nothing"));
            }
        }
        self.end = Some(next);
        Ok(true)
    }

    /// Writes what was decided; `true` if groups or their members have changed, and not only what is committed. If it fails,
    /// what was decided must be forgotten.
    pub(super) async fn write(
        &mut self,
        group: &PartitionGroup,
        id: PartitionId,
        now_ms: i64,
    ) -> Result<bool, ApiError> {
        let changes = self.state.take_changes();
        if changes.is_empty() {
            return Ok(false);
        }
        self.append(group, id, &changes, now_ms).await?;
        Ok(changes.iter().any(|row| !matches!(row, Row::Offsets { .. })))
    }

    /// Writes all rows anew and has what was before deleted, if that is worth it.
    ///
    /// # Errors
    /// If the rows cannot be written. Should only the deletion fail, it comes with the next ones.
    pub(super) async fn rewrite(
        &mut self,
        group: &PartitionGroup,
        id: PartitionId,
        topics: &impl Topics,
        now_ms: i64,
    ) -> Result<(), ApiError> {
        let Some(start) = self.end.filter(|_| self.written >= REWRITE_BYTES_MIN.max(REWRITE_FACTOR * self.rewritten))
        else {
            return Ok(());
        };
        let rows = self.state.snapshot(topics);
        self.written = 0;
        self.append(group, id, &rows, now_ms).await?;
        self.rewritten = std::mem::take(&mut self.written);
        match timeout(PATIENCE, group.trim(start)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::debug!(partition = %id, ?error, "old rows of consumer groups stay for now"),
            Err(_) => tracing::debug!(partition = %id, "old rows of consumer groups may stay for now"),
        }
        Ok(())
    }

    async fn append(
        &mut self,
        group: &PartitionGroup,
        id: PartitionId,
        rows: &[Row],
        now_ms: i64,
    ) -> Result<(), ApiError> {
        let mut end = self.end.take().ok_or_else(|| ApiError::new(ErrorCode::Unavailable, "the rows are not known"))?;
        let mut rows = rows.iter().peekable();
        while rows.peek().is_some() {
            let mut builder = BatchBuilder::new(Compression::None);
            while builder.is_empty() || builder.estimated_size() < BATCH_BYTES {
                let Some(row) = rows.next() else { break };
                builder.push(&record(row, now_ms)?);
            }
            let count = builder.len() as u64;
            let batch = builder.build(ProducerStamp::NONE).map_err(internal)?;
            self.written += batch.len() as u64;
            append(group, id, batch, end).await?;
            end += count;
        }
        self.end = Some(end);
        Ok(())
    }
}

fn record(row: &Row, now_ms: i64) -> Result<Record, ApiError> {
    let value = quorate_protocol::encode(row).map_err(internal)?;
    Ok(Record::new(value, now_ms).with_key(Bytes::copy_from_slice(row.group().as_str().as_bytes())))
}

/// Takes in the rows of a batch from an offset on; returns the offset behind them.
fn load(state: &mut CoordinatorState, batch: Bytes, mut next: u64) -> Result<u64, String> {
    let records = decode_batch(batch, &DecodeLimits::default()).map_err(|error| error.to_string())?;
    for record in records {
        let record = record.map_err(|error| error.to_string())?;
        let offset = u64::try_from(record.offset).unwrap_or(0);
        if offset < next {
            continue;
        }
        let value = record.record.value.unwrap_or_default();
        let row = quorate_protocol::decode(&value);
        state.load(row.map_err(|error| format!("{error}; it may have been written by a later build"))?);
        next = offset + 1;
    }
    Ok(next)
}

/// Appends a batch where the partition ends at this offset, and nowhere else.
async fn append(group: &PartitionGroup, id: PartitionId, batch: Bytes, end: u64) -> Result<(), ApiError> {
    let header = BatchHeader::parse(&batch).map_err(internal)?;
    let appending = async { group.append(batch, &header, Some(end)).await.finish().await };
    match timeout(PATIENCE, appending).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(AppendError::Refused(Outcome::EndOffsetMismatch { .. }))) => {
            let message = format!("another node has begun to coordinate partition {}; try again", id.index);
            Err(ApiError::new(ErrorCode::NotLeader, message))
        }
        Ok(Err(error)) => Err(errors::of_append(id, &error)),
        Err(_) => Err(errors::timeout("the change of the group")),
    }
}

fn unreadable(id: PartitionId, offset: u64, reason: &str) -> ApiError {
    let message = format!("the consumer groups in partition {} cannot be read at offset {offset}: {reason}", id.index);
    ApiError::new(ErrorCode::Storage, message)
}

fn internal(error: impl std::fmt::Display) -> ApiError {
    ApiError::new(ErrorCode::InvalidRequest, format!("the change of the group cannot be written down: {error}"))
}
