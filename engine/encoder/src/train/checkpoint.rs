//! Checkpoints: what the training of a backbone needs to go on where it was interrupted, and end the same.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use rand_chacha::ChaCha8Rng;
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use sha2::{Digest, Sha256};
use tch::{Kind, Tensor};

use super::backbone::{BackboneTraining, Labelled, Network, Sgd};
use crate::error::Error;

/// The file of a checkpoint, and what it is of.
pub(super) struct Checkpoint<'a> {
    pub(super) path: &'a Path,
    pub(super) identity: String,
}

/// Names a training: its options and its pictures.
pub(super) fn identity(options: &BackboneTraining, pictures: Labelled<'_>) -> String {
    let mut hash = Sha256::new();
    for tensor in [pictures.pixels, pictures.labels] {
        hash.update(bytes_of(tensor));
    }
    let digest: String = hash.finalize().iter().map(|b| format!("{b:02x}")).collect();
    format!("{options:?} {digest}")
}

/// The elements of a tensor on the CPU, in order.
fn bytes_of(tensor: &Tensor) -> Vec<u8> {
    let tensor = tensor.contiguous();
    let mut bytes = vec![0; tensor.numel() * tensor.kind().elt_size_in_bytes()];
    tensor.copy_data_u8(&mut bytes, tensor.numel());
    bytes
}

impl Checkpoint<'_> {
    /// Everything that changes while a network learns, by name.
    fn state(network: &Network, sgd: &Sgd) -> BTreeMap<String, Tensor> {
        let mut state = network.state();
        for (name, tensor) in sgd.state() {
            state.insert(name, tensor);
        }
        state
    }

    pub(super) fn save(
        &self,
        network: &Network,
        sgd: &Sgd,
        order: &[i64],
        rng: &ChaCha8Rng,
        epochs: usize,
    ) -> Result<(), Error> {
        let io = |source| Error::Io {
            path: self.path.display().to_string(),
            source,
        };
        let bad = |e: safetensors::SafeTensorError| io(std::io::Error::other(e.to_string()));
        let mut state = Checkpoint::state(network, sgd);
        state.insert("order".into(), Tensor::from_slice(order));
        let data = state.into_iter().map(|(name, tensor)| {
            let shape = tensor.size().iter().map(|&side| side as usize).collect();
            (name, tensor.kind(), shape, bytes_of(&tensor))
        });
        let data: Vec<(String, Kind, Vec<usize>, Vec<u8>)> = data.collect();
        let mut tensors = Vec::with_capacity(data.len());
        for (name, kind, shape, bytes) in &data {
            let dtype = match kind {
                Kind::Int64 => safetensors::Dtype::I64,
                _ => safetensors::Dtype::F32,
            };
            tensors.push((
                name,
                TensorView::new(dtype, shape.clone(), bytes).map_err(bad)?,
            ));
        }
        let metadata = HashMap::from([
            ("identity".to_owned(), self.identity.clone()),
            ("epochs".to_owned(), epochs.to_string()),
            ("position".to_owned(), rng.get_word_pos().to_string()),
        ]);
        let file = safetensors::serialize(tensors, Some(metadata)).map_err(bad)?;
        let temporary = self.path.with_extension("partial");
        std::fs::write(&temporary, file).map_err(io)?;
        std::fs::rename(&temporary, self.path).map_err(io)
    }

    /// Brings everything to where it was after the last whole epoch; returns how many are done, none where there
    /// is no checkpoint.
    pub(super) fn load(
        &self,
        network: &Network,
        sgd: &mut Sgd,
        order: &mut Vec<i64>,
        rng: &mut ChaCha8Rng,
    ) -> Result<usize, Error> {
        let bytes = match std::fs::read(self.path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(0),
            read => read.map_err(|source| Error::Io {
                path: self.path.display().to_string(),
                source,
            })?,
        };
        let refused = |what: &str| {
            let path = self.path.display();
            Error::Data(format!(
                "{path} {what}: delete it to begin anew, or give another --checkpoint"
            ))
        };
        let damaged = || refused("is no whole checkpoint");
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|_| damaged())?;
        let metadata = header.metadata().as_ref().ok_or_else(damaged)?;
        if metadata.get("identity") != Some(&self.identity) {
            return Err(refused("is of a training with other options or pictures"));
        }
        let number = |key: &str| -> Result<u128, Error> {
            let text = metadata.get(key).ok_or_else(damaged)?;
            text.parse().map_err(|_| damaged())
        };
        let tensors = SafeTensors::deserialize(&bytes).map_err(|_| damaged())?;
        for (name, mut tensor) in Checkpoint::state(network, sgd) {
            let saved = tensors.tensor(&name).map_err(|_| damaged())?;
            let shape: Vec<i64> = saved.shape().iter().map(|&side| side as i64).collect();
            if shape != tensor.size() {
                return Err(damaged());
            }
            let saved = Tensor::f_from_data_size(saved.data(), &shape, Kind::Float)?;
            tch::no_grad(|| tensor.f_copy_(&saved).map(drop))?;
        }
        let saved = tensors.tensor("order").map_err(|_| damaged())?;
        let places = saved.data().chunks_exact(8);
        let places: Vec<i64> = places
            .map(|b| i64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]))
            .collect();
        let mut sorted = places.clone();
        sorted.sort_unstable();
        if !sorted.into_iter().eq(0..order.len() as i64) {
            return Err(damaged());
        }
        *order = places;
        rng.set_word_pos(number("position")?);
        Ok(number("epochs")? as usize)
    }
}
