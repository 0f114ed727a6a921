//! `bitkin shell` without a terminal: lines of `-c` and of standard input, as a script sees them.

mod common;

use common::{Place, Run, noise};
use std::io::Write;
use std::process::Stdio;

/// A database with 300 codes of 64 bits in a collection `c`.
fn filled() -> Place {
    let place = Place::new();
    place.codes("codes.npy", 8, &noise(1, 300 * 8));
    place.run("create db c --bits 64").good();
    place.run("import db c codes.npy").good();
    place
}

/// Runs the shell with these words, and `input` as its standard input.
fn shell(place: &Place, words: &[&str], input: &[u8]) -> Run {
    let words: Vec<&str> = ["shell", "db"].iter().chain(words).copied().collect();
    let mut child = place
        .command(&words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A shell that stops at an error does not read the rest.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap().into()
}

#[test]
fn a_line_answers_as_the_command_line_does() {
    let place = filled();
    for line in [
        "search c --code 0102030405060708 -k 3",
        "search c --code 0102030405060708 --radius 25 --format json",
        "get c 7",
        "get c 7 --format json",
        "stats c --format json",
        "verify",
        "help",
    ] {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let ours = shell(&place, &["-c", line], b"").good();
        if verb == "help" {
            assert!(
                ours.out.contains("search   Find the nearest codes"),
                "{}",
                ours.out
            );
            continue;
        }
        let theirs = place.run(&format!("{verb} db {rest}")).good();
        assert_eq!((ours.out, ours.err), (theirs.out, theirs.err), "{line}");
    }
    let explained = shell(
        &place,
        &["-c", "explain search c --code 0102030405060708 -k 3"],
        b"",
    );
    assert!(explained.good().out.contains("searched by"));
}

#[test]
fn the_database_stays_open_from_line_to_line() {
    let place = Place::new();
    place.codes("codes.npy", 8, &noise(1, 300 * 8));
    let script = b"# a comment, then an empty line\n\n\
        create c --bits 64\n\
        import c codes.npy # from numpy\r\n\
        delete c --ids 0-9\n\
        compact c\n\
        backup copy --format json\n\
        stats c --format json\n\
        bitkin get db c 10 --format json\n\
        repair saved\n\
        drop c\n\
        stats";
    let run = shell(&place, &[], script).good();
    let lines: Vec<&str> = run.out.lines().collect();
    assert!(lines[1].contains("\"rows\":290"), "{}", run.out);
    assert!(lines[2].contains("\"id\":10"), "{}", run.out);
    assert_eq!(lines[3], "c: 290 rows saved");
    assert!(lines[4].contains("0 rows in 0 collections"), "{}", run.out);
    for told in [
        "created c",
        "300 rows inserted",
        "10 rows deleted",
        "c compacted",
        "c dropped",
    ] {
        assert!(run.err.contains(told), "{told}: {}", run.err);
    }
    // It was closed well: others write it now.
    place.run("create db d --bits 8").good();
    place.run("stats copy c").good();
}

#[test]
fn a_verb_can_read_the_rest_of_a_script() {
    let place = Place::new();
    let script = b"create c --bits 16\nimport c -\n\
        {\"id\": 1, \"code\": \"0000\"}\n{\"id\": 2, \"code\": \"ffff\"}\n";
    let run = shell(&place, &[], script).good();
    assert!(run.err.contains("2 rows inserted"), "{}", run.err);
}

#[test]
fn a_script_stops_at_the_first_failure_and_has_its_code() {
    let place = filled();
    let script = b"get c 1\nget c 999\nsearch c\nget c 2\n";
    let run = shell(&place, &[], script);
    assert_eq!(
        (run.code, run.out.lines().count()),
        (Some(1), 3),
        "{}",
        run.err
    );
    assert!(run.err.contains("there is no row 999"), "{}", run.err);
    let run = shell(&place, &["--keep-going"], script);
    assert_eq!(
        (run.code, run.out.lines().count()),
        (Some(1), 6),
        "{}",
        run.err
    );
    assert!(
        run.err.contains("--code <HEX>|--image <FILE>"),
        "{}",
        run.err
    );
    let run = shell(&place, &["-c", "search c", "-c", "get c 1"], b"");
    run.bad(2, &["Usage: search", "<NAME>"]);
    let run = shell(&place, &["-c", "exit", "-c", "get c 999"], b"");
    assert_eq!(run.good().out, "");
}

#[test]
fn what_cannot_be_understood_is_told() {
    let place = filled();
    let line = |line: &[u8]| shell(&place, &[], line);
    line(b"serch c --code ff").bad(2, &["serch", "similar", "'search'"]);
    line(b"get 'c 7").bad(2, &["quote ' at column 5 is not closed"]);
    line(b"search c --where \"year > 3").bad(2, &["quote \" at column 18"]);
    line(b"get c 7\\").bad(2, &["ends in a backslash"]);
    line(b"get c \xff\xfe\x00").bad(2, &["column 7", "no text", "UTF-8"]);
    line(b"\x7fELF\x02\x01\x01\0\0\0").bad(2, &["column 1", "no text"]);
    line(&[b'x'; 3 << 20]).bad(2, &["more than 1048576 bytes"]);
    line(b"get c seven").bad(2, &["seven", "ID"]);
    line(b"get c 7 --for json").bad(2, &["--for", "--format"]);
    line(b"shell db").bad(2, &["shell"]);
    line(b"bitkin shell db").bad(2, &["a shell already"]);
    line(b"search c --code 0102030405060708 --where 'year >'").bad(2, &["where"]);
    // Nothing of it ends a shell that goes on.
    let junk = b"serch\nget 'c\n\xff\nget c 999999\nget c 7 --format json\n";
    let run = shell(&place, &["--keep-going"], junk);
    assert_eq!(run.code, Some(2));
    assert!(run.out.contains("\"id\":7"), "{}", run.out);
}

#[test]
fn a_long_line_is_a_line() {
    let place = Place::new();
    place.run("create db wide --bits 65536").good();
    let code = "0f".repeat(8192);
    let line = format!("search wide --code {code} --format json");
    let run = shell(&place, &[], line.as_bytes()).good();
    assert!(run.out.contains("\"ids\":[]"), "{}", run.out);
}

#[test]
fn a_database_that_another_writes_is_read_and_refreshed() {
    let place = filled();
    let writer = bitkin::Database::open(place.path("db")).unwrap();
    let collection = writer.collection("c").unwrap();
    let mut child = place
        .command(&["shell", "db", "--keep-going"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = child.stdin.take().unwrap();
    let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut ask = |line: &str| {
        writeln!(lines, "{line}").unwrap();
        let mut answer = String::new();
        std::io::BufRead::read_line(&mut out, &mut answer).unwrap();
        answer
    };
    assert!(ask("stats c --format json").contains("\"rows\":300"));
    collection.append(&noise(2, 8 * 8)).unwrap();
    assert!(ask("stats c --format json").contains("\"rows\":308"));
    // It cannot be written as long as the other has it; then it can.
    assert!(ask("delete c --ids 0\nstats c --format json").contains("\"rows\":308"));
    writer.close().unwrap();
    assert!(ask("delete c --ids 0\nstats c --format json").contains("\"rows\":307"));
    drop(lines);
    let run: Run = child.wait_with_output().unwrap().into();
    assert_eq!(run.code, Some(1));
    assert!(
        run.err.contains("open for writing elsewhere"),
        "{}",
        run.err
    );
}

#[test]
fn read_only_is_kept_to() {
    let place = filled();
    let before = place.content("db");
    for line in ["delete c --ids 0", "create d --bits 8", "compact", "drop c"] {
        shell(&place, &["--read-only", "-c", line], b"").bad(1, &["--read-only"]);
    }
    shell(&place, &["--read-only", "-c", "get c 0"], b"").good();
    assert_eq!(place.content("db"), before);
    let run = place.run("shell nowhere --read-only -c stats");
    run.bad(1, &["nowhere does not exist"]);
    place
        .run("shell nowhere -c stats")
        .bad(1, &["nowhere does not exist"]);
    assert!(!place.path("nowhere").exists());
}

#[test]
fn timing_is_told_when_it_is_asked_for_and_never_among_results() {
    let place = filled();
    let run = shell(&place, &["-c", "stats c --format json", "--timing"], b"").good();
    assert_eq!(run.json().len(), 1);
    assert!(
        run.err.trim().ends_with("ms") || run.err.trim().ends_with('s'),
        "{}",
        run.err
    );
    let run = shell(&place, &["-c", "stats c --format json"], b"").good();
    assert_eq!(run.err, "");
}

#[test]
fn a_reader_that_goes_away_ends_the_script() {
    let place = filled();
    let script = "get c 1\n".repeat(100_000);
    let mut child = place
        .command(&["shell", "db"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut lines = child.stdin.take().unwrap();
    let sent = lines.write_all(script.as_bytes());
    assert!(sent.is_err(), "all lines were read");
    drop(lines);
    let run: Run = child.wait_with_output().unwrap().into();
    assert_eq!((run.code, run.err.as_str()), (Some(0), ""));
}

#[test]
fn pictures_are_for_terminals() {
    let place = filled();
    let run = shell(&place, &["-c", "get c 7 --show"], b"").good();
    assert!(run.err.contains("--show needs a terminal") && !run.out.contains('\u{1b}'));
    shell(&place, &["-c", "get c 7 --show --format json"], b"").bad(2, &["--format table"]);
}

#[test]
fn completions_and_manual_pages_come_of_the_grammar() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let run = place.run(&format!("completions {shell}")).good();
        assert!(
            run.out.contains("dedupe") && run.out.contains("keep-going"),
            "{shell}"
        );
    }
    place.run("man pages").good();
    let page = std::fs::read_to_string(place.path("pages/bitkin-search.1")).unwrap();
    assert!(
        page.contains("\\-\\-where") && page.contains("bitkin search photos.bitkin"),
        "{page}"
    );
    for name in ["bitkin.1", "bitkin-shell.1", "bitkin-model-info.1"] {
        assert!(place.path("pages").join(name).exists(), "{name}");
    }
    place.run("completions tcsh").bad(2, &["tcsh", "bash"]);
}
