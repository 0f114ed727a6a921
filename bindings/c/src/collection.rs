//! Collections, and writing their rows.

use std::ffi::c_char;
use std::ops::Deref;
use std::sync::{Arc, Mutex};

use bitkin::encoder::Encoder;
use bitkin::{Collection, Filter};

use crate::handles::{Handle, Handles};
use crate::memory::{Out, array, lend, optional_text, text};
use crate::rows::RowOut;
use crate::status::{Failure, bitkin_status, guarded};

/// A collection of codes of one width, by id.
pub struct bitkin_collection {
    _opaque: (),
}

/// A collection, and what makes the codes of its pictures once that was needed.
pub struct Opened {
    collection: Collection,
    pub(crate) encoder: Mutex<Option<Arc<dyn Encoder>>>,
}

impl Opened {
    pub(crate) fn new(collection: Collection) -> Opened {
        Opened {
            collection,
            encoder: Mutex::default(),
        }
    }
}

impl Deref for Opened {
    type Target = Collection;

    fn deref(&self) -> &Collection {
        &self.collection
    }
}

impl Handle for bitkin_collection {
    type Value = Opened;
    const NAME: &'static str = "collection";

    fn all() -> &'static Handles<Opened> {
        static ALL: Handles<Opened> = Handles::new();
        &ALL
    }
}

/// Sizes of a collection.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct bitkin_stats {
    /// Rows that are not deleted.
    pub rows: u64,
    /// Deleted rows that are still in segments.
    pub deleted_rows: u64,
    /// Rows that are in memory and not yet in a segment.
    pub memory_rows: u64,
    /// Segments.
    pub segments: u64,
    /// Bytes that its segments take on disk: ids,
    pub id_bytes: u64,
    /// codes,
    pub code_bytes: u64,
    /// payloads,
    pub payload_bytes: u64,
    /// search tables and indexes of payloads,
    pub index_bytes: u64,
    /// and what goes with them.
    pub overhead_bytes: u64,
}

/// Frees a handle of a collection; the collection stays.
///
/// Threads: any. Calls that are at work on it go on.
#[unsafe(no_mangle)]
pub extern "C" fn bitkin_collection_free(collection: *mut bitkin_collection) -> bitkin_status {
    guarded(|| bitkin_collection::take(collection).map(drop))
}

/// Gives the width of its codes in bits.
///
/// Threads: any.
///
/// # Safety
/// `bits` is NULL or points to a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bitkin_bits(
    collection: *const bitkin_collection,
    bits: *mut u32,
) -> bitkin_status {
    guarded(|| {
        // SAFETY: the caller's.
        let out = unsafe { Out::one(bits, "bits")? };
        out.set(bitkin_collection::get(collection)?.bits());
        Ok(())
    })
}

/// Gives, in `field`, what is declared for fast filtering as number `number`, from 0: FIELD:KIND, as
/// bitkin_create_collection takes it; BITKIN_NOT_FOUND beyond the last. Free it with bitkin_string_free.
///
/// Threads: any.
///
/// # Safety
/// `field` is NULL or points to a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bitkin_collection_index(
    collection: *const bitkin_collection,
    number: usize,
    field: *mut *const c_char,
) -> bitkin_status {
    guarded(|| {
        // SAFETY: the caller's.
        let out = unsafe { Out::one(field, "field")? };
        let collection = bitkin_collection::get(collection)?;
        let Some(field) = collection.index().get(number) else {
            let count = collection.index().len();
            return Err(Failure {
                status: bitkin_status::BITKIN_NOT_FOUND,
                message: format!("there is no declared field {number}: there are {count}, from 0"),
            });
        };
        out.set(lend(field.to_string())?);
        Ok(())
    })
}

/// Gives the number of its rows, or of those that pass `filter`, a condition in SQL on their payloads;
/// NULL for all, which takes no time.
///
/// Threads: any.
///
/// # Safety
/// `filter` is NULL or ends with a zero byte; `rows` is NULL or points to a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bitkin_count(
    collection: *const bitkin_collection,
    filter: *const c_char,
    rows: *mut u64,
) -> bitkin_status {
    guarded(|| {
        // SAFETY: the caller's.
        let (filter, out) = unsafe {
            let out = Out::one(rows, "rows")?;
            (optional_text(filter, "filter")?, out)
        };
        let collection = bitkin_collection::get(collection)?;
        out.set(match filter {
            None => collection.len()?,
            Some(filter) => collection.count(&Filter::parse(filter)?)?,
        });
        Ok(())
    })
}

/// Gives its sizes.
///
/// Threads: any.
///
/// # Safety
/// `stats` is NULL or points to where they go.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bitkin_collection_stats(
    collection: *const bitkin_collection,
    stats: *mut bitkin_stats,
) -> bitkin_status {
    guarded(|| {
        // SAFETY: the caller's.
        let out = unsafe { Out::one(stats, "stats")? };
        let found = bitkin_collection::get(collection)?.stats()?;
        out.set(bitkin_stats {
            rows: found.rows,
            deleted_rows: found.deleted_rows,
            memory_rows: found.memory_rows,
            segments: found.segments,
            id_bytes: found.bytes.ids,
            code_bytes: found.bytes.codes,
            payload_bytes: found.bytes.payloads,
            index_bytes: found.bytes.indexes,
            overhead_bytes: found.bytes.overhead,
        });
        Ok(())
    })
}

/// Writes a collection anew without its deleted rows. Reads and writes go on meanwhile.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub extern "C" fn bitkin_collection_compact(collection: *mut bitkin_collection) -> bitkin_status {
    guarded(|| Ok(bitkin_collection::get(collection)?.compact()?))
}

/// The payloads of `rows` rows; none at all if there is no array.
///
/// # Errors
/// As [`array`] and [`text`].
///
/// # Safety
/// `payloads` is NULL, or `rows` pointers, each NULL or to a text that ends with a zero byte.
pub(crate) unsafe fn payloads<'a>(
    payloads: *const *const c_char,
    rows: usize,
) -> Result<Vec<Option<&'a str>>, Failure> {
    if payloads.is_null() {
        return Ok(Vec::new());
    }
    // SAFETY: the caller's.
    let pointers = unsafe { array(payloads, rows, "payloads")? };
    // SAFETY: the caller's.
    let texts = pointers
        .iter()
        .map(|payload| unsafe { optional_text(*payload, "a payload") });
    texts.collect()
}

/// Ids of the caller's, one a row; none, if they are to be assigned.
///
/// # Errors
/// As [`array`].
///
/// # Safety
/// As [`array`], unless it is NULL.
pub(crate) unsafe fn ids<'a>(ids: *const u64, rows: usize) -> Result<Option<&'a [u64]>, Failure> {
    match ids.is_null() {
        true => Ok(None),
        // SAFETY: the caller's.
        false => Ok(Some(unsafe { array(ids, rows, "ids")? })),
    }
}

/// The codes of `rows` rows.
///
/// # Errors
/// As [`array`], and for bytes that are not so many codes.
///
/// # Safety
/// As [`array`].
unsafe fn codes<'a>(
    collection: &Collection,
    rows: usize,
    codes: *const u8,
    codes_size: usize,
) -> Result<&'a [u8], Failure> {
    // SAFETY: the caller's.
    let codes = unsafe { array(codes, codes_size, "codes")? };
    let size = collection.code_bytes();
    if rows.checked_mul(size) == Some(codes.len()) {
        return Ok(codes);
    }
    let (bits, found) = (collection.bits(), codes.len());
    Err(Failure::invalid(format!(
        "codes of {bits} bits have {size} bytes each: {found} bytes are not {rows} codes"
    )))
}

/// Inserts rows, all or none, durably.
///
/// * `ids`: one a row, new to the collection, in any order; NULL assigns those that follow the largest one.
/// * `codes`: `codes_size` bytes, which must be those of `rows` codes.
/// * `payloads`: JSON for each row, or NULL; NULL for none at all.
/// * `assigned`: room for `rows` ids, the rows', or NULL.
///
/// Threads: any.
///
/// # Safety
/// Each pointer is NULL or points to what is said, and nobody writes there meanwhile; payloads end with a
/// zero byte.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bitkin_insert(
    collection: *mut bitkin_collection,
    ids: *const u64,
    rows: usize,
    codes: *const u8,
    codes_size: usize,
    payloads: *const *const c_char,
    assigned: *mut u64,
) -> bitkin_status {
    guarded(|| {
        let collection = bitkin_collection::get(collection)?;
        // SAFETY: the caller's.
        let (ids, codes, payloads, out) = unsafe {
            (
                self::ids(ids, rows)?,
                self::codes(&collection, rows, codes, codes_size)?,
                self::payloads(payloads, rows)?,
                Out::unless_null(assigned, rows, rows, "assigned")?,
            )
        };
        let inserted = collection.insert_with_payloads(ids, codes, &payloads)?;
        for (row, id) in inserted.into_iter().enumerate() {
            out.put(row, id);
        }
        Ok(())
    })
}

/// Inserts rows in place of those that have the same ids, all or none, durably. Those lose their payloads.
/// Arguments are as for bitkin_insert, but ids must be given; `replaced`, which may be NULL, receives how
/// many there were.
///
/// Threads: any.
///
/// # Safety
/// As for bitkin_insert.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bitkin_upsert(
    collection: *mut bitkin_collection,
    ids: *const u64,
    rows: usize,
    codes: *const u8,
    codes_size: usize,
    payloads: *const *const c_char,
    replaced: *mut u64,
) -> bitkin_status {
    guarded(|| {
        let collection = bitkin_collection::get(collection)?;
        // SAFETY: the caller's.
        let (ids, codes, payloads, out) = unsafe {
            (
                array(ids, rows, "ids")?,
                self::codes(&collection, rows, codes, codes_size)?,
                self::payloads(payloads, rows)?,
                Out::optional(replaced, "replaced")?,
            )
        };
        out.set(collection.upsert_with_payloads(ids, codes, &payloads)?);
        Ok(())
    })
}

/// Deletes the rows of these ids, all or none, durably; `deleted`, which may be NULL, receives how many
/// there were.
///
/// Threads: any.
///
/// # Safety
/// `ids` is NULL or points to `count` ids that nobody writes meanwhile; `deleted` is NULL or points to a
/// number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bitkin_delete(
    collection: *mut bitkin_collection,
    ids: *const u64,
    count: usize,
    deleted: *mut u64,
) -> bitkin_status {
    guarded(|| {
        // SAFETY: the caller's.
        let (ids, out) = unsafe {
            let out = Out::optional(deleted, "deleted")?;
            (array(ids, count, "ids")?, out)
        };
        out.set(bitkin_collection::get(collection)?.delete(ids)?);
        Ok(())
    })
}

/// Deletes the rows that pass `filter`, a condition in SQL on their payloads, all or none, durably;
/// `deleted`, which may be NULL, receives how many there were.
///
/// Threads: any.
///
/// # Safety
/// `filter` is NULL or ends with a zero byte; `deleted` is NULL or points to a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bitkin_delete_where(
    collection: *mut bitkin_collection,
    filter: *const c_char,
    deleted: *mut u64,
) -> bitkin_status {
    guarded(|| {
        // SAFETY: the caller's.
        let (filter, out) = unsafe {
            let out = Out::optional(deleted, "deleted")?;
            (text(filter, "filter")?, out)
        };
        let filter = Filter::parse(filter)?;
        out.set(bitkin_collection::get(collection)?.delete_where(&filter)?);
        Ok(())
    })
}

/// Gives the code of the row of `id` in `code`, `code_size` bytes, and its payload in `payload`, NULL if
/// it has none. Both may be NULL. BITKIN_NOT_FOUND if there is no such row. Free the payload with
/// bitkin_string_free.
///
/// Threads: any.
///
/// # Safety
/// `code` is NULL or has room for `code_size` bytes; `payload` is NULL or points to a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bitkin_get(
    collection: *const bitkin_collection,
    id: u64,
    code: *mut u8,
    code_size: usize,
    payload: *mut *const c_char,
) -> bitkin_status {
    guarded(|| {
        let collection = bitkin_collection::get(collection)?;
        // SAFETY: the caller's.
        let out = unsafe { RowOut::new(code, code_size, collection.code_bytes(), payload)? };
        let Some(row) = collection.get(id)? else {
            return Err(Failure {
                status: bitkin_status::BITKIN_NOT_FOUND,
                message: format!("collection {:?} has no id {id}", collection.name()),
            });
        };
        out.put(row)
    })
}
