//! The attributes of a batch. Quorate uses the codec only; whatever else Kafka may set there changes the meaning of
//! the batch, and is refused rather than overlooked.

use crate::{BatchError, Compression};

/// Bits 0 to 2: the codec.
const CODEC_MASK: i16 = 0b111;

/// The other bits that Kafka has given a meaning.
const REFUSED: [(i16, &str); 4] = [
    (1 << 3, "log-append timestamps"),
    (1 << 4, "transactional batches"),
    (1 << 5, "control batches"),
    (1 << 6, "delete horizons"),
];

/// Attributes of a batch with this codec.
pub(crate) fn encode(compression: Compression) -> i16 {
    match compression {
        Compression::None => 0,
        Compression::Lz4 => 3,
        Compression::Zstd => 4,
    }
}

/// Codec of a batch with these attributes.
///
/// # Errors
///
/// For a codec that is not supported or not known, and for any other bit that is set.
pub(crate) fn decode(attributes: i16) -> Result<Compression, BatchError> {
    if let Some((_, feature)) = REFUSED.iter().find(|(bit, _)| attributes & bit != 0) {
        return Err(BatchError::UnsupportedAttributes { feature, attributes });
    }
    if attributes & !CODEC_MASK != 0 {
        return Err(BatchError::UnsupportedAttributes { feature: "unknown attributes", attributes });
    }
    match attributes & CODEC_MASK {
        0 => Ok(Compression::None),
        1 => Err(BatchError::UnsupportedCompression { codec: "gzip" }),
        2 => Err(BatchError::UnsupportedCompression { codec: "snappy" }),
        3 => Ok(Compression::Lz4),
        4 => Ok(Compression::Zstd),
        code => Err(BatchError::UnknownCompression { code }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_supported_codec_round_trips() {
        for compression in [Compression::None, Compression::Lz4, Compression::Zstd] {
            assert_eq!(decode(encode(compression)), Ok(compression));
        }
    }

    #[test]
    fn other_codecs_are_refused_by_name() {
        assert_eq!(decode(1), Err(BatchError::UnsupportedCompression { codec: "gzip" }));
        assert_eq!(decode(2), Err(BatchError::UnsupportedCompression { codec: "snappy" }));
        assert_eq!(decode(5), Err(BatchError::UnknownCompression { code: 5 }));
    }

    #[test]
    fn every_bit_but_the_codec_is_refused() {
        for bit in 3..16 {
            let attributes = (1u16 << bit).cast_signed();
            let refused = matches!(decode(attributes), Err(BatchError::UnsupportedAttributes { .. }));
            assert!(refused, "bit {bit}");
        }
    }
}
