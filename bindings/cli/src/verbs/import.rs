//! `bitkin import`.

use super::{check_file, collection, failure, open_to_write, outside};
use crate::error::Failure;
use crate::grammar::Import;
use crate::interrupt;
use crate::output::{counted, grouped};
use crate::progress::{Progress, lasting};
use bitkin::Collection;
use bitkin::npy::{CodesReader, IdsReader};
use std::path::Path;

/// Bytes of codes and ids in one commit, about.
const COMMIT: usize = 4 << 20;

/// Inserts the codes of a `.npy` file.
///
/// # Errors
/// When a file cannot be used or an id is taken: nothing is then inserted. A failure to write in
/// the middle says how many rows are in.
pub(crate) fn run(arguments: &Import) -> Result<(), Failure> {
    let file = &arguments.file;
    let mut codes = CodesReader::open(file).map_err(outside)?;
    let (rows, width) = (codes.rows(), codes.row_bytes());
    let database = open_to_write(&arguments.database)?;
    let collection = collection(&database, &arguments.name)?;
    interrupt::watch();
    check_file(file, collection.bits())?;
    let ids = match &arguments.ids {
        Some(file) => Some(read_ids(file, rows, &collection)?),
        None => None,
    };

    let progress = Progress::new("importing", "codes", Some(rows));
    let mut done = 0;
    while done < rows {
        interrupt::check(|| {
            format!(
                "stopped; {} of {} rows are in, and stay",
                grouped(done),
                grouped(rows)
            )
        })?;
        let chunk = codes.read((COMMIT / (width + 8)).max(1)).map_err(outside)?;
        let count = (chunk.len() / width) as u64;
        if count == 0 {
            return Err(Failure::new(format!(
                "{} became shorter while it was read",
                file.display()
            )));
        }
        let inserted = match &ids {
            // The ids are all in memory, so their number is one of this machine's.
            Some(ids) => collection.insert(&ids[done as usize..(done + count) as usize], &chunk),
            None => collection.append(&chunk).map(drop),
        };
        inserted.map_err(|e| match done {
            0 => failure(e),
            _ => Failure::new(format!(
                "{e} ({} were inserted before that, and stay)",
                counted(done, "row")
            )),
        })?;
        done += count;
        progress.set(done);
    }
    database.close().map_err(failure)?;
    let time = lasting(progress.elapsed());
    progress.finish(format!("{} inserted in {time}", counted(done, "row")));
    Ok(())
}

/// Reads ids and checks them all before the first row goes in, so that a bad file changes
/// nothing.
fn read_ids(file: &Path, rows: u64, collection: &Collection) -> Result<Vec<u64>, Failure> {
    let mut reader = IdsReader::open(file).map_err(outside)?;
    if reader.rows() != rows {
        return Err(Failure::new(format!(
            "{} has {} for {}",
            file.display(),
            counted(reader.rows(), "id"),
            counted(rows, "code")
        )));
    }
    // The reader has checked that the file is as long as this.
    let ids = reader
        .read(rows.try_into().unwrap_or(usize::MAX))
        .map_err(outside)?;
    let file = file.display();
    if ids.contains(&u64::MAX) {
        return Err(Failure::new(format!(
            "{file} has the id {}, which is reserved",
            u64::MAX
        )));
    }
    let mut sorted = ids.clone();
    sorted.sort_unstable();
    if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(Failure::new(format!("{file} has the id {} twice", pair[0])));
    }
    let snapshot = collection.snapshot().map_err(failure)?;
    if !snapshot.is_empty() {
        for id in sorted {
            if snapshot.get(id).map_err(failure)?.is_some() {
                return Err(Failure::new(format!(
                    "the id {id} of {file} is already in collection {:?}; nothing was inserted",
                    collection.name()
                )));
            }
        }
    }
    Ok(ids)
}
