//! The handshake between nodes, before the first byte of anything else. Big-endian.
//!
//! ```text
//!  0  "QRTP"   4  version_min u16   6  version_max u16 (of an answer: the chosen version twice)
//!  8  purpose u8 (of an answer: status)   9  reserved [u8; 7]
//! 16  cluster id u128 (0: none yet)   32  node id u64 (0: none yet)
//! 40  node id u64 of the node meant (0: whoever listens)   48  reserved [u8; 12]   60  CRC-32C u32 of all before
//! ```
//! Builds up to version 6 send 0 for the checksum.

use std::{fmt, io, time::Duration};

use crc32c::crc32c;
use quorate_cluster_config::{Address, ClusterId, NodeId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::net::Stream;

const MAGIC: &[u8; 4] = b"QRTP";
const SIZE: usize = 64;
const CHECKSUM_AT: usize = 60;
/// The versions of the peer protocol this build speaks. Version 1 sent log frames of format 0; version 2 knew neither
/// snapshots nor trims; version 3 no statuses by change; version 4 no nodes that join; version 5 no levels; version 6 no checksums
/// of what nodes say to each other.
pub const PEER_VERSIONS: PeerVersions = PeerVersions { min: 7, max: 7 };
const DEADLINE: Duration = Duration::from_secs(2);

/// What a connection between nodes is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Purpose {
    /// tarpc.
    Rpc,
    /// The lane of AppendEntries.
    Append,
    /// The lane of heartbeats.
    Heartbeat,
    /// The lane of old entries, for replicas that lag.
    Bulk,
}

/// Versions of the peer protocol. Two nodes speak the highest one that both know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerVersions {
    /// The lowest one.
    pub min: u16,
    /// The highest one.
    pub max: u16,
}

impl PeerVersions {
    /// The highest version that both know.
    fn common(self, other: Self) -> Option<u16> {
        let version = self.max.min(other.max);
        (version >= self.min.max(other.min)).then_some(version)
    }
}

impl fmt::Display for PeerVersions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.min == self.max {
            true => write!(formatter, "{}", self.max),
            false => write!(formatter, "{} to {}", self.min, self.max),
        }
    }
}

impl Default for PeerVersions {
    fn default() -> Self {
        PEER_VERSIONS
    }
}

/// Who speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Greeting {
    pub(crate) cluster: Option<ClusterId>,
    pub(crate) node: Option<NodeId>,
    /// What it speaks; in an answer the version chosen, twice.
    pub(crate) versions: PeerVersions,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Status {
    Accepted = 0,
    Version = 1,
    OtherCluster = 2,
    NotFormed = 3,
    OtherNode = 4,
    Removed = 5,
}

/// Why two nodes do not talk.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("no handshake within {DEADLINE:?}")]
    Timeout,
    #[error("not the peer port of a Quorate node")]
    NotQuorate,
    #[error("no common version of the peer protocol (ours {ours}, theirs {theirs}); upgrade the older node")]
    Version { ours: PeerVersions, theirs: PeerVersions },
    #[error("it belongs to cluster {theirs}, this node to {ours}")]
    OtherCluster { ours: ClusterId, theirs: ClusterId },
    #[error("it is not part of a cluster yet")]
    NotFormed,
    #[error("node {0:?} listens there")]
    OtherNode(Option<NodeId>),
    #[error("node {0:?} was removed from the cluster")]
    Removed(Option<NodeId>),
}

impl Purpose {
    fn from_code(code: u8) -> Option<Self> {
        [Self::Rpc, Self::Append, Self::Heartbeat, Self::Bulk].into_iter().find(|purpose| *purpose as u8 == code)
    }
}

struct Message {
    code: u8,
    who: Greeting,
    to: Option<NodeId>,
}

impl Message {
    fn encode(&self) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        bytes[..4].copy_from_slice(MAGIC);
        bytes[4..6].copy_from_slice(&self.who.versions.min.to_be_bytes());
        bytes[6..8].copy_from_slice(&self.who.versions.max.to_be_bytes());
        bytes[8] = self.code;
        bytes[16..32].copy_from_slice(&self.who.cluster.map_or(0, |id| id.0).to_be_bytes());
        bytes[32..40].copy_from_slice(&self.who.node.map_or(0, |id| id.0).to_be_bytes());
        bytes[40..48].copy_from_slice(&self.to.map_or(0, |id| id.0).to_be_bytes());
        let checksum = crc32c(&bytes[..CHECKSUM_AT]);
        bytes[CHECKSUM_AT..].copy_from_slice(&checksum.to_be_bytes());
        bytes
    }

    async fn read(stream: &mut Stream) -> Result<Self, HandshakeError> {
        let mut bytes = [0; SIZE];
        stream.read_exact(&mut bytes).await?;
        if &bytes[..4] != MAGIC {
            return Err(HandshakeError::NotQuorate);
        }
        let sealed = &bytes[CHECKSUM_AT..];
        if sealed != [0; 4] && sealed != crc32c(&bytes[..CHECKSUM_AT]).to_be_bytes() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the handshake was damaged on its way").into());
        }
        let number = |at: usize, size: usize| bytes[at..at + size].iter().fold(0u128, |n, b| n << 8 | u128::from(*b));
        let node = |at| Some(NodeId(number(at, 8) as u64)).filter(|node| node.0 != 0);
        let cluster = Some(ClusterId(number(16, 16))).filter(|cluster| cluster.0 != 0);
        let versions = PeerVersions { min: number(4, 2) as u16, max: number(6, 2) as u16 };
        Ok(Self { code: bytes[8], who: Greeting { cluster, node: node(32), versions }, to: node(40) })
    }
}

/// The side that connected. `to` is the node meant, if it is known.
pub(crate) async fn greet(
    stream: &mut Stream,
    us: Greeting,
    to: Option<NodeId>,
    purpose: Purpose,
) -> Result<Greeting, HandshakeError> {
    let exchange = async {
        let hello = Message { code: purpose as u8, who: us, to };
        stream.write_all(&hello.encode()).await?;
        stream.flush().await?;
        let answer = Message::read(stream).await?;
        match answer.code {
            code if code == Status::Accepted as u8 => Ok(answer.who),
            code if code == Status::OtherCluster as u8 => Err(HandshakeError::OtherCluster {
                ours: us.cluster.unwrap_or_default(),
                theirs: answer.who.cluster.unwrap_or_default(),
            }),
            code if code == Status::NotFormed as u8 => Err(HandshakeError::NotFormed),
            code if code == Status::OtherNode as u8 => Err(HandshakeError::OtherNode(answer.who.node)),
            code if code == Status::Removed as u8 => Err(HandshakeError::Removed(us.node)),
            _ => Err(HandshakeError::Version { ours: us.versions, theirs: answer.who.versions }),
        }
    };
    tokio::time::timeout(DEADLINE, exchange).await.map_err(|_| HandshakeError::Timeout)?
}

/// The side that listens. Lanes are for members of one cluster only; tarpc also serves forming and joining. Nodes that are
/// `shunned` were removed.
pub(crate) async fn answer(
    stream: &mut Stream,
    us: Greeting,
    shunned: impl Fn(NodeId) -> bool,
) -> Result<(Greeting, Purpose), HandshakeError> {
    let exchange = async {
        let hello = Message::read(stream).await?;
        let purpose = Purpose::from_code(hello.code);
        let version = us.versions.common(hello.who.versions);
        let status = match (us.cluster, hello.who.cluster) {
            _ if version.is_none() || purpose.is_none() => Status::Version,
            (Some(ours), Some(theirs)) if ours != theirs => Status::OtherCluster,
            (Some(_), Some(_)) if hello.who.node.is_some_and(&shunned) => Status::Removed,
            (Some(_), Some(_)) if hello.to.is_some() && hello.to != us.node => Status::OtherNode,
            (Some(_), Some(_)) => Status::Accepted,
            _ if purpose == Some(Purpose::Rpc) => Status::Accepted,
            _ => Status::NotFormed,
        };
        let versions = version.map_or(us.versions, |version| PeerVersions { min: version, max: version });
        let answer = Message { code: status as u8, who: Greeting { versions, ..us }, to: hello.who.node };
        stream.write_all(&answer.encode()).await?;
        stream.flush().await?;
        match (status, purpose) {
            (Status::Accepted, Some(purpose)) => Ok((hello.who, purpose)),
            (Status::OtherCluster, _) => Err(HandshakeError::OtherCluster {
                ours: us.cluster.unwrap_or_default(),
                theirs: hello.who.cluster.unwrap_or_default(),
            }),
            (Status::NotFormed, _) => Err(HandshakeError::NotFormed),
            (Status::OtherNode, _) => Err(HandshakeError::OtherNode(us.node)),
            (Status::Removed, _) => Err(HandshakeError::Removed(hello.who.node)),
            _ => Err(HandshakeError::Version { ours: us.versions, theirs: hello.who.versions }),
        }
    };
    tokio::time::timeout(DEADLINE, exchange).await.map_err(|_| HandshakeError::Timeout)?
}

/// Where a connection went wrong, for the log.
#[derive(Debug, thiserror::Error)]
#[error("{address}: {source}")]
pub(crate) struct ConnectError {
    pub(crate) address: Address,
    pub(crate) source: HandshakeError,
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    async fn shake(
        us: Greeting,
        to: Option<NodeId>,
        purpose: Purpose,
        them: Greeting,
    ) -> (Result<Greeting, HandshakeError>, Result<(Greeting, Purpose), HandshakeError>) {
        let (near, far) = tokio::io::duplex(256);
        let (mut near, mut far): (Stream, Stream) = (Box::new(near), Box::new(far));
        tokio::join!(greet(&mut near, us, to, purpose), answer(&mut far, them, |node| node == NodeId(9)))
    }

    fn member(cluster: u128, node: u64) -> Greeting {
        Greeting { cluster: Some(ClusterId(cluster)), node: Some(NodeId(node)), ..Greeting::default() }
    }

    fn speaking(node: u64, min: u16, max: u16) -> Greeting {
        Greeting { versions: PeerVersions { min, max }, ..member(7, node) }
    }

    #[tokio::test]
    async fn members_of_one_cluster_know_each_other() {
        let (ours, theirs) = shake(member(7, 1), Some(NodeId(2)), Purpose::Append, member(7, 2)).await;
        assert_eq!(ours.unwrap(), member(7, 2));
        assert_eq!(theirs.unwrap(), (member(7, 1), Purpose::Append));
    }

    #[tokio::test]
    async fn another_cluster_is_refused_on_both_sides() {
        let (ours, theirs) = shake(member(7, 1), None, Purpose::Rpc, member(8, 2)).await;
        assert!(matches!(ours, Err(HandshakeError::OtherCluster { theirs: ClusterId(8), .. })));
        assert!(matches!(theirs, Err(HandshakeError::OtherCluster { theirs: ClusterId(7), .. })));
    }

    #[tokio::test]
    async fn a_node_on_anothers_address_is_not_mistaken_for_it() {
        let (ours, _) = shake(member(7, 1), Some(NodeId(3)), Purpose::Append, member(7, 2)).await;
        assert!(matches!(ours, Err(HandshakeError::OtherNode(Some(NodeId(2))))));
    }

    #[tokio::test]
    async fn a_node_that_was_removed_is_told_so() {
        for purpose in [Purpose::Rpc, Purpose::Append] {
            let (ours, theirs) = shake(member(7, 9), Some(NodeId(2)), purpose, member(7, 2)).await;
            assert!(matches!(ours, Err(HandshakeError::Removed(Some(NodeId(9))))));
            assert!(matches!(theirs, Err(HandshakeError::Removed(Some(NodeId(9))))));
        }
    }

    #[tokio::test]
    async fn an_older_and_a_newer_build_speak_the_highest_version_that_both_know() {
        for (ours, theirs, chosen) in
            [((5, 6), (6, 6), 6), ((6, 7), (5, 6), 6), ((3, 9), (4, 8), 8), ((6, 6), (2, 9), 6)]
        {
            let (us, them) = (speaking(1, ours.0, ours.1), speaking(2, theirs.0, theirs.1));
            let (greeted, answered) = shake(us, Some(NodeId(2)), Purpose::Append, them).await;
            assert_eq!(greeted.unwrap().versions, PeerVersions { min: chosen, max: chosen });
            assert!(answered.is_ok());
        }
    }

    #[tokio::test]
    async fn builds_without_a_common_version_refuse_each_other_and_say_what_they_speak() {
        for (ours, theirs, expected) in
            [((5, 5), (6, 6), "(ours 5, theirs 6)"), ((7, 9), (5, 6), "(ours 7 to 9, theirs 5 to 6)")]
        {
            let (us, them) = (speaking(1, ours.0, ours.1), speaking(2, theirs.0, theirs.1));
            let (greeted, answered) = shake(us, Some(NodeId(2)), Purpose::Append, them).await;
            let told = greeted.unwrap_err().to_string();
            assert!(told.contains(expected) && told.contains("upgrade the older node"), "{told}");
            assert!(matches!(answered, Err(HandshakeError::Version { .. })), "{answered:?}");
        }
    }

    #[tokio::test]
    async fn what_was_damaged_on_its_way_is_not_taken_for_another_node_or_cluster() {
        let hello = Message { code: Purpose::Rpc as u8, who: member(7, 1), to: Some(NodeId(2)) }.encode();
        for bit in 4 * 8..SIZE * 8 {
            let mut damaged = hello;
            damaged[bit / 8] ^= 1 << (bit % 8);
            let (mut near, far) = tokio::io::duplex(256);
            let mut far: Stream = Box::new(far);
            near.write_all(&damaged).await.unwrap();
            let refused = answer(&mut far, member(7, 2), |_| false).await;
            assert!(matches!(refused, Err(HandshakeError::Io(_))), "bit {bit}: {refused:?}");
        }
    }

    #[tokio::test]
    async fn a_pristine_node_serves_rpc_but_no_lane() {
        let (rpc, _) = shake(member(7, 1), None, Purpose::Rpc, Greeting::default()).await;
        assert_eq!(rpc.unwrap(), Greeting::default());
        let (lane, _) = shake(member(7, 1), None, Purpose::Append, Greeting::default()).await;
        assert!(matches!(lane, Err(HandshakeError::NotFormed)));
    }
}
