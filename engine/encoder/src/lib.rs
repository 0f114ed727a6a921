//! The encoder stage of Bitkin on libtorch: pictures to binary codes.
//!
//! * [`encoder::TorchEncoder`] runs a model file as the engine's [`bitkin::encoder::Encoder`].
//! * [`train`] makes backbones and hashing models, [`evaluate`] measures them.
//! * The shared library of this crate has the small C interface of `capi`, by which the
//!   `bitkin` program and other languages load it when the first picture must be encoded.

pub mod backbone;
pub mod baselines;
pub mod capi;
pub mod class_vectors;
pub mod dataset;
pub mod device;
pub mod encoder;
mod error;
pub mod evaluate;
pub mod features;
pub mod hash;
pub mod health;
pub mod speed;
pub mod stability;
pub mod train;

pub use crate::error::Error;
