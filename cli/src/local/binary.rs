//! Finds the `quorate-node` binary.

use std::env;
use std::path::{Path, PathBuf};

use crate::error::Failure;

/// Names the binary outright.
pub(crate) const OVERRIDE_VARIABLE: &str = "QUORATE_NODE_BIN";

const NAME: &str = "quorate-node";

/// `$QUORATE_NODE_BIN`, else the binary beside this one, else the first in `$PATH`.
pub(crate) fn find() -> Result<PathBuf, Failure> {
    if let Some(path) = env::var_os(OVERRIDE_VARIABLE).filter(|path| !path.is_empty()) {
        let path = PathBuf::from(path);
        return if is_executable(&path) {
            std::path::absolute(&path).map_err(|error| Failure::message(format!("{}, {error}", path.display())))
        } else {
            Err(Failure::message(format!(
                "{OVERRIDE_VARIABLE} names {}, which is no executable file, correct or unset it",
                path.display()
            )))
        };
    }
    let beside = env::current_exe().ok().and_then(|exe| exe.parent().map(Path::to_owned));
    let path = env::var_os("PATH").unwrap_or_default();
    beside
        .into_iter()
        .chain(env::split_paths(&path))
        .map(|directory| directory.join(NAME))
        .find(|candidate| is_executable(candidate))
        .and_then(|found| std::path::absolute(found).ok())
        .ok_or_else(|| {
            Failure::message(format!(
                "cannot find {NAME}, it is neither beside this program nor in $PATH, install it or set {OVERRIDE_VARIABLE} to its path"
            ))
        })
}

fn is_executable(path: &Path) -> bool {
    path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_file_that_may_be_run_is_a_binary() {
        assert!(is_executable(Path::new("/bin/sh")));
        assert!(!is_executable(Path::new("/bin")));
        assert!(!is_executable(Path::new("/etc/passwd")));
        assert!(!is_executable(Path::new("/nowhere")));
    }
}
