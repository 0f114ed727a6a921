//! The examples do what they say: each is run as its user would run it, and its output read.

use std::path::Path;
use std::process::{Command, Output};

/// The program of an example. `cargo test` builds them along with the tests, `cargo test --test examples` does
/// not.
fn example(name: &str) -> Command {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(Path::parent).unwrap();
    let program = profile.join("examples").join(name);
    if !program.is_file() {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--package", "bitkin", "--examples", "--target-dir"]);
        cargo.arg(profile.parent().unwrap());
        if profile.ends_with("release") {
            cargo.arg("--release");
        }
        let built = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).status();
        assert!(built.unwrap().success(), "{cargo:?}");
    }
    Command::new(program)
}

fn output(command: &mut Command) -> Output {
    command.env_remove("BITKIN_ENCODER").output().unwrap()
}

fn said(command: &mut Command) -> String {
    let output = output(command);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn store() {
    let folder = tempfile::tempdir().unwrap();
    let said = said(example("store").arg(folder.path().join("db")));
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], "row 7 at distance 0", "{said}");
    let recent = lines[3].strip_prefix("since 2020: rows [").unwrap();
    for id in recent.trim_end_matches(']').split(", ") {
        assert!(id.parse::<u64>().unwrap() % 25 >= 20, "{said}");
    }
    assert!(lines[4].starts_with("of 3 hits "), "{said}");
    assert_eq!(lines[5], "2000 deleted, 8000 left", "{said}");
}

#[test]
fn dedupe() {
    let folder = tempfile::tempdir().unwrap();
    let said = said(example("dedupe").arg(folder.path().join("db")));
    let expected = "200 duplicates of 100 rows\n1000 rows left, 0 pairs among them\n";
    assert_eq!(said, expected);
}

#[test]
fn reader() {
    let folder = tempfile::tempdir().unwrap();
    let said = said(example("reader").arg(folder.path().join("db")));
    let expected = "the reader sees 1 rows, row 1 1 bits away\n\
                    the writer has 2 rows\n\
                    the reader sees 2 rows, row 2 0 bits away\n";
    assert_eq!(said, expected);
}

/// A picture with something to see, another for every number; brighter by `light`.
#[cfg(feature = "images")]
fn save(folder: &Path, name: &str, number: f64, light: f64) -> std::path::PathBuf {
    use std::io::Write;
    let path = folder.join(name);
    let mut file = std::fs::File::create(&path).unwrap();
    writeln!(file, "P5 96 96 255").unwrap();
    let pixels: Vec<u8> = (0..96 * 96)
        .map(|at| {
            let (x, y) = (f64::from(at % 96), f64::from(at / 96));
            let wave = (0.05 * x + number).sin() + (0.04 * y - number).sin();
            let wave = wave + (0.002 * (number + 1.0) * x * y).sin();
            (118.0 + 25.0 * (wave + (0.1 * (x - y) + number).sin()) + light) as u8
        })
        .collect();
    file.write_all(&pixels).unwrap();
    path
}

#[cfg(feature = "images")]
#[test]
fn photos() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir(at("home")).unwrap();
    for number in 1..8 {
        save(
            &at("home"),
            &format!("{number}.pgm"),
            f64::from(number),
            0.0,
        );
    }
    let query = save(folder.path(), "query.pgm", 3.0, 20.0);
    let mut photos = example("photos");
    photos.args([&at("db"), &at("home"), &query]);
    for report in [
        "7 pictures inserted, 0 there before",
        "0 pictures inserted, 7 there before",
    ] {
        let said = said(&mut photos);
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!((lines[0], lines.len()), (report, 6), "{said}");
        let (distance, source) = lines[1].split_once(" bits  ").unwrap();
        assert!(
            distance.trim().parse::<u32>().unwrap() <= bitkin::pdq::RADIUS,
            "{said}"
        );
        assert!(source.ends_with("/home/3.pgm"), "{said}");
    }

    // With a model, it says what is missing.
    let model = engine_model();
    model.write(at("model.safetensors")).unwrap();
    let mut photos = example("photos");
    photos.args([&at("other"), &at("home"), &query, &at("model.safetensors")]);
    let refused = output(&mut photos);
    let error = String::from_utf8_lossy(&refused.stderr);
    assert!(
        !refused.status.success() && error.contains("Missing"),
        "{error}"
    );
}

#[cfg(feature = "images")]
fn engine_model() -> bitkin::model::ModelFile {
    let model = serde_json::json!({
        "method": "none", "bits": 24, "arithmetic": "u8",
        "input": {"width": 1, "height": 1, "resize": "stretch"},
    });
    let metadata = bitkin::model::ModelMetadata {
        model: model.as_object().unwrap().clone(),
        ..Default::default()
    };
    bitkin::model::ModelFile::build(metadata, &Default::default()).unwrap()
}
