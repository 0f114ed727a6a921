//! Training: backbones from labelled pictures, hashing models from features.

pub mod backbone;
pub mod hash;
mod prior;
