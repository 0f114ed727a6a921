//! Ctrl-C: the first asks long work to stop where nothing is lost, a further one ends the process.

use crate::error::{Failure, INTERRUPTED};
use crate::output::say;
use bitkin::Activity;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, LazyLock, Once};

static ASKED: AtomicBool = AtomicBool::new(false);

/// What is stopped by it: reads of collections, wherever they are.
static READS: LazyLock<Activity> = LazyLock::new(Activity::new);

/// Files that are of no use before they are whole.
static UNFINISHED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// How often a user may ask again before the process is ended.
static PATIENCE: AtomicU8 = AtomicU8::new(0);

/// Set while a prompt waits for a line: then a signal comes from outside, since the terminal hands Ctrl-C
/// on as a key, and means that the program is to end.
static AT_PROMPT: Mutex<Option<Arc<AtomicBool>>> = Mutex::new(None);

/// Takes over SIGINT (and SIGTERM) from now on, for work that looks at the returned flag.
///
/// Verbs that do not write leave the signal alone: the system ends them at once, and no state
/// can be lost.
pub(crate) fn watch() -> &'static AtomicBool {
    static INSTALL: Once = Once::new();
    INSTALL.call_once(|| {
        // Failing means that a handler exists already; Ctrl-C then does whatever that does.
        let _ = ctrlc::set_handler(|| {
            if let Some(leave) = &*AT_PROMPT.lock() {
                leave.store(true, Ordering::SeqCst);
                return;
            }
            READS.stop();
            if !ASKED.swap(true, Ordering::SeqCst) {
                let again = match PATIENCE.load(Ordering::SeqCst) {
                    0 => "Ctrl-C again to stop at once",
                    _ => "Ctrl-C twice more to leave the shell at once",
                };
                say(format!("\nstopping ({again})..."));
                return;
            }
            let one_less = |left: u8| left.checked_sub(1);
            let left = PATIENCE.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less);
            if left.is_err() {
                // Every acknowledged write is in the log: ending here loses only work under way.
                for file in &*UNFINISHED.lock() {
                    let _ = std::fs::remove_file(file);
                }
                std::process::exit(i32::from(INTERRUPTED));
            }
        });
    });
    &ASKED
}

/// Forgets that the user has asked to stop the command before this one, and ends the process only when the
/// user has asked `patience` times more than otherwise.
pub(crate) fn begin(patience: u8) {
    PATIENCE.store(patience, Ordering::SeqCst);
    ASKED.store(false, Ordering::SeqCst);
    READS.resume();
}

/// What ends long reads of a collection when the user asks, as soon as Ctrl-C is [watched](watch).
pub(crate) fn reads() -> &'static Activity {
    &READS
}

/// Runs `wait`, which waits for the user; signals set `leave` meanwhile.
pub(crate) fn at_prompt<T>(leave: &Arc<AtomicBool>, wait: impl FnOnce() -> T) -> T {
    *AT_PROMPT.lock() = Some(Arc::clone(leave));
    let waited = wait();
    *AT_PROMPT.lock() = None;
    waited
}

/// Whether the user has asked to stop.
pub(crate) fn asked() -> bool {
    ASKED.load(Ordering::SeqCst)
}

/// The same, for work that asks whether to go on.
pub(crate) fn go_on() -> ControlFlow<()> {
    match asked() {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    }
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
    let mut files = UNFINISHED.lock();
    files.insert(file.to_owned());
    Unfinished(file.to_owned())
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let mut files = UNFINISHED.lock();
        files.remove(&self.0);
    }
}
