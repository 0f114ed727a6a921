//! `bitkin import` and `bitkin upsert`.

use super::rows::{Chunk, Rows, expect_new};
use super::{collection, failure};
use crate::error::Failure;
use crate::grammar::{Import, RowFiles, Upsert};
use crate::interrupt;
use crate::output::{counted, grouped};
use crate::progress::{Progress, lasting};
use crate::session::{Handle, Session};
use bitkin::{Collection, Error};

/// Inserts the rows of a file.
///
/// # Errors
/// When a file cannot be used or an id is taken: nothing is then inserted. A failure to write in
/// the middle says how many rows are in.
pub(crate) fn run(session: &mut Session, arguments: &Import) -> Result<(), Failure> {
    let (database, collection, rows) = open(
        session,
        &arguments.database,
        &arguments.name,
        &arguments.rows,
    )?;
    if let Some(ids) = &rows.ids {
        expect_new(&arguments.rows, ids, &collection)?;
    }
    let (count, progress) = write("importing", &arguments.rows, rows, |ids, chunk| {
        let payloads: Vec<Option<&str>> = chunk.payloads.iter().map(Option::as_deref).collect();
        match ids {
            _ if !payloads.is_empty() => collection
                .insert_with_payloads(ids, &chunk.codes, &payloads)
                .map(drop),
            Some(ids) => collection.insert(ids, &chunk.codes),
            None => collection.append(&chunk.codes).map(drop),
        }
    })?;
    database.close().map_err(failure)?;
    let time = lasting(progress.elapsed());
    progress.finish(format!("{} inserted in {time}", counted(count, "row")));
    Ok(())
}

/// Inserts the rows of a file in place of those that have their ids.
///
/// # Errors
/// When a file cannot be used: nothing is then changed. A failure to write in the middle says
/// how many rows are in.
pub(crate) fn upsert(session: &mut Session, arguments: &Upsert) -> Result<(), Failure> {
    let (database, collection, rows) = open(
        session,
        &arguments.database,
        &arguments.name,
        &arguments.rows,
    )?;
    if rows.ids.is_none() && rows.count > 0 {
        return Err(Failure::usage(format!(
            "the rows of {} have no ids, so none can be replaced",
            arguments.rows.file.display()
        ))
        .advise(
            "name them by --ids FILE.npy or by \"id\" in each line; bitkin import assigns ids",
        ));
    }
    let mut replaced = 0;
    let (count, progress) = write("upserting", &arguments.rows, rows, |ids, chunk| {
        let payloads: Vec<Option<&str>> = chunk.payloads.iter().map(Option::as_deref).collect();
        let ids = ids.unwrap_or_default();
        replaced += collection.upsert_with_payloads(ids, &chunk.codes, &payloads)?;
        Ok(())
    })?;
    database.close().map_err(failure)?;
    let time = lasting(progress.elapsed());
    let inserted = counted(count.saturating_sub(replaced), "row");
    progress.finish(format!(
        "{inserted} inserted and {} replaced in {time}",
        grouped(replaced)
    ));
    Ok(())
}

/// Opens the database and the files, and checks the files.
fn open(
    session: &mut Session,
    database: &std::path::Path,
    name: &str,
    files: &RowFiles,
) -> Result<(Handle, Collection, Rows), Failure> {
    let database = session.open_to_write(database)?;
    let collection = collection(&database, name)?;
    interrupt::watch();
    let rows = Rows::open(files, &collection)?;
    Ok((database, collection, rows))
}

/// Writes all rows, some at a time. Returns how many, and the clock.
fn write(
    verb: &'static str,
    files: &RowFiles,
    mut rows: Rows,
    mut commit: impl FnMut(Option<&[u64]>, &Chunk) -> Result<(), Error>,
) -> Result<(u64, Progress), Failure> {
    let count = rows.count;
    let progress = Progress::new(verb, "codes", Some(count));
    let mut done = 0;
    while done < count {
        interrupt::check(|| {
            format!(
                "stopped; {} of {} rows are in, and stay",
                grouped(done),
                grouped(count)
            )
        })?;
        let chunk = rows.next()?;
        let end = done + chunk.rows;
        let ids = match &rows.ids {
            // The ids are all in memory, so their number is one of this machine's.
            Some(ids) => ids.get(done as usize..end as usize),
            None => None,
        };
        if chunk.rows == 0 || end > count || ids.is_none() && rows.ids.is_some() {
            return Err(Failure::new(format!(
                "{} changed while it was read",
                files.file.display()
            )));
        }
        commit(ids, &chunk).map_err(|e| match done {
            0 => failure(e),
            _ => Failure::new(format!(
                "{e} ({} were written before that, and stay)",
                counted(done, "row")
            )),
        })?;
        done = end;
        progress.set(done);
    }
    Ok((done, progress))
}
