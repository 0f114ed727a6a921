//! The engine's calls without what Python adds to them, for `benchmark.py`: in builds with the feature
//! `measure` alone.

use std::hint::black_box;

use bitkin::Error;
use pyo3::prelude::*;

use crate::arguments::{self, Codes};
use crate::collection::Collection;
use crate::copied::Copied;

/// Arguments as the engine takes them.
#[pyclass(frozen)]
pub(crate) struct Native {
    ids: Copied<u64>,
    codes: Codes,
}

#[pymethods]
impl Native {
    #[new]
    fn new(
        collection: &Collection,
        ids: &Bound<'_, PyAny>,
        codes: &Bound<'_, PyAny>,
    ) -> PyResult<Self> {
        Ok(Native {
            ids: arguments::ids(ids)?,
            codes: arguments::codes(codes, "codes", collection.get_ref()?.bits())?,
        })
    }

    /// Searches for each code by itself.
    fn search_each(&self, py: Python<'_>, collection: &Collection, k: usize) -> PyResult<()> {
        collection.with(py, |collection| {
            for query in self.codes.bytes.chunks_exact(collection.code_bytes()) {
                black_box(collection.search(black_box(query)).k(k).run()?);
            }
            Ok::<_, Error>(())
        })
    }

    /// Searches for all codes together.
    fn search(
        &self,
        py: Python<'_>,
        collection: &Collection,
        k: usize,
        threads: usize,
    ) -> PyResult<()> {
        collection.with(py, |collection| {
            let search = collection.search_batch(&self.codes.bytes).k(k);
            black_box(search.threads(threads).run()?);
            Ok::<_, Error>(())
        })
    }

    /// Inserts all.
    fn insert(&self, py: Python<'_>, collection: &Collection) -> PyResult<()> {
        collection.with(py, |collection| {
            collection.insert(&self.ids, &self.codes.bytes)
        })
    }
}
