//! Answers as numpy arrays.

use bitkin::{Answer, RESERVED_ID};
use numpy::ndarray::Array2;
use numpy::{Element, IntoPyArray, PyArray1, PyArray2};
use pyo3::exceptions::PyMemoryError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use crate::error::invalid;

/// The distance that stands where there is no hit.
const NO_DISTANCE: u32 = u32::MAX;

/// Ids and distances of shape (queries, k).
pub(crate) type Matrices<'py> = (Bound<'py, PyArray2<u64>>, Bound<'py, PyArray2<u32>>);

/// The hits of every query in a row of k, those that are not there filled up.
pub(crate) struct Rectangle {
    ids: Vec<u64>,
    distances: Vec<u32>,
    rows: usize,
    k: usize,
}

impl Rectangle {
    /// With room for all, before any work is done.
    ///
    /// # Errors
    /// `MemoryError`.
    pub(crate) fn new(rows: usize, k: usize) -> PyResult<Self> {
        let cells = rows.saturating_mul(k);
        let (mut ids, mut distances) = (Vec::new(), Vec::new());
        let room = ids.try_reserve_exact(cells);
        room.and_then(|()| distances.try_reserve_exact(cells))
            .map_err(|_| {
                PyMemoryError::new_err(format!("no memory for the {k} nearest of {rows} queries"))
            })?;
        Ok(Rectangle {
            ids,
            distances,
            rows,
            k,
        })
    }

    /// Adds the answer to the next query.
    pub(crate) fn push(&mut self, answer: &Answer) {
        let end = self.ids.len() + self.k;
        self.ids.extend(answer.hits.iter().map(|hit| hit.id));
        self.distances
            .extend(answer.hits.iter().map(|hit| hit.distance));
        self.ids.resize(end, RESERVED_ID);
        self.distances.resize(end, NO_DISTANCE);
    }

    /// As numpy arrays, without copying.
    ///
    /// # Errors
    /// None that can happen: there were as many answers as queries.
    pub(crate) fn into_arrays(self, py: Python<'_>) -> PyResult<Matrices<'_>> {
        let shape = (self.rows, self.k);
        Ok((
            matrix(py, self.ids, shape)?,
            matrix(py, self.distances, shape)?,
        ))
    }
}

fn matrix<T: Element>(
    py: Python<'_>,
    values: Vec<T>,
    shape: (usize, usize),
) -> PyResult<Bound<'_, PyArray2<T>>> {
    let array = Array2::from_shape_vec(shape, values).map_err(|e| invalid(e.to_string()))?;
    Ok(array.into_pyarray(py))
}

/// The hits of all queries, one after the other.
#[derive(Default)]
pub(crate) struct Lists {
    ids: Vec<u64>,
    distances: Vec<u32>,
    /// Signed, as what numpy and scipy take for offsets.
    offsets: Vec<i64>,
}

impl Lists {
    pub(crate) fn new(answers: &[Answer]) -> Self {
        let all: usize = answers.iter().map(|answer| answer.hits.len()).sum();
        let mut lists = Lists {
            ids: Vec::with_capacity(all),
            distances: Vec::with_capacity(all),
            offsets: Vec::with_capacity(answers.len() + 1),
        };
        lists.offsets.push(0);
        for answer in answers {
            lists.ids.extend(answer.hits.iter().map(|hit| hit.id));
            let distances = answer.hits.iter().map(|hit| hit.distance);
            lists.distances.extend(distances);
            lists.offsets.push(lists.ids.len() as i64);
        }
        lists
    }

    /// As a `RadiusHits`, without copying.
    ///
    /// # Errors
    /// Those of Python.
    pub(crate) fn into_hits(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        static HITS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        HITS.import(py, "bitkin", "RadiusHits")?.call1((
            PyArray1::from_vec(py, self.ids),
            PyArray1::from_vec(py, self.distances),
            PyArray1::from_vec(py, self.offsets),
        ))
    }
}
