//! The harness as its users run it: with the systems that need nothing but this workspace.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn harness(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_harness"))
        .args(arguments)
        // No Python: the peers that need it are not there.
        .env("PATH", "/nonexistent")
        .current_dir(folder)
        .output()
        .expect("the harness starts")
}

const RUN: &[&str] = &[
    "--rows",
    "3k",
    "--rounds",
    "2",
    "--seconds",
    "0.005",
    "--queries",
    "20",
    "--out",
    "out",
    "--cache",
    "cache",
    "--work",
];

fn run(folder: &Path, arguments: &[&str]) -> Output {
    harness(folder, &[RUN, arguments].concat())
}

fn lines(folder: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.join("out/results.jsonl")).expect("results");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

#[test]
fn a_run_gives_results_and_a_page() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(
        folder.path(),
        &[
            "clustered",
            "--bits",
            "64,100",
            "-k",
            "1,10",
            "--radius",
            "20",
        ],
    );
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let lines = lines(folder.path());
    let of = |system: &'static str| lines.iter().filter(move |line| line["system"] == system);
    for line in of("bitkin-native").chain(of("mih-rs")) {
        assert_eq!(line["recall"], 1.0, "{line}");
        assert!(line["queries_per_second"].as_f64().unwrap() > 0.0, "{line}");
        assert_eq!(
            line["queries_per_second_rounds"].as_array().unwrap().len(),
            2
        );
        assert_eq!(line["rows"], 3000);
        assert!(line["p50_us"].as_f64() <= line["max_us"].as_f64(), "{line}");
    }
    // Two widths, three questions, Bitkin natively each way, one query or many by one thread or all; codes of
    // 100 bits are not for mih-rs, nor batches, but it is built in four ways.
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let modes = if cores > 1 { 4 } else { 2 };
    assert_eq!(of("bitkin-native").count(), 2 * 3 * 3 * modes);
    assert_eq!(of("mih-rs").count(), 3 * 4);
    // Budgets may miss rows, but not when they are as large as the work.
    assert!(of("bitkin-budget").any(|line| line["recall"] == 1.0));
    assert!(of("bitkin-native").all(|line| line["disk_bytes"].as_u64() > Some(3000 * 8)));
    assert!(of("bitkin-native").all(|line| line["deletes_per_second"].as_f64() > Some(0.0)));
    assert!(of("bitkin-native").all(|line| line["recall_after_deletes"] == 1.0));
    assert!(of("bitkin-native").all(|line| line["costs_error"].is_null()));
    // What is not there stands in the results and on the page, with the reason.
    assert!(of("faiss-flat").count() > 0);
    assert!(of("faiss-flat").all(|line| line["error"].as_str().unwrap().contains("not here")));
    assert_eq!(of("limit-read").count(), 6);
    let page = std::fs::read_to_string(folder.path().join("out/report.html")).unwrap();
    assert!(page.contains("<svg") && page.contains("it is not here"));
    // A run that was interrupted goes on: what is there already is not measured again.
    let again = run(
        folder.path(),
        &[
            "clustered",
            "--bits",
            "64,100,128",
            "-k",
            "1,10",
            "--radius",
            "20",
        ],
    );
    let said = String::from_utf8_lossy(&again.stderr);
    assert_eq!(said.matches("measured already").count(), 2, "{said}");
    assert_eq!(self::lines(folder.path())[..lines.len()], lines);
    assert!(
        self::lines(folder.path())
            .iter()
            .any(|line| line["bits"] == 128)
    );
    let compared = harness(
        folder.path(),
        &["compare", "out/results.jsonl", "out/results.jsonl"],
    );
    let said = String::from_utf8_lossy(&compared.stdout);
    let measured = |line: &&Value| {
        let system = line["system"].as_str().unwrap();
        line["error"].is_null() && !system.starts_with("limit-")
    };
    let all = self::lines(folder.path());
    let all = all.iter().filter(measured).count();
    let expected = format!("0 changed beyond noise, {all} did not");
    assert!(said.contains(&expected), "{said}");
}

#[test]
fn what_cannot_be_measured_is_refused_before_anything_is_made() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, why) in [
        (
            &["uniform", "--bits", "64", "-k", "3001"][..],
            "no 3001 nearest of 3000 rows",
        ),
        (&["uniform", "--bits", "64", "-k", "0"], "no 0 nearest"),
        (
            &["uniform", "--bits", "64", "--radius", "65"],
            "no radius of 65",
        ),
        (&["uniform", "--bits", "0", "-k", "1"], "not 0"),
        (&["unifrom", "--bits", "64"], "no work named \"unifrom\""),
        (
            &["uniform", "--systems", "fiass"],
            "no system named \"fiass\"",
        ),
        (&["uniform", "--compare", "missing.jsonl"], "missing.jsonl"),
    ] {
        let output = run(folder.path(), arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.contains(why), "{arguments:?}: {said}");
        let cache = folder.path().join("cache").read_dir();
        assert!(
            cache.is_ok_and(|mut files| files.next().is_none()),
            "{arguments:?}"
        );
    }
}

#[test]
fn own_files_must_be_of_one_width() {
    let folder = tempfile::tempdir().unwrap();
    let u8bin = |name: &str, rows: u32, bytes: u32| {
        let header = [rows.to_le_bytes(), bytes.to_le_bytes()].concat();
        let rows: Vec<u8> = (0..rows * bytes).map(|byte| byte as u8).collect();
        std::fs::write(folder.path().join(name), [header, rows].concat()).unwrap();
    };
    u8bin("rows.u8bin", 200, 8);
    u8bin("queries.u8bin", 5, 8);
    u8bin("wide.u8bin", 5, 16);
    let files = |queries| {
        let own = [
            "--rounds",
            "1",
            "--seconds",
            "0.001",
            "--out",
            "out",
            "--cache",
            "cache",
        ];
        let arguments = [
            "--systems",
            "bitkin-native",
            "--files",
            "rows.u8bin",
            queries,
        ];
        harness(folder.path(), &[&own[..], &arguments].concat())
    };
    let output = files("wide.u8bin");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("must be of one width"), "{said}");
    let output = files("queries.u8bin");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        lines(folder.path())
            .iter()
            .any(|line| line["work"] == "rows" && line["recall"] == 1.0)
    );
}

#[test]
fn quality_is_measured_and_shown() {
    let folder = tempfile::tempdir().unwrap();
    let npy = |name: &str, rows: &[u8]| {
        let mut header = format!(
            "{{'descr': '|u1', 'fortran_order': False, 'shape': ({}, 1), }}",
            rows.len()
        );
        header.extend(std::iter::repeat_n(' ', 117 - header.len()));
        header.push('\n');
        let start = [
            &b"\x93NUMPY\x01\x00"[..],
            &118_u16.to_le_bytes(),
            header.as_bytes(),
        ]
        .concat();
        std::fs::write(folder.path().join(name), [&start[..], rows].concat()).unwrap();
    };
    npy("rows.npy", &[0b0000, 0b0001, 0b1111_0000, 0b1111_0001]);
    npy("queries.npy", &[0b0000]);
    std::fs::write(folder.path().join("rows.txt"), "cat\ndog\ncat\ndog\n").unwrap();
    std::fs::write(folder.path().join("queries.txt"), "cat\n").unwrap();
    let output = harness(
        folder.path(),
        &[
            "quality",
            "--rows",
            "rows.npy",
            "--row-labels",
            "rows.txt",
            "--queries",
            "queries.npy",
            "--query-labels",
            "queries.txt",
            "-k",
            "2",
            "--out",
            "out",
        ],
    );
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    // cat, dog, cat, dog: (1 + 2/3) / 2; of the two nearest the first; within 2 bits one of two.
    assert!(
        said.contains("mAP 0.8333, mAP@2 1.0000, precision within 2 0.5000"),
        "{said}"
    );
    let page = std::fs::read_to_string(folder.path().join("out/report.html")).unwrap();
    assert!(page.contains("Retrieval quality"));
}

/// A tiny collection, made, searched under masks, and taken away.
#[test]
fn masks_are_measured() {
    let folder = tempfile::tempdir().unwrap();
    let line = "masks --rows 5000 --bits 200 --masks 3,16 --rounds 2 --scans 1";
    for merge in ["", " --merge"] {
        let line = format!("{line}{merge}");
        let words: Vec<&str> = line.split_whitespace().collect();
        let output = harness(folder.path(), &words);
        let (said, error) = (output.stdout, String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{error}");
        let said = String::from_utf8_lossy(&said);
        let of = |bits: &str| {
            let mut lines = said.lines().map(str::split_whitespace);
            let line = lines.find(|line| line.clone().next() == Some(bits));
            line.unwrap_or_else(|| panic!("no line of {bits} bits: {said}"))
                .count()
        };
        assert_eq!((of("3"), of("16")), (12, 12), "{said}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
