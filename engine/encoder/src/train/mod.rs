//! Training: backbones from labelled pictures, hashing models from features.

mod attributes;
pub mod backbone;
mod checkpoint;
pub mod comae;
mod graph;
pub mod hash;
pub mod kalahash;
mod kiddo;
mod network;
mod prior;
