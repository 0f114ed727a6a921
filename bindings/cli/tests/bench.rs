//! The program measuring searches of a collection.

mod common;

use common::{Place, noise};

fn filled() -> Place {
    let place = Place::new();
    place.codes("codes.npy", 16, &noise(3, 700 * 16));
    place.codes("queries.npy", 16, &noise(4, 9 * 16));
    place.codes("narrow.npy", 8, &noise(4, 9 * 8));
    place.run("create db c --bits 128").good();
    place.run("create db empty --bits 128").good();
    place.run("import db c codes.npy").good();
    place
}

#[test]
fn every_way_to_ask_is_measured() {
    let place = filled();
    for question in [
        "-k 7",
        "--radius 50",
        "--radius 0",
        "-k 5000 --queries queries.npy",
    ] {
        let line = format!("bench db c {question} --seconds 0.02 --threads 2 --format json");
        let run = place.run(&line).good();
        let lines = run.json();
        assert_eq!(lines.len(), 3);
        for (line, threads) in lines.iter().zip([1, 1, 2]) {
            assert_eq!(line["recall"], 1.0, "{question}");
            assert_eq!(
                (&line["system"], &line["work"]),
                (&"bitkin".into(), &"c".into())
            );
            assert_eq!((&line["rows"], &line["bits"]), (&700.into(), &128.into()));
            assert_eq!(line["threads"], threads);
            assert_eq!(line["k"].is_null(), question.starts_with("--radius"));
            let number = |name: &str| line[name].as_f64().unwrap();
            assert!(number("queries_per_second") > 0.0);
            assert!(number("p50_us") <= number("p99_us") && number("p99_us") <= number("max_us"));
        }
    }
    let run = place.run("bench db c --seconds 0.02 --count 100").good();
    assert!(
        run.out.contains("recall 1") && run.out.contains("queries/s"),
        "{}",
        run.out
    );
}

#[test]
fn what_cannot_be_measured_is_refused() {
    let place = filled();
    place.run("bench db empty").bad(1, &["empty has no rows"]);
    place
        .run("bench db c --queries narrow.npy")
        .bad(1, &["narrow.npy", "128"]);
    place.run("bench db nothing").bad(1, &["nothing"]);
    for wrong in [
        "--seconds 0",
        "--seconds NaN",
        "-k 0",
        "--count 0",
        "-k 3 --radius 3",
    ] {
        place.run(&format!("bench db c {wrong}")).bad(2, &[]);
    }
}
