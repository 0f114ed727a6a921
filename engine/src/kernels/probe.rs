//! Looking up the rows of one shell of a search table, once for all instruction sets.
//!
//! ```text
//! for each block of keys at this distance:
//!     where their buckets start and end; ask for the buckets' lines of memory
//!     for each row in them: its distance; give it on if it is within the threshold
//! ```
//!
//! Buckets lie all over the table, and rows all over the codes: nearly all the time goes into waiting
//! for memory. So everything is asked for some time before it is read.

use bitkin_storage::LazyBytes;

use super::scan::{self, Isa};

/// Keys whose buckets are asked for at once.
const KEYS: usize = 32;

/// Rows whose codes are asked for before the first of them is read.
const LAG: usize = 32;

/// Lines of a bucket that are asked for ahead; the processor sees by itself that others follow.
const MOST_LINES: usize = 8;

/// Rows found after which the threshold is asked for anew.
const FOUND: usize = 64;

/// The buckets of one table. Every number in here comes from a file: whoever follows one looks first
/// where it leads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket<'a> {
    /// Where the bucket of each key starts in `rows`, and where the last one ends.
    pub(crate) starts: &'a [u32],
    pub(crate) rows: &'a [u32],
    /// For each of `rows` the bits of its code that are not the key, `rest_bytes` each, and
    /// `8 - rest_bytes` bytes behind the last; empty if a row's code must be looked at.
    pub(crate) rest: &'a [u8],
    pub(crate) rest_bytes: usize,
    /// Where the key lies in a rearranged code.
    pub(crate) first_bit: u32,
    pub(crate) key_bits: u32,
}

/// Where in the section the parts of a table begin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Places {
    pub(crate) starts: usize,
    pub(crate) rows: usize,
    pub(crate) rest: usize,
}

/// One shell of one table, and what is looked for in it.
pub(crate) struct Shell<'a> {
    pub(crate) bucket: Bucket<'a>,
    /// The query's key, and its rearranged form if it is a word.
    pub(crate) key: u32,
    pub(crate) word: u64,
    /// What is to be flipped of the key: all masks of one number of bits.
    pub(crate) masks: &'a [u32],
    /// Bits of each mask.
    pub(crate) distance: u32,
    pub(crate) query: &'a [u8],
    /// The codes of all rows.
    pub(crate) codes: &'a [u8],
    /// `None`: all bytes were checked before.
    pub(crate) checks: Option<Checks<'a>>,
}

/// What must be checked before it is read.
#[derive(Clone, Copy)]
pub(crate) struct Checks<'a> {
    /// The section.
    pub(crate) section: LazyBytes<'a>,
    pub(crate) places: Places,
    pub(crate) codes: LazyBytes<'a>,
}

/// A row that was found in a shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) row: u32,
    pub(crate) distance: u32,
    /// The difference of rearranged words, if the table has the rest of the codes.
    pub(crate) difference: u64,
}

/// The tables' checksums hold, but no writer wrote this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the search tables of a segment lead outside of themselves")]
pub(crate) struct Malformed;

/// Why a shell cannot be looked up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProbeError {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error(transparent)]
    Storage(#[from] bitkin_storage::Error),
}

/// Takes what was found, empties the vector, and says which threshold holds from here on; `None` to end.
pub(crate) type Take<'a> = &'a mut dyn FnMut(&mut Vec<Found>) -> Option<u32>;

/// Gives on every row of the first of `shells` within the threshold, which is `threshold` at first; asks for
/// what the others will read. Returns the number of rows that were looked at.
///
/// # Safety
/// The machine must have the instruction set `I`.
#[inline(always)]
pub(super) unsafe fn shell<I: Isa>(
    shells: &[Shell<'_>],
    ahead: &mut Ahead,
    threshold: u32,
    take: Take<'_>,
) -> Result<u64, ProbeError> {
    let Some(shell) = shells.first() else {
        return Ok(0);
    };
    // SAFETY: the caller's.
    unsafe {
        match (shell.bucket.rest_bytes, shell.query.len()) {
            (1.., _) => in_words::<I>(shell, shells, ahead, threshold, take),
            (0, 9..=16) => in_rows::<I, 2>(shell, shells, ahead, threshold, take),
            (0, 25..=32) => in_rows::<I, 4>(shell, shells, ahead, threshold, take),
            (0, 57..=64) => in_rows::<I, 8>(shell, shells, ahead, threshold, take),
            _ => in_rows::<I, 0>(shell, shells, ahead, threshold, take),
        }
    }
}

/// Where the buckets of one block of keys are that have any rows.
#[derive(Clone, Copy)]
struct Ranges {
    /// Start, end, and the mask of the key. One more than there are keys: the last is written to whether it
    /// counts or not.
    buckets: [(u32, u32, u32); KEYS + 1],
    count: usize,
    /// Rows in all of them.
    rows: u64,
}

impl Ranges {
    const EMPTY: Ranges = Ranges {
        buckets: [(0, 0, 0); KEYS + 1],
        count: 0,
        rows: 0,
    };

    fn buckets(&self) -> &[(u32, u32, u32)] {
        self.buckets.get(..self.count).unwrap_or_default()
    }
}

/// What was found out ahead of the shell at hand: where the buckets of the next one's first keys are.
pub(crate) struct Ahead {
    ranges: Ranges,
    /// Rows of the table in which they were located; `None` if none were.
    located_in: Option<usize>,
}

impl Ahead {
    pub(crate) fn new() -> Ahead {
        Ahead {
            ranges: Ranges::EMPTY,
            located_in: None,
        }
    }
}

/// The blocks of keys of some shells, one after another.
struct Blocks<'a> {
    shells: &'a [Shell<'a>],
    own: usize,
}

impl<'a> Blocks<'a> {
    fn new(shells: &'a [Shell<'a>]) -> Blocks<'a> {
        let own = shells
            .first()
            .map_or(0, |shell| shell.masks.len().div_ceil(KEYS));
        Blocks { shells, own }
    }

    #[inline(always)]
    fn get(&self, mut number: usize) -> Option<(&'a Shell<'a>, &'a [u32])> {
        let mut count = self.own;
        for shell in self.shells {
            if number < count {
                let end = shell.masks.len().min((number + 1) * KEYS);
                return Some((shell, &shell.masks[number * KEYS..end]));
            }
            number -= count;
            // Of those that follow, the first blocks are enough.
            count = 1;
        }
        None
    }

    /// Readies block `number`: says where its buckets are, in `ahead`, and asks for those of the next.
    /// Returns the number of rows of its table; `None` if there is no such block.
    ///
    /// # Safety
    /// The machine must have the instruction set `I`.
    #[inline(always)]
    unsafe fn ready<I: Isa>(
        &self,
        number: usize,
        ahead: &mut Ranges,
    ) -> Result<Option<usize>, ProbeError> {
        // SAFETY: the caller's.
        unsafe {
            if let Some((shell, masks)) = self.get(number + 1) {
                ask::<I>(shell, masks);
            }
            match self.get(number) {
                Some((shell, masks)) => {
                    locate::<I>(shell, masks, ahead)?;
                    Ok(Some(shell.bucket.rows.len()))
                }
                None => Ok(None),
            }
        }
    }
}

/// Where the buckets of `masks` are, but for empty ones; asks for their lines.
///
/// # Safety
/// The machine must have the instruction set `I`.
#[inline(always)]
unsafe fn locate<I: Isa>(
    shell: &Shell<'_>,
    masks: &[u32],
    ranges: &mut Ranges,
) -> Result<(), ProbeError> {
    let Bucket {
        starts,
        rows,
        rest,
        rest_bytes,
        ..
    } = shell.bucket;
    let mut count = 0;
    let mut sum = 0;
    let mut wrong = false;
    for &mask in masks.iter().take(KEYS) {
        let key = (shell.key ^ mask) as usize;
        if let Some(checks) = &shell.checks {
            let at = checks.places.starts + 4 * key;
            checks.section.check(at..at + 8)?;
        }
        let (Some(&start), Some(&end)) = (starts.get(key), starts.get(key + 1)) else {
            return Err(Malformed.into());
        };
        // Whether a bucket is empty nobody can foretell: so nothing branches on it.
        wrong |= start > end || end as usize > rows.len();
        ranges.buckets[count] = (start, end, mask);
        count += usize::from(start != end);
        sum += u64::from(end.wrapping_sub(start));
    }
    if wrong {
        return Err(Malformed.into());
    }
    ranges.count = count;
    ranges.rows = sum;
    for &(start, end, _) in &ranges.buckets[..count] {
        // SAFETY: a prefetch reads nothing.
        unsafe {
            if rest_bytes > 0 {
                let (mut at, end) = (start as usize * rest_bytes, end as usize * rest_bytes);
                let most = end.min(at + MOST_LINES * 64);
                I::prefetch(rest.as_ptr().wrapping_add(end - 1));
                while at < most {
                    I::prefetch(rest.as_ptr().wrapping_add(at));
                    at += 64;
                }
            } else {
                I::prefetch(rows.as_ptr().wrapping_add(start as usize).cast());
                I::prefetch(rows.as_ptr().wrapping_add(end as usize - 1).cast());
            }
        }
    }
    Ok(())
}

/// Asks for where the buckets of `masks` start.
///
/// # Safety
/// The machine must have the instruction set `I`.
#[inline(always)]
unsafe fn ask<I: Isa>(shell: &Shell<'_>, masks: &[u32]) {
    for mask in masks {
        let key = (shell.key ^ mask) as usize;
        let at = shell.bucket.starts.as_ptr().wrapping_add(key);
        // SAFETY: a prefetch reads nothing.
        unsafe { I::prefetch(at.cast()) };
    }
}

/// # Safety
/// The machine must have the instruction set `I`.
#[inline(always)]
unsafe fn in_words<I: Isa>(
    shell: &Shell<'_>,
    shells: &[Shell<'_>],
    ahead: &mut Ahead,
    mut threshold: u32,
    take: Take<'_>,
) -> Result<u64, ProbeError> {
    let Bucket {
        rows,
        rest,
        rest_bytes,
        first_bit,
        key_bits,
        ..
    } = shell.bucket;
    let rest_len = rows.len().checked_mul(rest_bytes);
    if rest_bytes > 8
        || rest_len.and_then(|len| len.checked_add(8 - rest_bytes)) != Some(rest.len())
    {
        return Err(Malformed.into());
    }
    let below = |bit: u32| {
        if bit < 64 {
            (1_u64 << bit) - 1
        } else {
            u64::MAX
        }
    };
    // Bytes of the next row come along with the last ones of each.
    let own = below(8 * rest_bytes as u32);
    let low = below(first_bit);
    let above = shell.word.checked_shr(first_bit + key_bits).unwrap_or(0);
    let query = shell.word & low | above.checked_shl(first_bit).unwrap_or(0);
    let blocks = Blocks::new(shells);
    let mut found: Vec<Found> = Vec::with_capacity(FOUND);
    let mut ranges = ahead.ranges;
    let mut looked_at = 0;
    // SAFETY: the caller's.
    unsafe {
        // Ranges of a table with other rows might lead outside of this one.
        if ahead.located_in.take() != Some(shell.bucket.rows.len()) {
            ask::<I>(shell, &shell.masks[..shell.masks.len().min(KEYS)]);
            blocks.ready::<I>(0, &mut ranges)?;
        }
    }
    let mut give = |found: &mut Vec<Found>, threshold: &mut u32| {
        if found.is_empty() {
            return true;
        }
        for found in found.iter_mut() {
            found.row = rows.get(found.row as usize).copied().unwrap_or(u32::MAX);
        }
        take(found).inspect(|lower| *threshold = *lower).is_some()
    };
    for number in 0..blocks.own {
        // SAFETY: the caller's.
        ahead.located_in = unsafe { blocks.ready::<I>(number + 1, &mut ahead.ranges)? };
        looked_at += ranges.rows;
        for &(start, end, mask) in ranges.buckets() {
            if let Some(checks) = &shell.checks {
                let Places {
                    rows: rows_at,
                    rest: rest_at,
                    ..
                } = checks.places;
                let bytes = rest_bytes * start as usize..rest_bytes * end as usize + 8 - rest_bytes;
                checks
                    .section
                    .check(rest_at + bytes.start..rest_at + bytes.end)?;
                checks
                    .section
                    .check(rows_at + 4 * start as usize..rows_at + 4 * end as usize)?;
            }
            for at in start..end {
                // SAFETY: `at` is below the number of rows, and the rest has a word's bytes for each.
                let word = unsafe {
                    let word = rest.as_ptr().add(at as usize * rest_bytes);
                    word.cast::<u64>().read_unaligned()
                };
                let difference = (u64::from_le(word) ^ query) & own;
                let distance = difference.count_ones() + shell.distance;
                if distance <= threshold {
                    // SAFETY: a prefetch reads nothing.
                    unsafe { I::prefetch(rows.as_ptr().wrapping_add(at as usize).cast()) };
                    let above = (difference & !low).checked_shl(key_bits).unwrap_or(0);
                    found.push(Found {
                        // Where its number stands, for now.
                        row: at,
                        distance,
                        difference: difference & low | u64::from(mask) << first_bit | above,
                    });
                    if found.len() >= FOUND && !give(&mut found, &mut threshold) {
                        return Ok(looked_at);
                    }
                }
            }
        }
        if !give(&mut found, &mut threshold) {
            return Ok(looked_at);
        }
        ranges = ahead.ranges;
    }
    Ok(looked_at)
}

/// Codes take `WORDS` words, the last of them in part or whole; 0: any number.
///
/// # Safety
/// The machine must have the instruction set `I`.
#[inline(always)]
unsafe fn in_rows<I: Isa, const WORDS: usize>(
    shell: &Shell<'_>,
    shells: &[Shell<'_>],
    ahead: &mut Ahead,
    mut threshold: u32,
    take: Take<'_>,
) -> Result<u64, ProbeError> {
    let (query, codes) = (shell.query, shell.codes);
    let stride = query.len();
    let count = codes.len() / stride.max(1);
    let blocks = Blocks::new(shells);
    let mut found: Vec<Found> = Vec::with_capacity(FOUND);
    let mut ranges = ahead.ranges;
    let mut looked_at = 0;
    // Rows that were asked for and not looked at yet; their numbers are checked before they come here.
    let mut waiting = [0_u32; LAG];
    let (mut came, mut went) = (0_usize, 0_usize);
    // SAFETY: rows that wait are below `count`, so that their codes lie in `codes`; the rest is the
    // caller's.
    let judge = |row: u32| unsafe {
        let code = codes.as_ptr().add(row as usize * stride);
        match WORDS {
            0 => I::row::<false>(query, query, code),
            _ => scan::words_apart::<WORDS>(query.as_ptr(), code, stride),
        }
    };
    // SAFETY: the caller's.
    unsafe {
        // Ranges of a table with other rows might lead outside of this one.
        if ahead.located_in.take() != Some(shell.bucket.rows.len()) {
            ask::<I>(shell, &shell.masks[..shell.masks.len().min(KEYS)]);
            blocks.ready::<I>(0, &mut ranges)?;
        }
    }
    for number in 0..blocks.own {
        // SAFETY: the caller's.
        ahead.located_in = unsafe { blocks.ready::<I>(number + 1, &mut ahead.ranges)? };
        looked_at += ranges.rows;
        for &(start, end, _) in ranges.buckets() {
            if let Some(checks) = &shell.checks {
                let rows_at = checks.places.rows;
                checks
                    .section
                    .check(rows_at + 4 * start as usize..rows_at + 4 * end as usize)?;
            }
            let rows = shell.bucket.rows.get(start as usize..end as usize);
            for &row in rows.unwrap_or_default() {
                if row as usize >= count {
                    return Err(Malformed.into());
                }
                let at = row as usize * stride;
                if let Some(checks) = &shell.checks {
                    checks.codes.check(at..at + stride)?;
                }
                // SAFETY: a prefetch reads nothing.
                unsafe {
                    let code = codes.as_ptr().wrapping_add(at);
                    I::prefetch(code);
                    // Codes of such a length lie in one line each, but for those of a damaged file.
                    if WORDS == 0 || stride != 8 * WORDS {
                        I::prefetch(code.wrapping_add(stride - 1));
                    }
                }
                if came - went == LAG {
                    let row = waiting[went % LAG];
                    went += 1;
                    let distance = judge(row);
                    if distance <= threshold {
                        found.push(Found {
                            row,
                            distance,
                            difference: 0,
                        });
                        if found.len() >= FOUND {
                            match take(&mut found) {
                                Some(lower) => threshold = lower,
                                None => return Ok(looked_at),
                            }
                        }
                    }
                }
                waiting[came % LAG] = row;
                came += 1;
            }
        }
        if !found.is_empty() {
            match take(&mut found) {
                Some(lower) => threshold = lower,
                None => return Ok(looked_at),
            }
        }
        ranges = ahead.ranges;
    }
    while went < came {
        let row = waiting[went % LAG];
        went += 1;
        let distance = judge(row);
        if distance <= threshold {
            found.push(Found {
                row,
                distance,
                difference: 0,
            });
        }
    }
    if !found.is_empty() {
        take(&mut found);
    }
    Ok(looked_at)
}
