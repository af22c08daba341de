//! What a log may hold after a crash, given what was asked of it and what it acknowledged.

use quorate_log_engine::Frame;

use super::{Fixture, image};

/// One past of the log that a crash may bring back.
#[derive(Clone, Debug, Default)]
struct Past {
    frames: Vec<Frame>,
    /// How many of them are acknowledged.
    acknowledged: usize,
}

/// All pasts a crash may bring back, the newest last, and the votes.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    pasts: Vec<Past>,
    vote_acknowledged: u64,
    vote_asked: u64,
}

impl Default for Model {
    fn default() -> Self {
        Self { pasts: vec![Past::default()], vote_acknowledged: 0, vote_asked: 0 }
    }
}

impl Model {
    fn newest(&mut self) -> &mut Past {
        self.pasts.last_mut().unwrap()
    }

    pub(crate) fn frames(&self) -> &[Frame] {
        &self.pasts.last().unwrap().frames
    }

    pub(crate) fn end_offset(&self) -> u64 {
        self.frames().last().map_or(0, |frame| frame.next_offset)
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
    }

    /// Checks a log that was opened after a crash, and goes on from what it holds.
    pub(crate) fn check_opened(&mut self, fixture: &Fixture, context: &str) {
        let found = fixture.read_all().unwrap();
        let may_be = |past: &Past| found.len() >= past.acknowledged && past.frames.starts_with(&found);
        let indexes: Vec<_> = found.iter().map(|frame| (frame.term, frame.index)).collect();
        assert!(self.pasts.iter().any(may_be), "{context}: found {indexes:?}, expected one of {:#?}", self.pasts);
        let vote = fixture.log().vote().map_or(0, |vote| vote.term);
        let votes = self.vote_acknowledged..=self.vote_asked;
        assert!(votes.contains(&vote), "{context}: found the vote of term {vote}, expected {votes:?}");
        let visited: Vec<_> = fixture.visited.iter().map(|(_, term, index)| (*term, *index)).collect();
        assert_eq!(visited, indexes, "{context}: the recovery visits what reads find");
        assert_eq!(fixture.log().durable_through(), (found.len() as u64).checked_sub(1));
        assert_eq!(fixture.log().end_offset(), found.last().map_or(0, |frame| frame.next_offset));
        self.pasts = vec![Past { acknowledged: found.len(), frames: found }];
        // Terms not found again are asked for anew: a vote is compared by its term alone.
        (self.vote_acknowledged, self.vote_asked) = (vote, vote);
    }
}
