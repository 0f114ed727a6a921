//! What the figures rest on: truth, recall, generators, ratios, results on disk.

use std::path::Path;

use bitkin::{CollectionConfig, Database};
use bitkin_benches::measure::Spread;

use super::codes::{self, Codes, Form, distance, read_rows, write_rows};
use super::compare::changes;
use super::generate::Kind;
use super::quality::{Labelled, Quality};
use super::record::{self, Line, short};
use super::report::{page, standings};
use super::truth::Truth;

fn codes_of(folder: &Path, name: &str, rows: &[[u8; 2]]) -> Codes {
    let path = folder.join(name);
    write_rows(&path, 2, rows.iter().map(|row| &row[..])).unwrap();
    Codes::open(&path).unwrap()
}

fn generated(kind: Kind, bits: u32, rows: usize, folder: &Path) -> (Codes, Codes) {
    let (file, asked) = (folder.join("rows.npy"), folder.join("queries.npy"));
    kind.rows(bits, rows, 7, &file).unwrap();
    let rows = Codes::open(&file).unwrap();
    kind.queries(bits, 50, 7, &rows, &asked).unwrap();
    (rows, Codes::open(&asked).unwrap())
}

#[test]
fn recall_counts_every_row_at_the_kth_distance() {
    let folder = tempfile::tempdir().unwrap();
    // Distances from the query: 0, 1, 1, 1, 2.
    let rows = codes_of(
        folder.path(),
        "r.npy",
        &[[0, 0], [1, 0], [2, 0], [4, 0], [3, 0]],
    );
    let query = codes_of(folder.path(), "q.npy", &[[0, 0]]);
    let truth = Truth::work_out(&rows, &query);
    let nearest = |ids: &[u64]| {
        truth
            .recall_of_nearest(&rows, &query, ids.len(), ids)
            .unwrap()
    };
    assert_eq!(nearest(&[0, 1]), 1.0);
    assert_eq!(
        nearest(&[3, 0]),
        1.0,
        "any row at the second distance counts"
    );
    assert_eq!(nearest(&[0, 4]), 0.5);
    assert_eq!(nearest(&[0, 0]), 0.5, "a row counts once");
    assert_eq!(nearest(&[0, u64::MAX]), 0.5, "no row is none");
    assert_eq!(nearest(&[0, 5]), 0.5, "there is no row 5");
    assert!(truth.recall_of_nearest(&rows, &query, 3, &[0, 1]).is_err());
    let radius = |ids: &[u64]| {
        let offsets = [0, ids.len() as u64];
        truth
            .recall_of_radius(&rows, &query, 1, ids, &offsets)
            .unwrap()
    };
    assert_eq!(radius(&[0, 1, 2, 3]), 1.0);
    assert_eq!(radius(&[3, 4]), 0.25, "row 4 is outside");
    assert!(
        truth
            .recall_of_radius(&rows, &query, 1, &[0], &[0, 2])
            .is_err()
    );
    assert!(
        truth
            .recall_of_radius(&rows, &query, 1, &[0], &[0])
            .is_err()
    );
}

#[test]
fn the_truth_is_what_sorting_says() {
    for bits in [13, 64, 100] {
        let folder = tempfile::tempdir().unwrap();
        let (rows, queries) = generated(Kind::Duplicates, bits, 3_000, folder.path());
        let truth = Truth::load(&rows, &queries, folder.path()).unwrap();
        for k in [1, 7, 100, 3_000] {
            let mut ids = Vec::new();
            for query in queries.iter() {
                let mut all: Vec<(u32, u64)> = (0..)
                    .zip(rows.iter())
                    .map(|(id, row)| (distance(row, query), id))
                    .collect();
                all.sort_unstable();
                ids.extend(all.iter().take(k).map(|(_, id)| *id));
            }
            let recall = truth.recall_of_nearest(&rows, &queries, k, &ids).unwrap();
            assert_eq!(recall, 1.0, "{bits} bits, k = {k}");
            // The farthest rows are not the nearest ones, until all are wanted.
            if k < 3_000 {
                let far: Vec<u64> = ids.iter().map(|id| 2_999 - id).collect();
                assert!(truth.recall_of_nearest(&rows, &queries, k, &far).unwrap() < 1.0);
            }
        }
    }
}

#[test]
fn a_truth_is_kept_and_a_damaged_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (rows, queries) = generated(Kind::Uniform, 32, 500, folder.path());
    let truth = Truth::load(&rows, &queries, folder.path()).unwrap();
    assert_eq!(Truth::load(&rows, &queries, folder.path()).unwrap(), truth);
    let files = folder
        .path()
        .read_dir()
        .unwrap()
        .map(|file| file.unwrap().path());
    let kept: Vec<_> = files
        .filter(|file| file.extension().unwrap() == "bin")
        .collect();
    assert_eq!(kept.len(), 1);
    let whole = std::fs::read(&kept[0]).unwrap();
    for damaged in [&whole[..whole.len() - 1], &[&whole[1..], &[0]].concat()] {
        std::fs::write(&kept[0], damaged).unwrap();
        let error = Truth::load(&rows, &queries, folder.path()).unwrap_err();
        assert!(error.to_string().contains("is damaged"), "{error}");
    }
}

#[test]
fn the_same_seed_gives_the_same_codes_and_padding_is_zero() {
    for (name, kind) in Kind::ALL {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (rows, queries) = generated(kind, 75, 40_000, one.path());
        let (again, asked) = generated(kind, 75, 40_000, two.path());
        assert_eq!(rows.bytes(), again.bytes(), "{name}");
        assert_eq!(queries.bytes(), asked.bytes(), "{name}");
        assert_eq!((rows.rows(), rows.row_bytes()), (40_000, 10));
        assert!(
            rows.iter()
                .chain(queries.iter())
                .all(|code| code[9] >> 3 == 0),
            "{name}"
        );
        // Blocks do not repeat each other.
        assert_ne!(rows.get(0), rows.get(1 << 14), "{name}");
    }
}

#[test]
fn planted_queries_have_a_row_within_forty_bits() {
    let folder = tempfile::tempdir().unwrap();
    let (rows, queries) = generated(Kind::Planted, 256, 2_000, folder.path());
    let nearest = |query: &[u8]| rows.iter().map(|row| distance(row, query)).min().unwrap();
    let distances: Vec<u32> = queries.iter().map(nearest).collect();
    assert!(distances.iter().all(|d| *d <= 40), "{distances:?}");
    assert!(distances.iter().any(|d| *d > 30) && distances.iter().any(|d| *d < 10));
}

#[test]
fn some_codes_are_frequent_where_duplicates_are_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let (rows, _) = generated(Kind::Duplicates, 64, 20_000, folder.path());
    let mut counts = std::collections::HashMap::new();
    for row in rows.iter() {
        *counts.entry(row).or_insert(0) += 1;
    }
    assert!(counts.values().any(|count| *count > 500));
    assert!(counts.len() > 1_000);
}

#[test]
fn files_of_codes_are_read_and_damaged_ones_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("codes.u8bin");
    let whole = [&2_u32.to_le_bytes()[..], &3_u32.to_le_bytes(), b"abcdef"].concat();
    std::fs::write(&file, &whole).unwrap();
    assert_eq!(
        read_rows(&file, Form::U8bin).unwrap(),
        (b"abcdef".to_vec(), 3)
    );
    std::fs::write(&file, &whole[..13]).unwrap();
    let error = read_rows(&file, Form::U8bin).unwrap_err().to_string();
    assert!(error.contains("2 rows of 3 bytes"), "{error}");
    std::fs::write(&file, &whole[..5]).unwrap();
    assert!(read_rows(&file, Form::U8bin).is_err());
    std::fs::write(&file, b"abcdefg").unwrap();
    assert!(read_rows(&file, Form::Raw(3)).is_err());
    assert_eq!(read_rows(&file, Form::Raw(7)).unwrap().1, 7);
    let numbers = folder.path().join("numbers.npy");
    codes::write_numbers(&numbers, &[1, u64::MAX]).unwrap();
    assert_eq!(codes::read_numbers(&numbers).unwrap(), [1, u64::MAX]);
}

fn line(system: &str, params: &[(&str, u64)], recall: f64, rounds: &[f64]) -> Line {
    Line {
        system: system.to_owned(),
        border: "python".to_owned(),
        work: "uniform".to_owned(),
        bits: 64,
        rows: 1000,
        queries: 10,
        k: Some(10),
        params: params
            .iter()
            .map(|(name, value)| ((*name).to_owned(), *value))
            .collect(),
        threads: 1,
        batch: 1,
        recall: Some(recall),
        queries_per_second: Some(Spread::of(rounds).median),
        queries_per_second_rounds: rounds.to_vec(),
        commit: "c0ffee".to_owned(),
        ..Line::default()
    }
}

#[test]
fn results_outlive_an_interrupted_write() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("results.jsonl");
    assert!(record::read(&file).unwrap().is_empty());
    let lines = [
        line("a", &[], 1.0, &[1.0]),
        line("b", &[("ef", 3)], 0.5, &[2.0]),
    ];
    record::append(&file, &lines).unwrap();
    let whole = std::fs::read(&file).unwrap();
    for cut in [whole.len() - 1, whole.len() - 30] {
        std::fs::write(&file, &whole[..cut]).unwrap();
        assert_eq!(record::read(&file).unwrap().len(), 1);
        record::append(&file, &[line("c", &[], 1.0, &[1.0])]).unwrap();
        let systems: Vec<String> = record::read(&file)
            .unwrap()
            .into_iter()
            .map(|line| line.system)
            .collect();
        assert_eq!(systems, ["a", "c"]);
    }
    // The later of two measurements counts.
    record::append(&file, &[line("a", &[], 0.75, &[9.0])]).unwrap();
    let read = record::read(&file).unwrap();
    assert_eq!((read.len(), read[0].recall), (2, Some(0.75)));
    std::fs::write(&file, "{\"system\": 1}\n").unwrap();
    let error = record::read(&file).unwrap_err().to_string();
    assert!(error.contains("line 1"), "{error}");
}

#[test]
fn every_line_has_what_readers_of_results_rely_on() {
    let text = serde_json::to_string(&line("a", &[("ef", 3)], 0.5, &[2.0])).unwrap();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    let names = [
        "system",
        "work",
        "bits",
        "rows",
        "k",
        "recall",
        "queries_per_second",
        "commit",
    ];
    for name in names
        .into_iter()
        .chain(["params", "seed", "machine", "version", "disk_bytes"])
    {
        assert!(value.get(name).is_some(), "{name} is missing");
    }
}

#[test]
fn a_peer_is_compared_at_its_fastest_setting_that_finds_enough() {
    let mut native = line("bitkin-native", &[], 1.0, &[1e6]);
    native.border = "native".to_owned();
    let lines = [
        native,
        line("bitkin", &[], 1.0, &[100.0, 120.0, 80.0]),
        line("peer", &[("ef", 1)], 0.90, &[500.0, 500.0, 500.0]),
        line("peer", &[("ef", 2)], 0.96, &[200.0, 60.0, 160.0]),
        line("peer", &[("ef", 3)], 0.99, &[90.0, 90.0, 90.0]),
        line("limit-read", &[], 1.0, &[1e9]),
    ];
    let found = standings(&lines);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].peer, "peer ef=2");
    // Round by round: 100/200, 120/60, 80/160.
    let ratio = found[0].ratio;
    assert_eq!((ratio.least, ratio.median, ratio.most), (0.5, 0.5, 2.0));
    let page = page(&lines, &[], "c0ffee").unwrap();
    assert!(
        page.contains("In 1 of 1 comparisons"),
        "it loses, and says so"
    );
    assert!(page.contains("<svg") && !page.contains("http-equiv") && !page.contains("src="));
    assert!(!page.contains('†'));
    let page = super::report::page(&lines, &[], "decaf").unwrap();
    assert!(page.contains('†'), "figures of another commit are marked");
}

#[test]
fn what_failed_stands_in_the_page() {
    let mut failed = line("peer", &[], 0.0, &[]);
    (failed.recall, failed.queries_per_second) = (None, None);
    failed.error = Some("no answer within 5 s <b>".to_owned());
    let page = page(&[line("bitkin", &[], 1.0, &[1.0]), failed], &[], "c0ffee").unwrap();
    assert!(page.contains("no answer within 5 s &lt;b&gt;"));
}

#[test]
fn changes_count_when_they_pass_the_noise() {
    let old = [
        line("a", &[], 1.0, &[100.0, 101.0, 99.0]),
        line("b", &[], 1.0, &[100.0, 150.0, 50.0]),
        line("gone", &[], 1.0, &[1.0]),
    ];
    let new = [
        line("a", &[], 1.0, &[80.0, 81.0]),
        line("b", &[], 1.0, &[80.0, 81.0]),
    ];
    let found = changes(&old, &new);
    assert_eq!(found.len(), 2);
    assert!(
        found[0].beyond_noise && found[0].what.contains(", a,"),
        "{found:?}"
    );
    assert!((found[0].ratio - 0.805).abs() < 1e-9);
    assert!(!found[1].beyond_noise);
    // The machine itself was slower by as much: then nothing changed.
    let with_limit = |lines: &[Line], speed| {
        let mut lines = lines.to_vec();
        lines.push(line("limit-read", &[], 1.0, &[speed]));
        lines
    };
    let found = changes(&with_limit(&old, 1000.0), &with_limit(&new, 800.0));
    assert!(found.iter().all(|change| !change.beyond_noise), "{found:?}");
}

#[test]
fn quality_is_that_of_the_metrics_row_by_row() {
    let folder = tempfile::tempdir().unwrap();
    generated(Kind::Clustered, 16, 300, folder.path());
    let labelled = |codes: &str, labels: &[i64]| {
        let text: String = labels.iter().map(|label| format!("{label}\n")).collect();
        let file = folder.path().join("labels.txt");
        std::fs::write(&file, text).unwrap();
        let mut classes = (0..4).map(|class| (class.to_string(), class)).collect();
        Labelled::files(&folder.path().join(codes), &file, &mut classes)
    };
    let labels: Vec<i64> = (0..300).map(|row| row % 3).collect();
    let asked: Vec<i64> = (0..50).map(|query| query % 4).collect();
    let (rows, queries) = (
        labelled("rows.npy", &labels).unwrap(),
        labelled("queries.npy", &asked).unwrap(),
    );
    let found = Quality::measure("x", &rows, &queries, 20, "c").unwrap();
    let mut all = Vec::new();
    let mut within = Vec::new();
    let (codes, queries_of) = (
        Codes::open(&folder.path().join("rows.npy")).unwrap(),
        Codes::open(&folder.path().join("queries.npy")).unwrap(),
    );
    for (query, label) in queries_of.iter().zip(&asked) {
        let distances: Vec<u32> = codes.iter().map(|row| distance(row, query)).collect();
        let relevant: Vec<bool> = labels.iter().map(|one| one == label).collect();
        all.push(bitkin::metrics::expected_average_precision_of_distances(
            &distances, &relevant, 16,
        ));
        let near = distances.iter().zip(&relevant).filter(|(d, _)| **d <= 2);
        let near: Vec<bool> = near.map(|(_, relevant)| *relevant).collect();
        within.push(bitkin::metrics::precision_at(
            near.iter().copied(),
            near.len(),
        ));
    }
    assert!((found.map - bitkin::metrics::mean(all)).abs() < 1e-12);
    assert!((found.precision_within_2 - bitkin::metrics::mean(within)).abs() < 1e-12);
    let (recall, precision) = *found.precision_recall.last().unwrap();
    assert_eq!(recall, 1.0);
    // Of a class that no row has nothing is found; of the others a third of the rows.
    let share = asked.iter().filter(|label| **label < 3).count() as f64 / 50.0 / 3.0;
    assert!((precision - share).abs() < 1e-12);
    assert!(labelled("rows.npy", &labels[1..]).is_err());
    assert!(Quality::measure("x", &rows, &queries, 301, "c").is_err());
}

#[test]
fn a_collection_with_labels_is_judged_by_a_part_of_itself() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let database = Database::create(&path).unwrap();
    let collection = database
        .create_collection("c", CollectionConfig::bits(8))
        .unwrap();
    // Two classes that no code confuses; every 25th row has no label.
    let codes: Vec<u8> = (0..240)
        .map(|row| if row % 2 == 0 { 0x0f } else { 0xf0 })
        .collect();
    let payloads: Vec<Option<String>> = (0..240)
        .map(|row| (row % 25 != 7).then(|| format!("{{\"kind\": {}}}", row % 2)))
        .collect();
    let payloads: Vec<Option<&str>> = payloads.iter().map(Option::as_deref).collect();
    collection
        .insert_with_payloads(None, &codes, &payloads)
        .unwrap();
    let (rows, queries) = Labelled::collections(&path, "c", None, "kind").unwrap();
    assert_eq!((rows.len() + queries.len(), queries.len()), (230, 20));
    let found = Quality::measure("x", &rows, &queries, 50, "c").unwrap();
    assert_eq!(
        (found.map, found.map_at_k, found.precision_within_2),
        (1.0, 1.0, 1.0)
    );
    let (rows, queries) = Labelled::collections(&path, "c", Some("c"), "kind").unwrap();
    assert_eq!((rows.len(), queries.len()), (230, 230));
    let error = Labelled::collections(&path, "c", None, "label").unwrap_err();
    assert!(error.to_string().contains("\"label\""), "{error}");
}

#[test]
fn numbers_are_said_shortly() {
    assert_eq!(
        [short(100_000), short(1_500_000), short(20_123)],
        ["100k", "1.5M", "20123"]
    );
    assert_eq!(super::count("1.5M"), Ok(1_500_000));
    assert_eq!(super::count("100k"), Ok(100_000));
    for wrong in ["", "M", "0", "1.5", "-3", "1e99", "NaN", "2000M"] {
        assert!(super::count(wrong).is_err(), "{wrong}");
    }
}
