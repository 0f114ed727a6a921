//! Bytes on disk that are not what was written: right data or a typed error, never a panic and never
//! wrong data.

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use bitkin_storage::{Batch, Error, Options, Storage, verify};
use common::*;

/// A closed database with segments, a sealed log and two collections.
fn closed_database(path: &Path) -> BTreeMap<String, Rows> {
    let chosen = quiet();
    let storage = Storage::create(path, chosen).unwrap();
    let a = storage.create_collection("a", 64, b"properties").unwrap();
    let b = storage.create_collection("b", 20 * 8, b"").unwrap();
    insert(&storage, a, &(0..20).collect::<Vec<_>>()).unwrap();
    insert(&storage, b, &[7, 5]).unwrap();
    storage.flush().unwrap();
    let mut batch = Batch::new();
    batch.delete(a, &[3, 19]).delete(b, &[5]);
    storage.commit(batch).unwrap();
    storage.flush().unwrap();
    insert(&storage, a, &[100, 90, 95]).unwrap();
    insert(&storage, b, &[1, 2, 3]).unwrap();
    let mut batch = Batch::new();
    batch.delete(a, &[7, 90]);
    storage.commit(batch).unwrap();
    let rows = read_all(&storage).unwrap();
    storage.close().unwrap();
    assert!(files(path).iter().any(|name| name.ends_with(".del")));
    assert!(verify(path).unwrap().is_clean());
    rows
}

/// Whether a read or an opening met damage in a way that a caller can understand.
fn is_typed(error: &Error) -> bool {
    matches!(
        error,
        Error::Corrupt { .. }
            | Error::UnsupportedVersion { .. }
            | Error::UnsupportedFeature { .. }
            | Error::MissingFile { .. }
    )
}

/// Opens and reads everything: the right rows, or an error.
fn read_damaged(path: &Path, rows: &BTreeMap<String, Rows>, context: &str) -> Result<(), Error> {
    let storage = Storage::open_read_only(path)?;
    let found = read_all(&storage)?;
    assert_eq!(&found, rows, "{context}: wrong rows");
    assert_eq!(
        storage.collection("a").unwrap().properties,
        b"properties",
        "{context}"
    );
    Ok(())
}

#[test]
fn every_byte_of_a_closed_database_flipped() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let rows = closed_database(&path);
    let (mut flips, mut noticed) = (0, 0);
    for name in files(&path).into_iter().filter(|name| name != "LOCK") {
        let file = path.join(&name);
        let whole = std::fs::read(&file).unwrap();
        for (at, byte) in whole.iter().enumerate() {
            set_byte(&file, at, byte ^ (1 << (at % 8)));
            let context = format!("{name}, byte {at}");
            flips += 1;
            if let Err(error) = read_damaged(&path, &rows, &context) {
                assert!(is_typed(&error), "{context}: {error:?}");
                assert!(error.to_string().contains(&name), "{context}: {error}");
                noticed += 1;
            }
            set_byte(&file, at, *byte);
        }
    }
    // Most flips are in the gap before the codes of a segment, which is in a block that is read.
    assert_eq!(noticed, flips, "every flip was noticed");
    read_damaged(&path, &rows, "restored").unwrap();
}

#[test]
fn verify_names_every_flipped_byte() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    closed_database(&path);
    for name in files(&path).into_iter().filter(|name| name != "LOCK") {
        let file = path.join(&name);
        let whole = std::fs::read(&file).unwrap();
        for at in (0..whole.len()).step_by(7) {
            set_byte(&file, at, whole[at] ^ 0x10);
            let report = verify(&path).unwrap();
            assert!(
                report.problems.iter().any(|problem| problem.file == name),
                "{name}, byte {at}: {report:?}"
            );
            set_byte(&file, at, whole[at]);
        }
    }
    assert!(verify(&path).unwrap().is_clean());
}

#[test]
fn every_file_cut_at_every_length_or_gone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let rows = closed_database(&path);
    for name in files(&path).into_iter().filter(|name| name != "LOCK") {
        let file = path.join(&name);
        let whole = std::fs::read(&file).unwrap();
        for length in (0..whole.len()).rev() {
            set_length(&file, length);
            let context = format!("{name} cut to {length}");
            let error = read_damaged(&path, &rows, &context).expect_err(&context);
            assert!(is_typed(&error), "{context}: {error:?}");
        }
        std::fs::remove_file(&file).unwrap();
        let error = read_damaged(&path, &rows, "gone").expect_err(&name);
        if name == "MANIFEST" {
            assert!(matches!(error, Error::NotADatabase { .. }), "{error:?}");
        } else {
            let missing = matches!(&error, Error::MissingFile { file } if *file == name);
            assert!(missing, "{name}: {error:?}");
            assert_eq!(verify(&path).unwrap().problems[0].file, name);
        }
        std::fs::write(&file, &whole).unwrap();
    }
    read_damaged(&path, &rows, "restored").unwrap();
}

#[test]
fn a_writer_does_not_open_or_change_a_damaged_database() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let rows = closed_database(&path);
    for suffix in [".log", "MANIFEST"] {
        let file = only(&path, suffix);
        let whole = std::fs::read(&file).unwrap();
        let mut bytes = whole.clone();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&file, &bytes).unwrap();
        let before = files(&path);
        let error = Storage::open(&path, options()).unwrap_err();
        assert!(is_typed(&error), "{error:?}");
        assert_eq!(files(&path), before);
        assert_eq!(std::fs::read(&file).unwrap(), bytes);
        std::fs::write(&file, &whole).unwrap();
    }
    read_damaged(&path, &rows, "restored").unwrap();
}

/// A database whose writer was not closed, with one batch of three rows a commit.
fn unclosed_database(path: &Path, commits: u64) -> std::path::PathBuf {
    let storage = Storage::create(path, options()).unwrap();
    let c = storage.create_collection("c", 64, b"").unwrap();
    for i in 0..commits {
        insert(&storage, c, &[i * 3, i * 3 + 1, i * 3 + 2]).unwrap();
    }
    drop(storage);
    // The zeros that were written ahead of the records take no part.
    let log = only(path, ".log");
    let bytes = std::fs::read(&log).unwrap();
    let end = bytes.iter().rposition(|&byte| byte != 0).unwrap() + 1;
    set_length(&log, end.next_multiple_of(8));
    log
}

#[test]
fn a_torn_tail_is_cut_and_damage_in_the_middle_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    const COMMITS: u64 = 6;
    let log = unclosed_database(&path, COMMITS);
    let whole = std::fs::read(&log).unwrap();
    // Each commit was synced before the next, so that only the last may be cut off.
    for (at, byte) in whole.iter().enumerate() {
        set_byte(&log, at, byte ^ 0x40);
        match Storage::open_read_only(&path) {
            Ok(storage) => {
                let rows = read_all(&storage).unwrap().remove("c").unwrap();
                assert_eq!(rows, expected(0..(COMMITS - 1) * 3, 8), "byte {at}");
            }
            Err(error) => assert!(is_typed(&error), "byte {at}: {error:?}"),
        }
        set_byte(&log, at, *byte);
    }
    let middle = whole.len() / 2;
    let mut bytes = whole.clone();
    bytes[middle] ^= 0x40;
    std::fs::write(&log, &bytes).unwrap();
    for error in [
        Storage::open_read_only(&path).unwrap_err(),
        Storage::open(&path, options()).unwrap_err(),
    ] {
        assert!(matches!(error, Error::Corrupt { .. }), "{error:?}");
    }
    let report = verify(&path).unwrap();
    assert!(report.problems[0].file.ends_with(".log"), "{report:?}");
    let offset = report.problems[0].offset.unwrap() as usize;
    assert!(
        offset <= middle && middle < offset + 200,
        "{offset} of {middle}"
    );
    assert_eq!(std::fs::read(&log).unwrap(), bytes, "nothing was cut off");

    // Garbage behind the last record is what a crash leaves of the next.
    let mut bytes = whole.clone();
    bytes.extend_from_slice(&[0; 100]);
    bytes.extend_from_slice(b"BitkRec\n");
    bytes.extend_from_slice(&[0xff; 77]);
    std::fs::write(&log, &bytes).unwrap();
    let report = verify(&path).unwrap();
    assert!(
        report.is_clean() && report.unfinished_bytes == 185,
        "{report:?}"
    );
    let storage = Storage::open(&path, options()).unwrap();
    assert_eq!(
        read_all(&storage).unwrap()["c"],
        expected(0..COMMITS * 3, 8)
    );
}

#[test]
fn a_log_cut_at_every_length_gives_its_whole_batches() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let log = unclosed_database(&path, 4);
    let whole = std::fs::read(&log).unwrap();
    let mut seen = 4;
    for length in (0..=whole.len()).rev() {
        set_length(&log, length);
        match Storage::open_read_only(&path) {
            Ok(storage) => {
                let rows = read_all(&storage).unwrap().remove("c").unwrap_or_default();
                let batches = rows.len() as u64 / 3;
                assert_eq!(rows, expected(0..batches * 3, 8), "cut to {length}");
                assert!(batches == seen || batches + 1 == seen, "cut to {length}");
                seen = batches;
            }
            // Only the header is needed: it was synced before the manifest named the log.
            Err(error) => assert!(
                is_typed(&error) && length < 64,
                "cut to {length}: {error:?}"
            ),
        }
    }
    assert_eq!(seen, 0);
    // And a writer goes on behind the cut.
    std::fs::write(&log, &whole[..whole.len() - 1]).unwrap();
    let storage = Storage::open(&path, options()).unwrap();
    let c = storage.collection("c").unwrap().id;
    insert(&storage, c, &[1000]).unwrap();
    drop(storage);
    let storage = Storage::open(&path, options()).unwrap();
    assert_eq!(
        read_all(&storage).unwrap()["c"],
        expected((0..9).chain([1000]), 8)
    );
}

#[test]
fn unknown_format_versions_are_refused_by_name_and_number() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    closed_database(&path);
    for name in files(&path).into_iter().filter(|name| name != "LOCK") {
        let file = path.join(&name);
        let whole = std::fs::read(&file).unwrap();
        let mut bytes = whole.clone();
        bytes[8..12].copy_from_slice(&77_u32.to_le_bytes());
        std::fs::write(&file, &bytes).unwrap();
        for error in [
            Storage::open_read_only(&path).unwrap_err(),
            Storage::open(&path, options()).unwrap_err(),
        ] {
            let right = matches!(
                &error,
                Error::UnsupportedVersion { file, found: 77, supported: 1 } if *file == name
            );
            assert!(right, "{name}: {error:?}");
            let message = error.to_string();
            assert!(
                message.contains("77") && message.contains("version 1"),
                "{message}"
            );
        }
        std::fs::write(&file, &whole).unwrap();
    }
}

#[test]
fn blocks_are_checked_when_they_are_touched_and_not_before() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let storage = Storage::create(&path, options()).unwrap();
    let c = storage.create_collection("c", 256, b"").unwrap();
    // 160 kB of ids and 640 kB of codes: many blocks of 16 KiB.
    let ids: Vec<u64> = (0..20_000).map(|i| i * 2).collect();
    insert(&storage, c, &ids).unwrap();
    storage.flush().unwrap();
    storage.close().unwrap();
    let segment = only(&path, ".seg");
    let mut bytes = std::fs::read(&segment).unwrap();
    let at = 10 * 16384 + 4096 + 300_000;
    bytes[at] ^= 1;
    std::fs::write(&segment, &bytes).unwrap();
    for memory_map in [true, false] {
        let storage = Storage::open(
            &path,
            Options {
                memory_map,
                ..options()
            },
        )
        .unwrap();
        let view = storage.snapshot().collection(c).unwrap();
        let part = &view.parts()[0];
        assert_eq!(view.find(39_998).unwrap(), Some((0, 19_999)));
        assert_eq!(view.find(39_997).unwrap(), None);
        assert_eq!(part.code(19_999).unwrap().unwrap(), code_of(39_998, 32));
        let mut damaged = 0;
        for row in 0..20_000 {
            match part.code(row) {
                Ok(code) => assert_eq!(code.unwrap(), code_of(u64::from(row) * 2, 32)),
                Err(Error::Corrupt { offset, .. }) => {
                    assert_eq!(offset, (at / 16384 * 16384) as u64);
                    damaged += 1;
                }
                Err(error) => panic!("{error}"),
            }
        }
        assert!(
            (512..=514).contains(&damaged),
            "one block of rows: {damaged}"
        );
        assert!(part.codes().is_err());
        assert_eq!(part.ids().unwrap(), ids);
    }
    let report = verify(&path).unwrap();
    assert_eq!(report.problems.len(), 1);
    assert_eq!(report.problems[0].offset, Some((at / 16384 * 16384) as u64));
}

#[test]
fn files_swapped_between_segments_are_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let storage = Storage::create(&path, options()).unwrap();
    let c = storage.create_collection("c", 64, b"").unwrap();
    for first in [0, 10] {
        insert(&storage, c, &[first, first + 1]).unwrap();
        storage.flush().unwrap();
    }
    storage.close().unwrap();
    let names: Vec<String> = files(&path)
        .into_iter()
        .filter(|n| n.ends_with(".seg"))
        .collect();
    let bytes = std::fs::read(path.join(&names[0])).unwrap();
    std::fs::write(path.join(&names[1]), bytes).unwrap();
    let error = Storage::open_read_only(&path).unwrap_err();
    assert!(
        matches!(&error, Error::Corrupt { file, .. } if *file == names[1]),
        "{error}"
    );
}

#[test]
fn a_sealed_log_of_another_database_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let paths = ["one", "two"].map(|name| dir.path().join(name));
    for (path, ids) in paths.iter().zip([[1, 2], [5, 7]]) {
        let storage = Storage::create(path, options()).unwrap();
        let c = storage.create_collection("c", 64, b"").unwrap();
        insert(&storage, c, &ids).unwrap();
        storage.close().unwrap();
    }
    // Numbers, sequences and every checksum in it are right.
    let logs = paths.each_ref().map(|path| only(path, ".log"));
    assert_eq!(
        logs[0].metadata().unwrap().len(),
        logs[1].metadata().unwrap().len()
    );
    std::fs::copy(&logs[1], &logs[0]).unwrap();
    let error = Storage::open_read_only(&paths[0]).unwrap_err();
    assert!(
        matches!(&error, Error::Corrupt { file, .. } if file.ends_with(".log")),
        "{error}"
    );
}
