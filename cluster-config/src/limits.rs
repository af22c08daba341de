//! Every bound of the system, in one place, with the relations between them checked when the program is compiled.
//!
//! Units are in the names or the types: `_BYTES` are bytes, [`Duration`]s say so, all else is a count. A pair
//! `_DEFAULT` and `_BOUNDS` belongs to a setting; everything else is fixed, and part of the protocol where two
//! processes must agree on it. Bounds are inclusive.

use std::ops::RangeInclusive;
use std::time::Duration;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
const GIB: usize = 1024 * MIB;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

// Names.

/// The longest name of a stream or topic, in bytes.
pub const NAME_BYTES_MAX: usize = 249;

// Records, batches and frames, from the smallest to the one that encloses all others.

/// The largest record a topic takes unless its configuration says otherwise, in bytes: key, value and headers as
/// encoded, before compression.
pub const RECORD_BYTES_MAX: usize = MIB;

/// The largest record batch, in bytes as encoded, header included, after compression.
pub const BATCH_BYTES_MAX: usize = 8 * MIB;

/// What a frame may hold besides batches, in bytes: the frame headers of the log, the message around them, names.
pub const FRAME_OVERHEAD_BYTES_MAX: usize = 64 * KIB;

/// The largest frame between a client and a node, in bytes, either way.
pub const CLIENT_FRAME_BYTES_MAX: usize = 16 * MIB;

/// The largest frame between two nodes, in bytes.
pub const PEER_FRAME_BYTES_MAX: usize = 32 * MIB;

const _: () = {
    assert!(RECORD_BYTES_MAX < BATCH_BYTES_MAX, "a batch must have room for its header and its largest record");
    assert!(
        BATCH_BYTES_MAX + FRAME_OVERHEAD_BYTES_MAX <= CLIENT_FRAME_BYTES_MAX,
        "a client must be able to send a batch"
    );
    assert!(CLIENT_FRAME_BYTES_MAX <= PEER_FRAME_BYTES_MAX, "what a client sent must fit between nodes");
    assert!(
        2 * BATCH_BYTES_MAX + FRAME_OVERHEAD_BYTES_MAX <= PEER_FRAME_BYTES_MAX,
        "replication must be able to join batches"
    );
    assert!(PEER_FRAME_BYTES_MAX <= i32::MAX as usize, "lengths are 32 bits on the wire, signed in the batch");
};

// Fetching.

/// The most bytes of batches a fetch may ask for. A fetch returns whole batches, and at least one where there is one.
pub const FETCH_BYTES_MAX: usize = 8 * MIB;

/// The bytes of batches a fetch asks for unless the caller says otherwise.
pub const FETCH_BYTES_DEFAULT: usize = MIB;

/// The longest time a fetch may wait for records.
pub const FETCH_WAIT_MAX: Duration = Duration::from_secs(30);

const _: () = {
    assert!(FETCH_BYTES_DEFAULT <= FETCH_BYTES_MAX, "the default must be allowed");
    assert!(FETCH_BYTES_MAX >= BATCH_BYTES_MAX, "a fetch must be able to return every batch");
    assert!(
        FETCH_BYTES_MAX + FRAME_OVERHEAD_BYTES_MAX <= CLIENT_FRAME_BYTES_MAX,
        "a node must be able to answer a fetch"
    );
};

// Producers.

/// The most producers a partition remembers. A new one beyond that is refused; none is ever evicted for it.
pub const PRODUCERS_PER_PARTITION_MAX: usize = 10_000;

/// The most batches of one producer to one partition on their way at once, and the number of (sequence, offset) pairs
/// a partition remembers of each producer. A protocol constant: with fewer remembered than on their way, a retry
/// could not be recognised.
pub const BATCHES_IN_FLIGHT_MAX: usize = 5;

/// How long a producer must have been idle, by the leader's clock, before the leader proposes to forget it, unless the
/// node's configuration says otherwise.
pub const PRODUCER_EXPIRY_DEFAULT: Duration = DAY.saturating_mul(7);

/// What the time after which an idle producer is forgotten may be set to.
pub const PRODUCER_EXPIRY_BOUNDS: RangeInclusive<Duration> = Duration::from_secs(60)..=DAY.saturating_mul(365);

const _: () = {
    assert!(
        BATCHES_IN_FLIGHT_MAX <= REQUESTS_IN_FLIGHT_PER_CONNECTION_MAX,
        "a producer must be able to fill its window over one connection"
    );
    assert_default_time(PRODUCER_EXPIRY_DEFAULT, &PRODUCER_EXPIRY_BOUNDS);
};

// Topics.

/// The most topics in a cluster.
pub const TOPICS_MAX: usize = 10_000;

/// The most replicas that one command may have moved: what is planned beyond that is planned again.
pub const MOVES_PER_COMMAND_MAX: usize = 1_000;

/// The most partitions in a cluster: what the metadata say of them fits into one message between nodes.
pub const PARTITIONS_MAX: usize = 100_000;

/// The most tombstones that one command forgets.
pub const TOMBSTONES_PER_COMMAND_MAX: usize = 1_000;

/// Beyond so many recoveries of partitions, each further one has the oldest forgotten that is over.
pub const RECOVERIES_KEPT: usize = 1_000;

/// The most partitions of one topic.
pub const PARTITIONS_PER_TOPIC_MAX: u32 = 1_000;

/// The partitions of a topic unless its creator says otherwise.
pub const PARTITIONS_PER_TOPIC_DEFAULT: u32 = 1;

/// The most replicas of one partition.
pub const REPLICATION_FACTOR_MAX: u32 = 7;

/// The replicas of each partition unless the topic's creator says otherwise. Three survive the loss of one.
pub const REPLICATION_FACTOR_DEFAULT: u32 = 3;

/// The size at which a segment is sealed and the next one begun, in bytes, unless the topic's creator says otherwise.
pub const SEGMENT_BYTES_DEFAULT: u64 = 256 * MIB as u64;

/// The sizes at which a segment may be set to be sealed, in bytes. A batch is never split, so a segment's file may be
/// larger by one frame.
pub const SEGMENT_BYTES_BOUNDS: RangeInclusive<u64> = MIB as u64..=4 * GIB as u64;

/// How long a topic keeps its records unless its creator says otherwise.
pub const RETENTION_TIME_DEFAULT: Duration = DAY.saturating_mul(7);

/// How long a topic may be set to keep its records, if not for ever: 1 s to 100 years, of 365.25 days each.
pub const RETENTION_TIME_BOUNDS: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(100 * 31_557_600);

/// The bytes that each partition of a topic keeps unless its creator says otherwise.
pub const RETENTION_BYTES_DEFAULT: u64 = 10 * GIB as u64;

/// The bytes that each partition of a topic may be set to keep, if not all: 1 MiB to 1 EiB.
pub const RETENTION_BYTES_BOUNDS: RangeInclusive<u64> = MIB as u64..=1 << 60;

/// The time between two looks for records past their retention and producers past their expiry, unless the node's
/// configuration says otherwise.
pub const RETENTION_CHECK_INTERVAL_DEFAULT: Duration = Duration::from_secs(30);

/// What the time between two looks may be set to.
pub const RETENTION_CHECK_INTERVAL_BOUNDS: RangeInclusive<Duration> = Duration::from_millis(100)..=DAY;

const _: () = {
    assert!(PARTITIONS_PER_TOPIC_DEFAULT >= 1 && PARTITIONS_PER_TOPIC_DEFAULT <= PARTITIONS_PER_TOPIC_MAX);
    assert!(REPLICATION_FACTOR_DEFAULT >= 1 && REPLICATION_FACTOR_DEFAULT <= REPLICATION_FACTOR_MAX);
    assert!(REPLICATION_FACTOR_MAX <= NODES_MAX, "a node holds at most one replica of a partition");
    assert_default(SEGMENT_BYTES_DEFAULT, &SEGMENT_BYTES_BOUNDS);
    assert_default(RETENTION_BYTES_DEFAULT, &RETENTION_BYTES_BOUNDS);
    assert_default_time(RETENTION_TIME_DEFAULT, &RETENTION_TIME_BOUNDS);
    assert_default_time(RETENTION_CHECK_INTERVAL_DEFAULT, &RETENTION_CHECK_INTERVAL_BOUNDS);
};

// The cluster.

/// The most nodes in a cluster.
pub const NODES_MAX: u32 = 64;

/// The most nodes that vote in the metadata group; every other node is a learner of it.
pub const METADATA_VOTERS_MAX: u32 = 5;

/// The coordinator groups of a cluster. A consumer group belongs to one of them by the hash of its name.
pub const COORDINATOR_GROUPS: u32 = 8;

/// How long a node waits for metadata a client has seen and it has not, before it says *unknown topic*.
pub const METADATA_WAIT_MAX: Duration = Duration::from_secs(2);

/// How long a connection between nodes may be silent before it is given up.
pub const PEER_IDLE_MAX: Duration = Duration::from_secs(5);

const _: () = {
    assert!(METADATA_VOTERS_MAX <= NODES_MAX);
    assert!(METADATA_VOTERS_MAX % 2 == 1, "an even number of voters survives no more losses than one less");
};

// Consumer groups.

/// The most consumer groups of one coordinator group.
pub const GROUPS_PER_COORDINATOR_MAX: usize = 10_000;

/// The most members of a consumer group.
pub const MEMBERS_PER_GROUP_MAX: usize = 1_000;

/// The most partitions that the members of a consumer group share.
pub const PARTITIONS_PER_GROUP_MAX: usize = 10_000;

/// The most topics a member of a consumer group subscribes to.
pub const SUBSCRIPTIONS_MAX: usize = 100;

/// The most bytes that the subscriptions of a consumer group's members take: with all that is assigned, a group fits into
/// one record.
pub const GROUP_SETTINGS_BYTES_MAX: usize = 256 * KIB;

/// The most bytes of what a member says that its program is called.
pub const CLIENT_NAME_BYTES_MAX: usize = 249;

/// The most offsets committed at once.
pub const OFFSETS_PER_COMMIT_MAX: usize = 1_000;

/// The most partitions of which a consumer group has committed offsets, those of deleted topics not counted.
pub const OFFSETS_PER_GROUP_MAX: usize = 20_000;

/// After how long without a sign of life a member is given up, unless it says otherwise. One whose connection is broken is
/// given up after [`BROKEN_CONNECTION_GRACE`] already.
pub const SESSION_TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);

/// What a member may say there.
pub const SESSION_TIMEOUT_BOUNDS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(1_800);

/// How long a member has to give up partitions, unless it says otherwise: to finish with what it has polled.
pub const REBALANCE_TIMEOUT_DEFAULT: Duration = Duration::from_secs(300);

/// What a member may say there.
pub const REBALANCE_TIMEOUT_BOUNDS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3_600);

/// How long a member may be without a connection to its coordinator before it is given up. A static member has its whole
/// session timeout: it is expected back.
pub const BROKEN_CONNECTION_GRACE: Duration = Duration::from_secs(1);

const _: () = {
    assert_default_time(SESSION_TIMEOUT_DEFAULT, &SESSION_TIMEOUT_BOUNDS);
    assert_default_time(REBALANCE_TIMEOUT_DEFAULT, &REBALANCE_TIMEOUT_BOUNDS);
};

// A node and its connections.

/// The most client connections of a node unless its configuration says otherwise.
pub const CLIENT_CONNECTIONS_MAX: u32 = 1_024;

/// What the most client connections of a node may be set to.
pub const CLIENT_CONNECTIONS_BOUNDS: RangeInclusive<u32> = 1..=65_536;

/// The most requests a node handles at once for one client connection; those beyond are refused at once, to be tried
/// again.
pub const REQUESTS_IN_FLIGHT_PER_CONNECTION_MAX: usize = 256;

/// The bytes of batches a node has admitted and not yet answered, at most, unless its configuration says otherwise.
pub const APPEND_BYTES_IN_FLIGHT_DEFAULT: u64 = 64 * MIB as u64;

/// What the bytes of admitted, unanswered batches may be set to.
pub const APPEND_BYTES_IN_FLIGHT_BOUNDS: RangeInclusive<u64> = 16 * MIB as u64..=64 * GIB as u64;

/// The bytes of batches a node has read for fetches and not yet handed to the network, at most, unless its configuration
/// says otherwise.
pub const FETCH_BYTES_IN_FLIGHT_DEFAULT: u64 = 64 * MIB as u64;

/// What the bytes read for fetches and not yet handed to the network may be set to.
pub const FETCH_BYTES_IN_FLIGHT_BOUNDS: RangeInclusive<u64> = 8 * MIB as u64..=64 * GIB as u64;

/// The bytes of entries a node has received from its peers and Raft has not yet taken, at most, unless the node's
/// configuration says otherwise.
pub const REPLICATION_BYTES_IN_FLIGHT_DEFAULT: u64 = 64 * MIB as u64;

/// What the bytes of entries received and not yet taken by Raft may be set to.
pub const REPLICATION_BYTES_IN_FLIGHT_BOUNDS: RangeInclusive<u64> = 16 * MIB as u64..=64 * GIB as u64;

const _: () = {
    assert!(CLIENT_CONNECTIONS_MAX >= *CLIENT_CONNECTIONS_BOUNDS.start());
    assert!(CLIENT_CONNECTIONS_MAX <= *CLIENT_CONNECTIONS_BOUNDS.end());
    assert_default(APPEND_BYTES_IN_FLIGHT_DEFAULT, &APPEND_BYTES_IN_FLIGHT_BOUNDS);
    assert!(
        *APPEND_BYTES_IN_FLIGHT_BOUNDS.start() >= CLIENT_FRAME_BYTES_MAX as u64,
        "a node must be able to admit the largest request, or its producer would wait for ever"
    );
    assert_default(FETCH_BYTES_IN_FLIGHT_DEFAULT, &FETCH_BYTES_IN_FLIGHT_BOUNDS);
    assert!(
        *FETCH_BYTES_IN_FLIGHT_BOUNDS.start() >= FETCH_BYTES_MAX as u64,
        "a node must be able to answer the largest fetch, or its consumer would wait for ever"
    );
    assert_default(REPLICATION_BYTES_IN_FLIGHT_DEFAULT, &REPLICATION_BYTES_IN_FLIGHT_BOUNDS);
    assert!(
        *REPLICATION_BYTES_IN_FLIGHT_BOUNDS.start() >= (BATCH_BYTES_MAX + FRAME_OVERHEAD_BYTES_MAX) as u64,
        "a node must be able to take the largest entry, or its replica would never catch up"
    );
};

// The log of a node.

/// The threads that write and sync the logs of a node, unless its configuration says otherwise.
pub const WRITER_THREADS_DEFAULT: u32 = 2;

/// What the number of log-writer threads may be set to.
pub const WRITER_THREADS_BOUNDS: RangeInclusive<u32> = 1..=16;

/// The memory for recent frames of all logs of a node, in bytes, unless its configuration says otherwise.
pub const TAIL_CACHE_BYTES_DEFAULT: u64 = 128 * MIB as u64;

/// What the memory for recent frames may be set to, in bytes.
pub const TAIL_CACHE_BYTES_BOUNDS: RangeInclusive<u64> = 4 * MIB as u64..=1024 * GIB as u64;

/// The finished segments that a node keeps open for reading, over all logs, unless its configuration says otherwise.
pub const OPEN_SEGMENTS_DEFAULT: u32 = 256;

/// What the number of segments kept open for reading may be set to. Each takes a file descriptor and at most 32 KiB.
pub const OPEN_SEGMENTS_BOUNDS: RangeInclusive<u32> = 1..=65_536;

/// The bytes a second at which a node rereads its finished segments to find damage, unless its configuration says
/// otherwise.
pub const SCRUB_BYTES_PER_SECOND_DEFAULT: u64 = 16 * MIB as u64;

/// What the bytes a second of rereading may be set to, if it is not 0, which turns it off.
pub const SCRUB_BYTES_PER_SECOND_BOUNDS: RangeInclusive<u64> = 64 * KIB as u64..=1024 * GIB as u64;

/// The time from the beginning of one rereading of all finished segments of a node to that of the next, at least, unless
/// its configuration says otherwise.
pub const SCRUB_INTERVAL_DEFAULT: Duration = DAY;

/// What the time between the beginnings of two rereadings may be set to.
pub const SCRUB_INTERVAL_BOUNDS: RangeInclusive<Duration> = Duration::from_secs(60)..=DAY.saturating_mul(365);

/// The bytes kept free on the disk of the data directory, unless the node's configuration says otherwise.
pub const RESERVE_BYTES_DEFAULT: u64 = GIB as u64;

/// What the bytes kept free may be set to, if not 0, which turns the check off.
pub const RESERVE_BYTES_BOUNDS: RangeInclusive<u64> = 16 * MIB as u64..=1024 * GIB as u64;

const _: () = {
    assert!(WRITER_THREADS_DEFAULT >= *WRITER_THREADS_BOUNDS.start());
    assert!(WRITER_THREADS_DEFAULT <= *WRITER_THREADS_BOUNDS.end());
    assert!(OPEN_SEGMENTS_DEFAULT >= *OPEN_SEGMENTS_BOUNDS.start());
    assert!(OPEN_SEGMENTS_DEFAULT <= *OPEN_SEGMENTS_BOUNDS.end());
    assert_default(TAIL_CACHE_BYTES_DEFAULT, &TAIL_CACHE_BYTES_BOUNDS);
    assert_default(SCRUB_BYTES_PER_SECOND_DEFAULT, &SCRUB_BYTES_PER_SECOND_BOUNDS);
    assert_default(RESERVE_BYTES_DEFAULT, &RESERVE_BYTES_BOUNDS);
    assert_default_time(SCRUB_INTERVAL_DEFAULT, &SCRUB_INTERVAL_BOUNDS);
};

// Raft.

/// The time between two heartbeats of a leader, unless the node's configuration says otherwise.
pub const HEARTBEAT_INTERVAL_DEFAULT: Duration = Duration::from_millis(150);

/// What the time between two heartbeats may be set to.
pub const HEARTBEAT_INTERVAL_BOUNDS: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(10);

/// The shortest time without a leader after which a replica stands for leader, unless the node's configuration says
/// otherwise.
pub const ELECTION_TIMEOUT_MIN_DEFAULT: Duration = Duration::from_millis(500);

/// The longest time without a leader after which a replica stands for leader, unless the node's configuration says
/// otherwise. Each replica draws a time between the two, so that not all stand at once.
pub const ELECTION_TIMEOUT_MAX_DEFAULT: Duration = Duration::from_millis(750);

/// What either election timeout may be set to.
pub const ELECTION_TIMEOUT_BOUNDS: RangeInclusive<Duration> = Duration::from_millis(30)..=Duration::from_secs(60);

/// The bytes a second at which a node sends old entries to replicas that lag, over all of them, unless its configuration
/// says otherwise.
pub const CATCH_UP_BYTES_PER_SECOND_DEFAULT: u64 = 100 * MIB as u64;

/// What the bytes a second for replicas that lag may be set to, if not 0, which is unlimited.
pub const CATCH_UP_BYTES_PER_SECOND_BOUNDS: RangeInclusive<u64> = 64 * KIB as u64..=1024 * GIB as u64;

/// The heartbeats that fit into the shortest election timeout, at least: one lost or late must not depose a leader.
pub const HEARTBEATS_PER_ELECTION_TIMEOUT_MIN: u32 = 3;

const _: () = {
    let heartbeats = HEARTBEATS_PER_ELECTION_TIMEOUT_MIN as u128;
    let shortest = ELECTION_TIMEOUT_BOUNDS.start().as_millis();
    assert!(HEARTBEAT_INTERVAL_DEFAULT.as_millis() * heartbeats <= ELECTION_TIMEOUT_MIN_DEFAULT.as_millis());
    assert!(ELECTION_TIMEOUT_MIN_DEFAULT.as_millis() < ELECTION_TIMEOUT_MAX_DEFAULT.as_millis());
    assert!(
        HEARTBEAT_INTERVAL_BOUNDS.start().as_millis() * heartbeats <= shortest,
        "the shortest times must go together"
    );
    assert!(
        HEARTBEAT_INTERVAL_BOUNDS.end().as_millis() * heartbeats < ELECTION_TIMEOUT_BOUNDS.end().as_millis(),
        "the longest heartbeat must leave room for an election timeout"
    );
    assert!(
        ELECTION_TIMEOUT_MAX_DEFAULT.as_millis() < PEER_IDLE_MAX.as_millis(),
        "an election must not wait for a dead connection"
    );
    assert_default(CATCH_UP_BYTES_PER_SECOND_DEFAULT, &CATCH_UP_BYTES_PER_SECOND_BOUNDS);
};

/// Asserts that the default of a size lies within its bounds; ranges cannot yet be asked that in a constant.
const fn assert_default(default: u64, bounds: &RangeInclusive<u64>) {
    assert!(*bounds.start() <= default && default <= *bounds.end(), "the default must lie within the bounds");
}

/// Asserts that the default of a time lies within its bounds.
const fn assert_default_time(default: Duration, bounds: &RangeInclusive<Duration>) {
    let (least, most) = (bounds.start().as_nanos(), bounds.end().as_nanos());
    assert!(least <= default.as_nanos() && default.as_nanos() <= most, "the default must lie within the bounds");
}
