//! From pictures to nearest pictures: train, create, ingest, search, as a user types them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use bitkin_tests::{bitkin, json_lines, outcome, run};
use image::{Rgb, RgbImage};

/// A picture of class `class`: stripes whose direction, width and colour tell the class, moved and
/// shaded by `number`.
fn picture(class: u32, number: u32) -> RgbImage {
    RgbImage::from_fn(64, 64, |x, y| {
        let along = match class % 3 {
            0 => x,
            1 => y,
            _ => x + y,
        };
        let bright = ((along + number * 3) / (3 + class)).is_multiple_of(2);
        let shade = (number * 7 % 60) as u8 + (x * y % 17) as u8;
        let colour = [
            60 + 25 * (class % 7) as u8,
            200 - 20 * (class % 5) as u8,
            90,
        ];
        Rgb(colour.map(|c| {
            if bright {
                c.saturating_add(shade)
            } else {
                shade
            }
        }))
    })
}

fn draw(folder: &Path, classes: std::ops::Range<u32>, numbers: std::ops::Range<u32>) {
    for class in classes {
        let folder = folder.join(format!("class{class}"));
        fs::create_dir_all(&folder).unwrap();
        for number in numbers.clone() {
            picture(class, number)
                .save(folder.join(format!("{number:03}.png")))
                .unwrap();
        }
    }
}

/// Pictures and a model trained from them, made once for all tests.
struct World {
    _folder: tempfile::TempDir,
    model: PathBuf,
    store: PathBuf,
}

const STORED: u64 = 3 * 30;

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        draw(&at("base"), 0..5, 0..12);
        draw(&at("adapt"), 5..8, 100..105);
        draw(&at("store"), 5..8, 0..30);
        let mut train = bitkin(["train", "--bits", "48"]);
        train
            .arg("--base")
            .arg(at("base"))
            .arg("--adapt")
            .arg(at("adapt"));
        train
            .arg("--unlabelled")
            .arg(at("store"))
            .arg("--out")
            .arg(at("model.safetensors"));
        run(&mut train);
        World {
            model: at("model.safetensors"),
            store: at("store"),
            _folder: folder,
        }
    })
}

fn database(folder: &Path) -> PathBuf {
    let path = folder.join("photos.bitkin");
    run(bitkin(["create"])
        .arg(&path)
        .arg("stripes")
        .arg("--model")
        .arg(&world().model));
    path
}

fn rows(database: &Path) -> u64 {
    let stats = run(bitkin(["stats"])
        .arg(database)
        .args(["stripes", "--format", "json"]));
    let stats = &json_lines(&stats)[0];
    stats["rows"]
        .as_u64()
        .unwrap_or_else(|| panic!("no rows in {stats}"))
}

#[test]
fn a_stored_picture_finds_itself_and_its_kin() {
    let folder = tempfile::tempdir().unwrap();
    let database = database(folder.path());
    run(bitkin(["ingest"])
        .arg(&database)
        .arg("stripes")
        .arg(&world().store));
    assert_eq!(rows(&database), STORED);
    let mut right = 0;
    for class in 5..8 {
        let query = world().store.join(format!("class{class}/004.png"));
        let mut search = bitkin(["search"]);
        search
            .arg(&database)
            .arg("stripes")
            .arg("--image")
            .arg(query);
        let answer = &json_lines(&run(search.args(["-k", "8", "--format", "json"])))[0];
        assert_eq!(answer["distances"][0], 0, "the picture itself: {answer}");
        assert_eq!(answer["exact"], true);
        assert_eq!(answer["certified_radius"], answer["distances"][7]);
        for id in answer["ids"].as_array().unwrap() {
            let mut get = bitkin(["get"]);
            get.arg(&database)
                .args(["stripes", &id.to_string(), "--format", "json"]);
            let row = &json_lines(&run(&mut get))[0];
            right += usize::from(row["payload"]["label"] == format!("class{class}").as_str());
        }
    }
    assert!(
        right >= 16,
        "{right} of 24 neighbours are of the query's class"
    );
    run(bitkin(["verify"]).arg(&database));
}

#[test]
fn bad_pictures_are_named_and_the_rest_goes_in() {
    let folder = tempfile::tempdir().unwrap();
    let database = database(folder.path());
    let mixed = folder.path().join("mixed");
    draw(&mixed, 5..6, 0..4);
    let whole = fs::read(mixed.join("class5/000.png")).unwrap();
    fs::write(mixed.join("class5/cut.png"), &whole[..whole.len() / 2]).unwrap();
    fs::write(mixed.join("class5/text.jpg"), "not a picture").unwrap();
    fs::write(mixed.join("class5/nothing.png"), "").unwrap();
    fs::write(mixed.join("class5/bomb.png"), bomb(&whole)).unwrap();

    let strict = outcome(
        bitkin(["ingest"])
            .arg(&database)
            .arg("stripes")
            .arg(&mixed)
            .arg("--strict"),
    );
    assert_eq!(strict.status.code(), Some(1));

    let ingest = outcome(bitkin(["ingest"]).arg(&database).arg("stripes").arg(&mixed));
    let said = String::from_utf8_lossy(&ingest.stderr).into_owned()
        + &String::from_utf8_lossy(&ingest.stdout);
    assert!(ingest.status.success(), "{said}");
    for name in ["cut.png", "text.jpg", "nothing.png", "bomb.png"] {
        assert!(said.contains(name), "{name} is not named in: {said}");
    }
    assert_eq!(rows(&database), 4);

    // The same content again changes nothing.
    run(bitkin(["ingest"]).arg(&database).arg("stripes").arg(&mixed));
    assert_eq!(rows(&database), 4);
}

/// The picture, with a header that claims 60,000 x 60,000 pixels.
fn bomb(png: &[u8]) -> Vec<u8> {
    let mut png = png.to_vec();
    png[16..24].copy_from_slice(&[0, 0, 0xea, 0x60, 0, 0, 0xea, 0x60]);
    // The chunk's checksum, so that nothing but the size is wrong.
    let mut crc = !0u32;
    for byte in &png[12..29] {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 {
                crc >> 1 ^ 0xedb8_8320
            } else {
                crc >> 1
            };
        }
    }
    png[29..33].copy_from_slice(&(!crc).to_be_bytes());
    png
}

/// Kills an ingest in the middle, several times over, then lets it finish: the database is whole
/// each time, what was in stays in, and every picture is there once at the end.
#[test]
fn a_killed_ingest_loses_nothing_and_goes_on_where_it_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let database = database(folder.path());
    let mut before = 0;
    for round in 0..4 {
        let mut ingest = bitkin(["ingest"]);
        ingest.arg(&database).arg("stripes").arg(&world().store);
        let mut child = ingest
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let started = Instant::now();
        while started.elapsed() < Duration::from_millis(400 * (round + 1))
            && child.try_wait().unwrap().is_none()
        {
            std::thread::sleep(Duration::from_millis(5));
        }
        // An ingest that has finished already cannot be killed any more, and that is no matter.
        drop(child.kill());
        child.wait().unwrap();
        run(bitkin(["verify"]).arg(&database));
        let now = rows(&database);
        assert!(now >= before, "{now} rows, {before} before");
        before = now;
    }
    run(bitkin(["ingest"])
        .arg(&database)
        .arg("stripes")
        .arg(&world().store));
    assert_eq!(rows(&database), STORED);
    let ids: BTreeSet<String> = (0..STORED)
        .map(|id| {
            let mut get = bitkin(["get"]);
            get.arg(&database)
                .args(["stripes", &id.to_string(), "--format", "json"]);
            let row = &json_lines(&run(&mut get))[0];
            row["payload"]["sha256"].as_str().unwrap().to_string()
        })
        .collect();
    assert_eq!(ids.len() as u64, STORED, "a picture went in twice");
}

#[test]
fn a_model_that_is_none_creates_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("photos.bitkin");
    let junk = folder.path().join("junk.safetensors");
    fs::write(&junk, "no safetensors").unwrap();
    let refused = outcome(
        bitkin(["create"])
            .arg(&path)
            .arg("c")
            .arg("--model")
            .arg(&junk),
    );
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("safetensors"));
    assert!(!path.exists(), "a refused create leaves nothing behind");
}
