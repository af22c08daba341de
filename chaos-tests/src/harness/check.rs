//! Whether what was read back is what was acknowledged. A function of its arguments.

use std::collections::BTreeMap;

use bytes::Bytes;

/// Bytes every value is filled up to.
const VALUE_BYTES: usize = 100;

/// An acknowledged record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    /// The producer that sent it.
    pub writer: u32,
    /// Its number among that producer's records.
    pub number: u64,
    /// Its partition.
    pub partition: u32,
    /// Its offset.
    pub offset: u64,
}

/// A record read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consumed {
    /// Its partition.
    pub partition: u32,
    /// Its offset.
    pub offset: u64,
    /// Its value.
    pub value: Bytes,
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Records read back, each of them once.
    pub records: usize,
    /// Of these, how many were never acknowledged: their answers were lost.
    pub unacknowledged: usize,
}

/// The value of a record: whose it is, and bytes that follow from that.
pub(super) fn value(writer: u32, number: u64) -> Bytes {
    let mut value = format!("{writer} {number} ");
    while value.len() < VALUE_BYTES {
        value.push(char::from(b'a' + ((number + value.len() as u64) % 26) as u8));
    }
    value.into()
}

/// Checks that every acknowledged record is there exactly once and at its offset, that no record is there twice or was
/// never written, that offsets are dense from 0, and that each producer's order is kept. `consumed` is in the order in
/// which it was read.
///
/// # Errors
/// The first violation, as a line.
pub fn check(acknowledged: &[Acknowledged], consumed: &[Consumed]) -> Result<Summary, String> {
    let mut next_offsets: BTreeMap<u32, u64> = BTreeMap::new();
    let mut last_numbers: BTreeMap<(u32, u32), u64> = BTreeMap::new();
    let mut places = BTreeMap::new();
    for Consumed { partition, offset, value: found } in consumed {
        let place = format!("partition {partition} offset {offset}");
        let next = next_offsets.entry(*partition).or_default();
        if offset != next {
            return Err(format!("{place}: offset {next} had to come next"));
        }
        *next += 1;
        let (writer, number) = parse(found).ok_or_else(|| format!("{place}: nobody wrote {found:?}"))?;
        if value(writer, number) != found {
            return Err(format!("{place}: record {number} of producer {writer} was altered: {found:?}"));
        }
        if let Some(before) = places.insert((writer, number), (*partition, *offset)) {
            return Err(format!("{place}: record {number} of producer {writer} is also at {before:?}"));
        }
        if let Some(before) = last_numbers.insert((*partition, writer), number).filter(|before| *before > number) {
            return Err(format!("{place}: record {number} of producer {writer} comes after its record {before}"));
        }
    }
    for Acknowledged { writer, number, partition, offset } in acknowledged {
        let found = places.get(&(*writer, *number));
        if found != Some(&(*partition, *offset)) {
            return Err(format!(
                "record {number} of producer {writer} was acknowledged at partition {partition} offset {offset}, but is at {found:?}"
            ));
        }
    }
    Ok(Summary { records: consumed.len(), unacknowledged: places.len() - acknowledged.len() })
}

fn parse(value: &[u8]) -> Option<(u32, u64)> {
    let mut parts = std::str::from_utf8(value).ok()?.split(' ');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn consumed(partition: u32, offset: u64, writer: u32, number: u64) -> Consumed {
        Consumed { partition, offset, value: value(writer, number) }
    }

    fn good() -> (Vec<Acknowledged>, Vec<Consumed>) {
        let of = |writer, number, partition, offset| Acknowledged { writer, number, partition, offset };
        let acknowledged = vec![of(1, 0, 0, 0), of(1, 1, 1, 0), of(2, 0, 0, 1), of(1, 3, 0, 2)];
        let mut records: Vec<_> =
            acknowledged.iter().map(|a| consumed(a.partition, a.offset, a.writer, a.number)).collect();
        // Written, but its answer was lost.
        records.push(consumed(1, 1, 2, 7));
        (acknowledged, records)
    }

    fn violation(change: impl FnOnce(&mut Vec<Consumed>)) -> String {
        let (acknowledged, mut records) = good();
        change(&mut records);
        check(&acknowledged, &records).err().unwrap_or_default()
    }

    #[test]
    fn what_was_acknowledged_and_is_there_passes() {
        let (acknowledged, records) = good();
        assert_eq!(check(&acknowledged, &records), Ok(Summary { records: 5, unacknowledged: 1 }));
    }

    #[test]
    fn a_lost_record_is_caught() {
        assert!(violation(|records| drop(records.remove(3))).contains("record 3 of producer 1 was acknowledged"));
    }

    #[test]
    fn a_record_at_another_offset_is_caught() {
        let moved = violation(|records| {
            records[3] = consumed(0, 2, 3, 0);
            records.push(consumed(0, 3, 1, 3));
        });
        assert!(moved.contains("at partition 0 offset 2, but is at Some((0, 3))"), "{moved}");
    }

    #[test]
    fn a_duplicate_is_caught() {
        assert!(violation(|records| records.push(consumed(1, 2, 1, 0))).contains("is also at (0, 0)"));
    }

    #[test]
    fn a_hole_in_the_offsets_is_caught() {
        assert!(violation(|records| records.push(consumed(1, 3, 5, 0))).contains("offset 2 had to come next"));
    }

    #[test]
    fn a_producers_order_is_kept() {
        assert!(violation(|records| records.push(consumed(0, 3, 1, 2))).contains("comes after its record 3"));
    }

    #[test]
    fn an_altered_and_a_foreign_record_are_caught() {
        let altered = violation(|records| records[0].value = [&records[0].value[..99], b"!"].concat().into());
        assert!(altered.contains("was altered"), "{altered}");
        assert!(violation(|records| records[0].value = "hello".into()).contains("nobody wrote"));
    }
}
