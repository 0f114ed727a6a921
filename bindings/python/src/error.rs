//! From the engine's errors to Python's exceptions.

use std::path::{Path, PathBuf};

use bitkin::encoder::LibraryError;
use bitkin::model::ModelError;
use bitkin::{Error, ErrorKind, StorageError};
use numpy::PyArray1;
use pyo3::prelude::*;

/// The exceptions that `python/bitkin/__init__.py` defines: in Python, because only there a class
/// can derive from two.
mod classes {
    pyo3::import_exception!(bitkin, AlreadyExists);
    pyo3::import_exception!(bitkin, Closed);
    pyo3::import_exception!(bitkin, Corrupt);
    pyo3::import_exception!(bitkin, DiskError);
    pyo3::import_exception!(bitkin, EncoderError);
    pyo3::import_exception!(bitkin, EncoderMissing);
    pyo3::import_exception!(bitkin, Error);
    pyo3::import_exception!(bitkin, ImageError);
    pyo3::import_exception!(bitkin, ImagesFailed);
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
    match &error {
        Error::Image(_) => return classes::ImageError::new_err(message),
        Error::EncoderLibrary(LibraryError::Missing { places }) => return encoder_missing(places),
        Error::EncoderLibrary(_) | Error::Encode(_) => {
            return classes::EncoderError::new_err(message);
        }
        // What was given does not fit the collection, or is no model.
        Error::NoModel { .. } | Error::ModelMismatch { .. } | Error::Model(_) => {
            return invalid(message);
        }
        _ => {}
    }
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

/// The engine's message is for those who build programs.
fn encoder_missing(places: &[PathBuf]) -> PyErr {
    let places: Vec<_> = places.iter().map(|place| place.to_string_lossy()).collect();
    classes::EncoderMissing::new_err(format!(
        "codes of this collection are made by a model, which takes the package bitkin-encoder: install \
         it (pip install ./bindings/python-encoder in a checkout of Bitkin), or name its library in \
         $BITKIN_ENCODER; looked for {}",
        places.join(", ")
    ))
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
    match (error.kind(), system_error(&error)) {
        (ErrorKind::Disk, Some(number)) => disk_error(number, error.to_string(), path),
        _ => raised(error),
    }
}

/// For a model file that was named.
pub(crate) fn bad_model(path: &Path, error: &ModelError) -> PyErr {
    match error {
        ModelError::Io { source, .. } if source.raw_os_error().is_some() => {
            let number = source.raw_os_error().unwrap_or_default();
            disk_error(number, error.to_string(), path)
        }
        error => invalid(format!("{}: {error}", path.display())),
    }
}

fn disk_error(number: i32, message: String, path: &Path) -> PyErr {
    classes::DiskError::new_err((number, message, path.as_os_str().to_owned()))
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

/// For a picture that cannot be used, which is named where the exception does not.
pub(crate) fn image_error(py: Python<'_>, row: usize, path: Option<&str>, error: PyErr) -> PyErr {
    if !error.is_instance_of::<classes::ImageError>(py) {
        return error;
    }
    classes::ImageError::new_err(format!("{}: {}", image(row, path), error.value(py)))
}

/// The exception for pictures that could not be inserted, each a `FailedImage`, beside others that were.
pub(crate) fn failed_images(failed: Vec<Bound<'_, PyAny>>, ids: Bound<'_, PyArray1<u64>>) -> PyErr {
    let described = || -> PyResult<String> {
        let mut text = format!(
            "{} of {} pictures could not be inserted, the others were:",
            failed.len(),
            ids.len()?
        );
        for one in failed.iter().take(SHOWN) {
            let (row, path): (usize, Option<String>) =
                (one.get_item(0)?.extract()?, one.get_item(1)?.extract()?);
            let image = image(row, path.as_deref());
            text.push_str(&format!("\n{image}: {}", one.get_item(2)?));
        }
        if failed.len() > SHOWN {
            text.push_str(&format!(
                "\n... and {} more, in `failed`",
                failed.len() - SHOWN
            ));
        }
        Ok(text)
    };
    match described() {
        Ok(text) => classes::ImagesFailed::new_err((
            text,
            failed.into_iter().map(Bound::unbind).collect::<Vec<_>>(),
            ids.unbind(),
        )),
        Err(error) => error,
    }
}

/// How many pictures that failed a message names.
const SHOWN: usize = 5;

fn image(row: usize, path: Option<&str>) -> String {
    match path {
        Some(path) => format!("images[{row}], {path}"),
        None => format!("images[{row}]"),
    }
}
