//! A disk in memory that loses power, tears, reorders and fails as it is told, and the same way each
//! time for one seed.
//!
//! It keeps apart what was synced and what was not: of a file, the writes since its last sync; of a
//! directory, the changes of names since its last sync. A power loss may keep any of the unsynced
//! changes and lose the others, and may keep some sectors of a write and not the rest. A sync that
//! fails loses, like Linux's, the memory of what it did not write: a later sync that succeeds does
//! not bring it to the disk.
//!
//! Directories themselves are on disk as soon as they are created.

mod image;

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use self::image::{Chance, Change, Contents, NameChange, rename, write};
pub use self::image::{Image, Kept};
use super::{Disk, File, Lock, Region};

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// This call alone fails with this kind of error. A write is done by half, and what a sync did
    /// not write may be lost.
    Once(io::ErrorKind),
    /// This call and all after it fail, because power is gone.
    PowerLoss,
}

/// A directory in memory. Clones of it, and other directories of the same machine, share its disk.
#[derive(Clone)]
pub struct SimulatedDisk {
    machine: Arc<Mutex<Machine>>,
    root: PathBuf,
}

impl fmt::Debug for SimulatedDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimulatedDisk({})", self.root.display())
    }
}

/// Sees everything as of a moment; must not use the disk.
pub type Hook = Box<dyn FnMut(&Image) + Send>;

#[derive(Default)]
struct Machine {
    image: Image,
    locked: BTreeSet<String>,
    calls: u64,
    failure: Option<(u64, Failure)>,
    failed: bool,
    full: bool,
    /// Chance, for what a failed sync loses.
    chance: Chance,
    before_change: Option<Hook>,
    before_opening: Option<(String, Box<dyn FnOnce() + Send>)>,
    before_reading: Option<(String, std::ops::Range<usize>)>,
}

fn parent(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(parent, _)| parent)
}

impl Machine {
    /// Counts a call. With an error, it fails.
    fn call(&mut self) -> io::Result<()> {
        self.calls += 1;
        match self.failure {
            Some((at, Failure::PowerLoss)) if self.calls >= at => {
                self.failed = true;
                Err(io::Error::other("power is gone"))
            }
            Some((at, Failure::Once(kind))) if self.calls == at => {
                self.failed = true;
                Err(io::Error::new(kind, "simulated failure"))
            }
            _ => Ok(()),
        }
    }

    fn change(&mut self) -> io::Result<()> {
        if let Some(hook) = &mut self.before_change {
            hook(&self.image);
        }
        self.call()
    }

    fn rename(&mut self, change: NameChange) {
        rename(&mut self.image.names, &change);
        self.image.renames.push(change);
    }

    fn file(&self, name: &str) -> io::Result<u64> {
        let file = self.image.names.get(name).copied();
        file.ok_or(io::ErrorKind::NotFound.into())
    }

    fn contents(&mut self, file: u64) -> &mut Contents {
        self.image.files.entry(file).or_default()
    }
}

impl SimulatedDisk {
    /// An empty directory of a new machine.
    pub fn new() -> SimulatedDisk {
        SimulatedDisk::of(Machine::default())
    }

    fn of(machine: Machine) -> SimulatedDisk {
        SimulatedDisk {
            machine: Arc::new(Mutex::new(machine)),
            root: PathBuf::from("simulated"),
        }
    }

    /// Another directory of the same machine.
    pub fn beside(&self, name: &str) -> SimulatedDisk {
        SimulatedDisk {
            machine: Arc::clone(&self.machine),
            root: PathBuf::from(name),
        }
    }

    /// Lets a call fail: the `at`th from now on, from 1.
    pub fn fail_at(&self, at: u64, failure: Failure) {
        let mut machine = self.machine.lock();
        machine.failure = Some((machine.calls + at, failure));
        machine.failed = false;
    }

    /// Whether the call that was to fail was made.
    pub fn has_failed(&self) -> bool {
        self.machine.lock().failed
    }

    /// Lets the creation of files fail from now on, for want of room.
    pub fn fill(&self) {
        self.machine.lock().full = true;
    }

    /// Lets no call fail any more.
    pub fn heal(&self) {
        let mut machine = self.machine.lock();
        machine.failure = None;
        machine.full = false;
    }

    /// Calls so far.
    pub fn calls(&self) -> u64 {
        self.machine.lock().calls
    }

    /// Everything as of now.
    pub fn image(&self) -> Image {
        self.machine.lock().image.clone()
    }

    /// Shows everything to `hook` before each call that changes something.
    pub fn before_each_change(&self, hook: Option<Hook>) {
        self.machine.lock().before_change = hook;
    }

    /// Runs `intrusion` just before a file whose name ends in `suffix` is next opened.
    pub fn before_opening(&self, suffix: &str, intrusion: impl FnOnce() + Send + 'static) {
        self.machine.lock().before_opening = Some((suffix.to_owned(), Box::new(intrusion)));
    }

    /// Lets the next reading of a file whose name ends in `suffix` come before these bytes were
    /// written.
    pub fn read_before_written(&self, suffix: &str, bytes: std::ops::Range<usize>) {
        self.machine.lock().before_reading = Some((suffix.to_owned(), bytes));
    }

    /// The names of all files of this directory, and those below it.
    pub fn names(&self) -> Vec<String> {
        let prefix = self.full("");
        let machine = self.machine.lock();
        let names = machine.image.names.keys();
        let ours = names.filter_map(|name| name.strip_prefix(&prefix)?.strip_prefix('/'));
        ours.map(str::to_owned).collect()
    }

    /// Removes this directory and all that is in it, as somebody else would.
    pub fn clear(&self) {
        let root = self.full("");
        let below = |name: &String| {
            !name
                .strip_prefix(&root)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.machine.lock().image.directories.retain(below);
        for name in self.names() {
            let full = self.full(&name);
            let mut machine = self.machine.lock();
            machine.image.names.remove(&full);
            machine.image.synced_names.remove(&full);
        }
    }

    /// Puts a file there, synced, as somebody else would.
    pub fn put(&self, name: &str, bytes: &[u8]) {
        let mut machine = self.machine.lock();
        let name = self.full(name);
        let file = machine.image.next_file;
        machine.image.next_file += 1;
        let bytes = Arc::new(bytes.to_vec());
        let contents = Contents {
            current: Arc::clone(&bytes),
            synced: bytes,
            changes: Vec::new(),
        };
        machine.image.files.insert(file, contents);
        machine.image.names.insert(name.clone(), file);
        machine.image.synced_names.insert(name.clone(), file);
        let mut dir = parent(&name);
        loop {
            machine.image.directories.insert(dir.to_owned());
            if dir.is_empty() {
                return;
            }
            dir = parent(dir);
        }
    }

    fn full(&self, name: &str) -> String {
        let root = self.root.display();
        if name.is_empty() {
            root.to_string()
        } else {
            format!("{root}/{name}")
        }
    }

    fn opened(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let mut machine = self.machine.lock();
        let intrusion = machine
            .before_opening
            .take_if(|(suffix, _)| name.ends_with(suffix.as_str()));
        if let Some((_, intrusion)) = intrusion {
            drop(machine);
            intrusion();
            machine = self.machine.lock();
        }
        machine.call()?;
        let number = machine.file(&self.full(name))?;
        Ok(Arc::new(SimulatedFile {
            machine: Arc::clone(&self.machine),
            name: name.to_owned(),
            number,
        }))
    }
}

impl Default for SimulatedDisk {
    fn default() -> Self {
        SimulatedDisk::new()
    }
}

impl Disk for SimulatedDisk {
    fn path(&self) -> &Path {
        &self.root
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let mut machine = self.machine.lock();
        machine.change()?;
        if machine.full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let full = self.full(name);
        if machine.image.names.contains_key(&full) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if !machine.image.directories.contains(parent(&full)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let number = machine.image.next_file;
        machine.image.next_file += 1;
        machine.image.files.insert(number, Contents::default());
        machine.rename(vec![(full, Some(number))]);
        Ok(Arc::new(SimulatedFile {
            machine: Arc::clone(&self.machine),
            name: name.to_owned(),
            number,
        }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.opened(name)
    }

    fn open_write(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.opened(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut machine = self.machine.lock();
        machine.change()?;
        let file = machine.file(&self.full(from))?;
        machine.rename(vec![(self.full(from), None), (self.full(to), Some(file))]);
        Ok(())
    }

    fn hard_link(&self, name: &str, to: &dyn Disk, to_name: &str) -> io::Result<()> {
        let mut machine = self.machine.lock();
        machine.change()?;
        let file = machine.file(&self.full(name))?;
        let to = format!("{}/{to_name}", to.path().display());
        if machine.image.names.contains_key(&to) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        machine.rename(vec![(to, Some(file))]);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut machine = self.machine.lock();
        machine.change()?;
        let name = self.full(name);
        machine.file(&name)?;
        machine.rename(vec![(name, None)]);
        Ok(())
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let mut machine = self.machine.lock();
        machine.call()?;
        let dir = self.full(dir);
        let image = &machine.image;
        if !image.directories.contains(&dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let all = image.names.keys().chain(&image.directories);
        let inside = all.filter_map(|name| name.strip_prefix(&dir)?.strip_prefix('/'));
        let directly = inside.filter(|name| !name.contains('/'));
        Ok(directly.map(str::to_owned).collect())
    }

    fn create_dir(&self, dir: &str) -> io::Result<()> {
        let mut machine = self.machine.lock();
        machine.change()?;
        machine.image.directories.insert(self.full(dir));
        Ok(())
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        let mut machine = self.machine.lock();
        let called = machine.change();
        let dir = self.full(dir);
        let mut chance = machine.chance.clone();
        let image = &mut machine.image;
        let renames = std::mem::take(&mut image.renames);
        for change in renames {
            if !change.iter().any(|(name, _)| parent(name) == dir) {
                image.renames.push(change);
            } else if called.is_ok() || chance.below(2) == 0 {
                rename(&mut image.synced_names, &change);
            }
        }
        machine.chance = chance;
        called
    }

    fn lock(&self, name: &str) -> io::Result<Option<Box<dyn Lock>>> {
        let mut machine = self.machine.lock();
        machine.change()?;
        let name = self.full(name);
        if !machine.image.names.contains_key(&name) {
            let number = machine.image.next_file;
            machine.image.next_file += 1;
            machine.image.files.insert(number, Contents::default());
            machine.rename(vec![(name.clone(), Some(number))]);
        }
        if !machine.locked.insert(name.clone()) {
            return Ok(None);
        }
        Ok(Some(Box::new(SimulatedLock {
            machine: Arc::clone(&self.machine),
            name,
        })))
    }
}

struct SimulatedLock {
    machine: Arc<Mutex<Machine>>,
    name: String,
}

impl fmt::Debug for SimulatedLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimulatedLock({})", self.name)
    }
}

impl Lock for SimulatedLock {}

impl Drop for SimulatedLock {
    fn drop(&mut self) {
        self.machine.lock().locked.remove(&self.name);
    }
}

struct SimulatedFile {
    machine: Arc<Mutex<Machine>>,
    name: String,
    number: u64,
}

impl fmt::Debug for SimulatedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimulatedFile({})", self.name)
    }
}

impl File for SimulatedFile {
    fn len(&self) -> io::Result<u64> {
        let mut machine = self.machine.lock();
        machine.call()?;
        Ok(machine.contents(self.number).current.len() as u64)
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
        let mut machine = self.machine.lock();
        machine.call()?;
        let unwritten = machine
            .before_reading
            .take_if(|(suffix, _)| self.name.ends_with(suffix.as_str()));
        let contents = machine.contents(self.number);
        let from = usize::try_from(offset).ok();
        let from = from
            .and_then(|at| contents.current.get(at..))
            .unwrap_or_default();
        let length = from.len().min(bytes.len());
        bytes[..length].copy_from_slice(&from[..length]);
        if let Some((_, unwritten)) = unwritten {
            bytes[unwritten].fill(0);
        }
        Ok(length)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut machine = self.machine.lock();
        let called = machine.change();
        let bytes = match called {
            Ok(()) => bytes,
            Err(_) => &bytes[..bytes.len() / 2],
        };
        if !bytes.is_empty() {
            let contents = machine.contents(self.number);
            let offset = usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge)?;
            write(Arc::make_mut(&mut contents.current), offset, bytes);
            let bytes = Arc::new(bytes.to_vec());
            contents.changes.push(Change::Write { offset, bytes });
        }
        called
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut machine = self.machine.lock();
        machine.change()?;
        let length = usize::try_from(length).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let contents = machine.contents(self.number);
        Arc::make_mut(&mut contents.current).resize(length, 0);
        contents.changes.push(Change::SetLength(length));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut machine = self.machine.lock();
        let called = machine.change();
        let mut chance = machine.chance.clone();
        let contents = machine.contents(self.number);
        let changes = std::mem::take(&mut contents.changes);
        if called.is_ok() {
            contents.synced = Arc::clone(&contents.current);
        } else {
            // Each change is now on disk or forgotten; nobody will write it again.
            for change in changes.iter().filter(|_| chance.below(2) == 0) {
                change.apply(Arc::make_mut(&mut contents.synced), None);
            }
        }
        machine.chance = chance;
        called
    }

    unsafe fn map(&self) -> io::Result<Region> {
        let mut machine = self.machine.lock();
        machine.call()?;
        Ok(Region::from_bytes(&machine.contents(self.number).current))
    }
}
