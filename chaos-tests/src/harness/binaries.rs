//! Where the built binaries are.

use std::path::PathBuf;

/// The binary of this name beside the running one, which may be a test in `deps/`.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    let exe = std::env::current_exe().unwrap_or_else(|error| panic!("the running program has no path: {error}"));
    let found = exe.ancestors().skip(1).take(2).map(|directory| directory.join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("{name} is not beside {}; build it with `make build`", exe.display()))
}
