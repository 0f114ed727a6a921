//! `bitkin verify`.

use super::problem_line;
use super::upkeep::size_of;
use crate::error::Failure;
use crate::grammar::{Format, Verify};
use crate::interrupt;
use crate::output::{bytes, counted, plain, typed};
use crate::progress::watched;
use crate::session::Session;
use bitkin::{Activity, Database};
use serde_json::json;

/// Reads everything and says what is wrong.
///
/// # Errors
/// When there is no database, or anything in it is wrong.
pub(crate) fn run(session: &mut Session, arguments: &Verify) -> Result<(), Failure> {
    let path = &arguments.database;
    super::expect_database(path)?;
    // A database that can be opened has its models checked too; one that cannot is what this
    // verb is for.
    interrupt::watch();
    let activity = Activity::new();
    let report = watched(
        "checking",
        Some(size_of(path)),
        &activity,
        Activity::bytes_read,
        || match Database::open_read_only(path) {
            Ok(database) => database.verify_with(&activity),
            Err(_) => bitkin::verify_with(path, &activity),
        },
    );
    if report.is_err() {
        interrupt::check(|| "stopped; nothing was changed".to_owned())?;
    }
    let report = report.map_err(|error| super::cannot_open(path, error))?;
    for problem in &report.problems {
        session
            .out
            .line(problem_line(arguments.format, problem, "problem"))?;
    }
    let read = format!(
        "{}, {} and {} checked",
        counted(report.files, "file"),
        bytes(report.bytes),
        counted(report.rows, "row")
    );
    if arguments.format == Format::Json {
        let summary = json!({
            "whole": report.is_clean(),
            "problems": report.problems.len(),
            "files": report.files,
            "bytes": report.bytes,
            "rows": report.rows,
            "unfinished_bytes": report.unfinished_bytes,
        });
        session.out.line(summary.to_string())?;
    }
    if !report.is_clean() {
        session.out.flush()?;
        let count = counted(report.problems.len() as u64, "problem");
        return Err(
            Failure::new(format!("{}: {count}; {read}", path.display())).advise(format!(
                "keep a copy of the directory; bitkin repair {} NEW saves what is whole",
                typed(path.as_os_str())
            )),
        );
    }
    if arguments.format == Format::Table {
        session
            .out
            .line(plain(&format!("{} is whole: {read}", path.display())))?;
        if report.unfinished_bytes > 0 {
            session.out.line(format!(
                "{} of a batch that was never finished lie at the end of the log; they are ignored",
                bytes(report.unfinished_bytes)
            ))?;
        }
    }
    Ok(())
}
