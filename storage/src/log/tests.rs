//! Bodies of records that no writer writes, behind a checksum that holds.

use proptest::prelude::*;

use super::record::{Body, decode};
use super::{Operation, file_name};
use crate::run::{Payloads, Run};

fn example() -> Vec<u8> {
    let mut payloads = Payloads::default();
    for (row, payload) in [Some(&b"one"[..]), None, Some(b"")].iter().enumerate() {
        payloads.push(row, *payload);
    }
    let run = Run {
        ids: vec![1, 5, 9],
        codes: vec![1, 2, 3, 4, 5, 6],
        code_bytes: 2,
        payloads,
        sequences: 3..=3,
        generation: 1,
    };
    let mut body = Body::reserve(0, 0);
    body.create_collection(4, 16, "name", b"properties");
    body.delete(4, &[2, 7]);
    body.insert(4, &run);
    body.drop_collection(3);
    let bytes = body.into_bytes();
    let operations = decode(&bytes, 3).unwrap();
    assert!(matches!(
        &operations[0],
        Operation::CreateCollection { number: 4, bits: 16, name, properties }
            if name == "name" && properties == b"properties"
    ));
    assert!(matches!(&operations[1], Operation::Delete { collection: 4, ids } if *ids == [2, 7]));
    assert!(
        matches!(&operations[2], Operation::Insert { collection: 4, run: found } if *found == run)
    );
    assert!(matches!(
        &operations[3],
        Operation::DropCollection { number: 3 }
    ));
    bytes
}

#[test]
fn bodies_that_end_early_are_refused() {
    let bytes = example();
    for length in 1..bytes.len() {
        // Where one operation ends the rest may be missing.
        let whole = decode(&bytes[..length], 3).is_some();
        let ends = [24 + 14, 24 + 14 + 32, bytes.len() - 8];
        assert_eq!(whole, ends.contains(&length), "cut to {length}");
    }
}

#[test]
fn names_sort_by_number() {
    assert_eq!(file_name(12), "log/0000000000000012.log");
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&bytes, 1);
    }

    #[test]
    fn any_changed_body_is_read_without_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
    ) {
        let mut bytes = example();
        for (place, value) in changes {
            *place.get_mut(&mut bytes) = value;
        }
        let _ = decode(&bytes, 1);
    }
}
