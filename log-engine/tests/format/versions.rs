//! What another version has written is refused as such, whatever it holds and however short it is, and is left alone.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use quorate_faulty_vfs::Disk;
use quorate_log_engine::{
    Checkpoint, CheckpointError, Frame, FrameError, FrameHeader, IndexFile, IndexFileError, Log, OpenError,
    SegmentHeader, SegmentHeaderError,
};

use crate::fixture::{self, Entries, engine, options};

const OTHERS: [u8; 2] = [0, 2];

/// The first structure of a sort in the fixture.
fn first(extension: &str) -> Vec<u8> {
    let (_, bytes) = fixture::files().into_iter().find(|(name, _)| name.ends_with(extension)).unwrap();
    bytes
}

#[test]
fn other_versions_of_a_segment_are_refused_by_their_number() {
    for format in OTHERS {
        let mut bytes = first(".log");
        bytes[4] = format;
        for size in [5, 64, bytes.len()] {
            assert_eq!(SegmentHeader::decode(&bytes[..size]), Err(SegmentHeaderError::Format(format)));
        }
    }
}

#[test]
fn other_versions_of_a_frame_are_refused_by_their_number() {
    for format in OTHERS {
        let mut bytes = first(".log")[128..].to_vec();
        bytes[2] = format;
        assert_eq!(FrameHeader::decode(&bytes, 0, 1 << 20), Err(FrameError::Format(format)));
        assert_eq!(Frame::decode_from_wire(&mut Bytes::from(bytes), 1 << 20), Err(FrameError::Format(format)));
    }
}

#[test]
fn other_versions_of_an_index_are_refused_by_their_number() {
    for format in OTHERS {
        let mut bytes = first(".index");
        bytes[4] = format;
        for size in [5, bytes.len()] {
            assert_eq!(IndexFile::decode(&bytes[..size]), Err(IndexFileError::Format(format)));
        }
    }
}

#[test]
fn other_versions_of_a_checkpoint_are_refused_by_their_number() {
    for format in OTHERS {
        let mut bytes = first(".checkpoint");
        bytes[4] = format;
        for size in [5, bytes.len()] {
            let bytes = Bytes::copy_from_slice(&bytes[..size]);
            assert_eq!(Checkpoint::decode(&bytes), Err(CheckpointError::Format(format)));
        }
    }
}

#[test]
fn a_log_with_a_segment_of_another_version_is_refused_and_left_alone() {
    for format in OTHERS {
        let mut files = fixture::files();
        let newest = files.iter_mut().rfind(|(name, _)| name.ends_with(".log")).unwrap();
        newest.1[4] = format;
        let expected_path = Path::new("/log").join(&newest.0);
        let contents: Vec<(PathBuf, Vec<u8>)> =
            files.into_iter().map(|(name, bytes)| (Path::new("/log").join(name), bytes)).collect();
        let disk = Disk::of(&contents);
        let before = disk.contents();
        let refused = Log::open(&engine(), disk.vfs(), Path::new("/log"), &options(2_048), &mut Entries::default());
        match refused {
            Err(OpenError::Format { path, found, supported: 1 }) => {
                assert_eq!((path, found), (expected_path, format));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(disk.contents(), before);
    }
}
