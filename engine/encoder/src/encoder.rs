//! The encoder stage: a model file, loaded and ready to turn pictures into codes.

use std::ops::{Range, RangeInclusive};
use std::sync::OnceLock;

use bitkin::encoder::{EncodeError, Encoder, Fingerprint, ImageInput, Prepared, check_batch};
use bitkin::image::{ImageError, RgbImage, fit};
use bitkin::model::{ModelError, ModelFile, ModelKind};
use rayon::prelude::*;
use tch::Device;

use crate::backbone::{Arithmetic, Backbone};
use crate::device::{DeviceChoice, Fallback, resolve};
use crate::error::Error;
use crate::hash::HashModel;

/// Pictures that go through a GPU at once. Batches are filled up to it, so that libtorch always
/// sees the same shape and chooses the same arithmetic.
const GPU_BATCH: usize = 64;

/// Sides of pictures that a network is run on, in pixels.
const SIDES: RangeInclusive<u32> = 8..=1024;

/// A model on libtorch, whatever method trained it.
///
/// On the CPU every picture goes through the network by itself, on one of the worker threads;
/// on a GPU in batches of one fixed size. Everything after the features is plain Rust
/// ([`HashModel`]). So a code does not depend on the pictures beside it.
///
/// A GPU that fails gets smaller batches if memory is what it lacks, and is given up for the CPU otherwise;
/// [`Encoder::device`] then says so. From there on the last bits of features may differ, and with them bits
/// of codes whose latent is as good as zero.
pub struct TorchEncoder {
    backbone: Backbone,
    model: HashModel,
    input: ImageInput,
    fingerprint: Fingerprint,
    arithmetic: Arithmetic,
    gpu: Option<Gpu>,
}

/// What is kept beside a backbone on a GPU.
struct Gpu {
    fallback: Fallback,
    /// To load the same on the CPU, should it be needed.
    file: ModelFile,
    on_cpu: OnceLock<Backbone>,
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
        let arithmetic = file.arithmetic().and_then(Arithmetic::of_name);
        let Some(arithmetic) = arithmetic else {
            let (key, known) = ("bitkin.arithmetic", "f32 and bf16");
            return Err(unsupported(key, file.arithmetic(), known));
        };
        let device = resolve(device).ok_or(Error::Device)?;
        let backbone = Backbone::load(file, device, arithmetic)?;
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
        let gpu = (device != Device::Cpu).then(|| Gpu {
            fallback: Fallback::new(GPU_BATCH),
            file: file.clone(),
            on_cpu: OnceLock::new(),
        });
        Ok(TorchEncoder {
            backbone,
            model,
            input,
            fingerprint: file.fingerprint(),
            arithmetic,
            gpu,
        })
    }

    /// Whether the network runs on the CPU.
    pub fn is_on_cpu(&self) -> bool {
        self.gpu.is_none()
    }

    /// What the network computes in.
    pub fn arithmetic(&self) -> Arithmetic {
        self.arithmetic
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
        let Some(gpu) = &self.gpu else {
            return one_by_one(&self.backbone, pixels, self.input);
        };
        let pixels_of = |range: Range<usize>| &pixels[range.start * picture..range.end * picture];
        let on_gpu = |range: Range<usize>, batch: usize| {
            let n = range.len();
            let mut padded = pixels_of(range).to_vec();
            padded.resize(picture * batch, 0);
            let mut features = self.backbone.batch(&padded, self.input)?;
            features.truncate(n * self.backbone.dim());
            Ok(features)
        };
        gpu.fallback.run(pixels.len() / picture, on_gpu, |range| {
            one_by_one(gpu.on_cpu(self.arithmetic)?, pixels_of(range), self.input)
        })
    }
}

impl Gpu {
    fn on_cpu(&self, arithmetic: Arithmetic) -> Result<&Backbone, Error> {
        if let Some(backbone) = self.on_cpu.get() {
            return Ok(backbone);
        }
        let backbone = Backbone::load(&self.file, Device::Cpu, arithmetic)?;
        Ok(self.on_cpu.get_or_init(|| backbone))
    }
}

/// Features of pictures on the CPU, spread over its cores.
fn one_by_one(backbone: &Backbone, pixels: &[u8], input: ImageInput) -> Result<Vec<f32>, Error> {
    let rows = pixels
        .par_chunks_exact(input.bytes())
        .map(|pixels| backbone.one(pixels, input))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(rows.concat())
}

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

    fn device(&self) -> String {
        let Some(gpu) = &self.gpu else {
            return "cpu".to_owned();
        };
        gpu.fallback.told("cuda")
    }

    fn least_side(&self) -> Option<u32> {
        Some(self.input.least_side())
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
    arithmetic: Arithmetic,
    notes: &str,
) -> Result<ModelFile, Error> {
    let (mut tensors, head) = model.to_tensors();
    for (name, view) in backbone.tensors() {
        if !name.starts_with("backbone.") {
            continue;
        }
        tensors.insert(name.to_string(), view.to_tensor());
    }
    let description = serde_json::json!({
        "method": model.method.name(),
        "bits": model.bits,
        "arithmetic": arithmetic.name(),
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
