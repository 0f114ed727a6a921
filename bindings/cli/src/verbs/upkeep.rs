//! `bitkin compact`, `backup`, `repair` and `drop`: what keeps a database in order.

use super::{
    cannot_open, close, collection, expect_database, failure, named, problem_line, report,
};
use crate::error::Failure;
use crate::grammar::{Backup, Compact, Drop, Format, Repair};
use crate::interrupt;
use crate::output::{bytes, counted, plain};
use crate::progress::{busy, watched};
use crate::session::Session;
use bitkin::Activity;
use serde_json::json;
use std::path::Path;

/// Writes segments anew, without the rows that are deleted.
///
/// # Errors
/// When there is no such collection, or writing fails, or the user stops it: what was not compacted is as before
/// then.
pub(crate) fn compact(session: &mut Session, arguments: &Compact) -> Result<(), Failure> {
    let path = &arguments.database;
    let (database, activity) = session.open_watched(path)?;
    let before = database.stats().map_err(failure)?.segment_bytes;
    let collections = match &arguments.name {
        Some(name) => vec![collection(&database, name)?],
        None => database.collections().map_err(failure)?,
    };
    interrupt::watch();
    let started = activity.bytes_written();
    let compacted = watched(
        "compacting",
        // What a segment is to become is seldom more than what it is.
        Some(before),
        &activity,
        |activity| activity.bytes_written() - started,
        || collections.iter().try_for_each(|c| c.compact()),
    );
    // What a shell keeps open goes on; and the rows that are in memory, if any, may be written after all.
    activity.resume();
    if compacted.is_err() && interrupt::asked() {
        close(database)?;
        return Err(Failure::interrupted(
            "stopped; no row is lost, and what was not finished is as it was",
        )
        .advise("the same command does the rest"));
    }
    compacted.map_err(|error| {
        failure(error).advise(
            "everything is as it was; compacting needs as much free disk as the collection takes",
        )
    })?;
    let after = database.stats().map_err(failure)?.segment_bytes;
    close(database)?;
    let what = arguments.name.as_deref().unwrap_or("all collections");
    report(
        session,
        arguments.format,
        json!({"segment_bytes_before": before, "segment_bytes": after}),
        &format!(
            "{what} compacted: {} of segments before, {} now",
            bytes(before),
            bytes(after)
        ),
    )
}

/// What is wrong with a directory that was to become a database, or with the database at `from`.
fn why(dest: &Path, from: &Path, error: bitkin::Error) -> Failure {
    use bitkin::{ErrorKind, StorageError};
    match &error {
        bitkin::Error::Storage(StorageError::NotEmpty { .. }) => {
            named(dest, error).advise("name a directory that does not exist, or is empty")
        }
        bitkin::Error::WithinItself { .. } => Failure::usage(error.to_string()),
        _ if error.kind() != ErrorKind::Disk => cannot_open(from, error),
        _ => named(dest, error)
            .advise("nothing is left of the copy; name a directory of yours, with room for it"),
    }
}

/// What of an activity is shown.
type Count = fn(&Activity) -> u64;

/// Makes a database in a new directory out of another, with its progress shown. Stopped or failed, it leaves
/// nothing there; `none` says so.
fn into_new<T: Send>(
    path: &Path,
    dest: &Path,
    (what, count): (&'static str, Count),
    none: &str,
    work: impl FnOnce(&Activity) -> Result<T, bitkin::Error> + Send,
) -> Result<T, Failure> {
    interrupt::watch();
    let activity = Activity::new();
    let size = Some(size_of(path));
    let made = watched(what, size, &activity, count, || work(&activity));
    made.map_err(|error| {
        if interrupt::asked() {
            return Failure::interrupted(format!(
                "stopped; {none} in {}, and {} is as it was",
                dest.display(),
                path.display()
            ));
        }
        match error {
            bitkin::Error::Locked { .. } => {
                failure(error).advise("end the process that writes it first")
            }
            error => why(dest, path, error),
        }
    })
}

/// Copies a database.
///
/// # Errors
/// When it cannot be read, or the copy cannot be written, or the user stops it: there is none then.
pub(crate) fn backup(session: &mut Session, arguments: &Backup) -> Result<(), Failure> {
    let (path, dest) = (&arguments.database, &arguments.dest);
    expect_database(path)?;
    let shown = ("copying", Activity::bytes_written as Count);
    let copied = into_new(path, dest, shown, "there is no copy", |activity| {
        bitkin::backup_with(path, dest, activity)
    })?;
    session.out.line(match arguments.format {
        Format::Json => json!({
            "sequence": copied.sequence,
            "files": copied.files,
            "linked": copied.linked,
            "copied_bytes": copied.copied_bytes,
        })
        .to_string(),
        Format::Table => format!(
            "{} holds {} as of commit {}: {}, {} of them linked, {} copied",
            plain(&dest.to_string_lossy()),
            plain(&path.to_string_lossy()),
            copied.sequence,
            counted(copied.files, "file"),
            copied.linked,
            bytes(copied.copied_bytes),
        ),
    })
}

/// Saves what is whole into a new database.
///
/// # Errors
/// When anything is lost, or the new database cannot be written, or the user stops it.
pub(crate) fn repair(session: &mut Session, arguments: &Repair) -> Result<(), Failure> {
    session.forget(&arguments.database);
    let (path, dest) = (&arguments.database, &arguments.dest);
    expect_database(path)?;
    let shown = ("saving", Activity::bytes_read as Count);
    let saved = into_new(path, dest, shown, "nothing was saved", |activity| {
        bitkin::repair_with(path, dest, activity)
    })?;
    for lost in &saved.lost {
        session
            .out
            .line(problem_line(arguments.format, lost, "lost"))?;
    }
    for (name, rows) in &saved.collections {
        session.out.line(match arguments.format {
            Format::Json => json!({"collection": name, "rows": rows}).to_string(),
            Format::Table => format!("{name}: {} saved", counted(*rows, "row")),
        })?;
    }
    if arguments.format == Format::Json {
        let summary = json!({
            "complete": saved.is_complete(),
            "losses": saved.lost.len(),
            "rows": saved.rows(),
        });
        session.out.line(summary.to_string())?;
    }
    if saved.is_complete() {
        return Ok(());
    }
    session.out.flush()?;
    let lines = counted(saved.lost.len() as u64, "line");
    Err(Failure::new(format!(
        "{} holds what was whole of {}; {lines} above say what is lost or in doubt",
        dest.display(),
        path.display()
    )))
}

/// Bytes of all files below a directory, about: they may change meanwhile.
pub(super) fn size_of(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => size_of(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    };
    entries.map(size).sum()
}

/// Takes a collection away.
///
/// # Errors
/// When there is none of that name, or writing fails.
pub(crate) fn drop(session: &mut Session, arguments: &Drop) -> Result<(), Failure> {
    let name = &arguments.name;
    let database = session.open_to_write(&arguments.database)?;
    let rows = collection(&database, name)?.len().map_err(failure)?;
    busy("dropping", || {
        database.drop_collection(name)?;
        // So that its files go now, and not some time.
        database.flush()
    })
    .map_err(failure)?;
    close(database)?;
    report(
        session,
        arguments.format,
        json!({"dropped": name, "rows": rows}),
        &format!("{name} dropped, with {}", counted(rows, "row")),
    )
}
