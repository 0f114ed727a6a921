//! Ctrl-C: ends the work at the next step, so that what is done by then can be kept.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

static ASKED: AtomicBool = AtomicBool::new(false);

/// Notes the first Ctrl-C (or termination) from here on; a second one ends the process at once.
pub(crate) fn watch() {
    // Without the handler Ctrl-C ends the process, as ever.
    let _ = ctrlc::set_handler(|| {
        if ASKED.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    });
}

/// Whether to go on.
pub(crate) fn asked() -> ControlFlow<()> {
    match ASKED.load(Ordering::Relaxed) {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    }
}
