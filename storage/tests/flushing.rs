//! Flushes that nobody asked for: of many rows, and of a database at rest.

mod common;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::time::{Duration, Instant};

use bitkin_storage::{
    CollectionId, CollectionInfo, Durability, Error, Options, SectionBuilder, SectionSink,
    SegmentRows, Storage,
};
use common::{expected, insert, quiet, read_all};

/// Far more than anything here takes, so that a failure is one.
const LONG: Duration = Duration::from_secs(120);

fn flushing(flush_rows: usize) -> Options {
    Options {
        durability: Durability::None,
        flush_rows,
        ..Options::default()
    }
}

fn create(options: Options) -> (tempfile::TempDir, Storage, CollectionId) {
    let dir = tempfile::tempdir().unwrap();
    let storage = Storage::create(dir.path(), options).unwrap();
    let c = storage.create_collection("c", 64, b"").unwrap();
    (dir, storage, c)
}

/// Rows in memory, and segments, of the only collection.
fn counts(storage: &Storage) -> (u64, u64) {
    let stats = &storage.stats().collections[0];
    (stats.memory_rows, stats.segments)
}

fn wait_until(storage: &Storage, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < LONG, "{:?}", storage.stats());
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn rows_beyond_the_limit_get_into_a_segment_while_commits_go_on() {
    let (_dir, storage, c) = create(flushing(1000));
    insert(&storage, c, &(0..1500).collect::<Vec<u64>>()).unwrap();
    let mut next = 1500;
    // Commits keep it from being at rest: that is not what flushes here.
    wait_until(&storage, || {
        insert(&storage, c, &[next]).unwrap();
        next += 1;
        counts(&storage).1 > 0
    });
    assert_eq!(read_all(&storage).unwrap()["c"], expected(0..next, 8));
}

#[test]
fn the_commit_that_passes_the_limit_needs_no_other() {
    let (_dir, storage, c) = create(flushing(1000));
    insert(&storage, c, &(0..1500).collect::<Vec<u64>>()).unwrap();
    wait_until(&storage, || counts(&storage) == (0, 1));
}

#[test]
fn a_database_at_rest_has_most_rows_in_segments_and_leaves_few() {
    let (_few_dir, few, c) = create(flushing(1600));
    insert(&few, c, &(0..100).collect::<Vec<u64>>()).unwrap();
    let (_dir, storage, c) = create(flushing(1600));
    insert(&storage, c, &(0..101).collect::<Vec<u64>>()).unwrap();
    wait_until(&storage, || counts(&storage) == (0, 1));
    // It has been at rest for longer.
    assert_eq!(counts(&few), (100, 0));
}

#[test]
fn rows_out_of_the_log_are_flushed_after_opening() {
    let (dir, storage, c) = create(flushing(usize::MAX));
    for start in (0..5000).step_by(1000) {
        insert(&storage, c, &(start..start + 1000).collect::<Vec<u64>>()).unwrap();
    }
    assert_eq!(counts(&storage), (5000, 0));
    drop(storage);
    let storage = Storage::open(dir.path(), flushing(1000)).unwrap();
    wait_until(&storage, || counts(&storage) == (0, 1));
    assert_eq!(read_all(&storage).unwrap()["c"], expected(0..5000, 8));
    storage.close().unwrap();
}

/// Holds whoever writes a segment until it is let go.
#[derive(Debug, Default)]
struct Gate {
    reached: AtomicBool,
    open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.opened.notify_all();
    }
}

impl SectionBuilder for Gate {
    fn build(
        &self,
        _: &CollectionInfo,
        _: &SegmentRows<'_>,
        _: &mut SectionSink<'_>,
    ) -> Result<(), Error> {
        self.reached.store(true, Ordering::Release);
        let mut open = self.open.lock().unwrap();
        while !*open {
            open = self.opened.wait(open).unwrap();
        }
        Ok(())
    }
}

#[test]
fn commits_do_not_wait_for_a_flush_for_the_number_of_rows() {
    let gate = Arc::new(Gate::default());
    let (_dir, storage, c) = create(Options {
        builder: Some(Arc::clone(&gate) as Arc<dyn SectionBuilder>),
        ..flushing(100)
    });
    insert(&storage, c, &(0..200).collect::<Vec<u64>>()).unwrap();
    wait_until(&storage, || gate.reached.load(Ordering::Acquire));
    let (done, all_done) = mpsc::channel();
    std::thread::scope(|scope| {
        let storage = &storage;
        scope.spawn(move || {
            for start in (200..10_000).step_by(200) {
                insert(storage, c, &(start..start + 200).collect::<Vec<u64>>()).unwrap();
            }
            done.send(counts(storage)).unwrap();
        });
        let counted = all_done.recv_timeout(LONG);
        gate.open();
        assert_eq!(counted, Ok((10_000, 0)), "(rows in memory, segments)");
    });
    // What came in meanwhile is one flush.
    wait_until(&storage, || counts(&storage) == (0, 2));
    assert_eq!(read_all(&storage).unwrap()["c"], expected(0..10_000, 8));
}

#[test]
fn many_small_batches_leave_few_segments() {
    let (_dir, storage, c) = create(flushing(200));
    for start in (0..40_000).step_by(50) {
        insert(&storage, c, &(start..start + 50).collect::<Vec<u64>>()).unwrap();
    }
    wait_until(&storage, || {
        let (rows, segments) = counts(&storage);
        rows <= 200 / 16 && (1..=8).contains(&segments)
    });
    assert_eq!(read_all(&storage).unwrap()["c"], expected(0..40_000, 8));
}

#[test]
fn without_threads_only_memory_counts() {
    let options = Options {
        flush_rows: 10,
        memory_limit: 30_000,
        ..quiet()
    };
    let (_dir, storage, c) = create(options);
    let (mut next, mut bytes) = (0, 0);
    while bytes <= 30_000 {
        assert_eq!(counts(&storage), (next, 0));
        insert(&storage, c, &(next..next + 30).collect::<Vec<u64>>()).unwrap();
        bytes = storage.stats().memory_bytes;
        next += 30;
    }
    // The commit that finds it full empties it.
    insert(&storage, c, &[next]).unwrap();
    assert_eq!(counts(&storage), (1, 1));
    insert(&storage, c, &(next + 1..next + 200).collect::<Vec<u64>>()).unwrap();
    storage.flush().unwrap();
    assert_eq!(counts(&storage), (0, 2));
}
