//! Planes in memory: for tests, and a way in for fuzzers with sections that no writer wrote. None of it may
//! panic or read beyond the end.

use bitkin_storage::LazyBytes;

use super::build::build;
use super::read::Planes;
use crate::kernels::{Kernels, PLANES_ROWS, PlaneCounters, PlaneQuery, PlaneRows};

/// Widths, whole and padded.
const BITS: [u32; 6] = [8, 17, 64, 65, 250, 700];

/// Looks through what planes there are in a section: a byte for the width, one for the number of rows, one for
/// the length of blocks, and then changes of the section, each three bytes: how far before its end, and the
/// byte that stands there.
pub fn planes(bytes: &[u8]) {
    let [width, rows, block, changes @ ..] = bytes else {
        return;
    };
    let bits = BITS[*width as usize % BITS.len()];
    let rows = 1 + 7 * *rows as usize;
    let codes = vec![0; rows * bits.div_ceil(8) as usize];
    let mut section = section(bits, &codes, 512 * (1 + u32::from(*block % 4)));
    for change in changes.chunks_exact(3) {
        let before = usize::from(u16::from_le_bytes([change[0], change[1]]));
        let at = section.len() - 1 - before % section.len();
        section[at] = change[2];
    }
    let Some(planes) = Planes::read(LazyBytes::in_memory(&section), rows, bits) else {
        return;
    };
    let mask: Vec<u32> = (0..bits).step_by(3).collect();
    for kernels in Kernels::available() {
        for (row, distance) in within(kernels, &planes, rows, &mask, &[], bits / 6) {
            assert!((row as usize) < rows && distance <= bits / 6);
        }
    }
}

/// A section with blocks of so many rows.
pub(super) fn section(bits: u32, codes: &[u8], block_rows: u32) -> Vec<u8> {
    let mut section = Vec::new();
    let written: Result<(), std::convert::Infallible> = build(bits, codes, block_rows, |bytes| {
        section.extend_from_slice(bytes);
        Ok(())
    });
    let Ok(()) = written;
    section
}

/// The rows that differ from `query`, zeros if it is empty, in at most `threshold` of the bits `mask`, with
/// their distances.
pub(super) fn within(
    kernels: &Kernels,
    planes: &Planes<'_>,
    rows: usize,
    mask: &[u32],
    query: &[u8],
    threshold: u32,
) -> Vec<(u32, u32)> {
    let bit = |bit: &u32| {
        let byte = query.get(*bit as usize / 8);
        byte.is_some_and(|byte| byte >> (bit % 8) & 1 == 1)
    };
    let query = PlaneQuery::new(mask.iter().map(bit));
    let (mut counters, mut found) = (PlaneCounters::default(), Vec::new());
    let (mut row, mut pieces) = (0, Vec::new());
    while row < rows as u32 {
        let block = planes.block(row);
        let read = planes.of_block(&block, mask, &mut pieces);
        read.expect("there is nothing to check in memory");
        for start in (0..block.len()).step_by(PLANES_ROWS) {
            let rows = PlaneRows {
                planes: &pieces,
                start,
                end: block.len().min(start + PLANES_ROWS),
                first_row: block.start,
            };
            kernels.within_planes(&query, &rows, threshold, &mut counters, &mut found);
        }
        row = block.end;
    }
    found.iter().map(|row| (row.row, row.distance)).collect()
}
