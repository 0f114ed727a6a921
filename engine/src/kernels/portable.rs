//! Kernels for any machine: 64-bit words, and what the compiler makes of them.

use super::join::{self, Near, Rows, Target};
use super::probe::{self, Ahead, ProbeError, Shell, Take};
use super::scan::{self, Isa};
use super::{Candidate, Kernels};

pub(super) static KERNELS: Kernels = Kernels {
    name: "portable",
    within,
    distances,
    shell,
    join,
};

struct Portable;

/// # Safety
/// `query` must not be empty.
unsafe fn within(
    query: &[u8],
    rows: &[u8],
    first: u32,
    threshold: u32,
    found: &mut Vec<Candidate>,
) {
    // SAFETY: every machine has this instruction set; the rest is the caller's.
    unsafe { scan::within::<Portable>(query, rows, first, threshold, found) }
}

/// # Safety
/// `query` must not be empty, and `rows` must hold a row for each number of `out`.
unsafe fn distances(query: &[u8], rows: &[u8], out: &mut [u32]) {
    // SAFETY: every machine has this instruction set; the rest is the caller's.
    unsafe { scan::distances::<Portable>(query, rows, out) }
}

/// # Safety
/// None: it is `unsafe` for its type.
unsafe fn shell(
    shells: &[Shell<'_>],
    ahead: &mut Ahead,
    threshold: u32,
    take: Take<'_>,
) -> Result<u64, ProbeError> {
    // SAFETY: every machine has this instruction set.
    unsafe { probe::shell::<Portable>(shells, ahead, threshold, take) }
}

/// # Safety
/// None of its own; as [`join::join`].
unsafe fn join(from: (&Rows, (u32, u32)), rows: &Rows, targets: &[Target], found: &mut Vec<Near>) {
    // SAFETY: every machine has this instruction set; the rest is the caller's.
    unsafe { join::join::<Portable>(from, rows, targets, found) }
}

impl Isa for Portable {
    type Distances = u32;
    type Query = *const u8;
    const LANES: usize = 1;

    #[inline(always)]
    unsafe fn query<const STRIDE: usize>(query: *const u8) -> *const u8 {
        query
    }

    #[inline(always)]
    unsafe fn compare<const STRIDE: usize>(query: *const u8, row: *const u8) -> u32 {
        let mut sum = 0;
        let mut at = 0;
        while at < STRIDE {
            // SAFETY: both codes have STRIDE bytes, a multiple of 8.
            let difference = unsafe {
                query.add(at).cast::<u64>().read_unaligned()
                    ^ row.add(at).cast::<u64>().read_unaligned()
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
    unsafe fn row(query: &[u8], row: *const u8) -> u32 {
        // SAFETY: the caller's.
        unsafe { scan::row_by_words(query, row) }
    }
}
