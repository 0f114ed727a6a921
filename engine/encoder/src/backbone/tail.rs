//! The last blocks of a backbone under training, for methods that fine-tune it: what the blocks before them give is
//! computed once, and does not change.

use std::collections::BTreeMap;

use bitkin::model::{Dtype, ModelFile, ModelMetadata};
use tch::{Device, Kind, TchError, Tensor};

use super::{Backbone, Conv, Convolve, Description, Network, Plan, from_torch, to_f32_tensor};
use crate::error::Error;

/// The last blocks of a backbone, whose weights and biases gradients change.
pub struct Tail {
    plan: Plan,
    /// The first block of it.
    first: usize,
    convs: BTreeMap<String, Conv>,
}

impl Tail {
    /// The last `blocks` blocks of the backbone in a file: of the compact one and of ResNets those that a shortcut
    /// leads around, of MobileNetV1 a depthwise and a pointwise convolution.
    ///
    /// # Errors
    /// [`Error::Backbone`] when it has fewer blocks, or is a TorchScript module, which cannot be parted;
    /// [`Error::Model`] when a tensor is missing.
    pub fn of(file: &ModelFile, blocks: usize) -> Result<Tail, Error> {
        let description = Description::of(file)?;
        let Some((plan, shapes)) = description.plan()? else {
            let what = "a TorchScript module cannot be fine-tuned: leave its weights as they are";
            return Err(Error::Backbone(what.into()));
        };
        let first = plan.first_of_last(blocks)?;
        let names = plan.convs_of_last(blocks);
        let mut convs = BTreeMap::new();
        for shape in shapes.iter().filter(|shape| names.contains(&shape.name)) {
            let load = |part: &str, sides: &[i64]| {
                let name = format!("backbone.{}.{part}", shape.name);
                let tensor = to_f32_tensor(&name, &file.tensor(&name)?, sides)?;
                Ok::<_, Error>(tensor.set_requires_grad(true))
            };
            let conv = Conv {
                weight: load("weight", &shape.weight)?,
                bias: load("bias", &shape.weight[..1])?,
            };
            convs.insert(shape.name.clone(), conv);
        }
        Ok(Tail { plan, first, convs })
    }

    /// The same weights, in the same memory, whose gradients are its own: for a part of a batch on another thread.
    ///
    /// # Errors
    /// [`Error::Torch`].
    pub fn twin(&self) -> Result<Tail, Error> {
        let twin = |x: &Tensor| Ok::<_, Error>(x.f_detach()?.set_requires_grad(true));
        let convs = self.convs.iter().map(|(name, conv)| {
            let conv = Conv {
                weight: twin(&conv.weight)?,
                bias: twin(&conv.bias)?,
            };
            Ok((name.clone(), conv))
        });
        Ok(Tail {
            plan: self.plan.clone(),
            first: self.first,
            convs: convs.collect::<Result<_, Error>>()?,
        })
    }

    /// Blocks in it.
    pub fn blocks(&self) -> usize {
        self.plan.blocks() - self.first
    }

    /// From what [`Backbone::trunk`] gives to the maps that features are means of: f32 `[n, dim, h, w]`.
    ///
    /// # Errors
    /// [`Error::Torch`].
    pub fn maps(&self, x: &Tensor) -> Result<Tensor, Error> {
        let x = x.f_to_kind(Kind::Float)?;
        Ok(self.plan.run(x, self.first..self.plan.blocks(), self)?)
    }

    /// Features of maps: f32 `[n, dim]`.
    ///
    /// # Errors
    /// [`Error::Torch`].
    pub fn pooled(maps: &Tensor) -> Result<Tensor, Error> {
        Ok(maps.f_mean_dim([2i64, 3].as_slice(), false, Kind::Float)?)
    }

    /// All that training may change, in a fixed order.
    pub fn parameters(&self) -> Vec<Tensor> {
        let convs = self.convs.values();
        convs
            .flat_map(|conv| [conv.weight.shallow_clone(), conv.bias.shallow_clone()])
            .collect()
    }

    /// A backbone file: `file` with these weights, rounded to f16, in place of its own.
    ///
    /// # Errors
    /// [`Error::Torch`]; [`Error::Data`] when a weight is not finite, or too large for f16.
    pub fn in_file(&self, file: &ModelFile, notes: &str) -> Result<ModelFile, Error> {
        let mut tensors = BTreeMap::new();
        for (name, view) in file.tensors().filter(|t| t.0.starts_with("backbone.")) {
            tensors.insert(name.to_string(), view.to_tensor());
        }
        for (name, conv) in &self.convs {
            for (part, tensor, dtype) in [
                ("weight", &conv.weight, Dtype::F16),
                ("bias", &conv.bias, Dtype::F32),
            ] {
                let kind = match dtype {
                    Dtype::F16 => Kind::Half,
                    _ => Kind::Float,
                };
                let tensor = tensor.f_detach()?.f_to_kind(kind)?;
                if tensor.f_isfinite()?.f_all()?.f_int64_value(&[])? != 1 {
                    let what = "the training diverged: lower the learning rate of the backbone";
                    return Err(Error::Data(what.into()));
                }
                tensors.insert(format!("backbone.{name}.{part}"), from_torch(&tensor)?);
            }
        }
        let metadata = ModelMetadata {
            backbone: file.metadata().backbone.clone(),
            notes: Some(notes.to_string()),
            ..Default::default()
        };
        Ok(ModelFile::build(metadata, &tensors)?)
    }
}

impl Convolve for Tail {
    fn convolve(
        &self,
        name: &str,
        x: &Tensor,
        stride: i64,
        padding: [i64; 2],
        groups: i64,
    ) -> Result<Tensor, TchError> {
        let conv = &self.convs[name];
        x.f_conv2d(&conv.weight, Some(&conv.bias), stride, padding, 1, groups)
    }

    fn kernel(&self, name: &str) -> i64 {
        self.convs[name].weight.size()[2]
    }
}

impl Backbone {
    /// Blocks that it can be parted into: none of a TorchScript module.
    pub fn blocks(&self) -> usize {
        match &self.network {
            Network::Layers(plan, _) => plan.blocks(),
            Network::TorchScript(..) => 0,
        }
    }

    /// What its last `blocks` blocks are given, out of pixels f32 `[n, 3, h, w]`, 0 to 255: f32 `[n, channels, h, w]`.
    ///
    /// # Errors
    /// [`Error::Backbone`] when it has fewer blocks, or cannot be parted; [`Error::Torch`].
    pub fn trunk(&self, pixels: &Tensor, blocks: usize) -> Result<Tensor, Error> {
        let Network::Layers(plan, layers) = &self.network else {
            let what = "a TorchScript module cannot be parted into blocks";
            return Err(Error::Backbone(what.into()));
        };
        let end = plan.first_of_last(blocks)?;
        tch::no_grad(|| {
            let x = layers.enter(&self.normalised(pixels)?)?;
            let x = plan.run(plan.stem(&x, layers)?, 0..end, layers)?;
            Ok(layers.leave(x)?.f_to_device(Device::Cpu)?)
        })
    }

    /// Features of pixels f32 `[n, 3, h, w]`, 0 to 255: f32 `[n, dim]`.
    ///
    /// # Errors
    /// As [`Backbone::batch`].
    pub fn features(&self, pixels: &Tensor) -> Result<Tensor, Error> {
        tch::no_grad(|| self.run(&self.normalised(pixels)?))
    }
}
