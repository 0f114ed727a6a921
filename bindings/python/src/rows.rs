//! The iterator over rows.

use std::sync::{Mutex, PoisonError};

use numpy::PyArray1;
use pyo3::prelude::*;

use crate::error::raised;
use crate::ours::Ours;
use crate::payloads;

/// Id, code and payload of a row.
type Row<'py> = (u64, Bound<'py, PyArray1<u8>>, Option<Bound<'py, PyAny>>);

/// The rows of a collection at one moment, by ascending id, made by `Collection.rows`.
#[pyclass(frozen, module = "bitkin")]
pub(crate) struct Rows {
    left: Ours<Mutex<bitkin::Rows>>,
}

impl Rows {
    pub(crate) fn new(rows: bitkin::Rows) -> Self {
        Rows {
            left: Ours::new(Mutex::new(rows)),
        }
    }
}

#[pymethods]
impl Rows {
    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Row<'py>>> {
        let left = self.left.get()?;
        let next = py.detach(|| left.lock().unwrap_or_else(PoisonError::into_inner).next());
        let Some(row) = next.transpose().map_err(raised)? else {
            return Ok(None);
        };
        let payload = row.payload.map(|json| payloads::read(py, &json));
        let code = PyArray1::from_vec(py, row.code);
        Ok(Some((row.id, code, payload.transpose()?)))
    }
}
