//! What can go wrong in training and encoding.

use bitkin::model::ModelError;

/// An error of the encoder crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The model file cannot be used.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The backbone's description makes no sense.
    #[error("the backbone cannot be used: {0}")]
    Backbone(String),
    /// CUDA was asked for and there is none.
    #[error(
        "no CUDA device: use the CPU, or check the driver and that libtorch's CUDA libraries are \
         within the loader's reach"
    )]
    Device,
    /// libtorch failed.
    #[error("libtorch failed: {0}")]
    Torch(#[from] tch::TchError),
    /// Training or evaluation was asked for something that its data cannot give.
    #[error("{0}")]
    Data(String),
    /// Bits cannot be selected from the examples.
    #[error(transparent)]
    Selection(#[from] bitkin::selection::SelectionError),
    /// Whoever is told of the progress wanted it to end.
    #[error("stopped")]
    Stopped,
    /// A picture cannot be used.
    #[error("{path}: {source}")]
    Picture {
        /// The file.
        path: String,
        /// What is wrong with it.
        source: bitkin::image::ImageError,
    },
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
}
