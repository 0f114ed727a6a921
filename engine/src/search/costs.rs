//! What searches take: the planner's model, kept true by what searches took.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::tables::{MOST_DISTANCE, Tables, count};

/// Nanoseconds of a byte of codes in a scan.
const SCAN_BYTE: f32 = 0.04;
/// Nanoseconds of a row in a scan, whatever its length.
const SCAN_ROW: f32 = 0.1;
/// Nanoseconds before the first shell is looked up.
const START: f32 = 300.0;
/// Nanoseconds of finding out, for each table, what its shells will cost; and of reckoning with it again and
/// again, which takes longer where distances are greater.
const TABLE: f32 = 60.0;
const WIDE_TABLE: f32 = 200.0;
/// Nanoseconds of a shell, whatever is in there.
const SHELL: f32 = 60.0;
/// Nanoseconds of looking up a bucket.
const BUCKET: f32 = 16.0;
/// Nanoseconds of a row in a bucket, where the rest of its code stands beside it.
const ROW_BESIDE: f32 = 2.5;
/// Nanoseconds of a row in a bucket whose code must be looked at.
const ROW_APART: f32 = 11.0;
/// Nanoseconds of a row whose code alone is fetched, because nearly all others are hidden.
const GATHERED: f32 = 30.0;

/// Bytes of a code that are copied in the time in which it is fetched.
const COPIED: f32 = 512.0;

/// Estimates below this are not learned from: the clock itself takes a part of it.
const LEAST: f32 = 2_000.0;

/// What a search of one kind takes in parts of what the constants say: learned, for each size of what it
/// walks over, since memory farther away is slower.
struct Learned([AtomicU32; 48]);

impl Learned {
    const fn new() -> Learned {
        Learned([const { AtomicU32::new(0x3f80_0000) }; 48])
    }

    fn of(&self, bytes: u64) -> Option<&AtomicU32> {
        self.0.get(bytes.max(1).ilog2() as usize)
    }

    fn factor(&self, bytes: u64) -> f32 {
        let learned = self
            .of(bytes)
            .map(|bits| f32::from_bits(bits.load(Ordering::Relaxed)));
        learned.unwrap_or(1.0)
    }

    /// What the constants take for `plain` nanoseconds took so many. Two searches that learn at once may lose
    /// one of two lessons: it does not matter.
    fn learn(&self, bytes: u64, plain: f32, took: f32) {
        let Some(known) = self.of(bytes) else { return };
        if plain < LEAST {
            return;
        }
        let old = f32::from_bits(known.load(Ordering::Relaxed));
        // A search that had to wait for the processor teaches little.
        let seen = (took / plain).clamp(old / 2.0, old * 2.0).clamp(0.1, 20.0);
        known.store((old + (seen - old) / 16.0).to_bits(), Ordering::Relaxed);
    }
}

static SCANS: Learned = Learned::new();
/// Of one of the queries of a batch.
static BATCHES: Learned = Learned::new();
static WALKS: Learned = Learned::new();
/// Of searches under masks.
static MASKED: Learned = Learned::new();

/// Queries that make a batch: of fewer, each takes about as long as by itself.
const BATCH: usize = 16;
/// What a query of a batch takes in parts of one by itself.
const IN_BATCH: f32 = 0.4;

/// A scan that takes longer is shared among threads, each of which has so many nanoseconds or more to do.
const SHARE: f32 = 1e6;

/// What searches of one part take, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Costs {
    /// Bytes of all codes of the part.
    bytes: u64,
    /// Of finding the nearest without tables.
    pub(super) scan: f32,
    /// What a scan is taken for before anything is learned, by itself and in a batch; `None` where rows are
    /// gathered.
    plain: Option<[f32; 2]>,
    /// Whether only the bits of a mask are read, which are `bytes`.
    is_masked: bool,
    /// What was learned of walks.
    walk: f32,
    /// Of a walk before its first shell.
    pub(super) start: f32,
    shell: f32,
    bucket: f32,
    row: f32,
}

impl Costs {
    /// Of a part with so many rows, for each of `queries`. Where so few are visible that they are gathered,
    /// that is `gathered`.
    pub(super) fn new(
        rows: usize,
        stride: usize,
        gathered: Option<u64>,
        tables: Option<&Tables>,
        queries: usize,
    ) -> Costs {
        let has_rest = tables.is_some_and(Tables::has_rest);
        let start =
            tables.map_or(0, Tables::count) as f32 * if has_rest { TABLE } else { WIDE_TABLE };
        let bytes = rows as u64 * stride as u64;
        let walk = WALKS.factor(bytes);
        let alone = rows as f32 * (SCAN_ROW + SCAN_BYTE * stride as f32);
        let plain = [alone, IN_BATCH * alone];
        let scan = match gathered {
            Some(rows) => rows as f32 * GATHERED,
            None if queries < BATCH => SCANS.factor(bytes) * plain[0],
            None => BATCHES.factor(bytes) * plain[1],
        };
        Costs {
            bytes,
            scan,
            plain: gathered.is_none().then_some(plain),
            is_masked: false,
            walk,
            start: START + start,
            shell: walk * SHELL,
            bucket: walk * BUCKET,
            row: walk * if has_rest { ROW_BESIDE } else { ROW_APART },
        }
    }

    /// Of a part with so many rows, of each of which a mask calls for so many bytes; or, where some are
    /// gathered, of that many, whose whole codes are copied.
    pub(super) fn masked(rows: usize, bytes: usize, gathered: Option<u64>) -> Costs {
        let costs = Costs::new(rows, bytes, gathered, None, 1);
        let scan = match costs.plain {
            Some([alone, _]) => MASKED.factor(costs.bytes) * alone,
            None => costs.scan * (1.0 + bytes as f32 / COPIED),
        };
        Costs {
            scan,
            is_masked: true,
            ..costs
        }
    }

    /// What finding the nearest without tables is expected to take.
    pub(super) fn predicted_scan(&self) -> Duration {
        nanos(self.scan)
    }

    /// Of looking up a shell of so many buckets with so many rows.
    pub(super) fn shell(&self, buckets: f32, rows: f32) -> f32 {
        self.shell + buckets * self.bucket + rows * self.row
    }

    /// Of a walk to a radius through so many tables with so many bits of a key, if all buckets had as many rows.
    pub(super) fn even_walk(
        &self,
        (tables, key_bits): (u32, u32),
        rows: usize,
        radius: u32,
    ) -> f32 {
        let a_bucket = rows as f32 * (-(key_bits as f32)).exp2();
        let mut shells = radius.saturating_add(1);
        let mut sum = self.start;
        // The cheapest shells first: one of each table, and then the next of each.
        for distance in 0..=MOST_DISTANCE.min(key_bits) {
            let buckets = count(key_bits, distance) as f32;
            sum += shells.min(tables) as f32 * self.shell(buckets, buckets * a_bucket);
            shells = shells.saturating_sub(tables);
            if shells == 0 {
                return sum;
            }
        }
        f32::INFINITY
    }

    /// How many of so many threads should share a scan for one query.
    pub(super) fn scan_threads(&self, threads: usize) -> usize {
        threads.min((self.scan / SHARE) as usize)
    }

    /// A scan for so many queries took so long.
    pub(super) fn learn_scan(&self, queries: usize, took: f32) {
        match self.plain {
            Some([alone, _]) if self.is_masked => {
                MASKED.learn(self.bytes, alone, took / queries.max(1) as f32);
            }
            Some([alone, _]) if queries == 1 => SCANS.learn(self.bytes, alone, took),
            Some([_, in_batch]) if queries >= BATCH => {
                BATCHES.learn(self.bytes, in_batch, took / queries as f32);
            }
            _ => {}
        }
    }

    /// A walk of such a cost took so long.
    pub(super) fn learn_walk(&self, spent: f32, took: f32) {
        WALKS.learn(self.bytes, spent / self.walk, took);
    }
}

/// So many nanoseconds.
pub(super) fn nanos(nanos: f32) -> Duration {
    Duration::from_nanos(nanos.clamp(0.0, 1e18) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parts of 100,000 rows were scanned within a radius, in three times the time of a walk, once scans were fast:
    /// that finding out what shells cost takes a tenth of the scan ruled out all of the walk.
    #[test]
    fn a_walk_costs_its_shells_one_by_one() {
        let costs = Costs {
            start: 3700.0,
            shell: 60.0,
            bucket: 16.0,
            row: 11.0,
            ..Costs::new(100_000, 32, None, None, 1)
        };
        let (tables, key_bits, rows) = (17, 15, 100_000);
        for radius in [0, 16, 17, 25, 33, 34, 101, 118] {
            let shells = (0..=radius).map(|shell| {
                let buckets =
                    (0..1_u32 << key_bits).filter(|key| key.count_ones() == shell / tables);
                let buckets = buckets.count() as f32;
                60.0 + buckets * (16.0 + 11.0 * rows as f32 / 32768.0)
            });
            let one_by_one = 3700.0 + shells.sum::<f32>();
            let seen = costs.even_walk((tables, key_bits), rows, radius);
            assert!(
                (seen / one_by_one - 1.0).abs() < 1e-3,
                "{seen}, {one_by_one}"
            );
        }
        assert_eq!(
            costs.even_walk((tables, key_bits), rows, 119),
            f32::INFINITY
        );
        assert_eq!(costs.even_walk((2, 3), rows, 8), f32::INFINITY);
        assert!(costs.even_walk((2, 3), rows, 7).is_finite());
    }
}
