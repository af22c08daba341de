use quorate_log_engine::{IndexFile, IndexFileError, IndexPoint, SparseIndex};

use super::{Mode, Outcome, bounded, put_checksum, put_u32};

const HEAD_SIZE: usize = 56;
const POINT_SIZE: usize = 16;
/// Points around which is looked for; more would only repeat.
const PROBES_MAX: usize = 8;

/// Those of the head, and of the first points.
pub(crate) const FIELDS: [(usize, usize); 16] = [
    (5, 1),
    (9, 8),
    (17, 4),
    (21, 4),
    (25, 8),
    (33, 8),
    (41, 8),
    (49, 8),
    (57, 4),
    (61, 4),
    (65, 4),
    (69, 4),
    (73, 4),
    (77, 4),
    (81, 4),
    (85, 4),
];

/// Decoding an index takes no more memory than the index has bytes. It is encoded again to the same bytes but for the
/// reserved ones, its points ascend, and a lookup finds what a walk over the points finds.
pub fn index(data: &[u8]) -> Outcome {
    let Some((mode, bytes)) = Mode::split(data) else { return Outcome::Refused };
    let mut bytes = bytes.to_vec();
    if let (true, Some(room)) = (mode.has(Mode::SIZES), bytes.len().checked_sub(HEAD_SIZE + 4)) {
        let count = room / POINT_SIZE;
        bytes.truncate(HEAD_SIZE + count * POINT_SIZE + 4);
        put_u32(&mut bytes, 20, count as u32);
    }
    if mode.has(Mode::CHECKSUMS) {
        put_checksum(&mut bytes);
    }
    let file = match bounded(bytes.len(), || IndexFile::decode(&bytes)) {
        Ok(file) => file,
        Err(error) => {
            let other = bytes.len() > 4 && bytes.starts_with(b"QIDX") && bytes[4] != 1;
            assert_eq!(other, matches!(error, IndexFileError::Format(_)), "{error:?}");
            return Outcome::Refused;
        }
    };
    assert!(bytes.len() <= IndexFile::SIZE_MAX);
    let points: Vec<IndexPoint> = file.index.points().collect();
    assert_eq!((points.len(), false), (file.index.len(), file.index.is_empty()));
    assert_eq!(HEAD_SIZE + (points.len() - 1) * POINT_SIZE + 4, bytes.len());
    let ascend = |a: &IndexPoint, b: &IndexPoint| {
        a.index < b.index && a.offset <= b.offset && a.time_ms <= b.time_ms && a.position < b.position
    };
    assert!(points.is_sorted_by(ascend), "{points:?}");
    look_up(&file.index, &points);
    let mut canonical = bytes.clone();
    canonical[5..8].fill(0);
    put_checksum(&mut canonical);
    let Some(encoded) = file.encode() else { panic!("what was decoded has a base") };
    assert_eq!(encoded[..], canonical[..]);
    assert_eq!(IndexFile::decode(&encoded), Ok(file));
    Outcome::Decoded
}

/// Looks for places at, right before and right behind some points, below some ends.
fn look_up(index: &SparseIndex, points: &[IndexPoint]) {
    let step = points.len().div_ceil(PROBES_MAX);
    let lowest = IndexPoint { index: 0, offset: 0, time_ms: i64::MIN, position: 0 };
    let highest = IndexPoint { index: u64::MAX, offset: u64::MAX, time_ms: i64::MAX, position: u64::MAX };
    for probe in points.iter().step_by(step).chain(points.last()).chain([&lowest, &highest]) {
        for end in [probe.position, probe.position.saturating_add(1), u64::MAX] {
            for by in [-1, 0, 1] {
                let wanted = (probe.index.saturating_add_signed(by), probe.offset.saturating_add_signed(by));
                let time_ms = probe.time_ms.saturating_add(by);
                check(index, points, end, |point| point.index <= wanted.0);
                check(index, points, end, |point| point.offset <= wanted.1);
                check(index, points, end, |point| point.time_ms < time_ms);
            }
        }
    }
}

fn check(index: &SparseIndex, points: &[IndexPoint], end: u64, is_before: impl Fn(&IndexPoint) -> bool) {
    let expected = points.iter().take_while(|point| point.position < end && is_before(point)).last().copied();
    assert_eq!(index.last_before(end, is_before), expected);
}
