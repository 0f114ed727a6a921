//! Readers beside a writer: each sees one moment, whatever happens meanwhile.

mod common;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bitkin_storage::simulated::SimulatedDisk;
use bitkin_storage::{Batch, Disk, Durability, Error, Options, Snapshot, Storage, verify};
use common::*;

/// Batch `n` is one row in "a" and two in "b", so that half of a batch shows.
fn write_batch(storage: &Storage, n: u64) {
    let (a, b) = (
        storage.collection("a").unwrap().id,
        storage.collection("b").unwrap().id,
    );
    let mut batch = Batch::new();
    add(&mut batch, a, &[n * 7919 % 10_007]);
    add(&mut batch, b, &[n * 2, n * 2 + 1]);
    storage.commit(batch).unwrap();
}

fn create(path: &Path, memory_limit: usize) -> Storage {
    let chosen = Options {
        durability: Durability::None,
        memory_limit,
        ..options()
    };
    let storage = Storage::create(path, chosen).unwrap();
    storage.create_collection("a", 64, b"").unwrap();
    storage.create_collection("b", 96, b"").unwrap();
    storage
}

/// The number of batches that a snapshot shows; all rows must be those of the first so many.
fn batches(snapshot: &Snapshot) -> u64 {
    let infos = snapshot.collections();
    let read = |index: usize| read_rows(&snapshot.collection(infos[index].id).unwrap()).unwrap();
    let (a, b) = (read(0), read(1));
    let n = a.len() as u64;
    assert_eq!(snapshot.sequence(), n + 2);
    assert_eq!(b, expected(0..n * 2, 12));
    assert_eq!(a, expected((0..n).map(|n| n * 7919 % 10_007), 8));
    n
}

#[test]
fn readers_see_one_moment_while_a_writer_commits_and_flushes() {
    const BATCHES: u64 = 2000;
    let dir = tempfile::tempdir().unwrap();
    let storage = create(dir.path(), 8_000);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // In the writer's process: snapshots.
        scope.spawn(|| {
            let mut last = 0;
            while !done.load(Ordering::Acquire) {
                let snapshot = storage.snapshot();
                let seen = batches(&snapshot);
                assert!(seen >= last);
                last = seen;
                assert_eq!(
                    batches(&snapshot.clone()),
                    seen,
                    "a snapshot does not change"
                );
            }
        });
        // As another process would: opening, refreshing, verifying, with the files moving below.
        scope.spawn(|| {
            let reader = Storage::open_read_only(dir.path()).unwrap();
            let mut last = batches(&reader.snapshot());
            while !done.load(Ordering::Acquire) {
                let newer = reader.refresh().unwrap();
                let seen = batches(&reader.snapshot());
                assert_eq!(newer, seen > last);
                last = seen;
                let fresh = Storage::open_read_only(dir.path()).unwrap();
                assert!(batches(&fresh.snapshot()) >= seen);
                let report = verify(dir.path()).unwrap();
                assert!(report.is_clean(), "{report:?}");
            }
            reader.refresh().unwrap();
            assert_eq!(batches(&reader.snapshot()), BATCHES);
            assert!(!reader.refresh().unwrap());
        });
        for n in 0..BATCHES {
            write_batch(&storage, n);
            if n % 300 == 299 {
                storage.flush().unwrap();
            }
        }
        done.store(true, Ordering::Release);
    });
    assert!(storage.stats().collections[0].segments >= 1);
}

#[test]
fn a_snapshot_keeps_its_rows_after_flush_close_and_removal() {
    let dir = tempfile::tempdir().unwrap();
    let storage = create(&dir.path().join("db"), 64 << 20);
    write_batch(&storage, 0);
    let in_memory = storage.snapshot();
    storage.flush().unwrap();
    let in_segments = storage.snapshot();
    write_batch(&storage, 1);
    let both = storage.snapshot();
    storage.close().unwrap();
    assert_eq!([&in_memory, &in_segments, &both].map(batches), [1, 1, 2]);
    #[cfg(unix)]
    {
        std::fs::remove_dir_all(dir.path().join("db")).unwrap();
        assert_eq!([&in_memory, &in_segments, &both].map(batches), [1, 1, 2]);
    }
}

#[test]
fn a_reader_follows_a_writer_that_comes_and_goes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let mut storage = create(&path, 64 << 20);
    let reader = Storage::open_read_only(&path).unwrap();
    let check = |wanted: u64| {
        assert!(reader.refresh().unwrap());
        assert_eq!(batches(&reader.snapshot()), wanted);
        assert_eq!(reader.stats().rows, wanted * 3);
    };
    for n in 0..12 {
        write_batch(&storage, n);
        check(n + 1);
        match n % 4 {
            0 => storage.flush().unwrap(),
            1 => {
                storage.close().unwrap();
                assert!(!reader.refresh().unwrap());
                storage = Storage::open(&path, options()).unwrap();
            }
            2 => {
                drop(storage);
                storage = Storage::open(&path, options()).unwrap();
            }
            _ => {}
        }
    }
    for error in [
        reader.create_collection("c", 8, b"").unwrap_err(),
        reader.commit(Batch::new()).unwrap_err(),
        reader.flush().unwrap_err(),
        reader.sync().unwrap_err(),
    ] {
        assert!(matches!(error, Error::ReadOnly), "{error}");
    }
    assert!(reader.is_read_only() && !storage.is_read_only());
    assert!(!storage.refresh().unwrap());
    reader.close().unwrap();
}

#[test]
fn a_reader_whose_files_go_while_it_opens_takes_the_newer_manifest() {
    for refreshing in [false, true] {
        for suffix in [".log", ".seg"] {
            let disk = SimulatedDisk::new();
            let on_disk: Arc<dyn Disk> = Arc::new(disk.clone());
            let storage = Arc::new(Storage::create_on(Arc::clone(&on_disk), options()).unwrap());
            let c = storage.create_collection("c", 64, b"").unwrap();
            let reader = Storage::open_read_only_on(Arc::clone(&on_disk)).unwrap();
            insert(&storage, c, &[1]).unwrap();
            storage.flush().unwrap();
            insert(&storage, c, &[2]).unwrap();
            let writer = Arc::clone(&storage);
            disk.before_opening(suffix, move || writer.flush().unwrap());
            let reader = if refreshing {
                assert!(reader.refresh().unwrap());
                reader
            } else {
                Storage::open_read_only_on(on_disk).unwrap()
            };
            assert_eq!(read_all(&reader).unwrap()["c"], expected([1, 2], 8));
            assert_eq!(
                reader.stats().collections[0].segments,
                2,
                "the writer did intrude"
            );
        }
    }
}

#[test]
fn a_reader_that_comes_while_a_record_is_written_looks_again() {
    let disk = SimulatedDisk::new();
    let on_disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let storage = Storage::create_on(Arc::clone(&on_disk), options()).unwrap();
    let c = storage.create_collection("c", 64, b"").unwrap();
    insert(&storage, c, &[1, 2]).unwrap();
    let before = storage.stats().log_bytes as usize;
    insert(&storage, c, &[3, 4]).unwrap();
    insert(&storage, c, &[5, 6]).unwrap();
    // The reader finds nothing where 3 and 4 come to be, and then, further on, 5 and 6, which say
    // that all before them is whole.
    disk.read_before_written(".log", before..before + 60);
    let reader = Storage::open_read_only_on(Arc::clone(&on_disk)).unwrap();
    assert_eq!(read_all(&reader).unwrap()["c"], expected(1..7, 8));
    insert(&storage, c, &[7]).unwrap();
    insert(&storage, c, &[8]).unwrap();
    disk.read_before_written(".log", 0..60);
    assert!(reader.refresh().unwrap());
    assert_eq!(read_all(&reader).unwrap()["c"], expected(1..9, 8));
}
