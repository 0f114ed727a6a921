//! A disk that counts what is written to it.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bitkin_storage::{Disk, File, Lock, OsDisk, Region};

/// What a file is for, as its name tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Log,
    Segment,
    Deletes,
    Manifest,
    Other,
}

impl Kind {
    pub(crate) const ALL: [Kind; 5] = [
        Kind::Log,
        Kind::Segment,
        Kind::Deletes,
        Kind::Manifest,
        Kind::Other,
    ];

    fn of(name: &str) -> Kind {
        if name.starts_with("MANIFEST") {
            Kind::Manifest
        } else if name.starts_with("log/") {
            Kind::Log
        } else if name.starts_with("segments/") && name.ends_with(".seg") {
            Kind::Segment
        } else if name.starts_with("segments/") {
            Kind::Deletes
        } else {
            Kind::Other
        }
    }
}

/// What was done to files, of each [`Kind`] in the order of [`Kind::ALL`].
#[derive(Debug, Default)]
pub(crate) struct Counts {
    bytes: [AtomicU64; Kind::ALL.len()],
    syncs: [AtomicU64; Kind::ALL.len()],
}

impl Counts {
    /// Bytes that were written to files of this kind.
    pub(crate) fn bytes(&self, kind: Kind) -> u64 {
        self.bytes[kind as usize].load(Ordering::Relaxed)
    }

    /// Syncs of all files.
    pub(crate) fn syncs(&self) -> u64 {
        let syncs = self.syncs.iter().map(|syncs| syncs.load(Ordering::Relaxed));
        syncs.sum()
    }
}

/// A directory of the operating system, and what is written to its files.
#[derive(Debug)]
pub(crate) struct CountingDisk {
    disk: OsDisk,
    counts: Arc<Counts>,
}

impl CountingDisk {
    pub(crate) fn new(dir: &Path, counts: Arc<Counts>) -> CountingDisk {
        CountingDisk {
            disk: OsDisk::new(dir),
            counts,
        }
    }

    fn counted(&self, name: &str, file: Arc<dyn File>) -> Arc<dyn File> {
        Arc::new(CountingFile {
            file,
            kind: Kind::of(name),
            counts: Arc::clone(&self.counts),
        })
    }
}

impl Disk for CountingDisk {
    fn path(&self) -> &Path {
        self.disk.path()
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        Ok(self.counted(name, self.disk.create(name)?))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.disk.open(name)
    }

    fn open_write(&self, name: &str) -> io::Result<Arc<dyn File>> {
        Ok(self.counted(name, self.disk.open_write(name)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn hard_link(&self, name: &str, to: &dyn Disk, to_name: &str) -> io::Result<()> {
        self.disk.hard_link(name, to, to_name)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.disk.list(dir)
    }

    fn create_dir(&self, dir: &str) -> io::Result<()> {
        self.disk.create_dir(dir)
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.disk.sync_dir(dir)
    }

    fn lock(&self, name: &str) -> io::Result<Option<Box<dyn Lock>>> {
        self.disk.lock(name)
    }
}

#[derive(Debug)]
struct CountingFile {
    file: Arc<dyn File>,
    kind: Kind,
    counts: Arc<Counts>,
}

impl File for CountingFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(offset, bytes)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.counts.bytes[self.kind as usize].fetch_add(bytes.len() as u64, Ordering::Relaxed);
        self.file.write_at(offset, bytes)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.counts.syncs[self.kind as usize].fetch_add(1, Ordering::Relaxed);
        self.file.sync()
    }

    unsafe fn map(&self) -> io::Result<Region> {
        // SAFETY: the caller promises it of this file, which is that one.
        unsafe { self.file.map() }
    }
}
