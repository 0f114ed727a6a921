//! What `stats` tells, for people, for programs and for Prometheus.

mod common;

use common::{Place, noise};
use std::collections::{BTreeMap, BTreeSet};

fn filled() -> Place {
    let place = Place::new();
    place.codes("codes.npy", 8, &noise(1, 8 * 20_000));
    place.run("create db c --bits 64 --index year:int").good();
    place.run("import db c codes.npy").good();
    place.run("compact db").good();
    place.run("delete db c --ids 0-9").good();
    place.codes("more.npy", 8, &noise(2, 8 * 7));
    place.run("import db c more.npy").good();
    place.run("create db empty --bits 12").good();
    place
}

#[test]
fn people_read_a_table() {
    let place = filled();
    let out = place.run("stats db").good().out;
    for told in [
        "db: 19,997 rows in 2 collections, commit ",
        "segments  ",
        "written last ",
        "log       ",
        "search tables",
        "bytes a row",
        "id filter",
    ] {
        assert!(out.contains(told), "no {told:?} in: {out}");
    }
    let line = |start: &str| {
        let mut lines = out.lines().filter(|line| line.starts_with(start));
        (
            lines.next().unwrap().to_owned(),
            lines.next().unwrap().to_owned(),
        )
    };
    let (first, second) = line("c ");
    assert!(
        first.contains("19,997") && first.contains(" of ") && first.contains("none"),
        "{out}"
    );
    let cells: Vec<&str> = second.split_whitespace().collect();
    assert_eq!(cells[1..4], ["8.0", "8.0", "0.0"], "{out}");
    let (first, second) = line("empty ");
    assert!(
        first.contains("no segment yet") && second.contains('–'),
        "{out}"
    );
}

#[test]
fn programs_read_json() {
    let place = filled();
    let lines = place.run("stats db --format json").good().json();
    let c = &lines[0];
    assert_eq!(
        (&c["rows"], &c["segment_rows"]),
        (&19_997.into(), &20_000.into())
    );
    let bytes = &c["segment_bytes"];
    let number = |key: &str| bytes[key].as_u64().unwrap();
    assert_eq!((number("ids"), number("codes")), (160_000, 160_000));
    assert_eq!(
        number("indexes"),
        number("tables") + number("filters") + number("planes") + number("id_filter")
    );
    let tables = c["layout"][0]["tables"].as_array().unwrap();
    let bits: u64 = tables.iter().map(|bits| bits.as_u64().unwrap()).sum();
    assert_eq!(bits, 64);
    let written = c["database"]["segments_written"].as_f64().unwrap();
    assert!(written > 1.7e9, "{written}");
}

/// One sample: its name, its labels, its value.
type Sample = (String, BTreeMap<String, String>, f64);

/// Reads the text format of Prometheus by its rules, strictly; panics where it breaks one.
fn parse(text: &str) -> (BTreeMap<String, String>, Vec<Sample>) {
    assert!(text.ends_with('\n'));
    let is_name = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let (mut helps, mut kinds) = (BTreeMap::new(), BTreeMap::new());
    let (mut samples, mut ended): (Vec<Sample>, BTreeSet<String>) = (Vec::new(), BTreeSet::new());
    let mut current = String::new();
    for line in text.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.splitn(3, ' ');
            let [kind, name, rest] = [(); 3].map(|()| words.next().expect(line));
            let old = match kind {
                "HELP" => helps.insert(name.to_owned(), rest.to_owned()),
                "TYPE" => {
                    assert!(["gauge", "counter"].contains(&rest), "{line}");
                    kinds.insert(name.to_owned(), rest.to_owned())
                }
                _ => panic!("{line}"),
            };
            assert!(old.is_none(), "twice: {line}");
            if current != name {
                assert!(ended.insert(std::mem::replace(&mut current, name.to_owned())));
            }
            continue;
        }
        let (name, rest) = line.split_once('{').expect(line);
        assert!(
            is_name(name) && name == current && kinds.contains_key(name),
            "{line}"
        );
        let mut labels = BTreeMap::new();
        let mut rest = rest;
        loop {
            let (label, value) = rest.split_once("=\"").expect(line);
            assert!(is_name(label), "{line}");
            let (mut text, mut chars) = (String::new(), value.char_indices());
            let end = loop {
                match chars.next().expect(line) {
                    (_, '\\') => text.push(match chars.next().expect(line).1 {
                        '\\' => '\\',
                        '"' => '"',
                        'n' => '\n',
                        other => panic!("\\{other} in {line}"),
                    }),
                    (at, '"') => break at,
                    (_, c) => text.push(c),
                }
            };
            assert!(labels.insert(label.to_owned(), text).is_none(), "{line}");
            rest = &value[end + 1..];
            match rest.strip_prefix(',') {
                Some(more) => rest = more,
                None => break,
            }
        }
        let value = rest.strip_prefix("} ").expect(line);
        let sample = (name.to_owned(), labels, value.parse().expect(line));
        assert!(
            !samples
                .iter()
                .any(|s| (&s.0, &s.1) == (&sample.0, &sample.1)),
            "{line}"
        );
        samples.push(sample);
    }
    assert_eq!(
        helps.keys().collect::<Vec<_>>(),
        kinds.keys().collect::<Vec<_>>()
    );
    (helps, samples)
}

#[test]
fn prometheus_reads_its_own_format() {
    let place = filled();
    // Labels may be anything: the name of the database is the path that was given.
    let odd = "a \"b\\c\nü";
    std::fs::rename(place.path("db"), place.path(odd)).unwrap();
    let run: common::Run = place
        .command(&["stats", odd, "--format", "prometheus"])
        .output()
        .unwrap()
        .into();
    let (helps, samples) = parse(&run.good().out);
    assert!(helps.values().all(|help| help.ends_with('.')));
    let value = |name: &str, collection: &str| {
        let mut found = samples.iter().filter(|(sample, labels, _)| {
            sample == name && labels.get("collection").is_none_or(|c| c == collection)
        });
        let (_, labels, value) = found.next().unwrap();
        assert_eq!(labels["database"], odd);
        *value
    };
    assert_eq!(value("bitkin_rows", "c"), 19_997.0);
    assert_eq!(value("bitkin_rows", "empty"), 0.0);
    assert_eq!(value("bitkin_deleted_rows", "c"), 10.0);
    assert!(value("bitkin_segments_written_timestamp_seconds", "") > 1.7e9);
    let parts = samples.iter().filter(|s| s.0 == "bitkin_segment_bytes");
    assert_eq!(parts.count(), 16);
}
