//! Handles that belong to the process that made them.

use std::{mem, process};

use pyo3::PyResult;

use crate::error::forked;

/// A handle of the engine, out of reach in a process that was forked off.
///
/// Such a process has copies of all memory, but none of the threads: locks may be held by nobody,
/// and the database's own threads are gone. And both have the same files: what the child writes or
/// unlocks, the parent believes to have for itself. So the child may not even drop the handle.
pub(crate) struct Ours<T> {
    /// `Some` until it is dropped.
    value: Option<T>,
    process: u32,
}

impl<T> Ours<T> {
    pub(crate) fn new(value: T) -> Self {
        Ours {
            value: Some(value),
            process: process::id(),
        }
    }

    /// The handle.
    ///
    /// # Errors
    /// `WrongProcess` in any other process than that which made it.
    pub(crate) fn get(&self) -> PyResult<&T> {
        match &self.value {
            Some(value) if process::id() == self.process => Ok(value),
            _ => Err(forked()),
        }
    }
}

impl<T> Drop for Ours<T> {
    fn drop(&mut self) {
        if process::id() != self.process {
            mem::forget(self.value.take());
        }
    }
}
