//! Golden scripts: commands and what they print, readable as a trace of the log.
//!
//! A script is a list of blocks: lines that start with `>`, a line `---`, and the output up to an empty line. With
//! `UPDATE_SCRIPTS=1` in the environment the expected output is written anew.

use std::{fmt::Write, path::Path};

use quorate_log_engine::{Frame, FrameKind, LogStart, ReadStart};

use crate::support::{DIRECTORY, Fixture, PowerCut, batch, command, engine};

struct Script(Fixture);

impl Script {
    fn run(&mut self, line: &str) -> Result<String, String> {
        let mut words = line.split_whitespace();
        let name = words.next().unwrap();
        let words: Vec<&str> = words.collect();
        let argument = |name: &str| words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        let number = |name: &str| argument(name).map(|value| value.parse::<u64>().unwrap());
        let fixture = &mut self.0;
        match name {
            "open" => {
                fixture.disk.heal_all();
                fixture.options.settled_through = number("settled_through");
                fixture.options.must_exist = words.contains(&"must_exist");
                fixture.options.segment_bytes = number("segment_bytes").unwrap_or(fixture.options.segment_bytes);
                fixture.open().map_err(|error| error.to_string())?;
                let opened = fixture.opened.as_ref().unwrap();
                let (torn, rewritten) = (opened.torn_bytes, opened.rewritten_bytes);
                let from = match &fixture.visited.restored {
                    Some((index, _)) => format!(" from the checkpoint at {index}"),
                    None => String::new(),
                };
                return Ok(format!("torn {torn} rewritten {rewritten}{from}\n{}", self.state()));
            }
            "append" => {
                let (mut index, mut offset) = (fixture.log().next_index(), fixture.log().end_offset());
                let mut frames: Vec<Frame> = Vec::new();
                for word in &words {
                    let (term, entry) = word.split_once(':').unwrap();
                    let term = term.parse().unwrap();
                    let frame = match entry.split_once('*') {
                        Some(("batch", count)) => batch(term, index, offset, count.parse().unwrap(), true),
                        _ if entry == "rejected" => batch(term, index, offset, 1, false),
                        _ => command(term, index, offset, entry),
                    };
                    (index, offset) = (index + 1, frame.next_offset);
                    frames.push(frame);
                }
                fixture.append(frames).map_err(|error| error.to_string())?;
            }
            "vote" => {
                fixture.vote(number("term").unwrap(), number("for").unwrap()).map_err(|error| error.to_string())?
            }
            "truncate" => {
                fixture.truncate(number("last").map_or(0, |last| last + 1)).map_err(|error| error.to_string())?;
            }
            "trim" => {
                let (index, offset) = (number("index").unwrap(), number("offset").unwrap());
                fixture.trim(index, offset).map_err(|error| error.to_string())?;
            }
            "restart" => {
                let number = |name| number(name).unwrap();
                let start = LogStart { index: number("index"), term: number("term"), offset: number("offset") };
                fixture.restart(start).map_err(|error| error.to_string())?;
            }
            "scrub" => {
                let report = fixture.log().scrub();
                let mut text = format!("{} segments, {} damages\n", report.segments, report.damages);
                fixture.log().holes().iter().for_each(|hole| writeln!(text, "{hole}").unwrap());
                return Ok(text);
            }
            "mark" => {
                fixture.log().mark_if_idle();
                fixture.barrier();
            }
            "power_cut" => {
                fixture.disk.power_cut(match words[..] {
                    ["tear"] => PowerCut::TearLast,
                    _ => PowerCut::LoseAll,
                });
                return Ok(String::new());
            }
            "lose" => {
                fixture.disk.lose(&Path::new(DIRECTORY).join(format!(
                    "{:0>1$}",
                    words[0],
                    20 + words[0].len() - words[0].find('.').unwrap()
                )));
                return Ok(String::new());
            }
            "cut" | "flip" => {
                let path = Path::new(DIRECTORY).join(format!("{:020}.log", number("segment").unwrap()));
                let at = number("at").unwrap() as usize;
                fixture.disk.damage(&path, |bytes| match name {
                    "cut" => bytes.truncate(at),
                    _ => bytes[at] ^= 1,
                });
                return Ok(String::new());
            }
            "fail_sync" => {
                fixture.fail_syncs();
                return Ok(String::new());
            }
            "files" => {
                // Zeros ahead, and files made ahead, are there or not as the threads happen to run.
                fixture.barrier();
                return Ok(fixture.disk.contents().iter().fold(String::new(), |mut text, (path, bytes)| {
                    let name = path.file_name().unwrap().to_str().unwrap().trim_start_matches('0');
                    let name = if name.starts_with('.') { format!("0{name}") } else { name.to_owned() };
                    let size =
                        bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| (last + 1).next_multiple_of(8));
                    if size > 0 {
                        writeln!(text, "{name}: {size} bytes").unwrap();
                    }
                    text
                }));
            }
            "read" => {
                let time = number("time").map(|time_ms| ReadStart::Time(time_ms as i64));
                let start = number("index").map(ReadStart::Index).or(number("offset").map(ReadStart::Offset));
                let start = start.or(time).unwrap();
                let (end, bytes_max) = (number("end").unwrap_or(u64::MAX), number("bytes").unwrap_or(1 << 20));
                let (frames, hot) = fixture.read(start, end, bytes_max as usize).map_err(|error| error.to_string())?;
                let mut text = format!("{}\n", if hot { "hot" } else { "cold" });
                frames.iter().for_each(|frame| writeln!(text, "{}", describe(frame)).unwrap());
                return Ok(text);
            }
            "state" => {}
            _ => panic!("no such command: {line}"),
        }
        // What a command has started in the background is done before the next one.
        fixture.barrier();
        Ok(self.state())
    }

    fn state(&self) -> String {
        let log = self.0.log();
        let vote = log.vote().map_or("none".into(), |vote| format!("{} for {}", vote.term, vote.voted_for));
        let durable = log.durable_through().map_or("none".into(), |through| through.to_string());
        let start = match log.start() {
            LogStart { index: 0, .. } => String::new(),
            LogStart { index, term, offset } => format!(" start {index} (term {term}, offset {offset})"),
        };
        format!(
            "next index {} end offset {} durable {durable} vote {vote}{start}\n",
            log.next_index(),
            log.end_offset()
        )
    }
}

fn describe(frame: &Frame) -> String {
    let content = match (frame.kind, frame.stamp) {
        (FrameKind::Batch, Some(stamp)) => format!("batch of offsets {}..{}", stamp.base_offset, frame.next_offset),
        (FrameKind::Batch, None) => "rejected batch".into(),
        _ => format!("command {}", String::from_utf8_lossy(&frame.payload)),
    };
    format!("{} of term {}: {content}", frame.index, frame.term)
}

#[test]
fn scripts_print_what_they_say() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let mut paths: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() > 4);
    for path in paths {
        let expected = std::fs::read_to_string(&path).unwrap();
        let mut script = Script(Fixture::closed(600));
        script.0.engine = engine(if path.ends_with("append_and_roll.txt") { 1 << 20 } else { 0 });
        let mut found = String::new();
        let mut skipping = false;
        for line in expected.lines() {
            if let Some(command) = line.strip_prefix("> ") {
                skipping = false;
                writeln!(found, "{line}\n---").unwrap();
                found.push_str(&script.run(command).unwrap_or_else(|error| format!("refused: {error}\n")));
                found.push('\n');
                skipping |= true;
            } else if line.starts_with('#') {
                writeln!(found, "{line}").unwrap();
            } else {
                assert!(skipping || line.is_empty(), "{}: output without a command: {line}", path.display());
            }
        }
        if std::env::var_os("UPDATE_SCRIPTS").is_some() {
            std::fs::write(&path, found).unwrap();
        } else {
            assert_eq!(found, expected, "{}", path.display());
        }
    }
}
