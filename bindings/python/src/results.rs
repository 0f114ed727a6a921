//! Answers as numpy arrays.

use std::time::Duration;

use bitkin::{Answer, Explanation, Group, Pair, RESERVED_ID};
use numpy::ndarray::Array2;
use numpy::{Element, IntoPyArray, PyArray1, PyArray2};
use pyo3::exceptions::PyMemoryError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple};

use crate::error::invalid;

/// The distance that stands where there is no hit.
const NO_DISTANCE: u32 = u32::MAX;

/// The hits of every query in a row of k, those that are not there filled up.
pub(crate) struct Rectangle {
    ids: Vec<u64>,
    distances: Vec<u32>,
    /// Certified radii, -1 for nothing.
    certified: Vec<i64>,
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
        ids.resize(cells, RESERVED_ID);
        distances.resize(cells, NO_DISTANCE);
        Ok(Rectangle {
            ids,
            distances,
            certified: vec![-1; rows],
            rows,
            k,
        })
    }

    /// Sets the answer to a query.
    pub(crate) fn put(&mut self, query: usize, answer: &Answer) {
        let cells = query * self.k..(query + 1) * self.k;
        let ids = self.ids[cells.clone()].iter_mut();
        let cells = ids.zip(&mut self.distances[cells]);
        for ((id, distance), hit) in cells.zip(&answer.hits) {
            (*id, *distance) = (hit.id, hit.distance);
        }
        self.certified[query] = certified(answer);
    }

    /// As numpy arrays, without copying: ids, distances, and, if they are wanted, the certified radii.
    ///
    /// # Errors
    /// None that can happen: there is room for as many answers as queries.
    pub(crate) fn into_arrays(
        self,
        py: Python<'_>,
        certified: bool,
    ) -> PyResult<Bound<'_, PyTuple>> {
        let shape = (self.rows, self.k);
        let ids = matrix(py, self.ids, shape)?;
        let distances = matrix(py, self.distances, shape)?;
        match certified {
            true => (ids, distances, PyArray1::from_vec(py, self.certified)).into_pyobject(py),
            false => (ids, distances).into_pyobject(py),
        }
    }
}

/// The certified radius as arrays have it: -1 for nothing.
fn certified(answer: &Answer) -> i64 {
    answer.certified_radius.map_or(-1, i64::from)
}

pub(crate) fn matrix<T: Element>(
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
    certified: Vec<i64>,
}

impl Lists {
    pub(crate) fn new(answers: &[Answer]) -> Self {
        let all: usize = answers.iter().map(|answer| answer.hits.len()).sum();
        let mut lists = Lists {
            ids: Vec::with_capacity(all),
            distances: Vec::with_capacity(all),
            offsets: Vec::with_capacity(answers.len() + 1),
            certified: answers.iter().map(certified).collect(),
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

    /// As a `RadiusHits`, without copying; if they are wanted, with the certified radii.
    ///
    /// # Errors
    /// Those of Python.
    pub(crate) fn into_hits(self, py: Python<'_>, certified: bool) -> PyResult<Bound<'_, PyAny>> {
        static HITS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let hits = HITS.import(py, "bitkin", "RadiusHits")?.call1((
            PyArray1::from_vec(py, self.ids),
            PyArray1::from_vec(py, self.distances),
            PyArray1::from_vec(py, self.offsets),
        ))?;
        match certified {
            true => {
                let certified = PyArray1::from_vec(py, self.certified);
                Ok((hits, certified).into_pyobject(py)?.into_any())
            }
            false => Ok(hits),
        }
    }
}

/// Pairs of rows: ids of the ones, of the others, and distances.
pub(crate) fn pairs<'py>(py: Python<'py>, pairs: &[Pair]) -> PyResult<Bound<'py, PyTuple>> {
    let column = |of: fn(&Pair) -> u64| PyArray1::from_iter(py, pairs.iter().map(of));
    let distances = PyArray1::from_iter(py, pairs.iter().map(|pair| pair.distance));
    (column(|pair| pair.a), column(|pair| pair.b), distances).into_pyobject(py)
}

/// Groups of rows, as a `Groups`.
pub(crate) fn groups<'py>(py: Python<'py>, groups: &[Group]) -> PyResult<Bound<'py, PyAny>> {
    static GROUPS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let duplicates = || groups.iter().flat_map(|group| &group.duplicates);
    let mut end = 0;
    let ends = groups.iter().map(|group| {
        end += group.duplicates.len() as i64;
        end
    });
    let offsets: Vec<i64> = std::iter::once(0).chain(ends).collect();
    GROUPS.import(py, "bitkin", "Groups")?.call1((
        PyArray1::from_iter(py, groups.iter().map(|group| group.id)),
        PyArray1::from_iter(py, duplicates().map(|hit| hit.id)),
        PyArray1::from_iter(py, duplicates().map(|hit| hit.distance)),
        PyArray1::from_vec(py, offsets),
    ))
}

/// An answer, and how it was found, in the words of `bitkin explain --format json`.
pub(crate) fn explained<'py>(
    py: Python<'py>,
    answer: &Answer,
    explanation: &Explanation,
) -> PyResult<Bound<'py, PyDict>> {
    let micros = |time: Duration| time.as_nanos() as f64 / 1e3;
    let parts = explanation.parts.iter().map(|part| {
        let dict = PyDict::new(py);
        dict.set_item("rows", part.rows)?;
        dict.set_item("visible", part.visible)?;
        dict.set_item("in_memory", part.in_memory)?;
        dict.set_item("tables", part.tables)?;
        dict.set_item("way", part.way.to_string())?;
        dict.set_item("predicted_scan_us", micros(part.predicted_scan))?;
        dict.set_item("predicted_tables_us", part.predicted_tables.map(micros))?;
        dict.set_item("took_us", micros(part.took))?;
        dict.set_item("shells", part.shells)?;
        dict.set_item("buckets", part.buckets)?;
        dict.set_item("candidates", part.candidates)?;
        dict.set_item("bytes", part.bytes)?;
        dict.set_item("covered_radius", part.covered_radius)?;
        Ok(dict)
    });
    let parts = parts.collect::<PyResult<Vec<_>>>()?;
    let dict = PyDict::new(py);
    let ids = answer.hits.iter().map(|hit| hit.id);
    let distances = answer.hits.iter().map(|hit| hit.distance);
    dict.set_item("ids", PyArray1::from_iter(py, ids))?;
    dict.set_item("distances", PyArray1::from_iter(py, distances))?;
    dict.set_item("certified_radius", answer.certified_radius)?;
    dict.set_item("exact", answer.exact)?;
    dict.set_item("parts", parts)?;
    Ok(dict)
}
