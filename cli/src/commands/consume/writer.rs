//! Writes consumed records to stdout, through a large buffer.

use std::io::{self, BufWriter, StdoutLock, Write};

use quorate::ConsumedRecord;

use crate::error::Failure;
use crate::format::{RecordFormat, RecordView};

const BUFFER_BYTES: usize = 256 * 1024;

/// The records written so far, and how many more are wanted.
#[derive(Debug)]
pub(super) struct RecordWriter {
    topic: String,
    format: RecordFormat,
    /// Records yet to be written, if their number is limited.
    wanted: Option<u64>,
    out: BufWriter<StdoutLock<'static>>,
}

impl RecordWriter {
    pub(super) fn new(topic: String, format: RecordFormat, wanted: Option<u64>) -> Self {
        Self { topic, format, wanted, out: BufWriter::with_capacity(BUFFER_BYTES, io::stdout().lock()) }
    }

    /// Whether all that is wanted has been written.
    pub(super) fn is_full(&self) -> bool {
        self.wanted == Some(0)
    }

    /// Whether only so many are wanted.
    pub(super) fn is_limited(&self) -> bool {
        self.wanted.is_some()
    }

    pub(super) fn write(&mut self, consumed: &ConsumedRecord) -> Result<(), Failure> {
        let record = &consumed.record;
        let headers = record.headers.iter().map(|header| (header.key.as_str(), header.value.as_deref()));
        let view = RecordView {
            topic: &self.topic,
            partition: consumed.partition,
            offset: consumed.offset,
            timestamp_ms: record.timestamp_ms,
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            headers: headers.collect(),
        };
        self.format.write(&view, &mut self.out).map_err(Failure::Output)?;
        self.wanted = self.wanted.map(|wanted| wanted.saturating_sub(1));
        Ok(())
    }

    pub(super) fn flush(&mut self) -> Result<(), Failure> {
        self.out.flush().map_err(Failure::Output)
    }
}
