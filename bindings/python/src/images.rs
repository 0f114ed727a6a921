//! Pictures that Python hands over: paths, and the bytes of files.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use bitkin::Error;
use bitkin::image::{ImageError, Limits};
use pyo3::exceptions::{PyOSError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyIterator, PyMemoryView, PyString, PyTuple};

use crate::error::raised;

/// A picture as it was given.
pub(crate) enum Source {
    File(PathBuf),
    Bytes(Vec<u8>),
}

/// Why a picture cannot be used.
pub(crate) enum Unusable {
    Unreadable(std::io::Error),
    Refused(Error),
}

impl Source {
    /// # Errors
    /// `TypeError` for what is neither a path nor bytes.
    fn new(value: &Bound<'_, PyAny>, row: usize) -> PyResult<Source> {
        if let Ok(bytes) = value.cast::<PyBytes>() {
            return Ok(Source::Bytes(bytes.as_bytes().to_vec()));
        }
        if value.is_instance_of::<PyByteArray>() || value.is_instance_of::<PyMemoryView>() {
            let bytes = value.py().get_type::<PyBytes>().call1((value,))?;
            return Ok(Source::Bytes(bytes.cast::<PyBytes>()?.as_bytes().to_vec()));
        }
        match value.extract() {
            Ok(path) => Ok(Source::File(path)),
            Err(error) if error.is_instance_of::<PyTypeError>(value.py()) => {
                Err(PyTypeError::new_err(format!(
                    "images[{row}] must be a path, or the bytes of a picture file, not {}",
                    value.get_type().name()?
                )))
            }
            Err(error) => Err(error),
        }
    }

    pub(crate) fn path(&self) -> Option<String> {
        match self {
            Source::File(path) => Some(path.to_string_lossy().into_owned()),
            Source::Bytes(_) => None,
        }
    }

    /// The bytes of the picture's file.
    pub(crate) fn read(self) -> Result<Vec<u8>, Unusable> {
        match self {
            Source::Bytes(bytes) => Ok(bytes),
            Source::File(path) => read(&path),
        }
    }
}

/// Reads a file no further than a picture may be long.
fn read(path: &Path) -> Result<Vec<u8>, Unusable> {
    let limit = Limits::default().max_file_bytes;
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(Unusable::Unreadable)?;
    let known = file.metadata().map_or(0, |metadata| metadata.len());
    if known <= limit {
        bytes.reserve_exact(known as usize + 1);
        let read = file.take(limit + 1).read_to_end(&mut bytes);
        read.map_err(Unusable::Unreadable)?;
    }
    let found = known.max(bytes.len() as u64);
    if found > limit {
        let error = ImageError::FileTooLarge {
            bytes: found,
            limit,
        };
        return Err(Unusable::Refused(error.into()));
    }
    Ok(bytes)
}

impl Unusable {
    /// As an exception: that of Python for files.
    pub(crate) fn raised(self, path: Option<&str>) -> PyErr {
        match self {
            Unusable::Unreadable(error) => match (error.raw_os_error(), path) {
                (Some(number), Some(path)) => {
                    // Without the number that Rust puts behind it.
                    let text = error.to_string();
                    let text = text.split(" (os error").next().unwrap_or(&text).to_owned();
                    PyOSError::new_err((number, text, path.to_owned()))
                }
                _ => error.into(),
            },
            Unusable::Refused(error) => raised(error),
        }
    }
}

/// Pictures that are given: one, or something that gives them one by one.
pub(crate) struct Images<'py> {
    left: Bound<'py, PyIterator>,
    /// How many there are, where that can be known before.
    pub(crate) count: Option<usize>,
    pub(crate) taken: usize,
}

impl<'py> Images<'py> {
    /// # Errors
    /// `TypeError` for what gives no pictures.
    pub(crate) fn new(value: &Bound<'py, PyAny>) -> PyResult<Self> {
        let py = value.py();
        let single = value.is_instance_of::<PyString>()
            || value.is_instance_of::<PyBytes>()
            || value.is_instance_of::<PyByteArray>()
            || value.is_instance_of::<PyMemoryView>()
            || value.hasattr("__fspath__")?;
        let images = match single {
            true => PyTuple::new(py, [value])?.into_any(),
            false => value.clone(),
        };
        let Ok(left) = images.try_iter() else {
            return Err(PyTypeError::new_err(format!(
                "images must be paths, or the bytes of picture files, not {}",
                value.get_type().name()?
            )));
        };
        Ok(Images {
            left,
            count: images.len().ok(),
            taken: 0,
        })
    }

    /// Finds out how many there are, by taking all.
    pub(crate) fn counted(mut self) -> PyResult<Self> {
        if self.count.is_none() {
            let all = self.left.by_ref().collect::<PyResult<Vec<_>>>()?;
            self.count = Some(all.len());
            self.left = PyTuple::new(self.left.py(), all)?.try_iter()?;
        }
        Ok(self)
    }

    pub(crate) fn next(&mut self) -> PyResult<Option<Source>> {
        let Some(value) = self.left.next() else {
            return Ok(None);
        };
        let source = Source::new(&value?, self.taken)?;
        self.taken += 1;
        Ok(Some(source))
    }
}
