//! The encoder stage: a model file, loaded and ready to turn pictures into codes.

use std::ops::RangeInclusive;

use bitkin::encoder::{EncodeError, Encoder, Fingerprint, ImageInput, Prepared, check_batch};
use bitkin::image::{ImageError, RgbImage, fit};
use bitkin::model::{ModelError, ModelFile, ModelKind};
use rayon::prelude::*;
use tch::Device;

use crate::backbone::Backbone;
use crate::device::{DeviceChoice, resolve};
use crate::error::Error;
use crate::hash::HashModel;

/// Pictures that go through a GPU at once. Batches are filled up to it, so that libtorch always
/// sees the same shape and chooses the same arithmetic.
const GPU_BATCH: usize = 64;

/// Sides of pictures that a network is run on, in pixels.
const SIDES: RangeInclusive<u32> = 8..=1024;

/// A PP + SCDM model on libtorch.
///
/// On the CPU every picture goes through the network by itself, on one of the worker threads;
/// on a GPU in batches of one fixed size. Everything after the features is plain Rust
/// ([`HashModel`]). So a code does not depend on the pictures beside it.
pub struct TorchEncoder {
    backbone: Backbone,
    model: HashModel,
    input: ImageInput,
    fingerprint: Fingerprint,
}

impl TorchEncoder {
    /// Loads a self-contained model file.
    ///
    /// # Errors
    /// [`Error::Model`] when the file lacks a tensor or is of another kind, method or
    /// arithmetic; [`Error::Device`] when CUDA is asked for and there is none.
    pub fn load(file: &ModelFile, device: DeviceChoice) -> Result<TorchEncoder, Error> {
        file.expect_kind(bitkin::model::ModelKind::Hash)?;
        let unsupported = |key: &str, got: Option<&str>, expected: &str| {
            let reason = format!(
                "{:?}; this version runs {expected}",
                got.unwrap_or("missing")
            );
            Error::Model(ModelError::InvalidMetadata {
                key: key.to_string(),
                reason,
            })
        };
        if file.method() != Some(METHOD) {
            return Err(unsupported("bitkin.method", file.method(), METHOD));
        }
        if file.arithmetic() != Some(ARITHMETIC) {
            return Err(unsupported(
                "bitkin.arithmetic",
                file.arithmetic(),
                ARITHMETIC,
            ));
        }
        let device = resolve(device).ok_or(Error::Device)?;
        let backbone = Backbone::load(file, device)?;
        let model = HashModel::from_file(file, backbone.dim())?;
        let input = file.input().unwrap_or_else(|| backbone.input());
        if !SIDES.contains(&input.width) || !SIDES.contains(&input.height) {
            return Err(Error::Model(ModelError::InvalidMetadata {
                key: "bitkin.input".to_string(),
                reason: format!(
                    "{} x {} pixels; this version runs sides of {} to {}",
                    input.width,
                    input.height,
                    SIDES.start(),
                    SIDES.end()
                ),
            }));
        }
        Ok(TorchEncoder {
            backbone,
            model,
            input,
            fingerprint: file.fingerprint(),
        })
    }

    /// The device that the network runs on.
    pub fn device(&self) -> Device {
        self.backbone.device()
    }

    /// The pixels that the network sees.
    pub fn input(&self) -> ImageInput {
        self.input
    }

    /// What comes behind the backbone.
    pub(crate) fn model(&self) -> &HashModel {
        &self.model
    }

    /// Features of pictures on the CPU, one after the other on this thread.
    pub(crate) fn features_by_one(&self, pixels: &[u8]) -> Result<Vec<f32>, Error> {
        if self.backbone.device() != Device::Cpu {
            return self.features(pixels);
        }
        let pictures = pixels.chunks_exact(self.input.bytes());
        let rows = pictures.map(|pixels| self.backbone.one(pixels, self.input));
        Ok(rows.collect::<Result<Vec<_>, _>>()?.concat())
    }

    /// Codes of features, `ceil(bits / 8)` bytes a picture.
    pub(crate) fn codes(&self, features: &[f32], codes: &mut [u8]) {
        /// Pictures that share a pass over the model's matrices.
        const TOGETHER: usize = 8;
        let (dim, bytes) = (self.model.dim(), self.model.bits.div_ceil(8));
        codes
            .par_chunks_mut(TOGETHER * bytes)
            .zip(features.par_chunks(TOGETHER * dim))
            .for_each(|(codes, features)| {
                let features: Vec<&[f32]> = features.chunks_exact(dim).collect();
                let latents = self.model.latents(&features);
                for (code, latent) in codes.chunks_exact_mut(bytes).zip(latents) {
                    self.model.pack(&latent, code);
                }
            });
    }

    /// Features of `n` pictures, each of [`TorchEncoder::input`]'s bytes: `[n, dim]`, row-major.
    ///
    /// # Errors
    /// [`Error::Torch`].
    pub fn features(&self, pixels: &[u8]) -> Result<Vec<f32>, Error> {
        let picture = self.input.bytes();
        if self.backbone.device() == Device::Cpu {
            let rows = pixels
                .par_chunks_exact(picture)
                .map(|pixels| self.backbone.one(pixels, self.input))
                .collect::<Result<Vec<_>, _>>()?;
            return Ok(rows.concat());
        }
        let mut features = Vec::new();
        for chunk in pixels.chunks(picture * GPU_BATCH) {
            let mut padded = chunk.to_vec();
            padded.resize(picture * GPU_BATCH, 0);
            let batch = self.backbone.batch(&padded, self.input)?;
            features.extend_from_slice(&batch[..chunk.len() / picture * self.backbone.dim()]);
        }
        Ok(features)
    }
}

/// The method that this encoder implements, as a model file names it.
pub const METHOD: &str = "pp-scdm";
/// The arithmetic that this encoder computes in, as a model file names it.
pub const ARITHMETIC: &str = "f32";

impl Encoder for TorchEncoder {
    fn bits(&self) -> u32 {
        self.model.bits as u32
    }

    fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    fn preferred_batch(&self) -> usize {
        match self.backbone.device() {
            Device::Cpu => rayon::current_num_threads() * 8,
            _ => GPU_BATCH * 4,
        }
    }

    fn prepared_bytes(&self) -> usize {
        self.input.bytes()
    }

    fn prepare(&self, picture: &RgbImage) -> Result<Prepared, ImageError> {
        Ok(Prepared {
            bytes: fit(picture, &self.input)?,
            quality: None,
        })
    }

    fn encode(&self, pixels: &[u8], codes: &mut [u8]) -> Result<(), EncodeError> {
        check_batch(self, pixels, codes)?;
        let features = self
            .features(pixels)
            .map_err(|e| EncodeError::Failed(e.to_string()))?;
        self.codes(&features, codes);
        Ok(())
    }
}

/// Puts a trained model and its backbone together into a self-contained model file. The backbone is taken
/// from its own file, or from another model's.
///
/// # Errors
/// [`Error::Model`].
pub fn build_file(
    model: &HashModel,
    backbone: &ModelFile,
    input: ImageInput,
    notes: &str,
) -> Result<ModelFile, Error> {
    let (mut tensors, head) = model.to_tensors();
    for (name, view) in backbone.tensors() {
        if !name.starts_with("backbone.") {
            continue;
        }
        let tensor = bitkin::model::Tensor {
            dtype: view.dtype,
            shape: view.shape.to_vec(),
            bytes: view.bytes.to_vec(),
        };
        tensors.insert(name.to_string(), tensor);
    }
    let description = serde_json::json!({
        "method": METHOD,
        "bits": model.bits,
        "arithmetic": ARITHMETIC,
        "input": input,
        "head": head,
    });
    let metadata = bitkin::model::ModelMetadata {
        model: description.as_object().cloned().unwrap_or_default(),
        backbone: backbone.metadata().backbone.clone(),
        notes: Some(notes.to_string()),
        backbone_notes: match backbone.kind() {
            ModelKind::Backbone => backbone.metadata().notes.clone(),
            _ => backbone.metadata().backbone_notes.clone(),
        },
    };
    Ok(ModelFile::build(metadata, &tensors)?)
}
