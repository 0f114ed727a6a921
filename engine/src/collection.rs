//! Collections: codes of one width, by id.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bitkin_storage::{Batch, CollectionId, CollectionInfo, CollectionStats};
use serde::{Deserialize, Serialize};

use crate::database::Shared;
use crate::encoder::Fingerprint;
use crate::error::Error;
use crate::model::ModelFile;
use crate::search::{BatchSearch, Search};
use crate::snapshot::{Row, Rows, Snapshot};

/// What a new collection is to be.
#[derive(Clone, Debug)]
pub struct CollectionConfig {
    pub(crate) bits: u32,
    pub(crate) model: Option<ModelFile>,
    pub(crate) index: Vec<IndexField>,
}

impl CollectionConfig {
    /// A collection of codes of this width, 8 to 65,536 bits.
    pub fn bits(bits: u32) -> Self {
        CollectionConfig {
            bits,
            model: None,
            index: Vec::new(),
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
            index: Vec::new(),
        }
    }

    /// Declares a payload field for fast filtering. Kept with the collection; nothing uses it
    /// yet.
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
    /// Name of the field.
    pub field: String,
    /// What it holds.
    #[serde(rename = "type")]
    pub kind: FieldKind,
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

/// What the engine keeps with a collection, as JSON in its properties.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Properties {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) model: Option<ModelRef>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) index: Vec<IndexField>,
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
}

impl Collection {
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

    /// Names the model that makes the codes; `None` for a collection of codes alone.
    pub fn model(&self) -> Option<Fingerprint> {
        self.facts
            .properties
            .model
            .as_ref()
            .map(|model| model.fingerprint)
    }

    /// The payload fields declared for fast filtering.
    pub fn index(&self) -> &[IndexField] {
        &self.facts.properties.index
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
    /// [`Error::Closed`].
    pub fn snapshot(&self) -> Result<Snapshot, Error> {
        let snapshot = self.shared.with(|storage| Ok(storage.snapshot()))?;
        let view = snapshot
            .collection(self.facts.id)
            .ok_or_else(|| Error::Damaged {
                collection: self.facts.name.clone(),
                reason: "the database does not know it any more".to_owned(),
            })?;
        Ok(Snapshot {
            view,
            facts: Arc::clone(&self.facts),
            kernels: self.shared.kernels,
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
        for (row, payload) in payloads.iter().enumerate() {
            if let Some(payload) = payload {
                serde_json::from_str::<serde::de::IgnoredAny>(payload).map_err(|e| {
                    Error::InvalidPayload {
                        row,
                        reason: e.to_string(),
                    }
                })?;
            }
        }
        let payloads: Vec<Option<&[u8]>> = payloads
            .iter()
            .map(|payload| payload.map(str::as_bytes))
            .collect();
        let payloads = (!payloads.is_empty()).then_some(payloads.as_slice());
        let assigned = self.commit(ids, codes, payloads)?;
        Ok(match (ids, assigned) {
            (Some(ids), _) => ids.to_vec(),
            (None, Some(range)) => range.collect(),
            (None, None) => Vec::new(),
        })
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

    /// Sizes of the collection.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn stats(&self) -> Result<CollectionStats, Error> {
        let stats = self.shared.with(|storage| Ok(storage.stats()))?;
        stats
            .collections
            .into_iter()
            .find(|stats| stats.id == self.facts.id)
            .ok_or_else(|| Error::Damaged {
                collection: self.facts.name.clone(),
                reason: "there are no statistics of it".to_owned(),
            })
    }
}

impl fmt::Debug for Collection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collection")
            .field("name", &self.facts.name)
            .field("bits", &self.facts.bits)
            .finish_non_exhaustive()
    }
}
