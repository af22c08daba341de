//! Splits a stream of bytes into lines at `\n` and nowhere else. Pure: the caller reads.
//!
//! Bytes pass untouched: `\r` stays, an empty line is an empty line, and a last line without `\n` is a line. Lines
//! share the memory of the chunks they came in. Memory is bounded: a line above the limit is refused as soon as it
//! is seen to be too long, not once its end is.

use bytes::{Buf, Bytes, BytesMut};

/// A line above the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LineTooLong {
    /// Its number, from 1.
    pub(crate) number: u64,
}

/// Cuts chunks into lines.
#[derive(Debug)]
pub(crate) struct LineSplitter {
    /// What has arrived and is not handed out; the first `searched` bytes hold no `\n`.
    pending: BytesMut,
    searched: usize,
    line_bytes_max: usize,
    lines: u64,
}

impl LineSplitter {
    /// A splitter that refuses lines above `line_bytes_max` bytes, `\n` not counted.
    pub(crate) fn new(line_bytes_max: usize) -> Self {
        Self { pending: BytesMut::new(), searched: 0, line_bytes_max, lines: 0 }
    }

    /// Takes the next bytes of the stream. Call [`Self::next_line`] until it has none before pushing more.
    pub(crate) fn push(&mut self, chunk: BytesMut) {
        if self.pending.is_empty() {
            self.pending = chunk;
        } else {
            self.pending.extend_from_slice(&chunk);
        }
    }

    /// The next whole line without its `\n`; none if its end has not arrived.
    pub(crate) fn next_line(&mut self) -> Result<Option<Bytes>, LineTooLong> {
        let unsearched = &self.pending[self.searched..];
        let end = unsearched.iter().position(|&byte| byte == b'\n').map(|found| self.searched + found);
        if end.unwrap_or(self.pending.len()) > self.line_bytes_max {
            return Err(LineTooLong { number: self.lines + 1 });
        }
        let Some(end) = end else {
            self.searched = self.pending.len();
            return Ok(None);
        };
        let line = self.pending.split_to(end).freeze();
        self.pending.advance(1);
        self.searched = 0;
        self.lines += 1;
        Ok(Some(line))
    }

    /// The last line, if the stream ended without `\n`. To be called once [`Self::next_line`] has none.
    pub(crate) fn finish(&mut self) -> Option<Bytes> {
        self.searched = 0;
        let line = self.pending.split().freeze();
        (!line.is_empty()).then(|| {
            self.lines += 1;
            line
        })
    }

    /// How many lines were handed out: the number of the last one.
    pub(crate) fn lines(&self) -> u64 {
        self.lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(chunks: &[&[u8]], line_bytes_max: usize) -> Result<Vec<Vec<u8>>, LineTooLong> {
        let mut splitter = LineSplitter::new(line_bytes_max);
        let mut lines = Vec::new();
        for chunk in chunks {
            splitter.push(BytesMut::from(*chunk));
            while let Some(line) = splitter.next_line()? {
                lines.push(line.to_vec());
            }
        }
        lines.extend(splitter.finish().map(|line| line.to_vec()));
        assert_eq!(splitter.lines(), lines.len() as u64);
        Ok(lines)
    }

    #[test]
    fn only_a_newline_ends_a_line_and_all_other_bytes_stay() {
        let lines = split(&[b"a\r\n\n\xff\0\x0b\x0c\n\n last"], 100);
        let expected: [&[u8]; 5] = [b"a\r", b"", b"\xff\0\x0b\x0c", b"", b" last"];
        assert_eq!(lines, Ok(expected.map(<[u8]>::to_vec).to_vec()));
    }

    #[test]
    fn nothing_comes_of_nothing_and_a_newline_is_one_empty_line() {
        assert_eq!(split(&[], 10), Ok(vec![]));
        assert_eq!(split(&[b"\n"], 10), Ok(vec![vec![]]));
    }

    #[test]
    fn the_lines_do_not_depend_on_where_the_chunks_end() {
        let text = b"one\n\ntwo\r\nthree\n\n\nfour";
        let whole = split(&[text], 5);
        for size in 1..text.len() {
            assert_eq!(split(&text.chunks(size).collect::<Vec<_>>(), 5), whole, "chunks of {size}");
        }
    }

    #[test]
    fn a_line_of_the_limit_passes_and_one_byte_more_is_refused_by_its_number() {
        assert_eq!(split(&[b"a\nbcd", b"ef\n"], 5).map(|lines| lines.len()), Ok(2));
        assert_eq!(split(&[b"a\nbcd", b"efg\n"], 5), Err(LineTooLong { number: 2 }));
    }

    #[test]
    fn a_line_that_never_ends_is_refused_before_its_end() {
        assert_eq!(split(&[b"aaaa", b"aaaa"], 5), Err(LineTooLong { number: 1 }));
        assert_eq!(split(&[b"aaaaaa"], 5), Err(LineTooLong { number: 1 }));
    }
}
