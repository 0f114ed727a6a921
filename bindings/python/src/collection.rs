//! The class `Collection`.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use bitkin::{Budget, Error, FieldKind, Filter};
use numpy::PyArray1;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::arguments::{self, Codes};
use crate::error::{invalid, raised};
use crate::ours::Ours;
use crate::payloads;
use crate::results::{Lists, Rectangle, explained, pairs};
use crate::rows::Rows;

/// How long a signal, as that of Ctrl-C, may wait to be heard.
const BETWEEN_SIGNALS: Duration = Duration::from_millis(100);

/// A search, single or batched, that is confined as the arguments say.
macro_rules! confined {
    ($search:expr, $filter:expr, $budget:expr, $threads:expr) => {{
        let mut search = $search.threads($threads);
        if let Some(filter) = &$filter {
            search = search.filter(filter);
        }
        if let Some(budget) = $budget {
            search = search.budget(budget);
        }
        search
    }};
}

/// Code and payload of a row.
type Content<'py> = (Bound<'py, PyArray1<u8>>, Option<Bound<'py, PyAny>>);

/// A collection of codes of one width, by id, made by a `Database`.
///
/// `len` of it is the number of its rows, and takes no time.
#[pyclass(frozen, module = "bitkin")]
pub(crate) struct Collection {
    collection: Ours<bitkin::Collection>,
}

impl Collection {
    pub(crate) fn new(collection: bitkin::Collection) -> Self {
        Collection {
            collection: Ours::new(collection),
        }
    }

    /// Runs `work` on the collection while other Python threads run.
    ///
    /// # Errors
    /// `WrongProcess`, and those of `work`.
    fn with<T: Send>(
        &self,
        py: Python<'_>,
        work: impl Send + FnOnce(&bitkin::Collection) -> Result<T, Error>,
    ) -> PyResult<T> {
        let collection = self.collection.get()?;
        py.detach(|| work(collection)).map_err(raised)
    }

    /// A row for each id, or for each code if ids are to be assigned.
    fn given(
        &self,
        ids: Option<&Bound<'_, PyAny>>,
        codes: &Bound<'_, PyAny>,
    ) -> PyResult<(Option<Vec<u64>>, Codes)> {
        let codes = arguments::codes(codes, "codes", self.collection.get()?.bits())?;
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

#[pymethods]
impl Collection {
    /// Inserts rows, all or none, and returns their ids, uint64 of shape (n,).
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
        let (ids, codes) = self.given(ids, codes)?;
        let payloads = payloads.map(|values| payloads::written(values, codes.rows));
        let payloads = payloads.transpose()?.unwrap_or_default();
        let inserted = self.with(py, |collection| {
            let codes = &codes.bytes;
            match ids {
                Some(ids) if payloads.is_empty() => {
                    collection.insert(&ids, codes)?;
                    Ok(ids)
                }
                ids => {
                    let payloads = payloads::borrowed(&payloads);
                    collection.insert_with_payloads(ids.as_deref(), codes, &payloads)
                }
            }
        })?;
        Ok(PyArray1::from_vec(py, inserted))
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
            let (ids, payloads) = (ids.unwrap_or_default(), payloads::borrowed(&payloads));
            collection.upsert_with_payloads(&ids, &codes.bytes, &payloads)
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
        let Some(row) = self.with(py, |collection| collection.get(id))? else {
            return Ok(None);
        };
        let payload = row.payload.map(|json| payloads::read(py, &json));
        Ok(Some((
            PyArray1::from_vec(py, row.code),
            payload.transpose()?,
        )))
    }

    /// The rows by ascending id, as they are at this moment: an iterator of ids, codes, uint8 of shape
    /// (ceil(bits / 8),), and payloads, None for a row without. It may be shared by threads.
    ///
    /// filter: a condition in SQL on the payloads of the rows that are wanted.
    ///
    /// Raises InvalidInput, Corrupt.
    #[pyo3(signature = (*, filter=None))]
    fn rows(&self, py: Python<'_>, filter: Option<String>) -> PyResult<Rows> {
        let rows = self.with(py, |collection| match filter {
            None => collection.rows(),
            Some(filter) => collection.rows_where(&Filter::parse(&filter)?),
        })?;
        Ok(Rows::new(rows))
    }

    /// The number of rows that pass filter, a condition in SQL on their payloads.
    ///
    /// Raises InvalidInput, Corrupt.
    fn count(&self, py: Python<'_>, filter: String) -> PyResult<u64> {
        self.with(py, |collection| collection.count(&Filter::parse(&filter)?))
    }

    /// Deletes the rows that pass filter, a condition in SQL on their payloads, all or none, and
    /// returns how many there were.
    ///
    /// Raises InvalidInput, ReadOnly, Corrupt.
    fn delete_where(&self, py: Python<'_>, filter: String) -> PyResult<u64> {
        self.with(py, |collection| {
            collection.delete_where(&Filter::parse(&filter)?)
        })
    }

    /// Finds the k rows nearest to each query, exactly: their ids, uint64 of shape (nq, k), and
    /// distances in bits, uint32 of shape (nq, k), by (distance, id).
    ///
    /// Where there are fewer than k rows, ids are 2**64 - 1 and distances 2**32 - 1 at the end.
    /// queries: uint8 of shape (nq, ceil(bits / 8)), or of shape (ceil(bits / 8),) for one.
    /// filter: a condition in SQL on the payloads of the rows that may be found. budget: ends each
    /// query when about so many rows were compared, or after so long, a datetime.timedelta; what was
    /// found by then is the answer. threads: how many share the work of one call; None for as many as
    /// there are cores. return_certificate: adds the certified radius of each query, int64 of shape
    /// (nq,): every row at that distance or nearer is among the hits or ranks after the k-th; -1 if
    /// nothing is proven.
    ///
    /// Raises InvalidInput, Corrupt.
    #[pyo3(
        signature = (queries, k=10, *, filter=None, budget=None, threads=0, return_certificate=false),
        text_signature = "($self, queries, k=10, *, filter=None, budget=None, threads=None, return_certificate=False)"
    )]
    #[allow(clippy::too_many_arguments)]
    fn search<'py>(
        &self,
        py: Python<'py>,
        queries: &Bound<'py, PyAny>,
        #[pyo3(from_py_with = arguments::k)] k: usize,
        filter: Option<String>,
        #[pyo3(from_py_with = arguments::budget)] budget: Option<Budget>,
        #[pyo3(from_py_with = arguments::threads)] threads: usize,
        return_certificate: bool,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let bits = self.collection.get()?.bits();
        let queries = arguments::codes(queries, "queries", bits)?;
        let mut found = Rectangle::new(queries.rows, k)?;
        let found = self.with(py, |collection| {
            let filter = filter.as_deref().map(Filter::parse).transpose()?;
            // What a batch does beforehand costs more than a search among few rows.
            if queries.rows == 1 {
                let search = collection.search(&queries.bytes).k(k);
                let search = confined!(search, filter, budget, threads);
                found.push(&search.run()?);
                return Ok(found);
            }
            let search = collection.search_batch(&queries.bytes).k(k);
            for answer in confined!(search, filter, budget, threads).run()? {
                found.push(&answer);
            }
            Ok(found)
        })?;
        found.into_arrays(py, return_certificate)
    }

    /// Finds all rows within distance r of each query, exactly: a RadiusHits of ids, uint64,
    /// distances in bits, uint32, and offsets, int64 of shape (nq + 1,).
    ///
    /// The hits of query i are `offsets[i]:offsets[i + 1]` of ids and distances, by (distance, id).
    /// queries, filter, budget and threads are as for `search`. return_certificate: returns a tuple
    /// of the hits and the certified radius of each query, int64 of shape (nq,): every row at that
    /// distance or nearer is among the hits; -1 if nothing is proven.
    ///
    /// Raises InvalidInput, Corrupt.
    #[pyo3(
        signature = (queries, r, *, filter=None, budget=None, threads=0, return_certificate=false),
        text_signature = "($self, queries, r, *, filter=None, budget=None, threads=None, return_certificate=False)"
    )]
    #[allow(clippy::too_many_arguments)]
    fn search_radius<'py>(
        &self,
        py: Python<'py>,
        queries: &Bound<'py, PyAny>,
        #[pyo3(from_py_with = arguments::radius)] r: u32,
        filter: Option<String>,
        #[pyo3(from_py_with = arguments::budget)] budget: Option<Budget>,
        #[pyo3(from_py_with = arguments::threads)] threads: usize,
        return_certificate: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let bits = self.collection.get()?.bits();
        let queries = arguments::codes(queries, "queries", bits)?;
        let found = self.with(py, |collection| {
            let filter = filter.as_deref().map(Filter::parse).transpose()?;
            let search = collection.search_batch(&queries.bytes).radius(r);
            let search = confined!(search, filter, budget, threads);
            Ok(Lists::new(&search.run()?))
        })?;
        found.into_hits(py, return_certificate)
    }

    /// Searches for one query as `search` does, or, if r is given, as `search_radius`, and tells how
    /// the answer was found: a dict with ids, distances, certified_radius (None if nothing is proven),
    /// exact, and parts, a list with a dict for each segment and for the rows in memory, in the order
    /// in which they were searched: rows, visible (of those), in_memory, tables (how many it has), way
    /// ("scan", "tables" or "tables, then scan"), predicted_scan_us, predicted_tables_us (None if they
    /// were not asked), took_us, shells, buckets, candidates (rows that were compared), bytes (that
    /// were read for it) and covered_radius (to which nothing of the part is missing).
    ///
    /// Raises InvalidInput, Corrupt.
    #[pyo3(
        signature = (query, k=10, *, r=None, filter=None, budget=None, threads=0),
        text_signature = "($self, query, k=10, *, r=None, filter=None, budget=None, threads=None)"
    )]
    #[allow(clippy::too_many_arguments)]
    fn explain<'py>(
        &self,
        py: Python<'py>,
        query: &Bound<'py, PyAny>,
        #[pyo3(from_py_with = arguments::k)] k: usize,
        #[pyo3(from_py_with = arguments::optional_radius)] r: Option<u32>,
        filter: Option<String>,
        #[pyo3(from_py_with = arguments::budget)] budget: Option<Budget>,
        #[pyo3(from_py_with = arguments::threads)] threads: usize,
    ) -> PyResult<Bound<'py, PyDict>> {
        let bits = self.collection.get()?.bits();
        let query = arguments::codes(query, "query", bits)?;
        if query.rows != 1 {
            return Err(invalid(format!(
                "query must be one code, not {}",
                query.rows
            )));
        }
        let (answer, explanation) = self.with(py, |collection| {
            let filter = filter.as_deref().map(Filter::parse).transpose()?;
            let search = collection.search(&query.bytes);
            let search = match r {
                None => search.k(k),
                Some(radius) => search.radius(radius),
            };
            confined!(search, filter, budget, threads).explain()
        })?;
        explained(py, &answer, &explanation)
    }

    /// Finds all pairs of rows within distance r of each other, each once: the smaller ids, uint64, the
    /// larger ids, uint64, and the distances in bits, uint32, each of shape (n,), by (distance, a, b).
    ///
    /// filter: both rows must pass it. threads: how many share the work; None for as many as there
    /// are cores. Ctrl-C ends it.
    ///
    /// Raises InvalidInput, Corrupt.
    #[pyo3(
        signature = (r, *, filter=None, threads=0),
        text_signature = "($self, r, *, filter=None, threads=None)"
    )]
    fn pairs<'py>(
        &self,
        py: Python<'py>,
        #[pyo3(from_py_with = arguments::radius)] r: u32,
        filter: Option<String>,
        #[pyo3(from_py_with = arguments::threads)] threads: usize,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let mut interrupted = Ok(());
        let found = self.with(py, |collection| {
            let filter = filter.as_deref().map(Filter::parse).transpose()?;
            let mut search = collection.pairs(r).threads(threads);
            if let Some(filter) = &filter {
                search = search.filter(filter);
            }
            let mut heard = Instant::now();
            let search = search.progress(|_| {
                if heard.elapsed() > BETWEEN_SIGNALS {
                    heard = Instant::now();
                    interrupted = Python::attach(|py| py.check_signals());
                }
                match interrupted {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(_) => ControlFlow::Break(()),
                }
            });
            search.run()
        })?;
        interrupted?;
        pairs(py, found)
    }

    /// Sizes of the collection: a dict with name, bits, rows, deleted_rows (still in segments),
    /// memory_rows (not yet in a segment), segments, and bytes, a dict of what the segments take on
    /// disk: ids, codes, payloads, indexes, overhead and their total.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let stats = self.with(py, bitkin::Collection::stats)?;
        let bytes = PyDict::new(py);
        bytes.set_item("ids", stats.bytes.ids)?;
        bytes.set_item("codes", stats.bytes.codes)?;
        bytes.set_item("payloads", stats.bytes.payloads)?;
        bytes.set_item("indexes", stats.bytes.indexes)?;
        bytes.set_item("overhead", stats.bytes.overhead)?;
        bytes.set_item("total", stats.bytes.total())?;
        let sizes = PyDict::new(py);
        sizes.set_item("name", stats.name)?;
        sizes.set_item("bits", stats.bits)?;
        sizes.set_item("rows", stats.rows)?;
        sizes.set_item("deleted_rows", stats.deleted_rows)?;
        sizes.set_item("memory_rows", stats.memory_rows)?;
        sizes.set_item("segments", stats.segments)?;
        sizes.set_item("bytes", bytes)?;
        Ok(sizes)
    }

    /// Writes the collection anew without its deleted rows: what was deleted is in no file of
    /// the database any more. Reads and writes go on meanwhile.
    ///
    /// Raises ReadOnly.
    fn compact(&self, py: Python<'_>) -> PyResult<()> {
        self.with(py, bitkin::Collection::compact)
    }

    /// The collection's name.
    #[getter]
    fn name(&self) -> PyResult<&str> {
        Ok(self.collection.get()?.name())
    }

    /// Width of its codes in bits.
    #[getter]
    fn bits(&self) -> PyResult<u32> {
        Ok(self.collection.get()?.bits())
    }

    /// The payload fields declared for fast filtering, as `create_collection` took them.
    #[getter]
    fn index<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let index = PyDict::new(py);
        for declared in self.collection.get()?.index() {
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

    fn __repr__(&self, py: Python<'_>) -> String {
        let Ok(collection) = self.collection.get() else {
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
