//! The per-user cache: complete entries, one set-up at a time, and no leftovers.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::error::Error;
use super::pins::Release;

/// In every complete entry: what it was made from.
const MARKER: &str = "bitkin-libtorch.txt";
/// Part of the names of folders in which work goes on, or went on when it was cut off.
const PARTIAL: &str = ".partial-";

/// The marker's text, if `dir` is an entry of a cache.
pub(crate) fn manifest_of(dir: &Path) -> Option<String> {
    fs::read_to_string(dir.join(MARKER)).ok()
}

/// Folder that holds the entries.
pub(crate) struct Cache {
    root: PathBuf,
}

impl Cache {
    pub(crate) fn open(root: &Path) -> Result<Cache, Error> {
        fs::create_dir_all(root).map_err(Error::at("make", root))?;
        Ok(Cache {
            root: root.to_path_buf(),
        })
    }

    /// The folder of `release`, if it is there and made from the same wheels.
    pub(crate) fn complete(&self, release: &Release) -> Option<PathBuf> {
        let dir = self.root.join(release.entry);
        (manifest_of(&dir)? == release.manifest()).then_some(dir)
    }

    /// Waits until no other process fills this cache, and removes what a killed one left behind.
    pub(crate) fn lock(&self) -> Result<Lock, Error> {
        // The system gives the lock back when its holder ends, however it ends. The file stays:
        // removing it would let two processes hold "the" lock on two files.
        let path = self.root.join("setup.lock");
        let file = File::create(&path).map_err(Error::at("make", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                eprintln!("Another set-up is at work; waiting for it");
                file.lock().map_err(Error::at("lock", &path))?;
            }
            Err(TryLockError::Error(e)) => return Err(Error::at("lock", &path)(e)),
        }
        let lock = Lock {
            root: self.root.clone(),
            _file: file,
        };
        lock.remove_leftovers()?;
        Ok(lock)
    }
}

/// The right to fill the cache.
pub(crate) struct Lock {
    root: PathBuf,
    _file: File,
}

impl Lock {
    /// Only the holder of the lock makes such folders, so any that is there is abandoned.
    fn remove_leftovers(&self) -> Result<(), Error> {
        let read = Error::at("read", &self.root);
        for found in fs::read_dir(&self.root).map_err(read)?.flatten() {
            if found.file_name().to_string_lossy().contains(PARTIAL) {
                remove_all(&found.path())?;
            }
        }
        Ok(())
    }

    /// Refuses to begin what would fill the disk.
    pub(crate) fn room_for(&self, release: &Release) -> Result<(), Error> {
        let disk = rustix::fs::statvfs(&self.root)
            .map_err(|e| Error::at("measure the disk of", &self.root)(e.into()))?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        if free < release.room {
            return Err(Error::LittleRoom {
                dir: self.root.clone(),
                needed: release.room,
                free,
            });
        }
        Ok(())
    }

    /// An empty folder in which to put `release` together.
    pub(crate) fn stage(&self, release: &Release) -> Result<Stage<'_>, Error> {
        // Named after the process, too: a killed predecessor's pip may still write into its own.
        let dir = self
            .root
            .join(format!("{}{PARTIAL}{}", release.entry, std::process::id()));
        fs::create_dir(&dir).map_err(Error::at("make", &dir))?;
        Ok(Stage {
            lock: self,
            dir,
            published: false,
        })
    }
}

/// A folder that becomes an entry of the cache or, if dropped before that, is removed.
pub(crate) struct Stage<'lock> {
    lock: &'lock Lock,
    dir: PathBuf,
    published: bool,
}

impl Stage<'_> {
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// An empty folder for one download, on the same disk as everything else. To be removed before
    /// [`Stage::publish`].
    pub(crate) fn scratch(&self, name: &str) -> Result<PathBuf, Error> {
        let dir = self.dir.join(name);
        fs::create_dir(&dir).map_err(Error::at("make", &dir))?;
        Ok(dir)
    }

    /// Makes it the entry of `release`, in one step, and returns its path.
    pub(crate) fn publish(mut self, release: &Release) -> Result<PathBuf, Error> {
        let marker = self.dir.join(MARKER);
        fs::write(&marker, release.manifest()).map_err(Error::at("write", &marker))?;
        // The name must not reach the disk before the contents: one sync of the file system is
        // quicker than one for each of ten thousand headers.
        let opened = File::open(&self.dir).map_err(Error::at("open", &self.dir))?;
        rustix::fs::syncfs(&opened).map_err(|e| Error::at("sync", &self.dir)(e.into()))?;
        let entry = self.lock.root.join(release.entry);
        if entry.symlink_metadata().is_ok() {
            // Outdated or damaged, or it would have been used. Moved out of the way first, so that
            // no moment shows it half removed under its name.
            let old = self
                .lock
                .root
                .join(format!("{}{PARTIAL}old", release.entry));
            fs::rename(&entry, &old).map_err(Error::at("move", &entry))?;
            remove_all(&old)?;
        }
        fs::rename(&self.dir, &entry).map_err(Error::at("rename", &self.dir))?;
        self.published = true;
        Ok(entry)
    }
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        if !self.published {
            // What cannot be removed now is removed by the next set-up.
            let _ = remove_all(&self.dir);
        }
    }
}

fn remove_all(path: &Path) -> Result<(), Error> {
    let removed = match path.symlink_metadata() {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(e) => Err(e),
    };
    match removed {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::at("remove", path)(e)),
        _ => Ok(()),
    }
}
