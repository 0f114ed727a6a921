//! Going over rows.

use std::ffi::c_char;
use std::sync::{Mutex, PoisonError};

use bitkin::{Filter, Row, Rows};

use crate::collection::bitkin_collection;
use crate::handles::{Handle, Handles};
use crate::memory::{Out, lend, optional_text};
use crate::status::{Failure, bitkin_status, guarded};

/// The rows of a collection at one moment, one after another.
pub struct bitkin_rows {
    _opaque: (),
}

/// What is left of them, and the bytes of a code.
type Left = (Mutex<Rows>, usize);

impl Handle for bitkin_rows {
    type Value = Left;
    const NAME: &'static str = "iterator of rows";

    fn all() -> &'static Handles<Left> {
        static ALL: Handles<Left> = Handles::new();
        &ALL
    }
}

/// Where a row goes: its code and its payload, of which the caller may want neither.
pub(crate) struct RowOut {
    code: Out<u8>,
    payload: Out<*const c_char>,
}

impl RowOut {
    /// Room of the caller's, for a code of `code_bytes`.
    ///
    /// # Errors
    /// As [`Out::new`].
    ///
    /// # Safety
    /// As [`Out::new`].
    pub(crate) unsafe fn new(
        code: *mut u8,
        code_size: usize,
        code_bytes: usize,
        payload: *mut *const c_char,
    ) -> Result<RowOut, Failure> {
        // SAFETY: the caller's.
        unsafe {
            Ok(RowOut {
                code: Out::unless_null(code, code_size, code_bytes, "code")?,
                payload: Out::optional(payload, "payload")?,
            })
        }
    }

    /// Hands the row over.
    ///
    /// # Errors
    /// As [`lend`]; nothing is handed over then.
    pub(crate) fn put(&self, row: Row) -> Result<(), Failure> {
        if self.payload.is_wanted() {
            let lent = row.payload.map(lend).transpose()?;
            self.payload.set(lent.unwrap_or(std::ptr::null()));
        }
        for (at, byte) in row.code.into_iter().enumerate() {
            self.code.put(at, byte);
        }
        Ok(())
    }
}

/// Begins to go over the rows by ascending id, as they are at this moment: all, or those that pass
/// `filter`, a condition in SQL on their payloads, unless that is NULL. Free it with bitkin_rows_free.
///
/// Threads: any.
///
/// # Safety
/// `filter` is NULL or ends with a zero byte; `rows` is NULL or points to a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bitkin_rows_begin(
    collection: *const bitkin_collection,
    filter: *const c_char,
    rows: *mut *mut bitkin_rows,
) -> bitkin_status {
    guarded(|| {
        // SAFETY: the caller's.
        let (filter, out) = unsafe {
            let out = Out::one(rows, "rows")?;
            (optional_text(filter, "filter")?, out)
        };
        let collection = bitkin_collection::get(collection)?;
        let left = match filter {
            None => collection.rows()?,
            Some(filter) => collection.rows_where(&Filter::parse(filter)?)?,
        };
        out.set(bitkin_rows::new((
            Mutex::new(left),
            collection.code_bytes(),
        )));
        Ok(())
    })
}

/// Gives the next row: whether there is one in `more`, and if so its id, its code in `code`, `code_size`
/// bytes, and its payload in `payload`, NULL if it has none. All but `more` may be NULL. Free the payload
/// with bitkin_string_free.
///
/// Threads: any; several share the rows among them.
///
/// # Safety
/// `code` is NULL or has room for `code_size` bytes; the others are NULL or point to what they are said to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bitkin_rows_next(
    rows: *mut bitkin_rows,
    more: *mut bool,
    id: *mut u64,
    code: *mut u8,
    code_size: usize,
    payload: *mut *const c_char,
) -> bitkin_status {
    guarded(|| {
        let left = bitkin_rows::get(rows)?;
        let (left, code_bytes) = &*left;
        // SAFETY: the caller's.
        let (more, id_out, out) = unsafe {
            (
                Out::one(more, "more")?,
                Out::optional(id, "id")?,
                RowOut::new(code, code_size, *code_bytes, payload)?,
            )
        };
        let next = left.lock().unwrap_or_else(PoisonError::into_inner).next();
        let Some(row) = next.transpose()? else {
            more.set(false);
            return Ok(());
        };
        let id = row.id;
        out.put(row)?;
        more.set(true);
        id_out.set(id);
        Ok(())
    })
}

/// Frees an iterator of rows.
///
/// Threads: any. A call that is at work on it goes on.
#[unsafe(no_mangle)]
pub extern "C" fn bitkin_rows_free(rows: *mut bitkin_rows) -> bitkin_status {
    guarded(|| bitkin_rows::take(rows).map(drop))
}
