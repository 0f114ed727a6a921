//! The path of the log alone: batches that stay in memory and are on disk when their commit returns.

use std::time::Instant;

use bitkin_storage::{Options, Storage};

use crate::data::{Ids, Rows};
use crate::plain::Plain;
use crate::report::{Cell, Table};
use crate::{Bench, Result};
use bitkin_benches::measure::Spread;

const BATCH: u64 = 10_000;
/// Batches after which it is the other's turn, few, so that both meet the same disk.
const TURN: u64 = 5;

pub(crate) fn measure(bench: &Bench) -> Result<()> {
    let rows = bench.extent.rows(2_000_000, 500_000);
    let rounds = bench.extent.rounds(11, 5);
    let batches = rows.div_ceil(BATCH);
    let mut table = Table::new(
        "log",
        format!(
            "batches of {BATCH} rows at Sync, nothing flushed; {rounds} rounds of {batches} batches"
        ),
        &[
            "bits",
            "ids",
            "bytes/batch",
            "log_rows/s",
            "log_MB/s",
            "plain_MB/s",
            "percent_of_plain",
            "least",
            "most",
        ],
    );
    for (bits, ids) in [
        (64, Ids::Assigned),
        (64, Ids::Random),
        (256, Ids::Assigned),
        (256, Ids::Random),
    ] {
        let (mut logs, mut plains, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        // What a first, short round learns is the size of a record; it warms up as well.
        let bytes = round(bench, bits, ids, TURN, 1)?.bytes;
        for _ in 0..rounds {
            let times = round(bench, bits, ids, batches, bytes as usize)?;
            logs.push(times.log);
            plains.push(times.plain);
            ratios.push(100.0 * times.plain / times.log);
        }
        let (log, plain) = (Spread::of(&logs).median, Spread::of(&plains).median);
        let ratio = Spread::of(&ratios);
        let megabytes = (bytes * batches) as f64 / 1e6;
        table.row(vec![
            u64::from(bits).into(),
            ids.name().into(),
            bytes.into(),
            Cell::whole((batches * BATCH) as f64 / log),
            Cell::Number(megabytes / log, 1),
            Cell::Number(megabytes / plain, 1),
            Cell::Number(ratio.median, 1),
            Cell::Number(ratio.least, 1),
            Cell::Number(ratio.most, 1),
        ]);
    }
    table.note("plain: the same bytes to a file of its own with as many syncs, in turns of a few.");
    table.note("percent_of_plain: the median of the rounds, with the least and the most of them.");
    bench.report.table(&table);
    Ok(())
}

/// Seconds that a round took, and the bytes of a batch in the log.
struct Times {
    log: f64,
    plain: f64,
    bytes: u64,
}

/// Commits so many batches, in turns with as many pieces of `bytes` bytes to a plain file.
fn round(bench: &Bench, bits: u32, ids: Ids, batches: u64, bytes: usize) -> Result<Times> {
    let path = bench.path("log");
    let options = Options {
        memory_limit: usize::MAX / 4,
        flush_rows: usize::MAX,
        ..Options::default()
    };
    let storage = Storage::create(&path, options)?;
    let collection = storage.create_collection("codes", bits, b"")?;
    let mut rows = Rows::new(collection, ids, batches * BATCH, BATCH);
    let mut plain = Plain::create(&bench.path("plain"), bytes)?;
    let before = storage.stats().log_bytes;
    let (mut log_seconds, mut plain_seconds) = (0.0, 0.0);
    let mut left = batches;
    while left > 0 {
        let turn = left.min(TURN);
        let start = Instant::now();
        rows.insert_batches(&storage, turn)?;
        log_seconds += start.elapsed().as_secs_f64();
        plain_seconds += plain.write(turn)?.as_secs_f64();
        left -= turn;
    }
    let stats = storage.stats();
    if stats.segment_bytes != 0 {
        return Err("rows were flushed that were to stay in memory".into());
    }
    plain.remove()?;
    drop(storage);
    std::fs::remove_dir_all(&path)?;
    Ok(Times {
        log: log_seconds,
        plain: plain_seconds,
        bytes: (stats.log_bytes - before) / batches,
    })
}
