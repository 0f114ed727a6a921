//! Runs every measurement at a tiny size, so that none of them rots. Says nothing of how fast anything
//! is.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Runs the program in `dir`, and returns what it prints.
fn run(dir: &Path, words: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_storage"));
    let output = command.args(words).current_dir(dir).output();
    let output = output.expect("the program starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?} failed: {stderr}");
    assert_eq!(
        fs::read_dir(dir).expect("the folder is there").count(),
        0,
        "{words:?} left files behind"
    );
    String::from_utf8(output.stdout).expect("output is UTF-8")
}

/// Runs one figure, and checks that it prints the machine and then `rows` objects, in each of which
/// the numbers named are there and above zero.
fn check(words: &[&str], rows: usize, numbers: &[&str]) -> Vec<Value> {
    let dir = tempfile::tempdir().expect("a temporary folder can be made");
    let stdout = run(dir.path(), &[words, &["--json"]].concat());
    let mut objects: Vec<Value> = stdout
        .lines()
        .map(|line| serde_json::from_str(line).expect("one JSON object a line"))
        .collect();
    let machine = objects.remove(0);
    assert_eq!(machine["figure"], "machine");
    assert!(machine["cores"].is_string(), "{machine}");
    assert_eq!(objects.len(), rows, "{stdout}");
    for object in &objects {
        assert_eq!(object["figure"], words[0]);
        for name in numbers {
            let number = object[name].as_f64();
            assert!(number.is_some_and(|n| n > 0.0), "{name} in {object}");
        }
    }
    objects
}

#[test]
fn ingest() {
    let numbers = [
        "rows/s_committed",
        "rows/s_flushed",
        "rows/s_merged",
        "plain_rows/s",
        "percent_of_plain",
    ];
    let rows = check(&["ingest", "--rows", "30000"], 4, &numbers);
    assert_eq!(rows[0]["rows"], 30_000.0);
}

#[test]
fn log() {
    let numbers = ["bytes/batch", "log_MB/s", "plain_MB/s", "percent_of_plain"];
    check(&["log", "--rows", "20000", "--rounds", "2"], 4, &numbers);
}

#[test]
fn commits() {
    let words = ["commits", "--seconds", "0.05", "--rounds", "1"];
    let rows = check(&words, 7, &["commits/s", "bitkin_is_times"]);
    let names: Vec<&str> = rows.iter().filter_map(|r| r["system"].as_str()).collect();
    let systems = ["bitkin", "sqlite", "redb"];
    assert_eq!(names[..3], systems);
    assert_eq!(names[4..], systems);
}

#[test]
fn open() {
    let words = ["open", "--rows", "20000", "--rounds", "2"];
    let rows = check(&words, 5, &["rows", "write_ms", "read_only_ms"]);
    let log_rows = rows.iter().map(|row| row["log_rows"].as_u64());
    assert!(log_rows.eq([0, 0, 0, 20_000, 20_000].map(Some)), "{rows:?}");
}

#[test]
fn size() {
    let rows = check(
        &["size", "--rows", "2000"],
        8,
        &["ids", "codes", "total", "on_disk"],
    );
    for row in rows {
        assert_eq!(row["ids"], 8.0);
        assert_eq!(row["total"], row["on_disk"], "{row}");
    }
}

#[test]
fn amplification() {
    let numbers = [
        "live_rows",
        "log",
        "segments",
        "write_total",
        "space",
        "syncs",
    ];
    check(&["amplification", "--rows", "8000"], 2, &numbers);
}

#[test]
fn readers() {
    let words = [
        "readers",
        "--rows",
        "20000",
        "--rounds",
        "1",
        "--seconds",
        "0.2",
    ];
    let numbers = [
        "quiet_reads",
        "quiet_p99",
        "merge_reads",
        "merge_p99",
        "p99_times",
    ];
    check(&words, 4, &numbers);
}

#[test]
fn tables() {
    let dir = tempfile::tempdir().expect("a temporary folder can be made");
    let stdout = run(dir.path(), &["size", "--rows", "2000"]);
    let mut lines = stdout.lines();
    assert!(
        lines
            .next()
            .is_some_and(|line| line.starts_with("machine: cores "))
    );
    let titled = "size: bytes on disk a row, of 2000 rows, compacted";
    let heading = lines.skip_while(|line| *line != titled).nth(1);
    let heading: Vec<&str> = heading.unwrap_or_default().split_whitespace().collect();
    assert_eq!(heading[..3], ["bits", "row_ids", "payload"], "{stdout}");
}
