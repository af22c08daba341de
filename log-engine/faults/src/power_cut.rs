//! What a power cut does to what was not synced.

use crate::random::SplitMix64;

/// The unit a disk writes as a whole, bytes. Sectors begin at multiples of it from the start of a file.
pub const SECTOR_BYTES: u64 = 512;

/// What a power cut does to what was not synced. What was synced, data and names, always survives.
///
/// The seeded modes treat each file's data and each directory's names on its own: the data of a file may survive and
/// its name not, a later write and not an earlier one to another file. The same seed does the same to the same disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PowerCut {
    /// All of it is lost.
    LoseAll,
    /// By this seed, of each file's changes and of each directory's changes a prefix survives, none and all included;
    /// the first write of a file that does not survive as a whole may be torn at a sector boundary.
    KeepPrefix(u64),
    /// By this seed, each sector of each write, each truncation, creation, removal and rename survives or not: disks
    /// reorder. Of a write that made a file longer the length may survive and the bytes not; they are then zeros.
    KeepSome(u64),
    /// All of it survives, as if everything had just been written back.
    KeepAll,
    /// All survives but the end of each file's last change, if that is a write: its last sector.
    TearLast,
    /// By this seed, one of the others, or another one for each file and each directory.
    Any(u64),
}

/// What a power cut does to one file or one directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    LoseAll,
    KeepPrefix,
    KeepSome,
    KeepAll,
    TearLast,
}

const MODES: [Mode; 5] = [Mode::LoseAll, Mode::KeepPrefix, Mode::KeepSome, Mode::KeepAll, Mode::TearLast];

/// What [`PowerCut::Any`] chooses from: one mode for all, or one for each. The modes that know only one outcome are
/// seldom, lest cases repeat themselves.
const ANY: [Option<Mode>; 10] = [
    Some(Mode::LoseAll),
    Some(Mode::KeepAll),
    Some(Mode::TearLast),
    Some(Mode::KeepPrefix),
    Some(Mode::KeepPrefix),
    Some(Mode::KeepSome),
    Some(Mode::KeepSome),
    Some(Mode::KeepSome),
    None,
    None,
];

/// How likely a change survives [`Mode::KeepSome`], in eighths: a rare loss shows other faults than a rare survival.
const SURVIVAL_EIGHTHS: [u64; 3] = [1, 4, 7];

/// The fate of one file or one directory.
#[derive(Clone, Debug)]
pub(crate) struct Fate {
    pub(crate) mode: Mode,
    random: SplitMix64,
    survival_eighths: u64,
}

impl PowerCut {
    /// The fate of the file or directory of this number.
    pub(crate) fn fate(self, number: u64) -> Fate {
        let (mode, seed) = match self {
            Self::LoseAll => (Some(Mode::LoseAll), 0),
            Self::KeepAll => (Some(Mode::KeepAll), 0),
            Self::TearLast => (Some(Mode::TearLast), 0),
            Self::KeepPrefix(seed) => (Some(Mode::KeepPrefix), seed),
            Self::KeepSome(seed) => (Some(Mode::KeepSome), seed),
            Self::Any(seed) => (ANY[SplitMix64::new(seed).below(ANY.len() as u64) as usize], seed),
        };
        let mut random = SplitMix64::stream(seed, number);
        let mode = mode.unwrap_or_else(|| MODES[random.below(MODES.len() as u64) as usize]);
        let survival_eighths = SURVIVAL_EIGHTHS[random.below(SURVIVAL_EIGHTHS.len() as u64) as usize];
        Fate { mode, random, survival_eighths }
    }
}

impl Fate {
    /// Whether one change survives [`Mode::KeepSome`].
    pub(crate) fn survives(&mut self) -> bool {
        self.random.chance(self.survival_eighths, 8)
    }

    /// How many of `count` survive [`Mode::KeepPrefix`].
    pub(crate) fn prefix(&mut self, count: usize) -> usize {
        self.random.below(count as u64 + 1) as usize
    }
}
