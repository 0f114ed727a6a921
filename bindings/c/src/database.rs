//! Databases.

use std::ffi::c_char;
use std::path::Path;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use bitkin::{CollectionConfig, Database, DatabaseOptions, Durability, Error, IndexField};

use crate::collection::bitkin_collection;
use crate::handles::{Handle, Handles};
use crate::memory::{Out, array, lend, path, text};
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
    guarded(|| {
        // SAFETY: the caller's.
        let (name, fields, out) = unsafe {
            let out = Out::optional(collection, "collection")?;
            (
                text(name, "name")?,
                array(index, index_count, "index")?,
                out,
            )
        };
        let mut config = CollectionConfig::bits(bits);
        for field in fields {
            // SAFETY: the caller's.
            let field = unsafe { text(*field, "a field of index")? };
            let IndexField { field, kind } = field.parse()?;
            config = config.index(field, kind);
        }
        let made = with(database, |database| {
            database.create_collection(name, config)
        })?;
        if !collection.is_null() {
            out.set(bitkin_collection::new(made));
        }
        Ok(())
    })
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
        out.set(bitkin_collection::new(found));
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
    guarded(|| {
        // SAFETY: the caller's.
        let (count, text) = unsafe {
            let text = Out::optional(report, "report")?;
            (Out::optional(problems, "problems")?, text)
        };
        let found = with(database, Database::verify)?.problems;
        if !report.is_null() {
            let lines = found.iter().map(|problem| format!("{problem}\n"));
            let lines: String = lines.collect();
            text.set(lend(lines.replace('\0', "\u{fffd}"))?);
        }
        count.set(found.len() as u64);
        Ok(())
    })
}
