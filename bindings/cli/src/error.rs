//! Failures as a person at a shell sees them: what went wrong, and what to do next.

use crate::output::plain;
use std::fmt;

/// Exit code of a command that did what it was asked.
pub const DONE: u8 = 0;
/// Exit code of a command that failed.
pub const FAILED: u8 = 1;
/// Exit code of a command that was asked something impossible.
pub const USAGE: u8 = 2;
/// Exit code after Ctrl-C (128 + SIGINT, as shells report it).
pub const INTERRUPTED: u8 = 130;

/// Why a command ended without doing what it was asked.
#[derive(Debug)]
pub struct Failure {
    message: String,
    advice: Option<String>,
    code: u8,
}

impl Failure {
    /// A failure that the message explains.
    pub fn new(message: impl Into<String>) -> Failure {
        Failure {
            message: message.into(),
            advice: None,
            code: FAILED,
        }
    }

    /// A request that can never work, as given (exit code 2).
    pub fn usage(message: impl Into<String>) -> Failure {
        Failure {
            code: USAGE,
            ..Failure::new(message)
        }
    }

    /// The user stopped it.
    pub fn interrupted(message: impl Into<String>) -> Failure {
        Failure {
            code: INTERRUPTED,
            ..Failure::new(message)
        }
    }

    /// The reader of standard output went away (`| head`): no failure, and nothing to say.
    pub(crate) fn closed_pipe() -> Failure {
        Failure {
            code: DONE,
            ..Failure::new("")
        }
    }

    /// Fails with the code of a program that was started and has said itself what was wrong.
    pub(crate) fn silent(code: u8) -> Failure {
        Failure {
            code,
            ..Failure::new("")
        }
    }

    /// Puts what the failure is about before its message.
    #[must_use]
    pub(crate) fn about(self, what: impl fmt::Display) -> Failure {
        Failure {
            message: format!("{what}: {}", self.message),
            ..self
        }
    }

    /// Adds what the user can do about it.
    #[must_use]
    pub fn advise(self, advice: impl Into<String>) -> Failure {
        Failure {
            advice: Some(advice.into()),
            ..self
        }
    }

    /// The exit code of the process.
    pub fn code(&self) -> u8 {
        self.code
    }

    /// There is something to tell.
    pub fn speaks(&self) -> bool {
        !self.message.is_empty()
    }
}

/// One line `error: ...`, and a second that says what to do, where that is known.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Names of files are part of messages.
        write!(f, "error: {}", plain(&self.message))?;
        match &self.advice {
            Some(advice) => write!(f, "\n  help: {}", plain(advice)),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Failure {}
