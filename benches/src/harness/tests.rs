//! What the figures rest on: truth, recall, generators, ratios, results on disk.

use std::path::Path;

use bitkin::{CollectionConfig, Database};
use bitkin_benches::measure::Spread;

use super::codes::{self, Codes, Form, distance, read_rows, write_rows};
use super::compare::{Kind as Change, changes};
use super::generate::Kind;
use super::quality::{Labelled, Quality};
use super::record::{self, Line, short};
use super::report::{Outcome, page, standings};
use super::truth::Truth;
use super::work::Work;

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

fn work_of(rows: Codes, queries: Codes) -> Work {
    let bits = 8 * rows.row_bytes() as u32;
    Work::of("w".to_owned(), bits, rows, queries).unwrap()
}

fn truth_of(work: &Work) -> Truth {
    Truth::work_out(&work.rows, &work.queries, |_| true)
}

#[test]
fn recall_counts_every_row_at_the_kth_distance() {
    let folder = tempfile::tempdir().unwrap();
    // Distances from the query: 0, 1, 1, 1, 2.
    let rows = [[0, 0], [1, 0], [2, 0], [4, 0], [3, 0]];
    let rows = codes_of(folder.path(), "r.npy", &rows);
    let work = work_of(rows, codes_of(folder.path(), "q.npy", &[[0, 0]]));
    let truth = truth_of(&work);
    let nearest = |ids: &[u64]| {
        let found = truth.recall_of_nearest(&work, ids.len(), ids, |_| true);
        found.unwrap()
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
    assert!(
        truth
            .recall_of_nearest(&work, 3, &[0, 1], |_| true)
            .is_err()
    );
    assert!(truth.agrees(&work, 2, &[2, 0]) && truth.agrees(&work, 5, &[2, 0, 1, 4, 3]));
    assert!(!truth.agrees(&work, 2, &[0, 4]) && !truth.agrees(&work, 2, &[0, 0]));
    // Too near would say that the truth misses rows.
    assert!(!truth.agrees(&work, 5, &[0, 1, 2, 3, 5]));
    let radius = |ids: &[u64]| {
        let offsets = [0, ids.len() as u64];
        truth.recall_of_radius(&work, 1, ids, &offsets)
    };
    assert_eq!(radius(&[0, 1, 2, 3]).unwrap(), 1.0);
    assert_eq!(radius(&[3]).unwrap(), 0.25);
    assert!(radius(&[3, 4]).is_err(), "row 4 is outside");
    assert!(truth.recall_of_radius(&work, 1, &[0], &[0, 2]).is_err());
    assert!(truth.recall_of_radius(&work, 1, &[0], &[0]).is_err());
}

#[test]
fn deleted_rows_are_no_neighbours() {
    let folder = tempfile::tempdir().unwrap();
    let rows = codes_of(folder.path(), "r.npy", &[[0, 0], [1, 0], [3, 0], [7, 0]]);
    let work = work_of(rows, codes_of(folder.path(), "q.npy", &[[0, 0]]));
    let keep = |row: usize| row != 0;
    let truth = Truth::work_out(&work.rows, &work.queries, keep);
    let recall = |ids: &[u64]| truth.recall_of_nearest(&work, 2, ids, keep).unwrap();
    assert_eq!(
        [recall(&[1, 2]), recall(&[0, 1]), recall(&[1, 3])],
        [1.0, 0.5, 0.5]
    );
}

#[test]
fn the_truth_is_what_sorting_says() {
    for bits in [13, 64, 100] {
        let folder = tempfile::tempdir().unwrap();
        let (rows, queries) = generated(Kind::Duplicates, bits, 10_000, folder.path());
        let work = work_of(rows, queries);
        let truth = truth_of(&work);
        for k in [1, 7, 100, 10_000] {
            let mut ids = Vec::new();
            for query in work.queries.iter() {
                let rows = (0_u64..).zip(work.rows.iter());
                let mut all: Vec<(u32, u64)> =
                    rows.map(|(id, row)| (distance(row, query), id)).collect();
                all.sort_unstable();
                ids.extend(all.iter().take(k).map(|(_, id)| *id));
            }
            let recall = |ids: &[u64]| truth.recall_of_nearest(&work, k, ids, |_| true).unwrap();
            assert_eq!(recall(&ids), 1.0, "{bits} bits, k = {k}");
            assert!(truth.agrees(&work, k, &ids), "{bits} bits, k = {k}");
            // Any other rows are not the nearest ones, until all are wanted.
            if k < 10_000 {
                let far: Vec<u64> = ids.iter().map(|id| 9_999 - id).collect();
                assert!(recall(&far) < 1.0);
                assert!(!truth.agrees(&work, k, &far));
            }
        }
    }
}

#[test]
fn a_truth_is_kept_and_a_damaged_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (rows, queries) = generated(Kind::Uniform, 32, 500, folder.path());
    let work = work_of(rows, queries);
    let load = || Truth::load(&work.rows, &work.queries, &work.data, folder.path());
    let truth = load().unwrap();
    assert_eq!(truth, truth_of(&work));
    assert_eq!(load().unwrap(), truth);
    let kept = folder.path().join(format!("truth-{}.bin", work.data));
    let whole = std::fs::read(&kept).unwrap();
    for damaged in [&whole[..whole.len() - 1], &[&whole[1..], &[0]].concat()] {
        std::fs::write(&kept, damaged).unwrap();
        let error = load().unwrap_err();
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
    // What a later run found of a system takes the place of all that an earlier one did.
    let later = |system, params: &[(&str, u64)]| Line {
        run: 1,
        ..line(system, params, 0.75, &[9.0])
    };
    record::append(&file, &[later("a", &[("ef", 2)])]).unwrap();
    let read = record::read(&file).unwrap();
    let labels: Vec<String> = read.iter().map(Line::label).collect();
    assert_eq!(labels, ["c", "a ef=2"]);
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
    let Outcome::Ratio(ratio) = found[0].outcome else {
        panic!("{found:?}");
    };
    assert_eq!((ratio.least, ratio.median, ratio.most), (0.5, 0.5, 2.0));
    let whole = page(&lines, &[], "c0ffee").unwrap();
    assert!(
        whole.contains("In speed, in 1 of 1 comparisons"),
        "it loses, and says so"
    );
    assert!(whole.contains("<svg") && !whole.contains("http-equiv") && !whole.contains("src="));
    assert!(!whole.contains('†'));
    let page = page(&lines, &[], "decaf").unwrap();
    assert!(page.contains('†'), "figures of another commit are marked");
}

#[test]
fn nothing_is_won_by_failing() {
    let peer = line("peer", &[], 0.99, &[90.0, 90.0]);
    let bitkin = |recall, run| Line {
        run,
        ..line("bitkin", &[], recall, &[100.0, 100.0])
    };
    let outcome = |lines: &[Line]| {
        let found = standings(lines);
        assert_eq!(found.len(), 1);
        let said = page(lines, &[], "c0ffee").unwrap();
        let of = |what: &str| said.contains(what);
        match found[0].outcome {
            Outcome::Ratio(_) => assert!(of("in none of 1 comparisons")),
            Outcome::BitkinMisses => assert!(of("in 1 of 1 comparisons") && of("found too little")),
            Outcome::PeerMisses | Outcome::Apart => assert!(of("Nothing was compared")),
        }
        std::mem::discriminant(&found[0].outcome)
    };
    let kind = |outcome: &Outcome| std::mem::discriminant(outcome);
    let won = kind(&Outcome::Ratio(Spread::default()));
    assert_eq!(outcome(&[peer.clone(), bitkin(1.0, 0)]), won);
    // It finds too little, or it failed.
    let missed = kind(&Outcome::BitkinMisses);
    assert_eq!(outcome(&[peer.clone(), bitkin(0.2, 0)]), missed);
    let mut failed = bitkin(1.0, 0);
    (failed.recall, failed.queries_per_second) = (None, None);
    failed.queries_per_second_rounds.clear();
    assert_eq!(outcome(&[peer.clone(), failed]), missed);
    // Rounds of different runs are not next to each other; nor is there anything without Bitkin.
    let apart = kind(&Outcome::Apart);
    assert_eq!(outcome(&[peer.clone(), bitkin(1.0, 7)]), apart);
    assert_eq!(outcome(std::slice::from_ref(&peer)), apart);
    let weak = line("peer", &[], 0.5, &[1e9]);
    assert_eq!(outcome(&[weak, bitkin(1.0, 0)]), kind(&Outcome::PeerMisses));
}

#[test]
fn dearer_costs_are_told() {
    let with = |name, disk| {
        let mut line = line(name, &[], 1.0, &[1.0]);
        line.costs.disk_bytes = Some(disk);
        line
    };
    let said = |own| page(&[with("bitkin", own), with("peer", 100)], &[], "c").unwrap();
    assert!(said(200).contains("Bitkin takes more disk than peer (2 times)"));
    assert!(!said(110).contains("more disk"), "within noise");
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
    let (steady, wild) = ([100.0, 101.0, 99.0, 100.0], [100.0, 150.0, 50.0, 90.0]);
    let old = [
        line("a", &[], 1.0, &steady),
        line("b", &[], 1.0, &wild),
        line("gone", &[], 1.0, &steady),
        line("blind", &[], 0.99, &steady),
    ];
    let slow = [80.0, 81.0, 80.0, 79.0];
    let new = [
        line("a", &[], 1.0, &slow),
        line("b", &[], 1.0, &slow),
        line("blind", &[], 0.9, &[500.0; 4]),
    ];
    let kinds = |old: &[Line], new: &[Line]| {
        let found = changes(old, new).unwrap();
        found
            .into_iter()
            .map(|change| change.kind)
            .collect::<Vec<_>>()
    };
    let found = kinds(&old, &new);
    let [
        Change::Gone,
        Change::FindsLess(0.99, 0.9),
        Change::Slower(ratio),
        Change::Same,
    ] = found[..]
    else {
        panic!("{found:?}");
    };
    assert!((ratio - 0.8).abs() < 1e-9);
    // Few rounds lie on one side by chance.
    let few = |lines: &[Line]| {
        let mut lines = lines[..1].to_vec();
        lines[0].queries_per_second_rounds.truncate(3);
        lines
    };
    assert_eq!(kinds(&few(&old), &few(&new)), [Change::Same]);
    // The machine itself was slower by as much: then nothing changed.
    let with_flat = |lines: &[Line], speed| {
        let mut lines = lines[..1].to_vec();
        lines.push(line("faiss-flat", &[], 1.0, &[speed; 4]));
        lines
    };
    let found = kinds(&with_flat(&old, 1000.0), &with_flat(&new, 800.0));
    assert_eq!(
        found,
        [Change::Slower(0.8), Change::Same],
        "of FAISS itself"
    );
    let mut other = new.clone();
    other[0].seed = 9;
    assert!(
        changes(&old, &other)
            .unwrap_err()
            .to_string()
            .contains("seed")
    );
    assert!(changes(&old, &[]).is_err());
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
    assert_eq!(super::arguments::count("1.5M"), Ok(1_500_000));
    assert_eq!(super::arguments::count("100k"), Ok(100_000));
    for wrong in ["", "M", "0", "1.5", "-3", "1e99", "NaN", "2000M"] {
        assert!(super::arguments::count(wrong).is_err(), "{wrong}");
    }
}
