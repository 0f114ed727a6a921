//! Bugs that were, each with its story.

mod common;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bitkin_storage::simulated::{Kept, SimulatedDisk};
use bitkin_storage::{
    Batch, CollectionInfo, Disk, Error, Options, SectionBuilder, SectionSink, SegmentRows, Storage,
    repair,
};
use common::*;

/// Without a manifest, a database looked like a creation that was interrupted, which the next creation
/// (or a backup to the same place) swept: segments, logs and all. That is just what `repair` could save.
#[test]
fn a_database_that_lost_its_manifest_is_not_swept() {
    let dir = tempfile::tempdir().unwrap();
    for flushed in [false, true] {
        let path = dir.path().join(format!("db{flushed}"));
        let storage = Storage::create(&path, quiet()).unwrap();
        let c = storage.create_collection("c", 64, b"").unwrap();
        insert(&storage, c, &[1, 2, 3]).unwrap();
        if flushed {
            storage.flush().unwrap();
        }
        storage.close().unwrap();
        fs::remove_file(path.join("MANIFEST")).unwrap();
        let before = files(&path);
        let other = Storage::create(&dir.path().join(format!("other{flushed}")), quiet()).unwrap();
        for error in [
            Storage::create(&path, quiet()).unwrap_err(),
            other.backup(&path).unwrap_err(),
            repair(&dir.path().join(format!("other{flushed}")), &path, None).unwrap_err(),
        ] {
            let right = matches!(error, Error::ManifestLost { .. } | Error::Locked { .. });
            assert!(right, "{error}");
        }
        assert_eq!(files(&path), before);
        let fixed = dir.path().join(format!("fixed{flushed}"));
        assert_eq!(repair(&path, &fixed, None).unwrap().rows(), 3);
    }
}

/// A collection that was created and dropped between two flushes left no trace in the manifest, and its
/// number was given again: who held the id of the old one read the new one with it.
#[test]
fn numbers_of_collections_are_given_once() {
    let dir = tempfile::tempdir().unwrap();
    for flushed in [false, true] {
        let path = dir.path().join(format!("db{flushed}"));
        let storage = Storage::create(&path, quiet()).unwrap();
        let a = storage.create_collection("a", 64, b"").unwrap();
        insert(&storage, a, &[1]).unwrap();
        let reader = Storage::open_read_only(&path).unwrap();
        storage.drop_collection(a).unwrap();
        if flushed {
            storage.flush().unwrap();
        }
        storage.close().unwrap();
        let storage = Storage::open(&path, quiet()).unwrap();
        let b = storage.create_collection("b", 64, b"").unwrap();
        insert(&storage, b, &[7, 8]).unwrap();
        reader.refresh().unwrap();
        assert!(reader.snapshot().collection(a).is_none());
        assert_ne!(a, b);
    }
}

/// A flush over two collections was interrupted after the segment of the first. Repair without a
/// manifest took the commits of that segment as done, those of the second collection too, whose rows
/// were in the log alone.
#[test]
fn logs_count_where_a_flush_was_interrupted_and_the_manifest_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let (path, crashed) = (dir.path().join("db"), dir.path().join("crashed"));
    let storage = Storage::create(&path, quiet()).unwrap();
    let a = storage.create_collection("a", 64, b"").unwrap();
    let b = storage.create_collection("b", 64, b"").unwrap();
    insert(&storage, b, &[1, 2, 3]).unwrap();
    insert(&storage, a, &[1, 2, 3]).unwrap();
    let mut batch = Batch::new();
    batch.delete(a, &[2]);
    storage.commit(batch).unwrap();
    copy(&path, &crashed);
    storage.flush().unwrap();
    let segments = files(&path);
    let of_a = segments.iter().find(|name| name.ends_with(".seg")).unwrap();
    fs::create_dir_all(crashed.join("segments")).unwrap();
    fs::copy(path.join(of_a), crashed.join(of_a)).unwrap();
    fs::remove_file(crashed.join("MANIFEST")).unwrap();
    let fixed = dir.path().join("fixed");
    repair(&crashed, &fixed, None).unwrap();
    let rows = read_all(&Storage::open_read_only(&fixed).unwrap()).unwrap();
    assert_eq!(rows["b"], expected([1, 2, 3], 8));
    assert_eq!(rows["a"], expected([1, 3], 8));
}

/// A reader took the segments of the database that was there before for those of the one that was put
/// in its place, where their numbers were the same.
#[test]
fn a_reader_of_a_database_that_is_replaced_sees_the_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let (path, other) = (dir.path().join("db"), dir.path().join("other"));
    let make = |path: &Path, ids: &[u64], more: bool| {
        let storage = Storage::create(path, quiet()).unwrap();
        let c = storage.create_collection("c", 64, b"").unwrap();
        insert(&storage, c, ids).unwrap();
        storage.flush().unwrap();
        if more {
            insert(&storage, c, &[1000]).unwrap();
            storage.flush().unwrap();
        }
        storage.close().unwrap();
    };
    make(&path, &[1, 2, 3], false);
    let reader = Storage::open_read_only(&path).unwrap();
    // A backup has the same segments, and goes on by itself.
    let backup = dir.path().join("backup");
    reader.backup(&backup).unwrap();
    make(&other, &[50, 51, 52, 53], true);
    for (index, place) in [other, backup].into_iter().enumerate() {
        let storage = Storage::open(&place, quiet()).unwrap();
        let c = storage.collection("c").unwrap().id;
        insert(&storage, c, &[77]).unwrap();
        storage.close().unwrap();
        fs::rename(&path, dir.path().join(format!("old{index}"))).unwrap();
        fs::rename(&place, &path).unwrap();
        assert!(reader.refresh().unwrap());
        let fresh = read_all(&Storage::open_read_only(&path).unwrap()).unwrap();
        assert_eq!(read_all(&reader).unwrap(), fresh);
    }
}

/// A payload that is itself a log of the same number.
fn foreign_log(dir: &Path) -> Vec<u8> {
    let path = dir.join("foreign");
    let storage = Storage::create(&path, quiet()).unwrap();
    let c = storage.create_collection("c", 64, b"").unwrap();
    for id in 0..40 {
        insert(&storage, c, &[id]).unwrap();
    }
    storage.close().unwrap();
    fs::read(only(&path, ".log")).unwrap()
}

/// The checksums of a log had its number as their seed, so that records in a payload, of another log of
/// that number, passed for the log's own: a torn write looked like damage to what was synced, and repair
/// took foreign rows and passed over real ones.
#[test]
fn records_in_payloads_are_payloads() {
    let dir = tempfile::tempdir().unwrap();
    let payload = [&[0; 4][..], &foreign_log(dir.path())].concat();
    let path = dir.path().join("db");
    let storage = Storage::create(&path, quiet()).unwrap();
    let c = storage.create_collection("c", 64, b"").unwrap();
    let mut batch = Batch::new();
    batch.insert(c, Some(&[1]), &[0; 8], Some(&[Some(&payload)]));
    storage.commit(batch).unwrap();
    let torn = dir.path().join("torn");
    copy(&path, &torn);
    insert(&storage, c, &[500]).unwrap();
    drop(storage);

    let log = only(&torn, ".log");
    let bytes = fs::read(&log).unwrap();
    let end = bytes.iter().rposition(|&byte| byte != 0).unwrap();
    set_length(&log, end - 20);
    let storage = Storage::open(&torn, quiet()).unwrap();
    assert!(read_all(&storage).unwrap()["c"].is_empty());

    let log = only(&path, ".log");
    let bytes = fs::read(&log).unwrap();
    let at = bytes.windows(8).rposition(|w| w == b"BitkLog\n").unwrap() - 12;
    set_byte(&log, at, bytes[at] ^ 1);
    let fixed = dir.path().join("fixed");
    let report = repair(&path, &fixed, None).unwrap();
    assert!(!report.is_complete());
    let rows = read_all(&Storage::open_read_only(&fixed).unwrap()).unwrap();
    assert_eq!(rows["c"], expected([500], 8));
}

/// The removal of files was not synced, so that after a power loss rows were there again whose erasure
/// `compact` had reported.
#[test]
fn what_compact_erased_is_not_back_after_a_power_loss() {
    let disk = SimulatedDisk::new();
    let storage = Storage::create_on(Arc::new(disk.clone()), quiet()).unwrap();
    let c = storage.create_collection("c", 64, b"").unwrap();
    let mut batch = Batch::new();
    batch.insert(c, Some(&[1, 2]), &[0; 16], Some(&[Some(b"SECRET"), None]));
    storage.commit(batch).unwrap();
    storage.flush().unwrap();
    let mut batch = Batch::new();
    batch.delete(c, &[1]);
    storage.commit(batch).unwrap();
    storage.compact(None).unwrap();
    for kept in [Kept::Nothing, Kept::Everything] {
        let disk = disk.image().after_power_loss(kept);
        for name in disk.names() {
            let file = disk.open(&name).unwrap();
            let mut bytes = vec![0; file.len().unwrap() as usize];
            file.read_at(0, &mut bytes).unwrap();
            assert!(
                !bytes.windows(6).any(|w| w == b"SECRET"),
                "{name}, {kept:?}"
            );
        }
    }
}

/// A segment beyond the limit of merges was never rewritten, though all its rows were deleted.
#[test]
fn a_large_segment_without_rows_left_goes() {
    let dir = tempfile::tempdir().unwrap();
    let small = Options {
        merge_limit: 1000,
        ..quiet()
    };
    let storage = Storage::create(&dir.path().join("db"), small).unwrap();
    let c = storage.create_collection("c", 64, b"").unwrap();
    let ids: Vec<u64> = (0..1000).collect();
    insert(&storage, c, &ids).unwrap();
    storage.flush().unwrap();
    let mut batch = Batch::new();
    batch.delete(c, &ids);
    storage.commit(batch).unwrap();
    storage.flush().unwrap();
    assert_eq!(storage.stats().collections[0].segments, 0);
}

/// Four segments of collection "a", of which one is damaged, and a collection "b".
fn with_a_damaged_segment(path: &Path, memory_limit: usize) -> Storage {
    let storage = Storage::create(path, quiet()).unwrap();
    let a = storage.create_collection("a", 64, b"").unwrap();
    storage.create_collection("b", 64, b"").unwrap();
    for id in 0..3 {
        insert(&storage, a, &[id]).unwrap();
        storage.flush().unwrap();
    }
    storage.close().unwrap();
    let segments = files(path);
    let segment = segments.iter().find(|name| name.ends_with(".seg")).unwrap();
    set_byte(&path.join(segment), 4096, 0x55);
    let options = Options {
        memory_limit,
        ..quiet()
    };
    Storage::open(path, options).unwrap()
}

/// The merge that met a damaged segment was tried again and again, and no other was; and a commit that
/// happened to find it due failed, though it had nothing to do with it.
#[test]
fn a_damaged_segment_does_not_keep_others_from_being_merged() {
    let dir = tempfile::tempdir().unwrap();
    let storage = with_a_damaged_segment(&dir.path().join("db"), 100);
    let ids = ["a", "b"].map(|name| storage.collection(name).unwrap().id);
    for n in 0..60 {
        insert(&storage, ids[0], &[100 + n]).unwrap();
        insert(&storage, ids[1], &[n]).unwrap();
    }
    storage.flush().unwrap();
    let stats = storage.stats();
    for collection in &stats.collections {
        assert!(collection.segments <= 8, "{stats:?}");
    }
    assert!(matches!(
        storage.compact(Some(ids[0])),
        Err(Error::Corrupt { .. })
    ));
    storage.compact(Some(ids[1])).unwrap();
}

/// Counts its calls, and fails or panics for segments of at least so many rows.
#[derive(Debug, Default)]
struct Builder {
    panics_from: usize,
    fails: bool,
    slow: bool,
    calls: AtomicU64,
}

impl SectionBuilder for Builder {
    fn build(
        &self,
        _: &CollectionInfo,
        rows: &SegmentRows<'_>,
        sections: &mut SectionSink<'_>,
    ) -> Result<(), Error> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        assert!(
            self.panics_from == 0 || rows.len() < self.panics_from,
            "a bug of the layer above"
        );
        if self.fails {
            return Err(Error::ReadOnly);
        }
        if self.slow && rows.len() >= 4 {
            sections.begin("slow", 1)?;
            // For ever, unless it is told to end.
            loop {
                std::thread::sleep(Duration::from_millis(1));
                sections.write(&[0; 8])?;
            }
        }
        Ok(())
    }
}

/// A builder that panicked took the thread that merges with it, and nobody was told.
#[test]
fn a_builder_that_panics_is_told_of() {
    let dir = tempfile::tempdir().unwrap();
    let builder = Arc::new(Builder {
        panics_from: 4,
        ..Builder::default()
    });
    let options = Options {
        builder: Some(Arc::clone(&builder) as Arc<dyn SectionBuilder>),
        ..quiet()
    };
    let storage = Storage::create(&dir.path().join("db"), options).unwrap();
    let c = storage.create_collection("c", 64, b"").unwrap();
    for id in 0..10 {
        insert(&storage, c, &[id]).unwrap();
        storage.flush().unwrap();
    }
    let error = storage.stats().background_error.unwrap();
    assert!(error.contains("panicked"), "{error}");
    assert!(matches!(storage.merge(), Err(Error::BuilderPanicked)));
    assert_eq!(read_all(&storage).unwrap()["c"], expected(0..10, 8));
}

/// `close` waited until a builder was done, however long that took.
#[test]
fn closing_ends_a_builder_that_is_at_work() {
    let dir = tempfile::tempdir().unwrap();
    let builder = Arc::new(Builder {
        slow: true,
        ..Builder::default()
    });
    let options = Options {
        builder: Some(Arc::clone(&builder) as Arc<dyn SectionBuilder>),
        ..options()
    };
    let storage = Storage::create(&dir.path().join("db"), options).unwrap();
    let c = storage.create_collection("c", 64, b"").unwrap();
    // As many segments as are merged.
    for id in 0..8 {
        insert(&storage, c, &[id]).unwrap();
        storage.flush().unwrap();
    }
    while builder.calls.load(Ordering::Relaxed) < 9 {
        std::thread::sleep(Duration::from_millis(1));
    }
    storage.close().unwrap();
}

/// Each try of a flush that kept failing began another log, and rows of one try were never merged with
/// those of the next: a thousand small commits left hundreds of logs and of runs.
#[test]
fn a_flush_that_keeps_failing_leaves_few_logs_and_runs() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        builder: Some(Arc::new(Builder {
            fails: true,
            ..Builder::default()
        })),
        memory_limit: 16_000,
        ..options()
    };
    let storage = Storage::create(&dir.path().join("db"), options).unwrap();
    let c = storage.create_collection("c", 64, b"").unwrap();
    let mut id = 0;
    while insert(&storage, c, &[id]).is_ok() {
        id += 1;
    }
    for _ in 0..50 {
        assert!(storage.flush().is_err());
        assert!(insert(&storage, c, &[id]).is_err());
    }
    let view = storage.snapshot().collection(c).unwrap();
    let (runs, logs) = (view.parts().len(), storage.stats().logs);
    assert!(
        runs < 40 && logs < 40,
        "{id} commits, {runs} runs, {logs} logs"
    );
    assert_eq!(read_all(&storage).unwrap()["c"], expected(0..id, 8));
}

/// After an unclean stop a flipped byte in the last write can only be taken for a write that was
/// interrupted, and what is behind it was cut off and gone. It is kept now, and told of.
#[test]
fn whole_batches_that_are_cut_off_are_kept_aside() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let lazy = Options {
        durability: bitkin_storage::Durability::None,
        ..quiet()
    };
    let storage = Storage::create(&path, lazy).unwrap();
    let c = storage.create_collection("c", 64, b"").unwrap();
    for id in 1..6 {
        insert(&storage, c, &[id]).unwrap();
    }
    drop(storage);
    let log = only(&path, ".log");
    let bytes = fs::read(&log).unwrap();
    let records: Vec<usize> = (0..bytes.len())
        .filter(|&at| bytes[at..].starts_with(b"BitkRec\n"))
        .collect();
    // In the record of id 3, behind those of the collection, 1 and 2.
    set_byte(&log, records[3] + 60, bytes[records[3] + 60] ^ 1);
    let storage = Storage::open(&path, quiet()).unwrap();
    assert_eq!(read_all(&storage).unwrap()["c"], expected([1, 2], 8));
    let end = bytes.iter().rposition(|&byte| byte != 0).unwrap() + 1;
    assert_eq!(storage.stats().cut_bytes, (end - records[3]) as u64);
    let kept = fs::read(only(&path, ".cut")).unwrap();
    assert_eq!(kept[records[4] - records[3]..], bytes[records[4]..end]);
    storage.close().unwrap();
    // It stays, and is nothing to a later opening.
    let storage = Storage::open(&path, quiet()).unwrap();
    assert_eq!(storage.stats().cut_bytes, 0);
    assert_eq!(fs::read(only(&path, ".cut")).unwrap(), kept);
}
