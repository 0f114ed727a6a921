//! Many queries in one pass over the rows.
//!
//! A scan for one query waits for memory; one for many is bounded by how fast bits are counted,
//! and what is done to a row can be shared by all queries:
//!
//! ```text
//! for each group of rows:
//!     turn it on its side: one plane for each nibble of the codes, a row in each byte
//!     for each two queries:
//!         for each plane: sums += table[that nibble of both][plane]          (a byte shuffle)
//!         if no sum is <= its threshold: next queries                        (nearly always)
//!         write the sums out and append the rows that are within
//! ```
//!
//! A table has 16 bytes, which hold in how many bits each nibble differs from the first query's and,
//! 4 bits higher, from the second's. Three of these add up before they must be taken apart. So four
//! bits of as many rows as a vector has bytes cost two queries one shuffle, nothing is summed
//! across lanes, and one comparison serves a whole group.
//!
//! The bits of 31 bytes add up in a byte. Longer codes are summed in parts; the sum of the parts
//! saturates, which is right for thresholds below 255, and has 16 bits for those above.
//!
//! As in `scan.rs`, what is generic is `inline(always)`, to end up where the instructions are
//! enabled.

use super::Candidate;
use super::scan::{self, Isa};

/// Rows that are turned at once; groups are whole numbers of these.
const TURNED: usize = 32;

/// Below so many queries, turning the rows costs more than it saves.
const FEW: usize = 6;

/// Longer codes go query by query: the planes of a group would not stay in the nearest caches.
const MOST_STRIDE: usize = 256;

/// Rows of the largest group of any instruction set.
const MOST_GROUP: usize = 128;

/// The greatest threshold for which sums may saturate in a byte.
const MOST_NARROW: u32 = 254;

/// Bytes of codes whose bits are counted in a byte without saturation.
const NARROW_STRIDE: usize = 31;

/// Rows that go by one query after the other stay in the nearest cache in between.
const BLOCK_BYTES: usize = 16 << 10;

/// Table `16 * b + a` has for each nibble the number of bits in which it differs from `a` and, times
/// 16, from `b`.
static TABLES: [Table; 256] = {
    let mut tables = [Table([0; 16]); 256];
    let mut at = 0;
    while at < 256 {
        let mut nibble = 0usize;
        while nibble < 16 {
            let (a, b): (usize, usize) = (at % 16, at / 16);
            let both = (a ^ nibble).count_ones() + 16 * (b ^ nibble).count_ones();
            tables[at].0[nibble] = both as u8;
            nibble += 1;
        }
        at += 1;
    }
    tables
};

#[derive(Clone, Copy)]
#[repr(align(16))]
struct Table([u8; 16]);

/// A cache line, so that no vector lies across two.
#[derive(Clone, Copy)]
#[repr(align(64))]
#[expect(dead_code, reason = "planes are written through pointers")]
struct Line([u8; 64]);

/// Queries that are searched for together, prepared for [`super::Kernels::within_batch`], and
/// the memory that it works in: made once for a scan of many blocks.
pub struct QueryBatch {
    stride: usize,
    /// The codes, one after the other.
    codes: Vec<u8>,
    narrow: Vec<Asked>,
    wide: Vec<Asked>,
    /// For every two of `narrow`, then every two of `wide`, and each of their nibbles, the lower
    /// of a byte first: the number of their table. One that is left over is its own second.
    tables: Vec<u8>,
    planes: Vec<Line>,
}

/// A query that wants rows of a block.
#[derive(Clone, Copy)]
struct Asked {
    query: usize,
    threshold: u32,
}

impl QueryBatch {
    /// Takes codes of one length, at least one byte.
    ///
    /// # Panics
    /// When a code is empty or the lengths differ.
    pub fn new(queries: &[&[u8]]) -> QueryBatch {
        let stride = queries.first().map_or(1, |query| query.len());
        assert!(stride > 0, "a code has at least one byte");
        assert!(
            queries.iter().all(|query| query.len() == stride),
            "queries of one batch have one length"
        );
        let codes = queries.concat();
        QueryBatch {
            stride,
            codes,
            narrow: Vec::new(),
            wide: Vec::new(),
            tables: Vec::new(),
            planes: Vec::new(),
        }
    }

    /// The number of queries.
    pub fn len(&self) -> usize {
        self.codes.len() / self.stride
    }

    /// Whether there are no queries.
    pub fn is_empty(&self) -> bool {
        self.codes.is_empty()
    }

    /// Parts the queries that want rows by the sums that they need.
    fn sort(&mut self, thresholds: &[Option<u32>]) {
        self.narrow.clear();
        self.wide.clear();
        for (query, threshold) in thresholds.iter().enumerate() {
            let Some(threshold) = *threshold else {
                continue;
            };
            let asked = Asked { query, threshold };
            if threshold <= MOST_NARROW || self.stride <= NARROW_STRIDE {
                self.narrow.push(asked);
            } else {
                self.wide.push(asked);
            }
        }
    }

    fn prepare_tables(&mut self) {
        self.tables.clear();
        let code = |asked: &Asked| &self.codes[asked.query * self.stride..][..self.stride];
        for two in self.narrow.chunks(2).chain(self.wide.chunks(2)) {
            let (first, second) = (code(&two[0]), code(&two[two.len() - 1]));
            let numbers = first.iter().zip(second);
            self.tables
                .extend(numbers.flat_map(|(a, b)| [a & 0xf | b << 4, a >> 4 | b & 0xf0]));
        }
    }
}

impl std::fmt::Debug for QueryBatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "QueryBatch({} of {} bytes)", self.len(), self.stride)
    }
}

/// What an instruction set brings: vectors of bytes, each of them of another row.
///
/// # Safety of all methods
/// The machine must have the instruction set. Pointers must be valid for the bytes named; they
/// need no alignment.
pub(super) trait Planes: Isa {
    /// [`Planes::WIDTH`] bytes, or half as many pairs of them: 16-bit numbers, little-endian.
    type Bytes: Copy;
    /// A multiple of 16; at most 64.
    const WIDTH: usize;

    /// Reads `WIDTH` bytes.
    unsafe fn load(from: *const u8) -> Self::Bytes;
    /// Writes `WIDTH` bytes.
    unsafe fn store(bytes: Self::Bytes, to: *mut u8);
    /// The same byte everywhere.
    unsafe fn splat(byte: u8) -> Self::Bytes;
    /// A table for [`Planes::look_up`]. Reads 16 bytes.
    unsafe fn table(from: *const u8) -> Self::Bytes;
    /// The table's byte for each of `nibbles`, which are below 16.
    unsafe fn look_up(table: Self::Bytes, nibbles: Self::Bytes) -> Self::Bytes;
    /// Sums of bytes, of which the lowest eight bits are kept.
    unsafe fn add(a: Self::Bytes, b: Self::Bytes) -> Self::Bytes;
    /// Sums of bytes, 255 where they are greater.
    unsafe fn add_saturating(a: Self::Bytes, b: Self::Bytes) -> Self::Bytes;
    /// The upper four bits of each byte.
    unsafe fn high(bytes: Self::Bytes) -> Self::Bytes;
    /// `a` less 16 times `b`, of which all but the lowest eight bits are dropped.
    unsafe fn less_shifted(a: Self::Bytes, b: Self::Bytes) -> Self::Bytes;
    /// The lesser bytes.
    unsafe fn least(a: Self::Bytes, b: Self::Bytes) -> Self::Bytes;
    /// Whether any byte is at most the threshold's.
    unsafe fn any_byte_within(sums: Self::Bytes, threshold: Self::Bytes) -> bool;
    /// The first byte of each pair, as a 16-bit number.
    unsafe fn even(bytes: Self::Bytes) -> Self::Bytes;
    /// The second byte of each pair, as a 16-bit number.
    unsafe fn odd(bytes: Self::Bytes) -> Self::Bytes;
    /// Sums of 16-bit numbers.
    unsafe fn add_pairs(a: Self::Bytes, b: Self::Bytes) -> Self::Bytes;
    /// The same 16-bit number everywhere.
    unsafe fn splat_pair(value: u16) -> Self::Bytes;
    /// Whether any 16-bit number is at most the threshold's.
    unsafe fn any_pair_within(sums: Self::Bytes, threshold: Self::Bytes) -> bool;
}

/// [`super::Kernels::within_batch`], with groups of `R` vectors of rows.
///
/// # Safety
/// The machine must have the instruction set `I`. `thresholds` and `found` must be as long as
/// the batch. `R * I::WIDTH` must be a multiple of [`TURNED`] and at most [`MOST_GROUP`].
#[inline(always)]
pub(super) unsafe fn within<I: Planes, const R: usize>(
    batch: &mut QueryBatch,
    rows: &[u8],
    first_row: u32,
    thresholds: &[Option<u32>],
    found: &mut [Vec<Candidate>],
) {
    let group = R * I::WIDTH;
    let stride = batch.stride;
    batch.sort(thresholds);
    if batch.narrow.len() + batch.wide.len() < FEW || stride > MOST_STRIDE {
        // SAFETY: the caller's.
        unsafe { one_by_one::<I>(batch, rows, first_row, thresholds, found) };
        return;
    }

    let lines = (2 * stride * group).div_ceil(64);
    batch.planes.resize(lines, Line([0; 64]));
    let planes = batch.planes.as_mut_ptr().cast::<u8>();
    batch.prepare_tables();
    let groups = rows.chunks_exact(group * stride);
    let rest = groups.remainder();
    let mut row = first_row;
    for rows in groups {
        // SAFETY: there are `group` rows, and `planes` holds a byte for each of their nibbles.
        // Each two queries have as many tables as there are planes.
        unsafe {
            turn(rows, stride, group, planes);
            let mut tables = batch.tables.chunks_exact(2 * stride);
            for (asked, tables) in batch.narrow.chunks(2).zip(&mut tables) {
                narrow::<I, R>(planes, tables, asked, row, found);
            }
            for (asked, tables) in batch.wide.chunks(2).zip(&mut tables) {
                wide::<I, R>(planes, tables, asked, row, found);
            }
        }
        row += group as u32;
    }
    // SAFETY: the caller's.
    unsafe { one_by_one::<I>(batch, rest, row, thresholds, found) };
}

/// The same by the kernel for one query.
///
/// # Safety
/// The machine must have the instruction set `I`. `thresholds` and `found` must be as long as
/// the batch.
#[inline(always)]
pub(super) unsafe fn one_by_one<I: Isa>(
    batch: &mut QueryBatch,
    rows: &[u8],
    first_row: u32,
    thresholds: &[Option<u32>],
    found: &mut [Vec<Candidate>],
) {
    let stride = batch.stride;
    let block = (BLOCK_BYTES / stride).max(1);
    let mut row = first_row;
    for rows in rows.chunks(block * stride) {
        let queries = batch.codes.chunks_exact(stride);
        for ((query, threshold), found) in queries.zip(thresholds).zip(found.iter_mut()) {
            if let Some(threshold) = *threshold {
                // SAFETY: the caller's; codes of a batch are not empty.
                unsafe { scan::within::<I, false>(query, query, rows, row, threshold, found) };
            }
        }
        row += block as u32;
    }
}

/// Appends the rows of a group that are within thresholds which sums of bytes can tell.
///
/// # Safety
/// As [`sums`], of all planes of codes as long as `tables`, for `R * I::WIDTH` rows.
#[inline(always)]
unsafe fn narrow<I: Planes, const R: usize>(
    planes: *const u8,
    tables: &[u8],
    asked: &[Asked],
    first_row: u32,
    found: &mut [Vec<Candidate>],
) {
    // SAFETY: the caller's; planes are passed over as their nibbles in the tables are; a buffer
    // holds the largest group.
    unsafe {
        let mut totals = sums::<I, R>(planes, part(tables, 0));
        let mut at = 2 * NARROW_STRIDE;
        while at < tables.len() {
            let sums = sums::<I, R>(planes.add(at * R * I::WIDTH), part(tables, at));
            for (total, sum) in totals.iter_mut().flatten().zip(sums.iter().flatten()) {
                *total = I::add_saturating(*total, *sum);
            }
            at += 2 * NARROW_STRIDE;
        }
        for (sums, asked) in totals.into_iter().zip(asked) {
            let mut least = sums[0];
            for &sums in &sums[1..] {
                least = I::least(least, sums);
            }
            let threshold = asked.threshold.min(MOST_NARROW) as u8;
            if I::any_byte_within(least, I::splat(threshold)) {
                let mut buffer = [0; MOST_GROUP];
                for (vector, sums) in sums.into_iter().enumerate() {
                    I::store(sums, buffer.as_mut_ptr().add(vector * I::WIDTH));
                }
                let sums = &buffer[..R * I::WIDTH];
                append_narrow(sums, first_row, threshold, &mut found[asked.query]);
            }
        }
    }
}

/// [`narrow`] for any threshold, of codes of at most [`MOST_STRIDE`] bytes.
///
/// # Safety
/// As [`narrow`].
#[inline(always)]
unsafe fn wide<I: Planes, const R: usize>(
    planes: *const u8,
    tables: &[u8],
    asked: &[Asked],
    first_row: u32,
    found: &mut [Vec<Candidate>],
) {
    // SAFETY: the caller's; planes are passed over as their nibbles in the tables are; a buffer
    // holds the largest group.
    unsafe {
        let mut totals = [[[I::splat(0); 2]; R]; 2];
        let mut at = 0;
        while at < tables.len() {
            let sums = sums::<I, R>(planes.add(at * R * I::WIDTH), part(tables, at));
            for (totals, sums) in totals.iter_mut().flatten().zip(sums.iter().flatten()) {
                totals[0] = I::add_pairs(totals[0], I::even(*sums));
                totals[1] = I::add_pairs(totals[1], I::odd(*sums));
            }
            at += 2 * NARROW_STRIDE;
        }
        for (totals, asked) in totals.iter().zip(asked) {
            let threshold = u16::try_from(asked.threshold).unwrap_or(u16::MAX);
            let limit = I::splat_pair(threshold);
            let mut any = false;
            for &[even, odd] in totals {
                any |= I::any_pair_within(even, limit) | I::any_pair_within(odd, limit);
            }
            if any {
                let mut buffer = [[0; MOST_GROUP]; 2];
                for (vector, totals) in totals.iter().enumerate() {
                    for (total, buffer) in totals.iter().zip(&mut buffer) {
                        I::store(*total, buffer.as_mut_ptr().add(vector * I::WIDTH));
                    }
                }
                let [even, odd] = &buffer;
                let (even, odd) = (&even[..R * I::WIDTH], &odd[..R * I::WIDTH]);
                append_wide(even, odd, first_row, threshold, &mut found[asked.query]);
            }
        }
    }
}

/// As many tables from `at` on, which is one of them, as sums of bytes can take.
#[inline(always)]
fn part(tables: &[u8], at: usize) -> &[u8] {
    &tables[at..tables.len().min(at + 2 * NARROW_STRIDE)]
}

/// For both queries and each row, the number of bits in which the nibbles of `tables` differ.
///
/// # Safety
/// The machine must have the instruction set `I`. There must be at most [`NARROW_STRIDE`] tables,
/// twice, and `planes` must be readable for `R * I::WIDTH` bytes for each of them.
#[inline(always)]
unsafe fn sums<I: Planes, const R: usize>(
    mut planes: *const u8,
    tables: &[u8],
) -> [[I::Bytes; R]; 2] {
    // SAFETY: the caller's.
    unsafe {
        // Of the first query plus 16 times the second, of which the lowest eight bits are kept.
        let mut both = [I::splat(0); R];
        let mut second = [I::splat(0); R];
        let (threes, rest) = tables.as_chunks::<3>();
        for numbers in threes {
            let mut loaded = [I::splat(0); 3];
            for (table, number) in loaded.iter_mut().zip(numbers) {
                *table = I::table(TABLES[usize::from(*number)].0.as_ptr());
            }
            for vector in 0..R {
                let look_up = |plane: usize| {
                    let nibbles = planes.add((plane * R + vector) * I::WIDTH);
                    I::look_up(loaded[plane], I::load(nibbles))
                };
                let three = I::add(I::add(look_up(0), look_up(1)), look_up(2));
                both[vector] = I::add(both[vector], three);
                second[vector] = I::add(second[vector], I::high(three));
            }
            planes = planes.add(3 * R * I::WIDTH);
        }
        for number in rest {
            let table = I::table(TABLES[usize::from(*number)].0.as_ptr());
            for vector in 0..R {
                let one = I::look_up(table, I::load(planes.add(vector * I::WIDTH)));
                both[vector] = I::add(both[vector], one);
                second[vector] = I::add(second[vector], I::high(one));
            }
            planes = planes.add(R * I::WIDTH);
        }
        for (both, second) in both.iter_mut().zip(second) {
            *both = I::less_shifted(*both, second);
        }
        [both, second]
    }
}

/// Kept out of line, as it is rarely reached.
#[inline(never)]
fn append_narrow(sums: &[u8], first_row: u32, threshold: u8, found: &mut Vec<Candidate>) {
    for (row, &sum) in (first_row..).zip(sums) {
        if sum <= threshold {
            found.push(Candidate {
                row,
                distance: u32::from(sum),
            });
        }
    }
}

/// Every second row's sum is in `even`, the others in `odd`.
#[inline(never)]
fn append_wide(
    even: &[u8],
    odd: &[u8],
    first_row: u32,
    threshold: u16,
    found: &mut Vec<Candidate>,
) {
    let sums = even.as_chunks::<2>().0.iter().zip(odd.as_chunks::<2>().0);
    for (row, sum) in (first_row..).zip(sums.flat_map(|(even, odd)| [even, odd])) {
        let sum = u16::from_le_bytes(*sum);
        if sum <= threshold {
            found.push(Candidate {
                row,
                distance: u32::from(sum),
            });
        }
    }
}

/// Turns `group` rows on their side: plane `n` gets nibble `n` of each.
///
/// # Safety
/// `rows` must hold `group` rows of `stride` bytes, a multiple of [`TURNED`], and `planes` must
/// be writable for `2 * stride * group` bytes.
#[inline(always)]
unsafe fn turn(rows: &[u8], stride: usize, group: usize, planes: *mut u8) {
    for first in (0..group).step_by(TURNED) {
        let rows = &rows[first * stride..][..TURNED * stride];
        let mut column = 0;
        while column < stride {
            // The last eight bytes may overlap those before.
            let start = column.min(stride.saturating_sub(8));
            let bytes = columns(rows, stride, start);
            for (at, bytes) in bytes.iter().enumerate().take(stride) {
                let low = bytes.map(|word| (word & 0x0f0f_0f0f_0f0f_0f0f).to_le());
                let high = bytes.map(|word| (word >> 4 & 0x0f0f_0f0f_0f0f_0f0f).to_le());
                // SAFETY: `start + at < stride`, and the 32 rows lie in the group.
                unsafe {
                    let plane = planes.add(2 * (start + at) * group + first);
                    plane.cast::<[u64; 4]>().write_unaligned(low);
                    plane.add(group).cast::<[u64; 4]>().write_unaligned(high);
                }
            }
            column = start + 8;
        }
    }
}

/// Eight columns of bytes of 32 rows, from byte `start` on; beyond short rows, zeros.
#[inline(always)]
fn columns(rows: &[u8], stride: usize, start: usize) -> [[u64; 4]; 8] {
    let mut words = [[0; 4]; 8];
    for (row, words) in words.iter_mut().enumerate() {
        for (eight, word) in words.iter_mut().enumerate() {
            let row = &rows[(8 * eight + row) * stride..][..stride];
            *word = match row[start..].first_chunk() {
                Some(bytes) => u64::from_le_bytes(*bytes),
                None => row
                    .iter()
                    .rev()
                    .fold(0, |word, byte| word << 8 | u64::from(*byte)),
            };
        }
    }
    swap::<4>(&mut words, 32, 0x0000_0000_ffff_ffff);
    swap::<2>(&mut words, 16, 0x0000_ffff_0000_ffff);
    swap::<1>(&mut words, 8, 0x00ff_00ff_00ff_00ff);
    words
}

/// Swaps the blocks beside the diagonal: what is above `mask` in words goes below it in those
/// `APART` later, and the reverse.
#[inline(always)]
fn swap<const APART: usize>(words: &mut [[u64; 4]; 8], shift: u32, mask: u64) {
    for at in (0..8).filter(|at| at & APART == 0) {
        let (above, below) = words.split_at_mut(at + APART);
        for (a, b) in above[at].iter_mut().zip(&mut below[0]) {
            (*a, *b) = (
                (*a & mask) | (*b & mask) << shift,
                *a >> shift & mask | (*b & !mask),
            );
        }
    }
}
