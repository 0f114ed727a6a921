//! The error of model files.

use std::path::PathBuf;

use super::ModelKind;
use crate::encoder::Fingerprint;

/// Why a model file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The file cannot be read or written.
    #[error("model file {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The bytes are no safetensors file, or one that is cut short or damaged.
    #[error("this is not a (whole) safetensors file: {reason}")]
    NotSafetensors {
        /// What the parser said.
        reason: String,
    },
    /// The metadata lack a key: not a model of Bitkin's.
    #[error("the model's metadata lack `{key}`: only models made by Bitkin can be used")]
    MissingKey {
        /// The key, dotted where it lies in a JSON object.
        key: String,
    },
    /// A value of the metadata is not what the format says.
    #[error("the model's metadata key `{key}` is invalid: {reason}")]
    InvalidMetadata {
        /// The key, dotted where it lies in a JSON object.
        key: String,
        /// What is wrong with its value.
        reason: String,
    },
    /// Written by a later version of Bitkin.
    #[error("the model has format {found}; this version reads up to {supported}: update Bitkin")]
    NewerFormat {
        /// The file's format.
        found: u64,
        /// The newest that this version reads.
        supported: u64,
    },
    /// A backbone where a hash model is needed, or the reverse.
    #[error("the model is of kind `{found}`, expected `{expected}`")]
    WrongKind {
        /// The kind that was asked for.
        expected: ModelKind,
        /// The file's kind.
        found: ModelKind,
    },
    /// A tensor that the model's method needs is not in the file.
    #[error("the model lacks the tensor `{name}`")]
    MissingTensor {
        /// The tensor's name.
        name: String,
    },
    /// A tensor has another element type or shape than the model's method needs.
    #[error("the model's tensor `{name}` is {found}, expected {expected}")]
    WrongTensor {
        /// The tensor's name.
        name: String,
        /// Type and shape in the file.
        found: String,
        /// Type and shape needed.
        expected: String,
    },
    /// The tensors are those of another architecture.
    #[error(
        "these are not the weights of a {architecture}: {}",
        difference(missing, extra)
    )]
    OtherArchitecture {
        /// The architecture that comes nearest.
        architecture: String,
        /// Names of tensors that it has and the file has not.
        missing: Vec<String>,
        /// Names of tensors that the file has beside them.
        extra: Vec<String>,
    },
    /// The backbone is not the one that the model was made with.
    #[error("the model needs the backbone {expected}, this one is {found}")]
    BackboneMismatch {
        /// The fingerprint that the model names.
        expected: Fingerprint,
        /// The fingerprint of the backbone given.
        found: Fingerprint,
    },
    /// The model's backbone lies in another file.
    #[error("the model does not hold its backbone {backbone}: join the two files first")]
    NotSelfContained {
        /// The fingerprint of the backbone.
        backbone: Fingerprint,
    },
}

/// What sets a file's tensors apart from an architecture's, in words.
fn difference(missing: &[String], extra: &[String]) -> String {
    // Enough to see which it is.
    const SHOWN: usize = 8;
    let list = |what: &str, names: &[String]| {
        let shown = names.iter().take(SHOWN).map(String::as_str);
        let shown = shown.collect::<Vec<_>>().join(", ");
        match names.len() {
            0 => None,
            1..=SHOWN => Some(format!("{what} {shown}")),
            all => Some(format!("{what} {shown} and {} more", all - SHOWN)),
        }
    };
    let both = [list("it lacks", missing), list("it also has", extra)];
    both.into_iter().flatten().collect::<Vec<_>>().join("; ")
}
