//! Databases that earlier versions wrote, in `tests/fixtures`: every later version must read them.
//!
//! A fixture is never changed. `cargo test -p bitkin-storage --test fixtures -- --ignored` writes one
//! of the present format into `target/tmp/fixture`, to be added under a new name when the format changes.

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bitkin_storage::{Batch, Storage, verify};
use common::*;

const MODEL: &str = "models/ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

/// What all fixtures hold.
fn contents() -> BTreeMap<String, Rows> {
    let id = |n: u64| n * 1_000_003 % (1 << 40);
    let mut sparse = expected((0..500).map(id).filter(|id| id % 50 != 7), 8);
    sparse.insert(id(3), (vec![0x77; 8], Some(b"replaced".to_vec())));
    let dense = expected((0..40).chain(100..104), 13);
    BTreeMap::from([
        ("dense".to_owned(), dense),
        ("empty".to_owned(), Rows::new()),
        ("sparse, \u{e4}\u{f6}\u{fc}".to_owned(), sparse),
    ])
}

/// A segment with a filter of ids and a delete file, one without, a log that is sealed with inserts
/// and deletes in it, a collection that is dropped, and a stored file.
fn write(path: &Path) {
    let options = quiet();
    let storage = Storage::create(path, options).unwrap();
    storage.put_file(MODEL, b"abc").unwrap();
    let sparse = storage
        .create_collection("sparse, \u{e4}\u{f6}\u{fc}", 64, b"{\"p\":1}")
        .unwrap();
    let dense = storage.create_collection("dense", 104, b"").unwrap();
    let gone = storage.create_collection("gone", 8, b"").unwrap();
    storage.create_collection("empty", 65_536, b"").unwrap();
    let id = |n: u64| n * 1_000_003 % (1 << 40);
    let ids: Vec<u64> = (0..500).map(id).collect();
    insert(&storage, sparse, &ids).unwrap();
    insert(&storage, dense, &(0..40).collect::<Vec<_>>()).unwrap();
    insert(&storage, gone, &[1]).unwrap();
    storage.flush().unwrap();
    let (some, others): (Vec<u64>, Vec<u64>) = ids
        .iter()
        .filter(|&&id| id % 50 == 7)
        .partition(|&&id| id % 100 == 7);
    let mut batch = Batch::new();
    batch.delete(sparse, &some);
    storage.commit(batch).unwrap();
    storage.flush().unwrap();
    let mut batch = Batch::new();
    batch.delete(sparse, &others);
    batch.upsert(sparse, &[id(3)], &[0x77; 8], Some(&[Some(b"replaced")]));
    add(&mut batch, dense, &[100, 101, 102, 103]);
    storage.commit(batch).unwrap();
    storage.drop_collection(gone).unwrap();
    storage.close().unwrap();
}

fn fixtures() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut found: Vec<PathBuf> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    found.sort();
    found
}

#[test]
fn what_earlier_versions_wrote_is_read_and_written_on() {
    let fixtures = fixtures();
    assert!(!fixtures.is_empty());
    for fixture in fixtures {
        let report = verify(&fixture).unwrap();
        assert!(report.is_clean(), "{}: {report:?}", fixture.display());
        let storage = Storage::open_read_only(&fixture).unwrap();
        assert_eq!(
            read_all(&storage).unwrap(),
            contents(),
            "{}",
            fixture.display()
        );
        let info = storage.collection("sparse, \u{e4}\u{f6}\u{fc}").unwrap();
        assert_eq!((info.bits, &info.properties[..]), (64, &b"{\"p\":1}"[..]));
        assert_eq!(storage.read_file(MODEL).unwrap(), b"abc");

        let dir = tempfile::tempdir().unwrap();
        copy(&fixture, dir.path());
        let storage = Storage::open(dir.path(), options()).unwrap();
        assert_eq!(read_all(&storage).unwrap(), contents());
        let dense = storage.collection("dense").unwrap().id;
        insert(&storage, dense, &[500]).unwrap();
        storage.compact(None).unwrap();
        let mut wanted = contents();
        wanted.get_mut("dense").unwrap().extend(expected([500], 13));
        assert_eq!(read_all(&storage).unwrap(), wanted);
        storage.close().unwrap();
        assert!(verify(dir.path()).unwrap().is_clean());
    }
}

#[test]
#[ignore = "writes a fixture of the present format"]
fn write_a_fixture() {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fixture");
    let _ = std::fs::remove_dir_all(&path);
    write(&path);
    let storage = Storage::open_read_only(&path).unwrap();
    assert_eq!(read_all(&storage).unwrap(), contents());
}
