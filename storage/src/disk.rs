//! The one door to files.
//!
//! Everything that this crate reads or writes goes through [`Disk`] and [`File`], so that a
//! simulated disk can stand behind them and fail, tear or crash at any call. [`OsDisk`] is the real
//! one, `simulated` the other.
//!
//! Names are relative to the database directory and use `/` between their parts; the empty name is
//! the directory itself.

mod os;
mod region;
#[cfg(feature = "simulation")]
pub mod simulated;

use std::fmt::Debug;
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::error::Error;

pub use os::OsDisk;
pub use region::Region;

/// A directory of files, as much of one as a database needs.
///
/// What a crash may undo: a write until [`File::sync`] of that file returned; the creation, renaming
/// or removal of a name until [`sync_dir`](Disk::sync_dir) of its directory returned.
pub trait Disk: Send + Sync + Debug {
    /// Where the files are, for messages.
    fn path(&self) -> &Path;

    /// Creates an empty file, to be written and read. Fails with `AlreadyExists` if there is one.
    fn create(&self, name: &str) -> io::Result<Arc<dyn File>>;

    /// Opens a file for reading. Fails with `NotFound` if there is none.
    fn open(&self, name: &str) -> io::Result<Arc<dyn File>>;

    /// Opens a file for reading and writing. Fails with `NotFound` if there is none.
    fn open_write(&self, name: &str) -> io::Result<Arc<dyn File>>;

    /// Gives a file another name, replacing the file of that name, if any, in one step: whoever
    /// opens the new name finds the one or the other, whole.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Gives a file of this disk a second name on another disk, `to`, if both are directories of one
    /// file system that can do it. Fails with `Unsupported` or `CrossesDevices` where that is not so,
    /// and with `NotFound` if there is no such file.
    fn hard_link(&self, name: &str, to: &dyn Disk, to_name: &str) -> io::Result<()> {
        let _ = (name, to, to_name);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Removes a file's name. Whoever has the file open or mapped keeps it.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// The names in a directory, without the directory's own, in any order. Fails with `NotFound`
    /// if there is no such directory.
    fn list(&self, dir: &str) -> io::Result<Vec<String>>;

    /// Creates a directory, and those above it, unless it is there.
    fn create_dir(&self, dir: &str) -> io::Result<()>;

    /// Returns when the names in the directory are on disk for certain.
    fn sync_dir(&self, dir: &str) -> io::Result<()>;

    /// Takes the exclusive lock that the file `name` stands for, creating the file if need be.
    /// Returns `None` at once if another holder has it, in this process or in another.
    fn lock(&self, name: &str) -> io::Result<Option<Box<dyn Lock>>>;
}

/// An exclusive lock, held until this is dropped or the process ends, however it ends.
pub trait Lock: Send + Sync + Debug {}

/// An open file.
pub trait File: Send + Sync + Debug {
    /// Its length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Whether it has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Reads bytes from `offset` on; fewer than asked for only at the end of the file.
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<usize>;

    /// Writes all the bytes at `offset`, making the file longer if need be. After an error any of
    /// them may have been written.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes the file shorter, or longer by zeros.
    fn set_len(&self, length: u64) -> io::Result<()>;

    /// Returns when everything written, and the length, is on disk for certain. After an error
    /// nothing is known of what was written since the last success.
    fn sync(&self) -> io::Result<()>;

    /// The bytes of the whole file, as long as it is now, to be read when they are looked at.
    ///
    /// # Safety
    /// The bytes that the file has now must not be changed or cut off, by this process or by another,
    /// as long as the region lives: they are lent out as `&[u8]`. (Removing the file's name is no
    /// change, nor is making it longer.)
    unsafe fn map(&self) -> io::Result<Region>;
}

/// Opens a file that a manifest lists, for reading.
pub(crate) fn open_listed(disk: &dyn Disk, name: &str) -> Result<Arc<dyn File>, Error> {
    disk.open(name).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Error::MissingFile {
            file: name.to_owned(),
        },
        _ => Error::io("open", name)(error),
    })
}

/// The names in a directory; none if there is no such directory.
pub(crate) fn list_if_there(disk: &dyn Disk, dir: &str) -> Result<Vec<String>, Error> {
    match disk.list(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        listed => listed.map_err(Error::io("list", dir)),
    }
}

/// Reads a file from `offset` to its present end into memory.
pub(crate) fn read_from(file: &dyn File, offset: u64) -> io::Result<Vec<u8>> {
    let length = file.len()?.saturating_sub(offset);
    let length = usize::try_from(length).map_err(|_| io::ErrorKind::OutOfMemory)?;
    let mut bytes = vec![0; length];
    let read = file.read_at(offset, &mut bytes)?;
    bytes.truncate(read);
    Ok(bytes)
}
