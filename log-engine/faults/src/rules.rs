//! The faults that are scheduled, and which of them strike an operation.

use std::{path::Path, time::Duration};

use crate::{
    fault::{DELAY_MAX, Fault},
    filter::{Filter, OperationKind},
    random::SplitMix64,
};

/// A fault that is scheduled on a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FaultId(usize);

#[derive(Debug)]
struct Rule {
    filter: Filter,
    fault: Fault,
    random: SplitMix64,
    /// Operations so far whose kind and path matched.
    matched: u64,
    struck: u64,
    healed: bool,
}

/// In the order in which they were scheduled: of those that strike together, the first one decides.
#[derive(Debug, Default)]
pub(crate) struct Rules(Vec<Rule>);

/// What strikes one operation.
#[derive(Debug, Default)]
pub(crate) struct Strike {
    pub(crate) delay: Duration,
    pub(crate) fault: Option<Fault>,
    /// For what the fault leaves to chance.
    pub(crate) random: u64,
}

impl Rules {
    pub(crate) fn add(&mut self, mut filter: Filter, fault: Fault) -> FaultId {
        filter.kinds = filter.kinds.and(fault.kinds());
        assert!(!filter.kinds.is_empty(), "{fault:?} cannot strike any operation of this filter");
        assert!(filter.one_in > 0, "one in zero operations is none");
        if let Fault::Slow { min, max } = fault {
            assert!(min <= max && max <= DELAY_MAX, "a delay between {min:?} and {max:?}");
        }
        let random = SplitMix64::new(filter.seed);
        self.0.push(Rule { filter, fault, random, matched: 0, struck: 0, healed: false });
        FaultId(self.0.len() - 1)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn struck(&self, fault: FaultId) -> u64 {
        self.0[fault.0].struck
    }

    pub(crate) fn heal(&mut self, fault: FaultId) {
        self.0[fault.0].healed = true;
    }

    pub(crate) fn heal_all(&mut self) {
        self.0.iter_mut().for_each(|rule| rule.healed = true);
    }

    /// Counts the operation, and says what strikes it.
    pub(crate) fn strike(&mut self, kind: OperationKind, paths: [&Path; 2]) -> Strike {
        let mut strike = Strike::default();
        for rule in self.0.iter_mut().filter(|rule| !rule.healed && rule.filter.matches(kind, paths)) {
            rule.matched += 1;
            // Each decision draws a number, whoever else strikes: one fault does not change what another does.
            let strikes = rule.random.chance(1, rule.filter.one_in);
            let random = rule.random.next_number();
            if !strikes || !rule.filter.occurrences.contains(&(rule.matched - 1)) {
                continue;
            }
            match rule.fault {
                Fault::Slow { min, max } => strike.delay += between(min, max, random),
                _ if strike.fault.is_some() => continue,
                fault => (strike.fault, strike.random) = (Some(fault), random),
            }
            rule.struck += 1;
        }
        strike
    }
}

fn between(min: Duration, max: Duration, random: u64) -> Duration {
    let range = (max - min).as_nanos() as u64;
    min + Duration::from_nanos(SplitMix64::new(random).below(range + 1))
}
