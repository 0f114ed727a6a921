//! From the engine's errors to Python's exceptions.

use std::path::Path;

use bitkin::{Error, ErrorKind, StorageError};
use pyo3::prelude::*;

/// The exceptions that `python/bitkin/__init__.py` defines: in Python, because only there a class
/// can derive from two.
mod classes {
    pyo3::import_exception!(bitkin, AlreadyExists);
    pyo3::import_exception!(bitkin, Closed);
    pyo3::import_exception!(bitkin, Corrupt);
    pyo3::import_exception!(bitkin, DiskError);
    pyo3::import_exception!(bitkin, Error);
    pyo3::import_exception!(bitkin, InvalidInput);
    pyo3::import_exception!(bitkin, Locked);
    pyo3::import_exception!(bitkin, NotADatabase);
    pyo3::import_exception!(bitkin, NotFound);
    pyo3::import_exception!(bitkin, ReadOnly);
    pyo3::import_exception!(bitkin, UnknownFormat);
    pyo3::import_exception!(bitkin, WrongProcess);
}

/// The exception for an error of the engine.
pub(crate) fn raised(error: Error) -> PyErr {
    let message = error.to_string();
    match error.kind() {
        ErrorKind::NotFound => classes::NotFound::new_err(message),
        ErrorKind::AlreadyExists => classes::AlreadyExists::new_err(message),
        ErrorKind::InvalidInput => classes::InvalidInput::new_err(message),
        ErrorKind::Corrupt => classes::Corrupt::new_err(message),
        ErrorKind::Locked => classes::Locked::new_err(message),
        ErrorKind::NotADatabase => classes::NotADatabase::new_err(message),
        ErrorKind::UnknownFormat => classes::UnknownFormat::new_err(message),
        ErrorKind::ReadOnly => classes::ReadOnly::new_err(message),
        ErrorKind::Closed => classes::Closed::new_err(message),
        ErrorKind::Disk => match system_error(&error) {
            Some(number) => classes::DiskError::new_err((number, message)),
            None => classes::DiskError::new_err(message),
        },
        _ => classes::Error::new_err(message),
    }
}

/// The system's number of what went wrong with a file.
fn system_error(error: &Error) -> Option<i32> {
    match error {
        Error::Storage(StorageError::Io { source, .. }) | Error::Io { source, .. } => {
            source.raw_os_error()
        }
        _ => None,
    }
}

/// As [`raised`], for the opening of `path`: messages of storage name files within it.
pub(crate) fn raised_at(path: &Path, error: Error) -> PyErr {
    if let (ErrorKind::Disk, Some(number)) = (error.kind(), system_error(&error)) {
        return classes::DiskError::new_err((
            number,
            error.to_string(),
            path.as_os_str().to_owned(),
        ));
    }
    raised(error)
}

/// For arguments that have the right type and yet cannot be used.
pub(crate) fn invalid(message: impl Into<String>) -> PyErr {
    classes::InvalidInput::new_err(message.into())
}

/// For a handle in a process that was forked off.
pub(crate) fn forked() -> PyErr {
    classes::WrongProcess::new_err(
        "the database was opened before this process was forked off: \
         open it here (read_only=True, if the other process writes)",
    )
}
