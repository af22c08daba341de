//! The version handshake of a client connection, before tarpc's first byte.
//!
//! ```text
//! client → node   "QRTC"  version_min u16  version_max u16  reserved u32  CRC-32C u32      (16 bytes, big-endian)
//! node → client   "QRTN"  version u16      status u16       reserved u32  CRC-32C u32      (16 bytes, big-endian)
//! ```
//! The node chooses the greatest version both know. Status 0 is accepted, 1 no common version, 2 the node is at its
//! limit of connections. Builds up to version 6 send 0 for the checksum of the first twelve bytes.

use std::{io, time::Duration};

use crc32c::crc32c;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The oldest client protocol version that a node of this build speaks.
pub const VERSION_MIN: u16 = 7;
/// The newest client protocol version this build speaks. 6 added consumer groups; 7 checksums of messages.
pub const VERSION_MAX: u16 = 7;

const CLIENT_MAGIC: &[u8; 4] = b"QRTC";
const NODE_MAGIC: &[u8; 4] = b"QRTN";
const SIZE: usize = 16;
const CHECKSUM_AT: usize = 12;
const ACCEPTED: u16 = 0;
const NO_COMMON_VERSION: u16 = 1;
const TOO_MANY_CONNECTIONS: u16 = 2;

/// Why a connection was not established.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The stream failed or ended.
    #[error("the connection ended during the handshake: {0}")]
    Io(#[from] io::Error),
    /// The other side did not answer in time.
    #[error("no handshake within {0:.1?}; is this the client port of a Quorate node?")]
    Timeout(Duration),
    /// Something else listens or connects there.
    #[error("the other side does not speak Quorate's client protocol; is this the client port (7101 by default)?")]
    NotQuorate,
    /// No version is known to both.
    #[error("no common protocol version: ours {VERSION_MIN} to {VERSION_MAX}, theirs {theirs}; upgrade the older side")]
    Version {
        /// The other side's versions, in words.
        theirs: String,
    },
    /// The node is at its limit.
    #[error("the node is at its limit of client connections; close some or raise limits.client_connections")]
    TooManyConnections,
}

/// Adds the checksum.
fn seal(message: &mut [u8; SIZE]) {
    let checksum = crc32c(&message[..CHECKSUM_AT]);
    message[CHECKSUM_AT..].copy_from_slice(&checksum.to_be_bytes());
}

fn check(message: &[u8; SIZE]) -> io::Result<()> {
    let sealed = &message[CHECKSUM_AT..];
    if sealed == [0; 4] || sealed == crc32c(&message[..CHECKSUM_AT]).to_be_bytes() {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "it was damaged on its way"))
}

/// The client's side: offers our versions and returns the one the node chose.
///
/// # Errors
/// See [`HandshakeError`]; `deadline` bounds the whole exchange.
pub async fn connect_client<S>(stream: &mut S, deadline: Duration) -> Result<u16, HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let exchange = async {
        let mut hello = [0; SIZE];
        hello[..4].copy_from_slice(CLIENT_MAGIC);
        // A client may ask for all it knows: nodes are upgraded before it.
        hello[4..6].copy_from_slice(&VERSION_MAX.to_be_bytes());
        hello[6..8].copy_from_slice(&VERSION_MAX.to_be_bytes());
        seal(&mut hello);
        stream.write_all(&hello).await?;
        stream.flush().await?;
        let mut answer = [0; SIZE];
        stream.read_exact(&mut answer).await?;
        if &answer[..4] != NODE_MAGIC {
            return Err(HandshakeError::NotQuorate);
        }
        check(&answer)?;
        let version = u16::from_be_bytes([answer[4], answer[5]]);
        match u16::from_be_bytes([answer[6], answer[7]]) {
            ACCEPTED => Ok(version),
            TOO_MANY_CONNECTIONS => Err(HandshakeError::TooManyConnections),
            _ => Err(HandshakeError::Version { theirs: format!("up to {version}") }),
        }
    };
    tokio::time::timeout(deadline, exchange).await.map_err(|_| HandshakeError::Timeout(deadline))?
}

/// The node's side: reads the offer, answers, and returns the chosen version. With `room` false the client is
/// told that the node is at its limit.
///
/// # Errors
/// See [`HandshakeError`]; `deadline` bounds the whole exchange.
pub async fn accept_client<S>(stream: &mut S, room: bool, deadline: Duration) -> Result<u16, HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let exchange = async {
        let mut hello = [0; SIZE];
        stream.read_exact(&mut hello).await?;
        if &hello[..4] != CLIENT_MAGIC {
            return Err(HandshakeError::NotQuorate);
        }
        check(&hello)?;
        let theirs_min = u16::from_be_bytes([hello[4], hello[5]]);
        let theirs_max = u16::from_be_bytes([hello[6], hello[7]]);
        let version = theirs_max.min(VERSION_MAX);
        let status = match (version >= theirs_min.max(VERSION_MIN), room) {
            (false, _) => NO_COMMON_VERSION,
            (true, false) => TOO_MANY_CONNECTIONS,
            (true, true) => ACCEPTED,
        };
        let chosen = if status == NO_COMMON_VERSION { VERSION_MAX } else { version };
        let mut answer = [0; SIZE];
        answer[..4].copy_from_slice(NODE_MAGIC);
        answer[4..6].copy_from_slice(&chosen.to_be_bytes());
        answer[6..8].copy_from_slice(&status.to_be_bytes());
        seal(&mut answer);
        stream.write_all(&answer).await?;
        stream.flush().await?;
        match status {
            ACCEPTED => Ok(version),
            TOO_MANY_CONNECTIONS => Err(HandshakeError::TooManyConnections),
            _ => Err(HandshakeError::Version { theirs: format!("{theirs_min} to {theirs_max}") }),
        }
    };
    tokio::time::timeout(deadline, exchange).await.map_err(|_| HandshakeError::Timeout(deadline))?
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEADLINE: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn both_sides_settle_on_the_same_version() {
        let (mut client, mut node) = tokio::io::duplex(64);
        let (ours, theirs) =
            tokio::join!(connect_client(&mut client, DEADLINE), accept_client(&mut node, true, DEADLINE));
        assert_eq!((ours.ok(), theirs.ok()), (Some(VERSION_MAX), Some(VERSION_MAX)));
    }

    #[tokio::test]
    async fn a_client_of_the_future_is_told_our_versions() {
        let (mut client, mut node) = tokio::io::duplex(64);
        let mut hello = *b"QRTC\0\0\0\0\0\0\0\0\0\0\0\0";
        hello[4..6].copy_from_slice(&900u16.to_be_bytes());
        hello[6..8].copy_from_slice(&901u16.to_be_bytes());
        let mut answer = [0; SIZE];
        let client = async {
            client.write_all(&hello).await.ok();
            client.read_exact(&mut answer).await.ok();
        };
        let (refused, ()) = tokio::join!(accept_client(&mut node, true, DEADLINE), client);
        assert!(matches!(refused, Err(HandshakeError::Version { .. })));
        assert_eq!(u16::from_be_bytes([answer[6], answer[7]]), NO_COMMON_VERSION);
    }

    #[tokio::test]
    async fn a_client_of_the_past_is_told_our_versions() {
        let (mut client, mut node) = tokio::io::duplex(64);
        let mut hello = *b"QRTC\0\0\0\0\0\0\0\0\0\0\0\0";
        hello[4..6].copy_from_slice(&1u16.to_be_bytes());
        hello[6..8].copy_from_slice(&(VERSION_MIN - 1).to_be_bytes());
        let mut answer = [0; SIZE];
        let client = async {
            client.write_all(&hello).await.ok();
            client.read_exact(&mut answer).await.ok();
        };
        let (refused, ()) = tokio::join!(accept_client(&mut node, true, DEADLINE), client);
        assert!(matches!(refused, Err(HandshakeError::Version { .. })));
        assert_eq!(u16::from_be_bytes([answer[4], answer[5]]), VERSION_MAX);
        assert_eq!(u16::from_be_bytes([answer[6], answer[7]]), NO_COMMON_VERSION);
    }

    #[tokio::test]
    async fn what_was_damaged_on_its_way_is_neither_accepted_nor_taken_for_another_version() {
        for bit in 4 * 8..SIZE * 8 {
            let mut hello = *b"QRTC\0\x07\0\x07\0\0\0\0\0\0\0\0";
            seal(&mut hello);
            hello[bit / 8] ^= 1 << (bit % 8);
            let (mut client, mut node) = tokio::io::duplex(64);
            client.write_all(&hello).await.ok();
            let refused = accept_client(&mut node, true, DEADLINE).await;
            assert!(matches!(refused, Err(HandshakeError::Io(_))), "bit {bit}");
        }
    }

    #[tokio::test]
    async fn a_full_node_says_so() {
        let (mut client, mut node) = tokio::io::duplex(64);
        let (ours, _) = tokio::join!(connect_client(&mut client, DEADLINE), accept_client(&mut node, false, DEADLINE));
        assert!(matches!(ours, Err(HandshakeError::TooManyConnections)));
    }

    #[tokio::test]
    async fn another_protocol_is_recognised() {
        let (mut client, mut node) = tokio::io::duplex(64);
        let stranger = async { client.write_all(b"GET / HTTP/1.1\r\n\r\n").await };
        let (refused, _) = tokio::join!(accept_client(&mut node, true, DEADLINE), stranger);
        assert!(matches!(refused, Err(HandshakeError::NotQuorate)));
    }
}
