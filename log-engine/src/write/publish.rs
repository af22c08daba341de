//! Small files that appear whole or not at all.

use std::{
    io::{self, IoSlice},
    path::{Path, PathBuf},
};

use bytes::{Bytes, BytesMut};

use crate::{
    SegmentExtent, Vfs,
    format::{FileKind, UNFINISHED_SUFFIX},
    recover::read_checkpoint,
    shared::Shared,
    vfs::read_exact_at,
};

/// The name of a file that is not finished yet.
pub(crate) fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(UNFINISHED_SUFFIX);
    name.into()
}

/// Writes a file under another name, syncs it, gives it its name and makes that durable. A file of that name stays.
pub(crate) fn publish(vfs: &dyn Vfs, directory: &Path, kind: FileKind, number: u64, bytes: &[u8]) -> io::Result<()> {
    let path = kind.path(directory, number);
    let new = unfinished(&path);
    // What an earlier try has left.
    match vfs.remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = vfs.create(&new)?;
    file.write_all_at(&[IoSlice::new(bytes)], 0)?;
    file.sync_data()?;
    vfs.rename(&new, &path)?;
    vfs.sync_directory(directory)
}

/// Reads a whole file; `None` if it is not there.
///
/// # Errors
/// As the file system reports, and when the file is longer than `size_max` bytes.
pub(crate) fn read_small_file(vfs: &dyn Vfs, path: &Path, size_max: usize) -> io::Result<Option<Bytes>> {
    let file = match vfs.open_read_only(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let size = file.size()?;
    if size > size_max as u64 {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{size} bytes, at most {size_max} are possible"),
        ));
    }
    let mut bytes = BytesMut::zeroed(size as usize);
    read_exact_at(&*file, &mut bytes, 0)?;
    Ok(Some(bytes.freeze()))
}

/// The caller's state in the checkpoint of a segment, if that is there and sound.
pub(crate) fn checkpoint_state(log: &Shared, extent: &SegmentExtent) -> Option<Bytes> {
    match read_checkpoint(&*log.vfs, &log.directory, extent.number, extent.head_checksum) {
        Ok(checkpoint) => checkpoint.map(|checkpoint| checkpoint.state),
        Err(reason) => {
            tracing::warn!(directory = %log.directory.display(), segment = extent.number, reason, "a checkpoint is not used");
            None
        }
    }
}
