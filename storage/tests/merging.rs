//! Deletes, merges, backups: what is gone is gone, what is kept is kept, and who reads is not disturbed.

mod common;

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bitkin_storage::simulated::SimulatedDisk;
use bitkin_storage::{
    Batch, CollectionId, CollectionInfo, Durability, Error, Options, SectionBuilder, SectionSink,
    SegmentRows, Storage, backup, verify, verify_on,
};
use common::*;

/// Whether a file of the directory, or one below it, holds these bytes anywhere.
fn holds(dir: &Path, bytes: &[u8]) -> bool {
    files(dir).iter().any(|name| {
        let found = std::fs::read(dir.join(name)).unwrap();
        found.windows(bytes.len()).any(|window| window == bytes)
    })
}

#[test]
fn after_compaction_deleted_rows_are_in_no_file() {
    let dir = tempfile::tempdir().unwrap();
    for flushed in [false, true] {
        let path = dir.path().join(format!("db{flushed}"));
        let storage = Storage::create(&path, options()).unwrap();
        let c = storage.create_collection("c", 256, b"").unwrap();
        let secret: Vec<u8> = (0..32).map(|i| 0xa0 ^ (i * 7)).collect();
        let mut batch = Batch::new();
        batch.insert(c, Some(&[1]), &secret, Some(&[Some(b"name: Jane Roe")]));
        batch.insert(c, Some(&[2]), &[0x55; 32], Some(&[Some(b"name: John Doe")]));
        storage.commit(batch).unwrap();
        if flushed {
            storage.flush().unwrap();
        }
        // A code and a payload that a delete takes, and a payload that an upsert replaces.
        let mut batch = Batch::new();
        batch.delete(c, &[1]);
        batch.upsert(c, &[2], &[0x66; 32], Some(&[Some(b"name: nobody")]));
        storage.commit(batch).unwrap();
        assert!(holds(&path, b"Jane Roe") && holds(&path, &secret) && holds(&path, b"John Doe"));
        storage.compact(None).unwrap();
        for gone in [&b"Jane Roe"[..], b"John Doe", &secret, &[0x55; 32]] {
            assert!(
                !holds(&path, gone),
                "{:?} is still there",
                String::from_utf8_lossy(gone)
            );
        }
        assert!(holds(&path, b"nobody"));
        storage.close().unwrap();
        assert!(verify(&path).unwrap().is_clean());
    }
}

#[test]
fn a_collection_without_rows_left_has_no_segment_and_gives_no_id_twice() {
    let dir = tempfile::tempdir().unwrap();
    let storage = Storage::create(dir.path(), quiet()).unwrap();
    let c = storage.create_collection("c", 64, b"").unwrap();
    insert(&storage, c, &[1, 2, 900]).unwrap();
    storage.flush().unwrap();
    let mut batch = Batch::new();
    batch.delete(c, &[1, 2, 900, 901]);
    let commit = storage.commit(batch).unwrap();
    assert_eq!((commit.deleted, commit.replaced), (3, 0));
    assert_eq!(storage.stats().rows, 0);
    storage.compact(Some(c)).unwrap();
    assert_eq!(
        files(dir.path())
            .iter()
            .filter(|f| f.ends_with(".seg"))
            .count(),
        0
    );
    storage.close().unwrap();
    let storage = Storage::open(dir.path(), quiet()).unwrap();
    let mut batch = Batch::new();
    batch.insert(c, None, &[0; 8], None);
    assert_eq!(storage.commit(batch).unwrap().assigned, [Some(901..902)]);
}

#[test]
fn a_dropped_collection_takes_its_files_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let storage = Storage::create(dir.path(), quiet()).unwrap();
    let (a, b) = (
        storage.create_collection("a", 64, b"").unwrap(),
        storage.create_collection("b", 64, b"").unwrap(),
    );
    insert(&storage, a, &[1, 2]).unwrap();
    insert(&storage, b, &[3]).unwrap();
    storage.flush().unwrap();
    let held = storage.snapshot();
    storage.drop_collection(a).unwrap();
    assert!(storage.collection("a").is_none());
    let error = insert(&storage, a, &[5]).unwrap_err();
    assert!(
        matches!(error, Error::UnknownCollection { number: 1 }),
        "{error}"
    );
    storage.flush().unwrap();
    assert_eq!(
        files(dir.path())
            .iter()
            .filter(|f| f.ends_with(".seg"))
            .count(),
        1
    );
    assert_eq!(
        read_rows(&held.collection(a).unwrap()).unwrap(),
        expected([1, 2], 8)
    );
    // The name is free again, and means another collection.
    let again = storage.create_collection("a", 64, b"").unwrap();
    assert_ne!(again, a);
    assert!(read_all(&storage).unwrap()["a"].is_empty());
    drop(storage);
    let storage = Storage::open(dir.path(), quiet()).unwrap();
    assert_eq!(read_all(&storage).unwrap()["b"], expected([3], 8));
    assert!(verify(dir.path()).unwrap().is_clean());
}

#[test]
fn segments_are_merged_in_the_background_and_readers_are_not_disturbed() {
    let dir = tempfile::tempdir().unwrap();
    let lazy = Options {
        durability: Durability::None,
        memory_limit: 20_000,
        ..options()
    };
    let storage = Storage::create(dir.path(), lazy).unwrap();
    let c = storage.create_collection("c", 64, b"").unwrap();
    let done = AtomicBool::new(false);
    let kept = |id: u64| id % 10 != 3;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let reader = Storage::open_read_only(dir.path()).unwrap();
            let mut held = storage.snapshot();
            let mut rows = read_rows(&held.collection(c).unwrap()).unwrap();
            while !done.load(Ordering::Acquire) {
                assert_eq!(read_rows(&held.collection(c).unwrap()).unwrap(), rows);
                held = storage.snapshot();
                rows = read_rows(&held.collection(c).unwrap()).unwrap();
                reader.refresh().unwrap();
                read_all(&reader).unwrap();
                let report = verify(dir.path()).unwrap();
                assert!(report.is_clean(), "{report:?}");
            }
        });
        for start in (0..40_000).step_by(100) {
            // In an order of their own, so that the segments' ids interleave.
            let ids: Vec<u64> = (start..start + 100).map(|n| n * 7919 % 40_000).collect();
            insert(&storage, c, &ids).unwrap();
            let mut batch = Batch::new();
            let gone: Vec<u64> = ids.iter().copied().filter(|&id| !kept(id)).collect();
            batch.delete(c, &gone);
            storage.commit(batch).unwrap();
        }
        done.store(true, Ordering::Release);
    });
    let wanted = expected((0..40_000).filter(|&id| kept(id)), 8);
    assert_eq!(read_all(&storage).unwrap()["c"], wanted);
    storage.flush().unwrap();
    // Some forty flushes: sooner or later few segments are left of them.
    let settled = (0..10_000).any(|_| {
        std::thread::sleep(Duration::from_millis(1));
        storage.stats().collections[0].segments < 8
    });
    assert!(settled, "{:?}", storage.stats());
    assert_eq!(read_all(&storage).unwrap()["c"], wanted);
    storage.close().unwrap();
    let storage = Storage::open(dir.path(), options()).unwrap();
    assert_eq!(read_all(&storage).unwrap()["c"], wanted);
    assert!(verify(dir.path()).unwrap().is_clean());
    let listed = files(dir.path())
        .iter()
        .filter(|f| f.ends_with(".seg"))
        .count();
    assert_eq!(listed as u64, storage.stats().collections[0].segments);
}

#[test]
fn rows_deleted_while_the_segments_they_are_in_are_merged_stay_deleted() {
    // A merge of many rows, and deletes and upserts of some of them all the while.
    let dir = tempfile::tempdir().unwrap();
    let lazy = Options {
        durability: Durability::None,
        ..options()
    };
    let storage = Storage::create(dir.path(), lazy).unwrap();
    let c = storage.create_collection("c", 64, b"").unwrap();
    for part in 0..4 {
        let ids: Vec<u64> = (0..20_000).map(|n| n * 4 + part).collect();
        insert(&storage, c, &ids).unwrap();
        storage.flush().unwrap();
    }
    let merging = AtomicBool::new(true);
    let mut gone = BTreeSet::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..3 {
                storage.compact(None).unwrap();
            }
            merging.store(false, Ordering::Release);
        });
        let mut id = 0;
        while merging.load(Ordering::Acquire) && id < 79_000 {
            let mut batch = Batch::new();
            batch.delete(c, &[id, id + 7]);
            storage.commit(batch).unwrap();
            gone.extend([id, id + 7]);
            if id % 5 == 0 {
                insert(&storage, c, &[id]).unwrap();
                gone.remove(&id);
            }
            if id % 300 == 0 {
                storage.flush().unwrap();
            }
            id += 11;
        }
    });
    assert!(!gone.is_empty());
    let wanted = expected((0..80_000).filter(|id| !gone.contains(id)), 8);
    assert!(read_all(&storage).unwrap()["c"] == wanted);
    drop(storage);
    let storage = Storage::open(dir.path(), options()).unwrap();
    assert!(read_all(&storage).unwrap()["c"] == wanted);
    assert!(verify(dir.path()).unwrap().is_clean());
}

#[test]
fn a_flush_in_the_background_that_fails_is_told_and_tried_again() {
    let disk = SimulatedDisk::new();
    let small = Options {
        memory_limit: 500,
        ..options()
    };
    let storage = Storage::create_on(Arc::new(disk.clone()), small).unwrap();
    let c = storage.create_collection("c", 64, b"").unwrap();
    // Only what flushes need fails: new files.
    disk.fill();
    let mut written = 0;
    let error = loop {
        match insert(&storage, c, &[written]) {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
        assert!(storage.stats().memory_bytes < 1500, "memory is bounded");
    };
    assert!(matches!(&error, Error::Io { source, .. } if source.kind() == ErrorKind::StorageFull));
    assert!(storage.stats().background_error.is_some());
    assert_eq!(read_all(&storage).unwrap()["c"], expected(0..written, 8));
    disk.heal();
    insert(&storage, c, &[written]).unwrap();
    storage.flush().unwrap();
    let told = (0..10_000).all(|_| {
        std::thread::sleep(Duration::from_millis(1));
        storage.stats().background_error.is_some()
    });
    assert!(!told, "the failure is over");
    assert_eq!(read_all(&storage).unwrap()["c"], expected(0..=written, 8));
    storage.close().unwrap();
    assert!(verify_on(&disk).unwrap().is_clean());
}

#[test]
fn backups_share_segments_and_are_of_one_moment_while_writes_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let small = Options {
        durability: Durability::None,
        memory_limit: 5_000,
        ..options()
    };
    let storage = Storage::create(&path, small).unwrap();
    let c = storage.create_collection("c", 64, b"").unwrap();
    let done = AtomicBool::new(false);
    let written = AtomicU64::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for id in 0..20_000 {
                insert(&storage, c, &[id]).unwrap();
                written.store(id + 1, Ordering::Release);
            }
            done.store(true, Ordering::Release);
        });
        let mut number = 0;
        let mut linked = 0;
        while !done.load(Ordering::Acquire) {
            number += 1;
            let dest = dir.path().join(number.to_string());
            let before = written.load(Ordering::Acquire);
            // As this process does it, and as any other would.
            let report = match number % 2 {
                0 => storage.backup(&dest).unwrap(),
                _ => backup(&path, &dest).unwrap(),
            };
            linked += report.linked;
            assert!(verify(&dest).unwrap().is_clean());
            let copy = Storage::open(&dest, options()).unwrap();
            let rows = read_all(&copy).unwrap().remove("c").unwrap();
            let count = rows.len() as u64;
            assert!(
                count >= before,
                "{count} rows, and {before} were acknowledged"
            );
            assert_eq!(copy.snapshot().sequence(), count + 1);
            assert_eq!(rows, expected(0..count, 8));
            // A copy that is worked on leaves the original as it is.
            insert(&copy, c, &[1 << 40]).unwrap();
            copy.compact(None).unwrap();
        }
        assert!(linked > 0);
    });
    assert_eq!(read_all(&storage).unwrap()["c"], expected(0..20_000, 8));
    storage.close().unwrap();
    assert!(verify(&path).unwrap().is_clean());
    let error = backup(&path, &path).unwrap_err();
    assert!(matches!(error, Error::NotEmpty { .. }), "{error}");
}

/// Writes a section with the number of rows, their ids backwards, and the payload of the first.
#[derive(Debug, Default)]
struct Backwards {
    fails: AtomicBool,
}

impl SectionBuilder for Backwards {
    fn build(
        &self,
        collection: &CollectionInfo,
        rows: &SegmentRows<'_>,
        sections: &mut SectionSink<'_>,
    ) -> Result<(), Error> {
        if self.fails.load(Ordering::Relaxed) {
            return sections.begin("ids", 1);
        }
        assert_eq!(rows.codes().len(), rows.len() * collection.code_bytes());
        sections.begin("backwards", 3)?;
        for id in rows.ids().iter().rev() {
            sections.write(&id.to_le_bytes())?;
        }
        sections.begin("first payload", 1)?;
        sections.write(rows.payload(0).unwrap_or(b"none"))
    }
}

#[test]
fn sections_of_the_layer_above_are_built_by_flushes_and_merges() {
    let dir = tempfile::tempdir().unwrap();
    let builder = Arc::new(Backwards::default());
    let with_builder = Options {
        builder: Some(Arc::clone(&builder) as Arc<dyn SectionBuilder>),
        ..quiet()
    };
    let storage = Storage::create(dir.path(), with_builder).unwrap();
    let c = storage.create_collection("c", 64, b"").unwrap();
    let check = |storage: &Storage| {
        let view = storage.snapshot().collection(c).unwrap();
        for part in view.parts() {
            let ids: Vec<u8> = part
                .ids()
                .unwrap()
                .iter()
                .rev()
                .flat_map(|id| id.to_le_bytes())
                .collect();
            let section = part.section("backwards").unwrap();
            assert_eq!((section.version(), section.len()), (3, ids.len() as u64));
            assert_eq!(section.bytes(0..ids.len() as u64).unwrap(), ids);
            assert_eq!(section.bytes(8..16).unwrap(), &ids[8..16]);
            for range in [0..section.len() + 1, u64::MAX - 1..u64::MAX] {
                assert!(matches!(section.bytes(range), Err(Error::Corrupt { .. })));
            }
            let payload = part.payload(0).unwrap().unwrap_or(b"none");
            assert_eq!(
                part.section("first payload")
                    .unwrap()
                    .bytes(0..payload.len() as u64)
                    .unwrap(),
                payload
            );
            assert!(part.section("no such").is_none() && part.section("ids").is_none());
        }
        view.parts().len()
    };
    for start in [0, 3000, 6000] {
        let ids: Vec<u64> = (start..start + 3000).map(|n| n * 7 % 9001).collect();
        insert(&storage, c, &ids).unwrap();
        storage.flush().unwrap();
    }
    assert_eq!(check(&storage), 3);
    let mut batch = Batch::new();
    batch.delete(c, &(0..9001).step_by(3).collect::<Vec<u64>>());
    storage.commit(batch).unwrap();
    storage.compact(None).unwrap();
    assert_eq!(check(&storage), 1);
    assert!(storage.stats().collections[0].bytes.indexes > 6000 * 8);
    // A builder that fails ends the flush, and all is as before.
    builder.fails.store(true, Ordering::Relaxed);
    insert(&storage, c, &[20_000, 20_001]).unwrap();
    assert!(matches!(storage.flush(), Err(Error::BadSection { name }) if name == "ids"));
    builder.fails.store(false, Ordering::Relaxed);
    storage.flush().unwrap();
    assert_eq!(check(&storage), 2);
    storage.close().unwrap();
    assert!(verify(dir.path()).unwrap().is_clean());
    // Who knows nothing of the sections reads the rest.
    let storage = Storage::open(dir.path(), quiet()).unwrap();
    assert_eq!(read_all(&storage).unwrap()["c"].len(), 6002);
}

#[test]
fn ids_are_told_apart_by_filters_over_many_segments() {
    let dir = tempfile::tempdir().unwrap();
    let storage = Storage::create(dir.path(), quiet()).unwrap();
    let c: CollectionId = storage.create_collection("c", 64, b"").unwrap();
    let id = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 1;
    for part in 0..3 {
        let ids: Vec<u64> = (part * 5000..part * 5000 + 5000).map(id).collect();
        insert(&storage, c, &ids).unwrap();
        storage.flush().unwrap();
    }
    let error = insert(&storage, c, &[id(99_999), id(7_777)]).unwrap_err();
    assert!(matches!(error, Error::DuplicateId { id: found, .. } if found == id(7_777)));
    let view = storage.snapshot().collection(c).unwrap();
    assert_eq!(view.parts().len(), 3);
    assert!((0..15_000).all(|n| view.find(id(n)).unwrap().is_some()));
    assert!((15_000..30_000).all(|n| view.find(id(n)).unwrap().is_none()));
    let bytes = storage.stats().collections[0].bytes;
    assert!((15_000..30_000).contains(&bytes.indexes), "{bytes:?}");
}
