//! Searches under masks: every way gives what a naive look at all rows gives, and what a certificate says is so.

use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bitkin::{Answer, Budget, Collection, CollectionConfig, Database, Error, Filter, Way};
use proptest::prelude::*;

/// Numbers that are the same everywhere.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
}

fn padded(mut code: Vec<u8>, bits: u32) -> Vec<u8> {
    let padding = 8 * code.len() as u32 - bits;
    if let Some(last) = code.last_mut() {
        *last &= 0xff >> padding;
    }
    code
}

/// A code some bits from one of a few centres.
fn code(bits: u32, chance: &mut Chance, centres: &[Vec<u8>]) -> Vec<u8> {
    let mut code = centres[chance.next() as usize % centres.len()].clone();
    for _ in 0..chance.next() % (u64::from(bits) / 3 + 1) {
        let bit = chance.next() as u32 % bits;
        code[bit as usize / 8] ^= 1 << (bit % 8);
    }
    code
}

#[derive(Clone, Copy, Debug)]
enum Mask {
    One,
    All,
    /// So many bits, anywhere.
    Some(u32),
    /// Half of the bits.
    Dense,
    /// Those that follow each other.
    Run(u32),
}

impl Mask {
    fn bytes(self, bits: u32, chance: &mut Chance) -> Vec<u8> {
        let mut mask = vec![0_u8; bits.div_ceil(8) as usize];
        let mut set = |bit: u32| mask[bit as usize / 8] |= 1 << (bit % 8);
        match self {
            Mask::One => set(chance.next() as u32 % bits),
            Mask::All => (0..bits).for_each(set),
            Mask::Some(count) => (0..count).for_each(|_| set(chance.next() as u32 % bits)),
            Mask::Dense => (0..bits.div_ceil(2)).for_each(|_| set(chance.next() as u32 % bits)),
            Mask::Run(count) => {
                let first = chance.next() as u32 % bits;
                (first..bits.min(first + count)).for_each(set);
            }
        }
        mask
    }
}

fn any_mask() -> impl Strategy<Value = Mask> {
    prop_oneof![
        Just(Mask::One),
        Just(Mask::All),
        (1_u32..70).prop_map(Mask::Some),
        Just(Mask::Dense),
        (1_u32..40).prop_map(Mask::Run)
    ]
}

fn any_bits() -> impl Strategy<Value = u32> {
    prop_oneof![Just(64), Just(256), 8_u32..80, 1000_u32..1500]
}

type Rows = Vec<(u64, Vec<u8>)>;

/// A segment with planes, if the collection has them, rows in memory, and deletes.
fn fill(collection: &Collection, chance: &mut Chance, centres: &[Vec<u8>]) -> Rows {
    let mut rows = Rows::new();
    for (count, compact) in [(4600, true), (300, false)] {
        let (mut ids, mut codes) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let id = rows.last().map_or(5, |(id, _)| id + 1 + chance.next() % 2);
            let code = code(collection.bits(), chance, centres);
            ids.push(id);
            codes.extend_from_slice(&code);
            rows.push((id, code));
        }
        let payloads: Vec<String> = ids
            .iter()
            .map(|id| format!("{{\"n\": {}}}", id % 100))
            .collect();
        let payloads: Vec<Option<&str>> = payloads.iter().map(|json| Some(&**json)).collect();
        let ids = Some(&ids[..]);
        collection
            .insert_with_payloads(ids, &codes, &payloads)
            .unwrap();
        if compact {
            collection.compact().unwrap();
        }
    }
    let gone = |id: &u64| id % 11 == 3;
    let ids: Vec<u64> = rows.iter().map(|(id, _)| *id).filter(gone).collect();
    collection.delete(&ids).unwrap();
    rows.retain(|(id, _)| !gone(id));
    rows
}

/// All rows as (distance, id), by that.
fn near(rows: &Rows, query: &[u8], mask: &[u8]) -> Vec<(u32, u64)> {
    let apart = |code: &[u8]| {
        let bytes = code.iter().zip(query).zip(mask);
        bytes.map(|((a, b), m)| ((a ^ b) & m).count_ones()).sum()
    };
    let mut near: Vec<(u32, u64)> = rows.iter().map(|(id, code)| (apart(code), *id)).collect();
    near.sort_unstable();
    near
}

fn hits(answer: &Answer) -> Vec<(u32, u64)> {
    let hits = answer.hits.iter();
    hits.map(|hit| (hit.distance, hit.id)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3, max_shrink_iters: 20, ..ProptestConfig::default() })]

    #[test]
    fn every_way_gives_the_same_answer(
        bits in any_bits(),
        has_planes in any::<bool>(),
        masks in prop::collection::vec(any_mask(), 4),
        seed in any::<u64>(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut chance = Chance(seed);
        let db = Database::create(folder.path().join("db")).unwrap();
        let config = CollectionConfig::bits(bits).planes(has_planes);
        let collection = db.create_collection("c", config).unwrap();
        prop_assert_eq!(collection.has_planes(), has_planes);
        let stride = collection.code_bytes();
        let centres: Vec<Vec<u8>> = (0..5)
            .map(|_| padded((0..stride).map(|_| chance.next() as u8).collect(), bits))
            .collect();
        let rows = fill(&collection, &mut chance, &centres);
        let queries: Vec<Vec<u8>> = masks.iter().map(|_| code(bits, &mut chance, &centres)).collect();
        let masks: Vec<Vec<u8>> = masks.iter().map(|mask| mask.bytes(bits, &mut chance)).collect();
        let (some, few) = (Filter::parse("n < 60").unwrap(), Filter::parse("n = 7").unwrap());
        let filters = [(None, 0..100), (Some(&some), 0..60), (Some(&few), 7..8)];
        drop(collection);
        for state in ["as written", "compact", "opened again"] {
            // The last handle but one: the database is opened read-only, beside this one.
            let reader = (state == "opened again").then(|| Database::open_read_only(db.path()).unwrap());
            let collection = reader.as_ref().unwrap_or(&db).collection("c").unwrap();
            if state == "compact" {
                collection.compact().unwrap();
            }
            for (k, radius) in [
                (Some(1), None), (Some(10), None), (Some(10), Some(3)), (Some(0), None), (Some(9000), None),
                (None, Some(0)), (None, Some(bits / 8)), (None, Some(bits)),
            ] {
                for (filter, range) in &filters {
                    let asks = |mask: &[u8]| {
                        let mut options = bitkin::SearchOptions::new().mask(mask);
                        if let Some(k) = k { options = options.k(k) }
                        if let Some(radius) = radius { options = options.radius(radius) }
                        if let Some(filter) = filter { options = options.filter(filter) }
                        options
                    };
                    let (all, flat) = (masks.concat(), queries.concat());
                    let own = collection.search_batch(&flat).options(&asks(&all).threads(2)).run().unwrap();
                    let one = collection.search_batch(&flat).options(&asks(&masks[0]).threads(1)).run().unwrap();
                    for (number, (query, mask)) in queries.iter().zip(&masks).enumerate() {
                        let expected = |mask: &[u8]| {
                            let mut expected = near(&rows, query, mask);
                            expected.retain(|(distance, id)| {
                                radius.is_none_or(|radius| *distance <= radius) && range.contains(&(id % 100))
                            });
                            let is_full = k.is_some_and(|k| expected.len() >= k);
                            expected.truncate(k.unwrap_or(usize::MAX));
                            let width = mask.iter().map(|byte| byte.count_ones()).sum();
                            let certified = match expected.last() {
                                _ if !is_full => Some(radius.unwrap_or(width)),
                                last => last.map(|(distance, _)| *distance),
                            };
                            (expected, certified)
                        };
                        let mut answers = vec![(own[number].clone(), expected(mask)), (one[number].clone(), expected(&masks[0]))];
                        for way in [None, Some(Way::Scan), Some(Way::Planes)] {
                            let mut search = collection.search(query).options(&asks(mask)).threads(3);
                            if let Some(way) = way { search = search.way(way) }
                            let (answer, explanation) = search.explain().unwrap();
                            answers.push((answer, expected(mask)));
                            for part in &explanation.parts {
                                // Of few rows, either may be the cheaper.
                                let few = filter.is_some() && range.end - range.start == 1;
                                let planes = has_planes && !part.in_memory && way != Some(Way::Scan);
                                prop_assert!(few || (part.way == Way::Planes) == planes, "{}", state);
                                prop_assert!(planes || part.way == Way::Scan);
                                prop_assert!(part.candidates <= part.rows);
                            }
                        }
                        for (answer, (expected, certified)) in answers {
                            prop_assert_eq!(hits(&answer), expected, "{}: k {:?}, radius {:?}", state, k, radius);
                            prop_assert!(answer.exact);
                            prop_assert_eq!(answer.certified_radius, certified);
                        }
                        if let (None, Some(_)) = (k, radius) {
                            let mut streamed = Vec::new();
                            let done = collection.search(query).options(&asks(mask)).for_each(|hit| {
                                streamed.push((hit.distance, hit.id));
                                ControlFlow::Continue(())
                            });
                            streamed.sort_unstable();
                            let (expected, certified) = expected(mask);
                            prop_assert_eq!(streamed, expected);
                            let done = done.unwrap();
                            prop_assert!(done.exact && done.certified_radius == certified);
                        }
                    }
                }
            }
        }
    }

    /// However little a search may spend: what it certifies is there and right, it invents nothing, and an
    /// answer that it calls exact is.
    #[test]
    fn a_certificate_covers_what_it_says(
        bits in any_bits(),
        mask in any_mask(),
        seed in any::<u64>(),
        budgets in prop::collection::vec(0_u64..7_000, 6),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut chance = Chance(seed);
        let db = Database::create(folder.path().join("db")).unwrap();
        let collection = db.create_collection("c", CollectionConfig::bits(bits).planes(true)).unwrap();
        let centres = [vec![0; collection.code_bytes()]];
        let rows = fill(&collection, &mut chance, &centres);
        let none = Budget::Time(Duration::ZERO);
        let budgets = budgets.into_iter().map(Budget::Candidates).chain([none, Budget::Time(Duration::from_secs(60))]);
        for budget in budgets {
            let (query, mask) = (code(bits, &mut chance, &centres), mask.bytes(bits, &mut chance));
            for (k, radius) in [(Some(10), None), (None, Some(bits / 8)), (Some(10), Some(2))] {
                let mut search = collection.search(&query).mask(&mask).budget(budget);
                if let Some(k) = k { search = search.k(k) }
                if let Some(radius) = radius { search = search.radius(radius) }
                let answer = search.run().unwrap();
                let mut all = near(&rows, &query, &mask);
                let hits = hits(&answer);
                prop_assert!(hits.is_sorted());
                prop_assert!(hits.iter().all(|hit| all.binary_search(hit).is_ok()));
                let proven = answer.certified_radius.map_or(0, |radius| radius + 1);
                let due = all.iter().filter(|(distance, _)| *distance < proven).count();
                let due = due.min(k.unwrap_or(usize::MAX));
                prop_assert_eq!(hits.get(..due), Some(&all[..due]));
                all.retain(|(distance, _)| radius.is_none_or(|radius| *distance <= radius));
                all.truncate(k.unwrap_or(usize::MAX));
                prop_assert!(!answer.exact || hits == all);
                prop_assert!(answer.exact || budget != Budget::Time(Duration::from_secs(60)));
            }
        }
    }
}

/// More rows than are counted at a time, and more than a block of planes has; wide codes in few rows beside. Threads
/// share them as they share any scan.
#[test]
fn long_segments_have_several_blocks() {
    let folder = tempfile::tempdir().unwrap();
    let db = Database::create(folder.path().join("db")).unwrap();
    let config = CollectionConfig::bits(20).planes(true);
    let collection = db.create_collection("c", config).unwrap();
    let mut chance = Chance(7);
    let count = 150_000;
    let code = |chance: &mut Chance| padded(chance.next().to_le_bytes()[..3].to_vec(), 20);
    let rows: Rows = (0..count).map(|id| (id, code(&mut chance))).collect();
    let codes: Vec<u8> = rows.iter().flat_map(|(_, code)| code.clone()).collect();
    collection.append(&codes).unwrap();
    collection.compact().unwrap();
    let layout = &collection.snapshot().unwrap().layout()[0];
    // A block of 131,072 rows, and one of what is left, in lines of 512.
    let lines = (count - 131_072).div_ceil(512);
    assert_eq!(
        layout.plane_bytes,
        20 * (131_072 / 8 + 64 * lines) + 64,
        "{layout:?}"
    );
    for mask in [[0xff, 0x0f, 0x00], [0x00, 0x81, 0x0a], [0xff, 0xff, 0x0f]] {
        let query = code(&mut chance);
        let mut expected = near(&rows, &query, &mask);
        expected.truncate(700);
        for threads in [1, 2, 5] {
            let search = collection.search(&query).mask(&mask).k(700);
            let (answer, explanation) = search.threads(threads).explain().unwrap();
            assert_eq!(hits(&answer), expected);
            assert_eq!(explanation.parts[0].way, Way::Planes);
            let width: u64 = mask.iter().map(|byte| u64::from(byte.count_ones())).sum();
            assert!(explanation.parts[0].bytes <= layout.plane_bytes / 20 * width);
        }
    }
    let path = db.path().to_owned();
    drop(collection);
    db.close().unwrap();
    let right = |mask: &[u8], answer: &Answer| {
        let mut expected = near(&rows, &codes[..3], mask);
        expected.truncate(10);
        assert_eq!(hits(answer), expected);
    };

    // A damaged byte is noticed by whoever reads its piece, and by nobody else: pieces are blocks of checksums.
    let (segment, planes) = planes_of(&path);
    assert!(planes.start.is_multiple_of(16_384));
    damaged(&segment, planes.start + 5 * 16_384 + 77, || {
        let db = Database::open_read_only(&path).unwrap();
        let collection = db.collection("c").unwrap();
        let search = |mask: &[u8]| collection.search(&codes[..3]).mask(mask).explain();
        let Err(Error::Storage(bitkin::StorageError::Corrupt { offset, .. })) =
            search(&[0x20, 0, 0])
        else {
            panic!("what is damaged was read")
        };
        assert_eq!(offset, planes.start + 5 * 16_384);
        let mask = [0xdf, 0xff, 0x0f];
        let (answer, explanation) = search(&mask).unwrap();
        right(&mask, &answer);
        assert_eq!(explanation.parts[0].way, Way::Planes);
        assert_eq!(bitkin::verify(&path).unwrap().problems.len(), 1);
    });
    // A section that cannot be understood is passed over: the codes say the same.
    damaged(&segment, planes.end - 60, || {
        let db = Database::open_read_only(&path).unwrap();
        let collection = db.collection("c").unwrap();
        let mask = [0xff, 0x01, 0];
        let (answer, explanation) = collection
            .search(&codes[..3])
            .mask(&mask)
            .explain()
            .unwrap();
        right(&mask, &answer);
        assert_eq!(explanation.parts[0].way, Way::Scan);
    });
}

/// The one segment of a database, and where its planes are, by the table of contents.
fn planes_of(database: &Path) -> (PathBuf, Range<u64>) {
    let mut files = std::fs::read_dir(database.join("segments")).unwrap();
    let file = files.next().unwrap().unwrap().path();
    assert!(files.next().is_none(), "one segment");
    let bytes = std::fs::read(&file).unwrap();
    let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    let contents = number(bytes.len() - 48) as usize;
    let entries = bytes[contents..bytes.len() - 64].chunks(64).zip(0..);
    let mut planes = entries.filter(|(entry, _)| entry.starts_with(b"hamming.planes\0"));
    let entry = contents + 64 * planes.next().unwrap().1;
    let start = number(entry + 40);
    (file, start..start + number(entry + 48))
}

/// Turns a byte of a file over while `work` is done.
fn damaged(file: &Path, at: u64, work: impl FnOnce()) {
    let whole = std::fs::read(file).unwrap();
    let mut bytes = whole.clone();
    bytes[at as usize] ^= 0x10;
    std::fs::write(file, &bytes).unwrap();
    work();
    std::fs::write(file, &whole).unwrap();
}

/// A mask that cannot be used is refused, with what to do; the collection's own width counts, not the query's.
#[test]
fn masks_must_fit() {
    let folder = tempfile::tempdir().unwrap();
    let db = Database::create(folder.path().join("db")).unwrap();
    let collection = db
        .create_collection("c", CollectionConfig::bits(12).planes(true))
        .unwrap();
    collection.append(&[0xff, 0x0f, 0x00, 0x00]).unwrap();
    let refused = |mask: &[u8]| {
        let single = collection.search(&[1, 1]).mask(mask).run().unwrap_err();
        let error = single.to_string();
        let stream = collection
            .search(&[1, 1])
            .mask(mask)
            .for_each(|_| ControlFlow::Continue(()));
        assert_eq!(stream.unwrap_err().to_string(), error);
        single
    };
    for mask in [&[1_u8][..], &[1, 1, 1], &[]] {
        let error = refused(mask);
        let Error::MaskWidth { expected: 2, .. } = error else {
            panic!("{error}")
        };
    }
    let error = refused(&[0x01, 0x10]);
    assert!(matches!(
        error,
        Error::MaskPadding {
            bits: 12,
            mask: 0,
            ..
        }
    ));
    let error = refused(&[0, 0]);
    assert!(matches!(error, Error::EmptyMask { mask: 0, .. }));
    assert!(error.to_string().contains("set those that are to count"));

    let batch = |mask: &[u8]| collection.search_batch(&[1, 1, 2, 2]).mask(mask).run();
    assert!(matches!(
        batch(&[1, 1, 0, 0]),
        Err(Error::EmptyMask { mask: 1, .. })
    ));
    let error = batch(&[1, 1, 1, 1, 1, 1]).unwrap_err();
    assert!(
        error.to_string().contains("that for each of 2 queries"),
        "{error}"
    );
    assert_eq!(batch(&[1, 1]).unwrap(), batch(&[1, 1, 1, 1]).unwrap());
}
