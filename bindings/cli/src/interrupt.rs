//! Ctrl-C: the first asks long work to stop where nothing is lost, the second ends the process.

use crate::error::{Failure, INTERRUPTED};
use crate::output::say;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, Once, PoisonError};

static ASKED: AtomicBool = AtomicBool::new(false);

/// Files that are of no use before they are whole.
static UNFINISHED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// Takes over SIGINT (and SIGTERM) from now on, for work that looks at the returned flag.
///
/// Verbs that do not write leave the signal alone: the system ends them at once, and no state
/// can be lost.
pub(crate) fn watch() -> &'static AtomicBool {
    static INSTALL: Once = Once::new();
    INSTALL.call_once(|| {
        // Failing means that a handler exists already; Ctrl-C then does whatever that does.
        let _ = ctrlc::set_handler(|| {
            if ASKED.swap(true, Ordering::SeqCst) {
                // Every acknowledged write is in the log: ending here loses only work under way.
                for file in &*UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner) {
                    let _ = std::fs::remove_file(file);
                }
                std::process::exit(i32::from(INTERRUPTED));
            }
            say("\nstopping (Ctrl-C again to stop at once)...");
        });
    });
    &ASKED
}

/// Whether the user has asked to stop.
pub(crate) fn asked() -> bool {
    ASKED.load(Ordering::SeqCst)
}

/// Fails if the user has asked to stop.
///
/// # Errors
/// [`Failure::interrupted`], with what has been done so far.
pub(crate) fn check(so_far: impl FnOnce() -> String) -> Result<(), Failure> {
    if asked() {
        Err(Failure::interrupted(so_far()))
    } else {
        Ok(())
    }
}

/// A file that goes if the process is ended before this is dropped.
pub(crate) struct Unfinished(PathBuf);

/// Notes a file of which nothing may stay unless it is finished.
pub(crate) fn unfinished(file: &Path) -> Unfinished {
    let mut files = UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner);
    files.insert(file.to_owned());
    Unfinished(file.to_owned())
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let mut files = UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner);
        files.remove(&self.0);
    }
}
