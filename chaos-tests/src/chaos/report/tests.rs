use super::*;
use crate::{
    chaos::nemesis::{NemesisKind, Role},
    checker::check,
};

const PARTITION: PartitionKey = PartitionKey { topic: 1, index: 2 };

fn operation(process: u32, invoked_ns: u64, completed_ns: u64, call: Call) -> Operation {
    Operation { process, partition: PARTITION, invoked_ns, completed_ns, call }
}

fn sent(number: u64, offset: u64) -> Operation {
    let at = 1_000_000_000 * (number + 1);
    operation(0, at, at + 3_000_000, Call::Send { number, outcome: Outcome::Ok(offset) })
}

#[test]
fn a_page_shows_what_was_lost_and_every_fault_and_leader() {
    let value = |number| Some(Value { process: 0, number });
    let drained = Call::Drain { outcome: Outcome::Ok(vec![(0, value(0)), (2, value(2))]) };
    let history = [sent(0, 0), sent(1, 1), sent(2, 2), operation(300, 9_000_000_000, 10_000_000_000, drained)];
    let entry = |at_ns, state| Entry {
        at_ns,
        fault: 7,
        kind: NemesisKind::Kill,
        role: Role::All,
        state,
        detail: "kill <all> & \"more\"".to_owned(),
    };
    let journal = [entry(2_000_000_000, State::Installed), entry(4_000_000_000, State::Healed)];
    let leaders = [Led { at_ns: 0, partition: PARTITION, term: 3, node: 2 }];
    let verdict = Verdict::for_test(check(&history), journal.to_vec());
    let page = html(&Material { verdict: &verdict, history: &history, journal: &journal, leaders: &leaders });
    for expected in [
        "<span class=\"badge violated\">violated</span>",
        "unseen (1)",
        "record 1 of process 0 at offset 1",
        "fault 7: kill &lt;all&gt; &amp; &quot;more&quot;",
        "node 2 in term 3",
        "Offsets acknowledged in topic 1 partition 2",
        "prefers-color-scheme:dark",
    ] {
        assert!(page.contains(expected), "{expected} is missing in {page}");
    }
    // It opens offline.
    assert!(!page.contains("http"), "{page}");
    assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
}

#[test]
fn a_page_of_nothing_is_a_page() {
    let verdict = Verdict::for_test(check(&[]), Vec::new());
    let page = html(&Material { verdict: &verdict, history: &[], journal: &[], leaders: &[] });
    assert!(page.contains("inconclusive") && page.contains("<p class=none>none</p>"), "{page}");
}
