//! Random appends, votes, truncations, crashes and reads against a model.

use proptest::prelude::*;
use quorate_log_engine::{Frame, ReadStart, TailCache};

use crate::support::{Fixture, Model, PowerCut, batch, command, image, wait};

#[derive(Clone, Debug)]
enum Step {
    /// The size of each entry; 0 is a rejected batch, above 4 a command.
    Append(Vec<u64>),
    Vote,
    /// To how many thousandths of the entries.
    Truncate(usize),
    Mark,
    Kill,
    PowerCut(PowerCut),
    /// The power fails while an append is under way.
    PowerCutDuring(Vec<u64>, PowerCut),
    /// At how many thousandths of the offsets.
    Read(u64),
}

fn cut() -> impl Strategy<Value = PowerCut> {
    prop_oneof![Just(PowerCut::LoseAll), Just(PowerCut::TearLast), any::<u64>().prop_map(PowerCut::KeepSome)]
}

fn step() -> impl Strategy<Value = Step> {
    let sizes = || prop::collection::vec(0..8_u64, 0..5);
    prop_oneof![
        6 => sizes().prop_map(Step::Append),
        2 => Just(Step::Vote),
        2 => (0..1_000_usize).prop_map(Step::Truncate),
        1 => Just(Step::Mark),
        1 => Just(Step::Kill),
        1 => cut().prop_map(Step::PowerCut),
        1 => (sizes(), cut()).prop_map(|(sizes, cut)| Step::PowerCutDuring(sizes, cut)),
        3 => (0..1_000_u64).prop_map(Step::Read),
    ]
}

fn frames(model: &Model, sizes: &[u64], term: u64) -> Vec<Frame> {
    let mut offset = model.end_offset();
    let frame = |(at, size): (usize, &u64)| {
        let index = (model.frames().len() + at) as u64;
        let frame = match size {
            0 => batch(term, index, offset, 1, false),
            1..=4 => batch(term, index, offset, *size, true),
            _ => command(term, index, offset, &"command ".repeat(*size as usize)),
        };
        offset = frame.next_offset;
        frame
    };
    sizes.iter().enumerate().map(frame).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn a_log_does_what_its_model_does(
        steps in prop::collection::vec(step(), 1..40),
        segment_bytes in 200..2_000_u64,
        cache_bytes in prop_oneof![Just(0_usize), 100..2_000_usize],
    ) {
        let (mut fixture, mut model) = (Fixture::closed(segment_bytes), Model::default());
        fixture.cache = TailCache::new(cache_bytes);
        fixture.open().unwrap();
        fixture.options.must_exist = true;
        for (at, step) in steps.iter().enumerate() {
            let term = at as u64 + 1;
            match step {
                Step::Append(sizes) => {
                    let frames = frames(&model, sizes, term);
                    model.append(&frames);
                    fixture.append(frames).unwrap();
                    model.acknowledge();
                }
                Step::Vote => {
                    fixture.vote(model.vote(), 1).unwrap();
                    model.acknowledge();
                }
                Step::Truncate(part) => {
                    let length = model.frames().len() * part / 1_000;
                    model.truncate(length);
                    fixture.log().truncate_after((length as u64).checked_sub(1)).unwrap();
                }
                Step::Mark => {
                    fixture.log().mark_if_idle();
                    fixture.barrier();
                    model.acknowledge();
                }
                Step::Kill => {
                    fixture.open().unwrap();
                    model.check_opened(&fixture, "killed");
                }
                Step::PowerCut(cut) => {
                    fixture.power_cut_and_open(*cut).unwrap();
                    model.check_opened(&fixture, "after a power cut");
                }
                Step::PowerCutDuring(sizes, cut) => {
                    let frames = frames(&model, sizes, term);
                    model.append(&frames);
                    let done = fixture.append_later(frames);
                    fixture.disk.power_cut(*cut);
                    if wait(&done).is_ok() {
                        model.acknowledge();
                    }
                    fixture.open().unwrap();
                    model.check_opened(&fixture, "after a power cut during an append");
                }
                Step::Read(part) => {
                    let offset = model.end_offset() * part / 1_000;
                    let (frames, _) = fixture.read(ReadStart::Offset(offset), u64::MAX, 400).unwrap();
                    let holder = model.frames().iter().position(|frame| frame.next_offset > offset);
                    let expected = holder.map_or(&[][..], |holder| &model.frames()[holder..]);
                    prop_assert!(frames.is_empty() == expected.is_empty());
                    prop_assert!(expected.starts_with(&frames.iter().map(image).collect::<Vec<_>>()));
                }
            }
            prop_assert_eq!(fixture.log().next_index(), model.frames().len() as u64);
            prop_assert_eq!(fixture.log().end_offset(), model.end_offset());
        }
        prop_assert_eq!(fixture.read_all().unwrap(), model.frames());
        fixture.power_cut_and_open(PowerCut::LoseAll).unwrap();
        model.check_opened(&fixture, "at the end");
    }
}
