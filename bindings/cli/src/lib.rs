//! The `bitkin` program: a database of binary codes, and of pictures, at a shell.
//!
//! [`run`] is all of it. The drawing of the demo's pictures ([`pictures`]) and the page of
//! results ([`page`]) can be used on their own.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program speaks to its user"
)]

mod demo;
mod destination;
mod dice;
pub mod error;
mod grammar;
mod interrupt;
mod output;
pub mod page;
mod parquet_file;
pub mod pictures;
mod progress;
mod screen;
mod session;
mod shell;
mod trainer;
mod verbs;

use clap::Parser;
use session::Session;
use std::ffi::OsString;
use std::process::ExitCode;

/// Runs the program with the words of a command line, the first of which is its own name.
///
/// Results go to standard output, messages to standard error. The exit code is 0 when done, 1
/// when it failed, 2 for wrong usage, 130 when stopped by Ctrl-C.
pub fn run(words: impl IntoIterator<Item = OsString>) -> ExitCode {
    let command = match grammar::Line::try_parse_from(words) {
        Ok(line) => line.command,
        Err(error) => {
            // Help goes to standard output, complaints to standard error; if that is closed,
            // there is nobody to tell.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(error::USAGE));
        }
    };
    let mut session = Session::new();
    let result = session.run(&command).and_then(|()| session.out.flush());
    match result {
        Ok(()) => ExitCode::from(error::DONE),
        Err(failure) => {
            if failure.speaks() {
                // Lines that were finished before the failure still belong to the reader.
                let _ = session.out.flush();
                output::say(&failure);
            }
            ExitCode::from(failure.code())
        }
    }
}
