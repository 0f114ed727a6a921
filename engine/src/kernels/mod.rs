//! Hamming distance over packed codes.
//!
//! One algorithm (`scan.rs`), written once over the small trait `Isa`, and a folder for each
//! family of instruction sets that implements it; `batch.rs` is the one for many queries at once,
//! over the trait `Planes`, and `planes.rs` the one for masks, over `Bits`. [`Kernels::get`] picks the best set that the machine has, once, and
//! keeps it as a table of function pointers; the environment variable `BITKIN_SIMD` (`portable`,
//! `avx2`, `avx512`, `neon`) forces one. Every set gives the same result to the bit.
//!
//! Codes are rows of `stride` bytes, one after the other, at any alignment. Padding bits take
//! part like any other: they are zero in stored codes and in queries.

mod batch;
pub(crate) mod join;
mod planes;
mod portable;
pub(crate) mod probe;
mod scan;
// Miri has not all of the instructions: it runs the portable kernels. NEON is laid out for
// little-endian machines.
#[cfg(all(target_arch = "aarch64", target_endian = "little", not(miri)))]
mod aarch64;
#[cfg(all(target_arch = "x86_64", not(miri)))]
mod x86_64;

use std::ffi::OsStr;
use std::fmt;
use std::sync::OnceLock;

pub use self::batch::QueryBatch;
use self::join::{Near, Rows, Target};
pub(crate) use self::planes::LINE_ROWS;
pub use self::planes::{PLANES_ROWS, PlaneCounters, PlaneQuery, PlaneRows};
use self::probe::{Ahead, ProbeError, Shell, Take};
pub use self::scan::MaskWord;

/// The environment variable that forces an instruction set.
pub const SIMD_VARIABLE: &str = "BITKIN_SIMD";

/// A row that a scan let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Number of the row.
    pub row: u32,
    /// Its Hamming distance from the query.
    pub distance: u32,
}

/// `BITKIN_SIMD` asks for something that cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KernelError {
    /// No instruction set has that name.
    #[error(
        "{SIMD_VARIABLE}={name} names no instruction set; use portable, avx2, avx512 or neon, or unset it"
    )]
    Unknown {
        /// The variable's value.
        name: String,
    },
    /// This machine does not have that instruction set.
    #[error(
        "{SIMD_VARIABLE}={name}: this machine has no such instructions; it has {}",
        available.join(", ")
    )]
    Unavailable {
        /// The variable's value.
        name: String,
        /// What the machine has.
        available: Vec<&'static str>,
    },
}

type Within = unsafe fn(&[u8], &[u8], u32, u32, &mut Vec<Candidate>);
type WithinMasked = unsafe fn(&[u8], &[u8], &[u8], u32, u32, &mut Vec<Candidate>);
type Distances = unsafe fn(&[u8], &[u8], &mut [u32]);
type ProbeShell = unsafe fn(&[Shell<'_>], &mut Ahead, u32, Take<'_>) -> Result<u64, ProbeError>;
type DistancesMasked = unsafe fn(&[u8], &[u8], &[u8], &mut [u32]);
type WithinBatch = unsafe fn(&mut QueryBatch, &[u8], u32, &[Option<u32>], &mut [Vec<Candidate>]);
type WithinWords = unsafe fn(&[MaskWord], usize, &[u8], u32, u32, &mut Vec<Candidate>);
type WithinPlanes =
    unsafe fn(&PlaneQuery, &PlaneRows<'_>, u32, &mut PlaneCounters, &mut Vec<Candidate>) -> u64;
type Join = unsafe fn((&Rows, (u32, u32)), &Rows, &[Target], &mut Vec<Near>);

/// The kernels of one instruction set.
///
/// A value exists only on a machine that has the instructions: that is what makes its methods
/// safe to call.
pub struct Kernels {
    name: &'static str,
    within: Within,
    within_masked: WithinMasked,
    distances: Distances,
    shell: ProbeShell,
    distances_masked: DistancesMasked,
    within_batch: WithinBatch,
    within_words: WithinWords,
    within_planes: WithinPlanes,
    join: Join,
}

impl Kernels {
    /// The kernels that this process uses: the best that the machine has, or what `BITKIN_SIMD`
    /// says. Chosen at the first call; later changes of the variable have no effect.
    ///
    /// # Errors
    /// [`KernelError`] when the variable names something else or something that is not there.
    pub fn get() -> Result<&'static Kernels, KernelError> {
        static CHOSEN: OnceLock<Result<&'static Kernels, KernelError>> = OnceLock::new();
        let choose = || Kernels::choose(std::env::var_os(SIMD_VARIABLE).as_deref());
        CHOSEN.get_or_init(choose).clone()
    }

    /// Every set that this machine can run, slowest first. Never empty.
    pub fn available() -> impl Iterator<Item = &'static Kernels> {
        [Some(&portable::KERNELS), avx2(), avx512(), neon()]
            .into_iter()
            .flatten()
    }

    /// `portable`, `avx2`, `avx512` or `neon`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    fn choose(forced: Option<&OsStr>) -> Result<&'static Kernels, KernelError> {
        let forced = forced.filter(|name| !name.is_empty());
        let Some(name) = forced else {
            return Ok(Kernels::available().last().unwrap_or(&portable::KERNELS));
        };
        let found = match name.to_str() {
            Some("portable") => Some(&portable::KERNELS),
            Some("avx2") => avx2(),
            Some("avx512") => avx512(),
            Some("neon") => neon(),
            _ => {
                return Err(KernelError::Unknown {
                    name: name.to_string_lossy().into_owned(),
                });
            }
        };
        found.ok_or_else(|| KernelError::Unavailable {
            name: name.to_string_lossy().into_owned(),
            available: Kernels::available().map(Kernels::name).collect(),
        })
    }

    /// Appends to `found` every row at a distance of at most `threshold` from `query`, in any
    /// order; the first row of `rows` is number `first_row`.
    ///
    /// * `query`: one code; its length is the stride, at least 1.
    /// * `rows`: whole rows; a last one that is cut short is not looked at.
    ///
    /// # Panics
    /// When `query` is empty.
    pub fn within(
        &self,
        query: &[u8],
        rows: &[u8],
        first_row: u32,
        threshold: u32,
        found: &mut Vec<Candidate>,
    ) {
        assert!(!query.is_empty(), "a code has at least one byte");
        // SAFETY: `self` exists, so the machine has the instructions, and the query is not
        // empty.
        unsafe { (self.within)(query, rows, first_row, threshold, found) }
    }

    /// [`Kernels::within`] where only the bits of `mask` count: a row's distance is the number of
    /// bits in the mask in which it differs from `query`.
    ///
    /// # Panics
    /// When `query` is empty or `mask` is not as long.
    pub fn within_masked(
        &self,
        query: &[u8],
        mask: &[u8],
        rows: &[u8],
        first_row: u32,
        threshold: u32,
        found: &mut Vec<Candidate>,
    ) {
        check_mask(query, mask);
        // SAFETY: `self` exists, so the machine has the instructions; the query is not empty,
        // and the mask is as long.
        unsafe { (self.within_masked)(query, mask, rows, first_row, threshold, found) }
    }

    /// [`Kernels::within`] for many queries in one pass over the rows, which is faster than one
    /// after the other where there are more than a few.
    ///
    /// * `thresholds`: one for each query; `None` where it wants nothing.
    /// * `found`: one for each query, to which its rows are appended.
    ///
    /// # Panics
    /// When there are not as many thresholds and lists as queries.
    pub fn within_batch(
        &self,
        queries: &mut QueryBatch,
        rows: &[u8],
        first_row: u32,
        thresholds: &[Option<u32>],
        found: &mut [Vec<Candidate>],
    ) {
        assert!(
            thresholds.len() == queries.len() && found.len() == queries.len(),
            "{} thresholds and {} lists for {} queries",
            thresholds.len(),
            found.len(),
            queries.len()
        );
        // SAFETY: `self` exists, so the machine has the instructions; there is a threshold and a
        // list for each query.
        unsafe { (self.within_batch)(queries, rows, first_row, thresholds, found) }
    }

    /// [`Kernels::within_masked`] where the mask has bits in few words: no others are read.
    ///
    /// * `words`: those of the mask and the query, none of which overlap.
    /// * `stride`: bytes of a row, at least 8.
    ///
    /// # Panics
    /// When the stride is less, or a word reaches beyond it.
    pub fn within_words(
        &self,
        words: &[MaskWord],
        stride: usize,
        rows: &[u8],
        first_row: u32,
        threshold: u32,
        found: &mut Vec<Candidate>,
    ) {
        assert!(
            stride >= 8 && words.iter().all(|word| word.at as usize <= stride - 8),
            "words lie in a code"
        );
        // SAFETY: `self` exists, so the machine has the instructions; the rest was asserted.
        unsafe { (self.within_words)(words, stride, rows, first_row, threshold, found) }
    }

    /// Appends to `found` every row of the planes that differs from the query in at most `threshold` bits of
    /// the mask, ascending. Returns how many bytes of the planes were read.
    ///
    /// # Panics
    /// When there are not as many planes as bits in the query, or they do not have the rows.
    pub fn within_planes(
        &self,
        query: &PlaneQuery,
        rows: &PlaneRows<'_>,
        threshold: u32,
        counters: &mut PlaneCounters,
        found: &mut Vec<Candidate>,
    ) -> u64 {
        assert!(rows.are_there(query), "planes have the rows");
        counters.make_room(query);
        // SAFETY: `self` exists, so the machine has the instructions; the rest was asserted.
        unsafe { (self.within_planes)(query, rows, threshold, counters, found) }
    }

    /// Writes the distance of each row from `query` to `distances`.
    ///
    /// * `query`: one code; its length is the stride, at least 1.
    /// * `rows`: `distances.len()` rows.
    ///
    /// # Panics
    /// When `query` is empty or the lengths do not agree.
    pub fn distances(&self, query: &[u8], rows: &[u8], distances: &mut [u32]) {
        check_rows(query, rows, distances);
        // SAFETY: `self` exists, so the machine has the instructions; the query is not empty,
        // and there is a distance for each row.
        unsafe { (self.distances)(query, rows, distances) }
    }

    /// Gives to `take` every row of the first of `shells` within the threshold; returns the number of rows
    /// that were looked at. The others are those that will follow, with the same `ahead`.
    ///
    /// # Errors
    /// When the table is damaged, or leads outside of itself.
    pub(crate) fn shell(
        &self,
        shells: &[Shell<'_>],
        ahead: &mut Ahead,
        threshold: u32,
        take: Take<'_>,
    ) -> Result<u64, ProbeError> {
        // SAFETY: `self` exists, so the machine has the instructions.
        unsafe { (self.shell)(shells, ahead, threshold, take) }
    }

    /// [`Kernels::distances`] where only the bits of `mask` count.
    ///
    /// # Panics
    /// When `query` is empty or the lengths do not agree.
    pub fn distances_masked(&self, query: &[u8], mask: &[u8], rows: &[u8], distances: &mut [u32]) {
        check_mask(query, mask);
        check_rows(query, rows, distances);
        // SAFETY: `self` exists, so the machine has the instructions; the query is not empty,
        // the mask is as long, and there is a distance for each row.
        unsafe { (self.distances_masked)(query, mask, rows, distances) }
    }

    /// Appends to `found` every row of `rows` in a target that is within its threshold of one of the rows
    /// `queries.0..queries.1` of `from`.
    ///
    /// # Panics
    /// When the two have different strides, or a row that is named is not there.
    pub(crate) fn join(
        &self,
        from: &Rows,
        queries: (u32, u32),
        rows: &Rows,
        targets: &[Target],
        found: &mut Vec<Near>,
    ) {
        assert!(
            from.can_join(queries, rows, targets),
            "rows to be joined are there"
        );
        // SAFETY: `self` exists, so the machine has the instructions; the rest was asserted.
        unsafe { (self.join)((from, queries), rows, targets, found) }
    }
}

fn check_mask(query: &[u8], mask: &[u8]) {
    assert!(!query.is_empty(), "a code has at least one byte");
    assert!(
        mask.len() == query.len(),
        "a mask of {} bytes for a code of {}",
        mask.len(),
        query.len()
    );
}

fn check_rows(query: &[u8], rows: &[u8], distances: &[u32]) {
    assert!(!query.is_empty(), "a code has at least one byte");
    assert!(
        Some(rows.len()) == distances.len().checked_mul(query.len()),
        "{} bytes are not {} rows of {}",
        rows.len(),
        distances.len(),
        query.len()
    );
}

impl fmt::Debug for Kernels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kernels({})", self.name)
    }
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
fn avx2() -> Option<&'static Kernels> {
    x86_64::avx2::kernels()
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
fn avx512() -> Option<&'static Kernels> {
    x86_64::avx512::kernels()
}

#[cfg(any(not(target_arch = "x86_64"), miri))]
fn avx2() -> Option<&'static Kernels> {
    None
}

#[cfg(any(not(target_arch = "x86_64"), miri))]
fn avx512() -> Option<&'static Kernels> {
    None
}

#[cfg(all(target_arch = "aarch64", target_endian = "little", not(miri)))]
fn neon() -> Option<&'static Kernels> {
    aarch64::neon::kernels()
}

#[cfg(not(all(target_arch = "aarch64", target_endian = "little", not(miri))))]
fn neon() -> Option<&'static Kernels> {
    None
}

#[cfg(test)]
mod tests;
