//! The header is the one of this source, and programs in C get from the library what it promises.

use std::path::{Path, PathBuf};
use std::process::Command;

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Write it anew with `BITKIN_WRITE_HEADER=1 cargo test -p bitkin-c`.
#[test]
fn the_header_is_that_of_this_source() {
    let config = cbindgen::Config::from_file(here().join("cbindgen.toml")).unwrap();
    let made = cbindgen::Builder::new()
        .with_crate(here())
        .with_config(config)
        .generate()
        .unwrap();
    let mut text = Vec::new();
    made.write(&mut text);
    let text = String::from_utf8(text).unwrap();
    let path = here().join("include/bitkin.h");
    if std::env::var_os("BITKIN_WRITE_HEADER").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap();
    assert!(kept == text, "{} is not that of the source", path.display());
}

/// Where cargo puts the libraries that it builds along with this test: beside it.
fn built() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().unwrap().to_owned()
}

fn compiler() -> Command {
    Command::new(std::env::var_os("CC").unwrap_or_else(|| "cc".into()))
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, error) = (said(&output.stdout), said(&output.stderr));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{out}{error}",
        output.status
    );
    out
}

/// Compiles a program against the shared library, or the static one, and runs it in a new folder.
fn works(source: &str, is_static: bool, flags: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("program");
    let library = match is_static {
        true => built().join("libbitkin_c.a"),
        false => {
            // The name that it has for programs.
            let named = folder.path().join("libbitkin.so.0");
            std::fs::copy(built().join("libbitkin_c.so"), &named).unwrap();
            named
        }
    };
    let mut compile = compiler();
    compile
        .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic", "-g"])
        .args(flags)
        .arg("-I")
        .arg(here().join("include"))
        .arg(here().join(source))
        .arg("-o")
        .arg(&program)
        .arg(library)
        .arg(format!("-Wl,-rpath,{}", folder.path().display()))
        .args(["-lgcc_s", "-lpthread", "-lm", "-ldl"]);
    run(&mut compile);
    let mut command = Command::new(&program);
    // Not every machine lets a process look at itself for leaks.
    command
        .env("ASAN_OPTIONS", "detect_leaks=0")
        .arg(folder.path().join("codes.bitkin"));
    run(&mut command)
}

/// Whether the compiler has the sanitizer, and with it the program runs at all.
fn has_sanitizer() -> bool {
    let folder = tempfile::tempdir().unwrap();
    let (source, program) = (folder.path().join("a.c"), folder.path().join("a"));
    std::fs::write(&source, "int main(void) { return 0; }\n").unwrap();
    let mut compile = compiler();
    compile.args(["-fsanitize=address,undefined"]);
    let compiled = compile.arg(source).arg("-o").arg(&program).output();
    compiled.is_ok_and(|output| output.status.success())
        && Command::new(program)
            .status()
            .is_ok_and(|status| status.success())
}

#[test]
fn every_function_keeps_its_word() {
    let flags: &[&str] = match has_sanitizer() {
        true => &["-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
        false => &[],
    };
    let said = works("tests/api.c", false, flags);
    assert_eq!(said.lines().last(), Some("all is well"), "{said}");
}

#[test]
fn the_example_finds_what_it_stored() {
    for is_static in [false, true] {
        let said = works("examples/store.c", is_static, &[]);
        assert!(said.contains("id 2 at distance 1"), "{said}");
    }
}

/// C++ has its own idea of what is valid.
#[test]
fn the_header_is_valid_in_cpp() {
    let header = here().join("include/bitkin.h");
    let compiler = std::env::var_os("CXX").unwrap_or_else(|| "c++".into());
    let mut check = Command::new(compiler);
    check.args([
        "-x",
        "c++",
        "-std=c++11",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-fsyntax-only",
    ]);
    run(check.arg(header));
}
