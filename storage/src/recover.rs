//! From the files on disk to the state in memory.

use std::collections::HashMap;
use std::sync::Arc;

use crate::batch::{CollectionId, CollectionInfo};
use crate::deleted;
use crate::disk::Disk;
use crate::error::Error;
use crate::log::{self, Cursor, Operation};
use crate::manifest::{self, Manifest};
use crate::segment::{self, Segment};
use crate::state::State;
use crate::writer::FlushedDeletes;

/// Tries of a reader that meets a log record half written.
const ATTEMPTS: usize = 4;

/// Tries of a reader that meets other errors while the writer moves on.
const MANY_ATTEMPTS: usize = 100;

/// A database as the manifest and the logs describe it.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) manifest: Manifest,
    pub(crate) state: State,
    /// Behind the last record of each log, in the order of the manifest.
    pub(crate) cursors: Vec<Cursor>,
    /// What the manifest says is deleted, before the logs.
    pub(crate) flushed_deletes: FlushedDeletes,
}

/// Opens what `manifest` names. Segments that `open` holds already are taken from there.
pub(crate) fn load(
    disk: &dyn Disk,
    manifest: Manifest,
    map: bool,
    open: Option<&State>,
) -> Result<Loaded, Error> {
    let mut state = base_state(&manifest);
    let open: HashMap<u64, &Arc<Segment>> = open
        .into_iter()
        .flat_map(State::segments)
        .map(|s| (s.number(), s))
        .collect();
    for record in &manifest.segments {
        let Some(collection) = state.by_number_mut(record.collection) else {
            continue;
        };
        let segment = match open.get(&record.number) {
            Some(segment) if segment.is(record) => Arc::clone(segment),
            _ => Arc::new(Segment::open(disk, record, collection.info.bits, map)?),
        };
        collection.add_segment(segment, deleted::read(disk, record)?);
    }
    let deleted = state.deleted_rows();
    let flushed_deletes = deleted
        .map(|(number, rows)| (number, rows.clone()))
        .collect();
    let mut cursors = Vec::with_capacity(manifest.logs.len());
    for log in &manifest.logs {
        let tail = log::replay(disk, log, None, |sequence, operations| {
            let name = log::file_name(log.number);
            apply(&mut state, true, &name, sequence, operations)
        })?;
        cursors.push(tail.cursor);
    }
    Ok(Loaded {
        manifest,
        state,
        cursors,
        flushed_deletes,
    })
}

/// The collections of the manifest, without rows.
pub(crate) fn base_state(manifest: &Manifest) -> State {
    let mut state = State {
        sequence: manifest.flushed_sequence,
        next_collection: manifest.next_collection,
        collections: Vec::new(),
    };
    for record in &manifest.collections {
        let info = CollectionInfo {
            id: CollectionId {
                number: record.number,
                bits: record.bits,
            },
            name: record.name.clone(),
            bits: record.bits,
            properties: record.properties.clone(),
        };
        state.add_collection(info, record.largest_id);
    }
    state
}

/// Does what a logged batch did. `whole` says that all segments
/// are there, so that a row which is deleted must be.
pub(crate) fn apply(
    state: &mut State,
    whole: bool,
    file: &str,
    sequence: u64,
    operations: Vec<Operation>,
) -> Result<(), Error> {
    let damaged = |what: String| Error::corrupt(file, 0, format!("commit {sequence} {what}"));
    if sequence != state.sequence + 1 {
        return Err(damaged(format!("follows commit {}", state.sequence)));
    }
    for operation in operations {
        match operation {
            Operation::CreateCollection {
                number,
                bits,
                name,
                properties,
            } => {
                if number < state.next_collection || !(8..=65_536).contains(&bits) {
                    return Err(damaged(format!(
                        "creates collection {number}, which cannot be"
                    )));
                }
                let id = CollectionId { number, bits };
                state.add_collection(
                    CollectionInfo {
                        id,
                        name,
                        bits,
                        properties,
                    },
                    None,
                );
            }
            Operation::Insert { collection, run } => {
                let state = state
                    .by_number_mut(collection)
                    .filter(|state| state.info.code_bytes() == run.code_bytes)
                    .ok_or_else(|| damaged(format!("inserts into collection {collection}")))?;
                state.add_run(run, 0);
            }
            Operation::Delete { collection, ids } => {
                let state = state
                    .by_number_mut(collection)
                    .ok_or_else(|| damaged(format!("deletes from collection {collection}")))?;
                let located = state.locate(&ids)?;
                if whole && located.ids.len() != ids.len() {
                    return Err(damaged("deletes rows that are not there".to_owned()));
                }
                state.delete(&located.rows);
            }
            Operation::DropCollection { number } => {
                if !state.remove_collection(number) {
                    return Err(damaged(format!("drops collection {number}")));
                }
            }
        }
    }
    state.sequence = sequence;
    Ok(())
}

/// Reads the manifest that is there.
pub(crate) fn read_manifest(disk: &dyn Disk) -> Result<Manifest, Error> {
    Manifest::read(disk)?.ok_or_else(|| Error::NotADatabase {
        dir: disk.path().to_owned(),
    })
}

/// Opens what the manifest names, for a reader; see [`with_manifest`]. Segments that `open` holds
/// already are taken from there.
pub(crate) fn load_for_reading(disk: &dyn Disk, open: Option<&State>) -> Result<Loaded, Error> {
    with_manifest(disk, |manifest| load(disk, manifest, true, open))
}

/// Lets `work` work with the manifest that is there and the files that it names, and does so anew when
/// a writer meanwhile puts another manifest in its place.
pub(crate) fn with_manifest<T>(
    disk: &dyn Disk,
    mut work: impl FnMut(Manifest) -> Result<T, Error>,
) -> Result<T, Error> {
    let mut manifest = read_manifest(disk)?;
    let mut attempt = 0;
    loop {
        let edition = manifest.edition;
        let growing = manifest.logs.last().filter(|log| log.seal.is_none());
        let growing = growing.map(|log| log::file_name(log.number));
        let error = match work(manifest) {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        manifest = read_manifest(disk)?;
        attempt += 1;
        if manifest.edition != edition && (error.is_missing() || attempt < MANY_ATTEMPTS) {
            // The writer moved on; there is no bound on how often files may go, but each time it did
            // much work.
            continue;
        }
        // A record that is being written while it is read looks damaged if the next one, which says
        // that it is whole, is there when the reader comes to it. It is whole the next time.
        let may_be_whole =
            matches!(&error, Error::Corrupt { file, .. } if Some(file) == growing.as_ref());
        if attempt >= ATTEMPTS || !may_be_whole {
            return Err(error);
        }
    }
}

/// Removes what a crash left: files of this crate's names that the manifest does not list.
pub(crate) fn sweep(disk: &dyn Disk, manifest: Option<&Manifest>) -> Result<(), Error> {
    let listed = manifest.map(Manifest::files).unwrap_or_default();
    sweep_directory(disk, log::DIRECTORY, ".log", &listed)?;
    sweep_directory(disk, segment::DIRECTORY, ".seg", &listed)?;
    sweep_directory(disk, segment::DIRECTORY, deleted::SUFFIX, &listed)?;
    sweep_directory(
        disk,
        crate::files::DIRECTORY,
        crate::files::TEMPORARY_SUFFIX,
        &[],
    )?;
    remove(disk, crate::backup::MARKER)?;
    remove(disk, manifest::TEMPORARY)
}

fn sweep_directory(
    disk: &dyn Disk,
    directory: &str,
    suffix: &str,
    listed: &[String],
) -> Result<(), Error> {
    for name in disk.list(directory).map_err(Error::io("list", directory))? {
        let ours = name.strip_suffix(suffix).is_some_and(|stem| {
            let of_a_number = |byte: u8| byte.is_ascii_hexdigit() || byte == b'.';
            stem.len() >= 16 && stem.bytes().all(of_a_number)
        });
        let name = format!("{directory}/{name}");
        if ours && !listed.contains(&name) {
            remove(disk, &name)?;
        }
    }
    Ok(())
}

/// Removes a file that may be gone already.
pub(crate) fn remove(disk: &dyn Disk, name: &str) -> Result<(), Error> {
    match disk.remove(name) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io("remove", name)(error))
        }
        _ => Ok(()),
    }
}
