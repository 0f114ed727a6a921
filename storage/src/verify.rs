//! Reading everything, to say what is damaged.

use std::fmt;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use crate::batch::CollectionId;
use crate::deleted;
use crate::disk::{Disk, OsDisk};
use crate::error::Error;
use crate::files;
use crate::log;
use crate::manifest::{self, Manifest};
use crate::order::{Column, in_order};
use crate::recover::{apply, base_state, read_manifest};
use crate::segment::{self, Segment};
use crate::snapshot::Part;
use crate::state::{CollectionState, State};

/// Segments up to this many bytes are read into memory: a disk that fails to read then gives an error,
/// where with a map it ends the process.
const READ_AT_MOST: u64 = 1 << 30;

/// Tries to read a log whose last record is being written meanwhile.
const ATTEMPTS: usize = 4;

/// What [`verify`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifyReport {
    /// What is wrong; empty for a whole database.
    pub problems: Vec<Problem>,
    /// Files that were read.
    pub files: u64,
    /// Bytes that were read and checked.
    pub bytes: u64,
    /// Rows that were read and checked, those of the log included, deleted ones not.
    pub rows: u64,
    /// Bytes at the end of the log that make up no whole batch: what a writer that was killed left
    /// unfinished, or what one is writing just now. They are no problem.
    pub unfinished_bytes: u64,
}

impl VerifyReport {
    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }

    fn problem(&mut self, file: &str, offset: Option<u64>, what: impl Into<String>) {
        self.problems.push(Problem {
            file: file.to_owned(),
            offset,
            what: what.into(),
        });
    }

    /// Takes an error that a file is to blame for as a problem of that file.
    fn blame(&mut self, error: Error) -> Result<(), Error> {
        match error {
            Error::Corrupt { file, offset, what } => self.problem(&file, Some(offset), what),
            Error::MissingFile { ref file } => {
                let file = file.clone();
                self.problem(&file, None, "it is missing, and the manifest lists it");
            }
            Error::UnsupportedVersion { ref file, .. }
            | Error::UnsupportedFeature { ref file, .. } => {
                self.problem(&file.clone(), None, error.to_string());
            }
            error => return Err(error),
        }
        Ok(())
    }
}

/// Something that is wrong in the files of a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file, relative to the database directory.
    pub file: String,
    /// Where in the file it shows, in bytes from its start; `None` if it concerns all of it.
    pub offset: Option<u64>,
    /// What is wrong, in words.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(at) = self.offset {
            write!(f, ", byte {at}")?;
        }
        write!(f, ": {}", self.what)
    }
}

/// Reads every file of the database in `dir`, and checks every checksum and every reference from one
/// file to another. Takes no lock, changes nothing, and may run while the database is written.
///
/// Files that a crash left and that the manifest does not list are no problem: the next opening for
/// writing removes them. Neither is the unfinished end of the log of a writer that was killed.
///
/// # Errors
/// [`Error::NotADatabase`], and [`Error::Io`] where a file cannot be read at all. What is damaged or
/// missing stands in the report.
pub fn verify(dir: &Path) -> Result<VerifyReport, Error> {
    verify_on(&OsDisk::new(dir))
}

/// As [`verify`], on any disk.
pub fn verify_on(disk: &dyn Disk) -> Result<VerifyReport, Error> {
    loop {
        let mut report = VerifyReport::default();
        let manifest = match read_manifest(disk) {
            Ok(manifest) => manifest,
            Err(error) => {
                report.blame(error)?;
                check_files(disk, &mut report)?;
                return Ok(report);
            }
        };
        report.files += 1;
        report.bytes += manifest.encoded_bytes();
        let missing = check_rows(disk, &manifest, &mut report)?;
        if missing && read_manifest(disk)?.edition != manifest.edition {
            // A writer put other files in the place of those that are gone.
            continue;
        }
        check_files(disk, &mut report)?;
        return Ok(report);
    }
}

/// Checks segments and logs. Says whether a file was missing.
fn check_rows(
    disk: &dyn Disk,
    manifest: &Manifest,
    report: &mut VerifyReport,
) -> Result<bool, Error> {
    let mut state = base_state(manifest);
    let (mut missing, mut whole) = (false, true);
    for record in &manifest.segments {
        let Some(collection) = state.by_number_mut(record.collection) else {
            continue;
        };
        let map = record.length > READ_AT_MOST;
        let opened = Segment::open(disk, record, collection.info.bits, map)
            .and_then(|segment| Ok((segment, deleted::read(disk, record)?)));
        match opened {
            Ok((segment, deleted)) => {
                report.files += 1 + u64::from(deleted.is_some());
                report.bytes += segment.file_bytes();
                report.bytes += record.deletes.map_or(0, |deletes| deletes.length);
                // A damaged segment takes no part in the search for ids that stand twice.
                if check_segment(&segment, collection.info.id, report) {
                    collection.add_segment(Arc::new(segment), deleted);
                } else {
                    whole = false;
                }
            }
            Err(error) => {
                whole = false;
                missing |= error.is_missing();
                report.blame(error)?;
            }
        }
    }
    for log in &manifest.logs {
        let mut attempt = 0;
        let tail = loop {
            attempt += 1;
            // `State` is cheap to clone, and a failed replay must not leave half of a log in it.
            let mut next = state.clone();
            let replayed = log::replay(disk, log, None, |sequence, operations| {
                let name = log::file_name(log.number);
                apply(&mut next, whole, &name, sequence, operations)
            });
            match replayed {
                Ok(tail) => {
                    state = next;
                    break Ok(tail);
                }
                // A record that is being written while it is read is whole the next time.
                Err(Error::Corrupt { .. }) if log.seal.is_none() && attempt < ATTEMPTS => {}
                Err(error) => break Err(error),
            }
        };
        match tail {
            Ok(tail) => {
                report.files += 1;
                report.bytes += tail.cursor.seal().length;
                report.unfinished_bytes += tail.torn_bytes;
            }
            Err(error) => {
                missing |= error.is_missing();
                report.blame(error)?;
                // What follows does not join on to the state, so nothing can be said of it.
                break;
            }
        }
    }
    check_names(&state, report);
    for collection in &state.collections {
        check_ids(collection, report);
    }
    Ok(missing)
}

/// Checks all of a segment. Says whether it is whole.
fn check_segment(segment: &Segment, collection: CollectionId, report: &mut VerifyReport) -> bool {
    let before = report.problems.len();
    segment.check_all(|offset| {
        let what = "the checksum of the block that starts there does not hold";
        report.problem(segment.name(), Some(offset), what);
    });
    if report.problems.len() == before
        && let Err(what) = check_contents(segment, collection)
    {
        report.problem(segment.name(), None, what);
    }
    report.problems.len() == before
}

/// Checks what the bytes of a segment mean, once their checksums hold.
fn check_contents(segment: &Segment, collection: CollectionId) -> Result<(), String> {
    let words = |error: Error| error.to_string();
    let ids = segment.ids().map_err(words)?;
    if !ids.is_sorted_by(|a, b| a < b) {
        return Err("its ids do not ascend".to_owned());
    }
    if ids.first() != Some(segment.id_range().start())
        || ids.last() != Some(segment.id_range().end())
    {
        return Err("its smallest or largest id is not the one in its header".to_owned());
    }
    let codes = segment.codes().map_err(words)?;
    if let Some(row) = collection.first_padded(codes) {
        return Err(format!(
            "the code of row {row} sets bits beyond its {} bits",
            collection.bits
        ));
    }
    for row in 0..segment.rows() {
        segment.payload(row).map_err(words)?;
    }
    segment.collection().map_err(words)?;
    // Without a filter, ids that ascend are found.
    if segment.has_filter() {
        for &id in ids {
            if segment.find(id).map_err(words)?.is_none() {
                return Err(format!("its filter of ids does not know id {id}"));
            }
        }
    }
    Ok(())
}

fn check_names(state: &State, report: &mut VerifyReport) {
    let mut names: Vec<&str> = state
        .collections
        .iter()
        .map(|c| c.info.name.as_str())
        .collect();
    names.sort_unstable();
    for pair in names.windows(2).filter(|pair| pair[0] == pair[1]) {
        report.problem(
            manifest::FILE,
            None,
            format!("two collections are named {:?}", pair[0]),
        );
    }
}

/// Checks that no id stands in two parts, by going through all of them in the order of the ids.
fn check_ids(collection: &CollectionState, report: &mut VerifyReport) {
    // Only whole parts are here, so their ids can be read.
    let parts = &collection.parts;
    let columns: Vec<Column<'_>> = parts.iter().filter_map(|p| p.column().ok()).collect();
    let mut last: Option<(u64, usize)> = None;
    let _ = in_order(&columns, |part, rows| {
        report.rows += rows.len() as u64;
        for &id in &columns[part].ids[rows] {
            if let Some((before, other)) = last
                && before == id
            {
                let what = format!(
                    "id {id} of collection {:?} stands in {} too",
                    collection.info.name,
                    name_of(&parts[other]),
                );
                report.problem(&name_of(&parts[part]), None, what);
            }
            last = Some((id, part));
        }
        ControlFlow::<()>::Continue(())
    });
}

fn name_of(part: &Part) -> String {
    match part.as_segment() {
        Some(segment) => segment.name().to_owned(),
        None => log::DIRECTORY.to_owned(),
    }
}

/// Checks the files that are stored under their digests.
fn check_files(disk: &dyn Disk, report: &mut VerifyReport) -> Result<(), Error> {
    for name in files::stored(disk)? {
        match files::read(disk, &name) {
            Ok(bytes) => {
                report.files += 1;
                report.bytes += bytes.len() as u64;
            }
            Err(error) => report.blame(error)?,
        }
    }
    for name in [log::DIRECTORY, segment::DIRECTORY] {
        if let Err(error) = disk.list(name) {
            report.problem(name, None, format!("the directory cannot be read: {error}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Storage;
    use crate::log::{LogWriter, Record};
    use crate::manifest::LogRecord;
    use crate::run::{Payloads, Run};

    /// A database with one collection of 8 bits, and a log of records that no writer writes.
    fn with_log(records: Vec<Record>) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let disk = OsDisk::new(dir.path());
        for name in [log::DIRECTORY, segment::DIRECTORY] {
            disk.create_dir(name).unwrap();
        }
        let mut writer = LogWriter::create(&disk, 1, 1).unwrap();
        let create = Record::new(1, 0, |body| body.create_collection(1, 8, "c", b""));
        writer.append(vec![create]).unwrap();
        writer.append(records).unwrap();
        writer.end().unwrap();
        let manifest = Manifest {
            next_log: 2,
            next_collection: 1,
            logs: vec![LogRecord {
                seal: Some(writer.seal()),
                ..writer.record()
            }],
            ..Manifest::default()
        };
        manifest.store(&disk).unwrap();
        dir
    }

    fn insert(sequence: u64) -> Record {
        let run = Run {
            ids: vec![5, 6],
            codes: vec![0; 2],
            code_bytes: 1,
            payloads: Payloads::default(),
            sequences: sequence..=sequence,
            generation: 0,
        };
        Record::new(sequence, 0, |body| body.insert(1, &run))
    }

    #[test]
    fn an_id_that_stands_twice_is_found_and_hangs_nothing() {
        let dir = with_log(vec![insert(2), insert(3)]);
        let report = verify(dir.path()).unwrap();
        let problems: Vec<&str> = report.problems.iter().map(|p| p.what.as_str()).collect();
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(
            problems[0].contains("id 5 of collection \"c\""),
            "{problems:?}"
        );
        Storage::open_read_only(dir.path()).unwrap();
    }

    #[test]
    fn the_deletion_of_a_row_that_is_not_there_is_damage() {
        for ids in [&[5, 7][..], &[7], &[5, 6]] {
            let delete = Record::new(3, 0, |body| body.delete(1, ids));
            let dir = with_log(vec![insert(2), delete]);
            let opened = Storage::open_read_only(dir.path());
            let report = verify(dir.path()).unwrap();
            if ids == [5, 6] {
                assert_eq!(opened.unwrap().stats().rows, 0);
                assert!(report.is_clean(), "{report:?}");
            } else {
                assert!(matches!(opened, Err(Error::Corrupt { .. })), "{opened:?}");
                let what = &report.problems[0].what;
                assert!(what.contains("rows that are not there"), "{what}");
            }
        }
    }

    #[test]
    fn commits_that_do_not_follow_each_other_are_damage() {
        for sequence in [1, 3] {
            let dir = with_log(vec![insert(sequence)]);
            let opened = Storage::open_read_only(dir.path());
            assert!(matches!(opened, Err(Error::Corrupt { .. })), "{opened:?}");
        }
    }
}
