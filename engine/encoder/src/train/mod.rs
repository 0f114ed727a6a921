//! Training: backbones from labelled pictures, hashing models from features, or with the backbone's last
//! blocks from pictures.

mod attributes;
pub mod augment;
pub mod backbone;
mod checkpoint;
pub mod comae;
mod graph;
pub mod hash;
pub mod kalahash;
mod kiddo;
mod network;
mod prior;
pub mod purple;
pub mod ugh;
