//! Names and places as odd as file systems have them, and what is said when something is in the way.
#![cfg(unix)]

mod common;

use common::{Place, Run, noise};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

fn run(place: &Place, words: &[&OsStr]) -> Run {
    place.command(words).output().unwrap().into()
}

/// Every verb takes whatever a file may be called, and says it in one line.
#[test]
fn names_may_be_any_bytes() {
    let place = Place::new();
    let odd = |name: &str| {
        let mut bytes = name.as_bytes().to_vec();
        bytes.extend(b" a\nb\x1b[31m\xff");
        OsStr::from_bytes(&bytes).to_owned()
    };
    let end = |name: &str, end: &str| {
        let mut name = odd(name);
        name.push(end);
        name
    };
    let (db, rows) = (odd("db"), end("rows", ".jsonl"));
    std::fs::write(
        place.path("x").with_file_name(&rows),
        "{\"code\": \"0a0b\"}\n",
    )
    .unwrap();
    let word = OsStr::new;
    let good = |words: &[&OsStr]| {
        let run = run(&place, words).good();
        // Nothing but lines of the program's own; a control character is none.
        for text in [&run.out, &run.err] {
            assert!(
                !text.contains('\u{1b}') && !text.contains("a\nb"),
                "{text:?}"
            );
        }
        run
    };
    good(&[word("create"), &db, word("c d"), word("--bits"), word("16")]);
    good(&[word("import"), &db, word("c d"), &rows]);
    for ending in [".jsonl", ".npy", ".parquet"] {
        let out = end("out", ending);
        good(&[word("export"), &db, word("c d"), &out]);
        assert!(place.path("x").with_file_name(&out).exists());
    }
    let html = end("page", ".html");
    good(&[
        word("get"),
        &db,
        word("c d"),
        word("0"),
        word("--html"),
        &html,
    ]);
    for verb in ["stats", "verify", "compact"] {
        good(&[word(verb), &db]);
    }
    let search = [
        word("search"),
        &db,
        word("c d"),
        word("--code"),
        word("0a0b"),
    ];
    assert!(good(&search).out.contains("1 found, exact"));
    good(&[word("backup"), &db, &odd("copy")]);
    good(&[word("repair"), &db, &odd("saved")]);
    good(&[word("drop"), &db, word("c d")]);
    let gone = run(&place, &[word("drop"), &db, word("c\nd")]);
    gone.bad(1, &["no collection \"c\\nd\"", "has none", "'"]);
}

#[test]
fn a_copy_does_not_go_into_what_it_copies() {
    let place = Place::new();
    place.run("create db c --bits 8").good();
    for line in [
        "backup db db/copy",
        "backup db db/a/b",
        "repair db ./db/../db/x",
    ] {
        place
            .run(line)
            .bad(2, &["lies in the database itself", "beside it"]);
    }
    let before = place.content("db");
    std::fs::write(place.path("there"), "a file").unwrap();
    place.run("backup db there").bad(1, &["there"]);
    place
        .run("backup there copy")
        .bad(1, &["there is no database"]);
    std::fs::create_dir(place.path("full")).unwrap();
    std::fs::write(place.path("full/x"), "kept").unwrap();
    place
        .run("backup db full")
        .bad(1, &["full is not empty", "does not exist, or is empty"]);
    place.run("repair db full").bad(1, &["full is not empty"]);
    std::fs::create_dir(place.path("none")).unwrap();
    for verb in ["backup", "repair"] {
        place
            .run(&format!("{verb} none copy"))
            .bad(1, &["none is not a Bitkin database", "bitkin create"]);
    }
    assert!(place.path("full/x").exists() && !place.path("copy").exists());
    assert!(place.content("db") == before);
}

/// What fails in the middle leaves nothing behind: neither half a copy nor half a file.
#[test]
fn a_full_disk_is_told_and_leaves_nothing() {
    let place = Place::new();
    place.codes("codes.npy", 64, &noise(7, 64 * 20_000));
    place.run("create db c --bits 512").good();
    place.run("import db c codes.npy").good();
    place.run("compact db").good();
    // No disk is full here; a limit on the size of files has the same effect.
    let program = env!("CARGO_BIN_EXE_bitkin");
    let limited = |line: &str| -> Run {
        let line = format!("trap '' XFSZ; ulimit -f 200; exec '{program}' {line}");
        let output = std::process::Command::new("bash")
            .args(["-c", &line])
            .current_dir(place.path("x").parent().unwrap())
            .output();
        output.unwrap().into()
    };
    let names = || {
        let entries = std::fs::read_dir(place.path("x").parent().unwrap()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = names();
    for file in ["out.npy", "out.jsonl", "out.parquet"] {
        limited(&format!("export db c {file}")).bad(1, &["cannot write", file]);
        assert_eq!(names(), before, "{file}");
    }
    limited("repair db saved").bad(1, &["saved", "cannot write"]);
    assert_eq!(names(), before);
    place.run("verify db").good();
}

/// The page of a database elsewhere finds its pictures beside the database.
#[test]
fn pictures_are_looked_for_beside_the_database() {
    let place = Place::new();
    let mut file = b"P6\n64 64\n255\n".to_vec();
    file.extend(noise(3, 64 * 64 * 3));
    std::fs::create_dir_all(place.path("album/in")).unwrap();
    std::fs::write(place.path("album/in/a.ppm"), file).unwrap();
    let album = place.path("album");
    let there = |line: &str| -> Run {
        let words: Vec<&str> = line.split_whitespace().collect();
        let mut command = place.command(&words);
        command.current_dir(&album).output().unwrap().into()
    };
    there("create db c --encoder pdq").good();
    there("ingest db c in").good();
    place.run("get album/db c 0 --html out.html").good();
    let html = std::fs::read_to_string(place.path("out.html")).unwrap();
    assert!(html.contains("data:image/jpeg"));
    assert!(Path::new(&place.path("out.html")).exists());
}
