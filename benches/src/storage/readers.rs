//! Latency of readers while a merge runs, against while none does.
//!
//! Two collections: one lies still, the other is compacted again and again in every other phase. One
//! thread reads all the time; what it measured counts as quiet if no such phase touched it.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bitkin_storage::{Batch, CollectionId, CollectionView, Options, Storage};

use crate::data::{Ids, Random, Rows, filling};
use crate::report::{Cell, Table};
use crate::{Bench, Result};
use bitkin_benches::measure::{percentiles, wait_for_rest};

/// Reads of single rows between two scans.
const READS: usize = 100;

/// Ways of reading, in the order of [`Samples`].
const KINDS: [&str; 4] = [
    "row of the collection being merged",
    "row of the other",
    "scan of the collection being merged",
    "scan of the other",
];

/// Microseconds that each read took, by [`KINDS`].
type Samples = [Vec<f64>; KINDS.len()];

/// How much longer than the last merge of a phase the phase is: what comes of a merge is not all over
/// when it ends, since the next scan checks what it wrote.
const AFTERMATH: Duration = Duration::from_millis(50);

/// What the merging thread tells the reading one.
#[derive(Default)]
struct Phase {
    merging: AtomicBool,
    end: AtomicBool,
}

struct Set {
    storage: Storage,
    merged: CollectionId,
    merged_rows: u64,
    still: CollectionId,
    still_rows: u64,
}

pub(crate) fn measure(bench: &Bench) -> Result<()> {
    let merged_rows = bench.extent.rows(10_000_000, 2_000_000);
    let still_rows = (merged_rows / 10).clamp(1, 1_000_000);
    let rounds = bench.extent.rounds(10, 3);
    let time = Duration::from_secs_f64(bench.extent.seconds(3.0, 1.0));
    let path = bench.path("readers");
    let storage = Storage::create(&path, filling())?;
    for (name, rows) in [("merged", merged_rows), ("still", still_rows)] {
        let collection = storage.create_collection(name, 64, b"")?;
        Rows::new(collection, Ids::Random, rows, 100_000).insert(&storage)?;
    }
    storage.compact(None)?;
    storage.close()?;
    // At Sync, as it would be used.
    let storage = Storage::open(&path, Options::default())?;
    wait_for_rest(&storage)?;
    let id = |name| {
        storage
            .collection(name)
            .map(|c| c.id)
            .ok_or("no collection")
    };
    let (merged, still) = (id("merged")?, id("still")?);
    let set = Set {
        storage,
        merged,
        merged_rows,
        still,
        still_rows,
    };

    let phase = Phase::default();
    let ((quiet, busy), merges) = std::thread::scope(|scope| {
        let reading = scope.spawn(|| read(&set, &phase));
        let merges = merge(&set, &phase, rounds, time);
        phase.end.store(true, Ordering::Relaxed);
        let samples = match reading.join() {
            Ok(samples) => samples?,
            Err(_) => return Err("the reading thread panicked".into()),
        };
        Result::Ok((samples, merges?))
    })?;

    let mut table = Table::new(
        "readers",
        format!(
            "microseconds of one reading thread, {rounds} times {} s without and with merges of \
             {merged_rows} rows",
            time.as_secs_f64()
        ),
        &[
            "read",
            "quiet_reads",
            "quiet_p50",
            "quiet_p99",
            "quiet_most",
            "merge_reads",
            "merge_p50",
            "merge_p99",
            "merge_most",
            "p99_times",
        ],
    );
    for ((kind, mut quiet), mut busy) in KINDS.into_iter().zip(quiet).zip(busy) {
        let shares = [0.5, 0.99, 1.0];
        let (quiet_reads, busy_reads) = (quiet.len() as u64, busy.len() as u64);
        let quiet = percentiles(&mut quiet, shares);
        let busy = percentiles(&mut busy, shares);
        let mut cells = vec![kind.into(), quiet_reads.into()];
        cells.extend(quiet.map(|micros| Cell::Number(micros, 2)));
        cells.push(busy_reads.into());
        cells.extend(busy.map(|micros| Cell::Number(micros, 2)));
        cells.push(Cell::Number(busy[1] / quiet[1], 2));
        table.row(cells);
    }
    table.note(format!(
        "{merges} merges, each forced by the deletion of a row before it."
    ));
    table.note(
        "row: a snapshot, the row of an id by chance, its code; scan: bits of as many codes as",
    );
    table.note("the other collection has, the first scan after a merge with its checks.");
    bench.report.table(&table);
    drop(set);
    std::fs::remove_dir_all(&path)?;
    Ok(())
}

/// Lets time go by, and then merges for as long, in turns. Returns how often it merged.
fn merge(set: &Set, phase: &Phase, rounds: usize, time: Duration) -> Result<u64> {
    let mut merges = 0;
    let mut deleted = 0;
    for _ in 0..rounds {
        std::thread::sleep(time);
        let start = Instant::now();
        phase.merging.store(true, Ordering::Relaxed);
        while start.elapsed() < time {
            // Without a deleted row there is nothing to merge.
            let mut batch = Batch::new();
            batch.delete(set.merged, &[Ids::Random.id(deleted)]);
            set.storage.commit(batch)?;
            deleted += 1;
            set.storage.compact(Some(set.merged))?;
            merges += 1;
        }
        std::thread::sleep(AFTERMATH);
        phase.merging.store(false, Ordering::Relaxed);
    }
    Ok(merges)
}

/// Reads until it is told to end. Returns what it measured without merges, and with them.
fn read(set: &Set, phase: &Phase) -> Result<(Samples, Samples)> {
    let (mut quiet, mut busy) = (Samples::default(), Samples::default());
    let mut random = Random::new(4);
    // A first turn checks blocks and fills caches, and is not kept.
    let mut warm = false;
    while !phase.end.load(Ordering::Relaxed) {
        let mut timed = |kind: usize, read: &mut dyn FnMut() -> Result<()>| -> Result<()> {
            let before = phase.merging.load(Ordering::Relaxed);
            let start = Instant::now();
            read()?;
            let micros = start.elapsed().as_secs_f64() * 1e6;
            let merging = before || phase.merging.load(Ordering::Relaxed);
            if warm {
                let samples = if merging { &mut busy } else { &mut quiet };
                samples[kind].push(micros);
            }
            Ok(())
        };
        for _ in 0..READS {
            let rows = [(set.merged, set.merged_rows), (set.still, set.still_rows)];
            for (kind, (collection, rows)) in rows.into_iter().enumerate() {
                let id = Ids::Random.id(random.next() % rows);
                timed(kind, &mut || row(&view(set, collection)?, id))?;
            }
        }
        for (kind, collection) in [(2, set.merged), (3, set.still)] {
            timed(kind, &mut || scan(&view(set, collection)?, set.still_rows))?;
        }
        warm = true;
    }
    Ok((quiet, busy))
}

fn view(set: &Set, collection: CollectionId) -> Result<CollectionView> {
    let view = set.storage.snapshot().collection(collection);
    Ok(view.ok_or("no collection")?)
}

/// Reads the code of a row, if it is there: a few are deleted.
fn row(view: &CollectionView, id: u64) -> Result<()> {
    if let Some((part, row)) = view.find(id)? {
        let code = view.parts()[part].code(row)?;
        black_box(code.map(|code| code.iter().map(|byte| byte.count_ones()).sum::<u32>()));
    }
    Ok(())
}

/// Counts the bits of the first `rows` codes.
fn scan(view: &CollectionView, rows: u64) -> Result<()> {
    let code_bytes = view.info().code_bytes();
    let mut left = rows as usize * code_bytes;
    let mut ones = 0_u64;
    for part in view.parts() {
        let codes = part.codes()?;
        let codes = &codes[..codes.len().min(left)];
        left -= codes.len();
        let words = codes.as_chunks::<8>().0;
        ones += words
            .iter()
            .map(|word| u64::from(u64::from_ne_bytes(*word).count_ones()))
            .sum::<u64>();
    }
    black_box(ones);
    Ok(())
}
