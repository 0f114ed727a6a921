//! Bit planes: one section of a segment, which holds its codes once more, turned on their side.
//!
//! A search under a mask looks at some bits of each row. Where rows are long, these lie far from each other,
//! one cache line for each bit; a plane has one bit of all rows, and a search reads those of its mask from
//! front to back. Planes are cut into blocks of rows, so that a segment is written in bounded memory, and the
//! piece of a plane in a block is one block of checksums: what is not read is not checked.
//!
//! `docs/format.md` describes every byte.

mod build;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod read;
#[cfg(test)]
mod tests;

use std::ops::Range;

pub(crate) use self::build::PlaneBuilder;
pub(crate) use self::read::Planes;
use crate::bytes::u32_at;

/// Name of the section.
pub(crate) const NAME: &str = "hamming.planes";

const VERSION: u32 = 1;

/// Segments with fewer rows are as fast without.
const LEAST_ROWS: usize = 4096;

/// Rows of a block: as many as there are bits in a block of checksums.
const BLOCK_ROWS: u32 = 8 * bitkin_storage::CHECKED_BLOCK as u32;

/// Pieces of planes have a multiple of so many rows; those that there are not are zeros.
const LINE_ROWS: u64 = crate::kernels::LINE_ROWS as u64;

const FOOTER_BYTES: u64 = 64;

/// The end of the section, which says how it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Footer {
    rows: u32,
    bits: u32,
    /// Rows of a block: a multiple of [`LINE_ROWS`].
    block_rows: u32,
}

impl Footer {
    fn encode(self) -> [u8; FOOTER_BYTES as usize] {
        let mut bytes = [0; FOOTER_BYTES as usize];
        for (to, number) in bytes
            .chunks_exact_mut(4)
            .zip([self.rows, self.bits, self.block_rows])
        {
            to.copy_from_slice(&number.to_le_bytes());
        }
        bytes
    }

    /// `None` if no section can be like that.
    fn decode(bytes: &[u8]) -> Option<Footer> {
        let footer = Footer {
            rows: u32_at(bytes, 0)?,
            bits: u32_at(bytes, 4)?,
            block_rows: u32_at(bytes, 8)?,
        };
        let whole = footer.block_rows > 0 && u64::from(footer.block_rows).is_multiple_of(LINE_ROWS);
        (whole && crate::valid_bits(footer.bits)).then_some(footer)
    }

    /// Bytes of the section, this footer included.
    fn section_bytes(self) -> u64 {
        let blocks = u64::from(self.rows / self.block_rows);
        let last = u64::from(self.rows % self.block_rows).div_ceil(LINE_ROWS) * LINE_ROWS;
        // Of less than 2^33 rows with at most 2^16 bits.
        (blocks * u64::from(self.block_rows) + last) / 8 * u64::from(self.bits) + FOOTER_BYTES
    }

    /// The rows of a block.
    fn rows_of(self, block: u32) -> Range<u32> {
        let start = block.saturating_mul(self.block_rows).min(self.rows);
        start..start.saturating_add(self.block_rows).min(self.rows)
    }

    /// Where the piece of a bit is that has these rows of a block.
    fn piece(self, rows: &Range<u32>, bit: u32) -> Range<u64> {
        let bytes = u64::from(rows.end - rows.start).div_ceil(LINE_ROWS) * LINE_ROWS / 8;
        let start = u64::from(rows.start) / 8 * u64::from(self.bits) + u64::from(bit) * bytes;
        start..start + bytes
    }
}
