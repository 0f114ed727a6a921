//! The algorithm of the kernels, once for all instruction sets.
//!
//! ```text
//! for each group of up to 4 vectors of rows:
//!     d0..d3 = distances, one row in each lane
//!     if no lane of min(d0, d1, d2, d3) is <= threshold: next group     (nearly always)
//!     write the lanes out and append the rows that are within
//! for each row left over: one at a time
//! ```
//!
//! Where counting bits takes longer than reading them, and the threshold is small, half of the bits are
//! compared first: that is enough for nearly every group.
//!
//! One comparison and one branch serve a whole group, and distances stay in registers unless
//! something is found: a scan then runs as fast as memory delivers. The vectors of a group come from four
//! stretches of the rows, where there are enough: memory delivers several streams faster than one. Strides
//! of 8, 16, 32, 64 and 128 bytes are compiled separately; any other goes row by row, by 64-bit words where
//! that is two to four of them.
//!
//! Everything here is `inline(always)`: it must end up inside a function that has the
//! instruction set enabled, or its intrinsics become calls.

use super::Candidate;

/// Vectors of rows in the largest group.
const MOST_UNROLL: usize = 4;

/// Bytes ahead of the comparison at which rows are asked for. The processor's own prefetching
/// stops at the end of a page and starts anew on the next; this crosses it.
const PREFETCH_AHEAD: usize = 2048;

/// Stretches of the rows that are read side by side.
const STREAMS: usize = 4;

/// The same, in each stream.
const STREAM_AHEAD: usize = 1024;

/// Bytes of rows from which on they are read in streams: beginning costs something.
pub(super) const STREAMED: usize = 64 << 10;

const CACHE_LINE: usize = 64;

/// Lanes of the widest instruction set.
const MOST_LANES: usize = 8;

/// What an instruction set brings to the algorithm.
///
/// # Safety of all methods
/// The machine must have the instruction set. Pointers must be readable for the bytes named;
/// they need no alignment.
pub(super) trait Isa {
    /// Distances of [`Isa::LANES`] rows, one in each lane.
    type Distances: Copy;
    /// A query of a fixed stride, laid out for comparison with rows.
    type Query: Copy;
    /// Rows compared at once; at most [`MOST_LANES`].
    const LANES: usize;

    /// Loads a query. Reads `STRIDE` bytes.
    unsafe fn query<const STRIDE: usize>(query: *const u8) -> Self::Query;
    /// Distances of `LANES` consecutive rows, in row order. Reads `LANES * STRIDE` bytes. Only
    /// where `MASKED` is `mask` looked at; then only its bits count.
    unsafe fn compare<const STRIDE: usize, const MASKED: bool>(
        query: Self::Query,
        mask: Self::Query,
        rows: *const u8,
    ) -> Self::Distances;
    /// The strides of which [`Isa::compare_half`] takes clearly less than [`Isa::compare`]; 0 where none do.
    const HALVED: std::ops::RangeInclusive<usize> = 0..=0;
    /// As [`Isa::compare`], but over one half of each row's bits, always the same: no row is nearer than
    /// that. In any order. Reads as many bytes, or fewer.
    #[inline(always)]
    unsafe fn compare_half<const STRIDE: usize>(
        query: Self::Query,
        rows: *const u8,
    ) -> Self::Distances {
        // SAFETY: the caller's.
        unsafe { Self::compare::<STRIDE, false>(query, query, rows) }
    }
    /// The lesser of the two, lane by lane.
    unsafe fn min(a: Self::Distances, b: Self::Distances) -> Self::Distances;
    /// Whether any lane is at most `threshold`.
    unsafe fn any_within(distances: Self::Distances, threshold: u32) -> bool;
    /// The lanes that are at most `threshold`, as bits from the lowest.
    #[inline(always)]
    unsafe fn lanes_within(distances: Self::Distances, threshold: u32) -> u32 {
        let mut lanes = [0_u32; MOST_LANES];
        // SAFETY: there are as many numbers, or more.
        unsafe { Self::write(distances, lanes.as_mut_ptr()) };
        let within = |lane: usize| u32::from(lanes[lane] <= threshold) << lane;
        (0..Self::LANES).map(within).sum()
    }
    /// Writes `LANES` numbers.
    unsafe fn write(distances: Self::Distances, out: *mut u32);
    /// Asks for the cache line of an address, which need not be readable.
    #[inline(always)]
    unsafe fn prefetch(_address: *const u8) {}
    /// Distance of one row of any stride. Reads `query.len()` bytes, of the mask too if `MASKED`.
    unsafe fn row<const MASKED: bool>(query: &[u8], mask: &[u8], row: *const u8) -> u32;
}

/// [`super::Kernels::within`] and, where `MASKED`, [`super::Kernels::within_masked`]; otherwise
/// `mask` is not read.
///
/// # Safety
/// The machine must have the instruction set `I`. `query` must not be empty, and `mask` must be
/// as long.
#[inline(always)]
pub(super) unsafe fn within<I: Isa, const MASKED: bool>(
    query: &[u8],
    mask: &[u8],
    rows: &[u8],
    first_row: u32,
    threshold: u32,
    found: &mut Vec<Candidate>,
) {
    // SAFETY: the strides are the queries' lengths; the rest is the caller's.
    unsafe {
        match query.len() {
            8 => within_fixed::<I, 8, 4, MASKED>(query, mask, rows, first_row, threshold, found),
            16 => within_fixed::<I, 16, 4, MASKED>(query, mask, rows, first_row, threshold, found),
            32 => within_fixed::<I, 32, 2, MASKED>(query, mask, rows, first_row, threshold, found),
            64 => within_fixed::<I, 64, 1, MASKED>(query, mask, rows, first_row, threshold, found),
            128 => {
                within_fixed::<I, 128, 1, MASKED>(query, mask, rows, first_row, threshold, found)
            }
            9..16 => within_words::<I, 2, MASKED>(query, mask, rows, first_row, threshold, found),
            17..=24 => within_words::<I, 3, MASKED>(query, mask, rows, first_row, threshold, found),
            25..32 => within_words::<I, 4, MASKED>(query, mask, rows, first_row, threshold, found),
            _ => within_rows::<I, MASKED>(query, mask, rows, first_row, threshold, found),
        }
    }
}

/// [`super::Kernels::distances`] and, where `MASKED`, [`super::Kernels::distances_masked`];
/// otherwise `mask` is not read.
///
/// # Safety
/// As [`within`], and `rows` must hold a row for each number of `out`.
#[inline(always)]
pub(super) unsafe fn distances<I: Isa, const MASKED: bool>(
    query: &[u8],
    mask: &[u8],
    rows: &[u8],
    out: &mut [u32],
) {
    // SAFETY: the strides are the queries' lengths; the rest is the caller's.
    unsafe {
        match query.len() {
            8 => distances_fixed::<I, 8, MASKED>(query, mask, rows, out),
            16 => distances_fixed::<I, 16, MASKED>(query, mask, rows, out),
            32 => distances_fixed::<I, 32, MASKED>(query, mask, rows, out),
            64 => distances_fixed::<I, 64, MASKED>(query, mask, rows, out),
            128 => distances_fixed::<I, 128, MASKED>(query, mask, rows, out),
            stride => {
                for (row, out) in rows.chunks_exact(stride).zip(out) {
                    *out = I::row::<MASKED>(query, mask, row.as_ptr());
                }
            }
        }
    }
}

/// `UNROLL` vectors of rows make a group, 1, 2 or 4: as many as fit in the registers.
///
/// # Safety
/// As [`within`], and `query` has `STRIDE` bytes.
#[inline(always)]
unsafe fn within_fixed<I: Isa, const STRIDE: usize, const UNROLL: usize, const MASKED: bool>(
    query: &[u8],
    mask: &[u8],
    rows: &[u8],
    first_row: u32,
    threshold: u32,
    found: &mut Vec<Candidate>,
) {
    let group = UNROLL * I::LANES;
    let count = rows.len() / STRIDE;
    // SAFETY: both have STRIDE bytes.
    let (loaded, loaded_mask) = unsafe {
        (
            I::query::<STRIDE>(query.as_ptr()),
            I::query::<STRIDE>(mask.as_ptr()),
        )
    };
    let mut halves = Halves::new(!MASKED && I::HALVED.contains(&STRIDE), STRIDE, threshold);
    let mut row = 0;
    if rows.len() >= STREAMED {
        // SAFETY: the caller's; both were loaded from STRIDE bytes.
        row = unsafe {
            let loaded = (loaded, loaded_mask);
            in_streams::<I, STRIDE, MASKED>(loaded, &mut halves, rows, first_row, threshold, found)
        };
    }
    while row + group <= count {
        // SAFETY: `row + group <= count`, so the group's `group * STRIDE` bytes lie in `rows`.
        // Each comparison reads its own LANES rows of it, and writes as many numbers to a
        // buffer that holds those of four.
        unsafe {
            let start = rows.as_ptr().add(row * STRIDE);
            for line in 0..group * STRIDE / CACHE_LINE {
                I::prefetch(start.wrapping_add(PREFETCH_AHEAD + line * CACHE_LINE));
            }
            if halves.are_compared {
                let mut least = I::compare_half::<STRIDE>(loaded, start);
                for vector in 1..UNROLL {
                    let rows = start.add(vector * I::LANES * STRIDE);
                    least = I::min(least, I::compare_half::<STRIDE>(loaded, rows));
                }
                if !halves.any_within(I::any_within(least, threshold)) {
                    row += group;
                    continue;
                }
            }
            let compare = |vector| {
                let rows = start.add(vector * I::LANES * STRIDE);
                I::compare::<STRIDE, MASKED>(loaded, loaded_mask, rows)
            };
            let d0 = compare(0);
            let d1 = if UNROLL > 1 { compare(1) } else { d0 };
            let (d2, d3) = if UNROLL > 2 {
                (compare(2), compare(3))
            } else {
                (d0, d1)
            };
            let least = if UNROLL > 2 {
                I::min(I::min(d0, d1), I::min(d2, d3))
            } else {
                I::min(d0, d1)
            };
            if I::any_within(least, threshold) {
                let mut buffer = [0u32; MOST_UNROLL * MOST_LANES];
                for (vector, distances) in [d0, d1, d2, d3].into_iter().enumerate() {
                    I::write(distances, buffer.as_mut_ptr().add(vector * I::LANES));
                }
                append(&buffer[..group], first_row + row as u32, threshold, found);
            }
        }
        row += group;
    }
    // SAFETY: the caller's.
    unsafe {
        let rest = &rows[row * STRIDE..];
        within_rows::<I, MASKED>(query, mask, rest, first_row + row as u32, threshold, found);
    }
}

/// As [`within_fixed`], with the vectors of a group from [`STREAMS`] stretches of the rows. Returns how many
/// rows it looked at, from the first: all but a few.
///
/// # Safety
/// As [`within`]; query and mask were loaded with the same `STRIDE`.
#[inline(always)]
unsafe fn in_streams<I: Isa, const STRIDE: usize, const MASKED: bool>(
    (query, mask): (I::Query, I::Query),
    halves: &mut Halves,
    rows: &[u8],
    first_row: u32,
    threshold: u32,
    found: &mut Vec<Candidate>,
) -> usize {
    let bytes = I::LANES * STRIDE;
    let vectors = rows.len() / bytes / STREAMS;
    let share = vectors * bytes;
    let mut at = 0;
    while at < share {
        // SAFETY: `at + bytes <= share`, as both are whole vectors, and STREAMS shares lie in `rows`: so the
        // vector at `at` of each does. A buffer holds as many numbers as a vector has lanes.
        unsafe {
            let start = rows.as_ptr().add(at);
            let stream = |number: usize| start.add(number * share);
            for number in 0..STREAMS {
                for line in 0..bytes.div_ceil(CACHE_LINE) {
                    let ahead = number * share + STREAM_AHEAD + line * CACHE_LINE;
                    I::prefetch(start.wrapping_add(ahead));
                }
            }
            at += bytes;
            if halves.are_compared {
                let mut least = I::compare_half::<STRIDE>(query, stream(0));
                for number in 1..STREAMS {
                    let distances = I::compare_half::<STRIDE>(query, stream(number));
                    least = I::min(least, distances);
                }
                if !halves.any_within(I::any_within(least, threshold)) {
                    continue;
                }
            }
            let d0 = I::compare::<STRIDE, MASKED>(query, mask, stream(0));
            let d1 = I::compare::<STRIDE, MASKED>(query, mask, stream(1));
            let d2 = I::compare::<STRIDE, MASKED>(query, mask, stream(2));
            let d3 = I::compare::<STRIDE, MASKED>(query, mask, stream(3));
            let least = I::min(I::min(d0, d1), I::min(d2, d3));
            if I::any_within(least, threshold) {
                let row = at / STRIDE - I::LANES;
                for (number, distances) in [d0, d1, d2, d3].into_iter().enumerate() {
                    let mut buffer = [0_u32; MOST_LANES];
                    I::write(distances, buffer.as_mut_ptr());
                    let first = first_row + (number * share / STRIDE + row) as u32;
                    append(&buffer[..I::LANES], first, threshold, found);
                }
            }
        }
    }
    STREAMS * share / STRIDE
}

/// Whether one half of the bits is compared first, since it is enough for nearly all rows.
struct Halves {
    are_compared: bool,
    /// Groups that may still be within by halves before that is given up; each that is not makes up for a
    /// part of one that is.
    credit: i32,
}

impl Halves {
    /// What a group costs that is within by halves, in parts of what one earns that is not.
    const COST: i32 = 3;
    const FIRST: i32 = 2 * Self::COST;
    const MOST: i32 = 8 * Self::COST;

    #[inline(always)]
    fn new(may: bool, stride: usize, threshold: u32) -> Halves {
        // Three deviations below the mean of what half of the bits of two unlike rows differ in: beyond that
        // more and more groups have such a row by chance.
        let half = 4.0 * stride as f32;
        let below = (half / 2.0 - 1.5 * half.sqrt()) as u32;
        Halves {
            are_compared: may && threshold < below,
            credit: Self::FIRST,
        }
    }

    #[inline(always)]
    fn any_within(&mut self, within: bool) -> bool {
        if within {
            self.credit -= Self::COST;
            self.are_compared = self.credit > 0;
        } else {
            self.credit = Self::MOST.min(self.credit + 1);
        }
        within
    }
}

/// Kept out of line: rarely reached, and small code keeps the loop above tight.
#[inline(never)]
fn append(distances: &[u32], first_row: u32, threshold: u32, found: &mut Vec<Candidate>) {
    for (row, &distance) in (first_row..).zip(distances) {
        if distance <= threshold {
            found.push(Candidate { row, distance });
        }
    }
}

/// # Safety
/// As [`within`].
#[inline(always)]
unsafe fn within_rows<I: Isa, const MASKED: bool>(
    query: &[u8],
    mask: &[u8],
    rows: &[u8],
    first_row: u32,
    threshold: u32,
    found: &mut Vec<Candidate>,
) {
    for (number, row) in (first_row..).zip(rows.chunks_exact(query.len())) {
        // SAFETY: `row` has as many bytes as the query.
        let distance = unsafe { I::row::<MASKED>(query, mask, row.as_ptr()) };
        if distance <= threshold {
            found.push(Candidate {
                row: number,
                distance,
            });
        }
    }
}

/// # Safety
/// As [`distances`], and `query` has `STRIDE` bytes.
#[inline(always)]
unsafe fn distances_fixed<I: Isa, const STRIDE: usize, const MASKED: bool>(
    query: &[u8],
    mask: &[u8],
    rows: &[u8],
    out: &mut [u32],
) {
    let count = out.len();
    // SAFETY: both have STRIDE bytes.
    let (loaded, loaded_mask) = unsafe {
        (
            I::query::<STRIDE>(query.as_ptr()),
            I::query::<STRIDE>(mask.as_ptr()),
        )
    };
    let mut row = 0;
    while row + I::LANES <= count {
        // SAFETY: rows `row..row + LANES` lie in `rows` as well as in `out`.
        unsafe {
            let start = rows.as_ptr().add(row * STRIDE);
            let distances = I::compare::<STRIDE, MASKED>(loaded, loaded_mask, start);
            I::write(distances, out.as_mut_ptr().add(row));
        }
        row += I::LANES;
    }
    for (bytes, out) in rows[row * STRIDE..]
        .chunks_exact(STRIDE)
        .zip(&mut out[row..])
    {
        // SAFETY: `bytes` has STRIDE bytes, as the query.
        *out = unsafe { I::row::<MASKED>(query, mask, bytes.as_ptr()) };
    }
}

/// [`within`] for strides that take `WORDS` 64-bit words, the last of them in part or whole.
///
/// # Safety
/// The machine must have the instruction set `I`. `query` must have more than `8 * (WORDS - 1)`
/// bytes, at most `8 * WORDS`, and at least 8.
#[inline(always)]
unsafe fn within_words<I: Isa, const WORDS: usize, const MASKED: bool>(
    query: &[u8],
    mask: &[u8],
    rows: &[u8],
    first_row: u32,
    threshold: u32,
    found: &mut Vec<Candidate>,
) {
    let stride = query.len();
    // SAFETY: the caller's.
    let (query, mask) = unsafe {
        (
            words::<WORDS>(query.as_ptr(), stride),
            words::<WORDS>(mask.as_ptr(), stride),
        )
    };
    for (number, row) in (first_row..).zip(rows.chunks_exact(stride)) {
        // SAFETY: `row` has as many bytes as the query; a prefetch reads nothing.
        let row = unsafe {
            I::prefetch(row.as_ptr().wrapping_add(PREFETCH_AHEAD));
            words::<WORDS>(row.as_ptr(), stride)
        };
        let distance = differing::<WORDS, MASKED>(query, mask, row);
        if distance <= threshold {
            found.push(Candidate {
                row: number,
                distance,
            });
        }
    }
}

/// A word of a code of which a mask has bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaskWord {
    /// The byte of the code at which it starts.
    pub at: u32,
    /// The mask's bits; byte `at` of the code is the lowest of the word.
    pub mask: u64,
    /// The query's.
    pub query: u64,
}

/// Rows ahead of the comparison at which words are asked for.
const ROWS_AHEAD: usize = 16;

/// [`super::Kernels::within_words`].
///
/// # Safety
/// The machine must have the instruction set `I`. `stride` must not be 0, and each of `words` lie below.
#[inline(always)]
pub(super) unsafe fn within_some<I: Isa>(
    words: &[MaskWord],
    stride: usize,
    rows: &[u8],
    first_row: u32,
    threshold: u32,
    found: &mut Vec<Candidate>,
) {
    for (number, row) in (first_row..).zip(rows.chunks_exact(stride)) {
        let mut distance = 0;
        for word in words {
            let at = row.as_ptr().wrapping_add(word.at as usize);
            // SAFETY: the eight bytes of the word lie in the row; a prefetch reads nothing.
            let value = unsafe {
                I::prefetch(at.wrapping_add(ROWS_AHEAD * stride));
                u64::from_le(at.cast::<u64>().read_unaligned())
            };
            distance += ((value ^ word.query) & word.mask).count_ones();
        }
        if distance <= threshold {
            found.push(Candidate {
                row: number,
                distance,
            });
        }
    }
}

/// The number of bits in which codes differ, of those in the mask if `MASKED`.
#[inline(always)]
fn differing<const WORDS: usize, const MASKED: bool>(
    query: [u64; WORDS],
    mask: [u64; WORDS],
    row: [u64; WORDS],
) -> u32 {
    let mut sum = 0;
    for at in 0..WORDS {
        let difference = query[at] ^ row[at];
        sum += if MASKED {
            (difference & mask[at]).count_ones()
        } else {
            difference.count_ones()
        };
    }
    sum
}

/// The code as 64-bit words. The last one is read so that it ends where the code ends, and the
/// bytes that belong to the word before are shifted out.
///
/// # Safety
/// `code` must be readable for `stride` bytes, which are more than `8 * (WORDS - 1)`, at most
/// `8 * WORDS`, and at least 8.
#[inline(always)]
unsafe fn words<const WORDS: usize>(code: *const u8, stride: usize) -> [u64; WORDS] {
    let mut words = [0; WORDS];
    // SAFETY: every read ends at `stride` or before: the last word's by its position, the
    // others' because `8 * (WORDS - 1) < stride`.
    unsafe {
        for (at, word) in words.iter_mut().enumerate() {
            let last = at == WORDS - 1;
            let start = if last { stride - 8 } else { 8 * at };
            let value = u64::from_le(code.add(start).cast::<u64>().read_unaligned());
            *word = if last {
                value >> (8 * (8 * WORDS - stride))
            } else {
                value
            };
        }
    }
    words
}

/// Distance of two codes that take `WORDS` words.
///
/// # Safety
/// Both must be readable for `stride` bytes, which are more than `8 * (WORDS - 1)`, at most
/// `8 * WORDS`, and at least 8.
#[inline(always)]
pub(super) unsafe fn words_apart<const WORDS: usize>(
    query: *const u8,
    row: *const u8,
    stride: usize,
) -> u32 {
    // SAFETY: the caller's.
    let (query, row) = unsafe { (words::<WORDS>(query, stride), words(row, stride)) };
    differing::<WORDS, false>(query, query, row)
}

/// Distance of one row of at most 32 bytes: for short rows in any instruction set.
///
/// # Safety
/// `row` must be readable for `query.len()` bytes, at most 32, and `mask` must be as long.
#[inline(always)]
pub(super) unsafe fn short_row<const MASKED: bool>(
    query: &[u8],
    mask: &[u8],
    row: *const u8,
) -> u32 {
    #[inline(always)]
    unsafe fn by_words<const WORDS: usize, const MASKED: bool>(
        query: &[u8],
        mask: &[u8],
        row: *const u8,
    ) -> u32 {
        let stride = query.len();
        // SAFETY: the caller's.
        unsafe {
            differing::<WORDS, MASKED>(
                words(query.as_ptr(), stride),
                words(mask.as_ptr(), stride),
                words(row, stride),
            )
        }
    }

    // SAFETY: each arm takes the strides that its number of words holds; below 8, every read is
    // one byte within the stride.
    unsafe {
        match query.len() {
            0..8 => {
                let mut sum = 0;
                for at in 0..query.len() {
                    let counting = if MASKED { mask[at] } else { 0xff };
                    sum += ((query[at] ^ row.add(at).read()) & counting).count_ones();
                }
                sum
            }
            8 => by_words::<1, MASKED>(query, mask, row),
            9..=16 => by_words::<2, MASKED>(query, mask, row),
            17..=24 => by_words::<3, MASKED>(query, mask, row),
            _ => by_words::<4, MASKED>(query, mask, row),
        }
    }
}

/// Distance of one row of any length, by 64-bit words.
///
/// # Safety
/// `row` must be readable for `query.len()` bytes, and `mask` must be as long.
#[inline(always)]
pub(super) unsafe fn row_by_words<const MASKED: bool>(
    query: &[u8],
    mask: &[u8],
    row: *const u8,
) -> u32 {
    let stride = query.len();
    if stride <= 32 {
        // SAFETY: the caller's.
        return unsafe { short_row::<MASKED>(query, mask, row) };
    }
    let (query, mask) = (query.as_ptr(), mask.as_ptr());
    // SAFETY: every read ends at `stride` or before, in all three.
    unsafe {
        let word = |code: *const u8, at: usize| code.add(at).cast::<u64>().read_unaligned();
        let difference = |at: usize| {
            let difference = word(query, at) ^ word(row, at);
            if MASKED {
                difference & word(mask, at)
            } else {
                difference
            }
        };
        let whole = stride / 8 * 8;
        let mut sum: u32 = (0..whole)
            .step_by(8)
            .map(|at| difference(at).count_ones())
            .sum();
        if whole < stride {
            // The last bytes of the row are the highest of the word, read little-endian.
            let shift = 8 * (8 - (stride - whole));
            sum += (u64::from_le(difference(stride - 8)) >> shift).count_ones();
        }
        sum
    }
}

/// The table of an instruction set: each kernel compiled with its instructions enabled.
///
/// `$features` are what the set's `kernels()` checks for. The functions are unsafe to call for
/// the reasons that the generic ones name.
macro_rules! table {
    ($isa:ty, $name:literal, $batch:path $(, $features:literal)?) => {
        pub(in crate::kernels) static KERNELS: $crate::kernels::Kernels = {
            use $crate::kernels::join::{self, Near, Rows, Target};
            use $crate::kernels::probe::{self, Ahead, ProbeError, Shell, Take};
            use $crate::kernels::{
                Candidate, Kernels, MaskWord, PlaneCounters, PlaneQuery, PlaneRows, QueryBatch,
                planes, scan,
            };

            /// # Safety
            /// As [`scan::within`].
            $(#[target_feature(enable = $features)])?
            unsafe fn within(
                query: &[u8],
                rows: &[u8],
                first_row: u32,
                threshold: u32,
                found: &mut Vec<Candidate>,
            ) {
                // SAFETY: the caller's.
                unsafe {
                    scan::within::<$isa, false>(query, query, rows, first_row, threshold, found)
                }
            }

            /// # Safety
            /// As [`scan::within`].
            $(#[target_feature(enable = $features)])?
            unsafe fn within_masked(
                query: &[u8],
                mask: &[u8],
                rows: &[u8],
                first_row: u32,
                threshold: u32,
                found: &mut Vec<Candidate>,
            ) {
                // SAFETY: the caller's.
                unsafe {
                    scan::within::<$isa, true>(query, mask, rows, first_row, threshold, found)
                }
            }

            /// # Safety
            /// As [`scan::distances`].
            $(#[target_feature(enable = $features)])?
            unsafe fn distances(query: &[u8], rows: &[u8], out: &mut [u32]) {
                // SAFETY: the caller's.
                unsafe { scan::distances::<$isa, false>(query, query, rows, out) }
            }

            /// # Safety
            /// As [`scan::distances`].
            $(#[target_feature(enable = $features)])?
            unsafe fn distances_masked(query: &[u8], mask: &[u8], rows: &[u8], out: &mut [u32]) {
                // SAFETY: the caller's.
                unsafe { scan::distances::<$isa, true>(query, mask, rows, out) }
            }

            /// # Safety
            /// As [`QueryBatch`]'s functions.
            $(#[target_feature(enable = $features)])?
            unsafe fn within_batch(
                batch: &mut QueryBatch,
                rows: &[u8],
                first_row: u32,
                thresholds: &[Option<u32>],
                found: &mut [Vec<Candidate>],
            ) {
                // SAFETY: the caller's.
                unsafe { $batch(batch, rows, first_row, thresholds, found) }
            }

            /// # Safety
            /// As [`scan::within_some`].
            $(#[target_feature(enable = $features)])?
            unsafe fn within_words(
                words: &[MaskWord],
                stride: usize,
                rows: &[u8],
                first_row: u32,
                threshold: u32,
                found: &mut Vec<Candidate>,
            ) {
                // SAFETY: the caller's.
                unsafe {
                    scan::within_some::<$isa>(words, stride, rows, first_row, threshold, found)
                }
            }

            /// # Safety
            /// As [`planes::within`].
            $(#[target_feature(enable = $features)])?
            unsafe fn within_planes(
                query: &PlaneQuery,
                rows: &PlaneRows<'_>,
                threshold: u32,
                counters: &mut PlaneCounters,
                found: &mut Vec<Candidate>,
            ) -> u64 {
                // SAFETY: the caller's.
                unsafe { planes::within::<$isa>(query, rows, threshold, counters, found) }
            }

            /// # Safety
            /// As [`probe::shell`].
            $(#[target_feature(enable = $features)])?
            unsafe fn shell(
                shells: &[Shell<'_>],
                ahead: &mut Ahead,
                threshold: u32,
                take: Take<'_>,
            ) -> Result<u64, ProbeError> {
                // SAFETY: the caller's.
                unsafe { probe::shell::<$isa>(shells, ahead, threshold, take) }
            }

            /// # Safety
            /// As [`join::join`].
            $(#[target_feature(enable = $features)])?
            unsafe fn join(
                from: (&Rows, (u32, u32)),
                rows: &Rows,
                targets: &[Target],
                found: &mut Vec<Near>,
            ) {
                // SAFETY: the caller's.
                unsafe { join::join::<$isa>(from, rows, targets, found) }
            }

            Kernels {
                name: $name,
                within,
                within_masked,
                distances,
                distances_masked,
                within_batch,
                within_words,
                within_planes,
                shell,
                join,
            }
        };
    };
}
pub(super) use table;
