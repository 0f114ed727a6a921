//! Kernels for any machine: 64-bit words, and what the compiler makes of them.

use super::batch;
use super::planes::Bits;
use super::scan::{self, Isa};

struct Portable;

scan::table!(Portable, "portable", batch::one_by_one::<Portable>);

impl Isa for Portable {
    type Distances = u32;
    type Query = *const u8;
    const LANES: usize = 1;

    #[inline(always)]
    unsafe fn query<const STRIDE: usize>(query: *const u8) -> *const u8 {
        query
    }

    #[inline(always)]
    unsafe fn compare<const STRIDE: usize, const MASKED: bool>(
        query: *const u8,
        mask: *const u8,
        row: *const u8,
    ) -> u32 {
        let mut sum = 0;
        let mut at = 0;
        while at < STRIDE {
            // SAFETY: all codes have STRIDE bytes, a multiple of 8.
            let difference = unsafe {
                let word = |code: *const u8| code.add(at).cast::<u64>().read_unaligned();
                let difference = word(query) ^ word(row);
                if MASKED {
                    difference & word(mask)
                } else {
                    difference
                }
            };
            sum += difference.count_ones();
            at += 8;
        }
        sum
    }

    #[inline(always)]
    unsafe fn min(a: u32, b: u32) -> u32 {
        a.min(b)
    }

    #[inline(always)]
    unsafe fn any_within(distance: u32, threshold: u32) -> bool {
        distance <= threshold
    }

    #[inline(always)]
    unsafe fn lanes_within(distance: u32, threshold: u32) -> u32 {
        u32::from(distance <= threshold)
    }

    #[inline(always)]
    unsafe fn write(distance: u32, out: *mut u32) {
        // SAFETY: the caller's: one number can be written.
        unsafe { out.write(distance) }
    }

    #[inline(always)]
    unsafe fn row<const MASKED: bool>(query: &[u8], mask: &[u8], row: *const u8) -> u32 {
        // SAFETY: the caller's.
        unsafe { scan::row_by_words::<MASKED>(query, mask, row) }
    }
}

impl Bits for Portable {
    type Vector = u64;
    const BYTES: usize = 8;

    #[inline(always)]
    unsafe fn load(from: *const u8) -> u64 {
        // SAFETY: the caller's.
        unsafe { from.cast::<u64>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store(bits: u64, to: *mut u8) {
        // SAFETY: the caller's.
        unsafe { to.cast::<u64>().write_unaligned(bits) }
    }

    #[inline(always)]
    unsafe fn splat(word: u64) -> u64 {
        word
    }

    #[inline(always)]
    unsafe fn xor(a: u64, b: u64) -> u64 {
        a ^ b
    }

    #[inline(always)]
    unsafe fn and(a: u64, b: u64) -> u64 {
        a & b
    }

    #[inline(always)]
    unsafe fn or(a: u64, b: u64) -> u64 {
        a | b
    }

    #[inline(always)]
    unsafe fn without(a: u64, b: u64) -> u64 {
        a & !b
    }

    #[inline(always)]
    unsafe fn any(bits: u64) -> bool {
        bits != 0
    }
}
