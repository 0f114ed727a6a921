//! Power loss and failing calls at every operation of a small workload, on a simulated disk.
//!
//! After each, what was acknowledged must be there, a batch must be there as a whole or not at all,
//! and `verify` must find nothing.

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use bitkin_storage::{Batch, Disk, Durability, Error, Options, Storage, verify_on};
use common::disk::{Failure, Kept, SimDisk};
use common::*;

/// What the workload did, as its caller knows it.
#[derive(Debug, Default)]
struct Told {
    /// Collections and batches that were acknowledged, as the ids they added to "a" and "b".
    acknowledged: Vec<[Vec<u64>; 2]>,
    /// The one that was under way when something failed.
    attempted: Option<[Vec<u64>; 2]>,
    /// Whether each collection was created for certain.
    created: [bool; 2],
}

/// A batch over two collections, with ids in an order of their own.
fn batch(number: u64) -> [Vec<u64>; 2] {
    let a = (0..4).map(|i| (number * 4 + i) * 37 % 1000).collect();
    let b = if number.is_multiple_of(2) {
        vec![number]
    } else {
        vec![]
    };
    [a, b]
}

fn commit(storage: &Storage, told: &mut Told, number: u64) -> Result<(), Error> {
    let ids = batch(number);
    let mut batch = Batch::new();
    for (name, ids) in ["a", "b"].into_iter().zip(&ids) {
        let id = storage.collection(name).expect("created before").id;
        add(&mut batch, id, ids);
    }
    let before = storage.snapshot().sequence();
    told.attempted = Some(ids.clone());
    if let Err(error) = storage.commit(batch) {
        // Rows that were not acknowledged are not shown.
        assert_eq!(storage.snapshot().sequence(), before);
        return Err(error);
    }
    told.attempted = None;
    told.acknowledged.push(ids);
    Ok(())
}

const MODEL: &str = "models/ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

/// Creates, commits, flushes, closes and opens again; stops at the first error.
fn workload(disk: &Arc<SimDisk>, told: &mut Told) -> Result<(), Error> {
    let options = Options {
        memory_limit: 300,
        ..options()
    };
    let disk: Arc<dyn Disk> = Arc::clone(disk) as Arc<dyn Disk>;
    let storage = Storage::create_on(Arc::clone(&disk), options.clone())?;
    for (index, name) in ["a", "b"].into_iter().enumerate() {
        storage.create_collection(name, [64, 12 * 8][index], b"p")?;
        told.created[index] = true;
    }
    for number in 0..3 {
        commit(&storage, told, number)?;
    }
    storage.flush()?;
    storage.put_file(MODEL, b"abc")?;
    for number in 3..8 {
        commit(&storage, told, number)?;
    }
    storage.close()?;
    let storage = Storage::open_on(Arc::clone(&disk), options.clone())?;
    commit(&storage, told, 8)?;
    drop(storage);
    let storage = Storage::open_on(disk, options)?;
    commit(&storage, told, 9)?;
    storage.flush()?;
    commit(&storage, told, 10)?;
    Ok(())
}

/// Checks a disk against what the caller was told.
fn check(disk: &Arc<SimDisk>, told: &Told, context: &str) {
    let on_disk: Arc<dyn Disk> = Arc::clone(disk) as Arc<dyn Disk>;
    if !told.created.contains(&true)
        && matches!(
            Storage::open_on(Arc::clone(&on_disk), options()),
            Err(Error::NotADatabase { .. })
        )
    {
        // The creation was not acknowledged and is not there; another must succeed.
        Storage::create_on(on_disk, options()).unwrap();
        return;
    }
    let report = verify_on(&*on_disk).unwrap();
    assert!(report.is_clean(), "{context}: {report:?}");
    for read_only in [true, false] {
        let storage = if read_only {
            Storage::open_read_only_on(Arc::clone(&on_disk))
        } else {
            Storage::open_on(Arc::clone(&on_disk), options())
        };
        let storage = storage.unwrap_or_else(|error| panic!("{context}: {error}"));
        let found = read_all(&storage).unwrap();
        let mut wanted = BTreeMap::new();
        for (index, name) in ["a", "b"].into_iter().enumerate() {
            if told.created[index] || found.contains_key(name) {
                let ids = told
                    .acknowledged
                    .iter()
                    .flat_map(|ids| ids[index].iter().copied());
                wanted.insert(name.to_owned(), expected(ids, [8, 12][index]));
            }
        }
        if found != wanted {
            // The batch under way may be there, but only all of it.
            let ids = told.attempted.as_ref().unwrap_or_else(|| {
                panic!("{context}: acknowledged rows are missing, or others are there: {found:?}")
            });
            for (index, name) in ["a", "b"].into_iter().enumerate() {
                let rows = expected(ids[index].iter().copied(), [8, 12][index]);
                wanted.get_mut(name).unwrap().extend(rows);
            }
            assert_eq!(found, wanted, "{context}");
        }
    }
    assert!(
        verify_on(&*on_disk).unwrap().is_clean(),
        "{context}: after recovery"
    );
}

fn operations_of_workload() -> u64 {
    let disk = SimDisk::new();
    let mut told = Told::default();
    workload(&disk, &mut told).unwrap();
    assert_eq!(told.acknowledged.len(), 11);
    let operations = disk.operations();
    check(&disk, &told, "undisturbed");
    assert!(
        operations > 100,
        "the workload does something: {operations}"
    );
    operations
}

#[test]
fn power_loss_at_every_operation_loses_nothing_acknowledged() {
    for at in 1..=operations_of_workload() {
        let disk = SimDisk::new();
        disk.fail_at(at, Failure::PowerLoss);
        let mut told = Told::default();
        let _ = workload(&disk, &mut told);
        for kept in [Kept::Nothing, Kept::Everything, Kept::Tails] {
            check(
                &disk.after_power_loss(kept),
                &told,
                &format!("operation {at}, {kept:?}"),
            );
        }
    }
}

#[test]
fn power_loss_during_recovery_loses_nothing_acknowledged() {
    let last = operations_of_workload();
    for at in (1..=last).step_by(3) {
        let disk = SimDisk::new();
        disk.fail_at(at, Failure::PowerLoss);
        let mut told = Told::default();
        let _ = workload(&disk, &mut told);
        for kept in [Kept::Nothing, Kept::Everything, Kept::Tails] {
            for again in 1.. {
                let disk = disk.after_power_loss(kept);
                disk.fail_at(again, Failure::PowerLoss);
                let on_disk: Arc<dyn Disk> = Arc::clone(&disk) as Arc<dyn Disk>;
                let opened = Storage::open_on(on_disk, options()).and_then(Storage::close);
                for kept in [Kept::Nothing, Kept::Everything] {
                    let context = format!("operation {at}, then {again} of recovery, {kept:?}");
                    check(&disk.after_power_loss(kept), &told, &context);
                }
                if opened.is_ok() || matches!(opened, Err(Error::NotADatabase { .. })) {
                    break;
                }
            }
        }
    }
}

#[test]
fn a_call_that_fails_once_gives_an_error_and_loses_nothing() {
    let last = operations_of_workload();
    let mut failed = 0;
    for at in 1..=last {
        let disk = SimDisk::new();
        disk.fail_at(at, Failure::Once);
        let mut told = Told::default();
        // Only the removal of files that nobody needs any more may fail unnoticed.
        failed += u64::from(workload(&disk, &mut told).is_err());
        check(&disk, &told, &format!("operation {at} failed"));
    }
    assert!(
        failed > last * 3 / 4,
        "{failed} of {last} failures were reported"
    );
}

#[test]
fn a_failed_write_or_sync_of_the_log_poisons_the_writer() {
    // A commit is a write (1) and a sync (2).
    for at in [1, 2] {
        let disk = SimDisk::new();
        let on_disk: Arc<dyn Disk> = Arc::clone(&disk) as Arc<dyn Disk>;
        let storage = Storage::create_on(Arc::clone(&on_disk), options()).unwrap();
        let c = storage.create_collection("c", 64, b"").unwrap();
        insert(&storage, c, &[1]).unwrap();
        disk.fail_at(at, Failure::Once);
        let error = insert(&storage, c, &[2]).unwrap_err();
        assert!(matches!(error, Error::Io { .. }), "{error}");
        for error in [
            insert(&storage, c, &[3]).unwrap_err(),
            storage.flush().unwrap_err(),
            storage.create_collection("d", 8, b"").unwrap_err(),
        ] {
            assert!(matches!(error, Error::Poisoned { .. }), "{error}");
        }
        assert_eq!(read_all(&storage).unwrap()["c"], expected([1], 8));
        assert!(matches!(storage.close(), Err(Error::Poisoned { .. })));
        let storage = Storage::open_on(on_disk, options()).unwrap();
        let found = read_all(&storage).unwrap().remove("c").unwrap();
        assert!(found == expected([1], 8) || found == expected([1, 2], 8));
        insert(&storage, c, &[3]).unwrap();
    }
}

#[test]
fn a_flush_that_fails_can_be_repeated() {
    let disk = SimDisk::new();
    let on_disk: Arc<dyn Disk> = Arc::clone(&disk) as Arc<dyn Disk>;
    let storage = Storage::create_on(Arc::clone(&on_disk), options()).unwrap();
    let c = storage.create_collection("c", 64, b"").unwrap();
    let mut poisoned = false;
    let mut wanted = Vec::new();
    for at in 1.. {
        wanted.push(at);
        insert(&storage, c, &[at]).unwrap();
        disk.fail_at(at, Failure::Once);
        match storage.flush() {
            Ok(()) => break,
            Err(_) => {
                // The database is as it was, and goes on, until the manifest itself is in doubt.
                assert_eq!(
                    read_all(&storage).unwrap()["c"],
                    expected(wanted.clone(), 8)
                );
                wanted.push(1000 + at);
                if insert(&storage, c, &[1000 + at]).is_err() {
                    poisoned = true;
                    wanted.pop();
                    break;
                }
                assert!(verify_on(&*on_disk).unwrap().is_clean());
            }
        }
    }
    assert!(poisoned, "a failed rename of the manifest poisons");
    assert!(wanted.len() > 10);
    drop(storage);
    let storage = Storage::open_on(on_disk, options()).unwrap();
    assert_eq!(read_all(&storage).unwrap()["c"], expected(wanted, 8));
}

#[test]
fn what_a_killed_process_left_unsynced_is_synced_before_it_is_relied_on() {
    let disk = SimDisk::new();
    let on_disk: Arc<dyn Disk> = Arc::clone(&disk) as Arc<dyn Disk>;
    let lazy = Options {
        durability: Durability::None,
        ..options()
    };
    let storage = Storage::create_on(Arc::clone(&on_disk), lazy.clone()).unwrap();
    let c = storage.create_collection("c", 64, b"").unwrap();
    insert(&storage, c, &[1, 2]).unwrap();
    drop(storage);
    // The log is whole in the memory of the operating system, but not on the disk: then the next
    // writer comes, and then power fails.
    let storage = Storage::open_on(on_disk, lazy).unwrap();
    assert_eq!(read_all(&storage).unwrap()["c"], expected([1, 2], 8));
    drop(storage);
    for kept in [Kept::Nothing, Kept::Everything, Kept::Tails] {
        let disk: Arc<dyn Disk> = disk.after_power_loss(kept);
        let storage = Storage::open_on(disk, options()).unwrap();
        assert_eq!(read_all(&storage).unwrap()["c"], expected([1, 2], 8));
    }
}

#[test]
fn sync_and_intervals_bring_lazy_commits_to_the_disk() {
    let minute = std::time::Duration::from_secs(60);
    for durability in [Durability::None, Durability::Interval(minute)] {
        let disk = SimDisk::new();
        let on_disk: Arc<dyn Disk> = Arc::clone(&disk) as Arc<dyn Disk>;
        let storage = Storage::create_on(
            on_disk,
            Options {
                durability,
                ..options()
            },
        )
        .unwrap();
        let c = storage.create_collection("c", 64, b"").unwrap();
        let after_power_loss = || {
            let disk: Arc<dyn Disk> = disk.after_power_loss(Kept::Nothing);
            read_all(&Storage::open_on(disk, options()).unwrap())
                .unwrap()
                .remove("c")
                .unwrap()
        };
        insert(&storage, c, &[1]).unwrap();
        assert_eq!(after_power_loss(), Rows::new(), "nothing syncs by itself");
        storage.sync().unwrap();
        assert_eq!(after_power_loss(), expected([1], 8));
        insert(&storage, c, &[2]).unwrap();
        storage.close().unwrap();
        assert_eq!(after_power_loss(), expected([1, 2], 8));
    }
    let disk = SimDisk::new();
    let on_disk: Arc<dyn Disk> = Arc::clone(&disk) as Arc<dyn Disk>;
    let durability = Durability::Interval(std::time::Duration::from_millis(1));
    let storage = Storage::create_on(
        on_disk,
        Options {
            durability,
            ..options()
        },
    )
    .unwrap();
    let c = storage.create_collection("c", 64, b"").unwrap();
    insert(&storage, c, &[1]).unwrap();
    // The thread that syncs gets its turn some time; ten seconds are not a matter of a slow machine.
    let synced = (0..10_000).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(1));
        let disk: Arc<dyn Disk> = disk.after_power_loss(Kept::Nothing);
        let storage = Storage::open_on(disk, options()).unwrap();
        read_all(&storage).unwrap()["c"] == expected([1], 8)
    });
    assert!(synced);
}
