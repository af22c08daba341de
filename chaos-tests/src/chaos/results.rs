//! The directory of a run's results.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    thread::sleep,
    time::{Duration, SystemTime},
};

use super::{
    nemesis::Entry,
    report::{self, Material},
    verdict::Verdict,
};

/// A run that begins in the same millisecond as another one of its seed takes a later one.
const TRIES: u32 = 100;
const BETWEEN_TRIES: Duration = Duration::from_millis(1);

/// A directory of its own for one run: `report.html`, `verdict.json`, `history.jsonl`, `nemesis.jsonl`, and for each node `log` and, if
/// something is wrong, `data`.
#[derive(Clone, Debug)]
pub struct Results {
    directory: PathBuf,
}

impl Results {
    /// Makes the directory, named by the time and the seed.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn create(parent: &Path, seed: u64) -> io::Result<Self> {
        fs::create_dir_all(parent)?;
        for _ in 1..TRIES {
            match Self::create_now(parent, seed) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => sleep(BETWEEN_TRIES),
                done => return done,
            }
        }
        Self::create_now(parent, seed)
    }

    fn create_now(parent: &Path, seed: u64) -> io::Result<Self> {
        let time = humantime::format_rfc3339_millis(SystemTime::now()).to_string().replace(':', "-");
        let directory = parent.join(format!("{time}-seed-{seed}"));
        fs::create_dir(&directory)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", directory.display())))?;
        Ok(Self { directory: directory.canonicalize()? })
    }

    /// The directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    pub(super) fn history(&self) -> PathBuf {
        self.directory.join("history.jsonl")
    }

    pub(super) fn write_nemesis(&self, journal: &[Entry]) -> io::Result<()> {
        let mut file = BufWriter::new(File::create(self.directory.join("nemesis.jsonl"))?);
        for entry in journal {
            serde_json::to_writer(&mut file, entry)?;
            file.write_all(b"\n")?;
        }
        file.flush()
    }

    pub(super) fn write_verdict(&self, verdict: &Verdict) -> io::Result<()> {
        fs::write(self.directory.join("verdict.json"), serde_json::to_vec_pretty(verdict)?)
    }

    pub(super) fn write_report(&self, material: &Material<'_>) -> io::Result<()> {
        fs::write(self.directory.join("report.html"), report::html(material))
    }

    /// Removes what only a failure is worth keeping.
    pub(super) fn remove_data(&self, data_dirs: impl Iterator<Item = PathBuf>) {
        for data in data_dirs {
            if let Err(error) = fs::remove_dir_all(&data) {
                tracing::warn!(path = %data.display(), %error, "cannot remove the data of a run that passed");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn runs_that_begin_at_once_have_directories_of_their_own() -> io::Result<()> {
        let parent = tempfile::tempdir()?;
        let made = (0..8).map(|_| Ok(Results::create(&parent.path().join("results"), 7)?.directory));
        let made: Vec<PathBuf> = made.collect::<io::Result<_>>()?;
        assert_eq!(made.iter().collect::<BTreeSet<_>>().len(), made.len());
        Ok(())
    }
}
