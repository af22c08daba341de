//! Following what the cluster changes by itself: a bar on a terminal, lines in a pipe, JSON lines when asked for.
//!
//! The work goes on whether it is followed or not.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use bytesize::ByteSize;
use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};
use quorate::{Client, ClusterInfo, PartitionIndex, Tasks, TopicId};
use serde_json::json;

use crate::context::Context;
use crate::error::{Failure, note};
use crate::interrupt::interrupted;
use crate::output::{Format, count};

/// Between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// Between two lines where there is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(2);
/// How long nothing may be heard of the cluster before following it is given up: nodes restart meanwhile.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// How following ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Followed {
    /// Whether what was waited for has happened.
    pub(crate) done: bool,
    /// Replicas that were on their way and have arrived meanwhile, or were taken back.
    pub(crate) moved: usize,
    /// Replicas on their way at the end.
    pub(crate) left: usize,
}

/// All moves seen so far: those that are over count as done.
#[derive(Debug, Default)]
struct Progress {
    seen: BTreeMap<(TopicId, PartitionIndex), (u64, u64)>,
    moved: usize,
    done_before: u64,
    left: usize,
}

impl Progress {
    fn take(&mut self, tasks: &Tasks) {
        let now: BTreeMap<_, _> = tasks
            .moves
            .iter()
            .map(|info| ((info.topic, info.partition), (info.bytes_done.min(info.bytes_total), info.bytes_total)))
            .collect();
        for (of, (_, total)) in &self.seen {
            if !now.contains_key(of) {
                self.moved += 1;
                self.done_before += total;
            }
        }
        self.left = now.len();
        self.seen = now;
    }

    /// Bytes done, and of how many.
    fn bytes(&self) -> (u64, u64) {
        let sum = |part: fn(&(u64, u64)) -> u64| self.seen.values().map(part).sum::<u64>();
        (self.done_before + sum(|(done, _)| *done), self.done_before + sum(|(_, total)| *total))
    }

    /// How long the rest takes at the rate so far.
    fn left_to_do(&self, began: Instant, done_at_first: u64) -> Option<Duration> {
        let (done, total) = self.bytes();
        let (moved, rest) = (done.checked_sub(done_at_first)?, total.checked_sub(done)?);
        (moved > 0).then(|| began.elapsed().mul_f64(rest as f64 / moved as f64))
    }
}

/// What it waits for, in words.
fn waits_for(tasks: &Tasks) -> Option<String> {
    let nodes: Vec<String> = tasks.awaited.iter().map(ToString::to_string).collect();
    (tasks.moves.is_empty() && !nodes.is_empty()).then(|| {
        format!(
            "waiting for node {}: until it answers, nothing is evened out; start it, or remove it with `quorate node remove N --dead`",
            nodes.join(", ")
        )
    })
}

enum Display {
    Bar(ProgressBar),
    Lines { format: Format, last: Option<(Instant, String)> },
}

impl Display {
    fn new(format: Format) -> Self {
        if format == Format::Table && io::stderr().is_terminal() {
            let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
            // The template is a constant: it is either always good or never.
            let style = ProgressStyle::with_template("{msg} [{bar:30}] {bytes} of {total_bytes}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
            return Self::Bar(bar);
        }
        Self::Lines { format, last: None }
    }

    fn show(&mut self, progress: &Progress, left: Option<Duration>, tasks: &Tasks) {
        let (done, total) = progress.bytes();
        let waits = waits_for(tasks);
        let replicas = format!("{} on the way, {} done", count(progress.left as u64, "replica"), progress.moved);
        match self {
            Self::Bar(bar) => {
                let left = left.filter(|_| progress.left > 0);
                let left = left.map(|left| format!(", {} left", HumanDuration(left))).unwrap_or_default();
                bar.set_message(waits.unwrap_or_else(|| format!("{replicas}{left}")));
                bar.set_length(total);
                bar.set_position(done);
            }
            Self::Lines { format, last } => {
                if progress.left == 0 && waits.is_none() {
                    return;
                }
                let line = match (*format, waits) {
                    (Format::Json, waits) => json!({
                        "replicas_left": progress.left,
                        "replicas_done": progress.moved,
                        "bytes_done": done,
                        "bytes_total": total,
                        "seconds_left": left.map(|left| left.as_secs()),
                        "waiting": waits,
                    })
                    .to_string(),
                    (Format::Table, Some(waits)) => waits,
                    (Format::Table, None) => {
                        let left = left.map(|left| format!(", {} left", HumanDuration(left))).unwrap_or_default();
                        format!("{replicas}, {} of {}{left}", ByteSize(done), ByteSize(total))
                    }
                };
                let due = last.as_ref().is_none_or(|(at, before)| at.elapsed() >= LINE_INTERVAL && *before != line);
                if due {
                    note(&line);
                    *last = Some((Instant::now(), line));
                }
            }
        }
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

/// Follows the cluster until `done`, or for so long; shows what it changes meanwhile.
///
/// # Errors
/// When nothing is heard of it for a minute, or the user interrupts: what has begun goes on all the same.
pub(crate) async fn follow(
    context: &Context,
    client: &Client,
    wait: Duration,
    done: impl Fn(&Tasks, &ClusterInfo) -> bool,
) -> Result<Followed, Failure> {
    tokio::select! {
        followed = look(context, client, wait, done) => followed,
        interrupted = interrupted() => {
            interrupted?;
            Err(Failure::message(
                "interrupted; what has begun goes on by itself, watch it with `quorate cluster tasks --watch`",
            ))
        }
    }
}

async fn look(
    context: &Context,
    client: &Client,
    wait: Duration,
    done: impl Fn(&Tasks, &ClusterInfo) -> bool,
) -> Result<Followed, Failure> {
    let (began, mut heard) = (Instant::now(), Instant::now());
    let mut progress = Progress::default();
    let mut done_at_first = None;
    let mut display = Display::new(context.format);
    loop {
        match ask(context, client).await {
            Ok((tasks, info)) => {
                heard = Instant::now();
                progress.take(&tasks);
                let done_at_first = *done_at_first.get_or_insert(progress.bytes().0);
                let followed = Followed { done: done(&tasks, &info), moved: progress.moved, left: progress.left };
                if followed.done || began.elapsed() + LOOK_INTERVAL >= wait {
                    return Ok(followed);
                }
                display.show(&progress, progress.left_to_do(began, done_at_first), &tasks);
            }
            Err(failure) if heard.elapsed() >= SILENCE_MAX => return Err(failure),
            Err(_) => {}
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

async fn ask(context: &Context, client: &Client) -> Result<(Tasks, ClusterInfo), Failure> {
    let context = context.renewed();
    let tasks = context.within("asking for the tasks", client.tasks()).await?;
    let info = context.within("asking for the nodes", client.cluster_info()).await?;
    Ok((tasks, info))
}

/// The failure of a command that has not seen the end of what it began.
pub(crate) fn unfinished(what: &str, wait: Duration, followed: Followed) -> Failure {
    let left = if followed.left == 0 {
        String::new()
    } else {
        format!(" with {} on the way", count(followed.left as u64, "replica"))
    };
    Failure::message(format!(
        "{what} is not done after {}{left}; it goes on, watch it with `quorate cluster tasks --watch`",
        humantime::format_duration(wait)
    ))
}

#[cfg(test)]
mod tests {
    use quorate::{MoveInfo, MoveState, NodeId};

    use super::*;

    fn tasks(moves: &[(u32, u64, u64)]) -> Tasks {
        let info = |(partition, bytes_done, bytes_total): &(u32, u64, u64)| MoveInfo {
            topic: TopicId(1),
            name: "orders".parse().unwrap_or_else(|_| unreachable!("it is a name")),
            partition: *partition,
            state: MoveState::CatchingUp,
            to: Some(NodeId(4)),
            from: None,
            bytes_done: *bytes_done,
            bytes_total: *bytes_total,
        };
        Tasks { moves: moves.iter().map(info).collect(), ..Tasks::default() }
    }

    #[test]
    fn moves_that_are_over_count_as_done_and_new_ones_as_to_be_done() {
        let mut progress = Progress::default();
        progress.take(&tasks(&[(0, 10, 100), (1, 0, 50)]));
        assert_eq!((progress.bytes(), progress.moved, progress.left), ((10, 150), 0, 2));
        progress.take(&tasks(&[(0, 60, 100), (2, 0, 25)]));
        assert_eq!((progress.bytes(), progress.moved, progress.left), ((110, 175), 1, 2));
        progress.take(&tasks(&[]));
        assert_eq!((progress.bytes(), progress.moved, progress.left), ((175, 175), 3, 0));
    }

    #[test]
    fn the_rest_is_expected_at_the_rate_so_far() {
        let mut progress = Progress::default();
        progress.take(&tasks(&[(0, 50, 100)]));
        let began = Instant::now() - Duration::from_secs(10);
        let left = progress.left_to_do(began, 25).unwrap_or_default();
        assert!((Duration::from_secs(20)..Duration::from_secs(21)).contains(&left), "{left:?}");
        assert_eq!(progress.left_to_do(began, 50), None, "nothing is known yet");
    }

    #[test]
    fn it_is_said_who_is_waited_for() {
        let waiting = Tasks { evening: true, awaited: vec![NodeId(3)], ..Tasks::default() };
        assert!(waits_for(&waiting).is_some_and(|line| line.contains("node 3") && line.contains("--dead")));
        assert_eq!(waits_for(&Tasks::default()), None);
    }
}
