use super::*;
use crate::pictures::{CLASSES, Pictures};
use image::RgbImage;

fn page() -> Page {
    let set = Pictures::default();
    let thumbnail =
        |class: usize, n| Face::Picture(Thumbnail::new(&set.draw(&CLASSES[class], n)).unwrap());
    let row = |class: usize| Row {
        query: thumbnail(class, 0),
        name: CLASSES[class].name.to_owned(),
        remark: "7 of 10 right · certain to distance 19".to_owned(),
        near: (1..=10)
            .map(|n| {
                let of = if n % 4 == 3 { class - 3 } else { class };
                Near {
                    face: thumbnail(of, n),
                    name: CLASSES[of].name.to_owned(),
                    distance: 2 * n,
                    right: Some(of == class),
                    uncertain: false,
                }
            })
            .collect(),
        facts: Vec::new(),
        table: None,
    };
    let method = |name: &str, stores: &str, score, own| Method {
        name: name.to_owned(),
        stores: stores.to_owned(),
        score,
        own,
    };
    Page {
        title: "Eight new classes, five examples each".to_owned(),
        lead: "Codes of 64 bits, adapted to classes that the network has never seen from five \
               examples of each, searched exactly."
            .to_owned(),
        figures: vec![
            ("0.561".to_owned(), "mAP of the codes".to_owned()),
            ("1,240".to_owned(), "pictures ingested a second".to_owned()),
            ("2.4 µs".to_owned(), "a search, median".to_owned()),
            ("48 s".to_owned(), "the whole demo".to_owned()),
        ],
        methods: Methods {
            caption: "Mean average precision over 120 queries among 800 pictures.".to_owned(),
            score: "mAP".to_owned(),
            rows: vec![
                method("PP + SCDM", "64 bits", 0.561, true),
                method("PCA-ITQ", "64 bits", 0.402, false),
                method("LSH", "64 bits", 0.233, false),
                method("float features", "256 × f32", 0.583, false),
            ],
        },
        charts: Vec::new(),
        grids: Vec::new(),
        commands: vec!["$ bitkin create demo.bitkin novel --model model.safetensors".to_owned()],
        rows_title: "Queries and their nearest pictures".to_owned(),
        rows_note: "The first query of each class.".to_owned(),
        rows: (12..20).map(row).collect(),
        notes: vec!["mAP is tie-aware.".to_owned()],
    }
}

#[test]
fn the_page_needs_nothing_but_itself() {
    let html = page().html();
    for outside in [
        "http:", "https:", "<link", "<script", "@import", "url(", "src=\"/", "file:",
    ] {
        assert!(!html.contains(outside), "{outside}");
    }
    let images = html.matches("<img ").count();
    assert_eq!(images, 8 * 11);
    assert_eq!(
        html.matches("src=\"data:image/jpeg;base64,").count(),
        images
    );
    assert_eq!(html.matches(" alt=\"").count(), images);
    assert!(html.len() < 1_500_000, "{}", html.len());
    // For looking at it: the test leaves the page where it is told to.
    if let Some(path) = std::env::var_os("BITKIN_TEST_PAGE") {
        std::fs::write(path, html).unwrap();
    }
}

#[test]
fn right_and_wrong_are_told_without_colour() {
    let html = page().html();
    assert_eq!(html.matches("aria-hidden=\"true\">✗").count(), 8 * 2);
    assert_eq!(html.matches("aria-hidden=\"true\">✓").count(), 8 * 8);
    assert_eq!(html.matches(", wrong\">").count(), 8 * 2);
    assert_eq!(html.matches(", right\">").count(), 8 * 8);
}

#[test]
fn every_text_is_escaped() {
    let evil = "<script>alert(\"1\")</script>&'\u{1b}";
    let mut page = page();
    for text in [
        &mut page.title,
        &mut page.lead,
        &mut page.rows_title,
        &mut page.rows_note,
    ] {
        *text = evil.to_owned();
    }
    page.figures = vec![(evil.to_owned(), evil.to_owned())];
    page.methods.caption = evil.to_owned();
    page.methods.score = evil.to_owned();
    page.methods.rows[0].name = evil.to_owned();
    page.methods.rows[0].stores = evil.to_owned();
    page.commands = vec![evil.to_owned()];
    page.notes = vec![evil.to_owned()];
    for row in &mut page.rows {
        row.name = evil.to_owned();
        row.remark = evil.to_owned();
        row.facts = vec![(evil.to_owned(), evil.to_owned())];
        let detail = |_: &Near| Detail {
            id: 7,
            code: CodeImage::new(&[7], 8, None).unwrap(),
            payload: vec![(evil.to_owned(), evil.to_owned())],
        };
        let rows = row.near.iter().map(detail).collect();
        row.table = Some(Table { open: true, rows });
        for near in &mut row.near {
            near.name = evil.to_owned();
        }
    }
    let html = page.html();
    assert!(!html.contains("<script") && !html.contains('\u{1b}') && !html.contains("(\"1"));
    let safe = "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&amp;&#39;\u{fffd}";
    // Title twice; lead, title and note of rows, figure twice, four of methods, command, footer; rows, with
    // a fact each; what was found, with a field of payload each.
    assert_eq!(
        html.matches(safe).count(),
        2 + 3 + 2 + 4 + 2 + 8 * (3 + 2) + 8 * 10 * (3 + 2)
    );
}

#[test]
fn thumbnails_are_small_and_cover_the_square() {
    let size = |width, height| {
        let picture = RgbImage::from_fn(width, height, |x, y| image::Rgb([x as u8, y as u8, 9]));
        let thumbnail = Thumbnail::new(&picture).unwrap();
        let decoded = image::load_from_memory(&thumbnail.0).unwrap();
        (decoded.width(), decoded.height())
    };
    assert_eq!(size(640, 480), (170, 128));
    assert_eq!(size(480, 640), (128, 170));
    assert_eq!(size(40, 30), (40, 30));
    assert_eq!(size(4000, 200), (256, 128));
    assert_eq!(size(1, 500), (1, 2));
    assert!(Thumbnail::new(&RgbImage::new(0, 5)).is_err());
}

#[test]
fn an_empty_page_is_still_a_page() {
    let html = Page::default().html();
    assert!(html.starts_with("<!doctype html>") && html.ends_with("</html>\n"));
    assert!(!html.contains("<table"));
}
