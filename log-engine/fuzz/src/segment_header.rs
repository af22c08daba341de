use quorate_log_engine::{SEGMENT_HEADER_SIZE, SegmentHeader};

use super::{Mode, Outcome, bounded, put_checksum};

/// All fields that mean something, behind the mode.
pub(crate) const FIELDS: [(usize, usize); 16] = [
    (5, 1),
    (6, 1),
    (9, 8),
    (17, 8),
    (25, 8),
    (33, 8),
    (41, 8),
    (49, 8),
    (57, 8),
    (65, 8),
    (73, 8),
    (81, 8),
    (89, 8),
    (97, 8),
    (113, 8),
    (121, 4),
];

/// A segment header is decoded without any allocation, and encoded again to the same bytes but for those that mean
/// nothing.
pub fn segment_header(data: &[u8]) -> Outcome {
    let Some((mode, bytes)) = Mode::split(data) else { return Outcome::Refused };
    let mut bytes = bytes.to_vec();
    if mode.has(Mode::CHECKSUMS)
        && let Some(head) = bytes.first_chunk_mut::<SEGMENT_HEADER_SIZE>()
    {
        put_checksum(head);
    }
    let Ok((header, checksum)) = bounded(0, || SegmentHeader::decode(&bytes)) else { return Outcome::Refused };
    assert_eq!(SegmentHeader::decode(&bytes[..SEGMENT_HEADER_SIZE]), Ok((header, checksum)), "what follows counts");
    assert!(SegmentHeader::decode(&bytes[..SEGMENT_HEADER_SIZE - 1]).is_err(), "a header cut short decodes");
    let (encoded, encoded_checksum) = header.encode();
    assert_eq!(encoded[..], canonical(&header, &bytes[..SEGMENT_HEADER_SIZE])[..]);
    assert_eq!(SegmentHeader::decode(&encoded), Ok((header, encoded_checksum)));
    Outcome::Decoded
}

/// The bytes with zeros where they are reserved or belong to what is not there.
fn canonical(header: &SegmentHeader, bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[6..8].fill(0);
    if header.previous.is_none() {
        bytes[56..64].fill(0);
        bytes[120..124].fill(0);
    }
    if header.vote.is_none() {
        bytes[64..80].fill(0);
    }
    put_checksum(&mut bytes);
    bytes
}
