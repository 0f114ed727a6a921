//! Chores of the Bitkin workspace, run as `cargo xtask <chore>`.
//!
//! This crate must build on a machine that has no libtorch, since fetching libtorch is its first
//! chore; nothing here may depend on a crate that links it.

// A program of chores talks to the person who runs it. Everything goes to stderr except `help`.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod cargo;
mod install_c;
mod libtorch;
mod public_api;

use std::ffi::OsString;
use std::process::ExitCode;

const HELP: &str = "\
Chores of the Bitkin workspace.

cargo xtask setup [--cuda]   fetch libtorch (0.5 GB, once for each user) and link it to .libtorch;
                             --cuda: with its CUDA part (2.5 GB)
cargo xtask demo [ARGS]...   set up if needed, build, and run `bitkin demo ARGS`
cargo xtask test [ARGS]...   set up if needed, and run `cargo test --workspace ARGS`
cargo xtask bench [ARGS]...  build the harness and measure Bitkin beside other systems; --help says
                             what (no libtorch; the peers are installed by pip, once)
cargo xtask install-c PREFIX build the C library and install it, its header and its files for
                             pkg-config under PREFIX (no libtorch); --built DIR: install the one
                             that cargo left in DIR
cargo xtask public-api       what the library `bitkin` offers, beside the listing that is checked in,
                             engine/public-api.txt; --write: write that anew. Takes nightly Rust and
                             cargo-public-api; where they are missing, it says so and does nothing
cargo xtask help             this text

A libtorch of your own wins over the fetched one: set LIBTORCH to its folder, or
LIBTORCH_USE_PYTORCH=1 for the one of the active Python. Either must be version 2.11.0.
";

/// What the command line asks for.
#[derive(Debug, PartialEq)]
enum Chore {
    Setup(libtorch::Want),
    Demo(Vec<OsString>),
    Test(Vec<OsString>),
    Bench(Vec<OsString>),
    InstallC {
        prefix: OsString,
        built: Option<OsString>,
    },
    PublicApi {
        write: bool,
    },
    Help,
}

impl Chore {
    /// Reads the arguments that follow the program's name; the error is a line for the user.
    fn parse(mut arguments: impl Iterator<Item = OsString>) -> Result<Chore, String> {
        let Some(chore) = arguments.next() else {
            return Err("a chore is missing".into());
        };
        let rest: Vec<OsString> = arguments.collect();
        match chore.to_str() {
            Some("setup") => match rest.iter().map(|a| a.to_str()).collect::<Vec<_>>()[..] {
                [] => Ok(Chore::Setup(libtorch::Want::Cpu)),
                [Some("--cuda")] => Ok(Chore::Setup(libtorch::Want::Cuda)),
                [Some("--help" | "-h")] => Ok(Chore::Help),
                _ => Err("setup takes only --cuda".into()),
            },
            Some("demo") => Ok(Chore::Demo(rest)),
            Some("test") => Ok(Chore::Test(rest)),
            Some("bench") => Ok(Chore::Bench(rest)),
            Some("install-c") => {
                let is_folder = |a: &OsString| !a.as_encoded_bytes().starts_with(b"-");
                let (prefix, built) = match &rest[..] {
                    [prefix] => (prefix, None),
                    [prefix, option, folder] if option == "--built" => (prefix, Some(folder)),
                    _ => return Err("install-c takes a directory, and --built DIR".into()),
                };
                if ![Some(prefix), built].into_iter().flatten().all(is_folder) {
                    return Err("install-c takes a directory, and --built DIR".into());
                }
                Ok(Chore::InstallC {
                    prefix: prefix.clone(),
                    built: built.cloned(),
                })
            }
            Some("public-api") => match rest.iter().map(|a| a.to_str()).collect::<Vec<_>>()[..] {
                [] => Ok(Chore::PublicApi { write: false }),
                [Some("--write")] => Ok(Chore::PublicApi { write: true }),
                _ => Err("public-api takes only --write".into()),
            },
            Some("help" | "--help" | "-h") => Ok(Chore::Help),
            _ => Err(format!("unknown chore {chore:?}")),
        }
    }
}

/// Exit codes: 0 done, 1 failed, 2 wrong usage; `demo`, `test` and `bench` pass on those of what they ran.
fn main() -> ExitCode {
    let chore = match Chore::parse(std::env::args_os().skip(1)) {
        Ok(chore) => chore,
        Err(wrong) => {
            eprint!("error: {wrong}\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    let done = match chore {
        Chore::Help => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Chore::Setup(want) => set_up(want).map(|()| ExitCode::SUCCESS),
        Chore::Demo(arguments) => {
            set_up(libtorch::Want::Any).and_then(|()| cargo::demo(&arguments))
        }
        Chore::Test(arguments) => {
            set_up(libtorch::Want::Any).and_then(|()| cargo::test(&arguments))
        }
        Chore::Bench(arguments) => cargo::bench(&arguments),
        Chore::InstallC { prefix, built } => {
            install_c::install_c(&prefix, built.as_deref()).map(|()| ExitCode::SUCCESS)
        }
        Chore::PublicApi { write } => public_api::public_api(write),
    };
    done.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}

fn set_up(want: libtorch::Want) -> Result<(), Box<dyn std::error::Error>> {
    let outcome = libtorch::ensure(&libtorch::Machine::this()?, want, libtorch::Pins::shipped())?;
    if outcome == libtorch::Outcome::LeftCuda {
        // torch-sys looks for libtorch_cuda when it is built, and is not built again when what is
        // behind `.libtorch` changes; without this the next link would ask for -ltorch_cuda.
        cargo::forget("torch-sys");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Chore, String> {
        Chore::parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn the_command_line_says_which_chore() {
        assert_eq!(parse("setup"), Ok(Chore::Setup(libtorch::Want::Cpu)));
        assert_eq!(
            parse("setup --cuda"),
            Ok(Chore::Setup(libtorch::Want::Cuda))
        );
        assert_eq!(
            parse("public-api --write"),
            Ok(Chore::PublicApi { write: true })
        );
        assert_eq!(
            parse("demo --images photos"),
            Ok(Chore::Demo(vec!["--images".into(), "photos".into()]))
        );
        assert_eq!(parse("test"), Ok(Chore::Test(vec![])));
        assert_eq!(
            parse("bench --quick"),
            Ok(Chore::Bench(vec!["--quick".into()]))
        );
        assert_eq!(
            parse("install-c /usr/local"),
            Ok(Chore::InstallC {
                prefix: "/usr/local".into(),
                built: None
            })
        );
        assert_eq!(
            parse("install-c /usr/local --built target/debug"),
            Ok(Chore::InstallC {
                prefix: "/usr/local".into(),
                built: Some("target/debug".into())
            })
        );
        for wrong in [
            "",
            "install-c",
            "public-api write",
            "install-c a b",
            "install-c a --built",
            "install-c a --built --help",
            "install-c --help",
            "setup --gpu",
            "setup --cuda --cuda",
            "set-up",
        ] {
            assert!(parse(wrong).is_err(), "{wrong:?} was accepted");
        }
    }
}
