//! Training: backbones from labelled pictures, hashing models from features.

pub mod backbone;
mod checkpoint;
mod graph;
pub mod hash;
pub mod kalahash;
mod kiddo;
mod network;
mod prior;
