//! The class `Collection`.

use std::sync::Arc;

use bitkin::{Activity, Error, FieldKind, Filter};
use numpy::PyArray1;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::arguments::{self, Codes};
use crate::copied::Copied;
use crate::encoders::Encoders;
use crate::error::{invalid, raised};
use crate::interrupt::interruptible;
use crate::ours::Ours;
use crate::payloads;
use crate::rows::{Batches, Rows};
use crate::upkeep::collection_sizes;

/// Code and payload of a row.
type Content<'py> = (Bound<'py, PyArray1<u8>>, Option<Bound<'py, PyAny>>);

/// Rows whose payloads take longer to ask than a thread takes to start.
const MANY: u64 = 1 << 16;

/// A collection of codes of one width, by id, made by a `Database`.
///
/// `len` of it is the number of its rows, and takes no time; `id in` it says whether there is a row.
#[pyclass(frozen, module = "bitkin")]
pub(crate) struct Collection {
    handles: Ours<(bitkin::Collection, Arc<Encoders>)>,
    /// What stops the writing of the database's segments.
    activity: Activity,
}

impl Collection {
    pub(crate) fn new(
        collection: bitkin::Collection,
        encoders: Arc<Encoders>,
        activity: Activity,
    ) -> Self {
        Collection {
            handles: Ours::new((collection, encoders)),
            activity,
        }
    }

    /// # Errors
    /// `WrongProcess`.
    pub(crate) fn get_ref(&self) -> PyResult<&bitkin::Collection> {
        Ok(&self.handles.get()?.0)
    }

    /// # Errors
    /// `WrongProcess`.
    pub(crate) fn encoders(&self) -> PyResult<&Encoders> {
        Ok(&self.handles.get()?.1)
    }

    /// Runs `work` on the collection while other Python threads run.
    ///
    /// # Errors
    /// `WrongProcess`, and those of `work`.
    pub(crate) fn with<T: Send>(
        &self,
        py: Python<'_>,
        work: impl Send + FnOnce(&bitkin::Collection) -> Result<T, Error>,
    ) -> PyResult<T> {
        let collection = self.get_ref()?;
        py.detach(|| work(collection)).map_err(raised)
    }

    /// As [`Collection::with`], for work that asks the payloads of all rows where there is a filter: if they are
    /// many, Ctrl-C ends it.
    ///
    /// # Errors
    /// `KeyboardInterrupt` too.
    pub(crate) fn with_filter<T: Send>(
        &self,
        py: Python<'_>,
        filter: Option<&Filter>,
        work: impl Send + FnOnce(&bitkin::Collection) -> Result<T, Error>,
    ) -> PyResult<T> {
        if filter.is_none() || self.with(py, bitkin::Collection::len)? < MANY {
            return self.with(py, work);
        }
        let activity = Activity::new();
        let collection = self.get_ref()?.clone().stopped_by(&activity);
        interruptible(py, &activity, || work(&collection))?.map_err(raised)
    }

    /// The rows that pass the filter, if there is one.
    fn at_this_moment(&self, py: Python<'_>, filter: Option<Filter>) -> PyResult<bitkin::Rows> {
        self.with_filter(py, filter.as_ref(), |collection| match &filter {
            None => collection.rows(),
            Some(filter) => collection.rows_where(filter),
        })
    }

    /// A row for each id, or for each code if ids are to be assigned.
    fn given(
        &self,
        ids: Option<&Bound<'_, PyAny>>,
        codes: &Bound<'_, PyAny>,
    ) -> PyResult<(Option<Copied<u64>>, Codes)> {
        let codes = arguments::codes(codes, "codes", self.get_ref()?.bits())?;
        let ids = ids.map(arguments::ids).transpose()?;
        match &ids {
            Some(ids) if ids.len() != codes.rows => Err(invalid(format!(
                "{} ids were given for {} codes",
                ids.len(),
                codes.rows
            ))),
            _ => Ok((ids, codes)),
        }
    }
}

/// What Python sees of a row beside its id.
fn content(py: Python<'_>, row: bitkin::Row) -> PyResult<Content<'_>> {
    let payload = row.payload.map(|json| payloads::read(py, &json));
    Ok((PyArray1::from_vec(py, row.code), payload.transpose()?))
}

#[pymethods]
impl Collection {
    /// Inserts rows, all or none, and returns their ids, uint64 of shape (n,): `ids` itself, if it is such.
    ///
    /// ids: uint64 of shape (n,), or any whole numbers, new to the collection, in any order; None
    /// assigns those that follow the largest one. codes: uint8 of shape (n, ceil(bits / 8)).
    /// payloads: for each row a dict, None, or JSON as str or bytes.
    ///
    /// Raises AlreadyExists, InvalidInput, ReadOnly.
    #[pyo3(signature = (ids, codes, payloads=None))]
    fn insert<'py>(
        &self,
        py: Python<'py>,
        ids: Option<&Bound<'py, PyAny>>,
        codes: &Bound<'py, PyAny>,
        payloads: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyArray1<u64>>> {
        let given = ids;
        let (ids, codes) = self.given(ids, codes)?;
        let payloads = payloads.map(|values| payloads::written(values, codes.rows));
        let payloads = payloads.transpose()?.unwrap_or_default();
        // It is what is to be returned.
        let given = given.filter(|given| given.is_instance_of::<PyArray1<u64>>());
        let returned = given.is_some();
        let inserted = self.with(py, |collection| {
            let codes = &codes.bytes;
            match ids {
                Some(ids) if payloads.is_empty() => {
                    collection.insert(&ids, codes)?;
                    Ok(if returned { Vec::new() } else { ids.into_vec() })
                }
                ids => {
                    let payloads = payloads::borrowed(&payloads);
                    collection.insert_with_payloads(ids.as_deref(), codes, &payloads)
                }
            }
        })?;
        match given {
            Some(given) => Ok(given.cast::<PyArray1<u64>>()?.clone()),
            None => Ok(PyArray1::from_vec(py, inserted)),
        }
    }

    /// Inserts rows in place of those that have the same ids, all or none, and returns how many
    /// were replaced. Those lose their payloads.
    ///
    /// ids, codes and payloads are as for `insert`, but ids must be given.
    ///
    /// Raises InvalidInput, ReadOnly.
    #[pyo3(signature = (ids, codes, payloads=None))]
    fn upsert(
        &self,
        py: Python<'_>,
        ids: &Bound<'_, PyAny>,
        codes: &Bound<'_, PyAny>,
        payloads: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<u64> {
        let (ids, codes) = self.given(Some(ids), codes)?;
        let payloads = payloads.map(|values| payloads::written(values, codes.rows));
        let payloads = payloads.transpose()?.unwrap_or_default();
        self.with(py, |collection| {
            let ids = ids.as_deref().unwrap_or_default();
            let payloads = payloads::borrowed(&payloads);
            collection.upsert_with_payloads(ids, &codes.bytes, &payloads)
        })
    }

    /// Deletes the rows of these ids, all or none, and returns how many there were.
    ///
    /// ids: uint64 of shape (n,), or any whole numbers. Those that are not there are passed over.
    ///
    /// Raises ReadOnly.
    fn delete(&self, py: Python<'_>, ids: &Bound<'_, PyAny>) -> PyResult<u64> {
        let ids = arguments::ids(ids)?;
        self.with(py, |collection| collection.delete(&ids))
    }

    /// The code of a row, uint8 of shape (ceil(bits / 8),), and its payload, None if it has none;
    /// or None if there is no row of that id.
    fn get<'py>(
        &self,
        py: Python<'py>,
        #[pyo3(from_py_with = arguments::id)] id: u64,
    ) -> PyResult<Option<Content<'py>>> {
        let row = self.with(py, |collection| collection.get(id))?;
        row.map(|row| content(py, row)).transpose()
    }

    /// The rows of these ids, a list of what `get` gives for each, all of one moment.
    ///
    /// ids: uint64 of shape (n,), or any whole numbers.
    fn get_many<'py>(
        &self,
        py: Python<'py>,
        ids: &Bound<'py, PyAny>,
    ) -> PyResult<Vec<Option<Content<'py>>>> {
        let ids = arguments::ids(ids)?;
        let rows = self.with(py, |collection| {
            let snapshot = collection.snapshot()?;
            let rows = ids.iter().map(|id| snapshot.get(*id));
            rows.collect::<Result<Vec<_>, Error>>()
        })?;
        let rows = rows.into_iter();
        rows.map(|row| row.map(|row| content(py, row)).transpose())
            .collect()
    }

    /// The rows by ascending id, as they are at this moment: an iterator of ids, codes, uint8 of shape
    /// (ceil(bits / 8),), and payloads, None for a row without. It may be shared by threads.
    ///
    /// filter: a condition in SQL on the payloads of the rows that are wanted.
    ///
    /// Raises InvalidInput, Corrupt.
    #[pyo3(signature = (*, filter=None))]
    fn rows(
        &self,
        py: Python<'_>,
        #[pyo3(from_py_with = arguments::optional_filter)] filter: Option<Filter>,
    ) -> PyResult<Rows> {
        Ok(Rows::new(self.at_this_moment(py, filter)?))
    }

    /// The rows by ascending id, as they are at this moment, `size` at a time: an iterator of ids, uint64
    /// of shape (n,), codes, uint8 of shape (n, ceil(bits / 8)), and payloads, a list of length n. It
    /// may be shared by threads. Memory does not grow with the number of rows.
    ///
    /// filter: a condition in SQL on the payloads of the rows that are wanted. payloads: False leaves
    /// them unread; there is None in place of each list.
    ///
    /// Raises InvalidInput, Corrupt.
    #[pyo3(signature = (size=10_000, *, filter=None, payloads=true))]
    fn batches(
        &self,
        py: Python<'_>,
        #[pyo3(from_py_with = arguments::batch_size)] size: usize,
        #[pyo3(from_py_with = arguments::optional_filter)] filter: Option<Filter>,
        payloads: bool,
    ) -> PyResult<Batches> {
        let stride = self.get_ref()?.code_bytes();
        let rows = self.at_this_moment(py, filter)?;
        Ok(Batches::new(rows, size, stride, payloads))
    }

    /// The number of rows that pass filter, a condition in SQL on their payloads.
    ///
    /// Raises InvalidInput, Corrupt.
    fn count(
        &self,
        py: Python<'_>,
        #[pyo3(from_py_with = arguments::filter)] filter: Filter,
    ) -> PyResult<u64> {
        self.with_filter(py, Some(&filter), |collection| collection.count(&filter))
    }

    /// Deletes the rows that pass filter, a condition in SQL on their payloads, all or none, and
    /// returns how many there were.
    ///
    /// Raises InvalidInput, ReadOnly, Corrupt.
    fn delete_where(
        &self,
        py: Python<'_>,
        #[pyo3(from_py_with = arguments::filter)] filter: Filter,
    ) -> PyResult<u64> {
        self.with_filter(py, Some(&filter), |collection| {
            collection.delete_where(&filter)
        })
    }

    /// Sizes of the collection: a dict with name, bits, rows, deleted_rows (still in segments),
    /// memory_rows (not yet in a segment), segments, and bytes, a dict of what the segments take on
    /// disk: ids, codes, payloads, indexes, overhead and their total.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let stats = self.with(py, bitkin::Collection::stats)?;
        collection_sizes(py, stats)
    }

    /// Writes the collection anew without its deleted rows: what was deleted is in no file of
    /// the database any more. Reads and writes go on meanwhile. Ctrl-C ends it, and leaves what it has not
    /// finished as it was.
    ///
    /// Raises ReadOnly.
    fn compact(&self, py: Python<'_>) -> PyResult<()> {
        let collection = self.get_ref()?;
        interruptible(py, &self.activity, || collection.compact())?.map_err(raised)
    }

    /// The collection's name.
    #[getter]
    fn name(&self) -> PyResult<&str> {
        Ok(self.get_ref()?.name())
    }

    /// Width of its codes in bits.
    #[getter]
    fn bits(&self) -> PyResult<u32> {
        Ok(self.get_ref()?.bits())
    }

    /// What makes the codes of its pictures, a text that differs for each model and built-in encoder;
    /// None if it takes codes alone.
    #[getter]
    fn model(&self) -> PyResult<Option<String>> {
        let model = self.get_ref()?.model();
        Ok(model.map(|fingerprint| fingerprint.to_string()))
    }

    /// Whether its codes are stored bit by bit, too, for searches with masks.
    #[getter]
    fn has_planes(&self) -> PyResult<bool> {
        Ok(self.get_ref()?.has_planes())
    }

    /// The payload fields declared for fast filtering, as `create_collection` took them.
    #[getter]
    fn index<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let index = PyDict::new(py);
        for declared in self.get_ref()?.index() {
            let kind = match declared.kind {
                FieldKind::Int => "int",
                FieldKind::Float => "float",
                FieldKind::Text => "text",
                FieldKind::Bool => "bool",
                _ => "unknown",
            };
            index.set_item(&declared.field, kind)?;
        }
        Ok(index)
    }

    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        let rows = self.with(py, bitkin::Collection::len)?;
        Ok(usize::try_from(rows).unwrap_or(usize::MAX))
    }

    fn __contains__(
        &self,
        py: Python<'_>,
        #[pyo3(from_py_with = arguments::id)] id: u64,
    ) -> PyResult<bool> {
        self.with(py, |collection| Ok(collection.get(id)?.is_some()))
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        let Ok(collection) = self.get_ref() else {
            return "<bitkin.Collection of another process>".to_owned();
        };
        let state = match py.detach(|| collection.len()) {
            Ok(rows) => format!("{rows} rows"),
            Err(Error::Closed) => "closed".to_owned(),
            Err(_) => "dropped".to_owned(),
        };
        let (name, bits) = (collection.name(), collection.bits());
        format!("<bitkin.Collection {name:?}, {bits} bits, {state}>")
    }
}
