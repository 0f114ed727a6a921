//! The program on rows with payloads: JSON lines, filters, upserts and deletes, as a script sees
//! them.

mod common;

use common::{Place, noise};
use serde_json::{Value, json};

/// A database with a collection `c` of 300 codes of 64 bits, ids 0, 2, 4, ..., from JSON lines; the
/// year is declared, the label is not.
fn filled() -> (Place, Vec<u8>) {
    let place = Place::new();
    let codes = noise(1, 300 * 8);
    let lines: Vec<String> = (0..300_u64)
        .map(|row| {
            let label = if row % 3 == 0 { "cat" } else { "dog" };
            let payload = json!({"year": 1990 + row % 40, "label": label, "exif": {"iso": row}});
            let payload = if row % 50 == 7 { Value::Null } else { payload };
            let code = hex(&codes[8 * row as usize..][..8]);
            json!({"id": 2 * row, "code": code, "payload": payload}).to_string()
        })
        .collect();
    std::fs::write(place.path("rows.jsonl"), lines.join("\n")).unwrap();
    place
        .run("create db c --bits 64 --index year:int --index exif.iso:float")
        .good();
    let run = place.run("import db c rows.jsonl").good();
    assert!(run.err.contains("300 rows inserted"), "{}", run.err);
    (place, codes)
}

fn hex(code: &[u8]) -> String {
    code.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Runs words that may hold spaces.
fn run(place: &Place, words: &[&str]) -> common::Run {
    place.command(words).output().unwrap().into()
}

/// The ids of all rows within the width for which `filter` is true.
fn found(place: &Place, filter: &str) -> Vec<u64> {
    let words = [
        "search",
        "db",
        "c",
        "--code",
        "0000000000000000",
        "--radius",
        "64",
        "--where",
        filter,
        "--format",
        "json",
    ];
    let lines = run(place, &words).good().json();
    let mut ids: Vec<u64> = lines[0]["ids"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_u64)
        .collect();
    ids.sort_unstable();
    ids
}

fn rows(place: &Place) -> u64 {
    place.run("stats db c --format json").good().json()[0]["rows"]
        .as_u64()
        .unwrap()
}

#[test]
fn payloads_come_with_json_lines() {
    let (place, codes) = filled();
    let run = place.run("get db c 6 --format json").good();
    let payload = json!({"year": 1993, "label": "cat", "exif": {"iso": 3}});
    assert_eq!(
        run.json(),
        [json!({"id": 6, "code": hex(&codes[24..32]), "payload": payload})]
    );
    assert_eq!(
        place.run("get db c 14 --format json").good().json()[0]["payload"],
        Value::Null
    );
}

#[test]
fn where_leaves_out_what_does_not_pass() {
    let (place, codes) = filled();
    let has = |row: &u64| row % 50 != 7;
    let expect = |filter: &str, said: &dyn Fn(u64) -> bool| {
        let expected: Vec<u64> = (0..300)
            .filter(has)
            .filter(|row| said(*row))
            .map(|row| 2 * row)
            .collect();
        assert_eq!(found(&place, filter), expected, "{filter}");
    };
    expect("year = 1993", &|row| row % 40 == 3);
    expect("label = 'cat' and year >= 2020", &|row| {
        row % 3 == 0 && row % 40 >= 30
    });
    expect("label like 'd%' or exif.iso < 5", &|row| {
        row % 3 != 0 || row < 5
    });
    expect("year not between 1990 and 2028", &|row| row % 40 == 39);
    assert_eq!(found(&place, "year is null"), [14, 114, 214, 314, 414, 514]);
    assert_eq!(found(&place, "year = '1993'"), [] as [u64; 0]);

    // Many queries, k nearest, and the table.
    place.codes("queries.npy", 8, &codes[..80]);
    let words = [
        "search",
        "db",
        "c",
        "--queries",
        "queries.npy",
        "-k",
        "3",
        "--where",
        "label = 'dog'",
        "--format",
        "json",
    ];
    let lines = run(&place, &words).good().json();
    assert_eq!(lines.len(), 10);
    for line in &lines {
        for id in line["ids"].as_array().unwrap() {
            assert_ne!(id.as_u64().unwrap() / 2 % 3, 0, "{line}");
        }
        assert_eq!(line["certified_radius"], line["distances"][2]);
    }
    let table = run(
        &place,
        &[
            "search",
            "db",
            "c",
            "--code",
            &hex(&codes[..8]),
            "--where",
            "label = 'cat'",
            "-k",
            "1",
        ],
    );
    assert!(table.good().out.contains("1 found, exact"));
}

#[test]
fn filters_that_cannot_be_are_wrong_usage() {
    let (place, _) = filled();
    for (filter, words) in [
        (
            "lower(label) = 'cat'",
            &["--where", "function lower", "column 6", "BETWEEN"][..],
        ),
        ("year =", &["--where", "cannot be read"]),
        ("year + 1 = 2", &["+"]),
        ("", &["--where"]),
    ] {
        run(
            &place,
            &[
                "search",
                "db",
                "c",
                "--code",
                "0000000000000000",
                "--where",
                filter,
            ],
        )
        .bad(2, words);
        run(&place, &["delete", "db", "c", "--where", filter]).bad(2, words);
    }
    assert_eq!(rows(&place), 300);
}

#[test]
fn upserts_replace_and_insert() {
    let (place, codes) = filled();
    let line = |id: u64, code: &[u8], payload: Value| {
        json!({"id": id, "code": hex(code), "payload": payload}).to_string()
    };
    let lines = [
        line(4, &codes[..8], json!({"year": 3000})),
        line(5, &codes[8..16], json!({"year": 3000})),
    ];
    std::fs::write(place.path("new.jsonl"), lines.join("\n")).unwrap();
    place
        .run("import db c new.jsonl")
        .bad(1, &["the id 4", "already in", "bitkin upsert"]);
    let run = place.run("upsert db c new.jsonl").good();
    assert!(
        run.err.contains("1 row inserted and 1 replaced"),
        "{}",
        run.err
    );
    assert_eq!(
        (rows(&place), found(&place, "year = 3000")),
        (301, vec![4, 5])
    );
    assert_eq!(
        place.run("get db c 4 --format json").good().json()[0]["code"],
        json!(hex(&codes[..8]))
    );

    place.codes("two.npy", 8, &codes[..16]);
    place.ids("ids.npy", &[5, 7]);
    place.run("upsert db c two.npy --ids ids.npy").good();
    assert_eq!((rows(&place), found(&place, "year = 3000")), (302, vec![4]));
    place
        .run("upsert db c two.npy")
        .bad(2, &["no ids", "--ids"]);
    std::fs::write(
        place.path("bare.jsonl"),
        "{\"code\": \"0000000000000000\"}\n",
    )
    .unwrap();
    place
        .run("upsert db c bare.jsonl")
        .bad(2, &["no ids", "\"id\""]);
    place.run("import db c bare.jsonl").good();
    assert_eq!(rows(&place), 303);
    place
        .run("import db c bare.jsonl --ids ids.npy")
        .bad(2, &["--ids goes with a .npy file"]);
}

#[test]
fn deletes_take_ids_files_and_conditions() {
    let (place, _) = filled();
    let deleted = |run: common::Run| run.good().err;
    assert!(deleted(place.run("delete db c --ids 0,2,7,10-19")).contains("7 rows deleted from c"));
    assert_eq!(rows(&place), 293);
    place.run("get db c 12").bad(1, &["no row 12"]);
    place.run("get db c 20").good();
    place.ids("gone.npy", &[20, 21, 22]);
    assert!(deleted(place.run("delete db c --ids-file gone.npy")).contains("2 rows deleted"));
    let before = found(&place, "label = 'cat'").len();
    let message = deleted(run(
        &place,
        &["delete", "db", "c", "--where", "label = 'cat'"],
    ));
    assert!(
        message.contains(&format!("{before} rows deleted")),
        "{message}"
    );
    assert_eq!(rows(&place), 291 - before as u64);
    assert_eq!(found(&place, "label = 'cat'"), [] as [u64; 0]);
    let message = deleted(place.run("delete db c --ids 100-18446744073709551614"));
    assert!(message.contains("rows deleted"), "{message}");
    assert!(found(&place, "true").iter().all(|id| *id < 100));
    // What was deleted can be inserted again.
    place.codes("one.npy", 8, &[0; 8]);
    place.ids("id.npy", &[12]);
    place.run("import db c one.npy --ids id.npy").good();
    place.run("get db c 12").good();
    place.run("verify db").good();
}

#[test]
fn wrong_usage_has_an_exit_code_of_its_own() {
    let (place, _) = filled();
    for line in [
        "delete db c",
        "delete db c --ids 1 --where true",
        "delete db c --ids 9-5",
        "delete db c --ids x",
        "create db d --bits 8 --index year",
        "create db d --bits 8 --index year:integer",
        "create db d --bits 8 --index a..b:int",
        "search db c --code 0000000000000000 --where true --where",
    ] {
        place.run(line).bad(2, &["error: "]);
    }
    place
        .run("create db d --bits 8 --index a:int --index a:text")
        .bad(1, &["declared twice"]);
    place.run("delete db nosuch --ids 1").bad(1, &["nosuch"]);
    place
        .run("delete no c --ids 1")
        .bad(1, &["no does not exist"]);
    place
        .run("upsert no c rows.jsonl")
        .bad(1, &["no does not exist"]);
    place
        .run("delete db c --ids-file missing.npy")
        .bad(1, &["missing.npy"]);
    assert_eq!(rows(&place), 300);
}

#[test]
fn bad_lines_change_nothing() {
    let (place, _) = filled();
    let good = "{\"id\": 9001, \"code\": \"0000000000000000\"}\n";
    for (bad, words) in [
        (
            "{\"id\": 1",
            &["bad.jsonl, line 2", "not JSON", "a line is"][..],
        ),
        (
            "{\"id\": 1, \"code\": \"00\"}",
            &["line 2", "2 hexadecimal digits; codes of 64 bits have 16"],
        ),
        (
            "{\"code\": \"0000000000000000\"}",
            &["line 2", "all lines ids, or none"],
        ),
        (
            "{\"id\": 9001, \"code\": \"0000000000000000\"}",
            &["the id 9001 twice"],
        ),
        (
            "{\"id\": 18446744073709551615, \"code\": \"0000000000000000\"}",
            &["line 2", "its id"],
        ),
        (
            "{\"id\": 3, \"code\": \"0000000000000000\", \"paylaod\": 1}",
            &["line 2", "paylaod"],
        ),
        (
            "{\"id\": 4, \"code\": \"0000000000000000\"}",
            &["the id 4", "already in"],
        ),
    ] {
        std::fs::write(place.path("bad.jsonl"), format!("{good}{bad}\n")).unwrap();
        place.run("import db c bad.jsonl").bad(1, words);
        assert_eq!(rows(&place), 300, "{bad}");
    }
    place
        .run("import db c missing.jsonl")
        .bad(1, &["missing.jsonl"]);
    std::fs::write(place.path("empty.jsonl"), "\n").unwrap();
    assert!(
        place
            .run("import db c empty.jsonl")
            .good()
            .err
            .contains("0 rows")
    );
}
