//! Databases.

use std::ffi::c_char;
use std::path::Path;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use bitkin::model::ModelFile;
use bitkin::{CollectionConfig, Database, DatabaseOptions, Durability, Error, IndexField, Problem};

use crate::collection::{Opened, bitkin_collection};
use crate::handles::{Handle, Handles};
use crate::memory::{Out, array, lend, lend_shown, path, text, texts};
use crate::status::{Failure, bitkin_status, guarded};

/// An open database.
pub struct bitkin_database {
    _opaque: (),
}

/// `None` once it is being closed.
type Open = RwLock<Option<Database>>;

impl Handle for bitkin_database {
    type Value = Open;
    const NAME: &'static str = "database";

    fn all() -> &'static Handles<Open> {
        static ALL: Handles<Open> = Handles::new();
        &ALL
    }
}

/// How a database is opened for writing. All zero is the usual way.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct bitkin_open_options {
    /// When a commit is on disk for certain: 0, before the call returns; otherwise at most so many
    /// microseconds later, unless the machine stops before.
    pub sync_microseconds: u64,
    /// Bytes of rows kept in memory before they are written into segments; 0 for the usual number.
    pub memory_limit: u64,
    /// Rows kept in memory before they are written into segments; 0 for the usual number.
    pub flush_rows: u64,
}

/// Runs `work` on a database.
fn with<T>(
    database: *const bitkin_database,
    work: impl FnOnce(&Database) -> Result<T, Error>,
) -> Result<T, Failure> {
    let database = bitkin_database::get(database)?;
    let database = database.read().unwrap_or_else(PoisonError::into_inner);
    Ok(work(database.as_ref().ok_or(Error::Closed)?)?)
}

/// Hands an opened database to the caller.
///
/// # Safety
/// Those of the function that opens it.
unsafe fn opened(
    directory: *const c_char,
    options: *const bitkin_open_options,
    database: *mut *mut bitkin_database,
    open: impl FnOnce(DatabaseOptions, &Path) -> Result<Database, Error>,
) -> Result<(), Failure> {
    // SAFETY: the caller's.
    let (directory, out, given) = unsafe {
        let given = match options.is_null() {
            true => bitkin_open_options::default(),
            false => array(options, 1, "options")?[0],
        };
        let out = Out::one(database, "database")?;
        (path(directory, "directory")?, out, given)
    };
    let mut options = DatabaseOptions::new();
    if given.sync_microseconds > 0 {
        let interval = Duration::from_micros(given.sync_microseconds);
        options = options.durability(Durability::Interval(interval));
    }
    let bounded = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    if given.memory_limit > 0 {
        options = options.memory_limit(bounded(given.memory_limit));
    }
    if given.flush_rows > 0 {
        options = options.flush_rows(bounded(given.flush_rows));
    }
    // The process may change its directory later.
    let directory = std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned());
    let opened = open(options, &directory)?;
    out.set(bitkin_database::new(RwLock::new(Some(opened))));
    Ok(())
}

/// Makes a database in a directory that is not there or empty, and opens it for writing. `options` may be
/// NULL. Close it with bitkin_close.
///
/// Threads: any.
///
/// # Safety
/// `directory` is NULL or ends with a zero byte; `options` and `database` are NULL or point to what they
/// are said to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bitkin_create(
    directory: *const c_char,
    options: *const bitkin_open_options,
    database: *mut *mut bitkin_database,
) -> bitkin_status {
    // SAFETY: the caller's.
    guarded(|| unsafe { opened(directory, options, database, |o, at| o.create(at)) })
}

/// Opens a database for writing; one handle, in all processes, may. `options` may be NULL. Close it with
/// bitkin_close.
///
/// Threads: any.
///
/// # Safety
/// As for bitkin_create.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bitkin_open(
    directory: *const c_char,
    options: *const bitkin_open_options,
    database: *mut *mut bitkin_database,
) -> bitkin_status {
    // SAFETY: the caller's.
    guarded(|| unsafe { opened(directory, options, database, |o, at| o.open(at)) })
}

/// Opens a database for writing, and makes it if the directory is not there or empty. `options` may be NULL.
/// Close it with bitkin_close.
///
/// Threads: any.
///
/// # Safety
/// As for bitkin_create.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bitkin_open_or_create(
    directory: *const c_char,
    options: *const bitkin_open_options,
    database: *mut *mut bitkin_database,
) -> bitkin_status {
    // SAFETY: the caller's.
    guarded(|| unsafe { opened(directory, options, database, |o, at| o.open_or_create(at)) })
}

/// Opens a database for reading, beside whoever writes it. It shows the moment of opening, or of the last
/// bitkin_refresh. Close it with bitkin_close.
///
/// Threads: any.
///
/// # Safety
/// As for bitkin_create.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bitkin_open_read_only(
    directory: *const c_char,
    database: *mut *mut bitkin_database,
) -> bitkin_status {
    let open = |_, at: &Path| Database::open_read_only(at);
    // SAFETY: the caller's.
    guarded(|| unsafe { opened(directory, std::ptr::null(), database, open) })
}

/// Closes a database, once the calls that are at work on it are done, and frees its handle, whatever the
/// status. The handles of its collections answer BITKIN_CLOSED from then on; free them too.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub extern "C" fn bitkin_close(database: *mut bitkin_database) -> bitkin_status {
    guarded(|| {
        let Some(database) = bitkin_database::take(database)? else {
            return Ok(());
        };
        let taken = database
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        Ok(taken.map_or(Ok(()), Database::close)?)
    })
}

/// Makes a collection of codes of `bits` bits, 8 to 65,536, durably, and gives a handle of it in
/// `collection`, which may be NULL. Free it with bitkin_collection_free.
///
/// `index` declares `index_count` payload fields for fast filtering, each as FIELD:KIND, where the kind is
/// int, float, text or bool; NULL and 0 for none.
///
/// Threads: any.
///
/// # Safety
/// `name` and the texts of `index` are NULL or end with a zero byte; `index` is NULL or points to so many;
/// `collection` is NULL or points to a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bitkin_create_collection(
    database: *mut bitkin_database,
    name: *const c_char,
    bits: u32,
    index: *const *const c_char,
    index_count: usize,
    collection: *mut *mut bitkin_collection,
) -> bitkin_status {
    let config = || Ok(CollectionConfig::bits(bits));
    // SAFETY: the caller's.
    guarded(|| unsafe { created(database, name, config, (index, index_count), collection) })
}

/// Makes a collection of pictures whose codes are perceptual hashes of 256 bits (PDQ), which need no model:
/// copies of a picture lie within BITKIN_PDQ_RADIUS of each other. Otherwise as bitkin_create_collection.
///
/// Threads: any.
///
/// # Safety
/// As for bitkin_create_collection.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bitkin_create_pdq_collection(
    database: *mut bitkin_database,
    name: *const c_char,
    index: *const *const c_char,
    index_count: usize,
    collection: *mut *mut bitkin_collection,
) -> bitkin_status {
    let config = || Ok(CollectionConfig::pdq());
    // SAFETY: the caller's.
    guarded(|| unsafe { created(database, name, config, (index, index_count), collection) })
}

/// Makes a collection of pictures whose codes are made by the model in the file `model`, which is copied into
/// the database. Otherwise as bitkin_create_collection. To encode pictures takes the encoder library: see
/// bitkin_open_encoder.
///
/// Threads: any.
///
/// # Safety
/// `model` is NULL or ends with a zero byte; otherwise as for bitkin_create_collection.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bitkin_create_model_collection(
    database: *mut bitkin_database,
    name: *const c_char,
    model: *const c_char,
    index: *const *const c_char,
    index_count: usize,
    collection: *mut *mut bitkin_collection,
) -> bitkin_status {
    // SAFETY: the caller's.
    let config = || unsafe { of_model(model) };
    // SAFETY: the caller's.
    guarded(|| unsafe { created(database, name, config, (index, index_count), collection) })
}

/// Makes a collection whose codes are stored bit by bit, too, as many bytes again, so that searches with a
/// mask read its bits and no others: for wide codes. The codes have `bits` bits, or, if `model` is not NULL, are
/// made by the model in that file, and `bits` is 0. Otherwise as bitkin_create_collection.
///
/// Threads: any.
///
/// # Safety
/// As for bitkin_create_model_collection.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bitkin_create_planes_collection(
    database: *mut bitkin_database,
    name: *const c_char,
    bits: u32,
    model: *const c_char,
    index: *const *const c_char,
    index_count: usize,
    collection: *mut *mut bitkin_collection,
) -> bitkin_status {
    let config = || {
        let config = match (bits, model.is_null()) {
            (bits, true) => CollectionConfig::bits(bits),
            // SAFETY: the caller's.
            (0, false) => unsafe { of_model(model)? },
            _ => return Err(Failure::invalid("bits must be 0 where there is a model")),
        };
        Ok(config.planes(true))
    };
    // SAFETY: the caller's.
    guarded(|| unsafe { created(database, name, config, (index, index_count), collection) })
}

/// A collection whose codes are made by the model in this file.
///
/// # Safety
/// `model` is NULL or ends with a zero byte.
unsafe fn of_model(model: *const c_char) -> Result<CollectionConfig, Failure> {
    // SAFETY: the caller's.
    let model = unsafe { path(model, "model")? };
    let model = ModelFile::read(model).map_err(Error::from)?;
    Ok(CollectionConfig::model(&model))
}

/// Makes a collection and hands it to the caller.
///
/// # Safety
/// Those of bitkin_create_collection.
unsafe fn created(
    database: *mut bitkin_database,
    name: *const c_char,
    config: impl FnOnce() -> Result<CollectionConfig, Failure>,
    (index, index_count): (*const *const c_char, usize),
    collection: *mut *mut bitkin_collection,
) -> Result<(), Failure> {
    // SAFETY: the caller's.
    let (name, fields, out) = unsafe {
        (
            text(name, "name")?,
            texts(index, index_count, "index")?,
            Out::optional(collection, "collection")?,
        )
    };
    let mut config = config()?;
    for field in fields {
        let IndexField { field, kind } = field.parse()?;
        config = config.index(field, kind);
    }
    let made = with(database, |database| {
        database.create_collection(name, config)
    })?;
    if out.is_wanted() {
        out.set(bitkin_collection::new(Opened::new(made)));
    }
    Ok(())
}

/// Gives a handle of the collection of that name. Free it with bitkin_collection_free.
///
/// Threads: any.
///
/// # Safety
/// As for bitkin_create_collection.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bitkin_open_collection(
    database: *mut bitkin_database,
    name: *const c_char,
    collection: *mut *mut bitkin_collection,
) -> bitkin_status {
    guarded(|| {
        // SAFETY: the caller's.
        let (name, out) = unsafe {
            let out = Out::one(collection, "collection")?;
            (text(name, "name")?, out)
        };
        let found = with(database, |database| database.collection(name))?;
        out.set(bitkin_collection::new(Opened::new(found)));
        Ok(())
    })
}

/// Gives the name of the collection made as number `number` of those that there are, from 0, in `name`;
/// BITKIN_NOT_FOUND beyond the last. Free it with bitkin_string_free.
///
/// Threads: any.
///
/// # Safety
/// `name` is NULL or points to a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bitkin_collection_name(
    database: *mut bitkin_database,
    number: usize,
    name: *mut *const c_char,
) -> bitkin_status {
    guarded(|| {
        // SAFETY: the caller's.
        let out = unsafe { Out::one(name, "name")? };
        let collections = with(database, Database::collections)?;
        let Some(collection) = collections.get(number) else {
            let count = collections.len();
            return Err(Failure {
                status: bitkin_status::BITKIN_NOT_FOUND,
                message: format!("there is no collection {number}: there are {count}, from 0"),
            });
        };
        out.set(lend(collection.name().to_owned())?);
        Ok(())
    })
}

/// Takes a collection away with all its rows, durably.
///
/// Threads: any.
///
/// # Safety
/// `name` is NULL or ends with a zero byte.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bitkin_drop_collection(
    database: *mut bitkin_database,
    name: *const c_char,
) -> bitkin_status {
    guarded(|| {
        // SAFETY: the caller's.
        let name = unsafe { text(name, "name")? };
        with(database, |database| database.drop_collection(name))
    })
}

/// Sizes of a database, over all its collections.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct bitkin_totals {
    /// Rows that are not deleted.
    pub rows: u64,
    /// Bytes that rows take in memory that are not yet in a segment.
    pub memory_bytes: u64,
    /// Bytes of logs on disk,
    pub log_bytes: u64,
    /// and of segments.
    pub segment_bytes: u64,
}

/// Gives the sizes of a database, and in `failure`, which may be NULL, why the last flush or merge in the
/// background failed: NULL if none did. Nothing is lost by that, and it is tried again. Free the text with
/// bitkin_string_free.
///
/// Threads: any.
///
/// # Safety
/// `stats` and `failure` are NULL or point to what they are said to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bitkin_database_stats(
    database: *const bitkin_database,
    stats: *mut bitkin_totals,
    failure: *mut *const c_char,
) -> bitkin_status {
    guarded(|| {
        // SAFETY: the caller's.
        let (out, text) = unsafe {
            let text = Out::optional(failure, "failure")?;
            (Out::one(stats, "stats")?, text)
        };
        let found = with(database, Database::stats)?;
        if text.is_wanted() {
            let failure = found.background_error.as_deref().map(lend_shown);
            text.set(failure.transpose()?.unwrap_or(std::ptr::null()));
        }
        out.set(bitkin_totals {
            rows: found.rows,
            memory_bytes: found.memory_bytes,
            log_bytes: found.log_bytes,
            segment_bytes: found.segment_bytes,
        });
        Ok(())
    })
}

/// Returns once every commit before it is on disk for certain.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub extern "C" fn bitkin_sync(database: *mut bitkin_database) -> bitkin_status {
    guarded(|| with(database, Database::sync))
}

/// Writes the rows in memory into segments, with their search tables.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub extern "C" fn bitkin_flush(database: *mut bitkin_database) -> bitkin_status {
    guarded(|| with(database, Database::flush))
}

/// Writes all collections anew without their deleted rows: what was deleted is in no file any more. Reads
/// and writes go on meanwhile.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub extern "C" fn bitkin_compact(database: *mut bitkin_database) -> bitkin_status {
    guarded(|| with(database, Database::compact))
}

/// In a database that is open read-only: looks for newer commits, and says in `changed`, which may be
/// NULL, whether there were any.
///
/// Threads: any.
///
/// # Safety
/// `changed` is NULL or points to a bool.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bitkin_refresh(
    database: *mut bitkin_database,
    changed: *mut bool,
) -> bitkin_status {
    guarded(|| {
        // SAFETY: the caller's.
        let out = unsafe { Out::optional(changed, "changed")? };
        out.set(with(database, Database::refresh)?);
        Ok(())
    })
}

/// Copies the database as it is at one moment into a new or empty directory.
///
/// Threads: any.
///
/// # Safety
/// `directory` is NULL or ends with a zero byte.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bitkin_backup(
    database: *mut bitkin_database,
    directory: *const c_char,
) -> bitkin_status {
    guarded(|| {
        // SAFETY: the caller's.
        let directory = unsafe { path(directory, "directory")? };
        with(database, |database| database.backup(directory).map(drop))
    })
}

/// Reads and checks all that the database holds on disk. Says in `problems` how many things are wrong,
/// and in `report`, one in a line, which; that is empty if none are. Either may be NULL. Free the
/// report with bitkin_string_free.
///
/// Threads: any.
///
/// # Safety
/// `problems` and `report` are NULL or point to what they are said to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bitkin_verify(
    database: *mut bitkin_database,
    problems: *mut u64,
    report: *mut *const c_char,
) -> bitkin_status {
    // SAFETY: the caller's.
    guarded(|| unsafe {
        let check = || Ok(with(database, Database::verify)?.problems);
        listed(problems, report, check)
    })
}

/// Reads and checks the database in `directory` as bitkin_verify does, without opening it: also one that
/// cannot be opened any more.
///
/// Threads: any.
///
/// # Safety
/// `directory` is NULL or ends with a zero byte; otherwise as for bitkin_verify.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bitkin_verify_directory(
    directory: *const c_char,
    problems: *mut u64,
    report: *mut *const c_char,
) -> bitkin_status {
    // SAFETY: the caller's.
    guarded(|| unsafe {
        let directory = path(directory, "directory")?;
        let check = || Ok(bitkin::verify(directory)?.problems);
        listed(problems, report, check)
    })
}

/// Saves what is whole of the database in `directory`, which nobody may be writing, into a new database in
/// `destination`, a new or empty directory. Nothing is written to `directory`. Says in `losses` how many
/// things could not be saved, and in `report`, one in a line, which. Either may be NULL. Free the report
/// with bitkin_string_free.
///
/// Threads: any.
///
/// # Safety
/// `directory` and `destination` are NULL or end with a zero byte; otherwise as for bitkin_verify.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bitkin_repair(
    directory: *const c_char,
    destination: *const c_char,
    losses: *mut u64,
    report: *mut *const c_char,
) -> bitkin_status {
    // SAFETY: the caller's.
    guarded(|| unsafe {
        let directory = path(directory, "directory")?;
        let destination = path(destination, "destination")?;
        let repair = || Ok(bitkin::repair(directory, destination)?.lost);
        listed(losses, report, repair)
    })
}

/// Hands the number of problems to the caller, and what they are.
///
/// # Safety
/// Those of bitkin_verify.
unsafe fn listed(
    number: *mut u64,
    report: *mut *const c_char,
    find: impl FnOnce() -> Result<Vec<Problem>, Failure>,
) -> Result<(), Failure> {
    // SAFETY: the caller's.
    let (number, text) = unsafe {
        let text = Out::optional(report, "report")?;
        (Out::optional(number, "the number of them")?, text)
    };
    let found = find()?;
    if text.is_wanted() {
        let lines: String = found.iter().map(|problem| format!("{problem}\n")).collect();
        text.set(lend_shown(&lines)?);
    }
    number.set(found.len() as u64);
    Ok(())
}
