//! What searches take: the planner's model, kept true by what searches took.

use std::sync::atomic::{AtomicU32, Ordering};

/// Nanoseconds of a byte of codes in a scan.
const SCAN_BYTE: f32 = 0.06;
/// Nanoseconds of a row in a scan, whatever its length.
const SCAN_ROW: f32 = 0.25;
/// Nanoseconds of looking up a bucket.
const BUCKET: f32 = 4.0;
/// Nanoseconds of a row in a bucket, where the rest of its code stands beside it.
const ROW_BESIDE: f32 = 0.7;
/// Nanoseconds of a row in a bucket whose code must be looked at.
const ROW_APART: f32 = 6.0;
/// Nanoseconds of a row whose code alone is fetched, because nearly all others are hidden.
const GATHERED: f32 = 30.0;

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

    /// Two searches that learn at once may lose one of two lessons: it does not matter.
    fn learn(&self, bytes: u64, estimate: f32, took: f32) {
        let Some(known) = self.of(bytes) else { return };
        if estimate < LEAST {
            return;
        }
        let old = f32::from_bits(known.load(Ordering::Relaxed));
        // A search that had to wait for the processor teaches little.
        let seen = (old * took / estimate)
            .clamp(old / 2.0, old * 2.0)
            .clamp(0.1, 20.0);
        known.store((old + (seen - old) / 16.0).to_bits(), Ordering::Relaxed);
    }
}

static SCANS: Learned = Learned::new();
static WALKS: Learned = Learned::new();

/// What searches of one part take, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Costs {
    /// Bytes of all codes of the part.
    bytes: u64,
    /// Of finding the nearest without tables.
    pub(super) scan: f32,
    gathers: bool,
    bucket: f32,
    row: f32,
}

impl Costs {
    /// Of a part with so many rows, of which `visible` may be found: alone, if `gathers`.
    pub(super) fn new(
        rows: usize,
        stride: usize,
        visible: u64,
        gathers: bool,
        has_rest: bool,
    ) -> Costs {
        let bytes = rows as u64 * stride as u64;
        let walk = WALKS.factor(bytes);
        let scan = match gathers {
            true => visible as f32 * GATHERED,
            false => SCANS.factor(bytes) * scan(rows, stride),
        };
        Costs {
            bytes,
            scan,
            gathers,
            bucket: walk * BUCKET,
            row: walk * if has_rest { ROW_BESIDE } else { ROW_APART },
        }
    }

    /// Of looking up so many buckets with so many rows.
    pub(super) fn walk(&self, buckets: f32, rows: f32) -> f32 {
        buckets * self.bucket + rows * self.row
    }

    pub(super) fn learn_scan(&self, took: f32) {
        if !self.gathers {
            SCANS.learn(self.bytes, self.scan, took);
        }
    }

    pub(super) fn learn_walk(&self, estimate: f32, took: f32) {
        WALKS.learn(self.bytes, estimate, took);
    }
}

fn scan(rows: usize, stride: usize) -> f32 {
    rows as f32 * (SCAN_ROW + SCAN_BYTE * stride as f32)
}
