//! What several tests share: small databases, and a plain picture of what they must hold.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary uses its own part"
)]

pub mod workload;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bitkin_storage::{Batch, CollectionId, CollectionView, Error, Options, Storage};

/// id -> (code, payload)
pub type Rows = BTreeMap<u64, (Vec<u8>, Option<Vec<u8>>)>;

/// Reads every row through every way of reading, and checks that they agree.
pub fn read_rows(view: &CollectionView) -> Result<Rows, Error> {
    let code_bytes = view.info().code_bytes();
    let mut rows = Rows::new();
    for (index, part) in view.parts().iter().enumerate() {
        // One by one first: the whole sections are then partly checked already.
        let is_deleted = |row| part.deleted().is_some_and(|rows| rows.contains(row));
        for row in 0..part.len() as u32 {
            let id = part.id(row)?.expect("a row of the part has an id");
            if is_deleted(row) {
                let found = view.find(id)?;
                assert_ne!(
                    found,
                    Some((index, row)),
                    "id {id} is not found where it was"
                );
                continue;
            }
            assert_eq!(
                view.find(id)?,
                Some((index, row)),
                "id {id} is found where it is"
            );
            let code = part
                .code(row)?
                .expect("a row of the part has a code")
                .to_vec();
            let payload = part.payload(row)?.map(<[u8]>::to_vec);
            assert!(
                rows.insert(id, (code, payload)).is_none(),
                "id {id} is there once"
            );
        }
        assert_eq!(part.id(part.len() as u32)?, None);
        assert_eq!(part.code(part.len() as u32)?, None);
        assert_eq!(part.payload(part.len() as u32)?, None);
        let (ids, codes) = (part.ids()?, part.codes()?);
        assert_eq!(
            (ids.len(), codes.len()),
            (part.len(), part.len() * code_bytes)
        );
        assert!(ids.is_sorted_by(|a, b| a < b));
        assert_eq!(ids.first().copied()..=ids.last().copied(), {
            let range = part.id_range();
            Some(*range.start())..=Some(*range.end())
        });
        assert_eq!(
            part.live(),
            (0..part.len() as u32)
                .filter(|&row| !is_deleted(row))
                .count() as u64
        );
        for (row, (id, code)) in ids.iter().zip(codes.chunks_exact(code_bytes)).enumerate() {
            assert!(is_deleted(row as u32) || rows[id].0 == code);
        }
    }
    assert_eq!(view.len(), rows.len() as u64);
    Ok(rows)
}

/// All rows of all collections, by name.
pub fn read_all(storage: &Storage) -> Result<BTreeMap<String, Rows>, Error> {
    let snapshot = storage.snapshot();
    let mut all = BTreeMap::new();
    for info in snapshot.collections() {
        let view = snapshot
            .collection(info.id)
            .expect("a listed collection is there");
        all.insert(info.name, read_rows(&view)?);
    }
    Ok(all)
}

/// A code that is a function of the id, so that a wrong row shows.
pub fn code_of(id: u64, code_bytes: usize) -> Vec<u8> {
    let mut state = id ^ 0x9e37_79b9_7f4a_7c15;
    (0..code_bytes)
        .map(|_| {
            state = state
                .wrapping_mul(0x5851_f42d_4c95_7f2d)
                .wrapping_add(0x1405_7b7e_f767_814f);
            (state >> 56) as u8
        })
        .collect()
}

/// Inserts rows whose codes follow from their ids; every third has a payload.
pub fn insert(storage: &Storage, collection: CollectionId, ids: &[u64]) -> Result<u64, Error> {
    let mut batch = Batch::new();
    add(&mut batch, collection, ids);
    Ok(storage.commit(batch)?.sequence)
}

/// Adds to a batch what [`insert`] inserts.
pub fn add(batch: &mut Batch, collection: CollectionId, ids: &[u64]) {
    let codes: Vec<u8> = ids
        .iter()
        .flat_map(|&id| code_of(id, collection.code_bytes()))
        .collect();
    let payloads: Vec<Option<Vec<u8>>> = ids.iter().map(|&id| payload_of(id)).collect();
    let payloads: Vec<Option<&[u8]>> = payloads.iter().map(|p| p.as_deref()).collect();
    batch.insert(collection, Some(ids), &codes, Some(&payloads));
}

pub fn payload_of(id: u64) -> Option<Vec<u8>> {
    match id % 3 {
        0 => Some(format!("{{\"id\":{id}}}").into_bytes()),
        1 if id.is_multiple_of(2) => Some(Vec::new()),
        _ => None,
    }
}

/// What [`insert`] of these ids leaves.
pub fn expected(ids: impl IntoIterator<Item = u64>, code_bytes: usize) -> Rows {
    ids.into_iter()
        .map(|id| (id, (code_of(id, code_bytes), payload_of(id))))
        .collect()
}

pub fn options() -> Options {
    Options::default()
}

/// Options with no threads: a commit that finds memory full does it all.
pub fn quiet() -> Options {
    Options {
        background: false,
        ..options()
    }
}

/// All files of a database, relative to its directory, in order.
pub fn files(dir: &Path) -> Vec<String> {
    fn walk(dir: &Path, prefix: &str, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
            if entry.file_type().unwrap().is_dir() {
                walk(&entry.path(), &format!("{name}/"), found);
            } else {
                found.push(name);
            }
        }
    }
    let mut found = Vec::new();
    walk(dir, "", &mut found);
    found.sort();
    found
}

/// Copies all files of a database.
pub fn copy(from: &Path, to: &Path) {
    for name in files(from) {
        let dest = to.join(&name);
        std::fs::create_dir_all(dest.parent().unwrap()).unwrap();
        std::fs::copy(from.join(&name), dest).unwrap();
    }
}

/// The only file whose name ends so.
pub fn only(dir: &Path, suffix: &str) -> PathBuf {
    let found: Vec<String> = files(dir)
        .into_iter()
        .filter(|n| n.ends_with(suffix))
        .collect();
    assert_eq!(found.len(), 1, "one file ends in {suffix}: {found:?}");
    dir.join(&found[0])
}

/// Changes one byte of a file where it is, which is quicker than writing the file anew.
pub fn set_byte(file: &Path, at: usize, byte: u8) {
    use std::io::{Seek, SeekFrom, Write};
    let mut file = std::fs::OpenOptions::new().write(true).open(file).unwrap();
    file.seek(SeekFrom::Start(at as u64)).unwrap();
    file.write_all(&[byte]).unwrap();
}

/// Cuts a file.
pub fn set_length(file: &Path, length: usize) {
    let file = std::fs::OpenOptions::new().write(true).open(file).unwrap();
    file.set_len(length as u64).unwrap();
}
