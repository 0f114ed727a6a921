//! The program on pictures, with an encoder library and a training program that the tests make
//! themselves: the whole road of the demo, with no libtorch.
#![cfg(unix)]
#![allow(clippy::print_stderr, reason = "a test says what it cannot test")]

mod common;

use bitkin::model::{ModelFile, ModelMetadata};
use common::{Place, Run};
use serde_json::json;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// The encoder library: pictures of 4 x 4 pixels become 16 bits, one a pixel, by whether red is
/// more than half. With SLOW it takes its time, for interrupting.
const LIBRARY: &str = r#"
#include <stdint.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
uint32_t bitkin_encoder_abi(void) { return 1; }
int32_t bitkin_encoder_open(const uint8_t* model, size_t len, int32_t device, void** out,
                            char* err, size_t err_len) {
    (void)model; (void)len; (void)device;
    static int handle;
    if (getenv("TEST_REFUSES")) {
        snprintf(err, err_len, "tensor head.weight\nis missing");
        return 1;
    }
    *out = &handle;
    return 0;
}
int32_t bitkin_encoder_describe(void* h, char* json, size_t json_len) {
    (void)h;
    return snprintf(json, json_len,
        "{\"bits\":16,\"input\":{\"width\":4,\"height\":4,\"resize\":\"stretch\"},"
        "\"fingerprint\":\"%s\",\"preferred_batch\":4,\"device\":\"cpu\"}", FINGERPRINT);
}
int32_t bitkin_encoder_encode(void* h, const uint8_t* pixels, size_t n, uint8_t* codes,
                              char* err, size_t err_len) {
    (void)h; (void)err; (void)err_len;
#ifdef SLOW
    usleep(50000);
#endif
    for (size_t i = 0; i < n; i++) {
        codes[2 * i] = codes[2 * i + 1] = 0;
        for (size_t p = 0; p < 16; p++)
            if (pixels[(i * 16 + p) * 3] > 127) codes[2 * i + p / 8] |= 1 << p % 8;
    }
    return 0;
}
void bitkin_encoder_close(void* h) { (void)h; }
"#;

/// A place with a model, its encoder library, and a training program that copies the model.
struct Studio {
    place: Place,
}

impl Studio {
    /// `None`, with a word about it, where there is no C compiler.
    fn new(flags: &[&str]) -> Option<Studio> {
        let place = Place::new();
        let model = json!({
            "method": "test", "bits": 16, "arithmetic": "f32",
            "input": {"width": 4, "height": 4, "resize": "stretch"},
        });
        let metadata = ModelMetadata {
            model: model.as_object().unwrap().clone(),
            ..Default::default()
        };
        let model = ModelFile::build(metadata, &BTreeMap::new()).unwrap();
        model.write(place.path("model.safetensors")).unwrap();

        std::fs::write(place.path("library.c"), LIBRARY).unwrap();
        let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
        let compiled = Command::new(compiler)
            .args(["-shared", "-fPIC", "-o"])
            .args([place.path("library.so"), place.path("library.c")])
            .arg(format!("-DFINGERPRINT=\"{}\"", model.fingerprint()))
            .args(flags)
            .status();
        match compiled {
            Ok(status) => assert!(status.success(), "the C compiler failed"),
            Err(_) => {
                eprintln!("not tested: there is no C compiler");
                return None;
            }
        }
        let trainer = place.path("bitkin-train");
        std::fs::write(&trainer, TRAINER).unwrap();
        std::fs::set_permissions(&trainer, std::fs::Permissions::from_mode(0o755)).unwrap();
        Some(Studio { place })
    }

    fn command(&self, line: &str) -> Command {
        let words: Vec<&str> = line.split_whitespace().collect();
        let mut command = self.place.command(&words);
        command
            .env("BITKIN_ENCODER", self.place.path("library.so"))
            .env("BITKIN_TRAIN", self.place.path("bitkin-train"))
            .env("TEST_MODEL", self.place.path("model.safetensors"));
        command
    }

    fn run(&self, line: &str) -> Run {
        self.command(line).output().unwrap().into()
    }

    fn rows(&self, database: &str) -> u64 {
        let name = self.place.path(database);
        let database = bitkin::Database::open_read_only(name).unwrap();
        database.collections().unwrap()[0].len().unwrap()
    }
}

/// Checks that it is called as `bitkin-train` is, and answers as that does.
const TRAINER: &str = r#"#!/bin/sh
set -e
verb=$1; shift
echo "$verb $*" >> "$(dirname "$0")/calls"
while [ $# -gt 0 ]; do
    case $1 in
        --base|--adapt|--unlabelled|--database|--queries)
            cut -f1 "$2" | while read -r picture; do test -s "$picture"; done ;;
        --out) cp "$TEST_MODEL" "$2" ;;
    esac
    shift 2
done
if [ "$verb" = eval ]; then
    echo '{"method":"float-centred","bits":null,"map_mean":0.61,"seeds":1}'
    echo '{"method":"lsh","bits":16,"map_mean":0.21}'
    echo '{"method":"itq","bits":16,"map_mean":0.41}'
    echo '{"method":"pp","bits":16,"map_mean":0.5}'
    echo '{"method":"pp-scdm","bits":16,"map_mean":0.55}'
fi
"#;

/// A picture of 4 x 4 pixels whose red pixels are those of `code`.
fn draw(path: &Path, code: u16) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let picture = image::RgbImage::from_fn(4, 4, |x, y| {
        let red = code >> (y * 4 + x) & 1 == 1;
        image::Rgb([if red { 255 } else { 0 }, 90, 30])
    });
    picture.save(path).unwrap();
}

#[test]
fn pictures_go_in_and_are_found() {
    let Some(studio) = Studio::new(&[]) else {
        return;
    };
    let place = &studio.place;
    for n in 0..10u16 {
        let class = if n < 5 { "cats" } else { "dogs" };
        draw(&place.path(&format!("in/{class}/{n}.png")), 1 << n);
    }
    std::fs::write(place.path("in/notes.txt"), "no picture").unwrap();
    studio
        .run("create db pets --model model.safetensors")
        .good();
    let run = studio.run("ingest db pets in").good();
    assert!(run.err.contains("10 pictures inserted"), "{}", run.err);
    assert_eq!(run.out, "");

    draw(&place.path("query.png"), 0b11);
    let run = studio
        .run("search db pets --image query.png -k 3 --format json")
        .good();
    let line = &run.json()[0];
    assert_eq!(
        (&line["query"], &line["distances"]),
        (&json!("query.png"), &json!([1, 1, 3]))
    );
    let table = studio
        .run("search db pets --image query.png -k 3")
        .good()
        .out;
    assert!(
        table.contains("cats") && table.contains("in/cats/0.png"),
        "{table}"
    );
    let row = studio.run("get db pets 0 --format json").good().json();
    assert_eq!(row[0]["payload"]["label"], json!("cats"));

    // Known content is passed over.
    let run = studio.run("ingest db pets in").good();
    assert!(
        run.err.contains("0 pictures inserted") && run.err.contains("10 already there"),
        "{}",
        run.err
    );
    // The model is part of the database.
    std::fs::remove_file(place.path("model.safetensors")).unwrap();
    studio.run("search db pets --image query.png").good();
    studio.run("verify db").good();
    // Without the library, only what needs pictures fails.
    let run = studio
        .command("search db pets --image query.png")
        .env("BITKIN_ENCODER", "/none")
        .output();
    Run::from(run.unwrap()).bad(1, &["/none", "cargo build --release -p bitkin-encoder"]);
    let run = studio
        .command("search db pets --code 0100")
        .env("BITKIN_ENCODER", "/none")
        .output();
    assert!(Run::from(run.unwrap()).good().out.contains("10 found"));
}

#[test]
fn bad_pictures_are_named_and_left_out_or_stop_a_strict_ingest() {
    let Some(studio) = Studio::new(&[]) else {
        return;
    };
    let place = &studio.place;
    for n in 0..6u16 {
        draw(&place.path(&format!("in/{n}.png")), 1 << n);
    }
    std::fs::write(place.path("in/3b.png"), "no picture at all").unwrap();
    std::fs::write(place.path("in/3c.png"), "").unwrap();
    let whole = std::fs::read(place.path("in/4.png")).unwrap();
    std::fs::write(place.path("in/3d.png"), &whole[..whole.len() / 2]).unwrap();
    studio
        .run("create loose c --model model.safetensors")
        .good();
    let run = studio.run("ingest loose c in").good();
    assert!(
        run.err.contains("6 pictures inserted") && run.err.contains("3 skipped"),
        "{}",
        run.err
    );
    for name in [
        "skipped in/3b.png: ",
        "skipped in/3c.png: ",
        "skipped in/3d.png: ",
    ] {
        assert!(run.err.contains(name), "{}", run.err);
    }
    studio
        .run("create strict c --model model.safetensors")
        .good();
    studio
        .run("ingest strict c in --strict")
        .bad(1, &["error: in/3b.png", "what was inserted"]);
    assert_eq!(studio.rows("strict"), 4);
    draw(&place.path("good.png"), 1);
    std::fs::write(place.path("bad.png"), "bad").unwrap();
    studio
        .run("search loose c --image bad.png")
        .bad(1, &["bad.png"]);
    studio.run("ingest loose c nosuch").bad(1, &["nosuch"]);
}

#[test]
fn a_model_that_cannot_encode_makes_no_collection() {
    let Some(studio) = Studio::new(&[]) else {
        return;
    };
    let create = "create db c --model model.safetensors";
    let run = studio.command(create).env("TEST_REFUSES", "1").output();
    Run::from(run.unwrap()).bad(
        1,
        &[
            "error: model.safetensors: ",
            "tensor head.weight is missing\n",
        ],
    );
    assert!(!studio.place.path("db").exists());
    // Without the library, or with one that cannot be loaded, nobody can tell.
    for (database, library) in [("none", "/none"), ("broken", "model.safetensors")] {
        let run = studio
            .command(&format!("create {database} c --model model.safetensors"))
            .env("BITKIN_ENCODER", library)
            .output();
        Run::from(run.unwrap()).good();
    }
    studio.run(create).good();
}

#[test]
fn pipes_are_refused_and_names_stay_on_their_line() {
    let Some(studio) = Studio::new(&[]) else {
        return;
    };
    let place = &studio.place;
    let made = Command::new("mkfifo").arg(place.path("p.jpg")).status();
    assert!(made.unwrap().success());
    studio.run("create db c --model model.safetensors").good();
    let refused = ["p.jpg", "not a regular file"];
    studio.run("ingest db c p.jpg").bad(1, &refused);
    studio.run("search db c --image p.jpg").bad(1, &refused);

    let name = "in/\u{1b}[2J\nerror.png";
    draw(&place.path("in/1.png"), 1);
    std::fs::write(place.path(name), "no picture").unwrap();
    let shown = "in/\u{fffd}[2J\u{fffd}error.png";
    let run = studio.run("ingest db c in").good();
    assert!(
        run.err.contains(&format!("skipped {shown}: ")),
        "{}",
        run.err
    );
    studio
        .run("ingest db c in --strict")
        .bad(1, &[&format!("error: {shown}: ")]);
    let mut search = studio.command("search db c --image");
    Run::from(search.arg(name).output().unwrap()).bad(1, &[shown]);
}

#[test]
fn a_limit_is_kept_to_the_picture() {
    let Some(studio) = Studio::new(&[]) else {
        return;
    };
    for n in 0..11u16 {
        draw(&studio.place.path(&format!("in/{n:02}.png")), n + 1);
    }
    studio.run("create db c --model model.safetensors").good();
    for (limit, rows) in [(0, 0), (1, 1), (6, 7), (3, 10), (9, 11)] {
        studio
            .run(&format!("ingest db c in --limit {limit} --threads 2"))
            .good();
        assert_eq!(studio.rows("db"), rows);
    }
}

#[test]
fn an_interrupted_ingest_loses_nothing_and_goes_on() {
    let Some(studio) = Studio::new(&["-DSLOW"]) else {
        return;
    };
    for n in 0..400u16 {
        draw(&studio.place.path(&format!("in/{n:03}.png")), n + 1);
    }
    studio.run("create db c --model model.safetensors").good();
    let child = studio
        .command("ingest db c in")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Its 100 batches take five seconds; by now it is under way, or has not begun to listen, and
    // then it ends by the signal, which loses nothing either.
    std::thread::sleep(std::time::Duration::from_millis(1500));
    let kill = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(kill.success());
    let run = Run::from(child.wait_with_output().unwrap());
    if run.code.is_some() {
        assert_eq!(run.code, Some(130), "{}", run.err);
        assert!(run.err.contains("inserted so far is safe"), "{}", run.err);
        let told: u64 = run
            .err
            .lines()
            .find_map(|line| {
                line.split_once(" picture")
                    .and_then(|(n, _)| n.trim().parse().ok())
            })
            .expect("a number of pictures");
        assert_eq!(studio.rows("db"), told);
    }
    assert!(studio.rows("db") < 400);
    studio.run("verify db").good();
    studio.run("ingest db c in").good();
    assert_eq!(studio.rows("db"), 400);
}

#[test]
fn the_demo_walks_the_whole_road() {
    let Some(studio) = Studio::new(&[]) else {
        return;
    };
    let run = studio.run("demo --bits 16 --seed 3").good();
    for told in [
        "$ bitkin train --base bitkin-demo/split/base.txt",
        "$ bitkin create bitkin-demo/demo.bitkin novel --model bitkin-demo/model.safetensors",
        "$ bitkin ingest bitkin-demo/demo.bitkin novel bitkin-demo/database",
        "$ bitkin search bitkin-demo/demo.bitkin novel --image",
        "$ bitkin eval ",
        "PP + SCDM",
        "results.html",
    ] {
        assert!(run.out.contains(told), "no {told:?} in: {}", run.out);
    }
    for (method, map) in [
        ("PCA-ITQ", "0.410"),
        ("LSH", "0.210"),
        ("float features", "0.610"),
    ] {
        let line = run
            .out
            .lines()
            .find(|line| line.starts_with(method))
            .expect(method);
        assert!(line.ends_with(map), "{line}");
    }
    let page = std::fs::read_to_string(studio.place.path("bitkin-demo/results.html")).unwrap();
    // For looking at it: the test leaves the page where it is told to.
    if let Some(path) = std::env::var_os("BITKIN_TEST_PAGE") {
        std::fs::write(path, &page).unwrap();
    }
    assert_eq!(page.matches("<section").count(), 16);
    assert_eq!(page.matches("<img ").count(), 16 * 11);
    for class in [
        "basketweave",
        "checkerboard",
        "gears",
        "hearts",
        "honeycomb",
        "stripes",
        "sunbursts",
        "triangles",
    ] {
        assert!(page.contains(&format!("<h3>{class}</h3>")), "{class}");
    }
    let list = |name: &str| {
        let path = studio.place.path(&format!("bitkin-demo/split/{name}.txt"));
        std::fs::read_to_string(path).unwrap().lines().count()
    };
    assert_eq!((list("base"), list("adapt")), (12 * 150, 8 * 5));
    assert_eq!(
        studio.rows("bitkin-demo/demo.bitkin"),
        list("database") as u64
    );
    let calls = std::fs::read_to_string(studio.place.path("calls")).unwrap();
    assert_eq!(calls.lines().count(), 2);
    assert!(
        calls.contains("--seed 3") && calls.contains("--bits 16"),
        "{calls}"
    );
}

#[test]
fn the_demo_takes_pictures_of_ones_own() {
    let Some(studio) = Studio::new(&[]) else {
        return;
    };
    for (number, class) in ["ants", "bees", "cows", "dogs", "emus"].iter().enumerate() {
        for n in 0..18u16 {
            draw(
                &studio.place.path(&format!("own/{class}/{n}.png")),
                (1 << number) * 7 + n * 1000,
            );
        }
    }
    std::fs::write(studio.place.path("own/dogs/broken.png"), "broken").unwrap();
    let run = studio.run("demo --images own --bits 16 --out there").good();
    assert!(
        run.out.contains("3 base classes") && run.out.contains("2 novel classes"),
        "{}",
        run.out
    );
    let page = std::fs::read_to_string(studio.place.path("there/results.html")).unwrap();
    assert!(page.contains("<h3>dogs</h3>") && page.contains("<h3>emus</h3>"));
    assert!(page.contains("means of three seeds") && page.contains("the five examples"));
    assert!(page.contains("the user&#39;s own"));
    // Once more, over what the first one left; the user's pictures are where they were.
    studio.run("demo --images own --bits 16 --out there").good();
    assert!(studio.place.path("own/emus/17.png").is_file());

    studio
        .run("demo --images own/ants --out other")
        .bad(1, &["0 base and 0 novel classes"]);
    // A demo that cannot be leaves the results of the one before.
    let before = studio.place.content("there");
    for images in ["nosuch", "own/ants"] {
        studio
            .run(&format!("demo --images {images} --out there"))
            .bad(1, &[images]);
    }
    // Pictures in the folder that would be cleared are not.
    std::fs::rename(
        studio.place.path("own"),
        studio.place.path("there/pictures"),
    )
    .unwrap();
    for out in ["there", "./own/../there", "there/pictures"] {
        std::fs::create_dir_all(studio.place.path("own")).unwrap();
        studio
            .run(&format!("demo --images there/pictures --out {out}"))
            .bad(1, &["inside", "--out"]);
    }
    std::fs::remove_dir(studio.place.path("own")).unwrap();
    std::fs::rename(
        studio.place.path("there/pictures"),
        studio.place.path("own"),
    )
    .unwrap();
    assert!(before == studio.place.content("there"), "something changed");
    assert!(studio.place.path("own/emus/17.png").is_file());
    // The other way round, the results lie beside the classes; twice, for what the first leaves.
    for _ in 0..2 {
        let run = studio
            .run("demo --images own --bits 16 --out own/zoo")
            .good();
        assert!(run.out.contains("3 base classes"), "{}", run.out);
    }
    assert!(studio.place.path("own/emus/17.png").is_file());
    std::fs::create_dir(studio.place.path("mine")).unwrap();
    std::fs::write(studio.place.path("mine/thing"), "mine").unwrap();
    studio
        .run("demo --out mine")
        .bad(1, &["not empty", "--out"]);
}

#[test]
fn arguments_of_training_are_passed_on() {
    let Some(studio) = Studio::new(&[]) else {
        return;
    };
    studio.run("train --out copy.safetensors").good();
    assert!(studio.place.path("copy.safetensors").exists());
    let run = studio.run("eval --seeds 3").good();
    assert_eq!(run.json().len(), 5);
    std::fs::write(
        studio.place.path("bitkin-train"),
        "#!/bin/sh\necho no >&2; exit 2\n",
    )
    .unwrap();
    studio.run("train --help").bad(2, &["no"]);
}

#[test]
fn a_model_file_tells_what_it_holds() {
    let Some(studio) = Studio::new(&[]) else {
        return;
    };
    let model = &studio
        .run("model info model.safetensors --format json")
        .good()
        .json()[0];
    assert_eq!(
        (&model["method"], &model["bits"]),
        (&json!("test"), &json!(16))
    );
    assert_eq!(model["fingerprint"].as_str().unwrap().len(), 64);
    let table = studio.run("model info model.safetensors").good();
    assert!(table.out.contains("fingerprint"), "{}", table.out);
    std::fs::write(studio.place.path("broken"), "no model").unwrap();
    studio
        .run("model info broken")
        .bad(1, &["broken", "safetensors"]);
    studio
        .run("model convert --weights f16 --out smaller")
        .good();
    let calls = std::fs::read_to_string(studio.place.path("calls")).unwrap();
    assert!(
        calls.contains("convert --weights f16 --out smaller"),
        "{calls}"
    );
}
