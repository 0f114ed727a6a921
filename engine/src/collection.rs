//! Collections: codes of one width, by id.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;
use std::sync::Arc;

use bitkin_storage::{Batch, CollectionId, CollectionInfo, CollectionStats, Storage};
use serde::{Deserialize, Serialize};

use crate::activity::Activity;
use crate::database::Shared;
use crate::encoder::{Encoder, Fingerprint};
use crate::error::Error;
use crate::filter::index::check_fields;
use crate::filter::{self, Filter};
use crate::model::ModelFile;
use crate::pdq;
use crate::search::{BatchSearch, PairSearch, Search};
use crate::snapshot::{Row, Rows, Snapshot};

/// What a new collection is to be.
#[derive(Clone, Debug)]
#[must_use = "a configuration does nothing until a collection is created with it"]
pub struct CollectionConfig {
    pub(crate) bits: u32,
    pub(crate) model: Option<ModelFile>,
    pub(crate) built_in: Option<BuiltIn>,
    pub(crate) index: Vec<IndexField>,
    pub(crate) planes: bool,
}

impl CollectionConfig {
    /// A collection of codes of this width, 8 to 65,536 bits.
    pub fn bits(bits: u32) -> Self {
        CollectionConfig {
            bits,
            model: None,
            built_in: None,
            index: Vec::new(),
            planes: false,
        }
    }

    /// A collection of pictures: codes are made by this model, a copy of which the database
    /// keeps.
    pub fn model(model: &ModelFile) -> Self {
        // A file of another kind has no width; `create_collection` refuses it by its kind.
        let bits = model.bits().unwrap_or(0);
        CollectionConfig {
            bits,
            model: Some(model.clone()),
            ..CollectionConfig::bits(bits)
        }
    }

    /// A collection of pictures whose codes are perceptual hashes; see [`pdq`].
    pub fn pdq() -> Self {
        CollectionConfig {
            built_in: Some(BuiltIn::Pdq),
            ..CollectionConfig::bits(pdq::BITS)
        }
    }

    /// Whether segments keep bit planes: the codes once more, bit by bit, as many bytes again. With them a search
    /// under a [mask](crate::Search::mask) reads the bits of the mask and no others, however long codes are; without
    /// them it finds the same, and touches every row.
    pub fn planes(mut self, planes: bool) -> Self {
        self.planes = planes;
        self
    }

    /// Declares a payload field for fast filtering: segments get an index of it. `a.b` is the
    /// key `b` of the object `a`, as in a [`Filter`]. Values of another kind than declared are
    /// no error, they are only filtered more slowly.
    pub fn index(mut self, field: impl Into<String>, kind: FieldKind) -> Self {
        self.index.push(IndexField {
            field: field.into(),
            kind,
        });
        self
    }
}

/// A payload field declared for fast filtering.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexField {
    /// Name of the field; keys of nested objects have dots between them.
    pub field: String,
    /// What it holds.
    #[serde(rename = "type")]
    pub kind: FieldKind,
}

impl IndexField {
    /// Refuses a name that cannot be one.
    ///
    /// # Errors
    /// [`Error::BadIndexField`].
    pub fn check(&self) -> Result<(), Error> {
        check_fields(std::slice::from_ref(self))
    }
}

/// `FIELD:KIND`, as a person declares one: the kind is `int`, `float`, `text` or `bool`, and the field may
/// hold colons.
impl FromStr for IndexField {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = |reason| Error::BadIndexField {
            field: text.to_owned(),
            reason,
        };
        let Some((field, kind)) = text.rsplit_once(':') else {
            return Err(bad(
                "it lacks a kind; say FIELD:int, :float, :text or :bool",
            ));
        };
        let kind = match kind {
            "int" => FieldKind::Int,
            "float" => FieldKind::Float,
            "text" => FieldKind::Text,
            "bool" => FieldKind::Bool,
            _ => return Err(bad("its kind is none of int, float, text and bool")),
        };
        let field = IndexField {
            field: field.to_owned(),
            kind,
        };
        field.check()?;
        Ok(field)
    }
}

/// As it is parsed.
impl fmt::Display for IndexField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.field, self.kind)
    }
}

/// What a payload field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FieldKind {
    /// Whole numbers.
    Int,
    /// Numbers.
    Float,
    /// Strings.
    Text,
    /// True or false.
    Bool,
}

impl fmt::Display for FieldKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FieldKind::Int => "int",
            FieldKind::Float => "float",
            FieldKind::Text => "text",
            FieldKind::Bool => "bool",
        })
    }
}

/// What the engine keeps with a collection, as JSON in its properties.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Properties {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) model: Option<ModelRef>,
    #[serde(default, rename = "encoder", skip_serializing_if = "Option::is_none")]
    pub(crate) built_in: Option<BuiltIn>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) index: Vec<IndexField>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) planes: bool,
}

/// An encoder that needs no model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum BuiltIn {
    Pdq,
}

/// Where the database keeps a collection's model.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ModelRef {
    pub(crate) fingerprint: Fingerprint,
    pub(crate) head_file: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) backbone_file: Option<String>,
}

/// What never changes about a collection.
#[derive(Debug)]
pub(crate) struct CollectionFacts {
    pub(crate) id: CollectionId,
    pub(crate) name: String,
    pub(crate) bits: u32,
    pub(crate) properties: Properties,
}

impl CollectionFacts {
    pub(crate) fn new(info: CollectionInfo) -> Result<Self, Error> {
        let properties = match info.properties.as_slice() {
            [] => Properties::default(),
            json => serde_json::from_slice(json).map_err(|e| Error::Damaged {
                collection: info.name.clone(),
                reason: format!("its properties cannot be read: {e}"),
            })?,
        };
        Ok(CollectionFacts {
            id: info.id,
            name: info.name,
            bits: info.bits,
            properties,
        })
    }

    /// Bytes of one code.
    pub(crate) fn stride(&self) -> usize {
        self.bits.div_ceil(8) as usize
    }
}

/// A collection of a database. Cloning it is cheap, and all methods may be called from many
/// threads at once.
#[derive(Clone)]
pub struct Collection {
    pub(crate) shared: Arc<Shared>,
    pub(crate) facts: Arc<CollectionFacts>,
    /// What ends long reads of it.
    pub(crate) stop: Option<Activity>,
}

impl Collection {
    /// Lets `activity`, once it is [stopped](Activity::stop), end what this handle and its snapshots read:
    /// searches, conditions on payloads and iterations over rows then fail with [`Error::Stopped`], soon.
    /// Writes are never stopped, but for the conditions that choose their rows. Other handles are not concerned.
    pub fn stopped_by(mut self, activity: &Activity) -> Self {
        self.stop = Some(activity.clone());
        self
    }

    /// The collection's name.
    pub fn name(&self) -> &str {
        &self.facts.name
    }

    /// Code width in bits.
    pub fn bits(&self) -> u32 {
        self.facts.bits
    }

    /// Bytes of one code: `ceil(bits / 8)`.
    pub fn code_bytes(&self) -> usize {
        self.facts.stride()
    }

    /// Names the model, or the built-in encoder, that makes the codes; `None` for a collection of codes
    /// alone.
    pub fn model(&self) -> Option<Fingerprint> {
        let model = self.facts.properties.model.as_ref();
        let model = model.map(|model| model.fingerprint);
        model.or_else(|| Some(self.built_in_encoder()?.fingerprint()))
    }

    /// The encoder of a collection whose codes need no model: of one that was created with
    /// [`CollectionConfig::pdq`].
    pub fn built_in_encoder(&self) -> Option<&'static dyn Encoder> {
        self.facts
            .properties
            .built_in
            .map(|built_in| match built_in {
                BuiltIn::Pdq => &pdq::Pdq as &dyn Encoder,
            })
    }

    /// The payload fields declared for fast filtering.
    pub fn index(&self) -> &[IndexField] {
        &self.facts.properties.index
    }

    /// Whether segments keep bit planes, for searches under masks: see [`CollectionConfig::planes`].
    pub fn has_planes(&self) -> bool {
        self.facts.properties.planes
    }

    /// The model that makes the codes, read from the database and whole.
    ///
    /// # Errors
    /// [`Error::NoModel`], or what is wrong with the database's copy.
    pub fn model_file(&self) -> Result<ModelFile, Error> {
        let Some(model) = &self.facts.properties.model else {
            return Err(Error::NoModel {
                collection: self.facts.name.clone(),
            });
        };
        let read = |name: &str| -> Result<ModelFile, Error> {
            let bytes = self.shared.with(|storage| storage.read_file(name))?;
            Ok(ModelFile::from_bytes(bytes)?)
        };
        let head = read(&model.head_file)?;
        let whole = match &model.backbone_file {
            Some(backbone) => ModelFile::join(&head, &read(backbone)?)?,
            None => head,
        };
        if whole.fingerprint() != model.fingerprint {
            return Err(Error::Damaged {
                collection: self.facts.name.clone(),
                reason: format!(
                    "its model should be {}, the file is {}",
                    model.fingerprint,
                    whole.fingerprint()
                ),
            });
        }
        Ok(whole)
    }

    /// Number of rows, without looking at them.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn len(&self) -> Result<u64, Error> {
        Ok(self.snapshot()?.len())
    }

    /// Whether there are no rows.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn is_empty(&self) -> Result<bool, Error> {
        Ok(self.len()? == 0)
    }

    /// The rows of this moment.
    ///
    /// # Errors
    /// [`Error::Closed`], and [`Error::UnknownCollection`] if the collection was dropped.
    pub fn snapshot(&self) -> Result<Snapshot, Error> {
        let snapshot = self.shared.with(|storage| Ok(storage.snapshot()))?;
        let view = snapshot
            .collection(self.facts.id)
            .ok_or_else(|| self.dropped())?;
        Ok(Snapshot {
            view,
            facts: Arc::clone(&self.facts),
            kernels: self.shared.kernels,
            stop: self.stop.clone(),
        })
    }

    /// Inserts rows, all or none.
    ///
    /// * `ids`: one a row, new to the collection, in any order.
    /// * `codes`: row-major, [`Collection::code_bytes`] bytes a row, padding bits zero.
    ///
    /// # Errors
    /// [`Error::WrongWidth`], [`Error::PaddingBits`], [`Error::DuplicateId`],
    /// [`Error::RepeatedId`], [`Error::ReservedId`], [`Error::ReadOnly`], and what storage
    /// reports.
    pub fn insert(&self, ids: &[u64], codes: &[u8]) -> Result<(), Error> {
        self.commit(Some(ids), codes, None).map(drop)
    }

    /// Inserts rows under ids that follow the largest one, and returns those ids.
    ///
    /// # Errors
    /// As [`Collection::insert`].
    pub fn append(&self, codes: &[u8]) -> Result<Range<u64>, Error> {
        Ok(self.commit(None, codes, None)?.unwrap_or(0..0))
    }

    /// Inserts rows with payloads, all or none, and returns their ids.
    ///
    /// * `ids`: as [`Collection::insert`]; `None` assigns those that follow the largest one.
    /// * `codes`: as [`Collection::insert`].
    /// * `payloads`: JSON, one a row; empty for no payloads at all.
    ///
    /// # Errors
    /// As [`Collection::insert`], and [`Error::InvalidPayload`].
    pub fn insert_with_payloads(
        &self,
        ids: Option<&[u64]>,
        codes: &[u8],
        payloads: &[Option<&str>],
    ) -> Result<Vec<u64>, Error> {
        let payloads = checked(payloads)?;
        let assigned = self.commit(ids, codes, payloads.as_deref())?;
        Ok(match (ids, assigned) {
            (Some(ids), _) => ids.to_vec(),
            (None, Some(range)) => range.collect(),
            (None, None) => Vec::new(),
        })
    }

    /// Inserts rows, in place of those that have the same ids; all or none.
    ///
    /// * `ids`: one a row, in any order.
    /// * `codes`: as [`Collection::insert`].
    ///
    /// Rows that are replaced lose their payloads. Returns how many were replaced.
    ///
    /// # Errors
    /// [`Error::WrongWidth`], [`Error::PaddingBits`], [`Error::RepeatedId`],
    /// [`Error::ReservedId`], [`Error::ReadOnly`], and what storage reports.
    pub fn upsert(&self, ids: &[u64], codes: &[u8]) -> Result<u64, Error> {
        self.replace(ids, codes, None)
    }

    /// As [`Collection::upsert`], with payloads: JSON, one a row; empty for no payloads at all.
    ///
    /// # Errors
    /// As [`Collection::upsert`], and [`Error::InvalidPayload`].
    pub fn upsert_with_payloads(
        &self,
        ids: &[u64],
        codes: &[u8],
        payloads: &[Option<&str>],
    ) -> Result<u64, Error> {
        self.replace(ids, codes, checked(payloads)?.as_deref())
    }

    fn replace(
        &self,
        ids: &[u64],
        codes: &[u8],
        payloads: Option<&[Option<&[u8]>]>,
    ) -> Result<u64, Error> {
        let mut batch = Batch::new();
        batch.upsert(self.facts.id, ids, codes, payloads);
        Ok(self.shared.with(|storage| storage.commit(batch))?.replaced)
    }

    /// Deletes the rows of these ids, all or none, and returns how many there were. Ids that are
    /// not there are passed over.
    ///
    /// # Errors
    /// [`Error::ReadOnly`], and what storage reports.
    pub fn delete(&self, ids: &[u64]) -> Result<u64, Error> {
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        ids.dedup();
        let mut batch = Batch::new();
        batch.delete(self.facts.id, &ids);
        Ok(self.shared.with(|storage| storage.commit(batch))?.deleted)
    }

    /// Deletes the rows that pass `filter` at this moment, all or none, and returns how many
    /// there were. A row that another thread replaces meanwhile is deleted all the same.
    ///
    /// # Errors
    /// As [`Collection::delete`], and [`Error::Damaged`].
    pub fn delete_where(&self, filter: &Filter) -> Result<u64, Error> {
        self.delete(&self.snapshot()?.ids_where(filter)?)
    }

    fn commit(
        &self,
        ids: Option<&[u64]>,
        codes: &[u8],
        payloads: Option<&[Option<&[u8]>]>,
    ) -> Result<Option<Range<u64>>, Error> {
        let mut batch = Batch::new();
        batch.insert(self.facts.id, ids, codes, payloads);
        let commit = self.shared.with(|storage| storage.commit(batch))?;
        Ok(commit.assigned.into_iter().next().flatten())
    }

    /// The row of `id`, if there is one.
    ///
    /// # Errors
    /// What storage reports of damaged files.
    pub fn get(&self, id: u64) -> Result<Option<Row>, Error> {
        self.snapshot()?.get(id)
    }

    /// All rows of this moment, by ascending id.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn rows(&self) -> Result<Rows, Error> {
        Ok(self.snapshot()?.rows())
    }

    /// The rows of this moment that pass `filter`, by ascending id.
    ///
    /// # Errors
    /// [`Error::Closed`], [`Error::Damaged`], and what storage reports of damaged files.
    pub fn rows_where(&self, filter: &Filter) -> Result<Rows, Error> {
        self.snapshot()?.rows_where(filter)
    }

    /// Number of rows that pass `filter` at this moment.
    ///
    /// # Errors
    /// As [`Collection::rows_where`].
    pub fn count(&self, filter: &Filter) -> Result<u64, Error> {
        self.snapshot()?.count(filter)
    }

    /// Searches, in the rows of this moment, for those nearest to `code`.
    ///
    /// The width is checked when the search is run.
    pub fn search<'a>(&self, code: &'a [u8]) -> Search<'a> {
        Search::new(self.snapshot(), Cow::Borrowed(code))
    }

    /// Searches, in the rows of this moment, for those nearest to each of `codes` (row-major).
    pub fn search_batch<'a>(&self, codes: &'a [u8]) -> BatchSearch<'a> {
        BatchSearch::new(self.snapshot(), codes)
    }

    /// Searches, in the rows of this moment, for all pairs of them at a distance of at most `radius` of
    /// each other: 0 finds duplicates.
    pub fn pairs<'a>(&self, radius: u32) -> PairSearch<'a> {
        PairSearch::new(self.snapshot(), radius)
    }

    /// Writes all segments anew as one, without the deleted rows: what was deleted before is in no
    /// file of the database any more when this returns, save in those that an older snapshot, a
    /// reader in another process or a backup still holds. Reads and writes go on meanwhile. Needs as
    /// much free disk as the collection takes.
    ///
    /// # Errors
    /// What storage reports.
    pub fn compact(&self) -> Result<(), Error> {
        self.shared
            .with(|storage| storage.compact(Some(self.facts.id)))
    }

    /// Sizes of the collection.
    ///
    /// # Errors
    /// As [`Collection::snapshot`].
    pub fn stats(&self) -> Result<CollectionStats, Error> {
        let stats = self.shared.with(|storage| Ok(storage.stats()))?;
        stats
            .collections
            .into_iter()
            .find(|stats| stats.id == self.facts.id)
            .ok_or_else(|| self.dropped())
    }

    /// The error of a collection that the database does not know any more.
    fn dropped(&self) -> Error {
        let names = |storage: &Storage| {
            let collections = storage.collections().into_iter();
            Ok(collections.map(|collection| collection.name).collect())
        };
        match self.shared.with(names) {
            Ok(existing) => Error::UnknownCollection {
                name: self.facts.name.clone(),
                existing,
            },
            Err(closed) => closed,
        }
    }
}

/// Refuses payloads that inserting refuses, so that a caller with many batches can know before the first.
///
/// # Errors
/// [`Error::InvalidPayload`] for the first one that is not JSON.
pub fn check_payloads(payloads: &[Option<&str>]) -> Result<(), Error> {
    checked(payloads).map(drop)
}

/// Payloads as storage takes them, once it is certain that filters can read them.
pub(crate) fn checked<'a>(
    payloads: &[Option<&'a str>],
) -> Result<Option<Vec<Option<&'a [u8]>>>, Error> {
    if payloads.is_empty() {
        return Ok(None);
    }
    let mut parser = filter::Parser::new();
    let mut checked = Vec::with_capacity(payloads.len());
    for (row, payload) in payloads.iter().enumerate() {
        let bytes = payload.map(str::as_bytes);
        if let Some(bytes) = bytes {
            filter::check(&mut parser, bytes)
                .map_err(|reason| Error::InvalidPayload { row, reason })?;
        }
        checked.push(bytes);
    }
    Ok(Some(checked))
}

impl fmt::Debug for Collection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collection")
            .field("name", &self.facts.name)
            .field("bits", &self.facts.bits)
            .finish_non_exhaustive()
    }
}
