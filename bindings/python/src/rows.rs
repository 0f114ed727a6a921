//! The iterators over rows.

use std::sync::{Mutex, PoisonError};

use numpy::{PyArray1, PyArray2};
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::error::raised;
use crate::interrupt::Signals;
use crate::ours::Ours;
use crate::payloads;
use crate::results::matrix;

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

/// Ids, codes and payloads of some rows.
type Batch<'py> = (
    Bound<'py, PyArray1<u64>>,
    Bound<'py, PyArray2<u8>>,
    Option<Bound<'py, PyList>>,
);

/// The rows of a collection at one moment, by ascending id and many at a time, made by
/// `Collection.batches`.
#[pyclass(frozen, module = "bitkin")]
pub(crate) struct Batches {
    left: Ours<Mutex<bitkin::Rows>>,
    size: usize,
    /// Bytes of a code.
    stride: usize,
    payloads: bool,
}

impl Batches {
    pub(crate) fn new(rows: bitkin::Rows, size: usize, stride: usize, payloads: bool) -> Self {
        Batches {
            left: Ours::new(Mutex::new(rows)),
            size,
            stride,
            payloads,
        }
    }
}

#[pymethods]
impl Batches {
    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Batch<'py>>> {
        let left = self.left.get()?;
        let mut signals = Signals::new();
        let (ids, codes, payloads) = py
            .detach(|| {
                let (mut ids, mut codes, mut payloads) = (Vec::new(), Vec::new(), Vec::new());
                let mut left = left.lock().unwrap_or_else(PoisonError::into_inner);
                for row in left.by_ref().take(self.size) {
                    let row = row?;
                    ids.push(row.id);
                    codes.extend(row.code);
                    if self.payloads {
                        payloads.push(row.payload);
                    }
                    if signals.listen().is_break() {
                        break;
                    }
                }
                Ok((ids, codes, payloads))
            })
            .map_err(raised)?;
        signals.outcome()?;
        if ids.is_empty() {
            return Ok(None);
        }
        let payloads = self.payloads.then(|| {
            let objects = payloads.into_iter().map(|json| {
                let object = json.map(|json| payloads::read(py, &json));
                object.transpose()
            });
            PyList::new(py, objects.collect::<PyResult<Vec<_>>>()?)
        });
        let codes = matrix(py, codes, (ids.len(), self.stride))?;
        Ok(Some((
            PyArray1::from_vec(py, ids),
            codes,
            payloads.transpose()?,
        )))
    }
}
