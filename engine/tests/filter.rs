//! Searches with filters and over deleted rows give what a sort of the rows that are left gives;
//! indexes spare payloads; and everything that walks over rows passes deleted ones by.

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bitkin::{Answer, Collection, CollectionConfig, Database, Error, FieldKind, Filter};
use common::{Random, naive};
use serde_json::json;

/// What a collection must hold: id -> (code, payload).
type Model = BTreeMap<u64, (Vec<u8>, serde_json::Value)>;

fn config(bits: u32) -> CollectionConfig {
    CollectionConfig::bits(bits)
        .index("n", FieldKind::Int)
        .index("o.s", FieldKind::Text)
}

/// A row's payload: `n` is declared and sometimes of another type, `free` is not declared.
fn payload(random: &mut Random) -> serde_json::Value {
    let n = random.below(100);
    let mut payload = json!({"n": n, "o": {"s": format!("s{}", random.below(10))}, "free": n % 10});
    match random.below(20) {
        0 => payload["n"] = json!(n.to_string()),
        1 => payload["n"] = json!(null),
        _ => {}
    }
    payload
}

fn write(collection: &Collection, rows: &[(u64, Vec<u8>, serde_json::Value)], upsert: bool) -> u64 {
    let ids: Vec<u64> = rows.iter().map(|(id, ..)| *id).collect();
    let codes: Vec<u8> = rows.iter().flat_map(|(_, code, _)| code.clone()).collect();
    let payloads: Vec<String> = rows.iter().map(|(.., p)| p.to_string()).collect();
    let payloads: Vec<Option<&str>> = payloads.iter().map(|p| Some(p.as_str())).collect();
    if upsert {
        return collection
            .upsert_with_payloads(&ids, &codes, &payloads)
            .unwrap();
    }
    collection
        .insert_with_payloads(Some(&ids), &codes, &payloads)
        .unwrap();
    0
}

/// Filters of every selectivity, with the same said in Rust.
type Said = fn(&serde_json::Value) -> bool;
const FILTERS: [(&str, Said); 8] = [
    ("n = 7", |p| p["n"] == json!(7)),
    ("n = 7 and free = 7", |p| p["n"] == json!(7)),
    ("free = 3", |p| p["free"] == json!(3)),
    ("n < 60 and not o.s in ('s1', 's2')", |p| {
        p["n"].as_u64().is_some_and(|n| n < 60) && p["o"]["s"] != "s1" && p["o"]["s"] != "s2"
    }),
    ("o.s like 's%'", |_| true),
    ("n = 1000", |_| false),
    ("n is null", |p| p["n"].is_null()),
    ("n = '7' or n >= 99", |p| {
        p["n"] == json!("7") || p["n"].as_u64().is_some_and(|n| n >= 99)
    }),
];

fn check(collection: &Collection, model: &Model, random: &mut Random) {
    let bits = collection.bits();
    let snapshot = collection.snapshot().unwrap();
    assert_eq!(snapshot.len(), model.len() as u64);
    let ids: Vec<u64> = snapshot.rows().map(|row| row.unwrap().id).collect();
    assert!(ids.iter().eq(model.keys()));
    let queries = random.codes(bits, 3, None);
    let flat = queries.concat();
    let all: (&str, Said) = ("", |_| true);
    for (text, said) in FILTERS.into_iter().chain([all]) {
        let filter = (!text.is_empty()).then(|| Filter::parse(text).unwrap());
        let rows: Vec<(u64, Vec<u8>)> = model
            .iter()
            .filter(|(_, (_, payload))| said(payload))
            .map(|(id, (code, _))| (*id, code.clone()))
            .collect();
        if let Some(filter) = &filter {
            assert_eq!(snapshot.count(filter).unwrap(), rows.len() as u64, "{text}");
            let found: Vec<(u64, Vec<u8>)> = snapshot
                .rows_where(filter)
                .unwrap()
                .map(|row| row.map(|row| (row.id, row.code)).unwrap())
                .collect();
            assert_eq!(found, rows, "{text}");
        }
        for (k, radius) in [
            (Some(1), None),
            (Some(10), None),
            (Some(10_000), None),
            (None, Some(bits / 2)),
            (None, Some(bits)),
            (Some(5), Some(bits / 3)),
        ] {
            let expected: Vec<Answer> = queries
                .iter()
                .map(|query| naive(&rows, query, k, radius))
                .collect();
            let mut batch = snapshot.search_batch(&flat).threads(2);
            if let Some(filter) = &filter {
                batch = batch.filter(filter);
            }
            if let Some(k) = k {
                batch = batch.k(k);
            }
            if let Some(radius) = radius {
                batch = batch.radius(radius);
            }
            assert_eq!(batch.run().unwrap(), expected, "{text}, {k:?}, {radius:?}");
            let mut search = snapshot.search(&queries[0]);
            if let Some(filter) = &filter {
                search = search.filter(filter);
            }
            if let Some(k) = k {
                search = search.k(k);
            }
            if let Some(radius) = radius {
                search = search.radius(radius);
            }
            assert_eq!(
                search.run().unwrap(),
                expected[0],
                "{text}, {k:?}, {radius:?}"
            );
        }
    }
}

#[test]
fn filters_and_deletes_equal_the_oracle() {
    for (seed, bits, distinct) in [(1, 64, None), (2, 256, Some(6)), (3, 16, None)] {
        let mut random = Random(seed);
        let directory = tempfile::tempdir().unwrap();
        let db = Database::create(directory.path().join("db")).unwrap();
        let collection = db.create_collection("c", config(bits)).unwrap();
        let mut model = Model::new();
        let codes = random.codes(bits, 1_200, distinct);
        let ids = random.ids(1_200, 50_000);
        let rows: Vec<(u64, Vec<u8>, serde_json::Value)> = ids
            .into_iter()
            .zip(codes)
            .map(|(id, code)| (id, code, payload(&mut random)))
            .collect();
        for (batch, rows) in rows.chunks(240).enumerate() {
            write(&collection, rows, false);
            for (id, code, payload) in rows {
                model.insert(*id, (code.clone(), payload.clone()));
            }
            if batch < 4 {
                db.flush().unwrap();
            }
        }
        check(&collection, &model, &mut random);

        // Rows of segments and rows in memory; ids that are not there.
        let gone: Vec<u64> = rows.iter().step_by(3).map(|(id, ..)| *id).collect();
        let asked = [&gone[..], &[50_001, 50_002]].concat();
        assert_eq!(collection.delete(&asked).unwrap(), gone.len() as u64);
        assert_eq!(collection.delete(&asked).unwrap(), 0);
        model.retain(|id, _| !gone.contains(id));
        assert_eq!(collection.get(gone[0]).unwrap(), None);
        check(&collection, &model, &mut random);

        let replaced: Vec<(u64, Vec<u8>, serde_json::Value)> = rows
            .iter()
            .step_by(5)
            .map(|(id, ..)| (*id, random.code(bits), payload(&mut random)))
            .collect();
        let held = replaced
            .iter()
            .filter(|(id, ..)| model.contains_key(id))
            .count();
        assert_eq!(write(&collection, &replaced, true), held as u64);
        for (id, code, payload) in replaced {
            model.insert(id, (code, payload));
        }
        check(&collection, &model, &mut random);

        // What a reader sees, and what is there after a flush and another opening.
        let path = directory.path().join("db");
        let reader = Database::open_read_only(&path).unwrap();
        check(&reader.collection("c").unwrap(), &model, &mut random);
        db.flush().unwrap();
        drop(collection);
        db.close().unwrap();
        let db = Database::open(&path).unwrap();
        let collection = db.collection("c").unwrap();
        check(&collection, &model, &mut random);
        assert!(db.verify().unwrap().is_clean());

        // Segments merged into one, a copy of it, and what is saved of it.
        collection.compact().unwrap();
        let stats = collection.stats().unwrap();
        assert_eq!((stats.segments, stats.deleted_rows), (1, 0));
        check(&collection, &model, &mut random);
        let (copy, saved) = (
            directory.path().join("copy"),
            directory.path().join("saved"),
        );
        db.backup(&copy).unwrap();
        assert!(bitkin::repair(&copy, &saved).unwrap().is_complete());
        for path in [copy, saved] {
            let db = Database::open(&path).unwrap();
            let collection = db.collection("c").unwrap();
            check(&collection, &model, &mut random);
            assert!(
                collection.stats().unwrap().bytes.indexes > 0,
                "{}",
                path.display()
            );
        }

        let filter = Filter::parse("free = 4 or n < 20").unwrap();
        let count = collection.count(&filter).unwrap();
        assert!(count > 50);
        assert_eq!(collection.delete_where(&filter).unwrap(), count);
        model.retain(|_, (_, payload)| {
            payload["free"] != json!(4) && payload["n"].as_u64().is_none_or(|n| n >= 20)
        });
        check(&collection, &model, &mut random);
        assert_eq!(collection.delete_where(&filter).unwrap(), 0);

        let everything: Vec<u64> = model.keys().copied().collect();
        collection.delete(&everything).unwrap();
        check(&collection, &Model::new(), &mut random);
        assert!(collection.is_empty().unwrap());
    }
}

/// The segments of a database.
fn segments(path: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(path.join("segments")).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// Changes one byte of each of `marks`, which come in this order, in the only segment.
fn damage(path: &Path, marks: &[String]) {
    let segment = &segments(path)[0];
    let mut bytes = std::fs::read(segment).unwrap();
    let mut at = 0;
    for mark in marks {
        let mark = mark.as_bytes();
        let rest = &bytes[at..];
        at += rest.windows(mark.len()).position(|w| w == mark).unwrap();
        bytes[at] ^= 1;
    }
    std::fs::write(segment, bytes).unwrap();
}

#[test]
fn payloads_and_codes_that_an_index_rules_out_are_never_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    let db = Database::create(&path).unwrap();
    let config = CollectionConfig::bits(1024).index("group", FieldKind::Int);
    let collection = db.create_collection("c", config).unwrap();
    // 16 codes and about 8 payloads lie in a block of 16 KiB; one group has 20 rows.
    let mut random = Random(7);
    let codes = random.codes(1024, 2_000, None);
    let payloads: Vec<String> = (0..2_000)
        .map(|row| {
            let filler = "x".repeat(2_000);
            json!({"group": row / 20, "mark": format!("<{row}>"), "filler": filler}).to_string()
        })
        .collect();
    let texts: Vec<Option<&str>> = payloads.iter().map(|p| Some(p.as_str())).collect();
    let ids: Vec<u64> = (0..2_000).collect();
    collection
        .insert_with_payloads(Some(&ids), &codes.concat(), &texts)
        .unwrap();
    db.flush().unwrap();
    assert!(collection.stats().unwrap().bytes.indexes > 0);
    drop(collection);
    db.close().unwrap();

    // All payloads but those of rows 990 to 1030, and the first and last, whose blocks others share.
    let marks: Vec<String> = (10..1_980)
        .filter(|row| !(990..1_030).contains(row))
        .map(|row| format!("<{row}>"))
        .collect();
    damage(&path, &marks);
    let db = Database::open_read_only(&path).unwrap();
    let collection = db.collection("c").unwrap();
    let query = &codes[1_005];
    let group = Filter::parse("group = 50").unwrap();
    let answer = collection.search(query).filter(&group).k(3).run().unwrap();
    assert_eq!((answer.hits[0].id, answer.hits[0].distance), (1_005, 0));
    assert_eq!(collection.count(&group).unwrap(), 20);
    // The payload of a row that is left is read, and no other.
    let both = Filter::parse("mark = '<1005>' and group = 50").unwrap();
    assert_eq!(collection.count(&both).unwrap(), 1);
    let free = Filter::parse("mark = '<1005>'").unwrap();
    let error = collection.search(query).filter(&free).run().unwrap_err();
    assert!(
        matches!(error, Error::Storage(bitkin_storage::Error::Corrupt { .. })),
        "{error}"
    );
    // With an index that leaves out much, codes are read one by one.
    let segment = &segments(&path)[0];
    let mut bytes = std::fs::read(segment).unwrap();
    let at = bytes.windows(128).position(|w| w == &codes[3][..]).unwrap();
    bytes[at] ^= 1;
    std::fs::write(segment, bytes).unwrap();
    let db = Database::open_read_only(&path).unwrap();
    let collection = db.collection("c").unwrap();
    let answer = collection.search(query).filter(&group).k(3).run().unwrap();
    assert_eq!(answer.hits[0].id, 1_005);
    assert!(collection.search(query).run().is_err());
}

#[test]
fn a_damaged_index_is_an_error_and_no_panic() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    let db = Database::create(&path).unwrap();
    let config = CollectionConfig::bits(8).index("kinship", FieldKind::Text);
    let collection = db.create_collection("c", config).unwrap();
    collection
        .insert_with_payloads(Some(&[1]), &[0], &[Some("{\"kinship\": \"a\"}")])
        .unwrap();
    db.close().unwrap();
    let db = Database::open(&path).unwrap();
    db.flush().unwrap();
    db.close().unwrap();
    let segment = &segments(&path)[0];
    let mut bytes = std::fs::read(segment).unwrap();
    // The last place is the name in the directory of the index.
    let mut windows = bytes.windows(7).enumerate();
    let (at, _) = windows.rfind(|(_, w)| *w == b"kinship").unwrap();
    bytes[at] ^= 1;
    std::fs::write(segment, bytes).unwrap();
    let db = Database::open_read_only(&path).unwrap();
    let filter = Filter::parse("kinship = 'a'").unwrap();
    let error = db.collection("c").unwrap().count(&filter).unwrap_err();
    assert!(
        matches!(error, Error::Storage(bitkin_storage::Error::Corrupt { .. })),
        "{error}"
    );
}

#[test]
fn fields_that_cannot_be_declared_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let db = Database::create(directory.path().join("db")).unwrap();
    let refused = |config: CollectionConfig, words: &str| {
        let error = db.create_collection("c", config).unwrap_err();
        assert!(matches!(error, Error::BadIndexField { .. }), "{error}");
        assert!(error.to_string().contains(words), "{error}");
    };
    for field in ["", "a.", "a..b", "\"a", "a\"b"] {
        refused(
            CollectionConfig::bits(8).index(field, FieldKind::Int),
            "cannot be declared",
        );
    }
    let twice = CollectionConfig::bits(8).index("a", FieldKind::Int);
    refused(twice.index("\"a\"", FieldKind::Text), "twice");
    let many = (0..257).fold(CollectionConfig::bits(8), |config, n| {
        config.index(format!("f{n}"), FieldKind::Int)
    });
    refused(many, "256");
    assert!(db.collections().unwrap().is_empty());
}

#[test]
fn payloads_that_filters_cannot_read_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let db = Database::create(directory.path().join("db")).unwrap();
    let collection = db
        .create_collection("c", CollectionConfig::bits(8))
        .unwrap();
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    for bad in ["", "{", "{\"a\": 1,}", "{} {}", "{a: 1}", deep.as_str()] {
        for upsert in [false, true] {
            let payloads = [Some("{}"), Some(bad)];
            let error = if upsert {
                collection
                    .upsert_with_payloads(&[1, 2], &[0, 0], &payloads)
                    .unwrap_err()
            } else {
                let insert = collection.insert_with_payloads(None, &[0, 0], &payloads);
                insert.map(drop).unwrap_err()
            };
            assert!(
                matches!(error, Error::InvalidPayload { row: 1, .. }),
                "{error}"
            );
        }
    }
    assert!(collection.is_empty().unwrap());
}
