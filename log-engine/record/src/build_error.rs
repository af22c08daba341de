use thiserror::Error;

use crate::{Compression, ProducerStamp};

/// Why a batch could not be built.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BuildError {
    /// No record was pushed: a batch holds at least one.
    #[error("a batch needs at least one record")]
    NoRecords,
    /// The records, before compression, exceed what the format can express.
    #[error("the batch is too large: {size} bytes before compression, the format allows {size_max}")]
    TooLarge {
        /// Size of the batch before compression, in bytes.
        size: usize,
        /// Greatest size of a batch, in bytes.
        size_max: usize,
    },
    /// The stamp is neither [`ProducerStamp::NONE`] nor free of negative fields.
    #[error("invalid producer stamp {stamp:?}: expected all -1 or none negative")]
    InvalidProducer {
        /// The stamp.
        stamp: ProducerStamp,
    },
    /// The codec failed.
    #[error("cannot compress the records with {codec}: {reason}")]
    Compress {
        /// The codec.
        codec: Compression,
        /// What it had to say.
        reason: String,
    },
}
