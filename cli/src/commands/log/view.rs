//! An inspected log as a table and as JSON.

use std::collections::BTreeMap;
use std::path::Path;

use bytesize::ByteSize;
use quorate_cluster_config::ClusterId;
use quorate_log_engine::{
    CheckpointSummary, Damage, Inspection, NextOpen, SegmentInspection, SegmentSpan, SegmentState, SideFile, Tail,
};
use serde::Serialize;

use super::{kind_name, time};
use crate::output::{Columns, View, count, fields, or_dash};

#[derive(Serialize)]
pub(super) struct LogView {
    directory: String,
    sound: bool,
    replica: Option<u64>,
    owner: Option<String>,
    vote: Option<VoteView>,
    start: StartView,
    next_index: u64,
    end_offset: u64,
    term_count: usize,
    last_term: Option<u64>,
    durable_through: Option<u64>,
    file_count: u64,
    bytes: u64,
    entry_count: u64,
    frames: BTreeMap<&'static str, u64>,
    batches_rejected: u64,
    records_verified: bool,
    tail: TailView,
    in_motion: bool,
    next_open: NextOpenView,
    segments: Vec<SegmentView>,
    leftover: Vec<String>,
    damage: Vec<DamageView>,
    damage_left_out: u64,
}

#[derive(Serialize)]
struct VoteView {
    term: u64,
    voted_for: u64,
    committed: bool,
}

#[derive(Serialize)]
struct StartView {
    index: u64,
    term: u64,
    offset: u64,
}

#[derive(Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
enum TailView {
    Clean,
    Torn { position: u64, bytes: u64, reason: String },
    Corrupt { position: u64, reason: String },
    InMotion,
}

#[derive(Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
enum NextOpenView {
    Opens { scanned_from: u64, torn_bytes: u64 },
    Refused { reason: String },
    InMotion,
}

#[derive(Serialize)]
struct SegmentView {
    number: u64,
    state: &'static str,
    file_bytes: u64,
    #[serde(flatten)]
    span: Option<SpanView>,
    previous: Option<PreviousView>,
    frames: BTreeMap<&'static str, u64>,
    batches_rejected: u64,
    zero_bytes: u64,
    torn_bytes: u64,
    stale_bytes: u64,
    index_file: SideFileView,
    checkpoint: SideFileView,
}

#[derive(Serialize)]
struct SpanView {
    base_index: u64,
    end_index: u64,
    base_offset: u64,
    end_offset: u64,
    base_time_ms: i64,
    greatest_time_ms: i64,
    end_position: u64,
}

#[derive(Serialize)]
struct PreviousView {
    number: u64,
    end_position: u64,
}

#[derive(Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
enum SideFileView {
    Absent,
    #[serde(rename = "sound")]
    Index {
        points: usize,
    },
    #[serde(rename = "sound")]
    Checkpoint {
        state_bytes: usize,
        terms: usize,
        segments: usize,
    },
    Damaged {
        reason: String,
    },
    Unclaimed,
}

#[derive(Serialize)]
struct DamageView {
    file: String,
    position: u64,
    /// The log indexes that are lost with it, if any: the first, and one past the last.
    first_index: Option<u64>,
    end_index: Option<u64>,
    reason: String,
}

impl LogView {
    pub(super) fn new(found: &Inspection, records_verified: bool) -> Self {
        Self {
            directory: found.directory.display().to_string(),
            sound: found.is_sound(),
            replica: found.replica,
            owner: found.owner.map(|owner| ClusterId(owner).to_string()),
            vote: found.vote.map(|vote| VoteView {
                term: vote.term,
                voted_for: vote.voted_for,
                committed: vote.committed,
            }),
            start: StartView { index: found.start.index, term: found.start.term, offset: found.start.offset },
            next_index: found.next_index,
            end_offset: found.end_offset,
            term_count: found.terms.len(),
            last_term: found.terms.last().map(|start| start.term),
            durable_through: found.durable_through,
            file_count: found.file_count,
            bytes: found.bytes,
            entry_count: found.frames.entries(),
            frames: found.frames.iter().map(|(kind, count)| (kind_name(kind), count)).collect(),
            batches_rejected: found.frames.rejected,
            records_verified,
            tail: TailView::new(&found.tail),
            in_motion: found.in_motion,
            next_open: NextOpenView::new(found.next_open.as_ref()),
            segments: found.segments.iter().map(SegmentView::new).collect(),
            leftover: found.leftover.iter().map(|path| file_name(path)).collect(),
            damage: found.damage.iter().map(DamageView::new).collect(),
            damage_left_out: found.damage_left_out,
        }
    }

    fn head(&self) -> String {
        let vote = self.vote.as_ref().map(|vote| {
            let committed = if vote.committed { ", committed" } else { "" };
            format!("term {} for replica {}{committed}", vote.term, vote.voted_for)
        });
        let frames: Vec<_> = self
            .frames
            .iter()
            .filter(|(_, count)| **count > 0)
            .map(|(kind, count)| format!("{count} {kind}"))
            .collect();
        let rejected = match self.batches_rejected {
            0 => String::new(),
            number => format!("; {} rejected", count_of(number, "batch", "batches")),
        };
        let StartView { index, term, offset } = self.start;
        let after = if index == 0 { String::new() } else { format!(", after term {term}") };
        let verified =
            if self.records_verified { "all records" } else { "headers, and the records of the newest segment" };
        fields([
            ("Directory", self.directory.clone()),
            ("Replica", or_dash(self.replica)),
            ("Cluster", or_dash(self.owner.as_ref())),
            ("Vote", or_dash(vote)),
            ("Start", format!("log index {index}, offset {offset}{after}")),
            ("End", format!("log index {}, offset {}", self.next_index, self.end_offset)),
            (
                "Terms",
                self.last_term
                    .map_or_else(|| "0".to_owned(), |last| format!("{}, the last is {last}", self.term_count)),
            ),
            (
                "Durable",
                or_dash(self.durable_through.map(|through| format!("through log index {through}, as its frames say"))),
            ),
            ("Entries", self.entry_count.to_string()),
            ("Frames", format!("{}{rejected}", if frames.is_empty() { "-".to_owned() } else { frames.join(", ") })),
            ("Size", format!("{} in {}", ByteSize(self.bytes), count(self.file_count, "file"))),
            ("Checked", verified.to_owned()),
            ("Tail", self.tail.text()),
            ("Next open", self.next_open.text()),
        ])
    }
}

fn count_of(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().display().to_string()
}

impl TailView {
    fn new(tail: &Tail) -> Self {
        match tail.clone() {
            Tail::Clean => Self::Clean,
            Tail::Torn { position, bytes, reason } => Self::Torn { position, bytes, reason },
            Tail::Corrupt { position, reason } => Self::Corrupt { position, reason },
            Tail::InMotion => Self::InMotion,
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Clean => "clean".to_owned(),
            Self::Torn { position, bytes, reason } => {
                format!("torn at byte {position}: {bytes} bytes that were not on stable storage ({reason})")
            }
            Self::Corrupt { position, reason } => {
                format!("corrupt from byte {position} on, which had been on stable storage ({reason})")
            }
            Self::InMotion => "in motion: a frame was just being written".to_owned(),
        }
    }
}

impl NextOpenView {
    fn new(next_open: Option<&NextOpen>) -> Self {
        match next_open.cloned() {
            Some(NextOpen::Opens { scanned_from, torn_bytes }) => Self::Opens { scanned_from, torn_bytes },
            Some(NextOpen::Refused(reason)) => Self::Refused { reason },
            None => Self::InMotion,
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Opens { scanned_from, torn_bytes: 0 } => format!("opens, scanning from log index {scanned_from} on"),
            Self::Opens { scanned_from, torn_bytes } => {
                format!("cuts {torn_bytes} torn bytes off and opens, scanning from log index {scanned_from} on")
            }
            Self::Refused { reason } => format!("is refused: {reason}"),
            Self::InMotion => "not foretold: the log was written to meanwhile, its node is running".to_owned(),
        }
    }
}

impl SegmentView {
    fn new(segment: &SegmentInspection) -> Self {
        Self {
            number: segment.number,
            state: match segment.state {
                SegmentState::Active => "active",
                SegmentState::Sealed => "sealed",
                SegmentState::Trimmed => "trimmed",
                SegmentState::Missing => "missing",
                SegmentState::OffChain => "off_chain",
                SegmentState::Unfinished => "unfinished",
                SegmentState::Unreadable => "unreadable",
            },
            file_bytes: segment.file_bytes,
            span: segment.span.as_ref().map(SpanView::new),
            previous: segment
                .header
                .and_then(|header| header.previous)
                .map(|previous| PreviousView { number: previous.number, end_position: previous.end }),
            frames: segment.frames.iter().map(|(kind, count)| (kind_name(kind), count)).collect(),
            batches_rejected: segment.frames.rejected,
            zero_bytes: segment.zero_bytes,
            torn_bytes: segment.torn_bytes,
            stale_bytes: segment.stale_bytes,
            index_file: SideFileView::new(&segment.index, |points| SideFileView::Index { points: *points }),
            checkpoint: SideFileView::new(&segment.checkpoint, |found: &CheckpointSummary| SideFileView::Checkpoint {
                state_bytes: found.state_bytes,
                terms: found.terms,
                segments: found.segments,
            }),
        }
    }

    fn row(&self) -> [String; 14] {
        let span = |text: fn(&SpanView) -> String| or_dash(self.span.as_ref().map(text));
        [
            self.number.to_string(),
            self.state.to_owned(),
            self.file_bytes.to_string(),
            span(|span| span.end_position.to_string()),
            span(|span| format!("{}..{}", span.base_index, span.end_index)),
            span(|span| format!("{}..{}", span.base_offset, span.end_offset)),
            or_dash(self.span.as_ref().and_then(|span| time(span.greatest_time_ms))),
            self.frames.values().sum::<u64>().to_string(),
            self.batches_rejected.to_string(),
            self.zero_bytes.to_string(),
            self.torn_bytes.to_string(),
            self.stale_bytes.to_string(),
            self.index_file.text(),
            self.checkpoint.text(),
        ]
    }
}

impl SpanView {
    fn new(span: &SegmentSpan) -> Self {
        Self {
            base_index: span.base_index,
            end_index: span.end_index,
            base_offset: span.base_offset,
            end_offset: span.end_offset,
            base_time_ms: span.base_time_ms,
            greatest_time_ms: span.time_ms,
            end_position: span.end_position,
        }
    }
}

impl SideFileView {
    fn new<T>(file: &SideFile<T>, sound: impl Fn(&T) -> Self) -> Self {
        match file {
            SideFile::Absent => Self::Absent,
            SideFile::Sound(found) => sound(found),
            SideFile::Damaged(reason) => Self::Damaged { reason: reason.clone() },
            SideFile::Unclaimed => Self::Unclaimed,
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Absent => "-".to_owned(),
            Self::Index { points } => count(*points as u64, "point"),
            Self::Checkpoint { state_bytes, .. } => ByteSize(*state_bytes as u64).to_string(),
            Self::Damaged { .. } => "damaged".to_owned(),
            Self::Unclaimed => "unclaimed".to_owned(),
        }
    }
}

impl DamageView {
    fn new(damage: &Damage) -> Self {
        let lost = !damage.indexes.is_empty();
        Self {
            file: file_name(&damage.path),
            position: damage.position,
            first_index: lost.then_some(damage.indexes.start),
            end_index: lost.then_some(damage.indexes.end),
            reason: damage.reason.clone(),
        }
    }
}

impl View for LogView {
    fn text(&self) -> String {
        let headers = [
            "SEGMENT",
            "STATE",
            "BYTES",
            "END",
            "INDEXES",
            "OFFSETS",
            "GREATEST TIME",
            "FRAMES",
            "REJECTED",
            "ZEROS",
            "TORN",
            "STALE",
            "INDEX FILE",
            "CHECKPOINT",
        ];
        let mut segments = Columns::new(&headers).right(&[0, 2, 3, 4, 5, 7, 8, 9, 10, 11]);
        self.segments.iter().for_each(|segment| segments.row(segment.row()));
        let mut text = format!("{}\n\n{}", self.head(), segments.text());
        if !self.leftover.is_empty() {
            text += &format!("\n\nNo part of the log, and removed by the next open: {}", self.leftover.join(", "));
        }
        if !self.damage.is_empty() {
            let mut damage = Columns::new(&["DAMAGED FILE", "BYTE", "INDEXES LOST", "REASON"]).right(&[1, 2]);
            for place in &self.damage {
                let lost = place.first_index.zip(place.end_index).map(|(first, end)| format!("{first}..{end}"));
                damage.row([place.file.clone(), place.position.to_string(), or_dash(lost), place.reason.clone()]);
            }
            text += &format!("\n\n{}", damage.text());
        }
        if self.damage_left_out > 0 {
            text += &format!("\n… and {} more", count(self.damage_left_out, "damaged place"));
        }
        text
    }
}
