//! The corpora of the fuzz targets, in `fuzz/corpus`, by an ordinary test: what once led into a
//! corner of the code is tried on every change, without a fuzzer.

use std::path::Path;

use bitkin_storage::fuzzing;

fn replay(target: &str, run: fn(&[u8])) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    let mut runs = 0;
    for entry in std::fs::read_dir(dir.join(target)).unwrap() {
        run(&std::fs::read(entry.unwrap().path()).unwrap());
        runs += 1;
    }
    assert!(runs > 10, "{runs} inputs of {target}");
}

#[test]
fn manifests() {
    replay("manifest", fuzzing::manifest);
}

#[test]
fn log_records() {
    replay("log_record", fuzzing::log);
}

#[test]
fn segments() {
    replay("segment", fuzzing::segment);
}

#[test]
fn delete_files() {
    replay("delete_file", fuzzing::delete_file);
}

#[test]
fn databases() {
    replay("database", fuzzing::database);
}
