//! How long it takes to open a database, which must not grow with its rows.

use std::path::Path;
use std::time::Instant;

use bitkin_storage::{Options, Storage};

use crate::data::{Ids, Rows, filling};
use crate::report::{Cell, Table};
use crate::{Bench, Result};
use bitkin_benches::measure::{Spread, wait_for_rest};

/// Rows that a close leaves in the log rather than flush them: just under 1 MiB.
const LEFT_BY_CLOSE: u64 = (1 << 20) / 16 - 10_000;
/// Rows that a crash may leave in the log where `flush_rows` lets it: just under the 64 MiB at which they
/// are flushed. By default about 65,536 do, as many as a close leaves.
const LEFT_BY_CRASH: u64 = (64 << 20) / 16 - 10_000;

pub(crate) fn measure(bench: &Bench) -> Result<()> {
    let rows = bench.extent.rows(10_000_000, 1_000_000);
    let times = bench.extent.rounds(101, 15);
    let mut table = Table::new(
        "open",
        format!(
            "milliseconds to open, medians of {times} openings, what is read in the page cache"
        ),
        &[
            "rows",
            "left",
            "log_rows",
            "segments",
            "write_ms",
            "write_most",
            "read_only_ms",
            "read_only_most",
        ],
    );
    let path = bench.path("open");
    let mut largest = 0;
    for rows in [rows / 100, rows / 10, rows] {
        if largest > 0 {
            std::fs::remove_dir_all(&path)?;
        }
        largest = rows.max(1);
        let storage = Storage::create(&path, filling())?;
        let collection = storage.create_collection("codes", 64, b"")?;
        Rows::new(collection, Ids::Random, largest, 100_000).insert(&storage)?;
        storage.flush()?;
        wait_for_rest(&storage)?;
        storage.close()?;
        add(&mut table, &path, &Options::default(), times, "flushed")?;
    }
    // What is in the log is read anew by each opening.
    for (left, rows) in [("closed", LEFT_BY_CLOSE), ("crashed", LEFT_BY_CRASH)] {
        let options = Options {
            flush_rows: usize::MAX,
            ..Options::default()
        };
        let storage = Storage::open(&path, options.clone())?;
        storage.flush()?;
        wait_for_rest(&storage)?;
        let collection = storage.create_collection(left, 64, b"")?;
        let rows = rows.min(largest);
        Rows::new(collection, Ids::Random, rows, 10_000).insert(&storage)?;
        if left == "closed" {
            storage.close()?;
        } else {
            drop(storage);
        }
        // Or what is left would be flushed between one opening and the next.
        add(&mut table, &path, &options, times.div_ceil(4), left)?;
    }
    table.note(
        "flushed: closed with nothing in the log; closed: with almost the 1 MiB in the log that",
    );
    table.note("a close leaves there; crashed: with almost the 64 MiB that `memory_limit` allows.");
    table.note(
        "To write, an opening makes a log and a manifest, which it syncs. No row is touched.",
    );
    bench.report.table(&table);
    std::fs::remove_dir_all(&path)?;
    Ok(())
}

fn add(table: &mut Table, path: &Path, options: &Options, times: usize, left: &str) -> Result<()> {
    let (mut write, mut read) = (Vec::new(), Vec::new());
    let mut stats = None;
    // The first openings warm up.
    for time in 0..times + 2 {
        let start = Instant::now();
        let storage = Storage::open_read_only(path)?;
        let read_ms = start.elapsed().as_secs_f64() * 1e3;
        stats = Some(storage.stats());
        drop(storage);

        let start = Instant::now();
        let storage = Storage::open(path, options.clone())?;
        let write_ms = start.elapsed().as_secs_f64() * 1e3;
        drop(storage);
        if time >= 2 {
            read.push(read_ms);
            write.push(write_ms);
        }
    }
    let Some(stats) = stats else { return Ok(()) };
    let (write, read) = (Spread::of(&write), Spread::of(&read));
    table.row(vec![
        stats.rows.into(),
        left.into(),
        stats
            .collections
            .iter()
            .map(|c| c.memory_rows)
            .sum::<u64>()
            .into(),
        stats
            .collections
            .iter()
            .map(|c| c.segments)
            .sum::<u64>()
            .into(),
        Cell::Number(write.median, 2),
        Cell::Number(write.most, 2),
        Cell::Number(read.median, 2),
        Cell::Number(read.most, 2),
    ]);
    Ok(())
}
