//! The scan: every row of every part, in blocks that stay in the nearest cache.

use std::borrow::Cow;

use super::nearest::Nearest;
use super::together;
use super::visible::Hidden;
use crate::activity::Activity;
use crate::kernels::{Candidate, Kernels, QueryBatch};

/// Bytes of codes in the largest block for one query: enough to read it in streams, and thresholds shrink
/// from block to block.
const BLOCK_BYTES: usize = 512 << 10;

/// Rows in the largest block for several queries, which stays in a cache.
const MOST_ROWS: usize = 4096;

/// Rows of the first block of a part. Thresholds begin open, or loose behind a walk that was given up: so
/// blocks begin small and double.
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
    /// Ends the scan before its end, when it is stopped.
    pub(super) stop: Option<&'a Activity>,
}

/// Queries that are scanned for together, and the memory that it takes.
pub(super) struct Scan<'a> {
    kernels: &'a Kernels,
    queries: &'a [&'a [u8]],
    /// Made when it is first called for: a single query never does.
    batch: Option<QueryBatch>,
    thresholds: Vec<Option<u32>>,
    found: Vec<Vec<Candidate>>,
}

/// Scans for one query with several threads, each of which has a stretch of the rows.
pub(super) fn scan_together(
    kernels: &Kernels,
    query: &[u8],
    part: &Columns<'_>,
    answer: &mut Nearest<'_>,
    threads: usize,
) {
    let stride = query.len();
    let rows = part.ids.len();
    let share = rows.div_ceil(threads.max(1)).max(1);
    let wanted = answer.share();
    let found = together(rows.div_ceil(share), |number| {
        let (start, end) = (number * share, rows.min((number + 1) * share));
        let stretch = Columns {
            ids: Cow::Borrowed(&part.ids[start..end]),
            codes: Cow::Borrowed(&part.codes[start * stride..end * stride]),
            hidden: part.hidden,
            first_row: part.first_row + start as u32,
            stop: part.stop,
        };
        let mut own = Nearest::from(wanted);
        Scan::new(kernels, &[query]).scan(&stretch, &mut [&mut own]);
        own.finish()
    });
    for found in found {
        answer.absorb(found);
    }
}

impl<'a> Scan<'a> {
    /// Queries of one width, at least a byte.
    pub(super) fn new(kernels: &'a Kernels, queries: &'a [&'a [u8]]) -> Self {
        Scan {
            kernels,
            queries,
            batch: None,
            thresholds: Vec::new(),
            found: vec![Vec::new(); queries.len()],
        }
    }

    /// Offers every row of `part`, which has the queries' width, that may be wanted to each
    /// query's answer. One pass over the codes serves all of them. A scan that was stopped offers some.
    pub(super) fn scan(&mut self, part: &Columns<'_>, answers: &mut [&mut Nearest<'_>]) {
        let Some(stride) = self.queries.first().map(|query| query.len()) else {
            return;
        };
        let most_rows = match self.queries {
            [_] => (BLOCK_BYTES / stride).max(FIRST_ROWS),
            _ => MOST_ROWS,
        };
        let mut rows = FIRST_ROWS;
        let mut start = 0;
        while start < part.ids.len() && !part.stop.is_some_and(Activity::is_stopped) {
            let end = part.ids.len().min(start + rows);
            let threshold = |answer: &&mut Nearest<'_>| answer.threshold(part.ids[start]);
            self.thresholds.clear();
            self.thresholds.extend(answers.iter().map(threshold));
            if self.thresholds.iter().all(Option::is_none) {
                return;
            }
            self.look(&part.codes[start * stride..end * stride], start as u32);
            for (answer, found) in answers.iter_mut().zip(&mut self.found) {
                if found.is_empty() {
                    continue;
                }
                for candidate in found.drain(..) {
                    if part.hidden.hides(part.first_row + candidate.row) {
                        continue;
                    }
                    answer.offer(candidate.distance, part.ids[candidate.row as usize]);
                }
                answer.settle();
            }
            start = end;
            rows = (2 * rows).min(most_rows);
        }
    }

    /// Finds the rows of a block that are within the thresholds.
    fn look(&mut self, block: &[u8], first_row: u32) {
        let found = &mut self.found[..];
        match (self.queries, &self.thresholds[..], found) {
            ([query], [Some(threshold)], [found]) => {
                self.kernels
                    .within(query, block, first_row, *threshold, found);
            }
            (_, thresholds, found) => {
                let batch = || QueryBatch::new(self.queries);
                let batch = self.batch.get_or_insert_with(batch);
                self.kernels
                    .within_batch(batch, block, first_row, thresholds, found);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use roaring::RoaringBitmap;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        /// However many threads share a scan, it finds what one finds, also where another part was searched
        /// before.
        #[test]
        fn threads_find_what_one_finds(
            codes in prop::collection::vec(0_u8..8, 2..=2 * 600),
            hidden in prop::collection::btree_set(0_u32..600, 0..100),
            k in 1_usize..20,
            radius in prop::option::of(0_u32..8),
            threads in 2_usize..9,
        ) {
            let rows = codes.len() / 2;
            let ids: Vec<u64> = (0..rows as u64).map(|row| 3 * row).collect();
            let hidden: RoaringBitmap = hidden.into_iter().collect();
            let half = rows / 2;
            let columns = |from: usize, to: usize| Columns {
                ids: Cow::Borrowed(&ids[from..to]),
                codes: Cow::Borrowed(&codes[2 * from..2 * to]),
                hidden: Hidden::Rows(&hidden),
                first_row: from as u32,
                stop: None,
            };
            let query: &[u8] = &[1, 2];
            for kernels in Kernels::available() {
                let mut one = Nearest::new(k, radius);
                let mut many = Nearest::new(k, radius);
                for (from, to) in [(half, rows), (0, half)] {
                    one.begin_part();
                    many.begin_part();
                    Scan::new(kernels, &[query]).scan(&columns(from, to), &mut [&mut one]);
                    scan_together(kernels, query, &columns(from, to), &mut many, threads);
                }
                prop_assert_eq!(one.finish(), many.finish());
            }
        }
    }
}
