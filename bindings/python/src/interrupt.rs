//! Ctrl-C during work that goes on without the interpreter.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use pyo3::prelude::*;

/// How long a signal, as that of Ctrl-C, may wait to be heard.
pub(crate) const BETWEEN_SIGNALS: Duration = Duration::from_millis(100);

/// Hears signals now and then.
pub(crate) struct Signals {
    heard: Instant,
    outcome: PyResult<()>,
}

impl Signals {
    pub(crate) fn new() -> Self {
        Signals {
            heard: Instant::now(),
            outcome: Ok(()),
        }
    }

    /// Whether to go on: not when a handler of a signal has raised an exception.
    pub(crate) fn listen(&mut self) -> ControlFlow<()> {
        if self.outcome.is_ok() && self.heard.elapsed() > BETWEEN_SIGNALS {
            self.outcome = Python::attach(|py| py.check_signals());
            self.heard = Instant::now();
        }
        match self.outcome {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    }

    /// # Errors
    /// The exception that ended the work, `KeyboardInterrupt` as a rule.
    pub(crate) fn outcome(self) -> PyResult<()> {
        self.outcome
    }
}
