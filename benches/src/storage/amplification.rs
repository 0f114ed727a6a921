//! What is written, and what stays on disk, for each byte of rows, over a long mixed run.

use std::sync::Arc;
use std::time::Instant;

use bitkin_storage::{Batch, CollectionId, Options, Storage};

use crate::counting::{CountingDisk, Counts, Kind};
use crate::data::{Ids, Random};
use crate::report::{Cell, Table};
use crate::size::bytes_of_files;
use crate::{Bench, Result};
use bitkin_benches::measure::wait_for_rest;

const BATCH: u64 = 1_000;
const CODE_BYTES: u64 = 8;
const ROW_BYTES: u64 = 8 + CODE_BYTES;

/// The operations of a batch: 70 % inserts, 20 % upserts, 10 % deletes.
const UPSERTS: u64 = BATCH * 2 / 10;
const DELETES: u64 = BATCH / 10;
const INSERTS: u64 = BATCH - UPSERTS - DELETES;

pub(crate) fn measure(bench: &Bench) -> Result<()> {
    let operations = bench.extent.rows(20_000_000, 1_000_000);
    let batches = operations.div_ceil(BATCH);
    let mut table = Table::new(
        "amplification",
        format!(
            "{} operations in batches of {BATCH} at Sync: 70 % inserts, 20 % upserts, 10 % deletes",
            batches * BATCH
        ),
        &[
            "ids",
            "live_rows",
            "written_MB",
            "log",
            "segments",
            "deletes",
            "manifest",
            "write_total",
            "space",
            "space_compacted",
            "syncs",
            "operations/s",
        ],
    );
    for ids in [Ids::Assigned, Ids::Random] {
        table.row(row(bench, ids, batches)?);
    }
    table.note(
        "written: ids and codes of rows inserted or replaced, 10^6 bytes; log to write_total:",
    );
    table.note("bytes written to such files, zeros ahead of records included, for each of these;");
    table.note("space: bytes of all files for each byte of live rows, at rest, then compacted.");
    bench.report.table(&table);
    Ok(())
}

fn row(bench: &Bench, ids: Ids, batches: u64) -> Result<Vec<Cell>> {
    let path = bench.path("amplification");
    let counts = Arc::new(Counts::default());
    let disk = CountingDisk::new(&path, Arc::clone(&counts));
    let storage = Storage::create_on(Arc::new(disk), Options::default())?;
    let collection = storage.create_collection("codes", 64, b"")?;
    let mut workload = Workload::new(collection, ids);
    let start = Instant::now();
    for _ in 0..batches {
        let commit = storage.commit(workload.batch())?;
        workload.check(commit.replaced, commit.deleted)?;
    }
    let seconds = start.elapsed().as_secs_f64();
    storage.flush()?;
    wait_for_rest(&storage)?;

    let rows = storage.stats().rows;
    if rows != workload.live.len() as u64 {
        let live = workload.live.len();
        return Err(format!("there are {rows} rows, not {live}").into());
    }
    let written = (workload.written * ROW_BYTES) as f64;
    let live_bytes = (rows * ROW_BYTES) as f64;
    let of_written = |kind: Kind| counts.bytes(kind) as f64 / written;
    let mut cells = vec![
        ids.name().into(),
        rows.into(),
        Cell::Number(written / 1e6, 1),
    ];
    let kinds = [Kind::Log, Kind::Segment, Kind::Deletes, Kind::Manifest];
    cells.extend(kinds.map(|kind| Cell::Number(of_written(kind), 3)));
    cells.push(Cell::Number(Kind::ALL.map(of_written).iter().sum(), 3));
    cells.push(Cell::Number(bytes_of_files(&path)? as f64 / live_bytes, 3));
    let syncs = counts.syncs();
    storage.compact(None)?;
    cells.push(Cell::Number(bytes_of_files(&path)? as f64 / live_bytes, 3));
    cells.push(syncs.into());
    cells.push(Cell::whole((batches * BATCH) as f64 / seconds));
    storage.close()?;
    std::fs::remove_dir_all(&path)?;
    Ok(cells)
}

/// Batches, and which ids are in the collection after them.
struct Workload {
    collection: CollectionId,
    kind: Ids,
    random: Random,
    /// Rows that were ever inserted.
    inserted: u64,
    /// Rows that were inserted or replaced.
    written: u64,
    live: Vec<u64>,
    /// Of the last batch.
    replaced: u64,
    deleted: u64,
}

impl Workload {
    fn new(collection: CollectionId, kind: Ids) -> Workload {
        Workload {
            collection,
            kind,
            random: Random::new(3),
            inserted: 0,
            written: 0,
            live: Vec::new(),
            replaced: 0,
            deleted: 0,
        }
    }

    fn batch(&mut self) -> Batch {
        // Taken out of the list, so that no id comes twice in a batch; those replaced go back.
        let deletes = self.take(DELETES);
        let upserts = self.take(UPSERTS);
        (self.deleted, self.replaced) = (deletes.len() as u64, upserts.len() as u64);
        let numbers = self.inserted..self.inserted + INSERTS;
        let inserts: Vec<u64> = numbers.map(|number| self.kind.id(number)).collect();
        self.inserted += INSERTS;
        self.written += INSERTS + self.replaced;
        let mut codes = vec![0; inserts.len().max(upserts.len()) * CODE_BYTES as usize];
        let mut batch = Batch::new();
        self.random.fill(&mut codes);
        let ids = match self.kind {
            Ids::Assigned => None,
            Ids::Random => Some(&inserts[..]),
        };
        batch.insert(self.collection, ids, &codes, None);
        self.random.fill(&mut codes);
        codes.truncate(upserts.len() * CODE_BYTES as usize);
        batch.upsert(self.collection, &upserts, &codes, None);
        batch.delete(self.collection, &deletes);
        self.live.extend(inserts);
        self.live.extend(upserts);
        batch
    }

    /// Takes ids by chance out of those that are there.
    fn take(&mut self, count: u64) -> Vec<u64> {
        let count = count.min(self.live.len() as u64);
        let mut taken = Vec::with_capacity(count as usize);
        for _ in 0..count {
            let at = self.random.below(self.live.len());
            taken.push(self.live.swap_remove(at));
        }
        taken
    }

    /// What the database says it did must be what was asked.
    fn check(&self, replaced: u64, deleted: u64) -> Result<()> {
        if (replaced, deleted) == (self.replaced, self.deleted) {
            return Ok(());
        }
        let asked = (self.replaced, self.deleted);
        Err(format!("replaced {replaced}, deleted {deleted} rows; asked for {asked:?}").into())
    }
}
