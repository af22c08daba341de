//! Every anomaly is planted into histories that are in order, and must be found under its name and no other.

mod generate;
mod mutate;

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::{
    AnomalyKind::{self, *},
    check,
};
use crate::history::{Call, Operation, Outcome};
use generate::clean;
use mutate::History;

fn kinds(history: &[Operation]) -> BTreeSet<AnomalyKind> {
    check(history).findings.kinds().collect()
}

/// Spoils a clean history of the seed and checks what is found.
fn found(seed: u64, expected: &[AnomalyKind], spoil: impl FnOnce(&mut History)) {
    let mut history = History::new(clean(seed), seed);
    spoil(&mut history);
    let report = check(&history.operations);
    let found: BTreeSet<_> = report.findings.kinds().collect();
    assert_eq!(found, expected.iter().copied().collect(), "{:#?}", report.findings);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_history_in_order_passes(seed: u64) {
        let report = check(&clean(seed));
        prop_assert!(report.findings.is_empty(), "{:#?}", report.findings);
        prop_assert!(report.inconclusive.is_empty(), "{:?}", report.inconclusive);
        prop_assert!(report.counts.acknowledged > 1_000 && report.counts.unknown > 0 && report.counts.failed > 0);
        prop_assert!(report.counts.polls > 0 && report.counts.end_offsets > 0 && report.counts.replicas == 3);
        prop_assert!(report.counts.conditional > 0 && report.counts.committed_offsets > 0);
    }

    #[test]
    fn a_lost_write_is_found(seed: u64) {
        found(seed, &[LostWrite], History::lose_an_acknowledged_record_nobody_polled);
    }

    #[test]
    fn a_record_nobody_saw_is_found(seed: u64) {
        found(seed, &[Unseen], History::lose_an_acknowledged_record_beyond_all_polls);
    }

    #[test]
    fn a_duplicate_is_found(seed: u64) {
        found(seed, &[Duplicate], History::append_a_record_again);
    }

    #[test]
    fn two_values_at_one_offset_are_found(seed: u64) {
        found(seed, &[InconsistentOffsets], History::put_a_second_value_at_an_offset);
    }

    #[test]
    fn an_aborted_read_is_found(seed: u64) {
        found(seed, &[AbortedRead], History::call_a_drained_write_failed);
    }

    #[test]
    fn an_unexpected_value_is_found(seed: u64) {
        found(seed, &[Unexpected], |history| history.replace_an_unpolled_value(Some((77, 1).into())));
        found(seed, &[Unexpected], |history| history.replace_an_unpolled_value(None));
    }

    #[test]
    fn a_consumer_that_goes_back_is_found(seed: u64) {
        found(seed, &[NonmonotonicPoll], History::repeat_a_poll);
        found(seed, &[NonmonotonicPoll], |history| history.break_a_poll(9, 8));
    }

    #[test]
    fn a_consumer_that_skips_is_found(seed: u64) {
        found(seed, &[PollSkip], History::leave_a_poll_out);
        found(seed, &[PollSkip], |history| history.break_a_poll(8, 9));
    }

    #[test]
    fn a_send_that_overtakes_an_earlier_one_is_found(seed: u64) {
        found(seed, &[NonmonotonicSend], History::swap_two_sends_of_a_producer);
    }

    #[test]
    fn an_order_against_real_time_is_found(seed: u64) {
        found(seed, &[RealtimeOrder], History::swap_two_sends_one_of_which_came_later);
    }

    #[test]
    fn a_stale_end_offset_is_found(seed: u64) {
        found(seed, &[StaleEnd], History::give_an_old_end_offset);
    }

    #[test]
    fn an_uncommitted_read_is_found(seed: u64) {
        // What was polled and is gone was lost as well.
        found(seed, &[UncommittedRead, LostWrite], History::lose_an_unknown_record_that_was_polled);
    }

    #[test]
    fn an_acknowledgement_of_anothers_offset_is_found(seed: u64) {
        found(seed, &[AckMismatch], History::swap_two_acknowledgements);
    }

    #[test]
    fn an_append_beside_its_condition_is_found(seed: u64) {
        found(seed, &[AckMismatch], History::append_beside_the_condition);
    }

    #[test]
    fn a_group_that_goes_back_is_found(seed: u64) {
        found(seed, &[GroupRegress], History::take_a_commit_back);
    }

    #[test]
    fn a_group_that_skips_is_found(seed: u64) {
        found(seed, &[GroupSkip], History::withhold_records_from_a_group);
    }

    #[test]
    fn diverging_replicas_are_found(seed: u64) {
        found(seed, &[ReplicaDivergence], History::alter_a_replicas_entry);
        found(seed, &[ReplicaDivergence], History::leave_out_a_replicas_entry);
        found(seed, &[ReplicaDivergence], History::lose_a_replicas_log);
        // Also where nothing is left that the drain could return.
        found(seed, &[ReplicaDivergence], |history| {
            history.alter_a_replicas_entry();
            history.delete_all();
        });
    }

    #[test]
    fn what_was_deleted_is_not_lost(seed: u64) {
        found(seed, &[], |history| history.trim(400, Outcome::Ok(400), true));
        found(seed, &[], |history| history.trim(400, Outcome::Info("no answer".to_owned()), true));
        found(seed, &[], |history| history.trim(400, Outcome::Info("no answer".to_owned()), false));
        found(seed, &[], |history| history.trim(400, Outcome::Fail("refused".to_owned()), false));
        found(seed, &[LostWrite], |history| {
            history.lose_an_acknowledged_record_nobody_polled();
            history.trim(1_000, Outcome::Info("no answer".to_owned()), false);
        });
        found(seed, &[TrimmedRead], |history| history.trim(400, Outcome::Ok(400), false));
        let kinds = |history: &History| kinds(&history.operations);
        let mut refused = History::new(clean(seed), seed);
        refused.trim(400, Outcome::Fail("refused".to_owned()), true);
        assert!(kinds(&refused).is_superset(&[LostWrite, ReplicaDivergence].into()));
    }

    #[test]
    fn a_deletion_nobody_asked_for_is_found(seed: u64) {
        found(seed, &[], |history| { history.trim(400, Outcome::Ok(400), true); history.tell_deleted(400); });
        // They are read all the same.
        found(seed, &[FalseTrim, TrimmedRead], |history| history.trim(400, Outcome::Ok(401), true));
        found(seed, &[FalseTrim], |history| { history.trim(400, Outcome::Ok(400), true); history.tell_deleted(401); });
        found(seed, &[FalseTrim], |history| history.tell_deleted(1));
    }

    #[test]
    fn a_replica_that_gives_readers_other_records_is_found(seed: u64) {
        found(seed, &[], |history| history.read_replicas(|_, _| ()));
        found(seed, &[ReplicaDivergence], |history| history.read_replicas(|reads, at| _ = reads.remove(at)));
        found(seed, &[ReplicaDivergence], |history| history.read_replicas(|reads, _| _ = reads.pop()));
        found(seed, &[ReplicaDivergence], |history| {
            history.read_replicas(|reads, at| reads.swap(at, (at + 1) % 1_000));
        });
    }
}

#[test]
fn every_partition_is_judged_by_itself() {
    let mut history = clean(1);
    let mut other = clean(2);
    other.iter_mut().for_each(|operation| operation.partition.index = 1);
    history.extend(other);
    assert_eq!(kinds(&history), BTreeSet::new());
    // A record of one partition is read in another.
    let Some(Call::Drain { outcome: Outcome::Ok(reads) }) =
        history.iter_mut().map(|operation| &mut operation.call).find(|call| matches!(call, Call::Drain { .. }))
    else {
        panic!("there is a drain");
    };
    reads[generate::UNKNOWN_AT as usize].1 = Some((2, 999_999).into());
    assert_eq!(kinds(&history), [Unexpected].into());
}

#[test]
fn few_writes_and_an_unfinished_drain_are_inconclusive() {
    let reasons = |history: &[Operation]| check(history).inconclusive.join("; ");
    let mut history = clean(1);
    for operation in &mut history {
        if let Call::Drain { outcome } = &mut operation.call {
            *outcome = Outcome::Info("no time".to_owned());
        }
    }
    assert_eq!(reasons(&history), "the drain of topic 0 partition 0 did not finish");
    history.retain(|operation| !matches!(operation.call, Call::Drain { .. }));
    assert_eq!(reasons(&history), "the drain of topic 0 partition 0 did not finish");
    assert_eq!(reasons(&[]), "0 writes were acknowledged, fewer than 1000");
}

#[test]
fn a_history_comes_back_from_its_file() {
    let history = clean(3);
    let file = tempfile::NamedTempFile::new().unwrap();
    crate::history::write(file.path(), &history).unwrap();
    assert_eq!(crate::history::read(file.path()).unwrap(), history);
    std::fs::write(file.path(), "{}\n").unwrap();
    let refused = crate::history::read(file.path()).unwrap_err();
    assert!(refused.to_string().starts_with("line 1 is not an operation"), "{refused}");
}
