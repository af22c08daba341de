//! What a log may hold after a crash, given what was asked of it and what it acknowledged.

use std::collections::BTreeSet;

use quorate_log_engine::Frame;

use super::{Fixture, image, state_before};

/// One past of the log that a crash may bring back.
#[derive(Clone, Debug, Default)]
struct Past {
    /// All entries from log index 0 on, also those trimmed away.
    frames: Vec<Frame>,
    /// How many of them are acknowledged.
    acknowledged: usize,
}

/// All pasts a crash may bring back, the newest last, and the votes and starts.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    pasts: Vec<Past>,
    vote_acknowledged: u64,
    vote_asked: u64,
    /// The log starts that a crash may bring back.
    starts: BTreeSet<u64>,
}

impl Default for Model {
    fn default() -> Self {
        Self { pasts: vec![Past::default()], vote_acknowledged: 0, vote_asked: 0, starts: [0].into() }
    }
}

impl Model {
    fn newest(&mut self) -> &mut Past {
        self.pasts.last_mut().unwrap()
    }

    /// All entries from log index 0 on.
    pub(crate) fn frames(&self) -> &[Frame] {
        &self.pasts.last().unwrap().frames
    }

    /// The log index at which the log starts.
    pub(crate) fn start(&self) -> usize {
        *self.starts.last().unwrap() as usize
    }

    /// The entries from the start of the log on.
    pub(crate) fn kept(&self) -> &[Frame] {
        &self.frames()[self.start()..]
    }

    pub(crate) fn end_offset(&self) -> u64 {
        self.frames().last().map_or(0, |frame| frame.next_offset)
    }

    /// The end offset before this log index.
    pub(crate) fn offset_before(&self, index: usize) -> u64 {
        index.checked_sub(1).map_or(0, |last| self.frames()[last].next_offset)
    }

    pub(crate) fn append(&mut self, frames: &[Frame]) {
        self.newest().frames.extend(frames.iter().map(image));
    }

    pub(crate) fn truncate(&mut self, length: usize) {
        let mut past = self.newest().clone();
        past.frames.truncate(length);
        past.acknowledged = past.acknowledged.min(length);
        self.pasts.push(past);
    }

    pub(crate) fn trim(&mut self, index: usize) {
        self.starts.insert(index as u64);
    }

    /// The next term to vote in.
    pub(crate) fn vote(&mut self) -> u64 {
        self.vote_asked += 1;
        self.vote_asked
    }

    /// Everything asked for so far is acknowledged.
    pub(crate) fn acknowledge(&mut self) {
        let mut newest = self.newest().clone();
        newest.acknowledged = newest.frames.len();
        (self.pasts, self.vote_acknowledged) = (vec![newest], self.vote_asked);
        self.starts = [self.start() as u64].into();
    }

    /// Checks a log that was opened after a crash, and goes on from what it holds.
    pub(crate) fn check_opened(&mut self, fixture: &Fixture, context: &str) {
        let found = fixture.read_all().unwrap();
        let log = fixture.log();
        let start = log.start().index;
        assert!(self.starts.contains(&start), "{context}: the log starts at {start}, expected {:?}", self.starts);
        let end = start as usize + found.len();
        let may_be =
            |past: &&Past| end >= past.acknowledged && past.frames.get(start as usize..end) == Some(&found[..]);
        let indexes: Vec<_> = found.iter().map(|frame| (frame.term, frame.index)).collect();
        let past = self.pasts.iter().find(may_be);
        let past = past.unwrap_or_else(|| panic!("{context}: found {indexes:?}, expected one of {:#?}", self.pasts));
        let mut frames = past.frames.clone();
        frames.truncate(end);
        let before = start.checked_sub(1).map(|last| &frames[last as usize]);
        assert_eq!(log.start().term, before.map_or(0, |frame| frame.term), "{context}");
        assert_eq!(log.start().offset, before.map_or(0, |frame| frame.next_offset), "{context}");
        let vote = log.vote().map_or(0, |vote| vote.term);
        let votes = self.vote_acknowledged..=self.vote_asked;
        assert!(votes.contains(&vote), "{context}: found the vote of term {vote}, expected {votes:?}");
        // The recovery visits what reads find, and what it needs from before the start of the log.
        let from = fixture.visited.restored.as_ref().map_or(0, |(index, _)| *index as usize);
        if let Some((index, state)) = &fixture.visited.restored {
            assert_eq!(*state, state_before(*index), "{context}");
        }
        let visited: Vec<_> = fixture.visited.entries.iter().map(|(_, term, index)| (*term, *index)).collect();
        let expected: Vec<_> = frames[from..].iter().map(|frame| (frame.term, frame.index)).collect();
        assert_eq!(visited, expected, "{context}: the recovery tells of all entries from its checkpoint on");
        assert_eq!(log.durable_through(), (end as u64).checked_sub(1));
        assert_eq!(log.end_offset(), frames.last().map_or(0, |frame| frame.next_offset));
        assert!(log.holes().is_empty(), "{context}: {:?}", log.holes());
        self.pasts = vec![Past { acknowledged: end, frames }];
        // Terms not found again are asked for anew: a vote is compared by its term alone.
        (self.vote_acknowledged, self.vote_asked) = (vote, vote);
        self.starts = [start].into();
    }
}
