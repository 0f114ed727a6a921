//! Training: backbones from labelled pictures, hashing models from features.

pub mod backbone;
mod checkpoint;
mod graph;
pub mod hash;
mod network;
mod prior;
pub mod ugh;
