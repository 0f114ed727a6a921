//! The fixed parts of the section, byte by byte. `docs/format.md` describes the same bytes.

use std::ops::Range;

use crate::bytes::{u32_at, u64_at};

/// Name of the section in a segment.
pub(crate) const NAME: &str = "hamming.tables";
/// Version of its layout.
pub(crate) const VERSION: u32 = 1;

/// Shells whose sizes are kept for each group of keys: at distances 0 to 3 of the key.
pub(crate) const SHELLS: usize = 4;
/// Keys that share the sizes of their shells: those with the same bits above the lowest four.
pub(super) const GROUP_BITS: u32 = 4;

/// The section ends with this.
pub(super) const FOOTER_BYTES: usize = 64;
pub(super) const ENTRY_BYTES: usize = 40;

/// Parts of the section start at multiples of this.
pub(super) const ALIGN: u64 = 64;

/// What the section ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Footer {
    pub(super) rows: u32,
    pub(super) bits: u32,
    pub(super) tables: u32,
    /// Bytes of the rest of its code that stand with a row in a bucket; 0 if none do.
    pub(super) rest_bytes: u32,
    /// Mean and standard deviation of the distance of two rows by chance, in 256ths of a bit.
    pub(super) mean: u32,
    pub(super) deviation: u32,
}

impl Footer {
    pub(super) fn encode(&self) -> [u8; FOOTER_BYTES] {
        let mut bytes = [0; FOOTER_BYTES];
        let fields = [
            self.rows,
            self.bits,
            self.tables,
            self.rest_bytes,
            self.mean,
            self.deviation,
        ];
        for (to, field) in bytes.chunks_exact_mut(4).zip(fields) {
            to.copy_from_slice(&field.to_le_bytes());
        }
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Footer> {
        let field = |at| u32_at(bytes, at);
        bytes.get(..FOOTER_BYTES)?;
        Some(Footer {
            rows: field(0)?,
            bits: field(4)?,
            tables: field(8)?,
            rest_bytes: field(12)?,
            mean: field(16)?,
            deviation: field(20)?,
        })
    }

    /// Bytes behind the tables: the order of bits, an entry for each table, and this.
    pub(super) fn tail(&self) -> u64 {
        let entries = u64::from(self.tables) * ENTRY_BYTES as u64;
        4 * u64::from(self.bits) + entries + FOOTER_BYTES as u64
    }
}

/// Where a table is in the section.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Entry {
    /// Bits of a key.
    pub(super) key_bits: u32,
    /// Where the bucket of each key starts, and where the last one ends: u32 each.
    pub(super) starts: Range<u64>,
    /// Sizes of shells: [`SHELLS`] bytes for each group of keys.
    pub(super) shells: Range<u64>,
    /// The rows by their key: u32 each.
    pub(super) rows: Range<u64>,
    /// The rest of their codes, in the same order; empty if there is none.
    pub(super) rest: Range<u64>,
}

impl Entry {
    pub(super) fn encode(&self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        bytes[..4].copy_from_slice(&self.key_bits.to_le_bytes());
        let numbers = [
            self.starts.start,
            self.shells.start,
            self.rows.start,
            self.rest.start,
        ];
        for (to, number) in bytes[8..].chunks_exact_mut(8).zip(numbers) {
            to.copy_from_slice(&number.to_le_bytes());
        }
        bytes
    }

    /// Reads the entry of a table of a section of `length` bytes; `None` if it cannot be one.
    pub(super) fn decode(bytes: &[u8], footer: &Footer, length: u64) -> Option<Entry> {
        let key_bits = u32_at(bytes, 0)?;
        if !(1..=super::shape::MOST_KEY_BITS).contains(&key_bits) {
            return None;
        }
        let number = |at: usize| u64_at(bytes, 8 + 8 * at);
        let part = |at: usize, bytes: u64| {
            let start = number(at)?;
            let end = start.checked_add(bytes)?;
            (end <= length && start % ALIGN == 0).then_some(start..end)
        };
        let rows = u64::from(footer.rows);
        Some(Entry {
            key_bits,
            starts: part(0, 4 * ((1 << key_bits) + 1))?,
            shells: part(1, (SHELLS * groups(key_bits)) as u64)?,
            rows: part(2, 4 * rows)?,
            rest: part(3, rest_bytes(rows, footer.rest_bytes))?,
        })
    }
}

/// Bytes of the rest of so many codes.
pub(super) fn rest_bytes(rows: u64, each: u32) -> u64 {
    match each {
        0 => 0,
        // A word is read for each, so the last one has bytes behind it.
        each => rows * u64::from(each) + 8 - u64::from(each),
    }
}

/// Groups of keys that share the sizes of their shells.
pub(super) fn groups(key_bits: u32) -> usize {
    1 << key_bits.saturating_sub(GROUP_BITS)
}

/// A size as one byte: in eighths of its binary logarithm.
pub(super) fn encode_size(size: f32) -> u8 {
    (8.0 * (size + 1.0).log2()).round().min(255.0) as u8
}

pub(super) fn decode_size(byte: u8) -> f32 {
    (f32::from(byte) / 8.0).exp2() - 1.0
}
