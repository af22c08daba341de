//! Reads stdin or a file in chunks, on a thread of its own: a read that waits for a person must hold up neither the
//! deliveries nor the end of the program.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use bytes::BytesMut;
use tokio::sync::mpsc;

use crate::error::Failure;

const CHUNK_BYTES: usize = 64 * 1024;
/// Chunks read ahead.
const CHUNKS_MAX: usize = 8;

/// A stream of chunks.
#[derive(Debug)]
pub(super) struct Input {
    name: String,
    chunks: mpsc::Receiver<io::Result<BytesMut>>,
}

impl Input {
    /// Opens the file, or stdin for none and for `-`, and begins to read.
    pub(super) fn open(path: Option<&Path>) -> Result<Self, Failure> {
        let (name, file) = match path.filter(|path| *path != Path::new("-")) {
            None => ("stdin".to_owned(), None),
            Some(path) => {
                let name = path.display().to_string();
                let file = File::open(path).map_err(|error| unreadable(&name, &error))?;
                (name, Some(file))
            }
        };
        let (sender, chunks) = mpsc::channel(CHUNKS_MAX);
        let reader = move || match file {
            Some(file) => read(file, &sender),
            None => read(io::stdin().lock(), &sender),
        };
        std::thread::Builder::new().name("input".to_owned()).spawn(reader).map_err(|error| {
            Failure::message(format!("cannot start a thread, {error}, check the limit on processes"))
        })?;
        Ok(Self { name, chunks })
    }

    /// The file's name, or `stdin`.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The next bytes; none at the end. Cancel safe.
    pub(super) async fn next(&mut self) -> Result<Option<BytesMut>, Failure> {
        self.chunks.recv().await.transpose().map_err(|error| unreadable(&self.name, &error))
    }
}

fn unreadable(name: &str, error: &io::Error) -> Failure {
    Failure::message(format!("cannot read {name}, {error}, check the file"))
}

fn read(mut source: impl Read, chunks: &mpsc::Sender<io::Result<BytesMut>>) {
    loop {
        let mut chunk = BytesMut::zeroed(CHUNK_BYTES);
        let read = match source.read(&mut chunk) {
            Ok(0) => return,
            Ok(length) => {
                chunk.truncate(length);
                Ok(chunk)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
        let failed = read.is_err();
        // Nobody receives once the command has ended.
        if chunks.blocking_send(read).is_err() || failed {
            return;
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_arrives_whole_and_in_order() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("input");
        let content: Vec<u8> = (0..CHUNK_BYTES * 3 + 7).map(|index| (index % 251) as u8).collect();
        std::fs::write(&path, &content).unwrap();
        let mut input = Input::open(Some(&path)).unwrap();
        let mut read = Vec::new();
        while let Some(chunk) = input.next().await.unwrap() {
            read.extend_from_slice(&chunk);
        }
        assert!(read == content);
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_named() {
        let missing = Input::open(Some(Path::new("/nowhere/input"))).unwrap_err().to_string();
        assert!(missing.starts_with("cannot read /nowhere/input"), "{missing}");
        let directory = Input::open(Some(Path::new("/"))).unwrap().next().await.unwrap_err().to_string();
        assert!(directory.starts_with("cannot read /, "), "{directory}");
    }
}
