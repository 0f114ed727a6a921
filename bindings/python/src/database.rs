//! The class `Database`, and `open`.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use bitkin::model::ModelFile;
use bitkin::{
    Activity, CollectionConfig, DatabaseOptions, Durability, Error, FieldKind, StorageError,
};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::arguments;
use crate::collection::Collection;
use crate::encoders::Encoders;
use crate::error::{bad_model, invalid, raised, raised_at};
use crate::interrupt::interruptible;
use crate::ours::Ours;
use crate::upkeep;

/// Opens the database in the directory `path`; makes one if the directory is not there or empty.
///
/// One process writes a database. Any number may read it beside, with `read_only=True`: they see
/// the moment of opening, or of the last `refresh`, and nothing is made where nothing is.
///
/// What a writer may choose: durability says when what was written is on disk for certain: "sync",
/// when the call that wrote it returns; a datetime.timedelta, at most so long after; "none", when the
/// system pleases, or after `sync`. With any, nothing is lost when only the process dies. memory_limit:
/// bytes of rows kept in memory before they are written into segments; None for 64 MiB. flush_rows:
/// the same in rows, in the background; None for 65,536.
///
/// Raises InvalidInput, Locked, NotADatabase, UnknownFormat, Corrupt, DiskError.
#[pyfunction]
#[pyo3(
    signature = (path, *, read_only=false, durability=Durability::Sync, memory_limit=None, flush_rows=None),
    text_signature = "(path, *, read_only=False, durability='sync', memory_limit=None, flush_rows=None)"
)]
pub(crate) fn open(
    py: Python<'_>,
    path: PathBuf,
    read_only: bool,
    #[pyo3(from_py_with = arguments::durability)] durability: Durability,
    memory_limit: Option<&Bound<'_, PyAny>>,
    flush_rows: Option<&Bound<'_, PyAny>>,
) -> PyResult<Database> {
    let chosen = durability != Durability::Sync || memory_limit.is_some() || flush_rows.is_some();
    if read_only && chosen {
        return Err(invalid(
            "durability, memory_limit and flush_rows are for databases that are written, not for read_only=True",
        ));
    }
    let activity = Activity::new();
    let mut options = DatabaseOptions::new().durability(durability);
    options = options.activity(activity.clone());
    if let Some(bytes) = memory_limit {
        options = options.memory_limit(arguments::size(bytes, "memory_limit")?);
    }
    if let Some(rows) = flush_rows {
        options = options.flush_rows(arguments::size(rows, "flush_rows")?);
    }
    let opened = py.detach(|| {
        // The process may change its directory later.
        let full = std::path::absolute(&path).unwrap_or_else(|_| path.clone());
        if read_only {
            return bitkin::Database::open_read_only(full);
        }
        match options.clone().open(&full) {
            Err(not_one @ Error::NotADatabase { .. }) => match options.create(&full) {
                Err(Error::Storage(StorageError::NotEmpty { .. })) => Err(not_one),
                created => created,
            },
            opened => opened,
        }
    });
    let database = opened.map_err(|error| raised_at(&path, error))?;
    Ok(Database {
        database: Ours::new(RwLock::new(Some(database))),
        encoders: Ours::new(Arc::default()),
        activity,
        path,
        read_only,
    })
}

/// An open database, made by `open`: a directory with collections of binary codes.
///
/// Close it with `close` or a `with` statement. Dropping the database and its collections closes it
/// too, and loses nothing that was written.
#[pyclass(frozen, module = "bitkin")]
pub(crate) struct Database {
    /// `None` once closed.
    database: Ours<RwLock<Option<bitkin::Database>>>,
    encoders: Ours<Arc<Encoders>>,
    /// What stops the writing of its segments.
    activity: Activity,
    path: PathBuf,
    read_only: bool,
}

impl Database {
    /// Runs `work` on the database while other Python threads run.
    ///
    /// # Errors
    /// `Closed`, `WrongProcess`, and those of `work`.
    fn with<T: Send>(
        &self,
        py: Python<'_>,
        work: impl Send + FnOnce(&bitkin::Database) -> Result<T, Error>,
    ) -> PyResult<T> {
        let database = self.database.get()?;
        py.detach(|| with(database, work)).map_err(raised)
    }

    /// As [`Database::with`], for work that may be long and ends when `activity` is stopped: by Ctrl-C.
    ///
    /// # Errors
    /// `KeyboardInterrupt` too.
    fn interruptible<T: Send>(
        &self,
        py: Python<'_>,
        activity: &Activity,
        work: impl Send + FnOnce(&bitkin::Database) -> Result<T, Error>,
    ) -> PyResult<T> {
        let database = self.database.get()?;
        interruptible(py, activity, || with(database, work))?.map_err(raised)
    }

    fn handle(&self, collection: bitkin::Collection) -> PyResult<Collection> {
        let encoders = Arc::clone(self.encoders.get()?);
        let activity = self.activity.clone();
        Ok(Collection::new(collection, encoders, activity))
    }
}

/// Runs `work` on a database that is open.
fn with<T>(
    database: &RwLock<Option<bitkin::Database>>,
    work: impl FnOnce(&bitkin::Database) -> Result<T, Error>,
) -> Result<T, Error> {
    let database = database.read().unwrap_or_else(PoisonError::into_inner);
    work(database.as_ref().ok_or(Error::Closed)?)
}

#[pymethods]
impl Database {
    /// Makes a collection, durably: of codes of `bits` bits, 8 to 65,536; or of pictures, whose codes
    /// are made by a model, or by an encoder that needs none. One of the three must be given.
    ///
    /// model: a file of safetensors, as `bitkin train` writes it; the database keeps a copy. Encoding
    /// takes the package `bitkin-encoder`. encoder: `"pdq"`, the perceptual hash of 256 bits.
    /// index: declares payload fields for fast filtering: a dict from the field's name (`a.b` is the
    /// key `b` of the object `a`) to `"int"`, `"float"`, `"text"` or `"bool"`. planes: stores the codes once
    /// more, bit by bit, so that searches with a mask read its bits and no others: for wide codes.
    ///
    /// Raises AlreadyExists, InvalidInput, ReadOnly.
    #[pyo3(signature = (name, *, bits=None, model=None, encoder=None, index=None, planes=false))]
    #[allow(clippy::too_many_arguments)]
    fn create_collection(
        &self,
        py: Python<'_>,
        name: String,
        bits: Option<&Bound<'_, PyAny>>,
        model: Option<PathBuf>,
        encoder: Option<String>,
        index: Option<&Bound<'_, PyDict>>,
        planes: bool,
    ) -> PyResult<Collection> {
        let mut config = match (bits, model, encoder.as_deref()) {
            (Some(bits), None, None) => CollectionConfig::bits(arguments::bits(bits)?),
            (None, Some(path), None) => {
                let model = py.detach(|| ModelFile::read(&path));
                let model = model.map_err(|error| bad_model(&path, &error))?;
                CollectionConfig::model(&model)
            }
            (None, None, Some("pdq")) => CollectionConfig::pdq(),
            (None, None, Some(other)) => {
                return Err(invalid(format!("encoder must be 'pdq', not {other:?}")));
            }
            (None, None, None) => {
                return Err(PyTypeError::new_err("bits, model or encoder must be given"));
            }
            _ => {
                let reason = "only one of bits, model and encoder can be given";
                return Err(PyTypeError::new_err(reason));
            }
        };
        for (field, kind) in index.into_iter().flatten() {
            let (field, kind): (String, String) = (field.extract()?, kind.extract()?);
            config = config.index(field, field_kind(&kind)?);
        }
        config = config.planes(planes);
        let created = self.with(py, |database| database.create_collection(&name, config))?;
        self.handle(created)
    }

    /// The collection of that name.
    ///
    /// Raises NotFound, which names those that there are.
    fn collection(&self, py: Python<'_>, name: String) -> PyResult<Collection> {
        let found = self.with(py, |database| database.collection(&name))?;
        self.handle(found)
    }

    /// All collections, a list in the order of their creation.
    fn collections(&self, py: Python<'_>) -> PyResult<Vec<Collection>> {
        let collections = self.with(py, bitkin::Database::collections)?;
        let collections = collections.into_iter();
        collections.map(|found| self.handle(found)).collect()
    }

    /// Takes a collection away with all its rows, durably.
    ///
    /// Raises NotFound, ReadOnly.
    fn drop_collection(&self, py: Python<'_>, name: String) -> PyResult<()> {
        self.with(py, |database| database.drop_collection(&name))
    }

    /// Writes all collections anew without their deleted rows: what was deleted is in no file of
    /// the database any more. Reads and writes go on meanwhile. Ctrl-C ends it, and leaves what it has not
    /// finished as it was.
    ///
    /// Raises ReadOnly.
    fn compact(&self, py: Python<'_>) -> PyResult<()> {
        self.interruptible(py, &self.activity, bitkin::Database::compact)
    }

    /// Returns once everything that was written before is on disk for certain. With the default, every
    /// call that writes does that itself.
    ///
    /// Raises ReadOnly, DiskError.
    fn sync(&self, py: Python<'_>) -> PyResult<()> {
        self.with(py, bitkin::Database::sync)
    }

    /// Writes the rows in memory into segments, with their search tables. That happens by itself, soon.
    ///
    /// Raises ReadOnly, DiskError.
    fn flush(&self, py: Python<'_>) -> PyResult<()> {
        self.interruptible(py, &self.activity, bitkin::Database::flush)
    }

    /// Copies the database as it is at this moment into the directory `path`, which must be new or
    /// empty, while others write. Returns a BackupReport; see the function `backup`.
    ///
    /// Raises NotADatabase if there is something in the directory, DiskError.
    fn backup<'py>(&self, py: Python<'py>, path: PathBuf) -> PyResult<Bound<'py, PyAny>> {
        let activity = Activity::new();
        let report = self.interruptible(py, &activity, |database| {
            database.backup_with(&path, &activity)
        })?;
        upkeep::backed_up(py, report)
    }

    /// Sizes of the database: a dict with sequence (number of the last commit), rows, memory_bytes
    /// (of rows not yet in a segment), cut_bytes (of a last write that was interrupted, cut off when
    /// it was opened), logs, log_bytes, manifest_bytes, segment_bytes, background_error (what a flush
    /// or merge could not do, in words, or None), and collections, a list of what `Collection.stats`
    /// gives for each.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let stats = self.with(py, bitkin::Database::stats)?;
        upkeep::sizes(py, stats)
    }

    /// Reads and checks all that the database holds on disk: a list of what is wrong, in words, which
    /// is empty if nothing is.
    ///
    /// Raises DiskError.
    fn verify(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        let activity = Activity::new();
        let report =
            self.interruptible(py, &activity, |database| database.verify_with(&activity))?;
        Ok(upkeep::in_words(report.problems))
    }

    /// In a database opened with `read_only=True`: looks for newer commits, and says whether
    /// there were any. A writer sees its own at once; its answer is False.
    fn refresh(&self, py: Python<'_>) -> PyResult<bool> {
        self.with(py, bitkin::Database::refresh)
    }

    /// Closes the database. It and its collections raise Closed from then on. A second time, and
    /// in a child process that was forked off, it does nothing. Ctrl-C makes it leave rows in the log that it
    /// would have written into segments: the next opening does that.
    ///
    /// Raises DiskError for last writes that failed; the database is closed all the same.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let Ok(database) = self.database.get() else {
            return Ok(());
        };
        let close = || {
            let taken = database
                .write()
                .unwrap_or_else(PoisonError::into_inner)
                .take();
            taken.map_or(Ok(()), bitkin::Database::close)
        };
        interruptible(py, &self.activity, close)?.map_err(raised)
    }

    /// The directory that was given to `open`.
    #[getter]
    fn path(&self) -> PathBuf {
        self.path.clone()
    }

    /// Whether it was opened read-only.
    #[getter]
    fn read_only(&self) -> bool {
        self.read_only
    }

    /// Whether it was closed.
    #[getter]
    fn closed(&self, py: Python<'_>) -> PyResult<bool> {
        let database = self.database.get()?;
        let closed = || {
            let database = database.read().unwrap_or_else(PoisonError::into_inner);
            database.is_none()
        };
        Ok(py.detach(closed))
    }

    fn __enter__(slf: PyRef<'_, Self>) -> PyResult<PyRef<'_, Self>> {
        slf.with(slf.py(), |_| Ok(()))?;
        Ok(slf)
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyTuple>) -> PyResult<()> {
        self.close(py)
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        let state = match self.closed(py) {
            Err(_) => "of another process",
            Ok(true) => "closed",
            Ok(false) if self.read_only => "open read-only",
            Ok(false) => "open",
        };
        format!("<bitkin.Database '{}', {state}>", self.path.display())
    }
}

fn field_kind(name: &str) -> PyResult<FieldKind> {
    match name {
        "int" => Ok(FieldKind::Int),
        "float" => Ok(FieldKind::Float),
        "text" => Ok(FieldKind::Text),
        "bool" => Ok(FieldKind::Bool),
        _ => Err(invalid(format!(
            "index must name a kind for each field: int, float, text or bool, not {name:?}"
        ))),
    }
}
