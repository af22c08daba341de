//! Random appends, votes, truncations, trims, crashes, faults and reads against a model.
//!
//! `QUORATE_MODEL_CASES` sets the number of cases; `make soak` runs many.

use proptest::prelude::*;
use quorate_faulty_vfs::{Fault, Filter, OperationKind};
use quorate_log_engine::{Frame, ReadStart};

use crate::support::{Fixture, Model, PowerCut, batch, command, image, shared_engine, wait};

/// Cases of an ordinary run.
const CASES: u32 = 10_000;

#[derive(Clone, Debug)]
enum Step {
    /// The size of each entry; 0 is a rejected batch, above 4 a command.
    Append(Vec<u64>),
    Vote,
    /// To how many thousandths of the entries that are not settled.
    Truncate(usize),
    /// So many thousandths of the entries will never be truncated again.
    Settle(usize),
    /// To how many thousandths of the settled entries.
    Trim(usize),
    Mark,
    Scrub,
    Kill,
    PowerCut(PowerCut),
    /// The power fails while an append is under way.
    PowerCutDuring(Vec<u64>, PowerCut),
    /// The power fails while a truncation and an append are under way.
    PowerCutAfterTruncate(usize, PowerCut),
    /// Syncs fail, and the process dies of it; the power may fail too.
    FailedSync(Vec<u64>, Option<PowerCut>),
    /// At how many thousandths of the offsets.
    Read(u64),
    /// At how many thousandths of the log indexes the time is taken from.
    ReadTime(u64),
}

fn cut() -> impl Strategy<Value = PowerCut> {
    any::<u64>().prop_map(PowerCut::Any)
}

fn step() -> impl Strategy<Value = Step> {
    let sizes = || prop::collection::vec(0..8_u64, 0..5);
    let part = || 0..=1_000_usize;
    prop_oneof![
        8 => sizes().prop_map(Step::Append),
        2 => Just(Step::Vote),
        2 => part().prop_map(Step::Truncate),
        2 => part().prop_map(Step::Settle),
        2 => part().prop_map(Step::Trim),
        1 => Just(Step::Mark),
        1 => Just(Step::Scrub),
        1 => Just(Step::Kill),
        1 => cut().prop_map(Step::PowerCut),
        1 => (sizes(), cut()).prop_map(|(sizes, cut)| Step::PowerCutDuring(sizes, cut)),
        1 => (part(), cut()).prop_map(|(part, cut)| Step::PowerCutAfterTruncate(part, cut)),
        1 => (sizes(), prop::option::of(cut())).prop_map(|(sizes, cut)| Step::FailedSync(sizes, cut)),
        3 => (0..=1_000_u64).prop_map(Step::Read),
        1 => (0..=1_000_u64).prop_map(Step::ReadTime),
    ]
}

fn frames(model: &Model, sizes: &[u64], term: u64) -> Vec<Frame> {
    let mut offset = model.end_offset();
    let frame = |(at, size): (usize, &u64)| {
        let index = (model.frames().len() + at) as u64;
        let mut frame = match size {
            0 => batch(term, index, offset, 1, false),
            1..=4 => batch(term, index, offset, *size, true),
            _ => command(term, index, offset, &"command ".repeat(*size as usize)),
        };
        // A leader's clock may stand still, go back, or be unknown.
        frame.leader_time_ms = [0, 1_000, 1_000 + index as i64 * 10, 500][(index % 4) as usize];
        offset = frame.next_offset;
        frame
    };
    sizes.iter().enumerate().map(frame).collect()
}

/// The log, its model, and how many entries will never be truncated again.
struct Run {
    fixture: Fixture,
    model: Model,
    settled: usize,
}

impl Run {
    fn reopen(&mut self, context: &str) {
        self.fixture.options.settled_through = (self.settled as u64).checked_sub(1);
        self.fixture.open().unwrap_or_else(|error| panic!("{context}: {error}"));
        self.model.check_opened(&self.fixture, context);
    }

    /// Cuts to these thousandths of what may be cut, without waiting for it.
    fn truncate(&mut self, part: usize) {
        let length = self.settled + (self.model.frames().len() - self.settled) * part / 1_000;
        self.model.truncate(length);
        self.fixture.truncate(length as u64).unwrap();
    }

    fn step(&mut self, step: &Step, term: u64) {
        let Self { fixture, model, settled } = self;
        match step {
            Step::Append(sizes) => {
                let frames = frames(model, sizes, term);
                model.append(&frames);
                fixture.append(frames).unwrap();
                model.acknowledge();
            }
            Step::Vote => {
                fixture.vote(model.vote(), 1).unwrap();
                model.acknowledge();
            }
            Step::Truncate(part) => self.truncate(*part),
            Step::Settle(part) => {
                fixture.barrier();
                model.acknowledge();
                *settled = (*settled).max(model.frames().len() * part / 1_000);
            }
            Step::Trim(part) => {
                let index = model.start().max(*settled * part / 1_000);
                model.trim(index);
                fixture.trim(index as u64, model.offset_before(index)).unwrap();
                // It shares the queue with all before it, unless there was nothing to trim.
                if index > 0 {
                    fixture.barrier();
                    model.acknowledge();
                }
            }
            Step::Mark => {
                fixture.log().mark_if_idle();
                fixture.barrier();
                model.acknowledge();
            }
            Step::Scrub => assert_eq!(fixture.log().scrub().damages, 0, "{:?}", fixture.log().holes()),
            Step::Kill => self.reopen("killed"),
            Step::PowerCut(cut) => {
                fixture.disk.power_cut(*cut);
                self.reopen("after a power cut");
            }
            Step::PowerCutDuring(sizes, cut) => {
                let frames = frames(model, sizes, term);
                model.append(&frames);
                let done = fixture.append_later(frames);
                fixture.disk.power_cut(*cut);
                if wait(&done).is_ok() {
                    model.acknowledge();
                }
                self.reopen("after a power cut during an append");
            }
            Step::PowerCutAfterTruncate(part, cut) => {
                self.truncate(*part);
                let frames = frames(&self.model, &[1, 5], term);
                self.model.append(&frames);
                let done = self.fixture.append_later(frames);
                self.fixture.disk.power_cut(*cut);
                if wait(&done).is_ok() {
                    self.model.acknowledge();
                }
                self.reopen("after a power cut during a truncation");
            }
            Step::FailedSync(sizes, cut) => {
                let frames = frames(model, sizes, term);
                model.append(&frames);
                fixture.fail_syncs();
                fixture.append(frames).unwrap_err();
                fixture.disk.heal_all();
                cut.iter().for_each(|cut| fixture.disk.power_cut(*cut));
                self.reopen("after a failed sync");
            }
            Step::Read(part) => {
                let offset = model.end_offset() * part / 1_000;
                let (frames, _) = fixture.read(ReadStart::Offset(offset), u64::MAX, 400).unwrap();
                let holder = model.kept().iter().position(|frame| frame.next_offset > offset);
                let holder = if offset < model.offset_before(model.start()) { Some(0) } else { holder };
                self.check_read(&frames, holder);
            }
            Step::ReadTime(part) => {
                let all = model.frames();
                let time = all.get(all.len() * *part as usize / 1_000).map_or(1_001, |frame| frame.leader_time_ms);
                let (frames, _) = fixture.read(ReadStart::Time(time), u64::MAX, 400).unwrap();
                let holder = model.kept().iter().position(|frame| frame.leader_time_ms >= time);
                self.check_read(&frames, holder);
            }
        }
    }

    fn check_read(&self, frames: &[Frame], holder: Option<usize>) {
        let expected = holder.map_or(&[][..], |holder| &self.model.kept()[holder..]);
        let found: Vec<_> = frames.iter().map(image).collect();
        assert_eq!(found.is_empty(), expected.is_empty(), "a read finds something if there is something");
        assert!(expected.starts_with(&found), "found {found:#?}, expected {expected:#?}");
    }
}

fn cases() -> u32 {
    std::env::var("QUORATE_MODEL_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(CASES)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases()) })]

    #[test]
    fn a_log_does_what_its_model_does(
        steps in prop::collection::vec(step(), 1..40),
        segment_bytes in 200..2_000_u64,
        cache_bytes in prop_oneof![Just(0_usize), Just(500), Just(2_000)],
        short_reads in prop::option::weighted(0.3, 1..4_u64),
    ) {
        let mut fixture = Fixture::closed(segment_bytes);
        fixture.engine = shared_engine(cache_bytes);
        if let Some(one_in) = short_reads {
            fixture.disk.inject(Filter::on(OperationKind::Read).one_in(one_in), Fault::ShortRead);
        }
        fixture.open().unwrap();
        fixture.options.must_exist = true;
        let mut run = Run { fixture, model: Model::default(), settled: 0 };
        for (at, step) in steps.iter().enumerate() {
            run.step(step, at as u64 + 1);
            prop_assert_eq!(run.fixture.log().next_index(), run.model.frames().len() as u64);
            prop_assert_eq!(run.fixture.log().end_offset(), run.model.end_offset());
        }
        prop_assert_eq!(run.fixture.read_all().unwrap(), run.model.kept());
        run.fixture.disk.power_cut(PowerCut::LoseAll);
        run.reopen("at the end");
    }
}
