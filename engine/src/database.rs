//! Databases: a directory, its collections and its models.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use bitkin_storage::{
    BackupReport, CollectionInfo, Disk, Durability, Options, OsDisk, Problem, SectionBuilder,
    SectionSink, SegmentRows, Stats, Storage, VerifyReport,
};
use sha2::{Digest, Sha256};

use crate::activity::Activity;
use crate::batch::Batch;
use crate::collection::{Collection, CollectionConfig, CollectionFacts, ModelRef, Properties};
use crate::error::Error;
use crate::filter::index::{IndexBuilder, check_fields};
use crate::kernels::Kernels;
use crate::model::{ModelFile, ModelKind};
use crate::planes::PlaneBuilder;
use crate::tables::TableBuilder;
use crate::upkeep::{self, verify_with};

/// How a database is opened for writing; [`Database::open_read_only`] has nothing to choose.
#[derive(Clone, Debug, Default)]
#[must_use = "options do nothing until a database is opened with them"]
pub struct DatabaseOptions {
    storage: Options,
    activity: Option<Activity>,
}

impl DatabaseOptions {
    /// The defaults: every commit synced, at most 64 MiB of rows in memory, and seldom more than 65,536.
    pub fn new() -> Self {
        Self::default()
    }

    /// When a commit is on disk for certain.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.storage.durability = durability;
        self
    }

    /// Bytes of rows kept in memory before they are written into segments.
    pub fn memory_limit(mut self, bytes: usize) -> Self {
        self.storage.memory_limit = bytes;
        self
    }

    /// Rows kept in memory, over all collections, before they are written into segments in the
    /// background, without commits waiting for it. Fewer make searches faster that come during or
    /// soon after inserts, and inserts slower; see [`Options::flush_rows`].
    pub fn flush_rows(mut self, rows: usize) -> Self {
        self.storage.flush_rows = rows;
        self
    }

    /// Lets `activity` show, and stop, what is written to segments.
    pub fn activity(mut self, activity: Activity) -> Self {
        self.activity = Some(activity);
        self
    }

    /// Creates a database in a new or empty directory.
    ///
    /// # Errors
    /// As [`Database::create`].
    pub fn create(self, path: impl AsRef<Path>) -> Result<Database, Error> {
        let kernels = Kernels::get()?;
        let storage = Storage::create_on(self.disk(path.as_ref()), self.for_writing())?;
        Ok(Database::new(storage, path.as_ref(), kernels))
    }

    /// Opens a database for reading and writing.
    ///
    /// # Errors
    /// As [`Database::open`].
    pub fn open(self, path: impl AsRef<Path>) -> Result<Database, Error> {
        let kernels = Kernels::get()?;
        let storage = Storage::open_on(self.disk(path.as_ref()), self.for_writing())?;
        Ok(Database::new(storage, path.as_ref(), kernels))
    }

    fn disk(&self, path: &Path) -> Arc<dyn Disk> {
        match &self.activity {
            Some(activity) => Arc::new(activity.disk(path, false)),
            None => Arc::new(OsDisk::new(path)),
        }
    }

    /// Opens the database in a directory, and makes one if the directory is not there or empty.
    ///
    /// # Errors
    /// As [`Database::open`]; [`Error::NotADatabase`] if there is something else in the directory.
    pub fn open_or_create(self, path: impl AsRef<Path>) -> Result<Database, Error> {
        let path = path.as_ref();
        match self.clone().open(path) {
            Err(not_one @ Error::NotADatabase { .. }) => match self.create(path) {
                Err(Error::Storage(bitkin_storage::Error::NotEmpty { .. })) => Err(not_one),
                created => created,
            },
            opened => opened,
        }
    }

    /// Every storage that writes segments writes the engine's sections into them.
    fn for_writing(self) -> Options {
        Options {
            builder: Some(Arc::new(Sections)),
            ..self.storage
        }
    }
}

/// What the engine adds to segments: each builder in turn.
#[derive(Debug)]
pub(crate) struct Sections;

impl SectionBuilder for Sections {
    fn build(
        &self,
        collection: &CollectionInfo,
        rows: &SegmentRows<'_>,
        sections: &mut SectionSink<'_>,
    ) -> Result<(), bitkin_storage::Error> {
        PlaneBuilder.build(collection, rows, sections)?;
        IndexBuilder.build(collection, rows, sections)?;
        TableBuilder.build(collection, rows, sections)
    }
}

/// An open database. Dropping the last handle closes it; [`Database::close`] also says whether
/// that went well.
pub struct Database {
    shared: Arc<Shared>,
}

/// What the handles of a database share.
pub(crate) struct Shared {
    /// `None` once closed. Operations hold the lock for reading, closing for writing.
    storage: RwLock<Option<Storage>>,
    pub(crate) path: PathBuf,
    pub(crate) kernels: &'static Kernels,
}

impl Shared {
    /// Runs `work` on the storage.
    ///
    /// # Errors
    /// [`Error::Closed`], and those of `work`.
    pub(crate) fn with<T>(
        &self,
        work: impl FnOnce(&Storage) -> Result<T, bitkin_storage::Error>,
    ) -> Result<T, Error> {
        // Storage guards its own state: a panic elsewhere leaves nothing half done here.
        let guard = self.storage.read().unwrap_or_else(PoisonError::into_inner);
        let storage = guard.as_ref().ok_or(Error::Closed)?;
        Ok(work(storage)?)
    }
}

impl Database {
    /// Creates a database in a new or empty directory, with the default options.
    ///
    /// # Errors
    /// [`Error::Kernel`] for a bad `BITKIN_SIMD`, and what storage reports.
    pub fn create(path: impl AsRef<Path>) -> Result<Self, Error> {
        DatabaseOptions::new().create(path)
    }

    /// Opens a database for reading and writing, with the default options.
    ///
    /// # Errors
    /// [`Error::NotADatabase`], [`Error::Locked`], [`Error::FormatVersion`], [`Error::Kernel`],
    /// and what storage reports.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        DatabaseOptions::new().open(path)
    }

    /// Opens the database in a directory for reading and writing, and makes one if the directory is not
    /// there or empty; with the default options.
    ///
    /// # Errors
    /// As [`Database::open`]; [`Error::NotADatabase`] if there is something else in the directory.
    pub fn open_or_create(path: impl AsRef<Path>) -> Result<Self, Error> {
        DatabaseOptions::new().open_or_create(path)
    }

    /// Opens a database for reading, beside whatever process writes it. It shows the moment of
    /// opening, or of the last [`Database::refresh`].
    ///
    /// # Errors
    /// As [`Database::open`], except that nothing is locked.
    pub fn open_read_only(path: impl AsRef<Path>) -> Result<Self, Error> {
        let kernels = Kernels::get()?;
        let storage = Storage::open_read_only(path.as_ref())?;
        Ok(Database::new(storage, path.as_ref(), kernels))
    }

    fn new(storage: Storage, path: &Path, kernels: &'static Kernels) -> Self {
        let storage = RwLock::new(Some(storage));
        Database {
            shared: Arc::new(Shared {
                storage,
                path: path.to_owned(),
                kernels,
            }),
        }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// The instruction set that searches use: `portable`, `avx2` or `avx512`.
    pub fn simd(&self) -> &'static str {
        self.shared.kernels.name()
    }

    /// Creates a collection, durably. A model is copied into the database first.
    ///
    /// # Errors
    /// [`Error::CollectionExists`], [`Error::BadBits`], [`Error::BadIndexField`],
    /// [`Error::ReadOnly`], [`Error::Model`] for
    /// a model that is no hash model or lacks its backbone, and what storage reports.
    pub fn create_collection(
        &self,
        name: &str,
        config: CollectionConfig,
    ) -> Result<Collection, Error> {
        if let Some(model) = &config.model {
            model.expect_kind(ModelKind::Hash)?;
        }
        if !crate::valid_bits(config.bits) {
            return Err(Error::BadBits { bits: config.bits });
        }
        check_fields(&config.index)?;
        // Refused before a model is copied; storage refuses it again, for a race.
        if self.names()?.iter().any(|existing| existing == name) {
            return Err(Error::CollectionExists {
                name: name.to_owned(),
            });
        }
        let model = config
            .model
            .as_ref()
            .map(|model| self.store_model(model))
            .transpose()?;
        let properties = Properties {
            model,
            built_in: config.built_in,
            index: config.index,
            planes: config.planes,
        };
        let json = serde_json::to_vec(&properties).map_err(|e| Error::Damaged {
            collection: name.to_owned(),
            reason: e.to_string(),
        })?;
        self.shared
            .with(|storage| storage.create_collection(name, config.bits, &json))?;
        self.collection(name)
    }

    /// The collection of that name.
    ///
    /// # Errors
    /// [`Error::UnknownCollection`] names those that there are.
    pub fn collection(&self, name: &str) -> Result<Collection, Error> {
        match self.shared.with(|storage| Ok(storage.collection(name)))? {
            Some(info) => self.handle(info),
            None => Err(Error::UnknownCollection {
                name: name.to_owned(),
                existing: self.names()?,
            }),
        }
    }

    /// All collections, in the order of their creation.
    ///
    /// # Errors
    /// [`Error::Closed`], or [`Error::Damaged`] for one that cannot be understood.
    pub fn collections(&self) -> Result<Vec<Collection>, Error> {
        let infos = self.shared.with(|storage| Ok(storage.collections()))?;
        infos.into_iter().map(|info| self.handle(info)).collect()
    }

    fn names(&self) -> Result<Vec<String>, Error> {
        let infos = self.shared.with(|storage| Ok(storage.collections()))?;
        Ok(infos.into_iter().map(|info| info.name).collect())
    }

    fn handle(&self, info: bitkin_storage::CollectionInfo) -> Result<Collection, Error> {
        let facts = Arc::new(CollectionFacts::new(info)?);
        Ok(Collection {
            shared: Arc::clone(&self.shared),
            facts,
            stop: None,
        })
    }

    fn store_model(&self, model: &ModelFile) -> Result<ModelRef, Error> {
        let (head, backbone) = model.split()?;
        let store = |bytes: &[u8]| -> Result<String, Error> {
            let name = format!("models/{}", hex(&Sha256::digest(bytes)));
            self.shared.with(|storage| storage.put_file(&name, bytes))?;
            Ok(name)
        };
        Ok(ModelRef {
            fingerprint: model.fingerprint(),
            head_file: store(&head)?,
            backbone_file: backbone.as_deref().map(store).transpose()?,
        })
    }

    /// Begins writes that are committed together, to several collections if need be.
    pub fn batch(&self) -> Batch {
        Batch::new(Arc::clone(&self.shared))
    }

    /// Sizes of the database.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn stats(&self) -> Result<Stats, Error> {
        self.shared.with(|storage| Ok(storage.stats()))
    }

    /// Reads every checksum and cross reference, and every model.
    ///
    /// # Errors
    /// When the check itself cannot be carried out; damage is in the report.
    pub fn verify(&self) -> Result<VerifyReport, Error> {
        self.verify_with(&Activity::new())
    }

    /// As [`Database::verify`], to be watched and stopped.
    ///
    /// # Errors
    /// As [`Database::verify`], and [`Error::Stopped`].
    pub fn verify_with(&self, activity: &Activity) -> Result<VerifyReport, Error> {
        let mut report = verify_with(&self.shared.path, activity)?;
        for collection in self.collections()? {
            let Some(model) = &collection.facts.properties.model else {
                continue;
            };
            if let Err(error) = collection.model_file() {
                report.problems.push(Problem {
                    file: model.head_file.clone(),
                    offset: None,
                    what: format!("the model of collection {:?}: {error}", collection.name()),
                });
            }
        }
        Ok(report)
    }

    /// Makes sure that every commit so far is on disk.
    ///
    /// # Errors
    /// What storage reports.
    pub fn sync(&self) -> Result<(), Error> {
        self.shared.with(Storage::sync)
    }

    /// Writes the rows in memory into segments.
    ///
    /// # Errors
    /// What storage reports.
    pub fn flush(&self) -> Result<(), Error> {
        self.shared.with(Storage::flush)
    }

    /// Writes every collection anew, as [`Collection::compact`] does one.
    ///
    /// # Errors
    /// What storage reports.
    pub fn compact(&self) -> Result<(), Error> {
        self.shared.with(|storage| storage.compact(None))
    }

    /// Takes a collection away with all its rows, durably. Snapshots of it stay good; its files are
    /// removed by the next flush or [`compact`](Database::compact). Its model stays.
    ///
    /// # Errors
    /// [`Error::UnknownCollection`] names those that there are; and what storage reports.
    pub fn drop_collection(&self, name: &str) -> Result<(), Error> {
        let id = self.collection(name)?.facts.id;
        self.shared.with(|storage| storage.drop_collection(id))
    }

    /// Makes a copy of the database, as of now or a little later, in a new or empty directory.
    /// Reads and writes go on meanwhile. See [`backup`](crate::backup).
    ///
    /// # Errors
    /// What storage reports.
    pub fn backup(&self, dest: impl AsRef<Path>) -> Result<BackupReport, Error> {
        self.backup_with(dest, &Activity::new())
    }

    /// As [`Database::backup`], to be watched and stopped.
    ///
    /// # Errors
    /// As [`Database::backup`], and [`Error::Stopped`].
    pub fn backup_with(
        &self,
        dest: impl AsRef<Path>,
        activity: &Activity,
    ) -> Result<BackupReport, Error> {
        upkeep::into_new(&self.shared.path, dest.as_ref(), activity, |dest| {
            self.shared.with(|storage| storage.backup_on(&*dest))
        })
    }

    /// In a read-only database: looks for newer commits, and says whether there were any.
    ///
    /// # Errors
    /// What storage reports.
    pub fn refresh(&self) -> Result<bool, Error> {
        self.shared.with(Storage::refresh)
    }

    /// Closes the database. Collections that are still held give [`Error::Closed`] from then
    /// on; snapshots stay good.
    ///
    /// # Errors
    /// What storage reports of its last writes. The database is closed all the same.
    pub fn close(self) -> Result<(), Error> {
        let mut guard = self
            .shared
            .storage
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        match guard.take() {
            Some(storage) => Ok(storage.close()?),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database")
            .field("path", &self.shared.path)
            .finish_non_exhaustive()
    }
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
