//! The example does what it says: it is run as its user would run it, and its output read.

mod common;

use std::path::Path;
use std::process::Command;

use common::{SIDE, pictures, tiny_model};

#[test]
fn adapt() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    tiny_model(16)
        .write(at("model.safetensors"))
        .expect("written");
    for (set, count, seed) in [("few", 8, 21), ("more", 24, 22)] {
        for (number, pixels) in pictures(count, seed).iter().enumerate() {
            let class = at(set).join(["cogs", "gears"][number % 2]);
            std::fs::create_dir_all(&class).expect("made");
            let mut file = format!("P6 {SIDE} {SIDE} 255\n").into_bytes();
            file.extend(pixels);
            std::fs::write(class.join(format!("{number:02}.ppm")), file).expect("written");
        }
    }

    // Cargo builds examples along with the tests, beside them.
    let test = std::env::current_exe().expect("a path");
    let profile = test.parent().and_then(Path::parent).expect("a folder");
    let output = Command::new(profile.join("examples/adapt"))
        .args(["model.safetensors", "few", "more", "db"].map(at))
        .output()
        .expect("`cargo test` builds the example");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    let said = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].starts_with("adapted from ") && lines[0].ends_with(r#"to ["cogs", "gears"]"#));
    assert_eq!(lines[1], "24 pictures of 16 bits");
    assert_eq!(lines.len(), 2 + 8, "{said}");
    for line in &lines[2..] {
        let (label, found) = line.split_once(": ").expect("a label");
        assert!(["cogs", "gears"].contains(&label), "{line}");
        assert!(found.contains(".ppm at "), "{line}");
    }
}
