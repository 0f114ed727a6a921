//! Model files: one `.safetensors` file for each model, its tensors and, in the metadata,
//! everything that affects the codes it makes.
//!
//! The metadata of a model file is a map of strings with these keys:
//!
//! | key | content |
//! |---|---|
//! | `bitkin` | JSON object: `format` (1), `kind` (`hash` or `backbone`), and for a hash model `method`, `bits`, `arithmetic`, `input`, and whatever else its method needs |
//! | `backbone` | JSON object: architecture and normalisation of the backbone whose tensors are named `backbone.*` |
//! | `backbone_fingerprint` | only in a model without its backbone: the fingerprint of the one it needs |
//! | `notes`, `backbone_notes` | free text on provenance; not part of a fingerprint |
//!
//! A model written by training is self-contained. [`ModelFile::split`] parts it into a head and
//! a backbone, so that a database keeps one copy of a backbone for many models, and
//! [`ModelFile::join`] puts them together again. The [`Fingerprint`] is the same in both forms.

mod error;
mod fingerprint;
mod tensor;
mod write;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::Path;

use serde_json::{Map, Value};

pub use self::error::ModelError;
pub use self::tensor::{Dtype, Tensor, TensorView};
use crate::encoder::{Fingerprint, ImageInput};

/// The newest version of the metadata that this crate reads and the one that it writes.
pub const FORMAT: u64 = 1;

const KEY: &str = "bitkin";
const BACKBONE: &str = "backbone";
const BACKBONE_FINGERPRINT: &str = "backbone_fingerprint";
const NOTES: &str = "notes";
const BACKBONE_NOTES: &str = "backbone_notes";
const BACKBONE_PREFIX: &str = "backbone.";

/// What a model file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ModelKind {
    /// A model that turns pictures into codes.
    Hash,
    /// A feature extractor alone.
    Backbone,
}

impl fmt::Display for ModelKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ModelKind::Hash => "hash",
            ModelKind::Backbone => "backbone",
        })
    }
}

/// The metadata of a model file that is about to be built.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModelMetadata {
    /// Key `bitkin`: everything that affects codes, the backbone aside. `format` and `kind` are
    /// filled in by [`ModelFile::build`] when missing (`hash`, or `backbone` if there is no
    /// `method`).
    pub model: Map<String, Value>,
    /// Key `backbone`: architecture and normalisation of the tensors `backbone.*`.
    pub backbone: Option<Map<String, Value>>,
    /// Provenance: data, terms, commands, figures. Not part of the fingerprint.
    pub notes: Option<String>,
    /// Provenance of the backbone, in a file that also holds a head.
    pub backbone_notes: Option<String>,
}

/// A model file, read and checked.
///
/// Cheap to look into; the bytes of the file are kept once.
#[derive(Clone)]
pub struct ModelFile {
    bytes: Vec<u8>,
    tensors: BTreeMap<String, TensorEntry>,
    kind: ModelKind,
    metadata: ModelMetadata,
    hash: Option<HashDescription>,
    fingerprint: Fingerprint,
    backbone_fingerprint: Option<Fingerprint>,
}

#[derive(Clone, Debug)]
struct TensorEntry {
    dtype: Dtype,
    shape: Vec<usize>,
    /// Where the elements lie in the file; inside it, checked when it was read.
    range: Range<usize>,
}

/// The parts of `bitkin` that every hash model has.
#[derive(Clone, Debug)]
struct HashDescription {
    method: String,
    bits: u32,
    arithmetic: String,
    input: ImageInput,
}

impl ModelFile {
    /// Reads a model file.
    ///
    /// # Errors
    /// [`ModelError`] says what is wrong with the file.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, ModelError> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(|source| ModelError::Io {
            path: path.to_owned(),
            source,
        })?;
        Self::from_bytes(bytes)
    }

    /// Reads a model from the bytes of its file.
    ///
    /// # Errors
    /// As [`ModelFile::read`].
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, ModelError> {
        let (strings, tensors) = parse_safetensors(&bytes)?;
        let model = json_object(&strings, KEY)?.ok_or_else(|| ModelError::MissingKey {
            key: KEY.to_owned(),
        })?;
        let format = field(&model, "format", Value::as_u64, "a whole number")?;
        if format > FORMAT {
            return Err(ModelError::NewerFormat {
                found: format,
                supported: FORMAT,
            });
        }
        let kind = match field(&model, "kind", Value::as_str, "a string")? {
            "hash" => ModelKind::Hash,
            "backbone" => ModelKind::Backbone,
            other => {
                let reason = format!("`{other}` is neither `hash` nor `backbone`");
                return Err(invalid("bitkin.kind", reason));
            }
        };
        let hash = match kind {
            ModelKind::Hash => Some(HashDescription::parse(&model)?),
            ModelKind::Backbone => None,
        };
        let backbone = json_object(&strings, BACKBONE)?;
        let notes = strings.get(NOTES).cloned();
        let backbone_notes = strings.get(BACKBONE_NOTES).cloned();
        let metadata = ModelMetadata {
            model,
            backbone,
            notes,
            backbone_notes,
        };

        let has_backbone = tensors.keys().any(|name| name.starts_with(BACKBONE_PREFIX));
        let backbone_fingerprint = match (&metadata.backbone, has_backbone) {
            (Some(description), true) => {
                Some(fingerprint::of_backbone(description, &tensors, &bytes))
            }
            (Some(_), false) => {
                return Err(ModelError::MissingTensor {
                    name: format!("{BACKBONE_PREFIX}*"),
                });
            }
            (None, true) => {
                return Err(ModelError::MissingKey {
                    key: BACKBONE.to_owned(),
                });
            }
            (None, false) => match strings.get(BACKBONE_FINGERPRINT) {
                Some(text) => Some(text.parse().map_err(|e| invalid(BACKBONE_FINGERPRINT, e))?),
                None => None,
            },
        };
        let fingerprint = match (kind, backbone_fingerprint) {
            (ModelKind::Hash, backbone) => {
                fingerprint::of_model(&metadata.model, &tensors, &bytes, backbone)
            }
            (ModelKind::Backbone, Some(fingerprint)) if has_backbone => fingerprint,
            (ModelKind::Backbone, _) => {
                return Err(ModelError::MissingKey {
                    key: BACKBONE.to_owned(),
                });
            }
        };
        Ok(ModelFile {
            bytes,
            tensors,
            kind,
            metadata,
            hash,
            fingerprint,
            backbone_fingerprint,
        })
    }

    /// Builds a model file. The same arguments give the same bytes.
    ///
    /// Tensors whose names begin with `backbone.` belong to the backbone, which
    /// `metadata.backbone` must then describe.
    ///
    /// # Errors
    /// [`ModelError::WrongTensor`] when a tensor's bytes do not fit its shape, and everything
    /// that [`ModelFile::from_bytes`] finds wrong.
    pub fn build(
        metadata: ModelMetadata,
        tensors: &BTreeMap<String, Tensor>,
    ) -> Result<Self, ModelError> {
        let mut metadata = metadata;
        let kind = if metadata.model.contains_key("method") {
            "hash"
        } else {
            "backbone"
        };
        metadata
            .model
            .entry("format")
            .or_insert_with(|| FORMAT.into());
        metadata.model.entry("kind").or_insert_with(|| kind.into());
        let views = tensors
            .iter()
            .map(|(name, tensor)| Ok((name.as_str(), tensor.checked_view(name)?)))
            .collect::<Result<_, ModelError>>()?;
        Self::from_bytes(write::safetensors(&strings_of(&metadata, None), &views))
    }

    /// A file with the same tensors and other metadata.
    ///
    /// # Errors
    /// As [`ModelFile::build`].
    pub fn with_metadata(&self, metadata: ModelMetadata) -> Result<Self, ModelError> {
        let tensors = self.tensors();
        let copied = tensors.map(|(name, view)| (name.to_owned(), view.to_tensor()));
        Self::build(metadata, &copied.collect())
    }

    /// The bytes of the file.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes of the file, without a copy.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Writes the file: first beside `path`, then renamed into place.
    ///
    /// # Errors
    /// [`ModelError::Io`].
    pub fn write(&self, path: impl AsRef<Path>) -> Result<(), ModelError> {
        let path = path.as_ref();
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.partial", std::process::id()));
        let partial = path.with_file_name(name);
        let written =
            std::fs::write(&partial, &self.bytes).and_then(|()| std::fs::rename(&partial, path));
        written.map_err(|source| {
            // The error to report is the first one; a leftover is only untidy.
            let _ = std::fs::remove_file(&partial);
            ModelError::Io {
                path: path.to_owned(),
                source,
            }
        })
    }

    /// Names the model: SHA-256 over the metadata that affect codes and over every tensor, the
    /// backbone's included, in whichever file it lies.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Names the backbone; `None` for a model that has none.
    pub fn backbone_fingerprint(&self) -> Option<Fingerprint> {
        self.backbone_fingerprint
    }

    /// What the file holds.
    pub fn kind(&self) -> ModelKind {
        self.kind
    }

    /// Refuses a file of another kind.
    ///
    /// # Errors
    /// [`ModelError::WrongKind`].
    pub fn expect_kind(&self, expected: ModelKind) -> Result<(), ModelError> {
        if self.kind == expected {
            return Ok(());
        }
        Err(ModelError::WrongKind {
            expected,
            found: self.kind,
        })
    }

    /// Code width of a hash model in bits.
    pub fn bits(&self) -> Option<u32> {
        self.hash.as_ref().map(|hash| hash.bits)
    }

    /// Method of a hash model, such as `pp-scdm`.
    pub fn method(&self) -> Option<&str> {
        self.hash.as_ref().map(|hash| hash.method.as_str())
    }

    /// Arithmetic of a hash model: `f32` or `bf16`.
    pub fn arithmetic(&self) -> Option<&str> {
        self.hash.as_ref().map(|hash| hash.arithmetic.as_str())
    }

    /// Pixels that a hash model wants.
    pub fn input(&self) -> Option<ImageInput> {
        self.hash.as_ref().map(|hash| hash.input)
    }

    /// All of the metadata.
    pub fn metadata(&self) -> &ModelMetadata {
        &self.metadata
    }

    /// Whether the file holds everything that encoding needs.
    pub fn is_self_contained(&self) -> bool {
        self.metadata.backbone.is_some() || self.backbone_fingerprint.is_none()
    }

    /// The tensor of that name.
    ///
    /// # Errors
    /// [`ModelError::MissingTensor`].
    pub fn tensor(&self, name: &str) -> Result<TensorView<'_>, ModelError> {
        let entry = self
            .tensors
            .get(name)
            .ok_or_else(|| ModelError::MissingTensor {
                name: name.to_owned(),
            })?;
        Ok(self.view(entry))
    }

    /// Every tensor with its name, in name order.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, TensorView<'_>)> {
        self.tensors
            .iter()
            .map(|(name, entry)| (name.as_str(), self.view(entry)))
    }

    fn view<'a>(&'a self, entry: &'a TensorEntry) -> TensorView<'a> {
        TensorView {
            dtype: entry.dtype,
            shape: &entry.shape,
            bytes: &self.bytes[entry.range.clone()],
        }
    }

    /// Parts a self-contained hash model into two files: the head, and the backbone if there is
    /// one. Deterministic: models that share a backbone get the same bytes for it, as long as
    /// its notes are the same.
    ///
    /// # Errors
    /// [`ModelError::WrongKind`] for a backbone, [`ModelError::NotSelfContained`] for a head.
    pub fn split(&self) -> Result<(Vec<u8>, Option<Vec<u8>>), ModelError> {
        self.expect_kind(ModelKind::Hash)?;
        let Some(fingerprint) = self.backbone_fingerprint else {
            return Ok((self.bytes.clone(), None));
        };
        if !self.is_self_contained() {
            return Err(ModelError::NotSelfContained {
                backbone: fingerprint,
            });
        }
        let (backbone_tensors, head_tensors) = self
            .tensors()
            .partition(|(name, _)| name.starts_with(BACKBONE_PREFIX));
        let head = ModelMetadata {
            model: self.metadata.model.clone(),
            notes: self.metadata.notes.clone(),
            ..ModelMetadata::default()
        };
        let backbone = ModelMetadata {
            model: backbone_model(),
            backbone: self.metadata.backbone.clone(),
            notes: self.metadata.backbone_notes.clone(),
            backbone_notes: None,
        };
        Ok((
            write::safetensors(&strings_of(&head, Some(fingerprint)), &head_tensors),
            Some(write::safetensors(
                &strings_of(&backbone, None),
                &backbone_tensors,
            )),
        ))
    }

    /// Puts a head and its backbone together.
    ///
    /// # Errors
    /// [`ModelError::WrongKind`] and [`ModelError::BackboneMismatch`] when the two do not belong
    /// together.
    pub fn join(head: &ModelFile, backbone: &ModelFile) -> Result<Self, ModelError> {
        head.expect_kind(ModelKind::Hash)?;
        backbone.expect_kind(ModelKind::Backbone)?;
        let found = backbone.fingerprint;
        match head.backbone_fingerprint {
            Some(expected) if expected != found => {
                return Err(ModelError::BackboneMismatch { expected, found });
            }
            None => {
                return Err(ModelError::MissingKey {
                    key: BACKBONE_FINGERPRINT.to_owned(),
                });
            }
            Some(_) if head.is_self_contained() => return Ok(head.clone()),
            Some(_) => {}
        }
        let metadata = ModelMetadata {
            backbone: backbone.metadata.backbone.clone(),
            backbone_notes: backbone.metadata.notes.clone(),
            ..head.metadata.clone()
        };
        let backbone_tensors = backbone
            .tensors()
            .filter(|(name, _)| name.starts_with(BACKBONE_PREFIX));
        let views = head.tensors().chain(backbone_tensors).collect();
        Self::from_bytes(write::safetensors(&strings_of(&metadata, None), &views))
    }
}

impl fmt::Debug for ModelFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModelFile")
            .field("kind", &self.kind)
            .field("fingerprint", &self.fingerprint)
            .field("bytes", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

impl HashDescription {
    fn parse(model: &Map<String, Value>) -> Result<Self, ModelError> {
        let bits = field(model, "bits", Value::as_u64, "a whole number")?;
        let bits = u32::try_from(bits)
            .ok()
            .filter(|&bits| crate::valid_bits(bits))
            .ok_or_else(|| invalid("bitkin.bits", format!("{bits} is not within 8..=65536")))?;
        let input = field(model, "input", Some, "an object")?;
        let input: ImageInput =
            serde_json::from_value(input.clone()).map_err(|e| invalid("bitkin.input", e))?;
        // 2^14 squared times three bytes is 768 MiB: more is no encoder's input but a mistake.
        if ![input.width, input.height]
            .iter()
            .all(|side| (1..=1 << 14).contains(side))
        {
            let reason = format!("{} x {} pixels", input.width, input.height);
            return Err(invalid("bitkin.input", reason));
        }
        Ok(HashDescription {
            method: field(model, "method", Value::as_str, "a string")?.to_owned(),
            bits,
            arithmetic: field(model, "arithmetic", Value::as_str, "a string")?.to_owned(),
            input,
        })
    }
}

type Parsed = (BTreeMap<String, String>, BTreeMap<String, TensorEntry>);

fn parse_safetensors(bytes: &[u8]) -> Result<Parsed, ModelError> {
    let not = |reason: String| ModelError::NotSafetensors { reason };
    let (header, parsed) =
        safetensors::SafeTensors::read_metadata(bytes).map_err(|e| not(e.to_string()))?;
    // The parser has checked that the tensors fill the rest of the file without a gap.
    let data = 8 + header;
    let mut tensors = BTreeMap::new();
    for (name, info) in parsed.tensors() {
        let dtype = Dtype::from_safetensors(info.dtype)
            .ok_or_else(|| not(format!("`{name}` has the element type {:?}", info.dtype)))?;
        let range = data + info.data_offsets.0..data + info.data_offsets.1;
        tensors.insert(
            name,
            TensorEntry {
                dtype,
                shape: info.shape.clone(),
                range,
            },
        );
    }
    let strings = parsed.metadata().iter().flatten();
    Ok((
        strings
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect(),
        tensors,
    ))
}

fn invalid(key: &str, reason: impl ToString) -> ModelError {
    ModelError::InvalidMetadata {
        key: key.to_owned(),
        reason: reason.to_string(),
    }
}

fn json_object(
    strings: &BTreeMap<String, String>,
    key: &str,
) -> Result<Option<Map<String, Value>>, ModelError> {
    let Some(text) = strings.get(key) else {
        return Ok(None);
    };
    serde_json::from_str(text)
        .map(Some)
        .map_err(|e| invalid(key, e))
}

fn field<'a, T>(
    model: &'a Map<String, Value>,
    name: &str,
    read: impl Fn(&'a Value) -> Option<T>,
    what: &str,
) -> Result<T, ModelError> {
    let key = || format!("{KEY}.{name}");
    let value = model
        .get(name)
        .ok_or_else(|| ModelError::MissingKey { key: key() })?;
    read(value).ok_or_else(|| invalid(&key(), format!("{value} is not {what}")))
}

fn backbone_model() -> Map<String, Value> {
    [
        ("format".to_owned(), FORMAT.into()),
        ("kind".to_owned(), "backbone".into()),
    ]
    .into_iter()
    .collect()
}

fn strings_of(
    metadata: &ModelMetadata,
    separate_backbone: Option<Fingerprint>,
) -> BTreeMap<&'static str, String> {
    let mut strings = BTreeMap::new();
    strings.insert(KEY, fingerprint::canonical_json(&metadata.model));
    if let Some(backbone) = &metadata.backbone {
        strings.insert(BACKBONE, fingerprint::canonical_json(backbone));
    }
    if let Some(fingerprint) = separate_backbone {
        strings.insert(BACKBONE_FINGERPRINT, fingerprint.to_string());
    }
    if let Some(notes) = &metadata.notes {
        strings.insert(NOTES, notes.clone());
    }
    if let Some(notes) = &metadata.backbone_notes {
        strings.insert(BACKBONE_NOTES, notes.clone());
    }
    strings
}

#[cfg(test)]
mod tests;
