//! The program on codes: create, import, search, get, stats, verify; results, messages and exit
//! codes as a script sees them.

mod common;

use common::{Place, noise, write_npy};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

/// A database with a collection `c` of 500 random codes of 64 bits, with ids 1000, 1003, ...
fn filled() -> (Place, Vec<u64>, Vec<u8>) {
    let place = Place::new();
    let codes = noise(1, 500 * 8);
    let ids: Vec<u64> = (0..500).map(|n| 1000 + 3 * n).collect();
    place.codes("codes.npy", 8, &codes);
    place.ids("ids.npy", &ids);
    place.run("create db c --bits 64").good();
    place.run("import db c codes.npy --ids ids.npy").good();
    (place, ids, codes)
}

/// All rows by (distance, id), the slow way.
fn naive(ids: &[u64], codes: &[u8], query: &[u8]) -> Vec<(u32, u64)> {
    let far = |code: &[u8]| {
        code.iter()
            .zip(query)
            .map(|(a, b)| (a ^ b).count_ones())
            .sum()
    };
    let mut all: Vec<(u32, u64)> = codes
        .chunks(query.len())
        .zip(ids)
        .map(|(code, &id)| (far(code), id))
        .collect();
    all.sort_unstable();
    all
}

fn hex(code: &[u8]) -> String {
    code.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn pairs(line: &Value) -> Vec<(u32, u64)> {
    let list = |key: &str| {
        line[key]
            .as_array()
            .unwrap()
            .iter()
            .map(|n| n.as_u64().unwrap())
    };
    list("distances")
        .map(|far| far as u32)
        .zip(list("ids"))
        .collect()
}

#[test]
fn nearest_codes_are_those_of_a_naive_search() {
    let (place, ids, codes) = filled();
    let queries = noise(2, 300 * 8);
    place.codes("queries.npy", 8, &queries);
    let run = place
        .run("search db c --queries queries.npy -k 7 --format json")
        .good();
    let lines = run.json();
    assert_eq!((lines.len(), run.err.as_str()), (300, ""));
    for (row, (line, query)) in lines.iter().zip(queries.chunks(8)).enumerate() {
        let expected = &naive(&ids, &codes, query)[..7];
        assert_eq!(pairs(line), expected);
        assert_eq!(line["query"], json!(row));
        assert_eq!(line["certified_radius"], json!(expected[6].0));
        assert_eq!(line["exact"], json!(true));
        assert_eq!(line.as_object().unwrap().len(), 5);
    }
}

#[test]
fn a_radius_finds_everything_within_it() {
    let (place, ids, codes) = filled();
    let query = &codes[..8];
    let run = place.run(&format!(
        "search db c --code {} --radius 26 --format json",
        hex(query)
    ));
    let lines = run.good().json();
    let mut expected = naive(&ids, &codes, query);
    expected.retain(|&(far, _)| far <= 26);
    assert!(expected.len() > 3);
    assert_eq!(pairs(&lines[0]), expected);
    assert_eq!(lines[0]["certified_radius"], json!(26));
    assert_eq!(lines[0]["query"], json!(hex(query)));
}

#[test]
fn a_table_shows_what_json_tells() {
    let (place, ids, codes) = filled();
    let run = place
        .run(&format!("search db c --code {} -k 3", hex(&codes[8..16])))
        .good();
    let expected = naive(&ids, &codes, &codes[8..16]);
    let lines: Vec<&str> = run.out.lines().collect();
    assert!(lines[0].contains("3 found, exact"), "{}", run.out);
    let words: Vec<&str> = lines[3].split_whitespace().collect();
    assert_eq!(words, ["1", "1003", "0"]);
    assert_eq!((lines.len(), expected[0]), (6, (0, 1003)));
}

#[test]
fn explain_tells_what_was_asked_of_tables() {
    let place = Place::new();
    let codes = noise(5, 5000 * 8);
    place.codes("codes.npy", 8, &codes);
    place.run("create db c --bits 64").good();
    place.run("import db c codes.npy").good();
    place.run("compact db").good();
    let ids: Vec<u64> = (0..5000).collect();
    let query = &codes[..8];
    let lines = place
        .run(&format!(
            "explain db c --code {} --radius 1 --format json",
            hex(query)
        ))
        .good()
        .json();
    let mut expected = naive(&ids, &codes, query);
    expected.retain(|&(far, _)| far <= 1);
    assert_eq!(pairs(&lines[0]), expected);
    let part = &lines[0]["parts"][0];
    assert_eq!(
        (&part["rows"], &part["way"]),
        (&json!(5000), &json!("tables"))
    );
    assert_eq!(
        (&part["shells"], &part["covered_radius"]),
        (&json!(2), &json!(64))
    );
    assert!(part["candidates"].as_u64() < Some(1000), "{part}");
    let run = place
        .run(&format!("explain db c --code {} --radius 60", hex(query)))
        .good();
    let lines: Vec<&str> = run.out.lines().collect();
    let words: Vec<&str> = lines[3].split_whitespace().collect();
    assert_eq!(words[..3], ["segment", "5,000", "5,000"], "{}", run.out);
    assert_eq!(words[4], "scan", "{}", run.out);
    assert!(
        lines[4].starts_with("5,000 of 5,000 rows compared"),
        "{}",
        run.out
    );
}

/// A budget ends a search, and the answer says what is certain.
#[test]
fn a_budget_is_kept() {
    let (place, _, codes) = filled();
    let search = format!("search db c --code {} -k 3", hex(&codes[..8]));
    let lines = place
        .run(&format!("{search} --budget 0 --format json"))
        .good()
        .json();
    assert_eq!(lines[0]["certified_radius"], json!(null));
    assert_eq!(lines[0]["exact"], json!(false));
    for budget in ["1000000", "10s"] {
        let lines = place
            .run(&format!("{search} --budget {budget} --format json"))
            .good()
            .json();
        assert_eq!(lines[0]["exact"], json!(true));
    }
}

#[test]
fn rows_can_be_looked_at() {
    let (place, _, codes) = filled();
    let run = place.run("get db c 1006 --format json").good();
    assert_eq!(
        run.json(),
        [json!({"id": 1006, "code": hex(&codes[16..24]), "payload": null})]
    );
    assert!(
        place
            .run("get db c 1006")
            .good()
            .out
            .contains(&hex(&codes[16..24]))
    );
    place.run("get db c 7").bad(1, &["no row 7"]);
}

#[test]
fn ids_left_out_follow_the_largest() {
    let (place, ..) = filled();
    place.codes("more.npy", 8, &noise(3, 2 * 8));
    place.run("import db c more.npy").good();
    place.run("get db c 2498").good();
    place.run("get db c 2499").good();
    place.run("get db c 2500").bad(1, &[]);
}

#[test]
fn stats_and_verify_tell_what_there_is() {
    let (place, ..) = filled();
    place.run("create db other --bits 12").good();
    let lines = place.run("stats db --format json").good().json();
    let told = |line: &Value| {
        (
            line["collection"].clone(),
            line["bits"].clone(),
            line["rows"].clone(),
        )
    };
    assert_eq!(told(&lines[0]), (json!("c"), json!(64), json!(500)));
    assert_eq!(told(&lines[1]), (json!("other"), json!(12), json!(0)));
    assert_eq!(place.run("stats db c --format json").good().json().len(), 1);
    let table = place.run("stats db").good().out;
    assert!(table.contains("500") && table.contains("other"), "{table}");

    assert!(place.run("verify db").good().out.contains("is whole"));
    let lines = place.run("verify db --format json").good().json();
    assert_eq!((lines.len(), &lines[0]["whole"]), (1, &json!(true)));
}

#[test]
fn a_flipped_byte_is_found_by_verify() {
    let (place, ..) = filled();
    let (path, bytes) = place
        .content("db")
        .into_iter()
        .max_by_key(|(_, bytes)| bytes.len())
        .unwrap();
    let mut bytes = bytes;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).unwrap();
    let run = place.run("verify db");
    assert_eq!(run.code, Some(1), "{}{}", run.out, run.err);
    assert!(
        run.err.contains("1 problem") && run.out.lines().count() == 1,
        "{}{}",
        run.out,
        run.err
    );
    let lines = place.run("verify db --format json").json();
    assert_eq!(lines.last().unwrap()["whole"], json!(false));
}

#[test]
fn unknown_collections_are_told_with_those_that_exist() {
    let (place, ..) = filled();
    place.run("create db second --bits 8").good();
    for line in [
        "search db nosuch --code 00",
        "import db nosuch codes.npy",
        "stats db nosuch",
        "get db nosuch 1",
        "ingest db nosuch .",
    ] {
        place
            .run(line)
            .bad(1, &["error: ", "\"nosuch\"", "c, second"]);
    }
}

#[test]
fn a_missing_database_is_told_and_not_made() {
    let place = Place::new();
    place.codes("codes.npy", 8, &[0; 8]);
    for line in [
        "search no c --code 00",
        "import no c codes.npy",
        "stats no",
        "verify no",
        "get no c 1",
    ] {
        place
            .run(line)
            .bad(1, &["error: no does not exist", "bitkin create no"]);
    }
    assert!(!place.path("no").exists());
    std::fs::write(place.path("file"), "").unwrap();
    place.run("stats file").bad(1, &["is no database"]);
    std::fs::create_dir(place.path("empty")).unwrap();
    place.run("stats empty").bad(1, &["not a Bitkin database"]);
}

#[test]
fn bad_imports_change_nothing() {
    let (place, ids, _) = filled();
    place.codes("narrow.npy", 7, &noise(4, 21));
    place
        .run("import db c narrow.npy")
        .bad(1, &["7 bytes a row", "64 bits have 8"]);
    place.codes("three.npy", 8, &noise(4, 24));
    place.ids("two.npy", &[1, 2]);
    place
        .run("import db c three.npy --ids two.npy")
        .bad(1, &["2 ids for 3 codes"]);
    place.ids("twice.npy", &[1, 2, 1]);
    place
        .run("import db c three.npy --ids twice.npy")
        .bad(1, &["the id 1 twice"]);
    place.ids("taken.npy", &[1, 2, ids[9]]);
    place
        .run("import db c three.npy --ids taken.npy")
        .bad(1, &["1027", "already in"]);
    place.ids("reserved.npy", &[1, 2, u64::MAX]);
    place
        .run("import db c three.npy --ids reserved.npy")
        .bad(1, &["reserved"]);
    std::fs::write(place.path("text.npy"), "no npy").unwrap();
    place
        .run("import db c text.npy")
        .bad(1, &["not a .npy file", "numpy.save"]);
    place
        .run("import db c missing.npy")
        .bad(1, &["missing.npy"]);
    write_npy(&place.path("float.npy"), "<f4", "(1, 8)", &[0; 32]);
    place
        .run("import db c float.npy")
        .bad(1, &["uint8", "packbits"]);
    let mut cut = std::fs::read(place.path("three.npy")).unwrap();
    cut.pop();
    std::fs::write(place.path("cut.npy"), cut).unwrap();
    place.run("import db c cut.npy").bad(1, &["23 bytes"]);
    assert_eq!(
        place.run("stats db c --format json").good().json()[0]["rows"],
        json!(500)
    );
    place.run("verify db").good();
}

#[test]
fn padding_bits_must_be_zero() {
    let place = Place::new();
    place.run("create db c --bits 12").good();
    place.codes("good.npy", 2, &[0xff, 0x0f, 0, 0]);
    place.codes("bad.npy", 2, &[0xff, 0x0f, 0, 0x10]);
    place
        .run("import db c bad.npy")
        .bad(1, &["row 1 of bad.npy", "beyond its width of 12"]);
    place.run("import db c good.npy").good();
    place
        .run("search db c --code ff1f")
        .bad(1, &["beyond its width"]);
    place
        .run("search db c --queries bad.npy")
        .bad(1, &["row 1 of bad.npy"]);
}

#[test]
fn bad_queries_are_told() {
    let (place, ..) = filled();
    place
        .run("search db c --code 00")
        .bad(1, &["2 hexadecimal digits; codes of 64 bits have 16"]);
    place.run("search db c --code xyz").bad(1, &["hexadecimal"]);
    place.codes("narrow.npy", 7, &noise(4, 21));
    place
        .run("search db c --queries narrow.npy")
        .bad(1, &["7 bytes a row"]);
    place
        .run("search db c --image x.png")
        .bad(1, &["no model", "--model"]);
    place.run("ingest db c .").bad(1, &["no model", "--model"]);
}

#[test]
fn wrong_usage_has_an_exit_code_of_its_own() {
    let place = Place::new();
    for line in [
        "",
        "frobnicate",
        "create db c",
        "create db c --bits 7",
        "create db c --bits 8 --model x",
        "search db c",
        "search db c --code 00 -k 3 --radius 2",
        "search db c --code 00 -k 0",
        "search db c --code 00 --format xml",
        "search db c --code 00 --budget soon",
        "search db c --code 00 --budget 5h",
        "get db c minus",
    ] {
        let word = if line.is_empty() {
            "Usage: bitkin"
        } else {
            "error: "
        };
        place.run(line).bad(2, &[word]);
    }
    assert_eq!(
        place.run("frobnicate").err.lines().next().unwrap().get(..6),
        Some("error:")
    );
    for line in ["--help", "--version", "search --help", "help ingest"] {
        assert!(!place.run(line).good().out.is_empty());
    }
}

#[test]
fn a_failed_create_leaves_nothing() {
    let (place, ..) = filled();
    place
        .run("create db c --bits 64")
        .bad(1, &["exists already"]);
    std::fs::write(place.path("junk"), "no model").unwrap();
    place
        .run("create new c --model junk")
        .bad(1, &["junk", "safetensors"]);
    place
        .run("create new c --model missing")
        .bad(1, &["missing"]);
    assert!(!place.path("new").exists());
    let run = place
        .command(&["create", "new", "", "--bits", "8"])
        .output()
        .unwrap();
    assert_eq!(run.status.code(), Some(1));
    assert!(!place.path("new").exists());
    // A folder of the user's stays, as empty as it was, and can be used.
    std::fs::create_dir(place.path("empty")).unwrap();
    let run = place
        .command(&["create", "empty", "", "--bits", "8"])
        .output()
        .unwrap();
    assert_eq!(run.status.code(), Some(1));
    assert_eq!(std::fs::read_dir(place.path("empty")).unwrap().count(), 0);
    place.run("create empty c --bits 8").good();
}

#[test]
fn another_format_version_is_refused() {
    let (place, ..) = filled();
    let (path, mut bytes) = place
        .content("db")
        .into_iter()
        .find(|(path, _)| {
            path.file_name()
                .unwrap()
                .to_string_lossy()
                .to_lowercase()
                .contains("manifest")
        })
        .expect("a manifest");
    // The format's headers: eight bytes of magic, then the version.
    bytes[8] = 99;
    std::fs::write(path, bytes).unwrap();
    place
        .run("search db c --code 0000000000000000")
        .bad(1, &["version 99"]);
    place.run("import db c codes.npy").bad(1, &["version 99"]);
}

#[test]
fn reading_works_beside_a_writer_and_writing_does_not() {
    let (place, _, codes) = filled();
    let writer = bitkin::Database::open(place.path("db")).unwrap();
    writer
        .collection("c")
        .unwrap()
        .insert(&[5], &codes[..8])
        .unwrap();
    let search = format!("search db c --code {} -k 2 --format json", hex(&codes[..8]));
    let lines = place.run(&search).good().json();
    assert_eq!(pairs(&lines[0]), [(0, 5), (0, 1000)]);
    place.run("stats db").good();
    place.codes("one.npy", 8, &codes[..8]);
    place
        .run("import db c one.npy")
        .bad(1, &["open for writing elsewhere"]);
    writer.close().unwrap();
    place.run("import db c one.npy").good();
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let (place, ..) = filled();
    // Far more than a pipe holds, so that the program is still writing when the reader goes.
    place.codes("queries.npy", 8, &noise(5, 5000 * 8));
    for format in ["json", "table"] {
        let words = [
            "search",
            "db",
            "c",
            "--queries",
            "queries.npy",
            "-k",
            "50",
            "--format",
            format,
        ];
        let mut child = place
            .command(&words)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        assert!(!line.is_empty());
        drop(out);
        let status = child.wait().unwrap();
        let mut err = String::new();
        child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut err)
            .unwrap();
        assert_eq!((status.code(), err.as_str()), (Some(0), ""), "{format}");
    }
}

#[test]
fn a_full_disk_behind_the_output_is_an_error() {
    let Ok(full) = std::fs::OpenOptions::new().write(true).open("/dev/full") else {
        return;
    };
    let (place, ..) = filled();
    let output = place
        .command(&["stats", "db"])
        .stdout(full)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("error: cannot write")
    );
}

#[test]
fn companions_that_are_missing_are_told_with_the_way_to_get_them() {
    let place = Place::new();
    let missing = place.path("missing");
    for words in [&["train", "--base", "x"][..], &["eval"], &["demo"]] {
        let mut command = place.command(words);
        command
            .env("BITKIN_TRAIN", &missing)
            .env("BITKIN_ENCODER", &missing);
        let run = common::Run::from(command.output().unwrap());
        run.bad(
            1,
            &[
                "not installed",
                "missing",
                "cargo build --release -p bitkin-encoder",
            ],
        );
    }
    assert!(!place.path("bitkin-demo").exists());
}
