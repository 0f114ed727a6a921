//! What passes never depends on indexes, and indexes spare payloads.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::ops::Range;

use proptest::prelude::*;
use roaring::RoaringBitmap;
use serde_json::{Value as Json, json};

use super::{drawn, payload, says};
use crate::collection::FieldKind;
use crate::filter::ast::FieldPath;
use crate::filter::index::{Bytes, ReadError, build};
use crate::filter::plan::Source;
use crate::filter::{Filter, passing};

const KINDS: [FieldKind; 4] = [
    FieldKind::Int,
    FieldKind::Float,
    FieldKind::Text,
    FieldKind::Bool,
];

/// A part in memory that counts what is read of it.
#[derive(Clone, Debug, Default)]
struct Double {
    payloads: Vec<Option<Vec<u8>>>,
    deleted: RoaringBitmap,
    section: Option<Section>,
    read: RefCell<BTreeSet<u32>>,
}

#[derive(Clone, Debug, Default)]
struct Section {
    bytes: Vec<u8>,
    read: Cell<u64>,
}

impl Bytes for &Section {
    fn length(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read(&self, range: Range<u64>) -> Result<&[u8], bitkin_storage::Error> {
        self.read.set(self.read.get() + range.end - range.start);
        Ok(&self.bytes[range.start as usize..range.end as usize])
    }
}

impl Source for Double {
    type Index<'a> = &'a Section;

    fn rows(&self) -> u32 {
        self.payloads.len() as u32
    }

    fn deleted(&self) -> Option<&RoaringBitmap> {
        (!self.deleted.is_empty()).then_some(&self.deleted)
    }

    fn payload(&self, row: u32) -> Result<Option<&[u8]>, bitkin_storage::Error> {
        assert!(
            self.read.borrow_mut().insert(row),
            "row {row} is read twice"
        );
        assert!(!self.deleted.contains(row), "row {row} is deleted");
        Ok(self.payloads[row as usize].as_deref())
    }

    fn index(&self) -> Option<&Section> {
        self.section.as_ref()
    }
}

impl Double {
    fn new(payloads: &[Option<String>]) -> Double {
        let bytes = |payload: &Option<String>| payload.as_ref().map(|p| p.as_bytes().to_vec());
        Double {
            payloads: payloads.iter().map(bytes).collect(),
            ..Double::default()
        }
    }

    fn indexed(self, fields: &[(&str, FieldKind)]) -> Double {
        self.indexed_in_groups(fields, u32::MAX)
    }

    fn indexed_in_groups(mut self, fields: &[(&str, FieldKind)], group_rows: u32) -> Double {
        let paths: Vec<(FieldPath, FieldKind)> = fields
            .iter()
            .map(|(path, kind)| (FieldPath::parse(path).unwrap(), *kind))
            .collect();
        let mut bytes = Vec::new();
        let payload = |row: u32| Ok::<_, ()>(self.payloads[row as usize].as_deref());
        let rows = self.payloads.len() as u32;
        build(&paths, rows, group_rows, payload, |piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        })
        .unwrap();
        self.section = Some(Section {
            bytes,
            read: Cell::new(0),
        });
        self
    }

    fn passing(&self, filter: &str) -> Vec<u32> {
        self.read.borrow_mut().clear();
        let filter = Filter::parse(filter).unwrap();
        passing(&filter, self).unwrap().iter().collect()
    }

    fn reads(&self) -> usize {
        self.read.borrow().len()
    }
}

/// Fields that are declared: mostly as what they mostly hold.
fn declared() -> impl Strategy<Value = Vec<(&'static str, FieldKind)>> {
    let usual = [
        ("n", FieldKind::Int),
        ("s", FieldKind::Text),
        ("b", FieldKind::Bool),
        ("o", FieldKind::Int),
        ("o.x", FieldKind::Float),
        ("o.y.z", FieldKind::Text),
    ];
    let odd = prop::option::weighted(0.3, prop::sample::select(KINDS.to_vec()));
    let chosen = prop::sample::subsequence(usual.to_vec(), 0..=6);
    (chosen, prop::collection::vec(odd, 6)).prop_map(|(chosen, odd)| {
        let kinds = chosen.into_iter().zip(odd);
        kinds
            .map(|((field, usual), odd)| (field, odd.unwrap_or(usual)))
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    /// Every kind of index, on every field, over every mix of values.
    #[test]
    fn indexes_change_nothing(
        expression in drawn(),
        payloads in prop::collection::vec(prop::option::weighted(0.9, payload()), 1..60),
        fields in declared(),
        deleted in prop::collection::vec(0u32..60, 0..8),
        group_rows in 1u32..80,
    ) {
        let payloads: Vec<Option<String>> =
            payloads.into_iter().map(|payload| payload.map(|p| p.to_string())).collect();
        let mut double = Double::new(&payloads).indexed_in_groups(&fields, group_rows);
        double.deleted = deleted.into_iter().filter(|row| (*row as usize) < payloads.len()).collect();
        let sql = expression.sql();
        let filter = Filter::parse(&sql).unwrap();
        let expected: Vec<u32> = (0..payloads.len() as u32)
            .filter(|row| !double.deleted.contains(*row))
            .filter(|row| says(&filter, payloads[*row as usize].as_deref()) == Some(true))
            .collect();
        prop_assert_eq!(double.passing(&sql), expected.clone(), "{} with {:?}", sql, fields);
        double.section = None;
        prop_assert_eq!(double.passing(&sql), expected);
    }
}

/// `rows` payloads with a number of few values, one of many, a text and a truth.
fn plenty(rows: u64) -> Double {
    plenty_in_groups(rows, u32::MAX)
}

fn plenty_in_groups(rows: u64, group_rows: u32) -> Double {
    let payloads: Vec<Option<String>> = (0..rows)
        .map(|row| {
            let scattered = row.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
            let payload = json!({
                "few": row % 100, "many": scattered, "text": format!("t{}", row % 1000),
                "x": -(row as f64) / 8.0, "odd": row % 2 == 1, "free": row % 10,
            });
            Some(payload.to_string())
        })
        .collect();
    let fields = [
        ("few", FieldKind::Int),
        ("many", FieldKind::Int),
        ("text", FieldKind::Text),
        ("x", FieldKind::Float),
        ("odd", FieldKind::Bool),
    ];
    Double::new(&payloads).indexed_in_groups(&fields, group_rows)
}

#[test]
fn payloads_are_read_only_where_indexes_leave_a_doubt() {
    let (double, grouped) = (plenty(20_000), plenty_in_groups(20_000, 3_000));
    for (filter, passes, reads) in [
        ("few = 7", 200, 0),
        ("few <> 7", 19_800, 0),
        ("not few = 7", 19_800, 0),
        ("few in (7, 8, 1000)", 400, 0),
        ("few not in (7, null)", 0, 0),
        ("few between 10 and 19", 2_000, 0),
        ("few = 'x' or text = 5", 0, 0),
        ("text = 't7'", 20, 0),
        ("text like 't99%'", 220, 0),
        ("text ilike '%99'", 200, 0),
        ("x > -1", 8, 0),
        ("odd and few < 10", 1_000, 0),
        ("not odd and few < 10", 1_000, 0),
        ("few is null", 0, 0),
        ("few is not null and (few = 7) is false", 19_800, 0),
        // Of undeclared fields only what is left.
        ("few = 7 and free = 7", 200, 200),
        ("free = 7 and few = 7", 200, 200),
        ("few = 7 and free = 8", 0, 200),
        ("few <> 7 or free = 7", 20_000, 200),
        ("free = 7 and (few = 7 or few = 17)", 400, 400),
        ("few = 1000 and free = 7", 0, 0),
        ("few = 'x' and free = 7", 0, 0), // Unknown at best.
        ("not (few = 7 and free = 7)", 19_800, 200),
        ("few = 7 and missing is null", 200, 200),
        ("few = many and few = 3", 0, 200),
    ] {
        for double in [&double, &grouped] {
            assert_eq!(double.passing(filter).len(), passes, "{filter}");
            assert_eq!(double.reads(), reads, "{filter}");
        }
    }
}

#[test]
fn a_question_reads_little_of_an_index() {
    let double = plenty(200_000);
    let section = double.section.as_ref().unwrap();
    let total = section.bytes.len() as u64;
    assert!(total < 200_000 * 40, "{total}");
    for (filter, most) in [
        ("many = 12345", 4_000),
        ("text = 't7'", 30_000),
        ("few = 7", 30_000),
        ("many >= 0", 4_000),
        ("few <> 7", 30_000),
        ("odd", 120_000),
        ("x > -10", 4_000),
        ("x <= -10", 4_000),
        ("missing = 1", 4_000),
    ] {
        section.read.set(0);
        double.passing(filter);
        assert!(
            section.read.get() < most,
            "{filter}: {} of {total}",
            section.read.get()
        );
    }
}

#[test]
fn both_forms_hold_what_was_written() {
    // One value has nearly all rows: bitmaps. All are different: lists.
    for modulus in [1, 2, 7, 100, 100_000] {
        let payloads: Vec<Option<String>> = (0..70_000_u64)
            .map(|row| match row % 1000 {
                0 => None,
                1 => Some(json!({"v": "other"}).to_string()),
                _ => Some(json!({"v": (row % modulus) as i64 - 5}).to_string()),
            })
            .collect();
        let double = Double::new(&payloads).indexed(&[("v", FieldKind::Int)]);
        let plain = Double::new(&payloads);
        let form = double.section.as_ref().unwrap().bytes[16 + 1];
        assert_eq!(form, u8::from(modulus == 100_000), "{modulus}");
        for filter in [
            "v between -4 and 90",
            "v between 2 and 94",
            "v < 90",
            "v > -4 and v < 94",
            "v in (-5, 3, 94)",
            "v = -3",
            "v < 20",
            "v >= -4",
            "v is null",
            "v = 'other'",
            "v <> -5",
        ] {
            assert_eq!(
                double.passing(filter),
                plain.passing(filter),
                "{modulus}: {filter}"
            );
        }
    }
}

#[test]
fn zero_is_one_value() {
    let payloads: Vec<Option<String>> = ["0", "-0.0", "0.0", "5e-324", "-1", "0e5", "-0"]
        .iter()
        .map(|zero| Some(format!("{{\"f\": {zero}}}")))
        .collect();
    let double = Double::new(&payloads).indexed(&[("f", FieldKind::Float)]);
    for filter in [
        "f in (0, 7)",
        "f = 0",
        "f = -0.0",
        "f in (-0.0)",
        "f between 0 and 0",
    ] {
        assert_eq!(double.passing(filter), [0, 1, 2, 5, 6], "{filter}");
        assert_eq!(double.reads(), 0);
    }
}

#[test]
fn damaged_payloads_are_null_with_and_without_index() {
    let payloads = [
        Some(b"{\"v\": 1}".to_vec()),
        Some(b"{\"v\": 1".to_vec()),
        Some(vec![0xff, 0xfe]),
        Some(Vec::new()),
        None,
    ];
    let plain = Double {
        payloads: payloads.to_vec(),
        ..Double::default()
    };
    let indexed = plain.clone().indexed(&[("v", FieldKind::Int)]);
    for double in [&plain, &indexed] {
        assert_eq!(double.passing("v = 1"), [0]);
        assert_eq!(double.passing("v is null"), [1, 2, 3, 4]);
    }
}

#[test]
fn an_index_of_another_segment_is_refused() {
    let mut double = plenty(100);
    let filter = Filter::parse("few = 7").unwrap();
    for rows in [99, 101, 0] {
        double.payloads.resize(rows, None);
        let error = passing(&filter, &double).unwrap_err();
        assert!(matches!(error, ReadError::Malformed(_)), "{rows}: {error}");
    }
}

const QUESTIONS: [&str; 8] = [
    "n = 1",
    "n >= 0 and n < 3",
    "n is null",
    "s = 'ab'",
    "s like 'a%' or s > 'b'",
    "s in ('a', 'é', 'zz')",
    "f <> 0.5",
    "not b",
];

/// A small index of all kinds and both forms, in two groups.
fn small() -> Double {
    let payloads: Vec<Option<String>> = (0..150_u64)
        .map(|row| {
            let text = ["a", "ab", "é"][row as usize % 3];
            let mut payload = json!({"n": row % 3, "s": text, "f": row as f64 / 2.0});
            if row % 7 == 0 {
                payload["n"] = json!("odd");
                payload["b"] = Json::Bool(row % 2 == 0);
            }
            Some(payload.to_string())
        })
        .collect();
    let fields = [
        ("n", FieldKind::Int),
        ("s", FieldKind::Text),
        ("f", FieldKind::Float),
        ("b", FieldKind::Bool),
    ];
    Double::new(&payloads).indexed_in_groups(&fields, 120)
}

/// Asks everything; errors are fine, panics and rows that there are not are not.
fn ask(double: &Double) {
    for question in QUESTIONS {
        double.read.borrow_mut().clear();
        let filter = Filter::parse(question).unwrap();
        if let Ok(rows) = passing(&filter, double) {
            assert!(
                rows.max().is_none_or(|row| row < double.rows()),
                "{question}"
            );
        }
    }
}

#[test]
fn every_cut_and_every_changed_byte_is_borne() {
    let whole = small();
    let bytes = whole.section.clone().unwrap().bytes;
    let with = |bytes: Vec<u8>| Double {
        section: Some(Section {
            bytes,
            read: Cell::new(0),
        }),
        ..whole.clone()
    };
    for cut in (0..bytes.len()).step_by(3) {
        ask(&with(bytes[..cut].to_vec()));
    }
    for at in 0..bytes.len() {
        for value in [0x00, 0x01, 0x7f, 0x80, 0xff] {
            let mut bytes = bytes.clone();
            bytes[at] = value;
            ask(&with(bytes));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn several_changed_bytes_are_borne(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12)) {
        let mut double = small();
        let section = double.section.as_mut().unwrap();
        for (at, value) in changes {
            let at = at.index(section.bytes.len());
            section.bytes[at] = value;
        }
        ask(&double);
    }
}
