//! Real processes: a writer that is killed in the middle of its work, and a second writer.
//!
//! The children are this test binary again, told by an environment variable what to be.

mod common;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bitkin_storage::{Batch, Durability, Error, Options, Storage, verify};
use common::*;

/// Directory of the database on which a child works.
const CHILD: &str = "BITKIN_TEST_CHILD";
/// Rounds of killing; 20 if unset.
const ROUNDS: &str = "BITKIN_KILL_ROUNDS";
const THREADS: u64 = 4;
/// Rows of one batch in each of the two collections.
const BATCH: u64 = 5;

/// Each second batch also deletes the rows of the one so many before it.
const KEPT: u64 = 4;

/// The batch whose rows batch `number` deletes.
fn deletes(number: u64) -> Option<u64> {
    number.checked_sub(KEPT).filter(|batch| batch % 2 == 0)
}

/// The ids of batch `number` of a thread: no two batches share one.
fn ids(thread: u64, number: u64) -> Vec<u64> {
    let first = (number * THREADS + thread) * BATCH;
    // Backwards, so that sorting has something to do.
    (first..first + BATCH).rev().collect()
}

fn child(test: &str, dir: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--ignored"])
        .env(CHILD, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Not a test: the process that is killed. Each thread writes one batch after another, and says so
/// when a batch was acknowledged.
#[test]
#[ignore = "started by the other tests"]
fn child_that_writes() {
    let Some(dir) = std::env::var_os(CHILD) else {
        return;
    };
    // Small, so that flushes are killed too.
    let chosen = Options {
        memory_limit: 20_000,
        ..options()
    };
    let storage = Storage::open(Path::new(&dir), chosen).unwrap();
    let (a, b) = (
        storage.collection("a").unwrap().id,
        storage.collection("b").unwrap().id,
    );
    let view = storage.snapshot().collection(a).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (storage, view) = (&storage, &view);
            scope.spawn(move || {
                let mut number = 0;
                let there = |number| view.find(ids(thread, number)[0]).unwrap().is_some();
                // Of two that follow each other at most one was deleted.
                while there(number) || there(number + 1) {
                    number += 1;
                }
                loop {
                    let ids = ids(thread, number);
                    let mut batch = Batch::new();
                    add(&mut batch, a, &ids);
                    add(&mut batch, b, &ids);
                    if let Some(old) = deletes(number) {
                        let old = self::ids(thread, old);
                        batch.delete(a, &old).delete(b, &old);
                    }
                    storage.commit(batch).unwrap();
                    say(&format!("done {thread} {number}"));
                    number += 1;
                }
            });
        }
    });
}

/// One line to the parent, in one write, so that lines of several threads do not mix.
fn say(line: &str) {
    use std::io::Write;
    std::io::stdout()
        .lock()
        .write_all(format!("{line}\n").as_bytes())
        .unwrap();
}

#[test]
fn every_acknowledged_batch_survives_kill_nine() {
    let rounds = std::env::var(ROUNDS).map_or(20, |rounds| rounds.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let storage = Storage::create(&path, options()).unwrap();
    storage.create_collection("a", 64, b"").unwrap();
    storage.create_collection("b", 96, b"").unwrap();
    drop(storage);
    // For each thread, the batches that were acknowledged: all below.
    let mut acknowledged = [0_u64; THREADS as usize];
    let mut state = 1_u64;
    for round in 0..rounds {
        let mut child = child("child_that_writes", &path);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // Wait for a first line so that every round does something, then let it run for a while
        // that differs from round to round.
        let mut heard: Vec<String> = Vec::new();
        for line in lines.by_ref().map_while(Result::ok) {
            let done = line.starts_with("done");
            heard.push(line);
            if done {
                break;
            }
        }
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        std::thread::sleep(Duration::from_micros((state >> 33) % 30_000));
        child.kill().unwrap();
        child.wait().unwrap();
        heard.extend(lines.map_while(Result::ok));
        for line in heard {
            let mut words = line.split_ascii_whitespace();
            let (Some("done"), Some(thread), Some(number)) =
                (words.next(), words.next(), words.next())
            else {
                continue;
            };
            let (thread, number): (usize, u64) = (thread.parse().unwrap(), number.parse().unwrap());
            acknowledged[thread] = acknowledged[thread].max(number + 1);
        }

        let report = verify(&path).unwrap();
        assert!(report.is_clean(), "round {round}: {report:?}");
        let storage = Storage::open_read_only(&path).unwrap();
        check(&storage, &acknowledged, round);
    }
    let total: u64 = acknowledged.iter().sum();
    assert!(total >= rounds, "the children wrote: {acknowledged:?}");
    let storage = Storage::open(&path, options()).unwrap();
    check(&storage, &acknowledged, rounds);
}

/// All that was acknowledged is there; a batch is there in both collections or in none, and so is what
/// it deletes.
fn check(storage: &Storage, acknowledged: &[u64], round: u64) {
    let all: BTreeMap<String, Rows> = read_all(storage).unwrap();
    let mut found = 0;
    for thread in 0..THREADS {
        let present = |number: u64, name: &str| {
            let ids = ids(thread, number);
            let there = ids.iter().filter(|id| all[name].contains_key(id)).count() as u64;
            assert!(
                there == 0 || there == BATCH,
                "round {round}: batch {number} of {thread} is half there"
            );
            there == BATCH
        };
        let mut batches = 0;
        while present(batches, "a") || present(batches + 1, "a") {
            batches += 1;
        }
        let acknowledged = acknowledged[thread as usize];
        assert!(
            batches >= acknowledged,
            "round {round}: {batches} batches of {thread}, and {acknowledged} were acknowledged"
        );
        let gone: Vec<u64> = (0..batches).filter_map(deletes).collect();
        for number in 0..batches {
            let wanted = !gone.contains(&number);
            for (name, code_bytes) in [("a", 8), ("b", 12)] {
                assert_eq!(
                    present(number, name),
                    wanted,
                    "round {round}: batch {number} of {thread} in {name}"
                );
                if wanted {
                    for (id, row) in expected(ids(thread, number), code_bytes) {
                        assert_eq!(all[name][&id], row, "round {round}");
                    }
                }
            }
            found += BATCH * u64::from(wanted);
        }
    }
    for name in ["a", "b"] {
        assert_eq!(
            all[name].len() as u64,
            found,
            "round {round}: rows that nobody wrote"
        );
    }
}

/// Not a test: the process that has the database open.
#[test]
#[ignore = "started by the other tests"]
fn child_that_holds() {
    let Some(dir) = std::env::var_os(CHILD) else {
        return;
    };
    let chosen = Options {
        durability: Durability::None,
        ..options()
    };
    let storage = Storage::open(Path::new(&dir), chosen).unwrap();
    let c = storage.collection("c").unwrap().id;
    insert(&storage, c, &[1, 2, 3]).unwrap();
    say("open");
    loop {
        std::thread::sleep(Duration::from_secs(1));
    }
}

#[test]
fn a_second_writer_is_refused_and_readers_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let storage = Storage::create(path, options()).unwrap();
    storage.create_collection("c", 64, b"").unwrap();
    let second = Storage::open(path, options());
    assert!(
        matches!(second, Err(Error::Locked { .. })),
        "in the same process: {second:?}"
    );
    storage.close().unwrap();

    let mut child = child("child_that_holds", path);
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut heard = String::new();
    while !heard.ends_with("open\n") {
        assert_ne!(
            output.read_line(&mut heard).unwrap(),
            0,
            "the child said {heard:?}"
        );
    }
    let before = files(path);
    let error = Storage::open(path, options()).unwrap_err();
    assert!(matches!(error, Error::Locked { .. }), "{error}");
    assert!(error.to_string().contains("another process"), "{error}");
    assert!(matches!(
        Storage::create(path, options()),
        Err(Error::NotEmpty { .. })
    ));
    assert_eq!(files(path), before);
    let reader = Storage::open_read_only(path).unwrap();
    assert_eq!(read_all(&reader).unwrap()["c"], expected(1..4, 8));
    assert!(verify(path).unwrap().is_clean());

    child.kill().unwrap();
    child.wait().unwrap();
    output.read_to_string(&mut heard).unwrap();
    let storage = Storage::open(path, options()).unwrap();
    assert_eq!(read_all(&storage).unwrap()["c"], expected(1..4, 8));
}
