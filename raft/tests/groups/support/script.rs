//! Runs a scenario written down as text: a line `> command` each, and behind it what came of it. `UPDATE=1` writes
//! what came; read the difference before you keep it.
//!
//! Nodes are named by their part, since nobody knows who will be elected: `elect` makes A the leader, B and C the
//! others; `elect B C D` makes L the leader among these, F and G the others.
//!
//! | command | |
//! |---|---|
//! | `append N P S COUNT [if OFFSET]` | producer P appends COUNT records from sequence S on, at node N |
//! | `start T N P S COUNT`, `finish T` | the same, in two steps |
//! | `read N…` | what these nodes serve |
//! | `start-end T N`, `finish-end T` | a linearizable read of the end offset at node N, in two steps |
//! | `settle` | waits until all running nodes hold and have committed the same |
//! | `mark N…` | the tick of once a second, and a flush of the store |
//! | `crash N…`, `restart N…` | power is lost and comes back |
//! | `hold-sync N…`, `release-sync N…` | `fdatasync` waits |
//! | `cut N M`, `hold N>M`, `heal` | faults of links |
//! | `trickle N>M COUNT` | of what is held, so many messages pass, one after the other |
//! | `written N P S COUNT` | waits until that batch is in the node's log, synced or not |
//! | `segment-bytes BYTES` | first of all: how long a segment may become |
//! | `trim N OFFSET` | deletes the records before, at leader N |
//! | `purged N…` | ticks until the node's log begins behind its first entry |
//! | `join`, `learn N` | a fourth node D with an empty replica; leader N makes it a learner |
//! | `step N STEP +D -M` | leader N is asked for a step of replacing M's replica by D's; either may be left out |
//! | `try N STEP +D -M` | the same, whatever comes of it |
//! | `drive STEP +D -M` | the same, of whoever leads, until it is done |
//! | `members N` | as N knows them |
//! | `transfer N M` | N hands leadership over to M |
//! | `expire N` | leader N forgets all producers that were idle for a millisecond |
//! | `remember`, `undisturbed N…` | the leader and its term; still the same to all of these nodes after many election timeouts |
//! | `fill-disk N…`, `empty-disk N…` | the room on the disk is below, or above, what is kept free |

use std::{collections::BTreeMap, fmt::Write, path::PathBuf, time::Duration};

use quorate_cluster_config::NodeId;
use quorate_raft::{
    AppendError, AppendTicket, Members, ProposeError, Replacement, ReplacementStep, StepError, StepProgress,
};
use quorate_record::BatchHeader;
use tokio::task::JoinHandle;

use super::cluster::{PARTITION, Setup, TestCluster, batch, eventually, replica_of};

/// How long one command may take: longer than anything within it may.
const STEP_TIME_MAX: Duration = Duration::from_secs(7);

/// Some election timeouts.
const UNDISTURBED: Duration = Duration::from_millis(1500);

/// Long enough for a replica to act on a message before it gets the next one.
const TRICKLE_PAUSE: Duration = Duration::from_millis(20);

struct Runner {
    cluster: TestCluster,
    names: BTreeMap<String, NodeId>,
    started: BTreeMap<String, AppendTicket>,
    ends: BTreeMap<String, JoinHandle<Result<u64, ProposeError>>>,
    /// The leader and its term, as they were.
    remembered: Option<(NodeId, u64)>,
}

/// Runs `tests/groups/scripts/NAME.txt` and compares.
pub(crate) async fn run(name: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/groups/scripts").join(name).with_extension("txt");
    let script = std::fs::read_to_string(&path).unwrap();
    let segment_bytes = script.lines().find_map(|line| line.strip_prefix("> segment-bytes ")?.parse().ok());
    let setup = Setup { segment_bytes: segment_bytes.unwrap_or(Setup::default().segment_bytes), ..Setup::default() };
    let cluster = TestCluster::start_with(setup).await;
    let mut runner =
        Runner { cluster, names: BTreeMap::new(), started: BTreeMap::new(), ends: BTreeMap::new(), remembered: None };
    let mut found = String::new();
    for line in script.lines() {
        if let Some(command) = line.strip_prefix("> ") {
            writeln!(found, "{line}").unwrap();
            let output = tokio::time::timeout(STEP_TIME_MAX, runner.step(command)).await;
            let state = || runner.cluster.describe();
            found += &output.unwrap_or_else(|_| panic!("{name}: {command:?} took too long\n{found}{}", state()));
        } else if line.is_empty() || line.starts_with('#') {
            writeln!(found, "{line}").unwrap();
        }
    }
    runner.cluster.inspect();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &found).unwrap();
        return;
    }
    assert_eq!(found, script, "{name}: the left is what came\n{found}");
}

impl Runner {
    async fn step(&mut self, command: &str) -> String {
        let words: Vec<&str> = command.split_whitespace().collect();
        let (verb, words) = words.split_first().unwrap();
        let number = |at: usize| words[at].parse::<i64>().unwrap();
        match *verb {
            "elect" => self.elect(words).await,
            "append" => {
                let condition = words.get(5).map(|offset| offset.parse().unwrap());
                let (producer, sequence, count) = (number(1), number(2) as i32, number(3) as i32);
                let ticket = self.cluster.append(self.node(words[0]), producer, sequence, count, condition).await;
                finish(ticket).await
            }
            "start" => {
                let (producer, sequence, count) = (number(2), number(3) as i32, number(4) as i32);
                let ticket = self.cluster.append(self.node(words[1]), producer, sequence, count, None).await;
                self.started.insert(words[0].to_owned(), ticket);
                String::new()
            }
            "finish" => finish(self.started.remove(words[0]).unwrap()).await,
            "read" => self.read(words).await,
            "start-end" => {
                let partition = self.cluster.partition(self.node(words[1]));
                let end = tokio::spawn(async move { partition.linearizable_end_offset().await });
                self.ends.insert(words[0].to_owned(), end);
                String::new()
            }
            "finish-end" => match self.ends.remove(words[0]).unwrap().await.unwrap() {
                Ok(end) => format!("the end is {end}\n"),
                Err(_) => "no end\n".to_owned(),
            },
            "settle" => {
                self.cluster.settle().await;
                let any = self.cluster.running()[0];
                format!("high watermark {} everywhere\n", self.cluster.partition(any).high_watermark())
            }
            "written" => {
                let batch = batch(number(1), number(2) as i32, number(3) as i32);
                let content = BatchHeader::parse(&batch).unwrap().crc.to_string();
                let node = self.node(words[0]);
                let there = async || {
                    let log = self.cluster.log(PARTITION, node);
                    log.values().any(|entry| entry.ends_with(&content)).then_some(())
                };
                eventually("batch in the log", there).await;
                String::new()
            }
            "cut" => {
                self.cluster.net.cut(self.node(words[0]), self.node(words[1]));
                String::new()
            }
            "hold" => {
                let (from, to) = words[0].split_once('>').unwrap();
                self.cluster.net.hold(self.node(from), self.node(to));
                String::new()
            }
            "trickle" => {
                let (from, to) = words[0].split_once('>').unwrap();
                for _ in 0..number(1) {
                    self.cluster.net.let_one_pass(self.node(from), self.node(to));
                    tokio::time::sleep(TRICKLE_PAUSE).await;
                }
                String::new()
            }
            "segment-bytes" => String::new(),
            "remember" => {
                let leader = self.node("A");
                let term = self.cluster.partition(leader).group().status().term;
                self.remembered = Some((leader, term));
                String::new()
            }
            "undisturbed" => {
                let nodes: Vec<NodeId> = words.iter().map(|name| self.node(name)).collect();
                let until = tokio::time::Instant::now() + UNDISTURBED;
                while tokio::time::Instant::now() < until {
                    for node in &nodes {
                        let status = self.cluster.partition(*node).group().status();
                        let known = status.leader_node.map(|leader| (leader, status.term));
                        assert_eq!(known, self.remembered, "node {node}");
                    }
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                "the same leader in the same term\n".to_owned()
            }
            "trim" => match self.cluster.partition(self.node(words[0])).trim(number(1) as u64).await {
                Ok(log_start_offset) => format!("the log starts at offset {log_start_offset}\n"),
                Err(error) => format!("{error}\n"),
            },
            "join" => {
                let node = self.cluster.join().await;
                self.names.insert("D".to_owned(), node);
                String::new()
            }
            "learn" => {
                let node = self.node("D");
                let leader = self.cluster.partition(self.node(words[0]));
                leader.group().add_learner(replica_of(PARTITION, node), node).await.unwrap();
                String::new()
            }
            "try" => {
                let (step, replacement) = self.replacement(&words[1..]);
                drop(self.cluster.partition(self.node(words[0])).group().take_step(step, replacement).await);
                String::new()
            }
            "step" => {
                let (step, replacement) = self.replacement(&words[1..]);
                match self.cluster.partition(self.node(words[0])).group().take_step(step, replacement).await {
                    Ok(StepProgress::Done) => "done\n".to_owned(),
                    Ok(StepProgress::Waiting { .. }) => "waiting\n".to_owned(),
                    Ok(StepProgress::TooLate) => "too late\n".to_owned(),
                    Err(StepError::Unknown(_)) => "unknown\n".to_owned(),
                    Err(error) => format!("{error}\n"),
                }
            }
            "drive" => {
                let (step, replacement) = self.replacement(words);
                eventually("step", async || {
                    for node in self.cluster.running() {
                        let group = self.cluster.partition(node);
                        if let Ok(StepProgress::Done) = group.group().take_step(step, replacement).await {
                            return Some(());
                        }
                    }
                    None
                })
                .await;
                "done\n".to_owned()
            }
            "members" => {
                let members = self.cluster.partition(self.node(words[0])).group().members();
                let names = |members: &Members| {
                    let named = ["A", "B", "C", "D"].into_iter();
                    let has =
                        |name: &&str| self.names.get(*name).is_some_and(|node| members.values().any(|m| m == node));
                    named.filter(has).collect::<Vec<_>>().join(" ")
                };
                let joint = if members.joint { ", changing" } else { "" };
                format!("voters {}, learners {}{joint}\n", names(&members.voters), names(&members.learners))
            }
            "transfer" => {
                let (mut leader, to) = (self.node(words[0]), self.node(words[1]));
                // One that is not ready refuses, and then any other may be elected.
                while leader != to {
                    self.cluster.partition(leader).group().hand_over_to(replica_of(PARTITION, to)).await;
                    leader = self.cluster.leader(PARTITION, &self.cluster.running()).await;
                }
                let name = self.names.iter().find(|(_, node)| **node == leader).map_or("?", |(name, _)| name);
                format!("{name} leads\n")
            }
            "expire" => {
                tokio::time::sleep(Duration::from_millis(5)).await;
                let leader = self.cluster.partition(self.node(words[0]));
                let seen = leader.expire_producers(Duration::from_millis(1)).await.unwrap();
                assert_eq!(seen, 0, "idle only by the clock of the day");
                tokio::time::sleep(Duration::from_millis(5)).await;
                format!("{} forgotten\n", leader.expire_producers(Duration::from_millis(1)).await.unwrap())
            }
            "heal" => {
                self.cluster.net.heal();
                String::new()
            }
            verb => {
                for name in words {
                    self.on_node(verb, self.node(name)).await;
                }
                String::new()
            }
        }
    }

    async fn on_node(&mut self, verb: &str, node: NodeId) {
        match verb {
            "crash" => self.cluster.crash(node),
            "restart" => self.cluster.restart(node).await.unwrap(),
            "hold-sync" => self.cluster.disk(node).close_syncs(),
            "release-sync" => self.cluster.disk(node).open_gates(),
            "mark" => self.cluster.mark(node),
            "fill-disk" => _ = self.cluster.space(node).saw(0),
            "empty-disk" => _ = self.cluster.space(node).saw(u64::MAX),
            "purged" => {
                let purged = async || {
                    let cluster = &self.cluster;
                    // On a thread of that node's runtime, as the node itself does.
                    cluster.mark(node);
                    (cluster.first_on_disk(node) > 0).then_some(())
                };
                eventually("purge", purged).await;
            }
            other => panic!("unknown command {other:?}"),
        }
    }

    async fn elect(&mut self, among: &[&str]) -> String {
        let (among, names): (Vec<NodeId>, _) = match among {
            [] => (self.cluster.all(), ["A", "B", "C"]),
            among => (among.iter().map(|name| self.node(name)).collect(), ["L", "F", "G"]),
        };
        let leader = self.cluster.leader(PARTITION, &among).await;
        let others = among.iter().copied().filter(|id| *id != leader);
        let bound = names.iter().map(|name| (*name).to_owned()).zip(std::iter::once(leader).chain(others));
        self.names.extend(bound);
        format!("{} leads\n", names[0])
    }

    async fn read(&self, names: &[&str]) -> String {
        let mut output = String::new();
        let first = self.cluster.read(self.node(names[0])).await;
        for name in names {
            assert_eq!(self.cluster.read(self.node(name)).await, first, "{name} serves the same");
        }
        for (offset, value) in first {
            writeln!(output, "{offset} {value}").unwrap();
        }
        output
    }

    fn replacement(&self, words: &[&str]) -> (ReplacementStep, Replacement) {
        let step = match words[0] {
            "add" => ReplacementStep::Add,
            "catch-up" => ReplacementStep::CatchUp,
            "switch" => ReplacementStep::Switch,
            "take-back" => ReplacementStep::TakeBack,
            other => panic!("unknown step {other:?}"),
        };
        let named = |sign| words[1..].iter().find_map(|word| word.strip_prefix(sign)).map(|name| self.node(name));
        let add = named('+').map(|node| (replica_of(PARTITION, node), node));
        (step, Replacement { add, drop: named('-').map(|node| replica_of(PARTITION, node)) })
    }

    fn node(&self, name: &str) -> NodeId {
        self.names[name]
    }
}

async fn finish(ticket: AppendTicket) -> String {
    match ticket.finish().await {
        Ok(appended) if appended.duplicate => format!("duplicate of offset {}\n", appended.base_offset),
        Ok(appended) => format!("appended at offset {}\n", appended.base_offset),
        Err(AppendError::Refused(outcome)) => format!("refused: {outcome:?}\n"),
        Err(AppendError::Propose(ProposeError::NotLeader { .. })) => "not leader\n".to_owned(),
        Err(AppendError::Propose(ProposeError::Unknown(_))) => "unknown\n".to_owned(),
        Err(AppendError::Propose(ProposeError::Stopped(_))) => "stopped\n".to_owned(),
    }
}
