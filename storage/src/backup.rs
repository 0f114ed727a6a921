//! Copying a database while it is written.
//!
//! All files of one manifest are opened first, so that they stay, whatever a merge does meanwhile;
//! they are then linked or copied one by one. Only the log that is being written changes: of it, the
//! whole records are copied, and the backup's manifest seals it there. The backup's manifest is stored
//! last, so a backup that was interrupted is none.

use std::path::Path;
use std::sync::Arc;

use crate::bytes::random;
use crate::disk::{Disk, File, OsDisk, open_listed, read_from};
use crate::error::Error;
use crate::files;
use crate::log;
use crate::manifest::{self, LogRecord, Manifest, Seal, write_beside};
use crate::recover::{remove, with_manifest};
use crate::segment;
use crate::storage::prepare_directory;

/// A file of this name is in the directory of a backup until it is complete.
pub(crate) const MARKER: &str = "BACKUP.tmp";

/// Bytes that are copied at once.
const CHUNK: usize = 1 << 20;

/// What a backup did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackupReport {
    /// Number of the last commit that the backup holds.
    pub sequence: u64,
    /// Its files.
    pub files: u64,
    /// The files of them that share their bytes with the database, as hard links.
    pub linked: u64,
    /// Bytes of the other files, which were copied.
    pub copied_bytes: u64,
}

/// Makes a copy of the database in `dir`, as of one moment, in the directory `dest`, which must not
/// exist or be empty. Takes no lock on the database, and may run while it is written, by this process
/// or by another.
///
/// Files that never change are hard-linked where the two directories allow it: this costs no space and
/// next to no time, but damage to the bytes of one of them is damage to both. A copy on another disk
/// protects against that too.
///
/// # Errors
/// [`Error::NotADatabase`]; [`Error::NotEmpty`] for `dest`; [`Error::Io`], [`Error::Corrupt`] and
/// [`Error::MissingFile`]. After an error `dest` holds no database, and may be used again.
pub fn backup(dir: &Path, dest: &Path) -> Result<BackupReport, Error> {
    backup_on(&OsDisk::new(dir), &OsDisk::new(dest))
}

/// As [`backup`], on any disks.
pub fn backup_on(disk: &dyn Disk, dest: &dyn Disk) -> Result<BackupReport, Error> {
    let (mut manifest, opened) = with_manifest(disk, |manifest| {
        let opened = open_all(disk, &manifest)?;
        Ok((manifest, opened))
    })?;
    let _lock = prepare_directory(dest)?;
    write_beside(dest, MARKER, b"")?;
    dest.sync_dir("").map_err(Error::io("sync", ""))?;
    let mut report = BackupReport::default();
    for (name, file) in &opened.whole {
        copy(disk, dest, name, &**file, &mut report)?;
    }
    if let (Some(log), Some((name, bytes))) = (manifest.logs.last_mut(), opened.growing) {
        log.seal = Some(opened.seal);
        let file = dest.create(&name).map_err(Error::io("create", &name))?;
        file.write_at(0, &bytes)
            .map_err(Error::io("write", &name))?;
        file.sync().map_err(Error::io("sync", &name))?;
        report.files += 1;
        report.copied_bytes += bytes.len() as u64;
    }
    for name in files::stored(disk)? {
        // Nobody removes one, so it need not have been opened before.
        let file = disk.open(&name).map_err(Error::io("open", &name))?;
        copy(disk, dest, &name, &*file, &mut report)?;
    }
    for name in [log::DIRECTORY, segment::DIRECTORY, files::DIRECTORY] {
        dest.sync_dir(name).map_err(Error::io("sync", name))?;
    }
    manifest.database = random();
    report.sequence = opened.seal.last_sequence;
    let stored = manifest.store(dest).map_err(|failed| {
        // It may be in its place already, and the backup is not acknowledged.
        let _ = remove(dest, manifest::FILE);
        failed.error
    });
    report.copied_bytes += stored?;
    // If it cannot be removed, the next opening will.
    let _ = remove(dest, MARKER);
    report.files += 1;
    Ok(report)
}

/// The files of a manifest.
struct Opened {
    /// Those that do not change, by name.
    whole: Vec<(String, Arc<dyn File>)>,
    /// The log that is being written: its name, and its whole records.
    growing: Option<(String, Vec<u8>)>,
    /// What the last log holds.
    seal: Seal,
}

fn open_all(disk: &dyn Disk, manifest: &Manifest) -> Result<Opened, Error> {
    let last = manifest.logs.last();
    let growing = last.filter(|log| log.seal.is_none());
    let growing_name = growing.map(|log| log::file_name(log.number));
    let mut whole = Vec::new();
    for name in manifest.files() {
        let file = open_listed(disk, &name)?;
        if growing_name.as_ref() != Some(&name) {
            whole.push((name, file));
        }
    }
    let mut opened = Opened {
        whole,
        growing: None,
        seal: last.and_then(|log| log.seal).unwrap_or_default(),
    };
    if let Some(log) = growing {
        let (seal, bytes) = whole_records(disk, log)?;
        opened.seal = seal;
        opened.growing = Some((log::file_name(log.number), bytes));
    }
    if manifest.logs.is_empty() {
        opened.seal.last_sequence = manifest.flushed_sequence;
    }
    Ok(opened)
}

/// The bytes of a log up to its last whole record.
fn whole_records(disk: &dyn Disk, log: &LogRecord) -> Result<(Seal, Vec<u8>), Error> {
    let seal = log::replay(disk, log, None, |_, _| Ok(()))?.cursor.seal();
    let name = log::file_name(log.number);
    let file = disk.open(&name).map_err(Error::io("open", &name))?;
    let mut bytes = read_from(&*file, 0).map_err(Error::io("read", &name))?;
    if (bytes.len() as u64) < seal.length {
        let what = "it became shorter while it was copied";
        return Err(Error::corrupt(&name, bytes.len() as u64, what));
    }
    bytes.truncate(seal.length as usize);
    Ok((seal, bytes))
}

/// Gives `dest` a file of `disk` that does not change, under the same name.
fn copy(
    disk: &dyn Disk,
    dest: &dyn Disk,
    name: &str,
    file: &dyn File,
    report: &mut BackupReport,
) -> Result<(), Error> {
    report.files += 1;
    // An interrupted backup may have left one.
    remove(dest, name)?;
    if disk.hard_link(name, dest, name).is_ok() {
        report.linked += 1;
        return Ok(());
    }
    // Another file system, or none that can link; or a merge has just removed the name.
    let copy = dest.create(name).map_err(Error::io("create", name))?;
    let length = file.len().map_err(Error::io("look at", name))?;
    let mut buffer = vec![0; CHUNK.min(length as usize)];
    let mut done = 0;
    while done < length {
        let read = file
            .read_at(done, &mut buffer)
            .map_err(Error::io("read", name))?;
        let bytes = &buffer[..read];
        if bytes.is_empty() {
            return Err(Error::corrupt(name, done, "it ends before its length"));
        }
        copy.write_at(done, bytes)
            .map_err(Error::io("write", name))?;
        done += read as u64;
    }
    copy.sync().map_err(Error::io("sync", name))?;
    report.copied_bytes += length;
    Ok(())
}
