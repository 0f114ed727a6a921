//! Threads that commit, read, delete, compact and close at once, under a scheduler that chooses at
//! every lock who goes on, through many schedules.
//!
//! `cargo test -p bitkin-storage --features shuttle --test schedules`. `BITKIN_SCHEDULES` says how
//! many schedules each test goes through; a failure prints the one that it met.

#![cfg(feature = "shuttle")]

mod common;

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::sync::Arc;

use bitkin_storage::simulated::{Failure, SimulatedDisk};
use bitkin_storage::{Batch, CollectionId, Disk, Error, Options, Snapshot, Storage, verify_on};
use common::{Rows, add, expected, insert, read_all, read_rows};
use shuttle::thread;

fn explore(test: impl Fn() + Send + Sync + Clone + 'static) {
    let schedules = std::env::var("BITKIN_SCHEDULES").map_or(300, |n| n.parse().unwrap());
    // Half by chance, half with few changes of thread, at the places where they hurt.
    shuttle::check_random(test.clone(), schedules);
    shuttle::check_pct(test, schedules, 3);
}

fn options() -> Options {
    Options {
        // One commit is over it: everything that is written is flushed, and merged.
        memory_limit: 40,
        ..Options::default()
    }
}

fn create(disk: &SimulatedDisk) -> (Arc<Storage>, CollectionId, CollectionId) {
    let storage = Storage::create_on(Arc::new(disk.clone()), options()).unwrap();
    let a = storage.create_collection("a", 64, b"").unwrap();
    let b = storage.create_collection("b", 96, b"").unwrap();
    (Arc::new(storage), a, b)
}

/// Rows of the collections, which must have the same ids: each batch writes both.
fn ids(snapshot: &Snapshot) -> BTreeSet<u64> {
    let infos = snapshot.collections();
    let rows = |index: usize, code_bytes: usize| -> Rows {
        let rows = read_rows(&snapshot.collection(infos[index].id).unwrap()).unwrap();
        assert_eq!(rows, expected(rows.keys().copied(), code_bytes));
        rows
    };
    let (a, b) = (rows(0, 8), rows(1, 12));
    assert!(a.keys().eq(b.keys()), "half a batch is visible");
    a.into_keys().collect()
}

fn write_both(
    storage: &Storage,
    a: CollectionId,
    b: CollectionId,
    ids: &[u64],
) -> Result<u64, Error> {
    let mut batch = Batch::new();
    add(&mut batch, a, ids);
    add(&mut batch, b, ids);
    storage.commit(batch).map(|commit| commit.sequence)
}

/// All is on disk, and as it was seen.
fn check(disk: &SimulatedDisk, wanted: &BTreeSet<u64>) {
    let on_disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let report = verify_on(&*on_disk).unwrap();
    assert!(report.is_clean(), "{report:?}");
    let storage = Storage::open_on(on_disk, options()).unwrap();
    assert_eq!(ids(&storage.snapshot()), *wanted);
}

#[test]
fn readers_see_whole_batches_in_their_order() {
    explore(|| {
        let disk = SimulatedDisk::new();
        let (storage, a, b) = create(&disk);
        let writers: Vec<_> = (0..2)
            .map(|writer| {
                let storage = Arc::clone(&storage);
                thread::spawn(move || {
                    for n in 0..3 {
                        let id = n * 2 + writer;
                        let sequence = write_both(&storage, a, b, &[id, 100 + id]).unwrap();
                        // What was acknowledged is visible.
                        let snapshot = storage.snapshot();
                        assert!(snapshot.sequence() >= sequence);
                        assert!(ids(&snapshot).contains(&id));
                    }
                })
            })
            .collect();
        let mut last = (0, BTreeSet::new());
        for _ in 0..4 {
            let snapshot = storage.snapshot();
            let seen = (snapshot.sequence(), ids(&snapshot));
            assert!(seen.0 >= last.0 && seen.1.is_superset(&last.1));
            assert_eq!(seen.1.len() as u64, (seen.0 - 2) * 2, "two rows a commit");
            last = seen;
            thread::yield_now();
        }
        for writer in writers {
            writer.join().unwrap();
        }
        let all = ids(&storage.snapshot());
        assert_eq!(all.len(), 12);
        drop(storage);
        check(&disk, &all);
    });
}

#[test]
fn deletes_are_carried_over_merges_and_flushes() {
    explore(|| {
        let disk = SimulatedDisk::new();
        let (storage, a, b) = create(&disk);
        write_both(&storage, a, b, &[1, 2, 3, 4]).unwrap();
        storage.flush().unwrap();
        write_both(&storage, a, b, &[5, 6, 7, 8]).unwrap();
        let compacting = {
            let storage = Arc::clone(&storage);
            thread::spawn(move || storage.compact(None).unwrap())
        };
        let deleting = {
            let storage = Arc::clone(&storage);
            thread::spawn(move || {
                for id in [2, 5, 7] {
                    let mut batch = Batch::new();
                    batch.delete(a, &[id]).delete(b, &[id]);
                    assert_eq!(storage.commit(batch).unwrap().deleted, 2);
                    assert!(!ids(&storage.snapshot()).contains(&id));
                }
                // And one of them comes back.
                write_both(&storage, a, b, &[5]).unwrap();
            })
        };
        let held = storage.snapshot();
        let before = ids(&held);
        deleting.join().unwrap();
        compacting.join().unwrap();
        assert_eq!(ids(&held), before, "a snapshot does not change");
        let wanted = BTreeSet::from([1, 3, 4, 5, 6, 8]);
        assert_eq!(ids(&storage.snapshot()), wanted);
        drop((storage, held));
        check(&disk, &wanted);
    });
}

#[test]
fn closing_amid_background_work_loses_nothing() {
    explore(|| {
        let disk = SimulatedDisk::new();
        let (storage, a, b) = create(&disk);
        // As many flushes as a merge takes.
        for id in 0..9 {
            write_both(&storage, a, b, &[id]).unwrap();
        }
        let storage = Arc::into_inner(storage).unwrap();
        storage.close().unwrap();
        check(&disk, &(0..9).collect());
    });
}

#[test]
fn backups_and_readers_beside_a_writer_are_of_one_moment() {
    explore(|| {
        let disk = SimulatedDisk::new();
        let (storage, a, b) = create(&disk);
        write_both(&storage, a, b, &[0]).unwrap();
        let writing = {
            let storage = Arc::clone(&storage);
            thread::spawn(move || {
                for id in 1..4 {
                    write_both(&storage, a, b, &[id]).unwrap();
                }
                storage.compact(None).unwrap();
            })
        };
        let dest = disk.beside("backup");
        storage.backup_on(&dest).unwrap();
        let reader = Storage::open_read_only_on(Arc::new(disk.clone())).unwrap();
        let seen = ids(&reader.snapshot());
        reader.refresh().unwrap();
        assert!(ids(&reader.snapshot()).is_superset(&seen));
        writing.join().unwrap();
        reader.refresh().unwrap();
        assert_eq!(ids(&reader.snapshot()), (0..4).collect());
        assert!(verify_on(&dest).unwrap().is_clean());
        let copy = Storage::open_read_only_on(Arc::new(dest)).unwrap();
        assert!(ids(&copy.snapshot()).contains(&0));
    });
}

#[test]
fn a_failed_sync_fails_all_who_wait_for_it_and_shows_nothing() {
    explore(|| {
        let disk = SimulatedDisk::new();
        let quiet = Options {
            background: false,
            ..Options::default()
        };
        let storage = Storage::create_on(Arc::new(disk.clone()), quiet).unwrap();
        let a = storage.create_collection("a", 64, b"").unwrap();
        let storage = Arc::new(storage);
        // The third change from here on: a write or a sync of some commit's.
        disk.fail_at(3, Failure::Once(ErrorKind::Other));
        let writers: Vec<_> = (0..3)
            .map(|id| {
                let storage = Arc::clone(&storage);
                thread::spawn(move || (id, insert(&storage, a, &[id]).is_ok()))
            })
            .collect();
        let done: Vec<(u64, bool)> = writers.into_iter().map(|w| w.join().unwrap()).collect();
        let acknowledged: BTreeSet<u64> = done.iter().filter(|d| d.1).map(|d| d.0).collect();
        let shown: BTreeSet<u64> = read_all(&storage).unwrap()["a"].keys().copied().collect();
        assert_eq!(shown, acknowledged);
        drop(storage);
        disk.heal();
        let reopened = Storage::open_read_only_on(Arc::new(disk)).unwrap();
        let found: BTreeSet<u64> = read_all(&reopened).unwrap()["a"].keys().copied().collect();
        assert!(found.is_superset(&acknowledged));
    });
}
