//! Searches that count some bits: those that were typed, and those that example pictures select.

mod common;

use common::{Place, Run, noise};
use serde_json::{Value, json};

/// Distance under a mask.
fn far(a: &[u8], b: &[u8], mask: &[u8]) -> u32 {
    let bytes = a.iter().zip(b).zip(mask);
    bytes.map(|((a, b), m)| ((a ^ b) & m).count_ones()).sum()
}

#[test]
fn bits_that_count_are_typed() {
    let place = Place::new();
    let codes = noise(3, 5000 * 125);
    place.codes("codes.npy", 125, &codes);
    place.codes("q.npy", 125, &codes[..250]);
    let created = place.run("create db wide --bits 1000 --planes").good();
    assert!(created.err.contains("with bit planes"), "{}", created.err);
    place.run("import db wide codes.npy").good();
    place.run("compact db").good();

    let mut mask = vec![0_u8; 125];
    for bit in [5_usize, 77].into_iter().chain(900..=950) {
        mask[bit / 8] |= 1 << (bit % 8);
    }
    let hex: String = mask.iter().map(|byte| format!("{byte:02x}")).collect();
    let typed = format!("search db wide --queries q.npy -k 7 --format json --mask {hex}");
    let by_hex = place.run(&typed).good().json();
    let numbered = "search db wide --queries q.npy -k 7 --format json --mask-bits 5,77,900-950";
    assert_eq!(place.run(numbered).good().json(), by_hex);
    for (row, line) in by_hex.iter().enumerate() {
        let query = &codes[125 * row..][..125];
        let rows = codes.chunks(125).zip(0_u64..);
        let mut all: Vec<(u32, u64)> = rows
            .map(|(code, id)| (far(query, code, &mask), id))
            .collect();
        all.sort_unstable();
        let ids: Vec<u64> = all[..7].iter().map(|(_, id)| *id).collect();
        assert_eq!(line["ids"], json!(ids));
        assert_eq!(line["certified_radius"], json!(all[6].0));
        assert_eq!(line["exact"], json!(true));
    }

    // How it was done: 53 planes of 5,000 rows, in lines of 512.
    let run =
        place.run("explain db wide --queries q.npy -k 7 --format json --mask-bits 5,77,900-950");
    let part = &run.good().json()[0]["parts"][0];
    assert_eq!(part["way"], json!("planes"));
    assert!(part["bytes"].as_u64().unwrap() <= 53 * 640, "{part}");
    let table = place
        .run("explain db wide --queries q.npy --mask-bits 1")
        .good();
    assert!(table.out.contains("planes"), "{}", table.out);
    // The shell has the same grammar; stats say what planes take.
    let line = "search wide --queries q.npy --mask-bits 3-9 --format json";
    let shell: Run = place
        .command(&["shell", "db", "-c", line])
        .output()
        .unwrap()
        .into();
    assert_eq!(shell.good().json().len(), 2);
    let stats: Value = place.run("stats db --format json").good().json()[0].clone();
    assert_eq!(stats["segment_bytes"]["planes"], json!(1000 * 640 + 64));
}

#[test]
fn masks_that_cannot_be_are_refused() {
    let place = Place::new();
    place.codes("codes.npy", 2, &[1, 2, 3, 4]);
    place.run("create db c --bits 12").good();
    for (mask, code, told) in [
        ("--mask 01", 1, "2 hexadecimal digits"),
        ("--mask 0110", 1, "beyond its width of 12"),
        ("--mask 0000", 1, "set those that are to count"),
        ("--mask-bits 12", 2, "those from 0 to 11"),
        ("--mask-bits 3-x", 2, "write them as 1,2,5-9"),
        ("--mask-bits 3 --mask 0100", 2, "cannot be used with"),
        ("--select-bits 3", 2, "--like"),
        ("--like here --mask-bits 3", 2, "cannot be used with"),
        ("--like here", 2, "cannot be used with"),
    ] {
        let run = place.run(&format!("search db c --code 0000 {mask}"));
        run.bad(code, &[told]);
    }
    place
        .run("search db c --like .")
        .bad(1, &["codes, not pictures"]);
}

/// A PPM file: waves of one of two kinds, with noise over them.
fn picture(number: u8, kind: usize) -> Vec<u8> {
    let side = 96;
    let mut file = format!("P6\n{side} {side}\n255\n").into_bytes();
    let noise = noise(u64::from(number), side * side);
    for (at, noise) in noise.iter().enumerate() {
        let (u, v) = (at % side, at / side);
        let wave = u * (u + 60 * kind) / 40 + v * v * (kind + 1) / 60;
        let light = 2 * (wave % 120).abs_diff(60) as u8 + noise % 80;
        file.extend([light; 3]);
    }
    file
}

/// Of two kinds of pictures, that is found of which there are examples, with what it is unlike, without, and on a
/// page; a picture of one's own is held against others by the same bits.
#[test]
fn a_kind_is_found_by_examples() {
    let place = Place::new();
    for (folder, numbers, kind) in [
        ("all", 0..10, 0),
        ("all", 10..40, 1),
        ("ones", 100..105, 0),
        ("others", 105..110, 1),
    ] {
        std::fs::create_dir_all(place.path(folder)).unwrap();
        for number in numbers {
            let file = place.path(&format!("{folder}/{number:03}.ppm"));
            std::fs::write(file, picture(number, kind)).unwrap();
        }
    }
    place.run("create db c --encoder pdq --planes").good();
    place.run("ingest db c all").good();
    let ids = |line: &str| -> Vec<u64> {
        let run = place
            .run(&format!("{line} -k 8 --select-bits 8 --format json"))
            .good();
        serde_json::from_value(run.json()[0]["ids"].clone()).unwrap()
    };
    let ones = ids("search db c --like ones --unlike others");
    assert!(
        ones.len() == 8 && ones.iter().all(|id| *id < 10),
        "{ones:?}"
    );
    let others = ids("search db c --like others --unlike ones");
    assert!(others.iter().all(|id| *id >= 10), "{others:?}");
    // Rows of its own kind stand in for what is unlike, too, but fewer than others.
    let alone = ids("search db c --like ones");
    assert!(
        alone.iter().filter(|id| **id < 10).count() >= 6,
        "{alone:?}"
    );
    let own = ids("search db c --image others/107.ppm --like ones --unlike others");
    assert!(own.iter().all(|id| *id >= 10), "{own:?}");
    let run = place
        .run("search db c --like ones --unlike others --select-bits 8 --html page.html")
        .good();
    assert!(run.out.contains("ones: 10 found"), "{}", run.out);
    let page = std::fs::read_to_string(place.path("page.html")).unwrap();
    assert!(page.contains("Like ones") && page.contains("by 8 bits of codes of 256 bits"));
    // What is no category is told.
    place
        .run("search db c --like ones --unlike ones --select-bits 8")
        .bad(1, &["have the codes of the unlike ones"]);
    place.run("search db c --like nowhere").bad(1, &["nowhere"]);
}
