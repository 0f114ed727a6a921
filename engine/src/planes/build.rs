//! Writing the planes of a segment: its codes are transposed, some columns of a block of rows at a time.

use bitkin_storage::{CollectionInfo, SectionBuilder, SectionSink, SegmentRows};

use super::{BLOCK_ROWS, Footer, LEAST_ROWS, LINE_ROWS, NAME, VERSION};
use crate::collection::Properties;

/// Words of each code that are transposed together: what comes of a block of rows is all the memory that
/// building takes, 8 MiB.
const STRIP_WORDS: usize = 8;

/// Words of a line of a plane.
const LINE_WORDS: usize = LINE_ROWS as usize / 64;

/// Builds the planes of segments, for collections that have them.
#[derive(Debug)]
pub(crate) struct PlaneBuilder;

impl SectionBuilder for PlaneBuilder {
    fn build(
        &self,
        collection: &CollectionInfo,
        rows: &SegmentRows<'_>,
        sections: &mut SectionSink<'_>,
    ) -> Result<(), bitkin_storage::Error> {
        // As for filters: without the section, searches work all the same.
        let properties: Properties =
            serde_json::from_slice(&collection.properties).unwrap_or_default();
        if !properties.planes || rows.len() < LEAST_ROWS {
            return Ok(());
        }
        sections.begin_at_block(NAME, VERSION)?;
        let write = |bytes: &[u8]| sections.write(bytes);
        build(collection.bits, rows.codes(), BLOCK_ROWS, write)
    }
}

/// Gives the section for `codes` of `bits` bits to `write`, piece by piece; there are at most 2^32 - 1 codes.
pub(super) fn build<E>(
    bits: u32,
    codes: &[u8],
    block_rows: u32,
    mut write: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let stride = bits.div_ceil(8) as usize;
    let mut planes: Vec<u64> = Vec::new();
    for block in codes.chunks(block_rows as usize * stride) {
        let lines = (block.len() / stride).div_ceil(LINE_ROWS as usize);
        let piece = lines * LINE_WORDS;
        for first in (0..stride).step_by(8 * STRIP_WORDS) {
            let words = (stride - first).div_ceil(8).min(STRIP_WORDS);
            planes.clear();
            planes.resize(64 * words * piece, 0);
            let rows = block.chunks(LINE_ROWS as usize * stride);
            for (line, rows) in rows.enumerate() {
                for word in 0..words {
                    let at = first + 8 * word;
                    let turned = turn(rows, stride, at);
                    let planes = planes[64 * word * piece..].chunks_exact_mut(piece);
                    for (plane, line_of_it) in planes.zip(&turned) {
                        plane[line * LINE_WORDS..][..LINE_WORDS].copy_from_slice(line_of_it);
                    }
                }
            }
            let count = (bits as usize - 8 * first).min(64 * words);
            for plane in planes.chunks_exact(piece).take(count) {
                write(bytemuck::cast_slice(plane))?;
            }
        }
    }
    let footer = Footer {
        rows: (codes.len() / stride) as u32,
        bits,
        block_rows,
    };
    write(&footer.encode())
}

/// The 64 bits from byte `at` on of at most a line of rows, by planes.
fn turn(rows: &[u8], stride: usize, at: usize) -> [[u64; LINE_WORDS]; 64] {
    let mut turned = [[0; LINE_WORDS]; 64];
    let bytes = (stride - at).min(8);
    for (group, rows) in rows.chunks(64 * stride).enumerate() {
        let mut square = [0_u64; 64];
        for (to, row) in square.iter_mut().zip(rows.chunks_exact(stride)) {
            let mut word = [0; 8];
            word[..bytes].copy_from_slice(&row[at..at + bytes]);
            *to = u64::from_le_bytes(word);
        }
        transpose(&mut square);
        for (to, word) in turned.iter_mut().zip(square) {
            to[group] = word.to_le();
        }
    }
    turned
}

/// Bit i of word j becomes bit j of word i: squares of 32, 16, ... 1 bits change places.
fn transpose(square: &mut [u64; 64]) {
    let mut side = 32;
    let mut low = u64::MAX >> 32;
    while side > 0 {
        for pair in square.chunks_exact_mut(2 * side) {
            let (upper, lower) = pair.split_at_mut(side);
            for (a, b) in upper.iter_mut().zip(lower) {
                let change = (*a >> side ^ *b) & low;
                *a ^= change << side;
                *b ^= change;
            }
        }
        side /= 2;
        low ^= low << side;
    }
}
