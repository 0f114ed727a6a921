//! Distances under a mask, out of bit planes: plane i has bit i of every row, one bit a row.
//!
//! ```text
//! for each 16 planes of the mask:
//!     for each vector of rows (512 rows, with AVX-512):
//!         15 full adders turn the 16 bits of each row into the carry of 16 and what is left
//!         the carry goes into the counter of each row, which stands on its side: a plane for each digit
//!     forget vectors of which every row is beyond the threshold already
//! for each vector: compare all counters with the threshold, digit by digit
//!     if no row is within: next vector                                          (nearly always)
//!     append the rows that are within
//! ```
//!
//! A plane's bit is turned over where the query has a one, so that what is counted is differences. Nothing is
//! summed across lanes: a plane costs a vector of rows about five instructions. (The adders are those by
//! which Muła, Kurz and Lemire count bits, "Faster Population Counts Using AVX2 Instructions", 2018.)
//!
//! As in `scan.rs`, what is generic is `inline(always)`, to end up where the instructions are enabled.

use super::Candidate;

/// Planes that are added at a time.
const GROUP: usize = 16;

/// Digits of what 16 planes leave behind when the carry is gone.
const LOW: usize = 4;

/// Digits of a counter: a mask has at most 65,536 bits.
const MOST_DIGITS: usize = 17;

/// Rows of a [line](LINE): planes have whole lines of bits.
pub(crate) const LINE_ROWS: usize = 8 * LINE;

/// Bytes of a cache line, and of the widest vector.
const LINE: usize = 64;

/// The most rows that [`super::Kernels::within_planes`] looks at in one call. The counters of all of them
/// stay in the nearest cache.
pub const PLANES_ROWS: usize = 1 << 14;

/// The narrowest vector.
const LEAST_VECTOR: usize = 8;

/// Bytes of each plane that are looked at in one call, at most.
const MOST_BYTES: usize = PLANES_ROWS / 8;

/// What an instruction set brings: vectors of bits, each of them of another row.
///
/// # Safety of all methods
/// The machine must have the instruction set. Pointers must be valid for [`Bits::BYTES`] bytes; they need
/// no alignment.
pub(super) trait Bits {
    type Vector: Copy;
    /// A multiple of [`LEAST_VECTOR`] that divides [`LINE`].
    const BYTES: usize;

    unsafe fn load(from: *const u8) -> Self::Vector;
    unsafe fn store(bits: Self::Vector, to: *mut u8);
    /// The same word everywhere.
    unsafe fn splat(word: u64) -> Self::Vector;
    unsafe fn xor(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    unsafe fn and(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    unsafe fn or(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `a` where `b` has zeros.
    unsafe fn without(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// The lower and the upper digit of the sum of three bits.
    #[inline(always)]
    unsafe fn add(
        a: Self::Vector,
        b: Self::Vector,
        c: Self::Vector,
    ) -> (Self::Vector, Self::Vector) {
        // SAFETY: the caller's.
        unsafe {
            let either = Self::xor(a, b);
            let carry = Self::or(Self::and(a, b), Self::and(either, c));
            (Self::xor(either, c), carry)
        }
    }
    /// Whether any bit is set.
    unsafe fn any(bits: Self::Vector) -> bool;
}

/// A query as it is held against planes.
#[derive(Clone, Debug)]
pub struct PlaneQuery {
    /// For each bit of the mask, that of the query: all ones or none.
    flips: Vec<u64>,
    /// Digits of a counter.
    digits: usize,
}

/// The memory that [`super::Kernels::within_planes`] takes: made once for many calls.
#[derive(Debug, Default)]
pub struct PlaneCounters {
    /// Of every vector of rows, a vector for each digit of its counters.
    words: Vec<u64>,
}

impl PlaneQuery {
    /// * `query`: for each bit of the mask, that of the query; at most 65,536 of them.
    ///
    /// # Panics
    /// When there are more.
    pub fn new(query: impl IntoIterator<Item = bool>) -> PlaneQuery {
        let flip = |bit| if bit { u64::MAX } else { 0 };
        let flips: Vec<u64> = query.into_iter().map(flip).collect();
        assert!(flips.len() <= 1 << (MOST_DIGITS - 1), "a code has no more");
        let digits = (usize::BITS - flips.len().leading_zeros()) as usize;
        let digits = digits.max(LOW + 1);
        PlaneQuery { flips, digits }
    }
}

impl PlaneCounters {
    /// Makes room for the counters of [`PLANES_ROWS`] rows.
    pub(super) fn make_room(&mut self, query: &PlaneQuery) {
        let words = query.digits * MOST_BYTES / 8;
        if self.words.len() < words {
            self.words.resize(words, 0);
        }
    }
}

/// What of the planes is to be looked at.
#[derive(Clone, Copy, Debug)]
pub struct PlaneRows<'a> {
    /// A plane for each bit of the mask: bit `r % 8` of byte `r / 8` is that of row r. All as long.
    pub planes: &'a [&'a [u8]],
    /// The first row to look at: a multiple of 512.
    pub start: usize,
    /// Behind the last one, of which [`PLANES_ROWS`] are looked at at most. Planes reach up to the next multiple
    /// of 512.
    pub end: usize,
    /// What the first row of the planes is called.
    pub first_row: u32,
}

impl PlaneRows<'_> {
    /// What the kernel relies upon.
    pub(super) fn are_there(&self, query: &PlaneQuery) -> bool {
        let bytes = self.end.div_ceil(LINE_ROWS) * LINE;
        self.start.is_multiple_of(LINE_ROWS)
            && self.start <= self.end
            && self.end - self.start <= PLANES_ROWS
            && self.planes.len() == query.flips.len()
            && self.planes.iter().all(|plane| plane.len() >= bytes)
    }
}

/// [`super::Kernels::within_planes`].
///
/// # Safety
/// The machine must have the instruction set `B`, [`PlaneRows::are_there`] must hold, and the counters must
/// have [room](PlaneCounters::make_room).
#[inline(always)]
pub(super) unsafe fn within<B: Bits>(
    query: &PlaneQuery,
    rows: &PlaneRows<'_>,
    threshold: u32,
    of_rows: &mut PlaneCounters,
    found: &mut Vec<Candidate>,
) -> u64 {
    let mut read = 0;
    let digits = query.digits;
    let at = rows.start / 8;
    let vectors = (rows.end - rows.start).div_ceil(8 * B::BYTES);
    // A counter cannot hold more.
    let threshold = u64::from(threshold).min((1 << digits) - 1) as u32;
    let mut alive = [0_u16; MOST_BYTES / LEAST_VECTOR];
    let mut alive = &mut alive[..vectors];
    (0..).zip(&mut *alive).for_each(|(number, to)| *to = number);
    let counters = of_rows.words.as_mut_ptr().cast::<u8>();
    static ZEROS: [u8; MOST_BYTES] = [0; MOST_BYTES];
    let groups = query.flips.len().div_ceil(GROUP);
    for group in 0..groups {
        let first = GROUP * group;
        // Those that are missing of the last group have no bits set.
        let plane = |number: usize| match rows.planes.get(first + number) {
            Some(plane) => plane.as_ptr().wrapping_add(at),
            None => ZEROS.as_ptr(),
        };
        let planes: [*const u8; GROUP] = std::array::from_fn(plane);
        let flip = |number: usize| query.flips.get(first + number).copied().unwrap_or(0);
        let flips: [u64; GROUP] = std::array::from_fn(flip);
        // SAFETY: vectors lie below `end`, up to the next multiple of a line, in planes and counters; there
        // are counters of that many digits for PLANES_ROWS rows.
        unsafe {
            match group {
                0 => add_group::<B, true>(planes, flips, alive, counters, digits),
                _ => add_group::<B, false>(planes, flips, alive, counters, digits),
            }
        }
        read += alive.len() * B::BYTES * (query.flips.len() - first).min(GROUP);
        if group + 1 < groups && are_beyond(GROUP * (group + 1), threshold) {
            let mut left = 0;
            for number in 0..alive.len() {
                let vector = alive[number];
                // SAFETY: as above.
                let within = unsafe { compare::<B>(counters, vector, digits, threshold) };
                alive[left] = vector;
                // SAFETY: the caller's.
                left += usize::from(unsafe { B::any(within) });
            }
            alive = &mut alive[..left];
            if alive.is_empty() {
                break;
            }
        }
    }
    let count = rows.end - rows.start;
    for &vector in &*alive {
        // SAFETY: as above.
        unsafe {
            let within = match groups {
                0 => B::splat(u64::MAX),
                _ => compare::<B>(counters, vector, digits, threshold),
            };
            if B::any(within) {
                let mut words = [0_u64; LINE / 8];
                B::store(within, words.as_mut_ptr().cast());
                let words = &words[..B::BYTES / 8];
                let first = usize::from(vector) * 8 * B::BYTES;
                let of_it = usize::from(vector) * digits * words.len();
                let counters = match groups {
                    0 => &[],
                    _ => &of_rows.words[of_it..of_it + digits * words.len()],
                };
                let first_row = rows.first_row + (rows.start + first) as u32;
                append(words, counters, (first_row, count - first), found);
            }
        }
    }
    read as u64
}

/// Whether, with so many bits counted, the rows of a vector are likely to be beyond the threshold, if they are
/// unlike the query: these counts have a deviation of half the root, and some row is three of them below
/// the mean.
#[inline(always)]
fn are_beyond(bits: usize, threshold: u32) -> bool {
    let bits = bits as f32;
    0.5 * bits - 1.5 * bits.sqrt() > threshold as f32
}

/// Adds 16 planes to the counters of some vectors of rows; where `FIRST`, these were never set.
///
/// # Safety
/// The machine must have the instruction set. Planes must be readable for the vectors, of whose number the
/// counters have `digits` vectors each.
#[inline(always)]
unsafe fn add_group<B: Bits, const FIRST: bool>(
    planes: [*const u8; GROUP],
    flips: [u64; GROUP],
    vectors: &[u16],
    counters: *mut u8,
    digits: usize,
) {
    // SAFETY: the caller's.
    unsafe {
        let zero = B::splat(0);
        for &vector in vectors {
            let at = usize::from(vector) * B::BYTES;
            let counter = counters.add(at * digits);
            let bit = |number: usize| {
                let bits = B::load(planes[number].add(at));
                B::xor(bits, B::splat(flips[number]))
            };
            let digit = |number: usize| match FIRST {
                true => zero,
                false => B::load(counter.add(number * B::BYTES)),
            };
            let (mut ones, mut twos, mut fours) = (digit(0), digit(1), digit(2));
            let mut eights = digit(3);
            let mut carries = [zero; 2];
            for (half, carry) in carries.iter_mut().enumerate() {
                let mut of_eight = [zero; 2];
                for (quarter, carry) in of_eight.iter_mut().enumerate() {
                    let first = 8 * half + 4 * quarter;
                    let (sum, a) = B::add(ones, bit(first), bit(first + 1));
                    let (sum, b) = B::add(sum, bit(first + 2), bit(first + 3));
                    ones = sum;
                    (twos, *carry) = B::add(twos, a, b);
                }
                (fours, *carry) = B::add(fours, of_eight[0], of_eight[1]);
            }
            let (sum, mut carry) = B::add(eights, carries[0], carries[1]);
            eights = sum;
            for (number, sum) in [ones, twos, fours, eights].into_iter().enumerate() {
                B::store(sum, counter.add(number * B::BYTES));
            }
            for number in LOW..digits {
                let to = counter.add(number * B::BYTES);
                let sum = digit(number);
                B::store(B::xor(sum, carry), to);
                carry = B::and(sum, carry);
            }
        }
    }
}

/// The rows of a vector whose counters are at most `threshold`.
///
/// # Safety
/// As [`add_group`].
#[inline(always)]
unsafe fn compare<B: Bits>(
    counters: *const u8,
    vector: u16,
    digits: usize,
    threshold: u32,
) -> B::Vector {
    // SAFETY: the caller's.
    unsafe {
        let counter = counters.add(usize::from(vector) * B::BYTES * digits);
        let (mut less, mut equal) = (B::splat(0), B::splat(u64::MAX));
        for number in (0..digits).rev() {
            let digit = B::load(counter.add(number * B::BYTES));
            if threshold >> number & 1 == 1 {
                less = B::or(less, B::without(equal, digit));
                equal = B::and(equal, digit);
            } else {
                equal = B::without(equal, digit);
            }
        }
        B::or(less, equal)
    }
}

/// Appends the rows of `within`, a bit each, below row `rows`; `counters` has a vector for each digit.
#[inline(never)]
fn append(
    within: &[u64],
    counters: &[u64],
    (first_row, rows): (u32, usize),
    found: &mut Vec<Candidate>,
) {
    for (at, &word) in within.iter().enumerate() {
        let mut word = u64::from_le(word);
        while word != 0 {
            let bit = word.trailing_zeros();
            word &= word - 1;
            let row = 64 * at + bit as usize;
            if row >= rows {
                return;
            }
            let digits = counters.chunks_exact(within.len()).zip(0..);
            let distance = digits
                .map(|(digit, number)| ((u64::from_le(digit[at]) >> bit & 1) as u32) << number);
            found.push(Candidate {
                row: first_row + row as u32,
                distance: distance.sum(),
            });
        }
    }
}
