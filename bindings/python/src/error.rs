//! From the engine's errors to Python's exceptions.

use std::path::Path;

use bitkin::{Error, StorageError};
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
    match error {
        Error::UnknownCollection { .. } => classes::NotFound::new_err(message),
        Error::CollectionExists { .. } | Error::DuplicateId { .. } => {
            classes::AlreadyExists::new_err(message)
        }
        Error::BadBits { .. }
        | Error::WrongWidth { .. }
        | Error::PaddingBits { .. }
        | Error::RepeatedId { .. }
        | Error::ReservedId { .. }
        | Error::InvalidPayload { .. }
        | Error::BadIndexField { .. }
        | Error::Filter(_) => classes::InvalidInput::new_err(message),
        Error::Damaged { .. } => classes::Corrupt::new_err(message),
        Error::Locked { .. } => classes::Locked::new_err(message),
        Error::NotADatabase { .. } => classes::NotADatabase::new_err(message),
        Error::FormatVersion { .. } => classes::UnknownFormat::new_err(message),
        Error::ReadOnly => classes::ReadOnly::new_err(message),
        Error::Closed => classes::Closed::new_err(message),
        Error::Storage(error) => raised_by_storage(&error, message),
        _ => classes::Error::new_err(message),
    }
}

/// As [`raised`], for the opening of `path`: messages of storage name files within it.
pub(crate) fn raised_at(path: &Path, error: Error) -> PyErr {
    if let Error::Storage(StorageError::Io { source, .. }) = &error
        && let Some(number) = source.raw_os_error()
    {
        return classes::DiskError::new_err((
            number,
            error.to_string(),
            path.as_os_str().to_owned(),
        ));
    }
    raised(error)
}

fn raised_by_storage(error: &StorageError, message: String) -> PyErr {
    match error {
        StorageError::UnknownCollection { .. } => classes::NotFound::new_err(message),
        StorageError::NotEmpty { .. } => classes::NotADatabase::new_err(message),
        StorageError::BadName { .. }
        | StorageError::TooLarge { .. }
        | StorageError::IdsExhausted { .. }
        | StorageError::PayloadCount { .. } => classes::InvalidInput::new_err(message),
        StorageError::Corrupt { .. }
        | StorageError::MissingFile { .. }
        | StorageError::ManifestLost { .. } => classes::Corrupt::new_err(message),
        StorageError::UnsupportedFeature { .. } => classes::UnknownFormat::new_err(message),
        StorageError::Closing => classes::Closed::new_err(message),
        StorageError::Io { source, .. } => match source.raw_os_error() {
            Some(number) => classes::DiskError::new_err((number, message)),
            None => classes::DiskError::new_err(message),
        },
        StorageError::Poisoned { .. } => classes::DiskError::new_err(message),
        _ => classes::Error::new_err(message),
    }
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
