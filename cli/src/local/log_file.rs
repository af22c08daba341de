//! What a node wrote to its log.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

/// The last lines are looked for in at most this many bytes from the end.
const TAIL_BYTES_MAX: u64 = 1 << 20;

/// The log's size, 0 if there is none yet.
pub(crate) fn size(path: &Path) -> u64 {
    path.metadata().map_or(0, |metadata| metadata.len())
}

/// The last line that is not empty among those written from `offset` on.
pub(crate) fn last_line_since(path: &Path, offset: u64) -> Option<String> {
    let mut file = File::open(path).ok()?;
    let from = offset.max(file.metadata().ok()?.len().saturating_sub(TAIL_BYTES_MAX));
    file.seek(SeekFrom::Start(from)).ok()?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    text.lines().map(str::trim).rfind(|line| !line.is_empty()).map(str::to_owned)
}

/// Moves `file` to the start of its last `lines` lines.
pub(crate) fn seek_to_last_lines(file: &mut File, lines: usize) -> io::Result<()> {
    let size = file.metadata()?.len();
    let mut starts = std::collections::VecDeque::with_capacity(lines.min(1024) + 1);
    let mut reader = BufReader::with_capacity(1 << 16, &*file);
    let mut position = reader.seek(SeekFrom::Start(0))?;
    while position < size && lines > 0 {
        if starts.len() == lines {
            starts.pop_front();
        }
        starts.push_back(position);
        let skipped = reader.skip_until(b'\n')?;
        if skipped == 0 {
            break;
        }
        position += skipped as u64;
    }
    let start = starts.front().copied().unwrap_or(size);
    file.seek(SeekFrom::Start(start)).map(|_| ())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_last_line_of_this_run_is_told_from_those_of_earlier_runs() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("node.log");
        assert_eq!((size(&path), last_line_since(&path, 0)), (0, None));
        fs::write(&path, "earlier\n").unwrap();
        let offset = size(&path);
        assert_eq!(last_line_since(&path, offset), None);
        fs::write(&path, "earlier\nfirst\n  why it failed  \n\n").unwrap();
        assert_eq!(last_line_since(&path, offset).as_deref(), Some("why it failed"));
    }

    #[test]
    fn the_last_lines_start_where_the_line_before_them_ends() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("node.log");
        fs::write(&path, "a\n\nbc\nd").unwrap();
        for (lines, expected) in [(0, ""), (1, "d"), (2, "bc\nd"), (3, "\nbc\nd"), (4, "a\n\nbc\nd"), (9, "a\n\nbc\nd")]
        {
            let mut file = File::open(&path).unwrap();
            seek_to_last_lines(&mut file, lines).unwrap();
            let mut text = String::new();
            file.read_to_string(&mut text).unwrap();
            assert_eq!(text, expected, "{lines} lines");
        }
    }
}
