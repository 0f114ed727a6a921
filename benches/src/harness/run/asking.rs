//! What is asked, and in which ways.

use serde_json::{Value, json};

/// Queries of a call when they are asked together.
pub(super) const BATCH: usize = 256;

/// A way to ask: threads, and queries a call. Single queries by several threads have as many callers,
/// each of whom asks one after another.
pub(super) type Mode = (usize, usize);

/// Which ways to ask are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Modes {
    All,
    OneThread,
    /// One query at a time by one thread.
    Single,
}

impl Modes {
    pub(super) fn of(self, queries: usize) -> Vec<Mode> {
        let batch = BATCH.min(queries);
        let (single, batched) = ((1, 1), (1, batch));
        let mut modes = match self {
            Modes::All => {
                let threads = all_threads();
                vec![single, batched, (threads, batch), (threads, 1)]
            }
            Modes::OneThread => vec![single, batched],
            Modes::Single => vec![single],
        };
        // One thread is all threads of some machines.
        let mut known = Vec::new();
        modes.retain(|mode| {
            !known.contains(mode) && {
                known.push(*mode);
                true
            }
        });
        modes
    }
}

pub(super) fn callers((threads, batch): Mode) -> usize {
    if batch == 1 { threads } else { 1 }
}

/// What is asked for: one of both.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Question {
    pub(super) k: Option<usize>,
    pub(super) radius: Option<u32>,
}

impl Question {
    pub(super) fn json(self) -> Value {
        match self.radius {
            Some(radius) => json!({"radius": radius}),
            None => json!({"k": self.k}),
        }
    }
}

pub(crate) fn all_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
