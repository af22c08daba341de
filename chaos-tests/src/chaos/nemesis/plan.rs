//! Which faults come when: a function of the seed.

use std::{collections::BTreeSet, time::Duration};

use quorate_faulty_vfs::SplitMix64;

use super::{NemesisKind, Role};

/// The longest slots are so many times as long as the shortest.
const SLOT_WEIGHT_MAX: u64 = 5;
/// A fault lasts this part of its slot, in percent.
const LASTS_PERCENT: (u64, u64) = (25, 75);
/// One that takes long to do its harm, nearly all of it.
const LASTS_LONG_PERCENT: u64 = 85;
/// How often a second fault comes while the first one lasts: once in so many.
const OVERLAP_ONCE_IN: u64 = 3;

/// How often faults come, and against whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// The time one fault, its healing and the quiet after it take on average, unless there is less for each nemesis.
    pub every: Duration,
    /// The only role that is hit by those kinds that may hit it.
    pub role: Option<Role>,
    /// Whether some come while others last.
    pub overlap: bool,
}

impl Default for Pace {
    fn default() -> Self {
        Self { every: Duration::from_millis(3_500), role: None, overlap: true }
    }
}

/// A fault to inject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its number, from 1.
    pub fault: u64,
    /// When, since faults began.
    pub at: Duration,
    /// How long it holds.
    pub lasts: Duration,
    /// What.
    pub kind: NemesisKind,
    /// Against whom.
    pub role: Role,
    /// Decides which of several that have the role, and what else is left open.
    pub choice: u64,
}

/// The faults of a run, in the order in which they begin. Every kind comes at least once, and all are healed in time.
#[must_use]
pub fn plan(seed: u64, kinds: &[NemesisKind], within: Duration, pace: Pace) -> Vec<Step> {
    if kinds.is_empty() {
        return Vec::new();
    }
    // However they were said, the plan is the same.
    let kinds: &[NemesisKind] = &kinds.iter().copied().collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>();
    let mut random = SplitMix64::stream(seed, 0);
    let slots = (within.as_millis() / pace.every.as_millis().max(1)).max(kinds.len() as u128) as u64;
    let weights: Vec<u64> = (0..slots).map(|_| 1 + random.below(SLOT_WEIGHT_MAX)).collect();
    let unit = within.as_secs_f64() / weights.iter().sum::<u64>() as f64;
    let mut begins = Duration::ZERO;
    let mut steps: Vec<Step> = Vec::new();
    let mut kinds_left = Vec::new();
    for weight in weights {
        let slot = Duration::from_secs_f64(unit * weight as f64);
        if kinds_left.is_empty() {
            kinds_left = shuffled(kinds, &mut random);
        }
        let percent = |percent: u64| slot * percent as u32 / 100;
        let lasts = LASTS_PERCENT.0 + random.below(LASTS_PERCENT.1 - LASTS_PERCENT.0);
        let lasts = match kinds_left.last() {
            Some(NemesisKind::VoteLoss | NemesisKind::Snapshot) => LASTS_LONG_PERCENT,
            _ => lasts,
        };
        let at = random.below(90 - lasts);
        steps
            .extend(kinds_left.pop().map(|kind| step(&mut random, (kind, pace), begins + percent(at), percent(lasts))));
        if random.chance(1, OVERLAP_ONCE_IN) && pace.overlap {
            let kind = kinds[random.below(kinds.len() as u64) as usize];
            let at = at + random.below(lasts);
            let lasts = (95 - at).min(LASTS_PERCENT.0);
            steps.push(step(&mut random, (kind, pace), begins + percent(at), percent(lasts)));
        }
        begins += slot;
    }
    steps.sort_by_key(|step| step.at);
    for (number, step) in (1..).zip(&mut steps) {
        step.fault = number;
    }
    steps
}

fn step(random: &mut SplitMix64, (kind, pace): (NemesisKind, Pace), at: Duration, lasts: Duration) -> Step {
    let roles = kind.roles();
    let drawn = roles[random.below(roles.len() as u64) as usize];
    let role = pace.role.filter(|role| roles.contains(role)).unwrap_or(drawn);
    Step { fault: 0, at, lasts, kind, role, choice: random.next_number() }
}

/// Fisher and Yates.
fn shuffled(kinds: &[NemesisKind], random: &mut SplitMix64) -> Vec<NemesisKind> {
    let mut kinds = kinds.to_vec();
    for end in (1..kinds.len()).rev() {
        kinds.swap(end, random.below(end as u64 + 1) as usize);
    }
    kinds
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(seed: u64, kinds: &[NemesisKind], within: Duration) -> Vec<Step> {
        super::plan(seed, kinds, within, Pace::default())
    }

    #[test]
    fn a_seed_gives_one_plan_that_has_every_kind_and_ends_in_time() {
        for seed in 0..200 {
            let within = Duration::from_secs(5 + seed % 60);
            let plan = plan(seed, &NemesisKind::ALL, within);
            assert_eq!(plan, self::plan(seed, &NemesisKind::ALL, within));
            assert!(plan.is_sorted_by_key(|step| step.at));
            for kind in NemesisKind::ALL {
                assert!(plan.iter().any(|step| step.kind == kind), "seed {seed}: {kind} is missing");
            }
            for step in &plan {
                let in_time = step.at + step.lasts <= within + Duration::from_micros(1);
                assert!(in_time && !step.lasts.is_zero(), "seed {seed}: {step:?}");
                assert!(step.kind.roles().contains(&step.role));
            }
        }
        assert_ne!(
            plan(1, &NemesisKind::ALL, Duration::from_secs(30)),
            plan(2, &NemesisKind::ALL, Duration::from_secs(30))
        );
        assert!(plan(1, &[], Duration::from_secs(30)).is_empty());
    }

    #[test]
    fn every_role_is_hit_by_some_seed() {
        for kind in NemesisKind::ALL {
            for role in kind.roles() {
                let hit = |seed| plan(seed, &[kind], Duration::from_secs(9)).iter().any(|step| step.role == *role);
                assert!((0..100).any(hit), "{kind} never hits {role:?}");
            }
        }
    }

    #[test]
    fn faults_come_as_often_and_against_whom_they_are_to() {
        let pace = Pace { every: Duration::from_millis(500), role: Some(Role::Follower), ..Pace::default() };
        let kinds = [NemesisKind::Kill, NemesisKind::Split];
        let plan = super::plan(1, &kinds, Duration::from_secs(50), pace);
        assert!(plan.len() >= 100, "{}", plan.len());
        let roles = |kind| plan.iter().filter(move |step| step.kind == kind).map(|step| step.role);
        assert!(roles(NemesisKind::Kill).all(|role| role == Role::Follower));
        assert!(roles(NemesisKind::Split).all(|role| role == Role::All), "it hits nobody else");
    }
}
