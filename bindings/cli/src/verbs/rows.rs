//! Rows from files, for `import` and `upsert`: `.npy` files of codes and ids, and JSON lines.

use super::{check_file, failure, outside};
use crate::error::Failure;
use crate::grammar::RowFiles;
use crate::output::counted;
use bitkin::jsonl::{JsonlError, JsonlReader, JsonlReason};
use bitkin::npy::{CodesReader, IdsReader};
use bitkin::{Collection, RESERVED_ID};
use std::path::Path;

/// Bytes of codes and ids in one commit, about.
const COMMIT: usize = 4 << 20;

/// Rows of JSON in one commit.
const LINES: usize = 10_000;

/// Files with rows, all of which were checked.
pub(crate) struct Rows {
    reader: Reader,
    /// All ids, if there are any.
    pub(crate) ids: Option<Vec<u64>>,
    /// Number of rows.
    pub(crate) count: u64,
}

enum Reader {
    Npy(CodesReader),
    Jsonl(JsonlReader),
}

/// Some of the rows.
pub(crate) struct Chunk {
    /// Row-major.
    pub(crate) codes: Vec<u8>,
    /// JSON, one a row; empty if no row has any.
    pub(crate) payloads: Vec<Option<String>>,
    /// Number of rows.
    pub(crate) rows: u64,
}

impl Rows {
    /// Opens the files and checks every row, so that a bad one is told before the first is
    /// written.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(crate) fn open(files: &RowFiles, collection: &Collection) -> Result<Rows, Failure> {
        let file = &files.file;
        let bits = collection.bits();
        if is_jsonl(file) {
            if files.ids.is_some() {
                return Err(Failure::usage("--ids goes with a .npy file of codes")
                    .advise("in JSON lines, each line has its \"id\""));
            }
            // Read twice: a pipe would be empty the second time.
            if std::fs::metadata(file).is_ok_and(|metadata| !metadata.is_file()) {
                return Err(
                    Failure::new(format!("{} is not a regular file", file.display()))
                        .advise("write the lines to a file first"),
                );
            }
            let (ids, count) = check_lines(file, bits)?;
            if let Some(ids) = &ids {
                check_ids(file, ids)?;
            }
            return Ok(Rows {
                reader: Reader::Jsonl(JsonlReader::open(file, bits).map_err(line)?),
                ids,
                count,
            });
        }
        let codes = CodesReader::open(file).map_err(outside)?;
        check_file(file, bits)?;
        let ids = match &files.ids {
            Some(file) => Some(read_ids(file, codes.rows())?),
            None => None,
        };
        Ok(Rows {
            ids,
            count: codes.rows(),
            reader: Reader::Npy(codes),
        })
    }

    /// The next rows; none at the end.
    ///
    /// # Errors
    /// When a file cannot be read on.
    pub(crate) fn next(&mut self) -> Result<Chunk, Failure> {
        match &mut self.reader {
            Reader::Npy(reader) => {
                let width = reader.row_bytes();
                let codes = reader
                    .read((COMMIT / (width + 8)).max(1))
                    .map_err(outside)?;
                Ok(Chunk {
                    rows: (codes.len() / width) as u64,
                    codes,
                    payloads: Vec::new(),
                })
            }
            Reader::Jsonl(reader) => {
                let rows = reader.read(LINES).map_err(line)?;
                let some = rows.payloads.iter().any(Option::is_some);
                Ok(Chunk {
                    rows: rows.len() as u64,
                    codes: rows.codes,
                    payloads: if some { rows.payloads } else { Vec::new() },
                })
            }
        }
    }
}

/// Whether a file holds JSON lines, by its name.
fn is_jsonl(file: &Path) -> bool {
    let extension = file.extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|extension| {
        ["jsonl", "ndjson", "json"]
            .iter()
            .any(|known| extension.eq_ignore_ascii_case(known))
    })
}

fn line(error: JsonlError) -> Failure {
    let advice = match &error.reason {
        JsonlReason::NotJson(_) | JsonlReason::NotAnObject | JsonlReason::NoCode => {
            "a line is {\"id\": 7, \"code\": \"0f1e...\", \"payload\": {...}}, without line breaks"
        }
        JsonlReason::NotHexadecimal | JsonlReason::Width { .. } => {
            "a code is its bytes in the order they are stored, two hexadecimal digits each"
        }
        JsonlReason::PaddingBits(_) => "the unused high bits of the last byte must be zero",
        _ => return Failure::new(error.to_string()),
    };
    Failure::new(error.to_string()).advise(advice)
}

/// Reads every line. Returns the ids and the number of rows.
fn check_lines(file: &Path, bits: u32) -> Result<(Option<Vec<u64>>, u64), Failure> {
    let mut reader = JsonlReader::open(file, bits).map_err(line)?;
    let (mut ids, mut count) = (None, 0);
    loop {
        let rows = reader.read(LINES).map_err(line)?;
        if rows.is_empty() {
            return Ok((ids, count));
        }
        count += rows.len() as u64;
        if let Some(more) = rows.ids {
            ids.get_or_insert_with(Vec::new).extend(more);
        }
    }
}

/// Reads the ids of `rows` codes.
fn read_ids(file: &Path, rows: u64) -> Result<Vec<u64>, Failure> {
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
    check_ids(file, &ids)?;
    Ok(ids)
}

/// Refuses ids that cannot be, or are there twice.
fn check_ids(file: &Path, ids: &[u64]) -> Result<(), Failure> {
    let file = file.display();
    if ids.contains(&RESERVED_ID) {
        return Err(Failure::new(format!(
            "{file} has the id {RESERVED_ID}, which is reserved"
        )));
    }
    let mut sorted = ids.to_vec();
    sorted.sort_unstable();
    match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(Failure::new(format!("{file} has the id {} twice", pair[0]))),
        None => Ok(()),
    }
}

/// Refuses ids that the collection holds.
///
/// # Errors
/// When it holds one, or cannot be read.
pub(crate) fn expect_new(
    files: &RowFiles,
    ids: &[u64],
    collection: &Collection,
) -> Result<(), Failure> {
    let snapshot = collection.snapshot().map_err(failure)?;
    if snapshot.is_empty() {
        return Ok(());
    }
    let mut sorted = ids.to_vec();
    sorted.sort_unstable();
    for id in sorted {
        if snapshot.get(id).map_err(failure)?.is_some() {
            let file = files.ids.as_ref().unwrap_or(&files.file).display();
            return Err(Failure::new(format!(
                "the id {id} of {file} is already in collection {:?}; nothing was inserted",
                collection.name()
            ))
            .advise("bitkin upsert replaces rows that are there"));
        }
    }
    Ok(())
}
