//! What the right answers are, by brute force that has nothing in common with what is measured.
//!
//! For every query the number of rows at each distance says all that recall needs: how far the k-th
//! neighbour is, for every k, and how many rows a radius holds. Which of several rows at the k-th
//! distance is returned makes no difference.

use std::fs;
use std::path::Path;

use bitkin_benches::Result;
use xxhash_rust::xxh3::xxh3_64;

use super::codes::{Codes, distance, named};
use super::work::Work;

/// Rows looked at by all queries before the next ones are: they stay in the cache.
const BLOCK: usize = 1 << 12;

/// For each query the number of rows at each distance.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Truth {
    counts: Vec<u32>,
    distances: usize,
}

impl Truth {
    /// The truth of these rows and queries, whose hash is `data`, from `cache` if it was worked out
    /// before.
    pub(crate) fn load(rows: &Codes, queries: &Codes, data: &str, cache: &Path) -> Result<Truth> {
        let distances = 8 * rows.row_bytes() + 1;
        let file = cache.join(format!("truth-{data}.bin"));
        let expected = 4 * queries.rows() * distances;
        if file.exists() {
            let bytes = fs::read(&file).map_err(named(&file))?;
            let counts = Truth::decode(&bytes, expected, rows.rows(), distances);
            return counts.ok_or_else(|| {
                let file = file.display();
                format!("{file} is damaged: remove it, and it is worked out anew").into()
            });
        }
        let truth = Truth::work_out(rows, queries, |_| true);
        let mut bytes: Vec<u8> = truth.counts.iter().flat_map(|n| n.to_le_bytes()).collect();
        bytes.extend_from_slice(&xxh3_64(&bytes).to_le_bytes());
        let fresh = tempfile::NamedTempFile::new_in(cache).map_err(named(cache))?;
        fs::write(fresh.path(), &bytes).map_err(named(&file))?;
        fresh.persist(&file)?;
        Ok(truth)
    }

    fn decode(bytes: &[u8], expected: usize, rows: usize, distances: usize) -> Option<Truth> {
        let (counts, sum) = bytes.split_at_checked(expected)?;
        if sum != xxh3_64(counts).to_le_bytes() {
            return None;
        }
        let counts = counts.as_chunks::<4>().0.iter();
        let counts: Vec<u32> = counts.map(|n| u32::from_le_bytes(*n)).collect();
        let whole = |counts: &[u32]| counts.iter().map(|n| *n as usize).sum::<usize>() == rows;
        let truth = Truth { counts, distances };
        truth
            .counts
            .chunks_exact(distances)
            .all(whole)
            .then_some(truth)
    }

    /// Of the rows that `keep` keeps.
    pub(crate) fn work_out(
        rows: &Codes,
        queries: &Codes,
        keep: impl Fn(usize) -> bool + Sync,
    ) -> Truth {
        let distances = 8 * rows.row_bytes() + 1;
        let mut counts = vec![0; queries.rows() * distances];
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let share = queries.rows().div_ceil(threads).max(1);
        let row_bytes = rows.row_bytes();
        std::thread::scope(|scope| {
            let queries = queries.bytes().chunks(share * row_bytes);
            for (queries, counts) in queries.zip(counts.chunks_mut(share * distances)) {
                let keep = &keep;
                scope.spawn(move || {
                    let mut kept = Vec::new();
                    for (number, block) in rows.bytes().chunks(BLOCK * row_bytes).enumerate() {
                        kept.clear();
                        let codes = block.chunks_exact(row_bytes).enumerate();
                        let codes = codes.filter(|(at, _)| keep(number * BLOCK + at));
                        codes.for_each(|(_, code)| kept.extend_from_slice(code));
                        for (query, counts) in queries
                            .chunks_exact(row_bytes)
                            .zip(counts.chunks_exact_mut(distances))
                        {
                            count(query, &kept, counts);
                        }
                    }
                });
            }
        });
        Truth { counts, distances }
    }

    fn of(&self, query: usize) -> &[u32] {
        &self.counts[query * self.distances..][..self.distances]
    }

    fn queries(&self) -> usize {
        self.counts.len() / self.distances
    }

    /// Number of rows within `radius` of a query.
    fn within(&self, query: usize, radius: u32) -> u64 {
        let counts = self.of(query).iter().take(radius as usize + 1);
        counts.map(|n| u64::from(*n)).sum()
    }

    /// The distance of the k-th neighbour of a query; `k` is at least 1 and at most the rows.
    fn kth_distance(&self, query: usize, k: usize) -> u32 {
        let mut seen = 0;
        let counts = self.of(query).iter();
        let found = counts.take_while(|n| {
            seen += **n as usize;
            seen < k
        });
        found.count() as u32
    }

    /// The share of the `k` nearest that are among `ids`, which holds `k` for each query. A row counts
    /// once, and when it is no farther than the k-th neighbour, and one that `keep` keeps.
    pub(crate) fn recall_of_nearest(
        &self,
        work: &Work,
        k: usize,
        ids: &[u64],
        keep: impl Fn(usize) -> bool,
    ) -> Result<f64> {
        if ids.len() != self.queries() * k {
            let (found, wanted) = (ids.len(), self.queries() * k);
            return Err(format!("it gave {found} ids instead of {wanted}").into());
        }
        let (mut right, mut all) = (0, 0);
        for (query, found) in ids.chunks_exact(k.max(1)).enumerate() {
            let most = self.kth_distance(query, k);
            let near = distances(work, query, found, &keep);
            right += near.iter().filter(|distance| **distance <= most).count() as u64;
            all += self
                .within(query, 8 * work.rows.row_bytes() as u32)
                .min(k as u64);
        }
        Ok(right as f64 / all as f64)
    }

    /// Whether the farthest of the `k` rows that an exact system found for each query is just as far
    /// as the k-th neighbour is said to be here: a second opinion.
    pub(crate) fn agrees(&self, work: &Work, k: usize, ids: &[u64]) -> bool {
        ids.chunks_exact(k.max(1))
            .enumerate()
            .all(|(query, found)| {
                let found = distances(work, query, found, |_| true);
                found.len() == k && found.into_iter().max() == Some(self.kth_distance(query, k))
            })
    }

    /// The share of the rows within `radius` that are among `ids`; all of them, if there are none.
    ///
    /// # Errors
    /// If a row outside of the radius is among them.
    pub(crate) fn recall_of_radius(
        &self,
        work: &Work,
        radius: u32,
        ids: &[u64],
        offsets: &[u64],
    ) -> Result<f64> {
        let (mut right, mut all) = (0, 0);
        if offsets.len() != self.queries() + 1 {
            return Err("it gave no offset for each query".into());
        }
        for (query, bounds) in offsets.windows(2).enumerate() {
            let found = ids.get(bounds[0] as usize..bounds[1] as usize);
            let found = distances(
                work,
                query,
                found.ok_or("its offsets lie outside of its ids")?,
                |_| true,
            );
            if let Some(far) = found.iter().find(|distance| **distance > radius) {
                return Err(format!("it returned a row at distance {far} for {radius}").into());
            }
            right += found.len() as u64;
            all += self.within(query, radius);
        }
        Ok(if all == 0 {
            1.0
        } else {
            right as f64 / all as f64
        })
    }
}

/// The distances of those rows from a query that there are, each counted once.
fn distances(work: &Work, query: usize, found: &[u64], keep: impl Fn(usize) -> bool) -> Vec<u32> {
    let mut found: Vec<u64> = found.to_vec();
    found.sort_unstable();
    found.dedup();
    let code = work.queries.get(query).unwrap_or_default();
    let rows = found.into_iter().filter_map(|id| usize::try_from(id).ok());
    let rows = rows.filter(|row| keep(*row));
    rows.filter_map(|row| Some(distance(work.rows.get(row)?, code)))
        .collect()
}

/// Adds the rows of a block to the counts of a query.
fn count(query: &[u8], block: &[u8], counts: &mut [u32]) {
    #[cfg(target_arch = "x86_64")]
    if std::is_x86_feature_detected!("popcnt") {
        #[target_feature(enable = "popcnt")]
        fn with_popcnt(query: &[u8], block: &[u8], counts: &mut [u32]) {
            count_by_words(query, block, counts);
        }
        // SAFETY: the processor has the instruction, as was just asked.
        return unsafe { with_popcnt(query, block, counts) };
    }
    count_by_words(query, block, counts);
}

#[inline(always)]
fn count_by_words(query: &[u8], block: &[u8], counts: &mut [u32]) {
    let (words, rest) = query.as_chunks::<8>();
    for row in block.chunks_exact(query.len()) {
        let (row_words, row_rest) = row.as_chunks::<8>();
        let mut far = 0;
        for (a, b) in words.iter().zip(row_words) {
            far += (u64::from_le_bytes(*a) ^ u64::from_le_bytes(*b)).count_ones();
        }
        for (a, b) in rest.iter().zip(row_rest) {
            far += (a ^ b).count_ones();
        }
        counts[far as usize] += 1;
    }
}
