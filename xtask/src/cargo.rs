//! The chores that run cargo: building the C library, building and running the demo and the benchmarks,
//! and the tests.

use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus, Stdio};

/// Root of the checkout whose `cargo xtask` is running.
pub(crate) fn checkout() -> PathBuf {
    // Cargo sets it when it runs us; the compiled-in one serves a binary that is started by hand.
    let package = std::env::var_os("CARGO_MANIFEST_DIR")
        .unwrap_or_else(|| OsString::from(env!("CARGO_MANIFEST_DIR")));
    Path::new(&package)
        .parent()
        .unwrap_or(Path::new("/"))
        .to_path_buf()
}

/// Builds the command line, the encoder library and the trainer, then runs `bitkin demo` in the
/// caller's directory. Returns its exit code.
pub(crate) fn demo(arguments: &[OsString]) -> Result<ExitCode, Box<dyn Error>> {
    let mut build = cargo();
    build.args([
        "build",
        "--release",
        "--package",
        "bitkin-cli",
        "--package",
        "bitkin-encoder",
    ]);
    let mut program = None;
    let built = build_with_messages(build, |line| {
        program = executable(line, "bitkin").or(program.take());
    })?;
    if !built.success() {
        return Ok(exit_code(built));
    }
    let program = program.ok_or("cargo built bitkin-cli but named no program `bitkin`")?;
    let ran = Command::new(&program)
        .arg("demo")
        .args(arguments)
        .status()
        .map_err(|e| format!("cannot run {}: {e}", program.display()))?;
    Ok(exit_code(ran))
}

/// Builds the C library, optimised; returns the files of it.
pub(crate) fn build_c() -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut build = cargo();
    build.args(["build", "--release", "--package", "bitkin-c"]);
    let mut files = Vec::new();
    let built = build_with_messages(build, |line| files.extend(artifacts(line, "bitkin_c")))?;
    match built.success() {
        true => Ok(files),
        false => Err("bitkin-c could not be built".into()),
    }
}

/// Runs a build, and gives each line of cargo's JSON messages to `each`: cargo itself says where things
/// lie, whatever target folder or triple is configured.
fn build_with_messages(
    mut build: Command,
    mut each: impl FnMut(&str),
) -> Result<ExitStatus, Box<dyn Error>> {
    build
        .arg("--message-format=json-render-diagnostics")
        .stdout(Stdio::piped());
    let mut child = build
        .spawn()
        .map_err(|e| format!("cannot run cargo: {e}"))?;
    for line in BufReader::new(child.stdout.take().expect("stdout is piped")).lines() {
        each(&line?);
    }
    Ok(child.wait()?)
}

/// Runs `cargo test` with `arguments`, over the whole workspace unless they name packages.
pub(crate) fn test(arguments: &[OsString]) -> Result<ExitCode, Box<dyn Error>> {
    let mut test = cargo();
    test.arg("test");
    if !names_packages(arguments) {
        test.arg("--workspace");
    }
    let ran = test
        .args(arguments)
        .status()
        .map_err(|e| format!("cannot run cargo: {e}"))?;
    Ok(exit_code(ran))
}

/// Builds the harness and runs it in the caller's directory. Returns its exit code.
pub(crate) fn bench(arguments: &[OsString]) -> Result<ExitCode, Box<dyn Error>> {
    let mut run = cargo();
    run.args(["run", "--quiet", "--release", "--package", "bitkin-benches"]);
    run.args(["--bin", "harness", "--"]);
    let ran = run
        .args(arguments)
        .status()
        .map_err(|e| format!("cannot run cargo: {e}"))?;
    Ok(exit_code(ran))
}

/// Makes cargo build `package` anew, in both profiles. A package that is not there is no error.
pub(crate) fn forget(package: &str) {
    for profile in ["dev", "release"] {
        let mut clean = cargo();
        clean.args([
            "clean",
            "--quiet",
            "--package",
            package,
            "--profile",
            profile,
        ]);
        let _ = clean.stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

/// The cargo that runs us, to work on our checkout from whatever directory the caller is in.
fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    if std::env::var_os("LIBTORCH").is_some_and(|own| own.is_empty()) {
        // Set but empty would hide the checkout's own setting and help nobody.
        command.env_remove("LIBTORCH");
    }
    command
}

/// The path of program `name`, if this line of cargo's JSON messages tells of having built it.
fn executable(line: &str, name: &str) -> Option<PathBuf> {
    let message: serde_json::Value = serde_json::from_str(line).ok()?;
    let target = message.get("target")?;
    let is_program = target
        .get("kind")?
        .as_array()?
        .iter()
        .any(|kind| kind == "bin");
    if !is_program || target.get("name")? != name {
        return None;
    }
    Some(PathBuf::from(message.get("executable")?.as_str()?))
}

/// The files of library `name`, if this line of cargo's JSON messages tells of having built it.
fn artifacts(line: &str, name: &str) -> Vec<PathBuf> {
    let message: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
    if message["target"]["name"] != name || message["reason"] != "compiler-artifact" {
        return Vec::new();
    }
    let files = message["filenames"].as_array().into_iter().flatten();
    files
        .filter_map(|file| file.as_str().map(PathBuf::from))
        .collect()
}

/// Whether arguments of `cargo test` choose packages; `--workspace` would override the choice.
fn names_packages(arguments: &[OsString]) -> bool {
    arguments
        .iter()
        .map(OsString::as_os_str)
        .take_while(|argument| *argument != OsStr::new("--"))
        .filter_map(OsStr::to_str)
        .any(|argument| {
            argument == "--package"
                || argument.starts_with("--package=")
                || (argument.starts_with("-p") && !argument.starts_with("--"))
        })
}

/// A shell's reading of an exit status: its code, or 128 plus the signal that ended it.
fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_found_among_cargos_messages() {
        let built = |name: &str, kind: &str, path: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","target":{{"kind":["{kind}"],"name":"{name}"}},"executable":{path}}}"#
            )
        };
        assert_eq!(
            executable(
                &built("bitkin", "bin", r#""/a b/release/bitkin""#),
                "bitkin"
            ),
            Some(PathBuf::from("/a b/release/bitkin"))
        );
        assert_eq!(executable(&built("bitkin", "lib", "null"), "bitkin"), None);
        assert_eq!(
            executable(&built("bitkin-train", "bin", r#""/x""#), "bitkin"),
            None
        );
        assert_eq!(
            executable(r#"{"reason":"build-finished","success":true}"#, "bitkin"),
            None
        );
        assert_eq!(executable("no JSON at all", "bitkin"), None);
    }

    #[test]
    fn packages_are_noticed_before_the_double_dash_only() {
        let named = |line: &str| {
            names_packages(
                &line
                    .split_whitespace()
                    .map(OsString::from)
                    .collect::<Vec<_>>(),
            )
        };
        assert!(named("-p bitkin"));
        assert!(named("--release --package=bitkin"));
        assert!(named("-pbitkin"));
        assert!(!named("--release some_test"));
        assert!(!named("-- -p"));
    }

    #[test]
    fn exit_codes_pass_through() {
        let code = |script: &str| {
            exit_code(
                Command::new("sh")
                    .args(["-c", script])
                    .status()
                    .expect("sh runs"),
            )
        };
        assert_eq!(code("exit 0"), ExitCode::SUCCESS);
        assert_eq!(code("exit 7"), ExitCode::from(7));
        assert_eq!(code("kill -9 $$"), ExitCode::from(137));
    }
}
