//! The batches of one partition on their way: which to send, which to send again, and what a failure means.
//!
//! A pure state machine: it knows neither time nor network. The rules are those of Kafka's idempotent producer:
//!
//! * Batches are issued in the order of their sequences. At most `capacity` of them, counted from the first that is
//!   not acknowledged, are in the window, since the partition remembers no more to recognise a retry.
//! * When one fails in a way that may pass, the ones behind it fail too: the partition refuses a sequence that leaves
//!   a gap. Nothing new is issued until the window was *resumed*: then all that are not acknowledged are issued
//!   again, in order, with the same bytes.
//! * *Out of order* (or *unknown producer*) is such a consequence only if, when the batch was issued, one before it was
//!   not acknowledged. Otherwise the partition has lost track of the producer, and the batch fails for good.
//! * When a batch fails for good, so do all behind it: their sequences can never follow.

use std::collections::VecDeque;

use quorate_protocol::{ApiError, ErrorCode};

/// Identifies a batch in its window.
pub(super) type BatchNumber = u64;

/// The batches on their way. `T` is what the caller keeps of each until it is acknowledged or has failed.
#[derive(Debug)]
pub(super) struct Window<T> {
    capacity: usize,
    slots: VecDeque<Slot<T>>,
    next_number: BatchNumber,
    recovering: bool,
}

#[derive(Debug)]
struct Slot<T> {
    number: BatchNumber,
    state: State,
    /// Whether a try of it may have been appended without our knowing.
    maybe_appended: bool,
    /// Taken once it is acknowledged. Then the slot remains until all before it are acknowledged too.
    batch: Option<T>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    InFlight { behind_unacknowledged: bool },
    Acknowledged,
}

/// What a refusal of a batch means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The window has to be resumed before anything else is issued.
    Recover,
    /// The batch, and with it all behind it, failed for good.
    Fatal,
}

/// A batch that failed for good.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failed<T> {
    pub(super) batch: T,
    /// Whether it may have been appended all the same.
    pub(super) outcome_unknown: bool,
}

impl<T> Window<T> {
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, slots: VecDeque::with_capacity(capacity), next_number: 0, recovering: false }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub(super) fn has_room(&self) -> bool {
        self.slots.len() < self.capacity
    }

    /// Whether something failed and the window has to be resumed.
    pub(super) fn is_recovering(&self) -> bool {
        self.recovering
    }

    /// Whether a batch is to be issued now.
    pub(super) fn has_waiting(&self) -> bool {
        !self.recovering && self.slots.iter().any(|slot| slot.state == State::Waiting)
    }

    /// Adds the batch with the next sequence. Call only with [`has_room`](Self::has_room).
    pub(super) fn push(&mut self, batch: T) {
        assert!(self.has_room(), "the window holds at most {} batches", self.capacity);
        let number = self.next_number;
        self.next_number += 1;
        self.slots.push_back(Slot { number, state: State::Waiting, maybe_appended: false, batch: Some(batch) });
    }

    /// The next batch to issue, now counted as on its way.
    pub(super) fn issue(&mut self) -> Option<(BatchNumber, &T)> {
        if self.recovering {
            return None;
        }
        let behind_unacknowledged = {
            let position = self.slots.iter().position(|slot| slot.state == State::Waiting)?;
            self.slots.range(..position).any(|slot| slot.state != State::Acknowledged)
        };
        let slot = self.slots.iter_mut().find(|slot| slot.state == State::Waiting)?;
        slot.state = State::InFlight { behind_unacknowledged };
        slot.batch.as_ref().map(|batch| (slot.number, batch))
    }

    /// The batch was appended, by this try or an earlier one. `None` if it is not in the window any more.
    pub(super) fn acknowledge(&mut self, number: BatchNumber) -> Option<T> {
        let slot = self.slots.iter_mut().find(|slot| slot.number == number)?;
        slot.state = State::Acknowledged;
        let batch = slot.batch.take();
        while self.slots.front().is_some_and(|slot| slot.state == State::Acknowledged) {
            self.slots.pop_front();
        }
        batch
    }

    /// The batch was refused.
    pub(super) fn refuse(&mut self, number: BatchNumber, refusal: &ApiError) -> Verdict {
        let Some(slot) = self.slots.iter_mut().find(|slot| slot.number == number) else {
            return Verdict::Recover;
        };
        let behind_unacknowledged = slot.state == State::InFlight { behind_unacknowledged: true };
        slot.state = State::Waiting;
        slot.maybe_appended |= !refusal.has_no_side_effects();
        let may_pass = match refusal.code {
            ErrorCode::OutOfOrderSequence | ErrorCode::UnknownProducer => behind_unacknowledged,
            // The node may lag behind what the client knows of the topic; the metadata decides.
            ErrorCode::UnknownTopic | ErrorCode::UnknownPartition => true,
            _ => refusal.is_retryable(),
        };
        if !may_pass {
            return Verdict::Fatal;
        }
        self.recovering = true;
        Verdict::Recover
    }

    /// The batch's answer was lost.
    pub(super) fn lose(&mut self, number: BatchNumber) {
        if let Some(slot) = self.slots.iter_mut().find(|slot| slot.number == number) {
            slot.state = State::Waiting;
            slot.maybe_appended = true;
            self.recovering = true;
        }
    }

    /// Nothing could be issued for lack of a connection.
    pub(super) fn interrupt(&mut self) {
        self.recovering = true;
    }

    /// Starts over with the first batch that is not acknowledged. Answers to tries before this must not be reported
    /// any more.
    pub(super) fn resume(&mut self) {
        for slot in &mut self.slots {
            if matches!(slot.state, State::InFlight { .. }) {
                slot.state = State::Waiting;
                slot.maybe_appended = true;
            }
        }
        self.recovering = false;
    }

    /// The batch, and all behind it, failed for good. The first one returned is the batch itself; acknowledged ones
    /// are left out.
    pub(super) fn fail_from(&mut self, number: BatchNumber) -> Vec<Failed<T>> {
        let Some(position) = self.slots.iter().position(|slot| slot.number == number) else {
            return Vec::new();
        };
        // A batch can only be in the log if all before it are.
        let mut predecessor_maybe_appended = true;
        let mut failed = Vec::new();
        for slot in self.slots.drain(position..) {
            let maybe_appended = slot.maybe_appended || matches!(slot.state, State::InFlight { .. });
            let outcome_unknown = predecessor_maybe_appended && maybe_appended;
            if let Some(batch) = slot.batch {
                predecessor_maybe_appended = outcome_unknown;
                failed.push(Failed { batch, outcome_unknown });
            }
        }
        if self.slots.iter().all(|slot| slot.state == State::Acknowledged) {
            self.slots.clear();
            self.recovering = false;
        }
        failed
    }

    /// The first batch that is neither acknowledged nor failed, and its number.
    pub(super) fn first(&self) -> Option<(BatchNumber, &T)> {
        self.slots.iter().find_map(|slot| slot.batch.as_ref().map(|batch| (slot.number, batch)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(code: ErrorCode) -> ApiError {
        ApiError::new(code, "no")
    }

    fn window(batches: &[char]) -> Window<char> {
        let mut window = Window::new(5);
        batches.iter().for_each(|batch| window.push(*batch));
        window
    }

    fn issue_all(window: &mut Window<char>) -> String {
        std::iter::from_fn(|| window.issue().map(|(_, batch)| *batch)).collect()
    }

    #[test]
    fn batches_are_issued_once_and_in_order() {
        let mut window = window(&['a', 'b', 'c']);
        assert_eq!(issue_all(&mut window), "abc");
        assert_eq!(issue_all(&mut window), "");
    }

    #[test]
    fn the_window_is_counted_from_the_first_that_is_not_acknowledged() {
        let mut window = window(&['a', 'b', 'c', 'd', 'e']);
        issue_all(&mut window);
        assert_eq!(window.acknowledge(1), Some('b'));
        assert!(!window.has_room(), "the partition could forget a if a sixth were appended");
        assert_eq!(window.acknowledge(0), Some('a'));
        window.push('f');
        window.push('g');
        assert!(!window.has_room());
        assert_eq!(issue_all(&mut window), "fg");
    }

    #[test]
    fn after_a_failure_in_the_middle_all_from_there_on_are_issued_again_in_order() {
        let mut window = window(&['a', 'b', 'c', 'd']);
        issue_all(&mut window);
        assert_eq!(window.refuse(1, &refusal(ErrorCode::Overloaded)), Verdict::Recover);
        assert_eq!(window.refuse(2, &refusal(ErrorCode::OutOfOrderSequence)), Verdict::Recover);
        assert_eq!(window.refuse(3, &refusal(ErrorCode::OutOfOrderSequence)), Verdict::Recover);
        assert_eq!(window.acknowledge(0), Some('a'));
        assert_eq!(issue_all(&mut window), "", "nothing is issued before the window is resumed");
        window.resume();
        assert_eq!(issue_all(&mut window), "bcd");
    }

    #[test]
    fn one_acknowledged_behind_a_lost_one_is_not_issued_again() {
        let mut window = window(&['a', 'b', 'c']);
        issue_all(&mut window);
        window.lose(0);
        assert_eq!(window.acknowledge(1), Some('b'));
        window.resume();
        assert_eq!(issue_all(&mut window), "ac");
        assert_eq!(window.acknowledge(0), Some('a'));
        assert_eq!(window.acknowledge(2), Some('c'));
        assert!(window.is_empty());
    }

    #[test]
    fn out_of_order_is_fatal_where_all_before_were_acknowledged_at_the_time_of_issue() {
        let mut first = window(&['a']);
        issue_all(&mut first);
        assert_eq!(first.refuse(0, &refusal(ErrorCode::OutOfOrderSequence)), Verdict::Fatal);

        let mut later = window(&['a', 'b']);
        issue_all(&mut later);
        later.acknowledge(0);
        // The refusal may have been written before a was appended by a retry.
        assert_eq!(later.refuse(1, &refusal(ErrorCode::UnknownProducer)), Verdict::Recover);
        later.resume();
        issue_all(&mut later);
        assert_eq!(later.refuse(1, &refusal(ErrorCode::UnknownProducer)), Verdict::Fatal);
    }

    #[test]
    fn a_batch_that_fails_for_good_takes_those_behind_it_along() {
        let mut window = window(&['a', 'b', 'c']);
        issue_all(&mut window);
        assert_eq!(window.refuse(1, &refusal(ErrorCode::CorruptBatch)), Verdict::Fatal);
        let failed = window.fail_from(1);
        let expected = ['b', 'c'].map(|batch| Failed { batch, outcome_unknown: false });
        assert_eq!(failed, expected);
        assert_eq!(window.first(), Some((0, &'a')));
        assert_eq!(window.acknowledge(0), Some('a'));
        assert!(window.is_empty());
    }

    #[test]
    fn the_outcome_is_unknown_of_all_that_were_on_their_way_but_of_none_that_never_left() {
        let mut window = window(&['a', 'b']);
        issue_all(&mut window);
        window.push('c');
        let unknown: Vec<_> = window.fail_from(0).iter().map(|failed| failed.outcome_unknown).collect();
        assert_eq!(unknown, [true, true, false]);
        assert!(window.is_empty() && !window.is_recovering());
    }

    #[test]
    fn a_lost_answer_leaves_the_outcome_unknown_even_if_a_later_try_is_refused() {
        let mut window = window(&['a']);
        issue_all(&mut window);
        window.lose(0);
        window.resume();
        issue_all(&mut window);
        assert_eq!(window.refuse(0, &refusal(ErrorCode::TopicDeleted)), Verdict::Fatal);
        assert_eq!(window.fail_from(0), [Failed { batch: 'a', outcome_unknown: true }]);
    }

    #[test]
    fn answers_to_batches_that_have_failed_are_ignored() {
        let mut window = window(&['a']);
        issue_all(&mut window);
        window.fail_from(0);
        assert_eq!(window.acknowledge(0), None);
        window.lose(0);
        assert!(!window.is_recovering());
        assert!(window.fail_from(0).is_empty());
    }

    /// Plays a partition that loses, refuses and duplicates at random, and checks that the log holds each batch once
    /// and in order.
    #[test]
    fn whatever_fails_each_batch_is_appended_once_and_in_order() {
        for seed in 1..200u64 {
            let mut random = seed;
            let mut dice = move |sides: u64| {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (random >> 33) % sides
            };
            let (mut window, mut log, mut next) = (Window::new(5), Vec::new(), 0u32);
            let mut on_their_way = VecDeque::new();
            while log.len() < 50 || !window.is_empty() {
                while next < 50 && window.has_room() && dice(2) == 0 {
                    window.push(next);
                    next += 1;
                }
                while let Some((number, batch)) = window.issue() {
                    on_their_way.push_back((number, *batch));
                }
                match on_their_way.pop_front() {
                    Some((number, batch)) => {
                        let refused = dice(4) == 0;
                        let outcome = if refused {
                            Err(ErrorCode::Overloaded)
                        } else if log.contains(&batch) {
                            assert!(log.len() - batch as usize <= 5, "the partition has forgotten {batch}");
                            Ok(())
                        } else if log.len() == batch as usize {
                            log.push(batch);
                            Ok(())
                        } else {
                            Err(ErrorCode::OutOfOrderSequence)
                        };
                        match outcome {
                            _ if dice(5) == 0 => window.lose(number),
                            Ok(()) => drop(window.acknowledge(number)),
                            Err(code) => assert_eq!(window.refuse(number, &refusal(code)), Verdict::Recover),
                        }
                    }
                    None if window.is_recovering() => window.resume(),
                    None => {}
                }
            }
            assert_eq!(log, (0..50).collect::<Vec<_>>());
        }
    }
}
