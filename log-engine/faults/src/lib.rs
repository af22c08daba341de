//! A disk in memory that fails as disks do: seeded, and the same each time.
//!
//! A [`Disk`] is the test's view; [`Disk::vfs`] gives a process its file system. The disk keeps what was synced apart
//! from what was not, loses the latter at a [`PowerCut`], does as a [`Fault`] says where a [`Filter`] matches, and
//! records a [`Journal`] from which it can be built again as it was after any of its operations.
//!
//! Everything is a function of the seeds and of the order of the operations: with one process and one thread that
//! writes, a run repeats itself exactly.
//!
//! Not here: hard links, renames between directories, permissions, and what a disk does that claims to have written
//! and never does, but for [`Disk::ignore_syncs`].
//!
//! ```
//! use std::{io::IoSlice, path::Path};
//! use quorate_faulty_vfs::{Disk, PowerCut};
//!
//! let disk = Disk::default();
//! disk.record();
//! let vfs = disk.vfs();
//! vfs.create_directory(Path::new("/log"))?;
//! let file = vfs.create(Path::new("/log/a"))?;
//! vfs.sync_directory(Path::new("/log"))?;
//! file.write_all_at(&[IoSlice::new(b"hello")], 0)?;
//! file.sync_data()?;
//! disk.note(1);
//!
//! for (length, disk) in disk.stop_recording().prefixes() {
//!     disk.power_cut(PowerCut::LoseAll);
//!     assert_eq!(disk.paths().is_empty(), length < 3, "the name is lost until its directory is synced");
//!     assert_eq!(disk.contents().iter().any(|(_, bytes)| bytes == b"hello"), length == 5);
//! }
//! # Ok::<(), std::io::Error>(())
//! ```

mod contents;
mod directory;
mod disk;
mod fault;
mod file;
mod filter;
mod gates;
mod image;
mod journal;
mod operation;
mod power_cut;
mod random;
mod rules;
mod state;
mod vfs;

pub use disk::Disk;
pub use fault::{DELAY_MAX, Fault};
pub use filter::{Filter, OperationKind};
pub use image::FILE_BYTES_MAX;
pub use journal::{Journal, Prefixes};
pub use operation::{FileId, Operation, SyncEffect};
pub use power_cut::{PowerCut, SECTOR_BYTES};
pub use random::SplitMix64;
pub use rules::FaultId;
