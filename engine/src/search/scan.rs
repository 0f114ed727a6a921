//! The scan: every row of every part, in blocks that stay in the nearest cache.

use std::borrow::Cow;

use super::nearest::Nearest;
use super::visible::Hidden;
use crate::kernels::{Candidate, Kernels};

/// Bytes of codes in a block: half of a usual first-level cache, which the queries of a batch
/// then share.
const BLOCK_BYTES: usize = 16 << 10;

/// Rows of the first block of a search. Thresholds begin open, so blocks begin small and double.
const FIRST_ROWS: usize = 64;

/// The columns of one part, or of some of its rows.
pub(super) struct Columns<'a> {
    /// Ascending; at most 2^32 - 1 of them.
    pub(super) ids: Cow<'a, [u64]>,
    /// `ids.len()` codes.
    pub(super) codes: Cow<'a, [u8]>,
    /// Rows that are not to be found.
    pub(super) hidden: Hidden<'a>,
    /// What `hidden` calls the first row.
    pub(super) first_row: u32,
}

/// Offers every row of `part` that may be wanted to each query's answer.
///
/// `queries` and `answers` go together; every query has the parts' width. One pass over the
/// codes serves all of them.
pub(super) fn scan(
    kernels: &Kernels,
    part: &Columns<'_>,
    queries: &[&[u8]],
    answers: &mut [&mut Nearest],
    scratch: &mut Vec<Candidate>,
) {
    let Some(stride) = queries.first().map(|query| query.len()) else {
        return;
    };
    let most_rows = (BLOCK_BYTES / stride).clamp(FIRST_ROWS, 4096);
    let mut rows = if answers.iter().any(|answer| answer.is_open()) {
        FIRST_ROWS
    } else {
        most_rows
    };
    let mut start = 0;
    while start < part.ids.len() {
        let end = part.ids.len().min(start + rows);
        let block = &part.codes[start * stride..end * stride];
        let mut wanted = false;
        for (query, answer) in queries.iter().zip(answers.iter_mut()) {
            let Some(threshold) = answer.threshold(part.ids[start]) else {
                continue;
            };
            wanted = true;
            scratch.clear();
            kernels.within(query, block, start as u32, threshold, scratch);
            if !scratch.is_empty() {
                for candidate in &*scratch {
                    if part.hidden.hides(part.first_row + candidate.row) {
                        continue;
                    }
                    answer.offer(candidate.distance, part.ids[candidate.row as usize]);
                }
                answer.settle();
            }
        }
        if !wanted {
            return;
        }
        start = end;
        rows = (2 * rows).min(most_rows);
    }
}
