//! Field indexes: one section of a segment, which says for each declared field where its values
//! are. `docs/format.md` describes every byte.

mod build;
mod layout;
mod read;

use std::ops::Range;

#[cfg(any(test, feature = "fuzzing"))]
pub(super) use self::build::build;
pub(crate) use self::build::{IndexBuilder, check_fields};
pub(crate) use self::layout::{NAME, VERSION};
pub(super) use self::read::Index;

/// The most fields that a collection may declare.
pub(crate) const MAX_FIELDS: usize = 256;

/// The bytes of an index, read as they are needed.
pub(crate) trait Bytes {
    /// How many there are.
    fn length(&self) -> u64;

    /// Some of them.
    fn read(&self, range: Range<u64>) -> Result<&[u8], bitkin_storage::Error>;
}

/// Why an index cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error(transparent)]
    Storage(#[from] bitkin_storage::Error),
    /// Its checksums hold, but no writer wrote this.
    #[error("the filter section of a segment cannot be read: {0}")]
    Malformed(&'static str),
}

impl Bytes for bitkin_storage::Section<'_> {
    fn length(&self) -> u64 {
        self.len()
    }

    fn read(&self, range: Range<u64>) -> Result<&[u8], bitkin_storage::Error> {
        self.bytes(range)
    }
}
