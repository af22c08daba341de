//! The fuzz targets on stable: all of the committed corpus, and a fixed number of mutations of it.
//!
//! What a longer search has found is put into `log-engine/fuzz/corpus/<target>/` under a name that says what it is; from
//! then on it runs here.
//!
//! With `UPDATE_CORPUS=1` in the environment the seeds are written anew. `FUZZ_EXECUTIONS` and `FUZZ_SEED` make the search
//! longer and another one.

use std::{collections::BTreeMap, fmt::Write, path::PathBuf};

use quorate_faulty_vfs::SplitMix64;

use crate::{
    mutate::mutate,
    seeds,
    targets::{Outcome, TARGETS, Target},
};

const SEED: u64 = 0x0f00_f00d;
const EXECUTIONS: u64 = 20_000;
const CORPUS_SIZE_MAX: u64 = 200 << 10;

fn directory(target: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target)
}

/// The committed inputs of a target, by name. What the fuzzer adds by itself has a name of 40 digits and is left out.
fn corpus(target: &str) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(directory(target)).unwrap().map(Result::unwrap);
    let named = entries.map(|entry| (entry.file_name().into_string().unwrap(), entry.path()));
    named.filter(|(name, _)| name.len() != 40).map(|(name, path)| (name, std::fs::read(path).unwrap())).collect()
}

/// Prints the input if a property of it does not hold.
struct Shown<'a>(&'a str, &'a [u8]);

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut text = String::new();
            self.1.iter().for_each(|byte| write!(text, "{byte:02x}").unwrap());
            eprintln!("the input, for fuzz/corpus/{}/: {text}", self.0);
        }
    }
}

fn run(target: &Target, input: &[u8]) -> Outcome {
    let shown = Shown(target.name, input);
    let outcome = (target.run)(input);
    std::mem::forget(shown);
    outcome
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |value| value.parse().unwrap())
}

/// Returns how many of the inputs decoded.
fn search(target: &Target, executions: u64) -> u64 {
    let corpus: Vec<Vec<u8>> = corpus(target.name).into_values().collect();
    let mut random = SplitMix64::new(number("FUZZ_SEED", SEED));
    let mut decoded = 0;
    for execution in 0..executions {
        let input = &corpus[execution as usize % corpus.len()];
        let other = &corpus[random.below(corpus.len() as u64) as usize];
        let mutation = mutate(&mut random, input, other, target.fields);
        decoded += u64::from(run(target, &mutation) == Outcome::Decoded);
    }
    decoded
}

fn check(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).unwrap();
    let inputs = corpus(name);
    assert!(inputs.len() >= 8, "{name} has a corpus");
    for (file, input) in &inputs {
        let outcome = run(target, input);
        let expected = if file.starts_with("bad-") { Outcome::Refused } else { Outcome::Decoded };
        assert_eq!(outcome, expected, "{name}/{file}: whether it decodes shows in its name");
    }
    let executions = number("FUZZ_EXECUTIONS", EXECUTIONS);
    let decoded = search(target, executions);
    // Both sides of the checks are reached.
    assert!((executions / 20..executions * 9 / 10).contains(&decoded), "{decoded} of {executions} decoded");
}

#[test]
fn any_bytes_are_refused_or_decode_to_a_batch() {
    check("batch");
}

#[test]
fn any_bytes_are_refused_or_decode_to_a_frame() {
    check("frame");
}

#[test]
fn any_bytes_are_refused_or_decode_to_an_index() {
    check("index");
}

#[test]
fn any_bytes_are_refused_or_decode_to_a_checkpoint() {
    check("checkpoint");
}

#[test]
fn any_bytes_are_refused_or_decode_to_a_segment_header() {
    check("segment_header");
}

#[test]
fn the_corpus_is_small_and_holds_the_seeds() {
    let mut names = BTreeMap::<&str, Vec<String>>::new();
    for seed in seeds::all() {
        names.entry(seed.target).or_default().push(seed.name.clone());
        if std::env::var_os("UPDATE_CORPUS").is_some() {
            std::fs::create_dir_all(directory(seed.target)).unwrap();
            std::fs::write(directory(seed.target).join(&seed.name), &seed.input).unwrap();
        }
    }
    let mut size = 0;
    for target in TARGETS {
        let corpus = corpus(target.name);
        assert!(names[target.name].iter().all(|name| corpus.contains_key(name)), "UPDATE_CORPUS=1 writes the seeds");
        size += corpus.values().map(|input| input.len() as u64).sum::<u64>();
        assert!(corpus.len() <= 60);
    }
    assert!(size < CORPUS_SIZE_MAX, "{size} bytes");
}
