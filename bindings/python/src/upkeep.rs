//! What is done to a database as a whole, also without opening it; and its sizes.

use std::path::PathBuf;

use bitkin::{Activity, BackupReport, CollectionStats, Problem, Stats};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;

use crate::error::raised_at;
use crate::interrupt::interruptible;

/// Copies the database in the directory `path`, as of one moment, into the directory `dest`, which must
/// be new or empty; also while another process writes it. Returns a BackupReport.
///
/// Files that never change are hard-linked where the system can, which takes no space; but damage to
/// the bytes of one is then damage to both. If Ctrl-C or an error ends it, nothing is left in `dest`.
///
/// Raises NotADatabase, also if there is something in `dest`, UnknownFormat, Corrupt, DiskError.
#[pyfunction]
pub(crate) fn backup<'py>(
    py: Python<'py>,
    path: PathBuf,
    dest: PathBuf,
) -> PyResult<Bound<'py, PyAny>> {
    let activity = Activity::new();
    let done = interruptible(py, &activity, || {
        bitkin::backup_with(&path, &dest, &activity)
    })?;
    backed_up(py, done.map_err(|error| raised_at(&path, error))?)
}

/// Reads and checks all that the database in the directory `path` holds on disk, without opening it: a
/// list of what is wrong, in words, which is empty if nothing is.
///
/// Raises NotADatabase, DiskError.
#[pyfunction]
pub(crate) fn verify(py: Python<'_>, path: PathBuf) -> PyResult<Vec<String>> {
    let activity = Activity::new();
    let report = interruptible(py, &activity, || bitkin::verify_with(&path, &activity))?;
    let report = report.map_err(|error| raised_at(&path, error))?;
    Ok(in_words(report.problems))
}

/// Saves what is whole of the database in the directory `path`, which nobody may be writing, into a new
/// database in the directory `dest`, which must be new or empty. Nothing in `path` is changed. Returns
/// a RepairReport, which lists what is lost. If Ctrl-C or an error ends it, nothing is left in `dest`.
///
/// Raises NotADatabase if nothing of one is there, or something is in `dest`; Locked, DiskError.
#[pyfunction]
pub(crate) fn repair<'py>(
    py: Python<'py>,
    path: PathBuf,
    dest: PathBuf,
) -> PyResult<Bound<'py, PyAny>> {
    static REPORT: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let activity = Activity::new();
    let report = interruptible(py, &activity, || {
        bitkin::repair_with(&path, &dest, &activity)
    })?;
    let report = report.map_err(|error| raised_at(&path, error))?;
    let rows = PyDict::new(py);
    for (name, count) in report.collections {
        rows.set_item(name, count)?;
    }
    let class = REPORT.import(py, "bitkin", "RepairReport")?;
    class.call1((rows, in_words(report.lost)))
}

/// As a `BackupReport`.
pub(crate) fn backed_up<'py>(py: Python<'py>, report: BackupReport) -> PyResult<Bound<'py, PyAny>> {
    static REPORT: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let class = REPORT.import(py, "bitkin", "BackupReport")?;
    class.call1((
        report.sequence,
        report.files,
        report.linked,
        report.copied_bytes,
    ))
}

pub(crate) fn in_words(problems: Vec<Problem>) -> Vec<String> {
    problems.iter().map(Problem::to_string).collect()
}

/// The sizes of a database, as its `stats` gives them.
pub(crate) fn sizes<'py>(py: Python<'py>, stats: Stats) -> PyResult<Bound<'py, PyDict>> {
    let sizes = PyDict::new(py);
    sizes.set_item("sequence", stats.sequence)?;
    sizes.set_item("rows", stats.rows)?;
    sizes.set_item("memory_bytes", stats.memory_bytes)?;
    sizes.set_item("cut_bytes", stats.cut_bytes)?;
    sizes.set_item("logs", stats.logs)?;
    sizes.set_item("log_bytes", stats.log_bytes)?;
    sizes.set_item("manifest_bytes", stats.manifest_bytes)?;
    sizes.set_item("segment_bytes", stats.segment_bytes)?;
    sizes.set_item("background_error", stats.background_error)?;
    let collections = stats.collections.into_iter();
    let collections = collections.map(|stats| collection_sizes(py, stats));
    sizes.set_item("collections", collections.collect::<PyResult<Vec<_>>>()?)?;
    Ok(sizes)
}

/// The sizes of a collection, as its `stats` gives them.
pub(crate) fn collection_sizes<'py>(
    py: Python<'py>,
    stats: CollectionStats,
) -> PyResult<Bound<'py, PyDict>> {
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
