//! Injects and heals the faults of a plan.
//!
//! Faults may overlap. A process belongs to the fault that hit it last: a kill takes over a paused one, and a fault that
//! has lost its process to another does not touch it when it is healed.

mod damage;
mod deletion;
mod membership;
mod vote_loss;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use quorate::{Client, PartitionId, ReplicaId, ReplicaRole};
use tokio::time::sleep_until;

use super::{Action, Entry, NemesisKind, Observer, Role, State, Step, aim};
use crate::{
    chaos::{
        cluster::{ChaosCluster, connect},
        defects::Defects,
    },
    harness::{Node, NodeKind},
    history::Recorder,
    node_faults::NodeFaults,
};
use membership::Owed;

/// Roles seen longer ago may have passed on.
const ROLES_AGE_MAX: Duration = Duration::from_secs(2);
/// How often connections are reset while a reset lasts.
const RESET_EVERY: Duration = Duration::from_millis(250);
/// How long syncs are held before a power cut, at most.
const SYNC_HELD_MS_MAX: u64 = 200;
/// How long it is tried in the end to install a kind of fault, and how long each then lasts.
const CATCH_UP_MAX: Duration = Duration::from_secs(15);
const CATCH_UP_LASTS_MAX: Duration = Duration::from_secs(2);
/// With so many replicas of a node in doubt, none is damaged: of more than three, and a tenth of all it has, none is replaced.
const DOUBTED_MAX: usize = 2;
/// How long a process is paused before it is killed, at most.
const PAUSE_BEFORE_KILL_MAX: Duration = Duration::from_secs(2);
/// What the cluster is asked to do is tried for so long at a time.
const ADMIN_TIMEOUT: Duration = Duration::from_secs(3);

/// What was done to a cluster.
#[derive(Debug)]
pub(in crate::chaos) struct Injected {
    pub(in crate::chaos) journal: Vec<Entry>,
    /// Nodes whose files were altered.
    pub(in crate::chaos) damaged: BTreeSet<u64>,
    /// Nodes whose reads, writes or syncs have failed.
    pub(in crate::chaos) failed: BTreeSet<u64>,
}

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
    /// By fault: what is wrong with disks and clocks.
    node_faults: BTreeMap<u64, (Vec<u64>, NodeFaults)>,
    admin: Client,
    /// The nodes that are part of the cluster.
    members: BTreeSet<u64>,
    /// Those of them that are about to leave, and end by themselves.
    leaving: BTreeSet<u64>,
    /// The one of them whose disk is bad.
    bad_disk: u64,
    /// Nodes whose files were altered.
    damaged: BTreeSet<u64>,
    /// Nodes whose reads, writes or syncs have failed.
    failed: BTreeSet<u64>,
    /// By node and partition: the replica whose files were altered.
    altered: BTreeMap<(u64, PartitionId), ReplicaId>,
    /// By fault: the node that has joined.
    grown: BTreeMap<u64, u64>,
    /// What the cluster is still to be asked for.
    owed: Vec<Owed>,
    journal: Vec<Entry>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Heal,
    Install,
    ResetAgain,
}

impl<'a> Injector<'a> {
    pub(in crate::chaos) async fn new(
        cluster: &'a mut ChaosCluster,
        observer: &'a Observer,
        recorder: &'a Recorder,
        defects: &'a Defects,
    ) -> Result<Self, String> {
        let members: BTreeSet<u64> = (1..=cluster.nodes.len() as u64).collect();
        Ok(Self {
            admin: connect(&cluster.servers(), ADMIN_TIMEOUT).await?,
            bad_disk: members.last().copied().unwrap_or_default(),
            members,
            leaving: BTreeSet::new(),
            cluster,
            observer,
            recorder,
            defects,
            held: BTreeMap::new(),
            in_force: BTreeMap::new(),
            node_faults: BTreeMap::new(),
            damaged: BTreeSet::new(),
            failed: BTreeSet::new(),
            altered: BTreeMap::new(),
            grown: BTreeMap::new(),
            owed: Vec::new(),
            journal: Vec::new(),
        })
    }

    /// Runs the plan to its end, or until the history is full, and heals everything.
    pub(in crate::chaos) async fn run(mut self, plan: &[Step]) -> Injected {
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
                Event::Install => {
                    let _ = self.pay(Duration::ZERO).await;
                    self.install(step).await;
                }
                Event::Heal => self.heal(step),
                Event::ResetAgain => {
                    if let Some(Action::Reset(links)) = self.in_force.get(&step.fault) {
                        let _ = self.cluster.reset(links);
                    }
                }
            }
        }
        for step in plan {
            self.heal(step);
        }
        self.catch_up(plan).await;
        if let Err(why) = self.pay(membership::PAY_MAX).await {
            self.defects.add(format!("a healed cluster does not do what it is asked: {why}"));
        }
        Injected { journal: self.journal, damaged: self.damaged, failed: self.failed }
    }

    /// What could not be installed at its time, each kind of it once: a log may have been too short to be damaged, or nobody known
    /// to lead.
    async fn catch_up(&mut self, plan: &[Step]) {
        let mut kinds: Vec<NemesisKind> = plan.iter().map(|step| step.kind).collect();
        kinds.sort_unstable();
        kinds.dedup();
        for kind in kinds {
            let was_installed =
                |journal: &[Entry]| journal.iter().any(|entry| entry.kind == kind && entry.state == State::Installed);
            let Some(step) = plan.iter().find(|step| step.kind == kind) else { continue };
            if !was_installed(&self.journal) {
                let _ = self.pay(membership::PAY_MAX).await;
            }
            let deadline = Instant::now() + CATCH_UP_MAX;
            while !was_installed(&self.journal) && !self.recorder.is_full() && Instant::now() < deadline {
                self.find_crashes();
                let _ = self.pay(CATCH_UP_MAX).await;
                self.install(step).await;
                tokio::time::sleep(step.lasts.min(CATCH_UP_LASTS_MAX)).await;
                self.heal(step);
            }
        }
    }

    async fn install(&mut self, step: &Step) {
        let (roles, age) = self.observer.roles(&self.members, self.bad_disk);
        // Much of the harm may be done before all of it is.
        let began_ns = self.recorder.now_ns();
        let installed = match aim(step, &roles) {
            Ok(_) if step.role == Role::BadDisk && !self.members.contains(&self.bad_disk) => {
                Err(format!("node {}, which has the bad disk, is being replaced", self.bad_disk))
            }
            Ok(action) => self.act(step, action).await,
            Err(why) => Err(why),
        };
        match installed {
            Ok(action) => {
                let certain = age <= ROLES_AGE_MAX || step.role.is_fixed();
                let state = if certain { State::Installed } else { State::Indeterminate };
                self.log_at(began_ns, step, state, format!("{action}; roles seen {} ms ago", age.as_millis()));
                self.in_force.insert(step.fault, action);
            }
            Err(why) => self.log(step, State::Skipped, why),
        }
    }

    /// Does it, as far as other faults let it; returns what was done.
    async fn act(&mut self, step: &Step, action: Action) -> Result<Action, String> {
        let fault = step.fault;
        Ok(match action.clone() {
            Action::Kill(nodes) => Action::Kill(self.kill(step, &nodes).await?),
            Action::Pause(nodes) => Action::Pause(self.pause(fault, &nodes)?),
            Action::PauseKill(nodes) => {
                let hit = self.take(fault, Held::Killed, &nodes, |held| held.is_none())?;
                hit.iter().for_each(|number| self.node(*number).pause());
                tokio::time::sleep((step.lasts / 2).min(PAUSE_BEFORE_KILL_MAX)).await;
                hit.iter().for_each(|number| self.node(*number).kill_9());
                Action::PauseKill(hit)
            }
            Action::Stop(nodes) => {
                let hit = self.take(fault, Held::Killed, &nodes, |held| held.is_none())?;
                for number in &hit {
                    self.stop(*number).await;
                }
                Action::Stop(hit)
            }
            Action::Rolling(nodes) => self.roll(fault, &nodes).await?,
            Action::Links(links) => {
                self.cluster.break_links(fault, links.clone())?;
                Action::Links(links)
            }
            Action::Reset(links) => {
                self.cluster.reset(&links)?;
                Action::Reset(links)
            }
            Action::Faults(nodes, faults) => {
                if faults.disk_fails() {
                    self.failed.extend(&nodes);
                }
                self.node_faults.insert(fault, (nodes.clone(), faults));
                self.apply_node_faults(&nodes);
                Action::Faults(nodes, faults)
            }
            Action::Damage(node) => {
                let mut replicas = self.replicas_on(node).await?;
                // With more of them in doubt at once the whole disk is, and none is replaced.
                // Also those count of which nobody has found out yet.
                let altered = |partition| self.altered.get(&(node, partition));
                let bad = replicas.iter().filter(|(partition, replica, role)| {
                    *role == ReplicaRole::Failed || altered(*partition) == Some(replica)
                });
                let bad = bad.count();
                if bad >= DOUBTED_MAX {
                    return Err(format!("{bad} replicas of node {node} that were damaged are still there"));
                }
                // A partition is replaced on the same node once an hour only.
                replicas.retain(|(partition, ..)| !self.altered.contains_key(&(node, *partition)));
                self.take(fault, Held::Killed, &[node], |held| held.is_none())?;
                self.node(node).kill_9();
                let count = replicas.len().max(1);
                replicas.rotate_left(step.choice as usize % count);
                let data_dir = self.node(node).data_dir.clone();
                let altered = replicas.iter().find_map(|(partition, replica, _)| {
                    damage::alter(&data_dir, *replica, step.choice)
                        .inspect_err(|why| tracing::debug!(why, "not damaged"))
                        .map(|cut_off| (*partition, *replica, cut_off))
                        .ok()
                });
                let Some((partition, replica, cut_off)) = altered else {
                    self.release(fault);
                    return Err("no log is long enough".to_owned());
                };
                if cut_off {
                    let what = format!("damage to the log of replica {} on node {node}", replica.0);
                    self.defects
                        .add(format!("{what} is taken for a torn write: what was on stable storage is cut off"));
                }
                self.altered.insert((node, partition), replica);
                self.damaged.insert(node);
                Action::Damage(node)
            }
            Action::Drain(node) => self.drain(node).await?,
            Action::Grow => {
                let number = self.grow().await?;
                self.grown.insert(fault, number);
                Action::Grow
            }
            Action::Replace(node) => self.lose(node)?,
            Action::Wipe(node) => self.wipe(node).await?,
            Action::Trim(choice) => {
                self.trim(choice).await?;
                action
            }
            Action::Snapshot(node, cut) => {
                self.cluster.break_links(fault, cut)?;
                if let Err(why) = self.trim_all(node).await {
                    self.heal_links(fault);
                    return Err(why);
                }
                action
            }
            Action::VoteLoss { leader, voter, elected } => {
                self.lose_vote(fault, leader, voter, &elected).await?;
                action
            }
        })
    }

    fn node(&mut self, number: u64) -> &mut Node {
        &mut self.cluster.nodes[number as usize - 1]
    }

    async fn stop(&mut self, number: u64) {
        if let Err(why) = self.node(number).try_stop().await {
            self.defects.add(format!("node {number} was asked to stop: {why}"));
        }
    }

    /// One after the other, each once the one before answers again.
    async fn roll(&mut self, fault: u64, nodes: &[u64]) -> Result<Action, String> {
        let mut rolled = Vec::new();
        for number in nodes {
            let Ok(_) = self.take(fault, Held::Killed, &[*number], |held| held.is_none()) else { continue };
            self.stop(*number).await;
            self.release(fault);
            self.back(*number).await;
            rolled.push(*number);
        }
        if rolled.is_empty() { Err("other faults hold all nodes".to_owned()) } else { Ok(Action::Rolling(rolled)) }
    }

    /// Lets what holds now of disks and clocks hold on these nodes.
    fn apply_node_faults(&mut self, nodes: &[u64]) {
        for number in nodes.iter().filter(|number| self.members.contains(number)) {
            let of_node = self.node_faults.values().filter(|(nodes, _)| nodes.contains(number));
            let faults = of_node.map(|(_, faults)| *faults).fold(NodeFaults::default(), NodeFaults::and);
            // One that has just been started makes its directory itself.
            let node = &self.cluster.nodes[*number as usize - 1];
            if node.data_dir.exists() {
                node.set_faults(faults);
            }
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
        let runs =
            |number: &u64| self.members.contains(number) && self.cluster.nodes[*number as usize - 1].is_running();
        let hit: Vec<u64> = nodes.iter().copied().filter(|number| may(held(number)) && runs(number)).collect();
        if hit.is_empty() {
            return Err(format!("another fault holds {nodes:?}"));
        }
        self.held.extend(hit.iter().map(|number| (*number, (fault, how))));
        Ok(hit)
    }

    fn heal(&mut self, step: &Step) {
        let Some(action) = self.in_force.remove(&step.fault) else { return };
        match &action {
            Action::Links(_) | Action::VoteLoss { .. } | Action::Snapshot(..) => self.heal_links(step.fault),
            Action::Faults(nodes, faults) => {
                self.node_faults.remove(&step.fault);
                self.apply_node_faults(nodes);
                // A replica takes nothing more after a failed write or sync: who has mended the disk restarts the node.
                if faults.disk_fails() {
                    self.restart(nodes);
                }
            }
            Action::Drain(node) => self.owed.push(Owed::Undrain(*node)),
            Action::Grow => self.owed.extend(self.grown.remove(&step.fault).map(Owed::Remove)),
            _ => {}
        }
        self.release(step.fault);
        self.log(step, State::Healed, action.to_string());
    }

    fn heal_links(&mut self, fault: u64) {
        if let Err(why) = self.cluster.heal(fault) {
            self.defects.add(format!("links cannot be healed: {why}"));
        }
    }

    /// Kills processes and starts them again, but for those that another fault has killed and will start.
    fn restart(&mut self, nodes: &[u64]) {
        for number in nodes.iter().filter(|number| self.members.contains(number)) {
            if self.held.get(number).is_none_or(|(_, held)| *held == Held::Paused) {
                self.held.remove(number);
                let node = &mut self.cluster.nodes[*number as usize - 1];
                node.kill_9();
                node.start();
            }
        }
    }

    /// Lets the processes go on that the fault holds.
    fn release(&mut self, fault: u64) {
        let ours: Vec<(u64, Held)> =
            self.held.iter().filter(|(_, (by, _))| *by == fault).map(|(node, (_, held))| (*node, *held)).collect();
        for (number, held) in ours {
            self.held.remove(&number);
            match held {
                Held::Killed if self.members.contains(&number) => self.node(number).start(),
                Held::Killed => {}
                Held::Paused => self.node(number).resume(),
            }
        }
    }

    /// A process that ended although nobody killed it. It is started again, for the run to go on. One whose disk fails may end,
    /// and is started once the disk is mended; one that has left the cluster ends, too.
    fn find_crashes(&mut self) {
        for number in self.members.clone() {
            let failing = |(nodes, faults): &(Vec<u64>, NodeFaults)| nodes.contains(&number) && faults.disk_fails();
            let failing = self.node_faults.values().any(failing);
            let may_end = failing || self.leaving.contains(&number);
            let node = self.node(number);
            let Some(status) = node.ended_by_itself() else { continue };
            let last_line = node.log_tail().lines().last().unwrap_or_default().to_owned();
            node.kill_9();
            if may_end && status.code().is_some() {
                tracing::info!(number, last_line, "a node with a failing disk, or one that leaves, has ended");
                continue;
            }
            node.start();
            self.held.remove(&number);
            self.defects.add(format!("node {number} ended by itself with {status}: {last_line}"));
        }
    }

    fn log(&mut self, step: &Step, state: State, detail: String) {
        self.log_at(self.recorder.now_ns(), step, state, detail);
    }

    fn log_at(&mut self, at_ns: u64, step: &Step, state: State, detail: String) {
        let Step { fault, kind, role, .. } = *step;
        tracing::info!(fault, %kind, ?role, ?state, detail);
        self.journal.push(Entry { at_ns, fault, kind, role, state, detail });
    }
}
