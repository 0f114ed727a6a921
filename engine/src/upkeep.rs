//! What is done to a database as a whole, also without opening it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bitkin_storage::{BackupReport, Disk, Error as StorageError, RepairReport, VerifyReport};

use crate::activity::Activity;
use crate::database::Sections;
use crate::error::Error;

/// Reads every checksum and cross reference of the database in `path`, without opening it: also
/// of one that cannot be opened any more.
///
/// # Errors
/// When the check itself cannot be carried out; damage is in the report.
pub fn verify(path: impl AsRef<Path>) -> Result<VerifyReport, Error> {
    verify_with(path, &Activity::new())
}

/// As [`verify`](fn@verify), to be watched and stopped.
///
/// # Errors
/// As [`verify`](fn@verify), and [`Error::Stopped`].
pub fn verify_with(path: impl AsRef<Path>, activity: &Activity) -> Result<VerifyReport, Error> {
    let disk = activity.disk(path.as_ref(), true);
    activity.unless_stopped(bitkin_storage::verify_on(&disk)?)
}

/// Makes a copy of the database in `path`, as of one moment, in `dest`, a new or empty directory: also
/// while another process writes it.
///
/// Files that never change are hard-linked where the directories allow it, which takes no space and
/// next to no time; but damage to the bytes of one is damage to both.
///
/// # Errors
/// What storage reports. Nothing is left in `dest` then.
pub fn backup(path: impl AsRef<Path>, dest: impl AsRef<Path>) -> Result<BackupReport, Error> {
    backup_with(path, dest, &Activity::new())
}

/// As [`backup`](fn@backup), to be watched and stopped: `activity` counts the bytes that are copied, once
/// where they are read and once where they are written.
///
/// # Errors
/// As [`backup`](fn@backup), and [`Error::Stopped`].
pub fn backup_with(
    path: impl AsRef<Path>,
    dest: impl AsRef<Path>,
    activity: &Activity,
) -> Result<BackupReport, Error> {
    let disk = activity.disk(path.as_ref(), true);
    into_new(path.as_ref(), dest.as_ref(), activity, |dest| {
        Ok(bitkin_storage::backup_on(&disk, &*dest)?)
    })
}

/// Saves what is whole of the database in `path`, which nobody may be writing, into a new database in
/// `dest`, a new or empty directory. Nothing is written to `path`. What could not be saved is listed.
///
/// # Errors
/// [`Error::NotADatabase`] if nothing of one is there, [`Error::Locked`], and what storage reports of
/// `dest`, in which nothing is left then.
pub fn repair(path: impl AsRef<Path>, dest: impl AsRef<Path>) -> Result<RepairReport, Error> {
    repair_with(path, dest, &Activity::new())
}

/// As [`repair`](fn@repair), to be watched and stopped.
///
/// # Errors
/// As [`repair`](fn@repair), and [`Error::Stopped`].
pub fn repair_with(
    path: impl AsRef<Path>,
    dest: impl AsRef<Path>,
    activity: &Activity,
) -> Result<RepairReport, Error> {
    let disk = activity.disk(path.as_ref(), true);
    into_new(path.as_ref(), dest.as_ref(), activity, |dest| {
        let builder = Arc::new(Sections);
        let report = bitkin_storage::repair_on(&disk, dest, Some(builder))?;
        activity.unless_stopped(report)
    })
}

/// Makes a database in `dest`, a new or empty directory, out of the one in `path`, by `work`. If that fails, all is
/// taken away that it left there: half of a database must not be taken for one.
///
/// # Errors
/// [`Error::WithinItself`], and those of `work`.
pub(crate) fn into_new<T>(
    path: &Path,
    dest: &Path,
    activity: &Activity,
    work: impl FnOnce(Arc<dyn Disk>) -> Result<T, Error>,
) -> Result<T, Error> {
    if let (Ok(path), Some(real)) = (fs::canonicalize(path), real(dest))
        && real.starts_with(path)
    {
        return Err(Error::WithinItself {
            path: dest.to_owned(),
        });
    }
    let fresh = !dest.exists();
    let ours = fresh || fs::read_dir(dest).is_ok_and(|mut entries| entries.next().is_none());
    work(Arc::new(activity.disk(dest, true))).inspect_err(|error| match error {
        // Somebody else was quicker: what is there is theirs.
        Error::Locked { .. } | Error::Storage(StorageError::NotEmpty { .. }) => {}
        _ if fresh => drop(fs::remove_dir_all(dest)),
        _ if ours => {
            for entry in fs::read_dir(dest).into_iter().flatten().flatten() {
                let entry = entry.path();
                // A link is taken away, never followed.
                let _ = fs::remove_file(&entry).or_else(|_| fs::remove_dir_all(&entry));
            }
        }
        _ => {}
    })
}

/// Where a directory really is; what does not exist yet lies where the nearest folder that does lies.
fn real(path: &Path) -> Option<PathBuf> {
    let absolute = std::path::absolute(path).ok()?;
    let mut folders = absolute.ancestors();
    folders.find_map(|folder| fs::canonicalize(folder).ok())
}
