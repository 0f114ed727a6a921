//! Backbones: convolutional networks from pictures to feature vectors, in inference form.
//!
//! Batch norm is always folded into the convolutions, so a backbone is a list of named
//! convolutions with biases and a plan of how they are joined (or a [`torchscript`] module).

mod arithmetic;
mod mobilenet;
mod residual;
mod tail;
pub mod torchscript;
mod torchvision;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use bitkin::encoder::ImageInput;
use bitkin::model::{Dtype, ModelError, ModelFile, ModelKind, ModelMetadata, TensorView};
use safetensors::{SafeTensorError, SafeTensors};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, TchError, Tensor};

pub use self::arithmetic::Arithmetic;
use self::arithmetic::{Layers, Way};
use self::mobilenet::MobileNetV1;
pub use self::residual::COMPACT_STAGES;
pub(crate) use self::residual::{Convolve, ResidualPlan};
pub use self::tail::Tail;
use self::torchscript::TorchScript;
use crate::device::use_one_thread;
use crate::error::Error;

/// One folded convolution.
#[derive(Debug)]
pub struct Conv {
    /// `[out, in / groups, kernel, kernel]`.
    pub weight: Tensor,
    /// `[out]`.
    pub bias: Tensor,
}

/// Architecture and normalisation, as they stand in a model file under the key `backbone`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Description {
    /// How the convolutions are joined.
    #[serde(flatten)]
    pub architecture: Architecture,
    /// A channel's byte x (red, green, blue) enters the network as `x * scale + shift`.
    pub scale: [f64; 3],
    /// See `scale`.
    pub shift: [f64; 3],
    /// The picture size that the backbone was trained for; a model may name another.
    pub input: ImageInput,
}

/// The architectures that this version can run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "architecture", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Architecture {
    /// The shipped residual network; `stages` as [`COMPACT_STAGES`].
    Compact {
        /// Width and number of blocks of each stage.
        stages: Vec<(i64, usize)>,
    },
    /// ResNet without its classifier, as torchvision has it (He et al., CVPR 2016).
    #[serde(rename = "resnet")]
    ResNet {
        /// 18, 34, 50, 101 or 152.
        depth: u32,
    },
    /// MobileNetV1 with width multiplier 1 and TensorFlow's padding (Howard et al., 2017).
    #[serde(rename = "mobilenet_v1")]
    MobileNetV1,
    /// A module that PyTorch compiled; see [`torchscript`].
    #[serde(rename = "torchscript")]
    TorchScript {
        /// Numbers in a feature vector.
        dim: u32,
    },
}

/// How the convolutions of an architecture are joined.
#[derive(Clone)]
enum Plan {
    Residual(ResidualPlan),
    MobileNetV1(MobileNetV1),
}

impl Plan {
    fn blocks(&self) -> usize {
        match self {
            Plan::Residual(plan) => plan.blocks(),
            Plan::MobileNetV1(plan) => plan.blocks(),
        }
    }

    /// The first of the last `blocks` blocks.
    fn first_of_last(&self, blocks: usize) -> Result<usize, Error> {
        let all = self.blocks();
        let first = all.checked_sub(blocks);
        first.ok_or_else(|| Error::Backbone(format!("it has {all} blocks, fewer than {blocks}")))
    }

    /// Names of the convolutions of the last blocks.
    fn convs_of_last(&self, blocks: usize) -> Vec<String> {
        match self {
            Plan::Residual(plan) => plan.convs_of_last(blocks).map(str::to_owned).collect(),
            Plan::MobileNetV1(plan) => plan.convs_of_last(blocks),
        }
    }

    fn stem(&self, x: &Tensor, layers: &impl Convolve) -> Result<Tensor, TchError> {
        match self {
            Plan::Residual(plan) => plan.stem(x, layers),
            Plan::MobileNetV1(plan) => plan.stem(x, layers),
        }
    }

    /// Some of the blocks; after the last, the maps that features are means of.
    fn run(
        &self,
        x: Tensor,
        blocks: Range<usize>,
        layers: &impl Convolve,
    ) -> Result<Tensor, TchError> {
        match self {
            Plan::Residual(plan) => plan.run(x, blocks, layers),
            Plan::MobileNetV1(plan) => plan.run(x, blocks, layers),
        }
    }
}

/// What is computed.
enum Network {
    Layers(Plan, Layers),
    TorchScript(TorchScript, usize),
}

/// Name, shape of the weight, of one convolution that an architecture needs.
pub(crate) struct ConvShape {
    pub(crate) name: String,
    pub(crate) weight: [i64; 4],
}

/// A backbone, loaded and ready to run on one device in one arithmetic.
pub struct Backbone {
    description: Description,
    network: Network,
    scale: Tensor,
    shift: Tensor,
    device: Device,
}

// SAFETY: after loading, the tensors `scale` and `shift` are only read, and libtorch allows any number of
// threads to read a tensor at once. No method hands out a tensor or changes one. The network is `Sync` itself.
unsafe impl Sync for Backbone {}

/// The backbone that ships with this crate.
const SHIPPED: &[u8] = include_bytes!("../../models/compact.safetensors");

/// The model file of the shipped backbone.
///
/// # Errors
/// None in practice: the file is part of the program.
pub fn shipped() -> Result<ModelFile, ModelError> {
    ModelFile::from_bytes(SHIPPED.to_vec())
}

/// Reads a backbone file: one of ours, a ResNet with torchvision's names (its batch norm is folded into
/// the convolutions), or a MobileNetV1 whose metadata say `arch: mobilenet_v1`.
///
/// # Errors
/// [`Error::Model`] when it is none of them, or its tensors are not those of its architecture.
pub fn read_file(path: &Path) -> Result<ModelFile, Error> {
    let bytes = std::fs::read(path).map_err(|source| ModelError::Io {
        path: path.to_path_buf(),
        source,
    })?;
    let none = |e: SafeTensorError| ModelError::NotSafetensors {
        reason: e.to_string(),
    };
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(none)?;
    let parsed = SafeTensors::deserialize(&bytes).map_err(none)?;
    if let Some(file) = mobilenet::import(&parsed, header.metadata().as_ref())? {
        return Ok(file);
    }
    if let Some(file) = torchvision::import(&parsed)? {
        return Ok(file);
    }
    let file = ModelFile::from_bytes(bytes)?;
    file.expect_kind(ModelKind::Backbone)?;
    Ok(file)
}

impl Description {
    /// The description that stands in a file.
    fn of(file: &ModelFile) -> Result<Description, Error> {
        let Some(json) = &file.metadata().backbone else {
            return Err(ModelError::MissingKey {
                key: "backbone".into(),
            }
            .into());
        };
        let description: Description = serde_json::from_value(json.clone().into())
            .map_err(|e| Error::Backbone(e.to_string()))?;
        // A key that is not known may be a step that would be left out of the features.
        let known = serde_json::json!(description);
        if let Some(key) = json.keys().find(|key| known.get(key.as_str()).is_none()) {
            return Err(Error::Backbone(format!("its key {key:?} is not known")));
        }
        Ok(description)
    }

    /// The plan of the architecture and the convolutions that it needs, once all that a file may have
    /// wrong is checked; none of what is not made of convolutions.
    fn plan(&self) -> Result<Option<(Plan, Vec<ConvShape>)>, Error> {
        let fail = |reason: &str| Err(Error::Backbone(reason.to_string()));
        let finite = |x: &[f64; 3]| x.iter().all(|v| v.is_finite());
        if !finite(&self.scale) || !finite(&self.shift) {
            return fail("its normalisation is not finite");
        }
        let plan = match &self.architecture {
            Architecture::Compact { stages } => {
                let sane =
                    |&(w, n): &(i64, usize)| (1..=4096).contains(&w) && (1..=64).contains(&n);
                if stages.is_empty() || stages.len() > 8 || !stages.iter().all(sane) {
                    return fail("its stages are not 1 to 8 pairs of width and blocks");
                }
                ResidualPlan::compact(stages)
            }
            Architecture::ResNet { depth } => match ResidualPlan::resnet(*depth) {
                Some(plan) => plan,
                None => return fail("there is no ResNet of its depth"),
            },
            Architecture::MobileNetV1 => {
                let plan = Plan::MobileNetV1(MobileNetV1);
                return Ok(Some((plan, MobileNetV1.convs())));
            }
            Architecture::TorchScript { .. } => return Ok(None),
        };
        let shapes = plan.convs().iter().map(|c| ConvShape {
            name: c.name.clone(),
            weight: [c.output, c.input, c.kernel, c.kernel],
        });
        let shapes = shapes.collect();
        Ok(Some((Plan::Residual(plan), shapes)))
    }
}

impl Backbone {
    /// Loads the tensors `backbone.*` of a model file onto a device.
    ///
    /// # Errors
    /// [`Error::Model`] when the file has no backbone, lacks a tensor or has one of another shape;
    /// [`Error::Backbone`] when its description makes no sense, or it cannot be computed so.
    pub fn load(
        file: &ModelFile,
        device: Device,
        arithmetic: Arithmetic,
    ) -> Result<Backbone, Error> {
        Backbone::load_to_run(file, device, |packs| Way::best(arithmetic, device, packs))
    }

    /// The same, to be computed in the way that is chosen for networks that can be packed or not.
    fn load_to_run(
        file: &ModelFile,
        device: Device,
        way: impl FnOnce(bool) -> Way,
    ) -> Result<Backbone, Error> {
        let description = Description::of(file)?;
        let network = match (description.plan()?, &description.architecture) {
            (Some((plan, shapes)), _) => {
                let mut convs = BTreeMap::new();
                for ConvShape { name, weight } in shapes {
                    let load = |part: &str, shape: &[i64]| {
                        let name = format!("backbone.{name}.{part}");
                        to_f32_tensor(&name, &file.tensor(&name)?, shape)
                    };
                    let conv = Conv {
                        weight: load("weight", &weight)?,
                        bias: load("bias", &weight[..1])?,
                    };
                    convs.insert(name, conv);
                }
                let way = way(matches!(plan, Plan::Residual(_)));
                Network::Layers(plan, Layers::new(convs, way, device)?)
            }
            (None, Architecture::TorchScript { dim }) if way(false) == Way::F32 => {
                Network::TorchScript(TorchScript::load(file, device)?, *dim as usize)
            }
            _ => {
                let what = "a TorchScript module computes in what it was compiled for: its model must say f32";
                return Err(Error::Backbone(what.into()));
            }
        };
        let row = |x: &[f64; 3]| {
            Tensor::from_slice(&x.map(|v| v as f32))
                .view([1, 3, 1, 1])
                .to_device(device)
        };
        let (scale, shift) = (row(&description.scale), row(&description.shift));
        Ok(Backbone {
            description,
            network,
            scale,
            shift,
            device,
        })
    }

    /// Numbers in a feature vector.
    pub fn dim(&self) -> usize {
        match &self.network {
            Network::Layers(Plan::Residual(plan), _) => plan.dim() as usize,
            Network::Layers(Plan::MobileNetV1(_), _) => mobilenet::DIM,
            Network::TorchScript(_, dim) => *dim,
        }
    }

    /// The picture size that the backbone was trained for.
    pub fn input(&self) -> ImageInput {
        self.description.input
    }

    /// The device that it runs on.
    pub fn device(&self) -> Device {
        self.device
    }

    /// Features of one picture, `input.bytes()` bytes: f32 `[dim]`. On the caller's thread
    /// alone, so that the same picture always gives the same numbers.
    ///
    /// # Errors
    /// [`Error::Torch`].
    pub fn one(&self, pixels: &[u8], input: ImageInput) -> Result<Vec<f32>, Error> {
        use_one_thread();
        self.batch(pixels, input)
    }

    /// Features of pictures given as `n * input.bytes()` bytes: f32 `[n, dim]`, row-major.
    ///
    /// Values may depend on `n` in their last bits, as libtorch chooses other loops for other
    /// shapes: whoever needs a pure function of the picture always calls with the same `n`.
    ///
    /// # Errors
    /// [`Error::Torch`].
    pub fn batch(&self, pixels: &[u8], input: ImageInput) -> Result<Vec<f32>, Error> {
        let n = (pixels.len() / input.bytes().max(1)) as i64;
        let shape = [n, i64::from(input.height), i64::from(input.width), 3];
        tch::no_grad(|| {
            let x = Tensor::f_from_data_size(pixels, &shape, Kind::Uint8)?;
            // Interleaved bytes are channels-last already; no copy but the conversion.
            let x = x
                .f_to_device(self.device)?
                .f_permute([0, 3, 1, 2])?
                .f_to_kind(Kind::Float)?;
            let y = self.run(&self.normalised(&x)?)?;
            Ok(Vec::try_from(y.f_to_device(Device::Cpu)?.f_reshape([-1])?)?)
        })
    }

    /// What the network takes, out of f32 `[n, 3, h, w]`, 0 to 255.
    fn normalised(&self, pixels: &Tensor) -> Result<Tensor, TchError> {
        pixels.f_mul(&self.scale)?.f_add(&self.shift)
    }

    /// Features f32 `[n, dim]` of what [`Backbone::normalised`] gives.
    fn run(&self, x: &Tensor) -> Result<Tensor, Error> {
        match &self.network {
            Network::Layers(plan, layers) => {
                let x = plan.stem(&layers.enter(x)?, layers)?;
                let x = layers.leave(plan.run(x, 0..plan.blocks(), layers)?)?;
                Ok(x.f_mean_dim([2i64, 3].as_slice(), false, Kind::Float)?)
            }
            Network::TorchScript(module, dim) => {
                let y = module.forward(x).map_err(|e| self.wrong_side(x, e))?;
                if y.size() != [x.size()[0], *dim as i64] {
                    let what = format!("its module gives a tensor of shape {:?}", y.size());
                    return Err(Error::Backbone(what));
                }
                Ok(y)
            }
        }
    }
}

impl Backbone {
    /// The error of a module that fails, which may be because of the size of the pictures.
    fn wrong_side(&self, x: &Tensor, error: TchError) -> Error {
        let input = self.description.input;
        let size = x.size();
        let made_for = [i64::from(input.height), i64::from(input.width)];
        match size[2..] == made_for {
            true => Error::Torch(error),
            false => Error::Backbone(format!(
                "its module fails on pictures of {} x {} pixels, and was made for {} x {} (leave --side out): {error}",
                size[3], size[2], input.width, input.height
            )),
        }
    }
}

/// Builds the model file of a backbone from its folded convolutions, weights rounded to f16.
///
/// # Errors
/// [`Error::Torch`] when a tensor cannot be read.
pub fn build_file(
    description: &Description,
    convs: &BTreeMap<String, Conv>,
    notes: &str,
) -> Result<ModelFile, Error> {
    let mut tensors = BTreeMap::new();
    for (name, conv) in convs {
        for (part, tensor, kind) in [
            ("weight", &conv.weight, Kind::Half),
            ("bias", &conv.bias, Kind::Float),
        ] {
            let name = format!("backbone.{name}.{part}");
            tensors.insert(name, from_torch(&tensor.f_to_kind(kind)?)?);
        }
    }
    let Ok(serde_json::Value::Object(backbone)) = serde_json::to_value(description) else {
        return Err(Error::Backbone("its description is no JSON object".into()));
    };
    let metadata = ModelMetadata {
        backbone: Some(backbone),
        notes: Some(notes.to_string()),
        ..Default::default()
    };
    Ok(ModelFile::build(metadata, &tensors)?)
}

/// A tensor of a model file (f16 or f32) as f32 on the CPU.
pub(crate) fn to_f32_tensor(
    name: &str,
    view: &TensorView<'_>,
    shape: &[i64],
) -> Result<Tensor, Error> {
    let kind = match view.dtype {
        Dtype::F32 => Kind::Float,
        Dtype::F16 => Kind::Half,
        _ => Kind::Bool,
    };
    let same = view
        .shape
        .iter()
        .map(|&s| s as i64)
        .eq(shape.iter().copied());
    if kind == Kind::Bool || !same {
        return Err(ModelError::WrongTensor {
            name: name.to_string(),
            found: view.describe(),
            expected: format!("F16 or F32 {shape:?}"),
        }
        .into());
    }
    let tensor = Tensor::f_from_data_size(view.bytes, shape, kind)?.f_to_kind(Kind::Float)?;
    finite(name, &tensor)?;
    Ok(tensor)
}

/// Refuses numbers that would make every picture the same.
fn finite(name: &str, tensor: &Tensor) -> Result<(), Error> {
    if tensor.f_isfinite()?.f_all()?.f_int64_value(&[])? == 1 {
        return Ok(());
    }
    Err(ModelError::WrongTensor {
        name: name.to_string(),
        found: "numbers that are not finite".into(),
        expected: "finite numbers".into(),
    }
    .into())
}

/// A tensor of a model file in another precision: f16 and f32 become each other, all else stays.
///
/// # Errors
/// [`Error::Model`] for numbers that it cannot hold, [`Error::Torch`].
pub fn in_precision(
    name: &str,
    view: &TensorView<'_>,
    dtype: Dtype,
) -> Result<bitkin::model::Tensor, Error> {
    if dtype == view.dtype || !matches!(view.dtype, Dtype::F16 | Dtype::F32) {
        return Ok(view.to_tensor());
    }
    let shape: Vec<i64> = view.shape.iter().map(|&side| side as i64).collect();
    let tensor = to_f32_tensor(name, view, &shape)?;
    let tensor = match dtype {
        Dtype::F16 => tensor.f_to_kind(Kind::Half)?,
        _ => tensor,
    };
    // What f16 cannot hold becomes infinite.
    finite(name, &tensor)?;
    from_torch(&tensor)
}

/// The elements of a tensor for a model file.
pub(crate) fn from_torch(tensor: &Tensor) -> Result<bitkin::model::Tensor, Error> {
    let dtype = match tensor.kind() {
        Kind::Half => Dtype::F16,
        _ => Dtype::F32,
    };
    let kind = if dtype == Dtype::F16 {
        Kind::Half
    } else {
        Kind::Float
    };
    let tensor = tensor.f_to_kind(kind)?.f_contiguous()?;
    let shape = tensor.size().iter().map(|&s| s as usize).collect();
    let mut bytes = vec![0u8; tensor.numel() * dtype.size()];
    tensor.f_copy_data_u8(&mut bytes, tensor.numel())?;
    Ok(bitkin::model::Tensor {
        dtype,
        shape,
        bytes,
    })
}

/// The same values with the channel as the fastest dimension in memory, which is what libtorch's
/// CPU convolutions run fastest on.
pub(crate) fn channels_last(x: &Tensor) -> Tensor {
    x.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2])
}

#[cfg(test)]
mod tests;
