//! Which directory was meant, when the one named is no log.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::Failure;

/// The logs named in the hint at most.
const NAMED_MAX: usize = 3;

const MEANT: &str = "name a replica's directory, DATA-DIR/replicas/replica-N";

/// Why a directory without a segment is no log.
pub(super) fn no_log(dir: &Path) -> Failure {
    let shown = dir.display();
    if dir.is_file() {
        let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        return Failure::message(format!("{shown} is a file and no log, name its directory: {}", parent.display()));
    }
    let logs = [replicas(dir), replicas(&dir.join("replicas"))].concat();
    if let Some(first) = logs.first() {
        let named: Vec<_> = logs.iter().take(NAMED_MAX).map(|path| path.display().to_string()).collect();
        let more = if logs.len() > NAMED_MAX { format!(" or {} more", logs.len() - NAMED_MAX) } else { String::new() };
        let what = if first.parent() == Some(dir) {
            "holds the logs of a node's replicas"
        } else {
            "is a node's data directory"
        };
        return Failure::message(format!("{shown} is no log, it {what}, name one of: {}{more}", named.join(", ")));
    }
    let why = match fs::read_dir(dir).map(Iterator::count) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => "there is no such directory".to_owned(),
        Err(error) => error.to_string(),
        Ok(0) => "the directory is empty".to_owned(),
        Ok(_) => "the directory holds no segment, such as 00000000000000000000.log".to_owned(),
    };
    Failure::message(format!("no log in {shown}, {why}, {MEANT}"))
}

/// The directories of replicas in a directory, by number.
fn replicas(dir: &Path) -> Vec<PathBuf> {
    let names = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let number = |name: std::ffi::OsString| name.to_str()?.strip_prefix("replica-")?.parse::<u64>().ok();
    let mut numbers: Vec<_> = names.filter_map(number).collect();
    numbers.sort_unstable();
    numbers.into_iter().map(|number| dir.join(format!("replica-{number}"))).collect()
}
