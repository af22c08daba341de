/// The first byte of an input: what is done to the rest before it is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode(pub u8);

impl Mode {
    /// Checksums are made right.
    pub const CHECKSUMS: u8 = 1;
    /// Sizes and counts are made to fit the bytes that are there.
    pub const SIZES: u8 = 2;
    /// The decoder is given small limits.
    pub const SMALL_LIMITS: u8 = 4;

    pub(crate) fn split(data: &[u8]) -> Option<(Self, &[u8])> {
        data.split_first().map(|(mode, rest)| (Self(*mode), rest))
    }

    pub(crate) fn has(self, bit: u8) -> bool {
        self.0 & bit != 0
    }
}
