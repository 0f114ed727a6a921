//! Ctrl-C during work that goes on without the interpreter.

use std::ops::ControlFlow;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread::Builder;
use std::time::{Duration, Instant};

use bitkin::{Activity, Error};
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
        match self.heard.elapsed() > BETWEEN_SIGNALS {
            true => self.listen_now(),
            false => self.so_far(),
        }
    }

    fn listen_now(&mut self) -> ControlFlow<()> {
        if self.outcome.is_ok() {
            self.outcome = Python::attach(|py| py.check_signals());
            self.heard = Instant::now();
        }
        self.so_far()
    }

    fn so_far(&self) -> ControlFlow<()> {
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

/// Does work that calls nobody back on a thread of its own, while other Python threads run, and this one hears
/// signals: one whose handler raises an exception stops `activity`, by which the work ends.
///
/// # Errors
/// The exception that stopped it, once it has ended.
pub(crate) fn interruptible<T: Send>(
    py: Python<'_>,
    activity: &Activity,
    work: impl FnOnce() -> Result<T, Error> + Send,
) -> PyResult<Result<T, Error>> {
    let mut signals = Signals::new();
    let outcome = py.detach(|| {
        std::thread::scope(|scope| {
            let (sender, receiver) = channel();
            let work = move || {
                // Somebody waits for it: see below.
                let _ = sender.send(work());
            };
            Builder::new()
                .spawn_scoped(scope, work)
                .map_err(Error::NoThread)?;
            let mut heard = signals.listen_now();
            loop {
                if heard.is_break() {
                    activity.stop();
                }
                match receiver.recv_timeout(BETWEEN_SIGNALS) {
                    Ok(outcome) => return outcome,
                    Err(RecvTimeoutError::Timeout) => heard = signals.listen_now(),
                    // It panicked, which the scope passes on.
                    Err(RecvTimeoutError::Disconnected) => return Err(Error::Stopped),
                }
            }
        })
    });
    if signals.so_far().is_break() {
        // What it watches may stay open.
        activity.resume();
    }
    signals.outcome().map(|()| outcome)
}
