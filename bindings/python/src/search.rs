//! The searches of the class `Collection`.

use bitkin::selection::{Selection, SelectionOptions};
use bitkin::{Answer, Budget, Filter, PairSearch};
use numpy::PyArray1;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::arguments::{self, Codes};
use crate::collection::Collection;
use crate::error::invalid;
use crate::interrupt::Signals;
use crate::results::{Lists, Rectangle, explained, groups, pairs};

/// A search, single or batched, that is confined as the arguments say.
macro_rules! confined {
    ($search:expr, $filter:expr, $budget:expr, $threads:expr, $mask:expr) => {{
        let mut search = $search.threads($threads);
        if let Some(mask) = &$mask {
            search = search.mask(&mask.bytes);
        }
        if let Some(filter) = &$filter {
            search = search.filter(filter);
        }
        if let Some(budget) = $budget {
            search = search.budget(budget);
        }
        search
    }};
}

/// A code, uint8 of shape (ceil(bits / 8),).
type OneCode<'py> = Bound<'py, PyArray1<u8>>;

/// How is searched, beside the number of hits.
pub(crate) struct Options {
    pub(crate) mask: Option<Codes>,
    pub(crate) filter: Option<Filter>,
    pub(crate) budget: Option<Budget>,
    pub(crate) threads: usize,
    pub(crate) return_certificate: bool,
}

impl Collection {
    /// The argument `mask`.
    pub(crate) fn mask(&self, mask: Option<&Bound<'_, PyAny>>) -> PyResult<Option<Codes>> {
        let bits = self.get_ref()?.bits();
        mask.map(|mask| arguments::codes(mask, "mask", bits))
            .transpose()
    }

    /// The bits that tell codes from others; at most 64 if no number is given.
    ///
    /// # Errors
    /// Those of `select_bits`.
    pub(crate) fn selected(
        &self,
        py: Python<'_>,
        like: &Codes,
        unlike: Option<&Codes>,
        bits: Option<u32>,
    ) -> PyResult<Selection> {
        self.with(py, |collection| {
            let unlike = unlike.map_or(&[][..], |codes| &codes.bytes);
            let options = match bits {
                Some(bits) => SelectionOptions::new(bits as usize),
                None => SelectionOptions::default(),
            };
            collection.select_bits(&like.bytes, unlike, &options)
        })
    }

    /// The k rows nearest to each query, as `search` returns them.
    ///
    /// # Errors
    /// Those of `search`.
    pub(crate) fn nearest<'py>(
        &self,
        py: Python<'py>,
        queries: &Codes,
        k: usize,
        options: Options,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let Options {
            mask,
            filter,
            budget,
            threads,
            return_certificate,
        } = options;
        let mut found = Rectangle::new(queries.rows, k)?;
        let mut signals = Signals::new();
        self.with_filter(py, filter.as_ref(), |collection| {
            // What a batch does beforehand costs more than a search among few rows.
            if queries.rows == 1 {
                let search = collection.search(&queries.bytes).k(k);
                let search = confined!(search, filter, budget, threads, mask);
                found.put(0, &search.run()?);
                return Ok(());
            }
            let search = collection.search_batch(&queries.bytes).k(k);
            confined!(search, filter, budget, threads, mask).for_each(|number, answer| {
                found.put(number, &answer);
                signals.listen()
            })
        })?;
        signals.outcome()?;
        found.into_arrays(py, return_certificate)
    }
}

#[pymethods]
impl Collection {
    /// Finds the k rows nearest to each query, exactly: their ids, uint64 of shape (nq, k), and
    /// distances in bits, uint32 of shape (nq, k), by (distance, id).
    ///
    /// Where there are fewer than k rows, ids are 2**64 - 1 and distances 2**32 - 1 at the end.
    /// queries: uint8 of shape (nq, ceil(bits / 8)), or of shape (ceil(bits / 8),) for one. mask: the bits
    /// that count, laid out as a code, uint8 of shape (ceil(bits / 8),), or (nq, ceil(bits / 8)) for one a
    /// query; None for all bits. filter: a condition in SQL on the payloads of the rows that may be found. budget: ends each
    /// query when about so many rows were compared, or after so long, a datetime.timedelta; what was
    /// found by then is the answer. threads: how many share the work of one call; None for as many as
    /// there are cores. return_certificate: adds the certified radius of each query, int64 of shape
    /// (nq,): every row at that distance or nearer is among the hits or ranks after the k-th; -1 if
    /// nothing is proven.
    ///
    /// Raises InvalidInput, Corrupt.
    #[pyo3(
        signature = (queries, k=10, *, mask=None, filter=None, budget=None, threads=0, return_certificate=false),
        text_signature = "($self, queries, k=10, *, mask=None, filter=None, budget=None, threads=None, return_certificate=False)"
    )]
    #[allow(clippy::too_many_arguments)]
    fn search<'py>(
        &self,
        py: Python<'py>,
        queries: &Bound<'py, PyAny>,
        #[pyo3(from_py_with = arguments::k)] k: usize,
        mask: Option<&Bound<'py, PyAny>>,
        #[pyo3(from_py_with = arguments::optional_filter)] filter: Option<Filter>,
        #[pyo3(from_py_with = arguments::budget)] budget: Option<Budget>,
        #[pyo3(from_py_with = arguments::threads)] threads: usize,
        return_certificate: bool,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let queries = arguments::codes(queries, "queries", self.get_ref()?.bits())?;
        let options = Options {
            mask: self.mask(mask)?,
            filter,
            budget,
            threads,
            return_certificate,
        };
        self.nearest(py, &queries, k, options)
    }

    /// Selects bits by examples of what is sought, for `search(query, mask=mask)`: query and mask, each uint8 of
    /// shape (ceil(bits / 8),).
    ///
    /// like: codes of what is sought. unlike: codes of what is not; rows of the collection say what else there
    /// is. bits: how many; None for as many as add something, at most 64.
    ///
    /// Raises InvalidInput, Corrupt.
    #[pyo3(
        signature = (like, unlike=None, *, bits=None),
        text_signature = "($self, like, unlike=None, *, bits=None)"
    )]
    fn select_bits<'py>(
        &self,
        py: Python<'py>,
        like: &Bound<'py, PyAny>,
        unlike: Option<&Bound<'py, PyAny>>,
        #[pyo3(from_py_with = arguments::selected_bits)] bits: Option<u32>,
    ) -> PyResult<(OneCode<'py>, OneCode<'py>)> {
        let width = self.get_ref()?.bits();
        let like = arguments::codes(like, "like", width)?;
        let unlike = unlike.map(|unlike| arguments::codes(unlike, "unlike", width));
        let selection = self.selected(py, &like, unlike.transpose()?.as_ref(), bits)?;
        let query = selection.code().unwrap_or_default();
        Ok((
            PyArray1::from_vec(py, query),
            PyArray1::from_vec(py, selection.mask()),
        ))
    }

    /// Finds all rows within distance r of each query, exactly: a RadiusHits of ids, uint64,
    /// distances in bits, uint32, and offsets, int64 of shape (nq + 1,).
    ///
    /// The hits of query i are `offsets[i]:offsets[i + 1]` of ids and distances, by (distance, id).
    /// queries, mask, filter, budget and threads are as for `search`. return_certificate: returns a tuple
    /// of the hits and the certified radius of each query, int64 of shape (nq,): every row at that
    /// distance or nearer is among the hits; -1 if nothing is proven.
    ///
    /// Raises InvalidInput, Corrupt.
    #[pyo3(
        signature = (queries, r, *, mask=None, filter=None, budget=None, threads=0, return_certificate=false),
        text_signature = "($self, queries, r, *, mask=None, filter=None, budget=None, threads=None, return_certificate=False)"
    )]
    #[allow(clippy::too_many_arguments)]
    fn search_radius<'py>(
        &self,
        py: Python<'py>,
        queries: &Bound<'py, PyAny>,
        #[pyo3(from_py_with = arguments::radius)] r: u32,
        mask: Option<&Bound<'py, PyAny>>,
        #[pyo3(from_py_with = arguments::optional_filter)] filter: Option<Filter>,
        #[pyo3(from_py_with = arguments::budget)] budget: Option<Budget>,
        #[pyo3(from_py_with = arguments::threads)] threads: usize,
        return_certificate: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let queries = arguments::codes(queries, "queries", self.get_ref()?.bits())?;
        let mask = self.mask(mask)?;
        let mut signals = Signals::new();
        let found = self.with_filter(py, filter.as_ref(), |collection| {
            if queries.rows == 1 {
                let search = collection.search(&queries.bytes).radius(r);
                let answer = confined!(search, filter, budget, threads, mask).run()?;
                return Ok(Lists::new(&[answer]));
            }
            let mut answers = vec![Answer::default(); queries.rows];
            let search = collection.search_batch(&queries.bytes).radius(r);
            confined!(search, filter, budget, threads, mask).for_each(|number, answer| {
                answers[number] = answer;
                signals.listen()
            })?;
            Ok(Lists::new(&answers))
        })?;
        signals.outcome()?;
        found.into_hits(py, return_certificate)
    }

    /// Searches for one query as `search` does, or, if r is given, as `search_radius`, and tells how
    /// the answer was found: a dict with ids, distances, certified_radius (None if nothing is proven),
    /// exact, and parts, a list with a dict for each segment and for the rows in memory, in the order
    /// in which they were searched: rows, visible (of those), in_memory, tables (how many it has), way
    /// ("scan", "tables", "tables, then scan" or "planes"), predicted_scan_us, predicted_tables_us (None if they
    /// were not asked), took_us, shells, buckets, candidates (rows that were compared), bytes (that
    /// were read for it) and covered_radius (to which nothing of the part is missing).
    ///
    /// Raises InvalidInput, Corrupt.
    #[pyo3(
        signature = (query, k=10, *, r=None, mask=None, filter=None, budget=None, threads=0),
        text_signature = "($self, query, k=10, *, r=None, mask=None, filter=None, budget=None, threads=None)"
    )]
    #[allow(clippy::too_many_arguments)]
    fn explain<'py>(
        &self,
        py: Python<'py>,
        query: &Bound<'py, PyAny>,
        #[pyo3(from_py_with = arguments::k)] k: usize,
        #[pyo3(from_py_with = arguments::optional_radius)] r: Option<u32>,
        mask: Option<&Bound<'py, PyAny>>,
        #[pyo3(from_py_with = arguments::optional_filter)] filter: Option<Filter>,
        #[pyo3(from_py_with = arguments::budget)] budget: Option<Budget>,
        #[pyo3(from_py_with = arguments::threads)] threads: usize,
    ) -> PyResult<Bound<'py, PyDict>> {
        let bits = self.get_ref()?.bits();
        let query = arguments::codes(query, "query", bits)?;
        let mask = self.mask(mask)?;
        if query.rows != 1 {
            return Err(invalid(format!(
                "query must be one code, not {}",
                query.rows
            )));
        }
        let (answer, explanation) = self.with_filter(py, filter.as_ref(), |collection| {
            let search = collection.search(&query.bytes);
            let search = match r {
                None => search.k(k),
                Some(radius) => search.radius(radius),
            };
            confined!(search, filter, budget, threads, mask).explain()
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
        #[pyo3(from_py_with = arguments::optional_filter)] filter: Option<Filter>,
        #[pyo3(from_py_with = arguments::threads)] threads: usize,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let mut signals = Signals::new();
        let found = self.with_filter(py, filter.as_ref(), |collection| {
            let search = pair_search(collection, r, filter.as_ref(), threads);
            search.progress(|_| signals.listen()).run()
        })?;
        signals.outcome()?;
        pairs(py, &found)
    }

    /// Gathers rows within distance r of each other around some that are kept: a Groups of kept, uint64 of
    /// shape (g,), ids, uint64 of shape (n,), distances in bits, uint32 of shape (n,), and offsets,
    /// int64 of shape (g + 1,).
    ///
    /// Going through the rows by id, one is kept if none that is kept is within r of it; otherwise it
    /// is a duplicate of the nearest such row. Those of `kept[i]` are `offsets[i]:offsets[i + 1]` of
    /// ids, with their distances from it. Rows that are near no other are in no group. So
    /// `col.delete(col.groups(r).ids)` leaves no two rows within r, and takes none away that is far
    /// from all that stay.
    ///
    /// filter: all rows must pass it. threads: how many share the work; None for as many as there
    /// are cores. Ctrl-C ends it.
    ///
    /// Raises InvalidInput, Corrupt.
    #[pyo3(
        signature = (r, *, filter=None, threads=0),
        text_signature = "($self, r, *, filter=None, threads=None)"
    )]
    fn groups<'py>(
        &self,
        py: Python<'py>,
        #[pyo3(from_py_with = arguments::radius)] r: u32,
        #[pyo3(from_py_with = arguments::optional_filter)] filter: Option<Filter>,
        #[pyo3(from_py_with = arguments::threads)] threads: usize,
    ) -> PyResult<Bound<'py, PyAny>> {
        let mut signals = Signals::new();
        let found = self.with_filter(py, filter.as_ref(), |collection| {
            let search = pair_search(collection, r, filter.as_ref(), threads);
            search.progress(|_| signals.listen()).groups()
        })?;
        signals.outcome()?;
        groups(py, &found)
    }
}

fn pair_search<'a>(
    collection: &bitkin::Collection,
    radius: u32,
    filter: Option<&Filter>,
    threads: usize,
) -> PairSearch<'a> {
    let search = collection.pairs(radius).threads(threads);
    match filter {
        Some(filter) => search.filter(filter),
        None => search,
    }
}
