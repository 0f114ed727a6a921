//! Ways in for fuzzers: bytes as they might stand in files, with right checksums, so that what is
//! fuzzed is what comes behind them. None of these may panic, hang, or allocate without bound.

use std::sync::Arc;

use crate::batch::{CollectionId, CollectionInfo};
use crate::bytes::{checksum, u64_at};
use crate::disk::Disk;
use crate::disk::simulated::SimulatedDisk;
use crate::log;
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
    let _ = log::replay(&disk, &record, None, |_, _| Ok(()));
    let _ = log::salvage(&disk, 3, Some(5), |_| Ok(()));
}

/// Reads the files of a database out of the bytes, opens it, reads it, verifies it and repairs it:
/// for each file a byte for its name and two for its length, then its bytes. The highest bit of the
/// byte for the name says that the checksums are to be mended.
pub fn database(bytes: &[u8]) {
    const NAMES: [&str; 9] = [
        "MANIFEST",
        "log/0000000000000001.log",
        "log/0000000000000002.log",
        "log/0000000000000003.log",
        "segments/0000000000000001.seg",
        "segments/0000000000000002.seg",
        "segments/0000000000000003.seg",
        "segments/0000000000000001.0000000000000003.del",
        "segments/0000000000000001.0000000000000008.del",
    ];
    let disk = SimulatedDisk::new();
    let mut rest = bytes;
    while let [name, low, high, behind @ ..] = rest {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(behind.len());
        let (file, behind) = behind.split_at(length);
        let mut file = file.to_vec();
        let kind = usize::from(*name & 0x7f) % NAMES.len();
        if *name >= 0x80 {
            match kind {
                0 => mend_manifest(&mut file),
                1..=3 => mend_log(&mut file, kind as u64),
                4..=6 => segment::fuzzing::mend(&mut file, kind as u64 - 3),
                _ => mend_delete_file(&mut file),
            }
        }
        disk.put(NAMES[kind], &file);
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

fn put(bytes: &mut [u8], at: usize, number: u64) {
    if let Some(place) = bytes.get_mut(at..at + 8) {
        place.copy_from_slice(&number.to_le_bytes());
    }
}

/// Makes the length and the checksum hold.
fn mend_manifest(bytes: &mut [u8]) {
    let body = bytes.len().saturating_sub(32);
    put(bytes, 16, body as u64);
    if let Some((head, body)) = bytes.split_at_checked(32) {
        let sum = checksum(body, checksum(&head[..24], 0));
        put(bytes, 24, sum);
    }
}

fn mend_delete_file(bytes: &mut [u8]) {
    if let Some((head, body)) = bytes.split_at_checked(48) {
        let sum = checksum(body, checksum(&head[..40], 1));
        put(bytes, 40, sum);
    }
}

/// Makes the checksums of the header hold, and of the records as far as their lengths lead.
fn mend_log(bytes: &mut [u8], number: u64) {
    if let Some(head) = bytes.get(..56) {
        let sum = checksum(head, number);
        put(bytes, 56, sum);
    }
    let seed = u64_at(bytes, 32).unwrap_or_default();
    let mut at = log::HEADER_BYTES;
    while let Some(head) = bytes.get(at..at + 56) {
        let length = u64_at(head, 8).unwrap_or_default();
        let end = usize::try_from(length).ok();
        let end = end.and_then(|length| (at + 56).checked_add(length)?.checked_next_multiple_of(8));
        let Some(end) = end.filter(|&end| end <= bytes.len()) else {
            return;
        };
        let body = checksum(&bytes[at + 56..end], seed);
        put(bytes, at + 40, body);
        let head = checksum(&bytes[at..at + 48], seed);
        put(bytes, at + 48, head);
        at = end;
    }
}
