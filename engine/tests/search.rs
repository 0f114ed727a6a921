//! Every way to search gives what a sort of all rows gives, to the bit: at every width, over
//! rows in memory and in segments, one query or many, and after the database was opened again.

mod common;

use std::ops::ControlFlow;

use bitkin::{Answer, CollectionConfig, Database, Snapshot};
use common::{Random, naive};
use proptest::prelude::*;

const WIDTHS: [u32; 10] = [8, 16, 64, 100, 128, 250, 256, 512, 1024, 1100];

/// The naive answer; for a width with padding the certificate is the width, not the bytes.
fn expected(
    rows: &[(u64, Vec<u8>)],
    bits: u32,
    query: &[u8],
    k: Option<usize>,
    radius: Option<u32>,
) -> Answer {
    let mut answer = naive(rows, query, k, radius);
    if k.is_none_or(|k| answer.hits.len() < k) {
        answer.certified_radius = Some(radius.unwrap_or(bits));
    }
    answer
}

fn check(snapshot: &Snapshot, rows: &[(u64, Vec<u8>)], queries: &[Vec<u8>]) {
    let bits = snapshot.bits();
    assert_eq!(snapshot.len(), rows.len() as u64);
    let flat = queries.concat();
    let wanted = [
        (Some(1), None),
        (Some(3), None),
        (Some(10), None),
        (Some(100), None),
        (Some(rows.len()), None),
        (Some(rows.len() + 1), None),
        (Some(usize::MAX), None),
        (None, Some(0)),
        (None, Some(bits / 4)),
        (None, Some(bits / 2)),
        (None, Some(bits)),
        (None, Some(u32::MAX)),
        (Some(5), Some(bits / 3)),
    ];
    for (k, radius) in wanted {
        let expected: Vec<Answer> = queries
            .iter()
            .map(|query| expected(rows, bits, query, k, radius))
            .collect();
        for (query, expected) in queries.iter().zip(&expected) {
            let mut search = snapshot.search(query);
            if let Some(k) = k {
                search = search.k(k);
            }
            if let Some(radius) = radius {
                search = search.radius(radius);
            }
            assert_eq!(
                &search.run().unwrap(),
                expected,
                "{bits} bits, {k:?}, {radius:?}"
            );
        }
        for threads in [1, 3] {
            let mut search = snapshot.search_batch(&flat).threads(threads);
            if let Some(k) = k {
                search = search.k(k);
            }
            if let Some(radius) = radius {
                search = search.radius(radius);
            }
            assert_eq!(
                search.run().unwrap(),
                expected,
                "batch, {bits} bits, {k:?}, {radius:?}"
            );
        }
    }
}

/// Inserts in batches of uneven size, some of which are flushed into segments and some of which
/// stay in memory, and searches before and after opening again.
fn whole_life(bits: u32, seed: u64, distinct: Option<usize>) {
    let mut random = Random(seed);
    let count = 700;
    let codes = random.codes(bits, count, distinct);
    let ids = random.ids(count, 5_000);
    let rows: Vec<(u64, Vec<u8>)> = ids.into_iter().zip(codes).collect();
    let mut queries = random.codes(bits, 3, None);
    queries.extend(rows.iter().step_by(101).map(|(_, code)| code.clone()));

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    let db = Database::create(&path).unwrap();
    let collection = db
        .create_collection("c", CollectionConfig::bits(bits))
        .unwrap();
    check(&collection.snapshot().unwrap(), &[], &queries);
    let mut inserted = 0;
    for (batch, size) in [1, 200, 63, 150, 36, 250].into_iter().enumerate() {
        let rows = &rows[inserted..inserted + size];
        let ids: Vec<u64> = rows.iter().map(|(id, _)| *id).collect();
        let codes: Vec<Vec<u8>> = rows.iter().map(|(_, code)| code.clone()).collect();
        collection.insert(&ids, &codes.concat()).unwrap();
        inserted += size;
        if batch % 2 == 1 && batch < 5 {
            db.flush().unwrap();
        }
    }
    assert_eq!(inserted, count);
    let stats = collection.stats().unwrap();
    assert!(stats.segments >= 2 && stats.memory_rows > 0, "{stats:?}");
    check(&collection.snapshot().unwrap(), &rows, &queries);
    drop(collection);
    db.close().unwrap();

    let db = Database::open(&path).unwrap();
    let collection = db.collection("c").unwrap();
    check(&collection.snapshot().unwrap(), &rows, &queries);
    let mut by_id = rows.clone();
    by_id.sort();
    let listed: Vec<(u64, Vec<u8>)> = collection
        .rows()
        .unwrap()
        .map(|row| row.map(|row| (row.id, row.code)).unwrap())
        .collect();
    assert_eq!(listed, by_id);
    for (id, code) in rows.iter().step_by(37) {
        assert_eq!(&collection.get(*id).unwrap().unwrap().code, code);
    }
    assert_eq!(collection.get(5_001).unwrap(), None);
    assert!(db.verify().unwrap().is_clean());
}

#[test]
fn random_codes_equal_the_oracle_at_every_width() {
    for (seed, bits) in WIDTHS.into_iter().enumerate() {
        whole_life(bits, seed as u64, None);
    }
}

#[test]
fn duplicate_heavy_codes_equal_the_oracle_at_every_width() {
    for (seed, bits) in WIDTHS.into_iter().enumerate() {
        whole_life(bits, 100 + seed as u64, Some(5));
        whole_life(bits, 200 + seed as u64, Some(1));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Ties at the threshold across parts are where a shrinking threshold goes wrong: few
    /// distinct codes, ids of the parts interleaved, any k.
    #[test]
    fn ties_across_parts_go_by_id(
        seed: u64, parts in 1usize..5, rows in 1usize..400, distinct in 1usize..4, k in 0usize..60,
    ) {
        let mut random = Random(seed);
        let codes = random.codes(16, rows, Some(distinct));
        let ids = random.ids(rows, 3 * rows as u64);
        let rows: Vec<(u64, Vec<u8>)> = ids.into_iter().zip(codes).collect();
        let directory = tempfile::tempdir().unwrap();
        let db = Database::create(directory.path().join("db")).unwrap();
        let collection = db.create_collection("c", CollectionConfig::bits(16)).unwrap();
        for batch in rows.chunks(rows.len().div_ceil(parts)) {
            let ids: Vec<u64> = batch.iter().map(|(id, _)| *id).collect();
            let codes: Vec<u8> = batch.iter().flat_map(|(_, code)| code.clone()).collect();
            collection.insert(&ids, &codes).unwrap();
            db.flush().unwrap();
        }
        let query = random.code(16);
        let mut expected = naive(&rows, &query, Some(k), None);
        if k == 0 {
            expected.certified_radius = None;
        }
        prop_assert_eq!(collection.search(&query).k(k).run().unwrap(), expected);
    }
}

#[test]
fn odd_questions_have_obvious_answers() {
    let directory = tempfile::tempdir().unwrap();
    let db = Database::create(directory.path().join("db")).unwrap();
    let collection = db
        .create_collection("c", CollectionConfig::bits(12))
        .unwrap();
    let query = [0xff, 0x0f];

    let empty = collection.search(&query).k(3).run().unwrap();
    assert_eq!(
        (empty.hits.len(), empty.certified_radius, empty.exact),
        (0, Some(12), true)
    );

    collection.insert(&[7, 5], &[0, 0, 0xff, 0x0f]).unwrap();
    let none = collection.search(&query).k(0).run().unwrap();
    assert_eq!((none.hits.len(), none.certified_radius), (0, None));
    let all = collection.search(&query).k(99).run().unwrap();
    assert_eq!(
        all.hits
            .iter()
            .map(|hit| (hit.id, hit.distance))
            .collect::<Vec<_>>(),
        [(5, 0), (7, 12)]
    );
    assert_eq!(all.certified_radius, Some(12));
    let beyond = collection.search(&query).radius(1000).run().unwrap();
    assert_eq!(
        (beyond.hits.len(), beyond.certified_radius),
        (2, Some(1000))
    );
    // With neither, ten.
    assert_eq!(collection.search(&query).run().unwrap().hits.len(), 2);
    assert_eq!(collection.search_batch(&[]).k(3).run().unwrap(), []);
}

#[test]
fn a_snapshot_sees_one_moment() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    let db = Database::create(&path).unwrap();
    let collection = db
        .create_collection("c", CollectionConfig::bits(8))
        .unwrap();
    collection.insert(&[1], &[0]).unwrap();
    let before = collection.snapshot().unwrap();
    collection.insert(&[2], &[1]).unwrap();
    db.flush().unwrap();
    assert_eq!((before.len(), collection.len().unwrap()), (1, 2));
    assert_eq!(before.search(&[0]).k(9).run().unwrap().hits.len(), 1);

    let reader = Database::open_read_only(&path).unwrap();
    assert_eq!(reader.collection("c").unwrap().len().unwrap(), 2);
    db.close().unwrap();
    assert!(matches!(collection.len(), Err(bitkin::Error::Closed)));
    assert!(matches!(
        collection.search(&[0]).run(),
        Err(bitkin::Error::Closed)
    ));
    assert_eq!(before.search(&[0]).k(9).run().unwrap().hits.len(), 1);
}

#[test]
fn a_batch_gives_its_answers_one_by_one_until_it_is_told_to_stop() {
    let mut random = Random(9);
    let codes = random.codes(64, 3_000, None);
    let directory = tempfile::tempdir().unwrap();
    let db = Database::create(directory.path().join("db")).unwrap();
    let collection = db
        .create_collection("c", CollectionConfig::bits(64))
        .unwrap();
    collection.append(&codes.concat()).unwrap();
    // More than one pass for each thread.
    let queries = codes[..1_200].concat();
    let expected = collection.search_batch(&queries).k(3).run().unwrap();
    for threads in [1, 3] {
        let mut answers = vec![None; 1_200];
        let search = collection.search_batch(&queries).k(3).threads(threads);
        let given = search.for_each(|number, answer| {
            assert!(answers[number].replace(answer).is_none());
            ControlFlow::Continue(())
        });
        given.unwrap();
        let answers: Option<Vec<Answer>> = answers.into_iter().collect();
        assert_eq!(answers.as_ref(), Some(&expected), "{threads} threads");

        let mut given = 0;
        let search = collection.search_batch(&queries).k(3).threads(threads);
        let stopped = search.for_each(|_, _| {
            given += 1;
            match given {
                300 => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        });
        stopped.unwrap();
        assert_eq!(given, 300);
    }
    let wrong = collection.search_batch(&queries[..9]);
    assert!(wrong.for_each(|_, _| ControlFlow::Continue(())).is_err());
}
