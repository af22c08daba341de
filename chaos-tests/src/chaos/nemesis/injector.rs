//! Injects and heals the faults of a plan.
//!
//! Faults may overlap. A process belongs to the fault that hit it last: a kill takes over a paused one, and a fault that
//! has lost its process to another does not touch it when it is healed.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use tokio::time::sleep_until;

use super::{Action, Entry, Observer, State, Step, aim};
use crate::{
    chaos::{cluster::ChaosCluster, defects::Defects},
    harness::{Node, NodeKind},
    history::Recorder,
};

/// Roles seen longer ago may have passed on.
const ROLES_AGE_MAX: Duration = Duration::from_secs(2);
/// How often connections are reset while a reset lasts.
const RESET_EVERY: Duration = Duration::from_millis(250);
/// How long syncs are held before a power cut, at most.
const SYNC_HELD_MS_MAX: u64 = 200;

/// What holds a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    Killed,
    Paused,
}

/// Injects faults into a cluster.
#[derive(Debug)]
pub(in crate::chaos) struct Injector<'a> {
    cluster: &'a mut ChaosCluster,
    observer: &'a Observer,
    recorder: &'a Recorder,
    defects: &'a Defects,
    /// By node: which fault holds its process, and how.
    held: BTreeMap<u64, (u64, Held)>,
    in_force: BTreeMap<u64, Action>,
    journal: Vec<Entry>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Heal,
    Install,
    ResetAgain,
}

impl<'a> Injector<'a> {
    pub(in crate::chaos) fn new(
        cluster: &'a mut ChaosCluster,
        observer: &'a Observer,
        recorder: &'a Recorder,
        defects: &'a Defects,
    ) -> Self {
        let (held, in_force) = (BTreeMap::new(), BTreeMap::new());
        Self { cluster, observer, recorder, defects, held, in_force, journal: Vec::new() }
    }

    /// Runs the plan to its end, or until the history is full, and heals everything. What was done is in `journal`.
    pub(in crate::chaos) async fn run(mut self, plan: &[Step]) -> Vec<Entry> {
        let mut events: Vec<(Duration, Event, &Step)> = Vec::new();
        for step in plan {
            events.push((step.at, Event::Install, step));
            events.push((step.at + step.lasts, Event::Heal, step));
            let again = (1..).map(|time| step.at + RESET_EVERY * time).take_while(|at| *at < step.at + step.lasts);
            events.extend(again.map(|at| (at, Event::ResetAgain, step)));
        }
        events.sort_by_key(|(at, event, step)| (*at, *event, step.fault));
        let began = Instant::now();
        for (at, event, step) in events {
            if self.recorder.is_full() {
                tracing::warn!("the history is full: no more faults");
                break;
            }
            sleep_until((began + at).into()).await;
            self.find_crashes();
            match event {
                Event::Install => self.install(step).await,
                Event::Heal => self.heal(step),
                Event::ResetAgain => {
                    if let Some(Action::Reset(links)) = self.in_force.get(&step.fault) {
                        self.cluster.links.reset(links);
                    }
                }
            }
        }
        for step in plan {
            self.heal(step);
        }
        self.journal
    }

    async fn install(&mut self, step: &Step) {
        let (roles, age) = self.observer.roles(self.cluster.nodes.len() as u64);
        let installed = match aim(step, &roles) {
            Ok(Action::Kill(nodes)) => self.kill(step, &nodes).await.map(Action::Kill),
            Ok(Action::Pause(nodes)) => self.pause(step.fault, &nodes).map(Action::Pause),
            Ok(Action::Links(links)) => {
                self.cluster.links.install(step.fault, links.clone());
                Ok(Action::Links(links))
            }
            Ok(Action::Reset(links)) => {
                self.cluster.links.reset(&links);
                Ok(Action::Reset(links))
            }
            Err(why) => Err(why),
        };
        match installed {
            Ok(action) => {
                let certain = age <= ROLES_AGE_MAX || step.role.is_fixed();
                let state = if certain { State::Installed } else { State::Indeterminate };
                self.log(step, state, format!("{action}; roles seen {} ms ago", age.as_millis()));
                self.in_force.insert(step.fault, action);
            }
            Err(why) => self.log(step, State::Skipped, why),
        }
    }

    /// All at once, so that none of them can do what the others had no time for. Where a kill is a power cut, syncs are
    /// held for a moment before, as by a slow disk: what is acknowledged meanwhile must not depend on them.
    async fn kill(&mut self, step: &Step, nodes: &[u64]) -> Result<Vec<u64>, String> {
        let hit = self.take(step.fault, Held::Killed, nodes, |held| held != Some(Held::Killed))?;
        let at: Vec<usize> = hit.iter().map(|number| *number as usize - 1).collect();
        let nodes = &mut self.cluster.nodes;
        let power_loss = |node: &Node| node.kind == NodeKind::PowerLoss;
        at.iter().map(|at| &nodes[*at]).filter(|node| power_loss(node)).for_each(|node| node.hold_sync(true));
        if at.iter().any(|at| power_loss(&nodes[*at])) {
            tokio::time::sleep(Duration::from_millis(step.choice % SYNC_HELD_MS_MAX)).await;
        }
        at.iter().for_each(|at| nodes[*at].begin_to_kill());
        at.iter().for_each(|at| nodes[*at].kill_9());
        at.iter().map(|at| &nodes[*at]).filter(|node| power_loss(node)).for_each(|node| node.hold_sync(false));
        Ok(hit)
    }

    fn pause(&mut self, fault: u64, nodes: &[u64]) -> Result<Vec<u64>, String> {
        let hit = self.take(fault, Held::Paused, nodes, |held| held.is_none())?;
        hit.iter().for_each(|number| self.cluster.nodes[*number as usize - 1].pause());
        Ok(hit)
    }

    /// Makes the processes of those nodes that `may` be taken the fault's.
    fn take(
        &mut self,
        fault: u64,
        how: Held,
        nodes: &[u64],
        may: impl Fn(Option<Held>) -> bool,
    ) -> Result<Vec<u64>, String> {
        let held = |number: &u64| self.held.get(number).map(|(_, held)| *held);
        let hit: Vec<u64> = nodes.iter().copied().filter(|number| may(held(number))).collect();
        if hit.is_empty() {
            return Err(format!("another fault holds {nodes:?}"));
        }
        self.held.extend(hit.iter().map(|number| (*number, (fault, how))));
        Ok(hit)
    }

    fn heal(&mut self, step: &Step) {
        let Some(action) = self.in_force.remove(&step.fault) else { return };
        if let Action::Links(_) = action {
            self.cluster.links.heal(step.fault);
        }
        let ours: Vec<(u64, Held)> =
            self.held.iter().filter(|(_, (by, _))| *by == step.fault).map(|(node, (_, held))| (*node, *held)).collect();
        for (number, held) in ours {
            self.held.remove(&number);
            let node = &mut self.cluster.nodes[number as usize - 1];
            match held {
                Held::Killed => node.start(),
                Held::Paused => node.resume(),
            }
        }
        self.log(step, State::Healed, action.to_string());
    }

    /// A process that ended although nobody killed it. It is started again, for the run to go on.
    fn find_crashes(&mut self) {
        for (number, node) in (1..).zip(&mut self.cluster.nodes) {
            if let Some(status) = node.ended_by_itself() {
                self.defects.add(format!("node {number} ended by itself with {status}: {}", node.log_tail()));
                node.kill_9();
                self.held.remove(&number);
                node.start();
            }
        }
    }

    fn log(&mut self, step: &Step, state: State, detail: String) {
        let Step { fault, kind, role, .. } = *step;
        tracing::info!(fault, %kind, ?role, ?state, detail);
        self.journal.push(Entry { at_ns: self.recorder.now_ns(), fault, kind, role, state, detail });
    }
}
