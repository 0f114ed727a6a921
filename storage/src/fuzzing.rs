//! Ways in for fuzzers: bytes as they might stand in files, with right checksums, so that what is
//! fuzzed is what comes behind them. None of these may panic, hang, or allocate without bound.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::batch::{CollectionId, CollectionInfo};
use crate::disk::Disk;
use crate::disk::simulated::SimulatedDisk;
use crate::log::{self, Found};
use crate::manifest::{LogRecord, Manifest};
use crate::recover::apply;
use crate::state::State;
use crate::{deleted, segment};

/// Reads the bytes as the body of a manifest.
pub fn manifest(body: &[u8]) {
    let _ = Manifest::decode_body(body);
}

/// Reads the bytes as a segment.
pub fn segment(bytes: &[u8]) {
    segment::fuzzing::segment(bytes);
}

/// Reads the bytes as what a delete file holds behind its header.
pub fn delete_file(body: &[u8]) {
    let _ = deleted::decode("fuzzed", &deleted::with_header(7, 42, 3, body));
}

/// Reads the bytes as the bodies of log records, each behind its length as a byte, does what they
/// say, and then reads them as a whole log file.
pub fn log(bytes: &[u8]) {
    let mut state = State::default();
    for (number, bits) in [(1, 16), (2, 64)] {
        let info = CollectionInfo {
            id: CollectionId { number, bits },
            name: number.to_string(),
            bits,
            properties: Vec::new(),
        };
        state.add_collection(info, None);
    }
    let mut rest = bytes;
    while let Some((&length, behind)) = rest.split_first() {
        let (body, behind) = behind.split_at(behind.len().min(usize::from(length)));
        rest = behind;
        let sequence = state.sequence + 1;
        if let Some(operations) = log::decode(body, sequence) {
            let mut next = state.clone();
            if apply(&mut next, true, "fuzzed", sequence, operations).is_ok() {
                state = next;
            }
        }
    }
    let rows: u64 = state.collections.iter().map(|c| c.rows).sum();
    let live: u64 = state
        .collections
        .iter()
        .flat_map(|c| &c.parts)
        .map(|part| part.live())
        .sum();
    assert_eq!(rows, live, "rows are counted as they are");

    let disk = SimulatedDisk::new();
    disk.put(&log::file_name(3), bytes);
    let record = LogRecord {
        number: 3,
        first_sequence: 1,
        seed: 5,
        seal: None,
    };
    let mut batches = BTreeMap::new();
    let _ = log::replay(&disk, &record, None, |sequence, operations| {
        batches.insert(sequence, operations.len());
        Ok(())
    });
    let _ = log::salvage(&disk, 3, Some(5), |found| {
        if let Found::Batch(sequence, operations) = found {
            batches.entry(sequence).or_insert(operations.len());
        }
        Ok(())
    });
}

/// Reads the files of a database out of the bytes, opens it, reads it, verifies it and repairs it:
/// for each file a byte for its name and two for its length, then its bytes.
pub fn database(bytes: &[u8]) {
    const NAMES: [&str; 6] = [
        "MANIFEST",
        "log/0000000000000001.log",
        "log/0000000000000002.log",
        "segments/0000000000000001.seg",
        "segments/0000000000000002.seg",
        "segments/0000000000000001.0000000000000003.del",
    ];
    let disk = SimulatedDisk::new();
    let mut rest = bytes;
    while let [name, low, high, behind @ ..] = rest {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(behind.len());
        let (file, behind) = behind.split_at(length);
        disk.put(NAMES[usize::from(*name) % NAMES.len()], file);
        rest = behind;
    }
    let _ = disk.create_dir("models");
    let _ = crate::verify_on(&disk);
    if let Ok(storage) = crate::Storage::open_read_only_on(Arc::new(disk.clone())) {
        for info in storage.collections() {
            let Some(view) = storage.snapshot().collection(info.id) else {
                continue;
            };
            for part in view.parts() {
                let _ = (part.ids(), part.codes(), part.payload(0), part.find(1));
            }
        }
    }
    let _ = crate::repair_on(&disk, Arc::new(SimulatedDisk::new()), None);
}
