//! The extension module behind the Python package `bitkin`.
//!
//! Codes come and go as numpy arrays, payloads as Python objects. The package in `python/` adds
//! the exceptions and the types of results, and its `__init__.pyi` the types of arguments.
//!
//! Every call lets other Python threads run while the engine works.

mod arguments;
mod collection;
mod copied;
mod database;
mod encoders;
mod error;
mod images;
mod interrupt;
#[cfg(feature = "measure")]
mod measure;
mod ours;
mod payloads;
mod pictures;
mod results;
mod rows;
mod search;
mod upkeep;

use pyo3::pymodule;

/// What the package `bitkin` re-exports.
#[pymodule]
mod _bitkin {
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::collection::Collection;
    #[pymodule_export]
    use crate::database::{Database, open};
    #[pymodule_export]
    use crate::upkeep::{backup, repair, verify};

    #[cfg(feature = "measure")]
    #[pymodule_export]
    use crate::measure::Native;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
