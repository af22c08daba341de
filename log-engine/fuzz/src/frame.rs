use bytes::{Bytes, BytesMut};
use quorate_log_engine::{FRAME_HEADER_SIZE, Frame, FrameError, FrameHeader, FrameKind};

use super::{COUNTER_SIZE, Mode, Outcome, batch, bounded, put_u32};

/// All fields, behind mode and salt.
pub(crate) const FIELDS: [(usize, usize); 14] = [
    (1, 4),
    (7, 1),
    (8, 1),
    (9, 2),
    (13, 4),
    (17, 4),
    (21, 8),
    (29, 8),
    (37, 8),
    (45, 8),
    (53, 8),
    (61, 8),
    (85, 4),
    (89, 4),
];

const BATCH: u8 = FrameKind::Batch as u8;

/// The input's bytes are decoded as a frame on disk, with the salt that the input begins with, and as one on the wire.
/// Neither copies anything. What decodes needs no more bytes than are there, and is encoded again to the same bytes but
/// for those that mean nothing.
pub fn frame(data: &[u8]) -> Outcome {
    let Some((mode, rest)) = Mode::split(data) else { return Outcome::Refused };
    let Some((salt, bytes)) = rest.split_first_chunk() else { return Outcome::Refused };
    let payload_bytes_max = if mode.has(Mode::SMALL_LIMITS) { 100 } else { 1 << 20 };
    let prepared = |salt| {
        let mut bytes = bytes.to_vec();
        prepare(&mut bytes, mode, salt);
        bytes
    };
    let salt = u32::from_le_bytes(*salt);
    let outcomes = [on_disk(&prepared(salt), salt, payload_bytes_max), on_wire(prepared(0).into(), payload_bytes_max)];
    if outcomes.contains(&Outcome::Decoded) { Outcome::Decoded } else { Outcome::Refused }
}

fn on_disk(bytes: &[u8], salt: u32, payload_bytes_max: u64) -> Outcome {
    let decode = |bytes: &[u8]| FrameHeader::decode(bytes, salt, payload_bytes_max);
    let header = match bounded(0, || decode(bytes)) {
        Ok(header) => header,
        Err(error) => {
            check_short(error, bytes.len());
            return Outcome::Refused;
        }
    };
    let needed = FRAME_HEADER_SIZE + if header.kind == FrameKind::Batch { quorate_record::HEADER_SIZE } else { 0 };
    assert_eq!(decode(&bytes[..needed]), Ok(header), "what is behind the header counts");
    assert!(matches!(decode(&bytes[..needed - 1]), Err(FrameError::Short { .. })));
    assert!(u64::from(header.payload_bytes) <= payload_bytes_max);
    assert!(header.disk_size() >= FRAME_HEADER_SIZE as u64 + u64::from(header.payload_bytes));
    assert!(header.disk_size().is_multiple_of(8));

    let batch_header = &bytes[FRAME_HEADER_SIZE..needed];
    let mut canonical = bytes[..needed].to_vec();
    canonical[4] &= 1;
    canonical[5..8].fill(0);
    canonical[64..80].fill(0);
    put_header_checksum(&mut canonical, salt);
    let mut encoded = BytesMut::new();
    let checksum = header.encode(salt, batch_header, &mut encoded);
    encoded.extend_from_slice(batch_header);
    assert_eq!(encoded[..], canonical[..]);
    assert_eq!(decode(&encoded), Ok(FrameHeader { checksum, ..header }));

    let payload = bytes.get(FRAME_HEADER_SIZE..FRAME_HEADER_SIZE + header.payload_bytes as usize);
    if let Some(payload) = payload {
        let sound = bounded(0, || header.verify_payload(payload)).is_ok();
        let expected = match header.kind {
            FrameKind::Batch => {
                quorate_record::split_batches(bytes::Bytes::copy_from_slice(payload)).next().is_some_and(|first| {
                    first.is_ok_and(|first| first == payload && quorate_record::verify_crc(&first).is_ok())
                })
            }
            _ => crc32c::crc32c(payload) == header.payload_checksum,
        };
        assert_eq!(sound, expected);
    }
    Outcome::Decoded
}

fn on_wire(bytes: Bytes, payload_bytes_max: u64) -> Outcome {
    let mut rest = bytes.clone();
    let frame = match bounded(COUNTER_SIZE, || Frame::decode_from_wire(&mut rest, payload_bytes_max)) {
        Ok(frame) => frame,
        Err(error) => {
            assert!(!check_short(error, bytes.len()) || rest == bytes, "what is cut short stays until more comes");
            return Outcome::Refused;
        }
    };
    assert!(frame.kind.is_entry());
    assert!(frame.payload.len() as u64 <= payload_bytes_max);
    assert_eq!(bytes.len() - rest.len(), frame.wire_size());
    assert_eq!(frame.payload, bytes[FRAME_HEADER_SIZE..frame.wire_size()]);

    let encoded = encode(&frame);
    assert_eq!(encoded.len(), frame.wire_size());
    let mut expected = frame.clone();
    if frame.kind == FrameKind::Batch {
        let head = quorate_record::stamp(&frame.payload, 0, -1);
        expected.payload = [&head[..], &frame.payload[head.len()..]].concat().into();
    }
    let again = Frame::decode_from_wire(&mut encoded.clone(), payload_bytes_max);
    assert_eq!(again.as_ref(), Ok(&expected));
    assert_eq!(again.map(|again| encode(&again)), Ok(encoded));
    Outcome::Decoded
}

fn encode(frame: &Frame) -> Bytes {
    let (mut heads, mut parts) = (BytesMut::new(), Vec::new());
    frame.encode_for_wire(&mut heads, &mut parts);
    parts.concat().into()
}

/// Whether an error says that bytes are missing; it is right about how many there are.
fn check_short(error: FrameError, size: usize) -> bool {
    let FrameError::Short { expected, found } = error else { return false };
    assert!(found == size as u64 && found < expected, "{error}, of {size}");
    true
}

fn prepare(bytes: &mut [u8], mode: Mode, salt: u32) {
    let Some(payload_size) = bytes.len().checked_sub(FRAME_HEADER_SIZE) else { return };
    if mode.has(Mode::SIZES) {
        put_u32(bytes, 8, payload_size as u32);
    }
    if mode.has(Mode::CHECKSUMS) {
        if bytes[3] == BATCH {
            batch::repair(&mut bytes[FRAME_HEADER_SIZE..], mode);
        } else {
            let checksum = crc32c::crc32c(&bytes[FRAME_HEADER_SIZE..]);
            put_u32(bytes, 12, checksum);
        }
        put_header_checksum(bytes, salt);
    }
}

fn put_header_checksum(bytes: &mut [u8], salt: u32) {
    let batch_size = if bytes[3] == BATCH { quorate_record::HEADER_SIZE } else { 0 };
    let batch_header = bytes.get(FRAME_HEADER_SIZE..FRAME_HEADER_SIZE + batch_size).unwrap_or_default();
    let checksum = crc32c::crc32c_append(crc32c::crc32c_append(salt, &bytes[..84]), batch_header);
    put_u32(bytes, 84, checksum);
}
