//! The encoders of a database's collections, opened once.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bitkin::Error;
use bitkin::encoder::{Device, Encoder, Fingerprint};
use pyo3::exceptions::PyModuleNotFoundError;
use pyo3::prelude::*;

use crate::error::invalid;

/// Opening a model takes long, and handles of collections are made at every turn: the encoders are the
/// database's, one for each model.
#[derive(Default)]
pub(crate) struct Encoders {
    opened: Mutex<HashMap<Fingerprint, Arc<dyn Encoder>>>,
}

impl Encoders {
    /// The encoder of a collection: the one that was opened before, if there is one.
    pub(crate) fn opened(&self, collection: &bitkin::Collection) -> Option<Arc<dyn Encoder>> {
        let opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        opened.get(&collection.model()?).map(Arc::clone)
    }

    /// Opens the encoder of a collection, in place of one that was opened before.
    ///
    /// # Errors
    /// Those of [`bitkin::Collection::open_encoder`].
    pub(crate) fn open(
        &self,
        collection: &bitkin::Collection,
        folders: &[PathBuf],
        device: Device,
    ) -> Result<Arc<dyn Encoder>, Error> {
        let folders: Vec<&Path> = folders.iter().map(PathBuf::as_path).collect();
        let encoder = collection.open_encoder(&folders, device)?;
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        opened.insert(encoder.fingerprint(), Arc::clone(&encoder));
        Ok(encoder)
    }
}

/// The folder of the encoder library, if the package `bitkin-encoder` is installed, which then makes sure
/// that libtorch is found.
///
/// # Errors
/// What that package raises.
pub(crate) fn folders(py: Python<'_>) -> PyResult<Vec<PathBuf>> {
    let package = match py.import("bitkin_encoder") {
        Ok(package) => package,
        Err(error) if error.is_instance_of::<PyModuleNotFoundError>(py) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    package.call_method0("load_libtorch")?;
    let library: PathBuf = package.call_method0("library_path")?.extract()?;
    Ok(library.parent().map(Path::to_owned).into_iter().collect())
}

/// The argument `device`.
///
/// # Errors
/// `InvalidInput`.
pub(crate) fn device(name: &str) -> PyResult<Device> {
    match name {
        "auto" => Ok(Device::Auto),
        "cpu" => Ok(Device::Cpu),
        _ => Err(invalid(format!(
            "device must be 'auto' (the GPU if there is one) or 'cpu', not {name:?}"
        ))),
    }
}
