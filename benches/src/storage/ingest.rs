//! Durable ingest, from the first commit until all is flushed and merged.

use std::time::Instant;

use bitkin_storage::{Options, Storage};

use crate::data::{Ids, Rows};
use crate::plain::Plain;
use crate::report::{Cell, Table};
use crate::{Bench, Result};
use bitkin_benches::measure::wait_for_rest;

const BATCH: u64 = 10_000;

/// When so many seconds after the first commit something was done.
struct Times {
    committed: f64,
    flushed: f64,
    rest: f64,
}

pub(crate) fn measure(bench: &Bench) -> Result<()> {
    let rows = bench.extent.rows(50_000_000, 2_000_000);
    // Random ids cost more than is waited for at that size.
    let random_rows = (rows / 5).max(1);
    let mut table = Table::new(
        "ingest",
        format!("batches of {BATCH} rows, each on disk when its commit returns"),
        &[
            "bits",
            "ids",
            "rows",
            "rows/s_committed",
            "rows/s_flushed",
            "rows/s_merged",
            "MB/s_merged",
            "plain_rows/s",
            "plain_MB/s",
            "percent_of_plain",
            "segments",
        ],
    );
    let cases = [
        (64, Ids::Assigned, rows),
        (256, Ids::Assigned, rows),
        (64, Ids::Random, random_rows),
        (256, Ids::Random, random_rows),
    ];
    for (bits, ids, rows) in cases {
        let batches = rows.div_ceil(BATCH);
        let row_bytes = 8 + u64::from(bits) / 8;
        let mut plain = Plain::create(&bench.path("plain"), (BATCH * row_bytes) as usize)?;
        let mut plain_seconds = plain.write(batches / 2)?.as_secs_f64();
        let (times, segments) = ingest(bench, bits, ids, batches)?;
        plain_seconds += plain.write(batches - batches / 2)?.as_secs_f64();
        plain.remove()?;

        let rows = (batches * BATCH) as f64;
        let megabytes = rows * row_bytes as f64 / 1e6;
        table.row(vec![
            u64::from(bits).into(),
            ids.name().into(),
            Cell::whole(rows),
            Cell::whole(rows / times.committed),
            Cell::whole(rows / times.flushed),
            Cell::whole(rows / times.rest),
            Cell::Number(megabytes / times.rest, 1),
            Cell::whole(rows / plain_seconds),
            Cell::Number(megabytes / plain_seconds, 1),
            Cell::Number(100.0 * plain_seconds / times.rest, 1),
            segments.into(),
        ]);
    }
    table
        .note("committed: until the last commit; flushed: until all rows are in segments as well;");
    table
        .note("merged: until no merge is under way or due as well. MB: ids and codes, 10^6 bytes.");
    table.note("plain: the same bytes to one file with as many syncs, half before and half after.");
    bench.report.table(&table);
    Ok(())
}

fn ingest(bench: &Bench, bits: u32, ids: Ids, batches: u64) -> Result<(Times, u64)> {
    let path = bench.path("ingest");
    let storage = Storage::create(&path, Options::default())?;
    let collection = storage.create_collection("codes", bits, b"")?;
    let mut rows = Rows::new(collection, ids, batches * BATCH, BATCH);
    let start = Instant::now();
    rows.insert(&storage)?;
    let committed = start.elapsed().as_secs_f64();
    storage.flush()?;
    let flushed = start.elapsed().as_secs_f64();
    let rest = wait_for_rest(&storage)?.duration_since(start).as_secs_f64();
    let stats = storage.stats();
    if stats.rows != batches * BATCH || stats.memory_bytes != 0 {
        return Err(format!("of {} rows there are {stats:?}", batches * BATCH).into());
    }
    let segments = stats.collections.iter().map(|c| c.segments).sum();
    storage.close()?;
    std::fs::remove_dir_all(&path)?;
    let times = Times {
        committed,
        flushed,
        rest: rest.max(flushed),
    };
    Ok((times, segments))
}
