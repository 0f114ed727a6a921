//! Bytes on disk a row, by what they hold.

use std::fs;
use std::path::Path;

use bitkin_storage::Storage;

use crate::data::{Ids, PAYLOAD, Rows, filling};
use crate::report::{Cell, Table};
use crate::{Bench, Result};

pub(crate) fn measure(bench: &Bench) -> Result<()> {
    let rows = bench.extent.rows(1_000_000, 200_000);
    let mut table = Table::new(
        "size",
        format!("bytes on disk a row, of {rows} rows, compacted"),
        &[
            "bits", "row_ids", "payload", "ids", "codes", "payloads", "indexes", "overhead", "log",
            "manifest", "total", "on_disk",
        ],
    );
    for bits in [64, 256] {
        for ids in [Ids::Assigned, Ids::Random] {
            for with_payloads in [false, true] {
                table.row(row(bench, rows, bits, ids, with_payloads)?);
            }
        }
    }
    table.note(
        "total: of the parts before it; on_disk: lengths of all files of the closed database.",
    );
    bench.report.table(&table);
    Ok(())
}

fn row(bench: &Bench, rows: u64, bits: u32, ids: Ids, with_payloads: bool) -> Result<Vec<Cell>> {
    let path = bench.path("size");
    let storage = Storage::create(&path, filling())?;
    let collection = storage.create_collection("codes", bits, b"")?;
    let mut inserted = Rows::new(collection, ids, rows, 100_000);
    if with_payloads {
        inserted = inserted.with_payloads();
    }
    inserted.insert(&storage)?;
    storage.compact(None)?;
    let stats = storage.stats();
    storage.close()?;
    let on_disk = bytes_of_files(&path)?;
    fs::remove_dir_all(&path)?;

    let bytes = stats.collections[0].bytes;
    let total = bytes.total() + stats.log_bytes + stats.manifest_bytes;
    let payload = if with_payloads { PAYLOAD.len() } else { 0 };
    let mut cells = vec![
        u64::from(bits).into(),
        ids.name().into(),
        (payload as u64).into(),
    ];
    cells.extend(
        [
            bytes.ids,
            bytes.codes,
            bytes.payloads,
            bytes.indexes,
            bytes.overhead,
            stats.log_bytes,
            stats.manifest_bytes,
            total,
            on_disk,
        ]
        .map(|bytes| Cell::Number(bytes as f64 / rows as f64, 3)),
    );
    Ok(cells)
}

/// The lengths of all files in a folder and below it, together; not that of the lock file, which holds a
/// sentence and no data.
pub(crate) fn bytes_of_files(dir: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name() == "LOCK" {
            continue;
        }
        let metadata = entry.metadata()?;
        bytes += match metadata.is_dir() {
            true => bytes_of_files(&entry.path())?,
            false => metadata.len(),
        };
    }
    Ok(bytes)
}
