//! Files of the operating system.

use std::fs::{self, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Disk, File, Lock, Region};

/// What stands in a lock file, for those who would remove it.
const LOCK_TEXT: &[u8] =
    b"Locked by the process that writes; a lock ends with it. Do not remove this file.\n";

/// A directory of the file system.
#[derive(Debug)]
pub struct OsDisk {
    dir: PathBuf,
}

impl OsDisk {
    /// The directory `dir`, which need not exist yet.
    pub fn new(dir: &Path) -> OsDisk {
        OsDisk {
            dir: dir.to_owned(),
        }
    }

    fn full(&self, name: &str) -> PathBuf {
        if name.is_empty() {
            self.dir.clone()
        } else {
            self.dir.join(name)
        }
    }

    fn open_with(&self, name: &str, options: &OpenOptions) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(OsFile {
            file: options.open(self.full(name))?,
        }))
    }
}

impl Disk for OsDisk {
    fn path(&self) -> &Path {
        &self.dir
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.open_with(
            name,
            OpenOptions::new().read(true).write(true).create_new(true),
        )
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.open_with(name, OpenOptions::new().read(true))
    }

    fn open_write(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.open_with(name, OpenOptions::new().read(true).write(true))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.full(from), self.full(to))
    }

    fn hard_link(&self, name: &str, to: &dyn Disk, to_name: &str) -> io::Result<()> {
        fs::hard_link(self.full(name), to.path().join(to_name))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.full(name))
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.full(dir))? {
            // A name that is no UTF-8 is none that this crate gives; `?` stands for it.
            names.push(
                entry?
                    .file_name()
                    .into_string()
                    .unwrap_or_else(|_| "?".to_owned()),
            );
        }
        Ok(names)
    }

    fn create_dir(&self, dir: &str) -> io::Result<()> {
        let path = self.full(dir);
        if path.is_dir() && dir.is_empty() {
            // Whoever made it need not have synced its name, and may have died before.
            return path
                .parent()
                .map_or(Ok(()), |parent| sync_directory(or_here(parent)));
        }
        if path.is_dir() {
            return Ok(());
        }
        let existing = path.ancestors().find(|p| p.is_dir()).map(Path::to_owned);
        fs::create_dir_all(&path)?;
        // Each new name is in the directory above it, up to the one that was there: a crash must
        // not take the database's own name.
        for parent in path.ancestors().skip(1) {
            sync_directory(or_here(parent))?;
            if existing.as_deref() == Some(parent) {
                break;
            }
        }
        Ok(())
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        sync_directory(&self.full(dir))
    }

    fn lock(&self, name: &str) -> io::Result<Option<Box<dyn Lock>>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(self.full(name))?;
        match file.try_lock() {
            Ok(()) => {
                if file.metadata()?.len() == 0 {
                    write_some(&file, 0, LOCK_TEXT)?;
                }
                Ok(Some(Box::new(OsLock { file })))
            }
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

/// The directory that an empty path stands for.
fn or_here(path: &Path) -> &Path {
    if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    }
}

#[cfg(not(windows))]
fn sync_directory(path: &Path) -> io::Result<()> {
    fs::File::open(path)?.sync_all()
}

/// Windows cannot sync a directory; its file systems log the change of names themselves.
#[cfg(windows)]
fn sync_directory(_path: &Path) -> io::Result<()> {
    Ok(())
}

/// The operating system gives the lock back at the latest when the process ends.
#[derive(Debug)]
struct OsLock {
    file: fs::File,
}

impl Lock for OsLock {}

impl Drop for OsLock {
    fn drop(&mut self) {
        // Closing the file is not enough: a process that another thread is just forking off holds
        // the file too, and with it the lock, until it executes its own program.
        let _ = self.file.unlock();
    }
}

#[derive(Debug)]
struct OsFile {
    file: fs::File,
}

impl File for OsFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < bytes.len() {
            match read_some(&self.file, offset + done as u64, &mut bytes[done..]) {
                Ok(0) => break,
                Ok(read) => done += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut done = 0;
        while done < bytes.len() {
            match write_some(&self.file, offset + done as u64, &bytes[done..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => done += written,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    fn sync(&self) -> io::Result<()> {
        // The data and what is needed to read it back, so the length too; not the times.
        self.file.sync_data()
    }

    /// Miri maps no files: there they are read.
    #[cfg(miri)]
    unsafe fn map(&self) -> io::Result<Region> {
        Region::read(self)
    }

    #[cfg(not(miri))]
    unsafe fn map(&self) -> io::Result<Region> {
        // SAFETY: the caller promises that the file does not change while the region lives.
        let map = unsafe { memmap2::Mmap::map(&self.file)? };
        Ok(Region::mapped(map))
    }
}

#[cfg(unix)]
fn read_some(file: &fs::File, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, bytes, offset)
}

#[cfg(unix)]
fn write_some(file: &fs::File, offset: u64, bytes: &[u8]) -> io::Result<usize> {
    std::os::unix::fs::FileExt::write_at(file, bytes, offset)
}

#[cfg(windows)]
fn read_some(file: &fs::File, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, bytes, offset)
}

#[cfg(windows)]
fn write_some(file: &fs::File, offset: u64, bytes: &[u8]) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_write(file, bytes, offset)
}
