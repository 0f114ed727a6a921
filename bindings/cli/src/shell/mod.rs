//! `bitkin shell`: the verbs of the command line, one a line, with the database open.
//!
//! A line is split into words ([`words`]) and parsed by the grammar of the command line. At a terminal lines
//! come from a prompt, elsewhere from a script.

mod complete;
mod prompt;
mod script;
mod sight;
mod style;
mod words;

use crate::error::{DONE, Failure, USAGE};
use crate::grammar::shell::{Request, grammar, parse};
use crate::grammar::{Command as Verb, Line, Shell as Arguments};
use crate::interrupt;
use crate::output::say;
use crate::progress::lasting;
use crate::session::Session;
use clap::{Command, Parser};
use std::any::Any;
use std::io::{IsTerminal, stderr, stdin, stdout};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// The longest line, in bytes: codes of 65,536 bits fit.
const LONGEST: usize = 1 << 20;

/// Runs lines of verbs.
///
/// # Errors
/// When the database cannot be opened; in a script, those of the first line that failed.
pub(crate) fn run(session: &mut Session, arguments: &Arguments) -> Result<(), Failure> {
    interrupt::watch();
    session.keep(&arguments.database, !arguments.read_only)?;
    let at_terminal = arguments.lines.is_empty() && stdin().is_terminal() && stdout().is_terminal();
    let mut shell = Shell {
        session,
        grammar: grammar(&arguments.database),
        // A terminal's user sees that a long line runs, and may press Ctrl-C twice.
        patience: u8::from(at_terminal),
        timing: at_terminal || arguments.timing,
    };
    let outcome = match at_terminal {
        true => prompt::run(&mut shell, arguments),
        false => script::run(&mut shell, arguments),
    };
    let closed = session.let_go();
    outcome.and(closed)
}

/// Runs lines.
struct Shell<'a> {
    session: &'a mut Session,
    grammar: Command,
    /// How often Ctrl-C may be pressed again before that ends the shell.
    patience: u8,
    /// Say how long each line took.
    timing: bool,
}

/// What follows a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// The next line.
    Line,
    /// Nothing: the user leaves, or the reader of the results has gone.
    End,
}

impl Shell<'_> {
    /// Runs a line. What is wrong with it has been told when this returns.
    ///
    /// # Errors
    /// A silent one, with the exit code of the line.
    fn run(&mut self, line: &str) -> Result<Next, Failure> {
        let verb = match self.understand(line) {
            Ok(Some(Request::Verb(verb))) => verb,
            Ok(Some(Request::Exit)) => return Ok(Next::End),
            Ok(None) => return Ok(Next::Line),
            Err(failure) => return self.tell(failure),
        };
        interrupt::begin(self.patience);
        let started = Instant::now();
        let outcome = guarded(|| {
            self.session.refresh()?;
            self.session.run(&verb)
        });
        let flushed = self.session.out.flush();
        if self.timing {
            say(took(started.elapsed()));
        }
        match outcome.and(flushed) {
            Ok(()) => Ok(Next::Line),
            Err(failure) => self.tell(failure),
        }
    }

    /// What a line asks for; nothing if there is nothing in it, or if it asked for help and that was given.
    fn understand(&self, line: &str) -> Result<Option<Request>, Failure> {
        check(line)?;
        let words = words::split(line).whole(line)?;
        let parsed = match words.first().and_then(|word| word.to_str()) {
            None if words.is_empty() => return Ok(None),
            Some("-h" | "--help") => parse(&self.grammar, &["help".into()]),
            Some("bitkin") => {
                Line::try_parse_from(&words).map(|line| Request::Verb(Box::new(line.command)))
            }
            _ => parse(&self.grammar, &words),
        };
        match parsed {
            Ok(Request::Verb(verb)) if matches!(*verb, Verb::Shell(_)) => {
                Err(Failure::usage("this is a shell already").advise("exit leaves it"))
            }
            Ok(request) => Ok(Some(request)),
            Err(error) => {
                // Help goes to standard output, complaints to standard error.
                let _ = error.print();
                match error.exit_code() {
                    0 => Ok(None),
                    code => Err(Failure::silent(u8::try_from(code).unwrap_or(USAGE))),
                }
            }
        }
    }

    /// Tells what was wrong with a line.
    fn tell(&mut self, failure: Failure) -> Result<Next, Failure> {
        if failure.speaks() {
            // Results that were finished before the failure still belong to the reader.
            let _ = self.session.out.flush();
            say(&failure);
        } else if failure.code() == DONE {
            return Ok(Next::End);
        }
        Err(Failure::silent(failure.code()))
    }
}

/// Refuses what nobody types: a line of a binary file, for instance.
fn check(line: &str) -> Result<(), Failure> {
    if line.len() > LONGEST {
        return Err(
            Failure::usage(format!("the line has more than {LONGEST} bytes"))
                .advise("give many codes as a file: --queries FILE.npy, import"),
        );
    }
    let odd = |c: char| c.is_control() && c != '\t' || c == '\u{fffd}';
    match line.chars().position(odd) {
        None => Ok(()),
        Some(at) => Err(Failure::usage(format!(
            "the line has a character at column {} that is no text",
            at + 1
        ))
        .advise("lines are text in UTF-8, one verb each")),
    }
}

/// Runs `work`; a panic in it is a failure like any other.
fn guarded(work: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
    // Storage and engine guard their own state, and the session's changes in whole steps.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        Err(Failure::new(format!(
            "this is a fault in bitkin, which should not happen: {}",
            message(&*panic)
        ))
        .advise("the database is as the last line left it, and the shell goes on; please report the fault"))
    })
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic")
}

/// How long a line took, in the voice of a remark.
fn took(time: Duration) -> String {
    let text = match time.as_micros() {
        micros @ ..10_000 => format!("{:.2} ms", micros as f64 / 1e3),
        _ => lasting(time),
    };
    match stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        true => format!("\x1b[2m{text}\x1b[0m"),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_a_failure() {
        let failure = guarded(|| panic!("no row {}", 7)).unwrap_err();
        assert!(failure.to_string().contains("no row 7"), "{failure}");
        assert_eq!(failure.code(), crate::error::FAILED);
        assert!(guarded(|| Ok(())).is_ok());
    }

    #[test]
    fn lines_that_nobody_typed_are_refused() {
        assert!(check("stats\t # é").is_ok());
        assert!(check("a\0b").unwrap_err().to_string().contains("column 2"));
        assert!(check("a\u{1b}[2J").is_err());
        assert!(check(&"x".repeat(LONGEST)).is_ok());
        assert!(check(&"x".repeat(LONGEST + 1)).is_err());
    }
}
