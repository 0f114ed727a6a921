//! `bitkin compact`, `backup`, `repair` and `drop`: what keeps a database in order.

use super::{collection, expect_database, failure, problem_line};
use crate::error::Failure;
use crate::grammar::{Backup, Compact, Drop, Format, Repair};
use crate::output::{bytes, counted, say};
use crate::session::Session;
use serde_json::json;

/// Writes segments anew, without the rows that are deleted.
///
/// # Errors
/// When there is no such collection, or writing fails: everything is as before then.
pub(crate) fn compact(session: &mut Session, arguments: &Compact) -> Result<(), Failure> {
    let database = session.open_to_write(&arguments.database)?;
    let before = database.stats().map_err(failure)?.segment_bytes;
    match &arguments.name {
        Some(name) => collection(&database, name)?.compact(),
        None => database.compact(),
    }
    .map_err(failure)?;
    let after = database.stats().map_err(failure)?.segment_bytes;
    database.close().map_err(failure)?;
    let what = arguments.name.as_deref().unwrap_or("all collections");
    say(format!(
        "{what} compacted: {} of segments before, {} now",
        bytes(before),
        bytes(after)
    ));
    Ok(())
}

/// Copies a database.
///
/// # Errors
/// When it cannot be read, or the copy cannot be written: there is none then.
pub(crate) fn backup(session: &mut Session, arguments: &Backup) -> Result<(), Failure> {
    expect_database(&arguments.database)?;
    let report = bitkin::backup(&arguments.database, &arguments.dest).map_err(failure)?;
    session.out.line(match arguments.format {
        Format::Json => json!({
            "sequence": report.sequence,
            "files": report.files,
            "linked": report.linked,
            "copied_bytes": report.copied_bytes,
        })
        .to_string(),
        Format::Table => format!(
            "{} holds {} as of commit {}: {}, {} of them linked, {} copied",
            arguments.dest.display(),
            arguments.database.display(),
            report.sequence,
            counted(report.files, "file"),
            report.linked,
            bytes(report.copied_bytes),
        ),
    })
}

/// Saves what is whole into a new database.
///
/// # Errors
/// When anything is lost, or the new database cannot be written.
pub(crate) fn repair(session: &mut Session, arguments: &Repair) -> Result<(), Failure> {
    expect_database(&arguments.database)?;
    let report = bitkin::repair(&arguments.database, &arguments.dest).map_err(failure)?;
    for lost in &report.lost {
        session
            .out
            .line(problem_line(arguments.format, lost, "lost"))?;
    }
    for (name, rows) in &report.collections {
        session.out.line(match arguments.format {
            Format::Json => json!({"collection": name, "rows": rows}).to_string(),
            Format::Table => format!("{name}: {} saved", counted(*rows, "row")),
        })?;
    }
    if report.is_complete() {
        return Ok(());
    }
    session.out.flush()?;
    let lines = counted(report.lost.len() as u64, "line");
    Err(Failure::new(format!(
        "{} holds what was whole of {}; {lines} above say what is lost or in doubt",
        arguments.dest.display(),
        arguments.database.display()
    )))
}

/// Takes a collection away.
///
/// # Errors
/// When there is none of that name, or writing fails.
pub(crate) fn drop(session: &mut Session, arguments: &Drop) -> Result<(), Failure> {
    let database = session.open_to_write(&arguments.database)?;
    let rows = collection(&database, &arguments.name)?
        .len()
        .map_err(failure)?;
    database.drop_collection(&arguments.name).map_err(failure)?;
    // So that its files go now, and not some time.
    database.flush().map_err(failure)?;
    database.close().map_err(failure)?;
    say(format!(
        "{} dropped, with {}",
        arguments.name,
        counted(rows, "row")
    ));
    Ok(())
}
