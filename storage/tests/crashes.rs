//! Power losses and failing calls, by chance, on a simulated disk: after each, what was acknowledged
//! is there, no batch is there by half, and `verify` finds nothing.
//!
//! `BITKIN_CRASH_POINTS` says how many moments to try, and `BITKIN_SEED` where to begin: a failure
//! names the seed of its round, which by itself brings it back.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "says how much was tried"
)]

mod common;

use std::io::ErrorKind;
use std::sync::Arc;

use bitkin_storage::simulated::{Failure, Image, Kept, SimulatedDisk};
use bitkin_storage::{Disk, Error, Storage};
use common::workload::{Chance, Moment, Worker, check_backup, check_disk};
use parking_lot::Mutex;

/// Steps of one round.
const STEPS: u64 = 40;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().expect("a number"))
}

/// Works for one round, and calls `see` with every moment before a change.
fn round(seed: u64, mut see: impl FnMut(Moment)) {
    let mut worker = Worker::new(seed);
    let images: Arc<Mutex<Vec<Image>>> = Arc::default();
    let hook = || -> Box<dyn FnMut(&Image) + Send> {
        let seen = Arc::clone(&images);
        Box::new(move |image: &Image| seen.lock().push(image.clone()))
    };
    worker.disk.before_each_change(Some(hook()));
    for step in 0..STEPS {
        let before = worker.known.clone();
        let done = if step == 0 {
            worker.start()
        } else {
            worker.step()
        };
        done.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        // While the step was under way, what it attempted may be there or not; nothing is durable that
        // was not before.
        let mut known = before;
        known.attempted = worker
            .known
            .history
            .get(known.history.len())
            .map(Arc::clone);
        for image in images.lock().drain(..) {
            see(Moment {
                image,
                known: known.clone(),
            });
        }
        worker.disk.before_each_change(None);
        worker.check();
        worker.check_backups();
        worker.disk.before_each_change(Some(hook()));
    }
}

/// Every moment before a change that `work` makes on the disk.
fn moments_of<T>(disk: &SimulatedDisk, work: impl FnOnce() -> T) -> Vec<Image> {
    let moments: Arc<Mutex<Vec<Image>>> = Arc::default();
    let seen = Arc::clone(&moments);
    let hook = move |image: &Image| seen.lock().push(image.clone());
    disk.before_each_change(Some(Box::new(hook)));
    work();
    disk.before_each_change(None);
    std::mem::take(&mut *moments.lock())
}

#[test]
fn power_losses_at_any_moment_lose_nothing_acknowledged() {
    let wanted = setting("BITKIN_CRASH_POINTS", 4000);
    let first = setting("BITKIN_SEED", 1);
    let (mut points, mut again) = (0, 0);
    for seed in first.. {
        let mut chance = Chance(seed ^ 0xc4a5);
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            round(seed, |moment| {
                if points + again >= wanted {
                    return;
                }
                // The process dies here and the machine goes on; the next process opens the database,
                // and then power is lost.
                if chance.below(4) == 0 {
                    let disk = moment.image.after_process_death();
                    let moments = moments_of(&disk, || check_disk(&disk, &moment.known));
                    for image in &moments {
                        if chance.below(6) > 0 {
                            continue;
                        }
                        again += 1;
                        let kept = Kept::Some {
                            seed: chance.next(),
                        };
                        check_disk(&image.after_power_loss(kept), &moment.known);
                    }
                }
                let some = Kept::Some {
                    seed: chance.next(),
                };
                for kept in [
                    some,
                    [Kept::Nothing, Kept::Everything][chance.below(2) as usize],
                ] {
                    points += 1;
                    let disk = moment.image.after_power_loss(kept);
                    for backup in 0..3 {
                        let backup = disk.beside(&format!("backup{backup}"));
                        check_backup(&backup, &moment.known);
                    }
                    // Power may be lost again while the database is opened.
                    let moments = moments_of(&disk, || check_disk(&disk, &moment.known));
                    if moments.is_empty() {
                        continue;
                    }
                    let image = &moments[chance.below(moments.len() as u64) as usize];
                    again += 1;
                    let kept = Kept::Some {
                        seed: chance.next(),
                    };
                    check_disk(&image.after_power_loss(kept), &moment.known);
                }
            });
        }));
        if let Err(panic) = result {
            eprintln!("BITKIN_SEED={seed} brings this failure back");
            std::panic::resume_unwind(panic);
        }
        if points + again >= wanted {
            println!(
                "{points} power losses and {again} more during recovery, seeds {first} to {seed}: \
                 none lost anything"
            );
            return;
        }
    }
}

#[test]
fn a_call_that_fails_once_gives_an_error_and_loses_nothing() {
    let rounds = setting("BITKIN_FAIL_ROUNDS", 12);
    let first = setting("BITKIN_SEED", 1);
    let (mut failures, mut reported) = (0, 0);
    for seed in first..first + rounds {
        for kind in [ErrorKind::Other, ErrorKind::StorageFull] {
            for at in 1.. {
                let mut worker = Worker::new(seed);
                worker.disk.fail_at(at, Failure::Once(kind));
                for step in 0..STEPS / 2 {
                    let done = if step == 0 {
                        worker.start()
                    } else {
                        worker.step()
                    };
                    let Err(error) = done else { continue };
                    assert!(worker.disk.has_failed(), "seed {seed}, call {at}: {error}");
                    reported += 1;
                    worker.go_on();
                    worker.check_backups();
                }
                worker.abandon();
                worker.disk.heal();
                worker.check_backups();
                // A failed sync may have lost what memory still shows, so power must go too.
                check_disk(
                    &worker.disk.image().after_power_loss(Kept::Nothing),
                    &worker.known,
                );
                if !worker.disk.has_failed() {
                    break;
                }
                failures += 1;
            }
        }
    }
    println!("{failures} calls failed, {reported} of them reported");
    assert!(reported > failures / 2, "{reported} of {failures}");
}

#[test]
fn a_full_disk_refuses_writes_and_loses_nothing() {
    for seed in 0..8 {
        let mut worker = Worker::new(seed);
        worker.start().unwrap();
        for _ in 0..10 {
            worker.step().unwrap();
        }
        // Every write from here on finds the disk full, until there is room again.
        let mut refused = 0;
        for _ in 0..10 {
            worker.disk.fail_at(
                1 + worker.chance.below(6),
                Failure::Once(ErrorKind::StorageFull),
            );
            if worker.step().is_err() {
                refused += 1;
                worker.disk.heal();
                worker.recover();
            }
        }
        worker.disk.heal();
        assert!(refused > 0);
        worker.check();
        for _ in 0..10 {
            worker.step().unwrap();
        }
        worker.check();
    }
}

#[test]
fn a_backup_that_failed_is_none_and_can_be_made_again() {
    for seed in 0..4 {
        let mut worker = Worker::new(seed);
        worker.start().unwrap();
        while worker.known.history.len() < 15 {
            worker.step().unwrap();
        }
        let dest = worker.disk.beside("copy");
        for at in 1.. {
            worker.disk.fail_at(at, Failure::Once(ErrorKind::Other));
            let made = bitkin_storage::backup_on(&worker.disk, &dest);
            let failed = worker.disk.has_failed();
            worker.disk.heal();
            match made {
                Ok(report) => {
                    assert_eq!(report.sequence as usize, worker.known.history.len() - 1);
                    check_backup(&dest, &worker.known);
                    // (A link that cannot be made is a copy.)
                    if !failed {
                        break;
                    }
                    let again = bitkin_storage::backup_on(&worker.disk, &dest);
                    assert!(matches!(again, Err(Error::NotEmpty { .. })), "{again:?}");
                    dest.clear();
                }
                Err(_) => check_backup(&dest, &worker.known),
            }
        }
    }
}

/// A database that was opened and given back by a power loss in the midst of everything can be worked
/// on as any other.
#[test]
fn work_goes_on_after_power_losses() {
    for seed in 0..setting("BITKIN_FAIL_ROUNDS", 12) {
        let mut worker = Worker::new(seed);
        worker.start().unwrap();
        for _ in 0..10 {
            worker
                .disk
                .fail_at(5 + worker.chance.below(60), Failure::PowerLoss);
            while worker.step().is_ok() {}
            worker.abandon();
            let kept = Kept::Some {
                seed: worker.chance.next(),
            };
            worker.disk = worker.disk.image().after_power_loss(kept);
            worker.recover();
        }
    }
}

#[test]
fn a_failed_write_or_sync_of_the_log_poisons_the_writer() {
    // A commit is a write (1) and a sync (2).
    for at in [1, 2] {
        let disk = SimulatedDisk::new();
        let on_disk: Arc<dyn Disk> = Arc::new(disk.clone());
        let storage = Storage::create_on(Arc::clone(&on_disk), common::quiet()).unwrap();
        let c = storage.create_collection("c", 64, b"").unwrap();
        common::insert(&storage, c, &[1]).unwrap();
        disk.fail_at(at, Failure::Once(ErrorKind::Other));
        let error = common::insert(&storage, c, &[2]).unwrap_err();
        assert!(matches!(error, Error::Io { .. }), "{error}");
        for error in [
            common::insert(&storage, c, &[3]).unwrap_err(),
            storage.flush().unwrap_err(),
            storage.compact(None).unwrap_err(),
            storage.create_collection("d", 8, b"").unwrap_err(),
            storage.drop_collection(c).unwrap_err(),
        ] {
            assert!(matches!(error, Error::Poisoned { .. }), "{error}");
        }
        let rows = |storage: &Storage| common::read_all(storage).unwrap().remove("c").unwrap();
        assert_eq!(rows(&storage), common::expected([1], 8));
        assert!(matches!(storage.close(), Err(Error::Poisoned { .. })));
        let storage = Storage::open_on(on_disk, common::quiet()).unwrap();
        let found = rows(&storage);
        assert!(found == common::expected([1], 8) || found == common::expected([1, 2], 8));
        common::insert(&storage, c, &[3]).unwrap();
    }
}
