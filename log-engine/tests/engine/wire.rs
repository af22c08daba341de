//! Frames on the wire: what is local to a replica stays behind, and damage is refused.

use bytes::{Bytes, BytesMut};
use quorate_log_engine::{FRAME_HEADER_SIZE, Frame, FrameError};

use crate::support::{batch, command};

fn encode(frame: &Frame) -> Bytes {
    let (mut heads, mut parts) = (BytesMut::new(), Vec::new());
    frame.encode_for_wire(&mut heads, &mut parts);
    let bytes = parts.concat();
    assert_eq!(bytes.len(), frame.wire_size());
    bytes.into()
}

#[test]
fn a_frame_arrives_without_stamp_and_outcome() {
    for frame in [batch(3, 9, 50, 2, true), batch(3, 9, 50, 2, false), command(3, 9, 50, "text"), command(3, 9, 50, "")]
    {
        let mut bytes = Bytes::from([encode(&frame), Bytes::from_static(b"more")].concat());
        let found = Frame::decode_from_wire(&mut bytes, 1 << 20).unwrap();
        assert_eq!(found, Frame { stamp: None, next_offset: 0, ..frame });
        assert_eq!(&bytes[..], b"more");
    }
}

#[test]
fn any_flipped_or_missing_byte_is_refused() {
    for frame in [batch(3, 9, 50, 2, true), command(3, 9, 50, "text")] {
        let sound = encode(&frame);
        for at in 0..sound.len() {
            let mut bytes = sound.to_vec();
            bytes[at] ^= 0x04;
            assert!(Frame::decode_from_wire(&mut bytes.into(), 1 << 20).is_err(), "byte {at}");
            assert!(Frame::decode_from_wire(&mut sound.slice(..at), 1 << 20).is_err(), "cut at {at}");
        }
    }
}

#[test]
fn a_payload_beyond_the_bound_is_refused() {
    let sound = encode(&command(1, 1, 0, "12345"));
    let error = Frame::decode_from_wire(&mut sound.clone(), 4).unwrap_err();
    assert_eq!(error, FrameError::TooLong { found: 5, max: 4 });
    assert!(sound.len() == FRAME_HEADER_SIZE + 5 && Frame::decode_from_wire(&mut sound.clone(), 5).is_ok());
}
