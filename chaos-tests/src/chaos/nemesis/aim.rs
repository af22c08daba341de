//! Whom a fault hits, given who leads what.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Display},
    time::Duration,
};

use quorate_faulty_vfs::SplitMix64;

use super::{NemesisKind, Role, Step};
use crate::{
    history::PartitionKey,
    node_faults::NodeFaults,
    proxy::{CLIENTS, Link, Rule},
};

/// Delays lie below the shortest election timeout both ways together, so that leaders stay.
const DELAY_MS: (u64, u64) = (5, 150);

/// Syncs of a slow disk take longer by this.
const SYNC_DELAY_MS: (u64, u64) = (50, 300);
/// Links that carry little.
const THROTTLE_BYTES: (u32, u32) = (20_000, 400_000);
/// Of so many bytes one is corrupted.
const CORRUPT_ONCE_IN: (u32, u32) = (2_000, 100_000);
/// Clocks jump by at most this.
const CLOCK_MS_MAX: u64 = 3_600_000;

/// Who leads what, as last seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roles {
    /// The numbers of the nodes.
    pub members: Vec<u64>,
    /// The one of them whose disk is bad.
    pub bad_disk: u64,
    /// The leaders of partitions.
    pub leaders: BTreeMap<PartitionKey, u64>,
    /// The leader of the metadata group.
    pub metadata_leader: Option<u64>,
}

/// What is done to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Processes are killed.
    Kill(Vec<u64>),
    /// Processes are stopped.
    Pause(Vec<u64>),
    /// Links follow another rule, the same for each.
    Links(Vec<(Link, Rule)>),
    /// The connections of links are reset.
    Reset(Vec<Link>),
    /// Processes are asked to stop.
    Stop(Vec<u64>),
    /// Processes are stopped in their tracks, then killed.
    PauseKill(Vec<u64>),
    /// One process after the other is restarted.
    Rolling(Vec<u64>),
    /// Disks and clocks are wrong.
    Faults(Vec<u64>, NodeFaults),
    /// Bytes change in the files of a node that is down.
    Damage(u64),
    /// A node is to lead nothing.
    Drain(u64),
    /// A node joins.
    Grow,
    /// A node loses its disk, and another one joins.
    Replace(u64),
    /// A node loses its disk, and is started as before.
    Wipe(u64),
    /// Of a partition that this number chooses, a part of its records is deleted that it chooses, too.
    Trim(u64),
    /// A node is cut off by these rules while all records of its partitions are deleted.
    Snapshot(u64, Vec<(Link, Rule)>),
    /// A leader is killed, a voter loses power while it votes, and whom it may have elected is cut off.
    VoteLoss {
        /// The leader.
        leader: u64,
        /// The voter.
        voter: u64,
        /// All others.
        elected: Vec<u64>,
    },
}

/// As in "drop 1→2 1→3".
impl Display for Action {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let link = |link: &Link| format!(" {}→{}", link.from, link.to);
        match self {
            Self::Kill(nodes) => write!(formatter, "kill nodes {nodes:?}"),
            Self::Pause(nodes) => write!(formatter, "pause nodes {nodes:?}"),
            Self::Reset(links) => write!(formatter, "reset{}", links.iter().map(link).collect::<String>()),
            Self::Stop(nodes) => write!(formatter, "stop nodes {nodes:?}"),
            Self::PauseKill(nodes) => write!(formatter, "pause, then kill nodes {nodes:?}"),
            Self::Rolling(nodes) => write!(formatter, "restart nodes {nodes:?} one after the other"),
            Self::Faults(nodes, faults) => write!(formatter, "nodes {nodes:?}: {faults}"),
            Self::Damage(node) => write!(formatter, "damage node {node}"),
            Self::Drain(node) => write!(formatter, "drain node {node}"),
            Self::Grow => write!(formatter, "a node joins"),
            Self::Replace(node) => write!(formatter, "node {node} loses its disk"),
            Self::Wipe(node) => write!(formatter, "node {node} loses its disk and is started as before"),
            Self::Trim(_) => write!(formatter, "delete records of a partition"),
            Self::Snapshot(node, _) => write!(formatter, "cut node {node} off, delete all records of its partitions"),
            Self::VoteLoss { leader, voter, elected } => {
                write!(formatter, "kill node {leader}, let node {voter} vote and lose power, cut off {elected:?}")
            }
            Self::Links(rules) => {
                let links: String = rules.iter().map(|(of, _)| link(of)).collect();
                match rules.first().map(|(_, rule)| *rule).unwrap_or_default() {
                    Rule::Pass => write!(formatter, "pass{links}"),
                    Rule::Delay(delay) => write!(formatter, "delay by {} ms{links}", delay.as_millis()),
                    Rule::Throttle(bytes) => write!(formatter, "throttle to {bytes} bytes/s{links}"),
                    Rule::Corrupt(once_in) => write!(formatter, "corrupt a byte of {once_in}{links}"),
                    Rule::Hold => write!(formatter, "hold{links}"),
                    Rule::Drop => write!(formatter, "drop{links}"),
                }
            }
        }
    }
}

/// What a step of the plan does while these are the roles.
///
/// # Errors
/// If nobody is known to have the role.
pub fn aim(step: &Step, roles: &Roles) -> Result<Action, String> {
    let nodes = targets(step, roles)?;
    // Lower bits chose the partition and the node.
    let choice = step.choice >> 32;
    let first = nodes.first().copied().unwrap_or_default();
    let others: Vec<u64> = roles.members.iter().copied().filter(|node| *node != first).collect();
    let other = others.get((choice >> 8) as usize % others.len().max(1));
    let other = *other.ok_or("there is no other node")?;
    let (out, back) = (links(&roles.members, &nodes, true), links(&roles.members, &nodes, false));
    let both = || {
        let mut both = [out.clone(), back.clone()].concat();
        both.sort_unstable();
        both.dedup();
        both
    };
    let clients = || -> Vec<Link> {
        let pair = |node: &u64| [Link { from: CLIENTS, to: *node }, Link { from: *node, to: CLIENTS }];
        nodes.iter().flat_map(pair).collect()
    };
    let all = |links: Vec<Link>, rule: Rule| Action::Links(links.into_iter().map(|link| (link, rule)).collect());
    Ok(match step.kind {
        NemesisKind::Kill | NemesisKind::PowerCut => Action::Kill(nodes),
        NemesisKind::Pause => Action::Pause(nodes),
        NemesisKind::Split => all(both(), Rule::Drop),
        NemesisKind::Isolate => {
            let minority_max = (roles.members.len() as u64 - 1) / 2;
            let with = others.iter().copied().take((choice % minority_max.max(1)) as usize);
            let minority: Vec<u64> = nodes.iter().copied().chain(with).collect();
            let outside = |link: &Link| minority.contains(&link.from) != minority.contains(&link.to);
            let (out, back) = (links(&roles.members, &minority, true), links(&roles.members, &minority, false));
            let cut: BTreeSet<Link> = out.into_iter().chain(back).filter(outside).collect();
            all(cut.into_iter().collect(), Rule::Drop)
        }
        NemesisKind::Ring => {
            let cut = ring(&roles.members, choice);
            if cut.is_empty() {
                return Err(format!("all of {:?} are neighbours on a ring", roles.members));
            }
            all(cut, Rule::Drop)
        }
        NemesisKind::Trim => Action::Trim(choice),
        NemesisKind::Snapshot => Action::Snapshot(first, both().into_iter().map(|link| (link, Rule::Drop)).collect()),
        NemesisKind::Sever => all(vec![Link { from: first, to: other }, Link { from: other, to: first }], Rule::Drop),
        NemesisKind::OneWay => {
            let links = match choice % 4 {
                0 => out,
                1 => back,
                2 => vec![Link { from: first, to: other }],
                _ => vec![Link { from: other, to: first }],
            };
            all(links, Rule::Drop)
        }
        NemesisKind::Stall => {
            let links = match choice % 3 {
                0 => out,
                1 => back,
                _ => both(),
            };
            all(links, Rule::Hold)
        }
        NemesisKind::Reset => Action::Reset(both()),
        NemesisKind::Delay => {
            let delay = DELAY_MS.0 + choice % (DELAY_MS.1 - DELAY_MS.0);
            all(both(), Rule::Delay(Duration::from_millis(delay)))
        }
        NemesisKind::Throttle => {
            let bytes = THROTTLE_BYTES.0 + choice as u32 % (THROTTLE_BYTES.1 - THROTTLE_BYTES.0);
            all(both(), Rule::Throttle(bytes))
        }
        NemesisKind::Corrupt => {
            let once_in = CORRUPT_ONCE_IN.0 + choice as u32 % (CORRUPT_ONCE_IN.1 - CORRUPT_ONCE_IN.0);
            let of_clients = clients();
            let links = match choice % 3 {
                0 => both(),
                1 => of_clients,
                _ => [both(), of_clients].concat(),
            };
            all(links, Rule::Corrupt(once_in))
        }
        NemesisKind::Clients => {
            let links = clients();
            match choice % 5 {
                0 => all(links, Rule::Drop),
                // Requests arrive, answers do not.
                1 => all(links.into_iter().filter(|link| link.to == CLIENTS).collect(), Rule::Drop),
                2 => all(links, Rule::Hold),
                3 => Action::Reset(links),
                _ => all(links, Rule::Delay(Duration::from_millis(DELAY_MS.0 + choice % (DELAY_MS.1 - DELAY_MS.0)))),
            }
        }
        NemesisKind::Stop => Action::Stop(nodes),
        NemesisKind::PauseKill => Action::PauseKill(nodes),
        NemesisKind::Rolling => Action::Rolling(nodes),
        NemesisKind::SlowDisk => {
            let sync_delay_ms = SYNC_DELAY_MS.0 + choice % (SYNC_DELAY_MS.1 - SYNC_DELAY_MS.0);
            Action::Faults(nodes, NodeFaults { sync_delay_ms, ..NodeFaults::default() })
        }
        NemesisKind::FullDisk => Action::Faults(nodes, NodeFaults { full: true, ..NodeFaults::default() }),
        NemesisKind::FailSync => Action::Faults(nodes, NodeFaults { syncs_fail: true, ..NodeFaults::default() }),
        NemesisKind::DiskErrors => {
            let reads_fail = choice.is_multiple_of(2);
            Action::Faults(nodes, NodeFaults { reads_fail, writes_fail: !reads_fail, ..NodeFaults::default() })
        }
        NemesisKind::Clock => {
            let jump = (choice % (2 * CLOCK_MS_MAX)).cast_signed() - CLOCK_MS_MAX.cast_signed();
            Action::Faults(nodes, NodeFaults { clock_offset_ms: jump, ..NodeFaults::default() })
        }
        NemesisKind::Damage => Action::Damage(first),
        NemesisKind::Drain => Action::Drain(first),
        NemesisKind::Grow => Action::Grow,
        NemesisKind::Replace => Action::Replace(first),
        NemesisKind::Wipe => Action::Wipe(first),
        NemesisKind::VoteLoss => Action::VoteLoss {
            leader: first,
            voter: other,
            elected: others.into_iter().filter(|node| *node != other).collect(),
        },
    })
}

fn targets(step: &Step, roles: &Roles) -> Result<Vec<u64>, String> {
    let all: Vec<u64> = roles.members.clone();
    let leader = || {
        let leaders: Vec<u64> = roles.leaders.values().copied().collect();
        let at = (step.choice as usize & 0xffff) % leaders.len().max(1);
        leaders.get(at).copied().ok_or_else(|| "no partition is known to have a leader".to_owned())
    };
    let metadata_leader = || roles.metadata_leader.ok_or_else(|| "the metadata group has no known leader".to_owned());
    // Which of the nodes that are left.
    let rotated = |mut nodes: Vec<u64>| {
        let by = (step.choice >> 16) as usize & 0xffff;
        let count = nodes.len().max(1);
        nodes.rotate_left(by % count);
        nodes
    };
    Ok(match step.role {
        Role::Leader => vec![leader()?],
        Role::MetadataLeader => vec![metadata_leader()?],
        Role::Follower => {
            let leader = leader()?;
            let followers = rotated(all.into_iter().filter(|node| *node != leader).collect());
            followers.into_iter().take(1).collect()
        }
        Role::Majority => rotated(all).into_iter().take(roles.members.len() / 2 + 1).collect(),
        Role::All => all,
        Role::BadDisk => vec![roles.bad_disk],
    })
}

/// The links from these nodes to all others, or from all others to them.
pub(super) fn links(members: &[u64], nodes: &[u64], out: bool) -> Vec<Link> {
    let pairs = nodes.iter().flat_map(|node| members.iter().map(move |other| (*node, *other)));
    let mut links: Vec<Link> = pairs
        .filter(|(node, other)| node != other)
        .map(|(node, other)| if out { Link { from: node, to: other } } else { Link { from: other, to: node } })
        .collect();
    links.sort_unstable();
    links.dedup();
    links
}

/// The links between those that are no neighbours on a ring, in an order that `choice` decides: everyone keeps as many on each
/// side as make a majority with it.
fn ring(members: &[u64], choice: u64) -> Vec<Link> {
    let mut random = SplitMix64::new(choice);
    let mut ring = members.to_vec();
    for end in (1..ring.len()).rev() {
        ring.swap(end, random.below(end as u64 + 1) as usize);
    }
    let (count, reach) = (ring.len(), (ring.len() / 2).div_ceil(2));
    let place = |node: u64| ring.iter().position(|other| *other == node).unwrap_or_default();
    let far = |link: &Link| {
        let apart = place(link.from).abs_diff(place(link.to));
        apart.min(count - apart) > reach
    };
    links(members, members, true).into_iter().filter(far).collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn roles() -> Roles {
        let leaders = (0..3).map(|index| (PartitionKey { topic: 0, index }, 2)).collect();
        Roles { members: vec![1, 2, 3], bad_disk: 3, leaders, metadata_leader: Some(1) }
    }

    fn step(kind: NemesisKind, role: Role, choice: u64) -> Step {
        Step { fault: 1, at: Duration::ZERO, lasts: Duration::ZERO, kind, role, choice }
    }

    /// What any choice may do.
    fn actions(kind: NemesisKind, role: Role) -> Vec<Action> {
        let choices = (0..1_000u64).map(|number| number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        choices.map(|choice| aim(&step(kind, role, choice), &roles()).unwrap()).collect()
    }

    fn cut(action: &Action) -> BTreeSet<(u64, u64)> {
        match action {
            Action::Links(links) => links.iter().map(|(link, _)| (link.from, link.to)).collect(),
            Action::Reset(links) => links.iter().map(|link| (link.from, link.to)).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn processes_are_hit_by_role() {
        assert!(actions(NemesisKind::Kill, Role::Leader).iter().all(|action| *action == Action::Kill(vec![2])));
        assert!(
            actions(NemesisKind::Pause, Role::MetadataLeader).iter().all(|action| *action == Action::Pause(vec![1]))
        );
        let followers = actions(NemesisKind::Kill, Role::Follower);
        assert!(followers.contains(&Action::Kill(vec![1])) && followers.contains(&Action::Kill(vec![3])));
        assert!(!followers.contains(&Action::Kill(vec![2])));
        for action in actions(NemesisKind::Kill, Role::Majority) {
            assert!(matches!(&action, Action::Kill(nodes) if nodes.len() == 2), "{action:?}");
        }
        assert_eq!(actions(NemesisKind::Kill, Role::All)[0], Action::Kill(vec![1, 2, 3]));
    }

    #[test]
    fn links_are_cut_by_direction() {
        let isolated = actions(NemesisKind::Isolate, Role::Leader);
        assert!(isolated.iter().all(|action| cut(action) == [(2, 1), (2, 3), (1, 2), (3, 2)].into()));
        assert_eq!(isolated[0].to_string(), "drop 1→2 2→1 2→3 3→2");
        assert_eq!(cut(&actions(NemesisKind::Split, Role::All)[0]).len(), 6);
        let severed: BTreeSet<_> = actions(NemesisKind::Sever, Role::Leader).iter().map(cut).collect();
        assert_eq!(severed, [[(2, 1), (1, 2)].into(), [(2, 3), (3, 2)].into()].into());
        let one_way: BTreeSet<_> = actions(NemesisKind::OneWay, Role::Leader).iter().map(cut).collect();
        let expected = [
            [(2, 1), (2, 3)].into(),
            [(1, 2), (3, 2)].into(),
            [(2, 1)].into(),
            [(2, 3)].into(),
            [(1, 2)].into(),
            [(3, 2)].into(),
        ];
        assert_eq!(one_way, expected.into());
    }

    #[test]
    fn on_a_ring_everyone_reaches_a_majority_and_no_two_the_same() {
        for count in [4, 5, 6, 7] {
            let members: Vec<u64> = (1..=count).collect();
            for choice in 0..50 {
                let cut = ring(&members, choice);
                assert!(cut.iter().all(|link| cut.contains(&Link { from: link.to, to: link.from })));
                let reached = |node: &u64| -> BTreeSet<u64> {
                    members.iter().copied().filter(|to| !cut.contains(&Link { from: *node, to: *to })).collect()
                };
                let views: BTreeSet<_> = members.iter().map(reached).collect();
                assert!(views.iter().all(|view| view.len() as u64 > count / 2), "{views:?}");
                assert_eq!(views.len() as u64, count, "{views:?}");
            }
        }
        assert!(ring(&[1, 2, 3], 1).is_empty());
        assert_ne!(ring(&[1, 2, 3, 4, 5], 1), ring(&[1, 2, 3, 4, 5], 2));
    }

    #[test]
    fn a_minority_of_five_is_cut_off_as_a_whole() {
        let roles = Roles { members: (1..=5).collect(), ..roles() };
        let cuts = (0..64).map(|choice| {
            let step = step(NemesisKind::Isolate, Role::Leader, choice << 32);
            cut(&aim(&step, &roles).unwrap())
        });
        let cuts: BTreeSet<_> = cuts.collect();
        let around = |minority: [u64; 2]| -> BTreeSet<(u64, u64)> {
            let pairs = [3, 4, 5].iter().flat_map(|other| minority.map(|node| (node, *other)));
            pairs.flat_map(|(one, other)| [(one, other), (other, one)]).collect()
        };
        assert!(cuts.contains(&around([1, 2])), "{cuts:?}");
        assert!(cuts.iter().any(|cut| cut.len() == 8), "one of them alone");
    }

    #[test]
    fn a_role_nobody_has_is_an_error() {
        let roles = Roles { members: vec![1, 2, 3], ..Roles::default() };
        let refused = |kind, role| aim(&step(kind, role, 7), &roles).unwrap_err();
        assert!(refused(NemesisKind::Kill, Role::Leader).contains("no partition"));
        assert!(refused(NemesisKind::Kill, Role::MetadataLeader).contains("metadata"));
        assert!(aim(&step(NemesisKind::Kill, Role::All, 7), &roles).is_ok());
    }
}
