//! What no peer is asked for: pairs, and the making of segments with their tables.

use std::hint::black_box;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use bitkin::kernels::{Kernels, QueryBatch};
use bitkin::{CollectionConfig, Database};
use bitkin_benches::Result;
use bitkin_benches::measure::Spread;

use crate::codes::Codes;
use crate::run::Plan;
use crate::system::timed;
use crate::work::Work;

/// The distance within which pairs are sought.
const RADIUS: u32 = 8;

/// Rows that are compared with all others, in place of every row: the time of all follows from it.
const SAMPLE: usize = 2048;

/// Rows that stay in the nearest cache while queries are compared with them.
const BLOCK: usize = 4096;

/// What was measured here; `None`: it was not asked for.
#[derive(Default)]
pub(super) struct Owned {
    pub(super) pairs: Option<Own>,
    pub(super) build: Option<Own>,
    /// Rows as they were written, beside the same rows merged into one segment.
    pub(super) fresh: Option<Own>,
}

pub(super) struct Own {
    /// How many times as fast as what it stands beside.
    pub(super) ratio: Spread,
    /// Million rows.
    pub(super) a_second: Spread,
}

/// Measures a work in a new database: seconds, and seconds of what they stand beside.
pub(super) type Measure = fn(&Work, &Path) -> Result<(f64, f64)>;

impl Own {
    pub(super) fn measure(measure: Measure, work: &Work, plan: &Plan) -> Result<Own> {
        let folder = tempfile::Builder::new()
            .prefix(&format!("run-{}-", std::process::id()))
            .tempdir_in(&plan.places.cache)?;
        let (mut ratios, mut speeds) = (Vec::new(), Vec::new());
        for round in 0..plan.rounds.min(3) {
            let path = folder.path().join(format!("{round}.bitkin"));
            let (own, other) = measure(work, &path)?;
            ratios.push(other / own);
            speeds.push(work.rows.rows() as f64 / own / 1e6);
            std::fs::remove_dir_all(&path)?;
        }
        Ok(Own {
            ratio: Spread::of(&ratios),
            a_second: Spread::of(&speeds),
        })
    }
}

fn filled(work: &Work, path: &Path) -> Result<(Database, bitkin::Collection)> {
    let database = Database::create(path)?;
    let rows = database.create_collection("rows", CollectionConfig::bits(work.bits))?;
    for codes in work.rows.bytes().chunks(10_000 * work.rows.row_bytes()) {
        rows.append(codes)?;
    }
    Ok((database, rows))
}

/// Seconds of finding all pairs by one thread, and of comparing every two rows.
pub(super) fn pairs(work: &Work, path: &Path) -> Result<(f64, f64)> {
    let (database, rows) = filled(work, path)?;
    rows.compact()?;
    let (found, own) = timed(|| {
        let search = rows.pairs(RADIUS).threads(1);
        search.for_each(|pair| {
            black_box(pair);
            ControlFlow::Continue(())
        })
    });
    found?;
    let kernels = Kernels::get()?;
    let all = all_pairs(kernels, &work.rows);
    database.close()?;
    Ok((own, all.as_secs_f64()))
}

/// The time of comparing every two rows: of a sample with all, and then as many times as there are samples
/// in half of the rows.
fn all_pairs(kernels: &Kernels, rows: &Codes) -> Duration {
    let stride = rows.row_bytes();
    let sample = SAMPLE.min(rows.rows());
    let queries: Vec<&[u8]> = rows.bytes()[..sample * stride]
        .chunks_exact(stride)
        .collect();
    let mut batches: Vec<QueryBatch> = queries.chunks(256).map(QueryBatch::new).collect();
    let thresholds = vec![Some(RADIUS); 256];
    let ((), seconds) = timed(|| {
        for batch in &mut batches {
            let mut found = vec![Vec::new(); batch.len()];
            for (number, block) in rows.bytes().chunks(BLOCK * stride).enumerate() {
                let first = (number * BLOCK) as u32;
                kernels.within_batch(batch, block, first, &thresholds[..found.len()], &mut found);
                found.iter_mut().for_each(Vec::clear);
            }
        }
    });
    Duration::from_secs_f64(seconds * rows.rows() as f64 / sample as f64 / 2.0)
}

/// Seconds of all queries one by one: while rows lie where they came to lie, and after they were merged.
pub(super) fn fresh(work: &Work, path: &Path) -> Result<(f64, f64)> {
    let (database, rows) = filled(work, path)?;
    let ask = || -> Result<f64> {
        let queries = || work.queries.bytes().chunks_exact(work.queries.row_bytes());
        // The first ones check what they touch.
        let mut took = 0.0;
        for _ in 0..2 {
            let (asked, seconds) = timed(|| -> Result<()> {
                for query in queries() {
                    black_box(rows.search(query).k(10).threads(1).run()?);
                }
                Ok(())
            });
            asked?;
            took = seconds;
        }
        Ok(took)
    };
    let fresh = ask()?;
    rows.compact()?;
    let compacted = ask()?;
    database.close()?;
    Ok((fresh, compacted))
}

/// Seconds of merging all rows into one segment, tables included, and of copying its file.
pub(super) fn build(work: &Work, path: &Path) -> Result<(f64, f64)> {
    let (database, rows) = filled(work, path)?;
    let (merged, own) = timed(|| rows.compact());
    merged?;
    database.close()?;
    let mut bytes = Vec::new();
    let mut segments = Vec::new();
    for entry in std::fs::read_dir(path.join("segments"))? {
        segments.push(entry?.path());
    }
    let (copied, copy) = timed(|| -> std::io::Result<()> {
        for segment in &segments {
            bytes.extend(std::fs::read(segment)?);
        }
        let mut file = std::fs::File::create(path.join("copy"))?;
        file.write_all(&bytes)?;
        file.sync_all()
    });
    copied?;
    Ok((own, copy))
}
