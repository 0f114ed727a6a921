//! The header is the one of this source, and programs in C get from the library what it promises.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use bitkin::model::{ModelFile, ModelMetadata};

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

/// Whoever reads the header knows what threads may do with a function.
#[test]
fn every_function_says_what_threads_may_do() {
    let header = std::fs::read_to_string(here().join("include/bitkin.h")).unwrap();
    let mut comment = String::new();
    let mut functions = 0;
    for line in header.lines() {
        match line.strip_prefix("//") {
            Some(text) => comment += text,
            None => {
                // What returns something is a function; what begins with a blank goes on.
                let is_function = line.contains(" bitkin_") && line.contains('(');
                if is_function
                    && !line.starts_with([' ', '#', '*', '/'])
                    && !line.starts_with("typedef")
                {
                    assert!(comment.contains(" Threads: "), "{line}");
                    functions += 1;
                }
                comment.clear();
            }
        }
    }
    assert!(functions > 40, "{functions}");
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

/// As a user of the library would have it: no warning passes.
const STRICT: [&str; 5] = ["-Wall", "-Wextra", "-Werror", "-pedantic", "-g"];

/// What watches a program.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Under {
    /// The sanitizers of addresses and of undefined behaviour, where the compiler has them.
    Sanitizers,
    /// Valgrind, where it is installed.
    Valgrind,
}

/// Compiles a program and runs it in a new folder, where its first argument, a database, may be; the others
/// follow. An encoder library for `model` lies beside the library.
fn works(source: &str, under: Under, model: Option<&ModelFile>) -> String {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let program = at("program");
    // The name that it has for programs.
    let library = at("libbitkin.so.0");
    std::fs::copy(built().join("libbitkin_c.so"), &library).unwrap();
    let mut compile = compiler();
    compile.arg("-std=c11").args(STRICT);
    match under {
        Under::Sanitizers if has_sanitizers() => {
            compile.args(["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]);
        }
        Under::Sanitizers => left_out("the sanitizers: the compiler has none"),
        Under::Valgrind => {
            compile.arg("-DROWS=600");
        }
    }
    compile
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
    if under == Under::Valgrind {
        command = Command::new("valgrind");
        command
            .args(["--quiet", "--error-exitcode=99", "--leak-check=full"])
            .args([
                "--errors-for-leak-kinds=definite",
                "--show-leak-kinds=definite",
            ])
            .arg(&program);
    }
    // Not every machine lets a process look at itself for leaks; valgrind looks, too.
    command
        .env("ASAN_OPTIONS", "detect_leaks=0")
        .env_remove("BITKIN_ENCODER")
        .arg(at("home.bitkin"));
    if let Some(model) = model {
        let fingerprint = format!("-DFINGERPRINT=\"{}\"", model.fingerprint());
        let mut compile = compiler();
        compile.args(["-std=c11", "-shared", "-fPIC"]).args(STRICT);
        compile.arg(fingerprint).arg(here().join("tests/encoder.c"));
        run(compile.arg("-o").arg(at("libbitkin_encoder.so")));
        model.write(at("model.safetensors")).unwrap();
        command.arg(at("model.safetensors"));
    }
    run(&mut command)
}

/// Whether the compiler has the sanitizers, and with them the program runs at all.
fn has_sanitizers() -> bool {
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

fn is_installed(program: &str) -> bool {
    let version = Command::new(program).arg("--version").output();
    version.is_ok_and(|output| output.status.success())
}

fn left_out(what: &str) {
    // Past the capture of the test harness: who reads the results should know.
    let _ = writeln!(std::io::stderr(), "not tested: {what}");
}

/// A model whose codes are of 24 bits, as those of `encoder.c` are.
fn model() -> ModelFile {
    let model = serde_json::json!({
        "method": "mean-colour", "bits": 24, "arithmetic": "u8",
        "input": {"width": 1, "height": 1, "resize": "stretch"},
    });
    let metadata = ModelMetadata {
        model: model.as_object().unwrap().clone(),
        ..ModelMetadata::default()
    };
    ModelFile::build(metadata, &BTreeMap::new()).unwrap()
}

fn all_is_well(under: Under) {
    let said = works("tests/api.c", under, None);
    assert_eq!(said.lines().last(), Some("all is well"), "{said}");
    let said = works("tests/pictures.c", under, Some(&model()));
    assert_eq!(said.lines().last(), Some("all is well"), "{said}");
}

#[test]
fn every_function_keeps_its_word() {
    all_is_well(Under::Sanitizers);
}

#[test]
fn valgrind_finds_nothing() {
    match is_installed("valgrind") {
        true => all_is_well(Under::Valgrind),
        false => left_out("valgrind: it is not installed"),
    }
}

/// A grey picture with something to see; brighter by `light`, which its hash hardly minds.
fn draw(number: u32, light: f64) -> Vec<u8> {
    const SIDE: u32 = 96;
    let mut file = format!("P5 {SIDE} {SIDE} 255\n").into_bytes();
    let number = f64::from(number);
    file.extend((0..SIDE * SIDE).map(|at| {
        let (x, y) = (f64::from(at % SIDE), f64::from(at / SIDE));
        let wave = (0.05 * x + number).sin() + (0.04 * y - number).sin();
        let wave = wave + (0.002 * (number + 1.0) * x * y).sin() + (0.1 * (x - y) + number).sin();
        (118.0 + 25.0 * wave + light) as u8
    }));
    file
}

/// The examples, compiled as their first lines tell, out of a folder where the library was installed.
#[test]
fn what_is_installed_serves_the_examples() {
    if !is_installed("pkg-config") {
        return left_out("what is installed for C: there is no pkg-config");
    }
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let prefix = at("usr");
    let mut install = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    install
        .current_dir(here())
        .args(["run", "--quiet", "--package", "xtask", "--", "install-c"])
        .arg(&prefix)
        .arg("--built")
        .arg(built());
    run(&mut install);
    let home = at("home");
    std::fs::create_dir(&home).unwrap();
    for (name, number, light) in [("a", 1, 0.0), ("a-bright", 1, 20.0), ("b", 2, 0.0)] {
        std::fs::write(home.join(name).with_extension("pgm"), draw(number, light)).unwrap();
    }

    for library in ["bitkin", "bitkin-static"] {
        let mut flags = Command::new("pkg-config");
        flags
            .env("PKG_CONFIG_PATH", prefix.join("lib/pkgconfig"))
            .args(["--cflags", "--libs", library]);
        let flags = run(&mut flags);
        let example = |name: &str| {
            let program = at(name);
            let mut compile = compiler();
            compile.arg("-std=c11").args(STRICT);
            compile.arg(here().join("examples").join(name).with_extension("c"));
            compile.args(flags.split_whitespace());
            run(compile.arg("-o").arg(&program));
            let mut command = Command::new(program);
            if library == "bitkin" {
                command.env("LD_LIBRARY_PATH", prefix.join("lib"));
            }
            command
        };
        let said = run(example("store").arg(at(&format!("{library}-codes"))));
        assert!(said.contains("id 2 at distance 1\n"), "{said}");
        assert!(said.contains("after 2020: id 2\n"), "{said}");

        let mut dedupe = example("dedupe");
        dedupe.arg(at(&format!("{library}-photos"))).arg(&home);
        let said = run(&mut dedupe);
        assert!(
            said.starts_with("3 pictures inserted, 0 known, 0 skipped\nrow "),
            "{said}"
        );
        assert!(
            said.contains("a.pgm") && said.contains("a-bright.pgm"),
            "{said}"
        );
        assert!(
            !said.contains("b.pgm") && said.ends_with("\n1 groups\n"),
            "{said}"
        );
        let said = run(&mut dedupe);
        assert!(
            said.starts_with("0 pictures inserted, 3 known, 0 skipped\nrow "),
            "{said}"
        );
    }
}

/// C++ has its own idea of what is valid, and of what functions are called.
#[test]
fn the_header_serves_cpp() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("program.cpp");
    std::fs::write(
        &source,
        r#"
#include <bitkin.h>
#include <cstdio>
int main() {
    bitkin_database *database = nullptr;
    bitkin_search_options options{};
    if (bitkin_explain(nullptr, nullptr, 0, 1, &options, nullptr) != BITKIN_BAD_HANDLE) return 1;
    bitkin_status status = bitkin_open("/nowhere", nullptr, &database);
    if (status != BITKIN_NOT_A_DATABASE || database != nullptr) return 1;
    std::printf("%s", bitkin_error_message());
    return bitkin_close(nullptr);
}
"#,
    )
    .unwrap();
    let program = folder.path().join("program");
    let compiler = std::env::var_os("CXX").unwrap_or_else(|| "c++".into());
    for standard in ["-std=c++11", "-std=c++20"] {
        let mut compile = Command::new(&compiler);
        compile.arg(standard).args(STRICT).arg("-I");
        compile.arg(here().join("include")).arg(&source).arg("-o");
        compile.arg(&program).arg(built().join("libbitkin_c.a"));
        run(compile.args(["-lgcc_s", "-lpthread", "-lm", "-ldl"]));
        let said = run(&mut Command::new(&program));
        assert!(said.contains("/nowhere is not a Bitkin database"), "{said}");
    }
}
