//! Files and logs as text, for the golden files of the fixture.

use std::fmt::Write;

use bytes::Bytes;
use quorate_log_engine::{
    Checkpoint, Frame, FrameHeader, FrameKind, IndexFile, Opened, ReadPlan, ReadStart, SEGMENT_HEADER_SIZE,
    SegmentHeader,
};
use quorate_record::{BatchHeader, DecodeLimits, decode_batch};

use crate::fixture::{Entries, TIME_MS};

/// Every file: size, checksum, and what it decodes to.
pub(crate) fn files(files: &[(String, Vec<u8>)]) -> String {
    let headers: Vec<SegmentHeader> = files
        .iter()
        .filter(|(name, _)| name.ends_with(".log"))
        .map(|(_, bytes)| SegmentHeader::decode(bytes).unwrap().0)
        .collect();
    let mut text = String::new();
    for (name, bytes) in files {
        // Without the last bytes: with a checksum of its own at its end, every file would have the same.
        let checksum = crc32c::crc32c(&bytes[..bytes.len() - 4]);
        writeln!(text, "{name}: {} bytes, CRC-32C of all but four {checksum:08x}", bytes.len()).unwrap();
        match name.split_once('.').unwrap().1 {
            "log" => segment(&mut text, bytes, &headers),
            "index" => index(&mut text, bytes),
            "checkpoint" => checkpoint(&mut text, bytes),
            other => panic!("{other}"),
        }
        text.push('\n');
    }
    text
}

fn segment(text: &mut String, bytes: &[u8], headers: &[SegmentHeader]) {
    let (header, salt) = SegmentHeader::decode(bytes).unwrap();
    writeln!(text, "  {header:?}, checksum {salt:08x}").unwrap();
    let seal = headers.iter().filter_map(|next| next.previous).find(|previous| previous.number == header.number);
    let (mut at, mut checksum) = (SEGMENT_HEADER_SIZE, salt);
    while let Ok(frame) = FrameHeader::decode(&bytes[at.min(bytes.len())..], salt, 1 << 20) {
        assert_eq!(frame.previous_checksum, checksum, "the chain holds");
        let payload = &bytes[at + 88..at + 88 + frame.payload_bytes as usize];
        frame.verify_payload(payload).unwrap();
        let FrameHeader { kind, term, index, leader_time_ms, .. } = frame;
        write!(text, "  {at}: {kind:?} {index} of term {term}, time {leader_time_ms}, checksum {:08x}", frame.checksum)
            .unwrap();
        write!(text, ", durable {:?} {}", frame.durable_through, frame.durable_position).unwrap();
        if let Some(offset) = frame.expected_end_offset {
            write!(text, ", expects {offset}").unwrap();
        }
        if frame.rejected {
            text.push_str(", rejected");
        }
        if seal.is_some_and(|seal| at as u64 >= seal.end) {
            text.push_str(", behind the seal");
        }
        writeln!(text, ": {}", content(kind, payload)).unwrap();
        at += frame.disk_size() as usize;
        if let Some(seal) = seal.filter(|seal| seal.end == at as u64) {
            assert_eq!(seal.checksum, frame.checksum, "the seal names the last frame");
        }
        checksum = frame.checksum;
    }
    let rest = &bytes[at..];
    assert!(rest.iter().all(|byte| *byte == 0));
    writeln!(text, "  {at}: {} zeros", rest.len()).unwrap();
}

fn content(kind: FrameKind, payload: &[u8]) -> String {
    match kind {
        FrameKind::Batch => {
            let batch = BatchHeader::parse(payload).unwrap();
            let (count, base, epoch) = (batch.record_count, batch.base_offset, batch.leader_epoch);
            format!("{} {count} records from {base}, epoch {epoch}, {:?}", batch.compression, batch.producer())
        }
        FrameKind::Vote | FrameKind::Start => payload.iter().map(|byte| format!("{byte:02x}")).collect(),
        _ => String::from_utf8(payload.to_vec()).unwrap(),
    }
}

fn index(text: &mut String, bytes: &[u8]) {
    let file = IndexFile::decode(bytes).unwrap();
    writeln!(text, "  index of segment {}, whose checksum is {:08x}", file.segment, file.segment_checksum).unwrap();
    file.index.points().for_each(|point| writeln!(text, "  point {point:?}").unwrap());
}

fn checkpoint(text: &mut String, bytes: &[u8]) {
    let checkpoint = Checkpoint::decode(&Bytes::copy_from_slice(bytes)).unwrap();
    let Checkpoint { segment, segment_checksum, terms, segments, state } = checkpoint;
    writeln!(text, "  checkpoint of segment {segment}, whose checksum is {segment_checksum:08x}").unwrap();
    terms.iter().for_each(|term| writeln!(text, "  {term:?}").unwrap());
    segments.iter().for_each(|extent| writeln!(text, "  {extent:?}").unwrap());
    writeln!(text, "  {state:?}").unwrap();
}

/// An open log, through everything it can be asked.
pub(crate) fn log(settled_through: Option<u64>, opened: &Opened, entries: &Entries) -> String {
    let log = &opened.log;
    let mut text = format!("opened, settled through {settled_through:?}\n");
    writeln!(text, "  scanned from {}, restored {:?}", opened.scanned_from, entries.restored).unwrap();
    writeln!(text, "  visited {:?}", entries.visited).unwrap();
    writeln!(text, "  start {:?}", log.start()).unwrap();
    writeln!(text, "  vote {:?}", log.vote()).unwrap();
    let (first, next) = (log.start().index, log.next_index());
    writeln!(text, "  next index {next}, end offset {}, durable {:?}", log.end_offset(), log.durable_through())
        .unwrap();
    writeln!(text, "  terms {:?}", log.term_starts(first..=next - 1)).unwrap();
    for index in first..next {
        let found = read(opened, ReadStart::Index(index));
        entry(&mut text, &found[0]);
        assert_eq!((found[0].index, log.term_of(index)), (index, Some(found[0].term)));
    }
    for offset in (0..=log.end_offset()).step_by(7).chain([log.end_offset() - 1]) {
        let found = read(opened, ReadStart::Offset(offset)).first().map(|frame| frame.index);
        writeln!(text, "  offset {offset}: {found:?}").unwrap();
    }
    for time_ms in [0, TIME_MS].into_iter().chain((6..=next as i64).map(|index| TIME_MS + 1_000 * index - 400)) {
        let found = read(opened, ReadStart::Time(time_ms)).first().map(|frame| frame.index);
        writeln!(text, "  time {time_ms}: {found:?}").unwrap();
    }
    text
}

fn read(opened: &Opened, start: ReadStart) -> Vec<Frame> {
    match opened.log.plan_read(start, u64::MAX, 1) {
        ReadPlan::Ready(frames) => frames,
        ReadPlan::Cold(read) => read.run().unwrap(),
    }
}

fn entry(text: &mut String, frame: &Frame) {
    let Frame { kind, term, index, leader_time_ms, expected_end_offset, payload, stamp, next_offset } = frame;
    write!(text, "  {index}: {kind:?} of term {term}, time {leader_time_ms}, expects {expected_end_offset:?}").unwrap();
    writeln!(text, ", {stamp:?}, next offset {next_offset}: {}", content(*kind, payload)).unwrap();
    if *kind == FrameKind::Batch {
        let decoded = decode_batch(payload.clone(), &DecodeLimits::default()).unwrap();
        let records: Vec<_> = decoded.map(Result::unwrap).collect();
        // All of a small batch, and both ends of a large one.
        let last = records.len() - 1;
        for (at, record) in records.iter().enumerate().filter(|(at, _)| records.len() <= 5 || *at == 0 || *at == last) {
            let quorate_record::Record { key, value, headers, timestamp_ms } = &record.record;
            let headers: Vec<_> = headers.iter().map(|header| (&header.key, &header.value)).collect();
            writeln!(text, "    {at}: {} {timestamp_ms} {key:?} {value:?} {headers:?}", record.offset).unwrap();
        }
    }
}
