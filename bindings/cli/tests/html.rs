//! Pages: self-contained, whole, and safe whatever names and payloads hold.

mod common;

use common::{Place, Run, noise, waves};

fn run(place: &Place, words: &[&str]) -> Run {
    place.command(words).output().unwrap().into()
}

/// The page, which needs nothing but itself.
#[track_caller]
fn page(place: &Place, name: &str) -> String {
    let html = std::fs::read_to_string(place.path(name)).unwrap();
    assert!(html.starts_with("<!doctype html>") && html.ends_with("</html>\n"));
    for outside in [
        "http:", "https:", "<link", "<script", "@import", "url(", "file:", "src=\"/",
    ] {
        assert!(!html.contains(outside), "{outside}");
    }
    let images = html.matches("<img ").count();
    assert_eq!(html.matches(" src=\"data:image/").count(), images);
    assert_eq!(html.matches(" alt=\"").count(), images);
    assert_eq!(html.matches("<h1>").count(), 1);
    html
}

/// Four pictures in two versions each, in a folder beside the database.
fn pictures() -> Place {
    let place = Place::new();
    std::fs::create_dir_all(place.path("in/wa<ve>s")).unwrap();
    for number in 0..4 {
        for (version, light) in [("a", 0), ("b", 12)] {
            let name = format!("in/wa<ve>s/{number}{version}.ppm");
            std::fs::write(place.path(&name), waves(number, 150, light)).unwrap();
        }
    }
    place.run("create db copies --encoder pdq").good();
    place.run("ingest db copies in").good();
    place
}

#[test]
fn a_search_by_picture_shows_pictures() {
    let place = pictures();
    let line = "search db copies --image in/wa<ve>s/1a.ppm -k 5 --html out.html --format json";
    let answer = place.run(line).good();
    assert!(
        answer.err.contains("the page is out.html"),
        "{}",
        answer.err
    );
    let html = page(&place, "out.html");
    // The query, five rows, and the code of each in the table.
    assert_eq!(html.matches("data:image/jpeg").count(), 6);
    assert_eq!(html.matches("data:image/png").count(), 5);
    assert!(html.contains("<title>Nearest to 1a.ppm</title>"));
    assert!(html.contains("wa&lt;ve&gt;s") && !html.contains("wa<ve>s"));
    assert!(html.contains("5 found\nexact") && html.contains("sha256"));
    for id in answer.json()[0]["ids"].as_array().unwrap() {
        assert!(
            html.contains(&format!("<td class=\"number\">{id}</td>")),
            "{id}"
        );
    }
    // Files that are gone or changed are not shown: their codes are.
    std::fs::remove_file(place.path("in/wa<ve>s/1a.ppm")).unwrap();
    std::fs::write(place.path("in/wa<ve>s/1b.ppm"), waves(0, 150, 0)).unwrap();
    place.run("get db copies 2 --html gone.html").good();
    assert_eq!(
        page(&place, "gone.html").matches("data:image/jpeg").count(),
        0
    );
    place.run("get db copies 0 --html row.html").good();
    let html = page(&place, "row.html");
    assert_eq!(html.matches("data:image/jpeg").count(), 1);
    assert!(html.contains("Row 0 of copies") && html.contains("<dt>quality</dt>"));
}

#[test]
fn duplicates_are_shown_by_groups() {
    let place = pictures();
    let run = place
        .run("dedupe db copies --radius 31 --html out.html --delete")
        .good();
    assert!(run.err.contains("bitkin compact db"), "{}", run.err);
    let html = page(&place, "out.html");
    assert_eq!(html.matches("<section").count(), 4);
    assert!(html.contains("is kept\n1 duplicate"));
    let run = place
        .run("dedupe db copies --radius 31 --html none.html")
        .good();
    assert!(run.err.contains("no duplicates"), "{}", run.err);
    assert!(page(&place, "none.html").contains("No two rows differ"));
}

#[test]
fn codes_are_drawn_and_doubt_is_marked() {
    let place = Place::new();
    let codes = noise(1, 8 * 8000);
    place.codes("codes.npy", 8, &codes);
    place.codes("queries.npy", 8, &codes[..8 * 70]);
    let evil = "\"</dd><script>alert(1)</script>'\\u001b[2J";
    let lines: String = (0..8000)
        .map(|_| format!("{{\"label\": {evil}\", \"n\": 1}}\n"))
        .collect();
    std::fs::write(place.path("payloads.jsonl"), lines).unwrap();
    place.run("create db c --bits 64").good();
    place
        .run("import db c codes.npy --payloads payloads.jsonl")
        .good();
    place.run("compact db").good();
    place
        .run("search db c --queries queries.npy -k 3 --html out.html")
        .good();
    let html = page(&place, "out.html");
    assert_eq!(html.matches("<section").count(), 50);
    assert!(html.contains("20 more are not on this page."));
    assert!(html.contains("&lt;script&gt;") && !html.contains('\u{1b}'));
    assert!(!html.contains("class=\"mark uncertain\""));
    run(
        &place,
        &[
            "search",
            "db",
            "c",
            "--queries",
            "queries.npy",
            "--budget",
            "30",
            "--html",
            "b.html",
        ],
    )
    .good();
    assert!(page(&place, "b.html").contains("class=\"mark uncertain\""));
    place
        .run("explain db c --queries queries.npy --html e.html")
        .good();
    page(&place, "e.html");
}

#[test]
fn a_page_that_cannot_be_stored_is_told() {
    let place = pictures();
    let run = place.run("get db copies 0 --html no/out.html");
    assert_eq!(run.code, Some(1));
    assert!(
        run.err.contains("no/out.html") && run.err.contains("its folder"),
        "{}",
        run.err
    );
}
