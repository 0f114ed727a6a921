//! Training: backbones from labelled pictures, hashing models from features, or with the backbone's last
//! blocks from pictures.

pub mod augment;
pub mod backbone;
mod checkpoint;
mod graph;
pub mod hash;
mod network;
mod prior;
pub mod purple;
pub mod ugh;
