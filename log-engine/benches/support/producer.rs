//! Whoever appends to a log.

use std::sync::mpsc::channel;

use bytes::Bytes;
use quorate_log_engine::{Completion, Frame, FrameKind, Log, Stamp};
use quorate_record::{BatchBuilder, BatchHeader, Compression, ProducerStamp, Record};

use super::MIB;

/// A batch of `record_count` records, together of at most `size` bytes and nearly that.
pub(crate) fn batch_of(size: usize, record_count: usize) -> Bytes {
    // A record's own fields take up to 16 bytes.
    let value = vec![b'x'; (size - quorate_record::HEADER_SIZE) / record_count - 16];
    let mut builder = BatchBuilder::new(Compression::None);
    for _ in 0..record_count {
        builder.push(&Record::new(value.clone(), 7));
    }
    let batch = builder.build(ProducerStamp::NONE).unwrap();
    assert!(batch.len() <= size && batch.len() + 16 * record_count >= size, "{} bytes, not {size}", batch.len());
    batch
}

/// Appends the same batch again and again.
#[derive(Debug)]
pub(crate) struct Producer {
    pub(crate) log: Log,
    pub(crate) batch: Bytes,
    record_count: u64,
    index: u64,
    offset: u64,
}

impl Producer {
    pub(crate) fn new(log: Log, batch: Bytes) -> Self {
        let record_count = BatchHeader::parse(&batch).unwrap().record_count as u64;
        let (index, offset) = (log.next_index(), log.end_offset());
        Self { log, batch, record_count, index, offset }
    }

    /// The frame that is to be appended next.
    fn next(&mut self) -> Frame {
        let stamp = Stamp { base_offset: self.offset, leader_epoch: 1 };
        self.offset += self.record_count;
        self.index += 1;
        Frame {
            kind: FrameKind::Batch,
            term: 1,
            index: self.index - 1,
            leader_time_ms: self.index.cast_signed(),
            expected_end_offset: None,
            payload: self.batch.clone(),
            stamp: Some(stamp),
            next_offset: self.offset,
        }
    }

    /// Bytes of each frame on disk.
    pub(crate) fn frame_bytes(&self) -> usize {
        quorate_log_engine::FRAME_HEADER_SIZE + self.batch.len().next_multiple_of(8)
    }

    /// Appends so many batches at once, and gives the segments that begin a checkpoint, as a replica would.
    pub(crate) fn append(&mut self, count: usize, done: Completion) {
        let frames = (0..count).map(|_| self.next()).collect();
        for base_index in self.log.append(frames, done) {
            self.log.checkpoint(base_index, Bytes::from_static(b"what a replica keeps beside its log"));
        }
    }

    /// Appends one batch and waits until it is acknowledged.
    pub(crate) fn append_and_wait(&mut self) {
        let (sender, acknowledged) = channel();
        self.append(1, Box::new(move |result| drop(sender.send(result))));
        acknowledged.recv().unwrap().unwrap();
    }

    /// Appends about so many bytes of log, as quickly as can be, and waits until they are acknowledged.
    pub(crate) fn fill(&mut self, bytes: usize) {
        const IN_FLIGHT: usize = 4;
        let (sender, acknowledged) = channel();
        let at_once = (MIB / self.frame_bytes()).max(1);
        let mut left = bytes / self.frame_bytes();
        let mut in_flight = 0;
        while left > 0 || in_flight > 0 {
            if left > 0 && in_flight < IN_FLIGHT {
                let (count, sender) = (at_once.min(left), sender.clone());
                self.append(count, Box::new(move |result| drop(sender.send(result))));
                (left, in_flight) = (left - count, in_flight + 1);
            } else {
                acknowledged.recv().unwrap().unwrap();
                in_flight -= 1;
            }
        }
    }
}
