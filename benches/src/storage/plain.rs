//! A plain file, written front to back: what the disk gives to anybody.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::Result;
use crate::data::Random;

/// A file that only grows, by pieces that are each on disk when they are written.
#[derive(Debug)]
pub(crate) struct Plain {
    path: PathBuf,
    file: File,
    piece: Vec<u8>,
}

impl Plain {
    /// Creates a file for pieces of `bytes` bytes.
    pub(crate) fn create(path: &Path, bytes: usize) -> Result<Plain> {
        let file = File::create_new(path)?;
        let mut piece = vec![0; bytes];
        Random::new(2).fill(&mut piece);
        Ok(Plain {
            path: path.to_owned(),
            file,
            piece,
        })
    }

    /// Writes so many pieces, with a sync after each, and says how long it took.
    pub(crate) fn write(&mut self, pieces: u64) -> Result<Duration> {
        let start = Instant::now();
        for _ in 0..pieces {
            self.file.write_all(&self.piece)?;
            self.file.sync_data()?;
        }
        Ok(start.elapsed())
    }

    pub(crate) fn remove(self) -> Result<()> {
        drop(self.file);
        Ok(std::fs::remove_file(self.path)?)
    }
}
