//! A disk in memory that loses power, or fails, at a chosen operation.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex};

use bitkin_storage::{Disk, File, Lock, Region};

/// What happens at the operation that was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It and all that follow fail; a write is done by half.
    PowerLoss,
    /// It alone fails; a write is done by half.
    Once,
}

/// What of the unsynced is there after a power loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// Only what was synced.
    Nothing,
    /// All of it.
    Everything,
    /// The names and lengths, but zeros in place of the first half of the bytes.
    Tails,
}

#[derive(Debug, Default)]
pub struct SimDisk {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    names: BTreeMap<String, Arc<Contents>>,
    synced_names: BTreeMap<String, Arc<Contents>>,
    directories: BTreeSet<String>,
    locked: bool,
    operations: u64,
    failure: Option<(u64, Failure)>,
    /// What to do when a file whose name ends so is next opened, before it is looked for.
    intrusion: Option<(&'static str, Intrusion)>,
    /// The bytes that the next reading of a log shall find not yet written.
    unwritten: Option<Range<usize>>,
}

struct Intrusion(Box<dyn FnOnce() + Send>);

impl std::fmt::Debug for Intrusion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Intrusion")
    }
}

#[derive(Debug, Default)]
struct Contents {
    bytes: Mutex<(Vec<u8>, Vec<u8>)>,
}

impl Inner {
    /// Counts an operation that changes something; says whether it fails.
    fn fails(&mut self) -> bool {
        self.operations += 1;
        match self.failure {
            Some((at, Failure::PowerLoss)) => self.operations >= at,
            Some((at, Failure::Once)) => self.operations == at,
            None => false,
        }
    }
}

fn failed() -> io::Error {
    io::Error::other("simulated failure")
}

fn parent(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(parent, _)| parent)
}

impl SimDisk {
    pub fn new() -> Arc<SimDisk> {
        Arc::default()
    }

    /// Lets the operation fail that is the `at`th from now on (from 1).
    pub fn fail_at(&self, at: u64, failure: Failure) {
        let mut inner = self.inner.lock().unwrap();
        inner.failure = Some((inner.operations + at, failure));
    }

    /// Operations so far that change something.
    pub fn operations(&self) -> u64 {
        self.inner.lock().unwrap().operations
    }

    /// Runs `intrusion` just before a file whose name ends in `suffix` is next opened.
    pub fn before_opening(&self, suffix: &'static str, intrusion: impl FnOnce() + Send + 'static) {
        let intrusion = Intrusion(Box::new(intrusion));
        self.inner.lock().unwrap().intrusion = Some((suffix, intrusion));
    }

    /// Lets the next reading of a log come before these bytes were written.
    pub fn read_before_written(&self, bytes: Range<usize>) {
        self.inner.lock().unwrap().unwritten = Some(bytes);
    }

    /// What the disk holds when power is back.
    pub fn after_power_loss(&self, kept: Kept) -> Arc<SimDisk> {
        let inner = self.inner.lock().unwrap();
        let names = if kept == Kept::Nothing {
            &inner.synced_names
        } else {
            &inner.names
        };
        let names: BTreeMap<String, Arc<Contents>> = names
            .iter()
            .map(|(name, contents)| {
                let (current, synced) = contents.bytes.lock().unwrap().clone();
                let bytes = match kept {
                    Kept::Nothing => synced,
                    Kept::Everything => current,
                    Kept::Tails => {
                        let mut bytes = current;
                        let start = synced.len().min(bytes.len());
                        let middle = start + (bytes.len() - start) / 2;
                        bytes[start..middle].fill(0);
                        bytes
                    }
                };
                let contents = Contents {
                    bytes: Mutex::new((bytes.clone(), bytes)),
                };
                (name.clone(), Arc::new(contents))
            })
            .collect();
        let inner = Inner {
            synced_names: names.clone(),
            names,
            directories: inner.directories.clone(),
            ..Inner::default()
        };
        Arc::new(SimDisk {
            inner: Arc::new(Mutex::new(inner)),
        })
    }

    fn file(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let mut inner = self.inner.lock().unwrap();
        if let Some((_, intrusion)) = inner.intrusion.take_if(|(end, _)| name.ends_with(*end)) {
            drop(inner);
            (intrusion.0)();
            inner = self.inner.lock().unwrap();
        }
        let contents = inner.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        let (contents, disk) = (Arc::clone(contents), Arc::clone(&self.inner));
        let is_log = name.ends_with(".log");
        Ok(Arc::new(SimFile {
            contents,
            disk,
            is_log,
        }))
    }

    fn change<T>(&self, change: impl FnOnce(&mut Inner) -> io::Result<T>) -> io::Result<T> {
        let mut inner = self.inner.lock().unwrap();
        if inner.fails() {
            Err(failed())
        } else {
            change(&mut inner)
        }
    }
}

impl Disk for SimDisk {
    fn path(&self) -> &Path {
        Path::new("simulated")
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.change(|inner| {
            if inner.names.contains_key(name) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            if !inner.directories.contains(parent(name)) {
                return Err(io::ErrorKind::NotFound.into());
            }
            inner.names.insert(name.to_owned(), Arc::default());
            Ok(())
        })?;
        self.file(name)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.file(name)
    }

    fn open_write(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.file(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.change(|inner| {
            let contents = inner.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
            inner.names.insert(to.to_owned(), contents);
            Ok(())
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.change(|inner| {
            inner
                .names
                .remove(name)
                .map(drop)
                .ok_or(io::ErrorKind::NotFound.into())
        })
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let inner = self.inner.lock().unwrap();
        if !inner.directories.contains(dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let all = inner.names.keys().chain(&inner.directories);
        let inside = all.filter(|name| !name.is_empty() && parent(name) == dir);
        Ok(inside
            .map(|name| name.rsplit('/').next().unwrap().to_owned())
            .collect())
    }

    fn create_dir(&self, dir: &str) -> io::Result<()> {
        // Directories are on disk at once: the tests are about files.
        self.change(|inner| {
            inner.directories.insert(dir.to_owned());
            Ok(())
        })
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.change(|inner| {
            inner.synced_names.retain(|name, _| parent(name) != dir);
            let names = inner.names.clone();
            inner
                .synced_names
                .extend(names.into_iter().filter(|(name, _)| parent(name) == dir));
            Ok(())
        })
    }

    fn lock(&self, name: &str) -> io::Result<Option<Box<dyn Lock>>> {
        let mut inner = self.inner.lock().unwrap();
        inner.names.entry(name.to_owned()).or_default();
        if std::mem::replace(&mut inner.locked, true) {
            return Ok(None);
        }
        Ok(Some(Box::new(SimLock(Arc::clone(&self.inner)))))
    }
}

#[derive(Debug)]
struct SimLock(Arc<Mutex<Inner>>);

impl Lock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.0.lock().unwrap().locked = false;
    }
}

#[derive(Debug)]
struct SimFile {
    contents: Arc<Contents>,
    disk: Arc<Mutex<Inner>>,
    is_log: bool,
}

impl File for SimFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.contents.bytes.lock().unwrap().0.len() as u64)
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
        let contents = self.contents.bytes.lock().unwrap();
        let from = contents.0.get(offset as usize..).unwrap_or_default();
        let length = from.len().min(bytes.len());
        bytes[..length].copy_from_slice(&from[..length]);
        let unwritten = self.disk.lock().unwrap().unwritten.take_if(|_| self.is_log);
        if let Some(unwritten) = unwritten {
            bytes[unwritten].fill(0);
        }
        Ok(length)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let fails = self.disk.lock().unwrap().fails();
        let bytes = if fails {
            &bytes[..bytes.len() / 2]
        } else {
            bytes
        };
        let mut contents = self.contents.bytes.lock().unwrap();
        let (start, end) = (offset as usize, offset as usize + bytes.len());
        if contents.0.len() < end {
            contents.0.resize(end, 0);
        }
        contents.0[start..end].copy_from_slice(bytes);
        if fails { Err(failed()) } else { Ok(()) }
    }

    fn sync(&self) -> io::Result<()> {
        if self.disk.lock().unwrap().fails() {
            return Err(failed());
        }
        let mut contents = self.contents.bytes.lock().unwrap();
        contents.1 = contents.0.clone();
        Ok(())
    }

    unsafe fn map(&self) -> io::Result<Region> {
        Ok(Region::from_bytes(&self.contents.bytes.lock().unwrap().0))
    }
}
