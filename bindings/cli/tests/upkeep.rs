//! The program keeping a database in order: compact, backup, repair, drop.

mod common;

use common::{Place, noise};

/// A database with a collection `c` of 500 codes of 128 bits, of which some are deleted.
fn filled() -> Place {
    let place = Place::new();
    place.codes("codes.npy", 16, &noise(3, 500 * 16));
    place.run("create db c --bits 128").good();
    place.run("import db c codes.npy").good();
    place.run("delete db c --ids 100-199").good();
    place
}

fn rows(place: &Place, database: &str) -> u64 {
    let stats = place.run(&format!("stats {database} --format json")).good();
    stats
        .json()
        .iter()
        .map(|line| line["rows"].as_u64().unwrap())
        .sum()
}

/// Whether a code of the import is in any file below `database`.
fn holds(place: &Place, database: &str, row: usize) -> bool {
    let code = &noise(3, 500 * 16)[row * 16..][..16];
    let content = place.content(database);
    content
        .iter()
        .any(|(_, bytes)| bytes.windows(16).any(|window| window == code))
}

/// Flips a bit of the first code in the only segment.
fn damage_first_code(place: &Place) {
    let mut segments = std::fs::read_dir(place.path("db/segments")).unwrap();
    let segment = segments.next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[4096] ^= 1;
    std::fs::write(segment, &bytes).unwrap();
}

#[test]
fn compact_erases_what_was_deleted() {
    let place = filled();
    assert!(holds(&place, "db", 150));
    let run = place.run("compact db").good();
    assert!(run.err.contains("compacted"), "{}", run.err);
    assert!(!holds(&place, "db", 150) && holds(&place, "db", 200));
    assert_eq!(rows(&place, "db"), 400);
    place.run("delete db c --ids 200").good();
    place.run("compact db c").good();
    assert!(!holds(&place, "db", 200));
    place.run("verify db").good();
    place.run("compact db other").bad(1, &["other", "c"]);
    place
        .run("compact nothing")
        .bad(1, &["nothing", "does not exist"]);
}

#[test]
fn a_backup_is_a_database_of_its_own() {
    let place = filled();
    let run = place.run("backup db copy --format json").good();
    let line = &run.json()[0];
    assert!(line["files"].as_u64().unwrap() >= 2, "{line}");
    assert_eq!(line["sequence"], 3);
    assert_eq!(rows(&place, "copy"), 400);
    place.run("verify copy").good();
    place.run("delete db c --ids 0-499").good();
    place.run("compact db").good();
    assert_eq!((rows(&place, "db"), rows(&place, "copy")), (0, 400));
    place.run("backup db copy").bad(1, &["copy", "not empty"]);
    place.run("backup nothing copy2").bad(1, &["nothing"]);
    assert!(!place.path("copy2").exists());
}

#[test]
fn repair_saves_what_is_whole_and_says_what_is_not() {
    let place = filled();
    place.run("compact db").good();
    let run = place.run("repair db saved").good();
    assert!(run.out.contains("c: 400 rows saved"), "{}", run.out);
    // The first code is damaged; the codes of a block of 16 KiB go with it, which is all.
    damage_first_code(&place);
    std::fs::remove_file(place.path("db/MANIFEST")).unwrap();
    let run = place.run("repair db saved2 --format json");
    assert_eq!(run.code, Some(1), "{}{}", run.out, run.err);
    let lines = run.json();
    assert!(
        lines.iter().any(|line| line["file"] == "MANIFEST"),
        "{lines:?}"
    );
    assert!(lines.iter().any(|line| {
        line["lost"]
            .as_str()
            .is_some_and(|lost| lost.contains("400 rows"))
    }));
    assert!(
        run.err.contains("saved2 holds what was whole of db"),
        "{}",
        run.err
    );
    place.run("verify saved2").good();
    place.run("verify db").bad(1, &["not a Bitkin database"]);
}

#[test]
fn verify_of_a_damaged_database_names_repair() {
    let place = filled();
    place.run("compact db").good();
    damage_first_code(&place);
    let run = place.run("verify db");
    assert_eq!(run.code, Some(1));
    assert!(run.err.contains("bitkin repair db"), "{}", run.err);
}

#[test]
fn a_dropped_collection_is_gone_with_its_files() {
    let place = filled();
    place.run("create db other --bits 8").good();
    let run = place.run("drop db c").good();
    assert!(run.err.contains("c dropped, with 400 rows"), "{}", run.err);
    assert!(!holds(&place, "db", 5));
    place
        .run("search db c --code 00")
        .bad(1, &["\"c\"", "other"]);
    place.run("drop db c").bad(1, &["\"c\""]);
    place.run("create db c --bits 16").good();
    place.run("verify db").good();
}
