//! Pairs within a radius are those that comparing every two rows finds, each once: whatever the way, at
//! every width, over segments with tables and without, rows in memory, deletes and filters, and for any
//! number of threads.

mod common;

use std::ops::ControlFlow;

use bitkin::{Collection, CollectionConfig, Database, Filter, Group, Hit, Pair, Way};
use common::Random;

/// Rows from which on a segment has tables.
const TABLES: usize = 4096;

type Rows = Vec<(u64, Vec<u8>)>;

/// A code as words, zeros behind it.
fn words(code: &[u8]) -> [u64; 4] {
    let mut words = [0; 4];
    for (at, byte) in code.iter().enumerate() {
        words[at / 8] |= u64::from(*byte) << (8 * (at % 8));
    }
    words
}

/// Every two rows.
fn naive(rows: &Rows, radius: u32) -> Vec<Pair> {
    let words: Vec<[u64; 4]> = rows.iter().map(|(_, code)| words(code)).collect();
    let mut pairs = Vec::new();
    for (at, (id, _)) in rows.iter().enumerate() {
        for (with, (other, _)) in words.iter().zip(&rows[..at]) {
            let differ = words[at]
                .iter()
                .zip(with)
                .map(|(a, b)| (a ^ b).count_ones());
            let distance = differ.sum();
            if distance <= radius {
                let (a, b) = (*id.min(other), *id.max(other));
                pairs.push(Pair { distance, a, b });
            }
        }
    }
    pairs.sort_unstable();
    pairs
}

/// A third each of uniform codes, codes around few centres, and copies of those.
fn mixed(random: &mut Random, bits: u32, count: usize) -> Vec<Vec<u8>> {
    let centres = random.codes(bits, 20.max(count / 50), None);
    let mut codes: Vec<Vec<u8>> = Vec::new();
    for number in 0..count {
        codes.push(match number % 3 {
            0 => random.code(bits),
            1 => {
                let mut code = centres[random.below(centres.len())].clone();
                for _ in 0..random.below(2 + bits as usize / 8) {
                    let bit = random.below(bits as usize);
                    code[bit / 8] ^= 1 << (bit % 8);
                }
                code
            }
            _ => codes[random.below(codes.len())].clone(),
        });
    }
    codes
}

fn insert(collection: &Collection, rows: &[(u64, Vec<u8>)]) {
    let ids: Vec<u64> = rows.iter().map(|(id, _)| *id).collect();
    let codes: Vec<u8> = rows.iter().flat_map(|(_, code)| code.clone()).collect();
    collection.insert(&ids, &codes).unwrap();
}

fn new_rows(random: &mut Random, bits: u32, count: usize) -> Rows {
    let ids = random.ids(count, 10 * count as u64);
    let codes = mixed(random, bits, count);
    ids.into_iter().zip(codes).collect()
}

/// Every way and number of threads finds `expected`.
fn check(collection: &Collection, radius: u32, expected: &[Pair]) {
    for (way, threads) in [
        (None, 3),
        (Some(Way::Tables), 1),
        (Some(Way::Tables), 3),
        (Some(Way::Scan), 1 + 2 * (radius as usize % 2)),
    ] {
        let mut search = collection.pairs(radius).threads(threads);
        if let Some(way) = way {
            search = search.way(way);
        }
        let found = search.run().unwrap();
        let bits = collection.bits();
        let what = format!("{bits} bits, radius {radius}, {way:?}, {threads} threads");
        assert_eq!(found.len(), expected.len(), "{what}");
        assert!(found == expected, "{what}");
    }
}

/// Two segments with tables and one without, each merged from batches, and rows in memory.
fn parts(db: &Database, collection: &Collection, rows: &Rows) {
    let (first, rows) = rows.split_at(TABLES + 100);
    insert(collection, first);
    collection.compact().unwrap();
    let (second, rows) = rows.split_at(TABLES);
    insert(collection, second);
    db.flush().unwrap();
    let (third, rows) = rows.split_at(rows.len() / 2);
    insert(collection, third);
    db.flush().unwrap();
    let (fourth, fifth) = rows.split_at(rows.len() / 3);
    insert(collection, fourth);
    insert(collection, fifth);
    let stats = collection.stats().unwrap();
    assert!(stats.segments >= 2 && stats.memory_rows > 0, "{stats:?}");
}

fn radii(bits: u32) -> [u32; 3] {
    [0, 1.max(bits / 32), bits / 10]
}

#[test]
fn small_collections_equal_the_oracle() {
    for (seed, bits) in [8, 33, 64, 128, 256].into_iter().enumerate() {
        let mut random = Random(seed as u64);
        let rows = new_rows(&mut random, bits, 300);
        let directory = tempfile::tempdir().unwrap();
        let db = Database::create(directory.path().join("db")).unwrap();
        let collection = db
            .create_collection("c", CollectionConfig::bits(bits))
            .unwrap();
        check(&collection, bits, &[]);
        insert(&collection, &rows[..1]);
        check(&collection, bits, &[]);
        insert(&collection, &rows[1..130]);
        db.flush().unwrap();
        insert(&collection, &rows[130..]);
        for radius in radii(bits).into_iter().chain([bits / 2]) {
            check(&collection, radius, &naive(&rows, radius));
        }
        let all = naive(&rows, bits);
        assert_eq!(all.len(), 300 * 299 / 2);
        for radius in [bits, bits + 1, u32::MAX] {
            check(&collection, radius, &all);
        }
    }
}

#[test]
fn segments_with_tables_equal_the_oracle() {
    for (seed, bits) in [8, 33, 64, 128, 256].into_iter().enumerate() {
        let mut random = Random(100 + seed as u64);
        let mut rows = new_rows(&mut random, bits, 2 * TABLES + 500);
        let directory = tempfile::tempdir().unwrap();
        let db = Database::create(directory.path().join("db")).unwrap();
        let collection = db
            .create_collection("c", CollectionConfig::bits(bits))
            .unwrap();
        parts(&db, &collection, &rows);
        let radii = match bits {
            // Nearly everything is near.
            8 => vec![0],
            _ => radii(bits).to_vec(),
        };
        let expected = naive(&rows, *radii.last().unwrap());
        let within = |expected: &[Pair], radius| {
            let within = expected.iter().copied();
            within
                .filter(|pair| pair.distance <= radius)
                .collect::<Vec<_>>()
        };
        for &radius in &radii {
            check(&collection, radius, &within(&expected, radius));
        }

        // Deleted rows are in no pair.
        let gone: Vec<u64> = rows
            .iter()
            .map(|(id, _)| *id)
            .filter(|id| id % 4 == 1)
            .collect();
        collection.delete(&gone).unwrap();
        rows.retain(|(id, _)| id % 4 != 1);
        let live = expected.iter().copied();
        let live: Vec<Pair> = live
            .filter(|pair| pair.a % 4 != 1 && pair.b % 4 != 1)
            .collect();
        assert!(live.len() < expected.len() && !live.is_empty());
        let radius = radii[radii.len() / 2];
        check(&collection, radius, &within(&live, radius));
    }
}

/// The upper bits of all keys are the same, so that the rows of a block are cut into pieces.
#[test]
fn codes_that_crowd_equal_the_oracle() {
    for bits in [64, 128] {
        let mut random = Random(u64::from(bits));
        let rows: Rows = (0..18_000)
            .map(|id| {
                let mut code = vec![0; bits as usize / 8];
                code[..2].copy_from_slice(&(random.next() as u16).to_le_bytes());
                (id, code)
            })
            .collect();
        let directory = tempfile::tempdir().unwrap();
        let db = Database::create(directory.path().join("db")).unwrap();
        let collection = db
            .create_collection("c", CollectionConfig::bits(bits))
            .unwrap();
        insert(&collection, &rows);
        collection.compact().unwrap();
        let expected = naive(&rows, 1);
        let search = collection.pairs(1).way(Way::Tables).threads(2);
        assert!(search.run().unwrap() == expected);
        assert!(expected.len() > 18_000);
    }
}

#[test]
fn only_rows_that_pass_the_filter_are_paired() {
    let bits = 64;
    let mut random = Random(7);
    let rows = new_rows(&mut random, bits, TABLES + 1000);
    let directory = tempfile::tempdir().unwrap();
    let db = Database::create(directory.path().join("db")).unwrap();
    let collection = db
        .create_collection("c", CollectionConfig::bits(bits))
        .unwrap();
    let group = |id: u64| id % 50;
    for (number, batch) in [&rows[..TABLES], &rows[TABLES..]].into_iter().enumerate() {
        let ids: Vec<u64> = batch.iter().map(|(id, _)| *id).collect();
        let codes: Vec<u8> = batch.iter().flat_map(|(_, code)| code.clone()).collect();
        let payloads: Vec<String> = ids
            .iter()
            .map(|id| format!("{{\"group\": {}}}", group(*id)))
            .collect();
        let payloads: Vec<Option<&str>> = payloads.iter().map(|p| Some(p.as_str())).collect();
        collection
            .insert_with_payloads(Some(&ids), &codes, &payloads)
            .unwrap();
        if number == 0 {
            collection.compact().unwrap();
        }
    }
    for (filter, least) in [("group >= 10", 10), ("group >= 48", 48), ("group > 60", 61)] {
        let filter: Filter = filter.parse().unwrap();
        let mut passing = rows.clone();
        passing.retain(|(id, _)| group(*id) >= least);
        let expected = naive(&passing, 6);
        for way in [Way::Tables, Way::Scan] {
            let search = collection.pairs(6).filter(&filter).way(way);
            assert_eq!(search.run().unwrap(), expected, "{filter:?}, {way:?}");
        }
        let found = collection.pairs(6).filter(&filter).run().unwrap();
        assert_eq!(found, expected);
    }
}

/// Tables spare nearly all comparisons, and the planner knows.
#[test]
fn tables_spare_comparisons() {
    let directory = tempfile::tempdir().unwrap();
    let db = Database::create(directory.path().join("db")).unwrap();
    let collection = db
        .create_collection("c", CollectionConfig::bits(64))
        .unwrap();
    let rows = 20_000;
    let codes = Random(3).codes(64, rows, None).concat();
    collection.append(&codes).unwrap();
    collection.compact().unwrap();
    let all = (rows * (rows - 1) / 2) as u64;
    let take = |_| ControlFlow::Continue(());
    let compared = |way: Option<Way>, radius| {
        let mut search = collection.pairs(radius);
        if let Some(way) = way {
            search = search.way(way);
        }
        search.for_each(take).unwrap().compared
    };
    assert_eq!(compared(Some(Way::Scan), 4), all);
    for way in [None, Some(Way::Tables)] {
        let compared = compared(way, 4);
        assert!(compared < all / 20, "{compared} of {all}");
    }
    // So far that tables are no help.
    assert_eq!(compared(None, 30), all);
}

#[test]
fn it_can_be_broken_off_and_tells_how_far_it_is() {
    let bits = 64;
    let mut random = Random(11);
    let rows = new_rows(&mut random, bits, 2 * TABLES + 500);
    let directory = tempfile::tempdir().unwrap();
    let db = Database::create(directory.path().join("db")).unwrap();
    let collection = db
        .create_collection("c", CollectionConfig::bits(bits))
        .unwrap();
    parts(&db, &collection, &rows);
    let expected = naive(&rows, 8);
    for way in [Way::Tables, Way::Scan] {
        for threads in [1, 3] {
            let mut told = Vec::new();
            let mut found = Vec::new();
            let search = collection.pairs(8).way(way).threads(threads);
            let outcome = search
                .progress(|share| {
                    told.push(share);
                    ControlFlow::Continue(())
                })
                .for_each(|pair| {
                    found.push(pair);
                    ControlFlow::Continue(())
                })
                .unwrap();
            assert!(outcome.is_complete);
            assert_eq!(outcome.pairs, expected.len() as u64);
            found.sort_unstable();
            assert!(found == expected);
            assert_eq!((told.first(), told.last()), (Some(&0.0), Some(&1.0)));
            assert!(told.is_sorted_by(|a, b| a < b), "{told:?}");
            assert!(threads > 1 || told.len() > 3, "{told:?}");

            // Told how far it is, one may end it, too: at the start, and on the way.
            for end in [0.0, 0.3] {
                let (mut last, mut found) = (0.0, 0);
                let search = collection.pairs(8).way(way).threads(threads);
                let outcome = search
                    .progress(|share| {
                        last = share;
                        if share >= end {
                            return ControlFlow::Break(());
                        }
                        ControlFlow::Continue(())
                    })
                    .for_each(|_| {
                        found += 1;
                        ControlFlow::Continue(())
                    })
                    .unwrap();
                assert_eq!(outcome.pairs, found);
                if end == 0.0 {
                    assert!(!outcome.is_complete && found == 0);
                }
                // Others may have done the rest while this one was told nothing.
                assert!(outcome.is_complete == (last == 1.0));
                assert!(threads > 1 || !outcome.is_complete);
            }

            for wanted in [1, 100, expected.len() / 2] {
                let mut told = Vec::new();
                let mut found = Vec::new();
                let search = collection.pairs(8).way(way).threads(threads);
                let outcome = search
                    .progress(|share| {
                        told.push(share);
                        ControlFlow::Continue(())
                    })
                    .for_each(|pair| {
                        found.push(pair);
                        if found.len() == wanted {
                            return ControlFlow::Break(());
                        }
                        ControlFlow::Continue(())
                    })
                    .unwrap();
                assert!(!outcome.is_complete);
                assert_eq!((found.len(), outcome.pairs), (wanted, wanted as u64));
                assert!(told.iter().all(|share| *share < 1.0), "{told:?}");
                found.sort_unstable();
                found.dedup();
                assert_eq!(found.len(), wanted);
                assert!(
                    found
                        .iter()
                        .all(|pair| expected.binary_search(pair).is_ok())
                );
            }
        }
    }
}

/// A panic of the caller's closure ends the threads and goes on; a closed database is an error.
#[test]
fn panics_and_errors_come_out() {
    let directory = tempfile::tempdir().unwrap();
    let db = Database::create(directory.path().join("db")).unwrap();
    let collection = db
        .create_collection("c", CollectionConfig::bits(16))
        .unwrap();
    let codes = Random(5).codes(16, 3000, Some(3)).concat();
    collection.append(&codes).unwrap();
    let search = collection.pairs(0).threads(3);
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        search.for_each(|_| panic!("enough"))
    }));
    assert!(panic.is_err());
    db.close().unwrap();
    assert!(matches!(
        collection.pairs(0).run(),
        Err(bitkin::Error::Closed)
    ));
}

/// A byte of a segment's file that is not what it was is an error, or of no matter: never another answer.
#[test]
fn damaged_files_give_errors_and_no_other_pairs() {
    let bits = 64;
    let mut random = Random(13);
    let rows = new_rows(&mut random, bits, TABLES + 200);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    let db = Database::create(&path).unwrap();
    let collection = db
        .create_collection("c", CollectionConfig::bits(bits))
        .unwrap();
    insert(&collection, &rows);
    collection.compact().unwrap();
    let expected = naive(&rows, 5);
    drop(collection);
    db.close().unwrap();
    let segments = std::fs::read_dir(path.join("segments")).unwrap();
    let files: Vec<_> = segments.map(|file| file.unwrap().path()).collect();
    let largest = files
        .iter()
        .max_by_key(|file| file.metadata().unwrap().len())
        .unwrap();
    let whole = std::fs::read(largest).unwrap();
    let mut errors = 0;
    for share in 0..24 {
        let mut bytes = whole.clone();
        bytes[whole.len() * (2 * share + 1) / 48] ^= 0x55;
        std::fs::write(largest, bytes).unwrap();
        for threads in [1, 3] {
            let pairs = Database::open_read_only(&path)
                .and_then(|db| db.collection("c"))
                .and_then(|collection| collection.pairs(5).way(Way::Tables).threads(threads).run());
            match pairs {
                Ok(pairs) => assert!(pairs == expected, "{share}"),
                Err(_) => errors += 1,
            }
        }
    }
    assert!(errors > 10, "{errors}");
}

/// Kept rows by going through all of them by id, each compared with all that are kept.
fn naive_groups(rows: &Rows, radius: u32) -> Vec<Group> {
    let mut rows = rows.clone();
    rows.sort_unstable();
    let mut groups: Vec<(Group, [u64; 4])> = Vec::new();
    for (id, code) in &rows {
        let code = words(code);
        let distance = |kept: &[u64; 4]| -> u32 {
            let words = kept.iter().zip(&code);
            words.map(|(a, b)| (a ^ b).count_ones()).sum()
        };
        let nearest = groups
            .iter_mut()
            .map(|(group, kept)| (distance(kept), group))
            .min_by_key(|(distance, group)| (*distance, group.id));
        match nearest {
            Some((distance, group)) if distance <= radius => {
                group.duplicates.push(Hit { id: *id, distance });
            }
            _ => {
                let duplicates = Vec::new();
                groups.push((
                    Group {
                        id: *id,
                        duplicates,
                    },
                    code,
                ));
            }
        }
    }
    let groups = groups.into_iter().map(|(group, _)| group);
    groups
        .filter(|group| !group.duplicates.is_empty())
        .collect()
}

#[test]
fn groups_are_those_of_going_through_all_rows() {
    let mut random = Random(77);
    for (bits, radius) in [(24, 1), (64, 5), (100, 12), (256, 31)] {
        let directory = tempfile::tempdir().unwrap();
        let db = Database::create(directory.path().join("db")).unwrap();
        let config = CollectionConfig::bits(bits);
        let collection = db.create_collection("c", config).unwrap();
        let rows = new_rows(&mut random, bits, 3_000);
        insert(&collection, &rows);
        db.flush().unwrap();
        let expected = naive_groups(&rows, radius);
        assert!(expected.iter().any(|group| group.duplicates.len() > 1));
        let groups = collection.pairs(radius).groups().unwrap();
        assert_eq!(groups, expected, "{bits} bits, radius {radius}");

        let duplicates = groups.iter().flat_map(|group| &group.duplicates);
        let duplicates: Vec<u64> = duplicates.map(|row| row.id).collect();
        collection.delete(&duplicates).unwrap();
        assert_eq!(collection.pairs(radius).run().unwrap(), []);
    }
}
