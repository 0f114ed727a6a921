//! The built programs, as the whole-system tests run them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// The folder of the programs, which are built first if they are not up to date.
///
/// # Panics
/// When they cannot be built: there is nothing to test then.
pub fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        // The test's own executable lies in `<target>/<profile>/deps`.
        let own = std::env::current_exe().expect("a test knows its own path");
        let folder = own
            .parent()
            .and_then(Path::parent)
            .expect("cargo's folders")
            .to_path_buf();
        let mut build = Command::new(env!("CARGO"));
        build.args([
            "build",
            "--quiet",
            "--package",
            "bitkin-cli",
            "--package",
            "bitkin-encoder",
        ]);
        build.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
        if folder.ends_with("release") {
            build.arg("--release");
        }
        if let Some(target) = folder.parent() {
            build.env("CARGO_TARGET_DIR", target);
        }
        let built = build.status().expect("cargo runs");
        assert!(built.success(), "the programs cannot be built");
        folder
    })
}

/// A command line of `bitkin`, ready to run.
pub fn bitkin<I: IntoIterator<Item = S>, S: AsRef<std::ffi::OsStr>>(words: I) -> Command {
    let mut command = Command::new(folder().join("bitkin"));
    command.args(words);
    command
}

/// Runs it, and returns its standard output.
///
/// # Panics
/// When it fails.
pub fn run(command: &mut Command) -> String {
    let output = outcome(command);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed: {stderr}");
    String::from_utf8(output.stdout).expect("output is UTF-8")
}

/// Runs it and returns what came of it.
///
/// # Panics
/// When it cannot be started.
pub fn outcome(command: &mut Command) -> Output {
    command.output().expect("the program starts")
}

/// The JSON objects that a command printed, one a line.
///
/// # Panics
/// When a line is no JSON.
pub fn json_lines(stdout: &str) -> Vec<serde_json::Value> {
    stdout
        .lines()
        .map(|l| serde_json::from_str(l).expect("one JSON object a line"))
        .collect()
}
