//! `bitkin import` and `bitkin upsert`.

use super::rows::{Chunk, Rows};
use super::{close, collection, failure, report};
use crate::error::Failure;
use crate::grammar::{Import, RowFiles, Upsert};
use crate::interrupt;
use crate::output::{counted, grouped, typed};
use crate::progress::{Progress, lasting};
use crate::session::Session;
use bitkin::Error;
use serde_json::json;
use std::ops::Range;
use std::time::Duration;

/// Inserts the rows of a file.
///
/// # Errors
/// When a file cannot be used or an id is taken: nothing is then inserted. A failure to write in
/// the middle says how many rows are in.
pub(crate) fn run(session: &mut Session, arguments: &Import) -> Result<(), Failure> {
    let database = session.open_to_write(&arguments.database)?;
    let collection = collection(&database, &arguments.name)?;
    let rows = Rows::open(&arguments.rows, &collection, true)?;
    let has_ids = rows.has_ids;
    let mut assigned: Option<Range<u64>> = None;
    let outcome = write("importing", &arguments.rows, rows, |chunk| {
        let payloads: Vec<Option<&str>> = chunk.payloads.iter().map(Option::as_deref).collect();
        let ids = chunk.ids.as_deref();
        match ids {
            _ if !payloads.is_empty() => {
                let ids = collection.insert_with_payloads(ids, &chunk.codes, &payloads)?;
                if let (false, Some(first), Some(last)) = (has_ids, ids.first(), ids.last()) {
                    extend(&mut assigned, *first..last + 1);
                }
                Ok(())
            }
            Some(ids) => collection.insert(ids, &chunk.codes),
            None => {
                extend(&mut assigned, collection.append(&chunk.codes)?);
                Ok(())
            }
        }
    });
    let written = outcome.map_err(|stopped| match (&assigned, stopped.done) {
        (_, 0) => stopped.failure,
        // Imported again, they would be there twice.
        (Some(ids), _) => stopped.failure.advise(format!(
            "bitkin delete {} {} --ids {}-{} takes them out again",
            typed(arguments.database.as_os_str()),
            typed(arguments.name.as_ref()),
            ids.start,
            ids.end - 1
        )),
        (None, _) => stopped
            .failure
            .advise("bitkin upsert with the same file brings in the rest"),
    })?;
    close(database)?;
    let (count, time) = (written.count, written.time);
    report(
        session,
        arguments.format,
        json!({
            "inserted": count,
            "seconds": time.as_secs_f64(),
            "first_id": assigned.as_ref().map(|ids| ids.start),
        }),
        &format!("{} inserted in {}", counted(count, "row"), lasting(time)),
    )
}

fn extend(assigned: &mut Option<Range<u64>>, ids: Range<u64>) {
    *assigned = match assigned.take() {
        Some(so_far) => Some(so_far.start..ids.end),
        None => Some(ids),
    };
}

/// Inserts the rows of a file in place of those that have their ids.
///
/// # Errors
/// When a file cannot be used: nothing is then changed. A failure to write in the middle says
/// how many rows are in.
pub(crate) fn upsert(session: &mut Session, arguments: &Upsert) -> Result<(), Failure> {
    let database = session.open_to_write(&arguments.database)?;
    let collection = collection(&database, &arguments.name)?;
    let rows = Rows::open(&arguments.rows, &collection, false)?;
    if !rows.has_ids && rows.count > 0 {
        return Err(Failure::usage(format!(
            "the rows of {} have no ids, so none can be replaced",
            arguments.rows.file.display()
        ))
        .advise(
            "name them by --ids FILE.npy or by \"id\" in each line; bitkin import assigns ids",
        ));
    }
    let mut replaced = 0;
    let outcome = write("upserting", &arguments.rows, rows, |chunk| {
        let payloads: Vec<Option<&str>> = chunk.payloads.iter().map(Option::as_deref).collect();
        let ids = chunk.ids.as_deref().unwrap_or_default();
        replaced += collection.upsert_with_payloads(ids, &chunk.codes, &payloads)?;
        Ok(())
    });
    let written = outcome.map_err(|stopped| match stopped.done {
        0 => stopped.failure,
        _ => stopped
            .failure
            .advise("the same command brings in the rest"),
    })?;
    close(database)?;
    let time = written.time;
    let inserted = written.count.saturating_sub(replaced);
    report(
        session,
        arguments.format,
        json!({"inserted": inserted, "replaced": replaced, "seconds": time.as_secs_f64()}),
        &format!(
            "{} inserted and {} replaced in {}",
            counted(inserted, "row"),
            grouped(replaced),
            lasting(time)
        ),
    )
}

/// What was written.
struct Written {
    count: u64,
    time: Duration,
}

/// Writing that ended early.
struct Stopped {
    failure: Failure,
    /// Rows that were committed before.
    done: u64,
}

/// Writes all rows, some at a time.
fn write(
    verb: &'static str,
    files: &RowFiles,
    mut rows: Rows,
    mut commit: impl FnMut(&Chunk) -> Result<(), Error>,
) -> Result<Written, Stopped> {
    let count = rows.count;
    let progress = Progress::new(verb, "rows", Some(count));
    let mut done = 0;
    while done < count {
        let mut step = || -> Result<u64, Failure> {
            interrupt::check(|| match done {
                0 => "stopped; nothing was written".to_owned(),
                _ => format!(
                    "stopped; {} of {} rows are in, and stay",
                    grouped(done),
                    grouped(count)
                ),
            })?;
            let chunk = rows.next()?;
            let end = done + chunk.rows;
            if chunk.rows == 0 || end > count || chunk.ids.is_some() != rows.has_ids {
                return Err(Failure::new(format!(
                    "{} changed while it was read",
                    files.file.display()
                )));
            }
            commit(&chunk).map_err(|e| match done {
                0 => failure(e),
                _ => Failure::new(format!(
                    "{e} ({} were written before that, and stay)",
                    counted(done, "row")
                )),
            })?;
            Ok(end)
        };
        done = step().map_err(|failure| Stopped { failure, done })?;
        progress.set(done);
    }
    Ok(Written {
        count,
        time: progress.elapsed(),
    })
}
