//! Rows out of a database and into another one, the same; files that are whole or not there.

mod common;

use common::{Place, Run, noise};
use serde_json::{Value, json};
use std::path::Path;

/// Payloads as odd as JSON may be; each is a whole text that must come back letter by letter.
const PAYLOADS: [&str; 8] = [
    "{\"year\": 2020, \"label\": \"cat\"}",
    "{}",
    "[1, 1.50, -0.0, 1e300]",
    "\"a \\\"text\\\" \\u00e9 é \u{2028} \\n\"",
    "{\"big\": 18446744073709551615, \"label\": \"dog\"}",
    "true",
    "{\"a\": {\"b\": [null, {\"c\": \"},{\"}]}}",
    "7",
];

/// A database with a collection of `bits` bits: 3,000 rows, of which some have payloads, some were deleted and
/// some are replaced; a part of them is in a segment.
fn filled(bits: u32) -> Place {
    let place = Place::new();
    let width = bits.div_ceil(8) as usize;
    let mut codes = noise(u64::from(bits), 3000 * width);
    if !bits.is_multiple_of(8) {
        let last = codes.iter_mut().skip(width - 1).step_by(width);
        last.for_each(|byte| *byte &= (1 << (bits % 8)) - 1);
    }
    let lines: Vec<String> = (0..3000_u64)
        .map(|row| {
            let code = hex(&codes[width * row as usize..][..width]);
            let payload = match row % 10 {
                n @ 0..8 => format!(", \"payload\": {}", PAYLOADS[n as usize]),
                _ => String::new(),
            };
            // Ids from both ends of what there is.
            let id = if row % 2 == 0 {
                row
            } else {
                u64::MAX - 1 - row
            };
            format!("{{\"id\": {id}, \"code\": \"{code}\"{payload}}}")
        })
        .collect();
    std::fs::write(place.path("first.jsonl"), lines[..2500].join("\n")).unwrap();
    std::fs::write(place.path("second.jsonl"), lines[2400..].join("\n")).unwrap();
    place.run(&format!("create db c --bits {bits}")).good();
    place.run("import db c first.jsonl").good();
    place.run("compact db").good();
    place.run("upsert db c second.jsonl").good();
    place.run("delete db c --ids 0-99").good();
    place
}

fn hex(code: &[u8]) -> String {
    code.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn words(place: &Place, words: &[&str]) -> Run {
    place.command(words).output().unwrap().into()
}

/// All rows of a collection, as its export to standard output has them.
fn rows(place: &Place, database: &str) -> String {
    place.run(&format!("export {database} c -")).good().out
}

fn names(path: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(path).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn every_format_brings_back_the_same_rows() {
    for bits in [64, 12, 1000] {
        let place = filled(bits);
        let expected = rows(&place, "db");
        assert_eq!(expected.lines().count(), 2950);
        for payload in PAYLOADS {
            assert!(
                expected.contains(&format!("\"payload\":{payload}}}")),
                "{payload}"
            );
        }
        for (number, file) in [
            "rows.jsonl",
            "rows.parquet",
            "codes.npy --ids ids.npy --payloads payloads.jsonl",
        ]
        .iter()
        .enumerate()
        {
            let run = place.run(&format!("export db c {file}")).good();
            assert!(
                run.err.starts_with("2,950 rows exported in "),
                "{}",
                run.err
            );
            assert_eq!(run.out, "");
            let copy = format!("copy{number}");
            place.run(&format!("create {copy} c --bits {bits}")).good();
            let run = place.run(&format!("import {copy} c {file}")).good();
            assert!(run.err.contains("2,950 rows inserted"), "{}", run.err);
            assert!(rows(&place, &copy) == expected, "{file} of {bits} bits");
            place.run(&format!("verify {copy}")).good();
        }
    }
}

#[test]
fn ids_that_are_left_out_are_assigned() {
    let place = filled(64);
    let run = place.run("export db c codes.npy").good();
    assert!(
        run.err.contains("--payloads FILE.jsonl keeps them"),
        "{}",
        run.err
    );
    place.run("create other c --bits 64").good();
    let run = place.run("import other c codes.npy --format json").good();
    let line = &run.json()[0];
    assert_eq!(
        (&line["inserted"], &line["first_id"]),
        (&json!(2950), &json!(0))
    );
    assert!(rows(&place, "other").starts_with("{\"id\":0,\"code\":\""));
}

#[test]
fn where_chooses_rows() {
    let place = filled(64);
    let run = words(
        &place,
        &[
            "export",
            "db",
            "c",
            "cats.jsonl",
            "--where",
            "label = 'cat'",
            "--format",
            "json",
        ],
    );
    let count = run.good().json()[0]["exported"].as_u64().unwrap();
    let text = std::fs::read_to_string(place.path("cats.jsonl")).unwrap();
    assert_eq!(text.lines().count() as u64, count);
    assert!(count > 100 && text.lines().all(|line| line.contains("\"label\": \"cat\"")));
    let run = words(
        &place,
        &["export", "db", "c", "none.npy", "--where", "year = 1"],
    );
    run.good();
    place.run("create other c --bits 64").good();
    let run = place.run("import other c none.npy").good();
    assert!(run.err.contains("0 rows inserted"), "{}", run.err);
}

#[test]
fn rows_may_be_piped() {
    let place = filled(64);
    place.run("create other c --bits 64").good();
    place.run("create third c --bits 64").good();
    place.run("export db c rows.jsonl").good();
    place.run("export db c rows.parquet").good();
    for (file, database) in [("rows.jsonl", "other"), ("rows.parquet", "third")] {
        let rows = std::fs::File::open(place.path(file)).unwrap();
        let mut command = place.command(&["import", database, "c", "-"]);
        let run: Run = command.stdin(rows).output().unwrap().into();
        assert!(run.good().err.contains("2,950 rows inserted"));
    }
    assert_eq!(rows(&place, "other"), rows(&place, "db"));
    assert_eq!(rows(&place, "third"), rows(&place, "db"));
    let empty: Run = place
        .command(&["import", "other", "c", "-"])
        .output()
        .unwrap()
        .into();
    assert!(empty.good().err.contains("0 rows inserted"));
}

/// A reader that has enough ends the export without a word.
#[cfg(unix)]
#[test]
fn a_reader_may_go_away() {
    let place = filled(1000);
    let program = env!("CARGO_BIN_EXE_bitkin");
    let line = format!("set -o pipefail; '{program}' export db c - | head -n 1 | wc -l");
    let run = std::process::Command::new("bash")
        .args(["-c", &line])
        .current_dir(place.path("."))
        .output();
    let run: Run = run.unwrap().into();
    assert_eq!(
        (run.code, run.out.trim(), run.err.as_str()),
        (Some(0), "1", "")
    );
}

#[test]
fn files_are_whole_or_not_there() {
    let place = filled(64);
    std::fs::create_dir(place.path("out")).unwrap();
    std::fs::write(place.path("out/rows.jsonl"), "what was there").unwrap();
    // The last segment's payloads are damaged: the export fails in the middle.
    let segments = names(&place.path("db/segments"));
    let segment = place.path("db/segments").join(segments.last().unwrap());
    let mut bytes = std::fs::read(&segment).unwrap();
    let at = bytes
        .windows(8)
        .rposition(|window| window == b"\"label\":")
        .unwrap();
    bytes[at] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    for file in ["rows.jsonl", "rows.parquet", "codes.npy --ids out/ids.npy"] {
        place
            .run(&format!("export db c out/{file}"))
            .bad(1, &["damaged", "nothing was written", "bitkin verify db"]);
        assert_eq!(names(&place.path("out")), ["rows.jsonl"]);
    }
    let text = std::fs::read_to_string(place.path("out/rows.jsonl")).unwrap();
    assert_eq!(text, "what was there");
}

#[cfg(unix)]
#[test]
fn an_export_that_is_interrupted_leaves_nothing() {
    use std::io::Read;
    use std::process::{Command, Stdio};
    let place = filled(1000);
    let lines: String = (0..60_000)
        .map(|row| {
            format!(
                "{{\"id\": {}, \"code\": \"{}\"}}\n",
                5000 + row,
                "0f".repeat(125)
            )
        })
        .collect();
    std::fs::write(place.path("more.jsonl"), lines).unwrap();
    place.run("import db c more.jsonl").good();
    std::fs::create_dir(place.path("out")).unwrap();
    // A pipe that nobody reads on holds the ids up, so that the export is under way for sure.
    let pipe = place.path("ids.npy");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    let child = place
        .command(&["export", "db", "c", "out/codes.npy", "--ids", "ids.npy"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut reader = std::fs::File::open(&pipe).unwrap();
    let mut some = [0; 64];
    reader.read_exact(&mut some).unwrap();
    assert_eq!(names(&place.path("out")).len(), 1, "the temporary");
    let pid = child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &pid])
            .status()
            .unwrap()
            .success()
    );
    let mut rest = Vec::new();
    // It reads on, so that the writer comes to see the signal.
    reader.read_to_end(&mut rest).unwrap();
    let run: Run = child.wait_with_output().unwrap().into();
    run.bad(130, &["stopped; no file was written"]);
    assert_eq!(names(&place.path("out")), [""; 0]);
}

#[test]
fn what_cannot_be_exported_is_told() {
    let place = filled(64);
    let bad = |line: &str, code: i32, words: &[&str]| {
        place.run(line).bad(code, words);
    };
    bad("export db c rows", 2, &["no kind by its name", ".parquet"]);
    bad(
        "export db c rows.csv",
        2,
        &["no kind by its name", ".jsonl"],
    );
    bad(
        "export db c rows.jsonl --ids i.npy",
        2,
        &["--ids goes with a .npy"],
    );
    bad(
        "export db c a.npy --ids a.npy",
        2,
        &["a.npy was named for two things"],
    );
    bad("export db c a.npy --ids -", 2, &["--ids needs a file"]);
    bad(
        "export db nosuch a.npy",
        1,
        &["no collection \"nosuch\"", "has c"],
    );
    bad(
        "export nodb c a.npy",
        1,
        &["nodb does not exist", "bitkin create"],
    );
    bad(
        "export db c no/a.npy",
        1,
        &["no/a.npy", "make its folder first"],
    );
    std::fs::create_dir(place.path("d.npy")).unwrap();
    bad("export db c d.npy", 1, &["name a file in it"]);
    assert!(!place.path("a.npy").exists());
}

#[test]
fn files_of_rows_that_are_none_are_told() {
    let place = filled(64);
    let bad = |name: &str, content: &[u8], words: &[&str]| {
        std::fs::write(place.path(name), content).unwrap();
        place.run(&format!("import db c {name}")).bad(1, words);
    };
    bad("a.parquet", b"", &["a.parquet cannot be read", "whole"]);
    bad(
        "b.parquet",
        b"PAR1 and no more PAR1",
        &["b.parquet cannot be read"],
    );
    bad("c.npy", b"", &["not a .npy file", "numpy.save"]);
    bad(
        "d.dat",
        b"what is it",
        &["d.dat is no file of rows", ".parquet"],
    );
    bad("e", b"", &["e is no file of rows"]);
    bad("f.jsonl", b"\xff\xfe", &["f.jsonl, line 1", "not JSON"]);
    place
        .run("import db c .")
        .bad(1, &["is a directory", "bitkin ingest"]);
    place
        .run("import db c gone.npy")
        .bad(1, &["gone.npy", "is the name right?"]);

    place.run("export db c codes.npy --payloads p.jsonl").good();
    place.run("create other c --bits 64").good();
    let payloads = std::fs::read_to_string(place.path("p.jsonl")).unwrap();
    let import = "import other c codes.npy --payloads p.jsonl";
    for (text, what) in [
        (payloads.clone() + "null\n", "more payloads than codes"),
        (
            payloads.replacen("true\n", "", 1),
            "fewer payloads than codes",
        ),
        (payloads.replacen("true\n", "tru\n", 1), "p.jsonl, line"),
    ] {
        std::fs::write(place.path("p.jsonl"), text).unwrap();
        place.run(import).bad(1, &[what]);
    }
    place
        .run("import other c rows.jsonl --payloads p.jsonl")
        .bad(1, &["rows.jsonl"]);
    assert_eq!(rows(&place, "other"), "");
}

#[test]
fn ids_in_any_order_are_checked() {
    let place = Place::new();
    place.run("create db c --bits 8").good();
    let line = |id: u64| format!("{{\"id\": {id}, \"code\": \"{:02x}\"}}\n", id % 256);
    let file = |name: &str, ids: &[u64]| {
        let text: String = ids.iter().map(|&id| line(id)).collect();
        std::fs::write(place.path(name), text).unwrap();
    };
    file("falling.jsonl", &[9, 7, 5]);
    place.run("import db c falling.jsonl").good();
    // Twice, far apart; taken, behind a fall; and neither.
    file("twice.jsonl", &[20, 30, 10, 30]);
    place
        .run("import db c twice.jsonl")
        .bad(1, &["the id 30 twice"]);
    file("taken.jsonl", &[20, 30, 7]);
    place
        .run("import db c taken.jsonl")
        .bad(1, &["the id 7", "already in", "bitkin upsert"]);
    file("good.jsonl", &[20, 30, 8, 1]);
    place.run("import db c good.jsonl").good();
    let ids: Vec<Value> = place.run("export db c -").good().json();
    let ids: Vec<u64> = ids.iter().map(|row| row["id"].as_u64().unwrap()).collect();
    assert_eq!(ids, [1, 5, 7, 8, 9, 20, 30]);
}

/// Codes of one model are not taken for those of another, nor for codes of another width.
#[test]
fn parquet_says_what_its_codes_are() {
    let place = Place::new();
    place.codes("codes.npy", 32, &noise(4, 32 * 10));
    place.run("create db copies --encoder pdq").good();
    place.run("import db copies codes.npy").good();
    place.run("export db copies rows.parquet").good();
    place.run("create db codes --bits 256").good();
    place.run("import db codes rows.parquet").good();
    place.run("create db narrow --bits 255").good();
    place
        .run("import db narrow rows.parquet")
        .bad(1, &["codes of 256 bits", "\"narrow\" of 255"]);
    place.run("create db other --bits 128").good();
    place
        .run("import db other rows.parquet")
        .bad(1, &["256 bits"]);
}

/// No byte of a Parquet file, whatever it is, ends the program other than by an error.
#[test]
fn damaged_parquet_is_an_error() {
    let place = Place::new();
    place.run("create db c --bits 16").good();
    let lines: String = (0..40)
        .map(|id| {
            format!("{{\"id\": {id}, \"code\": \"0a{id:02x}\", \"payload\": {{\"n\": {id}}}}}\n")
        })
        .collect();
    std::fs::write(place.path("rows.jsonl"), lines).unwrap();
    place.run("import db c rows.jsonl").good();
    place.run("export db c rows.parquet").good();
    let whole = std::fs::read(place.path("rows.parquet")).unwrap();
    // Every seventh byte, so that it takes a second or two; the seventh part is another one in each half.
    for at in (0..whole.len()).step_by(7) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        std::fs::write(place.path("bad.parquet"), &bytes).unwrap();
        let run = place.run("upsert db c bad.parquet");
        assert!(!run.err.contains("panicked"), "byte {at}: {}", run.err);
        assert!(matches!(run.code, Some(0..=2)), "byte {at}: {:?}", run.code);
    }
    for length in [0, 4, 8, whole.len() / 2, whole.len() - 1] {
        std::fs::write(place.path("bad.parquet"), &whole[..length]).unwrap();
        place
            .run("import db c bad.parquet")
            .bad(1, &["bad.parquet"]);
    }
}
