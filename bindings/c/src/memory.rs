//! The caller's memory, and what is lent to the caller.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, OsStr, c_char};
use std::mem;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::status::{Failure, bitkin_status, guarded};

/// An array of the caller's.
///
/// # Errors
/// For one that is NULL and not empty, badly aligned, or larger than memory.
///
/// # Safety
/// If none of that is so, `len` values can be read there, and nobody writes them, as long as `'a`.
pub(crate) unsafe fn array<'a, T>(
    pointer: *const T,
    len: usize,
    name: &str,
) -> Result<&'a [T], Failure> {
    check(pointer, len, name)?;
    Ok(match len {
        0 => &[],
        // SAFETY: it is not NULL, aligned, and of a length that can be; the rest is the caller's.
        _ => unsafe { std::slice::from_raw_parts(pointer, len) },
    })
}

/// Where results go. It may hold anything before; nothing is read from there.
pub(crate) struct Out<T> {
    pointer: *mut T,
    len: usize,
}

impl<T: Copy> Out<T> {
    /// An array of the caller's, for at least `least` values.
    ///
    /// # Errors
    /// As [`array`], and for one that is too small.
    ///
    /// # Safety
    /// If it is none of that, `len` values can be written there, and nobody else reads or writes them,
    /// as long as it is used.
    pub(crate) unsafe fn new(
        pointer: *mut T,
        len: usize,
        least: usize,
        name: &str,
    ) -> Result<Self, Failure> {
        check(pointer, len, name)?;
        if len < least {
            return Err(Failure::invalid(format!(
                "{name} has room for {len} values, and there are {least}"
            )));
        }
        Ok(Out { pointer, len })
    }

    /// As [`Out::new`], of an array that the caller may not want: NULL takes nothing.
    ///
    /// # Errors
    /// As [`Out::new`].
    ///
    /// # Safety
    /// As [`Out::new`].
    pub(crate) unsafe fn unless_null(
        pointer: *mut T,
        len: usize,
        least: usize,
        name: &str,
    ) -> Result<Self, Failure> {
        let (len, least) = match pointer.is_null() {
            true => (0, 0),
            false => (len, least),
        };
        // SAFETY: the caller's.
        unsafe { Out::new(pointer, len, least, name) }
    }

    /// A single value, which the caller may not want: NULL takes none.
    ///
    /// # Errors
    /// As [`array`].
    ///
    /// # Safety
    /// As [`Out::new`].
    pub(crate) unsafe fn optional(pointer: *mut T, name: &str) -> Result<Self, Failure> {
        // SAFETY: the caller's.
        unsafe { Out::unless_null(pointer, 1, 1, name) }
    }

    /// A single value that the caller must want.
    ///
    /// # Errors
    /// As [`array`].
    ///
    /// # Safety
    /// As [`Out::new`].
    pub(crate) unsafe fn one(pointer: *mut T, name: &str) -> Result<Self, Failure> {
        // SAFETY: the caller's.
        unsafe { Out::new(pointer, 1, 1, name) }
    }

    /// Whether anything can be written.
    pub(crate) fn is_wanted(&self) -> bool {
        self.len > 0
    }

    /// Writes value `at`, if there is room.
    pub(crate) fn put(&self, at: usize, value: T) {
        if at < self.len {
            // SAFETY: `at` is within the array, which may be written by the promise of `new`.
            unsafe { self.pointer.add(at).write(value) }
        }
    }

    /// Writes the first value, if it is wanted.
    pub(crate) fn set(&self, value: T) {
        self.put(0, value);
    }
}

fn check<T>(pointer: *const T, len: usize, name: &str) -> Result<(), Failure> {
    if len == 0 {
        return Ok(());
    }
    if pointer.is_null() {
        return Err(Failure::invalid(format!("{name} is NULL")));
    }
    if !pointer.is_aligned() {
        let size = mem::align_of::<T>();
        return Err(Failure::invalid(format!(
            "{name} is not aligned to {size} bytes"
        )));
    }
    let bytes = len.checked_mul(mem::size_of::<T>());
    if bytes.is_none_or(|bytes| bytes > isize::MAX as usize) {
        return Err(Failure::invalid(format!(
            "{name} cannot have {len} values: no memory is so large"
        )));
    }
    Ok(())
}

/// A text of the caller's.
///
/// # Errors
/// For one that is NULL, or not UTF-8.
///
/// # Safety
/// If it is not NULL, it ends with a zero byte, and nobody writes it as long as `'a`.
pub(crate) unsafe fn text<'a>(pointer: *const c_char, name: &str) -> Result<&'a str, Failure> {
    // SAFETY: the caller's.
    let text = unsafe { bytes(pointer, name)? };
    std::str::from_utf8(text).map_err(|_| Failure::invalid(format!("{name} is not UTF-8")))
}

/// A text that may be left out, as NULL.
///
/// # Errors
/// As [`text`].
///
/// # Safety
/// As [`text`].
pub(crate) unsafe fn optional_text<'a>(
    pointer: *const c_char,
    name: &str,
) -> Result<Option<&'a str>, Failure> {
    if pointer.is_null() {
        return Ok(None);
    }
    // SAFETY: the caller's.
    unsafe { text(pointer, name).map(Some) }
}

/// Texts of the caller's.
///
/// # Errors
/// As [`array`] and [`text`].
///
/// # Safety
/// As [`array`], and as [`text`] for each; `'a` is that of the texts, too.
pub(crate) unsafe fn texts<'a>(
    pointer: *const *const c_char,
    len: usize,
    name: &str,
) -> Result<Vec<&'a str>, Failure> {
    // SAFETY: the caller's.
    let pointers = unsafe { array(pointer, len, name)? };
    let name = format!("a text of {name}");
    // SAFETY: the caller's.
    let texts = pointers
        .iter()
        .map(|pointer| unsafe { text(*pointer, &name) });
    texts.collect()
}

/// A path of the caller's: any bytes.
///
/// # Errors
/// For one that is NULL.
///
/// # Safety
/// As [`text`].
pub(crate) unsafe fn path<'a>(pointer: *const c_char, name: &str) -> Result<&'a Path, Failure> {
    // SAFETY: the caller's.
    let bytes = unsafe { bytes(pointer, name)? };
    Ok(Path::new(OsStr::from_bytes(bytes)))
}

/// # Safety
/// As [`text`].
unsafe fn bytes<'a>(pointer: *const c_char, name: &str) -> Result<&'a [u8], Failure> {
    if pointer.is_null() {
        return Err(Failure::invalid(format!("{name} is NULL")));
    }
    // SAFETY: it is not NULL; the rest is the caller's.
    Ok(unsafe { CStr::from_ptr(pointer) }.to_bytes())
}

/// Texts that were given away and not freed yet, by where they lie.
static LENT: Mutex<BTreeMap<usize, CString>> = Mutex::new(BTreeMap::new());

/// Gives a text to the caller, who frees it with [`bitkin_string_free`].
///
/// # Errors
/// For a text with a zero byte in it: C could not see its end.
pub(crate) fn lend(text: String) -> Result<*const c_char, Failure> {
    let text = CString::new(text)
        .map_err(|_| Failure::invalid("the text has a zero byte in it, which C cannot take"))?;
    let pointer = text.as_ptr();
    let mut lent = LENT.lock().unwrap_or_else(PoisonError::into_inner);
    lent.insert(pointer.addr(), text);
    Ok(pointer)
}

/// As [`lend`], of a text that may show what is not ours: zero bytes in it are replaced.
pub(crate) fn lend_shown(text: &str) -> Result<*const c_char, Failure> {
    lend(text.replace('\0', "\u{fffd}"))
}

/// Frees a text that a function gave. Anything else, and a text that was freed before, is
/// BITKIN_BAD_HANDLE; NULL does nothing.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub extern "C" fn bitkin_string_free(text: *const c_char) -> bitkin_status {
    guarded(|| {
        if text.is_null() {
            return Ok(());
        }
        let mut lent = LENT.lock().unwrap_or_else(PoisonError::into_inner);
        match lent.remove(&text.addr()) {
            Some(_) => Ok(()),
            None => Err(Failure {
                status: bitkin_status::BITKIN_BAD_HANDLE,
                message: "no such text was given: was it freed before?".to_owned(),
            }),
        }
    })
}
