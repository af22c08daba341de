//! Which partitions are read, from where and up to where.

use std::str::FromStr;
use std::time::SystemTime;

use futures::{StreamExt, TryStreamExt, stream};
use quorate::{Client, OffsetQuery, Position, TopicInfo};
use quorate_cluster_config::TopicName;

use crate::error::Failure;
use crate::moment;
use crate::output::count;

/// Partitions asked after at once.
const PARTITIONS_ASKED_MAX: usize = 64;

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    First,
    Last,
    Offset(u64),
    /// Milliseconds since 1970.
    AtTime(i64),
}

impl FromStr for From {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "first" => Ok(Self::First),
            "last" => Ok(Self::Last),
            other => match other.strip_prefix('@') {
                Some(time) => moment::parse(time, SystemTime::now()).map(Self::AtTime),
                None => other
                    .parse()
                    .map(Self::Offset)
                    .map_err(|_| format!("write first, last, an offset, or {}", moment::EXAMPLES)),
            },
        }
    }
}

impl std::convert::From<From> for Position {
    fn from(from: From) -> Self {
        match from {
            From::First => Self::First,
            From::Last => Self::Last,
            From::Offset(offset) => Self::Offset(offset),
            From::AtTime(ms) => Self::AtTime { ms },
        }
    }
}

/// What a partition held when the command began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) partition: u32,
    /// The first retained offset.
    pub(super) start: u64,
    /// The high watermark.
    pub(super) end: u64,
}

/// The partitions asked for, each once, or all.
pub(crate) fn partitions(info: &TopicInfo, asked: &[u32]) -> Result<Vec<u32>, Failure> {
    if asked.is_empty() {
        return Ok((0..info.config.partitions).collect());
    }
    if let Some(unknown) = asked.iter().find(|&&partition| partition >= info.config.partitions) {
        return Err(Failure::message(format!(
            "topic {} has no partition {unknown}, it has {} from 0 on, correct --partition",
            info.name,
            count(info.config.partitions.into(), "partition")
        )));
    }
    let mut partitions = asked.to_vec();
    partitions.sort_unstable();
    partitions.dedup();
    Ok(partitions)
}

/// Asks the leaders for both ends.
pub(super) async fn ranges(client: &Client, topic: &TopicName, partitions: &[u32]) -> Result<Vec<Range>, Failure> {
    let ranges = partitions.iter().map(|&partition| async move {
        let start = client.offset(topic, partition, OffsetQuery::First).await?;
        let end = client.offset(topic, partition, OffsetQuery::Last).await?;
        Ok(Range { partition, start, end })
    });
    stream::iter(ranges).buffered(PARTITIONS_ASKED_MAX).try_collect().await
}

/// Whether every partition has the offset to begin at. Its end counts: the next record will be there.
pub(super) fn check(topic: &TopicName, ranges: &[Range], from: From) -> Result<(), Failure> {
    let From::Offset(offset) = from else { return Ok(()) };
    let Some(outside) = ranges.iter().find(|range| !(range.start..=range.end).contains(&offset)) else {
        return Ok(());
    };
    let Range { partition, start, end } = outside;
    let why = if offset > *end {
        format!("above its end, {end}")
    } else {
        format!("below its first retained offset, {start}")
    };
    Err(Failure::message(format!(
        "cannot read partition {partition} of topic {topic} from {offset}, that is {why}, use --from first, --from last or an offset in {start}..={end}"
    )))
}

/// The ranges that hold records to be read, from the position in each of them on.
pub(super) fn unread(ranges: Vec<Range>, position: impl Fn(u32) -> Option<u64>) -> Vec<Range> {
    ranges.into_iter().filter(|range| position(range.partition).is_some_and(|position| position < range.end)).collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const RANGES: [Range; 2] = [Range { partition: 0, start: 10, end: 20 }, Range { partition: 1, start: 0, end: 15 }];

    fn checked(from: From) -> Result<(), String> {
        let topic = TopicName::parse("orders").unwrap();
        check(&topic, &RANGES, from).map_err(|failure| failure.to_string())
    }

    #[test]
    fn first_last_offsets_and_times_are_read() {
        let parsed = ["first", "last", "42", "@42"].map(|text| text.parse::<From>());
        assert_eq!(parsed, [Ok(From::First), Ok(From::Last), Ok(From::Offset(42)), Ok(From::AtTime(42))]);
        for text in ["-1", "newest", "@", "@newest", "42@", ""] {
            assert!(text.parse::<From>().is_err_and(|error| error.contains("@-1h")), "{text:?}");
        }
    }

    #[test]
    fn an_offset_must_lie_in_every_partition() {
        assert_eq!(checked(From::Offset(10)), Ok(()));
        assert_eq!(checked(From::Offset(15)), Ok(()));
        assert_eq!(checked(From::First), Ok(()));
        assert_eq!(
            checked(From::Offset(16)).unwrap_err(),
            "cannot read partition 1 of topic orders from 16, that is above its end, 15, use --from first, --from last or an offset in 0..=15"
        );
        assert!(checked(From::Offset(9)).unwrap_err().contains("below its first retained offset, 10"));
    }

    #[test]
    fn only_what_lies_before_the_end_is_waited_for() {
        let unread = |positions: [u64; 2]| {
            let position = |partition| positions.get(partition as usize).copied();
            unread(RANGES.to_vec(), position).iter().map(|range| range.partition).collect::<Vec<_>>()
        };
        assert_eq!(unread([10, 0]), [0, 1]);
        assert_eq!(unread([15, 15]), [0]);
        assert_eq!(unread([20, 15]), [0; 0]);
    }
}
