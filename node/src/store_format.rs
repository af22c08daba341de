//! The format of the keyed store: a build refuses what it does not know.
//!
//! ```text
//! key 'n' 'v'   value u32 big-endian, the format; written with the first start, before anything else
//! ```
//! Format 1: rows and records in bincode, each kind with a key family of its own. New kinds of rows belong to new levels of the
//! metadata; a new format is for what would change the old ones.

use std::sync::Arc;

use quorate_raft::{FAMILY_NODE, KvBatch, KvError, KvStore};

use crate::node::NodeError;

const KEY: &[u8] = &[FAMILY_NODE, b'v'];
const FORMAT: u32 = 1;

/// Checks the format of a store, and writes it down in a new one. Blocks.
///
/// # Errors
/// When the store fails, or is of another format.
pub(crate) fn check(store: &Arc<dyn KvStore>, used: bool) -> Result<(), NodeError> {
    let malformed = |_| KvError("the format of the store is malformed".to_owned());
    let found = match store.get(KEY)? {
        Some(value) => value.try_into().map(u32::from_be_bytes).map_err(malformed)?,
        // Before there was a format.
        None if used => 0,
        None => {
            store.write(KvBatch::default().put(KEY.to_vec(), FORMAT.to_be_bytes().to_vec()))?;
            store.flush()?;
            FORMAT
        }
    };
    if found == FORMAT {
        return Ok(());
    }
    let reason =
        format!("is of format {found}, which is not supported (this build: {FORMAT}); use the build that wrote it");
    Err(NodeError::StoreFormat(reason))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use quorate_raft::RocksStore;

    use super::*;

    #[test]
    fn a_store_of_another_format_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let store: Arc<dyn KvStore> = Arc::new(RocksStore::open(directory.path()).unwrap());
        assert!(
            check(&store, true).unwrap_err().to_string().contains("format 0"),
            "one that was used before there was a format"
        );
        check(&store, false).unwrap();
        check(&store, true).unwrap();
        store.write(KvBatch::default().put(KEY.to_vec(), 2_u32.to_be_bytes().to_vec())).unwrap();
        let refused = check(&store, true).unwrap_err().to_string();
        assert!(refused.contains("format 2") && refused.contains("this build: 1"), "{refused}");
    }
}
