//! What is whole of a damaged database is saved, and what is not is named.

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bitkin_storage::simulated::SimulatedDisk;
use bitkin_storage::{
    Batch, Disk, Error, OsDisk, RepairReport, Storage, repair, repair_on, verify_on,
};
use common::*;

const MODEL: &str = "models/ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

/// A database with segments, deletes, logs and a stored file, and what it holds.
fn database(path: &Path) -> BTreeMap<String, Rows> {
    let options = quiet();
    let storage = Storage::create(path, options.clone()).unwrap();
    let a = storage.create_collection("a", 64, b"properties").unwrap();
    let b = storage.create_collection("b", 20, b"").unwrap();
    storage.put_file(MODEL, b"abc").unwrap();
    insert(&storage, a, &(0..3000).map(|id| id * 7).collect::<Vec<_>>()).unwrap();
    let mut batch = Batch::new();
    batch.insert(
        b,
        Some(&[5, 6, u64::MAX - 1]),
        &[1, 0, 0, 2, 0, 0, 3, 0, 0],
        None,
    );
    storage.commit(batch).unwrap();
    storage.flush().unwrap();
    let mut batch = Batch::new();
    batch.delete(a, &[7, 14]).delete(b, &[6]);
    storage.commit(batch).unwrap();
    storage.flush().unwrap();
    storage.close().unwrap();
    let storage = Storage::open(path, options).unwrap();
    insert(&storage, a, &[8, 9]).unwrap();
    let mut batch = Batch::new();
    batch
        .upsert(a, &[21], &[7; 8], Some(&[Some(b"new")]))
        .delete(a, &[28]);
    storage.commit(batch).unwrap();
    insert(&storage, a, &[10]).unwrap();
    let rows = read_all(&storage).unwrap();
    storage.close().unwrap();
    rows
}

struct Repaired {
    report: RepairReport,
    rows: BTreeMap<String, Rows>,
    model: bool,
}

/// Repairs into memory, where a sync costs nothing.
fn repaired(path: &Path) -> Repaired {
    let dest: Arc<dyn Disk> = Arc::new(SimulatedDisk::new());
    let report = repair_on(&OsDisk::new(path), Arc::clone(&dest), None).unwrap();
    let verified = verify_on(&*dest).unwrap();
    assert!(verified.is_clean(), "{verified:?}");
    let storage = Storage::open_read_only_on(dest).unwrap();
    let rows = read_all(&storage).unwrap();
    let mut counts: Vec<(String, u64)> = Vec::new();
    for (name, rows) in &rows {
        counts.push((name.clone(), rows.len() as u64));
    }
    let mut reported = report.collections.clone();
    reported.sort();
    assert_eq!(reported, counts);
    let model = storage.read_file(MODEL).is_ok();
    Repaired {
        report,
        rows,
        model,
    }
}

#[test]
fn a_whole_database_is_saved_whole() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let rows = database(&path);
    let before: Vec<_> = files(&path)
        .iter()
        .map(|f| std::fs::read(path.join(f)).unwrap())
        .collect();
    let repaired = repaired(&path);
    assert!(repaired.report.is_complete(), "{:?}", repaired.report);
    assert_eq!(repaired.rows, rows);
    assert!(repaired.model);
    let after: Vec<_> = files(&path)
        .iter()
        .map(|f| std::fs::read(path.join(f)).unwrap())
        .collect();
    assert_eq!(before, after, "nothing is written to what is repaired");
}

#[test]
fn without_a_manifest_everything_is_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let rows = database(&path);
    for damage in [None, Some(&b"BitkMan\nno"[..])] {
        match damage {
            None => std::fs::remove_file(path.join("MANIFEST")).unwrap(),
            Some(bytes) => std::fs::write(path.join("MANIFEST"), bytes).unwrap(),
        }
        let repaired = repaired(&path);
        assert_eq!(repaired.rows, rows);
        assert_eq!(repaired.report.lost.len(), 1, "{:?}", repaired.report.lost);
        assert_eq!(repaired.report.lost[0].file, "MANIFEST");
        assert!(repaired.model);
    }
}

/// Bytes of every file flipped, one at a time: no wrong row comes out, a row that is missing is told
/// of, and a block of damage costs no more than its rows.
#[test]
fn flipped_bytes_cost_their_blocks_and_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let rows = database(&path);
    let total: usize = rows.values().map(BTreeMap::len).sum();
    let mut complete = 0;
    for name in files(&path).into_iter().filter(|name| name != "LOCK") {
        let file = path.join(&name);
        let whole = std::fs::read(&file).unwrap();
        // All of the small files, and of the large one a byte now and then, with its ends.
        let step = (whole.len() / 150).max(1);
        let ends = whole.len().saturating_sub(600)..whole.len();
        for at in (0..whole.len()).step_by(step).chain(ends.step_by(5)) {
            set_byte(&file, at, whole[at] ^ 0x21);
            let context = format!("{name}, byte {at}");
            let Repaired {
                report,
                rows: found,
                model,
            } = repaired(&path);
            let told = !report.lost.is_empty();
            let named = |lost: &bitkin_storage::Problem| lost.file == name;
            assert!(
                !told || report.lost.iter().any(named),
                "{context}: {report:?}"
            );
            let (mut missing, mut other) = (0, 0);
            for (collection, rows) in &rows {
                let empty = Rows::new();
                let found = found.get(collection).unwrap_or(&empty);
                missing += rows.keys().filter(|id| !found.contains_key(id)).count();
                for (id, row) in found {
                    match rows.get(id) {
                        Some(wanted) if wanted == row => {}
                        // The payload may be gone, and told of; the code may be an older one, if the
                        // commit that replaced it is lost.
                        Some(wanted) => {
                            let without = (wanted.0.clone(), None) == *row;
                            let older = name.starts_with("log/");
                            assert!(without || older, "{context}: id {id} is {row:?}");
                            other += 1;
                        }
                        // Rows whose deletion is lost.
                        None => {
                            let lost = name.ends_with(".del") || name.starts_with("log/");
                            assert!(lost, "{context}: id {id} was deleted");
                            other += 1;
                        }
                    }
                }
            }
            let all = missing == 0 && other == 0 && model;
            assert!(all || told, "{context}: nothing is told");
            complete += u64::from(all);
            // 16 KiB are 2048 ids, or codes of 8 bytes.
            assert!(
                missing <= 2100,
                "{context}: {missing} of {total} are missing"
            );
            assert_eq!(model, !name.starts_with("models/"), "{context}");
            set_byte(&file, at, whole[at]);
        }
    }
    assert!(complete > 100, "{complete}");
}

/// A fuzzer found that a segment cut off a few bytes behind its header ended the repair of all the
/// rest: what was left had no room for one checksum of a block, and the place of the checksums was
/// counted back beyond the start of the file.
#[test]
fn a_segment_cut_to_any_small_length_costs_no_more_than_its_rows() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    database(&path);
    let name = "segments/0000000000000001.seg";
    let whole = std::fs::read(path.join(name)).unwrap();
    for length in (0..300).chain((300..1100).step_by(13)) {
        std::fs::write(path.join(name), &whole[..length]).unwrap();
        let repaired = repaired(&path);
        let lost = &repaired.report.lost;
        assert!(lost.iter().any(|lost| lost.file == name), "{length}");
        assert_eq!(repaired.rows["b"].len(), 2, "{length}");
    }
}

#[test]
fn what_is_no_database_or_is_being_written_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let dest = dir.path().join("new");
    let refused = |path: &std::path::Path| {
        let error = repair(path, &dest, None).unwrap_err();
        assert!(matches!(error, Error::NotADatabase { .. }), "{error}");
    };
    refused(&path);
    std::fs::write(dir.path().join("file"), b"").unwrap();
    refused(&dir.path().join("file"));
    std::fs::create_dir(&path).unwrap();
    refused(&path);
    let storage = Storage::create(&path, options()).unwrap();
    assert!(matches!(
        repair(&path, &dest, None),
        Err(Error::Locked { .. })
    ));
    drop(storage);
    assert!(!dest.exists());
    std::fs::create_dir(&dest).unwrap();
    std::fs::write(dest.join("mine"), b"").unwrap();
    assert!(matches!(
        repair(&path, &dest, None),
        Err(Error::NotEmpty { .. })
    ));
}
