//! What is on the disk when, by the durability that was asked for, and what a failed flush leaves.

mod common;

use std::io::ErrorKind;
use std::sync::Arc;

use bitkin_storage::simulated::{Failure, Kept, SimulatedDisk};
use bitkin_storage::{Disk, Durability, Options, Storage, verify_on};
use common::*;

/// Whatever a power loss keeps.
const ALL_KEPT: [Kept; 4] = [
    Kept::Nothing,
    Kept::Everything,
    Kept::Some { seed: 1 },
    Kept::Some { seed: 2 },
];

#[test]
fn a_flush_that_fails_can_be_repeated_or_stops_all_writing() {
    let disk = SimulatedDisk::new();
    let on_disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let mut storage = Storage::create_on(Arc::clone(&on_disk), quiet()).unwrap();
    let c = storage.create_collection("c", 64, b"").unwrap();
    let (mut repeated, mut poisoned) = (0, 0);
    let mut wanted = Vec::new();
    for at in 1.. {
        wanted.push(at);
        insert(&storage, c, &[at]).unwrap();
        disk.fail_at(at, Failure::Once(ErrorKind::Other));
        let flushed = storage.flush();
        disk.heal();
        assert_eq!(
            read_all(&storage).unwrap()["c"],
            expected(wanted.clone(), 8)
        );
        if flushed.is_ok() && !disk.has_failed() {
            break;
        }
        if insert(&storage, c, &[1000 + at]).is_ok() {
            // The database is as it was, and goes on.
            repeated += 1;
            wanted.push(1000 + at);
        } else {
            // It is in doubt what is on the disk: of the log, or of the manifest.
            poisoned += 1;
            drop(storage);
            storage = Storage::open_on(Arc::clone(&on_disk), quiet()).unwrap();
        }
        assert!(verify_on(&*on_disk).unwrap().is_clean());
    }
    assert!(repeated > 5 && poisoned > 2, "{repeated}, {poisoned}");
    drop(storage);
    let storage = Storage::open_on(on_disk, options()).unwrap();
    assert_eq!(read_all(&storage).unwrap()["c"], expected(wanted, 8));
}

#[test]
fn what_a_killed_process_left_unsynced_is_synced_before_it_is_relied_on() {
    let disk = SimulatedDisk::new();
    let on_disk: Arc<dyn Disk> = Arc::new(disk.clone());
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
    for kept in ALL_KEPT {
        let disk: Arc<dyn Disk> = Arc::new(disk.image().after_power_loss(kept));
        let storage = Storage::open_on(disk, options()).unwrap();
        assert_eq!(read_all(&storage).unwrap()["c"], expected([1, 2], 8));
    }
}

#[test]
fn sync_and_intervals_bring_lazy_commits_to_the_disk() {
    let minute = std::time::Duration::from_secs(60);
    for durability in [Durability::None, Durability::Interval(minute)] {
        let disk = SimulatedDisk::new();
        let on_disk: Arc<dyn Disk> = Arc::new(disk.clone());
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
            let disk: Arc<dyn Disk> = Arc::new(disk.image().after_power_loss(Kept::Nothing));
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
    let disk = SimulatedDisk::new();
    let on_disk: Arc<dyn Disk> = Arc::new(disk.clone());
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
        let disk: Arc<dyn Disk> = Arc::new(disk.image().after_power_loss(Kept::Nothing));
        let storage = Storage::open_on(disk, options()).unwrap();
        read_all(&storage).unwrap()["c"] == expected([1], 8)
    });
    assert!(synced);
}
