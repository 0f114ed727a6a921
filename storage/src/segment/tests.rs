//! Segments whose checksums hold and whose fields are what no writer writes: it is then the checks of
//! the fields that must stand between them and a panic.

use std::sync::{Arc, LazyLock};

use proptest::prelude::*;

use super::fuzzing::{mend, read_all};
use super::layout::{ENTRY_BYTES, FOOTER_BYTES, HEADER_BYTES, file_name};
use super::{Segment, Writing};
use crate::batch::{CollectionId, CollectionInfo};
use crate::bytes::u64_at;
use crate::disk::{Disk, OsDisk, Region, read_from};
use crate::manifest::SegmentRecord;
use crate::run::{Payloads, Run};
use crate::snapshot::Part;

const NUMBER: u64 = 7;

static EXAMPLE: LazyLock<(SegmentRecord, Vec<u8>)> = LazyLock::new(example);

/// The bytes of a segment of a few rows with payloads.
fn example() -> (SegmentRecord, Vec<u8>) {
    let mut payloads = Payloads::default();
    for (row, payload) in [None, Some(&b"one"[..]), Some(b""), None, Some(b"four")]
        .iter()
        .enumerate()
    {
        payloads.push(row, *payload);
    }
    let run = Run {
        ids: vec![2, 3, 5, 8, 13],
        codes: (0..15).map(|i| i % 16).collect(),
        code_bytes: 3,
        payloads,
        sequences: 4..=9,
        generation: 0,
    };
    let info = CollectionInfo {
        id: CollectionId {
            number: 1,
            bits: 20,
        },
        name: "c".to_owned(),
        bits: 20,
        properties: Vec::new(),
    };
    let dir = tempfile::tempdir().unwrap();
    let disk = OsDisk::new(dir.path());
    disk.create_dir(super::DIRECTORY).unwrap();
    let writing = Writing {
        disk: &disk,
        map: true,
        builder: None,
        may_go_on: &|| Ok(()),
    };
    let input = Part::memory(Arc::new(run));
    let record = writing.write(NUMBER, &info, &[input]).unwrap().unwrap();
    let file = disk.open(&file_name(NUMBER)).unwrap();
    (record, read_from(&*file, 0).unwrap())
}

/// Opens and reads everything, if it can be opened.
fn read(record: &SegmentRecord, bytes: &[u8]) -> Result<(), crate::Error> {
    let region = Region::from_bytes(bytes);
    let segment = Segment::from_region(file_name(NUMBER), region, record, 20)?;
    read_all(&segment)
}

#[test]
fn the_example_reads_well() {
    let (record, mut bytes) = example();
    read(&record, &bytes).unwrap();
    let before = bytes.clone();
    mend(&mut bytes, NUMBER);
    assert_eq!(bytes, before, "mending a whole segment changes nothing");
}

fn values() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        0_u64..10_000,
        prop::sample::select(vec![0, 1, 63, 64, u64::MAX, u64::MAX - 7, 1 << 63, 1 << 32]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    #[test]
    fn fields_of_any_value_are_refused_or_read(
        changes in prop::collection::vec((any::<prop::sample::Index>(), values(), any::<bool>()), 1..4),
        rows in prop_oneof![3 => Just(5_u64), 1 => values()],
    ) {
        let (mut record, mut bytes) = EXAMPLE.clone();
        let end = bytes.len();
        let footer = end - FOOTER_BYTES;
        let contents = footer - 5 * ENTRY_BYTES;
        let offsets = u64_at(&bytes, contents + 2 * ENTRY_BYTES + 40).unwrap() as usize;
        let mut places: Vec<usize> = [12, 16, 24, 32].map(|field| footer + field).to_vec();
        for entry in 0..5 {
            places.extend([0, 32, 36, 40, 48].map(|field| contents + entry * ENTRY_BYTES + field));
        }
        places.extend((0..6).map(|row| offsets + row * 8));
        for (place, value, short) in changes {
            let at = *place.get(&places);
            let value = &value.to_le_bytes()[..if short { 4 } else { 8 }];
            let room = (end - at).min(value.len());
            bytes[at..at + room].copy_from_slice(&value[..room]);
        }
        record.rows = rows;
        bytes[24..32].copy_from_slice(&rows.to_le_bytes());
        prop_assert!(HEADER_BYTES < offsets);
        mend(&mut bytes, NUMBER);
        let _ = read(&record, &bytes);
    }
}
