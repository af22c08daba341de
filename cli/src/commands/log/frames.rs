//! Writes the frames of a log to stdout one by one: a log is longer than memory.

use std::io::{self, BufWriter, Stdout, Write};

use quorate_log_engine::InspectedFrame;
use serde::Serialize;

use super::view::LogView;
use super::{kind_name, time};
use crate::error::Failure;
use crate::output::{Format, or_dash};

const BUFFER_BYTES: usize = 256 * 1024;

/// A line of JSON Lines.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Line<'a> {
    Frame(&'a FrameView),
    Log(&'a LogView),
}

#[derive(Serialize)]
struct FrameView {
    segment: u64,
    /// Whether the segment is a part of the log.
    on_chain: bool,
    position: u64,
    bytes: u64,
    kind: &'static str,
    /// Null for a vote or a log start: what is no entry.
    term: Option<u64>,
    index: Option<u64>,
    offset: u64,
    end_offset: u64,
    leader_time_ms: Option<i64>,
    records: Option<i32>,
    producer_id: Option<i64>,
    producer_epoch: Option<i16>,
    sequence: Option<i32>,
    expected_end_offset: Option<u64>,
    rejected: bool,
    durable_through: Option<u64>,
}

impl FrameView {
    fn new(frame: &InspectedFrame) -> Self {
        let header = &frame.header;
        let entry = header.kind.is_entry();
        // Batches without a producer have none of its fields.
        let produced = frame.batch.as_ref().filter(|batch| batch.producer_id >= 0);
        Self {
            segment: frame.segment,
            on_chain: frame.on_chain,
            position: frame.position,
            bytes: frame.bytes,
            kind: kind_name(header.kind),
            term: entry.then_some(header.term),
            index: entry.then_some(header.index),
            offset: frame.offsets.start,
            end_offset: frame.offsets.end,
            leader_time_ms: Some(header.leader_time_ms).filter(|time_ms| *time_ms != 0),
            records: frame.batch.as_ref().map(|batch| batch.record_count),
            producer_id: produced.map(|batch| batch.producer_id),
            producer_epoch: produced.map(|batch| batch.producer_epoch),
            sequence: produced.map(|batch| batch.base_sequence),
            expected_end_offset: header.expected_end_offset,
            rejected: header.rejected,
            durable_through: header.durable_through,
        }
    }

    /// The columns' widths fit what is usual: a table that is not held in memory cannot know better.
    fn line(&self, out: &mut impl Write) -> io::Result<()> {
        let offsets = match self.end_offset - self.offset.min(self.end_offset) {
            0 => "-".to_owned(),
            _ => format!("{}..{}", self.offset, self.end_offset),
        };
        let cells = [
            self.segment.to_string(),
            self.position.to_string(),
            self.bytes.to_string(),
            self.kind.to_owned(),
            or_dash(self.term),
            or_dash(self.index),
            offsets,
            or_dash(self.leader_time_ms.and_then(time)),
            or_dash(self.producer_id),
            or_dash(self.producer_epoch),
            or_dash(self.sequence),
            [(self.rejected, "rejected"), (!self.on_chain, "off the chain")]
                .into_iter()
                .filter_map(|(holds, text)| holds.then_some(text))
                .collect::<Vec<_>>()
                .join(", "),
        ];
        row(&cells, out)
    }
}

const HEADERS: [&str; 12] = [
    "SEGMENT",
    "POSITION",
    "BYTES",
    "KIND",
    "TERM",
    "INDEX",
    "OFFSETS",
    "LEADER TIME",
    "PRODUCER",
    "EPOCH",
    "SEQUENCE",
    "NOTE",
];
const WIDTHS: [usize; 12] = [7, 10, 8, 15, 5, 9, 17, 24, 8, 5, 8, 0];
/// Of these the text begins at the left.
const LEFT: [usize; 3] = [3, 7, 11];

fn row(cells: &[String; 12], out: &mut impl Write) -> io::Result<()> {
    let mut line = String::new();
    for (at, (cell, width)) in cells.iter().zip(WIDTHS).enumerate() {
        let gap = if at == 0 { "" } else { "  " };
        line += &if LEFT.contains(&at) { format!("{gap}{cell:width$}") } else { format!("{gap}{cell:>width$}") };
    }
    writeln!(out, "{}", line.trim_end())
}

/// The frames written so far.
#[derive(Debug)]
pub(super) struct FrameWriter {
    format: Format,
    begun: bool,
    out: BufWriter<Stdout>,
}

impl FrameWriter {
    pub(super) fn new(format: Format) -> Self {
        Self { format, begun: false, out: BufWriter::with_capacity(BUFFER_BYTES, io::stdout()) }
    }

    pub(super) fn write(&mut self, frame: &InspectedFrame) -> io::Result<()> {
        let view = FrameView::new(frame);
        match self.format {
            Format::Json => {
                serde_json::to_writer(&mut self.out, &Line::Frame(&view))?;
                self.out.write_all(b"\n")
            }
            Format::Table => {
                if !std::mem::replace(&mut self.begun, true) {
                    row(&HEADERS.map(str::to_owned), &mut self.out)?;
                }
                view.line(&mut self.out)
            }
        }
    }

    /// An empty line before what follows.
    pub(super) fn finish_table(&mut self) -> Result<(), Failure> {
        let line: &[u8] = if self.begun { b"\n" } else { b"" };
        self.out.write_all(line).and_then(|()| self.out.flush()).map_err(Failure::Output)
    }

    /// The last line.
    pub(super) fn finish_json(&mut self, view: &LogView) -> Result<(), Failure> {
        let written = serde_json::to_writer(&mut self.out, &Line::Log(view)).map_err(io::Error::from);
        written.and_then(|()| self.out.write_all(b"\n")).and_then(|()| self.out.flush()).map_err(Failure::Output)
    }
}
