//! Near-duplicates at the shell: pictures into perceptual hashes, and codes.

mod common;

use common::{Place, Run, noise, waves};
use serde_json::json;

#[test]
fn pictures_are_deduplicated_without_a_model() {
    let place = Place::new();
    std::fs::create_dir(place.path("pictures")).unwrap();
    for number in 0..3 {
        for (version, side, light) in [("a", 200, 0), ("b", 120, 0), ("c", 200, 20)] {
            let name = format!("pictures/{number}{version}.ppm");
            std::fs::write(place.path(&name), waves(number, side, light)).unwrap();
        }
    }
    let run = place.run("create db copies --encoder pdq").good();
    assert!(run.err.contains("PDQ"), "{}", run.err);
    let run = place.run("ingest db copies pictures").good();
    assert!(run.err.contains("9 pictures inserted"), "{}", run.err);

    let run = place.run("search db copies --image pictures/1a.ppm --radius 31 --format json");
    assert_eq!(run.good().json()[0]["ids"], json!([3, 5, 4]), "by distance");

    let run = place.run("dedupe db copies --format json").good();
    let groups = run.json();
    let expected = [(0, [1, 2]), (3, [4, 5]), (6, [7, 8])];
    for (group, (keep, duplicates)) in groups.iter().zip(expected) {
        assert_eq!(
            (&group["keep"], &group["duplicates"]),
            (&json!(keep), &json!(duplicates))
        );
        assert_eq!(group["distances"].as_array().unwrap().len(), 2);
    }
    assert_eq!(groups.len(), 3);
    assert!(
        run.err.contains("6 duplicates of 3 rows; --delete"),
        "{}",
        run.err
    );

    let table = place.run("dedupe db copies").good();
    assert!(
        table.out.contains("1b.ppm") && table.out.contains("kept"),
        "{}",
        table.out
    );

    let run = place.run("dedupe db copies --delete").good();
    assert!(
        run.err.contains("6 duplicates of 3 rows deleted"),
        "{}",
        run.err
    );
    let run = place.run("dedupe db copies").good();
    assert!(
        run.out.is_empty() && run.err.contains("no duplicates"),
        "{}{}",
        run.out,
        run.err
    );
    let stats = place.run("stats db copies --format json").good().json();
    assert_eq!(stats[0]["rows"], 3);
}

#[test]
fn codes_need_a_radius() {
    let place = Place::new();
    let lines: Vec<String> = noise(1, 40 * 8)
        .chunks_exact(8)
        .enumerate()
        .map(|(row, code)| {
            // Every row is there twice, 100 apart.
            let code: String = code.iter().map(|byte| format!("{byte:02x}")).collect();
            let line =
                |id| json!({"id": id, "code": code, "payload": {"half": id / 100}}).to_string();
            format!("{}\n{}", line(row), line(row + 100))
        })
        .collect();
    std::fs::write(place.path("rows.jsonl"), lines.join("\n")).unwrap();
    place.run("create db c --bits 64").good();
    place.run("import db c rows.jsonl").good();
    let refused = place.run("dedupe db c");
    refused.bad(2, &["--radius R: how many of 64 bits"]);
    let groups = place
        .run("dedupe db c --radius 0 --format json")
        .good()
        .json();
    assert_eq!(groups.len(), 40);
    assert_eq!(
        groups[7],
        json!({"keep": 7, "duplicates": [107], "distances": [0]})
    );
    let words = ["dedupe", "db", "c", "--radius", "0", "--where", "half = 1"];
    let half = Run::from(place.command(&words).output().unwrap()).good();
    assert!(half.err.contains("no duplicates"), "{}", half.err);
}
