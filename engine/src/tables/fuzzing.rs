//! Tables in memory: for tests, and a way in for fuzzers with sections that no writer wrote. None of it may
//! panic, read beyond the end, or find rows that there are not.

use bitkin_storage::LazyBytes;

use super::build::{Sink, build};
use super::layout::{FOOTER_BYTES, Footer};
use super::masks::masks;
use super::read::Tables;
use crate::kernels::Kernels;
use crate::kernels::probe::{Ahead, Found, ProbeError, Shell};

/// The most rows: more only make runs slow.
const ROWS: usize = 64;

/// Widths with and without a rest beside each row, whole and padded.
const BITS: [u32; 8] = [8, 17, 60, 64, 65, 128, 250, 256];

/// Looks up what there is in a section: a byte for the width, one for the number of rows, their codes, and
/// then changes of the section, each three bytes: how far before its end, and the byte that stands there.
pub fn tables(bytes: &[u8]) {
    let [width, rows, rest @ ..] = bytes else {
        return;
    };
    let bits = BITS[*width as usize % BITS.len()];
    let stride = bits.div_ceil(8) as usize;
    let rows = 1 + *rows as usize % ROWS;
    let (from, changes) = rest.split_at(rest.len().min(rows * stride));
    let mut codes = vec![0; rows * stride];
    codes[..from.len()].copy_from_slice(from);
    for code in codes.chunks_exact_mut(stride) {
        code[stride - 1] &= 0xff >> (8 * stride as u32 - bits);
    }
    let mut words = section(bits, &codes);
    let section: &mut [u8] = bytemuck::cast_slice_mut(&mut words);
    for change in changes.chunks_exact(3) {
        let before = usize::from(u16::from_le_bytes([change[0], change[1]]));
        let at = section.len() - 1 - before % section.len();
        section[at] = change[2];
    }
    let Some(tables) = read(bits, section) else {
        return;
    };
    for kernels in Kernels::available() {
        for table in 0..tables.count() {
            for distance in 0..=2 {
                let what = (table, distance, bits / 2);
                let found = shell(kernels, &tables, section, &codes, &codes[..stride], what);
                for found in found.unwrap_or_default() {
                    assert!(tables.has_rest() || (found.row as usize) < rows);
                }
            }
        }
    }
}

impl Sink for Vec<u64> {
    type Error = std::convert::Infallible;

    // Words, for their alignment.
    fn write(&mut self, bytes: &[u8]) -> Result<(), Self::Error> {
        let at = self.pop().unwrap_or(0) as usize;
        let old = self.len() * 8;
        self.resize((at + bytes.len()).div_ceil(8).max(old / 8), 0);
        bytemuck::cast_slice_mut(self)[at..at + bytes.len()].copy_from_slice(bytes);
        self.push((at + bytes.len()) as u64);
        Ok(())
    }

    fn may_go_on(&self) -> Result<(), Self::Error> {
        Ok(())
    }
}

/// A section, whose length is a multiple of 8.
pub(super) fn section(bits: u32, codes: &[u8]) -> Vec<u64> {
    let mut words = vec![0];
    let Ok(()) = build(bits, codes, &mut words);
    let length = words.pop().unwrap_or(0);
    assert_eq!(length, words.len() as u64 * 8);
    words
}

/// The tables of a section; `None` if it has none that can be read.
pub(super) fn read(bits: u32, bytes: &[u8]) -> Option<Tables> {
    let at = bytes.len().checked_sub(FOOTER_BYTES)?;
    let footer = Footer::decode(&bytes[at..])?;
    let begin = (bytes.len() as u64).checked_sub(footer.tail())? as usize;
    let (order, entries) = bytes[begin..at].split_at_checked(4 * bits as usize)?;
    (footer.bits == bits).then(|| Tables::decode(footer, entries, order, begin as u64))?
}

/// Everything that one shell finds within a threshold.
pub(super) fn shell(
    kernels: &Kernels,
    tables: &Tables,
    bytes: &[u8],
    codes: &[u8],
    query: &[u8],
    (table, distance, threshold): (usize, u32, u32),
) -> Result<Vec<Found>, ProbeError> {
    let (keys, word) = tables.keys(query);
    let of = tables.table(LazyBytes::in_memory(bytes), table)?;
    of.sizes(keys[table]);
    let shells = [Shell {
        bucket: of.bucket,
        key: keys[table],
        word,
        masks: masks(tables.key_bits(table), distance).unwrap_or_default(),
        distance,
        query,
        codes,
        checks: None,
    }];
    let mut all = Vec::new();
    let mut take = |found: &mut Vec<Found>| {
        all.append(found);
        Some(threshold)
    };
    kernels.shell(&shells, &mut Ahead::new(), threshold, &mut take)?;
    Ok(all)
}
