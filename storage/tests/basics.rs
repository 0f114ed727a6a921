//! The interface as a caller sees it: what goes in comes out, and what must not go in is refused.

mod common;

use std::sync::Arc;

use bitkin_storage::{Batch, Durability, Error, Options, Storage, verify};
use common::*;

#[test]
fn rows_survive_flush_close_and_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("deep/er/db");
    let storage = Storage::create(&path, options()).unwrap();
    let a = storage.create_collection("a", 64, b"{\"x\":1}").unwrap();
    let b = storage.create_collection("b", 100, b"").unwrap();
    assert_eq!(insert(&storage, a, &[5, 3, 9]).unwrap(), 3);
    storage.flush().unwrap();
    let mut batch = Batch::new();
    add(&mut batch, a, &[1, 100]);
    batch.insert(b, None, &[7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 15], None);
    add(&mut batch, a, &[50]);
    let commit = storage.commit(batch).unwrap();
    assert_eq!(
        (commit.sequence, commit.assigned),
        (4, vec![None, Some(0..1), None])
    );

    let check = |storage: &Storage| {
        let all = read_all(storage).unwrap();
        assert_eq!(all["a"], expected([1, 3, 5, 9, 50, 100], 8));
        assert_eq!(all["b"].len(), 1);
        assert_eq!(storage.collection("a").unwrap().properties, b"{\"x\":1}");
        assert_eq!(storage.snapshot().sequence(), 4);
        let names: Vec<String> = storage.collections().into_iter().map(|c| c.name).collect();
        assert_eq!(names, ["a", "b"]);
    };
    check(&storage);
    storage.close().unwrap();
    assert!(verify(&path).unwrap().is_clean());
    check(&Storage::open_read_only(&path).unwrap());
    // Without the map too, and dropped without a close.
    let storage = Storage::open(
        &path,
        Options {
            memory_map: false,
            ..options()
        },
    )
    .unwrap();
    check(&storage);
    drop(storage);
    let storage = Storage::open(&path, options()).unwrap();
    check(&storage);
    storage.flush().unwrap();
    check(&storage);
    let stats = storage.stats();
    assert_eq!((stats.rows, stats.memory_bytes, stats.logs), (7, 0, 1));
    assert_eq!(stats.collections[0].segments, 2);
    assert_eq!(stats.collections[0].bytes.ids, 6 * 8);
    assert_eq!(stats.collections[1].bytes.codes, 13);
    let on_disk = |suffix: &str| -> u64 {
        let of_kind = files(&path)
            .into_iter()
            .filter(|name| name.ends_with(suffix));
        of_kind
            .map(|name| path.join(name).metadata().unwrap().len())
            .sum()
    };
    assert_eq!(stats.segment_bytes, on_disk(".seg"));
    assert_eq!(stats.log_bytes, on_disk(".log"));
    assert_eq!(stats.manifest_bytes, on_disk("MANIFEST"));
    assert!(verify(&path).unwrap().is_clean());
}

#[test]
fn refusals_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let storage = Storage::create(dir.path(), options()).unwrap();
    let c = storage.create_collection("c", 12, b"").unwrap();
    insert_plain(&storage, &[(10, [1, 2]), (20, [3, 4])]);
    storage.flush().unwrap();
    insert_plain(&storage, &[(15, [5, 6])]);
    let before = read_all(&storage).unwrap();
    let sequence = storage.snapshot().sequence();

    let other = tempfile::tempdir().unwrap();
    let foreign = Storage::create(other.path(), options()).unwrap();
    let foreign = foreign.create_collection("elsewhere", 64, b"").unwrap();

    let refuse = |ids: Option<&[u64]>, codes: &[u8], payloads: Option<&[Option<&[u8]>]>| {
        let mut batch = Batch::new();
        // A row that could be written stands before: it must not be.
        batch.insert(c, Some(&[1]), &[0, 0], None);
        batch.insert(c, ids, codes, payloads);
        let error = storage.commit(batch).unwrap_err();
        assert_eq!(read_all(&storage).unwrap(), before);
        assert_eq!(storage.snapshot().sequence(), sequence);
        error
    };
    let message = refuse(Some(&[15]), &[0, 0], None).to_string();
    assert_eq!(message, "collection \"c\" holds id 15 already");
    for id in [10, 15, 20] {
        let error = refuse(Some(&[30, id]), &[0; 4], None);
        assert!(
            matches!(error, Error::DuplicateId { id: found, .. } if found == id),
            "{error}"
        );
    }
    assert!(matches!(
        refuse(Some(&[1]), &[0; 2], None),
        Error::RepeatedId { id: 1, .. }
    ));
    assert!(matches!(
        refuse(Some(&[7, 8, 7]), &[0; 6], None),
        Error::RepeatedId { id: 7, .. }
    ));
    assert!(matches!(
        refuse(Some(&[u64::MAX]), &[0; 2], None),
        Error::ReservedId { .. }
    ));
    assert!(matches!(
        refuse(Some(&[7]), &[0; 3], None),
        Error::CodeLength { found: 3, .. }
    ));
    assert!(matches!(
        refuse(Some(&[7]), &[], None),
        Error::CodeLength { .. }
    ));
    assert!(matches!(
        refuse(None, &[0; 3], None),
        Error::CodeLength { rows: None, .. }
    ));
    let error = refuse(Some(&[7, 8]), &[0, 0, 0, 16], None);
    assert!(
        matches!(
            error,
            Error::PaddingBits {
                row: 1,
                bits: 12,
                ..
            }
        ),
        "{error}"
    );
    let error = refuse(Some(&[7]), &[0, 0], Some(&[]));
    assert!(
        matches!(
            error,
            Error::PayloadCount {
                rows: 1,
                found: 0,
                ..
            }
        ),
        "{error}"
    );

    let mut batch = Batch::new();
    batch.insert(foreign, Some(&[1]), &[0; 8], None);
    let error = storage.commit(batch).unwrap_err();
    assert!(
        matches!(error, Error::UnknownCollection { number: 1 }),
        "{error}"
    );

    let error = |name: &str, bits| storage.create_collection(name, bits, b"").unwrap_err();
    assert!(matches!(error("c", 64), Error::CollectionExists { .. }));
    assert!(matches!(error("", 64), Error::BadName { .. }));
    assert!(matches!(error("a\nb", 64), Error::BadName { .. }));
    assert!(matches!(error(&"x".repeat(256), 64), Error::BadName { .. }));
    for bits in [0, 7, 65_537] {
        assert!(matches!(error("d", bits), Error::BadWidth { .. }));
    }
    assert_eq!(storage.snapshot().sequence(), sequence);
    // All is well after so many refusals.
    insert_plain(&storage, &[(1, [0, 0])]);
}

fn insert_plain(storage: &Storage, rows: &[(u64, [u8; 2])]) {
    let ids: Vec<u64> = rows.iter().map(|row| row.0).collect();
    let codes: Vec<u8> = rows.iter().flat_map(|row| row.1).collect();
    let id = storage.collection("c").unwrap().id;
    storage
        .commit(std::mem::take(Batch::new().insert(
            id,
            Some(&ids),
            &codes,
            None,
        )))
        .unwrap();
}

#[test]
fn ids_are_assigned_after_the_largest() {
    let dir = tempfile::tempdir().unwrap();
    let storage = Storage::create(dir.path(), options()).unwrap();
    let c = storage.create_collection("c", 8, b"").unwrap();
    let assign = |storage: &Storage, rows: usize| {
        let mut batch = Batch::new();
        batch.insert(c, None, &vec![0; rows], None);
        storage
            .commit(batch)
            .map(|commit| commit.assigned[0].clone().unwrap())
    };
    assert_eq!(assign(&storage, 3).unwrap(), 0..3);
    let mut batch = Batch::new();
    batch
        .insert(c, None, &[0; 2], None)
        .insert(c, Some(&[10]), &[0], None);
    batch.insert(c, None, &[0], None);
    let commit = storage.commit(batch).unwrap();
    assert_eq!(commit.assigned, [Some(3..5), None, Some(11..12)]);
    storage.flush().unwrap();
    storage.close().unwrap();
    let storage = Storage::open(dir.path(), options()).unwrap();
    assert_eq!(assign(&storage, 1).unwrap(), 12..13);
    insert(&storage, c, &[u64::MAX - 2]).unwrap();
    assert_eq!(assign(&storage, 1).unwrap(), u64::MAX - 1..u64::MAX);
    let error = assign(&storage, 1).unwrap_err();
    assert!(matches!(error, Error::IdsExhausted { largest, .. } if largest == u64::MAX - 1));
    assert!(assign(&storage, 0).unwrap().is_empty());
}

#[test]
fn creating_and_opening_the_wrong_directory() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    assert!(matches!(
        Storage::open(path, options()),
        Err(Error::NotADatabase { .. })
    ));
    assert!(matches!(
        Storage::open_read_only(path),
        Err(Error::NotADatabase { .. })
    ));
    assert!(matches!(verify(path), Err(Error::NotADatabase { .. })));
    assert!(files(path).is_empty(), "looking leaves nothing behind");
    let file = tempfile::NamedTempFile::new().unwrap();
    for nothing in [file.path(), &path.join("nowhere")] {
        let error = Storage::open(nothing, options()).unwrap_err();
        assert!(matches!(error, Error::NotADatabase { .. }), "{error}");
        let error = Storage::open_read_only(nothing).unwrap_err();
        assert!(matches!(error, Error::NotADatabase { .. }), "{error}");
    }
    std::fs::create_dir(path.join("models")).unwrap();
    assert!(matches!(
        Storage::create(path, options()),
        Err(Error::NotEmpty { .. })
    ));
    // What a creation that was killed leaves does not stop the next.
    std::fs::write(path.join("LOCK"), b"").unwrap();
    std::fs::create_dir(path.join("log")).unwrap();
    std::fs::write(path.join("log/0000000000000001.log"), b"half").unwrap();
    std::fs::write(path.join("MANIFEST.tmp"), b"half").unwrap();
    Storage::create(path, options()).unwrap().close().unwrap();
    assert!(matches!(
        Storage::create(path, options()),
        Err(Error::NotEmpty { .. })
    ));
    Storage::open(path, options()).unwrap();
}

#[test]
fn memory_over_the_limit_is_flushed_and_orphans_are_swept() {
    let dir = tempfile::tempdir().unwrap();
    let small = Options {
        memory_limit: 1000,
        background: false,
        ..options()
    };
    let storage = Storage::create(dir.path(), small).unwrap();
    let c = storage.create_collection("c", 64, b"").unwrap();
    for i in 0..100 {
        insert(&storage, c, &[i * 7 % 100, 1000 + i]).unwrap();
        assert!(storage.stats().memory_bytes < 1200);
    }
    let segments = storage.stats().collections[0].segments;
    assert!((1..8).contains(&segments), "written and merged: {segments}");
    let all = read_all(&storage).unwrap();
    assert_eq!(all["c"], expected((0..100).chain(1000..1100), 8));
    drop(storage);
    let listed = files(dir.path());
    for orphan in [
        "segments/0000000000009999.seg",
        "segments/0000000000009999.0000000000000012.del",
        "log/0000000000009999.log",
        "MANIFEST.tmp",
    ] {
        std::fs::write(dir.path().join(orphan), b"left by a crash").unwrap();
    }
    std::fs::write(dir.path().join("segments/README"), b"not ours").unwrap();
    assert!(verify(dir.path()).unwrap().is_clean());
    let storage = Storage::open(dir.path(), options()).unwrap();
    assert_eq!(read_all(&storage).unwrap(), all);
    let left = files(dir.path());
    assert!(
        !left
            .iter()
            .any(|name| name.contains("9999") || name.ends_with(".tmp")),
        "{left:?}"
    );
    assert!(left.contains(&"segments/README".to_owned()));
    let segments = |names: &[String]| names.iter().filter(|n| n.ends_with(".seg")).count();
    assert_eq!(segments(&left), segments(&listed));
}

#[test]
fn opening_again_and_again_does_not_gather_logs() {
    let dir = tempfile::tempdir().unwrap();
    let storage = Storage::create(dir.path(), options()).unwrap();
    let c = storage.create_collection("c", 64, b"").unwrap();
    drop(storage);
    for id in 0..50 {
        let storage = Storage::open(dir.path(), options()).unwrap();
        // Every other opening writes nothing.
        if id % 2 == 0 {
            insert(&storage, c, &[id]).unwrap();
        }
        if id % 3 == 0 {
            storage.close().unwrap()
        } else {
            drop(storage)
        }
    }
    let storage = Storage::open(dir.path(), options()).unwrap();
    assert_eq!(
        read_all(&storage).unwrap()["c"],
        expected((0..50).step_by(2), 8)
    );
    assert!(storage.stats().logs < 12, "{:?}", storage.stats());
}

#[test]
fn many_threads_commit_at_every_durability() {
    for durability in [
        Durability::Sync,
        Durability::None,
        Durability::Interval(std::time::Duration::from_millis(1)),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let chosen = Options {
            durability,
            memory_limit: 20_000,
            ..options()
        };
        let storage = Arc::new(Storage::create(dir.path(), chosen).unwrap());
        let c = storage.create_collection("c", 64, b"").unwrap();
        std::thread::scope(|scope| {
            for thread in 0..8_u64 {
                let storage = &storage;
                scope.spawn(move || {
                    for i in 0..60_u64 {
                        let ids = [(i * 8 + thread) * 2, (i * 8 + thread) * 2 + 1];
                        let sequence = insert(storage, c, &ids).unwrap();
                        // What was acknowledged is visible.
                        let snapshot = storage.snapshot();
                        assert!(snapshot.sequence() >= sequence);
                        let view = snapshot.collection(c).unwrap();
                        assert!(view.find(ids[1]).unwrap().is_some());
                    }
                });
            }
        });
        assert_eq!(
            storage.snapshot().sequence(),
            8 * 60 + 1,
            "sequences are dense"
        );
        storage.sync().unwrap();
        assert_eq!(read_all(&storage).unwrap()["c"], expected(0..960, 8));
        drop(storage);
        let storage = Storage::open(dir.path(), options()).unwrap();
        assert_eq!(read_all(&storage).unwrap()["c"], expected(0..960, 8));
        assert!(verify(dir.path()).unwrap().is_clean());
    }
}

#[test]
fn stored_files_are_whole_and_their_names_are_digests() {
    let dir = tempfile::tempdir().unwrap();
    let storage = Storage::create(dir.path(), options()).unwrap();
    // SHA-256 of "abc", from FIPS 180-2.
    let name = "models/ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert!(matches!(
        storage.read_file(name),
        Err(Error::NoSuchFile { .. })
    ));
    assert!(matches!(
        storage.put_file(name, b"abd"),
        Err(Error::DigestMismatch { .. })
    ));
    for bad in [
        "models/abc",
        "models/../x",
        &name.to_uppercase(),
        &name.replace("models/", ""),
    ] {
        assert!(
            matches!(
                storage.put_file(bad, b"abc"),
                Err(Error::BadFileName { .. })
            ),
            "{bad}"
        );
        assert!(
            matches!(storage.read_file(bad), Err(Error::BadFileName { .. })),
            "{bad}"
        );
    }
    storage.put_file(name, b"abc").unwrap();
    storage.put_file(name, b"abc").unwrap();
    assert_eq!(storage.read_file(name).unwrap(), b"abc");
    let reader = Storage::open_read_only(dir.path()).unwrap();
    assert_eq!(reader.read_file(name).unwrap(), b"abc");
    assert!(matches!(
        reader.put_file(name, b"abc"),
        Err(Error::ReadOnly)
    ));
    std::fs::write(dir.path().join(name), b"abx").unwrap();
    assert!(matches!(
        storage.read_file(name),
        Err(Error::Corrupt { .. })
    ));
    let report = verify(dir.path()).unwrap();
    assert_eq!(report.problems.len(), 1);
    assert_eq!(report.problems[0].file, name);
    storage.put_file(name, b"abc").unwrap();
    assert_eq!(storage.read_file(name).unwrap(), b"abc");
    assert!(verify(dir.path()).unwrap().is_clean());
}

#[test]
fn payloads_absent_empty_and_present_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let storage = Storage::create(dir.path(), options()).unwrap();
    let c = storage.create_collection("c", 8, b"").unwrap();
    let mut batch = Batch::new();
    batch.insert(c, Some(&[4]), &[0], None);
    batch.insert(
        c,
        Some(&[3, 2, 1]),
        &[0; 3],
        Some(&[None, Some(b""), Some(b"x")]),
    );
    batch.insert(c, Some(&[0]), &[0], None);
    storage.commit(batch).unwrap();
    let check = |storage: &Storage| {
        let all = read_all(storage).unwrap();
        let payloads: Vec<Option<Vec<u8>>> = all["c"].values().map(|row| row.1.clone()).collect();
        assert_eq!(
            payloads,
            [None, Some(b"x".to_vec()), Some(vec![]), None, None]
        );
    };
    check(&storage);
    drop(storage);
    let storage = Storage::open(dir.path(), options()).unwrap();
    check(&storage);
    storage.flush().unwrap();
    check(&storage);
}
