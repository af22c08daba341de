//! The rules of all directed links, of which several faults may hold at once.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use super::Rule;

/// Instead of a node's number in a link: all clients.
pub const CLIENTS: u64 = 0;

/// From a node to another, or between a node and the clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Link {
    /// Who sends.
    pub from: u64,
    /// Who receives.
    pub to: u64,
}

/// What a connection needs to know of a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LinkState {
    pub(super) rule: Rule,
    /// Resets so far: a connection older than the last of them ends.
    pub(super) resets: u64,
}

/// The links of a cluster. What is not a link between two of its nodes always passes.
#[derive(Debug)]
pub struct Links {
    states: BTreeMap<Link, watch::Sender<LinkState>>,
    open: watch::Sender<LinkState>,
    /// Rules by the fault that made them.
    faults: Mutex<BTreeMap<u64, Vec<(Link, Rule)>>>,
}

impl Links {
    /// The links between nodes 1 to `nodes`, and between each of them and the clients, all passing.
    #[must_use]
    pub fn new(nodes: u64) -> Self {
        let pairs = (CLIENTS..=nodes).flat_map(|from| (CLIENTS..=nodes).map(move |to| Link { from, to }));
        let states = pairs.filter(|link| link.from != link.to).map(|link| (link, watch::Sender::default())).collect();
        Self { states, open: watch::Sender::default(), faults: Mutex::default() }
    }

    /// Every directed link between nodes.
    pub fn all(&self) -> impl Iterator<Item = Link> {
        self.states.keys().copied().filter(|link| link.from != CLIENTS && link.to != CLIENTS)
    }

    /// Lets rules hold until [`heal`](Self::heal) with the same number.
    pub fn install(&self, fault: u64, rules: Vec<(Link, Rule)>) {
        let mut faults = self.faults();
        faults.insert(fault, rules);
        self.apply(&faults);
    }

    /// Ends the rules of a fault; those of others still hold.
    pub fn heal(&self, fault: u64) {
        let mut faults = self.faults();
        faults.remove(&fault);
        self.apply(&faults);
    }

    /// Resets every connection of which a direction is one of these links.
    pub fn reset(&self, links: &[Link]) {
        for link in links {
            if let Some(state) = self.states.get(link) {
                state.send_modify(|state| state.resets += 1);
            }
        }
    }

    /// The rule that holds on a link now.
    #[must_use]
    pub fn rule(&self, link: Link) -> Rule {
        self.states.get(&link).map_or(Rule::Pass, |state| state.borrow().rule)
    }

    pub(super) fn watch(&self, from: u64, to: u64) -> watch::Receiver<LinkState> {
        self.states.get(&Link { from, to }).unwrap_or(&self.open).subscribe()
    }

    fn faults(&self) -> MutexGuard<'_, BTreeMap<u64, Vec<(Link, Rule)>>> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn apply(&self, faults: &BTreeMap<u64, Vec<(Link, Rule)>>) {
        for (link, state) in &self.states {
            let rules = faults.values().flatten().filter(|(of, _)| of == link).map(|(_, rule)| *rule);
            let rule = rules.max().unwrap_or_default();
            state.send_if_modified(|state| std::mem::replace(&mut state.rule, rule) != rule);
        }
    }
}
